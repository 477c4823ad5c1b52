"""Conditional random fields: beside CRFsuite, frame by frame, and hidden states.

    OMP_NUM_THREADS=1 python benchmarks/crf.py FOLDER [--peers PYTHON] [--seeds 3]
        [--parts speed streams hidden]

FOLDER holds ts_articularyword, ts_basicmotions and ts_japanesevowels, and wordalign.

'speed': the same objective as CRFsuite (`crf_peer.py`, run by the Python of its
environment), whose constant feature is penalised and which has no scores of first and
last labels. Dense: 160 recordings of words (23,040 frames), nine channels in windows of
seven frames, shifted to be at least 0, since CRFsuite drops what is negative in sum; 25
labels. Sparse: which words of 4,000 sentences are lower case, capitalised, upper case
or mixed, from the word, its ends and its neighbours. CPU seconds of 100 iterations (of
ours the whole fit, of the peer without reading the features), objective after these,
MiB by which the largest memory grows, CPU seconds of decoding from features, and the
optimum for every eighth sequence with a hundred times the penalty, which both reach in
hundreds of iterations.

'streams': pieces of 20 to 49 frames of movements in random order, noise of sd 1, mean
and sd in windows of 21 frames, every second frame, quadratic features; 60 training and
60 test streams. Accuracy of logistic regression of frames, of the field with an overlap
of 1, with its default, and with the C that three folds of the training streams choose.

'hidden': accuracy of the classifiers of sequences, with all and with every second
training sample of each class, and as many states in both. Hidden fields have the C of
{1, .1, .01} that three folds of the training samples choose; 'squares' have the squares
of the features as well.
"""

from __future__ import annotations

import argparse
import gc
import json
import multiprocessing
import resource
import subprocess
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    OneHotEncoder,
    PolynomialFeatures,
    StandardScaler,
)

from mmfusion import CRFLabeler, HiddenCRFClassifier, HMMClassifier, Modalities
from mmfusion.preprocessing import SequenceGradients

N_SENTENCES = 4000
N_WORDS_OF_CLASSES = 160
C2 = 0.1  # CRFsuite's penalty; C is 1 / (2 C2)
STATES = {"basicmotions": (6, True), "japanesevowels": (5, False)}
STATES |= {"articularyword": (10, True)}


def recordings(folder: Path, name: str) -> tuple[list[np.ndarray], np.ndarray, Any]:
    """Return sequences, classes, and which of them are training samples."""
    with np.load(folder / f"ts_{name}.npz") as data:
        borders = np.cumsum(data["lengths"])[:-1]
        frames = np.split(data["frames"].astype(np.float64), borders)
        modality = data["view_of_channel"]
        return frames, data["y"], (data["split"] == 0, modality)


# Speed


