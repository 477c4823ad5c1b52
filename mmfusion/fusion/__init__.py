"""Fusion of modalities: early and late."""

from mmfusion.fusion._early import EarlyFusion, EarlyFusionClusterer
from mmfusion.fusion._late import LateFusionClusterer

__all__ = ["EarlyFusion", "EarlyFusionClusterer", "LateFusionClusterer"]
