"""Classification by a network that fuses modalities."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Self, cast

import numpy as np
import torch
from numpy.typing import ArrayLike
from scipy.optimize import minimize_scalar
from sklearn.base import ClassifierMixin
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.validation import check_is_fitted

from mmfusion._sklearn_compat import StrOptions, fit_context
from mmfusion._typing import (
    ByModality,
    ColumnSpecLike,
    EncodersLike,
    ModalitiesLike,
    RandomStateLike,
)
from mmfusion.base import SupervisedMixin
from mmfusion.fusion._multilabel import LabelsTarget
from mmfusion.fusion._neural_predictor import FusionLike, NeuralFusionPredictor
from mmfusion.fusion._predictor import (
    ClassifierRole,
    TrainingData,
    nan_unless_observed,
)
from mmfusion.fusion._targets import ClassificationTarget
from mmfusion.modalities import Modalities
from mmfusion.nn._data import Batches, Targets
from mmfusion.nn._isolation import isolated
from mmfusion.nn._net import DeepNet
from mmfusion.nn._network import evaluating
from mmfusion.nn._tasks import ClassTask, LabelTask, Task
from mmfusion.nn._trainer import Trainer
from mmfusion.nn._training import OUTPUT_CHUNK_ROWS

LOG_TEMPERATURES = (-3.0, 3.0)


class NeuralFusionClassifier(
    SupervisedMixin, ClassifierRole, ClassifierMixin, NeuralFusionPredictor
):
    """Classify samples of several modalities by a network that fuses them.

    With encoders E_v, a fusion f and linear heads, the network minimises ::

        CE(y, W f(E_1(x_1), ..., E_V(x_V)))
        + modality_loss_weight * mean_v CE(y, W_v E_v(x_v))

    where CE is the cross-entropy. In training, modalities of samples are dropped and
    get noise at random, so that predictions hold where a modality is missing or noisy;
    on clean tables, `EarlyFusionClassifier` and `LateFusionClassifier` are often as
    good, and faster.

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
    class_weight : dict, 'balanced' or None, default=None
        Weights of the classes in the loss.
    calibration : {'temperature'} or None, default=None
        'temperature' divides the logits by a number that makes the held-out samples
        of `validation_fraction` most likely, and one more of which all classes are
        equally likely, so that it does not tend to 0 where all are predicted right.
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
        Prediction for samples that lack every modality: the class prior, or an
        error, in `fit` too.
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
    classes_ : ndarray of shape (n_classes,) or (n_labels, 2)
        Labels of the classes; 0 and 1 for each of several labels.
    modality_weights_ : ndarray of shape (n_modalities,)
        Mean of `modality_gates` over the training data.
    temperature_ : float
        Divisor of the logits; 1 without calibration.
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
        has not one class per sample, `calibration` has no held-out samples, or later
        input has other modalities or widths than `fit` saw.
    FloatingPointError
        If a loss became NaN or infinite. It is a ValueError, too.

    See Also
    --------
    NeuralFusionRegressor : The same for values.
    LateFusionClassifier : Combines classifiers of single modalities.
    HybridFusionClassifier : Combines them with one of all modalities.

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
    >>> from mmfusion import NeuralFusionClassifier, Trainer
    >>> from mmfusion.datasets import make_multimodal_blobs
    >>> X, y = make_multimodal_blobs(missing_rate=0.2, random_state=0)
    >>> classifier = NeuralFusionClassifier(
    ...     encoders=[16, 8], trainer=Trainer(max_epochs=20), random_state=0
    ... ).fit(X, y)
    >>> classifier.predict_proba(X[:5]).shape
    (5, 3)
    >>> classifier.modality_gates(X[:5]).shape
    (5, 2)
    """

    _network_attributes = ("_prior", "_label_dtype", "_clocks")
    _parameter_constraints = {
        **NeuralFusionPredictor._parameter_constraints,
        "class_weight": [dict, StrOptions({"balanced"}), None],
        "calibration": [StrOptions({"temperature"}), None],
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
        class_weight: Mapping[Any, float] | str | None = None,
        calibration: str | None = None,
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
        self.class_weight = class_weight
        self.calibration = calibration
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
        y : array-like of shape (n_samples,) or (n_samples, n_labels)
            Classes; or several labels, 1 for those of a sample and 0 for others.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the samples in the loss.

        Returns
        -------
        self
            The fitted estimator.
        """
        if self.calibration is not None and not self.validation_fraction:
            raise ValueError(
                f"calibration={self.calibration!r} needs held-out samples: give "
                "validation_fraction, such as 0.2"
            )
        self.temperature_ = 1.0
        self._fit(X, y, sample_weight)
        return self

    @fit_context(prefer_skip_nested_validation=False)
    @isolated()
    def partial_fit(  # type: ignore[override]
        self,
        X: ModalitiesLike,
        y: ArrayLike,
        classes: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> Self:
        """Train for one epoch on some of the data; there are no held-out samples.

        Parameters
        ----------
        X : list, dict, Modalities, torch Dataset, or array-like of shape \
                (n_samples, n_features)
            Some samples.
        y : array-like of shape (n_samples,) or (n_samples, n_labels)
            Their classes.
        classes : array-like of shape (n_classes,), default=None
            All classes; needed in the first call unless these samples have all.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the samples in the loss.

        Returns
        -------
        self
            The estimator.
        """
        self._given_classes = classes
        self.temperature_ = 1.0
        try:
            return self._fit_chunk(X, y, sample_weight)
        finally:
            del self._given_classes

    def _encode_target(
        self, frame: Modalities, y: Any, weights: np.ndarray, *, reset: bool
    ) -> tuple[np.ndarray, np.ndarray]:
        checked = self._check_target(frame, y)
        if reset:
            self._set_classes(frame, checked, weights)
        if isinstance(self._target, LabelsTarget):
            if self.class_weight is not None:
                raise ValueError(
                    "class_weight is for exclusive classes, and y has several labels; "
                    "give sample_weight"
                )
            return checked.astype(float), weights
        codes = np.searchsorted(self.classes_, checked)
        known = self.classes_[np.minimum(codes, len(self.classes_) - 1)] == checked
        if not known.all():
            raise ValueError(
                f"y holds {checked[~known].tolist()[0]!r}, which is not one of the "
                f"classes of the first call, {self.classes_.tolist()}: give it "
                "classes=, with all of them"
            )
        if self.class_weight is not None:
            # samples of some calls of partial_fit lack classes that a dict names
            is_dict = isinstance(self.class_weight, Mapping)
            classes = self.classes_ if is_dict else np.unique(checked)
            of_class = compute_class_weight(
                self.class_weight, classes=classes, y=checked
            )
            weights = weights * of_class[np.searchsorted(classes, checked)]
        return codes, weights

    @property
    def _task(self) -> Task:
        kind = ClassTask if self._label_dtype is None else LabelTask
        return kind(len(self._prior))

    def _set_classes(
        self, frame: Modalities, y: np.ndarray, weights: np.ndarray
    ) -> None:
        target = self._make_target(TrainingData(frame, y, {}, {}, {}, weights))
        self._label_dtype = getattr(target, "dtype", None)
        self._prior = target.prior
        given = getattr(self, "_given_classes", None)
        if given is not None:
            self.classes_ = np.unique(np.asarray(given))
            shares = [float(weights[y == label].sum()) for label in self.classes_]
            self._prior = np.asarray(shares) / max(np.sum(shares), np.finfo(float).tiny)

    @property
    def _target(self) -> ClassificationTarget | LabelsTarget:
        if self._label_dtype is not None:
            return LabelsTarget(self._prior, self._label_dtype)
        return ClassificationTarget(self.classes_, self._prior)

    def _validated(self, net: DeepNet, validation: Batches) -> None:
        if self.calibration is None:
            return
        logits, targets = [], cast(Targets, validation.targets)
        with evaluating(net.module_):
            for _, batch in validation.chunks(OUTPUT_CHUNK_ROWS):
                outputs = net.module_(batch.inputs, batch.observed)
                logits.append(outputs.logits.double())
        outputs, weights = torch.cat(logits), targets.weights.double()
        task = cast(ClassTask | LabelTask, self._task)

        def loss(log_temperature: float) -> float:
            scaled = outputs / math.exp(log_temperature)
            losses = task.losses(scaled, targets.values)
            unknown = task.losses_of_unknown(scaled) / len(scaled)
            return float(((losses + unknown) * weights).sum())

        found = minimize_scalar(loss, bounds=LOG_TEMPERATURES, method="bounded")
        self.temperature_ = math.exp(found.x)

    @isolated()
    def decision_function(self, X: ModalitiesLike) -> np.ndarray:
        """Compute the logits of new samples, divided by the temperature.

        Parameters
        ----------
        X : list, dict, Modalities, torch Dataset, or array-like of shape \
                (n_samples, n_features)
            The data.

        Returns
        -------
        ndarray of shape (n_samples,), (n_samples, n_classes) or (n_samples, n_labels)
            The logits. For two classes the log-odds of the second one.
        """
        check_is_fitted(self)
        logits = self._logits(X)
        if len(self.classes_) == 2 and self._target.is_exclusive:
            return logits[:, 1] - logits[:, 0]
        return logits

    @isolated()
    def predict_proba(self, X: ModalitiesLike) -> np.ndarray:
        """Predict the probabilities of the classes.

        Parameters
        ----------
        X : list, dict, Modalities, torch Dataset, or array-like of shape \
                (n_samples, n_features)
            The data.

        Returns
        -------
        ndarray of shape (n_samples, n_classes) or (n_samples, n_labels)
            Probabilities, in the order of ``classes_``; of several labels the
            probability of each.
        """
        check_is_fitted(self)
        return self._read(
            X, lambda out: self._probabilities(out.logits), self._target.prior
        )

    @isolated()
    def predict(self, X: ModalitiesLike) -> np.ndarray:
        """Predict the classes of new samples.

        Parameters
        ----------
        X : list, dict, Modalities, torch Dataset, or array-like of shape \
                (n_samples, n_features)
            The data.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_labels)
            Classes, or 1 for the labels of a sample.
        """
        probabilities = self.predict_proba(X)
        return self._target.decide(probabilities)

    @isolated()
    def modality_predictions(self, X: ModalitiesLike) -> np.ndarray:
        """Predict the class of samples from each modality alone, by its own head.

        Parameters
        ----------
        X : list, dict, Modalities, torch Dataset, or array-like of shape \
                (n_samples, n_features)
            The data.

        Returns
        -------
        ndarray of shape (n_samples, n_modalities[, n_labels])
            Labels. Numbers are floats, NaN where a sample lacks the modality; other
            labels are objects, None there.
        """
        check_is_fitted(self)
        probabilities, observed = self._modality_outputs(X, self._probabilities)
        return nan_unless_observed(self._target.decide(probabilities), observed)

    @isolated()
    def modality_probabilities(self, X: ModalitiesLike) -> dict[str, np.ndarray]:
        """Compute probabilities from each modality alone, by its own head.

        Parameters
        ----------
        X : list, dict, Modalities, torch Dataset, or array-like of shape \
                (n_samples, n_features)
            The data.

        Returns
        -------
        dict of str to ndarray of shape (n_samples, n_classes)
            Probabilities by modality; NaN for samples that lack it.
        """
        check_is_fitted(self)
        return self._by_modality(*self._modality_outputs(X, self._probabilities))

    def _logits(self, X: ModalitiesLike) -> np.ndarray:
        empty = self._target.prior_scores
        if self._target.is_exclusive:  # log-odds of two classes count twice
            empty = np.log(np.maximum(self._target.prior, np.finfo(float).tiny))
        return self._read(X, lambda out: out.logits / self.temperature_, empty)

    def _probabilities(self, logits: torch.Tensor) -> torch.Tensor:
        scaled = logits / self.temperature_
        return scaled.softmax(-1) if self._target.is_exclusive else scaled.sigmoid()
