"""Scores and information criteria of clusterers that maximise a likelihood."""

from __future__ import annotations

import numpy as np

from mmfusion._typing import ModalitiesLike


class LikelihoodMixin:
    """Mixin of mixtures, which have `score_samples` and `_n_parameters`."""

    def score_samples(self, X: ModalitiesLike) -> np.ndarray:
        """Compute the log-likelihood of each sample."""
        raise NotImplementedError

    def _n_parameters(self) -> int:
        """Return the number of free parameters."""
        raise NotImplementedError

    def score(self, X: ModalitiesLike, y: object = None) -> float:
        """Compute the mean log-likelihood of samples.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The data.
        y : object, default=None
            Not used.

        Returns
        -------
        float
            Mean of `score_samples`.
        """
        return float(np.mean(self.score_samples(X)))

    def bic(self, X: ModalitiesLike) -> float:
        """Compute the Bayesian information criterion; smaller is better.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The samples of `fit`.

        Returns
        -------
        float
            ``p log(n) - 2 log-likelihood`` for p free parameters and n samples.
        """
        values = self.score_samples(X)
        return float(self._n_parameters() * np.log(len(values)) - 2 * values.sum())

    def aic(self, X: ModalitiesLike) -> float:
        """Compute the Akaike information criterion; smaller is better.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The samples of `fit`.

        Returns
        -------
        float
            ``2 p - 2 log-likelihood`` for p free parameters.
        """
        total = self.score_samples(X).sum()
        return float(2 * self._n_parameters() - 2 * total)
