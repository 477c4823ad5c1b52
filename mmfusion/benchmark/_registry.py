"""Methods and data sets by name, as the command line takes them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from sklearn.base import BaseEstimator
from sklearn.mixture import GaussianMixture

from mmfusion.benchmark._baselines import baselines
from mmfusion.clustering import (
    AnchorGraphClusterer,
    GMCClusterer,
    MultimodalMixture,
    SNFClusterer,
    SpectralClusterer,
)
from mmfusion.datasets import (
    fetch_100leaves,
    fetch_handwritten,
    fetch_msrcv1,
    load_digits_modalities,
    load_npz,
    make_multimodal_blobs,
)
from mmfusion.ensemble import MultimodalClusterer
from mmfusion.fusion import EarlyFusionClusterer, LateFusionClusterer
from mmfusion.mkl import MKLClusterer
from mmfusion.modalities import Modalities


class Entry(NamedTuple):
    """Factory of a method or data set, and its description in one line."""

    make: Callable[[], Any]
    description: str


def _deep(name: str) -> BaseEstimator:
    import mmfusion.clustering  # torch loads with the first attribute

    return getattr(mmfusion.clustering, name)()


NAMED_METHODS = {
    "multimodal": Entry(
        MultimodalClusterer, "consensus of graphs, anchors, early and late fusion"
    ),
    "early": Entry(EarlyFusionClusterer, "k-means on the scaled concatenation"),
    "early-standard": Entry(
        partial(EarlyFusionClusterer, scaling="standard"),
        "the same, every feature standardised",
    ),
    "late": Entry(
        LateFusionClusterer, "cut of the bipartite graph of samples and base clusters"
    ),
    "late-vote": Entry(
        partial(LateFusionClusterer, combine="vote"), "vote of the base clusterings"
    ),
    "late-soft-vote": Entry(
        lambda: LateFusionClusterer(
            GaussianMixture(covariance_type="diag"), combine="soft_vote"
        ),
        "vote of the memberships in Gaussian mixtures",
    ),
    "late-coassociation": Entry(
        partial(LateFusionClusterer, combine="coassociation"),
        "average linkage on the share of runs with two samples in one cluster",
    ),
    "mkl": Entry(MKLClusterer, "kernel k-means, kernels weighted by their agreement"),
    "mkl-average": Entry(
        partial(MKLClusterer, algorithm="average"), "kernel k-means, equal weights"
    ),
    "mkl-simple-mkkm": Entry(
        partial(MKLClusterer, algorithm="simple_mkkm"),
        "kernel k-means, min-max weights (SimpleMKKM)",
    ),
    "mkl-late-fusion": Entry(
        partial(MKLClusterer, algorithm="late_fusion"),
        "partitions of the kernels, rotated to agree",
    ),
    "spectral": Entry(
        SpectralClusterer, "cut of the graphs of all modalities, blended"
    ),
    "spectral-average": Entry(
        partial(SpectralClusterer, fusion="average"), "cut of the mean of the graphs"
    ),
    "spectral-auto-weight": Entry(
        partial(SpectralClusterer, fusion="auto_weight"),
        "cut of the mean of the graphs, weighted by how well it suits them (AMGL)",
    ),
    "spectral-co-regularized": Entry(
        partial(SpectralClusterer, fusion="co_regularized"),
        "cuts of all graphs that agree",
    ),
    "spectral-concatenated": Entry(
        partial(SpectralClusterer, fusion="concatenated"),
        "cut of the graph of the concatenation",
    ),
    "snf": Entry(SNFClusterer, "cut of the fused network of similarities (SNF)"),
    "snf-all-pairs": Entry(
        partial(SNFClusterer, n_stored=None),
        "cut of the fused network of all pairs of samples (SNF as published)",
    ),
    "gmc": Entry(GMCClusterer, "unified graph with a component for each cluster (GMC)"),
    "anchor-graph": Entry(
        AnchorGraphClusterer, "cut of the graph of samples and anchors"
    ),
    "anchor-reconstruction": Entry(
        partial(AnchorGraphClusterer, weights="reconstruction"),
        "the same, weights that reconstruct the samples (LMVSC)",
    ),
    "mixture": Entry(
        MultimodalMixture, "clusters of largest likelihood, on principal axes"
    ),
    "mixture-balanced": Entry(
        partial(MultimodalMixture, modality_weights="balanced"),
        "the same, modalities weighted by 1 / number of axes",
    ),
    "eamc": Entry(
        partial(_deep, "EAMCClusterer"),
        "adversarial training, attention (needs mmfusion[deep])",
    ),
    "simvc": Entry(
        partial(_deep, "SiMVCClusterer"),
        "learned fusion weights (needs mmfusion[deep])",
    ),
    "comvc": Entry(
        partial(_deep, "CoMVCClusterer"),
        "learned fusion weights, contrastive loss (needs mmfusion[deep])",
    ),
}

BASELINES = "baselines"
BASELINES_DESCRIPTION = (
    "each modality, the best one by silhouette, concatenation, standardised "
    "concatenation, spectral clustering of the concatenation"
)

NAMED_DATASETS = {
    "digits": Entry(load_digits_modalities, "1,797 digits, 4 modalities, 10 classes"),
    "blobs": Entry(
        partial(make_multimodal_blobs, cluster_std=3.0, random_state=0),
        "100 simulated samples, 2 modalities, 3 classes",
    ),
    "handwritten": Entry(
        fetch_handwritten, "2,000 digits, 6 modalities, 10 classes (download)"
    ),
    "msrcv1": Entry(fetch_msrcv1, "210 images, 5 modalities, 7 classes (download)"),
    "100leaves": Entry(
        fetch_100leaves, "1,600 leaves, 3 modalities, 100 classes (download)"
    ),
}


def methods() -> dict[str, BaseEstimator]:
    """Make the clusterers of this package that the command line offers.

    Returns
    -------
    dict of str to clusterer
        Unfitted clusterers by name; deep ones where torch and skorch are installed.

    See Also
    --------
    baselines : The methods that every comparison should include.
    compare : Compares clusterers on data sets.

    Examples
    --------
    >>> from mmfusion.benchmark import methods
    >>> methods()["early"]
    EarlyFusionClusterer()
    """
    made = {}
    for name, entry in NAMED_METHODS.items():
        with suppress(ImportError):
            made[name] = entry.make()
    return made


def choose_methods(
    names: Sequence[str],
) -> Callable[[Modalities], dict[str, BaseEstimator]]:
    """Return a function that makes the clusterers of these names for a data set.

    Parameters
    ----------
    names : sequence of str
        Names of methods, or 'baselines'.

    Returns
    -------
    callable
        Function of the X of a data set that returns clusterers by name, for `compare`.

    Raises
    ------
    ImportError
        If a method needs a package that is not installed.
    ValueError
        If there is no such method.
    """
    offered = [*NAMED_METHODS, BASELINES]
    unknown = [name for name in names if name not in offered]
    if unknown:
        raise ValueError(f"there is no method {unknown[0]!r}; there are {offered}")
    made = {name: NAMED_METHODS[name].make() for name in names if name != BASELINES}

    def make_clusterers(X: Modalities) -> dict[str, BaseEstimator]:
        chosen: dict[str, BaseEstimator] = {}
        for name in names:
            chosen |= baselines(X) if name == BASELINES else {name: made[name]}
        return chosen

    return make_clusterers


def load_datasets(names: Sequence[str]) -> dict[str, Any]:
    """Load data sets by name, or from npz files, which are named by their stem.

    Parameters
    ----------
    names : sequence of str
        Names of data sets of this package, or paths.

    Returns
    -------
    dict of str to (X, y) or Bunch
        The data sets by name, for `compare`.

    Raises
    ------
    OSError
        If there is no such file or a download fails.
    ValueError
        If a file holds no modalities, or two data sets have the same name.
    """
    loaded: dict[str, Any] = {}
    for given in names:
        path = Path(given)
        name = given if given in NAMED_DATASETS else path.stem
        if name in loaded:
            raise ValueError(f"two data sets are called {name!r}; rename a file")
        if given in NAMED_DATASETS:
            loaded[name] = NAMED_DATASETS[given].make()
        elif path.is_file():
            loaded[name] = load_npz(path)
        else:
            raise FileNotFoundError(
                f"{given!r} is neither a file nor one of {list(NAMED_DATASETS)}"
            )
    return loaded
