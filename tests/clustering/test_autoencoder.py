"""Autoencoders: objective on a batch, limits, recovery, missing modalities, streams."""

import pickle
import warnings

import numpy as np
import pytest
import torch
from scipy import sparse
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import adjusted_rand_score

from mmfusion import AutoencoderClusterer, Modalities, Trainer
from mmfusion.datasets import make_multimodal_blobs
from mmfusion.nn._cross_reconstruction import mean_of_others
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
DATA = pytest.mark.parametrize("data", [X, GAPS], ids=["complete", "missing"])
WAYS = {
    "kmeans": {},
    "dec": {"readout": "dec"},
    "DAMC": {"readout": "dec", "adversarial_weight": 0.01},
}
ENOUGH = {
    "encoders": [64, 16],
    "options": {"pretrain_epochs": 40, "max_epochs": 20},
}
ALL_WAYS = pytest.mark.parametrize("way", list(WAYS))


def small(way="kmeans", *, options=None, **params):
    """Make a clusterer of three clusters that trains for a few epochs."""
    few = {"pretrain_epochs": 4, "max_epochs": 3, "batch_size": 40, "lr": 1e-2}
    few |= {"pretrain_lr": 1e-2}
    trainer = Trainer(**(few | (options or {})))
    fast = {"encoders": [16, 5], "random_state": 0, "trainer": trainer}
    return AutoencoderClusterer(3, **(fast | WAYS[way] | params))


def history(fitted):
    """Return the losses of all epochs, without times."""
    return [
        {k: v for k, v in epoch.items() if isinstance(v, float) and k != "dur"}
        for epoch in fitted.history_
    ]


# The objective


def squared_error(samples, rebuilt, rows):
    """Compute the mean over some samples of the mean squared error."""
    errors = [((samples[q] - rebuilt[q]) ** 2).mean() for q in rows]
    return sum(errors) / max(1, len(errors))


def terms_by_loops(fitted, inputs, observed):
    """Compute the terms of a batch sample by sample."""
    module, parts = fitted.module_, fitted._net.parts_
    n_modalities, m = len(inputs), len(inputs[0])
    latents = [encode(x) for encode, x in zip(module.encoders, inputs, strict=True)]
    has = [
        [observed is None or bool(observed[q, v]) for v in range(n_modalities)]
        for q in range(m)
    ]
    reconstruction = cross = generator = 0
    for v in range(n_modalities):
        rows = [q for q in range(m) if has[q][v]]
        reconstruction += squared_error(inputs[v], module.decoders[v](latents[v]), rows)
        others = {
            q: [latents[w][q] for w in range(n_modalities) if w != v and has[q][w]]
            for q in rows
        }
        rows = [q for q in rows if others[q]]
        rebuilt = {
            q: module.decoders[v]((sum(others[q]) / len(others[q]))[None])[0]
            for q in rows
        }
        cross += squared_error(inputs[v], rebuilt, rows)
        judge = parts["discriminators"].discriminators[v]
        logs = [torch.log(torch.sigmoid(judge(rebuilt[q][None])[0, 0])) for q in rows]
        generator -= sum(logs) / max(1, len(logs))

    def assign(network):
        own = [encode(x) for encode, x in zip(network.encoders, inputs, strict=True)]
        width, centers = module.width, network.heads.centers
        rows = []
        for q in range(m):
            kernel = []
            for center in centers:
                total = 0
                for v in range(n_modalities):
                    z = network.scales[v] * (own[v][q] - network.means[v])
                    c = center[v * width : (v + 1) * width]
                    total += ((z - c) ** 2).sum() * has[q][v]
                distance = total * n_modalities / sum(has[q])
                kernel.append(1 / (1 + distance / network.heads.scale))
            rows.append(torch.stack([a / sum(kernel) for a in kernel]))
        return torch.stack(rows)

    targets = slow.sharpened(assign(parts["targets"].network), parts["targets"].sizes)
    clustering = slow.target_divergence(targets, torch.log(assign(module)))
    return {
        "reconstruction": reconstruction,
        "clustering": clustering,
        "cross_reconstruction": cross,
        "generator": generator,
    }


