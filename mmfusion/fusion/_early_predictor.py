"""Base of the early fusion of predictors, where samples may lack modalities."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from numbers import Real
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator
from sklearn.utils.metadata_routing import MetadataRouter
from sklearn.utils.metaestimators import available_if

from mmfusion._accepted_cells import accepted_cells
from mmfusion._blocks import over_all_samples
from mmfusion._row_chunks import by_row_chunks
from mmfusion._scaling_choice import choose_predictor_scaling
from mmfusion._sklearn_compat import HasMethods, Interval, StrOptions, fit_context
from mmfusion._typing import (
    ByModality,
    ColumnSpecLike,
    EstimatorLike,
    ModalitiesLike,
    NumericBlock,
    RandomStateLike,
)
from mmfusion._validation import refuse_empty_samples
from mmfusion.base import PerModalityParams
from mmfusion.fusion._branch import (
    EARLY_BRANCH,
    Branch,
    draw_seed,
    resolve_scaling,
)
from mmfusion.fusion._early_transformer import EarlyFusion
from mmfusion.fusion._predictor import (
    FusionPredictor,
    TrainingData,
    nan_unless_observed,
)
from mmfusion.modalities import Modalities

EARLY_PREDICTOR_CONSTRAINTS: dict = {
    **EarlyFusion._parameter_constraints,
    "estimator": [HasMethods(["fit", "predict"]), None],
    "missing": [StrOptions({"mean", "knn", "zero", "raise"})],
    "modality_dropout": [Interval(Real, 0, 1, closed="left")],
    "on_empty": [StrOptions({"prior", "raise"})],
    "random_state": ["random_state"],
}


def estimator_has(method: str) -> Callable[[EarlyFusionPredictor], bool]:
    """Return a check for ``available_if``: whether the predictor has a method.

    Parameters
    ----------
    method : str
        Name of the method.

    Returns
    -------
    callable
        Check of an early fusion estimator.
    """

    def check(estimator: EarlyFusionPredictor) -> bool:
        return hasattr(estimator._template(), method)

    return check


def _fills_in(estimator: EarlyFusionPredictor) -> bool:
    """Return whether missing modalities are filled in, or raise the reason."""
    if estimator.missing == "raise":
        raise AttributeError(
            "missing='raise' lets no modality be missing, so that none can be used "
            "alone; give missing='mean'"
        )
    return True


class EarlyFusionPredictor(PerModalityParams, FusionPredictor):
    """Base of estimators that fit one predictor to all modalities, concatenated."""

    _reducers_param = "reducer"

    scaling: ByModality[str | None]
    reducer: EstimatorLike
    weights: str | ArrayLike | dict[str, float]
    missing: str
    modality_dropout: float
    modalities: ColumnSpecLike
    random_state: RandomStateLike

    _target: Any  # a Target of _branch
    _make_target: Callable[..., Any]

    def _template(self) -> BaseEstimator:
        return self._templates()["estimator"]

    def _branches_of(self, modality: str) -> Sequence[str]:
        return [EARLY_BRANCH]

    @fit_context(prefer_skip_nested_validation=False)
    def fit(self, X: ModalitiesLike, y: ArrayLike, **params: Any) -> Self:
        """Fit the predictor to the concatenation of the scaled modalities.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The data; see the user guide on input.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Classes or values. Several outputs are labels, 1 for those of a sample and
            0 for others, or values, for regressors that predict several.
        **params : dict
            Metadata for the predictor's `fit`, such as ``sample_weight``, which then
            weighs the scaling too. With metadata routing enabled, the predictor gets
            what it requests.

        Returns
        -------
        self
            The fitted estimator.
        """
        self._check_parameters()
        frame = self._validate(X, reset=True)
        self._refuse_names_of_parameters(frame.names)
        data = self._training_data(frame, y, params, [EARLY_BRANCH])
        data = data.without_weight_zero()
        self._target = self._make_target(data)
        branch = self._make_branch(data)
        self._branch = branch.fit(
            data.frame, data.y, self._target, data.branch_params[EARLY_BRANCH]
        )
        self.estimator_ = self._branch.estimator
        self.fusion_: EarlyFusion = self._branch.fusion  # type: ignore[assignment]
        # fusion_ takes the same X as this estimator
        self.fusion_._take_layout(self)
        self.imputer_ = self._branch.imputer
        self.modality_weights_ = self.fusion_.modality_weights_
        return self

    def _make_branch(self, data: TrainingData) -> Branch:
        names = data.frame.names
        weight = data.branch_params[EARLY_BRANCH].get("sample_weight")
        return Branch(
            names[0] if len(names) == 1 else EARLY_BRANCH,  # for errors
            list(range(len(names))),
            self._template(),
            resolve_scaling(
                data.frame, self.scaling, (), weight, choose_predictor_scaling
            ),
            self.reducer,
            self.weights,
            missing="skip" if self.missing == "raise" else self.missing,
            dropout=self.modality_dropout,
            seed=draw_seed(self.random_state),
        )

    def _checked(self, X: ModalitiesLike) -> Modalities:
        frame = self._validate(X, reset=False)
        if self.on_empty == "raise":
            refuse_empty_samples(frame)
        return frame

    def _predict_observed(
        self,
        frame: Modalities,
        predict: Callable[[NumericBlock], np.ndarray],
        default: ArrayLike,
    ) -> np.ndarray:
        """Predict for samples with some modality; the default for others."""
        rows = self._branch.observed(frame)
        default = np.asarray(default)
        if not rows.any():
            return np.broadcast_to(default, (len(frame), *default.shape)).copy()
        values = predict(self._branch.transform(frame, rows))
        return over_all_samples(values, rows, default)

    def _predict_checked(self, frame: Modalities) -> np.ndarray:
        """Predict labels or values for a checked frame."""
        raise NotImplementedError

    @by_row_chunks
    def predict(self, X: ModalitiesLike) -> np.ndarray:
        """Predict the classes or values of samples.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The data.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_outputs)
            Labels, or values.
        """
        return self._predict_checked(self._checked(X))

    @available_if(_fills_in)
    @by_row_chunks
    def modality_predictions(self, X: ModalitiesLike) -> np.ndarray:
        """Predict from each modality alone, with the others filled in.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The data.

        Returns
        -------
        ndarray of shape (n_samples, n_modalities[, n_outputs])
            Labels or values. Numbers are floats, NaN where a sample lacks the
            modality; other labels are objects, None there.
        """
        frame = self._checked(X)
        predictions = []
        for v in range(len(frame.names)):
            alone = np.zeros(frame.shape, dtype=bool)
            alone[:, v] = True
            predictions.append(self._predict_checked(Modalities(frame, observed=alone)))
        return nan_unless_observed(np.stack(predictions, axis=1), frame.observed)

    def get_metadata_routing(self) -> MetadataRouter:
        """Get the metadata that the predictor requests.

        Returns
        -------
        MetadataRouter
            The routing of `fit`.
        """
        return self._router()

    def _takes_nan(self, modality: str) -> bool:
        reducer = self.reducer
        if isinstance(reducer, Mapping):
            reducer = reducer.get(modality)
        first = self._template() if reducer is None else reducer
        # the nearest neighbors of 'knn' have no distances with NaN
        return self.missing != "knn" and accepted_cells(first).nan
