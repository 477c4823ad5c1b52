"""Early, late and hybrid classifiers and regressors: limits, invariances, gaps."""

import pickle

import numpy as np
import pytest
import sklearn
from scipy import sparse
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.decomposition import PCA
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import RandomForestClassifier, VotingClassifier
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.linear_model import (
    BayesianRidge,
    LinearRegression,
    LogisticRegression,
    Ridge,
)
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    KFold,
    StratifiedKFold,
    cross_val_predict,
)
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, SVR, LinearSVC
from sklearn.tree import DecisionTreeClassifier

from mmfusion import (
    EarlyFusion,
    EarlyFusionClassifier,
    EarlyFusionRegressor,
    HybridFusionClassifier,
    HybridFusionRegressor,
    LateFusionClassifier,
    LateFusionRegressor,
    Modalities,
)
from mmfusion.datasets import make_multimodal_blobs
from mmfusion.preprocessing import ModalityImputer, PerModality

NAMES = ["audio", "text", "video"]
CLASSIFIERS = [EarlyFusionClassifier, LateFusionClassifier, HybridFusionClassifier]
REGRESSORS = [EarlyFusionRegressor, LateFusionRegressor, HybridFusionRegressor]
POOLS = [LateFusionClassifier, HybridFusionClassifier]
COMBINES = ["soft_vote", "hard_vote", "log_pool", "stacking"]
REGRESSOR_COMBINES = ["mean", "median", "stacking"]


def blobs(n_samples=120, missing_rate=0.0, seed=0, std=3.0):
    X, y = make_multimodal_blobs(
        n_samples,
        dict(zip(NAMES, (3, 4, 2), strict=True)),
        centers=3,
        cluster_std=std,
        missing_rate=missing_rate,
        random_state=seed,
    )
    return X, y


def measured(n_samples=200, noise=(0.5, 1.0, 2.0), seed=0):
    """Modalities that measure y, each with noise of its own."""
    rng = np.random.default_rng(seed)
    y = rng.normal(size=n_samples)
    return Modalities(
        {
            name: (y + std * rng.normal(size=n_samples))[:, None]
            for name, std in zip(NAMES, noise, strict=True)
        }
    ), y


def lacking(X, rows, names=NAMES):
    """Samples that lack these modalities."""
    observed = X.observed.copy()
    observed[np.ix_(rows, [X.names.index(name) for name in names])] = False
    return Modalities(X, observed=observed)


# Limits


@pytest.mark.parametrize("cls", CLASSIFIERS)
def test_one_modality_as_it_is_is_the_classifier_itself(cls):
    X, y = blobs()
    inner = SVC() if cls is EarlyFusionClassifier else GaussianNB()
    fused = cls(inner, scaling=None).fit(X[["audio"]], y)
    alone = clone(inner).fit(X["audio"], y)
    np.testing.assert_array_equal(
        fused.predict(X[["audio"]]), alone.predict(X["audio"])
    )
    if hasattr(inner, "predict_proba"):
        np.testing.assert_allclose(
            fused.predict_proba(X[["audio"]]), alone.predict_proba(X["audio"])
        )


@pytest.mark.parametrize("combine", ["soft_vote", "hard_vote", "log_pool"])
@pytest.mark.parametrize("cls", POOLS)
def test_one_modality_is_its_classifier_under_any_combiner(cls, combine):
    X, y = blobs()
    fused = cls(GaussianNB(), scaling=None, combine=combine).fit([X["audio"]], y)
    alone = GaussianNB().fit(X["audio"], y)
    np.testing.assert_array_equal(
        fused.predict([X["audio"]]), alone.predict(X["audio"])
    )


@pytest.mark.parametrize("cls", REGRESSORS)
def test_one_modality_as_it_is_is_the_regressor_itself(cls):
    X, y = measured()
    fused = cls(SVR(), scaling=None).fit([X["audio"]], y)
    expected = SVR().fit(X["audio"], y).predict(X["audio"])
    np.testing.assert_allclose(fused.predict([X["audio"]]), expected)


@pytest.mark.parametrize("combine", ["soft_vote", "hard_vote"])
def test_identical_modalities_are_one(combine):
    X, y = blobs()
    late = LateFusionClassifier(combine=combine)
    one = clone(late).fit([X["audio"]], y)
    three = clone(late).fit([X["audio"]] * 3, y)
    expected = one.decision_function([X["audio"]])
    np.testing.assert_allclose(three.decision_function([X["audio"]] * 3), expected)


@pytest.mark.parametrize("combine", ["mean", "median"])
@pytest.mark.parametrize("weights", ["uniform", "inverse_variance", "error_covariance"])
def test_identical_modalities_are_one_for_regressors(combine, weights):
    if (combine, weights) == ("median", "error_covariance"):
        return
    X, y = measured()
    late = LateFusionRegressor(combine=combine, weights=weights)
    one = clone(late).fit([X["audio"]], y).predict([X["audio"]])
    three = clone(late).fit([X["audio"]] * 3, y).predict([X["audio"]] * 3)
    np.testing.assert_allclose(three, one)


