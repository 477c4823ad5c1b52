"""Network that labels the frames of sequences, trained by label sequences alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor, nn
from torch.nn import functional as F

from mmfusion.nn._attention import TimeAwareAttention, TimedFrames

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
        self.dropout = nn.Dropout(dropout)

    def forward(self, values: Tensor, observed: Tensor) -> Tensor:
        """Return hidden frames of shape (m, T, widths[-1])."""
        mask = observed[:, None]
        x = values.mT.masked_fill(~mask, 0.0)
        for layer in self.convolutions:
            y = self.dropout(F.gelu(layer(x))).masked_fill(~mask, 0.0)
            x = x + y if x.shape == y.shape else y
        return x.mT


class CTCNetwork(nn.Module):
    """Log-probabilities of labels and a blank at every frame of a clock.

    The frames of each modality are encoded in their context; at each frame of the
    clock, the others are read by time-aware attention, and added to what the first
    modality has there.

    Parameters
    ----------
    n_features : sequence of int
        Numbers of features of the frames of the modalities.
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
    """

    def __init__(
        self,
        n_features: Sequence[int],
        n_columns: int,
        widths: Sequence[int],
        contexts: Sequence[int],
        dropout: float,
        unit: float,
    ) -> None:
        super().__init__()
        self.n_features = list(n_features)
        width = widths[-1]
        self.encoders = nn.ModuleList(
            MaskedConvolutions(d, widths, context, dropout)
            for d, context in zip(n_features, contexts, strict=True)
        )
        self.attentions = nn.ModuleList(
            TimeAwareAttention(width, width, width, unit) for _ in n_features[1:]
        )
        self.fused = MaskedConvolutions(width, [width], contexts[0], dropout)
        self.last = nn.Linear(width, n_columns)

    def forward(self, clock: TimedFrames, inputs: Sequence[TimedFrames]) -> Tensor:
        """Compute log-probabilities.

        Parameters
        ----------
        clock : TimedFrames
            Times of the frames that have labels; the values are not used.
        inputs : sequence of TimedFrames
            Frames of the modalities. The first has the clock, or is missing.

        Returns
        -------
        tensor of shape (m, T, n_columns)
            Log-probabilities; without meaning beyond the ends of the clocks.
        """
        hidden = [
            own._replace(values=encoder(own.values, own.observed))
            for encoder, own in zip(self.encoders, inputs, strict=True)
        ]
        values = hidden[0].values
        queries = clock._replace(values=values)
        for attention, own in zip(self.attentions, hidden[1:], strict=True):
            values = values + attention(queries, own)
        values = self.fused(
            F.gelu(values) if len(hidden) > 1 else values, clock.observed
        )
        return self.last(values).log_softmax(-1)


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
