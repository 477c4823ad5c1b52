"""Warps that are weighted means of monotone bases, in a time linear in the length."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from scipy.optimize import nnls

from mmfusion.alignment.ctw._projections import Projections, project
from mmfusion.alignment.ctw._warps import UNIFORM, monotone_bases, warp_error, warped

CLOSED = 1e3  # weight, beside the data, of the demand that basis weights sum to 1
HALVINGS = 8  # of a Gauss-Newton step that does not improve
FLAT = 1e-12  # of the largest curvature: under it, a direction has none


class BasisWarp(NamedTuple):
    """The warp of one sample.

    Parameters
    ----------
    bases : list of ndarray of shape (n_steps, n_bases)
        Monotone bases of each modality.
    weights : list of ndarray of shape (n_bases,)
        Their weights, at least 0, with sum 1.
    """

    bases: list[np.ndarray]
    weights: list[np.ndarray]

    @property
    def columns(self) -> np.ndarray:
        """The warp, of shape (n_steps, n_modalities), in fractions of frames."""
        return np.column_stack([q @ a for q, a in zip(*self, strict=True)])


def uniform_basis_warp(lengths: Sequence[int]) -> BasisWarp:
    """Spread the frames of each modality evenly, by the basis that does so.

    Parameters
    ----------
    lengths : sequence of int
        Frames of each modality. The common time is as long as the longest.

    Returns
    -------
    BasisWarp
        The warp.
    """
    n_steps = max(2, *lengths)
    bases = [monotone_bases(n_steps, length) for length in lengths]
    return BasisWarp(bases, [np.eye(q.shape[1])[UNIFORM] for q in bases])


def improve(
    sample: Sequence[np.ndarray],
    fitted: Projections,
    warp: BasisWarp,
    *,
    n_steps: int = 2,
) -> BasisWarp:
    """Move basis weights towards a better alignment by Gauss-Newton.

    Minimises ``sum_{i<j} ||Y_i(p_i) - Y_j(p_j)||^2`` over the weights of ``p_i = Q_i
    a_i``, where Y_i(p_i) are projected frames, interpolated. Each step solves the
    quadratic programme under ``a >= 0, sum a = 1`` and is halved until it improves.

    Parameters
    ----------
    sample : sequence of ndarray of shape (n_frames, n_features)
        One sequence per modality.
    fitted : Projections
        What makes their frames comparable.
    warp : BasisWarp
        Where to begin.
    n_steps : int, default=2
        Number of Gauss-Newton steps; fewer where one does not improve.

    Returns
    -------
    BasisWarp
        The warp, never worse than the one given.

    References
    ----------
    F. Zhou & F. De la Torre (2016). Generalized canonical time warping. IEEE TPAMI
    38(2), 279-294, section 4.
    """
    projected = project(sample, fitted)
    slopes = [
        np.gradient(z, axis=0) if len(z) > 1 else np.zeros_like(z) for z in projected
    ]
    values, spread = _spread(projected, warp)
    for _ in range(n_steps):
        target = _programme(slopes, values, warp)
        for halving in range(HALVINGS):
            weights = [
                a + (b - a) / 2**halving
                for a, b in zip(warp.weights, target, strict=True)
            ]
            tried = warp._replace(weights=weights)
            new_values, new_spread = _spread(projected, tried)
            if new_spread < spread:
                break
        else:
            return warp
        warp, values, spread = tried, new_values, new_spread
    return warp


def align_by_bases(
    sample: Sequence[np.ndarray],
    fitted: Projections,
    *,
    max_iter: int = 50,
    tol: float = 0.01,
) -> BasisWarp:
    """Align a sample by projections that are given.

    Parameters
    ----------
    sample : sequence of ndarray of shape (n_frames, n_features)
        One sequence per modality.
    fitted : Projections
        What makes their frames comparable.
    max_iter : int, default=50
        Most Gauss-Newton steps.
    tol : float, default=0.01
        They end when the warp moves by this many frames or fewer.

    Returns
    -------
    BasisWarp
        The warp.
    """
    warp = uniform_basis_warp([len(x) for x in sample])
    for _ in range(max_iter):
        before, warp = warp, improve(sample, fitted, warp, n_steps=1)
        if warp_error(warp.columns, before.columns) <= tol:
            break
    return warp


def _spread(
    projected: list[np.ndarray], warp: BasisWarp
) -> tuple[list[np.ndarray], float]:
    """Warped frames, and their squared differences summed over pairs of modalities."""
    columns = warp.columns
    values = [warped(z, columns[:, v]) for v, z in enumerate(projected)]
    mean = sum(values) / len(values)
    return values, len(values) * float(sum(((z - mean) ** 2).sum() for z in values))


def _programme(
    slopes: list[np.ndarray], values: list[np.ndarray], warp: BasisWarp
) -> list[np.ndarray]:
    """Weights that minimise the spread with the frames made linear in them."""
    m, columns = len(values), warp.columns
    jacobians = [
        (warped(s, columns[:, v])[:, :, None] * q[:, None, :]).reshape(-1, q.shape[1])
        for v, (s, q) in enumerate(zip(slopes, warp.bases, strict=True))
    ]
    ends = np.cumsum([0, *(q.shape[1] for q in warp.bases)])
    parts = [slice(*pair) for pair in pairwise(ends)]
    side_by_side = np.hstack(jacobians)
    curvature = -side_by_side.T @ side_by_side
    total = sum(values)
    slope = np.empty(ends[-1])
    for part, jacobian, value in zip(parts, jacobians, values, strict=True):
        curvature[part, part] += m * jacobian.T @ jacobian
        slope[part] = jacobian.T @ (m * value - total).ravel()
    aim = curvature @ np.concatenate(warp.weights) - slope

    # half x'Hx - x'aim as a sum of squares, which nnls takes; each part sums to 1
    eigenvalues, vectors = np.linalg.eigh(curvature)
    if eigenvalues[-1] <= 0:
        return warp.weights
    curved = eigenvalues > FLAT * eigenvalues[-1]
    roots, vectors = np.sqrt(eigenvalues[curved]), vectors[:, curved]
    closed = np.zeros((m, len(aim)))
    for v, part in enumerate(parts):
        closed[v, part] = CLOSED * roots[-1]
    rows = np.vstack([roots[:, None] * vectors.T, closed])
    right = np.concatenate([vectors.T @ aim / roots, closed.max(axis=1)])
    solution = nnls(rows, right)[0]
    return [solution[part] / solution[part].sum() for part in parts]
