"""The clusterers that an ensemble has by default."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sklearn.base import BaseEstimator

from mmfusion.clustering import (
    AnchorGraphClusterer,
    SNFClusterer,
    SpectralClusterer,
)
from mmfusion.fusion import EarlyFusionClusterer, LateFusionClusterer

# beyond which the search of nearest samples would take most of the time
MAX_GRAPH_SAMPLES = 20_000
DIFFUSION_STEPS = 5  # after which the fused network hardly changes


def default_clusterers(n_samples: int, n_clusters: int) -> dict[str, BaseEstimator]:
    """Make the clusterers of an ensemble: graphs of several kinds, early and late.

    Parameters
    ----------
    n_samples : int
        Number of samples. Of many, time would be that of the search of neighbours, and
        graphs of anchors replace those of samples.
    n_clusters : int
        Number of clusters; a graph of anchors needs twice as many samples.

    Returns
    -------
    dict of str to clusterer
        Unfitted clusterers by name.
    """
    clusterers: dict[str, BaseEstimator] = {}
    if n_samples <= MAX_GRAPH_SAMPLES:
        clusterers |= {
            "co_regularized": SpectralClusterer(fusion="co_regularized"),
            "concatenated": SpectralClusterer(fusion="concatenated"),
            "snf": SNFClusterer(n_steps=DIFFUSION_STEPS),
        }
    if n_samples >= 2 * n_clusters:
        clusterers["anchors"] = AnchorGraphClusterer()
        if n_samples > MAX_GRAPH_SAMPLES:
            clusterers["reconstruction"] = AnchorGraphClusterer(
                weights="reconstruction"
            )
    return clusterers | {
        "early": EarlyFusionClusterer(),
        "late": LateFusionClusterer(),
    }


def set_where_there(estimator: BaseEstimator, params: Mapping[str, Any]) -> None:
    """Set those of some parameters that an estimator has.

    Parameters
    ----------
    estimator : estimator
        Any; it is changed.
    params : dict
        Values by name.
    """
    own = estimator.get_params(deep=False)
    estimator.set_params(**{k: value for k, value in params.items() if k in own})
