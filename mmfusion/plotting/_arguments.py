"""Arguments of displays: what is wrong with one is reported by its name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import sparse

from mmfusion._extras import import_extra
from mmfusion._numbers import refuse_unknown_type


def checked_axes(ax: Any, n_axes: int, what: str) -> np.ndarray:
    """Take matplotlib Axes, one for each plot.

    Parameters
    ----------
    ax : matplotlib Axes, or sequence of them
        Where to draw.
    n_axes : int
        Number of plots.
    what : str
        What the plots show, for errors.

    Returns
    -------
    ndarray of matplotlib Axes of shape (n_axes,)
        The same.

    Raises
    ------
    TypeError
        If something else was given.
    ValueError
        If there are less or more Axes than plots.
    """
    given = ax.ravel() if isinstance(ax, np.ndarray) else ax
    axes = list(given) if isinstance(given, list | tuple | np.ndarray) else [given]
    kind = import_extra("matplotlib.axes").Axes
    for each in axes:
        if not isinstance(each, kind):
            raise TypeError(
                f"ax holds a {type(each).__name__}; give matplotlib Axes, such as "
                "plt.subplots() makes, or leave ax out"
            )
    if len(axes) != n_axes:
        raise ValueError(f"ax has {len(axes)} Axes; {n_axes} are needed, for {what}")
    return np.array(axes, dtype=object)


def new_or_checked_axes(ax: Any, **figure: Any) -> Any:
    """Take one matplotlib Axes, by default of a new figure with these options."""
    if ax is None:
        pyplot = import_extra("matplotlib.pyplot")
        return pyplot.subplots(layout="constrained", **figure)[1]
    return checked_axes(ax, 1, "one plot")[0]


def checked_names(names: Any, parameter: str) -> list[str]:
    """Take a list of names.

    Raises
    ------
    TypeError
        If it is no sequence of text or numbers.
    """
    if isinstance(names, np.ndarray) or hasattr(names, "to_numpy"):
        names = np.asarray(names).tolist()
    if not isinstance(names, Sequence) or isinstance(names, str | bytes):
        raise TypeError(f"{parameter} is a {type(names).__name__}; give a list of str")
    for name in names:
        if not isinstance(name, str | int | np.integer):
            raise TypeError(
                f"{parameter} holds a {type(name).__name__}; give a list of str"
            )
    return [str(name) for name in names]


def checked_labels(labels: Any, n_samples: int | None, parameter: str) -> np.ndarray:
    """Take one label for each sample.

    Raises
    ------
    TypeError
        If it is no array.
    ValueError
        If there is not one label for each sample, or types of labels are mixed.
    """
    refuse_unknown_type(labels, parameter)
    if sparse.issparse(labels):
        raise TypeError(f"{parameter} is a sparse matrix; give an array of labels")
    try:
        labels = np.atleast_1d(np.asarray(labels))
        np.unique(labels)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"{parameter} holds no labels of one type: {error}") from error
    if labels.ndim != 1 or (n_samples is not None and len(labels) != n_samples):
        n_samples = len(labels) if n_samples is None else n_samples
        raise ValueError(
            f"{parameter} has shape {labels.shape}; for {n_samples} samples "
            f"({n_samples},) is expected"
        )
    return labels


def checked_count(count: Any, parameter: str) -> int | None:
    """Take a number of samples, or None for all."""
    if count is None:
        return None
    if not isinstance(count, int | np.integer) or isinstance(count, bool) or count < 1:
        raise ValueError(f"{parameter}={count!r:.60}; give a positive int, or None")
    return int(count)
