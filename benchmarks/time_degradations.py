"""Fusion of sequences with bursts of noise, shifted clocks and dropped stretches.

    OMP_NUM_THREADS=1 python benchmarks/time_degradations.py FOLDER --seeds 3 \\
        --csv OUT.csv --figure OUT.png

fits to original samples, and prints, in Markdown, accuracies on test samples that are
degraded, as means and standard deviations over seeds of the networks and of the
degradations; on gestures they are means over the degraded modality, too.

events
    600 samples of ``make_dense_and_sparse`` for training, 500 for testing, drawn anew
    by each seed. The signal is degraded; a frame is the unit of the clocks.
gestures
    The archive's split of ts_basicmotions, which FOLDER holds; the gyroscope is read at
    a third of its rate, and no sequence has a clock.
"""

from __future__ import annotations

import argparse
import sys
from functools import partial
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
from dense_and_sparse import CLOCK_OFFSET, N_TEST, N_TRAIN, network
from fusion_quality import markdown
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mmfusion import (
    HybridFusionClassifier,
    LateFusionClassifier,
    Modalities,
    NeuralFusionClassifier,
)
from mmfusion.datasets import make_dense_and_sparse
from mmfusion.preprocessing import SequencePooling, SequenceResampler
from mmfusion.robustness import (
    DegradationDisplay,
    DegradationResults,
    degradation_curve,
)

LEVELS = {
    "bursts": [0, 0.25, 0.5, 0.75],
    "shift": [0, 1, 2, 5],
    "stretches": [0, 0.25, 0.5, 0.75],
}
IN_TABLE = {"bursts": [0, 0.25, 0.5], "shift": [2, 5], "stretches": [0.25, 0.5]}
LOGISTIC = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))


def without_network():
    """Late and hybrid fusion of tables that are made of the sequences."""
    resampled = SequenceResampler(20, flatten=True)
    return {
        "statistics, late": make_pipeline(
            SequencePooling(), LateFusionClassifier(LOGISTIC)
        ),
        "statistics, hybrid": make_pipeline(
            SequencePooling(), HybridFusionClassifier(LOGISTIC)
        ),
        "20 frames, hybrid": make_pipeline(resampled, HybridFusionClassifier(LOGISTIC)),
    }


def events(seed):
    """Return samples, the number of those to train on, and what is compared."""
    make = partial(make_dense_and_sparse, clock_offset=CLOCK_OFFSET)
    X, y = make(N_TRAIN, random_state=2 * seed)
    X_test, y_test = make(N_TEST, random_state=2 * seed + 1)
    attending = network("cross_attention", seed)
    neural = {
        "cross-attention": clone(attending).set_params(modality_noise=0.3),
        "the same, no noise in training": attending,
        "gated network": network("gated", seed, encoders=("conv", 32, 32)),
    }
    options = {"modalities": ["signal"], "times": -1}
    return X.concat(X_test), np.append(y, y_test), N_TRAIN, neural, options


def gestures(folder, seed):
    """Return samples, the number of those to train on, and what is compared."""
    with np.load(folder / "ts_basicmotions.npz") as data:
        frames = np.split(data["frames"], np.cumsum(data["lengths"])[:-1])
        y, test = data["y"], data["split"] == 1
    X = Modalities(
        {
            "accelerometer": [x[:, :3] for x in frames],
            "gyroscope": [x[::3, 3:] for x in frames],
        }
    )
    order = np.argsort(test, kind="stable")
    make = partial(NeuralFusionClassifier, n_members=1, random_state=seed)
    neural = {
        "cross-attention": make("cross_attention"),
        "the same, no noise in training": make("cross_attention", modality_noise=0.0),
        "gated network": make(),
    }
    return X[order], y[order], int((~test).sum()), neural, {}


def scores_of(name, data, seed):
    """Score all methods at all levels; the folds of what is returned are seeds."""
    X, y, n_train, neural, options = data
    rows = np.arange(len(y))
    results = degradation_curve(
        neural | without_network(),
        X,
        y,
        degradation=list(LEVELS),
        levels=LEVELS,
        cv=[(rows[:n_train], rows[n_train:])],
        scoring="accuracy",
        random_state=seed,
        **options,
    )
    return [
        # modalities of a seed are averaged, as repeats are
        row | {"modality": name, "fold": seed, "repeat": row["modality"]}
        for row in results.results
    ]


def table_of(results):
    """Arrange means and standard deviations: a row for each set and method."""
    rows = {}
    for row in results.summary().to_dict("records"):
        kind, level = row["degradation"], row["level"]
        if level in IN_TABLE[kind]:
            column = f"{kind} {level:g}" if level else "clean"
            cell = f"{row['mean']:.3f} ± {row['std']:.3f}".replace("0.", ".")
            rows.setdefault((row["modality"], row["estimator"]), {})[column] = cell
    names = ["data", "method"]
    return pd.DataFrame(rows).T.rename_axis(names).reset_index()


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path, help="of ts_basicmotions.npz")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--csv", type=Path)
    parser.add_argument("--figure", type=Path, help="draw the curves")
    options = parser.parse_args(argv)
    rows = []
    for name, load in {
        "events": events,
        "gestures": partial(gestures, options.folder),
    }.items():
        for seed in range(options.seeds):
            rows += scores_of(name, load(seed), seed)
            print(f"{name}, seed {seed} is done", file=sys.stderr)
    kinds = list(LEVELS)
    rows.sort(key=lambda row: kinds.index(row["degradation"]))  # a row of panels each
    results = DegradationResults(rows)
    table = table_of(results)
    if options.csv:
        table.to_csv(options.csv, index=False)
    if options.figure:
        mpl.use("agg")
        figure = DegradationDisplay.from_results(results).figure_
        figure.savefig(options.figure, dpi=80)
    print(markdown([list(table), *table.to_numpy().tolist()]))


if __name__ == "__main__":
    main()
