"""Step patterns of dynamic time warping, and the recurrence that takes any of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import accumulate

import numpy as np

from mmfusion.alignment._compilation import compiler

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


@dataclass(frozen=True)
class StepPattern:
    """Which steps a path may take, and what they weigh.

    Parameters
    ----------
    name : str
        What it is called.
    moves : tuple
        Each a tuple of steps (rows, columns, weight) that follow each other; the cost
        of the cell that a step reaches counts with its weight.
    divisor : {'path', 'rows', 'columns', 'both'}
        What makes costs comparable: the length of the path, the frames of the first
        sequence, of the second, or of both.

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
        # Myers, Rabiner and Rosenberg (1980) counted otherwise
        _ALL += [
            _named(f"type{myers}{_ending}", rabiner_juang(kind, _weighting, _smoothed))
            for myers, kind in (
                ("I", "II"),
                ("II", "III"),
                ("III", "IV"),
                ("IV", "VII"),
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
    ValueError
        If there is none of that name.
    """
    if isinstance(given, StepPattern):
        return given
    if given not in STEP_PATTERNS:
        raise ValueError(
            f"there is no step_pattern {given!r}; there are {sorted(STEP_PATTERNS)}"
        )
    return STEP_PATTERNS[given]


def _offsets(pattern: StepPattern) -> tuple[np.ndarray, ...]:
    """Cells of each move, seen from its end: rows, columns and weights; its origin."""
    longest = max(map(len, pattern.moves))
    rows = np.zeros((len(pattern.moves), longest), np.int64)
    columns = np.zeros_like(rows)
    weights = np.zeros(rows.shape)
    lengths = np.array([len(move) for move in pattern.moves])
    origins = np.array([[sum(s[a] for s in m) for a in (0, 1)] for m in pattern.moves])
    for k, move in enumerate(pattern.moves):
        for axis, back in ((0, rows), (1, columns)):
            reached = list(accumulate(step[axis] for step in move))
            back[k, : len(move)] = [reached[-1] - r for r in reached]
        weights[k, : len(move)] = [step[2] for step in move]
    return rows, columns, weights, lengths, origins


def walk_pattern(
    costs: np.ndarray, pattern: StepPattern, open_begin: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Accumulate costs by any step pattern.

    Parameters
    ----------
    costs : ndarray of float64 of shape (n, m)
        Local costs; inf where a path may not go.
    pattern : StepPattern
        The steps.
    open_begin : bool
        Whether the path may begin anywhere in the first row.

    Returns
    -------
    totals : ndarray of shape (n, m)
        Least cost of a path to each cell.
    choice : ndarray of int8 of shape (n, m)
        The move by which it came; -1 where it begins.
    """
    return _walk_pattern(costs, *_offsets(pattern), open_begin)


@_compiled
def _walk_pattern(costs, rows, columns, weights, lengths, origins, open_begin):
    n, m = costs.shape
    totals = np.full((n, m), np.inf)
    choice = np.full((n, m), np.int8(-1))
    for i in range(n):
        for j in range(m):
            if i == 0 and (j == 0 or open_begin):
                totals[i, j] = costs[i, j]
            for k in range(len(lengths)):
                before, ahead = i - origins[k, 0], j - origins[k, 1]
                if before < 0 or ahead < 0:
                    continue
                total = totals[before, ahead]
                for step in range(lengths[k]):
                    cost = costs[i - rows[k, step], j - columns[k, step]]
                    # 0 * inf is NaN, but a closed cell is closed at any weight
                    total += cost if cost == np.inf else weights[k, step] * cost
                if total < totals[i, j]:
                    totals[i, j], choice[i, j] = total, k
    return totals, choice


def trace_pattern(
    choice: np.ndarray, pattern: StepPattern, end: tuple[int, int]
) -> np.ndarray:
    """Follow the path back that `walk_pattern` found.

    Parameters
    ----------
    choice : ndarray of int8 of shape (n, m)
        As from `walk_pattern`.
    pattern : StepPattern
        The steps.
    end : tuple of int
        Row and column of the last cell.

    Returns
    -------
    ndarray of int64 of shape (length, 2)
        Every cell of the path, also those within a move.
    """
    cells = [end]
    i, j = end
    while choice[i, j] >= 0:
        for rows, columns, _ in reversed(pattern.moves[choice[i, j]]):
            i, j = i - rows, j - columns
            cells.append((i, j))
    return np.array(cells[::-1], dtype=np.int64)


def walk_limited(
    costs: np.ndarray, max_jump: int, diagonal: float, penalty: float, open_begin: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Accumulate costs of paths that run straight for a few steps only.

    Parameters
    ----------
    costs : ndarray of float64 of shape (n, m)
        Local costs; inf where a path may not go.
    max_jump : int
        Longest run of steps in one direction that is not diagonal.
    diagonal : float
        By how much the weight of a diagonal step is more than 1.
    penalty : float
        Price of a step that is not diagonal.
    open_begin : bool
        Whether the path may begin anywhere in the first row.

    Returns
    -------
    totals : ndarray of shape (m, 2 * max_jump + 1)
        Least cost of a path to each cell of the last row, by its state: 0 after a
        diagonal step, then the lengths of runs along a row, and along a column.
    previous : ndarray of int16 of shape (n, m, 2 * max_jump + 1)
        The state before each state of a cell; -1 where a path begins.
    """
    return _walk_limited(costs, max_jump, diagonal, penalty, open_begin)


@_compiled
def _walk_limited(costs, max_jump, diagonal, penalty, open_begin):
    n, m = costs.shape
    n_states = 2 * max_jump + 1
    above = np.full((m, n_states), np.inf)
    own = np.full((m, n_states), np.inf)
    previous = np.full((n, m, n_states), np.int16(-1))
    for i in range(n):
        own[:] = np.inf
        for j in range(m):
            cost = costs[i, j]
            if i == 0 and (j == 0 or open_begin):
                own[j, 0] = cost
            elif i > 0 and j > 0:
                s = int(np.argmin(above[j - 1]))
                own[j, 0] = above[j - 1, s] + (1 + diagonal) * cost
                previous[i, j, 0] = s
            for run in range(1, max_jump + 1):
                if j > 0:
                    s = run - 1
                    if run == 1:  # a run begins after anything but a run like it
                        s = _least_but(own[j - 1], 1, max_jump)
                    own[j, run] = own[j - 1, s] + cost + penalty
                    previous[i, j, run] = s
                if i > 0:
                    s = max_jump + run - 1
                    if run == 1:
                        s = _least_but(above[j], max_jump + 1, 2 * max_jump)
                    own[j, max_jump + run] = above[j, s] + cost + penalty
                    previous[i, j, max_jump + run] = s
        above, own = own, above
    return above, previous


@_compiled
def _least_but(values, first, last):
    best = 0
    for s in range(1, len(values)):
        if (s < first or s > last) and values[s] < values[best]:
            best = s
    return best


def trace_limited(previous: np.ndarray, state: int, end: tuple[int, int]) -> np.ndarray:
    """Follow the path back that `walk_limited` found.

    Parameters
    ----------
    previous : ndarray of int16 of shape (n, m, n_states)
        As from `walk_limited`.
    state : int
        That of the last cell.
    end : tuple of int
        Row and column of the last cell.

    Returns
    -------
    ndarray of int64 of shape (length, 2)
        The path.
    """
    max_jump = previous.shape[2] // 2
    i, j = map(int, end)
    cells = [(i, j)]
    while previous[i, j, state] >= 0:
        before = int(previous[i, j, state])
        i -= int(state == 0 or state > max_jump)
        j -= int(state <= max_jump)
        state = before
        cells.append((i, j))
    return np.array(cells[::-1], dtype=np.int64)