@pytest.mark.parametrize("combine", COMBINES)
@pytest.mark.parametrize("weights", [[1, 0, 1], {"text": 0}])
def test_weight_zero_removes_a_modality(combine, weights):
    X, y = blobs(missing_rate=0.2)
    rest = ["audio", "video"]
    removed = LateFusionClassifier(combine=combine).fit(X[rest], y)
    muted = LateFusionClassifier(combine=combine, weights=weights).fit(X, y)
    np.testing.assert_allclose(
        muted.decision_function(X), removed.decision_function(X[rest])
    )
    np.testing.assert_array_equal(muted.predict(X), removed.predict(X[rest]))


@pytest.mark.parametrize("combine", REGRESSOR_COMBINES)
def test_weight_zero_removes_a_modality_from_regressors(combine):
    X, y = measured()
    rest = ["audio", "video"]
    removed = LateFusionRegressor(combine=combine).fit(X[rest], y)
    muted = LateFusionRegressor(combine=combine, weights={"text": 0}).fit(X, y)
    np.testing.assert_allclose(muted.predict(X), removed.predict(X[rest]))


def test_weight_zero_removes_a_modality_from_early_fusion():
    X, y = blobs()
    removed = EarlyFusionClassifier().fit(X[["audio", "video"]], y)
    muted = EarlyFusionClassifier(weights={"text": 0}).fit(X, y)
    np.testing.assert_allclose(
        muted.predict_proba(X), removed.predict_proba(X[["audio", "video"]])
    )


@pytest.mark.parametrize("voting", ["soft", "hard"])
def test_late_fusion_is_the_voting_of_sklearn(voting):
    X, y = blobs()
    table, spec = X.to_array(), X.column_spec()

    class Columns(ClassifierMixin, BaseEstimator):
        """A classifier of some columns."""

        def __init__(self, columns=None):
            self.columns = columns

        def fit(self, X, y):
            self.inner_ = GaussianNB().fit(X[:, self.columns], y)
            self.classes_ = self.inner_.classes_
            return self

        def predict(self, X):
            return self.inner_.predict(X[:, self.columns])

        def predict_proba(self, X):
            return self.inner_.predict_proba(X[:, self.columns])

    theirs = VotingClassifier(
        [(n, Columns(c)) for n, c in spec.items()], voting=voting, weights=[1, 2, 3]
    ).fit(table, y)
    ours = LateFusionClassifier(
        GaussianNB(),
        combine=f"{voting}_vote",
        weights=[1, 2, 3],
        scaling=None,
        modalities=spec,
    ).fit(table, y)
    np.testing.assert_array_equal(ours.predict(table), theirs.predict(table))
    if voting == "soft":
        np.testing.assert_allclose(
            ours.predict_proba(table), theirs.predict_proba(table)
        )


def test_early_fusion_is_the_classifier_behind_the_fusion():
    X, y = blobs()
    behind = make_pipeline(EarlyFusion(reducer=PCA(2)), SVC()).fit(X, y)
    fused = EarlyFusionClassifier(SVC(), reducer=PCA(2)).fit(X, y)
    np.testing.assert_allclose(fused.decision_function(X), behind.decision_function(X))


def test_the_log_pool_of_independent_gaussian_modalities_is_the_posterior():
    rng = np.random.default_rng(0)
    y = (rng.random(500) < 0.3).astype(int)
    X = {n: rng.normal(size=(500, 2)) + k * y[:, None] for k, n in enumerate("abc")}
    late = LateFusionClassifier(GaussianNB(), combine="log_pool", scaling=None)
    joint = GaussianNB().fit(np.hstack(list(X.values())), y)
    exact = joint.predict_proba(np.hstack(list(X.values())))
    # the smoothing of variances by GaussianNB differs between one and all
    np.testing.assert_allclose(late.fit(X, y).predict_proba(X), exact, atol=1e-5)


def test_the_log_pool_counts_evidence_once_in_hybrid_fusion():
    """Of one modality there are two branches with the same predictions."""
    X, y = blobs()
    alone = GaussianNB().fit(X["audio"], y).predict_proba(X["audio"])
    hybrid = HybridFusionClassifier(GaussianNB(), combine="log_pool", scaling=None)
    found = hybrid.fit([X["audio"]], y).predict_proba([X["audio"]])
    np.testing.assert_allclose(found, alone, atol=1e-4)


@pytest.mark.parametrize("what", ["classifier", "regressor"])
def test_hybrid_fusion_with_weight_on_one_branch_is_that_branch(what):
    X, y = blobs() if what == "classifier" else measured()
    hybrid, early, late = {
        "classifier": (
            HybridFusionClassifier(),
            EarlyFusionClassifier(),
            LateFusionClassifier(),
        ),
        "regressor": (
            HybridFusionRegressor(),
            EarlyFusionRegressor(),
            LateFusionRegressor(),
        ),
    }[what]
    method = "predict_proba" if what == "classifier" else "predict"
    if what == "classifier":
        late, hybrid = (e.set_params(combine="log_pool") for e in (late, hybrid))
    for weights, other in ([0, 0, 0, 1], early), ([1, 1, 1, 0], late):
        found = getattr(hybrid.set_params(weights=weights).fit(X, y), method)(X)
        np.testing.assert_allclose(found, getattr(other.fit(X, y), method)(X))


