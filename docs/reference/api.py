"""The one list of what the API reference holds, and the pages made from it."""

from pathlib import Path

API = {
    "mmfusion": ["Modalities", "modality_selector", "trusted_types"],
    "mmfusion.alignment": [
        "AsynchronousHMMAligner",
        "CTWAligner",
        "DTWAligner",
        "DTWKernel",
        "DTWPath",
        "HMMAligner",
        "PairHMMAligner",
        "ProductHMMAligner",
        "StepPattern",
        "cdist_dtw",
        "cdist_soft_dtw",
        "dtw_barycenter",
        "dtw_distance",
        "dtw_neighbors",
        "dtw_path",
        "dtw_subsequences",
        "lb_improved",
        "lb_keogh",
        "rabiner_juang",
        "soft_dtw",
        "soft_dtw_alignment",
        "soft_dtw_gamma",
        "soft_dtw_gradient",
    ],
    "mmfusion.benchmark": [
        "Comparison",
        "ComparisonDisplay",
        "Significance",
        "baselines",
        "compare",
        "methods",
    ],
    "mmfusion.clustering": [
        "AnchorGraphClusterer",
        "CoMVCClusterer",
        "EAMCClusterer",
        "GMCClusterer",
        "HMMClusterer",
        "MultimodalMixture",
        "SNFClusterer",
        "SiMVCClusterer",
        "SpectralClusterer",
        "similarity_network_fusion",
    ],
    "mmfusion.datasets": [
        "fetch_100leaves",
        "fetch_handwritten",
        "fetch_msrcv1",
        "fetch_ucr_uea",
        "load_digits_modalities",
        "load_npz",
        "make_audio_visual_sequences",
        "make_event_sequences",
        "make_multimodal_blobs",
        "make_multimodal_sequences",
        "save_npz",
    ],
    "mmfusion.ensemble": ["MultimodalClusterer"],
    "mmfusion.fusion": [
        "CCA",
        "EarlyFusion",
        "EarlyFusionClassifier",
        "EarlyFusionClusterer",
        "EarlyFusionRegressor",
        "GaussianBayesClassifier",
        "HMMClassifier",
        "HMMLabeler",
        "HMMTransformer",
        "HybridFusionClassifier",
        "HybridFusionClusterer",
        "HybridFusionRegressor",
        "LateFusionClassifier",
        "LateFusionClusterer",
        "LateFusionRegressor",
        "SingleModalityClusterer",
    ],
    "mmfusion.graphical": [
        "ChainGraph",
        "ChainPosteriors",
        "ergodic_graph",
        "forward_backward",
        "graph_from_edges",
        "left_to_right_graph",
        "transition_matrix",
        "viterbi",
        "with_transitions",
    ],
    "mmfusion.metrics": [
        "WholeDataSplit",
        "clustering_accuracy_score",
        "get_scorer",
        "get_scorer_names",
        "labels_scorer",
        "modality_silhouette_score",
        "pairwise_f_score",
        "purity_score",
    ],
    "mmfusion.mkl": [
        "MKLClassifier",
        "MKLClusterer",
        "MKLRegressor",
        "ModalityKernels",
    ],
    "mmfusion.nn": ["Trainer"],
    "mmfusion.plotting": [
        "AlignmentDisplay",
        "AttentionWeightsDisplay",
        "KernelMatrixDisplay",
        "KernelWeightsDisplay",
        "LagDisplay",
        "LatentMapDisplay",
        "LossCurveDisplay",
        "ObjectivePathDisplay",
        "ReliabilityDisplay",
        "StatePosteriorDisplay",
    ],
    "mmfusion.preprocessing": [
        "ModalityImputer",
        "ModalitySplitter",
        "PerModality",
        "SequenceGradients",
        "SequencePooling",
        "SequenceResampler",
        "channels_first_from_sequences",
        "frames_from_sequences",
        "padded_from_sequences",
        "sequence_layout",
        "sequences_from_channels_first",
        "sequences_from_frames",
        "sequences_from_padded",
    ],
    "mmfusion.robustness": [
        "DegradationDisplay",
        "DegradationResults",
        "add_noise",
        "degradation_curve",
        "drop_modalities",
        "swap_rows",
    ],
    "mmfusion.testing": [
        "all_estimators",
        "check_multimodal_estimator",
        "multimodal_checks",
    ],
}

PAGE = """\
{module}
{underline}

.. automodule:: {module}
   :no-members:

.. currentmodule:: {module}

.. autosummary::
   :toctree: .

{names}
"""


def write_pages(folder: Path) -> None:
    """Write one page per module; autosummary makes those of the names from it."""
    for module, names in API.items():
        page = folder / "generated" / module / "index.rst"
        page.parent.mkdir(parents=True, exist_ok=True)
        text = PAGE.format(
            module=module,
            underline="=" * len(module),
            names="\n".join(f"   {name}" for name in names),
        )
        if not page.exists() or page.read_text(encoding="utf-8") != text:
            page.write_text(text, encoding="utf-8")  # else a rebuild reads all anew
