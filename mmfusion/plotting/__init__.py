"""Displays of fitted estimators; matplotlib loads when something is drawn."""

from mmfusion.plotting._attention import AttentionWeightsDisplay
from mmfusion.plotting._latent_map import LatentMapDisplay
from mmfusion.plotting._loss_curves import LossCurveDisplay

__all__ = ["AttentionWeightsDisplay", "LatentMapDisplay", "LossCurveDisplay"]
