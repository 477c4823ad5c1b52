"""The one door: what estimators take, what they remember of it, what they refuse."""

import copy
import warnings

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn.base import clone
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError

from mmfusion import (
    EarlyFusion,
    EarlyFusionClusterer,
    LateFusionClusterer,
    Modalities,
)

from .block_zoo import SPARSE

RNG = np.random.default_rng(0)
AUDIO, VIDEO = RNG.normal(size=(12, 2)), RNG.normal(size=(12, 3))
TABLE = np.hstack([AUDIO, VIDEO])
SPEC = {"audio": slice(0, 2), "video": slice(2, 5)}
NAMES = ["audio__x", "audio__y", "video__x", "video__y", "video__z"]
NAMED = pd.DataFrame(TABLE, columns=NAMES)
X = Modalities({"audio": AUDIO, "video": VIDEO})

CLUSTERER = EarlyFusionClusterer(KMeans(2, n_init=1), modalities=SPEC)

UNNAMED_FORMS = {
    "list": [AUDIO, VIDEO],
    "tuple": (AUDIO, VIDEO),
    "nested lists": [AUDIO.tolist(), VIDEO.tolist()],
    "list of tables": [pd.DataFrame(AUDIO), pd.DataFrame(VIDEO)],
    "unnamed frame": Modalities([AUDIO, VIDEO]),
}
NAMED_FORMS = {
    "dict": {"audio": AUDIO, "video": VIDEO},
    "dict in another order": {"video": VIDEO, "audio": AUDIO},
    "frame": X,
    "frame in another order": X[["video", "audio"]],
    "array": TABLE,
    "array as lists": TABLE.tolist(),
    "pandas": pd.DataFrame(TABLE),
    "frame from a table": Modalities.from_table(TABLE, SPEC),
}
FORMS_WITH_FEATURE_NAMES = {
    "named pandas": NAMED,
    "MultiIndex": NAMED.set_axis(
        pd.MultiIndex.from_tuples([n.split("__") for n in NAMES]), axis=1
    ),
    "dict of named tables": {
        name: NAMED[NAMES[columns]].rename(columns=lambda n: n.split("__")[1])
        for name, columns in SPEC.items()
    },
    "frame from a named table": Modalities.from_table(NAMED, "__"),
}
FORMS = UNNAMED_FORMS | NAMED_FORMS | FORMS_WITH_FEATURE_NAMES


# All forms agree


@pytest.mark.parametrize("later", FORMS)
@pytest.mark.parametrize("first", [f for f in FORMS if "order" not in f])
def test_whatever_the_form_at_fit_and_later_the_result_is_the_same(first, later):
    expected = EarlyFusion("block", reducer=PCA(1), modalities=SPEC).fit_transform(X)
    fusion = EarlyFusion("block", reducer=PCA(1), modalities=SPEC).fit(FORMS[first])
    with warnings.catch_warnings():
        # scikit-learn's own warning about a table with names, or without
        warnings.filterwarnings("ignore", "X (has|does not have valid) feature names")
        if first in UNNAMED_FORMS:  # names that come later match nothing
            warnings.filterwarnings("ignore", ".*taken by position", UserWarning)
            later = later.replace(" in another order", "")
        assert_allclose(fusion.transform(FORMS[later]), expected)


@pytest.mark.parametrize("form", FORMS)
def test_a_clusterer_finds_the_same_clusters_in_every_form(form):
    kmeans = KMeans(3, n_init=1)
    clusterer = EarlyFusionClusterer(kmeans, modalities=SPEC, random_state=0)
    expected = clone(clusterer).fit(X)
    clusterer.fit(FORMS[form.replace(" in another order", "")])
    assert_array_equal(clusterer.labels_, expected.labels_)
    assert_array_equal(clusterer.predict(FORMS[form]), expected.labels_)
    assert clusterer.score(FORMS[form]) == pytest.approx(expected.score(X))


