"""Methods and options that VotingClassifier, StackingClassifier and others have."""

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.ensemble import StackingClassifier, VotingClassifier
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.linear_model import BayesianRidge, LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler
from sklearn.svm import LinearSVC

from mmfusion import (
    EarlyFusion,
    EarlyFusionClassifier,
    EarlyFusionRegressor,
    HybridFusionClassifier,
    HybridFusionRegressor,
    LateFusionClassifier,
    LateFusionRegressor,
    Modalities,
    PerModality,
)
from mmfusion.mkl import MKLClassifier
from mmfusion.preprocessing import ModalitySplitter

CLASSIFIERS = [EarlyFusionClassifier, LateFusionClassifier, HybridFusionClassifier]
REGRESSORS = [EarlyFusionRegressor, LateFusionRegressor, HybridFusionRegressor]


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    y = np.arange(60) % 3
    X = {
        "p": rng.normal(size=(60, 3)) + y[:, None],
        "q": rng.normal(size=(60, 2)) - y[:, None],
    }
    return Modalities(X), y


def with_gaps(X):
    mask = np.ones(X.shape, bool)
    mask[:5, 0] = mask[5:9, 1] = False
    return Modalities(X.to_dict(), observed=mask)


def one_table(X):
    """The same features for both modalities, as for scikit-learn's ensembles."""
    return Modalities({"p": X["p"], "q": X["p"]})


# transform


def test_classifiers_transform_as_voting_classifiers_do(data):
    X, y = one_table(data[0]), data[1]
    parts = {"p": LogisticRegression(), "q": GaussianNB()}
    fusion = LateFusionClassifier(parts, scaling=None).fit(X, y)
    voting = VotingClassifier(list(parts.items()), voting="soft").fit(X["p"], y)
    np.testing.assert_allclose(fusion.transform(X), voting.transform(X["p"]))
    expected = [f"{part}__{k}" for part in "pq" for k in range(3)]
    assert fusion.get_feature_names_out().tolist() == expected


@pytest.mark.parametrize("cls", [LateFusionClassifier, HybridFusionClassifier])
def test_transform_marks_what_samples_lack(cls, data):
    X, y = with_gaps(data[0]), data[1]
    fusion = cls().fit(X, y).set_output(transform="pandas")
    out = fusion.transform(X)
    assert out.columns.tolist() == fusion.get_feature_names_out().tolist()
    lacks = ~X.observed
    assert out.filter(regex="^p__").isna().all(axis=1).tolist() == lacks[:, 0].tolist()
    assert out.filter(regex="^q__").isna().all(axis=1).tolist() == lacks[:, 1].tolist()
    sums = out.filter(regex="^q__").sum(axis=1)[X.observed[:, 1]]
    np.testing.assert_allclose(sums, 1)


@pytest.mark.parametrize("cls", [LateFusionRegressor, HybridFusionRegressor])
def test_regressors_transform_to_their_predictions(cls, data):
    X, y = with_gaps(data[0]), data[1] * 1.0
    fusion = cls().fit(X, y)
    np.testing.assert_array_equal(fusion.transform(X), fusion.modality_predictions(X))
    assert fusion.get_feature_names_out().tolist() == list(fusion.estimators_)
    several = cls().fit(X, np.column_stack([y, -y]))
    assert several.get_feature_names_out().tolist()[:2] == ["p__y0", "p__y1"]
    assert several.transform(X).shape[1] == len(several.get_feature_names_out())


# Stacking


@pytest.mark.parametrize("passthrough", [False, True])
@pytest.mark.parametrize("method", ["auto", "predict_proba", "predict"])
def test_stacking_is_that_of_sklearn(data, passthrough, method):
    X, y = one_table(data[0]), data[1]
    parts = {"p": LogisticRegression(C=0.1), "q": GaussianNB()}
    options = {"stack_method": method, "passthrough": passthrough, "cv": KFold(3)}
    final = LogisticRegression(max_iter=1000)
    fusion = LateFusionClassifier(
        parts, scaling=None, combine="stacking", final_estimator=final, **options
    ).fit(X, y)
    peer = StackingClassifier(list(parts.items()), final_estimator=final, **options)
    peer.fit(X["p"], y)
    n_passed = fusion.final_estimator_.n_features_in_ - 6
    assert n_passed == (6 if passthrough else 0)  # the table of each modality
    # scikit-learn stacks labels as one number each
    if not passthrough and method != "predict":
        np.testing.assert_allclose(
            fusion.predict_proba(X), peer.predict_proba(X["p"]), atol=1e-3
        )


