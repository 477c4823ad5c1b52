"""What degradations cost, as one row per score and as a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mmfusion._extras import import_extra

if TYPE_CHECKING:
    import pandas as pd

CURVE = ["estimator", "degradation", "modality", "level"]


class DegradationResults:
    """What `degradation_curve` found: scores by level, and what was lost.

    Parameters
    ----------
    results : list of dict
        One for each score; see Attributes.

    Attributes
    ----------
    results : list of dict
        One for each estimator, degradation, modality, level, fold, repeat and metric,
        under these names; with ``score``, that of the fold as it is (``clean``), and
        the ``error`` if it failed, else an empty text.

    See Also
    --------
    degradation_curve : Makes it.
    DegradationDisplay : Draws it.

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
            raise TypeError("results is no list of dicts, one for each score")
        self.results = list(results)

    def __repr__(self) -> str:
        curves = {tuple(row[key] for key in CURVE[:-1]) for row in self.results}
        failed = sum(bool(row["error"]) for row in self.results)
        return (
            f"DegradationResults of {len({c[0] for c in curves})} estimators: "
            f"{len(curves)} curves, {len(self.results)} scores, {failed} failed"
        )

    @property
    def frame(self) -> pd.DataFrame:
        """The results as a DataFrame; needs pandas."""
        return import_extra("pandas").DataFrame(self.results)

    @property
    def metrics(self) -> list[str]:
        """Names of the scores, as a list of str."""
        return list(dict.fromkeys(row["metric"] for row in self.results))

    def summary(self, metric: str | None = None) -> pd.DataFrame:
        """Average over folds.

        Parameters
        ----------
        metric : str, default=None
            The score; the first one by default.

        Returns
        -------
        DataFrame
            Columns ``estimator``, ``degradation``, ``modality``, ``level``; ``mean``
            and ``std`` (with n - 1) of the score over folds, and ``loss`` and
            ``loss_std`` of how far it is below that of the same fold as it is;
            ``n_folds`` and ``n_failed``, which are left out. Repeats are averaged
            first.

        Raises
        ------
        ValueError
            If there is no such metric.
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
        folds = rows.groupby([*CURVE, "fold"], sort=False).agg(
            score=("score", "mean"), loss=("loss", "mean"), failed=("failed", "any")
        )
        return (
            folds.groupby(CURVE, sort=False)
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
