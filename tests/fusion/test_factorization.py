"""Joint factorisation: slow references, planted parts, missing samples, errors."""

import tracemalloc
import warnings

import numpy as np
import pytest
from scipy import sparse
from scipy.optimize import linear_sum_assignment, nnls
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import adjusted_rand_score
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, Normalizer

from mmfusion import Modalities, ModalitySplitter, MultimodalNMF, PerModality
from mmfusion.fusion.combination._factorization import (
    _agreeing_weights,
    _penalized_part,
)

RNG = np.random.default_rng(0)
TOPICS = RNG.dirichlet([0.2] * 3, size=90)
PARTS = {
    name: RNG.gamma(0.3, size=(3, d))
    for name, d in (("audio", 9), ("text", 12), ("video", 6))
}
PARTS = {
    name: parts / parts.sum(axis=1, keepdims=True) for name, parts in PARTS.items()
}
X = Modalities(
    {
        name: 50 * TOPICS @ parts + RNG.gamma(1.0, 0.2, size=(90, parts.shape[1]))
        for name, parts in PARTS.items()
    }
)
OBSERVED = RNG.random(X.shape) < 0.7
OBSERVED[~OBSERVED.any(axis=1), 0] = True
GAPPY = Modalities(X.to_dict(), observed=OBSERVED)


def fitted(n_components=3, data=X, **params):
    return MultimodalNMF(
        n_components, **({"tol": 1e-7, "max_iter": 1000} | params)
    ).fit(data)


def objective(nmf, data, consensus, weights):
    """The formula of the docstring, by loops over modalities and samples."""
    total = 0.0
    for name, parts in nmf.components_.items():
        sums, pull = parts.sum(axis=1), nmf.consensus_weights_[name]
        for i in np.flatnonzero(data.observed[:, data.names.index(name)]):
            row, own = data[name][i] / nmf.scales_[name], weights[name][i]
            total += ((row - own @ parts) ** 2).sum()
            total += pull * ((own * sums - consensus[i]) ** 2).sum()
    return total


def consensus_and_weights(nmf, data):
    """Both minimise the objective of a sample: non-negative least squares."""
    k, names = len(next(iter(nmf.components_.values()))), list(nmf.components_)
    consensus, weights = (
        np.zeros((len(data), k)),
        {n: np.zeros((len(data), k)) for n in names},
    )
    for i in range(len(data)):
        seen = [n for n in names if data.observed[i, data.names.index(n)]]
        rows, target = [], []
        for v, name in enumerate(seen):
            block = np.zeros((nmf.components_[name].shape[1], k * (len(seen) + 1)))
            block[:, k * v : k * (v + 1)] = nmf.components_[name].T
            pull = np.zeros((k, k * (len(seen) + 1)))
            pull[:, k * v : k * (v + 1)], pull[:, -k:] = np.eye(k), -np.eye(k)
            rows += [block, np.sqrt(nmf.consensus_weights_[name]) * pull]
            target += [data[name][i] / nmf.scales_[name], np.zeros(k)]
        found = nnls(np.vstack(rows), np.concatenate(target))[0].reshape(-1, k)
        consensus[i] = found[-1]
        for name, own in zip(seen, found, strict=False):
            weights[name][i] = own
    return consensus, weights


# References


@pytest.mark.parametrize("weight", [0.001, 1.0, 1000.0])
def test_a_part_is_the_minimum_of_its_penalised_squares(weight):
    """A problem of least squares with one more row."""
    for target in (RNG.normal(size=8), np.full(4, 0.5), -np.ones(3)):
        for pull in (0.0, 2.0):
            rows = np.vstack(
                [np.eye(len(target)), np.full(len(target), np.sqrt(weight))]
            )
            expected = nnls(rows, np.append(target, pull / np.sqrt(weight)))[0]
            np.testing.assert_allclose(
                _penalized_part(target, weight, pull), expected, atol=1e-9
            )


def test_weights_and_consensus_are_their_common_minimum():
    linear = RNG.normal(size=(4, 200))
    squares, pulls = RNG.random((4, 1)), RNG.random((4, 200))
    found, consensus = _agreeing_weights(linear, squares, pulls)
    for i in range(200):
        rows = np.zeros((8, 5))
        rows[:4, :4], rows[4:, :4] = (
            np.diag(np.sqrt(squares[:, 0])),
            np.diag(np.sqrt(pulls[:, i])),
        )
        rows[4:, 4] = -np.sqrt(pulls[:, i])
        target = np.append(linear[:, i] / np.sqrt(squares[:, 0]), np.zeros(4))
        expected = nnls(rows, target)[0]
        np.testing.assert_allclose(
            np.append(found[:, i], consensus[i]), expected, atol=1e-9
        )