def test_passed_modalities_are_scaled_and_filled_in(data):
    X, y = with_gaps(data[0]), data[1]
    fusion = LateFusionClassifier(combine="stacking", passthrough=True).fit(X, y)
    features = []
    predict = fusion.final_estimator_.predict
    fusion.final_estimator_.predict = lambda Z: features.append(Z) or predict(Z)
    fusion.predict(X)
    passed = features[0][:, -5:]
    scaled = StandardScaler().fit_transform(X["p"][X.observed[:, 0]])
    ratio = passed[X.observed[:, 0], :3] / scaled
    np.testing.assert_allclose(ratio, np.full_like(ratio, ratio[0, 0]), rtol=1e-6)
    np.testing.assert_allclose(passed[~X.observed[:, 0], :3], 0, atol=1e-12)


def test_passed_modalities_may_be_sparse_but_no_text(data):
    X, y = data
    words = sparse.csr_array((X["q"] > 0).astype(float))
    stack = LateFusionClassifier(combine="stacking", passthrough=True)
    stack.fit({"p": X["p"], "words": words}, y)
    text = pd.DataFrame({"word": np.where(X["q"][:, 0] > 0, "a", "b")})
    encoder = OneHotEncoder(handle_unknown="ignore")
    parts = {"text": make_pipeline(encoder, LogisticRegression())}
    with pytest.raises(ValueError, match=r"passthrough=True.*'text' holds text"):
        clone(stack).set_params(estimator=parts).fit({"p": X["p"], "text": text}, y)


def test_a_stack_method_that_a_classifier_lacks_is_refused(data):
    stack = LateFusionClassifier(LinearSVC(), combine="stacking")
    stack.fit(*data)
    with pytest.raises(ValueError, match=r"'p': LinearSVC has no predict_proba"):
        stack.set_params(stack_method="predict_proba").fit(*data)
    stack.set_params(stack_method="predict").fit(*data)
    assert set(np.unique(stack.transform(data[0]))) == {0.0, 1.0}
    with pytest.raises(ValueError, match="stack_method='predict' gives labels"):
        stack.set_params(calibration="sigmoid").fit(*data)


# Dropped modalities


@pytest.mark.parametrize(
    "cls",
    [
        LateFusionClassifier,
        HybridFusionClassifier,
        LateFusionRegressor,
        HybridFusionRegressor,
    ],
)
@pytest.mark.parametrize("weights", ["uniform", "score", {"p": 2.0, "q": 1.0}])
@pytest.mark.parametrize("gone", ["p", "q"])
def test_a_dropped_modality_has_no_part_in_the_fusion(cls, weights, gone, data):
    X, y = data
    dropped = cls({gone: "drop"}, weights=weights).fit(X, y)
    assert gone not in dropped.estimators_
    expected = cls(weights="uniform" if isinstance(weights, dict) else weights)
    if cls.__name__.startswith("Late"):
        own = X[["q" if gone == "p" else "p"]]
        expected.fit(own, y)
        np.testing.assert_array_equal(dropped.predict(X), expected.predict(own))
    columns = dropped.transform(X).shape[1]
    assert columns == len(dropped.get_feature_names_out())
    assert dropped.sample_weights(X).shape[1] == len(dropped.estimators_)


def test_modalities_are_dropped_in_a_search(data):
    X, y = data
    search = GridSearchCV(
        LateFusionClassifier({"p": LogisticRegression(), "q": LogisticRegression()}),
        {"q": ["drop", GaussianNB()]},
        cv=3,
    ).fit(X, y)
    assert len(search.cv_results_["params"]) == 2
    with pytest.raises(ValueError, match="all branches are dropped"):
        LateFusionClassifier({"p": "drop", "q": "drop"}).fit(X, y)
    with pytest.raises(TypeError, match=r"estimator\['q'\] is 'left out'.*or 'drop'"):
        LateFusionClassifier({"q": "left out"}).fit(X, y)


