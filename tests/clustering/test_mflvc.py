"""MFLVC: its terms on a batch, pseudo-labels, recovery, missing modalities."""

import pickle

import numpy as np
import pytest
import torch
from sklearn.metrics import adjusted_rand_score

from mmfusion import MFLVCClusterer, Modalities, Trainer
from mmfusion.clustering._pseudo_labels import MISSING, matched_clusters
from mmfusion.datasets import make_multimodal_blobs
from mmfusion.nn._data import Batch

from ..nn import slow_losses as slow

X, Y = make_multimodal_blobs(
    120, {"audio": 4, "video": 6}, centers=3, cluster_std=1.0, random_state=0
)
GAPS, GAPS_Y = make_multimodal_blobs(
    120,
    {"audio": 6, "video": 5, "text": 4},
    cluster_std=1.0,
    missing_rate=0.3,
    random_state=0,
)
ENOUGH = {"pretrain_epochs": 10, "max_epochs": 60, "batch_size": 50}


def small(*, options=None, **params):
    """Make a clusterer of three clusters that trains for a few epochs."""
    few = {"pretrain_epochs": 2, "max_epochs": 3, "batch_size": 40, "device": "cpu"}
    fast = {"encoders": [16, 8], "feature_width": 6, "matching_epochs": 3}
    fast |= {"random_state": 0, "trainer": Trainer(**(few | (options or {})))}
    return MFLVCClusterer(3, **(fast | params))


def history(fitted):
    """Return the losses of all epochs, without times."""
    return [
        {k: v for k, v in epoch.items() if isinstance(v, float) and k != "dur"}
        for epoch in fitted.history_
    ]


def prepared(fitted, data, rows):
    """Return samples and mask as tensors of float64, as the network takes them."""
    observed = None if data is X else data.observed[rows]
    blocks = [block[rows] for block in data.blocks]
    inputs = fitted._preparation([np.nan_to_num(b) for b in blocks], observed)
    mask = None if observed is None else torch.tensor(observed)
    return [torch.tensor(block) for block in inputs], mask


# The objective


@pytest.mark.parametrize("data", [X, GAPS], ids=["complete", "missing"])
def test_the_terms_of_a_batch_are_those_of_the_formulas(data):
    fitted = small(options={"dtype": "float64"}, feature_temperature=0.3).fit(data)
    net, rows = fitted._net, slice(8)
    _, training, _ = fitted._make_phases(len(data), fitted._settings())
    inputs, observed = prepared(fitted, data, rows)
    found = training.objective.terms(net, net.encode(Batch(inputs, observed)))

    module = net.module_
    latents = [encode(x) for encode, x in zip(module.encoders, inputs, strict=True)]
    features, assignments, errors = [], [], []
    for v, latent in enumerate(latents):
        raw = module.heads.features(latent)
        features.append(raw / raw.norm(dim=1, keepdim=True))
        exps = torch.exp(module.heads.clusters(latent))
        assignments.append(exps / exps.sum(1, keepdim=True))
        seen = slice(None) if observed is None else observed[:, v]
        error = (module.decoders[v](latent) - inputs[v])[seen].square()
        errors.append(error.mean() if error.numel() else torch.zeros(()))
    n_pairs = len(inputs) * (len(inputs) - 1) / 2
    features, assignments = torch.stack(features), torch.stack(assignments)
    expected = {
        "reconstruction": sum(errors),
        "features": n_pairs / 2 * slow.contrastive_loss(features, 0.3, observed),
        "assignments": n_pairs
        / 2
        * slow.assignment_contrast(assignments, 1.0, observed),
        "balance": n_pairs * slow.assignment_balance(assignments, observed),
    }
    assert found.keys() == expected.keys()
    for name, term in expected.items():
        torch.testing.assert_close(found[name], term, rtol=1e-8, atol=1e-8)


def test_phases_have_their_terms_in_order():
    fitted = small().fit(X)
    assert fitted.phase_epochs_ == {"pretraining": 2, "training": 3, "matching": 3}
    assert set(fitted.history_[0]) >= {"reconstruction"}
    assert set(fitted.history_[2]) >= {"features", "assignments", "balance"}
    assert set(fitted.history_[5]) >= {"pseudo_labels"}
    assert fitted.loss_ == pytest.approx(fitted.init_scores_[0])
    epoch = fitted.history_[2]
    names = ("reconstruction", "features", "assignments", "balance")
    total = sum(epoch[name] for name in names)
    assert epoch["train_loss"] == pytest.approx(total, rel=1e-5)


