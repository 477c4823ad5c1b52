"""Centring and scaling of features, and detection of constant ones.

Values are constant if their spread does not exceed the rounding of values. The
criterion does not depend on the unit, and an offset matters only through the rounding
it causes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike
from scipy import sparse

from mmfusion._pieces import pieces
from mmfusion._typing import NumericBlock

SCALINGS = ("auto", "block", "standard", "l2")

SCALING_CHUNK_CELLS = 2**17  # 1 MiB of float64, which stays in a processor's cache
SAFE_SQUARES = (1e-200, 1e200)  # sums of squares that neither underflow nor overflow
# largest spread of constant values, in units in the last place of the largest value: a
# few roundings, of the values themselves, of their mean and of the deviations
CONSTANT_SPREAD_ULPS = 4


@dataclass(frozen=True)
class Scaling:
    """A fitted scaling of one modality.

    It maps a sample x to ``(x - center) / spread * factor``, or, for 'l2', to
    ``x / ||x|| * factor``.

    Parameters
    ----------
    name : {'block', 'standard', 'l2'} or None
        Name of the scaling; None leaves the values unscaled.
    center : float or ndarray of shape (n_features,), default=0.0
        Values subtracted from the features of dense blocks. Sparse blocks are not
        centred.
    spread : float or ndarray of shape (n_features,), default=1.0
        Divisors of the features. It is infinite for features that are constant in
        `fit`, which become 0 in all samples.
    factor : float, default=1.0
        Common factor of all features.
    """

    name: str | None
    center: Any = 0.0
    spread: Any = 1.0
    factor: float = 1.0

    def apply(
        self, block: NumericBlock, weight: float = 1.0, out: np.ndarray | None = None
    ) -> Any:
        """Scale a block and multiply it by a weight.

        Parameters
        ----------
        block : ndarray or CSR matrix of shape (n_samples, n_features)
            Values to scale; they are not changed.
        weight : float, default=1.0
            Factor of the scaled block.
        out : ndarray of shape (n_samples, n_features), default=None
            Array for a dense result; a new one by default.

        Returns
        -------
        ndarray or CSR matrix
            The scaled block, the only allocated array of its size.

        Raises
        ------
        ValueError
            If scaling makes a finite value overflow.
        """
        factor = self.factor * float(weight)
        if sparse.issparse(block):
            return self._apply_sparse(block, factor)
        if out is None:
            out = np.empty_like(block)
        if self.name is None and self._is_identity and factor == 1.0:
            np.copyto(out, block)
            return out
        for rows in row_chunks(block):
            values, scaled = block[rows], out[rows]
            with np.errstate(over="ignore", invalid="ignore", under="ignore"):
                np.multiply(
                    self._divided(values), factor, out=scaled, casting="same_kind"
                )
                if np.isfinite(scaled.sum()):
                    continue
                # the difference to the center may overflow although the result does not
                halves = self._divided(values, share=0.5)
                np.multiply(halves, factor, out=scaled, casting="same_kind")
            _refuse_overflow(values, scaled, rows.start)
        return out

    def revert(self, block: NumericBlock, weight: float = 1.0) -> NumericBlock:
        """Return the values of a scaled block.

        Parameters
        ----------
        block : ndarray or CSR matrix of shape (n_samples, n_features)
            Values that were scaled, multiplied by the weight.
        weight : float, default=1.0
            The factor given to `apply`.

        Returns
        -------
        ndarray or CSR matrix of shape (n_samples, n_features)
            The values before; features that are constant in `fit` have that constant.

        Raises
        ------
        ValueError
            If the scaling is 'l2', which does not keep the norms.
        """
        if self.name == "l2":
            raise ValueError(
                "scaling='l2' divides each sample by its norm, which is not kept; fit "
                "with another scaling to transform back"
            )
        varies = np.isfinite(self.spread)
        units = np.where(varies, self.spread, 0.0) / (self.factor * float(weight))
        if sparse.issparse(block):  # not centred
            diagonal = sparse.diags_array(np.broadcast_to(units, block.shape[1]))
            return (block @ diagonal).tocsr().astype(block.dtype)
        return (block * units + self.center).astype(block.dtype)

    @property
    def _is_identity(self) -> bool:
        return not np.any(self.center) and bool(np.all(self.spread == 1.0))

    def _divided(self, values: np.ndarray, share: float = 1.0) -> np.ndarray:
        """Center and divide rows in double precision.

        A `share` below 1 multiplies values, center and spread first, so that
        differences of values near the largest float stay finite.
        """
        if self.name == "l2":
            return _unit_rows(values)
        if share == 1.0:
            scaled = np.subtract(values, self.center, dtype=np.float64)
            scaled /= self.spread
            return scaled
        scaled = np.multiply(values, share, dtype=np.float64)
        scaled -= self.center * share
        varies = np.isfinite(self.spread)
        return np.where(varies, scaled / (self.spread * share), 0.0)

    def _apply_sparse(self, block: sparse.csr_array, factor: float) -> sparse.csr_array:
        if self.name is None and self._is_identity and factor == 1.0:
            return block
        scaled = block.copy()
        lengths = _sparse_row_lengths(block) if self.name == "l2" else None
        rows = rows_of_entries(block) if self.name == "l2" else None
        for entries in _entry_chunks(block, block.shape[1]):
            values = block.data[entries].astype(np.float64)
            with np.errstate(over="ignore", under="ignore"):
                if lengths is not None and rows is not None:
                    largest, length = lengths
                    values = values / largest[rows[entries]] / length[rows[entries]]
                else:
                    spread = np.broadcast_to(self.spread, block.shape[1])
                    values = values / spread[block.indices[entries]]
                scaled.data[entries] = values * factor
        if not np.isfinite(scaled.data).all():
            cells = block.tocoo()
            bad = np.flatnonzero(np.isfinite(cells.data) & ~np.isfinite(scaled.data))
            if bad.size:
                k = bad[0]
                raise _overflow(cells.data[k], cells.row[k], cells.col[k], block.dtype)
        return scaled


def _unit_rows(values: np.ndarray) -> np.ndarray:
    """Divide rows by their Euclidean norms; rows of zeros remain zero."""
    rows = values.astype(np.float64)
    squares = np.einsum("ij,ij->i", rows, rows)
    low, high = SAFE_SQUARES
    unsafe = ~((squares > low) & (squares < high))
    if unsafe.any():
        # the squares of these rows may be inaccurate: divide by the largest value first
        largest = np.abs(rows[unsafe]).max(axis=1, initial=0.0)
        rows[unsafe] /= np.where(largest > 0, largest, 1.0)[:, None]
        squares[unsafe] = np.einsum("ij,ij->i", rows[unsafe], rows[unsafe])
    rows /= np.sqrt(np.where(squares > 0, squares, 1.0))[:, None]
    return rows


def rows_of_entries(block: sparse.csr_array) -> np.ndarray:
    """Return the row of each stored entry."""
    return np.repeat(np.arange(block.shape[0]), np.diff(block.indptr))


def _sparse_row_lengths(block: sparse.csr_array) -> tuple[np.ndarray, np.ndarray]:
    """Return the maximum norm of each row, and its Euclidean norm divided by it.

    Both are 1 for rows of zeros.
    """
    n_rows, rows = block.shape[0], rows_of_entries(block)
    largest = abs(block).max(axis=1).toarray().ravel().astype(np.float64)
    largest[largest == 0] = 1.0
    squares = np.zeros(n_rows)
    for entries in _entry_chunks(block, n_rows):
        shares = block.data[entries] / largest[rows[entries]]
        squares += np.bincount(rows[entries], shares**2, minlength=n_rows)
    return largest, np.sqrt(np.where(squares > 0, squares, 1.0))


def _refuse_overflow(values: np.ndarray, scaled: np.ndarray, start: int) -> None:
    """Raise if a finite value is no longer finite once scaled."""
    bad = np.argwhere(np.isfinite(values) & ~np.isfinite(scaled))
    if len(bad):
        row, feature = bad[0].tolist()
        raise _overflow(values[row, feature], start + row, feature, scaled.dtype)


def _overflow(value: float, sample: int, feature: int, dtype: np.dtype) -> ValueError:
    wider = "" if dtype == np.float64 else "give float64, or "
    return ValueError(
        f"sample {sample}, feature {feature} is {value:.3g}, which overflows {dtype} "
        f"once scaled and weighted; {wider}clip it to the range of the samples of fit"
    )


def centered(x: np.ndarray, axis: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Subtract the mean, in two passes: x - m - mean(x - m) with m = mean(x).

    Parameters
    ----------
    x : ndarray of float
        Values to centre.
    axis : int, default=0
        Axis along which the mean is computed.

    Returns
    -------
    deviations : ndarray of the shape of `x`
        Deviations from the mean. Those of equal values are at most one unit in the
        last place of the values.
    mean : ndarray of float, with `axis` of length 1
        The mean, free of the accumulated rounding of long sums.
    """
    # divided before the sum, which could overflow
    mean = np.sum(x / x.shape[axis], axis=axis, keepdims=True)
    deviations = x - mean
    rest = deviations.mean(axis=axis, keepdims=True)
    return deviations - rest, mean + rest


