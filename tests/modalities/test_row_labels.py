"""Row labels: alignment of frames, and preservation by indexing."""

import pickle
import sys

import joblib
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from sklearn.inspection import permutation_importance
from sklearn.model_selection import GridSearchCV, cross_val_score, train_test_split

from mmfusion import EarlyFusionClassifier, MKLRegressor, Modalities

LABELS = {
    "str": list("uvwxyz"),
    "int": [5, 3, 9, 1, 0, 2],
    "numbered": range(6),
    "range": range(2, 14, 2),
    "float": [0.5, 0.25, 1.0, 2.0, 3.0, -1.0],
    "date": pd.date_range("2020", periods=6),
    "zone": pd.date_range("2020", periods=6, tz="Asia/Seoul"),
    "span": pd.timedelta_range("1s", periods=6),
    "period": pd.period_range("2020", periods=6, freq="D"),
    "interval": pd.interval_range(0, 6),
    "category": pd.CategoricalIndex(list("uvwxyz"), name="id"),
    "levels": pd.MultiIndex.from_product([["a", "b"], [1, 2, 3]], names=["who", "n"]),
    "levels of dates": pd.MultiIndex.from_product(
        [["a", "b"], pd.date_range("2020", periods=3)]
    ),
}
KINDS = pytest.mark.parametrize("index", LABELS.values(), ids=LABELS)
COLUMNS = {
    "f": np.arange(6.0),
    "n": np.arange(6),
    "sparse": pd.arrays.SparseArray([0, 0, 1, 0, 2, 0]),
    "category": pd.Categorical(list("ababca")),
    "text": list("qwerty"),
    "nullable": pd.array([1, 2, None, 4, 5, 6], dtype="Int64"),
    "when": pd.date_range("2021", periods=6),
}


def as_index(labels):
    return labels if isinstance(labels, pd.Index) else pd.Index(labels)


def labelled(index=LABELS["str"]):
    frame = pd.DataFrame({"f": np.arange(len(index))}, index=as_index(index))
    return Modalities({"audio": frame, "video": np.eye(len(index), 3)})


# Frames with labels


FRAME = pd.DataFrame(np.arange(10.0).reshape(5, 2), columns=["f", "g"])
NAMED = FRAME.set_axis(list("abcde"))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (FRAME, FRAME.sort_values("f", ascending=False)),
        (FRAME, FRAME.iloc[::-1]),
        (FRAME.iloc[:3], FRAME.iloc[2:]),
        (FRAME.iloc[::2], FRAME.iloc[:3]),
        (FRAME, NAMED),
        (NAMED, NAMED.iloc[::-1]),
        (NAMED, NAMED.set_axis(list("abcdd"))),
        (NAMED, NAMED.set_axis(pd.MultiIndex.from_product([["a"], range(5)]))),
        (NAMED, NAMED.set_axis(["a", "b", "c", "d", None])),
        (NAMED, NAMED.set_axis(pd.date_range("2020", periods=5))),
        (NAMED, pd.Series([np.eye(2)] * 5, index=list("edcba"))),
    ],
)
def test_frames_with_different_row_labels_are_refused(one, other):
    forms = {"one": one, "other": other}, {"other": other, "one": one}
    for frames in forms:
        with pytest.raises(ValueError, match=r"row labels that differ: row \d is"):
            Modalities(frames)
        with pytest.raises(ValueError, match=r"row labels that differ: row \d is"):
            EarlyFusionClassifier().fit(frames, [0, 1, 0, 1, 0][: len(one)])
        with pytest.raises(ValueError, match=r"'modality_0' and 'modality_1' have row"):
            Modalities(list(frames.values()))
        by_position = {n: frame.reset_index(drop=True) for n, frame in frames.items()}
        assert len(Modalities(by_position)) == len(one)


def test_the_error_of_row_labels_that_differ_names_a_remedy_that_works():
    frames = {"audio": FRAME.iloc[:3], "video": FRAME.iloc[2:]}
    with pytest.raises(ValueError, match=r"row 0 is 0 in 'audio' and 2 in 'video'; al"):
        Modalities(frames)
    assert len(Modalities.from_frames(frames, join="outer")) == 5
    frames["video"] = NAMED.iloc[:3]
    with pytest.raises(ValueError, match=r"^(?!.*from_frames).*reset_index"):
        Modalities(frames)
    frames["video"] = FRAME.iloc[:2]
    with pytest.raises(ValueError, match=r"'video' has 2.*from_frames\(frames, join="):
        Modalities(frames)


