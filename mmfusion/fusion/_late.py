"""Late fusion: cluster every modality by itself, then find a consensus."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from numbers import Integral
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, ClusterMixin, clone
from sklearn.preprocessing import normalize
from sklearn.utils import check_random_state
from sklearn.utils.parallel import Parallel, delayed

from mmfusion._blocks import of_samples, over_all_samples
from mmfusion._numbers import holds_nan
from mmfusion._options import by_modality, weights_by_modality
from mmfusion._scaling import SCALINGS, fit_scaling, resolve_scalings
from mmfusion._sklearn_compat import (
    INTEGER,
    HasMethods,
    Interval,
    StrOptions,
    fit_context,
)
from mmfusion._validation import ModalityTags, refuse_empty_samples
from mmfusion.base import ModalityMixin, PerModalityParams
from mmfusion.fusion import _consensus, _quality
from mmfusion.fusion._clusterers import (
    FusionClustererMixin,
    accepted_by,
    agreement,
    check_clusterers,
    cluster_members,
    fit_labels,
    make_clusterer,
    predict_labels,
    random_states,
    routed_fit_params,
    seeded,
    take_sparse,
    weighted_params,
)
from mmfusion.fusion._consensus import BaseClusterings, join, label_counts
from mmfusion.fusion._weights import normalised_quality
from mmfusion.modalities import Modalities


@dataclass
class _Run:
    """A fitted base clusterer and the sorted labels of its clusters."""

    clusterer: Any
    clusters: np.ndarray

    def codes(self, labels: np.ndarray) -> np.ndarray:
        """Number labels from 0; -1 for noise, and for clusters that were empty."""
        known = np.isin(labels, self.clusters)
        codes = np.where(known, np.searchsorted(self.clusters, labels), -1)
        # there is one for every sample and run: as few bytes as will do
        return codes.astype(np.min_scalar_type(-len(self.clusters) - 1))


def _fit_run(
    clusterer: Any, name: str, block: Any, params: dict, sample_weight: Any
) -> tuple[_Run, np.ndarray]:
    try:
        labels = fit_labels(clusterer, block, params)
    except (TypeError, ValueError) as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"modality {name!r}: {error}") from error
    run = _Run(clusterer, cluster_members(labels, sample_weight)[0])
    return run, run.codes(labels)


class LateFusionClusterer(
    FusionClustererMixin,
    PerModalityParams,
    ModalityMixin,
    ClusterMixin,
    BaseEstimator,
):
    """Cluster every modality by itself, then find the consensus of the clusterings.

    Works with samples that lack modalities: each is clustered with those it has.

    Parameters
    ----------
    clusterer : clusterer or dict, default=None
        Clusters one modality: one scikit-learn clusterer that is cloned, or a dict by
        modality name. None is k-means; to search over parameters such as
        ``clusterer__n_init`` give one.
    n_clusters : int, default=None
        Number of clusters of the consensus, also set on the clusterers in place of
        their own. None leaves theirs (8 for k-means), and takes the commonest number
        among the base clusterings.
    combine : {'hbgf', 'vote', 'soft_vote', 'coassociation'}, default='hbgf'
        How the consensus is found.

        - 'hbgf': cut of the bipartite graph of samples and base clusters [1]_;
        - 'vote': clusters are matched to a reference by the Hungarian method, then
          every base clustering has a vote [2]_;
        - 'soft_vote': the same with the memberships of clusterers that have
          ``predict_proba``, such as GaussianMixture; others vote as in 'vote';
        - 'coassociation': average linkage on how often samples are together
          (evidence accumulation) [3]_, of `n_landmarks` samples.
    weights : {'uniform', 'agreement', 'inverse_variance', 'silhouette', \
'stability'}, array-like of shape (n_modalities,) or dict, default='uniform'
        Weight of each modality's clusterings: given, by modality name (1 where a dict
        does not name it), or by their quality, judged without classes. 'agreement':
        mean normalised mutual information with other modalities. 'inverse_variance':
        total variance over that within clusters. 'silhouette': mean silhouette.
        'stability': mean adjusted Rand index between runs. A quality of 0
        leaves a thousandth of the largest weight.
    n_runs : int, default=10
        Base clusterings per modality, from different seeds: more diverse clusterings
        make a better consensus. A clusterer without ``random_state`` runs once.
    scaling : {'auto', 'block', 'standard', 'l2'} or None or dict, default='auto'
        How each modality is scaled; see `EarlyFusion`.
    n_landmarks : int, default=2000
        Samples that 'coassociation' links; its time and memory grow with the square.
    modalities : int, list of int, str or dict, default=None
        Column spec that splits a plain 2-D X; None takes it as one modality. See
        :meth:`Modalities.from_table`.
    n_jobs : int, default=None
        Runs of a modality that are fitted at a time, in threads. None is 1 unless in
        a joblib context, -1 all processors.
    random_state : int, RandomState instance or None, default=None
        For the seeds of the runs, the consensus and its draws.

    Attributes
    ----------
    labels_ : ndarray of int of shape (n_samples,)
        Cluster of each sample; -1 where no clustering of some weight has it in one.
    modality_labels_ : ndarray of int of shape (n_samples, n_modalities)
        What the clusterings of each modality say by themselves, in terms of the
        fused clusters; -1 where a sample lacks the modality.
    modality_weights_ : ndarray of shape (n_modalities,)
        Weights, with mean 1.
    agreement_ : ndarray of shape (n_modalities,)
        Adjusted Rand index of each modality's labels with ``labels_``, over the
        samples that have it.
    clusterers_ : dict of str to list of clusterer
        Fitted clusterers by modality, one for each run.
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
        If a sample lacks every modality, a modality is missing for every sample of
        `fit`, an observed cell is NaN or infinite, ``n_clusters`` is given to a
        clusterer without such a parameter, or no base clustering has the number of
        clusters that a vote needs.

    See Also
    --------
    EarlyFusionClusterer : Clusters the concatenation of modalities.

    Notes
    -----
    Time and memory grow linearly with n_samples, if the clusterer's do. One scaled
    modality is in memory at a time, and a byte or two per sample and run; 'soft_vote'
    holds the memberships of every run. 'hbgf' decomposes a dense matrix of base
    clusters against base clusters (modalities x runs x clusters), which takes minutes
    from some thousands on.

    `predict` gives new samples to the fitted base clusterers and maps what they say;
    for the samples of `fit` it repeats ``labels_``.

    References
    ----------
    .. [1] X. Z. Fern, C. E. Brodley (2004), Solving cluster ensemble problems by
       bipartite graph partitioning. ICML.
    .. [2] E. Dimitriadou, A. Weingessel, K. Hornik (2002), A combination scheme for
       fuzzy clustering. International Journal of Pattern Recognition and Artificial
       Intelligence 16(7), 901-912.
    .. [3] A. L. N. Fred, A. K. Jain (2005), Combining multiple clusterings using
       evidence accumulation. IEEE Transactions on Pattern Analysis and Machine
       Intelligence 27(6), 835-850.

    Examples
    --------
    >>> from mmfusion import LateFusionClusterer
    >>> from mmfusion.datasets import make_multimodal_blobs
    >>> X, y = make_multimodal_blobs(missing_rate=0.2, random_state=0)
    >>> clusterer = LateFusionClusterer(n_clusters=3, random_state=0).fit(X)
    >>> clusterer.labels_.shape
    (100,)
    >>> clusterer.predict(X[:5]).shape
    (5,)
    """

    _estimators_param = "clusterer"

    _parameter_constraints: dict = {
        "clusterer": [HasMethods("fit_predict"), dict, None],
        "n_clusters": [Interval(Integral, 1, None, closed="left"), None],
        "combine": [StrOptions({"hbgf", "vote", "soft_vote", "coassociation"})],
        "weights": [StrOptions({"uniform", *_quality.QUALITIES}), "array-like", dict],
        "n_runs": [Interval(Integral, 1, None, closed="left")],
        "scaling": [StrOptions(set(SCALINGS)), None, dict],
        "n_landmarks": [Interval(Integral, 2, None, closed="left")],
        "modalities": ["array-like", str, dict, INTEGER, None],
        "n_jobs": [INTEGER, None],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        clusterer: Any = None,
        *,
        n_clusters: int | None = None,
        combine: str = "hbgf",
        weights: Any = "uniform",
        n_runs: int = 10,
        scaling: Any = "auto",
        n_landmarks: int = 2000,
        modalities: Any = None,
        n_jobs: int | None = None,
        random_state: Any = None,
    ) -> None:
        self.clusterer = clusterer
        self.n_clusters = n_clusters
        self.combine = combine
        self.weights = weights
        self.n_runs = n_runs
        self.scaling = scaling
        self.n_landmarks = n_landmarks
        self.modalities = modalities
        self.n_jobs = n_jobs
        self.random_state = random_state

    @fit_context(prefer_skip_nested_validation=False)
    def fit(self, X: Any, y: Any = None, **params: Any) -> Self:
        """Cluster every modality and find the consensus.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The data; see the user guide on input.
        y : object, default=None
            Not used.
        **params : dict
            Metadata for the clusterers' `fit`, such as ``sample_weight``, which then
            weighs the scaling too; values with one entry per sample are handed on for
            the samples that have the modality. With metadata routing enabled, what
            the clusterers request.

        Returns
        -------
        self
            The fitted clusterer.
        """
        check_clusterers(self.clusterer)
        frame = self._validate(X, reset=True)
        refuse_empty_samples(frame)
        weight, params = weighted_params(params, frame)
        rng = check_random_state(self.random_state)
        base, quality = self._cluster_modalities(frame, params, weight, rng)
        self.modality_weights_ = self._weigh(base, quality)
        base = self._weighted(base)
        self.labels_, self._consensus = self._combine(base, rng)
        self._fused_shares = normalize(
            label_counts(base, self.labels_, int(self.labels_.max()) + 1), norm="l1"
        )
        self.modality_labels_ = self._labels_by_modality(base)
        self.agreement_ = agreement(self.labels_, self.modality_labels_, weight)
        return self

    def _cluster_modalities(
        self, frame: Modalities, params: dict[str, Any], sample_weight: Any, rng: Any
    ) -> tuple[BaseClusterings, np.ndarray]:
        """Cluster modality after modality, with one scaled block in memory."""
        templates = self._clone_by_modality(frame.names)
        # memberships of clusterers without them would be their labels, many times over
        self._is_soft = self.combine == "soft_vote" and any(
            hasattr(template, "predict_proba") for template in templates
        )
        given = None if isinstance(self.weights, str) else self.weights
        counts = weights_by_modality(given, frame.names) > 0
        hows = by_modality(self.scaling, frame.names, "scaling", "auto", SCALINGS)
        # what holds other than numbers is for its own pipeline, as it is
        as_given = np.isin(frame.names, list(self._layout.as_given))
        self._refuse_without_distances(frame, as_given)
        hows = [None if g else how for g, how in zip(as_given, hows, strict=True)]
        hows = resolve_scalings(frame, hows, counts & ~as_given, sample_weight)
        self._runs: list[list[_Run]] = []
        self._scalings = []
        parts, quality = [], np.ones(len(frame.names))
        for v, present in enumerate(frame.observed.T):
            own = {
                key: of_samples(value, present)
                for key, value in routed_fit_params(
                    self, params, frame.names[v]
                ).items()
            }
            block = of_samples(frame.blocks[v], present)
            scaling = fit_scaling(block, hows[v], own.get("sample_weight"))
            scaled = block if as_given[v] else scaling.apply(block)
            weight = None if sample_weight is None else sample_weight[present]
            fitted = Parallel(n_jobs=self.n_jobs, prefer="threads")(
                delayed(_fit_run)(clusterer, frame.names[v], scaled, own, weight)
                for clusterer in self._make_clusterers(templates[v], rng)
            )
            runs, codes = zip(*fitted, strict=True)
            labels = np.column_stack(codes)
            quality[v] = self._judge(scaled, labels, rng, weight)
            parts.append(self._base_part(runs, scaled, labels, present))
            self._scalings.append(scaling)
            self._runs.append(list(runs))
        names = frame.names
        self.scales_ = {n: s.how for n, s in zip(names, self._scalings, strict=True)}
        self.clusterers_ = {
            name: [run.clusterer for run in runs]
            for name, runs in zip(names, self._runs, strict=True)
        }
        return replace(join(parts), sample_weight=sample_weight), quality

    def _refuse_without_distances(
        self, frame: Modalities, as_given: np.ndarray
    ) -> None:
        """Refuse modalities whose quality is measured by distances they do not have."""
        if not (isinstance(self.weights, str) and self.weights in _quality.BY_VALUES):
            return
        for v, observed in enumerate(frame.observed.T):
            if as_given[v] or holds_nan(of_samples(frame.blocks[v], observed)):
                raise ValueError(
                    f"weights={self.weights!r} measures distances, but modality "
                    f"{frame.names[v]!r} holds text, categories or NaN; encode and "
                    "impute it before, by PerModality, or give weights='agreement'"
                )

    def _make_clusterers(self, template: Any, rng: Any) -> list[Any]:
        """One clusterer per run, each with a seed of its own."""
        first = make_clusterer(template, self.n_clusters, None, n_init=1)
        if not random_states(first):
            return [first]
        seeds = rng.randint(np.iinfo(np.int32).max, size=self.n_runs)
        return [seeded(clone(first), int(seed)) for seed in seeds]

    def _base_part(
        self, runs: Sequence[_Run], scaled: Any, labels: np.ndarray, present: np.ndarray
    ) -> BaseClusterings:
        """Clusterings of one modality, over all samples."""
        n_clusters = [len(run.clusters) for run in runs]
        soft = []
        if self._is_soft:
            soft = [
                _memberships(run, scaled, own)
                for run, own in zip(runs, labels.T, strict=True)
            ]
            soft = [over_all_samples(m, present, 0.0) for m in soft]
        return BaseClusterings(
            over_all_samples(labels, present, -1),
            np.array(n_clusters),
            np.ones(len(runs)),
            soft,
        )

    def _judge(
        self, scaled: Any, labels: np.ndarray, rng: Any, sample_weight: Any
    ) -> float:
        """Quality of one modality's clusterings that needs its data."""
        if not isinstance(self.weights, str):
            return 1.0
        match self.weights:
            case "silhouette":
                return _quality.silhouette(scaled, labels, rng, sample_weight)
            case "stability":
                return _quality.stability(labels, sample_weight)
            case "inverse_variance":
                return _quality.inverse_variance(scaled, labels, sample_weight)
        return 1.0

    def _weigh(self, base: BaseClusterings, quality: np.ndarray) -> np.ndarray:
        """Weight of each modality, with mean 1."""
        if not isinstance(self.weights, str):
            given = weights_by_modality(self.weights, self._layout.names)
            return given / given.mean()
        if self.weights == "agreement":
            quality = _quality.agreement_with_others(base, self._modality_of_run())
        # above 0, or samples that have only that modality would have no cluster
        return normalised_quality(quality)

    def _modality_of_run(self) -> np.ndarray:
        return np.repeat(np.arange(len(self._runs)), [len(runs) for runs in self._runs])

    def _weighted(self, base: BaseClusterings) -> BaseClusterings:
        """Share the weight of a modality among its runs."""
        shares = self.modality_weights_ / [len(runs) for runs in self._runs]
        return replace(base, weights=shares[self._modality_of_run()])

    def _combine(
        self, base: BaseClusterings, rng: Any
    ) -> tuple[np.ndarray, _consensus.Consensus]:
        if base.clustered().size == 0:
            raise ValueError(
                "no base clustering has a cluster: all samples are noise to all; give "
                "the clusterers other parameters"
            )
        n_clusters = self.n_clusters
        if n_clusters is None:
            given = base.n_clusters[(base.weights > 0) & (base.n_clusters > 0)]
            numbers, counts = np.unique(given, return_counts=True)
            n_clusters = int(numbers[counts.argmax()])
        match self.combine:
            case "hbgf":
                return _consensus.hbgf(base, n_clusters, rng)
            case "coassociation":
                return _consensus.coassociation(base, n_clusters, rng, self.n_landmarks)
        return _consensus.vote(base, n_clusters)

    def _labels_by_modality(self, base: BaseClusterings) -> np.ndarray:
        """What the runs of one modality say, in terms of the fused clusters."""
        says = _consensus.Consensus(self._fused_shares)
        modality = self._modality_of_run()
        hard = replace(base, memberships=[])
        return np.column_stack(
            [
                says.assign(replace(hard, weights=np.where(modality == v, 1.0, 0.0)))
                for v in range(self.n_modalities_in_)
            ]
        )

    def _assign(self, frame: Modalities) -> np.ndarray:
        refuse_empty_samples(frame)
        parts = []
        for v, present in enumerate(frame.observed.T):
            runs = self._runs[v]
            labels = np.empty((0, len(runs)), dtype=int)
            scaled = np.empty((0, self.n_features_per_modality_in_[v]))
            if present.any():
                block = of_samples(frame.blocks[v], present)
                scaled = block
                if self._layout.names[v] not in self._layout.as_given:
                    scaled = self._scalings[v].apply(block)
                labels = np.column_stack(
                    [run.codes(predict_labels(run.clusterer, scaled)) for run in runs]
                )
            parts.append(self._base_part(runs, scaled, labels, present))
        return self._consensus.assign(self._weighted(join(parts)))

    def __modality_tags__(self) -> ModalityTags:
        return ModalityTags(
            sparse=take_sparse(self),
            missing=True,
            same_dtype=True,
            takes_nan=lambda name: accepted_by(self, name).nan,
            takes_text=lambda name: accepted_by(self, name).text,
        )


def _memberships(run: _Run, scaled: Any, codes: np.ndarray) -> np.ndarray:
    """Soft memberships if the clusterer has them, else its labels as such."""
    if len(codes) and hasattr(run.clusterer, "predict_proba"):
        return run.clusterer.predict_proba(scaled)[:, run.clusters]
    return (codes[:, None] == np.arange(len(run.clusters))).astype(float)
