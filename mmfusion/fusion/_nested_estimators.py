"""Estimators nested in fusion estimators: one for all branches, or one for each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator
from sklearn.utils import get_tags

from mmfusion._accepted_cells import AcceptedCells, accepted_cells
from mmfusion._options import by_modality, check_estimators, weights_by_modality
from mmfusion._scaling import SCALINGS
from mmfusion._sklearn_compat import SPARSE_TAGS_ARE_TRUE
from mmfusion._typing import ByModality, EstimatorLike, RandomStateLike
from mmfusion._validation import ModalityTags
from mmfusion.base import DefaultEstimatorParams, ModalityMixin
from mmfusion.modalities import Modalities
from mmfusion.preprocessing._sequence_layouts import (
    ARRAYS,
    CHANNELS_FIRST,
    PADDED,
    UNCHECKED,
    sequence_layout,
)

DROP = "drop"  # in place of an estimator in a dict: a branch that is left out


class NestedEstimatorsMixin(DefaultEstimatorParams, ModalityMixin):
    """Fusion estimator whose branches have estimators of their own.

    They are given by the constructor parameter named by ``_estimators_param``: one that
    is cloned for every branch, or a dict by name of the branch. What a modality may
    hold depends on the estimators of its branches.
    """

    _estimators_param: str
    _estimator_methods: Sequence[str] = ("fit", "predict")
    _kind: str | None  # that estimators must be of: 'classifier' or 'regressor'
    _make_default_estimator: Callable[[], BaseEstimator]
    _used_positions: list[int] | None = None  # of modalities; None for all
    _drops = False  # whether an estimator in a dict may be 'drop'

    def _default_estimators(self) -> Mapping[str, Callable[[], BaseEstimator]]:
        return {self._estimators_param: self._make_default_estimator}

    def _check_parameters(self) -> None:
        """Raise an error for nested estimators that cannot be used.

        Subclasses add the parameters that contradict each other.
        """
        if hasattr(self, "reducer"):
            check_reducers(self.reducer)
        for parameter in (self._estimators_param, "final_estimator"):
            if not hasattr(self, parameter):
                continue
            option: EstimatorLike = getattr(self, parameter)
            strings = [DROP] if self._drops and isinstance(option, Mapping) else []
            check_estimators(
                option, parameter, self._estimator_methods, strings=strings
            )
            by_name = option if isinstance(option, Mapping) else {None: option}
            for name, nested in by_name.items():
                found = None  # estimators without tags are accepted
                if self._kind is not None and hasattr(nested, "__sklearn_tags__"):
                    found = get_tags(nested).estimator_type
                if found not in (None, self._kind):
                    what = parameter if name is None else f"{parameter}[{name!r}]"
                    raise TypeError(
                        f"{what} is a {found}, {type(nested).__name__}, but "
                        f"{type(self).__name__} needs a {self._kind}"
                    )

    def _templates(self) -> dict[str, BaseEstimator]:
        """Return the unfitted estimators by name of the branch, without dropped ones.

        An estimator for all branches has the name of the parameter.
        """
        given: EstimatorLike = getattr(self, self._estimators_param)
        by_name = given if isinstance(given, Mapping) else {None: given}
        dropped = self._dropped_branches()
        return {
            self._estimators_param if name is None else name: (
                self._make_default_estimator() if estimator is None else estimator
            )
            for name, estimator in by_name.items()
            if name not in dropped
        }

    def _dropped_branches(self) -> list[str]:
        """Return the names of the branches whose estimator is 'drop'."""
        given: EstimatorLike = getattr(self, self._estimators_param)
        if not isinstance(given, Mapping):
            return []
        return [n for n, e in given.items() if isinstance(e, str) and e == DROP]

    def _branch_positions(self, names: Sequence[str]) -> dict[str, list[int]]:
        """Return the positions of the modalities of every branch, dropped ones too."""
        return {name: [v] for v, name in enumerate(names)}

    def _branch_names(self) -> list[str]:
        """Return the names of all branches, dropped ones too."""
        return list(self._branch_positions(self._layout.names))

    def _without_dropped(
        self, frame: Modalities
    ) -> tuple[Modalities, dict[str, list[int]]]:
        """Return the modalities of branches that are not dropped, and their positions.

        Later frames are restricted to the same modalities by `_used_modalities`.
        """
        dropped = self._dropped_branches()
        positions = {
            name: own
            for name, own in self._branch_positions(frame.names).items()
            if name not in dropped
        }
        if not positions:
            raise ValueError("all branches are dropped; keep at least one")
        used: list[int] = sorted(set().union(*positions.values()))
        self._used_positions = None if len(used) == len(frame.names) else used
        place = {v: new for new, v in enumerate(used)}
        renumbered = {name: [place[v] for v in own] for name, own in positions.items()}
        return self._used_modalities(frame), renumbered

    def _used_modalities(self, frame: Modalities) -> Modalities:
        """Restrict a checked frame to the modalities that `fit` has used."""
        if self._used_positions is None:
            return frame
        return frame[:, self._used_positions]

    def _weights_of_branches_kept(
        self, weights: str | ByModality[ArrayLike], kept: Sequence[str]
    ) -> str | dict[str, float]:
        """Return given weights by name, without those of dropped branches."""
        if isinstance(weights, str):
            return weights
        names = self._branch_names()
        by_name = dict(zip(names, weights_by_modality(weights, names), strict=True))
        return {name: float(by_name[name]) for name in kept}

    def _scaling_of_modalities_kept(
        self, scaling: ByModality[str | None], kept: Sequence[str]
    ) -> dict[str, str | None]:
        """Return the scaling by name, without those of dropped modalities."""
        names = self._layout.names
        given = by_modality(scaling, names, "scaling", "auto", SCALINGS)
        by_name = dict(zip(names, given, strict=True))
        return {name: by_name[name] for name in kept}

    def _template_of(self, branch: str) -> BaseEstimator:
        """Return the unfitted estimator of a branch."""
        templates = self._templates()
        by_name = isinstance(getattr(self, self._estimators_param), Mapping)
        name = branch if by_name else self._estimators_param
        if name not in templates:
            return self._make_default_estimator()
        return templates[name]

    def _accepted_by(self, branch: str) -> AcceptedCells:
        """Return the cells that the estimator of a branch accepts beside numbers."""
        if branch in self._dropped_branches():
            return AcceptedCells(nan=True, text=True)
        return accepted_cells(self._template_of(branch))

    def _takes_sparse(self) -> bool:
        """Return whether all nested estimators accept sparse matrices."""
        return not SPARSE_TAGS_ARE_TRUE or all(
            get_tags(template).input_tags.sparse
            for template in self._templates().values()
            if hasattr(template, "__sklearn_tags__")  # others are refused by `fit`
        )

    def _branches_of(self, modality: str) -> Sequence[str]:
        """Name the branches that contain a modality."""
        return [modality]

    def _sequence_layout(self, modality: str) -> str | None:
        """Return how the estimator of a modality reads sequences; None if not."""
        if modality not in self._branches_of(modality):  # early fusion needs rows
            return None
        if modality in self._dropped_branches():
            # of any form, unless a branch of several modalities needs its rows
            alone = list(self._branches_of(modality)) == [modality]
            return ARRAYS if alone else UNCHECKED
        return sequence_layout(self._template_of(modality))

    def _takes_nan(self, modality: str) -> bool:
        # in padded sequences NaN is what follows the last frame, and no gap
        if self._sequence_layout(modality) in (PADDED, CHANNELS_FIRST):
            return False
        branches = self._branches_of(modality)
        return all(self._accepted_by(branch).nan for branch in branches)

    def _takes_text(self, modality: str) -> bool:
        # text cannot be concatenated with other modalities in one matrix
        alone = list(self._branches_of(modality)) == [modality]
        return alone and self._accepted_by(modality).text

    def __modality_tags__(self) -> ModalityTags:
        return ModalityTags(
            sparse=self._takes_sparse(),
            # without the parameter, branches are restricted to observed samples
            missing=getattr(self, "missing", "skip") != "raise",
            same_dtype=True,
            takes_nan=self._takes_nan,
            takes_text=self._takes_text,
            sequence_layout=self._sequence_layout,
        )


def check_reducers(reducer: EstimatorLike) -> None:
    """Raise an error unless the option is a transformer, or a dict of transformers."""
    check_estimators(
        reducer, "reducer", ["fit", "transform"], strings=[DROP], remedy=", or None"
    )


def seed_parameters(estimator: BaseEstimator) -> list[str]:
    """List the random_state parameters of an estimator and of those nested in it.

    Parameters
    ----------
    estimator : estimator
        Any scikit-learn estimator.

    Returns
    -------
    list of str
        Names of the parameters.
    """
    names = estimator.get_params(deep=True)
    return [n for n in names if n == "random_state" or n.endswith("__random_state")]


def seeded(estimator: BaseEstimator, random_state: RandomStateLike) -> BaseEstimator:
    """Set every random_state parameter of an estimator.

    Parameters
    ----------
    estimator : estimator
        Any scikit-learn estimator; it is changed.
    random_state : int or RandomState instance
        Value of the parameters.

    Returns
    -------
    estimator
        The same estimator.
    """
    names = seed_parameters(estimator)
    return estimator.set_params(**dict.fromkeys(names, random_state))
