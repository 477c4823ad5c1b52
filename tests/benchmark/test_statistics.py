"""The tests of significance against published and hand-worked numbers."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from mmfusion.benchmark._statistics import (
    friedman_test,
    holm,
    nemenyi_critical_difference,
    nemenyi_p_values,
    rank_scores,
    wilcoxon_signed_rank,
)

# Table 6 of Demšar (2006): area under the ROC curve of C4.5 without and with tuning of
# m, of cf, of both. The paper ranks "voting" (two values printed .975) by more digits.
DEMSAR = np.array(
    [
        [0.763, 0.768, 0.771, 0.798],
        [0.599, 0.591, 0.590, 0.569],
        [0.954, 0.971, 0.968, 0.967],
        [0.628, 0.661, 0.654, 0.657],
        [0.882, 0.888, 0.886, 0.898],
        [0.936, 0.931, 0.916, 0.931],
        [0.661, 0.668, 0.609, 0.685],
        [0.583, 0.583, 0.563, 0.625],
        [0.775, 0.838, 0.866, 0.875],
        [1.000, 1.000, 1.000, 1.000],
        [0.940, 0.962, 0.965, 0.962],
        [0.619, 0.666, 0.614, 0.669],
        [0.972, 0.981, 0.9751, 0.975],
        [0.957, 0.978, 0.946, 0.970],
    ]
)
NO_FAILURE = np.zeros(4, dtype=int)


def test_the_example_of_demsar_comes_out_as_published():
    ranks = np.array([rank_scores(row, NO_FAILURE) for row in DEMSAR])
    assert ranks.mean(axis=0) == pytest.approx([3.143, 2.000, 2.893, 1.964], abs=5e-4)
    found = friedman_test(ranks)
    assert found.chi2 == pytest.approx(9.28, abs=0.005)
    assert found.f == pytest.approx(3.69, abs=0.005)
    # the paper: F(3, 39) = 2.85 is critical at .05
    assert found.p_f < 0.05
    assert stats.f.sf(2.85, 3, 39) == pytest.approx(0.05, abs=0.001)
    assert nemenyi_critical_difference(4, 14) == pytest.approx(1.25, abs=0.005)
    assert nemenyi_critical_difference(4, 14, 0.10) == pytest.approx(1.12, abs=0.005)
    # and so does its verdict: at .10 only the first and the last differ by more
    p = nemenyi_p_values(ranks.mean(axis=0), 14)
    assert np.argwhere(np.triu(p < 0.10)).tolist() == [[0, 1], [0, 3]]


@pytest.mark.parametrize(
    ("n_methods", "q"), [(2, 1.960), (3, 2.343), (4, 2.569), (5, 2.728), (10, 3.164)]
)
def test_critical_values_are_those_of_the_published_table(n_methods, q):
    n_datasets = 20
    unit = np.sqrt(n_methods * (n_methods + 1) / (6 * n_datasets))
    found = nemenyi_critical_difference(n_methods, n_datasets) / unit
    assert found == pytest.approx(q, abs=1e-3)


@given(st.integers(0, 10_000))
def test_friedman_agrees_with_scipy_where_nothing_ties(seed):
    scores = np.random.default_rng(seed).normal(size=(7, 4))
    ranks = np.array([rank_scores(row, NO_FAILURE) for row in scores])
    expected = stats.friedmanchisquare(*scores.T)
    found = friedman_test(ranks)
    assert found.chi2 == pytest.approx(expected.statistic)
    assert found.p_chi2 == pytest.approx(expected.pvalue)


def test_friedman_at_its_extremes():
    all_tied = np.full((5, 3), 2.0)
    assert friedman_test(all_tied) == (0, 1, 0, 1)
    all_agree = np.tile([1.0, 2.0, 3.0], (5, 1))
    found = friedman_test(all_agree)
    assert found.chi2 == pytest.approx(10)  # n (k - 1)
    assert (found.f, found.p_f) == (np.inf, 0)


@given(st.lists(st.floats(1, 5), min_size=5, max_size=5))
def test_nemenyi_p_values_and_critical_difference_agree(mean_ranks):
    mean_ranks = np.array(mean_ranks)
    differences = np.abs(mean_ranks[:, None] - mean_ranks)
    critical = nemenyi_critical_difference(5, 12)
    clear = np.abs(differences - critical) > 1e-6
    p = nemenyi_p_values(mean_ranks, 12)
    assert ((p < 0.05) == (differences > critical))[clear].all()
    assert (np.diag(p) == 1).all()


def by_enumeration(differences):
    """Two-sided Wilcoxon test: all sign patterns, one by one."""
    differences = differences[differences != 0]
    ranks = stats.rankdata(np.abs(differences))
    found = ranks[differences > 0].sum()
    sums = np.array(
        [np.dot(signs, ranks) for signs in product([0, 1], repeat=len(ranks))]
    )
    return min(1, 2 * min(np.mean(sums <= found), np.mean(sums >= found)))


@given(
    st.lists(
        st.sampled_from([-np.inf, -2.0, -1.0, 0.0, 1.0, 1.5, 2.0, np.inf]),
        min_size=1,
        max_size=9,
    )
)
def test_wilcoxon_is_exact_with_ties_zeros_and_failures(differences):
    differences = np.array(differences)
    p = wilcoxon_signed_rank(differences)
    assert p == pytest.approx(by_enumeration(differences))
    assert p == pytest.approx(wilcoxon_signed_rank(-differences))


def test_wilcoxon_agrees_with_scipy_where_nothing_ties():
    differences = np.random.default_rng(0).normal(0.4, size=30)
    expected = stats.wilcoxon(differences, method="exact").pvalue
    assert wilcoxon_signed_rank(differences) == pytest.approx(expected)


def test_wilcoxon_needs_six_pairs_for_five_percent():
    assert wilcoxon_signed_rank(np.ones(5)) == pytest.approx(0.0625)
    assert wilcoxon_signed_rank(np.ones(6)) == pytest.approx(0.03125)
    assert wilcoxon_signed_rank(np.zeros(6)) == 1


def test_holm_by_hand():
    # .01 x 4, .02 x 3, .03 x 2, .9 x 1; none below the one before
    p = np.array([0.03, 0.9, 0.01, 0.02])
    assert holm(p) == pytest.approx([0.06, 0.9, 0.04, 0.06])
    assert holm(np.array([0.6, 0.7])) == pytest.approx([1, 1])
    assert holm(np.array([])).size == 0


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_lies_between_no_correction_and_bonferroni(p):
    p = np.array(p)
    corrected = holm(p)
    assert (corrected >= p).all()
    assert (corrected <= np.minimum(1, len(p) * p) + 1e-12).all()
    assert (np.diff(corrected[np.argsort(p)]) >= 0).all()


def test_ranks_put_failures_last_and_share_ties():
    scores = np.array([0.5, 0.9, np.nan, 0.7, 0.7 + 1e-14, np.nan])
    n_failed = np.array([0, 3, 10, 0, 0, 10])
    ranks = rank_scores(scores, n_failed)
    assert ranks.tolist() == [3, 4, 5.5, 1.5, 1.5, 5.5]
