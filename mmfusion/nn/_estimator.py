"""The base of all deep estimators: data, restarts, checkpoints, outputs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from numbers import Integral
from typing import Any, ClassVar, Self

import joblib
import numpy as np
import torch
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted
from torch import nn
from torch.utils.data import Dataset

import mmfusion
from mmfusion._options import by_modality
from mmfusion._scaling import SCALINGS
from mmfusion._sklearn_compat import INTEGER, Interval, StrOptions, fit_context
from mmfusion._typing import (
    ByModality,
    ColumnSpecLike,
    EncodersLike,
    ModalitiesLike,
    RandomStateLike,
)
from mmfusion._validation import ModalityTags, refuse_empty_samples
from mmfusion._warnings import warn_user
from mmfusion.modalities import Modalities
from mmfusion.nn._callbacks import Report, describe_callbacks
from mmfusion.nn._chunks import ChunkLog
from mmfusion.nn._data import (
    Batches,
    Preparation,
    Rows,
    Targets,
    refuse_loader,
    spaced_rows,
)
from mmfusion.nn._decoders import make_decoders
from mmfusion.nn._distributed import broadcast, check_same, is_parallel
from mmfusion.nn._encoders import (
    check_encoder,
    encoders_by_modality,
    make_encoders,
)
from mmfusion.nn._isolation import LARGEST_SEED, drawing, isolated
from mmfusion.nn._net import DeepNet, Phase
from mmfusion.nn._network import FusionNetwork, Outputs
from mmfusion.nn._partial_fit import PartialFitMixin
from mmfusion.nn._restarts import TrainingPlan, run_restarts
from mmfusion.nn._state import to_arrays
from mmfusion.nn._storage import StoredNetworkMixin
from mmfusion.nn._trainer import (
    Trainer,
    TrainerParamsMixin,
    TrainingSettings,
    resolve_settings,
)
from mmfusion.nn._training import (
    DivergenceError,
    collect_outputs,
    divergence_remedy,
)

DEFAULT_BATCH_SIZE = 50
PROBE_ROWS = 8  # samples that stand for all where trainings or processes are compared


class DeepEstimator(
    PartialFitMixin,
    ClassNamePrefixFeaturesOutMixin,
    StoredNetworkMixin,
    TransformerMixin,
    TrainerParamsMixin,
):
    """An estimator that trains a network on modalities.

    A subclass has the constructor parameters `encoders`, `scaling`, `n_init`,
    `trainer`, `modalities` and `random_state`, and defines its network in
    `_make_network`, its training in `_make_phases`, and its predictions in `_examine`.
    """

    encoders: EncodersLike
    scaling: ByModality[str | None]
    n_init: int
    trainer: Trainer | None
    modalities: ColumnSpecLike
    random_state: RandomStateLike

    n_iter_: int
    phase_epochs_: dict[str, int]
    _seed: int
    _chunks: ChunkLog | None = None

    # value of every option that a Trainer may leave open
    _trainer_defaults: ClassVar[Mapping[str, Any]]
    # modules that have learning rates of their own
    _trained_modules: ClassVar[Sequence[str]] = ("network",)
    # criteria by which restarts and epochs may be compared
    _selection_criteria: ClassVar[Sequence[str]] = ("total",)
    # whether the last layer of encoders is linear, as in an autoencoder
    _linear_latents: ClassVar[bool] = False
    # what to change if every restart has problems
    _remedy: ClassVar[str] = "raise n_init"
    # fitted attributes: predictions of the training data, weights of the modalities
    _predictions_attribute: ClassVar[str | None] = None
    _weights_attribute: ClassVar[str] = "modality_weights_"

    _parameter_constraints: ClassVar[dict] = {
        "encoders": [None, Integral, list, tuple, dict, callable],
        "scaling": [StrOptions(set(SCALINGS)), None, dict],
        "n_init": [Interval(Integral, 1, None, closed="left")],
        "trainer": [Trainer, None],
        "modalities": ["array-like", str, dict, INTEGER, None],
        "random_state": ["random_state"],
    }

    # Hooks of subclasses

    @property
    def _n_restarts(self) -> int:
        """Number of trainings of which the best is kept."""
        return self.n_init

    @property
    def _takes_empty_samples(self) -> bool:
        """Whether a sample may lack every modality."""
        return False

    def _make_network(self, encoders: list[nn.Module], width: int) -> FusionNetwork:
        """Make the network from encoders with latents of one width."""
        raise NotImplementedError

    def _make_parts(self, network: FusionNetwork) -> dict[str, nn.Module]:
        """Make the modules that belong to the training only, such as discriminators."""
        return {}

    def _make_phases(self, n_samples: int, settings: TrainingSettings) -> list[Phase]:
        """Return the phases of the training, in order."""
        raise NotImplementedError

    def _examine(
        self, net: DeepNet, data: Batches
    ) -> tuple[np.ndarray | None, list[str]]:
        """Return predictions of the training data, and problems of the training."""
        return None, []

    def _read_blocks(self, frame: Modalities, *, reset: bool) -> Sequence[Any]:
        """Return the blocks that the network reads."""
        return frame.blocks

    def _make_targets(
        self, frame: Modalities, rows: Rows, y: Any, sample_weight: Any, *, reset: bool
    ) -> tuple[Rows, Targets | None]:
        """Check y; return the samples that count, and their targets."""
        return rows, None

    def _hold_out(
        self, data: Batches, random_state: np.random.RandomState
    ) -> tuple[Batches, Batches | None]:
        """Divide the samples into those for training and those for validation."""
        return data, None

    def _validated(self, net: DeepNet, validation: Batches) -> None:
        """Learn from the held-out samples, once the network is trained."""

    def _learned(self, net: DeepNet) -> dict[str, Any]:
        """Return the attributes of an estimator that is fitted to a net."""
        # partial_fit goes on with a net, whatever parameters have changed since
        is_new = self.__dict__.get("_net") is not net
        return {
            "_net": net,
            "_made_with": self._network_params() if is_new else self._made_with,
            "_n_features_out": net.module_.width,
            self._weights_attribute: net.module_.frozen.cpu().numpy().copy(),
            "history_": list(net.history),
            "n_iter_": len(net.history),
        }

    def _publish(self, net: DeepNet, predictions: np.ndarray | None) -> Self:
        """Set the fitted attributes."""
        if self._predictions_attribute is not None:
            setattr(self, self._predictions_attribute, predictions)
        self.__dict__ |= self._learned(net)
        return self

    def _check_n_samples(self, n_samples: int) -> None:
        """Refuse data of too few samples to be fitted."""
        if n_samples < 2:
            raise ValueError(f"n_samples={n_samples} should be at least 2")

    def _auto_batch_size(self) -> int:
        """Return the batch size that 'auto' stands for."""
        return DEFAULT_BATCH_SIZE

    # Training

    @fit_context(prefer_skip_nested_validation=False)
    @isolated()
    def fit(self, X: ModalitiesLike, y: object = None) -> Self:
        """Train the network.

        Parameters
        ----------
        X : list, dict, Modalities, torch Dataset, or array-like of shape \
                (n_samples, n_features)
            The data; see the user guide on input. Items of a Dataset are tuples or
            dicts with one array per modality.
        y : object, default=None
            Ignored.

        Returns
        -------
        self
            The fitted estimator.
        """
        return self._fit(X, y)

    def _fit(self, X: ModalitiesLike, y: Any, sample_weight: Any = None) -> Self:
        """Train the network, as `fit` does after the check of parameters."""
        settings = self._settings()
        settings.make_checkpoint_folder()
        self.__dict__.pop("_chunks", None)
        random_state = broadcast(check_random_state(self.random_state))
        frame, rows = self._checked_rows(X, reset=True)
        rows, targets = self._make_targets(frame, rows, y, sample_weight, reset=True)
        self._fit_preparation(frame, rows, targets)
        data = self._batches(rows, settings, targets)
        data, validation = self._hold_out(data, random_state)
        plan = self._plan(data, settings, random_state, validation)
        # scikit-learn's callbacks, from 1.9 on
        task = None
        if hasattr(self, "_init_callback_context"):
            task = self._init_callback_context(
                max_subtasks=len(plan.phases) * self._n_restarts,
                sequential_subtasks=False,
            ).call_on_fit_task_begin(estimator=self, X=X, y=y)
            plan.report = partial(Report, task, self, X, y, data, self._learned)
        best, self.init_scores_ = run_restarts(plan, settings.n_jobs)
        if best.net is None:
            raise DivergenceError(
                "a loss or the network became NaN or infinite in every restart: "
                f"{divergence_remedy(data)}"
            )
        if best.problems:
            warn_user(
                f"{type(self).__name__} is not healthy: {'; '.join(best.problems)}. "
                f"Remedies: {self._remedy}",
                ConvergenceWarning,
            )
        self.loss_ = best.score
        # a callback may have ended a phase
        done = Counter(epoch["phase"] for epoch in best.net.history)
        self.phase_epochs_ = {phase.name: done[phase.name] for phase in plan.phases}
        self._publish(best.net, best.predictions)
        if validation is not None:
            self._validated(best.net, validation)
        if task is not None:
            task.call_on_fit_task_end(
                estimator=self, X=X, y=y, reconstruction_attributes={}
            )
        return self

    def _plan(
        self,
        data: Batches,
        settings: TrainingSettings,
        random_state: np.random.RandomState,
        validation: Batches | None = None,
    ) -> TrainingPlan:
        """Plan the restarts of a fit."""
        self._check_encoders(data, settings)
        phases = self._make_phases(len(data), settings)
        if self._n_restarts > 1:
            phases = [part for phase in phases for part in phase.split()]
        seeds = random_state.randint(LARGEST_SEED, size=self._n_restarts)
        # a later partial_fit continues with them
        self._seed = int(seeds[0])
        phases = [
            replace(phase, sampler=phase.sampler.fit(data, random_state))
            if phase.n_epochs
            else phase
            for phase in phases
        ]
        fingerprints = []
        if settings.checkpoint_dir is not None:
            fingerprints = self._fingerprints(data, settings, phases, seeds)
        return TrainingPlan(
            phases=phases,
            make_net=self._make_net,
            examine=self._examine,
            data=data,
            validation=validation,
            settings=settings,
            seeds=seeds.tolist(),
            fingerprints=fingerprints,
            stoppers=describe_callbacks(
                [*settings.callbacks, *getattr(self, "_skl_callbacks", [])]
            ),
        )

    # Data and networks

    def _settings(self) -> TrainingSettings:
        """Return the options of the trainer, with the defaults of the method."""
        return resolve_settings(
            self.trainer,
            self._trainer_defaults,
            self._trained_modules,
            self._selection_criteria,
            self._auto_batch_size(),
        )

    def _rows(self, X: ModalitiesLike, *, reset: bool) -> Rows:
        """Validate X and return its rows."""
        return self._checked_rows(X, reset=reset)[1]

    def _checked_rows(
        self, X: ModalitiesLike, *, reset: bool
    ) -> tuple[Modalities, Rows]:
        """Validate X; return its frame, which for a Dataset is its first, and rows."""
        refuse_loader(X)
        if isinstance(X, Dataset):
            rows = Rows(X)
            frame = self._validate(rows.first(), reset=reset)
            rows.reorder(frame.names)
        else:
            frame = self._validate(X, reset=reset)
            if not self._takes_empty_samples:
                refuse_empty_samples(frame)
            rows = Rows(self._read_blocks(frame, reset=reset), frame.observed)
        if reset:
            self._check_n_samples(len(rows))
        return frame, rows

    def _fit_preparation(
        self, frame: Modalities, rows: Rows, targets: Targets | None
    ) -> None:
        """Fit the scaling to the samples that are trained on."""
        names = list(self.modality_names_in_)
        scalings = by_modality(self.scaling, names, "scaling", "auto")
        blocks = rows.blocks
        if isinstance(blocks, Dataset):
            blocks = frame.blocks
        shapes = [block.shape[1:] for block in blocks]
        names = [str(name) for name in names]
        weight = None if targets is None else targets.weights.double().numpy()
        sequences = [
            v for v, name in enumerate(names) if name in self._layout.sequences
        ]
        self._preparation = Preparation.fit(
            rows, scalings, shapes, names, weight, sequences
        )

    def _batches(
        self, rows: Rows, settings: TrainingSettings, targets: Targets | None = None
    ) -> Batches:
        """Make the batches of a training, of the same samples in every process."""
        if is_parallel():
            positions = spaced_rows(len(rows), PROBE_ROWS)
            check_same(joblib.hash([len(rows), rows.take(positions)]), "samples")
        return Batches(
            rows,
            self._preparation,
            settings.device,
            settings.full_dtype,
            targets=targets,
        )

    def _check_encoders(self, data: Batches, settings: TrainingSettings) -> None:
        """Check the output of encoders that users make for a batch."""
        names = self.modality_names_in_.tolist()
        options = encoders_by_modality(self.encoders, names)
        if not any(callable(option) for option in options):
            return
        module = self._make_net([]).module_
        inputs = data.batch(np.arange(len(data))[: settings.batch_size]).inputs
        for encoder, x, name in zip(module.encoders, inputs, names, strict=True):
            with drawing():
                check_encoder(encoder, x, module.width, name)

    def _make_net(self, callbacks: list[Any]) -> DeepNet:
        """Make a net, its weights drawn from the generator of `isolated`."""
        settings = self._settings()
        names = [str(name) for name in self.modality_names_in_]
        options = encoders_by_modality(self.encoders, names)
        shapes = self._preparation.shapes
        with drawing():
            encoders, width = self._make_encoders(options, shapes, names)
            network = self._make_network(encoders, width).to(settings.full_dtype)
            return DeepNet(
                network,
                parts=self._make_parts(network),
                separate=tuple(self._trained_modules),
                optimizer=settings.optimizer,
                weight_decay=settings.weight_decay,
                betas=settings.betas,
                clip_norm=settings.clip_norm,
                schedule=settings.lr_schedule,
                autocast=settings.autocast,
                device=settings.device,
                compile=settings.compile,
                batch_size=settings.batch_size,
                callbacks=callbacks,
                verbose=0,
            ).initialize()

    def _make_encoders(
        self,
        options: Sequence[Any],
        shapes: Sequence[tuple[int, ...]],
        names: Sequence[str],
    ) -> tuple[list[nn.Module], int]:
        """Make the encoders, with latents of one width."""
        return make_encoders(options, shapes, names, self._linear_latents)

    def _make_decoders(self, width: int) -> nn.ModuleList:
        """Make decoders that mirror the encoders, for `_make_network`."""
        names = [str(name) for name in self.modality_names_in_]
        options = encoders_by_modality(self.encoders, names)
        return make_decoders(options, width, self._preparation.shapes)

    def _fingerprints(
        self,
        data: Batches,
        settings: TrainingSettings,
        phases: list[Phase],
        seeds: np.ndarray,
    ) -> list[str]:
        """Hash, by phase, what a checkpoint must share with this fit to be resumed.

        That of a phase leaves out what only later ones use, so that a search over the
        options of a later phase resumes the earlier ones.
        """
        with isolated(int(seeds[0])), torch.no_grad():
            identity = self._identity(self._make_net([]).module_, data, settings)
        shared = [identity, seeds]
        described = [phase.description() for phase in phases]
        described[-1] += [settings.selection, settings.selection_every]
        return [
            joblib.hash([shared, described[: position + 1]])
            for position in range(len(phases))
        ]

    def _identity(
        self, module: FusionNetwork, data: Batches, settings: TrainingSettings
    ) -> list[Any]:
        """Return what two trainings share if they begin alike, but for their seeds."""
        # modules of one description and the same weights may compute other things
        probe = data.batch(np.arange(len(data))[:PROBE_ROWS])
        latents = module.encode(probe.inputs, probe.observed)
        return [
            mmfusion.__version__,
            torch.__version__,
            f"{type(self).__module__}.{type(self).__qualname__}",
            [str(name) for name in self.modality_names_in_],
            data.digest(),
            repr(self.scaling),
            str(module),
            list(to_arrays(module.state_dict()).items()),
            to_arrays(latents),
            settings.description(),
        ]

    # Outputs

    @isolated()
    def transform(self, X: ModalitiesLike) -> np.ndarray:
        """Fuse new samples.

        Parameters
        ----------
        X : list, dict, Modalities, torch Dataset, or array-like of shape \
                (n_samples, n_features)
            The data.

        Returns
        -------
        ndarray of shape (n_samples, latent_width)
            The fused latents.
        """
        return self._collect(X, lambda outputs: outputs.fused)[0]

    @isolated()
    def modality_latents(self, X: ModalitiesLike) -> dict[str, np.ndarray]:
        """Encode new samples, modality by modality.

        Parameters
        ----------
        X : list, dict, Modalities, torch Dataset, or array-like of shape \
                (n_samples, n_features)
            The data.

        Returns
        -------
        dict of str to ndarray of shape (n_samples, latent_width)
            Latents by modality; rows of samples that lack it are NaN. `transform`
            fuses them.
        """
        return self._collect_by_modality(X, lambda out: out.latents.movedim(0, 1))

    def _collect_by_modality(
        self, X: ModalitiesLike, read: Callable[[Outputs], torch.Tensor]
    ) -> dict[str, np.ndarray]:
        """Return what is read in shape (m, V, ...) by modality; NaN where missing."""
        return self._by_modality(*self._collect(X, read))

    def _by_modality(
        self, by_sample: np.ndarray, observed: np.ndarray | None
    ) -> dict[str, np.ndarray]:
        if observed is not None:
            by_sample[~observed] = np.nan
        names = self.modality_names_in_.tolist()
        return dict(zip(names, by_sample.swapaxes(0, 1), strict=True))

    def _collect(
        self, X: ModalitiesLike, read: Callable[[Outputs], torch.Tensor]
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Return something of the outputs for all samples, and what is observed."""
        check_is_fitted(self)
        rows = self._rows(X, reset=False)
        values = collect_outputs(self._net, rows, self._preparation, read, rows.dtype)
        return values, rows.observed

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "_net")  # other attributes are set before the training

    @property
    def module_(self) -> FusionNetwork:
        """The trained network."""
        check_is_fitted(self)
        return self._net.module_

    def __modality_tags__(self) -> ModalityTags:
        return ModalityTags(missing=True, sparse=True, images=True)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags
