"""
Sequences from sensors that fail for a while
============================================

Words are recognised from the movements of the tongue and the lips. After training, each
sensor fails during a third of every recording. How many words are still recognised, and
is it visible where a sensor failed?
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.pipeline import make_pipeline
from sklearn.svm import SVC

from mmfusion import EarlyFusionClassifier, HMMClassifier, Modalities
from mmfusion.alignment import DTWKernel
from mmfusion.datasets import fetch_ucr_uea, make_multimodal_sequences
from mmfusion.plotting import ReliabilityDisplay, StatePosteriorDisplay
from mmfusion.preprocessing import SequenceGradients, SequencePooling

# %%
# 25 English words, each recorded 23 times, with sensors on the tongue and on both lips
# (data set ArticularyWordRecognition of the UEA archive, in its own split), downloaded
# at the first call. Where the archive cannot be reached, movements of three sensors are
# simulated, which is then printed.

CHANNELS = {"tongue": [0, 1, 2], "upper lip": [3, 4, 5], "lower lip": [6, 7, 8]}


def recorded():
    train, test = (
        fetch_ucr_uea(
            "ArticularyWordRecognition",
            split=split,
            modalities=CHANNELS,
            return_X_y=True,
        )
        for split in ("train", "test")
    )
    return *train, *test


def simulated():
    X, y, _ = make_multimodal_sequences(
        300, dict.fromkeys(CHANNELS, 3), n_classes=6, noise_std=0.5, random_state=0
    )
    return X[:150], y[:150], X[150:], y[150:]


try:
    X, y, later, truth = recorded()
except OSError as error:
    print(f"simulated: {error}")
    X, y, later, truth = simulated()
print(X)

# %%
# Every class has a chain of states from left to right, which emits the frames of all
# sensors. Gradients over time distinguish rising movements from falling ones. Two more
# methods for sequences serve as comparison, both support vector machines: of statistics
# over time, and of the similarities by dynamic time warping.

methods = {
    "HMM": make_pipeline(SequenceGradients(), HMMClassifier(10)),
    "HMM without\noutliers": make_pipeline(
        SequenceGradients(), HMMClassifier(10, outlier_share=0)
    ),
    "statistics": make_pipeline(
        SequenceGradients(),
        SequencePooling(),
        EarlyFusionClassifier(SVC(C=10), scaling="standard"),
    ),
    "time warping": make_pipeline(DTWKernel(), SVC(kernel="precomputed")),
}
for method in methods.values():
    method.fit(X, y)

# %%
# A sensor that fails sends noise of two standard deviations, during a third of the
# recording, at a place that is drawn for each sensor by itself.

rng = np.random.default_rng(0)


def failing(sequence, scale):
    n = len(sequence) // 3
    start = rng.integers(len(sequence) - n)
    sequence = sequence.copy()
    sequence[start : start + n] += 2 * scale * rng.normal(size=(n, sequence.shape[1]))
    return sequence


scales = {name: np.concatenate(list(X[name])).std(axis=0) for name in X.names}
failed = Modalities(
    {name: [failing(x, scales[name]) for x in later[name]] for name in X.names}
)

# %%
# Frames that no state explains count as outliers, of the sensor that they come from;
# the frames of the other sensors at the same time still count.

clean, bad = (
    [method.score(data, truth) for method in methods.values()]
    for data in (later, failed)
)
places = np.arange(len(methods))
fig, ax = plt.subplots(figsize=(6, 3), layout="constrained")
ax.bar(places - 0.2, clean, 0.4, label="as recorded")
ax.bar(places + 0.2, bad, 0.4, label="sensors fail a third of the time")
ax.set_xticks(places, list(methods))
ax.set_ylabel("accuracy")
fig.legend(loc="outside upper center", ncols=2)
for name, *row in zip(methods, clean, bad, strict=True):
    print(name.replace("\n", " "), *(f"{score:.3f}" for score in row))

# %%
# `reliability` is the probability of each frame to be no outlier: it shows when which
# sensor failed.

gradients, classifier = methods["HMM"]
sample = gradients.transform(failed)[:1]
display = ReliabilityDisplay.from_estimator(classifier, sample)

# %%
# The states of the predicted word go on all the same, by the sensors that work.

display = StatePosteriorDisplay.from_estimator(classifier, sample)
