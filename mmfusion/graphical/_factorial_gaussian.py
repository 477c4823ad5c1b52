"""Gaussian emission whose means are sums over chains: the factorial model."""

from __future__ import annotations

import numpy as np

from mmfusion.graphical._gaussian import SMALLEST_COUNT
from mmfusion.graphical._gaussian_full import FullGaussian, FullStatistics


class FactorialGaussian(FullGaussian):
    r"""Gaussian emission of several chains, each of which adds to the mean.

    .. math:: x_t \sim N(\mu + \sum_m W_m s_t^{(m)}, C)

    with an indicator s of the state of each chain m, and one covariance C for all
    states (Ghahramani & Jordan 1997). States are the combinations of those of the
    chains, that of the last one varying fastest. Of one chain, it is the Gaussian with
    tied covariance.

    Parameters
    ----------
    shape : tuple of int
        Number of states of each chain.
    is_diagonal : bool, default=False
        Whether features are independent, given the states.
    prior_frames : float, default=2.0
        Weight of the prior of the covariance, as frames with the pooled variances and
        without correlation. 0 is maximum likelihood.
    variance_floor : float, default=1e-3
        Smallest variance in any direction, in features divided by their pooled standard
        deviations.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        *,
        is_diagonal: bool = False,
        prior_frames: float = 2.0,
        variance_floor: float = 1e-3,
    ) -> None:
        super().__init__(
            int(np.prod(shape)),
            is_tied=True,
            prior_frames=prior_frames,
            variance_floor=variance_floor,
        )
        self.shape = shape
        self.is_diagonal = is_diagonal

    def _design(self) -> np.ndarray:
        """Return the indicators of the states of all chains, by joint state."""
        numbers = np.unravel_index(np.arange(self.n_states), self.shape)
        indicators = [
            np.eye(k)[own] for k, own in zip(self.shape, numbers, strict=True)
        ]
        return np.hstack(indicators)

    @property
    def contributions(self) -> list[np.ndarray]:
        """Terms of the mean by chain: a list of (n_states_m, n_features).

        Those of all chains but the first are centred: the first has the constant.
        """
        means = self.means.reshape(*self.shape, -1)
        overall = means.mean(axis=tuple(range(len(self.shape))))
        found = []
        for m in range(len(self.shape)):
            others = tuple(c for c in range(len(self.shape)) if c != m)
            found.append(means.mean(axis=others) - (overall if m else 0.0))
        return found

    @property
    def n_parameters(self) -> int:
        """Number of free parameters."""
        d = int((~self._pooled.is_constant).sum())
        n_means = 1 + sum(self.shape) - len(self.shape)
        return n_means * d + (d if self.is_diagonal else d * (d + 1) // 2)

    def maximize(self, statistics: FullStatistics) -> None:
        """Set means by least squares and the mode of the covariance; M-step.

        Minimises ``sum_q n_q |m_q - sum_m W_m s_q|^2`` over all W, where q are the
        joint states, n their expected frames and m their mean frames. Constants that
        may move from chain to chain make W rank-deficient: the pseudo-inverse takes the
        smallest.

        Parameters
        ----------
        statistics : FullStatistics
            Sums over all frames.
        """
        counts, sums, products = statistics
        design = self._design()
        normal = design.T @ (counts[:, None] * design)
        self._means = design @ (
            np.linalg.pinv(normal, hermitian=True) @ (design.T @ sums)
        )
        cross = self._means.T @ sums
        within = self._means.T @ (counts[:, None] * self._means)
        scatter = products[0] - cross - cross.T + within
        d, total = len(scatter), counts.sum()
        if self.is_diagonal:
            scatter = np.diag(np.diagonal(scatter))
        prior = self.prior_frames
        covariance = np.eye(d)
        if total + prior > SMALLEST_COUNT:
            covariance = self._bounded((scatter + prior * covariance) / (total + prior))
        constant = self._pooled.is_constant
        covariance[constant, constant] = 1
        self._covariances = covariance[None]
