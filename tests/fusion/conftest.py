import pytest
from threadpoolctl import threadpool_limits


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """Two threads that wait for each other on a busy machine take ten times as long."""
    with threadpool_limits(1):
        yield
