"""Base of labelers: labels by frame, their forms and their score."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.sparse import issparse
from sklearn.utils import Tags

from mmfusion import _blocks
from mmfusion._numbers import refuse_complex
from mmfusion._options import errors_about
from mmfusion._row_labels import check_row_labels
from mmfusion._target_checks import (
    refuse_other_samples,
    validate_sample_weight,
)
from mmfusion._typing import ModalitiesLike
from mmfusion._validation import (
    Layout,
    as_modalities,
    refuse_empty_samples,
    row_labels,
)
from mmfusion.fusion._token_features import with_tokens
from mmfusion.graphical._clock import Frames
from mmfusion.modalities import Modalities


class LabelledSamples(NamedTuple):
    """Checked samples of `fit` that have a positive weight.

    Parameters
    ----------
    frame : Modalities
        The samples.
    frames : Frames
        Their frames, on their clocks.
    labels : list of ndarray of shape (n_frames,)
        A label for each frame.
    weight : ndarray of shape (n_samples,)
        Weights of the samples.
    rows : ndarray of int of shape (n_samples,)
        Their positions among all samples.
    """

    frame: Modalities
    frames: Frames
    labels: list[np.ndarray]
    weight: np.ndarray
    rows: np.ndarray


class SequenceLabelerMixin:
    """Mixin of estimators that label every frame of a sequence.

    y holds one array of labels for each sample. scikit-learn's classifiers have one
    label for each sample, and its accuracy refuses such y: labelers are none of them,
    and score themselves.
    """

    _layout: Layout
    _frames: Callable[[Modalities], Frames]
    classes_: np.ndarray

    def score(
        self, X: ModalitiesLike, y: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> float:
        """Compute the share of the frames of all samples that are labelled as in y.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The data.
        y : array-like of object of shape (n_samples,)
            The labels of each sample, an array of shape (n_frames,).
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the frames of each sample.

        Returns
        -------
        float
            The share.
        """
        frame = as_modalities(with_tokens(X))
        labels = row_labels(X)
        check_row_labels(labels, y, "y")
        check_row_labels(labels, sample_weight, "sample_weight")
        truth = frame_labels(y, frame, type(self).__name__)
        found = self.predict(X)  # type: ignore[attr-defined]
        weight = np.ones(len(truth))
        if sample_weight is not None:
            with errors_about("sample_weight"):
                plain = _blocks.as_plain(sample_weight, "sample_weight")
                weight = np.asarray(plain, float)
            if weight.shape != (len(truth),):
                raise ValueError(
                    f"sample_weight has shape {weight.shape}; give one weight for each "
                    f"of {len(truth)} samples"
                )
        if found.dtype != object or np.ndim(found[0]) == 0:
            found = found[:, None]
        correct = np.zeros(len(truth))
        for i, (own, predicted) in enumerate(zip(truth, found, strict=True)):
            check_n_labels(len(own), len(predicted), i, frame.names)
            correct[i] = np.count_nonzero(own == predicted)
        n_frames = np.array([len(own) for own in truth])
        total = float(weight @ n_frames)
        if total <= 0:
            raise ValueError("sample_weight is 0 for every sample; weigh one of them")
        return float(weight @ correct) / total

    def _labelled_samples(
        self, frame: Modalities, y: ArrayLike, sample_weight: ArrayLike | None
    ) -> LabelledSamples:
        """Check labels and weights; keep the samples that count, on their clocks."""
        if frame._index is not None:
            check_row_labels(frame._index, y, "y")
        labels = frame_labels(y, frame, type(self).__name__)
        weight = validate_sample_weight(sample_weight, frame).astype(np.float64)
        rows = np.flatnonzero(weight > 0)
        frame, own = frame[rows], [labels[i] for i in rows]
        frames = self._labelled_frames(frame)
        for i, n_steps, given in zip(rows, np.diff(frames.offsets), own, strict=True):
            check_n_labels(len(given), int(n_steps), int(i), frame.names)
        return LabelledSamples(frame, frames, own, weight[rows], rows)

    def _labelled_frames(self, frame: Modalities) -> Frames:
        """Place samples on their clocks; each must have one."""
        if self._layout.sequences:
            refuse_empty_samples(frame)
        return self._frames(frame)

    def _in_form_of_y(self, labels: list[np.ndarray]) -> np.ndarray:
        """Return labels of samples as `predict` does: one each for rows of tables."""
        if not self._layout.sequences:
            return np.concatenate(labels)
        return as_ragged(labels)

    def __sklearn_tags__(self) -> Tags:
        tags: Tags = super().__sklearn_tags__()  # type: ignore[misc]
        tags.estimator_type = None
        tags.target_tags.required = True
        return tags


def as_ragged(arrays: Sequence[np.ndarray | None]) -> np.ndarray:
    """Return arrays in an object array of one dimension, equal lengths or not.

    Parameters
    ----------
    arrays : sequence of ndarray or None
        One for each sample.

    Returns
    -------
    ndarray of object of shape (n_samples,)
        The arrays.
    """
    ragged = np.full(len(arrays), None, dtype=object)
    for i, array in enumerate(arrays):
        ragged[i] = array
    return ragged


def frame_labels(y: Any, frame: Modalities, estimator: str) -> list[np.ndarray]:
    """Read labels by frame, in any form.

    Parameters
    ----------
    y : array-like
        An array of labels of shape (n_frames,) for each sample, as a list or an object
        array; or an array of shape (n_samples, n_frames); or one label for each sample,
        whose sequence has one frame.
    frame : Modalities
        The samples.
    estimator : str
        Name of the estimator, for errors.

    Returns
    -------
    list of ndarray of shape (n_frames,)
        The labels of each sample.

    Raises
    ------
    TypeError
        If labels are no numbers and no text.
    ValueError
        If y is None, has another number of samples, labels that are NaN or None, or an
        element of another form.
    """
    if y is None:
        raise ValueError(
            f"{estimator} requires y to be passed, but the target y is None"
        )
    with errors_about("y"):
        elements = _blocks.as_plain(y, "y")
        if hasattr(elements, "__array__"):
            elements = np.asarray(elements)
    shape = getattr(elements, "shape", None)
    has_samples = hasattr(elements, "__len__") and shape != ()
    is_other = isinstance(elements, str | bytes) or issparse(elements)
    if is_other or not has_samples:
        raise ValueError(f"y is {y!r}; give an array of labels for each sample")
    refuse_other_samples(frame, len(elements))
    if isinstance(elements, np.ndarray) and elements.dtype != object:
        table = _checked_labels(elements, "y")
        if table.ndim > 2:
            raise ValueError(
                f"y has shape {table.shape}; labels of frames have shape (n_samples, "
                "n_frames), or are one array for each sample"
            )
        return list(table.reshape(len(table), -1))
    return [
        _labels_of_sample(element, f"y of sample {i}")
        for i, element in enumerate(elements)
    ]


def _labels_of_sample(element: Any, what: str) -> np.ndarray:
    if type(element) is np.ndarray and element.ndim == 1 and element.dtype.kind in "iu":
        return element  # integers need no check, which takes long for many samples
    if element is None:
        raise ValueError(
            f"{what} is None; leave out samples without labels, or label their frames"
        )
    with errors_about(what):
        labels = np.atleast_1d(np.asarray(_blocks.as_plain(element, what)))
    if labels.ndim != 1:
        raise ValueError(
            f"{what} has shape {labels.shape}; labels of frames have shape (n_frames,)"
        )
    return _checked_labels(labels, what)


def _checked_labels(labels: np.ndarray, what: str) -> np.ndarray:
    """Check that labels are numbers or text, without NaN."""
    refuse_complex(labels, what)
    if labels.dtype == object:
        kinds = {isinstance(label, str) for label in labels.ravel().tolist()}
        if len(kinds) > 1:
            raise ValueError(f"{what} mixes text and other labels, or holds None")
        with errors_about(what):
            labels = labels.astype(str if kinds == {True} else float)
    if labels.dtype.kind not in "biufUS":
        raise TypeError(f"{what} is of {labels.dtype}; labels are numbers or text")
    if labels.dtype.kind == "f" and not np.isfinite(labels).all():
        raise ValueError(
            f"{what} holds NaN or infinity; give every frame a label, or a class of "
            "its own to frames without"
        )
    return labels


def check_n_labels(n_labels: int, n_frames: int, i: int, names: Sequence[str]) -> None:
    """Raise an error unless a sample has a label for every frame of its clock.

    Parameters
    ----------
    n_labels : int
        Number of its labels.
    n_frames : int
        Number of its frames.
    i : int
        Its position.
    names : sequence of str
        Names of the modalities, one of which has the frames.

    Raises
    ------
    ValueError
        If the numbers differ.
    """
    if n_labels != n_frames:
        raise ValueError(
            f"y of sample {i} has {n_labels} labels, and X has {n_frames} frames on "
            "its clock; label the frames of the modality with most of them, or name "
            f"another of {list(names)} by clock="
        )


def encode_labels(labels: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Return the classes, and the code of every frame's label.

    Parameters
    ----------
    labels : sequence of ndarray of shape (n_frames,)
        Labels of each sample.

    Returns
    -------
    classes : ndarray of shape (n_classes,)
        Sorted labels.
    codes : ndarray of int of shape (n_frames_in_all,)
        Position of each label among them.

    Raises
    ------
    ValueError
        If some samples have text and others numbers.
    """
    kinds = {own.dtype.kind in "US" for own in labels}
    if len(kinds) > 1:
        raise ValueError("y has text in some samples and numbers in others; use one")
    classes, codes = np.unique(np.concatenate(labels), return_inverse=True)
    return classes, codes
