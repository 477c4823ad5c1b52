"""
Subtypes of tumours from several omics
======================================

Messenger RNA, micro-RNA and proteins of the same tumours: each tells something of the
subtype, in its own units. A kernel of each, and weights that are learned, put them on
one footing; a grid search chooses the rest.
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
# 150 breast tumours of the Cancer Genome Atlas, which are not ours to pass on. Where
# the file is not beside the project, tumours are simulated: three subtypes that differ
# in some features of each omics, two of them less than the third.

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
# Six kernels: the inner products of each omics, and a Gaussian of its distances. All
# are centred and brought to one size, so that weights can be compared. The search
# chooses how weights are learned, and the cost C of an error, on the training part
# alone.

X_train, X_test, y_train, y_test = train_test_split(
    X, y, test_size=1 / 3, stratify=y, random_state=0
)
classifier = MKLClassifier(["linear", "rbf"])
grid = {"algorithm": ["alignment", "easymkl", "l1"], "C": [0.1, 1, 10]}
folds = StratifiedKFold(3, shuffle=True, random_state=0)
search = GridSearchCV(classifier, grid, cv=folds).fit(X_train, y_train)
print(search.best_params_, round(search.score(X_test, y_test), 3))

# %%
# What counts in the sum? The dashed line is equal weights.

KernelWeightsDisplay.from_estimator(search.best_estimator_)
plt.show()

# %%
# One split says little. Nested cross-validation searches again in every fold, beside
# each omics alone and the mean of all kernels, with the same candidates for C. Learned
# weights seldom gain much over the mean where every modality tells something.

outer = StratifiedKFold(5, shuffle=True, random_state=1)
mean = grid | {"algorithm": ["average"]}
contenders = {
    **{name: (X[[name]], mean) for name in X.names},
    "mean of all kernels": (X, mean),
    "learned weights": (X, grid),
}
scores = {
    name: cross_val_score(GridSearchCV(classifier, own, cv=folds), data, y, cv=outer)
    for name, (data, own) in contenders.items()
}
_, ax = plt.subplots(layout="constrained", figsize=(6, 2.8))
for place, values in enumerate(scores.values()):
    ax.plot(values, np.full(len(values), place), "o", color="0.6")
    ax.plot(values.mean(), place, "|", markersize=16, color="C0")
ax.set(yticks=range(len(scores)), yticklabels=scores, xlabel="accuracy (5 folds, mean)")
ax.invert_yaxis()
plt.show()

# %%
# After training, tumours may come without one of the omics: such a sample lies at the
# mean there, and what it has counts for more.

for gone in X.names:
    incomplete = drop_modalities(X_test, 1.0, gone)
    print(f"without {gone}: {search.score(incomplete, y_test):.2f}")

# %%
# Without classes
# ---------------
#
# `MKLClusterer` weighs kernels by how far their partitions agree, so that an omics that
# is noise gets nothing. Do the clusters repeat the subtypes? The classes only score.

noisy = X.to_dict() | {"noise": np.random.default_rng(0).normal(size=(len(y), 100))}
for data in (X, Modalities(noisy)):
    clusterer = MKLClusterer(3, random_state=0).fit(data)
    weights = clusterer.modality_weights_.round(2).tolist()
    found = adjusted_rand_score(y, clusterer.labels_)
    print(dict(zip(data.names, weights, strict=True)), f"ARI {found:.3f}")

# %%
# The kernels, with samples ordered by cluster: blocks on the diagonal are what a kernel
# tells of the clusters. The noise has none.

KernelMatrixDisplay.from_estimator(clusterer, Modalities(noisy))
plt.show()

# %%
# Algorithms that take steps keep their objective. SimpleMKKM minimises over weights
# what the best partition explains; few eigenproblems are enough, and the gap is known.
# But it looks for what is hardest to explain, which noise is.

chasing = MKLClusterer(3, algorithm="simple_mkkm", random_state=0)
chasing.fit(Modalities(noisy))
print(dict(zip(noisy, chasing.modality_weights_.round(2).tolist(), strict=True)))
ObjectivePathDisplay.from_estimator(chasing)
plt.show()
