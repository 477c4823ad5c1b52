"""Bases of the estimators on a weighted sum of kernels."""

from __future__ import annotations

from collections.abc import Iterator
from numbers import Integral, Real
from os import PathLike
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state, gen_batches

from mmfusion._progress import FitProgress
from mmfusion._sklearn_compat import CallbackSupportMixin, Interval
from mmfusion._threads import threads_of_n_jobs
from mmfusion._typing import ModalitiesLike, RandomStateLike
from mmfusion._warnings import warn_user
from mmfusion.base import SupervisedMixin
from mmfusion.mkl._kernel_input import (
    KERNEL_CONSTRAINTS,
    GammaLike,
    KernelInputMixin,
    ScalingLike,
)
from mmfusion.mkl._linear_machine import LinearMachine
from mmfusion.mkl._modality_kernels import ModalityKernels
from mmfusion.mkl._precomputed_gram import Gram
from mmfusion.mkl._sample_counts import moderate_weights
from mmfusion.mkl._stacks import weighted_features, weighted_kernel_sum
from mmfusion.mkl._support_kernels import SupportKernels, select_support
from mmfusion.mkl._svm_tasks import (
    Classification,
    Machine,
    Regression,
    Task,
)
from mmfusion.mkl._svm_weights import KernelWeighting, learn_weights
from mmfusion.modalities import Modalities

WEIGHT_ROWS = 2000  # samples that are enough for the weights of a few kernels
PREDICTION_BATCH_CELLS = 2**23
KERNEL_SUMS = 2  # further matrices in fit: the sum of kernels, and the solver's copy

TaskT = TypeVar("TaskT", Classification, Regression)

MACHINE_CONSTRAINTS: dict[str, list[Any]] = {
    **KERNEL_CONSTRAINTS,
    "regularization": [Interval(Real, 0, None, closed="neither"), None],
    "C": [Interval(Real, 0, None, closed="neither")],
    "max_iter": [Interval(Integral, 1, None, closed="left")],
    "tol": [Interval(Real, 0, None, closed="left")],
}


class KernelSumMixin(KernelInputMixin, CallbackSupportMixin):
    """Estimator on a weighted sum of kernels, with the parameters of `ModalityKernels`.

    In `fit` it makes the transformer of the kernels, and fits it once::

        frame = self._validate(X, reset=True)
        self.kernels_ = self._make_kernels(rng)
        grams = self.kernels_._fit_frame(frame)

    ``grams`` is a list with a Gram matrix of shape (n, n) per kernel, in new arrays, or
    None where ``self.kernels_.approximation_`` is not None and features are explicit:
    ``self.kernels_._compute(frame)`` returns those, of ``frame[rows]`` those of some
    samples. For new samples ``self.kernels_._compute(frame, positions)`` returns the
    kernels at some positions with the samples of `fit`, of shape (n, n_train), or
    features. ``self._set_kernel_attributes(kernels, weights)`` sets the fitted
    attributes of the kernels.
    """

    gamma: GammaLike
    degree: float
    coef0: float
    scaling: ScalingLike
    normalize: str | None
    approximation: str | int | None
    n_components: int
    landmarks: ModalitiesLike | None
    temp_folder: str | PathLike[str] | None
    n_jobs: int | None

    def _make_kernels(self, random_state: RandomStateLike) -> ModalityKernels:
        """Make the transformer of the kernels, which takes the same input."""
        kernels = ModalityKernels(
            self.kernel,
            gamma=self.gamma,
            degree=self.degree,
            coef0=self.coef0,
            scaling=self.scaling,
            center=True,
            normalize=self.normalize,
            approximation=self.approximation,
            n_components=self.n_components,
            landmarks=self.landmarks,
            temp_folder=self.temp_folder,
            modalities=self.modalities,
            n_jobs=self.n_jobs,
            random_state=random_state,
        )
        kernels._take_layout(self)
        return kernels

    def _set_kernel_attributes(
        self, kernels: ModalityKernels, weights: np.ndarray
    ) -> None:
        self.kernel_weights_ = weights
        self.modality_weights_ = np.bincount(
            kernels.kernel_modalities_,
            weights=weights,
            minlength=len(self._layout.names),
        )
        self.kernel_names_ = kernels.kernel_names_
        self.kernel_modalities_ = kernels.kernel_modalities_
        self.gamma_ = kernels.gamma_
        self.scaling_ = kernels.scaling_
        self.approximation_ = kernels.approximation_


