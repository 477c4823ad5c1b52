"""Warnings that point at the line of the user."""

from __future__ import annotations

import sys
import warnings
from types import FrameType

# packages between a user's line and the line that warns
PASSED_THROUGH = (
    "mmfusion",
    "sklearn",
    "joblib",
    "skorch",
    "torch",
    "concurrent",
    "contextlib",  # of context managers as decorators
)


def warn_user(message: str, category: type[Warning] = UserWarning) -> None:
    """Warn at the innermost line outside of this package and of those that call it.

    As ``skip_file_prefixes`` of `warnings.warn` does from Python 3.12 on. Within a
    process of its own there is no such line; the warning is then at the line that
    calls.
    """
    frame: FrameType | None = sys._getframe(1)
    level = 2
    while frame is not None:
        package = frame.f_globals.get("__name__", "").partition(".")[0]
        if package not in PASSED_THROUGH:
            break
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level if frame is not None else 2)
