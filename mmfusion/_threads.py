"""Threads of linear algebra."""

from __future__ import annotations

from contextlib import AbstractContextManager
from functools import cache
from typing import Any

from threadpoolctl import ThreadpoolController


@cache
def _threadpools() -> ThreadpoolController:
    return ThreadpoolController()  # looks through all loaded libraries: once is enough


def one_blas_thread() -> AbstractContextManager[Any]:
    """Limit BLAS to one thread, for many small products.

    Returns
    -------
    context manager
        The context in which BLAS has one thread.
    """
    return _threadpools().limit(limits=1, user_api="blas")
