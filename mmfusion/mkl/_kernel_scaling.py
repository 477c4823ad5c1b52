"""Centring and normalisation of kernels in feature space, fitted to training samples.

Equations are those of Shawe-Taylor and Cristianini (2004), chapter 5.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import DTypeLike
from sklearn.utils import gen_batches

KERNEL_NORMALIZATIONS = ("trace", "cosine")

# roundings of the magnitude up to which a difference counts as zero
ZERO_ROUNDINGS = 100
# values that are scaled at a time: they stay in the processor's cache
SCALING_BATCH_CELLS = 2**17


@dataclass(frozen=True)
class KernelScaling:
    """Centring and normalisation of kernel values by those of the training samples.

    Centred values are ``k(x, x_i) - mean_j k(x, x_j) - m_i + mean_j m_j`` with the
    means ``m_i = mean_j k(x_i, x_j)`` over training samples, which is the inner product
    of samples about their mean in feature space.

    Parameters
    ----------
    means : ndarray of shape (n_train,), default=None
        Mean kernel value m_i of each training sample; None does not centre.
    grand_mean : float, default=0.0
        Mean of `means`.
    size : float, default=1.0
        Divisor of the values.
    norms : ndarray of shape (n_train,), default=None
        Norms of the training samples in feature space, the divisors of 'cosine'.
    shares : ndarray of shape (n_train,), default=None
        Weights of the training samples in means, which add up to 1; None is equal ones.
    """

    means: np.ndarray | None = None
    grand_mean: float = 0.0
    size: float = 1.0
    norms: np.ndarray | None = None
    shares: np.ndarray | None = None

    def apply(self, K: np.ndarray, diagonal: np.ndarray | None = None) -> np.ndarray:
        """Centre and normalise values in place.

        Parameters
        ----------
        K : ndarray of shape (n, n_train)
            Kernel of samples with the training samples; it is overwritten.
        diagonal : ndarray of shape (n,), default=None
            Kernel of each sample with itself, which only 'cosine' needs; None if the
            samples are those of training.

        Returns
        -------
        ndarray of shape (n, n_train)
            `K`.
        """
        column_shifts = None
        if self.means is not None:
            column_shifts = (self.means - self.grand_mean).astype(K.dtype)
        row_means = np.zeros(len(K))
        n_batch = max(1, SCALING_BATCH_CELLS // max(K.shape[1], 1))
        for rows in gen_batches(len(K), n_batch):
            part = K[rows]
            if column_shifts is not None:
                row_means[rows] = _row_means(part, self.shares)
                part -= column_shifts
                part -= row_means[rows].astype(K.dtype)[:, None]
            if self.norms is not None:
                part /= self.norms.astype(K.dtype)
            elif self.size != 1.0:
                # in double precision, because sizes can underflow single precision
                np.divide(part, np.float64(self.size), out=part, casting="same_kind")
        if self.norms is not None:
            norms = self.norms
            if diagonal is not None:
                norms = _centred_norms(diagonal, row_means, self.grand_mean, K.dtype)
            K /= norms.astype(K.dtype)[:, None]
        return K

    @property
    def needs_diagonal(self) -> bool:
        """Whether new samples need their kernel values with themselves."""
        return self.norms is not None


def _row_means(K: np.ndarray, shares: np.ndarray | None) -> np.ndarray:
    if shares is None:
        with np.errstate(over="ignore"):
            means = K.mean(axis=1, dtype=np.float64)
        if np.isfinite(means).all():
            return means
        # the sum overflows, but a sum of shares of the values does not
        shares = np.full(K.shape[1], 1 / K.shape[1])
    return (K @ shares.astype(K.dtype)).astype(np.float64)


def _centred_norms(
    diagonal: np.ndarray, means: np.ndarray | float, grand_mean: float, dtype: DTypeLike
) -> np.ndarray:
    """Compute the norms of samples about the mean in feature space.

    The norm of a sample at the mean is 1, since its centred values are 0 anyway.
    """
    squares = np.asarray(diagonal - 2 * means + grand_mean, dtype=np.float64)
    magnitudes = np.abs(diagonal) + 2 * np.abs(means) + abs(grand_mean)
    # a difference within the rounding of its terms is a norm of 0
    is_apart = squares > ZERO_ROUNDINGS * np.finfo(dtype).eps * magnitudes
    return np.sqrt(np.where(is_apart, squares, 1.0))


def fit_kernel_scaling(
    K: np.ndarray,
    *,
    center: bool = True,
    normalize: str | None = "trace",
    sample_weight: np.ndarray | None = None,
    means: np.ndarray | None = None,
) -> KernelScaling:
    """Fit centring and normalisation to the kernel of the training samples.

    Parameters
    ----------
    K : ndarray of shape (n_train, n_train)
        The kernel, which is not changed.
    center : bool, default=True
        Whether samples are centred in feature space: ``H K H`` with
        ``H = I - 11' / n``.
    normalize : {'trace', 'cosine'} or None, default='trace'
        'trace': the mean of the diagonal of the centred kernel is 1. 'cosine': all of
        its diagonal is 1.
    sample_weight : ndarray of shape (n_train,), default=None
        Weights of the samples in means.
    means : ndarray of shape (n_train,), default=None
        Mean kernel value of each sample, if it is known; None computes it.

    Returns
    -------
    KernelScaling
        The fitted scaling. If all samples are equal but for rounding, it makes every
        value 0.
    """
    diagonal = K.diagonal().astype(np.float64)
    grand_mean = 0.0
    shares = None if sample_weight is None else sample_weight / sample_weight.sum()
    largest = float(np.abs(diagonal).max(initial=0.0))
    centred = diagonal
    if not center:
        means = None
    else:
        means = _row_means(K.T, shares) if means is None else means
        grand_mean = float(_row_means(means[None], shares)[0])
        centred = diagonal - 2 * means + grand_mean
    size = float(_row_means(centred[None], shares)[0])
    rounding = ZERO_ROUNDINGS * np.finfo(K.dtype).eps * largest
    if center and largest > 0 and abs(size) <= rounding:
        return KernelScaling(means, grand_mean, np.inf, shares=shares)
    if normalize == "cosine":
        centre = 0.0 if means is None else means
        norms = _centred_norms(diagonal, centre, grand_mean, K.dtype)
        return KernelScaling(means, grand_mean, norms=norms, shares=shares)
    # an indefinite kernel can have a negative trace, which is no size
    if normalize is None or size <= 0:
        size = 1.0
    return KernelScaling(means, grand_mean, size, shares=shares)
