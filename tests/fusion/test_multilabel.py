"""Several labels for each sample: against scikit-learn, and label by label."""

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.compose import make_column_transformer
from sklearn.ensemble import RandomForestClassifier, StackingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, average_precision_score, make_scorer
from sklearn.model_selection import (
    GridSearchCV,
    KFold,
    StratifiedKFold,
    cross_val_predict,
    cross_val_score,
)
from sklearn.multiclass import OneVsRestClassifier
from sklearn.multioutput import (
    ClassifierChain,
    MultiOutputClassifier,
    MultiOutputRegressor,
)
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.svm import SVC, SVR, LinearSVC
from sklearn.tree import DecisionTreeClassifier

from mmfusion import (
    EarlyFusionClassifier,
    EarlyFusionRegressor,
    HybridFusionClassifier,
    LateFusionClassifier,
    LateFusionRegressor,
    MKLClassifier,
    MKLRegressor,
    Modalities,
)
from mmfusion.persistence import trusted_types
from mmfusion.robustness import degradation_curve

CLASSIFIERS = [EarlyFusionClassifier, LateFusionClassifier, HybridFusionClassifier]
N_SAMPLES, N_LABELS = 90, 3
FEW_STEPS = {"max_iter": 30, "random_state": 0}


def make_labels(seed=0):
    rng = np.random.default_rng(seed)
    y = (rng.random((N_SAMPLES, N_LABELS)) < [0.5, 0.4, 0.3]).astype(int)
    X = {
        name: y @ rng.normal(size=(N_LABELS, w)) + rng.normal(size=(N_SAMPLES, w))
        for name, w in {"p": 3, "q": 2}.items()
    }
    return Modalities(X), y


def lacking(X, seed=1):
    """The same samples, some of which lack a modality, and the last one both."""
    observed = np.random.default_rng(seed).random((len(X), 2)) < 0.8
    observed[-1] = False
    return Modalities(X, observed=observed)


def probabilities_of_labels(fitted, matrix, n_labels):
    """The probabilities of labels by a classifier that returns a list or an array."""
    given = fitted.predict_proba(matrix)
    if not isinstance(given, list):
        return given
    return np.column_stack([given[j][:, 1] for j in range(n_labels)])


# Beside scikit-learn


@pytest.mark.parametrize("passthrough", [False, True])
@pytest.mark.parametrize(
    "inner",
    [KNeighborsClassifier(), MLPClassifier(**FEW_STEPS), OneVsRestClassifier(SVC())],
    ids=["list", "array", "scores"],
)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_stacks_of_labels_are_those_of_scikit_learn(inner, passthrough):
    X, y = make_labels()
    table, options = X.to_array(), {"cv": KFold(3), "passthrough": passthrough}
    parts = [
        (name, make_pipeline(make_column_transformer(("passthrough", own)), inner))
        for name, own in {"p": slice(0, 3), "q": slice(3, 5)}.items()
    ]
    final = KNeighborsClassifier(7)
    theirs = StackingClassifier(parts, final, **options).fit(table, y)
    ours = LateFusionClassifier(
        inner, scaling=None, combine="stacking", final_estimator=final, **options
    ).fit(X, y)
    np.testing.assert_allclose(ours.transform(X), theirs.transform(table))
    np.testing.assert_array_equal(ours.predict(X), theirs.predict(table))
    # theirs are the probabilities of lacking the labels, if the final estimator
    # returns a list
    np.testing.assert_allclose(1 - ours.predict_proba(X), theirs.predict_proba(table))
    names = ours.get_feature_names_out().tolist()
    assert names[:6] == [f"{n}__y{j}" for n in "pq" for j in range(N_LABELS)]
    assert len(names) == ours.transform(X).shape[1]


