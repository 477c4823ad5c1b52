"""Plots of a comparison."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import numpy as np

from mmfusion._extras import import_extra
from mmfusion._text import drawable

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from mmfusion.benchmark._comparison import Comparison

COMPARISON_KINDS = ("scores", "ranks", "times")
MARKERS = "osD^vP*Xph<>"


class ComparisonDisplay:
    """Plots of one score of a comparison.

    It is recommended to use :meth:`from_comparison`. All parameters are stored as
    attributes.

    Parameters
    ----------
    metric : str
        Name of the score.
    frame : DataFrame
        One row for each data set, method and repeat.
    summary : DataFrame
        Means, standard deviations and failures from `Comparison.summary`.
    costs : DataFrame
        Times from `Comparison.costs`.
    mean_ranks : Series
        Mean rank by method, best first.
    critical_difference : float or None
        Least difference of mean ranks at which two methods differ significantly; None
        if it is unknown.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes with the plot.
    figure_ : matplotlib Figure
        Figure of the axes.

    See Also
    --------
    Comparison : The results that are drawn.

    Examples
    --------
    >>> import matplotlib
    >>> matplotlib.use("agg")
    >>> from mmfusion import EarlyFusionClusterer
    >>> from mmfusion.benchmark import ComparisonDisplay, compare
    >>> from mmfusion.datasets import make_multimodal_blobs
    >>> comparison = compare(
    ...     {"scaled": EarlyFusionClusterer()},
    ...     {"blobs": make_multimodal_blobs(60, random_state=0)},
    ...     n_repeats=2,
    ... )
    >>> display = ComparisonDisplay.from_comparison(comparison)
    >>> display.ax_.get_xlabel()
    'clustering_accuracy'
    """

    def __init__(
        self,
        *,
        metric: str,
        frame: pd.DataFrame,
        summary: pd.DataFrame,
        costs: pd.DataFrame,
        mean_ranks: pd.Series,
        critical_difference: float | None,
    ) -> None:
        self.metric = metric
        self.frame = frame
        self.summary = summary
        self.costs = costs
        self.mean_ranks = mean_ranks
        self.critical_difference = critical_difference

    @classmethod
    def from_comparison(
        cls,
        comparison: Comparison,
        metric: str | None = None,
        *,
        kind: str = "scores",
        ax: Axes | None = None,
    ) -> Self:
        """Draw one score of a comparison.

        Parameters
        ----------
        comparison : Comparison
            The comparison to draw.
        metric : str, default=None
            The score; the first one by default.
        kind : {'scores', 'ranks', 'times'}, default='scores'
            Kind of the plot; see :meth:`plot`.
        ax : matplotlib Axes, default=None
            Axes to draw on; a new figure by default.

        Returns
        -------
        ComparisonDisplay
            The drawn display.
        """
        if not hasattr(comparison, "significance"):
            raise TypeError(
                f"comparison is a {type(comparison).__name__}; give a Comparison, as "
                "compare returns"
            )
        significance = comparison.significance(metric)
        return cls(
            metric=significance.metric,
            frame=comparison.frame,
            summary=comparison.summary(metric),
            costs=comparison.costs(),
            mean_ranks=significance.mean_ranks,
            critical_difference=significance.critical_difference,
        ).plot(ax, kind=kind)

    def plot(self, ax: Axes | None = None, *, kind: str = "scores") -> Self:
        """Draw the plot.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on; a new figure by default.
        kind : {'scores', 'ranks', 'times'}, default='scores'
            'scores': every repeat as a dot, mean and standard deviation of each method
            on each data set. 'ranks': mean ranks; bars have the length of the critical
            difference of the Nemenyi test, if it is known: methods differ
            significantly if their bars do not overlap. 'times': mean score against
            median time.

        Returns
        -------
        ComparisonDisplay
            This display.

        Raises
        ------
        TypeError
            If `ax` is no Axes.
        ValueError
            If there is no such kind.
        """
        if not isinstance(kind, str) or kind not in COMPARISON_KINDS:
            raise ValueError(
                f"kind={kind!r}; it must be one of {list(COMPARISON_KINDS)}"
            )
        if ax is not None and not hasattr(ax, "figure"):
            raise TypeError(f"ax is a {type(ax).__name__}; give matplotlib Axes")
        if ax is None:
            # room for long names of methods
            pyplot = import_extra("matplotlib.pyplot")
            _, ax = pyplot.subplots(layout="constrained")
        self.ax_, self.figure_ = ax, ax.figure
        {
            "scores": self._plot_scores,
            "ranks": self._plot_ranks,
            "times": self._plot_times,
        }[kind](ax)
        return self

    def _styles(self) -> dict[str, dict[str, Any]]:
        """Return color and marker of each method."""
        colors = import_extra("matplotlib").color_sequences["tab10"]
        methods = self.summary["method"].unique()
        return {
            method: {
                "color": colors[i % len(colors)],
                "marker": MARKERS[i % len(MARKERS)],
            }
            for i, method in enumerate(methods)
        }

    def _plot_scores(self, ax: Axes) -> None:
        styles = self._styles()
        labels: list[str] = []
        headings = []
        for dataset, rows in self.summary.groupby("dataset", sort=False):
            headings.append(len(labels))
            labels.append(drawable(str(dataset)))
            for row in rows.itertuples():
                method = str(row.method)
                self._plot_repeats(ax, row, len(labels), styles[method])
                labels.append(drawable(method))
        ax.set(xlabel=drawable(self.metric), yticks=range(len(labels)))
        ax.set_yticklabels(labels)
        for y in headings:
            ax.get_yticklabels()[y].set_fontweight("bold")
            ax.axhline(y, color="0.9", zorder=0)
        ax.set_ylim(len(labels) - 0.5, -0.5)

    def _plot_repeats(self, ax: Axes, row: Any, y: int, style: dict[str, Any]) -> None:
        own = self.frame[
            (self.frame["dataset"] == row.dataset)
            & (self.frame["method"] == row.method)
        ]
        ax.scatter(
            own[self.metric],
            np.full(len(own), y),
            s=8,
            color=style["color"],
            alpha=0.4,
            linewidths=0,
        )
        ax.errorbar(row.mean, y, xerr=np.nan_to_num(row.std), **style)
        if row.n_failed:
            ax.annotate(
                f"failed {row.n_failed}/{row.n_repeats}",
                (0, y),
                xycoords=("axes fraction", "data"),
                xytext=(3, 0),
                textcoords="offset points",
                verticalalignment="center",
                fontsize="small",
            )

    def _plot_ranks(self, ax: Axes) -> None:
        styles = self._styles()
        for y, (method, rank) in enumerate(self.mean_ranks.items()):
            bar = self.critical_difference  # half to each side: bars just touch
            ax.errorbar(
                rank,
                y,
                xerr=None if bar is None else bar / 2,
                capsize=3,
                **styles[str(method)],
            )
        ax.set_yticks(range(len(self.mean_ranks)))
        ax.set_yticklabels(list(map(drawable, self.mean_ranks.index)))
        ax.invert_yaxis()
        label = f"mean rank by {drawable(self.metric)} (1 is best)"
        if self.critical_difference is not None:
            label += f"; critical difference {self.critical_difference:.2f}"
        ax.set_xlabel(label)

    def _plot_times(self, ax: Axes) -> None:
        rows = self.summary.merge(self.costs, on=["dataset", "method"])
        datasets = list(rows["dataset"].unique())
        for method, style in self._styles().items():
            own = rows[rows["method"] == method]
            if own.empty:  # results that were not run here
                continue
            ax.plot(
                own["fit_seconds"],
                own["mean"],
                linestyle="none",
                label=drawable(method),
                **style,
            )
            if len(datasets) > 1:
                for row in own.dropna(subset=["fit_seconds", "mean"]).itertuples():
                    ax.annotate(
                        drawable(str(row.dataset)),
                        (row.fit_seconds, row.mean),
                        xytext=(4, 3),
                        textcoords="offset points",
                        fontsize="xx-small",
                    )
        ax.set(xlabel="time of a fit (s)", ylabel=drawable(self.metric))
        ax.set_xscale("log")
        ax.legend(fontsize="small", loc="center left", bbox_to_anchor=(1, 0.5))
