"""Clustering by kernel k-means on a weighted sum of kernels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from numbers import Integral, Real
from os import PathLike
from typing import Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    ClusterMixin,
    TransformerMixin,
)
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from sklearn.preprocessing import normalize
from sklearn.utils import check_random_state, gen_batches

from mmfusion._progress import FitProgress
from mmfusion._sklearn_compat import Interval, StrOptions, fit_context
from mmfusion._target_checks import validate_sample_weight
from mmfusion._threads import threads_of_n_jobs
from mmfusion._typing import ColumnSpecLike, ModalitiesLike, RandomStateLike
from mmfusion._warnings import warn_user
from mmfusion.metrics import modality_silhouette_score
from mmfusion.mkl._base import KernelSumMixin
from mmfusion.mkl._kernel_input import (
    KERNEL_CONSTRAINTS,
    GammaLike,
    KernelLike,
    ScalingLike,
)
from mmfusion.mkl._kernel_scaling import fit_kernel_scaling
from mmfusion.mkl._neighborhoods import Neighborhoods, fit_neighborhoods
from mmfusion.mkl._sample_counts import repetition_counts
from mmfusion.mkl._solvers import (
    CLUSTERER_ALGORITHMS,
    KernelConsensus,
    solve_kernel_clustering,
)
from mmfusion.mkl._stacks import Stack, accumulate_features, stack_kernels
from mmfusion.modalities import Modalities

MKL_DEFAULT_CLUSTERS = 8
FEATURE_BATCH_ROWS = 2**12


class MKLClusterer(
    KernelSumMixin,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    ClusterMixin,
    BaseEstimator,
):
    """Cluster by kernel k-means on a weighted sum of kernels.

    Kernel k-means is relaxed: the leading eigenvectors H of ``K = sum_p w_p K_p``
    maximise ``tr(H' K H)`` over ``H'H = I``. Times the roots of their eigenvalues they
    are the coordinates of the samples in the subspace of largest variance; these,
    scaled to unit norm, are clustered by k-means. The weights w are learned without
    classes; the algorithms differ in their objective.

    Parameters
    ----------
    n_clusters : int, default=None
        Number of clusters, and of eigenvectors; None is 8, or in a comparison the
        number of classes.
    kernel : {'rbf', 'linear', 'poly', 'cosine', 'laplacian', 'chi2', 'precomputed', \
'global_alignment', 'soft_dtw', 'dtw'}, callable, DTWKernel, list or dict, default='rbf'
        The kernel of all modalities, a list of several for each, or any of these by
        modality name; see `ModalityKernels`. 'precomputed' takes `Modalities` of
        kernels, or one array of shape (n_samples, n_samples, n_kernels), which searches
        and cross-validation split in rows and columns.
    gamma : float, array-like of float or dict, default=None
        Coefficient of 'rbf', 'poly', 'laplacian', 'chi2' and the kernels of sequences,
        or one by modality name; several values make one kernel each. None is by the
        median rule.
    degree : float, default=3
        Degree of the polynomial kernel.
    coef0 : float, default=1
        Constant of the polynomial kernel.
    scaling : {'auto', 'block', 'standard', 'l2'} or None or dict, default='auto'
        Scaling of the features of a modality before kernels; see `EarlyFusion`.
    normalize : {'trace', 'cosine'} or None, default='trace'
        Normalisation of each centred kernel. 'trace': the variance of the samples is 1.
        'cosine': every sample has norm 1.
    algorithm : {'agreement', 'average', 'late_fusion', 'mkkm', 'mkkm_mr', \
'simple_mkkm', 'statis'}, default='agreement'
        Algorithm of the weights.

        - 'agreement': sum over the other kernels q of ``|H_p' H_q|^2 / k``, less
          chance, with the leading eigenvectors H_p of each kernel. A modality that
          agrees with none gets no weight. Of two kernels both agree equally, so that
          it is 'average';
        - 'average': equal weights;
        - 'statis': leading eigenvector of the matrix of kernel alignments [1]_;
        - 'simple_mkkm': weights ``g_p^2``, with ``min_g max_H sum_p g_p^2
          tr(H' K_p H)`` over the simplex, which is convex [2]_;
        - 'mkkm': weights ``g_p^2``, with ``min_{g, H} sum_p g_p^2
          tr(K_p (I - HH'))``, alternating [3]_;
        - 'mkkm_mr': the same, plus a penalty of similar kernels ``lambda g'Mg / 2``
          with their alignments M [4]_;
        - 'late_fusion': ``max tr(F'(sum_p b_p H_p W_p + lambda H))``, a consensus F of
          the H_p, each rotated by W_p [5]_.
    regularization : float, default=1.0
        Factor lambda of the penalty of 'mkkm_mr', or of the mean kernel in the
        consensus of 'late_fusion'.
    neighborhood : float, default=None
        Share of the samples in the neighbourhood of a sample: kernels are multiplied by
        the share of neighbourhoods that contain both samples of a pair [6]_. For exact
        kernels. None uses all pairs.
    approximation : {'auto', 'nystroem', 'fourier'}, int or None, default='auto'
        None uses exact kernels, 'nystroem' and 'fourier' explicit features, whose time
        and memory grow linearly with the number of samples. An integer is the maximum
        number of samples of `fit` for which kernels are exact; more samples, unless all
        kernels are precomputed, are approximated by 'nystroem'. 'auto' is 5000.
    n_components : int, default=128
        Maximum number of explicit features of a kernel.
    landmarks : list, dict, Modalities or array-like of shape (n_landmarks, \
n_features), default=None
        Landmarks of 'nystroem', in any form of X and with the same modalities, of which
        each may lack some. `n_components` is not read then, and 'auto' is 'nystroem'.
        None finds them among the samples of `fit`.
    temp_folder : str or path-like, default=None
        Existing folder for the exact kernels of `fit`: they are memory-mapped files
        without a name, deleted during `fit`, and memory holds their sum only. None
        keeps all in memory.
    n_init : int, default=10
        Number of restarts of k-means.
    max_iter : int, default=100
        Maximum number of steps of 'simple_mkkm', 'mkkm', 'mkkm_mr' and 'late_fusion'.
    tol : float, default=1e-6
        Relative change of the objective at which these stop; for 'simple_mkkm' the
        relative duality gap.
    modalities : int, list of int, str or dict, default=None
        Column spec that splits a plain 2-D X; None takes it as one modality. See
        :meth:`Modalities.from_table`.
    n_jobs : int, default=None
        Number of kernels that are computed at a time, in threads, and of the threads of
        linear algebra. None is 1 unless in a joblib context, -1 all processors.
    random_state : int, RandomState instance or None, default=None
        Randomness of k-means, landmarks and random features; weights of exact kernels
        do not depend on it.

    Attributes
    ----------
    labels_ : ndarray of int of shape (n_samples,)
        Cluster of each sample.
    kernel_weights_ : ndarray of float64 of shape (n_kernels,)
        Weight w_p of each kernel; they add up to 1. For 'late_fusion' weights of the
        partitions.
    modality_weights_ : ndarray of float64 of shape (n_modalities,)
        Sum of the weights of the kernels of each modality.
    objective_path_ : ndarray of shape (`n_iter_`,)
        Objective after each step: decreasing for 'mkkm' and 'mkkm_mr', the smallest so
        far for 'simple_mkkm', increasing for 'late_fusion'. For the others one value,
        ``tr(K) - tr(H' K H)``.
    n_iter_ : int
        Number of steps, each with one eigenproblem but for 'late_fusion'.
    cluster_centers_ : ndarray of shape (n_clusters, n_dimensions)
        Centres in the consensus embedding.
    kernels_ : ModalityKernels
        Fitted transformer of the kernels.
    kernel_names_ : ndarray of str of shape (n_kernels,)
        Name of the modality; ``<modality>-<k>`` where it has several kernels.
    kernel_modalities_ : ndarray of int of shape (n_kernels,)
        Position of the modality of each kernel.
    gamma_ : ndarray of float64 of shape (n_kernels,)
        Gamma of each kernel; NaN where it has none.
    scaling_ : dict of str to str
        Scaling of each modality, with 'auto' resolved.
    approximation_ : {'nystroem', 'fourier'} or None
        Approximation of the kernels, with 'auto' and integers resolved.
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
        If there are fewer samples than clusters, a sample lacks every modality, a
        precomputed kernel is invalid (see `ModalityKernels`), or `neighborhood` is
        given with explicit features.

    Warns
    -----
    ConvergenceWarning
        If the weights still change after `max_iter` steps.

    See Also
    --------
    ModalityKernels : Computes the kernels.
    EarlyFusionClusterer : Clusters concatenated modalities.
    LateFusionClusterer : Finds a consensus of clusterings of the modalities.

    Notes
    -----
    *Choice of the algorithm.* Min-max and min-min weights are attracted by a modality
    of pure noise: 'simple_mkkm' weights the kernels that are hardest to explain, which
    noise is. Independent noise agrees with no other kernel, for which reason
    'agreement' is the default. With two modalities both agree equally, and weights are
    equal. Modalities that repeat each other agree, so that copies gain weight. Where
    all modalities are informative, 'average' is hard to beat.

    *The embedding.* The papers cluster the rows of H, where all k directions have equal
    weight, also the last ones, which explain little. Here the weight of a direction is
    the variance that it explains, as in k-means on the samples in feature space; on
    simulated data and on the digits of scikit-learn that found more of the classes,
    whatever the weights of the kernels. 'late_fusion' has no eigenvalues and clusters
    its orthonormal consensus.

    *New samples* are embedded by their kernel values with those of `fit`, centred by
    the means of `fit`: ``k(x)' H L^-1/2`` with the eigenvalues L, and assigned to the
    nearest centre. For the samples of `fit` this repeats ``labels_``. Kernels of weight
    0 are not computed.

    *Sample weights* D enter the relaxed objective, ``tr(H' D^1/2 K D^1/2 H)``, the
    means, sizes and bandwidths of kernels, neighbourhoods, the chance that 'agreement'
    subtracts, and k-means: a sample of weight 2 equals two copies of it. One of weight
    0 is left out, and labelled as a new sample.

    *Missing modalities.* A sample that lacks a modality lies at its mean, and its other
    kernels are multiplied by a factor above 1; see `ModalityKernels`.

    *Cost.* Exact kernels take ``n_kernels * n_samples^2`` numbers, and eigenproblems
    are solved for `n_clusters` vectors by Lanczos. With explicit features all weights
    and eigenvectors follow from the inner products of the features, a matrix of size
    ``(n_kernels * n_components)^2`` to which samples are added in batches; features
    are computed twice and never stored.

    References
    ----------
    .. [1] C. Lavit, Y. Escoufier, R. Sabatier, P. Traissac (1994), The ACT (STATIS
       method). Computational Statistics & Data Analysis 18(1), 97-119.
    .. [2] X. Liu, E. Zhu, J. Liu, T. Hospedales, Y. Wang, M. Wang (2020), SimpleMKKM:
       simple multiple kernel k-means. arXiv:2005.04975.
    .. [3] H.-C. Huang, Y.-Y. Chuang, C.-S. Chen (2012), Multiple kernel fuzzy
       clustering. IEEE Transactions on Fuzzy Systems 20(1), 120-134.
    .. [4] X. Liu, Y. Dou, J. Yin, L. Wang, E. Zhu (2016), Multiple kernel k-means
       clustering with matrix-induced regularization. AAAI.
    .. [5] S. Wang, X. Liu, E. Zhu, C. Tang, J. Liu, J. Hu, J. Xia, J. Yin (2019),
       Multi-view clustering via late fusion alignment maximization. IJCAI.
    .. [6] M. Li, X. Liu, L. Wang, Y. Dou, J. Yin, E. Zhu (2016), Multiple kernel
       clustering with local kernel alignment maximization. IJCAI.

    Examples
    --------
    >>> from mmfusion.datasets import make_multimodal_blobs
    >>> from mmfusion.mkl import MKLClusterer
    >>> X, y = make_multimodal_blobs(random_state=0)
    >>> clusterer = MKLClusterer(n_clusters=3, random_state=0).fit(X[:80])
    >>> clusterer.kernel_weights_.round(2).tolist()
    [0.5, 0.5]
    >>> clusterer.predict(X[80:]).shape
    (20,)
    """

    _parameter_constraints: dict = {
        "n_clusters": [Interval(Integral, 1, None, closed="left"), None],
        **KERNEL_CONSTRAINTS,
        "algorithm": [StrOptions(set(CLUSTERER_ALGORITHMS))],
        "regularization": [Interval(Real, 0, None, closed="left")],
        "neighborhood": [Interval(Real, 0, 1, closed="right"), None],
        "n_init": [Interval(Integral, 1, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="left")],
    }

    def __init__(
        self,
        n_clusters: int | None = None,
        *,
        kernel: KernelLike = "rbf",
        gamma: GammaLike = None,
        degree: float = 3,
        coef0: float = 1,
        scaling: ScalingLike = "auto",
        normalize: str | None = "trace",
        algorithm: str = "agreement",
        regularization: float = 1.0,
        neighborhood: float | None = None,
        approximation: str | int | None = "auto",
        n_components: int = 128,
        landmarks: ModalitiesLike | None = None,
        temp_folder: str | PathLike[str] | None = None,
        n_init: int = 10,
        max_iter: int = 100,
        tol: float = 1e-6,
        modalities: ColumnSpecLike = None,
        n_jobs: int | None = None,
        random_state: RandomStateLike = None,
    ) -> None:
        self.n_clusters = n_clusters
        self.kernel = kernel
        self.gamma = gamma
        self.degree = degree
        self.coef0 = coef0
        self.scaling = scaling
        self.normalize = normalize
        self.algorithm = algorithm
        self.regularization = regularization
        self.neighborhood = neighborhood
        self.approximation = approximation
        self.n_components = n_components
        self.landmarks = landmarks
        self.temp_folder = temp_folder
        self.n_init = n_init
        self.max_iter = max_iter
        self.tol = tol
        self.modalities = modalities
        self.n_jobs = n_jobs
        self.random_state = random_state

    @fit_context(prefer_skip_nested_validation=True)
    @threads_of_n_jobs
    def fit(
        self,
        X: ModalitiesLike,
        y: object = None,
        sample_weight: ArrayLike | None = None,
    ) -> Self:
        """Fit the kernels and their weights, and cluster the samples.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The data; see the user guide on input.
        y : object, default=None
            Not used.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the samples. None is equal weights.

        Returns
        -------
        self
            The fitted clusterer.
        """
        frame = self._validate(X, reset=True)
        weight = validate_sample_weight(sample_weight, frame).astype(np.float64)
        rows = np.flatnonzero(weight)
        k = MKL_DEFAULT_CLUSTERS if self.n_clusters is None else self.n_clusters
        if len(rows) < k:
            raise ValueError(f"n_samples={len(rows)} should be >= n_clusters={k}")
        weight = weight[rows]
        counts = repetition_counts(weight) if (weight != 1).any() else None
        rng = check_random_state(self.random_state)
        self.kernels_ = self._make_kernels(rng)
        with FitProgress(self, X, y, self.max_iter + 2) as progress:
            embedding, consensus = self._fit_embedding(frame, rows, counts, k, progress)
            k_means = KMeans(k, n_init=self.n_init, random_state=rng)
            with progress.timed("k-means"):
                self._k_means = k_means.fit(embedding, sample_weight=counts)
        self.labels_ = self._label_all(frame, rows)
        self.cluster_centers_ = self._k_means.cluster_centers_
        self.objective_path_ = consensus.objective_path
        self.n_iter_ = len(consensus.objective_path)
        if not (consensus.converged or progress.is_stopped):
            warn_user(
                f"the weights of the kernels still change after max_iter="
                f"{self.max_iter} steps (tol={self.tol}); increase max_iter",
                ConvergenceWarning,
            )
        progress.finish()
        return self

    def _fit_embedding(
        self,
        frame: Modalities,
        rows: np.ndarray,
        counts: np.ndarray | None,
        k: int,
        progress: FitProgress,
    ) -> tuple[np.ndarray, KernelConsensus]:
        """Fit the kernels and their weights; embed the samples that count."""
        with progress.timed("kernels"):
            grams = self.kernels_._fit_frame(frame, rows, counts)
        counted = frame if len(rows) == len(frame) else frame[rows]
        self._neighborhoods: Neighborhoods | None = None
        if grams is not None and self.neighborhood is not None:
            grams = self._fit_neighborhoods(grams, self.neighborhood, counts)
        consensus = self._fit_weights(self._stack(counted, grams, counts), k, progress)
        embedding = self._embed(counted) if grams is None else self._project(grams)
        if grams is not None and counts is not None:
            self._weight_projections(counts)
        return embedding, consensus

    @threads_of_n_jobs
    def predict(self, X: ModalitiesLike) -> np.ndarray:
        """Predict the clusters of samples, those of the nearest centres.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The data.

        Returns
        -------
        ndarray of int of shape (n_samples,)
            Clusters.
        """
        frame = self._validate(X, reset=False)
        return self._k_means.predict(self._embed(frame))

    @threads_of_n_jobs
    def transform(self, X: ModalitiesLike) -> np.ndarray:
        """Compute the consensus embedding of samples, in which they are clustered.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The data.

        Returns
        -------
        ndarray of float64 of shape (n_samples, n_dimensions)
            Rows of unit norm; 0 for a sample at the mean of every kernel.
        """
        return self._embed(self._validate(X, reset=False))

    def score(self, X: ModalitiesLike, y: object = None) -> float:
        """Score the clusters of samples without classes.

        Scores are comparable across kernels, algorithms and numbers of clusters, as a
        search needs.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The data.
        y : object, default=None
            Not used.

        Returns
        -------
        float
            Mean silhouette over the modalities, of at most 2000 samples. Precomputed
            kernels are represented by their rows, the similarities to the samples of
            `fit`.
        """
        frame = self._validate(X, reset=False)
        labels = self._k_means.predict(self._embed(frame))
        return modality_silhouette_score(frame, labels)

    def _label_all(self, frame: Modalities, rows: np.ndarray) -> np.ndarray:
        """Return the clusters of all samples, of which k-means has clustered `rows`."""
        fitted = self._k_means.labels_
        if len(rows) == len(frame):
            return fitted
        labels = np.empty(len(frame), fitted.dtype)
        labels[rows] = fitted
        others = np.setdiff1d(np.arange(len(frame)), rows)
        labels[others] = self._k_means.predict(self._embed(frame[others]))
        return labels

    def _fit_neighborhoods(
        self, grams: list[np.ndarray], share: float, counts: np.ndarray | None
    ) -> list[np.ndarray]:
        """Restrict kernels to neighbourhoods, then centre and normalise them again."""
        self._neighborhoods = fit_neighborhoods(grams, share, counts)
        # the product of two semi-definite matrices, entry by entry, is semi-definite
        mask = self._neighborhoods.mask(grams)
        grams = [K * mask for K in grams]
        self._local_scalings = [
            fit_kernel_scaling(K, sample_weight=counts) for K in grams
        ]
        scaled = zip(self._local_scalings, grams, strict=True)
        return [scaling.apply(K) for scaling, K in scaled]

    def _stack(
        self,
        frame: Modalities,
        grams: list[np.ndarray] | None,
        counts: np.ndarray | None,
    ) -> Stack:
        if grams is not None:
            return stack_kernels(grams, counts)
        if self.neighborhood is not None:
            raise ValueError(
                "neighborhood needs exact kernels; set approximation=None, or "
                "neighborhood=None"
            )
        return accumulate_features(self._compute_batches(frame, None), counts)

    def _compute_batches(
        self, frame: Modalities, positions: Sequence[int] | None
    ) -> Iterator[list[np.ndarray]]:
        for rows in gen_batches(len(frame), FEATURE_BATCH_ROWS):
            yield self.kernels_._compute(frame[rows], positions)

    def _fit_weights(
        self, stack: Stack, k: int, progress: FitProgress
    ) -> KernelConsensus:
        """Learn the weights of the kernels that are not 0 everywhere."""
        traces = stack.traces()
        # solvers divide by norms and traces of kernels
        informative = np.flatnonzero(traces > 0)
        if informative.size == 0:
            informative = np.arange(len(traces))
        part = stack.subset(informative)
        consensus = solve_kernel_clustering(
            part,
            k,
            self.algorithm if traces.any() else "average",
            max_iter=self.max_iter,
            tol=self.tol,
            regularization=self.regularization,
            on_step=lambda objective: progress.step(f"objective {objective:.6g}"),
        )
        weights = np.zeros(len(traces))
        weights[informative] = consensus.weights
        self._set_kernel_attributes(self.kernels_, weights)
        self._projections: list[np.ndarray | None] = [None] * len(traces)
        projections = part.projections(consensus.terms)
        for p, projection in zip(informative, projections, strict=True):
            self._projections[p] = projection
        self._n_features_out = max(
            own.shape[1] for own in self._projections if own is not None
        )
        return consensus

    def _weight_projections(self, counts: np.ndarray) -> None:
        """Multiply projections by the roots of how often samples count.

        For eigenvectors h of ``D^1/2 K D^1/2`` those of values of K are ``D^1/2 h``.
        """
        roots = np.sqrt(counts)[:, None]
        self._projections = [
            None if own is None else roots * own for own in self._projections
        ]

    def _embed(self, frame: Modalities) -> np.ndarray:
        """Embed checked samples by the kernels that have a projection."""
        used = [p for p, own in enumerate(self._projections) if own is not None]
        if self._neighborhoods is None:
            batches = self._compute_batches(frame, used)
            return np.concatenate([self._project_used(K, used) for K in batches])
        # the neighbourhoods are those of the mean of all kernels
        batches = self._compute_batches(frame, None)
        return np.concatenate([self._project(self._localize(K)) for K in batches])

    def _localize(self, kernels: list[np.ndarray]) -> list[np.ndarray]:
        """Restrict kernels of samples with those of `fit` to neighbourhoods."""
        assert self._neighborhoods is not None
        mask = self._neighborhoods.mask(kernels)
        scaled = zip(self._local_scalings, kernels, strict=True)
        return [scaling.apply(K * mask) for scaling, K in scaled]

    def _project(self, kernels: Sequence[np.ndarray]) -> np.ndarray:
        used = [p for p, own in enumerate(self._projections) if own is not None]
        return self._project_used([kernels[p] for p in used], used)

    def _project_used(
        self, kernels: Sequence[np.ndarray], used: Sequence[int]
    ) -> np.ndarray:
        embedding = np.zeros((len(kernels[0]), self._n_features_out))
        for p, K in zip(used, kernels, strict=True):
            embedding += K @ self._projections[p]
        return normalize(embedding, copy=False)