@pytest.mark.parametrize("data", [X, GAPS], ids=["complete", "missing"])
def test_the_assignment_is_the_mean_over_the_observed_modalities(data):
    fitted = small().fit(data)
    features, total = fitted.modality_latents(data), 0
    module = fitted.module_.double()
    inputs, observed = prepared(fitted, data, slice(None))
    shares = np.ones((len(data), len(inputs))) if observed is None else observed.numpy()
    shares = shares / shares.sum(1, keepdims=True)
    with torch.no_grad():
        for v, x in enumerate(inputs):
            _, logits = module.heads(module.encoders[v](x))
            total = total + shares[:, [v]] * logits.softmax(1).numpy()
    np.testing.assert_allclose(fitted.predict_proba(data), total, rtol=1e-6, atol=1e-8)
    np.testing.assert_array_equal(fitted.labels_, total.argmax(1))
    mean = sum(
        shares[:, [v]] * np.nan_to_num(block)
        for v, block in enumerate(features.values())
    )
    np.testing.assert_allclose(fitted.transform(data), mean, rtol=1e-6, atol=1e-8)
    assert fitted.transform(data).shape == (120, 6)
    assert fitted.get_feature_names_out().shape == (6,)


# Pseudo-labels


def test_clusters_are_matched_to_those_of_the_network():
    rng = np.random.default_rng(0)
    truth = np.repeat([2, 0, 1], 10)
    features = 5.0 * np.eye(3)[truth] + rng.normal(scale=0.1, size=(30, 3))
    logits = np.eye(3)[truth]
    logits[:3] = [[1, 0, 0]] * 3  # a few are assigned to another cluster
    observed = np.ones(30, dtype=bool)
    observed[::7] = False
    found = matched_clusters(features, logits, observed, seed=0)
    np.testing.assert_array_equal(found[observed], truth[observed])
    assert (found[~observed] == MISSING).all()


def test_a_modality_of_few_samples_has_as_many_pseudo_labels():
    observed = np.array([True, False, True, False, False])
    found = matched_clusters(np.eye(5), np.eye(5), observed, seed=0)
    np.testing.assert_array_equal(found, [0, MISSING, 2, MISSING, MISSING])
    none = matched_clusters(np.eye(5), np.eye(5), np.zeros(5, dtype=bool), seed=0)
    assert (none == MISSING).all()


def test_features_of_one_value_get_one_pseudo_label():
    logits = np.tile([0.0, 1.0], (6, 1))
    found = matched_clusters(np.ones((6, 2)), logits, np.ones(6, dtype=bool), seed=0)
    np.testing.assert_array_equal(found, np.ones(6))


def test_pseudo_labels_stay_while_the_data_do():
    clusterer = small(matching_epochs=2).fit(X)
    part = clusterer._net.parts_["pseudo_labels"]
    before, other = part.targets, X[:60]
    assert before.shape == (2, 120)
    clusterer.partial_fit(X)
    assert part.targets is before
    clusterer.partial_fit(other)
    assert part.targets.shape == (2, 60)


def test_matching_makes_assignments_certain():
    options = ENOUGH
    without = small(options=options, matching_epochs=0).fit(X)
    fitted = small(options=options, matching_epochs=100).fit(X)
    assert "matching" not in without.phase_epochs_
    certain = fitted.predict_proba(X).max(1).mean()
    assert certain > without.predict_proba(X).max(1).mean() > 1 / 3


# Recovery, missing modalities


@pytest.mark.parametrize("seed", range(2))
def test_clusters_that_modalities_share_are_found(seed):
    X, y = make_multimodal_blobs(
        150, (8, 5), centers=3, cluster_std=1.5, random_state=seed
    )
    params = {"encoders": [64, 32], "matching_epochs": 40, "random_state": seed}
    labels = small(options=ENOUGH, **params).fit_predict(X)
    assert adjusted_rand_score(y, labels) > 0.9


@pytest.mark.parametrize("seed", range(2))
def test_few_samples_are_not_memorised_by_automatic_epochs(seed):
    X, y = make_multimodal_blobs(60, (10, 20), centers=3, random_state=seed)
    options = {"pretrain_epochs": 50, "max_epochs": "auto", "batch_size": 100}
    params = {"encoders": [128, 64], "feature_width": 128, "matching_epochs": 50}
    fitted = small(options=options, **params, random_state=seed).fit(X)
    assert fitted.phase_epochs_["training"] == 30
    assert adjusted_rand_score(y, fitted.labels_) > 0.9


