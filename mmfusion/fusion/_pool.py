"""Predictors of parts of the modalities, combined: for late and hybrid fusion."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from inspect import Parameter, signature
from typing import Any, Self

import numpy as np
from sklearn.base import clone
from sklearn.utils.metadata_routing import MetadataRouter
from sklearn.utils.metaestimators import available_if

from mmfusion._accepted_cells import accepted_cells
from mmfusion._blocks import of_samples, over_all_samples
from mmfusion._numbers import holds_nan
from mmfusion._options import by_modality, weights_by_modality
from mmfusion._scaling import SCALINGS, resolve_scalings
from mmfusion._sklearn_compat import INTEGER, HasMethods, StrOptions, fit_context
from mmfusion._validation import ModalityTags, refuse_empty_samples
from mmfusion.base import ModalityMixin, PerModalityParams
from mmfusion.fusion import _combine
from mmfusion.fusion._calibration import Calibrator, fit_calibrator, log_odds
from mmfusion.fusion._clusterers import seeded
from mmfusion.fusion._early import EarlyFusion
from mmfusion.fusion._folds import Folds, split_samples
from mmfusion.fusion._parts import Answer, Part, Said, fit_parts, gather
from mmfusion.fusion._supervised import (
    ClassifierRole,
    Metadata,
    RegressorRole,
    accepted_by,
    check_predictors,
    make_router,
    route,
    seed_of,
    take_sparse,
    templates,
    unless_observed,
)
from mmfusion.fusion._targets import Classes, Outputs
from mmfusion.fusion._weights import (
    confidence,
    error_covariance,
    error_rate,
    fit_reference,
    mean_log_loss,
    mean_squared_error,
    normalised_quality,
    skill,
)
from mmfusion.modalities import Modalities

N_REFERENCES = 2000  # samples of fit that distances are measured to

POOL_CONSTRAINTS: dict = {
    "estimator": [HasMethods(["fit", "predict"]), dict, None],
    "final_estimator": [HasMethods(["fit", "predict"]), None],
    "cv": ["cv_object"],
    "scaling": [StrOptions(set(SCALINGS)), None, dict],
    "empty": [StrOptions({"prior", "raise"})],
    "modalities": ["array-like", str, dict, INTEGER, None],
    "n_jobs": [INTEGER, None],
    "random_state": ["random_state"],
}
CLASSIFIER_POOL_CONSTRAINTS: dict = {
    **POOL_CONSTRAINTS,
    "combine": [StrOptions({"soft_vote", "hard_vote", "log_pool", "stacking"})],
    "weights": [
        StrOptions({"uniform", "score", "log_loss", "inverse_variance"}),
        "array-like",
        dict,
    ],
    "sample_weighting": [StrOptions({"entropy", "conformal", "distance"}), None],
    "calibration": [StrOptions({"sigmoid", "isotonic"}), None],
}
REGRESSOR_POOL_CONSTRAINTS: dict = {
    **POOL_CONSTRAINTS,
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


class PoolMixin(PerModalityParams, ModalityMixin):
    """Fits one predictor for every part, and combines what they say.

    A part is a modality; hybrid fusion has parts of several. A role
    (`ClassifierRole`, `RegressorRole`) tells what y is.
    """

    _estimators_param = "estimator"

    estimator: Any
    combine: str
    weights: Any
    sample_weighting: str | None
    final_estimator: Any
    cv: Any
    scaling: Any
    empty: str
    n_jobs: int | None
    random_state: Any

    final_estimator_: Any
    n_modalities_in_: int
    _target: Any
    _parts: list[Part]
    _check_target: Callable[[Modalities, Any], np.ndarray]
    _make_target: Callable[[np.ndarray, Any], Any]
    _default_estimator: Callable[[], Any]
    _default_final_estimator: Callable[[], Any]

    # What a role has to say

    def _check_scheme(self) -> None:
        """Refuse parameters that contradict each other."""

    def _method_of(self, template: Any, name: str) -> str:
        """What a predictor is asked for."""
        raise NotImplementedError

    def _needs_held_out(self) -> bool:
        """Whether predictions for held-out samples are used."""
        by_quality = isinstance(self.weights, str) and self.weights != "uniform"
        return by_quality or self.combine == "stacking"

    def _digest(
        self, said: Said, fold: np.ndarray, truth: np.ndarray, weight: Any
    ) -> Said:
        """Learn from held-out predictions, before they are weighed or stacked."""
        return said

    def _quality(self, said: np.ndarray, truth: np.ndarray, weight: Any) -> float:
        """Quality of one part, from what it says of held-out samples."""
        raise NotImplementedError

    # Fitting

    @fit_context(prefer_skip_nested_validation=False)
    def fit(self, X: Any, y: Any, **params: Any) -> Self:
        """Fit every predictor, and what combines them.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The data; see the user guide on input.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            What to predict; several outputs are for regressors that take them.
        **params : dict
            Metadata. ``sample_weight`` is for the predictors, scalings, weights and
            the final estimator; ``groups`` for the splitter ``cv``; everything else
            for the predictors' `fit`. Values with one entry per sample are handed on
            for the samples that have the modality. With metadata routing enabled,
            each gets what it requests.

        Returns
        -------
        self
            The fitted estimator.
        """
        check_predictors(self)
        self._check_scheme()
        frame = self._validate(X, reset=True)
        if self.empty == "raise":
            refuse_empty_samples(frame)
        y = self._check_target(frame, y)
        sets = self._modality_sets(frame.names)
        metadata = route(self, params, list(sets), frame)
        counted = metadata.counted(len(frame))
        folds = self._folds(frame, y, metadata, counted)
        if not counted.all():
            frame, y, metadata = frame[counted], y[counted], metadata.of(counted)
        self._target = self._make_target(y, metadata.sample_weight)
        self._parts, answers = fit_parts(
            self._plan(frame, sets, metadata.sample_weight),
            frame,
            y,
            self._target,
            metadata.parts,
            folds,
            self.n_jobs,
        )
        self.estimators_ = {part.name: part.estimator for part in self._parts}
        self.scales_ = {
            part.name: None if part.as_given else part.fusion.scales_[part.name]
            for part in self._parts
            if part.name in frame.names
        }
        self._learn(answers, folds, frame, y, metadata)
        self._references = self._fit_references(frame, metadata.sample_weight)
        return self

    def _modality_sets(self, names: Sequence[str]) -> dict[str, list[int]]:
        """Positions of the modalities of every part."""
        return {name: [v] for v, name in enumerate(names)}

    def _plan(
        self, frame: Modalities, sets: dict[str, list[int]], sample_weight: Any
    ) -> list[Part]:
        """Lay the parts out, unfitted."""
        default = self._default_estimator()
        estimators = self._clone_by_modality(list(sets), default)
        seed = seed_of(self.random_state)
        if seed is not None:
            estimators = [seeded(estimator, seed) for estimator in estimators]
        hows = self._scalings(frame, sets, sample_weight)
        return [
            self._part(name, positions, estimator, hows, seed or 0)
            for (name, positions), estimator in zip(
                sets.items(), estimators, strict=True
            )
        ]

    def _scalings(
        self, frame: Modalities, sets: dict[str, list[int]], sample_weight: Any
    ) -> dict[str, str | None]:
        counts = np.ones(len(frame.names), dtype=bool)
        if not isinstance(self.weights, str):
            weights = weights_by_modality(self.weights, list(sets))
            of_modalities = weights[: len(frame.names)] > 0
            counts = of_modalities if of_modalities.any() else counts
        hows = by_modality(self.scaling, frame.names, "scaling", "auto", SCALINGS)
        # what holds other than numbers is for its own pipeline, as it is
        as_given = np.isin(frame.names, list(self._layout.as_given))
        hows = [None if g else how for g, how in zip(as_given, hows, strict=True)]
        hows = resolve_scalings(frame, hows, counts & ~as_given, sample_weight)
        return dict(zip(frame.names, hows, strict=True))

    def _part(
        self,
        name: str,
        positions: list[int],
        estimator: Any,
        hows: dict[str, str | None],
        seed: int,
    ) -> Part:
        how = hows[name]
        asked = by_modality(self.scaling, list(hows), "scaling", "auto")[positions[0]]
        if (asked, how) == ("auto", "block"):
            how = "standard"  # there is nothing beside it to be brought in proportion
        return Part(
            name,
            positions,
            estimator,
            EarlyFusion(how),
            method=self._method_of(estimator, name),
            as_given=name in self._layout.as_given,
        )

    def _folds(
        self, frame: Modalities, y: np.ndarray, metadata: Metadata, counted: np.ndarray
    ) -> Folds:
        if not self._needs_held_out():
            return []
        return split_samples(
            self.cv,
            frame,
            y,
            metadata.split,
            counted,
            is_classifier=isinstance(self, ClassifierRole),
        )

    def _learn(
        self,
        answers: list[Answer],
        folds: Folds,
        frame: Modalities,
        y: np.ndarray,
        metadata: Metadata,
    ) -> None:
        """Learn weights, calibrators and the final estimator from held-out samples."""
        n_samples, n_parts = len(y), len(self._parts)
        self.final_estimator_ = None
        if not self._needs_held_out():
            self.modality_weights_ = self._given_weights()
            return
        said = self._gathered(answers, (n_samples, n_parts))
        # what is said of a class by who was not trained on it means nothing
        unseen = np.zeros((n_samples, n_parts), dtype=bool)
        for answer in answers:
            unseen[answer.rows, answer.part] = answer.unseen
        _warn_of_unseen(np.any(unseen, axis=1), y)
        said = replace(said, observed=said.observed & ~unseen)
        fold = np.full(n_samples, -1)
        for number, (_, test) in enumerate(folds):
            fold[test] = number
        truth, weight = self._target.truth(y), metadata.sample_weight
        said = self._digest(said, fold, truth, weight)
        self.modality_weights_ = self._learned_weights(said, truth, weight)
        if self.combine == "stacking":
            kept = self.modality_weights_ > 0
            rows = (fold >= 0) & np.any(said.observed[:, kept], axis=1)
            self._defaults = _means(said, weight)
            if unseen.any():
                learned = y[rows & ~unseen.any(axis=1)]
                rows &= np.isin(y, learned)
                said = self._with_own(said, unseen & rows[:, None], frame)
            if self._target.can_learn(y[rows]):
                self._fit_final(said, rows, y, metadata.final)

    def _with_own(self, said: Said, unseen: np.ndarray, frame: Modalities) -> Said:
        """Let parts that were trained on all samples predict the unseen cells.

        To leave them out would make a part seem to be missing for some classes only.
        """
        values, observed = said.values, said.observed
        for p in np.flatnonzero(unseen.any(axis=0)).tolist():
            part, rows = self._parts[p], np.flatnonzero(unseen[:, p])
            matrix = part.matrix(frame[rows], np.ones(len(rows), dtype=bool))
            values[p, rows] = self._calibrated(p, part.read(self._target, matrix))
            observed[rows, p] = True
        return said

    def _gathered(self, answers: list[Answer], shape: tuple[int, int]) -> Said:
        """Put predictions together, with the prior where there are none."""
        width = answers[0].said.shape[1] if answers else len(self._target.prior)
        return gather(answers, shape, np.resize(self._target.prior, width))

    def _given_weights(self) -> np.ndarray:
        names = [part.name for part in self._parts]
        given = None if isinstance(self.weights, str) else self.weights
        weights = weights_by_modality(given, names)
        return weights / weights.mean()

    def _learned_weights(
        self, said: Said, truth: np.ndarray, weight: Any
    ) -> np.ndarray:
        """Weight of each part, with mean 1."""
        if not isinstance(self.weights, str) or self.weights == "uniform":
            return self._given_weights()
        if self.combine == "stacking":  # which weighs parts by itself
            return np.ones(len(self._parts))
        quality = [
            self._quality(
                own[seen], truth[seen], None if weight is None else weight[seen]
            )
            if seen.any()
            else 0.0
            for own, seen in zip(said.values, said.observed.T, strict=True)
        ]
        return normalised_quality(np.array(quality))

    def _fit_final(
        self, said: Said, rows: np.ndarray, y: np.ndarray, params: dict[str, Any]
    ) -> None:
        self._indicated = ~said.observed[rows].all(axis=0)
        final = self.final_estimator
        final = self._default_final_estimator() if final is None else clone(final)
        seed = seed_of(self.random_state)
        final = final if seed is None else seeded(final, seed)
        params = {key: of_samples(value, rows) for key, value in params.items()}
        inputs = self._final_inputs(said, rows)
        self.final_estimator_ = final.fit(inputs, of_samples(y, rows), **params)

    def _final_inputs(self, said: Said, rows: np.ndarray) -> np.ndarray:
        kept = self.modality_weights_ > 0
        first = self._first_output()
        return _combine.stacking_inputs(
            said.values[kept][:, rows, first:],
            said.observed[rows][:, kept],
            self._defaults[kept][:, first:],
            self._indicated[kept],
        )

    def _first_output(self) -> int:
        """Outputs before this one tell nothing more."""
        return 0

    def _fit_references(
        self, frame: Modalities, sample_weight: Any
    ) -> list[Any] | None:
        """Samples of fit, which later ones are compared with."""
        if self.sample_weighting not in ("conformal", "distance"):
            return None
        self._refuse_without_distances(frame)
        rng = np.random.default_rng(seed_of(self.random_state) or 0)
        references = []
        for part in self._parts:
            rows = np.flatnonzero(part.present(frame))
            if len(rows) > N_REFERENCES:
                rows = np.sort(rng.choice(rows, N_REFERENCES, replace=False))
            matrix = part.matrix(frame[rows], np.ones(len(rows), dtype=bool))
            weight = None if sample_weight is None else sample_weight[rows]
            references.append(fit_reference(matrix, weight))
        return references

    def _refuse_without_distances(self, frame: Modalities) -> None:
        """Refuse modalities that have no distances: text, and cells of NaN."""
        for name, block, observed in zip(
            frame.names, frame.blocks, frame.observed.T, strict=True
        ):
            if name in self._layout.as_given or holds_nan(of_samples(block, observed)):
                raise ValueError(
                    f"sample_weighting={self.sample_weighting!r} measures distances, "
                    f"but modality {name!r} holds text, categories or NaN; encode and "
                    "impute it before, by PerModality, or give sample_weighting=None"
                )

    # Asking

    def _ask(self, frame: Modalities) -> tuple[Said, np.ndarray]:
        """What the parts say of samples, and the weight of each for each sample."""
        if self.empty == "raise":
            refuse_empty_samples(frame)
        answers = []
        dynamic = np.ones((len(frame), len(self._parts)))
        for p, part in enumerate(self._parts):
            rows = part.present(frame)
            if not rows.any():
                continue
            matrix = part.matrix(frame, rows)
            said = part.read(self._target, matrix)
            answers.append(Answer(p, np.flatnonzero(rows), self._calibrated(p, said)))
            if self._references is not None:
                reference = self._references[p]
                dynamic[rows, p] = (
                    reference.conformal_weights(matrix)
                    if self.sample_weighting == "conformal"
                    else reference.distance_weights(matrix)
                )
            del matrix  # before the next is made
        return self._with_weights(self._gathered(answers, dynamic.shape), dynamic)

    def _calibrated(self, part: int, said: np.ndarray) -> np.ndarray:
        return said

    def _with_weights(self, said: Said, dynamic: np.ndarray) -> tuple[Said, np.ndarray]:
        return said, np.where(said.observed, dynamic * self.modality_weights_, 0)

    def _final_answers(
        self, frame: Modalities, ask: Callable[[np.ndarray], np.ndarray], default: Any
    ) -> np.ndarray:
        """Ask the final estimator about the samples of which something is known."""
        said, _ = self._ask(frame)
        rows = np.any(said.observed[:, self.modality_weights_ > 0], axis=1)
        default = np.asarray(default)
        if not rows.any():
            return np.broadcast_to(default, (len(frame), *default.shape)).copy()
        out = np.asarray(ask(self._final_inputs(said, rows)))
        return over_all_samples(out, rows, default)

    def sample_weights(self, X: Any) -> np.ndarray:
        """Tell how much each modality counts for each sample.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The data.

        Returns
        -------
        ndarray of shape (n_samples, n_modalities)
            Shares, which add up to 1; 0 for what a sample lacks. In hybrid fusion one
            column for every part. 'stacking' does not use them.
        """
        _, weights = self._ask(self._validate(X, reset=False))
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
            final = self._default_final_estimator()
        return make_router(self, final if self.combine == "stacking" else None)

    def _branches_of(self, name: str) -> list[str]:
        """Names of the branches that have a modality."""
        return [name]

    def _takes_nan(self, name: str) -> bool:
        return all(accepted_by(self, branch).nan for branch in self._branches_of(name))

    def _takes_text(self, name: str) -> bool:
        # beside other modalities text cannot stand in one matrix
        return self._branches_of(name) == [name] and accepted_by(self, name).text

    def __modality_tags__(self) -> ModalityTags:
        return ModalityTags(
            sparse=take_sparse(self),
            missing=True,
            same_dtype=True,
            takes_nan=self._takes_nan,
            takes_text=self._takes_text,
        )

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = all(
            accepted_cells(template).nan for template in templates(self).values()
        )
        return tags


def _warn_of_unseen(unseen: np.ndarray, y: np.ndarray) -> None:
    if unseen.any():
        warnings.warn(
            f"{int(unseen.sum())} of {len(y)} samples are held out from training "
            f"samples without their class (classes {np.unique(y[unseen]).tolist()}); "
            "calibration, weights and the final estimator do not learn from their "
            "predictions. Give fewer folds, or cv that keeps every class in training",
            UserWarning,
            stacklevel=4,
        )


def _means(said: Said, weight: Any) -> np.ndarray:
    """What each part says on average."""
    means = []
    for own, seen in zip(said.values, said.observed.T, strict=True):
        seen = seen if seen.any() else np.ones_like(seen)  # else the prior
        own_weight = None if weight is None else weight[seen]
        means.append(np.average(own[seen], axis=0, weights=own_weight))
    return np.array(means)


def _pools_probabilities(estimator: Any) -> bool:
    """Tell whether a fusion classifier has probabilities, or why not."""
    if estimator.combine == "hard_vote":
        raise AttributeError(
            "combine='hard_vote' counts votes and has no probabilities; use "
            "'soft_vote' or 'log_pool'"
        )
    if estimator.combine == "stacking":
        final = estimator.final_estimator
        return final is None or hasattr(final, "predict_proba")
    if estimator.calibration is None:
        for part in templates(estimator).values():
            if not hasattr(part, "predict_proba"):
                raise AttributeError(_no_probabilities(part))
    return True


def _pools_scores(estimator: Any) -> bool:
    return estimator.combine == "hard_vote" or _pools_probabilities(estimator)


def _no_probabilities(template: Any) -> str:
    return (
        f"{type(template).__name__} has no predict_proba; give calibration='sigmoid', "
        "which makes probabilities of its decisions, or combine='hard_vote'"
    )


class ClassifierPool(ClassifierRole, PoolMixin):
    """Combines classifiers."""

    calibration: str | None
    _target: Classes

    def _method_of(self, template: Any, name: str) -> str:
        needs_labels = (
            self.combine == "hard_vote" and self.sample_weighting != "entropy"
        )
        if needs_labels and self.calibration is None:
            return "predict"
        if hasattr(template, "predict_proba"):
            return "predict_proba"
        scored = hasattr(template, "decision_function")
        if self.combine == "stacking" and self.calibration is None:
            return "decision_function" if scored else "predict"
        if self.calibration is None or not scored:
            raise ValueError(f"modality {name!r}: {_no_probabilities(template)}")
        return "decision_function"

    def _needs_held_out(self) -> bool:
        return self.calibration is not None or super()._needs_held_out()

    def _digest(
        self, said: Said, fold: np.ndarray, truth: np.ndarray, weight: Any
    ) -> Said:
        """Calibrate; each held-out sample by what others have taught."""
        self._calibrators: list[Calibrator] = []
        if self.calibration is None:
            return said
        weight = np.ones(len(truth)) if weight is None else weight
        values = said.values.copy()
        for p, seen in enumerate(said.observed.T):
            scores = self._scores(p, said.values[p])

            def fitted(rows: np.ndarray, scores: np.ndarray = scores) -> Calibrator:
                assert self.calibration is not None
                return fit_calibrator(
                    scores[rows], truth[rows], self.calibration, weight[rows]
                )

            self._calibrators.append(fitted(seen))
            for number in range(fold.max() + 1):
                rows = seen & (fold == number)
                others = seen & (fold != number)
                if rows.any() and others.any():
                    values[p, rows] = fitted(others).apply(scores[rows])
        return Said(values, said.observed)

    def _scores(self, part: int, said: np.ndarray) -> np.ndarray:
        is_decision = self._parts[part].method == "decision_function"
        return said if is_decision else log_odds(said)

    def _calibrated(self, part: int, said: np.ndarray) -> np.ndarray:
        if self.calibration is None:
            return said
        return self._calibrators[part].apply(self._scores(part, said))

    def _with_weights(self, said: Said, dynamic: np.ndarray) -> tuple[Said, np.ndarray]:
        if self.sample_weighting == "entropy" and self.combine != "stacking":
            dynamic = np.column_stack([confidence(own) for own in said.values])
        return super()._with_weights(said, dynamic)

    def _quality(self, said: np.ndarray, truth: np.ndarray, weight: Any) -> float:
        if self.weights == "log_loss":
            return float(np.exp(-mean_log_loss(said, truth, weight)))
        if self.weights == "inverse_variance":
            return 1 / max(mean_squared_error(said, truth, weight), 1e-6)
        commonest = np.tile(self._target.prior, (len(truth), 1))
        return skill(
            error_rate(said, truth, weight), error_rate(commonest, truth, weight)
        )

    def _first_output(self) -> int:
        return int(
            len(self.classes_) == 2
        )  # the first of two tells what the other does

    def _times_counted(self) -> np.ndarray:
        """How often a product counts each modality's evidence, by all parts with it."""
        times = np.zeros(self.n_modalities_in_)
        for part, weight in zip(self._parts, self.modality_weights_, strict=True):
            times[part.modalities] += weight
        return times

    def _pooled(self, frame: Modalities) -> np.ndarray:
        """Probabilities, or shares of votes; the prior where nothing is known.

        Those of 'stacking' are for what the final estimator could not learn.
        """
        said, weights = self._ask(frame)
        prior = self._target.prior
        if self.combine == "log_pool":
            once = weights / self._times_counted().max()
            pooled = _combine.log_opinion_pool(said.values, once, prior)
        elif self.combine == "hard_vote" or self._has_scores():
            pooled = _combine.weighted_mean(_combine.votes(said.values), weights)
        else:
            pooled = _combine.weighted_mean(said.values, weights)
        unknown = ~weights.any(axis=1)
        if unknown.any():
            pooled[unknown] = prior
        return pooled

    def predict(self, X: Any) -> np.ndarray:
        """Predict the class of samples.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The data; samples may lack modalities.

        Returns
        -------
        ndarray of shape (n_samples,)
            Labels.
        """
        frame = self._validate(X, reset=False)
        if self.combine != "stacking":
            return self.classes_[self._pooled(frame).argmax(axis=1)]
        absent = self._absent_from_stack()
        final = self.final_estimator_
        if absent.all() or (absent.any() and hasattr(final, "predict_proba")):
            return self.classes_[self._stacked(frame).argmax(axis=1)]
        commonest = self.classes_[self._target.prior.argmax()]
        stacked = self._final_answers(frame, final.predict, commonest)
        if absent.any():
            best = self._pooled(frame).argmax(axis=1)
            stacked = np.where(absent[best], self.classes_[best], stacked)
        return stacked

    def _has_scores(self) -> bool:
        """Whether some part has decision values, which cannot be averaged."""
        methods = {part.method for part in self._parts}
        return self.calibration is None and "decision_function" in methods

    def _absent_from_stack(self) -> np.ndarray:
        """Classes that the final estimator could not learn."""
        if self.final_estimator_ is None:
            return np.ones(len(self.classes_), dtype=bool)
        known = getattr(self.final_estimator_, "classes_", self.classes_)
        return ~np.isin(self.classes_, known)

    def _stacked(self, frame: Modalities) -> np.ndarray:
        """Probabilities of the final estimator; pooled ones of classes it lacks."""
        absent = self._absent_from_stack()
        if absent.all():
            return self._pooled(frame)
        stacked = self._final_answers(
            frame,
            lambda inputs: self._target.read(
                self.final_estimator_, inputs, "predict_proba"
            ),
            self._target.prior,
        )
        if absent.any():
            pooled = self._pooled(frame)
            known = stacked[:, ~absent]
            left = 1 - pooled[:, absent].sum(axis=1)
            stacked[:, absent] = pooled[:, absent]
            stacked[:, ~absent] = known * (left / known.sum(axis=1))[:, None]
        return stacked

    @available_if(_pools_probabilities)
    def predict_proba(self, X: Any) -> np.ndarray:
        """Predict the probabilities of the classes.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The data; samples may lack modalities.

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            Probabilities, in the order of ``classes_``.
        """
        frame = self._validate(X, reset=False)
        if self.combine == "stacking":
            return self._stacked(frame)
        return self._pooled(frame)

    @available_if(_pools_scores)
    def decision_function(self, X: Any) -> np.ndarray:
        """Score the classes: log probabilities, or shares of votes of 'hard_vote'.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The data; samples may lack modalities.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_classes)
            The largest is the predicted class. For two classes the second one's score
            minus the first one's.
        """
        if self.combine == "hard_vote":
            scores = self._pooled(self._validate(X, reset=False))
        else:
            tiny = np.finfo(float).tiny
            scores = np.log(np.maximum(self.predict_proba(X), tiny))
        return scores[:, 1] - scores[:, 0] if scores.shape[1] == 2 else scores

    def modality_predictions(self, X: Any) -> np.ndarray:
        """Tell what each modality says by itself.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The data; samples may lack modalities.

        Returns
        -------
        ndarray of shape (n_samples, n_modalities)
            Labels. Numbers are floats, NaN where a sample lacks the modality; other
            labels are objects, None there. In hybrid fusion one column for every part.
        """
        said, _ = self._ask(self._validate(X, reset=False))
        labels = self.classes_[said.values.argmax(axis=2).T]
        return unless_observed(labels, said.observed)


