"""Names, shapes and rows of what the transformer of a modality returns."""

import numpy as np
import pandas as pd
import pytest
import sklearn
from scipy import sparse
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.decomposition import PCA
from sklearn.feature_selection import VarianceThreshold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

from mmfusion import (
    EarlyFusion,
    EarlyFusionClassifier,
    EarlyFusionClusterer,
    ModalityImputer,
    ModalitySplitter,
    PerModality,
)

SPEC = {"audio": ["a", "b"], "video": ["c"]}


@pytest.fixture
def table():
    values = np.random.default_rng(0).normal(size=(20, 4))
    return pd.DataFrame(values, columns=list("abcd"))


@pytest.fixture
def X(table):
    return {"audio": table[["a", "b"]], "video": table[["c"]]}


def endings(names):
    return [name.split("__")[-1] for name in names]


class Twice(TransformerMixin, BaseEstimator):
    """Needs the names of its input to name its output."""

    def fit(self, X, y=None):
        return self

    def transform(self, X):
        return 2 * np.asarray(X)

    def get_feature_names_out(self, input_features):
        return np.asarray(input_features, dtype=object)


# Names


@pytest.mark.parametrize("container", ["pandas", "polars", "default"])
@pytest.mark.parametrize("after", [True, False], ids=["after fit", "before fit"])
def test_the_output_container_may_be_set_at_any_time(table, container, after):
    def made():
        return make_pipeline(ModalitySplitter(SPEC), PerModality(StandardScaler()))

    expected = made().fit_transform(table)
    pipe = made()
    if not after:
        pipe.set_output(transform=container)
    pipe.fit(table).set_output(transform=container)
    for name in SPEC:
        found = pipe.transform(table)[name]
        np.testing.assert_allclose(np.asarray(found), expected[name])
    if container != "default":
        assert endings(pipe.transform(table)["audio"].columns) == ["a", "b"]
        assert endings(pipe.get_feature_names_out()) == ["a", "b", "c"]


@pytest.mark.parametrize("way", ["set_output", "config"])
def test_transformers_without_names_give_the_columns_of_their_frames(X, way):
    step = PerModality(FunctionTransformer(lambda x: x * 2))
    with sklearn.config_context(
        transform_output="pandas" if way == "config" else "default"
    ):
        if way == "set_output":
            step.set_output(transform="pandas")
        out = step.fit_transform(X)
    assert endings(out["audio"].columns) == ["a", "b"]
    np.testing.assert_allclose(out["audio"], 2 * X["audio"])
    arrays = PerModality(FunctionTransformer(lambda x: np.asarray(x)[:, :1]))
    out = arrays.set_output(transform="pandas").fit_transform(X)
    assert endings(out["audio"].columns) == ["x0"]
    with pytest.raises(
        ValueError, match="'audio': FunctionTransformer has no get_feat"
    ):
        arrays.get_feature_names_out()


@pytest.mark.parametrize("transformer", [Twice(), VarianceThreshold()], ids=str)
@pytest.mark.parametrize("as_frames", [True, False])
def test_inner_transformers_are_given_the_names_of_their_input(
    X, transformer, as_frames
):
    for step in (PerModality(transformer), EarlyFusion(reducer=transformer)):
        if as_frames:
            assert endings(step.fit(X).get_feature_names_out()) == ["a", "b", "c"]
        else:
            arrays = {name: block.to_numpy() for name, block in X.items()}
            step.fit(arrays)
            given = ["audio__a", "audio__b", "video__c"]
            assert endings(step.get_feature_names_out(given)) == ["a", "b", "c"]
            assert endings(step.get_feature_names_out()) == ["x0", "x1", "x0"]


@pytest.mark.parametrize(
    "steps",
    [
        [],
        [EarlyFusion(scaling=None)],
        [ModalityImputer(), EarlyFusion("block")],
        [EarlyFusion(reducer=VarianceThreshold())],
    ],
    ids=len,
)
def test_names_go_through_a_pipeline(table, steps):
    first = [ModalitySplitter(SPEC), PerModality(StandardScaler())]
    pipe = make_pipeline(*first, *map(clone, steps)).fit(table)
    names = ["audio__a", "audio__b", "video__c"]
    assert list(pipe.get_feature_names_out()) == names


