"""Errors of alignments of real sequences whose true alignment is known.

    OMP_NUM_THREADS=1 python benchmarks/alignment_errors.py FOLDER [--csv OUT.csv]

prints a Markdown table per data set of FOLDER; ``--csv`` writes them side by side, as
the user guide shows them. The error of a pair is the mean absolute deviation, in
frames, from where a frame of one sequence truly is in the other; of it, the mean and
standard deviation over pairs, the median, and the mean in seconds where the rate of
frames is known. 'ms' is CPU time per pair, which for 'learned' contains a share of the
learning.

performances
    Two pianists play the same piece (align_vienna4x22); the truth are the onsets of
    its notes. A frame has the log velocity of every key, and how much that rose since
    the frame before, which marks the onsets. Pianists 1 to 11 are for learning, and
    pairs of the others, drawn once, for the errors.
silhouettes
    Videos of moving persons as masks and as distance transforms (ts_weizmann). Of each
    fifth of the transforms only a random share of the frames is kept, between 30 and
    90 %. Thrice, three of nine persons are for the errors. Both modalities are images
    of the same pixels, which DTW compares; CTW and its peer have the principal
    components with 99 % of the variance.
mixed sensors
    Accelerometer and gyroscope (ts_basicmotions) against a random full-rank linear
    mixing of the same six channels, warped as above; five mixings, each for all
    samples. Errors on the data's own test split, as for:
sensors
    Gyroscope, under a smooth random warp, against accelerometer
    (align_warp_basicmotions).

Every method has its defaults except for the options in its name, everywhere; what the
script does was settled on seed 10000. Features are in standard deviations of the
sequences for learning: per channel for the sensors, all of a modality at once for the
images. Soft-DTW has a hundredth of the mean local cost of the pair for gamma, which no
unit changes. 'CTW' and 'generalised CTW' see one pair at a time; those 'learned' have
their projections from other pairs, without their true alignment. Peers that are not
installed are left out.
"""

from __future__ import annotations

import argparse
import csv
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from joblib import Parallel, delayed
from scipy.spatial.distance import cdist
from sklearn.decomposition import PCA

from mmfusion.alignment import CTWAligner, dtw_path, soft_dtw_alignment
from mmfusion.alignment.ctw._alternation import fit_basis_ctw
from mmfusion.alignment.ctw._monotone_bases import align_by_bases
from mmfusion.alignment.ctw._projections import Projections, project

N_STRETCHES = 5
SHARES = 0.3, 0.9  # of the frames of a stretch that are kept
GAMMA = 0.01  # of the mean local cost
VARIANCE = 0.99  # that principal components keep
N_LEARNING_PAIRS = 3  # of each piece
N_MIXINGS = 5
MOTION_RATE = 10  # frames a second of the sensors


class Pair(NamedTuple):
    """Two sequences, and where some times of the first are in the second, in frames.

    Parameters
    ----------
    like : tuple of two ndarray
        The sequences by features that are as alike as one knows.
    own : tuple of two ndarray
        By the features that projections are learned from.
    at, truth : ndarray of shape (n_times,)
        Times of the first, and the same in the second.
    """

    like: tuple[np.ndarray, np.ndarray]
    own: tuple[np.ndarray, np.ndarray]
    at: np.ndarray
    truth: np.ndarray


Fold = tuple[list[tuple[np.ndarray, np.ndarray]], list[Pair]]


class Data(NamedTuple):
    """Sequences for learning and pairs for errors, by fold; frames a second."""

    folds: list[Fold]
    rate: float | None


Method = Callable[[np.ndarray, np.ndarray], np.ndarray]


# Data


def split(frames: np.ndarray, lengths: np.ndarray) -> list[np.ndarray]:
    """Sequences of frames that lie one after the other."""
    return np.split(frames.astype(np.float64), np.cumsum(lengths)[:-1])


def kept_frames(n_frames: int, rng: np.random.Generator) -> np.ndarray:
    """An evenly spaced share of each stretch, and both ends."""
    edges = np.linspace(0, n_frames - 1, N_STRETCHES + 1)
    stretches = [
        np.linspace(a, b, max(2, round(rng.uniform(*SHARES) * (b - a)) + 1))
        for a, b in pairwise(edges)
    ]
    return np.unique(np.rint(np.concatenate(stretches)).astype(int))


def standardised(
    sequences: list[np.ndarray], learning: np.ndarray, axis: int | None = 0
) -> list[np.ndarray]:
    """In standard deviations about the mean of the sequences for learning."""
    frames = np.concatenate([sequences[k] for k in learning])
    mean, scale = frames.mean(axis=0), frames.std(axis=axis)
    return [(x - mean) / scale for x in sequences]


