"""Importance: permutations, refits, missing modalities, spread and errors."""

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.inspection import permutation_importance
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline

from mmfusion import (
    EarlyFusion,
    EarlyFusionClassifier,
    EarlyFusionClusterer,
    EarlyFusionRegressor,
    LateFusionClassifier,
    Modalities,
)
from mmfusion.datasets import make_multimodal_blobs
from mmfusion.inspection import (
    modality_importance,
    modality_interactions,
    modality_shapley,
)

SIZES = {"audio": 3, "video": 3, "noise": 2}
METHODS = ["permutation", "drop", "mask"]


@pytest.fixture(scope="module")
def blobs():
    """Return three classes, of which audio and video have noisy indicators."""
    rng = np.random.default_rng(0)
    y = rng.integers(3, size=150)
    blocks = {n: rng.normal(size=(150, d)) for n, d in SIZES.items()}
    blocks["audio"] += 1.5 * np.eye(3)[y]
    blocks["video"] += 2.0 * np.eye(3)[y]
    return Modalities(blocks), y


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("fusion", [EarlyFusionClassifier, LateFusionClassifier])
def test_noise_has_the_least_importance(blobs, fusion, method):
    results = modality_importance(
        fusion(), *blobs, method=method, cv=3, scoring="neg_log_loss", random_state=0
    )
    audio, video, noise = results.importances_mean
    assert min(audio, video) > 2 * max(noise, 0)
    assert results.importances.shape == (3, 3, 5 if method == "permutation" else 1)


def test_dropped_modalities_are_those_of_cross_validation(blobs):
    X, y = blobs
    results = modality_importance(EarlyFusionClassifier(), X, y, method="drop", cv=3)
    full = cross_val_score(EarlyFusionClassifier(), X, y, cv=3)
    without = X[["audio", "noise"]]
    lost = full - cross_val_score(EarlyFusionClassifier(), without, y, cv=3)
    assert results.scores.tolist() == full.tolist()
    np.testing.assert_allclose(results.importances[1, :, 0], lost)


def test_permutations_of_a_fitted_estimator_agree_with_scikit_learn(blobs):
    X, y = blobs
    fitted = EarlyFusionClassifier().fit(X[:80], y[:80])
    options = {"n_repeats": 100, "random_state": 0}
    ours = modality_importance(fitted, X[80:], y[80:], **options)
    theirs = permutation_importance(fitted, X[80:], y[80:], **options)
    error = np.hypot(theirs.importances_std, ours.importances_std) / np.sqrt(100)
    differences = np.abs(ours.importances_mean - theirs.importances_mean)
    assert (differences < 5 * error + 1e-9).all()
    assert ours.units().shape == (3, 100)


def test_repeats_are_averaged_before_the_spread_over_folds(blobs):
    results = modality_importance(
        EarlyFusionClassifier(), *blobs, cv=3, n_repeats=4, random_state=0
    )
    by_fold = results.importances.mean(axis=2)
    np.testing.assert_allclose(results.importances_std, by_fold.std(axis=1, ddof=1))
    frame = results.to_frame()
    assert frame.index.tolist() == list(SIZES)
    np.testing.assert_allclose(frame["std"], results.importances_std)


def test_one_value_has_no_spread(blobs):
    X, y = blobs
    fitted = EarlyFusionClassifier().fit(X, y)
    results = modality_importance(fitted, X, y, method="mask")
    assert results.importances.shape == (3, 1, 1)
    assert np.isnan(results.importances_std).all()


def test_a_duplicate_makes_both_unimportant_to_drop(blobs):
    X, y = blobs
    data = {"audio": X["audio"], "again": X["audio"]}
    dropped = modality_importance(EarlyFusionClassifier(), data, y, method="drop")
    assert np.abs(dropped.importances_mean).max() < 0.05
    fitted = modality_importance(EarlyFusionClassifier(), data, y, cv=3, random_state=0)
    assert fitted.importances_mean.min() > 0.05


def test_permutations_exchange_observed_rows_only():
    X, y = make_multimodal_blobs(
        90, {"a": 2, "b": 2}, missing_rate=0.3, cluster_std=3.0, random_state=0
    )
    seen = []

    class Recorder(EarlyFusionClassifier):
        def predict(self, X):
            seen.append(X)
            return super().predict(X)

    results = modality_importance(
        Recorder().fit(X, y), X, y, n_repeats=1, random_state=0
    )
    first, changed = seen[0], seen[1]
    assert (changed.observed == first.observed).all()
    observed = X.observed[:, 0]
    rows, permuted = (frame["a"][observed] for frame in (first, changed))
    assert not np.array_equal(rows, permuted)
    np.testing.assert_array_equal(np.sort(rows, axis=0), np.sort(permuted, axis=0))
    assert changed["b"] is first["b"]
    assert results.importances_mean[0] > 0


