"""Expectation-maximisation of models of word alignment, by stages."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from joblib import Parallel, delayed, effective_n_jobs

from mmfusion.alignment.words._expectation import (
    Expectations,
    WordModel,
    expectation,
    longest_of,
)
from mmfusion.alignment.words._index import CorpusIndex, TypePairs
from mmfusion.alignment.words._positions import (
    DIAGONAL,
    FIRST_TENSION,
    JUMPS,
    Positions,
    first_jumps,
    folded_jumps,
    update_tension,
)
from mmfusion.alignment.words._translations import (
    estimate_translations,
    uniform_translations,
)


class Stage(NamedTuple):
    """A model, and how it is fitted.

    Parameters
    ----------
    kind : int
        UNIFORM, DIAGONAL or JUMPS: the distribution of positions.
    n_iter : int
        Number of iterations.
    null_probability : float
        Probability of NULL; below 0 it is ``1 / (n + 1)`` among n positions.
    agree : bool
        Whether the directions learn from the product of their posteriors.
    """

    kind: int
    n_iter: int
    null_probability: float
    agree: bool


def fit_stages(
    index: CorpusIndex,
    types: TypePairs,
    stages: list[Stage],
    *,
    concentration: float,
    max_jump: int,
    n_jobs: int | None = None,
    report: Callable[[str], object] = lambda title: None,
) -> tuple[WordModel, list[np.ndarray]]:
    """Fit models one after another, each from the translations of the one before.

    Parameters
    ----------
    index : CorpusIndex
        The corpus.
    types : TypePairs
        Its pairs of types.
    stages : list of Stage
        The models.
    concentration : float
        See `estimate_translations`.
    max_jump : int
        The longest jump with a weight of its own.
    n_jobs : int, default=None
        Number of threads over samples.
    report : callable, default=no report
        Called with a title after each iteration.

    Returns
    -------
    model : WordModel
        The last model.
    history : list of ndarray of shape (n_iter, 2)
        For each stage, the log-likelihoods before each iteration, forward and reverse.
    """
    jumps = first_jumps(max_jump)
    start = Positions(JUMPS, 0.0, FIRST_TENSION, jumps)
    model = WordModel(uniform_translations(types), start, start)
    lengths, n_samples = _token_counts(index)
    history: list[np.ndarray] = []
    for stage in stages:
        of_stage = []
        model = model._replace(
            forward=_of_stage(model.forward, stage),
            reverse=_of_stage(model.reverse, stage),
        )
        for i in range(stage.n_iter):
            found = _expect_in_threads(index, types, model, stage.agree, n_jobs)
            of_stage.append(found.sums[:, 0].copy())
            sides = []
            for d, own in enumerate((model.forward, model.reverse)):
                if stage.kind == JUMPS:
                    own = own._replace(
                        jumps=folded_jumps(found.jump_counts[d], max_jump)
                    )
                # the first posterior is one of uniform translations
                elif stage.kind == DIAGONAL and i > 0:
                    by_direction = lengths[:, ::-1] if d == 0 else lengths
                    tension = update_tension(
                        own.tension, found.sums[d, 1], by_direction, n_samples
                    )
                    own = own._replace(tension=tension)
                sides.append(own)
            estimated = estimate_translations(types, found.counts, concentration)
            model = WordModel(estimated, *sides)
            report(f"iteration {i + 1} of stage {len(history) + 1}")
        history.append(np.array(of_stage))
    return model, history


def _of_stage(positions: Positions, stage: Stage) -> Positions:
    return positions._replace(
        kind=stage.kind, null_probability=float(stage.null_probability)
    )


def _token_counts(index: CorpusIndex) -> tuple[np.ndarray, np.ndarray]:
    """Return the pairs of numbers of tokens of samples, and how often each occurs."""
    lengths = np.column_stack(
        [np.diff(index.source.offsets), np.diff(index.target.offsets)]
    )
    lengths = lengths[lengths.min(axis=1) > 0]
    return np.unique(lengths, axis=0, return_counts=True)


def _expect_in_threads(
    index: CorpusIndex,
    types: TypePairs,
    model: WordModel,
    agree: bool,
    n_jobs: int | None,
) -> Expectations:
    """Compute expectations in as many threads as requested, and add them up."""
    n_parts = min(effective_n_jobs(n_jobs), max(index.n_samples, 1))
    ends = np.linspace(0, index.cell_offsets[-1], n_parts + 1)
    bounds = np.searchsorted(index.cell_offsets, ends)
    bounds[0], bounds[-1] = 0, index.n_samples
    parts = Parallel(n_jobs=n_jobs, prefer="threads")(
        delayed(expectation)(index, types, model, samples, agree=agree)
        for samples in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True)
    )
    total = parts[0]
    longest = longest_of(index, 0, index.n_samples)
    jump_counts = np.zeros((2, 2 * longest + 1))
    for k, part in enumerate(parts):
        own = part.jump_counts.shape[1] // 2
        jump_counts[:, longest - own : longest + own + 1] += part.jump_counts
        if k > 0:
            total.sums[:] += part.sums
            for sum_, added in zip(total.counts, part.counts, strict=True):
                sum_ += added
    return total._replace(jump_counts=jump_counts)
