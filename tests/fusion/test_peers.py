"""What Voting and Stacking do, beside scikit-learn's own results; logs and reports."""

import numpy as np
import pytest
from scipy import sparse
from sklearn.cluster import AgglomerativeClustering, KMeans
from sklearn.compose import make_column_transformer
from sklearn.ensemble import (
    StackingClassifier,
    StackingRegressor,
    VotingClassifier,
    VotingRegressor,
)
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.linear_model import BayesianRidge, LogisticRegression, Ridge
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import KFold, StratifiedKFold
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, LinearSVC

from mmfusion import (
    EarlyFusionClassifier,
    EarlyFusionRegressor,
    HybridFusionClassifier,
    HybridFusionClusterer,
    HybridFusionRegressor,
    LateFusionClassifier,
    LateFusionClusterer,
    LateFusionRegressor,
    MKLClassifier,
    Modalities,
    PerModality,
)

CLASSIFIERS = [EarlyFusionClassifier, LateFusionClassifier, HybridFusionClassifier]
REGRESSORS = [EarlyFusionRegressor, LateFusionRegressor, HybridFusionRegressor]
PREDICTORS = [
    LateFusionClassifier,
    HybridFusionClassifier,
    LateFusionRegressor,
    HybridFusionRegressor,
]
WIDTHS = {"p": 3, "q": 2}


def make_data(n_classes=3, n_samples=90):
    rng = np.random.default_rng(0)
    y = np.arange(n_samples) % n_classes
    X = {n: rng.normal(size=(n_samples, w)) + y[:, None] for n, w in WIDTHS.items()}
    return Modalities(X), y


def parts(inner):
    """The predictors of the columns of each modality, for scikit-learn's ensembles."""
    by_name = inner if isinstance(inner, dict) else dict.fromkeys(WIDTHS, inner)
    columns = {"p": slice(0, 3), "q": slice(3, 5)}
    return [
        (name, make_pipeline(make_column_transformer(("passthrough", own)), inner))
        for (name, own), inner in zip(columns.items(), by_name.values(), strict=True)
    ]


def lacking(X):
    """The same samples, of which the first lacks p and the second q."""
    observed = np.ones((len(X), 2), dtype=bool)
    observed[[0, 1], [0, 1]] = False
    return Modalities(X, observed=observed)


# transform and names


@pytest.mark.parametrize("n_classes", [2, 3])
def test_classifiers_transform_as_voting_does(n_classes):
    X, y = make_data(n_classes)
    inner = {"p": LogisticRegression(), "q": GaussianNB()}
    voting = VotingClassifier(parts(inner), voting="soft")
    fusion = LateFusionClassifier(inner, scaling=None).fit(X, y)
    expected = voting.fit(X.to_array(), y).transform(X.to_array())
    np.testing.assert_allclose(fusion.transform(X), expected, rtol=1e-6)
    names = fusion.get_feature_names_out()
    assert names.tolist() == [f"{n}__{k}" for n in "pq" for k in range(n_classes)]


def test_regressors_transform_as_voting_does():
    X, y = make_data()
    voting = VotingRegressor(parts(Ridge())).fit(X.to_array(), y)
    fusion = LateFusionRegressor(Ridge(), scaling=None).fit(X, y)
    np.testing.assert_allclose(fusion.transform(X), voting.transform(X.to_array()))
    assert fusion.get_feature_names_out().tolist() == ["p", "q"]
    several = LateFusionRegressor().fit(X, np.column_stack([y, -y]))
    np.testing.assert_allclose(several.transform(X)[:, 0], -several.transform(X)[:, 1])
    names = several.get_feature_names_out().tolist()
    assert names == ["p__y0", "p__y1", "q__y0", "q__y1"]
    for cls in (LateFusionRegressor, HybridFusionRegressor):
        fitted = cls().fit(lacking(X), y)
        found = fitted.transform(lacking(X))
        np.testing.assert_array_equal(found, fitted.modality_predictions(lacking(X)))
        assert fitted.get_feature_names_out().tolist() == list(fitted.estimators_)


