"""Warps as weighted means of monotone bases, fitted in time linear in the length."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from scipy.optimize import nnls

from mmfusion.alignment.ctw._projections import Projections, project, warped
from mmfusion.alignment.ctw._warping import warp_error

POWERS = np.logspace(-0.4, 0.4, 3)  # exponents of the bases t**p
UNIFORM_BASIS = 1  # number of the basis t
SIGMOID_SHIFTS = (-1.0, 0.0, 1.0)  # of the bases tanh(0.6 (x - shift)) on [-3, 3]
SIGMOID_SLOPE = 0.6
SIGMOID_REACH = 3.0
SUM_CONSTRAINT_WEIGHT = 1e3  # of the sum of basis weights, relative to the data
MAX_STEP_HALVINGS = 8  # of a Gauss-Newton step that does not improve
FLAT_CURVATURE = 1e-12  # relative to the largest: below, a direction is flat


class BasisWarp(NamedTuple):
    """The warp of one sample, ``p_i = Q_i a_i`` for modality i.

    Parameters
    ----------
    bases : list of ndarray of shape (n_steps, n_bases)
        Monotone bases Q of each modality.
    weights : list of ndarray of shape (n_bases,)
        Their weights a, at least 0 and with sum 1.
    """

    bases: list[np.ndarray]
    weights: list[np.ndarray]

    @property
    def columns(self) -> np.ndarray:
        """The warp, of shape (n_steps, n_modalities), in fractions of frames."""
        return np.column_stack([q @ a for q, a in zip(*self, strict=True)])


def monotone_bases(n_steps: int, length: int) -> np.ndarray:
    """Return functions of the common time that rise from the first frame to the last.

    Parameters
    ----------
    n_steps : int
        Length of the common time, at least 2.
    length : int
        Number of frames of the modality.

    Returns
    -------
    ndarray of float64 of shape (n_steps, 6)
        Three powers, the middle one uniform time, and three sigmoids. Weighted means of
        the columns are monotone warps from the first frame to the last.

    References
    ----------
    F. Zhou & F. De la Torre (2012). Generalized time warping for multi-modal alignment
    of human motion. CVPR.
    """
    time = np.linspace(0, 1, n_steps)[:, None]
    powers = time**POWERS
    positions = SIGMOID_REACH * (2 * time - 1) - np.array(SIGMOID_SHIFTS)
    sigmoids = np.tanh(SIGMOID_SLOPE * positions)
    sigmoids = (sigmoids - sigmoids[0]) / (sigmoids[-1] - sigmoids[0])
    return (length - 1) * np.hstack([powers, sigmoids])


def uniform_basis_warp(lengths: Sequence[int]) -> BasisWarp:
    """Return the basis warp that spreads the frames of each modality evenly.

    Parameters
    ----------
    lengths : sequence of int
        Number of frames of each modality. The common time is as long as the longest.

    Returns
    -------
    BasisWarp
        The warp.
    """
    n_steps = max(2, *lengths)
    bases = [monotone_bases(n_steps, length) for length in lengths]
    return BasisWarp(bases, [np.eye(q.shape[1])[UNIFORM_BASIS] for q in bases])


def improve_weights(
    projected: Sequence[np.ndarray], warp: BasisWarp, *, n_steps: int = 2
) -> BasisWarp:
    """Improve the weights of bases by Gauss-Newton steps.

    Minimise ``sum_{i<j} ||Y_i(p_i) - Y_j(p_j)||^2`` over the weights of ``p_i = Q_i
    a_i``, where Y_i(p_i) are projected frames, interpolated. Each step solves the
    quadratic programme under ``a >= 0, sum a = 1``, and is halved until it improves.

    Parameters
    ----------
    projected : sequence of ndarray of shape (n_frames, n_directions)
        One projected sequence per modality.
    warp : BasisWarp
        The initial warp.
    n_steps : int, default=2
        Number of Gauss-Newton steps; fewer if one does not improve.

    Returns
    -------
    BasisWarp
        The warp, never worse than the initial one.

    References
    ----------
    F. Zhou & F. De la Torre (2016). Generalized canonical time warping. IEEE TPAMI
    38(2), 279-294, section 4.
    """
    slopes = [
        np.gradient(z, axis=0) if len(z) > 1 else np.zeros_like(z) for z in projected
    ]
    values, objective = _warped_objective(projected, warp)
    for _ in range(n_steps):
        target = _minimize_linearized(slopes, values, warp)
        for halving in range(MAX_STEP_HALVINGS):
            weights = [
                a + (b - a) / 2**halving
                for a, b in zip(warp.weights, target, strict=True)
            ]
            candidate = warp._replace(weights=weights)
            new_values, new_objective = _warped_objective(projected, candidate)
            if new_objective < objective:
                break
        else:
            return warp
        warp, values, objective = candidate, new_values, new_objective
    return warp


@dataclass
class BasisStep:
    """The temporal step by monotone bases, as `PathStep` is the one by paths.

    Parameters
    ----------
    basis_warps : list of BasisWarp
        The current warp of each sample, whose weights the matrix of a warp does not
        hold.
    """

    basis_warps: list[BasisWarp] = field(default_factory=list)

    @property
    def columns(self) -> list[np.ndarray]:
        """The current warp of each sample, in fractions of frames."""
        return [warp.columns for warp in self.basis_warps]

    def start(self, lengths: Sequence[Sequence[int]]) -> list[np.ndarray]:
        """Return uniform warps.

        Parameters
        ----------
        lengths : sequence of sequences of int
            Per sample, the number of frames of each modality.

        Returns
        -------
        list of ndarray of shape (n_steps, n_modalities)
            The warp of each sample, in fractions of frames.
        """
        self.basis_warps = [uniform_basis_warp(own) for own in lengths]
        return self.columns

    def improve(
        self, projected: Sequence[Sequence[np.ndarray]], warps: Sequence[np.ndarray]
    ) -> list[np.ndarray]:
        """Improve the warp of each sample by `improve_weights`.

        Parameters
        ----------
        projected : sequence of sequences of ndarray of shape (n_frames, n_directions)
            Per sample, one projected sequence per modality.
        warps : sequence of ndarray of shape (n_steps, n_modalities)
            Not used; the current warps are those of the last call.

        Returns
        -------
        list of ndarray of shape (n_steps, n_modalities)
            The new warps.
        """
        self.basis_warps = [
            improve_weights(sample, warp)
            for sample, warp in zip(projected, self.basis_warps, strict=True)
        ]
        return self.columns


def align_by_bases(
    sample: Sequence[np.ndarray],
    projections: Projections,
    *,
    max_iter: int = 50,
    tol: float = 0.01,
) -> BasisWarp:
    """Align a sample under given projections.

    Parameters
    ----------
    sample : sequence of ndarray of shape (n_frames, n_features)
        One sequence per modality.
    projections : Projections
        The projections of their frames to a common space.
    max_iter : int, default=50
        Maximum number of Gauss-Newton steps.
    tol : float, default=0.01
        Tolerance, in frames: iterations stop when the warp moves by no more (see
        `warp_error`).

    Returns
    -------
    BasisWarp
        The warp.
    """
    projected = project(sample, projections)
    warp = uniform_basis_warp([len(x) for x in sample])
    for _ in range(max_iter):
        before, warp = warp, improve_weights(projected, warp, n_steps=1)
        if warp_error(warp.columns, before.columns) <= tol:
            break
    return warp


def _warped_objective(
    projected: Sequence[np.ndarray], warp: BasisWarp
) -> tuple[list[np.ndarray], float]:
    """Return warped frames, and the sum of squared differences over pairs.

    The sum over pairs of m modalities is m times that of the distances from the mean.
    """
    columns = warp.columns
    values = [warped(z, columns[:, v]) for v, z in enumerate(projected)]
    mean = sum(values) / len(values)
    return values, len(values) * float(sum(((z - mean) ** 2).sum() for z in values))


def _minimize_linearized(
    slopes: list[np.ndarray], values: list[np.ndarray], warp: BasisWarp
) -> list[np.ndarray]:
    """Return the weights that minimise the objective with linearised frames."""
    m, columns = len(values), warp.columns
    jacobians = [
        (warped(s, columns[:, v])[:, :, None] * q[:, None, :]).reshape(-1, q.shape[1])
        for v, (s, q) in enumerate(zip(slopes, warp.bases, strict=True))
    ]
    ends = np.cumsum([0, *(q.shape[1] for q in warp.bases)])
    spans = [slice(*pair) for pair in pairwise(ends)]
    side_by_side = np.hstack(jacobians)
    curvature = -side_by_side.T @ side_by_side
    total = sum(values)
    slope = np.empty(ends[-1])
    for span, jacobian, value in zip(spans, jacobians, values, strict=True):
        curvature[span, span] += m * jacobian.T @ jacobian
        slope[span] = jacobian.T @ (m * value - total).ravel()
    linear = curvature @ np.concatenate(warp.weights) - slope

    # x'Hx / 2 - x'b = |L'x - L^-1 b|^2 / 2 + const for H = L L', with a heavy row per
    # modality for the constraint that its weights sum to 1: non-negative least squares
    eigenvalues, vectors = np.linalg.eigh(curvature)
    if eigenvalues[-1] <= 0:
        return warp.weights
    curved = eigenvalues > FLAT_CURVATURE * eigenvalues[-1]
    roots, vectors = np.sqrt(eigenvalues[curved]), vectors[:, curved]
    sums = np.zeros((m, len(linear)))
    for v, span in enumerate(spans):
        sums[v, span] = SUM_CONSTRAINT_WEIGHT * roots[-1]
    rows = np.vstack([roots[:, None] * vectors.T, sums])
    right = np.concatenate([vectors.T @ linear / roots, sums.max(axis=1)])
    solution = nnls(rows, right)[0]
    return [solution[span] / solution[span].sum() for span in spans]
