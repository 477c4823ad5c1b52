"""What users of torch and skorch are used to works, or errors name what does."""

import copy
from functools import partial

import numpy as np
import pytest
import torch
from sklearn.metrics import adjusted_rand_score
from sklearn.model_selection import GridSearchCV
from skorch.callbacks import Checkpoint, EarlyStopping, EpochScoring
from torch import nn
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from mmfusion import (
    AutoencoderClusterer,
    CoMVCClusterer,
    EAMCClusterer,
    SiMVCClusterer,
    Trainer,
)

from .small import X, Y, small

CLASSES = [EAMCClusterer, SiMVCClusterer, CoMVCClusterer, AutoencoderClusterer]
PRETRAINED = {EAMCClusterer: "disagreement", AutoencoderClusterer: "reconstruction"}
OPTIMIZERS = ["adamw", "SGD", torch.optim.RMSprop, partial(torch.optim.SGD, momentum=1)]


def quick(cls=SiMVCClusterer, encoders=(8,), **options):
    options = {"max_epochs": 3} | options
    if cls in PRETRAINED:
        options |= {"pretrain_epochs": 2}
    # clusters that are trained, so that callbacks can score them
    params = {"readout": "dec"} if cls is AutoencoderClusterer else {}
    return cls(
        3,
        encoders=encoders,
        n_init=1,
        random_state=0,
        trainer=Trainer(**options),
        **params,
    )


def weights_of(fitted):
    return torch.cat([p.detach().ravel() for p in fitted.module_.parameters()])


def own_networks():
    torch.manual_seed(0)
    return [
        nn.Sequential(nn.Linear(d, 16), nn.ReLU(), nn.Dropout(0.1), nn.Linear(16, 8))
        for d in (4, 6)
    ]


# Callbacks


@pytest.mark.parametrize(
    "callback", [EarlyStopping(), EarlyStopping], ids=["object", "class"]
)
@pytest.mark.parametrize("cls", CLASSES)
def test_early_stopping_without_a_loss_to_monitor_names_those_of_the_phase(
    cls, callback
):
    phase, term = "training", "separation"
    if cls in PRETRAINED:
        phase, term = "pretraining", PRETRAINED[cls]
    with pytest.raises(
        ValueError,
        match=rf"EarlyStopping monitors 'valid_loss'.*{phase}.*'train_loss'.*{term}",
    ):
        quick(cls, callbacks=[callback]).fit(X)


def test_checkpoints_of_skorch_name_what_they_may_monitor():
    with pytest.raises(ValueError, match=r"'valid_loss_best'.*Give monitor=None"):
        quick(callbacks=[Checkpoint()]).fit(X)


@pytest.mark.parametrize("cls", CLASSES)
def test_early_stopping_ends_a_phase_whose_loss_no_longer_falls(cls):
    stopping = EarlyStopping("train_loss", patience=2, threshold=1e9)
    fitted = quick(cls, callbacks=[stopping], max_epochs=9).fit(X)
    assert list(fitted.phase_epochs_.values())[-1] < 9


@pytest.mark.parametrize(
    "scoring", [EpochScoring(lambda *_: 1.0), EpochScoring("accuracy", on_train=True)]
)
def test_scores_of_validation_data_or_labels_are_refused_with_the_remedy(scoring):
    with pytest.raises(ValueError, match=r"no validation.*on_train=True.*net.predict"):
        quick(callbacks=[scoring]).fit(X)


@pytest.mark.parametrize("cls", CLASSES)
def test_epochs_are_scored_by_their_clusters(cls):
    found = []

    def agreement(net, epoch, y=None):
        found.append(net.predict(epoch))
        return adjusted_rand_score(Y, found[-1])

    scoring = EpochScoring(agreement, name="agreement", on_train=True)
    fitted = quick(cls, callbacks=[scoring], selection_every=0).fit(X)
    scores = [epoch["agreement"] for epoch in fitted.history_]
    assert scores == [adjusted_rand_score(Y, labels) for labels in found]
    assert len(scores) == fitted.n_iter_
    # weights of the modalities are of all samples, and the network is in float64
    assert np.mean(found[-1] == fitted.labels_) > 0.95


# Encoders


@pytest.mark.parametrize("cls", CLASSES)
@pytest.mark.parametrize("kind", [list, tuple, nn.ModuleList])
def test_encoders_by_position_are_those_by_name(cls, kind):
    networks = own_networks()
    by_name = dict(zip(X.names, networks, strict=True))
    found = quick(cls, kind(networks)).fit(X)
    assert found.history_ == quick(cls, by_name).fit(X).history_


def test_encoders_by_position_may_be_of_every_kind():
    mixed = [[16, 8], lambda shape: nn.Linear(*shape, 8)]
    assert quick(encoders=mixed).fit(X).transform(X).shape == (120, 8)
    sizes = [len(e) for e in quick(encoders=[[16, 8], [8]]).fit(X).module_.encoders]
    assert sizes == [4, 2]


def test_a_list_of_widths_is_one_encoder_for_all():
    layers = quick(encoders=[16, 8]).fit(X).module_.encoders
    assert [layer.out_features for e in layers for layer in e[::2]] == [16, 8, 16, 8]


