"""Constant columns are detected in any unit, at any offset and in both precisions."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmfusion._scaling import centered, is_constant

DTYPES = (np.float32, np.float64)


def spread_of(x):
    deviations, _ = centered(x)
    return np.sqrt(np.mean(deviations**2, axis=0))


@given(
    st.floats(-1e18, 1e18),
    st.integers(1, 300),
    st.sampled_from(DTYPES),
)
def test_equal_values_are_constant(value, n, dtype):
    x = np.full((n, 2), value, dtype)
    assert is_constant(spread_of(x), np.abs(x).max(axis=0), dtype).all()


@given(st.floats(-1e12, 1e12), st.integers(2, 300), st.integers(0, 9))
def test_values_that_differ_by_their_last_place_are_constant(value, n, seed):
    last_place = np.spacing(value) * np.random.default_rng(seed).integers(-1, 2, n)
    x = value + last_place[:, None]
    assert is_constant(spread_of(x), np.abs(x).max(axis=0)).all()


@pytest.mark.parametrize("unit", [1e-300, 1e-12, 1, 1e12, 1e140])
@pytest.mark.parametrize("offset", [0, 1.7e9])
def test_seconds_of_the_epoch_are_not_constant(offset, unit):
    x = unit * (offset + np.arange(30.0)[:, None])
    deviations, mean = centered(x)
    np.testing.assert_allclose(mean / unit, [[offset + 14.5]], rtol=1e-15)
    np.testing.assert_allclose(
        deviations / unit, np.arange(30.0)[:, None] - 14.5, atol=2 * np.spacing(offset)
    )
    assert not is_constant(np.abs(deviations).mean(), np.abs(x).max())


def test_sums_of_large_values_do_not_overflow():
    deviations, mean = centered(np.array([[1e308], [1.5e308]]))
    np.testing.assert_allclose(mean, [[1.25e308]])
    np.testing.assert_allclose(deviations, [[-2.5e307], [2.5e307]])
