"""Training that was interrupted goes on where it was, and ends the same."""

import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from skorch.callbacks import Callback, EarlyStopping
from torch import nn

from mmfusion import EAMCClusterer, Modalities
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
    "adversary": {"alternate": True},
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


# so few samples are told apart, whatever the training
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
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
    count, of_whole = Count(), Count()
    resumed = small(**PARAMS, callbacks=[count], checkpoint_dir=tmp_path).fit(X)
    check_same(resumed, small(**PARAMS, callbacks=[of_whole]).fit(X))
    assert 0 < count.n_epochs < of_whole.n_epochs


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
    # restarts were compared after 1 of 4 epochs, and 1 more was done; adversarial: 2
    assert count.n_epochs == 2 + 2
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


def test_checkpoints_of_another_class_are_not_resumed(tmp_path):
    class Other(EAMCClusterer):
        """May override anything."""

    params = small(checkpoint_dir=tmp_path).get_params(deep=False)
    assert [epochs_of(kind(**params)) for kind in (EAMCClusterer, Other)] == [6, 6]


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


# Compiled networks, and trainings that callbacks end


@pytest.mark.parametrize("order", [(False, True), (True, False)])
def test_compiled_and_uncompiled_runs_share_checkpoints(tmp_path, monkeypatch, order):
    compiled = []
    monkeypatch.setattr(nn.Module, "compile", lambda module: compiled.append(module))
    epochs, models = [], []
    for compile in order:
        models.append(small(checkpoint_dir=tmp_path, compile=compile))
        epochs.append(epochs_of(models[-1]))
    assert epochs == [6, 0]
    assert compiled
    check_same(*models)
    path = tmp_path / "saved"
    models[0].save_params(path)
    check_same(small(compile=order[1]).load_params(path), models[0])


def stopping(patience):
    """Make a callback of skorch that ends a training after `patience` epochs."""
    return EarlyStopping("train_loss", patience, threshold=1e9, sink=str)


STOPPED = {"pretrain_epochs": 0, "max_epochs": 20, "checkpoint_every": 2}


def test_a_training_that_a_callback_ended_stays_finished(tmp_path):
    found, counts = [], []
    for _ in range(4):
        counts.append(Count())
        callbacks = [counts[-1], stopping(5)]
        model = small(**STOPPED, callbacks=callbacks, checkpoint_dir=tmp_path)
        found.append(model.fit(X))
    assert [model.n_iter_ for model in found] == [6, 6, 6, 6]
    assert [count.n_epochs for count in counts] == [6, 0, 0, 0]
    check_same(found[-1], small(**STOPPED, callbacks=[Count(), stopping(5)]).fit(X))


def test_a_training_goes_on_without_the_callback_that_ended_it(tmp_path):
    small(**STOPPED, callbacks=[stopping(5)], checkpoint_dir=tmp_path).fit(X)
    for callbacks, n_epochs in (([stopping(8)], 9), ([], 20)):
        model = small(**STOPPED, callbacks=callbacks, checkpoint_dir=tmp_path).fit(X)
        check_same(model, small(**STOPPED, callbacks=callbacks).fit(X))
        assert model.n_iter_ == n_epochs


def test_a_phase_after_one_that_a_callback_ended_is_not_resumed_without_it(tmp_path):
    params = {"pretrain_epochs": 8}
    for callbacks in ([stopping(3)], []):
        model = small(**params, callbacks=callbacks, checkpoint_dir=tmp_path).fit(X)
        check_same(model, small(**params, callbacks=callbacks).fit(X))


def test_callbacks_go_on_from_what_they_had_learned(tmp_path):
    class Fail(Callback):
        def on_epoch_end(self, net, **kwargs):
            if len(net.history) == 5:
                raise OSError("out of memory")

    params = STOPPED | {"checkpoint_dir": tmp_path}
    with pytest.raises(OSError, match="out of memory"):
        small(**params, callbacks=[stopping(7), Fail()]).fit(X)
    resumed = small(**params, callbacks=[stopping(7)]).fit(X)
    assert resumed.n_iter_ == 8  # the misses before the crash count


def test_the_best_epoch_of_a_training_that_a_callback_ended_is_kept(tmp_path):
    params = STOPPED | {"selection_every": 2, "callbacks": [stopping(5)]}
    whole = small(**params, checkpoint_dir=tmp_path).fit(X)
    check_same(small(**params, checkpoint_dir=tmp_path).fit(X), whole)
    check_same(small(**params).fit(X), whole)
