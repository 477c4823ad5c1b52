"""Memory limits: refusal of computations that need more than is available."""

from __future__ import annotations

import os
from pathlib import Path

MEMINFO = Path("/proc/meminfo")
# limits of a container: those of control groups of version 2 and of version 1
CONTROL_GROUPS = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)
UNCHECKED_BYTES = 2**24  # too little to be worth the time of reading the limits
BYTES_PER_UNIT = 1024
UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB", "PiB")


def check_fits(n_bytes: int, what: str, remedy: str) -> None:
    """Check that memory is available before it is allocated.

    Operating systems grant more memory than they have and end the process once it is
    written to, so that a MemoryError is not raised in time.

    Parameters
    ----------
    n_bytes : int
        Needed memory.
    what : str
        Computation that needs it, in the error.
    remedy : str
        Remedy in the error.

    Raises
    ------
    ValueError
        If the memory is not available. Its type is that of other input that cannot be
        processed, so that callers add the modality and the sample to the message.
    """
    if n_bytes <= UNCHECKED_BYTES:
        return
    available = available_bytes()
    if available is not None and n_bytes > available:
        raise ValueError(
            f"{what} needs {in_units(n_bytes)} of memory, and {in_units(available)} "
            f"are available; {remedy}"
        )


def available_bytes() -> int | None:
    """Return the memory that may be allocated, within the limits of a container.

    Returns
    -------
    int or None
        Bytes; None where the operating system does not report them.
    """
    limits = [_free_bytes(), *map(_limit_of, CONTROL_GROUPS)]
    return min((limit for limit in limits if limit is not None), default=None)


def _free_bytes() -> int | None:
    """Return free and reclaimable memory, or all memory where that is unknown."""
    try:
        lines = MEMINFO.read_text().splitlines()
        values = {line.split(":")[0]: int(line.split()[1]) for line in lines}
        return (values["MemAvailable"] + values["SwapFree"]) * BYTES_PER_UNIT
    except (OSError, ValueError, KeyError, IndexError):
        pass
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # not supported by Windows
        return None


def _limit_of(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):  # no such group, or 'max', which means no limit
        return None


def in_units(n_bytes: float) -> str:
    """Format a number of bytes in the largest unit of which it has at least one.

    Parameters
    ----------
    n_bytes : float
        Number of bytes.

    Returns
    -------
    str
        Text such as '1.5 GiB'.
    """
    if n_bytes > BYTES_PER_UNIT ** (len(UNITS) + 1):  # may be an int beyond float64
        return f"more than {BYTES_PER_UNIT**2} {UNITS[-1]}"
    unit = 0
    while n_bytes >= BYTES_PER_UNIT and unit < len(UNITS) - 1:
        n_bytes, unit = n_bytes / BYTES_PER_UNIT, unit + 1
    digits = 1 if unit > 0 and n_bytes < 10 else 0
    return f"{n_bytes:.{digits}f} {UNITS[unit]}"
