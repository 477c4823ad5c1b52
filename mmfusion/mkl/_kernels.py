"""Kernels of one modality: values, bandwidths, centring, normalisation, checks.

Pure functions of arrays. A kernel is a name of `KERNELS` or a callable that takes two
tables, of shapes (n, d) and (m, d), and gives the (n, m) values, as scikit-learn's
``rbf_kernel`` does.

- ``kernel_values(kernel, X, Y, gamma, degree, coef0)``: the (n, m) values;
- ``training_values(kernel, X, gamma, degree, coef0, folder)``: those of the samples of
  `fit` with each other, in memory or in a file;
- ``condition(scaling, kernel, X, center=, normalize=)``: shift and unit of values
  without scaling, by which ``gamma_in_units`` changes gamma;
- ``self_values(kernel, X, gamma, degree, coef0)``: k(x, x) of each row;
- ``default_gamma(kernel, X)``: the bandwidth by the median rule;
- ``fit_kernel_scaling(K, center=, normalize=)``: centring by the means of `fit` and
  normalisation, a `KernelScaling`, whose ``apply(K, own)`` works in place and on the
  values of new samples too;
- ``check_training_kernel(K, name)``: square, symmetric, positive semi-definite.

Estimators take kernels from `ModalityKernels`, by `KernelInputMixin`, which tells how.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from os import PathLike
from os.path import isdir
from shutil import disk_usage
from tempfile import TemporaryFile
from typing import Any

import numpy as np
from scipy import linalg, sparse
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

from mmfusion._memory import in_units
from mmfusion._scaling import Scaling, without_offset_and_unit

Kernel = str | Callable[..., Any]

KERNELS = ("rbf", "linear", "poly", "cosine", "laplacian", "chi2", "precomputed")
WITH_GAMMA = ("rbf", "poly", "laplacian", "chi2")
NORMALIZATIONS = ("trace", "cosine")
TRANSLATION_INVARIANT = ("rbf", "laplacian")
# the power of the unit of values that gamma is divided by
POWER_OF_UNIT = {"rbf": 2, "poly": 2, "laplacian": 1, "chi2": 1}

MEDIAN_ROWS = 1000  # half a million pairs: their median moves by less than 1 %
CHECKED_ROWS = 500  # a kernel is semi-definite only if every part of it is
DEFINITE = 1e-5  # least eigenvalue over the largest that rounding may leave
SYMMETRIC = 1e-5
VANISHING = 100  # roundings of the values' size: what centring leaves of a constant
SELF_ROWS = 64
TILE_ROWS = 256
FILED_CELLS = 2**22
CHUNK_CELLS = 2**17  # stay in the processor's cache from one step to the next
MODERATE = (1e-100, 1e100)
NO_LIKENESS = 1e4  # exp(-1e4) is 0


def kernel_values(
    kernel: Kernel,
    X: Any,
    Y: Any,
    gamma: float | None = None,
    degree: float = 3,
    coef0: float = 1,
) -> np.ndarray:
    """Compare the rows of two tables.

    Parameters
    ----------
    kernel : str or callable
        A name of `KERNELS`, but not 'precomputed', or a function of two tables.
    X : ndarray or CSR matrix of shape (n, n_features)
        Rows.
    Y : ndarray or CSR matrix of shape (m, n_features)
        Rows.
    gamma : float, default=None
        Of 'rbf', 'poly', 'laplacian' and 'chi2'.
    degree : float, default=3
        Of 'poly'.
    coef0 : float, default=1
        Of 'poly'.

    Returns
    -------
    ndarray of shape (n, m)
        New, so that it may be changed.
    """
    if callable(kernel):
        return _values_of_callable(kernel, X, Y)
    with np.errstate(over="ignore", invalid="ignore"):  # `check_finite` names them
        return _named_values(kernel, X, Y, gamma, degree, coef0)


def _named_values(
    kernel: str, X: Any, Y: Any, gamma: float | None, degree: float, coef0: float
) -> np.ndarray:
    match kernel:
        case "rbf":
            X, Y = _bounded(X, gamma, 2), _bounded(Y, gamma, 2)
            return rbf_kernel(X, Y, gamma=gamma)
        case "linear":
            return linear_kernel(X, Y, dense_output=True)
        case "poly":
            return polynomial_kernel(X, Y, degree=degree, gamma=gamma, coef0=coef0)
        case "cosine":
            unit = Scaling("l2")
            return linear_kernel(unit.apply(X), unit.apply(Y), dense_output=True)
        case "laplacian":
            X, Y = _bounded(X, gamma, 1), _bounded(Y, gamma, 1)
            return laplacian_kernel(X, Y, gamma=gamma)
        case "chi2":
            return chi2_kernel(X, Y, gamma=gamma)
    raise ValueError(f"kernel {kernel!r} is none of {KERNELS} and no callable")


def _values_of_callable(kernel: Callable[..., Any], X: Any, Y: Any) -> np.ndarray:
    """Check what a callable returns: real numbers, one for each pair of rows."""
    rule = (
        "a callable takes two tables of rows and returns all pairs of their rows. One "
        "of two rows becomes such by lambda X, Y: "
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
            f"the kernel {name_of(kernel)!r} failed ({error}); {rule}"
        ) from error
    if is_complex:
        raise ValueError(f"the kernel {name_of(kernel)!r} returned complex values")
    if values.shape != (X.shape[0], Y.shape[0]):
        raise ValueError(
            f"the kernel {name_of(kernel)!r} returned an array of shape {values.shape} "
            f"for arrays of {X.shape[0]} and {Y.shape[0]} rows; {rule}"
        )
    return values


def name_of(kernel: Kernel) -> str:
    """Name a kernel in errors.

    Parameters
    ----------
    kernel : str or callable
        The kernel.

    Returns
    -------
    str
        Its name.
    """
    return (
        kernel if isinstance(kernel, str) else getattr(kernel, "__name__", repr(kernel))
    )


def _bounded(rows: Any, gamma: float | None, power: int) -> Any:
    """Clip values so far out that they are like no others, whose squares overflow."""
    values = rows.data if sparse.issparse(rows) else rows
    bound = np.finfo(values.dtype).max ** 0.25
    largest = max(values.max(initial=0.0), -values.min(initial=0.0))
    if largest <= bound or (gamma or 1.0) * bound**power < NO_LIKENESS:
        return rows
    clipped = np.clip(values, -bound, bound)
    if sparse.issparse(rows):
        return type(rows)((clipped, rows.indices, rows.indptr), shape=rows.shape)
    return clipped


def training_values(
    kernel: Kernel,
    X: Any,
    gamma: float | None = None,
    degree: float = 3,
    coef0: float = 1,
    folder: str | PathLike[str] | None = None,
) -> np.ndarray:
    """Compare the rows of `fit` with each other.

    Parameters
    ----------
    kernel : str or callable
        As for `kernel_values`, or 'precomputed'.
    X : ndarray or CSR matrix of shape (n, n_features)
        Rows; the values themselves if they are precomputed.
    gamma, degree, coef0 : float
        As for `kernel_values`.
    folder : str or path-like, default=None
        Where the values are kept, as `blank_table` does.

    Returns
    -------
    ndarray of shape (n, n)
        New, so that it may be changed.
    """
    n_rows = X.shape[0]
    if kernel == "precomputed":
        K = blank_table(X.shape, X.dtype, folder)
        K[...] = X
        return K
    if folder is None:
        return kernel_values(kernel, X, X, gamma, degree, coef0)
    options = (gamma, degree, coef0)
    dtype = kernel_values(kernel, X[:1], X[:1], *options).dtype
    table = blank_table((n_rows, n_rows), dtype, folder)
    for rows in gen_batches(n_rows, max(1, FILED_CELLS // n_rows)):
        table[rows] = kernel_values(kernel, X[rows], X, *options)
    return table


def blank_table(
    shape: tuple[int, int], dtype: Any, folder: str | PathLike[str] | None = None
) -> np.ndarray:
    """Make a table of zeros, in memory or in a file.

    Parameters
    ----------
    shape : (int, int)
        Its shape.
    dtype : dtype
        Of its values.
    folder : str or path-like, default=None
        Where to make a temporary file, which is mapped to memory and is gone with the
        table; None makes none.

    Returns
    -------
    ndarray
        The table.

    Raises
    ------
    ValueError
        If there is no such folder.
    OSError
        If the folder has no room for it.
    """
    if folder is None:
        return np.zeros(shape, dtype)
    n_bytes = shape[0] * shape[1] * np.dtype(dtype).itemsize
    check_room(folder, n_bytes, f"a kernel of {shape[0]} samples")
    with TemporaryFile(dir=folder) as file:
        return np.asarray(np.memmap(file, dtype, "w+", shape=shape))


def check_room(folder: str | PathLike[str], n_bytes: int, what: str) -> None:
    """Refuse to write what a folder has no room for.

    Parameters
    ----------
    folder : str or path-like
        The folder.
    n_bytes : int
        Bytes to write.
    what : str
        What they are, for the error.

    Raises
    ------
    ValueError
        If there is no such folder.
    OSError
        If the folder has no room for it.
    """
    if not isdir(folder):
        raise ValueError(f"temp_folder={str(folder)!r} is no folder; make it first")
    free = disk_usage(folder).free
    if n_bytes > free:  # the processor would stop the program at the missing page
        raise OSError(
            f"temp_folder={str(folder)!r} has {in_units(free)} left; {what} takes "
            f"{in_units(n_bytes)}. Give another folder, or take "
            "approximation='nystroem'"
        )


def self_values(
    kernel: Kernel,
    X: Any,
    gamma: float | None = None,
    degree: float = 3,
    coef0: float = 1,
) -> np.ndarray:
    """Compare every row with itself.

    Parameters
    ----------
    kernel : str or callable
        As for `kernel_values`.
    X : ndarray or CSR matrix of shape (n, n_features)
        Rows.
    gamma : float, default=None
        Of 'poly'.
    degree : float, default=3
        Of 'poly'.
    coef0 : float, default=1
        Of 'poly'.

    Returns
    -------
    ndarray of shape (n,)
        The values k(x, x).
    """
    if callable(kernel):
        parts = [
            kernel_values(kernel, X[rows], X[rows]).diagonal()
            for rows in gen_batches(X.shape[0], SELF_ROWS)
        ]
        return np.concatenate(parts)
    if kernel in ("rbf", "laplacian", "chi2"):
        return np.ones(X.shape[0])
    squares = row_norms(X, squared=True)
    if kernel == "linear":
        return squares
    if kernel == "cosine":
        # squares of tiny values vanish
        lengths = row_norms(Scaling("l2").apply(X))
        return (lengths > 0).astype(float)
    return (gamma * squares + coef0) ** degree


def condition(
    scaling: Scaling,
    kernel: Kernel,
    X: Any,
    sample_weight: np.ndarray | None = None,
    *,
    center: bool,
    normalize: str | None,
) -> Scaling:
    """Shift and divide values that have no scaling, where a kernel is the same by it.

    Parameters
    ----------
    scaling : Scaling
        Fitted; another than None is returned as it is.
    kernel : str or callable
        As for `kernel_values`.
    X : ndarray or CSR matrix of shape (n, n_features)
        Rows of `fit`.
    sample_weight : ndarray of shape (n,), default=None
        Weights of the rows.
    center : bool
        Whether the kernel is centred.
    normalize : {'trace', 'cosine'} or None
        How the kernel is normalised.

    Returns
    -------
    Scaling
        Its `spread` is the unit, a power of two, by which gamma has to follow.
    """
    if scaling.how is not None or not isinstance(kernel, str):
        return scaling
    is_linear = kernel == "linear"
    shifted = kernel in TRANSLATION_INVARIANT or (is_linear and center)
    found = without_offset_and_unit(X, sample_weight, shifted=shifted)
    has_unit = kernel in POWER_OF_UNIT or (is_linear and normalize is not None)
    return found if has_unit else replace(found, spread=1.0)


def gamma_in_units(gamma: float, kernel: Kernel, unit: float) -> float:
    """Express gamma for values that were divided by a unit.

    Parameters
    ----------
    gamma : float
        Gamma for values as they were.
    kernel : str or callable
        A kernel that has gamma.
    unit : float
        What values were divided by; by its inverse gamma is expressed for values as
        they were.

    Returns
    -------
    float
        Gamma times the power of the unit that the kernel has; not more than the largest
        float, nor less than the smallest.
    """
    limits = np.finfo(np.float64)
    with np.errstate(over="ignore", under="ignore"):
        changed = np.float64(gamma)
        for _ in range(POWER_OF_UNIT[str(kernel)]):
            changed = changed * unit
    return float(np.clip(changed, limits.tiny, limits.max))


def moderate_weights(weight: np.ndarray) -> np.ndarray:
    """Change the unit of weights whose squares are 0 or infinite.

    Parameters
    ----------
    weight : ndarray of shape (n_samples,)
        Positive weights of samples.

    Returns
    -------
    ndarray of shape (n_samples,)
        Weights in the same proportions; below 1 where they were.
    """
    largest = weight.max()
    bounded = np.clip(largest, *MODERATE)
    return weight if bounded == largest else weight / largest * bounded


def default_gamma(
    kernel: Kernel, X: Any, sample_weight: np.ndarray | None = None
) -> float | None:
    """Choose a kernel's gamma by the values of a modality.

    Parameters
    ----------
    kernel : str or callable
        As for `kernel_values`.
    X : ndarray or CSR matrix of shape (n, n_features)
        Rows; at most 1,000 of them, evenly spaced, are compared.
    sample_weight : ndarray of shape (n,), default=None
        Weights of the rows: one of weight 3 stands for three that are alike.

    Returns
    -------
    float or None
        'rbf': ``1 / (2 m^2)``, where m is the median distance of two rows;
        'laplacian' and 'chi2': 1 over the median distance (of the sums of absolute
        differences; of ``(x - y)^2 / (x + y)``); 'poly': 1 over the mean squared
        length of a row. None for kernels without gamma.
    """
    if kernel not in WITH_GAMMA:
        return None
    if kernel == "poly":
        squares = row_norms(X, squared=True).astype(np.float64)
        length = float(np.average(squares, weights=sample_weight))
        return 1 / length if length > 0 else 1.0
    n_rows = min(X.shape[0], MEDIAN_ROWS)
    chosen = np.linspace(0, X.shape[0] - 1, n_rows).astype(int)
    distances = _distances(str(kernel), X[chosen])
    counts = None
    if sample_weight is not None:
        weight = sample_weight[chosen]
        counts = np.outer(weight, weight)[np.triu_indices(n_rows, 1)]
        copies = np.maximum(weight * (weight - 1) / 2, 0).sum()
        distances, counts = np.append(distances, 0.0), np.append(counts, copies)
        distances, counts = distances[counts > 0], counts[counts > 0]
    typical = _median(distances, counts) if distances.size else 0.0
    if typical == 0:  # more than half of the pairs are alike
        apart = distances > 0
        typical = 1.0
        if apart.any():
            shares = None if counts is None else counts[apart]
            typical = float(np.average(distances[apart], weights=shares))
    return 1 / (2 * typical**2) if kernel == "rbf" else 1 / typical


def _median(values: np.ndarray, counts: np.ndarray | None) -> float:
    """Median of values that each stand for some; None is one each."""
    if counts is None:
        return float(np.median(values))
    order = np.argsort(values)
    reached = np.cumsum(counts[order])
    half = reached[-1] / 2
    low = np.searchsorted(reached, half * (1 - 1e-12))
    high = np.searchsorted(reached, half * (1 + 1e-12))
    return float(values[order[low]] + values[order[min(high, len(order) - 1)]]) / 2


def _distances(kernel: str, rows: Any) -> np.ndarray:
    """Distances of all pairs, each once, of the kind that the kernel is made of."""
    if kernel == "laplacian" and not sparse.issparse(rows):
        return pdist(rows, "cityblock")
    if kernel == "rbf":
        table = _euclidean_distances(rows)
    elif kernel == "laplacian":
        table = manhattan_distances(rows)
    else:
        table = -additive_chi2_kernel(rows)
    return table[np.triu_indices(len(table), 1)]


def _euclidean_distances(rows: Any) -> np.ndarray:
    """Distances of all pairs, 0 where rows are equal but for rounding."""
    if not sparse.issparse(rows):
        rows = rows.astype(np.float64)
        rows -= rows.mean(axis=0)
    lengths = row_norms(rows, squared=True)
    squares = euclidean_distances(rows, squared=True)
    rounding = VANISHING * np.finfo(np.float64).eps
    squares[squares <= rounding * np.add.outer(lengths, lengths)] = 0.0
    return np.sqrt(squares)


@dataclass(frozen=True)
class KernelScaling:
    """Centring and normalisation of kernel values, by those of the samples of `fit`.

    Parameters
    ----------
    means : ndarray of shape (n_train,), default=None
        Mean value of each sample of `fit` with all of them; None does not centre.
    total : float, default=0.0
        Mean of `means`.
    size : float, default=1.0
        What values are divided by.
    lengths : ndarray of shape (n_train,), default=None
        Lengths of the samples of `fit` in feature space, which 'cosine' divides by.
    shares : ndarray of shape (n_train,), default=None
        Weights of the samples of `fit` in means, which add up to 1; None is equal ones.
    """

    means: np.ndarray | None = None
    total: float = 0.0
    size: float = 1.0
    lengths: np.ndarray | None = None
    shares: np.ndarray | None = None

    def apply(self, K: np.ndarray, own: np.ndarray | None = None) -> np.ndarray:
        """Scale the values of some samples with those of `fit`, in place.

        Parameters
        ----------
        K : ndarray of shape (n, n_train)
            Values; they are overwritten.
        own : ndarray of shape (n,), default=None
            Values of the samples with themselves, which only 'cosine' needs; None for
            the samples of `fit`.

        Returns
        -------
        ndarray of shape (n, n_train)
            `K`.
        """
        of_columns = None
        if self.means is not None:
            of_columns = (self.means - self.total).astype(K.dtype)
        of_rows = np.zeros(len(K))
        for rows in gen_batches(len(K), max(1, CHUNK_CELLS // max(K.shape[1], 1))):
            part = K[rows]
            if of_columns is not None:
                of_rows[rows] = _mean(part, self.shares)
                part -= of_columns
                part -= of_rows[rows].astype(K.dtype)[:, None]
            if self.lengths is not None:
                part /= self.lengths.astype(K.dtype)
            elif self.size != 1.0:  # sizes can be too small for single precision
                np.divide(part, np.float64(self.size), out=part, casting="same_kind")
        if self.lengths is not None:
            lengths = self.lengths
            if own is not None:
                lengths = _lengths(own, of_rows, self.total, K.dtype)
            K /= lengths.astype(K.dtype)[:, None]
        return K

    @property
    def needs_own(self) -> bool:
        """Whether new samples need their values with themselves."""
        return self.lengths is not None


def _mean(K: np.ndarray, shares: np.ndarray | None) -> np.ndarray:
    """Means of the rows."""
    if shares is None:
        with np.errstate(over="ignore"):
            means = K.mean(axis=1, dtype=np.float64)
        if np.isfinite(means).all():
            return means
        shares = np.full(K.shape[1], 1 / K.shape[1])  # sums of these stay finite
    return (K @ shares.astype(K.dtype)).astype(np.float64)


def _lengths(
    own: np.ndarray, means: np.ndarray | float, total: float, dtype: Any
) -> np.ndarray:
    """Lengths about the centre; 1 for a sample in it, whose values are 0 anyway."""
    squares = np.asarray(own - 2 * means + total, dtype=np.float64)
    magnitudes = np.abs(own) + 2 * np.abs(means) + abs(total)
    outside = squares > VANISHING * np.finfo(dtype).eps * magnitudes
    return np.sqrt(np.where(outside, squares, 1.0))


def fit_kernel_scaling(
    K: np.ndarray,
    *,
    center: bool = True,
    normalize: str | None = "trace",
    sample_weight: np.ndarray | None = None,
) -> KernelScaling:
    """Find the centre and the size of a kernel on the samples of `fit`.

    Parameters
    ----------
    K : ndarray of shape (n_train, n_train)
        Values, which are not changed.
    center : bool, default=True
        Whether samples are centred in feature space: H K H, ``H = I - 11' / n``.
    normalize : {'trace', 'cosine'} or None, default='trace'
        'trace': the diagonal is 1 on average. 'cosine': it is 1 everywhere. Both are
        of the centred kernel.
    sample_weight : ndarray of shape (n_train,), default=None
        Weights of the samples in means.

    Returns
    -------
    KernelScaling
        The scaling, fitted. If all samples are alike, but for rounding, it makes every
        value 0.
    """
    own = K.diagonal().astype(np.float64)
    means, total = None, 0.0
    shares = None if sample_weight is None else sample_weight / sample_weight.sum()
    before = float(np.abs(own).max(initial=0.0))
    diagonal = own
    if center:
        means = _mean(K.T, shares)
        total = float(_mean(means[None], shares)[0])
        diagonal = own - 2 * means + total
    size = float(_mean(diagonal[None], shares)[0])
    rounding = VANISHING * np.finfo(K.dtype).eps * before
    if center and before > 0 and abs(size) <= rounding:
        return KernelScaling(means, total, np.inf, shares=shares)
    if normalize == "cosine":
        lengths = _lengths(own, 0.0 if means is None else means, total, K.dtype)
        return KernelScaling(means, total, lengths=lengths, shares=shares)
    if normalize is None or size <= 0:  # less than 0: it is no kernel
        size = 1.0
    return KernelScaling(means, total, size, shares=shares)


def check_finite(values: np.ndarray, kernel: Kernel) -> None:
    """Refuse kernel values that are not finite.

    Parameters
    ----------
    values : ndarray
        Values, or features made of them.
    kernel : str or callable
        What made them.

    Raises
    ------
    ValueError
        If one is infinite or NaN.
    """
    try:
        with np.errstate(over="ignore", invalid="ignore"):  # of sums
            assert_all_finite(values)
    except ValueError as error:
        raise ValueError(
            f"the kernel {name_of(kernel)!r} is not finite for some pairs of samples: "
            f"it overflows {values.dtype}, or is not defined; {_finite_remedy(kernel)}"
        ) from error


def _finite_remedy(kernel: Kernel) -> str:
    if kernel == "poly":
        return (
            "take a smaller degree, and if it is not whole a coef0 that makes "
            "gamma * x @ y + coef0 positive"
        )
    if callable(kernel):
        return "let it return finite values, and take scaling='block' for huge ones"
    if kernel == "precomputed":
        return "divide all of its values by a constant"
    return "take scaling='block', or clip values to the range of the samples of fit"


def check_training_kernel(K: np.ndarray, name: str) -> None:
    """Refuse a kernel of `fit` that is not one, and warn if it is not definite.

    Parameters
    ----------
    K : ndarray of shape (n_train, n_train)
        Values of the samples of `fit`.
    name : str
        Name of the modality.

    Raises
    ------
    ValueError
        If it is not square, or not symmetric.

    Warns
    -----
    UserWarning
        If it is not positive semi-definite on at most 500 samples.
    """
    if K.shape[0] != K.shape[1]:
        raise ValueError(
            f"modality {name!r}: a precomputed kernel has a row and a column for each "
            f"sample of fit; got {K.shape[0]} rows and {K.shape[1]} columns. A search "
            "or cross-validation cuts columns only from one array: give the kernels "
            "as an array of shape (n_samples, n_samples, n_kernels), or let a "
            "transformer such as ModalityKernels or DTWKernel make them in a Pipeline"
        )
    largest = max(abs(float(K.max(initial=0.0))), abs(float(K.min(initial=0.0))))
    for rows in gen_batches(len(K), TILE_ROWS):
        for columns in gen_batches(rows.stop, TILE_ROWS):
            with np.errstate(over="ignore"):
                unlike = np.abs(K[rows, columns] - K[columns, rows].T)
            if unlike.max() <= SYMMETRIC * largest:
                continue
            at = np.unravel_index(np.argmax(unlike), unlike.shape)
            i, j = int(at[0]) + rows.start, int(at[1]) + columns.start
            raise ValueError(
                f"modality {name!r}: the kernel is not symmetric: its value is "
                f"{K[i, j]:.6g} for samples {i} and {j}, but {K[j, i]:.6g} for {j} and "
                f"{i}. Give (K + K.T) / 2 if both are meant to be the same"
            )
    drawn = np.linspace(0, len(K) - 1, min(len(K), CHECKED_ROWS)).astype(int)
    part = K if len(drawn) == len(K) else K[np.ix_(drawn, drawn)]
    part = part / (largest or 1.0)
    shift = DEFINITE * float(np.linalg.norm(part)) + np.finfo(part.dtype).tiny
    try:
        linalg.cholesky(part + shift * np.eye(len(part)), check_finite=False)
    except linalg.LinAlgError:
        least = linalg.eigvalsh(part.astype(np.float64), subset_by_index=[0, 0])[0]
        least *= largest
        warnings.warn(
            f"modality {name!r}: the kernel is not positive semi-definite: its least "
            f"eigenvalue is {least:.3g}, its largest value {largest:.3g}. Solutions "
            f"may not be optimal; adding {-least:.3g} to the diagonal mends it, and "
            "for sequences kernel='global_alignment' of DTWKernel is definite",
            UserWarning,
            stacklevel=2,
        )