def test_subsets_are_branches_of_hybrid_fusion():
    X, y = blobs()
    subset = ["text", "video"]
    hybrid = HybridFusionClassifier(subsets=[subset], weights=[0, 0, 0, 1, 0]).fit(X, y)
    early = EarlyFusionClassifier().fit(X[subset], y)
    np.testing.assert_allclose(hybrid.predict_proba(X), early.predict_proba(X[subset]))
    assert list(hybrid.estimators_) == [*NAMES, "text+video", "early"]


@pytest.mark.parametrize("subsets", [[["smell"]], [[]], ["audio"], [["audio"]]])
def test_subsets_that_are_none_are_refused(subsets):
    X, y = blobs()
    with pytest.raises(ValueError, match=r"subset"):
        HybridFusionClassifier(subsets=subsets).fit(X, y)


# Order does not matter


@pytest.mark.parametrize("cls", [*CLASSIFIERS, *REGRESSORS])
def test_the_order_of_modalities_does_not_matter(cls):
    X, y = blobs(missing_rate=0.2) if cls in CLASSIFIERS else measured()
    turned = X[NAMES[::-1]]
    method = "predict_proba" if cls in CLASSIFIERS else "predict"
    found = getattr(cls().fit(turned, y), method)(turned)
    expected = getattr(cls().fit(X, y), method)(X)
    np.testing.assert_allclose(found, expected, atol=2e-4)


@pytest.mark.parametrize("combine", COMBINES)
def test_the_order_of_modalities_does_not_matter_to_what_is_learned(combine):
    X, y = blobs(missing_rate=0.2)
    late = LateFusionClassifier(
        RandomForestClassifier(5),
        combine=combine,
        weights="log_loss",
        calibration="sigmoid",
        sample_weighting="conformal",
        random_state=0,
    )
    turned = X[NAMES[::-1]]
    expected = clone(late).fit(X, y)
    found = clone(late).fit(turned, y)
    np.testing.assert_allclose(
        found.modality_weights_[::-1], expected.modality_weights_
    )
    np.testing.assert_allclose(
        found.decision_function(turned), expected.decision_function(X), atol=1e-3
    )


# Weights of modalities


@pytest.mark.parametrize("weights", ["score", "log_loss", "inverse_variance"])
def test_an_uninformative_modality_has_least_weight(weights):
    X, y = blobs(300, std=1.0)
    noise = np.random.default_rng(0).normal(size=(300, 4))
    late = LateFusionClassifier(weights=weights)
    late.fit(Modalities(X.to_dict() | {"text": noise}), y)
    known = late.modality_weights_[[0, 2]]
    assert late.modality_weights_.mean() == pytest.approx(1)
    assert late.modality_weights_[1] < known.min() * (
        0.1 if weights == "score" else 0.7
    )


def test_inverse_variance_recovers_the_noise():
    noise = np.array([0.1, 0.2, 0.4])
    X, y = measured(4000, noise)
    late = LateFusionRegressor(LinearRegression(), weights="inverse_variance").fit(X, y)
    # least squares shrinks: what is left of unit variance is noise / (1 + noise)
    expected = 1 / (noise**2 / (1 + noise**2))
    np.testing.assert_allclose(
        late.modality_weights_, expected / expected.mean(), rtol=0.1
    )


def test_a_copied_modality_shares_the_weight_that_it_had():
    X, y = measured(2000, (0.5, 0.5, 0.5))
    twice = Modalities({"audio": X["audio"], "copy": X["audio"], "text": X["text"]})
    late = LateFusionRegressor(LinearRegression(), weights="error_covariance")
    shares = late.fit(twice, y).modality_weights_ / 3
    assert shares[0] == pytest.approx(shares[1])
    assert shares[0] + shares[1] == pytest.approx(shares[2], abs=0.1)
    uniform = LateFusionRegressor(LinearRegression()).fit(twice, y)
    assert late.score(twice, y) > uniform.score(twice, y)


def test_weights_by_quality_beat_uniform_ones_where_noise_differs():
    X, y = measured(1000, (0.1, 1.0, 3.0))
    test, truth = measured(1000, (0.1, 1.0, 3.0), seed=1)
    scores = {
        w: LateFusionRegressor(weights=w).fit(X, y).score(test, truth)
        for w in ("uniform", "score", "inverse_variance", "error_covariance")
    }
    assert min(scores["inverse_variance"], scores["error_covariance"]) > 0.98
    assert scores["uniform"] < scores["score"] < scores["inverse_variance"]


def test_folds_with_gaps_give_weights_too():
    X, y = blobs(missing_rate=0.4)
    late = LateFusionClassifier(weights="score", calibration="isotonic", cv=3)
    assert late.fit(X, y).predict_proba(X).shape == (120, 3)


