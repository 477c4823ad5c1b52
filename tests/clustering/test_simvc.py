"""SiMVC and CoMVC: the objective on a batch, limits, recovery, missing modalities."""

import math
import pickle
import warnings

import numpy as np
import pytest
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import adjusted_rand_score
from sklearn.model_selection import GridSearchCV
from skorch.callbacks import EarlyStopping
from torch import nn

from mmfusion import CoMVCClusterer, Modalities, SiMVCClusterer, Trainer
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
ENOUGH = {
    "encoders": [64, 32],
    "n_init": 2,
    "options": {"max_epochs": 30, "batch_size": 50},
}
BOTH = pytest.mark.parametrize("cls", [SiMVCClusterer, CoMVCClusterer])


def small(cls, *, options=None, **params):
    """Make a clusterer of three clusters that trains for a few epochs."""
    few = {"max_epochs": 4, "batch_size": 40, "selection_every": 2}
    trainer = Trainer(**(few | (options or {})))
    fast = {"encoders": [16, 8], "n_init": 1, "random_state": 0, "trainer": trainer}
    return cls(3, **(fast | params))


def history(fitted):
    """Return the losses of all epochs, without times."""
    return [
        {k: v for k, v in epoch.items() if isinstance(v, float) and k != "dur"}
        for epoch in fitted.history_
    ]


# The objective


def head_by_loops(module, fused):
    """Compute hidden layer and assignment of the clustering head, in training mode."""
    heads = module.heads
    raw = torch.relu(fused @ heads.hidden[0] + heads.hidden_bias[0])
    mean = raw.mean(0)
    variance = ((raw - mean) ** 2).mean(0)
    hidden = (raw - mean) / torch.sqrt(variance + heads.norm.eps)
    hidden = hidden * heads.norm.weight + heads.norm.bias
    logits = hidden @ heads.assign[0] + heads.assign_bias[0]
    return hidden, torch.exp(logits) / torch.exp(logits).sum(1, keepdim=True)


def terms_by_loops(module, inputs, observed, temperature):
    """Compute the terms of a batch sample by sample."""
    n_modalities, m = len(inputs), len(inputs[0])
    weights = torch.exp(module.fusion_logits) / torch.exp(module.fusion_logits).sum()
    latents = [encode(x) for encode, x in zip(module.encoders, inputs, strict=True)]
    fused = []
    for q in range(m):
        own = [v for v in range(n_modalities) if observed is None or observed[q, v]]
        total = sum(weights[v] for v in own)
        fused.append(sum(weights[v] / total * latents[v][q] for v in own))
    hidden, assignment = head_by_loops(module, torch.stack(fused))
    kernel = slow.gaussian_kernel(hidden)
    corners = slow.corner_closeness(assignment)
    contrast = slow.contrastive_loss(torch.stack(latents), temperature, observed)
    return {
        "separation": slow.cauchy_schwarz_divergence(assignment, kernel),
        "simplex": slow.cauchy_schwarz_divergence(corners, kernel),
        "balance": slow.balance_penalty(assignment),
        "contrastive": min(weights.tolist()) * contrast,
    }


@pytest.mark.parametrize("data", [X, GAPS], ids=["complete", "missing"])
def test_the_terms_of_a_batch_are_those_of_the_formulas(data):
    options = {"dtype": "float64", "device": "cpu"}
    fitted = small(CoMVCClusterer, options=options, temperature=0.5).fit(data)
    net, objective = fitted._net, fitted._make_objective()
    rows = slice(8)
    observed = None if data is X else torch.tensor(data.observed[rows])
    blocks = [np.nan_to_num(data[name][rows]) for name in data.names]
    inputs = [torch.tensor(block) for block in blocks]
    net.module_.train()
    found = objective.terms(net, net.encode(Batch(inputs, observed)))
    expected = terms_by_loops(net.module_, inputs, observed, 0.5)
    assert found.keys() == expected.keys()
    for name, term in expected.items():
        torch.testing.assert_close(found[name], term, rtol=1e-8, atol=1e-8)


def test_the_loss_is_the_weighted_sum_of_the_terms():
    weights = {"separation": 2.0, "simplex": 0.5, "balance": 3.0, "contrastive": 0.2}
    params = {f"{name}_weight": weight for name, weight in weights.items()}
    for epoch in history(small(CoMVCClusterer, **params).fit(X)):
        total = sum(weights[name] * epoch[name] for name in weights)
        assert epoch["train_loss"] == pytest.approx(total, rel=1e-5)


