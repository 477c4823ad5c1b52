"""A score of a clustering that needs no classes."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.metrics import silhouette_score
from sklearn.utils import check_array, check_consistent_length, check_random_state

from mmfusion._blocks import as_table
from mmfusion._numbers import is_integer
from mmfusion._options import errors_name
from mmfusion._row_labels import check_row_labels
from mmfusion._scaling import SCALINGS, fit_scalings, without_offset_and_unit
from mmfusion._validation import FLOATS, as_modalities
from mmfusion.metrics._labels import validate_labels, warn_of_measured_values


def modality_silhouette_score(
    X: Any,
    labels: Any,
    *,
    scaling: str | None = "auto",
    average: bool = True,
    sample_size: int | None = 2000,
    random_state: Any = 0,
) -> Any:
    """Silhouette of one clustering in every modality.

    It needs no classes, and, since it looks at each modality by itself, its values
    can be compared across weights, scalings and ways of fusion: a fused inertia or
    likelihood cannot.

    Parameters
    ----------
    X : Modalities, list or dict of array-like, or array-like of one modality
        The data, without sequences.
    labels : array-like of shape (n_samples,)
        The clustering: labels of any type, none of them missing.
    scaling : {'auto', 'block', 'standard', 'l2'} or None, default='auto'
        How each modality is scaled before distances are taken, as in `EarlyFusion`.
    average : bool, default=True
        Whether to return the mean over modalities, or one value for each.
    sample_size : int or None, default=2000
        Samples drawn, since the cost grows with their square. None takes all.
    random_state : int, RandomState instance or None, default=0
        For the draw; fixed by default, so that the score is a function of its input.

    Returns
    -------
    float or ndarray of shape (n_modalities,)
        Between -1 and 1 (best). A modality of which the draw has fewer than two
        clusters, or no two samples in one, scores -1: nothing was told apart. One
        that fewer than two samples of the draw have is NaN, and left out of the mean.

    Raises
    ------
    ValueError
        If a modality holds sequences, the lengths differ, a label is missing (NaN),
        or an option is none.
    TypeError
        If `average` is neither True nor False.

    See Also
    --------
    sklearn.metrics.silhouette_score : For one modality, unscaled.

    References
    ----------
    P. J. Rousseeuw (1987), Silhouettes: a graphical aid to the interpretation and
    validation of cluster analysis. Journal of Computational and Applied Mathematics
    20, 53-65.

    Examples
    --------
    >>> import numpy as np
    >>> from mmfusion import Modalities
    >>> from mmfusion.metrics import modality_silhouette_score
    >>> x = np.array([[-3.0], [-3.1], [3.0], [3.1]])
    >>> X = Modalities({"audio": x, "video": x[::-1]})
    >>> round(modality_silhouette_score(X, [0, 0, 1, 1]), 2)
    0.98
    """
    if scaling is not None and (
        not isinstance(scaling, str) or scaling not in SCALINGS
    ):
        raise ValueError(f"scaling {scaling!r} is none of {SCALINGS} and not None")
    if sample_size is not None and (not is_integer(sample_size) or sample_size < 1):
        raise ValueError(
            f"sample_size is {sample_size!r}; give a number of samples, at least 1, or "
            "None for all"
        )
    if not isinstance(average, bool | np.bool_):
        raise TypeError(f"average is {average!r}; give True or False")
    frame = as_modalities(X)
    check_row_labels(frame._index, labels, "labels")
    labels = validate_labels(labels, "labels")
    warn_of_measured_values(labels=labels)
    check_consistent_length(frame, labels)
    if sample_size is not None and sample_size < len(frame):
        rng = check_random_state(random_state)
        drawn = np.sort(rng.choice(len(frame), sample_size, replace=False))
        frame, labels = frame[drawn], labels[drawn]
    scores = []
    for name, block, present in zip(
        frame.names, frame.blocks, frame.observed.T, strict=True
    ):
        own = labels[present]
        if len(own) < 2:
            scores.append(np.nan)
            continue
        if not 2 <= len(np.unique(own)) < len(own):
            scores.append(-1.0)
            continue
        with errors_name(name):
            scores.append(
                _silhouette(as_table(block, name)[present], own, scaling, name)
            )
    if not average:
        return np.array(scores)
    return -1.0 if np.isnan(scores).all() else float(np.nanmean(scores))


def _silhouette(
    table: Any, labels: np.ndarray, scaling: str | None, name: str
) -> float:
    table = check_array(
        table, accept_sparse="csr", dtype=FLOATS, input_name=f"modality {name!r}"
    )
    fitted = fit_scalings([table], [scaling])[0]
    if fitted.name is None:
        fitted = without_offset_and_unit(table)
    return float(silhouette_score(fitted.apply(table), labels))