@pytest.mark.parametrize(
    "params",
    [{"combine": "median"}, {"sample_weighting": "conformal"}],
)
def test_error_covariance_refuses_what_cannot_be_negative(params):
    X, y = measured()
    with pytest.raises(ValueError, match="inverse_variance"):
        LateFusionRegressor(weights="error_covariance", **params).fit(X, y)


# Weights of samples


@pytest.mark.parametrize("scheme", ["conformal", "distance"])
@pytest.mark.parametrize("cls", [LateFusionClassifier, LateFusionRegressor])
def test_a_noisy_modality_of_a_sample_loses_its_weight(cls, scheme):
    X, y = blobs(300) if cls is LateFusionClassifier else measured(300)
    late = cls(sample_weighting=scheme).fit(X, y)
    text = X["text"] + 0.0
    text[:50] += 30 * np.random.default_rng(0).normal(size=text[:50].shape)
    weights = late.sample_weights(Modalities(X.to_dict() | {"text": text}))
    np.testing.assert_allclose(weights.sum(axis=1), 1)
    assert np.median(weights[:50, 1]) < 0.1
    assert weights[50:, 1].mean() > 0.25


@pytest.mark.parametrize("scheme", ["conformal", "distance"])
def test_weights_of_samples_save_accuracy_from_noise(scheme):
    X, y = blobs(400, std=1.5)
    train, test = np.arange(200), np.arange(200, 400)
    text = X["text"] + 0.0
    text[test] += 30 * np.random.default_rng(0).normal(size=text[test].shape)
    spoilt = Modalities(X.to_dict() | {"text": text})[test]
    pool = LateFusionClassifier(combine="log_pool")
    uniform = clone(pool).fit(X[train], y[train]).score(spoilt, y[test])
    weighted = pool.set_params(sample_weighting=scheme).fit(X[train], y[train])
    assert weighted.score(X[test], y[test]) > 0.98
    assert weighted.score(spoilt, y[test]) > uniform + 0.3


def test_uncertain_modalities_have_less_weight():
    X, y = blobs()
    late = LateFusionClassifier(sample_weighting="entropy").fit(X, y)
    weights = late.sample_weights(X)
    unsure = np.column_stack(
        [
            late.estimators_[n].predict_proba(block).max(axis=1)
            for n, block in zip(
                NAMES,
                (
                    EarlyFusion({n: late.scaling_[n]}).fit_transform(X[[n]])
                    for n in NAMES
                ),
                strict=True,
            )
        ]
    )
    surest = unsure.argmax(axis=1)
    assert np.mean(weights.argmax(axis=1) == surest) > 0.9


def test_predictive_variances_weigh_samples():
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, (60, 2))
    y = np.sin(3 * x[:, 0])
    X = Modalities({"a": x[:, [0]], "b": x[:, [0]] + 0.3 * rng.normal(size=(60, 1))})
    regressors = GaussianProcessRegressor(alpha=0.01, optimizer=None)
    late = LateFusionRegressor(regressors, sample_weighting="predictive_variance")
    far = Modalities({"a": [[9.0], [0.0]], "b": [[0.0], [9.0]]})
    weights = late.fit(X, y).sample_weights(far)
    assert weights[0, 0] < 0.1
    assert weights[1, 1] < 0.1
    mean, std = zip(
        *(
            late.estimators_[n].predict(
                EarlyFusion({n: late.scaling_[n]}).fit(X[[n]]).transform(far[[n]]),
                return_std=True,
            )
            for n in "ab"
        ),
        strict=True,
    )
    precision = 1 / np.square(std)
    expected = (precision * mean).sum(axis=0) / precision.sum(axis=0)
    np.testing.assert_allclose(late.predict(far), expected)


def test_a_regressor_without_predictive_variance_is_named():
    X, y = measured()
    late = LateFusionRegressor(
        {"audio": BayesianRidge(), "text": Ridge(), "video": BayesianRidge()},
        sample_weighting="predictive_variance",
    )
    with pytest.raises(ValueError, match=r"'text'.*Ridge.*return_std"):
        late.fit(X, y)


# Stacking and calibration do not leak


class Recorder(LogisticRegression):
    """Keeps what it was trained on."""

    def fit(self, X, y, sample_weight=None):
        self.seen_ = X, y
        return super().fit(X, y, sample_weight)


@pytest.mark.parametrize("cls", POOLS)
@pytest.mark.parametrize("calibration", [None, "isotonic"])
def test_the_final_estimator_sees_nothing_of_random_labels(cls, calibration):
    rng = np.random.default_rng(0)
    X = {name: rng.normal(size=(400, 5)) for name in NAMES}
    y = rng.integers(0, 2, 400)
    memory = DecisionTreeClassifier(random_state=0)  # knows its training data by heart
    stack = cls(
        memory, combine="stacking", final_estimator=Recorder(), calibration=calibration
    ).fit(X, y)
    inputs, labels = stack.final_estimator_.seen_
    for column in inputs.T:
        chance = np.corrcoef(column, labels)[0, 1]
        assert abs(chance) < 0.15
    assert stack.estimators_["audio"].get_depth() > 3


