"""Checkpoints: what is resumed goes on as if nothing had happened."""

import os
import re
import shutil
from functools import partial

import numpy as np
import pytest
import torch

from mmfusion.clustering.eamc._pretraining import keep_best_head
from mmfusion.nn import _sealed
from mmfusion.nn._callbacks import Selection
from mmfusion.nn._checkpoint import Checkpoint, restore
from mmfusion.nn._isolation import current_draws, isolated
from mmfusion.nn._net import begin_phase
from mmfusion.nn._training import evaluate_losses
from tests.clustering.eamc_nets import (
    PARTS,
    make_data,
    make_epoch,
    make_net,
    make_objective,
    make_pairs,
    make_phase,
    state_of,
)

EPOCHS, DONE = 4, 2
PRETRAINING, ADVERSARIAL = "pretraining", "adversarial training"


@pytest.fixture(autouse=True)
def inside():
    """Training runs inside of `isolated`."""
    with isolated():
        yield


def start(seed):
    """Begin as another process would: initial weights, then dropout."""
    torch.manual_seed(seed)
    current_draws().seed = seed
    current_draws().set_state({})


def make_iterable(phase, data):
    return make_pairs(data) if phase == PRETRAINING else make_epoch(data)


def train(net, phase, epoch, n_epochs, done=0, objective=None):
    begin_phase(net, make_phase(phase, EPOCHS, objective), done)
    net.partial_fit(epoch, epochs=n_epochs)


def resume(net, phase, checkpoint, epoch, objective=None):
    """Go on with what a checkpoint has left of a phase."""
    begin_phase(net, make_phase(phase, EPOCHS))
    done = restore(net, checkpoint.load(), epoch.generator)
    train(net, phase, epoch, EPOCHS - done, done, objective)
    return done


@pytest.mark.parametrize(
    ("options", "changes"),
    [
        ({}, {}),
        ({"attention": False}, {}),
        ({}, {"alternate": True}),
        ({"dropout": 0.3, "n_heads": 1}, {}),
    ],
    ids=["all", "no attention", "turns", "dropout"],
)
@pytest.mark.parametrize("phase", [PRETRAINING, ADVERSARIAL])
def test_a_resumed_training_ends_where_one_that_was_not_interrupted_ends(
    phase, options, changes, tmp_path
):
    data, objective = make_data(missing=True), make_objective(**changes)
    checkpoint = Checkpoint(tmp_path / "sub", "run", "these")

    start(1)
    whole, epoch = make_net(**options), make_iterable(phase, data)
    train(whole, phase, epoch, EPOCHS, objective=objective)

    start(1)
    net, epoch = make_net(**options), make_iterable(phase, data)
    train(net, phase, epoch, DONE, objective=objective)
    checkpoint.save(net, PARTS[net.phase_name_], DONE, epoch.generator)

    start(2)  # another process, another start
    other, epoch = make_net(**options), make_iterable(phase, data)
    epoch.generator.manual_seed(99)
    assert resume(other, phase, checkpoint, epoch, objective) == DONE

    # discriminators learn in adversarial training only; until then they are as drawn
    expected, found = state_of(whole), state_of(other)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        if phase == ADVERSARIAL or not name.startswith("discriminators"):
            assert torch.equal(found[name], value), name
    trusts = [net.parts_["trust"].running for net in (other, whole)]
    assert torch.equal(trusts[0], trusts[1])
    assert len(other.history) == EPOCHS
    for ours, others in zip(other.history, whole.history, strict=True):
        assert {k: v for k, v in ours.items() if k != "dur"} == {
            k: v for k, v in others.items() if k != "dur"
        }


def test_saving_does_not_change_the_training(tmp_path):
    data = make_data()
    states = []
    for saves in (False, True):
        start(1)
        net, epoch = make_net(dropout=0.3), make_epoch(data)
        train(net, ADVERSARIAL, epoch, DONE)
        if saves:
            Checkpoint(tmp_path, "run", "these").save(
                net, PARTS[ADVERSARIAL], DONE, epoch.generator
            )
        train(net, ADVERSARIAL, epoch, EPOCHS - DONE, DONE)
        states.append(state_of(net))
    for name, value in states[0].items():
        assert torch.equal(states[1][name], value), name


