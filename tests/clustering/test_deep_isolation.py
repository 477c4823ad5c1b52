"""No deep estimator depends on the global state of torch or NumPy, or changes it."""

import threading
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import Dataset

from mmfusion.nn._estimator import DeepEstimator
from mmfusion.testing import all_estimators
from tests.nn.torch_state import CHANGES, global_state

from .small import FEW_EPOCHS, X

Y = np.arange(len(X)) % 2  # of predictors; the others do not read it
METHODS = ("predict", "predict_proba", "transform", "modality_latents", "score")
# of every deep estimator; a new one needs its own entry
PRETRAINED = {"n_clusters": 3} | FEW_EPOCHS | {"trainer__max_epochs": 1}
ONE_PHASE = {
    name: value
    for name, value in PRETRAINED.items()
    if "pretrain" not in name and not name.startswith("attention")
}
BY_RECONSTRUCTION = {
    name: value for name, value in PRETRAINED.items() if "attention" not in name
}
FAST = {
    "AutoencoderClusterer": {
        name: value for name, value in PRETRAINED.items() if "attention" not in name
    }
    | {"readout": "dec", "adversarial_weight": 0.01},
    "CoMVCClusterer": ONE_PHASE,
    "DCCA": {k: v for k, v in ONE_PHASE.items() if k != "n_clusters"},
    "EAMCClusterer": PRETRAINED,
    "DMSCClusterer": BY_RECONSTRUCTION | {"trainer__max_epochs": 20},
    **{
        name: {
            "encoders": [8, 6],
            "n_members": 2,
            "trainer__max_epochs": 2,
            "trainer__batch_size": PRETRAINED["trainer__batch_size"],
            "random_state": 0,
        }
        for name in ("NeuralFusionClassifier", "NeuralFusionRegressor")
    },
    "MFLVCClusterer": BY_RECONSTRUCTION | {"matching_epochs": 2},
    "SiMVCClusterer": ONE_PHASE,
}

DEEP = {
    name: cls
    for name, cls in all_estimators().items()
    if issubclass(cls, DeepEstimator)
}


def make(name, **params):
    return DEEP[name]().set_params(**(FAST[name] | params))


def results(estimator):
    """Everything that an estimator returns, after a fit and another epoch."""
    found = {}
    for method in METHODS:
        if hasattr(estimator, method):
            given = (X, Y) if method == "score" else (X,)
            found[method] = getattr(estimator, method)(*given)
    name = estimator._predictions_attribute
    return found if name is None else found | {name: getattr(estimator, name)}


@cache
def run_alone(name):
    return run(name)


def run(name, **params):
    estimator = make(name, **params).fit(X, Y)
    found = {"fit": results(estimator)}
    if hasattr(estimator, "partial_fit"):
        found["partial_fit"] = results(estimator.partial_fit(X, Y))
    return found


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        if isinstance(value, dict):
            assert_same(found[key], value)
        else:
            np.testing.assert_array_equal(found[key], value, err_msg=key)


class Noisy(nn.Module):
    """An encoder that draws when it is made, trained and used."""

    def __init__(self, n_features):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(n_features, 8), nn.Dropout(0.3))
        self.register_buffer("noise", torch.randn(8))

    def forward(self, x):
        drawn = torch.rand(len(x), 1, device=x.device)
        return self.layers(x) + 0.1 * self.noise + 0.01 * drawn


def noisy(shape):
    return Noisy(shape[0])


class Augmented(Dataset):
    """Samples with noise, which is drawn when they are read."""

    def __len__(self):
        return len(X)

    def __getitem__(self, i):
        return {
            name: torch.as_tensor(block[i]) + 0.01 * torch.randn(block.shape[1])
            for name, block in X.to_dict().items()
        }


def test_there_are_deep_estimators_and_each_has_fast_parameters():
    assert DEEP.keys() == FAST.keys()


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
@pytest.mark.parametrize("name", DEEP)
def test_results_do_not_depend_on_global_state_and_leave_it(name, change):
    expected = run_alone(name)
    with change():
        before = global_state()
        found = run(name)
        assert global_state() == before
    assert_same(found, expected)


@pytest.mark.parametrize("name", DEEP)
def test_fits_in_threads_are_those_of_one_alone(name):
    before = global_state()
    with ThreadPoolExecutor(3) as pool:
        for found in pool.map(run, [name] * 3):
            assert_same(found, run_alone(name))
        assert pool.submit(torch.get_num_threads).result() == before["threads"]
    assert global_state() == before


@pytest.mark.parametrize("name", DEEP)
def test_what_encoders_draw_is_seeded_whatever_other_threads_draw(name):
    expected = run(name, encoders=noisy)
    stop = threading.Event()

    def disturb():
        while not stop.is_set():
            torch.rand(7)

    with ThreadPoolExecutor(3) as pool:
        disturbing = pool.submit(disturb)
        runs = [pool.submit(run, name, encoders=noisy) for _ in range(2)]
        try:
            for future in runs:
                assert_same(future.result(), expected)
        finally:
            stop.set()
        disturbing.result()


@pytest.mark.parametrize("name", DEEP)
def test_what_a_dataset_draws_is_seeded_too(name):
    def transform():
        return make(name).fit(Augmented(), Y).transform(X)

    torch.manual_seed(1)
    expected, before = transform(), global_state()
    torch.manual_seed(2)
    np.testing.assert_array_equal(transform(), expected)
    torch.manual_seed(1)
    assert global_state() == before


@pytest.mark.parametrize("name", DEEP)
def test_state_is_left_as_it_was_after_an_error(name):
    before = global_state()
    with pytest.raises(ValueError, match=r"n_clusters|batch of 2 samples|requires y"):
        make(name).fit(X[:2], None)
    assert global_state() == before
