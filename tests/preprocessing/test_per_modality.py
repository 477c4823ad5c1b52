"""One transformer per modality."""

import joblib
import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn import config_context
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin, clone
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA
from sklearn.feature_selection import SelectKBest
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    MaxAbsScaler,
    MinMaxScaler,
    OneHotEncoder,
    OrdinalEncoder,
    StandardScaler,
)

from mmfusion import EarlyFusion, LateFusionClusterer, Modalities
from mmfusion.datasets import make_multimodal_blobs
from mmfusion.preprocessing import PerModality


class Recorder(OneToOneFeatureMixin, TransformerMixin, BaseEstimator):
    """Keeps what it was fitted on; adds 1."""

    def fit(self, X, y=None, sample_weight=None):
        self.X_, self.y_, self.sample_weight_ = X, y, sample_weight
        self.n_features_in_ = X.shape[1]
        return self

    def transform(self, X):
        return X + 1


class OutOfFold(OneToOneFeatureMixin, TransformerMixin, BaseEstimator):
    """Centres training samples by the others, as TargetEncoder encodes them."""

    def fit(self, X, y=None):
        self.mean_, self.n_features_in_ = X.mean(axis=0), X.shape[1]
        return self

    def fit_transform(self, X, y=None):
        out = self.fit(X).transform(X)
        out[::2], out[1::2] = (
            X[::2] - X[1::2].mean(axis=0),
            X[1::2] - X[::2].mean(axis=0),
        )
        return out

    def transform(self, X):
        return X - self.mean_


class Pooling(TransformerMixin, BaseEstimator):
    """Mean of every sequence."""

    def fit(self, X, y=None):
        return self

    def transform(self, X):
        return np.array([frames.mean(axis=0) for frames in X])


@pytest.fixture(scope="module")
def data():
    return make_multimodal_blobs(40, {"audio": 4, "video": 6}, random_state=0)


@pytest.fixture(scope="module")
def X(data):
    return data[0]


@pytest.fixture(scope="module")
def y(data):
    return data[1]


@pytest.fixture(scope="module")
def partial(X):
    observed = np.ones(X.shape, dtype=bool)
    observed[::4, 0] = False
    observed[1::5, 1] = False
    return Modalities(X, observed=observed)


# What goes where


def test_every_modality_is_transformed_by_a_clone_of_its_own(X):
    pca = PCA(2)
    per_modality = PerModality(pca).fit(X)
    out = per_modality.transform(X)
    for name in X.names:
        np.testing.assert_allclose(out[name], PCA(2).fit_transform(X[name]))
        assert isinstance(per_modality.transformers_[name], PCA)
    assert not hasattr(pca, "components_")


def test_the_default_standardises(X):
    out = PerModality().fit_transform(X)
    for name in X.names:
        np.testing.assert_allclose(out[name].mean(axis=0), 0, atol=1e-12)
        np.testing.assert_allclose(out[name].std(axis=0), 1)


def test_modalities_that_a_dict_does_not_name_pass_through(X):
    out = PerModality({"audio": PCA(2)}).fit_transform(X)
    assert out["audio"].shape == (40, 2)
    assert out["video"] is X["video"]


def test_drop_leaves_a_modality_out(X):
    per_modality = PerModality({"audio": "drop", "video": "passthrough"}).fit(X)
    out = per_modality.transform(X)
    assert out == X[["video"]]
    assert list(per_modality.get_feature_names_out()) == [
        f"video__x{j}" for j in range(6)
    ]
    for transformer in ("drop", {"audio": "drop", "video": "drop"}):
        with pytest.raises(ValueError, match="all modalities are dropped"):
            PerModality(transformer).fit(X)


def test_what_is_no_transformer_is_refused_by_modality(X):
    with pytest.raises(TypeError, match=r"transformer\['video'\] is 'dropp'"):
        PerModality({"video": "dropp"}).fit(X)


def test_a_dict_that_names_no_modality_of_the_data_is_refused(X):
    with pytest.raises(ValueError, match=r"transformer names \['sound'\]"):
        PerModality({"sound": PCA()}).fit(X)


