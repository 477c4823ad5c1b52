"""Matrices of distances or kernel values between sequences."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from numbers import Real
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator

from mmfusion._block_checks import ModalityTags
from mmfusion._columns import SEPARATOR, default_names
from mmfusion._options import by_modality
from mmfusion._scaling import CONSTANT_SPREAD_ULPS
from mmfusion._sklearn_compat import (
    INTEGER,
    Interval,
    StrOptions,
    container_adapter,
    fit_context,
)
from mmfusion._typing import BlockLike, ColumnSpecLike, ModalitiesLike
from mmfusion._validation import refuse_empty_samples
from mmfusion.alignment.dtw._constraints import WINDOWS
from mmfusion.alignment.dtw._costs import LOCAL_METRICS, are_moderate
from mmfusion.alignment.dtw._global_alignment import (
    alignment_kernel,
    median_gamma,
    positive_median,
    self_alignments,
)
from mmfusion.alignment.dtw._pairwise import cdist_dtw
from mmfusion.alignment.dtw._parameters import check_real_at_least
from mmfusion.alignment.dtw._step_patterns import StepPattern
from mmfusion.base import ModalityMixin, ModalityTransformerMixin
from mmfusion.modalities import Modalities

SEQUENCE_KERNELS = ("distance", "global_alignment", "rbf")


class DTWKernel(ModalityMixin, ModalityTransformerMixin, BaseEstimator):
    """Compute distances or kernel values between sequences and those of `fit`.

    The output has a column for each sample of `fit`, for classifiers, clusterers and
    regressors with ``metric="precomputed"`` or ``kernel="precomputed"``. For the cost d
    of dynamic time warping, and for the paths P of the global alignment kernel k, it is

    .. math:: d(x, y), \\qquad \\exp(-\\gamma \\, d(x, y)) \\qquad \\text{or} \\qquad
              \\frac{k(x, y)}{\\sqrt{k(x, x) \\, k(y, y)}}, \\quad
              k(x, y) = \\sum_P \\prod_{(t, s) \\in P} \\kappa(x_t, y_s), \\quad
              \\kappa = \\frac{g}{2 - g}, \\;
              g(x_t, y_s) = e^{-\\gamma \\lVert x_t - y_s \\rVert^2} .

    Parameters
    ----------
    kernel : {'rbf', 'distance', 'global_alignment'}, default='rbf'
        'distance' is the cost d of dynamic time warping, as from `cdist_dtw`; 'rbf' is
        ``exp(-gamma * d)``; 'global_alignment' sums over all paths, normalised so that
        every sequence has 1 with itself.
    gamma : float or dict, default=None
        Gamma of all modalities, or of each by name; 'distance' has none. None estimates
        it from the samples of `fit`: for 'rbf' it is the inverse of the median cost of
        two of them; for 'global_alignment' it is ``1 / (2 s^2)``, where s is the median
        distance of two frames (of at most 1,000, evenly spaced) times the root of the
        median number of frames. A median of 0 is replaced by that of the pairs that
        differ.
    combine : {'mean'}, default='mean'
        Combination of the modalities into one matrix: the mean of their kernel values,
        or for 'distance' of their costs, each divided by its median among the samples
        of `fit` (where there are several modalities). None keeps one matrix per
        modality, for methods that weight kernels.
    metric : {'sqeuclidean', 'euclidean', 'cosine', 'manhattan', 'correlation'} or \
            callable, default='sqeuclidean'
        Local cost of two frames. A callable takes two arrays of frames, of shapes
        (n, d) and (m, d), and returns the matrix of costs.
    step_pattern : str or StepPattern, default='symmetric1'
        Steps of the path and their weights; see `dtw_path`.
    window : {'sakoe_chiba', 'itakura', 'multiscale'}, default=None
        Frames that may be aligned; see `dtw_path`. None allows all pairs.
    radius : int or float, default=0.1
        Half width of 'sakoe_chiba' and 'multiscale' in frames; a float is a share of
        the longer sequence, at most 1.
    max_slope : float, default=2.0
        Largest slope of 'itakura', relative to the straight line.
    penalty : float, default=0.0
        Price of every step that is not diagonal, in units of the local costs.
    n_jobs : int, default=None
        Number of threads. None is 1 unless in a joblib context, -1 all processors.
    modalities : int, list of int, str or dict, default=None
        Column spec that splits a plain 2-D X; None takes it as one modality. See
        :meth:`Modalities.from_table`.

    Attributes
    ----------
    sequences_ : dict of str to list of ndarray of shape (n_frames, n_features)
        The sequences of `fit`, by modality; None where a sample lacks it.
    gamma_ : ndarray of float64 of shape (n_modalities,)
        The gamma of each modality; NaN for 'distance'.
    scales_ : ndarray of float64 of shape (n_modalities,)
        Divisor of the costs of each modality; 1 unless several modalities are combined
        to one 'distance'.
    n_modalities_in_ : int
        Number of modalities seen in `fit`.
    modality_names_in_ : ndarray of str of shape (n_modalities,)
        Names of the modalities.
    n_features_per_modality_in_ : ndarray of int of shape (n_modalities,)
        Their numbers of features, of a frame; for a table its columns.
    n_features_in_ : int
        Number of features in all.
    feature_names_in_ : ndarray of str of shape (`n_features_in_`,)
        Names ``<modality>__<feature>``, if the input had names.

    Raises
    ------
    ValueError
        If a sequence is empty or has a value that is NaN or infinite, the constraints
        leave it no path, some modalities are tables and others sequences, a modality
        is missing for every sample of `fit` or a sample lacks all, or options
        contradict each other.

    See Also
    --------
    cdist_dtw : The costs of all pairs, without an estimator.
    dtw_neighbors : The nearest sequences, without the costs of all others.
    DTWAligner : Aligns the modalities of a sample with each other.

    Notes
    -----
    A modality is compared with the same modality of other samples, never with another
    one: modalities may differ in features, and samples in length. The rows of a table
    are read as sequences of one feature, a frame per column.

    `fit` compares all pairs of its samples, for gamma and the scales; `fit_transform`
    returns the same matrix in the same time. Later samples cost ``n_samples * n_train``
    alignments.

    *Definiteness.* Support vector machines and spectral methods require a positive
    semi-definite matrix. 'global_alignment' is one (Cuturi 2011). 'rbf' is not, in
    general, since dynamic time warping is not a metric; it often works nevertheless.
    With step patterns and callables that are asymmetric, neither is the matrix
    symmetric.

    *Missing sequences.* Two samples are compared by the modalities that both have; if
    there are none, they get the mean over pairs of different samples of `fit`. With
    ``combine=None`` a sample that lacks a modality lacks it in the output, and its
    column holds the mean of the modality. With missing sequences, 'global_alignment'
    may be indefinite.

    References
    ----------
    Cuturi, M. (2011). Fast global alignment kernels. ICML 28, 929-936.

    Cuturi, M., Vert, J.-P., Birkenes, O. and Matsui, T. (2007). A kernel for time
    series based on global alignments. ICASSP, II-413-II-416.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.neighbors import KNeighborsClassifier
    >>> from sklearn.pipeline import make_pipeline
    >>> from mmfusion import Modalities
    >>> from mmfusion.alignment import DTWKernel
    >>> X = Modalities({
    ...     "audio": [[[0.0], [1.0], [2.0]], [[0.0], [2.0]], [[5.0], [5.0]]],
    ...     "video": [[[0.0, 1.0]], [[0.0, 1.0]], [[3.0, 1.0], [3.0, 2.0]]],
    ... })
    >>> DTWKernel().fit_transform(X).round(2).tolist()
    [[1.0, 0.99, 0.3], [0.99, 1.0, 0.37], [0.3, 0.37, 1.0]]
    >>> distances = DTWKernel("distance", window="sakoe_chiba", radius=0.5)
    >>> nearest = KNeighborsClassifier(1, metric="precomputed")
    >>> make_pipeline(distances, nearest).fit(X, ["a", "a", "b"]).predict(X).tolist()
    ['a', 'a', 'b']
    """

    _parameter_constraints: dict = {
        "kernel": [StrOptions(set(SEQUENCE_KERNELS))],
        "gamma": [Interval(Real, 0, None, closed="neither"), dict, None],
        "combine": [StrOptions({"mean"}), None],
        "metric": [StrOptions(set(LOCAL_METRICS)), callable],
        "step_pattern": [str, StepPattern],
        "window": [StrOptions(set(WINDOWS)), None],
        "radius": [Interval(Real, 0, None, closed="left")],
        "max_slope": [Interval(Real, 1, None, closed="left")],
        "penalty": [Interval(Real, 0, None, closed="left")],
        "n_jobs": [INTEGER, None],
        "modalities": ["array-like", str, dict, INTEGER, None],
    }

    def __init__(
        self,
        kernel: str = "rbf",
        *,
        gamma: float | Mapping[str, float] | None = None,
        combine: str | None = "mean",
        metric: str | Callable[..., Any] = "sqeuclidean",
        step_pattern: str | StepPattern = "symmetric1",
        window: str | None = None,
        radius: float = 0.1,
        max_slope: float = 2.0,
        penalty: float = 0.0,
        n_jobs: int | None = None,
        modalities: ColumnSpecLike = None,
    ) -> None:
        self.kernel = kernel
        self.gamma = gamma
        self.combine = combine
        self.metric = metric
        self.step_pattern = step_pattern
        self.window = window
        self.radius = radius
        self.max_slope = max_slope
        self.penalty = penalty
        self.n_jobs = n_jobs
        self.modalities = modalities

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: ModalitiesLike, y: object = None) -> Self:
        """Keep the sequences, and compute their gammas and scales.

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
        self._fit(X)
        return self

    @fit_context(prefer_skip_nested_validation=True)
    def fit_transform(
        self, X: ModalitiesLike, y: object = None
    ) -> Modalities | BlockLike:
        """Fit, and compare the samples with each other, each pair once.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The data.
        y : object, default=None
            Not used.

        Returns
        -------
        ndarray or Modalities
            The output of `transform` for the same samples.
        """
        return self._combined_output(*self._fit(X), like=X)

    def transform(self, X: ModalitiesLike) -> Modalities | BlockLike:
        """Compare samples with those of `fit`.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The data.

        Returns
        -------
        ndarray of float64 of shape (n_samples, n_train), or Modalities of such
            The matrix. With ``combine=None`` one per modality, in Modalities if X had
            modalities, else side by side.
        """
        frame = self._validate(X, reset=False)
        refuse_empty_samples(frame)
        tables = []
        for v, (name, block) in enumerate(frame.to_dict().items()):
            own, rows = _observed_sequences(block)
            fitted, columns = _observed_sequences(self.sequences_[name])
            values = self._values(v, own, fitted) if own else np.empty((0, len(fitted)))
            tables.append(_with_missing(values, rows, columns))
        return self._combined_output(frame, tables, like=X)

    def _fit(self, X: ModalitiesLike) -> tuple[Modalities, list[np.ndarray]]:
        """Set the attributes, and return the matrix of each modality."""
        self._check_unused_options()
        frame = self._validate(X, reset=True)
        refuse_empty_samples(frame)
        self.sequences_ = {name: list(b) for name, b in frame.to_dict().items()}
        n_modalities = len(frame.names)
        gammas = by_modality(self.gamma, frame.names, "gamma")
        given = [
            _checked_kernel_gamma(gamma, name)
            for gamma, name in zip(gammas, frame.names, strict=True)
        ]
        self.gamma_, self.scales_ = np.full(n_modalities, np.nan), np.ones(n_modalities)
        self._self_alignments = [np.empty(0)] * n_modalities
        tables = []
        for v, block in enumerate(self.sequences_.values()):
            own, observed = _observed_sequences(block)
            if self.kernel == "global_alignment":
                self._check_moderate(v, own)
                self.gamma_[v] = median_gamma(own) if given[v] is None else given[v]
                # kept for later samples, which are normalised by them
                self._self_alignments[v] = self_alignments(own, self.gamma_[v])
                values = self._values(v, own, None)
            else:
                costs = self._costs(v, own, None)
                scale = self._typical_cost(costs, own)
                self._set_gamma_or_scale(v, scale, given[v], n_modalities)
                values = self._values_of_costs(v, costs)
            tables.append(_with_missing(values, observed, observed))
        # values of samples that share no modality
        self._neutral = [_mean_of_pairs(table) for table in tables]
        if self.combine is not None:
            self._neutral = [_mean_of_pairs(_mean_of_observed(tables))]
        return frame, tables

    def _typical_cost(self, costs: np.ndarray, X: list[np.ndarray]) -> float:
        """Return the median cost of two sequences of `fit`; 1 if all are the same."""
        rounding = 0.0
        # their local costs, 1 minus a product, are rounding errors of equal frames
        if self.metric in ("cosine", "correlation"):
            eps = np.finfo(np.result_type(*X)).eps
            rounding = CONSTANT_SPREAD_ULPS * eps * 2 * max(map(len, X))
        return positive_median(costs[~np.eye(len(costs), dtype=bool)], rounding) or 1.0

    def _set_gamma_or_scale(
        self, v: int, scale: float, gamma: float | None, n_modalities: int
    ) -> None:
        # kernel values need no scale: they are between 0 and 1 in every modality
        if self.kernel == "rbf":
            self.gamma_[v] = 1 / scale if gamma is None else gamma
        elif self.combine is not None and n_modalities > 1:
            self.scales_[v] = scale

    def _values_of_costs(self, v: int, costs: np.ndarray) -> np.ndarray:
        if self.kernel == "rbf":
            return np.exp(-self.gamma_[v] * costs)
        return costs / self.scales_[v]

    def _values(
        self, v: int, X: list[np.ndarray], Y: list[np.ndarray] | None
    ) -> np.ndarray:
        """Return the values between sequences; between those of X if Y is None."""
        if self.kernel != "global_alignment":
            return self._values_of_costs(v, self._costs(v, X, Y))
        self._check_moderate(v, X)
        fitted = self._self_alignments[v]
        gamma = float(self.gamma_[v])
        own = fitted if Y is None else self_alignments(X, gamma)
        return alignment_kernel(X, Y, gamma, (own, fitted), self.n_jobs)

    def _costs(
        self, v: int, X: list[np.ndarray], Y: list[np.ndarray] | None
    ) -> np.ndarray:
        options = {
            "metric": self.metric,
            "step_pattern": self.step_pattern,
            "window": self.window,
            "radius": self.radius,
            "max_slope": self.max_slope,
            "penalty": self.penalty,
        }
        # the message of cdist_dtw names samples, but knows no modality
        try:
            return cdist_dtw(X, Y, n_jobs=self.n_jobs, **options)
        except ValueError as error:
            raise ValueError(f"modality {self._layout.names[v]!r}: {error}") from error

    def _check_moderate(self, v: int, X: list[np.ndarray]) -> None:
        """Raise an error if squared distances of frames overflow or vanish."""
        if not are_moderate(X):
            raise ValueError(
                f"modality {self._layout.names[v]!r}: squared distances of frames "
                "overflow, or vanish; bring its features to another unit, as "
                "PerModality(StandardScaler()) does"
            )

    def _check_unused_options(self) -> None:
        """Raise an error for options that 'global_alignment' does not have."""
        defaults = DTWKernel(self.kernel).get_params()
        own = ("metric", "step_pattern", "window", "penalty")
        changed = [name for name in own if getattr(self, name) != defaults[name]]
        if self.kernel == "global_alignment" and changed:
            raise ValueError(
                f"kernel='global_alignment' sums over all paths of Gaussian kernels; "
                f"leave {', '.join(changed)} at the default, or set kernel='rbf'"
            )

    def _combined_output(
        self, frame: Modalities, tables: list[np.ndarray], *, like: ModalitiesLike
    ) -> Modalities | BlockLike:
        """Combine the matrices of the modalities, in the form of the output."""
        if self.combine is None:
            blocks = tuple(
                _with_neutral_values(table, neutral, observed)
                for table, neutral, observed in zip(
                    tables, self._neutral, frame.observed.T, strict=True
                )
            )
            mask = None if frame.observed.all() else frame.observed
            return self._output(Modalities._of(frame.names, blocks, mask), like=like)
        combined = _mean_of_observed(tables)
        combined[np.isnan(combined)] = self._neutral[0]
        adapter = container_adapter("transform", self)
        if adapter is None:
            return combined
        names = self.get_feature_names_out()
        return adapter.create_container(combined, like, columns=names, inplace=False)

    def _names_out(self) -> list[np.ndarray]:
        n_train = len(next(iter(self.sequences_.values())))
        columns = [f"{type(self).__name__.lower()}{j}" for j in range(n_train)]
        names = self._layout.names
        if self.combine is not None or names == tuple(default_names(1)):
            return [np.array(columns, dtype=object)]
        return [
            np.array([name + SEPARATOR + column for column in columns], dtype=object)
            for name in names
        ]

    def __modality_tags__(self) -> ModalityTags:
        return ModalityTags(missing=True, column_per_sample=True, sequences="require")


