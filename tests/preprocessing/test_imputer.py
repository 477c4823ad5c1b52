"""Filling in modalities, against loops."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from mmfusion import EarlyFusion, Modalities
from mmfusion.datasets import make_multimodal_blobs
from mmfusion.preprocessing import ModalityImputer, _imputer

NAMES = ("audio", "text", "video")
STRATEGIES = ["mean", "knn", "zero"]


def with_gaps(seed=0, n_samples=40, share=0.3):
    rng = np.random.default_rng(seed)
    shared = rng.normal(size=(n_samples, 2))
    blocks = {
        name: shared @ rng.normal(size=(2, width)) * 10.0**width
        + rng.normal(size=(n_samples, width))
        for name, width in zip(NAMES, (2, 3, 1), strict=True)
    }
    observed = rng.random((n_samples, 3)) >= share
    observed[np.arange(3), np.arange(3)] = True
    for v, block in enumerate(blocks.values()):
        block[~observed[:, v]] = np.nan
    return Modalities(blocks)


def nearest_by_loops(train, X, n_neighbors):
    """Every cell by cell: distances over shared modalities at unit total variance."""
    sds = {}
    for name in train.names:
        own = train[name][train.observed[:, train.names.index(name)]]
        sds[name] = np.array([column.std() or 1.0 for column in own.T])
    filled = {name: block.copy() for name, block in X.to_dict().items()}
    for i in range(len(X)):
        for v, name in enumerate(X.names):
            if X.observed[i, v]:
                continue
            donors = []
            for j in range(len(train)):
                if not train.observed[j, v]:
                    continue
                parts = []
                for u, other in enumerate(X.names):
                    if X.observed[i, u] and train.observed[j, u]:
                        apart = (X[other][i] - train[other][j]) / sds[other]
                        parts.append((apart**2).mean())
                if parts:
                    donors.append((np.mean(parts), j))
            donors = [j for _, j in sorted(donors)[:n_neighbors]]
            if not donors:
                donors = np.flatnonzero(train.observed[:, v])
            filled[name][i] = np.mean([train[name][j] for j in donors], axis=0)
    return filled


def assert_blocks_equal(found, expected):
    for name, block in expected.items():
        np.testing.assert_allclose(found[name], block, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("chunk_cells", [1, 2**24])
@pytest.mark.parametrize("n_neighbors", [1, 3, 100])
@pytest.mark.parametrize("seed", range(3))
def test_knn_is_that_of_loops(seed, n_neighbors, chunk_cells, monkeypatch):
    monkeypatch.setattr(_imputer, "IMPUTED_CHUNK_CELLS", chunk_cells)
    train, new = with_gaps(seed), with_gaps(seed + 10, 15, share=0.5)
    imputer = ModalityImputer("knn", n_neighbors=n_neighbors).fit(train)
    for X in (train, new):
        expected = nearest_by_loops(train, X, n_neighbors)
        assert_blocks_equal(imputer.transform(X), expected)


def test_mean_is_that_of_the_samples_that_have_the_modality():
    train, new = with_gaps(0), with_gaps(1)
    imputer = ModalityImputer().fit(train)
    out = imputer.transform(new)
    for v, name in enumerate(NAMES):
        mean = np.mean([x for x in train[name] if np.isfinite(x).all()], axis=0)
        np.testing.assert_allclose(imputer.means_[name], mean)
        lacking = ~new.observed[:, v]
        np.testing.assert_allclose(
            out[name][lacking], np.tile(mean, (lacking.sum(), 1))
        )


def test_zero_fills_zeros():
    X = with_gaps()
    out = ModalityImputer("zero").fit_transform(X)
    for v, name in enumerate(NAMES):
        np.testing.assert_array_equal(out[name][~X.observed[:, v]], 0)


@pytest.mark.parametrize("strategy", STRATEGIES)
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 1000), share=st.floats(0, 0.7))
def test_what_is_there_is_left_and_nothing_stays_missing(strategy, seed, share):
    X = with_gaps(seed, share=share)
    before = {name: block.copy() for name, block in X.to_dict().items()}
    out = ModalityImputer(strategy).fit_transform(X)
    assert out.observed.all()
    for v, name in enumerate(NAMES):
        present = X.observed[:, v]
        np.testing.assert_array_equal(out[name][present], X[name][present])
        np.testing.assert_array_equal(X[name], before[name])
        assert np.isfinite(out[name]).all()
    EarlyFusion().fit(out)  # which refuses what is missing


def test_what_a_mask_hides_is_filled_in_and_not_looked_at():
    X = with_gaps()
    garbage = {
        name: np.where(np.isnan(block), 1e9, block)
        for name, block in X.to_dict().items()
    }
    masked = Modalities(garbage, observed=X.observed)
    for strategy in STRATEGIES:
        expected = ModalityImputer(strategy).fit_transform(X)
        assert ModalityImputer(strategy).fit_transform(masked) == expected


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_modality_may_be_absent_after_fit(strategy):
    train = with_gaps(share=0)
    imputer = ModalityImputer(strategy, n_neighbors=1).fit(train)
    out = imputer.transform(Modalities(train.to_dict() | {"text": None}))
    if strategy == "knn":  # every sample finds itself
        np.testing.assert_allclose(out["text"], train["text"])
    assert out["text"].shape == train["text"].shape
    assert out.observed.all()


def test_a_sample_that_has_nothing_gets_the_means():
    train = with_gaps()
    imputer = ModalityImputer("knn").fit(train)
    nothing = Modalities(
        {name: np.full_like(train[name][:2], np.nan) for name in NAMES}
    )
    out = imputer.transform(nothing)
    for name in NAMES:
        np.testing.assert_allclose(out[name], [imputer.means_[name]] * 2)


def test_neighbours_fill_in_better_than_means():
    errors = {"mean": [], "knn": []}
    for seed in range(3):
        X, _ = make_multimodal_blobs(90, (4, 4, 4), random_state=seed)
        lacking = np.random.default_rng(seed).random(90) < 0.3
        observed = np.ones(X.shape, dtype=bool)
        observed[lacking, 1] = False
        masked = Modalities(X, observed=observed)
        for strategy, found in errors.items():
            out = ModalityImputer(strategy).fit_transform(masked)
            apart = out["modality_1"][lacking] - X["modality_1"][lacking]
            found.append((apart**2).mean())
    assert np.mean(errors["knn"]) < 0.3 * np.mean(errors["mean"])


# Indicators, tables, names


def test_indicators_tell_what_was_filled_in():
    train = with_gaps()
    train = Modalities(train.to_dict() | {"video": np.ones((40, 1))})
    imputer = ModalityImputer(add_indicator=True).fit(train)
    np.testing.assert_array_equal(imputer.has_missing_, [True, True, False])
    new = with_gaps(3, 20)
    out = imputer.transform(new)
    assert [block.shape[1] for block in out.blocks] == [3, 4, 1]
    for v, name in enumerate(NAMES[:2]):
        np.testing.assert_array_equal(out[name][:, -1], ~new.observed[:, v])
    names = imputer.get_feature_names_out()
    assert list(names[:3]) == ["audio__x0", "audio__x1", "audio__missing"]
    assert len(names) == 8


def test_a_table_comes_out_as_a_table():
    X = with_gaps()
    table = X.to_array()
    imputer = ModalityImputer("knn", modalities=X.column_spec())
    out = imputer.fit_transform(table)
    assert isinstance(out, np.ndarray)
    expected = ModalityImputer("knn").fit_transform(X).to_array()
    np.testing.assert_allclose(out, expected)


def test_frames_are_given_where_asked_for():
    X = with_gaps()
    imputer = ModalityImputer(add_indicator=True).set_output(transform="pandas")
    out = imputer.fit_transform(X)
    assert list(out["video"].columns) == ["video__x0", "video__missing"]
    table = imputer.set_params(modalities=X.column_spec()).fit_transform(X.to_array())
    assert list(table.columns) == list(imputer.get_feature_names_out())


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_float32_stays_float32(strategy):
    X = with_gaps()
    single = {name: block.astype("f4") for name, block in X.to_dict().items()}
    out = ModalityImputer(strategy, add_indicator=True).fit_transform(single)
    assert {block.dtype for block in out.blocks} == {np.dtype("f4")}


def test_a_single_cell_that_is_nan_is_refused_with_the_remedy():
    text = np.ones((5, 3))
    text[2, 1] = np.nan
    with pytest.raises(ValueError, match=r"sample 2, feature 1 .*SimpleImputer"):
        ModalityImputer().fit({"audio": np.ones((5, 1)), "text": text})


def test_means_of_many_float32_rows_are_exact():
    rows = (1000 + np.random.default_rng(0).random((200_000, 1))).astype(np.float32)
    means = ModalityImputer().fit([rows]).means_["modality_0"]
    assert means == pytest.approx(rows.astype(float).mean(axis=0), rel=1e-7)


@pytest.mark.parametrize("add_indicator", [False, True])
@pytest.mark.parametrize("strategy", ["mean", "knn", "zero"])
def test_sparse_modalities_are_filled_in_like_dense_ones(strategy, add_indicator):
    rng = np.random.default_rng(0)
    observed = rng.random((40, 2)) > 0.3
    dense = [rng.poisson(0.5, (40, 6)).astype(float) for _ in range(2)]
    thin = [sparse.csr_array(block) for block in dense]
    imputer = ModalityImputer(strategy, add_indicator=add_indicator)
    expected = imputer.fit_transform(Modalities(dense, observed=observed))
    found = imputer.fit_transform(Modalities(thin, observed=observed))
    assert all(map(sparse.issparse, found.blocks))
    # distances of sparse rows are rounded, which could swap neighbours that tie
    if strategy != "knn":
        np.testing.assert_allclose(found.to_array().toarray(), expected.to_array())
    shown = np.repeat(observed, [7, 7] if add_indicator else [6, 6], axis=1)
    np.testing.assert_array_equal(
        found.to_array().toarray()[shown], expected.to_array()[shown]
    )
