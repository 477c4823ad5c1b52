"""Alignment of the modalities of a sample by dynamic time warping."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.exceptions import NotFittedError
from sklearn.utils.validation import check_is_fitted

from mmfusion._blocks import as_float_array
from mmfusion._options import by_modality
from mmfusion._sequences import transposed_remedy
from mmfusion._sklearn_compat import INTEGER, Interval, StrOptions, fit_context
from mmfusion._threads import one_thread
from mmfusion._typing import ColumnSpecLike, ModalitiesLike
from mmfusion.alignment._alignments import Alignment
from mmfusion.alignment._base import (
    BaseAligner,
    SampleSequences,
    check_by_sample,
    mean_cost,
)
from mmfusion.alignment.dtw._barycenter import dtw_barycenter
from mmfusion.alignment.dtw._constraints import WINDOWS, Constraints, EndLimits
from mmfusion.alignment.dtw._costs import (
    LOCAL_METRICS,
    cost_matrix,
    make_costs,
)
from mmfusion.alignment.dtw._path import find_path
from mmfusion.alignment.dtw._soft import soft_dtw_alignment
from mmfusion.alignment.dtw._step_patterns import StepPattern
from mmfusion.modalities import Modalities

# local costs of each sample, by modality
SampleCosts = Sequence[Mapping[str, ArrayLike]]

OPEN_ENDS = ["boolean", Interval(Real, 0, None, closed="left"), list, tuple]
SAMPLE_REFERENCES = ("barycenter", "longest")  # computed for each sample


def resolve_reference(
    reference: int | str,
    names: Sequence[str],
    sequences: Sequence[str],
    words: Sequence[str] = SAMPLE_REFERENCES,
) -> str:
    """Return the name of the reference.

    Parameters
    ----------
    reference : int or str
        The reference as given to an aligner.
    names : sequence of str
        Names of the modalities.
    sequences : sequence of str
        Names of the modalities of sequences.
    words : sequence of str, default=('barycenter', 'longest')
        What may be the reference beside modalities.

    Returns
    -------
    str
        Name of a modality, or one of the words.

    Raises
    ------
    ValueError
        If it is none of them, or a table.
    """
    given = reference
    if reference in words:
        return str(reference)
    if not isinstance(reference, str) and -len(names) <= reference < len(names):
        reference = names[reference]
    if reference not in names:
        other = f", nor one of {tuple(words)}" if words else ""
        raise ValueError(
            f"reference={reference!r} is no modality, by position or name{other}; the "
            f"modalities are {list(names)}"
        )
    if sequences and reference not in sequences:
        raise ValueError(
            f"reference={given!r}: modality {reference!r} is a table, which has no "
            f"time; those with sequences are {list(sequences)}"
        )
    return str(reference)


@dataclass(frozen=True)
class ReferenceDTW:
    """Dynamic time warping of the sequences of a sample with its reference.

    Parameters
    ----------
    reference : str
        Name of the modality whose frames are the time axis, 'longest' or
        'barycenter'. Where a sample lacks the modality, its longest sequence is the
        axis, and where it has a single sequence, that one.
    metric : str or callable
        Local cost of two frames, as `dtw_path` takes it.
    constraints : Constraints
        The allowed paths.
    gamma : float
        Softness; 0 uses the best path alone.
    costs : sequence of mapping of str to array-like of shape (n_axis_frames, n_frames)
        Local costs of each sample, by modality, for the metric 'precomputed'.
    """

    reference: str
    metric: str | Callable[..., Any]
    constraints: Constraints
    gamma: float = 0.0
    costs: SampleCosts | None = None

    def align(
        self, sequences: Mapping[str, np.ndarray], sample: int
    ) -> dict[str, Alignment]:
        """Align the sequences of a sample with one time axis.

        Parameters
        ----------
        sequences : mapping of str to ndarray of shape (n_frames, n_features)
            The observed sequences between which costs are measured, by modality.
        sample : int
            Position of the sample, for errors.

        Returns
        -------
        dict of str to Alignment
            The alignment of each modality; the reference is aligned with itself, at
            cost 0.

        Raises
        ------
        ValueError
            If the constraints leave no path; the message names the modality and the
            sample.
        """
        reference, axis = self._axis(sequences)
        alignments = {}
        for name, sequence in sequences.items():
            if name == reference:
                frames = np.arange(len(sequence))
                straight = np.column_stack([frames, frames])
                alignments[name] = Alignment(straight, cost=0.0)
                continue
            try:
                if self.costs is None:
                    found = self._align_pair(axis, sequence)
                else:
                    shape = len(axis), len(sequence)
                    costs = _costs_of_pair(self.costs[sample], name, shape)
                    found = self._align_pair(costs, None)
            except ValueError as error:
                raise ValueError(
                    f"modality {name!r}: the sequence of sample {sample} cannot be "
                    f"aligned with {reference or 'the barycentre'!r}: {error}"
                ) from error
            alignments[name] = found
        return alignments

    def _axis(
        self, sequences: Mapping[str, np.ndarray]
    ) -> tuple[str | None, np.ndarray]:
        """Return the modality that is the axis, if one is, and the axis' frames."""
        if self.reference == "barycenter" and len(sequences) > 1:
            # the seed matters only for more than 50 modalities, whose medoid is
            # searched among drawn ones
            found = dtw_barycenter(
                [*sequences.values()], gamma=self.gamma, random_state=0
            )
            return None, found.sequence
        name = self.reference
        if name not in sequences:
            name = max(sequences, key=lambda name: len(sequences[name]))
        return name, sequences[name]

    def _align_pair(self, x: np.ndarray, y: np.ndarray | None) -> Alignment:
        """Align two sequences, or the rows and columns of given costs."""
        if self.gamma:
            return self._align_softly(x, y)
        best = find_path(x, y, self.metric, self.constraints, wants_path=True)
        shape = len(x), x.shape[1] if y is None else len(y)
        return Alignment(best.path, cost=best.normalized_cost, shape=shape)

    def _align_softly(self, x: np.ndarray, y: np.ndarray | None) -> Alignment:
        """Weigh pairs of frames over all paths, as by soft-DTW."""
        with one_thread():
            costs = cost_matrix(make_costs(x, y, self.metric))
        best = find_path(costs, None, "precomputed", self.constraints, wants_path=True)
        expected, _ = soft_dtw_alignment(
            costs,
            gamma=self.gamma,
            metric="precomputed",
            window=self.constraints.window,
            radius=self.constraints.radius,
            max_slope=self.constraints.max_slope,
        )
        # costs are infinite where a callable metric forbids a pair, and 0 * inf is NaN
        visited = expected > 0
        cost = float(expected[visited] @ costs[visited] / expected.sum())
        weights = expected / expected.sum(axis=1, keepdims=True)
        return Alignment(best.path, weights, cost)


