"""Outputs of a network for many samples need memory for themselves alone."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mmfusion.nn._data import Preparation, Rows
from mmfusion.nn._training import collect_outputs, iterate_outputs
from tests.clustering.eamc_nets import FEATURES, make_net

N = 2500  # three chunks, of which the last is short

GROWTH = """
import numpy as np

from tests.clustering.small import small

FIELD = "RssAnon:"


def resident():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if FIELD in line) / 2**10


rng = np.random.default_rng(0)
X = [rng.standard_normal((200_000, 8), np.float32) for _ in range(2)]
model = small().fit([block[:2000] for block in X])
for name in ("predict", "transform", "predict_proba"):
    method = getattr(model, name)
    method([block[:5000] for block in X])
    before = resident()
    result = method(X)
    print(name, resident() - before - result.nbytes / 2**20)
    del result
"""


@pytest.fixture
def rows():
    random = np.random.default_rng(0)
    return Rows([random.standard_normal((N, d)) for d in FEATURES])


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_collected_outputs_are_those_of_the_chunks(rows, dtype):
    shapes = [(d,) for d in FEATURES]
    prepare = Preparation.fit(rows, ["block"] * len(FEATURES), shapes)
    net = make_net()
    found = collect_outputs(net, rows, prepare, lambda o: o.fused, np.dtype(dtype))
    pieces = [o.fused.numpy() for o in iterate_outputs(net, rows, prepare)]
    assert len(pieces) == 3
    np.testing.assert_array_equal(found, np.concatenate(pieces).astype(dtype))
    assert found.dtype == dtype


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="counts as Linux")
def test_no_memory_is_left_between_the_chunks():
    command = [sys.executable, "-W", "ignore", "-c", GROWTH]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    growth = {name: float(mb) for name, mb in map(str.split, lines.splitlines())}
    assert growth.keys() == {"predict", "transform", "predict_proba"}
    # small arrays kept between temporary ones: 40 MB and more
    assert max(growth.values()) < 10, growth
