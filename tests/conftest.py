"""Fixtures that several topics use."""

import os
from pathlib import Path

import pytest
from threadpoolctl import threadpool_limits

# a parallel function of numba, of which tslearn has some, sets the threads of OpenMP,
# torch's too; sums in another order then differ from those of other processes
os.environ.setdefault("NUMBA_NUM_THREADS", "1")

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data():
    """The folder of real data sets that lies beside the project, if it does."""
    if not SHARED_DATA.is_dir():
        pytest.skip("the real data sets (../shared/data) are not beside the project")
    return SHARED_DATA


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """Leave the cores to the workers of pytest and joblib."""
    with threadpool_limits(1):
        yield
