"""Predictors of one modality, or of several side by side: fitted, held out, asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from sklearn.base import clone
from sklearn.dummy import DummyClassifier
from sklearn.utils.parallel import Parallel, delayed

from mmfusion._blocks import of_samples
from mmfusion.fusion._early import EarlyFusion
from mmfusion.fusion._targets import Classes, Outputs
from mmfusion.modalities import Modalities
from mmfusion.preprocessing import ModalityImputer

Target = Classes | Outputs


@dataclass(frozen=True)
class Part:
    """A predictor and the way from modalities to its matrix.

    Parameters
    ----------
    name : str
        Name of its modality, or of its set of modalities.
    modalities : list of int
        Positions of its modalities.
    estimator : estimator or None
        The predictor; None if only its matrix is wanted.
    fusion : EarlyFusion
        Scales the modalities and puts them side by side.
    imputer : ModalityImputer, default=None
        Fills in modalities where a sample has some of them. With None the part speaks
        of samples that have all of its modalities.
    dropout : float, default=0.0
        Probability with which a modality is dropped in copies of samples, on which
        the predictor is trained too.
    seed : int, default=0
        Seed of the dropout.
    method : str, default='predict'
        What the predictor is asked for.
    as_given : bool, default=False
        Whether the predictor takes its one modality as it is, such as text.
    """

    name: str
    modalities: list[int]
    estimator: Any
    fusion: EarlyFusion
    imputer: ModalityImputer | None = None
    dropout: float = 0.0
    seed: int = 0
    method: str = "predict"
    as_given: bool = False

    def present(self, frame: Modalities) -> np.ndarray:
        """Tell of which samples the part can speak.

        Parameters
        ----------
        frame : Modalities
            All modalities.

        Returns
        -------
        ndarray of bool of shape (n_samples,)
            Those with any modality of the part; all of them without an imputer.
        """
        observed = frame.observed[:, self.modalities]
        needed = np.all if self.imputer is None else np.any
        return np.asarray(needed(observed, axis=1))

    def _own(self, frame: Modalities, rows: np.ndarray) -> Modalities:
        own = frame[:, self.modalities]
        return own if rows.all() else own[np.flatnonzero(rows)]

    def fit(
        self, frame: Modalities, y: np.ndarray, target: Target, params: Any
    ) -> Self:
        """Fit a copy on the samples that the part can speak of.

        Parameters
        ----------
        frame : Modalities
            All modalities, checked.
        y : ndarray of shape (n_samples,) or (n_samples, n_outputs)
            What to predict.
        target : Classes or Outputs
            How to read it.
        params : dict
            Metadata for the predictor's `fit`.

        Returns
        -------
        Part
            A fitted one.
        """
        present = self.present(frame)
        own = self._own(frame, present)
        params = {key: of_samples(value, present) for key, value in params.items()}
        y = of_samples(y, present)
        fitted, filled = self._fit_way(own, y, params.get("sample_weight"))
        if fitted.imputer is not None and self.dropout > 0:
            rng = np.random.default_rng(self.seed)
            copies, rows = _with_dropout(own, self.dropout, rng)
            weight = params.get("sample_weight")
            filled_copies, rows = _fill_copies(
                copies, rows, own, fitted.imputer, rng, weight
            )
            filled = filled.concat(*filled_copies)
            rows = np.concatenate([np.arange(len(own)), rows])
            params = {k: _take(v, rows, len(own)) for k, v in params.items()}
            y = y[rows]
        estimator = clone(self.estimator)
        if target.tells_nothing(y):
            estimator, params = DummyClassifier(strategy="prior"), {}
        matrix = fitted._fuse(filled)
        try:
            estimator.fit(matrix, y, **params)
        except (TypeError, ValueError) as error:
            kind = TypeError if isinstance(error, TypeError) else ValueError
            weighed = params.get("sample_weight") is not None
            hint = " (samples whose sample_weight is 0 are left out)" * weighed
            raise kind(f"{self._title()}: {error}{hint}") from error
        return replace(fitted, estimator=estimator)

    def fit_way(self, frame: Modalities, sample_weight: Any = None) -> Self:
        """Fit a copy, but for its predictor: the way from modalities to the matrix.

        Parameters
        ----------
        frame : Modalities
            All modalities, checked.
        sample_weight : ndarray of shape (n_samples,), default=None
            Weights of the samples in means and variances.

        Returns
        -------
        Part
            A fitted one.
        """
        present = self.present(frame)
        if sample_weight is not None:
            sample_weight = of_samples(sample_weight, present)
        return self._fit_way(self._own(frame, present), None, sample_weight)[0]

    def _fit_way(
        self, own: Modalities, y: Any, sample_weight: Any
    ) -> tuple[Self, Modalities]:
        if len(own) == 0 or (sample_weight is not None and not sample_weight.any()):
            raise ValueError(
                f"{self._title()}: no sample has all of its modalities, so there is "
                "nothing to fit on; give missing='mean' or 'knn'"
            )
        imputer = self.imputer
        if imputer is not None:
            imputer = copy(imputer)._fit_checked(own, sample_weight)
        filled = _filled(own, imputer)
        if self.as_given:
            return self, filled
        # arrays, whatever sklearn.set_config says of the output of transformers
        fusion = copy(self.fusion).set_output(transform="default")
        fusion._fit_checked(filled, y, sample_weight)
        return replace(self, imputer=imputer, fusion=fusion), filled

    def read(self, target: Target, matrix: Any) -> np.ndarray:
        """Read the predictions of the fitted predictor.

        Parameters
        ----------
        target : Classes or Outputs
            How to read them.
        matrix : ndarray or CSR matrix of shape (n_samples, n_features)
            Samples, as `matrix` gives them.

        Returns
        -------
        ndarray of shape (n_samples, n_outputs)
            The predictions.
        """
        try:
            return target.read(self.estimator, matrix, self.method)
        except (TypeError, ValueError) as error:
            kind = TypeError if isinstance(error, TypeError) else ValueError
            raise kind(f"{self._title()}: {error}") from error

    def _title(self) -> str:
        what = "modality" if len(self.modalities) == 1 else "fused modalities"
        return f"{what} {self.name!r}"

    def _fuse(self, own: Modalities) -> Any:
        if self.as_given:
            return own.blocks[0]
        as_it_is = len(own.blocks) == 1 and not self.fusion.reducers_
        if as_it_is and list(self.fusion.scales_.values()) == [None]:
            return own.blocks[0]  # without a copy
        return self.fusion._fuse(own)

    def matrix(self, frame: Modalities, rows: np.ndarray) -> Any:
        """Bring samples into the form that the predictor takes.

        Parameters
        ----------
        frame : Modalities
            All modalities, checked.
        rows : ndarray of bool of shape (n_samples,)
            Which samples; those that the part can speak of, or some of them.

        Returns
        -------
        ndarray or CSR matrix of shape (n_rows, n_features)
            The scaled modalities side by side.
        """
        return self._fuse(_filled(self._own(frame, rows), self.imputer))


def _filled(own: Modalities, imputer: ModalityImputer | None) -> Modalities:
    if imputer is None or own.observed.all():
        return own
    return imputer._fill(own)


def _fill_copies(
    copies: Modalities,
    rows: np.ndarray,
    own: Modalities,
    imputer: Any,
    rng: Any,
    sample_weight: Any,
) -> tuple[list[Modalities], np.ndarray]:
    """Fill in what was dropped, without a look at the sample that had it.

    Gives the copies in one piece or two, and the samples that they are copies of.
    """
    if len(rows) == 0:
        return [], rows
    if imputer.strategy != "knn":  # which alone knows single samples
        return [imputer._fill(copies)], rows
    half = rng.permutation(len(own)) % 2
    filled, order = [], []
    for side in (0, 1):
        mine = np.flatnonzero(half[rows] == side)
        if len(mine):
            others = half != side
            weight = None if sample_weight is None else sample_weight[others]
            unseen = clone(imputer)._fit_checked(own[others], weight)
            filled.append(unseen._fill(copies[mine]))
            order.append(rows[mine])
    return filled, np.concatenate(order)


def _with_dropout(
    own: Modalities, rate: float, rng: np.random.Generator
) -> tuple[Modalities, np.ndarray]:
    """Copy samples, with some of what they have dropped, but not all of it.

    Samples of which nothing is dropped are not copied.
    """
    kept = own.observed & (rng.random(own.shape) >= rate)
    emptied = np.flatnonzero(~kept.any(axis=1))
    chances = own.observed[emptied] * rng.random((len(emptied), own.shape[1]))
    kept[emptied, chances.argmax(axis=1)] = True
    rows = np.flatnonzero((kept != own.observed).any(axis=1))
    return Modalities(own[rows], observed=kept[rows]), rows


def _take(value: Any, rows: np.ndarray, n_samples: int) -> Any:
    return np.asarray(value)[rows] if np.shape(value)[:1] == (n_samples,) else value


@dataclass(frozen=True)
class Answer:
    """Predictions of one part for some samples.

    Parameters
    ----------
    part : int
        Number of the part.
    rows : ndarray of int of shape (n_rows,)
        Positions of the samples.
    said : ndarray of shape (n_rows, n_outputs)
        The predictions.
    unseen : ndarray of bool of shape (n_rows,), default=None
        Samples of a class that the part was not trained on. None where the classes of
        samples are not known.
    """

    part: int
    rows: np.ndarray
    said: np.ndarray
    unseen: np.ndarray | None = None


@dataclass(frozen=True)
class Said:
    """What parts say of samples.

    Parameters
    ----------
    values : ndarray of shape (n_parts, n_samples, n_outputs)
        What they say; the prior where they say nothing.
    observed : ndarray of bool of shape (n_samples, n_parts)
        Where they say something.
    """

    values: np.ndarray
    observed: np.ndarray


def gather(
    answers: Sequence[Answer],
    shape: tuple[int, int],
    default: np.ndarray,
) -> Said:
    """Put the answers of parts together.

    Parameters
    ----------
    answers : list of Answer
        The predictions.
    shape : tuple of int
        (n_samples, n_parts).
    default : ndarray of shape (n_outputs,)
        What stands where nothing is said.

    Returns
    -------
    Said
        All of them.
    """
    observed = np.zeros(shape, dtype=bool)
    values = np.empty((shape[1], shape[0], len(default)))
    for answer in answers:
        observed[answer.rows, answer.part] = True
        values[answer.part, answer.rows] = answer.said
    for part in range(shape[1]):
        if not observed[:, part].all():
            values[part, ~observed[:, part]] = default
    return Said(values, observed)


def fit_parts(
    parts: Sequence[Part],
    frame: Modalities,
    y: np.ndarray,
    target: Target,
    params: Mapping[str, Any],
    folds: Sequence[tuple[np.ndarray, np.ndarray]],
    n_jobs: int | None,
) -> tuple[list[Part], list[Answer]]:
    """Fit every part on all samples, and on the training samples of every fold.

    Parameters
    ----------
    parts : list of Part
        Unfitted.
    frame : Modalities
        All modalities, checked.
    y : ndarray of shape (n_samples,) or (n_samples, n_outputs)
        What to predict.
    target : Classes or Outputs
        How to read it.
    params : dict of str to dict
        Metadata for `fit` by name of the part.
    folds : list of tuple of ndarray
        Training and test samples; may be empty.
    n_jobs : int or None
        Fits at a time.

    Returns
    -------
    fitted : list of Part
        Fitted on all samples.
    answers : list of Answer
        Of parts that were fitted on the other samples, to those held out.
    """
    everything = np.arange(len(frame))
    tasks = [
        (p, train, test)
        for p in range(len(parts))
        for train, test in [(everything, None), *folds]
    ]
    done = Parallel(n_jobs=n_jobs)(
        delayed(_fit_and_ask)(
            parts[p], frame, y, target, params[parts[p].name], train, test
        )
        for p, train, test in tasks
    )
    fitted, answers = [], []
    for (p, _, test), result in zip(tasks, done, strict=True):
        if test is None:
            fitted.append(result)
        elif result is not None:
            answers.append(Answer(p, *result))
    return fitted, answers


def _fit_and_ask(
    part: Part,
    frame: Modalities,
    y: np.ndarray,
    target: Target,
    params: Any,
    train: np.ndarray,
    test: np.ndarray | None,
) -> Any:
    if test is None:
        return part.fit(frame, y, target, params)
    known = part.present(frame)
    if not known[train].any() or not known[test].any():
        return None
    own = {key: _take(value, train, len(frame)) for key, value in params.items()}
    held_out = part.fit(frame[train], y[train], target, own)
    rows = test[known[test]]
    every = np.ones(len(rows), dtype=bool)
    matrix = held_out.matrix(frame[rows], every)
    said = held_out.read(target, matrix)
    return rows, said, target.unseen(held_out.estimator, y[rows])
