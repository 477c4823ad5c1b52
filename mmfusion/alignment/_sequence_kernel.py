"""Sequences as a table of distances or kernel values to those of `fit`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from numbers import Real
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator

from mmfusion._block_checks import ModalityTags
from mmfusion._columns import SEPARATOR, default_names
from mmfusion._constancy import CONSTANT_SPREAD_ULPS
from mmfusion._options import by_modality
from mmfusion._sklearn_compat import (
    INTEGER,
    Interval,
    StrOptions,
    container_adapter,
    fit_context,
)
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

KERNELS = ("distance", "global_alignment", "rbf")


class DTWKernel(ModalityMixin, ModalityTransformerMixin, BaseEstimator):
    """Compare sequences with those of `fit`, for estimators that take a matrix.

    The result has a column for each sample of `fit`: what a classifier, clusterer or
    regressor takes as ``metric="precomputed"`` or ``kernel="precomputed"``.

    Parameters
    ----------
    kernel : {'rbf', 'distance', 'global_alignment'}, default='rbf'
        'distance' is the cost d of dynamic time warping, as `cdist_dtw` tells it;
        'rbf' is ``exp(-gamma * d)``. 'global_alignment' sums over all alignments of two
        sequences the product of ``k / (2 - k)`` over the pairs of frames, with
        ``k = exp(-gamma * |x - y|^2)``, over the roots of what each sequence has with
        itself.
    gamma : float or dict, default=None
        One for all modalities, or by name; 'distance' has none. None follows the
        samples of `fit`: for
        'rbf' it is 1 over the median cost of two of them; for 'global_alignment' it is
        ``1 / (2 s^2)``, where s is the median distance of two frames (of at most 1,000,
        evenly spaced) times the root of the median number of frames. A median of 0 is
        replaced by that of the pairs that differ.
    combine : {'mean'}, default='mean'
        How modalities become one matrix: the mean of their kernel values, or for
        'distance' of their costs, each over its median among the samples of `fit`
        (where there are several modalities). None keeps a matrix per modality, as
        methods want it that weigh kernels.
    metric : {'sqeuclidean', 'euclidean', 'cosine', 'manhattan', 'correlation'} or \
            callable, default='sqeuclidean'
        Local cost of two frames. A callable takes two arrays of frames, of shapes
        (n, d) and (m, d), and gives the matrix of costs.
    step_pattern : str or StepPattern, default='symmetric1'
        Steps of the path and their weights; see `dtw_path`.
    window : {'sakoe_chiba', 'itakura', 'multiscale'}, default=None
        Which frames may be aligned; see `dtw_path`. None lets all.
    radius : int or float, default=0.1
        Half width of 'sakoe_chiba' and 'multiscale' in frames; a float is a share of
        the longer sequence, at most 1.
    max_slope : float, default=2.0
        Steepest slope of 'itakura', relative to the straight line.
    penalty : float, default=0.0
        Price of every step that is not diagonal, in units of the local costs.
    n_jobs : int, default=None
        Threads. None is 1 unless in a joblib context, -1 all processors.
    modalities : int, list of int, str or dict, default=None
        Column spec that splits a plain 2-D X; None takes it as one modality. See
        :meth:`Modalities.from_table`.

    Attributes
    ----------
    sequences_ : dict of str to list of ndarray of shape (n_frames, n_features)
        The sequences of `fit`, by modality; None where a sample has none.
    gamma_ : ndarray of float64 of shape (n_modalities,)
        The gamma of each modality; NaN for 'distance'.
    scales_ : ndarray of float64 of shape (n_modalities,)
        What costs are divided by; 1 unless several modalities have one 'distance'.
    n_modalities_in_ : int
        Number of modalities seen in `fit`.
    modality_names_in_ : ndarray of str of shape (n_modalities,)
        Their names.
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
    are taken as sequences of one feature, a frame per column.

    `fit` compares all pairs of its samples, for gamma and the scales; `fit_transform`
    gives the same matrix in the same time. Later samples cost ``n_samples * n_train``
    alignments.

    *Which are kernels.* Support vector machines and spectral methods ask for a positive
    semi-definite matrix. 'global_alignment' is (Cuturi 2011). 'rbf' is not, in general,
    since dynamic time warping is no metric; it often works all the same. With step
    patterns and callables that tell the two sequences apart it is not even symmetric.

    *Missing sequences.* Two samples are compared by the modalities that both have; if
    there are none, they get the mean of what different samples of `fit` have. With
    ``combine=None`` a sample that lacks a modality lacks it in the output, and its
    column holds the mean of the modality. Where sequences are missing,
    'global_alignment' may lose its definiteness.

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
        "kernel": [StrOptions(set(KERNELS))],
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
        modalities: Any = None,
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
    def fit(self, X: Any, y: Any = None) -> Self:
        """Keep the sequences, and learn what their costs are measured by.

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
    def fit_transform(self, X: Any, y: Any = None) -> Any:
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
            As `transform` gives it.
        """
        return self._given_out(*self._fit(X), like=X)

    def transform(self, X: Any) -> Any:
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
            own, rows = _there(block)
            known, columns = _there(self.sequences_[name])
            values = self._values(v, own, known) if own else np.empty((0, len(known)))
            tables.append(_spread(values, rows, columns))
        return self._given_out(frame, tables, like=X)

    def _fit(self, X: Any) -> tuple[Modalities, list[np.ndarray]]:
        self._refuse_unused()
        frame = self._validate(X, reset=True)
        refuse_empty_samples(frame)
        self.sequences_ = {name: list(b) for name, b in frame.to_dict().items()}
        n_modalities = len(frame.names)
        gammas = by_modality(self.gamma, frame.names, "gamma")
        given = [_checked(g, name) for g, name in zip(gammas, frame.names, strict=True)]
        self.gamma_, self.scales_ = np.full(n_modalities, np.nan), np.ones(n_modalities)
        self._self_alignments = [np.empty(0)] * n_modalities
        tables = []
        for v, block in enumerate(self.sequences_.values()):
            own, present = _there(block)
            if self.kernel == "global_alignment":
                self._refuse_extremes(v, own)
                self.gamma_[v] = median_gamma(own) if given[v] is None else given[v]
                self._self_alignments[v] = self_alignments(own, self.gamma_[v])
                values = self._values(v, own, None)
            else:
                costs = self._costs(v, own, None)
                scale = self._typical_cost(costs, own)
                values = self._of_fit(v, costs, scale, given[v], n_modalities)
            tables.append(_spread(values, present, present))
        self._neutral = [_mean_of_pairs(table) for table in tables]
        if self.combine is not None:
            self._neutral = [_mean_of_pairs(_mean_of_known(tables))]
        return frame, tables

    def _typical_cost(self, costs: np.ndarray, X: list[np.ndarray]) -> float:
        """Median cost of two sequences of `fit`; 1 if all are the same."""
        rounding = 0.0
        if self.metric in ("cosine", "correlation"):  # 1 less a product, at each frame
            eps = np.finfo(np.result_type(*X)).eps
            rounding = CONSTANT_SPREAD_ULPS * eps * 2 * max(map(len, X))
        return positive_median(costs[~np.eye(len(costs), dtype=bool)], rounding) or 1.0

    def _of_fit(
        self,
        v: int,
        costs: np.ndarray,
        scale: float,
        gamma: float | None,
        n_modalities: int,
    ) -> np.ndarray:
        """Learn from the costs of the pairs of `fit`, and make their values of them."""
        if self.kernel == "rbf":
            self.gamma_[v] = 1 / scale if gamma is None else gamma
        elif self.combine is not None and n_modalities > 1:
            self.scales_[v] = scale
        return self._of_costs(v, costs)

    def _of_costs(self, v: int, costs: np.ndarray) -> np.ndarray:
        if self.kernel == "rbf":
            return np.exp(-self.gamma_[v] * costs)
        return costs / self.scales_[v]

    def _values(
        self, v: int, X: list[np.ndarray], Y: list[np.ndarray] | None
    ) -> np.ndarray:
        if self.kernel != "global_alignment":
            return self._of_costs(v, self._costs(v, X, Y))
        self._refuse_extremes(v, X)
        known = self._self_alignments[v]
        gamma = float(self.gamma_[v])
        own = known if Y is None else self_alignments(X, gamma)
        return alignment_kernel(X, Y, gamma, (own, known), self.n_jobs)

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
        try:
            return cdist_dtw(X, Y, n_jobs=self.n_jobs, **options)
        except ValueError as error:
            raise ValueError(f"modality {self._layout.names[v]!r}: {error}") from error

    def _refuse_extremes(self, v: int, X: list[np.ndarray]) -> None:
        if not are_moderate(X):
            raise ValueError(
                f"modality {self._layout.names[v]!r}: squared distances of frames "
                "overflow, or vanish; bring its features to another unit, as "
                "PerModality(StandardScaler()) does"
            )

    def _refuse_unused(self) -> None:
        plain = DTWKernel(self.kernel).get_params()
        own = ("metric", "step_pattern", "window", "penalty")
        changed = [name for name in own if getattr(self, name) != plain[name]]
        if self.kernel == "global_alignment" and changed:
            raise ValueError(
                f"kernel='global_alignment' sums over all paths of Gaussian kernels; "
                f"leave {', '.join(changed)} as by default, or take kernel='rbf'"
            )

    def _given_out(
        self, frame: Modalities, tables: list[np.ndarray], *, like: Any
    ) -> Any:
        if self.combine is None:
            blocks = tuple(
                _filled(table, neutral, present)
                for table, neutral, present in zip(
                    tables, self._neutral, frame.observed.T, strict=True
                )
            )
            mask = None if frame.observed.all() else frame.observed
            return self._output(Modalities._of(frame.names, blocks, mask), like=like)
        combined = _mean_of_known(tables)
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


