"""The baselines that every fusion method has to beat, none of which sees classes."""

from __future__ import annotations

from typing import Any

from sklearn.cluster import SpectralClustering

from mmfusion._validation import as_modalities
from mmfusion.fusion import EarlyFusionClusterer, SingleModalityClusterer


def baselines(X: Any) -> dict[str, Any]:
    """Make the baselines that papers forget, for data with these modalities.

    ================================== ===============================================
    name                               what it does
    ================================== ===============================================
    ``modality <name>``, one for each  k-means on that modality, scaled by 'auto'
    ``best modality``                  the one of these with the largest silhouette
    ``concatenation``                  k-means on the modalities side by side, as they
                                       are
    ``standardised concatenation``     the same, every feature of variance 1
    ``spectral concatenation``         spectral clustering of the graph of nearest
                                       neighbours in the concatenation that
                                       `EarlyFusion` makes
    ================================== ===============================================

    None of them sees classes; `compare` gives them the number of classes, as it does
    every method.

    Parameters
    ----------
    X : Modalities, list or dict of array-like, or list of str
        The data, or the names of the modalities.

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
    compare : Takes this function as it is, or what it returns.
    mmfusion.SingleModalityClusterer : The first two.

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
    given_names = (
        isinstance(X, list | tuple) and X and all(isinstance(n, str) for n in X)
    )
    names = X if given_names else _names(X)
    spectral = SpectralClustering(affinity="nearest_neighbors")
    return {
        **{f"modality {name}": SingleModalityClusterer(name) for name in names},
        "best modality": SingleModalityClusterer(),
        "concatenation": EarlyFusionClusterer(scaling=None),
        "standardised concatenation": EarlyFusionClusterer(scaling="standard"),
        "spectral concatenation": EarlyFusionClusterer(spectral),
    }


def _names(X: Any) -> tuple[str, ...]:
    try:
        return as_modalities(X).names
    except (TypeError, ValueError) as error:
        raise ValueError(f"X holds no modalities: {error}") from error
