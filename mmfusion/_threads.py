"""Threads of BLAS and OpenMP: as many as `n_jobs`, and one for many small products.

Both take all processors by default. The threads of small products and short loops then
wait for each other, all the more where other processes use the same cores. Compiled
functions of mmfusion have one thread; joblib runs several of them at a time.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import cache, wraps
from typing import Any, Protocol, TypeVar

from joblib import effective_n_jobs
from threadpoolctl import ThreadpoolController

# with libraries of their own, which may be loaded late
PACKAGES_WITH_THREADS = ("torch", "lightgbm", "xgboost")

F = TypeVar("F", bound=Callable[..., Any])


def _pools() -> ThreadpoolController:
    return _find_pools(tuple(name in sys.modules for name in PACKAGES_WITH_THREADS))


@cache
def _find_pools(loaded: tuple[bool, ...]) -> ThreadpoolController:
    return ThreadpoolController()  # looks through all loaded libraries, for some 7 ms


def limited_threads(limit: int) -> AbstractContextManager[Any]:
    """Limit the threads of BLAS and OpenMP.

    Parameters
    ----------
    limit : int
        Largest number of threads. Lower limits that hold outside stay.

    Returns
    -------
    context manager
        The context with the limit. In concurrent threads, BLAS has the limit of the
        first, since it has one number for the whole process.
    """
    limits: dict[str, int] = {}
    for pool in _pools().info():
        api, present = pool["user_api"], pool["num_threads"]
        limits[api] = min(limits.get(api, limit), present)
    return _pools().limit(limits=limits)


def one_thread() -> AbstractContextManager[Any]:
    """Limit BLAS and OpenMP to one thread, for many small products.

    Returns
    -------
    context manager
        The context with the limit.
    """
    return _pools().limit(limits=1)


class _HasJobs(Protocol):
    n_jobs: int | None


def threads_of_n_jobs(method: F) -> F:
    """Decorate a method of an estimator to have `n_jobs` threads in BLAS and OpenMP.

    Parameters
    ----------
    method : callable
        Method of an estimator with the parameter `n_jobs`. As elsewhere, None is one
        thread unless in a joblib context.

    Returns
    -------
    callable
        The method with the limit.
    """

    @wraps(method)
    def limited(self: _HasJobs, *args: Any, **kwargs: Any) -> Any:
        with limited_threads(effective_n_jobs(self.n_jobs)):
            return method(self, *args, **kwargs)

    return limited  # type: ignore[return-value]
