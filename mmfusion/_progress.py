"""Messages of long fits, for the parameter ``verbose``."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def report_seconds(message: str | None) -> Iterator[None]:
    """Print a message and the seconds that the block has taken, when it ends.

    Parameters
    ----------
    message : str or None
        What was done; None prints nothing.

    Yields
    ------
    None
        Nothing; the block is executed.
    """
    start = time.perf_counter()
    yield
    if message is not None:
        print(f"{message}: {time.perf_counter() - start:.2f} s", flush=True)
