"""Label sequences from log-probabilities of frames over labels and a blank."""

from __future__ import annotations

import math
from collections import defaultdict

import numpy as np

NEVER = -np.inf
Prefix = tuple[int, ...]


def greedy_labels(table: np.ndarray, blank: int = 0) -> list[int]:
    """Return the labels of the likeliest column of each frame.

    Parameters
    ----------
    table : ndarray of shape (n_frames, n_columns)
        Log-probabilities.
    blank : int, default=0
        Column of the blank.

    Returns
    -------
    list of int
        Columns of the labels, without repetitions and blanks.

    Examples
    --------
    >>> import numpy as np
    >>> from mmfusion.graphical._ctc_decoding import greedy_labels
    >>> greedy_labels(np.log([[0.2, 0.8], [0.3, 0.7], [0.9, 0.1], [0.4, 0.6]]))
    [1, 1]
    """
    best = table.argmax(axis=1)
    changed = np.diff(best, prepend=-1) != 0
    return [int(k) for k in best[changed & (best != blank)]]


def beam_labels(
    table: np.ndarray, beam_width: int, blank: int = 0
) -> tuple[list[int], float]:
    """Return the likeliest label sequence by the sum over its paths.

    Prefix search: of each prefix, the sums over paths that end in the blank and in its
    last label are kept apart, since only a blank lets a label follow itself.

    Parameters
    ----------
    table : ndarray of shape (n_frames, n_columns)
        Log-probabilities.
    beam_width : int
        Number of prefixes that are continued after each frame. With all prefixes, the
        result is exact.
    blank : int, default=0
        Column of the blank.

    Returns
    -------
    labels : list of int
        Columns of the labels.
    log_probability : float
        Logarithm of the sum over the paths of the sequence that the beam kept, at most
        that over all of them.

    References
    ----------
    Graves, A. (2012). Supervised sequence labelling with recurrent neural networks,
    section 7.5. Springer.

    Examples
    --------
    Two frames, in which the blank is the likeliest column, but not the likeliest
    sequence:

    >>> import numpy as np
    >>> from mmfusion.graphical._ctc_decoding import beam_labels
    >>> labels, log_probability = beam_labels(np.log([[0.6, 0.4], [0.6, 0.4]]), 4)
    >>> labels, round(float(np.exp(log_probability)), 2)
    ([1], 0.64)
    """
    beam: dict[Prefix, tuple[float, float]] = {(): (0.0, NEVER)}
    columns = [k for k in range(table.shape[1]) if k != blank]
    for row in table.tolist():
        blanks: dict[Prefix, float] = defaultdict(lambda: NEVER)
        labels: dict[Prefix, float] = defaultdict(lambda: NEVER)
        for prefix, (in_blank, in_label) in beam.items():
            either = _log_sum(in_blank, in_label)
            blanks[prefix] = _log_sum(blanks[prefix], either + row[blank])
            last = prefix[-1] if prefix else -1
            for k in columns:
                if k == last:
                    labels[prefix] = _log_sum(labels[prefix], in_label + row[k])
                longer = (*prefix, k)
                before = in_blank if k == last else either
                labels[longer] = _log_sum(labels[longer], before + row[k])
        sums = {
            p: _log_sum(blanks[p], labels[p]) for p in blanks.keys() | labels.keys()
        }
        # prefixes themselves break ties, so that the order of a set does not
        kept = sorted(sums, key=lambda p: (-sums[p], p))[:beam_width]
        beam = {p: (blanks[p], labels[p]) for p in kept}
    best = next(iter(beam))
    return list(best), _log_sum(*beam[best])


def _log_sum(one: float, other: float) -> float:
    """Return the logarithm of the sum of two exponentials."""
    if one < other:
        one, other = other, one
    return one if other == NEVER else one + math.log1p(math.exp(other - one))
