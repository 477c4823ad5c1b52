"""Canonical correlation: slow references, missing samples, shrinkage, errors."""

import numpy as np
import pytest
from scipy import linalg, sparse
from sklearn.covariance import ledoit_wolf_shrinkage
from sklearn.kernel_approximation import Nystroem
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.pipeline import make_pipeline

from mmfusion import Modalities, MultimodalCCA, PerModality
from mmfusion.fusion.combination._canonical_correlation import fit_whitening

RNG = np.random.default_rng(0)
SHARED = RNG.normal(size=(120, 2))
X = Modalities(
    {
        name: SHARED @ RNG.normal(size=(2, d)) + RNG.normal(size=(120, d))
        for name, d in (("audio", 5), ("text", 4), ("video", 6))
    }
)


def test_scores_by_modality_solve_the_generalised_eigenproblem_of_mcca():
    """Maximal sum of covariances over all pairs, for a sum of variances (MCCA)."""
    blocks = [block - block.mean(axis=0) for block in X.blocks]
    joint = np.hstack(blocks)
    within = linalg.block_diag(*(b.T @ b for b in blocks))
    values, vectors = linalg.eigh(joint.T @ joint, within)
    cca = MultimodalCCA(3, shrinkage=0.0, scaling=None).fit(X)
    np.testing.assert_allclose(cca.strengths_, values[:-4:-1] / 3)
    expected = joint @ vectors[:, :-4:-1]
    found = cca.transform(X)
    cosines = (found * expected).sum(axis=0) / np.linalg.norm(expected, axis=0)
    np.testing.assert_allclose(np.abs(cosines), np.sqrt(120))  # of unit variance


def test_common_scores_with_missing_samples_are_a_stationary_point():
    """G minimises sum_v ||K_v (G - X_v W_v)||^2 under G' K G = I, by projectors."""
    observed = RNG.random(X.shape) < 0.7
    observed[~observed.any(axis=1), 0] = True
    gappy = Modalities(X.to_dict(), observed=observed)
    cca = MultimodalCCA(2, shrinkage=0.0, scaling=None).fit(gappy)
    counts = observed.sum(axis=1)
    total = np.zeros((120, 120))
    for v, block in enumerate(X.blocks):
        seen = np.flatnonzero(observed[:, v])
        own = block[seen] - block[seen].mean(axis=0)
        # modalities are whitened to unit variance over their own samples
        projector = own @ np.linalg.inv(own.T @ own / len(seen)) @ own.T
        total[np.ix_(seen, seen)] += projector
    values, vectors = linalg.eigh(total, np.diag(counts.astype(float)))
    np.testing.assert_allclose(cca.strengths_, values[:-3:-1] / 120)
    found = cca.transform(gappy)
    for own, expected in zip(found.T, vectors[:, :-3:-1].T, strict=True):
        own, expected = own - own.mean(), expected - expected.mean()
        cosine = own @ expected / np.linalg.norm(own) / np.linalg.norm(expected)
        assert abs(cosine) == pytest.approx(1, abs=1e-3)


def test_what_a_missing_cell_holds_changes_nothing():
    observed = np.ones(X.shape, dtype=bool)
    observed[:30, 1] = False
    noise = X.to_dict() | {"text": X["text"].copy()}
    noise["text"][:30] = 1e6
    one = MultimodalCCA(2).fit(Modalities(X.to_dict(), observed=observed))
    other = MultimodalCCA(2).fit(Modalities(noise, observed=observed))
    np.testing.assert_array_equal(one.correlations_, other.correlations_)


def test_identical_modalities_correlate_fully():
    cca = MultimodalCCA(shrinkage=0.0).fit([X["audio"], X["audio"], 2 * X["audio"] + 1])
    assert cca.n_components_ == 5
    np.testing.assert_allclose(cca.correlations_, 1)
    np.testing.assert_allclose(cca.strengths_, 1)


def test_shared_scores_are_recovered():
    scores = MultimodalCCA(2).fit_transform(X)
    residual = np.linalg.lstsq(scores, SHARED, rcond=None)[1]
    assert (residual / (SHARED**2).sum(axis=0)).max() < 0.25


