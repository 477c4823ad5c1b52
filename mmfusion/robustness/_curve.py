"""Scores of estimators under increasing degradation of modalities."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from numbers import Integral, Real
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike
from scipy import sparse
from sklearn.base import is_classifier
from sklearn.model_selection import check_cv
from sklearn.utils import check_consistent_length, check_random_state

from mmfusion._blocks import as_dense_array, as_elements
from mmfusion._numbers import is_real
from mmfusion._options import errors_about
from mmfusion._progress import Job, Progress
from mmfusion._row_labels import check_row_labels
from mmfusion._sklearn_compat import INTEGER, Interval, StrOptions, validate_params
from mmfusion._typing import (
    ByModality,
    CrossValidationLike,
    EstimatorLike,
    ModalitiesLike,
    RandomStateLike,
)
from mmfusion._validation import as_modalities
from mmfusion.fusion._folds import checked_folds
from mmfusion.metrics import get_scorer
from mmfusion.modalities import Modalities
from mmfusion.robustness._changes import chosen_positions, clocks_of, refuse_tables
from mmfusion.robustness._degradations import (
    TIMES_CONSTRAINTS,
    add_noise,
    drop_modalities,
    swap_rows,
)
from mmfusion.robustness._folds import Condition, Degrade, Fold, Scorer, Study
from mmfusion.robustness._results import DegradationResults
from mmfusion.robustness._time_degradations import (
    drop_stretches,
    noise_bursts,
    shift_modality,
)

DegradationLike: TypeAlias = str | Degrade | Sequence[str | Degrade]
LevelsLike: TypeAlias = Sequence[float] | Mapping[str, Sequence[float]]
ScoringLike: TypeAlias = (
    str | Scorer | Sequence[str] | Mapping[str, str | Scorer] | None
)

DEGRADATIONS: dict[str, Degrade] = {
    "missing": drop_modalities,
    "noise": add_noise,
    "swap": swap_rows,
    "bursts": noise_bursts,
    "shift": shift_modality,
    "stretches": drop_stretches,
}
OF_SEQUENCES = (noise_bursts, shift_modality, drop_stretches)
LEVELS: Sequence[float] = (0, 0.25, 0.5, 0.75, 1)
SHIFTS: Sequence[float] = (0, 1, 2, 5, 10)  # frames


@validate_params(
    {
        "degradation": [str, callable, list, tuple],
        "modalities": [str, list, tuple],
        "levels": ["array-like", dict, None],
        "at": [StrOptions({"predict", "both"})],
        "cv": ["cv_object"],
        "scoring": [str, callable, list, tuple, dict, None],
        "n_repeats": [Interval(Integral, 1, None, closed="left")],
        **TIMES_CONSTRAINTS,
        "error_score": [StrOptions({"raise"}), Real],
        "n_jobs": [INTEGER, None],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    },
    prefer_skip_nested_validation=False,
)
def degradation_curve(
    estimators: EstimatorLike,
    X: ModalitiesLike,
    y: ArrayLike | None = None,
    *,
    degradation: DegradationLike = "missing",
    modalities: str | Sequence[str | Sequence[str]] = "each",
    levels: LevelsLike | None = None,
    times: ByModality[int | str | None] = None,
    at: str = "predict",
    cv: CrossValidationLike = 5,
    groups: ArrayLike | None = None,
    scoring: ScoringLike = None,
    n_repeats: int = 1,
    error_score: str | float = "raise",
    n_jobs: int | None = None,
    random_state: RandomStateLike = None,
    verbose: bool | int = False,
) -> DegradationResults:
    """Score estimators under increasing degradation of modalities.

    Estimators are fitted once per fold to the original data, and scored on the
    held-out samples at every level of every degradation.

    Parameters
    ----------
    estimators : estimator or dict of str to estimator
        Classifiers, regressors or clusterers, which are cloned.
    X : list, dict or Modalities
        Data by modality; :meth:`Modalities.from_table` splits a table.
    y : array-like of shape (n_samples,) or (n_samples, n_outputs), default=None
        Target, or the classes to compare clusters with.
    degradation : {'missing', 'noise', 'swap', 'bursts', 'shift', 'stretches'}, \
