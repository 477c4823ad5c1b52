"""Network that labels the frames of sequences, trained by label sequences alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmfusion.nn._attention import TimeAwareAttention, TimedFrames
from mmfusion.nn._members import BatchedLinear, dropout
from mmfusion.nn.fusions import GatedFusion

BLANK = 0  # its column


class Transcripts(NamedTuple):
    """Label sequences of m samples.

    Parameters
    ----------
    columns : tensor of int of shape (n_labels_in_all,)
        Columns of the labels, one sample after the other.
    lengths : tensor of int of shape (m,)
        Number of labels of each sample.
    """

    columns: Tensor
    lengths: Tensor


class MaskedConvolutions(nn.Module):
    """Residual convolutions over time that see zeros beyond the ends of a sequence.

    Parameters
    ----------
    n_features : int
        Number of features of a frame.
    widths : sequence of int
        Number of filters of each convolution.
    context : int
        Number of frames on each side that each of them sees.
    dropout : float
        Rate of dropout after each of them.
    """

    def __init__(
        self, n_features: int, widths: Sequence[int], context: int, dropout: float
    ) -> None:
        super().__init__()
        pairs = zip([n_features, *widths[:-1]], widths, strict=True)
        self.convolutions = nn.ModuleList(
            nn.Conv1d(n_in, n_out, 2 * context + 1, padding=context)
            for n_in, n_out in pairs
        )
        self.dropout = dropout

    def forward(self, values: Tensor, observed: Tensor) -> Tensor:
        """Return hidden frames of shape (m, T, widths[-1])."""
        mask = observed[:, None]
        p = self.dropout if self.training else 0.0
        x = values.mT.masked_fill(~mask, 0.0)
        for layer in self.convolutions:
            y = dropout(F.gelu(layer(x)), p).masked_fill(~mask, 0.0)
            x = x + y if x.shape == y.shape else y
        return x.mT


class CTCNetwork(nn.Module):
    """Log-probabilities of labels and a blank at every frame of a clock.

    The frames of each modality are encoded in their context. At each frame of the
    clock, the modalities other than the first are read by time-aware attention, and a
    gated fusion (Arevalo et al. 2017) weighs them and what the first has there. Scores
    are those of the fused frames plus those of the head of each modality: their
    probabilities are multiplied, and one that is sure outweighs others that are not.

    Parameters
    ----------
    n_features : sequence of int
        Numbers of features of the frames of the V modalities.
    n_columns : int
        Number of labels, and one for the blank.
    widths : sequence of int
        Number of filters of each convolution; the last is the width of hidden frames.
    contexts : sequence of int
        Number of frames on each side that each convolution sees, by modality.
    dropout : float
        Rate of dropout after each convolution.
    unit : float
        Half the width of the window of attention at the start.
    window : float or None
        Largest time difference of frames that are read; None reads all.
    """

    def __init__(
        self,
        n_features: Sequence[int],
        n_columns: int,
        widths: Sequence[int],
        contexts: Sequence[int],
        dropout: float,
        unit: float,
        window: float | None,
    ) -> None:
        super().__init__()
        self.n_features = list(n_features)
        width, n_modalities = widths[-1], len(n_features)
        self.encoders = nn.ModuleList(
            MaskedConvolutions(d, widths, context, dropout)
            for d, context in zip(n_features, contexts, strict=True)
        )
        self.attentions = nn.ModuleList(
            TimeAwareAttention(width, width, width, unit, window=window)
            for _ in n_features[1:]
        )
        self.nearness = nn.ModuleList(nn.Linear(2, width) for _ in n_features[1:])
        if n_modalities > 1:
            self.fusion = GatedFusion(n_modalities, 1, width)
            self.heads = BatchedLinear((n_modalities,), width, n_columns)
        self.fused = MaskedConvolutions(width, [width], contexts[0], dropout)
        self.last = nn.Linear(width, n_columns)

    def forward(
        self,
        clock: TimedFrames,
        inputs: Sequence[TimedFrames],
        by_modality: bool = False,
    ) -> Tensor:
        """Compute log-probabilities.

        Parameters
        ----------
        clock : TimedFrames
            Times of the frames that have labels; the values are not used.
        inputs : sequence of TimedFrames
            Frames of the modalities. The first has the clock, or is missing.
        by_modality : bool, default=False
            Whether to compute those of each modality alone, too, of several ones.

        Returns
        -------
        tensor of shape (1, m, T, n_columns) or (1 + V, m, T, n_columns)
            Log-probabilities of all modalities, and those of each; without meaning
            beyond the ends of the clocks, and of samples that lack the modality.
        """
        latents = self._latents(clock, inputs)
        if len(inputs) == 1:
            scores = self.last(self.fused(latents[0], clock.observed))
            return scores[None].log_softmax(-1)
        flags = torch.stack([own.observed.any(1) for own in inputs]).to(latents)
        fused = self.fused(self._fuse(latents, flags), clock.observed)
        own = self.heads(F.gelu(latents).flatten(1, 2)).unflatten(1, latents.shape[1:3])
        scores = (self.last(fused) + (own * flags[..., None, None]).sum(0))[None]
        tables = torch.cat([scores, own]) if by_modality else scores
        return tables.log_softmax(-1)

    def _latents(self, clock: TimedFrames, inputs: Sequence[TimedFrames]) -> Tensor:
        """Return what each modality has at the frames of the clock: (V, m, T, w)."""
        hidden = [
            own._replace(values=encoder(own.values, own.observed))
            for encoder, own in zip(self.encoders, inputs, strict=True)
        ]
        latents = [hidden[0].values]
        queries = clock._replace(values=latents[0])
        for attention, nearness, own in zip(
            self.attentions, self.nearness, hidden[1:], strict=True
        ):
            near = nearness(attention.nearness(queries, own))
            observed = own.observed.any(1)[:, None, None]
            latents.append((attention(queries, own) + near) * observed)
        return torch.stack(latents)

    def _fuse(self, latents: Tensor, flags: Tensor) -> Tensor:
        """Fuse the latents (V, m, T, w) of each frame."""
        n_frames = latents.shape[2]
        by_frame = flags.mT.repeat_interleave(n_frames, 0)
        fused = self.fusion(latents.flatten(1, 2)[:, None], by_frame)[0]
        return fused.unflatten(0, (-1, n_frames))


def ctc_losses(log_probabilities: Tensor, observed: Tensor, y: Transcripts) -> Tensor:
    """Compute minus the log-likelihood of the transcript of each sample.

    Parameters
    ----------
    log_probabilities : tensor of shape (m, T, n_columns)
        Log-probabilities of the frames; column 0 is the blank.
    observed : tensor of bool of shape (m, T)
        True up to the end of a sequence.
    y : Transcripts
        The transcripts.

    Returns
    -------
    tensor of shape (m,)
        The losses; infinite where a sample has fewer frames than its labels need.
    """
    return F.ctc_loss(
        log_probabilities.transpose(0, 1),
        y.columns,
        observed.sum(1),
        y.lengths,
        blank=BLANK,
        reduction="none",
    )
