"""Options that cannot work are refused by name, before or while training."""

import re
import warnings

import numpy as np
import pytest
import torch
from skorch.callbacks import Callback, EpochScoring
from torch import nn

from mmfusion import Modalities

from .small import X, small

# Devices

ABSENT = ["gpu", "", "cuda:99", "cpu:1", "meta", torch.device("meta"), "xla", "cuda "]
if not torch.cuda.is_available():
    ABSENT += ["cuda", "cuda:0", torch.device("cuda")]
if not torch.backends.mps.is_available():
    ABSENT += ["mps"]


@pytest.mark.parametrize("device", ABSENT, ids=repr)
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_a_device_that_torch_cannot_use_is_refused_with_those_it_can(device, method):
    named = rf"device={str(device)!r} .*'auto'.*'cpu'"
    with pytest.raises(ValueError, match=named):
        getattr(small(device=device), method)(X)


@pytest.mark.parametrize("device", [3, None, ["cpu"]], ids=repr)
def test_a_device_of_another_type_is_refused(device):
    with pytest.raises(ValueError, match="'device' parameter"):
        small(device=device).fit(X)


@pytest.mark.parametrize("device", ["cpu", "cpu:0", torch.device("cpu")], ids=repr)
def test_names_of_the_cpu_are_one(device):
    found = small(device=device).fit(X).transform(X)
    np.testing.assert_array_equal(found, small(device="cpu").fit_transform(X))


# Encoders of the user


class Encoder(nn.Module):
    """A layer of eight units whose output is changed."""

    def __init__(self, n_features, change):
        super().__init__()
        self.layer, self.change = nn.Linear(n_features, 8), change

    def forward(self, x):
        return self.change(self.layer(x), self.training)


def fail(latents, training):
    if training:
        raise KeyError("lost")
    return latents


BROKEN = {
    "NaN": (lambda out, training: out * np.nan, "NaN or infinite"),
    "NaN in eval": (
        lambda out, training: out if training else out / 0,
        r"eval mode.* NaN or infinite",
    ),
    "fewer rows": (lambda out, training: out[:2], r"\(2, 8\).*\(20, 8\)"),
    "width by batch": (
        lambda out, training: out[:, : 8 if len(out) == 2 else 7],
        r"\(20, 7\).*\(20, 8\)",
    ),
    "integers": (lambda out, training: out.long(), "int64"),
    "no columns": (lambda out, training: out[:, :0], "0 values"),
    "three dimensions": (lambda out, training: out[:, None], "one row for each"),
    "a tuple": (lambda out, training: (out, out), "tuple"),
    "an exception in train": (fail, r"train mode, raised KeyError.*lost"),
}


@pytest.mark.parametrize("name", BROKEN)
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_what_an_encoder_returns_is_checked_by_modality(name, method):
    change, message = BROKEN[name]
    encoders = {"audio": 8, "video": Encoder(6, change)}
    with pytest.raises(ValueError, match=f"'video'.*{message}"):
        getattr(small(encoders=encoders), method)(X)


def scripted(shape):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return torch.jit.script(nn.Linear(shape[0], 8))


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (nn.Linear, "factory.*TypeError"),
        (lambda: nn.Linear(6, 8), "factory.*TypeError"),
        (lambda shape: 1 / 0, "factory.*ZeroDivisionError"),
        ([8.0], "positive integers"),
        ([True], "positive integers"),
        ("8", "positive integers"),
        ([[8]], "positive integers"),
        (scripted, "cannot be trained"),
        (nn.Linear(6, 8, device="meta"), "meta"),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_encoders_that_cannot_be_made_are_refused_by_modality(option, message):
    with pytest.raises(ValueError, match=f"'video'.*{message}"):
        small(encoders={"audio": 8, "video": option}).fit(X)


def test_widths_may_be_numpy_integers():
    found = small(encoders=np.int64(8)).fit_transform(X)
    np.testing.assert_array_equal(found, small(encoders=8).fit_transform(X))


