"""Comparisons of methods on data sets: scores, ranks, tests, costs and reports."""

from mmfusion.benchmark._baselines import baselines
from mmfusion.benchmark._compare import compare
from mmfusion.benchmark._comparison import Comparison
from mmfusion.benchmark._display import ComparisonDisplay
from mmfusion.benchmark._presets import Preset, preset
from mmfusion.benchmark._registry import methods
from mmfusion.benchmark._significance import Significance

__all__ = [
    "Comparison",
    "ComparisonDisplay",
    "Preset",
    "Significance",
    "baselines",
    "compare",
    "methods",
    "preset",
]
