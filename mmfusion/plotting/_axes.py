"""Figures of several maps."""

from __future__ import annotations

import math

import numpy as np

from mmfusion._extras import import_extra

MAPS_PER_ROW = 4


def new_axes(n_maps: int) -> np.ndarray:
    """Make a figure and return one of its Axes for each map, row by row."""
    n_columns = min(n_maps, MAPS_PER_ROW)
    n_rows = math.ceil(n_maps / n_columns)
    _, grid = import_extra("matplotlib.pyplot").subplots(
        n_rows,
        n_columns,
        figsize=(2.8 * n_columns + 1, 2.9 * n_rows),
        squeeze=False,
        layout="constrained",
    )
    for unused in grid.flat[n_maps:]:
        unused.remove()
    return grid.ravel()[:n_maps]
