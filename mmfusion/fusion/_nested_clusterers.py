"""Base of the fusion clusterers, and helpers for the clusterers nested in them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from inspect import Parameter, signature
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn import get_config
from sklearn.base import BaseEstimator, clone
from sklearn.cluster import KMeans
from sklearn.pipeline import Pipeline
from sklearn.utils.metadata_routing import (
    MetadataRouter,
    MethodMapping,
    process_routing,
)
from sklearn.utils.metaestimators import available_if

from mmfusion._progress import with_callbacks_of
from mmfusion._row_chunks import by_row_chunks
from mmfusion._target_checks import validate_sample_weight
from mmfusion._typing import (
    EstimatorLike,
    ModalitiesLike,
    NumericBlock,
    RandomStateLike,
)
from mmfusion.fusion._nested_estimators import (
    NestedEstimatorsMixin,
    seed_parameters,
    seeded,
)
from mmfusion.metrics import modality_silhouette_score
from mmfusion.modalities import Modalities
from mmfusion.preprocessing._sequence_layouts import as_read_by


def make_clusterer(
    template: BaseEstimator,
    n_clusters: int | None,
    random_state: RandomStateLike,
) -> BaseEstimator:
    """Clone a clusterer, and set its number of clusters and its seed.

    Parameters
    ----------
    template : clusterer
        Unfitted clusterer.
    n_clusters : int or None
        Value of ``n_clusters`` or ``n_components``, of the last step of a Pipeline;
        None leaves the clusterer's own.
    random_state : int, RandomState instance or None
        Value of every random_state parameter; None leaves the clusterer's own.

    Returns
    -------
    clusterer
        Unfitted clone.

    Raises
    ------
    ValueError
        If the clusterer has no parameter for the number of clusters.
    """
    clusterer = clone(template)
    if n_clusters is not None:
        name = _name_of_n_clusters(clusterer)
        if name is None:
            raise ValueError(
                f"n_clusters={n_clusters} was given, but {type(clusterer).__name__} "
                "has no parameter for it; leave n_clusters=None"
            )
        clusterer.set_params(**{name: n_clusters})
    return clusterer if random_state is None else seeded(clusterer, random_state)


def make_clusterers(
    template: BaseEstimator,
    n_clusters: int | None,
    n_runs: int,
    rng: np.random.RandomState,
) -> list[BaseEstimator]:
    """Make one clusterer per run, each with a seed of its own.

    Parameters
    ----------
    template : clusterer
        Unfitted clusterer.
    n_clusters : int or None
        Value of the parameter for the number of clusters; None leaves the clusterer's.
    n_runs : int
        Number of runs.
    rng : RandomState instance
        Generator of the seeds.

    Returns
    -------
    list of clusterer
        Unfitted clusterers; only one if it has no random_state.
    """
    first = make_clusterer(template, n_clusters, None)
    if not seed_parameters(first):
        return [first]
    seeds = rng.randint(np.iinfo(np.int32).max, size=n_runs)
    return [seeded(clone(first), int(seed)) for seed in seeds]


def n_runs_of(clusterer: BaseEstimator, n_runs: int) -> int:
    """Return the number of runs of a clusterer: 1 if they would all be the same.

    Parameters
    ----------
    clusterer : clusterer
        Unfitted clusterer.
    n_runs : int
        Number of runs with different seeds.

    Returns
    -------
    int
        The number.
    """
    return n_runs if seed_parameters(clusterer) else 1


def _name_of_n_clusters(clusterer: BaseEstimator) -> str | None:
    params = clusterer.get_params(deep=True)
    last = f"{clusterer.steps[-1][0]}__" if isinstance(clusterer, Pipeline) else ""
    # mixtures have components
    names = (f"{last}n_clusters", f"{last}n_components")
    return next((p for p in names if p in params), None)


@dataclass
class ClustererRun:
    """A fitted base clusterer and the sorted labels of its clusters."""

    clusterer: BaseEstimator
    clusters: np.ndarray

    def codes(self, labels: np.ndarray) -> np.ndarray:
        """Number labels from 0; -1 for noise, and for clusters without weight."""
        is_cluster = np.isin(labels, self.clusters)
        codes = np.where(is_cluster, np.searchsorted(self.clusters, labels), -1)
        # one for every sample and run: the smallest dtype that holds them
        return codes.astype(np.min_scalar_type(-len(self.clusters) - 1))

    def memberships(self, scaled: NumericBlock, codes: np.ndarray) -> np.ndarray:
        """Return soft memberships, or labels as rows of 0 and 1 without any."""
        if len(codes) and hasattr(self.clusterer, "predict_proba"):
            read = as_read_by(self.clusterer, scaled)
            return self.clusterer.predict_proba(read)[:, self.clusters]
        return (codes[:, None] == np.arange(len(self.clusters))).astype(float)


def fit_labels(
    clusterer: BaseEstimator, block: NumericBlock, params: Mapping[str, Any]
) -> np.ndarray:
    """Fit a clusterer, and return labels that its `predict` repeats.

    Where there are fewer distinct points than clusters, several clusters lie on one
    point, and the `predict` of k-means returns another of them than its `fit_predict`.

    Parameters
    ----------
    clusterer : clusterer
        Unfitted clusterer, which is fitted.
    block : ndarray or CSR matrix of shape (n_samples, n_features)
        Samples to cluster.
    params : dict
        Metadata for its `fit`.

    Returns
    -------
    ndarray of int of shape (n_samples,)
        Clusters; negative ones are noise.

    Raises
    ------
    ValueError
        If the clusterer does not return one integer for each sample.
    """
    read = as_read_by(clusterer, block)
    labels = checked_labels(_fitted_labels(clusterer, read, params), clusterer, block)
    name = _name_of_n_clusters(clusterer)
    wanted = None if name is None else clusterer.get_params(deep=True)[name]
    too_few = isinstance(wanted, Integral) and len(np.unique(labels)) < int(wanted)
    if too_few and hasattr(clusterer, "predict"):
        return predict_labels(clusterer, block)
    return labels


def _fitted_labels(
    clusterer: BaseEstimator, read: Any, params: Mapping[str, Any]
) -> ArrayLike:
    """Fit a clusterer, some of which take metadata in `fit` only."""
    accepted = signature(clusterer.fit_predict).parameters.values()
    takes_any = any(parameter.kind is Parameter.VAR_KEYWORD for parameter in accepted)
    if takes_any or set(params) <= {parameter.name for parameter in accepted}:
        return clusterer.fit_predict(read, **params)
    return clusterer.fit(read, **params).labels_


def fit_run(
    clusterer: BaseEstimator,
    title: str,
    block: NumericBlock,
    params: Mapping[str, Any],
    sample_weight: np.ndarray | None,
    task: Any = None,
) -> tuple[ClustererRun, np.ndarray]:
    """Fit a base clusterer, and number its clusters.

    Parameters
    ----------
    clusterer : clusterer
        Unfitted clusterer, which is fitted.
    title : str
        Its modality or branch, for errors.
    block : ndarray or CSR matrix of shape (n_samples, n_features)
        Samples to cluster.
    params : dict
        Metadata for its `fit`.
    sample_weight : ndarray of shape (n_samples,) or None
        Weights of the samples; those of weight 0 make no cluster.
    task : CallbackContext, default=None
        The step that the fit is, whose callbacks the clusterer has.

    Returns
    -------
    run : ClustererRun
        The fitted clusterer and its clusters.
    codes : ndarray of int of shape (n_samples,)
        Number of each sample's cluster; -1 for none.
    """
    try:
        with with_callbacks_of(task, clusterer):
            labels = fit_labels(clusterer, block, params)
    except (TypeError, ValueError) as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"{title}: {error}") from error
    is_member = labels >= 0
    if sample_weight is not None:
        is_member &= sample_weight > 0
    run = ClustererRun(clusterer, np.unique(labels[is_member]))
    return run, run.codes(labels)


def predict_labels(clusterer: BaseEstimator, block: NumericBlock) -> np.ndarray:
    """Predict by a fitted clusterer, and check the labels as `fit_labels` does.

    Parameters
    ----------
    clusterer : clusterer
        Fitted clusterer.
    block : ndarray or CSR matrix of shape (n_samples, n_features)
        Samples.

    Returns
    -------
    ndarray of int of shape (n_samples,)
        Clusters; negative ones are noise.
    """
    labels = clusterer.predict(as_read_by(clusterer, block))
    return checked_labels(labels, clusterer, block)


def checked_labels(
    labels: ArrayLike, clusterer: BaseEstimator, block: NumericBlock
) -> np.ndarray:
    """Check that a clusterer has returned one integer for each sample.

    Parameters
    ----------
    labels : array-like of shape (n_samples,)
        Labels that it has returned.
    clusterer : clusterer
        The clusterer, for the error.
    block : ndarray or CSR matrix of shape (n_samples, n_features)
        Samples that it has clustered.

    Returns
    -------
    ndarray of int of shape (n_samples,)
        The labels.

    Raises
    ------
    ValueError
        If they have another shape, or are not integers.
    """
    labels = np.asarray(labels)
    # some clusterers return integers as floats
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


def clusterer_has(method: str) -> Callable[[NestedEstimatorsMixin], bool]:
    """Return a check for ``available_if``: whether the clusterers have a method.

    Parameters
    ----------
    method : str
        Name of the method.

    Returns
    -------
    callable
        Check of a fusion clusterer, which raises the reason.
    """

    def check(estimator: NestedEstimatorsMixin) -> bool:
        for template in estimator._templates().values():
            if not hasattr(template, method):
                raise AttributeError(
                    f"{type(template).__name__} has no {method}: it assigns the "
                    "samples of fit only. Use fit_predict or labels_; in a search "
                    "cv=WholeDataSplit() and scoring=labels_scorer(...) of "
                    "mmfusion.metrics"
                )
        return True

    return check


class FusionClustererMixin(NestedEstimatorsMixin):
    """Base of fusion estimators with the parameter ``clusterer``.

    Subclasses define ``_assign``, which returns the clusters of the samples of a
    checked frame.
    """

    _estimators_param = "clusterer"
    _estimator_methods = ("fit_predict",)
    _kind = None  # mixtures cluster too, and are density estimators
    _make_default_estimator: Callable[[], BaseEstimator] = staticmethod(
        partial(KMeans, n_init=10)
    )

    clusterer: EstimatorLike
    _assign: Callable[[Modalities], np.ndarray]

    @available_if(clusterer_has("predict"))
    @by_row_chunks
    def predict(self, X: ModalitiesLike) -> np.ndarray:
        """Predict the cluster of new samples, if the clusterers have ``predict``.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The data.

        Returns
        -------
        ndarray of int of shape (n_samples,)
            Cluster of each sample.
        """
        return self._assign(self._validate(X, reset=False))

    @available_if(clusterer_has("predict"))
    def score(self, X: ModalitiesLike, y: object = None) -> float:
        """Score the predicted clusters by their silhouette, without classes.

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
        # in the space of the modalities, which no parameter changes
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
        for name, template in self._templates().items():
            router.add(**{name: template}, method_mapping=mapping)
        return router


