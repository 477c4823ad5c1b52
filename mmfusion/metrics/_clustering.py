"""Scores of a clustering against known classes."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment
from sklearn.metrics.cluster import contingency_matrix
from sklearn.utils import check_consistent_length

from mmfusion._options import errors_about
from mmfusion.metrics._labels import validate_labels, warn_of_measured_values


def _contingency(labels_true: Any, labels_pred: Any) -> np.ndarray:
    classes = validate_labels(labels_true, "labels_true")
    clusters = validate_labels(labels_pred, "labels_pred")
    with errors_about("labels_true and labels_pred"):
        check_consistent_length(classes, clusters)
    warn_of_measured_values(labels_true=classes, labels_pred=clusters)
    return contingency_matrix(classes, clusters)


def clustering_accuracy_score(labels_true: Any, labels_pred: Any) -> float:
    """Share of samples in the right cluster under the best one-to-one matching.

    Clusters are matched to classes by the Hungarian method so that the share is as
    large as it can be; samples of clusters or classes left over count as wrong.

    Parameters
    ----------
    labels_true : array-like of shape (n_samples,)
        Classes.
    labels_pred : array-like of shape (n_samples,)
        Clusters.

    Returns
    -------
    float
        Between 0 and 1 (best). Written ACC in papers.

    Raises
    ------
    ValueError
        If the lengths differ, there is no sample, or a label is missing (NaN).

    Warns
    -----
    UserWarning
        If labels are numbers with fractions: every value counts as a class.

    See Also
    --------
    purity_score : Allows several clusters per class.
    sklearn.metrics.adjusted_rand_score : Corrected for chance.

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


def purity_score(labels_true: Any, labels_pred: Any) -> float:
    """Share of samples that belong to the commonest class of their cluster.

    It grows with the number of clusters, up to 1 for one cluster per sample: compare
    it only between clusterings with the same number.

    Parameters
    ----------
    labels_true : array-like of shape (n_samples,)
        Classes.
    labels_pred : array-like of shape (n_samples,)
        Clusters.

    Returns
    -------
    float
        Between 0 and 1 (best).

    Raises
    ------
    ValueError
        If the lengths differ, there is no sample, or a label is missing (NaN).

    Warns
    -----
    UserWarning
        If labels are numbers with fractions: every value counts as a class.

    See Also
    --------
    clustering_accuracy_score : One cluster per class.

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


def pairwise_f_score(labels_true: Any, labels_pred: Any) -> float:
    """F score of the pairs of samples that a clustering puts together.

    The harmonic mean of precision (of the pairs in one cluster, the share that are of
    one class) and recall (of the pairs of one class, the share in one cluster).

    Parameters
    ----------
    labels_true : array-like of shape (n_samples,)
        Classes.
    labels_pred : array-like of shape (n_samples,)
        Clusters.

    Returns
    -------
    float
        Between 0 and 1 (best); 1 if neither side has a pair.

    Raises
    ------
    ValueError
        If the lengths differ, there is no sample, or a label is missing (NaN).

    Warns
    -----
    UserWarning
        If labels are numbers with fractions: every value counts as a class.

    See Also
    --------
    sklearn.metrics.adjusted_rand_score : Counts pairs too, corrected for chance.

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
    both = _pairs(counts)
    pairs = _pairs(counts.sum(axis=0)) + _pairs(counts.sum(axis=1))
    return 2 * both / pairs if pairs else 1.0


def _pairs(counts: np.ndarray) -> float:
    return float((counts * (counts - 1) / 2).sum())