# Probabilities, spreads, times


@pytest.mark.parametrize("cls", [*CLASSIFIERS, MKLClassifier])
def test_log_probabilities_are_logarithms(cls, data):
    options = {"probability": True} if cls is MKLClassifier else {}
    fitted = cls(**options).fit(*data)
    np.testing.assert_allclose(
        np.exp(fitted.predict_log_proba(data[0])), fitted.predict_proba(data[0])
    )
    without = LateFusionClassifier(combine="hard_vote")
    assert not hasattr(without, "predict_log_proba")


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
def test_standard_deviations_are_predicted(cls, data):
    X, y = data[0], data[1] + 0.1 * np.arange(60)
    fusion = cls(BayesianRidge()).fit(X, y)
    mean, std = fusion.predict(X, return_std=True)
    np.testing.assert_allclose(mean, fusion.predict(X))
    assert mean.shape == std.shape == (60,)
    assert (std > 0).all()
    if cls is EarlyFusionRegressor:
        _, alone = fusion.estimator_.predict(
            fusion.fusion_.transform(X), return_std=True
        )
        np.testing.assert_allclose(std, alone)
        return
    parts = [
        branch.estimator.predict(
            branch.transform(X, np.ones(60, bool)), return_std=True
        )
        for branch in fusion._branches
    ]
    expected = slow_mixture(
        np.array([m for m, _ in parts]),
        np.array([s for _, s in parts]),
        fusion.sample_weights(X),
    )
    np.testing.assert_allclose(std, expected[1])


def test_standard_deviations_of_several_outputs_stacks_and_empty_samples(data):
    X, y = data[0], data[1] + 0.1 * np.arange(60)
    both = LateFusionRegressor(GaussianProcessRegressor(alpha=0.1, optimizer=None))
    mean, std = both.fit(X, np.column_stack([y, -y])).predict(X, return_std=True)
    assert mean.shape == std.shape == (60, 2)
    np.testing.assert_allclose(std[:, 0], std[:, 1], rtol=1e-6)
    stack = LateFusionRegressor(combine="stacking", final_estimator=BayesianRidge())
    assert (stack.fit(X, y).predict(X, return_std=True)[1] > 0).all()
    empty = Modalities(X.to_dict(), observed=np.zeros(X.shape, bool))
    for cls in REGRESSORS:
        mean, std = cls(BayesianRidge()).fit(X, y).predict(empty, return_std=True)
        np.testing.assert_allclose(mean, y.mean())
        np.testing.assert_allclose(std, y.std())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"estimator": Ridge()}, r"'p'.*Ridge predicts no variance"),
        ({"combine": "median"}, "combine='median'.*no standard deviation"),
        ({"weights": "error_covariance"}, "'error_covariance' has no standard"),
        ({"combine": "stacking"}, "final_estimator: RidgeCV predicts no variance"),
    ],
)
def test_standard_deviations_that_there_are_not_are_refused(options, message, data):
    fusion = LateFusionRegressor(**{"estimator": BayesianRidge()} | options)
    fusion.fit(data[0], data[1] * 1.0)
    with pytest.raises(ValueError, match=message):
        fusion.predict(data[0], return_std=True)


def test_class_weights_reach_the_parts(data):
    X, y = data
    rare = (y == 2) & (np.arange(60) % 2 == 0)
    for cls in (EarlyFusionClassifier, LateFusionClassifier):
        plain = cls().fit(X, rare)
        balanced = cls().set_params(estimator__class_weight="balanced").fit(X, rare)
        assert balanced.predict(X).sum() > plain.predict(X).sum()


# Inverse transforms


@pytest.mark.parametrize("scaling", ["auto", "block", "standard", None])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_a_fused_matrix_has_an_inverse(scaling, dtype):
    rng = np.random.default_rng(0)
    X = Modalities(
        {
            "p": (3 * rng.normal(size=(20, 3)) + 5).astype(dtype),
            "q": rng.normal(size=(20, 2)).astype(dtype),
            "constant": np.full((20, 1), 7, dtype),
        }
    )
    weights = {"p": 2.0, "q": 0.5}
    reducer = {"q": PCA(2)}
    fusion = EarlyFusion(scaling, weights=weights, reducer=reducer).fit(X)
    back = fusion.inverse_transform(fusion.transform(X))
    for name in X.names:
        assert back[name].dtype == dtype
        np.testing.assert_allclose(back[name], X[name], rtol=1e-4, atol=1e-5)