def test_the_inputs_of_the_final_estimator_are_those_of_cross_val_predict():
    X, y = blobs()
    cv = StratifiedKFold(4, shuffle=True, random_state=0)
    stack = LateFusionClassifier(combine="stacking", final_estimator=Recorder(), cv=cv)
    inputs, _ = stack.fit(X, y).final_estimator_.seen_
    expected = [
        cross_val_predict(
            make_pipeline(EarlyFusion("standard"), LogisticRegression(max_iter=1000)),
            X[[name]],
            y,
            cv=cv,
            method="predict_proba",
        )
        for name in NAMES
    ]
    assert set(stack.scaling_.values()) == {"standard"}
    np.testing.assert_allclose(inputs, np.hstack(expected), atol=1e-6)


def test_calibrated_probabilities_are_those_of_sklearn():
    X, y = blobs(300)
    late = LateFusionClassifier(GaussianNB(), calibration="isotonic", scaling=None)
    theirs = CalibratedClassifierCV(
        GaussianNB(), method="isotonic", cv=5, ensemble=False
    ).fit(X["audio"], y)
    found = late.fit([X["audio"]], y).predict_proba([X["audio"]])
    np.testing.assert_allclose(found, theirs.predict_proba(X["audio"]), atol=0.01)


@pytest.mark.parametrize("combine", COMBINES)
def test_classifiers_without_probabilities_are_calibrated(combine):
    X, y = blobs(std=1.0)
    late = LateFusionClassifier(LinearSVC(), combine=combine, calibration="sigmoid")
    assert late.fit(X, y).score(X, y) > 0.9


def test_certain_probabilities_in_float32_are_calibrated():
    X, y = blobs(std=0.1)
    single = {n: b.astype(np.float32) for n, b in X.to_dict().items()}
    late = LateFusionClassifier(LogisticRegression(C=1e6), calibration="sigmoid")
    assert late.fit(single, y).score(single, y) == 1


def test_classifiers_without_probabilities_are_refused_where_they_are_needed():
    X, y = blobs()
    late = LateFusionClassifier({"text": LinearSVC()})
    with pytest.raises(ValueError, match=r"'text'.*LinearSVC.*calibration"):
        late.fit(X, y)
    assert not hasattr(late, "predict_proba")
    for combine in ("hard_vote", "stacking"):
        late = LateFusionClassifier(LinearSVC(), combine=combine).fit(X, y)
        assert late.predict(X).shape == (120,)
    assert not hasattr(LateFusionClassifier(combine="hard_vote"), "predict_proba")
    assert not hasattr(EarlyFusionClassifier(LinearSVC()), "predict_proba")


# Samples and modalities that are not there


@pytest.mark.parametrize("cls", [*CLASSIFIERS, *REGRESSORS])
@pytest.mark.parametrize("kind", ["mask", "none", "frames", "sparse"])
def test_a_modality_may_be_absent_when_predicting(cls, kind):
    pandas = pytest.importorskip("pandas")
    X, y = blobs() if cls in CLASSIFIERS else measured()
    if kind == "sparse":
        X = Modalities(X.to_dict() | {"video": sparse.csr_array(X["video"])})
    if kind == "frames":
        X = Modalities({n: pandas.DataFrame(b) for n, b in X.to_dict().items()})
    estimator = cls().fit(X, y)
    if kind == "mask":
        later = lacking(X, range(len(X)), ["video"])
    else:
        later = Modalities(X.to_dict() | {"video": None})
    assert estimator.score(later, y) > (0.5 if cls in CLASSIFIERS else 0.3)
    predictions = estimator.modality_predictions(later)
    column = list(NAMES).index("video")
    assert np.isnan(predictions[:, column]).all()
    assert not np.isnan(predictions[:, :column]).any()


@pytest.mark.parametrize("missing", ["mean", "knn", "zero"])
@pytest.mark.parametrize("cls", [EarlyFusionClassifier, HybridFusionClassifier])
def test_sparse_modalities_with_gaps_are_as_dense_ones(cls, missing):
    X, y = blobs(missing_rate=0.2)
    dense = Modalities(
        {
            n: np.where(o[:, None], b, 0)
            for (n, b), o in zip(X.to_dict().items(), X.observed.T, strict=True)
        },
        observed=X.observed,
    )
    thin = Modalities(
        {n: sparse.csr_array(b) for n, b in dense.to_dict().items()},
        observed=X.observed,
    )
    # unscaled, since sparse modalities are not centred
    expected = cls(missing=missing, scaling=None).fit(dense, y).predict_proba(dense)
    found = cls(missing=missing, scaling=None).fit(thin, y).predict_proba(thin)
    np.testing.assert_allclose(found, expected, atol=1e-3)


