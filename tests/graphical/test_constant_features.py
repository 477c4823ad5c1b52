"""Features that are constant have no part in what the states are."""

import numpy as np
import pytest

from mmfusion.graphical._clock import frames_on_clock
from mmfusion.graphical._emissions import make_emission
from mmfusion.graphical._initialization import initialize_emission
from mmfusion.graphical._multimodal_emission import MultimodalEmission


def densities(X, states, covariance_type):
    own = make_emission("gaussian", 2, covariance_type=covariance_type)
    emission = MultimodalEmission({"audio": own})
    frames = frames_on_clock([{"audio": X}])
    emission.prepare(frames)
    initialize_emission(emission, frames, states)
    return emission.log_density(frames)


@pytest.mark.parametrize("covariance_type", ["diag", "full", "tied"])
@pytest.mark.parametrize("value", [0.0, 0.1, -1e8])
def test_constant_features_prefer_no_state(covariance_type, value):
    rng = np.random.default_rng(0)
    varying = rng.normal(size=(60, 2))
    states = np.repeat([0, 1], [50, 10])
    constant = np.full((60, 30), value)
    alone = densities(varying, states, covariance_type)
    beside = densities(np.hstack([varying, constant]), states, covariance_type)
    np.testing.assert_allclose(
        beside[:, 1] - beside[:, 0], alone[:, 1] - alone[:, 0], atol=1e-6
    )
