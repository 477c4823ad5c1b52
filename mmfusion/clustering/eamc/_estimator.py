"""EAMC: adversarial-attention network for multimodal clustering."""

from __future__ import annotations

import dataclasses
import math
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from functools import partial
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
from sklearn.utils import ClassifierTags, check_random_state
from sklearn.utils.validation import check_is_fitted
from skorch.callbacks import Callback
from torch.utils.data import Dataset

import mmfusion
from mmfusion._options import by_modality
from mmfusion._scaling import SCALINGS
from mmfusion._sklearn_compat import (
    INTEGER,
    CallbackSupportMixin,
    Interval,
    StrOptions,
    fit_context,
)
from mmfusion._validation import Layout, ModalityTags, refuse_empty_samples
from mmfusion.base import ModalityMixin
from mmfusion.metrics import modality_silhouette_score
from mmfusion.nn._callbacks import Report
from mmfusion.nn._data import Batches, Preparation, Rows, ShuffledBatches
from mmfusion.nn._devices import available_devices, resolve_device
from mmfusion.nn._distributed import from_first
from mmfusion.nn._encoders import check_encoder, latent_width, make_encoder
from mmfusion.nn._fusion import Fused, FusionNetwork
from mmfusion.nn._isolation import drawing, isolated
from mmfusion.nn._neighbors import NeighborPairs, neighbor_graphs
from mmfusion.nn._net import AdversarialNet
from mmfusion.nn._objective import Objective
from mmfusion.nn._restarts import Plan, run_restarts
from mmfusion.nn._sealed import read_sealed, write_sealed
from mmfusion.nn._state import net_state, set_net_state, to_arrays, to_tensors
from mmfusion.nn._training import (
    CHUNK_ROWS,
    DivergenceError,
    assign,
    begin,
    freeze_attention,
    keep_best_head,
    outputs,
)

N_CLUSTERS = 8  # that of scikit-learn's k-means
SEEDS = 2**31 - 2
NEIGHBOR_ROWS = 10_000  # samples among which neighbours are searched
AUTO_STEPS = 400  # batches that 'auto' epochs make at least
AUTO_EPOCHS = 10  # and epochs of the warm start


_positive = Interval(Real, 0, None, closed="neither")
_weight = Interval(Real, 0, None, closed="left")
_count = Interval(Integral, 1, None, closed="left")
_SHARE = Interval(Real, 0, 1, closed="left")
# parameters that do not change what is trained; seeds stand for random_state
_NOT_IN_CHECKPOINTS = {
    "callbacks",
    "checkpoint_dir",
    "checkpoint_every",
    "compile",
    "encoders",  # what they make is: factories need not pickle
    "n_jobs",
    "random_state",
    "verbose",
}
_NOT_OF_THE_NET = (_NOT_IN_CHECKPOINTS - {"compile", "encoders"}) | {"modalities"}
# attributes that are neither parameters nor learned
_SETTINGS = {"_sklearn_output_config", "_metadata_request", "_skl_callbacks"}
_KIND = "EAMCClusterer"
_OF_THE_GAME = {
    "adversarial_weight",
    "alternate",
    "attention_lr",
    "attention_reduction",
    "attention_temperature",
    "attention_weight",
    "discriminator_betas",
    "discriminator_lr",
    "discriminator_rest",
    "kernel_width",
    "lr",
    "max_epochs",
    "reference_modality",
    "reg_weight",
    "regularizer",
    "sc_weight",
    "selection",
    "selection_every",
    "sim_weight",
}


