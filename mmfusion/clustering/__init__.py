"""Clustering by graphs, likelihood and deep networks; torch loads with the last."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mmfusion._extras import load_export
from mmfusion.clustering._anchor_graph import AnchorGraphClusterer
from mmfusion.clustering._gmc import GMCClusterer
from mmfusion.clustering._mixture import MultimodalMixture
from mmfusion.clustering._snf import SNFClusterer, similarity_network_fusion
from mmfusion.clustering._spectral import SpectralClusterer

if TYPE_CHECKING:
    from mmfusion.clustering._autoencoder import AutoencoderClusterer
    from mmfusion.clustering._dmsc import DMSCClusterer
    from mmfusion.clustering._hmm_clusterer import HMMClusterer
    from mmfusion.clustering._mflvc import MFLVCClusterer
    from mmfusion.clustering._simvc import (
        CoMVCClusterer,
        SiMVCClusterer,
    )
    from mmfusion.clustering.eamc._estimator import EAMCClusterer

__all__ = [
    "AnchorGraphClusterer",
    "AutoencoderClusterer",
    "CoMVCClusterer",
    "DMSCClusterer",
    "EAMCClusterer",
    "GMCClusterer",
    "HMMClusterer",
    "MFLVCClusterer",
    "MultimodalMixture",
    "SNFClusterer",
    "SiMVCClusterer",
    "SpectralClusterer",
    "similarity_network_fusion",
]

_MODULES = {
    "AutoencoderClusterer": "_autoencoder",
    "CoMVCClusterer": "_simvc",
    "DMSCClusterer": "_dmsc",
    "EAMCClusterer": "eamc._estimator",
    "MFLVCClusterer": "_mflvc",
    "SiMVCClusterer": "_simvc",
}


_CHAINS = {"HMMClusterer": "_hmm_clusterer"}


def __getattr__(name: str) -> Any:
    if name in _CHAINS:
        return load_export(__name__, _CHAINS, name, "align", "numba")
    return load_export(__name__, _MODULES, name, "deep", "torch and skorch")


def __dir__() -> list[str]:
    return __all__
