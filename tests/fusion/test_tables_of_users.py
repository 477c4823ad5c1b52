"""Text, categories and NaN reach the pipeline of their modality; remedies work."""

import numpy as np
import pandas as pd
import pytest
from sklearn.cluster import KMeans
from sklearn.compose import make_column_transformer
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from mmfusion import (
    EarlyFusionClassifier,
    HybridFusionClassifier,
    HybridFusionClusterer,
    HybridFusionRegressor,
    LateFusionClassifier,
    LateFusionClusterer,
    LateFusionRegressor,
    Modalities,
    ModalityImputer,
    ModalitySplitter,
    PerModality,
)

N = 60
AUDIO, META = ["loud", "pitch"], ["city", "age"]
SPEC = {"audio": AUDIO, "meta": META}


@pytest.fixture
def y():
    return np.arange(N) % 2


@pytest.fixture
def table(y):
    """Numbers, a category, a column with NaN, and columns of no modality."""
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "id": [f"person {i}" for i in range(N)],
            "loud": rng.normal(size=N) + y,
            "pitch": rng.normal(size=N),
            "city": np.where(rng.random(N) < 0.2, "Oslo", np.where(y, "Rome", "Lima")),
            "age": np.where(rng.random(N) < 0.2, np.nan, rng.normal(40, 9, N)),
            "born": pd.date_range("1970", periods=N),
        }
    )


def meta_pipeline(last):
    encode = make_column_transformer(
        (OneHotEncoder(sparse_output=False, handle_unknown="ignore"), ["city"]),
        (make_pipeline(SimpleImputer(), StandardScaler()), ["age"]),
    )
    return make_pipeline(encode, last)


def forms(table):
    """The same two modalities as a table, a frame and a dict."""
    blocks = {name: table[columns] for name, columns in SPEC.items()}
    return {
        "table": (table, SPEC),
        "frame": (Modalities(blocks), None),
        "dict": (blocks, None),
    }


@pytest.mark.parametrize("form", ["table", "frame", "dict"])
def test_late_fusion_hands_a_modality_to_its_own_pipeline(table, y, form):
    X, spec = forms(table)[form]
    own = {"meta": meta_pipeline(LogisticRegression())}
    late = LateFusionClassifier(own, modalities=spec).fit(X, y)
    alone = meta_pipeline(LogisticRegression()).fit(table[META], y)
    expected = alone.predict(table[META])
    assert late.modality_predictions(X)[:, 1].tolist() == expected.tolist()
    assert late.scaling_ == {"audio": "standard", "meta": None}


def test_late_fusion_of_text_runs_in_searches_and_folds(table, y):
    X = Modalities({name: table[columns] for name, columns in SPEC.items()})
    late = LateFusionClassifier({"meta": meta_pipeline(LogisticRegression())}, cv=2)
    search = GridSearchCV(late, {"combine": ["soft_vote", "stacking"]}, cv=2)
    search.fit(X, y)
    assert len(search.predict(X)) == N
    assert len(cross_val_predict(late, X, y, cv=2)) == N


def test_regressors_and_clusterers_hand_text_on_as_well(table, y):
    X = Modalities({name: table[columns] for name, columns in SPEC.items()})
    regressor = LateFusionRegressor({"meta": meta_pipeline(Ridge())})
    assert np.isfinite(regressor.fit(X, y * 1.0).predict(X)).all()
    own = {"meta": meta_pipeline(KMeans(n_init=2))}
    clusterer = LateFusionClusterer(own, n_clusters=2, random_state=0).fit(X)
    assert clusterer.predict(X).tolist() == clusterer.labels_.tolist()


def test_samples_may_lack_a_modality_of_text(table, y):
    table.loc[[3, 7], META] = None
    X = Modalities({name: table[columns] for name, columns in SPEC.items()})
    own = {"meta": meta_pipeline(LogisticRegression())}
    late = LateFusionClassifier(own).fit(X, y)
    assert np.isnan(late.modality_predictions(X)[[3, 7], 1]).all()
    assert late.predict(X[["audio", "meta"]]).shape == (N,)