def test_names_of_a_table_without_any_are_taken_by_position(table):
    splitter = ModalitySplitter({"audio": [0, 2], "video": [1]}).fit(table.to_numpy())
    names = splitter.get_feature_names_out(["p", "q", "r", "s"])
    assert list(names) == ["audio__p", "audio__r", "video__q"]
    with pytest.raises(ValueError, match="input_features"):
        splitter.get_feature_names_out(["p", "q"])


@pytest.mark.parametrize("order", [list("dcba"), list("abc"), ["c", "x", "b", "a"]])
def test_the_splitter_finds_columns_by_name(table, order):
    splitter = ModalitySplitter(SPEC).fit(table)
    expected = splitter.transform(table)
    found = splitter.transform(table.assign(x=0.0)[order])
    for name in SPEC:
        np.testing.assert_array_equal(found[name], expected[name])


# Shapes and rows

WRONG = {
    "one dimension": (lambda x: np.asarray(x)[:, 0], r"shape \((1|20),\)"),
    "a Series": (lambda x: pd.Series(np.zeros(len(x))), r"shape \((1|20),\)"),
    "a row less": (lambda x: x[:-1], "rows for (1|20) samples"),
    "a row more": (lambda x: np.vstack([x, x[:1]]), "rows for (1|20) samples"),
    "a sparse row less": (
        lambda x: sparse.csr_array(np.asarray(x)[:-1]),
        "rows for (1|20) samples",
    ),
    "nothing": (lambda x: None, "NoneType"),
}


@pytest.mark.parametrize("what", WRONG)
def test_outputs_of_another_shape_are_refused_by_modality(X, what):
    function, message = WRONG[what]
    wrong = FunctionTransformer(function)
    y = np.arange(20) % 2
    for step in (
        PerModality({"audio": wrong}),
        EarlyFusion(reducer={"audio": wrong}),
        EarlyFusionClusterer(reducer={"audio": wrong}, n_clusters=2),
        EarlyFusionClassifier(reducer={"audio": wrong}),
    ):
        for given in (X, {"audio": X["audio"]}):
            run = step.fit_transform if hasattr(step, "transform") else step.fit
            with pytest.raises((ValueError, TypeError), match=message) as caught:
                run(given, y)
            assert "'audio'" in str(caught.value)


def test_row_labels_that_a_transformer_loses_are_those_of_its_input(X):
    labelled = {name: block.iloc[::-1] for name, block in X.items()}
    for function in (
        lambda x: pd.DataFrame(2 * x.to_numpy(), index=x.index),
        lambda x: pd.DataFrame(2 * x.to_numpy()),
    ):
        step = PerModality({"audio": FunctionTransformer(function)})
        out = step.set_output(transform="pandas").fit_transform(labelled)
        assert out["audio"].index.equals(labelled["audio"].index)
        np.testing.assert_array_equal(out["audio"], 2 * labelled["audio"])
    sorting = PerModality({"audio": FunctionTransformer(lambda x: x.sort_values("a"))})
    with pytest.raises(ValueError, match="'audio': its transformer returned rows"):
        sorting.fit_transform(labelled)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_reducers_that_return_nan_are_named(X, bad):
    reducer = FunctionTransformer(lambda x: np.full((len(x), 1), bad))
    with pytest.raises(ValueError, match=r"'video': FunctionTransformer .* NaN or inf"):
        EarlyFusion(reducer={"video": reducer}).fit_transform(X)


def test_errors_of_reducers_name_the_modality(X):
    with pytest.raises(ValueError, match="modality 'video': n_components=2"):
        EarlyFusion(reducer=PCA(2)).fit(X)


@pytest.mark.parametrize("bad", ["word", pytest.param(10**400, id="huge")])
def test_a_cell_that_is_no_number_is_named_where_the_transformer_refuses_it(bad):
    city = pd.Series([1.0, bad, 2.0], dtype=object)
    frame = pd.DataFrame({"age": [1.0, 2.0, 3.0], "city": city})
    with pytest.raises(ValueError, match=r"modality 'meta': .*'city'") as caught:
        PerModality(StandardScaler()).fit({"meta": frame})
    assert "the input of StandardScaler" in str(caught.value)


def test_an_encoder_that_refuses_text_says_why():
    known, other = pd.DataFrame({"city": ["a", "b"]}), pd.DataFrame({"city": ["c"]})
    fitted = PerModality(OneHotEncoder(sparse_output=False)).fit({"meta": known})
    with pytest.raises(ValueError, match="modality 'meta': Found unknown categories"):
        fitted.transform({"meta": other})
