"""What pooling and resampling of sequences share: forms of input, gaps, errors."""

import pickle

import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline

from mmfusion import (
    EarlyFusionClusterer,
    LateFusionClusterer,
    Modalities,
    ModalityImputer,
    PerModality,
)
from mmfusion.datasets import load_npz, make_multimodal_sequences
from mmfusion.preprocessing import (
    SequencePooling,
    SequenceResampler,
    padded_from_sequences,
)

EVERY = pytest.mark.parametrize(
    "transformer",
    [SequencePooling(["mean", "length"]), SequenceResampler(4), SequenceResampler()],
    ids=str,
)


@pytest.fixture
def X():
    sequences, _, _ = make_multimodal_sequences(
        20, {"audio": 3, "video": 5}, missing_rate=(0, 0.2), random_state=0
    )
    survey = np.random.default_rng(0).normal(size=(20, 2))
    return Modalities(sequences.to_dict() | {"survey": survey})


def out_of(transformer, X):
    return clone(transformer).fit(X).transform(X)


# Forms of input


@EVERY
def test_forms_of_input_agree(transformer, X):
    expected = out_of(transformer, X)
    forms = [
        X.to_dict(),
        list(X.blocks),
        [list(X["audio"]), list(X["video"]), X["survey"]],
        [padded_from_sequences(X[n]) for n in ("audio", "video")] + [X["survey"]],
    ]
    for form in forms:
        found = out_of(transformer, form)
        for one, other in zip(found.blocks, expected.blocks, strict=True):
            np.testing.assert_array_equal(one, other)


