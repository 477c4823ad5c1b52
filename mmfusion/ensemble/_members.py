"""The clusterers that an ensemble has by default."""

from __future__ import annotations

from typing import Any

from sklearn.base import BaseEstimator

from mmfusion._typing import ByModality
from mmfusion.clustering import (
    AnchorGraphClusterer,
    SNFClusterer,
    SpectralClusterer,
)
from mmfusion.fusion import EarlyFusionClusterer, LateFusionClusterer

# beyond which the search of nearest samples would take most of the time
MAX_GRAPH_SAMPLES = 20_000
DIFFUSION_STEPS = 5  # after which the fused network hardly changes


def default_clusterers(
    n_samples: int, n_clusters: int, scaling: ByModality[str | None] = "auto"
) -> dict[str, BaseEstimator]:
    """Make the clusterers of an ensemble: graphs of several kinds, early and late.

    Parameters
    ----------
    n_samples : int
        Number of samples. Of many, time would be that of the search of neighbours, and
        graphs of anchors replace those of samples.
    n_clusters : int
        Number of clusters; a graph of anchors needs twice as many samples.
    scaling : {'auto', 'block', 'standard', 'l2'} or None or dict, default='auto'
        Scaling of each modality by all of them.

    Returns
    -------
    dict of str to clusterer
        Unfitted clusterers by name.
    """
    # the ensemble warns of rows of zeros, or marks them as missing, for all
    graphs: dict[str, Any] = {"scaling": scaling, "zero_rows": "keep"}
    clusterers: dict[str, BaseEstimator] = {}
    if n_samples <= MAX_GRAPH_SAMPLES:
        clusterers |= {
            "co_regularized": SpectralClusterer(fusion="co_regularized", **graphs),
            "concatenated": SpectralClusterer(fusion="concatenated", **graphs),
            "snf": SNFClusterer(n_steps=DIFFUSION_STEPS, **graphs),
        }
    if n_samples >= 2 * n_clusters:
        clusterers["anchors"] = AnchorGraphClusterer(**graphs)
        if n_samples > MAX_GRAPH_SAMPLES:
            clusterers["reconstruction"] = AnchorGraphClusterer(
                weights="reconstruction", **graphs
            )
    return clusterers | {
        "early": EarlyFusionClusterer(scaling=scaling),
        "late": LateFusionClusterer(scaling=scaling),
    }
