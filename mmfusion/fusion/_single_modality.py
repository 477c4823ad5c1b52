"""Clustering of one modality alone, the baseline of fusion."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Self

import numpy as np
from sklearn.base import BaseEstimator, ClusterMixin
from sklearn.utils.metaestimators import available_if

from mmfusion._blocks import is_sequences
from mmfusion._frame_scaling import fit_frame_scaling, scale_frames
from mmfusion._options import by_modality, errors_name
from mmfusion._row_chunks import by_row_chunks
from mmfusion._scaling import SCALINGS, Scaling
from mmfusion._sklearn_compat import (
    INTEGER,
    HasMethods,
    Interval,
    StrOptions,
    fit_context,
)
from mmfusion._typing import (
    ByModality,
    ColumnSpecLike,
    EstimatorLike,
    ModalitiesLike,
    RandomStateLike,
)
from mmfusion._validation import ModalityTags
from mmfusion.base import PerModalityParams
from mmfusion.fusion._early_clusterer import EarlyFusionClusterer
from mmfusion.fusion._nested_clusterers import (
    FusionClustererMixin,
    clusterer_has,
    fit_labels,
    make_clusterer,
    predict_labels,
)
from mmfusion.fusion._nested_estimators import NestedEstimatorsMixin
from mmfusion.metrics import modality_silhouette_score
from mmfusion.modalities import Modalities
from mmfusion.preprocessing._sequence_layouts import ARRAYS

BEST_MODALITY = "best"


class SingleModalityClusterer(
    NestedEstimatorsMixin, PerModalityParams, ClusterMixin, BaseEstimator
):
    """Clusterer of one modality: a given one, or the best one by its silhouette.

    Of the clusterings of the single modalities v it keeps the one with the largest mean
    silhouette ``(b_v - a_v) / max(a_v, b_v)`` in its own modality, from the distances a
    within and b to the nearest other cluster.

    Parameters
    ----------
    modality : 'best', str or int, default='best'
        Name or position of the modality. 'best' clusters every modality and keeps the
        clustering with the largest silhouette in its own modality.
    clusterer : clusterer or dict, default=None
        Any scikit-learn clusterer, which is cloned, or a dict by modality name. None is
        ``KMeans(n_init=10)``. Sequences need one that reads them, as those of tslearn
        do; see `mmfusion.preprocessing.sequence_layout`.
    n_clusters : int, default=None
        Number of clusters, set on the clusterer in place of its own. None leaves the
        clusterer's own, which is 8 for k-means.
    scaling : {'auto', 'block', 'standard', 'l2'} or None or dict, default='auto'
        Scaling of each modality; see `EarlyFusion`.
    modalities : int, list of int, str or dict, default=None
        Column spec that splits a plain 2-D X; None takes it as one modality. See
        :meth:`Modalities.from_table`.
    random_state : int, RandomState instance or None, default=None
        Set on the clusterer, unless None.

    Attributes
    ----------
    labels_ : ndarray of int of shape (n_samples,)
        Cluster of each sample.
    modality_ : str
        Name of the modality that is clustered.
    silhouettes_ : ndarray of shape (n_modalities,) or None
        Silhouette of each modality's own clustering, of at most 2000 samples; None
        unless ``modality='best'``.
    estimator_ : EarlyFusionClusterer or clusterer
        Fitted clusterer of that modality; for sequences the clusterer itself, which is
        given the scaled sequences.
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
        If there is no such modality; also as `EarlyFusionClusterer` does.

    See Also
    --------
    mmfusion.benchmark.baselines : This one and others.
    EarlyFusionClusterer : Clusters all modalities together.

    Notes
    -----
    Silhouettes of different modalities are compared although they are measured in
    different spaces: the choice needs no classes, and is not always the best one.

    Examples
    --------
    >>> from mmfusion import SingleModalityClusterer
    >>> from mmfusion.datasets import make_multimodal_blobs
    >>> X, y = make_multimodal_blobs(
    ...     n_features={"audio": 5, "video": 5},
    ...     cluster_std={"audio": 9.0, "video": 1.0},
    ...     random_state=0,
    ... )
    >>> clusterer = SingleModalityClusterer(n_clusters=3, random_state=0).fit(X)
    >>> clusterer.modality_
    'video'
    """

    _estimators_param = "clusterer"
    _estimator_methods = ("fit_predict",)
    _kind = None  # mixtures cluster too, and are density estimators
    _frame_scaling: Scaling | None = None  # of a fitted clusterer of sequences
    _make_default_estimator = staticmethod(FusionClustererMixin._make_default_estimator)

    _parameter_constraints: dict = {
        "modality": [str, INTEGER],
        "clusterer": [HasMethods("fit_predict"), dict, None],
        "n_clusters": [Interval(Integral, 1, None, closed="left"), None],
        "scaling": [StrOptions(set(SCALINGS)), None, dict],
        "modalities": ["array-like", str, dict, INTEGER, None],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        modality: str | int = BEST_MODALITY,
        *,
        clusterer: EstimatorLike = None,
        n_clusters: int | None = None,
        scaling: ByModality[str | None] = "auto",
        modalities: ColumnSpecLike = None,
        random_state: RandomStateLike = None,
    ) -> None:
        self.modality = modality
        self.clusterer = clusterer
        self.n_clusters = n_clusters
        self.scaling = scaling
        self.modalities = modalities
        self.random_state = random_state

    @fit_context(prefer_skip_nested_validation=False)
    def fit(self, X: ModalitiesLike, y: object = None) -> Self:
        """Cluster the given modality, or every one to choose the best.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The data; see the user guide on input.
        y : object, default=None
            Not used.

        Returns
        -------
        self
            The fitted clusterer.
        """
        self._check_parameters()
        frame = self._validate(X, reset=True)
        scalings = by_modality(self.scaling, frame.names, "scaling", "auto", SCALINGS)
        templates = self._choose_by_modality(frame.names)
        if self.modality == BEST_MODALITY:
            fitted = [
                self._cluster(frame[[name]], scaling, template)
                for name, scaling, template in zip(
                    frame.names, scalings, templates, strict=True
                )
            ]
            self.silhouettes_ = np.array(
                [
                    modality_silhouette_score(
                        frame[[name]], own.labels, scaling=own.scaling
                    )
                    for name, own in zip(frame.names, fitted, strict=True)
                ]
            )
            v = int(np.argmax(self.silhouettes_))
            chosen = fitted[v]
        else:
            self.silhouettes_ = None  # type: ignore[assignment]
            v = _position_of(self.modality, frame.names)
            chosen = self._cluster(frame[:, [v]], scalings[v], templates[v])
        self.modality_ = frame.names[v]
        self.estimator_, self.labels_ = chosen.estimator, chosen.labels
        self._frame_scaling = chosen.frame_scaling
        return self

    def _cluster(
        self, frame: Modalities, scaling: str | None, template: BaseEstimator | None
    ) -> _Clustering:
        block = frame.blocks[0]
        if not is_sequences(block):
            estimator = EarlyFusionClusterer(
                template,
                n_clusters=self.n_clusters,
                scaling=scaling,
                random_state=self.random_state,
            ).fit(frame)
            name = estimator.fusion_.scaling_[frame.names[0]]
            return _Clustering(estimator, estimator.labels_, name)
        scaling = "block" if scaling == "auto" else scaling
        fitted = fit_frame_scaling(block, scaling)
        clusterer = make_clusterer(template, self.n_clusters, self.random_state)
        with errors_name(frame.names[0]):
            labels = fit_labels(clusterer, scale_frames(fitted, block), {})
        return _Clustering(clusterer, labels, scaling, fitted)

    @available_if(clusterer_has("predict"))
    @by_row_chunks
    def predict(self, X: ModalitiesLike) -> np.ndarray:
        """Predict the cluster of new samples, if the clusterer has ``predict``.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The data.

        Returns
        -------
        ndarray of int of shape (n_samples,)
            Cluster of each sample.
        """
        frame = self._validate(X, reset=False)
        own = frame[:, [self._layout.names.index(self.modality_)]]
        if self._frame_scaling is None:
            return self.estimator_.predict(own)
        scaled = scale_frames(self._frame_scaling, own.blocks[0])
        return predict_labels(self.estimator_, scaled)

    def _sequence_layout(self, modality: str) -> str | None:
        # what is not clustered may take any form
        if isinstance(self.modality, str) and self.modality not in (
            BEST_MODALITY,
            modality,
        ):
            return ARRAYS
        return super()._sequence_layout(modality)

    def __modality_tags__(self) -> ModalityTags:
        return ModalityTags(
            sparse=self._takes_sparse(),
            same_dtype=True,
            sequence_layout=self._sequence_layout,
        )


@dataclass(frozen=True)
class _Clustering:
    """The clustering of one modality."""

    estimator: BaseEstimator  # EarlyFusionClusterer, or the clusterer of sequences
    labels: np.ndarray
    scaling: str | None
    frame_scaling: Scaling | None = None


def _position_of(modality: str | int, names: Sequence[str]) -> int:
    if isinstance(modality, str):
        if modality in names:
            return list(names).index(modality)
    elif -len(names) <= modality < len(names):
        return int(modality) % len(names)
    raise ValueError(
        f"modality={modality!r}, but the {len(names)} modalities are {list(names)}; "
        "give one of these, its position, or 'best'"
    )
