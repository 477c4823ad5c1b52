"""
Labelling activities from two sensors
=====================================

A sensor at the wrist and one at the hip record a sequence of activities. When did which
of them take place, and does it help to know that an activity lasts a while?
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV

from mmfusion import CRFLabeler, HMMLabeler, Modalities
from mmfusion.metrics import edit_score, get_scorer, segment_f1, sequence_accuracy
from mmfusion.plotting import LabelTracksDisplay

# %%
# Four activities in random order, of 15 to 40 frames. The hip has half the rate of the
# wrist. Both are noisy, and neither distinguishes all activities.

ACTIVITIES = np.array(["stand", "walk", "run", "row"])
WRIST = np.array([[0.0, 0.0], [1.0, 0.5], [1.0, 0.5], [0.0, 1.5]])
HIP = np.array([[0.0], [0.8], [1.8], [0.0]])


def recordings(n_samples, seed):
    rng = np.random.default_rng(seed)
    wrist, hip, y = [], [], []
    for _ in range(n_samples):
        order = np.concatenate([rng.permutation(4), rng.permutation(4)])
        codes = np.repeat(order, rng.integers(15, 40, len(order)))
        wrist.append(WRIST[codes] + 1.2 * rng.normal(size=(len(codes), 2)))
        slow = codes[::2]
        hip.append(HIP[slow] + 0.8 * rng.normal(size=(len(slow), 1)))
        y.append(ACTIVITIES[codes])
    return Modalities({"wrist": wrist, "hip": hip}), y


X, y = recordings(15, seed=0)
later, truth = recordings(15, seed=1)

# %%
# Logistic regression takes each frame by itself, with the frame of the hip that is
# nearest. The field knows which activity follows which, sees three steps on either
# side, and may require that no activity is shorter than ten frames. Its C is searched
# for on the training recordings by the score of segments.


def single_frames(X):
    hip = [
        np.repeat(x, 2, axis=0)[: len(own)]
        for own, x in zip(X["wrist"], X["hip"], strict=True)
    ]
    return [np.hstack(both) for both in zip(X["wrist"], hip, strict=True)]


alone = LogisticRegression().fit(np.concatenate(single_frames(X)), np.concatenate(y))
field = CRFLabeler(clock="wrist", context=3)
long_runs = GridSearchCV(
    CRFLabeler(clock="wrist", context=3, min_run_length=10),
    {"C": [0.01, 0.1, 1]},
    scoring=get_scorer("segment_f1"),
    cv=3,
)
predictions = {
    "frames alone": [alone.predict(frames) for frames in single_frames(later)],
    "HMM": HMMLabeler(clock="wrist").fit(X, y).predict(later),
    "field": field.fit(X, y).predict(later),
    "field, 10 or more": long_runs.fit(X, y).predict(later),
}

# %%
# The labels of one recording, as known and by each method.

tracks = {"known": truth[0]} | {name: own[0] for name, own in predictions.items()}
LabelTracksDisplay.from_predictions(tracks, linewidth=0)
plt.show()

# %%
# Frames by themselves are often right, but hardly a segment is found in one part.

print(f"{'':20}frames  segments  order")
for name, found in predictions.items():
    scores = [f(truth, found) for f in (sequence_accuracy, segment_f1, edit_score)]
    print(f"{name:20}" + "    ".join(f"{s:.2f}" for s in scores))

# %%
# The marginal probabilities show where the field is in doubt: at the borders.

marginals = field.predict_marginals(later)[0]
fig, ax = plt.subplots(figsize=(8, 2.5), layout="constrained")
# in the order and the colors of the tracks
activities = list(dict.fromkeys(truth[0].tolist()))
order = [list(field.classes_).index(k) for k in activities]
ax.stackplot(
    np.arange(len(marginals)),
    marginals[:, order].T,
    labels=activities,
)
ax.set(xlabel="frame", ylabel="probability", xlim=(0, len(marginals) - 1), ylim=(0, 1))
ax.legend(ncols=4, loc="lower center", bbox_to_anchor=(0.5, 1))
plt.show()