@pytest.mark.parametrize("shape", [(60, 8), (20, 50)])
def test_shrinkage_is_that_of_sklearn_and_sparse_equals_dense(shape):
    beside = RNG.normal(size=(shape[0], 3))
    rates = np.exp(beside @ RNG.normal(size=(3, shape[1])) - 1)
    block = RNG.poisson(rates).astype(float)
    dense = MultimodalCCA(2, scaling=None).fit([block, beside])
    expected = ledoit_wolf_shrinkage(block)
    assert dense.shrinkage_["modality_0"] == pytest.approx(expected)
    rows = [sparse.csr_array(block), beside]
    found = MultimodalCCA(2, scaling=None).fit(rows).transform(rows)
    np.testing.assert_allclose(found, dense.transform([block, beside]), atol=1e-9)


def test_without_shrinkage_wide_noise_correlates_and_with_it_does_not():
    noise = [RNG.normal(size=(60, 100)) for _ in range(2)]
    held_out = [RNG.normal(size=(400, 100)) for _ in range(2)]
    assert MultimodalCCA(2, shrinkage=0.0).fit(noise).correlations_.min() > 0.99
    assert abs(MultimodalCCA(2).fit(noise).score(held_out)) < 0.2


def test_explicit_features_of_a_kernel_are_kernel_cca():
    kernel = Nystroem(gamma=0.1, n_components=120, random_state=0)
    found = make_pipeline(
        PerModality(kernel), MultimodalCCA(2, scaling=None, shrinkage=0.5)
    )
    scores = found.fit_transform(X[["audio", "text"]])
    whitened = []
    for block in (X["audio"], X["text"]):
        center = np.eye(120) - 1 / 120
        values, vectors = linalg.eigh(center @ rbf_kernel(block, gamma=0.1) @ center)
        kept = values > 1e-9 * values[-1]
        values = values[kept] / 120
        shrunk = 0.5 * values + 0.5 * values.sum() / 120
        whitened.append(vectors[:, kept] * np.sqrt(values * 0.5 / shrunk))
    left = linalg.svd(np.hstack(whitened))[0][:, :2]
    np.testing.assert_allclose(
        np.abs(left.T @ scores) / np.sqrt(120), np.eye(2), atol=1e-3
    )


def test_held_out_correlations_choose_the_shrinkage():
    grid = {"shrinkage": [0.0, 0.3]}
    wide = Modalities(
        {n: np.hstack([b, RNG.normal(size=(120, 30))]) for n, b in X.to_dict().items()}
    )
    search = GridSearchCV(MultimodalCCA(2), grid, cv=KFold(3)).fit(wide)
    assert search.best_params_ == {"shrinkage": 0.3}
    unshrunk, shrunk = search.cv_results_["mean_test_score"]
    assert shrunk > unshrunk + 0.1


def test_one_modality_finds_the_samples_of_another():
    scores = MultimodalCCA(2).fit(X).transform_modalities(X)
    assert scores.shape == (120, 3)
    distances = np.linalg.norm(scores["audio"][:, None] - scores["video"], axis=2)
    ranks = (distances <= np.diag(distances)[:, None]).mean(axis=1)
    assert ranks.mean() < 0.25  # chance is a half


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"n_components": 6}, "n_components=6, but the modalities share at most 5"),
        ({"shrinkage": {"audio": 1.0}}, "shrinkage of modality 'audio' is 'auto'"),
        ({"shrinkage": {"touch": 0.1}}, "shrinkage names .'touch'."),
    ],
)
def test_bad_parameters_are_named(params, message):
    with pytest.raises(ValueError, match=message):
        MultimodalCCA(**params).fit(X)


def test_constant_modalities_are_refused():
    with pytest.raises(ValueError, match="all modalities are constant"):
        MultimodalCCA().fit([np.ones((9, 2)), np.zeros((9, 3))])
    varying = MultimodalCCA().fit([np.ones((9, 2)), RNG.normal(size=(9, 3))])
    assert varying.n_components_ == 3


@pytest.mark.parametrize("n_samples", [30, 1001])
@pytest.mark.parametrize("as_block", [np.asarray, sparse.csr_array])
@pytest.mark.parametrize("value", [0.1, 1 / 3, 1e8 + 0.1])
def test_the_rounding_of_a_constant_has_no_axes(n_samples, as_block, value):
    block = as_block(np.full((n_samples, 3), value))
    assert fit_whitening(block, 0.0).axes.shape == (3, 0)