def test_the_best_epoch_so_far_is_resumed_too(tmp_path):
    data = make_data()
    checkpoint = Checkpoint(tmp_path, "run", "these")
    ends = []
    for interrupted in (False, True):
        start(1)
        net, epoch = make_net(), make_epoch(data)
        evaluate = partial(evaluate_losses, data=data, seed=0)
        net.callbacks_ = [("best", Selection(data, "clustering", 1, evaluate))]
        if interrupted:
            begin_phase(net, make_phase(ADVERSARIAL, EPOCHS))
            net.on_train_end = lambda *args, **kwargs: None  # killed before
            net.partial_fit(epoch, epochs=DONE)
            checkpoint.save(net, PARTS[net.phase_name_], DONE, epoch.generator)
            net, epoch = make_net(), make_epoch(data)
            net.callbacks_ = [("best", Selection(data, "clustering", 1, evaluate))]
            resume(net, ADVERSARIAL, checkpoint, epoch)
        else:
            train(net, ADVERSARIAL, epoch, EPOCHS)
        ends.append((net.best_loss_, state_of(net)))
    assert ends[0][0] == ends[1][0]
    for name, value in ends[0][1].items():
        assert torch.equal(ends[1][1][name], value), name


def test_a_phase_after_a_competition_of_heads_is_resumed(tmp_path):
    data = make_data()
    checkpoint = Checkpoint(tmp_path, "adversarial", "these")

    def pretrained():
        start(1)
        net = make_net(n_heads=3)
        train(net, PRETRAINING, make_pairs(data), EPOCHS)
        keep_best_head(net, make_pairs(data, seed=1))
        return net, make_epoch(data)

    whole, epoch = pretrained()
    train(whole, ADVERSARIAL, epoch, EPOCHS)
    net, epoch = pretrained()
    train(net, ADVERSARIAL, epoch, DONE)
    checkpoint.save(net, PARTS[net.phase_name_], DONE, epoch.generator)
    other, epoch = pretrained()
    resume(other, ADVERSARIAL, checkpoint, epoch)
    for name, value in state_of(whole).items():
        assert torch.equal(state_of(other)[name], value), name


# Files


@pytest.fixture
def saved(tmp_path):
    """A checkpoint, and the net and the generator it holds."""
    net, epoch = make_net(), make_epoch(make_data())
    train(net, ADVERSARIAL, epoch, 1)
    checkpoint = Checkpoint(tmp_path, "run", "these")
    checkpoint.save(net, PARTS[ADVERSARIAL], 1, epoch.generator)
    return checkpoint, net, epoch.generator


def test_there_is_nothing_to_load_before_something_is_saved(tmp_path):
    assert Checkpoint(tmp_path / "none", "run", "these").load() is None


def test_a_checkpoint_of_other_data_or_parameters_is_ignored(saved):
    checkpoint, *_ = saved
    assert checkpoint.load()["done"] == 1
    assert Checkpoint(checkpoint.folder, "run", "others").load() is None


def test_a_checkpoint_is_read_without_running_code(saved):
    checkpoint, *_ = saved
    state = torch.load(checkpoint.path, weights_only=True)
    assert state["phase"] == ADVERSARIAL
    assert state.keys() == checkpoint.load().keys()


class Harm:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_code_in_a_file_is_not_run(tmp_path):
    checkpoint, harm = Checkpoint(tmp_path, "run", "these"), tmp_path / "harm"
    torch.save({"done": Harm(harm)}, checkpoint.path)
    with pytest.warns(UserWarning, match=re.escape(checkpoint.path.name)):
        assert checkpoint.load() is None
    assert not harm.exists()
    payload = checkpoint.path.read_bytes()
    checkpoint.path.write_bytes(payload + _sealed._seal(payload))  # by an attacker
    with pytest.warns(UserWarning, match="objects other than tensors") as warned:
        assert checkpoint.load() is None
    assert "weights_only" not in str(warned[0].message)
    assert not harm.exists()


