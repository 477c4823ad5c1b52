"""Scores of sequences of labels: frames, segments and the order of segments."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from numbers import Real
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import sparse
from sklearn.metrics import f1_score

from mmfusion._options import errors_about


class Segment(NamedTuple):
    """Run of frames with the same label.

    Parameters
    ----------
    label : object
        The label.
    start, stop : int
        First frame, and the one after the last.
    """

    label: Any
    start: int
    stop: int


def sequence_accuracy(
    y_true: ArrayLike, y_pred: ArrayLike, *, sample_weight: ArrayLike | None = None
) -> float:
    """Compute the share of the frames of all samples whose label is right.

    Parameters
    ----------
    y_true : array-like of object of shape (n_samples,)
        Known labels: for each sample an array of shape (n_frames,).
    y_pred : array-like of object of shape (n_samples,)
        Predicted labels, in the same form.
    sample_weight : array-like of shape (n_samples,), default=None
        Weights of the frames of each sample.

    Returns
    -------
    float
        The share.

    Raises
    ------
    ValueError
        If the numbers of samples or of frames differ, or all weights are 0.

    See Also
    --------
    segment_f1 : Does not reward many short segments.

    Examples
    --------
    >>> from mmfusion.metrics import sequence_accuracy
    >>> sequence_accuracy([[0, 0, 1], [1]], [[0, 1, 1], [1]])
    0.75
    """
    pairs = list(_label_pairs(y_true, y_pred))
    weight = _checked_weight(sample_weight, len(pairs))
    total = float(sum(w * len(own) for w, (own, _) in zip(weight, pairs, strict=True)))
    if total <= 0:
        raise ValueError("sample_weight is 0 for every sample; weigh one of them")
    right = [w * np.sum(a == b) for w, (a, b) in zip(weight, pairs, strict=True)]
    return float(sum(right)) / total


def sequence_f1(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    *,
    average: str = "macro",
    sample_weight: ArrayLike | None = None,
) -> float:
    """Compute the F1 score of the frames of all samples.

    Parameters
    ----------
    y_true : array-like of object of shape (n_samples,)
        Known labels: for each sample an array of shape (n_frames,).
    y_pred : array-like of object of shape (n_samples,)
        Predicted labels, in the same form.
    average : {'macro', 'micro', 'weighted'}, default='macro'
        Mean over the labels, as in :func:`sklearn.metrics.f1_score`.
    sample_weight : array-like of shape (n_samples,), default=None
        Weights of the frames of each sample.

    Returns
    -------
    float
        The score; 1 is best.

    Raises
    ------
    ValueError
        If the numbers of samples or of frames differ, or `average` is unknown.

    Examples
    --------
    >>> from mmfusion.metrics import sequence_f1
    >>> sequence_f1([[0, 0, 1], [1]], [[0, 0, 1], [1]])
    1.0
    """
    if not isinstance(average, str) or average not in ("macro", "micro", "weighted"):
        raise ValueError(f"average is {average!r}; give 'macro', 'micro' or 'weighted'")
    pairs = list(_label_pairs(y_true, y_pred))
    weight = _checked_weight(sample_weight, len(pairs))
    with errors_about("y_true"):
        score = f1_score(
            np.concatenate([own for own, _ in pairs]),
            np.concatenate([found for _, found in pairs]),
            average=average,
            sample_weight=np.repeat(weight, [len(own) for own, _ in pairs]),
            zero_division=0.0,
        )
    return float(score)


def segment_f1(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    *,
    threshold: float = 0.5,
    background: Any = None,
) -> float:
    """Compute the F1 score of segments, runs of frames with the same label.

    A predicted segment is right if the intersection over union with a known one of its
    label is at least `threshold`, and no earlier segment was right by the same.
    Borders may so be a little off, but a segment in several parts counts as errors.

    Parameters
    ----------
    y_true : array-like of object of shape (n_samples,)
        Known labels: for each sample an array of shape (n_frames,).
    y_pred : array-like of object of shape (n_samples,)
        Predicted labels, in the same form.
    threshold : float, default=0.5
        Least intersection over union, above 0 and at most 1.
    background : object, default=None
        Label whose segments are left out.

    Returns
    -------
    float
        The score over the segments of all samples; 1 is best, and the value where
        there are none.

    Raises
    ------
    ValueError
        If the numbers of samples or of frames differ, or `threshold` is out of range.

    See Also
    --------
    edit_score : Compares the order of the segments alone.

    References
    ----------
    Lea, C., Flynn, M. D., Vidal, R., Reiter, A. and Hager, G. D. (2017). Temporal
    convolutional networks for action segmentation and detection. CVPR, 156-165.

    Examples
    --------
    >>> from mmfusion.metrics import segment_f1
    >>> segment_f1([["walk"] * 6 + ["run"] * 4], [["walk"] * 7 + ["run"] * 3])
    1.0
    >>> segment_f1([["walk"] * 6 + ["run"] * 4], [["walk"] * 9 + ["run"] * 1])
    0.5
    """
    if not (isinstance(threshold, Real) and 0 < float(threshold) <= 1):
        raise ValueError(
            f"threshold is {threshold!r}; give a number above 0 and at most 1"
        )
    n_right = n_segments = 0
    for own, found in _label_pairs(y_true, y_pred):
        known = _segments(own, background)
        predicted = _segments(found, background)
        n_segments += len(known) + len(predicted)
        n_right += _count_matches(known, predicted, float(threshold))
    return 2 * n_right / n_segments if n_segments else 1.0


def edit_score(
    y_true: ArrayLike, y_pred: ArrayLike, *, background: Any = None
) -> float:
    """Compare the order of segments by their edit distance.

    The score of a sample is 1 minus the least number of segments to insert, delete or
    replace, divided by the number of segments of the longer side; the lengths of
    segments have no influence.

    Parameters
    ----------
    y_true : array-like of object of shape (n_samples,)
        Known labels: for each sample an array of shape (n_frames,).
    y_pred : array-like of object of shape (n_samples,)
        Predicted labels, in the same form.
    background : object, default=None
        Label whose segments are left out.

    Returns
    -------
    float
        Mean score of the samples; 1 is best.

    Raises
    ------
    ValueError
        If the numbers of samples or of frames differ.

    See Also
    --------
    segment_f1 : Compares where segments are, too.

    References
    ----------
    Lea, C., Reiter, A., Vidal, R. and Hager, G. D. (2016). Segmental spatiotemporal
    CNNs for fine-grained action segmentation. ECCV, 36-52.

    Examples
    --------
    >>> from mmfusion.metrics import edit_score
    >>> edit_score([[0, 0, 1, 1, 2]], [[0, 1, 1, 1, 2]])
    1.0
    >>> edit_score([[0, 0, 1, 1]], [[0, 1, 0, 1]])
    0.5
    """
    scores = []
    for own, found in _label_pairs(y_true, y_pred):
        known = [segment.label for segment in _segments(own, background)]
        predicted = [segment.label for segment in _segments(found, background)]
        longer = max(len(known), len(predicted))
        distance = edit_distance(known, predicted)
        scores.append(1 - distance / longer if longer else 1.0)
    return float(np.mean(scores))


def _label_pairs(
    y_true: ArrayLike, y_pred: ArrayLike
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the known and predicted labels of each sample."""
    sides = []
    for name, y in (("y_true", y_true), ("y_pred", y_pred)):
        if not isinstance(y, list | tuple) and not hasattr(y, "__array__"):
            raise ValueError(
                f"{name} is {y!r}; give an array of labels for each sample"
            )
        try:
            sides.append(list(y))  # type: ignore[arg-type]
        except TypeError as error:
            raise ValueError(
                f"{name} is {y!r}; give an array of labels for each sample"
            ) from error
    n_samples = [len(side) for side in sides]
    if n_samples[0] != n_samples[1] or n_samples[0] == 0:
        raise ValueError(
            f"y_true has {n_samples[0]} samples, and y_pred has {n_samples[1]}; give "
            "the labels of the same samples, at least one"
        )
    for i, (one, other) in enumerate(zip(*sides, strict=True)):
        own = _labels(one, f"y_true of sample {i}")
        found = _labels(other, f"y_pred of sample {i}")
        if len(own) != len(found):
            raise ValueError(
                f"sample {i} has {len(own)} labels in y_true and {len(found)} in "
                "y_pred; predict the frames that y_true labels"
            )
        yield own, found


