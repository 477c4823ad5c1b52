"""Hybrid fusion of regressors: of modalities alone and of several concatenated."""

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
from mmfusion.fusion._late_regressor import LateFusionRegressor


class HybridFusionRegressor(HybridPredictorMixin, LateFusionRegressor):
    """Weighted mean of regressors of single modalities and of all concatenated.

    As `LateFusionRegressor`, ``sum_b w_b f_b(x_b) / sum_b w_b`` for 'mean', where the
    branches b are the single modalities, `subsets` and all modalities together (early
    fusion). Samples may lack modalities, in `fit` and later.

    Parameters
    ----------
    estimator : regressor or dict, default=None
        Regressor of one branch: one scikit-learn regressor that is cloned, or a dict
        by name of the branch: a modality, ``'audio+video'`` for a subset, ``'early'``
        for all modalities; 'drop' leaves a branch out. None is Ridge.
    subsets : list of list of str, default=None
        Names of the modalities that are concatenated in further branches.
    scaling : {'auto', 'block', 'standard', 'l2'} or None or dict, default='auto'
        Scaling of each modality; see `EarlyFusion`. For a modality alone 'auto' takes
        'standard' where it would take 'block', divided by the square root of a tenth of
        the number of features, if there are more than ten.
    combine : {'mean', 'median', 'stacking'}, default='mean'
        Combination of the regressors' predictions; see `LateFusionRegressor`.
    weights : {'uniform', 'score', 'inverse_variance', 'error_covariance'}, \
array-like of shape (n_branches,) or dict, default='uniform'
        Weight of each branch: modalities, subsets, 'early', in this order or by name;
        or learned as in `LateFusionRegressor`. Errors of branches that share modalities
        are correlated, which 'error_covariance' takes into account.
    sample_weighting : {'predictive_variance', 'conformal', 'distance'}, default=None
        Factor of a branch's weight for each sample to predict; see
        `LateFusionRegressor`.
    final_estimator : regressor, default=None
        Regressor of 'stacking'; None is RidgeCV.
    passthrough : bool, default=False
        Whether the final estimator of 'stacking' gets the scaled modalities beside the
        predictions, as scikit-learn's stacking gives it X. Missing
        modalities are replaced by their means.
    cv : int, cross-validation generator or iterable, default=5
        Folds of the held-out samples, for 'stacking' and weights; the scaling is
        fitted without them too. An integer is the number of folds.
    missing : {'mean', 'knn', 'zero', 'skip'}, default='mean'
        Treatment of samples that lack some modalities of a branch: they are filled in
        by `ModalityImputer`; or, with 'skip', the branch is fitted to, and used for,
        samples that have all of its modalities.
    modality_dropout : float, default=0.0
        Probability with which a modality is dropped in copies of the samples, to
        which branches of several modalities are fitted too. Without effect with 'skip'.
    on_empty : {'prior', 'raise'}, default='prior'
        Prediction for samples that lack every modality: the mean of y in `fit`, or an
        error, in `fit` too.
    modalities : int, list of int, str or dict, default=None
        Column spec that splits a plain 2-D X; None takes it as one modality. See
        :meth:`Modalities.from_table`.
    n_jobs : int, default=None
        Number of branches and folds that are fitted at a time. None is 1 unless in a
        joblib context, -1 all processors.
    random_state : int, RandomState instance or None, default=None
        Set on the regressors, unless None, and for the draw of 2000 samples that
        distances are measured to, if there are more.
    verbose : bool or int, default=False
        Whether to show the progress of the fits of branches: True or 1 by a bar, where
        tqdm is installed and stderr is a terminal or a notebook, else by lines with
        their seconds; 2 by lines.

    Attributes
    ----------
    estimators_ : dict of str to regressor
        Fitted regressors by name of the branch.
    final_estimator_ : regressor or None
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
        another branch, or a regressor does not predict a variance where it is needed.

    See Also
    --------
    EarlyFusionRegressor : Regresses on the concatenation of modalities.
    LateFusionRegressor : Regresses on every modality alone, then combines.

    Examples
    --------
    >>> import numpy as np
    >>> from mmfusion import HybridFusionRegressor
    >>> rng = np.random.default_rng(0)
    >>> X = {"audio": rng.normal(size=(200, 2)), "video": rng.normal(size=(200, 3))}
    >>> y = X["audio"][:, 0] + X["video"][:, 0]
    >>> regressor = HybridFusionRegressor(weights="error_covariance").fit(X, y)
    >>> int(regressor.modality_weights_.argmax()), list(regressor.estimators_)
    (2, ['audio', 'video', 'early'])
    """

    _parameter_constraints: dict = {
        **LateFusionRegressor._parameter_constraints,
        **HYBRID_PREDICTOR_CONSTRAINTS,
    }

    def __init__(
        self,
        estimator: EstimatorLike = None,
        *,
        subsets: Sequence[Sequence[str]] | None = None,
        scaling: ByModality[str | None] = "auto",
        combine: str = "mean",
        weights: str | ArrayLike | dict[str, float] = "uniform",
        sample_weighting: str | None = None,
        final_estimator: BaseEstimator | None = None,
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
        self.final_estimator = final_estimator
        self.passthrough = passthrough
        self.cv = cv
        self.missing = missing
        self.modality_dropout = modality_dropout
        self.on_empty = on_empty
        self.modalities = modalities
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.verbose = verbose