def test_data_without_labels_are_matched_by_position():
    polars = pytest.importorskip("polars")
    for other in (FRAME.to_numpy(), polars.DataFrame(FRAME.to_dict("list"))):
        X = Modalities({"one": NAMED, "other": other})
        assert X.index.equals(NAMED.index)
        assert_array_equal(X[[3]]["other"], other[[3]])


@KINDS
def test_labels_of_the_same_values_agree(index):
    frame = pd.DataFrame({"f": range(6)}, index=as_index(index))
    again = pd.DataFrame({"g": range(6)}, index=as_index(list(index)))
    assert Modalities([frame, again]).index.equals(frame.index)


def test_labels_come_from_tables_and_other_modalities():
    table = pd.DataFrame(np.eye(6, 4), index=list("uvwxyz"))
    grouped = table.set_axis(
        pd.MultiIndex.from_product([["audio", "video"], ["f", "g"]]), axis=1
    )
    of_table = Modalities.from_table(table, 2)
    sequences = pd.Series([np.eye(2)] * 6, index=table.index)
    for X in (
        of_table,
        Modalities(grouped),
        Modalities(of_table, observed=of_table.observed),
        Modalities({"audio": sequences, "video": np.eye(6)}),
    ):
        assert X.index.equals(table.index)


def test_rows_without_labels_have_positions():
    X = Modalities([np.eye(3)])
    assert_array_equal(X.index, [0, 1, 2])
    assert_array_equal(X[1:].index, [0, 1])
    assert_array_equal(X.loc[[2, 0]]["modality_0"], np.eye(3)[[2, 0]])


# Alignment by label


@KINDS
def test_an_exact_alignment_has_the_order_of_the_first_frame(index):
    index = as_index(index)
    one = pd.DataFrame(COLUMNS, index=index)
    X = Modalities.from_frames({"one": one.iloc[::-1], "other": one, "it": one[["f"]]})
    assert X.index.equals(index[::-1])
    for frame in X.blocks:
        assert frame.equals(one[frame.columns].iloc[::-1])
    assert X.observed.all()


@KINDS
def test_samples_lack_modalities_without_their_row(index):
    one = pd.DataFrame(COLUMNS, index=as_index(index))
    frames = {"one": one.iloc[:4], "other": one.iloc[[5, 3, 2]]}
    outer = Modalities.from_frames(frames, join="outer")
    assert list(outer.index) == [one.index[i] for i in (0, 1, 2, 3, 5)]
    assert_array_equal(
        outer.observed.T, [[True] * 4 + [False], [False, False, True, True, True]]
    )
    assert outer["one"].iloc[:4].astype(one.dtypes).equals(one.iloc[:4])
    kept = ["f", "sparse", "category", "text", "nullable", "when"]
    assert (outer["one"].dtypes[kept] == one.reindex([None]).dtypes[kept]).all()
    inner = Modalities.from_frames(frames, join="inner")
    assert inner == outer[2:4] or "n" in one.columns  # integers with gaps are floats
    assert inner["other"].equals(one.iloc[[2, 3]])


def test_sequences_are_aligned_by_label():
    sequences = pd.Series([np.ones((2, 3)), np.ones((4, 3))], index=["a", "e"])
    X = Modalities.from_frames({"it": sequences, "audio": NAMED}, join="outer")
    assert list(X.index) == ["a", "e", "b", "c", "d"]
    assert_array_equal(X.observed[:, 0], [True, True, False, False, False])
    assert X["it"][1] is sequences["e"]
    assert X["it"][2] is None