class RegressorPool(RegressorRole, PoolMixin):
    """Combines regressors."""

    _target: Outputs

    def _method_of(self, template: Any, name: str) -> str:
        if self.sample_weighting != "predictive_variance" or self.combine == "stacking":
            return "predict"
        taken = signature(template.predict).parameters.values()
        if not any(
            p.name == "return_std" or p.kind is Parameter.VAR_KEYWORD for p in taken
        ):
            raise ValueError(
                f"modality {name!r}: {type(template).__name__} tells no predictive "
                "variance (predict has no return_std); use weights='inverse_variance', "
                "or a regressor such as BayesianRidge or GaussianProcessRegressor"
            )
        return "return_std"

    def _check_scheme(self) -> None:
        if not self._weighs_by_covariance():
            return
        if self.combine == "median" or self.sample_weighting is not None:
            raise ValueError(
                "weights='error_covariance' can be negative, which only combine='mean' "
                f"with sample_weighting=None can use; got combine={self.combine!r}, "
                f"sample_weighting={self.sample_weighting!r}. Use "
                "weights='inverse_variance'"
            )

    def _weighs_by_covariance(self) -> bool:
        named = isinstance(self.weights, str) and self.weights == "error_covariance"
        return named and self.combine != "stacking"

    def _means(self, said: Said) -> np.ndarray:
        return said.values[:, :, : len(self._target.prior)]

    def _digest(
        self, said: Said, fold: np.ndarray, truth: np.ndarray, weight: Any
    ) -> Said:
        said = Said(self._means(said), said.observed)
        if self._weighs_by_covariance():
            errors = (said.values - truth) / self._target.spread
            self._covariance = error_covariance(errors, said.observed, weight)
        return said

    def _learned_weights(
        self, said: Said, truth: np.ndarray, weight: Any
    ) -> np.ndarray:
        if self._weighs_by_covariance():
            everything = np.ones((1, len(self._parts)), dtype=bool)
            weights = _combine.minimum_variance_weights(self._covariance, everything)[0]
            return weights * len(weights)
        return super()._learned_weights(said, truth, weight)

    def _with_weights(self, said: Said, dynamic: np.ndarray) -> tuple[Said, np.ndarray]:
        means = self._means(said)
        if self._weighs_by_covariance():
            weights = _combine.minimum_variance_weights(self._covariance, said.observed)
            return Said(means, said.observed), weights
        if means.shape != said.values.shape:
            spreads = said.values[:, :, means.shape[2] :] / self._target.spread
            dynamic = 1 / np.maximum((spreads**2).mean(axis=2), 1e-12).T
        return super()._with_weights(Said(means, said.observed), dynamic)

    def _quality(self, said: np.ndarray, truth: np.ndarray, weight: Any) -> float:
        center, spread = self._target.prior, self._target.spread
        said, truth = (said - center) / spread, (truth - center) / spread
        error = mean_squared_error(said, truth, weight)
        if self.weights == "inverse_variance":
            return 1 / max(error, 1e-12)
        return skill(error, mean_squared_error(np.zeros_like(truth), truth, weight))

    def predict(self, X: Any) -> np.ndarray:
        """Predict the values of samples.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The data; samples may lack modalities.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_outputs)
            Values.
        """
        frame = self._validate(X, reset=False)
        prior, is_flat = self._target.prior, self._target.is_flat
        if self.final_estimator_ is not None:
            default = prior[0] if is_flat else prior
            return self._final_answers(frame, self.final_estimator_.predict, default)
        said, weights = self._ask(frame)
        pool = _combine.weighted_mean
        if self.combine == "median":
            pool = _combine.weighted_median
        pooled = pool(said.values, weights)
        unknown = ~weights.any(axis=1)
        if unknown.any():
            pooled[unknown] = prior
        return pooled[:, 0] if is_flat else pooled

    def modality_predictions(self, X: Any) -> np.ndarray:
        """Tell what each modality says by itself.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The data; samples may lack modalities.

        Returns
        -------
        ndarray of shape (n_samples, n_modalities[, n_outputs])
            Values; NaN where a sample lacks the modality. In hybrid fusion one column
            for every part.
        """
        said, _ = self._ask(self._validate(X, reset=False))
        values = unless_observed(said.values.transpose(1, 0, 2), said.observed)
        return values[:, :, 0] if self._target.is_flat else values
