"""Maps of samples in two dimensions, fused and by modality, colored by cluster."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from sklearn.base import clone
from sklearn.decomposition import PCA

from mmfusion._drawing import several_axes
from mmfusion._extras import import_extra
from mmfusion._options import errors_about
from mmfusion._text import drawable
from mmfusion.plotting._axes import MAPS_PER_ROW, new_axes
from mmfusion.plotting._colors import cluster_colors, cluster_legend
from mmfusion.plotting._inputs import as_real_array
from mmfusion.plotting._style import merge_style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.collections import PathCollection
    from numpy.typing import ArrayLike
    from sklearn.base import TransformerMixin


LEAST_SIZE = 8  # of points, in square points
MANY_POINTS = 300  # of fewer, points are larger


class BaseMapDisplay:
    """Base of displays of maps, which hold their points."""

    def __init__(
        self,
        *,
        fused: np.ndarray,
        modalities: Mapping[str, np.ndarray],
        labels: np.ndarray,
        legend_title: str = "cluster",
    ) -> None:
        self.fused = fused
        self.modalities = modalities
        self.labels = labels
        self.legend_title = legend_title

    def plot(self, ax: Sequence[Axes] | None = None, **kwargs: Any) -> Self:
        """Draw the maps.

        Parameters
        ----------
        ax : sequence of matplotlib Axes, default=None
            Axes to draw on, one for each map; a new figure by default.
        **kwargs : dict
            Style of the points, but for their color, which shows the labels; see
            matplotlib's `Axes.scatter`.

        Returns
        -------
        Self
            This display.

        Raises
        ------
        ValueError
            If there are fewer or more Axes than maps.
        """
        maps = [self.fused, *self.modalities.values()]
        if ax is None:
            axes = new_axes(len(maps))
        else:
            purpose = f"for the fused map and those of {list(self.modalities)}"
            axes = several_axes(ax, len(maps), purpose)
        self.axes_, self.figure_ = axes, axes[0].figure
        clusters, members = np.unique(self.labels, return_inverse=True)
        colors = cluster_colors(clusters)
        of_samples = np.array(list(colors.values()))[members]
        titles = ["fused", *self.modalities]
        self.scatters_ = [
            _plot_points(*each, of_samples, kwargs)
            for each in zip(axes, maps, titles, strict=True)
        ]
        last_above = axes[min(len(maps), MAPS_PER_ROW) - 1]
        cluster_legend(last_above, colors, self.legend_title)
        return self


def check_reducer(reducer: TransformerMixin | None) -> None:
    """Check that a reducer is a transformer, or None."""
    if reducer is not None and not hasattr(reducer, "fit_transform"):
        raise TypeError(
            f"reducer is {reducer!r}; give a transformer with fit_transform, such "
            "as TSNE()"
        )


def map_to_plane(
    given: ArrayLike, reducer: TransformerMixin | None, n_samples: int, name: str
) -> np.ndarray:
    """Reduce the rows that are not NaN to two dimensions, by PCA if by nothing else."""
    latents = as_real_array(given, name)
    if latents.ndim != 2 or len(latents) != n_samples:
        raise ValueError(
            f"{name} has latents of shape {latents.shape}; for {n_samples} labels "
            f"({n_samples}, latent_width) is expected"
        )
    points = np.full((n_samples, 2), np.nan)
    observed = ~np.isnan(latents).all(axis=1)
    if observed.sum() < 2:  # reducers need two samples
        return points
    if reducer is None:
        return _principal_components(latents, observed)
    with errors_about(name):
        reduced = np.asarray(clone(reducer).fit_transform(latents[observed]))
    if reduced.ndim != 2 or reduced.shape[1] < 2:
        raise ValueError(
            f"{name}: {type(reducer).__name__} returned shape {reduced.shape}; a map "
            "needs two dimensions, for example by n_components=2"
        )
    points[observed] = reduced[:, :2]
    return points


def _principal_components(latents: np.ndarray, observed: np.ndarray) -> np.ndarray:
    """Map observed latents by PCA; those of one unit lie on a line."""
    points = np.where(observed[:, None], np.zeros(2), np.nan)
    width = min(2, latents.shape[1])
    with np.errstate(invalid="ignore"):  # equal latents have no variance to explain
        reduced = PCA(width, random_state=0).fit_transform(latents[observed])
    points[observed, :width] = reduced
    return points


def _plot_points(
    ax: Axes, points: np.ndarray, title: str, colors: np.ndarray, style: dict[str, Any]
) -> PathCollection:
    observed = ~np.isnan(points).any(axis=1)
    size = np.clip(LEAST_SIZE * np.sqrt(MANY_POINTS / len(points)), LEAST_SIZE, 40)
    default = {"s": size, "linewidth": 0, "alpha": 0.8}
    own = merge_style(default, style, import_extra("matplotlib.collections").Collection)
    taken = {"c", "color", "facecolor"} & own.keys()
    if taken:
        raise TypeError(f"{min(taken)} shows the labels of the points; leave it out")
    drawn = ax.scatter(*points[observed].T, color=colors[observed], **own)
    if not observed.all():
        title += f" ({observed.sum()} of {len(points)} samples)"
    ax.set(xticks=[], yticks=[])
    ax.set_title(drawable(title), fontsize="medium")
    return drawn
