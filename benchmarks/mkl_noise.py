"""How multiple kernel clustering bears useless modalities: the evidence for a default.

    python benchmarks/mkl_noise.py FOLDER [--seeds 3] [--sets msrcv1_5v ...]

Every algorithm of `MKLClusterer` clusters every set of FOLDER (files of `load_npz`),
with 0, 1 and as many further modalities of pure noise as the set has modalities.
Labels only score. Prints, per set, the accuracy and the weight of all noise together.
"""

import argparse
import warnings
from pathlib import Path
from time import process_time

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from mmfusion import Modalities
from mmfusion.metrics import clustering_accuracy_score
from mmfusion.mkl import MKLClusterer

SETS = (
    "msrcv1_5v",
    "handwritten_mfeat",
    "100leaves",
    "ngs_3v",
    "webkb203_3v",
    "bbc_4v",
)
ALGORITHMS = (
    "agreement",
    "average",
    "statis",
    "late_fusion",
    "simple_mkkm",
    "mkkm",
    "mkkm_mr",
)
NOISE_FEATURES = 50


def read(path):
    """Blocks and classes of a set."""
    with np.load(path) as stored:
        names = sorted(k for k in stored.files if k[:5] == "view_" and k[5:].isdigit())
        return [stored[name].astype(np.float32) for name in names], stored["y"]


def with_noise(blocks, n_noise, seed):
    """Modalities, those of noise after those of the set."""
    rng = np.random.default_rng(seed)
    shape = (n_noise, len(blocks[0]), NOISE_FEATURES)
    noise = rng.normal(size=shape).astype(np.float32)
    return Modalities([*blocks, *noise])


def main():
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--sets", nargs="+", default=SETS)
    parser.add_argument("--algorithms", nargs="+", default=ALGORITHMS)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore", ConvergenceWarning)
    means = {}
    for name in arguments.sets:
        blocks, y = read(arguments.folder / f"{name}.npz")
        n_classes, n_own = len(np.unique(y)), len(blocks)
        print(f"{name}: n={len(y)}, V={n_own}, k={n_classes}; ACC (noise weight)")
        for algorithm in arguments.algorithms:
            cells, start = [], process_time()
            for n_noise in (0, 1, n_own):
                scores, shares = [], []
                for seed in range(arguments.seeds):
                    X = with_noise(blocks, n_noise, seed)
                    clusterer = MKLClusterer(
                        n_classes, algorithm=algorithm, random_state=seed
                    ).fit(X)
                    scores.append(clustering_accuracy_score(y, clusterer.labels_))
                    shares.append(clusterer.modality_weights_[n_own:].sum())
                cells.append((np.mean(scores), np.mean(shares)))
            told = "  ".join(f"{acc:.3f} ({share:.2f})" for acc, share in cells)
            seconds = process_time() - start
            print(f"  {algorithm:<12} {told}  {seconds:6.1f} s", flush=True)
            means[algorithm] = [*means.get(algorithm, []), [a for a, _ in cells]]
    print("mean over the sets: ACC with 0, 1, V noise modalities")
    for algorithm in arguments.algorithms:
        mean = np.mean(means[algorithm], axis=0)
        print(f"  {algorithm:<12} " + "  ".join(f"{value:.3f}" for value in mean))


if __name__ == "__main__":
    main()
