"""Scores of estimators as modalities go missing or become noisy."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from numbers import Integral, Real
from typing import Any

import joblib
import numpy as np
from scipy import sparse
from sklearn.base import is_classifier
from sklearn.model_selection import check_cv
from sklearn.utils import check_consistent_length, check_random_state

from mmfusion._blocks import as_dense_array, as_elements
from mmfusion._extras import import_extra
from mmfusion._numbers import is_real
from mmfusion._options import errors_about
from mmfusion._row_labels import check_row_labels
from mmfusion._sklearn_compat import INTEGER, Interval, StrOptions, validate_params
from mmfusion._validation import as_modalities
from mmfusion.fusion._folds import checked_folds
from mmfusion.metrics import get_scorer
from mmfusion.robustness._degradations import add_noise, drop_modalities, swap_rows
from mmfusion.robustness._folds import Condition, Degrade, Fold, Scorer, Study
from mmfusion.robustness._results import DegradationResults

DEGRADATIONS: dict[str, Degrade] = {
    "missing": drop_modalities,
    "noise": add_noise,
    "swap": swap_rows,
}


@validate_params(
    {
        "degradation": [str, callable, list, tuple],
        "modalities": [str, list, tuple],
        "levels": ["array-like", dict],
        "at": [StrOptions({"predict", "both"})],
        "cv": ["cv_object"],
        "scoring": [str, callable, list, tuple, dict, None],
        "n_repeats": [Interval(Integral, 1, None, closed="left")],
        "error_score": [StrOptions({"raise"}), Real],
        "n_jobs": [INTEGER, None],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    },
    prefer_skip_nested_validation=False,
)
def degradation_curve(
    estimators: Any,
    X: Any,
    y: Any = None,
    *,
    degradation: Any = "missing",
    modalities: str | Sequence[Any] = "each",
    levels: Any = (0, 0.25, 0.5, 0.75, 1),
    at: str = "predict",
    cv: Any = 5,
    groups: Any = None,
    scoring: Any = None,
    n_repeats: int = 1,
    error_score: Any = "raise",
    n_jobs: int | None = None,
    random_state: Any = None,
    verbose: bool = False,
) -> DegradationResults:
    """Score estimators as modalities go missing, become noisy or are swapped.

    Estimators are fitted once for each fold on the data as they are, and score the
    samples left out at every level of every degradation.

    Parameters
    ----------
    estimators : estimator or dict of str to estimator
        Classifiers, regressors or clusterers; they are cloned.
    X : list, dict or Modalities
        The data. Split a plain table by :meth:`Modalities.from_table`.
    y : array-like of shape (n_samples,) or (n_samples, n_outputs), default=None
        What to predict, or the classes that clusters are scored against.
    degradation : {'missing', 'noise', 'swap'}, callable, or list of these, \