def test_as_many_encoders_as_modalities_are_needed():
    with pytest.raises(ValueError, match=r"list of 3.*2 modalities are \['audio'"):
        quick(encoders=[nn.Linear(4, 8)] * 3).fit(X)


# Optimizers


def test_the_default_is_adam_without_decay():
    found = quick(dtype="float64").fit(X)
    expected = quick(dtype="float64", optimizer="adam", weight_decay=0.0).fit(X)
    torch.testing.assert_close(weights_of(found), weights_of(expected))


@pytest.mark.parametrize("cls", CLASSES)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_optimizers_train_all_modules(cls, optimizer):
    fitted = quick(cls, optimizer=optimizer).fit(X)
    net = fitted._net
    kind = torch.optim.AdamW if optimizer == "adamw" else type(net.optimizer_)
    if optimizer != "adamw" and optimizer is not torch.optim.RMSprop:
        kind = torch.optim.SGD
    assert {type(own) for own in net.optimizers_} == {kind}
    assert np.isfinite(fitted.loss_)
    assert not torch.equal(weights_of(fitted), weights_of(quick(cls).fit(X)))


def test_a_step_of_gradient_descent_is_that_of_the_formula():
    rate, decay = 0.1, 0.5
    options = dict(max_epochs=1, batch_size=120, clip_norm=np.inf, selection_every=0)
    options |= dict(lr=rate, optimizer="sgd")
    start = weights_of(quick(**(options | {"max_epochs": 0})).fit(X))
    plain = weights_of(quick(**options).fit(X))
    decayed = weights_of(quick(**options, weight_decay=decay).fit(X))
    torch.testing.assert_close(decayed, plain - rate * decay * start)


@pytest.mark.parametrize(
    ("optimizer", "error", "match"),
    [
        ("adamm", ValueError, r"'adamm' is not one of \['adadelta'.*'sgd'\]"),
        ("lbfgs", ValueError, "LBFGS does not train"),
        (torch.optim.LBFGS, ValueError, "LBFGS does not train"),
        (torch.optim.SGD([torch.zeros(1)]), TypeError, "its class, or its name 'sgd'"),
        (lambda groups, **_: groups, TypeError, "returned a list"),
        (partial(torch.optim.SGD, momentum=-1), ValueError, "momentum"),
    ],
)
def test_other_optimizers_are_refused(optimizer, error, match):
    with pytest.raises(error, match=match):
        quick(optimizer=optimizer).fit(X)


def test_a_checkpoint_of_another_optimizer_is_not_resumed(tmp_path):
    options = dict(checkpoint_dir=tmp_path, checkpoint_every=1)
    quick(**options).fit(X)
    for other in ({"optimizer": "sgd"}, {"weight_decay": 0.5}):
        assert quick(**options, **other).fit(X).history_ == (
            quick(**other).fit(X).history_
        )


# Data


def dataset(*more):
    blocks = [torch.as_tensor(block, dtype=torch.float32) for block in X.blocks]
    return TensorDataset(*blocks, *more)


class Stream(IterableDataset):
    def __iter__(self):
        yield from dataset()


def test_the_dataset_of_a_loader_is_taken_in_its_place():
    loader = DataLoader(dataset(), batch_size=20)
    with pytest.raises(TypeError, match=r"X.dataset.*trainer__batch_size"):
        quick().fit(loader)
    fitted = quick(batch_size=20).fit(loader.dataset)
    with pytest.raises(TypeError, match=r"X.dataset"):
        fitted.predict(loader)
    with pytest.raises(TypeError, match="an IterableDataset"):
        fitted.predict(Stream())
    np.testing.assert_array_equal(fitted.predict(loader.dataset), fitted.labels_)


def test_labels_in_a_dataset_are_no_modality():
    with pytest.raises(ValueError, match=r"entry 2 of the first item.*no labels"):
        quick().fit(dataset(torch.as_tensor(Y)))
    pairs = [(tuple(block[i] for block in X.blocks), Y[i]) for i in range(len(Y))]

    class Pairs(torch.utils.data.Dataset):
        def __len__(self):
            return len(pairs)

        def __getitem__(self, i):
            return pairs[i]

    with pytest.raises(ValueError, match=r"entry 0 of the first item.*is a tuple"):
        quick().fit(Pairs())


# The whole task


def test_own_networks_are_searched_stored_and_assign_new_samples(tmp_path):
    networks = own_networks()
    untouched = copy.deepcopy(networks)
    clusterer = small(encoders=networks, optimizer="adamw", max_epochs=3)
    grid = {"trainer__lr": [1e-4, 1e-2], "trainer__weight_decay": [0.0, 0.1]}
    search = GridSearchCV(clusterer, grid, cv=2).fit(X[:100])
    best = search.best_estimator_
    labels = search.predict(X[100:])
    best.save_params(tmp_path / "clusterer.pt")
    loaded = small(encoders=networks, optimizer="adamw").load_params(
        tmp_path / "clusterer.pt"
    )
    np.testing.assert_array_equal(loaded.predict(X[100:]), labels)
    for own, before in zip(networks, untouched, strict=True):
        for a, b in zip(own.parameters(), before.parameters(), strict=True):
            assert torch.equal(a, b)
