"""Error of an alignment in time against known matches."""

from __future__ import annotations

from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from mmfusion._blocks import as_plain
from mmfusion._options import errors_about


def alignment_error(path: ArrayLike, matches: ArrayLike) -> float:
    """Compute the mean absolute deviation of a path from known matches, in frames.

    Each frame of the first sequence is aligned with the mean of the frames that the
    path aligns with it, and times between two frames with what lies between. The error
    is the mean of ``|aligned(t) - u|`` over the matches (t, u).

    Parameters
    ----------
    path : array-like of int of shape (length, 2)
        Pairs of aligned frames of the first and the second sequence; neither goes back.
    matches : array-like of shape (n_matches, 2)
        Frames that match, in any order; they may lie between two frames. Matches with a
        NaN do not count.

    Returns
    -------
    float
        The error; 0 is best, and NaN if no match counts.

    Raises
    ------
    ValueError
        If the path or the matches have another shape, or the path goes back.

    See Also
    --------
    mmfusion.alignment.dtw_path : Path of two sequences.
    mmfusion.alignment.SiameseAligner : Learns to align from known matches.
    alignment_error_rate : Score of the links of tokens.

    Examples
    --------
    >>> from mmfusion.metrics import alignment_error
    >>> alignment_error([[0, 0], [1, 1], [2, 1], [3, 2]], [[0, 0], [2, 2], [3, 3]])
    0.6666666666666666
    """
    pairs = _as_floats(path, "path")
    if pairs.ndim != 2 or pairs.shape[1] != 2 or not len(pairs):
        raise ValueError(
            f"path is of shape {pairs.shape}; give pairs of aligned frames, an array "
            "of shape (length, 2)"
        )
    if not np.isfinite(pairs).all() or (np.diff(pairs, axis=0) < 0).any():
        raise ValueError("path goes back in time; give frames in their order")
    known = _as_floats(matches, "matches")
    if known.ndim != 2 or known.shape[1] != 2:
        raise ValueError(
            f"matches are of shape {known.shape}; give pairs of frames that match, an "
            "array of shape (n_matches, 2)"
        )
    known = known[~np.isnan(known).any(axis=1)]
    if not len(known):
        return float("nan")
    frames, begins = np.unique(pairs[:, 0], return_index=True)
    counts = np.diff(begins, append=len(pairs))
    aligned = np.add.reduceat(pairs[:, 1], begins) / counts
    found = np.interp(known[:, 0], frames, aligned)
    return float(np.abs(found - known[:, 1]).mean())


def _as_floats(pairs: Any, name: str) -> np.ndarray:
    """Convert pairs of frames, given as an array or as nested lists, to floats."""
    plain = as_plain(pairs, name)
    if isinstance(plain, list | tuple):
        for row in plain:
            frames = row if isinstance(row, list | tuple | np.ndarray) else [row]
            if not all(isinstance(frame, Real) for frame in frames):
                raise TypeError(f"{name} holds {row!r}; give pairs of frames, numbers")
    with errors_about(name):
        return np.asarray(plain, dtype=np.float64)
