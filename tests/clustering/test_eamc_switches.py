"""Every part of EAMC can be switched off; what is on is trained and recorded."""

from itertools import combinations

import numpy as np
import pytest
import torch
from sklearn.exceptions import ConvergenceWarning

from mmfusion import Trainer
from mmfusion.clustering import EAMCClusterer
from mmfusion.clustering.eamc._objective import EAMCObjective
from mmfusion.nn._training import evaluate_losses

from .small import X, nested, small

PRETRAINING = {"disagreement", "imbalance"}
ADVERSARY = {"generator", "discriminator", "accuracy"}
ATTENTION = {"attention", "inequality"}
CLUSTERING = ("separation", "simplex", "confidence")


def terms(epoch):
    return set(epoch) - {"epoch", "batches", "phase", "train_loss"}


def check_terms(fitted, expected):
    assert len(fitted.history_) == fitted.n_iter_ == 6
    assert all(terms(epoch) == PRETRAINING for epoch in fitted.history_[:4])
    assert all(terms(epoch) == expected for epoch in fitted.history_[4:])
    for epoch in fitted.history_:
        assert all(np.isfinite(epoch[name]) for name in [*terms(epoch), "train_loss"])


def test_all_terms_are_on_with_attention():
    check_terms(small().fit(X), {*CLUSTERING, *ATTENTION, *ADVERSARY})


def test_the_default_has_an_adversary_and_equal_weights():
    default = EAMCClusterer()
    assert default.attention_temperature is None
    assert default.adversarial_weight > 0
    assert default._settings().gradient_penalty > 0


def test_no_adversary():
    fitted = small(adversarial_weight=0).fit(X)
    check_terms(fitted, {*CLUSTERING, *ATTENTION})


def test_no_attention():
    fitted = small(attention_temperature=None).fit(X)
    check_terms(fitted, {*CLUSTERING, *ADVERSARY})
    np.testing.assert_allclose(fitted.attention_weights_, 1 / 2)


def test_attention_as_printed_is_not_held_near_equal_weights():
    printed = small(pretrain_epochs=0, max_epochs=1).fit(X)
    assert "inequality" not in terms(printed.history_[0])


def test_attention_without_its_loss():
    fitted = small(attention_weight=0).fit(X)
    check_terms(fitted, {*CLUSTERING, "inequality", *ADVERSARY})
    assert fitted.attention_weights_[0] != fitted.attention_weights_[1]


@pytest.mark.parametrize(
    "on", [on for n in (1, 2) for on in combinations(CLUSTERING, n)], ids=str
)
def test_clustering_terms_alone_and_in_pairs(on):
    off = {f"{name}_weight": 0 for name in CLUSTERING if name not in on}
    check_terms(small(**off).fit(X), {*on, *ATTENTION, *ADVERSARY})


def test_adversarial_training_without_any_term_is_refused():
    off = {f"{name}_weight": 0 for name in (*CLUSTERING, "adversarial", "attention")}
    with pytest.raises(ValueError, match="max_epochs=0"):
        small(**off).fit(X)
    assert small(**off, max_epochs=0).fit(X).n_iter_ == 4


def test_the_loss_is_the_weighted_sum_of_its_terms():
    weights = {"separation": 2.0, "simplex": 0.5, "balance": 0.3, "attention": 0.7}
    weights["confidence"] = 3.0
    fitted = small(
        **{f"{name}_weight": w for name, w in weights.items()}, adversarial_weight=0.2
    ).fit(X)
    for epoch in fitted.history_[4:]:
        loss = sum(w * epoch[name] for name, w in weights.items())
        loss += 0.2 * epoch["generator"] + 0.1 * epoch["inequality"]
        assert epoch["train_loss"] == pytest.approx(loss, rel=1e-5)


def test_each_regularizer_alone_has_its_own_value():
    once = {"pretrain_epochs": 0, "max_epochs": 1, "lr": 1e-12}
    confidence = small(**once).fit(X).history_[0]
    balance = small(**once, confidence_weight=0, balance_weight=1).fit(X).history_[0]
    # the same network, hardly trained: only the regularisers differ
    assert balance["separation"] == pytest.approx(confidence["separation"], rel=1e-4)
    assert balance["balance"] != pytest.approx(confidence["confidence"], rel=1e-2)
    assert 0 < balance["balance"] <= 1
    assert 0 < confidence["confidence"] <= 20 / 2  # a batch over pairs of clusters
    assert "balance" not in confidence
    assert "confidence" not in balance


