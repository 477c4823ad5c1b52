"""Early fusion with a clusterer of the concatenated modalities."""

from __future__ import annotations

from numbers import Integral
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, ClusterMixin
from sklearn.metrics import pairwise_distances_argmin
from sklearn.utils import gen_batches

from mmfusion._sklearn_compat import HasMethods, Interval, fit_context
from mmfusion._typing import (
    ByModality,
    ColumnSpecLike,
    EstimatorLike,
    ModalitiesLike,
    NumericBlock,
    RandomStateLike,
)
from mmfusion._validation import ModalityTags
from mmfusion.base import PerModalityParams
from mmfusion.fusion._early_transformer import EarlyFusion
from mmfusion.fusion._nested_clusterers import (
    FusionClustererMixin,
    fit_labels,
    make_clusterer,
    predict_labels,
    routed_fit_params,
    weighted_params,
)
from mmfusion.fusion.combination._clusterings import (
    CLUSTERING_CHUNK_ROWS,
    agreement_by_modality,
    cluster_members,
    cluster_sums,
)
from mmfusion.modalities import Modalities


class EarlyFusionClusterer(
    FusionClustererMixin, PerModalityParams, ClusterMixin, BaseEstimator
):
    """Clusterer of the concatenation of scaled modalities.

    k-means, the default, minimises ``sum_i sum_v w_v^2 |s_v(x_iv) - c_v(k_i)|^2`` over
    the clusters k and their centres c, with the weights w and scalings s of
    `EarlyFusion`.

    Parameters
    ----------
    clusterer : clusterer, default=None
        Any scikit-learn clusterer, which is cloned. None is ``KMeans(n_init=10)``; a
        search over parameters such as ``clusterer__n_init`` needs an explicit one.
        ``SpectralClusterer()`` cuts the neighbour graph of the same matrix, for
        clusters that are not round; the user guide compares them.
    n_clusters : int, default=None
        Number of clusters, set on the clusterer in place of its own. None leaves the
        clusterer's own, which is 8 for k-means.
    scaling : {'auto', 'block', 'standard', 'l2'} or None or dict, default='auto'
        Scaling of each modality; see `EarlyFusion`.
    reducer : transformer or dict, default=None
        Dimension reduction of each scaled modality, one for all or a dict by modality
        name; see `EarlyFusion`.
    weights : {'uniform'}, array-like of shape (n_modalities,) or dict, \
default='uniform'
        Factor of each modality's block; see `EarlyFusion`.
    modalities : int, list of int, str or dict, default=None
        Column spec that splits a plain 2-D X; None takes it as one modality. See
        :meth:`Modalities.from_table`.
    random_state : int, RandomState instance or None, default=None
        Set on the clusterer, unless None.

    Attributes
    ----------
    labels_ : ndarray of int of shape (n_samples,)
        Cluster of each sample.
    modality_labels_ : ndarray of int of shape (n_samples, n_modalities)
        Clusters by each modality alone: the cluster whose mean is nearest within that
        modality. -1 everywhere for a modality of weight 0.
    modality_weights_ : ndarray of shape (n_modalities,)
        Weights of the modalities.
    agreement_ : ndarray of shape (n_modalities,)
        Adjusted Rand index of each modality's labels with ``labels_``.
    fusion_ : EarlyFusion
        Fitted fusion; ``fusion_.scaling_`` holds the scalings that 'auto' chose.
    clusterer_ : clusterer
        Fitted clusterer.
    n_modalities_in_ : int
        Number of modalities seen in `fit`.
    modality_names_in_ : ndarray of str of shape (n_modalities,)
        Names of the modalities.
    n_features_per_modality_in_ : ndarray of int of shape (n_modalities,)
        Number of features of each modality.
    n_features_in_ : int
        Number of features in all.
    feature_names_in_ : ndarray of str of shape (`n_features_in_`,)
        Names ``<modality>__<feature>``, if the input had names.

    Raises
    ------
    ValueError
        As `EarlyFusion` does; also if ``n_clusters`` is given to a clusterer that
        has no such parameter.

    See Also
    --------
    EarlyFusion : The transformer, to be followed by any estimator.
    LateFusionClusterer : Clusters each modality, then finds a consensus.

    Examples
    --------
    >>> from sklearn.cluster import KMeans
    >>> from sklearn.model_selection import GridSearchCV
    >>> from mmfusion import EarlyFusionClusterer
    >>> from mmfusion.datasets import make_multimodal_blobs
    >>> X, y = make_multimodal_blobs(random_state=0)
    >>> clusterer = EarlyFusionClusterer(KMeans(), n_clusters=3, random_state=0)
    >>> clusterer.fit_predict(X).shape
    (100,)
    >>> from mmfusion import SpectralClusterer
    >>> cut = EarlyFusionClusterer(SpectralClusterer(), n_clusters=3, random_state=0)
    >>> cut.fit(X).predict(X[:3]).shape
    (3,)
    >>> search = GridSearchCV(
    ...     EarlyFusionClusterer(KMeans(), random_state=0),
    ...     {"clusterer__n_clusters": [2, 3, 5], "weights": ["uniform", [1, 2]]},
    ... ).fit(X)
    >>> search.best_estimator_.predict(X[:3]).shape
    (3,)
    """

    _reducers_param = "reducer"

    _parameter_constraints: dict = {
        **EarlyFusion._parameter_constraints,
        "clusterer": [HasMethods("fit_predict"), None],
        "n_clusters": [Interval(Integral, 1, None, closed="left"), None],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        clusterer: BaseEstimator | None = None,
        *,
        n_clusters: int | None = None,
        scaling: ByModality[str | None] = "auto",
        reducer: EstimatorLike = None,
        weights: str | ArrayLike | dict[str, float] = "uniform",
        modalities: ColumnSpecLike = None,
        random_state: RandomStateLike = None,
    ) -> None:
        self.clusterer = clusterer
        self.n_clusters = n_clusters
        self.scaling = scaling
        self.reducer = reducer
        self.weights = weights
        self.modalities = modalities
        self.random_state = random_state

    @fit_context(prefer_skip_nested_validation=False)
    def fit(self, X: ModalitiesLike, y: object = None, **params: Any) -> Self:
        """Cluster the concatenation of the scaled modalities.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The data; see the user guide on input.
        y : object, default=None
            Not used.
        **params : dict
            Metadata for the clusterer's `fit`, such as ``sample_weight``, which then
            weighs the scaling too. With metadata routing enabled, the clusterer gets
            what it requests.

        Returns
        -------
        self
            The fitted clusterer.
        """
        self._check_parameters()
        frame = self._validate(X, reset=True)
        self._refuse_names_of_parameters(frame.names)
        weight, params = weighted_params(params, frame)
        params = routed_fit_params(self, params)
        fusion = EarlyFusion(self.scaling, reducer=self.reducer, weights=self.weights)
        # arrays, whatever the output that sklearn.set_config sets for transformers
        fusion.set_output(transform="default")
        self.fusion_ = fusion._fit_checked(frame, None, params.get("sample_weight"))
        # fusion_ takes the same X as this estimator
        self.fusion_._take_layout(self)
        fused = self.fusion_._fuse(frame)
        self.clusterer_ = make_clusterer(
            self._templates()["clusterer"], self.n_clusters, self.random_state
        )
        self.labels_ = fit_labels(self.clusterer_, fused, params)
        self.modality_weights_ = self.fusion_.modality_weights_
        self.modality_labels_ = self._nearest_by_modality(fused, weight)
        self.agreement_ = agreement_by_modality(
            self.labels_, self.modality_labels_, weight
        )
        return self

    def _nearest_by_modality(
        self, fused: NumericBlock, sample_weight: np.ndarray | None
    ) -> np.ndarray:
        """Assign each sample to the cluster whose mean is nearest in one modality."""
        nearest = np.full((fused.shape[0], self.n_modalities_in_), -1)
        clusters, members = cluster_members(self.labels_, sample_weight)
        if len(clusters) == 0:
            return nearest
        means = cluster_sums(fused, members) / members.sum(axis=0)[:, None]
        means = means.astype(fused.dtype)  # float32 data are not widened by chunks
        for v, name in enumerate(self.modality_names_in_):
            if name not in self.fusion_.columns_:
                continue
            columns = self.fusion_.columns_[name]
            for rows in gen_batches(fused.shape[0], CLUSTERING_CHUNK_ROWS):
                closest = pairwise_distances_argmin(
                    fused[rows, columns], means[:, columns]
                )
                nearest[rows, v] = clusters[closest]
        return nearest

    def _assign(self, frame: Modalities) -> np.ndarray:
        return predict_labels(self.clusterer_, self.fusion_._fuse(frame))

    def __modality_tags__(self) -> ModalityTags:
        return ModalityTags(sparse=self._takes_sparse(), same_dtype=True)
