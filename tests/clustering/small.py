"""Data with planted clusters, and networks that learn them in no time."""

from typing import Any

from mmfusion.clustering import EAMCClusterer
from mmfusion.datasets import make_multimodal_blobs

X, Y = make_multimodal_blobs(
    120, {"audio": 4, "video": 6}, centers=3, cluster_std=1.0, random_state=0
)
# Clusters cannot die in these few epochs: warnings are errors.
FEW_EPOCHS = {
    "encoders": [16, 8],
    "pretrain_epochs": 4,
    "max_epochs": 2,
    "batch_size": 20,
    "n_init": 1,
    "random_state": 0,
}


def small(**params: Any) -> EAMCClusterer:
    """Make a clusterer of three clusters that trains for a few epochs."""
    return EAMCClusterer(3, **(FEW_EPOCHS | params))
