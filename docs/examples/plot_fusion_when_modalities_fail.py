"""
Fusion when modalities fail
===========================

Four descriptions of handwritten digits are fused to tell the digits apart. What happens
when one of them goes missing, or gets noisy, after training?
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
# Every fourth image will do.

X, y = load_digits_modalities(return_X_y=True)
X, y = X[::4], y[::4]
print(X)

# %%
# Data are degraded by functions that can be used by themselves: here half of the
# samples lose a modality, then it gets noise of three times the standard deviation of
# each feature.

name = X.names[0]
print(drop_modalities(X, 0.5, name, random_state=0))
noisy = add_noise(X, 3, name, random_state=0)
round(float((noisy[name] - X[name]).std() / X[name].std()), 1)

# %%
# All classifiers are logistic regressions of the same features. Early fusion fills in
# the mean where a modality is missing; trained with copies of the samples that have
# lost a modality, it learns not to rely on one. Late fusion asks a classifier for each
# modality, and counts all alike, or each by how near the sample is, in that modality,
# to those of training. Hybrid fusion is late fusion with early fusion as one more
# voice.

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
# Each estimator was fitted once for each fold, on clean data. A panel shows what became
# of the accuracy as one modality got worse: first as it went missing, then as it got
# noisy. Bands are one standard deviation over the folds.

display = DegradationDisplay.from_results(results)
plt.show()

# %%
# What is lost, on average over the modalities, when one of them is missing everywhere,
# or has the most noise:

summary = results.summary()
last = summary.groupby("degradation")["level"].transform("max")
worst = summary[summary["level"] == last]
losses = worst.groupby(["estimator", "degradation"], sort=False)["loss"].mean()
losses.unstack("degradation").round(3)
