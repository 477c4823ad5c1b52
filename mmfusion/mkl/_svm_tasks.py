"""Support vector machines of one kernel, for classes and for values, solved exactly.

A task holds y and solves the machine of a kernel. Several classes are learned as pairs
of classes, as scikit-learn's SVC does; the dual objectives of all pairs are added.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from scipy import linalg
from sklearn import config_context
from sklearn.exceptions import ConvergenceWarning
from sklearn.svm import SVC, SVR

from mmfusion._warnings import warn_user
from mmfusion.mkl._active_sets import settle_duals
from mmfusion.mkl._sample_counts import moderate_weights

SOLVER_CACHE_MB = 1000
# of libsvm, in a third of the time of its own: `settle_duals` makes its duals exact
ROUGH_TOLERANCE = 0.1
ROUGH_TOLERANCE_OF_PAIRS = 1e-3  # small machines, for which rounds cost more
ROUGH_HARD_MARGIN_TOLERANCE = 0.5
# where these do not settle. Its kernel cache has single precision, which `polish_duals`
# makes up for
SOLVER_TOLERANCE = 1e-5
POLISH_JITTER = 1e-8  # added to the diagonal, relative to the kernel's size
POLISH_STEPS = 5
# no dual variable reaches this cost, because the ridge of EasyMKL bounds them
HARD_MARGIN_COST = 1e10
HARD_MARGIN_TOLERANCE = 1e-4
LARGEST_RIDGE = 1e6  # relative to the kernel's size: the points are the means by then
MANY_SUPPORT_VECTORS = 0.2  # share of the samples
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


# samples, their signed dual variables, and the intercept
SolvedPair = tuple[np.ndarray, np.ndarray, float]


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

    def products(self, K: np.ndarray) -> np.ndarray:
        """Compute the products of a kernel with the dual variables of each pair.

        Parameters
        ----------
        K : ndarray of shape (n_samples, n_samples)
            A symmetric kernel of the training samples.

        Returns
        -------
        ndarray of float64 of shape (n_classes - 1, n_support)
            ``K coef`` at the support vectors, arranged as `coef`.
        """
        # the rows of a symmetric matrix are its columns
        K = K.T if K.flags.f_contiguous else K
        if len(self.coef) == 1 and MANY_SUPPORT_VECTORS * len(K) < len(self.support):
            # whole rows are read faster than their values are gathered
            values = np.zeros(len(K), K.dtype)
            values[self.support] = self.coef[0]
            return (K @ values)[None, self.support].astype(np.float64)
        spans = [slice(*self.ends[c : c + 2]) for c in range(len(self.ends) - 1)]
        found = np.zeros(self.coef.shape)
        for i, span in enumerate(spans):
            rows = K.take(self.support[span], axis=0)
            part = (self.coef[:, span].astype(K.dtype) @ rows)[:, self.support]
            found[:, span] += part[:, span]
            for j, other in enumerate(spans):
                if i != j:
                    found[_row_of(j, i), other] += part[_row_of(i, j), other]
        return found

    def free_products(self, products: np.ndarray) -> Iterator[np.ndarray]:
        """Yield the products of the free support vectors of each pair.

        Parameters
        ----------
        products : ndarray of shape (n_kernels, n_classes - 1, n_support)
            Result of `products` for some kernels.

        Yields
        ------
        ndarray of shape (n_kernels, n_free)
            The products.
        """
        positions = np.empty(self.support.max(initial=0) + 1, dtype=int)
        positions[self.support] = np.arange(len(self.support))
        classes = combinations(range(len(self.ends) - 1), 2)
        for pair in self.duals.pairs:
            chosen = positions[pair.rows[pair.free]]
            if len(self.coef) == 1:
                yield products[:, 0, chosen]
                continue
            i, j = next(classes)
            is_first = chosen < self.ends[i + 1]
            rows = np.where(is_first, _row_of(i, j), _row_of(j, i))
            yield products[:, rows, chosen]

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


def _row_of(own: int, other: int) -> int:
    """Return the row of `coef` with the duals of a class in a pair with another."""
    return other - 1 if other > own else other


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

    def fit(self, K: np.ndarray, start: Duals | None = None) -> Machine:
        """Fit the machines of a kernel, with their intercepts.

        Parameters
        ----------
        K : ndarray of shape (n_samples, n_samples)
            The kernel.
        start : Duals, default=None
            The solution of a kernel near it.

        Returns
        -------
        Machine
            The fitted machines.
        """
        costs = self.C * self.weight
        settled = None
        if start is not None:
            rough = [(pair.rows, pair.coef) for pair in start.pairs]
            settled = self._settle(K, rough, costs)
        if settled is None:
            is_pair = len(np.unique(self.codes)) == 2
            tolerance = ROUGH_TOLERANCE if is_pair else ROUGH_TOLERANCE_OF_PAIRS
            svc = self._fit_solver(K, self.C, tolerance, self.weight)
            settled = self._settle(K, _dual_pairs_of(svc), costs)
        if settled is None:
            settled = self._polish(K, costs)
        return self._machine_of(settled, costs)

    def _settle(
        self,
        K: np.ndarray,
        rough: Sequence[tuple[np.ndarray, np.ndarray]],
        costs: np.ndarray,
    ) -> list[SolvedPair] | None:
        """Make rough dual variables of all pairs of classes exact, if they settle."""
        members = self._members()
        if len(members) == 2:
            # the second of two classes has positive duals, but the first of each of
            # several pairs, as in SVC
            is_second = self.codes == self.codes[members[1][0]]
            found = _settle_pair(K, np.arange(len(K)), is_second, costs, rough[0])
            return None if found is None else [found]
        # sorted by class, the kernel of a pair of classes has four blocks
        order = np.concatenate(members)
        K = K.take(order, axis=0).take(order, axis=1)
        ends = np.cumsum([0, *map(len, members)])
        solved = []
        for (i, j), duals in zip(self._pairs(), rough, strict=True):
            n_first = len(members[i])
            spans = slice(*ends[i : i + 2]), slice(*ends[j : j + 2])
            width = n_first + len(members[j])
            part = np.empty((width, width), K.dtype)
            for rows, own in zip((part[:n_first], part[n_first:]), spans, strict=True):
                rows[:, :n_first] = K[own, spans[0]]
                rows[:, n_first:] = K[own, spans[1]]
            chosen = np.concatenate([members[i], members[j]])
            is_first = np.arange(width) < n_first
            found = _settle_pair(part, chosen, is_first, costs, duals)
            if found is None:
                return None
            solved.append(found)
        return solved

    def _polish(self, K: np.ndarray, costs: np.ndarray) -> list[SolvedPair]:
        """Solve the duals by libsvm alone, and make them more accurate where it can."""
        svc = self._fit_solver(K, self.C, SOLVER_TOLERANCE, self.weight)
        solved = []
        for k, (rows, own) in enumerate(_dual_pairs_of(svc)):
            coef, constant = polish_duals(K, rows, own, costs[rows], np.sign(own))
            constant = float(svc.intercept_[k]) if constant is None else constant
            solved.append((rows, coef, constant))
        return solved

    def _machine_of(self, solved: Sequence[SolvedPair], costs: np.ndarray) -> Machine:
        """Arrange the solutions of all pairs as SVC does."""
        members = self._members()
        coef = np.zeros((len(members) - 1, len(self.codes)))
        pairs = []
        for (i, j), (rows, values, _) in zip(self._pairs(), solved, strict=True):
            is_first = self.codes[rows] == self.codes[members[i][0]]
            coef[j - 1, rows[is_first]] = values[is_first]
            coef[i, rows[~is_first]] = values[~is_first]
            pairs.append(_used_duals(rows, values, costs))
        used = [rows[coef[:, rows].any(axis=0)] for rows in members]
        support = np.concatenate(used)
        ends = np.cumsum([0, *map(len, used)])
        intercept = np.array([constant for *_, constant in solved])
        total = sum(float(np.abs(pair.coef).sum()) for pair in pairs)
        return Machine(support, coef[:, support], ends, intercept, Duals(pairs, total))

    def _members(self) -> list[np.ndarray]:
        """Return the samples of each class."""
        return [np.flatnonzero(self.codes == code) for code in np.unique(self.codes)]

    def _pairs(self) -> Iterator[tuple[int, int]]:
        return combinations(range(len(np.unique(self.codes))), 2)

    def nearest_points(self, K: np.ndarray, regularization: float) -> Machine:
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
        Machine
            The points g of every pair of classes, with the signs of Y, without
            intercepts; `linear` of its duals is the sum of their penalties.

        Warns
        -----
        ConvergenceWarning
            If the solver takes too many steps, as it does for small L.
        """
        ridge = regularization / (1 - regularization) / moderate_weights(self.weight)
        ridge *= min(1.0, LARGEST_RIDGE / ridge.min())
        np.fill_diagonal(K, K.diagonal() + ridge)
        is_pair = len(np.unique(self.codes)) == 2
        tolerance = ROUGH_HARD_MARGIN_TOLERANCE if is_pair else HARD_MARGIN_TOLERANCE
        svc = self._fit_hard_margin(K, tolerance)
        found = _dual_pairs_of(svc)
        if not svc.fit_status_:
            settled = self._settle(K, found, np.full(len(K), np.inf))
            if settled is not None:
                found = [(rows, coef) for rows, coef, _ in settled]
            elif is_pair:
                svc = self._fit_hard_margin(K, HARD_MARGIN_TOLERANCE)
                found = _dual_pairs_of(svc)
        if svc.fit_status_:
            warn_user(
                f"the points of 'easymkl' are not exact after {svc.max_iter} steps; "
                f"set a larger regularization than {regularization:.3g}",
                ConvergenceWarning,
            )
        # scaled to a distribution on each of both classes
        points = [(rows, 2 * coef / np.abs(coef).sum(), 0.0) for rows, coef in found]
        machine = self._machine_of(points, np.full(len(K), np.inf))
        penalties = sum(
            float((ridge[pair.rows] * pair.coef**2).sum())
            for pair in machine.duals.pairs
        )
        return replace(machine, duals=replace(machine.duals, linear=penalties))

    def _fit_hard_margin(self, K: np.ndarray, tol: float) -> SVC:
        most_steps = int(MAX_KERNEL_READS / len(K))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            return self._fit_solver(K, HARD_MARGIN_COST, tol, max_iter=most_steps)

    def _fit_solver(
        self,
        K: np.ndarray,
        C: float,
        tol: float,
        sample_weight: np.ndarray | None = None,
        max_iter: int = -1,
    ) -> SVC:
        svc = SVC(
            C=C,
            kernel="precomputed",
            tol=tol,
            cache_size=SOLVER_CACHE_MB,
            max_iter=max_iter,
            random_state=0,  # None would advance NumPy's global generator
        )
        # kernels are finite, and checking the sum would read it once more
        with config_context(assume_finite=True):
            return svc.fit(K, self.codes, sample_weight=sample_weight)

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

    def fit(self, K: np.ndarray, start: Duals | None = None) -> Machine:
        """Fit the machine of a kernel, with its intercept.

        Parameters
        ----------
        K : ndarray of shape (n_samples, n_samples)
            The kernel.
        start : Duals, default=None
            The solution of a kernel near it.

        Returns
        -------
        Machine
            The fitted machine.
        """
        costs = self.C * self.weight
        settled = None
        if start is not None:
            settled = self._settle(K, start.pairs[0].rows, start.pairs[0].coef, costs)
        if settled is None:
            deviation = min(1.0, float(self.y.std()))
            rough_tolerance = max(ROUGH_TOLERANCE * deviation, SOLVER_TOLERANCE)
            svr = self._fit_solver(K, rough_tolerance)
            settled = self._settle(K, svr.support_, svr.dual_coef_[0], costs)
        if settled is None:
            svr = self._fit_solver(K, SOLVER_TOLERANCE)
            rows, coef = svr.support_, svr.dual_coef_[0]
            margins = self.y[rows] - self.epsilon * np.sign(coef)
            own, constant = polish_duals(K, rows, coef, costs[rows], margins)
            constant = float(svr.intercept_[0]) if constant is None else constant
        else:
            values, constant = settled
            rows = np.flatnonzero(values)
            own = values[rows]
        linear = self.y[rows] @ own - self.epsilon * np.abs(own).sum()
        duals = Duals([_used_duals(rows, own, costs)], float(linear))
        ends, intercept = np.array([0, len(rows)]), np.array([constant])
        return Machine(rows, own[None], ends, intercept, duals)

    def _settle(
        self, K: np.ndarray, rows: np.ndarray, coef: np.ndarray, costs: np.ndarray
    ) -> tuple[np.ndarray, float] | None:
        start = np.zeros(len(K))
        start[rows] = coef
        # within the epsilon of the values an output has no cost
        lower, upper = self.y - self.epsilon, self.y + self.epsilon
        return settle_duals(K, start, costs, lower, upper)

    def _fit_solver(self, K: np.ndarray, tol: float) -> SVR:
        svr = SVR(
            C=self.C,
            epsilon=self.epsilon,
            kernel="precomputed",
            tol=tol,
            cache_size=SOLVER_CACHE_MB,
        )
        svr.random_state = 0  # SVR has no such parameter, but fit reads the attribute
        with config_context(assume_finite=True):
            return svr.fit(K, self.y, sample_weight=self.weight)

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


