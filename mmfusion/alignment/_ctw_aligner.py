"""Alignment of modalities of different features by canonical time warping."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations
from numbers import Integral, Real
from typing import Any, NamedTuple

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from mmfusion._scaling import centered, is_constant
from mmfusion._sklearn_compat import INTEGER, Interval, StrOptions
from mmfusion._threads import one_thread
from mmfusion._typing import ColumnSpecLike, ModalitiesLike
from mmfusion._warnings import warn_user
from mmfusion.alignment._alignments import Alignment
from mmfusion.alignment._base import BaseAligner, SampleSequences
from mmfusion.alignment._dtw_aligner import ReferenceDTW, resolve_reference
from mmfusion.alignment.ctw._held_out import HeldOutCTW, fit_held_out_ctw
from mmfusion.alignment.ctw._projections import likelihood_weights, weigh_by_likelihood
from mmfusion.alignment.dtw._constraints import WINDOWS, Constraints
from mmfusion.alignment.dtw._costs import unit_rows

CTW_STEP_PATTERN = "symmetric1"  # of both papers
# smallest spread of frames whose projections, of about its inverse, are finite
SMALLEST_SPREAD = 1e-290
# correlations of which held-out frames have less than this share are due to chance
CHANCE_SHARE = 0.5


class CenteredSequences(NamedTuple):
    """Sequences of a modality without their mean, in a unit in which squares are safe.

    The original frames are ``mean + 2**exponent * sequence``.

    Parameters
    ----------
    sequences : list of ndarray of float64 of shape (n_frames, n_features)
        The scaled deviations from the mean: at most 1, and 0 in constant features.
    mean : ndarray of shape (n_features,)
        The mean frame.
    exponent : int
        Exponent of the unit, a power of two, by which scaling is exact.
    """

    sequences: list[np.ndarray]
    mean: np.ndarray
    exponent: int


class CTWAligner(BaseAligner):
    """Learn projections of the modalities, and warp them onto one time axis by these.

    Each sample has a sequence per modality, of unequal lengths and clocks, and of
    different features. Canonical time warping finds projections :math:`V_v` of the
    frames of each modality v, and warps :math:`P_{iv}` of each sample i, that minimise

    .. math:: \\sum_i \\sum_{u < v} \\lVert X_{iu}[P_{iu}] V_u - X_{iv}[P_{iv}] V_v
              \\rVert^2

    where the scores :math:`X V` of each modality have unit variance and are
    uncorrelated, by canonical correlation analysis and warping in turn. All samples
    share the projections, which thus apply to later samples. Every sample is then
    aligned as by DTWAligner, with the costs of `metric` between projected frames.
    Modalities that are tables pass through as they are.

    Parameters
    ----------
    n_components : int, default=None
        Number of directions of the projections, at most the features of the smallest
        modality. None has as many as `energy` requires.
    reference : int or str, default=0
        Time axis of a sample: a modality, by position or by name; 'longest', the
        longest of its sequences (the first of several); or 'barycenter', the mean of
        its projected sequences by `dtw_barycenter`. The axis of a sample that lacks
        the modality is its longest sequence. Both words take precedence over a
        modality of that name.
    n_frames : int, default=None
        Number of frames of the output, at least 2, to which the axis of every sample
        is resampled linearly. None keeps the length of each sample's axis.
    energy : float, default=0.8
        Share of the sum of the canonical correlations, at uniform warps, that the
        directions account for.
    ridge : float or 'auto', default='auto'
        Weight, between 0 and 1, of the identity, scaled by the mean variance, in the
        covariance of each modality. It shrinks directions that correlate by chance,
        where features are many relative to frames. 'auto' fits with ridge 0, with .1,
        and with ridges of 1, .6, .3 and .1 in turn, each from the warps of the last,
        and keeps the fit whose correlations of held-out frames have the largest mean.
    warp : {'auto', 'basis', 'free', 'combined', 'dtw'}, default='auto'
        Warps during learning. 'basis': weighted means of six monotone functions for
        each sequence, in a time linear in the length. 'free': paths of DTW. 'combined':
        'free' from two starts, uniform warps and those of 'basis', of which the one of
        higher correlation is kept. 'dtw': 'free' from paths between the unprojected
        features, which modalities must share; it alone depends on linear mixing of the
        features. 'auto': 'combined' for a single sample, and 'basis' for more. After
        learning, samples are always aligned by DTW.
    metric : {'euclidean', 'sqeuclidean'}, default='euclidean'
        Local cost of two projected frames, by which samples are aligned after
        learning. Distances give single frames that are far off less weight than their
        squares, which the objective has, and align better on most data. Squares are
        better where frames have many features of noise.
    window : {'sakoe_chiba', 'itakura', 'multiscale'}, default=None
        Frames that may be aligned; see `dtw_path`. None allows all pairs.
    radius : int or float, default=0.1
        Half width of 'sakoe_chiba' and 'multiscale' in frames; a float is a share of
        the longer sequence, at most 1.
    max_slope : float, default=2.0
        Largest slope of 'itakura', relative to the straight line.
    max_iter : int, default=100
        Largest number of alternations, with each ridge.
    tol : float, default=0.01
        Tolerance, in frames: alternations end when no warp moves by more.
    n_jobs : int, default=None
        Number of samples aligned at once, in threads, once projections are learned.
        None is 1 unless in a joblib context, -1 all processors.
    modalities : int, list of int, str or dict, default=None
        Column spec that splits a plain 2-D X; None takes it as one modality. See
        :meth:`Modalities.from_table`.
    verbose : bool or int, default=False
        Whether to show the progress of many samples: True or 1 by a bar, where tqdm is
        installed and stderr is a terminal or a notebook, else by lines with their
        seconds; 2 by lines.

    Attributes
    ----------
    projections_ : dict of str to ndarray of shape (n_features, n_components)
        Projections: costs are those of ``(frames - means_[name]) @
        projections_[name]``. Directions are in descending order of their correlation
        r. Each is scaled from unit variance by the root of ``r / (1 - r^2)``, for
        which the path of least squares is the likeliest.
    means_ : dict of str to ndarray of shape (n_features,)
        Mean warped frame of each modality.
    correlations_ : ndarray of shape (n_components,)
        Canonical correlations along the warps of the learned projections, averaged
        over pairs of modalities.
    held_out_correlations_ : ndarray of shape (n_components,)
        The same for frames that projections are not learned from: each fifth of the
        steps of every warp, by projections learned from the other four. If they are
        much smaller than `correlations_`, these are due to chance.
    ridge_ : float
        The ridge of the projections.
    n_iter_ : int
        Number of alternations, with all ridges of the fit that is kept, of the better
        start for 'combined'; 1 if there are only tables.
    paths_ : list of dict of str to ndarray of int64 of shape (length, 2)
        Pairs of aligned frames, of the axis (before it is resampled) and of the
        modality, for each sample of `fit` by its observed modalities. That of the
        reference is straight.
    distances_ : ndarray of float64 of shape (n_samples, n_modalities)
        Normalised cost of each alignment with the axis, that of `dtw_path` between
        projected frames. It is 0 for the reference, and NaN for missing sequences and
        tables.
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
        If a sequence is empty or has a value that is NaN or infinite, only one modality
        holds sequences, no sample of `fit` has all of them, a modality is constant or
        has fewer directions than `n_components`, the window allows a sample no path,
        or the reference is not a modality of sequences.

    See Also
    --------
    DTWAligner : Aligns modalities of the same features, without learning.
    mmfusion.preprocessing.SequencePooling : Pools aligned sequences into rows.

    Notes
    -----
    *A data set* has a row per sample. The covariances are pooled over the samples that
    have every modality; incomplete samples are not used for learning, and are aligned
    by their observed modalities. `transform` aligns later samples by the same
    projections. This is better than to fit each sample alone, since the correlations
    of a single pair of sequences may be due to chance.

    *One long recording per modality* is data of a single row, as for DTWAligner.

    Projections of many samples are learned by 'basis', since warps of few parameters
    cannot follow directions that have nothing in common, which free warps can. For a
    single sample the free warp is the result itself.

    *Many features and few frames*, such as 176 features of a single pair, have
    directions that correlate by chance at any warp, so that a wrong warp is not
    improved. ``ridge='auto'`` avoids most of that, and a warning is given where the
    mean of `held_out_correlations_`, with directions weighted as in costs, is less than
    half of that of `correlations_`. More samples, or the first principal components of
    each modality, help further.

    The alternation is not proven to converge: the projections with the highest sum of
    correlations are kept. It has squared distances for any `metric`, which is that of
    the last alignment alone: `projections_` do not depend on it. The warps are
    invariant to linear maps of a modality if `ridge` is 0; else features of larger
    variance have more weight: standardise features of different units.

    References
    ----------
    F. Zhou & F. De la Torre (2009). Canonical time warping for alignment of human
    behavior. NeurIPS 22, 2286-2294.

    F. Zhou & F. De la Torre (2016). Generalized canonical time warping. IEEE TPAMI
    38(2), 279-294. (``warp='basis'``)

    Examples
    --------
    >>> from mmfusion.alignment import CTWAligner
    >>> from mmfusion.datasets import make_multimodal_sequences
    >>> X, _, _ = make_multimodal_sequences(
    ...     8, {"audio": 3, "video": 5}, random_state=0
    ... )
    >>> aligner = CTWAligner(n_components=2).fit(X[:6])
    >>> aligner.projections_["video"].shape
    (5, 2)
    >>> unseen = aligner.transform(X[6:])
    >>> [len(x) for x in unseen["audio"]] == [len(x) for x in unseen["video"]]
    True
    >>> aligner.score(X[6:]) > 0.9
    True
    """

    _parameter_constraints: dict = {
        **BaseAligner._parameter_constraints,
        "n_components": [Interval(Integral, 1, None, closed="left"), None],
        "reference": [INTEGER, str],
        "energy": [Interval(Real, 0, 1, closed="right")],
        "ridge": [Interval(Real, 0, 1, closed="both"), StrOptions({"auto"})],
        "warp": [StrOptions({"auto", "basis", "free", "combined", "dtw"})],
        "metric": [StrOptions({"euclidean", "sqeuclidean"})],
        "window": [StrOptions(set(WINDOWS)), None],
        "radius": [Interval(Real, 0, None, closed="left")],
        "max_slope": [Interval(Real, 1, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="left")],
    }

    def __init__(
        self,
        n_components: int | None = None,
        *,
        reference: int | str = 0,
        n_frames: int | None = None,
        energy: float = 0.8,
        ridge: float | str = "auto",
        warp: str = "auto",
        metric: str = "euclidean",
        window: str | None = None,
        radius: float = 0.1,
        max_slope: float = 2.0,
        max_iter: int = 100,
        tol: float = 0.01,
        n_jobs: int | None = None,
        modalities: ColumnSpecLike = None,
        verbose: bool | int = False,
    ) -> None:
        self.n_components = n_components
        self.reference = reference
        self.n_frames = n_frames
        self.energy = energy
        self.ridge = ridge
        self.warp = warp
        self.metric = metric
        self.window = window
        self.radius = radius
        self.max_slope = max_slope
        self.max_iter = max_iter
        self.tol = tol
        self.n_jobs = n_jobs
        self.modalities = modalities
        self.verbose = verbose

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Set the state, of an aligner stored without a metric as well."""
        super().__setstate__({"metric": "sqeuclidean"} | state)

    def score(self, X: ModalitiesLike, y: object = None) -> float:
        """Return the mean correlation of the aligned modalities.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The data.
        y : object, default=None
            Not used.

        Returns
        -------
        float
            Mean correlation, over directions and pairs of modalities, of the scores of
            all samples of X along their warps: at most 1, and the same for any unit and
            any scale of the projections. NaN if no sample has two modalities. More
            directions lower it even where they align better: compare `n_components` by
            the score of a Pipeline that follows the aligner.
        """
        samples = self._samples(self._validate(X, reset=False, raw=True))
        aligned = self._align(samples, warp=False)
        on_axis = [
            {name: a.warp(sample[name]) for name, a in found.alignments.items()}
            for sample, found in zip(self._projected(samples), aligned, strict=True)
        ]
        return _mean_correlation(on_axis, list(self.projections_))

    def _fit_samples(self, samples: list[SampleSequences], **metadata: Any) -> None:
        names = list(self._layout.sequences)
        self.projections_: dict[str, np.ndarray] = {}
        self.means_: dict[str, np.ndarray] = {}
        self.correlations_, self.held_out_correlations_ = np.empty(0), np.empty(0)
        self.ridge_, self.n_iter_ = 0.0, 1
        if not names:
            return
        complete = self._complete(samples, names)
        self._check_reference_and_window(samples)
        centered_by_modality, found = self._learn(complete, names)
        fitted = weigh_by_likelihood(found.fit.projections)
        for v, (name, (_, mean, exponent)) in enumerate(
            zip(names, centered_by_modality, strict=True)
        ):
            self.projections_[name] = np.ldexp(fitted.weights[v], -exponent)
            self.means_[name] = mean + np.ldexp(fitted.means[v], exponent)
        self.correlations_, self.n_iter_ = fitted.correlations, found.fit.n_iter
        self.held_out_correlations_, self.ridge_ = found.correlations, found.ridge

    def _complete(
        self, samples: list[SampleSequences], names: list[str]
    ) -> list[list[np.ndarray]]:
        """Return the samples that have every modality, as lists of their sequences."""
        if len(names) == 1:
            raise ValueError(
                f"only modality {names[0]!r} holds sequences; canonical time warping "
                "correlates those of two or more"
            )
        complete = [
            [sample[name] for name in names]
            for sample in samples
            if len(sample) == len(names)
        ]
        if not complete:
            raise ValueError(
                f"no sample of fit has a sequence of every modality of {names}, and "
                "projections are learned from those that have; give such samples, or "
                "leave a modality out"
            )
        widths = [x.shape[1] for x in complete[0]]
        if self.n_components is not None and self.n_components > min(widths):
            name = names[int(np.argmin(widths))]
            raise ValueError(
                f"n_components={self.n_components}, but frames of modality {name!r} "
                f"have {min(widths)} features; give at most that many"
            )
        return complete

    def _check_reference_and_window(self, samples: list[SampleSequences]) -> None:
        """Raise errors about the reference and the window before the learning."""
        dtw = self._reference_dtw()
        if self.window is None:
            return
        for i, sample in enumerate(samples):
            if sample:  # the lengths decide, so that one feature suffices
                dtw.align({name: x[:, :1] for name, x in sample.items()}, i)

    def _learn(
        self, complete: list[list[np.ndarray]], names: list[str]
    ) -> tuple[list[CenteredSequences], HeldOutCTW]:
        """Centre and scale the sequences of each modality, and learn projections."""
        centered_by_modality = [
            centered_sequences([sample[v] for sample in complete], name)
            for v, name in enumerate(names)
        ]
        by_sample = zip(*(c.sequences for c in centered_by_modality), strict=True)
        try:
            with one_thread():
                found = fit_held_out_ctw(
                    [list(own) for own in by_sample],
                    self.warp,
                    complete,
                    # the window limits the warps during learning, too
                    self._window_options(),
                    n_directions=self.n_components,
                    energy=self.energy,
                    ridge=self.ridge,
                    max_iter=self.max_iter,
                    tol=self.tol,
                )
        except ValueError as error:
            raise ValueError(
                f"nothing can be learned from modalities {names} (here counted from "
                f"0): {error}"
            ) from error
        self._warn_of(found)
        return centered_by_modality, found

    def _window_options(self) -> dict[str, Any]:
        """Return the options of `dtw_path` that constrain warps."""
        return {
            "window": self.window,
            "radius": self.radius,
            "max_slope": self.max_slope,
        }

    def _warn_of(self, found: HeldOutCTW) -> None:
        """Warn of an alternation without end, and of correlations due to chance."""
        if found.fit.reason == "max_iter":
            warn_user(
                f"after max_iter={self.max_iter} alternations the warps still move by "
                f"more than tol={self.tol} frames; the projections that correlate most "
                "are kept. Raise max_iter or tol, or ridge if frames are few",
                ConvergenceWarning,
            )
        correlations = found.fit.projections.correlations
        # beside some directions that are not due to chance, others hardly matter
        weights = likelihood_weights(correlations)
        if not weights.any():
            return
        learned = float(np.average(correlations, weights=weights))
        held_out = float(np.average(found.correlations, weights=weights))
        if held_out < CHANCE_SHARE * learned:
            remedy = "set ridge='auto', or " if found.ridge == self.ridge else ""
            warn_user(
                "the projections correlate by chance: the correlations of the frames "
                f"that they are learned from are {learned:.2f} on average, those of "
                f"held-out frames {held_out:.2f}; the alignment may be arbitrary. Too "
                f"many features for the frames: {remedy}fit more samples, or the first "
                "principal components of each modality",
            )

    def _sample_aligner(
        self, samples: list[SampleSequences], **metadata: Any
    ) -> Callable[[int], dict[str, Alignment]]:
        projected = self._projected(samples)
        dtw = self._reference_dtw()
        return lambda i: dtw.align(projected[i], i)

    def _reference_dtw(self) -> ReferenceDTW:
        layout = self._layout
        reference = resolve_reference(self.reference, layout.names, layout.sequences)
        constraints = Constraints(
            CTW_STEP_PATTERN, self.window, self.radius, self.max_slope
        )
        return ReferenceDTW(reference, self.metric, constraints)

    def _projected(self, samples: list[SampleSequences]) -> list[SampleSequences]:
        """Return the projected sequences, between which costs are measured."""
        return [
            {
                name: (x - self.means_[name]) @ self.projections_[name]
                for name, x in sample.items()
            }
            for sample in samples
        ]


