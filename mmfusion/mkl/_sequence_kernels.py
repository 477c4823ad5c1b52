"""Kernels of sequences, by dynamic time warping or sums over all alignments."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import BaseEstimator

from mmfusion._blocks import take_rows
from mmfusion._frame_scaling import scale_frames
from mmfusion._scaling import Scaling
from mmfusion.mkl._feature_maps import RawFeatures, inverse_root
from mmfusion.mkl._kernel_checks import check_training_kernel
from mmfusion.mkl._kernels import check_finite_kernel

if TYPE_CHECKING:
    from mmfusion.alignment._sequence_function import (
        FittedFunction,
        SequenceFunction,
        SequenceSet,
    )

# the kernel of DTWKernel by the name of the kernel of a modality
DTW_KERNELS = {
    "dtw": "rbf",
    "global_alignment": "global_alignment",
    "soft_dtw": "soft_dtw",
}
# for explicit features gamma follows from the pairs of so many sequences
GAMMA_SEQUENCES = 200


def is_sequence_kernel(kernel: object) -> bool:
    """Return whether a kernel compares sequences: by its name, or as a DTWKernel.

    Parameters
    ----------
    kernel : object
        The kernel as it is given.

    Returns
    -------
    bool
        True for the names in `DTW_KERNELS`, and for estimators.
    """
    if isinstance(kernel, str):
        return kernel in DTW_KERNELS
    return isinstance(kernel, BaseEstimator)


def sequence_function(
    kernel: Any,
    gamma: float | None,
    names: Sequence[str],
    position: int,
    n_jobs: int | None,
) -> SequenceFunction:
    """Return the function of two sequences that a kernel stands for.

    Parameters
    ----------
    kernel : {'dtw', 'global_alignment', 'soft_dtw'} or DTWKernel
        The kernel.
    gamma : float or None
        Its gamma; None is that of a DTWKernel, or by its rule.
    names : sequence of str
        Names of all modalities, by which a DTWKernel may have parameters.
    position : int
        Position of the modality of the kernel.
    n_jobs : int or None
        Number of threads, unless a DTWKernel has its own.

    Returns
    -------
    SequenceFunction
        The function, with the parameters that are given.

    Raises
    ------
    ImportError
        If numba is not installed.
    TypeError, ValueError
        If an estimator is no DTWKernel, or one of a distance, or names a modality that
        there is not.
    """
    from mmfusion.alignment import DTWKernel  # loads numba

    if isinstance(kernel, str):
        kernel = DTWKernel(DTW_KERNELS[kernel], gamma=gamma)
    if not isinstance(kernel, DTWKernel):
        raise TypeError(
            f"kernel is {kernel!r}; estimators other than DTWKernel are no kernels"
        )
    kernel._validate_params()
    function = kernel._functions(names)[position]
    if function.is_distance:
        kernels = {"distance": "rbf", "divergence": "soft_dtw"}
        raise ValueError(
            f"DTWKernel({kernel.kernel!r}) is a distance; give the kernel of it, "
            f"DTWKernel({kernels[kernel.kernel]!r})"
        )
    return replace(function, n_jobs=n_jobs) if kernel.n_jobs is None else function


@dataclass(frozen=True)
class SequenceKernelFunction:
    """A kernel of two sequences, in place of a `KernelFunction` of two rows.

    Parameters
    ----------
    kernel : str or DTWKernel
        The kernel as it was given, for errors.
    function : SequenceFunction
        The function, with its parameters; 1 for a sequence with itself.
    dtype : str
        Dtype of the values: that of the sequences of `fit`.
    """

    kernel: Any
    function: SequenceFunction
    dtype: str

    @property
    def is_precomputed(self) -> bool:
        """Whether blocks hold the values of the kernel: never."""
        return False

    @property
    def gamma(self) -> float | None:
        """Gamma of scaled sequences."""
        return self.function.gamma

    def prepare(self, block: np.ndarray, scaling: Scaling) -> SequenceSet:
        """Scale sequences, and compute what each needs by itself.

        Parameters
        ----------
        block : ndarray of object of shape (n_samples,)
            Sequences.
        scaling : Scaling
            Fitted scaling of frames.

        Returns
        -------
        SequenceSet
            The scaled sequences.
        """
        return self.function.prepare(list(scale_frames(scaling, block)))

    def pairwise(self, X: SequenceSet, Y: SequenceSet) -> np.ndarray:
        """Compute the kernel of all pairs of sequences.

        Parameters
        ----------
        X, Y : SequenceSet
            Scaled sequences.

        Returns
        -------
        ndarray of shape (n_x, n_y)
            The values, in a new array.
        """
        values = self.function.values(self.function.costs(X, Y))
        return values.astype(self.dtype, copy=False)

    def diagonal(self, X: SequenceSet) -> np.ndarray:
        """Return the kernel of every sequence with itself.

        Parameters
        ----------
        X : SequenceSet
            Sequences.

        Returns
        -------
        ndarray of shape (n,)
            The values: 1 where no frame costs anything beside itself.
        """
        return self.function.diagonal(X)


def fit_sequence_kernel(
    kernel: Any,
    function: SequenceFunction,
    block: np.ndarray,
    scaling: Scaling,
    sample_weight: np.ndarray | None,
) -> tuple[SequenceKernelFunction, FittedFunction]:
    """Choose the parameters of a kernel by sequences, and compare them.

    Parameters
    ----------
    kernel : str or DTWKernel
        The kernel as it was given.
    function : SequenceFunction
        The function of `sequence_function`.
    block : ndarray of object of shape (n_samples,)
        Sequences of samples that have the modality.
    scaling : Scaling
        Fitted scaling of frames.
    sample_weight : ndarray of shape (n_samples,) or None
        Weights of the samples.

    Returns
    -------
    fitted : SequenceKernelFunction
        The kernel.
    comparison : FittedFunction
        The scaled sequences, and what the values are functions of.
    """
    from mmfusion.alignment._sequence_function import fit_sequence_function

    scaled = list(scale_frames(scaling, block))
    comparison = fit_sequence_function(function, scaled, sample_weight)
    dtype = scaled[0].dtype.name
    return SequenceKernelFunction(kernel, comparison.function, dtype), comparison


def _fit_parameters(
    kernel: Any,
    function: SequenceFunction,
    block: np.ndarray,
    scaling: Scaling,
    sample_weight: np.ndarray | None,
) -> SequenceKernelFunction:
    """Choose the parameters of a kernel; compare sequences only if gamma needs it."""
    from mmfusion.alignment._sequence_function import choose_by_frames

    scaled = list(scale_frames(scaling, block))
    chosen = choose_by_frames(function, scaled, sample_weight)
    if chosen.gamma is None:
        return fit_sequence_kernel(kernel, chosen, block, scaling, sample_weight)[0]
    return SequenceKernelFunction(kernel, chosen, scaled[0].dtype.name)


@dataclass(frozen=True)
class _SequenceFeatures:
    """Kernel values of sequences with landmarks, whitened."""

    scaling: Scaling
    landmarks: SequenceSet
    function: SequenceKernelFunction
    whitening: np.ndarray

    def __call__(self, X: np.ndarray) -> np.ndarray:
        own = self.function.prepare(X, self.scaling)
        values = self.function.pairwise(own, self.landmarks)
        return values @ self.whitening.astype(values.dtype)


def fit_sequence_features(
    kernel: Any,
    function: SequenceFunction,
    block: np.ndarray,
    scaling: Scaling,
    n_components: int,
    rng: np.random.RandomState,
    name: str,
    sample_weight: np.ndarray | None,
    landmarks: np.ndarray | None = None,
) -> tuple[SequenceKernelFunction, RawFeatures]:
    """Fit explicit features ``k(x, L) k(L, L)^-1/2`` of sequences L drawn at random.

    Parameters
    ----------
    kernel, function, block, scaling, sample_weight
        As for `fit_sequence_kernel`; gamma, where it is None, follows from at most 200
        sequences.
    n_components : int
        Maximum number of features, and of sequences L.
    rng : RandomState
        Random generator of L.
    name : str
        Name of the kernel in warnings.
    landmarks : ndarray of object of shape (n_landmarks,), default=None
        The sequences L, if they are given.

    Returns
    -------
    fitted : SequenceKernelFunction
        The kernel.
    features : callable
        Function of sequences that returns their features, and that can be pickled.
    """
    spaced = np.linspace(0, len(block) - 1, min(len(block), GAMMA_SEQUENCES))
    some = spaced.astype(int)
    weight = None if sample_weight is None else sample_weight[some]
    fitted = _fit_parameters(kernel, function, take_rows(block, some), scaling, weight)
    if landmarks is None:
        drawn = _draw_distinct(block, n_components, rng, sample_weight)
        landmarks = take_rows(block, drawn)
    prepared = fitted.prepare(landmarks, scaling)
    own = fitted.pairwise(prepared, prepared)
    check_finite_kernel(own, kernel)
    check_training_kernel(own, name)
    return fitted, _SequenceFeatures(scaling, prepared, fitted, inverse_root(own))


def _draw_distinct(
    block: np.ndarray,
    n_drawn: int,
    rng: np.random.RandomState,
    sample_weight: np.ndarray | None,
) -> np.ndarray:
    """Draw positions of distinct sequences in proportion to how often they occur."""
    weight = np.ones(len(block)) if sample_weight is None else sample_weight
    first: dict[tuple[int, bytes], int] = {}
    counts: dict[int, float] = {}
    for i, (sequence, own) in enumerate(zip(block, weight.tolist(), strict=True)):
        # adding 0.0 makes 0.0 of -0.0, which is equal but has other bits
        position = first.setdefault((len(sequence), (sequence + 0.0).tobytes()), i)
        counts[position] = counts.get(position, 0.0) + own
    positions = np.array(list(counts))
    # the smallest of exponential times of these rates are a draw without replacement
    times = rng.exponential(size=len(positions)) / np.array(list(counts.values()))
    return positions[np.sort(np.argsort(times, kind="stable")[:n_drawn])]
