"""
Learning to align performances (simulated without the corpus)
=============================================================

Where the onsets of some performances are annotated, an aligner can learn which frames
match. Does it then align other pianists better than dynamic time warping of the notes
does, and other pieces?
"""

from itertools import combinations, pairwise
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from scipy.spatial.distance import cdist

from mmfusion import Modalities
from mmfusion.alignment import DTWAligner, SiameseAligner
from mmfusion.metrics import alignment_error

# %%
# Piano rolls of four pieces from the Vienna 4x22 corpus, with the velocity of 88 keys
# in frames of 50 ms and the frames of the onsets of the score. The corpus is not part
# of this package: ``benchmarks/README.md`` names its source. Where its file is missing,
# pianists are simulated, who play tunes at tempi that drift, arpeggiate the chords, and
# hold the notes as long as they like.

NAME = "shared/data/align_vienna4x22.npz"
FILE = next((p / NAME for p in Path.cwd().parents if (p / NAME).exists()), None)
N_PIANISTS = 12


def recorded(file):
    pieces = {}
    with np.load(file) as data:
        rolls = np.split(data["frames_roll"], np.cumsum(data["lengths"])[:-1])
        for piece in np.unique(data["piece"]):
            chosen = np.flatnonzero(data["piece"] == piece)[:N_PIANISTS]
            onsets = data[f"gold_{piece}"].astype(float)
            pieces[str(piece)] = [
                (rolls[k], onsets[:, i]) for i, k in enumerate(chosen)
            ]
    return pieces


def simulated(seed=0):
    rng = np.random.default_rng(seed)
    pieces = {}
    for piece in ("first", "second"):
        tune = 30 + np.cumsum(rng.integers(-4, 5, size=60)) % 30
        pieces[piece] = [performance(tune, rng) for _ in range(N_PIANISTS)]
    return pieces


def performance(tune, rng):
    drift = np.convolve(rng.normal(size=len(tune) + 7), np.ones(8) / 8, "valid")
    onsets = np.append(0, np.cumsum(8 * np.exp(0.5 * drift)))
    roll = np.zeros((int(onsets[-1]) + 30, 88), dtype=np.float32)
    for key, begin in zip(tune, onsets[:-1], strict=True):
        for interval in (0, 4, 7):
            start = int(np.rint(begin + rng.uniform(-2, 2) * (interval > 0)).clip(0))
            roll[start : start + rng.integers(4, 20), key + interval] = rng.uniform(
                0.3, 1
            )
    return roll, onsets[:-1]


pieces = recorded(FILE) if FILE else simulated()
print("recorded" if FILE else "simulated", {k: len(own) for k, own in pieces.items()})

# %%
# A sample is a pair of performances of a piece; its two modalities are the pianists.
# The features of a frame are the loudness of each key, and its increase. The last piece
# is not learned from.


def features(roll):
    loud = np.log1p(127 * roll) / np.log(128)
    return np.hstack([loud, np.maximum(np.diff(loud, axis=0, prepend=0), 0)])


def paired(names, pianists, pair_up):
    first, second, matches = [], [], []
    for name in names:
        own = [pieces[name][k] for k in pianists]
        for (x, at), (z, there) in pair_up(own):
            first.append(features(x))
            second.append(features(z))
            matches.append(np.column_stack([at, there]))
    return Modalities({"first": first, "second": second}), matches


half = N_PIANISTS // 2
*learned, new = pieces
X, matches = paired(learned, range(half), lambda own: combinations(own, 2))
tests = {
    "other pianists": paired(learned, range(half, N_PIANISTS), pairwise),
    "another piece": paired([new], range(half, N_PIANISTS), pairwise),
}
print(X)

# %%
# The network sees a frame and four frames on either side, and is the same for both
# modalities. As the keys have one unit, they are not scaled.

aligners = {
    "DTW": DTWAligner(),
    "learned": SiameseAligner(shared=True, scaling=None, random_state=0),
}
errors = {}
for name, aligner in aligners.items():
    aligner.fit(X, matches)
    for test, (later, truth) in tests.items():
        errors[test, name] = [
            50 * alignment_error(found["second"].path, known)
            for found, known in zip(aligner.align(later), truth, strict=True)
        ]
for (test, name), own in errors.items():
    print(f"{test}, {name}: {np.mean(own):.0f} ms, median {np.median(own):.0f} ms")

_, ax = plt.subplots(figsize=(4.6, 4.2), layout="constrained")
for test in tests:
    ax.plot(errors[test, "DTW"], errors[test, "learned"], "o", label=test, alpha=0.7)
largest = max(max(own) for own in errors.values())
ax.plot([10, largest], [10, largest], color="0.8", zorder=0)
ax.set(xscale="log", yscale="log", xlabel="error of DTW, ms", ylabel="learned, ms")
_ = ax.legend()

# %%
# Pairs below the line are better by learning. Other pianists of the same pieces gain:
# of the recorded ones, two pairs in which warping of the notes fails. A piece that was
# not learned from gains little, and most of its pairs lose some milliseconds: the
# network knows the keys of its pieces, not piano music. So measure by pieces that are
# held out if new ones are to come, and prefer `DTWAligner` there
# (:doc:`/guide/learned_alignment` has a table of more pairs).
#
# What was learned
# ----------------
#
# Distances of frames of the first ten seconds, with the onsets, of a pair of other
# pianists and then of the new piece. Held notes make features alike long after their
# onset. Embedded frames are near where the same onset is near.

_, axes = plt.subplots(2, 2, figsize=(8, 8), layout="constrained")
for row, (test, (later, truth)) in zip(axes, tests.items(), strict=True):
    embedded = aligners["learned"].embed(later[:1])
    for ax, title, data in zip(row, aligners, (later, embedded), strict=True):
        ax.imshow(
            cdist(data["first"][0][:200], data["second"][0][:200]).T,
            origin="lower",
            cmap="Greys_r",
        )
        ax.plot(*truth[0].T, ".", color="C1")
        ax.set(xlim=(0, 200), ylim=(0, 200), title=f"{test}, {title}")
        ax.set(xlabel="frame of the first", ylabel="frame of the second")
plt.show()
