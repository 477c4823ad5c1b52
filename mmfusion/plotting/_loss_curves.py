"""Display of learning curves: every term of the loss over the epochs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from numbers import Real
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from scipy import sparse

from mmfusion._drawing import check_axes
from mmfusion._extras import import_extra
from mmfusion._text import drawable
from mmfusion.plotting._estimators import check_displayable
from mmfusion.plotting._inputs import as_names
from mmfusion.plotting._style import merge_style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from sklearn.base import BaseEstimator

NOT_LOSSES = ("epoch", "dur", "accuracy")
PRETRAINING = "pretraining"
TRAINING = "training"  # of epochs without a phase


class LossCurveDisplay:
    """Learning curves of a deep estimator, one for each term of the loss.

    It is recommended to use :meth:`from_estimator` or :meth:`from_predictions`. All
    parameters are stored as attributes.

    Parameters
    ----------
    curves : dict of str to ndarray of shape (n_epochs,)
        Mean over each epoch by term; NaN where an epoch has no number of that name.
    phases : sequence of str of length n_epochs
        Phase of the training at each epoch.

    Attributes
    ----------
    lines_ : dict of str to matplotlib Line2D
        The curve of each term, with a gap between phases.
    ax_ : matplotlib Axes
        Axes with the curves.
    figure_ : matplotlib Figure
        Figure of the axes.

    See Also
    --------
    AttentionWeightsDisplay : Attention weights of the modalities.
    LatentMapDisplay : Maps of the latents.

    Notes
    -----
    Terms are drawn without their weights; ``train_loss``, in black, is the weighted sum
    that the network minimises. Phases minimise different sums, which cannot be
    compared. In adversarial training no loss need decrease: discriminators that improve
    increase the loss ``generator`` of the encoders.

    Examples
    --------
    >>> import matplotlib
    >>> matplotlib.use("agg")
    >>> from mmfusion.plotting import LossCurveDisplay
    >>> history = [
    ...     {"epoch": 1, "phase": "pretraining", "disagreement": 0.7},
    ...     {"epoch": 2, "phase": "pretraining", "disagreement": 0.4},
    ...     {"epoch": 3, "phase": "adversarial training", "separation": 0.2},
    ... ]
    >>> display = LossCurveDisplay.from_predictions(history)
    >>> list(display.lines_)
    ['disagreement', 'separation']
    >>> display.phases
    ['pretraining', 'pretraining', 'adversarial training']
    """

    def __init__(
        self, *, curves: Mapping[str, np.ndarray], phases: Sequence[str]
    ) -> None:
        self.curves = curves
        self.phases = phases

    @classmethod
    def from_estimator(
        cls,
        estimator: BaseEstimator,
        *,
        terms: Iterable[str] | None = None,
        ax: Axes | None = None,
        **kwargs: Any,
    ) -> Self:
        """Draw the learning curves of a fitted estimator.

        Parameters
        ----------
        estimator : estimator
            Fitted estimator with ``history_``, such as EAMCClusterer.
        terms : list of str, default=None
            Terms to draw; all terms of the loss by default. Others in the history are
            possible, such as the ``accuracy`` of the discriminators.
        ax : matplotlib Axes, default=None
            Axes to draw on; a new figure by default.
        **kwargs : dict
            Style of all lines; see matplotlib's `Axes.plot`.

        Returns
        -------
        LossCurveDisplay
            The drawn display.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        TypeError
            If it has no history.
        ValueError
            If a term is unknown.
        """
        check_displayable(estimator, "history_")
        return cls.from_predictions(estimator.history_, terms=terms, ax=ax, **kwargs)

    @classmethod
    def from_predictions(
        cls,
        history: Sequence[Mapping[str, Any]],
        *,
        terms: Iterable[str] | None = None,
        ax: Axes | None = None,
        **kwargs: Any,
    ) -> Self:
        """Draw the learning curves of a history.

        Parameters
        ----------
        history : list of dict
            Recorded values of each epoch, by term, and its 'phase', 'training' if
            there is none.
        terms : list of str, default=None
            Terms to draw; all terms of the loss by default. Others in the history are
            possible, such as the ``accuracy`` of the discriminators.
        ax : matplotlib Axes, default=None
            Axes to draw on; a new figure by default.
        **kwargs : dict
            Style of all lines; see matplotlib's `Axes.plot`.

        Returns
        -------
        LossCurveDisplay
            The drawn display.

        Raises
        ------
        ValueError
            If the history is empty, or a term is unknown.
        """
        if not isinstance(history, Sequence) or not all(
            isinstance(epoch, Mapping)
            and not sparse.issparse(epoch)  # dok: a dict
            and all(isinstance(term, str) for term in epoch)
            for epoch in history
        ):
            raise TypeError(
                f"history is a {type(history).__name__}; give a list with a dict for "
                "each epoch, as history_ of an estimator is"
            )
        recorded = {
            key: None
            for epoch in history
            for key, value in epoch.items()
            if _is_number(value)
        }
        if terms is None:
            chosen = [term for term in recorded if term not in NOT_LOSSES]
        else:
            chosen = as_names(terms, "terms")
        if not chosen:
            raise ValueError(
                f"there is no loss to draw in the {len(history)} epochs of the history"
                f"{'' if terms is None else ': terms is empty'}"
            )
        unknown = [term for term in chosen if term not in recorded]
        if unknown:
            raise ValueError(
                f"terms {unknown} are not in the history, which has {list(recorded)}"
            )
        curves = {
            term: np.array(
                [float(e[term]) if _is_number(e.get(term)) else np.nan for e in history]
            )
            for term in chosen
        }
        phases = [str(epoch.get("phase", TRAINING)) for epoch in history]
        return cls(curves=curves, phases=phases).plot(ax, **kwargs)

    def plot(self, ax: Axes | None = None, **kwargs: Any) -> Self:
        """Draw the curves.

        The scale is logarithmic if values are positive and span more than a decade.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on; a new figure by default.
        **kwargs : dict
            Style of all lines; see matplotlib's `Axes.plot`.

        Returns
        -------
        LossCurveDisplay
            This display.
        """
        if ax is None:
            pyplot = import_extra("matplotlib.pyplot")
            _, ax = pyplot.subplots(layout="constrained")
        check_axes(ax)
        self.ax_, self.figure_ = ax, ax.figure
        spans = _phase_spans(self.phases)
        self._plot_curves(ax, [stop for _, _, stop in spans[:-1]], kwargs)
        if _spans_decades(np.concatenate(list(self.curves.values()))):
            ax.set_yscale("log")
        has_losses_only = set(self.curves).isdisjoint(NOT_LOSSES)
        ylabel = "loss" if has_losses_only else "value"
        ax.set(xlabel="epoch", ylabel=ylabel, xlim=(0.5, len(self.phases) + 0.5))
        locator: Any = ax.xaxis.get_major_locator()
        locator.set_params(integer=True)
        self._label_phases(ax, spans)
        ax.legend(fontsize="small", loc="center left", bbox_to_anchor=(1, 0.5))
        return self

    def _plot_curves(self, ax: Axes, breaks: list[int], style: dict[str, Any]) -> None:
        colors = iter(
            import_extra("matplotlib").color_sequences["tab10"] * len(self.curves)
        )
        epochs = np.arange(1.0, len(self.phases) + 1)
        # NaN between phases interrupts the line
        x = np.insert(epochs, breaks, np.array(breaks) + 0.5)
        line = import_extra("matplotlib.lines").Line2D
        self.lines_ = {}
        for term, values in self.curves.items():
            color = "black" if term == "train_loss" else next(colors)
            default = {"color": color, "marker": ".", "label": drawable(term)}
            own = merge_style(default, style, line)
            y = np.insert(values, breaks, np.nan)
            (self.lines_[term],) = ax.plot(x, y, **own)

    def _label_phases(self, ax: Axes, spans: list[tuple[str, int, int]]) -> None:
        for phase, start, stop in spans:
            if phase == PRETRAINING:
                ax.axvspan(start + 0.5, stop + 0.5, color="0.93", zorder=0)
        top = ax.secondary_xaxis("top")
        top.set_xticks(
            [(start + stop + 1) / 2 for _, start, stop in spans],
            [drawable(phase) for phase, _, _ in spans],
        )
        top.tick_params(length=0)


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool | np.bool_)


def _spans_decades(values: np.ndarray) -> bool:
    finite = values[np.isfinite(values)]
    return finite.size > 0 and 0 < 10 * finite.min() < finite.max()


def _phase_spans(phases: Sequence[str]) -> list[tuple[str, int, int]]:
    """Return name, first epoch and end of each run of epochs of one phase."""
    spans, start = [], 0
    for phase, epochs in groupby(phases):
        stop = start + len(list(epochs))
        spans.append((phase, start, stop))
        start = stop
    return spans
