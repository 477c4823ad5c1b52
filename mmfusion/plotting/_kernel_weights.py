"""Weights of kernels, by modality."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np

from mmfusion._extras import import_extra
from mmfusion._text import drawable
from mmfusion.plotting._colors import cluster_colors
from mmfusion.plotting._estimators import LEARNS_KERNELS, check_shows
from mmfusion.plotting._inputs import check_axes, numbers, words

GAP = 0.5  # between modalities of several kernels, in bars


class KernelWeightsDisplay:
    """How much each kernel counts in the sum, and each modality by its kernels.

    It is recommended to use :meth:`from_estimator` or :meth:`from_weights`. All
    parameters are stored as attributes.

    Parameters
    ----------
    weights : ndarray of shape (n_kernels,)
        Weight of each kernel.
    names : sequence of str of length n_kernels
        Names of the kernels.
    kernel_modalities : sequence of str of length n_kernels
        Name of each kernel's modality; kernels of one modality are neighbours.

    Attributes
    ----------
    bars_ : matplotlib BarContainer
        One bar per kernel, in the color of its modality.
    sums_ : dict of str to matplotlib Text
        What is told of each modality that has several kernels.
    ax_ : matplotlib Axes
        Axes with the bars.
    figure_ : matplotlib Figure
        Figure of the axes.

    See Also
    --------
    KernelMatrixDisplay : The kernels themselves.
    ObjectivePathDisplay : How the weights were found.
    AttentionWeightsDisplay : Weights of modalities in a network.

    Examples
    --------
    >>> import matplotlib
    >>> matplotlib.use("agg")
    >>> from mmfusion.plotting import KernelWeightsDisplay
    >>> display = KernelWeightsDisplay.from_weights(
    ...     [0.25, 0.125, 0.625],
    ...     ["audio-0", "audio-1", "video"],
    ...     kernel_modalities=["audio", "audio", "video"],
    ... )
    >>> display.sums_["audio"].get_text()
    'audio: 0.375'
    """

    def __init__(
        self,
        *,
        weights: np.ndarray,
        names: Sequence[str],
        kernel_modalities: Sequence[str],
    ) -> None:
        self.weights = weights
        self.names = names
        self.kernel_modalities = kernel_modalities

    @classmethod
    def from_estimator(cls, estimator: Any, *, ax: Any = None, **kwargs: Any) -> Self:
        """Draw the weights that a fitted estimator gives its kernels.

        Parameters
        ----------
        estimator : MKLClusterer, MKLClassifier or MKLRegressor
            A fitted one.
        ax : matplotlib Axes, default=None
            Where to draw; a new figure by default.
        **kwargs : dict
            Style of the bars; see matplotlib's `Axes.barh`.

        Returns
        -------
        KernelWeightsDisplay
            The drawn display.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        TypeError
            If it does not weigh kernels.
        """
        check_shows(estimator, "kernel_weights_", such_as=LEARNS_KERNELS)
        return cls.from_weights(
            estimator.kernel_weights_,
            estimator.kernel_names_.tolist(),
            kernel_modalities=estimator.modality_names_in_[
                estimator.kernel_modalities_
            ],
            ax=ax,
            **kwargs,
        )

    @classmethod
    def from_weights(
        cls,
        weights: Any,
        names: Sequence[str],
        *,
        kernel_modalities: Any = None,
        ax: Any = None,
        **kwargs: Any,
    ) -> Self:
        """Draw weights.

        Parameters
        ----------
        weights : array-like of shape (n_kernels,)
            Weight of each kernel; they need not add up to 1.
        names : list of str of length n_kernels
            Names of the kernels.
        kernel_modalities : array-like of str of shape (n_kernels,), default=None
            Name of each kernel's modality. Kernels of one modality are drawn together,
            where its first one stands. None takes each kernel as a modality.
        ax : matplotlib Axes, default=None
            Where to draw; a new figure by default.
        **kwargs : dict
            Style of the bars; see matplotlib's `Axes.barh`.

        Returns
        -------
        KernelWeightsDisplay
            The drawn display.

        Raises
        ------
        ValueError
            If lengths do not agree, or a weight is negative or not finite.
        """
        names = words(names, "names")
        values = numbers(weights, "weights")
        if len(names) == 0:
            raise ValueError("names is empty: there is nothing to draw")
        if values.shape != (len(names),):
            raise ValueError(
                f"weights has shape {values.shape}; give one weight for each of the "
                f"{len(names)} kernels {names}"
            )
        if not (np.isfinite(values) & (values >= 0)).all():
            raise ValueError(
                f"weights are {values.tolist()}; they must be finite and not negative"
            )
        owners = names
        if kernel_modalities is not None:
            owners = words(kernel_modalities, "kernel_modalities")
        if len(owners) != len(names):
            raise ValueError(
                f"kernel_modalities has {len(owners)} modalities; give that of each of "
                f"the {len(names)} kernels {names}"
            )
        order = sorted(range(len(names)), key=lambda p: owners.index(owners[p]))
        return cls(
            weights=values[order],
            names=[names[p] for p in order],
            kernel_modalities=[owners[p] for p in order],
        ).plot(ax, **kwargs)

    def plot(self, ax: Any = None, **kwargs: Any) -> Self:
        """Draw.

        Bars are the weights of kernels; beside modalities that have several stands the
        sum of theirs. The dashed line is the weight if all kernels counted the same.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; a new figure by default.
        **kwargs : dict
            Style of the bars; see matplotlib's `Axes.barh`.

        Returns
        -------
        KernelWeightsDisplay
            This display.
        """
        owners = np.array(self.kernel_modalities, dtype=object)
        modalities = list(dict.fromkeys(self.kernel_modalities))
        groups = [np.flatnonzero(owners == modality) for modality in modalities]
        y = np.arange(len(owners), dtype=float)
        if len(groups) < len(owners):
            y += GAP * np.array([modalities.index(owner) for owner in owners])
        if ax is None:
            pyplot = import_extra("matplotlib.pyplot")
            letters = sum(
                max(len(drawable(name)) for name in names)
                for names in (self.names, modalities)
            )
            size = (5.5 + 0.07 * letters, max(2.4, 1 + 0.28 * (y[-1] + 1)))
            _, ax = pyplot.subplots(figsize=size, layout="constrained")
        check_axes(ax)
        self.ax_, self.figure_ = ax, ax.figure
        colors = cluster_colors(np.array(modalities, dtype=object))
        style = {"color": [colors[owner] for owner in owners]} | kwargs
        self.bars_ = ax.barh(y, self.weights, **style)
        ax.axvline(1 / len(owners), color="0.4", linestyle="--", linewidth=1)
        # numbers stay legible where the line runs through them
        ground = {"facecolor": ax.get_facecolor(), "edgecolor": "none", "pad": 0.5}
        told = [_told(weight) for weight in self.weights]
        ax.bar_label(self.bars_, told, padding=4, bbox=ground)
        self.sums_: dict[str, Any] = {}
        for modality, group in zip(modalities, groups, strict=True):
            if len(group) > 1:
                total = f"{drawable(modality)}: {_told(self.weights[group].sum())}"
                ends = y[group[[0, -1]]] + [-0.4, 0.4]
                self.sums_[modality] = self._plot_sum(ends, total, colors[modality])
        ax.margins(x=0.15)
        ax.set(
            xlabel="kernel weight (dashed: all the same)",
            yticks=y,
            yticklabels=list(map(drawable, self.names)),
        )
        ax.set_ylim(y[-1] + 0.5, -0.5)  # the first kernel on top
        ax.set_xlim(left=0)
        return self

    def _plot_sum(self, ends: np.ndarray, total: str, color: Any) -> Any:
        beside = self.ax_.get_yaxis_transform()
        self.ax_.plot(
            [1.02, 1.02],
            ends,
            color=color,
            linewidth=3,
            solid_capstyle="butt",
            transform=beside,
            clip_on=False,
        )
        return self.ax_.text(1.04, ends.mean(), total, va="center", transform=beside)


def _told(weight: float) -> str:
    """Three digits; a kernel that is out shows as such."""
    return "0" if weight == 0 else f"{weight:.3f}"
