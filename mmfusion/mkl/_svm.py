"""Classification and regression by a weighted sum of kernels."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from numbers import Integral, Real
from os import PathLike
from typing import Any, Self

import numpy as np
from scipy import sparse
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.utils import (
    check_random_state,
    compute_sample_weight,
    gen_batches,
)
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import check_classification_targets

from mmfusion._scaling import fit_scaling
from mmfusion._sklearn_compat import (
    Interval,
    StrOptions,
    fit_context,
)
from mmfusion._validation import check_target, validate_sample_weight
from mmfusion.base import SupervisedMixin
from mmfusion.mkl._kernel_machine import (
    SupportKernels,
    combine_features,
    keep_support,
)
from mmfusion.mkl._kernels import moderate_weights
from mmfusion.mkl._linear_machine import LinearMachine, fit_linear_machine
from mmfusion.mkl._modality_kernels import (
    KERNEL_CONSTRAINTS,
    KernelInputMixin,
    ModalityKernels,
)
from mmfusion.mkl._stacks import weighted_sum
from mmfusion.mkl._svm_weights import (
    CLASSIFIER_ALGORITHMS,
    HARD,
    REGRESSOR_ALGORITHMS,
    Classification,
    Machine,
    Regression,
    Task,
    weigh,
)
from mmfusion.modalities import Modalities

WEIGHING_ROWS = 2000  # a handful of weights needs no more
CHUNK_CELLS = 2**23
FOLDS = 5
TINY = float(np.finfo(np.float64).tiny)
HUGE = 1e30  # beyond any error of values whose deviation is about 1
SUMS = 2  # of kernels, and what the machine makes of it

MACHINE_CONSTRAINTS: dict[str, list[Any]] = {
    **KERNEL_CONSTRAINTS,
    "p": [Interval(Real, 1, None, closed="left")],
    "C": [Interval(Real, 0, None, closed="neither")],
    "max_iter": [Interval(Integral, 1, None, closed="left")],
    "tol": [Interval(Real, 0, None, closed="left")],
    "warm_start": ["boolean"],
}


class _KernelSumMachine(SupervisedMixin, KernelInputMixin):
    """Learns the weights of kernels, and a machine on their sum."""

    algorithm: str
    p: float
    C: float
    max_iter: int
    tol: float
    warm_start: bool
    normalize: str | None
    random_state: Any

    _decider: Machine | LinearMachine
    _support: SupportKernels | None
    _features: ModalityKernels | None

    def _fit_linear(self, Z: np.ndarray, task: Any) -> LinearMachine:
        raise NotImplementedError

    def _penalty_of_weights(self) -> float:
        """What 'easymkl' takes; it is for classes only."""
        return 0.0

    def _fit_calibration(self, table: np.ndarray, task: Any) -> None:
        """Learn more from the sum of the kernels, or from the combined features."""

    def _fit_task(self, frame: Modalities, task: Task, y: np.ndarray) -> Self:
        rows = np.flatnonzero(task.weight)
        if len(rows) < 2:
            raise ValueError(
                f"{type(self).__name__} needs at least 2 samples of some weight, got "
                f"n_samples={len(rows)}"
            )
        start = self._last_weights()
        rng = check_random_state(self.random_state)
        kernels = self._make_kernels(rng, center=True, normalize=self.normalize)
        task, y = task.of(rows), y[rows]
        weights = moderate_weights(task.weight) if (task.weight != 1).any() else None
        tables = kernels._fit_rows(frame, rows, weights, n_sums=SUMS)
        if tables is None:
            frame = frame[rows]
            # evenly spaced in the order of y: of every class its share
            places = np.linspace(0, len(rows) - 1, min(len(rows), WEIGHING_ROWS))
            drawn = np.argsort(y, kind="stable")[places.astype(int)]
            features = kernels._tables(frame[drawn])
            self._weigh([Z @ Z.T for Z in features], task.of(drawn), kernels, start)
            self._fit_features(frame, kernels, task)
        else:
            self._weigh(tables, task, kernels, start)
            K = weighted_sum(tables, self.kernel_weights_)
            del tables
            self._fit_kernel(K, kernels, task, rows)
        return self

    def _last_weights(self) -> np.ndarray | None:
        return getattr(self, "kernel_weights_", None) if self.warm_start else None

    def _weigh(
        self,
        tables: Sequence[np.ndarray],
        task: Task,
        kernels: ModalityKernels,
        start: np.ndarray | None,
    ) -> None:
        if start is not None and len(start) != len(tables):
            start = None
        found = weigh(
            tables,
            task,
            self.algorithm,
            p=self.p,
            regularization=self._penalty_of_weights(),
            tol=self.tol,
            max_iter=self.max_iter,
            start=start,
        )
        self._tell_kernels(kernels, found.weights)
        self.objective_path_ = found.objective_path
        self.gap_ = found.gap
        self.n_iter_ = max(1, len(found.objective_path))
        if not found.converged:
            warnings.warn(
                f"the duality gap is {found.gap:.2g} of the objective after "
                f"{self.n_iter_} steps (tol={self.tol}, max_iter={self.max_iter}); "
                "increase max_iter or tol",
                ConvergenceWarning,
                stacklevel=4,
            )

    def _fit_kernel(
        self, K: np.ndarray, kernels: ModalityKernels, task: Task, rows: np.ndarray
    ) -> None:
        self._decider = machine = task.fit(K)
        self.support_ = rows[machine.support]
        self._features = None
        self._support = keep_support(kernels, machine.support, self.kernel_weights_)
        self._fit_calibration(K, task)

    def _fit_features(
        self, frame: Modalities, kernels: ModalityKernels, task: Task
    ) -> None:
        self._features = kernels
        self._support = None
        self.support_ = None
        Z = np.concatenate([self._combined(frame[r]) for r in self._chunks(frame)])
        self._decider = self._fit_linear(Z, task)
        self._fit_calibration(Z, task)

    def _combined(self, frame: Modalities) -> np.ndarray:
        """Weighed features of some samples."""
        assert self._features is not None
        used = np.flatnonzero(self.kernel_weights_)
        tables = self._features._tables(frame, used.tolist())
        return combine_features(tables, self.kernel_weights_[used])

    def _chunks(self, frame: Modalities) -> Any:
        width = self.n_components if self._support is None else len(self.support_)
        return gen_batches(len(frame), max(1, CHUNK_CELLS // max(width, 1)))

    def _decide(self, X: Any) -> np.ndarray:
        """Values of samples, of shape (n_samples, n_outputs)."""
        frame = self._validate(X, reset=False)
        table = self._combined if self._support is None else self._support.table
        parts = [self._decider.decide(table(frame[r])) for r in self._chunks(frame)]
        return np.concatenate(parts)


class MKLClassifier(_KernelSumMachine, ClassifierMixin, BaseEstimator):
    """Classify by a support vector machine on a weighted sum of kernels.

    Every modality has a kernel, or several; their weights are learned from the
    classes. Samples may lack modalities.

    Parameters
    ----------
    kernel : {'rbf', 'linear', 'poly', 'cosine', 'laplacian', 'chi2', 'precomputed'}, \