@pytest.mark.parametrize("spec", ["__", [2, 3], SPEC])
@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_a_named_table_is_taken_by_any_column_spec(spec, library):
    table = NAMED
    if library == "polars":
        table = pytest.importorskip("polars").DataFrame(NAMED.to_dict("list"))
    fusion = EarlyFusion(modalities=spec).fit(table)
    assert_allclose(fusion.transform(table), EarlyFusion().fit_transform(X))
    assert_array_equal(fusion.feature_names_in_, NAMES)


@pytest.mark.parametrize("kind", SPARSE)
def test_sparse_data_of_any_format_agree_with_each_other_and_with_dense(
    make_given, kind
):
    text, audio = make_given(kind), AUDIO[:6]
    for scaling in ("standard", "l2", None):
        fused = EarlyFusion(scaling).fit_transform([text, audio])
        as_csr = EarlyFusion(scaling).fit_transform([sparse.csr_array(text), audio])
        assert_allclose(fused.toarray(), as_csr.toarray())
    for scaling in ("l2", None):  # others centre dense columns, not sparse ones
        dense = EarlyFusion(scaling).fit_transform([text.toarray(), audio])
        table = sparse.hstack([text, audio]).asformat(kind[:3])
        for data in ([text, audio], table):
            fused = EarlyFusion(scaling, modalities=[4, 2]).fit_transform(data)
            assert sparse.issparse(fused)
            assert_allclose(fused.toarray(), dense)


def test_a_plain_table_is_one_modality():
    fusion = EarlyFusion().fit(TABLE)
    assert fusion.n_modalities_in_ == 1
    assert_allclose(fusion.transform([TABLE]), fusion.transform(TABLE))
    sparse_table = sparse.dok_array(TABLE)  # a dict, by its class
    assert EarlyFusion().fit(sparse_table).n_features_in_ == 5


@pytest.mark.parametrize("kind", ["int", "float32", "bool", "3-D", "4-D", "torch"])
def test_numbers_of_any_type_and_dimension_are_rows_of_features(make_given, kind):
    given = make_given(kind)
    flat = np.asarray(given).reshape(6, -1)
    fused = EarlyFusion(None).fit_transform([given, AUDIO[:6]])
    assert_allclose(fused, np.hstack([flat, AUDIO[:6]]))
    floats = EarlyFusion(None).fit_transform({"it": given})
    assert floats.dtype == (np.float32 if flat.dtype == np.float32 else np.float64)


NUMERIC = ["int", "float32", "bool", "3-D", "Fortran order", "memmap", "pandas"]


@pytest.mark.parametrize("kind", [*NUMERIC, "torch", *SPARSE])
def test_estimators_do_not_change_their_input(make_given, kind):
    given = make_given(kind)
    if isinstance(given, np.ndarray):
        given.flags.writeable = False
    before = copy.deepcopy(Modalities([given, AUDIO[:6]]))
    for data in ([given, AUDIO[:6]], Modalities([given, AUDIO[:6]])):
        clusterer = EarlyFusionClusterer(KMeans(2, n_init=1), random_state=0)
        clusterer.fit(data).predict(data)
        assert Modalities(data) == before


# What is remembered


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("estimator", [EarlyFusion(modalities=SPEC), CLUSTERER])
def test_the_layout_is_remembered(estimator, form):
    fitted = clone(estimator).fit(FORMS[form])
    names, widths = ["audio", "video"], [2, 3]
    if form in UNNAMED_FORMS:
        names = ["modality_0", "modality_1"]
    if "order" in form:
        names, widths = names[::-1], widths[::-1]
    assert fitted.n_modalities_in_ == 2
    assert fitted.modality_names_in_.tolist() == names
    assert fitted.n_features_per_modality_in_.tolist() == widths
    assert fitted.n_features_in_ == 5
    if form in FORMS_WITH_FEATURE_NAMES:
        assert fitted.feature_names_in_.tolist() == NAMES
    else:
        assert not hasattr(fitted, "feature_names_in_")


def test_features_have_names_only_if_those_of_all_modalities_have():
    tables = {"audio": NAMED[NAMES[:2]], "video": VIDEO}
    assert not hasattr(EarlyFusion().fit(tables), "feature_names_in_")


