"""How long MKLClassifier takes beside one SVC on the kernel that it ends with.

    python benchmarks/mkl_svm_speed.py [--sizes 500 1000 2000] [--large 20000 100000]

Six modalities, one of them noise; two and ten classes. Every time is the least of
three, in CPU seconds of one process, less that of making the kernels. MKLpy's EasyMKL
is measured too, where it is installed. Then explicit features of many samples, whose
time holds everything. Backs: within 3 times of one SVC.
"""

import argparse
from time import process_time

import numpy as np
from sklearn.svm import SVC

from mmfusion import Modalities
from mmfusion.mkl import MKLClassifier, ModalityKernels

ALGORITHMS = ("average", "alignment", "easymkl", "l1", "lp")
N_FEATURES = 20
NOISE = (1.0, 1.2, 1.4, 1.6, 1.8)


def make_data(n_samples, n_classes, seed=0):
    """Five modalities in which classes are told apart less and less, and noise."""
    rng = np.random.default_rng(seed)
    y = rng.integers(n_classes, size=n_samples)
    centers = 0.8 * rng.normal(size=(len(NOISE), n_classes, N_FEATURES))
    shape = (n_samples, N_FEATURES)
    blocks = [
        c[y] + 1.5 * noise * rng.normal(size=shape)
        for c, noise in zip(centers, NOISE, strict=True)
    ]
    return Modalities([*blocks, rng.normal(size=shape)]), y


def seconds(call, n_runs=3):
    """Least CPU time of some runs."""
    times = []
    for _ in range(n_runs):
        start = process_time()
        call()
        times.append(process_time() - start)
    return min(times)


def compare(n_samples, n_classes):
    """Print one size."""
    X, y = make_data(2 * n_samples, n_classes)
    train, test = np.arange(n_samples), np.arange(n_samples, 2 * n_samples)
    maker = ModalityKernels().fit(X[train])
    kernels = list(maker.transform(X[train]).blocks)
    making = seconds(lambda: ModalityKernels().fit_transform(X[train]))
    new = list(maker.transform(X[test]).blocks)
    print(f"\n{n_samples} samples, {n_classes} classes; kernels {making:.3f} s")
    for algorithm in ALGORITHMS:
        classifier = MKLClassifier(algorithm=algorithm)
        ours = seconds(lambda c=classifier: c.fit(X[train], y[train])) - making
        K = np.tensordot(classifier.kernel_weights_, kernels, 1)
        floor = seconds(lambda K=K: SVC(kernel="precomputed").fit(K, y[train]))
        score = classifier.score(X[test], y[test])
        print(
            f"  {algorithm:10} {ours:7.3f} s   one SVC {floor:6.3f} s   "
            f"{ours / floor:5.1f} x   accuracy {score:.3f}   noise "
            f"{classifier.kernel_weights_[-1]:.3f}   steps {classifier.n_iter_}"
        )
    try:
        from MKLpy.algorithms import EasyMKL
    except ImportError:
        return
    theirs = EasyMKL(lam=0.1)
    spent = seconds(lambda: theirs.fit(kernels, y[train]), n_runs=1)
    score = (np.asarray(theirs.predict(new)) == y[test]).mean()
    print(f"  MKLpy's EasyMKL {spent:.3f} s   accuracy {score:.3f}")


def main():
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--sizes", type=int, nargs="*", default=[500, 1000, 2000])
    parser.add_argument("--large", type=int, nargs="*", default=[20_000, 100_000])
    args = parser.parse_args()
    for n_samples in args.sizes:
        for n_classes in (2, 10):
            compare(n_samples, n_classes)
    for n_samples in args.large:
        for n_classes in (2, 10):
            X, y = make_data(n_samples + 5000, n_classes)
            X = Modalities([block.astype(np.float32) for block in X.blocks])
            classifier = MKLClassifier(random_state=0)
            start = process_time()
            classifier.fit(X[:n_samples], y[:n_samples])
            spent = process_time() - start
            score = classifier.score(X[n_samples:], y[n_samples:])
            print(
                f"{n_samples} samples, {n_classes} classes, explicit features: "
                f"{spent:.1f} s   accuracy {score:.3f}"
            )


if __name__ == "__main__":
    main()
