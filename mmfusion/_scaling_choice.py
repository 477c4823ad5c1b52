"""Choice of the scaling of modalities whose scaling is 'auto', from their values."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import sparse

from mmfusion._blocks import of_samples
from mmfusion._pieces import pieces
from mmfusion._scaling import (
    Scaling,
    fit_scaling,
    is_constant,
    merged_moments,
    no_moments,
    relative_weights,
    row_chunks,
    rows_of_entries,
    scaled_variance,
    stored_values,
)
from mmfusion._typing import NumericBlock

if TYPE_CHECKING:
    from mmfusion.modalities import Modalities

# a feature is rare if fewer samples than this share have it nonzero; a modality holds
# counts if more features than this share are rare
RARE_FEATURE_SHARE = 0.1
NEGLIGIBLE_SHARE = 0.01  # of negative values in the absolute ones of a feature
LARGEST_SPREAD_OF_UNITS = 1.0  # of logarithms of the features' mean nonzero values
NEGLIGIBLE_VALUE = 1e-6  # of the largest of its feature, up to which it is a zero
SMALL_NORM_SHARE = 0.2  # of the variance of the norms of rows in the total variance
# of directions, below which rows are an offset with small differences; they would be
# lengthened so far that single precision lost these
SMALLEST_DIRECTION_VARIANCE = 1e-3


def choose_scaling(block: NumericBlock, sample_weight: ArrayLike | None = None) -> str:
    """Choose 'l2' or 'block' for a modality that is to be clustered, from its values.

    Counts (of words, links, reads) get 'l2': the norm of a row depends on the total
    count rather than on its composition, and a rare feature divided by its small
    standard deviation would dominate distances. A modality holds counts if no value is
    negative, and either most are zero, or more than a tenth of the features are zero
    in nine of ten samples, or all are integers whose row sums differ widely.

    Modalities with negative values, of more than 1 % of the sum of absolute values of a
    feature on average, get 'block': their zero is arbitrary, and so is the direction
    from it. Values below a millionth of the largest one of a feature count as zeros.

    Other modalities (histograms, intensities) get 'l2' if the variance of the norms of
    their rows is less than a fifth of the total variance, so that directions hold
    nearly all of it, and directions differ: features keep their proportions. Otherwise
    they get 'block', as features of different units do, those of few dimensions, and
    small differences from an offset.

    Parameters
    ----------
    block : ndarray or CSR matrix of shape (n_samples, n_features)
        Finite values.
    sample_weight : array-like of shape (n_samples,), default=None
        Weights of the samples. A weight of 0 equals leaving the sample out, one of 2
        repeating it.

    Returns
    -------
    {'l2', 'block'}
        The scaling; 'block' of no samples.
    """
    block, weight = _weighted_rows(block, sample_weight)
    chosen = _by_values(block, weight)
    if chosen is None:
        norm_share, direction_variance = _norms_and_directions(block, weight)
        differs = direction_variance > SMALLEST_DIRECTION_VARIANCE
        return "l2" if differs and norm_share < SMALL_NORM_SHARE else "block"
    return chosen


def choose_predictor_scaling(
    block: NumericBlock, sample_weight: ArrayLike | None = None
) -> str:
    """Choose 'l2' for counts and 'block' for other values, for a predictor.

    Predictors weigh features themselves, and penalties assume features of comparable
    variances. Counts are as in `choose_scaling`, unless their features have different
    units, as reads of genes have, which then get 'block': a few features of large
    values would decide on the length of every row, and the others have little influence
    under a penalty. Units differ if the features' mean nonzero values do by more than a
    factor e (standard deviation of their logarithms).

    Parameters
    ----------
    block : ndarray or CSR matrix of shape (n_samples, n_features)
        Finite values.
    sample_weight : array-like of shape (n_samples,), default=None
        Weights of the samples. A weight of 0 equals leaving the sample out.

    Returns
    -------
    {'l2', 'block'}
        The scaling; 'block' of no samples.
    """
    block, weight = _weighted_rows(block, sample_weight)
    chosen = _by_values(block, weight) or "block"
    if chosen == "l2" and _spread_of_units(block, weight) > LARGEST_SPREAD_OF_UNITS:
        return "block"
    return chosen


def fit_scalings(
    blocks: Sequence[NumericBlock],
    scalings: Sequence[str | None],
    sample_weight: ArrayLike | None = None,
    *,
    block_weights: Sequence[np.ndarray] | None = None,
) -> list[Scaling]:
    """Fit the scaling of every modality, and choose those that are 'auto'.

    Rows of unit length have a total variance below 1, often far below, so that
    modalities of 'block' would outweigh those of 'l2' beside them. The latter get the
    common factor that makes their mean total variance 1, as it is for 'block'.

    Parameters
    ----------
    blocks : list of ndarray or CSR matrix of shape (n_samples, n_features)
        Finite values of the same samples.
    scalings : list of {'auto', 'block', 'standard', 'l2'} or None
        Scaling of each modality; 'auto' as `choose_scaling` chooses.
    sample_weight : array-like of shape (n_samples,), default=None
        Weights of the samples in means, variances and the choice.
    block_weights : list of ndarray of shape (n_samples,), default=None
        The same for each block, where blocks are not of the same samples.

    Returns
    -------
    list of Scaling
        Fitted scaling of each modality, with a `name` that is never 'auto'.
    """
    weights: list[Any] = [sample_weight] * len(blocks)
    if block_weights is not None:
        weights = list(block_weights)
    names = [
        choose_scaling(block, weight) if scaling == "auto" else scaling
        for block, scaling, weight in zip(blocks, scalings, weights, strict=True)
    ]
    fitted = [
        fit_scaling(block, name, weight)
        for block, name, weight in zip(blocks, names, weights, strict=True)
    ]
    if not {"l2", "block"} <= set(names):
        return fitted
    rows = [
        (scaling, block, weight)
        for scaling, block, weight in zip(fitted, blocks, weights, strict=True)
        if scaling.name == "l2"
    ]
    variances = [scaled_variance(*each) for each in rows]
    spread = float(np.sqrt(np.mean(variances)))
    kinds = [block.dtype for _, block, _ in rows if block.dtype.kind == "f"]
    coarsest = min(kinds, key=lambda dtype: dtype.itemsize, default=np.float64)
    # NaN, which some estimators take as they are, and rows of one direction
    if not spread > 0 or is_constant(spread, 1.0, coarsest):
        return fitted
    return [
        replace(scaling, factor=1 / spread) if scaling.name == "l2" else scaling
        for scaling in fitted
    ]


def resolve_scalings(
    frame: Modalities,
    scalings: Sequence[str | None],
    sample_weight: ArrayLike | None = None,
    choose: Callable[[NumericBlock, np.ndarray], str] = choose_scaling,
) -> list[str | None]:
    """Replace 'auto' by the scaling chosen on the samples observed in a modality.

    Parameters
    ----------
    frame : Modalities
        Validated float blocks; samples may lack modalities.
    scalings : list of {'auto', 'block', 'standard', 'l2'} or None
        Scaling of each modality.
    sample_weight : array-like of shape (n_samples,), default=None
        Weights of the samples in the choice.
    choose : callable, default=choose_scaling
        Function of a block and the weights of its samples that chooses the scaling.

    Returns
    -------
    list of {'block', 'standard', 'l2'} or None
        Scaling of each modality.
    """
    weight = np.ones(len(frame)) if sample_weight is None else np.asarray(sample_weight)
    resolved = list(scalings)
    for v, scaling in enumerate(scalings):
        if scaling == "auto":
            counted = frame.observed[:, v] & (weight > 0)
            block = of_samples(frame.blocks[v], counted)
            resolved[v] = choose(block, weight[counted])
    return resolved


def _weighted_rows(
    block: NumericBlock, sample_weight: ArrayLike | None
) -> tuple[NumericBlock, np.ndarray]:
    """Return the rows of positive weight, and these weights."""
    if sample_weight is None or block.shape[0] == 0:
        return block, np.ones(block.shape[0])
    weight = relative_weights(sample_weight)
    if weight.all():
        return block, weight
    return of_samples(block, weight > 0), weight[weight > 0]


def _extremes(block: NumericBlock) -> tuple[float, float]:
    """Return the smallest and the largest value of a block, or 0 beyond them."""
    values = stored_values(block)
    low = min(float(values[rows].min(initial=0)) for rows in pieces(values))
    return low, max(float(values[rows].max(initial=0)) for rows in pieces(values))


def _largest_by_feature(block: NumericBlock) -> np.ndarray:
    """Return the largest absolute value of every feature."""
    if not sparse.issparse(block):
        return np.max([np.abs(block[r]).max(axis=0) for r in pieces(block)], axis=0)
    return abs(block).max(axis=0).toarray().ravel()


def _relative_rows(
    block: NumericBlock, largest: np.ndarray | float
) -> Iterator[tuple[slice, np.ndarray]]:
    """Iterate over chunks of rows, relative to the largest value: no sum overflows."""
    for rows in row_chunks(block):
        part: Any = block[rows]
        part = part.toarray() if sparse.issparse(part) else part
        yield rows, np.divide(part, largest, dtype=np.float64)


def _negative_share(block: NumericBlock, weight: np.ndarray) -> float:
    """Return the weighted share of negative values in sums of absolute values.

    It is the mean over the features that are not zero throughout.
    """
    if _extremes(block)[0] >= 0:
        return 0.0
    largest = _largest_by_feature(block)
    if not np.isfinite(largest).all():  # NaN, which some estimators take as they are
        return 1.0
    reach = np.where(largest > 0, largest, 1.0)
    negative, absolute = np.zeros((2, block.shape[1]))
    for rows, shares in _relative_rows(block, reach):
        shares[np.abs(shares) <= NEGLIGIBLE_VALUE] = 0
        negative -= weight[rows] @ np.minimum(shares, 0)
        absolute += weight[rows] @ np.abs(shares)
    counted = absolute > 0
    return float(np.mean(negative[counted] / absolute[counted]))


def _by_values(block: NumericBlock, weight: np.ndarray) -> str | None:
    """Return 'l2' for counts, 'block' for signed values, None if both can be right."""
    if block.shape[0] == 0 or block.shape[1] == 1:
        return "block"
    # rounding, or a few corrections, do not make counts of another kind
    if _negative_share(block, weight) > NEGLIGIBLE_SHARE:
        return "block"
    shares = _nonzero_shares(block, weight)
    shares = shares[shares > 0]
    rare = shares < RARE_FEATURE_SHARE
    if shares.size and (shares.mean() < 1 / 2 or rare.mean() > RARE_FEATURE_SHARE):
        return "l2"
    values = stored_values(block)
    largest = _extremes(block)[1]
    if largest * np.finfo(values.dtype).eps > 1:  # such floats are all integers
        return None
    sums = np.concatenate(
        [
            np.asarray(block[rows].sum(axis=1, dtype=np.float64)).ravel()
            for rows in pieces(block)
        ]
    )
    mean = np.average(sums, weights=weight)
    deviation = np.sqrt(np.average((sums - mean) ** 2, weights=weight))
    if deviation > mean / 2 and _all_whole(values):
        return "l2"
    return None


def _nonzero_shares(block: Any, weight: np.ndarray) -> np.ndarray:
    """Return the weighted share of samples in which each feature is not zero."""
    least = NEGLIGIBLE_VALUE * _largest_by_feature(block)
    if sparse.issparse(block):
        is_value = np.abs(block.data) > least[block.indices]
        counted = is_value * weight[rows_of_entries(block)]
        counts = np.bincount(block.indices, weights=counted, minlength=block.shape[1])
        return counts / weight.sum()
    counts = np.zeros(block.shape[1])
    for rows in row_chunks(block):
        counts += weight[rows] @ (np.abs(block[rows]) > least)
    return counts / weight.sum()


def _spread_of_units(block: Any, weight: np.ndarray) -> float:
    """Return the standard deviation of the logarithms of mean nonzero values.

    A feature counts by the samples in which it is not zero.
    """
    largest = _largest_by_feature(block)
    reach = np.where(largest > 0, largest, 1.0)
    sums = np.zeros(block.shape[1])
    for rows, values in _relative_rows(block, reach):
        sums += weight[rows] @ np.abs(values)
    shares = _nonzero_shares(block, weight)
    varies = (shares > 0) & (sums > 0)
    if not varies.any():
        return 0.0
    means = sums[varies] / (shares[varies] * weight.sum())
    logs = np.log(means) + np.log(reach[varies].astype(np.float64))
    center = np.average(logs, weights=shares[varies])
    return float(np.sqrt(np.average((logs - center) ** 2, weights=shares[varies])))


def _all_whole(values: np.ndarray) -> bool:
    return all(
        np.array_equal(values[r], np.rint(values[r])) for r in row_chunks(values)
    )


def _norms_and_directions(
    block: NumericBlock, weight: np.ndarray
) -> tuple[float, float]:
    """Return the parts of norms and of directions in the variance of rows.

    Returns
    -------
    norm_share : float
        Share of the variance of the norms in the total variance. By the triangle
        inequality it is at most 1; 1 of a constant block.
    direction_variance : float
        The rest of the total variance over the mean squared norm.
    """
    largest = float(_largest_by_feature(block).max()) or 1.0
    moments = no_moments(block.shape[1] + 1)
    for rows, values in _relative_rows(block, largest):
        norms = np.sqrt(np.einsum("ij,ij->i", values, values))
        moments = merged_moments(moments, np.c_[values, norms], weight[rows])
    n_samples, means, squares = moments
    total = float(squares[:-1].sum())
    if total == 0:
        return 1.0, 0.0
    of_norms = float(squares[-1])
    squared_norms = of_norms + n_samples * float(means[-1]) ** 2
    return of_norms / total, (total - of_norms) / squared_norms
