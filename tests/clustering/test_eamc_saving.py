"""What was learned is stored and restored, with and without pickle."""

import copy
import io
import pickle
import re
from functools import cache

import joblib
import numpy as np
import pytest
import torch
from torch import nn

from mmfusion import Modalities
from mmfusion.clustering import EAMCClusterer
from mmfusion.nn._network import FusionNetwork

from .small import X, small

GAPS = np.ones((len(X), 2), bool)
GAPS[::7, 0] = False


def linear(shape):
    return nn.Linear(shape[0], 8)


IMAGES = np.repeat(X["video"][:, :4, None, None], 4, axis=2).reshape(-1, 1, 4, 4)
CASES = {
    "vectors": ({}, X),
    "no pretraining": ({"pretrain_epochs": 0, "adversarial_weight": 0}, X),
    "missing, in double": (
        {"dtype": "float64"},
        Modalities(X.to_dict(), observed=GAPS),
    ),
    "unnamed, mixed": ({"dtype": "bfloat16"}, list(X.blocks)),
    "a module": ({"encoders": {"audio": nn.Linear(4, 8), "video": 8}}, X),
    "a factory": ({"encoders": linear}, X),
    "images": ({"encoders": 8}, [X["audio"], IMAGES]),
    "in pretraining": ({}, X),
}


@cache
def fitted_to(name):
    params, data = CASES[name]
    if name == "in pretraining":
        return small(**params).partial_fit(data)
    return small(**params).fit(data)


def check_same(copied, fitted, data):
    """Check that a copy is, returns and learns what the original does."""
    for method in ("predict", "predict_proba", "transform"):
        found, expected = getattr(copied, method)(data), getattr(fitted, method)(data)
        np.testing.assert_array_equal(found, expected)
    learned = {k for k in vars(fitted) if k.endswith("_")}
    assert {k for k in vars(copied) if k.endswith("_")} == learned
    for attribute in learned:
        found, expected = getattr(copied, attribute), getattr(fitted, attribute)
        np.testing.assert_array_equal(found, expected)
        assert type(found) is type(expected)
        assert getattr(found, "dtype", None) == getattr(expected, "dtype", None)
    for ours, others in zip(
        copied.module_.state_dict().items(),
        fitted.module_.state_dict().items(),
        strict=True,
    ):
        assert ours[0] == others[0]
        assert torch.equal(ours[1], others[1])
        assert ours[1].dtype == others[1].dtype
    assert list(copied.get_feature_names_out()) == list(fitted.get_feature_names_out())


def by_skops(fitted):
    sio = pytest.importorskip("skops.io")
    data = sio.dumps(fitted)
    trusted = sio.get_untrusted_types(data=data)
    assert not [name for name in trusted if "torch" in name]
    return sio.loads(data, trusted=trusted)


def by_joblib(fitted):
    buffer = io.BytesIO()
    joblib.dump(fitted, buffer)
    return joblib.load(buffer)


