"""EAMC never collapses silently: it recovers, or warns or fails with a remedy."""

import warnings

import numpy as np
import pytest
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import adjusted_rand_score
from skorch.callbacks import Callback

from .small import X, Y, small


class Poison(Callback):
    """Turns the first networks that reach a phase into NaN."""

    def __init__(self, phase, n_networks=1):
        self.phase, self.n_networks = phase, n_networks

    def initialize(self):
        self.victims = getattr(self, "victims", [])
        return self

    def on_epoch_begin(self, net, **kwargs):
        if net.phase_name_ != self.phase or len(self.victims) == self.n_networks:
            return
        self.victims.append(net)
        with torch.no_grad():
            for parameter in net.module_.parameters():
                parameter.fill_(torch.nan)


@pytest.mark.parametrize("phase", ["pretraining", "adversarial training"])
def test_losses_that_are_never_finite_are_reported_with_the_remedy(phase):
    poison = Poison(phase, n_networks=2)
    with pytest.raises(FloatingPointError, match=r"every restart: lower trainer__lr"):
        small(n_init=2, callbacks=[poison]).fit(X)
    assert len(poison.victims) == 2


def test_a_rate_beyond_measure_is_reported_too():
    with pytest.raises(FloatingPointError, match=r"every restart: lower trainer__lr"):
        small(lr=1e30, clip_norm=None, pretrain_epochs=0, max_epochs=4).fit(X)


def test_a_chunk_whose_loss_is_not_finite_is_reported():
    model = small(callbacks=[Poison("adversarial training")], pretrain_epochs=2)
    model.partial_fit(X).partial_fit(X)
    with pytest.raises(FloatingPointError, match=r"call 3 .*lower trainer__lr"):
        model.partial_fit(X)


@pytest.mark.parametrize(
    ("phase", "params"),
    [
        ("pretraining", {}),
        ("adversarial training", {}),
        ("adversarial training", {"pretrain_epochs": 0, "max_epochs": 6}),
    ],
    ids=["pretraining", "after pretraining", "alone"],
)
def test_another_restart_takes_over_when_one_becomes_nan(phase, params):
    poison = Poison(phase)
    fitted = small(n_init=3, callbacks=[poison], **params).fit(X)
    assert len(poison.victims) == 1
    assert np.isfinite(fitted.loss_)
    assert np.isfinite(fitted.transform(X)).all()
    assert len(fitted.init_scores_) == 3
    if not (phase == "adversarial training" and fitted.trainer.pretrain_epochs):
        assert np.isinf(fitted.init_scores_).sum() == 1
    if fitted.trainer.pretrain_epochs:
        assert adjusted_rand_score(Y, fitted.labels_) > 0.7


def test_dead_clusters_are_reported_with_the_remedy():
    two_points = np.repeat([[0.0, 1.0], [1.0, 0.0]], 30, axis=0)
    with pytest.warns(ConvergenceWarning, match=r"1 of 3 clusters are empty.*n_init"):
        fitted = small(n_init=2).fit([two_points, 1 - two_points])
    assert len(np.unique(fitted.labels_)) == 2
    assert np.isfinite(fitted.transform([two_points, 1 - two_points])).all()


def test_samples_that_are_all_equal_do_not_become_nan():
    ones = np.ones((40, 3))
    with pytest.warns(ConvergenceWarning, match=r"2 of 3 clusters are empty"):
        fitted = small().fit([ones, ones])
    assert len(np.unique(fitted.labels_)) == 1
    for epoch in fitted.history_:
        assert np.isfinite(epoch["train_loss"])


def test_discriminators_that_win_are_reported_with_the_remedy():
    with pytest.warns(
        ConvergenceWarning,
        match=r"reference.*lower the learning rate of the discriminators",
    ):
        small(
            adversary={"gradient_penalty": 0.0},
            lr={"discriminators": 1e-2},
            adversarial_weight=1e-6,
            max_epochs=15,
        ).fit(X)


def test_the_alarm_rings_by_default_where_encoders_do_not_move():
    # a penalty bounds how confident discriminators are, not how often they are right
    still = {"lr": {"network": 1e-12, "discriminators": 1e-2}, "max_epochs": 15}
    with pytest.warns(ConvergenceWarning, match="separate the modalities"):
        fitted = small(**still).fit(X)
    assert fitted.history_[-1]["accuracy"] > 0.995


def test_the_alarm_is_silent_about_discriminators_that_guess():
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        fitted = small(lr={"discriminators": 1e-12}, max_epochs=15).fit(X)
    assert fitted.history_[-1]["accuracy"] < 0.9
