"""Silhouette of a clustering in each modality, which needs no classes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.metrics import silhouette_score
from sklearn.utils import check_array, check_consistent_length, check_random_state

from mmfusion._blocks import Block, as_table, is_sequences, take_rows
from mmfusion._frame_scaling import fit_frame_scaling, scale_frames
from mmfusion._numbers import holds_nan, is_integer
from mmfusion._options import errors_name
from mmfusion._row_labels import check_row_labels
from mmfusion._scaling import SCALINGS, without_offset_and_unit
from mmfusion._scaling_choice import fit_scalings
from mmfusion._sequences import float_sequences, resample
from mmfusion._typing import ModalitiesLike, RandomStateLike
from mmfusion._validation import FLOATS, as_modalities
from mmfusion.metrics._labels import validate_labels, warn_of_measured_values


def modality_silhouette_score(
    X: ModalitiesLike,
    labels: ArrayLike,
    *,
    scaling: str | None = "auto",
    average: bool = True,
    sample_size: int | None = 2000,
    random_state: RandomStateLike = 0,
) -> Any:
    """Compute the silhouette of a clustering in every modality.

    The silhouette of sample i is ``(b_i - a_i) / max(a_i, b_i)``, with its mean
    distance ``a_i`` to the other samples of its cluster and the smallest mean distance
    ``b_i`` to the samples of another cluster; that of a modality is the mean over
    samples, in the features of this modality alone.

    It needs no classes, and, since each modality is scored separately, its values are
    comparable between weights, scalings and fusion strategies, unlike the inertia or
    likelihood of fused data.

    Parameters
    ----------
    X : Modalities, list or dict of array-like, or array-like of one modality
        The data. Sequences are compared frame by frame, once they are resampled
        linearly in time to the median of their lengths.
    labels : array-like of shape (n_samples,)
        Cluster of each sample, of any type.
    scaling : {'auto', 'block', 'standard', 'l2'} or None, default='auto'
        Scaling of each modality before distances are computed, as in `EarlyFusion`.
    average : bool, default=True
        Whether to return the mean over modalities, or the score of each modality.
    sample_size : int or None, default=2000
        Number of samples drawn to limit the cost, which is quadratic in it. None uses
        all samples.
    random_state : int, RandomState instance or None, default=0
        Seed of the draw, fixed by default so that the score is deterministic.

    Returns
    -------
    float or ndarray of shape (n_modalities,)
        Silhouette between -1 and 1 (best). It is -1 for modalities in which the drawn
        samples have a single cluster, or a cluster each. It is NaN for modalities
        observed in fewer than two drawn samples, which the mean ignores.

    Raises
    ------
    ValueError
        If the lengths differ, a label is missing (NaN), or an option is invalid.
    TypeError
        If `average` is neither True nor False.

    See Also
    --------
    sklearn.metrics.silhouette_score : Silhouette in one modality, without scaling.

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
        raise ValueError(f"scaling {scaling!r} is neither one of {SCALINGS} nor None")
    if sample_size is not None and (not is_integer(sample_size) or sample_size < 1):
        raise ValueError(
            f"sample_size is {sample_size!r}; give a number of samples, at least 1, or "
            "None for all"
        )
    if not isinstance(average, bool | np.bool_):
        raise TypeError(f"average is {average!r}; give True or False")
    frame = as_modalities(X)
    check_row_labels(frame._index, labels, "labels")
    clusters = validate_labels(labels, "labels")
    warn_of_measured_values(labels=clusters)
    check_consistent_length(frame, clusters)
    if sample_size is not None and sample_size < len(frame):
        rng = check_random_state(random_state)
        drawn = np.sort(rng.choice(len(frame), sample_size, replace=False))
        frame, clusters = frame[drawn], clusters[drawn]
    scores = []
    for name, block, observed in zip(
        frame.names, frame.blocks, frame.observed.T, strict=True
    ):
        own = clusters[observed]
        if len(own) < 2:
            scores.append(np.nan)
            continue
        # the silhouette is not defined; such a clustering is as bad as possible
        if not 2 <= len(np.unique(own)) < len(own):
            scores.append(-1.0)
            continue
        with errors_name(name):
            rows = take_rows(block, np.flatnonzero(observed))
            table = comparable_table(rows, scaling, name)
            scores.append(float(silhouette_score(table, own)))
    if not average:
        return np.array(scores)
    return -1.0 if np.isnan(scores).all() else float(np.nanmean(scores))


def comparable_table(rows: Block, scaling: str | None, name: str) -> Block:
    """Return a modality as a scaled table, whose rows have meaningful distances.

    Parameters
    ----------
    rows : block
        Samples that have the modality.
    scaling : {'auto', 'block', 'standard', 'l2'} or None
        Scaling of the modality.
    name : str
        Name of the modality, for errors.

    Returns
    -------
    ndarray or CSR matrix of shape (n_samples, n_values)
        The table. Sequences are resampled to the median of their lengths.
    """
    # of three dimensions: only padding distinguishes sequences from images
    is_padded = getattr(rows, "ndim", 2) == 3 and holds_nan(rows)
    if is_sequences(rows) or is_padded:
        rows = _sequence_table(float_sequences(rows, name), scaling)
        scaling = None
    table = check_array(
        as_table(rows, name),
        accept_sparse="csr",
        dtype=FLOATS,
        input_name=f"modality {name!r}",
    )
    fitted = fit_scalings([table], [scaling])[0]
    if fitted.name is None:  # squared distances of huge values would overflow
        fitted = without_offset_and_unit(table)
    return fitted.apply(table)


def _sequence_table(block: np.ndarray, scaling: str | None) -> np.ndarray:
    """Resample scaled sequences to their median length, a row for each sample."""
    scaling = "standard" if scaling == "auto" else scaling
    scaled = scale_frames(fit_frame_scaling(block, scaling), block)
    n_frames = max(2, round(float(np.median([len(sequence) for sequence in block]))))
    # a feature that a sequence lacks in all frames is at its mean, 0 once scaled
    return np.nan_to_num([resample(frames, n_frames).ravel() for frames in scaled])
