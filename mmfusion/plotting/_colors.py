"""Colors and legends of clusters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mmfusion._extras import import_extra
from mmfusion._text import drawable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.legend import Legend


def cluster_colors(clusters: np.ndarray) -> dict[Any, tuple[float, ...]]:
    """Return a color for each cluster; of more than 20, neighbours look alike."""
    matplotlib = import_extra("matplotlib")
    n_clusters = len(clusters)
    if n_clusters > 20:  # more than the largest qualitative map has
        colors = matplotlib.colormaps["turbo"](np.linspace(0, 1, n_clusters))
    else:
        name = "tab10" if n_clusters <= 10 else "tab20"
        colors = matplotlib.color_sequences[name][:n_clusters]
    rgba = matplotlib.colors.to_rgba_array(colors)
    return dict(zip(clusters.tolist(), map(tuple, rgba.tolist()), strict=True))


def cluster_legend(
    ax: Axes, colors: dict[Any, tuple[float, ...]], title: str
) -> Legend:
    """Draw a legend of the clusters beside an Axes."""
    line = import_extra("matplotlib.lines").Line2D
    dots = [
        line([], [], linestyle="none", marker="o", markersize=4, color=color)
        for color in colors.values()
    ]
    return ax.legend(
        dots,
        [drawable(str(cluster)) for cluster in colors],
        title=drawable(title),
        fontsize="small",
        ncols=1 + (len(colors) - 1) // 12,
        loc="center left",
        bbox_to_anchor=(1, 0.5),
        borderaxespad=1,
    )
