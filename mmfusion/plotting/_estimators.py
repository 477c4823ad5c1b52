"""What displays ask of an estimator."""

from __future__ import annotations

from typing import Any

from sklearn.utils.validation import check_is_fitted

from mmfusion._validation import as_modalities
from mmfusion.modalities import Modalities

LEARNS_KERNELS = "MKLClusterer, MKLClassifier or MKLRegressor"


def check_shows(
    estimator: Any, *attributes: str, such_as: str = "EAMCClusterer"
) -> None:
    """Refuse an estimator that is not fitted, or has nothing to show."""
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


def samples_of(estimator: Any, X: Any) -> Modalities:
    """Take X in any form, with the modalities in the order of `fit`."""
    frame = as_modalities(X, getattr(estimator, "modalities", None))
    names = estimator.modality_names_in_.tolist()
    return frame[names] if set(frame.names) == set(names) else frame
