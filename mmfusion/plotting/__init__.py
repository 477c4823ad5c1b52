"""Displays of estimators and data; matplotlib is imported by the first plot."""

from typing import TYPE_CHECKING, Any

from mmfusion._extras import load_export

if TYPE_CHECKING:
    from mmfusion.plotting._agreement import ModalityAgreementDisplay
    from mmfusion.plotting._alignment import AlignmentDisplay
    from mmfusion.plotting._attention import AttentionWeightsDisplay
    from mmfusion.plotting._cluster_map import ClusterMapDisplay
    from mmfusion.plotting._confusion import ClusterConfusionDisplay
    from mmfusion.plotting._kernel_matrices import KernelMatrixDisplay
    from mmfusion.plotting._kernel_weights import KernelWeightsDisplay
    from mmfusion.plotting._label_tracks import LabelTracksDisplay
    from mmfusion.plotting._lag import LagDisplay
    from mmfusion.plotting._latent_map import LatentMapDisplay
    from mmfusion.plotting._loss_curves import LossCurveDisplay
    from mmfusion.plotting._missing import MissingModalitiesDisplay
    from mmfusion.plotting._objective_path import ObjectivePathDisplay
    from mmfusion.plotting._profiles import ClusterProfileDisplay
    from mmfusion.plotting._reliability import ReliabilityDisplay
    from mmfusion.plotting._silhouettes import ModalitySilhouetteDisplay
    from mmfusion.plotting._spans import SpanDisplay
    from mmfusion.plotting._state_posteriors import StatePosteriorDisplay
    from mmfusion.plotting._word_alignment import WordAlignmentDisplay

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
