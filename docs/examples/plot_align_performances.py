"""
Aligning performances of a piece (simulated without the corpus)
===============================================================

Two pianists play the same piece at different tempi. Dynamic time warping finds the
corresponding moments and their tempi, and aligns twenty-two performances to one time
axis.
"""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from mmfusion import Modalities
from mmfusion.alignment import DTWAligner, dtw_path
from mmfusion.plotting import AlignmentDisplay

# %%
# Schubert's German dance D 783 no. 15, from the Vienna 4x22 piano corpus: for every
# pianist a piano roll, with the velocity of the 88 keys in frames of 50 ms, and the
# frame of every onset in the score, which is used here to measure errors only. The
# corpus is not part of this package: ``benchmarks/README.md`` names its source. Where
# its file is missing, pianists are simulated: they play a tune by Beethoven at tempi
# that drift at random.

FPS = 20
NAME = "shared/data/align_vienna4x22.npz"
FILE = next((p / NAME for p in Path.cwd().parents if (p / NAME).exists()), None)


def recorded(file):
    with np.load(file) as data:
        rolls = np.split(data["frames_roll"], np.cumsum(data["lengths"])[:-1])
        chosen = np.flatnonzero(data["piece"] == "Schubert_D783_no15")
        onsets = data["gold_Schubert_D783_no15"]
    return [rolls[k] for k in chosen], onsets


def simulated(n_pianists=22, seed=0):
    rng = np.random.default_rng(seed)
    tune = 4 * [7, 7, 8, 10, 10, 8, 7, 5, 3, 3, 5, 7, 7, 5, 5]
    beats = np.arange(len(tune) + 1) / 2
    rolls, onsets = [], []
    for _ in range(n_pianists):
        drift = np.convolve(rng.normal(size=len(tune) + 7), np.ones(8) / 8, "valid")
        lasts = rng.uniform(0.4, 0.6) * np.exp(0.5 * drift) * np.diff(beats) * 2
        onset = FPS * np.append(0, lasts.cumsum())
        roll = np.zeros((round(onset[-1]) + 1, 88), dtype=np.float32)
        notes = zip(tune, *np.rint([onset[:-1], onset[1:]]).astype(int), strict=True)
        for key, begin, end in notes:
            roll[begin : end - 1, [37 + key, 25 + key]] = rng.uniform(0.4, 0.8)
        rolls.append(roll)
        onsets.append(onset[:-1])
    return rolls, np.column_stack(onsets)


rolls, onsets = recorded(FILE) if FILE else simulated()
print("recorded" if FILE else "simulated", [len(roll) for roll in rolls])

# %%
# Onsets are more informative than sustained notes. So the features of a frame are, for
# every key that is played, the loudness on a logarithmic scale and its increase.

played = np.any([roll.any(axis=0) for roll in rolls], axis=0)


def features(roll):
    loud = np.log1p(127 * roll[:, played]) / np.log(128)
    return np.hstack([loud, np.maximum(np.diff(loud, axis=0, prepend=0), 0)])


frames = [features(roll) for roll in rolls]
x, y = frames[:2]
found = dtw_path(x, y)
print(f"{len(x)} and {len(y)} frames, cost per step {found.normalized_cost:.2f}")

# %%
# The path through the costs
# --------------------------
# The first ten seconds of one performance are aligned within fifteen seconds of the
# other, with a free end (``open_end``). The curves are those of the feature of largest
# variance.

_ = AlignmentDisplay.from_sequences(
    x[: 10 * FPS],
    y[: 15 * FPS],
    names=("first pianist", "second pianist"),
    open_end=True,
)

# %%
# The error
# ---------
# The path maps each time of the first performance to one of the second. At the onsets
# of the score the true time is known.


def follow(path, at):
    i, j = path.T
    return np.interp(at, np.arange(i[-1] + 1), np.bincount(i, j) / np.bincount(i))