@pytest.mark.parametrize(
    ("frames", "join", "error", "message"),
    [
        ([], "exact", ValueError, "frames is empty"),
        ([NAMED], "left", ValueError, "join='left'.*'exact', 'inner', 'outer'"),
        (NAMED, "exact", TypeError, "frames is a DataFrame.*dict or list"),
        ({"a": FRAME.to_numpy()}, "outer", TypeError, "'a' is a numpy ndarray.*pandas"),
        ({"a": None}, "outer", TypeError, "'a' is a builtins NoneType"),
        ({"a": NAMED["f"]}, "outer", TypeError, r"'a' is a Series.*to_frame\(\)"),
        (
            {"a": NAMED, "b": NAMED[1:]},
            "exact",
            ValueError,
            "'a' has.*'a', which 'b'.*(1",
        ),
        ({"a": NAMED[1:], "b": NAMED}, "exact", ValueError, "'b' has.*'a', which 'a'"),
        (
            [NAMED, FRAME],
            "outer",
            ValueError,
            "'modality_0' has no row label in common",
        ),
        ([NAMED, FRAME], "inner", ValueError, r"'a' in 'modality_0' \(.*\), 0 in 'mod"),
        (
            [NAMED[:2], NAMED[1:3], NAMED[2:]],
            "inner",
            ValueError,
            "common to all.*outer",
        ),
        (
            [NAMED, NAMED.set_axis(list("abcbe"))],
            "inner",
            ValueError,
            "'modality_1': the row label 'b' repeats.*duplicated",
        ),
        (
            {"a": NAMED.set_axis(["a", "b", None, "d", "e"])},
            "outer",
            ValueError,
            "'a': row 2 has the missing label",
        ),
        (
            [NAMED, NAMED.set_axis(LABELS["levels"][:5])],
            "outer",
            ValueError,
            "have 2 levels, those of 'modality_0' 1",
        ),
        ({1: NAMED}, "outer", ValueError, "1 cannot name a modality"),
    ],
)
def test_frames_that_cannot_be_aligned_are_refused(frames, join, error, message):
    with pytest.raises(error, match=message.replace("(1", r"\(1")):
        Modalities.from_frames(frames, join)


def test_frames_of_polars_have_no_labels_to_align_by():
    polars = pytest.importorskip("polars")
    with pytest.raises(TypeError, match=r"'a' is a polars DataFrame.*pandas"):
        Modalities.from_frames({"a": polars.DataFrame({"f": [1.0]})})


@st.composite
def random_frames(draw):
    """Frames whose rows hold their label, of random samples in random orders."""
    index = as_index(draw(st.sampled_from(list(LABELS.values()))))
    frames = {}
    for name in "abc"[: draw(st.integers(2, 3))]:
        order = draw(st.permutations(range(6)))
        rows = list(order)[: draw(st.integers(4, 6))]
        frames[name] = pd.DataFrame({name: np.array(rows, float)}, index=index[rows])
    return frames


@settings(deadline=None, max_examples=60)
@given(random_frames(), st.sampled_from(["inner", "outer"]))
def test_an_alignment_is_that_of_pandas(frames, join):
    joined = pd.concat(frames.values(), axis=1, join=join, sort=False)
    if len(joined) == 0:
        return
    X = Modalities.from_frames(frames, join)
    assert len(X) == len(joined)
    assert X.index.isin(joined.index).all()
    expected = joined.reindex(X.index)
    for name in frames:
        assert_array_equal(X[name][name], expected[name])
        assert_array_equal(X.observed[:, X.names.index(name)], expected[name].notna())


# Indexing by and with labels


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_labels_are_preserved_by_every_index(data):
    index = as_index(data.draw(st.sampled_from(list(LABELS.values()))))
    X = labelled(index)
    if data.draw(st.booleans()):
        X = X[["video"]]  # an array, beside which there was a frame
    expected = np.arange(6)
    for _ in range(data.draw(st.integers(1, 4))):
        n_samples = len(expected)
        row = st.integers(-n_samples, max(n_samples - 1, -n_samples))
        rows = data.draw(
            st.slices(n_samples)
            | (st.lists(row, max_size=6) if n_samples else st.just([]))
            | st.lists(st.booleans(), min_size=n_samples, max_size=n_samples)
        )
        key = rows if isinstance(rows, slice) else np.array(rows or np.arange(0))
        way = data.draw(st.sampled_from(["[]", "iloc", "concat", "copy", "pickle"]))
        taken = X.iloc[key] if way == "iloc" else X[key]
        positions = expected[key]
        if way == "concat":
            taken, positions = taken.concat(X), np.concatenate([positions, expected])
        elif way == "copy":
            taken = taken.copy()
        elif way == "pickle":
            taken = pickle.loads(pickle.dumps(taken))
        X, expected = taken, positions
        assert X.index.equals(index[expected])
        for block in X.blocks:
            if isinstance(block, pd.DataFrame):
                assert block.index.equals(X.index)
                assert_array_equal(block["f"], expected)


