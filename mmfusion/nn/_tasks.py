"""Tasks of a predictor: its loss, and how predictions are combined."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

SMALLEST_LOG_VARIANCE, LARGEST_LOG_VARIANCE = -10.0, 10.0


@dataclass(frozen=True)
class Task:
    """Loss of outputs, and the mean of predictions.

    Parameters
    ----------
    n_outputs : int
        Number of classes, labels or values of a sample.
    """

    n_outputs: int
    units_per_output: ClassVar[int] = 1

    @property
    def n_units(self) -> int:
        """Number of outputs of the network."""
        return self.n_outputs * self.units_per_output

    def losses(self, outputs: Tensor, values: Tensor) -> Tensor:
        """Compute the loss of every sample.

        Parameters
        ----------
        outputs : tensor of shape (..., m, n_units)
            Outputs of the network.
        values : tensor of shape (m,) or (m, n_outputs)
            Targets.

        Returns
        -------
        tensor of shape (..., m)
            The losses.
        """
        raise NotImplementedError

    def average(self, outputs: Tensor, weights: Tensor) -> Tensor:
        """Return outputs that stand for the weighted mean of predictions.

        Parameters
        ----------
        outputs : tensor of shape (s, ..., m, n_units)
            Outputs of s predictors.
        weights : tensor of shape (s, ..., m)
            Their weights, which add up to 1.

        Returns
        -------
        tensor of shape (..., m, n_units)
            The outputs of the mean.
        """
        raise NotImplementedError


class ClassTask(Task):
    """Cross-entropy of exclusive classes; the mean is that of probabilities."""

    def losses(self, outputs: Tensor, values: Tensor) -> Tensor:
        """Compute ``-log softmax(outputs)`` at the class of every sample."""
        at_class = values.expand(outputs.shape[:-1])[..., None, :]
        # samples last: along few classes, the rows of a softmax are too short to be
        # computed by vectors of the processor
        logs = outputs.mT.contiguous().log_softmax(-2)
        return -logs.gather(-2, at_class).squeeze(-2)

    def losses_of_unknown(self, outputs: Tensor) -> Tensor:
        """Compute the losses of samples of which all classes are equally likely."""
        return -outputs.log_softmax(-1).mean(-1)

    def average(self, outputs: Tensor, weights: Tensor) -> Tensor:
        """Return the logarithms of the mean probabilities."""
        logs = outputs.log_softmax(-1) + weights.log()[..., None]
        return logs.logsumexp(0)


class LabelTask(Task):
    """Cross-entropy of several labels, each 0 or 1, added up."""

    def losses(self, outputs: Tensor, values: Tensor) -> Tensor:
        """Compute the sum of the cross-entropies of all labels."""
        values = values.expand(outputs.shape)
        return F.binary_cross_entropy_with_logits(
            outputs, values, reduction="none"
        ).sum(-1)

    def losses_of_unknown(self, outputs: Tensor) -> Tensor:
        """Compute the losses of samples whose labels are equally likely 0 and 1."""
        return self.losses(outputs, outputs.new_tensor(0.5))

    def average(self, outputs: Tensor, weights: Tensor) -> Tensor:
        """Return the log-odds of the mean probabilities."""
        logs = weights.log()[..., None]
        yes = (F.logsigmoid(outputs) + logs).logsumexp(0)
        no = (F.logsigmoid(-outputs) + logs).logsumexp(0)
        return yes - no


class SquaredErrorTask(Task):
    """Mean squared error of values."""

    def losses(self, outputs: Tensor, values: Tensor) -> Tensor:
        """Compute the squared errors, averaged over the values of a sample."""
        return (outputs - values).square().mean(-1)

    def average(self, outputs: Tensor, weights: Tensor) -> Tensor:
        """Return the mean of the values."""
        return (weights[..., None] * outputs).sum(0)


class HuberTask(SquaredErrorTask):
    """Huber loss: quadratic for errors up to 1 standard deviation, then linear."""

    def losses(self, outputs: Tensor, values: Tensor) -> Tensor:
        """Compute the losses, averaged over the values of a sample."""
        values = values.expand(outputs.shape)
        return F.huber_loss(outputs, values, reduction="none").mean(-1)


class GaussianTask(Task):
    """Negative log-likelihood of Gaussians, whose variances are outputs, too."""

    units_per_output = 2

    def split(self, outputs: Tensor) -> tuple[Tensor, Tensor]:
        """Return the means and the logarithms of the variances."""
        mean, raw = outputs.chunk(2, -1)
        return mean, raw.clamp(SMALLEST_LOG_VARIANCE, LARGEST_LOG_VARIANCE)

    def losses(self, outputs: Tensor, values: Tensor) -> Tensor:
        """Compute the losses, averaged over the values of a sample."""
        mean, log_variance = self.split(outputs)
        squares = (mean - values).square() * torch.exp(-log_variance)
        return (squares + log_variance + math.log(2 * math.pi)).mean(-1) / 2

    def average(self, outputs: Tensor, weights: Tensor) -> Tensor:
        """Return mean and variance of the mixture of all Gaussians."""
        means, log_variances = self.split(outputs)
        weights = weights[..., None]
        mean = (weights * means).sum(0)
        # law of total variance: the mean of variances, and the variance of means
        spread = log_variances.exp() + (means - mean).square()
        return torch.cat([mean, (weights * spread).sum(0).log()], dim=-1)
