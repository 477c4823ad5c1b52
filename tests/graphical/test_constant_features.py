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


@pytest.mark.parametrize("covariance_type", ["diag", "full", "tied", "spherical"])
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


def test_frames_of_weight_zero_do_not_make_a_feature_vary():
    rng = np.random.default_rng(1)
    X = np.column_stack([rng.normal(size=30), np.full(30, 2.0)])
    X[:5, 1] = 9.0
    weight = np.repeat([0.0, 1.0], [5, 25])
    weighted, without = (make_emission("gaussian", 2) for _ in range(2))
    weighted.prepare(X, weight)
    without.prepare(X[5:])
    assert weighted.n_parameters == without.n_parameters == 2 * 2
    np.testing.assert_allclose(weighted.log_density(X), without.log_density(X))
