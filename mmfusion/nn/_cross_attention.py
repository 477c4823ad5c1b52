"""The network of a predictor whose sequences attend to one another."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import Tensor, nn

from mmfusion.nn._attention import TimeAwareAttention, TimedFrames
from mmfusion.nn._distributed import Shares
from mmfusion.nn._encoders import is_samplewise
from mmfusion.nn._isolation import drawing
from mmfusion.nn._members import Members, by_member, members_side_by_side
from mmfusion.nn._prediction import PredictionNetwork
from mmfusion.nn._sequence_encoders import SequenceEncoder
from mmfusion.nn._tasks import Task
from mmfusion.nn.fusions import Fusion

EVALUATED_CELLS = 2**22  # of the weights of attention in memory at a time


class FrameReader(nn.Module):
    """A sequence whose frames attend to those of others, pooled to one latent.

    Parameters
    ----------
    width : int
        Number of features of a frame, and of the latent.
    n_others : int
        Number of other sequences.
    options : dict
        Options of the attention to each.
    """

    def __init__(self, width: int, n_others: int, options: dict[str, Any]) -> None:
        super().__init__()
        self.attentions = nn.ModuleList(
            TimeAwareAttention(width, width, width, **options) for _ in range(n_others)
        )
        self.mix = nn.Linear((1 + 2 * n_others) * width, width)
        self.hidden = nn.Linear(width, width)
        self.pool = nn.Linear(width, width)

    def forward(self, own: TimedFrames, others: Sequence[TimedFrames]) -> Tensor:
        """Read m sequences along with the others: shape (m, width)."""
        pairs = zip(self.attentions, others, strict=True)
        read = [attention(own, other) for attention, other in pairs]
        # products, since what a frame means often depends on what it meets
        products = [own.values * each for each in read]
        frames = self.mix(torch.cat([own.values, *read, *products], dim=-1)).relu()
        frames = self.hidden(frames).relu()
        shares = own.observed / own.observed.sum(1, keepdim=True).clamp(min=1)
        return self.pool((shares.to(frames)[:, None] @ frames)[:, 0])


@dataclass
class AttentionOptions:
    """Options of the attention between the sequences of a network.

    Parameters
    ----------
    unit : float
        Unit of time differences.
    learns_offset : bool
        Whether clocks may differ by an offset.
    has_penalty : bool
        Whether time differences count.
    window : float or None
        Largest time difference of frames that are compared.
    """

    unit: float
    learns_offset: bool
    has_penalty: bool
    window: float | None = field(default=None)


class CrossAttentionNetwork(PredictionNetwork):
    """Encoders, attention between the frames of sequences, gated fusion and heads.

    The latent of a sequence is that of its own frames, for the head of the modality,
    beside that of its frames and what they read of the other sequences, which is fused;
    a modality without frames has its latent twice.

    Parameters
    ----------
    encoders : sequence of Module
        Encoder of each modality, of all members.
    fusion : Fusion
        Fusion of the second latents.
    fused_width : int
        Width of what it returns.
    task : Task
        Loss, and mean of predictions.
    dropout : float
        See `PredictionNetwork`.
    options : AttentionOptions
        Options of the attention.
    """

    def __init__(
        self,
        encoders: Sequence[nn.Module],
        fusion: Fusion,
        fused_width: int,
        task: Task,
        dropout: float,
        options: AttentionOptions,
    ) -> None:
        super().__init__(encoders, fusion, fused_width, task, dropout)
        self.sequences = [v for v, own in enumerate(encoders) if has_frames(own)]
        n_others = len(self.sequences) - 1
        self.readers = nn.ModuleList(
            nn.ModuleList(
                FrameReader(fusion.width, n_others, vars(options))
                for _ in self.sequences
            )
            for _ in range(fusion.n_members)
        )

    def encode(
        self,
        inputs: Sequence[Tensor],
        observed: Tensor | None,
        shares: Shares | None = None,
    ) -> Tensor:
        """Encode a batch, each sequence with what it reads: shape (V, m, 2 R w).

        Every process encodes the whole batch.
        """
        if self.training:
            return self._encode(inputs, observed)
        chunks = [self._encode(*rows) for rows in self._chunks(inputs, observed)]
        return torch.cat(chunks, dim=1)

    def _encode(self, inputs: Sequence[Tensor], observed: Tensor | None) -> Tensor:
        # attention draws nothing; the modules of users may
        with nullcontext() if is_samplewise(self.encoders) else drawing():
            own = [
                None if v in self.sequences else encoder(x)
                for v, (encoder, x) in enumerate(
                    zip(self.encoders, inputs, strict=True)
                )
            ]
            members = [
                self._of_member(r, inputs, own, observed)
                for r in range(self.fusion.n_members)
            ]
        latents = members_side_by_side(torch.stack(members, dim=-3))
        return latents if observed is None else latents * observed.mT[..., None]

    def _of_member(
        self,
        member: int,
        inputs: Sequence[Tensor],
        own: Sequence[Tensor | None],
        observed: Tensor | None,
    ) -> Tensor:
        """Encode all modalities by one member: shape (V, m, 2 w)."""
        frames = self._frames(member, inputs, observed)
        readers = iter(cast(nn.ModuleList, self.readers[member]))
        latents = []
        for v, latent in enumerate(own):
            if latent is not None:
                alone = by_member(latent, self.fusion.n_members)[member]
                latents.append(torch.cat([alone, alone], dim=-1))
                continue
            others = [frames[u] for u in self.sequences if u != v]
            alone = self._encoder(member, v).pooled(frames[v])
            latents.append(torch.cat([alone, next(readers)(frames[v], others)], -1))
        return torch.stack(latents)

    def _encoder(self, member: int, v: int) -> SequenceEncoder:
        return cast(Any, self.encoders[v]).members[member]

    def _frames(
        self, member: int, inputs: Sequence[Tensor], observed: Tensor | None
    ) -> dict[int, TimedFrames]:
        """Encode the frames of all sequences, none of those that are not observed."""
        frames = {}
        for v in self.sequences:
            own = self._encoder(member, v).frames(inputs[v])
            if observed is not None:
                own = own._replace(observed=own.observed & observed[:, v, None])
            frames[v] = own
        return frames

    def _chunks(self, inputs: Sequence[Tensor], observed: Tensor | None) -> Any:
        """Divide a batch so that the weights of attention take bounded memory."""
        longest = sorted(inputs[v].shape[1] for v in self.sequences)[-2:]
        size = max(1, EVALUATED_CELLS // (longest[0] * longest[-1]))
        for start in range(0, len(inputs[0]), size):
            rows = slice(start, start + size)
            yield (
                [x[rows] for x in inputs],
                None if observed is None else observed[rows],
            )

    def forward(self, *args: Any, **params: Any) -> Any:
        """Fuse a batch and predict; see `PredictionNetwork`."""
        outputs = super().forward(*args, **params)
        own = by_member(outputs.latents, self.fusion.n_members)[
            ..., : self.fusion.width
        ]
        return outputs._replace(latents=members_side_by_side(own))

    def attention_maps(
        self, inputs: Sequence[Tensor], observed: Tensor | None
    ) -> dict[tuple[int, int], Tensor]:
        """Compute the mean weights of attention of all members and heads.

        Parameters
        ----------
        inputs : sequence of tensor of shape (m, ...)
            One per modality.
        observed : tensor of bool of shape (m, V) or None
            Which modalities of a sample are observed; None is all.

        Returns
        -------
        dict of (int, int) to tensor of shape (m, T_1, T_2)
            Weights of the frames of the second modality of a pair, by those of the
            first.
        """
        maps: dict[tuple[int, int], Tensor] = {}
        for r, readers in enumerate(self.readers):
            frames = self._frames(r, inputs, observed)
            for v, reader in zip(self.sequences, cast(Any, readers), strict=True):
                others = [u for u in self.sequences if u != v]
                for u, attention in zip(others, reader.attentions, strict=True):
                    weights = attention.weights(frames[v], frames[u]).mean(1)
                    share = weights / self.fusion.n_members
                    maps[v, u] = maps.get((v, u), 0) + share
        return maps


def has_frames(encoder: nn.Module) -> bool:
    """Return whether the encoder of a modality is that of sequences."""
    return isinstance(encoder, Members) and isinstance(
        encoder.members[0], SequenceEncoder
    )
