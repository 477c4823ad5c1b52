"""Deep canonical correlation: recovery, missing modalities, training, errors."""

import warnings

import numpy as np
import pytest
from scipy import sparse
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import adjusted_rand_score
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.pipeline import make_pipeline
from torch import nn

from mmfusion import DCCA, Modalities, MultimodalCCA, Trainer
from mmfusion.datasets import make_multimodal_blobs
from mmfusion.fusion.combination._canonical_correlation import fit_scores

RNG = np.random.default_rng(0)
X, _ = make_multimodal_blobs(
    90, {"audio": 4, "text": 3, "video": 5}, cluster_std=2.0, random_state=0
)
BLOBS, CLASSES = make_multimodal_blobs(
    150, {"audio": 8, "video": 5}, centers=3, cluster_std=1.0, random_state=0
)
GAPS, _ = make_multimodal_blobs(
    90, {"audio": 4, "text": 3, "video": 5}, missing_rate=0.3, random_state=0
)
LOSSES = pytest.mark.parametrize("loss", ["canonical", "eckart_young"])


def small(n_components=None, **params):
    """Make a transformer of three components that trains for a few epochs."""
    names = {"max_epochs", "batch_size", "dtype", "lr", "checkpoint_dir", "n_jobs"}
    options = {"max_epochs": 5, "device": "cpu"}
    options |= {name: params.pop(name) for name in names & params.keys()}
    fast = {"encoders": [8, 3], "trainer": Trainer(**options), "random_state": 0}
    return DCCA(n_components, **(fast | params))


def parabola(n_samples=400):
    """Return two modalities that share a value and its square, beside noise."""
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, size=(n_samples, 1))
    noise = rng.normal(size=(2, n_samples, 2))
    return Modalities({"a": np.hstack([x, noise[0]]), "b": np.hstack([x**2, noise[1]])})


# What it finds


@pytest.mark.parametrize("weight", [0.0, 0.01])
@LOSSES
def test_what_no_linear_score_correlates_is_found(loss, weight):
    data = parabola()
    dcca = small(
        1,
        encoders=[64, 32, 2],
        loss=loss,
        reconstruction_weight=weight,
        max_epochs=150,
        lr=5e-3,
    )
    assert abs(MultimodalCCA(1).fit(data[:300]).score(data[300:])) < 0.2
    assert dcca.fit(data[:300]).score(data[300:]) > 0.9


def test_scores_are_those_of_canonical_correlation_of_the_latents():
    for data in (X, GAPS):
        dcca = small(2, dtype="float64").fit(data)
        latents = Modalities(dcca.modality_latents(data), observed=data.observed)
        linear = MultimodalCCA(2, shrinkage=1e-3, scaling=None).fit(latents)
        expected = linear.transform(latents)
        np.testing.assert_allclose(dcca.transform(data), expected, atol=1e-6)
        np.testing.assert_allclose(dcca.correlations_, linear.correlations_, atol=1e-6)
        scores = linear.transform_modalities(latents)
        found = dcca.transform_modalities(data)
        for name, seen in zip(data.names, data.observed.T, strict=True):
            np.testing.assert_allclose(found[name][seen], scores[name][seen], atol=1e-6)
        later = data[:40]
        assert dcca.score(later) == pytest.approx(dcca.correlations(later).mean())
        assert dcca.score(data) == pytest.approx(linear.score(latents), abs=1e-6)


def test_scores_of_a_sample_are_the_mean_over_its_modalities():
    dcca = small().fit(GAPS)
    by_modality = dcca.transform_modalities(GAPS)
    np.testing.assert_array_equal(by_modality.observed, GAPS.observed)
    blocks = np.stack([np.nan_to_num(block) for block in by_modality.blocks])
    total = np.einsum("mv,vmk->mk", GAPS.observed, blocks)
    mean = total / GAPS.observed.sum(1, keepdims=True)
    np.testing.assert_allclose(dcca.transform(GAPS), mean, rtol=1e-5, atol=1e-6)


