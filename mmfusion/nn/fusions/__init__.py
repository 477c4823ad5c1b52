"""Fusion modules: from the latents of several modalities to one vector per sample."""

from mmfusion.nn.fusions._base import Fusion, MemberFusions
from mmfusion.nn.fusions._gated import CrossAttentionFusion, GatedFusion
from mmfusion.nn.fusions._low_rank import LowRankFusion, TensorFusion
from mmfusion.nn.fusions._simple import (
    AttentionFusion,
    ConcatFusion,
    LateFusion,
    MeanFusion,
)

# of latents; that of sequences which attend to one another is CrossAttentionFusion
FUSIONS: dict[str, type[Fusion]] = {
    "gated": GatedFusion,
    "concat": ConcatFusion,
    "mean": MeanFusion,
    "attention": AttentionFusion,
    "low_rank": LowRankFusion,
    "tensor": TensorFusion,
    "late": LateFusion,
}

__all__ = ["FUSIONS", "CrossAttentionFusion", "Fusion", "MemberFusions"]
