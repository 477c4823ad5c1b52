"""Two modalities of the same samples: audio tells the classes apart, video does not."""

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from mmfusion import EarlyFusion, Modalities


def plant(n_samples=60, n_classes=3):
    """Draw the modalities and the classes."""
    rng = np.random.default_rng(0)
    y = np.arange(n_samples) % n_classes
    audio = 2 * np.eye(n_classes, 3)[y] + rng.normal(size=(n_samples, 3))
    video = rng.normal(size=(n_samples, 4))
    return Modalities({"audio": audio, "video": video}), y


def classifier(spec=None):
    """A real classifier of modalities, or of one array with this column spec."""
    return make_pipeline(EarlyFusion(modalities=spec), LogisticRegression())
