"""Emissions: densities, gaps, M-steps and outliers, against slow references."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse, stats
from scipy.special import logsumexp

from mmfusion.graphical._clock import frames_on_clock
from mmfusion.graphical._emissions import make_emission
from mmfusion.graphical._gaussian import DiagonalGaussian
from mmfusion.graphical._gaussian_full import FullGaussian
from mmfusion.graphical._multimodal_emission import MultimodalEmission
from mmfusion.graphical._outliers import OutlierComponent

N_STATES = 3
COVARIANCES = ("diag", "full", "tied", "spherical")
DISCRETE = ("categorical", "one-hot", "multinomial", "poisson", "bernoulli")
KINDS = (*COVARIANCES, "mixture", *DISCRETE)


def make(kind, n_states=N_STATES, **options):
    if kind in COVARIANCES:
        return make_emission("gaussian", n_states, covariance_type=kind, **options)
    name = "categorical" if kind == "one-hot" else kind
    return make_emission(name, n_states, **options)


def draw(kind, rng, n=60, d=3):
    if kind == "categorical":
        return rng.integers(0, 4, (n, d)).astype(float)
    if kind == "one-hot":
        return np.eye(d)[rng.integers(0, d, n)]
    if kind == "multinomial":
        return rng.poisson(2.0, (n, d)).astype(float)
    if kind == "poisson":
        return rng.poisson([0.5, 3, 20], (n, d)).astype(float)
    if kind == "bernoulli":
        return (rng.random((n, d)) < [0.1, 0.5, 0.8]).astype(float)
    mixed = rng.standard_normal((n, d)) @ rng.standard_normal((d, d))
    return mixed * [1, 30, 1e-3][:d] + [0, 500, 1]


def with_gaps(X, kind, rng):
    X = X.copy()
    if kind in ("one-hot", "multinomial"):  # a frame is there or not
        X[rng.random(len(X)) < 0.2] = np.nan
    else:
        X[rng.random(X.shape) < 0.25] = np.nan
    X[0] = np.nan
    return X


def fitted(kind, X, seed=0):
    """Return an emission after one M-step from random posteriors."""
    emission = make(kind)
    emission.prepare(X)
    maximize(emission, X, posteriors(X.shape[0], seed))
    return emission


def posteriors(n, seed=0):
    return np.random.default_rng(seed).dirichlet(np.full(N_STATES, 0.5), n)


def maximize(emission, X, weights):
    statistics = emission.statistics()
    emission.accumulate(statistics, X, weights)
    emission.maximize(statistics)


def objective(emission, X, weights):
    """Expected log density and log prior: what the M-step maximises."""
    return float((weights * emission.log_density(X)).sum()) + emission.log_prior()


def slow_log_density(kind, emission, x, state):
    """Log density of one frame in one state, by the formula as printed."""
    seen = ~np.isnan(x)
    if not seen.any():
        return 0.0
    if kind in ("categorical", "one-hot"):
        if kind == "one-hot":
            return np.log(emission.probabilities[0][state, int(np.argmax(x))])
        return sum(
            np.log(emission.probabilities[j][state, int(x[j])])
            for j in np.flatnonzero(seen)
        )
    if kind == "multinomial":
        return stats.multinomial.logpmf(x, x.sum(), emission.probabilities[state])
    if kind == "poisson":
        return stats.poisson.logpmf(x[seen], emission.rates[state][seen]).sum()
    if kind == "bernoulli":
        p = emission.probabilities[state][seen]
        return stats.bernoulli.logpmf(x[seen].astype(int), p).sum()
    if kind == "mixture":
        terms = [
            np.log(c) + stats.norm.logpdf(x[seen], m[seen], np.sqrt(v[seen])).sum()
            for c, m, v in zip(
                emission.mixture_weights[state],
                emission.means[state],
                emission.covariances[state],
                strict=True,
            )
        ]
        return logsumexp(terms)
    covariance = emission.covariances
    covariance = covariance if kind == "tied" else covariance[state]
    if kind == "spherical":
        covariance = covariance * np.eye(len(x))
    elif kind == "diag":
        covariance = np.diag(covariance)
    return stats.multivariate_normal.logpdf(
        x[seen], emission.means[state][seen], covariance[np.ix_(seen, seen)]
    )


@pytest.mark.parametrize("gaps", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_densities_are_those_of_the_observed_features(kind, gaps):
    rng = np.random.default_rng(1)
    X = draw(kind, rng)
    X = with_gaps(X, kind, rng) if gaps else X
    emission = fitted(kind, X)
    expected = [
        [slow_log_density(kind, emission, x, state) for state in range(N_STATES)]
        for x in X
    ]
    assert emission.log_density(X) == pytest.approx(np.array(expected), rel=1e-9)
    if gaps:
        assert (emission.log_density(X[:1]) == 0).all()


@pytest.mark.parametrize("gaps", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_no_iteration_decreases_the_penalised_objective(kind, gaps):
    rng = np.random.default_rng(2)
    X = draw(kind, rng)
    X = with_gaps(X, kind, rng) if gaps else X
    emission = fitted(kind, X)
    values = []
    for _ in range(15):  # EM of a mixture of the states with equal weights
        density = emission.log_density(X)
        totals = logsumexp(density, axis=1, keepdims=True)
        values.append(float(totals.sum()) + emission.log_prior())
        maximize(emission, X, np.exp(density - totals))
    assert np.diff(values).min() >= -1e-9 * abs(values[-1])
    assert values[-1] > values[0]


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "mixture"])
def test_the_m_step_is_a_maximum(kind):
    rng = np.random.default_rng(3)
    X = draw(kind, rng, n=200)
    emission = fitted(kind, X)
    weights = posteriors(len(X))
    best = objective(emission, X, weights)
    for seed in range(5):
        other = copy.deepcopy(emission)
        # a step towards the maximum of other weights stays among valid parameters
        nearby = 0.95 * weights + 0.05 * posteriors(len(X), seed + 10)
        maximize(other, X, nearby)
        assert objective(other, X, weights) < best


@pytest.mark.parametrize("kind", KINDS)
def test_weights_of_frames_equal_copies(kind):
    rng = np.random.default_rng(4)
    X = with_gaps(draw(kind, rng), kind, rng)
    repeats = rng.integers(0, 3, len(X))
    weighted, copied = make(kind), make(kind)
    weighted.prepare(X, repeats.astype(float))
    maximize(weighted, X, posteriors(len(X)) * repeats[:, None])
    rows = np.repeat(np.arange(len(X)), repeats)
    copied.prepare(X[rows])
    maximize(copied, X[rows], posteriors(len(X))[rows])
    same = copied.log_density(X)
    assert weighted.log_density(X) == pytest.approx(same, rel=1e-9)
    assert weighted.log_prior() == pytest.approx(copied.log_prior(), rel=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_a_state_without_frames_has_the_pooled_parameters(kind):
    rng = np.random.default_rng(5)
    X = draw(kind, rng)
    weights = posteriors(len(X))
    weights[:, 1] = 0
    emission = make(kind)
    emission.prepare(X)
    start = emission.log_density(X)[:, 1]
    maximize(emission, X, weights)
    density = emission.log_density(X)
    assert np.isfinite(density).all()
    if kind not in ("mixture", "tied"):
        assert density[:, 1] == pytest.approx(start)


@pytest.mark.parametrize("kind", KINDS)
def test_renumbered_states_have_the_densities_of_the_former(kind):
    X = draw(kind, np.random.default_rng(6))
    emission = fitted(kind, X)
    before = emission.log_density(X)
    order = np.array([2, 0, 1])
    emission.reorder(order)
    assert (emission.log_density(X) == before[:, order]).all()


@pytest.mark.parametrize("kind", KINDS)
def test_statistics_do_not_depend_on_chunks_and_float32_is_read(kind, monkeypatch):
    rng = np.random.default_rng(7)
    X = with_gaps(draw(kind, rng, n=150), kind, rng).astype(np.float32)
    whole = fitted(kind, X.astype(float))
    monkeypatch.setattr("mmfusion.graphical._standardized.CHUNK_CELLS", 1)
    by_chunks = fitted(kind, X)
    expected = whole.log_density(X.astype(float))
    assert by_chunks.log_density(X) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_samples_have_the_parameters_of_their_state(kind):
    rng = np.random.RandomState(0)
    X = draw(kind, np.random.default_rng(8), n=300)
    emission = fitted(kind, X)
    states = np.repeat(np.arange(N_STATES), 4000)
    drawn = emission.sample(states, rng)
    relearned = copy.deepcopy(emission)
    maximize(relearned, drawn, np.eye(N_STATES)[states])
    # the mean log density of what was drawn, which depends on all parameters
    gaps = (relearned.log_density(drawn) - emission.log_density(drawn))[
        np.arange(len(states)), states
    ]
    assert abs(gaps.mean()) < 0.01


@pytest.mark.parametrize("kind", [*COVARIANCES, "mixture"])
@given(exponent=st.integers(-250, 250), d=st.integers(1, 4))
@settings(max_examples=8, deadline=None)
def test_units_shift_log_densities_by_their_logarithm(kind, exponent, d):
    rng = np.random.default_rng(d)
    X = rng.standard_normal((40, d))
    X = with_gaps(X, kind, rng)
    unit = 2.0**exponent
    plain, scaled = fitted(kind, X), fitted(kind, X * unit)
    n_observed = (~np.isnan(X)).sum(axis=1, keepdims=True)
    expected = plain.log_density(X) - n_observed * np.log(unit)
    assert scaled.log_density(X * unit) == pytest.approx(expected, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("kind", [*COVARIANCES, "mixture"])
def test_degenerate_frames_give_finite_densities(kind):
    rng = np.random.default_rng(9)
    huge = rng.standard_normal((30, 2)) * 1e300
    constant = np.column_stack([np.full(30, 7.0), np.zeros(30)])
    one_frame = np.array([[1.0, 2.0]])
    unseen = np.column_stack([rng.standard_normal(30), np.full(30, np.nan)])
    for X in (huge, constant, one_frame, unseen, np.full((5, 2), np.nan)):
        emission = fitted(kind, X)
        assert np.isfinite(emission.log_density(X)).all()
        assert np.isfinite(emission.log_prior())
    far = np.array([[1e305, 0], [-1.7e308, 1.7e308]])
    assert np.isfinite(
        fitted(kind, rng.standard_normal((30, 2))).log_density(far)
    ).all()
    of_huge = fitted(kind, huge)
    assert np.isfinite(of_huge.log_density(-far)).all()
    assert not np.isnan(of_huge.covariances).any()


@pytest.mark.parametrize("kind", COVARIANCES)
def test_five_hundred_features_have_finite_densities(kind):
    rng = np.random.default_rng(10)
    X = rng.standard_normal((40, 500))
    emission = fitted(kind, X)
    density = emission.log_density(20 * X)
    assert np.isfinite(density).all()
    assert density.min() < -1e4


def test_equal_frames_do_not_make_variances_vanish():
    X = np.vstack(
        [np.zeros((5000, 2)), np.random.default_rng(0).normal(size=(5000, 2))]
    )
    weights = np.zeros((10000, N_STATES))
    weights[:5000, 0] = weights[5000:, 1] = 1
    for kind in COVARIANCES:
        emission = make(kind)
        emission.prepare(X)
        maximize(emission, X, weights)
        pooled = X.var(axis=0)
        own = emission.covariances
        own = own if kind == "tied" else own[0]
        smallest = np.linalg.eigvalsh(own).min() if own.ndim == 2 else own.min()
        assert smallest >= 0.99e-3 * pooled.min()


def test_without_priors_moments_are_those_of_the_frames():
    rng = np.random.default_rng(11)
    X = draw("diag", rng)
    weights = posteriors(len(X))
    options = {"prior_frames": 0.0, "variance_floor": 0.0}
    total = weights.sum(axis=0)
    means = weights.T @ X / total[:, None]
    deviations = X[None] - means[:, None]
    full = np.einsum("nk,kni,knj->kij", weights, deviations, deviations)
    expected = {
        "diag": np.einsum("kii->ki", full) / total[:, None],
        "full": full / total[:, None, None],
        "tied": full.sum(axis=0) / total.sum(),
        "spherical": np.einsum("kii->k", full) / total / X.shape[1],
    }
    for kind, covariances in expected.items():
        emission = make(kind, **options)
        emission.prepare(X)
        maximize(emission, X, weights)
        assert emission.means == pytest.approx(means, rel=1e-10)
        atol = 1e-10 * np.abs(covariances).max()
        assert emission.covariances == pytest.approx(covariances, rel=1e-9, abs=atol)


def test_given_parameters_are_returned():
    means = np.array([[1.0, 2], [3, -4]])
    variances = np.array([[1.0, 4], [9, 2]])
    diagonal = DiagonalGaussian(2)
    diagonal.set_parameters(means, variances)
    full = FullGaussian(2)
    full.set_parameters(means, np.stack([np.diag(v) for v in variances]))
    assert diagonal.means == pytest.approx(means)
    assert diagonal.covariances == pytest.approx(variances)
    X = np.random.default_rng(0).normal(size=(20, 2))
    assert full.log_density(X) == pytest.approx(diagonal.log_density(X))


def test_categories_that_fit_did_not_have_are_missing():
    X = np.array([[0.0, 1], [1, 0], [2, 1]])
    emission = fitted("categorical", X)
    with_new = emission.log_density(np.array([[7.0, 1]]))
    assert with_new == pytest.approx(emission.log_density(np.array([[np.nan, 1]])))


def test_sparse_counts_equal_dense_counts():
    X = draw("multinomial", np.random.default_rng(12), d=3)
    dense, thin = fitted("multinomial", X), fitted("multinomial", sparse.csr_array(X))
    assert thin.log_density(sparse.csr_array(X)) == pytest.approx(dense.log_density(X))
    broad = thin.broad_log_density(sparse.csr_array(X), 5.0)
    assert broad == pytest.approx(dense.broad_log_density(X, 5.0))


@pytest.mark.parametrize("kind", KINDS)
def test_outliers_have_a_density_that_sums_to_one_or_is_the_pooled_one(kind):
    rng = np.random.default_rng(13)
    X = draw(kind, rng, n=400)
    emission = fitted(kind, X)
    log_broad = emission.broad_log_density(X, 5.0)
    assert np.isfinite(log_broad).all()
    if kind == "diag":
        expected = stats.norm.logpdf(X, X.mean(axis=0), np.sqrt(5) * X.std(axis=0))
        assert log_broad == pytest.approx(expected.sum(axis=1))
    if kind == "poisson":
        grid = np.full((3000, 3), np.nan)
        grid[:, 2] = np.arange(3000)
        total = np.exp(emission.broad_log_density(grid, 5.0)).sum()
        assert total == pytest.approx(1, abs=1e-6)
    if kind == "categorical":
        codes = np.stack(np.meshgrid(*[np.arange(4.0)] * 3), -1).reshape(-1, 3)
        total = np.exp(emission.broad_log_density(codes, 5.0)).sum()
        assert total == pytest.approx(1)


def test_outlier_component_mixes_two_densities():
    rng = np.random.default_rng(14)
    log_b = 300 * rng.standard_normal((50, 4))
    log_b[0] = [0, -3000, 3000, -np.inf]
    log_o = rng.standard_normal(50)
    outlier = OutlierComponent(0.02, 5.0)
    mixed = log_b.copy()
    outlier.mix(mixed, log_o)
    expected = np.logaddexp(np.log(0.98) + log_b, np.log(0.02) + log_o[:, None])
    assert mixed == pytest.approx(expected, rel=1e-12)
    inlier = outlier.inlier_probability(log_b.copy(), log_o)
    ratio = np.exp(np.log(0.98) + log_b - expected)
    assert inlier == pytest.approx(ratio, abs=1e-12)
    textbook, same = OutlierComponent(0.0), log_b.copy()
    textbook.mix(same, log_o)
    assert (same == log_b).all()
    assert (textbook.inlier_probability(same, log_o) == 1).all()


def _two_modalities(rng, n=30):
    return [
        {"a": rng.normal(size=(n, 2)), "b": rng.normal(size=(n, 3))} for _ in range(3)
    ]


def _multimodal(frames, weights=None, share=0.0):
    outlier = OutlierComponent(share) if share else None
    emission = MultimodalEmission(
        {name: make("diag") for name in frames.modalities},
        weights or {},
        dict.fromkeys(frames.modalities, outlier),
    )
    emission.prepare(frames)
    statistics = emission.statistics()
    emission.accumulate(statistics, frames, 0, posteriors(frames.n_steps))
    emission.maximize(statistics)
    return emission


def by_modality(emission, frames):
    """Log densities of single modalities, without weights."""
    tables = {}
    for name, own in emission.emissions.items():
        values = frames.modalities[name].values
        tables[name] = own.log_density(values)
        outlier = emission.outliers[name]
        if outlier is not None:
            broad = own.broad_log_density(values, outlier.scale)
            outlier.mix(tables[name], broad)
    return tables


@pytest.mark.parametrize("share", [0.0, 0.05])
def test_modalities_are_weighted_sums_of_their_log_densities(share):
    frames = frames_on_clock(_two_modalities(np.random.default_rng(0)))
    emission = _multimodal(frames, {"a": 0.5, "b": 2.0}, share)
    tables = by_modality(emission, frames)
    expected = 0.5 * tables["a"] + 2.0 * tables["b"]
    assert emission.log_density(frames) == pytest.approx(expected)


def test_weight_zero_equals_leaving_the_modality_out():
    samples = _two_modalities(np.random.default_rng(1))
    frames = frames_on_clock(samples)
    with_zero = _multimodal(frames, {"b": 0.0}, 0.01)
    alone = _multimodal(frames_on_clock([{"a": s["a"]} for s in samples]), None, 0.01)
    assert (with_zero.log_density(frames) == alone.log_density(frames)).all()
    assert with_zero.n_parameters == alone.n_parameters
    assert with_zero.log_prior() == alone.log_prior()


def test_two_copies_at_half_weight_equal_one():
    samples = [{"a": s["a"]} for s in _two_modalities(np.random.default_rng(2))]
    frames = frames_on_clock(samples)
    twice = frames_on_clock([{"a": s["a"], "c": s["a"]} for s in samples])
    one = _multimodal(frames, None, 0.01)
    half = _multimodal(twice, {"a": 0.5, "c": 0.5}, 0.01)
    assert half.log_density(twice) == pytest.approx(one.log_density(frames))
    assert half.log_prior() == pytest.approx(one.log_prior())


def test_frames_that_no_state_explains_are_no_inliers():
    rng = np.random.default_rng(3)
    frames = frames_on_clock([{"a": np.vstack([rng.normal(size=(40, 2)), [[9, -9]]])}])
    emission = _multimodal(frames, None, 0.01)
    reliability = emission.inlier_probability(frames, posteriors(41))["a"]
    assert reliability[-1] < 0.1
    assert np.median(reliability) > 0.95
    plain = _multimodal(frames, None, 0.0)
    assert (plain.inlier_probability(frames, posteriors(41))["a"] == 1).all()


def test_columns_let_each_modality_read_its_own_states():
    frames = frames_on_clock(_two_modalities(np.random.default_rng(4)))
    emission = _multimodal(frames, None, 0.01)
    columns = {"a": np.array([0, 0, 1, 2]), "b": np.array([0, 1, 2, 2])}
    tables = by_modality(emission, frames)
    expected = tables["a"][:, columns["a"]] + tables["b"][:, columns["b"]]
    assert emission.log_density(frames, columns) == pytest.approx(expected)
    joint = np.random.default_rng(5).dirichlet(np.ones(4), frames.n_steps)
    by_columns, by_hand = copy.deepcopy(emission), copy.deepcopy(emission)
    statistics = by_columns.statistics()
    by_columns.accumulate(statistics, frames, 0, joint, columns)
    by_columns.maximize(statistics)
    for name in columns:
        alone = MultimodalEmission(
            {name: by_hand.emissions[name]}, {}, {name: emission.outliers[name]}
        )
        own = np.stack([joint[:, columns[name] == k].sum(axis=1) for k in range(3)], 1)
        statistics = alone.statistics()
        alone.accumulate(statistics, frames, 0, own)
        alone.maximize(statistics)
        expected = alone.emissions[name].means
        assert by_columns.emissions[name].means == pytest.approx(expected)


class _Laplace:
    """An emission of a user: Laplace densities with scale 1 around a median."""

    def __init__(self):
        self.centers = np.array([[-1.0], [0], [1]])

    def log_density(self, X):
        distances = np.abs(X[:, None] - self.centers).sum(axis=2)
        return -np.log(2) - distances

    def update(self, X, posteriors):
        order = np.argsort(X[:, 0])
        cumulative = posteriors[order].cumsum(axis=0)
        middle = (cumulative < cumulative[-1] / 2).sum(axis=0)
        self.centers = X[order[middle]]


def test_own_objects_are_emissions():
    rng = np.random.default_rng(15)
    X = np.concatenate([rng.laplace(c, 1, (50, 1)) for c in (-9, 0, 9)])
    X[7] = np.nan
    emission = make_emission(_Laplace(), N_STATES)
    emission.prepare(X)
    emission.reorder(np.array([2, 1, 0]))
    weights = np.eye(3)[np.repeat([2, 1, 0], 50)]
    maximize(emission, X, weights)
    centers = emission.model.centers.ravel()
    assert centers == pytest.approx([-9, 0, 9], abs=0.6)
    density = emission.log_density(X)
    assert (density[7] == 0).all()
    assert density[0].argmax() == 2
    with pytest.raises(ValueError, match="set outlier_share=0"):
        emission.broad_log_density(X, 5.0)


def test_unknown_kinds_and_impossible_values_are_refused():
    with pytest.raises(ValueError, match="is none of"):
        make_emission("gamma", 2)
    with pytest.raises(ValueError, match="covariance_type 'band'"):
        make_emission("gaussian", 2, covariance_type="band")
    with pytest.raises(ValueError, match="has no method 'log_density'"):
        make_emission(object(), 2)
    for kind, value, message in (
        ("categorical", 1.5, "integers from 0, and 1.5"),
        ("poisson", -1.0, "not negative, and -1.0"),
        ("multinomial", -1.0, "not negative, and -1.0"),
        ("bernoulli", 2.0, "0 or 1, and 2.0"),
    ):
        frames = frames_on_clock([{"words": np.array([[value, 1.0]])}])
        emission = MultimodalEmission({"words": make_emission(kind, 2)})
        with pytest.raises(ValueError, match=f"modality 'words': .*{message}"):
            emission.prepare(frames)
    emission = MultimodalEmission({"audio": make_emission("gaussian", 2)})
    with pytest.raises(ValueError, match="no sample has modality 'audio'"):
        emission.prepare(frames)