def test_the_contrastive_loss_passes_no_gradient_to_the_fusion_weights():
    fitted = small(CoMVCClusterer, options={"device": "cpu"}).fit(X)
    net = fitted._net
    net.module_.train()
    inputs = [torch.randn(8, 4), torch.randn(8, 6)]
    encoded = net.encode(Batch(inputs, None))
    term = fitted._make_objective().terms(net, encoded)["contrastive"]
    logits, weight = net.module_.fusion_logits, net.module_.encoders[0][0].weight
    of_logits, of_encoder = torch.autograd.grad(
        term, (logits, weight), allow_unused=True
    )
    assert of_logits is None or (of_logits == 0).all()
    assert of_encoder.abs().max() > 0


@BOTH
@pytest.mark.parametrize("name", ["separation", "simplex", "balance"])
def test_a_weight_of_zero_removes_the_term(cls, name):
    fitted = small(cls, **{f"{name}_weight": 0}).fit(X)
    assert all(name not in epoch for epoch in fitted.history_)
    # epochs are compared by D_sc even where it is not trained on
    assert 0 < fitted.loss_ < 1


def test_an_objective_without_terms_is_refused():
    nothing = dict.fromkeys(
        ("separation_weight", "simplex_weight", "balance_weight"), 0
    )
    with pytest.raises(ValueError, match="weights of all its terms are 0"):
        small(SiMVCClusterer, **nothing).fit(X)


# Limits


@pytest.mark.parametrize("data", [X, GAPS], ids=["complete", "missing"])
def test_without_the_contrastive_loss_comvc_is_simvc(data):
    simvc = small(SiMVCClusterer).fit(data)
    comvc = small(CoMVCClusterer, contrastive_weight=0).fit(data)
    assert history(comvc) == history(simvc)
    np.testing.assert_array_equal(comvc.labels_, simvc.labels_)
    np.testing.assert_array_equal(comvc.transform(data), simvc.transform(data))
    np.testing.assert_array_equal(comvc.modality_weights_, simvc.modality_weights_)


@BOTH
def test_one_modality_is_deep_divergence_based_clustering(cls):
    fitted = small(cls).fit(X[["audio"]])
    assert fitted.modality_weights_.tolist() == [1.0]
    latents = fitted.modality_latents(X[["audio"]])["audio"]
    np.testing.assert_allclose(fitted.transform(X[["audio"]]), latents)
    assert all(epoch.get("contrastive", 0) == 0 for epoch in fitted.history_)
    alone = small(SiMVCClusterer).fit(X[["audio"]])
    np.testing.assert_array_equal(fitted.labels_, alone.labels_)


def test_identical_modalities_are_one():
    torch.manual_seed(0)
    encoder = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 8), nn.ReLU())
    # the norm of the gradient of several encoders is another one
    options = {"clip_norm": math.inf, "dtype": "float64"}
    alone = small(SiMVCClusterer, encoders=encoder, options=options).fit(X["audio"])
    copies = {"a": X["audio"], "b": X["audio"], "c": X["audio"]}
    fitted = small(SiMVCClusterer, encoders=encoder, options=options).fit(copies)
    np.testing.assert_allclose(fitted.modality_weights_, 1 / 3, rtol=1e-6)
    np.testing.assert_allclose(
        fitted.transform(copies), alone.transform(X["audio"]), rtol=1e-3, atol=1e-4
    )
    np.testing.assert_array_equal(fitted.labels_, alone.labels_)


@pytest.mark.parametrize("data", [X, GAPS], ids=["complete", "missing"])
@pytest.mark.parametrize("contrastive_weight", [0, 0.1])
def test_without_reconstruction_there_is_no_trace_of_it(data, contrastive_weight):
    params = {"contrastive_weight": contrastive_weight}
    fitted = small(CoMVCClusterer, reconstruction_weight=0, **params).fit(data)
    assert fitted.module_.decoders is None
    assert list(fitted.phase_epochs_) == ["training"]
    assert history(fitted) == history(small(CoMVCClusterer, **params).fit(data))
    assert isinstance(fitted.module_.encoders[0][-1], nn.ReLU)


