"""Choice among clusterers of all kinds, or their consensus, without classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from numbers import Integral
from typing import Self

import numpy as np
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    ClusterMixin,
    TransformerMixin,
)
from sklearn.preprocessing import normalize
from sklearn.utils import check_random_state
from sklearn.utils.metaestimators import available_if

from mmfusion._blocks import over_all_samples
from mmfusion._options import check_estimators, errors_about
from mmfusion._progress import FitProgress, Job, Progress
from mmfusion._row_chunks import by_row_chunks
from mmfusion._scaling import SCALINGS
from mmfusion._sklearn_compat import (
    CallbackSupportMixin,
    Interval,
    StrOptions,
    fit_context,
)
from mmfusion._threads import threads_of_n_jobs
from mmfusion._typing import (
    ByModality,
    ColumnSpecLike,
    ModalitiesLike,
    RandomStateLike,
)
from mmfusion._validation import ModalityTags, refuse_empty_samples
from mmfusion.base import ModalityMixin, PerModalityParams
from mmfusion.clustering import SpectralClusterer
from mmfusion.clustering.graph._zero_rows import ZERO_ROWS, observed_samples
from mmfusion.ensemble._members import default_clusterers
from mmfusion.fusion._nested_clusterers import (
    ClustererRun,
    fit_run,
    make_clusterer,
    predict_labels,
)
from mmfusion.fusion.combination._clustering_quality import agreement_with_others
from mmfusion.fusion.combination._clusterings import (
    BaseClusterings,
    agreement_by_modality,
    label_counts,
    most_frequent_n_clusters,
    mutual_information_between,
)
from mmfusion.fusion.combination._consensus import (
    ConsensusMap,
    hbgf,
    labels_of_branches,
    shared_memberships,
)
from mmfusion.fusion.combination._predictor_weights import normalised_weights
from mmfusion.metrics import modality_silhouette_score
from mmfusion.modalities import Modalities

DEFAULT_CLUSTERS = 8
# of the samples, that need to have all modalities for clusterers that need them all
SMALLEST_COMPLETE_SHARE = 0.5


class MultimodalClusterer(
    PerModalityParams,
    ModalityMixin,
    ClassNamePrefixFeaturesOutMixin,
    ClusterMixin,
    TransformerMixin,
    CallbackSupportMixin,
    BaseEstimator,
):
    """Cluster by the one of several methods that agrees most with the others.

    No clusterer suits all data. Here every member m of an ensemble clusters the
    samples, and the agreement ``a_m`` is the mean normalised mutual information of its
    clusters with those of the other members:

    - 'choose' takes the clusters of the member of the largest agreement, the medoid of
      all clusterings;
    - 'hbgf' takes their consensus, the least normalised cut of the bipartite graph of
      samples and clusters of all members, with edges of the weight ``a_m^2``, in its
      spectral relaxation [1]_.

    The uncertainty of a sample is the share of the members, weighted by ``a_m^2``, that
    put it into another cluster.

    Parameters
    ----------
    n_clusters : int or 'auto', default=None
        Number of clusters of every member and the result. None is 8, or in a
        comparison the number of classes; of given `clusterers` it leaves theirs, of
        which 'hbgf' takes the most frequent number. 'auto' chooses one of 2 to 20 by
        the modularity of clusters in graphs, as `SpectralClusterer` does.
    clusterers : dict of str to clusterer, default=None
        Members by name: any clusterers of Modalities, such as those of this package or
        Pipelines. None are `SpectralClusterer` of two kinds ('co_regularized',
        'concatenated'), `SNFClusterer` of five steps ('snf'), `AnchorGraphClusterer`
        ('anchors'), `EarlyFusionClusterer` ('early') and `LateFusionClusterer`
        ('late'); of more than 20,000 samples only the last three, and
        `AnchorGraphClusterer` with weights that reconstruct the samples
        ('reconstruction').
    combine : {'choose', 'hbgf'}, default='choose'
        Whether the clusters are those of one member, or the consensus of all.
    scaling : {'auto', 'block', 'standard', 'l2'} or None or dict, default='auto'
        Scaling of each modality by the default members, as in `EarlyFusion`.
    zero_rows : {'warn', 'missing', 'keep'}, default='warn'
        What rows of zeros are: 'missing' marks them as missing modalities. 'warn' takes
        them as they are, with a warning if they are more than 5 % of a modality.
    modalities : int, list of int, str or dict, default=None
        Column spec that splits a plain 2-D X; None takes it as one modality. See
        :meth:`Modalities.from_table`.
    n_jobs : int, default=None
        Number of members that are fitted at a time, in threads. None is 1 unless in a
        joblib context, -1 all processors.
    random_state : int, RandomState instance or None, default=None
        Generator of the seeds of the members, and of the draws of the consensus.
    verbose : bool or int, default=False
        Whether to show the progress of the members: True or 1 by a bar, where tqdm is
        installed and stderr is a terminal or a notebook, else by lines with their
        seconds; 2 by lines.

    Attributes
    ----------
    labels_ : ndarray of int of shape (n_samples,)
        Cluster of each sample.
    uncertainty_ : ndarray of shape (n_samples,)
        One minus the membership of each sample in its cluster; see `transform`. 0 where
        all members agree.
    chosen_ : str or None
        Name of the member whose clusters they are; None for the consensus.
    n_clusters_ : int
        Number of clusters.
    n_clusters_evidence_ : dict of str to ndarray
        For ``n_clusters='auto'``: the numbers ('n_clusters'), 'modularity' in the mean
        graph, and 'modularity_in_others' of several graphs.
    clusterers_ : dict of str to clusterer
        Fitted members by name.
    member_labels_ : ndarray of int of shape (n_samples, n_members)
        Clusters by each member, in terms of those of the result; -1 for samples that
        it does not cluster.
    member_weights_ : ndarray of shape (n_members,)
        Weights of the members, with mean 1, in memberships and the consensus.
    mutual_information_ : ndarray of shape (n_members, n_members)
        Normalised mutual information of every two members.
    agreement_ : ndarray of shape (n_members,)
        Adjusted Rand index of each member's labels with ``labels_``.
    n_modalities_in_ : int
        Number of modalities seen in `fit`.
    modality_names_in_ : ndarray of str of shape (n_modalities,)
        Names of the modalities.
    n_features_per_modality_in_ : ndarray of int of shape (n_modalities,)
        Number of features of each modality.
    n_features_in_ : int
        Total number of features.
    feature_names_in_ : ndarray of str of shape (`n_features_in_`,)
        Names ``<modality>__<feature>``, if the input had names.

    Raises
    ------
    ValueError
        If a sample lacks every modality, a member refuses the data, or no member can
        take samples that lack modalities.

    See Also
    --------
    LateFusionClusterer : Consensus of clusterings of single modalities.
    SpectralClusterer : The graphs alone, at a tenth of the time.

    Notes
    -----
    Members that need all modalities, such as early fusion, cluster the samples that
    have them, and are left out if those are fewer than half of all. Samples that the
    chosen member does not cluster get their largest membership. New samples are
    assigned by the members' `predict`; most of them keep the samples of `fit`.

    In a study of 17 data sets 'choose' had the best mean rank of all methods, and
    'hbgf' was level with it (see the user guide).

    References
    ----------
    .. [1] X. Z. Fern, C. E. Brodley (2004), Solving cluster ensemble problems by
       bipartite graph partitioning. ICML.

    Examples
    --------
    >>> from mmfusion import MultimodalClusterer
    >>> from mmfusion.datasets import make_multimodal_blobs
    >>> X, y = make_multimodal_blobs(random_state=0)
    >>> clusterer = MultimodalClusterer(n_clusters=3, random_state=0).fit(X[:80])
    >>> clusterer.labels_.shape
    (80,)
    >>> list(clusterer.clusterers_)[-3:]
    ['anchors', 'early', 'late']
    >>> clusterer.predict(X[80:]).shape
    (20,)
    """

    _estimators_param = "clusterers"

    _parameter_constraints: dict = {
        "n_clusters": [
            Interval(Integral, 1, None, closed="left"),
            StrOptions({"auto"}),
            None,
        ],
        "clusterers": [dict, None],
        "combine": [StrOptions({"choose", "hbgf"})],
        "scaling": [StrOptions(set(SCALINGS)), None, dict],
        "zero_rows": [StrOptions(set(ZERO_ROWS))],
        "modalities": ["array-like", str, dict, Integral, None],
        "n_jobs": [Integral, None],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        n_clusters: int | str | None = None,
        *,
        clusterers: Mapping[str, BaseEstimator] | None = None,
        combine: str = "choose",
        scaling: ByModality[str | None] = "auto",
        zero_rows: str = "warn",
        modalities: ColumnSpecLike = None,
        n_jobs: int | None = None,
        random_state: RandomStateLike = None,
        verbose: bool | int = False,
    ) -> None:
        self.n_clusters = n_clusters
        self.clusterers = clusterers
        self.combine = combine
        self.scaling = scaling
        self.zero_rows = zero_rows
        self.modalities = modalities
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.verbose = verbose

    @fit_context(prefer_skip_nested_validation=False)
    @threads_of_n_jobs
    def fit(self, X: ModalitiesLike, y: object = None) -> Self:
        """Fit the members, and choose one or find their consensus.

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
        self._check_clusterers()
        frame = self._validate(X, reset=True)
        refuse_empty_samples(frame)
        frame = self._without_zero_rows(frame, warns=True)
        rng = check_random_state(self.random_state)
        n_clusters = self._wanted_n_clusters(frame, rng)
        members = self._make_members(frame, n_clusters, rng)
        with FitProgress(self, X, y, len(members), "member") as progress:
            base = self._fit_members(members, frame, progress)
        self.mutual_information_ = mutual_information_between(base)
        each = np.arange(len(members))
        agreement = agreement_with_others(self.mutual_information_, each)
        self.member_weights_ = normalised_weights(agreement**2)
        base = replace(base, weights=self.member_weights_)
        self.chosen_, self._consensus = None, None
        if self.combine == "choose":
            self.chosen_ = self._choose(base, agreement)
            labels = self._labels_of_chosen(base)
        else:
            n_clusters = n_clusters or most_frequent_n_clusters(base)
            labels, self._consensus = hbgf(base, n_clusters, rng)
        self.n_clusters_ = int(labels.max()) + 1
        counts = label_counts(base, labels, self.n_clusters_)
        self._fused_shares = normalize(counts, norm="l1")
        self.labels_ = self._assign(base) if self._consensus is None else labels
        self._describe_members(base)
        progress.finish()
        return self

    def _check_clusterers(self) -> None:
        if self.clusterers is None:
            return
        if not self.clusterers:
            raise ValueError("clusterers is empty; give at least one, or None")
        check_estimators(self.clusterers, "clusterers", ["fit_predict"])
        empty = [name for name, given in self.clusterers.items() if given is None]
        if empty:
            raise ValueError(
                f"clusterers[{empty[0]!r}] is None; give a clusterer, or leave it out"
            )
        self._refuse_names_of_parameters(list(self.clusterers))

    def _without_zero_rows(self, frame: Modalities, *, warns: bool) -> Modalities:
        """Mark rows of zeros as missing, if they are to be."""
        observed = observed_samples(frame, self.zero_rows, (), warns=warns)
        return Modalities._of(frame.names, tuple(frame.blocks), observed)

    def _wanted_n_clusters(
        self, frame: Modalities, rng: np.random.RandomState
    ) -> int | None:
        """Return the number of clusters; None if it is that of the members."""
        if self.n_clusters == "auto":
            graphs = SpectralClusterer("auto", fusion="average", random_state=rng)
            graphs.set_params(scaling=self.scaling, zero_rows="keep").fit(frame)
            self.n_clusters_evidence_ = graphs.n_clusters_evidence_
            return graphs.n_clusters_
        if self.n_clusters is None and self.clusterers is None:
            return DEFAULT_CLUSTERS
        return None if self.n_clusters is None else int(self.n_clusters)

    # Members

    def _templates(self, n_samples: int, n_clusters: int) -> dict[str, BaseEstimator]:
        """Return the unfitted members by name."""
        if self.clusterers is not None:
            return dict(self.clusterers)
        return default_clusterers(n_samples, n_clusters, self.scaling)

    def _make_members(
        self, frame: Modalities, n_clusters: int | None, rng: np.random.RandomState
    ) -> dict[str, BaseEstimator]:
        """Make the members, without those that could cluster few of the samples."""
        templates = self._templates(len(frame), n_clusters or DEFAULT_CLUSTERS)
        few = SMALLEST_COMPLETE_SHARE * len(frame)
        members = {}
        for name, template in templates.items():
            seed = int(rng.randint(np.iinfo(np.int32).max))
            if np.count_nonzero(_samples_of(template, frame)) >= few:
                with errors_about(f"member {name!r}"):
                    members[name] = make_clusterer(template, n_clusters, seed)
        if not members:
            raise ValueError(
                "all members need samples with all modalities, and fewer than half "
                "have them; add a clusterer of samples that lack modalities, such as "
                "LateFusionClusterer, or impute by ModalityImputer before"
            )
        return members

    def _fit_members(
        self,
        members: Mapping[str, BaseEstimator],
        frame: Modalities,
        progress: Progress,
    ) -> BaseClusterings:
        """Fit every member to the samples that it can take."""
        samples = [_samples_of(member, frame) for member in members.values()]
        some = {own.all(): frame if own.all() else frame[own] for own in samples}
        jobs = [
            Job(
                f"member {name!r}",
                fit_run,
                (member, f"member {name!r}", some[own.all()], {}, None),
            )
            for (name, member), own in zip(members.items(), samples, strict=True)
        ]
        fitted = progress.run(jobs, self.n_jobs, prefer="threads")
        runs, codes = zip(*fitted, strict=True)
        self._runs: list[ClustererRun] = list(runs)
        self.clusterers_ = dict(members)
        spread = [
            over_all_samples(labels, own, -1)
            for labels, own in zip(codes, samples, strict=True)
        ]
        return self._base_clusterings(spread, np.ones(len(runs)))

    def _base_clusterings(
        self, labels: Sequence[np.ndarray], weights: np.ndarray
    ) -> BaseClusterings:
        n_clusters = np.array([len(run.clusters) for run in self._runs])
        return BaseClusterings(np.column_stack(labels), n_clusters, weights)

    def _choose(self, base: BaseClusterings, agreement: np.ndarray) -> str:
        """Return the member that agrees most, of those that cluster most samples."""
        n_clustered = (base.labels >= 0).sum(axis=0)
        agreement = np.where(n_clustered == n_clustered.max(), agreement, -1.0)
        return list(self.clusterers_)[int(agreement.argmax())]

    def _labels_of_chosen(self, base: BaseClusterings) -> np.ndarray:
        return base.labels[:, list(self.clusterers_).index(str(self.chosen_))]

    def _assign(self, base: BaseClusterings) -> np.ndarray:
        """Return the clusters of samples by those of the members."""
        if self._consensus is not None:
            return self._consensus.assign(base)
        own = self._labels_of_chosen(base)
        return np.where(own >= 0, own, ConsensusMap(self._fused_shares).assign(base))

    def _describe_members(self, base: BaseClusterings) -> None:
        """Set the clusters by each member, and the uncertainty of samples."""
        memberships = shared_memberships(base, self._fused_shares)
        known = np.maximum(self.labels_, 0)
        own = np.take_along_axis(memberships, known[:, None], axis=1)[:, 0]
        self.uncertainty_ = 1 - np.where(self.labels_ >= 0, own, 0)
        each = [1] * len(self._runs)
        self.member_labels_ = labels_of_branches(base, self._fused_shares, each)
        self.agreement_ = agreement_by_modality(self.labels_, self.member_labels_)

    # New samples

    def _members_have_predict(self) -> bool:
        for name, member in (self.clusterers or {}).items():
            if not hasattr(member, "predict"):
                raise AttributeError(
                    f"the member {name!r}, {type(member).__name__}, has no predict: it "
                    "assigns the samples of fit only. Use fit_predict or labels_"
                )
        return True

    @available_if(_members_have_predict)
    @by_row_chunks
    def predict(self, X: ModalitiesLike) -> np.ndarray:
        """Predict the clusters of new samples by those that the members predict.

        It is that of the chosen member, where there is one that can take the sample.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The data.

        Returns
        -------
        ndarray of int of shape (n_samples,)
            Clusters.
        """
        base = self._cluster_later(X)
        return self._assign(base)

    @available_if(_members_have_predict)
    @by_row_chunks
    def transform(self, X: ModalitiesLike) -> np.ndarray:
        """Return the memberships of samples in the clusters.

        The membership in the cluster k is the weighted mean, over the members, of the
        share of k among the samples of `fit` that a member has clustered with the
        sample.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The data.

        Returns
        -------
        ndarray of shape (n_samples, n_clusters)
            Memberships, which add up to 1.
        """
        base = self._cluster_later(X)
        return shared_memberships(base, self._fused_shares)

    @available_if(_members_have_predict)
    def score(self, X: ModalitiesLike, y: object = None) -> float:
        """Score the clusters of samples without classes.

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
        return modality_silhouette_score(frame, self.predict(frame))

    @threads_of_n_jobs
    def _cluster_later(self, X: ModalitiesLike) -> BaseClusterings:
        """Return the clusters of new samples by every member."""
        frame = self._validate(X, reset=False)
        refuse_empty_samples(frame)
        frame = self._without_zero_rows(frame, warns=False)
        labels = [_codes_of(run, frame) for run in self._runs]
        base = self._base_clusterings(labels, self.member_weights_)
        alone = np.flatnonzero((base.labels < 0).all(axis=1))
        if alone.size:
            raise ValueError(
                f"sample {alone[0]} lacks a modality, which all members need; leave "
                "such samples out, or impute by ModalityImputer before"
            )
        return base

    @property
    def _n_features_out(self) -> int:
        return self.n_clusters_

    def __modality_tags__(self) -> ModalityTags:
        return ModalityTags(missing=True, sparse=True, same_dtype=True)


def _samples_of(clusterer: BaseEstimator, frame: Modalities) -> np.ndarray:
    """Return which samples a clusterer can take: those with all it needs."""
    tags = getattr(clusterer, "__modality_tags__", ModalityTags)()
    if tags.missing:
        return np.ones(len(frame), dtype=bool)
    return np.asarray(frame.observed.all(axis=1))


def _codes_of(run: ClustererRun, frame: Modalities) -> np.ndarray:
    """Return the clusters of new samples by a member; -1 for those it cannot take."""
    samples = _samples_of(run.clusterer, frame)
    if not samples.any():
        return np.full(len(frame), -1)
    own = frame if samples.all() else frame[samples]
    return over_all_samples(run.codes(predict_labels(run.clusterer, own)), samples, -1)
