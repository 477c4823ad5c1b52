"""Steps of the algorithms that learn weights of kernels, as reported to callers."""

from __future__ import annotations

from collections.abc import Callable

# a function of the objective after a step, which returns whether to stop
OnStep = Callable[[float], bool]


def go_on(objective: float) -> bool:
    """Return that there are further steps, whatever the objective."""
    return False
