"""Coordinates of frames that linear mixing of the features does not change."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mmfusion.alignment.ctw._projections import whitening_directions


def invariant_directions(
    sequences: Sequence[np.ndarray], ridge: float, v: int
) -> np.ndarray:
    """Find directions of a modality that do not depend on how its features are mixed.

    Frames are whitened, and turned onto the eigenvectors of their covariance weighted
    by squared norms, which orders directions by their fourth moments. The third moment
    of each is positive. Without a ridge, invertible linear maps of the features leave
    the coordinates of frames as they are.

    Parameters
    ----------
    sequences : sequence of ndarray of shape (n_frames, n_features)
        The centred sequences of all samples.
    ridge : float
        Share of the identity in the covariance, as in `correlate`.
    v : int
        Position of the modality, for errors.

    Returns
    -------
    ndarray of shape (n_features, n_features)
        The directions, in columns; 0 for those that the frames lack.

    Raises
    ------
    ValueError
        If the frames never vary.

    References
    ----------
    D. Tyler, F. Critchley, L. Dümbgen & H. Oja (2009). Invariant coordinate selection.
    Journal of the Royal Statistical Society B 71(3), 549-592.
    """
    frames = np.concatenate(sequences)
    scatter = frames.T @ frames / len(frames)
    whitening = whitening_directions(scatter, np.abs(frames).max(axis=0), ridge, v)
    white = frames @ whitening
    squares = (white**2).sum(axis=1)
    _, turned = np.linalg.eigh((white * squares[:, None]).T @ white / len(frames))
    skewness = ((white @ turned) ** 3).sum(axis=0)
    directions = np.zeros_like(scatter)
    directions[:, : turned.shape[1]] = (
        whitening @ turned * np.where(skewness < 0, -1, 1)
    )
    return directions