callable, list or dict, default='rbf'
        The kernel of all modalities, a list of several for each, or any of these by
        modality name; see `ModalityKernels`.
    gamma : float, array-like of float or dict, default=None
        Of 'rbf', 'poly', 'laplacian' and 'chi2', or by modality name; a list makes one
        kernel with each value. None is by the median rule.
    degree : float, default=3
        Of 'poly'.
    coef0 : float, default=1
        Of 'poly'.
    scaling : {'auto', 'block', 'standard', 'l2'} or None or dict, default='auto'
        How the features of a modality are scaled first; see `EarlyFusion`.
    normalize : {'trace', 'cosine'} or None, default='trace'
        How kernels, once centred, are brought to one size. 'trace': the variance of
        the samples is 1 in each. 'cosine': every sample has length 1.
    algorithm : {'alignment', 'average', 'easymkl', 'l1', 'lp'}, default='alignment'
        How the weights are learned; see Notes on the choice.

        - 'alignment': the sum is brought as near as can be to the kernel of classes,
          by non-negative least squares [1]_. No machine is fitted for it;
        - 'average': equal weights, which are hard to beat where every modality tells
          something;
        - 'easymkl': by the margin between two points of the classes, found with the
          sum of all kernels [2]_. All kernels get some;
        - 'l1': weights that minimise the objective of the machine [3]_; few kernels
          get any. But one of noise in many features, which fits every sample of `fit`
          by itself, can get the most;
        - 'lp': the same, with a bound on the p-norm of the weights in place of the
          sum [4]_: all kernels that tell something get some.
    p : float, default=2.0
        Of 'lp': at 1 it is 'l1', and the larger it is, the more equal weights are.
    regularization : float, default=0.1
        Of 'easymkl': near 0 the points are those of the hulls of the classes that are
        nearest to each other, near 1 they are the means.
    C : float, default=1.0
        Cost of an error of training, in units of kernels whose variance is 1.
    class_weight : dict or 'balanced', default=None
        Weights of classes, which multiply C; 'balanced' makes classes weigh alike.
    probability : bool, default=False
        Whether `predict_proba` is there: a logistic regression on decision values of
        held-out samples, by 5-fold cross-validation with the weights of kernels as
        they are, so that `fit` takes up to five times as long. With `class_weight`
        they are those of classes that are weighted so.
    approximation : {'auto', 'nystroem', 'fourier'} or None, default='auto'
        None takes exact kernels, 'nystroem' and 'fourier' explicit features with a
        linear machine; 'auto' is None up to `max_exact_samples` and for precomputed
        kernels, 'nystroem' beyond.
    max_exact_samples : int, default=5000
        Maximum number of samples of `fit` for which 'auto' takes exact kernels.
    n_components : int, default=128
        Maximum number of explicit features of a kernel.
    temp_folder : str or path-like, default=None
        Folder, which must exist, for the exact kernels of `fit`: they are memory-mapped
        files without a name for as long as it takes, and memory holds their sum. None
        keeps all in memory.
    max_iter : int, default=200
        Maximum number of steps of 'l1' and 'lp'.
    tol : float, default=1e-3
        'l1' and 'lp' stop when the duality gap is at most this share of the objective.
        Where C is large and classes overlap, most of it is errors that no weights
        avoid: lower `tol` if weights stay equal.
    warm_start : bool, default=False
        Whether 'l1' and 'lp' start from the weights of the last `fit`, as along a path
        of C.
    modalities : int, list of int, str or dict, default=None
        Column spec that splits a plain 2-D X; None takes it as one modality. See
        :meth:`Modalities.from_table`.
    n_jobs : int, default=None
        Kernels that are made at a time, in threads. None is 1 unless in a joblib
        context, -1 all processors.
    random_state : int, RandomState instance or None, default=None
        For landmarks and random features.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Labels.
    kernel_weights_ : ndarray of float64 of shape (n_kernels,)
        Weight of each kernel in the sum; they add up to 1, but for 'lp'.
    modality_weights_ : ndarray of float64 of shape (n_modalities,)
        The same, summed over the kernels of each modality.
    kernel_names_ : ndarray of str of shape (n_kernels,)
        The modality; ``<modality>-<k>`` where it has several kernels.
    kernel_modalities_ : ndarray of int of shape (n_kernels,)
        Position of the modality of each kernel.
    gamma_ : ndarray of float64 of shape (n_kernels,)
        Of each kernel; NaN where it has none.
    scales_ : dict of str to str
        The scaling of each modality; 'auto' is resolved.
    approximation_ : {'nystroem', 'fourier'} or None
        What was taken; 'auto' is resolved.
    support_ : ndarray of int of shape (n_support,) or None
        Samples of `fit` that new ones are compared to; None with explicit features.
    objective_path_ : ndarray of float64 of shape (n_steps,)
        'l1' and 'lp': the objective of the machine after each step; 'alignment': the
        cosine of the sum with the target; 'easymkl': the
        value of its programme; empty for 'average'.
    gap_ : float
        'l1' and 'lp': how far the objective is at most above the least one, as a
        share of it; else NaN.
    n_iter_ : int
        Steps that were taken; 1 where weights need no steps.
    n_modalities_in_ : int
        Number of modalities seen in `fit`.
    modality_names_in_ : ndarray of str of shape (n_modalities,)
        Their names.
    n_features_per_modality_in_ : ndarray of int of shape (n_modalities,)
        Their numbers of features.
    n_features_in_ : int
        Number of features in all.
    feature_names_in_ : ndarray of str of shape (`n_features_in_`,)
        Names ``<modality>__<feature>``, if the input had names.

    Raises
    ------
    ValueError
        If a precomputed kernel is not square or not symmetric in `fit`, a sample lacks
        every modality, there are less than two classes, or a class weighs nothing.

    Warns
    -----
    ConvergenceWarning
        If the gap is above `tol` after `max_iter` steps.
    UserWarning
        If a precomputed kernel, or that of a callable, is not positive semi-definite.

    See Also
    --------
    MKLRegressor : The same for values.
    MKLClusterer : Weighs kernels without labels.
    ModalityKernels : Makes the kernels.
    EarlyFusionClassifier : Concatenates features; with an SVC it is MKL with equal
        weights, for linear kernels.

    Notes
    -----
    *Which algorithm.* They seldom differ by more than a hundredth in accuracy, from
    each other and from 'average'. 'alignment' is the default because it costs less
    than a machine, has nothing to tune or to converge, and gives a modality of pure
    noise a weight near 0. For that it differs from [1]_: pairs of a sample with itself
    do not count, and three standard deviations of what alignment is by chance are taken
    off.

    *C* means the same for every algorithm and number of kernels: equal weights are
    ``1 / n_kernels`` always. For 'lp' the mean of the p-th powers of the weights is
    that of equal ones.

    *Missing modalities.* A sample that lacks a modality lies at its mean; what it has
    is stretched by the root of ``n_modalities / (number of modalities it has)``. See
    `ModalityKernels`.

    *Several classes* are told apart in pairs, as by scikit-learn's SVC, with one set of
    weights for all. With exact kernels `decision_function` and `predict` are those of
    ``SVC(kernel='precomputed', break_ties=True)`` on the sum of the kernels.

    *Explicit features.* Weights are learned on 2000 samples, spread evenly over
    classes, as if these were all; then a linear machine is fitted to all. It
    squares errors, and tells each class from the rest.
    Nothing of n_samples x n_samples is made.

    *New samples* are compared to support vectors only, by kernels whose weight is not
    0. (To all samples of `fit`, where some lacked modalities, or
    ``normalize='cosine'``.)

    *Sample weights* multiply C, and count in the means, sizes and bandwidths of
    kernels: one of 2 is a sample that is there twice, one of 0 a sample left out.

    References
    ----------
    .. [1] C. Cortes, M. Mohri, A. Rostamizadeh (2012), Algorithms for learning kernels
       based on centered alignment. JMLR 13, 795-828.
    .. [2] F. Aiolli, M. Donini (2015), EasyMKL: a scalable multiple kernel learning
       algorithm. Neurocomputing 169, 215-224.
    .. [3] A. Rakotomamonjy, F. Bach, S. Canu, Y. Grandvalet (2008), SimpleMKL. JMLR 9,
       2491-2521; with the steps of O. Chapelle, A. Rakotomamonjy (2008), Second order
       optimization of kernel parameters. NIPS workshop on kernel learning.
    .. [4] M. Kloft, U. Brefeld, S. Sonnenburg, A. Zien (2011), lp-norm multiple kernel
       learning. JMLR 12, 953-997.

    Examples
    --------
    >>> import numpy as np
    >>> from mmfusion.datasets import make_multimodal_blobs
    >>> from mmfusion.mkl import MKLClassifier
    >>> X, y = make_multimodal_blobs(
    ...     n_features={"audio": 5, "video": 5}, missing_rate=0.1, random_state=0
    ... )
    >>> noise = np.random.default_rng(0).normal(size=(100, 5))
    >>> X = {**X.to_dict(), "noise": noise}
    >>> classifier = MKLClassifier().fit(X, y)
    >>> classifier.modality_weights_.round(1)
    array([0.3, 0.7, 0. ])
    """

    _parameter_constraints: dict = {
        **MACHINE_CONSTRAINTS,
        "algorithm": [StrOptions(set(CLASSIFIER_ALGORITHMS))],
        "regularization": [Interval(Real, 0, 1, closed="neither")],
        "class_weight": [StrOptions({"balanced"}), dict, None],
        "probability": ["boolean"],
    }

    def __init__(
        self,
        kernel: Any = "rbf",
        *,
        gamma: float | Sequence[float] | Mapping[str, Any] | None = None,
        degree: float = 3,
        coef0: float = 1,
        scaling: Any = "auto",
        normalize: str | None = "trace",
        algorithm: str = "alignment",
        p: float = 2.0,
        regularization: float = 0.1,
        C: float = 1.0,
        class_weight: Any = None,
        probability: bool = False,
        approximation: str | None = "auto",
        max_exact_samples: int = 5000,
        n_components: int = 128,
        temp_folder: str | PathLike[str] | None = None,
        max_iter: int = 200,
        tol: float = 1e-3,
        warm_start: bool = False,
        modalities: Any = None,
        n_jobs: int | None = None,
        random_state: Any = None,
    ) -> None:
        self.kernel = kernel
        self.gamma = gamma
        self.degree = degree
        self.coef0 = coef0
        self.scaling = scaling
        self.normalize = normalize
        self.algorithm = algorithm
        self.p = p
        self.regularization = regularization
        self.C = C
        self.class_weight = class_weight
        self.probability = probability
        self.approximation = approximation
        self.max_exact_samples = max_exact_samples
        self.n_components = n_components
        self.temp_folder = temp_folder
        self.max_iter = max_iter
        self.tol = tol
        self.warm_start = warm_start
        self.modalities = modalities
        self.n_jobs = n_jobs
        self.random_state = random_state

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Make the kernels, learn their weights and the machine on their sum.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The data; see the user guide on input.
        y : array-like of shape (n_samples,)
            Labels.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the samples, which multiply C. None weighs them alike.

        Returns
        -------
        self
            The fitted classifier.
        """
        frame = self._validate(X, reset=True)
        y = check_target(self, frame, y)
        check_classification_targets(y)
        weight = validate_sample_weight(sample_weight, frame).astype(np.float64)
        if sparse.issparse(self.class_weight):  # some of which are dicts
            raise TypeError("class_weight is a sparse matrix; give a dict by class")
        of_classes = compute_sample_weight(self.class_weight, y)
        if (of_classes < 0).any():
            raise ValueError(f"class_weight={self.class_weight} has a negative weight")
        weight = weight * of_classes
        self.classes_, codes = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(
                f"{type(self).__name__} needs samples of at least 2 classes, but y "
                f"holds one class only, {self.classes_[0]}"
            )
        counted = np.bincount(codes, weights=weight) > 0
        if not counted.all():
            raise ValueError(
                f"every sample of class {self.classes_[~counted][0]} has weight 0; "
                "leave them out, or give some of them a weight"
            )
        return self._fit_task(frame, Classification(codes, self.C, weight), codes)

    def decision_function(self, X: Any) -> np.ndarray:
        """Tell how much speaks for each class.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The data.

        Returns
        -------
        ndarray of float64 of shape (n_samples, n_classes), or (n_samples,)
            The larger the likelier; for two classes the signed distance to the
            boundary, positive for the second.
        """
        values = self._decide(X)
        return values[:, 0] if len(self.classes_) == 2 else values

    def predict(self, X: Any) -> np.ndarray:
        """Classify samples.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The data.

        Returns
        -------
        ndarray of shape (n_samples,)
            Labels.
        """
        values = self._decide(X)
        if len(self.classes_) == 2:
            return self.classes_[(values[:, 0] > 0).astype(int)]
        return self.classes_[values.argmax(axis=1)]

    @available_if(lambda self: _has_probability(self))
    def predict_proba(self, X: Any) -> np.ndarray:
        """Tell the probability of each class; only with ``probability=True``.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The data.

        Returns
        -------
        ndarray of float64 of shape (n_samples, n_classes)
            Probabilities. The likeliest class may not be that of `predict`.
        """
        values = self._decide(X)  # first: it tells whether this is fitted
        if self._calibration is None:
            raise NotFittedError(
                f"this {type(self).__name__} was fitted with probability=False; call "
                "fit again"
            )
        return self._calibration.predict_proba(values)

    def _penalty_of_weights(self) -> float:
        return self.regularization

    def _fit_linear(self, Z: np.ndarray, task: Classification) -> LinearMachine:
        codes = np.unique(task.codes)
        codes = codes[1:] if len(codes) == 2 else codes
        signs = np.where(task.codes[:, None] == codes, 1.0, -1.0)
        return fit_linear_machine(Z, signs, min(task.C, HARD) * task.weight)

    def _fit_calibration(self, table: np.ndarray, task: Classification) -> None:
        self._calibration = None
        if not self.probability:
            return
        fewest = int(np.bincount(task.codes).min())
        if fewest < 2:
            raise ValueError(
                "probability=True holds samples of every class out; a class has one "
                "sample only"
            )
        folds = StratifiedKFold(min(FOLDS, fewest))
        held_out = np.empty((len(table), self._n_outputs))
        for train, test in folds.split(table, task.codes):
            part = task.of(train)
            if self._support is None:
                decider: Any = self._fit_linear(table[train], part)
                held_out[test] = decider.decide(table[test])
                continue
            machine = part.fit(table[np.ix_(train, train)])
            values = table[np.ix_(test, train[machine.support])]
            held_out[test] = machine.decide(values)
        # small weights are no reason to shrink probabilities towards each other
        weight = task.weight / min(1.0, task.weight.mean())
        self._calibration = LogisticRegression(max_iter=1000).fit(
            held_out, task.codes, sample_weight=weight
        )

    @property
    def _n_outputs(self) -> int:
        n_classes = len(self.classes_)
        return 1 if n_classes == 2 else n_classes


