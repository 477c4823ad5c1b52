"""Principal axes of one modality: few features, and noise in all other directions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.decomposition import PCA

from mmfusion._scaling import Scaling
from mmfusion._typing import NumericBlock

LOG_TWO_PI = float(np.log(2 * np.pi))
MAX_AXES = 100
DENSE_FEATURES = 1000  # up to which all eigenvectors of the covariance are computed
FEW_FEATURES = 50  # up to which sparse blocks become dense
SMALLEST_NOISE = 1e-12  # share of the total variance, of noise that is rounding


@dataclass(frozen=True)
class PrincipalAxes:
    """A scaled modality along its principal axes.

    Parameters
    ----------
    scaling : Scaling
        Scaling of the values.
    center : ndarray of shape (n_features,)
        Mean of the scaled values.
    axes : ndarray of shape (n_axes, n_features)
        Orthonormal directions of largest variance.
    noise : float
        Variance of each of the other directions; 0 if there are none.
    """

    scaling: Scaling
    center: np.ndarray
    axes: np.ndarray
    noise: float

    def transform(self, block: NumericBlock) -> np.ndarray:
        """Return the coordinates of samples along the axes.

        Parameters
        ----------
        block : ndarray or CSR matrix of shape (n_samples, n_features)
            Values before scaling.

        Returns
        -------
        ndarray of shape (n_samples, n_axes)
            Coordinates.
        """
        scaled = self._scaled(block)
        return np.asarray(scaled @ self.axes.T) - self.center @ self.axes.T

    def revert(self, coordinates: np.ndarray) -> np.ndarray:
        """Return the values at coordinates, without noise."""
        scaled = coordinates @ self.axes + self.center
        if self.scaling.name == "l2":  # rows have no length to return to
            return scaled / self.scaling.factor
        return np.asarray(self.scaling.revert(scaled))

    def draw(
        self, coordinates: np.ndarray, random_state: np.random.RandomState
    ) -> np.ndarray:
        """Return values at coordinates with noise in the other directions."""
        shape = (len(coordinates), self.axes.shape[1])
        noise = np.sqrt(self.noise) * random_state.standard_normal(shape)
        noise -= noise @ self.axes.T @ self.axes
        scaled = coordinates @ self.axes + self.center + noise
        if self.scaling.name == "l2":
            return scaled / self.scaling.factor
        return np.asarray(self.scaling.revert(scaled))

    def log_noise(self, block: NumericBlock, coordinates: np.ndarray) -> np.ndarray:
        """Compute the log density of all that coordinates leave out.

        Parameters
        ----------
        block : ndarray or CSR matrix of shape (n_samples, n_features)
            Values before scaling.
        coordinates : ndarray of shape (n_samples, n_axes)
            Their coordinates.

        Returns
        -------
        ndarray of shape (n_samples,)
            Log densities of the noise, with the change of units by the scaling, except
            for 'l2', which is not one to one.
        """
        values = np.full(block.shape[0], self._log_units())
        n_others = self._n_varying() - len(self.axes)
        if self.noise == 0 or n_others <= 0:
            return values
        scaled = self._scaled(block)
        squares = _row_squares(scaled) - 2 * np.asarray(scaled @ self.center)
        squares += self.center @ self.center - (coordinates**2).sum(axis=1)
        squares = np.maximum(squares, 0.0)
        log_determinant = n_others * (LOG_TWO_PI + np.log(self.noise))
        return values - 0.5 * (squares / self.noise + log_determinant)

    def _scaled(self, block: NumericBlock) -> NumericBlock:
        scaled = self.scaling.apply(block)
        return scaled if sparse.issparse(scaled) else scaled.astype(np.float64)

    def _n_varying(self) -> int:
        """Return the number of features that are not constant in fit."""
        spread = np.broadcast_to(self.scaling.spread, self.center.shape)
        return int(np.isfinite(spread).sum())

    def _log_units(self) -> float:
        """Return the logarithm of the volume of a unit cube after scaling."""
        if self.scaling.name in (None, "l2"):
            return 0.0
        spread = np.broadcast_to(self.scaling.spread, self.center.shape)
        spread = spread[np.isfinite(spread)]
        return float(len(spread) * np.log(self.scaling.factor) - np.log(spread).sum())


def fit_principal_axes(
    block: NumericBlock,
    scaling: Scaling,
    explained_variance: float,
    random_state: np.random.RandomState,
) -> PrincipalAxes:
    """Find the axes that explain a share of the variance.

    Parameters
    ----------
    block : ndarray or CSR matrix of shape (n_samples, n_features)
        Values before scaling.
    scaling : Scaling
        Their scaling.
    explained_variance : float
        Share of the variance along the axes, of which there are at most 100.
    random_state : RandomState
        Generator of starting vectors, for many features.

    Returns
    -------
    PrincipalAxes
        The axes.
    """
    scaled: Any = scaling.apply(block)
    scaled = scaled if sparse.issparse(scaled) else scaled.astype(np.float64)
    n_samples, n_features = scaled.shape
    total = _total_variance(scaled)
    if n_samples < 2 or total == 0:
        center = np.asarray(scaled.mean(axis=0)).ravel()
        return PrincipalAxes(scaling, center, np.eye(1, n_features), 0.0)
    smallest = min(n_samples, n_features)
    if sparse.issparse(scaled) and n_features <= FEW_FEATURES:
        scaled = scaled.toarray()
    if smallest < 2 or (not sparse.issparse(scaled) and smallest <= DENSE_FEATURES):
        solver = "covariance_eigh" if n_features <= n_samples else "full"
        pca = PCA(smallest, svd_solver=solver)
    else:
        pca = PCA(
            min(MAX_AXES, smallest - 1), svd_solver="arpack", random_state=random_state
        )
    pca.fit(scaled)
    variances = pca.explained_variance_ * (n_samples - 1) / n_samples
    reached = np.searchsorted(
        np.cumsum(variances), explained_variance * total * (1 - SMALLEST_NOISE)
    )
    n_axes = min(int(reached) + 1, len(variances), MAX_AXES)
    spread = np.broadcast_to(scaling.spread, n_features)
    n_others = int(np.isfinite(spread).sum()) - n_axes
    rest = max(total - variances[:n_axes].sum(), 0.0)
    noise = rest / n_others if n_others > 0 else 0.0
    if noise * max(n_others, 1) < SMALLEST_NOISE * total:
        noise = 0.0
    return PrincipalAxes(scaling, pca.mean_, pca.components_[:n_axes], float(noise))


def _row_squares(values: Any) -> np.ndarray:
    if sparse.issparse(values):
        return np.asarray(values.multiply(values).sum(axis=1)).ravel()
    return np.einsum("nd,nd->n", values, values)


def _total_variance(values: Any) -> float:
    """Return the sum of the variances of all features."""
    center = np.asarray(values.mean(axis=0)).ravel()
    if sparse.issparse(values):
        squares = np.asarray(values.multiply(values).mean(axis=0)).ravel()
        return float(np.maximum(squares - center**2, 0.0).sum())
    return float(((values - center) ** 2).mean(axis=0).sum())