@pytest.mark.parametrize(
    "inner",
    [
        RandomForestClassifier(5, random_state=0),
        DecisionTreeClassifier(max_depth=3, random_state=0),
        KNeighborsClassifier(4),
        MLPClassifier(**FEW_STEPS),
        OneVsRestClassifier(LogisticRegression()),
        MultiOutputClassifier(LogisticRegression()),
        ClassifierChain(LogisticRegression()),
        make_pipeline(FunctionTransformer(), KNeighborsClassifier()),
        GridSearchCV(KNeighborsClassifier(), {"n_neighbors": [3, 5]}, cv=2),
        GridSearchCV(
            MultiOutputClassifier(LogisticRegression()), {"estimator__C": [1, 2]}, cv=2
        ),
    ],
    ids=lambda e: str(e)[:40],
)
@pytest.mark.parametrize("cls", [EarlyFusionClassifier, LateFusionClassifier])
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_one_modality_is_the_classifier_of_labels_itself(cls, inner):
    X, y = make_labels()
    fitted = cls(inner, scaling=None).fit(X[["p"]], y)
    alone = inner.fit(X["p"], y)
    np.testing.assert_array_equal(fitted.predict(X[["p"]]), alone.predict(X["p"]))
    np.testing.assert_allclose(
        fitted.predict_proba(X[["p"]]), probabilities_of_labels(alone, X["p"], N_LABELS)
    )


@pytest.mark.parametrize("cls", CLASSIFIERS)
@pytest.mark.parametrize(
    ("inner", "options"),
    [
        (LogisticRegression(), {}),
        (LogisticRegression(), {"on_empty": "prior", "scaling": "standard"}),
        (LogisticRegression(), {"combine": "log_pool", "weights": [1, 3]}),
        (SVC(), {"combine": "hard_vote", "weights": [1, 3]}),
        (LogisticRegression(), {"sample_weighting": "distance"}),
        (LogisticRegression(), {"sample_weighting": "conformal"}),
        (SVC(), {"calibration": "sigmoid", "cv": KFold(3)}),
        (LinearSVC(), {"calibration": "isotonic", "cv": KFold(3)}),
        (LogisticRegression(), {"calibration": "sigmoid", "combine": "log_pool"}),
    ],
    ids=str,
)
def test_labels_of_classifiers_that_treat_them_apart_are_those_of_one_fusion_each(
    cls, inner, options
):
    X, y = make_labels()
    X = lacking(X)
    if cls is EarlyFusionClassifier:
        options = {k: v for k, v in options.items() if k in ("on_empty", "scaling")}
    if cls is HybridFusionClassifier and "weights" in options:
        options = {**options, "weights": [1, 3, 2]}
    if "calibration" in options:
        options = {**options, "cv": KFold(3)}
    together = cls(inner, **options).fit(X, y)
    apart = MultiOutputClassifier(cls(inner, **options)).fit(X, y)
    np.testing.assert_array_equal(together.predict(X), apart.predict(X))
    if hasattr(together, "decision_function"):
        expected = [one.decision_function(X) for one in apart.estimators_]
        found = together.decision_function(X)
        np.testing.assert_allclose(found, np.column_stack(expected), atol=1e-6)
    if hasattr(together, "predict_proba"):
        expected = np.column_stack([p[:, 1] for p in apart.predict_proba(X)])
        np.testing.assert_allclose(together.predict_proba(X), expected, atol=1e-8)
        logs = together.predict_log_proba(X)
        np.testing.assert_allclose(np.exp(logs), expected, atol=1e-8)


# By hand


@pytest.mark.parametrize("combine", ["soft_vote", "hard_vote"])
def test_votes_for_labels_are_weighted_means_over_observed_modalities(combine):
    X, y = make_labels()
    X, weights = lacking(X), [1.0, 2.5]
    inner = {"p": KNeighborsClassifier(3), "q": RandomForestClassifier(7)}
    fusion = LateFusionClassifier(
        inner, scaling=None, combine=combine, weights=weights, random_state=0
    ).fit(X, y)
    found, predicted = fusion.transform(X), fusion.predict(X)
    parts = fusion.estimators_
    by_part = {n: parts[n].predict(X[n]) for n in X.names}
    if combine == "soft_vote":
        by_part = {
            n: probabilities_of_labels(parts[n], X[n], N_LABELS) for n in X.names
        }
        probable = fusion.predict_proba(X)
    for i in range(N_SAMPLES):
        for j in range(N_LABELS):
            total = share = 0.0
            for v, name in enumerate(X.names):
                if not X.observed[i, v]:
                    continue
                own = by_part[name][i, j]
                assert found[i, v * N_LABELS + j] == pytest.approx(own)
                total += weights[v] * own
                share += weights[v]
            expected = total / share if share else y[:, j].mean()
            assert predicted[i, j] == (expected > 0.5)
            if combine == "soft_vote":
                assert probable[i, j] == pytest.approx(expected)
    np.testing.assert_array_equal(found[-1], np.nan)