def _labels(labels: Any, what: str) -> np.ndarray:
    if sparse.issparse(labels):
        raise ValueError(f"{what} is a sparse matrix; give an array of labels")
    with errors_about(what):
        found = np.atleast_1d(np.asarray(labels))
    if found.ndim != 1 or any(label is None for label in found.tolist()):
        raise ValueError(
            f"{what} is {labels!r}; labels of frames are an array of shape (n_frames,) "
            "without None"
        )
    return found


def _checked_weight(sample_weight: ArrayLike | None, n_samples: int) -> np.ndarray:
    if sample_weight is None:
        return np.ones(n_samples)
    with errors_about("sample_weight"):
        weight = np.asarray(sample_weight, dtype=np.float64)
    if weight.shape != (n_samples,) or not np.isfinite(weight).all():
        raise ValueError(
            f"sample_weight is {sample_weight!r}; give one finite weight for each of "
            f"{n_samples} samples"
        )
    if (weight < 0).any():
        raise ValueError("sample_weight has negative weights; give at least 0")
    return weight


def _segments(labels: np.ndarray, background: Any) -> list[Segment]:
    """Cut labels into runs, without those of the background."""
    if background is not None and not np.isscalar(background):
        raise ValueError(f"background is {background!r}; give a label, or None")
    if not len(labels):
        return []
    changes = np.flatnonzero(labels[1:] != labels[:-1]) + 1
    borders = [0, *changes.tolist(), len(labels)]
    runs = [
        Segment(labels[start].item(), start, stop) for start, stop in pairwise(borders)
    ]
    return [run for run in runs if background is None or run.label != background]


def _count_matches(
    known: list[Segment], predicted: list[Segment], threshold: float
) -> int:
    """Count predicted segments that overlap with a known one of their own."""
    free = [True] * len(known)
    n_right = 0
    for label, start, stop in predicted:
        best, overlap = -1, 0.0
        for k, other in enumerate(known):
            both = min(stop, other.stop) - max(start, other.start)
            if not free[k] or other.label != label or both <= 0:
                continue
            share = both / (max(stop, other.stop) - min(start, other.start))
            if share > overlap:
                best, overlap = k, share
        if overlap >= threshold:
            free[best] = False
            n_right += 1
    return n_right


def edit_distance(one: list[Any], other: list[Any]) -> int:
    """Compute the Levenshtein distance of two lists.

    Parameters
    ----------
    one, other : list
        The lists.

    Returns
    -------
    int
        Least number of elements to insert, delete or replace.
    """
    row = list(range(len(other) + 1))
    for i, label in enumerate(one, start=1):
        before, row[0] = row[0], i
        for j, predicted in enumerate(other, start=1):
            replaced = before + (label != predicted)
            before = row[j]
            row[j] = min(replaced, row[j] + 1, row[j - 1] + 1)
    return row[-1]
