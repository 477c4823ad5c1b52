"""
Subtypes of tumours from several omics (simulated without the data)
===================================================================

Messenger RNA, micro-RNA and proteins of the same tumours are all informative of the
subtype, in different units. Multiple kernel learning makes them comparable by kernels
and learns their weights; a grid search chooses the other options.
"""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.metrics import adjusted_rand_score
from sklearn.model_selection import (
    GridSearchCV,
    StratifiedKFold,
    cross_val_score,
    train_test_split,
)

from mmfusion import Modalities
from mmfusion.datasets import load_npz
from mmfusion.mkl import MKLClassifier, MKLClusterer
from mmfusion.plotting import (
    KernelMatrixDisplay,
    KernelWeightsDisplay,
    ObjectivePathDisplay,
)
from mmfusion.robustness import drop_modalities

# %%
# 150 breast tumours of the Cancer Genome Atlas, which are not part of this package:
# ``benchmarks/README.md`` names their source. Where their file is missing, tumours are
# simulated: three subtypes that differ in some features of each omics, two of them
# less than the third.

NAME = "shared/data/breast_tcga_3v.npz"
FILE = next((p / NAME for p in Path.cwd().parents if (p / NAME).exists()), None)


def simulated(seed=0):
    rng = np.random.default_rng(seed)
    y = np.repeat([0, 1, 2], [45, 30, 75])
    shifts = np.array([[1.0, 0.3], [0.6, 1.0], [-0.4, -0.2]])
    blocks = {}
    for name, width, share in [
        ("mrna", 200, 20),
        ("mirna", 184, 8),
        ("protein", 142, 12),
    ]:
        block = rng.normal(size=(len(y), width))
        block[:, :share] += shifts[y, rng.integers(2, size=share)[:, None]].T
        blocks[name] = block
    return Modalities(blocks), y


if FILE:
    bunch = load_npz(FILE)
    X, y = bunch.data, bunch.target
else:
    X, y = simulated()
print("recorded" if FILE else "simulated", np.bincount(y))
print(X)

# %%
# Six kernels: the linear and the Gaussian kernel of each omics. All are centred and
# normalised, so that weights can be compared. The search chooses the algorithm for the
# weights and the cost C of an error on the training set.

X_train, X_test, y_train, y_test = train_test_split(
    X, y, test_size=1 / 3, stratify=y, random_state=0
)
classifier = MKLClassifier(["linear", "rbf"])
grid = {"algorithm": ["alignment", "easymkl", "l1"], "C": [0.1, 1, 10]}
folds = StratifiedKFold(3, shuffle=True, random_state=0)
search = GridSearchCV(classifier, grid, cv=folds).fit(X_train, y_train)
print(search.best_params_, round(search.score(X_test, y_test), 3))

# %%
# The weights of the kernels in the sum. The dashed line marks equal weights.

KernelWeightsDisplay.from_estimator(search.best_estimator_)
plt.show()

# %%
# One split is weak evidence. Nested cross-validation repeats the search in every fold,
# also for each omics alone and for the mean of all kernels, with the same values of C.
# Learned weights are seldom much better than the mean where every modality is
# informative.

outer = StratifiedKFold(5, shuffle=True, random_state=1)
mean = grid | {"algorithm": ["average"]}
candidates = {
    **{name: (X[[name]], mean) for name in X.names},
    "mean of all kernels": (X, mean),
    "learned weights": (X, grid),
}
scores = {
    name: cross_val_score(GridSearchCV(classifier, own, cv=folds), data, y, cv=outer)
    for name, (data, own) in candidates.items()
}
_, ax = plt.subplots(layout="constrained", figsize=(6, 2.8))
for place, values in enumerate(scores.values()):
    ax.plot(values, np.full(len(values), place), "o", color="0.6")
    ax.plot(values.mean(), place, "|", markersize=16, color="C0")
ax.set(yticks=range(len(scores)), yticklabels=scores, xlabel="accuracy (5 folds, mean)")
ax.invert_yaxis()
plt.show()

# %%
# After training, tumours may lack one of the omics: such a sample is the mean in its
# feature space, and the observed modalities get larger weights.

for gone in X.names:
    incomplete = drop_modalities(X_test, 1.0, gone)
    print(f"without {gone}: {search.score(incomplete, y_test):.2f}")

# %%
# Without classes
# ---------------
#
# `MKLClusterer` weights kernels by the agreement of their partitions, so that a
# modality of noise gets weight 0. The classes are used to score the clusters only.

noisy = X.to_dict() | {"noise": np.random.default_rng(0).normal(size=(len(y), 100))}
for data in (X, Modalities(noisy)):
    clusterer = MKLClusterer(3, random_state=0).fit(data)
    weights = clusterer.modality_weights_.round(2).tolist()
    found = adjusted_rand_score(y, clusterer.labels_)
    print(dict(zip(data.names, weights, strict=True)), f"ARI {found:.3f}")

# %%
# The Gram matrices, with samples ordered by cluster: kernels that separate the clusters
# have blocks on the diagonal. The noise has none.

KernelMatrixDisplay.from_estimator(clusterer, Modalities(noisy))
plt.show()

# %%
# Iterative algorithms store their objective. SimpleMKKM minimises over the weights the
# trace that the best partition explains; few eigenproblems are enough, and the duality
# gap is known. But noise is hardest to explain, so that it gets the largest weight.

min_max = MKLClusterer(3, algorithm="simple_mkkm", random_state=0)
min_max.fit(Modalities(noisy))
print(dict(zip(noisy, min_max.modality_weights_.round(2).tolist(), strict=True)))
ObjectivePathDisplay.from_estimator(min_max)
plt.show()
