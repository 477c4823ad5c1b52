"""Display of posteriors of hidden states over time, with the decoded states."""

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

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from numpy.typing import ArrayLike
    from sklearn.base import BaseEstimator

    from mmfusion._typing import ModalitiesLike

ONE_CHAIN = "state"  # name of the only chain of an array
MAX_NAMED_STATES = 20  # ticks of more would overlap


class StatePosteriorDisplay:
    """Heat maps of the posteriors of hidden states over time, one for each chain.

    It is recommended to use :meth:`from_estimator` or :meth:`from_predictions`. All
    parameters are stored as attributes.

    Parameters
    ----------
    posteriors : dict of str to ndarray of shape (n_frames, n_states)
        Posterior probabilities of the states of each chain at every frame.
    states : dict of str to ndarray of int of shape (n_frames,), default=None
        Decoded states of each chain, -1 where there is none; None draws no states.

    Attributes
    ----------
    images_ : dict of str to matplotlib AxesImage
        The heat map of each chain, one row for each state.
    lines_ : dict of str to matplotlib Line2D
        The decoded states of each chain; empty without states.
    colorbar_ : matplotlib Colorbar
        Colors of the probabilities.
    axes_ : ndarray of matplotlib Axes of shape (n_chains,)
        Axes with the heat maps.
    figure_ : matplotlib Figure
        Figure of the axes.

    See Also
    --------
    ReliabilityDisplay : Reliability of the modalities over time.

    Notes
    -----
    The most probable path maximises the probability of all states together, so that a
    decoded state need not be the one of largest posterior at its frame. The two differ
    where several paths are nearly as probable.

    Examples
    --------
    >>> import matplotlib
    >>> matplotlib.use("agg")
    >>> from mmfusion.plotting import StatePosteriorDisplay
    >>> display = StatePosteriorDisplay.from_predictions(
    ...     [[0.9, 0.1], [0.6, 0.4], [0.2, 0.8]], states=[0, 0, 1]
    ... )
    >>> display.axes_[0].get_ylabel()
    'state'
    >>> display.lines_["state"].get_ydata()
    array([0., 0., 1.])
    """

    def __init__(
        self,
        *,
        posteriors: Mapping[str, np.ndarray],
        states: Mapping[str, np.ndarray] | None = None,
    ) -> None:
        self.posteriors = posteriors
        self.states = states

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
        """Draw the posteriors that a fitted model of chains has for a sample.

        Parameters
        ----------
        estimator : estimator
            Fitted estimator with `state_posteriors`, such as HMMTransformer; if it has
            `decode`, the most probable states are drawn too.
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The samples, those of `fit` or others.
        sample : int, default=0
            Position of the sample that is drawn.
        ax : sequence of matplotlib Axes, default=None
            Axes to draw on, one for each chain; a new figure by default.
        **kwargs : dict
            Style of the heat maps; see matplotlib's `Axes.imshow`.

        Returns
        -------
        StatePosteriorDisplay
            The drawn display.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        TypeError
            If it has no posteriors of states.
        ValueError
            If there is no such sample, or it has no frames.
        """
        check_displayable(estimator, "state_posteriors", such_as="HMMTransformer")
        row = one_sample(modalities_of_fit(estimator, X), sample)
        posteriors = _of_the_sample(estimator.state_posteriors(row))
        if not posteriors:
            raise ValueError(
                f"sample {sample} lacks all modalities, so that it has no frames to "
                "draw; give another one"
            )
        states = None
        if callable(getattr(estimator, "decode", None)):  # a parameter in some
            states = _of_the_sample(estimator.decode(row))
        return cls.from_predictions(posteriors, states, ax=ax, **kwargs)

    @classmethod
    def from_predictions(
        cls,
        posteriors: ArrayLike | Mapping[str, ArrayLike],
        states: ArrayLike | Mapping[str, ArrayLike] | None = None,
        *,
        ax: Sequence[Axes] | None = None,
        **kwargs: Any,
    ) -> Self:
        """Draw posteriors of states.

        Parameters
        ----------
        posteriors : array-like of shape (n_frames, n_states) or dict of str to such
            Posterior probabilities of the states; a dict has those of several chains,
            by name.
        states : array-like of int of shape (n_frames,) or dict of str to such, \
                default=None
            Decoded states, -1 where there is none; None draws the heat maps alone.
        ax : sequence of matplotlib Axes, default=None
            Axes to draw on, one for each chain; a new figure by default.
        **kwargs : dict
            Style of the heat maps; see matplotlib's `Axes.imshow`.

        Returns
        -------
        StatePosteriorDisplay
            The drawn display.

        Raises
        ------
        ValueError
            If posteriors are no probabilities, or states do not fit them.
        """
        tables = {
            name: _probabilities(table, f"posteriors of {name!r}")
            for name, table in _by_chain(posteriors, "posteriors").items()
        }
        if not tables:
            raise ValueError("posteriors is empty: there is nothing to draw")
        if states is None:
            return cls(posteriors=tables).plot(ax, **kwargs)
        given = _by_chain(states, "states")
        if set(given) != set(tables):
            raise ValueError(
                f"states are of the chains {list(given)}, posteriors of {list(tables)}"
            )
        paths = {name: _path(given[name], name, tables[name]) for name in tables}
        return cls(posteriors=tables, states=paths).plot(ax, **kwargs)

    def plot(self, ax: Sequence[Axes] | None = None, **kwargs: Any) -> Self:
        """Draw the heat maps, and the decoded states on top of them.

        Parameters
        ----------
        ax : sequence of matplotlib Axes, default=None
            Axes to draw on, one for each chain; a new figure by default.
        **kwargs : dict
            Style of the heat maps; see matplotlib's `Axes.imshow`.

        Returns
        -------
        StatePosteriorDisplay
            This display.

        Raises
        ------
        ValueError
            If there are fewer or more Axes than chains.
        """
        names = list(self.posteriors)
        if ax is None:
            _, ax = import_extra("matplotlib.pyplot").subplots(
                len(names),
                figsize=(7.5, 0.8 + 1.9 * len(names)),
                squeeze=False,
                layout="constrained",
            )
        axes = several_axes(ax, len(names), f"for the chains {names}")
        self.axes_, self.figure_ = axes, axes[0].figure
        style: dict[str, Any] = {"cmap": "Blues", "aspect": "auto", "origin": "upper"}
        if not callable(kwargs.get("norm")):  # a Normalize has limits of its own
            style |= {"vmin": 0, "vmax": 1}
        style |= kwargs
        self.images_ = {
            name: panel.imshow(self.posteriors[name].T, **style)
            for panel, name in zip(axes, names, strict=True)
        }
        self.lines_ = {}
        for panel, name in zip(axes, names, strict=True):
            self._label_states(panel, name)
            if self.states is not None:
                (self.lines_[name],) = panel.plot(
                    np.where(self.states[name] < 0, np.nan, self.states[name]),
                    drawstyle="steps-mid",
                    color="C3",
                    linewidth=1.2,
                    label="decoded",
                )
        axes[-1].set_xlabel("frame")
        self.colorbar_ = self.figure_.colorbar(
            self.images_[names[0]], ax=list(axes), label="posterior"
        )
        return self

    def _label_states(self, ax: Axes, name: str) -> None:
        n_states = self.posteriors[name].shape[1]
        ax.set_ylabel(drawable(name))
        if n_states <= MAX_NAMED_STATES:
            ax.set_yticks(range(n_states))


