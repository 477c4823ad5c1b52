"""Late fusion of regressors, one for each modality."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, RegressorMixin

from mmfusion._progress import FitProgress
from mmfusion._row_chunks import by_row_chunks
from mmfusion._sklearn_compat import StrOptions, fit_context
from mmfusion._typing import (
    ByModality,
    ColumnSpecLike,
    CrossValidationLike,
    EstimatorLike,
    ModalitiesLike,
    RandomStateLike,
)
from mmfusion.fusion._branch import HeldOut, Predictions
from mmfusion.fusion._late_predictor import (
    LATE_PREDICTOR_CONSTRAINTS,
    LateFusionPredictor,
)
from mmfusion.fusion._predictor import RegressorRole, nan_unless_observed
from mmfusion.fusion._targets import RegressionTarget, refuse_without_std
from mmfusion.fusion.combination import _opinion_pools
from mmfusion.fusion.combination._predictor_weights import (
    error_covariance,
    mean_squared_error,
    skill,
)
from mmfusion.modalities import Modalities

SMALLEST_ERROR_VARIANCE = 1e-12  # its inverse is a weight


class LateFusionRegressor(
    LateFusionPredictor, RegressorRole, RegressorMixin, BaseEstimator
):
    """Weighted mean of regressors, one for each modality.

    With the predictions ``f_v(x_v)`` of the modality v and weights ``w_v``, the value
    is ``sum_v w_v f_v(x_v) / sum_v w_v`` for 'mean', over the modalities that the
    sample has; their weighted median for 'median'; or the prediction of a final
    estimator for 'stacking'. Samples may lack modalities, in `fit` and later: each
    regressor is fitted to the samples that have its modality.

    Parameters
    ----------
    estimator : regressor or dict, default=None
        Regressor of one modality: one scikit-learn regressor that is cloned, or a
        dict by modality name, whose nested parameters are named ``audio__alpha``, and
        in which 'drop' leaves a modality out. None is Ridge.
    scaling : {'auto', 'block', 'standard', 'l2'} or None or dict, default='auto'
        Scaling of each modality; see `EarlyFusion`. For a modality alone 'auto' takes
        'standard' where it would take 'block', divided by the square root of a tenth of
        the number of features, if there are more than ten.
    combine : {'mean', 'median', 'stacking'}, default='mean'
        Combination of the regressors' predictions: the weighted mean or median, or
        'stacking': `final_estimator` is fitted to held-out predictions [1]_. Missing
        predictions are then replaced by the mean, and marked by one more feature if
        samples of `fit` lacked them.
    weights : {'uniform', 'score', 'inverse_variance', 'error_covariance'}, \
