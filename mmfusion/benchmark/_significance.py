"""Whether methods differ, by tests that fit what was repeated."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np

from mmfusion._extras import import_extra
from mmfusion.benchmark._statistics import (
    FriedmanResult,
    friedman_test,
    holm,
    nemenyi_critical_difference,
    nemenyi_p_values,
    wilcoxon_signed_rank,
)

if TYPE_CHECKING:
    import pandas as pd

MIN_DATASETS = 3  # for the Friedman test
FEW_DATASETS = 10  # up to which Demšar (2006) advises against its approximations
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
MIN_PAIRS = 6  # the fewest of which a two-sided Wilcoxon test can reach p < 0.05


@dataclass(frozen=True)
class Significance:
    """What `Comparison.significance` found; printing it gives a summary in words.

    Parameters
    ----------
    metric : str
        The score.
    alpha : float
        Level of the tests.
    n_datasets : int
        Number of data sets.
    mean_ranks : Series
        Mean rank by method, of those that ran on every data set, best first.
    friedman : FriedmanResult or None
        ``chi2`` of the Friedman test and ``f`` of Iman and Davenport with their
        p-values ``p_chi2`` and ``p_f``; None with fewer than 3 data sets or methods.
    critical_difference : float or None
        Difference of mean ranks from which on two methods differ by the Nemenyi
        test; None as above.
    nemenyi : DataFrame or None
        P-value of the Nemenyi test for each pair of methods; None as above.
    wilcoxon : DataFrame
        One row for each pair of methods: ``over`` ('data sets' or the data set within
        which repeats are paired), ``method_a``, ``method_b``, ``n_pairs``,
        ``wins_a``, ``wins_b``, ``p``, ``p_holm``.
    notes : tuple of str
        What was not tested and why.

    See Also
    --------
    Comparison.significance : Makes it.

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
    No Friedman test: it needs at least 3 methods that ran on at least 3 data sets,
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
    notes: tuple[str, ...]

    def __str__(self) -> str:
        return "\n".join(self.lines())

    def lines(self) -> list[str]:
        """Say in sentences what was found.

        Returns
        -------
        list of str
            One or two sentences each.
        """
        return [*self._about_ranks(), *self._about_pairs(), *self.notes]

    def _about_ranks(self) -> Iterator[str]:
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
            verdict = "since the Friedman test does not reject, no pair is said to"
        else:
            verdict = ", ".join(differ) or "no pair does"
        yield (
            f"Nemenyi test: mean ranks differ from {self.critical_difference:.2f} on "
            f"(alpha = {self.alpha:g}); pairs that differ: {verdict}."
        )

    def _about_pairs(self) -> Iterator[str]:
        for over, pairs in self.wilcoxon.groupby("over", sort=False):
            tested = pairs[pairs["p_holm"].notna()]
            differ = tested[tested["p_holm"] < self.alpha]
            unit = "data sets" if over == "data sets" else f"repeats on {over}"
            yield (
                f"Wilcoxon signed-rank test with Holm's correction, paired over "
                f"{pairs['n_pairs'].iloc[0]} {unit}: {len(differ)} of {len(tested)} "
                f"pairs of methods differ (alpha = {self.alpha:g})."
            )


