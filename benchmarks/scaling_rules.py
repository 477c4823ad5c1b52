"""Rules for the scaling of modalities that are to be clustered together.

    python benchmarks/scaling_rules.py FOLDER --csv OUT.csv

A rule is a choice of the shape of each modality, rows of unit length ('l2') or features
of unit variance ('block'), and of a weight for each. Shapes:

- 'local': what EarlyFusion chooses, for each modality alone;
- 'agreement': one choice for all modalities that are neither counts nor signed, by the
  larger mean alignment of the centred linear kernels, and 'block' if any is signed;
- 'positive': 'l2' for every modality without negative values.

Weights:

- 'none': 1;
- 'common': one for all modalities of 'l2' beside 'block', to mean variance 1;
- 'variance': every modality to total variance 1;
- 'norm': the kernel of every modality to Frobenius norm 1, as STATIS does;
- 'singular': the largest singular value of every modality to 1, as multiple factor
  analysis does.

Prints, in Markdown, the mean accuracy of k-means on the concatenation over all sets as
they are and over those with modalities of noise, and the mean differences from 'local,
common' with their standard errors over sets. 'elsewhere' is the mean accuracy of the
rule of the highest mean on all other sets. Classes are used for scores only.
"""

from __future__ import annotations

import argparse
import warnings
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
from base_clusters import SETS as NAMED_SETS
from early_fusion_scaling import load
from scipy import sparse
from sklearn.cluster import KMeans

from mmfusion import EarlyFusion, EarlyFusionClassifier, Modalities
from mmfusion.metrics import clustering_accuracy_score

SETS = (*NAMED_SETS, "digits")
NOISY = (
    "msrcv1_5v+1",
    "msrcv1_5v+5",
    "coil20_3pose+1",
    "coil20_3pose+3",
    "ngs_3v+2",
    "webkb203_3v+2",
    "wikipedia693+1",
    "snareseq_2v+1",
    "handwritten_mfeat+1",
    "digits+2",
    "100leaves+2",
)
SHAPES = ("local", "agreement", "positive")
WEIGHTS = ("none", "common", "variance", "norm", "singular")
LANDED = "local, common"
KERNEL_ROWS = 1000
SMALL = 1100  # samples of a set on which more seeds and restarts are run


def centred_kernel(block):
    """Centred linear kernel of equally spaced samples, divided by their number."""
    rows = np.linspace(0, block.shape[0] - 1, min(block.shape[0], KERNEL_ROWS))
    values = block[rows.astype(int)]
    values = values.toarray() if sparse.issparse(values) else values
    values = values - values.mean(axis=0)
    return values @ values.T / len(values)


def agreement(kernels):
    """Mean alignment of pairs of kernels."""
    kernels = [kernel / np.linalg.norm(kernel) for kernel in kernels]
    return np.mean([np.vdot(a, b) for a, b in combinations(kernels, 2)])


def shapes(X, y, kernels):
    """The choice of each rule, by modality."""
    local = EarlyFusion().fit(X).scaling_
    counts = EarlyFusionClassifier().fit(X[:200], y[:200]).fusion_.scaling_
    signed = {name: X[name].min() < 0 for name in X.names}
    positive = {n: "block" if signed[n] else "l2" for n in X.names}
    joint = counts
    if not any(signed.values()) and len(X.names) > 1:
        joint = max(
            (counts, positive),
            key=lambda names: agreement([kernels[item] for item in names.items()]),
        )
    return {"local": local, "agreement": joint, "positive": positive}


def weights(names, kernels):
    """The weights of each rule."""
    own = [kernels[item] for item in names.items()]
    variances = np.array([np.trace(kernel) for kernel in own])
    is_l2 = np.array(list(names.values())) == "l2"
    common = np.ones(len(own))
    if is_l2.any() and not is_l2.all():
        common[is_l2] = variances[is_l2].mean() ** -0.5
    return {
        "none": np.ones(len(own)),
        "common": common,
        "variance": variances**-0.5,
        "norm": np.array([np.linalg.norm(kernel) ** -0.5 for kernel in own]),
        "singular": np.array([np.linalg.norm(kernel, 2) ** -0.5 for kernel in own]),
    }


def coordinates(fused):
    """Fewer features with the same distances, if there are fewer samples."""
    if fused.shape[0] > min(SMALL, fused.shape[1]):
        return fused.astype(np.float32)
    fused = fused.toarray() if sparse.issparse(fused) else fused
    fused = fused - fused.mean(axis=0)
    values, vectors = np.linalg.eigh(fused @ fused.T)
    return (vectors * np.sqrt(np.maximum(values, 0))).astype(np.float32)


def rows_of(folder, name):
    """Mean accuracy of every rule on one set."""
    X, y = load(folder, name)
    order = np.random.RandomState(0).permutation(len(y))
    X, y = Modalities({n: X[n] for n in X.names})[order], y[order]
    blocks, kernels = {}, {}
    for modality in X.names:
        for shape in ("l2", "block"):
            block = EarlyFusion(shape).fit_transform(X[[modality]])
            blocks[modality, shape] = block
            kernels[modality, shape] = centred_kernel(block)
    n_seeds, n_init = (6, 6) if len(y) < SMALL else (3, 3)
    found: dict[bytes, float] = {}
    for shape, names in shapes(X, y, kernels).items():
        for title, factors in weights(names, kernels).items():
            relative = np.round(factors / factors[0], 3)
            key = repr((list(names.values()), relative.tolist())).encode()
            if key not in found:
                parts = [
                    blocks[item] * w
                    for item, w in zip(names.items(), relative, strict=True)
                ]
                is_sparse = any(map(sparse.issparse, parts))
                fused = sparse.hstack(parts, "csr") if is_sparse else np.hstack(parts)
                fused = coordinates(fused)
                runs = [
                    KMeans(len(np.unique(y)), n_init=n_init, random_state=seed)
                    for seed in range(n_seeds)
                ]
                found[key] = np.mean(
                    [
                        clustering_accuracy_score(y, run.fit_predict(fused))
                        for run in runs
                    ]
                )
            yield {"set": name, "rule": f"{shape}, {title}", "accuracy": found[key]}


def summary(rows):
    """Mean accuracy of each rule, and its differences from the landed one."""
    table = rows.pivot_table(index="set", columns="rule", values="accuracy")
    columns = {}
    for title, sets in (("sets", SETS), ("with noise", NOISY)):
        own = table.loc[[name for name in sets if name in table.index]]
        if own.empty:
            continue
        differences = own.sub(own[LANDED], axis=0)
        errors = differences.std() / np.sqrt(len(own))
        columns[title] = own.mean().round(3)
        columns[f"difference, {title}"] = [
            f"{mean:+.3f} ± {error:.3f}"
            for mean, error in zip(differences.mean(), errors, strict=True)
        ]
        best = {name: own.drop(index=name).mean().idxmax() for name in own.index}
        elsewhere = np.mean([own.loc[name, rule] for name, rule in best.items()])
        print(f"{title}: elsewhere {elsewhere:.3f}")
    return pd.DataFrame(columns, index=table.columns)


def main():
    """Run the sets, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--sets", nargs="+", default=SETS + NOISY)
    parser.add_argument("--csv", type=Path)
    args = parser.parse_args()
    warnings.simplefilter("ignore")  # of logistic regressions that only choose scalings
    rows = pd.DataFrame()
    for name in args.sets:
        rows = pd.concat([rows, pd.DataFrame(rows_of(args.folder, name))])
        if args.csv:
            rows.to_csv(args.csv, index=False, float_format="%.4f")
    print(summary(rows).to_markdown())


if __name__ == "__main__":
    main()
