"""Baselines of fusion methods, none of which uses classes."""

from __future__ import annotations

from collections.abc import Sequence

from sklearn.base import BaseEstimator
from sklearn.cluster import SpectralClustering

from mmfusion._typing import ModalitiesLike
from mmfusion._validation import as_modalities
from mmfusion.fusion import EarlyFusionClusterer, SingleModalityClusterer


def baselines(X: ModalitiesLike) -> dict[str, BaseEstimator]:
    """Make baseline clusterers for data with these modalities.

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

    Parameters
    ----------
    X : Modalities, list or dict of array-like, or list of str
        Data, or the names of their modalities.

    Returns
    -------
    dict of str to clusterer
        Unfitted clusterers by name.

    Raises
    ------
    ValueError
        If X holds neither modalities nor names.

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
    names = _modality_names(X)
    spectral = SpectralClustering(affinity="nearest_neighbors")
    return {
        **{f"modality {name}": SingleModalityClusterer(name) for name in names},
        "best modality": SingleModalityClusterer(),
        "concatenation": EarlyFusionClusterer(scaling=None),
        "standardised concatenation": EarlyFusionClusterer(scaling="standard"),
        "spectral concatenation": EarlyFusionClusterer(spectral),
    }


def _modality_names(X: ModalitiesLike) -> Sequence[str]:
    if isinstance(X, list | tuple) and X and all(isinstance(n, str) for n in X):
        return X
    try:
        return as_modalities(X).names
    except (TypeError, ValueError) as error:
        raise ValueError(f"X holds no modalities: {error}") from error
