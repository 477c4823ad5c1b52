"""Plots of scores against the level of degradation."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self, TypeAlias, Union

import numpy as np
from numpy.typing import ArrayLike

from mmfusion._drawing import several_axes
from mmfusion._extras import import_extra
from mmfusion._text import drawable
from mmfusion._typing import EstimatorLike, ModalitiesLike
from mmfusion.robustness._curve import degradation_curve
from mmfusion.robustness._results import DegradationResults

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

AxesLike: TypeAlias = Union["Axes", Sequence["Axes"], np.ndarray, None]

PANELS_PER_ROW = 4
CURVE_MARKERS = "osD^vP*Xph<>"
LEVEL_LABELS = {
    "missing": "share that is missing",
    "noise": "noise (standard deviations)",
    "swap": "share that is swapped",
    "bursts": "share of time that is noisy",
    "shift": "shift (frames, or time)",
    "stretches": "share of time that is dropped",
}


class DegradationDisplay:
    """Plot of score against level, with a panel for each degradation and modality.

    It is recommended to use :meth:`from_results` or :meth:`from_estimators`. All
    parameters are stored as attributes.

    Parameters
    ----------
    metric : str
        Name of the score.
    summary : DataFrame
        Means and standard deviations, as returned by `DegradationResults.summary`.

    Attributes
    ----------
    lines_ : dict of tuple to matplotlib Line2D
        The curve of each (degradation, modality, estimator).
    axes_ : ndarray of matplotlib Axes
        Axes of the panels.
    figure_ : matplotlib Figure
        Figure of the axes.

    See Also
    --------
    degradation_curve : Computes the results to draw.

    Notes
    -----
    Bands extend one standard deviation over folds to either side. Folds have common
    training samples, and estimators the same degraded samples: overlapping bands do
    not imply that a difference is due to chance.

    Examples
    --------
    >>> import matplotlib
    >>> matplotlib.use("agg")
    >>> from mmfusion import LateFusionClassifier
    >>> from mmfusion.datasets import make_multimodal_blobs
    >>> from mmfusion.robustness import DegradationDisplay
    >>> X, y = make_multimodal_blobs(
    ...     n_features={"audio": 4, "video": 4}, random_state=0
    ... )
    >>> display = DegradationDisplay.from_estimators(
    ...     LateFusionClassifier(), X, y, levels=[0, 0.5, 1], random_state=0
    ... )
    >>> [ax.get_title() for ax in display.axes_]
    ['audio', 'video']
    """

    def __init__(self, *, metric: str, summary: pd.DataFrame) -> None:
        self.metric = metric
        self.summary = summary

    @classmethod
    def from_results(
        cls,
        results: DegradationResults,
        metric: str | None = None,
        *,
        ax: AxesLike = None,
        **kwargs: Any,
    ) -> Self:
        """Draw the results of `degradation_curve`.

        Parameters
        ----------
        results : DegradationResults
            Results to draw.
        metric : str, default=None
            Name of the score; the first one by default.
        ax : sequence of matplotlib Axes, default=None
            Axes of the panels; those of a new figure by default.
        **kwargs : dict
            Style of all lines; see matplotlib's `Axes.plot`.

        Returns
        -------
        DegradationDisplay
            The drawn display.

        Raises
        ------
        ValueError
            If the metric is unknown, or the number of Axes is not that of the panels.
        """
        if not isinstance(results, DegradationResults):
            raise TypeError(
                f"results is a {type(results).__name__}; give the DegradationResults "
                "that degradation_curve returns"
            )
        summary = results.summary(metric)
        name = results.metrics[0] if metric is None else metric
        return cls(metric=name, summary=summary).plot(ax, **kwargs)

    @classmethod
    def from_estimators(
        cls,
        estimators: EstimatorLike,
        X: ModalitiesLike,
        y: ArrayLike | None = None,
        *,
        ax: AxesLike = None,
        **options: Any,
    ) -> Self:
        """Run `degradation_curve` and draw its results.

        Parameters
        ----------
        estimators : estimator or dict of str to estimator
            Classifiers, regressors or clusterers.
        X : list, dict or Modalities
            Data by modality.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs), default=None
            Target, or the classes to compare clusters with.
        ax : sequence of matplotlib Axes, default=None
            Axes of the panels; those of a new figure by default.
        **options : dict
            Further parameters of `degradation_curve`.

        Returns
        -------
        DegradationDisplay
            The drawn display, of the first score.
        """
        return cls.from_results(degradation_curve(estimators, X, y, **options), ax=ax)

    def plot(self, ax: AxesLike = None, **kwargs: Any) -> Self:
        """Draw the curves.

        Parameters
        ----------
        ax : sequence of matplotlib Axes, default=None
            Axes of the panels; those of a new figure by default.
        **kwargs : dict
            Style of all lines; see matplotlib's `Axes.plot`.

        Returns
        -------
        DegradationDisplay
            This display.

        Raises
        ------
        ValueError
            If the number of Axes is not that of the panels.
        """
        curves = self.summary.groupby(["degradation", "modality"], sort=False)
        panels = {(str(kind), str(name)): rows for (kind, name), rows in curves}
        sizes = list(Counter(kind for kind, _ in panels).values())
        if ax is None:
            axes = _new_axes(sizes)
        else:
            purpose = f"for {[' of '.join(panel) for panel in panels]}"
            axes = several_axes(ax, len(panels), purpose)
        self.axes_, self.figure_ = axes, axes[0].figure
        self.lines_ = {}
        for panel, ((kind, name), rows) in zip(axes, panels.items(), strict=True):
            own = rows.groupby("estimator", sort=False)
            for (estimator, curve), style in zip(own, self._styles(), strict=True):
                # the style of the user replaces the defaults
                style |= {"label": drawable(str(estimator))} | kwargs
                self.lines_[kind, name, estimator] = _plot_curve(panel, curve, style)
            panel.set_title(drawable(name), fontsize="medium")
            panel.set_xlabel(LEVEL_LABELS.get(kind, f"level of {drawable(kind)}"))
        # only the first panel of a row has a label, as all have the same scale
        numbers = np.concatenate([np.arange(size) for size in sizes])
        for panel in axes[numbers % PANELS_PER_ROW == 0]:
            panel.set_ylabel(drawable(self.metric))
        last_of_first_row = axes[min(sizes[0], PANELS_PER_ROW) - 1]
        last_of_first_row.legend(
            fontsize="small", loc="center left", bbox_to_anchor=(1, 0.5)
        )
        return self

    def _styles(self) -> list[dict[str, Any]]:
        colors = import_extra("matplotlib").color_sequences["tab10"]
        return [
            {
                "color": colors[i % len(colors)],
                "marker": CURVE_MARKERS[i % len(CURVE_MARKERS)],
            }
            for i in range(self.summary["estimator"].nunique())
        ]


def _plot_curve(ax: Axes, curve: pd.DataFrame, style: dict[str, Any]) -> Any:
    """Draw the line and the band of one curve, and return the line."""
    curve = curve.sort_values("level")
    (line,) = ax.plot(curve["level"], curve["mean"], **{"markersize": 4} | style)
    low, high = (curve["mean"] + side * curve["std"] for side in (-1, 1))
    # the colour of the line, which the style of the user may have changed
    band: dict[str, Any] = {"color": line.get_color(), "alpha": 0.12, "linewidth": 0}
    ax.fill_between(curve["level"], low, high, **band)
    return line


def _new_axes(sizes: list[int]) -> np.ndarray:
    """Create a figure with a number of panels per degradation, from a new row each."""
    n_columns = min(max(sizes), PANELS_PER_ROW)
    heights = [math.ceil(size / n_columns) for size in sizes]
    _, grid = import_extra("matplotlib.pyplot").subplots(
        sum(heights),
        n_columns,
        figsize=(2.6 * n_columns + 2, 2.7 * sum(heights)),
        sharey=True,
        squeeze=False,
        layout="constrained",
    )
    cells = np.split(grid, np.cumsum(heights)[:-1])
    pairs = list(zip(cells, sizes, strict=True))
    for own, size in pairs:
        # the last row of a degradation may have free cells
        for unused in own.flat[size:]:
            unused.remove()
    return np.concatenate([own.ravel()[:size] for own, size in pairs])
