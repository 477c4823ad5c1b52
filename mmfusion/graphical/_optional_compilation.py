"""Compilation at the first call, of functions that also run where numba is missing."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, wraps
from typing import Any


def compiled_at_first_call(
    substitute: Callable[..., Any] | None = None,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Make a decorator that compiles a function when it is first called.

    So its module loads no numba, which is optional.

    Parameters
    ----------
    substitute : callable, default=None
        What is called where numba is not installed, for functions that take long as
        Python; by default the function itself.

    Returns
    -------
    callable
        The decorator.
    """

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        @cache
        def compiled() -> Callable[..., Any]:
            try:
                from mmfusion._compilation import jit_ieee
            except ImportError:
                return substitute or function
            return jit_ieee(function)

        @wraps(function)
        def call(*args: Any) -> Any:
            return compiled()(*args)

        return call

    return decorate
