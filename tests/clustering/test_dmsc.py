"""DMSC: self-expression, affinities, new samples, anchors, memory."""

import pickle

import numpy as np
import pytest
import torch
from sklearn.metrics import adjusted_rand_score

from mmfusion import DMSCClusterer, Modalities, Trainer
from mmfusion.clustering import _dmsc
from mmfusion.clustering._expression_readout import affinity_of, code_embedding
from mmfusion.datasets import make_multimodal_blobs
from mmfusion.nn.losses import (
    normalized_latents,
    reconstruction_norm,
    self_expression_loss,
)

X, Y = make_multimodal_blobs(
    90, {"audio": 4, "video": 6}, centers=3, cluster_std=1.0, random_state=0
)
GAPS, GAPS_Y = make_multimodal_blobs(
    90,
    {"audio": 6, "video": 5, "text": 4},
    cluster_std=1.0,
    missing_rate=0.3,
    random_state=0,
)
ENOUGH = {"pretrain_epochs": 30, "max_epochs": 300, "batch_size": 30}


def small(*, options=None, **params):
    """Make a clusterer of three clusters that trains for a few epochs."""
    few = {"pretrain_epochs": 2, "max_epochs": 30, "batch_size": 30, "device": "cpu"}
    trainer = Trainer(**(few | (options or {})))
    fast = {"encoders": [16, 8], "random_state": 0, "trainer": trainer}
    return DMSCClusterer(3, **(fast | params))


def history(fitted):
    """Return the losses of all epochs, without times."""
    return [
        {k: v for k, v in epoch.items() if isinstance(v, float) and k != "dur"}
        for epoch in fitted.history_
    ]


# Losses


@pytest.mark.parametrize("observed", [None, [[1, 0], [1, 1], [0, 1], [1, 1]]])
def test_the_losses_are_those_of_the_formulas(observed):
    mask = None if observed is None else torch.tensor(observed, dtype=torch.bool)
    latents, C = torch.randn(2, 4, 3), torch.randn(4, 4).fill_diagonal_(0)
    inputs, decoded = torch.randn(2, 2, 4, 5)
    seen = np.ones((4, 2), bool) if observed is None else mask.numpy()
    if mask is not None:
        latents = latents * mask.mT[..., None]
    expression, reconstruction = 0.0, 0.0
    for v in range(2):
        squares = 0.0
        for q in range(4):
            if not seen[q, v]:
                continue
            rest = latents[v, q] - sum(C[q, r] * latents[v, r] for r in range(4))
            expression += float((rest**2).sum()) / 2
            squares += float(((inputs[v, q] - decoded[v, q]) ** 2).sum())
        reconstruction += squares**0.5 / 2
    found = self_expression_loss(latents, C, mask)
    assert float(found) == pytest.approx(expression, rel=1e-5)
    found = reconstruction_norm(list(decoded), list(inputs), mask)
    assert float(found) == pytest.approx(reconstruction, rel=1e-5)


def test_without_unit_norm_latents_shrink_in_place_of_being_expressed():
    """Why latents are normalised: the loss falls with their scale, whatever C is."""
    latents, C = torch.randn(2, 10, 3), torch.zeros(10, 10)
    whole, shrunk = (self_expression_loss(s * latents, C) for s in (1.0, 0.1))
    assert float(shrunk) == pytest.approx(0.01 * float(whole))
    unit = [self_expression_loss(normalized_latents(s * latents), C) for s in (1, 0.1)]
    assert float(unit[1]) == pytest.approx(float(unit[0]))
    # a gradient down the loss shrinks them; that of unit norm keeps their scale
    for normalise, is_free in ((lambda x: x, True), (normalized_latents, False)):
        free = latents.clone().requires_grad_()
        loss = self_expression_loss(normalise(free), C)
        (gradient,) = torch.autograd.grad(loss, free)
        along = float((gradient * latents).sum())
        assert (along > 1) if is_free else (abs(along) < 1e-4)


