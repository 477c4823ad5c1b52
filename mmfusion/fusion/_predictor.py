"""Base of the fusion classifiers and regressors: input of `fit`, target, metadata."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn import get_config
from sklearn.base import BaseEstimator
from sklearn.linear_model import LogisticRegression, Ridge, RidgeCV
from sklearn.model_selection import check_cv
from sklearn.utils import Tags, get_tags
from sklearn.utils.metadata_routing import (
    MetadataRouter,
    MethodMapping,
    process_routing,
)
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import check_classification_targets

from mmfusion._blocks import of_samples
from mmfusion._row_labels import check_row_labels
from mmfusion._scaling import fit_scaling
from mmfusion._target_checks import (
    check_target,
    validate_sample_weight,
)
from mmfusion._typing import EstimatorLike, ModalitiesLike
from mmfusion._validation import refuse_empty_samples
from mmfusion.base import SupervisedMixin
from mmfusion.fusion._multilabel import LabelsTarget
from mmfusion.fusion._nested_estimators import NestedEstimatorsMixin
from mmfusion.fusion._targets import ClassificationTarget, RegressionTarget
from mmfusion.modalities import Modalities


@dataclass(frozen=True)
class TrainingData:
    """Checked input of `fit`, with metadata by recipient.

    Parameters
    ----------
    frame : Modalities
        All modalities.
    y : ndarray of shape (n_samples,) or (n_samples, n_outputs)
        Classes or values.
    branch_params : dict of str to dict
        Metadata for the predictors by name of the branch.
    split_params : dict
        Metadata for the splitter.
    final_params : dict
        Metadata for the final estimator.
    sample_weight : ndarray of shape (n_samples,), default=None
        Weights of the samples in everything else.
    """

    frame: Modalities
    y: np.ndarray
    branch_params: dict[str, dict[str, Any]]
    split_params: dict[str, Any]
    final_params: dict[str, Any]
    sample_weight: np.ndarray | None = None

    def counted(self) -> np.ndarray:
        """Return which samples have a positive weight, as a mask."""
        if self.sample_weight is None:
            return np.ones(len(self.frame), dtype=bool)
        return np.asarray(self.sample_weight > 0)

    def without_weight_zero(self) -> TrainingData:
        """Return the data without the samples of weight 0."""
        counted = self.counted()
        if counted.all():
            return self

        def of_counted(params: Mapping[str, Any]) -> dict[str, Any]:
            return {key: of_samples(value, counted) for key, value in params.items()}

        return TrainingData(
            self.frame[counted],
            self.y[counted],
            {name: of_counted(params) for name, params in self.branch_params.items()},
            of_counted(self.split_params),
            of_counted(self.final_params),
            of_samples(self.sample_weight, counted),
        )


class FusionPredictor(NestedEstimatorsMixin, SupervisedMixin):
    """Base of fusion estimators that predict y by nested predictors.

    A role (`ClassifierRole`, `RegressorRole`) defines the target and the defaults.
    """

    _estimators_param: str = "estimator"
    _kind: str
    _check_target: Callable[[Modalities, ArrayLike], np.ndarray]

    estimator: EstimatorLike
    on_empty: str

    def _training_data(
        self,
        frame: Modalities,
        y: ArrayLike,
        params: dict[str, Any],
        branches: Sequence[str],
    ) -> TrainingData:
        """Check y and the metadata of `fit`, and assign metadata to their recipients.

        If metadata routing is not enabled, ``groups`` are for the splitter,
        ``sample_weight`` also for the final estimator, and everything but groups for
        the branches.
        """
        if self.on_empty == "raise":
            refuse_empty_samples(frame)
        y = self._check_target(frame, y)
        params = {key: value for key, value in params.items() if value is not None}
        for key, value in params.items():
            check_row_labels(frame._index, value, key)
        weight = params.get("sample_weight")
        if weight is not None:
            weight = params["sample_weight"] = validate_sample_weight(weight, frame)
        if not params or not get_config()["enable_metadata_routing"]:
            # without routing nothing is requested: assign by name
            groups = {k: v for k, v in params.items() if k == "groups"}
            rest = {k: v for k, v in params.items() if k != "groups"}
            final = {k: v for k, v in rest.items() if k == "sample_weight"}
            by_branch = dict.fromkeys(branches, rest)
            return TrainingData(frame, y, by_branch, groups, final, weight)
        steps = process_routing(self, "fit", **params)
        by_name = isinstance(self.estimator, Mapping)

        def of_step(step: str, method: str = "fit") -> dict[str, Any]:
            return dict(steps[step][method]) if step in steps else {}

        return TrainingData(
            frame,
            y,
            {name: of_step(name if by_name else "estimator") for name in branches},
            of_step("splitter", "split"),
            of_step("final_estimator"),
            weight,
        )

    def _router(self, final_estimator: BaseEstimator | None = None) -> MetadataRouter:
        """List the recipients of metadata: branches, final estimator and splitter."""
        router = MetadataRouter(owner=self).add_self_request(self)
        to_fit = MethodMapping().add(caller="fit", callee="fit")
        for name, template in self._templates().items():
            router.add(**{name: template}, method_mapping=to_fit)
        if final_estimator is not None:
            router.add(final_estimator=final_estimator, method_mapping=to_fit)
        if hasattr(self, "cv"):
            to_split = MethodMapping().add(caller="fit", callee="split")
            router.add(splitter=check_cv(self.cv), method_mapping=to_split)
        return router


class ClassifierRole:
    """Target and defaults of a fusion classifier."""

    classes_: np.ndarray
    _kind = "classifier"
    _make_default_estimator = staticmethod(partial(LogisticRegression, max_iter=1000))
    _make_default_final_estimator = _make_default_estimator

    @available_if(lambda self: hasattr(self, "predict_proba"))
    def predict_log_proba(self, X: ModalitiesLike) -> np.ndarray:
        """Predict the logarithms of the probabilities of the classes.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The data.

        Returns
        -------
        ndarray of shape (n_samples, n_classes) or (n_samples, n_labels)
            Logarithms of the result of `predict_proba`; minus infinity for 0.
        """
        with np.errstate(divide="ignore"):
            return np.log(self.predict_proba(X))  # type: ignore[attr-defined]

    def _check_target(self, frame: Modalities, y: ArrayLike) -> np.ndarray:
        try:
            shape = np.asarray(y).shape
        except ValueError as error:
            raise ValueError(
                "y holds rows of different lengths; give several labels as columns of "
                "0 and 1, by sklearn.preprocessing.MultiLabelBinarizer().fit_transform"
            ) from error
        if len(shape) == 2 and shape[1] > 1:
            return self._check_labels(frame, y)
        checked = check_target(self, frame, y)
        if checked.dtype.kind not in "biuU":  # any of these are classes
            check_classification_targets(checked)
        return checked

    def _check_labels(self, frame: Modalities, y: ArrayLike) -> np.ndarray:
        """Check an indicator matrix of several labels."""
        checked = check_target(self, frame, y, multi_output=True)
        if not np.isin(checked, [0, 1]).all():
            other = checked[~np.isin(checked, [0, 1])].tolist()[0]
            name = type(self).__name__
            raise ValueError(
                f"y has {checked.shape[1]} columns and holds {other!r}; columns of "
                "several labels hold 1 where a sample has the label, else 0. For "
                "columns of several classes give one fusion to each, by "
                f"sklearn.multioutput.MultiOutputClassifier({name}(...))"
            )
        return checked.astype(int) if checked.dtype.kind == "O" else checked

    def _make_target(self, data: TrainingData) -> ClassificationTarget | LabelsTarget:
        if data.y.ndim == 2:
            # an array, since scikit-learn's cross_val_predict refuses a list
            n_labels, dtype = data.y.shape[1], data.y.dtype
            self.classes_ = np.tile(np.array([0, 1], dtype), (n_labels, 1))
            shares = np.average(
                data.y.astype(float), axis=0, weights=data.sample_weight
            )
            return LabelsTarget(shares, dtype.name)
        self.classes_, codes = np.unique(data.y, return_inverse=True)
        counts = np.bincount(codes, weights=data.sample_weight).astype(float)
        return ClassificationTarget(self.classes_, counts / counts.sum())

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()  # type: ignore[misc]
        # classifiers of a single label are fitted to each label
        tags.classifier_tags.multi_label = True
        return tags


class RegressorRole:
    """Target and defaults of a fusion regressor."""

    _kind = "regressor"
    _make_default_estimator = Ridge
    _make_default_final_estimator = RidgeCV
    _templates: Callable[[], dict[str, BaseEstimator]]

    def _check_target(self, frame: Modalities, y: ArrayLike) -> np.ndarray:
        multi_output = get_tags(self).target_tags.multi_output
        return check_target(self, frame, y, multi_output=multi_output, y_numeric=True)

    def _make_target(self, data: TrainingData) -> RegressionTarget:
        values = data.y.reshape(len(data.y), -1)
        fitted = fit_scaling(values, "standard", data.sample_weight)
        # a constant output has an infinite spread in a scaling
        spread = np.where(np.isfinite(fitted.spread), fitted.spread, 1.0)
        return RegressionTarget(fitted.center, spread, data.y.ndim == 1)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()  # type: ignore[misc]
        # several outputs, if every nested regressor predicts several
        tags.target_tags.multi_output = all(
            get_tags(template).target_tags.multi_output
            for template in self._templates().values()
            if hasattr(template, "__sklearn_tags__")
        )
        return tags


def nan_unless_observed(values: np.ndarray, observed: np.ndarray) -> np.ndarray:
    """Replace predictions for missing modalities by NaN or None.

    Parameters
    ----------
    values : ndarray of shape (n_samples, n_modalities[, n_outputs])
        Labels or values.
    observed : ndarray of bool of shape (n_samples, n_modalities)
        Where a sample has the modality.

    Returns
    -------
    ndarray of the same shape
        Numbers as floats, with NaN for missing modalities; other labels as objects,
        with None.
    """
    is_number = values.dtype.kind in "biuf"
    values = values.astype(float if is_number else object)
    values[~observed] = np.nan if is_number else None
    return values