def test_row_labels_stay_with_their_samples(blobs):
    X, y = blobs
    index = [f"s{i}" for i in range(len(y))]
    frames = {n: pd.DataFrame(b, index=index) for n, b in X.to_dict().items()}
    options = {"cv": 3, "random_state": 0}
    labelled = modality_importance(
        EarlyFusionClassifier(), Modalities(frames), pd.Series(y, index), **options
    )
    plain = modality_importance(EarlyFusionClassifier(), X, y, **options)
    np.testing.assert_allclose(labelled.importances, plain.importances)


def test_same_seed_same_result_in_parallel(blobs):
    options = {"cv": 2, "random_state": 3}
    one = modality_importance(LateFusionClassifier(), *blobs, **options)
    two = modality_importance(LateFusionClassifier(), *blobs, n_jobs=2, **options)
    assert one.importances.tolist() == two.importances.tolist()


def test_estimators_are_not_changed(blobs):
    estimator = LateFusionClassifier()
    before = repr(clone(estimator))
    modality_importance(estimator, *blobs, method="drop", cv=2)
    assert repr(estimator) == before
    assert not hasattr(estimator, "classes_")


def test_regressors_clusterers_and_pipelines(blobs):
    X, y = blobs
    target = X["video"][:, 0]
    regressor = modality_importance(
        EarlyFusionRegressor(), X, target, cv=3, random_state=0
    )
    assert regressor.metric == "r2"
    assert regressor.importances_mean.argmax() == 1
    clusterer = EarlyFusionClusterer(n_clusters=3, random_state=0)
    for target, metric in [(None, "modality_silhouette"), (y, "adjusted_rand_score")]:
        results = modality_importance(
            clusterer, X, target, method="drop", cv=StratifiedKFold(2).split(y, y)
        )
        assert results.metric == metric
    pipeline = make_pipeline(EarlyFusion(), LogisticRegression()).fit(X, y)
    assert modality_importance(pipeline, X, y, random_state=0).importances_mean[1] > 0


def test_errors_name_the_modality_and_the_remedy(blobs):
    X, y = blobs
    with pytest.raises(NotFittedError, match=r"call fit on other samples, or give cv"):
        modality_importance(EarlyFusionClassifier(), X, y)

    class NeedsAll(EarlyFusionClassifier):
        def fit(self, X, y):
            if X.shape[1] < 3:
                raise ValueError("three are needed")
            return super().fit(X, y)

        def predict(self, X):
            if not X.observed.all():
                raise ValueError("something is missing")
            return super().predict(X)

    for method, remedy in {
        "drop": "give method='permutation' or 'mask'",
        "mask": r"ModalityImputer\(\) before it",
    }.items():
        with pytest.raises(ValueError, match=f"without modality 'audio'.*{remedy}"):
            modality_importance(NeedsAll(), X, y, method=method, cv=2)
    assert modality_importance(NeedsAll(), X, y, cv=2).metric == "accuracy"


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"method": "shuffle"}, ValueError, "method"),
        ({"n_repeats": 0}, ValueError, "n_repeats"),
        ({"X": {"audio": np.ones((150, 2))}}, ValueError, "X has one modality"),
        ({"y": None}, ValueError, "target y is None"),
        ({"scoring": 3}, ValueError, "scoring"),
        ({"scoring": "nothing"}, ValueError, "'nothing' is unknown"),
        ({"cv": np.eye(2)}, ValueError, "cv"),
    ],
)
def test_invalid_arguments_are_refused(blobs, changes, error, message):
    X, y = blobs
    arguments = {"estimator": EarlyFusionClassifier(), "X": X, "y": y, "cv": 2}
    with pytest.raises(error, match=message):
        modality_importance(**arguments | changes)


@pytest.mark.parametrize("is_fitted", [True, False])
def test_tables_are_split_as_the_estimator_splits_them(is_fitted):
    X, y = make_multimodal_blobs(40, {"a": 3, "b": 4}, random_state=0)
    spec = {"a": [0, 1, 2], "b": [3, 4, 5, 6]}
    model, alone = EarlyFusionClassifier(modalities=spec), EarlyFusionClassifier()
    options = {} if is_fitted else {"cv": 3}
    if is_fitted:
        model.fit(X.to_array(), y)
        alone.fit(X, y)
    found = modality_importance(model, X.to_array(), y, random_state=0, **options)
    expected = modality_importance(alone, X, y, random_state=0, **options)
    assert found.names == ("a", "b")
    np.testing.assert_allclose(found.units(), expected.units())


def test_one_class_is_refused():
    X, _ = make_multimodal_blobs(20, random_state=0)
    for inspect in (modality_importance, modality_shapley, modality_interactions):
        with pytest.raises(ValueError, match=r"one class only, \['b'\].*at least 2"):
            inspect(EarlyFusionClassifier(), X, ["b"] * 20, cv=2)
