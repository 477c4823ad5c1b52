"""Modalities as kernels: what the estimators of this room learn from."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from numbers import Integral, Real
from os import PathLike
from typing import Any, Self

import numpy as np
from scipy import sparse
from sklearn.base import BaseEstimator
from sklearn.utils import assert_all_finite, check_random_state
from sklearn.utils.parallel import Parallel, delayed

from mmfusion._blocks import of_samples
from mmfusion._columns import SEPARATOR, default_names
from mmfusion._memory import check_fits
from mmfusion._numbers import is_real
from mmfusion._options import by_modality, errors_name
from mmfusion._scaling import SCALINGS, Scaling, fit_scaling, resolve_scalings
from mmfusion._sklearn_compat import INTEGER, Interval, StrOptions, fit_context
from mmfusion._validation import ModalityTags, is_multimodal, refuse_empty_samples
from mmfusion.base import ModalityMixin, ModalityTransformerMixin
from mmfusion.mkl._feature_maps import (
    APPROXIMATIONS,
    FeatureMap,
    fit_feature_map,
    make_raw_map,
)
from mmfusion.mkl._kernels import (
    KERNELS,
    NORMALIZATIONS,
    WITH_GAMMA,
    Kernel,
    KernelScaling,
    blank_table,
    check_finite,
    check_room,
    check_training_kernel,
    condition,
    default_gamma,
    fit_kernel_scaling,
    gamma_in_units,
    kernel_values,
    self_values,
    training_values,
)
from mmfusion.modalities import Modalities

KERNEL_CONSTRAINTS: dict[str, list[Any]] = {
    "kernel": [StrOptions(set(KERNELS)), callable, list, tuple, dict],
    "gamma": [Interval(Real, 0, None, closed="neither"), "array-like", dict, None],
    "degree": [Interval(Real, 0, None, closed="left")],
    "coef0": [Interval(Real, None, None, closed="neither")],
    "scaling": [StrOptions(set(SCALINGS)), None, dict],
    "normalize": [StrOptions(set(NORMALIZATIONS)), None],
    "approximation": [StrOptions({"auto", *APPROXIMATIONS}), None],
    "max_exact_samples": [Interval(Integral, 1, None, closed="left")],
    "n_components": [Interval(Integral, 1, None, closed="left")],
    "temp_folder": [str, PathLike, None],
    "modalities": ["array-like", str, dict, INTEGER, None],
    "n_jobs": [INTEGER, None],
    "random_state": ["random_state"],
}


class KernelInputMixin(ModalityMixin):
    """An estimator with the parameter ``kernel``, whose X may be made of kernels.

    With ``kernel="precomputed"`` one array of shape (n_samples, n_samples, n_kernels)
    is kernels side by side: the form that scikit-learn splits on rows and columns.

    An estimator has the parameters of `ModalityKernels` but ``center`` and, if it
    likes, ``normalize``. In `fit` it asks for the kernels once::

        frame = self._validate(X, reset=True)
        self.kernels_ = self._make_kernels(rng, center=True, normalize="trace")
        tables = self.kernels_._fit_frame(frame)

    ``tables`` is a list with an (n, n) array per kernel (new: it may be changed), or
    None where ``self.kernels_.approximation_`` tells that features are explicit:
    ``self.kernels_._tables(frame)`` gives those, of ``frame[rows]`` those of some rows.
    Later ``self.kernels_._tables(frame, which)`` gives the tables of new samples,
    (n, n_train) or features, of the kernels whose positions are in ``which``.
    ``self._tell_kernels(self.kernels_, weights)`` sets what is told of them.
    """

    kernel: Any
    gamma: Any
    degree: float
    coef0: float
    scaling: Any
    approximation: str | None
    max_exact_samples: int
    n_components: int
    temp_folder: Any
    n_jobs: int | None

    def _make_kernels(
        self, random_state: Any, *, center: bool, normalize: str | None
    ) -> ModalityKernels:
        return ModalityKernels(
            self.kernel,
            gamma=self.gamma,
            degree=self.degree,
            coef0=self.coef0,
            scaling=self.scaling,
            center=center,
            normalize=normalize,
            approximation=self.approximation,
            max_exact_samples=self.max_exact_samples,
            n_components=self.n_components,
            temp_folder=self.temp_folder,
            n_jobs=self.n_jobs,
            random_state=random_state,
        )

    def _tell_kernels(self, kernels: ModalityKernels, weights: np.ndarray) -> None:
        """Set what an estimator tells of the kernels that it has fitted."""
        self.kernel_weights_ = weights
        self.modality_weights_ = np.bincount(
            kernels.kernel_modalities_,
            weights=weights,
            minlength=len(self._layout.names),
        )
        for name in (
            "kernel_names_",
            "kernel_modalities_",
            "gamma_",
            "scales_",
            "approximation_",
        ):
            setattr(self, name, getattr(kernels, name))

    def _validate(self, X: Any, *, reset: bool, raw: bool = False) -> Modalities:
        if self._is_precomputed:
            if isinstance(X, np.ndarray) and X.ndim == 3:
                if reset and X.shape[0] != X.shape[1]:
                    raise ValueError(
                        f"X has shape {X.shape}; kernels side by side are an array of "
                        "shape (n_samples, n_samples, n_kernels), as np.dstack makes it"
                    )
                if X.shape[2] == 0:
                    raise ValueError(f"X has shape {X.shape}: it holds no kernel")
                X = Modalities([X[:, :, p] for p in range(X.shape[2])])
            elif not is_multimodal(X):
                X = X.toarray() if sparse.issparse(X) else X
                assert_all_finite(X, input_name="X")  # before columns are counted
        frame = super()._validate(X, reset=reset, raw=raw)
        refuse_empty_samples(frame)
        return frame

    @property
    def _is_precomputed(self) -> bool:
        return isinstance(self.kernel, str) and self.kernel == "precomputed"

    def _holds_kernel(self, modality: str) -> bool:
        kernel = self.kernel
        kernel = kernel.get(modality) if isinstance(kernel, Mapping) else kernel
        kernels = kernel if isinstance(kernel, list | tuple) else [kernel]
        return any(isinstance(k, str) and k == "precomputed" for k in kernels)

    def __modality_tags__(self) -> ModalityTags:
        return ModalityTags(missing=True, sparse=True, holds_kernel=self._holds_kernel)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.pairwise = self._is_precomputed
        if self._is_precomputed:
            _refuse_split_of_frame(self)
        return tags


def _refuse_split_of_frame(estimator: Any) -> None:
    """Name the remedy where scikit-learn is about to split kernels in a frame.

    It splits rows and columns of arrays only, and would say of a frame, which it does
    not show to the estimator, that it should be a square matrix.
    """
    caller = sys._getframe(1)
    while caller is not None and caller.f_code.co_name != "_safe_split":
        caller = caller.f_back  # type: ignore[assignment]
    if caller is None:
        return
    split, X = caller.f_locals.get("estimator"), caller.f_locals.get("X")
    is_own = split is estimator or getattr(split, "estimator", None) is estimator
    if is_own and isinstance(X, Modalities):
        raise ValueError(
            f"kernels in Modalities {list(X.names)} cannot be split in rows and "
            "columns; for a search or cross-validation give them as one array of shape "
            "(n_samples, n_samples, n_kernels), np.dstack(X.blocks)"
        )


@dataclass(frozen=True)
class _Asked:
    """One kernel that was asked for."""

    name: str
    modality: int
    kernel: Kernel
    gamma: float | None


@dataclass(frozen=True)
class _Fitted:
    """One kernel after `fit`: exact, or by explicit features.

    The options hold gamma in the unit of the scaling, `gamma` is as the user knows it.
    Of a precomputed kernel the `columns` are read; None is those of samples that have
    the modality.
    """

    modality: int
    options: tuple[Kernel, float | None, float, float]
    present: np.ndarray
    scaling: Scaling
    gamma: float | None = None
    training: Any = None
    values: KernelScaling = field(default_factory=KernelScaling)
    own: float | None = None
    features: FeatureMap | None = None
    columns: np.ndarray | None = None

    def table(self, block: Any) -> np.ndarray:
        """Kernel values of rows with those of `fit`, or their features."""
        kernel = self.options[0]
        if kernel == "precomputed":
            block = block.toarray() if sparse.issparse(block) else block
            block = block[:, self.present if self.columns is None else self.columns]
        if self.features is not None:
            table = self.features.apply(block)
            check_finite(table, kernel)
            return table
        own = None
        if kernel == "precomputed":
            if self.values.needs_own:
                own = self._own_of_precomputed(len(block))
            K = np.array(block)
        else:
            rows = self.scaling.apply(block)
            if self.values.needs_own:
                own = self_values(kernel, rows, *self.options[1:])
            K = kernel_values(kernel, rows, self.training, *self.options[1:])
            check_finite(K, kernel)
        with np.errstate(over="ignore", invalid="ignore"):
            K = self.values.apply(K, own)
        check_finite(K, kernel)
        return K

    def _own_of_precomputed(self, n_rows: int) -> np.ndarray:
        if self.own is None:
            raise ValueError(
                "normalize='cosine' needs the value of every new sample with itself, "
                "which a precomputed kernel does not tell unless it is the same for "
                "all; take normalize='trace', or give kernels with a diagonal of 1"
            )
        return np.full(n_rows, self.own)


class ModalityKernels(KernelInputMixin, ModalityTransformerMixin, BaseEstimator):
    """Make one kernel of every modality, or several, centred and of one size.

    The result has a table per kernel, with a column for each sample of `fit`; or, for
    more samples than `max_exact_samples`, explicit features whose inner products are
    nearly the kernel's values, so that nothing of n_samples x n_samples is made.

    Parameters
    ----------
    kernel : {'rbf', 'linear', 'poly', 'cosine', 'laplacian', 'chi2', 'precomputed'}, \
