"""EAMC: adversarial-attention network for multimodal clustering."""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Iterator, Sequence
from numbers import Integral, Real
from pathlib import Path
from typing import Any, Self

import joblib
import numpy as np
import torch
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    ClusterMixin,
    TransformerMixin,
)
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted
from torch.utils.data import Dataset

from mmfusion import _validation
from mmfusion._blocks import as_table
from mmfusion._columns import default_names
from mmfusion._options import by_modality
from mmfusion._scaling import SCALINGS
from mmfusion._sklearn_compat import Interval, StrOptions, fit_context
from mmfusion._validation import Layout, ModalityTags, refuse_empty_samples
from mmfusion.base import ModalityMixin
from mmfusion.metrics import modality_silhouette_score
from mmfusion.modalities import Modalities
from mmfusion.nn._data import Batches, Preparation, Rows, ShuffledBatches
from mmfusion.nn._encoders import latent_width, make_encoder
from mmfusion.nn._fusion import Fused, FusionNetwork
from mmfusion.nn._neighbors import NeighborPairs, neighbor_graphs
from mmfusion.nn._net import AdversarialNet
from mmfusion.nn._objective import Objective
from mmfusion.nn._restarts import Plan, run_restarts
from mmfusion.nn._training import (
    begin,
    freeze_attention,
    keep_best_head,
    outputs,
    own_random_state,
)

SEEDS = 2**31 - 2
NEIGHBOR_ROWS = 10_000  # samples among which neighbours are searched
AUTO_STEPS = 600  # batches that 'auto' epochs make at least

_positive = Interval(Real, 0, None, closed="neither")
_weight = Interval(Real, 0, None, closed="left")
_count = Interval(Integral, 1, None, closed="left")
_DTYPES = {
    "float32": torch.float32,
    "float64": torch.float64,
    "bfloat16": torch.bfloat16,
}


