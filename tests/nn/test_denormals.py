"""Numbers next to zero: slow, so that training does without them, and only training."""

import pytest
import torch
from skorch.callbacks import Callback

from mmfusion import Trainer
from mmfusion.clustering import EAMCClusterer
from mmfusion.datasets import make_multimodal_blobs


def are_flushed():
    return bool(torch.tensor(1e-40) == 0)


class Look(Callback):
    def on_train_begin(self, net, **kwargs):
        self.seen = set()

    def on_batch_begin(self, net, **kwargs):
        self.seen.add(are_flushed())


class Stop(Callback):
    def on_batch_begin(self, net, **kwargs):
        raise RuntimeError("stopped")


def fit(callback):
    X, _ = make_multimodal_blobs(40, random_state=0)
    trainer = Trainer(
        pretrain_epochs=0, max_epochs=1, batch_size=20, callbacks=[callback]
    )
    EAMCClusterer(2, encoders=[8, 4], n_init=1, trainer=trainer, random_state=0).fit(X)


@pytest.fixture
def kept():
    if not torch.set_flush_denormal(False):
        pytest.skip("this processor cannot flush denormal numbers")
    yield
    torch.set_flush_denormal(False)


@pytest.mark.parametrize("before", [False, True])
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_training_flushes_denormals_and_leaves_them_as_they_were(kept, before):
    torch.set_flush_denormal(before)
    look = Look()
    fit(look)
    assert look.seen == {True}
    assert are_flushed() == before


def test_training_that_breaks_leaves_denormals_as_they_were(kept):
    with pytest.raises(RuntimeError, match="stopped"):
        fit(Stop())
    assert not are_flushed()
