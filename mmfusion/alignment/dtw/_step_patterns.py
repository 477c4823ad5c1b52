"""Step patterns of dynamic time warping, and the recurrence that takes any of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from mmfusion.alignment.dtw._compilation import compiler
from mmfusion.alignment.dtw._parameters import (
    check_choice,
    check_integer,
    check_real,
    check_truth,
)

Move = tuple[tuple[int, int, float], ...]

# local continuity constraints of Rabiner and Juang (1993), table 4.5, as steps in
# (rows, columns) that follow each other
_RABINER_JUANG: dict[str, list[list[tuple[int, int]]]] = {
    "I": [[(1, 0)], [(1, 1)], [(0, 1)]],
    "II": [[(1, 1), (1, 0)], [(1, 1)], [(1, 1), (0, 1)]],
    "III": [[(2, 1)], [(1, 1)], [(1, 2)]],
    "IV": [[(1, 1), (1, 0)], [(1, 2), (1, 0)], [(1, 1)], [(1, 2)]],
    "V": [
        [(1, 1), (1, 0), (1, 0)],
        [(1, 1), (1, 0)],
        [(1, 1)],
        [(1, 1), (0, 1)],
        [(1, 1), (0, 1), (0, 1)],
    ],
    "VI": [[(1, 1), (1, 1), (1, 0)], [(1, 1)], [(1, 1), (1, 1), (0, 1)]],
    "VII": [
        [(1, j), *[(1, 0)] * n_straight] for n_straight in (2, 1, 0) for j in (1, 2, 3)
    ],
}
_WEIGHTS: dict[str, Callable[[int, int], int]] = {
    "a": min,
    "b": max,
    "c": lambda rows, columns: rows,
    "d": lambda rows, columns: rows + columns,
}
_compiled = compiler()
_DIVISORS = {"a": "path", "b": "path", "c": "rows", "d": "both"}
DIVISORS = ("both", "columns", "path", "rows")
MOST_MOVES = 2**15 - 1  # the move to a cell is kept in an int16
MOST_FRAMES = 2**31 - 1  # of a move, in either sequence
LAYOUTS = 64  # step patterns whose layout is kept


@dataclass(frozen=True)
class StepPattern:
    """Which steps a path may take, and what they weigh.

    Parameters
    ----------
    name : str
        What it is called.
    moves : list or tuple of list or tuple of (int, int, float)
        Each move is a sequence of steps (rows, columns, weight) that follow each other;
        the cost of the cell that a step reaches counts with its weight. A step leads
        forward in at least one sequence, and in none back; weights are finite and at
        least 0.
    divisor : {'path', 'rows', 'columns', 'both'}
        What makes costs comparable: the number of cells of the path, the frames of the
        first sequence, of the second, or of both, that the path covers.

    Raises
    ------
    TypeError
        If a move is no list of three numbers each, or the name is no str.
    ValueError
        If there is no move, or too many, a move has no step, a step leads back or
        nowhere or beyond 2,147,483,647 frames, a weight is negative, NaN or infinite,
        or the divisor is another one.

    Examples
    --------
    >>> from mmfusion.alignment import StepPattern, dtw_path
    >>> skip = StepPattern("skip", (((1, 1, 1.0),), ((1, 2, 1.0),)), "rows")
    >>> dtw_path([0.0, 2.0, 3.0], [0.0, 1.0, 2.0, 3.0], step_pattern=skip).cost
    0.0
    """

    name: str
    moves: tuple[Move, ...]
    divisor: str

    def __post_init__(self) -> None:
        """Check the pattern, and take it as tuples of Python's own numbers."""
        if not isinstance(self.name, str):
            raise TypeError(f"the name of a step pattern is {self.name!r}; give a str")
        what = f"step pattern {self.name!r}"
        check_choice(self.divisor, f"{what}: divisor", DIVISORS)
        moves = _listed(self.moves, f"{what}: moves")
        if not 1 <= len(moves) <= MOST_MOVES:
            raise ValueError(
                f"{what} has {len(moves)} moves; give from 1 to {MOST_MOVES}"
            )
        moves = [_move(move, f"{what}: moves[{k}]") for k, move in enumerate(moves)]
        object.__setattr__(self, "moves", tuple(moves))

    def size(self, n_rows: int, n_columns: int, length: int) -> int:
        """Tell by what a cost is divided.

        Parameters
        ----------
        n_rows, n_columns : int
            Frames of both sequences that the path covers.
        length : int
            Cells of the path.

        Returns
        -------
        int
            The divisor.
        """
        sizes = {
            "path": length,
            "rows": n_rows,
            "columns": n_columns,
            "both": n_rows + n_columns,
        }
        return sizes[self.divisor]


