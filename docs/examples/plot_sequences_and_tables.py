"""
Late fusion of sequences and a table (simulated)
================================================

Patients walk, and fill in a questionnaire: one modality is a sequence of any length for
each of them, the other a row of a table. Estimators of tslearn take the sequences,
those of scikit-learn the table, and late fusion combines them. A fifth of the patients
lack the one, and another fifth the other.
"""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.cluster import KMeans
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from tslearn.clustering import TimeSeriesKMeans
from tslearn.neighbors import KNeighborsTimeSeriesClassifier

from mmfusion import (
    EarlyFusionClassifier,
    LateFusionClassifier,
    LateFusionClusterer,
    Modalities,
    SingleModalityClusterer,
)
from mmfusion.datasets import make_multimodal_sequences
from mmfusion.metrics import clustering_accuracy_score
from mmfusion.preprocessing import SequencePooling

# %%
# The data are simulated: movements of four kinds, recorded at different paces, and a
# questionnaire of five noisy values for each patient.

CLASSES = 4


def patients(seed):
    movement, y, _ = make_multimodal_sequences(
        80,
        {"movement": 3},
        n_classes=CLASSES,
        n_frames=40,
        sample_std=0.9,
        noise_std=0.6,
        random_state=seed,
    )
    rng = np.random.default_rng(seed)
    survey = 1.2 * rng.normal(size=(CLASSES, 5))[y] + rng.normal(size=(len(y), 5))
    lacks = rng.permutation(len(y))
    observed = np.ones((len(y), 2), dtype=bool)
    observed[lacks[:16], 0] = observed[lacks[16:32], 1] = False
    blocks = {"movement": movement["movement"], "survey": survey}
    return Modalities(blocks, observed=observed), y


print(patients(0)[0])

# %%
# An estimator is given by the name of its modality. It gets the sequences in the layout
# that it reads, here an array padded with NaN, scaled per feature over the frames of
# all patients. Those who lack the modality are left out.

nearest = KNeighborsTimeSeriesClassifier(3, metric="dtw")
estimators = {"movement": nearest, "survey": LogisticRegression()}
classifiers = {
    "movement alone": LateFusionClassifier(estimators, weights={"survey": 0}),
    "survey alone": LateFusionClassifier(estimators, weights={"movement": 0}),
    "statistics, early fusion": make_pipeline(
        SequencePooling(), EarlyFusionClassifier(LogisticRegression(max_iter=1000))
    ),
    "late fusion": LateFusionClassifier(estimators),
    "late fusion, log pool": LateFusionClassifier(
        estimators, combine="log_pool", calibration="sigmoid", cv=3
    ),
}

# %%
# Clusterers are given in the same way. A patient who lacks a modality has no cluster by
# it alone, which counts as an error; the class of such a patient is a guess, too.

centers = TimeSeriesKMeans(metric="dtw", max_iter=10)
groups = {"movement": centers, "survey": KMeans(n_init=10)}


def cluster_alone(X, name, seed):
    own = X.observed[:, list(X.names).index(name)]
    alone = SingleModalityClusterer(
        name, clusterer=groups[name], n_clusters=CLASSES, random_state=seed
    )
    labels = np.full(len(X), -1)
    labels[own] = alone.fit_predict(X[own][[name]])
    return labels


def cluster_both(X, seed):
    late = LateFusionClusterer(groups, n_clusters=CLASSES, n_runs=3, random_state=seed)
    return late.fit_predict(X)


rows = []
for seed in range(5):
    X, y = patients(seed)
    for name, classifier in classifiers.items():
        accuracy = cross_val_score(classifier, X, y, cv=4).mean()
        rows.append(("classification", name, accuracy))
    clusterings = {f"{name} alone": cluster_alone(X, name, seed) for name in X.names}
    clusterings["late fusion"] = cluster_both(X, seed)
    for name, labels in clusterings.items():
        own = labels >= 0
        accuracy = clustering_accuracy_score(y[own], labels[own]) * own.mean()
        rows.append(("clustering", name, accuracy))

results = pd.DataFrame(rows, columns=["task", "method", "accuracy"])
scores = results.groupby(["task", "method"], sort=False)["accuracy"]
summary = scores.agg(["mean", "std"])
print(summary.round(3))

# %%
# Late fusion is ahead of both modalities in both tasks, since it predicts for every
# patient, and by both modalities for most. Statistics over time lose the order of the
# frames: their early fusion is behind.

bars = summary.reset_index()
fig, ax = plt.subplots(figsize=(7, 3.5), layout="constrained")
colors = np.where(bars["task"] == "classification", "tab:blue", "tab:orange")
labels = bars["task"] + ": " + bars["method"]
ax.barh(labels, bars["mean"], xerr=bars["std"], color=colors)
ax.invert_yaxis()
ax.set_xlabel("accuracy, mean and standard deviation of five data sets")
plt.show()
