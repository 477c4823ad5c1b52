"""Display of the reliability of the modalities over time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from mmfusion._drawing import several_axes
from mmfusion._extras import import_extra
from mmfusion._text import drawable
from mmfusion.plotting._estimators import (
    check_displayable,
    modalities_of_fit,
    one_sample,
)
from mmfusion.plotting._inputs import (
    as_real_array,
    check_mapping,
    check_probabilities,
)
from mmfusion.plotting._style import merge_style

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from numpy.typing import ArrayLike
    from sklearn.base import BaseEstimator

    from mmfusion._typing import ModalitiesLike


class ReliabilityDisplay:
    """Curves of the reliability of modalities over time, one below the other.

    It is recommended to use :meth:`from_estimator` or :meth:`from_predictions`. All
    parameters are stored as attributes.

    Parameters
    ----------
    reliability : dict of str to ndarray of shape (n_frames,)
        Reliability of each frame of a modality, from 0 to 1; NaN where nothing was
        measured.

    Attributes
    ----------
    lines_ : dict of str to matplotlib Line2D
        The curve of each modality.
    axes_ : ndarray of matplotlib Axes of shape (n_modalities,)
        Axes with the curves.
    figure_ : matplotlib Figure
        Figure of the axes.

    See Also
    --------
    StatePosteriorDisplay : Posteriors of hidden states over time.

    Notes
    -----
    The reliability of a frame is the posterior probability that its modality follows
    the states of the model, and not the outlier component. Modalities of different
    length are drawn over relative time: frame j of T lies at (j + 0.5) / T.

    Examples
    --------
    >>> import matplotlib
    >>> matplotlib.use("agg")
    >>> from mmfusion.plotting import ReliabilityDisplay
    >>> display = ReliabilityDisplay.from_predictions(
    ...     {"audio": [0.9, 0.1, 0.2], "video": [1.0, 1.0, 0.9]}
    ... )
    >>> display.axes_[0].get_ylabel()
    'audio'
    """

    def __init__(self, *, reliability: Mapping[str, np.ndarray]) -> None:
        self.reliability = reliability

    @classmethod
    def from_estimator(
        cls,
        estimator: BaseEstimator,
        X: ModalitiesLike,
        *,
        sample: int = 0,
        ax: Sequence[Axes] | None = None,
        **kwargs: Any,
    ) -> Self:
        """Draw the reliability that a fitted model finds in a sample.

        Parameters
        ----------
        estimator : estimator
            Fitted estimator with `reliability`, such as HMMTransformer.
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The samples, those of `fit` or others.
        sample : int, default=0
            Position of the sample that is drawn.
        ax : sequence of matplotlib Axes, default=None
            Axes to draw on, one for each modality; a new figure by default.
        **kwargs : dict
            Style of all lines; see matplotlib's `Axes.plot`.

        Returns
        -------
        ReliabilityDisplay
            The drawn display.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        TypeError
            If it has no reliability.
        ValueError
            If there is no such sample, or it lacks all modalities.
        """
        check_displayable(estimator, "reliability", such_as="HMMTransformer")
        row = one_sample(modalities_of_fit(estimator, X), sample)
        curves = {
            name: values[0]
            for name, values in estimator.reliability(row).items()
            if values[0] is not None
        }
        if not curves:
            raise ValueError(
                f"sample {sample} lacks all modalities, so that it has no frames to "
                "draw; give another one"
            )
        return cls.from_predictions(curves, ax=ax, **kwargs)

    @classmethod
    def from_predictions(
        cls,
        reliability: Mapping[str, ArrayLike],
        *,
        ax: Sequence[Axes] | None = None,
        **kwargs: Any,
    ) -> Self:
        """Draw the reliability of modalities.

        Parameters
        ----------
        reliability : dict of str to array-like of shape (n_frames,)
            Reliability of each frame of a modality, from 0 to 1; NaN where nothing was
            measured.
        ax : sequence of matplotlib Axes, default=None
            Axes to draw on, one for each modality; a new figure by default.
        **kwargs : dict
            Style of all lines; see matplotlib's `Axes.plot`.

        Returns
        -------
        ReliabilityDisplay
            The drawn display.

        Raises
        ------
        ValueError
            If values are no probabilities.
        """
        check_mapping(reliability, "reliability", "modality to array")
        if not reliability:
            raise ValueError("reliability is empty: there is nothing to draw")
        curves = {
            str(name): _curve(values, f"reliability of {name!r}")
            for name, values in reliability.items()
        }
        return cls(reliability=curves).plot(ax, **kwargs)

    def plot(self, ax: Sequence[Axes] | None = None, **kwargs: Any) -> Self:
        """Draw the curves, over frames if all modalities have equally many.

        Parameters
        ----------
        ax : sequence of matplotlib Axes, default=None
            Axes to draw on, one for each modality; a new figure by default.
        **kwargs : dict
            Style of all lines; see matplotlib's `Axes.plot`.

        Returns
        -------
        ReliabilityDisplay
            This display.

        Raises
        ------
        ValueError
            If there are fewer or more Axes than modalities.
        """
        names = list(self.reliability)
        if ax is None:
            _, ax = import_extra("matplotlib.pyplot").subplots(
                len(names),
                figsize=(7.5, 0.8 + 1.1 * len(names)),
                sharex=True,
                squeeze=False,
                layout="constrained",
            )
        axes = several_axes(ax, len(names), f"for the modalities {names}")
        self.axes_, self.figure_ = axes, axes[0].figure
        on_one_clock = len({len(values) for values in self.reliability.values()}) == 1
        line = import_extra("matplotlib.lines").Line2D
        self.lines_ = {}
        for panel, name in zip(axes, names, strict=True):
            values = self.reliability[name]
            times = np.arange(len(values), dtype=np.float64)
            if not on_one_clock:
                times = (times + 0.5) / len(values)
            # a marker shows frames beside which nothing was measured
            default = {"color": "C0", "marker": ".", "markersize": 3}
            (self.lines_[name],) = panel.plot(
                times, values, **merge_style(default, kwargs, line)
            )
            panel.set(ylim=(-0.05, 1.05), ylabel=drawable(name))
        axes[0].set_title("reliability", fontsize="medium")
        axes[-1].set_xlabel("frame" if on_one_clock else "relative time")
        return self


def _curve(values: ArrayLike, what: str) -> np.ndarray:
    curve = as_real_array(values, what)
    if curve.ndim != 1 or not len(curve):
        raise ValueError(f"{what} has shape {curve.shape}; (n_frames,) is expected")
    check_probabilities(curve[~np.isnan(curve)], what)
    return curve
