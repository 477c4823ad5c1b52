"""Several processes that train together find what one finds."""

import json
import subprocess
import sys

import numpy as np
import pytest
from sklearn.base import clone
from torch import nn

from mmfusion import (
    DCCA,
    AutoencoderClusterer,
    CoMVCClusterer,
    DMSCClusterer,
    MFLVCClusterer,
)

from .small import X, nested, small

N_PROCESSES = 3
WORKER = """
import json
import sys

from torch import distributed

from tests.clustering.small import X, small
from tests.clustering.test_eamc_checkpoints import epochs_of
from tests.clustering.test_eamc_processes import CASES, N_PROCESSES, fitted, numbers

rank, folder = int(sys.argv[1]), sys.argv[2]
distributed.init_process_group(
    "gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=N_PROCESSES
)
found = {name: numbers(fitted(name)) for name in CASES}
found["any seed"] = numbers(fitted("dividing", random_state=None))
found["mixed precision"] = numbers(fitted("with images", trainer__dtype="bfloat16"))
folders = {"checkpoint_dir": f"{folder}/{rank}", "checkpoint_every": 1}
found["resumed"] = [epochs_of(small(**folders)) for _ in range(2)]
for rows in (X[: 60 + rank], X[::1 - 2 * rank]):
    try:
        small().fit(rows)
    except ValueError as error:
        found.setdefault("refused", []).append(str(error))
with open(f"{folder}/{rank}.json", "w") as file:
    json.dump(found, file)
distributed.destroy_process_group()
"""
GAPS = {name: block.copy() for name, block in X.to_dict().items()}
GAPS["audio"][::3] = np.nan
GAPS["video"][1::3] = np.nan
# images whose left half is the modality's four features, and their right half noise
IMAGES = np.random.default_rng(0).standard_normal((120, 1, 12, 12))
IMAGES[:, 0, :, :4] += X["audio"][:, None]
MIXED = {"image": IMAGES, "video": X["video"]}


class Centered(nn.Module):
    """Subtracts the mean of the batch: its samples depend on each other."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 8)

    def forward(self, x):
        return self.layer(x - x.mean(0))


class Noisy(nn.Sequential):
    """Draws random numbers."""

    def __init__(self):
        super().__init__(nn.Linear(6, 8), nn.Dropout(0.3))


def normalized(shape):
    """Make an encoder with batch norm over images."""
    return nn.Sequential(
        nn.Conv2d(1, 4, 5),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(256, 8),
    )


EAMC = small(batch_size=24, dtype="float64")
COMVC = CoMVCClusterer(3, encoders=[16, 8], n_init=1, random_state=0).set_params(
    **nested({"max_epochs": 2, "batch_size": 20, "dtype": "float64"})
)
DAMC = AutoencoderClusterer(
    3, readout="dec", adversarial_weight=0.01, encoders=[16, 8], tol=0, random_state=0
).set_params(
    **nested({"pretrain_epochs": 2, "max_epochs": 2, "batch_size": 20})
    | nested({"dtype": "float64"})
)
SCORES = DCCA(2, encoders=[8, 4], reconstruction_weight=0.1, random_state=0).set_params(
    **nested({"max_epochs": 2, "batch_size": 20, "dtype": "float64"})
)
MFLVC = MFLVCClusterer(
    3, encoders=[16, 8], matching_epochs=2, random_state=0
).set_params(
    **nested({"pretrain_epochs": 2, "max_epochs": 2, "batch_size": 20})
    | nested({"dtype": "float64"})
)
DMSC = DMSCClusterer(3, encoders=[16, 8], random_state=0).set_params(
    **nested({"pretrain_epochs": 2, "max_epochs": 20, "batch_size": 20})
    | nested({"dtype": "float64"})
)
CASES = {
    "dividing": (EAMC, X, {"n_init": 2}),
    "not dividing": (EAMC, X, {"batch_size": 20}),
    # one epoch: batch norm of two samples amplifies rounding
    "smaller than the processes": (
        EAMC,
        X,
        {"batch_size": 2, "pretrain_epochs": 1, "max_epochs": 0},
    ),
    "with gaps": (EAMC, GAPS, {"batch_size": 25}),
    "with images": (EAMC, MIXED, {"batch_size": 20, "encoders": 8}),
    "with batch norm of the user": (
        EAMC,
        MIXED,
        {"batch_size": 20, "encoders": {"image": normalized, "video": [16, 8]}},
    ),
    "with encoders of the user": (
        EAMC,
        X,
        {
            "batch_size": 20,
            "encoders": {"audio": lambda _: Centered(), "video": lambda _: Noisy()},
        },
    ),
    "turns alternate": (EAMC, MIXED, {"adversary": {"alternate": True}, "encoders": 8}),
    "CoMVC": (COMVC, MIXED, {}),
    "DAMC": (DAMC, GAPS, {}),
    "DAMC with images": (DAMC, MIXED, {"encoders": 8}),
    "DCCA": (SCORES, GAPS, {}),
    "DMSC": (DMSC, GAPS, {}),
    "DMSC with anchors": (DMSC, GAPS, {"n_anchors": 10}),
    "MFLVC": (MFLVC, GAPS, {}),
}


def fitted(name, **params):
    """Fit in double precision: in single, rounding grows within a few epochs."""
    model, data, own = CASES[name]
    return clone(model).set_params(**nested(own), **params).fit(data)


def numbers(model):
    predictions = getattr(model, model._predictions_attribute)
    return model.history_, predictions.tolist()


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What each process found."""
    folder = tmp_path_factory.mktemp("processes")
    workers = [
        subprocess.Popen([sys.executable, "-c", WORKER, str(rank), str(folder)])
        for rank in range(N_PROCESSES)
    ]
    try:
        codes = [worker.wait(timeout=500) for worker in workers]
        assert codes == [0] * N_PROCESSES
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()
    paths = [folder / f"{rank}.json" for rank in range(N_PROCESSES)]
    return [json.loads(path.read_text()) for path in paths]


@pytest.mark.parametrize("name", CASES)
def test_processes_have_the_loss_curve_of_one(found, name):
    alone = fitted(name)
    for history, labels in (each[name] for each in found):
        assert len(history) == alone.n_iter_
        for ours, theirs in zip(alone.history_, history, strict=True):
            assert set(ours) == set(theirs)
            assert ours["phase"] == theirs["phase"]
            for term in set(ours) - {"epoch", "batches", "phase"}:
                assert theirs[term] == pytest.approx(ours[term], rel=1e-6), term
        assert labels == pytest.approx(numbers(alone)[1], rel=1e-6)


def test_processes_share_a_seed_that_is_not_given(found):
    labels = [each["any seed"][1] for each in found]
    assert labels[0] == labels[1] == labels[2]


def test_processes_train_in_mixed_precision(found):
    history, _ = numbers(fitted("with images", trainer__dtype="bfloat16"))
    for each in found:
        other, _ = each["mixed precision"]
        assert other[0]["train_loss"] == pytest.approx(
            history[0]["train_loss"], rel=0.1
        )


def test_processes_with_other_samples_are_refused(found):
    for each in found:
        number, order = each["refused"]
        assert "processes [1, 2] have other samples than the first" in number
        assert "every process takes all samples" in order


def test_processes_resume_the_checkpoint_of_the_first(found):
    # each has a folder of its own, as on several machines
    assert [each["resumed"] for each in found] == [[6, 0]] * N_PROCESSES