def test_a_modality_called_like_a_parameter_cannot_be_given_by_name(X):
    clash = Modalities(list(X.blocks), names=["n_jobs", "video"])
    with pytest.raises(ValueError, match=r"\['n_jobs'\] are called like parameters"):
        PerModality({"video": PCA(2)}).fit(clash)
    out = PerModality(PCA(2)).fit_transform(clash)  # one for all works
    assert out["n_jobs"].shape == (40, 2)


def test_fit_transform_is_that_of_the_transformer_not_transform_after_fit(X):
    per_modality = PerModality({"audio": OutOfFold()})
    out = per_modality.fit_transform(X)
    audio = X["audio"]
    np.testing.assert_array_equal(out["audio"][::2], audio[::2] - audio[1::2].mean(0))
    later = per_modality.transform(X)
    np.testing.assert_array_equal(later["audio"], audio - audio.mean(axis=0))


def test_y_reaches_the_transformers(X, y):
    out = PerModality(SelectKBest(k=2)).fit_transform(X, y)
    for name in X.names:
        expected = SelectKBest(k=2).fit_transform(X[name], y)
        np.testing.assert_array_equal(out[name], expected)


def test_transformers_in_parallel_give_the_same(X):
    alone = PerModality(PCA(2)).fit_transform(X)
    assert PerModality(PCA(2), n_jobs=2).fit_transform(X) == alone


def test_transformers_are_fitted_under_a_backend_of_processes(X):
    expected = PerModality(PCA(2)).fit(X).transform(X)
    for method in ("fit", "fit_transform"):
        per_modality = PerModality(PCA(2), n_jobs=2)
        with joblib.parallel_config(backend="loky"):
            getattr(per_modality, method)(X)
        assert per_modality.transform(X) == expected


def test_sequences_are_handed_on_as_they_are():
    rng = np.random.default_rng(0)
    speech = [rng.normal(size=(length, 3)) for length in (5, 2, 7)]
    X = Modalities({"speech": [*speech, None], "face": np.ones((4, 2))})
    out = PerModality({"speech": Pooling()}).fit_transform(X)
    np.testing.assert_allclose(out["speech"][:3], [s.mean(axis=0) for s in speech])
    np.testing.assert_array_equal(out.observed[:, 0], [True, True, True, False])


# Parameters


def test_parameters_nest_by_modality(X):
    given = {"audio": PCA(3), "video": "passthrough"}
    per_modality = PerModality(given)
    assert per_modality.get_params()["audio__n_components"] == 3
    per_modality.set_params(audio__n_components=1, video=PCA(2))
    out = clone(per_modality).fit_transform(X)
    assert (out["audio"].shape[1], out["video"].shape[1]) == (1, 2)
    assert given["video"] == "passthrough"  # the user's dict
    with pytest.raises(ValueError, match="Invalid parameter 'text'"):
        per_modality.set_params(text=PCA())
    with pytest.raises(ValueError, match="Invalid parameter 'components'"):
        per_modality.set_params(audio__components=1)


def test_the_dict_and_an_entry_of_it_can_be_set_at_once(X):
    per_modality = PerModality()
    per_modality.set_params(audio__n_components=1, transformer={"audio": PCA(3)})
    assert per_modality.fit_transform(X)["audio"].shape == (40, 1)


def test_a_search_goes_through_nested_parameters_and_whole_transformers(X, y):
    pipe = make_pipeline(
        PerModality({"audio": PCA(3), "video": PCA(3)}),
        EarlyFusion(None),
        LogisticRegression(),
    )
    grid = {
        "permodality__audio__n_components": [1, 3],
        "permodality__video": [PCA(1), "drop", StandardScaler()],
    }
    search = GridSearchCV(pipe, grid, cv=2, error_score="raise").fit(X, y)
    assert len(search.cv_results_["params"]) == 6
    assert search.best_score_ > 0.9
    assert pipe[0].get_params()["audio__n_components"] == 3