# moves of 'symmetric1' and 'symmetric2', by the weight of their diagonal step
_CLASSIC: dict[frozenset[Move], int] = {
    frozenset({((1, 0, 1.0),), ((1, 1, float(weight)),), ((0, 1, 1.0),)}): weight
    for weight in (1, 2)
}


def diagonal_weight(pattern: StepPattern) -> int | None:
    """Return the weight of a diagonal step where all others are single and weigh 1.

    Parameters
    ----------
    pattern : StepPattern
        The steps.

    Returns
    -------
    int or None
        1 for 'symmetric1', 2 for 'symmetric2', and None for other steps.
    """
    return _CLASSIC.get(frozenset(pattern.moves))


def _listed(values: Any, what: str) -> list[Any]:
    is_array = isinstance(values, np.ndarray) and values.ndim > 0
    if not is_array and not isinstance(values, list | tuple):
        raise TypeError(f"{what} {values!r}: give a list or tuple of them")
    return list(values)


def _move(move: Any, what: str) -> Move:
    steps = [_step(step, what) for step in _listed(move, f"{what}: steps")]
    if not steps:
        raise ValueError(f"{what} has no step; give it one, or leave it out")
    for axis, frames in ((0, "rows"), (1, "columns")):
        if sum(step[axis] for step in steps) > MOST_FRAMES:
            raise ValueError(f"{what} leads over more than {MOST_FRAMES} {frames}")
    return tuple(steps)


def _step(step: Any, what: str) -> tuple[int, int, float]:
    step = _listed(step, f"{what}: step")
    if len(step) != 3:
        raise ValueError(f"{what} has a step {step}; give (rows, columns, weight)")
    rows, columns = (
        check_integer(number, f"{what}: {name}", 0)
        for number, name in zip(step, ("rows", "columns"), strict=False)
    )
    if rows == columns == 0:
        raise ValueError(
            f"{what} has a step {step} that stays where it is; give it rows or columns"
        )
    return rows, columns, check_real(step[2], f"{what}: weight", 0)


def rabiner_juang(kind: str, weighting: str, smoothed: bool = False) -> StepPattern:
    """Make a step pattern of Rabiner and Juang.

    Parameters
    ----------
    kind : {'I', 'II', 'III', 'IV', 'V', 'VI', 'VII'}
        Local continuity constraint.
    weighting : {'a', 'b', 'c', 'd'}
        Weight of a step: the smaller of rows and columns, the larger, the rows, or
        both together.
    smoothed : bool, default=False
        Whether the weight of a move is spread evenly over its steps.

    Returns
    -------
    StepPattern
        The pattern.

    Raises
    ------
    TypeError
        If an option has another type.
    ValueError
        If there is no such kind or weighting.

    References
    ----------
    Rabiner, L. and Juang, B.-H. (1993). Fundamentals of speech recognition, ch. 4.

    Examples
    --------
    >>> from mmfusion.alignment import dtw_path, rabiner_juang
    >>> x, y = [0.0, 1.0, 2.0, 3.0], [0.0, 1.0, 1.0, 2.0, 3.0]
    >>> dtw_path(x, y, step_pattern=rabiner_juang("IV", "d")).cost
    0.0
    """
    check_choice(kind, "kind", tuple(_RABINER_JUANG))
    check_choice(weighting, "weighting", tuple(_WEIGHTS))
    smoothed = check_truth(smoothed, "smoothed")
    moves = []
    for steps in _RABINER_JUANG[kind]:
        weights = [float(_WEIGHTS[weighting](*step)) for step in steps]
        if smoothed:
            weights = [sum(weights) / len(weights)] * len(weights)
        moves.append(tuple((*s, w) for s, w in zip(steps, weights, strict=True)))
    name = f"rabiner-juang-{kind}{weighting}{'s' if smoothed else ''}"
    return StepPattern(name, tuple(moves), _DIVISORS[weighting])


