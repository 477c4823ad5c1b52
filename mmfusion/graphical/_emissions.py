"""Emissions: the interface of densities of frames in states, and their kinds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from mmfusion.graphical._discrete import (
    BernoulliEmission,
    CategoricalEmission,
    MultinomialEmission,
    PoissonEmission,
)
from mmfusion.graphical._gaussian import DiagonalGaussian
from mmfusion.graphical._gaussian_full import FullGaussian
from mmfusion.graphical._mixture_emission import MixtureEmission
from mmfusion.graphical._own_emission import OwnEmission


class Emission(Protocol):
    """Densities of the frames of one modality in each state.

    An M-step is ``statistics``, any number of ``accumulate`` and ``maximize``; it
    maximises the expected log density plus `log_prior`.
    """

    n_states: int

    @property
    def n_parameters(self) -> int:
        """Number of free parameters."""

    def prepare(self, X: np.ndarray, sample_weight: np.ndarray | None = None) -> None:
        """Set what all states share from the frames of fit, and all states to it."""

    def log_density(self, X: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """Compute log densities, (n_frames, n_states); NaN is marginalised."""

    def broad_log_density(self, X: np.ndarray, scale: float) -> np.ndarray:
        """Compute log densities of outliers, (n_frames,)."""

    def statistics(self) -> Any:
        """Return empty sufficient statistics."""

    def accumulate(
        self, statistics: Any, X: np.ndarray, posteriors: np.ndarray
    ) -> None:
        """Add frames with weights (n_frames, n_states) to sufficient statistics."""

    def maximize(self, statistics: Any) -> None:
        """Set the parameters to the posterior mode."""

    def log_prior(self) -> float:
        """Compute the log prior of the parameters, up to a constant."""

    def reorder(self, order: np.ndarray) -> None:
        """Renumber the states: state i becomes the former state ``order[i]``."""

    def sample(
        self, states: np.ndarray, random_state: np.random.RandomState
    ) -> np.ndarray:
        """Draw one frame for each state."""


COVARIANCE_TYPES = ("diag", "full", "tied", "spherical")
_DISCRETE: dict[str, Callable[[int], Emission]] = {
    "categorical": CategoricalEmission,
    "multinomial": MultinomialEmission,
    "poisson": PoissonEmission,
    "bernoulli": BernoulliEmission,
}
KINDS = ("gaussian", "mixture", *_DISCRETE)


def make_emission(
    kind: str | object,
    n_states: int,
    *,
    covariance_type: str = "diag",
    n_mixtures: int = 2,
    prior_frames: float = 2.0,
    variance_floor: float = 1e-3,
) -> Emission:
    """Make the emission of one modality.

    Parameters
    ----------
    kind : {'gaussian', 'mixture', 'categorical', 'multinomial', 'poisson', \
            'bernoulli'} or object
        Kind of the densities, or an object with ``log_density(X)`` and ``update(X,
        posteriors)``.
    n_states : int
        Number of states.
    covariance_type : {'diag', 'full', 'tied', 'spherical'}, default='diag'
        Covariances of 'gaussian'; 'mixture' has diagonal ones.
    n_mixtures : int, default=2
        Number of components of each state of 'mixture'.
    prior_frames : float, default=2.0
        Weight of the prior of variances, in frames with the pooled variances.
    variance_floor : float, default=1e-3
        Smallest variance, as a share of the pooled variance.

    Returns
    -------
    Emission
        The emission, before `prepare`.

    Raises
    ------
    ValueError
        If the kind or the type of covariances is unknown.
    """
    if not isinstance(kind, str):
        return _own_emission(kind, n_states)
    if kind in _DISCRETE:
        return _DISCRETE[kind](n_states)
    options = {"prior_frames": prior_frames, "variance_floor": variance_floor}
    if kind == "mixture":
        return MixtureEmission(n_states, n_mixtures=n_mixtures, **options)
    if kind != "gaussian":
        raise ValueError(f"emission {kind!r} is none of {KINDS}")
    if covariance_type not in COVARIANCE_TYPES:
        raise ValueError(
            f"covariance_type {covariance_type!r} is none of {COVARIANCE_TYPES}"
        )
    if covariance_type in ("full", "tied"):
        return FullGaussian(n_states, is_tied=covariance_type == "tied", **options)
    is_spherical = covariance_type == "spherical"
    return DiagonalGaussian(n_states, is_spherical=is_spherical, **options)


def _own_emission(model: object, n_states: int) -> Emission:
    if isinstance(model, type):
        raise ValueError(
            f"emission {model.__name__} is a class; give an instance, such as "
            f"{model.__name__}()"
        )
    for method in ("log_density", "update"):
        if not callable(getattr(model, method, None)):
            raise ValueError(
                f"emission {model!r} has no method {method!r}: give one of {KINDS}, or "
                "an object with log_density(X) and update(X, posteriors)"
            )
    return OwnEmission(model, n_states)
