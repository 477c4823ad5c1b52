"""Clustering by graphs on every clustering set: accuracy, processor time and memory.

    OMP_NUM_THREADS=1 python benchmarks/graph_clustering.py FOLDER --out OUT.csv

appends one line per set, method and seed to OUT.csv (clustering accuracy, NMI, ARI,
CPU seconds, and the MB that the fit adds to the process at its peak); a run that was
broken off goes on from there. Classes are used to score, and for the number of
clusters. ``--methods`` and ``--sets`` choose among them; ``--couplings`` adds rows of
'co_regularized' and 'blend' with these weights, and names the weight that every set
gets from the others (leave one set out), as ``--settle A B`` does for methods.
``--table TABLE.csv`` writes the summary of OUT.csv that the user guide shows, with mean
ranks; the labels of GMC do not depend on the seed where its components are the
clusters. ``--numbers`` measures ``n_clusters="auto"``. ``--missing`` measures
samples that lack modalities, ``--peers`` the co-regularised clustering of mvlearn on
the same scaled modalities, ``--snfpy`` the fusion of snfpy on them, and ``--sizes``
planted clusters of growing number.
"""

from __future__ import annotations

import argparse
import csv
import sys
import time
import warnings
from functools import partial
from pathlib import Path

import numpy as np
from joblib import Parallel, delayed
from scipy.stats import rankdata
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

from mmfusion import (
    AnchorGraphClusterer,
    EarlyFusion,
    GMCClusterer,
    Modalities,
    SNFClusterer,
    SpectralClusterer,
)
from mmfusion.clustering import similarity_network_fusion
from mmfusion.datasets import (
    load_digits_modalities,
    load_npz,
    make_multimodal_blobs,
)
from mmfusion.metrics import clustering_accuracy_score

SETS = (
    "digits",
    "handwritten_mfeat",
    "msrcv1_5v",
    "wikipedia693",
    "snareseq_2v",
    "coil20_3pose",
    "avdigits_fsdd_mnist",
    "webkb203_3v",
    "ngs_3v",
    "bbc_4v",
    "100leaves",
    "movies617",
    "mnist4_3v",
    "bdgp_3v",
    "citeseer_2v",
    "acm_3v",
)
FUSIONS = ("average", "auto_weight", "co_regularized", "blend", "concatenated")
BLANKED = "bdgp_3v"  # the set with many rows of zeros
ZEROS = {
    f"{name}, zero rows missing": partial(
        SpectralClusterer, fusion=name, zero_rows="missing"
    )
    for name in ("average", "co_regularized", "blend")
}
ZEROS |= {
    "SNF, zero rows missing": partial(SNFClusterer, zero_rows="missing"),
    "GMC, zero rows missing": partial(GMCClusterer, zero_rows="missing"),
}
METHODS = {
    **{name: partial(SpectralClusterer, fusion=name) for name in FUSIONS},
    **ZEROS,
    "SNF": SNFClusterer,
    "SNF, all pairs": partial(SNFClusterer, n_stored=None),
    "GMC": GMCClusterer,
    "anchors": AnchorGraphClusterer,
    "anchors, reconstruction": partial(AnchorGraphClusterer, weights="reconstruction"),
}
COUPLED = ("co_regularized", "blend")
MISSING_SHARES = (0.0, 0.3, 0.5)


def load(folder, name):
    """X and y of a set; two modalities of the digits, as in published comparisons."""
    if name == "digits":
        bunch = load_digits_modalities()
        return bunch.data[["pixels", "gradients"]], bunch.target
    bunch = load_npz(folder / f"{name}.npz")
    return bunch.data, bunch.target


def coupled(name):
    """The methods of a coupling: 'blend, coupling 0.01' and the like."""
    fusion, _, coupling = name.partition(", coupling ")
    return partial(SpectralClusterer, fusion=fusion, coupling=float(coupling))


def resident_mb(peak=False):
    """Resident memory of this process, or the peak since `forget_peak`."""
    field = "VmHWM" if peak else "VmRSS"
    with open("/proc/self/status") as status:
        return next(
            int(line.split()[1]) / 2**10 for line in status if line.startswith(field)
        )


