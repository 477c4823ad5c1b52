"""Tests of the differences between methods, over data sets, repeats or folds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np

from mmfusion._extras import import_extra
from mmfusion.benchmark._statistics import (
    FriedmanResult,
    corrected_t_test,
    friedman_test,
    holm,
    nemenyi_critical_difference,
    nemenyi_p_values,
    wilcoxon_signed_rank,
)

if TYPE_CHECKING:
    import pandas as pd

MIN_FRIEDMAN_DATASETS = 3
# Demšar (2006), section 3.2.2: the approximations of the Friedman test need more
FEW_FRIEDMAN_DATASETS = 10
WILCOXON_COLUMNS = (
    "over",
    "method_a",
    "method_b",
    "n_pairs",
    "wins_a",
    "wins_b",
    "p",
    "p_holm",
)
T_TEST_COLUMNS = (
    "over",
    "method_a",
    "method_b",
    "n_pairs",
    "mean_difference",
    "p",
    "p_holm",
)
TEST_SETS = "test sets"
SUBSAMPLES = "subsamples"
MIN_SPLITS = 5  # for the t-test
MIN_WILCOXON_PAIRS = 6  # least p-value 2 / 2**6 = .031; of 5 pairs it is .062


@dataclass(frozen=True)
class Significance:
    """Results of `Comparison.significance`, printed as sentences.

    Parameters
    ----------
    metric : str
        Name of the score.
    alpha : float
        Level of significance.
    n_datasets : int
        Number of data sets.
    mean_ranks : Series
        Mean rank by method, of those that were run on every data set, best first.
    friedman : FriedmanResult or None
        ``chi2`` of the Friedman test and ``f`` of Iman and Davenport with their
        p-values ``p_chi2`` and ``p_f``; None with fewer than 3 data sets or methods.
    critical_difference : float or None
        Least difference of mean ranks at which two methods differ by the Nemenyi test;
        None as above.
    nemenyi : DataFrame or None
        P-value of the Nemenyi test for each pair of methods; None as above.
    wilcoxon : DataFrame
        One row for each pair of methods: ``over`` ('data sets' or the data set within
        which repeats are paired), ``method_a``, ``method_b``, ``n_pairs``,
        ``wins_a``, ``wins_b``, ``p``, ``p_holm``.
    t_test : DataFrame
        One row for each pair of predictors, or of clusterings of subsamples, on each
        data set, of the corrected resampled t-test: ``over`` (the data set),
        ``method_a``, ``method_b``, ``n_pairs`` (number of splits), ``mean_difference``
        of a and b, ``p``, ``p_holm``.
    notes : tuple of str
        Tests that were not done, with the reasons.
    resampled : {'test sets', 'subsamples'}, default='test sets'
        What the t-test pairs.

    See Also
    --------
    Comparison.significance : Tests whether methods differ.

    Examples
    --------
    >>> from mmfusion import EarlyFusionClusterer
    >>> from mmfusion.benchmark import compare
    >>> from mmfusion.datasets import make_multimodal_blobs
    >>> comparison = compare(
    ...     {
    ...         "scaled": EarlyFusionClusterer(),
    ...         "as it is": EarlyFusionClusterer(scaling=None),
    ...     },
    ...     {"blobs": make_multimodal_blobs(60, random_state=0)},
    ...     metrics="adjusted_rand",
    ...     n_repeats=3,
    ... )
    >>> print(comparison.significance())
    No Friedman test: it needs at least 3 methods run on at least 3 data sets,
    and there are 2 on 1.
    No Wilcoxon test: it needs at least 6 data sets or repeats to be significant, and
    there are 1 and 3.
    """

    metric: str
    alpha: float
    n_datasets: int
    mean_ranks: pd.Series
    friedman: FriedmanResult | None
    critical_difference: float | None
    nemenyi: pd.DataFrame | None
    wilcoxon: pd.DataFrame
    t_test: pd.DataFrame
    notes: tuple[str, ...]
    resampled: str = TEST_SETS

    def __str__(self) -> str:
        return "\n".join(self.lines())

    def lines(self) -> list[str]:
        """Summarise the results in sentences.

        Returns
        -------
        list of str
            One or two sentences for each test or note.
        """
        return [*self._rank_sentences(), *self._pair_sentences(), *self.notes]

    def _rank_sentences(self) -> Iterator[str]:
        if self.friedman is None or self.nemenyi is None:
            return
        k, n = len(self.mean_ranks), self.n_datasets
        found = self.friedman
        yield (
            f"Friedman test of {k} methods over {n} data sets: chi2({k - 1}) = "
            f"{found.chi2:.2f}, p = {found.p_chi2:.2g}; Iman-Davenport "
            f"F({k - 1}, {(k - 1) * (n - 1)}) = {found.f:.2f}, p = {found.p_f:.2g}."
        )
        differ = [
            f"{a} and {b} (p = {self.nemenyi.loc[a, b]:.2g})"
            for a, b in combinations(self.mean_ranks.index, 2)
            if self.nemenyi.loc[a, b] < self.alpha
        ]
        if found.p_f >= self.alpha:
            pairs = "none, since the Friedman test does not reject"
        else:
            pairs = ", ".join(differ) or "none"
        yield (
            f"Nemenyi test: mean ranks differ from {self.critical_difference:.2f} on "
            f"(alpha = {self.alpha:g}); pairs that differ: {pairs}."
        )

    def p_values(self, over: str, method: str) -> dict[str, float]:
        """Return the corrected p-values of one method's pairs.

        Parameters
        ----------
        over : str
            'data sets', or the data set within which repeats or folds are paired.
        method : str
            A method of the pairs.

        Returns
        -------
        dict of str to float
            P-value by the other method of the pair; NaN where it was not tested.
        """
        found: dict[str, float] = {}
        for pairs in (self.wilcoxon, self.t_test):
            keys = pairs[["over", "method_a", "method_b", "p_holm"]].to_numpy().tolist()
            for where, a, b, p in keys:
                if where == over and method in (a, b):
                    found[b if a == method else a] = p
        return found

    def nemenyi_of(self, method: str) -> dict[str, float]:
        """Return the p-values of the Nemenyi test of one method's pairs.

        Parameters
        ----------
        method : str
            A method that was run on every data set.

        Returns
        -------
        dict of str to float
            P-value by the other method; empty unless the Friedman test rejects.
        """
        if self.friedman is None or self.nemenyi is None:
            return {}
        if self.friedman.p_f >= self.alpha:
            return {}
        others = map(str, self.nemenyi.columns)
        p_values = self.nemenyi.loc[[method]].to_numpy()[0].tolist()
        return dict(zip(others, p_values, strict=True))

    def _pair_sentences(self) -> Iterator[str]:
        for over, pairs in self.t_test.groupby("over", sort=False):
            tested = pairs[pairs["p_holm"].notna()]
            differ = tested[tested["p_holm"] < self.alpha]
            yield (
                f"Corrected resampled t-test with Holm's correction, paired over "
                f"{pairs['n_pairs'].iloc[0]} {self.resampled} on {over}: {len(differ)} "
                f"of {len(tested)} pairs of methods differ (alpha = {self.alpha:g})."
            )
        for over, pairs in self.wilcoxon.groupby("over", sort=False):
            tested = pairs[pairs["p_holm"].notna()]
            differ = tested[tested["p_holm"] < self.alpha]
            unit = "data sets" if over == "data sets" else f"repeats on {over}"
            yield (
                f"Wilcoxon signed-rank test with Holm's correction, paired over "
                f"{pairs['n_pairs'].iloc[0]} {unit}: {len(differ)} of {len(tested)} "
                f"pairs of methods differ (alpha = {self.alpha:g})."
            )


def assess_significance(
    metric: str,
    ranks: pd.DataFrame,
    scores: dict[str, pd.DataFrame],
    control: str | None,
    alpha: float,
    test_shares: dict[str, float] | None = None,
    resampled: str = TEST_SETS,
) -> Significance:
    """Run the tests that the numbers of data sets and repeats allow.

    Parameters
    ----------
    metric : str
        Name of the score.
    ranks : DataFrame of shape (n_methods, n_datasets)
        Ranks of the methods that were run on every data set.
    scores : dict of str to DataFrame of shape (n_repeats, n_methods)
        Scores by data set; NaN where a cell failed.
    control : str or None
        Method of every pair; None to test all pairs.
    alpha : float
        Level of significance.
    test_shares : dict of str to float, default=None
        Correction of the variance by data set, if the rows of `scores` are splits of a
        cross-validation or subsamples.
    resampled : {'test sets', 'subsamples'}, default='test sets'
        What these rows are.

    Returns
    -------
    Significance
        The results.
    """
    mean_ranks = ranks.mean(axis=1).sort_values(kind="stable")
    rank_tests, notes = _test_ranks(ranks, mean_ranks, alpha)
    wilcoxon: list[dict[str, Any]] = []
    t_test: list[dict[str, Any]] = []
    more: list[str] = []
    if ranks.shape[1] >= MIN_WILCOXON_PAIRS:
        blocks = {"data sets": _over_datasets(scores, list(ranks.index))}
        wilcoxon, more = _test_blocks(blocks, control, alpha)
    elif test_shares is None:
        blocks = {name: (table, table.isna()) for name, table in scores.items()}
        wilcoxon, more = _test_blocks(blocks, control, alpha)
        more = [*_notes_on_repeats(scores), *more]
    else:
        t_test, more = _test_resampled(scores, control, test_shares, resampled)
    pd = import_extra("pandas")
    return Significance(
        metric,
        alpha,
        ranks.shape[1],
        mean_ranks,
        *rank_tests,
        pd.DataFrame(wilcoxon, columns=WILCOXON_COLUMNS),
        pd.DataFrame(t_test, columns=T_TEST_COLUMNS),
        (*notes, *more),
        resampled,
    )


def _test_ranks(
    ranks: pd.DataFrame, mean_ranks: pd.Series, alpha: float
) -> tuple[tuple[FriedmanResult | None, float | None, pd.DataFrame | None], list[str]]:
    """Run the tests of Friedman and Nemenyi, or note why not."""
    n_methods, n_datasets = ranks.shape
    if min(n_methods, n_datasets) < MIN_FRIEDMAN_DATASETS:
        return (None, None, None), [
            f"No Friedman test: it needs at least {MIN_FRIEDMAN_DATASETS} methods run "
            f"on at least {MIN_FRIEDMAN_DATASETS} data sets, and there are {n_methods} "
            f"on {n_datasets}."
        ]
    nemenyi = import_extra("pandas").DataFrame(
        nemenyi_p_values(mean_ranks.to_numpy(), n_datasets),
        index=mean_ranks.index,
        columns=mean_ranks.index,
    )
    critical_difference = nemenyi_critical_difference(n_methods, n_datasets, alpha)
    notes = []
    if n_datasets <= FEW_FRIEDMAN_DATASETS:
        notes.append(
            f"For {n_datasets} data sets the p-values of the Friedman test are "
            "rough approximations."
        )
    return (friedman_test(ranks.to_numpy().T), critical_difference, nemenyi), notes


def _test_blocks(
    blocks: dict[str, tuple[pd.DataFrame, pd.DataFrame]],
    control: str | None,
    alpha: float,
) -> tuple[list[dict[str, Any]], list[str]]:
    """Run Wilcoxon's test over data sets, or over repeats of each data set."""
    rows: list[dict[str, Any]] = []
    notes: list[str] = []
    for over, (table, failed) in blocks.items():
        own = _wilcoxon_rows(over, table, failed, control)
        rows += own
        notes += _note_on_power(over, own, control, alpha)
    return rows, notes


