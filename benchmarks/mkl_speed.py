"""What multiple kernel learning costs: beside one spectral clustering, and when large.

    OMP_NUM_THREADS=1 python benchmarks/mkl_speed.py [--large] [--folder FOLDER]

CPU seconds on blobs. Six exact kernels of 2,000 samples beside scikit-learn's
SpectralClustering of one precomputed kernel; exact kernels beside explicit features of
4,000. With --large also 100,000 samples with six kernels of 128 features, a million
with three modalities of 32 features, and kernels of 15,000 samples in files in FOLDER,
with the memory that fitting adds to that of the data (what Python and numpy allocate).
"""

import argparse
import tempfile
import tracemalloc
from time import process_time

from sklearn.cluster import SpectralClustering

from mmfusion.datasets import make_multimodal_blobs
from mmfusion.metrics import clustering_accuracy_score
from mmfusion.mkl import MKLClassifier, MKLClusterer, ModalityKernels

ALGORITHMS = (
    "agreement",
    "average",
    "statis",
    "late_fusion",
    "simple_mkkm",
    "mkkm",
    "mkkm_mr",
)
N_CLUSTERS = 10


def data(n_samples, n_modalities=6, n_features=20):
    """Modalities with ten clusters that lie close together."""
    widths = {f"modality_{v}": n_features for v in range(n_modalities)}
    return make_multimodal_blobs(
        n_samples,
        widths,
        centers=N_CLUSTERS,
        cluster_std=6.0,
        dtype="float32",
        random_state=0,
    )


def clustered(clusterer, X, y):
    """CPU seconds of a fit, and its accuracy."""
    start = process_time()
    clusterer.fit(X)
    seconds = process_time() - start
    return seconds, clustering_accuracy_score(y, clusterer.labels_)


def classified(classifier, X, y):
    """CPU seconds of a fit to the first 9/10, and the accuracy on the others."""
    start, n_train = process_time(), len(y) * 9 // 10
    classifier.fit(X[:n_train], y[:n_train])
    seconds = process_time() - start
    return seconds, classifier.score(X[n_train:], y[n_train:])


def beside_spectral():
    """Exact kernels beside one spectral clustering."""
    X, y = data(2000)
    raw = ModalityKernels(center=False, normalize=None).fit_transform(X)
    mean = sum(raw.blocks) / len(raw.blocks)
    spectral = SpectralClustering(N_CLUSTERS, affinity="precomputed", random_state=0)
    floor, accuracy = clustered(spectral, mean, y)
    print(f"SpectralClustering, one kernel  {floor:6.2f} s          ACC {accuracy:.3f}")
    for algorithm in ALGORITHMS:
        model = MKLClusterer(N_CLUSTERS, algorithm=algorithm, random_state=0)
        seconds, accuracy = clustered(model, X, y)
        times = f"{seconds / floor:4.1f} x"
        name = f"MKLClusterer {algorithm:<18}"
        print(f"{name} {seconds:6.2f} s  {times}  ACC {accuracy:.3f}", flush=True)


def exact_and_explicit():
    """The same samples by exact kernels and by features."""
    X, y = data(4000)
    for approximation in (None, "nystroem", "fourier"):
        options = {"approximation": approximation, "random_state": 0}
        for run, model in (
            (clustered, MKLClusterer(N_CLUSTERS, **options)),
            (classified, MKLClassifier(**options)),
        ):
            seconds, accuracy = run(model, X, y)
            name = f"n = 4,000, {approximation or 'exact'}, {type(model).__name__}"
            print(f"{name:<45} {seconds:6.2f} s  ACC {accuracy:.3f}", flush=True)


def large(n_samples, n_modalities, n_features, **options):
    """Time and memory of many samples."""
    X, y = data(n_samples, n_modalities, n_features)
    for run, model in (
        (clustered, MKLClusterer(N_CLUSTERS, random_state=0, **options)),
        (classified, MKLClassifier(random_state=0, **options)),
    ):
        tracemalloc.start()
        seconds, accuracy = run(model, X, y)
        added = tracemalloc.get_traced_memory()[1] / 2**20
        tracemalloc.stop()
        name = f"n = {n_samples:,} x {n_modalities}, {type(model).__name__}"
        print(
            f"{name:<45} {seconds:6.1f} s  {added:6.0f} MiB more  ACC {accuracy:.3f}",
            flush=True,
        )


def main():
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--large", action="store_true")
    parser.add_argument("--folder", default=tempfile.gettempdir())
    arguments = parser.parse_args()
    beside_spectral()
    exact_and_explicit()
    if arguments.large:
        large(100_000, 6, 20)
        large(15_000, 6, 20, approximation=None, temp_folder=arguments.folder)
        large(1_000_000, 3, 32)


if __name__ == "__main__":
    main()
