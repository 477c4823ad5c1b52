"""Two processes that train together find what one finds."""

import json
import subprocess
import sys

import numpy as np
import pytest

from .small import X, small

WORKER = """
import json
import sys

from torch import distributed

from tests.clustering.test_eamc_processes import DATA, fitted

rank, folder = int(sys.argv[1]), sys.argv[2]
distributed.init_process_group(
    "gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2
)
models = {name: fitted(name) for name in DATA}
models["any seed"] = fitted("complete", random_state=None)
found = {n: (m.history_, m.labels_.tolist()) for n, m in models.items()}
with open(f"{folder}/{rank}.json", "w") as file:
    json.dump(found, file)
distributed.destroy_process_group()
"""
GAPS = {name: block.copy() for name, block in X.to_dict().items()}
GAPS["audio"][::3] = np.nan
GAPS["video"][1::3] = np.nan
DATA = {"complete": X, "with gaps": GAPS}


def fitted(name, random_state=0):
    """Fit in double precision: in single, rounding grows within a few epochs."""
    model = small(n_init=2, max_epochs=4, batch_size=24, dtype="float64")
    return model.set_params(random_state=random_state).fit(DATA[name])


def test_two_processes_have_the_loss_curve_of_one(tmp_path):
    workers = [
        subprocess.Popen([sys.executable, "-c", WORKER, str(rank), str(tmp_path)])
        for rank in range(2)
    ]
    try:
        assert [worker.wait(timeout=500) for worker in workers] == [0, 0]
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()
    both = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2)]
    assert both[0]["any seed"][1] == both[1]["any seed"][1]
    for name in DATA:
        alone = fitted(name)
        for found in both:
            history, labels = found[name]
            assert len(history) == alone.n_iter_ == 8
            for ours, theirs in zip(alone.history_, history, strict=True):
                assert set(ours) == set(theirs)
                assert ours["phase"] == theirs["phase"]
                for term in set(ours) - {"epoch", "batches", "phase"}:
                    assert theirs[term] == pytest.approx(ours[term], rel=1e-6), term
            assert labels == alone.labels_.tolist()