def _has_probability(classifier: Any) -> bool:
    if not classifier.probability:
        raise AttributeError("predict_proba is there with probability=True only")
    return True


class MKLRegressor(_KernelSumMachine, RegressorMixin, BaseEstimator):
    """Regress by a support vector machine on a weighted sum of kernels.

    Every modality has a kernel, or several; their weights are learned from the values.
    Samples may lack modalities.

    Parameters
    ----------
    kernel : {'rbf', 'linear', 'poly', 'cosine', 'laplacian', 'chi2', 'precomputed'}, \
callable, list or dict, default='rbf'
        The kernel of all modalities, a list of several for each, or any of these by
        modality name; see `ModalityKernels`.
    gamma : float, array-like of float or dict, default=None
        Of 'rbf', 'poly', 'laplacian' and 'chi2', or by modality name; a list makes one
        kernel with each value. None is by the median rule.
    degree : float, default=3
        Of 'poly'.
    coef0 : float, default=1
        Of 'poly'.
    scaling : {'auto', 'block', 'standard', 'l2'} or None or dict, default='auto'
        How the features of a modality are scaled first; see `EarlyFusion`.
    normalize : {'trace', 'cosine'} or None, default='trace'
        How kernels, once centred, are brought to one size. 'trace': the variance of
        the samples is 1 in each. 'cosine': every sample has length 1.
    algorithm : {'alignment', 'average', 'l1', 'lp'}, default='alignment'
        How the weights are learned; see Notes on the choice.

        - 'alignment': the sum is brought as near as can be to the kernel of the values,
          by non-negative least squares [1]_. No machine is fitted for it;
        - 'average': equal weights, which are hard to beat where every modality tells
          something;
        - 'l1': weights that minimise the objective of the machine [2]_; few kernels
          get any. But one of noise in many features, which fits every sample of `fit`
          by itself, can get the most;
        - 'lp': the same, with a bound on the p-norm of the weights in place of the
          sum [3]_: all kernels that tell something get some.
    p : float, default=2.0
        Of 'lp': at 1 it is 'l1', and the larger it is, the more equal weights are.
    C : float, default=1.0
        Cost of an error of training, in units of kernels whose variance is 1. What it
        does depends on the units of y: give y of variance 1, or let
        :class:`sklearn.compose.TransformedTargetRegressor` scale it.
    epsilon : float, default=0.1
        Errors up to it cost nothing, in units of y.
    approximation : {'auto', 'nystroem', 'fourier'} or None, default='auto'
        None takes exact kernels, 'nystroem' and 'fourier' explicit features with a
        linear machine; 'auto' is None up to `max_exact_samples` and for precomputed
        kernels, 'nystroem' beyond.
    max_exact_samples : int, default=5000
        Maximum number of samples of `fit` for which 'auto' takes exact kernels.
    n_components : int, default=128
        Maximum number of explicit features of a kernel.
    temp_folder : str or path-like, default=None
        Folder, which must exist, for the exact kernels of `fit`: they are memory-mapped
        files without a name for as long as it takes, and memory holds their sum. None
        keeps all in memory.
    max_iter : int, default=200
        Maximum number of steps of 'l1' and 'lp'.
    tol : float, default=1e-3
        'l1' and 'lp' stop when the duality gap is at most this share of the objective.
        Where C is large and values are noisy, most of it is errors that no weights
        avoid: lower `tol` if weights stay equal.
    warm_start : bool, default=False
        Whether 'l1' and 'lp' start from the weights of the last `fit`, as along a path
        of C.
    modalities : int, list of int, str or dict, default=None
        Column spec that splits a plain 2-D X; None takes it as one modality. See
        :meth:`Modalities.from_table`.
    n_jobs : int, default=None
        Kernels that are made at a time, in threads. None is 1 unless in a joblib
        context, -1 all processors.
    random_state : int, RandomState instance or None, default=None
        For landmarks and random features.

    Attributes
    ----------
    kernel_weights_ : ndarray of float64 of shape (n_kernels,)
        Weight of each kernel in the sum; they add up to 1, but for 'lp'.
    modality_weights_ : ndarray of float64 of shape (n_modalities,)
        The same, summed over the kernels of each modality.
    kernel_names_ : ndarray of str of shape (n_kernels,)
        The modality; ``<modality>-<k>`` where it has several kernels.
    kernel_modalities_ : ndarray of int of shape (n_kernels,)
        Position of the modality of each kernel.
    gamma_ : ndarray of float64 of shape (n_kernels,)
        Of each kernel; NaN where it has none.
    scales_ : dict of str to str
        The scaling of each modality; 'auto' is resolved.
    approximation_ : {'nystroem', 'fourier'} or None
        What was taken; 'auto' is resolved.
    support_ : ndarray of int of shape (n_support,) or None
        Samples of `fit` that new ones are compared to; None with explicit features.
    objective_path_ : ndarray of float64 of shape (n_steps,)
        'l1' and 'lp': the objective of the machine after each step; 'alignment': the
        cosine of the sum with the target; empty for 'average'.
    gap_ : float
        'l1' and 'lp': how far the objective is at most above the least one, as a
        share of it; else NaN.
    n_iter_ : int
        Steps that were taken; 1 where weights need no steps.
    n_modalities_in_ : int
        Number of modalities seen in `fit`.
    modality_names_in_ : ndarray of str of shape (n_modalities,)
        Their names.
    n_features_per_modality_in_ : ndarray of int of shape (n_modalities,)
        Their numbers of features.
    n_features_in_ : int
        Number of features in all.
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
        or `epsilon` is so large that a constant is all that is predicted.

    See Also
    --------
    MKLClassifier : The same for classes.
    MKLClusterer : Weighs kernels without labels.
    ModalityKernels : Makes the kernels.
    EarlyFusionRegressor : Concatenates features; with an SVR it is MKL with equal
        weights, for linear kernels.

    Notes
    -----
    *Which algorithm.* They seldom differ by more than a hundredth in the score, from
    each other and from 'average'. 'alignment' is the default because it costs less
    than a machine, has nothing to tune or to converge, and gives a modality of pure
    noise a weight near 0. For that it differs from [1]_: pairs of a sample with itself
    do not count, and three standard deviations of what alignment is by chance are taken
    off.

    *C* means the same for every algorithm and number of kernels: equal weights are
    ``1 / n_kernels`` always. For 'lp' the mean of the p-th powers of the weights is
    that of equal ones.

    *Missing modalities.* A sample that lacks a modality lies at its mean; what it has
    is stretched by the root of ``n_modalities / (number of modalities it has)``. See
    `ModalityKernels`.

    *Explicit features.* Weights are learned on 2000 samples, spread evenly over
    the values of y, as if these were all; then a linear machine is fitted to all. It
    squares errors.
    Nothing of n_samples x n_samples is made.

    *New samples* are compared to support vectors only, by kernels whose weight is not
    0. (To all samples of `fit`, where some lacked modalities, or
    ``normalize='cosine'``.)

    *Sample weights* multiply C, and count in the means, sizes and bandwidths of
    kernels: one of 2 is a sample that is there twice, one of 0 a sample left out.

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
        kernel: Any = "rbf",
        *,
        gamma: float | Sequence[float] | Mapping[str, Any] | None = None,
        degree: float = 3,
        coef0: float = 1,
        scaling: Any = "auto",
        normalize: str | None = "trace",
        algorithm: str = "alignment",
        p: float = 2.0,
        C: float = 1.0,
        epsilon: float = 0.1,
        approximation: str | None = "auto",
        max_exact_samples: int = 5000,
        n_components: int = 128,
        temp_folder: str | PathLike[str] | None = None,
        max_iter: int = 200,
        tol: float = 1e-3,
        warm_start: bool = False,
        modalities: Any = None,
        n_jobs: int | None = None,
        random_state: Any = None,
    ) -> None:
        self.kernel = kernel
        self.gamma = gamma
        self.degree = degree
        self.coef0 = coef0
        self.scaling = scaling
        self.normalize = normalize
        self.algorithm = algorithm
        self.p = p
        self.C = C
        self.epsilon = epsilon
        self.approximation = approximation
        self.max_exact_samples = max_exact_samples
        self.n_components = n_components
        self.temp_folder = temp_folder
        self.max_iter = max_iter
        self.tol = tol
        self.warm_start = warm_start
        self.modalities = modalities
        self.n_jobs = n_jobs
        self.random_state = random_state

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Make the kernels, learn their weights and the machine on their sum.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The data; see the user guide on input.
        y : array-like of shape (n_samples,)
            Values.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the samples, which multiply C. None weighs them alike.

        Returns
        -------
        self
            The fitted regressor.
        """
        frame = self._validate(X, reset=True)
        y = check_target(self, frame, y, y_numeric=True).astype(np.float64)
        weight = validate_sample_weight(sample_weight, frame).astype(np.float64)
        self._center, self._unit = _center_and_unit(y, weight)
        # the solver stops by a tolerance that has the unit of y
        cost = np.clip(self.C / self._unit, TINY, max(self.C, HARD))
        values = y / self._unit - self._center / self._unit
        epsilon = min(self.epsilon / self._unit, HUGE)
        task = Regression(values, float(cost), weight, epsilon)
        self._fit_task(frame, task, values)
        if self.algorithm in ("l1", "lp"):
            with np.errstate(over="ignore"):
                self.objective_path_ = self.objective_path_ * self._unit * self._unit
            if not np.isfinite(self.objective_path_).all():
                raise ValueError(
                    "y is so large that the objective overflows; divide it, as "
                    "TransformedTargetRegressor does"
                )
        if self.support_ is not None and len(self.support_) == 0:
            warnings.warn(
                f"all values lie within epsilon={self.epsilon} of a constant, which is "
                "all that is predicted; give a smaller epsilon, or larger values",
                UserWarning,
                stacklevel=2,
            )
        return self

    def predict(self, X: Any) -> np.ndarray:
        """Predict the values of samples.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The data.

        Returns
        -------
        ndarray of float64 of shape (n_samples,)
            Values.
        """
        return self._decide(X)[:, 0] * self._unit + self._center

    def _fit_linear(self, Z: np.ndarray, task: Regression) -> LinearMachine:
        # the cost of squared errors has no unit
        costs = min(self.C, HARD) * task.weight
        return fit_linear_machine(Z, task.y[:, None], costs, task.epsilon)


def _center_and_unit(y: np.ndarray, weight: np.ndarray) -> tuple[float, float]:
    """Mean of the values, and the power of two below their standard deviation."""
    scaling = fit_scaling(y[:, None], "standard", weight)
    spread = float(scaling.spread[0])
    unit = np.exp2(np.floor(np.log2(spread))) if np.isfinite(spread) else 1.0
    return float(scaling.center[0]), float(unit)
