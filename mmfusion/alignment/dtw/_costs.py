"""Local costs: the distance of each frame of a sequence from each of another.

`make_costs` prepares them from two sequences and a metric; `fill_costs` computes them,
tile by tile, in compiled code.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, NoReturn, cast

import numpy as np
import scipy.linalg.cython_blas  # noqa: F401  # numba calls BLAS through it
from numpy.typing import ArrayLike, DTypeLike

from mmfusion._blocks import as_float_array
from mmfusion._compilation import jit
from mmfusion._memory import check_fits
from mmfusion._scaling import centered, is_constant
from mmfusion._sequences import as_sequence, transposed_remedy
from mmfusion._typing import MetricLike

LOCAL_METRICS = ("correlation", "cosine", "euclidean", "manhattan", "sqeuclidean")
PRODUCT_FEATURES = 5  # from which a matrix product is faster than differences

# kinds of local costs
SQUARED, PRODUCT, COSINE, MANHATTAN, GIVEN = range(5)

# |x|^2 - 2 x'y + |y|^2 cancels for close frames: costs below this share of |x|^2 are
# computed again from differences, for items of 8 and of 4 bytes
CANCELLATION_SHARE_8, CANCELLATION_SHARE_4 = 1e-4, 1e-2

# largest absolute values of a sequence whose squares, and the squares of differences
# that rounding leaves, neither overflow nor become subnormal
_MODERATE = {"float32": (1e-10, 1e13), "float64": (1e-130, 1e145)}

_METRIC_CONTRACT = (
    "a metric takes two arrays of frames, A of shape (n, d) and B of shape (m, d), and "
    "returns the (n, m) matrix of costs; for a function f of two frames give "
    "metric=lambda A, B: scipy.spatial.distance.cdist(A, B, f)"
)


class Costs(NamedTuple):
    """Arrays from which the local costs of two sequences are computed.

    Parameters
    ----------
    kind : int
        SQUARED or MANHATTAN, from differences; PRODUCT (squared differences) or COSINE,
        from a matrix product; GIVEN, a matrix of costs.
    root : bool
        Whether the square root of the costs is taken.
    n, m : int
        Numbers of frames of the sequences.
    x : ndarray of shape (n, d)
        The first sequence. For PRODUCT its rows are (x, |x|^2, 1), for COSINE they have
        norm 1; for GIVEN they are the costs, of shape (n, m).
    y : ndarray of shape (m, d)
        The second; of shape (d, m) for SQUARED and MANHATTAN. For PRODUCT its rows are
        (-2 y, 1, |y|^2), so that the product of rows is |x - y|^2.
    """

    kind: int
    root: bool
    n: int
    m: int
    x: np.ndarray
    y: np.ndarray


def make_costs(
    x: ArrayLike,
    y: ArrayLike | None,
    metric: MetricLike,
    dtype: DTypeLike | None = None,
) -> Costs:
    """Prepare the local costs of two sequences.

    Parameters
    ----------
    x, y : array-like of shape (n, d) and (m, d)
        The sequences. For 'precomputed', x is the matrix of costs of shape (n, m) and y
        is None.
    metric : str or callable
        One of `LOCAL_METRICS`, 'precomputed', or a function of two arrays of frames
        that returns the matrix of their costs.
    dtype : dtype, default=None
        Type in which sequences are compared; None is float32 if both are.

    Returns
    -------
    Costs
        In float32 if both sequences are, and none of their squares would overflow or
        underflow.

    Raises
    ------
    TypeError
        If sequences or costs are not real numbers.
    ValueError
        If the sequences have different features, or a cost is negative or NaN.
    """
    if isinstance(metric, str) and metric == "precomputed":
        if y is not None:
            raise ValueError(
                "metric='precomputed' takes the matrix of costs as x; leave y out"
            )
        return _as_given_costs(as_float_array(x, "the matrix of costs"), "costs")
    check_metric(metric)
    x, y = as_sequence(x, "x"), as_sequence(cast(ArrayLike, y), "y")
    source_dtypes = x.dtype, y.dtype
    dtype = np.result_type(x, y) if dtype is None else dtype
    x, y = x.astype(dtype, copy=False), y.astype(dtype, copy=False)
    if callable(metric):
        # copies, which the callable may change
        given = _costs_of_callable(metric, x.copy(), y.copy())
        return _as_given_costs(given, "metric")
    if x.shape[1] != y.shape[1]:
        raise ValueError(
            f"x has {x.shape[1]} features and y has {y.shape[1]}: no metric compares "
            "them; project both to the same features, as CTWAligner learns to"
            f"{transposed_remedy([x, y])}"
        )
    if metric in ("cosine", "correlation"):
        x, y = (
            unit_rows(frames, source, center=metric == "correlation")
            for frames, source in zip((x, y), source_dtypes, strict=True)
        )
        return Costs(COSINE, False, len(x), len(y), x, y)
    return _difference_costs(x, y, metric)


def check_metric(metric: object, *, precomputed: bool = True) -> None:
    """Check that a parameter is a metric.

    Parameters
    ----------
    metric : object
        The value of the parameter.
    precomputed : bool, default=True
        Whether 'precomputed' is allowed.

    Raises
    ------
    ValueError
        If it is neither callable nor the name of a metric.
    """
    names = [*LOCAL_METRICS, "precomputed"] if precomputed else [*LOCAL_METRICS]
    if not callable(metric) and not (isinstance(metric, str) and metric in names):
        raise ValueError(f"metric={metric!r} is not one of {names}, nor callable")


def are_moderate(sequences: Iterable[np.ndarray]) -> bool:
    """Return whether the squares of all sequences keep their digits.

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


