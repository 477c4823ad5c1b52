from pathlib import Path

import pytest

SHARED_DATA = Path(__file__).parents[3] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data():
    """The folder of real data sets, which is not part of the repository."""
    if not SHARED_DATA.is_dir():
        pytest.skip("the real data sets of ../shared/data are absent")
    return SHARED_DATA
