"""The one list of what the API reference holds, and the pages made from it."""

from importlib import import_module
from pathlib import Path

API = {
    "mmfusion": [
        "Modalities",
        "modality_selector",
        "show_progress",
        "show_versions",
        "trusted_types",
    ],
    "mmfusion.alignment": [
        "Alignment",
        "AsynchronousHMMAligner",
        "CTCAligner",
        "CTWAligner",
        "DTWAligner",
        "DTWKernel",
        "DTWPath",
        "DeepCTWAligner",
        "ForcedAligner",
        "HMMAligner",
        "LabelSpans",
        "PairHMMAligner",
        "ProductHMMAligner",
        "SiameseAligner",
        "StepPattern",
        "WordAligner",
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
        "Preset",
        "Significance",
        "baselines",
        "compare",
        "methods",
        "preset",
    ],
    "mmfusion.clustering": [
        "AnchorGraphClusterer",
        "AutoencoderClusterer",
        "CoMVCClusterer",
        "DMSCClusterer",
        "EAMCClusterer",
        "GMCClusterer",
        "HMMClusterer",
        "MFLVCClusterer",
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
        "load_breast_cancer_modalities",
        "load_diabetes_modalities",
        "load_digits_modalities",
        "load_file",
        "load_mat",
        "load_npz",
        "load_parallel_corpus",
        "load_table",
        "load_wine_modalities",
        "make_audio_visual_sequences",
        "make_dense_and_sparse",
        "make_digit_strings",
        "make_event_sequences",
        "make_multimodal_blobs",
        "make_multimodal_sequences",
        "make_parallel_corpus",
        "save_npz",
    ],
    "mmfusion.ensemble": ["MultimodalClusterer"],
    "mmfusion.fusion": [
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
    "mmfusion.inspection": [
        "ImportanceResults",
        "InteractionDisplay",
        "InteractionResults",
        "ModalityImportanceDisplay",
        "PartialInformation",
        "ShapleyDisplay",
        "ShapleyResults",
        "modality_importance",
        "modality_interactions",
        "modality_shapley",
        "partial_information",
    ],
    "mmfusion.metrics": [
        "WholeDataSplit",
        "alignment_error",
        "alignment_error_rate",
        "cluster_profiles",
        "clustering_accuracy_score",
        "edit_score",
        "get_scorer",
        "get_scorer_names",
        "labels_scorer",
        "modality_silhouette_score",
        "pairwise_f_score",
        "purity_score",
        "segment_f1",
        "sequence_accuracy",
        "sequence_f1",
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
        "drop_stretches",
        "noise_bursts",
        "shift_modality",
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


TOPIC = """\
:doc:`{module} <generated/{module}/index>`
{underline}

{summary}

.. currentmodule:: {module}

.. autosummary::

{names}
"""


def write_pages(folder: Path) -> None:
    """Write one page per module, and the summaries of all of them.

    autosummary makes the pages of the names from those of the modules.
    """
    topics = [".. toctree::\n   :hidden:\n"]
    for module in API:
        topic = module.removeprefix("mmfusion.")  # the sidebar is narrow
        topics.append(f"   {topic} <generated/{module}/index>")
    topics.append("")
    for module, names in API.items():
        parts = {
            "module": module,
            "names": "\n".join(f"   {name}" for name in names),
            "summary": (import_module(module).__doc__ or "").partition("\n")[0],
        }
        page = PAGE.format(underline="=" * len(module), **parts)
        write_changed(folder / "generated" / module / "index.rst", page)
        topics.append(TOPIC.format(underline="-" * (2 * len(module) + 30), **parts))
    write_changed(folder / "generated" / "topics.txt", "\n".join(topics))


def write_changed(path: Path, text: str) -> None:
    """Write a text unless the file has it, so that a rebuild reads what changed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")
