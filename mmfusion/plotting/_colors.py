"""Colors and legends of clusters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mmfusion._extras import import_extra
from mmfusion._text import drawable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.legend import Legend


CLUSTERS_PER_COLUMN = 12
MAX_LEGEND_CLUSTERS = 3 * CLUSTERS_PER_COLUMN  # more would be wider than the maps


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
    """Draw a legend of the clusters beside an Axes; of many clusters, of some."""
    n_clusters = len(colors)
    if n_clusters > MAX_LEGEND_CLUSTERS:
        places = np.linspace(0, n_clusters - 1, CLUSTERS_PER_COLUMN).round().astype(int)
        some = [list(colors)[place] for place in places]
        colors = {cluster: colors[cluster] for cluster in some}
    line = import_extra("matplotlib.lines").Line2D
    dots = [
        line([], [], linestyle="none", marker="o", markersize=4, color=color)
        for color in colors.values()
    ]
    return ax.legend(
        dots,
        [drawable(str(cluster)) for cluster in colors],
        title=drawable(title)
        + (f"\n({len(colors)} of {n_clusters})" if len(colors) < n_clusters else ""),
        fontsize="small",
        ncols=1 + (len(colors) - 1) // CLUSTERS_PER_COLUMN,
        loc="center left",
        bbox_to_anchor=(1, 0.5),
        borderaxespad=1,
    )