def _pattern(name: str, moves: list[Move], divisor: str) -> StepPattern:
    return StepPattern(name, tuple(moves), divisor)


def _named(name: str, pattern: StepPattern) -> StepPattern:
    return StepPattern(name, pattern.moves, pattern.divisor)


_ALL = [
    _pattern("symmetric1", [((1, 0, 1),), ((1, 1, 1),), ((0, 1, 1),)], "path"),
    _named("symmetric2", rabiner_juang("I", "d")),
    _pattern("asymmetric", [((1, 0, 1),), ((1, 1, 1),), ((1, 2, 1),)], "rows"),
    # Sakoe and Chiba (1978), by the slope P that a path has at least
    _named("symmetricP0", rabiner_juang("I", "d")),
    _named("symmetricP05", rabiner_juang("V", "d")),
    _named("symmetricP1", rabiner_juang("II", "d")),
    _named("symmetricP2", rabiner_juang("VI", "d")),
    _named("asymmetricP0", rabiner_juang("I", "c")),
    _named("asymmetricP05", rabiner_juang("V", "c", smoothed=True)),
    _named("asymmetricP1", rabiner_juang("II", "c", smoothed=True)),
    _named("asymmetricP2", rabiner_juang("VI", "c", smoothed=True)),
    # Mori et al. (2006)
    _pattern(
        "mori2006",
        [((1, 1, 2), (1, 0, 1)), ((1, 1, 3),), ((1, 1, 3), (0, 1, 3))],
        "columns",
    ),
    _pattern("rigid", [((1, 1, 1),)], "rows"),
]
for _weighting in _WEIGHTS:
    for _smoothed in (False, True):
        _ending = f"{_weighting}{'s' if _smoothed else ''}"
        _ALL += [rabiner_juang(kind, _weighting, _smoothed) for kind in _RABINER_JUANG]
        # Myers, Rabiner and Rosenberg (1980) counted the first four otherwise
        _ALL += [
            _named(f"type{number}{_ending}", rabiner_juang(kind, _weighting, _smoothed))
            for number, kind in (
                ("I", "II"),
                ("II", "III"),
                ("III", "IV"),
                ("IV", "VII"),
                ("V", "V"),
                ("VI", "VI"),
                ("VII", "VII"),
            )
        ]
STEP_PATTERNS = {pattern.name: pattern for pattern in _ALL}


def as_step_pattern(given: str | StepPattern) -> StepPattern:
    """Take a step pattern by name.

    Parameters
    ----------
    given : str or StepPattern
        A name, or the pattern itself.

    Returns
    -------
    StepPattern
        The pattern.

    Raises
    ------
    TypeError
        If it is neither.
    ValueError
        If there is none of that name.
    """
    if isinstance(given, StepPattern):
        return given
    if not isinstance(given, str):
        raise TypeError(
            f"step_pattern={given!r} is a {type(given).__name__}; give a name or a "
            "StepPattern"
        )
    if given not in STEP_PATTERNS:
        named = sorted(n for n in STEP_PATTERNS if not n.startswith(("type", "rabin")))
        raise ValueError(
            f"there is no step_pattern {given!r}; there are {named}, and 'typeIa' to "
            "'typeVIIds': a number from I to VII, a weighting from a to d, and s for "
            "smoothed"
        )
    return STEP_PATTERNS[given]


class Cells(NamedTuple):
    """The cells of all moves, one move after the other, for compiled functions.

    Parameters
    ----------
    starts : ndarray of int64 of shape (n_moves + 1,)
        Where the cells of each move begin, and the end of all.
    rows, columns : ndarray of int64 of shape (n_cells,)
        How far before the last cell of its move each lies.
    weights, prices : ndarray of float64 of shape (n_cells,)
        What the cost of each is multiplied by, and what is added for the step.
    origins : ndarray of int64 of shape (n_moves, 2)
        How far before the last cell the move begins, in rows and columns.
    """

    starts: np.ndarray
    rows: np.ndarray
    columns: np.ndarray
    weights: np.ndarray
    prices: np.ndarray
    origins: np.ndarray