def _settle_pair(
    K: np.ndarray,
    rows: np.ndarray,
    is_positive: np.ndarray,
    costs: np.ndarray,
    rough: tuple[np.ndarray, np.ndarray],
) -> SolvedPair | None:
    """Make the dual variables of two classes, whose kernel is K, exact."""
    start = np.zeros(len(costs))
    start[rough[0]] = rough[1]
    lower = np.where(is_positive, 1.0, -np.inf)
    upper = np.where(is_positive, np.inf, -1.0)
    found = settle_duals(K, start[rows], costs[rows], lower, upper)
    return None if found is None else (rows, *found)


def _class_ends(svc: SVC) -> np.ndarray:
    """Return the positions where the support vectors of each class begin and end."""
    return np.concatenate([[0], np.cumsum(svc.n_support_)]).astype(int)


def _dual_pairs_of(svc: SVC) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return the support vectors of each pair of classes, and their dual variables."""
    ends, coef, support = _class_ends(svc), svc.dual_coef_, svc.support_
    spans = [slice(*ends[c : c + 2]) for c in range(len(ends) - 1)]
    return [
        (
            np.concatenate([support[spans[i]], support[spans[j]]]),
            np.concatenate([coef[j - 1, spans[i]], coef[i, spans[j]]]),
        )
        for i, j in combinations(range(len(spans)), 2)
    ]


def _used_duals(rows: np.ndarray, coef: np.ndarray, costs: np.ndarray) -> DualPair:
    """Leave out rows that are support vectors of other pairs only."""
    used = coef != 0
    rows, coef = rows[used], coef[used]
    return DualPair(rows, coef, np.abs(coef) < BOUND_SHARE * costs[rows])