def _checked_kernel_gamma(gamma: object, name: str) -> float | None:
    """Check the gamma of a modality, unless it is None."""
    if gamma is None:
        return None
    gamma = check_real_at_least(gamma, f"modality {name!r}: gamma", 0)
    if gamma == 0:
        raise ValueError(f"modality {name!r}: gamma=0; it must be above 0")
    return gamma


def _observed_sequences(
    block: Sequence[np.ndarray | None],
) -> tuple[list[np.ndarray], np.ndarray]:
    """Return the observed sequences, and which samples have one."""
    sequences = [sequence for sequence in block if sequence is not None]
    return sequences, np.array([sequence is not None for sequence in block])


def _with_missing(
    values: np.ndarray, rows: np.ndarray, columns: np.ndarray
) -> np.ndarray:
    """Return a matrix of all samples, NaN where one of the two lacks the modality."""
    table = np.full((len(rows), len(columns)), np.nan)
    table[np.ix_(rows, columns)] = values
    return table


def _mean_of_pairs(table: np.ndarray) -> float:
    """Return the mean over pairs of different samples of `fit`, without NaN."""
    between = table[~np.eye(len(table), dtype=bool)]
    between = between[~np.isnan(between)]
    return float(between.mean()) if between.size else 0.0


def _mean_of_observed(tables: list[np.ndarray]) -> np.ndarray:
    """Return the mean over the modalities that both samples have; NaN without any."""
    total, count = np.zeros(tables[0].shape), np.zeros(tables[0].shape)
    for table in tables:
        observed = ~np.isnan(table)
        total[observed] += table[observed]
        count += observed
    return np.divide(total, count, np.full(total.shape, np.nan), where=count > 0)


def _with_neutral_values(
    table: np.ndarray, neutral: float, observed: np.ndarray
) -> np.ndarray:
    """Fill the columns of samples of `fit` that lack a modality, in observed rows."""
    # rows of samples that lack the modality stay NaN, as missing in the output
    missing = np.isnan(table)
    missing[~observed] = False
    table[missing] = neutral
    return table
