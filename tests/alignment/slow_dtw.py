"""Textbook recurrences of dynamic time warping: double loops, formulas as printed."""

import numpy as np
from scipy.spatial.distance import cdist

SCIPY_METRICS = {
    "sqeuclidean": "sqeuclidean",
    "euclidean": "euclidean",
    "cosine": "cosine",
    "manhattan": "cityblock",
    "correlation": "correlation",
}


def slow_costs(x, y, metric="sqeuclidean"):
    return cdist(x, y, SCIPY_METRICS[metric])


def slow_dtw(costs, diagonal=1.0, penalty=0.0):
    """Compute the least cost of a path; the first cell has weight 1."""
    n, m = costs.shape
    total = np.full((n + 1, m + 1), np.inf)
    for i in range(n):
        for j in range(m):
            c = costs[i, j]
            if i == j == 0:
                total[1, 1] = c
                continue
            total[i + 1, j + 1] = min(
                total[i, j + 1] + c + penalty,
                total[i + 1, j] + c + penalty,
                total[i, j] + diagonal * c,
            )
    return total[n, m]


def all_paths(n, m, steps=((1, 0), (0, 1), (1, 1))):
    """Every path from the first cell to the last."""
    if n == m == 1:
        return [[(0, 0)]]
    found = []
    for di, dj in steps:
        if n > di and m > dj:
            found += [
                [*path, (n - 1, m - 1)] for path in all_paths(n - di, m - dj, steps)
            ]
    return found


def check_path(path, n, m, steps=((1, 0), (0, 1), (1, 1))):
    """A path goes from corner to corner by allowed steps."""
    assert path.dtype == np.int64
    assert path[0].tolist() == [0, 0]
    assert path[-1].tolist() == [n - 1, m - 1]
    assert set(map(tuple, np.diff(path, axis=0).tolist())) <= set(steps)


def along(costs, path):
    return costs[path[:, 0], path[:, 1]].sum()


def slow_pattern(costs, moves, penalty=0.0):
    """Least costs of paths by any moves, from the first cell to those of the last row.

    Moves are sequences of steps (rows, columns, weight); steps that are not diagonal
    have a price.
    """
    n, m = costs.shape
    total = np.full((n, m), np.inf)
    total[0, 0] = costs[0, 0]
    for i, j in np.ndindex(n, m):
        for move in moves:
            a, b = i - sum(step[0] for step in move), j - sum(step[1] for step in move)
            if a < 0 or b < 0:
                continue
            found = total[a, b]
            for rows, columns, weight in move:
                a, b = a + rows, b + columns
                found += np.inf if np.isinf(costs[a, b]) else weight * costs[a, b]
                found += penalty * (rows != columns)
            total[i, j] = min(total[i, j], found)
    return total[-1]


def slow_limited(costs, max_jump, diagonal=1.0, penalty=0.0):
    """The same by single steps, of which at most `max_jump` go straight in a row.

    A state is the last step and how many like it there are in a row.
    """
    n, m = costs.shape
    states = {}
    for i, j in np.ndindex(n, m):
        states[i, j] = {(1, 1, 0): costs[0, 0]} if i == j == 0 else {}
        for a, b in ((1, 1), (0, 1), (1, 0)):
            for (p, q, run), total in states.get((i - a, j - b), {}).items():
                length = 0 if a == b else 1 + run * ((a, b) == (p, q))
                if length > max_jump:
                    continue
                own = costs[i, j] * diagonal if a == b else costs[i, j] + penalty
                key = (a, b, length)
                states[i, j][key] = min(states[i, j].get(key, np.inf), total + own)
    return np.array([min(states[n - 1, j].values(), default=np.inf) for j in range(m)])


def slow_open(last_row, costs, divisor, open_begin, open_end):
    """Least cost of all parts of the columns, by what is documented to be minimised.

    Returns the cost and what it is divided by for that; None if there is no path.
    """
    n, m = costs.shape
    found = []
    for begin in range(m if open_begin else 1):
        totals = last_row(costs[:, begin:])
        for end in range(begin if open_end else m - 1, m):
            n_columns = end - begin + 1
            sizes = {"both": n + n_columns, "columns": n_columns}
            found.append((totals[end - begin], sizes.get(divisor, 1)))
    total, size = min(found, key=lambda pair: pair[0] / pair[1])
    return None if np.isinf(total) else (total, size)


def slow_open_ends(costs, divisor, begins, ends, diagonal=1.0, penalty=0.0):
    """The same for single steps, where frames of both sequences may be left out.

    ``begins`` and ``ends`` are the most frames of each. Every begin has a table of its
    own, which holds all its ends.
    """
    n, m = costs.shape
    found = []
    for i0 in range(n):
        for j0 in range(m):
            if (i0 and j0) or i0 > begins[0] or j0 > begins[1]:
                continue
            for i1 in range(i0, n):
                for j1 in range(j0, m):
                    left_out = n - 1 - i1, m - 1 - j1
                    if all(left_out) or left_out[0] > ends[0] or left_out[1] > ends[1]:
                        continue
                    part = costs[i0 : i1 + 1, j0 : j1 + 1]
                    n_rows, n_columns = part.shape
                    size = {"both": n_rows + n_columns, "path": 1}[divisor]
                    found.append((slow_dtw(part, diagonal, penalty) / size, size))
    ratio, size = min(found)
    return ratio * size, size


def slow_matches(costs, value, k, max_overlap=0):
    """The k best parts of the columns, each from a list of all parts.

    ``value`` is the least cost, or cost per frame, of a path through all rows and the
    given columns, or inf.
    """
    m = costs.shape[1]
    parts = [(b, e) for b in range(m) for e in range(b, m)]
    values = {(b, e): value(costs[:, b : e + 1]) for b, e in parts}
    found = []
    while len(found) < k:
        free = [
            (b, e)
            for b, e in parts
            if np.isfinite(values[b, e])
            and all(
                e < first + min(max_overlap, last - first)
                or b > last - min(max_overlap, last - first)
                for first, last in found
            )
        ]
        if not free:
            break
        found.append(min(free, key=values.get))
    return [(part, values[part]) for part in found]


def slow_short(costs, max_length, diagonal=1.0, penalty=0.0):
    """Least cost of a path of at most `max_length` cells: a table for each length."""
    n, m = costs.shape
    totals = np.full((max_length, n, m), np.inf)
    totals[0, 0, 0] = costs[0, 0]
    for length in range(1, max_length):
        before = np.pad(totals[length - 1], ((1, 0), (1, 0)), constant_values=np.inf)
        straight = np.minimum(before[:-1, 1:], before[1:, :-1]) + costs + penalty
        totals[length] = np.minimum(before[:-1, :-1] + diagonal * costs, straight)
    return totals[:, -1, -1].min()