def is_constant(
    spread: float | np.ndarray,
    magnitude: float | np.ndarray,
    dtype: DTypeLike = np.float64,
) -> Any:
    """Return whether a spread does not exceed the rounding of the values.

    Parameters
    ----------
    spread : float or ndarray
        Root mean square, or another mean, of the deviations from the mean, as computed
        by `centered`.
    magnitude : float or ndarray
        Largest absolute value.
    dtype : dtype, default=float64
        Type in which the values were rounded: that of the user's data.

    Returns
    -------
    bool or ndarray of bool
        True where the spread is at most four units in the last place of `magnitude`.
    """
    eps = np.finfo(dtype).eps
    return spread <= CONSTANT_SPREAD_ULPS * eps * magnitude


def fit_scaling(
    block: NumericBlock, scaling: str | None, sample_weight: ArrayLike | None = None
) -> Scaling:
    """Fit the scaling of one block.

    With mean ``m_j`` and standard deviation ``s_j`` of feature j, and d features that
    vary, 'standard' maps ``x_j`` to ``(x_j - m_j) / s_j`` and 'block' to
    ``(x_j - m_j) / (s_j sqrt(d))``, so that the variances of the modality sum to 1
    whatever its number of features; 'l2' maps x to ``x / ||x||``.

    Parameters
    ----------
    block : ndarray or CSR matrix of shape (n_samples, n_features)
        Finite values.
    scaling : {'block', 'standard', 'l2'} or None
        Name of the scaling; None leaves the values unscaled. Sparse blocks are not
        centred, so that they remain sparse. Features that are constant up to rounding
        become 0.
    sample_weight : array-like of shape (n_samples,), default=None
        Weights of the samples in means and variances. A weight of 0 equals leaving
        the sample out.

    Returns
    -------
    Scaling
        The fitted scaling.

    Raises
    ------
    ValueError
        If `scaling` is unknown, or weights are negative or all 0.
    """
    if scaling in ("l2", None):
        return Scaling(scaling)
    if scaling not in ("block", "standard"):
        raise ValueError(f"scaling {scaling!r} is neither one of {SCALINGS} nor None")
    weight = None if sample_weight is None else relative_weights(sample_weight)
    if sparse.issparse(block):
        # a block that is sparse in fit and dense in transform is not centred either
        center: Any = 0.0
        spread, magnitude = _sparse_spread(block, weight)
    else:
        center, spread, magnitude = _center_and_spread(block, weight)
    dtype = block.dtype if block.dtype.kind == "f" else np.float64
    constant = is_constant(spread, magnitude, dtype)
    factor = 1.0
    if scaling == "block":
        factor = 1 / np.sqrt(max(1, int(np.count_nonzero(~constant))))
    return Scaling(scaling, center, np.where(constant, np.inf, spread), float(factor))


