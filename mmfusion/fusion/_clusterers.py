"""What the fusion clusterers do with the clusterers of scikit-learn."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from numbers import Integral
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

from mmfusion._accepted_cells import AcceptedCells, accepted_cells
from mmfusion._options import check_estimators
from mmfusion._sklearn_compat import SPARSE_TAGS_ARE_TRUE
from mmfusion._validation import validate_sample_weight
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
        name = _name_of_n_clusters(clusterer)
        if name is None:
            raise ValueError(
                f"n_clusters={n_clusters} was given, but {type(clusterer).__name__} "
                "has no parameter for it; leave n_clusters=None"
            )
        clusterer.set_params(**{name: n_clusters})
    return clusterer if random_state is None else seeded(clusterer, random_state)


def _name_of_n_clusters(clusterer: Any) -> str | None:
    params = clusterer.get_params(deep=True)
    last = f"{clusterer.steps[-1][0]}__" if isinstance(clusterer, Pipeline) else ""
    names = (f"{last}n_clusters", f"{last}n_components")
    return next((p for p in names if p in params), None)


def fit_labels(clusterer: Any, block: Any, params: Mapping[str, Any]) -> np.ndarray:
    """Fit a clusterer, and return labels that its `predict` gives again.

    Where there are fewer distinct points than clusters, several clusters lie on one
    point, and k-means predicts another of them than it has fitted.

    Parameters
    ----------
    clusterer : clusterer
        It is fitted.
    block : ndarray or CSR matrix of shape (n_samples, n_features)
        What to cluster.
    params : dict
        Metadata for its `fit`.

    Returns
    -------
    ndarray of int of shape (n_samples,)
        Clusters; negative ones are noise.

    Raises
    ------
    ValueError
        If the clusterer returns anything else.
    """
    labels = checked_labels(clusterer.fit_predict(block, **params), clusterer, block)
    name = _name_of_n_clusters(clusterer)
    asked = None if name is None else clusterer.get_params(deep=True)[name]
    too_few = isinstance(asked, Integral) and len(np.unique(labels)) < int(asked)
    if too_few and hasattr(clusterer, "predict"):
        return predict_labels(clusterer, block)
    return labels


def predict_labels(clusterer: Any, block: Any) -> np.ndarray:
    """Predict by a fitted clusterer, and check what it returns as `fit_labels` does.

    Parameters
    ----------
    clusterer : clusterer
        A fitted one.
    block : ndarray or CSR matrix of shape (n_samples, n_features)
        The samples.

    Returns
    -------
    ndarray of int of shape (n_samples,)
        Clusters.
    """
    return checked_labels(clusterer.predict(block), clusterer, block)


def checked_labels(labels: Any, clusterer: Any, block: Any) -> np.ndarray:
    """Check what a clusterer returns: one integer for each sample.

    Parameters
    ----------
    labels : array-like of shape (n_samples,)
        What it has returned.
    clusterer : clusterer
        The clusterer, for errors.
    block : ndarray or CSR matrix of shape (n_samples, n_features)
        What it was given.

    Returns
    -------
    ndarray of int of shape (n_samples,)
        The labels.

    Raises
    ------
    ValueError
        If they are not.
    """
    labels = np.asarray(labels)
    is_whole = labels.dtype.kind in "iu" or (
        labels.dtype.kind == "f"
        and bool(np.isfinite(labels).all())
        and np.array_equal(labels, labels.astype(np.intp))
    )
    if labels.shape != (block.shape[0],) or not is_whole:
        raise ValueError(
            f"{type(clusterer).__name__} has returned labels of shape {labels.shape} "
            f"and dtype {labels.dtype} for {block.shape[0]} samples; it needs to "
            "return one integer for each, negative for noise"
        )
    return labels if labels.dtype.kind == "i" else labels.astype(np.intp)


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
    return all(
        get_tags(part).input_tags.sparse
        for part in parts
        if hasattr(part, "__sklearn_tags__")  # else `fit` refuses it, or it has none
    )


def check_clusterers(clusterer: Any) -> None:
    """Refuse what is no clusterer, alone or by name of the branch."""
    check_estimators(
        clusterer,
        "clusterer",
        ["fit_predict"],
        remedy="; to leave the modality out give weights={{{name!r}: 0}}",
    )


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


def weighted_params(
    params: dict[str, Any], frame: Modalities
) -> tuple[np.ndarray | None, dict[str, Any]]:
    """Check the weights of samples among the metadata of `fit`.

    Parameters
    ----------
    params : dict
        The metadata.
    frame : Modalities
        The samples.

    Returns
    -------
    sample_weight : ndarray of shape (n_samples,) or None
        The weights, if any.
    params : dict
        The metadata, with these weights.
    """
    if params.get("sample_weight") is None:
        return None, params
    weight = validate_sample_weight(params["sample_weight"], frame)
    return weight, params | {"sample_weight": weight}


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


def cluster_members(
    labels: np.ndarray, sample_weight: np.ndarray | None = None
) -> tuple[np.ndarray, sparse.csr_array]:
    """Write labels as an indicator matrix.

    Parameters
    ----------
    labels : ndarray of int of shape (n_samples,)
        Clusters; negative ones are none (noise, or a missing modality).
    sample_weight : ndarray of shape (n_samples,), default=None
        Weights of the samples; those of weight 0 are in no cluster.

    Returns
    -------
    clusters : ndarray of int of shape (n_clusters,)
        The sorted labels of the clusters.
    members : CSR array of shape (n_samples, n_clusters)
        The weight of a sample (1 without weights) in the column of its cluster; rows
        of samples in none are empty.
    """
    weight = np.ones(len(labels)) if sample_weight is None else sample_weight
    given = (labels >= 0) & (weight > 0)
    clusters, codes = np.unique(labels[given], return_inverse=True)
    edges = np.concatenate([[0], np.cumsum(given)])
    shape = (len(labels), len(clusters))
    return clusters, sparse.csr_array((weight[given], codes, edges), shape=shape)


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


def adjusted_rand_index(
    first: np.ndarray, second: np.ndarray, sample_weight: np.ndarray | None = None
) -> float:
    """Adjusted Rand index of two clusterings of weighted samples.

    Parameters
    ----------
    first, second : ndarray of int of shape (n_samples,)
        Clusters; negative ones are clusters too.
    sample_weight : ndarray of shape (n_samples,), default=None
        Weights of the samples: how often each counts.

    Returns
    -------
    float
        As of scikit-learn, were samples repeated as often as they count.
    """
    if sample_weight is None:
        return adjusted_rand_score(first, second)
    rows, columns = (np.unique(c, return_inverse=True)[1] for c in (first, second))
    table = sparse.coo_array((sample_weight, (rows, columns))).toarray()
    # ordered pairs of samples, less those of a sample with itself
    itself = float(sample_weight @ np.minimum(sample_weight, 1))
    total = float(sample_weight.sum()) ** 2 - itself
    both = float((table**2).sum()) - itself
    ones, others = (float((table.sum(axis=a) ** 2).sum()) - itself for a in (0, 1))
    expected = ones * others / total if total > 0 else 0.0
    most = (ones + others) / 2
    return (
        1.0
        if most - expected <= 1e-12 * most
        else (both - expected) / (most - expected)
    )


def agreement(
    labels: np.ndarray,
    modality_labels: np.ndarray,
    sample_weight: np.ndarray | None = None,
) -> np.ndarray:
    """Adjusted Rand index of each modality's labels with the fused ones.

    Parameters
    ----------
    labels : ndarray of int of shape (n_samples,)
        Fused labels.
    modality_labels : ndarray of int of shape (n_samples, n_modalities)
        Labels by modality; -1 where there is none.
    sample_weight : ndarray of shape (n_samples,), default=None
        Weights of the samples: how often each counts.

    Returns
    -------
    ndarray of shape (n_modalities,)
        Over the samples with a label; NaN if there is none.
    """
    scores = np.full(modality_labels.shape[1], np.nan)
    for v, own in enumerate(modality_labels.T):
        given = own >= 0
        if given.any():
            weight = None if sample_weight is None else sample_weight[given]
            scores[v] = adjusted_rand_index(labels[given], own[given], weight)
    return scores