def forget_peak():
    """Start the peak of the resident memory anew."""
    with open("/proc/self/clear_refs", "w") as refs:
        refs.write("5")


def timed_fit(clusterer, X):
    """Labels, CPU seconds, and MB added at the peak."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        forget_peak()
        before, start = resident_mb(), time.process_time()
        labels = clusterer.fit_predict(X)
        return labels, time.process_time() - start, resident_mb(peak=True) - before


def run(folder, name, seed, methods, done):
    """Score every method that is not done yet."""
    X, y = load(folder, name)
    rows = []
    for method in methods:
        if (name, method, str(seed)) in done or (method in ZEROS and name != BLANKED):
            continue
        make = METHODS.get(method) or coupled(method)
        clusterer = make(len(np.unique(y)), random_state=seed)
        labels, seconds, megabytes = timed_fit(clusterer, X)
        scores = (
            clustering_accuracy_score(y, labels),
            normalized_mutual_info_score(y, labels),
            adjusted_rand_score(y, labels),
        )
        numbers = [f"{x:.4f}" for x in (*scores, seconds, megabytes)]
        rows.append((name, method, seed, *numbers))
    return rows


def read(path):
    """Arrays of seeds by ACC, NMI, ARI, CPU s, MB, of every set and method."""
    found = {}
    with path.open(newline="") as file:
        for name, method, _, *numbers in csv.reader(file):
            found.setdefault((name, method), []).append([float(x) for x in numbers])
    return {key: np.array(rows) for key, rows in found.items()}


def summary(found):
    """One row a set: accuracy of every method; their means, ranks and CPU seconds."""
    methods = [m for m in METHODS if m not in ZEROS and any(m == k[1] for k in found)]
    names = [s for s in SETS if all((s, m) in found for m in methods)]
    yield ["set", *methods]
    for name in names:
        scores = [found[name, m][:, 0] for m in methods]
        yield [name, *(f"{x.mean():.3f} ± {x.std():.3f}" for x in scores)]
    means = np.array([[found[s, m][:, 0].mean() for m in methods] for s in names])
    yield ["mean", *(f"{x:.3f}" for x in means.mean(axis=0))]
    ranks = rankdata(-means, axis=1).mean(axis=0)
    yield ["mean rank", *(f"{x:.1f}" for x in ranks)]
    seconds = [[np.median(found[s, m][:, 3]) for m in methods] for s in names]
    yield ["CPU s, all sets", *(f"{x:.0f}" for x in np.sum(seconds, axis=0))]


def settle(found, methods):
    """The method of each set by the mean accuracy on the others, and what it scores."""
    names = [s for s in SETS if all((s, m) in found for m in methods)]
    scores = np.array([[found[s, m][:, 0].mean() for m in methods] for s in names])
    yield ["set", *methods, "chosen by the others"]
    chosen = [
        np.delete(scores, i, axis=0).mean(axis=0).argmax() for i in range(len(names))
    ]
    for name, row, best in zip(names, scores, chosen, strict=True):
        yield [name, *(f"{x:.3f}" for x in row), f"{row[best]:.3f} ({methods[best]})"]
    own = scores[np.arange(len(names)), chosen].mean()
    yield ["mean", *(f"{x:.3f}" for x in scores.mean(axis=0)), f"{own:.3f}"]


def numbers(folder, names):
    """The numbers of clusters that 'auto' chooses, beside those of classes."""
    makers = {"blend": SpectralClusterer, "SNF": SNFClusterer, "GMC": GMCClusterer}
    yield ["set", "classes", *makers]
    errors = []
    for name in names:
        X, y = load(folder, name)
        chosen = []
        for make in makers.values():
            clusterer = make("auto", random_state=0)
            timed_fit(clusterer, X)
            chosen.append(clusterer.n_clusters_)
        k = len(np.unique(y))
        errors.append([(n != k, abs(n - k), abs(np.log2(n / k))) for n in chosen])
        yield [name, k, *chosen]
    wrong, off, ratios = np.mean(errors, axis=0).T
    yield ["share right", "", *(f"{1 - x:.2f}" for x in wrong)]
    yield ["mean |error|", "", *(f"{x:.2f}" for x in off)]
    yield ["mean |log2 ratio|", "", *(f"{x:.2f}" for x in ratios)]


def missing(folder, names, seeds):
    """Accuracy where each cell is absent with a probability, and one stays."""
    yield ["set", "fusion", *(f"{share:g} missing" for share in MISSING_SHARES)]
    for name in names:
        X, y = load(folder, name)
        for fusion in FUSIONS[:-1]:
            cells = []
            for share in MISSING_SHARES:
                scores = []
                for seed in range(seeds):
                    rng = np.random.default_rng(seed)
                    observed = rng.random(X.shape) >= share
                    stays = rng.integers(X.shape[1], size=len(X))
                    observed[np.arange(len(X)), stays] = True
                    gaps = Modalities(X.to_dict(), observed=observed)
                    make = METHODS[fusion](len(np.unique(y)), random_state=seed)
                    scores.append(
                        clustering_accuracy_score(y, timed_fit(make, gaps)[0])
                    )
                cells.append(f"{np.mean(scores):.3f} ± {np.std(scores):.3f}")
            yield [name, fusion, *cells]


def peers(folder, n_samples, repeats):
    """CPU seconds and accuracy beside mvlearn, which has graphs of 10 neighbours."""
    from mvlearn.cluster import MultiviewCoRegSpectralClustering

    yield ["set", "n", "ours s", "ours ACC", "mvlearn s", "mvlearn ACC", "ratio"]
    for name in ("msrcv1_5v", "handwritten_mfeat"):
        X, y = load(folder, name)
        rows = np.random.default_rng(0).permutation(len(X))[:n_samples]
        X, y = X[rows], y[rows]
        scaled = EarlyFusion().fit_transform(X)
        ends = np.cumsum([block.shape[1] for block in X.blocks])[:-1]
        views = np.split(np.asarray(scaled, dtype=float), ends, axis=1)
        k, ours, theirs = len(np.unique(y)), [], []
        for seed in range(repeats):
            own = SpectralClusterer(k, fusion="co_regularized", random_state=seed)
            labels, seconds, _ = timed_fit(own, X)
            ours.append((seconds, clustering_accuracy_score(y, labels)))
            other = MultiviewCoRegSpectralClustering(
                k, affinity="nearest_neighbors", n_neighbors=10, random_state=seed
            )
            labels, seconds, _ = timed_fit(other, views)
            theirs.append((seconds, clustering_accuracy_score(y, labels)))
        (s, a), (t, b) = np.median(ours, axis=0), np.median(theirs, axis=0)
        cells = [f"{s:.2f}", f"{a:.3f}", f"{t:.2f}", f"{b:.3f}", f"{t / s:.1f}"]
        yield [name, len(X), *cells]


def fusions_of_snfpy(folder, n_samples, repeats):
    """CPU seconds and accuracy beside snfpy 0.2.2, whose networks are cut alike.

    Its check of input names an argument that scikit-learn no longer has; it is mended
    here.
    """
    from sklearn.cluster import SpectralClustering
    from sklearn.utils import check_array
    from snf import compute

    def checked(data, *, force_all_finite, **options):
        return check_array(data, ensure_all_finite=force_all_finite, **options)

    compute.check_array = checked
    yield ["set", "n", "ours s", "ours ACC", "snfpy s", "snfpy ACC", "ratio"]
    for name in ("msrcv1_5v", "handwritten_mfeat"):
        X, y = load(folder, name)
        rows = np.random.default_rng(0).permutation(len(X))[:n_samples]
        X, y = X[rows], y[rows]
        scaled = EarlyFusion().fit_transform(X)
        ends = np.cumsum([block.shape[1] for block in X.blocks])[:-1]
        views = np.split(np.asarray(scaled, dtype=float), ends, axis=1)
        seconds = np.empty((repeats, 2))
        for repeat in range(repeats):
            start = time.process_time()
            own = similarity_network_fusion(X, n_steps=20, n_stored=None)
            middle = time.process_time()
            affinities = compute.make_affinity(
                *views, metric="euclidean", K=20, mu=0.5, normalize=False
            )
            other = compute.snf(affinities, K=20, t=20)
            seconds[repeat] = middle - start, time.process_time() - middle
        scores = []
        for network in (own, other):
            cut = SpectralClustering(
                len(np.unique(y)), affinity="precomputed", random_state=0
            )
            scores.append(clustering_accuracy_score(y, cut.fit_predict(network)))
        s, t = np.median(seconds, axis=0)
        cells = [f"{s:.2f}", f"{scores[0]:.3f}", f"{t:.2f}", f"{scores[1]:.3f}"]
        yield [name, len(X), *cells, f"{t / s:.1f}"]


def sizes(numbers):
    """CPU seconds and memory of planted clusters, V = 3 modalities of 32 features."""
    yield ["n", "fusion", "CPU s", "MB added", "accuracy"]
    for n in numbers:
        X, y = make_multimodal_blobs(
            n, dict.fromkeys("abc", 32), centers=10, cluster_std=6.0, random_state=0
        )
        for fusion in FUSIONS:
            clusterer = METHODS[fusion](10, random_state=0)
            labels, seconds, megabytes = timed_fit(clusterer, X)
            score = clustering_accuracy_score(y, labels)
            yield [n, fusion, f"{seconds:.1f}", f"{megabytes:.0f}", f"{score:.3f}"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--sets", nargs="*", default=SETS)
    parser.add_argument("--methods", nargs="*", default=list(METHODS))
    parser.add_argument("--couplings", nargs="+", type=float, default=[])
    parser.add_argument("--out", type=Path, default=Path("graph_clustering.csv"))
    parser.add_argument("--table", type=Path, help="also write the summary here")
    parser.add_argument("--n-jobs", type=int, default=1)
    parser.add_argument("--missing", action="store_true")
    parser.add_argument("--peers", type=int, metavar="N", help="samples per set")
    parser.add_argument("--snfpy", type=int, metavar="N", help="samples per set")
    parser.add_argument("--sizes", nargs="+", type=int)
    parser.add_argument("--settle", nargs="+", default=[], metavar="METHOD")
    parser.add_argument("--numbers", action="store_true")
    arguments = parser.parse_args()
    writer = csv.writer(sys.stdout)
    folder, seeds = arguments.folder, arguments.seeds
    other = []
    if arguments.missing:
        other.append(missing(folder, arguments.sets, seeds))
    if arguments.numbers:
        other.append(numbers(folder, arguments.sets))
    if arguments.peers:
        other.append(peers(folder, arguments.peers, seeds))
    if arguments.snfpy:
        other.append(fusions_of_snfpy(folder, arguments.snfpy, seeds))
    if arguments.sizes:
        other.append(sizes(arguments.sizes))
    if other:
        for lines in other:
            writer.writerows(lines)
        return
    methods = arguments.methods + [
        f"{fusion}, coupling {c:g}" for fusion in COUPLED for c in arguments.couplings
    ]
    done = set()
    if arguments.out.exists():
        with arguments.out.open(newline="") as file:
            done = {tuple(row[:3]) for row in csv.reader(file) if row}
    parallel = Parallel(n_jobs=arguments.n_jobs, return_as="generator_unordered")
    jobs = (
        delayed(run)(arguments.folder, name, seed, methods, done)
        for seed in range(arguments.seeds)
        for name in arguments.sets
    )
    for rows in parallel(jobs):
        with arguments.out.open("a", newline="") as file:
            csv.writer(file).writerows(rows)
    found = read(arguments.out)
    lines = list(summary(found))
    if arguments.table:
        with arguments.table.open("w", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows(lines)
    writer.writerows(lines)
    if arguments.settle:
        writer.writerows(settle(found, arguments.settle))
    for fusion in COUPLED if arguments.couplings else ():
        tried = sorted(m for _, m in found if m.startswith(f"{fusion}, coupling "))
        writer.writerows(settle(found, list(dict.fromkeys(tried))))


if __name__ == "__main__":
    main()
