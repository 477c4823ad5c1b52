"""Training that was interrupted goes on where it was, and ends the same."""

import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from skorch.callbacks import Callback
from torch import nn

from mmfusion import Modalities
from mmfusion.datasets import make_multimodal_blobs

from .small import X, small

SLOW_FIT = """
import sys
import time

from skorch.callbacks import Callback

from tests.clustering.small import X, small
from tests.clustering.test_eamc_checkpoints import PARAMS


class Sleep(Callback):
    def on_epoch_end(self, net, **kwargs):
        time.sleep(0.1 * (net.phase_name_ != "pretraining"))


small(**PARAMS, callbacks=[Sleep()], checkpoint_dir=sys.argv[1]).fit(X)
"""
PARAMS = {
    "n_init": 2,
    "max_epochs": 40,
    "checkpoint_every": 3,
    "selection_every": 4,
    "alternate": True,
}


class Count(Callback):
    """Counts epochs."""

    n_epochs = 0

    def on_epoch_end(self, net, **kwargs):
        self.n_epochs += 1


def check_same(resumed, whole):
    assert resumed.history_ == whole.history_
    np.testing.assert_array_equal(resumed.labels_, whole.labels_)
    np.testing.assert_array_equal(resumed.transform(X), whole.transform(X))
    np.testing.assert_array_equal(resumed.init_scores_, whole.init_scores_)
    assert resumed.loss_ == whole.loss_


