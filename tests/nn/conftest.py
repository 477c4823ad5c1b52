"""Fixtures of the tests of networks."""

import pytest
import torch


@pytest.fixture(autouse=True)
def seeded():
    """Start every test from the same random state of torch."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield
