"""One kernel after `fit`: exact, or approximated by explicit features."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse
from sklearn.utils import check_random_state

from mmfusion._blocks import Block, of_samples
from mmfusion._options import errors_name
from mmfusion._scaling import Scaling, without_offset_and_unit
from mmfusion.mkl._feature_maps import FeatureMap, fit_feature_map, fit_raw_features
from mmfusion.mkl._kernel_checks import check_training_kernel, observed_square
from mmfusion.mkl._kernel_files import allocate_gram
from mmfusion.mkl._kernel_scaling import KernelScaling, fit_kernel_scaling
from mmfusion.mkl._kernels import (
    GAMMA_UNIT_POWERS,
    KERNELS_WITH_GAMMA,
    Kernel,
    KernelFunction,
    check_finite_kernel,
    default_gamma,
    gamma_in_units,
)
from mmfusion.mkl._landmarks import landmarks_of_modality
from mmfusion.mkl._missing_kernels import fill_missing
from mmfusion.mkl._precomputed_gram import Gram, PrecomputedGram
from mmfusion.mkl._sequence_kernels import (
    SequenceKernelFunction,
    fit_sequence_features,
    fit_sequence_kernel,
    is_sequence_kernel,
    sequence_function,
)
from mmfusion.modalities import Modalities

if TYPE_CHECKING:
    from mmfusion.alignment._sequence_function import SequenceFunction, SequenceSet

TRANSLATION_INVARIANT_KERNELS = ("rbf", "laplacian")
GAMMA_ROWS = 2**14  # rows that are scaled to choose gamma
CENTRED_BOUND = 4  # of centred values, relative to the largest value


@dataclass(frozen=True)
class KernelSpec:
    """One kernel as the parameters specify it.

    Parameters
    ----------
    name : str
        Name of the modality, followed by a number if it has several kernels.
    modality : int
        Position of the modality.
    kernel : str, callable or DTWKernel
        The kernel.
    gamma : float or None
        Its gamma; None is by the median rule.
    """

    name: str
    modality: int
    kernel: Kernel
    gamma: float | None


@dataclass(frozen=True)
class KernelOptions:
    """Parameters of `ModalityKernels` that all of its kernels share.

    Parameters
    ----------
    modalities : tuple of str
        Names of the modalities.
    degree, coef0, center, normalize, n_components, temp_folder, n_jobs
        As in `ModalityKernels`.
    approximation : {'nystroem', 'fourier'} or None
        As in `ModalityKernels`, with 'auto' resolved.
    landmarks : Modalities or None
        Landmarks of 'nystroem'; None finds them among the samples of `fit`.
    copies_precomputed : bool
        Whether Gram matrices of precomputed kernels are new arrays.
    """

    modalities: tuple[str, ...]
    degree: float
    coef0: float
    center: bool
    normalize: str | None
    approximation: str | None
    n_components: int
    landmarks: Modalities | None
    temp_folder: str | PathLike[str] | None
    copies_precomputed: bool
    n_jobs: int | None = None


@dataclass(frozen=True)
class FittedKernel:
    """One kernel, fitted to the training samples that have its modality.

    Parameters
    ----------
    modality : int
        Position of the modality.
    function : KernelFunction or SequenceKernelFunction
        The kernel, with gamma of scaled rows.
    observed : ndarray of bool of shape (n_train,)
        Training samples that have the modality; they are the columns of the kernel.
    scaling : Scaling
        Scaling of rows, or of frames.
    gamma : float, default=None
        Gamma of rows that are not scaled, as the user gives it.
    training : ndarray or CSR matrix of shape (n_observed, n_features), or \
