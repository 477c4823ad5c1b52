"""Classification of vectors by Gaussian densities of modalities given the class."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from numbers import Integral, Real
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import log_softmax
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import check_random_state
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted

from mmfusion._block_checks import ModalityTags
from mmfusion._options import (
    by_modality,
    errors_about,
    errors_name,
    weights_by_modality,
)
from mmfusion._row_chunks import by_row_chunks
from mmfusion._sklearn_compat import Interval, StrOptions, fit_context
from mmfusion._target_checks import (
    check_target,
    validate_sample_weight,
)
from mmfusion._typing import (
    ByModality,
    ColumnSpecLike,
    ModalitiesLike,
    RandomStateLike,
)
from mmfusion.base import ModalityMixin, SupervisedMixin
from mmfusion.fusion._class_calibration import (
    TEMPERATURES,
    best_temperature,
    temperature_losses,
)
from mmfusion.fusion._class_densities import Regularization
from mmfusion.fusion._class_model import (
    DENSITY_TYPES,
    DensityOptions,
    ModalityClasses,
    fit_modality,
)
from mmfusion.fusion._class_priors import checked_priors
from mmfusion.graphical._class_scores import discriminative_weights
from mmfusion.modalities import Modalities

COUNTS = [Interval(Integral, 1, None, closed="left")]
SHRINKAGES = [StrOptions({"auto"}), Interval(Real, 0, 1, closed="both")]


class GaussianBayesClassifier(
    ModalityMixin, SupervisedMixin, ClassifierMixin, BaseEstimator
):
    r"""Classify by Gaussian densities of the modalities, independent given the class.

    A sample x, with the modalities O that it has, has the probabilities

    .. math::

        p(c \mid x) \propto \pi_c \prod_{v \in O} \tilde b_v(x_v \mid c)^{w_v / T},
        \qquad \tilde b_v = (1 - \epsilon) b_v + \epsilon \,
        \mathcal N(m_v, \kappa S_v)

    with Gaussian densities :math:`b_v` of each class, an outlier component of the
    pooled moments :math:`m_v, S_v`, weights :math:`w_v` of the modalities and a
    temperature T. A modality that a sample lacks is left out, and so is a feature that
    is NaN: exactly the marginal density, with nothing filled in. A modality that is far
    from all classes, as by noise, is an outlier in all of them, without influence.

    Parameters
    ----------
    covariance_type : {'tied', 'diag', 'full', 'mixture'} or dict, default='tied'
        Density of each modality: Gaussian with one covariance of all classes ('tied'),
        independent features ('diag') or a covariance of each class ('full'), or a
        mixture of Gaussian components with independent features ('mixture').
    n_mixtures : int or dict, default=2
        Number of components of each class, for 'mixture'.
    priors : array-like of shape (n_classes,) or dict, default=None
        Probabilities of the classes, in sorted order or by class. None takes their
        shares in `fit`.
    modality_weights : 'discriminative', array-like or dict, default=None
        Exponents of the densities. 'discriminative' minimises the held-out log loss;
        None is 1 for all modalities.
    outlier_share : float, default=0.01
        Prior probability of outliers, below 1; 0 leaves the component out.
    outlier_scale : float, default=5.0
        Factor of the pooled variances in the outlier component.
    calibrate : bool, default=True
        Whether the inflation of covariances and the temperature are fitted on held-out
        samples; otherwise they are 1.
    variance_prior : float, default=2.0
        Number of samples as which the covariance within all classes counts in that of
        each class; 0 is maximum likelihood.
    var_smoothing : float, default=1e-9
        Share of the variance of each feature that is added to its variances.
    shrinkage : 'auto', float or dict, default='auto'
        Share by which correlations are reduced, for 'tied' and 'full'. 'auto' is the
        oracle approximating shrinkage [1]_.
    modalities : int, list of int, str or dict, default=None
        Column spec that splits a plain 2-D X; None takes it as one modality. See
        :meth:`Modalities.from_table`.
    random_state : int, RandomState instance or None, default=None
        Seed of the first centres of 'mixture'.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Labels of the classes.
    class_prior_ : ndarray of shape (n_classes,)
        Probabilities of the classes.
    class_count_ : ndarray of shape (n_classes,)
        Sum of the weights of the samples of each class.
    means_ : dict of str to ndarray of shape (n_classes, n_features)
        Means of the classes by modality.
    modality_weights_ : ndarray of shape (n_modalities,)
        Weights of the modalities.
    inflations_ : dict of str to float
        Factor of the covariances of each modality, at least 1.
    temperature_ : float
        Divisor of the log densities.
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
        If a modality is missing for every sample of `fit`, `priors` are no
        probabilities, or a covariance without shrinkage is singular.

    See Also
    --------
    LateFusionClassifier : Combines any classifiers of the modalities.
    EarlyFusionClassifier : Classifies the concatenation of the modalities.

    Notes
    -----
    Covariances of few samples are too small for others: all of a modality are inflated
    by the mean squared distance of samples to a class that they are held out of, for
    each feature. The temperature minimises the log loss of these held-out densities,
    which have a closed form: the moments of a class lose one sample, and inverse
    covariances by one step of rank one; regularisation, and the responsibilities of
    'mixture', are kept. A weight above 1 counts as so many samples, of which one is
    held out. Of several calls of `partial_fit`, each adds its moments and losses;
    'mixture' and 'discriminative' need all samples in `fit`.

    Of one modality, without outliers, temperature and `variance_prior`, 'diag' is
    :class:`~sklearn.naive_bayes.GaussianNB`, and without shrinkage 'tied' is
    :class:`~sklearn.discriminant_analysis.LinearDiscriminantAnalysis` and 'full' is
    :class:`~sklearn.discriminant_analysis.QuadraticDiscriminantAnalysis`, with
    covariances of maximum likelihood. A feature that is constant in `fit` does not
    count. A class without a modality has the density of all other classes in it.

    References
    ----------
    .. [1] Y. Chen, A. Wiesel, Y. C. Eldar, A. O. Hero (2010), Shrinkage algorithms for
       MMSE covariance estimation. IEEE Transactions on Signal Processing 58,
       5016-5029, equation 23, of correlations.

    Examples
    --------
    >>> from mmfusion import GaussianBayesClassifier
    >>> from mmfusion.datasets import make_multimodal_blobs
    >>> X, y = make_multimodal_blobs(missing_rate=0.2, random_state=0)
    >>> classifier = GaussianBayesClassifier().fit(X[:80], y[:80])
    >>> classifier.predict_proba(X[80:]).shape
    (20, 3)
    >>> classifier.reliability(X[80:]).shape
    (20, 2)
    """

    _parameter_constraints: dict = {
        "covariance_type": [StrOptions(set(DENSITY_TYPES)), dict],
        "n_mixtures": [*COUNTS, dict],
        "priors": ["array-like", dict, None],
        "modality_weights": [StrOptions({"discriminative"}), "array-like", dict, None],
        "outlier_share": [Interval(Real, 0, 1, closed="left")],
        "outlier_scale": [Interval(Real, 0, None, closed="neither")],
        "calibrate": ["boolean"],
        "variance_prior": [Interval(Real, 0, None, closed="left")],
        "var_smoothing": [Interval(Real, 0, None, closed="left")],
        "shrinkage": [*SHRINKAGES, dict],
        "modalities": ["array-like", str, dict, Integral, None],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        covariance_type: ByModality[str] = "tied",
        *,
        n_mixtures: ByModality[int] = 2,
        priors: ArrayLike | Mapping[Any, float] | None = None,
        modality_weights: ArrayLike | ByModality[float] | str | None = None,
        outlier_share: float = 0.01,
        outlier_scale: float = 5.0,
        calibrate: bool = True,
        variance_prior: float = 2.0,
        var_smoothing: float = 1e-9,
        shrinkage: ByModality[float | str] = "auto",
        modalities: ColumnSpecLike = None,
        random_state: RandomStateLike = None,
    ) -> None:
        self.covariance_type = covariance_type
        self.n_mixtures = n_mixtures
        self.priors = priors
        self.modality_weights = modality_weights
        self.outlier_share = outlier_share
        self.outlier_scale = outlier_scale
        self.calibrate = calibrate
        self.variance_prior = variance_prior
        self.var_smoothing = var_smoothing
        self.shrinkage = shrinkage
        self.modalities = modalities
        self.random_state = random_state

    @fit_context(prefer_skip_nested_validation=True)
    def fit(
        self, X: ModalitiesLike, y: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> Self:
        """Fit the densities of the classes, and the temperature.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The data; see the user guide on input.
        y : array-like of shape (n_samples,)
            Labels.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the samples. None is equal weights.

        Returns
        -------
        self
            The fitted classifier.
        """
        frame = self._validate(X, reset=True)
        y = self._checked_labels(frame, y)
        weight = validate_sample_weight(sample_weight, frame)
        self.classes_ = np.unique(y[weight > 0])
        self._start(frame)
        self._add(frame[weight > 0], y[weight > 0], weight[weight > 0])
        return self

    @available_if(lambda self: self._adds_samples())
    @fit_context(prefer_skip_nested_validation=True)
    def partial_fit(
        self,
        X: ModalitiesLike,
        y: ArrayLike,
        classes: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> Self:
        """Add samples to the densities of the classes.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            Further samples.
        y : array-like of shape (n_samples,)
            Labels.
        classes : array-like of shape (n_classes,), default=None
            All labels that y can have, in the first call.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the samples. None is equal weights.

        Returns
        -------
        self
            The fitted classifier.

        Raises
        ------
        ValueError
            If the first call has no `classes`, or a label is not among them.
        """
        is_first = not hasattr(self, "_models")
        if is_first and classes is None:
            raise ValueError(
                "the first call of partial_fit needs classes, all labels that y can "
                "have in later calls"
            )
        frame = self._validate(X, reset=is_first)
        y = self._checked_labels(frame, y)
        weight = validate_sample_weight(sample_weight, frame)
        if is_first:
            self.classes_ = np.unique(np.asarray(classes))
            self._start(frame)
        elif classes is not None and not np.array_equal(
            np.unique(np.asarray(classes)), self.classes_
        ):
            raise ValueError(
                f"classes={classes!r} are not those of the first call, "
                f"{self.classes_.tolist()}"
            )
        unknown = np.setdiff1d(y, self.classes_)
        if unknown.size:
            raise ValueError(
                f"y has the label {unknown[0]!r}, which is not in classes="
                f"{self.classes_.tolist()}"
            )
        self._add(frame, y, weight)
        return self

    @by_row_chunks
    def predict(self, X: ModalitiesLike) -> np.ndarray:
        """Predict the classes of samples.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The data.

        Returns
        -------
        ndarray of shape (n_samples,)
            Labels of the likeliest classes.
        """
        joint = self._joint(X)
        return self.classes_[joint.argmax(axis=1)]

    @by_row_chunks
    def predict_proba(self, X: ModalitiesLike) -> np.ndarray:
        """Predict the probabilities of the classes.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The data.

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            Probabilities; of samples that lack every modality, `class_prior_`.
        """
        return np.exp(log_softmax(self._joint(X), axis=1))

    @by_row_chunks
    def predict_log_proba(self, X: ModalitiesLike) -> np.ndarray:
        """Predict the logarithms of the probabilities of the classes.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The data.

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            Logarithms of the result of `predict_proba`.
        """
        return log_softmax(self._joint(X), axis=1)

    @by_row_chunks
    def reliability(self, X: ModalitiesLike) -> np.ndarray:
        """Compute the probability that a modality of a sample is no outlier.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The data.

        Returns
        -------
        ndarray of shape (n_samples, n_modalities)
            Probabilities given all modalities of the sample; NaN where it lacks one.
        """
        check_is_fitted(self)
        frame = self._validate(X, reset=False)
        posterior = np.exp(log_softmax(self._joint_of(frame), axis=1))
        out = np.full((len(frame), len(frame.names)), np.nan)
        for v, (rows, values, model) in enumerate(self._parts(frame)):
            out[rows, v] = model.inlier_probability(
                values, self._log_prior, posterior[rows]
            )
        return out

    # Fitting

    def _adds_samples(self) -> bool:
        """Return whether all options are moments, or raise the reason."""
        given = self.covariance_type
        if "mixture" in (given.values() if isinstance(given, Mapping) else [given]):
            raise AttributeError(
                "covariance_type='mixture' needs all samples in fit; partial_fit adds "
                "moments, of 'diag', 'tied' and 'full'"
            )
        if isinstance(self.modality_weights, str):
            raise AttributeError(
                "modality_weights='discriminative' needs all samples in fit; give "
                "numbers to partial_fit"
            )
        return True

    def _checked_labels(self, frame: Modalities, y: ArrayLike) -> np.ndarray:
        y = check_target(self, frame, y)
        check_classification_targets(y)
        return y

    def _start(self, frame: Modalities) -> None:
        """Set what does not depend on the samples."""
        n_classes = len(self.classes_)
        self._options = self._resolved_options(list(frame.names))
        self._models: dict[str, ModalityClasses] = {}
        self.class_count_ = np.zeros(n_classes)
        self._losses = np.zeros(len(TEMPERATURES))
        self._is_discriminative = isinstance(self.modality_weights, str)
        given = None if self._is_discriminative else self.modality_weights
        with errors_about("modality_weights"):
            self.modality_weights_ = weights_by_modality(given, frame.names)
        self.temperature_ = 1.0
        self.inflations_ = dict.fromkeys(frame.names, 1.0)
        self._given_prior = None
        if self.priors is not None:
            self._given_prior = checked_priors(self.priors, self.classes_)

    def _resolved_options(self, names: list[str]) -> dict[str, DensityOptions]:
        kinds = by_modality(
            self.covariance_type, names, "covariance_type", "tied", DENSITY_TYPES
        )
        counts = by_modality(self.n_mixtures, names, "n_mixtures", 2)
        shares = by_modality(self.shrinkage, names, "shrinkage", "auto")
        options = {}
        for name, kind, n_mixtures, shrinkage in zip(
            names, kinds, counts, shares, strict=True
        ):
            _check_option(shrinkage, "shrinkage", name, SHRINKAGES, "'auto' or 0 to 1")
            _check_option(n_mixtures, "n_mixtures", name, COUNTS, "at least 1")
            options[name] = DensityOptions(
                kind or "tied",
                n_mixtures,
                float(self.outlier_share),
                float(self.outlier_scale),
                Regularization(
                    float(self.variance_prior), float(self.var_smoothing), shrinkage
                ),
            )
        return options

    def _add(self, frame: Modalities, y: np.ndarray, weight: np.ndarray) -> None:
        """Add samples to moments and losses, and set what follows from them."""
        n_classes = len(self.classes_)
        rng = check_random_state(self.random_state)
        codes = np.searchsorted(self.classes_, y)
        self.class_count_ = self.class_count_ + np.bincount(
            codes, weights=weight, minlength=n_classes
        )
        for v, name in enumerate(frame.names):
            rows = frame.observed[:, v]
            with errors_name(name):
                self._models[name] = fit_modality(
                    _dense_rows(frame, v, rows),
                    codes[rows],
                    weight[rows],
                    n_classes,
                    self._options[name],
                    rng,
                    self._models.get(name),
                )
        self._set_prior()
        self.means_ = {
            name: np.where(
                model.moments.counts > 0,
                model.moments.means * model.unit + model.origin,
                np.nan,
            )
            for name, model in self._models.items()
        }
        if self.calibrate or self._is_discriminative:
            self._calibrate(frame, codes, weight)

    def _set_prior(self) -> None:
        if self._given_prior is not None:
            self.class_prior_ = self._given_prior
        else:
            self.class_prior_ = self.class_count_ / self.class_count_.sum()
        with np.errstate(divide="ignore"):
            self._log_prior = np.log(self.class_prior_)

    def _calibrate(
        self, frame: Modalities, codes: np.ndarray, weight: np.ndarray
    ) -> None:
        """Set inflations, temperature and weights by held-out samples."""
        held_out = np.zeros((len(frame.names), len(frame), len(self.classes_)))
        for v, (rows, values, model) in enumerate(self._parts(frame)):
            if self.calibrate:
                model = model.calibrated(values, codes[rows], weight[rows])
                self._models[frame.names[v]] = model
            held_out[v, rows] = model.held_out(
                values, codes[rows], weight[rows], self._log_prior
            )
        if self._is_discriminative:
            weights = discriminative_weights(
                dict(zip(frame.names, held_out, strict=True)),
                codes,
                log_prior=self._log_prior,
                sample_weight=weight,
            )
            self.modality_weights_ = np.array([weights[n] for n in frame.names])
        if self.calibrate:
            scores = np.tensordot(self.modality_weights_, held_out, axes=1)
            self._losses = self._losses + temperature_losses(
                scores, self._log_prior, codes, weight
            )
            self.temperature_ = best_temperature(self._losses)
            self.inflations_ = {n: m.inflation for n, m in self._models.items()}

    # Prediction

    def _joint(self, X: ModalitiesLike) -> np.ndarray:
        check_is_fitted(self)
        return self._joint_of(self._validate(X, reset=False))

    def _joint_of(self, frame: Modalities) -> np.ndarray:
        """Return the log probabilities of classes and samples, up to a constant."""
        joint = np.zeros((len(frame), len(self.classes_)))
        factors = self.modality_weights_ / self.temperature_
        for factor, (rows, values, model) in zip(
            factors, self._parts(frame), strict=True
        ):
            joint[rows] += factor * model.log_density(values, self._log_prior)
        return joint + self._log_prior

    def _parts(
        self, frame: Modalities
    ) -> Iterator[tuple[np.ndarray, np.ndarray, ModalityClasses]]:
        """Iterate over samples that have a modality, their values and the densities."""
        for v, name in enumerate(frame.names):
            rows = frame.observed[:, v]
            yield np.flatnonzero(rows), _dense_rows(frame, v, rows), self._models[name]

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "temperature_") and bool(self._models)

    def __modality_tags__(self) -> ModalityTags:
        return replace(
            super().__modality_tags__(), missing=True, takes_nan=lambda name: True
        )

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags


def _dense_rows(frame: Modalities, v: int, rows: np.ndarray) -> np.ndarray:
    return np.asarray(frame.blocks[v][rows], dtype=np.float64)


def _check_option(
    value: object, parameter: str, name: str, allowed: list[Any], words: str
) -> None:
    """Raise an error for a value in a dict by modality."""
    if not any(constraint.is_satisfied_by(value) for constraint in allowed):
        raise ValueError(f"{parameter}[{name!r}] is {value!r}; it must be {words}")