@pytest.mark.parametrize("contrastive_weight", [0, 0.1])
def test_reconstruction_is_pretrained_and_kept(contrastive_weight):
    params = {"contrastive_weight": contrastive_weight, "reconstruction_weight": 0.5}
    options = {"pretrain_epochs": 20, "pretrain_lr": 1e-2}
    fitted = small(CoMVCClusterer, options=options, **params).fit(GAPS)
    assert fitted.phase_epochs_ == {"pretraining": 20, "training": 4}
    assert isinstance(fitted.module_.encoders[0][-1], nn.Linear)
    weights = {"reconstruction": 0.5, "contrastive": contrastive_weight}
    epochs = history(fitted)
    assert epochs[19]["reconstruction"] < 0.7 * epochs[0]["reconstruction"]
    for epoch in epochs[:20]:
        total = sum(weights.get(name, 0) * value for name, value in epoch.items())
        assert epoch["train_loss"] == pytest.approx(total, rel=1e-5)
        assert "separation" not in epoch
    for epoch in epochs[20:]:
        terms = epoch.keys() - {"train_loss"}
        total = sum(weights.get(name, 1) * epoch[name] for name in terms)
        assert epoch["train_loss"] == pytest.approx(total, rel=1e-5)
    assert fitted.set_params(trainer__pretrain_epochs=0).fit(GAPS).n_iter_ == 4


def test_pretraining_without_reconstruction_is_refused():
    clusterer = small(CoMVCClusterer, options={"pretrain_epochs": 2})
    with pytest.raises(ValueError, match="pretrain_epochs"):
        clusterer.fit(X)


def test_a_strong_contrastive_loss_aligns_the_modalities():
    def cosine(weight):
        fitted = small(
            CoMVCClusterer, contrastive_weight=weight, options={"max_epochs": 10}
        ).fit(X)
        a, b = (
            latents / np.linalg.norm(latents, axis=1, keepdims=True)
            for latents in fitted.modality_latents(X).values()
        )
        return (a * b).sum(1).mean() - (a @ b.T).mean()

    assert cosine(20) > cosine(0) + 0.1


# Recovery


@BOTH
@pytest.mark.parametrize("seed", range(2))
def test_clusters_that_modalities_share_are_found(cls, seed):
    X, y = make_multimodal_blobs(
        150, (8, 5), centers=3, cluster_std=1.5, random_state=seed
    )
    labels = small(cls, **ENOUGH, random_state=seed).fit_predict(X)
    assert adjusted_rand_score(y, labels) > 0.9


@pytest.mark.parametrize("seed", range(2))
def test_few_samples_are_not_memorised_by_decoders(seed):
    X, y = make_multimodal_blobs(60, (10, 20), centers=3, random_state=0)
    trainer = Trainer(max_epochs=25)
    wide = {"encoders": (512, 512, 256), "trainer": trainer, "random_state": seed}
    fitted = small(CoMVCClusterer, reconstruction_weight=1, **wide).fit(X)
    assert adjusted_rand_score(y, fitted.labels_) > 0.8


def test_an_optimizer_without_weight_decay_trains_decoders():
    options = {"optimizer": torch.optim.Rprop, "pretrain_epochs": 1}
    fitted = small(CoMVCClusterer, reconstruction_weight=1, options=options).fit(X)
    assert fitted.n_iter_ == 5


@BOTH
def test_clusters_are_found_though_modalities_are_missing(cls):
    fitted = small(cls, **ENOUGH).fit(GAPS)
    assert adjusted_rand_score(GAPS_Y, fitted.labels_) > 0.9
    np.testing.assert_array_equal(fitted.predict(GAPS), fitted.labels_)


@BOTH
def test_values_where_a_modality_is_missing_are_ignored(cls):
    filled = {}
    for v, (name, block) in enumerate(GAPS.to_dict().items()):
        filled[name] = block.copy()
        filled[name][~GAPS.observed[:, v]] = 1e6
    other = Modalities(filled, observed=GAPS.observed)
    fitted, changed = small(cls).fit(GAPS), small(cls).fit(other)
    assert history(changed) == history(fitted)
    np.testing.assert_array_equal(changed.transform(other), fitted.transform(GAPS))


@BOTH
def test_weights_are_renormalised_over_the_observed_modalities(cls):
    fitted = small(cls).fit(GAPS)
    weights = fitted.modality_weights_
    assert weights.sum() == pytest.approx(1)
    latents = np.stack(list(fitted.modality_latents(GAPS).values()))
    shares = GAPS.observed * weights
    shares /= shares.sum(1, keepdims=True)
    fused = np.einsum("mv,vmd->md", shares, np.nan_to_num(latents))
    np.testing.assert_allclose(fitted.transform(GAPS), fused, rtol=1e-5, atol=1e-7)


# Training


@BOTH
def test_classes_are_never_used(cls):
    unlabelled = small(cls).fit(X)
    for y in (Y, Y[::-1]):
        assert history(small(cls).fit(X, y)) == history(unlabelled)


