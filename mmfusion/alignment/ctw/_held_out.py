"""Correlations of held-out frames, by which a ridge is chosen and chance is noticed.

With more features than frames can support, some directions of two modalities correlate
at any warp, by chance. Projections that are learned without a part of the frames do not
correlate there unless the modalities have something in common at this warp.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np

from mmfusion.alignment.ctw._alternation import CTW, Ridge, Samples, fit_kind_of_ctw
from mmfusion.alignment.ctw._projections import Projections, correlate, warped

# from the cross-covariances alone to a moderate ridge: see `fit_held_out_ctw`
RIDGE_DESCENT = (1.0, 0.6, 0.3, 0.1)
N_FOLDS = 5  # contiguous, since neighbouring frames are alike


class HeldOutCTW(NamedTuple):
    """A fit, and its correlations on held-out frames.

    Parameters
    ----------
    fit : CTW
        The fit.
    ridge : float
        The ridge of its projections.
    correlations : ndarray of shape (n_directions,)
        Its correlations on held-out frames (see `held_out_correlations`).
    """

    fit: CTW
    ridge: float
    correlations: np.ndarray


def fit_held_out_ctw(
    samples: Samples,
    kind: str,
    original: Samples,
    constraints: Mapping[str, Any],
    *,
    ridge: float | str,
    **limits: Any,
) -> HeldOutCTW:
    """Fit projections, with the ridge that correlates held-out frames most.

    For 'auto' there are three fits: without a ridge; with the last of `RIDGE_DESCENT`;
    and with all of these in turn, each from the warps of the last. With a ridge of 1,
    directions follow the covariances between modalities alone, in which chance has less
    weight than in correlations; so the first warps are better, and those of smaller
    ridges in turn. Directions that vary little are missed then, and the fit with the
    small ridge alone is kept where its held-out frames correlate more. Settled on
    eleven kinds of data, whichever is left out.

    Parameters
    ----------
    samples, kind, original, constraints
        Parameters of `fit_kind_of_ctw`.
    ridge : float or 'auto'
        The ridge, or 'auto' for the fit of largest mean correlation on held-out frames.
    **limits : dict
        Parameters `energy`, `n_directions`, `max_iter` and `tol` of `fit_ctw`.

    Returns
    -------
    HeldOutCTW
        The fit, its ridge, and its correlations on held-out frames.

    Raises
    ------
    ValueError
        Under the conditions of `fit_kind_of_ctw`.
    """
    ridges: list[Ridge] = [0.0, RIDGE_DESCENT[-1], RIDGE_DESCENT]
    if ridge != "auto":
        ridges = [float(ridge)]
    found = []
    for own in ridges:
        fit = fit_kind_of_ctw(samples, kind, original, constraints, ridge=own, **limits)
        last = own[-1] if isinstance(own, Sequence) else own
        n_directions = len(fit.projections.correlations)
        held_out = held_out_correlations(
            samples, fit.warps, ridge=last, n_directions=n_directions
        )
        found.append(HeldOutCTW(fit, last, held_out))
    return max(found, key=lambda fitted: fitted.correlations.mean())


def held_out_correlations(
    samples: Samples,
    warps: Sequence[np.ndarray],
    *,
    ridge: float,
    n_directions: int,
) -> np.ndarray:
    """Compute correlations along warps of frames that projections are not learned from.

    Each warp is cut into five parts of consecutive steps. The scores u and v of one
    part are by the projections, and deviate from the means, of the other four:
    ``r = sum uv / sqrt(sum u^2 sum v^2)`` over all parts, for each direction.

    Parameters
    ----------
    samples : sequence of sequences of ndarray of shape (n_frames, n_features)
        Per sample, one sequence per modality.
    warps : sequence of ndarray of shape (n_steps, n_modalities)
        The warp of each sample.
    ridge : float
        Ridge of the projections.
    n_directions : int
        Number of directions.

    Returns
    -------
    ndarray of shape (n_directions,)
        The correlations, averaged over pairs of modalities; 0 where frames are too few
        to learn this number of directions without a part of them.
    """
    by_fold = []
    for k in range(N_FOLDS):
        edges = [
            np.linspace(0, len(w), N_FOLDS + 1).astype(int)[k : k + 2] for w in warps
        ]
        held_out = [w[a:b] for w, (a, b) in zip(warps, edges, strict=True)]
        learning = [
            np.delete(w, slice(a, b), axis=0)
            for w, (a, b) in zip(warps, edges, strict=True)
        ]
        try:
            learned = correlate(
                samples, learning, ridge=ridge, n_directions=n_directions
            )
        except ValueError:  # a modality varies in fewer directions
            return np.zeros(n_directions)
        by_fold.append(_scores(samples, held_out, learned))
    scores = [np.concatenate(parts) for parts in zip(*by_fold, strict=True)]
    return _mean_cosines(scores)


def later_correlations(
    samples: Samples, warps: Sequence[np.ndarray], learned: Projections
) -> np.ndarray:
    """Compute correlations along warps of samples that projections did not learn from.

    Parameters
    ----------
    samples : sequence of sequences of ndarray of shape (n_frames, n_features)
        Per sample, one sequence per modality.
    warps : sequence of ndarray of shape (n_steps, n_modalities)
        The warp of each sample.
    learned : Projections
        Projections, and the means from which scores deviate.

    Returns
    -------
    ndarray of shape (n_directions,)
        The correlations, averaged over pairs of modalities.
    """
    return _mean_cosines(_scores(samples, warps, learned))


def _mean_cosines(scores: list[np.ndarray]) -> np.ndarray:
    """Average the cosines of columns over pairs of modalities."""
    pairs = [_cosines(u, v) for u, v in combinations(scores, 2)]
    return np.mean(pairs, axis=0)


def _scores(
    samples: Samples, warps: Sequence[np.ndarray], learned: Projections
) -> list[np.ndarray]:
    """Return the projected warped frames of all samples, by modality."""
    return [
        np.concatenate(
            [
                (warped(sample[v], warp[:, v]) - mean) @ weights
                for sample, warp in zip(samples, warps, strict=True)
            ]
        )
        for v, (mean, weights) in enumerate(
            zip(learned.means, learned.weights, strict=True)
        )
    ]


def _cosines(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Return the cosine of each column of two matrices; 0 for columns of zeros."""
    norms = np.linalg.norm(u, axis=0) * np.linalg.norm(v, axis=0)
    return (u * v).sum(axis=0) / np.where(norms > 0, norms, 1.0)
