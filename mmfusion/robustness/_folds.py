"""Scores of one estimator on one fold under all conditions of a degradation curve."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Any
from zlib import crc32

import numpy as np
from sklearn.base import clone

from mmfusion._typing import ByModality
from mmfusion.metrics._scorers import check_score
from mmfusion.modalities import Modalities
from mmfusion.robustness._degradations import add_noise
from mmfusion.robustness._time_degradations import (
    drop_stretches,
    noise_bursts,
    shift_modality,
)

Degrade = Callable[..., Modalities]
Scorer = Callable[..., float]

# with the parameters `reference` and `times`
IN_UNITS_OF_TRAINING = (add_noise, noise_bursts)
AWARE_OF_CLOCKS = (add_noise, noise_bursts, shift_modality, drop_stretches)


@dataclass(frozen=True)
class Condition:
    """Degradation of some modalities at several levels, which is one curve.

    Parameters
    ----------
    name : str
        Name of the degradation.
    degrade : callable
        Function ``f(X, level, modalities, random_state=seed)`` that returns Modalities.
    modality : str
        Name of the modality, or of the group of modalities.
    names : tuple of str
        Names of the degraded modalities.
    levels : tuple of float
        Levels of the degradation.
    times : int, str, dict or None
        Features that are the clocks of sequences.
    """

    name: str
    degrade: Degrade
    modality: str
    names: tuple[str, ...]
    levels: tuple[float, ...]
    times: ByModality[int | str | None]

    def applied(
        self, frame: Modalities, level: float, train: Modalities, seed: int
    ) -> Modalities:
        """Degrade samples; noise is in units of the training samples."""
        options: dict[str, Any] = {}
        if self.degrade in IN_UNITS_OF_TRAINING:
            # the deviations of few test samples would be imprecise units
            options["reference"] = train
        if self.degrade in AWARE_OF_CLOCKS:
            options["times"] = self.times
        names = list(self.names)
        degraded = self.degrade(frame, level, names, random_state=seed, **options)
        if not isinstance(degraded, Modalities):
            raise TypeError(
                f"degradation {self.name!r} has returned a {type(degraded).__name__}; "
                "it needs to return Modalities"
            )
        if (degraded.names, len(degraded)) != (frame.names, len(frame)):
            raise ValueError(
                f"degradation {self.name!r} has returned {len(degraded)} samples of "
                f"{list(degraded.names)} for {len(frame)} samples of "
                f"{list(frame.names)}; it needs to return the same samples and "
                "modalities"
            )
        return degraded

    def describe(self, level: float) -> str:
        """Return the degradation and its level as text for errors."""
        return f"with {self.modality!r} degraded by {self.name!r} at level {level:g}"


@dataclass(frozen=True)
class Study:
    """Data and options that are common to all folds of all estimators.

    Parameters
    ----------
    frame : Modalities
        Data without degradation.
    y : ndarray of shape (n_samples, ...) or None
        Target or classes.
    conditions : list of Condition
        Degradations to apply.
    scorers : dict of str to callable
        Scorers by metric.
    n_repeats : int
        Number of draws of each degradation per fold.
    entropy : int
        Seed of all draws.
    refits : bool
        Whether estimators are fitted to degraded samples.
    error_score : 'raise' or float
        Score of failures.
    """

    frame: Modalities
    y: np.ndarray | None
    conditions: list[Condition]
    scorers: dict[str, Scorer]
    n_repeats: int
    entropy: int
    refits: bool
    error_score: Any

    def seed(self, fold: int, repeat: int, condition: Condition) -> int:
        """Return the seed of a draw, which depends on neither estimator nor level.

        Nor does it depend on the other conditions, which makes curves reproducible
        one by one.
        """
        # unlike hash(), crc32 is the same in all worker processes
        condition_hash = crc32(f"{condition.name} {condition.modality}".encode())
        words = np.random.SeedSequence([self.entropy, fold, repeat, condition_hash])
        return int(words.generate_state(1)[0])


@dataclass(frozen=True)
class Outcome:
    """Result of a step, or the message of its failure."""

    value: Any
    error: str = ""


@dataclass(frozen=True)
class Fold:
    """Fit and scores of one estimator on one fold.

    Parameters
    ----------
    study : Study
        Data and options.
    name : str
        Name of the estimator.
    estimator : estimator
        Estimator to clone and fit.
    number : int
        Number of the fold.
    train, test : ndarray of int
        Positions of the samples to fit and to score.
    """

    study: Study
    name: str
    estimator: Any
    number: int
    train: np.ndarray
    test: np.ndarray

    def _target(self, rows: np.ndarray) -> tuple[np.ndarray, ...]:
        return () if self.study.y is None else (self.study.y[rows],)

    def _fit(self, frame: Modalities) -> Any:
        model = clone(self.estimator)
        return model.fit(frame[self.train], *self._target(self.train))

    def _score(self, model: Any, samples: Modalities) -> dict[str, float]:
        target = self._target(self.test)
        return {
            metric: check_score(scorer(model, samples, *target), metric)
            for metric, scorer in self.study.scorers.items()
        }

    def _score_degraded(
        self, condition: Condition, level: float, repeat: int, model: Any
    ) -> dict[str, float]:
        frame = self.study.frame
        degrade = partial(
            condition.applied,
            level=level,
            train=frame[self.train],
            seed=self.study.seed(self.number, repeat, condition),
        )
        if not self.study.refits:
            return self._score(model, degrade(frame[self.test]))
        # all samples at once, so that the share of a level refers to all of them
        degraded = degrade(frame)
        return self._score(self._fit(degraded), degraded[self.test])

    def _attempt(
        self, previous: Outcome, what: str, action: Callable[[Any], Any]
    ) -> Outcome:
        """Run a step on the result of the previous one, unless that failed."""
        if previous.error:
            return previous
        try:  # the estimators and scorers of users may raise anything
            return Outcome(action(previous.value))
        except Exception as error:
            text = f"{type(error).__name__}: {error}"
            if self.study.error_score != "raise":
                return Outcome(None, text)
            raise ValueError(
                f"{self.name!r} failed {what}, on fold {self.number}: {text}; use a "
                "pipeline such as make_pipeline(ModalityImputer(), ...) if modalities "
                "are missing, or error_score=np.nan to continue"
            ) from error

    def rows(self) -> list[dict[str, Any]]:
        """Return one row per condition, level, repeat and metric."""
        study = self.study
        fitted = self._attempt(Outcome(study.frame), "in fit", self._fit)
        clean = self._attempt(
            fitted,
            "without degradation",
            lambda model: self._score(model, study.frame[self.test]),
        )
        rows = []
        for condition in study.conditions:
            for level, repeat in product(condition.levels, range(study.n_repeats)):
                action = partial(self._score_degraded, condition, level, repeat)
                # level 0 is not passed to the degradation: it equals cross-validation
                degraded = clean
                if level != 0:
                    degraded = self._attempt(fitted, condition.describe(level), action)
                for metric in study.scorers:
                    row = {
                        "estimator": self.name,
                        "degradation": condition.name,
                        "modality": condition.modality,
                        "level": level,
                        "fold": self.number,
                        "repeat": repeat,
                        "metric": metric,
                    }
                    for key, outcome in (("score", degraded), ("clean", clean)):
                        failed = bool(outcome.error)
                        row[key] = (
                            study.error_score if failed else outcome.value[metric]
                        )
                    rows.append(row | {"error": degraded.error})
        return rows
