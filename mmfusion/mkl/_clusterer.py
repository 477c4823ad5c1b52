"""Clustering by a weighted sum of kernels."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from numbers import Integral, Real
from os import PathLike
from typing import Any, Self

import numpy as np
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

from mmfusion._sklearn_compat import Interval, StrOptions, fit_context
from mmfusion.metrics import modality_silhouette_score
from mmfusion.mkl._kernels import fit_kernel_scaling
from mmfusion.mkl._modality_kernels import KERNEL_CONSTRAINTS, KernelInputMixin
from mmfusion.mkl._neighborhoods import Neighborhoods, fit_neighborhoods
from mmfusion.mkl._solvers import ALGORITHMS, Consensus, solve
from mmfusion.mkl._stacks import KernelStack, Stack, accumulate_features
from mmfusion.modalities import Modalities

N_CLUSTERS = 8
CHUNK_ROWS = 2**12


class MKLClusterer(
    KernelInputMixin,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    ClusterMixin,
    BaseEstimator,
):
    """Cluster by a weighted sum of kernels, whose weights are learned without classes.

    Kernel k-means is relaxed: of the sum ``K = sum_p w_p K_p`` of kernels of all
    modalities the leading eigenvectors H are found, which maximise ``tr(H' K H)`` over
    ``H'H = I``. Times the roots of their eigenvalues they are the coordinates of the
    samples in the subspace that tells most of them; these, brought to unit length, are
    clustered by k-means. The algorithms differ in what the weights are.

    Parameters
    ----------
    n_clusters : int, default=None
        Number of clusters, and of eigenvectors; None is 8, or in a comparison the
        number of classes.
    kernel : {'rbf', 'linear', 'poly', 'cosine', 'laplacian', 'chi2', 'precomputed'}, \
callable, list or dict, default='rbf'
        The kernel of all modalities, a list of several for each, or any of these by
        modality name; see `ModalityKernels`. 'precomputed' takes `Modalities` of
        kernels, or one array of shape (n_samples, n_samples, n_kernels), which searches
        and cross-validation split in rows and columns.
    gamma : float, array-like of float or dict, default=None
        Of 'rbf', 'poly', 'laplacian' and 'chi2'; None follows the median distance of
        each modality. See `ModalityKernels`.
    degree : float, default=3
        Of 'poly'.
    coef0 : float, default=1
        Of 'poly'.
    scaling : {'auto', 'block', 'standard', 'l2'} or None or dict, default='auto'
        How the features of a modality are scaled first; see `EarlyFusion`.
    normalize : {'trace', 'cosine'} or None, default='trace'
        Size of each centred kernel: a diagonal of 1 on average, or everywhere.
    algorithm : {'agreement', 'average', 'late_fusion', 'mkkm', 'mkkm_mr', \
'simple_mkkm', 'statis'}, default='agreement'
        How kernels are weighed.

        - 'agreement': by how far a kernel's own eigenvectors H_p agree with those of
          the others: ``|H_p' H_q|^2 / k``, less chance, averaged over the others. A
          modality that agrees with none gets no weight. Of two kernels neither can be
          told to be the odd one, so that it is 'average';
        - 'average': all alike;
        - 'statis': the leading eigenvector of the matrix of kernel alignments [1]_;
        - 'simple_mkkm': weights ``g_p^2``, g minimising over the simplex what the best
          H explains: convex, one optimum [2]_;
        - 'mkkm': weights ``g_p^2``, g and H minimising what H leaves unexplained, by
          turns [3]_;
        - 'mkkm_mr': the same with a penalty on weighing kernels that are alike [4]_;
        - 'late_fusion': no sum of kernels, but of the H_p, each rotated to agree with
          the consensus [5]_.
    regularization : float, default=1.0
        Of 'mkkm_mr', the factor of its penalty; of 'late_fusion', the part of the mean
        kernel in the consensus.
    neighborhood : float, default=None
        Share of the samples that are near a sample: kernels are kept to pairs that
        share neighbourhoods, weighted by how many [6]_. For exact kernels. None keeps
        all pairs.
    approximation : {'auto', 'nystroem', 'fourier'} or None, default='auto'
        Exact kernels (None), or explicit features, whose time and memory grow linearly
        with the number of samples; 'auto' takes features beyond `max_exact_samples`.
        See `ModalityKernels`.
    max_exact_samples : int, default=5000
        Maximum number of samples for which 'auto' makes exact kernels.
    n_components : int, default=128
        Maximum number of explicit features of a kernel.
    temp_folder : str or path-like, default=None
        Folder, which must exist, for the exact kernels of `fit`: they are memory-mapped
        files without a name for as long as it takes, and memory holds their sum. None
        keeps all in memory.
    n_init : int, default=10
        Restarts of k-means.
    max_iter : int, default=100
        Maximum number of steps of 'simple_mkkm', 'mkkm', 'mkkm_mr' and 'late_fusion'.
    tol : float, default=1e-6
        Relative change of the objective at which they stop; for 'simple_mkkm' the
        relative duality gap.
    modalities : int, list of int, str or dict, default=None
        Column spec that splits a plain 2-D X; None takes it as one modality. See
        :meth:`Modalities.from_table`.
    n_jobs : int, default=None
        Kernels that are made at a time, in threads. None is 1 unless in a joblib
        context, -1 all processors.
    random_state : int, RandomState instance or None, default=None
        For k-means, landmarks and random features; weights of exact kernels do not
        depend on it.

    Attributes
    ----------
    labels_ : ndarray of int of shape (n_samples,)
        Cluster of each sample.
    kernel_weights_ : ndarray of shape (n_kernels,)
        Weights w_p of the kernels, which add up to 1; for 'late_fusion' those of the
        partitions.
    modality_weights_ : ndarray of shape (n_modalities,)
        Sums of the weights of each modality's kernels.
    objective_path_ : ndarray of shape (`n_iter_`,)
        The objective after each step: falling for 'mkkm' and 'mkkm_mr', the least so
        far for 'simple_mkkm', rising for 'late_fusion'. For the others one value:
        the trace that H leaves unexplained.
    n_iter_ : int
        Number of steps, each with one eigenproblem but for 'late_fusion'.
    cluster_centers_ : ndarray of shape (n_clusters, n_dimensions)
        Centres in the consensus embedding.
    kernels_ : ModalityKernels
        Fitted; makes the kernels.
    kernel_names_ : ndarray of str of shape (n_kernels,)
        The modality; ``<modality>-<k>`` where it has several kernels.
    kernel_modalities_ : ndarray of int of shape (n_kernels,)
        Position of the modality of each kernel.
    gamma_ : ndarray of float64 of shape (n_kernels,)
        Of each kernel; NaN where it has none.
    scales_ : dict of str to str
        The scaling of each modality; 'auto' is resolved.
    approximation_ : {'nystroem', 'fourier'} or None
        What was taken; 'auto' is resolved.
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
        If there are fewer samples than clusters, a sample lacks every modality, a
        kernel is not one (see `ModalityKernels`), or `neighborhood` is given with
        explicit features.

    Warns
    -----
    ConvergenceWarning
        If the weights still change after `max_iter` steps.

    See Also
    --------
    ModalityKernels : The kernels alone.
    EarlyFusionClusterer : Clusters the concatenation of modalities.
    LateFusionClusterer : Finds a consensus of clusterings of the modalities.

    Notes
    -----
    *Which algorithm.* A modality of pure noise is what min-max and min-min weights
    are drawn to: 'simple_mkkm' looks for the kernels that are hardest to explain, which
    noise is. Agreement cannot be faked by noise, and is the default for that reason.
    With two modalities there is nobody to judge between them: both agree alike,
    and weights are equal. Modalities that repeat each other agree, so that copies gain
    weight. Where all modalities are known to be good, 'average' is hard to beat.

    *The embedding.* Papers cluster the rows of H, where all k directions weigh alike,
    also the last ones, which tell little. Here a direction weighs what it explains, as
    in k-means on the samples of feature space; on simulated data and on the digits of
    scikit-learn that found more of the classes, whatever the weights of the kernels.
    'late_fusion' has no eigenvalues and clusters its orthonormal consensus.

    *New samples* are embedded by their kernel values with those of `fit`, centred by
    the means of `fit`: ``k(x)' H L^-1/2`` with the eigenvalues L, and get the nearest
    centre. For the samples of `fit` this repeats ``labels_``. Kernels of
    weight 0 are not made.

    *Missing modalities.* A sample that lacks a modality lies at its mean, and its
    other kernels are stretched in turn; see `ModalityKernels`.

    *Cost.* Exact kernels take ``n_kernels * n_samples^2`` numbers, and eigenproblems
    are solved for `n_clusters` vectors by Lanczos. With explicit features all weights
    and eigenvectors follow from the table of inner products of the features, of size
    ``(n_kernels * n_components)^2``, to which samples are added in chunks; features
    are made twice and never kept.

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
        "algorithm": [StrOptions(set(ALGORITHMS))],
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
        kernel: Any = "rbf",
        gamma: float | Sequence[float] | Mapping[str, Any] | None = None,
        degree: float = 3,
        coef0: float = 1,
        scaling: Any = "auto",
        normalize: str | None = "trace",
        algorithm: str = "agreement",
        regularization: float = 1.0,
        neighborhood: float | None = None,
        approximation: str | None = "auto",
        max_exact_samples: int = 5000,
        n_components: int = 128,
        temp_folder: str | PathLike[str] | None = None,
        n_init: int = 10,
        max_iter: int = 100,
        tol: float = 1e-6,
        modalities: Any = None,
        n_jobs: int | None = None,
        random_state: Any = None,
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
        self.max_exact_samples = max_exact_samples
        self.n_components = n_components
        self.temp_folder = temp_folder
        self.n_init = n_init
        self.max_iter = max_iter
        self.tol = tol
        self.modalities = modalities
        self.n_jobs = n_jobs
        self.random_state = random_state

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any = None) -> Self:
        """Make the kernels, learn their weights, and cluster the samples.

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
        frame = self._validate(X, reset=True)
        k = N_CLUSTERS if self.n_clusters is None else self.n_clusters
        if len(frame) < k:
            raise ValueError(f"n_samples={len(frame)} should be >= n_clusters={k}")
        rng = check_random_state(self.random_state)
        self.kernels_ = self._make_kernels(rng, center=True, normalize=self.normalize)
        self.kernels_._take_layout(self)
        tables = self.kernels_._fit_frame(frame)
        self._neighborhoods: Neighborhoods | None = None
        if tables is not None and self.neighborhood is not None:
            tables = self._keep_to_neighborhoods(tables)
        consensus = self._solve(self._stack(frame, tables), k)
        embedding = self._embed(frame) if tables is None else self._project(tables)
        k_means = KMeans(k, n_init=self.n_init, random_state=rng)
        self._k_means = k_means.fit(embedding)
        self.labels_ = self._k_means.labels_
        self.cluster_centers_ = self._k_means.cluster_centers_
        self.objective_path_ = consensus.objective_path
        self.n_iter_ = len(consensus.objective_path)
        if not consensus.converged:
            warnings.warn(
                f"the weights of the kernels still change after max_iter="
                f"{self.max_iter} steps (tol={self.tol}); increase max_iter",
                ConvergenceWarning,
                stacklevel=2,
            )
        return self

    def predict(self, X: Any) -> np.ndarray:
        """Tell the cluster of new samples: that of the nearest centre.

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

    def transform(self, X: Any) -> np.ndarray:
        """Give the consensus embedding of samples, in which they are clustered.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The data.

        Returns
        -------
        ndarray of float64 of shape (n_samples, n_dimensions)
            Rows of unit length; 0 for a sample that no kernel tells from the mean.
        """
        return self._embed(self._validate(X, reset=False))

    def score(self, X: Any, y: Any = None) -> float:
        """Score the clusters of samples without classes.

        It can be compared across kernels, algorithms and numbers of clusters, as a
        search does.

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
            kernels are taken by their rows, the likeness to the samples of `fit`.
        """
        frame = self._validate(X, reset=False)
        labels = self._k_means.predict(self._embed(frame))
        return modality_silhouette_score(frame, labels)

    def _keep_to_neighborhoods(self, tables: list[np.ndarray]) -> list[np.ndarray]:
        share = self.neighborhood
        assert share is not None
        self._neighborhoods = fit_neighborhoods(tables, share)
        mask = self._neighborhoods.mask(tables)
        tables = [table * mask for table in tables]
        self._masked = [fit_kernel_scaling(table) for table in tables]
        return [s.apply(table) for s, table in zip(self._masked, tables, strict=True)]

    def _stack(self, frame: Modalities, tables: list[np.ndarray] | None) -> Stack:
        if tables is not None:
            return KernelStack(tables)
        if self.neighborhood is not None:
            raise ValueError(
                "neighborhood needs exact kernels; take approximation=None, or leave "
                "neighborhood=None"
            )
        return accumulate_features(self._chunks(frame, None))

    def _chunks(
        self, frame: Modalities, which: Sequence[int] | None
    ) -> Iterator[list[np.ndarray]]:
        for rows in gen_batches(len(frame), CHUNK_ROWS):
            yield self.kernels_._tables(frame[rows], which)

    def _solve(self, stack: Stack, k: int) -> Consensus:
        """Weigh the kernels that tell samples apart."""
        traces = stack.traces()
        telling = np.flatnonzero(traces > 0)
        if telling.size == 0:
            telling = np.arange(len(traces))
        part = stack.of(telling)
        consensus = solve(
            part,
            k,
            self.algorithm if traces.any() else "average",
            max_iter=self.max_iter,
            tol=self.tol,
            regularization=self.regularization,
        )
        weights = np.zeros(len(traces))
        weights[telling] = consensus.weights
        self._tell_kernels(self.kernels_, weights)
        self._projections: list[np.ndarray | None] = [None] * len(traces)
        for p, own in zip(telling, part.projections(consensus.terms), strict=True):
            self._projections[p] = own
        self._n_features_out = max(
            own.shape[1] for own in self._projections if own is not None
        )
        return consensus

    def _embed(self, frame: Modalities) -> np.ndarray:
        used = [p for p, own in enumerate(self._projections) if own is not None]
        parts = []
        for tables in self._chunks(frame, None if self._neighborhoods else used):
            if self._neighborhoods is not None:
                mask = self._neighborhoods.mask(tables)
                tables = [
                    scaling.apply(table * mask)
                    for scaling, table in zip(self._masked, tables, strict=True)
                ]
                tables = [tables[p] for p in used]
            parts.append(self._project_used(tables, used))
        return np.concatenate(parts)

    def _project(self, tables: Sequence[np.ndarray]) -> np.ndarray:
        used = [p for p, own in enumerate(self._projections) if own is not None]
        return self._project_used([tables[p] for p in used], used)

    def _project_used(
        self, tables: Sequence[np.ndarray], used: Sequence[int]
    ) -> np.ndarray:
        embedding = np.zeros((len(tables[0]), self._n_features_out))
        for p, table in zip(used, tables, strict=True):
            embedding += table @ self._projections[p]
        return normalize(embedding, copy=False)
