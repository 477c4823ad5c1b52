"""Memory: refuse at once what would not fit."""

from __future__ import annotations

import os
from pathlib import Path

MEMINFO = Path("/proc/meminfo")
# limits of the control group of a container, of version 2 and of version 1
CONTROL_GROUPS = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)
UNCHECKED_BYTES = 2**24  # at most which it is not worth the time to ask the system
BYTES_PER_UNIT = 1024
UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB", "PiB")


def check_fits(n_bytes: int, what: str, remedy: str) -> None:
    """Refuse what needs more memory than is available, before it is allocated.

    Operating systems promise more memory than they have and end the process once it
    is written to, so that waiting for a MemoryError is of no use.

    Parameters
    ----------
    n_bytes : int
        Memory that is needed.
    what : str
        What needs it, for the error.
    remedy : str
        What to do instead, for the error.

    Raises
    ------
    ValueError
        If it does not fit. It is a ValueError, as for any other input that cannot be
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
    """Memory that is free or can be reclaimed, else all that there is."""
    try:
        lines = MEMINFO.read_text().splitlines()
        values = {line.split(":")[0]: int(line.split()[1]) for line in lines}
        return (values["MemAvailable"] + values["SwapFree"]) * BYTES_PER_UNIT
    except (OSError, ValueError, KeyError, IndexError):
        pass
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # Windows has none
        return None


def _limit_of(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):  # no such group, or 'max': no limit
        return None


def in_units(n_bytes: float) -> str:
    """Write a number of bytes in the unit that suits it.

    Parameters
    ----------
    n_bytes : float
        The number.

    Returns
    -------
    str
        Such as '1.5 GiB'.
    """
    if n_bytes > BYTES_PER_UNIT ** (len(UNITS) + 1):  # perhaps too large for a float
        return f"more than {BYTES_PER_UNIT**2} {UNITS[-1]}"
    unit = 0
    while n_bytes >= BYTES_PER_UNIT and unit < len(UNITS) - 1:
        n_bytes, unit = n_bytes / BYTES_PER_UNIT, unit + 1
    digits = 1 if unit > 0 and n_bytes < 10 else 0
    return f"{n_bytes:.{digits}f} {UNITS[unit]}"
