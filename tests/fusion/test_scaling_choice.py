"""The scaling that 'auto' chooses for one modality, and what keeps it from others."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import sparse
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler, normalize

from mmfusion import (
    EarlyFusion,
    EarlyFusionClassifier,
    EarlyFusionRegressor,
    HybridFusionClassifier,
    HybridFusionClusterer,
    LateFusionClassifier,
    LateFusionClusterer,
    Modalities,
)
from mmfusion._scaling import fit_scaling, scaled_variance
from mmfusion._scaling_choice import (
    _norms_and_directions,
    choose_predictor_scaling,
    choose_scaling,
    fit_scalings,
)
from mmfusion.datasets import make_multimodal_blobs

KINDS = [np.asarray, sparse.csr_array]


def norm_share_by_loops(block, weights):
    """Weighted variance of the norms of rows, divided by the sum of variances."""

    def variance(values):
        mean = sum(w * x for w, x in zip(weights, values, strict=True)) / sum(weights)
        return sum(
            w * (x - mean) ** 2 for w, x in zip(weights, values, strict=True)
        ) / sum(weights)

    norms = [sum(x * x for x in row) ** 0.5 for row in block]
    return variance(norms) / sum(variance(column) for column in block.T)


@settings(max_examples=30, deadline=None)
@given(
    st.integers(0, 10**6),
    st.integers(-60, 60).map(lambda exponent: 10.0**exponent),
    st.sampled_from(KINDS),
)
def test_the_share_of_norms_is_that_of_loops_in_any_unit(seed, unit, kind):
    rng = np.random.default_rng(seed)
    block = rng.gamma(1.0, size=(20, 4)) * rng.gamma(2.0, size=(20, 1))
    weight = rng.integers(1, 4, 20).astype(float)
    expected = norm_share_by_loops(block, weight)
    found, _ = _norms_and_directions(kind(unit * block), weight)
    assert found == pytest.approx(expected)
    assert 0 <= found <= 1


def histograms(rng, topics, width):
    mixture = rng.dirichlet(np.full(width, 0.3), size=topics.max() + 1)[topics]
    return mixture + 0.02 * rng.random(mixture.shape)


def dense_histograms(seed=1, widths=(12, 30)):
    rng = np.random.default_rng(seed)
    topics = rng.integers(0, 3, 60)
    return [histograms(rng, topics, width) for width in widths], topics


def test_histograms_keep_proportions_and_features_of_different_units_do_not():
    shapes, _ = dense_histograms()
    assert [choose_scaling(block) for block in shapes] == ["l2", "l2"]
    rng = np.random.default_rng(0)
    person = np.c_[rng.normal(40, 9, 60), rng.normal(3e4, 8e3, 60), rng.random(60)]
    assert choose_scaling(person) == "block"


def test_a_cloud_of_few_dimensions_keeps_its_lengths():
    rng = np.random.default_rng(0)
    for width in (2, 3, 4):
        assert choose_scaling(rng.random((200, width))) == "block"
    assert choose_scaling(rng.random((200, 30))) == "l2"


def test_auto_distinguishes_counts_from_signed_values():
    rng = np.random.default_rng(0)
    words = rng.poisson(0.2, size=(50, 30)).astype(float)
    reads = rng.poisson(rng.lognormal(3, 1, (50, 1)) * np.ones(30)).astype(float)
    signed = rng.normal(size=(50, 4))
    one_feature = rng.random((50, 1))
    blocks = [words, sparse.csr_array(words), reads, signed, one_feature]
    chosen = [scaling.name for scaling in fit_scalings(blocks, ["auto"] * 5)]
    assert chosen == ["l2", "l2", "l2", "block", "block"]
    assert list(map(choose_predictor_scaling, blocks)) == chosen


def test_features_that_few_samples_have_are_counts_however_dense_the_rest():
    rng = np.random.default_rng(0)
    common = rng.lognormal(size=(100, 1)) * (1 + rng.random((100, 20)))
    rare = np.where(rng.random((100, 20)) < 0.05, rng.random((100, 20)), 0)
    for n_rare, expected in ((0, "block"), (1, "block"), (4, "l2"), (20, "l2")):
        block = np.hstack([common, rare[:, :n_rare]])
        for kind in KINDS:
            assert choose_scaling(kind(block)) == expected


@settings(max_examples=40, deadline=None)
@given(st.floats(0, 1), st.integers(0, 1000))
def test_the_choice_is_the_same_for_sparse_and_dense(density, seed):
    rng = np.random.default_rng(seed)
    values = rng.integers(0, 5, size=(30, 6)) * (rng.random((30, 6)) < density)
    dense = values.astype(float)
    stored = sparse.csr_array(dense + 1)
    stored.data -= 1  # zeros that are stored are zeros
    for other in (sparse.csr_array(dense), stored):
        assert choose_scaling(other) == choose_scaling(dense)
        assert choose_predictor_scaling(other) == choose_predictor_scaling(dense)


@pytest.mark.parametrize("kind", KINDS)
def test_the_choice_does_not_jump_with_a_cell(kind):
    rng = np.random.default_rng(0)
    words = rng.poisson(0.2, size=(50, 30)).astype(float)
    shares = rng.dirichlet(np.full(12, 0.5), size=50) + 0.01
    for block in (words, shares):
        corrected = block.copy()
        corrected[0, 0] = -1e-9
        blurred = block + 1e-9 * rng.random(block.shape)
        for other in (block, corrected, blurred):
            assert choose_scaling(kind(other)) == "l2"


def test_a_feature_of_a_large_unit_hides_no_sign_of_others():
    rng = np.random.default_rng(0)
    signed = rng.normal(size=(90, 4))
    huge = np.where(rng.random(90) < 0.3, rng.lognormal(size=90) * 1e7, 0)
    assert choose_scaling(np.c_[signed, huge]) == "block"
    signed[3, 1] = 1e7
    assert choose_scaling(signed) == "block"


def test_large_floats_are_no_counts():
    rng = np.random.default_rng(0)
    loud = rng.lognormal(0, 1, (40, 1)) * rng.random((40, 4))
    assert choose_scaling(loud) == choose_scaling(1e20 * loud) == "block"


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.booleans(), st.booleans())
def test_weights_of_samples_are_repetitions_in_the_choice(seed, is_sparse, is_counts):
    rng = np.random.default_rng(seed)
    block = histograms(rng, rng.integers(0, 3, 40), 6)
    if is_counts:
        block = rng.poisson(rng.lognormal(2, 1, (40, 1)) * np.ones(6)).astype(float)
    weight = rng.integers(0, 3, 40)
    weight[0] = 1
    block[weight == 0] *= rng.choice([-1.0, 1e6])  # counts for nothing
    kind = sparse.csr_array if is_sparse else np.asarray
    repeated, weighted = kind(np.repeat(block, weight, axis=0)), kind(block)
    for choose in (choose_scaling, choose_predictor_scaling):
        assert choose(weighted, weight) == choose(repeated)
    for scaling in ("standard", "block", "l2"):
        one = fit_scaling(weighted, scaling, weight)
        other = fit_scaling(repeated, scaling)
        np.testing.assert_allclose(one.spread, other.spread)
        np.testing.assert_allclose(one.center, other.center, atol=1e-12)
        assert one.factor == other.factor
        assert scaled_variance(one, weighted, weight) == pytest.approx(
            scaled_variance(other, repeated)
        )


def test_a_constant_modality_or_one_without_samples_is_no_matter():
    constant = np.full((40, 7), 0.1)
    assert choose_scaling(constant) == "block"
    for kind in KINDS:
        for empty in (np.empty((0, 7)), np.zeros((9, 7))):
            assert choose_scaling(kind(empty)) == "block"
    shapes, _ = dense_histograms()
    for dtype in (np.float32, np.float64):  # rows that do not vary are not blown up
        one_direction = np.full((60, 7), 0.1) * np.arange(1, 61)[:, None]
        blocks = [one_direction.astype(dtype), shapes[0]]
        assert fit_scalings(blocks, ["l2", "block"])[0].factor == 1


# one modality and the others


def test_auto_leaves_scalings_that_were_given():
    block = np.random.default_rng(0).normal(size=(20, 4))
    scalings = fit_scalings([block, block], [None, "auto"])
    assert [s.name for s in scalings] == [None, "block"]


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 5), st.booleans())
def test_modalities_of_noise_rescale_no_others(seed, n_noise, is_signed):
    shapes, _ = dense_histograms(seed)
    rng = np.random.default_rng(seed)
    draw = rng.normal if is_signed else rng.random
    noise = [draw(size=(60, 8)) for _ in range(n_noise)]
    alone, among = EarlyFusion().fit(shapes), EarlyFusion().fit([*shapes, *noise])
    # of few draws one is scaled as a block: another modality of unit length, as
    # positive noise may be, then decides how both count
    assume(set(alone.scaling_.values()) == {"l2"})
    names = ["modality_0", "modality_1"]
    assert [among.scaling_[n] for n in names] == [alone.scaling_[n] for n in names]
    # their shares in distances keep their proportion
    variances = [
        [fusion.transform(X)[:, fusion.columns_[n]].var(axis=0).sum() for n in names]
        for fusion, X in ((alone, shapes), (among, [*shapes, *noise]))
    ]
    assert variances[0][0] / variances[0][1] == pytest.approx(
        variances[1][0] / variances[1][1]
    )


def test_noise_rescales_no_modality_of_late_and_hybrid_fusion():
    shapes, _ = dense_histograms()
    noise = np.random.default_rng(0).normal(size=(60, 8))
    for cls in (LateFusionClusterer, HybridFusionClusterer):
        model = cls(n_clusters=3, n_runs=2, random_state=0).fit([*shapes, noise])
        assert list(model.scaling_.values()) == ["l2", "l2", "block"]


@pytest.mark.parametrize("kind", KINDS)
def test_rows_of_unit_length_count_as_blocks_beside_blocks(kind):
    shapes, _ = dense_histograms()
    signed = np.random.default_rng(0).normal(size=(60, 8))
    fusion = EarlyFusion().fit([kind(shapes[0]), kind(shapes[1]), signed])
    fused = fusion.transform([kind(shapes[0]), kind(shapes[1]), signed])
    fused = fused.toarray() if sparse.issparse(fused) else fused
    variances = [fused[:, c].var(axis=0).sum() for c in fusion.columns_.values()]
    assert np.mean(variances[:2]) == pytest.approx(1)
    assert variances[2] == pytest.approx(1)
    # the same for scalings that are given, and one factor for all
    given = EarlyFusion(fusion.scaling_).fit_transform([*shapes, signed])
    np.testing.assert_allclose(given, fused)
    lengths = np.linalg.norm(fused[:, fusion.columns_["modality_0"]], axis=1)
    np.testing.assert_allclose(lengths, lengths[0])


def test_rows_of_unit_length_keep_it_among_themselves():
    shapes, _ = dense_histograms()
    fused = EarlyFusion().fit_transform(shapes)
    expected = np.hstack([normalize(block) for block in shapes])
    np.testing.assert_allclose(fused, expected)


# predictors


def test_predictors_standardise_what_clusterers_keep_in_proportion():
    shapes, topics = dense_histograms()
    names = ["modality_0", "modality_1"]
    assert EarlyFusion().fit(shapes).scaling_ == dict.fromkeys(names, "l2")
    early = EarlyFusionClassifier().fit(shapes, topics)
    assert early.fusion_.scaling_ == dict.fromkeys(names, "block")
    late = LateFusionClassifier().fit(shapes, topics)
    assert late.scaling_ == dict.fromkeys(names, "standard")


def overdispersed(values, depth):
    """Poisson counts of gamma rates, whose totals differ by sample with `depth`."""
    rng = np.random.default_rng(0)
    rates = np.exp(values) * rng.gamma(0.5, 2.0, values.shape)
    return rng.poisson(5 * rates * rng.lognormal(0, depth, (len(values), 1)))


FEATURES = {
    "normal": lambda values: values,
    "from 0 to 1": lambda values: (values - values.min(0)) / np.ptp(values, axis=0),
    "one huge feature": lambda values: (
        values * np.r_[1e6, np.ones(values.shape[1] - 1)]
    ),
    "heavy tails": lambda values: np.sinh(2 * values),
    "lognormal": lambda values: np.exp(1.5 * values),
    "shares": lambda values: np.exp(values) / np.exp(values).sum(1, keepdims=True),
    "counts": lambda values: np.random.default_rng(0).poisson(np.exp(values)),
    "overdispersed counts": lambda values: overdispersed(values, 0.0),
    "reads of unequal depth": lambda values: overdispersed(values, 1.0),
    "rare words": lambda values: overdispersed(values - 3, 0.0),
    "links": lambda values: (values > 1.5).astype(float),
}


def of_features(kind, X):
    """Blocks of a kind of features, and all of them as one table."""
    blocks = [(block - block.mean(0)) / block.std(0) for block in X.blocks]
    data = Modalities([FEATURES[kind](block).astype(float) for block in blocks])
    return data, np.hstack(data.blocks)


@pytest.mark.parametrize("kind", FEATURES)
@pytest.mark.parametrize(
    "cls", [EarlyFusionClassifier, LateFusionClassifier, HybridFusionClassifier]
)
def test_default_classifiers_keep_up_with_the_plain_concatenation(cls, kind):
    X, y = make_multimodal_blobs(
        300, (12, 20), centers=3, cluster_std=3.0, random_state=0
    )
    data, table = of_features(kind, X)
    plain = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    expected = cross_val_score(plain, table, y, cv=4).mean()
    assert cross_val_score(cls(), data, y, cv=4).mean() > expected - 0.04


@pytest.mark.parametrize("kind", FEATURES)
def test_the_default_regressor_keeps_up_with_the_plain_concatenation(kind):
    rng = np.random.default_rng(0)
    shared = rng.normal(size=(240, 6))
    blocks = [
        shared @ rng.normal(size=(6, width)) + 1.5 * rng.normal(size=(240, width))
        for width in (12, 20)
    ]
    y = shared @ rng.normal(size=6) + 0.5 * rng.normal(size=240)
    data, table = of_features(kind, Modalities(blocks))
    plain = make_pipeline(StandardScaler(), Ridge())
    expected = cross_val_score(plain, table, y, cv=4).mean()
    assert cross_val_score(EarlyFusionRegressor(), data, y, cv=4).mean() > (
        expected - 0.04
    )


def test_small_differences_from_an_offset_are_no_directions():
    rng = np.random.RandomState(0)
    for n_features in (6, 12, 40):  # of few features, norms hold much of the variance
        block = 3 + 1e-4 * rng.randn(80, n_features)
        assert choose_scaling(block) == "block"
    assert choose_scaling(rng.dirichlet(np.ones(12), 80)) == "l2"
