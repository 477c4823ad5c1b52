"""Matrices of distances or kernel values between sequences."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from numbers import Integral, Real
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator

from mmfusion._block_checks import ModalityTags
from mmfusion._columns import SEPARATOR, default_names
from mmfusion._options import by_modality, errors_name
from mmfusion._sklearn_compat import (
    INTEGER,
    Interval,
    StrOptions,
    container_adapter,
    fit_context,
)
from mmfusion._typing import ByModality, ColumnSpecLike, ModalitiesLike
from mmfusion._validation import refuse_empty_samples
from mmfusion.alignment._sequence_function import (
    HARD_KERNELS,
    SEQUENCE_KERNELS,
    SOFT_KERNELS,
    SequenceFunction,
    SequenceSet,
    fit_sequence_function,
)
from mmfusion.alignment.dtw._constraints import WINDOWS
from mmfusion.alignment.dtw._costs import LOCAL_METRICS
from mmfusion.alignment.dtw._parameters import check_real_at_least
from mmfusion.alignment.dtw._step_patterns import StepPattern
from mmfusion.base import ModalityMixin, ModalityTransformerMixin
from mmfusion.modalities import Modalities


class DTWKernel(ModalityMixin, ModalityTransformerMixin, BaseEstimator):
    """Compute distances or kernel values between sequences and those of `fit`.

    The output has a column for each sample of `fit`, for classifiers, clusterers and
    regressors with ``metric="precomputed"`` or ``kernel="precomputed"``. For the cost d
    of dynamic time warping, the divergence D of soft-DTW, and the paths P of the global
    alignment kernel k, it is

    .. math:: d(x, y), \\quad e^{-\\gamma \\, d(x, y)}, \\quad
              D(x, y), \\quad e^{-\\gamma \\, D(x, y)} \\quad \\text{or} \\quad
              \\frac{k(x, y)}{\\sqrt{k(x, x) \\, k(y, y)}}, \\\\
              D(x, y) = s(x, y) - \\frac{s(x, x) + s(y, y)}{2}, \\quad
              k(x, y) = \\sum_P \\prod_{(t, s) \\in P} \\kappa(x_t, y_s), \\quad
              \\kappa = \\frac{g}{2 - g}, \\;
              g(x_t, y_s) = e^{-\\gamma \\lVert x_t - y_s \\rVert^2} .

    Parameters
    ----------
    kernel : {'rbf', 'distance', 'soft_dtw', 'divergence', 'global_alignment'}, \