class BaseKernelMachine(SupervisedMixin, KernelSumMixin):
    """Base of `MKLClassifier` and `MKLRegressor`: weights of kernels, then a machine.

    Exact kernels have a support vector machine, explicit features a linear one.
    Subclasses make the task of y, and implement `_fit_linear`.
    """

    algorithm: str
    regularization: float | None
    max_iter: int
    tol: float
    random_state: RandomStateLike

    _machine: Machine | LinearMachine
    _support: SupportKernels | None
    _features: ModalityKernels | None

    def _fit_linear(self, Z: np.ndarray, task: Any) -> LinearMachine:
        """Fit the linear machine of a task to explicit features."""
        raise NotImplementedError

    def _fit_task(
        self, frame: Modalities, task: TaskT, y: np.ndarray, progress: FitProgress
    ) -> tuple[np.ndarray, TaskT]:
        """Fit to checked samples, without those of weight 0.

        Weights of explicit features are learned on samples spread evenly over `y`.
        Returns the sum of kernels, or the weighted features, of the samples with
        weight, and the task of these.
        """
        self._check_regularization()
        rows = np.flatnonzero(task.weight)
        if len(rows) < 2:
            raise ValueError(
                f"{type(self).__name__} needs at least 2 samples of some weight, got "
                f"n_samples={len(rows)}"
            )
        kernels = self._make_kernels(check_random_state(self.random_state))
        if len(rows) < len(y):
            task, y = task.subset(rows), y[rows]
        weights = moderate_weights(task.weight) if (task.weight != 1).any() else None
        with progress.timed("kernels"):
            grams = kernels._fit_rows(frame, rows, weights, n_sums=KERNEL_SUMS)
        is_exact, task_of_weights = grams is not None, task
        if grams is None:
            frame = frame[rows]
            # evenly spaced in the order of y, so that each class has its share
            positions = np.linspace(0, len(rows) - 1, min(len(rows), WEIGHT_ROWS))
            drawn = np.argsort(y, kind="stable")[positions.astype(int)]
            grams = [Z @ Z.T for Z in kernels._compute(frame[drawn])]
            task_of_weights = task.subset(drawn)
        found = learn_weights(
            grams,
            task_of_weights,
            self.algorithm,
            regularization=self.regularization,
            tol=self.tol,
            max_iter=self.max_iter,
            on_step=lambda objective: progress.step(f"objective {objective:.6g}"),
        )
        self._set_weights(kernels, found, is_stopped=progress.is_stopped)
        with progress.timed("machine"):
            if is_exact:
                return self._fit_support(grams, kernels, task, rows, found), task
            return self._fit_features(frame, kernels, task), task

    def _progress(self, X: ModalitiesLike, y: ArrayLike) -> FitProgress:
        """Begin the fit, whose steps are kernels, weights and the machine."""
        return FitProgress(self, X, y, self.max_iter + 2)

    def _check_regularization(self) -> None:
        """Check the parameter of the algorithm; constraints know its sign only."""
        value = self.regularization
        if value is None:
            return
        if self.algorithm == "lp" and value < 1:
            raise ValueError(
                f"regularization={value} is the p of the norm of algorithm='lp'; it "
                "must be at least 1"
            )
        if self.algorithm == "easymkl" and value >= 1:
            raise ValueError(
                f"regularization={value} of algorithm='easymkl' must be less than 1"
            )

    def _set_weights(
        self, kernels: ModalityKernels, found: KernelWeighting, *, is_stopped: bool
    ) -> None:
        self._set_kernel_attributes(kernels, found.weights)
        self.objective_path_ = found.objective_path
        self.gap_ = found.gap
        self.n_iter_ = max(1, len(found.objective_path))
        if not (found.converged or is_stopped):
            warn_user(
                f"the duality gap is {found.gap:.2g} of the objective after "
                f"{self.n_iter_} steps (tol={self.tol}, max_iter={self.max_iter}); "
                "increase max_iter or tol",
                ConvergenceWarning,
            )

    def _fit_support(
        self,
        grams: list[Gram],
        kernels: ModalityKernels,
        task: Task,
        rows: np.ndarray,
        found: KernelWeighting,
    ) -> np.ndarray:
        """Fit the support vector machine to the sum of exact kernels; return the sum.

        The list of the kernels is emptied.
        """
        K, machine = found.kernel, found.machine
        if K is None:
            K = weighted_kernel_sum(grams, self.kernel_weights_)
        grams.clear()  # frees their memory, or their files, before the machine
        if machine is None or K is not found.kernel:
            machine = task.fit(K, None if machine is None else machine.duals)
        self._machine = machine
        self.support_ = rows[machine.support]
        self._features = None
        self._support = select_support(kernels, machine.support, self.kernel_weights_)
        return K

    def _fit_features(
        self, frame: Modalities, kernels: ModalityKernels, task: Task
    ) -> np.ndarray:
        """Fit the linear machine to the weighted features of all samples."""
        self._features = kernels
        self._support = None
        self.support_ = None
        batches = [self._compute_features(frame[r]) for r in self._batches(frame)]
        Z = np.concatenate(batches)
        self._machine = self._fit_linear(Z, task)
        return Z

    def _compute_features(self, frame: Modalities) -> np.ndarray:
        assert self._features is not None
        # features of kernels of weight 0 would all be 0
        used = np.flatnonzero(self.kernel_weights_)
        features = self._features._compute(frame, used.tolist())
        return weighted_features(features, self.kernel_weights_[used])

    def _batches(self, frame: Modalities) -> Iterator[slice]:
        # of one kernel
        kernels = self._features
        width = len(self.support_) if kernels is None else max(kernels._widths)
        return gen_batches(len(frame), max(1, PREDICTION_BATCH_CELLS // max(width, 1)))

    @threads_of_n_jobs
    def _decide(self, X: ModalitiesLike) -> np.ndarray:
        """Compute decision values, of shape (n_samples, n_outputs)."""
        frame = self._validate(X, reset=False)
        support = self._support
        compute = self._compute_features if support is None else support.compute
        return np.concatenate(
            [self._machine.decide(compute(frame[r])) for r in self._batches(frame)]
        )
