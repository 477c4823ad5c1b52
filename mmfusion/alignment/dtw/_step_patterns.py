"""Step patterns of dynamic time warping: the steps of a path and their weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from mmfusion.alignment.dtw._parameters import (
    check_bool,
    check_choice,
    check_integer_at_least,
    check_real_at_least,
)

Move = tuple[tuple[int, int, float], ...]

# local continuity constraints of Rabiner and Juang (1993), table 4.5: each move is a
# sequence of steps in (rows, columns)
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
_WEIGHT_OF_STEP: dict[str, Callable[[int, int], int]] = {
    "a": min,
    "b": max,
    "c": lambda rows, columns: rows,
    "d": lambda rows, columns: rows + columns,
}
# the divisor is the sum of the weights of any path, or for 'a' and 'b', where that
# depends on the path, its number of cells
_DIVISOR_OF_WEIGHTING = {"a": "path", "b": "path", "c": "rows", "d": "both"}
PATH_DIVISORS = ("both", "columns", "path", "rows")
MOST_MOVES = 2**15 - 1  # the number of the move to a cell is stored as an int16
MOST_FRAMES_OF_MOVE = 2**31 - 1  # in either sequence


@dataclass(frozen=True)
class StepPattern:
    """The moves that a warping path may take, and their weights.

    With moves m of steps s, each of which reaches cell (i_s, j_s) with weight w_s, the
    least total of a path to cell (i, j) is
    ``D_ij = min_m (D_(i - rows of m),(j - columns of m) + sum_s w_s c_(i_s, j_s))``.

    Parameters
    ----------
    name : str
        Name of the pattern.
    moves : list or tuple of list or tuple of (int, int, float)
        Each move is a sequence of steps (rows, columns, weight); the cost of the cell
        that a step reaches is multiplied by its weight. A step leads forward in at
        least one sequence, and back in none; weights are finite and at least 0.
    divisor : {'path', 'rows', 'columns', 'both'}
        The number by which a cost is normalised: the cells of the path, or the frames
        of the first sequence, of the second, or of both, that the path covers.

    Raises
    ------
    TypeError
        If a move is not a list of steps of three numbers each, or the name not a str.
    ValueError
        If there is no move, or too many, a move has no step, a step leads back or
        nowhere or over more than 2,147,483,647 frames, a weight is negative, NaN or
        infinite, or there is no such divisor.

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
        """Check the pattern, and store it as tuples of Python's own numbers."""
        if not isinstance(self.name, str):
            raise TypeError(f"the name of a step pattern is {self.name!r}; give a str")
        what = f"step pattern {self.name!r}"
        check_choice(self.divisor, f"{what}: divisor", PATH_DIVISORS)
        moves = _as_list(self.moves, f"{what}: moves")
        if not 1 <= len(moves) <= MOST_MOVES:
            raise ValueError(
                f"{what} has {len(moves)} moves; give from 1 to {MOST_MOVES}"
            )
        moves = [
            _checked_move(move, f"{what}: moves[{k}]") for k, move in enumerate(moves)
        ]
        object.__setattr__(self, "moves", tuple(moves))

    def size(self, n_rows: int, n_columns: int, length: int) -> int:
        """Return the number by which the cost of a path is normalised.

        Parameters
        ----------
        n_rows, n_columns : int
            Numbers of frames of the sequences that the path covers.
        length : int
            Number of cells of the path.

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


def path_divisor(pattern: StepPattern, path: np.ndarray) -> int:
    """Return the number by which the cost of a path is normalised.

    Parameters
    ----------
    pattern : StepPattern
        The step pattern.
    path : ndarray of int of shape (length, 2)
        The path.

    Returns
    -------
    int
        The divisor.
    """
    n_rows, n_columns = (path[-1] - path[0] + 1).tolist()
    return pattern.size(n_rows, n_columns, len(path))


# moves of 'symmetric1' and 'symmetric2', by the weight of their diagonal step
_SINGLE_STEPS: dict[frozenset[Move], int] = {
    frozenset({((1, 0, 1.0),), ((1, 1, float(weight)),), ((0, 1, 1.0),)}): weight
    for weight in (1, 2)
}


def diagonal_weight(pattern: StepPattern) -> int | None:
    """Return the weight of the diagonal step of the two classic patterns.

    Parameters
    ----------
    pattern : StepPattern
        The pattern.

    Returns
    -------
    int or None
        1 for 'symmetric1', 2 for 'symmetric2', and None for other patterns.
    """
    # a set, since a pattern of the user may list the same moves in another order
    return _SINGLE_STEPS.get(frozenset(pattern.moves))


def _as_list(values: Any, what: str) -> list[Any]:
    # no other iterable: a string or a set has no moves, or no order
    is_array = isinstance(values, np.ndarray) and values.ndim > 0
    if not is_array and not isinstance(values, list | tuple):
        raise TypeError(f"{what} {values!r}: give a list or tuple of them")
    return list(values)


def _checked_move(move: object, what: str) -> Move:
    steps = [_checked_step(step, what) for step in _as_list(move, f"{what}: steps")]
    if not steps:
        raise ValueError(f"{what} has no step; give it one, or leave it out")
    for axis, frames in ((0, "rows"), (1, "columns")):
        if sum(step[axis] for step in steps) > MOST_FRAMES_OF_MOVE:
            raise ValueError(
                f"{what} leads over more than {MOST_FRAMES_OF_MOVE} {frames}"
            )
    return tuple(steps)


def _checked_step(given: object, what: str) -> tuple[int, int, float]:
    step = _as_list(given, f"{what}: step")
    if len(step) != 3:
        raise ValueError(f"{what} has a step {step}; give (rows, columns, weight)")
    rows, columns = (
        check_integer_at_least(number, f"{what}: {name}", 0)
        for number, name in zip(step, ("rows", "columns"), strict=False)
    )
    if rows == columns == 0:
        raise ValueError(
            f"{what} has a step {step} that stays where it is; give it rows or columns"
        )
    return rows, columns, check_real_at_least(step[2], f"{what}: weight", 0)


def rabiner_juang(kind: str, weighting: str, smoothed: bool = False) -> StepPattern:
    """Return a step pattern of Rabiner and Juang.

    Parameters
    ----------
    kind : {'I', 'II', 'III', 'IV', 'V', 'VI', 'VII'}
        Local continuity constraint.
    weighting : {'a', 'b', 'c', 'd'}
        Weight of a step: the smaller of its rows and columns ('a'), the larger ('b'),
        its rows ('c'), or their sum ('d').
    smoothed : bool, default=False
        Whether each step of a move has the mean weight of its steps.

    Returns
    -------
    StepPattern
        The pattern.

    Raises
    ------
    TypeError
        If a parameter has another type.
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
    check_choice(weighting, "weighting", tuple(_WEIGHT_OF_STEP))
    smoothed = check_bool(smoothed, "smoothed")
    moves = []
    for steps in _RABINER_JUANG[kind]:
        weights = [float(_WEIGHT_OF_STEP[weighting](*step)) for step in steps]
        if smoothed:
            weights = [sum(weights) / len(weights)] * len(weights)
        moves.append(tuple((*s, w) for s, w in zip(steps, weights, strict=True)))
    name = f"rabiner-juang-{kind}{weighting}{'s' if smoothed else ''}"
    return StepPattern(name, tuple(moves), _DIVISOR_OF_WEIGHTING[weighting])