def centered_sequences(sequences: list[np.ndarray], name: str) -> CenteredSequences:
    """Subtract the mean frame of a modality, and divide by about its largest value.

    Parameters
    ----------
    sequences : list of ndarray of shape (n_frames, n_features)
        The sequences of all samples.
    name : str
        Name of the modality, for errors.

    Returns
    -------
    CenteredSequences
        The scaled deviations, the mean and the unit.

    Raises
    ------
    ValueError
        If frames do not vary, or differ by more than can be squared.
    """
    frames = np.concatenate(sequences)
    magnitude = np.abs(frames).max(axis=0)
    deviations, mean = centered(frames.astype(np.float64, copy=False))
    spread = np.abs(deviations).mean(axis=0)
    constant = is_constant(spread, magnitude, frames.dtype)
    if constant.all():
        raise ValueError(
            f"the frames of modality {name!r} are all the same, in every sample that "
            "is complete; nothing correlates with them: leave the modality out"
        )
    deviations[:, constant] = 0  # their deviations are rounding errors
    largest = np.abs(deviations).max()
    if not SMALLEST_SPREAD < largest < 1 / SMALLEST_SPREAD:
        raise ValueError(
            f"the frames of modality {name!r} differ by {largest:.3g}, beyond what "
            "numbers of 64 bits can be squared and divided by; bring them to another "
            "unit"
        )
    exponent = int(np.frexp(largest)[1])
    stops = np.cumsum([len(x) for x in sequences])[:-1]
    scaled = np.split(np.ldexp(deviations, -exponent), stops)
    return CenteredSequences(scaled, mean[0], exponent)


def _mean_correlation(samples: list[SampleSequences], names: list[str]) -> float:
    """Return the mean over directions and pairs of modalities of their correlations."""
    correlations = []
    for one, other in combinations(names, 2):
        both = [s for s in samples if one in s and other in s]
        if not both:
            continue
        x, y = (np.concatenate([s[name] for s in both]) for name in (one, other))
        # scores that do not vary have a correlation of 0
        x, y = unit_rows(x.T, center=True), unit_rows(y.T, center=True)
        correlations.append((x * y).sum(axis=1).mean())
    return float(np.mean(correlations)) if correlations else np.nan
