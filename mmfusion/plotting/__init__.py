"""Displays of fitted estimators; matplotlib loads when something is drawn."""

from typing import Any

from mmfusion._extras import load_export

__all__ = [
    "AlignmentDisplay",
    "AttentionWeightsDisplay",
    "LatentMapDisplay",
    "LossCurveDisplay",
]

_MODULES = {
    "AlignmentDisplay": "_alignment",
    "AttentionWeightsDisplay": "_attention",
    "LatentMapDisplay": "_latent_map",
    "LossCurveDisplay": "_loss_curves",
}


def __getattr__(name: str) -> Any:
    return load_export(__name__, _MODULES, name, "align,benchmark", "numba")


def __dir__() -> list[str]:
    return __all__