@pytest.mark.parametrize("data", [X, GAPPY], ids=["complete", "missing"])
@pytest.mark.parametrize("weight", [0.01, 1.0])
def test_transformed_samples_minimise_the_objective_for_the_parts(data, weight):
    nmf = fitted(data=data, consensus_weight=weight)
    consensus, weights = consensus_and_weights(nmf, data)
    np.testing.assert_allclose(nmf.transform(data), consensus, atol=2e-3)
    # the last iteration of fit ends near the minimum for its parts, and not below it
    least = objective(nmf, data, consensus, weights)
    assert least <= nmf.objective_history_[-1] * (1 + 1e-9)
    assert nmf.objective_history_[-1] == pytest.approx(least, rel=1e-3)


@pytest.mark.parametrize("data", [X, GAPPY], ids=["complete", "missing"])
@pytest.mark.parametrize("weight", [0.01, 10.0])
def test_the_objective_never_rises(data, weight):
    history = fitted(5, data=data, consensus_weight=weight).objective_history_
    assert len(history) > 5
    assert np.diff(history).max() <= 1e-9 * history[0]


def multiplicative_objective(n_iter, weight=0.01, k=3):
    """Objective after the published updates, entry by entry, from a positive start."""
    blocks = [block / block.sum(axis=1).mean() for block in X.blocks]
    rng = np.random.default_rng(0)
    W = [rng.random((90, k)) for _ in blocks]
    H = [rng.random((k, block.shape[1])) for block in blocks]
    consensus = sum(W) / len(W)
    for _ in range(n_iter):
        for v, block in enumerate(blocks):
            old, sums = H[v].copy(), H[v].sum(axis=1)
            for j in range(k):
                pull = weight * W[v][:, j] @ consensus[:, j]
                push = weight * W[v][:, j] @ W[v][:, j] * sums[j]
                for f in range(block.shape[1]):
                    above = W[v][:, j] @ block[:, f] + pull
                    below = W[v][:, j] @ W[v] @ old[:, f] + push
                    H[v][j, f] = old[j, f] * above / below
            sums = H[v].sum(axis=1)
            H[v], W[v] = H[v] / sums[:, None], W[v] * sums
            above = block @ H[v].T + weight * consensus
            W[v] *= above / (W[v] @ H[v] @ H[v].T + weight * W[v])
        consensus = sum(W) / len(W)
    errors = [((b - w @ h) ** 2).sum() for b, w, h in zip(blocks, W, H, strict=True)]
    return sum(errors) + weight * sum(((w - consensus) ** 2).sum() for w in W)


def test_multiplicative_updates_need_more_iterations_for_the_same_objective():
    own = fitted().objective_history_
    published = [multiplicative_objective(n) for n in (10, 200)]
    assert own[-1] <= published[1] * 1.01  # no better minimum
    assert own[9] < 0.5 * published[0]


# Recovery


@pytest.mark.parametrize("data", [X, GAPPY], ids=["complete", "missing"])
def test_planted_parts_are_recovered(data):
    nmf = fitted(data=data)
    matched = []
    for name, parts in PARTS.items():
        own = nmf.components_[name]
        cosines = own @ parts.T
        cosines /= np.linalg.norm(own, axis=1)[:, None] * np.linalg.norm(parts, axis=1)
        rows, columns = linear_sum_assignment(-cosines)
        assert cosines[rows, columns].min() > 0.95
        matched.append(columns)
    assert np.ptp(matched, axis=0).max() == 0  # one order in all modalities


def test_weights_of_modalities_agree_and_find_each_other():
    weights = fitted().transform_modalities(X)
    for name in ("text", "video"):
        assert np.corrcoef(weights["audio"].ravel(), weights[name].ravel())[0, 1] > 0.95
    with_gaps = fitted().transform_modalities(GAPPY)
    np.testing.assert_array_equal(with_gaps.observed, OBSERVED)


def test_weighted_parts_restore_the_samples():
    nmf = fitted()
    restored = nmf.inverse_transform(nmf.transform(X))
    assert restored.names == X.names
    for name in X.names:
        assert np.linalg.norm(restored[name] - X[name]) < 0.1 * np.linalg.norm(X[name])
    with pytest.raises(ValueError, match="X has 2 columns, but there are 3 components"):
        nmf.inverse_transform(np.ones((4, 2)))


def test_clusters_and_their_search_stand_behind_it_in_a_pipeline():
    y = TOPICS.argmax(axis=1)
    sure = TOPICS.max(axis=1) > 0.8
    pipeline = make_pipeline(
        PerModality(Normalizer()),
        MultimodalNMF(3),
        KMeans(3, n_init=5, random_state=0),
    )
    assert adjusted_rand_score(y[sure], pipeline.fit_predict(X)[sure]) > 0.8
    grid = {"multimodalnmf__n_components": [1, 3]}
    search = GridSearchCV(pipeline, grid, scoring="adjusted_rand_score", cv=3).fit(X, y)
    assert search.best_params_ == {"multimodalnmf__n_components": 3}


# Forms of data


def test_what_a_missing_cell_holds_changes_nothing():
    noise = X.to_dict()
    noise["audio"] = np.where(OBSERVED[:, :1], noise["audio"], -1e6)
    other = fitted(data=Modalities(noise, observed=OBSERVED))
    np.testing.assert_array_equal(
        other.objective_history_, fitted(data=GAPPY).objective_history_
    )


