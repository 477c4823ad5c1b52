"""Constraints of warping paths, as options of all functions that find them."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

from mmfusion._typing import MetricLike
from mmfusion.alignment.dtw._parameters import (
    check_bool,
    check_choice,
    check_frames_or_share,
    check_integer_at_least,
    check_real_at_least,
)
from mmfusion.alignment.dtw._step_patterns import (
    StepPattern,
    as_step_pattern,
    diagonal_weight,
)

WINDOWS = ("itakura", "multiscale", "sakoe_chiba")


@dataclass(frozen=True)
class Constraints:
    """The paths that are allowed, and the weights of their steps.

    Parameters are those of `dtw_path`.

    Attributes
    ----------
    pattern : StepPattern
        The step pattern, which may be given by name.
    diagonal_weight : int or None
        The weight of a diagonal step; None unless all others are single steps.
    """

    step_pattern: str | StepPattern = "symmetric1"
    window: str | None = None
    radius: float = 0.1
    max_slope: float = 2.0
    penalty: float = 0.0
    max_jump: int | None = None
    open_begin: bool = False
    open_end: bool = False
    pattern: StepPattern = field(init=False, repr=False, compare=False)
    diagonal_weight: int | None = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Check each option and their combinations."""
        pattern = as_step_pattern(self.step_pattern)
        checked: dict[str, object] = {
            "step_pattern": pattern,
            "pattern": pattern,
            "diagonal_weight": diagonal_weight(pattern),
            "open_begin": check_bool(self.open_begin, "open_begin"),
            "open_end": check_bool(self.open_end, "open_end"),
            "radius": check_frames_or_share(self.radius, "radius"),
            "max_slope": check_real_at_least(self.max_slope, "max_slope", 1),
            "penalty": check_real_at_least(self.penalty, "penalty", 0),
        }
        if self.max_jump is not None:
            checked["max_jump"] = check_integer_at_least(self.max_jump, "max_jump", 0)
        if self.window is not None:
            check_choice(self.window, "window", WINDOWS)
        # the class is frozen: no option changes after its check
        for name, value in checked.items():
            object.__setattr__(self, name, value)
        straight = self.penalty or self.max_jump is not None
        if straight and self.diagonal_weight is None:
            raise ValueError(
                f"penalty and max_jump go with step_pattern 'symmetric1' and "
                f"'symmetric2'; {self.pattern.name!r} limits its steps by itself"
            )
        if self.window is not None and (self.open_begin or self.open_end):
            raise ValueError(
                "a window lies about the line between both ends; set window=None where "
                "the path has an open begin or end"
            )

    @property
    def divides_by_columns(self) -> bool:
        """True if a cost is normalised by frames of the second sequence."""
        return self.pattern.divisor in ("both", "columns")

    @property
    def ratio_depends_on_begin(self) -> bool:
        """True if the divisor of a cost depends on the begin of the path."""
        return self.open_begin and self.divides_by_columns

    def limits_runs(self, n: int, m: int) -> bool:
        """Return whether `max_jump` forbids any path through n and m frames."""
        return self.max_jump is not None and self.max_jump < max(n, m) - 1

    def needs_rows(self) -> bool:
        """Return whether a path is searched row by row, not in row blocks."""
        # row blocks count the first cell once by the total before it, which cannot be
        # done along an open first row for diagonal steps of weight 2
        open_row = self.open_begin and (
            self.diagonal_weight == 2 or self.ratio_depends_on_begin
        )
        return self.diagonal_weight is None or open_row

    def best_end(self, totals: np.ndarray, n: int, ratio: float | None = None) -> int:
        """Return the column where the best path ends, from the totals of the last row.

        Where costs are normalised by frames of the second sequence, an open end is that
        of the least normalised cost of paths that begin in column 0; or, for a ratio,
        of the least total minus the ratio times the number of frames (Dinkelbach).
        """
        if not self.open_end:
            return len(totals) - 1
        if not self.divides_by_columns:
            return int(np.argmin(totals))
        # a path from column 0 to column j covers j + 1 frames
        frames = 1 + np.arange(len(totals)) + n * (self.pattern.divisor == "both")
        values = totals / frames if ratio is None else totals - ratio * frames
        return int(np.argmin(values))


def split_options(
    metric: MetricLike = "sqeuclidean", **constraints: Any
) -> tuple[MetricLike, Constraints]:
    """Separate the metric from the constraints among options of `dtw_path`.

    Parameters
    ----------
    metric : str or callable, default='sqeuclidean'
        The local cost.
    **constraints : dict
        The other options.

    Returns
    -------
    metric : str or callable
        The local cost.
    constraints : Constraints
        The constraints of the path.

    Raises
    ------
    TypeError
        If an option does not exist, or the metric is neither a name nor callable.
    """
    if not isinstance(metric, str) and not callable(metric):
        raise TypeError(
            f"metric is a {type(metric).__name__}; give the name of one, or a callable"
        )
    names = [option.name for option in fields(Constraints) if option.init]
    unknown = [name for name in constraints if name not in names]
    if unknown:
        raise TypeError(
            f"there is no option {unknown[0]!r}; there are {['metric', *names]}"
        )
    return metric, Constraints(**constraints)
