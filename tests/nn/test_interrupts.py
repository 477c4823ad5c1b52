"""Ctrl-C ends a training wherever it comes; a callback of the user ends a phase."""

import signal

import pytest

from mmfusion import SiMVCClusterer, Trainer
from mmfusion.datasets import make_multimodal_blobs
from mmfusion.nn import _restarts

X, _ = make_multimodal_blobs(60, random_state=0)


def test_ctrl_c_during_an_evaluation_of_losses_is_passed_on(monkeypatch):
    evaluate_losses = _restarts.evaluate_losses

    def interrupted(*args, **kwargs):
        signal.raise_signal(signal.SIGINT)
        return evaluate_losses(*args, **kwargs)

    monkeypatch.setattr(_restarts, "evaluate_losses", interrupted)
    trainer = Trainer(max_epochs=8, selection_every=4)
    clusterer = SiMVCClusterer(3, encoders=[8, 4], trainer=trainer, random_state=0)
    with pytest.raises(KeyboardInterrupt):
        clusterer.fit(X)


@pytest.mark.parametrize("name", ["EpochBar", "StopAtNaN", "Save", "Selection"])
def test_ctrl_c_within_an_own_callback_is_passed_on(monkeypatch, tmp_path, name):
    def interrupted(callback, net, **kwargs):
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(getattr(_restarts, name), "on_epoch_end", interrupted)
    options = {"selection_every": 1, "checkpoint_dir": tmp_path, "verbose": 1}
    trainer = Trainer(max_epochs=2, **options)
    clusterer = SiMVCClusterer(3, encoders=[8, 4], trainer=trainer, random_state=0)
    with pytest.raises(KeyboardInterrupt):
        clusterer.fit(X)
