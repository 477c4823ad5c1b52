"""scikit-learn's checks and the multimodal contract, over every public estimator."""

import pytest
from sklearn.base import clone
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.utils.estimator_checks import parametrize_with_checks

from mmfusion import HMMClassifier, Trainer
from mmfusion.mkl import MKLClassifier, MKLClusterer, MKLRegressor, ModalityKernels
from mmfusion.testing import (
    all_estimators,
    check_multimodal_estimator,
    multimodal_checks,
)

SMALL_NETWORK = {
    "n_clusters": 2,
    "encoders": [16, 8],
    "trainer": Trainer(max_epochs=10, batch_size=20, lr=1e-2),
    "n_init": 1,
}
SMALL_PREDICTOR = {
    "encoders": [16, 8],
    "dropout": 0.0,
    "modality_dropout": 0.0,
    "modality_noise": 0.0,
    "n_members": 2,
    "trainer": Trainer(max_epochs=40, batch_size=1000, lr=2e-2, dtype="float64"),
}
SMALL_AUTOENCODER = SMALL_NETWORK | {
    "trainer": Trainer(pretrain_epochs=10, max_epochs=5, batch_size=20, lr=1e-2)
}
# Parameters that make the checks fast; they run hundreds of fits.
FAST = {
    "AutoencoderClusterer": [
        SMALL_AUTOENCODER,
        SMALL_AUTOENCODER | {"readout": "dec", "adversarial_weight": 0.01},
    ],
    "CoMVCClusterer": [SMALL_NETWORK],
    "DCCA": [
        {"encoders": [8, 2], "trainer": Trainer(max_epochs=5)},
        {
            "encoders": [8, 2],
            "loss": "eckart_young",
            "reconstruction_weight": 0.1,
            "trainer": Trainer(max_epochs=5),
        },
    ],
    "EAMCClusterer": [
        {
            "n_clusters": 2,
            "encoders": [32, 16],
            "trainer": Trainer(pretrain_epochs=30, max_epochs=3, batch_size=20),
            "n_init": 2,
        }
    ],
    "EarlyFusionClusterer": [{"clusterer": KMeans(n_init=2)}],
    "HybridFusionClusterer": [
        {"n_runs": 2},
        {"n_runs": 2, "combine": "vote", "missing": "skip"},
    ],
    # a check of tables expects the columns of four clusters
    "HMMClusterer": [{"n_clusters": 4, "n_states": 2, "n_init": 1}],
    # few iterations: more of them amplify the rounding of sums in another order
    "HiddenCRFClassifier": [{"n_states": 2, "tol": 0.05}],
    "HMMTransformer": [
        {"n_states": 3, "n_init": 1},
        {"n_states": 2, "n_init": 1, "coupling": "factorial"},
    ],
    "LateFusionClusterer": [
        {"n_runs": 2},
        {"n_runs": 2, "combine": "vote", "weights": "silhouette"},
        {"n_runs": 2, "combine": "coassociation", "weights": "stability"},
    ],
    "MKLClusterer": [  # a check of weights has four different samples
        {"n_clusters": 3, "n_init": 2} | params
        for params in (
            {},
            {"algorithm": "late_fusion", "approximation": "nystroem"},
            {"algorithm": "simple_mkkm", "neighborhood": 0.5},
        )
    ],
    "MultimodalMixture": [  # a check of sparse input expects four columns
        {"n_clusters": 4, "n_init": 2},
        {"n_clusters": 4, "n_init": 2, "explained_variance": None},
    ],
    "DMSCClusterer": [
        {
            "n_clusters": 2,
            "encoders": [16, 8],
            "trainer": Trainer(pretrain_epochs=5, max_epochs=40, batch_size=20),
        },
        {
            "n_clusters": 2,
            "encoders": [16, 8],
            "n_anchors": 10,
            "trainer": Trainer(pretrain_epochs=10, batch_size=20),
        },
    ],
    # whole batches without noise: weights of samples are then their numbers
    "CTCRecognizer": [
        {
            "encoders": (16,),
            "dropout": 0.0,
            "modality_dropout": 0.0,
            "modality_noise": 0.0,
            "trainer": SMALL_PREDICTOR["trainer"],
        }
    ],
    "NeuralFusionClassifier": [SMALL_PREDICTOR],
    "NeuralFusionRegressor": [SMALL_PREDICTOR | {"loss": "gaussian_nll"}],
    "MFLVCClusterer": [
        {
            "n_clusters": 2,
            "encoders": [16, 8],
            "matching_epochs": 10,
            "trainer": Trainer(
                pretrain_epochs=5, max_epochs=10, batch_size=20, lr=1e-2
            ),
        }
    ],
    # without convergence warnings; the data have four features at most
    "MultimodalNMF": [{"n_components": 2, "tol": 1e-3}],
    "SiMVCClusterer": [SMALL_NETWORK],
    "SingleModalityClusterer": [{"clusterer": KMeans(n_init=2)}],
}
# The checks give kernels to what takes them; but features to clusterers, whatever
# these take, so that MKLClusterer("precomputed") is not among them.
OF_KERNELS = [
    MKLClassifier("precomputed"),
    MKLRegressor("precomputed"),
    ModalityKernels("precomputed"),
]
# Couplings of two modalities exactly, which the checks of one table are split into.
OF_TWO_MODALITIES = [
    HMMClassifier(2, coupling=coupling, modalities=2)
    for coupling in ("asynchronous", "product")
]
# Further ways of one estimator that are worth the whole round of checks.
VARIANTS = {
    "AnchorGraphClusterer": [{}, {"weights": "reconstruction"}],
    "EarlyFusionClassifier": [{}, {"modality_dropout": 0.3}],
    "GaussianBayesClassifier": [
        {},
        {"covariance_type": "full", "modality_weights": "discriminative"},
    ],
    "HybridFusionClassifier": [{}, {"missing": "skip", "combine": "log_pool"}],
    "LateFusionClassifier": [
        {},
        {
            "combine": "log_pool",
            "weights": "score",
            "sample_weighting": "conformal",
            "calibration": "sigmoid",
            "cv": 2,
        },
        {"combine": "stacking", "cv": 2},
    ],
    "LateFusionRegressor": [{}, {"combine": "median"}],
    "DTWKernel": [{}, {"kernel": "distance", "combine": None}, {"kernel": "soft_dtw"}],
    "MKLClassifier": [
        {},
        {"algorithm": "easymkl"},
        {"kernel": "linear", "normalize": "cosine"},
    ],
    "MKLRegressor": [{}, {"algorithm": "lp"}],
    "ModalityImputer": [{}, {"strategy": "knn"}],
    "ModalityKernels": [{}, {"kernel": "linear", "normalize": "cosine"}],
    "PerModality": [{}, {"transformer": "passthrough"}],
    "SNFClusterer": [{}, {"n_stored": None}, {"n_neighbors": 5, "n_stored": 8}],
    "SpectralClusterer": [
        {},
        {"fusion": "co_regularized", "affinity": "adaptive"},
        {"fusion": "concatenated"},
    ],
}


