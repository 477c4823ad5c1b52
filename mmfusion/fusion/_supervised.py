"""What the fusion classifiers and regressors do alike with y, metadata and parts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from sklearn import get_config
from sklearn.linear_model import LogisticRegression, Ridge, RidgeCV
from sklearn.model_selection import check_cv
from sklearn.utils import check_random_state, get_tags
from sklearn.utils.metadata_routing import (
    MetadataRouter,
    MethodMapping,
    process_routing,
)
from sklearn.utils.multiclass import check_classification_targets

from mmfusion._accepted_cells import AcceptedCells, accepted_cells
from mmfusion._blocks import of_samples
from mmfusion._options import check_estimators
from mmfusion._row_labels import check_row_labels
from mmfusion._scaling import fit_scaling
from mmfusion._validation import check_target, validate_sample_weight
from mmfusion.base import SupervisedMixin
from mmfusion.fusion._clusterers import all_take_sparse
from mmfusion.fusion._targets import Classes, Outputs
from mmfusion.modalities import Modalities

ESTIMATOR = "estimator"


def templates(estimator: Any) -> dict[str, Any]:
    """Name the predictors that a fusion estimator was given, unfitted.

    Parameters
    ----------
    estimator : estimator
        One with the parameter ``estimator`` and a role.

    Returns
    -------
    dict of str to estimator
        By name of the part, with 'estimator' for parts that have none of their own.
    """
    default = estimator._default_estimator()
    given = estimator.estimator
    if isinstance(given, Mapping):
        return {n: default if part is None else part for n, part in given.items()}
    return {ESTIMATOR: default if given is None else given}


def accepted_by(estimator: Any, name: str) -> AcceptedCells:
    """Return which cells the predictor of a branch takes beside finite numbers.

    Parameters
    ----------
    estimator : estimator
        As in `templates`.
    name : str
        Name of the branch.

    Returns
    -------
    AcceptedCells
        What it takes.
    """
    given = templates(estimator)
    default = given.get(ESTIMATOR)
    if isinstance(estimator.estimator, Mapping):
        default = estimator._default_estimator()
    return accepted_cells(given.get(name, default))


def check_predictors(estimator: Any) -> None:
    """Refuse what is no predictor, or one of the other kind.

    Parameters
    ----------
    estimator : estimator
        A fusion estimator, unfitted.

    Raises
    ------
    TypeError
        If an entry of ``estimator``, or the final estimator of a stack, is none, or a
        regressor among classifiers, or the like.
    """
    given = {ESTIMATOR: estimator.estimator}
    remedy = "; to leave the modality out give weights={{{name!r}: 0}}"
    if hasattr(estimator, "final_estimator"):
        given["final_estimator"] = estimator.final_estimator
    for parameter, option in given.items():
        check_estimators(option, parameter, ["fit", "predict"], remedy=remedy)
        is_dict = isinstance(option, Mapping)
        for name, part in option.items() if is_dict else [(None, option)]:
            found = _kind_of(part)
            if found not in (None, estimator._kind):
                what = f"{parameter}[{name!r}]" if is_dict else parameter
                raise TypeError(
                    f"{what} is a {found}, {type(part).__name__}, but "
                    f"{type(estimator).__name__} needs a {estimator._kind}"
                )


def _kind_of(estimator: Any) -> str | None:
    """What an estimator is by its tags; None where they do not say."""
    if not hasattr(estimator, "__sklearn_tags__"):
        return None
    return get_tags(estimator).estimator_type


def take_sparse(estimator: Any) -> bool:
    """Tell whether the predictors of a fusion estimator take sparse matrices.

    Parameters
    ----------
    estimator : estimator
        As in `templates`.

    Returns
    -------
    bool
        True if all do, as far as their tags can be believed.
    """
    return all_take_sparse(templates(estimator).values())


def seed_of(random_state: Any) -> int | None:
    """Draw one seed for all parts, so that their order does not matter.

    Parameters
    ----------
    random_state : int, RandomState instance or None
        An integer is the seed; None leaves predictors their own.

    Returns
    -------
    int or None
        The seed.
    """
    if random_state is None:
        return None
    if isinstance(random_state, int | np.integer):
        return int(random_state)
    return int(check_random_state(random_state).randint(np.iinfo(np.int32).max))


@dataclass(frozen=True)
class Metadata:
    """What was given to `fit` beside X and y, by whom it is for."""

    parts: dict[str, dict[str, Any]]
    split: dict[str, Any] = field(default_factory=dict)
    final: dict[str, Any] = field(default_factory=dict)
    sample_weight: Any = None

    def counted(self, n_samples: int) -> np.ndarray:
        """Return which samples have a weight other than 0, as a mask."""
        if self.sample_weight is None:
            return np.ones(n_samples, dtype=bool)
        return np.asarray(self.sample_weight > 0)

    def of(self, chosen: np.ndarray) -> Metadata:
        """Take what belongs to the chosen samples (a mask)."""

        def own(params: Mapping[str, Any]) -> dict[str, Any]:
            return {key: of_samples(value, chosen) for key, value in params.items()}

        return Metadata(
            {name: own(params) for name, params in self.parts.items()},
            own(self.split),
            own(self.final),
            of_samples(self.sample_weight, chosen),
        )


def route(
    estimator: Any, params: dict[str, Any], names: Sequence[str], frame: Modalities
) -> Metadata:
    """Resolve who gets which metadata.

    Parameters
    ----------
    estimator : estimator
        A fusion estimator.
    params : dict
        Metadata given to its `fit`.
    names : list of str
        Names of its parts.
    frame : Modalities
        The data.

    Returns
    -------
    Metadata
        What was requested. If metadata routing is not enabled, ``groups`` are for the
        splitter, ``sample_weight`` also for the final estimator, and everything but
        groups for the parts.
    """
    params = {key: value for key, value in params.items() if value is not None}
    for key, value in params.items():
        check_row_labels(frame._index, value, key)
    if "sample_weight" in params:
        params["sample_weight"] = validate_sample_weight(params["sample_weight"], frame)
    weight = params.get("sample_weight")
    if not params or not get_config()["enable_metadata_routing"]:
        groups = {k: v for k, v in params.items() if k == "groups"}
        rest = {k: v for k, v in params.items() if k != "groups"}
        final = {k: v for k, v in rest.items() if k == "sample_weight"}
        return Metadata(dict.fromkeys(names, rest), groups, final, weight)
    steps = process_routing(estimator, "fit", **params)
    by_name = isinstance(estimator.estimator, Mapping)

    def of(step: str, method: str = "fit") -> dict[str, Any]:
        return dict(steps[step][method]) if step in steps else {}

    return Metadata(
        {name: of(name if by_name else ESTIMATOR) for name in names},
        of("splitter", "split"),
        of("final_estimator"),
        weight,
    )


def make_router(estimator: Any, final_estimator: Any = None) -> MetadataRouter:
    """List who may request metadata of `fit`.

    Parameters
    ----------
    estimator : estimator
        A fusion estimator.
    final_estimator : estimator, default=None
        That of a stack.

    Returns
    -------
    MetadataRouter
        The routing to the parts, the final estimator and the splitter.
    """
    router = MetadataRouter(owner=estimator).add_self_request(estimator)
    to_fit = MethodMapping().add(caller="fit", callee="fit")
    for name, part in templates(estimator).items():
        router.add(**{name: part}, method_mapping=to_fit)
    if final_estimator is not None:
        router.add(final_estimator=final_estimator, method_mapping=to_fit)
    if hasattr(estimator, "cv"):
        to_split = MethodMapping().add(caller="fit", callee="split")
        router.add(splitter=check_cv(estimator.cv), method_mapping=to_split)
    return router


def unless_observed(said: np.ndarray, observed: np.ndarray) -> np.ndarray:
    """Mark predictions that rest on nothing.

    Parameters
    ----------
    said : ndarray of shape (n_samples, n_modalities[, n_outputs])
        Labels or values.
    observed : ndarray of bool of shape (n_samples, n_modalities)
        Which rest on something.

    Returns
    -------
    ndarray of the same shape
        Numbers as floats, with NaN for those that rest on nothing; other labels as
        objects, with None.
    """
    is_number = said.dtype.kind in "biuf"
    said = said.astype(float if is_number else object)
    said[~observed] = np.nan if is_number else None
    return said


class ClassifierRole(SupervisedMixin):
    """What makes a fusion estimator a classifier."""

    classes_: np.ndarray
    _kind = "classifier"

    def _default_estimator(self) -> Any:
        return LogisticRegression(max_iter=1000)

    def _default_final_estimator(self) -> Any:
        return LogisticRegression(max_iter=1000)

    def _check_target(self, frame: Modalities, y: Any) -> np.ndarray:
        y = check_target(self, frame, y)
        check_classification_targets(y)
        return y

    def _make_target(self, y: np.ndarray, sample_weight: Any) -> Classes:
        self.classes_, codes = np.unique(y, return_inverse=True)
        counts = np.bincount(codes, weights=sample_weight).astype(float)
        return Classes(self.classes_, counts / counts.sum())


class RegressorRole(SupervisedMixin):
    """What makes a fusion estimator a regressor."""

    _kind = "regressor"

    def _default_estimator(self) -> Any:
        return Ridge()

    def _default_final_estimator(self) -> Any:
        return RidgeCV()

    def _check_target(self, frame: Modalities, y: Any) -> np.ndarray:
        multi_output = get_tags(self).target_tags.multi_output
        y = check_target(self, frame, y, multi_output=multi_output, y_numeric=True)
        return y

    def _make_target(self, y: np.ndarray, sample_weight: Any) -> Outputs:
        values = y.reshape(len(y), -1)
        fitted = fit_scaling(values, "standard", sample_weight)
        spread = np.where(np.isfinite(fitted.spread), fitted.spread, 1.0)
        return Outputs(fitted.center, spread, y.ndim == 1)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()  # type: ignore[misc]
        parts = templates(self).values()
        tags.target_tags.multi_output = all(
            get_tags(part).target_tags.multi_output
            for part in parts
            if hasattr(part, "__sklearn_tags__")
        )
        return tags