@KINDS
def test_loc_selects_rows_by_label(index):
    X = labelled(index)
    labels = list(X.index)
    assert_array_equal(X.loc[[labels[4], labels[1]]]["audio"]["f"], [4, 1])
    assert_array_equal(X.loc[labels[3], :]["audio"]["f"], [3])
    odd = X.loc[np.arange(6) % 2 == 1, "video"]  # a frame, as of iloc
    assert_array_equal(odd["video"], np.eye(6, 3)[1::2])
    assert_array_equal(X.loc[[True] + [False] * 5]["audio"]["f"], [0])
    assert X.loc[:, "audio"] is X["audio"]
    assert X.loc[:] == X
    backwards = pd.Series(np.arange(6) < 2, index=X.index)[::-1]
    assert_array_equal(X.loc[backwards]["audio"]["f"], [0, 1])
    assert X.loc[labels[3], ["video"]].shape == (1, 1)


def test_loc_selects_slices_levels_dates_and_repeated_labels_like_pandas():
    assert list(labelled().loc["v":"x"].index) == ["v", "w", "x"]
    assert list(labelled(range(2, 8)).loc[3:5].index) == [3, 4, 5]
    assert len(labelled(LABELS["levels"]).loc["b"]) == 3
    assert len(labelled(pd.date_range("2020-01-29", periods=6)).loc["2020-02"]) == 3
    assert_array_equal(labelled(list("abacaa")).loc["a"]["audio"]["f"], [0, 2, 4, 5])


@pytest.mark.parametrize(
    ("key", "error", "message"),
    [
        ("q", KeyError, "no sample with the row label 'q'"),
        (["u", "q"], KeyError, r"row label.*'u.*'q.*not in index"),
        (0, KeyError, "no sample with the row label 0"),
        (None, KeyError, "no sample with the row label None"),
        (np.nan, KeyError, "no sample with the row label nan"),
        (2**70, KeyError, "no sample with the row label 1180591620717411303424"),
        ({"u"}, KeyError, "row label {'u'}.*set"),
        (slice(0, 2), KeyError, r"row label slice\(0, 2, None\)"),
        ("audio", KeyError, "no sample with the row label 'audio'"),
        ([True, False], IndexError, "mask has 2 entries for 6 samples"),
        (pd.Series([True], index=["q"]), KeyError, "[Uu]nalignable"),
        ((slice(None), "q"), KeyError, "no modality 'q'"),
    ],
)
def test_labels_that_no_sample_has_are_refused(key, error, message):
    with pytest.raises(error, match=message):
        labelled().loc[key]


def test_a_mask_in_another_order_is_refused():
    X = labelled()
    mask = pd.Series(np.arange(6) < 2, index=X.index)
    assert_array_equal(X[mask]["audio"]["f"], [0, 1])
    backwards = mask[::-1]
    with pytest.raises(
        ValueError, match=r"labels of mask differ.*mask\.loc\[X\.index\]"
    ):
        X[backwards]
    assert X[backwards.loc[X.index]] == X[mask]
    with pytest.raises(ValueError, match="labels of mask differ"):
        X[mask.set_axis(list("abcdef"))]
    assert_array_equal(X[mask.reset_index(drop=True)]["audio"]["f"], [0, 1])


def test_labels_are_concatenated_if_all_frames_have_some():
    one, other = labelled()[["video"]], labelled(list("abc"))[["video"]]
    assert list(one.concat(other).index) == list("uvwxyzabc")
    unlabelled = Modalities({"video": np.eye(2, 3)})
    assert_array_equal(one.concat(unlabelled).index, np.arange(8))
    assert_array_equal(unlabelled.concat(one).index, np.arange(8))