def _difference_costs(x: np.ndarray, y: np.ndarray, metric: str) -> Costs:
    """Prepare the costs of the metrics that are functions of differences."""
    n, m = len(x), len(y)
    moderate = are_moderate([x, y])
    if x.dtype == np.float32 and not moderate:
        x, y = x.astype(np.float64), y.astype(np.float64)
        moderate = are_moderate([x, y])
    # of a single feature the Euclidean distance is the absolute difference
    if metric == "manhattan" or (metric == "euclidean" and x.shape[1] == 1):
        x, y = np.ascontiguousarray(x), np.ascontiguousarray(y.T)
        return Costs(MANHATTAN, False, n, m, x, y)
    root = metric == "euclidean"
    if root and not moderate:
        return _as_given_costs(_rescaled_distances(x, y), "costs")
    if x.shape[1] < PRODUCT_FEATURES or not moderate:
        x, y = np.ascontiguousarray(x), np.ascontiguousarray(y.T)
        return Costs(SQUARED, root, n, m, x, y)
    x, y = _shifted_towards_zero(x, y)
    ones = [np.ones((len(frames), 1), x.dtype) for frames in (x, y)]
    left = np.hstack([x, _square_norms(x), ones[0]])
    right = np.hstack([-2 * y, ones[1], _square_norms(y)])
    # hstack keeps the memory order of its inputs; kernels are compiled for C order
    left, right = np.ascontiguousarray(left), np.ascontiguousarray(right)
    return Costs(PRODUCT, root, n, m, left, right)


def _as_given_costs(costs: np.ndarray, name: str) -> Costs:
    """Check a matrix of costs, and wrap it."""
    if costs.ndim != 2 or 0 in costs.shape:
        raise ValueError(f"costs have shape {costs.shape}; expected (n, m), not empty")
    if not (costs >= 0).all():
        i, j = np.argwhere(~(costs >= 0))[0]
        raise ValueError(
            f"{name}: the cost of frames {i} and {j} is {costs[i, j]}; costs must be "
            "at least 0, and infinite where no path may go"
        )
    n, m = costs.shape
    return Costs(GIVEN, False, n, m, np.ascontiguousarray(costs), costs[:0])


def _costs_of_callable(
    metric: Callable[..., Any], x: np.ndarray, y: np.ndarray
) -> np.ndarray:
    """Compute the costs of a callable, and check their shape."""
    n, m = len(x), len(y)
    try:
        returned = metric(x, y)
    except Exception as error:  # user code may raise anything
        raise ValueError(
            f"metric raised {type(error).__name__} for arrays of frames of shapes "
            f"{x.shape} and {y.shape}: {error}; {_METRIC_CONTRACT}"
        ) from error
    costs = as_float_array(returned, "the result of metric")
    if costs.shape != (n, m):
        _raise_wrong_shape(costs.shape, n, m)
    if n == m > 1:
        _check_orientation(metric, x, y)
    return costs


