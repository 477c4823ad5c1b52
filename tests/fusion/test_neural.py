"""Neural fusion: limits, missing modalities, weights, calibration, recovery."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV, cross_val_score
from skorch.callbacks import EarlyStopping
from torch import nn

from mmfusion import (
    LateFusionClassifier,
    Modalities,
    NeuralFusionClassifier,
    NeuralFusionRegressor,
    Trainer,
)
from mmfusion.datasets import make_multimodal_blobs
from mmfusion.nn._data import Batch
from mmfusion.nn._isolation import isolated
from mmfusion.nn._prediction import PredictionObjective
from mmfusion.nn.fusions import FUSIONS

X, Y = make_multimodal_blobs(
    60, {"audio": 3, "video": 4}, cluster_std=3.0, random_state=0
)
GAPS, _ = make_multimodal_blobs(
    60, {"audio": 3, "video": 4}, cluster_std=3.0, missing_rate=0.3, random_state=0
)
EASY, _ = make_multimodal_blobs(60, {"audio": 3, "video": 4}, random_state=0)
VALUES = np.column_stack([X["audio"][:, 0], X["video"] @ [1.0, 2.0, -1.0, 0.5]])


def small(cls=NeuralFusionClassifier, epochs=4, options=None, **params):
    options = {"batch_size": 20, "lr": 1e-2, "device": "cpu", "dtype": "float64"} | (
        options or {}
    )
    trainer = Trainer(max_epochs=epochs, **options)
    defaults = {"encoders": [8, 6], "n_members": 2, "random_state": 0}
    return cls(**defaults | params, trainer=trainer)


# Predictions


@pytest.mark.parametrize("fusion", list(FUSIONS))
def test_what_a_missing_cell_holds_changes_nothing(fusion):
    fitted = small(fusion=fusion).fit(GAPS, Y)
    observed = GAPS.observed
    results = []
    for value in (0.0, 1e30, np.nan):
        blocks = [
            np.where(o[:, None], X[n], value)
            for n, o in zip(X.names, observed.T, strict=True)
        ]
        other = Modalities(blocks, names=X.names, observed=observed)
        again = small(fusion=fusion).fit(other, Y)
        results.append((again.predict_proba(other), fitted.predict_proba(other)))
    for found in results:
        assert_array_equal(found[0], results[0][0])
        assert_array_equal(found[1], results[0][0])


@pytest.mark.parametrize("cls", [NeuralFusionClassifier, NeuralFusionRegressor])
def test_a_sample_alone_is_predicted_as_among_others(cls):
    fitted = small(cls).fit(GAPS, Y)
    whole = fitted.predict(GAPS)
    alone = np.concatenate([fitted.predict(GAPS[[i]]) for i in range(10)])
    assert_allclose(alone, whole[:10], rtol=1e-12)
    order = np.random.default_rng(0).permutation(60)
    assert_allclose(fitted.predict(GAPS[order]), whole[order], rtol=1e-12)


def test_the_probabilities_are_the_mean_of_the_members():
    fitted = small(n_members=3).fit(X, Y)
    of_members = fitted._collect(X, lambda out: out.hidden.softmax(-1).transpose(0, 1))
    assert_allclose(fitted.predict_proba(X), of_members[0].mean(1), rtol=1e-12)
    assert np.ptp(of_members[0], axis=1).max() > 1e-3


def test_late_fusion_is_the_mean_of_the_modalities():
    fitted = small(fusion="late", n_members=1).fit(GAPS, Y)
    by_modality = np.stack([*fitted.modality_probabilities(GAPS).values()])
    assert_allclose(
        fitted.predict_proba(GAPS), np.nanmean(by_modality, axis=0), rtol=1e-10
    )
    assert set(fitted.history_[-1]) >= {"late", "train_loss"}


def test_predictions_of_modalities_are_labels_as_in_late_fusion():
    names = np.array(["no", "yes", "maybe"])[Y]
    network = small(epochs=30).fit(GAPS, names)
    found = network.modality_predictions(GAPS)
    late = LateFusionClassifier().fit(GAPS, names).modality_predictions(GAPS)
    assert found.shape == late.shape
    assert found.dtype == late.dtype
    assert np.array_equal(found == None, late == None)  # noqa: E711
    probabilities = network.modality_probabilities(GAPS)["video"]
    seen = ~np.isnan(probabilities[:, 0])
    assert np.array_equal(seen, GAPS.observed[:, 1])
    likeliest = network.classes_[probabilities[seen].argmax(axis=1)]
    assert found[seen, 1].tolist() == likeliest.tolist()


def test_linear_layers_of_one_modality_are_logistic_regression():
    audio = X["audio"]
    options = {
        "batch_size": 60,
        "weight_decay": 0.0,
        "lr": 0.05,
        "optimizer": "adam",
    }
    network = small(
        epochs=400,
        options=options,
        fusion="mean",
        encoders=[5],
        dropout=0.0,
        modality_noise=0.0,
        modality_loss_weight=0.0,
    ).fit(audio, Y)
    logistic = LogisticRegression(C=np.inf, max_iter=1000).fit(audio, Y)
    expected = log_loss(Y, logistic.predict_proba(audio))
    assert log_loss(Y, network.predict_proba(audio)) == pytest.approx(
        expected, abs=1e-3
    )


def test_samples_without_modalities_get_the_prior():
    empty = X.copy()
    empty = Modalities(
        X.blocks, names=X.names, observed=np.arange(60)[:, None] >= [6, 6]
    )
    fitted = small().fit(empty, Y)
    prior = np.bincount(Y) / 60
    assert_allclose(fitted.predict_proba(empty)[:6], np.tile(prior, (6, 1)))
    shares = np.log(prior)
    assert_allclose(fitted.decision_function(empty)[:6], np.tile(shares, (6, 1)))
    assert (fitted.modality_gates(empty)[:6] == 0).all()
    values = small(NeuralFusionRegressor).fit(empty, VALUES)
    assert_allclose(
        values.predict(empty)[:6], np.tile(VALUES.mean(0), (6, 1)), rtol=1e-6
    )
    with pytest.raises(ValueError, match="sample 0 lacks every modality"):
        small(on_empty="raise").fit(empty, Y)


@pytest.mark.parametrize(
    "fusion",
    [
        nn.Module,
        lambda n_modalities, width: Sum(),
    ],
    ids=["module", "factory"],
)
def test_fusion_takes_modules_of_the_user(fusion):
    given = Sum() if fusion is nn.Module else fusion
    fitted = small(fusion=given).fit(GAPS, Y)
    latents = fitted.modality_latents(GAPS)
    total = sum(np.nan_to_num(latent) for latent in latents.values())
    assert_allclose(fitted.transform(GAPS), total)


class Sum(nn.Module):
    """Sum of the latents."""

    def forward(self, latents, observed):
        return (latents * observed.mT[..., None]).sum(0)


def test_errors_of_a_module_name_fusion():
    class Broken(nn.Module):
        def forward(self, latents, observed):
            return latents[0].sum()

    with pytest.raises(ValueError, match="the module in fusion"):
        small(fusion=Broken()).fit(X, Y)
    with pytest.raises(ValueError, match="factory in fusion returned a NoneType"):
        small(fusion=lambda n_modalities, width: None).fit(X, Y)


def test_different_widths_are_those_of_one_member():
    encoders = {"audio": [8, 6], "video": [8, 5]}
    with pytest.raises(ValueError, match=r"\{'audio': 6, 'video': 5\}"):
        small(encoders=encoders, n_members=3).fit(X, Y)


# Targets


def test_several_labels_and_several_values():
    labels = np.column_stack([Y == 0, Y > 0, Y < 2]).astype(int)
    classifier = small(epochs=30).fit(EASY, labels)
    assert classifier.predict_proba(EASY).shape == (60, 3)
    assert (classifier.predict(EASY) == labels).mean() > 0.9
    regressor = small(NeuralFusionRegressor, epochs=30).fit(X, VALUES)
    assert regressor.predict(X).shape == (60, 2)
    assert regressor.score(X, VALUES) > 0.6
    assert regressor.modality_predictions(X).shape == (60, 2, 2)


def test_predicted_deviations_are_those_of_the_noise():
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, (600, 1))
    y = x[:, 0] + np.where(x[:, 0] > 0, 1.0, 0.1) * rng.normal(size=600)
    fitted = small(
        NeuralFusionRegressor,
        epochs=40,
        loss="gaussian_nll",
        dropout=0.0,
        modality_noise=0.0,
        encoders=[16, 8],
    ).fit(x, y)
    mean, std = fitted.predict(np.array([[-0.5], [0.5]]), return_std=True)
    assert_allclose(mean, [-0.5, 0.5], atol=0.2)
    assert_allclose(std, [0.1, 1.0], rtol=0.4)
    fitted = small(NeuralFusionRegressor).fit(X, Y).set_params(loss="gaussian_nll")
    with pytest.raises(ValueError, match="loss='squared_error' has none"):
        fitted.predict(X, return_std=True)
    assert len(fitted.fit(X, Y).predict(X, return_std=True)) == 2
    far = {"audio": X["audio"] * 1e300, "video": X["video"]}
    with pytest.raises(ValueError, match="fit float64: look for values far"):
        fitted.modality_predictions(far)


def test_class_weights_are_weights_of_samples():
    weights = {0: 1.0, 1: 5.0, 2: 0.5}
    by_class = small(class_weight=weights, scaling=None).fit(X, Y)
    by_sample = small(scaling=None).fit(X, Y, [weights[y] for y in Y])
    assert_array_equal(by_class.predict_proba(X), by_sample.predict_proba(X))


def test_chunks_are_trained_with_all_classes():
    # over whose epochs learning rates fall
    classifier = small(epochs=60, options={"lr": 0.05})
    for _ in range(30):
        for start in (0, 30):
            rows = slice(start, start + 30)
            classifier.partial_fit(EASY[rows], Y[rows], classes=[0, 1, 2, 3])
    assert classifier.classes_.tolist() == [0, 1, 2, 3]
    assert classifier.score(EASY, Y) > 0.9
    with pytest.raises(ValueError, match="holds 7"):
        classifier.partial_fit(EASY, np.full(60, 7))


# Training


def corrupted(observed=None, **params):
    params = {"modality_dropout": 0.0, "modality_noise": 0.0} | params
    objective = PredictionObjective(modality_loss_weight=0.3, **params)
    inputs = [torch.zeros(2000, 2), torch.zeros(2000, 3), torch.zeros(2000, 1)]
    with isolated(0):
        return objective.corrupt(Batch(inputs, observed))


@pytest.mark.parametrize("unit", [1e300, 1e-300])
@pytest.mark.parametrize("cls", [NeuralFusionClassifier, NeuralFusionRegressor])
def test_the_unit_of_weights_changes_nothing(cls, unit):
    options = {"dtype": "float32"}
    weights = np.arange(60) % 3
    expected = small(cls, options=options).fit(X, Y, weights).predict(X)
    found = small(cls, options=options).fit(X, Y, weights * unit).predict(X)
    assert_allclose(found, expected, rtol=1e-5)


def test_calls_may_lack_classes_of_class_weight():
    weights = {0: 2.0, 2: 3.0}
    classifier = small(class_weight=weights)
    classifier.partial_fit(X, Y, classes=[0, 1, 2])
    rows = np.flatnonzero(Y < 2)
    classifier.partial_fit(X[rows], Y[rows])
    again = small().partial_fit(X, Y, [0, 1, 2], np.array([2.0, 1.0, 3.0])[Y])
    again.partial_fit(X[rows], Y[rows], sample_weight=np.array([2.0, 1.0])[Y[rows]])
    assert_allclose(classifier.predict_proba(X), again.predict_proba(X))


@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_an_estimator_whose_first_call_failed_is_not_fitted():
    classifier = small()
    with pytest.raises(ValueError, match="is not one of the classes"):
        classifier.partial_fit(X, Y, classes=[7, 8])
    with pytest.raises(NotFittedError):
        classifier.predict(X)
    assert classifier.partial_fit(X, Y).classes_.tolist() == [0, 1, 2]


def test_dropped_modalities_leave_one():
    observed = torch.ones(2000, 3, dtype=torch.bool)
    observed[:500, 1:] = False
    batch = corrupted(observed, modality_dropout=0.4)
    assert batch.observed.any(1).all()
    assert not (batch.observed & ~observed).any()
    assert batch.observed[:500, 0].all()
    # each is dropped with 0.4, unless it is the last one, which all would be
    kept = batch.observed[500:].double().mean().item()
    assert kept == pytest.approx(1 - (0.4 - 0.4**3 / 3), abs=0.02)


def test_noise_has_the_stated_share_and_deviation():
    batch = corrupted(modality_noise=0.5)
    noisy = (batch.inputs[1] != 0).all(1)
    assert noisy.double().mean().item() == pytest.approx(0.5, abs=0.04)
    variance = batch.inputs[1][noisy].square().mean().item()
    assert variance == pytest.approx(16 / 3, rel=0.1)  # of a deviation in [0, 4]


def test_an_interrupted_training_ends_as_one_that_was_not(tmp_path):
    whole = small(epochs=6).fit(GAPS, Y)
    options = {"checkpoint_dir": tmp_path, "checkpoint_every": 2}

    class Stop(EarlyStopping):
        def on_epoch_end(self, net, **kwargs):
            if len(net.history) == 4:
                raise RuntimeError("stopped")

    with pytest.raises(RuntimeError):
        small(epochs=6, options=options | {"callbacks": [Stop("train_loss")]}).fit(
            GAPS, Y
        )
    resumed = small(epochs=6, options=options).fit(GAPS, Y)
    assert_array_equal(resumed.predict_proba(GAPS), whole.predict_proba(GAPS))
    # other targets are another training
    other = small(epochs=6, options=options).fit(GAPS, Y[::-1])
    assert other.history_[0]["train_loss"] != whole.history_[0]["train_loss"]


def test_the_epoch_of_the_lowest_validation_loss_is_restored():
    fitted = small(epochs=60, validation_fraction=0.3, options={"lr": 0.1}).fit(X, Y)
    losses = [epoch["valid_loss"] for epoch in fitted.history_]
    assert fitted.loss_ == pytest.approx(min(losses), rel=1e-6)
    assert min(losses) < losses[-1]


def test_callbacks_monitor_the_validation_loss():
    callbacks = [EarlyStopping("valid_loss", patience=3)]
    fitted = small(
        epochs=200, validation_fraction=0.3, options={"callbacks": callbacks, "lr": 0.1}
    ).fit(X, Y)
    assert fitted.n_iter_ < 200


def test_temperature_lowers_the_loss_of_an_overconfident_network():
    rng = np.random.default_rng(0)
    X_noise = rng.normal(size=(200, 5))
    y = (X_noise[:, 0] + rng.normal(scale=2.0, size=200) > 0).astype(int)
    X_new = rng.normal(size=(2000, 5))
    y_new = (X_new[:, 0] + rng.normal(scale=2.0, size=2000) > 0).astype(int)
    # selection_every: the last epoch, which is too sure
    params = {"epochs": 60, "dropout": 0.0, "modality_noise": 0.0, "n_members": 1}
    options = {"selection_every": 60, "lr": 0.05, "weight_decay": 0.0}
    plain = small(**params, options=options, validation_fraction=0.3).fit(X_noise, y)
    tempered = small(
        **params,
        options=options,
        validation_fraction=0.3,
        calibration="temperature",
    ).fit(X_noise, y)
    assert tempered.temperature_ > 1.2
    losses = [log_loss(y_new, m.predict_proba(X_new)) for m in (plain, tempered)]
    assert losses[1] < losses[0]
    assert_array_equal(plain.predict(X_new), tempered.predict(X_new))
    with pytest.raises(ValueError, match="validation_fraction"):
        small(calibration="temperature").fit(X, Y)


def test_temperature_of_held_out_samples_predicted_right_is_not_near_zero():
    y = np.arange(60) % 2
    X = np.random.default_rng(0).normal(size=(60, 5)) + 6 * y[:, None]
    params = {"validation_fraction": 0.2, "calibration": "temperature"}
    fitted = small(epochs=20, **params).fit(X, y)
    assert fitted.score(X, y) == 1
    assert fitted.temperature_ > 0.1
    labels = small(epochs=20, **params).fit(X, np.column_stack([y, 1 - y]))
    assert labels.temperature_ > 0.1


@pytest.mark.parametrize(
    ("cls", "fraction"),
    [
        (NeuralFusionClassifier, 0.02),
        (NeuralFusionClassifier, 0.98),
        (NeuralFusionRegressor, 0.98),
    ],
)
def test_too_small_parts_are_refused_and_the_remedy_works(cls, fraction):
    target = [0, 1, 2, 0, 1, 2]
    with pytest.raises(ValueError, match=r"validation_fraction.*give 0\.5, or 0"):
        small(cls, validation_fraction=fraction).fit(X[:6], target)
    for remedy in (0.5, 0):
        small(cls, validation_fraction=remedy).fit(X[:6], target)


def test_a_search_chooses_the_fusion():
    search = GridSearchCV(
        small(epochs=40), {"fusion": ["gated", "low_rank"], "trainer__lr": [5e-2]}, cv=2
    )
    assert search.fit(EASY, Y).best_score_ > 0.9


# Recovery


def test_multiplicative_fusion_learns_an_interaction_that_late_fusion_cannot():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 600, 3))
    y = (a[:, 0] * b[:, 0] > 0).astype(int)
    data = Modalities({"a": a, "b": b})
    params = {"epochs": 40, "modality_dropout": 0.0, "modality_noise": 0.0}
    options = {"batch_size": 64}
    low_rank = small(fusion="low_rank", dropout=0.0, **params, options=options)
    late = small(fusion="late", **params, options=options)
    assert cross_val_score(low_rank, data, y, cv=2).mean() >= 0.93
    assert cross_val_score(late, data, y, cv=2).mean() <= 0.6


def test_a_useless_modality_has_the_lowest_gate():
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(60, 5))
    data = Modalities({"noise": noise, "audio": X["audio"], "video": X["video"]})
    fitted = small(fusion="attention", epochs=60).fit(data, Y)
    assert fitted.modality_weights_.argmin() == 0
    assert_allclose(fitted.modality_weights_.sum(), 1)
    assert_allclose(fitted.modality_gates(data).mean(0), fitted.modality_weights_)
