"""Training by calls with some of the samples, each for one epoch."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Self

import joblib
import numpy as np
import torch
from sklearn.utils import check_random_state

from mmfusion._sklearn_compat import fit_context
from mmfusion._typing import ModalitiesLike, RandomStateLike
from mmfusion.nn._checkpoint import Checkpoint
from mmfusion.nn._chunks import ChunkLog
from mmfusion.nn._data import Batches
from mmfusion.nn._distributed import broadcast
from mmfusion.nn._isolation import LARGEST_SEED, isolated
from mmfusion.nn._net import DeepNet, Phase, begin_phase
from mmfusion.nn._trainer import TrainingSettings
from mmfusion.nn._training import (
    DivergenceError,
    divergence_remedy,
    freeze_fusion_weights,
)


class PartialFitMixin:
    """Mixin of deep estimators with `partial_fit`."""

    random_state: RandomStateLike
    n_iter_: int
    phase_epochs_: dict[str, int]
    _seed: int
    _chunks: ChunkLog | None = None
    _net: DeepNet

    # steps of `fit`, see `DeepEstimator`
    _settings: Callable[[], TrainingSettings]
    _checked_rows: Callable[..., Any]
    _make_targets: Callable[..., Any]
    _fit_preparation: Callable[..., None]
    _make_phases: Callable[[int, TrainingSettings], list[Phase]]
    _batches: Callable[..., Batches]
    _check_encoders: Callable[[Batches, TrainingSettings], None]
    _make_net: Callable[[list[Any]], DeepNet]
    _examine: Callable[[DeepNet, Batches], tuple[np.ndarray | None, list[str]]]
    _identity: Callable[..., list[Any]]
    _publish: Callable[[DeepNet, np.ndarray | None], Self]

    @fit_context(prefer_skip_nested_validation=False)
    @isolated()
    def partial_fit(self, X: ModalitiesLike, y: object = None) -> Self:
        """Train for one epoch on some of the data.

        The calls run through the phases of the training, one epoch each; learning
        rates fall over as many calls as a phase has epochs, and the last phase takes
        all further calls. Number of epochs and scaling are those of the first call:
        `phase_epochs_` has the number of calls of each phase, the last entry of
        `history_` the phase of the last call, and with ``trainer__verbose=1`` a line
        is printed where a phase begins. There are no restarts.

        With ``trainer__checkpoint_dir``, every ``checkpoint_every`` calls are saved. A
        program that is run again after an interruption makes the same calls: those that
        the last checkpoint holds are not trained again, and the estimator is as it was
        at that checkpoint until they are over.

        Parameters
        ----------
        X : list, dict, Modalities, torch Dataset, or array-like of shape \
                (n_samples, n_features)
            Some samples; in the first call, enough for a fit.
        y : object, default=None
            Ignored.

        Returns
        -------
        self
            The estimator, with predictions of these samples. `loss_` and `init_scores_`
            remain those of `fit`, if there was one.
        """
        return self._fit_chunk(X, y)

    def _fit_chunk(self, X: ModalitiesLike, y: Any, sample_weight: Any = None) -> Self:
        """Train for one epoch, as `partial_fit` does after the check of parameters."""
        settings = self._settings()
        settings.make_checkpoint_folder()
        first = not hasattr(self, "_net")
        frame, rows = self._checked_rows(X, reset=first)
        rows, targets = self._make_targets(frame, rows, y, sample_weight, reset=first)
        if first:
            self._fit_preparation(frame, rows, targets)
        if len(rows) < 2:
            raise ValueError(
                "n_samples=1 cannot be trained on, since batch norm and the losses "
                "compare samples: give partial_fit two samples or more at a time"
            )
        phases = self._make_phases(len(rows), settings)
        if first:
            random_state = broadcast(check_random_state(self.random_state))
            self._seed = int(random_state.randint(LARGEST_SEED))
            self.phase_epochs_ = {phase.name: phase.n_epochs for phase in phases}
        data = self._batches(rows, settings, targets)
        n_calls = 0 if first else self.n_iter_
        with isolated(self._seed + n_calls) as order:
            if first:
                self._check_encoders(data, settings)
            net = self._make_net(settings.callbacks) if first else self._net
            is_repeated = self._is_repeated_call(net, phases, data, settings)
            if not is_repeated:
                self._train_epoch(net, phases, data, settings, n_calls, order)
        try:
            if not math.isfinite(net.history[-1].get("train_loss", 0.0)):
                raise DivergenceError("a loss became NaN or infinite")
            predictions, _ = self._examine(net, data)
        except DivergenceError as error:
            raise DivergenceError(
                f"training diverged in call {n_calls + 1} of partial_fit ({error}): "
                f"begin again with a clone, and {divergence_remedy(data)}"
            ) from error
        if self._chunks is not None and not is_repeated:
            self._chunks.save(net)
        return self._publish(net, predictions)

    def _is_repeated_call(
        self,
        net: DeepNet,
        phases: list[Phase],
        data: Batches,
        settings: TrainingSettings,
    ) -> bool:
        """Return whether a checkpoint holds this call; the first call resumes it."""
        folder = settings.checkpoint_dir
        if folder is None:
            self.__dict__.pop("_chunks", None)
            return False
        described = [phase.description() for phase in phases]
        digest = joblib.hash([data.digest(), settings.description(), described])
        if self._chunks is None or self._chunks.checkpoint.folder != folder:
            with torch.no_grad():
                identity = self._identity(net.module_, data, settings)
            started = [identity, self._seed, len(net.history), described]
            checkpoint = Checkpoint(folder, "chunks", joblib.hash(started))
            self._chunks = ChunkLog(checkpoint, settings.checkpoint_every)
            self._chunks.resume(net)
        return self._chunks.is_repeated(digest)

    def _train_epoch(
        self,
        net: DeepNet,
        phases: list[Phase],
        data: Batches,
        settings: TrainingSettings,
        n_calls: int,
        order: torch.Generator,
    ) -> None:
        """Train for the epoch that comes after some calls."""
        done, position = n_calls, 0
        n_epochs = [self.phase_epochs_[phase.name] for phase in phases]
        while position < len(phases) - 1 and done >= n_epochs[position]:
            done -= n_epochs[position]
            position += 1
        phase = replace(phases[position], n_epochs=n_epochs[position])
        if done == 0 and settings.verbose:
            kind = type(self).__name__
            print(f"[{kind}] call {n_calls + 1} of partial_fit begins {phase.name}")
        sampler = phase.sampler.fit(data, np.random.RandomState(self._seed))
        epoch = sampler.epoch(data, settings.batch_size, order)
        begin_phase(net, phase, done)
        net.partial_fit(epoch, epochs=1)
        if phase.learns_weights:
            freeze_fusion_weights(net, data)
        if done + 1 == phase.n_epochs and phase.compete is not None:
            phase.compete(net, epoch)
