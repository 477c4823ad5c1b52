"""Canonical time warping: projections and warps in turn, until neither moves."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from mmfusion.alignment.ctw._monotone_bases import (
    BasisWarp,
    improve,
    uniform_basis_warp,
)
from mmfusion.alignment.ctw._projections import Projections, by_likelihood, correlate
from mmfusion.alignment.ctw._temporal import align, realign
from mmfusion.alignment.ctw._warps import uniform_warp, warp_error

Samples = Sequence[Sequence[np.ndarray]]


class CTW(NamedTuple):
    """Where an alternation led.

    Parameters
    ----------
    projections : Projections
        The best.
    warps : list of ndarray of shape (n_steps, n_modalities)
        The warp of each sample that they give.
    score : float
        Sum of the canonical correlations along the warps that the alternation ended
        with.
    n_iter : int
        Alternations made.
    reason : str
        Why they ended: 'settled', 'cycle' or 'max_iter'.
    """

    projections: Projections
    warps: list[np.ndarray]
    score: float
    n_iter: int
    reason: str


def fit_ctw(
    samples: Samples,
    warps: Sequence[np.ndarray] | None = None,
    *,
    ridge: float = 0.0,
    energy: float = 0.8,
    n_directions: int | None = None,
    likelihood: bool = True,
    constraints: Mapping[str, Any] | None = None,
    max_iter: int = 100,
    tol: float = 0.01,
) -> CTW:
    """Learn projections, and with them the warps, by canonical time warping.

    The spatial step correlates the warped frames of all samples together, so that the
    projections serve samples that come later. The temporal step aligns each sample.

    Parameters
    ----------
    samples : sequence of sequences of ndarray of shape (n_frames, n_features)
        Per sample, one sequence per modality, none missing.
    warps : sequence of ndarray of int of shape (n_steps, n_modalities), default=None
        Where to begin; None takes uniform warps.
    ridge : float, default=0.0
        See `correlate`.
    energy : float, default=0.8
        See `correlate`. The number of directions is decided at the first warps.
    n_directions : int or None, default=None
        Decides it instead.
    likelihood : bool, default=True
        Whether the last alignment, after the alternation, weighs directions by
        `by_likelihood`. The alternation itself does not: from a wrong warp it would
        trust its first directions too much.
    constraints : mapping or None, default=None
        Options of `dtw_path`, as `realign` takes them.
    max_iter : int, default=100
        Most alternations.
    tol : float, default=0.01
        They end when no warp moves by more, in frames (see `warp_error`).

    Returns
    -------
    CTW
        The best by its score, which may fall on the way. `realign` with the
        projections gives the warps of two modalities again.

    Raises
    ------
    ValueError
        If a modality never varies, or has fewer directions than asked for.

    References
    ----------
    F. Zhou & F. De la Torre (2009). Canonical time warping for alignment of human
    behavior. NeurIPS 22, 2286-2294.
    """
    if warps is None:
        warps = [uniform_warp([len(x) for x in sample]) for sample in samples]

    def temporal(fitted: Projections, warps: list[np.ndarray]) -> list[np.ndarray]:
        pairs = zip(samples, warps, strict=True)
        return [realign(sample, fitted, warp, constraints) for sample, warp in pairs]

    found = _alternate(
        samples, list(warps), temporal, ridge, energy, n_directions, max_iter, tol
    )
    if not likelihood:
        return found
    weighed = by_likelihood(found.projections)
    return found._replace(projections=weighed, warps=temporal(weighed, found.warps))


def raw_warps(
    samples: Samples, constraints: Mapping[str, Any] | None = None
) -> list[np.ndarray]:
    """Align samples by their features as they are: where `fit_ctw` may begin.

    Parameters
    ----------
    samples : sequence of sequences of ndarray of shape (n_frames, n_features)
        Per sample, one sequence per modality, none missing.
    constraints : mapping or None, default=None
        Options of `dtw_path`, as `realign` takes them.

    Returns
    -------
    list of ndarray of int64 of shape (n_steps, n_modalities)
        A warp per sample.

    Raises
    ------
    ValueError
        If modalities have different numbers of features.
    """
    widths = [x.shape[1] for x in samples[0]]
    if len(set(widths)) > 1:
        raise ValueError(
            f"warp='dtw' begins with the features as they are, of which modalities "
            f"have {widths}; take another warp"
        )
    same = Projections(
        [np.zeros(width) for width in widths],
        [np.eye(width) for width in widths],
        np.ones(widths[0]),
    )
    return [align(sample, same, constraints) for sample in samples]


def fit_basis_ctw(
    samples: Samples,
    *,
    ridge: float = 0.0,
    energy: float = 0.8,
    n_directions: int | None = None,
    max_iter: int = 100,
    tol: float = 0.01,
) -> CTW:
    """Learn projections by generalised canonical time warping.

    As `fit_ctw`, with warps that are weighted means of monotone bases: smooth, and
    found in a time linear in the length.

    Parameters
    ----------
    samples : sequence of sequences of ndarray of shape (n_frames, n_features)
        Per sample, one sequence per modality, none missing.
    ridge, energy, n_directions, max_iter, tol
        As `fit_ctw` takes them.

    Returns
    -------
    CTW
        The best by its score; its warps hold fractions of frames.

    Raises
    ------
    ValueError
        If a modality never varies, or has fewer directions than asked for.

    References
    ----------
    F. Zhou & F. De la Torre (2016). Generalized canonical time warping. IEEE TPAMI
    38(2), 279-294.
    """
    state = [uniform_basis_warp([len(x) for x in sample]) for sample in samples]

    def temporal(fitted: Projections, _: list[np.ndarray]) -> list[np.ndarray]:
        pairs = zip(samples, state, strict=True)
        state[:] = [improve(sample, fitted, warp) for sample, warp in pairs]
        return _columns(state)

    return _alternate(
        samples, _columns(state), temporal, ridge, energy, n_directions, max_iter, tol
    )


def fit_combined_ctw(
    samples: Samples,
    *,
    ridge: float = 0.0,
    energy: float = 0.8,
    n_directions: int | None = None,
    likelihood: bool = True,
    constraints: Mapping[str, Any] | None = None,
    max_iter: int = 100,
    tol: float = 0.01,
) -> CTW:
    """Learn projections by canonical time warping from two starts, and keep the better.

    One start are uniform warps, the other what `fit_basis_ctw` makes of them: smooth
    warps get near, and those of `fit_ctw`, which are free, follow from there.

    Parameters
    ----------
    samples : sequence of sequences of ndarray of shape (n_frames, n_features)
        Per sample, one sequence per modality, none missing.
    ridge, energy, n_directions, likelihood, constraints, max_iter, tol
        As `fit_ctw` takes them. Both starts have the number of directions that uniform
        warps decide, so that their scores compare.

    Returns
    -------
    CTW
        The one with the higher score.

    Raises
    ------
    ValueError
        If a modality never varies, or has fewer directions than asked for.
    """
    limits: dict[str, Any] = {"ridge": ridge, "max_iter": max_iter, "tol": tol}
    smooth = fit_basis_ctw(samples, energy=energy, n_directions=n_directions, **limits)
    starts = [None, [np.rint(warp).astype(np.int64) for warp in smooth.warps]]
    n_directions = len(smooth.projections.correlations)
    free = {"likelihood": likelihood, "constraints": constraints, **limits}
    fits = [
        fit_ctw(samples, warps, n_directions=n_directions, **free) for warps in starts
    ]
    return max(fits, key=lambda fit: fit.score)


def _columns(warps: list[BasisWarp]) -> list[np.ndarray]:
    return [warp.columns for warp in warps]


def _alternate(
    samples: Samples,
    warps: list[np.ndarray],
    temporal: Callable[[Projections, list[np.ndarray]], list[np.ndarray]],
    ridge: float,
    energy: float,
    n_directions: int | None,
    max_iter: int,
    tol: float,
) -> CTW:
    fitted = correlate(
        samples, warps, ridge=ridge, energy=energy, n_directions=n_directions
    )
    n_directions = len(fitted.correlations)
    best, best_score = (fitted, warps), -np.inf
    seen = set()
    n_iter, reason = 0, "max_iter"
    while n_iter < max_iter:
        n_iter += 1
        new = temporal(fitted, warps)
        after = correlate(samples, new, ridge=ridge, n_directions=n_directions)
        score = float(after.correlations.sum())
        if score > best_score:
            best, best_score = (fitted, new), score
        moved = max(map(warp_error, new, warps))
        if moved <= tol:
            reason = "settled"
            break
        state = hash(b"".join(warp.tobytes() for warp in new))
        if state in seen:
            reason = "cycle"
            break
        seen.add(state)
        fitted, warps = after, new
    return CTW(*best, best_score, n_iter, reason)
