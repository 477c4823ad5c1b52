"""Fusion of modalities: early, late and both, and the single ones they must beat."""

from mmfusion.fusion._early import EarlyFusion, EarlyFusionClusterer
from mmfusion.fusion._early_predictors import (
    EarlyFusionClassifier,
    EarlyFusionRegressor,
)
from mmfusion.fusion._hybrid import HybridFusionClusterer
from mmfusion.fusion._hybrid_predictors import (
    HybridFusionClassifier,
    HybridFusionRegressor,
)
from mmfusion.fusion._late import LateFusionClusterer
from mmfusion.fusion._late_predictors import LateFusionClassifier, LateFusionRegressor
from mmfusion.fusion._single import SingleModalityClusterer

__all__ = [
    "EarlyFusion",
    "EarlyFusionClassifier",
    "EarlyFusionClusterer",
    "EarlyFusionRegressor",
    "HybridFusionClassifier",
    "HybridFusionClusterer",
    "HybridFusionRegressor",
    "LateFusionClassifier",
    "LateFusionClusterer",
    "LateFusionRegressor",
    "SingleModalityClusterer",
]
