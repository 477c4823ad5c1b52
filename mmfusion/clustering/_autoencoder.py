"""Clustering of the latents of autoencoders: k-means, DEC and DAMC."""

from __future__ import annotations

from dataclasses import replace
from numbers import Real
from typing import Any

import numpy as np
from torch import nn

from mmfusion._sklearn_compat import Interval, StrOptions
from mmfusion._typing import (
    ByModality,
    ColumnSpecLike,
    EncodersLike,
    ModalitiesLike,
    RandomStateLike,
)
from mmfusion.clustering._autoencoder_objective import AutoencoderObjective
from mmfusion.clustering._deep_base import BaseDeepClusterer, refuses_sizes
from mmfusion.nn._centers import Centers
from mmfusion.nn._concatenation import ConcatenationNetwork, fit_centers
from mmfusion.nn._cross_reconstruction import SampleDiscriminators
from mmfusion.nn._data import Batches
from mmfusion.nn._net import DeepNet, Phase
from mmfusion.nn._network import FusionNetwork
from mmfusion.nn._self_training import SelfTargets
from mmfusion.nn._trainer import Trainer, TrainingSettings, auto_epochs

LEAST_PRETRAIN_EPOCHS = 10  # of 'auto'

_WEIGHT = Interval(Real, 0, None, closed="left")


