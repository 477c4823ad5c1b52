"""Maps of the fused latents beside those of every modality."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.utils import check_random_state

from mmfusion._options import errors_about
from mmfusion._text import drawable
from mmfusion.metrics._labels import validate_labels
from mmfusion.plotting._axes import MAPS_PER_ROW, new_axes
from mmfusion.plotting._colors import (
    cluster_colors,
    cluster_legend,
)
from mmfusion.plotting._estimators import check_shows, samples_of
from mmfusion.plotting._inputs import (
    check_count,
    check_mapping,
    check_text,
    numbers,
    several_axes,
)


class LatentMapDisplay:
    """Maps of the fused latents and of those of each modality, colored by cluster.

    It is recommended to use :meth:`from_estimator` or :meth:`from_latents`. All
    parameters are stored as attributes.

    Parameters
    ----------
    fused : ndarray of shape (n_samples, 2)
        Map of the fused latents.
    modalities : dict of str to ndarray of shape (n_samples, 2)
        Map of the latents of each modality; NaN where a sample lacks it.
    labels : ndarray of shape (n_samples,)
        Cluster of each sample, which colors it.
    legend_title : str, default='cluster'
        What the labels are.

    Attributes
    ----------
    scatters_ : list of matplotlib PathCollection
        The points of each map: the fused one, then the modalities.
    axes_ : ndarray of matplotlib Axes
        The Axes of each map, in the same order.
    figure_ : matplotlib Figure
        Figure of the axes.

    See Also
    --------
    LossCurveDisplay : Learning curves.
    AttentionWeightsDisplay : How much each modality counts.

    Notes
    -----
    Every map is made by itself, and stretched to fill its Axes: positions in one say
    nothing about positions in another. A map shows what two dimensions can; clusters
    that overlap in it may lie apart in the latent space.

    Examples
    --------
    >>> import matplotlib
    >>> matplotlib.use("agg")
    >>> import numpy as np
    >>> from mmfusion.plotting import LatentMapDisplay
    >>> rng = np.random.default_rng(0)
    >>> latents = {"audio": rng.normal(size=(9, 4)), "video": rng.normal(size=(9, 4))}
    >>> fused = (latents["audio"] + latents["video"]) / 2
    >>> display = LatentMapDisplay.from_latents(fused, latents, np.arange(9) % 3)
    >>> [ax.get_title() for ax in display.axes_]
    ['fused', 'audio', 'video']
    """

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

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        *,
        y: Any = None,
        max_samples: int | None = 2000,
        reducer: Any = None,
        random_state: Any = 0,
        ax: Any = None,
        **kwargs: Any,
    ) -> Self:
        """Draw maps of what a fitted estimator makes of samples.

        For a torch Dataset, give :meth:`from_latents` what the estimator's methods
        make of it.

        Parameters
        ----------
        estimator : estimator
            A fitted one with ``modality_latents``, such as EAMCClusterer.
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The samples.
        y : array-like of shape (n_samples,), default=None
            Labels that color the samples, such as classes; by default their predicted
            clusters do.
        max_samples : int, default=2000
            Of more samples, as many are drawn at random; None is all.
        reducer : transformer, default=None
            Makes the maps by its ``fit_transform``, a clone of it each; PCA by
            default. Its first two components are drawn.
        random_state : int, RandomState instance or None, default=0
            Of the choice and the order of samples.
        ax : sequence of matplotlib Axes, default=None
            Where to draw, one per map; a new figure by default.
        **kwargs : dict
            Style of the points; see matplotlib's `Axes.scatter`.

        Returns
        -------
        LatentMapDisplay
            The drawn display.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        TypeError
            If it has no latents by modality.
        ValueError
            If `y` has another length than `X`.
        """
        check_shows(estimator, "modality_latents", "transform")
        frame = samples_of(estimator, X)
        if y is not None:
            y = validate_labels(y, "y")
            if len(y) != len(frame):
                raise ValueError(f"y has {len(y)} labels for {len(frame)} samples")
        check_count(max_samples, "max_samples")
        with errors_about("random_state"):
            rng = check_random_state(random_state)
        # in random order, as the last points hide those that are drawn before
        rows = rng.permutation(len(frame))[:max_samples]
        some = frame[rows]
        labels = estimator.predict(some) if y is None else np.asarray(y)[rows]
        return cls.from_latents(
            estimator.transform(some),
            estimator.modality_latents(some),
            labels,
            legend_title="cluster" if y is None else "y",
            reducer=reducer,
            ax=ax,
            **kwargs,
        )

    @classmethod
    def from_latents(
        cls,
        fused: Any,
        latents: Mapping[str, Any],
        labels: Any,
        *,
        legend_title: str = "cluster",
        reducer: Any = None,
        ax: Any = None,
        **kwargs: Any,
    ) -> Self:
        """Draw maps of latents.

        Parameters
        ----------
        fused : array-like of shape (n_samples, latent_width)
            The fused latents.
        latents : dict of str to array-like of shape (n_samples, latent_width)
            Latents by modality; rows of samples that lack it are NaN.
        labels : array-like of shape (n_samples,)
            Cluster of each sample, which colors it.
        legend_title : str, default='cluster'
            What the labels are.
        reducer : transformer, default=None
            Makes the maps by its ``fit_transform``, a clone of it each; PCA by
            default. Its first two components are drawn.
        ax : sequence of matplotlib Axes, default=None
            Where to draw, one per map; a new figure by default.
        **kwargs : dict
            Style of the points; see matplotlib's `Axes.scatter`.

        Returns
        -------
        LatentMapDisplay
            The drawn display.

        Raises
        ------
        ValueError
            If lengths do not agree, or maps have less than two dimensions.
        """
        if reducer is None:
            reducer = PCA(n_components=2)
        elif not hasattr(reducer, "fit_transform"):
            raise TypeError(
                f"reducer is {reducer!r}; give a transformer that has fit_transform, "
                "such as TSNE()"
            )
        check_text(legend_title, "legend_title")
        check_mapping(latents, "latents", "latents by modality")
        labels = validate_labels(labels, "labels")
        fused = _map(fused, reducer, len(labels), "fused")
        with errors_about("latents"):
            modalities = {
                name: _map(own, reducer, len(labels), f"modality {name!r}")
                for name, own in latents.items()
            }
        return cls(
            fused=fused,
            modalities=modalities,
            labels=labels,
            legend_title=legend_title,
        ).plot(ax, **kwargs)

    def plot(self, ax: Any = None, **kwargs: Any) -> Self:
        """Draw.

        Parameters
        ----------
        ax : sequence of matplotlib Axes, default=None
            Where to draw, one per map; a new figure by default.
        **kwargs : dict
            Style of the points; see matplotlib's `Axes.scatter`.

        Returns
        -------
        LatentMapDisplay
            This display.

        Raises
        ------
        ValueError
            If there are less or more Axes than maps.
        """
        maps = [self.fused, *self.modalities.values()]
        if ax is None:
            axes = new_axes(len(maps))
        else:
            purpose = f"for the fused latents and those of {list(self.modalities)}"
            axes = several_axes(ax, len(maps), purpose)
        self.axes_, self.figure_ = axes, axes[0].figure
        clusters, members = np.unique(self.labels, return_inverse=True)
        colors = cluster_colors(clusters)
        of_samples = np.array(list(colors.values()))[members]
        titles = ["fused", *self.modalities]
        self.scatters_ = [
            _scatter(*each, of_samples, kwargs)
            for each in zip(axes, maps, titles, strict=True)
        ]
        last_above = axes[min(len(maps), MAPS_PER_ROW) - 1]
        cluster_legend(last_above, colors, self.legend_title)
        return self


def _map(latents: Any, reducer: Any, n_samples: int, what: str) -> np.ndarray:
    """Map the rows that are not NaN to two dimensions."""
    latents = numbers(latents, what)
    if latents.ndim != 2 or len(latents) != n_samples:
        raise ValueError(
            f"{what} has latents of shape {latents.shape}; for {n_samples} labels "
            f"({n_samples}, latent_width) is expected"
        )
    found = np.full((n_samples, 2), np.nan)
    present = ~np.isnan(latents).all(axis=1)
    if present.sum() < 2:  # nothing to compare
        return found
    with errors_about(what):
        reduced = np.asarray(clone(reducer).fit_transform(latents[present]))
    if reduced.ndim != 2 or reduced.shape[1] < 2:
        raise ValueError(
            f"{what}: {type(reducer).__name__} gave shape {reduced.shape}; a map needs "
            "two dimensions, such as n_components=2 gives"
        )
    found[present] = reduced[:, :2]
    return found


def _scatter(
    ax: Any, points: np.ndarray, title: str, colors: np.ndarray, style: dict[str, Any]
) -> Any:
    present = ~np.isnan(points).any(axis=1)
    own = {"s": 8, "linewidths": 0, "alpha": 0.8} | style
    drawn = ax.scatter(*points[present].T, color=colors[present], **own)
    if not present.all():
        title += f" ({present.sum()} of {len(points)} samples)"
    ax.set(xticks=[], yticks=[])
    ax.set_title(drawable(title), fontsize="medium")
    return drawn
