"""Regression by a network that fuses modalities."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import RegressorMixin
from sklearn.utils.validation import check_is_fitted

from mmfusion._scaling import fit_scaling
from mmfusion._sklearn_compat import StrOptions, fit_context
from mmfusion._target_checks import check_target
from mmfusion._typing import (
    ByModality,
    ColumnSpecLike,
    EncodersLike,
    ModalitiesLike,
    RandomStateLike,
)
from mmfusion.base import SupervisedMixin
from mmfusion.fusion._neural_predictor import FusionLike, NeuralFusionPredictor
from mmfusion.fusion._predictor import nan_unless_observed
from mmfusion.modalities import Modalities
from mmfusion.nn._isolation import isolated
from mmfusion.nn._tasks import GaussianTask, HuberTask, SquaredErrorTask, Task
from mmfusion.nn._trainer import Trainer

TASKS: dict[str, type[Task]] = {
    "squared_error": SquaredErrorTask,
    "huber": HuberTask,
    "gaussian_nll": GaussianTask,
}


class NeuralFusionRegressor(SupervisedMixin, RegressorMixin, NeuralFusionPredictor):
    """Predict values from several modalities by a network that fuses them.

    With encoders E_v, a fusion f and linear heads, the network minimises ::

        l(y, W f(E_1(x_1), ..., E_V(x_V)))
        + modality_loss_weight * mean_v l(y, W_v E_v(x_v))

    where l is the loss of standardised values. In training, modalities of samples are
    dropped and get noise at random, so that predictions hold where a modality is
    missing or noisy; on clean tables, `EarlyFusionRegressor` and `LateFusionRegressor`
    are often as good, and faster.

    Parameters
    ----------
    fusion : {'gated', 'concat', 'mean', 'attention', 'low_rank', 'tensor', 'late', \
            'cross_attention'}, Module or callable, default='gated'
        Fusion of the latents z_v of a sample, with flags o of what is observed.

        - 'gated': ``sum_v g_v * tanh(W_v z_v)`` with gates g_v that depend on all
          latents (Arevalo et al. 2017);
        - 'concat': one layer of all latents side by side;
        - 'mean': mean of the observed latents;
        - 'attention': mean with one weight per modality and sample;
        - 'low_rank': sum of 8 products of a factor of each modality (Liu et al. 2018),
          and 'tensor': a layer of all products (Zadeh et al. 2017), where y is an
          interaction of modalities;
        - 'late': mean of the predictions by each modality, trained apart;
        - 'cross_attention': the frames of each sequence attend to those of the others,
          by content and time (Tsai et al. 2019, with a learned penalty on time
          differences), and are pooled and fused as in 'gated'; where y depends on
          all modalities together and on none alone, set `modality_dropout` to 0, since
          a sample that lacks one has nothing to learn from;
        - a torch module, which is copied, that takes latents of shape (V, m, w) and
          a tensor of bool of shape (m, V), and returns one row per sample; or a
          factory, called with V and w, that returns one.
    encoders : sequence of int, int, str, Module, callable, dict or list, default=None
        Encoder of each modality, see `EAMCClusterer`; here without ReLU after the last
        layer. The last width is that of the latents. Of sequences, widths are those of
        layers of every frame; 'conv' is two convolutions over 5 frames, 'gru' and
        'lstm' a recurrent layer in both directions, each of width 64 unless widths
        follow, as in ``("conv", 32, 32)``; and a module takes frames of shape (m, T, d)
        and a tensor of bool of shape (m, T) of which are observed, and returns frames.
        None is (64, 64) for tables and images, and 'conv' for sequences.
    dropout : float, default=0.3
        Probability with which a unit of the latents, and of the fused latents, is set
        to 0 in training.
    modality_loss_weight : float, default=0.3
        Weight of the losses of the heads of single modalities.
    modality_dropout : float, default=0.3
        Probability with which an observed modality of a sample is dropped in training;
        one of them is kept.
    modality_noise : float, default=0.3
        Probability with which a modality of a sample gets Gaussian noise in training,
        of a standard deviation drawn from 0 to 4, in units of the scaled features.
    loss : {'squared_error', 'huber', 'gaussian_nll'}, default='squared_error'
        Loss of standardised values: their squared error; the Huber loss, linear beyond
        one standard deviation; or the negative log-likelihood of Gaussians whose
        variances the network predicts, too.
    n_members : int, default=4
        Number of networks whose predictions are averaged. They are trained at once,
        as products of batches, for little more than the time of one.
    validation_fraction : float, default=0.0
        Share of the samples that is held out. If positive, the network of the epoch
        with the lowest loss of these samples is kept, and each entry of `history_` has
        this loss as 'valid_loss', which callbacks may monitor.
    scaling : {'auto', 'block', 'standard', 'l2'} or None or dict, default='standard'
        Scaling of each modality, as in `EarlyFusion`, followed by one factor that
        makes its mean square 1 per feature.
    on_empty : {'prior', 'raise'}, default='prior'
        Prediction for samples that lack every modality: the mean of y, or an error,
        in `fit` too.
    trainer : Trainer, default=None
        Options of the training. What it leaves open is, by default,
        ``max_epochs='auto', batch_size=64, lr=0.002, lr_schedule='cosine',
        clip_norm=5.0, selection_every=0`` (1 with a `validation_fraction`), and AdamW
        with ``weight_decay=0.01``; 'auto' is 15 epochs or 400 batches, whichever is
        more. There is no pretraining and there are no discriminators.
    times : int, str or dict, default=None
        Feature of the frames of sequences that is their clock, by its position, such as
        -1, or its name; with ``fusion='cross_attention'`` only, where the clock is no
        feature then. None spreads the frames of each sequence evenly from 0 to 1.
    time_penalty : bool, default=True
        Whether the attention of 'cross_attention' has a learned penalty on squared time
        differences. Otherwise it is by content alone.
    window : float, default=None
        Largest time difference of frames that 'cross_attention' compares, in units of
        the clock, or of relative times from 0 to 1 without one. It bounds the memory
        of long sequences; None compares all.
    modalities : int, list of int, str or dict, default=None
        Column spec that splits a plain 2-D X; None takes it as one modality. See
        :meth:`Modalities.from_table`.
    random_state : int, RandomState instance or None, default=None
        Seed of everything that is drawn. Results do not depend on torch's global
        state, and leave it unchanged.

    Attributes
    ----------
    modality_weights_ : ndarray of shape (n_modalities,)
        Mean of `modality_gates` over the training data.
    history_ : list of dict
        One entry per epoch, with the mean of every loss term.
    n_iter_ : int
        Number of epochs.
    phase_epochs_ : dict of str to int
        Number of epochs by phase; there is one, 'training'.
    module_ : torch.nn.Module
        The trained network.
    loss_ : float
        Loss of the held-out samples, or of all, after training.
    init_scores_ : list of float
        The same, in a list.
    clock_offsets_ : dict of (str, str) to float
        Learned offsets of clocks, with ``fusion='cross_attention'`` and `times`: how
        much later that of the first modality of a pair is than that of the second.
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
        If a cell is NaN or infinite, the encoders make latents of different widths, y
        has not one value per sample or one that is not finite, or later input has
        other modalities or widths than `fit` saw.
    FloatingPointError
        If a loss became NaN or infinite. It is a ValueError, too.

    See Also
    --------
    NeuralFusionClassifier : The same for classes.
    LateFusionRegressor : Combines regressors of single modalities.
    HybridFusionRegressor : Combines them with one of all modalities.

    References
    ----------
    Arevalo, J., Solorio, T., Montes-y-Gomez, M. and Gonzalez, F. A. (2017). Gated
    multimodal units for information fusion. ICLR workshop.

    Liu, Z. et al. (2018). Efficient low-rank multimodal fusion with modality-specific
    factors. ACL, 2247-2256.

    Tsai, Y.-H. H. et al. (2019). Multimodal transformer for unaligned multimodal
    language sequences. ACL, 6558-6569.

    Zadeh, A. et al. (2017). Tensor fusion network for multimodal sentiment analysis.
    EMNLP, 1103-1114.

    Examples
    --------
    >>> from mmfusion import NeuralFusionRegressor, Trainer
    >>> from mmfusion.datasets import make_multimodal_blobs
    >>> X, y = make_multimodal_blobs(missing_rate=0.2, random_state=0)
    >>> regressor = NeuralFusionRegressor(
    ...     encoders=[16, 8],
    ...     loss="gaussian_nll",
    ...     trainer=Trainer(max_epochs=20),
    ...     random_state=0,
    ... ).fit(X, y)
    >>> mean, deviation = regressor.predict(X[:5], return_std=True)
    >>> mean.shape, deviation.shape
    ((5,), (5,))
    """

    _network_attributes = ("_center", "_fitted_loss", "_clocks")
    _parameter_constraints = {
        **NeuralFusionPredictor._parameter_constraints,
        "loss": [StrOptions(set(TASKS))],
    }

    def __init__(
        self,
        fusion: FusionLike = "gated",
        *,
        encoders: EncodersLike = None,
        dropout: float = 0.3,
        modality_loss_weight: float = 0.3,
        modality_dropout: float = 0.3,
        modality_noise: float = 0.3,
        loss: str = "squared_error",
        n_members: int = 4,
        validation_fraction: float = 0.0,
        scaling: ByModality[str | None] = "standard",
        on_empty: str = "prior",
        trainer: Trainer | None = None,
        times: ByModality[int | str | None] = None,
        time_penalty: bool = True,
        window: float | None = None,
        modalities: ColumnSpecLike = None,
        random_state: RandomStateLike = None,
    ) -> None:
        self.fusion = fusion
        self.encoders = encoders
        self.dropout = dropout
        self.modality_loss_weight = modality_loss_weight
        self.modality_dropout = modality_dropout
        self.modality_noise = modality_noise
        self.loss = loss
        self.n_members = n_members
        self.validation_fraction = validation_fraction
        self.scaling = scaling
        self.on_empty = on_empty
        self.trainer = trainer
        self.times = times
        self.time_penalty = time_penalty
        self.window = window
        self.modalities = modalities
        self.random_state = random_state

    @fit_context(prefer_skip_nested_validation=False)
    @isolated()
    def fit(  # type: ignore[override]
        self, X: ModalitiesLike, y: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> Self:
        """Train the network.

        Parameters
        ----------
        X : list, dict, Modalities, torch Dataset, or array-like of shape \
                (n_samples, n_features)
            The data; see the user guide on input. Items of a Dataset are tuples or
            dicts with one array per modality.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Values.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the samples in the loss.

        Returns
        -------
        self
            The fitted estimator.
        """
        return self._fit(X, y, sample_weight)

    @fit_context(prefer_skip_nested_validation=False)
    @isolated()
    def partial_fit(  # type: ignore[override]
        self, X: ModalitiesLike, y: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> Self:
        """Train for one epoch on some of the data; there are no held-out samples.

        Values are standardised by those of the first call.

        Parameters
        ----------
        X : list, dict, Modalities, torch Dataset, or array-like of shape \
                (n_samples, n_features)
            Some samples.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Their values.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the samples in the loss.

        Returns
        -------
        self
            The estimator.
        """
        return self._fit_chunk(X, y, sample_weight)

    def _encode_target(
        self, frame: Modalities, y: Any, weights: np.ndarray, *, reset: bool
    ) -> tuple[np.ndarray, np.ndarray]:
        checked = check_target(self, frame, y, multi_output=True, y_numeric=True)
        values = checked.reshape(len(checked), -1)
        if reset:
            fitted = fit_scaling(values, "standard", weights)
            # a constant output has an infinite spread in a scaling
            spread = np.where(np.isfinite(fitted.spread), fitted.spread, 1.0)
            self._fitted_loss = self.loss
            self._center, self._spread = fitted.center, spread
            self._is_flat = checked.ndim == 1
        n_outputs = len(self._center)
        if values.shape[1] != n_outputs:
            raise ValueError(
                f"y has {values.shape[1]} outputs, and the first call had {n_outputs}"
            )
        standardized = (values - self._center) / self._spread
        return standardized, weights

    @property
    def _task(self) -> Task:
        return TASKS[self._fitted_loss](len(self._center))

    @isolated()
    def predict(
        self, X: ModalitiesLike, return_std: bool = False
    ) -> np.ndarray | tuple[np.ndarray, np.ndarray]:
        """Predict the values of new samples.

        Parameters
        ----------
        X : list, dict, Modalities, torch Dataset, or array-like of shape \
                (n_samples, n_features)
            The data.
        return_std : bool, default=False
            Whether to return standard deviations, too: those of the predicted
            Gaussians, and of the members around their mean; with
            ``loss='gaussian_nll'`` only.

        Returns
        -------
        mean : ndarray of shape (n_samples,) or (n_samples, n_outputs)
            Predicted values.
        std : ndarray of the same shape
            Standard deviations, if `return_std`.
        """
        check_is_fitted(self)
        if return_std and self._task.units_per_output == 1:
            raise ValueError(
                "return_std=True needs predicted variances, and "
                f"loss={self._fitted_loss!r} has none: fit with loss='gaussian_nll'"
            )
        # a sample without modalities: the mean of y, and its variance
        outputs = self._read(X, lambda out: out.logits, 0.0)
        mean = self._in_units(outputs)
        if not return_std:
            return mean
        std = np.exp(outputs[:, len(self._center) :] / 2) * self._spread
        std = std.astype(outputs.dtype, copy=False)
        return mean, std[:, 0] if self._is_flat else std

    @isolated()
    def modality_predictions(self, X: ModalitiesLike) -> np.ndarray:
        """Predict the values of samples from each modality alone, by its own head.

        Parameters
        ----------
        X : list, dict, Modalities, torch Dataset, or array-like of shape \
                (n_samples, n_features)
            The data.

        Returns
        -------
        ndarray of shape (n_samples, n_modalities[, n_outputs])
            Values, as floats; NaN where a sample lacks the modality.
        """
        check_is_fitted(self)
        outputs, observed = self._modality_outputs(X)
        return nan_unless_observed(self._in_units(outputs), observed)

    def _in_units(self, outputs: np.ndarray) -> np.ndarray:
        """Return predicted means in the units and the shape of y."""
        means = outputs[..., : len(self._center)] * self._spread + self._center
        means = means.astype(outputs.dtype, copy=False)
        return means[..., 0] if self._is_flat else means

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags
