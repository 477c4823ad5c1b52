"""CRFsuite, in an environment of its own.

    python benchmarks/crf_peer.py DATA.npz C2 MAX_ITER

trains the sequences of DATA, written by `crf.py`, which calls this file, and prints the
CPU seconds of training, the MiB that it needs, the last objective and number of
iterations, and the seconds of decoding the same sequences, as JSON. The package is
python-crfsuite 0.9.12, which sklearn-crfsuite calls.
"""

import ctypes
import json
import resource
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import pycrfsuite


def items(data):
    """Return the features of each sequence as crfsuite has them."""
    columns, values = data["columns"], data["values"]
    names = [f"f{i}" for i in range(int(columns.max()) + 1)]
    borders, offsets = data["row_starts"], data["offsets"]
    frames = [
        dict(zip([names[c] for c in columns[a:b]], values[a:b].tolist(), strict=True))
        for a, b in pairwise(borders)
    ]
    return [pycrfsuite.ItemSequence(frames[a:b]) for a, b in pairwise(offsets)]


def resident():
    """Return the MiB in memory; CRFsuite keeps what it needs until the end."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def main(path, c2, max_iter):
    data = np.load(path)
    offsets, labels = data["offsets"], data["codes"].astype(str)
    sequences = items(data)
    trainer = pycrfsuite.Trainer(verbose=False)
    trainer.select("lbfgs")
    trainer.set_params(
        {
            "c1": 0.0,
            "c2": c2,
            "max_iterations": max_iter,
            "epsilon": 1e-9,
            "delta": 1e-12,
            "feature.possible_states": True,
            "feature.possible_transitions": True,
        }
    )
    ctypes.CDLL(None).malloc_trim(0)  # what is free counts as memory otherwise
    before = resident()
    for own, a, b in zip(sequences, offsets[:-1], offsets[1:], strict=True):
        trainer.append(own, labels[a:b].tolist())
    with tempfile.NamedTemporaryFile() as model:
        start = time.process_time()
        trainer.train(model.name)
        trained = time.process_time() - start
        after = resident()
        tagger = pycrfsuite.Tagger()
        tagger.open(model.name)
        start = time.process_time()
        for own in sequences:
            tagger.tag(own)
        decoded = time.process_time() - start
    last = trainer.logparser.last_iteration
    print(
        json.dumps(
            {"train": trained, "loss": last["loss"], "n_iter": last["num"],
             "decode": decoded, "memory": after - before}
        )
    )  # fmt: skip


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]), int(sys.argv[3]))