@pytest.mark.parametrize("cls", CLASSIFIERS)
def test_what_was_sparse_in_fit_is_scaled_alike_when_dense_or_absent(cls):
    X, y = blobs()
    thin = Modalities({n: sparse.csr_array(np.abs(b)) for n, b in X.to_dict().items()})
    dense = Modalities({n: b.toarray() for n, b in thin.to_dict().items()})
    fitted = cls().fit(thin, y)
    expected = fitted.predict_proba(thin)
    np.testing.assert_allclose(fitted.predict_proba(dense), expected)
    gaps = lacking(thin, np.arange(1, len(y)), ["text"])
    absent = Modalities(thin.to_dict() | {"text": None})
    np.testing.assert_allclose(
        fitted.predict_proba(absent)[1:], fitted.predict_proba(gaps)[1:]
    )


@pytest.mark.parametrize("combine", COMBINES)
def test_late_fusion_without_a_modality_is_that_of_the_others(combine):
    X, y = blobs()
    if combine == "stacking":
        return
    rest = ["audio", "video"]
    full = LateFusionClassifier(combine=combine).fit(X, y)
    part = LateFusionClassifier(combine=combine).fit(X[rest], y)
    later = Modalities(X.to_dict() | {"text": None})
    np.testing.assert_allclose(
        full.decision_function(later), part.decision_function(X[rest])
    )


@pytest.mark.parametrize("cls", CLASSIFIERS)
@pytest.mark.parametrize("combine", COMBINES)
def test_samples_with_nothing_get_the_prior(cls, combine):
    if cls is EarlyFusionClassifier and combine != "soft_vote":
        return
    X, y = blobs()
    y = np.array(["a", "b", "commonest"])[np.where(y == 1, 1, 2)]
    X = lacking(X, [0, 1])
    params = {} if cls is EarlyFusionClassifier else {"combine": combine}
    estimator = cls(**params).fit(X, y)
    prior = [np.mean(y == c) for c in estimator.classes_]
    for rows in (np.arange(2), np.arange(10)):
        assert set(estimator.predict(X[rows])[:2]) == {"commonest"}
        if combine != "hard_vote":
            found = estimator.predict_proba(X[rows])[:2]
            np.testing.assert_allclose(found, [prior, prior])
        predictions = estimator.modality_predictions(X[rows])
        assert all(label is None for label in predictions[:2].ravel())
    strict = cls(on_empty="raise", **params)
    with pytest.raises(ValueError, match="sample 0 lacks every modality"):
        strict.fit(X, y)
    with pytest.raises(ValueError, match="sample 0 lacks every modality"):
        strict.fit(X[2:], y[2:]).predict(X)


@pytest.mark.parametrize("cls", REGRESSORS)
@pytest.mark.parametrize("combine", REGRESSOR_COMBINES)
@pytest.mark.parametrize("n_outputs", [None, 2])
def test_samples_with_nothing_get_the_mean(cls, combine, n_outputs):
    X, y = measured()
    y = y if n_outputs is None else np.column_stack([y, 3 - y])
    X = lacking(X, [0, 1])
    params = {} if cls is EarlyFusionRegressor else {"combine": combine}
    estimator = cls(**params).fit(X, y)
    for rows in (np.arange(2), np.arange(10)):
        found = estimator.predict(X[rows])
        assert found.shape == y[rows].shape
        np.testing.assert_allclose(found[:2], [y.mean(axis=0)] * 2)


def test_a_class_that_a_modality_never_saw_keeps_its_prior():
    X, y = blobs(300, std=0.5)
    X = lacking(X, np.flatnonzero(y == 2), ["audio"])
    late = LateFusionClassifier(combine="log_pool").fit(X, y)
    assert late.estimators_["audio"].classes_.tolist() == [0, 1]
    only = lacking(X, range(300), ["text", "video"])[np.flatnonzero(y != 2)]
    np.testing.assert_allclose(late.predict_proba(only)[:, 2], np.mean(y == 2))
    assert late.score(X, y) > 0.95


def test_a_modality_observed_with_one_class_only_predicts_the_prior():
    X, y = blobs(std=0.5)
    X = lacking(X, np.flatnonzero(y != 2), ["audio"])
    late = LateFusionClassifier().fit(X, y)
    assert isinstance(late.estimators_["audio"], DummyClassifier)
    prior = [np.mean(y == c) for c in range(3)]
    only = lacking(X, range(120), ["text", "video"])[np.flatnonzero(y == 2)]
    np.testing.assert_allclose(late.predict_proba(only), [prior] * len(only))


@pytest.mark.parametrize("missing", ["mean", "knn", "zero"])
def test_early_fusion_fills_in_like_the_imputer(missing):
    X, y = blobs(missing_rate=0.2)
    X, y = X[X.observed.any(axis=1)], y[X.observed.any(axis=1)]
    filled = ModalityImputer(missing).fit_transform(X)
    early = EarlyFusionClassifier(missing=missing).fit(X, y)
    expected = EarlyFusionClassifier(missing="raise").fit(filled, y)
    np.testing.assert_allclose(early.predict_proba(X), expected.predict_proba(filled))


def test_early_fusion_refuses_gaps_if_missing_is_raise():
    X, y = blobs(missing_rate=0.2)
    early = EarlyFusionClassifier(missing="raise")
    with pytest.raises(ValueError, match="ModalityImputer"):
        early.fit(X, y)
    assert not hasattr(early, "modality_predictions")