def test_values_where_a_modality_is_missing_are_ignored():
    filled = {}
    for v, (name, block) in enumerate(GAPS.to_dict().items()):
        filled[name] = block.copy()
        filled[name][~GAPS.observed[:, v]] = 1e6
    other = Modalities(filled, observed=GAPS.observed)
    fitted, changed = small().fit(GAPS), small().fit(other)
    np.testing.assert_array_equal(changed.transform(other), fitted.transform(GAPS))


def test_one_modality_finds_the_samples_of_another():
    data = parabola()
    dcca = small(1, encoders=[64, 32, 2], max_epochs=150, lr=5e-3).fit(data[:300])
    scores = dcca.transform_modalities(data[300:])
    distances = np.linalg.norm(scores["a"][:, None] - scores["b"], axis=2)
    ranks = (distances <= np.diag(distances)[:, None]).mean(axis=1)
    assert ranks.mean() < 0.15  # chance is a half


@LOSSES
def test_shared_clusters_are_found_behind_it(loss):
    dcca = small(2, loss=loss, encoders=[32, 4], max_epochs=100, lr=5e-3)
    pipeline = make_pipeline(dcca, KMeans(3, n_init=5, random_state=0))
    labels = pipeline.fit(BLOBS[:100]).predict(BLOBS[100:])
    assert adjusted_rand_score(CLASSES[100:], labels) > 0.9


# Training


def test_the_loss_is_minus_the_correlations_of_all_samples():
    dcca = small(dtype="float64").fit(X)
    assert dcca.loss_ == pytest.approx(-dcca.correlations_.sum(), abs=0.05)
    losses = [epoch["correlation"] for epoch in dcca.history_]
    assert losses[-1] < losses[0]
    fewer = small(1, dtype="float64").fit(X)
    assert -1 <= fewer.loss_ < 0


def test_the_objective_of_an_autoencoder_is_the_weighted_sum():
    dcca = small(reconstruction_weight=0.5).fit(X)
    for epoch in dcca.history_:
        total = epoch["correlation"] + 0.5 * epoch["reconstruction"]
        assert epoch["train_loss"] == pytest.approx(total, rel=1e-5)
    assert len(dcca.module_.decoders) == 3


def test_the_restart_of_the_highest_correlations_is_kept():
    dcca = small(n_init=3).fit(X)
    assert dcca.loss_ == min(dcca.init_scores_)
    assert len(set(dcca.init_scores_)) == 3


@pytest.mark.parametrize(
    ("encoders", "size"),
    [
        ([64, 10], 500),
        ([64, 80], 800),
        (60, 600),
        ({"audio": [64, 70], "video": 70}, 700),
        ([[8, 90], 90, (16, 90)], 900),
        (None, 1280),
        (lambda shape: nn.Linear(shape[0], 5), 1000),
    ],
)
def test_batches_have_ten_samples_for_each_dimension(encoders, size):
    assert DCCA(encoders=encoders)._settings().batch_size == size


def test_partial_fit_trains_an_epoch_a_call_and_fits_the_scores():
    dcca = small()
    for n_calls, rows in enumerate([slice(0, 40), slice(40, 90), slice(0, 40)], 1):
        dcca.partial_fit(GAPS[rows])
        assert dcca.n_iter_ == n_calls
        scores = dcca.transform(GAPS[rows])
        np.testing.assert_allclose(scores.std(axis=0), 1, atol=1e-4)
    with pytest.raises(ValueError, match="batch of 3 samples"):
        dcca.partial_fit(X[:3])


def test_a_checkpoint_is_resumed_and_one_of_other_options_is_not(tmp_path):
    folder = {"checkpoint_dir": tmp_path}
    plain = small().fit(X).transform(X)
    for _ in range(2):
        np.testing.assert_array_equal(small(**folder).fit(X).transform(X), plain)
    other = {"shrinkage": 0.1}
    np.testing.assert_array_equal(
        small(**folder, **other).fit(X).transform(X), small(**other).fit(X).transform(X)
    )


def test_restarts_in_processes_have_the_same_result():
    one, two = small(n_init=2).fit(X), small(n_init=2, n_jobs=2).fit(X)
    assert two.init_scores_ == one.init_scores_
    np.testing.assert_array_equal(two.transform(X), one.transform(X))


