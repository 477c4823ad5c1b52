"""Boundaries of words in chains of articulograph recordings, by ForcedAligner.

    OMP_NUM_THREADS=1 python benchmarks/forced_alignment.py FILE

FILE is an npz file with `frames`, `lengths`, `y` and `split` (0 for training), such as
the words of ArticularyWordRecognition. Three to six words are drawn and concatenated, 60
times from the training words for `fit`, and 30 times from the others. Printed are
differences of the boundaries between words from the true ones, in frames, with every
frame and with every fourth.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from mmfusion.alignment import ForcedAligner


def chains(words, labels, n_samples, rng, step):
    """Concatenate words; return modalities and the ends of words."""
    X, ends = {"sensors": [], "words": []}, []
    for _ in range(n_samples):
        drawn = rng.choice(len(words), rng.integers(3, 7))
        frames = [words[i][::step].astype(float) for i in drawn]
        X["sensors"].append(np.concatenate(frames))
        X["words"].append([int(labels[i]) for i in drawn])
        ends.append(np.cumsum([len(own) for own in frames]))
    return X, ends


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file")
    with np.load(parser.parse_args().file) as data:
        words = np.split(data["frames"], np.cumsum(data["lengths"])[:-1])
        labels, split = data["y"], data["split"]
    for step in (1, 4):
        for n_states in (3, 6, 10):
            rng = np.random.default_rng(0)
            train, test = (
                chains([words[i] for i in rows], labels[rows], n_samples, rng, step)
                for rows, n_samples in (
                    (np.flatnonzero(split == 0), 60),
                    (np.flatnonzero(split != 0), 30),
                )
            )
            begin = time.process_time()
            aligner = ForcedAligner(n_states=n_states).fit(train[0])
            seconds = time.process_time() - begin
            found = aligner.align(test[0])
            errors = np.concatenate(
                [
                    abs(own.spans[:-1, 1] - ends[:-1])
                    for own, ends in zip(found, test[1], strict=True)
                ]
            )
            print(
                f"step {step}, n_states={n_states:2}: mean {errors.mean():.2f}, "
                f"within 2 frames {(errors <= 2).mean():.1%}, fit {seconds:.1f} s"
            )


if __name__ == "__main__":
    main()
