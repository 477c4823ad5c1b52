"""Data that every test of comparisons can cluster in no time."""

import matplotlib
import numpy as np
import pytest

from mmfusion import Modalities

matplotlib.use("agg")


@pytest.fixture
def halves():
    """Forty samples, sorted by class; modality 'clear' separates the classes."""
    rng = np.random.default_rng(0)
    y = np.repeat([0, 1], 20)
    clear = rng.normal(size=(40, 2)) + 20 * y[:, None]
    return Modalities({"clear": clear, "noise": rng.normal(size=(40, 3))}), y
