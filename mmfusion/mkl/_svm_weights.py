"""Weights of kernels for support vector machines.

Pure functions of training kernels. A task (`Classification`, `Regression`) knows y and
solves the machine of one kernel; `weigh` learns the weights of several, which are
never negative. They add up to 1 but for 'lp', where the mean of their p-th powers is
that of equal weights that do: so C means the same for every algorithm.

Several classes are learned as pairs of classes, as scikit-learn's SVC does, with one
set of weights for all pairs: the objectives of all pairs are added.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from scipy import linalg
from scipy.optimize import nnls
from sklearn.exceptions import ConvergenceWarning
from sklearn.svm import SVC, SVR
from sklearn.utils import gen_batches

from mmfusion.mkl._kernels import moderate_weights
from mmfusion.mkl._stacks import weighted_sum

CLASSIFIER_ALGORITHMS = ("alignment", "average", "easymkl", "l1", "lp")
REGRESSOR_ALGORITHMS = ("alignment", "average", "l1", "lp")

CACHE_MB = 1000
TOLERANCE = 1e-5  # of the solver, whose kernel has single precision: `polish` goes on
JITTER = 1e-8  # of the kernel's size
REFINEMENTS = 5
HARD = 1e10  # a cost that no dual variable reaches: the ridge keeps them small
HARD_TOLERANCE = 1e-4
MEANS = 1e6  # of the kernel's size: a penalty that makes the points of hulls the means
BOUNDED = 1 - 1e-9  # of the cost: dual variables above it are at their bound
RIDGE = 1e-8  # splits the weight of equal kernels evenly
DAMPING = 1e-3  # of the kernel's size: kernels of low rank have flat directions
DEVIATIONS = 3  # one kernel of noise in a thousand is above
STEEP = 1e-4  # share of the promised decrease that a step has to keep
HALVINGS = 8
HEAVY = 1e4
MANY = 2  # times the pairs of samples: then those of all machines are summed first
BARELY = 1e-3
EFFORT = 2e9  # pairs of samples that a machine without errors looks at, a few seconds
CHUNK_CELLS = 2**17  # they stay in the cache


@dataclass(frozen=True)
class Pair:
    """Dual solution of one machine.

    Parameters
    ----------
    rows : ndarray of int of shape (n_support,)
        Support vectors.
    coef : ndarray of float64 of shape (n_support,)
        Signed dual variables, which add up to 0.
    free : ndarray of bool of shape (n_support,)
        Which are not at their bound.
    """

    rows: np.ndarray
    coef: np.ndarray
    free: np.ndarray


@dataclass(frozen=True)
class Duals:
    """Dual solution of all machines of a task.

    Parameters
    ----------
    pairs : list of Pair
        One per pair of classes; one for regression.
    linear : float
        The part of the dual objective that kernels have no part in.
    """

    pairs: Sequence[Pair]
    linear: float


@dataclass(frozen=True)
class Machine:
    """Machines of a task, after `fit`.

    Parameters
    ----------
    support : ndarray of int of shape (n_support,)
        Support vectors, class by class.
    coef : ndarray of float64 of shape (n_classes - 1, n_support)
        Signed dual variables, arranged as SVC's ``dual_coef_``; one row for
        regression.
    ends : ndarray of int of shape (n_classes + 1,)
        Where the support vectors of each class begin and end.
    intercept : ndarray of float64 of shape (n_pairs,)
        As SVC's ``intercept_``.
    duals : Duals
        The same, pair by pair.
    """

    support: np.ndarray
    coef: np.ndarray
    ends: np.ndarray
    intercept: np.ndarray
    duals: Duals

    def decide(self, K: np.ndarray) -> np.ndarray:
        """Give the values of samples.

        Parameters
        ----------
        K : ndarray of shape (n_samples, n_support)
            The kernel of samples and support vectors.

        Returns
        -------
        ndarray of shape (n_samples, n_outputs)
            One column for regression and two classes. Else one per class: the votes of
            the pairs of classes, parted among equals by their values, as SVC does.
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
        return votes + sums / (3 * (np.abs(sums) + 1))