def test_the_inverse_of_a_sparse_fused_matrix():
    rng = np.random.default_rng(0)
    words = sparse.random_array((20, 5), density=0.3, format="csr", rng=rng)
    X = Modalities({"p": rng.normal(size=(20, 3)) + 1, "words": words})
    fusion = EarlyFusion("standard").fit(X)
    back = fusion.inverse_transform(fusion.transform(X))
    np.testing.assert_allclose(back["p"], X["p"])
    assert sparse.issparse(back["words"])
    np.testing.assert_allclose(back["words"].toarray(), words.toarray())


def test_inverses_that_there_are_not_are_refused(data):
    fusion = EarlyFusion("l2").fit(data[0])
    with pytest.raises(ValueError, match=r"'p': scaling='l2' .*not kept"):
        fusion.inverse_transform(fusion.transform(data[0]))
    with pytest.raises(ValueError, match="X has 4 columns, but the fused matrix has 5"):
        EarlyFusion("block").fit(data[0]).inverse_transform(np.ones((2, 4)))
    reducer = EarlyFusion(reducer=OneHotEncoder().set_params())
    assert hasattr(reducer, "inverse_transform")
    without = EarlyFusion(reducer={"p": FunctionTransformerWithout()})
    with pytest.raises(AttributeError) as refusal:
        without.inverse_transform  # noqa: B018
    assert "FunctionTransformerWithout has no inverse" in str(refusal.value.__cause__)


class FunctionTransformerWithout(FunctionTransformer):
    inverse_transform = property()


@pytest.mark.parametrize(
    "form", [np.asarray, lambda t: pd.DataFrame(t, columns=list("abcd"))]
)
@pytest.mark.parametrize("spec", [2, [1, 3], {"x": [3, 0], "y": [1, 2]}])
def test_a_split_table_is_put_together(form, spec):
    table = form(np.arange(12.0).reshape(3, 4))
    splitter = ModalitySplitter(spec)
    back = splitter.inverse_transform(splitter.fit_transform(table))
    assert type(back) is type(table)
    np.testing.assert_array_equal(np.asarray(back), np.asarray(table))
    if isinstance(back, pd.DataFrame):
        assert back.columns.tolist() == list("abcd")


def test_a_table_by_names_is_put_together_and_parts_of_it_not():
    table = pd.DataFrame(np.arange(12.0).reshape(3, 4), columns=list("abcd"))
    splitter = ModalitySplitter({"x": ["d", "a"], "y": ["b", "c"]})
    back = splitter.inverse_transform(splitter.fit_transform(table))
    pd.testing.assert_frame_equal(back, table)
    part = ModalitySplitter({"x": ["d", "a"]})
    with pytest.raises(ValueError, match="do not hold each of the 4 columns"):
        part.inverse_transform(part.fit_transform(table))


def test_every_modality_is_transformed_back(data):
    X = with_gaps(data[0])
    transformer = PerModality({"p": StandardScaler(), "q": PCA(2)}).fit(X)
    out = transformer.transform(X)
    for form in (out, list(out.blocks), out.to_dict()):
        back = transformer.inverse_transform(form)
        for v, name in enumerate(X.names):
            own = X.observed[:, v]
            np.testing.assert_allclose(back[name][own], X[name][own])
    np.testing.assert_array_equal(
        transformer.inverse_transform(out).observed, X.observed
    )
    table = data[0]["p"]
    alone = PerModality().fit(table)
    np.testing.assert_allclose(alone.inverse_transform(alone.transform(table)), table)
    with pytest.raises(ValueError, match=r"modalities \['p'\], but transform returns"):
        transformer.inverse_transform(out[["p"]])
    with pytest.raises(AttributeError) as refusal:
        PerModality({"q": "drop"}).inverse_transform  # noqa: B018
    assert "of q, 'drop', has no inverse" in str(refusal.value.__cause__)