@EVERY
def test_padding_may_be_longer_than_in_fit(transformer, X):
    fitted = clone(transformer).fit(padded_from_sequences(X["audio"]))
    longer = np.concatenate([padded_from_sequences(X["audio"])] * 2, axis=1)
    longer[:, len(longer[0]) // 2 :] = np.nan
    np.testing.assert_array_equal(
        fitted.transform(longer), fitted.transform(X["audio"])
    )


@EVERY
def test_tables_pass_through_as_they_are(transformer, X):
    words = sparse.csr_array(np.eye(20, 7))
    notes = pd.DataFrame({"note": list("abcde") * 4})
    X = Modalities(X.to_dict() | {"words": words, "notes": notes})
    out = out_of(transformer, X)
    for name in ("survey", "words", "notes"):
        assert out[name] is X[name]
    table = np.arange(6.0).reshape(3, 2)
    np.testing.assert_array_equal(out_of(transformer, table), table)


@EVERY
def test_one_block_gives_one_array_as_inside_per_modality(transformer, X):
    alone = out_of(transformer, X["audio"])
    np.testing.assert_array_equal(alone, out_of(transformer, X)["audio"])
    per_modality = PerModality({"audio": transformer, "video": transformer}).fit(X)
    own = clone(transformer).fit(X)
    for found, expected in zip(
        per_modality.transform(X).blocks, own.transform(X).blocks, strict=True
    ):
        np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(
        per_modality.get_feature_names_out(), own.get_feature_names_out()
    )


@EVERY
def test_sequences_of_images_are_sequences_of_rows(transformer):
    films = [np.random.default_rng(n).normal(size=(n, 2, 3)) for n in (4, 7)]
    rows = [film.reshape(len(film), -1) for film in films]
    np.testing.assert_array_equal(
        out_of(transformer, {"film": films})["film"],
        out_of(transformer, {"film": rows})["film"],
    )


@EVERY
@pytest.mark.parametrize(
    ("given", "expected"),
    [(np.float32, np.float32), (np.float64, np.float64), (np.int16, np.float64)],
)
def test_float32_stays(transformer, given, expected):
    sequences = [np.arange(2 * n).reshape(n, 2).astype(given) for n in (3, 5)]
    assert out_of(transformer, [sequences]).blocks[0].dtype == expected


# Missing


@EVERY
def test_a_sample_lacks_in_the_output_what_it_lacked(transformer, X):
    out = out_of(transformer, X)
    np.testing.assert_array_equal(out.observed, X.observed)
    lacking = ~X.observed[:, 1]
    assert 0 < lacking.sum() < 20
    assert np.isnan(out["video"][lacking]).all()
    assert not np.isnan(out["video"][~lacking]).any()


@EVERY
def test_masked_samples_are_not_looked_at(transformer):
    sequences = [np.ones((2, 1)), np.full((2, 1), np.inf), np.empty((0, 1))]
    masked = Modalities([sequences], observed=[[True], [False], [False]])
    out = out_of(transformer, masked)
    assert out.observed.ravel().tolist() == [True, False, False]
    assert np.isnan(out.blocks[0][1:]).all()


@EVERY
def test_a_modality_may_be_absent_as_a_whole_after_fit(transformer, X):
    fitted = clone(transformer).fit(X)
    out = fitted.transform(X.to_dict() | {"audio": None, "survey": None})
    assert out["audio"].shape == fitted.transform(X)["audio"].shape
    assert not out.observed[:, [0, 2]].any()


# Names, containers, copies


@EVERY
@pytest.mark.parametrize(("container", "kind"), [("pandas", pd), ("polars", pl)])
def test_dataframes_have_the_names_of_the_features(transformer, container, kind, X):
    transformer = clone(transformer).set_output(transform=container).fit(X)
    out = transformer.transform(X)
    assert all(isinstance(block, kind.DataFrame) for block in out.blocks)
    columns = [column for block in out.blocks for column in block.columns]
    assert columns == transformer.get_feature_names_out().tolist()
    plain = clone(transformer).set_output(transform="default").fit(X).transform(X)
    np.testing.assert_array_equal(out.to_array(), plain.to_array())


@EVERY
def test_pickles_and_clones(transformer, X):
    fitted = clone(transformer).fit(X)
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(
        again.transform(X).to_array(), fitted.transform(X).to_array()
    )
    assert clone(fitted).get_params() == transformer.get_params()


@EVERY
def test_sequences_in_a_file_give_the_same(transformer, X, tmp_path):
    padded = padded_from_sequences(X["audio"])
    np.save(tmp_path / "audio.npy", padded)
    mapped = np.load(tmp_path / "audio.npy", mmap_mode="r")
    np.testing.assert_array_equal(
        out_of(transformer, mapped), out_of(transformer, padded)
    )


# Refused


@EVERY
@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (np.empty((0, 2)), r"'audio': the sequence of sample 1 is empty.*None"),
        (np.ones((3, 4)), r"'audio': .*sample 1 has 4 features.*sample 0 has 2"),
        (np.array([[1, 2], [3, np.inf]]), "'audio': .*sample 1 is infinite in frame 1"),
        (np.array([["a", "b"]]), "'audio': .*sample 1 holds text"),
        (np.array([["a", 1]], dtype=object), "'audio': .*sample 1: .* holds text"),
        (np.ones((2, 2)) * 1j, "'audio': .*sample 1 holds complex128"),
    ],
)
def test_unfit_sequences_are_refused_in_fit_and_transform(transformer, bad, message):
    good = Modalities({"audio": [np.eye(2), np.eye(2)]})
    spoilt = Modalities({"audio": [np.eye(2), bad]})
    with pytest.raises(ValueError, match=message):
        clone(transformer).fit(spoilt)
    fitted = clone(transformer).fit(good)
    with pytest.raises(ValueError, match=message):
        fitted.transform(spoilt)


@EVERY
def test_what_differs_from_fit_is_refused(transformer, X):
    fitted = clone(transformer).fit(X)
    with pytest.raises(ValueError, match=r"'audio' of X has 5 features.* expecting 3"):
        fitted.transform(X.to_dict() | {"audio": X["video"]})
    with pytest.raises(ValueError, match="'audio' of X is a table, but was sequences"):
        fitted.transform(X.to_dict() | {"audio": np.ones((20, 3))})
    pairs = [np.ones((4, 2))] * 20
    with pytest.raises(ValueError, match="'survey' of X is sequences, but was a table"):
        fitted.transform(X.to_dict() | {"survey": pairs})


