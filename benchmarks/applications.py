"""Applications on real data: what fusion brings, when modalities fail too.

    OMP_NUM_THREADS=1 python benchmarks/applications.py FOLDER [--csv FOLDER_OF_TABLES]

prints the tables of the guide's page of applications, in Markdown. FOLDER holds
mosi_context_3v, breast_tcga_3v and ts_basicmotions.

sentiment
    Utterances by themselves: accuracy on the 31 test videos with all modalities and
    without each. 'words' are TF-IDF of words and pairs of words of the transcripts.
    Networks have three seeds, whose mean and standard deviation are reported.
context
    The same utterances, each alone and in its video: a field over the utterances of a
    video, or features of the utterances beside. p is that of the exact test of McNemar
    against 'alone' over the utterances, which takes them as independent.
tumours
    Stratified 5-fold cross-validation, twice: accuracy and log loss of complete
    records, without one assay (mean over the assays), and with a third of all cells
    missing, drawn at random; mean and standard deviation over folds.
gestures
    The archive's split; the gyroscope is read at a third of its rate. Noise of three
    standard deviations, mean over three draws; networks have one seed for each draw.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from fusion_quality import load, markdown
from scipy.stats import binomtest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import RepeatedStratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.svm import SVC

from mmfusion import (
    CRFLabeler,
    EarlyFusionClassifier,
    HMMClassifier,
    HybridFusionClassifier,
    LateFusionClassifier,
    Modalities,
    NeuralFusionClassifier,
)
from mmfusion.alignment import DTWKernel
from mmfusion.preprocessing import (
    SequenceGradients,
    SequencePooling,
    SequenceResampler,
)
from mmfusion.robustness import add_noise, drop_modalities

SEEDS = (0, 1, 2)
FEATURES = ("text", "audio", "video")
Table = list[list[str]]
Makers = Mapping[str, Callable[[int], Any]]  # estimators by the seed


def learner() -> LogisticRegression:
    """The classifier of all fusion but that of networks."""
    return LogisticRegression(max_iter=1000)


def fixed(make: Callable[..., Any], **params: Any) -> Callable[[int], Any]:
    """An estimator without a seed."""
    return lambda seed: make(learner(), **params)


def network(seed: int, **params: Any) -> NeuralFusionClassifier:
    """A network of a seed."""
    return NeuralFusionClassifier(random_state=seed, **params)


def by_seed(make: Callable[[int], Any]) -> Sequence[int]:
    """The seeds worth running."""
    return SEEDS[:1] if make.__name__ == "<lambda>" else SEEDS


def summary(values: Sequence[float]) -> str:
    """The mean, and the deviation of several values."""
    spread = f" ± {np.std(values):.3f}" if len(values) > 1 else ""
    return f"{np.mean(values):.3f}{spread}"


class Videos:
    """Utterances of mosi_context_3v and their videos."""

    def __init__(self, folder: Path) -> None:
        with np.load(folder / "mosi_context_3v.npz") as data:
            blocks: dict[str, Any] = {
                name: data[f"view_{v}"] for v, name in enumerate(FEATURES)
            }
            self.y, self.lengths = data["y"], data["lengths"]
            self.is_test = np.repeat(data["split"] == 1, self.lengths)
            transcripts = data["transcript"]
        words = TfidfVectorizer(min_df=2, ngram_range=(1, 2), sublinear_tf=True)
        words.fit(transcripts[~self.is_test])
        self.X = Modalities(blocks | {"words": words.transform(transcripts)})
        self.video = np.repeat(np.arange(len(self.lengths)), self.lengths)

    def of(self, names: Sequence[str]) -> tuple[Modalities, Modalities]:
        """Training and test utterances."""
        X = self.X[list(names)]
        return X[~self.is_test], X[self.is_test]

    def sequences(self, names: Sequence[str]) -> tuple[Modalities, Modalities]:
        """Training and test videos."""
        blocks = {name: self.X[name] for name in names}
        dense = {
            name: block.toarray() if name == "words" else block
            for name, block in blocks.items()
        }
        parts = [
            Modalities({name: self.cut(own, test) for name, own in dense.items()})
            for test in (False, True)
        ]
        return parts[0], parts[1]

    def cut(self, values: np.ndarray, test: bool) -> list[np.ndarray]:
        """Values by video, of training or test videos."""
        ends = np.cumsum(self.lengths)
        return [
            values[end - n : end]
            for n, end in zip(self.lengths, ends, strict=True)
            if self.is_test[end - 1] == test
        ]

    def with_neighbors(self, names: Sequence[str], reach: int) -> Modalities:
        """Every modality, and its mean over the utterances beside."""
        blocks = {name: self.X[name] for name in names}
        places = np.arange(len(self.y))
        near = np.abs(places[:, None] - places) <= reach
        near &= (self.video[:, None] == self.video) & ~np.eye(len(places), dtype=bool)
        shares = near / np.maximum(near.sum(axis=1, keepdims=True), 1)
        beside = {f"{name} beside": shares @ own for name, own in blocks.items()}
        return Modalities(blocks | beside)


def sentiment(folder: Path) -> Table:
    """Utterances by themselves."""
    videos = Videos(folder)
    y = videos.y
    makers: Makers = {
        "early, blocks": fixed(EarlyFusionClassifier, scaling="block"),
        "late": fixed(LateFusionClassifier),
        "late, by score": fixed(LateFusionClassifier, weights="score"),
        "hybrid": fixed(HybridFusionClassifier),
        "network": network,
    }
    single = fixed(LateFusionClassifier)
    rows = [["modalities", "method", "all", *(f"no {name}" for name in FEATURES)]]
    sets = [(name,) for name in (*FEATURES, "words")]
    for names in [*sets, FEATURES, (*FEATURES, "words")]:
        train, later = videos.of(names)
        for method, make in makers.items() if len(names) > 1 else [("alone", single)]:
            found: dict[str, list[float]] = {}
            for seed in by_seed(make):
                fitted = make(seed).fit(train, y[~videos.is_test])
                for gone in ("all", *FEATURES) if len(names) > 1 else ("all",):
                    data = later if gone == "all" else drop_modalities(later, 1.0, gone)
                    score = fitted.score(data, y[videos.is_test])
                    found.setdefault(gone, []).append(score)
            cells = [
                summary(found[k]) if k in found else "" for k in ("all", *FEATURES)
            ]
            rows.append([", ".join(names), method, *cells])
    return rows


def context(folder: Path) -> Table:
    """Utterances in their videos."""
    videos = Videos(folder)
    test, y = videos.is_test, videos.y
    labels, truth = videos.cut(y, False), y[test]
    names_of_scores = ["in training", "transition score", "overlap"]
    rows = [["modalities", "method", "accuracy", "p", *names_of_scores]]
    for names in (("text",), ("words",), FEATURES):
        train, later = videos.of(names)
        alone = EarlyFusionClassifier(learner()).fit(train, y[~test])
        right = {"alone": alone.predict(later) == truth}
        known = alone.score(train, y[~test])
        scores = {"alone": [f"{known:.3f}", "", ""]}
        for reach in (1, 4):
            near = videos.with_neighbors(names, reach)
            beside = EarlyFusionClassifier(learner()).fit(near[~test], y[~test])
            right[f"mean of {reach} beside"] = beside.predict(near[test]) == truth
        sequences, unlabelled = videos.sequences(names)
        for reach in (0, 1, 2):
            scaling = {"words": None} if "words" in names else "standard"
            field = CRFLabeler(context=reach, scaling=scaling).fit(sequences, labels)
            method = f"field, context={reach}"
            right[method] = np.concatenate(field.predict(unlabelled)) == truth
            known = field.score(sequences, labels)
            score, overlap = field.transition_scores_[0, 0], field.overlap_
            scores[method] = [f"{known:.3f}", f"{score:.3f}", f"{overlap:.1f}"]
        for method, own in right.items():
            better = int((own & ~right["alone"]).sum())
            worse = int((~own & right["alone"]).sum())
            p = binomtest(better, better + worse).pvalue if better + worse else 1.0
            shown = "<0.001" if p < 0.001 else f"{p:.3f}"
            cells = [f"{own.mean():.3f}", "" if method == "alone" else shown]
            rows.append(
                [", ".join(names), method, *cells, *scores.get(method, [""] * 3)]
            )
    return rows


def tumours(folder: Path) -> Table:
    """Subtypes of tumours that lack assays."""
    X, y = load(folder, "breast_tcga_3v")
    makers: Makers = {
        "early": fixed(EarlyFusionClassifier),
        "late": fixed(LateFusionClassifier),
        "late, log pool": fixed(LateFusionClassifier, combine="log_pool"),
        "hybrid": fixed(HybridFusionClassifier),
        "network": network,
        "network, one member": partial(network, n_members=1),
        "network, temperature": partial(
            network, calibration="temperature", validation_fraction=0.2
        ),
    }
    kinds = ("complete", "one missing", "a third missing")
    scores = ("accuracy", "log loss")
    rows = [["method", *(f"{kind}, {score}" for score in scores for kind in kinds)]]
    folds = list(RepeatedStratifiedKFold(n_repeats=2, random_state=0).split(X, y))
    for method, make in makers.items():
        found: dict[str, list[float]] = {name: [] for name in rows[0][1:]}
        for seed, (train, test) in enumerate(folds):
            fitted = make(seed).fit(X[train], y[train])
            degraded = {
                "complete": [X[test]],
                "one missing": [drop_modalities(X[test], 1.0, n) for n in X.names],
                "a third missing": [drop_modalities(X[test], 1 / 3, random_state=seed)],
            }
            for kind, sets in degraded.items():
                predicted = [fitted.predict_proba(data) for data in sets]
                accuracy = np.mean([p.argmax(axis=1) == y[test] for p in predicted])
                loss = np.mean([log_loss(y[test], p) for p in predicted])
                found[f"{kind}, accuracy"].append(float(accuracy))
                found[f"{kind}, log loss"].append(float(loss))
        rows.append([method, *(summary(own) for own in found.values())])
    return rows


def gestures(folder: Path) -> Table:
    """Motions by sensors of unlike rates, one of which fails."""
    with np.load(folder / "ts_basicmotions.npz") as data:
        frames = np.split(data["frames"], np.cumsum(data["lengths"])[:-1])
        y, test = data["y"], data["split"] == 1
    X = Modalities(
        {
            "accelerometer": [x[:, :3] for x in frames],
            "gyroscope": [x[::3, 3:] for x in frames],
        }
    )
    distance = {"sample_weighting": "distance"}
    resampled = partial(SequenceResampler, 20, flatten=True)
    makers: dict[str, tuple[list[Callable[[], Any]], Callable[[int], Any]]] = {
        "20 frames, late": ([resampled], fixed(LateFusionClassifier)),
        "20 frames, hybrid": ([resampled], fixed(HybridFusionClassifier)),
        "20 frames, network": ([resampled], network),
        "statistics, late": ([SequencePooling], fixed(LateFusionClassifier)),
        "statistics, late by distance": (
            [SequencePooling],
            fixed(LateFusionClassifier, **distance),
        ),
        "statistics, hybrid": ([SequencePooling], fixed(HybridFusionClassifier)),
        "statistics, network": ([SequencePooling], network),
        "sequences, network": ([], partial(network, n_members=1)),
        "gradients, HMM": ([SequenceGradients], lambda seed: HMMClassifier(6)),
        "time warping": ([DTWKernel], lambda seed: SVC(kernel="precomputed")),
    }
    names = X.names
    rows = [
        ["method", "clean", *(f"no {n}" for n in names), *(f"noisy {n}" for n in names)]
    ]
    for method, (steps, make) in makers.items():
        found: dict[str, list[float]] = {column: [] for column in rows[0][1:]}
        for seed in SEEDS:
            fitted = make_pipeline(*(step() for step in steps), make(seed))
            fitted.fit(X[~test], y[~test])
            later = {"clean": X[test]}
            for name in names:
                later[f"no {name}"] = drop_modalities(X[test], 1.0, name)
                later[f"noisy {name}"] = add_noise(
                    X[test], 3, name, reference=X[~test], random_state=seed
                )
            for column, data in later.items():
                found[column].append(fitted.score(data, y[test]))
        rows.append([method, *(summary(own) for own in found.values())])
    return rows


TABLES = {
    "sentiment": sentiment,
    "context": context,
    "tumours": tumours,
    "gestures": gestures,
}


def main() -> None:
    """Run all tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--tables", nargs="+", default=list(TABLES), choices=TABLES)
    parser.add_argument("--csv", type=Path, help="folder of the tables of the guide")
    options = parser.parse_args()
    for name in options.tables:
        rows = TABLES[name](options.folder)
        print(f"\n{name}\n\n{markdown(rows)}", flush=True)
        if options.csv:
            path = options.csv / f"applications_{name}.csv"
            with path.open("w", newline="") as file:
                csv.writer(file, lineterminator="\n").writerows(rows)


if __name__ == "__main__":
    main()