def test_one_transformer_for_all_has_nested_parameters_too(X):
    per_modality = PerModality(PCA(3)).set_params(transformer__n_components=2)
    assert per_modality.fit_transform(X)["video"].shape == (40, 2)


# Missing modalities


def test_transformers_see_only_the_samples_that_have_their_modality(partial, y):
    weight = np.arange(40.0)
    per_modality = PerModality(Recorder()).fit(partial, y, sample_weight=weight)
    for name, present in zip(partial.names, partial.observed.T, strict=True):
        seen = per_modality.transformers_[name]
        np.testing.assert_array_equal(seen.X_, partial[name][present])
        np.testing.assert_array_equal(seen.y_, y[present])
        np.testing.assert_array_equal(seen.sample_weight_, weight[present])


@pytest.mark.parametrize("method", ["fit_transform", "transform"])
@pytest.mark.parametrize("transformer", [Recorder(), PCA(2), "passthrough"])
def test_what_is_missing_stays_missing(partial, method, transformer):
    per_modality = PerModality(transformer).fit(partial)
    out = getattr(per_modality, method)(partial)
    np.testing.assert_array_equal(out.observed, partial.observed)
    for name, present in zip(partial.names, partial.observed.T, strict=True):
        own = partial[name][present]
        alone = (
            own
            if transformer == "passthrough"
            else clone(transformer).fit_transform(own)
        )
        np.testing.assert_allclose(out[name][present], alone)


def test_what_is_missing_stays_missing_in_sparse_output():
    words = np.array([["a"], ["b"], ["a"], ["c"], ["b"]], dtype=object)
    observed = np.array([[True, True]] * 5)
    observed[[0, 3], 0] = False
    X = Modalities({"word": words, "other": np.ones((5, 1))}, observed=observed)
    out = PerModality({"word": OneHotEncoder()}).fit_transform(X)
    assert sparse.issparse(out["word"])
    np.testing.assert_array_equal(out.observed, observed)
    kept = out["word"][[1, 2, 4]].toarray()
    np.testing.assert_array_equal(kept, [[0, 1], [1, 0], [0, 1]])


def test_rows_of_nan_in_a_table_stay_rows_of_nan(X):
    table = X.to_array()
    table[3, :4] = np.nan
    out = PerModality(PCA(2), modalities=[4, 6]).fit_transform(table)
    assert out.shape == (40, 4)
    np.testing.assert_array_equal(np.isnan(out[3]), [True, True, False, False])
    assert np.isfinite(np.delete(out, 3, axis=0)).all()


@pytest.mark.parametrize("transformer", [PCA(2), {"video": PCA(2)}, "passthrough"])
def test_a_modality_may_be_absent_after_fit(X, transformer):
    per_modality = PerModality(transformer).fit(X)
    out = per_modality.transform({"audio": X["audio"], "video": None})
    expected = per_modality.transform(X)
    assert out["video"].shape == expected["video"].shape
    np.testing.assert_array_equal(out.observed, [[True, False]] * 40)
    np.testing.assert_array_equal(out["audio"], expected["audio"])


def test_a_pipeline_predicts_without_a_modality(X):
    late = LateFusionClusterer(n_clusters=3, n_runs=2, random_state=0)
    pipe = make_pipeline(PerModality(PCA(2)), late).fit(X)
    labels = pipe.predict(X)
    absent = Modalities(X.to_dict() | {"video": None})
    np.testing.assert_array_equal(pipe.predict(absent), labels)


def test_single_cells_that_are_nan_are_for_the_transformer(X):
    audio = X["audio"].copy()
    audio[5, 1] = np.nan
    holes = Modalities(X.to_dict() | {"audio": audio})
    out = PerModality({"audio": SimpleImputer()}).fit_transform(holes)
    assert np.isfinite(out["audio"]).all()
    with pytest.raises(ValueError, match="modality 'audio': Input X contains NaN"):
        PerModality(PCA(2)).fit(holes)


# DataFrames, names and containers


