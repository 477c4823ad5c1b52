"""Local costs: the distance of every frame of one sequence from each of the other."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from mmfusion._blocks import as_float_array
from mmfusion._constancy import centered, is_constant
from mmfusion._memory import check_fits
from mmfusion._sequences import as_sequence
from mmfusion.alignment.dtw import _kernels as kernels
from mmfusion.alignment.dtw._kernels import Costs, fill_costs

METRICS = ("correlation", "cosine", "euclidean", "manhattan", "sqeuclidean")
PRODUCT_FROM = 5  # features from which a matrix product is faster than differences

# largest values of a sequence whose squares, and those of differences that rounding
# lets it have, are neither infinite nor rounded to fewer digits
_MODERATE = {"float32": (1e-10, 1e13), "float64": (1e-130, 1e145)}

_OF_FRAMES = (
    "a metric takes two arrays of frames, A of shape (n, d) and B of shape (m, d), and "
    "returns the (n, m) matrix of costs; for a function f of two frames give "
    "metric=lambda A, B: scipy.spatial.distance.cdist(A, B, f)"
)


def make_costs(
    x: Any, y: Any, metric: str | Callable[..., Any], dtype: Any = None
) -> Costs:
    """Make what the kernels take local costs from.

    Parameters
    ----------
    x, y : array-like of shape (n, d) and (m, d)
        The sequences. For 'precomputed', x is the costs of shape (n, m), y is None.
    metric : str or callable
        One of `METRICS`, 'precomputed', or a function of two arrays of frames that
        returns the matrix of their costs.
    dtype : dtype, default=None
        In which sequences are compared; None takes float32 if both are.

    Returns
    -------
    Costs
        In float32 if both sequences are, and none of their squares would overflow or
        vanish.

    Raises
    ------
    TypeError
        If sequences or costs are no real numbers.
    ValueError
        If the sequences have different features, or a cost is negative or NaN.
    """
    if isinstance(metric, str) and metric == "precomputed":
        if y is not None:
            raise ValueError(
                "metric='precomputed' takes the matrix of costs as x; leave y out"
            )
        return _given(as_float_array(x, "the matrix of costs"), "costs")
    check_metric(metric)
    x, y = as_sequence(x, "x"), as_sequence(y, "y")
    own_types = x.dtype, y.dtype
    dtype = np.result_type(x, y) if dtype is None else dtype
    if callable(metric):
        return _given(_called(metric, x.astype(dtype), y.astype(dtype)), "metric")
    if x.shape[1] != y.shape[1]:
        raise ValueError(
            f"x has {x.shape[1]} features and y has {y.shape[1]}: no metric compares "
            "them; project both to the same features, as CTWAligner learns to"
        )
    if metric in ("cosine", "correlation"):
        x, y = (
            unit_rows(z.astype(dtype, copy=False), own, center=metric == "correlation")
            for z, own in zip((x, y), own_types, strict=True)
        )
        return Costs(kernels.COSINE, False, x, y)
    x, y = x.astype(dtype, copy=False), y.astype(dtype, copy=False)
    moderate = are_moderate([x, y])
    if x.dtype == np.float32 and not moderate:
        dtype = np.float64
        x, y = x.astype(dtype), y.astype(dtype)
        moderate = are_moderate([x, y])
    if metric == "manhattan" or (metric == "euclidean" and x.shape[1] == 1):
        return Costs(
            kernels.MANHATTAN, False, np.ascontiguousarray(x), np.ascontiguousarray(y.T)
        )
    root = metric == "euclidean"
    if root and not moderate:
        return _given(_distances(x, y), "costs")
    if x.shape[1] < PRODUCT_FROM or not moderate:
        return Costs(
            kernels.SQUARED, root, np.ascontiguousarray(x), np.ascontiguousarray(y.T)
        )
    x, y = _nearer_zero(x, y)
    ones = [np.ones((len(z), 1), dtype) for z in (x, y)]
    left = np.hstack([x, _square_norms(x), ones[0]])
    right = np.hstack([-2 * y, ones[1], _square_norms(y)])
    # hstack keeps the order of its parts, and kernels are compiled for rows
    left, right = np.ascontiguousarray(left), np.ascontiguousarray(right)
    return Costs(kernels.PRODUCT, root, left, right)


def check_metric(metric: Any, *, precomputed: bool = True) -> None:
    """Refuse what is no metric.

    Parameters
    ----------
    metric : object
        What was given for one.
    precomputed : bool, default=True
        Whether costs may be given in the place of sequences.

    Raises
    ------
    ValueError
        If it is neither callable nor the name of one.
    """
    names = [*METRICS, "precomputed"] if precomputed else [*METRICS]
    if not callable(metric) and not (isinstance(metric, str) and metric in names):
        raise ValueError(f"metric={metric!r} is not one of {names}, nor callable")


def are_moderate(sequences: Iterable[np.ndarray]) -> bool:
    """Tell whether squares of all sequences keep their digits.

    Parameters
    ----------
    sequences : iterable of ndarray of float32 or float64 of shape (n_frames, d)
        The sequences, each of one type.

    Returns
    -------
    bool
        Whether the largest absolute value of each is 0, or has a square far from the
        limits of its type.
    """
    for x in sequences:
        least, most = _MODERATE[x.dtype.name]
        largest = max(float(x.max()), -float(x.min()))
        if largest and not least <= largest <= most:
            return False
    return True


def _called(metric: Callable[..., Any], x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Costs that a callable returns, of the shape that they have to have."""
    n, m = len(x), len(y)
    try:
        returned = metric(x, y)
    except Exception as error:  # of the user's function
        raise ValueError(
            f"metric raised {type(error).__name__} for arrays of frames of shapes "
            f"{x.shape} and {y.shape}: {error}; {_OF_FRAMES}"
        ) from error
    costs = as_float_array(returned, "what metric returns")
    if costs.shape != (n, m):
        _refuse_shape(costs.shape, n, m)
    if n == m > 1:
        _refuse_order(metric, x, y)
    return costs


