"""Which ridge should CTWAligner have by default? Settled leave-one-set-out.

    OMP_NUM_THREADS=1 python benchmarks/ctw_ridge.py FOLDER [--pairs 12]

Every pair of sequences with a known alignment is fitted as CTWAligner does ('combined'
warps, energy .8), without a ridge, with one of
.1, and with those of 1, .6, .3 and .1 in turn, also ending earlier. A rule takes one of
these fits, or of several that of the largest mean correlation on held-out frames, which
needs no truth. Prints, by set, the mean error as a share of that of a straight line.
Then each set is held out: the rule that is best on the others is scored on it, beside
the default. Errors of sets are compared as they are, and by their logarithms, in which
no set counts more for being hard.

Sets are those of ``alignment_errors.py``; and others, with a random share of the frames
of five stretches left: simulated trajectories (linear, nonlinear, with many features of
noise, short), the spirals of ``ctw_toy.py``, articulators of spoken words, and halves
of the coefficients of spoken vowels.
"""

import argparse
import warnings
from pathlib import Path

import numpy as np
from alignment_errors import SETS, Pair, by_path, kept_frames, linear, split
from ctw_toy import toy

from mmfusion.alignment import CTWAligner, dtw_path
from mmfusion.alignment._ctw_aligner import centered_sequences
from mmfusion.alignment.ctw._alternation import fit_kind_of_ctw
from mmfusion.alignment.ctw._held_out import held_out_correlations
from mmfusion.alignment.ctw._projections import project, weigh_by_likelihood
from mmfusion.datasets import make_multimodal_sequences

DESCENT = (1.0, 0.6, 0.3, 0.1)
FITS = {
    "0": 0.0,
    ".1": 0.1,
    "to .6": DESCENT[:2],
    "to .3": DESCENT[:3],
    "to .1": DESCENT,
}
RULES = {
    "0, to .1": ("0", "to .1"),  # the default
    "0": ("0",),
    ".1": (".1",),
    "to .1": ("to .1",),
    "to .3": ("to .3",),
    "to .6": ("to .6",),
    "0, .1": ("0", ".1"),
    "0, to .3": ("0", "to .3"),
    "0, .1, to .1": ("0", ".1", "to .1"),
    "to .1, to .3": ("to .1", "to .3"),
    "0, to .1, to .3": ("0", "to .1", "to .3"),
    "all": tuple(FITS),
}


def pair(x, y, at, truth):
    """Sequences that no common features compare."""
    return Pair((x, y), (x, y), np.asarray(at), np.asarray(truth))


def simulated(n_pairs, seed, **options):
    """Trajectories in two modalities."""
    X, _, warps = make_multimodal_sequences(
        n_pairs, n_classes=n_pairs, sample_std=0.0, random_state=seed, **options
    )
    samples = zip(*(X[name] for name in X.names), strict=True)
    return [pair(*z, *w.T) for z, w in zip(samples, warps, strict=True)]


def spirals(n_pairs, seed):
    """The experiment of the papers."""
    found = [toy(seed + k) for k in range(n_pairs)]
    return [pair(*z, *warp.T) for z, warp in found]


def recorded(folder, n_pairs, seed, name):
    """Two halves of the channels, of one of which some frames are left."""
    rng = np.random.default_rng(seed)
    with np.load(folder / f"{name}.npz") as data:
        whole = split(data["frames"], data["lengths"])
    n_first = whole[0].shape[1] // 2
    found = []
    for k in rng.permutation(len(whole))[:n_pairs]:
        x, y = whole[k][:, :n_first], whole[k][:, n_first:]
        kept = kept_frames(len(x), rng)
        found.append(pair(x[kept], y, np.arange(len(kept)), kept))
    return found