def without_offset_and_unit(
    block: NumericBlock,
    sample_weight: ArrayLike | None = None,
    *,
    shifted: bool = True,
) -> Scaling:
    """Remove the offset and the unit of an unscaled block.

    It serves computations that depend on neither, such as distances relative to each
    other: a large offset costs digits of every difference, and squares of huge or tiny
    values overflow or underflow.

    Parameters
    ----------
    block : ndarray or CSR matrix of shape (n_samples, n_features)
        Finite values.
    sample_weight : array-like of shape (n_samples,), default=None
        Weights of the samples.
    shifted : bool, default=True
        Whether to subtract the mean; sparse blocks are never centred.

    Returns
    -------
    Scaling
        Scaling whose `spread` is the unit: a power of two, which divides without
        rounding, and 1 for values whose fourth powers are finite.
    """
    center: Any = 0.0
    if shifted and not sparse.issparse(block):
        center = fit_scaling(block, "standard", sample_weight).center
    values = stored_values(block)
    largest = float(max(values.max(initial=0.0), -values.min(initial=0.0)))
    # within the bound, products of two squared distances neither over- nor underflow
    bound = float(np.finfo(values.dtype).max) ** 0.25
    is_common = largest == 0 or 1 / bound < largest < bound
    unit = 1.0 if is_common else float(np.exp2(np.floor(np.log2(largest))))
    return Scaling(None, center, unit)


