"""Training that was interrupted goes on where it was, and ends the same."""

import subprocess
import sys
import time

import numpy as np
import pytest
from skorch.callbacks import Callback

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
        time.sleep(0.1 * (net.phase_name_ == "game"))


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
        while not list(tmp_path.glob("game*.pt")):
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


def test_a_training_that_was_interrupted_in_its_warm_start_goes_on(tmp_path):
    class Fail(Callback):
        def on_epoch_begin(self, net, **kwargs):
            if len(net.history) == 3:
                raise OSError("out of memory, say")

    params = {"n_init": 2, "checkpoint_every": 1}
    with pytest.raises(OSError, match="out of memory"):
        small(**params, callbacks=[Fail()], checkpoint_dir=tmp_path).fit(X)
    assert not list(tmp_path.glob("game*.pt"))
    count = Count()
    resumed = small(**params, callbacks=[count], checkpoint_dir=tmp_path).fit(X)
    assert count.n_epochs == 2 + 4 + 2  # 2 were done: warm starts of 4, game of 2
    check_same(resumed, small(**params).fit(X))


@pytest.mark.parametrize("params", [{}, {"pretrain_epochs": 0}], ids=["warm", "cold"])
def test_a_training_that_ended_is_not_repeated(tmp_path, params):
    whole = small(n_init=2, checkpoint_dir=tmp_path, **params).fit(X)
    count = Count()
    again = small(n_init=2, checkpoint_dir=tmp_path, callbacks=[count], **params).fit(X)
    assert count.n_epochs == 0
    check_same(again, whole)
    check_same(whole, small(n_init=2, **params).fit(X))


@pytest.mark.parametrize(
    "params",
    [{"random_state": 1}, {"n_clusters": 2}, {"kernel_width": 0.5}, {"lr": 1e-3}],
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
