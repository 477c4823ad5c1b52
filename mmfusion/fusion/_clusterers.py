"""What the fusion clusterers do with the clusterers of scikit-learn."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
from scipy import sparse
from sklearn import get_config
from sklearn.base import clone
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score
from sklearn.pipeline import Pipeline
from sklearn.utils import gen_batches, get_tags
from sklearn.utils.metadata_routing import (
    MetadataRouter,
    MethodMapping,
    process_routing,
)
from sklearn.utils.metaestimators import available_if

from mmfusion._sklearn_compat import SPARSE_TAGS_ARE_TRUE
from mmfusion.fusion._accepted_cells import AcceptedCells, accepted_cells
from mmfusion.metrics import modality_silhouette_score
from mmfusion.modalities import Modalities

CHUNK_ROWS = 2**15


def make_clusterer(
    template: Any, n_clusters: int | None, random_state: Any, n_init: int = 10
) -> Any:
    """Clone a clusterer and set what the fusion clusterer was told to pass down.

    Parameters
    ----------
    template : clusterer or None
        None is k-means with `n_init` restarts.
    n_clusters : int or None
        Set as ``n_clusters`` or ``n_components``, of the last step of a Pipeline,
        unless None.
    random_state : int, RandomState instance or None
        Set wherever the clusterer has such a parameter, unless None.
    n_init : int, default=10
        Restarts of the default clusterer.

    Returns
    -------
    clusterer
        A new one.

    Raises
    ------
    ValueError
        If the clusterer has no parameter for the number of clusters.
    """
    clusterer = KMeans(n_init=n_init) if template is None else clone(template)
    if n_clusters is not None:
        params = clusterer.get_params(deep=True)
        last = f"{clusterer.steps[-1][0]}__" if isinstance(clusterer, Pipeline) else ""
        names = (f"{last}n_clusters", f"{last}n_components")
        name = next((p for p in names if p in params), None)
        if name is None:
            raise ValueError(
                f"n_clusters={n_clusters} was given, but {type(clusterer).__name__} "
                "has no parameter for it; leave n_clusters=None"
            )
        clusterer.set_params(**{name: n_clusters})
    return clusterer if random_state is None else seeded(clusterer, random_state)


def random_states(clusterer: Any) -> list[str]:
    """List the parameters of a clusterer, and of what is nested in it, that seed.

    Parameters
    ----------
    clusterer : clusterer
        The clusterer.

    Returns
    -------
    list of str
        Their names.
    """
    names = clusterer.get_params(deep=True)
    return [n for n in names if n == "random_state" or n.endswith("__random_state")]


def seeded(clusterer: Any, random_state: Any) -> Any:
    """Set all that seeds a clusterer.

    Parameters
    ----------
    clusterer : clusterer
        It is changed.
    random_state : int or RandomState instance
        The seed.

    Returns
    -------
    clusterer
        The same.
    """
    return clusterer.set_params(**dict.fromkeys(random_states(clusterer), random_state))


def take_sparse(estimator: Any) -> bool:
    """Tell whether the clusterers of a fusion clusterer take sparse matrices.

    Parameters
    ----------
    estimator : estimator
        A fusion clusterer with the parameter ``clusterer``.

    Returns
    -------
    bool
        True if all do, as far as their tags can be believed.
    """
    return all_take_sparse(_given(estimator).values())


def all_take_sparse(parts: Iterable[Any]) -> bool:
    """Tell whether estimators take sparse matrices.

    Parameters
    ----------
    parts : iterable of estimator
        Of which an estimator consists.

    Returns
    -------
    bool
        True if all do, as far as their tags can be believed.
    """
    if not SPARSE_TAGS_ARE_TRUE:
        return True
    return all(get_tags(part).input_tags.sparse for part in parts)


def _given(estimator: Any) -> dict[str, Any]:
    """Name the clusterers that a fusion clusterer was given, unfitted."""
    chosen = estimator.clusterer
    by_name = chosen if isinstance(chosen, Mapping) else {"clusterer": chosen}
    return {n: KMeans() if part is None else part for n, part in by_name.items()}


def accepted_by(estimator: Any, name: str) -> AcceptedCells:
    """Return which cells the clusterer of a branch takes beside finite numbers.

    Parameters
    ----------
    estimator : estimator
        A fusion clusterer with the parameter ``clusterer``.
    name : str
        Name of the branch.

    Returns
    -------
    AcceptedCells
        What it takes.
    """
    given = _given(estimator)
    return accepted_cells(given.get(name, given.get("clusterer", KMeans())))


def clusterer_has(method: str) -> Callable[[Any], bool]:
    """Tell whether the clusterers of a fusion clusterer have a method, or why not.

    Parameters
    ----------
    method : str
        Name of the method.

    Returns
    -------
    callable
        For ``available_if``.
    """

    def check(estimator: Any) -> bool:
        for part in _given(estimator).values():
            if not hasattr(part, method):
                raise AttributeError(
                    f"{type(part).__name__} has no {method}: it only knows the samples "
                    "of fit. Use fit_predict or labels_; in a search "
                    "cv=WholeDataSplit() and scoring=labels_scorer(...) of "
                    "mmfusion.metrics"
                )
        return True

    return check


class FusionClustererMixin:
    """What early and late fusion do alike with their parameter ``clusterer``.

    The estimator has a method ``_assign``, which gives the clusters of a frame that
    `ModalityMixin._validate` has checked.
    """

    clusterer: Any
    _assign: Callable[[Modalities], np.ndarray]
    _validate: Callable[..., Modalities]

    @available_if(clusterer_has("predict"))
    def predict(self, X: Any) -> np.ndarray:
        """Tell the cluster of new samples, if the clusterers can.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The data.

        Returns
        -------
        ndarray of int of shape (n_samples,)
            Clusters.
        """
        return self._assign(self._validate(X, reset=False))

    @available_if(clusterer_has("predict"))
    def score(self, X: Any, y: Any = None) -> float:
        """Score the clusters of samples without classes.

        Unlike a clusterer's own score it can be compared across weights, scalings
        and numbers of clusters, as a search does.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The data.
        y : object, default=None
            Not used.

        Returns
        -------
        float
            Mean silhouette over the modalities, of at most 2000 samples.
        """
        frame = self._validate(X, reset=False)
        return modality_silhouette_score(frame, self._assign(frame))

    def get_metadata_routing(self) -> MetadataRouter:
        """Get the metadata that the clusterers request.

        Returns
        -------
        MetadataRouter
            The routing of `fit` to the clusterers' `fit`.
        """
        router = MetadataRouter(owner=type(self).__name__)
        mapping = MethodMapping().add(caller="fit", callee="fit")
        for name, part in _given(self).items():
            router.add(**{name: part}, method_mapping=mapping)
        return router


def routed_fit_params(
    estimator: Any, params: dict[str, Any], modality: str | None = None
) -> dict[str, Any]:
    """Resolve what a clusterer's `fit` gets.

    Parameters
    ----------
    estimator : estimator
        A fusion clusterer.
    params : dict
        Metadata given to its `fit`.
    modality : str, default=None
        Whose clusterer is meant, where a dict gives them by modality.

    Returns
    -------
    dict
        What was requested; all of it if metadata routing is not enabled.
    """
    if not params or not get_config()["enable_metadata_routing"]:
        return params
    steps = process_routing(estimator, "fit", **params)
    step = modality if isinstance(estimator.clusterer, Mapping) else "clusterer"
    return dict(steps[step].fit) if step in steps else {}


def cluster_members(labels: np.ndarray) -> tuple[np.ndarray, sparse.csr_array]:
    """Write labels as an indicator matrix.

    Parameters
    ----------
    labels : ndarray of int of shape (n_samples,)
        Clusters; negative ones are none (noise, or a missing modality).

    Returns
    -------
    clusters : ndarray of int of shape (n_clusters,)
        The sorted labels of the clusters.
    members : CSR array of shape (n_samples, n_clusters)
        1 where a sample is in a cluster; rows of samples in none are empty.
    """
    given = labels >= 0
    clusters, codes = np.unique(labels[given], return_inverse=True)
    edges = np.concatenate([[0], np.cumsum(given)])
    shape = (len(labels), len(clusters))
    return clusters, sparse.csr_array((np.ones(len(codes)), codes, edges), shape=shape)


def cluster_sums(block: Any, members: sparse.csr_array) -> np.ndarray:
    """Sum the rows of each cluster, chunk by chunk: no copy of the block is made.

    Parameters
    ----------
    block : ndarray or CSR matrix of shape (n_samples, n_features)
        The rows.
    members : CSR array of shape (n_samples, n_clusters)
        As from `cluster_members`.

    Returns
    -------
    ndarray of shape (n_clusters, n_features)
        The sums.
    """
    sums = np.zeros((members.shape[1], block.shape[1]))
    for rows in gen_batches(block.shape[0], CHUNK_ROWS):
        part = members[rows].T @ block[rows]
        sums += part.toarray() if sparse.issparse(part) else part
    return sums


def agreement(labels: np.ndarray, modality_labels: np.ndarray) -> np.ndarray:
    """Adjusted Rand index of each modality's labels with the fused ones.

    Parameters
    ----------
    labels : ndarray of int of shape (n_samples,)
        Fused labels.
    modality_labels : ndarray of int of shape (n_samples, n_modalities)
        Labels by modality; -1 where there is none.

    Returns
    -------
    ndarray of shape (n_modalities,)
        Over the samples with a label; NaN if there is none.
    """
    scores = np.full(modality_labels.shape[1], np.nan)
    for v, own in enumerate(modality_labels.T):
        given = own >= 0
        if given.any():
            scores[v] = adjusted_rand_score(labels[given], own[given])
    return scores
