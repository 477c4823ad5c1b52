"""Scores under degradations, as a table with one row per score and as averages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mmfusion._extras import import_extra

if TYPE_CHECKING:
    import pandas as pd

CURVE_COLUMNS = ["estimator", "degradation", "modality", "level"]


class DegradationResults:
    """Results of `degradation_curve`: scores by level, and losses against level 0.

    Parameters
    ----------
    results : list of dict
        One dict per score, see Attributes.

    Attributes
    ----------
    results : list of dict
        One dict per estimator, degradation, modality, level, fold, repeat and metric,
        with these keys, and ``score``; ``clean``, the score of the same fold at
        level 0; and ``error``, the message of a failure, otherwise an empty string.

    See Also
    --------
    degradation_curve : Computes the results.
    DegradationDisplay : Draws the results.

    Examples
    --------
    >>> from mmfusion import LateFusionClassifier
    >>> from mmfusion.datasets import make_multimodal_blobs
    >>> from mmfusion.robustness import degradation_curve
    >>> X, y = make_multimodal_blobs(random_state=0)
    >>> results = degradation_curve(LateFusionClassifier(), X, y, levels=[0, 1])
    >>> results
    DegradationResults of 1 estimators: 2 curves, 20 scores, 0 failed
    >>> results.frame.columns.tolist()
    ['estimator', 'degradation', 'modality', 'level', 'fold', 'repeat', 'metric',
     'score', 'clean', 'error']
    """

    def __init__(self, results: Sequence[Mapping[str, Any]]) -> None:
        is_list = isinstance(results, Sequence) and not isinstance(results, str | bytes)
        if not is_list or not all(isinstance(row, Mapping) for row in results):
            raise TypeError("results is not a list of dicts, one for each score")
        self.results = list(results)

    def __repr__(self) -> str:
        curves = {tuple(row[key] for key in CURVE_COLUMNS[:-1]) for row in self.results}
        failed = sum(bool(row["error"]) for row in self.results)
        return (
            f"DegradationResults of {len({c[0] for c in curves})} estimators: "
            f"{len(curves)} curves, {len(self.results)} scores, {failed} failed"
        )

    @property
    def frame(self) -> pd.DataFrame:
        """Results as a DataFrame with one row per score; requires pandas."""
        return import_extra("pandas").DataFrame(self.results)

    @property
    def metrics(self) -> list[str]:
        """Names of the scores, as a list of str."""
        return list(dict.fromkeys(row["metric"] for row in self.results))

    def summary(self, metric: str | None = None) -> pd.DataFrame:
        """Compute means and standard deviations over folds.

        Parameters
        ----------
        metric : str, default=None
            Name of the score; the first one by default.

        Returns
        -------
        DataFrame
            Columns ``estimator``, ``degradation``, ``modality``, ``level``; ``mean``
            and ``std`` (with denominator n - 1) of the score over folds; ``loss`` and
            ``loss_std`` of its difference to the score of the same fold at level 0;
            ``n_folds`` and ``n_failed``. Repeats are averaged first, and failed scores
            that are NaN are ignored.

        Raises
        ------
        ValueError
            If the metric is unknown.
        """
        if metric is None:
            metric = self.metrics[0]
        if not isinstance(metric, str):
            raise TypeError(f"metric is a {type(metric).__name__}; give a str")
        if metric not in self.metrics:
            raise ValueError(f"metric={metric!r} was not scored: {self.metrics}")
        frame = self.frame
        rows = frame[frame["metric"] == metric]
        rows = rows.assign(
            loss=rows["clean"] - rows["score"], failed=rows["error"] != ""
        )
        # repeats of a fold are not independent: they do not count as further folds
        folds = rows.groupby([*CURVE_COLUMNS, "fold"], sort=False).agg(
            score=("score", "mean"), loss=("loss", "mean"), failed=("failed", "any")
        )
        return (
            folds.groupby(CURVE_COLUMNS, sort=False)
            .agg(
                mean=("score", "mean"),
                std=("score", "std"),
                loss=("loss", "mean"),
                loss_std=("loss", "std"),
                n_folds=("score", "size"),
                n_failed=("failed", "sum"),
            )
            .reset_index()
        )
