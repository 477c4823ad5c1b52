"""Scaling of one modality's block, so that blocks can stand side by side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.preprocessing import StandardScaler, normalize
from sklearn.utils import gen_batches
from sklearn.utils.sparsefuncs import inplace_column_scale

from mmfusion._blocks import of_samples

SCALINGS = ("auto", "block", "standard", "l2")

ALIGNMENT_ROWS = 1000  # enough for the alignment of kernels to tell two scalings apart
RARE = 0.1  # of samples; as many features as that decide
CHUNK_CELLS = 2**20  # StandardScaler makes temporaries of the size of what it is given


@dataclass(frozen=True)
class Scaling:
    """A fitted scaling: ``(x - center) / spread``, or rows of unit length for 'l2'."""

    how: str | None
    center: Any = None
    spread: Any = None

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
        """
        if sparse.issparse(block):
            return self._apply_sparse(block) * block.dtype.type(weight)
        if out is None:
            out = np.empty_like(block)
        if self.how == "l2":
            lengths = np.sqrt(np.einsum("ij,ij->i", block, block))[:, None]
            lengths[lengths == 0] = 1.0  # a row of zeros stays one
            np.divide(block, lengths, out=out)
        elif self.how is None:
            np.copyto(out, block)
        else:
            np.subtract(block, self.center, out=out, casting="same_kind")
            np.divide(out, self.spread, out=out, casting="same_kind")
        if weight != 1.0:
            np.multiply(out, weight, out=out, casting="same_kind")
        return out

    def _apply_sparse(self, block: Any) -> Any:
        if self.how == "l2":
            return normalize(block)
        if self.how is None:
            return block
        scaled = block.copy()
        inplace_column_scale(scaled, (1.0 / self.spread).astype(block.dtype))
        return scaled


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
    sample_weight : array-like of shape (n_samples,), default=None
        Weights of the samples in means and variances.

    Returns
    -------
    Scaling
        The scaling, fitted.

    Raises
    ------
    ValueError
        If there is no such scaling, or every weight is 0.
    """
    if how in ("l2", None):
        return Scaling(how)
    if how not in ("block", "standard"):
        raise ValueError(f"scaling {how!r} is none of {SCALINGS} and not None")
    if sample_weight is not None and not np.any(sample_weight):
        raise ValueError("Sample weights must contain at least one non-zero number")
    scaler = StandardScaler(with_mean=not sparse.issparse(block))
    for rows in _chunks(block):
        weight = None if sample_weight is None else sample_weight[rows]
        if weight is None or np.any(weight):  # the scaler refuses weights all 0
            with np.errstate(invalid="ignore"):  # rounding makes variances below 0
                scaler.partial_fit(block[rows], sample_weight=weight)
    spread = np.where(scaler.var_ > 0, scaler.scale_, 1.0)
    if how == "block":
        varies = scaler.var_ / spread**2 > 0.5  # 1, or about 0 if constant
        n_varying = int(np.count_nonzero(varies))
        spread = spread * np.sqrt(max(1, n_varying))
    # dense rows of what was sparse in fit are not centred either
    center = 0.0 if sparse.issparse(block) else scaler.mean_
    return Scaling(how, center, spread)


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
        Weights of the samples in means and variances.

    Returns
    -------
    list of Scaling
        With `how` never 'auto'.
    """
    if "auto" in hows:
        chosen = choose_scalings(blocks)
        hows = [c if h == "auto" else h for c, h in zip(chosen, hows, strict=True)]
    return [
        fit_scaling(block, how, sample_weight)
        for block, how in zip(blocks, hows, strict=True)
    ]


def resolve_scalings(
    frame: Any, hows: Sequence[str | None], counts: np.ndarray
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

    Returns
    -------
    list of {'block', 'standard', 'l2'} or None
        One scaling per modality.
    """
    if "auto" not in hows:
        return list(hows)
    complete = np.asarray(frame.observed[:, counts].all(axis=1))
    together = np.flatnonzero(counts).tolist() if complete.any() else []
    blocks = [of_samples(frame.blocks[v], complete) for v in together]
    chosen = dict(zip(together, choose_scalings(blocks), strict=True))
    for v, (how, present) in enumerate(zip(hows, frame.observed.T, strict=True)):
        if how == "auto" and v not in chosen:
            chosen[v] = choose_scalings([of_samples(frame.blocks[v], present)])[0]
    return [chosen[v] if how == "auto" else how for v, how in enumerate(hows)]


def choose_scalings(blocks: Sequence[Any]) -> list[str]:
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

    Returns
    -------
    list of {'l2', 'block'}
        One scaling per modality.
    """
    told = [_by_values(block) for block in blocks]
    chosen = [how or "block" for how in told]
    if None not in told or len(blocks) < 2 or not all(map(_non_negative, blocks)):
        return chosen
    n_samples = blocks[0].shape[0]
    rows = np.linspace(0, n_samples - 1, min(n_samples, ALIGNMENT_ROWS)).astype(int)
    parts = [block[rows] for block in blocks]
    other = [how or "l2" for how in told]
    return max(chosen, other, key=lambda hows: _mean_alignment(parts, hows))


def _non_negative(block: Any) -> bool:
    values = block.data if sparse.issparse(block) else block
    return values.size == 0 or values.min() >= 0


def _by_values(block: Any) -> str | None:
    """Tell counts ('l2') and signed values ('block'); None can be either."""
    if block.shape[1] == 1 or not _non_negative(block):
        return "block"
    shares = _nonzero_shares(block)
    shares = shares[shares > 0]
    if shares.size and (shares.mean() < 1 / 2 or np.mean(shares < RARE) > RARE):
        return "l2"
    values = block.data if sparse.issparse(block) else block
    sums = np.asarray(block.sum(axis=1)).ravel()
    if sums.std() > sums.mean() / 2 and _all_whole(values):
        return "l2"
    return None


def _nonzero_shares(block: Any) -> np.ndarray:
    """Share of samples in which each feature is not zero."""
    if sparse.issparse(block):
        stored = np.bincount(
            block.indices, weights=block.data != 0, minlength=block.shape[1]
        )
        return stored / block.shape[0]
    counts = np.zeros(block.shape[1])
    for rows in _chunks(block):
        counts += np.count_nonzero(block[rows], axis=0)
    return counts / block.shape[0]


def _all_whole(values: np.ndarray) -> bool:
    return all(np.array_equal(values[r], np.rint(values[r])) for r in _chunks(values))


def _chunks(values: Any) -> Iterator[slice]:
    """Rows that make small temporaries."""
    cells = int(np.prod(values.shape[1:]))
    return gen_batches(values.shape[0], max(1, CHUNK_CELLS // cells))


def _mean_alignment(blocks: Sequence[Any], hows: Sequence[str]) -> float:
    kernels = []
    for block, how in zip(blocks, hows, strict=True):
        scaled = fit_scaling(block, how).apply(block)
        kernel = scaled @ scaled.T
        kernel = kernel.toarray() if sparse.issparse(kernel) else kernel
        kernel = kernel - kernel.mean(axis=0)
        kernel -= kernel.mean(axis=1, keepdims=True)
        norm = np.linalg.norm(kernel)
        kernels.append(kernel / norm if norm > 0 else kernel)
    return float(np.mean([np.vdot(a, b) for a, b in combinations(kernels, 2)]))
