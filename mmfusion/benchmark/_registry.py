"""The methods and data sets that the command line knows by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from sklearn.mixture import GaussianMixture

from mmfusion.benchmark._baselines import baselines
from mmfusion.datasets import (
    fetch_100leaves,
    fetch_handwritten,
    fetch_msrcv1,
    load_digits_modalities,
    load_npz,
    make_multimodal_blobs,
)
from mmfusion.fusion import EarlyFusionClusterer, LateFusionClusterer
from mmfusion.mkl import MKLClusterer


class Entry(NamedTuple):
    """What makes the thing a name stands for, and one line about it."""

    make: Callable[[], Any]
    about: str


def _eamc() -> Any:
    from mmfusion.clustering import EAMCClusterer  # torch loads here

    return EAMCClusterer()


METHODS = {
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
        "vote of Gaussian mixtures, by their memberships",
    ),
    "late-coassociation": Entry(
        partial(LateFusionClusterer, combine="coassociation"),
        "average linkage on how often samples are in one base cluster",
    ),
    "mkl": Entry(MKLClusterer, "kernel k-means, kernels weighed by how far they agree"),
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
    "eamc": Entry(_eamc, "adversarial-attention network (needs mmfusion[deep])"),
}

BASELINES = "baselines"
BASELINES_ABOUT = (
    "each modality, the best one by silhouette, concatenation, standardised "
    "concatenation, spectral clustering of the concatenation"
)

DATASETS = {
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


def methods() -> dict[str, Any]:
    """Make the methods of this package that the command line knows.

    Returns
    -------
    dict of str to clusterer
        Unfitted clusterers by name; deep ones where torch and skorch are installed.

    See Also
    --------
    baselines : What they should be compared with.
    compare : Takes what this function returns.

    Examples
    --------
    >>> from mmfusion.benchmark import methods
    >>> methods()["early"]
    EarlyFusionClusterer()
    """
    made = {}
    for name, entry in METHODS.items():
        with suppress(ImportError):
            made[name] = entry.make()
    return made


def choose_methods(names: Sequence[str]) -> Callable[[Any], dict[str, Any]]:
    """Make what `compare` takes from names of methods, 'baselines' among them.

    Parameters
    ----------
    names : sequence of str
        Names of methods, or 'baselines'.

    Returns
    -------
    callable
        Returns clusterers by name for the X of a data set.

    Raises
    ------
    ImportError
        If a method needs a package that is not installed.
    ValueError
        If there is no such method.
    """
    unknown = [name for name in names if name not in METHODS and name != BASELINES]
    if unknown:
        raise ValueError(
            f"there is no method {unknown[0]!r}; there are {[*METHODS, BASELINES]}"
        )
    made = {name: METHODS[name].make() for name in names if name != BASELINES}

    def for_data(X: Any) -> dict[str, Any]:
        chosen: dict[str, Any] = {}
        for name in names:
            chosen |= baselines(X) if name == BASELINES else {name: made[name]}
        return chosen

    return for_data


def load_datasets(names: Sequence[str]) -> dict[str, Any]:
    """Load data sets by name, or from npz files, which are named by their stem.

    Parameters
    ----------
    names : sequence of str
        Names of known data sets, or paths.

    Returns
    -------
    dict of str to (X, y) or Bunch
        What `compare` takes.

    Raises
    ------
    OSError
        If there is no such file or no download.
    ValueError
        If a file is not of modalities, or two are of one name.
    """
    loaded: dict[str, Any] = {}
    for given in names:
        path = Path(given)
        name = given if given in DATASETS else path.stem
        if name in loaded:
            raise ValueError(f"two data sets are called {name!r}; rename a file")
        if given in DATASETS:
            loaded[name] = DATASETS[given].make()
        elif path.is_file():
            loaded[name] = load_npz(path)
        else:
            raise FileNotFoundError(
                f"{given!r} is neither a file nor one of {list(DATASETS)}"
            )
    return loaded
