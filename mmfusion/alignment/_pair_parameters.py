"""Parameters of pair hidden Markov models of two modalities, and their learning."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from joblib import Parallel, delayed

from mmfusion._typing import MetricLike
from mmfusion.alignment._pair_lattice import (
    PairHMM,
    PairPosteriors,
    PairScores,
    pair_posteriors,
)
from mmfusion.alignment.dtw._constraints import Constraints
from mmfusion.alignment.dtw._costs import cost_matrix, make_costs
from mmfusion.alignment.dtw._path import find_path
from mmfusion.alignment.dtw._soft import SoftOptions

LEAST_COST_SHARE = 1e-3  # of the mean cost of all pairs of frames, for the softness
MAX_MEDIAN_CELLS = 100_000  # of a pair of sequences
PSEUDO_COUNT = 0.1  # of every allowed transition and kind of step
VARIANCE_FLOOR = 0.1  # of the mean squared error of the features
REGRESSION_RIDGE = (
    1e-6  # of the mean square of the features, so that products are invertible
)

SequencePair = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class PairParameters:
    """Comparison of the frames of a modality with those of the reference.

    The score of a match is ``-c / softness`` for the local cost c, and that of a gap
    ``-gap_cost / softness``.

    Parameters
    ----------
    softness : float
        Local cost that divides the weight of a match by e.
    gap_cost : float
        Local cost that a frame without counterpart stands for.
    hmm : PairHMM
        Weights of steps.
    weights : ndarray of shape (n_features,), default=None
        Weights of the squared differences of features, of geometric mean 1.
    projection : ndarray of shape (n_features + 1, n_reference_features), default=None
        Linear map of the frames of the modality, followed by 1, to the features of the
        reference.
    """

    softness: float
    gap_cost: float
    hmm: PairHMM
    weights: np.ndarray | None = None
    projection: np.ndarray | None = None

    def pair_of(self, axis: np.ndarray, sequence: np.ndarray) -> SequencePair:
        """Return two sequences in the features whose squared differences are added.

        Parameters
        ----------
        axis : ndarray of shape (n, n_reference_features)
            Frames of the axis.
        sequence : ndarray of shape (m, n_features)
            Frames of the modality.

        Returns
        -------
        tuple of two ndarray
            The sequences.
        """
        if self.projection is not None:
            sequence = sequence @ self.projection[:-1] + self.projection[-1]
        if self.weights is None:
            return axis, sequence
        roots = np.sqrt(self.weights)
        return axis * roots, sequence * roots

    def scores_of(
        self,
        axis: np.ndarray,
        sequence: np.ndarray,
        metric: MetricLike,
        window: SoftOptions,
    ) -> PairScores:
        """Compute the scores of two sequences.

        Parameters
        ----------
        axis, sequence
            Arguments of `pair_of`.
        metric : str or callable
            Local cost.
        window : SoftOptions
            Frames that may be aligned.

        Returns
        -------
        PairScores
            The scores.
        """
        costs = local_costs(*self.pair_of(axis, sequence), metric)
        n, m = costs.shape
        gap = -self.gap_cost / self.softness
        return PairScores(
            costs / -self.softness,
            np.full(n, gap),
            np.full(m, gap),
            window.window_of(n, m),
        )


def local_costs(
    axis: np.ndarray, sequence: np.ndarray, metric: MetricLike
) -> np.ndarray:
    """Compute the local costs of two sequences.

    Parameters
    ----------
    axis, sequence : ndarray of shape (n, d) and (m, d)
        The sequences.
    metric : str or callable
        Local cost, as in `dtw_path`.

    Returns
    -------
    ndarray of float64 of shape (n, m)
        The costs.
    """
    return cost_matrix(make_costs(axis, sequence, metric, np.float64))


class CostScale(NamedTuple):
    """Typical local costs of a modality.

    Parameters
    ----------
    matched : float
        Median cost along the paths of dynamic time warping.
    unmatched : float
        Median cost of all pairs of frames.
    """

    matched: float
    unmatched: float


def scale_of_costs(
    pairs: list[SequencePair],
    metric: MetricLike,
    constraints: Constraints,
    n_jobs: int | None,
) -> CostScale:
    """Measure typical local costs of pairs of sequences.

    Parameters
    ----------
    pairs : list of tuple of two ndarray
        Sequences of the axis and of the modality.
    metric : str or callable
        Local cost.
    constraints : Constraints
        Window of the paths.
    n_jobs : int or None
        Number of threads.

    Returns
    -------
    CostScale
        Both at least a thousandth of the mean cost; 1 if all costs are 0.
    """

    def costs_of(pair: SequencePair) -> tuple[np.ndarray, np.ndarray, float]:
        costs = local_costs(*pair, metric)
        path = find_path(costs, None, "precomputed", constraints, wants_path=True).path
        cells = costs.ravel()[:: max(1, costs.size // MAX_MEDIAN_CELLS)]
        cells = cells[np.isfinite(cells)]
        return costs[tuple(path.T)], cells, float(cells.mean())

    found = Parallel(n_jobs=n_jobs, prefer="threads")(
        delayed(costs_of)(p) for p in pairs
    )
    on_path, cells, means = zip(*found, strict=True)
    least = LEAST_COST_SHARE * float(np.mean(means)) or 1.0
    matched, unmatched = (float(np.median(np.concatenate(z))) for z in (on_path, cells))
    return CostScale(max(matched, least), max(unmatched, least))


class _Moments(NamedTuple):
    """Sums over pairs of frames, weighted by their posterior probabilities.

    Parameters
    ----------
    own : ndarray of shape (n_features + 1, n_features + 1)
        Products of the frames of the modality, followed by 1.
    both : ndarray of shape (n_features + 1, n_reference_features)
        Their products with the frames of the axis.
    squares : ndarray of shape (n_reference_features,)
        Squares of the frames of the axis.
    """

    own: np.ndarray
    both: np.ndarray
    squares: np.ndarray


def _moments_of(axis: np.ndarray, sequence: np.ndarray, match: np.ndarray) -> _Moments:
    own = np.column_stack([sequence, np.ones(len(sequence))])
    return _Moments(
        (own * match.sum(axis=0)[:, None]).T @ own,
        own.T @ (match.T @ axis),
        match.sum(axis=1) @ axis**2,
    )


def _added(moments: list[_Moments]) -> _Moments:
    own, both, squares = zip(*moments, strict=True)
    return _Moments(np.sum(own, axis=0), np.sum(both, axis=0), np.sum(squares, axis=0))


class _Expectations(NamedTuple):
    """Sums over the posteriors of all pairs, for an M-step.

    Parameters
    ----------
    log_likelihood : float
        Sum of the log-likelihoods.
    transitions, starts, steps : ndarray
        Sums of the counts of `PairPosteriors`.
    moments : _Moments or None
        Moments of the pairs of frames.
    """

    log_likelihood: float
    transitions: np.ndarray
    starts: np.ndarray
    steps: np.ndarray
    moments: _Moments | None


@dataclass(frozen=True)
class PairLearning:
    """Expectation maximisation of some of the parameters.

    Parameters
    ----------
    metric : str or callable
        Local cost.
    window : SoftOptions
        Frames that may be aligned.
    learns_transitions, learns_weights, learns_projection : bool
        What an M-step changes.
    """

    metric: MetricLike
    window: SoftOptions
    learns_transitions: bool
    learns_weights: bool
    learns_projection: bool

    @property
    def learns(self) -> bool:
        """Whether there is anything to learn."""
        return self.learns_transitions or self.learns_weights or self.learns_projection

    def expect(
        self, parameters: PairParameters, pairs: list[SequencePair], n_jobs: int | None
    ) -> _Expectations:
        """Compute the posteriors of all pairs, and sum what an M-step needs.

        Parameters
        ----------
        parameters : PairParameters
            Current parameters.
        pairs : list of tuple of two ndarray
            Sequences of the axis and of the modality.
        n_jobs : int or None
            Number of threads.

        Returns
        -------
        _Expectations
            The sums.
        """
        needs_moments = self.learns_weights or self.learns_projection

        def expect_one(
            axis: np.ndarray, sequence: np.ndarray
        ) -> tuple[PairPosteriors, _Moments | None]:
            scores = parameters.scores_of(axis, sequence, self.metric, self.window)
            found = pair_posteriors(parameters.hmm, scores)
            moments = (
                _moments_of(axis, sequence, found.match) if needs_moments else None
            )
            return found._replace(match=np.empty((0, 0))), moments

        results = Parallel(n_jobs=n_jobs, prefer="threads")(
            delayed(expect_one)(*pair) for pair in pairs
        )
        found = [result for result, _ in results]
        own = [moments for _, moments in results if moments is not None]
        return _Expectations(
            float(sum(f.log_likelihood for f in found)),
            np.sum([f.transition_counts for f in found], axis=0),
            np.sum([f.start_counts for f in found], axis=0),
            np.sum([f.step_counts for f in found], axis=0),
            _added(own) if own else None,
        )

    def maximize(
        self, parameters: PairParameters, expected: _Expectations, floor: float
    ) -> PairParameters:
        """Return the parameters of highest expected log weight of paths.

        Parameters
        ----------
        parameters : PairParameters
            Current parameters.
        expected : _Expectations
            Sums under their posteriors.
        floor : float
            Sum of squares that is added to the errors of each feature.

        Returns
        -------
        PairParameters
            The new ones.
        """
        if self.learns_transitions:
            parameters = replace(parameters, hmm=_fit_hmm(parameters.hmm, expected))
        moments = expected.moments
        if moments is None:
            return parameters
        projection = parameters.projection
        if self.learns_projection:
            projection = _regress(moments)
            parameters = replace(parameters, projection=projection)
        if self.learns_weights:
            # the geometric mean is fixed: a common factor is that of the softness
            logs = -np.log(squared_errors(moments, projection) + floor)
            weights = np.exp(logs - logs.mean())
            parameters = replace(parameters, weights=weights)
        return parameters

    def log_prior(self, parameters: PairParameters, floor: float) -> float:
        """Return the log of the prior that `maximize` takes into account.

        Parameters
        ----------
        parameters, floor
            Arguments of `maximize`.

        Returns
        -------
        float
            The log, up to a constant.
        """
        total = 0.0
        if self.learns_weights and parameters.weights is not None:
            total -= floor * float(parameters.weights.sum()) / parameters.softness
        if self.learns_transitions:
            hmm = parameters.hmm
            learned = np.concatenate([hmm.transitions.ravel(), hmm.start, hmm.steps])
            total += PSEUDO_COUNT * float(np.log(learned[learned > 0]).sum())
        return total

    def floor_of(self, expected: _Expectations, parameters: PairParameters) -> float:
        """Return the sum of squares that is added to the errors of each feature.

        Parameters
        ----------
        expected : _Expectations
            Sums under the posteriors of the initial parameters.
        parameters : PairParameters
            The initial parameters.

        Returns
        -------
        float
            A share of the mean sum of squared errors.
        """
        if expected.moments is None:
            return 0.0
        errors = squared_errors(expected.moments, parameters.projection)
        return VARIANCE_FLOOR * float(errors.mean()) or 1.0


def squared_errors(moments: _Moments, projection: np.ndarray | None) -> np.ndarray:
    """Sum the squared differences of frames, by feature of the reference.

    Parameters
    ----------
    moments : _Moments
        Sums over pairs of frames.
    projection : ndarray or None
        Linear map to the features of the reference; None is the identity.

    Returns
    -------
    ndarray of shape (n_reference_features,)
        The sums.
    """
    if projection is None:
        n = len(moments.own) - 1
        cross, own = np.diag(moments.both[:n]), np.diag(moments.own)[:n]
    else:
        cross = (projection * moments.both).sum(axis=0)
        own = (projection * (moments.own @ projection)).sum(axis=0)
    return np.maximum(moments.squares - 2 * cross + own, 0)


def _regress(moments: _Moments) -> np.ndarray:
    """Return the linear map from the modality to the reference of least squares."""
    ridge = REGRESSION_RIDGE * np.trace(moments.own) / len(moments.own)
    return np.linalg.solve(moments.own + ridge * np.eye(len(moments.own)), moments.both)


def warping_hmm(gap_weight: float, *, is_normalized: bool) -> PairHMM:
    """Return a model of warping with parts without counterpart.

    Parameters
    ----------
    gap_weight : float
        Weight of beginning such a part; 0 forbids them.
    is_normalized : bool
        Whether the weights of a state's next steps are to sum to 1.

    Returns
    -------
    PairHMM
        The model: to go on, or to end such a part, has weight 1, before normalisation.
    """
    g = gap_weight
    start = np.array([1.0, g, g])
    transitions = np.array([[1.0, g, g], [1.0, 1.0, g], [1.0, g, 1.0]])
    if not g:
        transitions[:, 1:] = 0
    steps = np.ones(3)
    if is_normalized:
        start /= start.sum()
        transitions /= transitions.sum(axis=1, keepdims=True)
        steps /= steps.sum()
    return PairHMM(start, transitions, steps)


def _fit_hmm(hmm: PairHMM, expected: _Expectations) -> PairHMM:
    """Return the weights of allowed steps by their expected counts."""
    transitions = expected.transitions + PSEUDO_COUNT * (hmm.transitions > 0)
    starts = expected.starts + PSEUDO_COUNT * (hmm.start > 0)
    steps = expected.steps + PSEUDO_COUNT
    return PairHMM(
        starts / starts.sum(),
        transitions / transitions.sum(axis=1, keepdims=True),
        steps / steps.sum(),
    )


class PairEM(NamedTuple):
    """Result of `learn_parameters`.

    Parameters
    ----------
    parameters : PairParameters
        The learned parameters.
    objective : ndarray of shape (n_iter,)
        Log-likelihood and log prior before each M-step, per frame.
    converged : bool
        Whether the last step raised it by less than the tolerance.
    """

    parameters: PairParameters
    objective: np.ndarray
    converged: bool


def learn_parameters(
    learning: PairLearning,
    parameters: PairParameters,
    pairs: list[SequencePair],
    *,
    max_iter: int,
    tol: float,
    n_jobs: int | None,
) -> PairEM:
    """Learn parameters of a modality by expectation maximisation.

    Parameters
    ----------
    learning : PairLearning
        What is learned.
    parameters : PairParameters
        Initial parameters.
    pairs : list of tuple of two ndarray
        Sequences of the axis and of the modality.
    max_iter : int
        Largest number of iterations.
    tol : float
        Smallest increase of the objective per frame.
    n_jobs : int or None
        Number of threads.

    Returns
    -------
    PairEM
        The parameters of the last iteration.
    """
    n_frames = sum(len(x) + len(y) for x, y in pairs)
    objective: list[float] = []
    floor: float | None = None
    for _ in range(max_iter):
        expected = learning.expect(parameters, pairs, n_jobs)
        if floor is None:
            floor = learning.floor_of(expected, parameters)
        prior = learning.log_prior(parameters, floor)
        objective.append((expected.log_likelihood + prior) / n_frames)
        if len(objective) > 1 and objective[-1] - objective[-2] < tol:
            return PairEM(parameters, np.array(objective), True)
        parameters = learning.maximize(parameters, expected, floor)
    return PairEM(parameters, np.array(objective), False)
