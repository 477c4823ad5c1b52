"""Support vector machines of one kernel, for classes and for values, solved exactly.

A task holds y and solves the machine of a kernel. Several classes are learned as pairs
of classes, as scikit-learn's SVC does; the dual objectives of all pairs are added.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from scipy import linalg
from sklearn.exceptions import ConvergenceWarning
from sklearn.svm import SVC, SVR

from mmfusion.mkl._sample_counts import moderate_weights

SOLVER_CACHE_MB = 1000
# of libsvm, whose kernel cache has single precision; `polish_duals` is more accurate
SOLVER_TOLERANCE = 1e-5
POLISH_JITTER = 1e-8  # added to the diagonal, relative to the kernel's size
POLISH_STEPS = 5
# no dual variable reaches this cost, because the ridge of EasyMKL bounds them
HARD_MARGIN_COST = 1e10
HARD_MARGIN_TOLERANCE = 1e-4
ROUGH_TOLERANCE = 0.3  # few support vectors are wrong, in a third of the time
SETTLING_ROUNDS = 8
SETTLED_MARGIN = 1e-5  # of the margin of 1, by which a sample must be within it
LARGEST_RIDGE = 1e6  # relative to the kernel's size: the points are the means by then
BOUND_SHARE = 1 - 1e-9  # of the cost; larger dual variables are at their bound
MAX_KERNEL_READS = 2e9  # of the solver of EasyMKL, which take a few seconds


@dataclass(frozen=True)
class DualPair:
    """Dual solution of one machine.

    Parameters
    ----------
    rows : ndarray of int of shape (n_support,)
        Support vectors.
    coef : ndarray of float64 of shape (n_support,)
        Signed dual variables, which add up to 0.
    free : ndarray of bool of shape (n_support,)
        Dual variables that are not at their bound.
    """

    rows: np.ndarray
    coef: np.ndarray
    free: np.ndarray


@dataclass(frozen=True)
class Duals:
    """Dual solution of all machines of a task.

    Parameters
    ----------
    pairs : list of DualPair
        One per pair of classes; one for regression.
    linear : float
        Part of the dual objective that does not depend on kernels: the sum of
        ``1'alpha``, or ``y'beta - epsilon |beta|_1`` for regression.
    """

    pairs: Sequence[DualPair]
    linear: float


@dataclass(frozen=True)
class Machine:
    """Fitted machines of a task.

    Parameters
    ----------
    support : ndarray of int of shape (n_support,)
        Support vectors, class by class.
    coef : ndarray of float64 of shape (n_classes - 1, n_support)
        Signed dual variables, arranged as SVC's ``dual_coef_``; one row for
        regression.
    ends : ndarray of int of shape (n_classes + 1,)
        Positions in `support` where the classes begin and end.
    intercept : ndarray of float64 of shape (n_pairs,)
        Intercepts, as SVC's ``intercept_``.
    duals : Duals
        The same solution, pair by pair.
    """

    support: np.ndarray
    coef: np.ndarray
    ends: np.ndarray
    intercept: np.ndarray
    duals: Duals

    def decide(self, K: np.ndarray) -> np.ndarray:
        """Compute the decision values of samples.

        Parameters
        ----------
        K : ndarray of shape (n_samples, n_support)
            Kernel of the samples with the support vectors.

        Returns
        -------
        ndarray of shape (n_samples, n_outputs)
            One column for regression and two classes. Else one per class: the votes of
            the pairs of classes, with ties broken by their values, as in SVC.
        """
        if len(self.coef) == 1:
            return K @ self.coef.T + self.intercept
        n_classes = len(self.ends) - 1
        spans = [slice(*self.ends[c : c + 2]) for c in range(n_classes)]
        parts = [K[:, span] @ self.coef[:, span].T for span in spans]
        votes = np.zeros((len(K), n_classes))
        sums = np.zeros((len(K), n_classes))
        for k, (i, j) in enumerate(combinations(range(n_classes), 2)):
            values = parts[i][:, j - 1] + parts[j][:, i] + self.intercept[k]
            sums[:, i] += values
            sums[:, j] -= values
            votes[:, i] += values >= 0
            votes[:, j] += values < 0
        # less than a third, so that sums only break ties of votes
        return votes + sums / (3 * (np.abs(sums) + 1))


@dataclass(frozen=True)
class Classification:
    """Classification by support vector machines, one for each pair of classes.

    The dual of a machine is to maximise ``1'alpha - alpha'YKY alpha / 2`` subject to
    ``0 <= alpha_i <= C v_i`` and ``y'alpha = 0``, with the weights v of the samples.

    Parameters
    ----------
    codes : ndarray of int of shape (n_samples,)
        Class of each sample, from 0 to n_classes - 1.
    C : float
        Cost of an error.
    weight : ndarray of float64 of shape (n_samples,)
        Weights of the samples, all positive.
    """

    codes: np.ndarray
    C: float
    weight: np.ndarray

    def subset(self, rows: np.ndarray) -> Classification:
        """Return the task of some of the samples."""
        return Classification(self.codes[rows], self.C, self.weight[rows])

    def solve(self, K: np.ndarray) -> Duals:
        """Solve the duals of the machines of a kernel.

        Parameters
        ----------
        K : ndarray of shape (n_samples, n_samples)
            The kernel.

        Returns
        -------
        Duals
            The dual solutions.
        """
        return self.fit(K).duals

    def fit(self, K: np.ndarray) -> Machine:
        """Fit the machines of a kernel, with their intercepts.

        Parameters
        ----------
        K : ndarray of shape (n_samples, n_samples)
            The kernel.

        Returns
        -------
        Machine
            The fitted machines.
        """
        svc = SVC(
            C=self.C,
            kernel="precomputed",
            tol=SOLVER_TOLERANCE,
            cache_size=SOLVER_CACHE_MB,
            random_state=0,  # None would advance NumPy's global generator
        ).fit(K, self.codes, sample_weight=self.weight)
        coef, intercept = svc.dual_coef_.copy(), svc.intercept_.copy()
        support, costs = svc.support_, self.C * self.weight
        pairs = []
        for k, (one, other, rows, own) in enumerate(_dual_pairs_of(svc)):
            polished, constant = polish_duals(K, rows, own, costs[rows], np.sign(own))
            if constant is not None:
                width = len(coef[one])
                coef[one], coef[other] = polished[:width], polished[width:]
                intercept[k] = constant
            pairs.append(_used_duals(rows, polished, costs))
        total = sum(float(np.abs(pair.coef).sum()) for pair in pairs)
        ends = _class_ends(svc)
        return Machine(support, coef, ends, intercept, Duals(pairs, total))

    def nearest_points(self, K: np.ndarray, regularization: float) -> Duals:
        """Solve the quadratic programme of EasyMKL: points of the classes' hulls.

        Over pairs of distributions g, one on each class, it minimises
        ``(1 - L) g'YKYg + L |g|^2`` (Aiolli and Donini 2015). Up to the
        length of its solution it is the dual of a machine without errors whose kernel
        has ``L / (1 - L)`` more on its diagonal.

        Parameters
        ----------
        K : ndarray of shape (n_samples, n_samples)
            The kernel; its diagonal is overwritten.
        regularization : float
            The factor L, between 0 and 1.

        Returns
        -------
        Duals
            The points g of every pair of classes, with the signs of Y; `linear` is
            the sum of their penalties.

        Warns
        -----
        ConvergenceWarning
            If the solver takes too many steps, as it does for small L.
        """
        ridge = regularization / (1 - regularization) / moderate_weights(self.weight)
        ridge *= min(1.0, LARGEST_RIDGE / ridge.min())
        np.fill_diagonal(K, K.diagonal() + ridge)
        is_pair = len(np.unique(self.codes)) == 2
        svc = self._fit_hard_margin(
            K, ROUGH_TOLERANCE if is_pair else HARD_MARGIN_TOLERANCE
        )
        found = [(rows, coef) for _, _, rows, coef in _dual_pairs_of(svc)]
        if is_pair and not svc.fit_status_:
            settled = _settle_points(K, self.codes, *found[0])
            if settled is None:
                svc = self._fit_hard_margin(K, HARD_MARGIN_TOLERANCE)
                settled = svc.support_, svc.dual_coef_[0]
            found = [settled]
        if svc.fit_status_:
            warnings.warn(
                f"the points of 'easymkl' are not exact after {svc.max_iter} steps; "
                f"set a larger regularization than {regularization:.3g}",
                ConvergenceWarning,
                stacklevel=2,
            )
        points = []
        for rows, coef in found:
            # scaled to a distribution on each of both classes
            g = 2 * coef / np.abs(coef).sum()
            points.append(_used_duals(rows, g, np.ones(len(K))))
        penalties = [(ridge[pair.rows] * pair.coef**2).sum() for pair in points]
        return Duals(points, float(sum(penalties)))

    def _fit_hard_margin(self, K: np.ndarray, tol: float) -> SVC:
        svc = SVC(
            C=HARD_MARGIN_COST,
            kernel="precomputed",
            tol=tol,
            cache_size=SOLVER_CACHE_MB,
            max_iter=int(MAX_KERNEL_READS / len(K)),
            random_state=0,
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            return svc.fit(K, self.codes)

    def target(self) -> np.ndarray:
        """Return the classes as centred columns of 0 and 1."""
        columns = (self.codes[:, None] == np.unique(self.codes)).astype(float)
        return columns - np.average(columns, axis=0, weights=self.weight)


@dataclass(frozen=True)
class Regression:
    """Regression by a support vector machine.

    Its dual is to maximise ``y'beta - epsilon |beta|_1 - beta'K beta / 2`` subject to
    ``|beta_i| <= C v_i`` and ``1'beta = 0``, with the weights v of the samples.

    Parameters
    ----------
    y : ndarray of float64 of shape (n_samples,)
        Target values.
    C : float
        Cost of an error.
    weight : ndarray of float64 of shape (n_samples,)
        Weights of the samples, all positive.
    epsilon : float
        Errors up to it have no cost.
    """

    y: np.ndarray
    C: float
    weight: np.ndarray
    epsilon: float

    def subset(self, rows: np.ndarray) -> Regression:
        """Return the task of some of the samples."""
        return Regression(self.y[rows], self.C, self.weight[rows], self.epsilon)

    def solve(self, K: np.ndarray) -> Duals:
        """Solve the dual of the machine of a kernel.

        Parameters
        ----------
        K : ndarray of shape (n_samples, n_samples)
            The kernel.

        Returns
        -------
        Duals
            The dual solution.
        """
        return self.fit(K).duals

    def fit(self, K: np.ndarray) -> Machine:
        """Fit the machine of a kernel, with its intercept.

        Parameters
        ----------
        K : ndarray of shape (n_samples, n_samples)
            The kernel.

        Returns
        -------
        Machine
            The fitted machine.
        """
        svr = SVR(
            C=self.C,
            epsilon=self.epsilon,
            kernel="precomputed",
            tol=SOLVER_TOLERANCE,
            cache_size=SOLVER_CACHE_MB,
        )
        svr.random_state = 0  # SVR has no such parameter, but fit reads the attribute
        svr.fit(K, self.y, sample_weight=self.weight)
        rows, coef, costs = svr.support_, svr.dual_coef_, self.C * self.weight
        margins = self.y[rows] - self.epsilon * np.sign(coef[0])
        own, constant = polish_duals(K, rows, coef[0], costs[rows], margins)
        intercept = svr.intercept_ if constant is None else np.array([constant])
        linear = self.y[rows] @ own - self.epsilon * np.abs(own).sum()
        duals = Duals([_used_duals(rows, own, costs)], float(linear))
        ends = np.array([0, len(rows)])
        return Machine(rows, own[None], ends, intercept, duals)

    def target(self) -> np.ndarray:
        """Return the values as one centred column."""
        return (self.y - np.average(self.y, weights=self.weight))[:, None]


Task = Classification | Regression


def polish_duals(
    K: np.ndarray,
    rows: np.ndarray,
    coef: np.ndarray,
    costs: np.ndarray,
    margins: np.ndarray,
) -> tuple[np.ndarray, float | None]:
    """Solve the optimality conditions of the free dual variables exactly.

    Free support vectors f lie on their margin: ``K_f coef + b = margins_f``, while the
    dual variables at their bounds stay as they are and all add up to 0.

    Parameters
    ----------
    K : ndarray of shape (n_samples, n_samples)
        The kernel.
    rows : ndarray of int of shape (n_support,)
        Support vectors.
    coef : ndarray of float64 of shape (n_support,)
        Signed dual variables of the solver.
    costs : ndarray of float64 of shape (n_support,)
        Bounds of their absolute values.
    margins : ndarray of float64 of shape (n_support,)
        Decision values of free support vectors.

    Returns
    -------
    coef : ndarray of float64 of shape (n_support,)
        Exact dual variables; those of the solver if the exact ones leave their bounds.
    intercept : float or None
        The intercept b; None if nothing changed.
    """
    is_free = (coef != 0) & (np.abs(coef) < BOUND_SHARE * costs)
    free, used = rows[is_free], coef != 0
    if not len(free):
        return coef, None
    own = K[np.ix_(free, free)].astype(np.float64)
    fixed = K[np.ix_(free, rows[used])] @ coef[used]
    shifted = own.copy()
    shifted.flat[:: len(free) + 1] += POLISH_JITTER * own.diagonal().mean()
    try:
        factor = linalg.cho_factor(shifted, lower=True, check_finite=False)
    except linalg.LinAlgError:  # the kernel is indefinite
        return coef, None
    ones = linalg.cho_solve(factor, np.ones(len(free)), check_finite=False)
    change, constant = np.zeros(len(free)), 0.0
    for _ in range(POLISH_STEPS):  # iterative refinement removes the jitter
        residual = margins[is_free] - fixed - own @ change - constant
        step = linalg.cho_solve(factor, residual, check_finite=False)
        # the multiplier of the constraint that dual variables add up to 0
        shift = (step.sum() + change.sum() + coef.sum()) / ones.sum()
        change += step - shift * ones
        constant += shift
    better = coef.copy()
    better[is_free] += change
    inside = (np.sign(better) == np.sign(coef)) & (np.abs(better) <= costs)
    return (better, float(constant)) if inside.all() else (coef, None)


def _settle_points(
    K: np.ndarray, codes: np.ndarray, rows: np.ndarray, coef: np.ndarray
) -> tuple[np.ndarray, np.ndarray] | None:
    """Find the support vectors of a machine without errors, from rough ones.

    In each round the dual variables of the support vectors are solved for; those that
    are negative leave, and samples within the margin enter: the semismooth Newton step
    of the optimality conditions (Hintermueller, Ito and Kunisch 2003).

    Parameters
    ----------
    K : ndarray of shape (n_samples, n_samples)
        The kernel, positive definite.
    codes : ndarray of int of shape (n_samples,)
        The two classes.
    rows : ndarray of int of shape (n_support,)
        Support vectors of a rough solution.
    coef : ndarray of float64 of shape (n_support,)
        Their signed dual variables.

    Returns
    -------
    tuple of ndarray, or None
        Support vectors and their signed dual variables; None if these do not settle.
    """
    signs = np.where(codes == codes[rows[0]], 1.0, -1.0) * np.sign(coef[0])
    active = np.zeros(len(K), dtype=bool)
    active[rows] = True
    for _ in range(SETTLING_ROUNDS):
        support = np.flatnonzero(active)
        own = K[np.ix_(support, support)].astype(np.float64)
        sides = np.column_stack([signs[support], np.ones(len(support))])
        try:
            factor = linalg.cho_factor(own, True, True, check_finite=False)
        except linalg.LinAlgError:  # the kernel is indefinite
            return None
        solved = linalg.cho_solve(factor, sides, check_finite=False)
        # the intercept, for which dual variables add up to 0
        constant = solved[:, 0].sum() / solved[:, 1].sum()
        found = solved[:, 0] - constant * solved[:, 1]
        values = np.zeros(len(K))
        values[support] = found
        outputs = K @ values.astype(K.dtype) + constant
        inside = signs * outputs < 1 - SETTLED_MARGIN
        inside[support] = signs[support] * found > 0
        if (inside == active).all():
            return support, found
        active = inside
    return None


def _class_ends(svc: SVC) -> np.ndarray:
    """Return the positions where the support vectors of each class begin and end."""
    return np.concatenate([[0], np.cumsum(svc.n_support_)]).astype(int)


# position in ``dual_coef_``: its row, and the support vectors of one class
DualPosition = tuple[int, slice]


def _dual_pairs_of(
    svc: SVC,
) -> Iterator[tuple[DualPosition, DualPosition, np.ndarray, np.ndarray]]:
    """For each pair of classes, yield both positions, support vectors and values."""
    ends, coef, support = _class_ends(svc), svc.dual_coef_, svc.support_
    spans = [slice(*ends[c : c + 2]) for c in range(len(ends) - 1)]
    for i, j in combinations(range(len(spans)), 2):
        one, other = (j - 1, spans[i]), (i, spans[j])
        rows = np.concatenate([support[spans[i]], support[spans[j]]])
        yield one, other, rows, np.concatenate([coef[one], coef[other]])


def _used_duals(rows: np.ndarray, coef: np.ndarray, costs: np.ndarray) -> DualPair:
    """Leave out rows that are support vectors of other pairs only."""
    used = coef != 0
    rows, coef = rows[used], coef[used]
    return DualPair(rows, coef, np.abs(coef) < BOUND_SHARE * costs[rows])
