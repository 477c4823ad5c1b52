"""Displays of estimators and data; matplotlib is imported by the first plot."""

from typing import Any

from mmfusion._extras import load_export

__all__ = [
    "AlignmentDisplay",
    "AttentionWeightsDisplay",
    "ClusterConfusionDisplay",
    "ClusterMapDisplay",
    "ClusterProfileDisplay",
    "KernelMatrixDisplay",
    "KernelWeightsDisplay",
    "LabelTracksDisplay",
    "LagDisplay",
    "LatentMapDisplay",
    "LossCurveDisplay",
    "MissingModalitiesDisplay",
    "ModalityAgreementDisplay",
    "ModalitySilhouetteDisplay",
    "ObjectivePathDisplay",
    "ReliabilityDisplay",
    "SpanDisplay",
    "StatePosteriorDisplay",
    "WordAlignmentDisplay",
]

_MODULES = {
    "AlignmentDisplay": "_alignment",
    "AttentionWeightsDisplay": "_attention",
    "ClusterConfusionDisplay": "_confusion",
    "ClusterMapDisplay": "_cluster_map",
    "ClusterProfileDisplay": "_profiles",
    "KernelMatrixDisplay": "_kernel_matrices",
    "KernelWeightsDisplay": "_kernel_weights",
    "LabelTracksDisplay": "_label_tracks",
    "LagDisplay": "_lag",
    "LatentMapDisplay": "_latent_map",
    "LossCurveDisplay": "_loss_curves",
    "MissingModalitiesDisplay": "_missing",
    "ModalityAgreementDisplay": "_agreement",
    "ModalitySilhouetteDisplay": "_silhouettes",
    "ObjectivePathDisplay": "_objective_path",
    "ReliabilityDisplay": "_reliability",
    "SpanDisplay": "_spans",
    "StatePosteriorDisplay": "_state_posteriors",
    "WordAlignmentDisplay": "_word_alignment",
}


def __getattr__(name: str) -> Any:
    return load_export(__name__, _MODULES, name, "align,plot", "numba")


def __dir__() -> list[str]:
    return __all__
