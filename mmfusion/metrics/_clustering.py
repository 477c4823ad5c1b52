"""Scores of a clustering that compare it with known classes."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import linear_sum_assignment
from sklearn.metrics.cluster import contingency_matrix
from sklearn.utils import check_consistent_length

from mmfusion._options import errors_about
from mmfusion.metrics._labels import validate_labels, warn_of_measured_values


def _contingency(labels_true: ArrayLike, labels_pred: ArrayLike) -> np.ndarray:
    """Count the samples of each class (row) in each cluster (column)."""
    classes = validate_labels(labels_true, "labels_true")
    clusters = validate_labels(labels_pred, "labels_pred")
    with errors_about("labels_true and labels_pred"):
        check_consistent_length(classes, clusters)
    warn_of_measured_values(labels_true=classes, labels_pred=clusters)
    return contingency_matrix(classes, clusters)


def clustering_accuracy_score(labels_true: ArrayLike, labels_pred: ArrayLike) -> float:
    """Compute the clustering accuracy under the best one-to-one matching.

    It is ``max_m sum_k n_{k m(k)} / n``, where ``n_kc`` is the number of samples in
    cluster k and class c, n the number of samples, and m matches each cluster to
    another class. The matching is found by the Hungarian method; samples of unmatched
    clusters or classes count as errors.

    Parameters
    ----------
    labels_true : array-like of shape (n_samples,)
        Class of each sample.
    labels_pred : array-like of shape (n_samples,)
        Cluster of each sample.

    Returns
    -------
    float
        Accuracy between 0 and 1 (best), often abbreviated ACC.

    Raises
    ------
    ValueError
        If the lengths differ, there is no sample, or a label is missing (NaN).

    Warns
    -----
    UserWarning
        If labels are not integers; every distinct value is a class.

    See Also
    --------
    purity_score : Matches several clusters to a class.
    sklearn.metrics.adjusted_rand_score : Score adjusted for chance.

    References
    ----------
    Y. Yang, D. Xu, F. Nie, S. Yan, Y. Zhuang (2010), Image clustering using local
    discriminant models and global integration. IEEE Transactions on Image
    Processing 19(10), equation 25.

    Examples
    --------
    >>> from mmfusion.metrics import clustering_accuracy_score
    >>> clustering_accuracy_score([0, 0, 1, 1], [1, 1, 0, 2])
    0.75
    """
    counts = _contingency(labels_true, labels_pred)
    matched = linear_sum_assignment(counts, maximize=True)
    return float(counts[matched].sum() / counts.sum())


def purity_score(labels_true: ArrayLike, labels_pred: ArrayLike) -> float:
    """Compute the share of samples in the most frequent class of their cluster.

    It is ``sum_k max_c n_kc / n``, where ``n_kc`` is the number of samples in cluster
    k and class c, and n the number of samples. It tends to increase with the number of
    clusters, to 1 for one cluster per sample, and is comparable only between
    clusterings with the same number.

    Parameters
    ----------
    labels_true : array-like of shape (n_samples,)
        Class of each sample.
    labels_pred : array-like of shape (n_samples,)
        Cluster of each sample.

    Returns
    -------
    float
        Purity between 0 and 1 (best).

    Raises
    ------
    ValueError
        If the lengths differ, there is no sample, or a label is missing (NaN).

    Warns
    -----
    UserWarning
        If labels are not integers; every distinct value is a class.

    See Also
    --------
    clustering_accuracy_score : Matches one cluster to a class.

    References
    ----------
    C. D. Manning, P. Raghavan, H. Schütze (2008), Introduction to Information
    Retrieval. Cambridge University Press, equation 16.1.

    Examples
    --------
    >>> from mmfusion.metrics import purity_score
    >>> purity_score([0, 0, 1, 1], [1, 1, 0, 2])
    1.0
    """
    counts = _contingency(labels_true, labels_pred)
    return float(counts.max(axis=0).sum() / counts.sum())


def pairwise_f_score(labels_true: ArrayLike, labels_pred: ArrayLike) -> float:
    """Compute the F score of the pairs of samples in a common cluster.

    It is the harmonic mean ``2 P R / (P + R)`` of precision P, the share of pairs in
    a common cluster that have a common class, and recall R, the share of pairs with a
    common class that are in a common cluster.

    Parameters
    ----------
    labels_true : array-like of shape (n_samples,)
        Class of each sample.
    labels_pred : array-like of shape (n_samples,)
        Cluster of each sample.

    Returns
    -------
    float
        F score between 0 and 1 (best); 1 if no pair has a common class or cluster.

    Raises
    ------
    ValueError
        If the lengths differ, there is no sample, or a label is missing (NaN).

    Warns
    -----
    UserWarning
        If labels are not integers; every distinct value is a class.

    See Also
    --------
    sklearn.metrics.adjusted_rand_score : Score of pairs, adjusted for chance.

    References
    ----------
    C. D. Manning, P. Raghavan, H. Schütze (2008), Introduction to Information
    Retrieval. Cambridge University Press, section 16.3.

    Examples
    --------
    >>> from mmfusion.metrics import pairwise_f_score
    >>> pairwise_f_score([0, 0, 1, 1], [0, 0, 0, 1])
    0.4
    """
    counts = _contingency(labels_true, labels_pred)
    both = _count_pairs(counts)
    # 2 P R / (P + R) = 2 both / (pairs in clusters + pairs in classes)
    pairs = _count_pairs(counts.sum(axis=0)) + _count_pairs(counts.sum(axis=1))
    return 2 * both / pairs if pairs else 1.0


def _count_pairs(counts: np.ndarray) -> float:
    """Return the number of pairs within groups of the given sizes."""
    return float((counts * (counts - 1) / 2).sum())
