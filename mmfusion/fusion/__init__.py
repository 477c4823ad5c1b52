"""Early, late and hybrid fusion of modalities, and the baseline of a single one."""

from mmfusion.fusion._early_classifier import EarlyFusionClassifier
from mmfusion.fusion._early_clusterer import EarlyFusionClusterer
from mmfusion.fusion._early_regressor import EarlyFusionRegressor
from mmfusion.fusion._early_transformer import EarlyFusion
from mmfusion.fusion._graphical_bayes import GaussianBayesClassifier
from mmfusion.fusion._hybrid_classifier import HybridFusionClassifier
from mmfusion.fusion._hybrid_clusterer import HybridFusionClusterer
from mmfusion.fusion._hybrid_regressor import HybridFusionRegressor
from mmfusion.fusion._late_classifier import LateFusionClassifier
from mmfusion.fusion._late_clusterer import LateFusionClusterer
from mmfusion.fusion._late_regressor import LateFusionRegressor
from mmfusion.fusion._single_modality import SingleModalityClusterer

__all__ = [
    "EarlyFusion",
    "EarlyFusionClassifier",
    "EarlyFusionClusterer",
    "EarlyFusionRegressor",
    "GaussianBayesClassifier",
    "HybridFusionClassifier",
    "HybridFusionClusterer",
    "HybridFusionRegressor",
    "LateFusionClassifier",
    "LateFusionClusterer",
    "LateFusionRegressor",
    "SingleModalityClusterer",
]
