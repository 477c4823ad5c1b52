"""
A dense signal and sparse events (simulated)
============================================

A signal is recorded all the time, as a voice or a heart rate is, and events happen now
and then, each at a time of its own. The class depends on the signal at the times of the
events, and on their types. Which fusion finds that?
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from mmfusion import (
    EarlyFusionClassifier,
    LateFusionClassifier,
    NeuralFusionClassifier,
    Trainer,
)
from mmfusion.datasets import make_dense_and_sparse
from mmfusion.preprocessing import SequencePooling

# %%
# The class is the sign of a sum over events: a smooth hidden curve at the time of the
# event, with a plus or a minus by its type. The last feature of both modalities is the
# time.

X, y = make_dense_and_sparse(600, random_state=0)
later, truth = make_dense_and_sparse(500, random_state=1)
print(X, np.bincount(y))

signal, events = X["signal"][0], X["events"][0]
_, ax = plt.subplots(figsize=(8, 2.6), layout="constrained")
ax.plot(signal[:, -1], signal[:, :-1], lw=1)
for event in events:
    ax.axvline(event[-1], color="0.5", ls="--")
ax.set(xlabel="time, in frames", title="the signal, and the times of the events")
plt.show()

# %%
# Statistics over time, the usual way to tables, lose when something happened, whatever
# learns from them. In a network with attention, the frames of each modality choose
# those of the other: by content alone, or by content and a learned penalty on the
# difference of their times. No modality is dropped or noisy in training, which are the
# defaults, since the class needs both.


def network(**params):
    return NeuralFusionClassifier(
        "cross_attention",
        times=-1,
        encoders=(32, 32),
        dropout=0.1,
        modality_dropout=0.0,
        modality_noise=0.0,
        n_members=1,
        trainer=Trainer(max_epochs=30, lr=4e-3),
        random_state=0,
        **params,
    )


learner = LogisticRegression(max_iter=1000)
methods = {
    "statistics, late": make_pipeline(SequencePooling(), LateFusionClassifier(learner)),
    "statistics, early": make_pipeline(
        SequencePooling(), EarlyFusionClassifier(learner)
    ),
    "attention by content": network(time_penalty=False),
    "attention by content and time": network(),
}
scores = {
    name: method.fit(X, y).score(later, truth) for name, method in methods.items()
}
for name, score in scores.items():
    print(f"{name:30} {score:.2f}")

# %%
# Where an event looks
# --------------------
#
# The weights of the frames of the signal, for each event of one sample, and the true
# times. Content by itself, of 600 samples, does not lead to the right frames, and the
# accuracy is that of chance.

_, axes = plt.subplots(1, 2, figsize=(9, 2.8), sharey=True, layout="constrained")
for ax, name in zip(axes, list(methods)[2:], strict=True):
    weights = methods[name].attention_maps(later[:1])["events", "signal"][0]
    ax.imshow(weights, aspect="auto", cmap="Greys", interpolation="nearest")
    ax.plot(later["events"][0][:, -1], np.arange(len(weights)), "o", color="C1")
    ax.set(title=name, xlabel="frame of the signal")
axes[0].set_ylabel("event")
plt.show()

# %%
# When it fails
# -------------
#
# If the clock of the events is late after training only, the network reads the wrong
# frames, and soon it is no better than chance. An offset that was there in training is
# learned, as ``clock_offsets_``. The sequences are simulated, as no real set with such
# events is at hand.

aware = methods["attention by content and time"]
for offset in (0, 2, 5, 10):
    late, labels = make_dense_and_sparse(500, clock_offset=offset, random_state=1)
    print(f"clock {offset:2} frames late: {aware.score(late, labels):.2f}")