@pytest.mark.parametrize("data", [X, GAPS], ids=["complete", "missing"])
def test_one_step_is_down_the_gradient_of_the_whole_loss(data):
    fitted = small(options={"max_epochs": 60, "pretrain_epochs": 0}).fit(data)
    losses = [epoch["train_loss"] for epoch in fitted.history_]
    assert losses[-1] < losses[0]
    first = fitted.history_[0]
    total = first["norm"] + first["expression"] + first["reconstruction"]
    assert first["train_loss"] == pytest.approx(total, rel=1e-5)
    # at the start nothing is expressed: half of the squared norms of what is observed
    n_cells = 2 * 90 if data is X else data.observed.sum()
    assert first["expression"] == pytest.approx(n_cells / 2, rel=0.05)
    assert fitted.history_[-1]["expression"] < 0.9 * first["expression"]


# Affinities and new samples


def test_the_affinity_is_symmetric_and_keeps_the_largest_coefficients():
    C = np.array([[0.0, 3.0, -1.0], [0.5, 0.0, 0.5], [-4.0, 0.0, 0.0]])
    expected = [[0, 1.75, 2.5], [1.75, 0, 0.25], [2.5, 0.25, 0]]
    np.testing.assert_allclose(affinity_of(C, 1.0), expected)
    # 3 of 4 is enough for the first row, half of it for the second
    kept = affinity_of(C, 0.5)
    np.testing.assert_allclose(kept[0], [0, 1.75, 2.0])
    assert C[0, 2] == -1.0


def test_codes_use_what_is_observed():
    rng = np.random.default_rng(0)
    known, embedding = rng.normal(size=(20, 6)), rng.normal(size=(20, 2))
    observed = np.array([[True, True], [True, False], [False, True]])
    points = known[:3] * np.repeat(observed, 3, axis=1)
    found = code_embedding(points, observed, known, embedding)
    for q, seen in enumerate(observed):
        columns = np.repeat(seen, 3)
        H, z = known[:, columns], points[q, columns]
        ridge = 0.01 * (H**2).sum() / H.shape[1]
        code = np.linalg.solve(H @ H.T + ridge * np.eye(20), H @ z)
        place = np.abs(code) @ embedding
        np.testing.assert_allclose(found[q], place / np.linalg.norm(place))


@pytest.mark.parametrize("n_anchors", [None, 20])
def test_clusters_are_found_and_new_samples_join_them(n_anchors):
    fitted = small(options=ENOUGH, n_anchors=n_anchors).fit(X[:60])
    assert adjusted_rand_score(Y[:60], fitted.labels_) > 0.9
    assert adjusted_rand_score(Y[60:], fitted.predict(X[60:])) > 0.85
    proba = fitted.predict_proba(X[60:])
    np.testing.assert_array_equal(proba.argmax(1), fitted.predict(X[60:]))
    unit = np.linalg.norm(fitted.transform(X)[:, :8], axis=1)
    np.testing.assert_allclose(unit, 1, rtol=1e-6)
    assert fitted.get_feature_names_out().shape == (16,)


@pytest.mark.parametrize("n_anchors", [None, 20])
def test_clusters_are_found_though_modalities_are_missing(n_anchors):
    fitted = small(options=ENOUGH, n_anchors=n_anchors).fit(GAPS)
    assert adjusted_rand_score(GAPS_Y, fitted.labels_) > 0.7
    assert adjusted_rand_score(fitted.labels_, fitted.predict(GAPS)) > 0.7
    lacking = ~GAPS.observed[:, 0]
    assert (fitted.transform(GAPS)[lacking, :8] == 0).all()


def test_values_where_a_modality_is_missing_are_ignored():
    filled = {}
    for v, (name, block) in enumerate(GAPS.to_dict().items()):
        filled[name] = block.copy()
        filled[name][~GAPS.observed[:, v]] = 1e6
    other = Modalities(filled, observed=GAPS.observed)
    fitted, changed = small().fit(GAPS), small().fit(other)
    assert history(changed) == history(fitted)
    np.testing.assert_array_equal(changed.labels_, fitted.labels_)


