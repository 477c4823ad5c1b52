"""Kernels of sequences as branches of fusion, beside estimators of tables."""

import numpy as np
import pytest
from sklearn.cluster import KMeans, SpectralClustering
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import adjusted_rand_score
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.svm import SVC

from mmfusion import (
    EarlyFusionClassifier,
    HybridFusionClassifier,
    LateFusionClassifier,
    LateFusionClusterer,
    Modalities,
)
from mmfusion.alignment import DTWKernel
from mmfusion.datasets import make_multimodal_sequences
from mmfusion.mkl import MKLClassifier, ModalityKernels

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*not positive semi-definite", "ignore::FutureWarning"
)


@pytest.fixture(scope="module")
def patients():
    walks, y, _ = make_multimodal_sequences(
        72,
        {"gait": 2},
        n_classes=3,
        n_frames=25,
        sample_std=0.6,
        noise_std=1.0,
        random_state=1,
    )
    rng = np.random.default_rng(0)
    answers = rng.normal(size=(72, 4))
    answers[np.arange(72), y] += 1.5
    return Modalities({"gait": walks["gait"], "answers": answers}), y


def machine(kernel):
    return SVC(kernel=kernel, probability=True, random_state=0)


PARTS = {
    "svm": make_pipeline(DTWKernel("soft_dtw"), machine("precomputed")),
    "neighbors": make_pipeline(
        DTWKernel("divergence"), KNeighborsClassifier(5, metric="precomputed")
    ),
    "kernels": MKLClassifier("global_alignment", probability=True),
}


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("fusion", [LateFusionClassifier, HybridFusionClassifier])
def test_kernels_of_sequences_are_parts_of_fusion(patients, part, fusion):
    X, y = patients
    train, test = X[::2], X[1::2]
    estimators = {"gait": PARTS[part], "answers": machine("rbf")}
    fitted = fusion(estimators).fit(train, y[::2])
    assert fitted.score(test, y[1::2]) > 0.7


@pytest.mark.parametrize("part", PARTS)
def test_late_fusion_is_ahead_of_both_modalities(patients, part):
    X, y = patients
    estimators = {"gait": PARTS[part], "answers": machine("rbf")}
    fused = LateFusionClassifier(estimators).fit(X[::2], y[::2])
    score = fused.score(X[1::2], y[1::2])
    for name in X.names:
        alone = LateFusionClassifier(estimators[name]).fit(X[::2][[name]], y[::2])
        assert score > alone.score(X[1::2][[name]], y[1::2])


def test_samples_without_sequences_have_the_other_modality(patients):
    X, y = patients
    gait = list(X["gait"])
    gait[0] = gait[1] = None
    gappy = Modalities({"gait": gait, "answers": X["answers"]})
    estimators = {"gait": PARTS["svm"], "answers": machine("rbf")}
    fitted = LateFusionClassifier(estimators).fit(gappy[::2], y[::2])
    alone = machine("rbf").fit(X["answers"][::2], y[::2])
    assert fitted.predict_proba(gappy).shape == (72, 3)
    assert fitted.predict(gappy[[1]])[0] in alone.classes_


def test_a_search_sets_the_kernel_of_a_part(patients):
    X, y = patients
    late = LateFusionClassifier({"gait": PARTS["svm"], "answers": machine("rbf")})
    grid = {"gait__dtwkernel__softness": [0.1, 1.0]}
    search = GridSearchCV(late, grid, cv=2, error_score="raise").fit(X, y)
    assert search.best_score_ > 0.7


def test_early_fusion_takes_explicit_features_of_kernels(patients):
    X, y = patients
    features = ModalityKernels(
        {"gait": "global_alignment", "answers": "linear"},
        approximation="nystroem",
        n_components=30,
        random_state=0,
    )
    early = make_pipeline(features, EarlyFusionClassifier(LogisticRegression()))
    assert early.fit(X[::2], y[::2]).score(X[1::2], y[1::2]) > 0.7


def test_clusterings_of_kernels_reach_a_consensus(patients):
    X, y = patients
    kernel = DTWKernel("global_alignment")
    clusterer = SpectralClustering(3, affinity="precomputed", random_state=0)
    late = LateFusionClusterer(
        {"gait": make_pipeline(kernel, clusterer), "answers": KMeans(3, n_init=3)},
        n_clusters=3,
        n_runs=2,
        random_state=0,
    )
    labels = late.fit(X).labels_
    assert adjusted_rand_score(y, labels) > 0.25
