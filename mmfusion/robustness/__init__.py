"""Scores of estimators under missing, noisy and mismatched modalities."""

from mmfusion.robustness._curve import degradation_curve
from mmfusion.robustness._degradations import add_noise, drop_modalities, swap_rows
from mmfusion.robustness._display import DegradationDisplay
from mmfusion.robustness._results import DegradationResults
from mmfusion.robustness._time_degradations import (
    drop_stretches,
    noise_bursts,
    shift_modality,
)

__all__ = [
    "DegradationDisplay",
    "DegradationResults",
    "add_noise",
    "degradation_curve",
    "drop_modalities",
    "drop_stretches",
    "noise_bursts",
    "shift_modality",
    "swap_rows",
]