def test_hybrid_fusion_can_skip_samples_with_gaps():
    X, y = blobs(missing_rate=0.2)
    complete = X.observed.all(axis=1)
    hybrid = HybridFusionClassifier(missing="skip").fit(X, y)
    early = EarlyFusionClassifier(scaling="block").fit(X[complete], y[complete])
    predictions = hybrid.modality_predictions(X)[:, -1]
    np.testing.assert_array_equal(np.isnan(predictions), ~complete)
    np.testing.assert_array_equal(predictions[complete], early.predict(X[complete]))
    nobody = lacking(lacking(X, range(60), ["audio"]), range(60, 120), ["text"])
    with pytest.raises(ValueError, match=r"'early'.*no sample has all"):
        hybrid.fit(nobody, y)


@pytest.mark.parametrize("missing", ["mean", "knn"])
def test_dropout_makes_early_fusion_rely_on_each_modality(missing):
    """One modality is sufficient, so that without dropout the others are not used."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 600)
    X = Modalities(
        {
            "clear": y[:, None] + 0.1 * rng.normal(size=(600, 1)),
            "noisy": y[:, None] + 0.5 * rng.normal(size=(600, 1)),
        }
    )
    inner = DecisionTreeClassifier(max_depth=4, random_state=0)
    without = EarlyFusionClassifier(inner, missing=missing).fit(X[:300], y[:300])
    trained = EarlyFusionClassifier(
        inner, missing=missing, modality_dropout=0.3, random_state=0
    ).fit(X[:300], y[:300])
    later = Modalities({"clear": None, "noisy": X["noisy"]})[300:]
    assert trained.score(X[300:], y[300:]) > 0.98
    if missing == "mean":
        assert trained.score(later, y[300:]) > without.score(later, y[300:]) + 0.1
    again = clone(trained).fit(X[:300], y[:300])
    np.testing.assert_array_equal(again.predict_proba(X), trained.predict_proba(X))


def test_stacking_indicates_missing_modalities():
    X, y = blobs()
    X = lacking(X, range(30), ["text"])
    stack = LateFusionClassifier(combine="stacking", final_estimator=Recorder())
    inputs, _ = stack.fit(X, y).final_estimator_.seen_
    assert inputs.shape == (120, 3 * 3 + 1)
    np.testing.assert_array_equal(inputs[:, -1], np.arange(120) < 30)
    np.testing.assert_allclose(inputs[:30, 3:6], [inputs[30:, 3:6].mean(axis=0)] * 30)


# Metadata


def test_weights_of_samples_go_everywhere():
    X, y = blobs(missing_rate=0.2)
    weight = np.random.default_rng(0).integers(1, 4, len(y))
    rows = np.repeat(np.arange(len(y)), weight)
    cv = [(np.arange(len(y)), np.arange(len(y)))]  # the same for repeated samples
    repeated = [(np.arange(len(rows)), np.arange(len(rows)))]
    for params in (
        {},
        {"weights": "log_loss", "calibration": "sigmoid", "combine": "log_pool"},
        {"combine": "stacking"},
    ):
        inner = LogisticRegression(tol=1e-8, max_iter=9999)
        late = LateFusionClassifier(inner, final_estimator=inner, **params)
        weighted = clone(late).set_params(cv=cv).fit(X, y, sample_weight=weight)
        many = clone(late).set_params(cv=repeated).fit(X[rows], y[rows])
        np.testing.assert_allclose(
            weighted.predict_proba(X), many.predict_proba(X), atol=2e-3
        )


@pytest.mark.parametrize("cls", [*CLASSIFIERS, *REGRESSORS])
def test_metadata_routing_hands_on_what_is_requested(cls):
    X, y = blobs(missing_rate=0.2) if cls in CLASSIFIERS else measured()
    weight = np.random.default_rng(0).random(len(y)) + 0.1
    inner = LogisticRegression() if cls in CLASSIFIERS else Ridge()
    method = "predict_proba" if cls in CLASSIFIERS else "predict"
    expected = getattr(cls(inner).fit(X, y, sample_weight=weight), method)(X)
    with sklearn.config_context(enable_metadata_routing=True):
        requesting = clone(inner).set_fit_request(sample_weight=True)
        found = getattr(cls(requesting).fit(X, y, sample_weight=weight), method)(X)
        np.testing.assert_allclose(found, expected)
        with pytest.raises(sklearn.exceptions.UnsetMetadataPassedError):
            cls(inner).fit(X, y, sample_weight=weight)
        search = GridSearchCV(
            cls(requesting).set_score_request(sample_weight=True),
            {"scaling": ["block", "standard"]},
            cv=2,
        ).fit(X, y, sample_weight=weight)
        assert search.best_score_ > 0.3


@pytest.mark.parametrize("routing", [False, True])
def test_groups_are_held_out_together(routing):
    X, _ = blobs()
    groups = np.arange(120) // 4
    copies = {n: np.repeat(b[::4], 4, axis=0) for n, b in X.to_dict().items()}
    labels = np.random.default_rng(0).integers(0, 2, 30)[groups]
    inner = KNeighborsClassifier(1)
    stack = LateFusionClassifier(inner, combine="stacking", final_estimator=Recorder())
    with sklearn.config_context(enable_metadata_routing=routing):
        leaky = clone(stack).set_params(cv=KFold(5, shuffle=True, random_state=0))
        inputs, seen = leaky.fit(copies, labels).final_estimator_.seen_
        assert np.corrcoef(inputs[:, 0], seen)[0, 1] > 0.9
        tight = clone(stack).set_params(cv=GroupKFold(5))
        fitted = tight.fit(copies, labels, groups=groups)
        inputs, seen = fitted.final_estimator_.seen_
    assert abs(np.corrcoef(inputs[:, 0], seen)[0, 1]) < 0.5


def test_class_weights_are_those_of_the_classifiers():
    X, y = blobs(300)
    y = (y == 0).astype(int)
    plain = LateFusionClassifier(LogisticRegression()).fit(X, y)
    balanced = clone(plain).set_params(estimator__class_weight={0: 1, 1: 20}).fit(X, y)
    assert balanced.predict(X).sum() > plain.predict(X).sum()


# scikit-learn's ways


def test_parameters_of_modalities_can_be_searched():
    X, y = blobs(60)
    late = LateFusionClassifier({"audio": SVC(), "text": LogisticRegression()})
    search = GridSearchCV(
        late.set_params(calibration="sigmoid", cv=2),
        {
            "combine": ["soft_vote", "log_pool", "stacking"],
            "audio__C": [0.1, 10],
            "text": [GaussianNB()],
        },
        cv=2,
    ).fit(X, y)
    best = search.best_estimator_
    assert search.best_params_["audio__C"] == best.estimators_["audio"].C
    assert isinstance(best.estimators_["text"], GaussianNB)
    assert isinstance(best.estimators_["video"], LogisticRegression)


def test_branches_of_hybrid_fusion_have_parameters():
    X, y = blobs(60)
    hybrid = HybridFusionClassifier(
        {"early": SVC(), "audio+text": GaussianNB()},
        subsets=[["audio", "text"]],
        combine="hard_vote",
    )
    hybrid.set_params(early__C=7, **{"audio+text__var_smoothing": 1e-3}).fit(X, y)
    assert hybrid.estimators_["early"].C == 7
    assert hybrid.estimators_["audio+text"].var_smoothing == 1e-3


@pytest.mark.parametrize("cls", [*CLASSIFIERS, *REGRESSORS])
def test_they_stand_at_the_end_of_a_pipeline(cls):
    X, y = blobs(missing_rate=0.2) if cls in CLASSIFIERS else measured()
    pipeline = make_pipeline(PerModality(StandardScaler()), cls())
    copied = pickle.loads(pickle.dumps(clone(pipeline).fit(X, y)))
    np.testing.assert_array_equal(copied.predict(X), pipeline.fit(X, y).predict(X))


@pytest.mark.parametrize("cls", [LateFusionClassifier, HybridFusionClassifier])
def test_processes_fit_what_one_fits(cls):
    X, y = blobs(60, missing_rate=0.2)
    params = {"combine": "stacking", "cv": 2, "random_state": 0}
    one = cls(RandomForestClassifier(3), **params).fit(X, y)
    two = cls(RandomForestClassifier(3), n_jobs=2, **params).fit(X, y)
    np.testing.assert_array_equal(one.predict_proba(X), two.predict_proba(X))


@pytest.mark.parametrize("combine", REGRESSOR_COMBINES)
@pytest.mark.parametrize("cls", [LateFusionRegressor, HybridFusionRegressor])
def test_several_outputs_are_regressed_as_one_by_one(cls, combine):
    X, y = measured()
    Y = np.column_stack([y, y**2])
    both = cls(combine=combine, final_estimator=Ridge()).fit(X, Y)
    assert both.modality_predictions(X).shape[::2] == (200, 2)
    for o, own in enumerate(Y.T):
        one = cls(combine=combine, final_estimator=Ridge()).fit(X, own)
        if combine == "stacking":  # whose inputs are of both outputs
            assert both.score(X, Y) > 0.35
        else:
            np.testing.assert_allclose(both.predict(X)[:, o], one.predict(X))


def test_units_of_an_output_do_not_matter_to_weights():
    X, y = measured()
    Y = np.column_stack([y, np.roll(y, 1)])
    for weights in ("inverse_variance", "error_covariance", "score"):
        late = LateFusionRegressor(weights=weights)
        expected = clone(late).fit(X, Y).modality_weights_
        found = clone(late).fit(X, Y * [1000, 1]).modality_weights_
        np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_modality_predictions_are_those_of_the_estimators():
    X, y = blobs(missing_rate=0.2)
    late = LateFusionClassifier(scaling=None).fit(X, y)
    predictions = late.modality_predictions(X)
    for v, name in enumerate(NAMES):
        seen = X.observed[:, v]
        own = late.estimators_[name].predict(X[name][seen])
        np.testing.assert_array_equal(predictions[seen, v], own)
        assert np.isnan(predictions[~seen, v]).all()