def _of_the_sample(by_chain: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the arrays of a single sample, without chains of no frames."""
    return {
        name: arrays[0] for name, arrays in by_chain.items() if arrays[0] is not None
    }


def _by_chain(values: Any, parameter: str) -> dict[str, Any]:
    if not isinstance(values, Mapping):
        return {ONE_CHAIN: values}
    check_mapping(values, parameter, "chain to array")
    return {str(name): array for name, array in values.items()}


def _probabilities(values: ArrayLike, what: str) -> np.ndarray:
    table = as_real_array(values, what)
    if table.ndim != 2 or 0 in table.shape:
        raise ValueError(
            f"{what} has shape {table.shape}; (n_frames, n_states) is expected"
        )
    check_probabilities(table, what)
    return table


def _path(values: ArrayLike, name: str, table: np.ndarray) -> np.ndarray:
    what = f"states of {name!r}"
    path = as_real_array(values, what)
    n_frames, n_states = table.shape
    if path.shape != (n_frames,):
        raise ValueError(
            f"{what} has shape {path.shape}; for {n_frames} frames ({n_frames},) is "
            "expected"
        )
    if not np.isin(path, np.arange(-1, n_states)).all():
        raise ValueError(
            f"{what} holds other values than the {n_states} states from 0 and -1 for "
            "none"
        )
    return path.astype(int)
