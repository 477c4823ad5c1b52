"""Deep learning that estimators share; torch loads with the first of its names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mmfusion._extras import load_export

if TYPE_CHECKING:
    from mmfusion.nn._trainer import Trainer

__all__ = ["Trainer"]

_MODULES = {"Trainer": "_trainer"}


def __getattr__(name: str) -> Any:
    return load_export(__name__, _MODULES, name, "deep", "torch and skorch")


def __dir__() -> list[str]:
    return __all__
