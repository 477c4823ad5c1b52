"""Every part of EAMC can be switched off; what is on is trained and recorded."""

from itertools import combinations

import numpy as np
import pytest
import torch

from mmfusion.clustering import EAMCClusterer

from .small import FEW_EPOCHS, X, small

WARM = {"disagreement", "imbalance"}
GAME = {"generator", "discriminator", "accuracy"}
CLUSTERING = ("sc", "sim", "reg")


def terms(epoch):
    return set(epoch) - {"epoch", "batches", "train_loss"}


def check_terms(fitted, expected):
    assert len(fitted.history_) == fitted.n_iter_ == 6
    assert all(terms(epoch) == WARM for epoch in fitted.history_[:4])
    assert all(terms(epoch) == expected for epoch in fitted.history_[4:])
    for epoch in fitted.history_:
        assert all(np.isfinite(epoch[name]) for name in [*terms(epoch), "train_loss"])


def test_all_terms_are_on_by_default():
    check_terms(small().fit(X), {*CLUSTERING, "attention", *GAME})


def test_no_adversary():
    fitted = small(adversarial_weight=0).fit(X)
    check_terms(fitted, {*CLUSTERING, "attention"})


def test_no_attention():
    fitted = small(attention=False).fit(X)
    check_terms(fitted, {*CLUSTERING, *GAME})
    np.testing.assert_allclose(fitted.attention_weights_, 1 / 2)


def test_attention_without_its_loss():
    fitted = small(attention_weight=0).fit(X)
    check_terms(fitted, {*CLUSTERING, *GAME})
    assert fitted.attention_weights_[0] != fitted.attention_weights_[1]


@pytest.mark.parametrize(
    "on", [on for n in (1, 2) for on in combinations(CLUSTERING, n)], ids=str
)
def test_clustering_terms_alone_and_in_pairs(on):
    off = {f"{name}_weight": 0 for name in CLUSTERING if name not in on}
    check_terms(small(**off).fit(X), {*on, "attention", *GAME})


def test_a_game_without_any_term_is_refused():
    off = {f"{name}_weight": 0 for name in (*CLUSTERING, "adversarial", "attention")}
    with pytest.raises(ValueError, match="max_epochs=0"):
        small(**off).fit(X)
    assert small(**off, max_epochs=0).fit(X).n_iter_ == 4


def test_the_loss_is_the_weighted_sum_of_its_terms():
    weights = {"sc": 2.0, "sim": 0.5, "reg": 3.0, "attention": 0.7}
    fitted = small(
        **{f"{name}_weight": w for name, w in weights.items()}, adversarial_weight=0.2
    ).fit(X)
    for epoch in fitted.history_[4:]:
        loss = sum(w * epoch[name] for name, w in weights.items())
        loss += 0.2 * epoch["generator"]
        assert epoch["train_loss"] == pytest.approx(loss, rel=1e-5)


def test_regularizers_are_what_they_say():
    fitted = [
        small(regularizer=form, pretrain_epochs=0, max_epochs=1, lr=1e-12).fit(X)
        for form in ("balance", "confidence")
    ]
    # the same network, hardly trained: only the regulariser tells the two apart
    balance, confidence = (f.history_[0] for f in fitted)
    assert balance["sc"] == pytest.approx(confidence["sc"], rel=1e-4)
    assert balance["reg"] != pytest.approx(confidence["reg"], rel=1e-2)
    for epoch in (balance, confidence):
        assert 0 < epoch["reg"] <= 20 / 2  # batch of 20 over 2 / (k (k - 1)) pairs


def test_summed_attention_loss_is_the_mean_times_the_pairs_of_a_batch():
    once = {"pretrain_epochs": 0, "max_epochs": 1, "lr": 1e-12}
    mean, total = (
        small(**once, attention_reduction=how).fit(X).history_[0]["attention"]
        for how in ("mean", "sum")
    )
    assert total == pytest.approx(mean * 20**2, rel=1e-4)


def test_alternating_batches_train_either_side():
    both = small(alternate=False).fit(X)
    turns = small(alternate=True).fit(X)
    check_terms(turns, {*CLUSTERING, "attention", *GAME})
    assert turns.history_[-1]["discriminator"] != both.history_[-1]["discriminator"]
    # means over the batches on which a side learns
    assert 0.5 < turns.history_[4]["discriminator"] < 3


@pytest.mark.parametrize("attention", [True, False])
def test_a_hot_attention_weighs_alike(attention):
    hot = small(attention=attention, attention_temperature=1e6).fit(X)
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


def test_no_warm_start_and_no_game():
    cold = small(pretrain_epochs=0).fit(X)
    assert all("sc" in epoch for epoch in cold.history_)
    assert cold.n_iter_ == 2
    warm = small(max_epochs=0).fit(X)
    assert all(terms(epoch) == WARM for epoch in warm.history_)
    np.testing.assert_allclose(warm.attention_weights_, 1 / 2)


def test_attention_learns_at_its_own_rate():
    still = small(attention_lr=1e-12).fit(X).attention_weights_
    moved = small(attention_lr=0.1).fit(X).attention_weights_
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
        "adversarial_weight": 10.0,
        "regularizer": "confidence",
        "attention_reduction": "sum",
        "kernel_width": 0.15,
        "reference_modality": 0,
        "pretrain_epochs": 0,
        "max_epochs": 500,
        "batch_size": 100,
        "lr": 1e-5,
        "attention_lr": 1e-4,
        "discriminator_lr": 1e-3,
        "betas": (0.95, 0.999),
        "discriminator_betas": (0.5, 0.999),
        "lr_schedule": "constant",
        "clip_norm": 0.5,
        "alternate": True,
        "n_init": 20,
        "selection": "total",
        "selection_every": 5,
    }
    params = paper.get_params()
    assert {name: params[name] for name in known} == known


def test_the_preset_runs_and_gives_way_to_parameters():
    paper = EAMCClusterer.paper(3, **FEW_EPOCHS).set_params(pretrain_epochs=0)
    fitted = paper.set_params(max_epochs=10, batch_size=40).fit(X)
    assert fitted.transform(X).shape == (120, 8)
    assert fitted.n_iter_ == 10
    assert all(terms(e) == {*CLUSTERING, "attention", *GAME} for e in fitted.history_)


def test_training_is_left_to_the_precision_that_was_asked_for():
    for dtype, kind in [("float64", torch.float64), ("bfloat16", torch.float32)]:
        fitted = small(dtype=dtype).fit(X)
        check_terms(fitted, {*CLUSTERING, "attention", *GAME})
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