def test_held_out_correlations_choose_the_reconstruction():
    grid = {"reconstruction_weight": [0.0, 0.1], "trainer__lr": [1e-3]}
    search = GridSearchCV(small(1), grid, cv=KFold(2)).fit(X)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


def test_learned_scores_are_stored_without_pickle(tmp_path):
    dcca = small(2, reconstruction_weight=0.1).fit(X)
    dcca.save_params(tmp_path / "dcca.pt")
    loaded = small(2, reconstruction_weight=0.1).load_params(tmp_path / "dcca.pt")
    np.testing.assert_array_equal(loaded.transform(X), dcca.transform(X))
    np.testing.assert_array_equal(loaded.correlations_, dcca.correlations_)
    assert loaded.get_feature_names_out().tolist() == ["dcca0", "dcca1"]


def test_sparse_modalities_and_single_precision_are_taken():
    counts = {"a": RNG.poisson(1.0, size=(60, 20)).astype(np.float32)}
    counts["b"] = counts["a"][:, :7]
    rows = {"a": sparse.csr_array(counts["a"]), "b": counts["b"]}
    dense, mixed = (small(scaling=None).fit(x) for x in (counts, rows))
    assert mixed.transform(rows).dtype == np.float32
    np.testing.assert_allclose(
        mixed.transform(rows), dense.transform(counts), atol=1e-4
    )
    blocks = mixed.transform_modalities(rows).blocks
    assert [block.dtype for block in blocks] == [np.float32] * 2


# Errors and warnings


def test_batches_that_are_no_larger_than_the_latents_are_refused():
    wide = small(encoders=[8, 90])
    with pytest.raises(ValueError, match=r"batch of 90 samples.*width 90.*below 90"):
        wide.fit(X)
    with pytest.raises(ValueError, match=r"batch of 20 samples.*batch_size above 30"):
        small(encoders=30, batch_size=20).fit(X)
    # nothing is whitened
    assert np.isfinite(wide.set_params(loss="eckart_young").fit(X).loss_)


def test_more_components_than_the_latents_have_are_refused():
    with pytest.raises(ValueError, match=r"n_components=4, .* width of 3: lower"):
        small(4).fit(X)


def test_modalities_with_few_common_samples_are_named():
    observed = np.ones(X.shape, dtype=bool)
    observed[:45, 0] = observed[47:, 1] = False
    apart = Modalities(X.to_dict(), observed=observed)
    with pytest.warns(ConvergenceWarning, match=r"'audio' and 'text' share 2 samples"):
        dcca = small().fit(apart)
    assert np.isfinite(dcca.transform(apart)).all()


@pytest.mark.parametrize(
    ("value", "scaling"), [(1.0, "auto"), (0.3, None), (0.7, None)]
)
def test_latents_that_do_not_vary_are_named_and_have_scores_of_zero(value, scaling):
    constant = X.to_dict() | {"text": np.full((90, 3), value)}
    with pytest.warns(ConvergenceWarning, match=r"'text' do not vary.*leave out"):
        dcca = small(scaling=scaling).fit(constant)
    assert (dcca.transform_modalities(constant)["text"] == 0).all()
    with pytest.warns(ConvergenceWarning):
        nothing = small().fit({"a": np.ones((30, 2)), "b": np.ones((30, 2))})
    assert nothing.correlations_.tolist() == [0.0] * 3


def test_scores_of_a_modality_without_samples_are_zero():
    latents = RNG.normal(size=(3, 30, 4))
    observed = np.ones((30, 3), dtype=bool)
    observed[:, 1] = False
    means, axes = fit_scores(latents, observed, 2, 1e-3)
    expected = fit_scores(latents[[0, 2]], observed[:, [0, 2]], 2, 1e-3)
    np.testing.assert_allclose(means[[0, 2]], expected[0])
    np.testing.assert_allclose(axes[[0, 2]], expected[1])
    assert not axes[1].any()


def test_a_healthy_training_has_no_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        small().fit(X)