@pytest.mark.parametrize(
    "estimator",
    [
        EarlyFusionClassifier(HistGradientBoostingClassifier(max_iter=3)),
        EarlyFusionClassifier(make_pipeline(SimpleImputer(), LogisticRegression())),
        LateFusionClassifier(HistGradientBoostingClassifier(max_iter=3)),
        LateFusionClassifier(make_pipeline(SimpleImputer(), LogisticRegression())),
        LateFusionRegressor(HistGradientBoostingRegressor(max_iter=3)),
        HybridFusionClassifier(HistGradientBoostingClassifier(max_iter=3)),
        HybridFusionClassifier(make_pipeline(SimpleImputer(), LogisticRegression())),
        HybridFusionRegressor(make_pipeline(SimpleImputer(), Ridge())),
        LateFusionClusterer(
            make_pipeline(SimpleImputer(), KMeans(2, n_init=1)), n_runs=2
        ),
        HybridFusionClusterer(
            make_pipeline(SimpleImputer(), KMeans(2, n_init=1)), n_runs=2
        ),
    ],
    ids=str,
)
def test_cells_of_nan_reach_estimators_that_take_them(estimator, table, y):
    X = {"audio": table[AUDIO].to_numpy(), "age": table[["age", "loud"]].to_numpy()}
    out = estimator.fit(X, y).predict(X)
    assert np.isfinite(out).all()
    X["audio"] = np.full((N, 2), np.nan)
    X["audio"][5:] = table[AUDIO].to_numpy()[5:]
    assert np.isfinite(estimator.fit(X, y).predict(X)).all()


def test_cells_of_nan_are_refused_by_estimators_that_do_not_take_them(table, y):
    X = {"audio": table[AUDIO], "age": table[["age", "loud"]]}
    where = int(np.flatnonzero(table["age"].isna())[0])
    own = {"audio": HistGradientBoostingClassifier()}
    with pytest.raises(ValueError, match=f"'age': sample {where}, column 'age' is NaN"):
        LateFusionClassifier(own).fit(X, y)


@pytest.mark.parametrize("weighting", ["distance", "conformal"])
def test_distances_of_text_and_nan_are_refused(table, y, weighting):
    own = {"meta": meta_pipeline(LogisticRegression())}
    late = LateFusionClassifier(own, sample_weighting=weighting)
    with pytest.raises(ValueError, match=r"'meta' holds text.*sample_weighting=None"):
        late.fit({"audio": table[AUDIO], "meta": table[META]}, y)
    own = {"meta": meta_pipeline(KMeans())}
    clusterer = LateFusionClusterer(own, weights="silhouette", n_clusters=2)
    with pytest.raises(ValueError, match=r"'meta' holds text.*weights='agreement'"):
        clusterer.fit({"audio": table[AUDIO], "meta": table[META]})


# Remedies, each tried in the setting of its error


def with_cell(table, column, value):
    table = table.astype({column: object})
    table.loc[7, column] = value
    return table


NUMBERS = {"audio": AUDIO, "age": ["born", "age"]}


def numbers(table):
    return table.assign(age=40.0 + np.arange(N), born=np.arange(N) % 7 * 1.0)


@pytest.mark.parametrize("form", ["table", "frame", "dict", "list"])
@pytest.mark.parametrize("value", [np.nan, pd.NA, None])
def test_the_remedy_of_a_nan_cell_works_in_its_setting(table, y, form, value):
    table = with_cell(numbers(table), "age", value)
    blocks = {name: table[columns] for name, columns in NUMBERS.items()}
    X, spec = {
        "table": (table, NUMBERS),
        "frame": (Modalities(blocks), None),
        "dict": (blocks, None),
        "list": (list(blocks.values()), None),
    }[form]
    with pytest.raises(ValueError, match="sample 7, column 'age' is NaN") as info:
        LateFusionClassifier(modalities=spec).fit(X, y)
    name = "modality_1" if form == "list" else "age"
    assert f"PerModality({{'{name}': SimpleImputer()}})" in str(info.value)
    steps = [PerModality({name: SimpleImputer()}), LateFusionClassifier()]
    if form == "table":
        assert "ModalitySplitter" in str(info.value)
        steps = [ModalitySplitter(spec), *steps]
    assert make_pipeline(*steps).fit(X, y).predict(X).shape == (N,)