SequenceSet, default=None
        Scaled training rows, or sequences; None if the kernel is precomputed or
        explicit.
    normalization : KernelScaling or ShiftedScaling, default=KernelScaling()
        Centring and normalisation of kernel values.
    diagonal : float, default=None
        Value of every sample with itself, if it is the same for all training samples
        of a precomputed kernel.
    features : FeatureMap, default=None
        Explicit features; None if the kernel is exact.
    columns : ndarray of int, default=None
        Columns that are read of a precomputed kernel; None reads those of `observed`.
    """

    modality: int
    function: KernelFunction | SequenceKernelFunction
    observed: np.ndarray
    scaling: Scaling
    gamma: float | None = None
    training: Block | SequenceSet | None = None
    normalization: KernelScaling | ShiftedScaling = field(default_factory=KernelScaling)
    diagonal: float | None = None
    features: FeatureMap | None = None
    columns: np.ndarray | None = None

    def compute(self, block: Block) -> np.ndarray:
        """Compute the kernel of rows with the training rows, or features of the rows.

        Parameters
        ----------
        block : ndarray or CSR matrix of shape (n, n_features)
            Rows of samples that have the modality.

        Returns
        -------
        ndarray of shape (n, n_observed) or (n, n_components)
            Centred and normalised values, in a new array.
        """
        kernel = self.function.kernel
        if self.function.is_precomputed:
            block = block.toarray() if sparse.issparse(block) else block
            block = block[:, self.observed if self.columns is None else self.columns]
        if self.features is not None:
            Z = self.features.apply(block)
            check_finite_kernel(Z, kernel)
            return Z
        diagonal = None
        if self.function.is_precomputed:
            if self.normalization.needs_diagonal:
                diagonal = np.full(len(block), self._constant_diagonal())
            K = np.array(block)  # a copy, which is centred in place
        else:
            rows = self._scaled(block)
            if self.normalization.needs_diagonal:
                diagonal = self.function.diagonal(rows)
            training: Any = self.training  # of the kind of rows
            K = self.function.pairwise(rows, training)
            check_finite_kernel(K, kernel)
        # overflows are reported by the check below
        with np.errstate(over="ignore", invalid="ignore"):
            K = self.normalization.apply(K, diagonal)
        check_finite_kernel(K, kernel)
        return K

    def _scaled(self, block: Block) -> Any:
        """Return the scaled rows, or sequences."""
        if isinstance(self.function, SequenceKernelFunction):
            return self.function.prepare(block, self.scaling)
        return self.scaling.apply(block)

    def _constant_diagonal(self) -> float:
        if self.diagonal is None:
            raise ValueError(
                "normalize='cosine' needs the value of every new sample with itself, "
                "which a precomputed kernel does not hold unless it is the same for "
                "all; set normalize='trace', or give kernels with a diagonal of 1"
            )
        return self.diagonal


@dataclass(frozen=True)
class ShiftedScaling:
    """Centring of the columns of support vectors only, and normalisation.

    Values are centred but for a constant of each row, which needs all training samples.

    Parameters
    ----------
    means : ndarray of shape (n_support,)
        Mean kernel value of each support vector with the training samples.
    size : float
        Divisor of the values.
    """

    means: np.ndarray
    size: float

    @property
    def needs_diagonal(self) -> bool:
        """Whether new samples need their kernel values with themselves: never."""
        return False

    def apply(self, K: np.ndarray, diagonal: np.ndarray | None = None) -> np.ndarray:
        """Shift and divide values in place.

        Parameters
        ----------
        K : ndarray of shape (n, n_support)
            Kernel of samples with the support vectors; it is overwritten.
        diagonal : None
            Not used.

        Returns
        -------
        ndarray of shape (n, n_support)
            `K`.
        """
        K -= self.means.astype(K.dtype)
        K /= K.dtype.type(self.size)
        return K


def fit_kernel(
    spec: KernelSpec,
    frame: Modalities,
    scaling: Scaling,
    options: KernelOptions,
    seed: int,
    sample_weight: np.ndarray | None,
    factors: np.ndarray | None,
) -> tuple[FittedKernel, Gram | None]:
    """Fit one kernel to the samples that have its modality.

    Parameters
    ----------
    spec : KernelSpec
        The kernel.
    frame : Modalities
        Checked training samples.
    scaling : Scaling
        Fitted scaling of the modality.
    options : KernelOptions
        Parameters of all kernels.
    seed : int
        Seed of landmarks and random features.
    sample_weight : ndarray of shape (n_train,) or None
        Weights of the samples.
    factors : ndarray of shape (n_train,) or None
        Factors for missing modalities, by `missing_factors`.

    Returns
    -------
    fitted : FittedKernel
        The fitted kernel.
    gram : ndarray or PrecomputedGram of shape (n_train, n_train) or None
        Gram matrix of all training samples; None with explicit features.
    """
    name = frame.names[spec.modality]
    observed = frame.observed[:, spec.modality]
    block = of_samples(frame.blocks[spec.modality], observed)
    if spec.kernel == "precomputed":
        # columns of samples that lack the modality hold no values
        block = observed_square(block, observed, name)
    weight = None if sample_weight is None else sample_weight[observed]
    with errors_name(name):
        if is_sequence_kernel(spec.kernel) and options.approximation is not None:
            return _fit_features_of_sequences(
                spec, block, observed, scaling, options, seed, weight
            ), None
        if options.approximation is not None:
            features = _fit_features(
                spec, block, observed, scaling, options, seed, weight
            )
            return features, None
        folder = options.temp_folder
        K: Gram
        if spec.kernel == "precomputed":
            fitted, K = _fit_precomputed(spec, block, observed, options, weight)
            is_copied = options.copies_precomputed or options.normalize == "cosine"
            if factors is None and not is_copied:
                return fitted, K
            K = K.to_array(folder)
            check_finite_kernel(K, "precomputed")
        else:
            fitted, K = _fit_exact(spec, block, observed, scaling, options, weight)
        if factors is None:  # every sample has every modality
            return fitted, K
        return fitted, fill_missing(K, observed, observed, factors, factors, folder)


def _fit_function(
    spec: KernelSpec,
    block: Block,
    observed: np.ndarray,
    scaling: Scaling,
    options: KernelOptions,
    sample_weight: np.ndarray | None,
) -> tuple[FittedKernel, KernelFunction]:
    """Fit gamma, and the scaling of rows that leaves the kernel the same."""
    scaling = _invariant_scaling(spec, block, scaling, options, sample_weight)
    gamma, scaled_gamma = _fit_gamma(spec, block, scaling, sample_weight)
    function = KernelFunction(spec.kernel, scaled_gamma, options.degree, options.coef0)
    fitted = FittedKernel(spec.modality, function, observed, scaling, gamma)
    return fitted, function


def _invariant_scaling(
    spec: KernelSpec,
    block: Block,
    scaling: Scaling,
    options: KernelOptions,
    sample_weight: np.ndarray | None,
) -> Scaling:
    """Add to no scaling the shift and the divisor that leave the kernel the same.

    Differences of values with a large offset lose digits, and squares of very large or
    small values overflow or underflow. The divisor, `spread`, is a power of two.
    """
    kernel = spec.kernel
    if scaling.name is not None or not isinstance(kernel, str):
        return scaling
    is_linear = kernel == "linear"
    # a centred linear kernel has no offset, and a normalised one no unit
    is_centred = is_linear and options.center
    shifted = kernel in TRANSLATION_INVARIANT_KERNELS or is_centred
    found = without_offset_and_unit(block, sample_weight, shifted=shifted)
    is_normalised = is_linear and options.normalize is not None
    has_unit = kernel in GAMMA_UNIT_POWERS or is_normalised
    return found if has_unit else replace(found, spread=1.0)


def _fit_gamma(
    spec: KernelSpec,
    block: Block,
    scaling: Scaling,
    sample_weight: np.ndarray | None,
) -> tuple[float | None, float | None]:
    """Return gamma for the values as they are, and for the scaled values.

    The first is gamma as the user gives it, None for kernels without gamma.
    """
    kernel, gamma = spec.kernel, spec.gamma
    if kernel not in KERNELS_WITH_GAMMA:
        return None, None
    unit = scaling.spread if scaling.name is None else 1.0
    if gamma is not None:
        return float(gamma), gamma_in_units(float(gamma), kernel, unit)
    n_rows = min(block.shape[0], GAMMA_ROWS)
    rows = np.linspace(0, block.shape[0] - 1, n_rows).astype(int)
    weight = None if sample_weight is None else sample_weight[rows]
    scaled_gamma = default_gamma(str(kernel), scaling.apply(block[rows]), weight)
    gamma = gamma_in_units(scaled_gamma, kernel, 1 / unit)
    limits = np.finfo(np.float64)
    if not limits.tiny < gamma < limits.max:
        # 'block' bounds all values; chi2 takes none that are negative
        bounded = "l2" if kernel == "chi2" else "block"
        raise ValueError(
            "values are so large or small that gamma, by the median rule, "
            f"overflows float64; set scaling={bounded!r}"
        )
    return gamma, scaled_gamma


def _fit_features(
    spec: KernelSpec,
    block: Block,
    observed: np.ndarray,
    scaling: Scaling,
    options: KernelOptions,
    seed: int,
    sample_weight: np.ndarray | None,
) -> FittedKernel:
    """Fit the explicit features of a kernel."""
    fitted, function = _fit_function(
        spec, block, observed, scaling, options, sample_weight
    )
    assert options.approximation is not None
    if function.is_precomputed:
        samples = np.flatnonzero(observed)
        check_training_kernel(block, spec.name, samples=samples)
    raw = fit_raw_features(
        options.approximation,
        block,
        fitted.scaling,
        function,
        options.n_components,
        check_random_state(seed),
        spec.name,
        sample_weight,
        _landmarks_of(spec, options, block),
    )
    features = fit_feature_map(
        block,
        raw,
        center=options.center,
        normalize=options.normalize,
        sample_weight=sample_weight,
    )
    return replace(fitted, features=features)


def _landmarks_of(
    spec: KernelSpec, options: KernelOptions, block: Block
) -> Block | None:
    """Return the landmarks of a kernel; None if none are given."""
    if options.landmarks is None:
        return None
    return landmarks_of_modality(options.landmarks, spec.modality, block)


def _fit_exact(
    spec: KernelSpec,
    block: Block,
    observed: np.ndarray,
    scaling: Scaling,
    options: KernelOptions,
    sample_weight: np.ndarray | None,
) -> tuple[FittedKernel, np.ndarray]:
    """Fit an exact kernel of rows or sequences; return also their Gram matrix."""
    is_of_sequences = is_sequence_kernel(spec.kernel)
    compute = _compare_sequences if is_of_sequences else _compute_gram
    fitted, K = compute(spec, block, observed, scaling, options, sample_weight)
    function = fitted.function
    # before centring, which would spread one NaN over all values
    check_finite_kernel(K, function.kernel)
    # the definite ones are the kernels of rows by name
    if callable(function.kernel) or is_of_sequences:
        check_training_kernel(K, spec.name, samples=np.flatnonzero(observed))
    with np.errstate(over="ignore", invalid="ignore"):
        normalization = fit_kernel_scaling(
            K,
            center=options.center,
            normalize=options.normalize,
            sample_weight=sample_weight,
        )
        K = normalization.apply(K)
    check_finite_kernel(K, function.kernel)
    return replace(fitted, normalization=normalization), K


def _compute_gram(
    spec: KernelSpec,
    block: Block,
    observed: np.ndarray,
    scaling: Scaling,
    options: KernelOptions,
    sample_weight: np.ndarray | None,
) -> tuple[FittedKernel, np.ndarray]:
    """Fit a kernel of rows, and compute their Gram matrix."""
    fitted, function = _fit_function(
        spec, block, observed, scaling, options, sample_weight
    )
    rows = fitted.scaling.apply(block)
    return replace(fitted, training=rows), function.gram(rows, options.temp_folder)


def _compare_sequences(
    spec: KernelSpec,
    block: np.ndarray,
    observed: np.ndarray,
    scaling: Scaling,
    options: KernelOptions,
    sample_weight: np.ndarray | None,
) -> tuple[FittedKernel, np.ndarray]:
    """Fit an exact kernel of sequences, and compute their Gram matrix."""
    function = _function_of(spec, options)
    own, comparison = fit_sequence_kernel(
        spec.kernel, function, block, scaling, sample_weight
    )
    K = own.function.values(comparison.costs).astype(own.dtype, copy=False)
    if options.temp_folder is not None:
        values, K = K, allocate_gram(K.shape, K.dtype, options.temp_folder)
        K[...] = values
    fitted = FittedKernel(spec.modality, own, observed, scaling, own.gamma)
    return replace(fitted, training=comparison.sequences), K


def _fit_features_of_sequences(
    spec: KernelSpec,
    block: np.ndarray,
    observed: np.ndarray,
    scaling: Scaling,
    options: KernelOptions,
    seed: int,
    sample_weight: np.ndarray | None,
) -> FittedKernel:
    """Fit the explicit features of a kernel of sequences."""
    if options.approximation == "fourier":
        raise ValueError(
            f"approximation='fourier' is for kernel='rbf', not {spec.kernel!r}; set "
            "'nystroem'"
        )
    own, raw = fit_sequence_features(
        spec.kernel,
        _function_of(spec, options),
        block,
        scaling,
        options.n_components,
        check_random_state(seed),
        spec.name,
        sample_weight,
        _landmarks_of(spec, options, block),
    )
    features = fit_feature_map(
        block,
        raw,
        center=options.center,
        normalize=options.normalize,
        sample_weight=sample_weight,
    )
    fitted = FittedKernel(spec.modality, own, observed, scaling, own.gamma)
    return replace(fitted, features=features)


def _function_of(spec: KernelSpec, options: KernelOptions) -> SequenceFunction:
    return sequence_function(
        spec.kernel, spec.gamma, options.modalities, spec.modality, options.n_jobs
    )


def _fit_precomputed(
    spec: KernelSpec,
    K: np.ndarray,
    observed: np.ndarray,
    options: KernelOptions,
    sample_weight: np.ndarray | None,
) -> tuple[FittedKernel, PrecomputedGram]:
    """Fit a precomputed kernel; return also the kernel, which is read once."""
    # kernels that are layers of one array would be read as slowly as all of them
    is_whole = K.flags.c_contiguous or K.flags.f_contiguous
    K = K if is_whole else np.ascontiguousarray(K)
    shares = None if sample_weight is None else sample_weight / sample_weight.sum()
    samples = np.flatnonzero(observed)
    means = check_training_kernel(K, spec.name, shares=shares, samples=samples)
    with np.errstate(over="ignore", invalid="ignore"):
        normalization = fit_kernel_scaling(
            K,
            center=options.center,
            normalize=options.normalize,
            sample_weight=sample_weight,
            means=means,
        )
        # no centred value of a semi-definite kernel is larger
        bound = CENTRED_BOUND * np.abs(K.diagonal()).max(initial=0)
    if not np.isfinite(bound):
        check_finite_kernel(np.atleast_1d(bound), spec.kernel)
    function = KernelFunction(spec.kernel)
    fitted = FittedKernel(
        spec.modality,
        function,
        observed,
        Scaling(None),
        normalization=normalization,
        diagonal=_constant_of(K.diagonal()),
    )
    return fitted, PrecomputedGram(K, normalization)


def _constant_of(diagonal: np.ndarray) -> float | None:
    # if it is the same for all training samples, it is taken for that of new ones
    is_constant = (np.abs(diagonal - diagonal[0]) <= 1e-6 * abs(diagonal[0])).all()
    return float(diagonal[0]) if is_constant else None
