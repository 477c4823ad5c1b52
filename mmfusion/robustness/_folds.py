"""Scores of one estimator on one fold, under every condition."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Any
from zlib import crc32

import numpy as np
from sklearn.base import clone

from mmfusion.modalities import Modalities
from mmfusion.robustness._degradations import add_noise

Degrade = Callable[..., Modalities]
Scorer = Callable[..., float]


@dataclass(frozen=True)
class Condition:
    """One curve: what is done to which modalities, how much."""

    name: str
    degrade: Degrade
    modality: str
    names: tuple[str, ...]
    levels: tuple[float, ...]

    def applied(
        self, frame: Modalities, level: float, train: Modalities, seed: int
    ) -> Modalities:
        """Degrade; the units of noise are those of the training samples."""
        units = {"reference": train} if self.degrade is add_noise else {}
        names = list(self.names)
        degraded = self.degrade(frame, level, names, random_state=seed, **units)
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
        """Tell what was done, for errors."""
        return f"with {self.modality!r} degraded by {self.name!r} at level {level:g}"


def _finite(score: Any, metric: str) -> float:
    """Check what a scorer returns: a finite number."""
    value = np.asarray(score)
    if value.size != 1 or value.dtype.kind not in "fiub":
        raise TypeError(f"scoring {metric!r} has returned {score!r}, not a number")
    if not np.isfinite(value).all():
        raise ValueError(f"scoring {metric!r} has returned {score!r}")
    return float(value.item())


@dataclass(frozen=True)
class Study:
    """What all folds of all estimators have in common."""

    frame: Modalities
    y: np.ndarray | None
    conditions: list[Condition]
    scorers: dict[str, Scorer]
    n_repeats: int
    entropy: int
    refits: bool
    error_score: Any

    def seed(self, fold: int, repeat: int, condition: Condition) -> int:
        """Same for all estimators and levels, whatever else is asked for."""
        what = crc32(f"{condition.name} {condition.modality}".encode())
        words = np.random.SeedSequence([self.entropy, fold, repeat, what])
        return int(words.generate_state(1)[0])


@dataclass(frozen=True)
class Attempt:
    """What came of it, or what went wrong."""

    value: Any
    error: str = ""


@dataclass(frozen=True)
class Fold:
    """One estimator on one fold."""

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
            metric: _finite(scorer(model, samples, *target), metric)
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
        degraded = degrade(frame)
        return self._score(self._fit(degraded), degraded[self.test])

    def _attempt(
        self, before: Attempt, what: str, action: Callable[[Any], Any]
    ) -> Attempt:
        """Go on from what came before, unless that went wrong."""
        if before.error:
            return before
        try:
            return Attempt(action(before.value))
        except Exception as error:
            text = f"{type(error).__name__}: {error}"
            if self.study.error_score != "raise":
                return Attempt(None, text)
            raise ValueError(
                f"{self.name!r} failed {what}, on fold {self.number}: {text}; give it "
                "what it needs, such as make_pipeline(ModalityImputer(), ...) where "
                "modalities are missing, or error_score=np.nan to go on"
            ) from error

    def rows(self) -> list[dict[str, Any]]:
        """Score at every level."""
        study = self.study
        fitted = self._attempt(Attempt(study.frame), "in fit", self._fit)
        clean = self._attempt(
            fitted, "as it is", lambda model: self._score(model, study.frame[self.test])
        )
        rows = []
        for condition in study.conditions:
            for level, repeat in product(condition.levels, range(study.n_repeats)):
                action = partial(self._score_degraded, condition, level, repeat)
                found = clean
                if level != 0:
                    found = self._attempt(fitted, condition.describe(level), action)
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
                    for key, outcome in (("score", found), ("clean", clean)):
                        lost = bool(outcome.error)
                        row[key] = study.error_score if lost else outcome.value[metric]
                    rows.append(row | {"error": found.error})
        return rows