def instances():
    for name, cls in all_estimators().items():
        for params in FAST.get(name, VARIANTS.get(name, [{}])):
            yield cls(**params)


def with_two_modalities():
    """The same, whose checks on one table run the multimodal path."""
    for estimator in instances():
        # splitting makes Modalities of a table, which sklearn's checks do not know
        if type(estimator).__name__ != "ModalitySplitter":
            yield clone(estimator).set_params(modalities=2)


# one check takes a constant off the kernel that it gives
@pytest.mark.filterwarnings("ignore:.*not positive semi-definite:UserWarning")
@pytest.mark.filterwarnings("ignore:.*are rows of zeros:UserWarning")
# networks without a seed may leave a cluster of 20 samples without structure empty
@pytest.mark.filterwarnings("ignore:.*is not healthy")
# samples without clusters, which no graph separates into components of like size
@pytest.mark.filterwarnings("ignore:the unified graph has:")
@pytest.mark.filterwarnings("ignore:one of .* clusters has:UserWarning")
@parametrize_with_checks(
    [*instances(), *with_two_modalities(), *OF_KERNELS, *OF_TWO_MODALITIES]
)
def test_estimators_pass_the_checks_of_sklearn(estimator, check):
    of_weights = "sample_weight_equivalence" in getattr(check, "func", check).__name__
    if of_weights and isinstance(estimator, MKLClusterer):
        # as for scikit-learn's KMeans; tests/mkl compares the partitions
        pytest.skip("k-means draws other first centres from repeated samples")
    check(estimator)


@pytest.mark.parametrize("check", multimodal_checks(), ids=lambda c: c.__name__)
@pytest.mark.parametrize("estimator", list(instances()), ids=str)
def test_estimators_keep_the_multimodal_contract(estimator, check):
    check(estimator)


def test_no_estimator_goes_unchecked():
    assert len(all_estimators()) >= 13
    assert {type(e).__name__ for e in instances()} == set(all_estimators())


@pytest.mark.parametrize("no_estimator", [PCA, None, "PCA"])
def test_the_contract_is_one_of_estimators(no_estimator):
    with pytest.raises(TypeError, match=r"estimator=.* is not an estimator"):
        check_multimodal_estimator(no_estimator)


def test_the_contract_finds_a_broken_estimator():
    class Forgetful(PCA):
        """Takes one table only."""

        def __modality_tags__(self):
            raise NotImplementedError

    failures = 0
    for check in multimodal_checks():
        try:
            check(Forgetful(n_components=1))
        except Exception:
            failures += 1
    assert failures > 10
