"""Constraints of warping paths, as options of all functions that find them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any, NoReturn

import numpy as np

from mmfusion._typing import MetricLike
from mmfusion.alignment.dtw._parameters import (
    check_cells_or_ratio,
    check_choice,
    check_frames_or_share,
    check_integer_at_least,
    check_open_end,
    check_real_at_least,
)
from mmfusion.alignment.dtw._step_patterns import (
    StepPattern,
    as_step_pattern,
    diagonal_weight,
)
from mmfusion.alignment.dtw._windows import NONE_LEFT_OUT, FramesLeftOut

WINDOWS = ("itakura", "multiscale", "sakoe_chiba")

EndLimit = bool | int | float  # any number of frames, a number, or a share
EndLimits = EndLimit | Sequence[EndLimit]


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
    begins, ends : tuple of (bool, int or float)
        The frames that may be left out of the first and of the second sequence.
    """

    step_pattern: str | StepPattern = "symmetric1"
    window: str | None = None
    radius: float = 0.1
    max_slope: float = 2.0
    penalty: float = 0.0
    max_jump: int | None = None
    open_begin: EndLimits = False
    open_end: EndLimits = False
    max_length: int | float | None = None
    pattern: StepPattern = field(init=False, repr=False, compare=False)
    diagonal_weight: int | None = field(init=False, repr=False, compare=False)
    begins: tuple[EndLimit, EndLimit] = field(init=False, repr=False, compare=False)
    ends: tuple[EndLimit, EndLimit] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Check each option and their combinations."""
        pattern = as_step_pattern(self.step_pattern)
        begins = _as_open_ends(self.open_begin, "open_begin")
        ends = _as_open_ends(self.open_end, "open_end")
        checked: dict[str, object] = {
            "step_pattern": pattern,
            "pattern": pattern,
            "diagonal_weight": diagonal_weight(pattern),
            "begins": begins,
            "ends": ends,
            "open_begin": begins if any(begins) else False,
            "open_end": ends if any(ends) else False,
            "radius": check_frames_or_share(self.radius, "radius"),
            "max_slope": check_real_at_least(self.max_slope, "max_slope", 1),
            "penalty": check_real_at_least(self.penalty, "penalty", 0),
        }
        if self.max_jump is not None:
            checked["max_jump"] = check_integer_at_least(self.max_jump, "max_jump", 0)
        if self.max_length is not None:
            checked["max_length"] = check_cells_or_ratio(self.max_length, "max_length")
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
        self._check_open_ends()
        limited = self.max_jump is not None or self.is_open
        if self.max_length is not None and (
            limited or self.diagonal_weight is None or self.window == "multiscale"
        ):
            raise ValueError(
                "max_length goes with step_pattern 'symmetric1' and 'symmetric2', "
                "between closed ends, without max_jump and 'multiscale'; leave one of "
                "them out"
            )

    def _check_open_ends(self) -> None:
        """Check that open ends suit the other options, and leave more than one cell."""
        if not self.is_open:
            return
        begins, ends = self.begins, self.ends
        special = self.diagonal_weight is None or self.max_jump is not None
        if self.opens_first and (special or self.window == "multiscale"):
            raise ValueError(
                "open ends of the first sequence go with step_pattern 'symmetric1' and "
                "'symmetric2', without max_jump and 'multiscale'; exchange x and y, or "
                "cut the frames off x"
            )
        for first, second in ((begins[0], ends[1]), (ends[0], begins[1])):
            if _leaves_any(first) and _leaves_any(second):
                self._raise_single_pair()

    def _raise_single_pair(self) -> NoReturn:
        raise ValueError(
            f"open_begin={self.begins} and open_end={self.ends} (of x and y) allow a "
            "path of a single pair of frames; limit the frames of x or y that may be "
            "left out, for example open_begin=(0.5, 0)"
        )

    @property
    def is_open(self) -> bool:
        """True if a path may leave out frames at an end of a sequence."""
        return bool(self.open_begin or self.open_end)

    @property
    def limiting(self) -> list[str]:
        """Names of the options that forbid paths which 'symmetric1' has without."""
        in_use = {
            "window": self.window is not None,
            "max_jump": self.max_jump is not None,
            "max_length": self.max_length is not None,
            "step_pattern": self.diagonal_weight is None,
        }
        return [name for name, is_used in in_use.items() if is_used]

    @property
    def opens_first(self) -> bool:
        """True if a path may leave out frames of the first sequence."""
        return bool(self.begins[0] or self.ends[0])

    @property
    def is_symmetric(self) -> bool:
        """True if the cost of a path is the same when the sequences are exchanged.

        That requires local costs that are, and no window that follows a path.
        """
        is_alike = self.begins[0] == self.begins[1] and self.ends[0] == self.ends[1]
        by_ratio = self.is_open and self.pattern.divisor != "path"  # parts may tie
        return self.diagonal_weight is not None and is_alike and not by_ratio

    def frames_left_out(self, n: int, m: int) -> FramesLeftOut:
        """Return the most frames of n and m that a path may leave out at its ends.

        Raises
        ------
        ValueError
            If a single pair of frames could remain of both sequences.
        """
        if not self.is_open:
            return NONE_LEFT_OUT
        left_out = FramesLeftOut(
            _in_frames(self.begins[0], n),
            _in_frames(self.begins[1], m),
            _in_frames(self.ends[0], n),
            _in_frames(self.ends[1], m),
        )
        corners = (
            (left_out.end_x, left_out.begin_y),
            (left_out.begin_x, left_out.end_y),
        )
        if min(n, m) > 1 and (n - 1, m - 1) in corners:
            self._raise_single_pair()
        return left_out

    @property
    def divides_by_columns(self) -> bool:
        """True if a cost is normalised by frames of the second sequence."""
        return self.pattern.divisor in ("both", "columns")

    @property
    def ratio_depends_on_begin(self) -> bool:
        """True if the divisor of a cost depends on the begin of the path."""
        return bool(self.open_begin) and self.divides_by_columns

    def limits_runs(self, n: int, m: int) -> bool:
        """Return whether `max_jump` forbids any path through n and m frames."""
        return self.max_jump is not None and self.max_jump < max(n, m) - 1

    def most_cells(self, n: int, m: int) -> int:
        """Return the most cells of a path through n and m frames.

        Raises
        ------
        ValueError
            If `max_length` allows none, as the longer sequence has more frames.
        """
        longest = max(n, m)
        if self.max_length is None:
            return n + m - 1
        if isinstance(self.max_length, float):  # rounded, as shares of frames are
            return int(min(self.max_length * longest + 1e-9, n + m - 1))
        if self.max_length < longest:
            raise ValueError(
                f"max_length={self.max_length}: every path through {n} and {m} frames "
                f"has at least {longest} cells; give at least that, or a float as a "
                "multiple of it"
            )
        return min(self.max_length, n + m - 1)

    def limits_length(self, n: int, m: int) -> bool:
        """Return whether `max_length` forbids any path through n and m frames."""
        return self.max_length is not None and self.most_cells(n, m) < n + m - 1

    def needs_search_of_ends(self) -> bool:
        """Return whether the ends of a path of single steps are searched first."""
        # row blocks count the first cell once by the total before it, which cannot be
        # done along an open first row for diagonal steps of weight 2
        open_row = bool(self.open_begin) and (
            self.diagonal_weight == 2 or self.ratio_depends_on_begin
        )
        return self.opens_first or open_row

    def begin_costs(self, m: int) -> np.ndarray:
        """Return what a begin in each cell of the first row costs: 0, or inf."""
        begins = np.full(m, np.inf)
        begins[: self.frames_left_out(1, m).begin_y + 1] = 0
        return begins

    def best_end(self, totals: np.ndarray, n: int, ratio: float | None = None) -> int:
        """Return the column where the best path ends, from the totals of the last row.

        Where costs are normalised by frames of the second sequence, an open end is that
        of the least normalised cost of paths that begin in column 0; or, for a ratio,
        of the least total minus the ratio times the number of frames (Dinkelbach).
        """
        m = len(totals)
        first = m - 1 - self.frames_left_out(n, m).end_y
        values = totals[first:]
        if self.divides_by_columns:
            # a path from column 0 to column j covers j + 1 frames
            frames = 1 + np.arange(first, m) + n * (self.pattern.divisor == "both")
            values = values / frames if ratio is None else values - ratio * frames
        return first + int(np.argmin(values))


def _as_open_ends(value: Any, name: str) -> tuple[EndLimit, EndLimit]:
    """Check the frames that may be left out; those of y, unless a pair is given."""
    if value is False:
        return False, False
    if isinstance(value, list | tuple):
        if len(value) != 2:
            raise ValueError(f"{name}={value!r}; give one value, or a pair for x and y")
        return check_open_end(value[0], name), check_open_end(value[1], name)
    return False, check_open_end(value, name)


def _leaves_any(end: EndLimit) -> bool:
    """Return whether any number of frames may be left out."""
    return end is True or (isinstance(end, float) and end == 1.0)


def _in_frames(end: EndLimit, n: int) -> int:
    """Return the most of n frames that may be left out; one remains."""
    if isinstance(end, bool):
        return n - 1 if end else 0
    # rounded, since a share such as 0.29 of 100 is a little less than 29
    return min(int(end * n + 1e-9) if isinstance(end, float) else end, n - 1)


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