callable, list or dict, default='rbf'
        The kernel of all modalities, a list of several for each, or any of these by
        modality name ('rbf' where a dict does not name it). A callable takes two tables
        of rows and returns the values of all pairs, real and finite, as
        ``sklearn.metrics.pairwise.rbf_kernel``.
        'precomputed' modalities hold kernel values: square in `fit`, later
        (n_samples, n_train).
    gamma : float, array-like of float or dict, default=None
        Of 'rbf', 'poly', 'laplacian' and 'chi2', or by modality name; a list makes one
        kernel with each value. None follows the data: for 'rbf' ``1 / (2 m^2)`` with
        the median distance m of two samples, see Notes.
    degree : float, default=3
        Of 'poly'.
    coef0 : float, default=1
        Of 'poly'.
    scaling : {'auto', 'block', 'standard', 'l2'} or None or dict, default='auto'
        How the features of a modality are scaled first; see `EarlyFusion`. 'auto'
        leaves 'precomputed' and 'chi2' modalities as they are.
    center : bool, default=True
        Whether samples are centred in feature space, by the means of `fit`.
    normalize : {'trace', 'cosine'} or None, default='trace'
        'trace': the diagonal of each kernel is 1 on average over `fit`. 'cosine':
        it is 1 for every sample.
    approximation : {'auto', 'nystroem', 'fourier'} or None, default='auto'
        None gives exact kernels. 'nystroem' gives features by landmarks, found by
        k-means where a modality is dense, for every kernel; 'fourier' random cosines,
        for 'rbf'. 'auto' is None up to `max_exact_samples` and for precomputed kernels,
        'nystroem' beyond.
    max_exact_samples : int, default=5000
        Maximum number of samples of `fit` for which 'auto' gives exact kernels.
    n_components : int, default=128
        Maximum number of explicit features of a kernel. A linear or cosine kernel of a
        modality that has no more features than these is exact.
    temp_folder : str or path-like, default=None
        Folder, which must exist, for the exact kernels of `fit_transform`: they are
        memory-mapped files without a name, gone with the last reference to them. None
        keeps them in memory.
    modalities : int, list of int, str or dict, default=None
        Column spec that splits a plain 2-D X; None takes it as one modality. See
        :meth:`Modalities.from_table`.
    n_jobs : int, default=None
        Kernels that are made at a time, in threads. None is 1 unless in a joblib
        context, -1 all processors.
    random_state : int, RandomState instance or None, default=None
        For landmarks and random features.

    Attributes
    ----------
    kernel_names_ : ndarray of str of shape (n_kernels,)
        The modality; ``<modality>-<k>`` where it has several kernels.
    kernel_modalities_ : ndarray of int of shape (n_kernels,)
        Position of the modality of each kernel.
    gamma_ : ndarray of float64 of shape (n_kernels,)
        Of each kernel; NaN where it has none.
    scales_ : dict of str to str
        The scaling of each modality; 'auto' is resolved.
    approximation_ : {'nystroem', 'fourier'} or None
        What is given; 'auto' is resolved.
    n_modalities_in_ : int
        Number of modalities seen in `fit`.
    modality_names_in_ : ndarray of str of shape (n_modalities,)
        Their names.
    n_features_per_modality_in_ : ndarray of int of shape (n_modalities,)
        Their numbers of features.
    n_features_in_ : int
        Number of features in all.
    feature_names_in_ : ndarray of str of shape (`n_features_in_`,)
        Names ``<modality>__<feature>``, if the input had names.

    Raises
    ------
    ValueError
        If a precomputed kernel is not square, symmetric and finite in `fit`, a sample
        lacks every modality, a kernel refuses the values (chi2: negative ones), or
        exact kernels do not fit into memory.
    OSError
        If `temp_folder` has no room for the kernels.

    Warns
    -----
    UserWarning
        If a precomputed kernel, or that of a callable, is not positive semi-definite.

    See Also
    --------
    MKLClusterer : Clusters by a weighted sum of such kernels.
    mmfusion.alignment.DTWKernel : Kernels of sequences; ``combine=None`` gives what
        ``kernel="precomputed"`` takes.

    Notes
    -----
    *Bandwidth.* The median rule takes ``1 / (2 m^2)`` for 'rbf', where m is the median
    distance; 1 over the median distance for 'laplacian' and 'chi2'; 1 over the mean
    squared length for 'poly'. Medians are those of at most 1,000 samples.

    *Missing modalities.* The values, means and sizes of a modality are those of the
    samples that have it. A sample without it lies at the modality's mean: its values
    are 0, before and after centring. What it has is stretched by the root of
    ``n_modalities / (number of modalities it has)``, in rows and columns, so that its
    length in the sum of all kernels is on average that of a complete sample. Kernels
    stay positive semi-definite by this.

    Rows of a precomputed kernel are NaN for samples that lack the modality; their
    columns are not read, and may be 0.

    *Cross-validation of precomputed kernels.* scikit-learn takes rows and columns apart
    where the tag ``pairwise`` says so, which it does for ``kernel="precomputed"``, and
    then insists on one square array. So give one kernel as (n_samples, n_samples) and
    several as one array (n_samples, n_samples, n_kernels), such as
    ``np.dstack([K_audio, K_video])``; their names are ``modality_0`` and so on.
    `Modalities` of kernels work in `fit` and `predict`, but a search cannot split
    their columns; ``np.dstack(X.blocks)`` is the array that it can. Where kernels are
    made inside a `Pipeline` there is nothing to split but samples.

    *Explicit features* are centred and sized by at most 16,384 samples of `fit`.

    A modality that does not vary, but for rounding, has a kernel of 0. Without scaling,
    values are shifted and divided before they are compared where the kernel is the same
    by it, so that neither an offset nor their magnitude takes digits.

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
        kernel: Any = "rbf",
        *,
        gamma: float | Sequence[float] | Mapping[str, Any] | None = None,
        degree: float = 3,
        coef0: float = 1,
        scaling: Any = "auto",
        center: bool = True,
        normalize: str | None = "trace",
        approximation: str | None = "auto",
        max_exact_samples: int = 5000,
        n_components: int = 128,
        temp_folder: str | PathLike[str] | None = None,
        modalities: Any = None,
        n_jobs: int | None = None,
        random_state: Any = None,
    ) -> None:
        self.kernel = kernel
        self.gamma = gamma
        self.degree = degree
        self.coef0 = coef0
        self.scaling = scaling
        self.center = center
        self.normalize = normalize
        self.approximation = approximation
        self.max_exact_samples = max_exact_samples
        self.n_components = n_components
        self.temp_folder = temp_folder
        self.modalities = modalities
        self.n_jobs = n_jobs
        self.random_state = random_state

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any = None) -> Self:
        """Learn bandwidths, means and sizes, and keep what later rows are compared to.

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
    def fit_transform(self, X: Any, y: Any = None) -> Any:
        """Fit, and give the kernels of the samples with each other, made once.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The data.
        y : object, default=None
            Not used.

        Returns
        -------
        ndarray or Modalities
            As `transform` gives it.
        """
        frame = self._validate(X, reset=True)
        tables = self._fit_frame(frame)
        return self._given_out(self._tables(frame) if tables is None else tables, X)

    def transform(self, X: Any) -> Any:
        """Compare samples with those of `fit`, or give their features.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The data.

        Returns
        -------
        ndarray or Modalities, of tables of shape (n_samples, n_train)
            One table per kernel: in Modalities if X had modalities, else side by side.
            Explicit features have at most `n_components` columns.
        """
        frame = self._validate(X, reset=False)
        itemsize = max(block.dtype.itemsize for block in frame.blocks)
        check_fits(
            len(frame) * sum(self._widths) * itemsize,
            f"{len(self._widths)} kernel(s) of {len(frame)} samples with those of fit",
            "transform fewer samples at a time",
        )
        return self._given_out(self._tables(frame), X)

    def _fit_frame(
        self,
        frame: Modalities,
        sample_weight: np.ndarray | None = None,
        n_sums: int = 0,
    ) -> list[np.ndarray] | None:
        """Fit to a frame that has been checked, whose samples may have weights.

        `n_sums` is how many more matrices of the size of a kernel the caller makes.
        The kernels of the samples with each other, new arrays; None where features
        are explicit, which `_tables` gives, of all rows or of some at a time.
        """
        names = frame.names
        asked = self._asked(names)
        self.approximation_ = self.approximation
        if self.approximation == "auto":
            is_small = len(frame) <= self.max_exact_samples
            is_made = all(one.kernel == "precomputed" for one in asked)
            self.approximation_ = None if is_small or is_made else "nystroem"
        if self.approximation_ is None:
            self._check_fits(frame, asked, n_sums)
        scalings = self._fit_scalings(frame, asked, sample_weight)
        self.scales_ = {n: s.how for n, s in zip(names, scalings, strict=True)}
        self._stretch = _stretch(frame.observed)
        rng = check_random_state(self.random_state)
        seeds = rng.randint(np.iinfo(np.int32).max, size=len(asked))
        parts = Parallel(n_jobs=self.n_jobs, prefer="threads")(
            delayed(self._fit_kernel)(
                one, frame, scalings[one.modality], int(seed), sample_weight
            )
            for one, seed in zip(asked, seeds, strict=True)
        )
        self._fitted = [fitted for fitted, _ in parts]
        self.kernel_names_ = np.array([one.name for one in asked], dtype=object)
        self.kernel_modalities_ = np.array([one.modality for one in asked])
        gammas = [fitted.gamma for fitted in self._fitted]
        self.gamma_ = np.array([np.nan if g is None else g for g in gammas])
        tables = [table for _, table in parts]
        self._widths = [len(frame)] * len(asked)
        if self.approximation_ is None:
            return tables
        self._widths = [f.features.n_components for f in self._fitted if f.features]
        return None

    def _check_fits(
        self, frame: Modalities, asked: Sequence[_Asked], n_sums: int
    ) -> None:
        """Refuse exact kernels that do not fit into memory, or into the folder."""
        sizes = [frame.blocks[one.modality].dtype.itemsize for one in asked]
        of_kernels = len(frame) ** 2 * sum(sizes)
        of_sums = len(frame) ** 2 * max(sizes) * n_sums
        what = f"{len(asked)} exact kernel(s) of {len(frame)} samples"
        if self.temp_folder is not None:
            check_room(self.temp_folder, of_kernels, what)
            check_fits(of_sums, f"the sum of {what}", "take approximation='nystroem'")
            return
        check_fits(
            of_kernels + of_sums,
            what,
            "take approximation='nystroem', or keep the kernels in a temp_folder",
        )

    def _fit_rows(
        self,
        frame: Modalities,
        rows: np.ndarray,
        sample_weight: np.ndarray | None,
        n_sums: int,
    ) -> list[np.ndarray] | None:
        """Fit to some rows of a frame, as if the others were left out.

        Columns of precomputed kernels are read by their positions in the whole frame.
        """
        if len(rows) == len(frame):
            return self._fit_frame(frame, sample_weight, n_sums)
        blocks = list(frame[rows].blocks)
        for asked in self._asked(frame.names):
            if asked.kernel == "precomputed":
                blocks[asked.modality] = blocks[asked.modality][:, rows]
        some = Modalities._of(frame.names, tuple(blocks), frame.observed[rows])
        tables = self._fit_frame(some, sample_weight, n_sums)
        self._fitted = [
            replace(fitted, columns=rows[fitted.present])
            if fitted.options[0] == "precomputed"
            else fitted
            for fitted in self._fitted
        ]
        return tables

    def _tables(
        self, frame: Modalities, which: Sequence[int] | None = None
    ) -> list[np.ndarray]:
        """Tables of a checked frame, of all kernels or of those asked for."""
        stretch = _stretch(frame.observed)
        chosen = range(len(self._fitted)) if which is None else which
        return Parallel(n_jobs=self.n_jobs, prefer="threads")(
            delayed(self._table)(p, frame, stretch) for p in chosen
        )

    def _table(
        self, p: int, frame: Modalities, stretch: np.ndarray | None
    ) -> np.ndarray:
        fitted = self._fitted[p]
        v = fitted.modality
        present = frame.observed[:, v]
        if not present.any():
            return np.zeros((len(frame), self._widths[p]))
        with errors_name(frame.names[v]):
            table = fitted.table(of_samples(frame.blocks[v], present))
        columns = fitted.present if fitted.features is None else None
        of_columns = self._stretch if fitted.features is None else None
        return _spread(table, present, columns, stretch, of_columns)

    def _fit_kernel(
        self,
        asked: _Asked,
        frame: Modalities,
        scaling: Scaling,
        seed: int,
        sample_weight: np.ndarray | None,
    ) -> tuple[_Fitted, np.ndarray | None]:
        name = frame.names[asked.modality]
        present = frame.observed[:, asked.modality]
        block = of_samples(frame.blocks[asked.modality], present)
        if asked.kernel == "precomputed":
            block = _own_columns(block, present, name)
        weight = None if sample_weight is None else sample_weight[present]
        with errors_name(name):
            return self._fit_values(asked, block, present, scaling, seed, weight)

    def _fit_values(
        self,
        asked: _Asked,
        block: Any,
        present: np.ndarray,
        scaling: Scaling,
        seed: int,
        sample_weight: np.ndarray | None,
    ) -> tuple[_Fitted, np.ndarray | None]:
        kernel, name = asked.kernel, asked.name
        scaling = condition(
            scaling,
            kernel,
            block,
            sample_weight,
            center=self.center,
            normalize=self.normalize,
        )
        gamma, own_gamma = self._gammas(asked, block, scaling, sample_weight)
        options = (kernel, own_gamma, self.degree, self.coef0)
        fitted = _Fitted(asked.modality, options, present, scaling, gamma)
        if self.approximation_ is not None:
            if kernel == "precomputed":
                check_training_kernel(block, name)
            raw = make_raw_map(
                self.approximation_,
                block,
                scaling,
                options,
                self.n_components,
                check_random_state(seed),
                name,
                sample_weight,
            )
            features = fit_feature_map(
                block,
                raw,
                center=self.center,
                normalize=self.normalize,
                sample_weight=sample_weight,
            )
            return replace(fitted, features=features), None
        is_precomputed = kernel == "precomputed"
        rows = block if is_precomputed else scaling.apply(block)
        K = training_values(kernel, rows, *options[1:], folder=self.temp_folder)
        check_finite(K, kernel)
        own = _constant(K.diagonal()) if is_precomputed else None
        if is_precomputed or callable(kernel):
            check_training_kernel(K, name)
        with np.errstate(over="ignore", invalid="ignore"):
            values = fit_kernel_scaling(
                K,
                center=self.center,
                normalize=self.normalize,
                sample_weight=sample_weight,
            )
            table = values.apply(K)
        check_finite(table, kernel)
        stretch, folder = self._stretch, self.temp_folder
        training = None if is_precomputed else rows
        fitted = replace(fitted, training=training, values=values, own=own)
        return fitted, _spread(table, present, present, stretch, stretch, folder)

    def _gammas(
        self,
        asked: _Asked,
        block: Any,
        scaling: Scaling,
        sample_weight: np.ndarray | None,
    ) -> tuple[float | None, float | None]:
        """Gamma as the user knows it, and in the unit of the scaling."""
        if asked.kernel not in WITH_GAMMA:
            return None, None
        unit = scaling.spread if scaling.how is None else 1.0
        if asked.gamma is not None:
            gamma = float(asked.gamma)
            return gamma, gamma_in_units(gamma, asked.kernel, unit)
        n_rows = min(block.shape[0], 2**14)  # a sample of them is scaled
        rows = np.linspace(0, block.shape[0] - 1, n_rows).astype(int)
        of_rows = None if sample_weight is None else sample_weight[rows]
        own = default_gamma(asked.kernel, scaling.apply(block[rows]), of_rows)
        assert own is not None
        gamma = gamma_in_units(own, asked.kernel, 1 / unit)
        limits = np.finfo(np.float64)
        if not limits.tiny < gamma < limits.max:
            raise ValueError(
                "values are so large or small that gamma, by the median rule, "
                f"overflows float64; take scaling={_bounded_scaling(asked.kernel)!r}"
            )
        return gamma, own

    def _asked(self, names: Sequence[str]) -> list[_Asked]:
        """Spell out kernel by kernel what was asked for."""
        asked = []
        kernels = by_modality(self.kernel, names, "kernel", "rbf")
        gammas = by_modality(self.gamma, names, "gamma")
        for v, name in enumerate(names):
            pairs = _pairs(kernels[v], gammas[v], name)
            for k, (kernel, gamma) in enumerate(pairs):
                own = name if len(pairs) == 1 else f"{name}-{k}"
                asked.append(_Asked(own, v, kernel, gamma))
        return asked

    def _fit_scalings(
        self,
        frame: Modalities,
        asked: Sequence[_Asked],
        sample_weight: np.ndarray | None,
    ) -> list[Scaling]:
        """Scale modalities; those that are 'auto' are looked at together."""
        hows = by_modality(self.scaling, frame.names, "scaling", "auto")
        as_it_is = {a.modality for a in asked if a.kernel in ("precomputed", "chi2")}
        precomputed = {a.modality for a in asked if a.kernel == "precomputed"}
        for v in as_it_is:
            if hows[v] == "auto" or v in precomputed:
                hows[v] = None
        counts = np.array([how == "auto" for how in hows])
        hows = resolve_scalings(frame, hows, counts, sample_weight)
        scalings = []
        for v, how in enumerate(hows):
            present = frame.observed[:, v]
            block = of_samples(frame.blocks[v], present)
            weight = None if sample_weight is None else sample_weight[present]
            with errors_name(frame.names[v]):
                scalings.append(fit_scaling(block, how, weight))
        return scalings

    def _given_out(self, tables: list[np.ndarray], like: Any) -> Any:
        names = tuple(self.kernel_names_)
        return self._output(Modalities._of(names, tuple(tables), None), like=like)

    def _names_out(self) -> list[np.ndarray]:
        own = type(self).__name__.lower()
        lone = tuple(self.kernel_names_) == tuple(default_names(1))
        return [
            np.array(
                [
                    f"{own}{j}" if lone else f"{name}{SEPARATOR}{own}{j}"
                    for j in range(width)
                ],
                dtype=object,
            )
            for name, width in zip(self.kernel_names_, self._widths, strict=True)
        ]

    def __modality_tags__(self) -> ModalityTags:
        return replace(super().__modality_tags__(), column_per_sample=True)


def _pairs(kernels: Any, gammas: Any, name: str) -> list[tuple[Kernel, float | None]]:
    """Kernels of one modality, each with every gamma if it has one."""
    kernels = kernels if isinstance(kernels, list | tuple) else [kernels]
    if isinstance(gammas, np.ndarray):
        gammas = np.atleast_1d(gammas).tolist()
    gammas = gammas if isinstance(gammas, list | tuple) else [gammas]
    if len(kernels) == 0 or len(gammas) == 0:
        raise ValueError(f"modality {name!r}: there is no kernel in an empty list")
    for kernel in kernels:
        is_name = isinstance(kernel, str) and kernel in KERNELS
        if not callable(kernel) and not is_name:
            raise ValueError(
                f"modality {name!r}: kernel {kernel!r} is none of {KERNELS} and no "
                "callable"
            )
    if "precomputed" in kernels and len(kernels) > 1:
        raise ValueError(
            f"modality {name!r}: 'precomputed' is the only kernel of its modality"
        )
    for gamma in gammas:
        is_positive = is_real(gamma) and 0 < gamma <= sys.float_info.max
        if gamma is not None and not is_positive:
            raise ValueError(
                f"modality {name!r}: gamma is {gamma!r}; it must be a positive number"
            )
    return [
        (kernel, gamma)
        for kernel in kernels
        for gamma in (gammas if kernel in WITH_GAMMA else [None])
    ]


def _bounded_scaling(kernel: Kernel) -> str:
    """A scaling after which no value is large, and which the kernel can take."""
    return "l2" if kernel == "chi2" else "block"


def _own_columns(block: Any, present: np.ndarray, name: str) -> np.ndarray:
    """The square part of a precomputed kernel whose samples have the modality."""
    if sparse.issparse(block):
        block = block.toarray()
    if block.shape[1] != len(present):
        check_training_kernel(block, name)
        raise ValueError(
            f"modality {name!r}: a precomputed kernel of {len(present)} samples has as "
            f"many columns; got {block.shape[1]}"
        )
    return block if present.all() else block[:, present]


def _constant(diagonal: np.ndarray) -> float | None:
    is_constant = np.allclose(diagonal, diagonal[0], rtol=1e-6)
    return float(diagonal[0]) if is_constant else None


def _stretch(observed: np.ndarray) -> np.ndarray | None:
    """Factors of samples that lack modalities; None if none does."""
    if observed.all():
        return None
    return np.sqrt(observed.shape[1] / np.maximum(observed.sum(axis=1), 1))


def _spread(
    table: np.ndarray,
    rows: np.ndarray,
    columns: np.ndarray | None,
    row_factors: np.ndarray | None,
    column_factors: np.ndarray | None,
    folder: Any = None,
) -> np.ndarray:
    """Stretch what samples have, and write it among zeros for those that lack it."""
    if row_factors is not None:
        table *= row_factors[rows, None].astype(table.dtype)
    if column_factors is not None and columns is not None:
        table *= column_factors[columns].astype(table.dtype)
    if rows.all() and (columns is None or columns.all()):
        return table
    width = table.shape[1] if columns is None else len(columns)
    spread = blank_table((len(rows), width), table.dtype, folder)
    if columns is None:
        spread[rows] = table
    else:
        spread[np.ix_(rows, columns)] = table
    return spread