@pytest.mark.parametrize("cls", [*PREDICTORS, LateFusionClusterer])
def test_transforms_are_frames_on_request_and_nan_where_a_modality_is_missing(cls):
    X, y = make_data()
    seed = {"random_state": 0}
    fitted = cls(**seed).set_output(transform="pandas").fit(X, y)
    frame = fitted.transform(lacking(X))
    assert frame.columns.tolist() == fitted.get_feature_names_out().tolist()
    empty = frame.isna()
    of_p, of_q = ([c for c in frame if c.partition("__")[0] == n] for n in "pq")
    assert empty[of_p].to_numpy().sum() == len(of_p) == len(of_q)
    assert empty.loc[0, of_p].all()
    assert empty.loc[1, of_q].all()


@pytest.mark.parametrize("cls", [LateFusionClusterer, HybridFusionClusterer])
@pytest.mark.parametrize("combine", ["hbgf", "vote", "coassociation"])
def test_clusterers_transform_into_mean_shares_of_clusters(cls, combine):
    X, _ = make_data()
    X = lacking(X)
    clusterer = cls(n_clusters=3, n_runs=4, combine=combine, random_state=0).fit(X)
    found = clusterer.transform(X)
    branches = list(clusterer.clusterers_)
    assert found.shape == (90, 3 * len(branches))
    blocks = clusterer._blocks_of_branches(X)
    for b, name in enumerate(branches):
        own, observed = found[:, 3 * b : 3 * b + 3], blocks.observed[:, b]
        expected = np.zeros((90, 3))
        for run in clusterer.clusterers_[name]:
            for k in range(3):
                members = np.flatnonzero(observed)[run.labels_ == k]
                share = [np.mean(clusterer.labels_[members] == c) for c in range(3)]
                expected[members] += np.array(share) / 4
        np.testing.assert_allclose(own[observed], expected[observed], atol=1e-12)
        assert np.isnan(own[~observed]).all()
        nearest = clusterer.modality_labels_[observed, b]
        np.testing.assert_array_equal(own[observed].argmax(axis=1), nearest)


def test_soft_clusterers_transform_by_memberships():
    X, _ = make_data()
    mixture = GaussianMixture(3, random_state=0)
    clusterer = LateFusionClusterer(
        mixture, n_clusters=3, combine="soft_vote", n_runs=1, random_state=0
    ).fit(X[["p"]])
    run = clusterer.clusterers_["p"][0]
    scaled = (X["p"] - X["p"].mean(axis=0)) / X["p"].std(axis=0) / np.sqrt(3)
    soft = run.predict_proba(scaled)
    one_hot = np.eye(3)[run.predict(scaled)]
    shares = one_hot.T @ np.eye(3)[clusterer.labels_] / one_hot.sum(axis=0)[:, None]
    np.testing.assert_allclose(clusterer.transform(X[["p"]]), soft @ shares)
    only_fit = LateFusionClusterer(AgglomerativeClustering(3)).fit(X)
    assert not hasattr(only_fit, "transform")


# Stacking


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("passthrough", [False, True])
@pytest.mark.parametrize(
    ("inner", "method"),
    [
        (LogisticRegression(), "auto"),
        (LogisticRegression(), "predict_proba"),
        (LogisticRegression(), "decision_function"),
        (LinearSVC(), "auto"),
        ({"p": LogisticRegression(C=0.1), "q": GaussianNB()}, "auto"),
    ],
    ids=str,
)
def test_stacks_are_those_of_scikit_learn(n_classes, passthrough, inner, method):
    X, y = make_data(n_classes)
    table, cv = X.to_array(), StratifiedKFold(3)
    options = {"cv": cv, "stack_method": method, "passthrough": passthrough}
    final = SVC(kernel="linear")
    theirs = StackingClassifier(parts(inner), final, **options).fit(table, y)
    ours = LateFusionClassifier(
        inner, scaling=None, combine="stacking", final_estimator=final, **options
    ).fit(X, y)
    found = ours.decision_function(X)
    np.testing.assert_allclose(found, theirs.decision_function(table), atol=1e-3)
    assert not hasattr(ours, "predict_proba")
    # the columns of the first of two classes are left out by a stack only
    columns = theirs.transform(table)
    of_ours = ours.transform(X)
    if n_classes == 2:
        of_ours = np.delete(of_ours, [0, 2], axis=1)
    np.testing.assert_allclose(of_ours, columns, atol=1e-6)


