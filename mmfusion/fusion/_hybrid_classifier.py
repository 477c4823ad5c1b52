"""Hybrid fusion of classifiers: of modalities alone and of several concatenated."""

from __future__ import annotations

from collections.abc import Sequence

from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator

from mmfusion._typing import (
    ByModality,
    ColumnSpecLike,
    CrossValidationLike,
    EstimatorLike,
    RandomStateLike,
)
from mmfusion.fusion._hybrid_branches import (
    HYBRID_PREDICTOR_CONSTRAINTS,
    HybridPredictorMixin,
)
from mmfusion.fusion._late_classifier import LateFusionClassifier


class HybridFusionClassifier(HybridPredictorMixin, LateFusionClassifier):
    """Opinion pool of classifiers of single modalities and of all concatenated.

    As `LateFusionClassifier`, ``sum_b w_b p_b(y | x_b)`` for 'soft_vote' or
    ``log p(y) + sum_b w_b (log p_b(y | x_b) - log p(y))`` for 'log_pool', where the
    branches b are the single modalities, `subsets` and all modalities together (early
    fusion). Samples may lack modalities, in `fit` and later, and have several labels.

    Parameters
    ----------
    estimator : classifier or dict, default=None
        Classifier of one branch: one scikit-learn classifier that is cloned, or a dict
        by name of the branch: a modality, ``'audio+video'`` for a subset, ``'early'``
        for all modalities; 'drop' leaves a branch out. None is
        ``LogisticRegression(max_iter=1000)``.
    subsets : list of list of str, default=None
        Names of the modalities that are concatenated in further branches.
    scaling : {'auto', 'block', 'standard', 'l2'} or None or dict, default='auto'
        Scaling of each modality; see `EarlyFusion`. For a modality alone 'auto' takes
        'standard' where it would take 'block', divided by the square root of a tenth of
        the number of features, if there are more than ten.
    combine : {'soft_vote', 'hard_vote', 'log_pool', 'stacking'}, default='soft_vote'
        Combination of the classifiers' predictions; see `LateFusionClassifier`. In
        'log_pool' the weights of the branches that share a modality are scaled to add
        up to 1 at most, so that its evidence counts once.
    weights : {'uniform', 'score', 'log_loss', 'inverse_variance'}, array-like of \
shape (n_branches,) or dict, default='uniform'
        Weight of each branch: modalities, subsets, 'early', in this order or by name;
        or learned as in `LateFusionClassifier`.
    sample_weighting : {'entropy', 'conformal', 'distance'}, default=None
        Factor of a branch's weight for each sample to predict; see
        `LateFusionClassifier`.
    calibration : {'sigmoid', 'isotonic'}, default=None
        Calibration of each branch's probabilities; see `LateFusionClassifier`.
    final_estimator : classifier, default=None
        Classifier of 'stacking'; None is ``LogisticRegression(max_iter=1000)``.
    stack_method : {'auto', 'predict_proba', 'decision_function', 'predict'}, \
default='auto'
        Method of the classifiers whose results are the features of the final estimator
        of 'stacking'. 'auto' is the first of these that a classifier has. 'predict'
        gives 1 for the predicted class and 0 for others. For two classes the column of
        the first one is left out.
    passthrough : bool, default=False
        Whether the final estimator of 'stacking' gets the scaled modalities beside the
        predictions, as scikit-learn's stacking gives it X. Missing
        modalities are replaced by their means.
    cv : int, cross-validation generator or iterable, default=5
        Folds of the held-out samples, for 'stacking', calibration and weights; the
        scaling is fitted without them too. An integer is the number of stratified
        folds.
    missing : {'mean', 'knn', 'zero', 'skip'}, default='mean'
        Treatment of samples that lack some modalities of a branch: they are filled in
        by `ModalityImputer`; or, with 'skip', the branch is fitted to, and used for,
        samples that have all of its modalities.
    modality_dropout : float, default=0.0
        Probability with which a modality is dropped in copies of the samples, to
        which branches of several modalities are fitted too. Without effect with 'skip'.
    on_empty : {'prior', 'raise'}, default='prior'
        Prediction for samples that lack every modality: the class prior, or an
        error, in `fit` too.
    modalities : int, list of int, str or dict, default=None
        Column spec that splits a plain 2-D X; None takes it as one modality. See
        :meth:`Modalities.from_table`.
    n_jobs : int, default=None
        Number of branches and folds that are fitted at a time. None is 1 unless in a
        joblib context, -1 all processors.
    random_state : int, RandomState instance or None, default=None
        Set on the classifiers, unless None, and for the draw of 2000 samples that
        distances are measured to, if there are more.
    verbose : bool or int, default=False
        Whether to show the progress of the fits of branches: True or 1 by a bar, where
        tqdm is installed and stderr is a terminal or a notebook, else by lines with
        their seconds; 2 by lines.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,) or (n_labels, 2)
        Labels of the classes; 0 and 1 for each of several labels.
    estimators_ : dict of str to classifier
        Fitted classifiers by name of the branch.
    final_estimator_ : classifier or None
        Fitted final estimator; None unless ``combine='stacking'``.
    modality_weights_ : ndarray of shape (n_branches,)
        Weights of the branches, in the order of ``estimators_``, with mean 1.
    scaling_ : dict of str to str
        Scaling of each modality; 'auto' is resolved.
    n_modalities_in_ : int
        Number of modalities seen in `fit`.
    modality_names_in_ : ndarray of str of shape (n_modalities,)
        Names of the modalities.
    n_features_per_modality_in_ : ndarray of int of shape (n_modalities,)
        Number of features of each modality.
    n_features_in_ : int
        Number of features in all.
    feature_names_in_ : ndarray of str of shape (`n_features_in_`,)
        Names ``<modality>__<feature>``, if the input had names.

    Raises
    ------
    ValueError
        If a modality is missing for every sample of `fit`, an observed cell is NaN or
        infinite, a subset names no or unknown modalities, a modality has the name of
        another branch, or a classifier has no probabilities where they are needed.

    See Also
    --------
    EarlyFusionClassifier : Classifies the concatenation of modalities.
    LateFusionClassifier : Classifies by every modality alone, then combines.

    Examples
    --------
    >>> from mmfusion import HybridFusionClassifier
    >>> from mmfusion.datasets import make_multimodal_blobs
    >>> X, y = make_multimodal_blobs(missing_rate=0.2, random_state=0)
    >>> classifier = HybridFusionClassifier(subsets=[list(X.names)[:2]]).fit(X, y)
    >>> list(classifier.estimators_)
    ['modality_0', 'modality_1', 'modality_0+modality_1', 'early']
    """

    _parameter_constraints: dict = {
        **LateFusionClassifier._parameter_constraints,
        **HYBRID_PREDICTOR_CONSTRAINTS,
    }

    def __init__(
        self,
        estimator: EstimatorLike = None,
        *,
        subsets: Sequence[Sequence[str]] | None = None,
        scaling: ByModality[str | None] = "auto",
        combine: str = "soft_vote",
        weights: str | ArrayLike | dict[str, float] = "uniform",
        sample_weighting: str | None = None,
        calibration: str | None = None,
        final_estimator: BaseEstimator | None = None,
        stack_method: str = "auto",
        passthrough: bool = False,
        cv: CrossValidationLike = 5,
        missing: str = "mean",
        modality_dropout: float = 0.0,
        on_empty: str = "prior",
        modalities: ColumnSpecLike = None,
        n_jobs: int | None = None,
        random_state: RandomStateLike = None,
        verbose: bool | int = False,
    ) -> None:
        self.estimator = estimator
        self.subsets = subsets
        self.scaling = scaling
        self.combine = combine
        self.weights = weights
        self.sample_weighting = sample_weighting
        self.calibration = calibration
        self.final_estimator = final_estimator
        self.stack_method = stack_method
        self.passthrough = passthrough
        self.cv = cv
        self.missing = missing
        self.modality_dropout = modality_dropout
        self.on_empty = on_empty
        self.modalities = modalities
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.verbose = verbose
