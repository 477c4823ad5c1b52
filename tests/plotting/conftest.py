"""Figures without a screen, and a small fitted network."""

import matplotlib
import numpy as np
import pytest

from mmfusion import Modalities, Trainer
from mmfusion.clustering import EAMCClusterer
from mmfusion.datasets import make_multimodal_blobs


@pytest.fixture(autouse=True)
def figures():
    """Draw without a screen."""
    matplotlib.use("agg")


@pytest.fixture(scope="session")
def blobs():
    """Samples of three clusters; every third of them lacks the second modality."""
    X, _ = make_multimodal_blobs(60, {"audio": 5, "video": 4}, random_state=0)
    observed = np.ones(X.shape, bool)
    observed[::3, 1] = False
    return Modalities(X, observed=observed)


@pytest.fixture(scope="session")
def fitted(blobs):
    return EAMCClusterer(
        3,
        encoders=[16, 8],
        n_init=1,
        attention_temperature=1.0,
        trainer=Trainer(pretrain_epochs=5, max_epochs=2, batch_size=20),
        random_state=0,
    ).fit(blobs)