def test_a_later_checkpoint_replaces_the_earlier_and_leaves_nothing_else(saved):
    checkpoint, net, generator = saved
    checkpoint.save(net, PARTS[ADVERSARIAL], 3, generator)
    assert checkpoint.load()["done"] == 3
    assert os.listdir(checkpoint.folder) == ["run-these.pt"]


def test_a_crash_in_the_middle_of_writing_leaves_the_earlier_checkpoint(
    saved, monkeypatch
):
    checkpoint, net, generator = saved

    def half(state, file):
        file.write(b"PK half of it")
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(torch, "save", half)
        with pytest.raises(KeyboardInterrupt):
            checkpoint.save(net, PARTS[ADVERSARIAL], 3, generator)
    assert checkpoint.load()["done"] == 1
    checkpoint.save(
        net, PARTS[ADVERSARIAL], 4, generator
    )  # the rest of the crash is not in the way
    assert checkpoint.load()["done"] == 4


def test_an_unfinished_file_of_another_process_does_not_matter(saved):
    checkpoint, *_ = saved
    checkpoint.path.with_suffix(".12345.tmp").write_bytes(b"PK half of it")
    assert checkpoint.load()["done"] == 1


# Damage


@pytest.fixture
def check_ignored(saved):
    """Check that the checkpoint with this content is warned of, and not resumed."""
    checkpoint, *_ = saved

    def check(content, reason):
        checkpoint.path.write_bytes(content)
        named = f"{re.escape(checkpoint.path.name)}.*{reason}"
        with pytest.warns(UserWarning, match=named) as warned:
            assert checkpoint.load() is None
        assert "weights_only" not in str(warned[0].message)

    return check


def test_no_flipped_bit_is_taken_for_a_checkpoint(saved, check_ignored):
    whole = saved[0].path.read_bytes()
    rng = np.random.default_rng(0)
    ends = [0, 1, len(whole) - 1]
    for position in [*ends, *rng.integers(len(whole), size=60)]:
        flipped = bytearray(whole)
        flipped[position] ^= 1 << rng.integers(8)
        check_ignored(bytes(flipped), "damaged")


def test_other_content_is_not_taken_for_a_checkpoint(saved, check_ignored, tmp_path):
    whole = saved[0].path.read_bytes()
    torch.save({"phase": ADVERSARIAL}, tmp_path / "foreign")
    for content in (
        b"",
        whole[:1],
        whole[: len(whole) // 2],
        whole[:-1],
        whole + b"x",
        np.random.default_rng(0).bytes(len(whole)),
        (tmp_path / "foreign").read_bytes(),
    ):
        check_ignored(content, "damaged, or was not written")


def test_a_copy_of_another_checkpoint_is_not_resumed(saved, check_ignored):
    checkpoint, net, generator = saved
    for other in (
        Checkpoint(checkpoint.folder, "another", "these"),
        Checkpoint(checkpoint.folder, "run", "others"),
    ):
        other.save(net, PARTS[ADVERSARIAL], 1, generator)
        check_ignored(other.path.read_bytes(), "another training")


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_weights_that_are_not_finite_are_not_resumed(saved, check_ignored, bad):
    checkpoint, net, generator = saved
    next(net.module_.parameters()).data[0, 0] = bad
    checkpoint.save(net, PARTS[ADVERSARIAL], 1, generator)
    check_ignored(checkpoint.path.read_bytes(), "NaN or infinite")


def test_a_full_disk_names_the_file_and_the_remedy_and_loses_nothing(small_disk):
    net, epoch = make_net(adversarial=False), make_epoch(make_data())
    train(net, ADVERSARIAL, epoch, 1)
    checkpoint = Checkpoint(small_disk, "run", "these")
    checkpoint.save(net, PARTS[ADVERSARIAL], 1, epoch.generator)
    size = os.stat(checkpoint.path).st_size
    free = shutil.disk_usage(small_disk).free
    (small_disk / "rest").write_bytes(bytes(free - size // 2))
    named = f"{re.escape(str(checkpoint.path))}.*free some space"
    with pytest.raises(OSError, match=named):
        checkpoint.save(net, PARTS[ADVERSARIAL], 2, epoch.generator)
    assert sorted(os.listdir(small_disk)) == ["rest", "run-these.pt"]
    assert checkpoint.load()["done"] == 1