def relative_weights(sample_weight: ArrayLike) -> np.ndarray:
    """Divide weights by the largest one, so that their sum cannot overflow."""
    weight = np.asarray(sample_weight, dtype=np.float64)
    largest = weight.max(initial=0.0)
    if not largest > 0:
        raise ValueError("Sample weights must contain at least one non-zero number")
    if not (weight >= 0).all() or not np.isfinite(largest):
        raise ValueError("sample_weight must be finite and not negative")
    return weight / largest


def _weighted_chunks(
    block: np.ndarray, weight: np.ndarray | None
) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
    """Yield chunks of the rows with positive weight, and their weights."""
    for rows in row_chunks(block):
        if weight is None:
            yield block[rows], None
            continue
        own = weight[rows]
        used = own > 0
        if used.all():
            yield block[rows], own
        elif used.any():
            yield block[rows][used], own[used]


def no_moments(n_features: int) -> tuple[float, np.ndarray, np.ndarray]:
    """Return the moments of no rows, to which `merged_moments` adds some.

    Parameters
    ----------
    n_features : int
        Number of features.

    Returns
    -------
    tuple of float and two ndarray of shape (n_features,)
        Sum of the weights, mean and weighted sum of squared deviations: all 0.
    """
    return 0.0, np.zeros(n_features), np.zeros(n_features)


def merged_moments(
    moments: tuple[float, np.ndarray, np.ndarray],
    values: np.ndarray,
    weight: np.ndarray,
) -> tuple[float, np.ndarray, np.ndarray]:
    """Add rows to moments: the pairwise update of Chan, Golub and LeVeque (1983).

    Parameters
    ----------
    moments : tuple of float and two ndarray of shape (n_features,)
        Sum of the weights, mean and weighted sum of squared deviations.
    values : ndarray of shape (n_rows, n_features)
        Rows to add; they are changed.
    weight : ndarray of shape (n_rows,)
        Positive weights of the rows.

    Returns
    -------
    tuple of float and two ndarray of shape (n_features,)
        The moments of all rows.
    """
    total, mean, squares = moments
    count = weight.sum()
    own_mean = weight @ values / count
    values -= own_mean
    shift = own_mean - mean
    squares = squares + weight @ values**2
    squares += shift**2 * (total * count / (total + count))
    return total + count, mean + shift * (count / (total + count)), squares


def scaled_variance(
    scaling: Scaling, block: NumericBlock, sample_weight: ArrayLike | None = None
) -> float:
    """Compute the sum of the variances of the features of a scaled block.

    Parameters
    ----------
    scaling : Scaling
        Scaling of the block.
    block : ndarray or CSR matrix of shape (n_samples, n_features)
        The values before.
    sample_weight : array-like of shape (n_samples,), default=None
        Weights of the samples.

    Returns
    -------
    float
        The total variance.
    """
    weight = None if sample_weight is None else relative_weights(sample_weight)
    if sparse.issparse(block):
        spread, _ = _sparse_spread(scaling.apply(block), weight)
        return float((spread**2).sum())
    moments = no_moments(block.shape[1])
    for values, own in _weighted_chunks(block, weight):
        scaled = scaling.apply(values.astype(np.float64))
        counts = np.ones(len(scaled)) if own is None else own
        moments = merged_moments(moments, scaled, counts)
    total, _, squares = moments
    return float(squares.sum() / total)


