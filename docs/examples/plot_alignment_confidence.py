"""
Alignment and its confidence (simulated without the corpus)
===========================================================

Two pianists play the same piece, and one of them pauses or leaves out a part. A pair
hidden Markov model aligns them with the probability of every pair of moments, which
shows where the alignment may be wrong, and what has no counterpart.
"""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from mmfusion.alignment import DTWAligner, PairHMMAligner

# %%
# Chopin's étude op. 10 no. 3, from the Vienna 4x22 piano corpus: for every pianist a
# piano roll, with the velocity of the 88 keys in frames of 50 ms, and the frames of the
# onsets of all notes, which are used here to measure errors only. The corpus is not
# part of this package: ``benchmarks/README.md`` names its source. Where its file is
# missing, pianists are simulated: they play a tune with repeated notes at tempi that
# drift at random.

FPS = 20
NAME = "shared/data/align_vienna4x22.npz"
FILE = next((p / NAME for p in Path.cwd().parents if (p / NAME).exists()), None)


def recorded(file):
    with np.load(file) as data:
        rolls = np.split(data["frames_roll"], np.cumsum(data["lengths"])[:-1])
        chosen = np.flatnonzero(data["piece"] == "Chopin_op10_no3")
        onsets = data["gold_Chopin_op10_no3"]
    return [rolls[k] for k in chosen], onsets


def simulated(n_pianists=22, seed=0):
    rng = np.random.default_rng(seed)
    tune = 4 * [7, 7, 8, 10, 10, 8, 7, 5, 3, 3, 5, 7, 7, 5, 5, 5, 5]
    rolls, onsets = [], []
    for _ in range(n_pianists):
        drift = np.convolve(rng.normal(size=len(tune) + 7), np.ones(8) / 8, "valid")
        onset = FPS * np.append(
            0, (rng.uniform(0.4, 0.6) * np.exp(0.5 * drift)).cumsum()
        )
        roll = np.zeros((round(onset[-1]) + 1, 88), dtype=np.float32)
        notes = zip(tune, *np.rint([onset[:-1], onset[1:]]).astype(int), strict=True)
        for key, begin, end in notes:
            roll[begin : end - 1, [37 + key, 25 + key]] = rng.uniform(0.4, 0.8)
        rolls.append(roll)
        onsets.append(onset[:-1])
    return rolls, np.column_stack(onsets)


rolls, onsets = recorded(FILE) if FILE else simulated()
pairs = [(k, k + 1) for k in range(11, 21, 2)]
X = {"first": [rolls[a] for a, _ in pairs], "second": [rolls[b] for _, b in pairs]}

# %%
# The model
# ---------
# Its softness is set from the data: four times the median cost along the best paths.
# The path that is kept has the fewest pairs of frames that are expected to be wrong.


def errors_of(paths):
    errors = []
    for (a, b), path in zip(pairs, paths, strict=True):
        both = onsets[np.isfinite(onsets[:, [a, b]]).all(axis=1)][:, [a, b]]
        axis, own = path["second"].T
        found = np.bincount(own, axis) / np.bincount(own)
        at = np.interp(both[:, 1], np.arange(len(found)), found)
        errors.append((np.rint(both[:, 1]).astype(int), np.abs(at - both[:, 0]) / FPS))
    return errors


dtw, aligner = DTWAligner().fit(X), PairHMMAligner().fit(X)
for name, fitted in {"DTW": dtw, "pair HMM": aligner}.items():
    errors = np.concatenate([e for _, e in errors_of(fitted.paths_)])
    print(
        f"{name}: mean {errors.mean():.3f} s, {(errors < 0.1).mean():.1%} within .1 s"
    )

# %%
# Where it is unsure
# ------------------
# ``spread_`` is the standard deviation of the counterpart of each frame. Onsets are
# ordered by it: most errors are among those of the largest spread. To the right is the
# least sure place of the first pair, but for its beginning and end: several paths are
# possible there, of which DTW has one. The dots are notes that both pianists play.

spread = np.concatenate(
    [
        s["second"][np.minimum(at, len(s["second"]) - 1)]
        for s, (at, _) in zip(aligner.spread_, errors_of(aligner.paths_), strict=True)
    ]
)
errors = np.concatenate([e for _, e in errors_of(aligner.paths_)])
by_spread = np.array_split(errors[np.argsort(spread)], 5)
fig, axes = plt.subplots(1, 2, figsize=(9, 3.5), layout="constrained")
axes[0].bar(range(1, 6), [(e > 0.1).mean() for e in by_spread])
axes[0].set(
    xlabel="fifth of the onsets, by spread", ylabel="share with an error above .1 s"
)
posterior = aligner.match_posterior_[0]["second"].toarray()
width, n_second = 6 * FPS, posterior.shape[1]
center = width + int(np.argmax(aligner.spread_[0]["second"][width : n_second - width]))
middle = int(posterior[:, center].argmax())
near = (middle - width // 2, center - width // 2)  # frames of the first and the second
part = posterior[near[0] : near[0] + width, near[1] : near[1] + width]
edges = [n / FPS for k in near[::-1] for n in (k - 0.5, k + width - 0.5)]
axes[1].imshow(part, origin="lower", cmap="Greys", vmax=0.5, extent=edges)
axes[1].plot(*dtw.paths_[0]["second"].T[::-1] / FPS, "C0", lw=1, label="DTW")
axes[1].plot(*onsets[:, pairs[0]].T[::-1] / FPS, "C3.", label="notes played")
axes[1].set(
    xlim=edges[:2],
    ylim=edges[2:],
    xlabel="second pianist (s)",
    ylabel="first pianist (s)",
    title="P(pair is matched)",
)
_ = axes[1].legend(loc="upper left")

# %%
# What has no counterpart
# -----------------------
# The second pianist plays ten seconds of something else in between. Dynamic time
# warping has to align these, too. With ``gap_weight``, frames may have no counterpart,
# and ``confidence_`` is the probability of that where they are left out.

first, second = rolls[pairs[0][0]], rolls[pairs[0][1]]
begin, length = len(second) // 2, 10 * FPS
foreign = np.roll(second[::-1][:length], 5, axis=1)
longer = np.vstack([second[:begin], foreign, second[begin:]])
with_gaps = PairHMMAligner(gap_weight=1e-3).fit({"first": [first], "second": [longer]})
matched = with_gaps.match_posterior_[0]["second"].sum(axis=0)
has_counterpart = np.minimum(matched, 1)
inside = slice(begin, begin + length)
print(
    f"probability of a counterpart: {has_counterpart[inside].mean():.2f} inside, "
    f"{np.delete(has_counterpart, np.r_[inside]).mean():.2f} outside"
)
fig, ax = plt.subplots(figsize=(9, 2.5), layout="constrained")
ax.axvspan(begin / FPS, (begin + length) / FPS, color="0.9", label="inserted")
ax.plot(np.arange(len(longer)) / FPS, has_counterpart)
ax.set(xlabel="second pianist (s)", ylabel="P(has a counterpart)")
_ = ax.legend()
