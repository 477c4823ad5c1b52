"""Early fusion: scale every modality, put them side by side, then decide."""

from __future__ import annotations

from numbers import Integral
from typing import Any, Self

import numpy as np
from scipy import sparse
from sklearn import get_config
from sklearn.base import BaseEstimator, ClusterMixin, TransformerMixin
from sklearn.metrics import pairwise_distances_argmin
from sklearn.utils import gen_batches
from sklearn.utils.metadata_routing import get_routing_for_object
from sklearn.utils.validation import check_is_fitted, has_fit_parameter

from mmfusion._blocks import column_slices, of_samples
from mmfusion._columns import SEPARATOR
from mmfusion._options import (
    by_modality,
    check_estimators,
    errors_name,
    weights_by_modality,
)
from mmfusion._row_labels import check_row_labels
from mmfusion._scaling import SCALINGS, fit_scalings
from mmfusion._sklearn_compat import (
    INTEGER,
    HasMethods,
    Interval,
    StrOptions,
    fit_context,
)
from mmfusion._validation import ModalityTags, validate_sample_weight
from mmfusion.base import ModalityMixin, PerModalityParams
from mmfusion.fusion._clusterers import (
    CHUNK_ROWS,
    FusionClustererMixin,
    agreement,
    check_clusterers,
    cluster_members,
    cluster_sums,
    fit_labels,
    make_clusterer,
    predict_labels,
    routed_fit_params,
    take_sparse,
    weighted_params,
)
from mmfusion.modalities import Modalities
from mmfusion.preprocessing._inner import checked_matrix, names_out