@pytest.fixture
def mixed():
    rng = np.random.default_rng(0)
    return Modalities(
        {
            "place": pd.DataFrame(
                {"town": ["Ulm", "Bonn", "Ulm"], "k": ["x", "y", "y"]}
            ),
            "sound": rng.normal(size=(3, 2)),
        }
    )


def test_strings_go_through_an_encoder_beside_numbers(mixed):
    per_modality = PerModality(
        {"place": OneHotEncoder(sparse_output=False), "sound": StandardScaler()}
    ).fit(mixed)
    out = per_modality.transform(mixed)
    expected = [[0, 1, 1, 0], [1, 0, 0, 1], [0, 1, 0, 1]]
    np.testing.assert_array_equal(out["place"], expected)
    assert list(per_modality.get_feature_names_out()) == [
        "place__town_Bonn",
        "place__town_Ulm",
        "place__k_x",
        "place__k_y",
        "sound__x0",
        "sound__x1",
    ]


def test_a_transformer_may_pick_columns_of_a_frame(mixed):
    pick = ColumnTransformer([("town", OrdinalEncoder(), ["town"])])
    out = PerModality({"place": pick}).fit_transform(mixed)
    np.testing.assert_array_equal(out["place"], [[1], [0], [1]])


@pytest.mark.parametrize("container", ["pandas", "polars"])
def test_output_is_frames_by_modality_where_asked_for(X, partial, container):
    per_modality = PerModality(PCA(2)).set_output(transform=container)
    for frame in (X, partial):
        for out in (per_modality.fit_transform(frame), per_modality.transform(frame)):
            assert isinstance(out, Modalities)
            for name in X.names:
                assert type(out[name]).__module__.startswith(container)
                assert list(out[name].columns) == [f"{name}__pca0", f"{name}__pca1"]
            np.testing.assert_array_equal(out.observed, frame.observed)
    assert PerModality(PCA(2)).fit_transform(X).to_array() == pytest.approx(
        clone(per_modality).fit_transform(X).to_array()
    )


@pytest.mark.parametrize("container", ["pandas", "polars"])
def test_a_table_becomes_a_frame_where_asked_for(X, container):
    table = pd.DataFrame(X.to_array(), index=np.arange(100, 140)).add_prefix("f")
    per_modality = PerModality(
        PCA(2), modalities={"a": ["f0", "f1", "f2"], "b": [3, 4]}
    )
    per_modality.set_output(transform=container)
    out = per_modality.fit(table).transform(table)
    assert type(out).__module__.startswith(container)
    names = ["a__pca0", "a__pca1", "b__pca0", "b__pca1"]
    assert list(out.columns) == names
    if container == "pandas":
        assert list(out.index) == list(table.index)


def test_the_global_setting_of_output_holds_too(X):
    with config_context(transform_output="pandas"):
        out = PerModality(StandardScaler()).fit_transform(X)
    assert list(out["audio"].columns) == [f"audio__x{j}" for j in range(4)]


def test_names_of_columns_get_the_modality_once(X):
    names = [f"a__f{j}" for j in range(4)] + [f"b__g{j}" for j in range(6)]
    table = pd.DataFrame(X.to_array(), columns=names)
    per_modality = PerModality(StandardScaler(), modalities="__").fit(table)
    assert list(per_modality.get_feature_names_out()) == names
    per_modality.set_params(transformer={"a": PCA(1)}).fit(table)
    assert list(per_modality.get_feature_names_out()) == ["a__pca0", *names[4:]]


def test_a_lone_table_keeps_its_names():
    table = pd.DataFrame({"u": [1.0, 2.0, 4.0], "v": [0.0, 1.0, 1.0]})
    per_modality = PerModality(MinMaxScaler()).set_output(transform="pandas")
    out = per_modality.fit_transform(table)
    assert list(out.columns) == ["u", "v"]
    assert out["u"].tolist() == pytest.approx([0, 1 / 3, 1])