def _refuse_order(metric: Callable[..., Any], x: np.ndarray, y: np.ndarray) -> None:
    """Refuse costs that are transposed, or of one frame each, where both are square."""
    try:
        shape = np.shape(metric(x[:1], y[:2]))
    except Exception:  # a metric may well need all frames
        return
    if shape in ((2, 1), (2, x.shape[1])) and shape != (len(x), len(y)):
        _refuse_shape(shape, 1, 2)


def _refuse_shape(shape: tuple[int, ...], n: int, m: int) -> None:
    found = f"an array of shape {shape}" if shape else "a number"
    raise ValueError(
        f"metric returns {found} for {n} and {m} frames, not the matrix of shape "
        f"{(n, m)}; {_OF_FRAMES}"
    )


def _given(costs: np.ndarray, name: str) -> Costs:
    if costs.ndim != 2 or 0 in costs.shape:
        raise ValueError(f"costs have shape {costs.shape}; expected (n, m), not empty")
    if not (costs >= 0).all():
        i, j = np.argwhere(~(costs >= 0))[0]
        raise ValueError(
            f"{name}: the cost of frames {i} and {j} is {costs[i, j]}; costs are at "
            "least 0, and infinite where no path may go"
        )
    return Costs(kernels.GIVEN, False, np.ascontiguousarray(costs), costs[:0])


def _distances(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Euclidean distances of frames of any size, whose squares are not."""
    costs = np.empty((len(x), len(y)))
    with np.errstate(over="ignore", invalid="ignore"):
        for i, frame in enumerate(x):
            differences = np.abs(y - frame)
            largest = differences.max(axis=1)
            shares = differences / np.where(largest > 0, largest, 1)[:, None]
            costs[i] = largest * np.sqrt(_square_norms(shares)[:, 0])
    costs[np.isnan(costs)] = np.inf  # of a difference that is infinite itself
    return costs


def _nearer_zero(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Subtract the middle of features that lie far from 0, for smaller norms.

    Where the largest value of a feature is at most twice the least, its middle is
    subtracted without rounding (Sterbenz): costs have the same digits, whatever other
    frames there are.
    """
    least = np.minimum(x.min(axis=0), y.min(axis=0))
    most = np.maximum(x.max(axis=0), y.max(axis=0))
    is_far = np.where(least > 0, most <= 2 * least, (most < 0) & (least >= 2 * most))
    if not is_far.any():
        return x, y
    middle = np.where(is_far, (least + most) / 2, 0).astype(x.dtype)
    return x - middle, y - middle


def _square_norms(x: np.ndarray) -> np.ndarray:
    return np.einsum("ij,ij->i", x, x)[:, None]


def unit_rows(x: np.ndarray, own_type: Any = np.float64, *, center: bool) -> np.ndarray:
    """Scale rows to norm 1, whose products are cosines, or correlations if centred.

    Parameters
    ----------
    x : ndarray of float of shape (n, d)
        The rows, of any size.
    own_type : dtype, default=float64
        In which their values were rounded.
    center : bool
        Whether each is centred before.

    Returns
    -------
    ndarray of shape (n, d)
        The rows. One of zeros, and one that is constant if it is centred, becomes
        zeros: it is at a cost of 1 from all others.
    """
    # a power of two rounds nothing, and squares neither overflow nor vanish
    exponents = np.frexp(np.abs(x).max(axis=1, keepdims=True))[1]
    x = np.ldexp(x, -exponents)
    is_zero = ~x.any(axis=1, keepdims=True)
    if center:
        largest = np.abs(x).max(axis=1, keepdims=True)
        x, _ = centered(x, axis=1)
        spread = np.sqrt(_square_norms(x) / x.shape[1])
        is_zero = is_constant(spread, largest, own_type)
    norms = np.sqrt(_square_norms(x))
    return np.ascontiguousarray(np.where(is_zero, 0, x / np.where(is_zero, 1, norms)))


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

    Raises
    ------
    ValueError
        If they do not fit into memory.
    """
    n, m = shape_of(costs)
    check_fits(
        n * m * costs.x.dtype.itemsize,
        f"the matrix of {n} x {m} local costs",
        "shorten the sequences, or take dtw_path with gamma=0, which needs no matrix",
    )
    return fill_costs(costs, 0, n, 0, m, np.empty(n * m, costs.x.dtype))
