"""Phases, restarts and checkpoints of a deep estimator that is no method."""

from dataclasses import dataclass

import numpy as np
import pytest
from skorch.callbacks import Callback

from mmfusion.datasets import make_multimodal_blobs
from mmfusion.nn._estimator import DeepEstimator
from mmfusion.nn._net import Objective, Phase
from mmfusion.nn._network import ClusteringHeads, FusionNetwork
from mmfusion.nn._training import iterate_outputs

X, _ = make_multimodal_blobs(40, {"audio": 3, "video": 4}, random_state=0)


@dataclass(frozen=True)
class Norms(Objective):
    """Norms of the fused latents and of the logits: nothing about clusters."""

    logit_weight: float
    criteria = {"latents": ("fused",)}

    def weights(self, progress):
        return {"fused": 1.0, "logits": self.logit_weight * (1 - progress)}

    def terms(self, net, batch):
        outputs = net.fuse(batch.latents, batch.observed)
        terms = {"fused": outputs.fused.square().mean()}
        return terms | {"logits": outputs.logits.square().mean()}


def worst_first(net, epoch):
    """Score restarts by a value that grows with training."""
    assert len(epoch) == 2
    return -net.history[-1]["fused"]


class Regressor(DeepEstimator):
    """Fits a network in three phases and predicts its logits."""

    _trainer_defaults = {
        "max_epochs": 2,
        "pretrain_epochs": 3,
        "batch_size": 20,
        "lr": {"network": 1e-2},
        "pretrain_lr": {"network": 1e-3},
        "betas": {"network": (0.9, 0.999)},
        "lr_schedule": "cosine",
        "clip_norm": 5.0,
        "selection": "total",
        "selection_every": 0,
    }
    _selection_criteria = ("latents", "total")
    _predictions_attribute = "predictions_"

    def __init__(
        self,
        encoders=4,
        scaling="auto",
        compete=None,
        n_init=2,
        trainer=None,
        modalities=None,
        random_state=None,
    ):
        self.encoders = encoders
        self.scaling = scaling
        self.compete = compete
        self.n_init = n_init
        self.trainer = trainer
        self.modalities = modalities
        self.random_state = random_state

    _parameter_constraints = {
        **DeepEstimator._parameter_constraints,
        "compete": [callable, None],
    }

    def _make_network(self, encoders, width):
        return FusionNetwork(encoders, width, ClusteringHeads(1, width, 5, 2))

    def _make_phases(self, n_samples, settings):
        last = settings.max_epochs
        return [
            Phase(
                "warming", settings.pretrain_epochs, Norms(1.0), settings.pretrain_lr
            ),
            Phase("middle", 1, Norms(0.5), settings.lr, compete=self.compete),
            Phase("end", last, Norms(0.1), settings.lr),
        ]

    def _examine(self, net, data):
        outputs = iterate_outputs(net, data.rows, data.prepare)
        return np.concatenate([out.logits.cpu().numpy() for out in outputs]), []


def make(**params):
    return Regressor(random_state=0).set_params(**params)


class Count(Callback):
    """Counts epochs by phase."""

    def initialize(self):
        self.counts = getattr(self, "counts", {})
        return self

    def on_epoch_end(self, net, **kwargs):
        name = net.phase_name_
        self.counts[name] = self.counts.get(name, 0) + 1


def phases_of(fitted):
    return [epoch["phase"] for epoch in fitted.history_]


def test_phases_follow_each_other_and_are_recorded():
    fitted = make().fit(X)
    assert phases_of(fitted) == ["warming"] * 3 + ["middle"] + ["end"] * 2
    assert fitted.predictions_.shape == (40, 2)
    assert fitted.transform(X).shape == (40, 4)
    np.testing.assert_allclose(fitted.modality_weights_, 1 / 2)


def test_phases_without_epochs_are_left_out_but_for_the_last():
    assert phases_of(make(trainer__pretrain_epochs=0).fit(X))[0] == "middle"
    assert phases_of(make(trainer__max_epochs=0).fit(X))[-1] == "middle"


def test_weights_of_terms_may_change_with_the_progress():
    first, *_ = make(trainer__batch_size=40, n_init=1).fit(X).history_
    assert first["train_loss"] == pytest.approx(first["fused"] + first["logits"])


@pytest.mark.parametrize(
    ("compete", "n_ends"), [(None, 2), (worst_first, 1)], ids=["no", "yes"]
)
def test_the_best_of_those_that_compete_goes_on_alone(compete, n_ends):
    count = Count()
    fitted = make(compete=compete, trainer__callbacks=[count]).fit(X)
    assert count.counts == {"warming": 2 * 3, "middle": 2, "end": 2 * n_ends}
    assert len(fitted.init_scores_) == 2
    if compete is None:
        assert fitted.loss_ == min(fitted.init_scores_)
    else:
        middle = fitted.history_[3]
        assert -middle["fused"] == pytest.approx(min(fitted.init_scores_))


@pytest.mark.parametrize("compete", [None, worst_first], ids=["no", "yes"])
def test_restarts_in_two_processes_are_those_in_one(compete):
    alone = make(compete=compete).fit(X)
    spread = make(compete=compete, trainer__n_jobs=2).fit(X)
    assert spread.init_scores_ == alone.init_scores_
    np.testing.assert_array_equal(spread.predictions_, alone.predictions_)


def test_every_phase_is_resumed_by_its_name(tmp_path):
    whole = make(trainer__checkpoint_dir=tmp_path).fit(X)
    names = {path.name.rpartition("-")[0] for path in tmp_path.iterdir()}
    assert names == {f"{p}-{i}" for p in ("warming", "middle", "end") for i in (0, 1)}
    count = Count()
    again = make(trainer__checkpoint_dir=tmp_path, trainer__callbacks=[count]).fit(X)
    assert count.counts == {}
    np.testing.assert_array_equal(again.predictions_, whole.predictions_)
    longer = {"trainer__max_epochs": 4, "trainer__checkpoint_dir": tmp_path}
    make(**longer, trainer__callbacks=[count]).fit(X)
    assert count.counts == {"end": 2 * 4}


def test_partial_fit_goes_through_the_phases_call_by_call():
    model = make()
    for _ in range(8):
        model.partial_fit(X)
    assert phases_of(model) == ["warming"] * 3 + ["middle"] + ["end"] * 4


def test_selection_is_by_a_criterion_of_the_objective():
    rising = {"trainer__selection": "latents", "trainer__lr": {"network": 1.0}}
    last = make(**rising, trainer__max_epochs=4).fit(X)
    best = make(**rising, trainer__max_epochs=4, trainer__selection_every=1).fit(X)
    assert best.loss_ <= last.loss_
    with pytest.raises(ValueError, match=r"selection='x'.*latents"):
        make(trainer__selection="x").fit(X)
