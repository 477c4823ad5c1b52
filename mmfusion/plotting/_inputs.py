"""Validation of what displays are given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy import sparse

from mmfusion._blocks import as_dense_array, as_float_array, checked_csr
from mmfusion._numbers import is_integer
from mmfusion._options import errors_about


def check_axes(ax: Any) -> None:
    """Refuse what is no Axes of matplotlib.

    Parameters
    ----------
    ax : object
        What the user gave to draw in.

    Raises
    ------
    TypeError
        If nothing can be drawn in it.
    """
    if not (hasattr(ax, "figure") and hasattr(ax, "plot")):
        raise TypeError(
            f"ax is a {type(ax).__name__}; give a matplotlib Axes, such as "
            "pyplot.subplots() makes, or None for a new figure"
        )


def several_axes(ax: Any, n_axes: int, purpose: str) -> np.ndarray:
    """Take several Axes in a sequence, or one alone.

    Parameters
    ----------
    ax : matplotlib Axes, or sequence or array of such
        What the user gave to draw in.
    n_axes : int
        Number of Axes that are needed.
    purpose : str
        What they are needed for, for errors.

    Returns
    -------
    ndarray of matplotlib Axes of shape (n_axes,)
        The Axes.

    Raises
    ------
    TypeError
        If an element is no Axes.
    ValueError
        If there are less or more.
    """
    if isinstance(ax, np.ndarray):
        given = ax.ravel().tolist()
    else:
        given = list(ax) if isinstance(ax, list | tuple) else [ax]
    for one in given:
        check_axes(one)
    if len(given) != n_axes:
        raise ValueError(f"ax has {len(given)} Axes; {n_axes} are needed, {purpose}")
    axes = np.empty(n_axes, dtype=object)
    axes[:] = given
    return axes


def numbers(values: Any, name: str) -> np.ndarray:
    """Read an array of real numbers.

    Parameters
    ----------
    values : array-like
        The numbers, of any shape.
    name : str
        Name of the parameter, for errors.

    Returns
    -------
    ndarray of float
        The numbers.

    Raises
    ------
    TypeError
        If it is no array.
    ValueError
        If it holds something else.
    """
    if sparse.issparse(values):
        values = checked_csr(values, name).toarray()
    with errors_about(name):
        return as_float_array(values, name)


def words(values: Any, name: str) -> list[str]:
    """Read a list of names.

    Parameters
    ----------
    values : list of str
        The names; other things in it are turned into text.
    name : str
        Name of the parameter, for errors.

    Returns
    -------
    list of str
        The names.

    Raises
    ------
    TypeError
        If it is no list.
    """
    listed = values
    is_array = hasattr(values, "tolist") and not isinstance(values, type)
    if is_array and not sparse.issparse(values):
        listed = as_dense_array(values, name).tolist()
    if not isinstance(listed, Sequence) or isinstance(listed, str | bytes):
        raise TypeError(f"{name} is a {type(values).__name__}; give a list of names")
    return [str(value) for value in listed]


def check_text(value: Any, name: str) -> None:
    """Refuse what is no text.

    Parameters
    ----------
    value : str
        What the user gave.
    name : str
        Name of the parameter, for errors.

    Raises
    ------
    TypeError
        If it is something else.
    """
    if not isinstance(value, str):
        raise TypeError(f"{name} is {value!r}; give a text")


def check_count(value: Any, name: str) -> None:
    """Refuse what is neither a number of samples nor None.

    Parameters
    ----------
    value : int or None
        What the user gave.
    name : str
        Name of the parameter, for errors.

    Raises
    ------
    ValueError
        If it is not an integer of at least 1, or None.
    """
    if value is not None and (not is_integer(value) or value < 1):
        raise ValueError(
            f"{name} is {value!r}; give a number of samples, at least 1, or None for "
            "all"
        )


def check_mapping(value: Any, name: str, of: str) -> None:
    """Refuse what is no dict by name.

    Parameters
    ----------
    value : dict
        What the user gave.
    name : str
        Name of the parameter, for errors.
    of : str
        What the values are, for errors.

    Raises
    ------
    TypeError
        If it is no dict.
    """
    if not isinstance(value, Mapping) or sparse.issparse(value):
        raise TypeError(f"{name} is a {type(value).__name__}; give a dict of {of}")
