import pytest
from threadpoolctl import threadpool_limits


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """Leave the cores to joblib's workers."""
    with threadpool_limits(1):
        yield
