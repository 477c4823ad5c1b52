"""Peak of the memory that a process holds during a block."""

from __future__ import annotations

import ctypes
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Self

STATUS = Path("/proc/self/status")
CLEAR_REFS = Path("/proc/self/clear_refs")
RESET_PEAK = "5"  # what `man 5 proc` lists for the peak of the resident set
KIB_PER_MIB = 1024
SAMPLING_SECONDS = 0.005


class PeakMemory:
    """Measure the growth of the resident memory of this process to its peak.

    Linux keeps the peak itself, so that the block is neither slowed down nor sampled;
    elsewhere a thread samples the resident memory, if psutil is installed. Memory of
    native libraries is included, that of other processes is not.

    Attributes
    ----------
    mib : float or None
        Peak less the memory before the block, in MiB; None if it cannot be measured.
    """

    def __init__(self) -> None:
        self.mib: float | None = None
        self._before = 0.0
        self._sampler: _Sampler | None = None

    def __enter__(self) -> Self:
        _return_free_memory()
        try:
            CLEAR_REFS.write_text(RESET_PEAK)
            self._before = _read_status("VmRSS")
        except (OSError, ValueError):
            with suppress(ImportError):
                self._sampler = _Sampler(_resident_memory_reader())
        return self

    def __exit__(self, *exception: object) -> None:
        if self._sampler is not None:
            self.mib = self._sampler.stop()
        elif self._before:
            with suppress(OSError, ValueError):
                self.mib = max(0.0, _read_status("VmHWM") - self._before)


def _read_status(field: str) -> float:
    """Read a field of the status of this process, in MiB."""
    for line in STATUS.read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) / KIB_PER_MIB
    raise ValueError(f"{STATUS} has no {field}")


def _return_free_memory() -> None:
    """Return freed memory to the system; otherwise a fit that reuses it adds none."""
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):  # another C library
            ctypes.CDLL(None).malloc_trim(0)


def _resident_memory_reader() -> Callable[[], int]:
    process = import_module("psutil").Process()
    return lambda: process.memory_info().rss


class _Sampler:
    """Thread that keeps the largest of the sampled sizes."""

    def __init__(self, read: Callable[[], int]) -> None:
        self._read = read
        self._before = self._peak = read()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._thread.start()

    def _sample(self) -> None:
        while not self._done.wait(SAMPLING_SECONDS):
            self._peak = max(self._peak, self._read())

    def stop(self) -> float:
        self._done.set()
        self._thread.join()
        return (max(self._peak, self._read()) - self._before) / 2**20