default='missing'
        What is done: `drop_modalities`, `add_noise` (in units of the standard
        deviations of the training samples), `swap_rows`, or a function
        ``f(X, level, modalities, random_state=seed)`` that gives `Modalities`.
    modalities : {'each', 'all'} or list, default='each'
        What it is done to: to each modality in turn, to all together, or to each
        entry of a list, which is a name or a list of names that are degraded together.
    levels : list of float or dict, default=(0, 0.25, 0.5, 0.75, 1)
        How much: shares, or standard deviations of the noise; a dict gives them by
        the name of the degradation. 0 is the data as they are.
    at : {'predict', 'both'}, default='predict'
        Whether only the samples to predict are degraded, or those of `fit` alike; then
        estimators are fitted anew at each level. Those of this package refuse to fit a
        modality that no sample has: leave out level 1 of 'missing'.
    cv : int, cross-validation generator or iterable, default=5
        How samples are left out. An integer is the number of folds, stratified if an
        estimator is a classifier.
    groups : array-like of shape (n_samples,), default=None
        Given to the splitter.
    scoring : str, callable, list or dict, default=None
        Scores, of which larger is better: names that
        :func:`mmfusion.metrics.get_scorer` knows, scorers of (estimator, X, y), a list
        of names, or a dict of names and scorers by name. None is the estimator's own
        ``score``.
    n_repeats : int, default=1
        Draws of what is degraded for each fold.
    error_score : 'raise' or float, default='raise'
        Score of what fails. 'raise' raises an error that tells what it was.
    n_jobs : int, default=None
        Pairs of estimator and fold that run at a time, through joblib. None is 1 unless
        in a joblib context, -1 all processors.
    random_state : int, RandomState instance or None, default=None
        Draws what is degraded: the same for all estimators, and at all levels as far
        as can be.
    verbose : bool, default=False
        Whether to show a progress bar.

    Returns
    -------
    DegradationResults
        All scores, with their averages.

    Raises
    ------
    TypeError
        If an estimator cannot score, or cannot predict and is not fitted anew.
    ValueError
        If an option, a level or a modality is unfit, or an estimator fails.

    See Also
    --------
    DegradationDisplay : Draws the curves.
    drop_modalities : What 'missing' does; it tells which samples keep what.

    Notes
    -----
    Level 0 with the same ``cv`` gives what
    :func:`sklearn.model_selection.cross_validate` gives, however often the curves have
    it; a degradation is not called for it. At other levels all estimators see the same
    degraded samples, so that losses can be compared in pairs.

    Clusterers without `predict` can be scored with ``at='both'``,
    ``cv=WholeDataSplit()`` and a `labels_scorer`.

    Examples
    --------
    >>> from mmfusion import EarlyFusionClassifier, LateFusionClassifier
    >>> from mmfusion.datasets import make_multimodal_blobs
    >>> from mmfusion.robustness import degradation_curve
    >>> X, y = make_multimodal_blobs(
    ...     200, {"audio": 4, "video": 8}, cluster_std=3.0, random_state=0
    ... )
    >>> results = degradation_curve(
    ...     {"early": EarlyFusionClassifier(), "late": LateFusionClassifier()},
    ...     X,
    ...     y,
    ...     degradation=["missing", "noise"],
    ...     levels={"missing": [0, 0.5, 1], "noise": [0, 3]},
    ...     random_state=0,
    ... )
    >>> results
    DegradationResults of 2 estimators: 8 curves, 100 scores, 0 failed
    >>> summary = results.summary()
    >>> gone = summary[summary["level"] == 1]
    >>> gone[["estimator", "modality", "n_folds"]]
       estimator modality  n_folds
    2      early    audio        5
    5      early    video        5
    12      late    audio        5
    15      late    video        5
    """
    named = _named(estimators)
    frame = as_modalities(X)
    y, groups = (
        _of_samples(values, frame, key)
        for key, values in {"y": y, "groups": groups}.items()
    )
    if at == "predict":
        _refuse_transductive(named)
    study = Study(
        frame,
        y,
        list(_conditions(degradation, modalities, levels, frame.names)),
        _scorers(scoring, named),
        n_repeats,
        int(check_random_state(random_state).randint(np.iinfo(np.int32).max)),
        at == "both",
        error_score,
    )
    if sparse.issparse(cv):  # scikit-learn would iterate it
        raise TypeError("cv is a sparse matrix; give a number of folds or a splitter")
    with errors_about("cv and y"):
        splitter = check_cv(cv, y, classifier=any(map(is_classifier, named.values())))
    folds = checked_folds(splitter, len(frame), frame, y, groups=groups)
    if not folds:
        raise ValueError(f"cv={cv!r:.60} gives no fold")
    jobs = [
        joblib.delayed(Fold.rows)(Fold(study, name, estimator, number, *rows))
        for name, estimator in named.items()
        for number, rows in enumerate(folds)
    ]
    found = _in_parallel(jobs, n_jobs, verbose)
    return DegradationResults([row for rows in found for row in rows])


def _in_parallel(jobs: list[Any], n_jobs: int | None, verbose: bool) -> Iterable[Any]:
    if not verbose:
        return joblib.Parallel(n_jobs=n_jobs)(jobs)
    results = joblib.Parallel(n_jobs=n_jobs, return_as="generator")(jobs)
    return import_extra("tqdm").tqdm(results, total=len(jobs), unit="fold")


def _named(estimators: Any) -> dict[str, Any]:
    if not isinstance(estimators, Mapping):
        return {type(estimators).__name__: estimators}
    if not estimators:
        raise ValueError("estimators is empty; give {'my method': estimator, ...}")
    return {str(name): estimator for name, estimator in estimators.items()}


def _refuse_transductive(estimators: Mapping[str, Any]) -> None:
    for name, estimator in estimators.items():
        if not hasattr(estimator, "predict"):
            raise TypeError(
                f"{name!r} is a {type(estimator).__name__} without predict, which "
                "degraded samples are given to; give at='both', cv=WholeDataSplit() "
                "and scoring=labels_scorer(...), which fit it on degraded data"
            )


def _of_samples(values: Any, frame: Any, name: str) -> np.ndarray | None:
    """Read what has a value for each sample."""
    if values is None:
        return None
    check_row_labels(frame._index, values, name)
    if sparse.issparse(values):
        raise TypeError(f"{name} is a sparse matrix; give a dense array, by toarray()")
    with errors_about(name):
        values = as_dense_array(values, name)
        check_consistent_length(frame, values)
    return values


def _scorers(scoring: Any, estimators: Mapping[str, Any]) -> dict[str, Scorer]:
    if scoring is None:
        for name, estimator in estimators.items():
            if not hasattr(estimator, "score"):
                raise TypeError(
                    f"{name!r} is a {type(estimator).__name__} without score; give "
                    "scoring"
                )
        return {"score": _own_score}
    if callable(scoring):
        return {"score": scoring}
    names = [scoring] if isinstance(scoring, str) else scoring
    with errors_about("scoring"):
        if not isinstance(names, Mapping):
            names = dict(zip(names, names, strict=True))
    if not names:
        raise ValueError("scoring is empty; give at least one")
    scorers = {n: get_scorer(s) if isinstance(s, str) else s for n, s in names.items()}
    for name, scorer in scorers.items():
        if not callable(scorer):
            raise TypeError(f"scoring {name!r} is {scorer!r}, not a scorer or its name")
    return scorers


def _own_score(estimator: Any, *data: Any) -> float:
    return estimator.score(*data)


def _conditions(
    degradation: Any, modalities: Any, levels: Any, names: Sequence[str]
) -> Iterator[Condition]:
    groups = _groups(modalities, names)
    kinds = degradation if isinstance(degradation, list | tuple) else [degradation]
    if not kinds or not groups:
        raise ValueError("degradation and modalities need at least one entry each")
    for kind in kinds:
        if not callable(kind) and not (isinstance(kind, str) and kind in DEGRADATIONS):
            raise ValueError(
                f"degradation={kind!r}; it is one of {list(DEGRADATIONS)} or a function"
            )
        degrade = kind if callable(kind) else DEGRADATIONS[kind]
        name = (
            getattr(kind, "__name__", type(kind).__name__) if callable(kind) else kind
        )
        if isinstance(levels, Mapping) and name not in levels:
            raise ValueError(f"levels has none for {name!r}, only for {list(levels)}")
        own = levels[name] if isinstance(levels, Mapping) else levels
        for modality, group in groups.items():
            yield Condition(name, degrade, modality, group, _numbers(own, levels))


def _numbers(own: Any, levels: Any) -> tuple[float, ...]:
    """Levels of one degradation: real numbers, one at least."""
    try:
        given = tuple(as_elements(own, "levels"))
        numbers = tuple(map(float, given))
    except (TypeError, ValueError, OverflowError):
        given, numbers = (), ()
    if (
        not numbers
        or not all(map(is_real, given))
        or not all(0 <= n < np.inf for n in numbers)
    ):
        raise ValueError(
            f"levels={levels!r}; it needs finite numbers, not negative, such as "
            "[0, 0.5, 1], or a dict of them by degradation"
        )
    return numbers


def _groups(modalities: Any, names: Sequence[str]) -> dict[str, tuple[str, ...]]:
    if isinstance(modalities, str):
        if modalities == "all":
            return {"all": tuple(names)}
        if modalities != "each":
            raise ValueError(
                f"modalities={modalities!r}; it is 'each', 'all' or a list of names"
            )
        modalities = names
    if not all(isinstance(g, str | list | tuple) for g in modalities):
        raise TypeError(
            f"modalities={modalities!r}; it is 'each', 'all', or a list of names and "
            "of lists of names"
        )
    groups = [(g,) if isinstance(g, str) else tuple(g) for g in modalities]
    if not all(isinstance(name, str) for group in groups for name in group):
        raise TypeError(f"modalities={modalities!r} holds what is no name")
    unknown = {name for group in groups for name in group} - set(names)
    if unknown:
        raise ValueError(
            f"there are no modalities {sorted(unknown)}; there are {list(names)}"
        )
    return {"+".join(group): group for group in groups}
