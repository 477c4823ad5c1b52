"""Soft-DTW and the global alignment kernel of many pairs agree with one pair."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from mmfusion.alignment import soft_dtw
from mmfusion.alignment.dtw._global_alignment import alignment_costs
from mmfusion.alignment.dtw._soft import SoftOptions
from mmfusion.alignment.dtw._soft_pairs import alignment_values, soft_values


def walks(seed, n=4, d=2, longest=40):
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, longest, size=n)
    return [rng.normal(size=(length, d)).cumsum(axis=0) for length in lengths]


def all_pairs(X, Y):
    return np.argwhere(np.ones((len(X), len(Y)), dtype=bool))


def refuse(i, j):
    raise AssertionError("a pair of common values is computed alone")


def test_pairs_that_overflow_are_computed_alone():
    X, pairs = [np.zeros((3, 2)), np.full((4, 2), 1e150)], np.array([[0, 0], [0, 1]])
    found = soft_values(X, X, pairs, SoftOptions(1e-10), lambda i, j: 10 * i + j, None)
    assert found.tolist() == [0, 1]


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.floats(-6, 4), st.integers(1, 5))
def test_pairs_have_the_values_of_soft_dtw(seed, exponent, d):
    X, Y = walks(seed, d=d), walks(seed + 1, 3, d)
    pairs, softness = all_pairs(X, Y), 10.0**exponent
    found = soft_values(X, Y, pairs, SoftOptions(softness), refuse, None)
    expected = [soft_dtw(X[i], Y[j], gamma=softness) for i, j in pairs]
    scale = 1e-11 * (np.abs(expected) + softness)
    assert (np.abs(found - expected) <= scale).all()


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.floats(-6, 4), st.integers(1, 5))
def test_pairs_have_the_values_of_the_global_alignment_kernel(seed, exponent, d):
    X, Y = walks(seed, d=d), walks(seed + 1, 3, d)
    pairs, gamma = all_pairs(X, Y), 10.0**exponent
    found = alignment_values(X, Y, pairs, gamma, None)

    def costs(x, y):
        return alignment_costs(x, y, gamma)

    expected = [soft_dtw(X[i], Y[j], gamma=1.0, metric=costs) for i, j in pairs]
    np.testing.assert_allclose(found, expected, rtol=1e-11, atol=1e-11)


def test_threads_change_nothing():
    X = walks(0, 8)
    pairs = all_pairs(X, X)
    for n_jobs in (2, 3):
        found = alignment_values(X, X, pairs, 0.1, n_jobs)
        np.testing.assert_array_equal(found, alignment_values(X, X, pairs, 0.1, None))
