"""Importance of modalities: the loss of score without the information of each."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from numbers import Integral
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from mmfusion._blocks import take_rows
from mmfusion._extras import import_extra
from mmfusion._progress import Job, Progress
from mmfusion._row_labels import with_labels
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
    masked,
    study_folds,
)
from mmfusion.modalities import Modalities

if TYPE_CHECKING:
    import pandas as pd

PERMUTATION, DROP, MASK = "permutation", "drop", "mask"
ALONE_REMEDY = "fit and score it alone to find the cause"
MESSAGES = {  # what failed, and the remedy
    PERMUTATION: ("with permuted", ALONE_REMEDY),
    DROP: (
        "without",
        "if it cannot be fitted to some of the modalities alone, give "
        "method='permutation' or 'mask'",
    ),
    MASK: (
        "without",
        "if it needs all modalities, put ModalityImputer() before it in a Pipeline, or "
        "give method='permutation' or 'drop'",
    ),
}


@dataclass(frozen=True, repr=False)
class ImportanceResults:
    """Results of `modality_importance`.

    Parameters
    ----------
    names : tuple of str
        Names of the modalities.
    importances : ndarray of shape (n_modalities, n_folds, n_repeats)
        Loss of the score in each fold and repeat; one fold if `cv` was None.
    scores : ndarray of shape (n_folds,)
        Score with all modalities.
    metric : str
        Name of the score.
    method : {'permutation', 'drop', 'mask'}
        Method by which modalities were taken away.

    Attributes
    ----------
    importances_mean : ndarray of shape (n_modalities,)
        Mean loss.
    importances_std : ndarray of shape (n_modalities,)
        Standard deviation (denominator n - 1) over folds, of which repeats are averaged
        first, or over the repeats of one fold. It is NaN for a single value.

    See Also
    --------
    modality_importance : Computes the results.
    ModalityImportanceDisplay : Draws the results.

    Examples
    --------
    >>> from mmfusion import EarlyFusionClassifier
    >>> from mmfusion.datasets import make_multimodal_blobs
    >>> from mmfusion.inspection import modality_importance
    >>> X, y = make_multimodal_blobs(n_features={"a": 3, "b": 3}, random_state=0)
    >>> modality_importance(EarlyFusionClassifier(), X, y, method="drop")
    ImportanceResults by drop, of 2 modalities: 5 folds, 1 repeat, loss of accuracy
    """

    names: tuple[str, ...]
    importances: np.ndarray
    scores: np.ndarray
    metric: str
    method: str

    def __repr__(self) -> str:
        n_modalities, n_folds, n_repeats = self.importances.shape
        folds, repeats = (
            f"{n} {what}{'' if n == 1 else 's'}"
            for n, what in [(n_folds, "fold"), (n_repeats, "repeat")]
        )
        return (
            f"ImportanceResults by {self.method}, of {n_modalities} modalities: "
            f"{folds}, {repeats}, loss of {self.metric}"
        )

    @property
    def importances_mean(self) -> np.ndarray:
        """Mean loss of each modality, of shape (n_modalities,)."""
        return self.importances.mean(axis=(1, 2))

    @property
    def importances_std(self) -> np.ndarray:
        """Standard deviation over folds, or else repeats, of shape (n_modalities,)."""
        values = self.units()
        if values.shape[1] < 2:
            return np.full(len(values), np.nan)
        return values.std(axis=1, ddof=1)

    def units(self) -> np.ndarray:
        """Return the losses over which the standard deviation is computed.

        Returns
        -------
        ndarray of shape (n_modalities, n_folds) or (n_modalities, n_repeats)
            Losses of the folds, or of the repeats of a single fold.
        """
        # repeats of a fold are not independent: they do not count as further folds
        if self.importances.shape[1] == 1:
            return self.importances[:, 0]
        return self.importances.mean(axis=2)

    def to_frame(self) -> pd.DataFrame:
        """Return the importances as a DataFrame; requires pandas.

        Returns
        -------
        DataFrame
            Columns ``mean`` and ``std``, and one row for each modality.
        """
        columns = {"mean": self.importances_mean, "std": self.importances_std}
        return import_extra("pandas").DataFrame(columns, index=list(self.names))


@validate_params(
    {
        "method": [StrOptions({"permutation", "drop", "mask"})],
        "scoring": [str, callable, None],
        "cv": ["cv_object"],
        "n_repeats": [Interval(Integral, 1, None, closed="left")],
        "random_state": ["random_state"],
        "n_jobs": [INTEGER, None],
        "verbose": ["verbose"],
    },
    prefer_skip_nested_validation=False,
)
def modality_importance(
    estimator: EstimatorLike,
    X: ModalitiesLike,
    y: ArrayLike | None = None,
    *,
    method: str = "permutation",
    scoring: ScorerLike = None,
    cv: CrossValidationLike = None,
    groups: ArrayLike | None = None,
    n_repeats: int = 5,
    random_state: RandomStateLike = None,
    n_jobs: int | None = None,
    verbose: bool | int = False,
) -> ImportanceResults:
    """Compute the loss of score when each modality is taken away.

    The importance of modality v is ``s - s_v``, the score with all modalities minus
    that when v is permuted between samples, missing, or left out of `fit`.

    Parameters
    ----------
    estimator : estimator
        Classifier, regressor or clusterer, or a Pipeline that ends in one: fitted if
        `cv` is None and `method` is not 'drop', else cloned and fitted in every fold.
    X : list, dict or Modalities
        Data by modality, or a table that the estimator's `modalities` splits; held-out
        samples if the estimator is fitted.
    y : array-like of shape (n_samples,) or (n_samples, n_outputs), default=None
        Target, or the classes to compare clusters with, which clusterers are not
        fitted to.
    method : {'permutation', 'drop', 'mask'}, default='permutation'
        'permutation' permutes the rows of one modality between the samples that have
        it, 'drop' fits the estimator without the modality, 'mask' marks it as missing
        for all samples to predict, which needs an estimator that accepts missing
        modalities.
    scoring : str or callable, default=None
        Score, of which larger is better: a name for :func:`mmfusion.metrics.get_scorer`
        or a scorer of (estimator, X, y). None is accuracy for classifiers and R2 for
        regressors; for clusterers, the adjusted Rand index, or without y the
        silhouette. Clusterers are scored by the predicted labels and all modalities.
    cv : int, cross-validation generator or iterable, default=None
        Cross-validation splitter. None is 5 folds for 'drop'; for the other methods
        the estimator is fitted, and X is held out.
    groups : array-like of shape (n_samples,), default=None
        Groups of samples for the splitter.
    n_repeats : int, default=5
        Number of permutations in each fold; 'drop' and 'mask' need one.
    random_state : int, RandomState instance or None, default=None
        Seed of the permutations.
    n_jobs : int, default=None
        Number of folds that run in parallel by joblib. None is 1 unless in a joblib
        context, -1 all processors.
    verbose : bool or int, default=False
        Whether to show progress: 1 or True by a bar, where tqdm is installed and the
        output is a terminal or notebook, else by lines; 2 by lines.

    Returns
    -------
    ImportanceResults
        Importances of all modalities, with their spread over folds or repeats.

    Raises
    ------
    TypeError
        If the estimator is none of the three kinds, or cannot predict held-out samples.
    ValueError
        If an option or y is invalid, there is one modality, or the estimator fails on
        the changed modalities.
    sklearn.exceptions.NotFittedError
        If the estimator is not fitted, and not fitted here.

    See Also
    --------
    modality_shapley : Averages the contribution of a modality over subsets of others.
    modality_interactions : Distinguishes redundant from complementary modalities.
    sklearn.inspection.permutation_importance : Permutes single features, or modalities.

    Notes
    -----
    Modalities of the same information replace each other: all of them may have an
    importance near 0. Shapley values share the score between them.

    References
    ----------
    L. Breiman (2001), Random forests. Machine Learning 45, 5-32.

    Examples
    --------
    >>> from sklearn.model_selection import train_test_split
    >>> from mmfusion import EarlyFusionClassifier
    >>> from mmfusion.datasets import make_multimodal_blobs
    >>> from mmfusion.inspection import modality_importance
    >>> X, y = make_multimodal_blobs(
    ...     200,
    ...     {"audio": 3, "video": 6},
    ...     cluster_std={"audio": 100.0, "video": 3.0},
    ...     random_state=0,
    ... )
    >>> X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)
    >>> fitted = EarlyFusionClassifier().fit(X_train, y_train)
    >>> results = modality_importance(fitted, X_test, y_test, random_state=0)
    >>> bool(results.importances_mean[1] > results.importances_mean[0])
    True
    """
    study = checked_study(estimator, X, y, scoring)
    rng = check_random_state(random_state)
    is_fitted = cv is None and method != DROP
    if is_fitted:
        remedy = "This %(name)s is not fitted: call fit on other samples, or give cv=5"
        check_is_fitted(estimator, msg=remedy)
        rows = np.arange(len(study.frame))
        folds = [(rows, rows)]
    else:
        folds = study_folds(study, cv, groups)
    n_repeats = n_repeats if method == PERMUTATION else 1
    if method != DROP:
        _check_predict(study)
    seeds = rng.randint(np.iinfo(np.int32).max, size=len(folds))
    parts = [
        _Fold(study, method, train, test, int(seed), n_repeats, is_fitted)
        for (train, test), seed in zip(folds, seeds, strict=True)
    ]
    jobs = [Job(f"fold {k}", _Fold.losses, (part,)) for k, part in enumerate(parts)]
    with Progress("modality_importance", len(jobs), "fold", verbose) as progress:
        results = progress.run(jobs, n_jobs)
    scores, losses = (np.array(part) for part in zip(*results, strict=True))
    return ImportanceResults(
        study.frame.names, losses.transpose(1, 0, 2), scores, study.metric, method
    )


def _check_predict(study: Inspection) -> None:
    """Raise for estimators without `predict`, which cannot score changed samples."""
    if not hasattr(study.estimator, "predict"):
        raise TypeError(
            f"estimator is a {type(study.estimator).__name__} without predict, which "
            "is needed to score changed samples; give method='drop' and "
            "cv=WholeDataSplit() of mmfusion.metrics"
        )


@dataclass(frozen=True)
class _Fold:
    """Losses of one fold, or of the samples given with a fitted estimator."""

    study: Inspection
    method: str
    train: np.ndarray
    test: np.ndarray
    seed: int
    n_repeats: int
    is_fitted: bool

    def losses(self) -> tuple[float, np.ndarray]:
        """Return the score and the losses of shape (n_modalities, n_repeats)."""
        study = self.study
        # a fitted estimator has had other samples, whose prior is not known here
        dummy = None if self.is_fitted else study.dummy(self.train)
        part = study.frame[self.test]

        def with_all() -> tuple[Any, float]:
            model = study.estimator
            if not self.is_fitted:
                model = study.fit(self.train, part.names)
            return model, study.score(model, part, self.test, dummy)

        model, full = study.attempt("with all modalities", ALONE_REMEDY, with_all)
        rng = np.random.RandomState(self.seed)
        losses = np.empty((len(part.names), self.n_repeats))
        for v, repeat in np.ndindex(losses.shape):
            what, remedy = MESSAGES[self.method]
            losses[v, repeat] = full - study.attempt(
                f"{what} modality {part.names[v]!r}",
                remedy,
                partial(self._score_without, v, model, part, dummy, rng),
            )
        return full, losses

    def _score_without(
        self, v: int, model: Any, part: Modalities, dummy: Any, rng: Any
    ) -> float:
        others = [name for name in part.names if name != part.names[v]]
        if self.method == DROP:
            model, changed = self.study.fit(self.train, others), part[others]
        elif self.method == MASK:
            changed = masked(part, others)
        else:
            changed = _permuted(part, v, rng)
        return self.study.score(model, changed, self.test, dummy)


def _permuted(frame: Modalities, v: int, rng: np.random.RandomState) -> Modalities:
    """Permute the rows of a modality between the samples that have it."""
    observed = np.flatnonzero(frame.observed[:, v])
    order = np.arange(len(frame))
    order[observed] = rng.permutation(observed)
    blocks = list(frame.blocks)
    blocks[v] = take_rows(blocks[v], order)
    if frame._index is not None:
        blocks[v] = with_labels(blocks[v], frame._index)
    return frame._with_blocks(blocks, frame.observed)
