"""What a cell costs and what it warns about, also where threads share a process."""

from __future__ import annotations

import threading
import time
import tracemalloc
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Self

_lock = threading.Lock()
_running: dict[int, Watch] = {}  # by thread
_leave: list[Callable[[], Any]] = []  # what the last one undoes


class Watch:
    """Collects the warnings of one thread, and measures a part of what it does.

    Attributes
    ----------
    warnings : list of str
        What was warned about, each text once.
    seconds : float
        Wall time of the part.
    peak_memory_mb : float or None
        Peak of what Python and numpy allocated during the part, in MiB, above what
        there was before; None if not traced, or if another watch ran in the same
        process, since allocations cannot be told apart then.
    """

    def __init__(self, *, trace: bool) -> None:
        self.trace = trace
        self.alone = True
        self.warnings: list[str] = []
        self.seconds = 0.0
        self.peak_memory_mb: float | None = None

    def __enter__(self) -> Self:
        with _lock:
            if not _running:
                _listen()
            if self.trace and not tracemalloc.is_tracing():
                tracemalloc.start()
                _leave.append(tracemalloc.stop)
            _running[threading.get_ident()] = self
            if len(_running) > 1:
                for watch in _running.values():
                    watch.alone = False
        return self

    def __exit__(self, *exception: object) -> None:
        with _lock:
            del _running[threading.get_ident()]
            while _leave and not _running:
                _leave.pop()()

    @contextmanager
    def measured(self) -> Iterator[None]:
        """Measure what is done inside."""
        if self.trace:
            tracemalloc.reset_peak()
            before = tracemalloc.get_traced_memory()[0]
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds = time.perf_counter() - start
            if self.trace and self.alone:
                peak = tracemalloc.get_traced_memory()[1]
                self.peak_memory_mb = (peak - before) / 2**20


def _listen() -> None:
    """Hand every warning to the watch of its thread.

    `warnings.catch_warnings` swaps state of the whole process: were every thread to
    enter it for itself, the first to leave would cut off the others.
    """
    catching = warnings.catch_warnings()
    catching.__enter__()
    _leave.append(lambda: catching.__exit__(None, None, None))
    shown_elsewhere = warnings.showwarning

    def show(
        message: Warning | str, category: type[Warning], *where: Any, **more: Any
    ) -> None:
        watch = _running.get(threading.get_ident())
        if watch is None:  # a thread of the estimator's own, if there is just one
            watches = list(_running.values())
            watch = watches[0] if len(watches) == 1 else None
        if watch is None:
            shown_elsewhere(message, category, *where, **more)
            return
        text = f"{category.__name__}: {message}"
        if text not in watch.warnings:
            watch.warnings.append(text)

    warnings.simplefilter("always")
    warnings.showwarning = show
