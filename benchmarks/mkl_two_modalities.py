"""Do weights without labels help MKLClusterer where there are two modalities only?

    OMP_NUM_THREADS=1 python benchmarks/mkl_two_modalities.py FOLDER [--seeds 3]

Two modalities agree with each other equally, so that weights by agreement are equal,
and a weak modality counts fully. Every rule here weights the kernels of a pair of
modalities by a quality that needs no labels, to a power; then the leading
eigenvectors of the weighted sum are clustered, as `MKLClusterer` does:

- gap: eigenvalue k - 1 (centring leaves k - 1 directions of k clusters), less the next
  one, over the first;
- own cut, consensus cut: the share of a kernel's trace that is between the clusters
  of its own, or of the mean kernel;
- cosine: centred alignment with the clusters of the mean kernel;
- held out: variance of half of the samples in the leading subspace of the others;
- stability: adjusted Rand index of clusters of halves with those of all;
- oracle: the better of both kernels alone and of their mean, by labels.

Data are the sets of two modalities in FOLDER (files of `load_npz`), and six pairs of
modalities of each larger set, at most 700 samples. Prints accuracies by set, means of
its pairs; then leave-one-set-out: the rule that is best on the other sets is scored on
each set, beside equal weights.
"""

import argparse
from itertools import combinations
from pathlib import Path

import numpy as np
from scipy import linalg
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score
from sklearn.preprocessing import normalize

from mmfusion import Modalities
from mmfusion.datasets import load_npz
from mmfusion.metrics import clustering_accuracy_score
from mmfusion.mkl import ModalityKernels

SETS = (
    "nutrimouse_2v_diet",
    "citeseer_2v",
    "snareseq_2v",
    "avdigits_fsdd_mnist",
    "wikipedia693",
    "movies617",
    "100leaves",
    "acm_3v",
    "bbc_4v",
    "bdgp_3v",
    "breast_tcga_3v",
    "coil20_3pose",
    "handwritten_mfeat",
    "mnist4_3v",
    "msrcv1_5v",
    "ngs_3v",
    "proteinfold_12v",
    "webkb203_3v",
)
MOST_SAMPLES, MOST_PAIRS = 700, 6
N_HALVES = 4
POWERS = (1, 2, 4, np.inf)


def embed(K, k):
    """Eigenvalues and the embedding by k leading eigenvectors, rows of unit norm."""
    last = len(K) - 1
    span = [max(last - k, 0), last]
    values, vectors = linalg.eigh(K, subset_by_index=span, check_finite=False)
    values, vectors = values[::-1], vectors[:, ::-1]
    rows = vectors[:, :k] * np.sqrt(np.maximum(values[:k], 0))
    return values, normalize(rows)


def clusters(K, k, seed=0):
    """Clusters of a kernel."""
    k_means = KMeans(k, n_init=10, random_state=seed)
    return k_means.fit_predict(embed(K, k)[1])


def between(K, labels):
    """Share of the trace of a centred kernel that is between clusters."""
    Z = (labels[:, None] == np.unique(labels)).astype(float)
    return np.sum((K @ Z) * (Z / Z.sum(axis=0))) / np.trace(K)


def cosine(K, labels):
    """Cosine of a centred kernel with that of clusters."""
    Z = (labels[:, None] == np.unique(labels)).astype(float)
    Z -= Z.mean(axis=0)
    return max(np.sum((K @ Z) * Z) / linalg.norm(K) / linalg.norm(Z.T @ Z), 0.0)