default='rbf'
        'distance' is the cost d of dynamic time warping, as from `cdist_dtw`, and 'rbf'
        is ``exp(-gamma * d)``; 'divergence' is that of soft-DTW, as from `soft_dtw`,
        and 'soft_dtw' is ``exp(-gamma * D)``; 'global_alignment' sums over all paths,
        normalised so that every sequence has 1 with itself.
    gamma : float or dict, default=None
        Gamma of all modalities, or of each by name; distances have none. None estimates
        it from the samples of `fit`: for 'rbf' and 'soft_dtw' it is the inverse of the
        median cost of two of them; for 'global_alignment' it is ``1 / (2 s^2)``, where
        s is the median distance of two frames (of at most 1,000, evenly spaced) times
        the root of the median number of frames. A median of 0 is replaced by that of
        the pairs that differ.
    softness : float or dict, default=None
        Gamma of soft-DTW, in units of the local costs, for 'soft_dtw' and 'divergence':
        of all modalities, or of each by name. None is a tenth of the median cost of two
        frames of `fit`, of at most 1,000, less than `soft_dtw_gamma` suggests. Near 0
        the divergence is the cost of dynamic time warping.
    combine : {'mean'}, default='mean'
        Combination of the modalities into one matrix: the mean of their kernel values,
        or of their distances, each divided by its median among the samples of `fit`
        (where there are several modalities). None keeps one matrix per modality, for
        methods that weight kernels.
    metric : {'sqeuclidean', 'euclidean', 'cosine', 'manhattan', 'correlation'} or \
            callable, default='sqeuclidean'
        Local cost of two frames. A callable takes two arrays of frames, of shapes
        (n, d) and (m, d), and returns the matrix of costs.
    step_pattern : str or StepPattern, default='symmetric1'
        Steps of the path and their weights; see `dtw_path`.
    window : {'sakoe_chiba', 'itakura', 'multiscale'}, default=None
        Frames that may be aligned; see `dtw_path`. None allows all pairs. 'multiscale'
        follows one path, so that soft-DTW has none.
    radius : int or float, default=0.1
        Half width of 'sakoe_chiba' and 'multiscale' in frames; a float is a share of
        the longer sequence, at most 1.
    max_slope : float, default=2.0
        Largest slope of 'itakura', relative to the straight line.
    penalty : float, default=0.0
        Price of every step that is not diagonal, in units of the local costs.
    max_jump : int, default=None
        Largest number of successive steps in one direction, as in `dtw_path`. None does
        not limit them.
    max_length : int or float, default=None
        Most cells of a path; a float is a multiple of the frames of the longer
        sequence. See `dtw_path`. None has no limit.
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
        The gamma of each modality; NaN for distances.
    softness_ : ndarray of float64 of shape (n_modalities,)
        The softness of each modality; NaN for kernels without.
    scales_ : ndarray of float64 of shape (n_modalities,)
        Divisor of the distances of each modality; 1 unless several modalities are
        combined to one distance.
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
        leave it no path, a modality is missing for every sample of `fit` or a sample
        lacks all, or options contradict each other.

    See Also
    --------
    cdist_dtw : The costs of all pairs, without an estimator.
    dtw_neighbors : The nearest sequences, without the costs of all others.
    DTWAligner : Aligns the modalities of a sample with each other.

    Notes
    -----
    A modality is compared with the same modality of other samples, never with another
    one: modalities may differ in features, and samples in length.

    *Tables.* Where all modalities are tables, their rows are read as sequences of one
    feature, a frame per column. A table beside sequences holds features without time:
    a row is one frame, so that 'distance' is the local cost of two rows, and 'rbf' and
    'soft_dtw' are the Gaussian kernel of a table, 'global_alignment' one like it. For a
    table of series give each row as an array of shape (n_frames, 1). Features are not
    scaled.

    `fit` compares all pairs of its samples, for gamma and the scales; `fit_transform`
    returns the same matrix in the same time. Later samples cost ``n_samples * n_train``
    alignments. Those over all paths are in float64, and take longer.

    *Definiteness.* Support vector machines and spectral methods require a positive
    semi-definite matrix. 'global_alignment' is one (Cuturi 2011). 'rbf' and 'soft_dtw'
    are not, in general; they often work nevertheless. The more paths the softness lets
    count, the less is missing: the least eigenvalue of 'soft_dtw' is mostly nearer to 0
    than that of 'rbf', and with a softness of ``2 s^2``, the inverse of gamma of
    'global_alignment', it is hardly ever below. Estimators of
    `mmfusion.mkl` warn of an indefinite kernel; the value that they name, added to the
    diagonal, corrects it. Divergences below 0, which theory excludes for some local
    costs only, become 0. With step patterns and callables
    that are asymmetric, neither is the matrix symmetric. Paths with open ends are left
    to `dtw_path`: the cost of a part of a sequence is no similarity of both.

    *Missing sequences.* Two samples are compared by the modalities that both have; if
    there are none, they get the mean over pairs of different samples of `fit`. With
    ``combine=None`` a sample that lacks a modality lacks it in the output, and its
    column holds the mean of the modality. With missing sequences, 'global_alignment'
    may be indefinite.

    References
    ----------
    Cuturi, M. (2011). Fast global alignment kernels. ICML 28, 929-936.

    Blondel, M., Mensch, A. and Vert, J.-P. (2021). Differentiable divergences between
    time series. AISTATS 24, 3853-3861. (the divergence)

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
        "softness": [Interval(Real, 0, None, closed="neither"), dict, None],
        "combine": [StrOptions({"mean"}), None],
        "metric": [StrOptions(set(LOCAL_METRICS)), callable],
        "step_pattern": [str, StepPattern],
        "window": [StrOptions(set(WINDOWS)), None],
        "radius": [Interval(Real, 0, None, closed="left")],
        "max_slope": [Interval(Real, 1, None, closed="left")],
        "penalty": [Interval(Real, 0, None, closed="left")],
        "max_jump": [Interval(Integral, 0, None, closed="left"), None],
        "max_length": [Interval(Real, 1, None, closed="left"), None],
        "n_jobs": [INTEGER, None],
        "modalities": ["array-like", str, dict, INTEGER, None],
    }

    def __init__(
        self,
        kernel: str = "rbf",
        *,
        gamma: ByModality[float | None] = None,
        softness: ByModality[float | None] = None,
        combine: str | None = "mean",
        metric: str | Callable[..., Any] = "sqeuclidean",
        step_pattern: str | StepPattern = "symmetric1",
        window: str | None = None,
        radius: float = 0.1,
        max_slope: float = 2.0,
        penalty: float = 0.0,
        max_jump: int | None = None,
        max_length: int | float | None = None,
        n_jobs: int | None = None,
        modalities: ColumnSpecLike = None,
    ) -> None:
        self.kernel = kernel
        self.gamma = gamma
        self.softness = softness
        self.combine = combine
        self.metric = metric
        self.step_pattern = step_pattern
        self.window = window
        self.radius = radius
        self.max_slope = max_slope
        self.penalty = penalty
        self.max_jump = max_jump
        self.max_length = max_length
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
    def fit_transform(self, X: ModalitiesLike, y: object = None) -> Modalities | Any:
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

    def transform(self, X: ModalitiesLike) -> Modalities | Any:
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
            values = np.empty((0, len(fitted)))
            if own:
                function = self._function(self.gamma_[v], self.softness_[v])
                of_fit = SequenceSet(fitted, self._own_values[v])
                with errors_name(name):
                    costs = function.costs(function.prepare(own), of_fit)
                values = function.values(costs) / self.scales_[v]
            tables.append(_with_missing(values, rows, columns))
        return self._combined_output(frame, tables, like=X)

    def _fit(self, X: ModalitiesLike) -> tuple[Modalities, list[np.ndarray]]:
        """Set the attributes, and return the matrix of each modality."""
        frame = self._validate(X, reset=True)
        refuse_empty_samples(frame)
        self.sequences_ = {name: list(b) for name, b in frame.to_dict().items()}
        functions = self._functions(frame.names)
        self.gamma_, self.softness_ = np.full((2, len(frame.names)), np.nan)
        self.scales_ = np.ones(len(frame.names))
        # kept for later samples, which are normalised by them
        self._own_values, tables = [], []
        for v, (name, block) in enumerate(self.sequences_.items()):
            own, observed = _observed_sequences(block)
            with errors_name(name):
                fitted = fit_sequence_function(functions[v], own)
            function = fitted.function
            self.gamma_[v], self.softness_[v] = function.gamma, function.softness
            self._own_values.append(fitted.sequences.own)
            # kernel values need no scale: they are between 0 and 1 in every modality
            if function.is_distance and self.combine and len(frame.names) > 1:
                self.scales_[v] = fitted.scale
            values = function.values(fitted.costs) / self.scales_[v]
            tables.append(_with_missing(values, observed, observed))
        # values of samples that share no modality
        self._neutral = [_mean_of_pairs(table) for table in tables]
        if self.combine is not None:
            self._neutral = [_mean_of_pairs(_mean_of_observed(tables))]
        return frame, tables

    def _functions(self, names: Sequence[str]) -> list[SequenceFunction]:
        """Return the functions of modalities, with the parameters that are given."""
        self._check_unused_options()
        gammas = by_modality(self.gamma, names, "gamma")
        softnesses = by_modality(self.softness, names, "softness")
        functions = []
        for name, gamma, softness in zip(names, gammas, softnesses, strict=True):
            with errors_name(name):
                given = _positive(gamma, "gamma"), _positive(softness, "softness")
            functions.append(self._function(*given))
        return functions

    def _function(
        self, gamma: float | None, softness: float | None
    ) -> SequenceFunction:
        """Return the function of a modality, with its parameters."""
        options: dict[str, Any] = {}
        if self.kernel != "global_alignment":
            options = {
                "metric": self.metric,
                "window": self.window,
                "radius": self.radius,
                "max_slope": self.max_slope,
            }
        if self.kernel in HARD_KERNELS:
            options |= {
                "step_pattern": self.step_pattern,
                "penalty": self.penalty,
                "max_jump": self.max_jump,
                "max_length": self.max_length,
            }
        return SequenceFunction(self.kernel, options, gamma, softness, self.n_jobs)

    def _check_unused_options(self) -> None:
        """Raise an error for options that the kernel does not have."""
        options = ["metric", "step_pattern", "window", "penalty", "max_jump"]
        options += ["max_length"]
        own = {*self._function(None, None).options}
        if self.kernel in SOFT_KERNELS:
            own.add("softness")
        defaults = DTWKernel(self.kernel).get_params()
        unused = [
            name
            for name in [*options, "softness"]
            if name not in own and getattr(self, name) != defaults[name]
        ]
        if not unused:
            return
        reason, other = "sums over all paths", "rbf"
        if self.kernel in HARD_KERNELS:
            reason, other = "follows one path", "soft_dtw"
        raise ValueError(
            f"kernel={self.kernel!r} {reason}; leave {', '.join(unused)} at the "
            f"default, or set kernel={other!r}"
        )

    def _combined_output(
        self, frame: Modalities, tables: list[np.ndarray], *, like: ModalitiesLike
    ) -> Modalities | Any:
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
        return ModalityTags(missing=True, column_per_sample=True, sequences="series")


def _positive(value: object, parameter: str) -> float | None:
    """Check a parameter that is above 0, unless it is None."""
    if value is None:
        return None
    number = check_real_at_least(value, parameter, 0)
    if number == 0:
        raise ValueError(f"{parameter}=0; it must be above 0")
    return number


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
