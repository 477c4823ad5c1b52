"""Ensembles of clusterers of all kinds, and their consensus."""

from mmfusion.ensemble._clusterer import MultimodalClusterer

__all__ = ["MultimodalClusterer"]
