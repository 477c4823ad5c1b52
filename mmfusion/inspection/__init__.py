"""Importance, Shapley values, redundancy and synergy of modalities."""

from mmfusion.inspection._displays import (
    InteractionDisplay,
    ModalityImportanceDisplay,
    ShapleyDisplay,
)
from mmfusion.inspection._importance import ImportanceResults, modality_importance
from mmfusion.inspection._interactions import InteractionResults, modality_interactions
from mmfusion.inspection._partial_information import (
    PartialInformation,
    partial_information,
)
from mmfusion.inspection._shapley import ShapleyResults, modality_shapley

__all__ = [
    "ImportanceResults",
    "InteractionDisplay",
    "InteractionResults",
    "ModalityImportanceDisplay",
    "PartialInformation",
    "ShapleyDisplay",
    "ShapleyResults",
    "modality_importance",
    "modality_interactions",
    "modality_shapley",
    "partial_information",
]