def test_a_module_that_is_shared_is_copied_for_each_modality_and_restart():
    blocks = {"audio": X["audio"], "video": X["video"][:, :4]}
    shared = nn.Linear(4, 8)
    before = shared.weight.detach().clone()
    options = [shared, lambda shape: shared, {"audio": shared, "video": shared}]
    models = [small(encoders=option, n_init=2).fit(blocks) for option in options]
    for fitted in models:
        first, second = fitted.module_.encoders
        assert not torch.equal(first.weight, second.weight)
        expected = models[0].transform(blocks)
        np.testing.assert_array_equal(fitted.transform(blocks), expected)
    assert torch.equal(shared.weight, before)


def test_networks_that_do_not_fit_into_memory_are_refused_by_name():
    with pytest.raises(ValueError, match="hidden_width=1000000000000"):
        small(hidden_width=10**12).fit(X)


# Numbers, callbacks

RATES = ["lr", "pretrain_lr", "clip_norm"]
WEIGHTS = ["separation_weight", "size_weight", "adversarial_weight"]
WEIGHTS = [*WEIGHTS, "attention_weight", "simplex_weight"]
OUT_OF_RANGE = [np.nan, np.inf, -1.0, "x", 10**400]


@pytest.mark.parametrize("value", OUT_OF_RANGE)
@pytest.mark.parametrize("name", [*RATES, *WEIGHTS, "kernel_width"])
def test_numbers_out_of_range_are_refused_by_name(name, value):
    if (name, value) == ("clip_norm", np.inf):
        pytest.skip("no limit")
    with pytest.raises(ValueError, match=f"'{name}' parameter"):
        small(**{name: value}).fit(X)


@pytest.mark.parametrize("value", [*OUT_OF_RANGE, None, True, 0])
@pytest.mark.parametrize("name", ["lr", "pretrain_lr"])
def test_rates_of_a_module_out_of_range_are_refused_by_name(name, value):
    with pytest.raises(ValueError, match=rf"{name}\['attention'\]=.* positive"):
        small(**{name: {"attention": value}}).fit(X)


@pytest.mark.parametrize("name", ["lr", "pretrain_lr"])
def test_modules_without_a_rate_of_their_own_are_refused(name):
    with pytest.raises(ValueError, match=rf"{name} names \['encoder'\].*attention"):
        small(**{name: {"encoder": 1.0}}).fit(X)


def test_a_criterion_that_the_method_lacks_is_refused():
    with pytest.raises(
        ValueError, match=r"selection='x' is not one of \['clust.*total"
    ):
        small(selection="x").fit(X)


@pytest.mark.parametrize("value", [10**30, np.float32(0.5), np.int8(1)], ids=repr)
def test_numbers_of_every_type_are_numbers(value):
    weights = dict.fromkeys(WEIGHTS[:2], value)
    expected = dict.fromkeys(WEIGHTS[:2], float(value))
    found = small(**weights).fit(X).history_
    assert found == small(**expected).fit(X).history_


@pytest.mark.parametrize("callback", [3, None, "x", ("x",), len], ids=str)
def test_callbacks_that_are_none_are_refused(callback):
    with pytest.raises(TypeError, match=r"callbacks .* skorch callback"):
        small(callbacks=[callback]).fit(X)


def test_callbacks_that_look_at_batches_are_served():
    scoring = EpochScoring(lambda net, epoch, y=None: 1.0, name="one", on_train=True)
    fitted = small(callbacks=[scoring, Callback]).fit(X)
    assert {epoch["one"] for epoch in fitted.history_} == {1.0}


# Values that are not finite


@pytest.mark.parametrize("name", ["lr", "pretrain_lr"])
def test_a_training_that_diverges_names_the_rate_and_the_largest_value(name):
    message = r"lower trainer__lr.*the largest after scaling is .*'(audio|video)'"
    for error in (FloatingPointError, ValueError):
        with pytest.raises(error, match=message):
            small(**{name: 1e30}, clip_norm=None).fit(X)


def test_a_training_that_diverges_in_its_last_step_is_no_result():
    once = {"pretrain_epochs": 0, "max_epochs": 1, "batch_size": len(X)}
    for method in ("fit", "partial_fit"):
        with pytest.raises(FloatingPointError, match="lower trainer__lr"):
            getattr(small(lr=1e200, clip_norm=None, **once), method)(X)