@EVERY
def test_a_modality_that_nobody_has_is_refused_in_fit(transformer):
    nobody = {"audio": [np.full((3, 1), np.nan), None], "video": np.eye(2)}
    with pytest.raises(ValueError, match="'audio' is missing"):
        clone(transformer).fit(nobody)


# As a step before others


@EVERY
def test_missing_sequences_are_filled_in_or_worked_around(transformer, X):
    filled = make_pipeline(
        transformer, ModalityImputer(), EarlyFusionClusterer(random_state=0)
    )
    late = make_pipeline(transformer, LateFusionClusterer(n_runs=2, random_state=0))
    for pipeline in (filled, late):
        assert clone(pipeline).fit_predict(X).shape == (20,)
        assert clone(pipeline).fit_predict(list(X.blocks)).shape == (20,)


@pytest.fixture(scope="module")
def basic_motions(shared_data):
    """Four sports, by accelerometer and gyroscope."""
    loaded = load_npz(shared_data / "ts_basicmotions.npz")
    order = np.random.default_rng(0).permutation(80)  # the file is sorted by class
    X = Modalities(list(loaded.data.blocks), names=["acceleration", "rotation"])
    return X[order], loaded.target[order]


def test_a_search_over_statistics_runs_on_real_sequences(basic_motions):
    X, y = basic_motions
    search = GridSearchCV(
        make_pipeline(
            SequencePooling(), EarlyFusionClusterer(n_clusters=4, random_state=0)
        ),
        {
            "sequencepooling__statistics": [["mean"], ["mean", "std", "max"]],
            "earlyfusionclusterer__scaling": ["block", "standard"],
        },
        scoring="adjusted_rand_score",
    )
    scores = search.fit(X, y).cv_results_["mean_test_score"]
    assert scores.shape == (4,)
    # sports differ in how widely the arm swings, of which the mean knows nothing
    assert max(scores[1], scores[3]) > max(scores[0], scores[2]) > 0
    assert search.predict(X).shape == (80,)


def test_a_search_over_frame_counts_runs_on_real_sequences_of_unequal_length(
    shared_data,
):
    loaded = load_npz(shared_data / "ts_japanesevowels.npz")
    first_three = np.flatnonzero(loaded.target < 3)
    X, y = loaded.data[first_three], loaded.target[first_three]
    clusterer = EarlyFusionClusterer(n_clusters=3, random_state=0)
    search = GridSearchCV(
        make_pipeline(SequenceResampler(), clusterer),
        {"sequenceresampler__n_frames": [5, "median"]},
        scoring="adjusted_rand_score",
        cv=3,
    )
    order = np.random.default_rng(0).permutation(len(y))
    scores = search.fit(X[order], y[order]).cv_results_["mean_test_score"]
    assert scores.min() > 0.2  # speakers are told apart, far above chance


def test_one_step_of_one_pipeline_can_swap_for_the_other(basic_motions):
    X, _ = basic_motions
    pipeline = make_pipeline(
        SequencePooling(), EarlyFusionClusterer(n_clusters=4, random_state=0)
    )
    swapped = clone(pipeline).set_params(sequencepooling=SequenceResampler(10))
    for candidate in (pipeline, swapped):
        assert np.isfinite(cross_val_score(candidate, X, cv=3)).all()


def test_a_list_of_blocks_of_sequences_is_a_list_of_modalities():
    X, _, _ = make_multimodal_sequences(5, random_state=0)
    pooled = SequencePooling().fit_transform(list(X.blocks))
    expected = SequencePooling().fit_transform(X)
    for name in X.names:
        np.testing.assert_array_equal(pooled[name], expected[name])
