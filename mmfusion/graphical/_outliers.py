"""Outlier component: noise of a modality that comes and goes.

``b~_q = (1 - share) b_q + share * o``, where o is the density of the pooled moments
with variances times `outlier_scale`. Frames that no state explains hardly count in the
posteriors of states, and have no part in the moments.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

LEAST_SHARE = 1e-300  # whose logarithm is that of a normal number


@dataclass(frozen=True)
class OutlierComponent:
    """Outlier component of one modality.

    Parameters
    ----------
    share : float, default=0.01
        Prior probability that a frame is an outlier, between 0 and 1.
    scale : float, default=5.0
        Variances of outliers, as a multiple of the pooled variances.
    """

    share: float = 0.01
    scale: float = 5.0

    def mix(
        self,
        log_density: np.ndarray,
        log_broad: np.ndarray,
        *,
        is_relative: bool = False,
        inliers: np.ndarray | None = None,
    ) -> None:
        """Add the density of outliers to log densities, in place.

        Parameters
        ----------
        log_density : ndarray of shape (n_frames, n_states)
            Log densities of the states; replaced by ``log b~``.
        log_broad : ndarray of shape (n_frames,)
            Log densities of outliers.
        is_relative : bool, default=False
            Whether the result is the logarithm of the ratio to the density of outliers.
        inliers : contiguous ndarray of shape (n_frames, n_states), default=None
            Array for the results of `inlier_probability`.
        """
        if self.share == 0:
            if is_relative:
                log_density -= log_broad[:, None]
            if inliers is not None:
                inliers[...] = 1
            return
        from mmfusion.graphical._outlier_kernels import mix_rows  # loads numba

        densities = np.ascontiguousarray(log_density)
        share = max(self.share, LEAST_SHARE)
        flat = None if inliers is None else inliers.ravel()
        mix_rows(densities, log_broad, share, is_relative, flat)
        if densities is not log_density:
            log_density[...] = densities

    def inlier_probability(
        self, log_density: np.ndarray, log_broad: np.ndarray
    ) -> np.ndarray:
        """Compute the probability that a frame is no outlier, given the state.

        Parameters
        ----------
        log_density : ndarray of shape (n_frames, n_states)
            Log densities of the states, without outliers; they are overwritten.
        log_broad : ndarray of shape (n_frames,)
            Log densities of outliers.

        Returns
        -------
        ndarray of shape (n_frames, n_states)
            ``(1 - share) b / b~``.
        """
        if self.share == 0:
            return np.ones_like(log_density)
        log_density -= log_broad[:, None]
        np.clip(log_density, -700.0, 700.0, out=log_density)
        np.negative(log_density, out=log_density)
        np.exp(log_density, out=log_density)
        log_density *= self.share / (1 - self.share)
        log_density += 1
        return np.reciprocal(log_density, out=log_density)