def test_alternating_batches_train_either_side():
    both = small(adversary={"alternate": False}).fit(X)
    turns = small(adversary={"alternate": True}).fit(X)
    check_terms(turns, {*CLUSTERING, *ATTENTION, *ADVERSARY})
    assert turns.history_[-1]["discriminator"] != both.history_[-1]["discriminator"]
    # means over the batches on which a side learns
    assert 0.5 < turns.history_[4]["discriminator"] < 3


def test_both_sides_learn_where_an_epoch_has_one_batch():
    alone = {"batch_size": 200, "adversarial_weight": 0.03}
    both = small(adversary={"alternate": False}, **alone).fit(X)
    turns = small(adversary={"alternate": True}, **alone).fit(X)
    assert turns.history_ == both.history_
    assert "discriminator" in turns.history_[-1]


def test_a_hot_attention_weighs_alike():
    hot = small(attention_temperature=1e6).fit(X)
    np.testing.assert_allclose(hot.attention_weights_, 1 / 2, atol=1e-6)


def test_attention_is_bounded_by_its_temperature():
    weights = small(attention_temperature=10.0, lr=0.05, max_epochs=5).fit(X)
    ratio = np.max(weights.attention_weights_) / np.min(weights.attention_weights_)
    assert ratio <= np.exp(1 / 10) + 1e-6


def test_the_reference_is_given_by_name_or_position():
    named, placed, last = (
        small(reference_modality=which).fit(X).history_[-1]["discriminator"]
        for which in ("video", 1, -1)
    )
    first = small().fit(X).history_[-1]["discriminator"]
    assert named == placed == last != first


@pytest.mark.parametrize("which", ["touch", 2, -3])
def test_a_reference_that_is_no_modality_is_refused(which):
    with pytest.raises(ValueError, match=r"reference_modality=.*'audio', 'video'"):
        small(reference_modality=which).fit(X)


def test_either_phase_may_be_left_out():
    alone = small(pretrain_epochs=0).fit(X)
    assert all("separation" in epoch for epoch in alone.history_)
    assert alone.n_iter_ == 2
    pretrained = small(max_epochs=0).fit(X)
    assert all(terms(epoch) == PRETRAINING for epoch in pretrained.history_)
    np.testing.assert_allclose(pretrained.attention_weights_, 1 / 2)


def test_attention_learns_at_its_own_rate():
    still = small(lr={"attention": 1e-12}).fit(X).attention_weights_
    moved = small(lr={"attention": 0.1}).fit(X).attention_weights_
    assert np.ptp(still) < 1e-6 < np.ptp(moved)


def test_selection_goes_back_to_the_epoch_of_the_lowest_loss():
    params = {"max_epochs": 8, "lr": 0.05, "lr_schedule": "constant"}
    last = small(**params).fit(X)
    best = small(**params, selection_every=1).fit(X)
    assert best.loss_ <= last.loss_
    assert best.n_iter_ == last.n_iter_


def test_the_preset_is_the_paper_as_far_as_it_is_known():
    paper = EAMCClusterer.paper(7, random_state=0)
    assert paper.n_clusters == 7
    known = {
        "encoders": (200, 200, 500),
        "attention_temperature": 10.0,
        "attention_weight": 100.0**2,  # the printed sum over the pairs of a batch
        "adversarial_weight": 10.0,
        "confidence_weight": 1.0,
        "balance_weight": 0.0,
        "kernel_width": 0.15,
        "reference_modality": 0,
        "n_init": 20,
        "trainer__pretrain_epochs": 0,
        "trainer__max_epochs": 500,
        "trainer__batch_size": 100,
        "trainer__lr": {"network": 1e-5, "attention": 1e-4, "discriminators": 1e-3},
        "trainer__lr_schedule": "constant",
        "trainer__clip_norm": 0.5,
        "trainer__adversary": {"alternate": True, "gradient_penalty": 0.0},
        "trainer__selection": "total",
        "trainer__selection_every": 5,
    }
    params = paper.get_params()
    assert {name: params[name] for name in known} == known
    betas = paper._settings().betas
    assert betas == {"network": (0.95, 0.999), "discriminators": (0.5, 0.999)}


