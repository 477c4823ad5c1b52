"""Hybrid fusion of clusterings: of modalities alone and of several concatenated."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils import check_random_state

from mmfusion._sklearn_compat import StrOptions, fit_context
from mmfusion._typing import (
    ByModality,
    ColumnSpecLike,
    EstimatorLike,
    ModalitiesLike,
    NumericBlock,
    RandomStateLike,
)
from mmfusion._validation import refuse_empty_samples
from mmfusion.fusion._branch import EARLY_BRANCH, Branch, resolve_scaling
from mmfusion.fusion._hybrid_branches import (
    check_subsets,
    hybrid_branches_of,
    hybrid_positions,
)
from mmfusion.fusion._late_clusterer import LateFusionClusterer
from mmfusion.fusion._nested_clusterers import (
    routed_fit_params,
    weighted_params,
)
from mmfusion.fusion._passthrough import rows_over_all_samples
from mmfusion.modalities import Modalities


class HybridFusionClusterer(LateFusionClusterer):
    """Consensus of clusterings of single modalities and of all concatenated.

    As `LateFusionClusterer`, from the indicator matrices ``Z_r`` of the runs of all
    branches: the single modalities, `subsets` and all modalities together (early
    fusion), each run of the weight ``w_b / n_runs``. Samples may lack modalities.

    Parameters
    ----------
    clusterer : clusterer or dict, default=None
        Clusterer of one branch: one scikit-learn clusterer that is cloned, or a dict
        by name of the branch: a modality, ``'audio+video'`` for a subset, ``'early'``
        for all modalities; 'drop' leaves a branch out. None is ``KMeans(n_init=1)``.
    n_clusters : int, default=None
        Number of clusters of the consensus, and of the clusterers in place of their
        own, unless `n_base_clusters` is given. None leaves theirs (8 for k-means), and
        takes the most frequent number among the base clusterings.
    n_base_clusters : int, dict or None, default=None
        Number of clusters that the clusterers of every branch find, in place of
        `n_clusters`, which must be given too; or a dict by name of the branch. None,
        also for names that a dict lacks, is `n_clusters`. More base clusters follow
        clusters of other shapes than round ones, and the consensus merges them. A vote
        needs a branch with `n_clusters` base clusters as its reference.
    subsets : list of list of str, default=None
        Names of the modalities that are concatenated in further branches.
    scaling : {'auto', 'block', 'standard', 'l2'} or None or dict, default='auto'
        Scaling of each modality, alone and concatenated; see `EarlyFusion`.
    combine : {'hbgf', 'vote', 'soft_vote', 'coassociation'}, default='hbgf'
        Consensus method; see `LateFusionClusterer`.
    weights : {'uniform', 'agreement', 'inverse_variance', 'silhouette', \
'stability'}, array-like of shape (n_branches,) or dict, default='uniform'
        Weight of each branch's clusterings: modalities, subsets, 'early', in this order
        or by name; or learned as in `LateFusionClusterer`.
    n_runs : int, default=10
        Number of base clusterings per branch, from different seeds: more diverse
        clusterings make a better consensus. A clusterer without ``random_state`` runs
        once.
    n_landmarks : int, default=2000
        Number of samples that 'coassociation' links; its time and memory grow with the
        square.
    missing : {'mean', 'knn', 'zero', 'skip'}, default='mean'
        Treatment of samples that lack some modalities of a branch: they are filled in
        by `ModalityImputer`; or, with 'skip', the branch does not cluster them.
    modalities : int, list of int, str or dict, default=None
        Column spec that splits a plain 2-D X; None takes it as one modality. See
        :meth:`Modalities.from_table`.
    n_jobs : int, default=None
        Number of runs of a branch that are fitted at a time, in threads. None is 1
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
    modality_labels_ : ndarray of int of shape (n_samples, n_branches)
        Clusters by each branch alone, in terms of the fused clusters; -1 for samples
        that it does not cluster.
    modality_weights_ : ndarray of shape (n_branches,)
        Weights of the branches, in the order of ``clusterers_``, with mean 1.
    agreement_ : ndarray of shape (n_branches,)
        Adjusted Rand index of each branch's labels with ``labels_``, over the samples
        that it clusters.
    clusterers_ : dict of str to list of clusterer
        Fitted clusterers by name of the branch, one for each run.
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
        As `LateFusionClusterer` does; also if a subset names no or unknown
        modalities, or a modality has the name of another branch.

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

    _alone: list[str] | None = None  # branches of one modality; None for all

    _parameter_constraints: dict = {
        **LateFusionClusterer._parameter_constraints,
        "subsets": [list, tuple, None],
        "missing": [StrOptions({"mean", "knn", "zero", "skip"})],
    }

    def __init__(
        self,
        clusterer: EstimatorLike = None,
        *,
        n_clusters: int | None = None,
        n_base_clusters: ByModality[int | None] = None,
        subsets: Sequence[Sequence[str]] | None = None,
        scaling: ByModality[str | None] = "auto",
        combine: str = "hbgf",
        weights: str | ArrayLike | dict[str, float] = "uniform",
        n_runs: int = 10,
        n_landmarks: int = 2000,
        missing: str = "mean",
        modalities: ColumnSpecLike = None,
        n_jobs: int | None = None,
        random_state: RandomStateLike = None,
        verbose: bool | int = False,
    ) -> None:
        self.clusterer = clusterer
        self.n_clusters = n_clusters
        self.n_base_clusters = n_base_clusters
        self.subsets = subsets
        self.scaling = scaling
        self.combine = combine
        self.weights = weights
        self.n_runs = n_runs
        self.n_landmarks = n_landmarks
        self.missing = missing
        self.modalities = modalities
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.verbose = verbose

    @fit_context(prefer_skip_nested_validation=False)
    def fit(self, X: ModalitiesLike, y: object = None, **params: Any) -> Self:
        """Cluster every branch and find the consensus.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The data; see the user guide on input.
        y : object, default=None
            Not used.
        **params : dict
            Metadata for the clusterers' `fit`, such as ``sample_weight``, which then
            weighs the scaling too; values with one entry per sample are passed on for
            the samples that a branch clusters. With metadata routing enabled, the
            clusterers get what they request.

        Returns
        -------
        self
            The fitted clusterer.
        """
        self._check_parameters()
        check_subsets(self.subsets)
        frame, positions = self._without_dropped(self._validate(X, reset=True))
        refuse_empty_samples(frame)
        weight, params = weighted_params(params, frame)
        self.scaling_ = resolve_scaling(
            frame,
            self._scaling_of_modalities_kept(self.scaling, frame.names),
            (),
            weight,
        )
        alone = [name for name in frame.names if name in positions]
        self._alone = None if len(alone) == len(frame.names) else alone
        self._fused = self._fit_fused_branches(frame, positions, params)
        branches = self._blocks_of_branches(frame)
        self._refuse_without_distances(branches)
        rng = check_random_state(self.random_state)
        # fused blocks consist of scaled modalities
        scaling = self.scaling_ | {branch.name: None for branch in self._fused}
        params_by_branch = {
            name: routed_fit_params(self, params, name) for name in branches.names
        }
        with self._progress(X, y, branches.names) as progress:
            base, quality = self._cluster_branches(
                branches, scaling, params_by_branch, weight, rng, progress
            )
        self._find_consensus(base, quality, branches.names, rng)
        progress.finish()
        return self

    def _fit_fused_branches(
        self,
        frame: Modalities,
        positions: dict[str, list[int]],
        params: dict[str, Any],
    ) -> list[Branch]:
        """Fit the transformations of the branches of several modalities."""
        weight = routed_fit_params(self, params, EARLY_BRANCH).get("sample_weight")
        return [
            Branch(
                name,
                own,
                None,
                {frame.names[v]: self.scaling_[frame.names[v]] for v in own},
                missing=self.missing,
                frame_widths=self._layout.frame_widths,
            ).fit_transformers(frame, weight)
            for name, own in positions.items()
            if name not in self.scaling_
        ]

    def _blocks_of_branches(self, frame: Modalities) -> Modalities:
        """Append the fused blocks to those of single modalities, as a frame."""
        names = frame.names if self._alone is None else self._alone
        blocks = {name: frame[name] for name in names}
        observed = [frame.observed[:, [frame.names.index(n)]] for n in names]
        for branch in self._fused:
            rows = branch.observed(frame)
            # None, for a branch that no sample has, is a missing modality
            blocks[branch.name] = _fused_block(branch, frame, rows)
            observed.append(rows[:, None])
        return Modalities(blocks, observed=np.hstack(observed))

    def _branch_positions(self, names: Sequence[str]) -> dict[str, list[int]]:
        return hybrid_positions(names, self.subsets)

    def _branches_of(self, modality: str) -> Sequence[str]:
        return hybrid_branches_of(modality, self.subsets)

    def _takes_nan(self, modality: str) -> bool:
        # the nearest neighbors of 'knn' have no distances with NaN
        return self.missing != "knn" and super()._takes_nan(modality)


def _fused_block(branch: Branch, frame: Modalities, rows: np.ndarray) -> NumericBlock:
    """Transform the samples of a branch; rows of other samples are without meaning."""
    if not rows.any():
        return None
    return rows_over_all_samples(branch.transform(frame, rows), rows, 0.0)