@pytest.mark.parametrize("passthrough", [False, True])
def test_stacks_of_regressors_are_those_of_scikit_learn(passthrough):
    X, y = make_data()
    table, options = X.to_array(), {"cv": KFold(3), "passthrough": passthrough}
    theirs = StackingRegressor(parts(Ridge()), BayesianRidge(), **options)
    theirs.fit(table, y)
    ours = LateFusionRegressor(
        Ridge(),
        scaling=None,
        combine="stacking",
        final_estimator=BayesianRidge(),
        **options,
    ).fit(X, y)
    np.testing.assert_allclose(ours.predict(X), theirs.predict(table))
    np.testing.assert_allclose(ours.transform(X), theirs.transform(table))
    np.testing.assert_allclose(
        ours.predict(X, return_std=True), theirs.predict(table, return_std=True)
    )


@pytest.mark.parametrize(
    "options", [{}, {"combine": "median"}, {"combine": "stacking"}]
)
def test_a_column_of_values_is_predicted_as_a_column(options):
    X, y = make_data()
    expected = LateFusionRegressor(**options).fit(X, y).predict(lacking(X))
    found = LateFusionRegressor(**options).fit(X, y[:, None]).predict(lacking(X))
    np.testing.assert_allclose(found, expected[:, None])


def test_stacked_labels_are_indicators_of_classes():
    X, y = make_data()
    stack = LateFusionClassifier(combine="stacking", stack_method="predict").fit(X, y)
    labels = stack.modality_predictions(X).astype(int)
    expected = np.hstack([np.eye(3)[labels[:, 0]], np.eye(3)[labels[:, 1]]])
    np.testing.assert_array_equal(stack.transform(X), expected)


def test_methods_that_a_classifier_lacks_are_refused():
    X, y = make_data()
    stack = LateFusionClassifier(combine="stacking", stack_method="predict_proba")
    for inner in (SVC(), LinearSVC()):
        with pytest.raises(ValueError, match=r"modality 'q': .*SVC has no predict_pro"):
            stack.set_params(estimator={"q": inner}).fit(X, y)
    stack.set_params(stack_method="predict", calibration="sigmoid")
    with pytest.raises(ValueError, match="but stack_method='predict' gives labels"):
        stack.fit(X, y)


@pytest.mark.parametrize("cls", PREDICTORS)
def test_passed_modalities_are_means_where_they_are_missing(cls):
    X, y = make_data()
    X = lacking(X)
    weight = np.random.default_rng(1).integers(0, 3, size=90).astype(float)
    stack = cls(combine="stacking", passthrough=True).fit(X, y, sample_weight=weight)
    out = stack.transform(X)
    names = stack.get_feature_names_out().tolist()
    assert out.shape == (90, len(names))
    assert names[-5:] == ["p__x0", "p__x1", "p__x2", "q__x0", "q__x1"]
    passed, seen = out[:, -5:], X.observed[:, [0, 0, 0, 1, 1]]
    np.testing.assert_array_equal(np.isnan(passed), ~seen)
    own = X.observed[:, 0]
    scaler = StandardScaler().fit(X["p"][own], sample_weight=weight[own])
    np.testing.assert_allclose(passed[own, :3], scaler.transform(X["p"][own]))
    # what the final estimator is given
    given = {}
    final = stack.final_estimator_

    def record(features, method=final.predict):
        given["features"] = features
        return method(features)

    final.predict = record
    stack.predict(X)
    counts = seen * weight[:, None]
    means = (np.where(seen, passed, 0) * counts).sum(axis=0) / counts.sum(axis=0)
    expected = np.where(seen, passed, means)
    np.testing.assert_allclose(given["features"][:, -5:], expected, atol=1e-12)


