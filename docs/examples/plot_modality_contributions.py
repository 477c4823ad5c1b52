"""
Contributions of modalities
===========================

Four descriptions of the same handwritten digits, and a modality of noise. Which of them
does a classifier need, which could replace each other, and which help only together?
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, train_test_split
from sklearn.neighbors import KNeighborsClassifier

from mmfusion import EarlyFusionClassifier, Modalities
from mmfusion.datasets import load_digits_modalities
from mmfusion.inspection import (
    InteractionDisplay,
    ModalityImportanceDisplay,
    ShapleyDisplay,
    modality_importance,
    modality_interactions,
    modality_shapley,
    partial_information,
)

# %%
# A third of the images, to save time.

X, y = load_digits_modalities(return_X_y=True)
rng = np.random.default_rng(0)
rows = rng.permutation(len(y))[:600]
X, y = X[rows], y[rows]
X = Modalities(X.to_dict() | {"noise": rng.normal(size=(len(y), 10))})
print(X)

# %%
# Importance
# ----------
#
# A fitted classifier loses accuracy when the rows of one modality are permuted between
# the held-out samples. Points are repeats. Scaling and penalty are fixed: what depends
# on the number of features would favour some subsets of modalities.

classifier = EarlyFusionClassifier(
    LogisticRegression(C=0.1, max_iter=1000), scaling="standard"
)
X_train, X_test, y_train, y_test = train_test_split(X, y, stratify=y, random_state=0)
fitted = classifier.fit(X_train, y_train)
permuted = modality_importance(fitted, X_test, y_test, n_repeats=10, random_state=0)
ModalityImportanceDisplay.from_results(permuted)
plt.show()

# %%
# Fitted again without a modality, it loses far less: the others have most of its
# information. Points are folds.

folds = StratifiedKFold(5, shuffle=True, random_state=0)
dropped = modality_importance(classifier, X, y, method="drop", cv=folds)
ModalityImportanceDisplay.from_results(dropped)
plt.show()

# %%
# Shapley values
# --------------
#
# Shapley values share the accuracy beyond that of the most frequent class between the
# modalities: the mean gain over all orders in which they can be added, from fits to
# all 32 subsets in every fold.

values = modality_shapley(classifier, X, y, cv=folds)
ShapleyDisplay.from_results(values)
plt.show()

# %%
# The values sum to the gain.

print(values.to_frame().round(3))
print(f"{values.empty_score:.3f} + {values.values.sum():.3f} = {values.full_score:.3f}")

# %%
# Redundancy and synergy
# ----------------------
#
# The information about the digit, in bits of at most log2 10 = 3.3, is split for each
# pair: what both have, what one has beside the other, and what only the pair has.
# Descriptions of the same image are redundant above all.

parts = modality_interactions(classifier, X, y, cv=folds)
InteractionDisplay.from_results(parts)
plt.show()

# %%
# Synergy is rare where each modality identifies the class. Here is a case of nothing
# else: the class is whether two signs agree, of which neither modality has any
# information alone. For signs without noise the decomposition is exact.

signs = rng.choice([-1, 1], size=(600, 2))
agree = signs[:, 0] == signs[:, 1]
print(partial_information(*signs.T, agree))
noisy = signs + rng.normal(scale=0.3, size=signs.shape)
pair = {"first": noisy[:, :1], "second": noisy[:, 1:]}
neighbors = EarlyFusionClassifier(KNeighborsClassifier(30))
found = modality_interactions(neighbors, pair, agree, cv=folds).to_frame()
found[["redundancy", "unique_first", "unique_second", "synergy"]].round(2)
