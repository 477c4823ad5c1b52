"""MFLVC: deep clustering by contrast of features and of clusters."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

from torch import Tensor, nn

from mmfusion._sklearn_compat import Interval
from mmfusion._typing import ByModality, ColumnSpecLike, EncodersLike, RandomStateLike
from mmfusion.clustering._deep_base import BaseDeepClusterer, refuses_sizes
from mmfusion.clustering._pseudo_labels import (
    MAX_LABELLED_ROWS,
    PseudoLabelObjective,
    PseudoLabels,
)
from mmfusion.nn._data import WholeSampler
from mmfusion.nn._net import DeepNet, EncodedBatch, Objective, Phase
from mmfusion.nn._network import FusionNetwork
from mmfusion.nn._reconstruction import ReconstructionObjective, reconstruct
from mmfusion.nn._shared_heads import SharedHeads, SharedHeadsNetwork
from mmfusion.nn._trainer import Trainer, TrainingSettings, auto_epochs
from mmfusion.nn.losses import (
    assignment_balance,
    assignment_contrast,
    contrastive_loss,
)

DEFAULT_MFLVC_BATCH = 100
SAMPLES_PER_EPOCH = 2  # of contrast, at least: after more epochs, pairs are memorised
_POSITIVE = Interval(Real, 0, None, closed="neither")
_CONTRASTIVE_TERMS = ("features", "assignments", "balance")


@dataclass(frozen=True)
class MFLVCObjective(Objective):
    """Reconstruction, and contrast of features and of assignments.

    Parameters
    ----------
    feature_temperature, cluster_temperature : float
        Temperature of the contrast of features, and of clusters.
    """

    feature_temperature: float
    cluster_temperature: float

    criteria = {"contrastive": _CONTRASTIVE_TERMS}

    def weights(self, progress: float) -> dict[str, float]:
        """Return the weights of all terms, which are 1."""
        return dict.fromkeys(("reconstruction", *_CONTRASTIVE_TERMS), 1.0)

    def terms(self, net: DeepNet, batch: EncodedBatch) -> dict[str, Tensor]:
        """Compute the terms; those of pairs of modalities are sums over the pairs."""
        latents, observed = batch.latents, batch.observed
        with net.precision():
            features, logits = net.module_.heads(latents)
        features, q = features.to(latents), logits.to(latents).softmax(-1)
        n_pairs = len(latents) * (len(latents) - 1) // 2
        # half, since `nt_xent` adds up both directions, which are averaged here
        contrast = contrastive_loss(features, self.feature_temperature, observed) / 2
        of_clusters = assignment_contrast(q, self.cluster_temperature, observed) / 2
        return {
            "reconstruction": reconstruct(net, batch),
            "features": n_pairs * contrast,
            "assignments": n_pairs * of_clusters,
            "balance": n_pairs * assignment_balance(q, observed),
        }


class MFLVCClusterer(BaseDeepClusterer):
    """Cluster several modalities by contrast of features and of clusters (MFLVC).

    An autoencoder of each modality has latents h_q^v of samples q, and two linear
    layers that all modalities share compute from them features f_q^v of unit norm and
    soft assignments ``a_q^v = softmax(B h_q^v + c)``. The network minimises ::

        sum_v (1 / m) sum_q ||x_q^v - y_q^v||^2 / d_v
        + sum_{u<v} (L(F^u, F^v) + L(A^u', A^v') + D(A^u) + D(A^v))

    over batches of m samples (Xu et al. 2022). With s the cosine of two rows over a
    temperature, the contrastive loss ``L(F, G)`` of n pairs of rows is the mean over q,
    and over both directions, of ``-s(f_q, g_q) + log(sum_r exp s(f_q, g_r) +
    sum_{r != q} exp s(f_q, f_r))``. It aligns features, whose rows are samples, and
    clusters, whose rows are the columns of assignments. ``D(A) = log k - H(mean_q
    a_q)`` with the entropy H keeps clusters of equal size. The cluster of a sample is
    the argmax of the mean of its assignments by the modalities that it has.

    Parameters
    ----------
    n_clusters : int, default=None
        Number of clusters; None is 8, or in a comparison the number of classes.
    encoders : sequence of int, int, Module, callable, dict or list, default=None
        Encoder of each modality: widths of fully connected layers, of which the last,
        which is linear, is that of the latent (an int is one layer); a torch module,
        which is copied and must return one row per sample; a factory that is called
        with the shape of a sample and returns a module, which is copied too; or a dict
        of these by modality, or a list of them by position. None is (200, 200, 128)
        for vectors, and of images (channels, height, width) two convolutions and a
        layer of the last width. Decoders mirror them.
    feature_width : int, default=128
        Number of features.
    scaling : {'auto', 'block', 'standard', 'l2'} or None or dict, default='auto'
        Scaling of each modality, as in `EarlyFusion`, followed by one factor that
        makes its mean square 1 per feature. None leaves the modality as it is.
    feature_temperature : float, default=0.5
        Temperature of the contrastive loss of features: divisor of the cosines.
    cluster_temperature : float, default=1.0
        Temperature of the contrastive loss of clusters.
    matching_epochs : int, default=150
        Number of steps of the last phase, on a batch of all samples: the features of
        each modality are clustered by k-means, these clusters are matched to the
        argmax of assignments by the Hungarian method, and the network is trained to
        predict them. 0 leaves the phase out.
    n_init : int, default=1
        Number of restarts. One without empty clusters is kept, if there is any, and of
        several the one of the lowest criterion of selection.
    trainer : Trainer, default=None
        Options of the training. What it leaves open is, by default,
        ``pretrain_epochs='auto', max_epochs='auto', batch_size='auto',
        lr={'network': 0.001}, pretrain_lr={'network': 0.001}, lr_schedule='cosine',
        clip_norm=5.0, selection='contrastive', selection_every=0``, and Adam.
        Pretraining minimises the reconstruction alone. 'auto' epochs make at least 400
        batches of each phase, but `max_epochs` is at most half the number of samples:
        of few samples, longer training memorises which belong together, whatever their
        cluster. An 'auto' batch has 100 samples, or twice as many as clusters if that
        is more. There are no discriminators: their options are
        refused. The criteria are 'contrastive', the sum over pairs of modalities; and
        'total', which has the reconstruction, too.
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
        modalities, and the two shared layers, `heads.features` and `heads.clusters`.
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
        If there are fewer samples than clusters, or a batch has; a sample lacks every
        modality, a cell is NaN or infinite, the encoders make latents of different
        widths or that are not finite, torch cannot use the device, or later input has
        other modalities or widths than `fit` saw, or values so far off that the
        network overflows.
    FloatingPointError
        If a loss became NaN or infinite in every restart. It is a ValueError, too.

    Warns
    -----
    ConvergenceWarning
        If clusters are empty in every restart.

    See Also
    --------
    CoMVCClusterer : Contrast of latents, without autoencoders.
    EAMCClusterer : Weighs modalities by attention, and clusters by neighbours.
    Trainer : Options of the training.

    Notes
    -----
    `transform` returns the mean of the features over the modalities of a sample, and
    `modality_latents` the features by modality.

    A pair of modalities counts the samples that have both. With one modality nothing is
    contrasted: the result is k-means of the features of an autoencoder. Pseudo-labels
    are made once, of all samples or of 10,000 that are equally spaced; under
    `partial_fit` they are those of the samples of a call.

    The published layers have 500, 500, 2000 and 512 units, and batches 256 samples, at
    a learning rate of 0.0003; its k-means has 100 starts (10 here), its cross-entropy
    applies a second softmax to the assignments, and its seed and number of contrastive
    epochs are fixed for each data set. Here all data sets have one setting.

    References
    ----------
    Xu, J., Tang, H., Ren, Y., Peng, L., Zhu, X. and He, L. (2022). Multi-level feature
    learning for contrastive multi-view clustering. CVPR, 16051-16060.

    Examples
    --------
    >>> from mmfusion import MFLVCClusterer, Trainer
    >>> from mmfusion.datasets import make_multimodal_blobs
    >>> X, y = make_multimodal_blobs(random_state=0)
    >>> trainer = Trainer(pretrain_epochs=5, max_epochs=20)
    >>> clusterer = MFLVCClusterer(
    ...     3, encoders=[16, 8], matching_epochs=10, trainer=trainer, random_state=0
    ... )
    >>> clusterer.fit_predict(X).shape
    (100,)
    >>> clusterer.phase_epochs_
    {'pretraining': 5, 'training': 20, 'matching': 10}
    """

    _trainer_defaults = {
        "max_epochs": "auto",
        "pretrain_epochs": "auto",
        "batch_size": "auto",
        "lr": {"network": 1e-3},
        "pretrain_lr": {"network": 1e-3},
        "betas": {"network": (0.9, 0.999)},
        "lr_schedule": "cosine",
        "clip_norm": 5.0,
        "selection": "contrastive",
        "selection_every": 0,
    }
    _selection_criteria = ("contrastive", "total")
    _linear_latents = True

    _parameter_constraints = {
        **BaseDeepClusterer._parameter_constraints,
        "feature_width": [Interval(Integral, 1, None, closed="left")],
        "feature_temperature": [_POSITIVE],
        "cluster_temperature": [_POSITIVE],
        "matching_epochs": [Interval(Integral, 0, None, closed="left")],
    }

    def __init__(
        self,
        n_clusters: int | None = None,
        *,
        encoders: EncodersLike = None,
        feature_width: int = 128,
        scaling: ByModality[str | None] = "auto",
        feature_temperature: float = 0.5,
        cluster_temperature: float = 1.0,
        matching_epochs: int = 150,
        n_init: int = 1,
        trainer: Trainer | None = None,
        modalities: ColumnSpecLike = None,
        random_state: RandomStateLike = None,
    ) -> None:
        self.n_clusters = n_clusters
        self.encoders = encoders
        self.feature_width = feature_width
        self.scaling = scaling
        self.feature_temperature = feature_temperature
        self.cluster_temperature = cluster_temperature
        self.matching_epochs = matching_epochs
        self.n_init = n_init
        self.trainer = trainer
        self.modalities = modalities
        self.random_state = random_state

    def _auto_batch_size(self) -> int:
        return max(DEFAULT_MFLVC_BATCH, 2 * self._k)

    def _make_network(
        self, encoders: list[nn.Module], width: int
    ) -> SharedHeadsNetwork:
        feature_width = int(self.feature_width)
        with refuses_sizes({"feature_width": feature_width, "n_clusters": self._k}):
            heads = SharedHeads(width, feature_width, self._k)
        return SharedHeadsNetwork(encoders, width, heads, self._make_decoders(width))

    def _make_parts(self, network: FusionNetwork) -> dict[str, nn.Module]:
        return {"pseudo_labels": PseudoLabels()} if self.matching_epochs else {}

    def _make_phases(self, n_samples: int, settings: TrainingSettings) -> list[Phase]:
        size = settings.batch_size
        if size < self._k:
            raise ValueError(
                f"trainer__batch_size={size} is smaller than n_clusters={self._k}: the "
                "loss compares the clusters by the samples of a batch; give "
                f"{2 * self._k} or more, or 'auto'"
            )
        n_epochs = settings.max_epochs
        if n_epochs == "auto":
            n_most = max(1, n_samples // SAMPLES_PER_EPOCH)
            n_chosen: int = min(n_most, auto_epochs(n_samples, size))
            n_epochs = n_chosen
        n_before = settings.pretrain_epochs
        if n_before == "auto":
            n_before = auto_epochs(n_samples, size)
        objective = MFLVCObjective(
            float(self.feature_temperature), float(self.cluster_temperature)
        )
        phases = [
            Phase(
                "pretraining",
                n_before,
                ReconstructionObjective(),
                settings.pretrain_lr,
                learns_weights=False,
            ),
            Phase("training", n_epochs, objective, settings.lr, learns_weights=False),
        ]
        if self.matching_epochs:
            matching = Phase(
                "matching",
                int(self.matching_epochs),
                PseudoLabelObjective(objective),
                settings.lr,
                WholeSampler(MAX_LABELLED_ROWS),
                ("pseudo_labels",),
                learns_weights=False,
            )
            phases.append(matching)
        return phases

    def _learned(self, net: DeepNet) -> dict[str, Any]:
        # `transform` returns features in place of latents
        learned = super()._learned(net)
        del learned[self._weights_attribute]  # they are equal
        return learned | {"_n_features_out": net.module_.heads.features.out_features}