@BOTH
def test_the_restart_and_the_epoch_of_the_lowest_separation_are_kept(cls):
    options = {"max_epochs": 8, "selection_every": 1}
    fitted = small(cls, options=options, n_init=3).fit(X)
    assert len(fitted.init_scores_) == 3
    assert fitted.loss_ == min(fitted.init_scores_)
    last = small(cls, options=options | {"selection_every": 0}, n_init=3).fit(X)
    assert all(
        best <= end
        for best, end in zip(fitted.init_scores_, last.init_scores_, strict=True)
    )


@BOTH
def test_a_search_over_the_learning_rate_needs_no_trainer(cls):
    clusterer = cls(3, encoders=[8], n_init=1, random_state=0)
    clusterer.set_params(trainer__max_epochs=2, trainer__batch_size=20)
    search = GridSearchCV(clusterer, {"trainer__lr": [1e-4, 1e-2]}, cv=2, n_jobs=1)
    with warnings.catch_warnings():
        # clusters may be empty after two epochs
        warnings.simplefilter("ignore", ConvergenceWarning)
        search.fit(X)
    assert search.best_params_["trainer__lr"] in (1e-4, 1e-2)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


@BOTH
def test_partial_fit_trains_one_epoch_a_call(cls):
    clusterer = small(cls)
    for n_calls in range(1, 4):
        clusterer.partial_fit(X)
        assert clusterer.n_iter_ == n_calls
    assert clusterer.modality_weights_.sum() == pytest.approx(1)
    # after the first steps the weights are those of the trained parameters
    logits = clusterer.module_.fusion_logits.detach().cpu().numpy().astype(float)
    weights = np.exp(logits) / np.exp(logits).sum()
    np.testing.assert_allclose(clusterer.modality_weights_, weights, rtol=1e-5)


def test_decoders_are_stored_and_checkpointed(tmp_path):
    def fit(**options):
        options = {"pretrain_epochs": 3} | options
        clusterer = small(CoMVCClusterer, reconstruction_weight=1, options=options)
        return clusterer.fit(X)

    fitted = fit()
    copied = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(copied.transform(X), fitted.transform(X))
    folder = {"checkpoint_dir": tmp_path, "checkpoint_every": 1}
    fit(max_epochs=1, **folder)  # the pretraining is resumed
    assert history(fit(**folder)) == history(fitted)


@BOTH
def test_restarts_in_processes_and_resumed_ones_have_the_same_result(cls, tmp_path):
    fitted = small(cls, n_init=2).fit(X)
    apart = small(cls, n_init=2, options={"n_jobs": 2}).fit(X)
    assert history(apart) == history(fitted)
    folder = {"checkpoint_dir": tmp_path, "checkpoint_every": 1}
    small(cls, n_init=2, options=folder).fit(X)
    resumed = small(cls, n_init=2, options=folder).fit(X)
    assert history(resumed) == history(fitted)
    np.testing.assert_array_equal(resumed.labels_, fitted.labels_)


@BOTH
def test_a_training_that_a_callback_ended_stays_finished(cls, tmp_path):
    def fitted(**folder):
        stop = EarlyStopping("train_loss", 5, threshold=1e9, sink=str)
        options = {"max_epochs": 20, "selection_every": 2, "callbacks": [stop]}
        return small(cls, options=options | folder).fit(X)

    folder = {"checkpoint_dir": tmp_path, "checkpoint_every": 2}
    whole = fitted()
    for _ in range(3):
        resumed = fitted(**folder)
        assert resumed.n_iter_ == 6
        assert history(resumed) == history(whole)
        np.testing.assert_array_equal(resumed.transform(X), whole.transform(X))


@BOTH
def test_images_are_fused_with_vectors(cls):
    photos = np.random.default_rng(0).normal(size=(120, 1, 5, 5))
    photos += Y[:, None, None, None]
    photos[::4] = np.nan
    mixed = Modalities({"photo": photos, "audio": X["audio"]})
    fitted = small(cls).fit(mixed)
    assert fitted.transform(mixed).shape == (120, 8)
    np.testing.assert_array_equal(fitted.predict(mixed), fitted.labels_)


@pytest.mark.parametrize("cls", [SiMVCClusterer, CoMVCClusterer])
@pytest.mark.parametrize("width", [10**12, 2**63])
def test_networks_beyond_memory_are_refused(cls, width):
    X, _ = make_multimodal_blobs(30, random_state=0)
    with pytest.raises(ValueError, match=f"hidden_width={width} .* lower them"):
        cls(3, hidden_width=width).fit(X)