WAYS = {
    "deepcopy": copy.deepcopy,
    "pickle": lambda fitted: pickle.loads(pickle.dumps(fitted)),
    "joblib": by_joblib,
    "skops": by_skops,
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("way", WAYS)
def test_a_copy_is_returns_and_learns_the_same(way, name):
    if (way, name) == ("skops", "a module"):
        pytest.skip("the parameter itself is a torch module, which skops refuses")
    fitted, (_, data) = fitted_to(name), CASES[name]
    copied = WAYS[way](fitted)
    check_same(copied, fitted, data)
    further = copy.deepcopy(fitted).partial_fit(data)
    check_same(copied.partial_fit(data), further, data)
    assert further.history_ != fitted.history_


@pytest.mark.parametrize("name", CASES)
def test_saved_parameters_make_an_estimator_fitted(name, tmp_path):
    fitted, (_, data) = fitted_to(name), CASES[name]
    fitted.save_params(tmp_path / "file")
    other = EAMCClusterer(**fitted.get_params(deep=False))
    assert other.load_params(str(tmp_path / "file")) is other
    check_same(other, fitted, data)
    further = copy.deepcopy(fitted).partial_fit(data)
    check_same(other.partial_fit(data), further, data)


def test_loading_replaces_what_was_fitted_before(tmp_path):
    fitted = fitted_to("vectors")
    fitted.save_params(tmp_path / "file")
    other = small(random_state=5).fit(list(X.blocks))
    check_same(other.load_params(tmp_path / "file"), fitted, X)
    assert vars(other).keys() == vars(fitted).keys()


def test_discriminators_of_an_older_version_keep_their_widths(tmp_path, monkeypatch):
    monkeypatch.setattr("mmfusion.nn._adversary.LARGEST_WIDTH", 4)
    fitted = small().fit(X)
    fitted.save_params(tmp_path / "file")
    stored = pickle.dumps(fitted)
    monkeypatch.undo()
    loaded = small().load_params(tmp_path / "file")
    copied = pickle.loads(stored)
    for model in (loaded, copied):
        check_same(model, fitted, X)
        widths = [w.shape[2] for w in model._net.parts_["discriminators"].weights]
        assert widths == [4, 4, 2, 1]
        further = copy.deepcopy(fitted).partial_fit(X)
        check_same(model.partial_fit(X), further, X)


def test_the_network_is_public_and_what_predicts():
    fitted = fitted_to("vectors")
    assert isinstance(fitted.module_, FusionNetwork)
    assert isinstance(fitted.module_, nn.Module)
    assert len(fitted.module_.encoders) == 2
    assert not hasattr(small(), "module_")
    inputs = [torch.as_tensor(x) for x in fitted._preparation(X.blocks, None)]
    with torch.no_grad():
        out = copy.deepcopy(fitted.module_).cpu().double().eval()(inputs)
    np.testing.assert_array_equal(out.logits.argmax(1), fitted.predict(X))


def test_changed_parameters_do_not_matter_to_a_copy():
    fitted = copy.deepcopy(fitted_to("vectors"))
    fitted.set_params(encoders=[3], hidden_width=7, n_clustering_heads=2)
    copied = pickle.loads(pickle.dumps(fitted))
    check_same(copied, fitted_to("vectors"), X)
    assert copied.hidden_width == 7


def test_a_state_of_an_older_version_is_used_as_it_is():
    fitted = fitted_to("vectors")
    state = {k: v for k, v in vars(fitted).items() if k != "_made_with"}
    older = EAMCClusterer.__new__(EAMCClusterer)
    older.__setstate__(state)
    check_same(older, fitted, X)
    check_same(pickle.loads(pickle.dumps(older)), fitted, X)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"encoders": [16, 7]}, "other layers.*encoders"),
        ({"encoders": [16, 4, 8]}, "other layers"),
        ({"hidden_width": 5}, "other layers.*hidden"),
        ({"n_clusters": 4}, "other layers.*assign"),
        ({"attention_temperature": None}, "other layers.*attention"),
        ({"adversarial_weight": 0}, "discriminators"),
        ({"encoders": {"touch": 8}}, "touch"),
        ({"encoders": nn.Linear(4, 8)}, "'video'"),
    ],
)
def test_parameters_of_another_network_are_refused(tmp_path, params, message):
    fitted_to("vectors").save_params(tmp_path / "file")
    other = small().set_params(**params)
    with pytest.raises(ValueError, match=f"{re.escape(str(tmp_path))}.*{message}"):
        other.load_params(tmp_path / "file")
    assert not hasattr(other, "labels_")


def test_damaged_or_foreign_files_are_refused_and_nothing_is_lost(tmp_path):
    path = tmp_path / "file"
    fitted = copy.deepcopy(fitted_to("vectors"))
    fitted.save_params(path)
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    contents = [b"", whole[:-1], whole[len(whole) // 2 :], rng.bytes(500)]
    for position in rng.integers(len(whole), size=20):
        flipped = bytearray(whole)
        flipped[position] ^= 1 << rng.integers(8)
        contents.append(bytes(flipped))
    small(checkpoint_dir=tmp_path / "checkpoints").fit(X)
    contents += [p.read_bytes() for p in (tmp_path / "checkpoints").iterdir()]
    for content in contents:
        path.write_bytes(content)
        with pytest.raises(ValueError, match=re.escape(str(path))) as raised:
            fitted.load_params(path)
        assert "weights_only" not in str(raised.value)
    check_same(fitted, fitted_to("vectors"), X)
    with pytest.raises(FileNotFoundError):
        fitted.load_params(tmp_path / "none")


def test_a_full_disk_is_named_and_the_old_file_kept(small_disk):
    fitted = fitted_to("no pretraining")
    path = small_disk / "file"
    path.write_bytes(b"old")
    (small_disk / "rest").write_bytes(bytes(280_000))
    with pytest.raises(OSError, match=f"{re.escape(str(path))}.*free some space"):
        fitted.save_params(path)
    assert path.read_bytes() == b"old"
    assert {p.name for p in small_disk.iterdir()} == {"file", "rest"}


def test_an_estimator_that_is_not_fitted_has_nothing_to_save(tmp_path):
    with pytest.raises(ValueError, match="not fitted"):
        small().save_params(tmp_path / "file")
    assert not list(tmp_path.iterdir())
