"""Kernels of modalities, as a transformer and for the estimators on their sum."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from os import PathLike
from typing import Any, Self, TypeVar, cast

import numpy as np
from joblib import effective_n_jobs
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils.parallel import Parallel, delayed

from mmfusion._blocks import of_samples
from mmfusion._columns import SEPARATOR, default_names
from mmfusion._frame_scaling import fit_block_scaling
from mmfusion._memory import check_fits
from mmfusion._numbers import is_real
from mmfusion._options import by_modality, errors_about, errors_name
from mmfusion._scaling_choice import resolve_scalings
from mmfusion._sklearn_compat import fit_context
from mmfusion._threads import threads_of_n_jobs
from mmfusion._typing import ColumnSpecLike, ModalitiesLike, RandomStateLike
from mmfusion._validation import ModalityTags
from mmfusion.base import ModalityTransformerMixin
from mmfusion.mkl._fitted_kernels import (
    KernelOptions,
    KernelSpec,
    fit_kernel,
)
from mmfusion.mkl._kernel_files import check_disk_space
from mmfusion.mkl._kernel_input import (
    KERNEL_CONSTRAINTS,
    GammaLike,
    KernelInputMixin,
    KernelLike,
    ScalingLike,
)
from mmfusion.mkl._kernels import KERNEL_NAMES, KERNELS_WITH_GAMMA, Kernel
from mmfusion.mkl._landmarks import check_landmark_options
from mmfusion.mkl._missing_kernels import fill_missing, missing_factors
from mmfusion.mkl._precomputed_gram import Gram
from mmfusion.mkl._sequence_kernels import DTW_KERNELS, is_sequence_kernel
from mmfusion.modalities import Modalities

MAX_EXACT_SAMPLES = 5000  # of fit, for which approximation='auto' is None

ResultT = TypeVar("ResultT")


class ModalityKernels(KernelInputMixin, ModalityTransformerMixin, BaseEstimator):
    """Compute centred and normalised kernels of every modality.

    With a map phi_p into the feature space of kernel p, m_p the mean of phi_p over the
    samples of `fit`, and s_p their root mean squared distance from m_p, the values are
    ``K_p(x, y) = (phi_p(x) - m_p)'(phi_p(y) - m_p) / s_p^2``: a Gram matrix per kernel
    with a column for each sample of `fit`. For many samples they are explicit features
    whose inner products approximate the kernel, so that no array of shape
    (n_samples, n_samples) is needed.

    Parameters
    ----------
    kernel : {'rbf', 'linear', 'poly', 'cosine', 'laplacian', 'chi2', 'precomputed', \
'global_alignment', 'soft_dtw', 'dtw'}, callable, DTWKernel, list or dict, default='rbf'
        The kernel of all modalities, a list of several for each, or any of these by
        modality name ('rbf' where a dict does not name it). A callable takes two
        matrices and returns the values of all pairs of their rows, real and finite, as
        ``sklearn.metrics.pairwise.rbf_kernel``.
        'precomputed' modalities hold kernel values: square in `fit`, later
        (n_samples, n_train). 'global_alignment', 'soft_dtw' and 'dtw' compare
        sequences, see Notes; they are short for the
        `~mmfusion.alignment.DTWKernel` that sets their further options.
    gamma : float, array-like of float or dict, default=None
        Coefficient of 'rbf', 'poly', 'laplacian', 'chi2' and the kernels of sequences,
        or one by modality name; several values make one kernel each. A DTWKernel has
        its own. None is by the median rule: for 'rbf' ``1 / (2 m^2)`` with the median
        distance m of two samples, see Notes.
    degree : float, default=3
        Degree of the polynomial kernel.
    coef0 : float, default=1
        Constant of the polynomial kernel.
    scaling : {'auto', 'block', 'standard', 'l2'} or None or dict, default='auto'
        Scaling of the features of a modality before kernels; see `EarlyFusion`. 'auto'
        leaves 'precomputed' and 'chi2' modalities as they are, and is 'standard' for
        sequences, whose frames are scaled like the rows of a table.
    center : bool, default=True
        Whether samples are centred in feature space, by the means of `fit`.
    normalize : {'trace', 'cosine'} or None, default='trace'
        Normalisation of each kernel. 'trace': the mean of its diagonal over `fit` is 1.
        'cosine': all of its diagonal is 1.
    approximation : {'auto', 'nystroem', 'fourier'}, int or None, default='auto'
        None computes exact kernels. 'nystroem' computes features from landmarks, the
        centres of k-means where a modality is dense, for every kernel; 'fourier' random
        cosines, for 'rbf'. Landmarks of sequences are drawn at random. An integer is
        the maximum number of samples of `fit` for which kernels are exact; more
        samples, unless all kernels are precomputed, are approximated by 'nystroem'.
        'auto' is 5000.
    n_components : int, default=128
        Maximum number of explicit features of a kernel. A linear or cosine kernel of a
        modality that has no more features than these is exact.
    landmarks : list, dict, Modalities or array-like of shape (n_landmarks, \
n_features), default=None
        Landmarks of 'nystroem', in any form of X and with the same modalities, of which
        each may lack some. `n_components` is not read then, and 'auto' is 'nystroem'.
        None finds them among the samples of `fit`.
    temp_folder : str or path-like, default=None
        Existing folder for the exact kernels of `fit_transform`: they are memory-mapped
        files without a name, deleted with the last reference to them. None keeps them
        in memory.
    modalities : int, list of int, str or dict, default=None
        Column spec that splits a plain 2-D X; None takes it as one modality. See
        :meth:`Modalities.from_table`.
    n_jobs : int, default=None
        Number of kernels that are computed at a time, in threads, and of the threads of
        linear algebra. None is 1 unless in a joblib context, -1 all processors.
    random_state : int, RandomState instance or None, default=None
        Randomness of landmarks and random features.

    Attributes
    ----------
    kernel_names_ : ndarray of str of shape (n_kernels,)
        Name of the modality; ``<modality>-<k>`` where it has several kernels.
    kernel_modalities_ : ndarray of int of shape (n_kernels,)
        Position of the modality of each kernel.
    gamma_ : ndarray of float64 of shape (n_kernels,)
        Gamma of each kernel; NaN where it has none.
    scaling_ : dict of str to str
        Scaling of each modality, with 'auto' resolved.
    approximation_ : {'nystroem', 'fourier'} or None
        Approximation of the kernels, with 'auto' and integers resolved.
    n_modalities_in_ : int
        Number of modalities seen in `fit`.
    modality_names_in_ : ndarray of str of shape (n_modalities,)
        Names of the modalities.
    n_features_per_modality_in_ : ndarray of int of shape (n_modalities,)
        Number of features of each modality.
    n_features_in_ : int
        Total number of features.
    feature_names_in_ : ndarray of str of shape (`n_features_in_`,)
        Names ``<modality>__<feature>``, if the input had names.

    Raises
    ------
    ValueError
        If a precomputed kernel is not square, symmetric and finite in `fit`, a sample
        lacks every modality, a kernel refuses the values (chi2: negative ones) or the
        kind of block (sequences, or their kernels a sparse matrix), or exact kernels do
        not fit into memory.
    OSError
        If `temp_folder` has not enough space for the kernels.

    Warns
    -----
    UserWarning
        If a precomputed kernel, or that of a callable or of sequences, is not positive
        semi-definite.

    See Also
    --------
    MKLClusterer : Clusters by a weighted sum of such kernels.
    mmfusion.alignment.DTWKernel : Kernels of sequences, and their options.

    Notes
    -----
    *Bandwidth.* The median rule takes ``1 / (2 m^2)`` for 'rbf', where m is the median
    distance; 1 over the median distance for 'laplacian' and 'chi2'; 1 over the mean
    squared norm for 'poly'. Medians are those of at most 1,000 samples.

    *Sequences.* 'dtw' is ``exp(-gamma d)`` for the cost d of dynamic time warping,
    'soft_dtw' the same of the divergence of soft-DTW; 'global_alignment' sums over all
    paths, and is the one of the three that is always positive semi-definite. They need
    the extra ``align``. Sequences are given as everywhere. A table of one of these
    kernels is read as by DTWKernel: where all modalities are tables, a row is a series
    of one feature; beside sequences it is one frame, features without time. Several
    kernels of a modality are all of sequences or all of rows. Of a
    `~mmfusion.alignment.DTWKernel` the parameters `combine` and `modalities` are not
    read. Every pair of samples of `fit` is compared, again for each gamma; explicit
    features compare each sample with `n_components` others. Entries of a dict are
    parameters of this estimator: ``audio`` is the kernel of a modality,
    ``audio__softness`` a parameter of its DTWKernel.

    *Missing modalities.* The values, means and sizes of a modality are those of the
    samples that have it. A sample without it lies at the modality's mean: its values
    are 0, before and after centring. Its other kernels are multiplied by the root of
    ``n_modalities / (number of modalities it has)``, in rows and columns, so that its
    norm in the sum of all kernels is on average that of a complete sample. Kernels
    stay positive semi-definite.

    Rows of a precomputed kernel are NaN for samples that lack the modality; their
    columns are not read, and may be 0.

    *Cross-validation of precomputed kernels.* scikit-learn splits rows and columns
    where the tag ``pairwise`` is set, which it is for ``kernel="precomputed"``, and
    then requires one square array. So give one kernel as (n_samples, n_samples) and
    several as one array (n_samples, n_samples, n_kernels), such as
    ``np.dstack([K_audio, K_video])``; their names are ``modality_0`` and so on.
    `Modalities` of kernels work in `fit` and `predict`, but a search cannot split
    their columns; ``np.dstack(X.blocks)`` is the array that it can. Where kernels are
    computed inside a `Pipeline` only samples are split.

    *Explicit features* are centred and normalised by at most 16,384 samples of `fit`.

    A modality that does not vary, but for rounding, has a kernel of 0. Without scaling,
    values are shifted and divided before they are compared where that leaves the kernel
    the same, so that neither an offset nor their magnitude costs digits.

    References
    ----------
    J. Shawe-Taylor, N. Cristianini (2004), Kernel Methods for Pattern Analysis,
    chapter 5 (centring and normalisation in feature space). Cambridge.

    C. K. I. Williams, M. Seeger (2001), Using the Nystroem method to speed up kernel
    machines. NIPS 13, 682-688.

    K. Zhang, I. W. Tsang, J. T. Kwok (2008), Improved Nystroem low-rank approximation
    and error analysis. ICML, 1232-1239.

    A. Rahimi, B. Recht (2007), Random features for large-scale kernel machines.
    NIPS 20.

    Examples
    --------
    >>> from mmfusion.datasets import make_multimodal_blobs
    >>> from mmfusion.mkl import ModalityKernels
    >>> X, y = make_multimodal_blobs(50, {"audio": 3, "video": 5}, random_state=0)
    >>> kernels = ModalityKernels({"audio": ["rbf", "linear"]})
    >>> kernels.fit(X).transform(X[:4])
    Modalities of 4 samples x 3 modalities
      audio-0  dense (4, 50) float64
      audio-1  dense (4, 50) float64
      video    dense (4, 50) float64
    """

    _parameter_constraints: dict = {**KERNEL_CONSTRAINTS, "center": ["boolean"]}

    def __init__(
        self,
        kernel: KernelLike = "rbf",
        *,
        gamma: GammaLike = None,
        degree: float = 3,
        coef0: float = 1,
        scaling: ScalingLike = "auto",
        center: bool = True,
        normalize: str | None = "trace",
        approximation: str | int | None = "auto",
        n_components: int = 128,
        landmarks: ModalitiesLike | None = None,
        temp_folder: str | PathLike[str] | None = None,
        modalities: ColumnSpecLike = None,
        n_jobs: int | None = None,
        random_state: RandomStateLike = None,
    ) -> None:
        self.kernel = kernel
        self.gamma = gamma
        self.degree = degree
        self.coef0 = coef0
        self.scaling = scaling
        self.center = center
        self.normalize = normalize
        self.approximation = approximation
        self.n_components = n_components
        self.landmarks = landmarks
        self.temp_folder = temp_folder
        self.modalities = modalities
        self.n_jobs = n_jobs
        self.random_state = random_state

    @fit_context(prefer_skip_nested_validation=True)
    @threads_of_n_jobs
    def fit(self, X: ModalitiesLike, y: object = None) -> Self:
        """Fit bandwidths, means and sizes, and store the samples of later kernels.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The data; see the user guide on input.
        y : object, default=None
            Not used.

        Returns
        -------
        self
            The fitted transformer.
        """
        self._fit_frame(self._validate(X, reset=True))
        return self

    @fit_context(prefer_skip_nested_validation=True)
    @threads_of_n_jobs
    def fit_transform(self, X: ModalitiesLike, y: object = None) -> Any:
        """Fit, and return the kernels of the samples, which are computed once.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The data.
        y : object, default=None
            Not used.

        Returns
        -------
        ndarray or Modalities
            The same as `transform` returns.
        """
        frame = self._validate(X, reset=True)
        grams = self._fit_frame(frame)
        return self._as_output(self._compute(frame) if grams is None else grams, X)

    @threads_of_n_jobs
    def transform(self, X: ModalitiesLike) -> Any:
        """Compute the kernels of samples with those of `fit`, or explicit features.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The data.

        Returns
        -------
        ndarray or Modalities, of blocks of shape (n_samples, n_train)
            One block per kernel: in Modalities if X had modalities, else concatenated.
            Explicit features have at most `n_components` columns.
        """
        frame = self._validate(X, reset=False)
        itemsize = max(block.dtype.itemsize for block in frame.blocks)
        check_fits(
            len(frame) * sum(self._widths) * itemsize,
            f"{len(self._widths)} kernel(s) of {len(frame)} samples with those of fit",
            "transform fewer samples at a time",
        )
        return self._as_output(self._compute(frame), X)

    def _fit_frame(
        self,
        frame: Modalities,
        rows: np.ndarray | None = None,
        sample_weight: np.ndarray | None = None,
    ) -> list[np.ndarray] | None:
        """Fit to checked samples, or to some rows; return Gram matrices as new arrays.

        Parameters are those of `_fit_rows`.
        """
        rows = np.arange(len(frame)) if rows is None else rows
        grams = self._fit_rows(frame, rows, sample_weight, copies_precomputed=True)
        # each is an array, since none is left where it was
        return cast("list[np.ndarray] | None", grams)

    def _fit_grams(
        self,
        frame: Modalities,
        sample_weight: np.ndarray | None,
        n_sums: int,
        *,
        copies_precomputed: bool,
    ) -> list[Gram] | None:
        """Fit to checked samples, and return their Gram matrices.

        `n_sums` is the number of further matrices of this size that the caller makes,
        for the check of memory. With explicit features the result is None: `_compute`
        returns those, of some samples at a time.
        """
        names = frame.names
        specs = expand_kernels(self.kernel, self.gamma, names)
        landmarks = self._validate_landmarks(specs, names)
        self.approximation_ = self._resolve_approximation(len(frame), specs)
        options = self._options(names, copies_precomputed, landmarks)
        requested = self._requested_scalings(specs, names)
        self._check_memory(frame, specs, n_sums, copies_precomputed)
        resolved = resolve_scalings(frame, requested, sample_weight)
        scalings = []
        for v, (name, scaling) in enumerate(zip(names, resolved, strict=True)):
            observed = frame.observed[:, v]
            block = of_samples(frame.blocks[v], observed)
            weight = None if sample_weight is None else sample_weight[observed]
            with errors_name(name):
                scalings.append(fit_block_scaling(block, scaling, weight))
        self.scaling_ = {n: s.name for n, s in zip(names, scalings, strict=True)}
        self._factors = missing_factors(frame.observed)
        # one seed per kernel, so that threads do not share a generator
        rng = check_random_state(self.random_state)
        seeds = rng.randint(np.iinfo(np.int32).max, size=len(specs)).tolist()
        # threads share the data, and linear algebra releases the interpreter lock
        calls = [
            partial(
                fit_kernel,
                spec,
                frame,
                scalings[spec.modality],
                options,
                seed,
                sample_weight,
                self._factors,
            )
            for spec, seed in zip(specs, seeds, strict=True)
        ]
        results = _in_threads(calls, self.n_jobs)
        self._fitted = [fitted for fitted, _ in results]
        self.kernel_names_ = np.array([spec.name for spec in specs], dtype=object)
        self.kernel_modalities_ = np.array([spec.modality for spec in specs])
        # None becomes NaN
        self.gamma_ = np.array([fitted.gamma for fitted in self._fitted], np.float64)
        self._widths = [len(frame)] * len(specs)
        if self.approximation_ is None:
            return [gram for _, gram in results if gram is not None]
        self._widths = [f.features.n_components for f in self._fitted if f.features]
        return None

    def _validate_landmarks(
        self, specs: Sequence[KernelSpec], names: Sequence[str]
    ) -> Modalities | None:
        """Check the landmarks that are given, as later samples."""
        if self.landmarks is None:
            return None
        of_kernels = [names[spec.modality] for spec in specs]
        check_landmark_options(
            self.approximation, [spec.kernel for spec in specs], of_kernels
        )
        with errors_about("landmarks"):
            return self._validate(self.landmarks, reset=False)

    def _options(
        self,
        names: tuple[str, ...],
        copies_precomputed: bool,
        landmarks: Modalities | None,
    ) -> KernelOptions:
        return KernelOptions(
            modalities=names,
            degree=self.degree,
            coef0=self.coef0,
            center=self.center,
            normalize=self.normalize,
            approximation=self.approximation_,
            n_components=self.n_components,
            landmarks=landmarks,
            temp_folder=self.temp_folder,
            copies_precomputed=copies_precomputed,
            n_jobs=self.n_jobs,
        )

    def _resolve_approximation(
        self, n_samples: int, specs: Sequence[KernelSpec]
    ) -> str | None:
        limit = self.approximation
        if isinstance(limit, str) and limit == "auto":
            limit = MAX_EXACT_SAMPLES if self.landmarks is None else "nystroem"
        if limit is None or isinstance(limit, str):
            return limit
        # precomputed kernels are exact already
        is_exact = n_samples <= limit or all(s.kernel == "precomputed" for s in specs)
        return None if is_exact else "nystroem"

    def _check_memory(
        self,
        frame: Modalities,
        specs: Sequence[KernelSpec],
        n_sums: int,
        copies_precomputed: bool,
    ) -> None:
        """Check that exact kernels fit into memory, or into the folder."""
        if self.approximation_ is not None:
            return
        sizes = [frame.blocks[spec.modality].dtype.itemsize for spec in specs]
        kernel_bytes = len(frame) ** 2 * sum(
            size
            for size, spec in zip(sizes, specs, strict=True)
            if copies_precomputed or spec.kernel != "precomputed"
        )
        sum_bytes = len(frame) ** 2 * max(sizes) * n_sums
        what = f"{len(specs)} exact kernel(s) of {len(frame)} samples"
        remedy = "set approximation='nystroem'"
        if self.temp_folder is not None:
            check_disk_space(self.temp_folder, kernel_bytes, what)
            check_fits(sum_bytes, f"the sum of {what}", remedy)
            return
        remedy += ", or keep the kernels in a temp_folder"
        check_fits(kernel_bytes + sum_bytes, what, remedy)

    def _fit_rows(
        self,
        frame: Modalities,
        rows: np.ndarray,
        sample_weight: np.ndarray | None,
        n_sums: int = 0,
        *,
        copies_precomputed: bool = False,
    ) -> list[Gram] | None:
        """Fit to some rows of checked samples, as if the others were left out.

        Gram matrices of precomputed kernels are not copied where that is possible,
        unless `copies_precomputed`. Later precomputed kernels still have a column for
        each sample of the frame.
        """
        if len(rows) == len(frame):
            return self._fit_grams(
                frame, sample_weight, n_sums, copies_precomputed=copies_precomputed
            )
        blocks = list(frame[rows].blocks)
        for spec in expand_kernels(self.kernel, self.gamma, frame.names):
            if spec.kernel == "precomputed":
                # so that the kernel of these rows is square
                blocks[spec.modality] = blocks[spec.modality][:, rows]
        some = Modalities._of(frame.names, tuple(blocks), frame.observed[rows])
        grams = self._fit_grams(
            some, sample_weight, n_sums, copies_precomputed=copies_precomputed
        )
        self._fitted = [
            replace(fitted, columns=rows[fitted.observed])
            if fitted.function.is_precomputed
            else fitted
            for fitted in self._fitted
        ]
        return grams

    def _compute(
        self, frame: Modalities, positions: Sequence[int] | None = None
    ) -> list[np.ndarray]:
        """Compute kernels or features of checked samples.

        `positions` are those of the kernels that are computed; None is all of them.
        """
        factors = missing_factors(frame.observed)
        chosen = range(len(self._fitted)) if positions is None else positions
        calls = [partial(self._compute_kernel, p, frame, factors) for p in chosen]
        return _in_threads(calls, self.n_jobs)

    def _compute_kernel(
        self, p: int, frame: Modalities, factors: np.ndarray | None
    ) -> np.ndarray:
        fitted = self._fitted[p]
        v = fitted.modality
        observed = frame.observed[:, v]
        if not observed.any():  # kernels refuse blocks without rows
            return np.zeros((len(frame), self._widths[p]))
        with errors_name(frame.names[v]):
            values = fitted.compute(of_samples(frame.blocks[v], observed))
        if fitted.features is not None:
            return fill_missing(values, observed, None, factors, None)
        return fill_missing(values, observed, fitted.observed, factors, self._factors)

    def _requested_scalings(
        self, specs: Sequence[KernelSpec], names: Sequence[str]
    ) -> list[str | None]:
        """Return the scaling of every modality by the parameters.

        Precomputed kernels are not scaled, and chi2 only if `scaling` is not 'auto'.
        That of sequences is 'standard', per feature over all frames.
        """
        scalings = by_modality(self.scaling, names, "scaling", "auto")
        precomputed = {s.modality for s in specs if s.kernel == "precomputed"}
        chi2 = {s.modality for s in specs if s.kernel == "chi2"}
        for v in precomputed | chi2:
            if scalings[v] == "auto" or v in precomputed:
                scalings[v] = None
        for spec in specs:
            if is_sequence_kernel(spec.kernel) and scalings[spec.modality] == "auto":
                scalings[spec.modality] = "standard"
        return scalings

    def _as_output(self, blocks: list[np.ndarray], like: ModalitiesLike) -> Any:
        names = tuple(self.kernel_names_)
        return self._output(Modalities._of(names, tuple(blocks), None), like=like)

    def _names_out(self) -> list[np.ndarray]:
        prefix = type(self).__name__.lower()
        is_unnamed = tuple(self.kernel_names_) == tuple(default_names(1))
        return [
            np.array(
                [
                    f"{prefix}{j}" if is_unnamed else f"{name}{SEPARATOR}{prefix}{j}"
                    for j in range(width)
                ],
                dtype=object,
            )
            for name, width in zip(self.kernel_names_, self._widths, strict=True)
        ]

    def __modality_tags__(self) -> ModalityTags:
        return replace(super().__modality_tags__(), column_per_sample=True)


def _in_threads(
    calls: Sequence[Callable[[], ResultT]], n_jobs: int | None
) -> list[ResultT]:
    """Return the results of calls, `n_jobs` at a time."""
    # joblib takes a millisecond, which kernels of a thousand samples do not
    if effective_n_jobs(n_jobs) == 1:
        return [call() for call in calls]
    parallel = Parallel(n_jobs=n_jobs, prefer="threads")
    return parallel(delayed(call)() for call in calls)


def expand_kernels(
    kernel: KernelLike, gamma: GammaLike, names: Sequence[str]
) -> list[KernelSpec]:
    """List the kernels that the parameters specify, modality by modality.

    Parameters
    ----------
    kernel : str, callable, list or dict
        The parameter `kernel` of an estimator.
    gamma : float, array-like of float, dict or None
        The parameter `gamma` of an estimator.
    names : sequence of str
        Names of the modalities.

    Returns
    -------
    list of KernelSpec
        The kernels, each with every gamma if it has one.

    Raises
    ------
    ValueError
        If a kernel or a gamma is invalid, by the name of its modality.
    """
    specs = []
    kernels = by_modality(kernel, names, "kernel", "rbf")
    gammas = by_modality(gamma, names, "gamma")
    for v, name in enumerate(names):
        pairs = _kernels_of_modality(kernels[v], gammas[v], name)
        for k, (own_kernel, own_gamma) in enumerate(pairs):
            own_name = name if len(pairs) == 1 else f"{name}-{k}"
            specs.append(KernelSpec(own_name, v, own_kernel, own_gamma))
    return specs


def _kernels_of_modality(
    kernel: Kernel | Sequence[Kernel],
    gamma: float | Sequence[float | None] | np.ndarray | None,
    name: str,
) -> list[tuple[Kernel, float | None]]:
    """Pair the kernels of one modality with each of their values of gamma."""
    kernels: Sequence[Any] = kernel if isinstance(kernel, list | tuple) else [kernel]
    if isinstance(gamma, np.ndarray):
        gamma = np.atleast_1d(gamma).tolist()
    gammas: Sequence[Any] = gamma if isinstance(gamma, list | tuple) else [gamma]
    if len(kernels) == 0 or len(gammas) == 0:
        raise ValueError(f"modality {name!r}: the list of its kernels is empty")
    for own in kernels:
        is_name = isinstance(own, str) and own in KERNEL_NAMES
        if not (callable(own) or is_name or is_sequence_kernel(own)):
            raise ValueError(
                f"modality {name!r}: kernel {own!r} is neither one of "
                f"{(*KERNEL_NAMES, *DTW_KERNELS)} nor callable or a DTWKernel"
            )
    if "precomputed" in kernels and len(kernels) > 1:
        raise ValueError(
            f"modality {name!r}: 'precomputed' is the only kernel of its modality"
        )
    for value in gammas:
        if value is None:
            continue
        if not (is_real(value) and 0 < value <= sys.float_info.max):
            raise ValueError(
                f"modality {name!r}: gamma is {value!r}; it must be a positive number"
            )
    return [
        (own, value)
        for own in kernels
        for value in (gammas if own in (*KERNELS_WITH_GAMMA, *DTW_KERNELS) else [None])
    ]
