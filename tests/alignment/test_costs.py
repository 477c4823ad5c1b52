"""Local costs: any unit, offset and size of values; what callables return."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy.spatial import distance
from sklearn.base import clone

from mmfusion import Modalities
from mmfusion.alignment import (
    CTWAligner,
    DTWAligner,
    DTWKernel,
    cdist_dtw,
    dtw_barycenter,
    dtw_distance,
    dtw_neighbors,
    dtw_path,
    soft_dtw,
    soft_dtw_alignment,
)
from mmfusion.alignment.dtw._costs import LOCAL_METRICS, cost_matrix, make_costs

DTYPES = (np.float32, np.float64)
FLOATS = {
    np.float32: st.floats(width=32, allow_nan=False, allow_infinity=False),
    np.float64: st.floats(allow_nan=False, allow_infinity=False),
}
SCIPY = {name: name for name in LOCAL_METRICS} | {"manhattan": "cityblock"}


def costs_between(x, y, metric):
    return cost_matrix(make_costs(x, y, metric))


# Frames without variance


@settings(deadline=None)  # the first run compiles
@given(st.data(), st.sampled_from(DTYPES), st.integers(1, 30))
def test_a_frame_without_variance_costs_one_from_every_other(data, dtype, d):
    x = np.full((1, d), data.draw(FLOATS[dtype]), dtype)
    values = st.lists(FLOATS[dtype], min_size=d, max_size=d)
    y = np.array([data.draw(values), x[0]], dtype)
    assert_allclose(costs_between(x, y, "correlation"), 1)


@settings(deadline=None)
@given(
    st.integers(0, 99),
    st.integers(3, 20),
    st.floats(1e-6, 1e6),
    st.floats(-1e9, 1e9),
    st.booleans(),
)
def test_correlation_does_not_depend_on_units_and_offsets(seed, d, a, b, negative):
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(3, d)), rng.normal(size=(4, d))
    sign = -1 if negative else 1
    found = costs_between(sign * a * (x + b / a), y, "correlation")
    expected = distance.cdist(sign * x, y, "correlation")
    # the digits of x that an offset leaves
    digits = 1e-14 + 20 * np.spacing(abs(b)) / (a * x.std(axis=1).min())
    assert_allclose(found, expected, atol=digits)


@pytest.mark.parametrize("unit", [1e-12, 1.0, 1e12])
@pytest.mark.parametrize("metric", ["cosine", "correlation"])
def test_equal_sequences_do_not_set_the_scale_of_a_kernel(metric, unit):
    rng = np.random.default_rng(0)
    same, other = rng.normal(size=(9, 5)), rng.normal(size=(9, 5))
    X = Modalities({"a": [unit * z for z in (same, same, same, same, other)]})
    kernel = DTWKernel(metric=metric).fit(X)
    assert_allclose(1 / kernel.gamma_, dtw_distance(same, other, metric=metric))


@pytest.mark.parametrize("unit", [1e-12, 1.0, 1e12])
@pytest.mark.parametrize("kernel", ["rbf", "global_alignment"])
def test_a_kernel_does_not_depend_on_units_if_most_sequences_are_equal(kernel, unit):
    rng = np.random.default_rng(0)
    block = [np.zeros((4, 2))] * 5 + [rng.normal(size=(4, 2))]
    table = DTWKernel(kernel).fit_transform({"a": [unit * x for x in block]})
    assert_allclose(table, DTWKernel(kernel).fit_transform({"a": block}), rtol=1e-9)
    assert table.min() < 0.9


# Extremes


@pytest.mark.parametrize("metric", LOCAL_METRICS)
@pytest.mark.parametrize("d", [1, 3, 8])
@pytest.mark.parametrize(
    ("unit", "dtype"),
    [
        (2.0**600, np.float64),
        (2.0**-600, np.float64),
        (2.0**-1000, np.float64),
        (2.0**66, np.float32),
        (2.0**-66, np.float32),
        (2.0**110, np.float32),
    ],
)
def test_costs_of_any_size_are_right_where_numbers_hold_them(metric, d, unit, dtype):
    if metric == "correlation" and d == 1:
        pytest.skip("one feature does not correlate")
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(7, d)).astype(dtype), rng.normal(size=(9, d)).astype(dtype)
    power = {"sqeuclidean": 2, "euclidean": 1, "manhattan": 1}.get(metric, 0)
    factor = float(unit) ** (power / 2)
    if not 1e-290 < abs(factor) * abs(factor) < 1e290:
        pytest.skip("no number holds the costs")
    large_x, large_y = x * dtype(unit), y * dtype(unit)
    found = costs_between(large_x, large_y, metric).astype(float) / factor / factor
    expected = distance.cdist(x.astype(float), y.astype(float), SCIPY[metric])
    assert_allclose(found, expected, rtol=1e-4 if dtype == np.float32 else 1e-11)
    found = dtw_distance(large_x, large_y, metric=metric) / factor / factor
    expected = dtw_distance(x, y, metric=metric)
    assert_allclose(found, expected, rtol=1e-4 if dtype == np.float32 else 1e-11)
    table = cdist_dtw([large_x, x], [large_y, y], metric=metric)
    assert_allclose(np.diag(table)[0] / factor / factor, expected, rtol=1e-4)
    assert_allclose(np.diag(table)[1], expected, rtol=1e-4)


@pytest.mark.parametrize("far", [1e9, -1e13, 1e200])
@pytest.mark.parametrize("metric", LOCAL_METRICS)
@pytest.mark.parametrize("d", [2, 6])
def test_the_cost_of_a_pair_does_not_depend_on_other_sequences(metric, d, far):
    if metric == "sqeuclidean" and far == 1e200:
        pytest.skip("the squares overflow")
    rng = np.random.default_rng(0)
    X = [rng.normal(size=(n, d)) for n in (5, 8, 6)]
    alone = cdist_dtw(X, metric=metric)
    among = cdist_dtw([*X, X[0] + far], metric=metric)[:3, :3]
    assert_allclose(among, alone, rtol=1e-9, atol=1e-15)
    if metric in ("correlation", "cosine"):
        return  # to which what is far may be near
    nearest = dtw_neighbors(X, [*X, X[0] + far], metric=metric, n_neighbors=3)[0]
    assert_allclose(nearest, np.sort(alone, axis=1), rtol=1e-9, atol=1e-14)


# Callables


def both(metric):
    """Entry points that take a metric, as calls."""
    x, y = np.arange(10.0).reshape(5, 2), np.arange(16.0).reshape(8, 2)
    X = Modalities({"a": [x, x], "b": [y, y]})
    return {
        "dtw_path": lambda: dtw_path(x, y, metric=metric),
        "dtw_distance": lambda: dtw_distance(
            x, y, metric=metric, step_pattern="typeIc"
        ),
        "cdist_dtw": lambda: cdist_dtw([x, y], metric=metric),
        "dtw_neighbors": lambda: dtw_neighbors([x, y], metric=metric),
        "soft_dtw": lambda: soft_dtw(x, y, metric=metric),
        "soft_dtw_alignment": lambda: soft_dtw_alignment(x, y, metric=metric),
        "DTWAligner": lambda: DTWAligner(metric=metric).fit(X),
        "DTWAligner soft": lambda: DTWAligner(metric=metric, gamma=1.0).fit(X),
        "DTWKernel": lambda: DTWKernel(metric=metric).fit(X),
    }


ENTRIES = list(both(None))
WRONG = {
    "transposed": (
        lambda a, b: np.abs(b[:, :1] - a[:, :1].T),
        r"shape \(8, 5\)|metric",
    ),
    "number": (lambda a, b: 1.0, "metric returns a number .*cdist"),
    "of two frames": (distance.euclidean, "metric raised ValueError.*cdist"),
    "frame by frame": (lambda a, b: (a - b) ** 2, "metric .*cdist"),
    "NaN": (lambda a, b: np.full((len(a), len(b)), np.nan), "metric: .* nan"),
    "negative": (lambda a, b: -distance.cdist(a, b), "metric: .* -"),
    "complex": (
        lambda a, b: distance.cdist(a, b) + 1j,
        "the result of metric.*complex",
    ),
    "text": (
        lambda a, b: distance.cdist(a, b).astype(str),
        "the result of metric.*text",
    ),
    "nothing": (lambda a, b: None, "the result of metric is a NoneType"),
    "masked": (lambda a, b: np.ma.masked_less(distance.cdist(a, b), 9), "nan"),
}


@pytest.mark.parametrize("entry", ENTRIES)
@pytest.mark.parametrize("wrong", WRONG)
def test_what_a_metric_returns_is_checked(entry, wrong):
    metric, message = WRONG[wrong]
    with pytest.raises((ValueError, TypeError), match=message):
        both(metric)[entry]()


@pytest.mark.parametrize(
    "wrong", ["transposed", "of two frames", "frame by frame", "number"]
)
def test_a_metric_of_another_form_is_refused_for_sequences_of_one_length(wrong):
    x = np.random.default_rng(0).normal(size=(4, 4))
    with pytest.raises(ValueError, match=r"cdist\(A, B, f\)"):
        dtw_path(x, x + 1, metric=WRONG[wrong][0])


@pytest.mark.parametrize("n", [1, 2, 5])
def test_a_metric_may_return_what_arrays_are_made_from(n):
    x, y = np.arange(2.0 * n).reshape(n, 2), np.ones((n, 2))
    expected = dtw_distance(x, y, metric="manhattan")
    for convert in (np.asarray, np.ndarray.tolist, lambda c: c.astype(int)):
        found = dtw_distance(
            x, y, metric=lambda a, b, to=convert: to(distance.cdist(a, b, "cityblock"))
        )
        assert found == expected
    table = distance.cdist(x, y)  # for any frames
    assert dtw_distance(x, y, metric=lambda a, b: table) == pytest.approx(
        dtw_distance(table, metric="precomputed")
    )


def test_the_remedy_for_a_metric_of_two_frames_works():
    x, y = np.arange(10.0).reshape(5, 2), np.arange(16.0).reshape(8, 2)
    found = dtw_path(
        x, y, metric=lambda A, B: distance.cdist(A, B, distance.sqeuclidean)
    )
    assert found.cost == dtw_path(x, y).cost


def test_costs_that_are_given_stand_alone():
    with pytest.raises(ValueError, match="leave y out"):
        dtw_path(np.ones((2, 2)), np.ones((2, 2)), metric="precomputed")


# Canonical time warping


def sequences(offset=0.0, unit=1.0, dtype=np.float64):
    rng = np.random.default_rng(0)
    lengths = rng.integers(20, 30, 6)
    a = [rng.normal(size=(int(n), 3)).cumsum(0) for n in lengths]
    b = [rng.normal(size=(int(n), 2)).cumsum(0) for n in lengths[::-1]]
    a = [np.c_[s, np.arange(float(len(s)))] for s in a]
    return [(unit * (s + offset)).astype(dtype) for s in a], b


@pytest.mark.parametrize("warp", ["basis", "free"])
@pytest.mark.parametrize(
    ("offset", "unit"),
    [
        (np.array([0, 0, 0, 1.7e9]), 1.0),
        (1e7, 1.0),
        (0.0, 1e-12),
        (0.0, 1e12),
        (0.0, 1e160),
        (0.0, 1e-170),
        (0.0, np.array([1e-12, 1.0, 1e12, 1e3])),
    ],
    ids=str,
)
def test_ctw_does_not_depend_on_units_and_offsets(warp, offset, unit):
    a, b = sequences()
    # a ridge depends on units of single features, relative to each other
    aligner = CTWAligner(warp=warp, ridge=0.0 if np.ndim(unit) else "auto")
    plain = clone(aligner).fit({"a": a, "b": b})
    far, _ = sequences(offset, unit)
    moved = clone(aligner).fit({"a": far, "b": b})
    assert_allclose(moved.correlations_, plain.correlations_, atol=1e-5)
    assert_allclose(moved.cost_, plain.cost_, rtol=1e-3)
    score = moved.score({"a": far, "b": b})
    assert_allclose(score, plain.score({"a": a, "b": b}), atol=1e-3)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("value", [0.0, 0.1, 1.7e9, 1e-300, -7.3e18])
def test_ctw_leaves_constant_features_out(value, dtype):
    a, b = sequences(dtype=dtype)
    constant = [np.c_[s, np.full(len(s), value, dtype)] for s in a]
    plain = CTWAligner().fit({"a": a, "b": b})
    with_it = CTWAligner().fit({"a": constant, "b": b})
    assert_allclose(with_it.correlations_, plain.correlations_, atol=1e-6)
    assert not with_it.projections_["a"][-1].any()
    only = [s[:, -1:] for s in constant]
    with pytest.raises(ValueError, match="'a' are all the same"):
        CTWAligner().fit({"a": only, "b": b})


def test_ctw_refuses_a_spread_that_no_projection_scales():
    a, b = sequences(unit=1e-305)
    with pytest.raises(ValueError, match=r"'a' differ by .* another unit"):
        CTWAligner().fit({"a": a, "b": b})


def test_barycenters_of_any_size_are_right():
    rng = np.random.default_rng(0)
    X = [rng.normal(size=(n, 2)) for n in (5, 6, 7)]
    plain = dtw_barycenter(X).sequence
    for unit in (2.0**400, 2.0**-400):
        assert_allclose(dtw_barycenter([unit * x for x in X]).sequence, unit * plain)


@pytest.mark.parametrize("metric", [None, 2, np.ones(3), ["cosine"], "hamming", b"x"])
@pytest.mark.parametrize("entry", ENTRIES)
def test_what_is_no_metric_is_refused_by_name(entry, metric):
    with pytest.raises((ValueError, TypeError), match="metric"):
        both(metric)[entry]()


def test_costs_of_many_pairs_are_not_given():
    for function in (cdist_dtw, dtw_neighbors):
        with pytest.raises(ValueError, match="metric='precomputed' is not one of"):
            function([np.ones((2, 2))] * 2, metric="precomputed")


@pytest.mark.parametrize("unit", [1e160, 1e200])
def test_an_overflow_is_named_with_the_metric(unit):
    x, y = np.full((4, 2), unit), np.full((4, 2), -unit)
    for call in (dtw_path, dtw_distance, soft_dtw, soft_dtw_alignment):
        with pytest.raises(
            ValueError, match=r"metric='sqeuclidean'.*overflows.*divide"
        ):
            call(x, y)
    with pytest.raises(ValueError, match=r"X\[1\].*sqeuclidean.*overflows"):
        cdist_dtw([x, y])
    with pytest.raises(ValueError, match=r"sample 0 .*sqeuclidean.*overflow"):
        DTWAligner().fit(Modalities({"a": [x], "b": [y]}))
    assert dtw_distance(x / unit, y / unit) == 32  # as the error advises