def _center_and_spread(
    block: np.ndarray, weight: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return mean, standard deviation and largest absolute value of each feature.

    Values are mapped to [-1, 1] first, so that squares neither overflow nor underflow,
    and an offset costs no digits of the deviation.
    """
    low = np.full(block.shape[1], np.inf)
    high = -low
    for values, _ in _weighted_chunks(block, weight):
        np.minimum(low, values.min(axis=0), out=low)
        np.maximum(high, values.max(axis=0), out=high)
    middle, reach = low / 2 + high / 2, high / 2 - low / 2
    reach = np.where(reach > 0, reach, 1.0)
    moments = no_moments(len(middle))
    for values, own in _weighted_chunks(block, weight):
        shares = np.subtract(values, middle, dtype=np.float64)
        shares /= reach
        counts = np.ones(len(shares)) if own is None else own
        moments = merged_moments(moments, shares, counts)
    total, mean, squares = moments
    deviation = np.sqrt(squares / total)
    magnitude = np.maximum(np.abs(low), np.abs(high))
    return middle + reach * mean, reach * deviation, magnitude


def _sparse_spread(
    block: sparse.csr_array, weight: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """Return standard deviation and largest absolute value of each feature."""
    if weight is None:
        weight = np.ones(block.shape[0])
    elif not weight.all():
        block, weight = block[weight > 0], weight[weight > 0]
    n_rows, n_features = block.shape
    magnitude = abs(block).max(axis=0).toarray().ravel().astype(np.float64)
    reach = np.where(magnitude > 0, magnitude, 1.0)
    entry_weights = weight[rows_of_entries(block)]
    chunks = list(_entry_chunks(block, n_features))

    def sums(values: Callable[[np.ndarray, np.ndarray], ArrayLike]) -> np.ndarray:
        total = np.zeros(n_features)
        for entries in chunks:
            columns = block.indices[entries]
            shares = block.data[entries] / reach[columns]
            total += np.bincount(
                columns, values(shares, columns) * entry_weights[entries], n_features
            )
        return total

    total = weight.sum()
    mean = sums(lambda shares, columns: shares) / total
    squares = sums(lambda shares, columns: (shares - mean[columns]) ** 2)
    # zeros are not stored: each adds mean**2. Their weight is a difference of sums,
    # whose rounding must not give zeros to features that have none
    has_zeros = np.bincount(block.indices, minlength=n_features) < n_rows
    zeros = np.where(has_zeros, total - sums(lambda shares, columns: 1.0), 0.0)
    squares += np.maximum(zeros, 0.0) * mean**2
    return reach * np.sqrt(squares / total), magnitude


def stored_values(block: NumericBlock) -> np.ndarray:
    """Return the values of a dense block, or those that a sparse one stores."""
    return np.asarray(block.data) if sparse.issparse(block) else block


def row_chunks(values: np.ndarray) -> Iterator[slice]:
    """Cut rows into slices of at most `SCALING_CHUNK_CELLS` cells.

    What was read of a mapped file does not stay in memory.
    """
    cells = int(np.prod(values.shape[1:]))
    size = max(1, SCALING_CHUNK_CELLS // max(1, cells))
    for piece in pieces(values):
        start, stop, _ = piece.indices(values.shape[0])
        for rows in _slices(stop - start, size):
            yield slice(start + rows.start, start + rows.stop)


def _entry_chunks(block: sparse.csr_array, n_sums: int) -> Iterator[slice]:
    """Cut the stored entries of a sparse block into slices.

    A slice is no shorter than the `n_sums` sums that it is added to, so that adding
    them costs no more than the entries.
    """
    return _slices(block.nnz, max(SCALING_CHUNK_CELLS, n_sums))


def _slices(n: int, size: int) -> Iterator[slice]:
    return (slice(start, min(start + size, n)) for start in range(0, n, size))
