"""Tests that compare several methods: pure functions of ranks and differences.

They follow J. Demšar (2006), Statistical comparisons of classifiers over multiple data
sets, Journal of Machine Learning Research 7, 1-30; within one data set C. Nadeau & Y.
Bengio (2003), Inference for the generalization error, Machine Learning 52, 239-281.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import stats


class FriedmanResult(NamedTuple):
    """Statistics of Friedman and of Iman and Davenport, each with its p-value."""

    chi2: float
    p_chi2: float
    f: float
    p_f: float


def rank_scores(scores: np.ndarray, n_failed: np.ndarray) -> np.ndarray:
    """Rank methods on one data set; those that failed more often rank behind.

    Parameters
    ----------
    scores : ndarray of shape (n_methods,)
        Scores, larger is better; NaN where there is none.
    n_failed : ndarray of int of shape (n_methods,)
        Failures of each method.

    Returns
    -------
    ndarray of shape (n_methods,)
        Ranks; 1 is best, ties have the mean of their ranks.
    """
    # equal clusterings may differ in the last digits of a score
    keys = np.column_stack([n_failed, -np.round(np.nan_to_num(scores), 10)])
    _, order = np.unique(keys, axis=0, return_inverse=True)
    return stats.rankdata(order.ravel())


def friedman_test(ranks: np.ndarray) -> FriedmanResult:
    """Test whether all methods have the same mean rank.

    chi2 = 12 n / (k (k + 1)) (sum_j R_j^2 - k (k + 1)^2 / 4), F = (n - 1) chi2 /
    (n (k - 1) - chi2), with the mean rank R_j of method j over n data sets.

    Parameters
    ----------
    ranks : ndarray of shape (n_datasets, n_methods)
        Ranks of the methods on each data set; at least 2 of either.

    Returns
    -------
    FriedmanResult
        The statistics, without a correction for ties, as in the paper: the test is
        conservative.
    """
    n, k = ranks.shape
    spread = np.sum(ranks.mean(axis=0) ** 2) - k * (k + 1) ** 2 / 4
    chi2 = max(0.0, 12 * n / (k * (k + 1)) * spread)
    p_chi2 = stats.chi2.sf(chi2, k - 1)
    rest = n * (k - 1) - chi2
    if rest <= 1e-9 * n:  # all data sets rank alike: F is infinite
        return FriedmanResult(float(chi2), float(p_chi2), np.inf, 0.0)
    f = (n - 1) * chi2 / rest
    p_f = stats.f.sf(f, k - 1, (k - 1) * (n - 1))
    return FriedmanResult(float(chi2), float(p_chi2), float(f), float(p_f))


def nemenyi_critical_difference(
    n_methods: int, n_datasets: int, alpha: float = 0.05
) -> float:
    """Compute q_alpha sqrt(k (k + 1) / 6 n), the least significant difference.

    q_alpha is the quantile of the Studentized range over sqrt(2), for k methods.
    """
    q = stats.studentized_range.isf(alpha, n_methods, np.inf) / np.sqrt(2)
    return float(q * np.sqrt(n_methods * (n_methods + 1) / (6 * n_datasets)))


def nemenyi_p_values(mean_ranks: np.ndarray, n_datasets: int) -> np.ndarray:
    """Compute p-values of all pairs of methods, corrected for their number."""
    k = len(mean_ranks)
    differences = np.abs(mean_ranks[:, None] - mean_ranks)
    q = differences / np.sqrt(k * (k + 1) / (12 * n_datasets))
    p = stats.studentized_range.sf(q, k, np.inf)
    return np.where(differences == 0, 1.0, np.clip(p, 0, 1))


def wilcoxon_signed_rank(differences: np.ndarray) -> float:
    """Test whether paired differences are symmetric around zero.

    Parameters
    ----------
    differences : ndarray of shape (n_pairs,)
        Differences, infinite where one side failed. Zeros are left out.

    Returns
    -------
    float
        Two-sided p-value, exact given the ties among the differences.
    """
    differences = differences[differences != 0]
    # mean ranks of ties are multiples of 1/2: twice the ranks are integers
    ranks = np.rint(2 * stats.rankdata(np.abs(differences))).astype(int)
    # probability of each sum of positive ranks, over all sign patterns: a convolution
    p = np.ones(1)
    for rank in ranks:
        zeros = np.zeros(rank)
        p = (np.r_[p, zeros] + np.r_[zeros, p]) / 2
    positive = ranks[differences > 0].sum()
    tail = min(p[: positive + 1].sum(), p[positive:].sum())
    return float(min(1.0, 2 * tail))


def corrected_t_test(differences: np.ndarray, test_share: float) -> float:
    """Test whether the mean difference over resampled test sets is zero.

    Parameters
    ----------
    differences : ndarray of shape (n_splits,)
        Differences of scores, not all equal unless they are zero.
    test_share : float
        Number of test samples divided by that of training samples.

    Returns
    -------
    float
        Two-sided p-value of Student's t with n_splits - 1 degrees of freedom, for the
        variance ``(1 / n_splits + test_share) s^2`` of the mean.
    """
    n = len(differences)
    if not differences.any():
        return 1.0
    variance = (1 / n + test_share) * np.var(differences, ddof=1)
    t = np.abs(np.mean(differences)) / np.sqrt(variance)
    return float(min(1.0, 2 * stats.t.sf(t, n - 1)))


def holm(p_values: np.ndarray) -> np.ndarray:
    """Correct p-values for their number by the step-down procedure of Holm."""
    order = np.argsort(p_values, kind="stable")
    stepped = p_values[order] * np.arange(len(p_values), 0, -1)
    corrected = np.empty(len(p_values))
    # cumulative maxima: a larger p-value never gets a smaller corrected one
    corrected[order] = np.minimum(1.0, np.maximum.accumulate(stepped))
    return corrected