@pytest.mark.parametrize("cls", CLASSIFIERS)
def test_samples_without_a_modality_have_the_labels_of_most_samples(cls):
    X, y = make_labels()
    weight = np.random.default_rng(2).integers(0, 3, size=N_SAMPLES)
    y[:, 0] = np.random.default_rng(3).random(N_SAMPLES) < 0.8
    fitted = cls().fit(lacking(X), y, sample_weight=weight)
    empty = lacking(X)[[-1]]
    expected = np.average(y, axis=0, weights=weight)
    np.testing.assert_allclose(fitted.predict_proba(empty), expected[None])
    np.testing.assert_array_equal(fitted.predict(empty), [expected > 0.5])
    assert expected[0] > 0.5 > expected[2]
    odds = np.log(expected / (1 - expected))
    np.testing.assert_allclose(fitted.decision_function(empty), odds[None])
    with pytest.raises(ValueError, match="lacks every modality"):
        cls(on_empty="raise").fit(X, y).predict(empty)


def test_weights_are_learned_from_the_labels_of_held_out_samples():
    X, y = make_labels()
    X = lacking(X)
    held_out, cv = {}, KFold(3)
    for v, name in enumerate(X.names):
        rows = np.flatnonzero(X.observed[:, v])
        given = np.full((N_SAMPLES, N_LABELS), np.nan)
        for train, test in cv.split(y):
            own = np.intersect1d(train, rows), np.intersect1d(test, rows)
            fitted = MultiOutputClassifier(LogisticRegression(max_iter=1000))
            fitted.fit(X[name][own[0]], y[own[0]])
            given[own[1]] = np.column_stack(
                [p[:, 1] for p in fitted.predict_proba(X[name][own[1]])]
            )
        held_out[name] = given[rows], y[rows]
    prior = y.mean(axis=0)
    qualities = {"score": [], "log_loss": [], "inverse_variance": []}
    for predicted, true in held_out.values():
        wrong = ((predicted > 0.5) != true).mean()
        of_prior = ((prior > 0.5) != true).mean()
        qualities["score"].append(1 - wrong / of_prior)
        losses = np.where(true, -np.log(predicted), -np.log(1 - predicted))
        qualities["log_loss"].append(np.exp(-losses.mean()))
        errors = ((predicted - true) ** 2).sum(axis=1)
        qualities["inverse_variance"].append(1 / errors.mean())
    for name, quality in qualities.items():
        fusion = LateFusionClassifier(weights=name, scaling=None, cv=cv).fit(X, y)
        expected = np.array(quality) / np.mean(quality)
        np.testing.assert_allclose(fusion.modality_weights_, expected, rtol=1e-6)


def test_certainty_of_labels_is_one_minus_their_mean_entropy():
    X, y = make_labels()
    fusion = LateFusionClassifier(sample_weighting="entropy").fit(X, y)
    by_branch = fusion.transform(X).reshape(N_SAMPLES, 2, N_LABELS)
    weights = np.zeros((N_SAMPLES, 2))
    for i in range(N_SAMPLES):
        for v in range(2):
            bits = [-p * np.log2(p) - (1 - p) * np.log2(1 - p) for p in by_branch[i, v]]
            weights[i, v] = 1 - np.mean(bits)
    shares = weights / weights.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(fusion.sample_weights(X), shares)
    expected = np.einsum("iv,ivj->ij", shares, by_branch)
    np.testing.assert_allclose(fusion.predict_proba(X), expected)


