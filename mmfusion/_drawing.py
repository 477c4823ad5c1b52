"""Axes that displays draw on, and values in the cells of images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from mmfusion._extras import import_extra

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.image import AxesImage
    from matplotlib.text import Text


def check_axes(ax: object) -> None:
    """Check that an object is an Axes of matplotlib.

    Parameters
    ----------
    ax : object
        The object to draw on.

    Raises
    ------
    TypeError
        If it is no Axes.
    """
    if not isinstance(ax, import_extra("matplotlib.axes").Axes):
        raise TypeError(
            f"ax is a {type(ax).__name__}; give a matplotlib Axes, such as "
            "pyplot.subplots() makes, or None for a new figure"
        )


def several_axes(
    ax: Axes | Sequence[Axes] | np.ndarray, n_axes: int, purpose: str
) -> np.ndarray:
    """Return Axes, which are given in a sequence or as a single one, as an array.

    Parameters
    ----------
    ax : matplotlib Axes, or sequence or array of such
        The Axes to draw on.
    n_axes : int
        Number of Axes that are needed.
    purpose : str
        Use of the Axes, for errors.

    Returns
    -------
    ndarray of matplotlib Axes of shape (n_axes,)
        The Axes.

    Raises
    ------
    TypeError
        If an element is no Axes.
    ValueError
        If there are fewer or more.
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


def plot_values(
    ax: Axes, image: AxesImage, matrix: np.ndarray, form: str = ".2f"
) -> list[Text]:
    """Write the values in the cells, dark on light colors and light on dark ones.

    Parameters
    ----------
    ax : matplotlib Axes
        Axes of the image.
    image : matplotlib AxesImage
        Image of the matrix.
    matrix : ndarray of shape (n_rows, n_columns)
        The values; NaN is left out.
    form : str, default='.2f'
        Format of the values.

    Returns
    -------
    list of matplotlib Text
        The values, row by row.
    """
    texts = []
    for (i, j), value in np.ndenumerate(matrix):
        if np.isnan(value):
            continue
        red, green, blue = image.cmap(image.norm(value))[:3]
        # the luminance of sRGB, by which the eye sees contrast
        is_dark = 0.2126 * red + 0.7152 * green + 0.0722 * blue < 0.5
        texts.append(
            ax.text(
                j,
                i,
                _format(value, form),
                ha="center",
                va="center",
                fontsize="small",
                color="white" if is_dark else "black",
            )
        )
    return texts


def _format(value: float, form: str) -> str:
    """Format a value, without the sign of what rounds to 0."""
    text = format(value, form)
    return text.lstrip("-") if float(text) == 0 else text
