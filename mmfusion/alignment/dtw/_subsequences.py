"""The best matches of a sequence among the parts of a longer one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import ArrayLike

from mmfusion._sequences import as_sequence, transposed_remedy
from mmfusion._typing import MetricLike
from mmfusion.alignment.dtw._constraints import Constraints, split_options
from mmfusion.alignment.dtw._costs import make_costs
from mmfusion.alignment.dtw._parameters import check_integer_at_least
from mmfusion.alignment.dtw._path import DTWPath, NoPathError, find_path


class _Piece(NamedTuple):
    """Consecutive frames of the series, with their best match.

    Parameters
    ----------
    value : float
        What is minimised, of the best match; a lower bound unless that is known.
    begin, end : int
        First frame, and the one after the last.
    match : DTWPath or None
        The best match among these frames; None if it is not known.
    """

    value: float
    begin: int
    end: int
    match: DTWPath | None


def dtw_subsequences(
    query: ArrayLike,
    series: ArrayLike | None = None,
    k: int = 1,
    *,
    max_overlap: int = 0,
    **options: Any,
) -> list[DTWPath]:
    """Find the k parts of a series that match a query best.

    The first match is the path of `dtw_path` with an open begin and an open end. Each
    further one is the best of all paths that overlap none of the earlier matches, and
    is found exactly: also where the best path to its last frame would overlap one.

    Parameters
    ----------
    query : array-like of shape (n, d) or (n,)
        The sequence to find; for 'precomputed' the matrix of costs, of shape (n, m).
    series : array-like of shape (m, d) or (m,), default=None
        The sequence to search; None for 'precomputed'.
    k : int, default=1
        Number of matches.
    max_overlap : int, default=0
        Frames of the series that a match may share with each earlier one: it ends
        before the earlier one has had more than these, or begins when no more than
        these are left of it. At most all but one of the earlier match.
    **options : dict
        Metric and constraints, the options of `dtw_path` apart from windows and open
        ends.

    Returns
    -------
    list of DTWPath
        The matches, best first; fewer than `k` if the frames that remain hold no path.
        ``path[0, 1]`` and ``path[-1, 1]`` are the first and the last frame of a match.

    Raises
    ------
    TypeError, ValueError
        Under the conditions of `dtw_path`, or for a window or open ends.

    See Also
    --------
    dtw_path : The best match alone.
    dtw_neighbors : The nearest of many sequences.

    Notes
    -----
    Matches are compared as `dtw_path` compares parts: by cost, or by normalised cost if
    the step pattern is normalised by frames. With 'symmetric1', whose costs are sums
    over the path, many frames of the query may match few of the series; 'symmetric2' or
    'asymmetric' find parts at nearly its pace. Both sequences are compared as they are:
    standardise them beforehand where level or scale should not count.

    A match divides the frames that were searched in two, each of which is searched only
    when it may hold the next best match. So the time is that of a few searches of the
    whole series, about ``log2(k)`` of them if matches lie anywhere.

    References
    ----------
    Müller, M. (2007). Information retrieval for music and motion. Springer. Section
    4.4. (subsequence DTW)

    Examples
    --------
    >>> from mmfusion.alignment import dtw_subsequences
    >>> series = [5.0, 0.0, 2.0, 0.0, 5.0, 5.0, 0.0, 3.0, 0.0, 5.0]
    >>> matches = dtw_subsequences([0.0, 2.0, 0.0], series, k=2)
    >>> [match.path[[0, -1], 1].tolist() for match in matches]
    [[1, 3], [6, 8]]
    >>> [match.cost for match in matches]
    [0.0, 1.0]
    """
    k = check_integer_at_least(k, "k", 1)
    max_overlap = check_integer_at_least(max_overlap, "max_overlap", 0)
    refused = [name for name in ("open_begin", "open_end", "window") if name in options]
    if refused:
        raise TypeError(
            f"{refused[0]} is no option here: parts of the series have open ends, and "
            "no line between both ends for a window; bound their pace by max_jump or "
            "step_pattern"
        )
    metric, closed = split_options(**options)
    constraints = replace(closed, open_begin=True, open_end=True)
    x, y, metric = _prepared(query, series, metric)
    n_frames = x.shape[1] if y is None else len(y)
    pieces = [_searched(_Piece(0.0, 0, n_frames, None), x, y, metric, constraints)]
    if pieces[0].match is None:  # raises the error with its reason
        find_path(x, y, metric, constraints, wants_path=True)
    matches: list[DTWPath] = []
    while pieces and len(matches) < k:
        best = min(pieces, key=lambda piece: piece.value)
        if best.match is None:
            pieces.remove(best)
            found = _searched(best, x, y, metric, constraints)
            pieces += [found] if found.match is not None else []
            continue
        matches.append(best.match)
        pieces = _without(pieces, best.match, max_overlap)
    return matches


def _prepared(
    query: ArrayLike, series: ArrayLike | None, metric: MetricLike
) -> tuple[np.ndarray, np.ndarray | None, MetricLike]:
    """Return the sequences as arrays; the costs where frames alone are not enough."""
    if callable(metric) or metric == "precomputed":  # a callable is called once
        return make_costs(query, series, metric).x, None, "precomputed"
    x = as_sequence(query, "query")
    y = as_sequence(cast(ArrayLike, series), "series")
    if x.shape[1] != y.shape[1]:
        raise ValueError(
            f"query has {x.shape[1]} features and series has {y.shape[1]}: no metric "
            "compares them; project both to the same features, as CTWAligner learns to"
            f"{transposed_remedy([x, y])}"
        )
    return x, y, metric


def _searched(
    piece: _Piece,
    x: np.ndarray,
    y: np.ndarray | None,
    metric: MetricLike,
    constraints: Constraints,
) -> _Piece:
    """Return a piece with its best match; None if it has no path."""
    begin, end = piece.begin, piece.end
    left, right = (x[:, begin:end], None) if y is None else (x, y[begin:end])
    try:
        found = find_path(left, right, metric, constraints, wants_path=True)
    except NoPathError:
        return piece
    by_cost = constraints.pattern.divisor == "path"
    value = found.cost if by_cost else found.normalized_cost
    match = replace(found, path=found.path + np.array([0, begin]))
    return _Piece(value, begin, end, match)


def _without(pieces: list[_Piece], match: DTWPath, max_overlap: int) -> list[_Piece]:
    """Return the pieces before and after a match, which overlap it as allowed."""
    first, last = match.path[[0, -1], 1].tolist()
    overlap = min(max_overlap, last - first)
    left: list[_Piece] = []
    for piece in pieces:
        for begin, end in (
            (piece.begin, min(piece.end, first + overlap)),
            (max(piece.begin, last + 1 - overlap), piece.end),
        ):
            own = piece.match
            if own is not None and not (
                begin <= own.path[0, 1] and own.path[-1, 1] < end
            ):
                own = None
            if begin < end:
                left.append(_Piece(piece.value, begin, end, own))
    # pieces that overlap may give the same part twice, or one within another
    left.sort(key=lambda piece: (piece.begin, -piece.end))
    return [
        piece
        for i, piece in enumerate(left)
        if not any(other.end >= piece.end for other in left[:i])
    ]
