"""Images of small matrices, with names and values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from mmfusion._drawing import check_axes, plot_values
from mmfusion._extras import import_extra
from mmfusion._text import drawable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colorbar import Colorbar
    from matplotlib.image import AxesImage
    from matplotlib.text import Text

MAX_VALUES = 400  # more in the cells would be too small to read
MAX_NAMES = 60  # names of more rows or columns would overlap
LEAST_CELL = 0.42  # inches, of a cell with a value
CHARACTER = 0.07  # inches, of the names of rows
LONG_NAME = 4  # characters, beyond which names of columns are turned


def plot_matrix(
    ax: Axes | None,
    matrix: np.ndarray,
    *,
    rows: Sequence[str],
    columns: Sequence[str],
    label: str,
    style: dict[str, Any],
    form: str = ".2f",
) -> tuple[Axes, AxesImage, list[Text], Colorbar]:
    """Draw a matrix as an image, with the values in the cells if they are few.

    Parameters
    ----------
    ax : matplotlib Axes or None
        Axes to draw on; None makes a figure.
    matrix : ndarray of shape (n_rows, n_columns)
        The values; NaN is left out.
    rows, columns : sequence of str
        Names of the rows and columns, as `drawable` returns them.
    label : str
        Name of the values.
    style : dict
        Options of `Axes.imshow`.
    form : str, default='.2f'
        Format of the values.

    Returns
    -------
    ax, image, texts, colorbar
        The drawn artists.
    """
    n_rows, n_columns = matrix.shape
    if ax is None:
        longest = max(map(len, rows), default=0)
        size = (
            2.2 + CHARACTER * longest + LEAST_CELL * min(n_columns, MAX_NAMES / 3),
            1.8 + LEAST_CELL * min(n_rows, MAX_NAMES / 3),
        )
        _, ax = import_extra("matplotlib.pyplot").subplots(
            figsize=size, layout="constrained"
        )
    check_axes(ax)
    assert ax is not None
    image = ax.imshow(matrix, **{"cmap": "viridis", "aspect": "auto", **style})
    turned = any(len(name) > LONG_NAME for name in columns) or n_columns > MAX_NAMES / 3
    ax.set_xticks(
        *_ticks(columns),
        rotation=90 if turned and n_columns > MAX_NAMES / 3 else 45 * turned,
        ha="right" if turned and n_columns <= MAX_NAMES / 3 else "center",
        rotation_mode="anchor" if turned and n_columns <= MAX_NAMES / 3 else "default",
    )
    ax.set_yticks(*_ticks(rows))
    ax.tick_params(length=0, labelsize="small")
    texts = plot_values(ax, image, matrix, form) if matrix.size <= MAX_VALUES else []
    colorbar = ax.figure.colorbar(image, ax=ax, label=drawable(label))
    return ax, image, texts, colorbar


def _ticks(names: Sequence[str]) -> tuple[list[int], list[str]]:
    """Return positions and names, of every so many if they are too many."""
    each = -(-len(names) // MAX_NAMES)
    positions = list(range(0, len(names), each))
    return positions, [names[position] for position in positions]
