"""Preprocessing by modality: transformers, splitting, imputation, sequences."""

from mmfusion.preprocessing._gradients import SequenceGradients
from mmfusion.preprocessing._imputer import ModalityImputer
from mmfusion.preprocessing._per_modality import PerModality
from mmfusion.preprocessing._pooling import SequencePooling
from mmfusion.preprocessing._resampler import SequenceResampler
from mmfusion.preprocessing._sequence_formats import (
    channels_first_from_sequences,
    frames_from_sequences,
    padded_from_sequences,
    sequences_from_channels_first,
    sequences_from_frames,
    sequences_from_padded,
)
from mmfusion.preprocessing._sequence_layouts import sequence_layout
from mmfusion.preprocessing._splitter import ModalitySplitter

__all__ = [
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
]
