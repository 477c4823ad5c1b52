"""Other packages for alignment by CTC, in an environment of their own.

    python benchmarks/ctc_alignment_peers.py N_FRAMES N_LABELS HEIGHT

prints CPU seconds, MiB and the mean error of the first frames of labels, a line for
each of ctc-segmentation 1.7.5 and torchaudio 2.11.1 that is installed.
`ctc_alignment.py` calls this file.
"""

import sys
from functools import cache
from importlib.util import find_spec

import numpy as np
from ctc_alignment import N_COLUMNS, measured


def align_by_ctc_segmentation(table, labels):
    from ctc_segmentation import (
        CtcSegmentationParameters,
        ctc_segmentation,
        prepare_token_list,
    )

    config = CtcSegmentationParameters(
        char_list=[f"<{k}>" for k in range(N_COLUMNS)], index_duration=1.0
    )
    tokens, begins = prepare_token_list(config, [np.array([x]) for x in labels])
    times, _, _ = ctc_segmentation(config, table, tokens)
    return np.asarray(times)[np.asarray(begins[:-1]) + 1]


@cache
def torchaudio_align():
    import torch
    from torchaudio.functional import forced_align

    torch.set_num_threads(1)
    return torch, forced_align


def align_by_torchaudio(table, labels):
    torch, forced_align = torchaudio_align()
    path, _ = forced_align(
        torch.from_numpy(table)[None],
        torch.from_numpy(labels.astype(np.int32))[None],
    )
    columns = path[0].numpy()
    begins = np.flatnonzero(np.diff(columns, prepend=0) != 0)
    return begins[columns[begins] != 0]


PEERS = {
    "ctc_segmentation": align_by_ctc_segmentation,
    "torchaudio": align_by_torchaudio,
}


if __name__ == "__main__":
    size, height = (int(sys.argv[1]), int(sys.argv[2])), float(sys.argv[3])
    for name, align in PEERS.items():
        if find_spec(name):
            print(name, *measured(align, size, height))