def test_values_that_do_not_fit_the_dtype_name_the_modality():
    extreme = Modalities({"audio": X["audio"], "video": X["video"] * 1e200})
    with pytest.raises(ValueError, match=r"'video'.*float32"):
        small(scaling=None).fit(extreme)
    assert np.isfinite(small().fit_transform(extreme)).all()


class Ratio(nn.Module):
    """An encoder that divides by a feature, which may be zero."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 8)

    def forward(self, x):
        return self.layer(x) / x[:, :1]


@pytest.mark.parametrize("method", ["predict", "predict_proba", "transform"])
def test_later_samples_that_are_not_finite_are_named(method):
    fitted = small(encoders={"audio": Ratio(), "video": 8}, scaling=None).fit(X)
    later = {name: block[:9].copy() for name, block in X.to_dict().items()}
    later["audio"][5, 0] = 0.0
    with pytest.raises(ValueError, match=r"sample 5: .*modality 'audio'"):
        getattr(fitted, method)(later)
    later["audio"][5, 0] = 1e-30
    assert np.isfinite(getattr(fitted, method)(later)).all()
    single = {name: block.astype(np.float32) for name, block in later.items()}
    single["audio"][5] = [1e-38, 1e38, 1e38, 1e38]
    if method == "transform":
        with pytest.raises(ValueError, match=r"do not fit float32.*float64"):
            fitted.transform(single)


# Random options

FAST = {
    "encoders": [4],
    "pretrain_epochs": 1,
    "max_epochs": 1,
    "n_clustering_heads": 2,
}
NUMBERS = [0, 1, 3, -1, 1e-300, 1e300, 0.5, 10**30, np.float32(0.25), np.int8(2)]
COUNTS = [0, 1, 2, 7, -1, "auto", None, 1.5, 10**30, np.int64(3)]
POOL = (
    dict.fromkeys([*RATES, *WEIGHTS, "kernel_width", "attention_temperature"], NUMBERS)
    | dict.fromkeys(
        ["n_clusters", "hidden_width", "n_clustering_heads", "batch_size"], COUNTS
    )
    | dict.fromkeys(["n_neighbors", "selection_every", "checkpoint_every"], COUNTS)
    | {
        "encoders": [None, 3, [5, 2], {"audio": 2, "video": 2}, {"audio": 2}, [0], "x"],
        "scaling": [None, "l2", "standard", {"video": "l2"}, {"touch": None}, "x"],
        "reference_modality": [1, -1, "video", "touch", 2, np.str_("audio"), True],
        "optimizer": ["sgd", "adamw", "lbfgs", "x"],
        "weight_decay": [0, 0.1, -1],
        "dtype": ["float64", "bfloat16", "float16"],
        "device": ["cpu", "gpu", ""],
        "adversary": [{"alternate": True}, {"alternate": 0}, {"x": 1}, None],
        "attention_temperature": [None, "x", 0.5],
        "pretrain_epochs": [0, 2, -1],
        "max_epochs": [0, 2, 1.5],
        "selection": ["total", "x"],
        "n_jobs": [1, 0],
        "random_state": [None, -1, 2**40, np.random.default_rng(0)],
    }
)


def outcome(call, *args):
    """Return what a call returns, or how it refuses."""
    try:
        return call(*args), None
    except (ValueError, TypeError) as error:
        return None, error


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_random_options_work_or_are_refused_by_name():
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(80):
        names = rng.choice(list(POOL), size=rng.integers(1, 4), replace=False)
        params = {name: POOL[name][rng.integers(len(POOL[name]))] for name in names}
        model = small(**(FAST | params))
        fitted, error = outcome(model.fit, X[:40])
        if error is not None:
            refused += 1
            named = "|".join([*params, "'audio'", "'video'"])
            assert re.search(named, str(error)), params
            continue
        for method in ("transform", "predict_proba"):
            assert np.isfinite(getattr(fitted, method)(X)).all(), params
        np.testing.assert_array_equal(fitted.predict(X[:40]), fitted.labels_)
    assert 20 < refused < 60
