"""EAMC: adversarial-attention network for multimodal clustering."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any, Self

from torch import nn

from mmfusion._sklearn_compat import INTEGER, Interval
from mmfusion._typing import ByModality, ColumnSpecLike, EncodersLike, RandomStateLike
from mmfusion.clustering._deep_base import BaseDeepClusterer, refuses_sizes
from mmfusion.clustering.eamc._network import EAMCNetwork
from mmfusion.clustering.eamc._objective import EAMCObjective
from mmfusion.clustering.eamc._pretraining import (
    MAX_NEIGHBOR_ROWS,
    GraphTrust,
    NeighborAgreement,
    NeighborSampler,
    keep_best_head,
    score_best_head,
)
from mmfusion.nn._adversary import Discriminators
from mmfusion.nn._net import Phase
from mmfusion.nn._network import FusionNetwork
from mmfusion.nn._trainer import Trainer, TrainingSettings, auto_epochs, merge_by_module

LEAST_PRETRAIN_EPOCHS = 10  # of 'auto'
PAPER_BATCH_SIZE = 100
# of attention weights after pretraining; without it they end at their bounds
INEQUALITY_WEIGHT = 0.1

_POSITIVE = Interval(Real, 0, None, closed="neither")
_WEIGHT = Interval(Real, 0, None, closed="left")
_COUNT = Interval(Integral, 1, None, closed="left")


class EAMCClusterer(BaseDeepClusterer):
    """Cluster several modalities by an adversarial-attention network (EAMC).

    The network minimises ::

        separation_weight * D_sc + simplex_weight * D_sim + confidence_weight * D_conf
        + balance_weight * D_bal + attention_weight * L_att
        + adversarial_weight * L_gen

    where D_sc is the overlap of the clusters, D_sim that of their distances to the
    corners of the simplex, D_conf the regulariser as printed, D_bal another one, L_att
    the mismatch between the kernel of the fused latents and those of the modalities,
    and L_gen the generator loss (Zhou and Shen 2020; the user guide has the formulas).
    An encoder per modality computes a latent; the latents are averaged, by default
    with equal weights, or with those of attention, and a clustering head assigns the
    mean to clusters. Discriminators learn to separate the modalities from a reference,
    and the encoders to prevent it. Before this adversarial training, in pretraining,
    the nearest neighbours of each modality learn to share a cluster. The defaults are
    the method made stable; :meth:`paper` gives the method as printed.

    Parameters
    ----------
    n_clusters : int, default=None
        Number of clusters; None is 8, or in a comparison the number of classes.
    encoders : sequence of int, int, Module, callable, dict or list, default=None
        Encoder of each modality: widths of fully connected layers, of which the last
        is that of the latent (an int is one layer); a torch module, which is copied
        and must return one row per sample; a factory that is called with the shape of
        a sample and returns a module, which is copied too; or a dict of these by
        modality, or a list of them by position. None depends on the shape:
        (200, 200, 128) for vectors, and for images of shape (channels, height, width)
        two convolutions, more for those above 47 pixels, and a layer of 128.
    hidden_width : int, default=100
        Number of units of the hidden layer of the clustering heads.
    scaling : {'auto', 'block', 'standard', 'l2'} or None or dict, default='auto'
        Scaling of each modality, as in `EarlyFusion`, followed by one factor that
        makes its mean square 1 per feature. None leaves the modality as it is.
    attention_temperature : float or None, default=None
        Temperature of the attention: two weights differ by a factor of at most
        ``exp(1 / attention_temperature)``. After pretraining, 0.1 times the divergence
        of the weights from equal ones is added to the objective, so that weights show
        how much a modality contributes; 0.25 leaves them room. None replaces attention
        by equal weights, which cluster as well.
    attention_weight : float, default=1.0
        Weight of L_att, a mean over the pairs of a batch. 0 leaves it out. Without
        attention it has no effect.
    adversarial_weight : float, default=0.03
        Weight of L_gen, a sum over the modalities but the reference: the more, the
        more alike are the latents of the modalities, and above about 0.1 at the
        expense of the clusters. 0 leaves the discriminators out.
    separation_weight : float, default=1.0
        Weight of D_sc, the separation and compactness of clusters.
    simplex_weight : float, default=1.0
        Weight of D_sim, the closeness of assignments to the corners of the simplex.
    confidence_weight : float, default=1.0
        Weight of D_conf, the regulariser D_reg as printed: overlap of clusters, which
        is low for confident assignments.
    balance_weight : float, default=0.0
        Weight of D_bal: overlap of the assignments of samples, which is lowest for
        clusters of one size. Without pretraining clusters die if it is 0.
    size_weight : float, default=2.0
        Weight of equal cluster sizes at the start of pretraining, over which it goes
        to 1. Lower it, to 1, where clusters are known to differ much in size.
    kernel_width : float, default=0.15
        Variance of the Gaussian kernels, in median squared distances of a batch.
    reference_modality : int or str, default=0
        Position or name of the modality that discriminators take as the reference.
    n_neighbors : int, default=10
        Number of neighbours of a sample in each modality, and in all side by side. Of
        more than 10,000 samples, as many at random are used in pretraining.
    n_clustering_heads : int, default=8
        Number of clustering heads that compete in pretraining; the best is kept.
    n_init : int, default=3
        Number of restarts. After a third of pretraining they are compared by the
        agreement of neighbours; the best is trained further, and the next one only if
        that collapses. Without pretraining, whole trainings are compared by the
        criterion of selection.
    trainer : Trainer, default=None
        Options of the training. What it leaves open is, by default,
        ``pretrain_epochs='auto', max_epochs='auto', batch_size='auto',
        pretrain_lr={'network': 0.002}, lr={'network': 0.0005, 'discriminators':
        0.002}, lr_schedule='cosine', clip_norm=5.0, adversary={'alternate': False,
        'gradient_penalty': 0.1}, selection='clustering', selection_every=0``, and Adam
        with coefficients (0.95, 0.999), of discriminators (0.5, 0.999). Modules with
        rates of their own are 'network', 'attention' and 'discriminators'; the criteria
        are 'clustering', the clustering terms alone, and 'total', everything and the
        discriminator loss.
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
    attention_weights_ : ndarray of shape (n_modalities,)
        Weight of each modality, frozen: their mean over the training data; without
        attention, equal weights. Where a sample lacks modalities, those of the others
        are scaled to add up to 1.
    history_ : list of dict
        One entry per epoch, with its phase and the mean of every loss term.
    n_iter_ : int
        Number of epochs of all phases.
    phase_epochs_ : dict of str to int
        Number of epochs of each phase, in order; of `partial_fit`, number of calls.
    module_ : torch.nn.Module
        The trained network: its `encoders` in the order of the modalities, its
        `attention` (or None) and its clustering head, `heads`.
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
    OSError
        If a checkpoint cannot be written. An older one is kept.

    Warns
    -----
    ConvergenceWarning
        If clusters are empty, or the discriminators have won, in every restart, or by
        ``selection='total'`` in the one of the lowest total.
    UserWarning
        If a checkpoint is damaged. Its phase is trained anew.

    See Also
    --------
    Trainer : Options of the training.
    EarlyFusionClusterer : Clusters the scaled concatenation; the baseline to beat.
    LateFusionClusterer : Clusters each modality, then computes a consensus.

    Notes
    -----
    `predict` runs in float64 with frozen attention and batch norm, so that the cluster
    of a sample does not depend on the others. Time and memory of a batch grow
    with its size, times the number of modalities, times the square of the size for
    the kernels; memory does not grow with the number of samples for memmaps and
    Datasets, apart from the labels.

    On a CPU, everything runs on one thread, whatever torch is set to: the split of
    sums among threads changes their rounding, which training amplifies. `n_jobs` of
    the trainer runs restarts at the same time, with the same result.

    Under ``torch.distributed`` (torchrun, accelerate launch) every process calls `fit`
    with the same data, and encodes its share of each batch; losses and batch norm are
    those of the whole batch, random states those of the first process, so that the
    result is that of one process but for rounding. Encoders with layers other than the
    usual ones of torch may draw random numbers or compare samples: they encode the
    whole batch in every process, which saves no time.

    References
    ----------
    Zhou, R. and Shen, Y.-D. (2020). End-to-end adversarial-attention network for
    multi-modal clustering. CVPR, 14619-14628.

    Kampffmeyer, M. et al. (2019). Deep divergence-based approach to clustering.
    Neural Networks 113, 91-101 (the clustering head and its terms).

    Mescheder, L., Geiger, A. and Nowozin, S. (2018). Which training methods for GANs do
    actually converge? ICML 35, 3481-3490 (the gradient penalty).

    Van Gansbeke, W. et al. (2020). SCAN: learning to classify images without labels.
    ECCV, 268-285 (the agreement of neighbours).

    Examples
    --------
    >>> from mmfusion import EAMCClusterer, Trainer
    >>> from mmfusion.datasets import make_multimodal_blobs
    >>> X, y = make_multimodal_blobs(random_state=0)
    >>> trainer = Trainer(pretrain_epochs=10, max_epochs=5)
    >>> clusterer = EAMCClusterer(
    ...     3, encoders=[16, 8], trainer=trainer, random_state=0
    ... )
    >>> clusterer.fit_predict(X).shape
    (100,)
    >>> clusterer.predict_proba(X[:2]).shape
    (2, 3)
    >>> clusterer.transform(X[:2]).shape
    (2, 8)
    """

    _trainer_defaults = {
        "pretrain_epochs": "auto",
        "max_epochs": "auto",
        "batch_size": "auto",
        "pretrain_lr": {"network": 2e-3},
        "lr": {"network": 5e-4, "discriminators": 2e-3},
        "betas": {"network": (0.95, 0.999), "discriminators": (0.5, 0.999)},
        "lr_schedule": "cosine",
        "clip_norm": 5.0,
        "adversary": {"alternate": False, "gradient_penalty": 0.1},
        "selection": "clustering",
        "selection_every": 0,
    }
    _trained_modules = ("network", "attention", "discriminators")
    _weights_attribute = "attention_weights_"
    _remedy = (
        "raise n_init, lower the learning rate of the discriminators, set "
        "adversarial_weight=0, or choose fewer clusters"
    )

    _parameter_constraints = {
        **BaseDeepClusterer._parameter_constraints,
        "hidden_width": [_COUNT],
        "attention_temperature": [_POSITIVE, None],
        "attention_weight": [_WEIGHT],
        "adversarial_weight": [_WEIGHT],
        "separation_weight": [_WEIGHT],
        "simplex_weight": [_WEIGHT],
        "confidence_weight": [_WEIGHT],
        "balance_weight": [_WEIGHT],
        "size_weight": [_WEIGHT],
        "kernel_width": [_POSITIVE],
        "reference_modality": [str, INTEGER],
        "n_neighbors": [_COUNT],
        "n_clustering_heads": [_COUNT],
    }

    def __init__(
        self,
        n_clusters: int | None = None,
        *,
        encoders: EncodersLike = None,
        hidden_width: int = 100,
        scaling: ByModality[str | None] = "auto",
        attention_temperature: float | None = None,
        attention_weight: float = 1.0,
        adversarial_weight: float = 0.03,
        separation_weight: float = 1.0,
        simplex_weight: float = 1.0,
        confidence_weight: float = 1.0,
        balance_weight: float = 0.0,
        size_weight: float = 2.0,
        kernel_width: float = 0.15,
        reference_modality: int | str = 0,
        n_neighbors: int = 10,
        n_clustering_heads: int = 8,
        n_init: int = 3,
        trainer: Trainer | None = None,
        modalities: ColumnSpecLike = None,
        random_state: RandomStateLike = None,
    ) -> None:
        self.n_clusters = n_clusters
        self.encoders = encoders
        self.hidden_width = hidden_width
        self.scaling = scaling
        self.attention_temperature = attention_temperature
        self.attention_weight = attention_weight
        self.adversarial_weight = adversarial_weight
        self.separation_weight = separation_weight
        self.simplex_weight = simplex_weight
        self.confidence_weight = confidence_weight
        self.balance_weight = balance_weight
        self.size_weight = size_weight
        self.kernel_width = kernel_width
        self.reference_modality = reference_modality
        self.n_neighbors = n_neighbors
        self.n_clustering_heads = n_clustering_heads
        self.n_init = n_init
        self.trainer = trainer
        self.modalities = modalities
        self.random_state = random_state

    @classmethod
    def paper(cls, n_clusters: int | None = None, **params: Any) -> Self:
        """Return the configuration of the paper, as far as it is known.

        Layers, optimisers, temperature, weights of the losses, alternation, clipping
        and selection are those of the paper and, where it does not give them, of the
        common implementation, which is based on code of the authors: attention starts
        from random weights, and of 20 runs of 500 epochs the one of the lowest total is
        reported, whatever its problems. For images that implementation gives the layers
        for 28 x 28 pixels only; the encoders of larger ones, with more layers and
        pooling, are ours. Scale images to [-1, 1] first. It is slow and unstable; see
        the user guide.

        Parameters
        ----------
        n_clusters : int, default=None
            Number of clusters, as above.
        **params : dict
            Parameters with other values, ``trainer__...`` among them. Options that a
            given `trainer` leaves open are those of the paper. The default of
            ``attention_weight`` is the square of the batch size, since L_att as
            printed is a sum over the pairs of a batch.

        Returns
        -------
        EAMCClusterer
            Unfitted.
        """
        options: dict[str, Any] = {
            "pretrain_epochs": 0,
            "max_epochs": 500,
            "batch_size": PAPER_BATCH_SIZE,
            "lr": {"network": 1e-5, "attention": 1e-4, "discriminators": 1e-3},
            "lr_schedule": "constant",
            "clip_norm": 0.5,
            "adversary": {"alternate": True, "gradient_penalty": 0.0},
            # of the known implementation; it includes the losses of the adversary
            "selection": "total",
            "selection_every": 5,
        }
        trainer = params.pop("trainer", None)
        given: dict[str, Any] = (
            {} if trainer is None else trainer.get_params(deep=False)
        )
        prefix = "trainer__"
        for name in [name for name in params if name.startswith(prefix)]:
            given[name.removeprefix(prefix)] = params.pop(name)
        rates = merge_by_module(
            given.pop("lr", None), options["lr"], cls._trained_modules, "lr"
        )
        adversary = options["adversary"] | (given.pop("adversary", None) or {})
        options |= {k: v for k, v in given.items() if v is not None}
        options |= {"lr": rates, "adversary": adversary}
        batch_size = options["batch_size"]
        if batch_size == "auto":
            batch_size = cls(n_clusters)._auto_batch_size()
        literal: dict[str, Any] = {
            "encoders": (200, 200, 500),
            "scaling": None,
            "attention_temperature": 10.0,
            "attention_weight": float(batch_size**2),
            "adversarial_weight": 10.0,
            "n_init": 20,
        }
        return cls(n_clusters, trainer=Trainer(**options), **(literal | params))

    def _make_network(self, encoders: list[nn.Module], width: int) -> EAMCNetwork:
        # only pretraining ends the competition of heads; it fuses with equal weights,
        # from which attention goes on
        pretrains = bool(self._settings().pretrain_epochs)
        n_heads = self.n_clustering_heads if pretrains else 1
        temperature = self.attention_temperature
        sizes = {
            "hidden_width": int(self.hidden_width),
            "n_clustering_heads": int(n_heads),
            "n_clusters": self._k,
        }
        with refuses_sizes(sizes):
            return EAMCNetwork(
                encoders,
                width,
                self._k,
                None if temperature is None else float(temperature),
                int(self.hidden_width),
                int(n_heads),
                attention_starts_equal=pretrains,
            )

    def _make_parts(self, network: FusionNetwork) -> dict[str, nn.Module]:
        n_modalities = len(network.encoders)
        parts: dict[str, nn.Module] = {}
        if self.adversarial_weight > 0 and n_modalities > 1:
            parts["discriminators"] = Discriminators(n_modalities - 1, network.width)
        # a graph of each modality and as many copies of that of the concatenation
        parts["trust"] = GraphTrust(network.heads.n_heads, 2 * n_modalities)
        return parts

    def _make_phases(self, n_samples: int, settings: TrainingSettings) -> list[Phase]:
        objective = self._objective(settings)
        size = settings.batch_size
        pretrain_epochs, max_epochs = settings.pretrain_epochs, settings.max_epochs
        if pretrain_epochs == "auto":
            # pretraining passes through the samples with neighbours only
            n_paired = min(n_samples, MAX_NEIGHBOR_ROWS)
            pretrain_epochs = auto_epochs(n_paired, size, LEAST_PRETRAIN_EPOCHS)
        if max_epochs == "auto":
            max_epochs = auto_epochs(n_samples, size)
        pretraining = Phase(
            "pretraining",
            pretrain_epochs,
            NeighborAgreement(float(self.size_weight)),
            settings.pretrain_lr,
            sampler=NeighborSampler(self.n_neighbors, settings.n_jobs),
            parts=("trust",),
            compete=keep_best_head,
            screen=score_best_head,
            learns_weights=False,  # attention is not trained yet
        )
        adversarial = Phase(
            "adversarial training",
            max_epochs,
            objective,
            settings.lr,
            parts=("trust", "discriminators"),
        )
        return [pretraining, adversarial]

    def _objective(self, settings: TrainingSettings) -> EAMCObjective:
        return EAMCObjective(
            separation_weight=float(self.separation_weight),
            simplex_weight=float(self.simplex_weight),
            confidence_weight=float(self.confidence_weight),
            balance_weight=float(self.balance_weight),
            attention_weight=float(self.attention_weight),
            # as printed, attention from random weights is free
            inequality_weight=INEQUALITY_WEIGHT if settings.pretrain_epochs else 0.0,
            kernel_width=float(self.kernel_width),
            adversarial_weight=float(self.adversarial_weight),
            reference=self._reference_position(),
            alternate=settings.alternate,
            gradient_penalty=float(settings.gradient_penalty),
        )

    def _reference_position(self) -> int:
        names = [str(name) for name in self.modality_names_in_]
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