def test_a_spec_that_leaves_columns_out_counts_them_in_the_table():
    fusion = EarlyFusion(modalities={"audio": [1], "video": [2, 4]}).fit(TABLE)
    assert fusion.n_features_in_ == 5
    assert fusion.n_features_per_modality_in_.tolist() == [1, 2]
    assert_allclose(
        fusion.transform(TABLE), fusion.transform([AUDIO[:, [1]], VIDEO[:, [0, 2]]])
    )


@pytest.mark.parametrize("second", ["list", "array", "MultiIndex", "named pandas"])
@pytest.mark.parametrize("first", ["list", "array", "MultiIndex", "named pandas"])
def test_a_second_fit_forgets_the_first(first, second):
    def fitted_attributes(estimator):
        return {
            name: np.array(value).tolist()
            for name, value in vars(estimator).items()
            if name.endswith("_in_")
        }

    other = EarlyFusion(modalities=3).fit(np.ones((4, 7)))
    estimator = EarlyFusion(modalities=SPEC).fit(FORMS[first])
    estimator.fit([AUDIO, VIDEO, AUDIO])
    assert estimator.n_modalities_in_ == other.n_modalities_in_ == 3
    estimator.fit(FORMS[second])
    once = EarlyFusion(modalities=SPEC).fit(FORMS[second])
    assert fitted_attributes(estimator) == fitted_attributes(once)
    again = FORMS[second]
    assert_allclose(estimator.transform(again), once.transform(again))


# What is matched by name, what by position


def test_modalities_are_matched_by_name_even_where_the_widths_agree():
    for names in (("audio", "video"), ("modality_0", "modality_1")):
        one, other = AUDIO, VIDEO[:, :2]
        data = dict(zip(names, (one, other), strict=True))
        swapped = dict(zip(names[::-1], (other, one), strict=True))
        fusion = EarlyFusion(reducer=PCA(1)).fit(data)
        assert_allclose(fusion.transform(swapped), fusion.transform(data))
        assert_allclose(fusion.transform([one, other]), fusion.transform(data))


def test_names_that_come_after_an_unnamed_fit_are_warned_about():
    fusion = EarlyFusion().fit([AUDIO, VIDEO])
    with pytest.warns(UserWarning, match=r"\['audio', 'video'\].*taken by position"):
        fused = fusion.transform(X)
    assert_allclose(fused, fusion.transform([AUDIO, VIDEO]))


# What is refused, at fit


def one_cell(block, value, sample=7, feature=1):
    block = np.array(block, dtype=float)
    block[sample, feature] = value
    return block


LACKING = np.where(np.arange(12)[:, None] % 5 == 2, np.nan, VIDEO)