def _test_resampled(
    scores: dict[str, pd.DataFrame],
    control: str | None,
    test_shares: dict[str, float],
    resampled: str,
) -> tuple[list[dict[str, Any]], list[str]]:
    """Run the corrected t-test over the splits or subsamples of each data set."""
    rows: list[dict[str, Any]] = []
    notes: list[str] = []
    for name, table in scores.items():
        own = _t_test_rows(name, table, control, test_shares[name])
        rows += own
        notes += _note_on_splits(name, len(table), own, resampled)
    of_one = "folds" if resampled == TEST_SETS else resampled
    notes.append(
        f"A difference between {of_one} of one data set is no evidence about other "
        "data."
    )
    return rows, notes


def _over_datasets(
    scores: dict[str, pd.DataFrame], methods: list[str]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Average scores and count failures by data set and method."""
    pd = import_extra("pandas")
    means = {name: table[methods].mean() for name, table in scores.items()}
    failed = {name: table[methods].isna().sum() for name, table in scores.items()}
    return pd.DataFrame(means).T, pd.DataFrame(failed).T


def _notes_on_repeats(scores: dict[str, pd.DataFrame]) -> Iterator[str]:
    n_repeats = max(len(table) for table in scores.values())
    if n_repeats < MIN_WILCOXON_PAIRS:
        yield (
            f"No Wilcoxon test: it needs at least {MIN_WILCOXON_PAIRS} data sets or "
            f"repeats to be significant, and there are {len(scores)} and {n_repeats}."
        )
        return
    yield (
        f"With fewer than {MIN_WILCOXON_PAIRS} data sets the Wilcoxon test pairs the "
        "repeats on one data set: a difference is more than chance between seeds on "
        "these data, which is no evidence about other data."
    )
    for name, table in scores.items():
        fixed = [str(method) for method in table if _is_constant(table[method])]
        if len(fixed) > 1:
            yield (
                f"On {name} every repeat had the same score for {', '.join(fixed)}: "
                "pairs of these are not tested, since repeats add no observations."
            )


def _is_constant(scores: pd.Series) -> bool:
    return bool(scores.round(10).nunique(dropna=False) == 1)


def pairs_needed(n_tests: int, alpha: float) -> int:
    """Return the least number of pairs by which one of several tests can reject.

    Parameters
    ----------
    n_tests : int
        Number of Wilcoxon tests that are corrected together.
    alpha : float
        Level of the tests.

    Returns
    -------
    int
        Number of pairs of scores.
    """
    # the least p-value of n pairs is 2**(1 - n), times n_tests in Holm's first step
    return int(np.floor(1 + np.log2(n_tests / alpha))) + 1


def _note_on_power(
    over: str, rows: list[dict[str, Any]], control: str | None, alpha: float
) -> Iterator[str]:
    n_tests = sum(not np.isnan(row["p"]) for row in rows)
    if n_tests == 0:
        return
    n_pairs = rows[0]["n_pairs"]
    needed = pairs_needed(n_tests, alpha)
    if n_pairs < needed:
        unit = "data sets" if over == "data sets" else f"repeats on {over}"
        yield (
            f"The {n_pairs} {unit} are too few for any of {n_tests} pairs to differ "
            f"after the correction: {needed} are needed"
            f"{'.' if control else ', or a control, for which there are fewer pairs.'}"
        )


def _wilcoxon_rows(
    over: str, scores: pd.DataFrame, failed: pd.DataFrame, control: str | None
) -> list[dict[str, Any]]:
    """Test pairs of methods; two methods of constant scores get no p-value."""
    if len(scores) < MIN_WILCOXON_PAIRS:
        return []
    rows: list[dict[str, Any]] = []
    repeats = over != "data sets"
    for a, b in combinations(scores.columns, 2):
        if control not in (None, a, b):
            continue
        differences = _differences(scores[a], failed[a], scores[b], failed[b])
        tested = not (repeats and _is_constant(scores[a]) and _is_constant(scores[b]))
        rows.append(
            {
                "over": over,
                "method_a": a,
                "method_b": b,
                "n_pairs": len(differences),
                "wins_a": int((differences > 0).sum()),
                "wins_b": int((differences < 0).sum()),
                "p": wilcoxon_signed_rank(differences) if tested else np.nan,
                "p_holm": np.nan,
            }
        )
    _correct(rows)
    return rows


def _correct(rows: list[dict[str, Any]]) -> None:
    """Set the corrected p-values of those pairs that were tested."""
    tested_rows = [row for row in rows if not np.isnan(row["p"])]
    corrected = holm(np.array([row["p"] for row in tested_rows]))
    for row, p in zip(tested_rows, corrected, strict=True):
        row["p_holm"] = float(p)


def _t_test_rows(
    over: str, scores: pd.DataFrame, control: str | None, test_share: float
) -> list[dict[str, Any]]:
    """Test pairs of methods over splits; those that failed get no p-value."""
    if len(scores) < MIN_SPLITS:
        return []
    rows: list[dict[str, Any]] = []
    for a, b in combinations(scores.columns, 2):
        if control not in (None, a, b):
            continue
        differences = np.round((scores[a] - scores[b]).to_numpy(float), 10)
        # equal differences have no variance, with which to compare a mean
        tested = np.isfinite(differences).all() and (
            np.ptp(differences) > 0 or not differences.any()
        )
        rows.append(
            {
                "over": over,
                "method_a": a,
                "method_b": b,
                "n_pairs": len(differences),
                "mean_difference": float(np.mean(differences)),
                "p": corrected_t_test(differences, test_share) if tested else np.nan,
                "p_holm": np.nan,
            }
        )
    _correct(rows)
    return rows


def _note_on_splits(
    over: str, n_splits: int, rows: list[dict[str, Any]], resampled: str
) -> Iterator[str]:
    if n_splits < MIN_SPLITS:
        remedy = "folds or repeats" if resampled == TEST_SETS else "repeats"
        yield (
            f"No t-test on {over}: it needs at least {MIN_SPLITS} different "
            f"{resampled}, and there are {n_splits}; give more {remedy}."
        )
    untested = sum(np.isnan(row["p"]) for row in rows)
    if untested:
        yield (
            f"On {over}, {untested} pairs are not tested: a method of theirs failed on "
            f"one of the {resampled}, or all of their differences are equal."
        )


def _differences(
    score_a: pd.Series, failed_a: pd.Series, score_b: pd.Series, failed_b: pd.Series
) -> np.ndarray:
    """Compute paired differences, infinite where one method failed more often."""
    failures = failed_b.to_numpy(int) - failed_a.to_numpy(int)
    # equal clusterings may differ in the last digits of a score
    differences = np.round(
        np.nan_to_num(score_a.to_numpy(float) - score_b.to_numpy(float)), 10
    )
    return np.where(failures != 0, np.copysign(np.inf, failures), differences)
