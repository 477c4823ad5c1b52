"""
A network that weighs its modalities: EAMC
==========================================

A network clusters handwritten digits by two descriptions of their images. What has it
learnt, whom does it listen to, and is it better than k-means?
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
# The pixels, and the directions of the strokes. Classes only score the result, and tell
# the number of clusters.

X, y = load_digits_modalities(return_X_y=True)
X = X[["pixels", "gradients"]]
print(X)

# %%
# The training is much shorter than by default, and starts only once.

clusterer = EAMCClusterer(
    n_clusters=10,
    n_init=1,
    trainer=Trainer(pretrain_epochs=15, max_epochs=8),
    random_state=0,
).fit(X)
print(f"{clustering_accuracy_score(y, clusterer.labels_):.3f}")

# %%
# k-means on the scaled modalities side by side, for comparison.

early = EarlyFusionClusterer(n_clusters=10, random_state=0).fit(X)
print(f"{clustering_accuracy_score(y, early.labels_):.3f}")

# %%
# One seed of each is an anecdote; ``mmfusion.benchmark.compare`` repeats both.
#
# Learning curves
# ---------------
# First neighbours learn to share a cluster. Then the game begins: discriminators tell
# the modalities apart, and the encoders, whose loss is ``generator``, deceive them.

_ = LossCurveDisplay.from_estimator(clusterer)

# %%
# The clustering terms ``separation``, ``simplex`` and ``confidence`` should fall or
# stay; those of
# the game need not. A discriminator that wins has a loss near 0, and teaches nothing.
#
# Attention
# ---------
# One weight per modality, which holds for all samples.

_ = AttentionWeightsDisplay.from_estimator(clusterer)

# %%
# A sample may lack a modality: the others then share its weight. Say nobody computed
# gradients where there is little ink, in three images of ten. Clusters that lost more
# gradients rely more on pixels; eights, which take much ink, lost the fewest.

ink = X["pixels"].sum(axis=1)
observed = X.observed.copy()
observed[ink.argsort()[: len(X) * 3 // 10], X.names.index("gradients")] = False
gaps = Modalities(X, observed=observed)
_ = AttentionWeightsDisplay.from_estimator(clusterer, gaps)

# %%
# They are still clustered.

print(f"{clustering_accuracy_score(y, clusterer.predict(gaps)):.3f}")

# %%
# Latents
# -------
# The principal plane of the fused latents, which are clustered, beside those of each
# modality. Whatever has ``fit_transform``, such as `TSNE` of scikit-learn, may be given
# as ``reducer``.

_ = LatentMapDisplay.from_estimator(clusterer, X)