def performances(folder: Path, n_pairs: int, rng: np.random.Generator) -> Data:
    """Pairs of performances of a piece."""
    with np.load(folder / "align_vienna4x22.npz") as data:
        rolls = split(data["frames_roll"], data["lengths"])
        players, pieces, rate = data["performer"], data["piece"], float(data["fps"])
        gold = {piece: data[f"gold_{piece}"] for piece in np.unique(pieces)}
    learning, pairs = [], []
    for piece, onsets in gold.items():
        of_piece = np.flatnonzero(pieces == piece)
        of_player = {players[k]: onset_features(rolls[k]) for k in of_piece}
        first, second = (
            list(combinations(some, 2)) for some in (range(1, 12), range(12, 23))
        )
        for a, b in rng.permutation(first)[:N_LEARNING_PAIRS]:
            learning.append((of_player[a], of_player[b]))
        for a, b in rng.permutation(second)[:n_pairs]:
            both = onsets[:, [a - 1, b - 1]].astype(np.float64)
            at, truth = both[np.isfinite(both).all(axis=1)].T
            sequences = of_player[a], of_player[b]
            pairs.append(Pair(sequences, sequences, at, truth))
    return Data([(learning, pairs)], rate)


def onset_features(roll: np.ndarray) -> np.ndarray:
    """Log velocity of every key, and its rise."""
    loud = np.log1p(127 * roll) / np.log(128)
    return np.hstack([loud, np.maximum(np.diff(loud, axis=0, prepend=0), 0)])


def silhouettes(folder: Path, n_pairs: int, rng: np.random.Generator) -> Data:
    """Masks against distance transforms of the same videos, some of the frames left."""
    with np.load(folder / "ts_weizmann.npz") as data:
        lengths, person = data["lengths"], data["person"]
        masks = split(data["frames_mask"], lengths)
        transforms = split(data["frames_edt"], lengths)
    kept = [kept_frames(n, rng) for n in lengths]
    fewer = [x[k] for x, k in zip(transforms, kept, strict=True)]
    folds = []
    for fold in range(3):
        learning = np.flatnonzero(person % 3 != fold)
        x = standardised(fewer, learning, axis=None)
        y = standardised(masks, learning, axis=None)
        u, v = (principal(z, learning) for z in (x, y))
        pairs = [
            Pair((x[k], y[k]), (u[k], v[k]), np.arange(len(kept[k])), kept[k])
            for k in rng.permutation(np.flatnonzero(person % 3 == fold))[:n_pairs]
        ]
        folds.append(([(u[k], v[k]) for k in learning], pairs))
    return Data(folds, None)


def principal(sequences: list[np.ndarray], learning: np.ndarray) -> list[np.ndarray]:
    """Principal components of the frames."""
    pca = PCA(VARIANCE, svd_solver="full")
    pca.fit(np.concatenate([sequences[k] for k in learning]))
    return [pca.transform(x) for x in sequences]


def mixed_sensors(folder: Path, n_pairs: int, rng: np.random.Generator) -> Data:
    """Six channels against a mixing of them, some of the frames left."""
    with np.load(folder / "ts_basicmotions.npz") as data:
        whole = split(data["frames"], data["lengths"])
        test = data["split"] == 1
    folds = []
    for _ in range(N_MIXINGS):
        mixing = rng.standard_normal((6, 6))
        kept = [kept_frames(len(x), rng) for x in whole]
        mixed = [x[k] @ mixing for x, k in zip(whole, kept, strict=True)]
        folds.append(fold_of_sensors(mixed, whole, kept, test, n_pairs, rng))
    return Data(folds, MOTION_RATE)


def sensors(folder: Path, n_pairs: int, rng: np.random.Generator) -> Data:
    """Gyroscope against accelerometer."""
    with np.load(folder / "align_warp_basicmotions.npz") as data:
        accelerometer = split(data["a_frames"], data["a_lengths"])
        gyroscope = split(data["b_frames"], data["b_lengths"])
        truth = [t.ravel() for t in split(data["gold"], data["b_lengths"])]
    with np.load(folder / "ts_basicmotions.npz") as data:
        test = data["split"] == 1
    fold = fold_of_sensors(gyroscope, accelerometer, truth, test, n_pairs, rng)
    return Data([fold], MOTION_RATE)


def fold_of_sensors(
    x: list[np.ndarray],
    y: list[np.ndarray],
    truth: list[np.ndarray],
    test: np.ndarray,
    n_pairs: int,
    rng: np.random.Generator,
) -> Fold:
    """Pairs of sensors, in standard deviations per channel."""
    learning = np.flatnonzero(~test)
    x, y = standardised(x, learning), standardised(y, learning)
    pairs = [
        Pair((x[k], y[k]), (x[k], y[k]), np.arange(len(x[k])), truth[k])
        for k in rng.permutation(np.flatnonzero(test))[:n_pairs]
    ]
    return [(x[k], y[k]) for k in learning], pairs


