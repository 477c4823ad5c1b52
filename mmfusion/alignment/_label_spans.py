"""Where the labels of a sequence are, in its frames."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import NamedTuple

import numpy as np

from mmfusion.graphical._steps import StepPath


class LabelSpans(NamedTuple):
    """Frames of the labels of one sample, by the likeliest path.

    Parameters
    ----------
    labels : ndarray of object of shape (n_labels,)
        The labels.
    spans : ndarray of int64 of shape (n_labels, 2)
        First frame of each label, and the one after its last.
    moments : ndarray of int64 of shape (n_labels,)
        Frame of each span with the largest posterior, or the largest emission weight
        where there are no posteriors.
    posteriors : ndarray of shape (n_labels,)
        Mean over the span of the posterior probability of the path's state, given all
        frames and labels. It is low where the label may as well be elsewhere. NaN
        without posteriors.
    score : float
        Log probability of the path.
    log_likelihood : float
        Logarithm of the sum over all paths; NaN without posteriors.
    n_frames : int
        Number of frames of the sample, also of those that no span holds.

    See Also
    --------
    CTCAligner : Finds the spans by the output of a network.
    ForcedAligner : Finds the spans by features alone.

    Examples
    --------
    >>> import numpy as np
    >>> from mmfusion.alignment import CTCAligner
    >>> X = {"network": [np.log([[0.1, 0.9], [0.8, 0.2], [0.3, 0.7]])], "ids": [[1, 1]]}
    >>> CTCAligner().fit(X).align(X)[0].spans
    array([[0, 1],
           [2, 3]])
    """

    labels: np.ndarray
    spans: np.ndarray
    moments: np.ndarray
    posteriors: np.ndarray
    score: float
    log_likelihood: float
    n_frames: int


def spans_of_path(
    labels: Sequence[Hashable],
    path: StepPath,
    first: np.ndarray,
    last: np.ndarray,
    evidence: np.ndarray,
) -> LabelSpans:
    """Return the spans of labels, of which each has some states of a path.

    Parameters
    ----------
    labels : sequence of hashable
        The labels.
    path : StepPath
        The path.
    first, last : ndarray of int of shape (n_labels,)
        First and last state of each label.
    evidence : ndarray of shape (n_frames,)
        Value of each frame that is largest at the moment of a label.

    Returns
    -------
    LabelSpans
        The spans.
    """
    begin = np.searchsorted(path.states, first, side="left")
    end = np.searchsorted(path.states, last, side="right")
    sums = np.concatenate([[0.0], np.cumsum(path.posteriors)])
    lengths = end - begin
    starts = np.cumsum(lengths) - lengths
    frames = np.repeat(begin - starts, lengths) + np.arange(lengths.sum())
    values, owner = evidence[frames], np.repeat(np.arange(len(labels)), lengths)
    at = np.flatnonzero(values == np.maximum.reduceat(values, starts)[owner])
    moments = frames[at[np.flatnonzero(np.diff(owner[at], prepend=-1))]]
    return LabelSpans(
        np.fromiter(labels, object, len(labels)),
        np.column_stack([begin, end]),
        moments.astype(np.int64),
        np.clip((sums[end] - sums[begin]) / lengths, 0, 1),
        path.score,
        path.log_likelihood,
        len(path.states),
    )
