"""Build the data sets of the benchmarks that have a public source with a fetcher.

    python benchmarks/build_data.py FOLDER

writes handwritten_mfeat, msrcv1_5v, 100leaves, ts_articularyword, ts_basicmotions and
ts_japanesevowels as npz files, in the layout that README.md describes. The extras
``datasets`` and ``align`` are needed, and a network for what is not cached yet.
"""

import argparse
from pathlib import Path

import numpy as np

from mmfusion.datasets import (
    fetch_100leaves,
    fetch_handwritten,
    fetch_msrcv1,
    fetch_ucr_uea,
)

TABLES = {
    "handwritten_mfeat": fetch_handwritten,
    "msrcv1_5v": fetch_msrcv1,
    "100leaves": fetch_100leaves,
}
CHANNELS = {  # of each modality, in the archive of time series
    "ArticularyWordRecognition": {"tongue": 3, "upper_lip": 3, "lower_lip": 3},
    "BasicMotions": {"accelerometer": 3, "gyroscope": 3},
    "JapaneseVowels": {"cepstrum": 12},
}
SEQUENCES = {
    "ts_articularyword": "ArticularyWordRecognition",
    "ts_basicmotions": "BasicMotions",
    "ts_japanesevowels": "JapaneseVowels",
}


def build_table(fetch):
    """Return the arrays of a set of tables."""
    bunch = fetch()
    views = {
        f"view_{v}": np.asarray(block, dtype=np.float32)
        for v, block in enumerate(bunch.data.blocks)
    }
    return views | {
        "view_names": np.array(bunch.data.names),
        "y": bunch.target,
        "label_values": bunch.target_names,
    }


def build_sequences(name):
    """Return the arrays of a set of the archive of time series, training first."""
    parts = [fetch_ucr_uea(name, split=split) for split in ("train", "test")]
    series = [each for part in parts for each in part.data.blocks[0]]
    widths = CHANNELS[name]
    return {
        "frames": np.concatenate(series).astype(np.float32),
        "lengths": np.array([len(each) for each in series]),
        "y": np.concatenate([part.target for part in parts]),
        "label_values": parts[0].target_names,
        "split": np.repeat([0, 1], [len(part.target) for part in parts]),
        "channel_names": np.array(
            [f"{m}_{j}" for m, width in widths.items() for j in range(width)]
        ),
        "view_of_channel": np.repeat(np.arange(len(widths)), list(widths.values())),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    jobs = [(file, build_table, fetch) for file, fetch in TABLES.items()]
    jobs += [(file, build_sequences, name) for file, name in SEQUENCES.items()]
    for file, build, what in jobs:
        try:
            arrays = build(what)
        except (ImportError, OSError) as error:
            print(f"{file}: {error}")
            continue
        np.savez_compressed(folder / f"{file}.npz", **arrays)
        print(f"{file}: {len(arrays['y'])} samples")


if __name__ == "__main__":
    main()