@lru_cache(maxsize=LAYOUTS)
def cells_of(pattern: StepPattern, penalty: float) -> Cells:
    """Lay the moves of a step pattern out.

    Parameters
    ----------
    pattern : StepPattern
        The steps.
    penalty : float
        Price of a step that is not diagonal.

    Returns
    -------
    Cells
        The moves.
    """
    steps = np.array([step for move in pattern.moves for step in move])
    frames = steps[:, :2].astype(np.int64)
    starts = np.cumsum([0, *map(len, pattern.moves)])
    origins = np.add.reduceat(frames, starts[:-1])
    reached = frames.cumsum(axis=0)
    ends = np.repeat(reached[starts[1:] - 1], np.diff(starts), axis=0)
    before = np.ascontiguousarray((ends - reached).T)
    prices = penalty * (frames[:, 0] != frames[:, 1])
    weights = np.ascontiguousarray(steps[:, 2])
    return Cells(starts, before[0], before[1], weights, prices, origins)


def walk_pattern(
    costs: np.ndarray, cells: Cells, begins: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Accumulate costs by any step pattern.

    Parameters
    ----------
    costs : ndarray of float64 of shape (n, m)
        Local costs; inf where a path may not go.
    cells : Cells
        The steps.
    begins : ndarray of float64 of shape (m,)
        What a path costs that begins in a cell of the first row, beside the cost of
        the cell; inf where none may.

    Returns
    -------
    totals : ndarray of shape (m,)
        Least cost of a path to each cell of the last row.
    choice : ndarray of int16 of shape (n, m)
        The move by which it came to each cell; -1 where it begins.
    """
    return _walk_pattern(costs, *cells, begins)


@_compiled
def _walk_pattern(costs, starts, rows, columns, weights, prices, origins, begins):
    n, m = costs.shape
    totals = np.full((n, m), np.inf)
    choice = np.full((n, m), np.int16(-1))
    for i in range(n):
        for j in range(m):
            if i == 0:
                totals[i, j] = begins[j] + costs[i, j]
            for k in range(len(origins)):
                before, ahead = i - origins[k, 0], j - origins[k, 1]
                if before < 0 or ahead < 0:
                    continue
                total = totals[before, ahead]
                for cell in range(starts[k], starts[k + 1]):
                    cost = costs[i - rows[cell], j - columns[cell]]
                    # 0 * inf is NaN, but a closed cell is closed at any weight
                    total += cost if cost == np.inf else weights[cell] * cost
                    total += prices[cell]
                if total < totals[i, j]:
                    totals[i, j], choice[i, j] = total, k
    return totals[n - 1].copy(), choice


def trace_pattern(
    costs: np.ndarray, choice: np.ndarray, cells: Cells, end: int
) -> tuple[np.ndarray, float]:
    """Follow the path back that `walk_pattern` found.

    Parameters
    ----------
    costs : ndarray of float64 of shape (n, m)
        As `walk_pattern` took them.
    choice : ndarray of int16 of shape (n, m)
        As from `walk_pattern`.
    cells : Cells
        The steps.
    end : int
        Column of the last cell, in the last row.

    Returns
    -------
    path : ndarray of int64 of shape (length, 2)
        Every cell of the path, also those within a move.
    cost : float
        What it costs, without what its begin was charged.
    """
    return _trace_pattern(costs, choice, *cells, end)


@_compiled
def _trace_pattern(costs, choice, starts, rows, columns, weights, prices, origins, end):
    n = len(costs)
    path = np.empty((n + end, 2), np.int64)
    factors, charges = np.ones(n + end), np.zeros(n + end)
    i, j, at = n - 1, end, n + end
    while choice[i, j] >= 0:
        k = choice[i, j]
        for cell in range(starts[k + 1] - 1, starts[k] - 1, -1):
            at -= 1
            path[at, 0], path[at, 1] = i - rows[cell], j - columns[cell]
            factors[at], charges[at] = weights[cell], prices[cell]
        i, j = i - origins[k, 0], j - origins[k, 1]
    at -= 1
    path[at, 0], path[at, 1] = i, j
    total = 0.0  # summed from the begin on, as the recurrence does
    for cell in range(at, n + end):
        total += factors[cell] * costs[path[cell, 0], path[cell, 1]]
        total += charges[cell]
    return path[at:], total


class Limits(NamedTuple):
    """What paths cost that run straight for a few steps only.

    Parameters
    ----------
    longest : int
        Longest run of steps in one direction that is not diagonal.
    diagonal : float
        Weight of a diagonal step.
    penalty : float
        Price of a step that is not diagonal.
    """

    longest: int
    diagonal: float
    penalty: float


DIAGONAL, ACROSS, DOWN = range(3)  # the last step of a path to a cell


class LimitedMarks(NamedTuple):
    """By which steps `walk_limited` came to each cell.

    Parameters
    ----------
    steps : ndarray of uint8 of shape (n, m)
        The last step of the best path to the cell; plus 4 if a run down begins after a
        run across, plus 8 if one across begins after one down.
    columns, rows : ndarray of int32 of shape (n, m)
        Where the run across, and the run down, that ends in a cell begins.
    """

    steps: np.ndarray
    columns: np.ndarray
    rows: np.ndarray


def walk_limited(
    costs: np.ndarray, limits: Limits, begins: np.ndarray
) -> tuple[np.ndarray, LimitedMarks]:
    """Accumulate costs of paths that run straight for a few steps only.

    A run of at most L steps ends in a cell that it reaches at the least sum of what the
    path costs where the run begins, one of the L cells before, and of what the run
    costs. Cells are taken in blocks of L: a run begins in the block of the cell, and
    the least sum follows from that of the cell before; or in a later cell of the block
    before, from where to its end all sums are found at once. So time does not depend on
    L, and nothing is subtracted.

    Parameters
    ----------
    costs : ndarray of float64 of shape (n, m)
        Local costs; inf where a path may not go.
    limits : Limits
        What steps are allowed, and what they cost.
    begins : ndarray of float64 of shape (m,)
        What a path costs that begins in a cell of the first row, beside the cost of
        the cell; inf where none may.

    Returns
    -------
    totals : ndarray of shape (m,)
        Least cost of a path to each cell of the last row.
    marks : LimitedMarks
        By which steps it came.
    """
    n, m = costs.shape
    longest = max(1, min(limits.longest, max(n, m)))
    block = min(longest, n), m
    marks = LimitedMarks(
        np.zeros((n, m), np.uint8),
        np.full((n, m), -1, np.int32),
        np.full((n, m), -1, np.int32),
    )
    rows = (np.empty(block), np.empty(block), np.empty(block, np.int32))
    allowed = limits.longest > 0
    totals = _walk_limited(
        costs,
        longest,
        allowed,
        limits.diagonal,
        limits.penalty,
        begins,
        rows,
        *marks,
    )
    return totals, marks


@_compiled
def _walk_limited(
    costs, longest, allowed, diagonal, penalty, begins, rows, steps, across_at, down_at
):
    n, m = costs.shape
    entries, tails, tails_at = rows  # of a block of rows: where runs down may begin
    above = np.full(m, np.inf)  # the least cost to each cell of the row above
    own, straight, either = np.empty(m), np.empty(m), np.empty(m)
    down, down_sum = np.full(m, np.inf), np.zeros(m)
    begin_of_down = np.zeros(m, np.int32)
    across_tails, across_tails_at = np.empty(longest), np.empty(longest, np.int32)
    for i in range(n):
        offset = (i - 1) % longest
        if allowed and i > 0:
            if offset == 0 and i > longest:
                for j in range(m):
                    _sum_tails(
                        entries[:, j],
                        costs[i - longest : i, j],
                        penalty,
                        i - 1 - longest,
                        tails[:, j],
                        tails_at[:, j],
                    )
            if offset == 0:
                down[:] = np.inf
                down_sum[:] = 0.0
        for j in range(m):
            cost = costs[i, j]
            total = np.inf
            if i == 0:
                total = begins[j] + cost
            elif j > 0:
                total = above[j - 1] + diagonal * cost
            own[j] = total  # after a diagonal step
            straight[j] = np.inf
            if allowed and i > 0:
                entry = entries[offset, j]
                if entry < down[j]:
                    down[j], begin_of_down[j] = entry, i - 1
                down[j] += cost + penalty
                down_sum[j] += cost + penalty
                total, at = down[j], begin_of_down[j]
                if i > longest and offset + 1 < longest:
                    tail = tails[offset + 1, j] + down_sum[j]
                    if tail < total:
                        total, at = tail, tails_at[offset + 1, j]
                straight[j], down_at[i, j] = total, at
            either[j] = min(own[j], straight[j])
        across, across_sum, begin = np.inf, 0.0, 0
        for j in range(m):
            ahead = np.inf  # after a run across
            offset_j = (j - 1) % longest
            if allowed and j > 0:
                cost = costs[i, j]
                if offset_j == 0:
                    if j > longest:
                        _sum_tails(
                            either[j - 1 - longest : j - 1],
                            costs[i, j - longest : j],
                            penalty,
                            j - 1 - longest,
                            across_tails,
                            across_tails_at,
                        )
                    across, across_sum = np.inf, 0.0
                entry = either[j - 1]
                if entry < across:
                    across, begin = entry, j - 1
                across += cost + penalty
                across_sum += cost + penalty
                ahead, at = across, begin
                if j > longest and offset_j + 1 < longest:
                    tail = across_tails[offset_j + 1] + across_sum
                    if tail < ahead:
                        ahead, at = tail, across_tails_at[offset_j + 1]
                across_at[i, j] = at
            step, total = DIAGONAL, own[j]
            if ahead < total:
                step, total = ACROSS, ahead
            if straight[j] < total:
                step, total = DOWN, straight[j]
            if ahead < own[j]:
                step += 4
            if straight[j] < own[j]:
                step += 8
            steps[i, j] = step
            if allowed:
                entries[i % longest, j] = min(own[j], ahead)
            above[j] = total
    return above


@_compiled
def _sum_tails(entries, costs, penalty, first, tails, tails_at):
    """Find the least sum from each cell of a block, or one after it, to its end."""
    least, at, total = np.inf, first, 0.0
    for q in range(len(entries) - 1, -1, -1):
        total += costs[q] + penalty
        if entries[q] + total < least:
            least, at = entries[q] + total, first + q
        tails[q], tails_at[q] = least, at


def trace_limited(
    costs: np.ndarray, marks: LimitedMarks, limits: Limits, end: int
) -> tuple[np.ndarray, float]:
    """Follow the path back that `walk_limited` found.

    Parameters
    ----------
    costs : ndarray of float64 of shape (n, m)
        As `walk_limited` took them.
    marks : LimitedMarks
        As from `walk_limited`.
    limits : Limits
        What steps are allowed, and what they cost.
    end : int
        Column of the last cell, in the last row.

    Returns
    -------
    path : ndarray of int64 of shape (length, 2)
        The path.
    cost : float
        What it costs, without what its begin was charged.
    """
    return _trace_limited(costs, *marks, limits.diagonal, limits.penalty, end)


@_compiled
def _trace_limited(costs, steps, columns, rows, diagonal, penalty, end):
    n = len(costs)
    path = np.empty((n + end, 2), np.int64)
    i, j, at = n - 1, end, n + end
    step = steps[i, j] & 3
    while True:
        if step == DIAGONAL:
            at -= 1
            path[at, 0], path[at, 1] = i, j
            if i == 0:
                break
            i, j = i - 1, j - 1
            step = steps[i, j] & 3
        elif step == ACROSS:
            begin = columns[i, j]
            while j > begin:
                at -= 1
                path[at, 0], path[at, 1] = i, j
                j -= 1
            step = DOWN if steps[i, j] & 8 else DIAGONAL
        else:
            begin = rows[i, j]
            while i > begin:
                at -= 1
                path[at, 0], path[at, 1] = i, j
                i -= 1
            step = ACROSS if steps[i, j] & 4 else DIAGONAL
    total = costs[0, j]
    for cell in range(at + 1, n + end):
        i, j = path[cell, 0], path[cell, 1]
        if i > path[cell - 1, 0] and j > path[cell - 1, 1]:
            total += diagonal * costs[i, j]
        else:
            total += costs[i, j] + penalty
    return path[at:], total
