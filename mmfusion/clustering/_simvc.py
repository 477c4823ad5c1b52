"""SiMVC and CoMVC: deep clustering with learned fusion weights, and alignment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from numbers import Integral, Real
from typing import Any

import torch
from torch import Tensor, nn

from mmfusion._sklearn_compat import Interval
from mmfusion._typing import ByModality, ColumnSpecLike, EncodersLike, RandomStateLike
from mmfusion.clustering._deep_base import BaseDeepClusterer, refuses_sizes
from mmfusion.clustering._terms import CLUSTERING_TERMS, clustering_terms
from mmfusion.nn._net import DeepNet, EncodedBatch, Objective, Phase
from mmfusion.nn._network import ClusteringHeads, FusionNetwork
from mmfusion.nn._reconstruction import reconstruct
from mmfusion.nn._trainer import Trainer, TrainingSettings, auto_epochs
from mmfusion.nn.losses import contrastive_loss

_WEIGHT = Interval(Real, 0, None, closed="left")
_POSITIVE = Interval(Real, 0, None, closed="neither")


class WeightedFusionNetwork(FusionNetwork):
    """Network that fuses latents by ``softmax(w)`` of free parameters w.

    Parameters
    ----------
    encoders : sequence of Module
        Encoder of each modality, with latents of one width.
    width : int
        Width d of a latent.
    heads : ClusteringHeads
        Clustering head.
    decoders : ModuleList, default=None
        Decoder of each modality.
    """

    def __init__(
        self,
        encoders: Sequence[nn.Module],
        width: int,
        heads: ClusteringHeads,
        decoders: nn.ModuleList | None = None,
    ) -> None:
        super().__init__(encoders, width, heads, decoders)
        self.fusion_logits = nn.Parameter(torch.zeros(len(encoders)))

    def weigh(self, latents: Tensor, observed: Tensor | None) -> Tensor:
        """Return the weights of the modalities, which do not depend on the batch."""
        return self.fusion_logits.softmax(0)


@dataclass(frozen=True, kw_only=True)
class AlignmentObjective(Objective):
    """Objective of latents alone, by which CoMVC with decoders is pretrained.

    Parameters
    ----------
    contrastive_weight : float, default=0.0
        Weight of the contrastive loss.
    temperature : float, default=0.1
        Temperature of the contrastive loss.
    reconstruction_weight : float, default=0.0
        Weight of the reconstruction loss.
    """

    contrastive_weight: float = 0.0
    temperature: float = 0.1
    reconstruction_weight: float = 0.0

    def weights(self, progress: float) -> dict[str, float]:
        """Return the weights of all terms; they do not change during the phase."""
        return {
            "contrastive": self.contrastive_weight,
            "reconstruction": self.reconstruction_weight,
        }

    def terms(self, net: DeepNet, batch: EncodedBatch) -> dict[str, Tensor]:
        """Compute the contrastive and the reconstruction loss."""
        terms = {}
        if self.contrastive_weight:
            # detached, since the loss would otherwise drive the lowest weight to 0
            lowest = net.module_.weigh(batch.latents, batch.observed).detach().min()
            loss = contrastive_loss(batch.latents, self.temperature, batch.observed)
            terms["contrastive"] = lowest * loss
        if self.reconstruction_weight:
            terms["reconstruction"] = reconstruct(net, batch)
        return terms


@dataclass(frozen=True, kw_only=True)
class WeightedFusionObjective(AlignmentObjective):
    """Objective of SiMVC and, with a contrastive weight, of CoMVC.

    Parameters other than these are those of `AlignmentObjective`.

    Parameters
    ----------
    separation_weight, simplex_weight, balance_weight : float
        Weights of the clustering terms, see `clustering_terms`.
    kernel_width : float
        Variance of the kernel, in median squared distances.
    """

    separation_weight: float
    simplex_weight: float
    balance_weight: float
    kernel_width: float

    criteria = {"clustering": CLUSTERING_TERMS}

    def weights(self, progress: float) -> dict[str, float]:
        """Return the weights of all terms; they do not change during the phase."""
        return super().weights(progress) | {
            "separation": self.separation_weight,
            "simplex": self.simplex_weight,
            "balance": self.balance_weight,
        }

    def terms(self, net: DeepNet, batch: EncodedBatch) -> dict[str, Tensor]:
        """Compute the clustering terms, and those of latents alone."""
        outputs = net.fuse(batch.latents, batch.observed)
        weights = self.weights(1.0)
        terms = clustering_terms(
            outputs.hidden, outputs.logits, weights, self.kernel_width
        )
        return terms | super().terms(net, batch)

    def losses(self, net: DeepNet, batch: EncodedBatch) -> dict[str, Tensor]:
        """Compute every loss, among them D_sc, the criterion, whatever its weight."""
        losses = super().losses(net, batch)
        if self.separation_weight:
            return losses
        outputs = net.fuse(batch.latents, batch.observed)
        weights = {"separation": 1.0}
        return losses | clustering_terms(
            outputs.hidden, outputs.logits, weights, self.kernel_width
        )


class SiMVCClusterer(BaseDeepClusterer):
    """Cluster several modalities by learned fusion weights alone (SiMVC).

    The network minimises ::

        separation_weight * D_sc + simplex_weight * D_sim + balance_weight * D_bal

    over the soft assignment ``A = softmax(head(sum_v softmax(w)_v E_v(x_v)))``, with an
    encoder E_v of each modality and one free parameter w_v for its weight (Trosten et
    al. 2021). With the Gaussian kernel K of the hidden layer of the head,
    ``N = M' K M`` and ``d(M) = 2 / (k (k - 1)) sum_{i<j} N_ij / sqrt(N_ii N_jj)``,
    these are the overlap of clusters ``D_sc = d(A)``, that of their closeness to the
    corners of the simplex ``D_sim = d(exp(-||a_q - e_i||^2))``, and the balance of
    cluster sizes ``D_bal = 2 / (m (m - 1)) sum_{q<r} (A A')_qr`` in a batch of m
    samples: deep divergence-based clustering (Kampffmeyer et al. 2019) of the fused
    latents. Nothing aligns the latents of the modalities; `CoMVCClusterer` does.

    Parameters
    ----------
    n_clusters : int, default=None
        Number of clusters; None is 8, or in a comparison the number of classes.
    encoders : sequence of int, int, Module, callable, dict or list, \
            default=(512, 512, 256)
        Encoder of each modality: widths of fully connected layers, of which the last
        is that of the latent (an int is one layer); a torch module, which is copied
        and must return one row per sample; a factory that is called with the shape of
        a sample and returns a module, which is copied too; or a dict of these by
        modality, or a list of them by position. Of images (channels, height, width),
        the encoder has two convolutions and a layer of the last width. None depends on
        the shape, see `EAMCClusterer`.
    hidden_width : int, default=100
        Number of units of the hidden layer of the clustering heads.
    scaling : {'auto', 'block', 'standard', 'l2'} or None or dict, default='auto'
        Scaling of each modality, as in `EarlyFusion`, followed by one factor that
        makes its mean square 1 per feature. None leaves the modality as it is.
    separation_weight : float, default=1.0
        Weight of D_sc, the separation and compactness of clusters.
    simplex_weight : float, default=1.0
        Weight of D_sim, the closeness of assignments to the corners of the simplex.
    balance_weight : float, default=1.0
        Weight of D_bal: overlap of the assignments of samples, which is lowest for
        clusters of one size.
    kernel_width : float, default=0.15
        Variance of the Gaussian kernels, in median squared distances of a batch.
    n_init : int, default=3
        Number of restarts. One without empty clusters is kept, if there is any, and of
        several the one of the lowest criterion of selection; a lower criterion alone
        does not mean better clusters.
    trainer : Trainer, default=None
        Options of the training. What it leaves open is, by default, ``max_epochs=100,
        batch_size=100, lr={'network': 0.001}, lr_schedule='constant', clip_norm=5.0,
        selection='separation', selection_every=4``, and Adam. There is no pretraining
        and there are no discriminators: their options are refused. The criteria are
        'separation', D_sc alone; 'clustering', the clustering terms; and 'total'.
    modalities : int, list of int, str or dict, default=None
        Column spec that splits a plain 2-D X; None takes it as one modality. See
        :meth:`Modalities.from_table`.
    random_state : int, RandomState instance or None, default=None
        Seed of everything that is drawn. Results do not depend on torch's global
        state, and leave it unchanged.

    Attributes
    ----------
    labels_ : ndarray of int of shape (n_samples,)
        Cluster of each sample.
    modality_weights_ : ndarray of shape (n_modalities,)
        Weight ``softmax(w)_v`` of each modality. Where a sample lacks modalities,
        those of the others are scaled to add up to 1.
    history_ : list of dict
        One entry per epoch, with its phase and the mean of every loss term.
    n_iter_ : int
        Number of epochs of all phases.
    phase_epochs_ : dict of str to int
        Number of epochs of each phase, in order; of `partial_fit`, number of calls.
    module_ : torch.nn.Module
        The trained network: its `encoders` in the order of the modalities, its
        `fusion_logits` w and its clustering head, `heads`.
    loss_ : float
        Value of the criterion of selection after training.
    init_scores_ : list of float
        Scores by which restarts were compared; lower is better.
    n_modalities_in_ : int
        Number of modalities seen in `fit`.
    modality_names_in_ : ndarray of str of shape (n_modalities,)
        Names of the modalities.
    n_features_per_modality_in_ : ndarray of int of shape (n_modalities,)
        Number of features of each modality.
    n_features_in_ : int
        Total number of features.
    feature_names_in_ : ndarray of str of shape (`n_features_in_`,)
        Names ``<modality>__<feature>``, if the input had names.

    Raises
    ------
    ValueError
        If there are fewer samples than clusters, a sample lacks every modality, a cell
        is NaN or infinite, the encoders make latents of different widths or that are
        not finite, torch cannot use the device, or later input has other modalities or
        widths than `fit` saw, or values so far off that the network overflows.
    FloatingPointError
        If a loss became NaN or infinite in every restart. It is a ValueError, too.

    Warns
    -----
    ConvergenceWarning
        If clusters are empty in every restart.

    See Also
    --------
    CoMVCClusterer : Aligns the latents of the modalities, too.
    EAMCClusterer : Weighs modalities by attention, and has a pretraining.
    Trainer : Options of the training.

    Notes
    -----
    The published code scales features to [0, 1]; here `scaling` applies. It compares
    epochs by their mean D_sc over the whole data, as here, and reports the best of 20
    restarts. Classes are not used at any point.

    References
    ----------
    Trosten, D. J., Løkse, S., Jenssen, R. and Kampffmeyer, M. (2021). Reconsidering
    representation alignment for multi-view clustering. CVPR, 1255-1265.

    Kampffmeyer, M. et al. (2019). Deep divergence-based approach to clustering.
    Neural Networks 113, 91-101 (the clustering head and its terms).

    Examples
    --------
    >>> from mmfusion import SiMVCClusterer, Trainer
    >>> from mmfusion.datasets import make_multimodal_blobs
    >>> X, y = make_multimodal_blobs(random_state=0)
    >>> clusterer = SiMVCClusterer(
    ...     3, encoders=[16, 8], trainer=Trainer(max_epochs=20), random_state=0
    ... )
    >>> clusterer.fit_predict(X).shape
    (100,)
    >>> print(f"{clusterer.modality_weights_.sum():.2f}")
    1.00
    """

    _trainer_defaults = {
        "max_epochs": 100,
        "batch_size": 100,
        "lr": {"network": 1e-3},
        "betas": {"network": (0.9, 0.999)},
        "lr_schedule": "constant",
        "clip_norm": 5.0,
        "selection": "separation",
        "selection_every": 4,
    }
    _selection_criteria = ("separation", "clustering", "total")

    _parameter_constraints = {
        **BaseDeepClusterer._parameter_constraints,
        "hidden_width": [Interval(Integral, 1, None, closed="left")],
        "separation_weight": [_WEIGHT],
        "simplex_weight": [_WEIGHT],
        "balance_weight": [_WEIGHT],
        "kernel_width": [_POSITIVE],
    }

    def __init__(
        self,
        n_clusters: int | None = None,
        *,
        encoders: EncodersLike = (512, 512, 256),
        hidden_width: int = 100,
        scaling: ByModality[str | None] = "auto",
        separation_weight: float = 1.0,
        simplex_weight: float = 1.0,
        balance_weight: float = 1.0,
        kernel_width: float = 0.15,
        n_init: int = 3,
        trainer: Trainer | None = None,
        modalities: ColumnSpecLike = None,
        random_state: RandomStateLike = None,
    ) -> None:
        self.n_clusters = n_clusters
        self.encoders = encoders
        self.hidden_width = hidden_width
        self.scaling = scaling
        self.separation_weight = separation_weight
        self.simplex_weight = simplex_weight
        self.balance_weight = balance_weight
        self.kernel_width = kernel_width
        self.n_init = n_init
        self.trainer = trainer
        self.modalities = modalities
        self.random_state = random_state

    def _make_network(
        self, encoders: list[nn.Module], width: int
    ) -> WeightedFusionNetwork:
        sizes = {"hidden_width": int(self.hidden_width), "n_clusters": self._k}
        with refuses_sizes(sizes):
            heads = ClusteringHeads(1, width, int(self.hidden_width), self._k)
        decoders = self._make_decoders(width) if self._linear_latents else None
        return WeightedFusionNetwork(encoders, width, heads, decoders)

    def _make_phases(self, n_samples: int, settings: TrainingSettings) -> list[Phase]:
        n_epochs = settings.max_epochs
        if n_epochs == "auto":
            n_epochs = auto_epochs(n_samples, settings.batch_size)
        return [Phase("training", n_epochs, self._make_objective(), settings.lr)]

    def _make_objective(self) -> WeightedFusionObjective:
        return WeightedFusionObjective(
            separation_weight=float(self.separation_weight),
            simplex_weight=float(self.simplex_weight),
            balance_weight=float(self.balance_weight),
            kernel_width=float(self.kernel_width),
        )


class CoMVCClusterer(SiMVCClusterer):
    """Cluster several modalities by learned weights and contrastive alignment (CoMVC).

    The network minimises ::

        separation_weight * D_sc + simplex_weight * D_sim + balance_weight * D_bal
        + contrastive_weight * min_v softmax(w)_v * 2 / (V (V - 1)) sum_{u<v} L_uv
        + reconstruction_weight * L_rec

    (Trosten et al. 2021): the objective of `SiMVCClusterer`, and for each pair of
    modalities ``L_uv = (1 / m) sum_q [l(h_q^u, h_q^v) + l(h_q^v, h_q^u)]``. With ``s``
    the cosine of two latents over the temperature, ``l(h_q^u, h_q^v) = -s(h_q^u, h_q^v)
    + log(sum_r exp s(h_q^u, h_r^v) + sum_{r != q} exp s(h_q^u, h_r^u))`` is the
    normalised temperature-scaled cross-entropy, low where the latents of a sample are
    alike and those of different samples are not. No gradient flows through the lowest
    weight, which weakens the alignment where a modality is of little use.

    With a `reconstruction_weight`, this is AECoDDC (Trosten et al. 2023), and AE-DDC
    without the contrastive loss: a decoder D_v of each modality adds ``L_rec = sum_v
    mean_q (1 / d_v) ||x_q^v - D_v(h_q^v)||^2``, the last layer of the encoders is
    linear, and a pretraining minimises the contrastive and the reconstruction loss.

    Parameters
    ----------
    n_clusters : int, default=None
        Number of clusters; None is 8, or in a comparison the number of classes.
    encoders : sequence of int, int, Module, callable, dict or list, \
            default=(512, 512, 256)
        Encoder of each modality: widths of fully connected layers, of which the last
        is that of the latent (an int is one layer); a torch module, which is copied
        and must return one row per sample; a factory that is called with the shape of
        a sample and returns a module, which is copied too; or a dict of these by
        modality, or a list of them by position. Of images (channels, height, width),
        the encoder has two convolutions and a layer of the last width. None depends on
        the shape, see `EAMCClusterer`.
    hidden_width : int, default=100
        Number of units of the hidden layer of the clustering heads.
    scaling : {'auto', 'block', 'standard', 'l2'} or None or dict, default='auto'
        Scaling of each modality, as in `EarlyFusion`, followed by one factor that
        makes its mean square 1 per feature. None leaves the modality as it is.
    separation_weight : float, default=1.0
        Weight of D_sc, the separation and compactness of clusters.
    simplex_weight : float, default=1.0
        Weight of D_sim, the closeness of assignments to the corners of the simplex.
    balance_weight : float, default=1.0
        Weight of D_bal: overlap of the assignments of samples, which is lowest for
        clusters of one size.
    contrastive_weight : float, default=0.1
        Weight of the contrastive loss; 0 is `SiMVCClusterer`.
    temperature : float, default=0.1
        Temperature of the contrastive loss: divisor of the cosines.
    reconstruction_weight : float, default=0.0
        Weight of L_rec; 0 leaves out the decoders and the pretraining. Published are 1,
        and 0.1 without the contrastive loss.
    kernel_width : float, default=0.15
        Variance of the Gaussian kernels, in median squared distances of a batch.
    n_init : int, default=3
        Number of restarts. One without empty clusters is kept, if there is any, and of
        several the one of the lowest criterion of selection; a lower criterion alone
        does not mean better clusters.
    trainer : Trainer, default=None
        Options of the training. What it leaves open is, by default, ``max_epochs=100,
        batch_size=100, lr={'network': 0.001}, lr_schedule='constant', clip_norm=5.0,
        selection='separation', selection_every=4``, and Adam; with a
        `reconstruction_weight`, ``pretrain_epochs=50, pretrain_lr=0.001``, and of Adam
        ``weight_decay=0.01``; otherwise there is no pretraining. There are no
        discriminators. Options of what there is not are refused. The criteria are
        'separation', D_sc alone; 'clustering', the clustering terms; and 'total'.
    modalities : int, list of int, str or dict, default=None
        Column spec that splits a plain 2-D X; None takes it as one modality. See
        :meth:`Modalities.from_table`.
    random_state : int, RandomState instance or None, default=None
        Seed of everything that is drawn. Results do not depend on torch's global
        state, and leave it unchanged.

    Attributes
    ----------
    labels_ : ndarray of int of shape (n_samples,)
        Cluster of each sample.
    modality_weights_ : ndarray of shape (n_modalities,)
        Weight ``softmax(w)_v`` of each modality. Where a sample lacks modalities,
        those of the others are scaled to add up to 1.
    history_ : list of dict
        One entry per epoch, with its phase and the mean of every loss term.
    n_iter_ : int
        Number of epochs of all phases.
    phase_epochs_ : dict of str to int
        Number of epochs of each phase, in order; of `partial_fit`, number of calls.
    module_ : torch.nn.Module
        The trained network: its `encoders` in the order of the modalities, its
        `fusion_logits` w, its clustering head, `heads`, and its `decoders`, if any.
    loss_ : float
        Value of the criterion of selection after training.
    init_scores_ : list of float
        Scores by which restarts were compared; lower is better.
    n_modalities_in_ : int
        Number of modalities seen in `fit`.
    modality_names_in_ : ndarray of str of shape (n_modalities,)
        Names of the modalities.
    n_features_per_modality_in_ : ndarray of int of shape (n_modalities,)
        Number of features of each modality.
    n_features_in_ : int
        Total number of features.
    feature_names_in_ : ndarray of str of shape (`n_features_in_`,)
        Names ``<modality>__<feature>``, if the input had names.

    Raises
    ------
    ValueError
        If there are fewer samples than clusters, a sample lacks every modality, a cell
        is NaN or infinite, the encoders make latents of different widths or that are
        not finite, torch cannot use the device, or later input has other modalities or
        widths than `fit` saw, or values so far off that the network overflows.
    FloatingPointError
        If a loss became NaN or infinite in every restart. It is a ValueError, too.

    Warns
    -----
    ConvergenceWarning
        If clusters are empty in every restart.

    See Also
    --------
    SiMVCClusterer : The same without the contrastive loss.
    AutoencoderClusterer : K-means or DEC of the latents of autoencoders.
    EAMCClusterer : Weighs modalities by attention, and has a pretraining.
    Trainer : Options of the training.

    Notes
    -----
    The contrastive loss aligns what modalities share; where they differ in the clusters
    that they separate, that can harm, for which `min_v softmax(w)_v` bounds it.

    For two modalities this is the loss of the published code with all other samples as
    negatives. By default that code draws negatives from other clusters, and it has a
    weight of 20 for more than two modalities. Here all other samples of a batch that
    have both modalities are negatives, and the loss is the mean over pairs.

    References
    ----------
    Trosten, D. J., Løkse, S., Jenssen, R. and Kampffmeyer, M. (2021). Reconsidering
    representation alignment for multi-view clustering. CVPR, 1255-1265.

    Trosten, D. J., Løkse, S., Jenssen, R. and Kampffmeyer, M. C. (2023). On the effects
    of self-supervision and contrastive alignment in deep multi-view clustering. CVPR,
    23976-23985 (AE-DDC and AECoDDC).

    Chen, T. et al. (2020). A simple framework for contrastive learning of visual
    representations. ICML, 1597-1607.

    Kampffmeyer, M. et al. (2019). Deep divergence-based approach to clustering.
    Neural Networks 113, 91-101 (the clustering head and its terms).

    Examples
    --------
    >>> from mmfusion import CoMVCClusterer, Trainer
    >>> from mmfusion.datasets import make_multimodal_blobs
    >>> X, y = make_multimodal_blobs(random_state=0)
    >>> clusterer = CoMVCClusterer(
    ...     3, encoders=[16, 8], trainer=Trainer(max_epochs=20), random_state=0
    ... )
    >>> clusterer.fit_predict(X).shape
    (100,)
    >>> print(f"{clusterer.modality_weights_.sum():.2f}")
    1.00
    """

    _parameter_constraints = {
        **SiMVCClusterer._parameter_constraints,
        "contrastive_weight": [_WEIGHT],
        "temperature": [_POSITIVE],
        "reconstruction_weight": [_WEIGHT],
    }

    def __init__(
        self,
        n_clusters: int | None = None,
        *,
        encoders: EncodersLike = (512, 512, 256),
        hidden_width: int = 100,
        scaling: ByModality[str | None] = "auto",
        separation_weight: float = 1.0,
        simplex_weight: float = 1.0,
        balance_weight: float = 1.0,
        contrastive_weight: float = 0.1,
        temperature: float = 0.1,
        reconstruction_weight: float = 0.0,
        kernel_width: float = 0.15,
        n_init: int = 3,
        trainer: Trainer | None = None,
        modalities: ColumnSpecLike = None,
        random_state: RandomStateLike = None,
    ) -> None:
        super().__init__(
            n_clusters,
            encoders=encoders,
            hidden_width=hidden_width,
            scaling=scaling,
            separation_weight=separation_weight,
            simplex_weight=simplex_weight,
            balance_weight=balance_weight,
            kernel_width=kernel_width,
            n_init=n_init,
            trainer=trainer,
            modalities=modalities,
            random_state=random_state,
        )
        self.contrastive_weight = contrastive_weight
        self.temperature = temperature
        self.reconstruction_weight = reconstruction_weight

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Set the attributes, of a model that an earlier version stored as well."""
        super().__setstate__({"reconstruction_weight": 0.0} | state)

    @property
    def _linear_latents(self) -> bool:  # type: ignore[override]
        return self.reconstruction_weight > 0

    @property
    def _trainer_defaults(self) -> Mapping[str, Any]:  # type: ignore[override]
        if not self.reconstruction_weight:
            return SiMVCClusterer._trainer_defaults
        pretraining = {"pretrain_epochs": 50, "pretrain_lr": {"network": 1e-3}}
        defaults = SiMVCClusterer._trainer_defaults | pretraining
        if self.trainer is not None and self.trainer.optimizer is not None:
            return defaults  # it may have none, or its own
        # without decay, few samples are memorised, in the clusters of the first steps
        return defaults | {"weight_decay": 0.01}

    def _make_phases(self, n_samples: int, settings: TrainingSettings) -> list[Phase]:
        phases = super()._make_phases(n_samples, settings)
        if not self.reconstruction_weight:
            return phases
        n_epochs = settings.pretrain_epochs
        if n_epochs == "auto":
            n_epochs = auto_epochs(n_samples, settings.batch_size)
        objective = AlignmentObjective(
            contrastive_weight=float(self.contrastive_weight),
            temperature=float(self.temperature),
            reconstruction_weight=float(self.reconstruction_weight),
        )
        rates = settings.pretrain_lr
        return [Phase("pretraining", n_epochs, objective, rates), *phases]

    def _make_objective(self) -> WeightedFusionObjective:
        return replace(
            super()._make_objective(),
            contrastive_weight=float(self.contrastive_weight),
            temperature=float(self.temperature),
            reconstruction_weight=float(self.reconstruction_weight),
        )
