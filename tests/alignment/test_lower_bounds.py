"""Lower bounds lie between what they are made from and the cost that they bound."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmfusion.alignment import dtw_distance, lb_improved, lb_keogh

METRICS = ["sqeuclidean", "manhattan"]


@st.composite
def pairs(draw):
    """Two sequences, a metric, and options of a band that holds a path."""
    n, m = draw(st.integers(1, 25)), draw(st.integers(1, 25))
    if draw(st.booleans()):
        m = n
    d = draw(st.integers(1, 7))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    x, y = (rng.normal(size=(k, d)).cumsum(axis=0) for k in (n, m))
    radius = draw(st.one_of(st.integers(0, 25), st.floats(0, 1), st.none()))
    return x, y, draw(st.sampled_from(METRICS)), radius


def band(radius):
    return {} if radius is None else {"window": "sakoe_chiba", "radius": radius}


def slow_envelope(y, n, radius):
    """Least and greatest of what each frame of n may be aligned with."""
    m = len(y)
    if isinstance(radius, float):
        radius = radius * max(n, m)
    lower, upper = np.empty((n, y.shape[1])), np.empty((n, y.shape[1]))
    for i in range(n):
        seen = []
        for j in range(m):
            # in frames of the longer sequence, from the line through both ends
            along, across = (i, j) if m >= n else (j, i)
            slope = (max(n, m) - 1) / (min(n, m) - 1) if min(n, m) > 1 else 0
            one_frame = min(n, m) == 1
            if (
                radius is None
                or one_frame
                or (abs(across - along * slope) <= radius + 1e-9)
            ):
                seen.append(y[j])
        lower[i], upper[i] = np.min(seen, axis=0), np.max(seen, axis=0)
    return lower, upper


def slow_bounds(x, y, metric, radius):
    """Both bounds, as their papers have them."""
    power = 2 if metric == "sqeuclidean" else 1
    lower, upper = slow_envelope(y, len(x), radius)
    clipped = np.clip(x, lower, upper)
    keogh = (np.abs(x - clipped) ** power).sum()
    lower, upper = slow_envelope(clipped, len(y), radius)
    return keogh, keogh + (np.abs(y - np.clip(y, lower, upper)) ** power).sum()


@settings(deadline=None)  # the first call compiles
@given(pairs())
def test_bounds_are_those_of_the_papers_and_below_the_cost(case):
    x, y, metric, radius = case
    try:
        cost = dtw_distance(x, y, metric=metric, **band(radius))
    except ValueError:
        with pytest.raises(ValueError, match="no path fits into radius"):
            lb_keogh(x, y, radius, metric=metric)
        return
    keogh = lb_keogh(x, y, radius, metric=metric)
    improved = lb_improved(x, y, radius, metric=metric)
    expected = slow_bounds(x, y, metric, radius)
    np.testing.assert_allclose([keogh, improved], expected, rtol=1e-12, atol=1e-12)
    assert 0 <= keogh <= improved <= cost * (1 + 1e-9) + 1e-12


@settings(deadline=None)  # the first call compiles
@given(pairs())
def test_bounds_hold_with_a_penalty_and_with_diagonal_steps_that_weigh_twice(case):
    x, y, metric, _ = case
    options = {"metric": metric, "penalty": 0.5, "step_pattern": "symmetric2"}
    assert lb_improved(x, y, None, metric=metric) <= dtw_distance(x, y, **options) + (
        1e-9 * dtw_distance(x, y, **options)
    )


def test_a_sequence_is_within_its_own_envelope():
    x = np.random.default_rng(0).normal(size=(40, 3))
    assert lb_keogh(x, x, 2) == lb_improved(x, x, 2) == 0


def test_radius_zero_leaves_the_distance_itself():
    x, y = np.random.default_rng(0).normal(size=(2, 30, 2))
    assert lb_keogh(x, y, 0) == pytest.approx(((x - y) ** 2).sum())


def test_a_wider_window_lowers_the_bound():
    x, y = np.random.default_rng(0).normal(size=(2, 50, 1)).cumsum(axis=1)
    found = [lb_keogh(x, y, radius) for radius in (0, 1, 2, 5, 20, 49)]
    assert found == sorted(found, reverse=True)
    assert found[-1] == pytest.approx(lb_keogh(x, y, None))
    assert found[0] > found[-1]


def test_float32_is_bounded_in_full_precision():
    x, y = np.random.default_rng(0).normal(size=(2, 30, 2)).astype(np.float32)
    doubles = x.astype(float), y.astype(float)
    assert lb_improved(x, y, 3) == lb_improved(*doubles, 3)


@pytest.mark.parametrize("bound", [lb_keogh, lb_improved])
def test_what_has_no_bound_is_refused(bound):
    x = np.zeros((4, 2))
    with pytest.raises(ValueError, match="metric='cosine' is not one of"):
        bound(x, x, metric="cosine")
    with pytest.raises(ValueError, match="x has 2 features and y has 1"):
        bound(x, x[:, :1])
    with pytest.raises(ValueError, match="frame 1 of y has a value that is NaN"):
        bound(x, np.array([[0, 0], [0, np.nan]]))
    with pytest.raises(ValueError, match="smallest radius is 2"):
        bound(x[:1].repeat(4, axis=0), np.zeros((12, 2)), 0)
    with pytest.raises(ValueError, match=r"radius=2\.0; a float is a share"):
        bound(x, x, 2.0)
    with pytest.raises(TypeError, match="radius=True is a bool"):
        bound(x, x, True)
    with pytest.raises(TypeError, match="metric=5 is a int"):
        bound(x, x, metric=5)
    with pytest.raises(ValueError, match=r"bound of x and y overflows.* rescale"):
        bound(x + 1e200, x)
