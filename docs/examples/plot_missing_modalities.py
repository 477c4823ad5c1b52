"""
Clustering samples that lack modalities
=======================================

An increasing share of the modalities of handwritten digits is removed at random. Late
fusion clusters every sample by its observed modalities; early fusion needs imputation.
"""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.pipeline import make_pipeline

from mmfusion import (
    EarlyFusionClusterer,
    LateFusionClusterer,
    Modalities,
    ModalityImputer,
)
from mmfusion.datasets import load_digits_modalities
from mmfusion.metrics import clustering_accuracy_score

# %%
# A mask determines the missing modalities. No sample lacks all of them.

X, y = load_digits_modalities(return_X_y=True)


def with_gaps(rate, seed):
    rng = np.random.default_rng(seed)
    observed = rng.random(X.shape) >= rate
    empty = np.flatnonzero(~observed.any(axis=1))
    observed[empty, rng.integers(X.shape[1], size=len(empty))] = True
    return Modalities(X, observed=observed)


print(with_gaps(0.4, seed=0))

# %%
# Three methods cluster them. Classes are used to score the result, and their number is
# that of the clusters.


def methods(seed):
    early = EarlyFusionClusterer(n_clusters=10, random_state=seed)
    return {
        "late fusion": LateFusionClusterer(n_clusters=10, random_state=seed),
        "mean, then early fusion": make_pipeline(ModalityImputer("mean"), early),
        "5 neighbours, then early fusion": make_pipeline(ModalityImputer("knn"), early),
    }


rows = [
    {
        "missing": rate,
        "method": name,
        "accuracy": clustering_accuracy_score(y, clusterer.fit_predict(gaps)),
    }
    for rate in (0.0, 0.2, 0.4, 0.6)
    for seed in range(3)
    for gaps in [with_gaps(rate, seed)]
    for name, clusterer in methods(seed).items()
]
scores = pd.DataFrame(rows).groupby(["method", "missing"], sort=False)["accuracy"]
scores.mean().unstack("missing").round(3)

# %%
# Mean and standard deviation over three seeds; each draws its own gaps too.

_, ax = plt.subplots(layout="constrained")
means, deviations = scores.mean(), scores.std()
for method in means.index.unique("method"):
    ax.errorbar(
        means[method].index, means[method], deviations[method], capsize=3, label=method
    )
ax.set(xlabel="share of modalities that are missing", ylabel="clustering accuracy")
_ = ax.legend()

# %%
# Imputation of the mean gives all samples that lack a modality the same values there,
# and k-means finds clusters of these rather than of digits. Nearest neighbours in the
# observed modalities impute likely values: these modalities describe the same image,
# so that one is informative of another. Late fusion makes no such assumption, and
# degrades slowly.
