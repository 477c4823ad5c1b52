"""Alignment of modalities in time; numba loads with the first."""

from __future__ import annotations

from typing import Any

from mmfusion._extras import load_export

__all__ = [
    "CTWAligner",
    "DTWAligner",
    "DTWKernel",
    "DTWPath",
    "StepPattern",
    "cdist_dtw",
    "dtw_barycenter",
    "dtw_distance",
    "dtw_neighbors",
    "dtw_path",
    "lb_improved",
    "lb_keogh",
    "rabiner_juang",
    "soft_dtw",
    "soft_dtw_alignment",
    "soft_dtw_gradient",
]

_MODULES = {
    "CTWAligner": "_ctw_aligner",
    "DTWAligner": "_aligner",
    "DTWKernel": "_dtw_kernel",
    "DTWPath": "_dtw",
    "StepPattern": "_steps",
    "cdist_dtw": "_pairs",
    "dtw_barycenter": "_barycenter",
    "dtw_distance": "_dtw",
    "dtw_neighbors": "_neighbors",
    "dtw_path": "_dtw",
    "lb_improved": "_lower_bounds",
    "lb_keogh": "_lower_bounds",
    "rabiner_juang": "_steps",
    "soft_dtw": "_soft_dtw",
    "soft_dtw_alignment": "_soft_dtw",
    "soft_dtw_gradient": "_soft_dtw",
}


def __getattr__(name: str) -> Any:
    return load_export(__name__, _MODULES, name, "align", "numba")


def __dir__() -> list[str]:
    return __all__
