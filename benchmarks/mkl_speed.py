"""What multiple kernel clustering costs beside one spectral clustering.

    OMP_NUM_THREADS=1 python benchmarks/mkl_speed.py [--large]

CPU seconds on blobs: n = 2,000 with 6 exact kernels against scikit-learn's
SpectralClustering on one precomputed kernel; with --large also n = 100,000 with
6 kernels of 128 explicit features, and the memory that fitting adds.
"""

import argparse
import tracemalloc
from time import process_time

from sklearn.cluster import SpectralClustering

from mmfusion.datasets import make_multimodal_blobs
from mmfusion.metrics import clustering_accuracy_score
from mmfusion.mkl import MKLClusterer, ModalityKernels

ALGORITHMS = ("agreement", "average", "statis", "late_fusion", "simple_mkkm", "mkkm")
N_CLUSTERS = 10


def data(n_samples):
    """Six modalities of twenty features."""
    widths = {f"modality_{v}": 20 for v in range(6)}
    return make_multimodal_blobs(
        n_samples, widths, centers=N_CLUSTERS, cluster_std=3.0, random_state=0
    )


def timed(clusterer, X, y):
    """CPU seconds of a fit, and its accuracy."""
    start = process_time()
    clusterer.fit(X)
    seconds = process_time() - start
    return seconds, clustering_accuracy_score(y, clusterer.labels_)


def small():
    """Exact kernels beside one spectral clustering."""
    X, y = data(2000)
    raw = ModalityKernels(center=False, normalize=None).fit_transform(X)
    mean = sum(raw.blocks) / len(raw.blocks)
    spectral = SpectralClustering(N_CLUSTERS, affinity="precomputed", random_state=0)
    floor, accuracy = timed(spectral, mean, y)
    print(f"SpectralClustering, one kernel  {floor:6.2f} s          ACC {accuracy:.3f}")
    for algorithm in ALGORITHMS:
        model = MKLClusterer(N_CLUSTERS, algorithm=algorithm, random_state=0)
        seconds, accuracy = timed(model, X, y)
        times = f"{seconds / floor:4.1f} x"
        name = f"MKLClusterer {algorithm:<18}"
        print(f"{name} {seconds:6.2f} s  {times}  ACC {accuracy:.3f}")


def large():
    """Explicit features of many samples."""
    X, y = data(100_000)
    model = MKLClusterer(N_CLUSTERS, random_state=0)
    seconds, accuracy = timed(model, X, y)
    tracemalloc.start()
    model.fit(X)
    added = tracemalloc.get_traced_memory()[1] / 2**20
    print(f"n = 100,000: {seconds:.1f} s, {added:.0f} MiB more, ACC {accuracy:.3f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--large", action="store_true")
    small()
    if parser.parse_args().large:
        large()
