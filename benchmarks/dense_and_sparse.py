"""A dense signal with sparse events: attention that knows times, beside what does not.

    python benchmarks/dense_and_sparse.py --seeds 3 --csv OUT.csv

trains on 600 samples of ``make_dense_and_sparse`` and prints, in Markdown, the accuracy
on 500 others and the CPU seconds of the fit, as means and standard deviations over
seeds, each of which draws other samples and other weights. All networks have one
member, no dropout of modalities and no noise, since every sample needs both modalities.
The clock of the events is five frames late; the last line is the offset that was
learned, and how far the frame that an event weighs most is from its own, in frames.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
from fusion_quality import markdown
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mmfusion import (
    EarlyFusionClassifier,
    LateFusionClassifier,
    NeuralFusionClassifier,
    Trainer,
)
from mmfusion.datasets import make_dense_and_sparse
from mmfusion.preprocessing import SequencePooling

CLOCK_OFFSET = 5
N_TRAIN, N_TEST = 600, 500


def network(fusion, seed, **params):
    """A network of one member."""
    options = {"encoders": (32, 32), "dropout": 0.1} | params
    return NeuralFusionClassifier(
        fusion,
        **options,
        modality_dropout=0.0,
        modality_noise=0.0,
        n_members=1,
        times=-1,
        trainer=Trainer(max_epochs=30, lr=4e-3),
        random_state=seed,
    )


def pooled(cls):
    """Logistic regression of statistics of the frames."""
    logistic = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    return make_pipeline(SequencePooling(), cls(logistic))


def rows(seed):
    """What is compared, by name."""
    return {
        "attention with times": network("cross_attention", seed),
        "attention without times": network("cross_attention", seed, time_penalty=False),
        "convolutions, gated": network("gated", seed, encoders=("conv", 32, 32)),
        "convolutions, late": network("late", seed, encoders=("conv", 32, 32)),
        "pooled frames, early logistic regression": pooled(EarlyFusionClassifier),
        "pooled frames, late logistic regression": pooled(LateFusionClassifier),
    }


def results_of(seed):
    """Accuracy and CPU seconds of every row, and the clock found by attention."""
    options = {"clock_offset": CLOCK_OFFSET}
    X, y = make_dense_and_sparse(N_TRAIN, random_state=2 * seed, **options)
    X_test, y_test = make_dense_and_sparse(N_TEST, random_state=2 * seed + 1, **options)
    results, clock = [], None
    for name, estimator in rows(seed).items():
        start = time.process_time()
        estimator.fit(X, y)
        seconds = time.process_time() - start
        accuracy = estimator.score(X_test, y_test)
        results.append({"row": name, "accuracy": accuracy, "CPU s": seconds})
        if clock is None:
            clock = clock_of(estimator, X_test)
    return results, clock


def clock_of(attending, X):
    """The learned offset, and the distance of the frames that events weigh most."""
    offset = attending.clock_offsets_["events", "signal"]
    maps = attending.attention_maps(X)["events", "signal"]
    away = [
        np.abs(weights.argmax(axis=1) - (events[:, -1] - CLOCK_OFFSET)).mean()
        for weights, events in zip(maps, X["events"], strict=True)
    ]
    return {"offset": offset, "frames away": float(np.mean(away))}


def table_of(results):
    """Means over seeds, with standard deviations of accuracies, as text."""
    rows = []
    for name, own in results.groupby("row", sort=False):
        scores, seconds = own["accuracy"], own["CPU s"].mean()
        accuracy = f"{scores.mean():.3f} ± {scores.std():.3f}".replace("0.", ".")
        taken = f"{seconds:.1f}" if seconds >= 0.1 else "< .1"
        rows.append({"scheme": name, "accuracy": accuracy, "CPU s": taken})
    return pd.DataFrame(rows)


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--csv", type=Path)
    options = parser.parse_args(argv)
    found, clocks = [], []
    for seed in range(options.seeds):
        results, clock = results_of(seed)
        found += [result | {"seed": seed} for result in results]
        clocks.append(clock)
        print(f"seed {seed} is done", file=sys.stderr)
    table = table_of(pd.DataFrame(found))
    if options.csv:
        table.to_csv(options.csv, index=False)
    print(markdown([list(table), *table.to_numpy().tolist()]))
    print()
    print(pd.DataFrame(clocks).agg(["mean", "std"]).round(2).to_string())


if __name__ == "__main__":
    main()
