"""Scores of clusterings and of sequences of labels, and scorers for searches."""

from mmfusion.metrics._clustering import (
    clustering_accuracy_score,
    pairwise_f_score,
    purity_score,
)
from mmfusion.metrics._label_sequences import (
    edit_score,
    segment_f1,
    sequence_accuracy,
    sequence_f1,
)
from mmfusion.metrics._links import alignment_error_rate
from mmfusion.metrics._paths import alignment_error
from mmfusion.metrics._profiles import cluster_profiles
from mmfusion.metrics._scorers import (
    WholeDataSplit,
    get_scorer,
    get_scorer_names,
    labels_scorer,
)
from mmfusion.metrics._silhouette import modality_silhouette_score

__all__ = [
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
]
