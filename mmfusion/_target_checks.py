"""Checks of targets and of weights of samples."""

from __future__ import annotations

from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import sparse
from sklearn.base import is_classifier
from sklearn.utils import assert_all_finite

from mmfusion import _blocks
from mmfusion._construction import lone_list_hint
from mmfusion._numbers import refuse_complex
from mmfusion._options import errors_about
from mmfusion._row_labels import check_row_labels
from mmfusion._sklearn_compat import check_sample_weight, check_y
from mmfusion.modalities import Modalities


def check_target(
    estimator: object, frame: Modalities, y: Any, **options: bool
) -> np.ndarray:
    """Check the target of a classifier or regressor.

    Parameters
    ----------
    estimator : estimator
        The estimator whose `fit` was given the target.
    frame : Modalities
        The samples.
    y : array-like of shape (n_samples,) or (n_samples, n_outputs)
        The target: one value, or several, for each sample.
    **options : bool
        Options of scikit-learn's own check: ``multi_output``, ``y_numeric``.

    Returns
    -------
    ndarray of shape (n_samples,) or (n_samples, n_outputs)
        The target.

    Raises
    ------
    TypeError
        If it is sparse, or holds records.
    ValueError
        If it is None, has not one value per sample, is NaN or infinite, or its row
        labels differ from those of `frame`.
    """
    if y is None:
        raise ValueError(
            f"{type(estimator).__name__} requires y to be passed, but the target y is "
            "None"
        )
    if frame._index is not None:
        check_row_labels(frame._index, y, "y")
    if sparse.issparse(y):
        raise TypeError("y is a sparse matrix; give a dense array, by y.toarray()")
    with errors_about("y"):
        y = _blocks.as_plain(y, "y")
        refuse_complex(y, "y")
        _refuse_columns(estimator, y, **options)
        y = check_y(y, estimator=estimator, **options)
        if y.dtype.kind == "V":
            raise TypeError(f"y holds records ({y.dtype}); give one value each")
        if options.get("y_numeric"):
            y = y if y.dtype.kind == "f" else y.astype(np.float64)
            assert_all_finite(y, input_name="y")  # None among objects is NaN by now
    refuse_other_samples(frame, len(y))
    return y


def refuse_other_samples(frame: Modalities, n_labels: int) -> None:
    """Raise an error unless there are as many samples as labels.

    Parameters
    ----------
    frame : Modalities
        The samples.
    n_labels : int
        Number of labels.

    Raises
    ------
    ValueError
        If the numbers differ.
    """
    if n_labels == len(frame):
        return
    hint = ""
    if n_labels == len(frame.names):  # one for each array of a list
        hint = lone_list_hint(frame.names)
    raise ValueError(
        f"Found input variables with inconsistent numbers of samples: X has "
        f"{len(frame)}, and y has labels of {n_labels}{hint}"
    )


def _refuse_columns(estimator: object, y: Any, **options: bool) -> None:
    """Raise an error for several columns, unless the estimator predicts them."""
    shape = np.asarray(y).shape  # also of array-likes that are no arrays
    if options.get("multi_output") or len(shape) != 2 or shape[1] < 2:
        return
    name = type(estimator).__name__
    role = "Classifier" if is_classifier(estimator) else "Regressor"
    raise ValueError(
        f"y should be a 1d array, got an array of shape {shape} instead; give one "
        f"{name} to each column, by sklearn.multioutput.MultiOutput{role}({name}(...))"
    )


def validate_sample_weight(
    sample_weight: ArrayLike | None, frame: Modalities
) -> np.ndarray:
    """Check the weights of samples.

    Parameters
    ----------
    sample_weight : array-like of shape (n_samples,) or float, or None
        The weights; None is 1 for every sample.
    frame : Modalities
        The samples.

    Returns
    -------
    ndarray of shape (n_samples,)
        The weights as floats.

    Raises
    ------
    ValueError
        If there is not one per sample, their row labels differ from those of
        `frame`, one is negative, NaN or infinite, all are 0, or no sample of positive
        weight has some modality.
    """
    if frame._index is not None:
        check_row_labels(frame._index, sample_weight, "sample_weight")
    plain: Any = None
    with errors_about("sample_weight"):
        if sample_weight is not None:
            plain = _blocks.as_plain(sample_weight, "sample_weight")
            refuse_complex(plain, "sample_weight")
        if isinstance(plain, Real):  # scikit-learn takes Python's own numbers alone
            plain = float(plain)
        weight = check_sample_weight(plain, frame)
    if weight.min() < 0:
        sample = int(np.argmin(weight))
        raise ValueError(
            f"sample_weight is {weight[sample]:g} for sample {sample}; weights must "
            "not be negative, and 0 leaves a sample out"
        )
    if weight.max() == 0:
        raise ValueError("Sample weights must contain at least one non-zero number")
    with np.errstate(over="ignore"):
        total = weight.sum()
    if not np.isfinite(total):
        raise ValueError("the sum of sample_weight overflows; divide the weights")
    missing = ~frame.observed[weight > 0].any(axis=0)
    if missing.any():
        raise ValueError(
            f"modality {frame.names[int(np.argmax(missing))]!r} is missing for every "
            "sample whose weight is not 0: nothing can be fitted on it, leave it out"
        )
    return weight
