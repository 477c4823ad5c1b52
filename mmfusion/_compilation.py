"""Compilation by numba: caches that may be unusable, and deferred interrupts."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

import numba
from numba.core import event
from numba.core.caching import FunctionCache
from numba.core.compiler_lock import global_compiler_lock

from mmfusion._warnings import warn_user


def compiler(
    fastmath: bool | set[str] = False,
) -> Callable[[Callable[..., Any]], Any]:
    """Make a decorator that compiles functions and caches them where possible.

    Parameters
    ----------
    fastmath : bool or set of str, default=False
        The relaxations of IEEE arithmetic, as in `numba.njit`.

    Returns
    -------
    callable
        The decorator.
    """

    def decorate(function: Callable[..., Any]) -> Any:
        dispatcher: Any = numba.njit(nogil=True, fastmath=fastmath)(function)
        try:
            dispatcher._cache = _LenientCache(function)
        except (RuntimeError, OSError) as error:
            _warn_of_cache(error)
        return dispatcher

    return decorate


class _LenientCache(FunctionCache):
    """Cache that does without a file that is damaged or cannot be written."""

    def load_overload(self, sig: object, target_context: object) -> object:
        try:
            return super().load_overload(sig, target_context)
        except Exception as error:  # unpickling damaged bytes raises nearly any error
            _warn_of_cache(error)
            return None

    def save_overload(self, sig: object, data: object) -> None:
        try:
            super().save_overload(sig, data)
        except Exception as error:
            _warn_of_cache(error)


_warned = False


def _warn_of_cache(error: Exception) -> None:
    """Warn once per process that compiled functions are not cached."""
    global _warned
    if not _warned:
        _warned = True
        warn_user(
            "compiled functions of mmfusion are not cached, and compiled "
            "again in every process; set the environment variable NUMBA_CACHE_DIR to a "
            f"writable folder, or empty the existing one ({error})",
            RuntimeWarning,
        )


class _DeferredInterrupt(event.Listener):
    """Deferral of Ctrl-C until a compilation is finished.

    An interrupt during compilation may abort work that numba does only once per
    process, such as registering its own functions; then every later compilation fails.
    """

    def __init__(self) -> None:
        self._handler: Any = None
        self._received = False

    def on_start(self, _: object) -> None:
        """Replace the handler of Ctrl-C before the outermost lock is acquired."""
        handler = signal.getsignal(signal.SIGINT)
        if self._is_outermost() and callable(handler) and handler != self._receive:
            self._handler, self._received = handler, False
            signal.signal(signal.SIGINT, self._receive)

    def on_end(self, _: object) -> None:
        """Restore the handler, and raise the interrupt that was deferred."""
        if self._is_outermost() and self._restore() and self._received:
            signal.raise_signal(signal.SIGINT)

    @staticmethod
    def _is_outermost() -> bool:
        # Python delivers signals to the main thread only
        is_main = threading.current_thread() is threading.main_thread()
        return is_main and not global_compiler_lock.is_locked()

    def _restore(self) -> bool:
        if signal.getsignal(signal.SIGINT) != self._receive:
            return False
        signal.signal(signal.SIGINT, self._handler)
        return True

    def _receive(self, signum: int, frame: FrameType | None) -> None:
        if global_compiler_lock.is_locked():
            self._received = True
        else:  # another thread compiles, or the compilation is over
            self._restore()
            signal.raise_signal(signal.SIGINT)


event.register("numba:compiler_lock", _DeferredInterrupt())

# IEEE arithmetic, for functions in which inf - inf or 0 * inf may occur
jit_ieee = compiler()
# values are finite or +inf, never NaN, so that minima need not test for it
jit = compiler({"nnan", "nsz", "contract"})
# sums may also be reordered, which lets LLVM vectorise them: for bounds that are
# compared with a tolerance for rounding
jit_reordered = compiler({"nnan", "nsz", "contract", "reassoc"})