def test_sparse_modalities_are_passed_sparse():
    X, y = make_data()
    mixed = {"p": sparse.csr_array(np.maximum(X["p"], 0)), "q": X["q"]}
    stack = LateFusionClassifier(combine="stacking", passthrough=True, scaling=None)
    out = stack.fit(mixed, y).transform(mixed)
    assert sparse.issparse(out)
    np.testing.assert_array_equal(out.toarray()[:, 6:9], mixed["p"].toarray())
    dense = LateFusionClassifier(combine="stacking", passthrough=True, scaling=None)
    expected = dense.fit({"p": mixed["p"].toarray(), "q": X["q"]}, y)
    found = stack.predict_proba(mixed)
    np.testing.assert_allclose(
        found, expected.predict_proba({"p": mixed["p"].toarray(), "q": X["q"]}), 1e-3
    )
    later = lacking(Modalities(mixed))
    assert stack.predict(later).shape == (90,)


def test_text_is_not_passed_to_the_final_estimator():
    X, y = make_data()
    text = np.array([["a"], ["b"], ["c"]] * 30, dtype=object)
    encoded = make_pipeline(
        make_column_transformer((StandardScaler(), [1]), remainder="drop"), Ridge()
    )
    mixed = {"p": X["p"], "text": np.column_stack([text, X["q"][:, :1]])}
    stack = LateFusionRegressor({"text": encoded}, combine="stacking", passthrough=True)
    with pytest.raises(ValueError, match="modality 'text' holds text or categories"):
        stack.fit(mixed, y)


# Log probabilities, standard deviations, weights of classes


@pytest.mark.parametrize("cls", [*CLASSIFIERS, MKLClassifier])
def test_log_probabilities_are_logarithms(cls):
    X, y = make_data()
    options = {"probability": True} if cls is MKLClassifier else {}
    fitted = cls(**options).fit(X, y)
    found = fitted.predict_log_proba(X)
    np.testing.assert_allclose(found, np.log(fitted.predict_proba(X)))
    without = (
        {}
        if cls in (EarlyFusionClassifier, MKLClassifier)
        else {"combine": "hard_vote"}
    )
    inner = {} if cls is MKLClassifier else {"estimator": SVC()}
    assert not hasattr(cls(**inner, **without).fit(X, y), "predict_log_proba")


def slow_mixture(means, stds, weights):
    """Moments of a mixture, sample by sample, by its second moment."""
    found = []
    for i in range(means.shape[1]):
        share = weights[i] / weights[i].sum()
        mean = sum(s * m for s, m in zip(share, means[:, i], strict=True))
        second = sum(
            s * (d**2 + m**2)
            for s, d, m in zip(share, stds[:, i], means[:, i], strict=True)
        )
        found.append((mean, np.sqrt(second - mean**2)))
    return np.array(found).T


