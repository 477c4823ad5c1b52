"""Regression by a support vector machine on a weighted sum of kernels."""

from __future__ import annotations

from numbers import Real
from os import PathLike
from typing import Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, RegressorMixin

from mmfusion._scaling import fit_scaling
from mmfusion._sklearn_compat import Interval, StrOptions, fit_context
from mmfusion._target_checks import (
    check_target,
    validate_sample_weight,
)
from mmfusion._threads import threads_of_n_jobs
from mmfusion._typing import ColumnSpecLike, ModalitiesLike, RandomStateLike
from mmfusion._warnings import warn_user
from mmfusion.mkl._base import MACHINE_CONSTRAINTS, BaseKernelMachine
from mmfusion.mkl._kernel_input import GammaLike, KernelLike, ScalingLike
from mmfusion.mkl._linear_machine import LinearMachine, fit_linear_machine
from mmfusion.mkl._svm_tasks import HARD_MARGIN_COST, Regression
from mmfusion.mkl._svm_weights import REGRESSOR_ALGORITHMS

SMALLEST_COST = float(np.finfo(np.float64).tiny)
LARGEST_EPSILON = 1e30  # beyond any error of values whose deviation is about 1


class MKLRegressor(BaseKernelMachine, RegressorMixin, BaseEstimator):
    """Regress by a support vector machine on a weighted sum of kernels.

    Every modality has a kernel, or several. The prediction is
    ``f(x) = sum_i beta_i sum_p w_p K_p(x, x_i) + b`` with the weights w of the kernels
    and the solution of
    ``J(w) = max y'beta - epsilon |beta|_1 - sum_p w_p beta'K_p beta / 2`` over
    ``|beta_i| <= C v_i``, ``1'beta = 0``, where v are sample weights. The weights of
    the kernels minimise J(w) ('l1', 'lp'), or are found without a machine: by default
    they maximise the cosine of ``sum_p w_p K_p`` with the kernel of the values. Samples
    may lack modalities.

    Parameters
    ----------
    kernel : {'rbf', 'linear', 'poly', 'cosine', 'laplacian', 'chi2', 'precomputed', \
'global_alignment', 'soft_dtw', 'dtw'}, callable, DTWKernel, list or dict, default='rbf'
        The kernel of all modalities, a list of several for each, or any of these by
        modality name; see `ModalityKernels`.
    gamma : float, array-like of float or dict, default=None
        Coefficient of 'rbf', 'poly', 'laplacian', 'chi2' and the kernels of sequences,
        or one by modality name; several values make one kernel each. None is by the
        median rule.
    degree : float, default=3
        Degree of the polynomial kernel.
    coef0 : float, default=1
        Constant of the polynomial kernel.
    scaling : {'auto', 'block', 'standard', 'l2'} or None or dict, default='auto'
        Scaling of the features of a modality before kernels; see `EarlyFusion`.
    normalize : {'trace', 'cosine'} or None, default='trace'
        Normalisation of each centred kernel. 'trace': the variance of the samples is 1.
        'cosine': every sample has norm 1.
    algorithm : {'alignment', 'average', 'l1', 'lp'}, default='alignment'
        Algorithm of the weights; see Notes on the choice.

        - 'alignment': maximise the cosine of the sum with the kernel of the values, by
          non-negative least squares [1]_. No machine is fitted for it;
        - 'average': equal weights, which are hard to beat where every modality is
          informative;
        - 'l1': minimise J(w) over weights that add up to 1 [2]_; few kernels get any.
          But a kernel of noise in many features, which fits the samples of `fit` alone,
          can get the most;
        - 'lp': minimise J(w) over weights of bounded p-norm [3]_: all informative
          kernels get some.
    regularization : float, default=None
        Parameter of 'lp': the p of the norm, at least 1. None is 2; see
        `MKLClassifier`.
    C : float, default=1.0
        Cost of a training error, for kernels of variance 1. It depends on the unit of
        y: give y of variance 1, or scale it by
        :class:`sklearn.compose.TransformedTargetRegressor`.
    epsilon : float, default=0.1
        Errors up to it have no cost, in the unit of y.
    approximation : {'auto', 'nystroem', 'fourier'}, int or None, default='auto'
        None uses exact kernels, 'nystroem' and 'fourier' explicit features with a
        linear machine. An integer is the maximum number of samples of `fit` for which
        kernels are exact; more samples, unless all kernels are precomputed, are
        approximated by 'nystroem'. 'auto' is 5000.
    n_components : int, default=128
        Maximum number of explicit features of a kernel.
    landmarks : list, dict, Modalities or array-like of shape (n_landmarks, \
n_features), default=None
        Landmarks of 'nystroem', in any form of X and with the same modalities, of which
        each may lack some. `n_components` is not read then, and 'auto' is 'nystroem'.
        None finds them among the samples of `fit`.
    temp_folder : str or path-like, default=None
        Existing folder for the exact kernels of `fit`: they are memory-mapped files
        without a name, deleted during `fit`, and memory holds their sum only. None
        keeps all in memory.
    max_iter : int, default=200
        Maximum number of steps of 'l1' and 'lp'.
    tol : float, default=1e-3
        Duality gap at which 'l1' and 'lp' stop, as a share of the objective. Where C is
        large and values are noisy, most of the objective is errors that no weights
        avoid: lower `tol` if weights stay equal.
    modalities : int, list of int, str or dict, default=None
        Column spec that splits a plain 2-D X; None takes it as one modality. See
        :meth:`Modalities.from_table`.
    n_jobs : int, default=None
        Number of kernels that are computed at a time, in threads, and of the threads of
        linear algebra. None is 1 unless in a joblib context, -1 all processors.
    random_state : int, RandomState instance or None, default=None
        Randomness of landmarks and random features.

    Attributes
    ----------
    kernel_weights_ : ndarray of float64 of shape (n_kernels,)
        Weight of each kernel in the sum; they add up to 1, but for 'lp'.
    modality_weights_ : ndarray of float64 of shape (n_modalities,)
        Sum of the weights of the kernels of each modality.
    kernel_names_ : ndarray of str of shape (n_kernels,)
        Name of the modality; ``<modality>-<k>`` where it has several kernels.
    kernel_modalities_ : ndarray of int of shape (n_kernels,)
        Position of the modality of each kernel.
    gamma_ : ndarray of float64 of shape (n_kernels,)
        Gamma of each kernel; NaN where it has none.
    scaling_ : dict of str to str
        Scaling of each modality, with 'auto' resolved.
    approximation_ : {'nystroem', 'fourier'} or None
        Approximation of the kernels, with 'auto' and integers resolved.
    support_ : ndarray of int of shape (n_support,) or None
        Positions of the support vectors in `fit`; None with explicit features.
    objective_path_ : ndarray of float64 of shape (n_steps,)
        'l1' and 'lp': objective of the machine after each step; 'alignment': cosine of
        the sum with the target; empty for 'average'.
    gap_ : float
        'l1' and 'lp': duality gap, an upper bound of the distance of the objective from
        its minimum, as a share of the objective; else NaN.
    n_iter_ : int
        Number of steps; 1 where weights need no steps.
    n_modalities_in_ : int
        Number of modalities seen in `fit`.
    modality_names_in_ : ndarray of str of shape (n_modalities,)
        Names of the modalities.
    n_features_per_modality_in_ : ndarray of int of shape (n_modalities,)
        Number of features of each modality.
    n_features_in_ : int
        Total number of features.
    feature_names_in_ : ndarray of str of shape (`n_features_in_`,)
        Names ``<modality>__<feature>``, if the input had names.

    Raises
    ------
    ValueError
        If a precomputed kernel is not square or not symmetric in `fit`, a sample lacks
        every modality, or y has several columns.

    Warns
    -----
    ConvergenceWarning
        If the gap is above `tol` after `max_iter` steps.
    UserWarning
        If a precomputed kernel, or that of a callable, is not positive semi-definite;
        or `epsilon` is so large that every prediction is the same constant.

    See Also
    --------
    MKLClassifier : Predicts classes in place of values.
    MKLClusterer : Learns weights of kernels without labels.
    ModalityKernels : Computes the kernels.
    EarlyFusionRegressor : Concatenates features, which with an SVR is MKL with equal
        weights of linear kernels.

    Notes
    -----
    *Choice of the algorithm.* Algorithms, 'average' among them, seldom differ by more
    than a hundredth in the score. 'alignment' is the default because it needs no
    machine, has nothing to tune and no iterations, and weights a modality of pure noise
    near 0. For the last it differs from [1]_: pairs of a sample with itself do not
    count, and three standard deviations of the alignment by chance are subtracted.

    *C* has the same meaning for every algorithm and number of kernels: equal weights
    are always ``1 / n_kernels``. For 'lp' the mean of the p-th powers of the weights is
    that of equal ones.

    *Missing modalities.* A sample that lacks a modality lies at its mean; its other
    kernels are multiplied, in rows and columns, by the root of
    ``n_modalities / (number of modalities it has)``. See `ModalityKernels`.

    *Explicit features.* Weights are learned on at most 2000 samples, spread evenly over
    the values of y; then a linear machine with squared errors is fitted to all samples.
    No array of shape (n_samples, n_samples) is made.

    *New samples* are compared with support vectors only, by kernels whose weight is not
    0. (With all samples of `fit`, if some of these lack modalities, or
    ``normalize='cosine'``.)

    *Sample weights* multiply C, and are weights in the means, sizes and bandwidths of
    kernels: a sample of weight 2 equals two copies of it, one of weight 0 is left out.

    References
    ----------
    .. [1] C. Cortes, M. Mohri, A. Rostamizadeh (2012), Algorithms for learning kernels
       based on centered alignment. JMLR 13, 795-828.
    .. [2] A. Rakotomamonjy, F. Bach, S. Canu, Y. Grandvalet (2008), SimpleMKL. JMLR 9,
       2491-2521; with the steps of O. Chapelle, A. Rakotomamonjy (2008), Second order
       optimization of kernel parameters. NIPS workshop on kernel learning.
    .. [3] M. Kloft, U. Brefeld, S. Sonnenburg, A. Zien (2011), lp-norm multiple kernel
       learning. JMLR 12, 953-997.

    Examples
    --------
    >>> import numpy as np
    >>> from mmfusion.mkl import MKLRegressor
    >>> rng = np.random.default_rng(0)
    >>> X = {"audio": rng.normal(size=(200, 2)), "video": rng.normal(size=(200, 2))}
    >>> y = np.sin(X["audio"][:, 0])
    >>> regressor = MKLRegressor(C=10).fit(X, y)
    >>> regressor.modality_weights_.round(1)
    array([1., 0.])
    """

    _parameter_constraints: dict = {
        **MACHINE_CONSTRAINTS,
        "algorithm": [StrOptions(set(REGRESSOR_ALGORITHMS))],
        "epsilon": [Interval(Real, 0, None, closed="left")],
    }

    def __init__(
        self,
        kernel: KernelLike = "rbf",
        *,
        gamma: GammaLike = None,
        degree: float = 3,
        coef0: float = 1,
        scaling: ScalingLike = "auto",
        normalize: str | None = "trace",
        algorithm: str = "alignment",
        regularization: float | None = None,
        C: float = 1.0,
        epsilon: float = 0.1,
        approximation: str | int | None = "auto",
        n_components: int = 128,
        landmarks: ModalitiesLike | None = None,
        temp_folder: str | PathLike[str] | None = None,
        max_iter: int = 200,
        tol: float = 1e-3,
        modalities: ColumnSpecLike = None,
        n_jobs: int | None = None,
        random_state: RandomStateLike = None,
    ) -> None:
        self.kernel = kernel
        self.gamma = gamma
        self.degree = degree
        self.coef0 = coef0
        self.scaling = scaling
        self.normalize = normalize
        self.algorithm = algorithm
        self.regularization = regularization
        self.C = C
        self.epsilon = epsilon
        self.approximation = approximation
        self.n_components = n_components
        self.landmarks = landmarks
        self.temp_folder = temp_folder
        self.max_iter = max_iter
        self.tol = tol
        self.modalities = modalities
        self.n_jobs = n_jobs
        self.random_state = random_state

    @fit_context(prefer_skip_nested_validation=True)
    @threads_of_n_jobs
    def fit(
        self, X: ModalitiesLike, y: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> Self:
        """Fit the kernels, their weights and the machine on their sum.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The data; see the user guide on input.
        y : array-like of shape (n_samples,)
            Target values.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the samples, which multiply C. None is equal weights.

        Returns
        -------
        self
            The fitted regressor.
        """
        frame = self._validate(X, reset=True)
        target = check_target(self, frame, y, y_numeric=True).astype(np.float64)
        weight = validate_sample_weight(sample_weight, frame).astype(np.float64)
        self._center, self._unit = _center_and_unit(target, weight)
        # the solver stops by an absolute tolerance, which is for y of deviation near 1
        largest_cost = max(self.C, HARD_MARGIN_COST)
        cost = np.clip(self.C / self._unit, SMALLEST_COST, largest_cost)
        values = target / self._unit - self._center / self._unit
        epsilon = min(self.epsilon / self._unit, LARGEST_EPSILON)
        task = Regression(values, float(cost), weight, epsilon)
        with self._progress(X, y) as progress:
            self._fit_task(frame, task, values, progress)
        if self.algorithm in ("l1", "lp"):
            with np.errstate(over="ignore"):
                self.objective_path_ = self.objective_path_ * self._unit * self._unit
            if not np.isfinite(self.objective_path_).all():
                raise ValueError(
                    "y is so large that the objective overflows; scale it by "
                    "TransformedTargetRegressor"
                )
        if self.support_ is not None and len(self.support_) == 0:
            warn_user(
                f"all values of y lie within epsilon={self.epsilon} of a constant, "
                "so that every prediction is this constant; set a smaller epsilon, or "
                "scale y",
            )
        progress.finish()
        return self

    def predict(self, X: ModalitiesLike) -> np.ndarray:
        """Predict the values of samples.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The data.

        Returns
        -------
        ndarray of float64 of shape (n_samples,)
            Predicted values.
        """
        return self._decide(X)[:, 0] * self._unit + self._center

    def _fit_linear(self, Z: np.ndarray, task: Regression) -> LinearMachine:
        # C itself: the cost of squared errors does not depend on the unit of y
        costs = min(self.C, HARD_MARGIN_COST) * task.weight
        return fit_linear_machine(Z, task.y[:, None], costs, task.epsilon)


def _center_and_unit(y: np.ndarray, weight: np.ndarray) -> tuple[float, float]:
    """Compute the mean, and the power of two below the standard deviation."""
    scaling = fit_scaling(y[:, None], "standard", weight)
    deviation = float(scaling.spread[0])
    # a power of two: division by it changes no digit
    unit = np.exp2(np.floor(np.log2(deviation))) if np.isfinite(deviation) else 1.0
    return float(scaling.center[0]), float(unit)