def test_the_preset_takes_options_and_trainers():
    rates = {"network": 0.1, "attention": 1e-4, "discriminators": 1e-3}
    by_option = EAMCClusterer.paper(3, trainer__lr=0.1, trainer__batch_size=20)
    trainer = Trainer(lr={"network": 0.1}, batch_size=20, device="cpu")
    by_trainer = EAMCClusterer.paper(3, trainer=trainer)
    for paper in (by_option, by_trainer):
        assert paper.trainer.lr == rates
        assert paper.attention_weight == 20.0**2
        assert paper.trainer.max_epochs == 500
    assert by_trainer.trainer.device == "cpu"
    assert trainer.max_epochs is None  # a trainer that is given stays as it is
    assert (
        EAMCClusterer.paper(60, trainer__batch_size="auto").attention_weight == 120**2
    )


@pytest.mark.filterwarnings("ignore:EAMCClusterer is not healthy")  # as printed
def test_the_preset_runs_and_gives_way_to_parameters():
    few = {"trainer__max_epochs": 10, "trainer__batch_size": 40}
    paper = EAMCClusterer.paper(3, encoders=[16, 8], n_init=1, random_state=0, **few)
    fitted = paper.fit(X)
    assert fitted.transform(X).shape == (120, 8)
    assert fitted.n_iter_ == 10
    assert all(
        terms(e) == {*CLUSTERING, "attention", *ADVERSARY} for e in fitted.history_
    )


def test_parameters_have_the_type_of_the_precision():
    for dtype, kind in [("float64", torch.float64), ("bfloat16", torch.float32)]:
        fitted = small(dtype=dtype).fit(X)
        check_terms(fitted, {*CLUSTERING, *ATTENTION, *ADVERSARY})
        assert {p.dtype for p in fitted._net.module_.parameters()} == {kind}


def test_precisions_agree_on_the_losses_of_the_first_epoch():
    first = {
        dtype: small(dtype=dtype, pretrain_epochs=0, max_epochs=1).fit(X).history_[0]
        for dtype in ("float64", "float32", "bfloat16")
    }
    for name in terms(first["float64"]) - {"accuracy"}:
        exact = first["float64"][name]
        assert first["float32"][name] == pytest.approx(exact, rel=1e-3), name
        assert first["bfloat16"][name] == pytest.approx(exact, rel=0.2), name


def preset(**params):
    """Make a short training of the preset."""
    few = {"max_epochs": 10, "batch_size": 40, "lr": 1e-3}
    small = {"encoders": [16, 8], "n_init": 3, "random_state": 0}
    return EAMCClusterer.paper(3, **(small | nested(few | params)))


@pytest.mark.parametrize("selection", ["total", "clustering"])
def test_only_the_preset_reports_the_lowest_loss_whatever_its_problems(
    monkeypatch, selection
):
    scores = preset(selection=selection).fit(X).init_scores_

    def examine(self, net, data):
        loss = evaluate_losses(net, data, self._seed)[selection]
        lowest = loss == pytest.approx(min(scores))
        return np.zeros(len(X)), ["of the lowest loss"] * lowest

    monkeypatch.setattr(EAMCClusterer, "_examine", examine)
    monkeypatch.setattr(EAMCObjective, "find_problems", lambda self, net: [])
    if selection == "total":
        with pytest.warns(ConvergenceWarning, match="of the lowest loss"):
            found = preset(selection=selection).fit(X)
        assert found.loss_ == min(scores)
    else:
        assert preset(selection=selection).fit(X).loss_ == sorted(scores)[1]


@pytest.mark.filterwarnings("ignore:EAMCClusterer is not healthy")  # as printed
def test_the_total_of_a_kept_epoch_is_that_against_its_own_discriminators():
    fitted = preset(selection_every=1, n_init=1, max_epochs=20).fit(X)
    assert fitted.loss_ == pytest.approx(fitted._net.best_loss_)


@pytest.mark.filterwarnings("ignore:EAMCClusterer is not healthy")
@pytest.mark.filterwarnings("ignore:EAMCClusterer is not healthy")  # as printed
def test_attention_starts_at_random_where_there_is_no_pretraining():
    begun = {"max_epochs": 0, "n_init": 1}
    weights = preset(**begun).fit(X).module_.attention.layers[-1].weight
    assert float(weights.detach().std()) == pytest.approx(np.sqrt(2 / 50), rel=0.3)
    equal = (
        preset(**begun, pretrain_epochs=2).fit(X).module_.attention.layers[-1].weight
    )
    assert not equal.any()