def dense_case(folder: Path) -> tuple[list[np.ndarray], list[np.ndarray], Any]:
    X, y, (train, _) = recordings(folder, "articularyword")
    rows = np.flatnonzero(train)[:: train.sum() // N_WORDS_OF_CLASSES]
    rows = rows[:N_WORDS_OF_CLASSES]
    windows = []
    for i in rows:
        padded = np.pad(X[i], ((3, 3), (0, 0)), mode="edge")
        own = np.lib.stride_tricks.sliding_window_view(padded, 7, axis=0)
        windows.append(own.reshape(len(own), -1))
    least = np.min([own.min(axis=0) for own in windows], axis=0)
    spread = np.std(np.concatenate(windows), axis=0)
    ones = [np.ones((len(own), 1)) for own in windows]
    designs = [
        np.hstack([(own - least) / spread, one])
        for own, one in zip(windows, ones, strict=True)
    ]
    codes = np.unique(y[rows], return_inverse=True)[1]
    labels = [np.full(len(own), c) for own, c in zip(designs, codes, strict=True)]
    return designs, labels, None


def sparse_case(folder: Path) -> tuple[list[np.ndarray], list[np.ndarray], Any]:
    text = (folder / "wordalign" / "hansards_train30k.en").read_text()
    sentences = [line.split() for line in text.splitlines() if line.split()]
    labels, rows = [], []
    for words in sentences[:N_SENTENCES]:
        lower = ["", *(word.lower() for word in words), ""]
        labels.append(np.array([_case(word) for word in words]))
        rows.append(
            [
                (word, word[-3:], word[:2], lower[t], lower[t + 2], "")
                for t, word in enumerate(lower[1:-1])
            ]
        )
    flat = np.array([row for own in rows for row in own])
    codes = np.column_stack(
        [np.unique(column, return_inverse=True)[1] for column in flat.T]
    )
    borders = np.cumsum([len(own) for own in rows])[:-1]
    return np.split(codes.astype(float), borders), labels, OneHotEncoder()


def _case(word: str) -> int:
    if word == word.lower():
        return 0
    if word[1:] == word[1:].lower():
        return 1
    return 2 if word == word.upper() else 3


def run_peer(python: str, design: Any, y: Any, c2: float, max_iter: int) -> Any:
    rows = sparse.csr_array(design)
    with tempfile.NamedTemporaryFile(suffix=".npz") as file:
        np.savez(
            file,
            columns=rows.indices,
            values=rows.data,
            row_starts=rows.indptr,
            codes=np.concatenate(y),
            offsets=np.concatenate([[0], np.cumsum([len(own) for own in y])]),
        )
        file.flush()
        command = [python, str(Path(__file__).with_name("crf_peer.py")), file.name]
        found = subprocess.run(
            [*command, str(c2), str(max_iter)],
            check=True,
            capture_output=True,
            text=True,
        )
    return json.loads(found.stdout)


def peak_memory(model: Any, X: Any, y: Any) -> float:
    """Return the MiB by which a fit raises the largest memory of a process."""

    def measure(pipe: Any) -> None:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        model.fit([X], y)
        after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        pipe.send((after - before) / 1024)

    receiver, sender = multiprocessing.Pipe(duplex=False)
    child = multiprocessing.get_context("fork").Process(target=measure, args=(sender,))
    child.start()
    found = receiver.recv()
    child.join()
    return float(found)


def speed(folder: Path, python: str | None) -> None:
    print("speed            train s   loss 100    optimum  decode s  MiB")
    for name, case in (("dense", dense_case), ("sparse", sparse_case)):
        X, y, features = case(folder)
        model = CRFLabeler(
            1 / (2 * C2),
            overlap=1,
            scaling=None,
            features=features,
            fit_intercept=False,
            fit_boundaries=False,
            max_iter=100,
            tol=0,
        )
        model.fit([X[:64]], y[:64]).predict([X[:64]])  # compiles
        gc.collect()  # what was made before is no work of the fit
        start = time.process_time()
        model.fit([X], y)
        seconds = time.process_time() - start
        start = time.process_time()
        model.predict([X])
        decoded = time.process_time() - start
        loss = 2 * C2 * model.objective_history_[-1]
        memory = peak_memory(model, X, y)
        few, C2_few = slice(None, None, 8), 100 * C2
        model.set_params(C=1 / (2 * C2_few), max_iter=1500, tol=1e-7)
        model.fit([X[few]], y[few])
        best = 2 * C2_few * model.objective_history_[-1]
        print(
            f"{name:8} ours  {seconds:9.2f} {loss:10.3f} {best:12.5f} {decoded:7.2f} "
            f"{memory:6.0f}",
            flush=True,
        )
        if python is None:
            continue
        frames = np.concatenate(X)
        design = frames if features is None else features.fit_transform(frames)
        found = run_peer(python, design, y, C2, 100)
        frames = np.concatenate(X[few])
        design = frames if features is None else features.fit_transform(frames)
        optimum = run_peer(python, design, y[few], C2_few, 1500)["loss"]
        print(
            f"{name:8} peer  {found['train']:9.2f} {found['loss']:10.3f} "
            f"{optimum:12.5f} {found['decode']:7.2f} {found['memory']:6.0f}   ratio "
            f"{found['train'] / seconds:.1f}, decode {found['decode'] / decoded:.1f}, "
            f"optimum {best / optimum - 1:+.1e}",
            flush=True,
        )


# Streams


def streams(folder: Path, seed: int, *, is_train: bool) -> tuple[Any, Any]:
    X, y, (train, _) = recordings(folder, "basicmotions")
    rng = np.random.default_rng(seed)
    rows = np.flatnonzero(train == is_train)
    found, labels = [], []
    for _ in range(60):
        pieces, own = [], []
        for _ in range(rng.integers(4, 9)):
            i, length = rng.choice(rows), rng.integers(20, 50)
            first = rng.integers(0, len(X[i]) - length + 1)
            pieces.append(X[i][first : first + length])
            own.append(np.full(length, y[i]))
        raw = np.concatenate(pieces)
        raw += rng.normal(size=raw.shape)
        padded = np.pad(raw, ((10, 10), (0, 0)), mode="reflect")
        windows = np.lib.stride_tricks.sliding_window_view(padded, 21, axis=0)
        both = np.hstack([windows.mean(axis=-1), windows.std(axis=-1)])
        found.append(both[::2])
        labels.append(np.concatenate(own)[::2])
    return found, labels


def label_streams(folder: Path, n_seeds: int) -> None:
    print("streams  seed  frames  overlap=1  default  searched C")
    square = make_pipeline(
        StandardScaler(), PolynomialFeatures(2, include_bias=False), StandardScaler()
    )
    for seed in range(n_seeds):
        X, y = streams(folder, seed, is_train=True)
        later, truth = streams(folder, 100 + seed, is_train=False)
        frames = make_pipeline(square, LogisticRegression(max_iter=2000))
        frames.fit(np.concatenate(X), np.concatenate(y))
        scores = [frames.score(np.concatenate(later), np.concatenate(truth))]
        field = CRFLabeler(features=square)
        search = GridSearchCV(field, {"C": [0.05, 0.2, 1, 5]}, cv=3)
        for model in (CRFLabeler(features=square, overlap=1), field, search):
            scores.append(model.fit([X] if model is not search else Modalities([X]), y)
                          .score(Modalities([later]), truth))  # fmt: skip
        chosen = search.best_params_["C"]
        print(
            f"         {seed:4}  {scores[0]:6.3f}  {scores[1]:9.3f}  {scores[2]:7.3f}"
            f"  {scores[3]:7.3f} (C={chosen})",
            flush=True,
        )


# Hidden states


def append_squares(frames: np.ndarray) -> np.ndarray:
    return np.hstack([frames, frames**2])


def classify(folder: Path) -> None:
    print("hidden           samples    HMM  hidden CRF  squares")
    for name, (n_states, has_gradients) in STATES.items():
        sequences, y, (train, modality) = recordings(folder, name)
        pooled = np.concatenate([x for x, own in zip(sequences, train, strict=True)
                                 if own])  # fmt: skip
        center, spread = pooled.mean(axis=0), pooled.std(axis=0)
        scaled = [(x - center) / spread for x in sequences]
        X = Modalities(
            {
                f"m{v}": [x[:, modality == v] for x in scaled]
                for v in np.unique(modality)
            }
        )
        if has_gradients:
            X = SequenceGradients().fit_transform(X)
        rows = np.flatnonzero(train)
        half = np.concatenate([rows[y[rows] == c][::2] for c in np.unique(y)])
        for title, own in (("all", rows), ("half", half)):
            hmm = HMMClassifier(n_states, random_state=0).fit(X[own], y[own])
            scores = [hmm.score(X[~train], y[~train])]
            chosen = []
            for features in (None, FunctionTransformer(append_squares)):
                field = HiddenCRFClassifier(
                    n_states, features=features, max_iter=100, random_state=0
                )
                search = GridSearchCV(field, {"C": [1, 0.1, 0.01]}, cv=3)
                search.fit(X[own], y[own])
                scores.append(search.score(X[~train], y[~train]))
                chosen.append(search.best_params_["C"])
            print(
                f"{name:15} {title:4} {len(own):4}  {scores[0]:.3f}       "
                f"{scores[1]:.3f}    {scores[2]:.3f}  (C={chosen})",
                flush=True,
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--peers", help="Python that has python-crfsuite")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--parts", nargs="+", default=["speed", "streams", "hidden"])
    options = parser.parse_args()
    warnings.simplefilter("ignore", ConvergenceWarning)
    if "speed" in options.parts:
        speed(options.folder, options.peers)
    if "streams" in options.parts:
        label_streams(options.folder, options.seeds)
    if "hidden" in options.parts:
        classify(options.folder)


if __name__ == "__main__":
    main()