def weighted_params(
    params: dict[str, Any], frame: Modalities
) -> tuple[np.ndarray | None, dict[str, Any]]:
    """Check the sample weights among the metadata of `fit`.

    Parameters
    ----------
    params : dict
        Metadata given to `fit`.
    frame : Modalities
        Samples.

    Returns
    -------
    sample_weight : ndarray of shape (n_samples,) or None
        Weights of the samples; None without any.
    params : dict
        Metadata with the checked weights.
    """
    if params.get("sample_weight") is None:
        return None, params
    weight = validate_sample_weight(params["sample_weight"], frame)
    return weight, params | {"sample_weight": weight}


def routed_fit_params(
    estimator: FusionClustererMixin, params: dict[str, Any], branch: str | None = None
) -> dict[str, Any]:
    """Select the metadata for the `fit` of a nested clusterer.

    Parameters
    ----------
    estimator : estimator
        A fusion clusterer.
    params : dict
        Metadata given to its `fit`.
    branch : str, default=None
        Name of the branch of the clusterer, where clusterers are given by name.

    Returns
    -------
    dict
        Metadata that it requests; all of it if metadata routing is not enabled.
    """
    if not params or not get_config()["enable_metadata_routing"]:
        return params
    steps = process_routing(estimator, "fit", **params)
    step = branch if isinstance(estimator.clusterer, Mapping) else "clusterer"
    return dict(steps[step].fit) if step in steps else {}
