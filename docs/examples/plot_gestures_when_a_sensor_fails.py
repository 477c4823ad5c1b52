"""
Gestures from sensors of unlike rates, one of which fails
=========================================================

An accelerometer and a gyroscope, read at a third of its rate, record four activities.
After training one of them is missing, or very noisy. Which way from sequences to a
class bears that?
"""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.svm import SVC

from mmfusion import (
    HybridFusionClassifier,
    LateFusionClassifier,
    Modalities,
    NeuralFusionClassifier,
)
from mmfusion.alignment import DTWKernel
from mmfusion.datasets import fetch_ucr_uea
from mmfusion.preprocessing import SequencePooling, SequenceResampler
from mmfusion.robustness import add_noise, drop_modalities

# %%
# 80 recordings of a watch, half of them for training (data set BasicMotions of the UEA
# archive), downloaded at the first call. Where the archive cannot be reached, motions
# are simulated: periodic, of any phase, with a frequency and axes for each activity.

CHANNELS = {"accelerometer": [0, 1, 2], "gyroscope": [3, 4, 5]}


def recorded():
    train, test = (
        fetch_ucr_uea("BasicMotions", split=split, modalities=CHANNELS, return_X_y=True)
        for split in ("train", "test")
    )
    return *train, *test


def simulated(n_samples=80, seed=0):
    rng = np.random.default_rng(seed)
    y = np.arange(n_samples) % 4
    seconds = np.arange(100) / 10
    axes = rng.normal(size=(4, 2, 6))
    sequences = []
    for label in y:
        phase = 2 * np.pi * rng.random() + 2 * (1 + label / 4) * seconds
        waves = np.column_stack([np.sin(phase), np.cos(2 * phase)])
        sequences.append(waves @ axes[label] + 0.5 * rng.normal(size=(100, 6)))
    X = Modalities(
        {name: [x[:, own] for x in sequences] for name, own in CHANNELS.items()}
    )
    half = n_samples // 2
    return X[:half], y[:half], X[half:], y[half:]


try:
    X, y, later, truth = recorded()
except OSError as error:
    print(f"simulated: {error}")
    X, y, later, truth = simulated()


def slower(X):
    return Modalities(
        {
            "accelerometer": list(X["accelerometer"]),
            "gyroscope": [x[::3] for x in X["gyroscope"]],
        }
    )


X, later = slower(X), slower(later)
print(X)

# %%
# The simplest way to tables is to resample all sequences to twenty frames. Statistics
# over time ignore when something happens, which suits motions that begin anywhere. Both
# are followed by logistic regressions, fused late or in both ways (hybrid), or by a
# network. A network may also take the sequences themselves, by convolutions over the
# frames of each sensor. Dynamic time warping compares sequences as they are; a support
# vector machine has the mean of the similarities by each sensor.

learner = LogisticRegression(max_iter=1000)
by_distance = LateFusionClassifier(learner, sample_weighting="distance")
methods = {
    "20 frames, late": (
        SequenceResampler(20, flatten=True),
        LateFusionClassifier(learner),
    ),
    "20 frames, hybrid": (
        SequenceResampler(20, flatten=True),
        HybridFusionClassifier(learner),
    ),
    "20 frames, network": (
        SequenceResampler(20, flatten=True),
        NeuralFusionClassifier(random_state=0),
    ),
    "statistics, late": (SequencePooling(), LateFusionClassifier(learner)),
    "statistics, late by distance": (SequencePooling(), by_distance),
    "statistics, network": (SequencePooling(), NeuralFusionClassifier(random_state=0)),
    "sequences, network": (NeuralFusionClassifier(n_members=1, random_state=0),),
    "time warping": (DTWKernel(), SVC(kernel="precomputed")),
}
methods = {name: make_pipeline(*steps).fit(X, y) for name, steps in methods.items()}

# %%
# Each sensor in turn is missing, or has noise of three standard deviations.

conditions = {"clean": later}
for name in X.names:
    conditions[f"no {name}"] = drop_modalities(later, 1.0, name)
for name in X.names:
    noisy = add_noise(later, 3, name, reference=X, random_state=0)
    conditions[f"noisy {name}"] = noisy
scores = pd.DataFrame(
    {
        condition: {name: m.score(data, truth) for name, m in methods.items()}
        for condition, data in conditions.items()
    }
)

_, ax = plt.subplots(figsize=(8, 3.8), layout="constrained")
_ = ax.imshow(scores, cmap="Blues", vmin=0, vmax=1.3, aspect="auto")
ax.set_yticks(range(len(scores)), scores.index)
ax.set_xticks(range(scores.shape[1]), [c.replace(" ", "\n") for c in scores])
for (i, j), score in np.ndenumerate(scores.to_numpy()):
    ax.text(j, i, f"{score:.2f}", ha="center", va="center")
ax.set_title("accuracy")
plt.show()

# %%
# Recorded or simulated, features decide more than fusion does: frames at fixed places
# suit no motion that begins anywhere, whatever learns from them. Most methods stand the
# loss of a sensor; its noise, only those do that were made for it. Late fusion by
# distance takes less of a sensor whose statistics are unlike those of training. The
# network learns to, from noise in training: of statistics with less success than of
# sequences, where it is about as good as warping. Warping needs no training to be so:
# noise makes a sensor's sequence as far from those of one class as of another, so that
# the other sensor decides. It pays by time, which is quadratic in the number of
# recordings and in that of their frames.