def _pattern(name: str, moves: list[Move], divisor: str) -> StepPattern:
    return StepPattern(name, tuple(moves), divisor)


def _renamed(name: str, pattern: StepPattern) -> StepPattern:
    return StepPattern(name, pattern.moves, pattern.divisor)


_ALL = [
    _pattern("symmetric1", [((1, 0, 1),), ((1, 1, 1),), ((0, 1, 1),)], "path"),
    _renamed("symmetric2", rabiner_juang("I", "d")),
    _pattern("asymmetric", [((1, 0, 1),), ((1, 1, 1),), ((1, 2, 1),)], "rows"),
    # Sakoe and Chiba (1978), by the smallest slope P of a path
    _renamed("symmetricP0", rabiner_juang("I", "d")),
    _renamed("symmetricP05", rabiner_juang("V", "d")),
    _renamed("symmetricP1", rabiner_juang("II", "d")),
    _renamed("symmetricP2", rabiner_juang("VI", "d")),
    _renamed("asymmetricP0", rabiner_juang("I", "c")),
    _renamed("asymmetricP05", rabiner_juang("V", "c", smoothed=True)),
    _renamed("asymmetricP1", rabiner_juang("II", "c", smoothed=True)),
    _renamed("asymmetricP2", rabiner_juang("VI", "c", smoothed=True)),
    # Mori et al. (2006)
    _pattern(
        "mori2006",
        [((1, 1, 2), (1, 0, 1)), ((1, 1, 3),), ((1, 1, 3), (0, 1, 3))],
        "columns",
    ),
    _pattern("rigid", [((1, 1, 1),)], "rows"),
]
for _weighting in _WEIGHT_OF_STEP:
    for _smoothed in (False, True):
        _ending = f"{_weighting}{'s' if _smoothed else ''}"
        _ALL += [rabiner_juang(kind, _weighting, _smoothed) for kind in _RABINER_JUANG]
        # Myers, Rabiner and Rosenberg (1980) number the first four differently
        _ALL += [
            _renamed(
                f"type{number}{_ending}", rabiner_juang(kind, _weighting, _smoothed)
            )
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
    """Return the step pattern of a name.

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
        If there is no pattern of that name.
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