@pytest.mark.parametrize("stacked", [False, True])
@pytest.mark.parametrize("inner", [None, KNeighborsClassifier(), SVC()], ids=str)
@pytest.mark.parametrize("cls", CLASSIFIERS)
def test_constant_labels_of_some_samples_keep_their_prior(cls, inner, stacked):
    X, y = make_labels()
    X = lacking(X)
    y[:, 1] = 0  # of all samples
    y[:, 2] = ~X.observed[:, 0]  # of the samples with p
    options = {}
    if stacked and cls is not EarlyFusionClassifier:
        options = {"combine": "stacking"}
    elif isinstance(inner, SVC) and cls is not EarlyFusionClassifier:
        options = {"combine": "hard_vote"}
    fitted = cls(inner, **options).fit(X, y)
    assert not fitted.predict(X)[:, 1].any()
    if options.get("combine") == "hard_vote" or not hasattr(fitted, "predict_proba"):
        return
    assert np.all(fitted.predict_proba(X)[:, 1] < 1e-6)
    if cls is LateFusionClassifier and not stacked:
        of_p = fitted.transform(X)[X.observed[:, 0], :3]
        np.testing.assert_allclose(of_p[:, 2], y[:, 2].mean())


# Dtypes, results by modality


@pytest.mark.parametrize("cls", CLASSIFIERS)
@pytest.mark.parametrize("dtype", [int, np.int8, float, np.float32, bool, object])
def test_labels_are_predicted_in_the_dtype_of_y(cls, dtype):
    X, y = make_labels()
    expected = cls().fit(X, y).predict(X)
    fitted = cls().fit(X, y.astype(dtype))
    found = fitted.predict(X)
    assert found.dtype == (int if dtype is object else dtype)
    np.testing.assert_array_equal(found, expected)
    assert len(fitted.classes_) == N_LABELS
    for classes in fitted.classes_:
        np.testing.assert_array_equal(classes, [0, 1])
        assert classes.dtype == found.dtype
    frame = pd.DataFrame(y, columns=list("abc"))
    np.testing.assert_array_equal(cls().fit(X, frame).predict(X), expected)


@pytest.mark.parametrize("cls", CLASSIFIERS)
def test_labels_are_predicted_from_each_modality(cls):
    X, y = make_labels()
    X = lacking(X)
    fitted = cls().fit(X, y)
    found = fitted.modality_predictions(X)
    n_branches = 3 if cls is HybridFusionClassifier else 2
    assert found.shape == (N_SAMPLES, n_branches, N_LABELS)
    np.testing.assert_array_equal(np.isnan(found[:, 1, 0]), ~X.observed[:, 1])
    if cls is not EarlyFusionClassifier:
        by_branch = fitted.transform(X).reshape(found.shape)
        expected = np.where(np.isnan(by_branch), np.nan, by_branch > 0.5)
        np.testing.assert_array_equal(found, expected)


def test_decision_values_of_labels_are_votes_above_zero():
    X, y = make_labels()
    stack = LateFusionClassifier(LinearSVC(), combine="stacking").fit(X, y)
    found = stack.modality_predictions(X)
    values = stack.transform(X).reshape(found.shape)
    np.testing.assert_array_equal(found, values > 0)
    assert (values < 0.5).any(where=values > 0)


# Metadata, searches, scores


@pytest.mark.parametrize("cls", CLASSIFIERS)
@pytest.mark.parametrize("combine", ["soft_vote", "stacking"])
def test_whole_weights_count_as_repeated_samples(cls, combine):
    X, y = make_labels()
    weight = np.random.default_rng(2).integers(0, 3, size=N_SAMPLES)
    repeated = np.repeat(np.arange(N_SAMPLES), weight)
    options, of_repeated = {"scaling": "standard"}, {"scaling": "standard"}
    if cls is not EarlyFusionClassifier:
        fold = np.arange(N_SAMPLES) % 3
        options |= {"combine": combine}
        of_repeated |= {"combine": combine}
        if combine == "stacking":
            parts = [np.flatnonzero(fold != k) for k in range(3)]
            options["cv"] = [
                (p, np.flatnonzero(fold == k)) for k, p in enumerate(parts)
            ]
            own = fold[repeated]
            of_repeated["cv"] = [
                (np.flatnonzero(own != k), np.flatnonzero(own == k)) for k in range(3)
            ]
    weighted = cls(**options).fit(X, y, sample_weight=weight)
    expected = cls(**of_repeated).fit(X[repeated], y[repeated])
    np.testing.assert_allclose(
        weighted.predict_proba(X), expected.predict_proba(X), atol=1e-3
    )
    unweighted = cls(**options).fit(X, y).predict_proba(X)
    assert np.abs(unweighted - weighted.predict_proba(X)).max() > 0.01


