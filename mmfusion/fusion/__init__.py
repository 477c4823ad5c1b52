"""Early, late, hybrid, neural and graphical fusion; numba and torch load late."""

from __future__ import annotations

from typing import Any

from mmfusion._extras import load_export
from mmfusion.fusion._canonical_correlation import MultimodalCCA
from mmfusion.fusion._early_classifier import EarlyFusionClassifier
from mmfusion.fusion._early_clusterer import EarlyFusionClusterer
from mmfusion.fusion._early_regressor import EarlyFusionRegressor
from mmfusion.fusion._early_transformer import EarlyFusion
from mmfusion.fusion._factorization import MultimodalNMF
from mmfusion.fusion._graphical_bayes import GaussianBayesClassifier
from mmfusion.fusion._hybrid_classifier import HybridFusionClassifier
from mmfusion.fusion._hybrid_clusterer import HybridFusionClusterer
from mmfusion.fusion._hybrid_regressor import HybridFusionRegressor
from mmfusion.fusion._late_classifier import LateFusionClassifier
from mmfusion.fusion._late_clusterer import LateFusionClusterer
from mmfusion.fusion._late_regressor import LateFusionRegressor
from mmfusion.fusion._single_modality import SingleModalityClusterer

__all__ = [  # noqa: RUF022  as sorted() does, without a place for acronyms
    "CRFLabeler",
    "CTCRecognizer",
    "DCCA",
    "EarlyFusion",
    "EarlyFusionClassifier",
    "EarlyFusionClusterer",
    "EarlyFusionRegressor",
    "GaussianBayesClassifier",
    "HMMClassifier",
    "HMMLabeler",
    "HMMTransformer",
    "HiddenCRFClassifier",
    "HybridFusionClassifier",
    "HybridFusionClusterer",
    "HybridFusionRegressor",
    "LateFusionClassifier",
    "LateFusionClusterer",
    "LateFusionRegressor",
    "MultimodalCCA",
    "MultimodalNMF",
    "NeuralFusionClassifier",
    "NeuralFusionRegressor",
    "SingleModalityClusterer",
]

_MODULES = {
    "CRFLabeler": "_graphical_crf",
    "HiddenCRFClassifier": "_graphical_hidden_crf",
    "HMMClassifier": "_graphical_classifier",
    "HMMLabeler": "_graphical_labeler",
    "HMMTransformer": "_graphical_transformer",
}

_DEEP = {
    "CTCRecognizer": "_ctc_recognizer",
    "DCCA": "_deep_canonical_correlation",
    "NeuralFusionClassifier": "_neural_classifier",
    "NeuralFusionRegressor": "_neural_regressor",
}


def __getattr__(name: str) -> Any:
    if name in _DEEP:
        return load_export(__name__, _DEEP, name, "deep", "torch and skorch")
    return load_export(__name__, _MODULES, name, "align", "numba")


def __dir__() -> list[str]:
    return __all__
