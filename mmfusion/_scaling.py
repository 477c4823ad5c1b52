"""Scaling of one modality's block, so that blocks can stand side by side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from scipy import sparse

from mmfusion._blocks import of_samples
from mmfusion._constancy import is_constant

SCALINGS = ("auto", "block", "standard", "l2")

ALIGNMENT_ROWS = 1000  # enough for the alignment of kernels to tell two scalings apart
RARE = 0.1  # of samples; as many features as that decide
CHUNK_CELLS = 2**17  # stay in the processor's cache from one step to the next
SAFE_SQUARES = (1e-200, 1e200)  # sums of squares that neither under- nor overflow


@dataclass(frozen=True)
class Scaling:
    """A fitted scaling: ``(x - center) / spread * factor``, or rows of unit length.

    Parameters
    ----------
    how : {'block', 'standard', 'l2'} or None
        Its name.
    center : float or ndarray of shape (n_features,), default=0.0
        What is subtracted; nothing is from sparse blocks.
    spread : float or ndarray of shape (n_features,), default=1.0
        What is divided by; infinite for features that did not vary in `fit`, which
        are 0 for all samples, whatever their unit.
    factor : float, default=1.0
        What all features are multiplied by.
    """

    how: str | None
    center: Any = 0.0
    spread: Any = 1.0
    factor: float = 1.0

    def apply(self, block: Any, weight: float = 1.0, out: Any = None) -> Any:
        """Scale a block and multiply it by a weight.

        Parameters
        ----------
        block : ndarray or CSR matrix of shape (n_samples, n_features)
            What to scale; it is not changed.
        weight : float, default=1.0
            Factor of the scaled block.
        out : ndarray of the same shape, default=None
            Where to write a dense result.

        Returns
        -------
        ndarray or CSR matrix
            The scaled block; no other array of its size is made.

        Raises
        ------
        ValueError
            If finite values overflow by it.
        """
        factor = self.factor * float(weight)
        if sparse.issparse(block):
            return self._apply_sparse(block, factor)
        if out is None:
            out = np.empty_like(block)
        if self.how is None and self._is_identity and factor == 1.0:
            np.copyto(out, block)
            return out
        for rows in _chunks(block):
            values, scaled = block[rows], out[rows]
            with np.errstate(over="ignore", invalid="ignore", under="ignore"):
                np.multiply(
                    self._divided(values), factor, out=scaled, casting="same_kind"
                )
                if np.isfinite(scaled.sum()):
                    continue
                halves = self._divided(values, share=0.5)
                np.multiply(halves, factor, out=scaled, casting="same_kind")
            _refuse_overflow(values, scaled, rows.start)
        return out

    @property
    def _is_identity(self) -> bool:
        return not np.any(self.center) and bool(np.all(self.spread == 1.0))

    def _divided(self, values: np.ndarray, share: float = 1.0) -> np.ndarray:
        """Center and divide some rows in double precision, or by shares of them.

        Shares keep the differences of values near the largest float finite.
        """
        if self.how == "l2":
            return _unit_rows(values)
        if share == 1.0:
            scaled = np.subtract(values, self.center, dtype=np.float64)
            scaled /= self.spread
            return scaled
        scaled = np.multiply(values, share, dtype=np.float64)
        scaled -= self.center * share
        varies = np.isfinite(self.spread)
        return np.where(varies, scaled / (self.spread * share), 0.0)

    def _apply_sparse(self, block: Any, factor: float) -> Any:
        if self.how is None and self._is_identity and factor == 1.0:
            return block
        scaled = block.copy()
        lengths = _sparse_row_lengths(block) if self.how == "l2" else None
        rows = _rows_of_entries(block) if self.how == "l2" else None
        for part in _entries(block, block.shape[1]):
            values = block.data[part].astype(np.float64)
            with np.errstate(over="ignore", under="ignore"):
                if lengths is not None and rows is not None:
                    largest, length = lengths
                    values = values / largest[rows[part]] / length[rows[part]]
                else:
                    spread = np.broadcast_to(self.spread, block.shape[1])
                    values = values / spread[block.indices[part]]
                scaled.data[part] = values * factor
        if not np.isfinite(scaled.data).all():
            cells = block.tocoo()
            bad = np.flatnonzero(np.isfinite(cells.data) & ~np.isfinite(scaled.data))
            if bad.size:
                k = bad[0]
                raise _overflow(cells.data[k], cells.row[k], cells.col[k], block.dtype)
        return scaled


def _unit_rows(values: np.ndarray) -> np.ndarray:
    """Divide rows by their lengths; rows of zeros stay so."""
    rows = values.astype(np.float64)
    squares = np.einsum("ij,ij->i", rows, rows)
    low, high = SAFE_SQUARES
    unsafe = ~((squares > low) & (squares < high))
    if unsafe.any():
        largest = np.abs(rows[unsafe]).max(axis=1, initial=0.0)
        rows[unsafe] /= np.where(largest > 0, largest, 1.0)[:, None]
        squares[unsafe] = np.einsum("ij,ij->i", rows[unsafe], rows[unsafe])
    rows /= np.sqrt(np.where(squares > 0, squares, 1.0))[:, None]
    return rows


def _rows_of_entries(block: Any) -> np.ndarray:
    return np.repeat(np.arange(block.shape[0]), np.diff(block.indptr))


def _sparse_row_lengths(block: Any) -> tuple[np.ndarray, np.ndarray]:
    """Largest absolute value of each row, and its length over that; 1 if it is 0."""
    n_rows, rows = block.shape[0], _rows_of_entries(block)
    largest = abs(block).max(axis=1).toarray().ravel().astype(np.float64)
    largest[largest == 0] = 1.0
    squares = np.zeros(n_rows)
    for part in _entries(block, n_rows):
        shares = block.data[part] / largest[rows[part]]
        squares += np.bincount(rows[part], shares**2, minlength=n_rows)
    return largest, np.sqrt(np.where(squares > 0, squares, 1.0))


def _refuse_overflow(values: np.ndarray, scaled: np.ndarray, start: int) -> None:
    bad = np.argwhere(np.isfinite(values) & ~np.isfinite(scaled))
    if len(bad):
        row, feature = bad[0].tolist()
        raise _overflow(values[row, feature], start + row, feature, scaled.dtype)


def _overflow(value: Any, sample: int, feature: int, dtype: Any) -> ValueError:
    wider = "" if dtype == np.float64 else "give float64, or "
    return ValueError(
        f"sample {sample}, feature {feature} is {value:.3g}, which overflows {dtype} "
        f"once scaled and weighted; {wider}clip it to the range of the samples of fit"
    )


def fit_scaling(block: Any, how: str | None, sample_weight: Any = None) -> Scaling:
    """Find the centre and spread of a block.

    Parameters
    ----------
    block : ndarray or CSR matrix of shape (n_samples, n_features)
        Finite values.
    how : {'block', 'standard', 'l2'} or None
        'standard': zero mean and unit variance for every feature. 'block': the same,
        divided by the square root of the number of features that vary, so that the
        variances of a modality add up to 1 whatever its width. 'l2': rows of unit
        length. None: as it is. Sparse blocks are not centred, to stay sparse.
        Features that do not vary, but for rounding, become 0.
    sample_weight : array-like of shape (n_samples,), default=None
        Weights of the samples in means and variances. One of weight 0 counts as left
        out.

    Returns
    -------
    Scaling
        The scaling, fitted.

    Raises
    ------
    ValueError
        If there is no such scaling, or weights are negative or all 0.
    """
    if how in ("l2", None):
        return Scaling(how)
    if how not in ("block", "standard"):
        raise ValueError(f"scaling {how!r} is none of {SCALINGS} and not None")
    weight = None if sample_weight is None else _relative_weights(sample_weight)
    if sparse.issparse(block):
        # dense rows of what was sparse in fit are not centred either
        center: Any = 0.0
        spread, magnitude = _sparse_spread(block, weight)
    else:
        center, spread, magnitude = _center_and_spread(block, weight)
    dtype = block.dtype if block.dtype.kind == "f" else np.float64
    constant = is_constant(spread, magnitude, dtype)
    factor = 1.0
    if how == "block":
        factor = 1 / np.sqrt(max(1, int(np.count_nonzero(~constant))))
    return Scaling(how, center, np.where(constant, np.inf, spread), float(factor))


def without_offset_and_unit(
    block: Any, sample_weight: Any = None, *, shifted: bool = True
) -> Scaling:
    """Shift and divide a block that has no scaling, for what depends on neither.

    What an offset takes from the digits of differences is lost, and squares of huge or
    tiny values are infinite or 0.

    Parameters
    ----------
    block : ndarray or CSR matrix of shape (n_samples, n_features)
        Finite values.
    sample_weight : array-like of shape (n_samples,), default=None
        Weights of the samples.
    shifted : bool, default=True
        Whether the mean is subtracted; never from sparse blocks.

    Returns
    -------
    Scaling
        Its `spread` is the unit: a power of two, 1 for values of common magnitude.
    """
    center: Any = 0.0
    if shifted and not sparse.issparse(block):
        center = fit_scaling(block, "standard", sample_weight).center
    values = block.data if sparse.issparse(block) else block
    largest = float(max(values.max(initial=0.0), -values.min(initial=0.0)))
    bound = float(np.finfo(values.dtype).max) ** 0.25
    is_common = largest == 0 or 1 / bound < largest < bound
    unit = 1.0 if is_common else float(np.exp2(np.floor(np.log2(largest))))
    return Scaling(None, center, unit)


def _relative_weights(sample_weight: Any) -> np.ndarray:
    """Weights over the largest one."""
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
    """Rows that have a weight, some at a time, and their weights."""
    for rows in _chunks(block):
        if weight is None:
            yield block[rows], None
            continue
        own = weight[rows]
        used = own > 0
        if used.all():
            yield block[rows], own
        elif used.any():
            yield block[rows][used], own[used]


def _center_and_spread(
    block: np.ndarray, weight: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean, standard deviation and largest absolute value of each feature.

    Values are brought to -1 to 1 first, so that nothing overflows or vanishes, and
    no offset takes digits from the deviation.
    """
    low = np.full(block.shape[1], np.inf)
    high = -low
    for values, _ in _weighted_chunks(block, weight):
        np.minimum(low, values.min(axis=0), out=low)
        np.maximum(high, values.max(axis=0), out=high)
    middle, reach = low / 2 + high / 2, high / 2 - low / 2
    reach = np.where(reach > 0, reach, 1.0)
    total, mean, squares = 0.0, np.zeros(len(middle)), np.zeros(len(middle))
    for values, own in _weighted_chunks(block, weight):
        shares = np.subtract(values, middle, dtype=np.float64)
        shares /= reach
        counts = np.ones(len(shares)) if own is None else own
        # the update of Chan, Golub and LeVeque for the moments of two samples
        count = counts.sum()
        own_mean = counts @ shares / count
        shares -= own_mean
        shift = own_mean - mean
        squares += counts @ shares**2 + shift**2 * (total * count / (total + count))
        total += count
        mean += shift * (count / total)
    deviation = np.sqrt(squares / total)
    magnitude = np.maximum(np.abs(low), np.abs(high))
    return middle + reach * mean, reach * deviation, magnitude