def halves(n_samples, seed):
    """Random halves of the samples."""
    rng = np.random.default_rng(seed)
    for _ in range(N_HALVES):
        order = rng.permutation(n_samples)
        yield order[: n_samples // 2], order[n_samples // 2 :]


def held_out(K, k):
    """Share of the trace of one half in the leading subspace of the other."""
    shares = []
    for one, other in halves(len(K), 0):
        last = len(one) - 1
        values, vectors = linalg.eigh(
            K[np.ix_(one, one)], subset_by_index=[last - k + 1, last]
        )
        roots = np.sqrt(np.maximum(values, 1e-9 * values.max()))
        projected = K[np.ix_(other, one)] @ (vectors / roots)
        shares.append(np.sum(projected**2) / np.trace(K[np.ix_(other, other)]))
    return float(np.mean(shares))


def stability(K, k):
    """Agreement of the clusters of halves with those of all samples."""
    whole = clusters(K, k)
    scores = [
        adjusted_rand_score(whole[one], clusters(K[np.ix_(one, one)], k))
        for one, _ in halves(len(K), 0)
    ]
    return max(float(np.mean(scores)), 0.0)


def qualities(kernels, k):
    """Qualities of both kernels, by name of the rule."""
    common = clusters(sum(kernels) / 2, k)
    spectra = [embed(K, k)[0] for K in kernels]
    gaps = [(v[k - 2] - v[k - 1]) / v[0] for v in spectra]
    return {
        "gap": gaps,
        "own cut": [between(K, clusters(K, k)) for K in kernels],
        "consensus cut": [between(K, common) for K in kernels],
        "cosine": [cosine(K, common) for K in kernels],
        "held out": [held_out(K, k) for K in kernels],
        "stability": [stability(K, k) for K in kernels],
    }


def weights_of(quality, power):
    """Weights of two kernels, proportional to a power of their quality."""
    quality = np.maximum(np.asarray(quality, dtype=float), 1e-12)
    if np.isinf(power):
        return (quality == quality.max()) / np.sum(quality == quality.max())
    raised = (quality / quality.max()) ** power
    return raised / raised.sum()


def scores_of_pair(blocks, y, seeds):
    """Accuracy of every rule on two modalities."""
    kernels = [
        K.astype(float)
        for K in ModalityKernels().fit_transform(Modalities(blocks)).blocks
    ]
    k = len(np.unique(y))

    def score(weights):
        K = weights[0] * kernels[0] + weights[1] * kernels[1]
        rows = embed(K, k)[1]
        found = [
            KMeans(k, n_init=10, random_state=s).fit_predict(rows) for s in range(seeds)
        ]
        return np.mean([clustering_accuracy_score(y, labels) for labels in found])

    scores = {"equal": score([0.5, 0.5])}
    for name, quality in qualities(kernels, k).items():
        for power in POWERS:
            scores[f"{name} ^ {power}"] = score(weights_of(quality, power))
    scores["oracle"] = max(scores["equal"], score([1, 0]), score([0, 1]))
    return scores


def pairs_of(folder, name):
    """Pairs of modalities of a set, with labels."""
    X, y = load_npz(folder / f"{name}.npz", return_X_y=True)
    rng = np.random.default_rng(0)
    rows = np.sort(rng.permutation(len(y))[:MOST_SAMPLES])
    pairs = list(combinations(range(X.shape[1]), 2))
    chosen = np.unique(np.linspace(0, len(pairs) - 1, MOST_PAIRS).astype(int))
    blocks = [block[rows] for block in X.blocks]
    return [[blocks[p] for p in pairs[c]] for c in chosen], np.asarray(y)[rows]


def leave_one_set_out(table):
    """Print each set's score by the rule that is best on the others."""
    rules = [rule for rule in table[0] if rule != "oracle"]
    scores = np.array([[row[rule] for rule in rules] for row in table])
    chosen, gains = [], []
    for held in range(len(scores)):
        best = np.delete(scores, held, axis=0).mean(axis=0).argmax()
        chosen.append(rules[best])
        gains.append(scores[held, best] - scores[held, 0])
    error = np.std(gains, ddof=1) / np.sqrt(len(gains))
    print(f"\nleave one set out: {sorted(set(chosen))}")
    print(f"gain over equal weights {np.mean(gains):+.4f}, standard error {error:.4f}")
    print("\nrule: mean accuracy, gain over equal weights, its standard error")
    for rule in table[0]:
        gain = np.array([row[rule] - row["equal"] for row in table])
        mean = np.mean([row[rule] for row in table])
        error = gain.std(ddof=1) / np.sqrt(len(gain))
        print(f"{rule:<20} {mean:.3f} {gain.mean():+.4f} {error:.4f}")


def main():
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--sets", nargs="*", default=SETS)
    arguments = parser.parse_args()
    table = []
    for name in arguments.sets:
        pairs, y = pairs_of(arguments.folder, name)
        found = [scores_of_pair(blocks, y, arguments.seeds) for blocks in pairs]
        row = {rule: float(np.mean([f[rule] for f in found])) for rule in found[0]}
        table.append(row)
        print(f"{name:<22}" + " ".join(f"{r} {s:.3f};" for r, s in row.items()))
        print(end="", flush=True)
    leave_one_set_out(table)


if __name__ == "__main__":
    main()