@pytest.mark.parametrize("form", ["table", "frame", "dict", "list"])
@pytest.mark.parametrize("kind", ["text", "categorical"])
def test_the_remedy_of_a_category_works_in_its_setting(table, y, form, kind):
    if kind == "categorical":
        table["city"] = table["city"].astype("category")
    spec = {"audio": AUDIO, "city": ["city"]}
    blocks = {name: table[columns] for name, columns in spec.items()}
    X, spec = {
        "table": (table, spec),
        "frame": (Modalities(blocks), None),
        "dict": (blocks, None),
        "list": (list(blocks.values()), None),
    }[form]
    with pytest.raises(ValueError, match=r"column 'city'.*not numbers") as info:
        EarlyFusionClassifier(modalities=spec).fit(X, y)
    name = "modality_1" if form == "list" else "city"
    encoder = OneHotEncoder(sparse_output=False)
    assert f"PerModality({{'{name}': {encoder}}})" in str(info.value)
    steps = [PerModality({name: encoder}), EarlyFusionClassifier()]
    if form == "table":
        steps = [ModalitySplitter(spec), *steps]
    assert make_pipeline(*steps).fit(X, y).predict(X).shape == (N,)


@pytest.mark.parametrize("form", ["table", "frame", "plain table"])
def test_the_remedy_of_a_missing_modality_works_in_its_setting(table, y, form):
    table = numbers(table)
    table.loc[3, ["born", "age"]] = np.nan
    X, spec = table, NUMBERS
    if form == "frame":
        X, spec = Modalities({n: table[c] for n, c in NUMBERS.items()}), None
    if form == "plain table":
        X, spec = table[["born", "age"]], None
    estimator = EarlyFusionClassifier(missing="raise", modalities=spec)
    with pytest.raises(ValueError, match=r"missing.*ModalityImputer\(\)") as info:
        estimator.fit(X, y)
    steps = [ModalityImputer(), EarlyFusionClassifier(missing="raise")]
    if "ModalitySplitter" in str(info.value):
        steps = [ModalitySplitter(spec), *steps]
    assert make_pipeline(*steps).fit(X, y).predict(X).shape == (N,)


def test_a_misspelt_column_is_named_with_the_one_that_was_meant(table, y):
    spec = {"audio": ["loud", "picth"]}
    with pytest.raises(
        ValueError, match=r"'audio'.*no columns.*'picth'.*mean.*'pitch'"
    ):
        LateFusionClassifier(modalities=spec).fit(table, y)


def test_a_pattern_of_columns_is_refused_with_a_remedy(table, y):
    renamed = table[["loud", "pitch"]].rename(columns=lambda name: f"audio_{name}")
    with pytest.raises(ValueError, match=r"'audio_\*'.*modalities='_'"):
        LateFusionClassifier(modalities={"audio": "audio_*"}).fit(renamed, y)
    fitted = LateFusionClassifier(modalities="_").fit(renamed, y)
    assert list(fitted.estimators_) == ["audio"]


def test_columns_that_lost_their_names_are_refused_with_a_remedy(table, y):
    own = table[AUDIO]
    late = LateFusionClassifier(modalities={"audio": AUDIO})
    steps = make_pipeline(SimpleImputer(), late)
    with pytest.raises(ValueError, match=r"set_output\(transform='pandas'\)"):
        steps.fit(own, y)
    steps[0].set_output(transform="pandas")
    assert steps.fit(own, y).predict(own).shape == (N,)


def test_columns_of_no_modality_are_neither_converted_nor_required(table, y):
    spec = {"audio": AUDIO}
    fitted = EarlyFusionClassifier(modalities=spec).fit(table, y)
    expected = fitted.predict(table)
    np.testing.assert_array_equal(fitted.predict(table[["pitch", "loud"]]), expected)
    assert list(fitted.feature_names_in_) == list(table.columns)
    with pytest.raises(ValueError, match=r"'audio'.*fit.*no columns \['pitch'\]"):
        fitted.predict(table[["loud"]])