def test_a_killed_training_ends_as_if_it_had_not_been(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", SLOW_FIT, str(tmp_path)])
    try:
        deadline = time.monotonic() + 60
        while not list(tmp_path.glob("adversarial*.pt")):
            assert process.poll() is None, "training ended before it was killed"
            assert time.monotonic() < deadline, "no checkpoint was written"
            time.sleep(0.02)
        time.sleep(0.15)  # some epochs after the checkpoint are lost
    finally:
        process.kill()
        process.wait()
    assert process.returncode < 0
    count = Count()
    resumed = small(**PARAMS, callbacks=[count], checkpoint_dir=tmp_path).fit(X)
    assert 0 < count.n_epochs < PARAMS["max_epochs"]
    check_same(resumed, small(**PARAMS).fit(X))


def test_a_training_that_was_interrupted_in_pretraining_goes_on(tmp_path):
    class Fail(Callback):
        def on_epoch_begin(self, net, **kwargs):
            if len(net.history) == 3:
                raise OSError("out of memory")

    params = {"n_init": 2, "checkpoint_every": 1}
    with pytest.raises(OSError, match="out of memory"):
        small(**params, callbacks=[Fail()], checkpoint_dir=tmp_path).fit(X)
    assert not list(tmp_path.glob("adversarial*.pt"))
    count = Count()
    resumed = small(**params, callbacks=[count], checkpoint_dir=tmp_path).fit(X)
    assert (
        count.n_epochs == 2 + 4 + 2
    )  # 2 were done, of two pretrainings of 4; adversarial: 2
    check_same(resumed, small(**params).fit(X))


@pytest.mark.parametrize(
    "params", [{}, {"pretrain_epochs": 0}], ids=["pretrained", "not"]
)
def test_a_training_that_ended_is_not_repeated(tmp_path, params):
    whole = small(n_init=2, checkpoint_dir=tmp_path, **params).fit(X)
    count = Count()
    again = small(n_init=2, checkpoint_dir=tmp_path, callbacks=[count], **params).fit(X)
    assert count.n_epochs == 0
    check_same(again, whole)
    check_same(whole, small(n_init=2, **params).fit(X))


@pytest.mark.parametrize(
    "params",
    [
        {"random_state": 1},
        {"n_clusters": 2},
        {"kernel_width": 0.5},
        {"trainer__lr": 1e-3},
    ],
)
def test_checkpoints_of_other_parameters_are_not_resumed(tmp_path, params):
    small(checkpoint_dir=tmp_path).fit(X)
    kept = small(checkpoint_dir=tmp_path).set_params(**params).fit(X)
    check_same(kept, small().set_params(**params).fit(X))


def test_checkpoints_of_other_data_are_not_resumed(tmp_path):
    small(checkpoint_dir=tmp_path).fit(X)
    other, _ = make_multimodal_blobs(120, {"audio": 4, "video": 6}, random_state=1)
    kept = small(checkpoint_dir=tmp_path).fit(other)
    assert kept.history_ == small().fit(other).history_


def test_no_half_written_file_is_left(tmp_path):
    small(checkpoint_dir=tmp_path / "new" / "folder", checkpoint_every=1).fit(X)
    left = [path.suffix for path in (tmp_path / "new" / "folder").iterdir()]
    assert set(left) == {".pt"}


def test_factories_that_do_not_pickle_can_be_resumed(tmp_path):
    from mmfusion.nn._encoders import vector_encoder

    params = {
        "encoders": lambda shape: vector_encoder(shape[0], [8]),
        "checkpoint_dir": tmp_path,
    }
    count = Count()
    whole = small(**params).fit(X)
    check_same(small(**params, callbacks=[count]).fit(X), whole)
    assert count.n_epochs == 0


# What is not resumed


def epochs_of(model, data=X):
    """Fit, and count the epochs that were run."""
    count = Count()
    model.set_params(trainer__callbacks=[count]).fit(data)
    return count.n_epochs


def with_one_changed():
    """Copy the data but for one cell of one sample in the middle."""
    blocks = {name: block.copy() for name, block in X.to_dict().items()}
    blocks["video"][61, 3] += 1e-9
    return blocks


def lacking(row):
    """Let one sample lack a modality."""
    observed = np.ones((len(X), 2), bool)
    observed[row, 1] = False
    return Modalities(X.to_dict(), observed=observed)


OTHERS = {
    "one cell": with_one_changed(),
    "order": X[::-1],
    "one sample less": X[:-1],
    "names": dict(zip("ab", X.blocks, strict=True)),
    "float32": {n: b.astype(np.float32) for n, b in X.to_dict().items()},
    "one missing": lacking(5),
    "another missing": lacking(6),
}


def test_data_that_differ_in_anything_are_not_resumed(tmp_path):
    n_epochs = small().fit(X).n_iter_
    for data in [X, *OTHERS.values()]:
        assert epochs_of(small(checkpoint_dir=tmp_path), data) == n_epochs
    for data in [X, *OTHERS.values()]:
        assert epochs_of(small(checkpoint_dir=tmp_path), data) == 0


def test_the_same_data_in_another_form_are_resumed(tmp_path):
    forms = {"array": X.to_dict(), "mapped": {}}
    for name, block in X.to_dict().items():
        np.save(tmp_path / f"{name}.npy", block)
        forms["mapped"][name] = np.load(tmp_path / f"{name}.npy", mmap_mode="r")
    epochs = [epochs_of(small(checkpoint_dir=tmp_path), f) for f in forms.values()]
    assert epochs == [6, 0]


@pytest.mark.parametrize("package", ["mmfusion", "torch"])
def test_checkpoints_of_another_version_are_not_resumed(tmp_path, monkeypatch, package):
    small(checkpoint_dir=tmp_path).fit(X)
    monkeypatch.setattr(f"{package}.__version__", "0.0.1")
    assert epochs_of(small(checkpoint_dir=tmp_path)) == 6


class Power(nn.Module):
    """Encoders that differ in nothing but what they compute."""

    def __init__(self, power):
        super().__init__()
        self.power = [power]
        self.layer = nn.Linear(4, 8)

    def forward(self, x):
        return self.layer(x).abs() ** self.power[0]


def test_checkpoints_of_another_encoder_are_not_resumed(tmp_path):
    torch.manual_seed(0)
    weights = Power(1).state_dict()
    for power, n_epochs in ((1, 6), (2, 6), (1, 0)):
        module = Power(power)
        module.load_state_dict(weights)
        model = small(encoders={"audio": module, "video": 8}, checkpoint_dir=tmp_path)
        assert epochs_of(model) == n_epochs


@pytest.mark.parametrize("harm", ["empty", "half", "noise", "flipped"])
def test_a_phase_with_a_damaged_checkpoint_is_trained_anew(tmp_path, harm):
    whole = small(checkpoint_dir=tmp_path).fit(X)
    for path in tmp_path.iterdir():
        content = bytearray(path.read_bytes())
        content[len(content) // 3] ^= 4
        path.write_bytes(
            {
                "empty": b"",
                "half": content[: len(content) // 2],
                "noise": np.random.default_rng(0).bytes(len(content)),
                "flipped": content,
            }[harm]
        )
    with pytest.warns(UserWarning, match="anew") as warned:
        again = small(checkpoint_dir=tmp_path).fit(X)
    for path in tmp_path.iterdir():
        assert any(path.name in str(w.message) for w in warned)
    check_same(again, whole)
    assert epochs_of(small(checkpoint_dir=tmp_path)) == 0


def test_a_folder_that_is_none_is_refused_before_training(tmp_path):
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "inside"):
        with pytest.raises(ValueError, match=r"checkpoint_dir=.*file"):
            small(checkpoint_dir=folder).fit(X)
