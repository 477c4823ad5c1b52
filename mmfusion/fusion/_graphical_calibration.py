"""Scores of classes, of held-out samples too, by which predictions are calibrated."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Sequence

import numpy as np

from mmfusion.fusion._graphical_class_models import share_covariances
from mmfusion.graphical._chain_model import (
    ChainModel,
    fit_chain_model,
    log_emissions,
    score_sequences,
)
from mmfusion.graphical._clock import Frames, select_sequences
from mmfusion.graphical._inference import chain_log_likelihood


def class_scores(
    models: Sequence[ChainModel], frames: Frames, n_jobs: int | None = None
) -> np.ndarray:
    """Compute the log-likelihood of each sample under the model of each class.

    It is relative to the density of outliers, which the classes have in common.

    Parameters
    ----------
    models : sequence of ChainModel
        Model of each class.
    frames : Frames
        Frames of the samples.
    n_jobs : int, default=None
        Number of threads.

    Returns
    -------
    ndarray of shape (n_samples, n_classes)
        The scores.
    """
    return _class_log_likelihoods(models, frames, n_jobs)[0]


def _class_log_likelihoods(
    models: Sequence[ChainModel],
    frames: Frames,
    n_jobs: int | None = None,
    names: Sequence[str] = (),
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Compute the scores of all modalities together, and by themselves if named."""
    scores = np.empty((len(frames.offsets) - 1, len(models)))
    by_modality = {name: np.empty_like(scores) for name in names}
    if type(models[0]) is ChainModel:  # those of classes have the same pooled moments
        frames = models[0].emission.standardized(frames)
    for code, model in enumerate(models):
        emission = dataclasses.replace(model.emission, is_relative=True)
        own = dataclasses.replace(model, emission=emission)
        if names and type(own) is ChainModel:
            scores[:, code], alone = _scores_of_tables(own, frames, names, n_jobs)
        else:
            scores[:, code] = score_sequences(own, frames, n_jobs)
            alone = {
                name: score_sequences(own, _of_modality(frames, name), n_jobs)
                for name in names
            }
        for name, found in alone.items():
            by_modality[name][:, code] = found
    for found in (scores, *by_modality.values()):
        # without outliers, a sample may be beyond the range of numbers, in all classes
        found[~np.isfinite(found)] = -np.inf
        found[~np.isfinite(found).any(axis=1)] = 0
    return scores, by_modality


