"""Per-modality preprocessing: transform, split, fill in."""

from mmfusion.preprocessing._imputer import ModalityImputer
from mmfusion.preprocessing._per_modality import PerModality
from mmfusion.preprocessing._splitter import ModalitySplitter

__all__ = ["ModalityImputer", "ModalitySplitter", "PerModality"]
