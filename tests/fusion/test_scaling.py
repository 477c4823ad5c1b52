"""The scaling of one block, against means and variances taken one by one."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from mmfusion import (
    EarlyFusion,
    _scaling,
)
from mmfusion._scaling import fit_scaling


def scaled_by_loops(block, scaling, weights=None, centred=True):
    block = np.asarray(block, dtype=float)
    out = np.array(block)
    if scaling == "l2":
        for i, row in enumerate(block):
            length = sum(x * x for x in row) ** 0.5
            out[i] = row / length if length else row
        return out
    if scaling is None:
        return out
    weights = np.ones(len(block)) if weights is None else weights
    n_varying = 0
    for j, column in enumerate(block.T):
        mean = sum(w * x for w, x in zip(weights, column, strict=True)) / sum(weights)
        variance = sum(
            w * (x - mean) ** 2 for w, x in zip(weights, column, strict=True)
        ) / sum(weights)
        varies = variance > 1e-12
        n_varying += varies
        centre = mean if centred else 0
        out[:, j] = (column - centre) / (variance**0.5 if varies else np.inf)
    return out / max(1, n_varying) ** 0.5 if scaling == "block" else out


@pytest.fixture
def block():
    rng = np.random.default_rng(0)
    block = rng.normal([5, -2, 0, 1e3], [1, 10, 0.1, 1], size=(40, 4))
    return np.insert(block, 2, 7.0, axis=1)  # a feature that does not vary


SCALING_NAMES = ["standard", "block", "l2", None]


@pytest.mark.parametrize("chunk_cells", [1, 17, 2**20])
@pytest.mark.parametrize("scaling", SCALING_NAMES)
def test_scaling_is_that_of_loops(block, scaling, chunk_cells, monkeypatch):
    monkeypatch.setattr(_scaling, "SCALING_CHUNK_CELLS", chunk_cells)
    scaled = fit_scaling(block, scaling).apply(block)
    np.testing.assert_allclose(scaled, scaled_by_loops(block, scaling), atol=1e-9)


@pytest.mark.parametrize("chunk_cells", [1, 17, 2**20])
@pytest.mark.parametrize("scaling", ["standard", "block"])
def test_sample_weights_count_as_repetitions(block, scaling, chunk_cells, monkeypatch):
    monkeypatch.setattr(_scaling, "SCALING_CHUNK_CELLS", chunk_cells)
    weights = np.arange(40) % 4
    scaled = fit_scaling(block, scaling, weights).apply(block)
    np.testing.assert_allclose(
        scaled, scaled_by_loops(block, scaling, weights), atol=1e-9
    )
    repeated = np.repeat(block, weights, axis=0)
    same = fit_scaling(repeated, scaling).apply(block)
    np.testing.assert_allclose(scaled, same, atol=1e-9)


def test_a_chunk_of_samples_of_weight_zero_is_passed_over(block, monkeypatch):
    monkeypatch.setattr(_scaling, "SCALING_CHUNK_CELLS", 50)  # 10 rows
    weights = np.repeat([0, 1], 20)
    scaled = fit_scaling(block, "standard", weights).apply(block)
    expected = fit_scaling(block[20:], "standard").apply(block)
    np.testing.assert_allclose(scaled, expected)


def test_weights_that_are_all_zero_are_refused(block):
    with pytest.raises(ValueError, match="non-zero"):
        fit_scaling(block, "block", np.zeros(40))


@pytest.mark.parametrize("scaling", ["standard", "block", "l2", None])
@pytest.mark.parametrize("chunk_cells", [9, 2**20])
def test_sparse_blocks_are_scaled_alike_but_not_centred(
    scaling, chunk_cells, monkeypatch
):
    monkeypatch.setattr(_scaling, "SCALING_CHUNK_CELLS", chunk_cells)
    dense = np.random.default_rng(0).poisson(0.5, size=(30, 6)).astype(float)
    dense[:, 3] = 0
    dense[4] = 0
    before = sparse.csr_array(dense)
    scaled = fit_scaling(before, scaling).apply(before)
    assert sparse.issparse(scaled)
    expected = scaled_by_loops(dense, scaling, centred=False)
    np.testing.assert_allclose(scaled.toarray(), expected, atol=1e-12)
    np.testing.assert_array_equal(before.toarray(), dense)


@pytest.mark.parametrize("scaling", SCALING_NAMES)
@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_array])
def test_float32_stays_float32_and_is_as_accurate(block, scaling, kind):
    block = np.abs(block)
    single = kind(block.astype(np.float32))
    fitted = fit_scaling(single, scaling)
    scaled = fitted.apply(single, weight=0.5)
    assert scaled.dtype == np.float32
    scaled = scaled.toarray() if sparse.issparse(scaled) else scaled
    expected = scaled_by_loops(block, scaling, centred=kind is np.asarray) / 2
    np.testing.assert_allclose(scaled, expected, rtol=1e-4, atol=1e-3)


def test_means_of_float32_do_not_drift_with_the_number_of_samples():
    block = np.full((300_000, 1), 0.1, dtype=np.float32)
    block[::2] += np.float32(0.2)
    scaling = fit_scaling(block, "standard")
    np.testing.assert_allclose(scaling.center, [0.2], rtol=1e-6)
    np.testing.assert_allclose(scaling.spread, [0.1], rtol=1e-6)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 30), st.integers(0, 5), st.integers(0, 10**6))
def test_block_gives_every_modality_total_variance_one(width, n_constant, seed):
    rng = np.random.default_rng(seed)
    varying = rng.normal(
        rng.normal(size=width), rng.uniform(0.1, 100, width), (20, width)
    )
    block = np.hstack([varying, np.full((20, n_constant), 3.0)])
    scaled = fit_scaling(block, "block").apply(block)
    assert scaled.var(axis=0).sum() == pytest.approx(1)


def test_a_block_that_does_not_vary_becomes_zero():
    block = np.full((5, 3), 4.0)
    np.testing.assert_array_equal(fit_scaling(block, "block").apply(block), 0)


def test_the_weight_multiplies_and_out_is_filled(block):
    scaling = fit_scaling(block, "block")
    out = np.empty((40, 9))
    scaling.apply(block, 3.0, out=out[:, 2:7])
    np.testing.assert_allclose(out[:, 2:7], 3 * scaling.apply(block))


@pytest.mark.parametrize("scaling", SCALING_NAMES)
def test_scaling_leaves_the_block_alone(block, scaling):
    before = block.copy()
    fit_scaling(block, scaling).apply(block, 2.0)
    np.testing.assert_array_equal(block, before)


def test_a_scaling_of_unknown_name_is_refused(block):
    with pytest.raises(ValueError, match="'blok' is neither one of"):
        fit_scaling(block, "blok")


def test_entries_of_a_sparse_matrix_that_repeat_add_up():
    parts = (np.array([1.0, 2, 3, 4]), np.array([0, 0, 1, 1]), np.array([0, 2, 4]))
    repeated = sparse.csr_array(parts, shape=(2, 2))
    out = EarlyFusion("l2").fit_transform([repeated])
    np.testing.assert_allclose(out.toarray(), np.eye(2))
    assert repeated.nnz == 4  # the user's stays as it was


# units, offsets, extremes, weights

UNITS = st.integers(-40, 40).map(lambda k: 2.0**k)


def unit_and_offset(draw_seed, shape=(25, 4)):
    rng = np.random.default_rng(draw_seed)
    # multiples of 1/64, so that an offset leaves every digit
    return np.round(rng.normal(size=shape) * 64) / 64


@settings(max_examples=40, deadline=None)
@given(UNITS, st.integers(-(2**30), 2**30), st.integers(0, 10**6))
@pytest.mark.parametrize("scaling", ["standard", "block"])
def test_neither_unit_nor_offset_decides(scaling, unit, offset, seed):
    plain = unit_and_offset(seed)
    moved = (plain + offset) * unit
    expected = fit_scaling(plain, scaling).apply(plain)
    found = fit_scaling(moved, scaling).apply(moved)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("unit", [1e-12, 1e-6, 1e6, 1e12])
@pytest.mark.parametrize("offset", [0.0, 1e3, 1e9])
def test_the_fused_matrix_depends_on_no_unit_or_offset(unit, offset):
    rng = np.random.default_rng(0)
    X = {"a": rng.normal(size=(30, 3)), "b": rng.normal(size=(30, 2))}
    moved = {"a": unit * (X["a"] + offset), "b": X["b"]}
    for scaling in ("standard", "block"):
        expected = EarlyFusion(scaling).fit_transform(X)
        # digits that the offset takes are lost before scaling
        found = EarlyFusion(scaling).fit_transform(moved)
        np.testing.assert_allclose(found, expected, atol=1e-15 * offset * 10 + 1e-9)


@pytest.mark.parametrize("scaling", ["standard", "block"])
@pytest.mark.parametrize(
    "column",
    [
        np.full(1000, 0.1, np.float32),
        np.full(1000, 1.7e9),
        np.full(1000, 1e300),
        np.full(1000, 5e-324),
        np.full(1000, -1.7e308),
        np.full(1000, 3e38, np.float32),
        np.resize([0.3, 0.1 + 0.2], 1000),  # equal but for rounding
    ],
)
def test_a_constant_feature_counts_nothing_for_any_sample(scaling, column):
    other = np.resize([-1, 1], 1000).astype(column.dtype)
    block = np.column_stack([column, other])
    fitted = fit_scaling(block, scaling)
    with np.errstate(all="raise"):
        scaled = fitted.apply(block)
    np.testing.assert_allclose(scaled, block * [0, 1], atol=1e-6)
    new = np.array([[0, 1]], dtype=column.dtype)
    np.testing.assert_array_equal(fitted.apply(new)[:, 0], 0)


@pytest.mark.parametrize("seconds", [1, 60, 3600])
def test_a_clock_is_no_constant(seconds):
    ticks = seconds * np.arange(100_000.0)[:, None]
    clock = fit_scaling(1.7e9 + ticks, "standard")
    np.testing.assert_allclose(clock.spread, ticks.std(), rtol=1e-6)
    np.testing.assert_allclose(clock.center, 1.7e9 + ticks.mean(), rtol=1e-14)


@pytest.mark.parametrize("scaling", SCALING_NAMES[:3])
@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_array])
@pytest.mark.parametrize(
    ("unit", "dtype"),
    [
        (1e200, np.float64),
        (1e307, np.float64),
        (1e-200, np.float64),
        (1e-307, np.float64),
        (1e37, np.float32),
        (1e-30, np.float32),
    ],
)
def test_huge_and_tiny_values_are_scaled_as_others_are(scaling, kind, unit, dtype):
    plain = np.random.default_rng(0).normal(1, 2, size=(30, 5))
    plain[3] = 0
    single = (unit * plain).astype(dtype)
    expected = fit_scaling(kind(plain), scaling).apply(kind(plain))
    with np.errstate(all="raise", under="ignore"):
        found = fit_scaling(kind(single), scaling).apply(kind(single))
    if sparse.issparse(found):
        found, expected = found.toarray(), expected.toarray()
    assert found.dtype == dtype
    tolerance = 10 * np.finfo(dtype).eps
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=100 * tolerance)


def test_values_at_both_ends_of_the_range_are_scaled():
    ends = np.array([[1.7e308], [-1.7e308], [-1.7e308]])
    scaled = fit_scaling(ends, "standard").apply(ends)
    np.testing.assert_allclose(scaled.ravel(), [2**0.5, -(0.5**0.5), -(0.5**0.5)])


@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_array])
@pytest.mark.parametrize(
    ("dtype", "value", "words"),
    [
        (np.float64, 1e300, "is 1e.300, which overflows float64"),
        (np.float32, 1e30, "is 1e.30, which overflows float32 .*give float64"),
    ],
)
def test_what_overflows_is_refused_by_name(kind, dtype, value, words):
    small = (1e-12 * np.random.default_rng(0).normal(size=(20, 3))).astype(dtype)
    other = np.ones((20, 2), dtype)
    fusion = EarlyFusion("standard").fit({"a": kind(small), "b": other})
    small[4, 2] = value
    new = {"a": kind(small), "b": other}
    with pytest.raises(ValueError, match=f"modality 'a': sample 4, feature 2 {words}"):
        fusion.transform(new)


def test_negative_weights_are_refused(block):
    weight = np.ones(40)
    weight[2] = -1
    with pytest.raises(ValueError, match="sample_weight must be finite and not neg"):
        fit_scaling(block, "block", weight)
