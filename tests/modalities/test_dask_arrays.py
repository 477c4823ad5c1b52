"""Arrays of dask as modalities: held without computing them, refused or read."""

import pickle

import numpy as np
import pytest
from scipy import sparse
from sklearn.decomposition import PCA

from mmfusion import (
    AnchorGraphClusterer,
    EarlyFusion,
    EarlyFusionClusterer,
    LateFusionClassifier,
    Modalities,
    ModalityImputer,
    SpectralClusterer,
)

da = pytest.importorskip("dask.array")

ARRAY = np.random.default_rng(0).normal(size=(20, 3))


@pytest.fixture
def chunks_read():
    """Count the chunks of an array that are computed."""
    read = []

    def counted(array, chunks=7):
        def note(chunk):
            read.append(len(chunk))
            return chunk

        return da.from_array(array, chunks=(chunks, -1)).map_blocks(
            note, dtype=array.dtype, meta=np.empty((0, 0))
        )

    counted.read = read
    return counted


def test_a_container_holds_them_without_computing_them(chunks_read):
    X = Modalities({"audio": chunks_read(ARRAY), "video": ARRAY})
    assert X.shape == (20, 2)
    part = X[3:9]
    rows = X[[2, 0, 5]]
    assert "dask (20, 3) float64" in repr(X)
    assert chunks_read.read == []
    np.testing.assert_array_equal(part["audio"].compute(), ARRAY[3:9])
    np.testing.assert_array_equal(rows["audio"].compute(), ARRAY[[2, 0, 5]])


def test_missing_samples_are_found_chunk_by_chunk(chunks_read):
    array = ARRAY.copy()
    array[[2, 13]] = np.nan
    array[5, 0] = np.nan
    X = Modalities([chunks_read(array)])
    observed = X.observed[:, 0]
    assert "2 missing" in repr(X)
    assert np.flatnonzero(~observed).tolist() == [2, 13]
    assert sorted(chunks_read.read) == [6, 7, 7]


def test_they_are_compared_concatenated_and_pickled_like_arrays():
    X = Modalities({"audio": da.from_array(ARRAY, chunks=8)})
    Y = Modalities({"audio": da.from_array(ARRAY, chunks=5)})
    assert X == Y
    assert pickle.loads(pickle.dumps(X)) == X
    assert Modalities({"audio": da.from_array(ARRAY + 1, chunks=8)}) != X
    both = X.concat(Y)
    np.testing.assert_array_equal(both["audio"].compute(), np.vstack([ARRAY, ARRAY]))
    np.testing.assert_array_equal(X.to_array(), ARRAY)


def test_columns_of_a_table_are_split_and_joined_into_whole_rows(chunks_read):
    table = da.from_array(ARRAY, chunks=(6, 2))
    X = Modalities.from_table(table, [2, 1])
    assert [block.chunks[1] for block in X.blocks] == [(2,), (1,)]
    X = Modalities([table])
    assert X.blocks[0].numblocks == (4, 1)


@pytest.mark.parametrize(
    ("array", "error", "message"),
    [
        (
            da.from_array(ARRAY, chunks=5)[da.from_array(ARRAY, chunks=5)[:, 0] > 0],
            ValueError,
            r"'audio' is a dask array with chunks of unknown.*compute_chunk_sizes\(\)",
        ),
        (
            da.from_array(ARRAY, chunks=5).map_blocks(sparse.csr_array),
            TypeError,
            "'audio' is a dask array of chunks of type csr_array",
        ),
        (
            da.from_array(ARRAY.astype(str), chunks=5),
            ValueError,
            "'audio' is a dask array of <U32; only real numbers",
        ),
        (
            da.from_array(ARRAY[:, 0], chunks=5),
            ValueError,
            r"'audio' has shape \(20,\); it needs at least 2",
        ),
    ],
    ids=["unknown sizes", "sparse", "text", "one dimension"],
)
def test_what_cannot_be_read_is_refused_with_a_remedy(array, error, message):
    with pytest.raises(error, match=message):
        Modalities({"audio": array, "video": ARRAY})


@pytest.mark.parametrize(
    "estimator",
    [
        EarlyFusion(reducer=PCA(1)),
        EarlyFusionClusterer(n_clusters=2),
        SpectralClusterer(2),
        ModalityImputer(),
    ],
    ids=lambda estimator: type(estimator).__name__,
)
def test_fits_that_read_no_chunks_refuse_them(estimator, chunks_read):
    X = {"audio": ARRAY, "video": chunks_read(ARRAY)}
    name = type(estimator).__name__
    with pytest.raises(
        TypeError, match=rf"'video' is a dask array, which {name}.*\)\."
    ):
        estimator.fit(X)
    with pytest.raises(TypeError, match="'modality_0' is a dask array"):
        estimator.fit(X["video"])
    assert chunks_read.read == []


def test_classifiers_refuse_to_fit_them():
    X = {"audio": da.from_array(ARRAY, chunks=5)}
    with pytest.raises(TypeError, match="'audio' is a dask array"):
        LateFusionClassifier().fit(X, np.arange(20) % 2)


@pytest.mark.parametrize("sample", [0, 8, 19])
@pytest.mark.parametrize(("value", "name"), [(np.nan, "NaN"), (np.inf, "infinity")])
def test_the_position_of_a_single_nan_is_reported(sample, value, name):
    array = ARRAY.copy()
    array[sample, 1] = value
    X = {"audio": ARRAY, "video": da.from_array(array, chunks=6)}
    message = f"'video': sample {sample}, feature 1 is {name}"
    with pytest.raises(ValueError, match=message):
        AnchorGraphClusterer(2).fit(X)


def test_other_numbers_and_further_dimensions_are_read_as_in_memory():
    images = np.arange(20 * 6).reshape(20, 2, 3) % 7
    X = {"image": images, "audio": ARRAY}
    chunked = {"image": da.from_array(images, chunks=(6, 1, 2)), "audio": ARRAY}
    expected = AnchorGraphClusterer(2, random_state=0).fit(X)
    found = AnchorGraphClusterer(2, random_state=0).fit(chunked)
    np.testing.assert_array_equal(found.labels_, expected.labels_)
    np.testing.assert_array_equal(found.predict(X), expected.labels_)
