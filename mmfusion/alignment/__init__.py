"""Alignment of modalities in time; numba loads with the first."""

from __future__ import annotations

from typing import Any

from mmfusion._extras import load_export

__all__ = [
    "DTWPath",
    "StepPattern",
    "cdist_dtw",
    "dtw_distance",
    "dtw_path",
    "rabiner_juang",
]

_MODULES = {
    "DTWPath": "_dtw",
    "StepPattern": "_steps",
    "cdist_dtw": "_pairs",
    "dtw_distance": "_dtw",
    "dtw_path": "_dtw",
    "rabiner_juang": "_steps",
}


def __getattr__(name: str) -> Any:
    return load_export(__name__, _MODULES, name, "align", "numba")


def __dir__() -> list[str]:
    return __all__