@pytest.mark.parametrize("estimator", [EarlyFusion(), CLUSTERER])
@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([], "X is empty"),
        ((), "X is empty"),
        ({}, "no modality"),
        ([AUDIO, VIDEO[:10]], "'modality_0' has 12, 'modality_1' has 10.*None"),
        ({"audio": AUDIO, "video": VIDEO[:10]}, "'audio' has 12, 'video' has 10"),
        (
            {"audio": AUDIO[:0], "video": VIDEO[:0]},
            r"0 sample\(s\) while a minimum of 1",
        ),
        (X[:0], r"0 sample\(s\) while a minimum of 1"),
        ({"audio": AUDIO[:, :0]}, r"'audio'.*0 feature\(s\)"),
        ({"audio": one_cell(AUDIO, np.nan)}, "'audio': sample 7, feature 1 is NaN"),
        ({"audio": one_cell(AUDIO, np.inf)}, "'audio': sample 7, feature 1 is.*infin"),
        ({"audio": one_cell(AUDIO, -np.inf)}, "'audio': sample 7, feature 1.*imputer"),
        (
            [AUDIO, one_cell(VIDEO, np.nan).astype("f4")],
            "'modality_1': sample 7, feature 1 is NaN",
        ),
        (
            {"audio": one_cell(AUDIO, np.nan).astype(object)},
            "'audio': sample 7, feature 1 is NaN",
        ),
        (
            {"audio": pd.DataFrame(one_cell(AUDIO, np.nan)).convert_dtypes()},
            "'audio': sample 7, feature 1 is NaN",
        ),
        (
            {"audio": AUDIO, "text": sparse.csc_array(one_cell(VIDEO * 0, np.inf))},
            "'text': sample 7, feature 1 is infinity",
        ),
        (
            {"image": one_cell(np.ones((12, 4)), np.nan).reshape(12, 2, 2)},
            "'image': sample 7, feature 1 is NaN",
        ),
        ({"audio": np.full((12, 2), "loud")}, "'audio' holds .*, not numbers"),
        ({"audio": [["loud", "low"]] * 12}, "'audio' holds .*, not numbers"),
        (
            {"audio": pd.DataFrame({"a": ["loud"] * 12})},
            "'audio': .*column 'a' holds .*not numbers.*'audio': OneHotEncoder",
        ),
        ({"audio": AUDIO + 1j}, "Complex data not supported: modality 'audio'"),
        (
            {"audio": AUDIO, "video": None},
            "'video' is missing.*12 of 12.*leave|Imputer",
        ),
        (
            {"audio": AUDIO, "video": LACKING},
            "'video' is missing.*for 2 of 12 samples, first for sample 2.*needs every "
            "modality of every sample.*ModalityImputer.*LateFusionClusterer",
        ),
        (
            Modalities(X, observed=np.arange(24).reshape(12, 2) != 9),
            "'video' is missing.*for 1 of 12 samples, first for sample 4",
        ),
        (
            {"audio": [np.ones((n, 2)) for n in range(1, 13)]},
            "'audio' holds sequences.*pool or resample",
        ),
        ({"audio": [np.eye(2)] * 12}, "'audio' holds sequences"),
        ({"audio": AUDIO[:, 0]}, r"'audio' has shape \(12,\)"),
        ({"au__dio": AUDIO}, "'au__dio' cannot name"),
    ],
)
def test_what_cannot_be_fitted_is_refused_in_words(estimator, data, message):
    with pytest.raises(ValueError, match=message):
        clone(estimator).fit(data)


@pytest.mark.parametrize(
    ("table", "spec", "message"),
    [
        (TABLE, 6, "6 modalities, but X has 5 feature"),
        (TABLE, [2, 2], "add up to 4, but X has 5"),
        (TABLE, "__", "no string column names"),
        (one_cell(TABLE, np.nan), SPEC, "NaN"),
        ([["a"] * 5] * 4, SPEC, "holds .*, not numbers"),
        (TABLE * 1j, SPEC, "Complex data not supported"),
        (TABLE[:0], SPEC, r"0 sample\(s\)"),
        (TABLE[0], SPEC, "Expected 2D array, got 1D array"),
        (
            [AUDIO[:, 0], VIDEO[:5, 0]],
            None,
            r"have \[5, 12\] values; give rows of one width",
        ),
    ],
)
def test_a_table_that_does_not_fit_is_refused_in_words(table, spec, message):
    with pytest.raises(ValueError, match=message):
        EarlyFusion(modalities=spec).fit(table)


# What is refused, later


