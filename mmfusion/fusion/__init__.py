"""Early, late, hybrid, neural and graphical fusion; numba and torch load late."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

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

if TYPE_CHECKING:
    from mmfusion.fusion._ctc_recognizer import CTCRecognizer
    from mmfusion.fusion._deep_canonical_correlation import DCCA
    from mmfusion.fusion._graphical_classifier import HMMClassifier
    from mmfusion.fusion._graphical_crf import CRFLabeler
    from mmfusion.fusion._graphical_hidden_crf import HiddenCRFClassifier
    from mmfusion.fusion._graphical_labeler import HMMLabeler
    from mmfusion.fusion._graphical_transformer import HMMTransformer
    from mmfusion.fusion._neural_classifier import NeuralFusionClassifier
    from mmfusion.fusion._neural_regressor import NeuralFusionRegressor

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
