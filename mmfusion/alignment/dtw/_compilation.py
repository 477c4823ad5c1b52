"""Compilation by numba: a cache that may be missing, and Ctrl-C that has to wait."""

from __future__ import annotations

import signal
import threading
import warnings
from collections.abc import Callable
from typing import Any

import numba
from numba.core import event
from numba.core.caching import FunctionCache
from numba.core.compiler_lock import global_compiler_lock


def compiler(fastmath: bool | set[str] = False) -> Callable[[Any], Any]:
    """Make a decorator that compiles functions, and caches them where it can.

    Parameters
    ----------
    fastmath : bool or set of str, default=False
        As numba takes it.

    Returns
    -------
    callable
        The decorator.
    """

    def compiled(function: Any) -> Any:
        dispatcher: Any = numba.njit(nogil=True, fastmath=fastmath)(function)
        try:
            dispatcher._cache = _Cache(function)
        except (RuntimeError, OSError) as error:
            _warn_of_cache(error)
        return dispatcher

    return compiled


class _Cache(FunctionCache):
    """A cache that does without a file that is damaged, or cannot be written."""

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        try:
            return super().load_overload(sig, target_context)
        except Exception as error:  # pickle raises nearly all there are
            _warn_of_cache(error)
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        try:
            super().save_overload(sig, data)
        except Exception as error:
            _warn_of_cache(error)


_warned = False


def _warn_of_cache(error: Exception) -> None:
    global _warned
    if not _warned:
        _warned = True
        warnings.warn(
            "compiled functions of mmfusion.alignment are not cached, and compiled "
            "again in every process; set the environment variable NUMBA_CACHE_DIR to a "
            f"folder that can be written, or empty the one there is ({error})",
            RuntimeWarning,
            stacklevel=2,
        )


class _DeferredInterrupt(event.Listener):
    """Ctrl-C waits until a compilation is done.

    In the midst of one it may end what numba does only once, such as to register its
    own functions, and every later compilation of the process fails.
    """

    def __init__(self) -> None:
        self._handler: Any = None
        self._received = False

    def on_start(self, _: Any) -> None:
        """Take Ctrl-C in the place of its handler, before the outermost lock."""
        handler = signal.getsignal(signal.SIGINT)
        if self._is_outermost() and callable(handler) and handler != self._receive:
            self._handler, self._received = handler, False
            signal.signal(signal.SIGINT, self._receive)

    def on_end(self, _: Any) -> None:
        """Put the handler back, and give it what was received."""
        if self._is_outermost() and self._put_back() and self._received:
            signal.raise_signal(signal.SIGINT)

    @staticmethod
    def _is_outermost() -> bool:
        # signals reach no other thread
        is_main = threading.current_thread() is threading.main_thread()
        return is_main and not global_compiler_lock.is_locked()

    def _put_back(self) -> bool:
        if signal.getsignal(signal.SIGINT) != self._receive:
            return False
        signal.signal(signal.SIGINT, self._handler)
        return True

    def _receive(self, *_: Any) -> None:
        if global_compiler_lock.is_locked():
            self._received = True
        else:  # it waits for the compilation of another thread, or is over
            self._put_back()
            signal.raise_signal(signal.SIGINT)


event.register("numba:compiler_lock", _DeferredInterrupt())
