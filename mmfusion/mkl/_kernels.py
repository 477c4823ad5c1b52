"""Kernel functions of rows: their values, and gamma by the median rule."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from os import PathLike
from typing import Any

import numpy as np
from scipy import sparse
from scipy.spatial.distance import pdist
from sklearn.metrics.pairwise import (
    additive_chi2_kernel,
    chi2_kernel,
    euclidean_distances,
    laplacian_kernel,
    linear_kernel,
    manhattan_distances,
    polynomial_kernel,
    rbf_kernel,
)
from sklearn.utils import assert_all_finite, gen_batches
from sklearn.utils.extmath import row_norms

from mmfusion._blocks import Block
from mmfusion._medians import pairs_with_copies, positive_median
from mmfusion._scaling import Scaling
from mmfusion.mkl._kernel_files import allocate_gram
from mmfusion.mkl._kernel_scaling import ZERO_ROUNDINGS

# a name, or a function of two matrices that returns the values of all pairs of rows
Kernel = str | Callable[..., Any]

KERNEL_NAMES = ("rbf", "linear", "poly", "cosine", "laplacian", "chi2", "precomputed")
KERNELS_WITH_GAMMA = ("rbf", "poly", "laplacian", "chi2")

# gamma is divided by this power of the unit of the values
GAMMA_UNIT_POWERS = {"rbf": 2, "poly": 2, "laplacian": 1, "chi2": 1}

MEDIAN_ROWS = 1000  # the median of half a million pairs moves by less than 1 %
DIAGONAL_BATCH_ROWS = 64  # rows of which a callable computes the diagonal at a time
FILE_BATCH_CELLS = 2**22  # values that are computed at a time for a file
ZERO_EXPONENT = 1e4  # exp(-1e4) is 0 in float64


@dataclass(frozen=True)
class KernelFunction:
    """A kernel k(x, y) of two rows, with its parameters.

    =========== ======================================================
    'rbf'       ``exp(-gamma |x - y|^2)``
    'linear'    ``x'y``
    'poly'      ``(gamma x'y + coef0)^degree``
    'cosine'    ``x'y / (|x| |y|)``
    'laplacian' ``exp(-gamma |x - y|_1)``
    'chi2'      ``exp(-gamma sum_j (x_j - y_j)^2 / (x_j + y_j))``
    =========== ======================================================

    Parameters
    ----------
    kernel : str or callable
        Name of the kernel, or a function of two matrices of shapes (n, n_features) and
        (m, n_features) that returns the (n, m) values.
    gamma : float, default=None
        Coefficient of the kernels in `KERNELS_WITH_GAMMA`.
    degree : float, default=3
        Degree of the polynomial kernel.
    coef0 : float, default=1
        Constant of the polynomial kernel.
    """

    kernel: Kernel
    gamma: float | None = None
    degree: float = 3
    coef0: float = 1

    @property
    def is_precomputed(self) -> bool:
        """Whether blocks hold the values of the kernel."""
        return isinstance(self.kernel, str) and self.kernel == "precomputed"

    def pairwise(self, X: Block, Y: Block) -> np.ndarray:
        """Compute the kernel of all pairs of rows.

        Parameters
        ----------
        X : ndarray or CSR matrix of shape (n, n_features)
            First rows.
        Y : ndarray or CSR matrix of shape (m, n_features)
            Second rows.

        Returns
        -------
        ndarray of shape (n, m)
            The values, in a new array.
        """
        if callable(self.kernel):
            return _call_kernel(self.kernel, X, Y)
        # overflows are reported by `check_finite_kernel`
        with np.errstate(over="ignore", invalid="ignore"):
            return self._pairwise_by_name(self.kernel, X, Y)

    def _pairwise_by_name(self, kernel: str, X: Block, Y: Block) -> np.ndarray:
        gamma = self.gamma
        match kernel:
            case "rbf":
                X, Y = _clip_outlying(X, gamma, 2), _clip_outlying(Y, gamma, 2)
                return rbf_kernel(X, Y, gamma=gamma)
            case "linear":
                return linear_kernel(X, Y, dense_output=True)
            case "poly":
                return polynomial_kernel(
                    X, Y, degree=self.degree, gamma=gamma, coef0=self.coef0
                )
            case "cosine":
                unit = Scaling("l2")
                return linear_kernel(unit.apply(X), unit.apply(Y), dense_output=True)
            case "laplacian":
                X, Y = _clip_outlying(X, gamma, 1), _clip_outlying(Y, gamma, 1)
                return laplacian_kernel(X, Y, gamma=gamma)
            case "chi2":
                return chi2_kernel(X, Y, gamma=gamma)
        raise ValueError(f"kernel {kernel!r} is not a function of rows")

    def gram(self, X: Block, folder: str | PathLike[str] | None = None) -> np.ndarray:
        """Compute the Gram matrix of rows.

        Parameters
        ----------
        X : ndarray or CSR matrix of shape (n, n_features)
            The rows.
        folder : str or path-like, default=None
            Folder of the file that holds the matrix, as for `allocate_gram`.

        Returns
        -------
        ndarray of shape (n, n)
            The values, in a new array.
        """
        n_rows = X.shape[0]
        if folder is None:
            return self.pairwise(X, X)
        dtype = self.pairwise(X[:1], X[:1]).dtype
        K = allocate_gram((n_rows, n_rows), dtype, folder)
        for rows in gen_batches(n_rows, max(1, FILE_BATCH_CELLS // n_rows)):
            K[rows] = self.pairwise(X[rows], X)
        return K

    def diagonal(self, X: Block) -> np.ndarray:
        """Compute the kernel of every row with itself.

        Parameters
        ----------
        X : ndarray or CSR matrix of shape (n, n_features)
            The rows.

        Returns
        -------
        ndarray of shape (n,)
            The values k(x, x).
        """
        if callable(self.kernel):
            parts = [
                self.pairwise(X[rows], X[rows]).diagonal()
                for rows in gen_batches(X.shape[0], DIAGONAL_BATCH_ROWS)
            ]
            return np.concatenate(parts)
        if self.kernel in ("rbf", "laplacian", "chi2"):
            return np.ones(X.shape[0])
        if self.kernel == "cosine":
            # of rows of unit length, because squares of tiny values underflow to 0
            lengths = row_norms(Scaling("l2").apply(X))
            return (lengths > 0).astype(float)
        squares = row_norms(X, squared=True)
        if self.kernel == "linear":
            return squares
        return (self.gamma * squares + self.coef0) ** self.degree


def _call_kernel(kernel: Callable[..., Any], X: Block, Y: Block) -> np.ndarray:
    """Call a kernel function and check that it returns a real number for each pair."""
    rule = (
        "a callable takes two matrices and returns the values of all pairs of their "
        "rows. A function of two rows becomes one by lambda X, Y: "
        "sklearn.metrics.pairwise.pairwise_kernels(X, Y, metric=kernel)"
    )
    try:
        values = kernel(X, Y)
        values = np.asarray(values.toarray() if sparse.issparse(values) else values)
        is_complex = values.dtype.kind == "c"
        if not is_complex:
            with np.errstate(over="ignore"):
                values = np.array(values, np.result_type(X.dtype, np.float32))
    except (TypeError, ValueError, IndexError, AttributeError) as error:
        raise ValueError(
            f"the kernel {kernel_name(kernel)!r} failed ({error}); {rule}"
        ) from error
    if is_complex:
        raise ValueError(f"the kernel {kernel_name(kernel)!r} returned complex values")
    if values.shape != (X.shape[0], Y.shape[0]):
        raise ValueError(
            f"the kernel {kernel_name(kernel)!r} returned an array of shape "
            f"{values.shape} for arrays of {X.shape[0]} and {Y.shape[0]} rows; {rule}"
        )
    return values


def kernel_name(kernel: Kernel) -> str:
    """Return the name of a kernel in errors.

    Parameters
    ----------
    kernel : str or callable
        The kernel.

    Returns
    -------
    str
        The name.
    """
    if isinstance(kernel, str):
        return kernel
    return getattr(kernel, "__name__", repr(kernel))


def _clip_outlying(rows: Block, gamma: float | None, power: int) -> Block:
    """Clip values whose squares would overflow, where the kernel is 0 anyway."""
    values = rows.data if sparse.issparse(rows) else rows
    bound = np.finfo(values.dtype).max ** 0.25
    largest = max(values.max(initial=0.0), -values.min(initial=0.0))
    if largest <= bound or (gamma or 1.0) * bound**power < ZERO_EXPONENT:
        return rows
    clipped = np.clip(values, -bound, bound)
    if sparse.issparse(rows):
        return type(rows)((clipped, rows.indices, rows.indptr), shape=rows.shape)
    return clipped


def check_finite_kernel(values: np.ndarray, kernel: Kernel) -> None:
    """Check that the values of a kernel are finite.

    Parameters
    ----------
    values : ndarray
        Values of the kernel, or explicit features.
    kernel : str or callable
        The kernel.

    Raises
    ------
    ValueError
        If a value is infinite or NaN.
    """
    try:
        # scikit-learn sums the values first, which may overflow
        with np.errstate(over="ignore", invalid="ignore"):
            assert_all_finite(values)
    except ValueError as error:
        raise ValueError(
            f"the kernel {kernel_name(kernel)!r} is not finite for some pairs of "
            f"samples: it overflows {values.dtype}, or is not defined; "
            f"{_remedy_of_overflow(kernel)}"
        ) from error


def _remedy_of_overflow(kernel: Kernel) -> str:
    if kernel == "poly":
        return (
            "set a smaller degree, and if it is not an integer a coef0 that makes "
            "gamma * x @ y + coef0 positive"
        )
    if callable(kernel):
        return "return finite values, and set scaling='block' for huge ones"
    if kernel == "precomputed":
        return "divide all of its values by a constant"
    return "set scaling='block', or clip values to the range of the samples of fit"


def gamma_in_units(gamma: float, kernel: Kernel, unit: float) -> float:
    """Convert gamma to values that were divided by a unit.

    Parameters
    ----------
    gamma : float
        Gamma of the values before.
    kernel : str or callable
        A kernel with gamma.
    unit : float
        Divisor of the values.

    Returns
    -------
    float
        Gamma times the power of the unit that the kernel has, clipped to the range of
        float64.
    """
    limits = np.finfo(np.float64)
    with np.errstate(over="ignore", under="ignore"):
        converted = np.float64(gamma)
        # one factor after another: the square of the unit alone may overflow
        for _ in range(GAMMA_UNIT_POWERS[str(kernel)]):
            converted = converted * unit
    return float(np.clip(converted, limits.tiny, limits.max))


def default_gamma(
    kernel: str, X: Block, sample_weight: np.ndarray | None = None
) -> float:
    """Compute gamma by the median rule.

    Parameters
    ----------
    kernel : {'rbf', 'poly', 'laplacian', 'chi2'}
        The kernel.
    X : ndarray or CSR matrix of shape (n, n_features)
        Rows, of which at most 1,000, evenly spaced, are compared.
    sample_weight : ndarray of shape (n,), default=None
        Weights of the rows: one of weight 3 counts as three equal rows.

    Returns
    -------
    float
        'rbf': ``1 / (2 m^2)`` with the median distance m of two rows, or where it is 0
        that of rows that differ; 'laplacian' and
        'chi2': 1 over the median distance (the sum of absolute differences; the sum of
        ``(x - y)^2 / (x + y)``); 'poly': 1 over the mean squared norm of a row.
    """
    if kernel == "poly":
        squares = row_norms(X, squared=True).astype(np.float64)
        mean_square = float(np.average(squares, weights=sample_weight))
        return 1 / mean_square if mean_square > 0 else 1.0
    n_rows = min(X.shape[0], MEDIAN_ROWS)
    chosen = np.linspace(0, X.shape[0] - 1, n_rows).astype(int)
    weight = None if sample_weight is None else sample_weight[chosen]
    distances, counts = pairs_with_copies(_pair_distances(kernel, X[chosen]), weight)
    typical = positive_median(distances, counts=counts) or 1.0
    return 1 / (2 * typical**2) if kernel == "rbf" else 1 / typical


def _pair_distances(kernel: str, rows: Block) -> np.ndarray:
    """Compute the distance that a kernel is a function of, once for each pair."""
    if kernel == "laplacian" and not sparse.issparse(rows):
        return pdist(rows, "cityblock")
    if kernel == "rbf":
        distances = _exact_euclidean_distances(rows)
    elif kernel == "laplacian":
        distances = manhattan_distances(rows)
    else:
        distances = -additive_chi2_kernel(rows)
    return distances[np.triu_indices(len(distances), 1)]


def _exact_euclidean_distances(rows: Block) -> np.ndarray:
    """Compute Euclidean distances, which are 0 if rows are equal but for rounding."""
    if not sparse.issparse(rows):
        # |x|^2 - 2 x'y + |y|^2 loses the digits of an offset
        rows = rows.astype(np.float64)
        rows -= rows.mean(axis=0)
    squared_norms = row_norms(rows, squared=True)
    squares = euclidean_distances(rows, squared=True)
    rounding = ZERO_ROUNDINGS * np.finfo(np.float64).eps
    squares[squares <= rounding * np.add.outer(squared_norms, squared_norms)] = 0.0
    return np.sqrt(squares)