@pytest.mark.parametrize("cls", REGRESSORS)
def test_standard_deviations_are_those_of_the_mixture(cls):
    X, y = make_data()
    y = y + 0.1 * np.arange(90)
    fitted = cls(BayesianRidge(), scaling=None)
    if cls is EarlyFusionRegressor:
        expected = BayesianRidge().fit(X.to_array(), y)
        expected = expected.predict(X.to_array(), return_std=True)
    else:
        fitted.set_params(weights=[1, 3] if cls is LateFusionRegressor else [1, 3, 2])
        matrices = {**X.to_dict(), "early": X.to_array()}
        moments = [
            part.predict(matrices[name], return_std=True)
            for name, part in fitted.fit(X, y).estimators_.items()
        ]
        shares = fitted.sample_weights(X)
        expected = slow_mixture(*np.array(moments).transpose(1, 0, 2), shares)
    mean, std = fitted.fit(X, y).predict(X, return_std=True)
    np.testing.assert_allclose([mean, std], expected)
    np.testing.assert_allclose(mean, fitted.predict(X))
    if cls is LateFusionRegressor:
        alone = fitted.predict(lacking(X), return_std=True)[1][1]
        expected = fitted.estimators_["p"].predict(X["p"][1:2], return_std=True)
        np.testing.assert_allclose(alone, expected[1][0])


def test_standard_deviations_of_several_outputs_stacks_and_empty_samples():
    X, y = make_data()
    y = y + 0.1 * np.arange(90)
    both = LateFusionRegressor(GaussianProcessRegressor(alpha=0.1, optimizer=None))
    mean, std = both.fit(X, np.column_stack([y, -y])).predict(X, return_std=True)
    assert mean.shape == std.shape == (90, 2)
    np.testing.assert_allclose(std[:, 0], std[:, 1], rtol=1e-6)
    empty = Modalities(X.to_dict(), observed=np.zeros(X.shape, bool))
    for cls in REGRESSORS:
        mean, std = cls(BayesianRidge()).fit(X, y).predict(empty, return_std=True)
        np.testing.assert_allclose(mean, y.mean())
        np.testing.assert_allclose(std, y.std())


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (LateFusionRegressor(), r"'p'.*Ridge predicts no variance"),
        (EarlyFusionRegressor(), "Ridge predicts no variance"),
        (LateFusionRegressor(BayesianRidge(), combine="median"), "combine='median'"),
        (LateFusionRegressor(combine="stacking"), "final_estimator: RidgeCV"),
        (
            LateFusionRegressor(BayesianRidge(), weights="error_covariance"),
            "'error_covariance' has no standard",
        ),
    ],
    ids=str,
)
def test_standard_deviations_that_do_not_exist_are_refused(wrong, message):
    X, y = make_data()
    with pytest.raises(ValueError, match=message):
        wrong.fit(X, y).predict(X, return_std=True)


@pytest.mark.parametrize("cls", [EarlyFusionClassifier, LateFusionClassifier])
def test_weights_of_classes_are_set_before_an_estimator_is_given(cls):
    X, y = make_data(2)
    rare = (np.arange(90) % 2 == 0) | (np.arange(90) < 20)
    found = cls().set_params(estimator__class_weight="balanced").fit(X[rare], y[rare])
    own = LogisticRegression(max_iter=1000, class_weight="balanced")
    expected = cls(own).fit(X[rare], y[rare]).predict_proba(X)
    np.testing.assert_array_equal(found.predict_proba(X), expected)
    assert not np.allclose(cls().fit(X[rare], y[rare]).predict_proba(X), expected)


# Reports


@pytest.mark.parametrize(
    ("estimator", "lines"),
    [
        (LateFusionClassifier(), 2),
        (LateFusionRegressor(combine="stacking", cv=3), 8),
        (HybridFusionClassifier(), 3),
        (LateFusionClusterer(n_runs=3), 6),
        (HybridFusionClusterer(KMeans(2), n_runs=1), 3),
        (PerModality(), 2),
    ],
    ids=str,
)
def test_fits_are_reported_on_request(estimator, lines, capsys):
    X, y = make_data()
    estimator.fit(X, y)
    assert capsys.readouterr().out == ""
    estimator.set_params(verbose=True).fit(X, y)
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == lines
    title = f"[{type(estimator).__name__}] "
    assert all(line.startswith(title) and line.endswith(" s") for line in printed)
    assert "modality 'p'" in printed[0]
    (estimator.predict if hasattr(estimator, "predict") else estimator.transform)(X)
    assert capsys.readouterr().out == ""
