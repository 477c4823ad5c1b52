"""Losses of deep canonical correlation analysis, with and without whitening."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


def canonical_correlation_loss(
    latents: Tensor,
    observed: Tensor | None = None,
    n_components: int | None = None,
    shrinkage: float = 1e-3,
) -> Tensor:
    """Compute the negative sum of canonical correlations, mean over pairs.

    Of two modalities with latents H_1 and H_2, the correlations are the singular values
    of ``T = (1 - c) S_11^-1/2 S_12 S_22^-1/2``, with the covariance S_12 and the shrunk
    covariances ``S_vv = (1 - c) cov(H_v) + c tr(cov(H_v)) / d I`` (Andrew et al.
    2013). The ridge is relative, so that the loss has no unit. The loss is computed in
    float64, its gradient in closed form: a derivative of the singular vectors, which is
    infinite where correlations are tied, is not needed.

    Parameters
    ----------
    latents : tensor of shape (V, m, d)
        Latents of each modality; of sequences, those of m aligned time steps.
    observed : tensor of bool of shape (m, V), default=None
        Whether each sample has each modality; None for complete samples. A pair of
        modalities is compared on the samples that have both.
    n_components : int, default=None
        Number of largest correlations that count; None for all d.
    shrinkage : float, default=1e-3
        Share c in (0, 1) of the identity in the covariances.

    Returns
    -------
    tensor of shape ()
        The loss, at least -d; NaN if a latent is not finite. Pairs of at most d common
        samples are left out, since all their correlations are 1; without any other, the
        loss is 0.

    References
    ----------
    Andrew, G., Arora, R., Bilmes, J. and Livescu, K. (2013). Deep canonical
    correlation analysis. ICML, 1247-1255.
    """
    k = latents.shape[-1] if n_components is None else n_components
    mask = _mask_of(latents, observed)
    return _CanonicalCorrelation.apply(latents, mask, k, shrinkage)


def _mask_of(latents: Tensor, observed: Tensor | None) -> Tensor:
    """Return the mask of shape (m, V), all true for complete samples."""
    if observed is not None:
        return observed
    n_modalities, m, _ = latents.shape
    return torch.ones((m, n_modalities), dtype=torch.bool, device=latents.device)


class _CanonicalCorrelation(torch.autograd.Function):
    """The loss and its gradient, which is computed with it."""

    @staticmethod
    def forward(
        ctx: Any, latents: Tensor, observed: Tensor, k: int, shrinkage: float
    ) -> Tensor:
        """Compute the loss."""
        device = "cpu" if latents.device.type == "mps" else latents.device
        exact = latents.detach().to(device, torch.float64)  # mps has no float64
        if not torch.isfinite(exact).all():  # decompositions raise an error
            loss, gradient = exact.new_tensor(torch.nan), torch.zeros_like(exact)
        else:
            mask = observed.to(device)
            loss, gradient = _loss_and_gradient(exact, mask, k, shrinkage)
        ctx.save_for_backward(gradient.to(latents))
        return loss.to(latents)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, of_loss: Tensor) -> tuple[Tensor, None, None, None]:
        """Return the gradient of the latents."""
        (gradient,) = ctx.saved_tensors
        return of_loss * gradient, None, None, None


class _Pairs(NamedTuple):
    """Centred latents of all pairs of modalities, zeros where one is missing.

    Parameters
    ----------
    first, second : tensor of int of shape (P,)
        Modalities of each pair.
    a, b : tensor of shape (P, m, d)
        Their latents.
    n : tensor of shape (P, 1, 1)
        Degrees of freedom, the number of common samples less 1.
    counted : tensor of bool of shape (P,)
        Pairs of more than d common samples.
    """

    first: Tensor
    second: Tensor
    a: Tensor
    b: Tensor
    n: Tensor
    counted: Tensor


def _make_pairs(latents: Tensor, observed: Tensor) -> _Pairs:
    n_modalities, _, d = latents.shape
    upper = torch.triu_indices(n_modalities, n_modalities, 1, device=latents.device)
    first, second = upper
    both = (observed.T[first] & observed.T[second])[..., None]
    counts = both.sum(1, keepdim=True)
    a, b = (
        _centered_where(latents[members], both, counts) for members in (first, second)
    )
    n = torch.clamp_min(counts - 1, 1)
    return _Pairs(first, second, a, b, n, counts.flatten() > d)


def _centered_where(x: Tensor, observed: Tensor, counts: Tensor) -> Tensor:
    """Subtract the mean of what is observed; zeros elsewhere."""
    x = x.masked_fill(~observed, 0.0)
    mean = x.sum(-2, keepdim=True) / torch.clamp_min(counts, 1)
    return (x - mean).masked_fill(~observed, 0.0)


def _loss_and_gradient(
    latents: Tensor, observed: Tensor, k: int, shrinkage: float
) -> tuple[Tensor, Tensor]:
    pairs = _make_pairs(latents, observed)
    a, b = pairs.a, pairs.b
    roots = [_cholesky(x.mT @ x / pairs.n, shrinkage) for x in (a, b)]
    # any roots of S_11 and S_22 have the same singular values
    inner = torch.linalg.solve_triangular(roots[0], a.mT @ b / pairs.n, upper=False)
    inner = torch.linalg.solve_triangular(roots[1], inner.mT, upper=False).mT
    left, correlations, right = torch.linalg.svd((1 - shrinkage) * inner)
    correlations = correlations[:, :k]
    counted = pairs.counted.to(correlations)
    share = counted / torch.clamp_min(counted.sum(), 1)
    loss = -(share @ correlations.sum(1))
    # a correlation of 0 has no direction
    is_positive = (correlations > torch.finfo(a.dtype).eps)[:, None]
    u = torch.linalg.solve_triangular(
        roots[0].mT, left[..., :k] * is_positive, upper=True
    )
    v = torch.linalg.solve_triangular(
        roots[1].mT, right.mT[..., :k] * is_positive, upper=True
    )
    across = (1 - shrinkage) * (u @ v.mT)  # d loss / d S_12, but for its sign
    scale = -share[:, None, None] / pairs.n
    gradient = torch.zeros_like(latents)
    for members, own, other, axes, to_other in (
        (pairs.first, a, b, u, across.mT),
        (pairs.second, b, a, v, across),
    ):
        within = -(axes * correlations[:, None]) @ axes.mT / 2
        within = _of_unshrunk(within, shrinkage)
        of_pair = scale * (2 * own @ within + other @ to_other)
        gradient.index_add_(0, members, of_pair)
    return loss, gradient


def _cholesky(covariances: Tensor, shrinkage: float) -> Tensor:
    """Compute the Cholesky factors of shrunk covariances; of zeros, the identity."""
    d = covariances.shape[-1]
    identity = torch.eye(d, dtype=covariances.dtype, device=covariances.device)
    mean = covariances.diagonal(dim1=-2, dim2=-1).mean(-1)[:, None, None]
    shrunk = (1 - shrinkage) * covariances + shrinkage * mean * identity
    return torch.linalg.cholesky(torch.where(mean > 0, shrunk, identity))


def _of_unshrunk(gradient: Tensor, shrinkage: float) -> Tensor:
    """Return the gradient of covariances from that of the shrunk ones."""
    d = gradient.shape[-1]
    identity = torch.eye(d, dtype=gradient.dtype, device=gradient.device)
    mean = gradient.diagonal(dim1=-2, dim2=-1).mean(-1)[:, None, None]
    return (1 - shrinkage) * gradient + shrinkage * mean * identity


def eckart_young_loss(latents: Tensor, observed: Tensor | None = None) -> Tensor:
    """Compute ``-2 sum_{v != w} tr cov(H_v, H_w) + ||sum_v cov(H_v)||_F^2``.

    Its minimum over linear latents is ``-sum_i r_i^2``, with the d largest positive
    eigenvalues r_i of multiset canonical correlation analysis, of two modalities the
    canonical correlations (Chapman et al. 2023). Nothing is whitened, so that batches
    may be small.

    Parameters
    ----------
    latents : tensor of shape (V, m, d)
        Latents of each modality.
    observed : tensor of bool of shape (m, V), default=None
        Whether each sample has each modality; None for complete samples. A covariance
        is that of the samples that have both modalities.

    Returns
    -------
    tensor of shape ()
        The loss; 0 for latents that do not vary.

    References
    ----------
    Chapman, J., Wells, L. and Aguila, A. L. (2023). Unconstrained stochastic CCA:
    unifying multiview and self-supervised learning. arXiv:2310.01012.
    """
    mask = _mask_of(latents, observed)
    pairs = _make_pairs(latents, mask)
    own, counts = mask.T[..., None], mask.sum(0)[:, None, None]
    alone = _centered_where(latents, own, counts)
    within = (alone.mT @ alone / torch.clamp_min(counts - 1, 1)).sum(0)
    across = (pairs.a * pairs.b / pairs.n).sum()
    return -4 * across + within.square().sum()