@dataclass(frozen=True)
class Classification:
    """Classes to be told apart, pair by pair.

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

    def of(self, rows: np.ndarray) -> Classification:
        """The task of some of the samples."""
        return Classification(self.codes[rows], self.C, self.weight[rows])

    def solve(self, K: np.ndarray) -> Duals:
        """Fit the machines of one kernel.

        Parameters
        ----------
        K : ndarray of shape (n_samples, n_samples)
            The kernel.

        Returns
        -------
        Duals
            Their dual solutions.
        """
        return self.fit(K).duals

    def fit(self, K: np.ndarray) -> Machine:
        """Fit the machines of one kernel; their intercepts too."""
        machine = SVC(
            C=self.C,
            kernel="precomputed",
            tol=TOLERANCE,
            cache_size=CACHE_MB,
            random_state=0,  # without one NumPy's generator is used, for nothing
        ).fit(K, self.codes, sample_weight=self.weight)
        coef, intercept = machine.dual_coef_.copy(), machine.intercept_.copy()
        support, costs = machine.support_, self.C * self.weight
        ends = _ends(machine)
        pairs = []
        for k, (one, other, rows, own) in enumerate(_duals(machine)):
            pair, constant = polish(K, rows, own, costs[rows], np.sign(own))
            if constant is not None:
                width = len(coef[one])
                coef[one], coef[other] = pair[:width], pair[width:]
                intercept[k] = constant
            pairs.append(_pair(rows, pair, costs))
        total = sum(float(np.abs(pair.coef).sum()) for pair in pairs)
        return Machine(support, coef, ends, intercept, Duals(pairs, total))

    def margin(self, K: np.ndarray, regularization: float) -> Duals:
        """Find the nearest points of the classes' hulls, with a penalty on corners.

        The quadratic programme of EasyMKL, ``(1 - L) g'YKYg + L |g|^2`` over pairs of
        distributions g, is the dual of a machine without errors whose kernel has
        ``L / (1 - L)`` more on its diagonal, but for the length of its solution.

        Parameters
        ----------
        K : ndarray of shape (n_samples, n_samples)
            The kernel; its diagonal is overwritten.
        regularization : float
            L, between 0 and 1.

        Warns
        -----
        ConvergenceWarning
            If the solver takes too many steps, as it does for small L.

        Returns
        -------
        Duals
            The points g of every pair of classes, with the signs of Y; `linear` is
            the sum of their penalties.
        """
        ridge = regularization / (1 - regularization) / moderate_weights(self.weight)
        # beyond it the points are the means, however small weights are
        ridge *= min(1.0, MEANS / ridge.min())
        np.fill_diagonal(K, K.diagonal() + ridge)
        steps = int(EFFORT / len(K))
        hard = SVC(
            C=HARD,
            kernel="precomputed",
            tol=HARD_TOLERANCE,
            cache_size=CACHE_MB,
            max_iter=steps,
            random_state=0,
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            hard.fit(K, self.codes)
        if hard.fit_status_:
            warnings.warn(
                f"the points of 'easymkl' are not exact after {steps} steps; take a "
                f"larger regularization than {regularization:.3g}",
                ConvergenceWarning,
                stacklevel=2,
            )
        points = []
        for _, _, rows, coef in _duals(hard):
            points.append(_pair(rows, 2 * coef / np.abs(coef).sum(), np.ones(len(K))))
        penalties = [(ridge[pair.rows] * pair.coef**2).sum() for pair in points]
        return Duals(points, float(sum(penalties)))

    def target(self) -> np.ndarray:
        """Classes as centred columns of 0 and 1."""
        columns = (self.codes[:, None] == np.unique(self.codes)).astype(float)
        return columns - np.average(columns, axis=0, weights=self.weight)


@dataclass(frozen=True)
class Regression:
    """Values to be predicted.

    Parameters
    ----------
    y : ndarray of float64 of shape (n_samples,)
        The values.
    C : float
        Cost of an error.
    weight : ndarray of float64 of shape (n_samples,)
        Weights of the samples, all positive.
    epsilon : float
        Errors up to it cost nothing.
    """

    y: np.ndarray
    C: float
    weight: np.ndarray
    epsilon: float

    def of(self, rows: np.ndarray) -> Regression:
        """The task of some of the samples."""
        return Regression(self.y[rows], self.C, self.weight[rows], self.epsilon)

    def solve(self, K: np.ndarray) -> Duals:
        """Fit the machine of one kernel.

        Parameters
        ----------
        K : ndarray of shape (n_samples, n_samples)
            The kernel.

        Returns
        -------
        Duals
            Its dual solution.
        """
        return self.fit(K).duals

    def fit(self, K: np.ndarray) -> Machine:
        """Fit the machine of one kernel; its intercept too."""
        machine = SVR(
            C=self.C,
            epsilon=self.epsilon,
            kernel="precomputed",
            tol=TOLERANCE,
            cache_size=CACHE_MB,
        )
        machine.random_state = 0  # no parameter of SVR, but used as that of SVC
        machine.fit(K, self.y, sample_weight=self.weight)
        rows, coef, costs = machine.support_, machine.dual_coef_, self.C * self.weight
        edges = self.y[rows] - self.epsilon * np.sign(coef[0])
        own, constant = polish(K, rows, coef[0], costs[rows], edges)
        intercept = machine.intercept_ if constant is None else np.array([constant])
        linear = self.y[rows] @ own - self.epsilon * np.abs(own).sum()
        duals = Duals([_pair(rows, own, costs)], float(linear))
        ends = np.array([0, len(rows)])
        return Machine(rows, own[None], ends, intercept, duals)

    def target(self) -> np.ndarray:
        """The values as one centred column."""
        return (self.y - np.average(self.y, weights=self.weight))[:, None]


Task = Classification | Regression


@dataclass(frozen=True)
class Weighing:
    """Weights of kernels, and how they were found.

    Parameters
    ----------
    weights : ndarray of float64 of shape (n_kernels,)
        Not negative.
    objective_path : ndarray of float64
        Objective after each step.
    gap : float
        'l1' and 'lp': how far the objective is at most above the least one, as a
        share of it; else NaN.
    converged : bool
        Whether the gap is below the tolerance.
    """

    weights: np.ndarray
    objective_path: np.ndarray
    gap: float = np.nan
    converged: bool = True


def polish(
    K: np.ndarray,
    rows: np.ndarray,
    coef: np.ndarray,
    costs: np.ndarray,
    edges: np.ndarray,
) -> tuple[np.ndarray, float | None]:
    """Put free support vectors exactly on their margin.

    Parameters
    ----------
    K : ndarray of shape (n_samples, n_samples)
        The kernel.
    rows : ndarray of int of shape (n_support,)
        Support vectors.
    coef : ndarray of float64 of shape (n_support,)
        Signed dual variables, nearly right.
    costs : ndarray of float64 of shape (n_support,)
        Bounds of their sizes.
    edges : ndarray of float64 of shape (n_support,)
        What the machine says of free support vectors.

    Returns
    -------
    coef : ndarray of float64 of shape (n_support,)
        Better dual variables; as they were if these would leave their bounds.
    intercept : float or None
        The constant; None if nothing changed.
    """
    is_free = (coef != 0) & (np.abs(coef) < BOUNDED * costs)
    free, used = rows[is_free], coef != 0
    if not len(free):
        return coef, None
    own = K[np.ix_(free, free)].astype(np.float64)
    fixed = K[np.ix_(free, rows[used])] @ coef[used]
    shifted = own.copy()
    shifted.flat[:: len(free) + 1] += JITTER * own.diagonal().mean()
    try:
        factor = linalg.cho_factor(shifted, lower=True, check_finite=False)
    except linalg.LinAlgError:  # a kernel that is not definite
        return coef, None
    ones = linalg.cho_solve(factor, np.ones(len(free)), check_finite=False)
    change, constant = np.zeros(len(free)), 0.0
    for _ in range(REFINEMENTS):  # takes the jitter off again
        left = edges[is_free] - fixed - own @ change - constant
        step = linalg.cho_solve(factor, left, check_finite=False)
        more = (step.sum() + change.sum() + coef.sum()) / ones.sum()
        change += step - more * ones
        constant += more
    better = coef.copy()
    better[is_free] += change
    inside = (np.sign(better) == np.sign(coef)) & (np.abs(better) <= costs)
    return (better, float(constant)) if inside.all() else (coef, None)


def weigh(
    kernels: Sequence[np.ndarray],
    task: Task,
    algorithm: str,
    *,
    p: float = 2.0,
    regularization: float = 0.1,
    tol: float = 1e-3,
    max_iter: int = 200,
    start: np.ndarray | None = None,
) -> Weighing:
    """Learn the weights of kernels.

    Parameters
    ----------
    kernels : list of ndarray of shape (n_samples, n_samples)
        Centred kernels of one size.
    task : Classification or Regression
        What they are for.
    algorithm : {'alignment', 'average', 'easymkl', 'l1', 'lp'}
        How; 'easymkl' is for classification.
    p : float, default=2.0
        Of 'lp', at least 1.
    regularization : float, default=0.1
        Of 'easymkl', between 0 and 1.
    tol : float, default=1e-3
        Share of the objective to which the duality gap of 'l1' and 'lp' has to come
        down.
    max_iter : int, default=200
        Most steps of 'l1' and 'lp'.
    start : ndarray of shape (n_kernels,), default=None
        Weights that 'l1' and 'lp' start from; None takes equal ones.

    Returns
    -------
    Weighing
        The weights; those of kernels that are 0 everywhere are 0, unless all are.
    """
    telling = np.array([bool(K.diagonal().any()) for K in kernels])
    if not telling.any():
        return Weighing(np.full(len(kernels), 1 / len(kernels)), np.empty(0))
    chosen = [K for K, tells in zip(kernels, telling, strict=True) if tells]
    if start is not None:
        start = start[telling]
    if start is None or not start.any():
        start = np.full(len(chosen), 1 / len(chosen))
    if algorithm == "average" or len(chosen) == 1:
        found = Weighing(np.full(len(chosen), 1 / len(chosen)), np.empty(0))
    elif algorithm == "alignment":
        found = alignment_weights(chosen, task)
    elif algorithm == "easymkl":
        assert isinstance(task, Classification)
        found = easymkl_weights(chosen, task, regularization)
    elif algorithm == "l1" or p == 1:
        found = l1_weights(chosen, task, start, tol, max_iter)
    else:
        found = lp_weights(chosen, task, p, start, tol, max_iter)
    weights = np.zeros(len(kernels))
    weights[telling] = found.weights
    return Weighing(weights, found.objective_path, found.gap, found.converged)


def alignment_weights(kernels: Sequence[np.ndarray], task: Task) -> Weighing:
    """Bring the sum of kernels as near as can be to the kernel of the target.

    The non-negative least squares of Cortes, Mohri and Rostamizadeh (2012), section
    4.2, but for two things, without which a kernel of noise that is nearly the
    identity gets a large weight. Only pairs of different samples count: what a sample
    is to itself tells nothing of the target. And from each kernel's cosine with the
    target three standard deviations are taken off of what it is by chance,
    ``sqrt(2) / n_samples``.

    Parameters
    ----------
    kernels : list of ndarray of shape (n_samples, n_samples)
        Centred kernels.
    task : Classification or Regression
        What they are for.

    Returns
    -------
    Weighing
        Weights that add up to 1, equal ones if no kernel is aligned with the target;
        the objective is the cosine of the sum with the target.
    """
    weight = moderate_weights(task.weight)
    products = pair_products(kernels, task.target(), weight)
    sizes = np.sqrt(np.maximum(products.diagonal(), np.finfo(float).tiny))
    cosines = products / np.outer(sizes, sizes)
    total = weight.sum()
    # repeated samples count; small weights do not make samples fewer
    n_samples = max(total, total**2 / (weight**2).sum())
    chance = DEVIATIONS * np.sqrt(2) / n_samples
    weights = _nonnegative_quadratic(cosines[:-1, :-1], cosines[-1, :-1] - chance)
    weights = weights / sizes[:-1] if weights.any() else np.ones(len(kernels))
    weights /= weights.sum()
    scaled = weights * sizes[:-1]
    length = np.sqrt(scaled @ cosines[:-1, :-1] @ scaled)
    cosine = scaled @ cosines[-1, :-1] / max(length, np.finfo(float).tiny)
    return Weighing(weights, np.array([cosine]))


def pair_products(
    kernels: Sequence[np.ndarray], target: np.ndarray, weight: np.ndarray
) -> np.ndarray:
    """Inner products of kernels over all pairs of different samples.

    Parameters
    ----------
    kernels : list of ndarray of shape (n_samples, n_samples)
        The kernels.
    target : ndarray of shape (n_samples, n_columns)
        Columns of one more kernel's factor.
    weight : ndarray of shape (n_samples,)
        Weights of the samples. One of weight 3 stands for three, which are different
        samples.

    Returns
    -------
    ndarray of float64 of shape (n_kernels + 1, n_kernels + 1)
        The products, the target last.
    """
    n_samples = len(target)
    products = np.zeros((len(kernels) + 1, len(kernels) + 1))
    n_rows = max(1, CHUNK_CELLS // (n_samples * len(products)))
    for rows in gen_batches(n_samples, n_rows):
        # kernels are symmetric: what is right of the diagonal square counts twice
        columns = slice(rows.start, n_samples)
        width = rows.stop - rows.start
        chunk = np.empty((len(products), width, n_samples - rows.start))
        for p, K in enumerate(kernels):
            chunk[p] = K[rows, columns]
        chunk[-1] = target[rows] @ target[columns].T
        counts = np.outer(weight[rows], weight[columns])
        own = np.arange(width)
        counts[own, own] -= weight[rows]
        counts[:, width:] *= 2
        flat = chunk.reshape(len(products), -1)
        products += flat @ (flat * np.maximum(counts, 0).ravel()).T
    return products


def easymkl_weights(
    kernels: Sequence[np.ndarray], task: Classification, regularization: float
) -> Weighing:
    """Weigh kernels by the margin between two points of the classes' hulls.

    EasyMKL of Aiolli and Donini (2015): one quadratic programme with the sum of all
    kernels finds the points, a kernel's weight is proportional to their distance in
    it. The programme is solved as a support vector machine.

    Parameters
    ----------
    kernels : list of ndarray of shape (n_samples, n_samples)
        The kernels.
    task : Classification
        The classes.
    regularization : float
        Between 0, the points are nearest to each other, and 1, they are the means.

    Returns
    -------
    Weighing
        Weights that add up to 1; the objective is that of the programme.
    """
    ones = np.ones(len(kernels))
    points = task.margin(weighted_sum(kernels, ones), regularization)
    squares = _lengths(kernels, points.pairs)
    value = (1 - regularization) * (squares.sum() + points.linear)
    weights = squares if squares.any() else ones
    return Weighing(weights / weights.sum(), np.array([value]))


def lp_weights(
    kernels: Sequence[np.ndarray],
    task: Task,
    p: float,
    start: np.ndarray,
    tol: float,
    max_iter: int,
) -> Weighing:
    """Minimise the objective of the machine over weights of bounded p-norm.

    Alternates the machine with the weights that are best for its solution: Kloft,
    Brefeld, Sonnenburg and Zien (2011), equation 25.

    Parameters
    ----------
    kernels : list of ndarray of shape (n_samples, n_samples)
        The kernels.
    task : Classification or Regression
        What they are for.
    p : float
        Above 1.
    start : ndarray of shape (n_kernels,)
        First weights.
    tol : float
        As in `weigh`.
    max_iter : int
        Most steps.

    Returns
    -------
    Weighing
        Weights; the mean of their p-th powers is ``n_kernels ** -p``.
    """
    radius = len(kernels) ** (1 / p - 1)
    conjugate = p / (p - 1)
    start = np.maximum(start, BARELY * start.max())  # steps multiply: 0 would stay
    weights = radius * start / _norm(start, p)
    path: list[float] = []
    bound = -np.inf
    for _ in range(max_iter):
        at = _evaluate(kernels, task, weights)
        path.append(at.objective)
        steepest = radius * _norm(at.squares, conjugate)
        bound = max(bound, at.linear - steepest / 2)
        if at.objective - bound <= tol * at.objective:
            break
        squares = weights**2 * at.squares
        best = squares ** (1 / (p + 1))
        weights = radius * best / _norm(best, p)
    return _weighing(weights, path, bound, tol)


def l1_weights(
    kernels: Sequence[np.ndarray],
    task: Task,
    start: np.ndarray,
    tol: float,
    max_iter: int,
) -> Weighing:
    """Minimise the objective of the machine over weights that add up to 1.

    The problem and the stopping rule of SimpleMKL (Rakotomamonjy, Bach, Canu and
    Grandvalet 2008). Its reduced gradient is replaced by the second-order step of
    Chapelle and Rakotomamonjy (2008), which takes a few machines in place of dozens:
    the curvature comes from how the free dual variables follow the weights.

    Parameters
    ----------
    kernels : list of ndarray of shape (n_samples, n_samples)
        The kernels.
    task : Classification or Regression
        What they are for.
    start : ndarray of shape (n_kernels,)
        First weights.
    tol : float
        As in `weigh`.
    max_iter : int
        Most steps.

    Returns
    -------
    Weighing
        Weights, most of them 0 where few kernels are enough.
    """
    at = _evaluate(kernels, task, start / start.sum())
    path = [at.objective]
    bound = at.linear - at.squares.max() / 2
    for _ in range(max_iter - 1):
        if at.objective - bound <= tol * at.objective:
            break
        step = _newton_step(kernels, at)
        slope = -at.squares @ step / 2
        length = 1.0
        for _ in range(HALVINGS):
            trial = _evaluate(kernels, task, _clip(at.weights + length * step))
            bound = max(bound, trial.linear - trial.squares.max() / 2)
            if trial.objective <= at.objective + STEEP * length * slope:
                break
            length /= 2
        else:
            # the best weights for the solution as it is never raise the objective
            best = at.weights * np.sqrt(at.squares)
            trial = _evaluate(kernels, task, best / best.sum())
            if trial.objective >= at.objective:
                break
        at = trial
        path.append(at.objective)
    return _weighing(at.weights, path, bound, tol)


@dataclass(frozen=True)
class _Point:
    """The machine at some weights: ``objective = linear - weights @ squares / 2``."""

    weights: np.ndarray
    kernel: np.ndarray
    duals: Duals
    squares: np.ndarray
    objective: float

    @property
    def linear(self) -> float:
        return self.duals.linear


def _evaluate(kernels: Sequence[np.ndarray], task: Task, weights: np.ndarray) -> _Point:
    K = weighted_sum(kernels, weights)
    duals = task.solve(K)
    squares = _lengths(kernels, duals.pairs)
    return _Point(weights, K, duals, squares, duals.linear - weights @ squares / 2)


def _weighing(
    weights: np.ndarray, path: Sequence[float], bound: float, tol: float
) -> Weighing:
    # the solver's own tolerance can leave the objective a little below the bound
    gap = max(path[-1] - bound, 0.0)
    share = gap / path[-1] if path[-1] > 0 else 0.0
    return Weighing(weights, np.array(path), share, share <= tol)


def _ends(machine: SVC) -> np.ndarray:
    """Where the support vectors of each class begin and end."""
    return np.concatenate([[0], np.cumsum(machine.n_support_)]).astype(int)


def _duals(machine: SVC) -> Iterator[tuple[Any, Any, np.ndarray, np.ndarray]]:
    """For each pair of classes: the places of both in ``dual_coef_``, rows, values."""
    ends, coef, support = _ends(machine), machine.dual_coef_, machine.support_
    spans = [slice(*ends[c : c + 2]) for c in range(len(ends) - 1)]
    for i, j in combinations(range(len(spans)), 2):
        one, other = (j - 1, spans[i]), (i, spans[j])
        rows = np.concatenate([support[spans[i]], support[spans[j]]])
        yield one, other, rows, np.concatenate([coef[one], coef[other]])


def _pair(rows: np.ndarray, coef: np.ndarray, costs: np.ndarray) -> Pair:
    """Leave out those that are support vectors of other pairs only."""
    used = coef != 0
    rows, coef = rows[used], coef[used]
    return Pair(rows, coef, np.abs(coef) < BOUNDED * costs[rows])


def _lengths(kernels: Sequence[np.ndarray], pairs: Sequence[Pair]) -> np.ndarray:
    """Squared lengths of the normals, summed over pairs, by kernel."""
    n_samples = len(kernels[0])
    squares = np.zeros(len(kernels))
    if sum(len(pair.rows) ** 2 for pair in pairs) > MANY * n_samples**2:
        coef = np.zeros((n_samples, len(pairs)))
        for k, pair in enumerate(pairs):
            coef[pair.rows, k] = pair.coef
        for rows in gen_batches(n_samples, max(1, CHUNK_CELLS // n_samples)):
            products = coef[rows] @ coef.T
            squares += [np.vdot(K[rows], products) for K in kernels]
        return np.maximum(squares, 0)
    for pair in pairs:
        for m, K in enumerate(kernels):
            squares[m] += pair.coef @ K[np.ix_(pair.rows, pair.rows)] @ pair.coef
    return np.maximum(squares, 0)


def _newton_step(kernels: Sequence[np.ndarray], at: _Point) -> np.ndarray:
    """Go to the least value, over the simplex, of the quadratic model."""
    n_kernels = len(kernels)
    curvature = np.zeros((n_kernels, n_kernels))
    for pair in at.duals.pairs:
        free = pair.rows[pair.free]
        if len(free) < 2:
            continue
        pulls = np.array([K[np.ix_(free, pair.rows)] @ pair.coef for K in kernels])
        own = at.kernel[np.ix_(free, free)].astype(np.float64)
        own.flat[:: len(free) + 1] += DAMPING * own.diagonal().mean()
        try:
            factor = linalg.cho_factor(own, lower=True, check_finite=False)
        except linalg.LinAlgError:  # a kernel that is not definite
            continue
        sides = np.vstack([pulls, np.ones(len(free))])
        table = sides @ linalg.cho_solve(factor, sides.T, check_finite=False)
        # free variables keep adding up to what they do
        curvature += (
            table[:-1, :-1] - np.outer(table[-1, :-1], table[-1, :-1]) / (table[-1, -1])
        )
    scale = max(curvature.diagonal().max(), at.squares.max() * DAMPING)
    curvature.flat[:: n_kernels + 1] += DAMPING * scale
    gradient = -at.squares / 2
    best = _simplex_quadratic(curvature, curvature @ at.weights - gradient)
    return best - at.weights


def _simplex_quadratic(A: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Minimise x'Ax / 2 - b'x over the simplex: least squares, a heavy row the sum."""
    root = linalg.cholesky(A)
    heavy = HEAVY * np.abs(root).max()
    rows = np.vstack([root, np.full(len(b), heavy)])
    sides = np.append(linalg.solve_triangular(root, b, trans="T"), heavy)
    return _clip(nnls(rows, sides)[0])


def _nonnegative_quadratic(A: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Minimise x'Ax / 2 - b'x over x that are not negative."""
    root = linalg.cholesky(A + RIDGE * np.trace(A) / len(A) * np.eye(len(A)))
    return nnls(root, linalg.solve_triangular(root, b, trans="T"))[0]


def _norm(values: np.ndarray, p: float) -> float:
    largest = float(values.max())
    return largest * float(((values / largest) ** p).sum() ** (1 / p)) if largest else 0


def _clip(weights: np.ndarray) -> np.ndarray:
    weights = np.where(weights > RIDGE, weights, 0.0)
    return weights / weights.sum()
