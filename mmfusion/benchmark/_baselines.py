"""Baselines of fusion methods, none of which uses classes."""

from __future__ import annotations

from collections.abc import Sequence

from sklearn.base import BaseEstimator
from sklearn.cluster import SpectralClustering
from sklearn.dummy import DummyClassifier, DummyRegressor

from mmfusion._typing import ModalitiesLike
from mmfusion._validation import as_modalities
from mmfusion.benchmark._single_modality import (
    SingleModalityClassifier,
    SingleModalityRegressor,
)
from mmfusion.benchmark._tasks import CLASSIFICATION, CLUSTERING, check_task
from mmfusion.fusion import (
    EarlyFusionClassifier,
    EarlyFusionClusterer,
    EarlyFusionRegressor,
    SingleModalityClusterer,
)


def baselines(X: ModalitiesLike, task: str = CLUSTERING) -> dict[str, BaseEstimator]:
    """Make baseline methods for data with these modalities.

    For clustering:

    ================================== ===============================================
    name                               method
    ================================== ===============================================
    ``modality <name>``, one for each  k-means on that modality, scaled by 'auto'
    ``best modality``                  the one of these with the largest silhouette
    ``concatenation``                  k-means on the concatenated modalities, not
                                       scaled
    ``standardised concatenation``     the same, every feature of variance 1
    ``spectral concatenation``         spectral clustering of the graph of nearest
                                       neighbours in the output of `EarlyFusion`
    ================================== ===============================================

    None of them uses classes; `compare` sets the number of clusters to that of the
    classes, as for every method.

    For classification and regression, each with every feature standardised:

    ================================== ===============================================
    name                               method
    ================================== ===============================================
    ``modality <name>``, one for each  logistic or ridge regression on that modality
    ``best modality``                  the one of these with the best score in a
                                       5-fold cross-validation of the training samples
    ``standardised concatenation``     logistic or ridge regression on the
                                       concatenated modalities
    ``dummy``                          the class prior, or the mean
    ================================== ===============================================

    Parameters
    ----------
    X : Modalities, list or dict of array-like, or list of str
        Data, or the names of their modalities.
    task : {'clustering', 'classification', 'regression'}, default='clustering'
        Task of the methods.

    Returns
    -------
    dict of str to estimator
        Unfitted clusterers, classifiers or regressors by name.

    Raises
    ------
    ValueError
        If X holds neither modalities nor names, or there is no such task.

    See Also
    --------
    compare : Compares clusterers; takes this function, or the dict it returns.
    mmfusion.SingleModalityClusterer : Clusters a single modality.

    Examples
    --------
    >>> from mmfusion.benchmark import baselines
    >>> for name in baselines(["audio", "video"]):
    ...     print(name)
    modality audio
    modality video
    best modality
    concatenation
    standardised concatenation
    spectral concatenation
    """
    check_task(task)
    names = _modality_names(X)
    if task != CLUSTERING:
        return _predictor_baselines(names, task)
    spectral = SpectralClustering(affinity="nearest_neighbors")
    return {
        **{f"modality {name}": SingleModalityClusterer(name) for name in names},
        "best modality": SingleModalityClusterer(),
        "concatenation": EarlyFusionClusterer(scaling=None),
        "standardised concatenation": EarlyFusionClusterer(scaling="standard"),
        "spectral concatenation": EarlyFusionClusterer(spectral),
    }


def _predictor_baselines(names: Sequence[str], task: str) -> dict[str, BaseEstimator]:
    single: type[BaseEstimator]
    if task == CLASSIFICATION:
        single, early = SingleModalityClassifier, EarlyFusionClassifier
        dummy = DummyClassifier()
    else:
        single, early = SingleModalityRegressor, EarlyFusionRegressor
        dummy = DummyRegressor()
    return {
        **{f"modality {name}": single(name) for name in names},
        "best modality": single(),
        "standardised concatenation": early(scaling="standard"),
        "dummy": dummy,
    }


def _modality_names(X: ModalitiesLike) -> Sequence[str]:
    if isinstance(X, list | tuple) and X and all(isinstance(n, str) for n in X):
        return X
    try:
        return as_modalities(X).names
    except (TypeError, ValueError) as error:
        raise ValueError(f"X holds no modalities: {error}") from error
