"""Display of the weights of kernels, by modality."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from mmfusion._drawing import check_axes
from mmfusion._extras import import_extra
from mmfusion._text import drawable
from mmfusion.plotting._colors import cluster_colors
from mmfusion.plotting._estimators import KERNEL_LEARNERS, check_displayable
from mmfusion.plotting._inputs import as_names, as_real_array

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.text import Text
    from numpy.typing import ArrayLike
    from sklearn.base import BaseEstimator

MODALITY_GAP = 0.5  # between bars of different modalities, in heights of a bar


class KernelWeightsDisplay:
    """Bars of the weights of kernels, and their sums over those of each modality.

    It is recommended to use :meth:`from_estimator` or :meth:`from_predictions`. All
    parameters are stored as attributes.

    Parameters
    ----------
    weights : ndarray of shape (n_kernels,)
        Weight of each kernel.
    names : sequence of str of length n_kernels
        Names of the kernels.
    kernel_modalities : sequence of str of length n_kernels
        Name of the modality of each kernel; kernels of one modality are adjacent.

    Attributes
    ----------
    bars_ : matplotlib BarContainer
        One bar for each kernel, in the color of its modality.
    sums_ : dict of str to matplotlib Text
        Sum of the weights of each modality that has several kernels, as text.
    ax_ : matplotlib Axes
        Axes with the bars.
    figure_ : matplotlib Figure
        Figure of the axes.

    See Also
    --------
    KernelMatrixDisplay : The Gram matrices.
    ObjectivePathDisplay : The objective of the weights after each step.
    AttentionWeightsDisplay : Weights of modalities in a network.

    Examples
    --------
    >>> import matplotlib
    >>> matplotlib.use("agg")
    >>> from mmfusion.plotting import KernelWeightsDisplay
    >>> display = KernelWeightsDisplay.from_predictions(
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
    def from_estimator(
        cls, estimator: BaseEstimator, *, ax: Axes | None = None, **kwargs: Any
    ) -> Self:
        """Draw the kernel weights of a fitted estimator.

        Parameters
        ----------
        estimator : MKLClusterer, MKLClassifier or MKLRegressor
            Fitted estimator.
        ax : matplotlib Axes, default=None
            Axes to draw on; a new figure by default.
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
            If it has no kernel weights.
        """
        check_displayable(estimator, "kernel_weights_", such_as=KERNEL_LEARNERS)
        return cls.from_predictions(
            estimator.kernel_weights_,
            estimator.kernel_names_.tolist(),
            kernel_modalities=estimator.modality_names_in_[
                estimator.kernel_modalities_
            ],
            ax=ax,
            **kwargs,
        )

    @classmethod
    def from_predictions(
        cls,
        weights: ArrayLike,
        names: Sequence[str],
        *,
        kernel_modalities: Sequence[str] | ArrayLike | None = None,
        ax: Axes | None = None,
        **kwargs: Any,
    ) -> Self:
        """Draw kernel weights.

        Parameters
        ----------
        weights : array-like of shape (n_kernels,)
            Weight of each kernel; their sum may differ from 1.
        names : list of str of length n_kernels
            Names of the kernels.
        kernel_modalities : array-like of str of shape (n_kernels,), default=None
            Name of the modality of each kernel. Kernels of one modality are drawn next
            to the first of them. None is a modality for each kernel.
        ax : matplotlib Axes, default=None
            Axes to draw on; a new figure by default.
        **kwargs : dict
            Style of the bars; see matplotlib's `Axes.barh`.

        Returns
        -------
        KernelWeightsDisplay
            The drawn display.

        Raises
        ------
        ValueError
            If lengths disagree, or a weight is negative or not finite.
        """
        names = as_names(names, "names")
        values = as_real_array(weights, "weights")
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
            owners = as_names(kernel_modalities, "kernel_modalities")
        if len(owners) != len(names):
            raise ValueError(
                f"kernel_modalities has {len(owners)} modalities; give that of each of "
                f"the {len(names)} kernels {names}"
            )
        # stable: kernels of one modality keep their order
        order = sorted(range(len(names)), key=lambda p: owners.index(owners[p]))
        return cls(
            weights=values[order],
            names=[names[p] for p in order],
            kernel_modalities=[owners[p] for p in order],
        ).plot(ax, **kwargs)

    def plot(self, ax: Axes | None = None, **kwargs: Any) -> Self:
        """Draw the weights.

        Bars are the weights of kernels, numbers at the right the sums over modalities
        of several kernels, and the dashed line is the weight 1 / n_kernels.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on; a new figure by default.
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
            y += MODALITY_GAP * np.array([modalities.index(owner) for owner in owners])
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
        # a background keeps numbers legible where the line crosses them
        background = {"facecolor": ax.get_facecolor(), "edgecolor": "none", "pad": 0.5}
        numbers = [_format_weight(weight) for weight in self.weights]
        ax.bar_label(self.bars_, numbers, padding=4, bbox=background)
        self.sums_: dict[str, Any] = {}
        for modality, group in zip(modalities, groups, strict=True):
            if len(group) > 1:
                number = _format_weight(self.weights[group].sum())
                total = f"{drawable(modality)}: {number}"
                ends = y[group[[0, -1]]] + [-0.4, 0.4]
                self.sums_[modality] = self._plot_sum(ends, total, colors[modality])
        ax.margins(x=0.15)
        ax.set(
            xlabel="kernel weight (dashed: all equal)",
            yticks=y,
            yticklabels=list(map(drawable, self.names)),
        )
        ax.set_ylim(y[-1] + 0.5, -0.5)  # the first kernel on top
        ax.set_xlim(left=0)
        return self

    def _plot_sum(self, ends: np.ndarray, total: str, color: tuple[float, ...]) -> Text:
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


def _format_weight(weight: float) -> str:
    """Format a weight with three digits; exact zeros as 0."""
    return "0" if weight == 0 else f"{weight:.3f}"
