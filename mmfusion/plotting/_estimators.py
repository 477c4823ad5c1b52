"""Checks of the estimators that displays draw, and of their data."""

from __future__ import annotations

from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from mmfusion._numbers import is_integer
from mmfusion._typing import ModalitiesLike
from mmfusion._validation import as_modalities
from mmfusion.modalities import Modalities

KERNEL_LEARNERS = "MKLClusterer, MKLClassifier or MKLRegressor"


def check_displayable(
    estimator: BaseEstimator, *attributes: str, such_as: str = "EAMCClusterer"
) -> None:
    """Check that an estimator is fitted and has the attributes that are drawn."""
    if isinstance(estimator, type):
        raise TypeError(f"estimator is the class {estimator.__name__}; fit an instance")
    check_is_fitted(estimator)
    lacking = [name for name in attributes if not hasattr(estimator, name)]
    if lacking:
        raise TypeError(
            f"{type(estimator).__name__} has no {' and no '.join(lacking)}; give a "
            f"fitted estimator that has, such as {such_as} (in a Pipeline it is a "
            "step: pipeline[-1]; of a search it is best_estimator_)"
        )


def modalities_of_fit(estimator: BaseEstimator, X: ModalitiesLike) -> Modalities:
    """Return X as Modalities, in the order that they had in `fit`."""
    frame = as_modalities(X, getattr(estimator, "modalities", None))
    names = estimator.modality_names_in_.tolist()
    return frame[names] if set(frame.names) == set(names) else frame


def one_sample(frame: Modalities, sample: int) -> Modalities:
    """Return the sample at a position, which may count from the end."""
    if not is_integer(sample) or not -len(frame) <= sample < len(frame):
        raise ValueError(
            f"sample is {sample!r}; give the position of one of the {len(frame)} "
            "samples of X"
        )
    return frame[[sample % len(frame)]]
