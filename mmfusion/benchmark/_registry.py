"""Methods and data sets by name, as the command line takes them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from sklearn.base import BaseEstimator
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.mixture import GaussianMixture
from sklearn.pipeline import Pipeline, make_pipeline

from mmfusion.benchmark._components import ComponentClusterer
from mmfusion.benchmark._single_modality import (
    SingleModalityClassifier,
    SingleModalityRegressor,
)
from mmfusion.benchmark._tasks import (
    CLASSIFICATION,
    CLUSTERING,
    REGRESSION,
    check_task,
)
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
    load_breast_cancer_modalities,
    load_diabetes_modalities,
    load_digits_modalities,
    load_file,
    load_wine_modalities,
    make_multimodal_blobs,
)
from mmfusion.ensemble import MultimodalClusterer
from mmfusion.fusion import (
    EarlyFusionClassifier,
    EarlyFusionClusterer,
    EarlyFusionRegressor,
    GaussianBayesClassifier,
    HybridFusionClassifier,
    HybridFusionRegressor,
    LateFusionClassifier,
    LateFusionClusterer,
    LateFusionRegressor,
    MultimodalCCA,
    MultimodalNMF,
    SingleModalityClusterer,
)
from mmfusion.mkl import MKLClassifier, MKLClusterer, MKLRegressor


class Entry(NamedTuple):
    """Factory of a method or data set, and its description in one line."""

    make: Callable[[], Any]
    description: str


def _deep_class(name: str) -> Any:
    import mmfusion.clustering  # torch loads with the first attribute

    return getattr(mmfusion.clustering, name)


def _deep(name: str, **params: Any) -> BaseEstimator:
    return _deep_class(name)(**params)


def _deep_fusion(name: str, **params: Any) -> BaseEstimator:
    import mmfusion.fusion  # torch loads with the first attribute

    return getattr(mmfusion.fusion, name)(**params)


def _deep_scores(**params: Any) -> Pipeline:
    scores = _deep_fusion("DCCA", **params)
    return make_pipeline(scores, EarlyFusionClusterer(scaling=None))


CLUSTERERS = {
    "multimodal": Entry(
        MultimodalClusterer, "consensus of graphs, anchors, early and late fusion"
    ),
    "early": Entry(EarlyFusionClusterer, "k-means on the scaled concatenation"),
    "early-standard": Entry(
        partial(EarlyFusionClusterer, scaling="standard"),
        "the same, every feature standardised",
    ),
    "early-block": Entry(
        partial(EarlyFusionClusterer, scaling="block"),
        "the same, features standardised, modalities of equal variance",
    ),
    "concatenation": Entry(
        partial(EarlyFusionClusterer, scaling=None), "the same, not scaled"
    ),
    "best-modality": Entry(
        SingleModalityClusterer, "k-means on the modality of the largest silhouette"
    ),
    "spectral-best-modality": Entry(
        lambda: SingleModalityClusterer(clusterer=SpectralClusterer()),
        "cut of the graph of the modality of the largest silhouette",
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
    "mkl-mkkm": Entry(
        partial(MKLClusterer, algorithm="mkkm"),
        "kernel k-means, squared weights of least loss (MKKM)",
    ),
    "mkl-mkkm-mr": Entry(
        partial(MKLClusterer, algorithm="mkkm_mr"),
        "the same, similar kernels regularised (MKKM-MR)",
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
    "cca-kmeans": Entry(
        lambda: ComponentClusterer(MultimodalCCA()),
        "k-means on as many canonical components as clusters",
    ),
    "nmf-kmeans": Entry(
        lambda: ComponentClusterer(MultimodalNMF(), non_negative=True),
        "k-means on the consensus of a joint factorisation (MultiNMF); modalities "
        "with negative values are scaled to [0, 1], samples of others to length 1",
    ),
    "eamc": Entry(
        partial(_deep, "EAMCClusterer"),
        "adversarial training, attention (needs mmfusion[deep])",
    ),
    "eamc-paper": Entry(
        lambda: _deep_class("EAMCClusterer").paper(),
        "EAMC as in its paper: 20 runs of 500 epochs (needs mmfusion[deep])",
    ),
    "simvc": Entry(
        partial(_deep, "SiMVCClusterer"),
        "learned fusion weights (needs mmfusion[deep])",
    ),
    "dcca-kmeans": Entry(
        _deep_scores,
        "k-means on deep canonical correlation (needs mmfusion[deep])",
    ),
    "dccae-kmeans": Entry(
        partial(_deep_scores, reconstruction_weight=1.0),
        "the same with autoencoders (needs mmfusion[deep])",
    ),
    "comvc": Entry(
        partial(_deep, "CoMVCClusterer"),
        "learned fusion weights, contrastive loss (needs mmfusion[deep])",
    ),
    "dmsc": Entry(
        partial(_deep, "DMSCClusterer"),
        "samples that express each other in subspaces (needs mmfusion[deep])",
    ),
    "ae-ddc": Entry(
        # weights as published
        partial(
            _deep, "CoMVCClusterer", contrastive_weight=0, reconstruction_weight=0.1
        ),
        "learned fusion weights, autoencoders (needs mmfusion[deep])",
    ),
    "aecoddc": Entry(
        partial(_deep, "CoMVCClusterer", reconstruction_weight=1.0),
        "learned fusion weights, contrastive loss, autoencoders (needs mmfusion[deep])",
    ),
    "autoencoder": Entry(
        partial(_deep, "AutoencoderClusterer"),
        "k-means of the latents of autoencoders (needs mmfusion[deep])",
    ),
    "dec": Entry(
        partial(_deep, "AutoencoderClusterer", readout="dec"),
        "autoencoders and centres trained together (needs mmfusion[deep])",
    ),
    "damc": Entry(
        partial(_deep, "AutoencoderClusterer", readout="dec", adversarial_weight=0.01),
        "the same, modalities rebuilt from the others (needs mmfusion[deep])",
    ),
    "mflvc": Entry(
        partial(_deep, "MFLVCClusterer"),
        "contrast of features and of clusters (needs mmfusion[deep])",
    ),
}

CLASSIFIERS = {
    "early": Entry(
        EarlyFusionClassifier, "logistic regression on the scaled concatenation"
    ),
    "late": Entry(LateFusionClassifier, "mean of the probabilities by each modality"),
    "late-log-pool": Entry(
        partial(LateFusionClassifier, combine="log_pool"),
        "product of the probabilities by each modality",
    ),
    "late-stacking": Entry(
        partial(LateFusionClassifier, combine="stacking"),
        "logistic regression on held-out probabilities by each modality",
    ),
    "hybrid": Entry(
        HybridFusionClassifier, "each modality and all of them together, combined"
    ),
    "mkl": Entry(MKLClassifier, "support vector machine, kernels weighted"),
    "neural": Entry(
        partial(_deep_fusion, "NeuralFusionClassifier"),
        "networks with gates, trained with missing and noisy modalities (needs "
        "mmfusion[deep])",
    ),
    "neural-low-rank": Entry(
        partial(_deep_fusion, "NeuralFusionClassifier", fusion="low_rank"),
        "the same, products of modalities in place of gates (needs mmfusion[deep])",
    ),
    "gaussian-bayes": Entry(
        GaussianBayesClassifier,
        "Gaussian classes, modalities independent of each other",
    ),
    "best-modality": Entry(
        SingleModalityClassifier,
        "logistic regression on one modality, chosen in the training samples",
    ),
    "concatenation": Entry(
        partial(EarlyFusionClassifier, scaling="standard"),
        "logistic regression on the standardised concatenation",
    ),
    "dummy": Entry(DummyClassifier, "the class prior"),
}

REGRESSORS = {
    "early": Entry(
        EarlyFusionRegressor, "ridge regression on the scaled concatenation"
    ),
    "late": Entry(LateFusionRegressor, "mean of the predictions by each modality"),
    "late-stacking": Entry(
        partial(LateFusionRegressor, combine="stacking"),
        "ridge regression on held-out predictions by each modality",
    ),
    "hybrid": Entry(
        HybridFusionRegressor, "each modality and all of them together, combined"
    ),
    "mkl": Entry(MKLRegressor, "support vector machine, kernels weighted"),
    "neural": Entry(
        partial(_deep_fusion, "NeuralFusionRegressor"),
        "networks with gates, trained with missing and noisy modalities (needs "
        "mmfusion[deep])",
    ),
    "neural-low-rank": Entry(
        partial(_deep_fusion, "NeuralFusionRegressor", fusion="low_rank"),
        "the same, products of modalities in place of gates (needs mmfusion[deep])",
    ),
    "best-modality": Entry(
        SingleModalityRegressor,
        "ridge regression on one modality, chosen in the training samples",
    ),
    "concatenation": Entry(
        partial(EarlyFusionRegressor, scaling="standard"),
        "ridge regression on the standardised concatenation",
    ),
    "dummy": Entry(DummyRegressor, "the mean"),
}

NAMED_METHODS: dict[str, dict[str, Entry]] = {
    CLUSTERING: CLUSTERERS,
    CLASSIFICATION: CLASSIFIERS,
    REGRESSION: REGRESSORS,
}

BASELINES = "baselines"
BASELINES_DESCRIPTIONS = {
    CLUSTERING: "each modality, the best one by silhouette, concatenation, "
    "standardised concatenation, spectral clustering of the concatenation",
    CLASSIFICATION: "each modality, the best one in the training samples, "
    "standardised concatenation, the class prior",
    REGRESSION: "each modality, the best one in the training samples, standardised "
    "concatenation, the mean",
}

NAMED_DATASETS = {
    "digits": Entry(load_digits_modalities, "1,797 digits, 4 modalities, 10 classes"),
    "breast-cancer": Entry(
        load_breast_cancer_modalities, "569 tumours, 3 modalities, 2 classes"
    ),
    "wine": Entry(load_wine_modalities, "178 wines, 3 modalities, 3 classes"),
    "diabetes": Entry(
        load_diabetes_modalities, "442 patients, 2 modalities, a measured target"
    ),
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


# of the command line: real data that need no download
DEFAULT_DATASETS = {
    CLUSTERING: ["digits", "wine", "breast-cancer"],
    CLASSIFICATION: ["digits", "wine", "breast-cancer"],
    REGRESSION: ["diabetes"],
}
DEFAULT_METHODS = {
    CLUSTERING: [
        "multimodal",
        "spectral",
        "snf",
        "mixture",
        "early",
        "late",
        BASELINES,
    ],
    CLASSIFICATION: ["early", "late", "hybrid", BASELINES],
    REGRESSION: ["early", "late", "hybrid", BASELINES],
}


def methods(task: str = CLUSTERING) -> dict[str, BaseEstimator]:
    """Make the methods of this package that `compare` takes by name.

    Parameters
    ----------
    task : {'clustering', 'classification', 'regression'}, default='clustering'
        Task of the methods.

    Returns
    -------
    dict of str to estimator
        Unfitted estimators by name; deep ones where torch and skorch are installed.
        Those for classification and regression include ``best-modality`` (of the
        single modalities, chosen by a cross-validation of the training samples),
        ``concatenation`` (standardised, then logistic or ridge regression) and
        ``dummy``.

    Raises
    ------
    ValueError
        If there is no such task.

    See Also
    --------
    baselines : The methods that every comparison should include.
    compare : Compares methods on data sets.

    Examples
    --------
    >>> from mmfusion.benchmark import methods
    >>> methods()["early"]
    EarlyFusionClusterer()
    >>> [name for name in methods(task="regression") if name.startswith("late")]
    ['late', 'late-stacking']
    """
    check_task(task)
    made = {}
    for name, entry in NAMED_METHODS[task].items():
        with suppress(ImportError):
            made[name] = entry.make()
    return made


def make_method(name: str, task: str) -> BaseEstimator:
    """Make the method of this name for a task.

    Parameters
    ----------
    name : str
        Name of a method.
    task : str
        Its task.

    Returns
    -------
    estimator
        The unfitted estimator.

    Raises
    ------
    ImportError
        If it needs a package that is not installed.
    ValueError
        If there is no such method.
    """
    offered = NAMED_METHODS[task]
    if name in offered:
        return offered[name].make()
    others = [other for other, by_name in NAMED_METHODS.items() if name in by_name]
    remedy = f"; it is for {others[0]}: give task={others[0]!r}" if others else ""
    raise ValueError(
        f"there is no method {name!r} for {task}; there are "
        f"{[*offered, BASELINES]}{remedy}"
    )


def load_dataset(given: str | Path) -> tuple[str, Any]:
    """Load a data set by name, or from a file, which is named by its stem.

    Parameters
    ----------
    given : str or Path
        Name of a data set of this package, or path of a file.

    Returns
    -------
    name : str
        Name of the data set.
    data : Bunch or (X, y)
        The data, for `compare`.

    Raises
    ------
    OSError
        If there is no such file or a download fails.
    ValueError
        If a file holds no modalities.
    """
    if isinstance(given, str) and given in NAMED_DATASETS:
        return given, NAMED_DATASETS[given].make()
    path = Path(given)
    if path.is_file():
        return path.stem, load_file(path)
    raise FileNotFoundError(
        f"{str(given)!r} is neither a file nor one of {list(NAMED_DATASETS)}"
    )
