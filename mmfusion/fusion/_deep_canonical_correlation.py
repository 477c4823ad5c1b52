"""Deep canonical correlation analysis, with and without autoencoders."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mmfusion._sklearn_compat import Interval, StrOptions
from mmfusion._typing import (
    ByModality,
    ColumnSpecLike,
    EncodersLike,
    ModalitiesLike,
    RandomStateLike,
)
from mmfusion.fusion._correlation_network import (
    CANONICAL,
    ECKART_YOUNG,
    CorrelationObjective,
    ScoreNetwork,
    find_small_pairs,
)
from mmfusion.fusion.combination._canonical_correlation import (
    fit_scores,
    mean_correlations,
)
from mmfusion.modalities import Modalities
from mmfusion.nn._data import Batches
from mmfusion.nn._encoders import declared_width
from mmfusion.nn._estimator import DeepEstimator
from mmfusion.nn._isolation import isolated
from mmfusion.nn._net import DeepNet, Phase
from mmfusion.nn._network import Outputs
from mmfusion.nn._trainer import Trainer, TrainingSettings, auto_epochs
from mmfusion.nn._training import collect_outputs

SAMPLES_PER_DIMENSION = 10  # of a batch: those of noise correlate less, the more
SMALLEST_AUTO_BATCH = 500
WIDTH_OF_MODULES = 100  # of latents, where only the module itself could show it


class DCCA(DeepEstimator):
    """Deep canonical correlation analysis of two and more modalities (DCCA, DCCAE).

    Encoders E_v of the modalities maximise the canonical correlations of their latents
    (Andrew et al. 2013): they minimise ::

        -2 / (V (V - 1)) sum_{u<v} sum_i rho_i(E_u(x_u), E_v(x_v))
        + reconstruction_weight * sum_v (1 / d_v) ||x_v - D_v(E_v(x_v))||^2

    with the canonical correlations rho_i of a batch, mean over the pairs of modalities,
    and in the second term, which makes it DCCAE (Wang et al. 2015), decoders D_v.
    After the training, linear scores of the latents are those that
    :class:`MultimodalCCA` has for the training data: common scores, and scores by
    modality.

    Parameters
    ----------
    n_components : int, default=None
        Number of canonical scores, and of the largest correlations that are maximised.
        None is the last width of the encoders.
    encoders : sequence of int, int, Module, callable, dict or list, \
            default=(128, 128, 10)
        Encoder of each modality, as in `EAMCClusterer`, but that the last layer is
        linear. Its width d is the number of correlations: with as many samples in a
        batch, all would be 1.
    loss : {'canonical', 'eckart_young'}, default='canonical'
        Loss of the latents. 'eckart_young' (Chapman et al. 2023) is ``-2 sum_{u != v}
        tr cov(E_u, E_v) + ||sum_v cov(E_v)||_F^2`` of all d latents: it has the same
        optimum for linear encoders, and needs no large batches, since nothing is
        whitened.
    shrinkage : float, default=1e-3
        Share c in (0, 1) of the identity in the covariance of the latents of a
        modality, ``(1 - c) S + c tr(S) / d I``, in the canonical loss and for the
        scores.
    reconstruction_weight : float, default=0.0
        Weight of the mean squared error of decoders that mirror the encoders; 0 leaves
        them out.
    scaling : {'auto', 'block', 'standard', 'l2'} or None or dict, default='auto'
        Scaling of each modality, as in `EarlyFusion`, followed by one factor that
        makes its mean square 1 per feature. None leaves the modality as it is.
    n_init : int, default=1
        Number of restarts. The one of the highest correlations, by the criterion of
        selection, is kept.
    trainer : Trainer, default=None
        Options of the training. What it leaves open is, by default,
        ``max_epochs='auto', batch_size='auto', lr={'network': 0.001},
        lr_schedule='cosine', clip_norm=5.0, selection='correlation',
        selection_every=0``, and Adam. A batch of 'auto' has 10 d samples and at least
        500, or all (10 d is 1,000 for encoders that are modules or factories). There is
        no pretraining. The criteria are 'correlation', the loss of the latents, and
        'total'.
    modalities : int, list of int, str or dict, default=None
        Column spec that splits a plain 2-D X; None takes it as one modality. See
        :meth:`Modalities.from_table`.
    random_state : int, RandomState instance or None, default=None
        Seed of everything that is drawn. Results do not depend on torch's global
        state, and leave it unchanged.

    Attributes
    ----------
    correlations_ : ndarray of shape (n_components,)
        Correlations of the scores by modality of the samples of `fit`, mean over the
        pairs of modalities; 0 with one modality. Networks reach high ones on noise,
        too: `correlations` has those of other samples.
    history_ : list of dict
        One entry per epoch, with its phase and the mean of every loss term.
    n_iter_ : int
        Number of epochs of all phases.
    phase_epochs_ : dict of str to int
        Number of epochs of each phase, in order; of `partial_fit`, number of calls.
    module_ : torch.nn.Module
        The trained network: its `encoders` in the order of the modalities, its
        `decoders`, and `means` and `axes` of the linear scores.
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
        If a batch has no more samples than the latents are wide (canonical loss), more
        components are required than the latents are wide, a sample lacks every
        modality, a cell is NaN or infinite, the encoders make latents of different
        widths or that are not finite, torch cannot use the device, or later input has
        other modalities or widths than `fit` saw, or values so far off that the network
        overflows.
    FloatingPointError
        If a loss became NaN or infinite in every restart. It is a ValueError, too.

    Warns
    -----
    ConvergenceWarning
        If two modalities share too few samples to be compared, or latents do not vary.

    See Also
    --------
    MultimodalCCA : Linear scores, by one decomposition.
    Trainer : Options of the training.

    Notes
    -----
    With one modality there is nothing to correlate: without a reconstruction, its
    encoder stays as it was drawn. A pair of modalities is compared on the samples of a
    batch that have both. In `partial_fit`, the scores are fitted to the samples of the
    call, so that the last call should have many.

    The gradient is computed in closed form and in float64, not through eigenvectors,
    whose derivatives are infinite where correlations are equal.

    References
    ----------
    Andrew, G., Arora, R., Bilmes, J. and Livescu, K. (2013). Deep canonical
    correlation analysis. ICML, 1247-1255.

    Wang, W., Arora, R., Livescu, K. and Bilmes, J. (2015). On deep multi-view
    representation learning. ICML, 1083-1092 (DCCAE).

    Chapman, J., Wells, L. and Aguila, A. L. (2023). Unconstrained stochastic CCA:
    unifying multiview and self-supervised learning. arXiv:2310.01012.

    Examples
    --------
    A parabola, which no linear scores correlate:

    >>> import numpy as np
    >>> from mmfusion import DCCA, Modalities, MultimodalCCA, Trainer
    >>> rng = np.random.default_rng(0)
    >>> x = rng.uniform(-1, 1, size=(400, 1))
    >>> X = Modalities({"audio": np.hstack([x, rng.normal(size=(400, 2))]),
    ...                 "video": np.hstack([x**2, rng.normal(size=(400, 2))])})
    >>> print(f"{MultimodalCCA(1).fit(X[:300]).score(X[300:]):.1f}")
    0.0
    >>> dcca = DCCA(
    ...     1, encoders=[64, 32, 4], trainer=Trainer(max_epochs=60), random_state=0
    ... )
    >>> print(f"{dcca.fit(X[:300]).score(X[300:]):.1f}")
    1.0
    >>> dcca.transform(X).shape
    (400, 1)

    Clusters of the scores:

    >>> from sklearn.cluster import KMeans
    >>> from sklearn.pipeline import make_pipeline
    >>> make_pipeline(dcca, KMeans(2, n_init=1, random_state=0)).fit_predict(X).shape
    (400,)
    """

    _linear_latents = True
    _trainer_defaults = {
        "max_epochs": "auto",
        "batch_size": "auto",
        "lr": {"network": 1e-3},
        "betas": {"network": (0.9, 0.999)},
        "lr_schedule": "cosine",
        "clip_norm": 5.0,
        "selection": "correlation",
        "selection_every": 0,
    }
    _selection_criteria = ("correlation", "total")
    _predictions_attribute = "correlations_"
    _remedy = (
        "leave out modalities that do not vary, raise trainer__batch_size, or lower "
        "the last width of encoders"
    )

    _parameter_constraints = {
        **DeepEstimator._parameter_constraints,
        "n_components": [Interval(Integral, 1, None, closed="left"), None],
        "loss": [StrOptions({CANONICAL, ECKART_YOUNG})],
        "shrinkage": [Interval(Real, 0, 1, closed="neither")],
        "reconstruction_weight": [Interval(Real, 0, None, closed="left")],
    }

    def __init__(
        self,
        n_components: int | None = None,
        *,
        encoders: EncodersLike = (128, 128, 10),
        loss: str = CANONICAL,
        shrinkage: float = 1e-3,
        reconstruction_weight: float = 0.0,
        scaling: ByModality[str | None] = "auto",
        n_init: int = 1,
        trainer: Trainer | None = None,
        modalities: ColumnSpecLike = None,
        random_state: RandomStateLike = None,
    ) -> None:
        self.n_components = n_components
        self.encoders = encoders
        self.loss = loss
        self.shrinkage = shrinkage
        self.reconstruction_weight = reconstruction_weight
        self.scaling = scaling
        self.n_init = n_init
        self.trainer = trainer
        self.modalities = modalities
        self.random_state = random_state

    # Hooks of the base

    def _auto_batch_size(self) -> int:
        width = declared_width(self.encoders) or WIDTH_OF_MODULES
        return max(SMALLEST_AUTO_BATCH, SAMPLES_PER_DIMENSION * width)

    def _make_network(self, encoders: list[nn.Module], width: int) -> ScoreNetwork:
        k = width if self.n_components is None else int(self.n_components)
        if k > width:
            raise ValueError(
                f"n_components={k}, but the latents have a width of {width}: lower "
                "n_components, or raise the last width of encoders"
            )
        decoders = self._make_decoders(width) if self.reconstruction_weight else None
        return ScoreNetwork(encoders, width, k, decoders)

    def _make_phases(self, n_samples: int, settings: TrainingSettings) -> list[Phase]:
        n_epochs = settings.max_epochs
        if n_epochs == "auto":
            n_epochs = auto_epochs(n_samples, settings.batch_size)
        objective = CorrelationObjective(
            loss=self.loss,
            n_components=None if self.n_components is None else int(self.n_components),
            shrinkage=float(self.shrinkage),
            reconstruction_weight=float(self.reconstruction_weight),
        )
        phase = Phase("training", n_epochs, objective, settings.lr)
        return [phase]

    def _examine(self, net: DeepNet, data: Batches) -> tuple[np.ndarray, list[str]]:
        """Fit the scores; return their correlations."""
        latents = collect_outputs(
            net, data.rows, data.prepare, _scores_by_sample, np.dtype(np.float64)
        ).swapaxes(0, 1)
        observed = data.rows.observed
        if observed is None:
            observed = np.ones((len(data), len(latents)), dtype=bool)
        module = net.module_
        means, axes = fit_scores(
            latents,
            observed,
            module.get_buffer("axes").shape[-1],
            float(self.shrinkage),
        )
        module.get_buffer("means").copy_(torch.as_tensor(means))
        module.get_buffer("axes").copy_(torch.as_tensor(axes))
        names = [str(name) for name in self.modality_names_in_]
        constant = [
            name for name, own in zip(names, axes, strict=True) if not own.any()
        ]
        problems = [f"the latents of {name!r} do not vary" for name in constant]
        if self.loss == CANONICAL:
            batch_share = min(1.0, net.batch_size / len(data))
            problems += find_small_pairs(names, observed, batch_share, module.width)
        scores = (latents - means) @ axes
        return mean_correlations(list(scores), observed), problems

    def _learned(self, net: DeepNet) -> dict[str, Any]:
        learned = super()._learned(net)
        del learned[self._weights_attribute]  # all modalities have one weight
        return learned | {"_n_features_out": net.module_.get_buffer("axes").shape[-1]}

    # Outputs

    def transform(self, X: ModalitiesLike) -> np.ndarray:
        """Compute the common scores of samples.

        Parameters
        ----------
        X : list, dict, Modalities, torch Dataset, or array-like of shape \
                (n_samples, n_features)
            The data.

        Returns
        -------
        ndarray of shape (n_samples, n_components)
            Means of the scores by modality over the modalities that a sample has;
            variances are 1 in `fit`.
        """
        return super().transform(X)

    @isolated()
    def transform_modalities(self, X: ModalitiesLike) -> Modalities:
        """Compute the scores of each modality by itself.

        Samples that belong together are near each other in all modalities, so that
        those of one can be found by another.

        Parameters
        ----------
        X : list, dict, Modalities, torch Dataset, or array-like of shape \
                (n_samples, n_features)
            The data.

        Returns
        -------
        Modalities
            Of each modality, an array of shape (n_samples, n_components); missing as
            in X.
        """
        latents, observed = self._collect(X, _scores_by_sample)
        latents = latents.swapaxes(0, 1)
        means, axes = (
            self.module_.get_buffer(name).cpu().numpy().astype(latents.dtype)
            for name in ("means", "axes")
        )
        scores = zip(self.modality_names_in_, (latents - means) @ axes, strict=True)
        return Modalities(dict(scores), observed=observed)

    def correlations(self, X: ModalitiesLike) -> np.ndarray:
        """Compute the correlations between modalities on other samples.

        Parameters
        ----------
        X : list, dict, Modalities, torch Dataset, or array-like of shape \
                (n_samples, n_features)
            The data.

        Returns
        -------
        ndarray of shape (n_components,)
            Correlation of each component, mean over the pairs of modalities.
        """
        scores = self.transform_modalities(X)
        return mean_correlations(scores.blocks, scores.observed)

    def score(self, X: ModalitiesLike, y: object = None) -> float:
        """Score the components by their correlations on other samples.

        Parameters
        ----------
        X : list, dict, Modalities, torch Dataset, or array-like of shape \
                (n_samples, n_features)
            The data.
        y : object, default=None
            Not used.

        Returns
        -------
        float
            Mean over the components; 0 for those that do not vary.
        """
        return float(self.correlations(X).mean())


def _scores_by_sample(outputs: Outputs) -> Tensor:
    return outputs.latents.movedim(0, 1)