def test_labels_are_part_of_equality():
    X = labelled()
    other = labelled(list("abcdef"))
    assert other != X
    assert X[["video"]] != other[["video"]]
    assert labelled() == X
    numbered = labelled(range(6))[["video"]]
    assert numbered == Modalities({"video": np.eye(6, 3)}) == numbered
    assert X[["video"]] != Modalities({"video": np.eye(6, 3)})


@KINDS
def test_use_does_not_change_the_hash_of_labels(index):
    X = labelled(index)
    before = joblib.hash(X)
    for use in (
        lambda: list(X.index),
        lambda: repr(X.index) + repr(X),
        lambda: X.index.get_indexer(X.index),
        lambda: X.index.get_loc(X.index[1]),
        lambda: X.loc[[X.index[2]]],
        lambda: X[1:3],
        lambda: X.concat(X),
        lambda: X.copy() == X,
        lambda: X["audio"].to_numpy(),
    ):
        use()
        assert joblib.hash(X) == before
    back = pickle.loads(pickle.dumps(X))
    assert back == X
    assert back.index.equals(X.index)
    assert back.index.names == X.index.names
    assert joblib.hash(back) == before
    assert joblib.hash(labelled(index[::-1])) != before


def test_a_column_of_other_samples_is_not_assigned():
    X = labelled()
    column = X[::-1][["video"]]
    copied = X.copy()
    with pytest.raises(
        ValueError, match=r"column's row labels differ.*row 0 is 'u' in"
    ):
        copied["video"] = column
    copied["video"] = column.loc[X.index]
    assert copied == X
    column.index = X.index
    copied["video"] = column
    assert_array_equal(copied["video"], X["video"][::-1])
    assert copied.index.equals(X.index)
    unlabelled = Modalities({"audio": np.eye(6), "video": np.eye(6)})
    unlabelled["audio"] = X[["audio"]]
    assert unlabelled.index.equals(X.index)


def test_labels_can_be_set_on_a_copy():
    X = labelled()
    copied = X.copy()
    copied.index = list("abcdef")
    assert list(copied.index) == list(copied["audio"].index) == list("abcdef")
    assert list(X.index) == list(X["audio"].index) == list("uvwxyz")
    for labels in ("abc", list("abc"), 3, None):
        with pytest.raises(ValueError, match="there are 6 samples"):
            copied.index = labels


@pytest.mark.parametrize(
    ("index", "text"),
    [
        (list("abc"), ", labelled 'a' to 'c'"),
        ([7], ", labelled 7"),
        (range(3), ""),
        (range(1, 4), ", labelled 1 to 3"),
        ([], ""),
        ([("a", 1), ("b", 2)], r", labelled \('a', 1\) to \('b', 2\)"),
        (["<b>" + "x" * 300, "y\n"], r", labelled '<b>x*\.\.\.x*' to 'y\\n'"),
    ],
)
def test_printing_names_the_first_and_the_last_label(index, text):
    X = labelled(index)
    lines = repr(X).splitlines()
    pattern = f"Modalities of {len(X)} samples x 2 modalities{text}"
    assert pd.Series(lines[:1]).str.fullmatch(pattern).all(), lines[0]
    assert "<b>" not in X._repr_html_()


def test_arrays_of_labelled_data_are_arrays():
    X = labelled()
    assert type(X.to_array()) is np.ndarray
    assert type(X.observed) is np.ndarray
    assert X.to_array().shape == (6, 4)


def test_data_without_labels_need_no_pandas(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)  # as if it were not installed
    X = Modalities([np.eye(3), [np.eye(2), None, np.eye(2)]])
    assert_array_equal(X[1:].concat(X).index, np.arange(5))
    assert X.loc[[0, 1, 2]] == X.copy()
    assert "labelled" not in repr(X)


# scikit-learn's tools, and targets with labels


