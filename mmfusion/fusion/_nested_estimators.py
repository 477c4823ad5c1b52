"""Estimators nested in fusion estimators: one for all branches, or one for each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from sklearn.base import BaseEstimator
from sklearn.utils import get_tags

from mmfusion._accepted_cells import AcceptedCells, accepted_cells
from mmfusion._sklearn_compat import SPARSE_TAGS_ARE_TRUE
from mmfusion._typing import EstimatorLike, RandomStateLike
from mmfusion._validation import ModalityTags
from mmfusion.base import ModalityMixin


class NestedEstimatorsMixin(ModalityMixin):
    """Fusion estimator whose branches have estimators of their own.

    They are given by the constructor parameter named by ``_estimators_param``: one that
    is cloned for every branch, or a dict by name of the branch. What a modality may
    hold depends on the estimators of its branches.
    """

    _estimators_param: str
    _make_default_estimator: Callable[[], BaseEstimator]

    def _templates(self) -> dict[str, BaseEstimator]:
        """Return the unfitted estimators by name of the branch.

        An estimator for all branches has the name of the parameter.
        """
        given: EstimatorLike = getattr(self, self._estimators_param)
        by_name = given if isinstance(given, Mapping) else {None: given}
        return {
            self._estimators_param if name is None else name: (
                self._make_default_estimator() if estimator is None else estimator
            )
            for name, estimator in by_name.items()
        }

    def _accepted_by(self, branch: str) -> AcceptedCells:
        """Return the cells that the estimator of a branch accepts beside numbers."""
        templates = self._templates()
        by_name = isinstance(getattr(self, self._estimators_param), Mapping)
        name = branch if by_name else self._estimators_param
        if name not in templates:
            return accepted_cells(self._make_default_estimator())
        return accepted_cells(templates[name])

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

    def _takes_nan(self, modality: str) -> bool:
        branches = self._branches_of(modality)
        return all(self._accepted_by(branch).nan for branch in branches)

    def _takes_text(self, modality: str) -> bool:
        # text cannot be concatenated with other modalities in one matrix
        alone = list(self._branches_of(modality)) == [modality]
        return alone and self._accepted_by(modality).text

    def __modality_tags__(self) -> ModalityTags:
        return ModalityTags(
            sparse=self._takes_sparse(),
            missing=True,
            same_dtype=True,
            takes_nan=self._takes_nan,
            takes_text=self._takes_text,
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
