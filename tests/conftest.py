"""Fixtures that several topics use."""

import os
import subprocess
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


@pytest.fixture
def small_disk(tmp_path):
    """A folder on a disk of its own, of 300 kB, where the system allows to mount it."""
    folder = tmp_path / "small_disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(folder)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no disk can be mounted: {error}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """Leave the cores to the workers of pytest and joblib."""
    with threadpool_limits(1):
        yield
