"""Threads of BLAS and OpenMP: as many as `n_jobs`, and one for many small products.

Both take all processors by default. The threads of small products and short loops then
wait for each other, all the more where other processes use the same cores. Compiled
functions of mmfusion have one thread; joblib runs several of them at a time.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import lru_cache, wraps
from typing import Any, Protocol, TypeVar

from joblib import effective_n_jobs
from threadpoolctl import ThreadpoolController

F = TypeVar("F", bound=Callable[..., Any])


def _pools() -> ThreadpoolController:
    # modules that were imported since may have loaded libraries of their own
    return _find_pools(len(sys.modules))


@lru_cache(maxsize=1)
def _find_pools(n_modules: int) -> ThreadpoolController:
    return ThreadpoolController()  # looks through all loaded libraries, for some 7 ms


class _BlasLimits:
    """Limits of BLAS, which has one number of threads for the whole process.

    The lowest limit counts. Contexts of concurrent threads do not end in the reverse
    order of their begins: the number that one finds may be another's limit, so that
    only the last one restores the number without limits.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._limits: list[int] = []
        self._outside: list[tuple[Any, int]] = []  # libraries, and their threads

    def add(self, limit: int) -> None:
        with self._lock:
            if not self._limits:
                libraries = _pools().select(user_api="blas").lib_controllers
                self._outside = [(own, own.get_num_threads()) for own in libraries]
            self._limits.append(limit)
            self._apply()

    def remove(self, limit: int) -> None:
        with self._lock:
            self._limits.remove(limit)
            self._apply()

    def _apply(self) -> None:
        for library, n_threads in self._outside:
            n_threads = min([n_threads, *self._limits])
            if n_threads == library.get_num_threads():
                continue
            # threadpoolctl would keep OpenBLAS to the first thread that sets it
            release = getattr(library, "clear_controlling_thread", lambda force: None)
            release(force=True)
            library.set_num_threads(n_threads)
            release(force=True)


_blas_limits = _BlasLimits()


@contextmanager
def limited_threads(limit: int) -> Iterator[None]:
    """Limit the threads of BLAS and OpenMP.

    Parameters
    ----------
    limit : int
        Largest number of threads. Lower limits that hold outside, or in other threads
        of Python, stay.

    Yields
    ------
    None
        Nothing; the block is executed with the limit.
    """
    pools = _pools().select(user_api="openmp")  # a number for each thread of Python
    present = [pool["num_threads"] for pool in pools.info()]
    outside = pools.limit(limits=min([limit, *present]))
    _blas_limits.add(limit)
    try:
        yield
    finally:
        _blas_limits.remove(limit)
        outside.restore_original_limits()


def one_thread() -> AbstractContextManager[None]:
    """Limit BLAS and OpenMP to one thread, for many small products.

    Returns
    -------
    context manager
        The context with the limit.
    """
    return limited_threads(1)


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
