"""
Questions about images: why late fusion cannot
==============================================

Is the digit in this image even? The image alone does not determine the class, nor does
the question: each changes what the other one means. Which schemes of fusion can learn
such an interaction?
"""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mmfusion import (
    EarlyFusionClassifier,
    LateFusionClassifier,
    Modalities,
    NeuralFusionClassifier,
    Trainer,
)

# %%
# The images are scikit-learn's digits. A question is one of 14: whether the digit is
# even, above 4, has a loop or is prime, or whether it is some other digit k. The class
# is yes or no.

PROPERTIES = {
    "even": [0, 2, 4, 6, 8],
    "above 4": [5, 6, 7, 8, 9],
    "loop": [0, 6, 8, 9],
    "prime": [2, 3, 5, 7],
}
QUESTIONS = [*PROPERTIES, *(f"a {k}" for k in range(10))]
yes = np.zeros((10, len(QUESTIONS)), dtype=int)  # by digit and question
for q, digits in enumerate(PROPERTIES.values()):
    yes[digits, q] = 1
yes[:, len(PROPERTIES) :] = np.eye(10)

# %%
# Each image comes with two questions, drawn at random. For 'is it a k?', k is the true
# digit as often as another one, so that the question alone is of little use. Images
# to predict are not trained on.

rng = np.random.default_rng(0)
images, digits = load_digits(return_X_y=True)
images, digits = np.repeat(images, 2, axis=0), np.repeat(digits, 2)
other = (digits + rng.integers(1, 10, len(digits))) % 10
asked = np.where(rng.random(len(digits)) < 0.5, digits, other)
kinds = rng.integers(len(PROPERTIES) + 1, size=len(digits))
questions = np.where(kinds < len(PROPERTIES), kinds, len(PROPERTIES) + asked)

X = Modalities({"image": images, "question": np.eye(len(QUESTIONS))[questions]})
y = yes[digits, questions]
train, test = (
    np.flatnonzero(np.isin(np.arange(len(y)) // 2, part))
    for part in train_test_split(np.arange(len(y) // 2), test_size=497, random_state=0)
)
print(X, f"{len(train)} to train on, {len(test)} to predict", sep="\n")

# %%
# Late fusion combines a prediction from the image and one from the question. Early
# fusion by a linear model adds up a weight for every feature. The networks have one
# encoder for each modality; they differ in how they combine the latents. Modalities
# are neither dropped nor made noisy in training, as both are always needed here.

linear = make_pipeline(StandardScaler(), LogisticRegression())
trainer = Trainer(max_epochs=40)
whole = {
    "modality_dropout": 0.0,
    "modality_noise": 0.0,
    "trainer": trainer,
    "random_state": 0,
}
estimators = {
    "late fusion": LateFusionClassifier(linear),
    "early fusion": EarlyFusionClassifier(linear),
    "network, late": NeuralFusionClassifier("late", **whole),
    "network, gated": NeuralFusionClassifier("gated", **whole),
    "network, concat": NeuralFusionClassifier("concat", **whole),
    "network, low rank": NeuralFusionClassifier("low_rank", **whole),
    "network, tensor": NeuralFusionClassifier("tensor", **whole),
}
accuracies = {"majority": np.mean(y[test] == np.bincount(y[train]).argmax())}
for name in X.names:
    alone = linear.fit(X[name][train], y[train])
    accuracies[f"{name} alone"] = alone.score(X[name][test], y[test])
for name, estimator in estimators.items():
    accuracies[name] = estimator.fit(X[train], y[train]).score(X[test], y[test])
pd.Series(accuracies, name="accuracy").round(3)

# %%
# The probability of yes, averaged over the test images of each digit, shows the reason.
# A sum of a term of the image and a term of the question changes all rows in the same
# way: a question that is yes for more digits shifts its whole column, and no shift
# turns it over between even digits and odd ones. Products of latents can. Of the
# questions for single digits it was trained on about 25 with each digit, and on 3 with
# each wrong one, so that it is less sure there.

shown = ["late fusion", "early fusion", "network, low rank"]
fig, axes = plt.subplots(1, 4, figsize=(12, 3.6), layout="constrained", sharey=True)
panels = {"true": yes.astype(float)}
for name in shown:
    panels[name] = np.empty(yes.shape)
    for q in range(len(QUESTIONS)):
        same = np.tile(np.eye(len(QUESTIONS))[q], (len(test), 1))
        asked_all = Modalities({"image": images[test], "question": same})
        p = estimators[name].predict_proba(asked_all)[:, 1]
        panels[name][:, q] = [p[digits[test] == k].mean() for k in range(10)]
for ax, (name, values) in zip(axes, panels.items(), strict=True):
    drawn = ax.imshow(values, vmin=0, vmax=1, cmap="viridis")
    ax.set(title=name, xticks=range(len(QUESTIONS)), yticks=range(10))
    ax.set_xticklabels(QUESTIONS, rotation=90)
axes[0].set_ylabel("digit")
fig.colorbar(drawn, ax=axes, label="probability of yes", shrink=0.8)
plt.show()