@pytest.mark.parametrize(
    ("later", "message"),
    [
        ({"audio": AUDIO}, r"1 modalities, \['audio'\].*expecting 2.*as in fit"),
        ([AUDIO, VIDEO, AUDIO], "3 modalities.*expecting 2"),
        (TABLE[:, :4], "4 features, but .* is expecting 5 features"),
        ({"audio": AUDIO, "image": VIDEO}, r"\['image'\] unseen.*\['video'\] seen"),
        ([VIDEO, AUDIO], "modality 'audio' of X has 3 features, but .* expecting 2"),
        ({"audio": AUDIO, "video": AUDIO}, "'video' of X has 2 features.*expecting 3"),
        ({"audio": AUDIO, "video": VIDEO[:3]}, "'audio' has 12, 'video' has 3"),
        ([AUDIO, one_cell(VIDEO, np.nan)], "sample 7, feature 1 is NaN"),
        ({"audio": AUDIO, "video": LACKING}, "'video' is missing.*2 of 12"),
        ({"audio": AUDIO, "video": None}, "'video' is missing.*12 of 12.*Imputer"),
        (X[:0], r"0 sample\(s\)"),
        ([], "X is empty"),
    ],
)
@pytest.mark.parametrize(
    ("estimator", "method"),
    [
        (EarlyFusion(modalities=SPEC), "transform"),
        (CLUSTERER, "predict"),
        (CLUSTERER, "score"),
    ],
)
def test_what_is_unlike_the_fit_is_refused_in_words(estimator, method, later, message):
    fitted = clone(estimator).fit(X)
    with pytest.raises(ValueError, match=message):
        getattr(fitted, method)(later)


def test_features_of_other_names_or_order_are_refused():
    fusion = EarlyFusion().fit(FORMS["dict of named tables"])
    tables = dict(FORMS["dict of named tables"])
    for renamed in (str.upper, {"x": "y", "y": "x"}):
        tables["video"] = FORMS["dict of named tables"]["video"].rename(columns=renamed)
        with pytest.raises(
            ValueError, match=r"'video'.*\['x', 'y', 'z'\], in that order"
        ):
            fusion.transform(tables)
    assert fusion.transform([AUDIO, VIDEO]).shape == (12, 5)  # without names: trusted


@pytest.mark.parametrize("data", [X, [AUDIO, VIDEO], TABLE])
def test_nothing_is_done_before_fit(data):
    for method in (EarlyFusion().transform, EarlyFusionClusterer().predict):
        with pytest.raises(NotFittedError, match="not fitted yet"):
            method(data)


# What an estimator that works with what is there takes and refuses


def test_missing_modalities_pass_where_they_are_accepted():
    clusterer = LateFusionClusterer(KMeans(2, n_init=1), random_state=0)
    clusterer.fit({"audio": AUDIO, "video": LACKING})
    assert (clusterer.modality_labels_[:, 1] < 0).nonzero()[0].tolist() == [2, 7]
    assert len(clusterer.predict({"audio": AUDIO, "video": None})) == 12
    text = sparse.csr_array(LACKING)
    as_sparse = clone(clusterer).fit({"audio": AUDIO, "text": text})
    assert (as_sparse.modality_labels_[:, 1] < 0).nonzero()[0].tolist() == [2, 7]
    table = clone(clusterer).set_params(modalities=[2, 3])
    table.fit(np.hstack([AUDIO, LACKING]))
    assert_array_equal(table.labels_, clusterer.labels_)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"audio": AUDIO, "video": None}, "'video' is missing.*12 of 12.*leave it out"),
        (
            {"audio": LACKING, "video": LACKING},
            "sample 2 lacks every modality.*2 of 12 samples.*leave such samples out",
        ),
        ({"audio": one_cell(AUDIO, np.nan), "video": LACKING}, "sample 7, feature 1"),
        (
            {"audio": AUDIO, "video": one_cell(LACKING, np.inf, 8)},
            "sample 8, feature 1",
        ),
    ],
)
def test_missing_modalities_have_their_limits(data, message):
    with pytest.raises(ValueError, match=message):
        LateFusionClusterer(KMeans(2, n_init=1)).fit(data)


@pytest.mark.parametrize(
    "table",
    [
        np.array([["1", "2"], ["3", "4"]]),
        [["1", "2"], ["3", "4"]],
        np.array([["2020-01-01"], ["2021-01-01"]], dtype="datetime64[D]"),
    ],
    ids=["strings", "list of strings", "dates"],
)
def test_text_and_dates_are_not_taken_for_numbers(table):
    with pytest.raises(ValueError, match="not numbers"):
        EarlyFusion().fit(table)
    with pytest.raises(ValueError, match=r"modality 'a'.*not numbers"):
        EarlyFusion().fit({"a": np.asarray(table)})
