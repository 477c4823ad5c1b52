"""Pipelines, unions and column transformers around modalities."""

import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from mmfusion import EarlyFusion, Modalities, modality_selector

from .block_kinds import FUSED_KINDS
from .planted import plant

X, Y = plant()
AUDIO, VIDEO = X.blocks


# A pipeline that remembers


class CountingFusion(EarlyFusion):
    """Counts how often it is fitted."""

    fits = 0

    def fit(self, X, y=None, sample_weight=None):
        CountingFusion.fits += 1
        return super().fit(X, y, sample_weight)


@pytest.fixture
def fits(tmp_path):
    """Count the fits of the first step of a pipeline with a cache."""
    pipeline = make_pipeline(
        CountingFusion(), LogisticRegression(), memory=str(tmp_path)
    )

    def count(X):
        before = CountingFusion.fits
        clone(pipeline).fit(X, Y[: len(X)])
        return CountingFusion.fits - before

    return count


@pytest.mark.parametrize("kind", FUSED_KINDS)
def test_the_cache_of_a_pipeline_knows_data_it_has_seen(fits, kind):
    frame = Modalities({"it": FUSED_KINDS[kind](AUDIO), "video": VIDEO})
    assert fits(frame) == 1
    assert fits(frame) == 0
    assert frame.observed.all()
    frame[:4], frame[[3, 1]], repr(frame), frame == frame
    assert fits(frame) == 0
    assert fits(pickle.loads(pickle.dumps(frame))) == 0
    assert fits(Modalities({"it": FUSED_KINDS[kind](AUDIO), "video": VIDEO})) == 0
    rows = np.arange(0, 60, 2)
    assert fits(frame[rows]) == 1
    assert fits(frame[rows]) == 0


def test_the_cache_of_a_pipeline_tells_other_data_apart(fits):
    other_cell = VIDEO.copy()
    other_cell[3, 1] += 1e-9
    for frame in (
        X,
        X[::-1],
        Modalities([AUDIO, VIDEO]),
        Modalities({"audio": AUDIO, "video": other_cell}),
        Modalities({"video": VIDEO, "audio": AUDIO}),
    ):
        assert fits(frame) == 1


def test_a_search_over_the_last_step_fits_the_fusion_once_per_split(tmp_path):
    pipeline = make_pipeline(
        CountingFusion(), LogisticRegression(), memory=str(tmp_path)
    )
    before = CountingFusion.fits
    search = GridSearchCV(pipeline, {"logisticregression__C": [0.1, 1, 10]}, cv=3)
    search.fit(X, Y)
    assert CountingFusion.fits - before == 3 + 1


# Unions and column transformers


def test_a_feature_union_puts_fusions_side_by_side():
    union = FeatureUnion(
        [("early", EarlyFusion()), ("audio", FunctionTransformer(lambda X: X["audio"]))]
    )
    expected = np.hstack([EarlyFusion().fit_transform(X), AUDIO])
    assert_allclose(union.fit_transform(X, Y), expected)
    pipeline = make_pipeline(union, LogisticRegression())
    search = GridSearchCV(
        pipeline, {"featureunion__transformer_weights": [None, {"early": 0.1}]}, cv=3
    )
    assert search.fit(X, Y).best_score_ > 0.6


@pytest.mark.parametrize("audio", [0, -2, modality_selector("audio")])
@pytest.mark.parametrize("video", [1, modality_selector("video")])
def test_one_modality_reaches_a_transformer_as_its_block(audio, video):
    columns = ColumnTransformer([("a", PCA(2), audio), ("v", StandardScaler(), video)])
    expected = np.hstack(
        [PCA(2).fit_transform(AUDIO), StandardScaler().fit_transform(VIDEO)]
    )
    assert_allclose(columns.fit_transform(X), expected)
    assert_allclose(columns.transform(X[:7]), expected[:7])
    assert_allclose(pickle.loads(pickle.dumps(columns)).transform(X), expected)


@pytest.mark.parametrize("both", [[1, 0], modality_selector("video", "audio")])
def test_several_modalities_reach_a_transformer_as_modalities(both):
    columns = ColumnTransformer([("fuse", EarlyFusion(), both)])
    fused = columns.fit_transform(X)
    assert columns.named_transformers_["fuse"].modality_names_in_.tolist() == [
        "video",
        "audio",
    ]
    assert_allclose(fused, EarlyFusion().fit_transform(X[["video", "audio"]]))


def test_a_column_transformer_is_searched_over_like_any_other():
    columns = ColumnTransformer(
        [
            ("audio", PCA(), modality_selector("audio")),
            ("video", PCA(), modality_selector("video")),
        ]
    )
    pipeline = make_pipeline(columns, LogisticRegression())
    grid = {
        "columntransformer__audio__n_components": [1, 2],
        "columntransformer__video": ["drop", PCA(2)],
    }
    for n_jobs in (1, 2):
        search = GridSearchCV(pipeline, grid, cv=3, n_jobs=n_jobs).fit(X, Y)
        assert search.best_params_["columntransformer__audio__n_components"] == 2
        assert_array_equal(search.predict(X), search.best_estimator_.predict(X))


def test_an_unknown_modality_is_named():
    columns = ColumnTransformer([("a", PCA(2), modality_selector("image"))])
    with pytest.raises(KeyError, match="no modality 'image'"):
        columns.fit(X)


def test_a_pipeline_hands_modalities_from_step_to_step():
    halve = FunctionTransformer(lambda X: X[["audio"]])
    fused = make_pipeline(halve, EarlyFusion()).fit_transform(X)
    assert_allclose(fused, EarlyFusion().fit_transform(X[["audio"]]))


def test_parameters_of_every_modality_are_searched_over():
    pipeline = make_pipeline(
        EarlyFusion(reducer={"audio": PCA(1), "video": PCA(1)}), LogisticRegression()
    )
    grid = {
        "earlyfusion__audio__n_components": [1, 2],
        "earlyfusion__weights": ["uniform", {"video": 0.0}],
        "earlyfusion__scaling": [None, {"audio": "standard"}],
    }
    search = GridSearchCV(pipeline, grid, cv=3).fit(X, Y)
    assert search.best_params_["earlyfusion__audio__n_components"] == 2
    assert search.best_score_ > 0.6
