"""Late fusion of clusterings: cluster every modality alone, then find a consensus."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from numbers import Integral
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, ClusterMixin, TransformerMixin
from sklearn.cluster import KMeans
from sklearn.preprocessing import normalize
from sklearn.utils import check_random_state
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from mmfusion._blocks import is_sequences, of_samples, over_all_samples
from mmfusion._columns import SEPARATOR
from mmfusion._frame_scaling import fit_block_scaling, scale_block
from mmfusion._numbers import holds_nan
from mmfusion._options import by_modality, weights_by_modality
from mmfusion._progress import FitProgress, Job, Progress
from mmfusion._row_chunks import by_row_chunks
from mmfusion._scaling import SCALINGS, Scaling
from mmfusion._sklearn_compat import (
    INTEGER,
    CallbackSupportMixin,
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
    NumericBlock,
    RandomStateLike,
)
from mmfusion._validation import refuse_empty_samples
from mmfusion.base import PerModalityParams
from mmfusion.fusion._branch import resolve_scaling
from mmfusion.fusion._nested_clusterers import (
    ClustererRun,
    FusionClustererMixin,
    clusterer_has,
    fit_run,
    make_clusterers,
    n_runs_of,
    predict_labels,
    routed_fit_params,
    weighted_params,
)
from mmfusion.fusion.combination import _clustering_quality, _consensus
from mmfusion.fusion.combination._clusterings import (
    BaseClusterings,
    agreement_by_modality,
    join_runs,
    label_counts,
    most_frequent_n_clusters,
    mutual_information_between,
    weigh_runs,
)
from mmfusion.fusion.combination._predictor_weights import normalised_weights
from mmfusion.modalities import Modalities

INTEGER_FROM_1 = Interval(Integral, 1, None, closed="left")


class LateFusionClusterer(
    FusionClustererMixin,
    PerModalityParams,
    ClusterMixin,
    TransformerMixin,
    CallbackSupportMixin,
    BaseEstimator,
):
    """Consensus of clusterings of single modalities.

    Every modality v is clustered ``n_runs`` times. From the labels ``z_ir`` of the
    sample i in the run r, of the weight ``w_r = w_v / n_runs``, the consensus is

    - the least normalised cut of the bipartite graph of samples and base clusters, with
      edges of the weight ``w_r``, in its spectral relaxation, for 'hbgf';
    - ``argmax_k sum_r w_r [m_r(z_ir) = k]`` for 'vote', where ``m_r`` matches base
      clusters to those of a reference; for 'soft_vote' with memberships for labels;
    - the average linkage of the distances
      ``1 - sum_r w_r [z_ir = z_jr] / sum_r w_r`` between samples for 'coassociation'.

    Samples may lack modalities: each is clustered by those that it has.

    Parameters
    ----------
    clusterer : clusterer or dict, default=None
        Clusterer of one modality: one scikit-learn clusterer that is cloned, or a dict
        by modality name, in which 'drop' leaves a modality out. None is
        ``KMeans(n_init=1)``.
    n_clusters : int, default=None
        Number of clusters of the consensus, and of the clusterers in place of their
        own, unless `n_base_clusters` is given. None leaves theirs (8 for k-means), and
        takes the most frequent number among the base clusterings.
    n_base_clusters : int, dict or None, default=None
        Number of clusters that the clusterers of every modality find, in place of
        `n_clusters`, which must be given too; or a dict by name of the modality. None,
        also for names that a dict lacks, is `n_clusters`. More base clusters follow
        clusters of other shapes than round ones, and the consensus merges them. A vote
        needs a modality with `n_clusters` base clusters as its reference.
    scaling : {'auto', 'block', 'standard', 'l2'} or None or dict, default='auto'
        Scaling of each modality; see `EarlyFusion`.
    combine : {'hbgf', 'vote', 'soft_vote', 'coassociation'}, default='hbgf'
        Consensus method.

        - 'hbgf': spectral cut of the bipartite graph of samples and base clusters [1]_;
        - 'vote': weighted vote of the base clusterings, whose clusters are matched to
          those of a reference by the Hungarian method [2]_;
        - 'soft_vote': the same with the memberships of clusterers that have
          ``predict_proba``, such as GaussianMixture; others vote as in 'vote';
        - 'coassociation': average linkage on the share of runs in which two samples
          have the same cluster (evidence accumulation) [3]_, of `n_landmarks` samples.
    weights : {'uniform', 'agreement', 'inverse_variance', 'silhouette', \
'stability'}, array-like of shape (n_modalities,) or dict, default='uniform'
        Weight of each modality's clusterings: given, by modality name (1 where a dict
        does not name it), or by their quality, measured without classes. 'agreement':
        mean normalised mutual information with other modalities. 'inverse_variance':
        total variance over that within clusters. 'silhouette': mean silhouette.
        'stability': mean adjusted Rand index between runs. A quality of 0
        leaves a thousandth of the largest weight.
    n_runs : int, default=10
        Number of base clusterings per modality, from different seeds: more diverse
        clusterings make a better consensus. A clusterer without ``random_state`` runs
        once.
    n_landmarks : int, default=2000
        Number of samples that 'coassociation' links; its time and memory grow with the
        square.
    modalities : int, list of int, str or dict, default=None
        Column spec that splits a plain 2-D X; None takes it as one modality. See
        :meth:`Modalities.from_table`.
    n_jobs : int, default=None
        Number of runs of a modality that are fitted at a time, in threads. None is 1
        unless in a joblib context, -1 all processors.
    random_state : int, RandomState instance or None, default=None
        Generator of the seeds of the runs, and of the draws of the consensus.
    verbose : bool or int, default=False
        Whether to show the progress of the runs: True or 1 by a bar, where tqdm is
        installed and stderr is a terminal or a notebook, else by lines with their
        seconds; 2 by lines.

    Attributes
    ----------
    labels_ : ndarray of int of shape (n_samples,)
        Cluster of each sample; -1 where it is noise in all clusterings of positive
        weight.
    modality_labels_ : ndarray of int of shape (n_samples, n_modalities)
        Clusters by each modality alone, in terms of the fused clusters; -1 for samples
        that it does not cluster.
    modality_weights_ : ndarray of shape (n_modalities,)
        Weights of the modalities, with mean 1.
    agreement_ : ndarray of shape (n_modalities,)
        Adjusted Rand index of each modality's labels with ``labels_``, over the
        samples that it clusters.
    clusterers_ : dict of str to list of clusterer
        Fitted clusterers by modality, one for each run.
    scaling_ : dict of str to str
        Scaling of each modality; 'auto' is resolved.
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
        If a sample lacks every modality, a modality is missing for every sample of
        `fit`, an observed cell is NaN or infinite, ``n_clusters`` is given to a
        clusterer without such a parameter, or no base clustering has the number of
        clusters that a vote needs.

    See Also
    --------
    EarlyFusionClusterer : Clusters the concatenation of modalities.
    HybridFusionClusterer : Does both, and finds a consensus.

    Notes
    -----
    Time and memory grow linearly with n_samples, if the clusterer's do. One scaled
    modality is in memory at a time, and a byte or two per sample and run; 'soft_vote'
    holds the memberships of every run. 'hbgf' decomposes a dense matrix of base
    clusters against base clusters (modalities x runs x clusters), which takes minutes
    from some thousands on.

    `predict` assigns new samples by the fitted base clusterers, whose clusters it maps
    to those of the consensus; for the samples of `fit` it repeats ``labels_``.

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

    # the consensus is over starts, so that k-means needs no restarts
    _make_default_estimator = staticmethod(partial(KMeans, n_init=1))

    _drops = True

    _parameter_constraints: dict = {
        "clusterer": [HasMethods("fit_predict"), dict, None],
        "n_clusters": [INTEGER_FROM_1, None],
        "n_base_clusters": [INTEGER_FROM_1, dict, None],
        "combine": [StrOptions({"hbgf", "vote", "soft_vote", "coassociation"})],
        "weights": [
            StrOptions({"uniform", *_clustering_quality.CLUSTERING_QUALITIES}),
            "array-like",
            dict,
        ],
        "n_runs": [INTEGER_FROM_1],
        "scaling": [StrOptions(set(SCALINGS)), None, dict],
        "n_landmarks": [Interval(Integral, 2, None, closed="left")],
        "modalities": ["array-like", str, dict, INTEGER, None],
        "n_jobs": [INTEGER, None],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        clusterer: EstimatorLike = None,
        *,
        n_clusters: int | None = None,
        n_base_clusters: ByModality[int | None] = None,
        scaling: ByModality[str | None] = "auto",
        combine: str = "hbgf",
        weights: str | ArrayLike | dict[str, float] = "uniform",
        n_runs: int = 10,
        n_landmarks: int = 2000,
        modalities: ColumnSpecLike = None,
        n_jobs: int | None = None,
        random_state: RandomStateLike = None,
        verbose: bool | int = False,
    ) -> None:
        self.clusterer = clusterer
        self.n_clusters = n_clusters
        self.n_base_clusters = n_base_clusters
        self.scaling = scaling
        self.combine = combine
        self.weights = weights
        self.n_runs = n_runs
        self.n_landmarks = n_landmarks
        self.modalities = modalities
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.verbose = verbose

    @fit_context(prefer_skip_nested_validation=False)
    def fit(self, X: ModalitiesLike, y: object = None, **params: Any) -> Self:
        """Cluster every modality and find the consensus.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The data; see the user guide on input.
        y : object, default=None
            Not used.
        **params : dict
            Metadata for the clusterers' `fit`, such as ``sample_weight``, which then
            weighs the scaling too; values with one entry per sample are passed on for
            the samples that have the modality. With metadata routing enabled, the
            clusterers get what they request.

        Returns
        -------
        self
            The fitted clusterer.
        """
        self._check_parameters()
        frame, _ = self._without_dropped(self._validate(X, reset=True))
        refuse_empty_samples(frame)
        weight, params = weighted_params(params, frame)
        params_by_branch = {
            name: routed_fit_params(self, params, name) for name in frame.names
        }
        self._refuse_without_distances(frame)
        self.scaling_ = resolve_scaling(
            frame,
            self._scaling_of_modalities_kept(self.scaling, frame.names),
            self._layout.as_given,
            weight,
        )
        rng = check_random_state(self.random_state)
        with self._progress(X, y, frame.names) as progress:
            base, quality = self._cluster_branches(
                frame, self.scaling_, params_by_branch, weight, rng, progress
            )
        self._find_consensus(base, quality, frame.names, rng)
        progress.finish()
        return self

    def _progress(self, X: Any, y: Any, branches: Sequence[str]) -> FitProgress:
        """Begin the fit, whose steps are the runs of all branches."""
        templates = self._templates_of_branches(branches)
        n_fits = sum(n_runs_of(template, self.n_runs) for template in templates)
        return FitProgress(self, X, y, n_fits, "run")

    def _cluster_branches(
        self,
        frame: Modalities,
        scaling: dict[str, str | None],
        params: dict[str, dict[str, Any]],
        sample_weight: np.ndarray | None,
        rng: np.random.RandomState,
        progress: Progress,
    ) -> tuple[BaseClusterings, np.ndarray]:
        """Cluster the blocks of a frame one by one, with one scaled block in memory.

        Returns the clusterings and the quality of those of each block.
        """
        names = frame.names
        templates = self._templates_of_branches(names)
        n_base_clusters = self._n_base_clusters_of_branches(names)
        # memberships of clusterers without any would be labels that take more memory
        self._is_soft = self.combine == "soft_vote" and any(
            hasattr(template, "predict_proba") for template in templates
        )
        self._runs: list[list[ClustererRun]] = []
        self._scalings: list[Scaling | None] = []
        clusterings, quality = [], np.ones(len(names))
        for v, (name, observed) in enumerate(zip(names, frame.observed.T, strict=True)):
            own = {
                key: of_samples(value, observed) for key, value in params[name].items()
            }
            block = of_samples(frame.blocks[v], observed)
            scaled, fitted_scaling = block, None
            if name not in self._layout.as_given:
                fitted_scaling = fit_block_scaling(
                    block, scaling[name], own.get("sample_weight")
                )
                scaled = scale_block(fitted_scaling, block)
            self._scalings.append(fitted_scaling)
            weight = None if sample_weight is None else sample_weight[observed]
            kind = "modality" if name in self._layout.names else "branch"
            title = f"{kind} {name!r}"
            clusterers = make_clusterers(
                templates[v], n_base_clusters[v], self.n_runs, rng
            )
            # in threads, which share the block
            fitted = progress.run(
                [
                    Job(
                        f"{title}, run {run}",
                        fit_run,
                        (clusterer, title, scaled, own, weight),
                    )
                    for run, clusterer in enumerate(clusterers)
                ],
                self.n_jobs,
                prefer="threads",
            )
            runs, codes = zip(*fitted, strict=True)
            labels = np.column_stack(codes)
            quality[v] = self._quality(scaled, labels, rng, weight)
            clusterings.append(self._base_clusterings(runs, scaled, labels, observed))
            self._runs.append(list(runs))
        self.clusterers_ = {
            name: [run.clusterer for run in runs]
            for name, runs in zip(names, self._runs, strict=True)
        }
        base = replace(join_runs(clusterings), sample_weight=sample_weight)
        return base, quality

    def _templates_of_branches(self, names: Sequence[str]) -> list[Any]:
        """Return an unfitted clusterer for each of the branches that are kept."""
        all_names = self._branch_names()
        cloned = self._clone_by_modality(all_names, self._make_default_estimator())
        by_name = dict(zip(all_names, cloned, strict=True))
        return [by_name[name] for name in names]

    def _n_base_clusters_of_branches(self, names: Sequence[str]) -> list[int | None]:
        """Return the number of base clusters of each of the branches that are kept."""
        all_names = self._branch_names()
        given = by_modality(self.n_base_clusters, all_names, "n_base_clusters")
        by_name = dict(zip(all_names, given, strict=True))
        if self.n_clusters is None and any(n is not None for n in given):
            raise ValueError(
                f"n_base_clusters={self.n_base_clusters!r} needs n_clusters, the "
                "number of clusters of the consensus; give it too, or set the number "
                "on the clusterers"
            )
        for name, number in by_name.items():
            if number is not None and not INTEGER_FROM_1.is_satisfied_by(number):
                raise ValueError(
                    f"n_base_clusters[{name!r}]={number!r}; give an integer from 1 on, "
                    "or None for n_clusters"
                )
        return [by_name[name] or self.n_clusters for name in names]

    def _find_consensus(
        self,
        base: BaseClusterings,
        quality: np.ndarray,
        branches: Sequence[str],
        rng: np.random.RandomState,
    ) -> None:
        """Weigh the clusterings of each branch, and combine them."""
        n_runs = [len(runs) for runs in self._runs]
        self.modality_weights_ = self._weights_of_branches(
            base, quality, branches, n_runs
        )
        base = weigh_runs(base, self.modality_weights_, n_runs)
        if base.clustered().size == 0:
            raise ValueError(
                "no base clustering has a cluster: all samples are noise to all; give "
                "the clusterers other parameters"
            )
        n_clusters = self.n_clusters or most_frequent_n_clusters(base)
        match self.combine:
            case "hbgf":
                self.labels_, self._consensus = _consensus.hbgf(base, n_clusters, rng)
            case "coassociation":
                self.labels_, self._consensus = _consensus.coassociation(
                    base, n_clusters, rng, self.n_landmarks
                )
            case _:
                self.labels_, self._consensus = _consensus.vote(base, n_clusters)
        # P(fused cluster | base cluster), by which single branches assign samples
        self._fused_shares = normalize(
            label_counts(base, self.labels_, int(self.labels_.max()) + 1), norm="l1"
        )
        self.modality_labels_ = _consensus.labels_of_branches(
            base, self._fused_shares, n_runs
        )
        self.agreement_ = agreement_by_modality(
            self.labels_, self.modality_labels_, base.sample_weight
        )

    def _refuse_without_distances(self, frame: Modalities) -> None:
        """Raise an error if a quality needs distances that a modality does not have."""
        is_quality = isinstance(self.weights, str)
        if not is_quality or self.weights not in _clustering_quality.DISTANCE_QUALITIES:
            return
        for v, (name, observed) in enumerate(
            zip(frame.names, frame.observed.T, strict=True)
        ):
            block = frame.blocks[v]
            if is_sequences(block):
                raise ValueError(
                    f"weights={self.weights!r} measures distances of rows, but "
                    f"modality {name!r} holds sequences; give weights='agreement' or "
                    "'stability', or numbers"
                )
            as_given = name in self._layout.as_given
            if as_given or holds_nan(of_samples(block, observed)):
                raise ValueError(
                    f"weights={self.weights!r} measures distances, but modality "
                    f"{name!r} holds text, categories or NaN; encode and "
                    "impute it before, by PerModality, or give weights='agreement'"
                )

    def _base_clusterings(
        self,
        runs: Sequence[ClustererRun],
        scaled: NumericBlock,
        labels: np.ndarray,
        observed: np.ndarray,
    ) -> BaseClusterings:
        """Extend the runs of one branch to all samples."""
        soft = []
        if self._is_soft:
            soft = [
                run.memberships(scaled, codes)
                for run, codes in zip(runs, labels.T, strict=True)
            ]
            soft = [over_all_samples(m, observed, 0.0) for m in soft]
        return BaseClusterings(
            over_all_samples(labels, observed, -1),
            np.array([len(run.clusters) for run in runs]),
            np.ones(len(runs)),
            soft,
        )

    def _quality(
        self,
        scaled: NumericBlock,
        labels: np.ndarray,
        rng: np.random.RandomState,
        sample_weight: np.ndarray | None,
    ) -> float:
        """Return the quality of a branch's clusterings that depends on its data."""
        if not isinstance(self.weights, str):
            return 1.0
        match self.weights:
            case "silhouette":
                return _clustering_quality.silhouette(
                    scaled, labels, rng, sample_weight
                )
            case "stability":
                return _clustering_quality.stability(labels, sample_weight)
            case "inverse_variance":
                return _clustering_quality.inverse_variance(
                    scaled, labels, sample_weight
                )
        return 1.0

    def _weights_of_branches(
        self,
        base: BaseClusterings,
        quality: np.ndarray,
        branches: Sequence[str],
        n_runs: Sequence[int],
    ) -> np.ndarray:
        """Return the weight of each branch, with mean 1."""
        given = self._weights_of_branches_kept(self.weights, branches)
        if not isinstance(given, str):
            weights = weights_by_modality(given, branches)
            return weights / weights.mean()
        if self.weights == "agreement":
            quality = _clustering_quality.agreement_with_others(
                mutual_information_between(base),
                np.repeat(np.arange(len(branches)), n_runs),
            )
        # above 0, or samples that have only that modality would have no cluster
        return normalised_weights(quality)

    def _assign(self, frame: Modalities) -> np.ndarray:
        frame = self._used_modalities(frame)
        refuse_empty_samples(frame)
        return self._assign_by_branches(self._blocks_of_branches(frame))

    def _blocks_of_branches(self, frame: Modalities) -> Modalities:
        """Return the block of every branch, as a frame."""
        return frame

    def _assign_by_branches(self, frame: Modalities) -> np.ndarray:
        """Assign samples by the fitted runs of every block of a frame."""
        n_runs = [len(runs) for runs in self._runs]
        base = weigh_runs(self._cluster_later(frame), self.modality_weights_, n_runs)
        return self._consensus.assign(base)

    def _cluster_later(self, frame: Modalities) -> BaseClusterings:
        """Return the clusters of samples by the fitted runs of every block."""
        clusterings = []
        for v, observed in enumerate(frame.observed.T):
            runs = self._runs[v]
            # clusterers refuse to predict for no samples
            labels, scaled = np.empty((0, len(runs)), dtype=int), np.empty((0, 0))
            if observed.any():
                scaled = of_samples(frame.blocks[v], observed)
                scaling = self._scalings[v]
                if scaling is not None:
                    scaled = scale_block(scaling, scaled)
                labels = np.column_stack(
                    [run.codes(predict_labels(run.clusterer, scaled)) for run in runs]
                )
            clusterings.append(self._base_clusterings(runs, scaled, labels, observed))
        return join_runs(clusterings)

    @available_if(clusterer_has("predict"))
    @by_row_chunks
    def transform(self, X: ModalitiesLike) -> np.ndarray:
        """Return the memberships of samples in the clusters, by each modality alone.

        The membership in the cluster k by a modality is the mean over its runs of the
        share of k among the samples of `fit` that the run has clustered with the
        sample. With ``combine='soft_vote'`` shares are weighted by the memberships that
        the clusterers predict.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The data; samples may lack modalities.

        Returns
        -------
        ndarray of shape (n_samples, n_modalities * n_clusters)
            Memberships, which add up to 1 for each modality; NaN where it does not
            cluster the sample. In hybrid fusion there are columns for every branch.
        """
        frame = self._used_modalities(self._validate(X, reset=False))
        refuse_empty_samples(frame)
        base = self._cluster_later(self._blocks_of_branches(frame))
        n_runs = [len(runs) for runs in self._runs]
        return np.hstack(
            [
                _consensus.shared_memberships(
                    weigh_runs(base, alone, n_runs), self._fused_shares
                )
                for alone in np.eye(len(n_runs))
            ]
        )

    def get_feature_names_out(
        self, input_features: ArrayLike | None = None
    ) -> np.ndarray:
        """Return the names of the columns of `transform`.

        Parameters
        ----------
        input_features : array-like of str of shape (`n_features_in_`,), default=None
            Names of the input's features, checked against those of `fit`, if there are
            any.

        Returns
        -------
        ndarray of str
            ``<modality>__<cluster>``.
        """
        check_is_fitted(self)
        self._checked_names(input_features)
        clusters = range(self._fused_shares.shape[1])
        names = [f"{b}{SEPARATOR}{k}" for b in self.clusterers_ for k in clusters]
        return np.array(names, dtype=object)