array-like of shape (n_modalities,) or dict, default='uniform'
        Weight of each modality: given, by modality name (1 where a dict does not name
        it), or learned from held-out predictions. 'score': its coefficient of
        determination, a thousandth of the best one's at least. 'inverse_variance':
        the inverse of the variance of its errors. 'error_covariance': the weights of
        least variance ``S^-1 1 / (1' S^-1 1)`` with the covariance S of the errors
        [2]_, which can be negative, computed for each set of modalities that samples
        have. A modality of weight 0 is not used; 'stacking' depends only on which
        weights are 0.
    sample_weighting : {'predictive_variance', 'conformal', 'distance'}, default=None
        Factor of a modality's weight for each sample to predict.
        'predictive_variance': the inverse of the variance that the regressor predicts
        (``predict(X, return_std=True)``). 'conformal': 1, unless the sample is
        significantly unlike those of `fit` in this modality, at level .02; then a
        thousandth. (With fewer than 50 samples none can be.) 'distance': the typical
        squared distance to the nearest samples of `fit` over that of the sample, at
        most 1. 'stacking' does not use it.
    final_estimator : regressor, default=None
        Regressor of 'stacking'; None is RidgeCV.
    passthrough : bool, default=False
        Whether the final estimator of 'stacking' gets the scaled modalities beside the
        predictions, as scikit-learn's stacking gives it X. Missing
        modalities are replaced by their means.
    cv : int, cross-validation generator or iterable, default=5
        Folds of the held-out samples, for 'stacking' and weights; the scaling is
        fitted without them too. An integer is the number of folds.
    on_empty : {'prior', 'raise'}, default='prior'
        Prediction for samples that lack every modality: the mean of y in `fit`, or an
        error, in `fit` too.
    modalities : int, list of int, str or dict, default=None
        Column spec that splits a plain 2-D X; None takes it as one modality. See
        :meth:`Modalities.from_table`.
    n_jobs : int, default=None
        Number of modalities and folds that are fitted at a time. None is 1 unless in a
        joblib context, -1 all processors.
    random_state : int, RandomState instance or None, default=None
        Set on the regressors, unless None, and for the draw of 2000 samples that
        distances are measured to, if there are more.
    verbose : bool or int, default=False
        Whether to show the progress of the fits of modalities: True or 1 by a bar,
        where tqdm is installed and stderr is a terminal or a notebook, else by lines
        with their seconds; 2 by lines.

    Attributes
    ----------
    estimators_ : dict of str to regressor
        Fitted regressors by modality.
    final_estimator_ : regressor or None
        Fitted final estimator; None unless ``combine='stacking'``.
    modality_weights_ : ndarray of shape (n_modalities,)
        Weights of the modalities, with mean 1.
    scaling_ : dict of str to str
        Scaling of each modality; 'auto' is resolved.
    n_modalities_in_ : int
        Number of modalities seen in `fit`.
    modality_names_in_ : ndarray of str of shape (n_modalities,)
        Names of the modalities.
    n_features_per_modality_in_ : ndarray of int of shape (n_modalities,)
        Number of features of each modality.
    n_features_in_ : int
        Number of features in all.
    feature_names_in_ : ndarray of str of shape (`n_features_in_`,)
        Names ``<modality>__<feature>``, if the input had names.

    Raises
    ------
    ValueError
        If a modality is missing for every sample of `fit`, an observed cell is NaN or
        infinite, or a regressor does not predict a variance where it is needed.

    See Also
    --------
    EarlyFusionRegressor : Regresses on the concatenation of modalities.
    HybridFusionRegressor : Does both, and combines them.
    sklearn.ensemble.VotingRegressor : Combines regressors of the same features.

    Notes
    -----
    With several outputs a modality has one weight for all: variances are means over
    outputs, each in units of its standard deviation.

    References
    ----------
    .. [1] L. Breiman (1996), Stacked regressions. Machine Learning 24, 49-64.
    .. [2] J. M. Bates, C. W. J. Granger (1969), The combination of forecasts.
       Operational Research Quarterly 20(4), 451-468.

    Examples
    --------
    >>> import numpy as np
    >>> from mmfusion import LateFusionRegressor
    >>> rng = np.random.default_rng(0)
    >>> y = rng.normal(size=200)
    >>> X = {"audio": y[:, None] + rng.normal(size=(200, 1)),
    ...      "video": y[:, None] + 0.1 * rng.normal(size=(200, 1))}
    >>> regressor = LateFusionRegressor(weights="inverse_variance").fit(X, y)
    >>> bool(regressor.modality_weights_[1] > 10 * regressor.modality_weights_[0])
    True
    >>> regressor.predict({"audio": X["audio"], "video": None}).shape
    (200,)
    """

    _parameter_constraints: dict = {
        **LATE_PREDICTOR_CONSTRAINTS,
        "combine": [StrOptions({"mean", "median", "stacking"})],
        "weights": [
            StrOptions({"uniform", "score", "inverse_variance", "error_covariance"}),
            "array-like",
            dict,
        ],
        "sample_weighting": [
            StrOptions({"predictive_variance", "conformal", "distance"}),
            None,
        ],
    }

    _target: RegressionTarget

    def __init__(
        self,
        estimator: EstimatorLike = None,
        *,
        scaling: ByModality[str | None] = "auto",
        combine: str = "mean",
        weights: str | ArrayLike | dict[str, float] = "uniform",
        sample_weighting: str | None = None,
        final_estimator: BaseEstimator | None = None,
        passthrough: bool = False,
        cv: CrossValidationLike = 5,
        on_empty: str = "prior",
        modalities: ColumnSpecLike = None,
        n_jobs: int | None = None,
        random_state: RandomStateLike = None,
        verbose: bool | int = False,
    ) -> None:
        self.estimator = estimator
        self.scaling = scaling
        self.combine = combine
        self.weights = weights
        self.sample_weighting = sample_weighting
        self.final_estimator = final_estimator
        self.passthrough = passthrough
        self.cv = cv
        self.on_empty = on_empty
        self.modalities = modalities
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.verbose = verbose

    @fit_context(prefer_skip_nested_validation=False)
    def fit(self, X: ModalitiesLike, y: ArrayLike, **params: Any) -> Self:
        """Fit a regressor for every branch, and learn to combine them.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The data; see the user guide on input.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Values of the samples; several outputs if all regressors predict several.
        **params : dict
            Metadata. ``sample_weight`` is for the predictors, scalings, weights and
            the final estimator; ``groups`` for the splitter ``cv``; everything else
            for the predictors' `fit`. Values with one entry per sample are passed on
            for the samples that have the modality. With metadata routing enabled,
            each gets what it requests.

        Returns
        -------
        self
            The fitted estimator.
        """
        self._check_parameters()
        frame, positions = self._without_dropped(self._validate(X, reset=True))
        complete = self._training_data(frame, y, params, list(positions))
        data = complete.without_weight_zero()
        self._target = self._make_target(data)
        folds = self._split(complete)  # cv may give positions among all samples
        unfitted = self._make_branches(data, positions)
        n_fits = len(unfitted) * (1 + len(folds))
        with FitProgress(self, X, y, n_fits, "fit") as progress:
            branches, predicted = self._fit_branches(unfitted, data, folds, progress)
        self._set_branches(branches, frame.names)
        self.final_estimator_ = None
        if self._needs_held_out():
            truth, weight = self._target.encode(data.y), data.sample_weight
            held_out = self._gather_held_out(predicted, folds, data.y)
            means = self._without_std(held_out.predictions)
            if self._weighs_by_covariance():
                errors = (means.values - truth) / self._target.spread
                self._covariance = error_covariance(errors, means.observed, weight)
            self.modality_weights_ = self._learned_weights(means, truth, weight)
            if self.combine == "stacking":
                held_out = HeldOut(means, held_out.fold, held_out.unseen)
                self._fit_final_estimator(held_out, data)
        else:
            self.modality_weights_ = self._given_weights()
        self._references = self._fit_references(data)
        progress.finish()
        return self

    def _check_parameters(self) -> None:
        super()._check_parameters()
        if not self._weighs_by_covariance():
            return
        if self.combine == "median" or self.sample_weighting is not None:
            raise ValueError(
                "weights='error_covariance' can be negative, which only combine='mean' "
                f"with sample_weighting=None can use; got combine={self.combine!r}, "
                f"sample_weighting={self.sample_weighting!r}. Use "
                "weights='inverse_variance'"
            )

    def _method_of(self, template: BaseEstimator, title: str) -> str:
        if not self._weighs_by_variance():
            return "predict"
        refuse_without_std(template, title)
        return "return_std"

    def _weighs_by_variance(self) -> bool:
        by_variance = self.sample_weighting == "predictive_variance"
        return by_variance and self.combine != "stacking"

    def _weighs_by_covariance(self) -> bool:
        named = isinstance(self.weights, str) and self.weights == "error_covariance"
        return named and self.combine != "stacking"

    def _without_std(self, predictions: Predictions) -> Predictions:
        """Return predictions without the standard deviations of 'return_std'."""
        n_outputs = len(self._target.prior)
        return Predictions(predictions.values[:, :, :n_outputs], predictions.observed)

    def _std_of(self, predictions: Predictions) -> np.ndarray:
        """Return the standard deviations of 'return_std'."""
        return predictions.values[:, :, len(self._target.prior) :]

    def _learned_weights(
        self,
        predictions: Predictions,
        truth: np.ndarray,
        sample_weight: np.ndarray | None,
    ) -> np.ndarray:
        if self._weighs_by_covariance():
            complete = np.ones((1, len(self._branches)), dtype=bool)
            weights = _opinion_pools.minimum_variance_weights(
                self._covariance, complete
            )[0]
            return weights * len(weights)  # of mean 1
        return super()._learned_weights(predictions, truth, sample_weight)

    def _weigh(
        self, predictions: Predictions, by_sample: np.ndarray
    ) -> tuple[Predictions, np.ndarray]:
        means = self._without_std(predictions)
        if self._weighs_by_covariance():
            weights = _opinion_pools.minimum_variance_weights(
                self._covariance, predictions.observed
            )
            return means, weights
        if self._weighs_by_variance():
            spreads = self._std_of(predictions) / self._target.spread
            variances = (spreads**2).mean(axis=2).T
            by_sample = 1 / np.maximum(variances, SMALLEST_ERROR_VARIANCE)
        return super()._weigh(means, by_sample)

    def _quality(
        self,
        predictions: np.ndarray,
        truth: np.ndarray,
        sample_weight: np.ndarray | None,
    ) -> float:
        # in units of the outputs' standard deviations, so that each counts alike
        center, spread = self._target.prior, self._target.spread
        predictions, truth = (predictions - center) / spread, (truth - center) / spread
        error = mean_squared_error(predictions, truth, sample_weight)
        if self.weights == "inverse_variance":
            return 1 / max(error, SMALLEST_ERROR_VARIANCE)
        of_mean = mean_squared_error(np.zeros_like(truth), truth, sample_weight)
        return skill(error, of_mean)

    @by_row_chunks
    def predict(self, X: ModalitiesLike, *, return_std: bool = False) -> Any:
        """Predict the values of samples.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The data; samples may lack modalities.
        return_std : bool, default=False
            Whether standard deviations are returned, too. All regressors need to
            predict them, or the final estimator of 'stacking'.

        Returns
        -------
        values : ndarray of shape (n_samples,) or (n_samples, n_outputs)
            Predicted values.
        std : ndarray of the same shape
            Their standard deviations, with `return_std`: those of the mixture of the
            modalities' distributions, with the weights of their mean. It contains
            their disagreement. For samples without a modality it is that of y in `fit`.

        Raises
        ------
        ValueError
            If standard deviations are needed that a regressor does not predict, or that
            the combination has not ('median', and the weights 'error_covariance').
        """
        frame = self._checked(X)
        if return_std:
            return self._predict_with_std(frame)
        values = self._values(frame)
        return values[:, 0] if self._target.is_flat else values

    def _values(self, frame: Modalities) -> np.ndarray:
        """Predict values, with a column for each output."""
        prior, final = self._target.prior, self.final_estimator_
        if final is not None:
            return self._predict_final(
                frame,
                lambda features: self._target.predictions(final, features, "predict"),
                prior,
            )
        predictions, weights = self._predict_branches(frame)
        pool = _opinion_pools.weighted_mean
        if self.combine == "median":
            pool = _opinion_pools.weighted_median
        pooled = pool(predictions.values, weights)
        without = ~weights.any(axis=1)
        if without.any():  # samples without a modality of positive weight
            pooled[without] = prior
        return pooled

    def _predict_with_std(self, frame: Modalities) -> tuple[np.ndarray, np.ndarray]:
        prior, n_outputs = self._target.prior, len(self._target.prior)
        default = np.concatenate([prior, self._target.spread])
        if self.final_estimator_ is not None:
            final = self.final_estimator_
            refuse_without_std(final, "final_estimator")
            both = self._predict_final(
                frame,
                lambda Z: self._target.predictions(final, Z, "return_std"),
                default,
            )
        else:
            if self.combine == "median" or self._weighs_by_covariance():
                raise ValueError(
                    f"return_std=True: combine={self.combine!r} with "
                    f"weights={self.weights!r} has no standard deviation; use "
                    "combine='mean' with other weights"
                )
            for branch in self._branches:
                refuse_without_std(branch.estimator, f"branch {branch.name!r}")
            predictions, by_sample = self._gather_branches(frame, "return_std")
            means, weights = self._weigh(predictions, by_sample)
            pooled = _opinion_pools.mixture_moments(
                means.values, self._std_of(predictions), weights
            )
            both = np.hstack(pooled)
            both[~weights.any(axis=1)] = default
        mean, std = both[:, :n_outputs], both[:, n_outputs:]
        return (mean[:, 0], std[:, 0]) if self._target.is_flat else (mean, std)

    @by_row_chunks
    def modality_predictions(self, X: ModalitiesLike) -> np.ndarray:
        """Predict the values of samples from each modality alone.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The data; samples may lack modalities.

        Returns
        -------
        ndarray of shape (n_samples, n_modalities[, n_outputs])
            Values; NaN where a sample lacks the modality. In hybrid fusion there is
            one column for every branch.
        """
        predictions, _ = self._predict_branches(self._checked(X))
        by_sample = predictions.values.transpose(1, 0, 2)
        values = nan_unless_observed(by_sample, predictions.observed)
        return values[:, :, 0] if self._target.is_flat else values
