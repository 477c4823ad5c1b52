"""
A network that weighs its modalities: EAMC
==========================================

A network clusters handwritten digits by two descriptions of their images. The displays
show its learning curves, its attention weights and its latents.
"""

from mmfusion import EAMCClusterer, EarlyFusionClusterer, Modalities, Trainer
from mmfusion.datasets import load_digits_modalities
from mmfusion.metrics import clustering_accuracy_score
from mmfusion.plotting import (
    AttentionWeightsDisplay,
    LatentMapDisplay,
    LossCurveDisplay,
)

# %%
# The pixels, and the directions of the strokes. Classes are used to score the result
# only, and their number is that of the clusters.

X, y = load_digits_modalities(return_X_y=True)
X = X[["pixels", "gradients"]]
print(X)

# %%
# The training is much shorter than by default, and is not repeated from other initial
# parameters. Attention, which is off by default, is turned on.

clusterer = EAMCClusterer(
    n_clusters=10,
    n_init=1,
    attention_temperature=1.0,
    trainer=Trainer(pretrain_epochs=15, max_epochs=8),
    random_state=0,
).fit(X)
print(f"{clustering_accuracy_score(y, clusterer.labels_):.3f}")

# %%
# For comparison, k-means on the concatenation of the scaled modalities.

early = EarlyFusionClusterer(n_clusters=10, random_state=0).fit(X)
print(f"{clustering_accuracy_score(y, early.labels_):.3f}")

# %%
# One seed is no evidence; ``mmfusion.benchmark.compare`` repeats both.
#
# Learning curves
# ---------------
# In pretraining, pairs of neighbours are assigned to the same cluster. In adversarial
# training, discriminators learn to distinguish the modalities by their latents, and the
# loss ``generator`` of the encoders is that of preventing it.

_ = LossCurveDisplay.from_estimator(clusterer)

# %%
# The clustering terms ``separation``, ``simplex`` and ``confidence`` should decrease or
# stay; adversarial terms need not. Discriminators whose ``accuracy`` stays near 1 have
# won: the encoders learn nothing from them.
#
# Attention
# ---------
# One weight for each modality, the same for all samples. At most one is e times another
# at this temperature; weights that reach the bound show which modality is preferred,
# not by how much.

_ = AttentionWeightsDisplay.from_estimator(clusterer)

# %%
# If a sample lacks a modality, its weight is divided among the others. Here gradients
# are missing where there is little ink, in three images of ten. Clusters with more
# missing gradients have larger weights of the pixels; eights, which have much ink,
# lack the fewest.

ink = X["pixels"].sum(axis=1)
observed = X.observed.copy()
observed[ink.argsort()[: len(X) * 3 // 10], X.names.index("gradients")] = False
gaps = Modalities(X, observed=observed)
_ = AttentionWeightsDisplay.from_estimator(clusterer, gaps)

# %%
# Samples that lack a modality are clustered too.

print(f"{clustering_accuracy_score(y, clusterer.predict(gaps)):.3f}")

# %%
# Latents
# -------
# The two principal components of the fused latents, which are clustered, and of those
# of each modality. The ``reducer`` may be any transformer, such as `TSNE` of
# scikit-learn.

_ = LatentMapDisplay.from_estimator(clusterer, X)