callable, or list of these, default='missing'
        Degradation to apply: `drop_modalities`, `add_noise`, `swap_rows`, or, to
        sequences, `noise_bursts`, `shift_modality`, `drop_stretches`. Noise is in units
        of the standard deviations of the training samples. Or a function
        ``f(X, level, modalities, random_state=seed)`` that returns `Modalities`.
    modalities : {'each', 'all'} or list, default='each'
        Modalities to degrade: one after the other, all together, or each entry of a
        list, which is a name or a list of names to degrade together.
    levels : list of float or dict, default=None
        Levels of degradation: shares, standard deviations of 'noise', or shifts. The
        keys of a dict are names of degradations. Level 0 is the original data. None is
        ``(0, 0.25, 0.5, 0.75, 1)``, and for 'shift' ``(0, 1, 2, 5, 10)``.
    times : int, str or dict, default=None
        Feature of the frames of sequences that is their clock, by its position, such as
        -1, or its name, for all sequences or by modality. 'noise', 'bursts', 'shift'
        and 'stretches' take it into account.
    at : {'predict', 'both'}, default='predict'
        Whether to degrade only the samples to predict, or also those of `fit`, for
        which estimators are fitted again at each level. Estimators of this package
        cannot be fitted with a modality that no sample has: omit level 1 of 'missing'
        and of 'stretches'.
    cv : int, cross-validation generator or iterable, default=5
        Cross-validation splitter. An integer is the number of folds, stratified if an
        estimator is a classifier.
    groups : array-like of shape (n_samples,), default=None
        Groups of samples for the splitter.
    scoring : str, callable, list or dict, default=None
        Scores, of which larger is better: names for
        :func:`mmfusion.metrics.get_scorer`, scorers of (estimator, X, y), a list of
        names, or a dict of names and scorers by name. None is the method ``score`` of
        the estimators.
    n_repeats : int, default=1
        Number of draws of each degradation per fold.
    error_score : 'raise' or float, default='raise'
        Score of failures; 'raise' raises an error that describes the failure.
    n_jobs : int, default=None
        Number of pairs of estimator and fold that run in parallel by joblib. None is 1
        unless in a joblib context, -1 all processors.
    random_state : int, RandomState instance or None, default=None
        Seed of the degradations, which are the same for all estimators, and as similar
        as possible between levels.
    verbose : bool or int, default=False
        Whether to show the progress of the folds: True or 1 by a bar, where tqdm is
        installed and stderr is a terminal or a notebook, else by lines with their
        seconds; 2 by lines.

    Returns
    -------
    DegradationResults
        Scores of all estimators and levels, and their averages.

    Raises
    ------
    TypeError
        If an estimator has no `score`, or has no `predict` and is not fitted again.
    ValueError
        If an option, a level or a modality is invalid, or an estimator fails.

    See Also
    --------
    DegradationDisplay : Draws the curves.
    drop_modalities : Applies 'missing', and describes the draw of samples.
    noise_bursts : Applies 'bursts', and describes the draw of stretches.

    Notes
    -----
    Scores at level 0 equal those of :func:`sklearn.model_selection.cross_validate` with
    the same ``cv``, in every curve; no degradation is applied. At other levels all
    estimators are scored on the same degraded samples, so that losses can be compared
    in pairs.

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
    named = _name_estimators(estimators)
    frame = as_modalities(X)
    clocks_of(frame, times)  # checks them before any fit, which may take long
    y, groups = (
        _sample_values(values, frame, key)
        for key, values in {"y": y, "groups": groups}.items()
    )
    if at == "predict":
        _refuse_transductive(named)
    conditions = list(_conditions(degradation, modalities, levels, times, frame.names))
    for condition in conditions:
        if condition.degrade in OF_SEQUENCES:
            refuse_tables(frame, chosen_positions(frame, condition.names))
    study = Study(
        frame,
        y,
        conditions,
        _resolve_scorers(scoring, named),
        n_repeats,
        # an integer, from which each fold derives its seeds in any process
        int(check_random_state(random_state).randint(np.iinfo(np.int32).max)),
        at == "both",
        error_score,
    )
    if sparse.issparse(cv):  # scikit-learn would iterate over its rows
        raise TypeError("cv is a sparse matrix; give a number of folds or a splitter")
    with errors_about("cv and y"):
        splitter = check_cv(cv, y, classifier=any(map(is_classifier, named.values())))
    folds = checked_folds(splitter, len(frame), frame, y, groups=groups)
    if not folds:
        raise ValueError(f"cv={cv!r:.60} yields no fold")
    # parallel over folds, not levels: a fold is fitted once and scored at all levels
    jobs = [
        Job(f"{name}, fold {k}", Fold.rows, (Fold(study, name, estimator, k, *rows),))
        for name, estimator in named.items()
        for k, rows in enumerate(folds)
    ]
    with Progress("degradation_curve", len(jobs), "fold", verbose) as progress:
        by_fold = progress.run(jobs, n_jobs)
    return DegradationResults([row for rows in by_fold for row in rows])


def _name_estimators(estimators: EstimatorLike) -> dict[str, Any]:
    """Return estimators by name; that of a single one is its class."""
    if not isinstance(estimators, Mapping):
        return {type(estimators).__name__: estimators}
    if not estimators:
        raise ValueError("estimators is empty; give {'my method': estimator, ...}")
    return {str(name): estimator for name, estimator in estimators.items()}


def _refuse_transductive(estimators: Mapping[str, Any]) -> None:
    """Raise for estimators without `predict`, which cannot score other samples."""
    for name, estimator in estimators.items():
        if not hasattr(estimator, "predict"):
            raise TypeError(
                f"{name!r} is a {type(estimator).__name__} without predict, which is "
                "needed to score degraded samples; give at='both', cv=WholeDataSplit() "
                "and scoring=labels_scorer(...), which fit it on degraded data"
            )


