"""Trainer: options of a training, open ones filled in by the method."""

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV

from mmfusion import EAMCClusterer, SiMVCClusterer, Trainer
from mmfusion.nn._optimizers import make_optimizer
from mmfusion.nn._trainer import current_options, resolve_settings
from tests.clustering.small import X, small

DEFAULTS = EAMCClusterer._trainer_defaults
MODULES = EAMCClusterer._trained_modules
CRITERIA = EAMCClusterer._selection_criteria


def resolve(**options):
    return resolve_settings(Trainer(**options), DEFAULTS, MODULES, CRITERIA, 50)


def test_open_options_have_the_defaults_of_the_method():
    assert resolve() == resolve_settings(None, DEFAULTS, MODULES, CRITERIA, 50)
    assert resolve().batch_size == 50
    for name, value in DEFAULTS["adversary"].items():
        assert getattr(resolve(), name) == value
    for name in DEFAULTS.keys() - {"batch_size", "adversary"}:
        assert getattr(resolve(), name) == DEFAULTS[name]


def test_a_number_is_the_rate_of_the_network():
    assert resolve(lr=0.1).lr == {"network": 0.1, "discriminators": 2e-3}
    assert resolve(pretrain_lr=0.1).pretrain_lr == {"network": 0.1}


def test_a_dict_holds_rates_by_module_beside_the_defaults():
    rates = {"network": 5e-4, "attention": 0.2, "discriminators": 2e-3}
    assert resolve(lr={"attention": 0.2}).lr == rates


def test_no_limit_of_the_gradient_and_no_selection_can_be_given():
    settings = resolve(clip_norm=np.inf, selection_every=0)
    assert settings.clip_norm is None
    assert settings.selection_every == 0


def test_options_are_parameters_of_an_estimator_without_a_trainer():
    estimator = EAMCClusterer()
    assert estimator.get_params()["trainer__lr"] is None
    assert "trainer__lr" not in estimator.get_params(deep=False)
    assert estimator.set_params(trainer__lr=0.1) is estimator
    assert estimator.trainer.lr == 0.1
    assert estimator.get_params()["trainer__lr"] == 0.1


def test_a_trainer_and_an_option_of_it_can_be_set_at_once():
    estimator = EAMCClusterer().set_params(trainer__lr=0.1, trainer=Trainer(n_jobs=2))
    assert (estimator.trainer.lr, estimator.trainer.n_jobs) == (0.1, 2)
    estimator.set_params(trainer=None, trainer__lr=0.2)
    assert (estimator.trainer.lr, estimator.trainer.n_jobs) == (0.2, None)


def test_an_unknown_option_is_refused_by_name():
    with pytest.raises(ValueError, match=r"'rate'.*Trainer"):
        EAMCClusterer().set_params(trainer__rate=0.1)


def test_a_clone_has_a_trainer_of_its_own_or_none():
    assert clone(EAMCClusterer()).trainer is None
    trainer = Trainer(lr=0.1)
    cloned = clone(EAMCClusterer(trainer=trainer))
    assert cloned.trainer is not trainer
    assert cloned.trainer.lr == 0.1


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_a_search_over_options_needs_no_trainer():
    estimator = EAMCClusterer(3, encoders=4, n_init=1, random_state=0)
    grid = {"trainer__max_epochs": [0, 1], "trainer__pretrain_epochs": [1]}
    search = GridSearchCV(estimator, grid, cv=2).fit(X)
    assert len(search.cv_results_["params"]) == 2
    assert estimator.trainer is None


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_fit_does_not_change_the_trainer():
    trainer = Trainer(pretrain_epochs=1, max_epochs=1, lr={"attention": 0.1})
    before = trainer.get_params()
    EAMCClusterer(3, encoders=4, n_init=1, trainer=trainer, random_state=0).fit(X)
    assert trainer.get_params() == before
    assert trainer.lr == {"attention": 0.1}


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_pretraining_is_shared_by_a_search_over_later_options(tmp_path):
    def new_epochs(**params):
        fitted = small(checkpoint_dir=tmp_path, **params).fit(X)
        fresh = {path for path in tmp_path.iterdir() if path not in written}
        written.update(fresh)
        return fitted, {path.name.rpartition("-0-")[0] for path in fresh}

    written = set()
    assert new_epochs()[1] == {"pretraining", "adversarial-training"}
    for later in ({"adversarial_weight": 0.1}, {"lr": 1e-3}, {"selection": "total"}):
        fitted, phases = new_epochs(**later)
        assert phases == {"adversarial-training"}
        assert fitted.history_ == small(**later).fit(X).history_
    for earlier in ({"size_weight": 1.0}, {"n_neighbors": 3}, {"batch_size": 30}):
        assert new_epochs(**earlier)[1] == {"pretraining", "adversarial-training"}


@pytest.mark.parametrize(
    ("option", "absent"),
    [
        ({"pretrain_epochs": 5}, "pretraining"),
        ({"pretrain_lr": 0.1}, "pretraining"),
        ({"adversary": {"alternate": True}}, "discriminators"),
    ],
)
def test_options_of_what_a_method_has_not_are_refused(option, absent):
    (name,) = option
    with pytest.raises(ValueError, match=f"{name}=.* has no effect.*no {absent}"):
        SiMVCClusterer(2, trainer=Trainer(**option)).fit(X)


def test_options_of_earlier_versions_have_their_current_names():
    stored = {"lr": 0.1, "betas": None, "alternate": True, "gradient_penalty": None}
    trainer = Trainer(**current_options(stored))
    assert (trainer.lr, trainer.adversary) == (0.1, {"alternate": True})
    options = Trainer(optimizer="sgd", adversary={"alternate": True}).get_params()
    assert current_options(options) == options


def test_adamw_takes_one_call_per_group():
    parameters = {"network": [torch.nn.Parameter(torch.zeros(2))]}
    made = make_optimizer(torch.optim.AdamW, 0.1, parameters, {})
    assert made.defaults["fused"]
    assert made.defaults["weight_decay"] == 0.1
