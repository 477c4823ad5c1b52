"""k-means behind a transformer of modalities, for the methods that `compare` names."""

from __future__ import annotations

from typing import Self

import numpy as np
from sklearn.base import BaseEstimator, ClusterMixin, clone
from sklearn.cluster import KMeans
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import MinMaxScaler, Normalizer

from mmfusion._typing import ModalitiesLike, RandomStateLike
from mmfusion._validation import as_modalities
from mmfusion.modalities import Modalities
from mmfusion.preprocessing import PerModality


class ComponentClusterer(ClusterMixin, BaseEstimator):
    """k-means on as many components of a transformer as there are clusters.

    With a number of clusters and of components of your own, a Pipeline of the
    transformer and KMeans is the same.

    Parameters
    ----------
    transformer : transformer
        Transformer of modalities that has the parameter ``n_components``.
    n_clusters : int, default=None
        Number of clusters and of components; `compare` sets it.
    non_negative : bool, default=False
        Whether modalities with negative values are scaled to [0, 1], feature by
        feature, and the samples of others to unit length.
    random_state : int, RandomState instance or None, default=None
        Random state of k-means.
    """

    def __init__(
        self,
        transformer: BaseEstimator,
        n_clusters: int | None = None,
        *,
        non_negative: bool = False,
        random_state: RandomStateLike = None,
    ) -> None:
        self.transformer = transformer
        self.n_clusters = n_clusters
        self.non_negative = non_negative
        self.random_state = random_state

    def fit(self, X: ModalitiesLike, y: object = None) -> Self:
        """Cluster the components.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The data.
        y : object, default=None
            Not used.

        Returns
        -------
        self
            The fitted clusterer, with ``labels_``.
        """
        k = self.n_clusters
        if k is None:
            raise ValueError("n_clusters=None: give the number of clusters")
        steps = [
            ("transformer", clone(self.transformer).set_params(n_components=k)),
            ("kmeans", KMeans(k, n_init=10, random_state=self.random_state)),
        ]
        frame = as_modalities(X)
        if self.non_negative:
            steps.insert(0, ("scaling", PerModality(_non_negative_scalers(frame))))
        self.pipeline_ = Pipeline(steps)
        self.labels_ = self.pipeline_.fit_predict(frame)
        return self


def _non_negative_scalers(frame: Modalities) -> dict[str, BaseEstimator]:
    scalers = {}
    for name, block, own in zip(
        frame.names, frame.blocks, frame.observed.T, strict=True
    ):
        is_negative = block[np.flatnonzero(own)].min() < 0
        scalers[name] = MinMaxScaler(clip=True) if is_negative else Normalizer()
    return scalers
