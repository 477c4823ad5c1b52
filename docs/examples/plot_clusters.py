"""
Looking at clusters
===================

Late fusion clusters handwritten digits by four descriptions of their images, two of
which some samples lack. The displays show what is missing, whether the modalities
agree, where the clusters lie, which modality supports them and what distinguishes them.
Classes are used in the last one only.
"""

import numpy as np

from mmfusion import LateFusionClusterer, Modalities
from mmfusion.datasets import load_digits_modalities
from mmfusion.plotting import (
    ClusterConfusionDisplay,
    ClusterMapDisplay,
    ClusterProfileDisplay,
    MissingModalitiesDisplay,
    ModalityAgreementDisplay,
    ModalitySilhouetteDisplay,
)

# %%
# The data
# --------
# Samples lose gradients and Zernike moments at random.

X, y = load_digits_modalities(return_X_y=True)
rng = np.random.default_rng(0)
observed = rng.random(X.shape) < [1.0, 0.8, 1.0, 0.9]
X = Modalities(X, observed=observed)
print(X)

# %%
_ = MissingModalitiesDisplay.from_modalities(X)

# %%
# Neighbourhoods
# --------------
# Before any clustering: of the ten nearest samples of a sample in one modality, how
# many are among the ten nearest in another, corrected for chance?

_ = ModalityAgreementDisplay.from_modalities(X)

# %%
# Clusters
# --------
# Every modality is clustered alone, and the clusterings are combined. The fused space
# of late fusion is that of the memberships by each modality.

clusterer = LateFusionClusterer(n_clusters=10, random_state=0).fit(X)
_ = ClusterMapDisplay.from_estimator(clusterer, X)

# %%
# Silhouettes in each modality; the dashed line is the mean. Clusters that have negative
# ones in a modality are not seen there.

_ = ModalitySilhouetteDisplay.from_estimator(clusterer, X)

# %%
# The features that distinguish each cluster the most, by the standardised mean
# difference between its samples and all others.

_ = ClusterProfileDisplay.from_estimator(clusterer, X, n_features=2)

# %%
# The digits in the rows, and the clusters that match them best in the columns.

_ = ClusterConfusionDisplay.from_estimator(clusterer, X, y, names=("digit", "cluster"))
