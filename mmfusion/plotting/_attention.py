"""Display of attention weights of the modalities, overall and by cluster."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from mmfusion._drawing import check_axes
from mmfusion._extras import import_extra
from mmfusion._options import weights_by_modality
from mmfusion._text import drawable
from mmfusion.metrics._labels import validate_labels
from mmfusion.plotting._colors import (
    cluster_colors,
    cluster_legend,
)
from mmfusion.plotting._estimators import check_displayable, modalities_of_fit
from mmfusion.plotting._inputs import as_names, as_real_array

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import ArrayLike
    from sklearn.base import BaseEstimator

    from mmfusion._typing import ModalitiesLike


class AttentionWeightsDisplay:
    """Bars of the attention weights of modalities, with their means in each cluster.

    It is recommended to use :meth:`from_estimator` or :meth:`from_predictions`. All
    parameters are stored as attributes.

    Parameters
    ----------
    weights : ndarray of shape (n_modalities,)
        Attention weights, which add up to 1.
    names : sequence of str of length n_modalities
        Names of the modalities.
    clusters : ndarray of shape (n_clusters,), default=None
        The clusters; None draws none.
    cluster_weights : ndarray of shape (n_clusters, n_modalities), default=None
        Means of the weights of samples over the members of each cluster.

    Attributes
    ----------
    bars_ : matplotlib BarContainer
        One bar for each modality.
    dots_ : list of matplotlib PathCollection
        The weights in each cluster, one dot for each modality; empty without clusters.
    ax_ : matplotlib Axes
        Axes with the bars.
    figure_ : matplotlib Figure
        Figure of the axes.

    See Also
    --------
    LossCurveDisplay : Learning curves.
    LatentMapDisplay : Maps of the latents.

    Notes
    -----
    Attention has one weight w_v for each modality, the same for all samples. A sample
    that lacks modalities is fused with w_v / sum_u w_u, the sum over its observed
    modalities u. Weights of clusters differ for this reason only.

    Examples
    --------
    >>> import matplotlib
    >>> matplotlib.use("agg")
    >>> from mmfusion.plotting import AttentionWeightsDisplay
    >>> display = AttentionWeightsDisplay.from_predictions(
    ...     [0.75, 0.25],
    ...     ["audio", "video"],
    ...     labels=[0, 0, 1],
    ...     observed=[[True, True], [True, True], [False, True]],
    ... )
    >>> display.cluster_weights
    array([[0.75, 0.25],
           [0.  , 1.  ]])
    """

    def __init__(
        self,
        *,
        weights: np.ndarray,
        names: Sequence[str],
        clusters: np.ndarray | None = None,
        cluster_weights: np.ndarray | None = None,
    ) -> None:
        self.weights = weights
        self.names = names
        self.clusters = clusters
        self.cluster_weights = cluster_weights

    @classmethod
    def from_estimator(
        cls,
        estimator: BaseEstimator,
        X: ModalitiesLike | None = None,
        *,
        ax: Axes | None = None,
        **kwargs: Any,
    ) -> Self:
        """Draw the attention weights of a fitted estimator.

        For clusters of a torch Dataset, use :meth:`from_predictions` with their labels.

        Parameters
        ----------
        estimator : estimator
            Fitted estimator with ``attention_weights_``, such as EAMCClusterer.
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features), \
                default=None
            Samples whose clusters are drawn too; None draws the weights only.
        ax : matplotlib Axes, default=None
            Axes to draw on; a new figure by default.
        **kwargs : dict
            Style of the bars; see matplotlib's `Axes.barh`.

        Returns
        -------
        AttentionWeightsDisplay
            The drawn display.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        TypeError
            If it has no attention weights.
        """
        check_displayable(estimator, "attention_weights_")
        labels = observed = None
        if X is not None:
            frame = modalities_of_fit(estimator, X)
            labels, observed = estimator.predict(frame), frame.observed
        return cls.from_predictions(
            estimator.attention_weights_,
            estimator.modality_names_in_.tolist(),
            labels=labels,
            observed=observed,
            ax=ax,
            **kwargs,
        )

    @classmethod
    def from_predictions(
        cls,
        weights: ArrayLike | Mapping[str, float],
        names: Sequence[str],
        *,
        labels: ArrayLike | None = None,
        observed: ArrayLike | None = None,
        ax: Axes | None = None,
        **kwargs: Any,
    ) -> Self:
        """Draw attention weights.

        Parameters
        ----------
        weights : array-like of shape (n_modalities,) or dict of str to float
            Weight of each modality, before division by their sum.
        names : list of str of length n_modalities
            Names of the modalities.
        labels : array-like of shape (n_samples,), default=None
            Cluster of each sample; None draws no clusters.
        observed : array-like of bool of shape (n_samples, n_modalities), default=None
            Mask of the observed modalities of each sample; None is all.
        ax : matplotlib Axes, default=None
            Axes to draw on; a new figure by default.
        **kwargs : dict
            Style of the bars; see matplotlib's `Axes.barh`.

        Returns
        -------
        AttentionWeightsDisplay
            The drawn display.

        Raises
        ------
        ValueError
            If lengths disagree, weights are negative or all zero, or all observed
            modalities of a sample have weight 0.
        """
        names = as_names(names, "names")
        if not names:
            raise ValueError("names is empty: there is nothing to draw")
        values = weights_by_modality(weights, names)
        values = values / values.sum()
        if labels is None:
            return cls(weights=values, names=names).plot(ax, **kwargs)
        labels = validate_labels(labels, "labels")
        shape = (len(labels), len(names))
        mask = (
            np.ones(shape) if observed is None else as_real_array(observed, "observed")
        )
        if mask.shape != shape:
            raise ValueError(
                f"observed has shape {mask.shape}; for {shape[0]} labels and the "
                f"modalities {names} it should be {shape}"
            )
        if not np.isin(mask, (0, 1)).all():
            raise ValueError("observed holds other values than True and False")
        clusters, members = np.unique(labels, return_inverse=True)
        sums = np.zeros((len(clusters), len(names)))
        # unbuffered: members of one cluster repeat its index
        np.add.at(sums, members, _sample_weights(values, mask))
        means = sums / np.bincount(members)[:, None]
        return cls(
            weights=values, names=names, clusters=clusters, cluster_weights=means
        ).plot(ax, **kwargs)

    def plot(self, ax: Axes | None = None, **kwargs: Any) -> Self:
        """Draw the weights.

        Bars are the weights of a sample that lacks no modality, dots the mean over the
        members of each cluster, and the dashed line is the weight 1 / n_modalities.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on; a new figure by default.
        **kwargs : dict
            Style of the bars; see matplotlib's `Axes.barh`.

        Returns
        -------
        AttentionWeightsDisplay
            This display.
        """
        n_modalities = len(self.names)
        n_clusters = 0 if self.clusters is None else len(self.clusters)
        if ax is None:
            pyplot = import_extra("matplotlib.pyplot")
            inches = 1 + n_modalities * (0.4 + 0.06 * min(n_clusters, 20))
            size = (6.4, max(2.4, inches))
            _, ax = pyplot.subplots(figsize=size, layout="constrained")
        check_axes(ax)
        self.ax_, self.figure_ = ax, ax.figure
        self.dots_: list[Any] = []
        y = np.arange(n_modalities)
        style = {"color": "0.85" if n_clusters else "tab:blue"} | kwargs
        self.bars_ = ax.barh(y, self.weights, **style)
        ax.axvline(1 / n_modalities, color="0.4", linestyle="--", linewidth=1)
        if self.clusters is not None and self.cluster_weights is not None:
            self._plot_clusters(self.clusters, self.cluster_weights)
            ax.set_xlabel("attention weight (bars), mean over each cluster (dots)")
        else:
            ax.bar_label(self.bars_, fmt="%.2f", padding=3)
            ax.margins(x=0.12)
            ax.set_xlabel("attention weight")
        ax.set(yticks=y, yticklabels=list(map(drawable, self.names)))
        ax.set_ylim(n_modalities - 0.5, -0.5)  # the first modality on top
        ax.set_xlim(left=0)
        return self

    def _plot_clusters(self, clusters: np.ndarray, weights: np.ndarray) -> None:
        ax, y = self.ax_, np.arange(len(self.names))
        colors = cluster_colors(clusters)
        n_clusters = len(clusters)
        # dots of one modality side by side, within 0.7 of the height of its bar
        shifts = (np.arange(n_clusters) - (n_clusters - 1) / 2) * 0.7 / n_clusters
        for color, shift, own in zip(colors.values(), shifts, weights, strict=True):
            self.dots_.append(
                ax.scatter(own, y + shift, s=12, color=[color], clip_on=False, zorder=3)
            )
        cluster_legend(ax, colors, "cluster")


def _sample_weights(weights: np.ndarray, observed: np.ndarray) -> np.ndarray:
    """Divide the weights of the observed modalities of each sample by their sum."""
    own = observed * weights
    totals = own.sum(axis=1, keepdims=True)
    unweighted = np.flatnonzero(totals[:, 0] == 0)
    if unweighted.size:
        raise ValueError(
            f"sample {unweighted[0]} has no observed modality of positive weight "
            f"({unweighted.size} of {len(observed)} samples have none): leave such "
            "samples out"
        )
    return own / totals