def test_routed_weights_reach_the_classifiers_that_request_them(monkeypatch):
    import sklearn

    X, y = make_labels()
    weight = np.random.default_rng(2).random(N_SAMPLES) + 0.1
    with sklearn.config_context(enable_metadata_routing=True):
        asking = LogisticRegression(max_iter=1000).set_fit_request(sample_weight=True)
        final = LogisticRegression(max_iter=1000).set_fit_request(sample_weight=True)
        stack = LateFusionClassifier(
            asking, combine="stacking", final_estimator=final, cv=KFold(3)
        )
        routed = stack.fit(X, y, sample_weight=weight).predict_proba(X)
    plain = LateFusionClassifier(combine="stacking", cv=KFold(3))
    expected = plain.fit(X, y, sample_weight=weight).predict_proba(X)
    np.testing.assert_allclose(routed, expected)


@pytest.mark.parametrize("cls", CLASSIFIERS)
def test_searches_and_scores_take_several_labels(cls):
    X, y = make_labels()
    search = GridSearchCV(cls(), {"estimator__C": [1e-6, 1.0]}, scoring="f1_macro")
    search.fit(X, y)
    assert search.best_params_ == {"estimator__C": 1.0}
    fitted = cls().fit(X, y)
    right = np.mean(
        [np.array_equal(a, b) for a, b in zip(fitted.predict(X), y, strict=True)]
    )
    assert fitted.score(X, y) == pytest.approx(right)
    assert fitted.score(X, y) == accuracy_score(y, fitted.predict(X))
    by_fold = cross_val_predict(cls(), X, y, cv=3, method="predict_proba")
    assert by_fold.shape == y.shape
    precision = make_scorer(average_precision_score, response_method="predict_proba")
    scores = cross_val_score(cls(), X, y, scoring=precision, cv=3)
    ranked = cross_val_score(cls(), X, y, scoring="average_precision", cv=3)
    np.testing.assert_allclose(scores, ranked)
    assert scores.mean() > y.mean() + 0.2
    curve = degradation_curve(cls(), X, y, levels=[0, 1], cv=3).summary()
    clean = cross_val_score(cls(), X, y, cv=KFold(3)).mean()
    assert curve["mean"].iloc[0] == pytest.approx(clean)


@pytest.mark.parametrize("cls", CLASSIFIERS)
def test_fusions_of_several_labels_are_stored_and_loaded(cls):
    skops_io = pytest.importorskip("skops.io")
    X, y = make_labels()
    fitted = cls().fit(lacking(X), y)
    stored = skops_io.dumps(fitted)
    loaded = skops_io.loads(stored, trusted=trusted_types())
    np.testing.assert_array_equal(loaded.predict(X), fitted.predict(X))


# What is refused


@pytest.mark.parametrize("cls", CLASSIFIERS)
@pytest.mark.parametrize(
    ("y", "message"),
    [
        ([[1, 2], [2, 1], [1, 1], [2, 2]], r"holds 2; .*MultiOutputClassifier\("),
        ([[0, -1], [1, 0], [1, 1], [0, 0]], "holds -1; columns of several labels hold"),
        ([["a", "b"], ["b", "c"], ["a", "c"], ["b", "b"]], "holds 'a'"),
        ([[0.5, 1], [0, 1], [1, 1], [0, 0]], "y has 2 columns and holds 0.5"),
        ([[0, np.nan], [1, 0], [1, 1], [0, 0]], "y.*NaN"),
        ([[1], [1, 2], [], [2]], "MultiLabelBinarizer"),
        ([[0, 1], [1, 0], [1, 1]], "X has 4, and y has labels of 3"),
    ],
    ids=["classes", "signs", "text", "shares", "nan", "lists", "length"],
)
def test_other_targets_of_several_columns_are_refused(cls, y, message):
    X = {"p": np.arange(8.0).reshape(4, 2), "q": np.arange(4.0)[:, None]}
    with pytest.raises(ValueError, match=message):
        cls().fit(X, y)


