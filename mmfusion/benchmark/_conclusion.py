"""Sentences about which method is ahead, and which differences are significant."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from mmfusion.benchmark._export import shown_mean
from mmfusion.benchmark._scores import NEGATED, is_negated_loss
from mmfusion.benchmark._significance import Significance, pairs_needed

if TYPE_CHECKING:
    import pandas as pd

    from mmfusion.benchmark._comparison import Comparison

OVER_DATASETS = "data sets"
MAX_NAMED = 4  # methods that a sentence lists


def conclusion_lines(comparison: Comparison, found: Significance) -> list[str]:
    """Write one or two sentences for each data set, some over all, and failures.

    Parameters
    ----------
    comparison : Comparison
        The comparison.
    found : Significance
        Its tests by the metric.

    Returns
    -------
    list of str
        One line for each data set, one for all, and one for failed cells.
    """
    summary = comparison.summary(found.metric)
    own = set(comparison._own_rows()["method"])
    lines = []
    for dataset, rows in summary.groupby("dataset", sort=False):
        of_own = rows[rows["method"].isin(own)]
        sentences = [
            *_dataset_sentences(str(dataset), of_own, found),
            *_added_sentence(rows, own, found.metric),
        ]
        lines.append(" ".join(sentences))
    if found.n_datasets > 1 and len(found.mean_ranks) > 1:
        lines.append(_rank_sentence(found))
    return list(filter(None, [*lines, _failure_sentence(comparison)]))


def _failure_sentence(comparison: Comparison) -> str:
    """Write how many cells failed, and of which methods."""
    own = comparison._own_rows()
    failed = own[own["status"] == "failed"]
    if failed.empty:
        return ""
    by_method = failed.groupby("method", sort=False)
    parts = [
        f"{len(rows)} of {method} (on {', '.join(map(str, rows['dataset'].unique()))})"
        for method, rows in by_method
    ]
    if len(parts) > MAX_NAMED:
        parts = [*parts[:MAX_NAMED], f"and {len(parts) - MAX_NAMED} methods more"]
    return f"{len(failed)} of {len(own)} cells failed: {', '.join(parts)}."


def _dataset_sentences(
    dataset: str, rows: pd.DataFrame, found: Significance
) -> Iterator[str]:
    if len(rows) < 2 or rows["mean"].isna().all():
        return
    first = rows[rows["rank"] == rows["rank"].min()]
    best = [str(method) for method in first["method"]]
    metric = found.metric
    name = metric.removeprefix(NEGATED) if is_negated_loss(metric) else metric
    verb = "is" if len(best) == 1 else "are"
    yield (
        f"On {dataset}, {_best(best)} {verb} first of {len(rows)} "
        f"methods by {name} ({shown_mean(metric, first['mean'].iloc[0])})."
    )
    others = [str(method) for method in rows["method"] if method not in best]
    p_values = found.p_values(dataset, best[0])
    if p_values and others:
        subject = "It" if len(best) == 1 else best[0]
        yield _sentence_of_tests(subject, others, p_values, found.alpha)
        yield from _sentence_of_power(dataset, found)
        untested = any(np.isnan(p_values.get(other, np.nan)) for other in others)
        if untested and found.t_test.empty:
            yield (
                "Pairs are not tested if neither method varies between repeats; "
                "with a subsample for each repeat (subsample=0.8) they do."
            )


def _sentence_of_tests(
    subject: str, others: list[str], p_values: dict[str, float], alpha: float
) -> str:
    """Write from which methods one differs significantly, and from which not."""
    differ = [m for m in others if p_values.get(m, np.nan) < alpha]
    same = [m for m in others if p_values.get(m, np.nan) >= alpha]
    untested = [m for m in others if np.isnan(p_values.get(m, np.nan))]
    clauses = []
    if differ:
        names = _listed(differ, others, "all")
        clauses.append(f"differs significantly (alpha = {alpha:g}) from {names}")
    if same:
        names = _listed(same, others, "any of the")
        clauses.append(f"does not differ significantly from {names}")
    if untested:
        names = _listed(untested, others, "all")
        clauses.append(f"could not be tested against {names}")
    return f"{subject} {'; '.join(clauses)}."


def _sentence_of_power(dataset: str, found: Significance) -> Iterator[str]:
    """Write that no difference could be significant, if that is so."""
    if found.wilcoxon.empty:
        return
    tests = found.wilcoxon[found.wilcoxon["over"] == dataset].dropna(subset="p")
    if len(tests):
        n_pairs, needed = tests["n_pairs"].max(), pairs_needed(len(tests), found.alpha)
        if n_pairs < needed:
            yield (
                f"With {n_pairs} repeats no difference can be significant after the "
                f"correction; {needed} repeats are needed."
            )


def _best(names: list[str]) -> str:
    """Return the names of the best methods, of many ones the first."""
    if len(names) > MAX_NAMED:
        return f"{names[0]} and {len(names) - 1} more"
    return _listed(names, names, "all")


def _listed(names: list[str], others: list[str], every: str) -> str:
    if len(names) == len(others) and len(names) > MAX_NAMED:
        return f"{every} {len(others)} others"
    if len(names) > MAX_NAMED:
        return f"{len(names)} of the {len(others)} others"
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def _added_sentence(rows: pd.DataFrame, own: set[Any], metric: str) -> Iterator[str]:
    is_own = rows["method"].isin(own)
    ahead = rows[~is_own & (rows["mean"] > rows.loc[is_own, "mean"].max())]
    if len(ahead):
        best = ahead.loc[ahead["mean"].idxmax()]
        more = f", and {len(ahead) - 1} more are better" if len(ahead) > 1 else ""
        yield (
            f"Of the results for reference, which are not tested, {best['method']} is "
            f"best ({shown_mean(metric, best['mean'])}){more}."
        )


def _rank_sentence(found: Significance) -> str:
    best, n = str(found.mean_ranks.index[0]), found.n_datasets
    is_best = found.mean_ranks == found.mean_ranks.iloc[0]
    ties = [str(method) for method in found.mean_ranks.index[is_best]]
    first = f"{_best(ties)} {'has' if len(ties) == 1 else 'have'}"
    sentence = (
        f"Over {n} data sets, {first} the best mean rank of {len(found.mean_ranks)} "
        f"methods ({found.mean_ranks.iloc[0]:.2f})"
    )
    others = [str(m) for m in found.mean_ranks.index[1:]]
    p_values = found.p_values(OVER_DATASETS, best)
    n_tests = int(found.wilcoxon["p"].notna().sum())
    if p_values and (n >= pairs_needed(n_tests, found.alpha) or found.friedman is None):
        return f"{sentence}. {_sentence_of_tests('It', others, p_values, found.alpha)}"
    if found.friedman is None:
        return f"{sentence}; there are too few for a test of ranks."
    nemenyi = found.nemenyi_of(best)
    if not nemenyi:
        return f"{sentence}; the Friedman test finds no difference of ranks."
    tests = _sentence_of_tests("By the Nemenyi test it", others, nemenyi, found.alpha)
    return f"{sentence}. {tests}"
