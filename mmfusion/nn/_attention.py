"""Attention between the frames of two sequences that know their times."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

LARGEST_CELLS = 2**27  # of the weights of a batch: 512 MiB in float32
BLOCK_FRAMES = 64  # queries whose windows are read together
START_PENALTY = 0.5  # that of a Gaussian of standard deviation `unit`
FAR_UNITS = 3.0  # beyond which time differences to the nearest frame are alike
# penalty and offset take larger steps than weights do, since a window may shrink, or a
# clock be off, by many units
STEP_FACTOR = 10.0


class TimedFrames(NamedTuple):
    """Frames of a batch of m sequences, padded to one length T.

    Parameters
    ----------
    values : tensor of shape (m, T, d)
        The frames; what those beyond the end of a sequence hold changes nothing.
    times : tensor of shape (m, T)
        Times of the frames, ascending; those beyond the end repeat the last one.
    observed : tensor of bool of shape (m, T)
        True up to the end of a sequence; all False where it is missing.
    """

    values: Tensor
    times: Tensor
    observed: Tensor

    def take(self, rows: Tensor) -> TimedFrames:
        """Return the frames at positions of shape (m, W)."""
        values = self.values.gather(
            1, rows[..., None].expand(-1, -1, self.values.shape[2])
        )
        return TimedFrames(
            values, self.times.gather(1, rows), self.observed.gather(1, rows)
        )


class TimeAwareAttention(nn.Module):
    """Attention of the frames of one sequence to those of another, by content and time.

    A frame i weighs the frames j of the other sequence by ::

        a_ij = softmax_j(q_i . k_j / sqrt(d) - b ((t_i - t_j - o) / u)^2)

    (Vaswani et al. 2017, with a penalty on time differences), with queries q, keys k
    and values that are linear maps of the frames, times t, and, for each head, a
    penalty b > 0 and an offset o of the clocks that are learned. The penalty begins
    with that of a Gaussian window of standard deviation u. Without a penalty, this is
    the cross-modal attention of Tsai et al. (2019); with a large one, a frame reads the
    frame of the same time.

    Parameters
    ----------
    query_width, key_width : int
        Numbers of features of a frame of both sequences.
    width : int
        Number of features of what is returned, a multiple of `n_heads`.
    unit : float
        Unit u of time differences: half the width of the window at the start.
    n_heads : int, default=1
        Number of heads.
    learns_offset : bool, default=True
        Whether the clocks may differ by an offset. Otherwise it is 0.
    has_penalty : bool, default=True
        Whether time differences count. Otherwise attention is by content alone.
    window : float, default=None
        Largest time difference, after the offset, of frames that are read. It bounds
        the memory; None reads all frames.

    References
    ----------
    Vaswani, A. et al. (2017). Attention is all you need. NeurIPS.

    Tsai, Y.-H. H. et al. (2019). Multimodal transformer for unaligned multimodal
    language sequences. ACL, 6558-6569.
    """

    unit: Tensor

    def __init__(
        self,
        query_width: int,
        key_width: int,
        width: int,
        unit: float,
        *,
        n_heads: int = 1,
        learns_offset: bool = True,
        has_penalty: bool = True,
        window: float | None = None,
    ) -> None:
        super().__init__()
        self.n_heads, self.window, self.has_penalty = n_heads, window, has_penalty
        self.query = nn.Linear(query_width, width)
        self.key = nn.Linear(key_width, width)
        self.value = nn.Linear(key_width, width)
        self.out = nn.Linear(width, width)
        self.register_buffer("unit", torch.tensor(float(unit)))
        start = math.log(math.expm1(START_PENALTY)) / STEP_FACTOR
        self.raw_penalty = nn.Parameter(torch.full((n_heads,), start))
        offset = torch.zeros(n_heads)
        self.raw_offset = nn.Parameter(offset, requires_grad=learns_offset)

    @property
    def penalty(self) -> Tensor:
        """Penalty b of each head."""
        return F.softplus(STEP_FACTOR * self.raw_penalty) * float(self.has_penalty)

    @property
    def offset(self) -> Tensor:
        """Offset o of each head: the clock of the queries less that of the keys."""
        return STEP_FACTOR * self.raw_offset * self.unit

    def forward(self, queries: TimedFrames, keys: TimedFrames) -> Tensor:
        """Read the other sequence at every frame.

        Parameters
        ----------
        queries, keys : TimedFrames
            The frames that read, m sequences of T_1 frames, and those that are read.

        Returns
        -------
        tensor of shape (m, T_1, width)
            What is read; zeros where no frame of the other sequence can be read.

        Raises
        ------
        ValueError
            If the weights would take too much memory.
        """
        if self.window is None:
            self._check_cells(queries, keys.observed.shape[1])
            return self._read(queries, keys)
        pairs = self._windows(queries, keys, self.window)
        blocks = [self._read(*pair) for pair in pairs]
        return torch.cat(blocks, dim=1)

    def weights(self, queries: TimedFrames, keys: TimedFrames) -> Tensor:
        """Compute the weights of attention, of shape (m, n_heads, T_1, T_2).

        Those of a frame add up to 1, or are all 0 where nothing can be read.
        """
        self._check_cells(queries, keys.observed.shape[1])
        q, k = self._heads(self.query, queries), self._heads(self.key, keys)
        bias, readable = self._bias(queries, keys)
        scores = q @ k.mT / math.sqrt(q.shape[-1]) + bias
        return scores.softmax(-1) * readable

    def nearness(self, queries: TimedFrames, keys: TimedFrames) -> Tensor:
        """Compute how near in time the nearest frame of the other sequence is.

        Weights add up to 1 however far away the frames are, so that what is read does
        not show whether any is near.

        Parameters
        ----------
        queries, keys : TimedFrames
            As in `forward`.

        Returns
        -------
        tensor of shape (m, T_1, 2 * n_heads)
            ``exp(-b x^2)`` of each head, and x from -3 to 3, for the time difference
            x, after the offset and in units, to the nearest frame; zeros where the
            other sequence is missing.
        """
        times = keys.times.contiguous()  # those beyond the end repeat the last one
        last = times.shape[1] - 1
        features = []
        for penalty, offset in zip(self.penalty, self.offset, strict=True):
            at = queries.times - offset
            after = torch.searchsorted(times, at.detach().contiguous())
            sides = [
                (at - times.gather(1, side.clamp(0, last))) / self.unit
                for side in (after - 1, after)
            ]
            x = torch.where(sides[0].abs() < sides[1].abs(), *sides)
            features += [(-penalty * x.square()).exp(), x.clamp(-FAR_UNITS, FAR_UNITS)]
        return torch.stack(features, -1) * keys.observed.any(1)[:, None, None]

    def _read(self, queries: TimedFrames, keys: TimedFrames) -> Tensor:
        bias, readable = self._bias(queries, keys)
        read = F.scaled_dot_product_attention(
            self._heads(self.query, queries),
            self._heads(self.key, keys),
            self._heads(self.value, keys),
            attn_mask=bias,
        )
        any_readable = readable.any(-1).transpose(1, 2)  # (m, T_1, 1 or n_heads)
        by_head = read.transpose(1, 2) * any_readable[..., None]
        return self.out(by_head.flatten(2)) * any_readable.any(-1, keepdim=True)

    def _heads(self, layer: nn.Module, frames: TimedFrames) -> Tensor:
        """Map frames, and split the features by head: (m, n_heads, T, d)."""
        values = frames.values.masked_fill(~frames.observed[..., None], 0.0)
        return layer(values).unflatten(-1, (self.n_heads, -1)).transpose(1, 2)

    def _bias(self, queries: TimedFrames, keys: TimedFrames) -> tuple[Tensor, Tensor]:
        """Return what is added to scores, and which frames can be read."""
        differences = queries.times[:, None, :, None] - keys.times[:, None, None]
        differences = differences - self.offset[:, None, None]
        readable = keys.observed[:, None, None]
        if self.window is not None:
            readable = readable & (differences.abs() <= self.window)
        bias = -self.penalty[:, None, None] * (differences / self.unit).square()
        # finite: the weights of a frame that can read nothing would be NaN
        return bias.masked_fill(~readable, torch.finfo(bias.dtype).min), readable

    def _windows(
        self, queries: TimedFrames, keys: TimedFrames, window: float
    ) -> Iterator[tuple[TimedFrames, TimedFrames]]:
        """Pair blocks of queries with the frames in their windows."""
        n_frames = keys.observed.shape[1]
        times = keys.times.masked_fill(~keys.observed, math.inf).contiguous()
        offset = self.offset.detach()
        for start in range(0, queries.observed.shape[1], BLOCK_FRAMES):
            block = TimedFrames(*(x[:, start : start + BLOCK_FRAMES] for x in queries))
            first = block.times.amin(1, keepdim=True) - offset.max() - window
            last = block.times.amax(1, keepdim=True) - offset.min() + window
            begins = torch.searchsorted(times, first)
            ends = torch.searchsorted(times, last, right=True)
            width = max(1, int((ends - begins).max()))
            self._check_cells(queries, width)
            rows = begins + torch.arange(width, device=begins.device)
            own = keys.take(rows.clamp(max=n_frames - 1))
            yield block, own._replace(observed=own.observed & (rows < ends))

    def _check_cells(self, queries: TimedFrames, n_keys: int) -> None:
        """Refuse weights that would take too much memory."""
        m, n_frames = queries.observed.shape
        if (n_cells := m * self.n_heads * n_frames * n_keys) > LARGEST_CELLS:
            given = self.window is not None
            like = (
                f"smaller than {self.window:g}" if given else f"such as {self.unit:g}"
            )
            raise ValueError(
                f"attention of {n_frames} frames to {n_keys} in {m} samples has "
                f"{n_cells} weights, more than {LARGEST_CELLS}: give window, the "
                f"largest time difference of frames that are compared, {like}, "
                f"or train on smaller batches"
            )