class EarlyFusion(PerModalityParams, ModalityMixin, TransformerMixin, BaseEstimator):
    """Fuse modalities into one matrix: scale each, reduce each, concatenate.

    How the blocks are scaled decides what a distance in the fused matrix means: with
    per-feature standardisation a modality of 1000 features drowns one of 10.

    Parameters
    ----------
    scaling : {'auto', 'block', 'standard', 'l2'} or None or dict, default='auto'
        How each modality is scaled; a dict gives it by modality name ('auto' for
        those it does not name).

        - 'standard': every feature has mean 0 and variance 1;
        - 'block': the same, divided by the square root of the number of features
          that vary, so that the variance of a modality is 1 whatever its width;
        - 'l2': every row has unit length;
        - None: as it is;
        - 'auto': 'l2' for counts and their like, 'block' for other modalities, told
          from the values alone; the user guide has the rule and how it fares.

        Sparse modalities are not centred.
    reducer : transformer or dict, default=None
        Reduces each scaled modality, for example ``PCA(10)``: one transformer that
        is cloned, or a dict by modality name; modalities without one are kept whole.
    weights : array-like of shape (n_modalities,) or dict, default=None
        Factor of each modality's block, as the ``transformer_weights`` of a
        FeatureUnion; squared, it weighs the modality in squared distances. None
        is 1 for all. A modality of weight 0 is left out.
    modalities : int, list of int, str or dict, default=None
        Column spec that splits a plain 2-D X; None takes it as one modality. See
        :meth:`Modalities.from_table`.

    Attributes
    ----------
    scales_ : dict of str to str
        The scaling of each modality; 'auto' is resolved. Like the next two without
        modalities of weight 0.
    reducers_ : dict of str to transformer
        The fitted reducers by modality; empty without any.
    columns_ : dict of str to slice
        Columns of the fused matrix by modality.
    modality_weights_ : ndarray of shape (n_modalities,)
        The weights.
    n_modalities_in_ : int
        Number of modalities seen in `fit`.
    modality_names_in_ : ndarray of str of shape (n_modalities,)
        Their names.
    n_features_per_modality_in_ : ndarray of int of shape (n_modalities,)
        Their numbers of features.
    n_features_in_ : int
        Number of features in all.
    feature_names_in_ : ndarray of str of shape (`n_features_in_`,)
        Names ``<modality>__<feature>``, if the input had names.

    Raises
    ------
    ValueError
        If a sample lacks a modality (fill it with ModalityImputer), a cell is NaN
        or infinite, or later input has other modalities or widths than `fit` saw.

    See Also
    --------
    EarlyFusionClusterer : Clusters the fused matrix.
    LateFusionClusterer : Clusters each modality, then finds a consensus.

    Notes
    -----
    The result is dense unless a modality is sparse. For dense float data and without
    a reducer no array of the size of the data is made apart from the result.

    Examples
    --------
    >>> import numpy as np
    >>> from mmfusion import EarlyFusion, Modalities
    >>> rng = np.random.default_rng(0)
    >>> X = Modalities({"audio": rng.normal(size=(6, 2)),
    ...                 "text": rng.poisson(0.3, size=(6, 8))})
    >>> fusion = EarlyFusion().fit(X)
    >>> fusion.scales_
    {'audio': 'block', 'text': 'l2'}
    >>> fusion.transform(X).shape
    (6, 10)
    """

    _estimators_param = "reducer"

    _parameter_constraints: dict = {
        "scaling": [StrOptions(set(SCALINGS)), None, dict],
        "reducer": [HasMethods(["fit", "transform"]), dict, None],
        "weights": ["array-like", dict, None],
        "modalities": ["array-like", str, dict, INTEGER, None],
    }

    def __init__(
        self,
        scaling: Any = "auto",
        *,
        reducer: Any = None,
        weights: Any = None,
        modalities: Any = None,
    ) -> None:
        self.scaling = scaling
        self.reducer = reducer
        self.weights = weights
        self.modalities = modalities

    @fit_context(prefer_skip_nested_validation=False)
    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Learn the scaling and the reducers.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The data; see the user guide on input.
        y : object, default=None
            Handed to the reducers; the scaling does not look at it.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the samples in the scaling; reducers get them if their `fit`
            takes any. A sample of weight 0 is left out.

        Returns
        -------
        self
            The fitted transformer.
        """
        check_reducers(self.reducer)
        frame = self._validate(X, reset=True)
        check_row_labels(frame._index, y, "y")
        if sample_weight is not None:
            sample_weight = validate_sample_weight(sample_weight, frame)
        return self._fit_checked(frame, y, sample_weight)

    def _fit_checked(self, frame: Modalities, y: Any, sample_weight: Any) -> Self:
        """Fit on a frame that has been checked, and has set the layout or need not."""
        names = frame.names
        if sample_weight is not None and not sample_weight.all():
            counted = sample_weight > 0
            frame, sample_weight = frame[counted], sample_weight[counted]
            y = None if y is None else of_samples(y, counted)
        self.modality_weights_ = weights_by_modality(self.weights, names)
        hows = by_modality(self.scaling, names, "scaling", "auto", SCALINGS)
        reducers = self._clone_by_modality(names)
        kept = np.flatnonzero(self.modality_weights_).tolist()
        scalings = fit_scalings(
            [frame.blocks[v] for v in kept], [hows[v] for v in kept], sample_weight
        )
        self._scalings = dict(zip(kept, scalings, strict=True))
        self.scales_ = {names[v]: s.how for v, s in self._scalings.items()}
        self.reducers_ = {
            names[v]: _fit_reducer(
                reducers[v], scaling.apply(frame.blocks[v]), y, sample_weight, names[v]
            )
            for v, scaling in self._scalings.items()
            if reducers[v] is not None
        }
        widths = [self._piece(frame[:1], v).shape[1] for v in kept]
        self.columns_ = {
            names[v]: c for v, c in zip(kept, column_slices(widths), strict=True)
        }
        return self

    def transform(self, X: Any) -> Any:
        """Fuse data.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The data.

        Returns
        -------
        ndarray or CSR matrix of shape (n_samples, n_features_out)
            The fused matrix.
        """
        return self._fuse(self._validate(X, reset=False))

    def _fuse(self, frame: Modalities) -> Any:
        """Fuse a frame that has been checked."""
        kept = np.flatnonzero(self.modality_weights_).tolist()
        if self.reducers_ or any(sparse.issparse(frame.blocks[v]) for v in kept):
            pieces = [self._piece(frame, v) for v in kept]
            if any(map(sparse.issparse, pieces)):
                return sparse.hstack(pieces, format="csr")
            return np.hstack(pieces)
        columns = list(self.columns_.values())
        dtype = np.result_type(*(frame.blocks[v].dtype for v in kept))
        fused = np.empty((len(frame), columns[-1].stop), dtype=dtype)
        for v, c in zip(kept, columns, strict=True):
            with errors_name(frame.names[v]):
                self._scalings[v].apply(
                    frame.blocks[v], self.modality_weights_[v], out=fused[:, c]
                )
        return fused

    def _piece(self, frame: Modalities, v: int) -> Any:
        name, weight = frame.names[v], float(self.modality_weights_[v])
        with errors_name(name):
            if name not in self.reducers_:
                return self._scalings[v].apply(frame.blocks[v], weight)
            scaled = self._scalings[v].apply(frame.blocks[v])
            reducer = self.reducers_[name]
            reduced = checked_matrix(reducer.transform(scaled), scaled, reducer, name)
            return reduced * weight  # a NumPy float would widen float32

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Name the columns of the fused matrix.

        Parameters
        ----------
        input_features : array-like of str of shape (`n_features_in_`,), default=None
            Names of the input's features, checked against those of `fit`, if it saw
            any.

        Returns
        -------
        ndarray of str
            ``<modality>__<feature>`` for every column.
        """
        check_is_fitted(self)
        names_in = self._names_in(input_features)
        names: list[str] = []
        for v in np.flatnonzero(self.modality_weights_):
            modality = self._layout.names[v]
            if modality in self.reducers_:
                prefix = modality + SEPARATOR
                own = [name.removeprefix(prefix) for name in names_in[v]]
                reducer = self.reducers_[modality]
                reduced = names_out(reducer, np.array(own, dtype=object), modality)
                names += [prefix + name for name in reduced]
            else:
                names += names_in[v].tolist()
        return np.array(names, dtype=object)

    def __modality_tags__(self) -> ModalityTags:
        return ModalityTags(sparse=True)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