@DATA
def test_the_terms_of_a_batch_are_those_of_the_formulas(data):
    options = {"dtype": "float64", "device": "cpu"}
    fitted = small("DAMC", options=options, tol=0.0).fit(data)
    net, objective = fitted._net, fitted._net.objective_
    rows = slice(8)
    observed = None if data is X else torch.tensor(data.observed[rows])
    inputs = [torch.tensor(np.nan_to_num(data[name][rows])) for name in data.names]
    found = objective.terms(net, net.encode(Batch(inputs, observed)))
    expected = terms_by_loops(fitted, inputs, observed)
    assert found.keys() == expected.keys()
    for name, term in expected.items():
        torch.testing.assert_close(found[name], term, rtol=1e-8, atol=1e-8)


def test_the_loss_is_the_weighted_sum_of_the_terms():
    params = {"clustering_weight": 0.5, "adversarial_weight": 0.3, "tol": 0.0}
    weights = {"reconstruction": 1, "cross_reconstruction": 1, "clustering": 0.5}
    weights["generator"] = 0.3
    phases = history(small("DAMC", **params).fit(X))
    assert "generator" not in phases[0]
    for epoch in phases:
        total = sum(weights.get(name, 0) * value for name, value in epoch.items())
        assert epoch["train_loss"] == pytest.approx(total, rel=1e-5)


def test_the_generator_loss_trains_the_network_and_discriminators_the_other_side():
    fitted = small("DAMC", options={"device": "cpu"}, tol=0.0).fit(X)
    start = small("DAMC", options={"device": "cpu", "max_epochs": 0}).fit(X)
    own, before = (
        torch.cat(
            [p.detach().ravel() for p in f._net.parts_["discriminators"].parameters()]
        )
        for f in (fitted, start)
    )
    assert not torch.equal(own, before)
    losses = [epoch["discriminator"] for epoch in fitted.history_[-3:]]
    assert all(np.isfinite(losses))


@pytest.mark.parametrize("observed", [None, [[1, 1, 0], [1, 0, 0], [1, 1, 1]]])
def test_means_of_others_leave_out_the_own_latent_and_what_is_missing(observed):
    latents = torch.arange(9.0).reshape(3, 3, 1) ** 2
    mask = None if observed is None else torch.tensor(observed, dtype=torch.bool)
    if mask is not None:
        latents = latents * mask.mT[..., None]
    means, counted = mean_of_others(latents, mask)
    for q in range(3):
        for v in range(3):
            rest = [w for w in range(3) if w != v and (mask is None or mask[q, w])]
            if counted is not None:
                assert bool(counted[q, v]) == (bool(mask[q, v]) and bool(rest))
            if rest:
                expected = sum(latents[w, q] for w in rest) / len(rest)
                torch.testing.assert_close(means[v, q], expected)


# Targets


def test_targets_are_held_constant_for_some_batches(monkeypatch):
    import mmfusion.nn._self_training as self_training

    monkeypatch.setattr(self_training, "REFRESH_STEPS", 6)
    fitted = small("dec", options={"max_epochs": 4}, tol=0.0).fit(X)
    targets, own = fitted._net.parts_["targets"].network, fitted.module_
    # three batches an epoch: the last refresh was two epochs before the end
    assert not torch.equal(targets.heads.centers, own.heads.centers)
    shorter = small(
        "dec", options={"max_epochs": 2, "lr_schedule": "constant"}, tol=0.0
    )
    longer = small("dec", options={"max_epochs": 4, "lr_schedule": "constant"}, tol=0.0)
    expected = shorter.fit(X).module_.heads.centers
    found = longer.fit(X)._net.parts_["targets"].network.heads.centers
    torch.testing.assert_close(found, expected.detach())


def test_training_ends_where_labels_no_longer_change():
    options = {"max_epochs": 60}
    fitted = small("dec", options=options, tol=0.5).fit(X)
    assert fitted.phase_epochs_["training"] < 60
    assert float(fitted._net.parts_["targets"].changed) < 0.5
    whole = small("dec", options={"max_epochs": 30}, tol=0.0).fit(X)
    assert whole.phase_epochs_["training"] == 30


# Limits


@DATA
def test_without_the_clustering_loss_dec_is_k_means(data):
    k_means = small("kmeans").fit(data)
    dec = small("dec", clustering_weight=0).fit(data)
    assert history(dec) == history(k_means)
    np.testing.assert_array_equal(dec.labels_, k_means.labels_)
    np.testing.assert_array_equal(dec.transform(data), k_means.transform(data))