SETS = {
    "performances": (performances, 4),
    "silhouettes": (silhouettes, 100),
    "mixed sensors": (mixed_sensors, 100),
    "sensors": (sensors, 100),
}


# Methods: where each frame of the first sequence is in the second


def by_path(path: np.ndarray) -> np.ndarray:
    """Mean of the frames that are aligned with each."""
    i, j = np.transpose(path)
    return np.bincount(i, j) / np.bincount(i)


def by_warp(columns: np.ndarray, n_frames: int) -> np.ndarray:
    """From a warp between frames."""
    return np.interp(np.arange(n_frames), *columns.T)


def linear(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Both ends meet, and all between at one pace."""
    return np.linspace(0, len(y) - 1, len(x))


def softly(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Expected frame under soft-DTW."""
    costs = cdist(x, y, "sqeuclidean")
    found = soft_dtw_alignment(costs, gamma=GAMMA * costs.mean(), metric="precomputed")
    expected = found.expected
    return expected @ np.arange(len(y)) / expected.sum(axis=1)


def by_own_ctw(x: np.ndarray, y: np.ndarray, **options: Any) -> np.ndarray:
    """Projections learned from the pair itself."""
    return by_path(CTWAligner(**options).fit([[x], [y]]).paths_[0]["modality_1"])


def by_own_bases(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Smooth warps, learned with the projections."""
    return by_warp(fit_basis_ctw([[x, y]]).warps[0], len(x))


def peers_by_features() -> dict[str, Method]:
    """DTW of other packages, as they have it by default."""
    found: dict[str, Method] = {}
    with suppress(ImportError):
        tslearn = import_module("tslearn.metrics")
        found["tslearn"] = lambda x, y: by_path(tslearn.dtw_path(x, y)[0])
    with suppress(ImportError):
        dtaidistance = import_module("dtaidistance.dtw")
        many = import_module("dtaidistance.dtw_ndim")
        found["dtaidistance"] = lambda x, y: by_path(
            dtaidistance.best_path(many.warping_paths_fast(x, y)[1])
        )
    with suppress(ImportError):
        aeon = import_module("aeon.distances")
        found["aeon"] = lambda x, y: by_path(aeon.dtw_alignment_path(x.T, y.T)[0])
    with suppress(ImportError):
        dtw = import_module("dtw")

        def dtw_python(x: np.ndarray, y: np.ndarray) -> np.ndarray:
            result = dtw.dtw(x, y)
            return by_path(np.column_stack([result.index1, result.index2]))

        found["dtw-python (Euclidean, symmetric2)"] = dtw_python
    with suppress(ImportError):
        librosa = import_module("librosa.sequence")
        found["librosa (Euclidean)"] = lambda x, y: by_path(librosa.dtw(x.T, y.T)[1])
    return found


def tslearn_ctw() -> dict[str, Method]:
    """Canonical time warping of another package."""
    with suppress(ImportError):
        tslearn = import_module("tslearn.metrics")
        return {"tslearn ctw_path": lambda x, y: by_path(tslearn.ctw_path(x, y)[0])}
    return {}


BY_FEATURES: dict[str, Method] = {
    "identity": lambda x, y: np.minimum(np.arange(len(x)), len(y) - 1),
    "linear": linear,
    "DTW": lambda x, y: by_path(dtw_path(x, y).path),
    "DTW, symmetric2": lambda x, y: by_path(
        dtw_path(x, y, step_pattern="symmetric2").path
    ),
    "DTW, cosine": lambda x, y: by_path(dtw_path(x, y, metric="cosine").path),
    "DTW, band of 10 %": lambda x, y: by_path(
        dtw_path(x, y, window="sakoe_chiba", radius=0.1).path
    ),
    "DTW, multiscale": lambda x, y: by_path(dtw_path(x, y, window="multiscale").path),
    "soft-DTW": softly,
    "CTW from DTW": lambda x, y: by_own_ctw(x, y, warp="dtw"),
}
BY_PROJECTIONS: dict[str, Method] = {
    "CTW": by_own_ctw,
    "CTW, ridge 0": lambda x, y: by_own_ctw(x, y, ridge=0.0),
    "CTW, ridge .1": lambda x, y: by_own_ctw(x, y, ridge=0.1),
    "generalised CTW": by_own_bases,
}


def learned_from(
    learning: list[tuple[np.ndarray, np.ndarray]], ridge: float | str
) -> dict[str, Method]:
    """Methods that take their projections from other pairs."""
    x, y = (list(sequences) for sequences in zip(*learning, strict=True))
    aligner = CTWAligner(ridge=ridge).fit({"x": x, "y": y})
    fitted = Projections(
        list(aligner.means_.values()),
        list(aligner.projections_.values()),
        aligner.correlations_,
    )

    def by_aligner(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return by_path(dtw_path(*project([x, y], fitted), metric=aligner.metric).path)

    if ridge != "auto":
        return {f"CTW, learned, ridge {ridge:g}": by_aligner}
    return {
        "CTW, learned": by_aligner,
        "generalised CTW, learned": lambda x, y: by_warp(
            align_by_bases([x, y], fitted).columns, len(x)
        ),
    }


# Tables


class Row(NamedTuple):
    """Errors of a method on all pairs, and CPU seconds per pair."""

    errors: list[float]
    seconds: list[float]


def measure(pair: Pair, method: Method, *, own: bool) -> tuple[float, float]:
    """Error in frames, and CPU seconds."""
    begin = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = method(*(pair.own if own else pair.like))
    seconds = time.process_time() - begin
    at = np.interp(pair.at, np.arange(len(found)), found)
    return float(np.abs(at - pair.truth).mean()), seconds


def run(
    data: Data, n_jobs: int | None, wanted: list[str] | None = None
) -> dict[str, Row]:
    """Errors of all methods, or of those wanted."""
    rows: dict[str, Row] = {}
    for learning, pairs in data.folds:
        learned = []
        for ridge in ("auto", 0.0):
            begin = time.process_time()
            found = learned_from(learning, ridge)
            spent = (time.process_time() - begin) / len(pairs)
            learned += [(name, method, True, spent) for name, method in found.items()]
        methods = [
            *((name, method, False, 0.0) for name, method in BY_FEATURES.items()),
            *((name, method, True, 0.0) for name, method in BY_PROJECTIONS.items()),
            *learned,
            *((name, m, False, 0.0) for name, m in peers_by_features().items()),
            *((name, method, True, 0.0) for name, method in tslearn_ctw().items()),
        ]
        for name, method, own, before in methods:
            if wanted is not None and name not in wanted:
                continue
            if name not in rows:  # compiles
                measure(min(pairs, key=lambda p: len(p.at)), method, own=own)
            measured = Parallel(n_jobs)(
                delayed(measure)(pair, method, own=own) for pair in pairs
            )
            row = rows.setdefault(name, Row([], []))
            row.errors.extend(error for error, _ in measured)
            row.seconds.extend(before + seconds for _, seconds in measured)
    return rows


def in_frames(row: Row) -> str:
    """Mean, standard deviation and median."""
    errors = np.array(row.errors)
    return f"{errors.mean():.2f} ± {errors.std():.2f} ({np.median(errors):.2f})"


def show(name: str, rows: dict[str, Row], rate: float | None) -> None:
    """Print a table."""
    n_pairs = len(next(iter(rows.values())).errors)
    print(f"\n{name}, {n_pairs} pairs\n")
    print("| method | frames (median) | seconds | ms |\n|---|---|---|---|")
    for method, row in rows.items():
        in_seconds = "" if rate is None else f"{np.mean(row.errors) / rate:.3f}"
        ms = f"{1e3 * np.mean(row.seconds):.1f}"
        print(f"| {method} | {in_frames(row)} | {in_seconds} | {ms} |", flush=True)


def write(path: Path, tables: dict[str, dict[str, Row]]) -> None:
    """Write the errors in all sets side by side."""
    methods = list(dict.fromkeys(method for rows in tables.values() for method in rows))
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["method", *tables])
        for method in methods:
            found = [rows.get(method) for rows in tables.values()]
            cells = [in_frames(row) if row else "" for row in found]
            writer.writerow([method, *cells])


def main() -> None:
    """Run all sets."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path, help="with the real data sets")
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--n-pairs", type=int, help="most per piece, fold or set")
    parser.add_argument("--seed", type=int, default=0, help="of pairs and warps")
    parser.add_argument("--n-jobs", type=int)
    parser.add_argument("--methods", nargs="+", help="rows that are measured")
    parser.add_argument("--csv", type=Path)
    options = parser.parse_args()
    tables = {}
    for name in options.sets:
        load, n_pairs = SETS[name]
        rng = np.random.default_rng(options.seed)
        data = load(options.folder, options.n_pairs or n_pairs, rng)
        tables[name] = run(data, options.n_jobs, options.methods)
        show(name, tables[name], data.rate)
    if options.csv:
        write(options.csv, tables)


if __name__ == "__main__":
    main()