# Size


def test_many_samples_have_anchors(monkeypatch):
    monkeypatch.setattr(_dmsc, "MAX_EXPRESSED_SAMPLES", 80)
    assert set(small().fit(X).phase_epochs_) == {"pretraining"}
    assert set(small(n_anchors=None).fit(X).phase_epochs_) == {
        "pretraining",
        "training",
    }
    assert set(small().fit(X[:80]).phase_epochs_) == {"pretraining", "training"}


def test_coefficients_beyond_memory_are_refused_with_the_remedy(monkeypatch, capsys):
    monkeypatch.setattr("mmfusion._memory.available_bytes", lambda: 10**8)
    settings = small(options={"verbose": 1})._settings()
    clusterer = small(n_anchors=None)
    with pytest.raises(ValueError, match=r"4000 samples.*244 MiB.*n_anchors='auto'"):
        clusterer._make_phases(4000, settings)
    assert "4000 samples by each other takes 244 MiB" in capsys.readouterr().out
    assert len(small(n_anchors=50)._make_phases(4000, settings)) == 1


def test_coefficients_are_not_kept():
    fitted = small().fit(X)
    assert not fitted._net.parts_
    assert len(pickle.dumps(fitted)) < 150_000
    stored = fitted.module_.heads.stored
    assert {name: tuple(value.shape) for name, value in stored.items()} == {
        "points": (90, 16),
        "embedding": (90, 3),
        "centers": (3, 3),
        "n_modalities": (),
    }


# Training


def test_there_is_no_partial_fit():
    assert not hasattr(small(), "partial_fit")
    with pytest.raises(AttributeError) as error:
        small().partial_fit(X)
    assert "give fit all of them" in str(error.value.__cause__)


def test_restarts_in_processes_and_resumed_ones_have_the_same_result(tmp_path):
    fitted = small(n_init=2).fit(X)
    assert fitted.loss_ == min(fitted.init_scores_)
    apart = small(n_init=2, options={"n_jobs": 2}).fit(X)
    assert history(apart) == history(fitted)
    np.testing.assert_array_equal(apart.labels_, fitted.labels_)
    folder = {"checkpoint_dir": tmp_path, "checkpoint_every": 1}
    small(n_init=2, options=folder).fit(X)
    resumed = small(n_init=2, options=folder).fit(X)
    assert history(resumed) == history(fitted)
    np.testing.assert_array_equal(resumed.labels_, fitted.labels_)


@pytest.mark.parametrize("n_anchors", [None, 20])
def test_stored_models_predict_alike(n_anchors, tmp_path):
    fitted = small(n_anchors=n_anchors).fit(GAPS)
    loaded = pickle.loads(pickle.dumps(fitted))
    fitted.save_params(tmp_path / "clusterer.pt")
    restored = small(n_anchors=n_anchors).load_params(tmp_path / "clusterer.pt")
    for other in (loaded, restored):
        np.testing.assert_array_equal(
            other.predict_proba(GAPS), fitted.predict_proba(GAPS)
        )


def test_images_are_clustered_with_vectors():
    photos = np.random.default_rng(0).normal(size=(90, 1, 8, 8))
    photos += Y[:, None, None, None]
    photos[::4] = np.nan
    mixed = Modalities({"photo": photos, "audio": X["audio"]})
    fitted = small().fit(mixed)
    assert fitted.predict(mixed).shape == (90,)


@pytest.mark.filterwarnings("error::scipy.linalg.LinAlgWarning")
def test_latents_of_zeros_have_a_place_in_the_embedding():
    points, observed = np.zeros((3, 8)), np.ones((3, 2), dtype=bool)
    found = code_embedding(points, observed, np.zeros((5, 8)), np.eye(5)[:, :2])
    assert (found == 0).all()