class EAMCClusterer(
    ClassNamePrefixFeaturesOutMixin,
    ModalityMixin,
    TransformerMixin,
    ClusterMixin,
    BaseEstimator,
):
    """TODO docstring."""

    _parameter_constraints: dict = {
        "n_clusters": [_count],
        "encoders": [None, Integral, list, tuple, dict, callable],
        "hidden_width": [_count],
        "scaling": [StrOptions(set(SCALINGS)), None, dict],
        "attention": ["boolean"],
        "attention_temperature": [_positive],
        "attention_weight": [_weight],
        "attention_reduction": [StrOptions({"mean", "sum"})],
        "adversarial_weight": [_weight],
        "sc_weight": [_weight],
        "sim_weight": [_weight],
        "reg_weight": [_weight],
        "regularizer": [StrOptions({"balance", "confidence"})],
        "kernel_width": [_positive],
        "reference_modality": [str, Integral],
        "pretrain_epochs": [
            StrOptions({"auto"}),
            Interval(Integral, 0, None, closed="left"),
        ],
        "n_neighbors": [_count],
        "n_heads": [_count],
        "size_weight": [_weight],
        "max_epochs": [
            StrOptions({"auto"}),
            Interval(Integral, 0, None, closed="left"),
        ],
        "batch_size": [
            StrOptions({"auto"}),
            Interval(Integral, 2, None, closed="left"),
        ],
        "lr": [_positive],
        "attention_lr": [_positive, None],
        "discriminator_lr": [_positive],
        "betas": [tuple, list],
        "discriminator_betas": [tuple, list],
        "lr_schedule": [StrOptions({"cosine", "constant"})],
        "clip_norm": [_positive, None],
        "alternate": ["boolean"],
        "discriminator_rest": [Interval(Real, 0, 1, closed="left")],
        "n_init": [_count],
        "selection": [StrOptions({"clustering", "total"})],
        "selection_every": [_count, None],
        "device": [str, torch.device],
        "dtype": [StrOptions(set(_DTYPES))],
        "compile": ["boolean"],
        "callbacks": [list, None],
        "checkpoint_dir": [str, Path, None],
        "checkpoint_every": [_count],
        "n_jobs": [Integral, None],
        "modalities": ["array-like", str, dict, Integral, None],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    n_iter_: int

    def __init__(
        self,
        n_clusters: int = 8,
        *,
        encoders: Any = None,
        hidden_width: int = 100,
        scaling: Any = "auto",
        attention: bool = True,
        attention_temperature: float = 1.0,
        attention_weight: float = 1.0,
        attention_reduction: str = "mean",
        adversarial_weight: float = 0.1,
        sc_weight: float = 1.0,
        sim_weight: float = 1.0,
        reg_weight: float = 1.0,
        regularizer: str = "balance",
        kernel_width: float = 0.15,
        reference_modality: Any = 0,
        pretrain_epochs: Any = "auto",
        n_neighbors: int = 10,
        n_heads: int = 8,
        size_weight: float = 2.0,
        max_epochs: Any = "auto",
        batch_size: Any = "auto",
        lr: float = 2e-3,
        attention_lr: float | None = None,
        discriminator_lr: float = 1e-4,
        betas: Sequence[float] = (0.95, 0.999),
        discriminator_betas: Sequence[float] = (0.5, 0.999),
        lr_schedule: str = "cosine",
        clip_norm: float | None = 5.0,
        alternate: bool = False,
        discriminator_rest: float = 0.5,
        n_init: int = 3,
        selection: str = "clustering",
        selection_every: int | None = None,
        device: Any = "auto",
        dtype: str = "float32",
        compile: bool = False,
        callbacks: list[Any] | None = None,
        checkpoint_dir: Any = None,
        checkpoint_every: int = 10,
        n_jobs: int | None = None,
        modalities: Any = None,
        random_state: Any = None,
        verbose: Any = 0,
    ) -> None:
        self.n_clusters = n_clusters
        self.encoders = encoders
        self.hidden_width = hidden_width
        self.scaling = scaling
        self.attention = attention
        self.attention_temperature = attention_temperature
        self.attention_weight = attention_weight
        self.attention_reduction = attention_reduction
        self.adversarial_weight = adversarial_weight
        self.sc_weight = sc_weight
        self.sim_weight = sim_weight
        self.reg_weight = reg_weight
        self.regularizer = regularizer
        self.kernel_width = kernel_width
        self.reference_modality = reference_modality
        self.pretrain_epochs = pretrain_epochs
        self.n_neighbors = n_neighbors
        self.n_heads = n_heads
        self.size_weight = size_weight
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.lr = lr
        self.attention_lr = attention_lr
        self.discriminator_lr = discriminator_lr
        self.betas = betas
        self.discriminator_betas = discriminator_betas
        self.lr_schedule = lr_schedule
        self.clip_norm = clip_norm
        self.alternate = alternate
        self.discriminator_rest = discriminator_rest
        self.n_init = n_init
        self.selection = selection
        self.selection_every = selection_every
        self.device = device
        self.dtype = dtype
        self.compile = compile
        self.callbacks = callbacks
        self.checkpoint_dir = checkpoint_dir
        self.checkpoint_every = checkpoint_every
        self.n_jobs = n_jobs
        self.modalities = modalities
        self.random_state = random_state
        self.verbose = verbose

    @classmethod
    def paper(cls, n_clusters: int = 8, **params: Any) -> EAMCClusterer:
        """Make the configuration of the paper, as far as it is known."""
        literal = dict(
            encoders=(200, 200, 500),
            scaling=None,
            attention_temperature=10.0,
            attention_reduction="sum",
            adversarial_weight=10.0,
            regularizer="confidence",
            pretrain_epochs=0,
            max_epochs=500,
            lr=1e-5,
            attention_lr=1e-4,
            discriminator_lr=1e-3,
            lr_schedule="constant",
            clip_norm=0.5,
            alternate=True,
            batch_size=100,
            discriminator_rest=0.0,
            n_init=20,
            selection="total",
            selection_every=5,
        )
        return cls(n_clusters, **(literal | params))

    @fit_context(prefer_skip_nested_validation=False)
    def fit(self, X: Any, y: Any = None) -> Self:
        """Train the network and cluster.

        Parameters
        ----------
        X : list, dict, Modalities, torch Dataset, or array-like of shape \
                (n_samples, n_features)
            The data; see the user guide on input. Items of a Dataset are tuples or
            dicts with one array per modality.
        y : object, default=None
            Not used.

        Returns
        -------
        self
            The fitted clusterer.
        """
        rows, shapes = self._rows(X, reset=True)
        random_state = check_random_state(self.random_state)
        self._preparation = self._fit_preparation(rows, shapes)
        data = self._batches(rows)
        plan = self._plan(data, random_state)
        best, self.init_scores_ = run_restarts(plan, self.n_jobs)
        if best.net is None:
            raise FloatingPointError(
                "a loss became NaN or infinite in every restart: lower lr, set "
                "clip_norm, or look for modalities of extreme values"
            )
        if best.problems:
            warnings.warn(
                f"EAMCClusterer is not healthy after {self.n_init} restarts: "
                f"{'; '.join(best.problems)}. Raise n_init, lower discriminator_lr or "
                "adversarial_weight, or ask for fewer clusters",
                ConvergenceWarning,
                stacklevel=3,
            )
        self.loss_ = best.score
        return self._publish(best.net, data)

    @fit_context(prefer_skip_nested_validation=False)
    def partial_fit(self, X: Any, y: Any = None) -> Self:
        """Train for one epoch on some of the data.

        The first `pretrain_epochs` calls are the warm start, later ones the game;
        learning rates fall over as many calls as `max_epochs` says. The scaling is
        that of the first call. There are no restarts.

        Parameters
        ----------
        X : list, dict, Modalities, torch Dataset, or array-like of shape \
                (n_samples, n_features)
            Some samples; not fewer than clusters in the first call.
        y : object, default=None
            Not used.

        Returns
        -------
        self
            The clusterer; `labels_` are those of these samples.
        """
        first = not hasattr(self, "_net")
        rows, shapes = self._rows(X, reset=first)
        if first:
            self._preparation = self._fit_preparation(rows, shapes)
            self._seed = int(check_random_state(self.random_state).randint(SEEDS))
        data = self._batches(rows)
        pretrain_epochs, max_epochs = self._epochs(len(data))
        done = self.n_iter_ if not first else 0
        with own_random_state(self._seed + done, data.device) as order:
            if first:
                self._net = self._make_net(self.callbacks or []).initialize()
            net = self._net
            if done < pretrain_epochs:
                some, graphs = self._neighbors(data, np.random.RandomState(self._seed))
                pairs = NeighborPairs(data, some, graphs, self._batch_size(), order)
                begin(net, "warm start", pretrain_epochs, done)
                net.partial_fit(pairs, epochs=1)
                if done + 1 == pretrain_epochs:
                    keep_best_head(net, pairs)
            else:
                begin(net, "game", max_epochs, done - pretrain_epochs)
                batches = ShuffledBatches(data, self._batch_size(), order)
                net.partial_fit(batches, epochs=1)
                freeze_attention(net, data)
        return self._publish(net, data)

    def _rows(self, X: Any, *, reset: bool) -> tuple[Rows, list[tuple[int, ...]]]:
        """Check X and take it as rows; also the shape of a sample by modality."""
        if isinstance(X, Dataset):
            rows = Rows(X)
            shapes = [block.shape[1:] for block in rows.take(np.arange(1))]
            widths = tuple(math.prod(shape) for shape in shapes)
            names = tuple(default_names(len(shapes)))
            layout = Layout(names, widths, (None,) * len(names))
            if reset:
                tags = self.__modality_tags__()
                _validation._set_layout(self, layout, tags, from_table=False)
            else:
                check_is_fitted(self)
                _validation._check_layout(self, layout)
        else:
            frame = self._validate(X, reset=reset)
            refuse_empty_samples(frame)
            rows = Rows(frame.blocks, frame.observed)
            shapes = [block.shape[1:] for block in frame.blocks]
        if reset and len(rows) < max(2, self.n_clusters):
            raise ValueError(
                f"n_samples={len(rows)} should be >= n_clusters={self.n_clusters}, and "
                "at least 2"
            )
        return rows, shapes

    def _full_dtype(self) -> torch.dtype:
        return torch.float64 if self.dtype == "float64" else torch.float32

    def _device(self) -> torch.device:
        if self.device != "auto":
            return torch.device(self.device)
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")

    def _fit_preparation(
        self, rows: Rows, shapes: list[tuple[int, ...]]
    ) -> Preparation:
        names = list(self.modality_names_in_)
        hows = by_modality(self.scaling, names, "scaling", "auto")
        return Preparation.fit(rows, hows, shapes)

    def _batches(self, rows: Rows) -> Batches:
        return Batches(rows, self._preparation, self._device(), self._full_dtype())

    def _batch_size(self) -> int:
        """Small batches find better optima; large ones see every cluster."""
        if self.batch_size == "auto":
            return max(50, 2 * self.n_clusters)
        return self.batch_size

    def _epochs(self, n_samples: int) -> tuple[int, int]:
        """Spell 'auto' epochs out."""
        auto = math.ceil(AUTO_STEPS / max(1, n_samples // self._batch_size()))
        asked = (self.pretrain_epochs, self.max_epochs)
        pretrain_epochs, max_epochs = (auto if e == "auto" else e for e in asked)
        return pretrain_epochs, max_epochs

    def _neighbors(
        self, data: Batches, random_state: np.random.RandomState
    ) -> tuple[np.ndarray, np.ndarray]:
        """Find the neighbours of all samples, or among some of very many."""
        rows = np.arange(len(data))
        if len(data) > NEIGHBOR_ROWS:
            rows = np.sort(random_state.permutation(len(data))[:NEIGHBOR_ROWS])
        inputs, observed = data.batch(rows)
        graphs = neighbor_graphs(
            [x.cpu().numpy() for x in inputs],
            None if observed is None else observed.cpu().numpy(),
            self.n_neighbors,
            self.n_jobs,
        )
        return rows, graphs

    def _plan(self, data: Batches, random_state: np.random.RandomState) -> Plan:
        pretrain_epochs, max_epochs = self._epochs(len(data))
        seeds = random_state.randint(SEEDS, size=self.n_init)
        self._seed = int(seeds[0])  # of a later partial_fit
        rows, graphs = np.arange(0), np.zeros((0, 0, 0), dtype=np.intp)
        if pretrain_epochs:
            rows, graphs = self._neighbors(data, random_state)
        return Plan(
            make_net=self._make_net,
            callbacks=self.callbacks or [],
            data=data,
            graph_rows=rows,
            graphs=graphs,
            batch_size=self._batch_size(),
            pretrain_epochs=pretrain_epochs,
            max_epochs=max_epochs,
            term=self.selection,
            selection_every=self.selection_every,
            seeds=seeds.tolist(),
            folder=None if self.checkpoint_dir is None else Path(self.checkpoint_dir),
            checkpoint_every=self.checkpoint_every,
            fingerprint=self._fingerprint(data, seeds),
            verbose=bool(self.verbose),
        )

    def _fingerprint(self, data: Batches, seeds: np.ndarray) -> str:
        """What a checkpoint must share with this `fit` to be resumed."""
        if self.checkpoint_dir is None:
            return ""
        unrelated = ("verbose", "n_jobs", "callbacks", "checkpoint_dir", "random_state")
        params = self.get_params(deep=False)
        given = {k: v for k, v in params.items() if k not in unrelated}
        some = np.linspace(0, len(data) - 1, min(len(data), 100)).astype(int)
        sample = [x.cpu().numpy() for x in data.batch(some).inputs]
        return joblib.hash([given, len(data), sample, seeds])

    def _make_net(self, callbacks: list[Any]) -> AdversarialNet:
        """Make a net, its weights drawn from torch's random state."""
        names = [str(name) for name in self.modality_names_in_]
        shapes = self._preparation.shapes
        options = by_modality(self.encoders, names, "encoders")
        encoders = [
            make_encoder(*each) for each in zip(options, shapes, names, strict=True)
        ]
        widths = [
            latent_width(*each) for each in zip(encoders, shapes, names, strict=True)
        ]
        if len(set(widths)) > 1:
            found = dict(zip(names, widths, strict=True))
            raise ValueError(
                f"the encoders make latents of different widths, {found}; fusion adds "
                "them up: give encoders of one width"
            )
        network = FusionNetwork(
            encoders,
            widths[0],
            self.n_clusters,
            self.attention,
            self.attention_temperature,
            self.hidden_width,
            self.n_heads if self.pretrain_epochs else 1,
        )
        return AdversarialNet(
            network.to(self._full_dtype()),
            criterion=self._objective(),
            width=widths[0],
            lr=self.lr,
            attention_lr=self.lr if self.attention_lr is None else self.attention_lr,
            discriminator_lr=self.discriminator_lr,
            betas=tuple(self.betas),
            discriminator_betas=tuple(self.discriminator_betas),
            clip_norm=self.clip_norm,
            alternate=self.alternate,
            rest=self.discriminator_rest,
            schedule=self.lr_schedule,
            reference=self._reference(names),
            autocast=torch.bfloat16 if self.dtype == "bfloat16" else None,
            device=self._device(),
            compile=self.compile,
            batch_size=self._batch_size(),
            callbacks=callbacks,
            verbose=0,
        )

    def _reference(self, names: list[str]) -> int:
        given = self.reference_modality
        if given in names:
            return names.index(given)
        if isinstance(given, Integral) and int(given) in range(-len(names), len(names)):
            return int(given) % len(names)
        raise ValueError(
            f"reference_modality={given!r} is neither the name nor the position of one "
            f"of the modalities {names}"
        )

    def _objective(self) -> Objective:
        return Objective(
            sc_weight=self.sc_weight,
            sim_weight=self.sim_weight,
            reg_weight=self.reg_weight,
            regularizer=self.regularizer,
            attention_weight=self.attention_weight,
            mean_attention=self.attention_reduction == "mean",
            adversarial_weight=self.adversarial_weight,
            kernel_width=self.kernel_width,
            size_weight=self.size_weight,
        )

    def _publish(self, net: AdversarialNet, data: Batches) -> Self:
        """Set the fitted attributes."""
        self._net = net
        self.history_ = list(net.history)
        self.n_iter_ = len(self.history_)
        self.attention_weights_ = net.module_.frozen.cpu().numpy().copy()
        self._n_features_out = net.width
        logits = [_first_head(out) for _, out in outputs(net.module_, data)]
        self.labels_ = torch.cat([x.argmax(1) for x in logits]).cpu().numpy()
        return self

    def predict(self, X: Any) -> np.ndarray:
        """Tell the cluster of new samples.

        Parameters
        ----------
        X : list, dict, Modalities, torch Dataset, or array-like of shape \
                (n_samples, n_features)
            The data.

        Returns
        -------
        ndarray of int of shape (n_samples,)
            Clusters.
        """
        _, said = self._said(X)
        return np.concatenate([_first_head(out).argmax(1).cpu() for out in said])

    def predict_proba(self, X: Any) -> np.ndarray:
        """Tell how much new samples belong to each cluster.

        Parameters
        ----------
        X : list, dict, Modalities, torch Dataset, or array-like of shape \
                (n_samples, n_features)
            The data.

        Returns
        -------
        ndarray of shape (n_samples, n_clusters)
            Soft assignment: rows add up to 1.
        """
        rows, said = self._said(X)
        pieces = [_first_head(out).softmax(1).cpu().numpy() for out in said]
        return np.concatenate(pieces).astype(rows.dtype, copy=False)

    def transform(self, X: Any) -> np.ndarray:
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
        rows, said = self._said(X)
        pieces = [out.fused.cpu().numpy() for out in said]
        return np.concatenate(pieces).astype(rows.dtype, copy=False)

    def _said(self, X: Any) -> tuple[Rows, Iterator[Any]]:
        """What the network says of X, in float64: no sample depends on another."""
        check_is_fitted(self)
        rows, _ = self._rows(X, reset=False)
        module = copy.deepcopy(self._net.module_).double()
        data = Batches(rows, self._preparation, module.frozen.device, torch.float64)
        return rows, (out for _, out in outputs(module, data))

    def score(self, X: Any, y: Any = None) -> float:
        """Score the clusters of samples without classes.

        It can be compared across parameters, as a search does; losses cannot.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The data.
        y : object, default=None
            Not used.

        Returns
        -------
        float
            Mean silhouette over the modalities, of at most 2000 samples.
        """
        check_is_fitted(self)
        frame = self._validate(X, reset=False)
        flat = Modalities(
            {name: as_table(b, name) for name, b in frame.to_dict().items()},
            observed=frame.observed,
        )
        return modality_silhouette_score(flat, self.predict(frame))

    def __modality_tags__(self) -> ModalityTags:
        return ModalityTags(missing=True, sparse=True, images=True)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


def _first_head(out: Fused) -> torch.Tensor:
    """The logits; of the first clustering module while several compete."""
    return out.logits if out.logits.ndim == 2 else out.logits[0]
