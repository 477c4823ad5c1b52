"""From one table to modalities."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy import sparse
from sklearn.cluster import KMeans
from sklearn.compose import make_column_selector
from sklearn.metrics import adjusted_rand_score
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

from mmfusion import EarlyFusionClusterer, Modalities
from mmfusion.preprocessing import ModalitySplitter, PerModality

NAMES = ["audio__f", "audio__g", "video__f", "video__g", "video__h"]


@pytest.fixture
def table():
    return np.random.default_rng(0).normal(size=(6, 5))


@pytest.fixture
def frame(table):
    return pd.DataFrame(table, columns=NAMES)


@pytest.mark.parametrize(
    ("spec", "columns"),
    [
        (1, {"modality_0": [0, 1, 2, 3, 4]}),
        (2, {"modality_0": [0, 1, 2], "modality_1": [3, 4]}),
        (np.int64(5), {f"modality_{v}": [v] for v in range(5)}),
        ([4, 1], {"modality_0": [0, 1, 2, 3], "modality_1": [4]}),
        ((1, 2, 2), {"modality_0": [0], "modality_1": [1, 2], "modality_2": [3, 4]}),
        ({"a": [4, 0], "b": [2]}, {"a": [4, 0], "b": [2]}),
        ({"a": slice(1, 3), "b": slice(-1, None)}, {"a": [1, 2], "b": [4]}),
        ({"a": 3, "b": np.array([0, 1])}, {"a": [3], "b": [0, 1]}),
        ({"a": [True, False, True, False, False]}, {"a": [0, 2]}),
        ({"a": [0, 1], "b": [1, 2]}, {"a": [0, 1], "b": [1, 2]}),
    ],
)
@pytest.mark.parametrize("kind", [np.asarray, pd.DataFrame, sparse.csr_array])
def test_every_spec_takes_its_columns(table, spec, columns, kind):
    given = kind(table) if kind is not pd.DataFrame else kind(table, columns=NAMES)
    out = ModalitySplitter(spec).fit_transform(given)
    assert isinstance(out, Modalities)
    assert out.names == tuple(columns)
    for name, chosen in columns.items():
        block = out[name].toarray() if sparse.issparse(out[name]) else out[name]
        np.testing.assert_array_equal(block, table[:, chosen])


@pytest.mark.parametrize(
    "spec",
    [
        "__",
        {"audio": ["audio__f", "audio__g"], "video": slice("video__f", "video__h")},
        {
            "audio": make_column_selector("^audio"),
            "video": make_column_selector("^video"),
        },
    ],
)
def test_specs_by_name_read_the_columns(frame, spec):
    out = ModalitySplitter(spec).fit_transform(frame)
    assert list(out["audio"].columns) == NAMES[:2]
    assert list(out["video"].columns) == NAMES[2:]


def test_columns_of_one_modality_need_not_be_neighbours(frame):
    mingled = frame[[NAMES[j] for j in (2, 0, 3, 1, 4)]]
    out = ModalitySplitter("__").fit_transform(mingled)
    assert out.names == ("video", "audio")
    assert list(out["audio"].columns) == NAMES[:2]


def test_a_polars_frame_is_split_too(frame):
    out = ModalitySplitter("__").fit_transform(pl.DataFrame(frame.to_dict("list")))
    assert isinstance(out["audio"], pl.DataFrame)
    np.testing.assert_array_equal(out["video"].to_numpy(), frame.to_numpy()[:, 2:])


def test_without_a_spec_the_table_stays_a_table(table):
    np.testing.assert_array_equal(ModalitySplitter().fit_transform(table), table)


def test_data_that_have_modalities_stay_as_they_are(table):
    X = Modalities({"audio": table[:, :2], "video": table[:, 2:]})
    for spec in (None, 2, {"audio": [0, 1]}):
        assert ModalitySplitter(spec).fit_transform(X) == X


@pytest.mark.parametrize(
    ("spec", "error", "message"),
    [
        (6, ValueError, "specifies 6 modalities, but X has 5"),
        (0, ValueError, "specifies 0 modalities"),
        ([2, 2], ValueError, "add up to 4, but X has 5"),
        ([6, -1], ValueError, "widths are positive"),
        ({}, ValueError, "names no modality"),
        ({"a": []}, ValueError, "'a' has no columns"),
        ("__", ValueError, "no string column names"),
        ({"a__b": [0]}, ValueError, "cannot name a modality"),
        ([0.5, 0.5], TypeError, "is not a column spec"),
    ],
)
def test_a_spec_that_does_not_fit_is_refused(table, spec, error, message):
    with pytest.raises(error, match=message):
        ModalitySplitter(spec).fit(table)


def test_a_column_without_the_separator_is_refused(frame):
    with pytest.raises(ValueError, match="column 'age' has no '__'"):
        ModalitySplitter("__").fit(frame.assign(age=1.0))


def test_other_columns_than_in_fit_are_refused(table, frame):
    splitter = ModalitySplitter([2, 3]).fit(table)
    with pytest.raises(ValueError, match="expecting 5 features"):
        splitter.transform(table[:, :4])
    named = ModalitySplitter("__").fit(frame)
    with pytest.raises(ValueError, match=f"lacks columns.*{NAMES[1]}"):
        named.transform(frame.drop(columns=NAMES[1]))
    assert named.transform(frame[NAMES[::-1]]) == named.transform(frame)


def test_names_of_features_tell_the_modality(table, frame):
    names = ModalitySplitter({"a": [4, 0], "b": [2]}).fit(table).get_feature_names_out()
    assert list(names) == ["a__x0", "a__x1", "b__x0"]
    assert list(ModalitySplitter("__").fit(frame).get_feature_names_out()) == NAMES


@pytest.mark.parametrize("container", ["pandas", "polars"])
def test_modalities_are_frames_where_asked_for(table, container):
    splitter = ModalitySplitter([2, 3]).set_output(transform=container)
    out = splitter.fit_transform(table)
    assert type(out["modality_1"]).__module__.startswith(container)
    assert list(out["modality_1"].columns) == [f"modality_1__x{j}" for j in range(3)]
    np.testing.assert_array_equal(out["modality_1"].to_numpy(), table[:, 2:])


def test_rows_of_nan_are_missing_modalities(table):
    table[2, :2] = np.nan
    out = ModalitySplitter([2, 3]).fit_transform(table)
    np.testing.assert_array_equal(out.observed[:, 0], np.arange(6) != 2)


def test_it_is_the_first_step_of_a_pipeline_over_one_table():
    rng = np.random.default_rng(0)
    y = np.arange(60) % 3
    table = 5 * rng.normal(size=(3, 7))[y] + rng.normal(size=(60, 7))
    spec = {"audio": slice(0, 3), "video": slice(3, 7)}
    pipe = make_pipeline(
        ModalitySplitter(spec),
        PerModality(),
        EarlyFusionClusterer(KMeans(3, n_init=2), random_state=0),
    )
    grid = {
        "modalitysplitter__modalities": [spec, {"audio": [0, 1], "video": [5, 6]}],
        "earlyfusionclusterer__weights": ["uniform", {"audio": 2}],
    }
    search = GridSearchCV(pipe, grid, cv=2, error_score="raise").fit(table)
    assert adjusted_rand_score(y, search.predict(table)) == 1
