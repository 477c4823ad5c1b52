"""The scaling of one block, against means and variances taken one by one."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mmfusion import (
    EarlyFusion,
    EarlyFusionClassifier,
    HybridFusionClassifier,
    LateFusionClassifier,
    Modalities,
    _scaling,
    _scaling_choice,
)
from mmfusion._scaling import fit_scaling
from mmfusion._scaling_choice import fit_scalings
from mmfusion.datasets import make_multimodal_blobs


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


# 'auto'


def alignment_by_loops(blocks, scalings):
    """Mean over pairs of <Ka, Kb> / (|Ka| |Kb|) of centred linear kernels."""
    n = len(blocks[0])
    centring = np.eye(n) - 1 / n
    kernels = []
    for block, scaling in zip(blocks, scalings, strict=True):
        scaled = scaled_by_loops(block, scaling)
        kernels.append(centring @ (scaled @ scaled.T) @ centring)
    total, pairs = 0.0, 0
    for a in range(len(kernels)):
        for b in range(a):
            norms = np.linalg.norm(kernels[a]) * np.linalg.norm(kernels[b])
            total += (kernels[a] * kernels[b]).sum() / norms
            pairs += 1
    return total / pairs


@pytest.mark.parametrize("seed", range(6))
def test_alignment_is_that_of_loops(seed):
    rng = np.random.default_rng(seed)
    shared = rng.gamma(1.0, size=(25, 3))
    blocks = [
        shared @ rng.gamma(1.0, size=(3, d)) + rng.random((25, d)) for d in (4, 9)
    ]
    for scalings in (["block", "block"], ["l2", "l2"], ["block", "l2"]):
        kernels = [
            _scaling_choice._normalized_kernel(block, scaling, np.ones(25))
            for block, scaling in zip(blocks, scalings, strict=True)
        ]
        found = _scaling_choice._mean_alignment(kernels)
        assert found == pytest.approx(alignment_by_loops(blocks, scalings))


def histograms(rng, topics, width):
    mixture = rng.dirichlet(np.full(width, 0.3), size=topics.max() + 1)[topics]
    return mixture + 0.02 * rng.random(mixture.shape)


@pytest.mark.parametrize("seed", range(4))
def test_auto_takes_the_scaling_under_which_modalities_agree_more(seed):
    rng = np.random.default_rng(seed)
    topics = rng.integers(0, 3, 40)
    shapes = [histograms(rng, topics, d) for d in (6, 12)]
    loud = [h * rng.lognormal(0, 2, (40, 1)) for h in shapes]  # length tells nothing
    for blocks in (shapes, loud):
        chosen = _scaling_choice.choose_scalings(blocks)
        options = (["block", "block"], ["l2", "l2"])
        assert chosen == max(
            options, key=lambda scalings: alignment_by_loops(blocks, scalings)
        )
    assert _scaling_choice.choose_scalings(loud) == ["l2", "l2"]


def test_auto_distinguishes_counts_from_signed_values():
    rng = np.random.default_rng(0)
    words = rng.poisson(0.2, size=(50, 30)).astype(float)
    reads = rng.poisson(rng.lognormal(3, 1, (50, 1)) * np.ones(30)).astype(float)
    signed = rng.normal(size=(50, 4))
    one_feature = rng.random((50, 1))
    blocks = [words, sparse.csr_array(words), reads, signed, one_feature]
    chosen = [scaling.name for scaling in fit_scalings(blocks, ["auto"] * 5)]
    assert chosen == ["l2", "l2", "l2", "block", "block"]


def test_features_that_few_samples_have_are_counts_however_dense_the_rest():
    rng = np.random.default_rng(0)
    common = 1 + rng.random((100, 20))
    rare = np.where(rng.random((100, 20)) < 0.05, rng.random((100, 20)), 0)
    signed = rng.normal(size=(100, 2))  # it settles what common alone would leave open
    for n_rare, expected in ((0, "block"), (1, "block"), (4, "l2"), (20, "l2")):
        block = np.hstack([common, rare[:, :n_rare]])
        for kind in (np.asarray, sparse.csr_array):
            chosen = _scaling_choice.choose_scalings([kind(block), signed])
            assert chosen == [expected, "block"]


@settings(max_examples=40, deadline=None)
@given(st.floats(0, 1), st.integers(0, 1000))
def test_the_choice_is_the_same_for_sparse_and_dense(density, seed):
    rng = np.random.default_rng(seed)
    values = rng.integers(0, 5, size=(30, 6)) * (rng.random((30, 6)) < density)
    dense = values.astype(float)
    stored = sparse.csr_array(dense + 1)
    stored.data -= 1  # zeros that are stored are zeros
    chosen = _scaling_choice.choose_scalings([dense])
    for other in (sparse.csr_array(dense), stored):
        assert _scaling_choice.choose_scalings([other]) == chosen


def test_auto_leaves_scalings_that_were_given(block):
    scalings = fit_scalings([block, block], [None, "auto"])
    assert [s.name for s in scalings] == [None, "block"]


def test_a_signed_modality_makes_dense_histograms_blocks():
    rng = np.random.default_rng(1)
    topics = rng.integers(0, 3, 40)
    loud = [histograms(rng, topics, d) * rng.lognormal(0, 2, (40, 1)) for d in (6, 12)]
    assert _scaling_choice.choose_scalings(loud) == ["l2", "l2"]
    signed = rng.normal(size=(40, 2))
    assert _scaling_choice.choose_scalings([*loud, signed]) == ["block"] * 3
    # but no single cell does
    loud[0][0, 0] = -1e-9
    assert _scaling_choice.choose_scalings(loud) == ["l2", "l2"]


@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_array])
def test_the_choice_does_not_jump_with_a_cell(kind):
    rng = np.random.default_rng(0)
    words = rng.poisson(0.2, size=(50, 30)).astype(float)
    shares = rng.dirichlet(np.ones(6), size=50)
    chosen = _scaling_choice.choose_scalings([kind(words), shares])
    assert chosen == ["l2", "block"]
    corrected = words.copy()
    corrected[0, 0] = -1e-9
    blurred = words + 1e-9 * rng.random(words.shape)
    for other in (corrected, blurred):
        assert _scaling_choice.choose_scalings([kind(other), shares]) == chosen


def test_a_feature_of_a_large_unit_hides_no_sign_of_others():
    rng = np.random.default_rng(0)
    signed = rng.normal(size=(90, 4))
    huge = np.where(rng.random(90) < 0.3, rng.lognormal(size=90) * 1e7, 0)
    assert _scaling_choice.choose_scalings([np.c_[signed, huge]]) == ["block"]
    signed[3, 1] = 1e7
    assert _scaling_choice.choose_scalings([signed]) == ["block"]


def test_predictors_do_not_compare_modalities():
    rng = np.random.default_rng(1)
    topics = rng.integers(0, 3, 40)
    loud = [histograms(rng, topics, d) * rng.lognormal(0, 2, (40, 1)) for d in (6, 12)]
    assert list(map(_scaling_choice.choose_alone, loud)) == ["block", "block"]
    assert EarlyFusion().fit(loud).scaling_ == {"modality_0": "l2", "modality_1": "l2"}
    early = EarlyFusionClassifier().fit(loud, topics)
    assert set(early.fusion_.scaling_.values()) == {"block"}
    late = LateFusionClassifier().fit(loud, topics)
    assert set(late.scaling_.values()) == {"standard"}


FEATURES = {
    "normal": lambda values: values,
    "from 0 to 1": lambda values: (values - values.min(0)) / np.ptp(values, axis=0),
    "one huge feature": lambda values: (
        values * np.r_[1e6, np.ones(values.shape[1] - 1)]
    ),
    "heavy tails": lambda values: np.sinh(2 * values),
    "shares": lambda values: np.exp(values) / np.exp(values).sum(1, keepdims=True),
    "counts": lambda values: np.random.default_rng(0).poisson(np.exp(values)),
}


@pytest.mark.parametrize("kind", FEATURES)
@pytest.mark.parametrize(
    "cls", [EarlyFusionClassifier, LateFusionClassifier, HybridFusionClassifier]
)
def test_default_classifiers_keep_up_with_the_plain_concatenation(cls, kind):
    X, y = make_multimodal_blobs(
        240, (12, 20), centers=3, cluster_std=6.0, random_state=0
    )
    data = Modalities(
        [FEATURES[kind]((block - block.mean(0)) / block.std(0)) for block in X.blocks]
    )
    plain = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    table = np.hstack([np.asarray(block, dtype=float) for block in data.blocks])
    expected = cross_val_score(plain, table, y, cv=4).mean()
    assert cross_val_score(cls(), data, y, cv=4).mean() > expected - 0.04


def test_the_choice_looks_at_no_more_rows_than_it_must(monkeypatch):
    rng = np.random.default_rng(2)
    topics = rng.integers(0, 3, 200)
    loud = [histograms(rng, topics, d) * rng.lognormal(0, 2, (200, 1)) for d in (6, 12)]
    whole = _scaling_choice.choose_scalings(loud)
    monkeypatch.setattr(_scaling_choice, "MAX_ALIGNMENT_ROWS", 50)
    assert _scaling_choice.choose_scalings(loud) == whole


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


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.booleans(), st.booleans())
def test_weights_of_samples_are_repetitions_in_the_choice(seed, is_sparse, is_counts):
    rng = np.random.default_rng(seed)
    topics = rng.integers(0, 3, 40)
    blocks = [histograms(rng, topics, d) for d in (6, 12)]
    if is_counts:
        blocks[0] = rng.poisson(rng.lognormal(2, 1, (40, 1)) * np.ones(6)).astype(float)
    weight = rng.integers(0, 3, 40)
    weight[0] = 1
    blocks[0][weight == 0] *= rng.choice([-1.0, 1e6])  # counts for nothing
    kind = sparse.csr_array if is_sparse else np.asarray
    repeated = [kind(np.repeat(block, weight, axis=0)) for block in blocks]
    weighted = [kind(block) for block in blocks]
    expected = _scaling_choice.choose_scalings(repeated)
    assert _scaling_choice.choose_scalings(weighted, weight) == expected
    for scaling in ("standard", "block"):
        one = fit_scaling(weighted[0], scaling, weight)
        other = fit_scaling(repeated[0], scaling)
        np.testing.assert_allclose(one.spread, other.spread)
        np.testing.assert_allclose(one.center, other.center, atol=1e-12)
        assert one.factor == other.factor


def test_large_floats_are_no_counts():
    rng = np.random.default_rng(0)
    loud = [1e20 * rng.lognormal(0, 1, (40, 1)) * rng.random((40, d)) for d in (3, 4)]
    plain = [block / 1e20 for block in loud]
    assert _scaling_choice.choose_scalings(loud) == _scaling_choice.choose_scalings(
        plain
    )


def test_a_constant_modality_does_not_influence_the_choice():
    rng = np.random.default_rng(0)
    topics = rng.integers(0, 3, 40)
    loud = [histograms(rng, topics, d) * rng.lognormal(0, 2, (40, 1)) for d in (6, 12)]
    constant = np.full((40, 7), 0.1)
    assert not _scaling_choice._normalized_kernel(constant, "l2", np.ones(40)).any()
    assert _scaling_choice.choose_scalings([*loud, constant])[:2] == ["l2", "l2"]


def test_negative_weights_are_refused(block):
    weight = np.ones(40)
    weight[2] = -1
    with pytest.raises(ValueError, match="sample_weight must be finite and not neg"):
        fit_scaling(block, "block", weight)