def test_training_of_dec_begins_with_k_means():
    options = {"max_epochs": 0}
    dec = small("dec", options=options).fit(X)
    np.testing.assert_array_equal(
        dec.labels_, small("kmeans", options=options).fit(X).labels_
    )


@ALL_WAYS
def test_clusters_of_k_means_are_those_of_scikit_learn(way):
    options = {"pretrain_epochs": 20, "max_epochs": 0}
    fitted = small(way, encoders=[64, 16], options=options).fit(X)
    expected = KMeans(3, n_init=10, random_state=0).fit_predict(fitted.transform(X))
    assert adjusted_rand_score(expected, fitted.labels_) == 1


@ALL_WAYS
@DATA
def test_every_modality_has_total_variance_one(way, data):
    fitted = small(way, options={"max_epochs": 0}).fit(data)
    z = fitted.transform(data)
    for v in range(len(data.names)):
        own = z[data.observed[:, v], 5 * v : 5 * v + 5]
        np.testing.assert_allclose(own.mean(0), 0, atol=1e-4)
        assert own.var(0).sum() == pytest.approx(1, rel=1e-4)
        assert (z[~data.observed[:, v], 5 * v : 5 * v + 5] == 0).all()


@DATA
def test_without_adversaries_damc_is_dec(data):
    damc = small("DAMC", adversarial_weight=0).fit(data)
    dec = small("dec").fit(data)
    assert history(damc) == history(dec)
    np.testing.assert_array_equal(damc.transform(data), dec.transform(data))


def test_one_modality_has_no_adversaries():
    alone = small("DAMC").fit(X[["audio"]])
    assert history(alone) == history(small("dec").fit(X[["audio"]]))


# Recovery and missing modalities


@ALL_WAYS
@pytest.mark.parametrize("seed", range(2))
def test_clusters_that_modalities_share_are_found(way, seed):
    data, y = make_multimodal_blobs(
        200, (8, 6), centers=4, cluster_std=1.0, random_state=seed
    )
    fitted = small(way, **ENOUGH).set_params(n_clusters=4).fit(data[:150])
    assert adjusted_rand_score(y[:150], fitted.labels_) > 0.95
    assert adjusted_rand_score(y[150:], fitted.predict(data[150:])) > 0.95


@ALL_WAYS
def test_clusters_of_incomplete_samples_are_found(way):
    fitted = small(way, **ENOUGH).fit(GAPS)
    assert adjusted_rand_score(GAPS_Y, fitted.labels_) > 0.85
    np.testing.assert_array_equal(fitted.predict(GAPS), fitted.labels_)


@ALL_WAYS
def test_values_of_missing_modalities_do_not_matter(way):
    blocks = {name: GAPS[name].copy() for name in GAPS.names}
    for v, block in enumerate(blocks.values()):
        block[~GAPS.observed[:, v]] = 1e3
    other = Modalities(blocks, observed=GAPS.observed)
    fitted, expected = small(way).fit(other), small(way).fit(GAPS)
    np.testing.assert_array_equal(fitted.transform(other), expected.transform(GAPS))
    np.testing.assert_array_equal(fitted.labels_, expected.labels_)


# Outputs


@ALL_WAYS
def test_memberships_are_largest_in_the_own_cluster(way):
    fitted = small(way).fit(GAPS)
    memberships = fitted.predict_proba(GAPS)
    np.testing.assert_allclose(memberships.sum(1), 1)
    np.testing.assert_array_equal(memberships.argmax(1), fitted.labels_)


def test_transform_has_the_latents_of_all_modalities():
    fitted = small().fit(X)
    z, names = fitted.transform(X), fitted.get_feature_names_out()
    assert z.shape == (120, 10)
    assert len(names) == 10
    for v, latents in enumerate(fitted.modality_latents(X).values()):
        own = z[:, 5 * v : 5 * v + 5]
        corr = np.corrcoef(own.ravel(), (latents - latents.mean(0)).ravel())[0, 1]
        assert corr > 0.9999


@ALL_WAYS
def test_images_and_sparse_matrices_are_taken(way):
    rng = np.random.default_rng(0)
    photos = rng.normal(size=(120, 1, 5, 5)) + Y[:, None, None, None]
    photos[::4] = np.nan
    counts = sparse.csr_matrix(rng.poisson(1, size=(120, 9)) * (Y[:, None] + 1.0))
    mixed = Modalities({"photo": photos, "words": counts})
    fitted = small(way).fit(mixed)
    np.testing.assert_array_equal(fitted.predict(mixed), fitted.labels_)


