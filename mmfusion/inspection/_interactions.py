"""Redundancy, uniqueness and synergy of pairs of modalities, by held-out scores."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from mmfusion._extras import import_extra
from mmfusion._progress import Job, Progress
from mmfusion._sklearn_compat import INTEGER, StrOptions, validate_params
from mmfusion._typing import CrossValidationLike, EstimatorLike, ModalitiesLike
from mmfusion.inspection._predictors import PriorFallback, aligned_probabilities
from mmfusion.inspection._study import (
    CLASSIFIER,
    CLUSTERER,
    Inspection,
    checked_study,
    study_folds,
)

if TYPE_CHECKING:
    import pandas as pd

PROBABILITY_FLOOR = float(np.finfo(np.float64).eps)  # a log loss of 52 bits
PAIR_REMEDY = (
    "it is fitted to each modality alone and to each pair: give an estimator that "
    "accepts any number of modalities, such as early or late fusion"
)


@dataclass(frozen=True, repr=False)
class InteractionResults:
    """Results of `modality_interactions`, in bits.

    Parameters
    ----------
    names : tuple of str
        Names of the modalities.
    information_by_fold : dict of tuple of str to ndarray of shape (n_folds,)
        Information of each modality and of each pair, in the order of `names`, as
        estimated: negative where held-out predictions are worse than the prior.
    redundancy_by_fold : ndarray of shape (n_folds, n_modalities, n_modalities)
        Redundancy of each pair; NaN on the diagonal.
    unique_by_fold : ndarray of shape (n_folds, n_modalities, n_modalities)
        Element (i, j) is the unique information of modality i beside modality j.
    synergy_by_fold : ndarray of shape (n_folds, n_modalities, n_modalities)
        Synergy of each pair; negative where the pair is predicted worse than the
        better of its modalities.
    entropy : float
        Held-out log loss of the prior in bits, the largest possible information; NaN
        for regressors.
    redundancy_measure : {'specific', 'min'}
        Measure of redundancy.

    Attributes
    ----------
    redundancy : ndarray of shape (n_modalities, n_modalities)
        Means over folds.
    unique : ndarray of shape (n_modalities, n_modalities)
        Means over folds.
    synergy : ndarray of shape (n_modalities, n_modalities)
        Means over folds.

    See Also
    --------
    modality_interactions : Computes the results.
    InteractionDisplay : Draws the results.

    Examples
    --------
    >>> from mmfusion import EarlyFusionClassifier
    >>> from mmfusion.datasets import make_multimodal_blobs
    >>> from mmfusion.inspection import modality_interactions
    >>> X, y = make_multimodal_blobs(n_features={"a": 3, "b": 3}, random_state=0)
    >>> modality_interactions(EarlyFusionClassifier(), X, y)
    InteractionResults of 2 modalities: 1 pair, 5 folds, redundancy 'specific'
    """

    names: tuple[str, ...]
    information_by_fold: dict[tuple[str, ...], np.ndarray]
    redundancy_by_fold: np.ndarray
    unique_by_fold: np.ndarray
    synergy_by_fold: np.ndarray
    entropy: float
    redundancy_measure: str

    def __repr__(self) -> str:
        n_pairs = len(self.names) * (len(self.names) - 1) // 2
        n_folds = len(self.redundancy_by_fold)
        return (
            f"InteractionResults of {len(self.names)} modalities: "
            f"{n_pairs} pair{'' if n_pairs == 1 else 's'}, "
            f"{n_folds} fold{'' if n_folds == 1 else 's'}, "
            f"redundancy {self.redundancy_measure!r}"
        )

    @property
    def redundancy(self) -> np.ndarray:
        """Mean redundancy, of shape (n_modalities, n_modalities)."""
        return self.redundancy_by_fold.mean(axis=0)

    @property
    def unique(self) -> np.ndarray:
        """Mean unique information of rows beside columns."""
        return self.unique_by_fold.mean(axis=0)

    @property
    def synergy(self) -> np.ndarray:
        """Mean synergy, of shape (n_modalities, n_modalities)."""
        return self.synergy_by_fold.mean(axis=0)

    def to_frame(self) -> pd.DataFrame:
        """Return the parts of each pair as a DataFrame; requires pandas.

        Returns
        -------
        DataFrame
            One row for each pair: ``first`` and ``second``, ``redundancy``,
            ``unique_first``, ``unique_second`` and ``synergy``, each followed by its
            standard deviation over folds (``..._std``, denominator n - 1), the
            ``joint`` information of the pair as estimated, and ``n_clipped``, the
            number of folds in which an information of the pair or its modalities was
            negative and counted as 0.
        """
        rows = []
        for i, j in combinations(range(len(self.names)), 2):
            parts = {
                "redundancy": self.redundancy_by_fold[:, i, j],
                "unique_first": self.unique_by_fold[:, i, j],
                "unique_second": self.unique_by_fold[:, j, i],
                "synergy": self.synergy_by_fold[:, i, j],
            }
            first, second = self.names[i], self.names[j]
            row: dict[str, Any] = {"first": first, "second": second}
            for part, values in parts.items():
                row[part] = values.mean()
                row[f"{part}_std"] = values.std(ddof=1) if len(values) > 1 else np.nan
            own = [
                self.information_by_fold[s]
                for s in [(first,), (second,), (first, second)]
            ]
            row["joint"] = own[-1].mean()
            row["n_clipped"] = int((np.array(own) < 0).any(axis=0).sum())
            rows.append(row)
        return import_extra("pandas").DataFrame(rows)


@validate_params(
    {
        "redundancy": [StrOptions({"auto", "specific", "min"})],
        "cv": ["cv_object"],
        "n_jobs": [INTEGER, None],
        "verbose": ["verbose"],
    },
    prefer_skip_nested_validation=False,
)
def modality_interactions(
    estimator: EstimatorLike,
    X: ModalitiesLike,
    y: ArrayLike,
    *,
    redundancy: str = "auto",
    cv: CrossValidationLike = 5,
    groups: ArrayLike | None = None,
    n_jobs: int | None = None,
    verbose: bool | int = False,
) -> InteractionResults:
    """Estimate redundancy, uniqueness and synergy of pairs of modalities.

    The information of a modality or pair S is estimated by clones of the estimator
    that are fitted to S alone: ``I(S) = mean log2(p(y | x_S) / p(y))`` over held-out
    samples, with the prior p(y) of the training samples. With the redundancy R, the
    unique information of modality i is ``I(i) - R``, and the synergy of the pair is
    ``I(ij) - I(i) - I(j) + R``, where negative information counts as 0.

    Parameters
    ----------
    estimator : estimator
        Classifier with `predict_proba`, or regressor, or a Pipeline that ends in one;
        it is cloned. Parameters that are dicts by modality are restricted.
    X : list, dict or Modalities
        Data by modality, or a table that the estimator's `modalities` splits.
    y : array-like of shape (n_samples,)
        Target.
    redundancy : {'auto', 'specific', 'min'}, default='auto'
        Measure of redundancy. 'specific' compares the modalities class by class, as
        Williams and Beer: ``R = sum_y p(y) min_i I_i(y)``, where ``I_i(y)`` is the
        mean over held-out samples of class y (R is 0 if that is negative). 'min' is
        ``min(I(i), I(j))``, the largest possible value, with which one of the two has
        no unique information. 'auto' is 'specific' for classifiers, 'min' for
        regressors.
    cv : int, cross-validation generator or iterable, default=5
        Cross-validation splitter, of which all subsets have the same folds.
    groups : array-like of shape (n_samples,), default=None
        Groups of samples for the splitter.
    n_jobs : int, default=None
        Number of fits that run in parallel by joblib. None is 1 unless in a joblib
        context, -1 all processors.
    verbose : bool or int, default=False
        Whether to show progress: 1 or True by a bar, where tqdm is installed and the
        output is a terminal or notebook, else by lines; 2 by lines.

    Returns
    -------
    InteractionResults
        The parts of all pairs, by fold and as means.

    Raises
    ------
    TypeError
        If the estimator is a clusterer, or a classifier without `predict_proba`.
    ValueError
        If an option or y is invalid, there is one modality, or the estimator fails on
        a subset.

    See Also
    --------
    partial_information : Computes the parts of discrete variables exactly.
    modality_shapley : Shares the score between modalities.

    Notes
    -----
    Information is what this estimator extracts from this number of samples: a lower
    bound, apart from chance, if predictions are held out. Where the joint predictor is
    too simple for an interaction, or overfits to more features, synergy is
    underestimated, and may be negative. Probabilities have to be calibrated: an
    overconfident classifier may have negative information. Neither measure of
    redundancy uses the dependence of the modalities on each other: they compare
    amounts of information, not contents.

    For regressors the information is ``log2(MSE_0 / MSE_S) / 2``, with the mean squared
    error of the training mean ``MSE_0``: that of Gaussian residuals.

    References
    ----------
    P. L. Williams and R. D. Beer (2010), Nonnegative decomposition of multivariate
    information. arXiv:1004.2515.

    A. B. Barrett (2015), Exploration of synergistic and redundant information sharing
    in static and dynamical Gaussian systems. Physical Review E 91, 052802.

    Y. Xu, S. Zhao, J. Song, R. Stewart and S. Ermon (2020), A theory of usable
    information under computational constraints. ICLR.

    P. P. Liang et al. (2023), Quantifying & modeling multimodal interactions: an
    information decomposition framework. NeurIPS 36.

    Examples
    --------
    The class is whether two numbers have the same sign, which neither predicts alone:

    >>> import numpy as np
    >>> from mmfusion import EarlyFusionClassifier
    >>> from mmfusion.inspection import modality_interactions
    >>> from sklearn.neighbors import KNeighborsClassifier
    >>> rng = np.random.default_rng(0)
    >>> X = {"audio": rng.normal(size=(400, 1)), "video": rng.normal(size=(400, 1))}
    >>> y = X["audio"][:, 0] * X["video"][:, 0] > 0
    >>> classifier = EarlyFusionClassifier(KNeighborsClassifier(20))
    >>> results = modality_interactions(classifier, X, y)
    >>> bool(results.synergy[0, 1] > 0.5 > 0.1 > results.redundancy[0, 1])
    True
    """
    study = checked_study(estimator, X, y, "accuracy")
    _refuse_uninformative(study)
    if redundancy == "auto":
        redundancy = "specific" if study.kind == CLASSIFIER else "min"
    elif redundancy == "specific" and study.kind != CLASSIFIER:
        raise ValueError("redundancy='specific' needs classes; give 'min' for values")
    folds = study_folds(study, cv, groups)
    names = study.frame.names
    pairs = list(combinations(names, 2))
    subsets: list[tuple[str, ...]] = [*((name,) for name in names), *pairs]
    jobs = [
        Job(f"fold {number}", _pointwise_information, (study, fold, number, subset))
        for number, fold in enumerate(folds)
        for subset in subsets
    ]
    with Progress("modality_interactions", len(jobs), "fit", verbose) as progress:
        flat = progress.run(jobs, n_jobs)
    by_fold = [
        dict(zip(subsets, flat[k : k + len(subsets)], strict=True))
        for k in range(0, len(flat), len(subsets))
    ]
    classes = [study.targets(test) for _, test in folds]
    parts = [
        _pair_parts(points, names, own if redundancy == "specific" else None)
        for points, own in zip(by_fold, classes, strict=True)
    ]
    information = {
        subset: np.array([points[subset].mean() for points in by_fold])
        for subset in subsets
    }
    shared, unique, synergy = np.stack(parts, axis=1)
    return InteractionResults(
        names,
        information,
        shared,
        unique,
        synergy,
        _mean_entropy(study, folds),
        redundancy,
    )


def _pair_parts(
    points: dict[tuple[str, ...], np.ndarray],
    names: tuple[str, ...],
    classes: np.ndarray | None,
) -> np.ndarray:
    """Return matrices of redundancy, unique information and synergy in one fold."""
    shared, unique, synergy = parts = np.full((3, len(names), len(names)), np.nan)
    for i, j in combinations(range(len(names)), 2):
        pair = names[i], names[j]
        own = points[pair[:1]], points[pair[1:]], points[pair]
        shared[i, j], unique[i, j], unique[j, i], synergy[i, j] = _decompose(
            *own, classes
        )
        shared[j, i], synergy[j, i] = shared[i, j], synergy[i, j]
    return parts


def _decompose(
    first: np.ndarray,
    second: np.ndarray,
    pair: np.ndarray,
    classes: np.ndarray | None,
) -> tuple[float, float, float, float]:
    """Return redundancy, unique information of both, and synergy.

    Arrays are the information of held-out samples, of which the mean is that of a
    modality; classes are for the redundancy of each of them.
    """
    own = [max(0.0, float(points.mean())) for points in (first, second, pair)]
    shared = min(own[0], own[1])
    if classes is not None:
        least = sum(
            (classes == c).mean()
            * min(first[classes == c].mean(), second[classes == c].mean())
            for c in np.unique(classes)
        )
        shared = max(0.0, float(least))  # at most the smaller information of both
    return shared, own[0] - shared, own[1] - shared, own[2] - own[0] - own[1] + shared


def _refuse_uninformative(study: Inspection) -> None:
    """Raise unless information can be estimated from the predictions."""
    name = type(study.estimator).__name__
    if study.kind == CLUSTERER:
        raise TypeError(
            f"estimator is a {name}, a clusterer, whose labels are no predictions of "
            "y; give a classifier with predict_proba, or a regressor"
        )
    if study.kind == CLASSIFIER and not hasattr(study.estimator, "predict_proba"):
        raise TypeError(
            f"estimator is a {name} without predict_proba; wrap it in "
            "CalibratedClassifierCV of sklearn.calibration"
        )
    if study.y is not None and study.y.ndim != 1:
        raise ValueError(
            f"y has shape {study.y.shape}; it should be a 1d array: decompose one "
            "target at a time"
        )


def _pointwise_information(
    study: Inspection, fold: Any, number: int, subset: tuple[str, ...]
) -> np.ndarray:
    """Estimate the information of a subset about each held-out sample, in bits.

    For regressors, which have that of a whole fold only, it is one number.
    """
    train, test = fold
    part = study.frame[test][list(subset)]

    def information() -> np.ndarray:
        dummy = study.dummy(train)
        model = PriorFallback(study.fit(train, subset), dummy)
        y = study.targets(test)
        if study.kind != CLASSIFIER:
            residuals = np.array([y - m.predict(part) for m in (dummy, model)])
            residuals /= np.abs(residuals).max() or 1.0  # squares neither over- nor
            errors = np.mean(residuals**2, axis=1)  # underflow, whatever the unit
            prior, own = np.maximum(errors, np.finfo(float).tiny)
            return np.array([np.log2(prior / own) / 2])
        own, prior = (
            _log2_of_classes(proba, dummy.classes_, y)
            for proba in (
                aligned_probabilities(model, part, dummy.classes_),
                dummy.predict_proba(part),
            )
        )
        return own - prior

    what = f"on modalities {list(subset)} of fold {number}"
    return study.attempt(what, PAIR_REMEDY, information)


def _log2_of_classes(
    probabilities: np.ndarray, classes: np.ndarray, y: np.ndarray
) -> np.ndarray:
    """Return the logarithm of the predicted probability of each sample's class."""
    columns = np.clip(np.searchsorted(classes, y), 0, len(classes) - 1)
    own = probabilities[np.arange(len(y)), columns]
    # classes that no training sample has get the least probability, as in the prior
    own = np.where(classes[columns] == y, own, 0.0)
    return np.log2(np.clip(own, PROBABILITY_FLOOR, 1.0))


def _mean_entropy(study: Inspection, folds: Iterable[Any]) -> float:
    """Return the held-out log loss of the prior; NaN for regressors."""
    if study.kind != CLASSIFIER:
        return float("nan")
    losses = []
    for train, test in folds:
        dummy = study.dummy(train)
        proba = dummy.predict_proba(study.frame[test])
        y = study.targets(test)
        losses.append(-_log2_of_classes(proba, dummy.classes_, y).mean())
    return float(np.mean(losses))
