"""Losses of deep multimodal learning, as pure functions of tensors."""

from mmfusion.nn.losses.adversarial import adversarial_cross_entropy, squared_slope
from mmfusion.nn.losses.alignment import match_cross_entropy
from mmfusion.nn.losses.attention import attention_inequality, attention_mismatch
from mmfusion.nn.losses.clustering import (
    balance_penalty,
    cauchy_schwarz_divergence,
    cluster_size_divergence,
    confidence_penalty,
    corner_closeness,
    neighbor_disagreement,
)
from mmfusion.nn.losses.column_contrast import (
    assignment_balance,
    assignment_contrast,
    column_contrast,
)
from mmfusion.nn.losses.contrastive import (
    contrastive_loss,
    normalized_latents,
    nt_xent,
)
from mmfusion.nn.losses.correlation import (
    canonical_correlation_loss,
    eckart_young_loss,
)
from mmfusion.nn.losses.kernels import gaussian_kernel, squared_distances
from mmfusion.nn.losses.reconstruction import (
    reconstruction_loss,
    reconstruction_norm,
)
from mmfusion.nn.losses.self_expression import self_expression_loss
from mmfusion.nn.losses.self_training import sharpened, target_divergence

__all__ = [
    "adversarial_cross_entropy",
    "assignment_balance",
    "assignment_contrast",
    "attention_inequality",
    "attention_mismatch",
    "balance_penalty",
    "canonical_correlation_loss",
    "cauchy_schwarz_divergence",
    "cluster_size_divergence",
    "column_contrast",
    "confidence_penalty",
    "contrastive_loss",
    "corner_closeness",
    "eckart_young_loss",
    "gaussian_kernel",
    "match_cross_entropy",
    "neighbor_disagreement",
    "normalized_latents",
    "nt_xent",
    "reconstruction_loss",
    "reconstruction_norm",
    "self_expression_loss",
    "sharpened",
    "squared_distances",
    "squared_slope",
    "target_divergence",
]
