"""Shapley values of modalities: their shares of the held-out score."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import comb
from scipy.stats import t as student_t
from sklearn.utils import check_random_state

from mmfusion._extras import import_extra
from mmfusion._progress import Job, Progress
from mmfusion._sklearn_compat import INTEGER, Interval, StrOptions, validate_params
from mmfusion._typing import (
    CrossValidationLike,
    EstimatorLike,
    ModalitiesLike,
    RandomStateLike,
)
from mmfusion.inspection._study import (
    Inspection,
    ScorerLike,
    checked_study,
    corrected_error,
    masked,
    study_folds,
)

if TYPE_CHECKING:
    import pandas as pd

REFIT, MASKED = "refit", "mask"
SUBSET_REMEDIES = {
    REFIT: (
        "if it cannot be fitted to some of the modalities alone, give value='mask', "
        "which fits it to all"
    ),
    MASKED: (
        "if it needs all modalities, put ModalityImputer() before it in a Pipeline, or "
        "give value='refit'"
    ),
}


@dataclass(frozen=True, repr=False)
class ShapleyResults:
    """Results of `modality_shapley`.

    Parameters
    ----------
    names : tuple of str
        Names of the modalities.
    values_by_fold : ndarray of shape (n_folds, n_modalities)
        Shapley values of each fold.
    standard_error : ndarray of shape (n_modalities,)
        Standard errors of the means over folds, with the error of sampled permutations.
    sampling_error : ndarray of shape (n_modalities,)
        The part that is due to the sample of permutations; 0 if all subsets are scored.
    subsets : list of tuple of str
        The scored subsets of modalities; the first is empty, the last has all.
    subset_scores : ndarray of shape (n_folds, n_subsets)
        Held-out score of every subset.
    metric : str
        Name of the score.
    confidence : float
        Level of the confidence intervals.

    Attributes
    ----------
    values : ndarray of shape (n_modalities,)
        Means over folds. They sum to `full_score` minus `empty_score`.
    lower : ndarray of shape (n_modalities,)
        Lower ends of the confidence intervals.
    upper : ndarray of shape (n_modalities,)
        Upper ends of the confidence intervals.
    empty_score : float
        Mean score without any modality.
    full_score : float
        Mean score with all modalities.

    See Also
    --------
    modality_shapley : Computes the results.
    ShapleyDisplay : Draws the results.

    Examples
    --------
    >>> from mmfusion import EarlyFusionClassifier
    >>> from mmfusion.datasets import make_multimodal_blobs
    >>> from mmfusion.inspection import modality_shapley
    >>> X, y = make_multimodal_blobs(n_features={"a": 3, "b": 3}, random_state=0)
    >>> modality_shapley(EarlyFusionClassifier(), X, y)
    ShapleyResults of 2 modalities: 4 subsets, 5 folds, shares of accuracy
    """

    names: tuple[str, ...]
    values_by_fold: np.ndarray
    standard_error: np.ndarray
    sampling_error: np.ndarray
    subsets: list[tuple[str, ...]]
    subset_scores: np.ndarray
    metric: str
    confidence: float

    def __repr__(self) -> str:
        n_folds, n_subsets = self.subset_scores.shape
        return (
            f"ShapleyResults of {len(self.names)} modalities: {n_subsets} subsets, "
            f"{n_folds} fold{'' if n_folds == 1 else 's'}, shares of {self.metric}"
        )

    @property
    def values(self) -> np.ndarray:
        """Means over folds, of shape (n_modalities,)."""
        return self.values_by_fold.mean(axis=0)

    @property
    def lower(self) -> np.ndarray:
        """Lower ends of the confidence intervals, of shape (n_modalities,)."""
        return self.values - self._margin()

    @property
    def upper(self) -> np.ndarray:
        """Upper ends of the confidence intervals, of shape (n_modalities,)."""
        return self.values + self._margin()

    @property
    def empty_score(self) -> float:
        """Mean score without any modality."""
        return float(self.subset_scores[:, 0].mean())

    @property
    def full_score(self) -> float:
        """Mean score with all modalities."""
        return float(self.subset_scores[:, -1].mean())

    def _margin(self) -> np.ndarray:
        degrees = max(len(self.values_by_fold) - 1, 1)
        quantile = student_t.ppf((1 + self.confidence) / 2, degrees)
        return quantile * self.standard_error

    def to_frame(self) -> pd.DataFrame:
        """Return the values as a DataFrame; requires pandas.

        Returns
        -------
        DataFrame
            Columns ``value``, ``std`` (over folds, denominator n - 1), ``lower`` and
            ``upper``, and one row for each modality.
        """
        n_folds = len(self.values_by_fold)
        std = self.values_by_fold.std(axis=0, ddof=1) if n_folds > 1 else np.nan
        columns = {
            "value": self.values,
            "std": std,
            "lower": self.lower,
            "upper": self.upper,
        }
        return import_extra("pandas").DataFrame(columns, index=list(self.names))


@validate_params(
    {
        "value": [StrOptions({"refit", "mask"})],
        "scoring": [str, callable, None],
        "cv": ["cv_object"],
        "max_exact": [Interval(Integral, 1, 16, closed="both")],
        "n_permutations": [Interval(Integral, 4, None, closed="left")],
        "confidence": [Interval(Real, 0, 1, closed="neither")],
        "random_state": ["random_state"],
        "n_jobs": [INTEGER, None],
        "verbose": ["verbose"],
    },
    prefer_skip_nested_validation=False,
)
def modality_shapley(
    estimator: EstimatorLike,
    X: ModalitiesLike,
    y: ArrayLike | None = None,
    *,
    value: str = "refit",
    scoring: ScorerLike = None,
    cv: CrossValidationLike = 5,
    groups: ArrayLike | None = None,
    max_exact: int = 8,
    n_permutations: int = 32,
    confidence: float = 0.95,
    random_state: RandomStateLike = None,
    n_jobs: int | None = None,
    verbose: bool | int = False,
) -> ShapleyResults:
    """Compute the Shapley values of modalities for the held-out score.

    With the score ``f(S)`` of the subset S of the V modalities, the value of v is
    ``sum_S |S|! (V - |S| - 1)! / V! (f(S + v) - f(S))`` over the subsets S without v:
    its mean contribution over all orders in which modalities can be added.

    Parameters
    ----------
    estimator : estimator
        Classifier, regressor or clusterer, or a Pipeline that ends in one; it is
        cloned. Parameters that are dicts by modality are restricted to each subset.
    X : list, dict or Modalities
        Data by modality, or a table that the estimator's `modalities` splits.
    y : array-like of shape (n_samples,) or (n_samples, n_outputs), default=None
        Target, or the classes to compare clusters with, which clusterers are not
        fitted to.
    value : {'refit', 'mask'}, default='refit'
        Whether f(S) is the score of the estimator fitted to the subset in every fold,
        or that of the estimator fitted once per fold to all modalities, when the
        others are missing for all samples to predict.
    scoring : str or callable, default=None
        Score, of which larger is better: a name for :func:`mmfusion.metrics.get_scorer`
        or a scorer of (estimator, X, y). None is accuracy for classifiers and R2 for
        regressors; for clusterers, the adjusted Rand index, or without y the
        silhouette. Clusterers are scored by the predicted labels and all modalities.
    cv : int, cross-validation generator or iterable, default=5
        Cross-validation splitter, of which all subsets have the same folds.
    groups : array-like of shape (n_samples,), default=None
        Groups of samples for the splitter.
    max_exact : int, default=8
        Largest number of modalities for which all subsets are scored, at most 16.
    n_permutations : int, default=32
        Number of orders that are sampled for more modalities, in pairs of an order and
        its reverse (rounded up). The score of a subset is computed once per fold.
    confidence : float, default=0.95
        Level of the confidence intervals.
    random_state : int, RandomState instance or None, default=None
        Seed of the sampled orders.
    n_jobs : int, default=None
        Number of fits that run in parallel by joblib. None is 1 unless in a joblib
        context, -1 all processors.
    verbose : bool or int, default=False
        Whether to show progress: 1 or True by a bar, where tqdm is installed and the
        output is a terminal or notebook, else by lines; 2 by lines.

    Returns
    -------
    ShapleyResults
        Values and their confidence intervals, and the scores of all subsets.

    Raises
    ------
    TypeError
        If the estimator is none of the three kinds, or cannot predict held-out samples.
    ValueError
        If an option or y is invalid, there is one modality, or the estimator fails on
        a subset.

    See Also
    --------
    modality_importance : Takes one modality away from all others.
    modality_interactions : Distinguishes redundant from complementary modalities.

    Notes
    -----
    ``f`` of the empty subset is the score of a dummy predictor (the prior of classes,
    the mean of values, one cluster; 0 for silhouettes). In each fold, the values sum to
    the score of all modalities minus that, also for sampled orders.

    Intervals are of Student's t over folds, with the variance corrected for common
    training samples, plus that of sampled orders. They are approximate: scores of folds
    are neither independent nor normal.

    References
    ----------
    L. S. Shapley (1953), A value for n-person games. Contributions to the Theory of
    Games 2, 307-317.

    C. Nadeau and Y. Bengio (2003), Inference for the generalization error. Machine
    Learning 52, 239-281.

    R. Mitchell, J. Cooper, E. Frank and G. Holmes (2022), Sampling permutations for
    Shapley value estimation. Journal of Machine Learning Research 23(43), 1-46.

    Examples
    --------
    >>> from mmfusion import EarlyFusionClassifier
    >>> from mmfusion.datasets import make_multimodal_blobs
    >>> from mmfusion.inspection import modality_shapley
    >>> X, y = make_multimodal_blobs(
    ...     150,
    ...     {"audio": 3, "video": 3, "noise": 3},
    ...     cluster_std={"audio": 5.0, "video": 5.0, "noise": 100.0},
    ...     random_state=0,
    ... )
    >>> results = modality_shapley(EarlyFusionClassifier(), X, y)
    >>> results.subsets[:3]
    [(), ('audio',), ('video',)]
    >>> gain = results.full_score - results.empty_score
    >>> bool(abs(results.values.sum() - gain) < 1e-12)
    True
    >>> results.names[int(results.values.argmin())]
    'noise'
    """
    study = checked_study(estimator, X, y, scoring)
    folds = study_folds(study, cv, groups)
    n_modalities = study.frame.shape[1]
    orders = None
    if n_modalities > max_exact:
        orders = _antithetic_orders(n_modalities, n_permutations, random_state)
    masks = _subset_masks(n_modalities, orders)
    subsets = [_members(mask, study.frame.names) for mask in masks]
    scores = _subset_scores(study, folds, subsets, value, n_jobs, verbose)
    column = {mask: i for i, mask in enumerate(masks)}
    if orders is None:
        by_fold = shapley_values(scores[:, [column[m] for m in range(len(masks))]])
        sampling_error = np.zeros(n_modalities)
    else:
        by_fold, sampling_error = _sampled_values(scores, column, orders)
    error = np.hypot(corrected_error(by_fold, folds), sampling_error)
    return ShapleyResults(
        study.frame.names,
        by_fold,
        error,
        sampling_error,
        subsets,
        scores,
        study.metric,
        float(confidence),
    )


def shapley_values(scores: np.ndarray) -> np.ndarray:
    """Compute Shapley values from the scores of all subsets.

    Parameters
    ----------
    scores : ndarray of shape (n_folds, 2 ** n_players)
        Scores, of which column m is the subset of the players whose bits are set in m.

    Returns
    -------
    ndarray of shape (n_folds, n_players)
        Values of each player.
    """
    masks = np.arange(scores.shape[1])
    n_players = scores.shape[1].bit_length() - 1
    sizes = np.array([int(mask).bit_count() for mask in masks])
    values = np.empty((len(scores), n_players))
    for v in range(n_players):
        without = masks[masks & (1 << v) == 0]
        # |S|! (V - |S| - 1)! / V!
        weights = 1 / (n_players * comb(n_players - 1, sizes[without]))
        values[:, v] = (scores[:, without | (1 << v)] - scores[:, without]) @ weights
    return values


def _antithetic_orders(
    n_modalities: int, n_orders: int, random_state: RandomStateLike
) -> np.ndarray:
    """Draw pairs of an order and its reverse, of shape (n_pairs, 2, n_modalities)."""
    rng = check_random_state(random_state)
    drawn = [rng.permutation(n_modalities) for _ in range((n_orders + 1) // 2)]
    return np.array([[order, order[::-1]] for order in drawn])


def _prefixes(order: np.ndarray) -> list[int]:
    """Return the subsets, as bits, to which the modalities of an order are added."""
    return np.concatenate([[0], np.cumsum(1 << order)]).tolist()


def _subset_masks(n_modalities: int, orders: np.ndarray | None) -> list[int]:
    """Return the subsets to score, as bits, from the smallest to the largest."""
    masks: set[int] = set()
    if orders is None:
        masks.update(range(2**n_modalities))
    else:
        for order in orders.reshape(-1, n_modalities):
            masks.update(_prefixes(order))
    return sorted(masks, key=lambda mask: (mask.bit_count(), mask))


def _members(mask: int, names: Sequence[str]) -> tuple[str, ...]:
    """Return the names of the modalities whose bits are set."""
    return tuple(name for v, name in enumerate(names) if mask >> v & 1)


def _sampled_values(
    scores: np.ndarray, column: dict[int, int], orders: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Average contributions over orders; return values by fold and sampling errors."""
    n_pairs, _, n_modalities = orders.shape
    contributions = np.zeros((n_pairs, len(scores), n_modalities))
    for pair, both in enumerate(orders):
        for order in both:
            path = scores[:, [column[mask] for mask in _prefixes(order)]]
            contributions[pair][:, order] += np.diff(path, axis=1) / 2
    # all folds have the same orders, whose error does not average out over folds
    spread = contributions.mean(axis=1).std(axis=0, ddof=1)
    return contributions.mean(axis=0), spread / np.sqrt(n_pairs)


