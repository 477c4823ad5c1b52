"""Checks of the estimators that displays draw, and of their data."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, is_regressor
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from mmfusion._blocks import take_rows
from mmfusion._numbers import is_integer
from mmfusion._options import errors_about, errors_name
from mmfusion._row_labels import check_row_labels
from mmfusion._typing import ModalitiesLike, NumericBlock, RandomStateLike
from mmfusion._validation import as_modalities
from mmfusion.metrics._labels import validate_labels
from mmfusion.metrics._silhouette import comparable_table
from mmfusion.modalities import Modalities
from mmfusion.plotting._inputs import check_sample_count

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
    names = list(getattr(estimator, "modality_names_in_", frame.names))
    return frame[names] if set(frame.names) == set(names) else frame


def refuse_no_samples(frame: Modalities) -> None:
    """Raise an error if there is no sample to draw."""
    if len(frame) == 0:
        raise ValueError("X has 0 samples: there is nothing to draw")


def predicted_labels(estimator: BaseEstimator, frame: Modalities) -> np.ndarray:
    """Return the labels that a fitted estimator predicts.

    Those of an estimator without `predict` are of the samples of `fit`.
    """
    if hasattr(estimator, "__sklearn_tags__") and is_regressor(estimator):
        raise TypeError(
            f"{type(estimator).__name__} is a regressor, whose predictions are no "
            "clusters; give a clusterer or a classifier, or bins of its predictions to "
            "from_predictions"
        )
    if hasattr(estimator, "predict"):
        return validate_labels(estimator.predict(frame), "the labels of predict")
    labels = getattr(estimator, "labels_", None)
    if labels is None:
        raise TypeError(
            f"{type(estimator).__name__} has neither predict nor labels_; give a "
            "fitted clusterer, or the labels to from_predictions"
        )
    if len(labels) != len(frame):
        raise ValueError(
            f"X has {len(frame)} samples; {type(estimator).__name__} has no predict, "
            f"and labels_ of the {len(labels)} samples of fit: give those"
        )
    return np.asarray(labels)


def drawn_samples(
    n_samples: int, max_samples: int | None, random_state: RandomStateLike
) -> np.ndarray:
    """Return positions of at most `max_samples` samples, in random order."""
    check_sample_count(max_samples, "max_samples")
    with errors_about("random_state"):
        rng = check_random_state(random_state)
    return rng.permutation(n_samples)[:max_samples]


def labels_for(frame: Modalities, labels: ArrayLike, name: str) -> np.ndarray:
    """Check the labels that are given for the samples of a frame."""
    check_row_labels(frame._index, labels, name)
    values = validate_labels(labels, name)
    if len(values) != len(frame):
        raise ValueError(f"{name} has {len(values)} labels for {len(frame)} samples")
    return values


def scaled_tables(
    frame: Modalities, *, min_samples: int = 2
) -> dict[str, NumericBlock | None]:
    """Return each modality as a scaled table of the samples that have it.

    It is None for modalities of fewer than `min_samples` samples.
    """
    tables: dict[str, NumericBlock | None] = {}
    for name, block, observed in zip(
        frame.names, frame.blocks, frame.observed.T, strict=True
    ):
        rows = np.flatnonzero(observed)
        with errors_name(name):
            tables[name] = (
                comparable_table(take_rows(block, rows), "auto", name)
                if len(rows) >= min_samples
                else None
            )
    return tables


def one_sample(frame: Modalities, sample: int) -> Modalities:
    """Return the sample at a position, which may count from the end."""
    if not is_integer(sample) or not -len(frame) <= sample < len(frame):
        raise ValueError(
            f"sample is {sample!r}; give the position of one of the {len(frame)} "
            "samples of X"
        )
    return frame[[sample % len(frame)]]