def judge(
    metric: str,
    ranks: pd.DataFrame,
    scores: dict[str, pd.DataFrame],
    control: str | None,
    alpha: float,
) -> Significance:
    """Run the tests that the numbers of data sets and repeats allow.

    Parameters
    ----------
    metric : str
        The score.
    ranks : DataFrame of shape (n_methods, n_datasets)
        Ranks of the methods that ran on every data set.
    scores : dict of str to DataFrame of shape (n_repeats, n_methods)
        Scores by data set; NaN where a cell failed.
    control : str or None
        The method that all pairs have in common, unless None.
    alpha : float
        Level of the tests.

    Returns
    -------
    Significance
        The results.
    """
    pd = import_extra("pandas")
    n_methods, n_datasets = ranks.shape
    mean_ranks = ranks.mean(axis=1).sort_values(kind="stable")
    notes = []
    friedman, critical_difference, nemenyi = None, None, None
    if min(n_methods, n_datasets) >= MIN_DATASETS:
        friedman = friedman_test(ranks.to_numpy().T)
        critical_difference = nemenyi_critical_difference(n_methods, n_datasets, alpha)
        nemenyi = pd.DataFrame(
            nemenyi_p_values(mean_ranks.to_numpy(), n_datasets),
            index=mean_ranks.index,
            columns=mean_ranks.index,
        )
        if n_datasets <= FEW_DATASETS:
            notes.append(
                f"For {n_datasets} data sets the p-values of the Friedman test are "
                "rough approximations."
            )
    else:
        notes.append(
            f"No Friedman test: it needs at least {MIN_DATASETS} methods that ran on "
            f"at least {MIN_DATASETS} data sets, and there are {n_methods} on "
            f"{n_datasets}."
        )
    if n_datasets >= MIN_PAIRS:
        blocks = {"data sets": _over_datasets(scores, list(ranks.index))}
    else:
        blocks = {name: (table, table.isna()) for name, table in scores.items()}
        notes += _notes_on_repeats(scores)
    rows: list[dict[str, Any]] = []
    for over, block in blocks.items():
        own = _wilcoxon_rows(over, *block, control)
        rows += own
        notes += _note_on_power(over, own, control, alpha)
    return Significance(
        metric,
        alpha,
        n_datasets,
        mean_ranks,
        friedman,
        critical_difference,
        nemenyi,
        pd.DataFrame(rows, columns=WILCOXON_COLUMNS),
        tuple(notes),
    )


def _over_datasets(
    scores: dict[str, pd.DataFrame], methods: list[str]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Mean scores and failures by data set and method."""
    pd = import_extra("pandas")
    means = {name: table[methods].mean() for name, table in scores.items()}
    failed = {name: table[methods].isna().sum() for name, table in scores.items()}
    return pd.DataFrame(means).T, pd.DataFrame(failed).T


def _notes_on_repeats(scores: dict[str, pd.DataFrame]) -> Iterator[str]:
    n_repeats = max(len(table) for table in scores.values())
    if n_repeats < MIN_PAIRS:
        yield (
            f"No Wilcoxon test: it needs at least {MIN_PAIRS} data sets or repeats to "
            f"be significant, and there are {len(scores)} and {n_repeats}."
        )
        return
    yield (
        f"With fewer than {MIN_PAIRS} data sets the Wilcoxon test pairs the repeats on "
        "one data set: it tells whether a difference is more than chance between "
        "seeds there, and nothing about other data."
    )
    for name, table in scores.items():
        fixed = [str(method) for method in table if _is_constant(table[method])]
        if len(fixed) > 1:
            yield (
                f"On {name} every repeat gave the same score for {', '.join(fixed)}: "
                "pairs of these are not tested, since their repeats tell nothing new."
            )


def _is_constant(scores: pd.Series) -> bool:
    return bool(scores.round(10).nunique(dropna=False) == 1)


def _note_on_power(
    over: str, rows: list[dict[str, Any]], control: str | None, alpha: float
) -> Iterator[str]:
    n_tests = sum(not np.isnan(row["p"]) for row in rows)
    if n_tests == 0:
        return
    n_pairs = rows[0]["n_pairs"]
    if n_tests * 2.0 ** (1 - n_pairs) >= alpha:
        needed = int(np.floor(1 + np.log2(n_tests / alpha))) + 1
        unit = "data sets" if over == "data sets" else f"repeats on {over}"
        yield (
            f"The {n_pairs} {unit} are too few for any of {n_tests} pairs to differ "
            f"after the correction: it takes {needed}"
            f"{'.' if control else ', or a control that makes the pairs fewer.'}"
        )


def _wilcoxon_rows(
    over: str, scores: pd.DataFrame, failed: pd.DataFrame, control: str | None
) -> list[dict[str, Any]]:
    """Test pairs of methods; a pair of constants gets no p-value."""
    if len(scores) < MIN_PAIRS:
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
    tested_rows = [row for row in rows if not np.isnan(row["p"])]
    corrected = holm(np.array([row["p"] for row in tested_rows]))
    for row, p in zip(tested_rows, corrected, strict=True):
        row["p_holm"] = float(p)
    return rows


def _differences(
    score_a: pd.Series, failed_a: pd.Series, score_b: pd.Series, failed_b: pd.Series
) -> np.ndarray:
    """Paired differences; whoever failed more often has lost by any margin."""
    failures = failed_b.to_numpy(int) - failed_a.to_numpy(int)
    differences = np.round(
        np.nan_to_num(score_a.to_numpy(float) - score_b.to_numpy(float)), 10
    )
    return np.where(failures != 0, np.copysign(np.inf, failures), differences)