class AutoencoderClusterer(BaseDeepClusterer):
    """Cluster the latents of one autoencoder per modality: k-means, DEC or DAMC.

    With an encoder E_v and a decoder D_v of each modality, pretraining minimises
    ``L_rec = sum_v mean_q (1 / d_v) ||x_q^v - D_v(E_v(x_q^v))||^2``, the reconstruction
    loss, and training minimises ::

        L_rec + clustering_weight * L_clu + L_cross + adversarial_weight * L_gen

    Clusters are found in ``z = [s_1 (h^1 - b_1), .., s_V (h^V - b_V)]``, the latents
    ``h^v = E_v(x^v)`` side by side, each modality of mean 0 and total variance 1.

    With ``readout='kmeans'``, L_clu is left out, and centres are those of k-means after
    training. With ``readout='dec'``, k-means of the pretrained latents sets centres
    c_j, which are trained further: ``L_clu = (1 / m) sum_q KL(p_q || a_q)`` draws the
    assignment ``a_qj ~ 1 / (1 + ||z_q - c_j||^2 / s)`` towards its own sharpened form,
    ``p_qj ~ a_qj^2 / sum_r a_rj``, over all samples r. These targets are held constant
    for 50 batches or an epoch, whichever is longer. This is deep embedded clustering
    (DEC, Xie et al. 2016) of several modalities, with the reconstruction loss kept as
    in IDEC (Guo et al. 2017).

    An `adversarial_weight` makes it deep adversarial multi-view clustering (DAMC, Li et
    al. 2019): L_cross is the squared error of each modality decoded from the mean
    latent of the others, in pretraining too, and ``L_gen = -sum_v log A_v`` of what
    was decoded, while discriminators A_v learn to distinguish it from samples.

    Parameters
    ----------
    n_clusters : int, default=None
        Number of clusters; None is 8, or in a comparison the number of classes.
    readout : {'kmeans', 'dec'}, default='kmeans'
        How clusters are found: by k-means of the trained latents, or by centres that
        are trained with the network.
    encoders : sequence of int, int, Module, callable, dict or list, default=None
        Encoder of each modality, see `EAMCClusterer`; None is ``(200, 200, 128)`` for
        vectors, and two convolutions and a layer of 128 units for images. The last
        layer is linear. Decoders mirror the encoders; those of modules and of factories
        are the decoders of the default.
    scaling : {'auto', 'block', 'standard', 'l2'} or None or dict, default='auto'
        Scaling of each modality, as in `EarlyFusion`, followed by one factor that
        makes its mean square 1 per feature. None leaves the modality as it is.
    clustering_weight : float, default=0.1
        Weight of L_clu with ``readout='dec'``; 0 is ``readout='kmeans'``.
    adversarial_weight : float, default=0.0
        Weight of L_gen. 0 leaves out L_gen, L_cross and the discriminators, and so
        does data of one modality.
    tol : float, default=0.001
        With ``readout='dec'``, training ends where the share of samples whose cluster
        has changed between two refreshes of the targets is below.
    n_init : int, default=1
        Number of restarts. One without empty clusters is kept, if there is any, and of
        several the one of the lowest criterion of selection; a lower criterion alone
        does not mean better clusters.
    trainer : Trainer, default=None
        Options of the training. What it leaves open is, by default,
        ``pretrain_epochs='auto', max_epochs='auto', batch_size=100, lr={'network':
        0.001, 'discriminators': 0.0001}, pretrain_lr=0.001, lr_schedule='cosine',
        clip_norm=5.0, selection='reconstruction', selection_every=0``, and Adam. The
        criteria are 'reconstruction', L_rec alone, and 'total'.
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
    history_ : list of dict
        One entry per epoch, with its phase and the mean of every loss term.
    n_iter_ : int
        Number of epochs of all phases.
    phase_epochs_ : dict of str to int
        Number of epochs of each phase, in order; of `partial_fit`, number of calls.
    module_ : torch.nn.Module
        The trained network: its `encoders` and `decoders` in the order of the
        modalities, `means` b and `scales` s of their latents, and ``heads.centers``.
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
    CoMVCClusterer : With `reconstruction_weight`, an autoencoder of fused latents.
    EAMCClusterer : Weighs modalities by attention; its adversaries compare latents.
    Trainer : Options of the training.

    Notes
    -----
    A sample that lacks a modality counts in the terms of the others. Its distances to
    centres are those over its latents that are observed, scaled up to all; k-means
    averages what is observed; `transform` returns 0, the mean, for what is not.

    The scale s is the mean squared distance of samples to their centre in k-means. DEC
    has s = 1, with latents whose scale is that of the network.

    `partial_fit` fits k-means to the latents of each call, from the centres of the call
    before, so that clusters keep their names; with ``readout='dec'`` until its first
    call of training, whose samples then set the centres. A call of fewer samples than
    clusters leaves the centres as they are. While the network is pretrained by `fit`,
    there are no clusters that a callback could score.

    The published codes stack denoising autoencoders layer by layer (DEC), and have
    layers that modalities share, batches of one sample, a least-squares adversary and a
    group norm of the code (DAMC); z replaces their one code by the latents of all.

    References
    ----------
    Xie, J., Girshick, R. and Farhadi, A. (2016). Unsupervised deep embedding for
    clustering analysis. ICML, 478-487.

    Guo, X., Gao, L., Liu, X. and Yin, J. (2017). Improved deep embedded clustering with
    local structure preservation. IJCAI, 1753-1759.

    Li, Z., Wang, Q., Tao, Z., Gao, Q. and Yang, Z. (2019). Deep adversarial multi-view
    clustering network. IJCAI, 2952-2958.

    Examples
    --------
    >>> from mmfusion import AutoencoderClusterer, Trainer
    >>> from mmfusion.datasets import make_multimodal_blobs
    >>> X, y = make_multimodal_blobs(random_state=0)
    >>> clusterer = AutoencoderClusterer(
    ...     3, readout="dec", encoders=[16, 8],
    ...     trainer=Trainer(pretrain_epochs=20, max_epochs=20), random_state=0,
    ... )
    >>> clusterer.fit_predict(X).shape
    (100,)
    >>> clusterer.transform(X).shape
    (100, 16)
    """

    _linear_latents = True
    _trained_modules = ("network", "discriminators")
    _selection_criteria = ("reconstruction", "total")
    _trainer_defaults = {
        "max_epochs": "auto",
        "pretrain_epochs": "auto",
        "batch_size": 100,
        "lr": {"network": 1e-3, "discriminators": 1e-4},
        "pretrain_lr": {"network": 1e-3},
        "betas": {"network": (0.9, 0.999), "discriminators": (0.5, 0.999)},
        "lr_schedule": "cosine",
        "clip_norm": 5.0,
        "selection": "reconstruction",
        "selection_every": 0,
    }

    _parameter_constraints = {
        **BaseDeepClusterer._parameter_constraints,
        "readout": [StrOptions({"kmeans", "dec"})],
        "clustering_weight": [_WEIGHT],
        "adversarial_weight": [_WEIGHT],
        "tol": [_WEIGHT],
    }

    def __init__(
        self,
        n_clusters: int | None = None,
        *,
        readout: str = "kmeans",
        encoders: EncodersLike = None,
        scaling: ByModality[str | None] = "auto",
        clustering_weight: float = 0.1,
        adversarial_weight: float = 0.0,
        tol: float = 1e-3,
        n_init: int = 1,
        trainer: Trainer | None = None,
        modalities: ColumnSpecLike = None,
        random_state: RandomStateLike = None,
    ) -> None:
        self.n_clusters = n_clusters
        self.readout = readout
        self.encoders = encoders
        self.scaling = scaling
        self.clustering_weight = clustering_weight
        self.adversarial_weight = adversarial_weight
        self.tol = tol
        self.n_init = n_init
        self.trainer = trainer
        self.modalities = modalities
        self.random_state = random_state

    @property
    def _trains_centers(self) -> bool:
        return self.readout == "dec" and self.clustering_weight > 0

    @property
    def _has_adversary(self) -> bool:
        return self.adversarial_weight > 0 and len(self.modality_names_in_) > 1

    def _make_network(
        self, encoders: list[nn.Module], width: int
    ) -> ConcatenationNetwork:
        decoders = self._make_decoders(width)
        with refuses_sizes({"n_clusters": self._k}):
            heads = Centers(
                self._k, len(encoders) * width, student_t=self.readout == "dec"
            )
        return ConcatenationNetwork(encoders, width, heads, decoders)

    def _make_parts(self, network: FusionNetwork) -> dict[str, nn.Module]:
        parts: dict[str, nn.Module] = {}
        if self._trains_centers:
            parts["targets"] = SelfTargets(network)
        if self._has_adversary:
            parts["discriminators"] = SampleDiscriminators(self._preparation.shapes)
        return parts

    def _make_phases(self, n_samples: int, settings: TrainingSettings) -> list[Phase]:
        size = settings.batch_size
        pretrain_epochs, max_epochs = settings.pretrain_epochs, settings.max_epochs
        if pretrain_epochs == "auto":
            pretrain_epochs = auto_epochs(n_samples, size, LEAST_PRETRAIN_EPOCHS)
        if max_epochs == "auto":
            max_epochs = auto_epochs(n_samples, size)
        reconstruction = AutoencoderObjective(cross_weight=float(self._has_adversary))
        pretraining = Phase(
            "pretraining",
            pretrain_epochs,
            reconstruction,
            settings.pretrain_lr,
            learns_weights=False,
        )
        objective = replace(
            reconstruction,
            clustering_weight=self.clustering_weight * float(self._trains_centers),
            adversarial_weight=self.adversarial_weight * float(self._has_adversary),
            tol=float(self.tol),
        )
        training = Phase(
            "training",
            max_epochs,
            objective,
            settings.lr,
            parts=("targets", "discriminators"),
            learns_weights=False,
        )
        return [pretraining, training]

    def _examine(self, net: DeepNet, data: Batches) -> tuple[np.ndarray, list[str]]:
        is_trained = any("clustering" in epoch for epoch in net.history[-1:])
        if not is_trained:
            fit_centers(net, data)
        return super()._examine(net, data)

    def _learned(self, net: DeepNet) -> dict[str, Any]:
        learned = super()._learned(net)
        del learned[self._weights_attribute]  # they are equal
        n_features = len(net.module_.encoders) * net.module_.width
        return learned | {"_n_features_out": n_features}

    def transform(self, X: ModalitiesLike) -> np.ndarray:
        """Encode new samples.

        Parameters
        ----------
        X : list, dict, Modalities, torch Dataset, or array-like of shape \
                (n_samples, n_features)
            The data.

        Returns
        -------
        ndarray of shape (n_samples, n_modalities * latent_width)
            The latents z of all modalities side by side; 0 where one is missing.
        """
        return super().transform(X)
