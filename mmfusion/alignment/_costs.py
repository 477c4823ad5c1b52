"""Local costs: the distance of every frame of one sequence from each of the other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from mmfusion.alignment import _dtw_kernels as kernels
from mmfusion.alignment._dtw_kernels import Costs, fill_costs

METRICS = ("correlation", "cosine", "euclidean", "manhattan", "sqeuclidean")
PRODUCT_FROM = 5  # features from which a matrix product is faster than differences


def as_sequence(x: Any, name: str) -> np.ndarray:
    """Take one sequence.

    Parameters
    ----------
    x : array-like of shape (n_frames, n_features) or (n_frames,)
        The sequence.
    name : str
        What to call it in errors.

    Returns
    -------
    ndarray of float32 or float64 of shape (n_frames, n_features)
        The same.

    Raises
    ------
    ValueError
        If it has no frame, another shape, or a value that is NaN or infinite.
    """
    x = np.asarray(x)
    if x.dtype != np.float32:
        x = x.astype(np.float64, copy=False)
    if x.ndim == 1:
        x = x[:, None]
    if x.ndim != 2:
        raise ValueError(
            f"{name} has shape {x.shape}; a sequence has shape (n_frames, n_features)"
        )
    if not len(x):
        raise ValueError(f"{name} has 0 frames; leave empty sequences out")
    if not np.isfinite(x).all():
        frame = int(np.argmin(np.isfinite(x).all(axis=1)))
        raise ValueError(
            f"frame {frame} of {name} has a value that is NaN or infinite; drop such "
            "frames, or fill them in"
        )
    return x


def make_costs(x: Any, y: Any, metric: str | Callable[..., Any]) -> Costs:
    """Make what the kernels take local costs from.

    Parameters
    ----------
    x, y : array-like of shape (n, d) and (m, d)
        The sequences. For 'precomputed', x is the costs of shape (n, m), y is None.
    metric : str or callable
        One of `METRICS`, 'precomputed', or a function of two arrays of frames that
        gives the matrix of their costs.

    Returns
    -------
    Costs
        In float32 if both sequences are.

    Raises
    ------
    ValueError
        If the sequences have different features, or a cost is negative or NaN.
    """
    if metric == "precomputed":
        return _given(x)
    x, y = as_sequence(x, "x"), as_sequence(y, "y")
    if callable(metric):
        return _given(metric(x, y))
    if metric not in METRICS:
        raise ValueError(
            f"metric={metric!r} is not one of {[*METRICS, 'precomputed']}, nor callable"
        )
    if x.shape[1] != y.shape[1]:
        raise ValueError(
            f"x has {x.shape[1]} features and y has {y.shape[1]}: no metric compares "
            "them; project both to the same features, as CTWAligner learns to"
        )
    dtype = np.result_type(x, y)
    x, y = x.astype(dtype, copy=False), y.astype(dtype, copy=False)
    if metric in ("cosine", "correlation"):
        x, y = (_normed(z, center=metric == "correlation") for z in (x, y))
        return Costs(kernels.COSINE, False, x, y)
    if metric == "manhattan" or (metric == "euclidean" and x.shape[1] == 1):
        return Costs(
            kernels.MANHATTAN, False, np.ascontiguousarray(x), np.ascontiguousarray(y.T)
        )
    root = metric == "euclidean"
    if x.shape[1] < PRODUCT_FROM:
        return Costs(
            kernels.SQUARED, root, np.ascontiguousarray(x), np.ascontiguousarray(y.T)
        )
    middle = (x.mean(axis=0) + y.mean(axis=0)) / 2  # norms are small about it
    x, y = x - middle, y - middle
    left = np.hstack([x, _square_norms(x), np.ones((len(x), 1), dtype)])
    right = np.hstack([-2 * y, np.ones((len(y), 1), dtype), _square_norms(y)])
    # hstack keeps the order of its parts, and kernels are compiled for rows
    left, right = np.ascontiguousarray(left), np.ascontiguousarray(right)
    return Costs(kernels.PRODUCT, root, left, right)


def _given(costs: Any) -> Costs:
    costs = np.asarray(costs)
    if costs.dtype != np.float32:
        costs = costs.astype(np.float64, copy=False)
    if costs.ndim != 2 or 0 in costs.shape:
        raise ValueError(f"costs have shape {costs.shape}; expected (n, m), not empty")
    if not (costs >= 0).all():
        i, j = np.argwhere(~(costs >= 0))[0]
        raise ValueError(
            f"the cost of frames {i} and {j} is {costs[i, j]}; costs are at least 0"
        )
    return Costs(kernels.GIVEN, False, np.ascontiguousarray(costs), costs[:0])


def _square_norms(x: np.ndarray) -> np.ndarray:
    return np.einsum("ij,ij->i", x, x)[:, None]


def _normed(x: np.ndarray, *, center: bool) -> np.ndarray:
    """Rows of norm 1; a row of zeros stays, at a distance of 1 from all others."""
    if center:
        x = x - x.mean(axis=1, keepdims=True)
    norms = np.sqrt(_square_norms(x))
    return np.ascontiguousarray(x / np.where(norms > 0, norms, 1))


def shape_of(costs: Costs) -> tuple[int, int]:
    """Tell the numbers of frames.

    Parameters
    ----------
    costs : Costs
        The costs.

    Returns
    -------
    tuple of int
        Of the first and of the second sequence.
    """
    if costs.kind == kernels.GIVEN:
        return costs.x.shape
    by_feature = costs.kind in (kernels.SQUARED, kernels.MANHATTAN)
    return len(costs.x), costs.y.shape[1 if by_feature else 0]


def cost_matrix(costs: Costs) -> np.ndarray:
    """Write all costs down.

    Parameters
    ----------
    costs : Costs
        What they are made from.

    Returns
    -------
    ndarray of shape (n, m)
        The costs.
    """
    n, m = shape_of(costs)
    return fill_costs(costs, 0, n, 0, m, np.empty(n * m, costs.x.dtype))
