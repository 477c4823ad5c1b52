"""Hidden Markov models of classes when modalities fail, and beside other fusion.

    OMP_NUM_THREADS=1 python benchmarks/hmm_fusion.py FOLDER [--seeds 5] [--csv OUT.csv]

FOLDER holds ts_japanesevowels, ts_articularyword, ts_basicmotions and ts_weizmann. The
first three have their own split into training and test samples; of the last each of
nine persons is left out once. Features are in standard deviations of the training
frames (pixels, of all together), and gradients are appended but for the vowels.

Conditions, of test samples only: 'clean'; 'drowned': noise of sd 2 on all frames of the
first modality; 'in part': noise of sd 2 on each modality during a third of its time, at
a place drawn for each sample and modality; 'missing': without the first modality.
Noise is added before gradients are computed. Mean accuracy over the seeds of the noise,
then the mean log loss of 'clean' and 'missing' where methods have probabilities.

Methods have their defaults but for the number of states, which is that of the set for
all chains. 'pooled' is early fusion of mean, sd and maximum of each feature by a
support vector machine (C = 10); 'dtw' one on the mean of the DTW kernels.

The second table is the fit: CPU seconds of three forms ('textbook' has no outliers and
no temperature), and how many times as long as 'textbook' hmmlearn takes for the same
chains by its two implementations, if it is installed: one model for each class, of all
features of a frame, from the same segments, with as many iterations.
"""

from __future__ import annotations

import argparse
import csv
import time
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from sklearn.metrics import log_loss
from sklearn.pipeline import make_pipeline
from sklearn.svm import SVC

from mmfusion import EarlyFusionClassifier, HMMClassifier, Modalities
from mmfusion.alignment import DTWKernel
from mmfusion.preprocessing import SequenceGradients, SequencePooling

NOISE_SD = 2.0
# number of states, and whether gradients are appended
SETS = {
    "japanesevowels": (5, False),
    "articularyword": (10, True),
    "basicmotions": (6, True),
    "weizmann": (5, True),
}
CONDITIONS = ("clean", "drowned", "in part", "missing")


class Split(NamedTuple):
    """Training and test samples of a data set."""

    train: dict[str, list[np.ndarray]]
    y_train: np.ndarray
    test: dict[str, list[np.ndarray]]
    y_test: np.ndarray


def splits(folder: Path, name: str) -> Iterator[Split]:
    """Yield the split of a set, or one for each person left out."""
    with np.load(folder / f"ts_{name}.npz") as stored:
        arrays = dict(stored)
    borders = np.cumsum(arrays["lengths"])[:-1]
    if name == "weizmann":
        kinds = ("mask", "edt")
        blocks = {kind: arrays[f"frames_{kind}"].astype(float) for kind in kinds}
        folds = [arrays["person"] == p for p in np.unique(arrays["person"])]
    else:
        parts, views = arrays["view_of_channel"], arrays["frames"].astype(float)
        blocks = {f"modality {v}": views[:, parts == v] for v in np.unique(parts)}
        folds = [arrays["split"] == 1]
    sequences = {kind: np.split(frames, borders) for kind, frames in blocks.items()}
    for held_out in folds:
        scaled = {
            kind: in_deviations(own, ~held_out, by_feature=name != "weizmann")
            for kind, own in sequences.items()
        }
        train, test = (
            {
                kind: [own[i] for i in np.flatnonzero(rows)]
                for kind, own in scaled.items()
            }
            for rows in (~held_out, held_out)
        )
        yield Split(train, arrays["y"][~held_out], test, arrays["y"][held_out])


def in_deviations(
    sequences: list[np.ndarray], train: np.ndarray, *, by_feature: bool
) -> list[np.ndarray]:
    """Express features in standard deviations of the training frames."""
    frames = np.concatenate([sequences[i] for i in np.flatnonzero(train)])
    center = frames.mean(axis=0)
    scale = frames.std(axis=0) if by_feature else (frames - center).std()
    return [(x - center) / scale for x in sequences]


