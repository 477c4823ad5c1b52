"""Compilation of all kernels ahead of their use."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from time import perf_counter
from typing import Any

import numpy as np

from mmfusion.alignment.dtw._barycenter import dtw_barycenter
from mmfusion.alignment.dtw._lower_bounds import lb_improved, lb_keogh
from mmfusion.alignment.dtw._neighbors import dtw_neighbors
from mmfusion.alignment.dtw._pairwise import cdist_dtw
from mmfusion.alignment.dtw._path import dtw_path
from mmfusion.alignment.dtw._soft import (
    soft_dtw,
    soft_dtw_alignment,
    soft_dtw_gradient,
)
from mmfusion.alignment.dtw._soft_pairs import alignment_values
from mmfusion.alignment.dtw._soft_pairwise import cdist_soft_dtw


def compile_kernels() -> Iterator[tuple[str, float]]:
    """Compile the kernels of functions and estimators of alignment, and cache them.

    Yields
    ------
    name : str
        The function whose kernels were compiled.
    seconds : float
        Time of the compilation, or of loading it from the cache.

    Examples
    --------
    >>> from mmfusion.alignment.dtw._precompile import compile_kernels
    >>> names = [name for name, seconds in compile_kernels()]  # doctest: +SKIP
    """
    rng = np.random.default_rng(0)
    for dtype in (np.float64, np.float32):
        x, y = (rng.normal(size=(n, 2)).astype(dtype) for n in (90, 70))
        for name, call in _calls(x, y).items():
            start = perf_counter()
            call()
            yield f"{name}, {x.dtype}", perf_counter() - start


def _calls(x: np.ndarray, y: np.ndarray) -> dict[str, Callable[[], Any]]:
    """Return calls that together run every compiled function."""
    window: Any = {"window": "sakoe_chiba", "radius": 30}
    return {
        "dtw_path": lambda: dtw_path(x, y),
        "windows": lambda: dtw_path(x, y, **window),
        "step patterns": lambda: dtw_path(x, y, step_pattern="typeIIc"),
        "max_jump": lambda: dtw_path(x, y, max_jump=5),
        "cdist_dtw": lambda: cdist_dtw([x, y], **window),
        "dtw_neighbors": lambda: dtw_neighbors([x, y], **window),
        "lower bounds": lambda: (lb_keogh(x, y), lb_improved(x, y)),
        "soft_dtw": lambda: (soft_dtw(x, y), soft_dtw_alignment(x, y)),
        "cdist_soft_dtw": lambda: (
            cdist_soft_dtw([x, y]),
            alignment_values([x], [y], np.zeros((1, 2), np.int64), 1.0, None),
        ),
        "means of paths": lambda: soft_dtw_gradient(x, y, form="sharp"),
        "max_length": lambda: dtw_path(x, y, max_length=92),
        "open ends": lambda: dtw_path(x, y, open_begin=(2, 3), open_end=(3, 2)),
        "dtw_barycenter": lambda: dtw_barycenter([x, y], max_iter=1),
    }
