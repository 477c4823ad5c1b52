"""Choice of the scaling of modalities whose scaling is 'auto', from their values."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import sparse

from mmfusion._blocks import of_samples, pieces
from mmfusion._scaling import (
    Scaling,
    fit_scaling,
    is_constant,
    relative_weights,
    row_chunks,
    rows_of_entries,
    stored_values,
)
from mmfusion._typing import NumericBlock

if TYPE_CHECKING:
    from mmfusion.modalities import Modalities

# enough samples for kernel alignments to distinguish two scalings; costs their square
MAX_ALIGNMENT_ROWS = 1000
# a feature is rare if fewer samples than this share have it nonzero; a modality holds
# counts if more features than this share are rare
RARE_FEATURE_SHARE = 0.1
NEGLIGIBLE_SHARE = 0.01  # of negative values in the absolute ones of a feature
LARGEST_SPREAD_OF_UNITS = 1.0  # of logarithms of the features' mean nonzero values
NEGLIGIBLE_VALUE = 1e-6  # of the largest of its feature, up to which it is a zero


def fit_scalings(
    blocks: Sequence[NumericBlock],
    scalings: Sequence[str | None],
    sample_weight: ArrayLike | None = None,
) -> list[Scaling]:
    """Fit the scaling of every modality, and choose those that are 'auto'.

    Parameters
    ----------
    blocks : list of ndarray or CSR matrix of shape (n_samples, n_features)
        Finite values of the same samples.
    scalings : list of {'auto', 'block', 'standard', 'l2'} or None
        Scaling of each modality; 'auto' as `choose_scalings` chooses.
    sample_weight : array-like of shape (n_samples,), default=None
        Weights of the samples in means, variances and the choice.

    Returns
    -------
    list of Scaling
        Fitted scaling of each modality, with a `name` that is never 'auto'.
    """
    if "auto" in scalings:
        chosen = choose_scalings(blocks, sample_weight)
        scalings = [
            choice if scaling == "auto" else scaling
            for choice, scaling in zip(chosen, scalings, strict=True)
        ]
    return [
        fit_scaling(block, scaling, sample_weight)
        for block, scaling in zip(blocks, scalings, strict=True)
    ]


def resolve_scalings(
    frame: Modalities,
    scalings: Sequence[str | None],
    counts: np.ndarray,
    sample_weight: ArrayLike | None = None,
) -> list[str | None]:
    """Replace 'auto' by the scaling chosen on samples observed in all modalities.

    Modalities that do not count, such as those of weight 0, do not influence the
    choice for others; their own is made on the samples they are observed in.

    Parameters
    ----------
    frame : Modalities
        Validated float blocks; samples may lack modalities.
    scalings : list of {'auto', 'block', 'standard', 'l2'} or None
        Scaling of each modality.
    counts : ndarray of bool of shape (n_modalities,)
        Whether a modality takes part in the joint choice.
    sample_weight : array-like of shape (n_samples,), default=None
        Weights of the samples in the choice.

    Returns
    -------
    list of {'block', 'standard', 'l2'} or None
        Scaling of each modality.
    """
    resolved = list(scalings)
    if "auto" not in resolved:
        return resolved
    weight = np.ones(len(frame)) if sample_weight is None else np.asarray(sample_weight)
    complete = np.asarray(frame.observed[:, counts].all(axis=1)) & (weight > 0)
    together = np.flatnonzero(counts).tolist() if complete.any() else []
    chosen: dict[int, str] = {}
    if together:
        blocks = [of_samples(frame.blocks[v], complete) for v in together]
        choices = choose_scalings(blocks, weight[complete])
        chosen = dict(zip(together, choices, strict=True))
    for v, (scaling, observed) in enumerate(
        zip(scalings, frame.observed.T, strict=True)
    ):
        if scaling == "auto":
            block = of_samples(frame.blocks[v], observed)
            resolved[v] = chosen.get(v) or choose_alone(block, weight[observed])
    return resolved


def choose_alone(block: NumericBlock, sample_weight: ArrayLike | None = None) -> str:
    """Choose 'l2' for counts and 'block' for other values, whatever other modalities.

    Predictors, which weigh features themselves, choose so for each modality. Counts
    whose features have different units, such as reads of genes, get 'block' too: a few
    features of large values would decide on the length of every row, and others have
    no influence under a penalty. They have, if the mean values of features where they
    are not zero differ by more than a factor e (standard deviation of logarithms).

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
    if block.shape[0] == 0:
        return "block"
    weight = np.ones(block.shape[0])
    if sample_weight is not None:
        weight = relative_weights(sample_weight)
    if not weight.all():
        block, weight = of_samples(block, weight > 0), weight[weight > 0]
    chosen = _by_values(block, weight, _negative_share(block, weight)) or "block"
    if chosen == "l2" and _spread_of_units(block, weight) > LARGEST_SPREAD_OF_UNITS:
        return "block"
    return chosen


def _spread_of_units(block: Any, weight: np.ndarray) -> float:
    """Return the standard deviation of the logarithms of mean nonzero values.

    A feature counts by the samples in which it is not zero.
    """
    largest = _largest_by_feature(block)
    reach = np.where(largest > 0, largest, 1.0)
    sums = np.zeros(block.shape[1])
    for rows in row_chunks(block):
        part: Any = block[rows]
        part = part.toarray() if sparse.issparse(part) else part
        # relative to the largest value no sum overflows
        sums += weight[rows] @ np.abs(np.divide(part, reach, dtype=np.float64))
    shares = _nonzero_shares(block, weight)
    varies = (shares > 0) & (sums > 0)
    if not varies.any():
        return 0.0
    means = sums[varies] / (shares[varies] * weight.sum())
    logs = np.log(means) + np.log(reach[varies].astype(np.float64))
    center = np.average(logs, weights=shares[varies])
    return float(np.sqrt(np.average((logs - center) ** 2, weights=shares[varies])))


