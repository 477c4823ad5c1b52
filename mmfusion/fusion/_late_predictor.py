"""Base of the late and hybrid fusion of predictors."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.utils import Tags
from sklearn.utils.metadata_routing import MetadataRouter
from sklearn.utils.validation import check_is_fitted

from mmfusion._accepted_cells import accepted_cells
from mmfusion._blocks import of_samples, over_all_samples
from mmfusion._columns import SEPARATOR
from mmfusion._options import weights_by_modality
from mmfusion._progress import FitProgress
from mmfusion._row_chunks import by_row_chunks
from mmfusion._scaling import SCALINGS
from mmfusion._sklearn_compat import (
    INTEGER,
    CallbackSupportMixin,
    HasMethods,
    StrOptions,
)
from mmfusion._typing import (
    ByModality,
    ColumnSpecLike,
    CrossValidationLike,
    ModalitiesLike,
    NumericBlock,
    RandomStateLike,
)
from mmfusion._validation import refuse_empty_samples
from mmfusion._warnings import warn_user
from mmfusion.base import PerModalityParams
from mmfusion.fusion._branch import (
    Branch,
    BranchPredictions,
    HeldOut,
    Predictions,
    draw_seed,
    fit_branches,
    gather_held_out,
    gather_predictions,
    with_scaling_and_seed,
)
from mmfusion.fusion._folds import Folds, split_samples
from mmfusion.fusion._nested_estimators import seeded
from mmfusion.fusion._passthrough import PassedModalities
from mmfusion.fusion._predictor import (
    FusionPredictor,
    TrainingData,
    nan_unless_observed,
)
from mmfusion.fusion._reference_samples import (
    fit_references,
    refuse_without_distances,
)
from mmfusion.fusion.combination._opinion_pools import stacking_features
from mmfusion.fusion.combination._predictor_weights import normalised_weights
from mmfusion.fusion.combination._sample_weights import ReferenceSamples
from mmfusion.modalities import Modalities

LATE_PREDICTOR_CONSTRAINTS: dict = {
    "estimator": [HasMethods(["fit", "predict"]), dict, None],
    "scaling": [StrOptions(set(SCALINGS)), None, dict],
    "final_estimator": [HasMethods(["fit", "predict"]), None],
    "passthrough": ["boolean"],
    "cv": ["cv_object"],
    "on_empty": [StrOptions({"prior", "raise"})],
    "modalities": ["array-like", str, dict, INTEGER, None],
    "n_jobs": [INTEGER, None],
    "random_state": ["random_state"],
    "verbose": ["verbose"],
}


class LateFusionPredictor(
    PerModalityParams, FusionPredictor, TransformerMixin, CallbackSupportMixin
):
    """Base of estimators that fit a predictor per branch and combine their predictions.

    A branch is a modality; hybrid fusion has branches of several. Subclasses define
    `fit`, how predictions are combined, and these hooks.
    """

    _drops = True

    scaling: ByModality[str | None]
    combine: str
    weights: str | ArrayLike | dict[str, float]
    sample_weighting: str | None
    final_estimator: BaseEstimator | None
    passthrough: bool
    cv: CrossValidationLike
    modalities: ColumnSpecLike
    n_jobs: int | None
    random_state: RandomStateLike
    verbose: bool | int

    n_modalities_in_: int
    final_estimator_: BaseEstimator | None
    modality_weights_: np.ndarray
    _target: Any  # a Target of _branch
    _branches: list[Branch]
    _references: list[ReferenceSamples] | None
    _passed: PassedModalities | None = None
    _make_default_final_estimator: Callable[[], BaseEstimator]
    # predictions of a branch that add nothing to the others as features of a stack
    _n_redundant_outputs = 0
    # parameters of hybrid fusion, whose branches may have several modalities
    missing: str
    modality_dropout: float

    # Hooks

    def _method_of(self, template: BaseEstimator, title: str) -> str:
        """Return the method of a predictor that gives its predictions."""
        raise NotImplementedError

    def _calibrated(self, branch: int, values: np.ndarray) -> np.ndarray:
        """Calibrate predictions of a branch."""
        return values

    def _quality(
        self,
        predictions: np.ndarray,
        truth: np.ndarray,
        sample_weight: np.ndarray | None,
    ) -> float:
        """Return the quality of a branch by its held-out predictions."""
        raise NotImplementedError

    def _weigh(
        self, predictions: Predictions, by_sample: np.ndarray
    ) -> tuple[Predictions, np.ndarray]:
        """Return predictions and the weight of each branch for each sample.

        `by_sample` is the factor of the weights that ``sample_weighting`` has found.
        """
        weights = np.where(predictions.observed, by_sample * self.modality_weights_, 0)
        return predictions, weights

    # Steps of fit

    def _needs_held_out(self) -> bool:
        by_quality = isinstance(self.weights, str) and self.weights != "uniform"
        calibrates = getattr(self, "calibration", None) is not None  # a classifier
        return by_quality or calibrates or self.combine == "stacking"

    def _split(self, data: TrainingData) -> Folds:
        """Split the samples of positive weight into folds, if any are needed."""
        if not self._needs_held_out():
            return []
        return split_samples(
            self.cv,
            data.frame,
            data.y,
            data.split_params,
            data.counted(),
            is_classifier=self._kind == "classifier",
        )

    def _default_estimators(self) -> Mapping[str, Callable[[], BaseEstimator]]:
        final = {"final_estimator": self._make_default_final_estimator}
        return {**super()._default_estimators(), **final}

    def _make_branches(
        self, data: TrainingData, positions: dict[str, list[int]]
    ) -> list[Branch]:
        """Make an unfitted branch for every set of modalities."""
        names = self._branch_names()
        chosen = self._choose_by_modality(names, self._make_default_estimator())
        estimators = dict(zip(names, chosen, strict=True))  # fit clones them
        branches = []
        for name, own in positions.items():
            is_alone = name in data.frame.names
            estimator = estimators[name]
            kind = "modality" if is_alone else "branch"
            branches.append(
                Branch(
                    name,
                    own,
                    estimator,
                    missing="skip" if is_alone else self.missing,
                    dropout=0.0 if is_alone else self.modality_dropout,
                    method=self._method_of(estimator, f"{kind} {name!r}"),
                    as_given=name in self._layout.as_given,
                    frame_widths=self._layout.frame_widths,
                )
            )
        return with_scaling_and_seed(
            branches,
            data.frame,
            self._scaling_of_modalities_kept(self.scaling, data.frame.names),
            data.sample_weight,
            self.random_state,
        )

    def _fit_branches(
        self,
        unfitted: list[Branch],
        data: TrainingData,
        folds: Folds,
        progress: FitProgress,
    ) -> tuple[list[Branch], list[BranchPredictions]]:
        """Fit the branches, and predict the held-out samples of all folds."""
        return fit_branches(
            unfitted,
            data.frame,
            data.y,
            self._target,
            data.branch_params,
            folds,
            self.n_jobs,
            progress,
        )

    def _set_branches(self, branches: list[Branch], names: Sequence[str]) -> None:
        self._branches = branches
        self._passed = None
        self.estimators_ = {branch.name: branch.estimator for branch in branches}
        self.scaling_ = {
            branch.name: branch.scaling_name()
            for branch in branches
            if branch.name in names
        }

    def _gather_held_out(
        self, predicted: list[BranchPredictions], folds: Folds, y: np.ndarray
    ) -> HeldOut:
        shape = len(y), len(self._branches)
        held_out = gather_held_out(predicted, folds, shape, self._target.prior)
        unseen = held_out.unseen.any(axis=1)
        if unseen.any():
            warn_user(
                f"{int(unseen.sum())} of {len(y)} samples are held out from training "
                "samples without their class (classes "
                f"{np.unique(y[unseen]).tolist()}); calibration, weights and the final "
                "estimator do not learn from their predictions. Give fewer folds, or "
                "cv that keeps every class in training",
            )
        return held_out

    def _given_weights(self) -> np.ndarray:
        names = [branch.name for branch in self._branches]
        given = self._weights_of_branches_kept(self.weights, names)
        weights = weights_by_modality(None if isinstance(given, str) else given, names)
        return weights / weights.mean()

    def _learned_weights(
        self,
        predictions: Predictions,
        truth: np.ndarray,
        sample_weight: np.ndarray | None,
    ) -> np.ndarray:
        """Return the weight of each branch, with mean 1, from held-out predictions."""
        if not isinstance(self.weights, str) or self.weights == "uniform":
            return self._given_weights()
        if self.combine == "stacking":  # the final estimator learns the weights
            return np.ones(len(self._branches))
        quality = [
            self._quality(
                values[observed],
                truth[observed],
                None if sample_weight is None else sample_weight[observed],
            )
            if observed.any()
            else 0.0
            for values, observed in zip(
                predictions.values, predictions.observed.T, strict=True
            )
        ]
        return normalised_weights(np.array(quality))

    def _fit_final_estimator(self, held_out: HeldOut, data: TrainingData) -> None:
        """Fit the final estimator to held-out predictions (stacking)."""
        predictions, unseen, y = held_out.predictions, held_out.unseen, data.y
        used = self.modality_weights_ > 0
        rows = (held_out.fold >= 0) & np.any(predictions.observed[:, used], axis=1)
        self._defaults = _mean_predictions(predictions, data.sample_weight)
        if unseen.any():
            learned = y[rows & ~unseen.any(axis=1)]
            rows &= np.isin(y, learned)
            predictions = self._with_trained_predictions(
                predictions, unseen & rows[:, None], data.frame
            )
        if not self._target.is_learnable(y[rows]):
            return
        self._with_indicator = ~predictions.observed[rows].all(axis=0)
        final = self.final_estimator
        final = self._make_default_final_estimator() if final is None else clone(final)
        final = self._target.adapt(final)
        seed = draw_seed(self.random_state)
        final = final if seed is None else seeded(final, seed)
        params = {k: of_samples(v, rows) for k, v in data.final_params.items()}
        if self.passthrough:
            self._passed = PassedModalities.fit(
                self._used_branches(), data.frame, data.sample_weight
            )
        features = self._final_features(predictions, rows, data.frame)
        self.final_estimator_ = final.fit(features, of_samples(y, rows), **params)

    def _with_trained_predictions(
        self, predictions: Predictions, unseen: np.ndarray, frame: Modalities
    ) -> Predictions:
        """Replace predictions for unseen classes by those of branches fitted to all.

        Without them a branch would seem to be missing for some classes only.
        """
        values, observed = predictions.values, predictions.observed
        for b in np.flatnonzero(unseen.any(axis=0)).tolist():
            branch, rows = self._branches[b], np.flatnonzero(unseen[:, b])
            matrix = branch.transform(frame[rows], np.ones(len(rows), dtype=bool))
            own = branch.predict(self._target, matrix)
            values[b, rows] = self._calibrated(b, own)
            observed[rows, b] = True
        return Predictions(values, observed)

    def _used_branches(self) -> list[Branch]:
        """Return the fitted branches of positive weight."""
        weights = self.modality_weights_.tolist()
        return [b for b, w in zip(self._branches, weights, strict=True) if w > 0]

    def _final_features(
        self, predictions: Predictions, rows: np.ndarray, frame: Modalities
    ) -> NumericBlock:
        """Return what the final estimator takes for some samples."""
        used = self.modality_weights_ > 0
        first = self._n_redundant_outputs
        features = stacking_features(
            predictions.values[used][:, rows, first:],
            predictions.observed[rows][:, used],
            self._defaults[used][:, first:],
            self._with_indicator[used],
        )
        if self._passed is None:
            return features
        return self._passed.beside(features, frame if rows.all() else frame[rows])

    def _fit_references(self, data: TrainingData) -> list[ReferenceSamples] | None:
        """Measure distances within `fit`, for ``sample_weighting`` by distances."""
        if self.sample_weighting not in ("conformal", "distance"):
            return None
        refuse_without_distances(
            data.frame, self.sample_weighting, self._layout.as_given
        )
        rng = np.random.default_rng(draw_seed(self.random_state) or 0)
        return fit_references(self._branches, data.frame, data.sample_weight, rng)

    # Prediction

    def _checked(self, X: ModalitiesLike) -> Modalities:
        """Validate X for prediction, and leave out dropped modalities."""
        return self._used_modalities(self._validate(X, reset=False))

    def _predict_branches(self, frame: Modalities) -> tuple[Predictions, np.ndarray]:
        """Predict by every branch; return also their weights for each sample."""
        return self._weigh(*self._gather_branches(frame))

    def _gather_branches(
        self, frame: Modalities, method: str | None = None
    ) -> tuple[Predictions, np.ndarray]:
        """Predict by every branch; return also the factors of their weights."""
        if self.on_empty == "raise":
            refuse_empty_samples(frame)
        predicted = []
        by_sample = np.ones((len(frame), len(self._branches)))
        for b, branch in enumerate(self._branches):
            observed = branch.observed(frame)
            if not observed.any():
                continue
            matrix = branch.transform(frame, observed)
            own = branch.predict(self._target, matrix, method)
            values = self._calibrated(b, own)
            predicted.append(BranchPredictions(b, np.flatnonzero(observed), values))
            if self._references is not None:
                reference = self._references[b]
                by_sample[observed, b] = (
                    reference.conformal_weights(matrix)
                    if self.sample_weighting == "conformal"
                    else reference.distance_weights(matrix)
                )
            del matrix  # one branch's matrix is in memory at a time
        prior = self._target.prior
        if method == "return_std":
            prior = np.tile(prior, 2)
        return gather_predictions(predicted, by_sample.shape, prior), by_sample

    @by_row_chunks
    def transform(self, X: ModalitiesLike) -> NumericBlock:
        """Return the predictions of every modality, side by side.

        With ``passthrough=True`` the scaled modalities of a stack follow.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The data; samples may lack modalities.

        Returns
        -------
        ndarray or CSR matrix of shape (n_samples, n_features_out)
            Predictions, NaN where a sample lacks the modality. In hybrid fusion there
            are columns for every branch.
        """
        frame = self._checked(X)
        predictions, _ = self._predict_branches(frame)
        by_sample = predictions.values.transpose(1, 0, 2)
        values = nan_unless_observed(by_sample, predictions.observed)
        values = values.reshape(len(values), -1)
        if self._passed is None:
            return values
        return self._passed.beside(values, frame, fill=False)

    def get_feature_names_out(
        self, input_features: ArrayLike | None = None
    ) -> np.ndarray:
        """Return the names of the columns of `transform`.

        Parameters
        ----------
        input_features : array-like of str of shape (`n_features_in_`,), default=None
            Names of the input's features, checked against those of `fit`, if there are
            any.

        Returns
        -------
        ndarray of str
            ``<modality>__<class>`` for classes, ``<modality>`` or
            ``<modality>__y<output>`` for values; then ``<modality>__<feature>`` with
            ``passthrough=True``.
        """
        check_is_fitted(self)
        names_in = self._names_in(input_features)
        names = [
            branch.name if name is None else f"{branch.name}{SEPARATOR}{name}"
            for branch in self._branches
            for name in self._target.names
        ]
        for branch in [] if self._passed is None else self._passed.branches:
            names += list(names_in[self._layout.names.index(branch.name)])
        return np.array(names, dtype=object)

    def _predict_final(
        self,
        frame: Modalities,
        predict: Callable[[Any], np.ndarray],
        default: ArrayLike,
    ) -> np.ndarray:
        """Predict by the final estimator; the default for samples without a branch."""
        predictions, _ = self._predict_branches(frame)
        rows = np.any(predictions.observed[:, self.modality_weights_ > 0], axis=1)
        default = np.asarray(default)
        if not rows.any():
            return np.broadcast_to(default, (len(frame), *default.shape)).copy()
        values = np.asarray(predict(self._final_features(predictions, rows, frame)))
        return over_all_samples(values, rows, default)

    def sample_weights(self, X: ModalitiesLike) -> np.ndarray:
        """Compute the share of each modality in the predictions for each sample.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The data.

        Returns
        -------
        ndarray of shape (n_samples, n_modalities)
            Shares, which add up to 1; 0 for modalities that a sample lacks. In hybrid
            fusion there is one column for every branch. 'stacking' does not use them.
        """
        _, weights = self._predict_branches(self._checked(X))
        sums = weights.sum(axis=1, keepdims=True)
        return np.divide(weights, sums, out=np.zeros_like(weights), where=sums != 0)

    def get_metadata_routing(self) -> MetadataRouter:
        """Get the metadata that predictors, final estimator and splitter request.

        Returns
        -------
        MetadataRouter
            The routing of `fit`.
        """
        final = self.final_estimator
        if self.combine == "stacking" and final is None:
            final = self._make_default_final_estimator()
        return self._router(final if self.combine == "stacking" else None)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = all(
            accepted_cells(template).nan for template in self._templates().values()
        )
        return tags


def _mean_predictions(
    predictions: Predictions, sample_weight: np.ndarray | None
) -> np.ndarray:
    """Average the predictions of each branch, in place of those that are missing."""
    means = []
    for values, observed in zip(
        predictions.values, predictions.observed.T, strict=True
    ):
        rows = observed if observed.any() else np.ones_like(observed)  # of the prior
        weight = None if sample_weight is None else sample_weight[rows]
        means.append(np.average(values[rows], axis=0, weights=weight))
    return np.array(means)
