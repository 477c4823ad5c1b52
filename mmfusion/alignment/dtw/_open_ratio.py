"""Paths of least normalised cost between open ends, by Dinkelbach's iteration."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from mmfusion.alignment.dtw._constraints import Constraints
from mmfusion.alignment.dtw._costs import GIVEN, Costs, cost_matrix
from mmfusion.alignment.dtw._step_patterns import path_divisor

LARGE_COST = 2.0**900  # above, costs are divided by this power of two, which is exact

PathAndCost = tuple[np.ndarray | None, float]
# finds the best path for the cost of a begin in each column, and a ratio or None
Finder = Callable[[np.ndarray, float | None], PathAndCost]


def path_of_least_ratio(
    finder: Callable[[Costs, Constraints], Finder],
    costs: Costs,
    constraints: Constraints,
) -> PathAndCost:
    """Find the best path, of least normalised cost if the divisor depends on its begin.

    Parameters
    ----------
    finder : callable
        Returns the search for paths through local costs under constraints.
    costs : Costs
        The local costs.
    constraints : Constraints
        The constraints of the path.

    Returns
    -------
    path : ndarray of int64 of shape (length, 2) or None
        The path; None if it is not wanted, or none has a finite cost.
    cost : float
        Its cost.
    """
    find = finder(costs, constraints)
    path, cost = find(constraints.begin_costs(costs.m), None)
    if not constraints.ratio_depends_on_begin or path is None:
        return path, cost
    if cost > LARGE_COST:  # multiples of it could overflow in the iteration
        table = cost_matrix(costs).astype(np.float64, copy=False) / LARGE_COST
        scaled = Costs(GIVEN, False, costs.n, costs.m, table, table[:0])
        small = replace(constraints, penalty=constraints.penalty / LARGE_COST)
        path, cost = path_of_least_ratio(finder, scaled, small)
        return path, cost * LARGE_COST
    return _minimize_ratio(find, costs.m, constraints, path, cost)


def _minimize_ratio(
    find: Finder, m: int, constraints: Constraints, path: np.ndarray, cost: float
) -> PathAndCost:
    """Find the path of least ratio of cost to frames, from any path.

    Dinkelbach's iteration: a path of least ``cost - ratio * frames``, for the ratio of
    the last path, has a smaller ratio unless that one is the least.
    """
    while cost > 0:
        ratio = cost / path_divisor(constraints.pattern, path)
        # a begin in column j covers j frames less, whose share is added to the cost
        begins = constraints.begin_costs(m) + ratio * np.arange(m)
        candidate, its_cost = find(begins, ratio)
        if candidate is None:
            break
        if its_cost / path_divisor(constraints.pattern, candidate) >= ratio:
            break
        path, cost = candidate, its_cost
    return path, cost
