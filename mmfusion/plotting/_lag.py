"""Display of which of two modalities leads, over time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from mmfusion._drawing import check_axes
from mmfusion._extras import import_extra
from mmfusion._text import drawable
from mmfusion.plotting._estimators import (
    check_displayable,
    modalities_of_fit,
    one_sample,
)
from mmfusion.plotting._inputs import as_names, as_real_array
from mmfusion.plotting._style import merge_style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D
    from numpy.typing import ArrayLike
    from sklearn.base import BaseEstimator

    from mmfusion._typing import ModalitiesLike


class LagDisplay:
    """Plot of the states by which one modality is ahead of another, over time.

    It is recommended to use :meth:`from_estimator` or :meth:`from_predictions`. All
    parameters are stored as attributes.

    Parameters
    ----------
    lag : ndarray of shape (n_steps,)
        Expected difference of the states at each step: positive where the first
        modality is ahead.
    names : tuple of (str, str)
        Names of the modalities.

    Attributes
    ----------
    line_ : matplotlib Line2D
        The lag.
    areas_ : tuple of two matplotlib collections
        Areas where the first and where the second modality is ahead.
    ax_ : matplotlib Axes
        Axes with the plot.
    figure_ : matplotlib Figure
        Figure of the Axes.

    See Also
    --------
    mmfusion.alignment.ProductHMMAligner : Computes the lag.

    Examples
    --------
    >>> import matplotlib
    >>> matplotlib.use("agg")
    >>> from mmfusion.plotting import LagDisplay
    >>> lag = [0.0, 0.1, 0.9, 0.8, -0.4, 0.0]
    >>> display = LagDisplay.from_predictions(lag, names=["audio", "video"])
    >>> [text.get_text() for text in display.ax_.get_legend().get_texts()]
    ['audio is ahead', 'video is ahead']
    """

    def __init__(self, *, lag: np.ndarray, names: tuple[str, str]) -> None:
        self.lag = lag
        self.names = names

    @classmethod
    def from_estimator(
        cls,
        estimator: BaseEstimator,
        X: ModalitiesLike,
        *,
        sample: int = 0,
        ax: Axes | None = None,
        **kwargs: Any,
    ) -> Self:
        """Draw the lag that a fitted aligner finds in a sample.

        Parameters
        ----------
        estimator : ProductHMMAligner
            Fitted aligner.
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The samples, those of `fit` or others.
        sample : int, default=0
            Position of the sample that is drawn.
        ax : matplotlib Axes, default=None
            Axes to draw on; a new figure by default.
        **kwargs : dict
            Style of the line; see matplotlib's `Axes.plot`.

        Returns
        -------
        LagDisplay
            The drawn display.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        TypeError
            If it computes no lag.
        ValueError
            If there is no such sample, or it lacks a modality.
        """
        check_displayable(estimator, "lag", such_as="ProductHMMAligner")
        row = one_sample(modalities_of_fit(estimator, X), sample)
        (lag,) = estimator.lag(row)
        if np.isnan(lag).any():
            raise ValueError(
                f"sample {sample} lacks a modality, so that none leads; give another "
                "one"
            )
        names = list(estimator.decode(row))  # modalities of sequences, in order
        return cls.from_predictions(lag, names=names, ax=ax, **kwargs)

    @classmethod
    def from_predictions(
        cls,
        lag: ArrayLike,
        *,
        names: Sequence[str] = ("the first", "the second"),
        ax: Axes | None = None,
        **kwargs: Any,
    ) -> Self:
        """Draw a lag.

        Parameters
        ----------
        lag : array-like of shape (n_steps,)
            Expected difference of the states at each step, such as an array of `lag_`.
        names : sequence of two str, default=('the first', 'the second')
            Names of the modalities.
        ax : matplotlib Axes, default=None
            Axes to draw on; a new figure by default.
        **kwargs : dict
            Style of the line; see matplotlib's `Axes.plot`.

        Returns
        -------
        LagDisplay
            The drawn display.

        Raises
        ------
        ValueError
            If the lag is no curve of finite numbers, or there are not two names.
        """
        curve = as_real_array(lag, "lag")
        if curve.ndim != 1 or not len(curve) or not np.isfinite(curve).all():
            raise ValueError(
                f"lag has shape {curve.shape}; finite numbers of shape (n_steps,) are "
                "expected"
            )
        given = as_names(names, "names")
        if len(given) != 2:
            raise ValueError(f"names are {given}; give those of two modalities")
        return cls(lag=curve, names=(given[0], given[1])).plot(ax, **kwargs)

    def plot(self, ax: Axes | None = None, **kwargs: Any) -> Self:
        """Draw the lag, and fill where each modality is ahead.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on; a new figure by default.
        **kwargs : dict
            Style of the line; see matplotlib's `Axes.plot`.

        Returns
        -------
        LagDisplay
            This display.
        """
        if ax is None:
            pyplot = import_extra("matplotlib.pyplot")
            _, ax = pyplot.subplots(figsize=(7.5, 2.6), layout="constrained")
        check_axes(ax)
        self.ax_, self.figure_ = ax, ax.figure
        steps = np.arange(len(self.lag))
        line = import_extra("matplotlib.lines").Line2D
        style = merge_style({"color": "0.2", "linewidth": 1}, kwargs, line)
        self.line_: Line2D
        (self.line_,) = ax.plot(steps, self.lag, **style)
        first, second = (
            ax.fill_between(
                steps,
                np.clip(sign * self.lag, 0, None) * sign,
                color=color,
                alpha=0.5,
                label=f"{drawable(name)} is ahead",
            )
            for sign, color, name in zip((1, -1), ("C0", "C1"), self.names, strict=True)
        )
        self.areas_ = first, second
        ax.axhline(0, color="0.7", linewidth=0.8, zorder=0)
        ax.set(xlabel="frame", ylabel="lag (states)")
        # above the Axes: areas may reach its whole height
        ax.legend(
            handles=[first, second],
            fontsize="small",
            ncols=2,
            loc="lower center",
            bbox_to_anchor=(0.5, 1),
        )
        return self