def sets(folder, n_pairs, seed):
    """Yield the names of all sets, with their pairs."""
    for name, (make, _) in SETS.items():
        n_folds = {"silhouettes": 3, "mixed sensors": 5}.get(name, 1)
        # performances have four pieces, and long sequences
        n_each = 1 if name == "performances" else -(-n_pairs // n_folds)
        data = make(folder, n_each, np.random.default_rng(seed))
        yield name, [own for _, pairs in data.folds for own in pairs][: 2 * n_pairs]
    noisy = dict(noise_std=0.1, n_noise_features=3)
    yield "linear", simulated(n_pairs, seed, n_features=(4, 6), **noisy)
    curved = dict(n_features=(10, 6), nonlinear=True)
    yield "nonlinear", simulated(n_pairs, seed, **curved, **noisy)
    yield "noise features", simulated(n_pairs, seed, **curved, n_noise_features=25)
    yield "short", simulated(n_pairs, seed, n_features=(8, 8), n_frames=40, **noisy)
    yield "spirals", spirals(n_pairs, seed)
    yield "words", recorded(folder, n_pairs, seed, "ts_articularyword")
    yield "vowels", recorded(folder, n_pairs, seed, "ts_japanesevowels")


def errors_of(own):
    """Errors of all rules on a pair, and of a straight line."""
    both = [centered_sequences([z], "own").sequences[0] for z in own.own]
    errors, scores = {}, {}
    for name, ridge in FITS.items():
        last = ridge if isinstance(ridge, float) else ridge[-1]
        fit = fit_kind_of_ctw([both], "combined", [both], {}, ridge=ridge)
        n_directions = len(fit.projections.correlations)
        held_out = held_out_correlations(
            [both], fit.warps, ridge=last, n_directions=n_directions
        )
        scores[name] = held_out.mean()
        # after learning, as CTWAligner aligns
        x, y = project(both, weigh_by_likelihood(fit.projections))
        path = dtw_path(x, y, metric=CTWAligner().metric).path
        errors[name] = error(own, by_path(path))
    chosen = {rule: max(fits, key=scores.__getitem__) for rule, fits in RULES.items()}
    found = {rule: errors[name] for rule, name in chosen.items()}
    return found | {"line": error(own, linear(*both))}


def error(own, found):
    """Mean absolute deviation from the truth, in frames."""
    at = np.interp(own.at, np.arange(len(found)), found)
    return float(np.abs(at - own.truth).mean())


def leave_one_set_out(table):
    """Print the rule that is best on the other sets, scored on each."""
    for kind, scores in (("errors", table), ("logarithms", np.log(table))):
        print(f"\n{kind}: mean over sets, loss beside the default, standard error")
        for rule, own in zip(RULES, scores.T, strict=True):
            loss = own - scores[:, 0]
            deviation = loss.std(ddof=1) / np.sqrt(len(loss))
            print(f"{rule:<18} {own.mean():6.3f} {loss.mean():+.4f} {deviation:.4f}")
        chosen, losses = [], []
        for k, own in enumerate(scores):
            best = np.delete(scores, k, axis=0).mean(axis=0).argmin()
            chosen.append(list(RULES)[best])
            losses.append(own[best] - own[0])
        deviation = np.std(losses, ddof=1) / np.sqrt(len(losses))
        counts = {rule: chosen.count(rule) for rule in dict.fromkeys(chosen)}
        print(f"left out: {counts}, loss {np.mean(losses):+.4f} ({deviation:.4f})")


def main():
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--pairs", type=int, default=12)
    parser.add_argument("--seed", type=int, default=20000)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    print("| set | pairs | " + " | ".join(RULES) + " |")
    print("|---" * (len(RULES) + 2) + "|")
    table = []
    for name, pairs in sets(arguments.folder, arguments.pairs, arguments.seed):
        found = [errors_of(own) for own in pairs]
        line = np.mean([own["line"] for own in found])
        row = [np.mean([own[rule] for own in found]) / line for rule in RULES]
        table.append(row)
        cells = " | ".join(f"{share:.3f}" for share in row)
        print(f"| {name} | {len(pairs)} | {cells} |", flush=True)
    leave_one_set_out(np.array(table))


if __name__ == "__main__":
    main()
