"""Another package for alignment by CTC, in an environment of its own.

    python benchmarks/ctc_alignment_peers.py N_FRAMES N_LABELS

prints CPU seconds, MiB and the mean error of the first frames of labels by
ctc-segmentation 1.7.5. `ctc_alignment.py` calls this file.
"""

import resource
import sys
import time

import numpy as np
from ctc_alignment import N_COLUMNS, recording
from ctc_segmentation import (
    CtcSegmentationParameters,
    ctc_segmentation,
    prepare_token_list,
)


def align(table, labels):
    config = CtcSegmentationParameters(
        char_list=[f"<{k}>" for k in range(N_COLUMNS)], index_duration=1.0
    )
    tokens, begins = prepare_token_list(config, [np.array([x]) for x in labels])
    times, _, _ = ctc_segmentation(config, table.astype(np.float32), tokens)
    return np.asarray(times)[np.asarray(begins[:-1]) + 1]


if __name__ == "__main__":
    align(*recording(30, 4)[:2])
    table, labels, starts = recording(int(sys.argv[1]), int(sys.argv[2]))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begin = time.process_time()
    found = align(table, labels)
    seconds = time.process_time() - begin
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    print(seconds, used / 1024, abs(found - starts).mean())
