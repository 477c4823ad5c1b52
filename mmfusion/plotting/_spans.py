"""Display of the frames of the labels of a sample."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from mmfusion._drawing import check_axes
from mmfusion._extras import import_extra
from mmfusion._text import drawable
from mmfusion.alignment._token_input import with_token_arrays
from mmfusion.plotting._estimators import (
    check_displayable,
    modalities_of_fit,
    one_sample,
)
from mmfusion.plotting._inputs import as_names, as_real_array, check_probabilities
from mmfusion.plotting._style import merge_style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.container import BarContainer
    from numpy.typing import ArrayLike
    from sklearn.base import BaseEstimator

    from mmfusion._typing import ModalitiesLike


class SpanDisplay:
    """Plot of the frames of labels, each as high as its posterior.

    It is recommended to use :meth:`from_estimator` or :meth:`from_predictions`. All
    parameters are stored as attributes.

    Parameters
    ----------
    spans : ndarray of int of shape (n_labels, 2)
        First frame of each label, and the one after its last.
    labels : list of str
        The labels.
    posteriors : ndarray of shape (n_labels,)
        Posterior of each label.
    known : ndarray of shape (n_labels, 2), default=None
        Known spans of the labels.

    Attributes
    ----------
    bars_ : matplotlib BarContainer
        The spans.
    known_ : matplotlib BarContainer or None
        The known spans, below the frame axis.
    ax_ : matplotlib Axes
        Axes with the plot.
    figure_ : matplotlib Figure
        Figure of the Axes.

    See Also
    --------
    mmfusion.alignment.CTCAligner : Finds the spans by the output of a network.
    mmfusion.alignment.ForcedAligner : Finds the spans by features alone.

    Examples
    --------
    >>> import matplotlib
    >>> matplotlib.use("agg")
    >>> from mmfusion.plotting import SpanDisplay
    >>> display = SpanDisplay.from_predictions(
    ...     [[2, 5], [6, 9]], labels=["a", "b"], posteriors=[0.9, 0.6]
    ... )
    >>> [text.get_text() for text in display.ax_.texts]
    ['a', 'b']
    """

    def __init__(
        self,
        *,
        spans: np.ndarray,
        labels: list[str],
        posteriors: np.ndarray,
        known: np.ndarray | None = None,
    ) -> None:
        self.spans = spans
        self.labels = labels
        self.posteriors = posteriors
        self.known = known

    @classmethod
    def from_estimator(
        cls,
        estimator: BaseEstimator,
        X: ModalitiesLike,
        *,
        sample: int = 0,
        known: ArrayLike | None = None,
        ax: Axes | None = None,
        **kwargs: Any,
    ) -> Self:
        """Draw the spans that a fitted aligner finds in a sample.

        Parameters
        ----------
        estimator : CTCAligner or ForcedAligner
            Fitted aligner.
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The samples, those of `fit` or others.
        sample : int, default=0
            Position of the sample that is drawn.
        known : array-like of shape (n_labels, 2), default=None
            Known spans of the labels of the sample.
        ax : matplotlib Axes, default=None
            Axes to draw on; a new figure by default.
        **kwargs : dict
            Style of the bars; see matplotlib's `Axes.bar`.

        Returns
        -------
        SpanDisplay
            The drawn display.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        TypeError
            If it finds no spans.
        ValueError
            If there is no such sample, or it lacks frames or labels.
        """
        check_displayable(estimator, "band", "align", such_as="ForcedAligner")
        row = one_sample(modalities_of_fit(estimator, with_token_arrays(X)), sample)
        (found,) = estimator.align(row)
        if found is None:
            raise ValueError(
                f"sample {sample} lacks frames or labels; give another one"
            )
        return cls.from_predictions(
            found.spans,
            labels=list(map(str, found.labels)),
            posteriors=found.posteriors,
            known=known,
            ax=ax,
            **kwargs,
        )

    @classmethod
    def from_predictions(
        cls,
        spans: ArrayLike,
        *,
        labels: Sequence[str],
        posteriors: ArrayLike,
        known: ArrayLike | None = None,
        ax: Axes | None = None,
        **kwargs: Any,
    ) -> Self:
        """Draw spans.

        Parameters
        ----------
        spans : array-like of int of shape (n_labels, 2)
            First frame of each label, and the one after its last.
        labels : sequence of str
            The labels.
        posteriors : array-like of shape (n_labels,)
            Posterior of each label.
        known : array-like of shape (n_labels, 2), default=None
            Known spans of the labels.
        ax : matplotlib Axes, default=None
            Axes to draw on; a new figure by default.
        **kwargs : dict
            Style of the bars; see matplotlib's `Axes.bar`.

        Returns
        -------
        SpanDisplay
            The drawn display.

        Raises
        ------
        ValueError
            If there is not one span and one posterior for each label.
        """
        names = as_names(labels, "labels")
        heights = as_real_array(posteriors, "posteriors")
        if heights.shape != (len(names),):
            raise ValueError(
                f"posteriors have shape {heights.shape}; give one for each of "
                f"{len(names)} labels"
            )
        check_probabilities(heights, "posteriors")
        return cls(
            spans=_as_spans(spans, "spans", len(names)),
            labels=names,
            posteriors=heights,
            known=None if known is None else _as_spans(known, "known", len(names)),
        ).plot(ax, **kwargs)

    def plot(self, ax: Axes | None = None, **kwargs: Any) -> Self:
        """Draw a bar over the frames of each label.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on; a new figure by default.
        **kwargs : dict
            Style of the bars; see matplotlib's `Axes.bar`.

        Returns
        -------
        SpanDisplay
            This display.
        """
        if ax is None:
            pyplot = import_extra("matplotlib.pyplot")
            _, ax = pyplot.subplots(figsize=(7.5, 2.6), layout="constrained")
        check_axes(ax)
        self.ax_, self.figure_ = ax, ax.figure
        patch = import_extra("matplotlib.patches").Rectangle
        style = {"facecolor": "C0", "alpha": 0.6, "edgecolor": "0.2"}
        self.bars_: BarContainer = ax.bar(
            self.spans[:, 0],
            self.posteriors,
            np.diff(self.spans, axis=1)[:, 0],
            align="edge",
            **merge_style(style, kwargs, patch),
        )
        for name, (begin, end) in zip(self.labels, self.spans, strict=True):
            ax.text(
                (begin + end) / 2,
                1.03,
                drawable(name),
                ha="center",
                va="bottom",
                fontsize="small",
                rotation=90 if len(name) > 3 and len(self.labels) > 8 else 0,
            )
        self.known_: BarContainer | None = None
        if self.known is not None:
            self.known_ = ax.bar(
                self.known[:, 0],
                -0.1,
                np.diff(self.known, axis=1)[:, 0],
                align="edge",
                facecolor="C1",
                edgecolor="0.2",
                label="known",
            )
            ax.legend(fontsize="small", loc="lower right", bbox_to_anchor=(1, 1.1))
        ax.set(xlabel="frame", ylabel="posterior", ylim=(-0.12, 1.02))
        ax.set_yticks([0, 0.5, 1])
        ax.spines[["top", "right"]].set_visible(False)
        return self


def _as_spans(values: ArrayLike, name: str, n_labels: int) -> np.ndarray:
    """Return spans, which end after they begin."""
    spans = as_real_array(values, name)
    if spans.shape != (n_labels, 2) or not np.isfinite(spans).all():
        raise ValueError(
            f"{name} have shape {spans.shape}; give finite numbers of shape "
            f"({n_labels}, 2), a first frame and an end for each label"
        )
    if (spans[:, 1] < spans[:, 0]).any():
        raise ValueError(f"{name} end before they begin; give the first frame first")
    return spans
