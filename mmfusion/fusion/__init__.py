"""Fusion of modalities: early and late, and the single modalities they must beat."""

from mmfusion.fusion._early import EarlyFusion, EarlyFusionClusterer
from mmfusion.fusion._late import LateFusionClusterer
from mmfusion.fusion._single import SingleModalityClusterer

__all__ = [
    "EarlyFusion",
    "EarlyFusionClusterer",
    "LateFusionClusterer",
    "SingleModalityClusterer",
]
