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
    """Least cost of a path; diagonal steps weigh as told, but for the first cell."""
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
