"""Display of the silhouettes of clusters in each modality."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from sklearn.metrics import silhouette_samples

from mmfusion._blocks import over_all_samples
from mmfusion._drawing import several_axes
from mmfusion._extras import import_extra
from mmfusion._text import drawable
from mmfusion._validation import as_modalities
from mmfusion.plotting._axes import new_axes
from mmfusion.plotting._colors import cluster_colors
from mmfusion.plotting._estimators import (
    check_displayable,
    drawn_samples,
    labels_for,
    modalities_of_fit,
    predicted_labels,
    scaled_tables,
)
from mmfusion.plotting._style import merge_style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import ArrayLike
    from sklearn.base import BaseEstimator

    from mmfusion._typing import ModalitiesLike, RandomStateLike
    from mmfusion.modalities import Modalities

MAX_NAMED_CLUSTERS = 20  # names of more would overlap
GAP_SHARE = 0.15  # between clusters, of the mean size of a cluster


class ModalitySilhouetteDisplay:
    """Silhouettes of the samples in each modality, by cluster.

    It is recommended to use :meth:`from_estimator` or :meth:`from_predictions`. All
    parameters are stored as attributes.

    Parameters
    ----------
    silhouettes : dict of str to ndarray of shape (n_samples,)
        Silhouette of each sample in each modality; NaN where it is not observed, or
        the samples that have the modality are in one cluster or in one each.
    labels : ndarray of shape (n_samples,)
        Cluster of each sample.

    Attributes
    ----------
    bars_ : list of list of matplotlib PolyCollection
        Silhouettes of the clusters in each modality.
    lines_ : list of matplotlib Line2D
        Mean silhouette in each modality.
    axes_ : ndarray of matplotlib Axes
        The Axes of each modality.
    figure_ : matplotlib Figure
        Figure of the axes.

    See Also
    --------
    mmfusion.metrics.modality_silhouette_score : The means.
    ClusterMapDisplay : Maps of each modality.

    Notes
    -----
    A modality in which most samples have positive silhouettes supports the clusters.
    Where those of a cluster are negative, its samples are nearer to another cluster.

    Examples
    --------
    >>> import matplotlib
    >>> matplotlib.use("agg")
    >>> from mmfusion import EarlyFusionClusterer
    >>> from mmfusion.datasets import make_multimodal_blobs
    >>> from mmfusion.plotting import ModalitySilhouetteDisplay
    >>> X, y = make_multimodal_blobs(60, {"audio": 3, "video": 5}, random_state=0)
    >>> early = EarlyFusionClusterer(n_clusters=3, random_state=0).fit(X)
    >>> display = ModalitySilhouetteDisplay.from_estimator(early, X)
    >>> list(display.silhouettes)
    ['audio', 'video']
    """

    def __init__(
        self, *, silhouettes: Mapping[str, np.ndarray], labels: np.ndarray
    ) -> None:
        self.silhouettes = silhouettes
        self.labels = labels

    @classmethod
    def from_estimator(
        cls,
        estimator: BaseEstimator,
        X: ModalitiesLike,
        *,
        max_samples: int | None = 1000,
        random_state: RandomStateLike = 0,
        ax: Sequence[Axes] | None = None,
        **kwargs: Any,
    ) -> Self:
        """Draw silhouettes of the clusters that a fitted estimator predicts.

        Parameters
        ----------
        estimator : estimator
            Any fitted clusterer or classifier of `X`.
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The samples; of an estimator without `predict` those of `fit`.
        max_samples : int, default=1000
            Maximum number of samples, of which the time is quadratic. Of more, a random
            subset is drawn; None is all.
        random_state : int, RandomState instance or None, default=0
            Seed of the choice and of the order of samples.
        ax : sequence of matplotlib Axes, default=None
            Axes to draw on, one for each modality; a new figure by default.
        **kwargs : dict
            Style of the bars; see matplotlib's `Axes.fill_betweenx`.

        Returns
        -------
        ModalitySilhouetteDisplay
            The drawn display.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        TypeError
            If it has no clusters.
        ValueError
            If a modality holds text or NaN.
        """
        check_displayable(estimator)
        frame = modalities_of_fit(estimator, X)
        return cls.from_predictions(
            frame,
            predicted_labels(estimator, frame),
            max_samples=max_samples,
            random_state=random_state,
            ax=ax,
            **kwargs,
        )

    @classmethod
    def from_predictions(
        cls,
        X: ModalitiesLike,
        labels: ArrayLike,
        *,
        max_samples: int | None = 1000,
        random_state: RandomStateLike = 0,
        ax: Sequence[Axes] | None = None,
        **kwargs: Any,
    ) -> Self:
        """Draw silhouettes of clusters.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The samples.
        labels : array-like of shape (n_samples,)
            Cluster of each sample.
        max_samples : int, default=1000
            Maximum number of samples, of which the time is quadratic. Of more, a random
            subset is drawn; None is all.
        random_state : int, RandomState instance or None, default=0
            Seed of the choice and of the order of samples.
        ax : sequence of matplotlib Axes, default=None
            Axes to draw on, one for each modality; a new figure by default.
        **kwargs : dict
            Style of the bars; see matplotlib's `Axes.fill_betweenx`.

        Returns
        -------
        ModalitySilhouetteDisplay
            The drawn display.

        Raises
        ------
        ValueError
            If lengths disagree, or a modality holds text or NaN.
        """
        frame = as_modalities(X)
        values = labels_for(frame, labels, "labels")
        rows = np.sort(drawn_samples(len(frame), max_samples, random_state))
        frame, values = frame[rows], values[rows]
        return cls(silhouettes=_silhouettes(frame, values), labels=values).plot(
            ax, **kwargs
        )

    def plot(self, ax: Sequence[Axes] | None = None, **kwargs: Any) -> Self:
        """Draw the silhouettes.

        Parameters
        ----------
        ax : sequence of matplotlib Axes, default=None
            Axes to draw on, one for each modality; a new figure by default.
        **kwargs : dict
            Style of the bars; see matplotlib's `Axes.fill_betweenx`.

        Returns
        -------
        ModalitySilhouetteDisplay
            This display.

        Raises
        ------
        ValueError
            If there are fewer or more Axes than modalities.
        """
        n_maps = len(self.silhouettes)
        if ax is None:
            axes = new_axes(n_maps)
        else:
            purpose = f"for the modalities {list(self.silhouettes)}"
            axes = several_axes(ax, n_maps, purpose)
        self.axes_, self.figure_ = axes, axes[0].figure
        colors = cluster_colors(np.unique(self.labels))
        style = merge_style(
            {"linewidth": 0}, kwargs, import_extra("matplotlib.collections").Collection
        )
        limits = _limits(list(self.silhouettes.values()))
        self.bars_, self.lines_ = [], []
        for panel, (name, own) in zip(axes, self.silhouettes.items(), strict=True):
            self.bars_.append(_plot_bars(panel, own, self.labels, colors, style))
            mean = np.nan if np.isnan(own).all() else float(np.nanmean(own))
            self.lines_.append(panel.axvline(mean, color="0.5", linestyle="--"))
            n_observed = int((~np.isnan(own)).sum())
            title = f"{drawable(name)}: {mean:.2f}" if n_observed else drawable(name)
            if n_observed < len(own):
                title += f"\n({n_observed} of {len(own)} samples)"
            panel.set_title(title, fontsize="medium")
            panel.set(xlim=limits, xlabel="silhouette")
            panel.locator_params(axis="x", nbins=4)
        axes[0].set_ylabel("cluster")
        return self


def _silhouettes(frame: Modalities, labels: np.ndarray) -> dict[str, np.ndarray]:
    """Compute the silhouettes of samples in every modality."""
    silhouettes = {}
    for (name, table), observed in zip(
        scaled_tables(frame).items(), frame.observed.T, strict=True
    ):
        own = labels[observed]
        values = np.full(len(own), np.nan)
        if table is not None and 2 <= len(np.unique(own)) < len(own):
            values = silhouette_samples(table, own)
        silhouettes[name] = over_all_samples(values, observed, np.nan)
    return silhouettes


def _limits(silhouettes: Sequence[np.ndarray]) -> tuple[float, float]:
    """Return the limits of all Axes, between which all silhouettes lie."""
    values = np.concatenate(silhouettes)
    known = values[~np.isnan(values)]
    lowest, highest = np.min(known, initial=-0.05), np.max(known, initial=0.05)
    margin = 0.05 * (highest - lowest)
    return float(lowest - margin), float(highest + margin)


def _plot_bars(
    ax: Axes,
    silhouettes: np.ndarray,
    labels: np.ndarray,
    colors: dict[Any, tuple[float, ...]],
    style: dict[str, Any],
) -> list[Any]:
    """Draw the sorted silhouettes of each cluster, the first one at the top."""
    known = ~np.isnan(silhouettes)
    gap = max(0.5, GAP_SHARE * known.sum() / len(colors))
    bars, middles, start = [], [], 0.0
    for cluster, color in colors.items():
        values = np.sort(silhouettes[known & (labels == cluster)])[::-1]
        # as steps, so that a cluster of one sample is seen
        edges = start + np.arange(len(values) + 1)
        steps = np.repeat(values, 2)
        own = {"color": color} if "facecolor" not in style else {}
        bars.append(
            ax.fill_betweenx(np.repeat(edges, 2)[1:-1], 0, steps, **own | style)
        )
        middles.append(start + len(values) / 2)
        start += len(values) + gap
    names = [drawable(str(cluster)) for cluster in colors]
    if len(names) > MAX_NAMED_CLUSTERS:
        middles, names = [], []
    ax.set_yticks(middles, names)
    ax.tick_params(axis="y", length=0, labelsize="small")
    ax.set_ylim(max(start - gap, 1) + gap, -gap)
    ax.axvline(0, color="0.7", linewidth=0.8)
    return bars
