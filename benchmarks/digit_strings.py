"""Errors of CTCRecognizer on strings of digits that are heard and shown.

Recordings and images of avdigits (see build_data.py): strings of 3 to 6 digits of the
speakers 0 to 3 to train, of 4 and 5 to test. The noise of training strings is 0, 1 or
2 standard deviations, a third each; that of test strings rises. The network of audio
alone is trained in the same way, but for what concerns several modalities: no modality
is dropped or gets noise.

    python benchmarks/digit_strings.py avdigits_fsdd_mnist.npz --seeds 3 [--csv OUT.csv]
"""

import argparse
import time
from pathlib import Path

import numpy as np
import pandas as pd

from mmfusion import CTCRecognizer, Modalities
from mmfusion.datasets import make_digit_strings

NOISES = (0.0, 1.0, 2.0)
N_TRAIN, N_TEST = 300, 40  # strings of each noise, and of the test
CONTEXT = {"images": 0}  # neighbouring images are of other digits


def concatenated(parts):
    X = [part[0] for part in parts]
    blocks = {name: [x for own in X for x in own[name]] for name in X[0].names}
    labels = [own for part in parts for own in part[1]]
    return Modalities(blocks), labels


def table_of(results):
    """Means and standard deviations over seeds, as text."""
    rows = []
    for names, own in results.groupby("modalities", sort=False):
        row = {"modalities": names}
        for column in own.columns.drop(["modalities", "CPU s"]):
            mean, std = own[column].mean(), own[column].std(ddof=1)
            row[column] = f"{mean:.3f} ± {std:.3f}".replace("0.", ".")
        rows.append(row | {"CPU s": f"{own['CPU s'].mean():.0f}"})
    return pd.DataFrame(rows)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("path")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--csv", type=Path)
    options = parser.parse_args()
    with np.load(options.path) as data:
        audio = data["view_1"].reshape(-1, 20, 13)  # 20 frames of 13 cepstra
        images, y, speaker = data["view_0"], data["y"], data["speaker"]
    is_train = speaker <= 3
    train = audio[is_train], images[is_train], y[is_train]
    test = audio[~is_train], images[~is_train], y[~is_train]
    results = []
    for seed in range(options.seeds):
        parts = [
            make_digit_strings(
                *train, N_TRAIN, noise_std=noise, random_state=10 * seed + k
            )
            for k, noise in enumerate(NOISES)
        ]
        X, labels = concatenated(parts)
        for names in (["audio", "images"], ["audio"]):
            start = time.process_time()
            context = {n: own for n, own in CONTEXT.items() if n in names}
            model = CTCRecognizer(context=context, times=-1, random_state=seed)
            model.fit(X[names], labels)
            seconds = time.process_time() - start
            errors, off = [], []
            for noise in NOISES:
                strings, truth, spans = make_digit_strings(
                    *test, N_TEST, noise_std=noise, random_state=100 + seed
                )
                errors.append(1 - model.score(strings[names], truth))
                for found, own in zip(
                    model.align(strings[names], truth), spans, strict=True
                ):
                    off.append((found.moments - own[:, 0]) / np.ptp(own, axis=1))
            last = model.history_[-1]["train_error"]
            print(
                f"seed {seed} {'+'.join(names):13} errors",
                " ".join(f"{error:.3f}" for error in errors),
                f"on training strings {last:.3f}, {model.n_iter_} epochs,",
                f"{seconds:.0f} CPU s, moments at {np.median(np.concatenate(off)):.2f}"
                " of the digit",
                flush=True,
            )
            row = {"modalities": ", ".join(names)}
            row |= {
                f"noise {noise:.0f}": e for noise, e in zip(NOISES, errors, strict=True)
            }
            results.append(row | {"on training strings": last, "CPU s": seconds})
    table = table_of(pd.DataFrame(results))
    print(table.to_string(index=False))
    if options.csv:
        table.to_csv(options.csv, index=False)


if __name__ == "__main__":
    main()