def choose_scalings(
    blocks: Sequence[NumericBlock], sample_weight: ArrayLike | None = None
) -> list[str]:
    """Choose 'l2' or 'block' for each modality from its values alone.

    Counts (of words, links, reads) get 'l2': the norm of a row depends on the total
    count rather than on its composition, and a rare feature divided by its small
    standard deviation would dominate distances. A modality holds counts if no value is
    negative, and either most are zero, or more than a tenth of the features are zero
    in nine of ten samples, or all are integers whose row sums differ widely.

    Modalities with negative values, of more than 1 % of the sum of absolute values of a
    feature on average, get 'block': their zero is arbitrary, and so is the direction
    from it. Values below a millionth of the largest one of a feature count as zeros.

    For other modalities (histograms, intensities) both can be right. If no modality has
    negative values, they get the scaling under which the modalities agree more, by the
    larger mean alignment of their centred linear kernels,
    ``<K_u, K_v> / (||K_u|| ||K_v||)`` (Cortes, Mohri and Rostamizadeh 2012,
    equation 4); otherwise 'block'.

    Parameters
    ----------
    blocks : list of ndarray or CSR matrix of shape (n_samples, n_features)
        Finite values of the same samples.
    sample_weight : array-like of shape (n_samples,), default=None
        Weights of the samples. A weight of 0 equals leaving the sample out, one of 2
        repeating it.

    Returns
    -------
    list of {'l2', 'block'}
        Scaling of each modality.
    """
    weight = np.ones(blocks[0].shape[0])
    if sample_weight is not None:
        weight = relative_weights(sample_weight)
    if not weight.all():
        blocks = [of_samples(block, weight > 0) for block in blocks]
        weight = weight[weight > 0]
    # networks give the samples that have a modality: not the same ones of each
    n_rows = {block.shape[0] for block in blocks}
    weights = [weight if len(n_rows) == 1 else np.ones(b.shape[0]) for b in blocks]
    negative = list(map(_negative_share, blocks, weights))
    by_values = list(map(_by_values, blocks, weights, negative))
    chosen = [scaling or "block" for scaling in by_values]
    is_open = None in by_values and len(blocks) > 1 and len(n_rows) == 1
    if not is_open or max(negative) > NEGLIGIBLE_SHARE:
        return chosen
    n_samples = len(weight)
    rows = np.linspace(0, n_samples - 1, min(n_samples, MAX_ALIGNMENT_ROWS)).astype(int)
    samples, shares = [block[rows] for block in blocks], weight[rows]

    options = (chosen, [scaling or "l2" for scaling in by_values])
    # options share the scalings that values decide
    pairs = {pair for names in options for pair in enumerate(names)}
    kernels = {(v, s): _normalized_kernel(samples[v], s, shares) for v, s in pairs}
    return max(
        options,
        key=lambda names: _mean_alignment([kernels[p] for p in enumerate(names)]),
    )


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
    for rows in row_chunks(block):
        part: Any = block[rows]
        part = part.toarray() if sparse.issparse(part) else part
        # relative to the largest value no sum overflows
        shares = np.divide(part, reach, dtype=np.float64)
        shares[np.abs(shares) <= NEGLIGIBLE_VALUE] = 0
        negative -= weight[rows] @ np.minimum(shares, 0)
        absolute += weight[rows] @ np.abs(shares)
    counted = absolute > 0
    return float(np.mean(negative[counted] / absolute[counted]))


def _by_values(
    block: NumericBlock, weight: np.ndarray, negative_share: float
) -> str | None:
    """Return 'l2' for counts, 'block' for signed values, None if both can be right."""
    # rounding, or a few corrections, do not make counts of another kind
    if block.shape[1] == 1 or negative_share > NEGLIGIBLE_SHARE:
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


def _all_whole(values: np.ndarray) -> bool:
    return all(
        np.array_equal(values[r], np.rint(values[r])) for r in row_chunks(values)
    )


def _normalized_kernel(
    block: NumericBlock, scaling: str, weight: np.ndarray
) -> np.ndarray:
    """Return the centred linear kernel of a scaled block, of norm 1.

    Products of its entries with those of another are summed as if samples were
    repeated by their weights. The kernel of a constant block is 0.
    """
    shares = weight / weight.sum()
    roots = np.sqrt(shares)
    scaled = fit_scaling(block, scaling, weight).apply(block).astype(np.float64)
    kernel: Any = scaled @ scaled.T
    kernel = kernel.toarray() if sparse.issparse(kernel) else kernel
    before = np.sqrt(shares @ kernel**2 @ shares)
    # centring as if samples were repeated by their weights: subtract column means,
    # then row means
    kernel = kernel - shares @ kernel
    kernel -= (kernel @ shares)[:, None]
    kernel *= np.outer(roots, roots)  # so do pairs count in norms and products
    norm = float(np.linalg.norm(kernel))
    # rounding of sums of n_features products: constant blocks agree with none
    rounded = before * np.sqrt(block.shape[1])
    varies = not is_constant(norm, rounded, block.dtype)
    return kernel / norm if varies else np.zeros_like(kernel)


def _mean_alignment(kernels: Sequence[np.ndarray]) -> float:
    """Return the mean alignment of pairs of kernels of norm 1."""
    return float(np.mean([np.vdot(a, b) for a, b in combinations(kernels, 2)]))