def _sparse_spread(
    block: Any, weight: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """Standard deviation and largest absolute value of each feature."""
    if weight is None:
        weight = np.ones(block.shape[0])
    elif not weight.all():
        block, weight = block[weight > 0], weight[weight > 0]
    n_rows, n_features = block.shape
    magnitude = abs(block).max(axis=0).toarray().ravel().astype(np.float64)
    reach = np.where(magnitude > 0, magnitude, 1.0)
    of_entries = weight[_rows_of_entries(block)]
    parts = list(_entries(block, n_features))

    def sums(values: Any) -> np.ndarray:
        total = np.zeros(n_features)
        for part in parts:
            columns = block.indices[part]
            shares = block.data[part] / reach[columns]
            total += np.bincount(
                columns, values(shares, columns) * of_entries[part], n_features
            )
        return total

    total = weight.sum()
    mean = sums(lambda shares, columns: shares) / total
    squares = sums(lambda shares, columns: (shares - mean[columns]) ** 2)
    # rounding must not make zeros of features that have none
    has_zeros = np.bincount(block.indices, minlength=n_features) < n_rows
    zeros = np.where(has_zeros, total - sums(lambda shares, columns: 1.0), 0.0)
    squares += np.maximum(zeros, 0.0) * mean**2
    return reach * np.sqrt(squares / total), magnitude


def fit_scalings(
    blocks: Sequence[Any], hows: Sequence[str | None], sample_weight: Any = None
) -> list[Scaling]:
    """Fit the scaling of every modality, choosing those that are 'auto'.

    Parameters
    ----------
    blocks : list of ndarray or CSR matrix of shape (n_samples, n_features)
        Finite values of the same samples.
    hows : list of {'auto', 'block', 'standard', 'l2'} or None
        The scaling asked for by modality.
    sample_weight : array-like of shape (n_samples,), default=None
        Weights of the samples in means, variances and the choice.

    Returns
    -------
    list of Scaling
        With `how` never 'auto'.
    """
    if "auto" in hows:
        chosen = choose_scalings(blocks, sample_weight)
        hows = [c if h == "auto" else h for c, h in zip(chosen, hows, strict=True)]
    return [
        fit_scaling(block, how, sample_weight)
        for block, how in zip(blocks, hows, strict=True)
    ]


def resolve_scalings(
    frame: Any,
    hows: Sequence[str | None],
    counts: np.ndarray,
    sample_weight: Any = None,
) -> list[str | None]:
    """Choose the scalings that are 'auto' on the samples that have all modalities.

    Modalities that do not count, such as those of weight 0, have no say in those of
    others.

    Parameters
    ----------
    frame : Modalities
        Float blocks, checked; samples may lack modalities.
    hows : list of {'auto', 'block', 'standard', 'l2'} or None
        The scaling asked for by modality.
    counts : ndarray of bool of shape (n_modalities,)
        Which modalities count.
    sample_weight : array-like of shape (n_samples,), default=None
        Weights of the samples in the choice.

    Returns
    -------
    list of {'block', 'standard', 'l2'} or None
        One scaling per modality.
    """
    if "auto" not in hows:
        return list(hows)
    weight = np.ones(len(frame)) if sample_weight is None else np.asarray(sample_weight)
    complete = np.asarray(frame.observed[:, counts].all(axis=1)) & (weight > 0)
    together = np.flatnonzero(counts).tolist() if complete.any() else []
    blocks = [of_samples(frame.blocks[v], complete) for v in together]
    choices = choose_scalings(blocks, weight[complete]) if blocks else []
    chosen = dict(zip(together, choices, strict=True))
    for v, (how, observed) in enumerate(zip(hows, frame.observed.T, strict=True)):
        if how == "auto" and v not in chosen:
            block = of_samples(frame.blocks[v], observed)
            chosen[v] = choose_scalings([block], weight[observed])[0]
    return [chosen[v] if how == "auto" else how for v, how in enumerate(hows)]


def choose_scalings(blocks: Sequence[Any], sample_weight: Any = None) -> list[str]:
    """Choose 'l2' or 'block' for each modality from the values alone.

    In counts (words, links, reads) the length of a row tells how much was counted,
    not what, and a rare feature divided by its tiny deviation becomes the loudest:
    'l2'. They are told by their values: none is negative, and either most are zero,
    or more than a tenth of the features are zero in nine of ten samples, or all are
    whole numbers whose sums differ widely between samples.

    Where values may be negative the direction from zero means little: 'block'.

    Other non-negative modalities (histograms, intensities) can be meant either way.
    If no modality of the data is negative, they get the scaling under which the
    modalities agree more: the larger mean alignment of their centred linear kernels
    (Cortes, Mohri and Rostamizadeh 2012, equation 4); otherwise 'block'.

    Parameters
    ----------
    blocks : list of ndarray or CSR matrix of shape (n_samples, n_features)
        Finite values of the same samples.
    sample_weight : array-like of shape (n_samples,), default=None
        Weights of the samples. One of weight 0 counts as left out, one of weight 2 as
        two samples.

    Returns
    -------
    list of {'l2', 'block'}
        One scaling per modality.
    """
    weight = np.ones(blocks[0].shape[0])
    if sample_weight is not None:
        weight = _relative_weights(sample_weight)
    if not weight.all():
        blocks = [of_samples(block, weight > 0) for block in blocks]
        weight = weight[weight > 0]
    by_values = [_by_values(block, weight) for block in blocks]
    chosen = [how or "block" for how in by_values]
    if None not in by_values or len(blocks) < 2 or not all(map(_non_negative, blocks)):
        return chosen
    n_samples = len(weight)
    rows = np.linspace(0, n_samples - 1, min(n_samples, ALIGNMENT_ROWS)).astype(int)
    parts, shares = [block[rows] for block in blocks], weight[rows]
    other = [how or "l2" for how in by_values]
    return max(chosen, other, key=lambda hows: _mean_alignment(parts, hows, shares))


def _non_negative(block: Any) -> bool:
    values = block.data if sparse.issparse(block) else block
    return values.size == 0 or values.min() >= 0


def _by_values(block: Any, weight: np.ndarray) -> str | None:
    """Distinguish counts ('l2') from signed values ('block'); None can be either."""
    if block.shape[1] == 1 or not _non_negative(block):
        return "block"
    shares = _nonzero_shares(block, weight)
    shares = shares[shares > 0]
    if shares.size and (shares.mean() < 1 / 2 or np.mean(shares < RARE) > RARE):
        return "l2"
    values = block.data if sparse.issparse(block) else block
    largest = values.max(initial=0)
    if largest * np.finfo(values.dtype).eps > 1:  # too large to have fractions
        return None
    sums = np.asarray(block.sum(axis=1, dtype=np.float64)).ravel()
    mean = np.average(sums, weights=weight)
    deviation = np.sqrt(np.average((sums - mean) ** 2, weights=weight))
    if deviation > mean / 2 and _all_whole(values):
        return "l2"
    return None


def _nonzero_shares(block: Any, weight: np.ndarray) -> np.ndarray:
    """Share of samples, by weight, in which each feature is not zero."""
    if sparse.issparse(block):
        counted = (block.data != 0) * weight[_rows_of_entries(block)]
        counts = np.bincount(block.indices, weights=counted, minlength=block.shape[1])
        return counts / weight.sum()
    counts = np.zeros(block.shape[1])
    for rows in _chunks(block):
        counts += weight[rows] @ (block[rows] != 0)
    return counts / weight.sum()


def _all_whole(values: np.ndarray) -> bool:
    return all(np.array_equal(values[r], np.rint(values[r])) for r in _chunks(values))


def _chunks(values: Any) -> Iterator[slice]:
    """Rows that make small temporaries."""
    cells = int(np.prod(values.shape[1:]))
    return _slices(values.shape[0], max(1, CHUNK_CELLS // max(1, cells)))


def _entries(block: Any, n_sums: int) -> Iterator[slice]:
    """Entries of a sparse block, by no fewer at a time than are summed up to."""
    return _slices(block.nnz, max(CHUNK_CELLS, n_sums))


def _slices(n: int, size: int) -> Iterator[slice]:
    return (slice(start, min(start + size, n)) for start in range(0, n, size))


def _mean_alignment(
    blocks: Sequence[Any], hows: Sequence[str], weight: np.ndarray
) -> float:
    shares = weight / weight.sum()
    roots = np.sqrt(shares)
    kernels = []
    for block, how in zip(blocks, hows, strict=True):
        scaled = fit_scaling(block, how, weight).apply(block).astype(np.float64)
        kernel = scaled @ scaled.T
        kernel = kernel.toarray() if sparse.issparse(kernel) else kernel
        before = np.sqrt(shares @ kernel**2 @ shares)
        kernel = kernel - shares @ kernel
        kernel -= (kernel @ shares)[:, None]
        kernel *= np.outer(roots, roots)  # pairs count as often as their samples
        norm = np.linalg.norm(kernel)
        rounded = before * np.sqrt(block.shape[1])  # a sum of as many products
        varies = not is_constant(norm, rounded, block.dtype)
        kernels.append(kernel / norm if varies else np.zeros_like(kernel))
    return float(np.mean([np.vdot(a, b) for a, b in combinations(kernels, 2)]))