@pytest.fixture
def study():
    """Labelled data whose samples are in no order, and their target."""
    rng = np.random.default_rng(0)
    y = pd.Series(np.arange(60) % 3, index=[f"s{i}" for i in range(60)], name="y")
    values = rng.normal(size=(60, 5)) + 3 * y.to_numpy()[:, None]
    table = pd.DataFrame(values, index=y.index).rename(columns="f{}".format)
    order = rng.permutation(60)
    table, y = table.iloc[order], y.iloc[order]
    return Modalities({"audio": table[["f0", "f1"]], "video": table.iloc[:, 2:]}), y


def test_model_selection_keeps_labels_and_targets_together(study):
    X, y = study
    train, test, y_train, y_test = train_test_split(X, y, random_state=0)
    assert train.index.equals(y_train.index)
    assert test.index.equals(y_test.index)
    search = GridSearchCV(EarlyFusionClassifier(), {"scaling": ["block", None]}, cv=3)
    assert search.fit(X, y).score(test, y_test) > 0.5
    scores = cross_val_score(EarlyFusionClassifier(), X, y, cv=3, error_score="raise")
    assert len(scores) == 3
    fitted = EarlyFusionClassifier().fit(X, y)
    importances = permutation_importance(fitted, X, y, max_samples=0.5, random_state=0)
    assert importances.importances_mean.shape == (2,)


@pytest.mark.parametrize("estimator", [EarlyFusionClassifier(), MKLRegressor()])
def test_a_target_in_another_order_is_refused(estimator, study):
    X, y = study
    y = y.astype(float) if isinstance(estimator, MKLRegressor) else y
    expected = estimator.fit(X, y).predict(X)
    forms = [X, X.to_dict(), list(X.blocks)]
    table, spec = pd.concat(X.blocks, axis=1), X.column_spec()
    for method in ("fit", "score"):
        for form in [*forms, table]:
            split = spec if form is table else None
            call = getattr(estimator.set_params(modalities=split).fit(form, y), method)
            for wrong in (y.sort_index(), y[::-1], y.to_frame()[::-1]):
                with pytest.raises(
                    ValueError, match=r"labels of y.*y\.loc\[X\.index\]"
                ):
                    call(form, wrong)
            with pytest.raises(ValueError, match="give the rows of y that belong"):
                call(form, y.set_axis([f"q{i}" for i in range(60)]))
            call(form, y.sort_index().loc[X.index])
            for by_position in (y.to_numpy(), y.reset_index(drop=True), y.tolist()):
                call(form, by_position)
    wrong = y.sort_index()
    by_remedy = wrong.loc[Modalities(X.to_dict()).index]
    estimator.set_params(modalities=None).fit(X.to_dict(), by_remedy)
    assert_array_equal(estimator.predict(X), expected)


def test_a_target_of_integer_labels_has_those_of_x(study):
    X, y = study
    X.index = np.argsort(np.asarray(X.index))
    y = y.set_axis(X.index)
    EarlyFusionClassifier().fit(X, y)
    with pytest.raises(ValueError, match="row labels of y differ"):
        EarlyFusionClassifier().fit(X, y.reset_index(drop=True))
    EarlyFusionClassifier().fit(X, y.to_numpy())
    EarlyFusionClassifier().fit(X.to_array(), y)  # an array has no labels


def test_weights_in_another_order_are_refused(study):
    X, y = study
    weight = pd.Series(np.linspace(1, 2, 60), index=y.index)
    for estimator in (EarlyFusionClassifier(), MKLRegressor()):
        with pytest.raises(ValueError, match="row labels of sample_weight differ"):
            estimator.fit(X, y, sample_weight=weight[::-1])
        estimator.fit(X, y, sample_weight=weight)
        with pytest.raises(ValueError, match="row labels of sample_weight differ"):
            estimator.score(X, y, sample_weight=weight[::-1])


def test_a_mask_of_missing_modalities_has_the_labels_and_names_of_the_data():
    X = labelled()
    observed = pd.DataFrame(X.observed.copy(), index=X.index, columns=X.names)
    observed.iloc[0, 0] = False
    assert not Modalities(X, observed=observed).observed[0, 0]
    with pytest.raises(ValueError, match="row labels of observed differ"):
        Modalities(X, observed=observed[::-1])
    with pytest.raises(
        ValueError, match=r"columns \['video', 'audio'\].*in that order"
    ):
        Modalities(X, observed=observed[["video", "audio"]])
