"""Base of neural fusion: a classifier or regressor that trains a network."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from numbers import Integral, Real
from typing import Any

import numpy as np
import torch
from sklearn.model_selection import train_test_split
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn

from mmfusion._sklearn_compat import Interval, StrOptions
from mmfusion._target_checks import validate_sample_weight
from mmfusion._typing import ModalitiesLike
from mmfusion._validation import ModalityTags
from mmfusion.fusion._neural_sequences import SequencesMixin
from mmfusion.modalities import Modalities
from mmfusion.nn._cross_attention import CrossAttentionNetwork
from mmfusion.nn._data import Batches, Rows, Targets
from mmfusion.nn._encoders import check_common_width
from mmfusion.nn._isolation import isolated
from mmfusion.nn._member_encoders import make_member_encoder
from mmfusion.nn._members import redrawn
from mmfusion.nn._net import Phase
from mmfusion.nn._network import FusionNetwork
from mmfusion.nn._prediction import (
    PredictionNetwork,
    PredictionObjective,
    PredictionOutputs,
)
from mmfusion.nn._tasks import Task
from mmfusion.nn._trainer import TrainingSettings, auto_epochs
from mmfusion.nn.fusions import FUSIONS, CrossAttentionFusion, Fusion, MemberFusions

PREDICTOR_BATCH_SIZE = 64
FEWEST_EPOCHS = 15

_SHARE = Interval(Real, 0, 1, closed="left")
_WEIGHT = Interval(Real, 0, None, closed="left")

FusionLike = str | nn.Module | Callable[[int, int], nn.Module]


class NeuralFusionPredictor(SequencesMixin):
    """Base of estimators that predict y by a network of several modalities.

    A subclass encodes the target in `_encode_target`, and reads predictions.
    """

    fusion: FusionLike
    dropout: float
    modality_loss_weight: float
    modality_dropout: float
    modality_noise: float
    n_members: int
    validation_fraction: float
    on_empty: str

    _linear_latents = True
    _trainer_defaults = {
        "max_epochs": "auto",
        "batch_size": PREDICTOR_BATCH_SIZE,
        "lr": {"network": 2e-3},
        "betas": {"network": (0.9, 0.999)},
        "optimizer": torch.optim.AdamW,
        "weight_decay": 1e-2,
        "lr_schedule": "cosine",
        "clip_norm": 5.0,
        "selection": "total",
        "selection_every": 0,
    }
    _selection_criteria = ("total",)

    _parameter_constraints = {
        **SequencesMixin._parameter_constraints,
        "fusion": [StrOptions({*FUSIONS, "cross_attention"}), callable],
        "encoders": [None, Integral, str, list, tuple, dict, callable],
        "dropout": [_SHARE],
        "modality_loss_weight": [_WEIGHT],
        "modality_dropout": [_SHARE],
        "modality_noise": [Interval(Real, 0, 1, closed="both")],
        "n_members": [Interval(Integral, 1, None, closed="left")],
        "validation_fraction": [_SHARE],
        "on_empty": [StrOptions({"prior", "raise"})],
    }
    del _parameter_constraints["n_init"]

    # Hooks of subclasses

    def _encode_target(
        self, frame: Modalities, y: Any, weights: np.ndarray, *, reset: bool
    ) -> tuple[np.ndarray, np.ndarray]:
        """Check y; return positions of classes or values, and weights of samples."""
        raise NotImplementedError

    @property
    def _n_restarts(self) -> int:
        return 1  # members take their place

    @property
    def _takes_empty_samples(self) -> bool:
        return self.on_empty != "raise"

    @property
    def _task(self) -> Task:
        """The loss of the network, and the mean of its predictions."""
        raise NotImplementedError

    # Training

    def _make_targets(
        self, frame: Modalities, rows: Rows, y: Any, sample_weight: Any, *, reset: bool
    ) -> tuple[Rows, Targets]:
        if len(frame) != len(rows):  # the first item of a Dataset
            frame = Modalities([np.zeros((len(rows), 1))])
        weights = np.ones(len(frame))
        if sample_weight is not None:
            weights = validate_sample_weight(sample_weight, frame)
            # the loss is a mean; the largest weight fits any dtype, without rounding
            weights = np.ldexp(weights, -np.frexp(weights.max())[1])
        values, weights = self._encode_target(frame, y, weights, reset=reset)
        weights = weights * frame.observed.any(axis=1)
        counted = np.flatnonzero(weights > 0)
        if len(counted) < len(rows):
            rows = rows.subset(counted)
        values = values[counted]
        dtype = self._settings().full_dtype
        kind = torch.int64 if values.dtype.kind in "iu" else dtype
        return rows, Targets(
            torch.as_tensor(values, dtype=kind),
            torch.as_tensor(weights[counted], dtype=dtype),
        )

    def _hold_out(
        self, data: Batches, random_state: np.random.RandomState
    ) -> tuple[Batches, Batches | None]:
        if not self.validation_fraction:
            return data, None
        values = data.targets.values.cpu().numpy()  # type: ignore[union-attr]
        positions = np.arange(len(data))
        classes = values if values.dtype.kind in "iu" else None
        if classes is not None and np.bincount(classes).min() < 2:
            classes = None  # a class of one sample cannot be on both sides
        n_least = 1 if classes is None else int(classes.max()) + 1
        n_held_out = math.ceil(self.validation_fraction * len(data))
        if not n_least <= n_held_out <= len(data) - n_least:
            raise ValueError(
                f"validation_fraction={self.validation_fraction} holds out "
                f"{n_held_out} of {len(data)} samples; at least {n_least} must be held "
                "out, and as many trained on: give 0.5, or 0 to train on all"
            )
        parts = train_test_split(
            positions,
            test_size=n_held_out,
            random_state=random_state,
            stratify=classes,
        )
        training, validation = (self._part(data, np.sort(part)) for part in parts)
        return training, validation

    def _part(self, data: Batches, positions: np.ndarray) -> Batches:
        targets = Targets(*(target[positions] for target in data.targets or ()))
        rows = data.rows.subset(positions)
        return Batches(rows, data.prepare, data.device, data.dtype, targets=targets)

    def _auto_batch_size(self) -> int:
        return PREDICTOR_BATCH_SIZE

    def _settings(self) -> TrainingSettings:
        settings = super()._settings()
        if self.validation_fraction and not settings.selection_every:
            return replace(settings, selection_every=1)  # restores the best epoch
        return settings

    def _make_phases(self, n_samples: int, settings: TrainingSettings) -> list[Phase]:
        n_epochs = settings.max_epochs
        if n_epochs == "auto":
            n_epochs = auto_epochs(n_samples, settings.batch_size, FEWEST_EPOCHS)
        objective = PredictionObjective(
            modality_loss_weight=float(self.modality_loss_weight),
            modality_dropout=float(self.modality_dropout),
            modality_noise=float(self.modality_noise),
        )
        return [Phase("training", n_epochs, objective, settings.lr)]

    # The network

    def _make_encoders(
        self,
        options: Sequence[Any],
        shapes: Sequence[tuple[int, ...]],
        names: Sequence[str],
    ) -> tuple[list[nn.Module], int]:
        n_members = int(self.n_members)
        encoders = [
            make_member_encoder(*each, n_members)
            for each in zip(options, shapes, names, strict=True)
        ]
        width = check_common_width(encoders, options, shapes, names, n_members)
        return encoders, width

    def _make_network(self, encoders: list[nn.Module], width: int) -> FusionNetwork:
        fusion, fused_width = self._make_fusion(len(encoders), width // self.n_members)
        parts = encoders, fusion, fused_width, self._task, float(self.dropout)
        if self._attends:
            return CrossAttentionNetwork(*parts, self._attention_options())
        return PredictionNetwork(*parts)

    def _make_fusion(self, n_modalities: int, width: int) -> tuple[Fusion, int]:
        n_members, given = int(self.n_members), self.fusion
        if self._attends:
            return CrossAttentionFusion(n_modalities, n_members, width), width
        if isinstance(given, str):
            return FUSIONS[given](n_modalities, n_members, width), width
        if isinstance(given, nn.Module):
            make: Callable[[], Any] = partial(copy.deepcopy, given)
        else:
            make = partial(_call_factory, given, n_modalities, width)
        modules = [
            make() if n_members == 1 else redrawn(make) for _ in range(n_members)
        ]
        fusion = MemberFusions(modules, n_modalities, width)
        return fusion, _fused_width(fusion, n_modalities, width)

    # Outputs

    def _read(
        self, X: ModalitiesLike, read: Callable[[PredictionOutputs], Tensor], empty: Any
    ) -> np.ndarray:
        """Read outputs of all samples; those without any modality get `empty`."""
        values, observed = self._collect(X, read)  # type: ignore[arg-type]
        if observed is not None:
            values[~observed.any(axis=1)] = empty
        return values

    def _modality_outputs(
        self, X: ModalitiesLike, read: Callable[[Tensor], Tensor] = torch.clone
    ) -> tuple[np.ndarray, np.ndarray]:
        """Read the mean output of each modality's heads, and which are observed."""

        def of_modalities(outputs: PredictionOutputs) -> Tensor:
            by_member = outputs.by_modality.transpose(0, 1)
            equal = torch.full_like(by_member[..., 0], 1 / len(by_member))
            return read(self._task.average(by_member, equal)).movedim(0, 1)

        values, observed = self._collect(X, of_modalities)  # type: ignore[arg-type]
        if observed is None:
            observed = np.ones(values.shape[:2], dtype=bool)
        return values, observed

    def __modality_tags__(self) -> ModalityTags:
        return replace(super().__modality_tags__(), sequences="beside_images")

    @isolated()
    def modality_gates(self, X: ModalitiesLike) -> np.ndarray:
        """Compute how much each modality of new samples counts in the fusion.

        Parameters
        ----------
        X : list, dict, Modalities, torch Dataset, or array-like of shape \
                (n_samples, n_features)
            The data.

        Returns
        -------
        ndarray of shape (n_samples, n_modalities)
            Mean gate or attention of each modality, scaled to add up to 1; 0 where it
            is missing. Fusions without gates count what is observed equally.
        """
        check_is_fitted(self)
        return self._read(X, lambda outputs: outputs.gates, 0.0)


def _call_factory(factory: Callable[[int, int], Any], *shape: int) -> nn.Module:
    module = factory(*shape)
    if not isinstance(module, nn.Module):
        raise ValueError(
            f"the factory in fusion returned a {type(module).__name__}; it must return "
            "a torch module"
        )
    return module


def _fused_width(fusion: Fusion, n_modalities: int, width: int) -> int:
    """Find the width of fused latents, for two samples of zeros."""
    latents = torch.zeros((n_modalities, fusion.n_members, 2, width))
    try:
        with torch.no_grad():
            fused: Any = fusion.eval()(latents, torch.ones((2, n_modalities)))
    except Exception as error:
        raise ValueError(
            f"the module in fusion, given latents of shape {(n_modalities, 2, width)} "
            f"and what is observed, raised {type(error).__name__}: {error}"
        ) from error
    finally:
        fusion.train()
    if fused.ndim != 3 or fused.shape[1] != 2:
        raise ValueError(
            f"the module in fusion returns {tuple(fused.shape[1:])} for 2 samples; it "
            "must return one row for each"
        )
    return int(fused.shape[-1])