@ALL_WAYS
def test_single_precision_stays(way):
    data = Modalities({name: X[name].astype(np.float32) for name in X.names})
    fitted = small(way).fit(data)
    assert fitted.transform(data).dtype == np.float32
    copied = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(
        copied.predict_proba(data), fitted.predict_proba(data)
    )


@ALL_WAYS
def test_mixed_precision_finds_the_clusters(way):
    options = {"pretrain_epochs": 40, "max_epochs": 10, "dtype": "bfloat16"}
    fitted = small(way, options=options).fit(X)
    assert adjusted_rand_score(Y, fitted.labels_) > 0.9


# Restarts, checkpoints, streams


@ALL_WAYS
def test_resumed_trainings_have_the_same_result(way, tmp_path):
    fitted = small(way, n_init=2).fit(X)
    folder = {"checkpoint_dir": tmp_path, "checkpoint_every": 1}
    for _ in range(2):
        resumed = small(way, n_init=2, options=folder).fit(X)
        assert history(resumed) == history(fitted)
        np.testing.assert_array_equal(resumed.labels_, fitted.labels_)
        np.testing.assert_array_equal(resumed.transform(X), fitted.transform(X))


def test_a_training_that_has_converged_stays_finished(tmp_path):
    def fit(**options):
        return small("dec", options={"max_epochs": 60} | options, tol=0.5).fit(X)

    whole = fit()
    for every in (1, 100, 1):
        folder = {"checkpoint_dir": tmp_path, "checkpoint_every": every}
        resumed = fit(**folder)
        assert history(resumed) == history(whole)
        np.testing.assert_array_equal(resumed.labels_, whole.labels_)
    folder = {"checkpoint_dir": tmp_path, "max_epochs": 60}
    unending = small("dec", options=folder, tol=0.0).fit(X)
    assert unending.phase_epochs_["training"] == 60


@ALL_WAYS
def test_restarts_in_processes_have_the_same_result(way):
    fitted = small(way, n_init=2).fit(X)
    apart = small(way, n_init=2, options={"n_jobs": 2}).fit(X)
    assert history(apart) == history(fitted)
    np.testing.assert_array_equal(apart.labels_, fitted.labels_)


@ALL_WAYS
def test_clusters_keep_their_names_in_a_stream(way):
    options = {"pretrain_epochs": 16, "max_epochs": 8, "batch_size": 20}
    clusterer = small(way, encoders=[64, 16], options=options)
    changes = []
    for call in range(24):
        chunk = slice(60 * (call % 2), 60 * (call % 2) + 60)
        before = clusterer.predict(X) if call else None
        clusterer.partial_fit(X[chunk])
        assert clusterer.n_iter_ == call + 1
        if before is not None:
            changes.append((clusterer.predict(X) != before).mean())
    assert np.max(changes) < 0.1
    assert adjusted_rand_score(Y, clusterer.predict(X)) > 0.95


def test_calls_of_few_samples_leave_the_centres():
    clusterer = small("kmeans").partial_fit(X)
    centers = clusterer.module_.heads.centers.clone()
    clusterer.partial_fit(X[:2])
    torch.testing.assert_close(clusterer.module_.heads.centers, centers)
    assert (
        small("dec", options={"pretrain_epochs": 1})
        .partial_fit(X)
        .partial_fit(X[:2])
        .predict(X)
        .max()
        > 0
    )


@ALL_WAYS
def test_equal_samples_are_no_error(way):
    data = Modalities({"a": np.ones((20, 2)), "b": np.ones((20, 3))})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        with pytest.warns(ConvergenceWarning, match="2 of 3 clusters are empty"):
            small(way).fit(data)


@pytest.mark.parametrize("value", [0.0, 0.1])
def test_a_constant_modality_does_not_take_over(value):
    """Rounding of constant latents is not scaled up to a variance of 1."""
    blocks = X.to_dict() | {"constant": np.full((len(X), 3), value)}
    clusterer = small("DAMC", **ENOUGH).fit(blocks)
    assert float(clusterer.module_.scales.max()) < 100
    assert len(np.unique(clusterer.labels_)) == 3
