"""Hybrid fusion of clusterings: modalities alone and side by side, one consensus."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from scipy import sparse
from sklearn.base import BaseEstimator, ClusterMixin

from mmfusion._blocks import over_all_samples
from mmfusion._options import by_modality, weights_by_modality
from mmfusion._scaling import SCALINGS, resolve_scalings
from mmfusion._sklearn_compat import StrOptions, fit_context
from mmfusion._validation import ModalityTags, refuse_empty_samples
from mmfusion.base import ModalityMixin, PerModalityParams
from mmfusion.fusion._clusterers import (
    FusionClustererMixin,
    accepted_by,
    check_clusterers,
    routed_fit_params,
    take_sparse,
    weighted_params,
)
from mmfusion.fusion._hybrid_parts import (
    EARLY,
    branches_of,
    check_subsets,
    fused_part,
    modality_sets,
)
from mmfusion.fusion._late import LateFusionClusterer
from mmfusion.fusion._parts import Part
from mmfusion.modalities import Modalities


class HybridFusionClusterer(
    FusionClustererMixin,
    PerModalityParams,
    ModalityMixin,
    ClusterMixin,
    BaseEstimator,
):
    """Cluster every modality and all side by side, then find the consensus.

    Late fusion, with the clusterings of early fusion among those that it combines.
    Works with samples that lack modalities.

    Parameters
    ----------
    clusterer : clusterer or dict, default=None
        Clusters one part: one scikit-learn clusterer that is cloned, or a dict by name
        of the part: a modality, ``'audio+video'`` for a subset, ``'early'`` for all
        modalities side by side. None is k-means.
    n_clusters : int, default=None
        Number of clusters of the consensus, also set on the clusterers in place of
        their own. None leaves theirs (8 for k-means), and takes the commonest number
        among the base clusterings.
    subsets : list of list of str, default=None
        Names of modalities that are put side by side as further parts.
    combine : {'hbgf', 'vote', 'soft_vote', 'coassociation'}, default='hbgf'
        How the consensus is found; see `LateFusionClusterer`.
    weights : {'uniform', 'agreement', 'inverse_variance', 'silhouette', \
'stability'}, array-like of shape (n_parts,) or dict, default='uniform'
        Weight of each part's clusterings: modalities, subsets, 'early', in this order
        or by name; or found as in `LateFusionClusterer`.
    n_runs : int, default=10
        Base clusterings per part, from different seeds. A clusterer without
        ``random_state`` runs once.
    scaling : {'auto', 'block', 'standard', 'l2'} or None or dict, default='auto'
        How each modality is scaled, alone and beside others; see `EarlyFusion`.
    missing : {'mean', 'knn', 'zero', 'skip'}, default='mean'
        How parts of several modalities treat samples that lack some of them: filled
        in by `ModalityImputer`; or, with 'skip', such samples are not clustered by
        them.
    n_landmarks : int, default=2000
        Samples that 'coassociation' links; its time and memory grow with the square.
    modalities : int, list of int, str or dict, default=None
        Column spec that splits a plain 2-D X; None takes it as one modality. See
        :meth:`Modalities.from_table`.
    n_jobs : int, default=None
        Runs of a part that are fitted at a time, in threads. None is 1 unless in a
        joblib context, -1 all processors.
    random_state : int, RandomState instance or None, default=None
        For the seeds of the runs, the consensus and its draws.

    Attributes
    ----------
    labels_ : ndarray of int of shape (n_samples,)
        Cluster of each sample; -1 where no clustering of some weight has it in one.
    modality_labels_ : ndarray of int of shape (n_samples, n_parts)
        What the clusterings of each part say by themselves, in terms of the fused
        clusters; -1 where they say nothing.
    modality_weights_ : ndarray of shape (n_parts,)
        Weights of the parts, in the order of ``clusterers_``, with mean 1.
    agreement_ : ndarray of shape (n_parts,)
        Adjusted Rand index of each part's labels with ``labels_``.
    clusterers_ : dict of str to list of clusterer
        Fitted clusterers by name of the part, one for each run.
    scales_ : dict of str to str
        The scaling of each modality; 'auto' is resolved.
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
        As `LateFusionClusterer` does; also if a subset names no or unknown
        modalities, or a modality has the name of another part.

    See Also
    --------
    EarlyFusionClusterer : Clusters the concatenation of modalities.
    LateFusionClusterer : Clusters each modality, then finds a consensus.

    Examples
    --------
    >>> from mmfusion import HybridFusionClusterer
    >>> from mmfusion.datasets import make_multimodal_blobs
    >>> X, y = make_multimodal_blobs(missing_rate=0.2, random_state=0)
    >>> clusterer = HybridFusionClusterer(n_clusters=3, random_state=0).fit(X)
    >>> list(clusterer.clusterers_)
    ['modality_0', 'modality_1', 'early']
    >>> clusterer.predict(X[:5]).shape
    (5,)
    """

    _estimators_param = "clusterer"

    _parameter_constraints: dict = {
        **LateFusionClusterer._parameter_constraints,
        "subsets": [list, tuple, None],
        "missing": [StrOptions({"mean", "knn", "zero", "skip"})],
    }

    def __init__(
        self,
        clusterer: Any = None,
        *,
        n_clusters: int | None = None,
        subsets: Any = None,
        combine: str = "hbgf",
        weights: Any = "uniform",
        n_runs: int = 10,
        scaling: Any = "auto",
        missing: str = "mean",
        n_landmarks: int = 2000,
        modalities: Any = None,
        n_jobs: int | None = None,
        random_state: Any = None,
    ) -> None:
        self.clusterer = clusterer
        self.n_clusters = n_clusters
        self.subsets = subsets
        self.combine = combine
        self.weights = weights
        self.n_runs = n_runs
        self.scaling = scaling
        self.missing = missing
        self.n_landmarks = n_landmarks
        self.modalities = modalities
        self.n_jobs = n_jobs
        self.random_state = random_state

    @fit_context(prefer_skip_nested_validation=False)
    def fit(self, X: Any, y: Any = None, **params: Any) -> Self:
        """Cluster every part and find the consensus.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The data; see the user guide on input.
        y : object, default=None
            Not used.
        **params : dict
            Metadata for the clusterers' `fit`, such as ``sample_weight``, which then
            weighs the scaling too; values with one entry per sample are handed on for
            the samples that a part clusters. With metadata routing enabled, what the
            clusterers request.

        Returns
        -------
        self
            The fitted clusterer.
        """
        check_clusterers(self.clusterer)
        check_subsets(self.subsets)
        frame = self._validate(X, reset=True)
        refuse_empty_samples(frame)
        sets = modality_sets(frame.names, self.subsets)
        counted, params = weighted_params(params, frame)
        hows = self._scalings(frame, list(sets), counted)
        weight = routed_fit_params(self, params, EARLY).get("sample_weight")
        self._fused = [
            fused_part(name, positions, hows, self.missing).fit_way(frame, weight)
            for name, positions in sets.items()
            if name not in hows
        ]
        self._late = LateFusionClusterer(
            self.clusterer,
            n_clusters=self.n_clusters,
            combine=self.combine,
            weights=self.weights,
            n_runs=self.n_runs,
            scaling=hows | {part.name: None for part in self._fused},
            n_landmarks=self.n_landmarks,
            n_jobs=self.n_jobs,
            random_state=self.random_state,
        ).fit(self._with_fused(frame), **params)
        self.scales_ = hows
        for name in ("labels_", "modality_labels_", "modality_weights_"):
            setattr(self, name, getattr(self._late, name))
        self.agreement_ = self._late.agreement_
        self.clusterers_ = self._late.clusterers_
        return self

    def _scalings(
        self, frame: Modalities, parts: list[str], sample_weight: Any
    ) -> dict[str, str | None]:
        given = None if isinstance(self.weights, str) else self.weights
        counts = weights_by_modality(given, parts)[: len(frame.names)] > 0
        counts = counts if counts.any() else np.ones(len(frame.names), dtype=bool)
        hows = by_modality(self.scaling, frame.names, "scaling", "auto", SCALINGS)
        hows = resolve_scalings(frame, hows, counts, sample_weight)
        return dict(zip(frame.names, hows, strict=True))

    def _with_fused(self, frame: Modalities) -> Modalities:
        """Put the fused matrices beside the modalities, as further ones."""
        blocks, observed = frame.to_dict(), [frame.observed]
        for part in self._fused:
            rows = part.present(frame)
            blocks[part.name] = _spread(part, frame, rows)
            observed.append(rows[:, None])
        return Modalities(blocks, observed=np.hstack(observed))

    def _assign(self, frame: Modalities) -> np.ndarray:
        refuse_empty_samples(frame)
        return self._late.predict(self._with_fused(frame))

    def __modality_tags__(self) -> ModalityTags:
        return ModalityTags(
            sparse=take_sparse(self),
            missing=True,
            same_dtype=True,
            takes_nan=self._takes_nan,
        )

    def _takes_nan(self, name: str) -> bool:
        branches = branches_of(name, self.subsets)
        return self.missing != "knn" and all(
            accepted_by(self, branch).nan for branch in branches
        )


def _spread(part: Part, frame: Modalities, rows: np.ndarray) -> Any:
    """The matrix of a part over all samples; rows of others mean nothing."""
    if not rows.any():
        return None
    matrix = part.matrix(frame, rows)
    if not sparse.issparse(matrix):
        return over_all_samples(matrix, rows, 0.0)
    lengths = np.zeros(len(rows) + 1, dtype=matrix.indptr.dtype)
    lengths[1:][rows] = np.diff(matrix.indptr)
    edges = np.cumsum(lengths, dtype=lengths.dtype)
    shape = (len(rows), matrix.shape[1])
    return sparse.csr_array((matrix.data, matrix.indices, edges), shape=shape)