def _sample_values(
    values: ArrayLike | None, frame: Modalities, name: str
) -> np.ndarray | None:
    """Check an array with one value per sample."""
    if values is None:
        return None
    check_row_labels(frame._index, values, name)
    if sparse.issparse(values):
        raise TypeError(f"{name} is a sparse matrix; give a dense array, by toarray()")
    with errors_about(name):
        array = as_dense_array(values, name)
        check_consistent_length(frame, array)
    return array


def _resolve_scorers(
    scoring: ScoringLike, estimators: Mapping[str, Any]
) -> dict[str, Scorer]:
    """Return scorers by name of the score."""
    if scoring is None:
        for name, estimator in estimators.items():
            if not hasattr(estimator, "score"):
                raise TypeError(
                    f"{name!r} is a {type(estimator).__name__} without score; give "
                    "scoring"
                )
        return {"score": _default_score}
    if callable(scoring):
        return {"score": scoring}
    names: Any = [scoring] if isinstance(scoring, str) else scoring
    with errors_about("scoring"):
        if not isinstance(names, Mapping):
            # any iterable, which may raise here, such as a number
            names = dict(zip(names, names, strict=True))
    if not names:
        raise ValueError("scoring is empty; give at least one")
    scorers = {n: get_scorer(s) if isinstance(s, str) else s for n, s in names.items()}
    for name, scorer in scorers.items():
        if not callable(scorer):
            raise TypeError(f"scoring {name!r} is {scorer!r}, not a scorer or its name")
    return scorers


def _default_score(estimator: Any, *data: Any) -> float:
    """Call the method `score` of an estimator, with X alone or X and y."""
    return estimator.score(*data)


def _conditions(
    degradation: DegradationLike,
    modalities: str | Sequence[str | Sequence[str]],
    levels: LevelsLike | None,
    times: ByModality[int | str | None],
    names: Sequence[str],
) -> Iterator[Condition]:
    """Yield the curves to compute: each degradation of each group of modalities."""
    groups = _modality_groups(modalities, names)
    kinds = degradation if isinstance(degradation, list | tuple) else [degradation]
    if not kinds or not groups:
        raise ValueError("degradation and modalities need at least one entry each")
    for kind in kinds:
        if not callable(kind) and not (isinstance(kind, str) and kind in DEGRADATIONS):
            raise ValueError(
                f"degradation={kind!r}; it must be one of {list(DEGRADATIONS)} or a "
                "function"
            )
        degrade = kind if callable(kind) else DEGRADATIONS[kind]
        name = (
            getattr(kind, "__name__", type(kind).__name__) if callable(kind) else kind
        )
        if isinstance(levels, Mapping) and name not in levels:
            raise ValueError(f"levels has none for {name!r}, only for {list(levels)}")
        if levels is None:
            own = SHIFTS if degrade is shift_modality else LEVELS
        else:
            own = levels[name] if isinstance(levels, Mapping) else levels
        checked = _finite_levels(own, levels)
        for modality, group in groups.items():
            yield Condition(name, degrade, modality, group, checked, times)


def _finite_levels(
    own: Sequence[float], levels: LevelsLike | None
) -> tuple[float, ...]:
    """Check the levels of one degradation, of which `levels` is the whole option."""
    try:
        elements = tuple(as_elements(own, "levels"))
        numbers = tuple(map(float, elements))
    except (TypeError, ValueError, OverflowError):
        elements, numbers = (), ()
    if (
        not numbers
        or not all(map(is_real, elements))
        or not all(0 <= n < np.inf for n in numbers)
    ):
        raise ValueError(
            f"levels={levels!r}; it needs finite numbers, not negative, such as "
            "[0, 0.5, 1], or a dict of them by degradation"
        )
    return numbers


def _modality_groups(
    modalities: str | Sequence[str | Sequence[str]], names: Sequence[str]
) -> dict[str, tuple[str, ...]]:
    """Return the names of the modalities of each group, by name of the group."""
    if isinstance(modalities, str):
        if modalities == "all":
            return {"all": tuple(names)}
        if modalities != "each":
            raise ValueError(
                f"modalities={modalities!r}; it must be 'each', 'all' or a list of "
                "names"
            )
        modalities = names
    if not all(isinstance(g, str | list | tuple) for g in modalities):
        raise TypeError(
            f"modalities={modalities!r}; it must be 'each', 'all', or a list of names "
            "and of lists of names"
        )
    groups = [(g,) if isinstance(g, str) else tuple(g) for g in modalities]
    if not all(isinstance(name, str) for group in groups for name in group):
        raise TypeError(f"modalities={modalities!r} holds values other than names")
    # by set: a name may be in several groups
    unknown = {name for group in groups for name in group} - set(names)
    if unknown:
        raise ValueError(
            f"there are no modalities {sorted(unknown)}; there are {list(names)}"
        )
    return {"+".join(group): group for group in groups}