def test_columns_of_classes_are_for_one_fusion_each():
    X, y = make_labels()
    classes = np.column_stack([y.sum(axis=1), y[:, 0]])
    name = r"MultiOutputClassifier\(LateFusionClassifier\(\.\.\.\)\)"
    with pytest.raises(ValueError, match=name):
        LateFusionClassifier().fit(X, classes)
    fitted = MultiOutputClassifier(LateFusionClassifier()).fit(X, classes)
    alone = LateFusionClassifier().fit(X, classes[:, 0])
    np.testing.assert_array_equal(fitted.predict(X)[:, 0], alone.predict(X))


@pytest.mark.parametrize(
    ("estimator", "several"),
    [
        (MKLClassifier(), MultiOutputClassifier),
        (MKLRegressor(), MultiOutputRegressor),
        (LateFusionRegressor(SVR()), MultiOutputRegressor),
        (EarlyFusionRegressor(SVR()), MultiOutputRegressor),
    ],
    ids=str,
)
def test_estimators_of_one_column_refuse_several_with_the_remedy(estimator, several):
    X, y = make_labels()
    name = type(estimator).__name__
    with pytest.raises(ValueError, match=rf"{several.__name__}\({name}\(\.\.\.\)\)"):
        estimator.fit(X, y)
    together, alone = several(estimator).fit(X, y), estimator.fit(X, y[:, 1])
    np.testing.assert_allclose(together.predict(X)[:, 1], alone.predict(X))


def test_folds_stratified_by_several_labels_are_refused():
    X, y = make_labels()
    stack = LateFusionClassifier(combine="stacking", cv=StratifiedKFold(3))
    with pytest.raises(ValueError, match=r"cv: .*several labels: give KFold"):
        stack.fit(X, y)
    labels = y @ [1, 2, 4]
    own = list(StratifiedKFold(3).split(X, labels > 3))
    stack.set_params(cv=own).fit(X, y)


def test_sparse_labels_are_refused_with_the_remedy():
    X, y = make_labels()
    with pytest.raises(TypeError, match=r"give a dense array, by y\.toarray\(\)"):
        LateFusionClassifier().fit(X, sparse.csr_array(y))


def test_remedies_for_missing_probabilities_work():
    X, y = make_labels()
    for inner in (SVC(), MultiOutputClassifier(LinearSVC())):
        with pytest.raises(ValueError, match=r"modality 'p': .* has no predict_proba"):
            LateFusionClassifier(inner).fit(X, y)
        LateFusionClassifier(inner, combine="hard_vote").fit(X, y)
    LateFusionClassifier(SVC(), calibration="sigmoid").fit(X, y)
    with pytest.raises(ValueError, match="no predict_proba") as caught:
        LateFusionClassifier(MultiOutputClassifier(LinearSVC())).fit(X, y)
    assert "calibration" not in str(caught.value)  # it has no decision function


def test_classifiers_that_return_other_labels_are_refused():
    class Wrong(KNeighborsClassifier):
        returned = staticmethod(lambda right: right)

        def predict(self, X):
            return self.returned(super().predict(X))

        def predict_proba(self, X):
            return super().predict_proba(X)[:2]

    X, y = make_labels()
    with pytest.raises(ValueError, match=r"modality 'p'.*arrays of 2 labels.*of 3"):
        LateFusionClassifier(Wrong()).fit(X, y).predict(X)
    hard = LateFusionClassifier(Wrong(), combine="hard_vote").fit(X, y)
    for returned, message in [
        (lambda right: right[:, :2], r"shape \(90, 2\)"),
        (lambda right: right + 1, "labels other than 0 and 1"),
    ]:
        Wrong.returned = staticmethod(returned)
        with pytest.raises(ValueError, match=message):
            hard.predict(X)
