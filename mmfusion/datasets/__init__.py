"""Multimodal data sets: bundled, simulated, downloaded or loaded from files."""

from mmfusion.datasets._audio_visual import make_audio_visual_sequences
from mmfusion.datasets._blobs import make_multimodal_blobs
from mmfusion.datasets._dense_and_sparse import make_dense_and_sparse
from mmfusion.datasets._digit_strings import make_digit_strings
from mmfusion.datasets._digits import load_digits_modalities
from mmfusion.datasets._events import make_event_sequences
from mmfusion.datasets._fetch import fetch_100leaves, fetch_handwritten, fetch_msrcv1
from mmfusion.datasets._files import load_file
from mmfusion.datasets._mat import load_mat
from mmfusion.datasets._measurements import (
    load_breast_cancer_modalities,
    load_diabetes_modalities,
    load_wine_modalities,
)
from mmfusion.datasets._npz import load_npz, save_npz
from mmfusion.datasets._parallel import load_parallel_corpus, make_parallel_corpus
from mmfusion.datasets._table import load_table
from mmfusion.datasets._trajectories import make_multimodal_sequences
from mmfusion.datasets._ucr_uea import fetch_ucr_uea

__all__ = [
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
]
