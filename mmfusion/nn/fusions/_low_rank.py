"""Multiplicative fusion, for predictions that are an interaction of modalities."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mmfusion.nn._members import BatchedLinear
from mmfusion.nn.fusions._base import Fusion

RANK = 8  # of the factors in low-rank fusion
TENSOR_WIDTH = 16  # of a latent, before the outer product
MAX_TENSOR_CELLS = 100_000


class LowRankFusion(Fusion):
    """``h = sum_r s_r prod_v (U_v^r [z_v; 1])`` (Liu et al. 2018), of rank 8.

    The factor of a modality that is not observed is 1.
    """

    def __init__(
        self, n_modalities: int, n_members: int, width: int, rank: int = RANK
    ) -> None:
        super().__init__(n_modalities, n_members, width)
        self.rank = rank
        self.factors = BatchedLinear((n_modalities, n_members), width, rank * width)
        # products begin near 1: of factors near 0 they would all vanish
        nn.init.ones_(self.factors.bias)
        self.shares = nn.Parameter(torch.full((n_members, rank), 1 / rank))

    def forward(self, latents: Tensor, observed: Tensor) -> Tensor:
        """Multiply the factors of all modalities, and add up the ranks."""
        factors = self.factors(latents)
        observed = observed.mT[:, None, :, None]
        product = (factors * observed + (1 - observed)).prod(0)
        return torch.einsum(
            "rmkd,rk->rmd", product.unflatten(-1, (self.rank, -1)), self.shares
        )


class TensorFusion(Fusion):
    """``h = W vec([z_1; 1] x ... x [z_V; 1])`` (Zadeh et al. 2017), z_v of width 16."""

    def __init__(self, n_modalities: int, n_members: int, width: int) -> None:
        super().__init__(n_modalities, n_members, width)
        narrow = min(width, TENSOR_WIDTH)
        n_cells = (narrow + 1) ** n_modalities
        if n_cells > MAX_TENSOR_CELLS:
            raise ValueError(
                f"fusion='tensor' of {n_modalities} modalities has products of "
                f"{n_cells} cells, more than {MAX_TENSOR_CELLS}; give "
                "fusion='low_rank', which stands for the same products"
            )
        self.narrow = BatchedLinear((n_modalities, n_members), width, narrow)
        self.out = BatchedLinear((n_members,), n_cells, width)

    def forward(self, latents: Tensor, observed: Tensor) -> Tensor:
        """Map the outer product of all modalities by one layer."""
        narrow = self.narrow(latents) * observed.mT[:, None, :, None]
        ones = torch.ones_like(narrow[..., :1])
        extended = torch.cat([narrow, ones], dim=-1)
        product = extended[0]
        for other in extended[1:]:
            product = torch.einsum("rmi,rmj->rmij", product, other).flatten(-2)
        return self.out(product)