def _costs_of_pair(
    costs: Mapping[str, ArrayLike], name: str, shape: tuple[int, int]
) -> np.ndarray:
    """Check the shape of the given costs of a modality of a sample, and return them."""
    if name not in costs:
        raise ValueError(
            f"costs of this sample are given for {list(costs)} only; give its matrix"
        )
    given = as_float_array(costs[name], "the matrix of costs")
    if given.shape != shape:
        raise ValueError(
            f"costs have shape {given.shape}; expected {shape}, a row for each frame "
            "of the axis and a column for each of the modality"
        )
    return given


class DTWAligner(BaseAligner):
    """Warp the modalities of every sample onto one time axis.

    Each sample has a sequence per modality, of unequal lengths and clocks. Each
    sequence x is aligned with the reference r of its sample along the path of least
    cost, and averaged over the frames that are aligned with each frame t of it,

    .. math:: P = \\arg\\min_P \\sum_{(t, s) \\in P} w_{ts} \\, c(r_t, x_s), \\qquad
              \\hat{x}_t = \\frac{\\sum_{(t, s) \\in P} x_s}{|\\{s : (t, s) \\in P\\}|}

    with the local cost c and the weights w of the steps. The sequences of a sample get
    one length, in their own features. Modalities that are tables pass through as they
    are.

    Parameters
    ----------
    reference : int or str, default=0
        Time axis of a sample: a modality, by position or by name; 'longest', the
        longest of its sequences (the first of several); or 'barycenter', the mean of
        its sequences by `dtw_barycenter`, which starts from their medoid and has its
        length. The axis of a sample that lacks the modality is its longest sequence.
        Both words take precedence over a modality of that name.
    n_frames : int, default=None
        Number of frames of the output, at least 2, to which the axis of every sample
        is resampled linearly. None keeps the length of each sample's axis.
    metric : {'sqeuclidean', 'euclidean', 'cosine', 'manhattan', 'correlation', \
            'precomputed'} or callable, default='sqeuclidean'
        Local cost of two frames. A callable takes two arrays of frames, of shapes
        (n, d) and (m, d), the first of them from the axis, and returns the matrix of
        costs; it may compare modalities of different features. With 'precomputed',
        methods are given the matrices as `costs`.
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
    max_jump : int, default=None
        Longest run of steps in one direction that is not diagonal. None has no limit.
    open_begin, open_end : bool, int, float or pair of these, default=False
        Frames of each sequence that may be left out before the match with the axis
        begins, or after it ends; in a pair, frames of the axis and of the sequence. See
        `dtw_path`. Frames that are left out are not used, and those of the axis get the
        nearest mean.
    max_length : int or float, default=None
        Most cells of each path; a float is a multiple of the frames of the longer of
        axis and sequence, which limits how much is warped in samples of any lengths.
        See `dtw_path`. None has no limit.
    gamma : float, default=0.0
        Softness, in units of the local costs. Above 0, frames are averaged over all
        paths, weighted as by soft-DTW, instead of along the best one; this requires
        'symmetric1' without penalty, max_jump, open ends, max_length and 'multiscale',
        and memory for several numbers per pair of frames.
    projections : dict, default=None
        Projections of modalities to common features, by name: a matrix of shape
        (n_features, n_components), or a fitted transformer that takes frames as rows
        (in a FrozenEstimator where the aligner is cloned, as in a search). They are
        used for costs only. Modalities that are not named are not projected.
    n_jobs : int, default=None
        Number of samples aligned at once, in threads. None is 1 unless in a joblib
        context, -1 all processors.
    modalities : int, list of int, str or dict, default=None
        Column spec that splits a plain 2-D X; None takes it as one modality. See
        :meth:`Modalities.from_table`.
    verbose : bool or int, default=False
        Whether to show the progress of many samples: True or 1 by a bar, where tqdm is
        installed and stderr is a terminal or a notebook, else by lines with their
        seconds; 2 by lines.

    Attributes
    ----------
    paths_ : list of dict of str to ndarray of int64 of shape (length, 2)
        Pairs of aligned frames, of the axis (before it is resampled) and of the
        modality, for each sample of `fit` by its observed modalities. For
        ``gamma > 0`` it is the likeliest path. That of the reference is straight. Those
        of other samples are returned by `align`.
    distances_ : ndarray of float64 of shape (n_samples, n_modalities)
        Normalised cost of each alignment: that of `dtw_path`, or for ``gamma > 0`` the
        expected sum of local costs over the expected length of the path. It is 0 for
        the reference, and NaN for missing sequences and tables.
    cost_ : float
        Mean of `distances_` without NaN; NaN if all are NaN.
    n_modalities_in_ : int
        Number of modalities seen in `fit`.
    modality_names_in_ : ndarray of str of shape (n_modalities,)
        Names of the modalities.
    n_features_per_modality_in_ : ndarray of int of shape (n_modalities,)
        Their numbers of features; of a frame, where they hold sequences.
    n_features_in_ : int
        Number of features in all.
    feature_names_in_ : ndarray of str of shape (`n_features_in_`,)
        Names ``<modality>__<feature>``, if the input had names.

    Raises
    ------
    ValueError
        If a sequence is empty or has a value that is NaN or infinite, the constraints
        allow no path, modalities have different features and no projections, a
        modality is missing for every sample of `fit`, the reference is not a modality
        of sequences, or options contradict each other.

    See Also
    --------
    dtw_path : Aligns two sequences.
    dtw_barycenter : Averages sequences.
    mmfusion.preprocessing.SequencePooling : Pools aligned sequences into rows.

    Notes
    -----
    *One long recording per modality* is data of a single row:
    ``Modalities({"audio": [audio], "video": [video]})``. Its alignment is ``paths_[0]``
    and takes little memory, since the matrix of costs is never stored as a whole (with
    ``gamma=0``, and the step pattern 'symmetric1' or 'symmetric2'); a window makes it
    fast.

    *A data set* has a row per sample, whose sequences are aligned with each other, not
    with those of other samples. Set `n_frames` to bring all samples to one length, or
    follow the aligner with SequencePooling or SequenceResampler in a Pipeline that
    ends in a clusterer or classifier.

    `fit` learns nothing but the layout: `transform` aligns samples of `fit` and others
    alike. `fit` keeps its paths for `inverse_transform`, which takes those of other
    samples from `align`. Missing sequences stay
    missing, and a sample with a single sequence keeps it, resampled to `n_frames` if
    given. The time for each sequence but the reference is proportional to the product
    of both lengths and to the number of features.

    Modalities are compared in their units and features: put a StandardScaler by
    PerModality before the aligner where units differ. CTWAligner learns projections
    where features differ. The barycentre is that of squared Euclidean distances for any
    metric.

    `set_output` makes DataFrames of tables; sequences stay arrays.

    References
    ----------
    Sakoe, H. and Chiba, S. (1978). Dynamic programming algorithm optimization for
    spoken word recognition. IEEE Transactions on ASSP 26(1), 43-49.

    Cuturi, M. and Blondel, M. (2017). Soft-DTW: a differentiable loss function for
    time-series. ICML 34, 894-903. (``gamma > 0``)

    Examples
    --------
    >>> import numpy as np
    >>> from mmfusion import Modalities
    >>> from mmfusion.alignment import DTWAligner
    >>> X = Modalities({
    ...     "audio": [np.array([[0.0], [1.0], [2.0]])],
    ...     "video": [np.array([[0.1], [0.1], [1.1], [1.9], [2.1]])],
    ... })
    >>> aligner = DTWAligner()
    >>> aligner.fit_transform(X)["video"][0].ravel().round(6).tolist()
    [0.1, 1.1, 2.0]
    >>> aligner.paths_[0]["video"].tolist()
    [[0, 0], [0, 1], [1, 2], [2, 3], [2, 4]]
    >>> aligner.distances_.round(6).tolist()
    [[0.0, 0.01]]
    """

    _parameter_constraints: dict = {
        **BaseAligner._parameter_constraints,
        "reference": [INTEGER, str],
        "metric": [str, callable],
        "step_pattern": [str, StepPattern],
        "window": [StrOptions(set(WINDOWS)), None],
        "open_begin": OPEN_ENDS,
        "open_end": OPEN_ENDS,
        "radius": [Interval(Real, 0, None, closed="left")],
        "max_slope": [Interval(Real, 1, None, closed="left")],
        "penalty": [Interval(Real, 0, None, closed="left")],
        "max_jump": [Interval(Integral, 0, None, closed="left"), None],
        "max_length": [Interval(Real, 1, None, closed="left"), None],
        "gamma": [Interval(Real, 0, None, closed="left")],
        "projections": [dict, None],
    }

    def __init__(
        self,
        reference: int | str = 0,
        *,
        n_frames: int | None = None,
        metric: str | Callable[..., Any] = "sqeuclidean",
        step_pattern: str | StepPattern = "symmetric1",
        window: str | None = None,
        radius: float = 0.1,
        max_slope: float = 2.0,
        penalty: float = 0.0,
        max_jump: int | None = None,
        open_begin: EndLimits = False,
        open_end: EndLimits = False,
        max_length: int | float | None = None,
        gamma: float = 0.0,
        projections: Mapping[str, Any] | None = None,
        n_jobs: int | None = None,
        modalities: ColumnSpecLike = None,
        verbose: bool | int = False,
    ) -> None:
        self.reference = reference
        self.n_frames = n_frames
        self.metric = metric
        self.step_pattern = step_pattern
        self.window = window
        self.radius = radius
        self.max_slope = max_slope
        self.penalty = penalty
        self.max_jump = max_jump
        self.open_begin = open_begin
        self.open_end = open_end
        self.max_length = max_length
        self.gamma = gamma
        self.projections = projections
        self.n_jobs = n_jobs
        self.modalities = modalities
        self.verbose = verbose

    @fit_context(prefer_skip_nested_validation=True)
    def fit(
        self, X: ModalitiesLike, y: object = None, *, costs: SampleCosts | None = None
    ) -> Self:
        """Align samples, and keep their paths.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The data.
        y : object, default=None
            Not used.
        costs : sequence of dict of str to array-like, default=None
            Local costs for the metric 'precomputed', in the form of `paths_`: for each
            sample, by its observed modalities but the axis, a matrix of shape
            (n_axis_frames, n_frames).

        Returns
        -------
        self
            The fitted aligner.
        """
        self._fit(X, warp=False, costs=costs)
        return self

    @fit_context(prefer_skip_nested_validation=True)
    def fit_transform(
        self, X: ModalitiesLike, y: object = None, *, costs: SampleCosts | None = None
    ) -> Modalities | np.ndarray:
        """Fit, and return the aligned samples, at the cost of one alignment.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The data.
        y : object, default=None
            Not used.
        costs : sequence of dict of str to array-like, default=None
            Local costs for the metric 'precomputed', in the form of `paths_`: for each
            sample, by its observed modalities but the axis, a matrix of shape
            (n_axis_frames, n_frames).

        Returns
        -------
        Modalities or array
            The output of `transform` for the same samples.
        """
        return self._fit_transform(X, costs=costs)

    def transform(
        self, X: ModalitiesLike, *, costs: SampleCosts | None = None
    ) -> Modalities | np.ndarray:
        """Align samples, those of `fit` or others.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The data.
        costs : sequence of dict of str to array-like, default=None
            Local costs for the metric 'precomputed', in the form of `paths_`: for each
            sample, by its observed modalities but the axis, a matrix of shape
            (n_axis_frames, n_frames).

        Returns
        -------
        Modalities or array
            Sequences of one length per sample, in the features of the input;
            Modalities if X had modalities, else an array.
        """
        return self._transform(X, costs=costs)

    def align(
        self, X: ModalitiesLike, *, costs: SampleCosts | None = None
    ) -> list[dict[str, Alignment]]:
        """Align samples, those of `fit` or others, and return their alignments.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The data.
        costs : sequence of dict of str to array-like, default=None
            Local costs for the metric 'precomputed', in the form of `paths_`: for each
            sample, by its observed modalities but the axis, a matrix of shape
            (n_axis_frames, n_frames).

        Returns
        -------
        list of dict of str to Alignment
            For each sample, the alignments of its observed modalities with its axis,
            with ``path`` and the normalised ``cost``. `inverse_transform` takes them.
        """
        return self._alignments_of(X, costs=costs)

    def score(
        self, X: ModalitiesLike, y: object = None, *, costs: SampleCosts | None = None
    ) -> float:
        """Return minus the mean cost of aligning samples.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The data.
        y : object, default=None
            Not used.
        costs : sequence of dict of str to array-like, default=None
            Local costs for the metric 'precomputed', in the form of `paths_`: for each
            sample, by its observed modalities but the axis, a matrix of shape
            (n_axis_frames, n_frames).

        Returns
        -------
        float
            Minus the mean of the normalised costs; for the samples of `fit` it is
            minus `cost_`.
        """
        alignments = self._alignments_of(X, costs=costs)
        return -mean_cost(self._by_modality(alignments, "cost"))

    def _sample_aligner(
        self, samples: list[SampleSequences], **metadata: Any
    ) -> Callable[[int], dict[str, Alignment]]:
        dtw = self._reference_dtw(metadata["costs"], len(samples))
        if dtw.costs is None:
            samples = self._projected(samples)
        return lambda i: dtw.align(samples[i], i)

    def _reference_dtw(self, costs: SampleCosts | None, n_samples: int) -> ReferenceDTW:
        """Check the options of the alignment, and return it."""
        layout = self._layout
        reference = resolve_reference(self.reference, layout.names, layout.sequences)
        if self.metric == "precomputed":
            self._check_costs(costs, n_samples)
        elif not callable(self.metric) and self.metric not in LOCAL_METRICS:
            raise ValueError(
                f"metric={self.metric!r} is not one of "
                f"{(*LOCAL_METRICS, 'precomputed')}, nor callable"
            )
        elif costs is not None:
            raise ValueError(
                f"metric={self.metric!r} computes the costs; leave costs out, or set "
                "metric='precomputed'"
            )
        constraints = Constraints(
            self.step_pattern,
            self.window,
            self.radius,
            self.max_slope,
            self.penalty,
            self.max_jump,
            self.open_begin,
            self.open_end,
            self.max_length,
        )
        if self.gamma:
            self._check_soft(constraints)
        return ReferenceDTW(reference, self.metric, constraints, self.gamma, costs)

    def _check_costs(self, costs: SampleCosts | None, n_samples: int) -> None:
        """Raise an error for costs that do not fit the samples or other options."""
        if costs is None:
            raise ValueError(
                "metric='precomputed' needs costs=, a dict of matrices by modality for "
                "each sample; in a Pipeline it is routed there, once metadata routing "
                "is enabled, by set_fit_request(costs=True) and set_transform_request"
            )
        check_by_sample(costs, "costs", "matrices")
        if len(costs) != n_samples:
            raise ValueError(f"costs has {len(costs)} samples, and X has {n_samples}")
        known = self._layout.sequences
        for i, given in enumerate(costs):
            unknown = sorted(set(given) - set(known))
            if unknown:
                raise ValueError(
                    f"costs[{i}] has {unknown}; the modalities of sequences are {known}"
                )
        if self.reference == "barycenter" or self.projections is not None:
            raise ValueError(
                "metric='precomputed' has costs between given frames only; leave "
                "projections out, and let reference be a modality or 'longest'"
            )

    def _check_soft(self, constraints: Constraints) -> None:
        """Raise an error for constraints that soft alignment does not have."""
        is_free = (
            self.window != "multiscale"
            and self.max_jump is None
            and self.max_length is None
            and not (self.penalty or constraints.is_open)
        )
        if constraints.pattern.name != "symmetric1" or not is_free:
            raise ValueError(
                f"gamma={self.gamma} is a mean over all paths of step_pattern "
                "'symmetric1'; leave step_pattern, penalty, max_jump, max_length and "
                "open ends at their defaults, give another window than 'multiscale', "
                "or set gamma=0"
            )

    def _projected(self, samples: list[SampleSequences]) -> list[SampleSequences]:
        """Return the sequences between which costs are measured."""
        names = self._layout.names
        chosen = by_modality(self.projections, names, "projections")
        by_name = dict(zip(names, chosen, strict=True))
        projected = [
            {name: _project(x, by_name[name], name, i) for name, x in sample.items()}
            for i, sample in enumerate(samples)
        ]
        # by sample, since the output width of a transformer is not in the layout
        widths = {n: x.shape[1] for sample in projected for n, x in sample.items()}
        # a barycentre averages frames, which a callable metric does not make possible
        compares_any = callable(self.metric) and self.reference != "barycenter"
        if len(set(widths.values())) > 1 and not compares_any:
            listed = ", ".join(
                f"{name!r} has {widths[name]}" for name in names if name in widths
            )
            frames = [x for sample in samples for x in sample.values()]
            raise ValueError(
                f"modalities have frames of different features ({listed}), which no "
                "metric compares; give projections= to the same features, or learn "
                f"them by CTWAligner{transposed_remedy(frames)}"
            )
        return projected


def _project(sequence: np.ndarray, projection: Any, name: str, i: int) -> np.ndarray:
    """Project the frames of a sequence by a matrix or a fitted transformer."""
    if projection is None:
        return sequence
    what = f"modality {name!r}: the sequence of sample {i}, of shape {sequence.shape}"
    try:
        if hasattr(projection, "transform"):
            # not every transformer raises NotFittedError by itself
            check_is_fitted(projection)
            found = np.asarray(projection.transform(sequence))
        else:
            found = sequence @ as_float_array(projection, f"projections[{name!r}]")
    except NotFittedError as error:
        raise ValueError(
            f"{what}, has a projection that is not fitted: {error} Where the aligner "
            "is cloned, as in a search, give it in a FrozenEstimator"
        ) from error
    except (TypeError, ValueError) as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"{what}, cannot be projected: {error}") from error
    if found.ndim != 2 or len(found) != len(sequence) or not np.isfinite(found).all():
        raise ValueError(
            f"{what}, is projected to an array of shape {found.shape}; expected finite "
            "numbers, with a row per frame"
        )
    return found
