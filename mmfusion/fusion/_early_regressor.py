"""Early fusion with a regressor of the concatenated modalities."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, RegressorMixin

from mmfusion._row_chunks import by_row_chunks
from mmfusion._typing import (
    ByModality,
    ColumnSpecLike,
    EstimatorLike,
    ModalitiesLike,
    RandomStateLike,
)
from mmfusion.fusion._early_predictor import (
    EARLY_PREDICTOR_CONSTRAINTS,
    EarlyFusionPredictor,
)
from mmfusion.fusion._predictor import RegressorRole
from mmfusion.fusion._targets import refuse_without_std
from mmfusion.modalities import Modalities


class EarlyFusionRegressor(
    EarlyFusionPredictor, RegressorRole, RegressorMixin, BaseEstimator
):
    """Regressor on the concatenation of scaled modalities.

    Fits one regressor to ``x = [w_1 s_1(x_1), ..., w_V s_V(x_V)]``, with the weights w
    and scalings s of `EarlyFusion`. Samples may lack modalities, in `fit` and later:
    missing modalities are filled in.

    Parameters
    ----------
    estimator : regressor, default=None
        Any scikit-learn regressor; it is cloned. None is Ridge.
    scaling : {'auto', 'block', 'standard', 'l2'} or None or dict, default='auto'
        Scaling of each modality; see `EarlyFusion`.
    reducer : transformer or dict, default=None
        Dimension reduction of each scaled modality, one for all or a dict by modality
        name; see `EarlyFusion`.
    weights : {'uniform'}, array-like of shape (n_modalities,) or dict, \
default='uniform'
        Factor of each modality's block; see `EarlyFusion`.
    missing : {'mean', 'knn', 'zero', 'raise'}, default='mean'
        Strategy of `ModalityImputer` by which modalities that samples lack are filled
        in, before scaling; 'raise' refuses such samples.
    modality_dropout : float, default=0.0
        Probability with which a modality is dropped in a copy of each sample. The
        regressor is fitted to these copies too, with dropped modalities filled in, so
        that it does not rely on one modality. Without effect with 'raise'.
    on_empty : {'prior', 'raise'}, default='prior'
        Prediction for samples that lack every modality: the mean of y in `fit`, or an
        error, in `fit` too.
    modalities : int, list of int, str or dict, default=None
        Column spec that splits a plain 2-D X; None takes it as one modality. See
        :meth:`Modalities.from_table`.
    random_state : int, RandomState instance or None, default=None
        Set on the regressor, unless None, and seed of the dropout, which is the same in
        each `fit` with None.

    Attributes
    ----------
    estimator_ : regressor
        Fitted regressor.
    fusion_ : EarlyFusion
        Fitted fusion; ``fusion_.scaling_`` holds the scalings that 'auto' chose.
    imputer_ : ModalityImputer or None
        Fitted imputer; None with ``missing='raise'``.
    modality_weights_ : ndarray of shape (n_modalities,)
        Weights of the modalities.
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
        infinite, or a sample lacks a modality with ``missing='raise'``.

    See Also
    --------
    EarlyFusion : The transformer, to be followed by any estimator.
    LateFusionRegressor : Regresses on each modality alone, then combines.

    Notes
    -----
    For dense data without missing modalities, and without a reducer, no array of the
    size of the data is made apart from the concatenation.

    Examples
    --------
    >>> import numpy as np
    >>> from mmfusion import EarlyFusionRegressor
    >>> rng = np.random.default_rng(0)
    >>> X = {"audio": rng.normal(size=(200, 2)), "video": rng.normal(size=(200, 3))}
    >>> y = X["audio"][:, 0] + X["video"][:, 0]
    >>> regressor = EarlyFusionRegressor().fit(X, y)
    >>> bool(regressor.score(X, y) > 0.95)
    True
    >>> regressor.predict({"audio": X["audio"], "video": None}).shape
    (200,)
    """

    _parameter_constraints: dict = EARLY_PREDICTOR_CONSTRAINTS

    def __init__(
        self,
        estimator: EstimatorLike = None,
        *,
        scaling: ByModality[str | None] = "auto",
        reducer: EstimatorLike = None,
        weights: str | ArrayLike | dict[str, float] = "uniform",
        missing: str = "mean",
        modality_dropout: float = 0.0,
        on_empty: str = "prior",
        modalities: ColumnSpecLike = None,
        random_state: RandomStateLike = None,
    ) -> None:
        self.estimator = estimator
        self.scaling = scaling
        self.reducer = reducer
        self.weights = weights
        self.missing = missing
        self.modality_dropout = modality_dropout
        self.on_empty = on_empty
        self.modalities = modalities
        self.random_state = random_state

    @by_row_chunks
    def predict(self, X: ModalitiesLike, *, return_std: bool = False) -> Any:
        """Predict the values of samples.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The data.
        return_std : bool, default=False
            Whether standard deviations are returned, too, if the regressor predicts
            them.

        Returns
        -------
        values : ndarray of shape (n_samples,) or (n_samples, n_outputs)
            Predicted values.
        std : ndarray of the same shape
            Their standard deviations, with `return_std`. For samples that lack every
            modality it is that of y in `fit`.

        Raises
        ------
        ValueError
            If the regressor predicts no standard deviations.
        """
        frame = self._checked(X)
        if not return_std:
            return self._predict_checked(frame)
        refuse_without_std(self.estimator_, "estimator")
        both = self._predict_observed(
            frame,
            lambda matrix: self._target.predictions(
                self.estimator_, matrix, "return_std"
            ),
            np.concatenate([self._target.prior, self._target.spread]),
        )
        mean, std = np.hsplit(both, 2)
        return (mean[:, 0], std[:, 0]) if self._target.is_flat else (mean, std)

    def _predict_checked(self, frame: Modalities) -> np.ndarray:
        values = self._predict_observed(
            frame,
            lambda matrix: self._target.predictions(self.estimator_, matrix, "predict"),
            self._target.prior,
        )
        return values[:, 0] if self._target.is_flat else values