def _subset_scores(
    study: Inspection,
    folds: list[Any],
    subsets: list[tuple[str, ...]],
    value: str,
    n_jobs: int | None,
    verbose: bool | int,
) -> np.ndarray:
    """Score subsets of modalities in each fold, of shape (n_folds, n_subsets)."""
    # one fit is a job; masks of a fold have one fit
    parts = [subsets] if value == MASKED else [[subset] for subset in subsets]
    jobs = [
        Job(f"fold {number}", _score_in_fold, (study, fold, number, part, value))
        for number, fold in enumerate(folds)
        for part in parts
    ]
    with Progress("modality_shapley", len(jobs), "fit", verbose) as progress:
        scores = progress.run(jobs, n_jobs)
    return np.concatenate(scores).reshape(len(folds), len(subsets))


def _score_in_fold(
    study: Inspection,
    fold: Any,
    number: int,
    subsets: list[tuple[str, ...]],
    value: str,
) -> list[float]:
    """Score subsets of modalities in one fold, by a fit each or by one for all."""
    train, test = fold
    dummy, frame = study.dummy(train), study.frame
    model: Any = None
    scores = []
    for subset in subsets:
        if not subset:
            scores.append(study.empty_score(test, dummy))
            continue

        def score(subset: tuple[str, ...] = subset) -> float:
            nonlocal model
            if value == REFIT:
                own = study.fit(train, subset)
                return study.score(own, frame[test][list(subset)], test, dummy)
            if model is None:
                model = study.fit(train, frame.names)
            return study.score(model, masked(frame[test], subset), test, dummy)

        what = f"on modalities {list(subset)} of fold {number}"
        scores.append(study.attempt(what, SUBSET_REMEDIES[value], score))
    return scores