def degraded(
    X: dict[str, list[np.ndarray]], condition: str, rng: np.random.Generator
) -> dict[str, list[Any]]:
    """Return test samples in a condition."""
    out: dict[str, list[Any]] = {name: list(own) for name, own in X.items()}
    first = next(iter(X))
    if condition == "missing":
        out[first] = [None] * len(X[first])
    for name in X if condition in ("drowned", "in part") else ():
        for i, x in enumerate(X[name]):
            rows = slice(None)
            if condition == "in part":
                n = max(1, len(x) // 3)
                start = int(rng.integers(len(x) - n + 1))
                rows = slice(start, start + n)
            elif name != first:
                continue
            noisy = x.copy()
            noisy[rows] += NOISE_SD * rng.normal(size=noisy[rows].shape)
            out[name][i] = noisy
    return out


def methods(n_states: int) -> dict[str, Callable[[], Any]]:
    """Return what makes each method."""
    return {
        "HMMClassifier": lambda: HMMClassifier(n_states),
        "outlier_share=0": lambda: HMMClassifier(n_states, outlier_share=0),
        "covariance_tied": lambda: HMMClassifier(n_states, covariance_tied=True),
        "discriminative": lambda: HMMClassifier(
            n_states, modality_weights="discriminative"
        ),
        "cv=None": lambda: HMMClassifier(n_states, cv=None),
        "pooled": lambda: make_pipeline(
            SequencePooling(), EarlyFusionClassifier(SVC(C=10), scaling="standard")
        ),
        "dtw": lambda: make_pipeline(DTWKernel(), SVC(kernel="precomputed")),
    }


def with_gradients(X: dict[str, list[Any]], wanted: bool) -> Modalities:
    """Append gradients, if wanted, also where the first modality is missing."""
    frame = Modalities(X)
    if not wanted:
        return frame
    observed = [name for name in frame.names if frame[name][0] is not None]
    out = SequenceGradients().fit_transform(frame[observed])
    return Modalities({name: X[name] for name in X} | out.to_dict())


def accuracies(
    folder: Path, name: str, n_seeds: int
) -> dict[tuple[str, str], tuple[float, float, float]]:
    """Return mean accuracy, its deviation over seeds, and log loss of each cell."""
    n_states, has_gradients = SETS[name]
    hits: dict[tuple[str, str, int], list[np.ndarray]] = {}
    losses: dict[tuple[str, str], list[float]] = {}
    for split in splits(folder, name):
        train = with_gradients(split.train, has_gradients)
        is_alone = len(train.names) == 1
        for condition in CONDITIONS[: 1 if is_alone else None]:
            is_random = condition in ("drowned", "in part")
            for seed in range(n_seeds if is_random else 1):
                rng = np.random.default_rng(seed)
                X = with_gradients(degraded(split.test, condition, rng), has_gradients)
                for method, model in fitted(split, train, n_states).items():
                    predicted = model.predict(X)
                    hits.setdefault((method, condition, seed), []).append(
                        predicted == split.y_test
                    )
                    if hasattr(model, "predict_proba"):
                        loss = log_loss(
                            split.y_test, model.predict_proba(X), labels=model.classes_
                        )
                        losses.setdefault((method, condition), []).append(loss)
    cells = {}
    for method, condition in dict.fromkeys(key[:2] for key in hits):
        found = [
            np.concatenate(own).mean()
            for k, own in hits.items()
            if k[:2] == (method, condition)
        ]
        loss = np.mean(losses.get((method, condition), [np.nan]))
        cells[method, condition] = (np.mean(found), np.std(found), float(loss))
    return cells


_FITTED: list[tuple[Split, dict[str, Any]]] = []  # of one split, which stays alive


def fitted(split: Split, train: Modalities, n_states: int) -> dict[str, Any]:
    """Fit all methods once for a split."""
    if not _FITTED or _FITTED[0][0] is not split:
        models = {
            name: make().fit(train, split.y_train)
            for name, make in methods(n_states).items()
        }
        _FITTED[:] = [(split, models)]
    return _FITTED[0][1]


def print_accuracies(folder: Path, n_seeds: int, path: Path | None) -> None:
    """Print and write the table of accuracies."""
    print("| set | method | clean | drowned | in part | missing | loss | missing |")
    print("|---" * 8 + "|")
    rows = []
    for name in SETS:
        cells = accuracies(folder, name, n_seeds)
        for method in dict.fromkeys(method for method, _ in cells):
            row = [name, method]
            for condition in CONDITIONS:
                mean, spread, _ = cells.get((method, condition), (np.nan,) * 3)
                is_noisy = condition in ("drowned", "in part") and np.isfinite(mean)
                row.append(f"{mean:.3f} ± {spread:.3f}" if is_noisy else f"{mean:.3f}")
            for condition in ("clean", "missing"):
                row.append(f"{cells.get((method, condition), (np.nan,) * 3)[2]:.3f}")
            row = ["-" if cell == "nan" else cell for cell in row]
            rows.append(row)
            print("| " + " | ".join(row) + " |", flush=True)
    if path is not None:
        with path.open("w", newline="") as file:
            csv.writer(file).writerows(
                [["set", "method", *CONDITIONS, "loss", "loss missing"], *rows]
            )


def hmmlearn_fit(
    train: Modalities, y: np.ndarray, ours: HMMClassifier, implementation: str
) -> Callable[[], Any]:
    """Return the fit of hmmlearn from the same segments, with as many iterations."""
    from hmmlearn.hmm import GaussianHMM

    n_states = ours.transitions_.shape[1]
    by_class = []
    for code, label in enumerate(ours.classes_):
        rows = np.flatnonzero(y == label)
        own = [np.hstack([train[name][i] for name in train.names]) for i in rows]
        segments = np.concatenate([np.arange(len(x)) * n_states // len(x) for x in own])
        frames = np.concatenate(own)
        means = np.array([frames[segments == k].mean(axis=0) for k in range(n_states)])
        covars = np.array([frames[segments == k].var(axis=0) for k in range(n_states)])
        transitions = 0.5 * (np.eye(n_states) + np.eye(n_states, k=1))
        transitions[-1, -1] = 1
        lengths = [len(x) for x in own]
        by_class.append((frames, lengths, means, covars + 1e-3, transitions, code))

    def fit() -> None:
        for frames, lengths, means, covars, transitions, code in by_class:
            model = GaussianHMM(
                n_states,
                n_iter=int(ours.n_iter_[code]),
                tol=-np.inf,
                init_params="",
                implementation=implementation,
            )
            model.startprob_ = np.eye(n_states)[0]
            model.transmat_, model.means_, model.covars_ = transitions, means, covars
            model.fit(frames, lengths)

    return fit


def print_times(folder: Path, repeats: int) -> None:
    """Print CPU seconds of the fit, and of hmmlearn as a multiple."""
    print("| set | HMMClassifier s | cv=None s | textbook s | 'scaling' | 'log' |")
    print("|---" * 6 + "|")
    for name, (n_states, has_gradients) in SETS.items():
        split = next(splits(folder, name))
        train = with_gradients(split.train, has_gradients)
        textbook = HMMClassifier(n_states, outlier_share=0, cv=None)
        models = [HMMClassifier(n_states), HMMClassifier(n_states, cv=None), textbook]
        fits = [partial(model.fit, train, split.y_train) for model in models]
        textbook.fit(train, split.y_train)
        if find_spec("hmmlearn") is not None:
            fits += [
                hmmlearn_fit(train, split.y_train, textbook, implementation)
                for implementation in ("scaling", "log")
            ]
        times = np.array([[cpu_seconds(fit) for fit in fits] for _ in range(repeats)])
        least = times.min(axis=0)
        own = [f"{seconds:.2f}" for seconds in least[:3]]
        peers = [f"{seconds / least[2]:.1f}x" for seconds in least[3:]] or ["-", "-"]
        print("| " + " | ".join([name, *own, *peers]) + " |", flush=True)


def cpu_seconds(function: Callable[[], Any]) -> float:
    """Return the CPU time of a call."""
    start = time.process_time()
    function()
    return time.process_time() - start


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--csv", type=Path)
    options = parser.parse_args()
    warnings.simplefilter("ignore")  # a peer warns of what is measured here
    print_accuracies(options.folder, options.seeds, options.csv)
    print()
    print_times(options.folder, options.repeats)


if __name__ == "__main__":
    main()