def check_reducers(reducer: Any) -> None:
    """Refuse what is no transformer, alone or by name of the modality."""
    check_estimators(
        reducer,
        "reducer",
        ["fit", "transform"],
        remedy=", or None; to leave the modality out give weights={{{name!r}: 0}}",
    )


def _fit_reducer(
    reducer: Any, block: Any, y: Any, sample_weight: Any, name: str
) -> Any:
    takes_weights = has_fit_parameter(reducer, "sample_weight")
    if get_config()["enable_metadata_routing"]:
        takes_weights = get_routing_for_object(reducer).consumes(
            "fit", ["sample_weight"]
        )
    weighted = sample_weight is not None and takes_weights
    params = {"sample_weight": sample_weight} if weighted else {}
    with errors_name(name):
        return reducer.fit(block, y, **params)


class EarlyFusionClusterer(
    FusionClustererMixin, ModalityMixin, ClusterMixin, BaseEstimator
):
    """Cluster the concatenation of scaled modalities.

    Parameters
    ----------
    clusterer : clusterer, default=None
        Any scikit-learn clusterer; it is cloned. None is ``KMeans(n_init=10)``; to
        search over parameters such as ``clusterer__n_init`` give one.
    n_clusters : int, default=None
        Number of clusters, set on the clusterer in place of its own. None leaves the
        clusterer's own, which is 8 for k-means.
    scaling : {'auto', 'block', 'standard', 'l2'} or None or dict, default='auto'
        How each modality is scaled; see `EarlyFusion`.
    reducer : transformer or dict, default=None
        Reduces each scaled modality; see `EarlyFusion`.
    weights : array-like of shape (n_modalities,) or dict, default=None
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
        What each modality says by itself: the cluster whose mean is nearest within
        that modality. -1 everywhere for a modality of weight 0.
    modality_weights_ : ndarray of shape (n_modalities,)
        The weights.
    agreement_ : ndarray of shape (n_modalities,)
        Adjusted Rand index of each modality's labels with ``labels_``.
    fusion_ : EarlyFusion
        The fitted fusion; ``fusion_.scales_`` tells what 'auto' chose.
    clusterer_ : clusterer
        The fitted clusterer.
    n_modalities_in_ : int
        Number of modalities seen in `fit`.
    modality_names_in_ : ndarray of str of shape (n_modalities,)
        Their names.
    n_features_per_modality_in_ : ndarray of int of shape (n_modalities,)
        Their numbers of features.
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
    EarlyFusion : The fusion alone, for any estimator behind it.
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
    >>> search = GridSearchCV(
    ...     EarlyFusionClusterer(KMeans(), random_state=0),
    ...     {"clusterer__n_clusters": [2, 3, 5], "weights": [None, [1, 2]]},
    ... ).fit(X)
    >>> search.best_estimator_.predict(X[:3]).shape
    (3,)
    """

    _parameter_constraints: dict = {
        **EarlyFusion._parameter_constraints,
        "clusterer": [HasMethods("fit_predict"), None],
        "n_clusters": [Interval(Integral, 1, None, closed="left"), None],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        clusterer: Any = None,
        *,
        n_clusters: int | None = None,
        scaling: Any = "auto",
        reducer: Any = None,
        weights: Any = None,
        modalities: Any = None,
        random_state: Any = None,
    ) -> None:
        self.clusterer = clusterer
        self.n_clusters = n_clusters
        self.scaling = scaling
        self.reducer = reducer
        self.weights = weights
        self.modalities = modalities
        self.random_state = random_state

    @fit_context(prefer_skip_nested_validation=False)
    def fit(self, X: Any, y: Any = None, **params: Any) -> Self:
        """Fuse and cluster.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The data; see the user guide on input.
        y : object, default=None
            Not used.
        **params : dict
            Metadata for the clusterer's `fit`, such as ``sample_weight``, which then
            weighs the scaling too. With metadata routing enabled, what the clusterer
            requests.

        Returns
        -------
        self
            The fitted clusterer.
        """
        check_clusterers(self.clusterer)
        check_reducers(self.reducer)
        frame = self._validate(X, reset=True)
        weight, params = weighted_params(params, frame)
        params = routed_fit_params(self, params)
        fusion = EarlyFusion(self.scaling, reducer=self.reducer, weights=self.weights)
        # arrays, whatever sklearn.set_config says of the output of transformers
        fusion.set_output(transform="default")
        self.fusion_ = fusion.fit(frame, sample_weight=params.get("sample_weight"))
        fused = self.fusion_._fuse(frame)
        self.clusterer_ = make_clusterer(
            self.clusterer, self.n_clusters, self.random_state
        )
        self.labels_ = fit_labels(self.clusterer_, fused, params)
        self.modality_weights_ = self.fusion_.modality_weights_
        self.modality_labels_ = self._nearest_by_modality(fused, weight)
        self.agreement_ = agreement(self.labels_, self.modality_labels_, weight)
        return self

    def _nearest_by_modality(self, fused: Any, sample_weight: Any) -> np.ndarray:
        """Assign each sample to the cluster whose mean is nearest in one modality."""
        nearest = np.full((fused.shape[0], self.n_modalities_in_), -1)
        clusters, members = cluster_members(self.labels_, sample_weight)
        if len(clusters) == 0:
            return nearest
        means = cluster_sums(fused, members) / members.sum(axis=0)[:, None]
        means = means.astype(fused.dtype)
        for v, name in enumerate(self.modality_names_in_):
            if name not in self.fusion_.columns_:
                continue
            columns = self.fusion_.columns_[name]
            for rows in gen_batches(fused.shape[0], CHUNK_ROWS):
                closest = pairwise_distances_argmin(
                    fused[rows, columns], means[:, columns]
                )
                nearest[rows, v] = clusters[closest]
        return nearest

    def _assign(self, frame: Modalities) -> np.ndarray:
        return predict_labels(self.clusterer_, self.fusion_._fuse(frame))

    def __modality_tags__(self) -> ModalityTags:
        return ModalityTags(sparse=take_sparse(self), same_dtype=True)
