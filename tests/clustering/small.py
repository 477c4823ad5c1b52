"""Data with planted clusters, and networks that learn them in no time."""

from typing import Any

from mmfusion import Trainer
from mmfusion.clustering import EAMCClusterer
from mmfusion.datasets import make_multimodal_blobs

X, Y = make_multimodal_blobs(
    120, {"audio": 4, "video": 6}, centers=3, cluster_std=1.0, random_state=0
)
# Clusters cannot die in these few epochs: warnings are errors.
FEW_EPOCHS = {
    "encoders": [16, 8],
    "trainer__pretrain_epochs": 4,
    "trainer__max_epochs": 2,
    "trainer__batch_size": 20,
    "n_init": 1,
    "attention_temperature": 1.0,  # so that every term has a part
    "random_state": 0,
}
TRAINER_OPTIONS = set(Trainer().get_params())


def nested(params: dict[str, Any]) -> dict[str, Any]:
    """Prefix the options of the trainer, so that tests need not."""
    return {
        f"trainer__{name}" if name in TRAINER_OPTIONS else name: value
        for name, value in params.items()
    }


def small(**params: Any) -> EAMCClusterer:
    """Make a clusterer of three clusters that trains for a few epochs."""
    return EAMCClusterer(3).set_params(**(FEW_EPOCHS | nested(params)))
