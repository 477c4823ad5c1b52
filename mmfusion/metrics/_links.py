"""Score of the links of tokens against known links."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.sparse import issparse

from mmfusion._blocks import as_plain
from mmfusion._options import errors_about


def alignment_error_rate(y_true: ArrayLike, y_pred: ArrayLike) -> float:
    """Compute the alignment error rate of links, between 0 and 1.

    With the links A of all samples, the sure ones S of those known and P, the sure and
    the possible ones, it is ``1 - (|A & S| + |A & P|) / (|A| + |S|)``. Without possible
    links it is 1 minus the F1 score.

    Parameters
    ----------
    y_true : array-like of object of shape (n_samples,)
        Known links: for each sample, an array of int of shape (n_links, 2), source and
        target position of each, or of shape (n_links, 3), whose third column is 1 for
        sure links and 0 for possible ones.
    y_pred : array-like of object of shape (n_samples,)
        Links, as arrays of shape (n_links, 2).

    Returns
    -------
    float
        The rate; 0 is best, and the value where there is no link at all.

    Raises
    ------
    TypeError
        If the links are no list of arrays.
    ValueError
        If the numbers of samples differ, or links have another shape, or are not
        integers.

    See Also
    --------
    mmfusion.alignment.WordAligner : Finds links.

    References
    ----------
    Och, F. J., & Ney, H. (2003). A systematic comparison of various statistical
    alignment models. Computational Linguistics 29(1), 19-51.

    Examples
    --------
    >>> from mmfusion.metrics import alignment_error_rate
    >>> sure_and_possible = [[[0, 0, 1], [1, 1, 1], [1, 2, 0]]]
    >>> alignment_error_rate(sure_and_possible, [[[0, 0], [1, 2]]])
    0.25
    """
    truth, predicted = _by_sample(y_true, "y_true"), _by_sample(y_pred, "y_pred")
    if len(truth) != len(predicted):
        raise ValueError(
            f"y_true has {len(truth)} samples, and y_pred has {len(predicted)}; give "
            "the links of the same samples"
        )
    n_found = n_sure = n_correct = 0
    for i, (known, found) in enumerate(zip(truth, predicted, strict=True)):
        known = as_links(known, f"y_true of sample {i}", (2, 3))
        is_sure = np.ones(len(known), dtype=bool)
        if known.shape[1] == 3:
            is_sure = known[:, 2] != 0
        sure = set(map(tuple, known[is_sure, :2].tolist()))
        possible = set(map(tuple, known[:, :2].tolist()))
        links = set(map(tuple, as_links(found, f"y_pred of sample {i}", (2,)).tolist()))
        n_found += len(links)
        n_sure += len(sure)
        n_correct += len(links & sure) + len(links & possible)
    if n_found + n_sure == 0:
        return 0.0
    return 1 - n_correct / (n_found + n_sure)


def _by_sample(y: Any, name: str) -> list[Any]:
    if isinstance(y, str | Mapping) or not isinstance(y, Iterable) or issparse(y):
        raise TypeError(
            f"{name} is of type {type(y).__name__}; give a list with an array of links "
            "for each sample"
        )
    if isinstance(y, np.ndarray) and y.ndim == 0:
        raise ValueError(f"{name} has no samples; give an array of links for each")
    return list(y)


def as_links(links: Any, what: str, widths: Sequence[int]) -> np.ndarray:
    """Return links as an array of integers, with one of these numbers of columns.

    Parameters
    ----------
    links : array-like
        The links.
    what : str
        Their name in errors.
    widths : sequence of int
        Numbers of columns that are allowed.

    Returns
    -------
    ndarray of int of shape (n_links, width)
        The links; of shape (0, 2) if there are none.

    Raises
    ------
    TypeError
        If they cannot be read as an array.
    ValueError
        If they are no integers, or of another shape.
    """
    with errors_about(what):
        array = np.asarray(as_plain(links, what))
    if array.size == 0:
        return np.empty((0, 2), dtype=np.int64)
    if array.ndim != 2 or array.shape[1] not in widths or array.dtype.kind not in "iu":
        shapes = " or ".join(f"(n_links, {width})" for width in widths)
        raise ValueError(
            f"{what} is of {array.dtype} and shape {array.shape}; links are integers "
            f"of shape {shapes}"
        )
    return array
