"""Results in `isolated` do not depend on torch's global state."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import nn

from mmfusion.nn._isolation import Draws, current_draws, drawing, isolated
from tests.nn.torch_state import CHANGES, global_state, product_precision


def settings():
    """Return all settings that `isolated` fixes."""
    return {
        "dtype": torch.get_default_dtype(),
        "device": torch.get_default_device(),
        "gradients": torch.is_grad_enabled(),
        "inference": torch.is_inference_mode_enabled(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "anomaly": torch.is_anomaly_enabled(),
        "autocast": torch.is_autocast_enabled("cpu"),
        "threads": torch.get_num_threads(),
        "flushed": bool(torch.tensor(1e-40, device="cpu", dtype=torch.float32) == 0),
        "rounds": not {"bf16", "tf32", "medium", "high"}.isdisjoint(
            product_precision()
        ),
    }


FIXED = {
    "dtype": torch.float32,
    "device": torch.device("cpu"),
    "gradients": True,
    "inference": False,
    "deterministic": False,
    "anomaly": False,
    "autocast": False,
    "threads": 1,
    "flushed": False,
    "rounds": False,
}


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_every_setting_is_fixed_inside_and_restored(change):
    with change():
        before = global_state()
        with isolated():
            assert settings() == FIXED
            with isolated(1):
                assert settings() == FIXED
            assert settings() == FIXED
        assert global_state() == before
        with pytest.raises(KeyError), isolated():
            raise KeyError
        assert global_state() == before


def test_settings_of_the_process_stay_fixed_until_the_last_thread_leaves():
    inside, leave = threading.Event(), threading.Event()

    def other():
        with isolated():
            inside.set()
            assert leave.wait(60)
            return settings()

    before = global_state()
    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(3)
    try:
        changed = global_state()
        with ThreadPoolExecutor(1) as pool:
            with isolated():
                future = pool.submit(other)
                assert inside.wait(60)
            assert torch.get_default_dtype() == torch.float32  # the other is inside
            assert torch.get_num_threads() == 3  # which is this thread's own
            leave.set()
            assert future.result() == FIXED
            assert global_state() == changed
            assert pool.submit(torch.get_num_threads).result() == 3
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(torch.get_num_threads).result() == 3
    finally:
        torch.set_default_dtype(torch.float32)
        torch.set_num_threads(before["threads"])


# Random numbers

LAYERS = {
    "dropout": lambda: nn.Dropout(0.5),
    "channels": lambda: nn.Sequential(nn.Unflatten(1, (4, 2)), nn.Dropout1d(0.5)),
    "alpha dropout": lambda: nn.AlphaDropout(0.5),
    "rrelu": nn.RReLU,
    "transformer": lambda: nn.TransformerEncoderLayer(8, 2, 8),
}
OPERATIONS = {
    "rand": lambda: torch.rand(5),
    "randn": lambda: torch.randn(2, 3, dtype=torch.float64),
    "randint": lambda: torch.randint(9, (7,)),
    "randint from": lambda: torch.randint(3, 9, (7,)),
    "randperm": lambda: torch.randperm(9),
    "like": lambda: torch.rand_like(torch.ones(4)),
    "normal": lambda: torch.normal(0.0, 1.0, (4,)),
    "normal of tensors": lambda: torch.normal(torch.zeros(4), torch.ones(4)),
    "bernoulli": lambda: torch.bernoulli(torch.full((9,), 0.5)),
    "multinomial": lambda: torch.multinomial(torch.ones(9), 4),
    "poisson": lambda: torch.poisson(torch.full((9,), 3.0)),
    "in place": lambda: torch.empty(4).exponential_(),
    "distribution": lambda: torch.distributions.Gamma(2.0, 1.0).sample((4,)),
    "linear": lambda: nn.Linear(3, 2).weight.detach(),
    "lstm": lambda: nn.LSTM(3, 2).weight_hh_l0.detach(),
} | {
    name: lambda make=make: make()(-torch.ones(6, 8)).detach()
    for name, make in LAYERS.items()
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_operations_draw_the_numbers_of_torch_from_a_separate_generator(name):
    draw = OPERATIONS[name]
    torch.manual_seed(5)
    expected = [draw(), draw()]
    before = torch.get_rng_state()
    with isolated(5), drawing():
        found = [draw(), draw()]
    assert torch.equal(torch.get_rng_state(), before)
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0)
    assert not torch.equal(*found)


def test_a_generator_that_is_given_is_used():
    generator = torch.Generator().manual_seed(3)
    with isolated(5), drawing():
        found = torch.rand(4, generator=generator)
    assert torch.equal(found, torch.rand(4, generator=generator.manual_seed(3)))


def test_the_state_of_the_generators_can_be_restored():
    with isolated(2), drawing():
        torch.rand(3)
        state = current_draws().get_state()
        expected = torch.rand(3)
    with isolated(9), drawing():
        current_draws().set_state(state)
        assert torch.equal(torch.rand(3), expected)


def test_operations_outside_are_not_redirected():
    torch.manual_seed(4)
    expected = torch.rand(3)
    torch.manual_seed(4)
    with drawing():
        assert torch.equal(torch.rand(3), expected)
    with pytest.raises(RuntimeError, match="isolated"):
        current_draws()
    assert Draws(1).get_state() == {}


def test_dropout_in_several_threads_is_that_of_one():
    dropout = nn.Dropout(0.5)

    def draw(_):
        with isolated(3), drawing():
            return torch.stack([dropout(torch.ones(50)) for _ in range(50)])

    alone = draw(None)
    with ThreadPoolExecutor(4) as pool:
        assert all(torch.equal(found, alone) for found in pool.map(draw, range(12)))
