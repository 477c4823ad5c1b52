"""Time, memory and warnings of a cell, also where threads share a process."""

from __future__ import annotations

import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Self

from mmfusion.benchmark._peak_memory import PeakMemory

_watch_lock = threading.Lock()
_active_watches: dict[int, Watch] = {}  # by the identifier of the thread
_cleanups: list[Callable[[], Any]] = []  # called when the last watch ends


class Watch:
    """Collects the warnings of one thread, and measures time and memory of a block.

    Attributes
    ----------
    warnings : list of str
        Categories and texts of the warnings, each once.
    seconds : float
        Wall time of the block.
    cpu_seconds : float or None
        Processor time of all threads of the process during the block; None if another
        watch was active in it, whose time cannot be distinguished.
    peak_memory_mb : float or None
        Growth of the memory of the process to its peak during the block, in MiB; None
        if it cannot be measured, or if another watch was active in the same process,
        whose memory cannot be distinguished.
    """

    def __init__(self) -> None:
        self.alone = True
        self.warnings: list[str] = []
        self.seconds = 0.0
        self.cpu_seconds: float | None = None
        self.peak_memory_mb: float | None = None

    def __enter__(self) -> Self:
        with _watch_lock:
            if not _active_watches:
                _collect_warnings()
            _active_watches[threading.get_ident()] = self
            if len(_active_watches) > 1:
                for watch in _active_watches.values():
                    watch.alone = False
        return self

    def __exit__(self, *exception: object) -> None:
        with _watch_lock:
            del _active_watches[threading.get_ident()]
            while _cleanups and not _active_watches:
                _cleanups.pop()()

    @contextmanager
    def measured(self) -> Iterator[None]:
        """Measure time and memory of the block under this context."""
        with PeakMemory() as memory:
            start, cpu_start = time.perf_counter(), time.process_time()
            try:
                yield
            finally:
                self.seconds = time.perf_counter() - start
                cpu_seconds = time.process_time() - cpu_start
        if self.alone:
            self.cpu_seconds = cpu_seconds
            self.peak_memory_mb = memory.mib


def _collect_warnings() -> None:
    """Append every warning to the watch of its thread.

    `warnings.catch_warnings` replaces state of the whole process: if every thread
    entered it, the first to exit would end it for the others.
    """
    catching = warnings.catch_warnings()
    catching.__enter__()
    _cleanups.append(lambda: catching.__exit__(None, None, None))
    show_otherwise = warnings.showwarning

    def show(
        message: Warning | str, category: type[Warning], *where: Any, **more: Any
    ) -> None:
        watch = _active_watches.get(threading.get_ident())
        # a thread that the estimator started: its watch is known if there is one only
        if watch is None:
            watches = list(_active_watches.values())
            watch = watches[0] if len(watches) == 1 else None
        if watch is None:
            show_otherwise(message, category, *where, **more)
            return
        text = f"{category.__name__}: {message}"
        if text not in watch.warnings:
            watch.warnings.append(text)

    warnings.simplefilter("always")
    warnings.showwarning = show
