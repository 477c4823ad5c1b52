"""Clustering of multimodal data by deep networks; torch loads with the first."""

from __future__ import annotations

from importlib import import_module
from typing import Any

__all__ = ["EAMCClusterer"]

_MODULES = {"EAMCClusterer": "_eamc"}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        module = import_module(f"{__name__}.{_MODULES[name]}")
    except ImportError as error:
        raise ImportError(
            f'{name} needs torch and skorch: pip install "mmfusion[deep]" ({error})'
        ) from error
    return getattr(module, name)


def __dir__() -> list[str]:
    return __all__