def _scores_of_tables(
    model: ChainModel, frames: Frames, names: Sequence[str], n_jobs: int | None
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Compute the same of one model, from the emission table of each modality."""
    alone = {}
    table: np.ndarray | None = None
    for name in names:
        part = log_emissions(model, _of_modality(frames, name))
        alone[name] = chain_log_likelihood(
            model.graph, part, frames.offsets, n_jobs=n_jobs
        )
        table = part if table is None else np.add(table, part, out=table)
    if table is None or len(names) == 1:
        return alone[names[0]], alone
    return chain_log_likelihood(
        model.graph, table, frames.offsets, n_jobs=n_jobs
    ), alone


def _of_modality(frames: Frames, name: str) -> Frames:
    return frames._replace(modalities={name: frames.modalities[name]})


def observed_modalities(frames: Frames, names: Sequence[str]) -> np.ndarray:
    """Return which samples have frames of which modality.

    Parameters
    ----------
    frames : Frames
        Frames of the samples.
    names : sequence of str
        Names of the modalities.

    Returns
    -------
    ndarray of bool of shape (n_samples, n_modalities)
        Whether there is at least one frame.
    """
    observed = np.zeros((len(frames.offsets) - 1, len(names)), dtype=bool)
    for v, name in enumerate(names):
        own = frames.modalities.get(name)
        if own is None:
            continue
        borders = frames.offsets
        if own.steps is not None:
            borders = np.searchsorted(own.steps, borders)
        observed[:, v] = np.diff(borders) > 0
    return observed


def temperatures_of_samples(
    observed: np.ndarray, temperature: float, by_modality: np.ndarray
) -> np.ndarray:
    """Interpolate the temperature of samples that lack modalities.

    With n of V modalities it is ``T_1^(1 - a) T_V^a``, where ``a = (n - 1) / (V - 1)``
    and T_1 is the geometric mean of the temperatures of these modalities alone: scores
    of fewer modalities are less overconfident.

    Parameters
    ----------
    observed : ndarray of bool of shape (n_samples, n_modalities)
        Modalities that samples have, of those with a weight.
    temperature : float
        The temperature T_V of samples with all modalities.
    by_modality : ndarray of shape (n_modalities,)
        Temperatures of samples with one modality.

    Returns
    -------
    ndarray of shape (n_samples,)
        The temperatures.
    """
    n_modalities = observed.shape[1]
    if n_modalities < 2:
        return np.full(len(observed), temperature)
    n_observed = np.maximum(observed.sum(axis=1), 1)
    alone = observed @ np.log(by_modality) / n_observed
    share = (n_observed - 1) / (n_modalities - 1)
    return np.exp((1 - share) * alone + share * np.log(temperature))


def held_out_models(
    models: Sequence[ChainModel],
    frames: Frames,
    codes: np.ndarray,
    held_out: np.ndarray,
    weight: np.ndarray,
    *,
    has_shared_covariances: bool = False,
) -> list[ChainModel]:
    """Return the models of the classes without some samples, by one iteration of EM.

    The parameters are those of one M-step on the other samples, whose states are those
    of the models of all samples. That costs a small part of fits from the beginning.

    Parameters
    ----------
    models : sequence of ChainModel
        Model of each class, fitted to all of its samples.
    frames : Frames
        Frames of all samples.
    codes : ndarray of int of shape (n_samples,)
        Class of each sample.
    held_out : ndarray of bool of shape (n_samples,)
        The samples to leave out.
    weight : ndarray of shape (n_samples,)
        Weights of the samples.
    has_shared_covariances : bool, default=False
        Whether the models share their covariances.

    Returns
    -------
    list of ChainModel
        The models; those of classes without a held-out sample are the given ones.
    """
    others = []
    for code, model in enumerate(models):
        if not held_out[codes == code].any():
            others.append(model)
            continue
        rows = np.flatnonzero((codes == code) & ~held_out)
        other = copy.deepcopy(model)
        fit_chain_model(
            other,
            select_sequences(frames, rows),
            max_iter=1,
            sample_weight=weight[rows],
        )
        others.append(other)
    if has_shared_covariances:
        others = copy.deepcopy(others)
        share_covariances(others, np.bincount(codes, weight * ~held_out))
    return others


def held_out_scores(
    models: Sequence[ChainModel],
    frames: Frames,
    codes: np.ndarray,
    folds: np.ndarray,
    weight: np.ndarray,
    names: Sequence[str] = (),
    *,
    has_shared_covariances: bool = False,
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Compute the scores of all samples by models without them.

    Parameters
    ----------
    models : sequence of ChainModel
        Model of each class, fitted to all of its samples.
    frames : Frames
        Frames of all samples.
    codes : ndarray of int of shape (n_samples,)
        Class of each sample.
    folds : ndarray of int of shape (n_samples,)
        Fold of each sample; negative for samples that are in all models.
    weight : ndarray of shape (n_samples,)
        Weights of the samples.
    names : sequence of str, default=()
        Modalities to score by themselves, too.
    has_shared_covariances : bool, default=False
        Whether the models share their covariances.

    Returns
    -------
    scores : ndarray of shape (n_samples, n_classes)
        Scores of all modalities; NaN for samples without fold.
    by_modality : dict of ndarray of shape (n_samples, n_classes)
        Scores of each modality of `names`.
    """
    scores = np.full((len(codes), len(models)), np.nan)
    by_modality = {name: np.full_like(scores, np.nan) for name in names}
    for fold in range(folds.max() + 1):
        held_out = folds == fold
        others = held_out_models(
            models,
            frames,
            codes,
            held_out,
            weight,
            has_shared_covariances=has_shared_covariances,
        )
        own = select_sequences(frames, np.flatnonzero(held_out))
        scores[held_out], alone = _class_log_likelihoods(others, own, names=names)
        for name, found in alone.items():
            by_modality[name][held_out] = found
    return scores, by_modality
