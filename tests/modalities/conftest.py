import pytest

from .block_zoo import BLOCKS


@pytest.fixture(params=list(BLOCKS))
def given(request, tmp_path):
    """Data of one modality, of every kind."""
    return BLOCKS[request.param](tmp_path)


@pytest.fixture
def make_given(tmp_path):
    """Make data of one modality by the name of their kind."""
    return lambda kind: BLOCKS[kind](tmp_path)