class EAMCClusterer(
    ClassNamePrefixFeaturesOutMixin,
    ModalityMixin,
    TransformerMixin,
    ClusterMixin,
    CallbackSupportMixin,
    BaseEstimator,
):
    """Cluster several modalities by an adversarial-attention network (EAMC).

    An encoder per modality brings it to a latent of one width. Attention weighs the
    modalities, their latents add up, and a clustering module assigns the sum to
    clusters. Discriminators that try to tell the modalities apart make the encoders
    bring them to one distribution. The network minimises

        sc_weight * D_sc + sim_weight * D_sim + reg_weight * D_reg
        + attention_weight * L_att + adversarial_weight * L_gen

    (Zhou and Shen 2020; the terms are spelt out in the user guide), from a warm start
    in which the nearest neighbours of each modality learn to share a cluster. The
    defaults are the method made stable; :meth:`paper` gives the method as printed.

    Parameters
    ----------
    n_clusters : int, default=None
        Number of clusters; None is 8, or in a comparison the number of classes.
    encoders : sequence of int, int, Module, callable or dict, default=None
        Encoder of each modality: widths of fully connected layers, of which the last
        is that of the latent (an int is one layer); a torch module, which is copied
        and must make one row of each sample; a factory that is called with the shape
        of a sample and returns a module, which is copied too; or a dict of these by
        modality. None is chosen by the shape:
        (200, 200, 128) for vectors, two convolutions and a layer of 128 for images of
        shape (channels, height, width).
    hidden_width : int, default=100
        Units of the hidden layer of the clustering module.
    scaling : {'auto', 'block', 'standard', 'l2'} or None or dict, default='auto'
        How each modality is scaled, as in `EarlyFusion`; then each gets a mean square
        of 1 per feature. None leaves it as it is.
    attention : bool, default=True
        Whether attention weighs the modalities. Without, they count the same.
    attention_temperature : float, default=1.0
        Temperature of the attention: two weights differ by a factor of at most
        ``exp(1 / attention_temperature)``.
    attention_weight : float, default=1.0
        Coefficient of L_att, the mismatch between the kernel of the fused latents and
        the weighted sum of those of the modalities. 0 leaves it out.
    attention_reduction : {'mean', 'sum'}, default='mean'
        L_att over the pairs of a batch; 'sum' is as printed, and grows with the batch.
    adversarial_weight : float, default=0.01
        Coefficient of L_gen, the part of the encoders in the game. 0 leaves the
        discriminators out.
    sc_weight : float, default=1.0
        Coefficient of D_sc, separation and compactness of clusters.
    sim_weight : float, default=1.0
        Coefficient of D_sim, closeness of assignments to the corners of the simplex.
    reg_weight : float, default=1.0
        Coefficient of D_reg, the regulariser.
    regularizer : {'confidence', 'balance'}, default='confidence'
        Form of D_reg: overlap of clusters, as printed, which asks for confidence only;
        or overlap of the assignments of samples, which is lowest for clusters of one
        size. Without a warm start clusters die under the first.
    kernel_width : float, default=0.15
        Variance of the Gaussian kernels, in median squared distances of a batch.
    reference_modality : int or str, default=0
        Position or name of the modality that is real to the discriminators.
    pretrain_epochs : 'auto' or int, default='auto'
        Epochs of the warm start; 'auto' is at least 10, and 400 batches. 0 starts the
        game from random weights, as the paper does.
    n_neighbors : int, default=10
        Neighbours of a sample in each modality, and in all side by side. Of more than
        10,000 samples, as many at random make the warm start.
    n_heads : int, default=8
        Clustering modules that compete in the warm start; the best is kept.
    size_weight : float, default=2.0
        Coefficient of equal cluster sizes at the begin of the warm start, over which it
        goes to 1. Lower it, to 1, where clusters are known to differ much in size.
    max_epochs : 'auto' or int, default='auto'
        Epochs of the game; 'auto' makes at least 400 batches.
    batch_size : 'auto' or int, default='auto'
        Samples of a batch; 'auto' is 50, or twice as many as clusters.
    pretrain_lr : float, default=0.002
        Learning rate of the warm start.
    lr : float, default=0.0005
        Learning rate of encoders and clustering module in the game.
    attention_lr : float, default=None
        Learning rate of the attention; None is that of the encoders.
    discriminator_lr : float, default=0.0001
        Learning rate of the discriminators.
    betas : pair of float, default=(0.95, 0.999)
        Of Adam, for encoders, attention and clustering module.
    discriminator_betas : pair of float, default=(0.5, 0.999)
        Of Adam, for the discriminators.
    lr_schedule : {'cosine', 'constant'}, default='cosine'
        'cosine' lowers the learning rates to a hundredth over each phase.
    clip_norm : float or None, default=5.0
        Largest norm of the gradient of encoders, attention and clustering module.
    alternate : bool, default=False
        Whether batches take turns, as in the paper: the network learns from one, the
        discriminators from the next. Otherwise both learn from every batch.
    discriminator_rest : float, default=0.5
        Discriminators skip batches on which their loss is below this share of that of
        guessing, so that they never win. 0 never skips.
    n_init : int, default=3
        Restarts. Warm starts are compared by how well neighbours agree, and the game
        is played from the best; from the next one only if it collapses. Without warm
        start whole trainings are compared by the loss that `selection` names.
    selection : {'clustering', 'total'}, default='clustering'
        Loss by which trainings, and epochs, are compared: D_sc, D_sim and D_reg alone,
        or everything, as the known implementation does.
    selection_every : int or None, default=None
        Epochs of the game between evaluations, of which the best is kept. None keeps
        the last epoch.
    device : str or torch.device, default='auto'
        Where to train; 'auto' is CUDA where there is one. One that torch cannot use
        is refused.
    dtype : {'float32', 'float64', 'bfloat16'}, default='float32'
        Type to train in; 'bfloat16' is mixed precision.
    compile : bool, default=False
        Whether the network goes through ``torch.compile``.
    callbacks : list of skorch callbacks, default=None
        Called in both phases. ``net.history[-1]`` holds the losses of an epoch. Those
        of scikit-learn, from 1.9 on, go to ``set_callbacks``.
    checkpoint_dir : str or Path, default=None
        Folder for checkpoints. A `fit` with the same parameters and data, by the same
        versions of mmfusion and torch, goes on from what it finds there, and ends as
        if it had not been interrupted. A damaged checkpoint is warned of and ignored.
    checkpoint_every : int, default=10
        Epochs between two checkpoints.
    n_jobs : int, default=None
        Restarts at a time, by joblib.
    modalities : int, list of int, str or dict, default=None
        Column spec that splits a plain 2-D X; None takes it as one modality. See
        :meth:`Modalities.from_table`.
    random_state : int, RandomState instance or None, default=None
        Seeds everything. Results do not depend on torch's global state, which is left
        as it was.
    verbose : int, default=0
        Whether to show a progress bar.

    Attributes
    ----------
    labels_ : ndarray of int of shape (n_samples,)
        Cluster of each sample.
    attention_weights_ : ndarray of shape (n_modalities,)
        Weight of each modality, frozen: their mean over the training data. Where a
        sample lacks modalities, those of the others are scaled to add up to 1.
    history_ : list of dict
        One entry per epoch, with the mean of every loss term.
    n_iter_ : int
        Epochs run, both phases.
    module_ : torch.nn.Module
        The trained network: its `encoders` in the order of the modalities, its
        `attention` (or None) and its clustering module, `heads`.
    loss_ : float
        The loss that `selection` names, after training.
    init_scores_ : list of float
        What restarts were compared by; lower is better.
    n_modalities_in_ : int
        Number of modalities seen in `fit`.
    modality_names_in_ : ndarray of str of shape (n_modalities,)
        Their names.
    n_features_per_modality_in_ : ndarray of int of shape (n_modalities,)
        Their numbers of features.
    n_features_in_ : int
        Number of features in all.
    feature_names_in_ : ndarray of str of shape (`n_features_in_`,)
        Names ``<modality>__<feature>``, if the input had names.

    Raises
    ------
    ValueError
        If there are fewer samples than clusters, a sample lacks every modality, a cell
        is NaN or infinite, the encoders make latents of different widths or that are
        not finite, torch cannot use `device`, or later input has other modalities or
        widths than `fit` saw, or values so far off that the network overflows.
    FloatingPointError
        If a loss became NaN or infinite in every restart. It is a ValueError, too.
    OSError
        If a checkpoint cannot be written. An older one is kept.

    Warns
    -----
    ConvergenceWarning
        If clusters are empty, or the discriminators have won, in every restart.
    UserWarning
        If a checkpoint is damaged. Its phase is trained anew.

    See Also
    --------
    EarlyFusionClusterer : Clusters the scaled concatenation; the baseline to beat.
    LateFusionClusterer : Clusters each modality, then finds a consensus.

    Notes
    -----
    `predict` runs in float64 with frozen attention and batch norm, so that what it
    says of a sample does not depend on the others. Time and memory of a batch grow
    with its size, times the number of modalities, times the square of the size for
    the kernels; memory does not grow with the number of samples for memmaps and
    Datasets, apart from the labels.

    On a CPU, everything runs on one thread, whatever torch is set to: how sums are
    split among threads changes their rounding, which training amplifies. `n_jobs`
    trains restarts at the same time, with the same result.

    Under ``torch.distributed`` (torchrun, accelerate launch) every process calls `fit`
    with the same data, and encodes its part of each batch; losses are those of the
    whole batch, and random states those of the first process.

    References
    ----------
    Zhou, R. and Shen, Y.-D. (2020). End-to-end adversarial-attention network for
    multi-modal clustering. CVPR, 14619-14628.

    Kampffmeyer, M. et al. (2019). Deep divergence-based approach to clustering.
    Neural Networks 113, 91-101 (the clustering module and its terms).

    Van Gansbeke, W. et al. (2020). SCAN: learning to classify images without labels.
    ECCV, 268-285 (the agreement of neighbours).

    Examples
    --------
    >>> from mmfusion import EAMCClusterer
    >>> from mmfusion.datasets import make_multimodal_blobs
    >>> X, y = make_multimodal_blobs(random_state=0)
    >>> clusterer = EAMCClusterer(
    ...     3, encoders=[16, 8], pretrain_epochs=10, max_epochs=5, random_state=0
    ... )
    >>> clusterer.fit_predict(X).shape
    (100,)
    >>> clusterer.predict_proba(X[:2]).shape
    (2, 3)
    >>> clusterer.transform(X[:2]).shape
    (2, 8)
    """

    _parameter_constraints: dict = {
        "n_clusters": [_count, None],
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
        "reference_modality": [str, INTEGER],
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
        "pretrain_lr": [_positive],
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
        "dtype": [StrOptions({"float32", "float64", "bfloat16"})],
        "compile": ["boolean"],
        "callbacks": [list, None],
        "checkpoint_dir": [str, Path, None],
        "checkpoint_every": [_count],
        "n_jobs": [INTEGER, None],
        "modalities": ["array-like", str, dict, INTEGER, None],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    n_iter_: int

    def __init__(
        self,
        n_clusters: int | None = None,
        *,
        encoders: Any = None,
        hidden_width: int = 100,
        scaling: Any = "auto",
        attention: bool = True,
        attention_temperature: float = 1.0,
        attention_weight: float = 1.0,
        attention_reduction: str = "mean",
        adversarial_weight: float = 0.01,
        sc_weight: float = 1.0,
        sim_weight: float = 1.0,
        reg_weight: float = 1.0,
        regularizer: str = "confidence",
        kernel_width: float = 0.15,
        reference_modality: Any = 0,
        pretrain_epochs: Any = "auto",
        n_neighbors: int = 10,
        n_heads: int = 8,
        size_weight: float = 2.0,
        max_epochs: Any = "auto",
        batch_size: Any = "auto",
        pretrain_lr: float = 2e-3,
        lr: float = 5e-4,
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
        self.pretrain_lr = pretrain_lr
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
    def paper(cls, n_clusters: int | None = None, **params: Any) -> EAMCClusterer:
        """Make the configuration of the paper, as far as it is known.

        Layers, optimisers, temperature, scales of the losses, alternation, clipping
        and selection are those of the paper and, where it is silent, of the
        implementation that its authors' code is known by. Scale images to [-1, 1]
        first. It is slow (20 runs of 500 epochs) and unstable; see the user guide.

        Parameters
        ----------
        n_clusters : int, default=None
            Number of clusters, as above.
        **params : dict
            Parameters to set otherwise.

        Returns
        -------
        EAMCClusterer
            Unfitted.
        """
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
    @isolated()
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
        self._check_params()
        rows, shapes = self._rows(X, reset=True)
        random_state = from_first(check_random_state(self.random_state))
        self._preparation = self._fit_preparation(rows, shapes)
        data = self._batches(rows)
        plan = self._plan(data, random_state)
        # scikit-learn's callbacks, from 1.9 on
        task = None
        if hasattr(self, "_init_callback_context"):
            task = self._init_callback_context(
                max_subtasks=2 * self.n_init, sequential_subtasks=False
            ).call_on_fit_task_begin(estimator=self, X=X, y=y)
            plan.report = partial(self._report, task, X, y, data)
        best, self.init_scores_ = run_restarts(plan, self.n_jobs)
        if best.net is None:
            raise DivergenceError(
                "a loss or the network became NaN or infinite in every restart: "
                f"{_remedy(data)}"
            )
        if best.problems:
            warnings.warn(
                f"EAMCClusterer is not healthy after {self.n_init} restarts: "
                f"{'; '.join(best.problems)}. Raise n_init, lower discriminator_lr or "
                "adversarial_weight, or ask for fewer clusters",
                ConvergenceWarning,
                stacklevel=4,
            )
        self.loss_ = best.score
        self._publish(best.net, best.labels)
        if task is not None:
            task.call_on_fit_task_end(
                estimator=self, X=X, y=y, reconstruction_attributes={}
            )
        return self

    def _report(
        self,
        task: Any,
        X: Any,
        y: Any,
        data: Batches,
        phase: str,
        position: int,
        n_epochs: int,
    ) -> Report:
        def fitted(net: AdversarialNet) -> dict[str, Any]:
            if phase == "game":
                freeze_attention(net, data)
            return self._fitted(net)

        training = task.subcontext(phase, task_id=position, max_subtasks=n_epochs)
        return Report(training, self, X, y, fitted)

    @fit_context(prefer_skip_nested_validation=False)
    @isolated()
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
        self._check_params()
        first = not hasattr(self, "_net")
        rows, shapes = self._rows(X, reset=first)
        if first:
            self._preparation = self._fit_preparation(rows, shapes)
            random_state = from_first(check_random_state(self.random_state))
            self._seed = int(random_state.randint(SEEDS))
            self._phases = self._epochs(len(rows))
        data = self._batches(rows)
        pretrain_epochs, max_epochs = self._phases
        done = self.n_iter_ if not first else 0
        with isolated(self._seed + done) as order:
            if first:
                self._check_encoders(data)
            net = self._make_net(self.callbacks or []) if first else self._net
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
        try:
            if not math.isfinite(net.history[-1]["train_loss"]):
                raise DivergenceError("a loss became NaN or infinite")
            labels = assign(net, rows, self._preparation)
        except DivergenceError as error:
            raise DivergenceError(
                f"training diverged in call {done + 1} of partial_fit ({error}): begin "
                f"again with a clone, and {_remedy(data)}"
            ) from error
        return self._publish(net, labels)

    def _rows(self, X: Any, *, reset: bool) -> tuple[Rows, list[tuple[int, ...]]]:
        """Check X and take it as rows; also the shape of a sample by modality."""
        if isinstance(X, Dataset):
            rows = Rows(X)
            frame = self._validate(rows.first(), reset=reset)
            rows.follow(frame.names)
        else:
            frame = self._validate(X, reset=reset)
            refuse_empty_samples(frame)
            rows = Rows(frame.blocks, frame.observed)
        shapes = [block.shape[1:] for block in frame.blocks]
        if reset and len(rows) < max(2, self._k):
            raise ValueError(
                f"n_samples={len(rows)} should be >= n_clusters={self._k}, and at "
                "least 2"
            )
        return rows, shapes

    @property
    def _k(self) -> int:
        return N_CLUSTERS if self.n_clusters is None else self.n_clusters

    def _check_params(self) -> None:
        """Check what scikit-learn's constraints cannot."""
        resolve_device(self.device)
        for name, constraints in self._parameter_constraints.items():
            value = getattr(self, name)
            real = constraints[0] in (_positive, _weight)
            if real and isinstance(value, int) and value > sys.float_info.max:
                raise ValueError(f"{name} is too large to be a float")
        for name in ("betas", "discriminator_betas"):
            pair = getattr(self, name)
            if len(pair) != 2 or not all(
                isinstance(beta, Real) and _SHARE.is_satisfied_by(beta) for beta in pair
            ):
                raise ValueError(f"{name}={pair!r} must be two numbers from [0, 1)")
        for callback in self.callbacks or []:
            named = isinstance(callback, tuple) and len(callback) == 2
            found = callback[1] if named else callback
            if not isinstance(found, Callback) and not (
                isinstance(found, type) and issubclass(found, Callback)
            ):
                raise TypeError(
                    f"callbacks holds {callback!r}, which is neither a skorch callback "
                    "nor a pair (name, callback); those of scikit-learn go to "
                    "set_callbacks"
                )
        if self.checkpoint_dir is not None:
            _check_folder(Path(self.checkpoint_dir))

    def _check_encoders(self, data: Batches) -> None:
        """Try encoders on a batch; those made from widths need no trial."""
        names = self.modality_names_in_.tolist()
        options = by_modality(self.encoders, names, "encoders")
        if not any(callable(option) for option in options):
            return
        net = self._make_net([])
        rows = np.arange(len(data))[: self._batch_size()]
        inputs, _ = data.batch(rows)
        for encoder, x, name in zip(net.module_.encoders, inputs, names, strict=True):
            with drawing():
                check_encoder(encoder, x, net.width, name)

    def _full_dtype(self) -> torch.dtype:
        return torch.float64 if self.dtype == "float64" else torch.float32

    def _fit_preparation(
        self, rows: Rows, shapes: list[tuple[int, ...]]
    ) -> Preparation:
        names = list(self.modality_names_in_)
        hows = by_modality(self.scaling, names, "scaling", "auto")
        return Preparation.fit(rows, hows, shapes, [str(name) for name in names])

    def _batches(self, rows: Rows) -> Batches:
        device = resolve_device(self.device)
        return Batches(rows, self._preparation, device, self._full_dtype())

    def _batch_size(self) -> int:
        """Small batches find better optima; large ones see every cluster."""
        if self.batch_size == "auto":
            return max(50, 2 * self._k)
        return self.batch_size

    def _epochs(self, n_samples: int) -> tuple[int, int]:
        """Spell 'auto' epochs out."""
        size = self._batch_size()
        pretrain_epochs, max_epochs = self.pretrain_epochs, self.max_epochs
        if pretrain_epochs == "auto":
            n_steps = max(1, min(n_samples, NEIGHBOR_ROWS) // size)
            pretrain_epochs = max(AUTO_EPOCHS, math.ceil(AUTO_STEPS / n_steps))
        if max_epochs == "auto":
            max_epochs = math.ceil(AUTO_STEPS / max(1, n_samples // size))
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
        self._check_encoders(data)
        pretrain_epochs, max_epochs = self._epochs(len(data))
        seeds = random_state.randint(SEEDS, size=self.n_init)
        # of a later partial_fit
        self._seed, self._phases = int(seeds[0]), (pretrain_epochs, max_epochs)
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
            fingerprints=self._fingerprints(data, seeds),
            verbose=bool(self.verbose),
        )

    def _fingerprints(self, data: Batches, seeds: np.ndarray) -> dict[str, str]:
        """What a checkpoint of each phase must share with this `fit` to be resumed.

        That of the warm start leaves out what only the game uses, so that trying
        several games starts them all from one.
        """
        if self.checkpoint_dir is None:
            return {}
        params = self.get_params(deep=False)
        given = {k: v for k, v in params.items() if k not in _NOT_IN_CHECKPOINTS}
        warm = {k: v for k, v in given.items() if k not in _OF_THE_GAME}
        with isolated(int(seeds[0])), torch.no_grad():
            module = self._make_net([]).module_
            # modules of one description and the same weights may compute other things
            latents = module.encode(*data.batch(np.arange(len(data))[:8]))
        weights = to_arrays(module.encoders.state_dict())
        shared = [
            mmfusion.__version__,
            torch.__version__,
            [str(name) for name in self.modality_names_in_],
            data.digest(),
            str(module.encoders),
            list(weights.items()),
            to_arrays(latents),
            seeds,
        ]
        return {
            phase: joblib.hash([counts, *shared])
            for phase, counts in (("warm start", warm), ("game", given))
        }

    def _make_net(self, callbacks: list[Any]) -> AdversarialNet:
        """Make a net, its weights drawn from the generator of `isolated`."""
        with drawing():
            return self._new_net(callbacks).initialize()

    def _new_net(self, callbacks: list[Any]) -> AdversarialNet:
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
        n_heads = self.n_heads if self.pretrain_epochs else 1
        try:
            network = FusionNetwork(
                encoders,
                widths[0],
                self._k,
                self.attention,
                float(self.attention_temperature),
                int(self.hidden_width),
                int(n_heads),
            )
        except (RuntimeError, OverflowError, TypeError) as error:
            raise ValueError(
                f"a network with hidden_width={self.hidden_width}, n_heads={n_heads} "
                f"and n_clusters={self._k} does not fit into memory; lower them"
            ) from error
        return AdversarialNet(
            network.to(self._full_dtype()),
            criterion=self._objective(),
            width=widths[0],
            pretrain_lr=float(self.pretrain_lr),
            lr=float(self.lr),
            attention_lr=float(self.attention_lr or self.lr),
            discriminator_lr=float(self.discriminator_lr),
            betas=tuple(map(float, self.betas)),
            discriminator_betas=tuple(map(float, self.discriminator_betas)),
            clip_norm=None if self.clip_norm is None else float(self.clip_norm),
            alternate=self.alternate,
            rest=self.discriminator_rest,
            schedule=self.lr_schedule,
            reference=self._reference(names),
            autocast=torch.bfloat16 if self.dtype == "bfloat16" else None,
            device=resolve_device(self.device),
            compile=self.compile,
            batch_size=self._batch_size(),
            callbacks=callbacks,
            verbose=0,
        )

    def _reference(self, names: list[str]) -> int:
        given = self.reference_modality
        if given in names:
            return names.index(given)
        positions = [p for p in range(-len(names), len(names)) if p == given]
        if isinstance(given, Integral) and positions:
            return positions[0] % len(names)
        raise ValueError(
            f"reference_modality={given!r} is neither the name nor the position of one "
            f"of the modalities {names}"
        )

    def _objective(self) -> Objective:
        return Objective(
            sc_weight=float(self.sc_weight),
            sim_weight=float(self.sim_weight),
            reg_weight=float(self.reg_weight),
            regularizer=self.regularizer,
            attention_weight=float(self.attention_weight),
            mean_attention=self.attention_reduction == "mean",
            adversarial_weight=float(self.adversarial_weight),
            kernel_width=float(self.kernel_width),
            size_weight=float(self.size_weight),
        )

    def _publish(self, net: AdversarialNet, labels: np.ndarray | None) -> Self:
        """Set the fitted attributes."""
        self.__dict__ |= self._fitted(net) | {"labels_": labels}
        return self

    def _fitted(self, net: AdversarialNet) -> dict[str, Any]:
        return {
            "_net": net,
            "_made_with": self._params_of_net(),
            "_n_features_out": net.width,
            "attention_weights_": net.module_.frozen.cpu().numpy().copy(),
            "history_": list(net.history),
            "n_iter_": len(net.history),
        }

    @isolated()
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
        check_is_fitted(self)
        rows, _ = self._rows(X, reset=False)
        return assign(self._net, rows, self._preparation)

    @isolated()
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
        return self._collect(X, lambda out: out.logits.softmax(1))[0]

    @isolated()
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
        return self._collect(X, lambda out: out.fused)[0]

    @isolated()
    def modality_latents(self, X: Any) -> dict[str, np.ndarray]:
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
            adds them up, weighted.
        """
        by_sample, observed = self._collect(X, lambda out: out.latents.movedim(0, 1))
        latents = by_sample.swapaxes(0, 1)
        if observed is not None:
            latents[~observed.T] = np.nan
        return dict(zip(self.modality_names_in_.tolist(), latents, strict=True))

    def _collect(
        self, X: Any, read: Callable[[Fused], torch.Tensor]
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Read something off the network's outputs, also which modalities it saw."""
        check_is_fitted(self)
        rows, _ = self._rows(X, reset=False)
        pieces = [
            read(out).cpu().numpy()
            for out in outputs(self._net, rows, self._preparation)
        ]
        with np.errstate(over="ignore"):
            values = np.concatenate(pieces).astype(rows.dtype, copy=False)
        if not np.isfinite(values).all():
            raise ValueError(
                f"what the network returns does not fit {rows.dtype}: give X as float64"
            )
        return values, rows.observed

    @isolated()
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
        return modality_silhouette_score(frame, self.predict(frame))

    # Storing

    @property
    def module_(self) -> FusionNetwork:
        """The trained network."""
        check_is_fitted(self)
        return self._net.module_

    def save_params(self, path: Any) -> None:
        """Save everything that was learned, without pickle.

        Parameters
        ----------
        path : str or path-like
            The file. It is replaced as a whole or, after an error, not at all.

        Raises
        ------
        OSError
            If the file cannot be written.

        See Also
        --------
        load_params : Take up what was saved.

        Examples
        --------
        >>> import tempfile
        >>> from pathlib import Path
        >>> from mmfusion import EAMCClusterer
        >>> from mmfusion.datasets import make_multimodal_blobs
        >>> X, y = make_multimodal_blobs(random_state=0)
        >>> clusterer = EAMCClusterer(
        ...     3, encoders=[16, 8], pretrain_epochs=10, max_epochs=5, random_state=0
        ... )
        >>> labels = clusterer.fit_predict(X)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     clusterer.save_params(Path(folder) / "clusterer.pt")
        ...     other = EAMCClusterer(3, encoders=[16, 8])
        ...     other = other.load_params(Path(folder) / "clusterer.pt")
        >>> bool((other.predict(X) == labels).all())
        True
        """
        check_is_fitted(self)
        stored = self.__getstate__()
        learned = {k: v for k, v in stored.items() if k in self._learned()}
        learned["_net"] = {k: v for k, v in stored["_net"].items() if k != "params"}
        learned["_layout"] = dataclasses.asdict(self._layout)
        del learned["_layout"]["as_given"]  # none: it takes numbers only
        write_sealed(path, {_KIND: to_tensors(learned)})

    @isolated()
    def load_params(self, path: Any) -> Self:
        """Take up what was learned by an estimator of the same parameters.

        Parameters
        ----------
        path : str or path-like
            A file that `save_params` wrote. It is read without running code.

        Returns
        -------
        self
            Fitted as the other was.

        Raises
        ------
        ValueError
            If the file is damaged or holds something else, or the parameters make a
            network of other layers. What was fitted before stays as it was.
        """
        try:
            content = read_sealed(path)
            if set(content) != {_KIND}:
                raise ValueError(f"it holds no parameters of {_KIND}")
            learned = to_arrays(content[_KIND])
            lacking = {"_net", "_preparation", "_layout"} - set(learned)
            if lacking:
                raise ValueError(f"it lacks {sorted(lacking)}")
            learned["_layout"] = Layout(**learned["_layout"])
            made = type(self)(**self.get_params(deep=False))
            made.__setstate__(vars(made) | learned)
        except ValueError as error:
            raise ValueError(
                f"cannot load parameters from {os.fspath(path)!r}: {error}"
            ) from error
        made._made_with = made._params_of_net()
        for name in self._learned():
            delattr(self, name)
        self.__dict__ |= {name: getattr(made, name) for name in made._learned()}
        return self

    def _learned(self) -> list[str]:
        """Names of all attributes that are no parameters or settings."""
        given = {*self.get_params(deep=False), *_SETTINGS}
        return [name for name in vars(self) if name not in given]

    def _params_of_net(self) -> dict[str, Any]:
        params = self.get_params(deep=False)
        return {k: v for k, v in params.items() if k not in _NOT_OF_THE_NET}

    def __getstate__(self) -> dict[str, Any]:
        """Return attributes, with arrays in place of networks."""
        state = dict(super().__getstate__())
        if "_net" not in state:
            return state
        # set_params may have changed them since
        state["_net"] = {"params": state["_made_with"]} | net_state(self._net)
        state["_preparation"] = self._preparation.get_state()
        return {k: v for k, v in state.items() if k != "_made_with"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Make the network of the arrays."""
        super().__setstate__(state)
        if "_net" not in state:
            return
        if not isinstance(state["_net"], dict):  # stored by an older version
            self._made_with = self._params_of_net()
            return
        self._preparation = Preparation.from_state(state["_preparation"])
        params = self.get_params(deep=False) | state["_net"].get("params", {})
        made = type(self)(**params)
        made.modality_names_in_ = self.modality_names_in_
        made._preparation = self._preparation
        if str(made.device) not in ("auto", *available_devices()):
            made.device = "cpu"
        with isolated():
            self._net = made._make_net(self.callbacks or [])
            set_net_state(self._net, state["_net"])
        self._made_with = state["_net"].get("params", {})

    def __modality_tags__(self) -> ModalityTags:
        return ModalityTags(missing=True, sparse=True, images=True)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        # scikit-learn's check of sparse input takes what has predict_proba for a
        # classifier, and asks this of it
        tags.classifier_tags = ClassifierTags(multi_class=self._k != 2)
        return tags


def _remedy(data: Batches) -> str:
    """Return what to do where a training diverges."""
    largest, name = max(
        (float(x.abs().max()), data.prepare.name(v))
        for _, (inputs, _) in data.chunks(CHUNK_ROWS)
        for v, x in enumerate(inputs)
    )
    return (
        "lower lr, pretrain_lr or the weights of the loss terms, set clip_norm, or "
        f"look for extreme values: the largest after scaling is {largest:.3g}, in "
        f"{name}"
    )


def _check_folder(folder: Path) -> None:
    """Make the folder of checkpoints."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        raise ValueError(
            f"checkpoint_dir={str(folder)!r} is no folder, and cannot be made one: "
            f"{error}"
        ) from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ValueError(f"checkpoint_dir={str(folder)!r} is not writable")