def test_a_table_of_which_a_part_becomes_sparse_is_sparse():
    table = pd.DataFrame({"w": list("abca"), "u": [1.0, 2.0, 3.0, 4.0]})
    per_modality = PerModality(
        {"words": OneHotEncoder()}, modalities={"words": ["w"], "numbers": ["u"]}
    )
    out = per_modality.fit_transform(table)
    assert sparse.issparse(out)
    np.testing.assert_array_equal(out.toarray()[:, 3], [1, 2, 3, 4])


# Errors, metadata, display


@pytest.mark.parametrize(
    ("block", "transformer"),
    [
        (np.array([["a"], ["b"], ["c"]], dtype=object), StandardScaler()),
        (sparse.csr_array(np.eye(3)), MinMaxScaler()),
        (np.eye(3), PCA(7)),
    ],
)
def test_an_error_of_a_transformer_names_its_modality(block, transformer):
    X = Modalities({"good": np.eye(3), "bad": block})
    with pytest.raises((ValueError, TypeError), match="modality 'bad': "):
        PerModality({"good": StandardScaler(), "bad": transformer}).fit(X)


@pytest.mark.parametrize("method", ["fit", "fit_transform"])
def test_metadata_reach_the_transformers_that_request_them(X, method):
    weight = np.arange(40.0)
    with config_context(enable_metadata_routing=True):
        wants = StandardScaler().set_fit_request(sample_weight=True)
        rejects = Recorder().set_fit_request(sample_weight=False)
        for transformer in (
            wants,
            {"audio": wants},
            {"audio": wants, "video": rejects},
        ):
            per_modality = PerModality(transformer)
            getattr(per_modality, method)(X, sample_weight=weight)
            mean = per_modality.transformers_["audio"].mean_
            np.testing.assert_allclose(mean, weight @ X["audio"] / weight.sum())
        assert per_modality.transformers_["video"].sample_weight_ is None


def test_the_display_shows_the_transformer_of_every_modality(X):
    per_modality = PerModality({"audio": PCA(2), "video": "drop"})
    for shown in (per_modality, clone(per_modality).fit(X)):
        text = shown._repr_html_()
        for part in ("audio", "video", "PCA", "drop"):
            assert part in text
    for alone in (PerModality(), PerModality("passthrough"), PerModality(PCA())):
        assert "every modality" in alone._repr_html_()


def test_the_users_own_frames_keep_their_column_names():
    frame = pd.DataFrame(np.eye(3), columns=list("xyz"))
    keep = PerModality("passthrough").set_output(transform="pandas")
    out = keep.fit_transform(Modalities({"a": frame}))
    assert list(out["a"].columns) == ["a__x", "a__y", "a__z"]
    assert list(frame.columns) == ["x", "y", "z"]


def doubled(sequences):
    out = np.empty(len(sequences), dtype=object)
    out[:] = [2 * sequence for sequence in sequences]
    return out


def test_sequences_stay_sequences_and_missing_ones_stay_missing():
    sequences = [np.ones((3, 2)), None, np.ones((4, 2))]
    X = Modalities({"a": sequences, "b": np.eye(3)})
    out = PerModality({"a": FunctionTransformer(doubled)}).fit_transform(X)
    assert out.observed.tolist() == [[True, True], [False, True], [True, True]]
    np.testing.assert_array_equal(out["a"][2], 2 * np.ones((4, 2)))


def test_a_modality_absent_later_stays_absent_without_names_of_features():
    def means(sequences):
        return np.array([sequence.mean(axis=0) for sequence in sequences])

    X = {"a": [np.ones((3, 2)), np.ones((4, 2))], "b": np.eye(2)}
    pool = PerModality({"a": FunctionTransformer(means)}).fit(Modalities(X))
    assert not pool.transform({"a": None, "b": np.eye(2)}).observed[:, 0].any()


def test_missing_rows_of_a_sparse_table_do_not_become_zeros():
    table = np.array([[1, 2, 3, 4], [np.nan, np.nan, 1, 1]])
    scale = PerModality(MaxAbsScaler(), modalities=2)
    dense = scale.fit_transform(table)
    out = scale.fit_transform(sparse.csr_array(table))
    np.testing.assert_array_equal(out.toarray(), dense)
