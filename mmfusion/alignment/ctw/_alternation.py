"""Canonical time warping: projections and warps, fitted in alternation.

The objective is ``sum_{i<j} ||V_i' X_i W_i - V_j' X_j W_j||_F^2`` over projections V
and warps W, under the normalisation of canonical correlation analysis (Zhou and De la
Torre 2009). The spatial step solves for V (see `correlate`), the temporal step for W,
by dynamic time warping (`PathStep`) or by monotone bases (`BasisStep`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from mmfusion.alignment.ctw._monotone_bases import BasisStep
from mmfusion.alignment.ctw._projections import (
    Projections,
    correlate,
    project,
    weigh_by_likelihood,
)
from mmfusion.alignment.ctw._warping import PathStep, raw_warps, warp_error

Samples = Sequence[Sequence[np.ndarray]]
Ridge = float | Sequence[float]  # a sequence: one after the other


class CTW(NamedTuple):
    """Result of an alternation.

    Parameters
    ----------
    projections : Projections
        The best projections.
    warps : list of ndarray of shape (n_steps, n_modalities)
        The warp of each sample under them.
    score : float
        Largest sum of the canonical correlations along warps.
    n_iter : int
        Number of alternations, with all ridges.
    reason : str
        Reason of the end: 'settled', 'cycle' or 'max_iter'.
    """

    projections: Projections
    warps: list[np.ndarray]
    score: float
    n_iter: int
    reason: str


def fit_kind_of_ctw(
    samples: Samples,
    kind: str,
    original: Samples,
    constraints: Mapping[str, Any],
    **limits: Any,
) -> CTW:
    """Fit projections with one of the kinds of warps of CTWAligner.

    Directions are not weighed by their likelihood.

    Parameters
    ----------
    samples : sequence of sequences of ndarray of shape (n_frames, n_features)
        Per sample, one sequence per modality, none missing.
    kind : {'auto', 'basis', 'free', 'combined', 'dtw'}
        The kind of warps.
    original : sequence of sequences of ndarray of shape (n_frames, n_features)
        The samples before they were centred and scaled, from whose paths 'dtw' starts.
    constraints : mapping
        Options of `dtw_path` that constrain paths; without effect for 'basis'.
    **limits : dict
        Parameters `ridge`, `energy`, `n_directions`, `max_iter` and `tol` of `fit_ctw`.

    Returns
    -------
    CTW
        The fit.

    Raises
    ------
    ValueError
        If a modality never varies, or has fewer directions than `n_directions`, or
        'dtw' starts from modalities of different features.
    """
    if kind == "auto":
        kind = "combined" if len(samples) == 1 else "basis"
    if kind == "basis":
        return fit_basis_ctw(samples, **limits)
    limits |= {"constraints": constraints, "likelihood": False}
    if kind == "combined":
        return fit_combined_ctw(samples, **limits)
    start = raw_warps(original, constraints) if kind == "dtw" else None
    return fit_ctw(samples, start, **limits)


def fit_ctw(
    samples: Samples,
    warps: Sequence[np.ndarray] | None = None,
    *,
    ridge: Ridge = 0.0,
    energy: float = 0.8,
    n_directions: int | None = None,
    likelihood: bool = True,
    constraints: Mapping[str, Any] | None = None,
    max_iter: int = 100,
    tol: float = 0.01,
) -> CTW:
    """Fit projections and warps by canonical time warping.

    The spatial step correlates the warped frames of all samples together, so that the
    projections apply to later samples. The temporal step aligns each sample.

    Parameters
    ----------
    samples : sequence of sequences of ndarray of shape (n_frames, n_features)
        Per sample, one sequence per modality, none missing.
    warps : sequence of ndarray of int of shape (n_steps, n_modalities), default=None
        The initial warps; None is uniform warps.
    ridge : float or sequence of float, default=0.0
        Share of the identity in the scatter of each modality (see `correlate`). With
        several, the alternation with each starts from the warps of the one before: at
        uniform warps, large ones keep the directions from correlations by chance.
    energy : float, default=0.8
        Share of the eigenvalues that the directions hold (see `correlate`). Their
        number is chosen at the initial warps, and anew for each ridge.
    n_directions : int or None, default=None
        Number of directions; overrides `energy`.
    likelihood : bool, default=True
        Whether the last alignment, after the alternation, weighs directions by
        `weigh_by_likelihood`. The alternation does not: under a wrong warp, the weight
        of the first directions would be too large.
    constraints : mapping or None, default=None
        Options of `dtw_path` that constrain the path.
    max_iter : int, default=100
        Maximum number of alternations, with each ridge.
    tol : float, default=0.01
        Tolerance, in frames: the alternation stops when no warp moves by more (see
        `warp_error`).

    Returns
    -------
    CTW
        The iterate of largest score, which may decrease on the way. `realign` with its
        projections reproduces the warps of two modalities.

    Raises
    ------
    ValueError
        If a modality never varies, or has fewer directions than `n_directions`.

    References
    ----------
    F. Zhou & F. De la Torre (2009). Canonical time warping for alignment of human
    behavior. NeurIPS 22, 2286-2294.
    """
    step = PathStep(constraints, warps)
    found = _alternate(samples, step, ridge, energy, n_directions, max_iter, tol)
    if not likelihood:
        return found
    weighed = weigh_by_likelihood(found.projections)
    projected = [project(sample, weighed) for sample in samples]
    last_warps = step.improve(projected, found.warps)
    return found._replace(projections=weighed, warps=last_warps)


def fit_basis_ctw(
    samples: Samples,
    *,
    ridge: Ridge = 0.0,
    energy: float = 0.8,
    n_directions: int | None = None,
    max_iter: int = 100,
    tol: float = 0.01,
) -> CTW:
    """Fit projections and warps by generalised canonical time warping.

    In contrast to `fit_ctw`, warps are weighted means of monotone bases: smooth, and
    fitted in time linear in the length.

    Parameters
    ----------
    samples : sequence of sequences of ndarray of shape (n_frames, n_features)
        Per sample, one sequence per modality, none missing.
    ridge, energy, n_directions, max_iter, tol
        Parameters of `fit_ctw`.

    Returns
    -------
    CTW
        The iterate of largest score; its warps hold fractions of frames.

    Raises
    ------
    ValueError
        If a modality never varies, or has fewer directions than `n_directions`.

    References
    ----------
    F. Zhou & F. De la Torre (2016). Generalized canonical time warping. IEEE TPAMI
    38(2), 279-294.
    """
    return _alternate(samples, BasisStep(), ridge, energy, n_directions, max_iter, tol)


def fit_combined_ctw(
    samples: Samples,
    *,
    ridge: Ridge = 0.0,
    energy: float = 0.8,
    n_directions: int | None = None,
    likelihood: bool = True,
    constraints: Mapping[str, Any] | None = None,
    max_iter: int = 100,
    tol: float = 0.01,
) -> CTW:
    """Fit canonical time warping from two initial warps, and return the better fit.

    The initial warps are uniform ones, and those of `fit_basis_ctw`, which are smooth
    and close to the best; the free warps of `fit_ctw` refine them.

    Parameters
    ----------
    samples : sequence of sequences of ndarray of shape (n_frames, n_features)
        Per sample, one sequence per modality, none missing.
    ridge, energy, n_directions, likelihood, constraints, max_iter, tol
        Parameters of `fit_ctw`. Both fits have the number of directions that is chosen
        for `fit_basis_ctw`, so that their scores are comparable.

    Returns
    -------
    CTW
        The fit with the larger score.

    Raises
    ------
    ValueError
        If a modality never varies, or has fewer directions than `n_directions`.
    """
    limits: dict[str, Any] = {"ridge": ridge, "max_iter": max_iter, "tol": tol}
    smooth = fit_basis_ctw(samples, energy=energy, n_directions=n_directions, **limits)
    # the temporal step of `fit_ctw` needs whole frames
    starts = [None, [np.rint(warp).astype(np.int64) for warp in smooth.warps]]
    n_directions = len(smooth.projections.correlations)
    free = {"likelihood": likelihood, "constraints": constraints, **limits}
    fits = [
        fit_ctw(samples, warps, n_directions=n_directions, **free) for warps in starts
    ]
    return max(fits, key=lambda fit: fit.score)


def _alternate(
    samples: Samples,
    step: PathStep | BasisStep,
    ridge: Ridge,
    energy: float,
    n_directions: int | None,
    max_iter: int,
    tol: float,
) -> CTW:
    """Alternate with each ridge in turn, and return the fit with the last."""
    warps = step.start([[len(x) for x in sample] for sample in samples])
    n_iter = 0
    reasons: list[str] = []
    for weight in ridge if isinstance(ridge, Sequence) else [ridge]:
        found = _alternate_from(
            samples, step, warps, weight, energy, n_directions, max_iter, tol
        )
        # bases go on from their last weights, which warps do not have
        warps = found.warps if isinstance(step, PathStep) else step.columns
        n_iter, reasons = n_iter + found.n_iter, [*reasons, found.reason]
    reason = "max_iter" if "max_iter" in reasons else reasons[-1]
    return found._replace(n_iter=n_iter, reason=reason)


def _alternate_from(
    samples: Samples,
    step: PathStep | BasisStep,
    warps: list[np.ndarray],
    ridge: float,
    energy: float,
    n_directions: int | None,
    max_iter: int,
    tol: float,
) -> CTW:
    """Alternate the spatial step and a temporal step until warps no longer move."""
    projections = correlate(
        samples, warps, ridge=ridge, energy=energy, n_directions=n_directions
    )
    # fixed from here on: scores of different numbers of directions do not compare
    n_directions = len(projections.correlations)
    best, best_score = (projections, warps), -np.inf
    visited = set()
    n_iter, reason = 0, "max_iter"
    while n_iter < max_iter:
        n_iter += 1
        projected = [project(sample, projections) for sample in samples]
        new_warps = step.improve(projected, warps)
        after = correlate(samples, new_warps, ridge=ridge, n_directions=n_directions)
        score = float(after.correlations.sum())
        if score > best_score:
            best, best_score = (projections, new_warps), score
        if max(map(warp_error, new_warps, warps)) <= tol:
            reason = "settled"
            break
        # integer warps are finitely many: an alternation that does not settle cycles
        state = hash(b"".join(warp.tobytes() for warp in new_warps))
        if state in visited:
            reason = "cycle"
            break
        visited.add(state)
        projections, warps = after, new_warps
    return CTW(*best, best_score, n_iter, reason)