def _check_orientation(
    metric: Callable[..., Any], x: np.ndarray, y: np.ndarray
) -> None:
    """Check that square costs are neither transposed nor costs of single frames.

    The shape of square costs does not show it, so that the metric is called once more,
    with one frame and two.
    """
    try:
        shape = np.shape(metric(x[:1], y[:2]))
    except Exception:  # a metric may require all frames
        return
    if shape in ((2, 1), (2, x.shape[1])) and shape != (len(x), len(y)):
        _raise_wrong_shape(shape, 1, 2)


def _raise_wrong_shape(shape: tuple[int, ...], n: int, m: int) -> NoReturn:
    returned = f"an array of shape {shape}" if shape else "a number"
    raise ValueError(
        f"metric returns {returned} for {n} and {m} frames, not the matrix of shape "
        f"{(n, m)}; {_METRIC_CONTRACT}"
    )


def _rescaled_distances(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Compute Euclidean distances of frames whose squares over- or underflow.

    As in `math.hypot`, differences are divided by the largest one before squaring.
    """
    costs = np.empty((len(x), len(y)))
    with np.errstate(over="ignore", invalid="ignore"):
        for i, frame in enumerate(x):
            differences = np.abs(y - frame)
            largest = differences.max(axis=1)
            shares = differences / np.where(largest > 0, largest, 1)[:, None]
            costs[i] = largest * np.sqrt(_square_norms(shares)[:, 0])
    costs[np.isnan(costs)] = np.inf  # inf / inf, where a difference itself overflows
    return costs


def _shifted_towards_zero(
    x: np.ndarray, y: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Subtract the middle of features that lie far from 0, for smaller norms.

    Where the largest value of a feature is at most twice the smallest, the difference
    from its middle is exact (Sterbenz's lemma): costs have the same digits, whatever
    the other frames.
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


def unit_rows(
    x: np.ndarray, source_dtype: DTypeLike = np.float64, *, center: bool
) -> np.ndarray:
    """Scale rows to norm 1, so that their products are cosines or correlations.

    Parameters
    ----------
    x : ndarray of float of shape (n, d)
        The rows, of any magnitude.
    source_dtype : dtype, default=float64
        Type to which their values were rounded.
    center : bool
        Whether each row is centred first; products are correlations then.

    Returns
    -------
    ndarray of shape (n, d)
        The rows. A row of zeros, and a constant one if rows are centred, becomes zeros:
        its cost to all others is 1.
    """
    # division by a power of two is exact, and squares neither over- nor underflow
    exponents = np.frexp(np.abs(x).max(axis=1, keepdims=True))[1]
    x = np.ldexp(x, -exponents)
    is_zero = ~x.any(axis=1, keepdims=True)
    if center:
        largest = np.abs(x).max(axis=1, keepdims=True)
        x, _ = centered(x, axis=1)
        spread = np.sqrt(_square_norms(x) / x.shape[1])
        is_zero = is_constant(spread, largest, source_dtype)
    norms = np.sqrt(_square_norms(x))
    return np.ascontiguousarray(np.where(is_zero, 0, x / np.where(is_zero, 1, norms)))


def cost_matrix(costs: Costs) -> np.ndarray:
    """Compute the matrix of all local costs.

    Parameters
    ----------
    costs : Costs
        The costs.

    Returns
    -------
    ndarray of shape (n, m)
        The matrix.

    Raises
    ------
    ValueError
        If it does not fit into memory.
    """
    n, m = costs.n, costs.m
    check_fits(
        n * m * costs.x.dtype.itemsize,
        f"the matrix of {n} x {m} local costs",
        "shorten the sequences, or take gamma=0, which needs no matrix",
    )
    return fill_costs(costs, 0, n, 0, m, np.empty(n * m, costs.x.dtype))


def slice_costs(costs: Costs, i0: int, i1: int, j0: int, j1: int) -> Costs:
    """Return the local costs of parts of the sequences.

    Parameters
    ----------
    costs : Costs
        The costs.
    i0, i1, j0, j1 : int
        First row and the one after the last; first column and the one after the last.

    Returns
    -------
    Costs
        Those of these rows and columns.
    """
    x, y = costs.x[i0:i1], costs.y
    if costs.kind == GIVEN:
        x = x[:, j0:j1]
    elif costs.kind in (SQUARED, MANHATTAN):
        y = y[:, j0:j1]
    else:
        y = y[j0:j1]
    # kernels are compiled for contiguous arrays
    x, y = np.ascontiguousarray(x), np.ascontiguousarray(y)
    return Costs(costs.kind, costs.root, i1 - i0, j1 - j0, x, y)


@jit
def fill_costs(costs, i0, i1, j0, j1, out):
    """Compute the costs of rows i0 to i1 and columns j0 to j1.

    Parameters
    ----------
    costs : Costs
        The costs.
    i0, i1, j0, j1 : int
        First row and the one after the last; first column and the one after the last.
    out : ndarray of shape (size,)
        Array to whose start the costs are written.

    Returns
    -------
    ndarray of shape (i1 - i0, j1 - j0)
        The costs, a view of `out`.
    """
    rows, columns = i1 - i0, j1 - j0
    tile = out[: rows * columns].reshape(rows, columns)
    x, y = costs.x, costs.y
    if costs.kind == GIVEN:
        for i in range(rows):
            for j in range(columns):
                tile[i, j] = x[i0 + i, j0 + j]
    elif costs.kind == PRODUCT:
        np.dot(x[i0:i1], y[j0:j1].T, tile)
        _recompute_cancelled_tile(tile, x[i0:i1], y[j0:j1])
    elif costs.kind == COSINE:
        np.dot(x[i0:i1], y[j0:j1].T, tile)
        for i in range(rows):
            row = tile[i]
            for j in range(columns):
                row[j] = max(1 - row[j], 0)  # rounding may exceed a cosine of 1
    else:
        _fill_differences(costs.kind, tile, x[i0:i1], y, j0)
    if costs.root:
        for i in range(rows):
            row = tile[i]
            for j in range(columns):
                row[j] = np.sqrt(row[j])
    return tile


@jit
def _fill_differences(kind, tile, x, y, j0):
    """Compute sums of squared or absolute differences, feature by feature."""
    rows, columns = tile.shape
    others = y[0, j0 : j0 + columns]
    for i in range(rows):
        own = x[i, 0]
        for j in range(columns):
            tile[i, j] = abs(own - others[j])
        if kind == SQUARED:
            for j in range(columns):
                tile[i, j] *= tile[i, j]
    for f in range(1, x.shape[1]):
        others = y[f, j0 : j0 + columns]
        for i in range(rows):
            own = x[i, f]
            if kind == SQUARED:
                for j in range(columns):
                    difference = own - others[j]
                    tile[i, j] += difference * difference
            else:
                for j in range(columns):
                    tile[i, j] += abs(own - others[j])


@jit
def cancellation_share(x):
    """Return the share of the squared norm below which a cost is computed again.

    Parameters
    ----------
    x : ndarray of float
        An array of the type of the costs.

    Returns
    -------
    float
        The share, of that type.
    """
    return x.dtype.type(
        CANCELLATION_SHARE_8 if x.itemsize == 8 else CANCELLATION_SHARE_4
    )


@jit
def _recompute_cancelled_tile(tile, x, y):
    """Compute costs that are small beside the norms again, from differences."""
    rows, columns = tile.shape
    n_features = x.shape[1] - 2
    for i in range(rows):
        limit = cancellation_share(x) * x[i, n_features]
        n_small = 0  # a count is vectorised, a search that ends early is not
        for j in range(columns):
            n_small += tile[i, j] < limit
        if n_small:
            for j in range(columns):
                if tile[i, j] < limit:
                    cost = tile[i, j] * 0
                    for f in range(n_features):
                        difference = x[i, f] + y[j, f] / 2
                        cost += difference * difference
                    tile[i, j] = cost
