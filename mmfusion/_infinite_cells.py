"""Cells of blocks that are infinite or NaN."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from mmfusion._blocks import Block
from mmfusion._pieces import pieces


def first_infinite_cell(
    block: Block, observed: np.ndarray, *, nan_too: bool
) -> tuple[int, int, float] | None:
    """Find the first cell of an observed row that is infinite, or NaN.

    Parameters
    ----------
    block : ndarray or CSR matrix of floats
        The block.
    observed : ndarray of bool of shape (n_samples,)
        Rows that are searched.
    nan_too : bool
        Whether NaN counts.

    Returns
    -------
    tuple of int, int and float, or None
        Row, column (of the block as one of 2 dimensions) and value of the cell; None
        if there is none.
    """
    unfit = (lambda cells: ~np.isfinite(cells)) if nan_too else np.isinf
    if sparse.issparse(block):
        cells = block.tocoo()
        stored = np.flatnonzero(unfit(cells.data) & observed[cells.row])
        if not stored.size:
            return None
        first = stored[0]
        return int(cells.row[first]), int(cells.col[first]), float(cells.data[first])
    for rows in pieces(block):
        flat = np.asarray(block[rows]).reshape(len(observed[rows]), -1)
        places = np.argwhere(unfit(flat) & observed[rows, None])
        if len(places):
            row, column = places[0].tolist()
            return (rows.start or 0) + row, column, float(flat[row, column])
    return None
