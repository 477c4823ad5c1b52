"""Classification by a support vector machine on a weighted sum of kernels."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from scipy import sparse
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.utils import compute_sample_weight
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import check_classification_targets

from mmfusion._sklearn_compat import StrOptions, fit_context
from mmfusion._target_checks import (
    check_target,
    validate_sample_weight,
)
from mmfusion._threads import threads_of_n_jobs
from mmfusion._typing import ColumnSpecLike, ModalitiesLike, RandomStateLike
from mmfusion.mkl._base import MACHINE_CONSTRAINTS, BaseKernelMachine
from mmfusion.mkl._kernel_input import GammaLike, KernelLike, ScalingLike
from mmfusion.mkl._linear_machine import LinearMachine, fit_linear_machine
from mmfusion.mkl._svm_tasks import HARD_MARGIN_COST, Classification
from mmfusion.mkl._svm_weights import CLASSIFIER_ALGORITHMS

CALIBRATION_FOLDS = 5


class MKLClassifier(BaseKernelMachine, ClassifierMixin, BaseEstimator):
    """Classify by a support vector machine on a weighted sum of kernels.

    Every modality has a kernel, or several. The decision value of a sample is
    ``f(x) = sum_i alpha_i y_i sum_p w_p K_p(x, x_i) + b`` with the weights w of the
    kernels and, for two classes y of -1 and 1, the solution of
    ``J(w) = max 1'alpha - sum_p w_p alpha'Y K_p Y alpha / 2`` over
    ``0 <= alpha_i <= C v_i``, ``y'alpha = 0``, where v are sample weights. The weights
    of the kernels minimise J(w) ('l1', 'lp'), or are found without a machine: by
    default they maximise the cosine of ``sum_p w_p K_p`` with the kernel of the
    classes. Samples may lack modalities.

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
    algorithm : {'alignment', 'average', 'easymkl', 'l1', 'lp'}, default='alignment'
        Algorithm of the weights; see Notes on the choice.

        - 'alignment': maximise the cosine of the sum with the kernel of the classes, by
          non-negative least squares [1]_. No machine is fitted for it;
        - 'average': equal weights, which are hard to beat where every modality is
          informative;
        - 'easymkl': weights proportional to the margin between two points of the
          classes' hulls, found with the sum of all kernels [2]_. All kernels get some;
        - 'l1': minimise J(w) over weights that add up to 1 [3]_; few kernels get any.
          But a kernel of noise in many features, which separates the samples of `fit`
          alone, can get the most;
        - 'lp': minimise J(w) over weights of bounded p-norm [4]_: all informative
          kernels get some.
    regularization : float, default=None
        Parameter of 'lp' and 'easymkl'; the larger it is, the more equal weights are.
        For 'lp' the p of the norm, at least 1; at 1 it is 'l1', and None is 2. For
        'easymkl' the weight of the penalty of its points, between 0, where they are the
        nearest points of the hulls, and 1, where they are the means; None is 0.1.
    C : float, default=1.0
        Cost of a training error, for kernels of variance 1.
    class_weight : dict or 'balanced', default=None
        Weights of classes, which multiply C; 'balanced' is inverse to their frequency.
    probability : bool, default=False
        Whether `predict_proba` is available: a logistic regression on decision values
        of held-out samples, by 5-fold cross-validation with fixed weights of kernels,
        so that `fit` takes up to five times as long. With `class_weight` they are
        probabilities under these weights.
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
        large and classes overlap, most of the objective is errors that no weights
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
    classes_ : ndarray of shape (n_classes,)
        Labels of the classes.
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
        the sum with the target; 'easymkl': objective of its programme; empty for
        'average'.
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
        every modality, there are fewer than two classes, or a class has no weight.

    Warns
    -----
    ConvergenceWarning
        If the gap is above `tol` after `max_iter` steps.
    UserWarning
        If a precomputed kernel, or that of a callable, is not positive semi-definite.

    See Also
    --------
    MKLRegressor : Predicts values in place of classes.
    MKLClusterer : Learns weights of kernels without labels.
    ModalityKernels : Computes the kernels.
    EarlyFusionClassifier : Concatenates features, which with an SVC is MKL with equal
        weights of linear kernels.

    Notes
    -----
    *Choice of the algorithm.* Algorithms, 'average' among them, seldom differ by more
    than a hundredth in accuracy. 'alignment' is the default because it needs no
    machine, has nothing to tune and no iterations, and weights a modality of pure noise
    near 0. For the last it differs from [1]_: pairs of a sample with itself do not
    count, and three standard deviations of the alignment by chance are subtracted.

    *C* has the same meaning for every algorithm and number of kernels: equal weights
    are always ``1 / n_kernels``. For 'lp' the mean of the p-th powers of the weights is
    that of equal ones.

    *Missing modalities.* A sample that lacks a modality lies at its mean; its other
    kernels are multiplied, in rows and columns, by the root of
    ``n_modalities / (number of modalities it has)``. See `ModalityKernels`.

    *Several classes* are separated in pairs, as by scikit-learn's SVC, with one set of
    weights for all pairs. With exact kernels `decision_function` and `predict` are
    those of ``SVC(kernel='precomputed', break_ties=True)`` on the sum of the kernels.

    *Explicit features.* Weights are learned on at most 2000 samples, spread evenly over
    classes; then a linear machine with squared errors is fitted to all samples, which
    separates each class from the rest. No array of shape (n_samples, n_samples) is
    made.

    *New samples* are compared with support vectors only, by kernels whose weight is not
    0. (With all samples of `fit`, if some of these lack modalities, or
    ``normalize='cosine'``.)

    *Sample weights* multiply C, and are weights in the means, sizes and bandwidths of
    kernels: a sample of weight 2 equals two copies of it, one of weight 0 is left out.

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
        "class_weight": [StrOptions({"balanced"}), dict, None],
        "probability": ["boolean"],
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
        class_weight: Mapping[Any, float] | str | None = None,
        probability: bool = False,
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
        self.class_weight = class_weight
        self.probability = probability
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
            Labels.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the samples, which multiply C. None is equal weights.

        Returns
        -------
        self
            The fitted classifier.
        """
        frame = self._validate(X, reset=True)
        y = check_target(self, frame, y)
        check_classification_targets(y)
        weight = validate_sample_weight(sample_weight, frame).astype(np.float64)
        # dok_array is a dict, which scikit-learn would take as weights by class
        if sparse.issparse(self.class_weight):
            raise TypeError("class_weight is a sparse matrix; give a dict by class")
        class_weights = compute_sample_weight(self.class_weight, y)
        if (class_weights < 0).any():
            raise ValueError(f"class_weight={self.class_weight} has a negative weight")
        weight = weight * class_weights
        self.classes_, codes = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(
                f"{type(self).__name__} needs samples of at least 2 classes, but y "
                f"has one class only, {self.classes_[0]}"
            )
        has_weight = np.bincount(codes, weights=weight) > 0
        if not has_weight.all():
            raise ValueError(
                f"every sample of class {self.classes_[~has_weight][0]} has weight 0; "
                "leave them out, or give one of them a positive weight"
            )
        task = Classification(codes, self.C, weight)
        with self._progress(X, y) as progress:
            values, task = self._fit_task(frame, task, codes, progress)
        self._calibration = None
        if self.probability:
            self._calibration = self._fit_calibration(values, task)
        progress.finish()
        return self

    def decision_function(self, X: ModalitiesLike) -> np.ndarray:
        """Compute the decision function of samples.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The data.

        Returns
        -------
        ndarray of float64 of shape (n_samples, n_classes), or (n_samples,)
            Decision values, larger for likelier classes; for two classes one value,
            positive for the second class.
        """
        values = self._decide(X)
        return values[:, 0] if len(self.classes_) == 2 else values

    def predict(self, X: ModalitiesLike) -> np.ndarray:
        """Predict the classes of samples.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The data.

        Returns
        -------
        ndarray of shape (n_samples,)
            Labels of the predicted classes.
        """
        values = self._decide(X)
        if len(self.classes_) == 2:
            return self.classes_[(values[:, 0] > 0).astype(int)]
        return self.classes_[values.argmax(axis=1)]

    @available_if(lambda self: _has_probability(self))
    def predict_proba(self, X: ModalitiesLike) -> np.ndarray:
        """Predict the probabilities of the classes; needs ``probability=True``.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The data.

        Returns
        -------
        ndarray of float64 of shape (n_samples, n_classes)
            Probabilities. The likeliest class may differ from that of `predict`.
        """
        values = self._decide(X)  # first, because it raises NotFittedError
        if self._calibration is None:
            raise NotFittedError(
                f"this {type(self).__name__} was fitted with probability=False; call "
                "fit again"
            )
        return self._calibration.predict_proba(values)

    @available_if(lambda self: _has_probability(self))
    def predict_log_proba(self, X: ModalitiesLike) -> np.ndarray:
        """Predict the logarithms of the probabilities; needs ``probability=True``.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The data.

        Returns
        -------
        ndarray of float64 of shape (n_samples, n_classes)
            Logarithms of the result of `predict_proba`.
        """
        with np.errstate(divide="ignore"):
            return np.log(self.predict_proba(X))

    def _fit_linear(self, Z: np.ndarray, task: Classification) -> LinearMachine:
        codes = np.unique(task.codes)
        # two classes have one machine, that of the second
        codes = codes[1:] if len(codes) == 2 else codes
        signs = np.where(task.codes[:, None] == codes, 1.0, -1.0)
        costs = min(task.C, HARD_MARGIN_COST) * task.weight
        return fit_linear_machine(Z, signs, costs)

    def _fit_calibration(
        self, values: np.ndarray, task: Classification
    ) -> LogisticRegression:
        """Fit the probabilities to decision values of held-out samples.

        `values` are the sum of kernels of `fit`, or the weighted features.
        """
        smallest = int(np.bincount(task.codes).min())
        if smallest < 2:
            raise ValueError(
                "probability=True holds samples of every class out, but a class has "
                "one sample only"
            )
        folds = StratifiedKFold(min(CALIBRATION_FOLDS, smallest))
        n_classes = len(self.classes_)
        held_out = np.empty((len(values), 1 if n_classes == 2 else n_classes))
        for train, test in folds.split(values, task.codes):
            part = task.subset(train)
            if self._support is None:
                linear = self._fit_linear(values[train], part)
                held_out[test] = linear.decide(values[test])
                continue
            machine = part.fit(values[np.ix_(train, train)])
            K = values[np.ix_(test, train[machine.support])]
            held_out[test] = machine.decide(K)
        # the penalty of LogisticRegression would count more for weights below 1
        weight = task.weight / min(1.0, task.weight.mean())
        return LogisticRegression(max_iter=1000).fit(
            held_out, task.codes, sample_weight=weight
        )


def _has_probability(classifier: MKLClassifier) -> bool:
    if not classifier.probability:
        raise AttributeError("predict_proba is available with probability=True only")
    return True