both = onsets[np.isfinite(onsets[:, :2]).all(axis=1), :2]
guesses = {
    "one pace": both[:, 0] * (len(y) - 1) / (len(x) - 1),
    "aligned": follow(found.path, both[:, 0]),
}
for name, guess in guesses.items():
    errors = 1000 / FPS * np.abs(guess - both[:, 1])
    print(f"{name}: median {np.median(errors):.0f} ms, largest {errors.max():.0f} ms")

# %%
# Onsets are known to a fraction of a frame, the path to one frame of 50 ms.
#
# Tempo
# -----
# The slope of the path is the tempo of the first pianist relative to the second. It is
# computed over two seconds: over much less it depends on the grid of frames.

width = 2 * FPS
begin = np.arange(both[0, 0], both[-1, 0] - width, FPS / 2)
pace = (follow(found.path, begin + width) - follow(found.path, begin)) / width
truth = np.interp(begin[:, None] + [0, width], *both.T)

_, ax = plt.subplots(layout="constrained")
ax.plot((begin + width / 2) / FPS, pace, label="by the path")
ax.plot((begin + width / 2) / FPS, np.diff(truth)[:, 0] / width, "--", label="true")
ax.axhline(1, color="0.8", zorder=0)
ax.set(xlabel="seconds of the first performance", ylabel="pace, in that of the second")
_ = ax.legend()

# %%
# All pianists at once
# --------------------
# Performances are modalities of one sample, the piece. `DTWAligner` warps all of them
# to the time axis of the longest, or to that of their barycentre.

X = Modalities({f"pianist {k + 1}": [z] for k, z in enumerate(frames)})
aligners = {
    reference: DTWAligner(reference, n_jobs=1).fit(X)
    for reference in ("longest", "barycenter")
}

# %%
# In a perfect alignment an onset has the same time for all pianists. Its standard
# deviation over pianists, before and after:


def onsets_on_axis(aligner):
    paths = aligner.paths_[0]
    columns = [
        follow(path[:, ::-1], at)
        for path, at in zip(paths.values(), onsets.T, strict=True)
    ]
    return np.column_stack(columns)


lengths = np.array([len(z) for z in frames])
places = {"one pace": onsets * (lengths.max() - 1) / (lengths - 1)}
places |= {name: onsets_on_axis(aligner) for name, aligner in aligners.items()}
for name, place in places.items():
    spread = 1000 / FPS * np.nanstd(place, axis=1)
    print(f"{name}: {np.median(spread):.0f} ms in the median")

_, axes = plt.subplots(1, 2, figsize=(9, 4), sharey=True, layout="constrained")
for ax, name in zip(axes, ("one pace", "longest"), strict=True):
    middle = np.nanmedian(places[name], axis=1, keepdims=True)
    ax.plot(middle / FPS, (places[name] - middle) / FPS, color="C0", alpha=0.4)
    ax.set(xlabel="seconds of the common time", title=name)
_ = axes[0].set_ylabel("seconds from the median pianist")

# %%
# The average performance
# -----------------------
# Aligned performances have one length, so that frames can be averaged: the aligned mean
# preserves the chords, while the mean after uniform resampling is blurred.

n_frames = 300
even = [z[np.rint(np.linspace(0, len(z) - 1, n_frames)).astype(int)] for z in frames]
aligned = DTWAligner("longest", n_frames=n_frames).fit_transform(X)
means = {
    "one pace": np.mean(even, axis=0),
    "aligned": np.mean([aligned[name][0] for name in aligned.names], axis=0),
}
_, axes = plt.subplots(2, 1, figsize=(9, 5), sharex=True, layout="constrained")
for ax, (name, mean) in zip(axes, means.items(), strict=True):
    ax.imshow(
        mean[:, : played.sum()].T, origin="lower", aspect="auto", cmap="Greys", vmin=0
    )
    ax.set(title=name, ylabel="keys that are played")
_ = axes[1].set_xlabel("frame of the common time")