def test_sparse_modalities_are_factorised_as_dense_ones():
    blocks = X.to_dict()
    blocks["text"] = np.where(blocks["text"] < 1, 0, blocks["text"])
    mixed = blocks | {"text": sparse.csr_array(blocks["text"])}
    expected, found = fitted(data=blocks), fitted(data=mixed)
    np.testing.assert_allclose(
        found.transform(mixed), expected.transform(blocks), atol=1e-6
    )


def test_sparse_modalities_are_not_made_dense():
    wide = [
        sparse.random_array((2000, 20_000), density=1e-4, format="csr", rng=RNG)
    ] * 2
    tracemalloc.start()
    try:
        MultimodalNMF(2, tol=1e-2).fit_transform(wide)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2000 * 20_000 * 8 / 10


def test_a_modality_of_zeros_and_more_components_than_features_are_allowed():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        found = MultimodalNMF(8).fit_transform([np.zeros((9, 2)), RNG.random((9, 3))])
        nothing = MultimodalNMF(2).fit_transform([np.zeros((9, 2))])
    assert found.shape == (9, 8)
    assert np.isfinite(found).all()
    assert not nothing.any()


# Errors


def test_few_iterations_warn():
    with pytest.warns(ConvergenceWarning, match="raise max_iter or tol"):
        MultimodalNMF(3, max_iter=1).fit(X)


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        ({"audio": -1.0}, "consensus_weight of modality 'audio' is a finite number"),
        ({"audio": np.inf}, "consensus_weight of modality 'audio' is a finite number"),
        ({"touch": 1.0}, r"consensus_weight names .'touch'."),
        (dict.fromkeys(X.names, 0), "consensus_weight is 0 for all modalities"),
    ],
)
def test_bad_weights_are_named(weight, message):
    with pytest.raises(ValueError, match=message):
        MultimodalNMF(3, consensus_weight=weight).fit(X)


def test_samples_of_left_out_modalities_alone_are_refused():
    lacking = X.observed.copy()
    lacking[5, 0] = False
    gappy = Modalities(X.to_dict(), observed=lacking)
    with pytest.raises(ValueError, match=r"sample 5 lacks the modalities .'audio'."):
        fitted(data=gappy, consensus_weight={"text": 0, "video": 0})


NEGATIVE = X.to_dict() | {"text": X["text"] - 3}


def test_negative_values_are_refused_and_the_remedy_works():
    observed = X.observed.copy()
    observed[0] = [True, False, True]  # a missing cell is not the first negative one
    where = np.argwhere(np.where(observed[:, 1:2], NEGATIVE["text"], 0) < 0)[0]
    message = (
        rf"'text' is -.* for sample {where[0]}, feature {where[1]}\. .*PerModality"
    )
    for data in (NEGATIVE, Modalities(NEGATIVE, observed=observed)):
        with pytest.raises(
            ValueError, match=message if data is not NEGATIVE else "'text'"
        ):
            fitted(data=data)
    with pytest.raises(ValueError, match="modality 'text' is -"):
        fitted().transform(NEGATIVE)
    scaler = PerModality({"text": MinMaxScaler(clip=True)})
    make_pipeline(scaler, MultimodalNMF(3)).fit(NEGATIVE).transform(NEGATIVE)


def test_remedies_for_tables_and_sparse_modalities_work():
    table, widths = np.hstack(list(NEGATIVE.values())), [9, 12, 6]
    with pytest.raises(ValueError, match="ModalitySplitter with the same modalities="):
        MultimodalNMF(3, modalities=widths).fit(table)
    scaler = PerModality({"modality_1": MinMaxScaler(clip=True)})
    make_pipeline(ModalitySplitter(widths), scaler, MultimodalNMF(3)).fit(table)
    matrix = sparse.csr_array(NEGATIVE["text"])
    with pytest.raises(ValueError, match="positive and negative parts side by side"):
        MultimodalNMF(3).fit(NEGATIVE | {"text": matrix})
    halves = sparse.hstack([matrix.maximum(0), (-matrix).maximum(0)])
    MultimodalNMF(3).fit(NEGATIVE | {"text": halves})


@pytest.mark.parametrize("as_block", [np.asarray, sparse.csr_array])
@pytest.mark.parametrize(
    "unit", [1e300, 1e-300, np.float32(1e37), np.float32(1e-36)], ids=str
)
def test_huge_and_tiny_units_of_a_modality_change_nothing(unit, as_block):
    rng = np.random.default_rng(0)
    a, b = (rng.gamma(1.0, size=(30, d)).astype(unit.__class__) for d in (6, 4))
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        common = MultimodalNMF(3, max_iter=500, tol=1e-4).fit([a, b])
        scaled = MultimodalNMF(3, max_iter=500, tol=1e-4).fit([as_block(a * unit), b])
        found = scaled.transform([as_block(a * unit), b])
    np.testing.assert_allclose(found, common.transform([a, b]), atol=1e-4)
    restored = scaled.inverse_transform(found).blocks[0]
    assert np.abs(restored / unit - a).max() < 2 * np.abs(a).max()