def _checked(gamma: Any, name: str) -> float | None:
    """Check the gamma of a modality; None stays."""
    if gamma is None:
        return None
    gamma = check_real_at_least(gamma, f"modality {name!r}: gamma", 0)
    if gamma == 0:
        raise ValueError(f"modality {name!r}: gamma=0; give one above 0")
    return gamma


def _there(block: Sequence[np.ndarray | None]) -> tuple[list[np.ndarray], np.ndarray]:
    """The sequences that are there, and whose they are."""
    there = [sequence for sequence in block if sequence is not None]
    return there, np.array([sequence is not None for sequence in block])


def _spread(values: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Write values of the samples that have a modality among NaN of the others."""
    table = np.full((len(rows), len(columns)), np.nan)
    table[np.ix_(rows, columns)] = values
    return table


def _mean_of_pairs(table: np.ndarray) -> float:
    """Average what is known of different samples of `fit`."""
    between = table[~np.eye(len(table), dtype=bool)]
    between = between[~np.isnan(between)]
    return float(between.mean()) if between.size else 0.0


def _mean_of_known(tables: list[np.ndarray]) -> np.ndarray:
    """Average over the modalities that both samples have; NaN where there is none."""
    total, count = np.zeros(tables[0].shape), np.zeros(tables[0].shape)
    for table in tables:
        known = ~np.isnan(table)
        total[known] += table[known]
        count += known
    return np.divide(total, count, np.full(total.shape, np.nan), where=count > 0)


def _filled(table: np.ndarray, neutral: float, present: np.ndarray) -> np.ndarray:
    """Fill what samples of `fit` lack, for the samples that are there."""
    unknown = np.isnan(table)
    unknown[~present] = False
    table[unknown] = neutral
    return table