def test_clusters_are_found_though_modalities_are_missing():
    params = {"encoders": [64, 32], "matching_epochs": 40}
    fitted = small(options=ENOUGH, **params).fit(GAPS)
    assert adjusted_rand_score(GAPS_Y, fitted.labels_) > 0.9
    np.testing.assert_array_equal(fitted.predict(GAPS), fitted.labels_)


def test_values_where_a_modality_is_missing_are_ignored():
    filled = {}
    for v, (name, block) in enumerate(GAPS.to_dict().items()):
        filled[name] = block.copy()
        filled[name][~GAPS.observed[:, v]] = 1e6
    other = Modalities(filled, observed=GAPS.observed)
    fitted, changed = small().fit(GAPS), small().fit(other)
    assert history(changed) == history(fitted)
    np.testing.assert_array_equal(changed.transform(other), fitted.transform(GAPS))


# Training


def test_a_batch_of_fewer_samples_than_clusters_is_refused():
    with pytest.raises(ValueError, match=r"batch_size=2 .* n_clusters=3.*6 or more"):
        small(options={"batch_size": 2}).fit(X)
    assert small(options={"batch_size": 6}).fit(X).n_iter_ == 8


def test_automatic_batches_hold_two_samples_of_a_cluster():
    sizes = [MFLVCClusterer(k)._settings().batch_size for k in (3, 80)]
    assert sizes == [100, 160]


def test_restarts_in_processes_and_resumed_ones_have_the_same_result(tmp_path):
    fitted = small(n_init=2).fit(X)
    assert fitted.loss_ == min(fitted.init_scores_)
    apart = small(n_init=2, options={"n_jobs": 2}).fit(X)
    assert history(apart) == history(fitted)
    folder = {"checkpoint_dir": tmp_path, "checkpoint_every": 1}
    small(n_init=2, options=folder).fit(X)
    resumed = small(n_init=2, options=folder).fit(X)
    assert history(resumed) == history(fitted)
    np.testing.assert_array_equal(resumed.labels_, fitted.labels_)


def test_a_training_that_ended_while_matching_is_resumed(tmp_path, monkeypatch):
    """Pseudo-labels of the checkpoint are used again, not made from a later state."""
    folder = {"checkpoint_dir": tmp_path, "checkpoint_every": 1}
    whole = small().fit(X)
    files = set()

    class Interrupted(Exception):
        pass

    from mmfusion.nn._checkpoint import Checkpoint

    write = Checkpoint.write

    def write_and_stop(self, state):
        write(self, state)
        files.add(self.name)
        if state["phase"] == "matching" and state["done"] == 1:
            raise Interrupted

    monkeypatch.setattr(Checkpoint, "write", write_and_stop)
    with pytest.raises(Interrupted):
        small(options=folder).fit(X)
    monkeypatch.undo()
    resumed = small(options=folder).fit(X)
    assert history(resumed) == history(whole)
    np.testing.assert_array_equal(resumed.transform(X), whole.transform(X))


def test_partial_fit_runs_through_the_phases():
    clusterer = small()
    for _ in range(8):
        clusterer.partial_fit(X)
    phases = [epoch["phase"] for epoch in clusterer.history_]
    assert phases == ["pretraining"] * 2 + ["training"] * 3 + ["matching"] * 3


def test_a_stored_model_is_trained_further():
    fitted = small().fit(GAPS)
    loaded = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(
        loaded.predict_proba(GAPS), fitted.predict_proba(GAPS)
    )
    assert history(loaded.partial_fit(GAPS)) == history(fitted.partial_fit(GAPS))


def test_images_are_clustered_with_vectors():
    photos = np.random.default_rng(0).normal(size=(120, 1, 8, 8))
    photos += Y[:, None, None, None]
    photos[::4] = np.nan
    mixed = Modalities({"photo": photos, "audio": X["audio"]})
    fitted = small().fit(mixed)
    np.testing.assert_array_equal(fitted.predict(mixed), fitted.labels_)


@pytest.mark.parametrize("width", [10**12, 2**63])
def test_networks_beyond_memory_are_refused(width):
    with pytest.raises(ValueError, match=f"feature_width={width} .* lower them"):
        small(feature_width=width).fit(X)
