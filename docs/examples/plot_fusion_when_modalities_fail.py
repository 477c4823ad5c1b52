"""
Fusion when modalities fail
===========================

Four descriptions of handwritten digits are fused to classify them. How does the
accuracy change when one of them is missing, or noisy, after training?
"""

import matplotlib.pyplot as plt
from sklearn.linear_model import LogisticRegression

from mmfusion import (
    EarlyFusionClassifier,
    HybridFusionClassifier,
    LateFusionClassifier,
)
from mmfusion.datasets import load_digits_modalities
from mmfusion.robustness import (
    DegradationDisplay,
    add_noise,
    degradation_curve,
    drop_modalities,
)

# %%
# A quarter of the images, to save time.

X, y = load_digits_modalities(return_X_y=True)
X, y = X[::4], y[::4]
print(X)

# %%
# Functions degrade the data: here a modality is removed from half of the samples, then
# noise of three times the standard deviation of each feature is added to it.

name = X.names[0]
print(drop_modalities(X, 0.5, name, random_state=0))
noisy = add_noise(X, 3, name, random_state=0)
round(float((noisy[name] - X[name]).std() / X[name].std()), 1)

# %%
# All classifiers are logistic regressions of the same features. Early fusion imputes
# the mean where a modality is missing; modality dropout trains it on copies of the
# samples that lack a modality, so that it does not rely on one. Late fusion combines
# a classifier for each modality, with equal weights or with weights that decrease
# with the distance of the sample to those of training. Hybrid fusion adds early
# fusion as another branch.

learner = LogisticRegression(max_iter=1000)
estimators = {
    "early, mean filled in": EarlyFusionClassifier(learner),
    "early, modality dropout": EarlyFusionClassifier(learner, modality_dropout=0.3),
    "late, uniform": LateFusionClassifier(learner),
    "late, by distance": LateFusionClassifier(learner, sample_weighting="distance"),
    "hybrid": HybridFusionClassifier(learner),
}
results = degradation_curve(
    estimators,
    X,
    y,
    degradation=["missing", "noise"],
    levels={"missing": [0, 0.5, 1], "noise": [0, 1, 3]},
    random_state=0,
)
print(results)

# %%
# Each estimator was fitted once for each fold, on clean data. A panel shows the
# accuracy against the degradation of one modality, by missing values and by noise.
# Bands are one standard deviation over the folds.

display = DegradationDisplay.from_results(results)
plt.show()

# %%
# The loss of accuracy, averaged over the modalities, when one of them is missing for
# all samples, or has the most noise:

summary = results.summary()
last = summary.groupby("degradation")["level"].transform("max")
worst = summary[summary["level"] == last]
losses = worst.groupby(["estimator", "degradation"], sort=False)["loss"].mean()
losses.unstack("degradation").round(3)
