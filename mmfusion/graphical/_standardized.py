"""Standardised frames beside their squares, as the products of Gaussian densities need.

A row has the deviations of a frame from the pooled means in pooled standard deviations,
their squares, and a 1. Its product with one matrix is the log densities of all states,
and sums over rows are all that the M-step needs.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from mmfusion.graphical._optional_compilation import compiled_at_first_call

CHUNK_CELLS = 2**17  # 1 MiB of float64, which stays in a processor's cache
LARGEST_DEVIATION = 1e150  # in pooled standard deviations: its square is finite
LEAST_SCALE = 1e-300  # with an inverse that is finite
KEPT_CELLS = 2**20  # largest number of values that are standardised once for all uses


class PooledMoments(NamedTuple):
    """Centers and positive scales of the features of all frames together.

    The variance of a constant feature by state would be that of the prior alone, which
    falls with the number of frames, so that states with many frames would be preferred.
    It stays at the pooled one.
    """

    center: np.ndarray
    scale: np.ndarray
    is_constant: np.ndarray  # features with one value, or with none


class StandardizedFrames(np.ndarray):
    """Rows of all frames, which methods of a Gaussian emission take in their place.

    They belong to the pooled moments of this emission and of its copies.
    """


def chunks_of_frames(n_frames: int, n_cells: int) -> Iterator[slice]:
    """Cut frames into slices whose workspace stays in a processor's cache.

    Parameters
    ----------
    n_frames : int
        Number of frames.
    n_cells : int
        Number of values per frame that are in use at a time.

    Yields
    ------
    slice
        Consecutive frames.
    """
    size = max(64, CHUNK_CELLS // max(1, n_cells))
    for start in range(0, n_frames, size):
        yield slice(start, min(start + size, n_frames))


def write_rows_by_numpy(X, center, inverse_scale, out):
    """Do the same as `write_rows` where numba is not installed."""
    d = X.shape[1]
    with np.errstate(over="ignore", invalid="ignore"):
        np.multiply(X - center, inverse_scale, out=out[:, :d])
        np.square(out[:, :d], out=out[:, d : 2 * d])
    out[:, 2 * d] = 1.0


@compiled_at_first_call(write_rows_by_numpy)
def write_rows(X, center, inverse_scale, out):
    """Write deviations, their squares and 1; NaN and infinity stay."""
    d = X.shape[1]
    for t in range(len(X)):
        for j in range(d):
            deviation = (X[t, j] - center[j]) * inverse_scale[j]
            out[t, j] = deviation
            out[t, d + j] = deviation * deviation
        out[t, 2 * d] = 1.0


def width_of_frames(X: np.ndarray) -> int:
    """Return the number of features of frames, which may be standardised."""
    return X.shape[1] // 2 if isinstance(X, StandardizedFrames) else X.shape[1]


def standardized(X: np.ndarray, pooled: PooledMoments) -> np.ndarray:
    """Standardise frames for several uses, if they are few and have no gaps.

    Parameters
    ----------
    X : ndarray of shape (n_frames, n_features)
        Frames.
    pooled : PooledMoments
        Their pooled moments.

    Returns
    -------
    StandardizedFrames of shape (n_frames, 2 * n_features + 1), or `X`
        The rows, or the frames as they are.
    """
    d = X.shape[1]
    if not len(X) or len(X) * (2 * d + 1) > KEPT_CELLS:
        return X
    rows = np.empty((len(X), 2 * d + 1))
    _write(X, pooled, rows)
    return rows.view(StandardizedFrames) if np.isfinite(rows).all() else X


def standardized_chunks(
    X: np.ndarray, pooled: PooledMoments
) -> Iterator[tuple[slice, np.ndarray]]:
    """Yield standardised rows of frames, in one workspace.

    Parameters
    ----------
    X : ndarray of shape (n_frames, n_features), or StandardizedFrames
        Frames.
    pooled : PooledMoments
        Their pooled moments.

    Yields
    ------
    rows : slice
        Which frames.
    chunk : ndarray of shape (n, 2 * n_features + 1)
        Their rows, which are written again afterwards.
    """
    if isinstance(X, StandardizedFrames):
        yield slice(0, len(X)), X.view(np.ndarray)
        return
    width = 2 * X.shape[1] + 1
    workspace = None
    for rows in chunks_of_frames(len(X), width):
        if workspace is None:
            workspace = np.empty((rows.stop, width))
        chunk = workspace[: rows.stop - rows.start]
        _write(X[rows], pooled, chunk)
        yield rows, chunk


def _write(X: np.ndarray, pooled: PooledMoments, out: np.ndarray) -> None:
    if not (X.flags.c_contiguous and X.flags.writeable):
        X = np.array(X, order="C")  # others would be compiled separately
    inverse_scale = 1 / np.maximum(pooled.scale, LEAST_SCALE)
    write_rows(X, pooled.center, inverse_scale, out)


def fill_gaps(rows: np.ndarray) -> np.ndarray:
    """Replace NaN by 0 and bound deviations, in place.

    Parameters
    ----------
    rows : ndarray of shape (n, 2 * n_features + 1)
        Standardised frames.

    Returns
    -------
    ndarray of shape (n, n_features)
        1 for the values that were observed, and 0 for others.
    """
    d = rows.shape[1] // 2
    values = rows[:, :d]
    observed = ~np.isnan(values)
    values[~observed] = 0
    np.clip(values, -LARGEST_DEVIATION, LARGEST_DEVIATION, out=values)
    np.multiply(values, values, out=rows[:, d : 2 * d])
    return observed.astype(np.float64)
