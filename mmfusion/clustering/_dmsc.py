"""DMSC: deep subspace clustering by samples that express each other."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any, Self

import numpy as np
from sklearn.utils.metaestimators import available_if
from torch import nn

from mmfusion._sklearn_compat import Interval, StrOptions
from mmfusion._typing import (
    ByModality,
    ColumnSpecLike,
    EncodersLike,
    ModalitiesLike,
    RandomStateLike,
)
from mmfusion.clustering._deep_base import BaseDeepClusterer
from mmfusion.clustering._expression_readout import SpectralReadout, fit_readout
from mmfusion.nn._data import Batches, WholeSampler
from mmfusion.nn._net import DeepNet, Phase
from mmfusion.nn._network import FusionNetwork
from mmfusion.nn._reconstruction import ReconstructionObjective
from mmfusion.nn._self_expression import (
    SelfExpression,
    SelfExpressionNetwork,
    SelfExpressionObjective,
    check_expression_memory,
)
from mmfusion.nn._trainer import Trainer, TrainingSettings, auto_epochs

MAX_EXPRESSED_SAMPLES = 5_000  # by each other, where n_anchors is 'auto'
LEAST_ANCHORS = 50
_WEIGHT = Interval(Real, 0, None, closed="left")


def _refuse_parts(clusterer: object) -> bool:
    raise AttributeError(
        "DMSCClusterer has no partial_fit, since its coefficients are between all "
        "samples: give fit all of them"
    )


class DMSCClusterer(BaseDeepClusterer):
    """Cluster several modalities by samples that express each other (DMSC).

    With an encoder E_v and a decoder of each modality, and h_q^v the latent E_v(x_q^v)
    scaled to unit norm, training minimises ::

        ||C||_F + expression_weight * (1 / 2) sum_v ||H_v - C H_v||_F^2
        + reconstruction_weight * (1 / 2) sum_v ||X_v - Y_v||_F

    over the networks and the coefficients C of all pairs of samples, which the
    modalities share and whose diagonal is 0 (Abavisani and Patel 2018); Y_v are the
    samples decoded from their latents. Samples express each other best within a
    subspace, so that spectral clustering of the affinity ``(|C| + |C'|) / 2`` finds a
    union of subspaces.

    Of more than 5,000 samples, the network is trained by reconstruction alone, and
    anchors take the place of samples: rows of ``||H_v - Z A||_F^2 + 0.01 ||Z||_F^2``
    are minimised over nonnegative Z with rows that add up to 1, where the anchors A are
    centres of k-means, as in `AnchorGraphClusterer`.

    Parameters
    ----------
    n_clusters : int, default=None
        Number of clusters; None is 8, or in a comparison the number of classes.
    encoders : sequence of int, int, Module, callable, dict or list, \
            default=(200, 200, 64)
        Encoder of each modality, see `EAMCClusterer`. Of images (channels, height,
        width), the encoder has two convolutions and a layer of the last width. The last
        layer is linear. Decoders mirror the encoders; those of modules and of factories
        are the decoders of the default.
    scaling : {'auto', 'block', 'standard', 'l2'} or None or dict, default='auto'
        Scaling of each modality, as in `EarlyFusion`, followed by one factor that
        makes its mean square 1 per feature. None leaves the modality as it is.
    expression_weight : float, default=1.0
        Weight of the self-expression.
    reconstruction_weight : float, default=1.0
        Weight of the reconstruction.
    kept_share : float, default=1.0
        Post-processing of C: the largest coefficients of a sample are kept until their
        absolute values add up to this share of all of its. 1 is no post-processing.
    n_anchors : int, 'auto' or None, default='auto'
        Number of anchors of each modality, at least 2. None is no anchors, whatever the
        number of samples. 'auto' is None for at most 5,000 samples, and otherwise 50
        or, if that is more, the number of clusters.
    n_init : int, default=1
        Number of restarts, of which the one of the lowest criterion of selection is
        kept.
    trainer : Trainer, default=None
        Options of the training. What it leaves open is, by default,
        ``pretrain_epochs='auto', max_epochs=300, batch_size=100, lr={'network': 0.001,
        'expression': 0.001}, pretrain_lr=0.001, lr_schedule='constant', clip_norm=5.0,
        selection='total', selection_every=0``, and Adam. Pretraining minimises the
        reconstruction loss in batches; an epoch of training is one step on all samples,
        and 'auto' are 400 of them. The only criterion is 'total'.
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
        Number of epochs of each phase, in order.
    module_ : torch.nn.Module
        The trained network: its `encoders` and `decoders` in the order of the
        modalities, and in ``heads.stored`` what `predict` needs of the training data.
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
        If there are fewer samples than clusters, the coefficients do not fit into
        memory, a sample lacks every modality, a cell is NaN or infinite, the encoders
        make latents of different widths or that are not finite, torch cannot use the
        device, or later input has other modalities or widths than `fit` saw, or values
        so far off that the network overflows.
    FloatingPointError
        If a loss became NaN or infinite in every restart. It is a ValueError, too.

    Warns
    -----
    ConvergenceWarning
        If clusters are empty in every restart.

    See Also
    --------
    AnchorGraphClusterer : Combinations of anchors, without networks.
    AutoencoderClusterer : Clusters the latents of autoencoders by their distances.
    Trainer : Options of the training.

    Notes
    -----
    The coefficients of n samples, their gradient and the two moments of Adam take
    ``16 n^2`` bytes while `fit` runs (400 MB for 5,000 samples), and a checkpoint 12
    n^2; they are not kept. With ``trainer__verbose=1`` the size is printed before it is
    allocated.

    What a sample lacks is neither expressed nor used to express others. A new sample is
    expressed by those of `fit` in ridge regression over the modalities that it has. It
    is placed at their mean in the spectral embedding, weighted by its absolute
    coefficients, and belongs to the nearest centre. `predict` of the samples of `fit`
    may differ from `labels_` in some. `transform` returns the latents of unit norm side
    by side, with 0 for what is not observed. There is no `partial_fit`.

    In the published method latents have any scale: then the self-expression falls as
    latents shrink, however badly they are expressed (Haeffele et al. 2021). The same
    authors find that much of what is published for such networks comes from
    post-processing C, which is off here by default.

    References
    ----------
    Abavisani, M. and Patel, V. M. (2018). Deep multimodal subspace clustering networks.
    IEEE Journal of Selected Topics in Signal Processing 12(6), 1601-1614.

    Haeffele, B. D., You, C. and Vidal, R. (2021). A critique of self-expressive deep
    subspace clustering. ICLR.

    Kang, Z., Zhou, W., Zhao, Z., Shao, J., Han, M. and Xu, Z. (2020). Large-scale
    multi-view subspace clustering in linear time. AAAI.

    Examples
    --------
    >>> from mmfusion import DMSCClusterer, Trainer
    >>> from mmfusion.datasets import make_multimodal_blobs
    >>> X, y = make_multimodal_blobs(random_state=0)
    >>> trainer = Trainer(pretrain_epochs=10, max_epochs=50)
    >>> clusterer = DMSCClusterer(3, encoders=[16, 8], trainer=trainer, random_state=0)
    >>> clusterer.fit(X[:80]).predict(X[80:]).shape
    (20,)
    """

    _trainer_defaults = {
        "max_epochs": 300,
        "pretrain_epochs": "auto",
        "batch_size": 100,
        "lr": {"network": 1e-3, "expression": 1e-3},
        "pretrain_lr": {"network": 1e-3},
        "betas": {"network": (0.9, 0.999)},
        "lr_schedule": "constant",
        "clip_norm": 5.0,
        "selection": "total",
        "selection_every": 0,
    }
    _selection_criteria = ("total",)
    _trained_modules = ("network", "expression")
    _linear_latents = True

    _parameter_constraints = {
        **BaseDeepClusterer._parameter_constraints,
        "expression_weight": [_WEIGHT],
        "reconstruction_weight": [_WEIGHT],
        "kept_share": [Interval(Real, 0, 1, closed="right")],
        "n_anchors": [
            Interval(Integral, 2, None, closed="left"),
            StrOptions({"auto"}),
            None,
        ],
    }

    def __init__(
        self,
        n_clusters: int | None = None,
        *,
        encoders: EncodersLike = (200, 200, 64),
        scaling: ByModality[str | None] = "auto",
        expression_weight: float = 1.0,
        reconstruction_weight: float = 1.0,
        kept_share: float = 1.0,
        n_anchors: int | str | None = "auto",
        n_init: int = 1,
        trainer: Trainer | None = None,
        modalities: ColumnSpecLike = None,
        random_state: RandomStateLike = None,
    ) -> None:
        self.n_clusters = n_clusters
        self.encoders = encoders
        self.scaling = scaling
        self.expression_weight = expression_weight
        self.reconstruction_weight = reconstruction_weight
        self.kept_share = kept_share
        self.n_anchors = n_anchors
        self.n_init = n_init
        self.trainer = trainer
        self.modalities = modalities
        self.random_state = random_state

    @available_if(_refuse_parts)
    def partial_fit(self, X: ModalitiesLike, y: object = None) -> Any:
        """Raise an AttributeError, since all samples are needed at once.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            Not used.
        y : object, default=None
            Not used.
        """

    def _make_network(
        self, encoders: list[nn.Module], width: int
    ) -> SelfExpressionNetwork:
        heads = SpectralReadout(self._k)
        return SelfExpressionNetwork(encoders, width, heads, self._make_decoders(width))

    def _make_parts(self, network: FusionNetwork) -> dict[str, nn.Module]:
        # only while it is fitted: the coefficients are not kept
        n_samples = self.__dict__.get("_n_expressed", 0)
        return {"expression": SelfExpression(n_samples)} if n_samples else {}

    def _make_phases(self, n_samples: int, settings: TrainingSettings) -> list[Phase]:
        n_before = settings.pretrain_epochs
        if n_before == "auto":
            n_before = auto_epochs(n_samples, settings.batch_size)
        pretraining = Phase(
            "pretraining",
            n_before,
            ReconstructionObjective(),
            settings.pretrain_lr,
            learns_weights=False,
        )
        self._n_expressed = 0 if self._count_anchors(n_samples) else n_samples
        if not self._n_expressed:
            return [pretraining]
        check_expression_memory(
            n_samples, settings, "give n_anchors='auto', or a number such as 50"
        )
        weights = float(self.expression_weight), float(self.reconstruction_weight)
        training = Phase(
            "training",
            auto_epochs(1, 1) if settings.max_epochs == "auto" else settings.max_epochs,
            SelfExpressionObjective(*weights),
            settings.lr,
            WholeSampler(),
            ("expression",),
            learns_weights=False,
        )
        return [pretraining, training]

    def _count_anchors(self, n_samples: int) -> int:
        """Return the number of anchors of a modality; 0 is none."""
        if self.n_anchors == "auto":
            few = n_samples <= MAX_EXPRESSED_SAMPLES
            return 0 if few else max(LEAST_ANCHORS, self._k)
        return 0 if self.n_anchors is None else int(self.n_anchors)

    def _examine(self, net: DeepNet, data: Batches) -> tuple[np.ndarray, list[str]]:
        n_anchors = self._count_anchors(len(data))
        labels = fit_readout(net, data, n_anchors, float(self.kept_share))
        return labels, self._empty_clusters(labels)

    def _publish(self, net: DeepNet, predictions: np.ndarray | None) -> Self:
        self.__dict__.pop("_n_expressed", None)
        return super()._publish(net, predictions)

    def _learned(self, net: DeepNet) -> dict[str, Any]:
        learned = super()._learned(net)
        del learned[self._weights_attribute]  # they are equal
        n_modalities = len(net.module_.encoders)
        return learned | {"_n_features_out": n_modalities * net.module_.width}
