"""
Tumours that lack an assay
==========================

A classifier of tumours is trained on complete records, but later some patients lack an
assay. Is the subtype still recognised, are the probabilities to be relied on, and what
do the gates of a network explain?
"""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.calibration import calibration_curve
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import StratifiedKFold

from mmfusion import (
    EarlyFusionClassifier,
    LateFusionClassifier,
    NeuralFusionClassifier,
)
from mmfusion.datasets import load_breast_cancer_modalities, load_npz
from mmfusion.robustness import add_noise, drop_modalities

# %%
# 150 breast tumours of three subtypes (the Cancer Genome Atlas): messenger RNA,
# micro-RNA and proteins. They are not part of this package: ``benchmarks/README.md``
# names their source. Where their file is missing, the example takes the tumours that
# come with scikit-learn: statistics of nuclei in images, benign or malignant.

NAME = "shared/data/breast_tcga_3v.npz"
FILE = next((p / NAME for p in Path.cwd().parents if (p / NAME).exists()), None)
bunch = load_npz(FILE) if FILE else load_breast_cancer_modalities()
X, y = bunch.data, bunch.target
print(X, np.bincount(y))

# %%
# Accuracy and log loss
# ---------------------
#
# Baselines are logistic regressions: of all features, where the mean replaces what is
# missing, and one of each assay, whose probabilities are multiplied (a pool of their
# logarithms). The network has its defaults, or a temperature that is fitted to a fifth
# of the training tumours.

learner = LogisticRegression(max_iter=1000)
methods = {
    "early": EarlyFusionClassifier(learner),
    "late, log pool": LateFusionClassifier(learner, combine="log_pool"),
    "network": NeuralFusionClassifier(random_state=0),
    "network, temperature": NeuralFusionClassifier(
        calibration="temperature", validation_fraction=0.2, random_state=0
    ),
}
conditions = {"complete": X} | {
    f"no {name}": drop_modalities(X, 1.0, name) for name in X.names
}
probabilities = {
    (method, condition): np.empty((len(y), y.max() + 1))
    for method in methods
    for condition in conditions
}
for train, test in StratifiedKFold(3, shuffle=True, random_state=0).split(X, y):
    for name, method in methods.items():
        method.fit(X[train], y[train])
        for condition, data in conditions.items():
            predicted = method.predict_proba(data[test])
            probabilities[name, condition][test] = predicted

rows = [
    {
        "method": method,
        "condition": condition,
        "accuracy": np.mean(own.argmax(axis=1) == y),
        "log loss": log_loss(y, own),
    }
    for (method, condition), own in probabilities.items()
]
scores = pd.DataFrame(rows).set_index(["method", "condition"])
_, axes = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
for ax, score in zip(axes, scores, strict=True):
    scores[score].unstack("method", sort=False).plot(
        ax=ax, style=["o", "s", "D", "v"], alpha=0.8, legend=ax is axes[0]
    )
    ax.margins(x=0.1)
    ax.set(ylabel=score, xlabel="")
axes[1].set_yscale("log")
plt.show()

# %%
# One of 150 tumours is .7 points, so that the accuracies of late fusion and of the
# network differ by chance only, with or without an assay. Log losses are less by
# chance. Early fusion has the largest, on complete records too: it is not sure enough.
# The network is as good as late fusion, no better. With a temperature it is worse than
# without on the recorded tumours: a fifth less to learn from, and few to choose the
# temperature by. The mean over four networks, which is the default, needs no held-out
# tumours.

scores["log loss"].unstack("condition", sort=False).round(3)

# %%
# The same as a curve: of tumours and classes with probabilities near .3, 30 %
# should be of that class. Predictions without each of the assays are taken together.

_, ax = plt.subplots(figsize=(5, 4.4), layout="constrained")
ax.plot([0, 1], [0, 1], color="0.8")
truth = np.tile((y[:, None] == np.arange(y.max() + 1)).ravel(), len(X.names))
for name in methods:
    own = np.concatenate([probabilities[name, f"no {gone}"] for gone in X.names])
    share, mean = calibration_curve(truth, own.ravel(), n_bins=6)
    ax.plot(mean, share, "o-", label=name, alpha=0.8)
ax.set(xlabel="mean predicted probability", ylabel="share of the class")
ax.legend()
plt.show()

# %%
# Gates
# -----
#
# The gates of the network are how much each assay counts for a tumour. Here one assay
# of all tumours of the last test fold is missing, or has noise of three standard
# deviations.

network, name = methods["network"], X.names[0]
places = {
    "complete": X[test],
    f"{name} missing": drop_modalities(X[test], 1.0, name),
    f"{name} noisy": add_noise(X[test], 3, name, reference=X[train], random_state=0),
}
gates = {
    place: network.modality_gates(data).mean(axis=0) for place, data in places.items()
}
gates = pd.DataFrame(gates, index=X.names).T
_, ax = plt.subplots(figsize=(7, 2.4), layout="constrained")
gates.plot.barh(ax=ax, stacked=True)
ax.invert_yaxis()
ax.set_xlabel("mean gate")
ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=3)
plt.show()
gates["accuracy"] = [network.score(data, y[test]) for data in places.values()]
gates.round(2)

# %%
# A missing assay has no gate, and the others share. This is most of what the gates
# explain: complete records have nearly equal gates, though the assays are not equally
# bad to lose. Noise lowers the gate of the tumours of scikit-learn, and hardly that of
# the recorded ones, whose predictions do not suffer from it either. Gates are no
# importances: what is lost without an assay, as above, is one, and
# :doc:`/guide/inspection` has more.
