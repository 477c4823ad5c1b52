"""Fusion of modalities: early and late."""

from mmfusion.fusion._early import EarlyFusion, EarlyFusionClusterer

__all__ = ["EarlyFusion", "EarlyFusionClusterer"]
