"""Predictions for mapped files and dask arrays, by rows, are those for arrays."""

import tracemalloc

import numpy as np
import pytest
from scipy import sparse
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import BayesianRidge
from sklearn.neighbors import KNeighborsClassifier

from mmfusion import (
    EarlyFusion,
    EarlyFusionClassifier,
    EarlyFusionClusterer,
    EarlyFusionRegressor,
    HybridFusionClassifier,
    HybridFusionClusterer,
    HybridFusionRegressor,
    LateFusionClassifier,
    LateFusionClusterer,
    LateFusionRegressor,
    Modalities,
    SingleModalityClusterer,
    SNFClusterer,
    SpectralClusterer,
    _row_chunks,
)
from mmfusion.datasets import make_multimodal_blobs

da = pytest.importorskip("dask.array")

X, y = make_multimodal_blobs(
    100, {"audio": 4, "video": 6}, dtype=np.float32, random_state=0
)
LABELS = np.array(["a", "bc", "def"])[y]


@pytest.fixture
def few_rows(monkeypatch):
    """Let a chunk have 17 rows, and count them."""
    monkeypatch.setattr(_row_chunks, "ROW_CHUNK_BYTES", 17 * 40)
    seen = []
    output = _row_chunks._output

    def counted(call, rows, part, args, kwargs):
        seen.append(rows.stop - rows.start)
        return output(call, rows, part, args, kwargs)

    monkeypatch.setattr(_row_chunks, "_output", counted)
    return seen


def mapped(frame, folder):
    maps = {}
    for name, block in frame.to_dict().items():
        np.save(folder / f"{name}.npy", block)
        maps[name] = np.load(folder / f"{name}.npy", mmap_mode="r")
    return Modalities(maps, observed=frame._mask)


def chunked(frame, folder=None):
    blocks = {n: da.from_array(b, chunks=(33, 3)) for n, b in frame.to_dict().items()}
    return Modalities(blocks, observed=frame._mask)


CLASSIFIER_METHODS = ["predict", "predict_proba", "decision_function"]
CASES = [
    (EarlyFusion(), ["transform"]),
    (EarlyFusion(reducer=PCA(2)), ["transform"]),
    (EarlyFusionClassifier(), [*CLASSIFIER_METHODS, "modality_predictions"]),
    (EarlyFusionRegressor(), ["predict", "modality_predictions"]),
    (EarlyFusionClusterer(n_clusters=3, random_state=0), ["predict"]),
    (
        LateFusionClassifier(),
        [*CLASSIFIER_METHODS, "transform", "modality_predictions", "predict_log_proba"],
    ),
    (
        LateFusionClassifier(combine="stacking", passthrough=True, random_state=0),
        ["predict", "transform"],
    ),
    (LateFusionRegressor(), ["predict", "transform", "modality_predictions"]),
    (LateFusionClusterer(n_clusters=3, random_state=0), ["predict", "transform"]),
    (HybridFusionClassifier(), ["predict", "predict_proba", "transform"]),
    (HybridFusionRegressor(), ["predict"]),
    (HybridFusionClusterer(n_clusters=3, random_state=0), ["predict"]),
    (SingleModalityClusterer(n_clusters=3, random_state=0), ["predict"]),
    (SpectralClusterer(3, random_state=0), ["predict"]),
    (SNFClusterer(3, random_state=0), ["predict"]),
]


@pytest.mark.parametrize("form", [mapped, chunked], ids=["mapped", "dask"])
@pytest.mark.parametrize(
    ("estimator", "methods"), CASES, ids=lambda case: type(case).__name__
)
def test_outputs_by_chunks_are_those_of_arrays(
    estimator, methods, form, few_rows, tmp_path
):
    estimator.fit(X, y if "Regressor" in type(estimator).__name__ else LABELS)
    for method in methods:
        expected = getattr(estimator, method)(X)
        assert not few_rows
        found = getattr(estimator, method)(form(X, tmp_path))
        # an estimator inside may go through the rows of a chunk again
        assert len(few_rows) >= 6
        assert max(few_rows) == 17
        few_rows.clear()
        assert found.dtype == expected.dtype
        assert isinstance(found, np.ndarray)
        if expected.dtype.kind == "f":
            np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
        else:
            np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("form", [mapped, chunked], ids=["mapped", "dask"])
@pytest.mark.parametrize("scaling", ["auto", "block", "standard", "l2", None])
@pytest.mark.parametrize("shift", [0, 20], ids=["signed", "positive"])
def test_the_scaling_is_fitted_to_chunks(form, scaling, shift, tmp_path):
    data = Modalities({name: block + shift for name, block in X.to_dict().items()})
    weight = np.arange(100) % 3
    for sample_weight in (None, weight):
        fusion = EarlyFusion(scaling).fit(data, sample_weight=sample_weight)
        expected = fusion.transform(data)
        found = EarlyFusion(scaling).fit(
            form(data, tmp_path), sample_weight=sample_weight
        )
        assert found.scaling_ == fusion.scaling_
        np.testing.assert_allclose(found.transform(data), expected, rtol=1e-6)


def test_counts_in_chunks_are_recognised():
    counts = np.random.default_rng(0).poisson(0.3, size=(60, 8))
    expected = EarlyFusion().fit([counts, counts[:, :5]]).scaling_
    chunks = [da.from_array(c, chunks=25) for c in (counts, counts[:, :5])]
    assert EarlyFusion().fit(chunks).scaling_ == expected
    assert set(expected.values()) == {"l2"}


def test_reducers_refuse_chunks():
    with pytest.raises(TypeError, match="'audio' is a dask array, which EarlyFusion"):
        EarlyFusion(reducer=PCA(2)).fit(chunked(X))


@pytest.mark.parametrize("form", [mapped, chunked], ids=["mapped", "dask"])
def test_samples_that_lack_modalities_do_so_in_their_chunk(form, few_rows, tmp_path):
    observed = np.ones(X.shape, dtype=bool)
    observed[10:60, 1] = observed[70:73, 0] = False
    data = Modalities(X, observed=observed)
    for estimator in (EarlyFusionClassifier(), LateFusionClassifier()):
        estimator.fit(data, LABELS)
        expected = estimator.modality_predictions(data)
        found = estimator.modality_predictions(form(data, tmp_path))
        np.testing.assert_array_equal(found, expected)
        np.testing.assert_allclose(
            estimator.predict_proba(form(data, tmp_path)),
            estimator.predict_proba(data),
            rtol=1e-4,
            atol=1e-6,
        )


@pytest.mark.parametrize("form", [mapped, chunked], ids=["mapped", "dask"])
def test_lists_dicts_and_tables_are_read_by_rows_too(form, few_rows, tmp_path):
    classifier = EarlyFusionClassifier().fit(X, LABELS)
    expected = classifier.predict(X)
    blocks = form(X, tmp_path).to_dict()
    np.testing.assert_array_equal(classifier.predict(blocks), expected)
    np.testing.assert_array_equal(classifier.predict(list(blocks.values())), expected)
    table = Modalities([X.to_array()])
    alone = EarlyFusionClassifier(modalities=[4, 6]).fit(X.to_array(), LABELS)
    found = alone.predict(form(table, tmp_path).blocks[0])
    np.testing.assert_array_equal(found, expected)
    assert alone.score(form(table, tmp_path).blocks[0], LABELS) == np.mean(
        expected == LABELS
    )


def test_standard_deviations_and_sparse_outputs_are_joined(few_rows, tmp_path):
    regressor = LateFusionRegressor(BayesianRidge()).fit(X, y)
    maps = mapped(X, tmp_path)
    found = regressor.predict(maps, return_std=True)
    for one, other in zip(found, regressor.predict(X, return_std=True), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4)
    words = sparse.random_array((100, 5), density=0.3, rng=np.random.default_rng(0))
    mixed = Modalities({"audio": X["audio"], "text": words.tocsr()})
    fusion = EarlyFusion().fit(mixed)
    found = fusion.transform(Modalities({"audio": maps["audio"], "text": words}))
    assert sparse.issparse(found)
    np.testing.assert_allclose(
        found.toarray(), fusion.transform(mixed).toarray(), rtol=1e-5
    )


def test_output_is_labelled_as_set(few_rows):
    pytest.importorskip("pandas")
    fusion = EarlyFusion().fit(X).set_output(transform="pandas")
    found = fusion.transform(chunked(X))
    assert list(found.columns) == list(fusion.get_feature_names_out())
    np.testing.assert_allclose(found, fusion.transform(X), rtol=1e-5)


@pytest.mark.parametrize("form", [mapped, chunked], ids=["mapped", "dask"])
def test_errors_in_a_later_chunk_name_its_first_sample(form, few_rows, tmp_path):
    blocks = {name: block.copy() for name, block in X.to_dict().items()}
    blocks["video"][40, 2] = np.inf
    bad = form(Modalities(blocks), tmp_path)
    fusion = EarlyFusion().fit(X)
    with pytest.raises(
        ValueError, match=r"'video': sample 6, feature 2 is inf.* from the sample 34 of"
    ):
        fusion.transform(bad)
    neighbors = EarlyFusionClassifier(KNeighborsClassifier()).fit(X, y)
    with pytest.raises(ValueError, match="from the sample 34 of X"):
        neighbors.predict(bad)


def test_small_mapped_files_are_one_chunk(tmp_path, few_rows, monkeypatch):
    monkeypatch.setattr(_row_chunks, "ROW_CHUNK_BYTES", 2**24)
    fusion = EarlyFusion().fit(X)
    fusion.transform(mapped(X, tmp_path))
    assert few_rows == [100]


def test_lists_of_mapped_rows_are_tables(tmp_path, few_rows):
    table = mapped(Modalities([X.to_array()]), tmp_path).blocks[0]
    classifier = EarlyFusionClassifier().fit(X.to_array(), LABELS)
    found = classifier.predict(list(table))
    np.testing.assert_array_equal(found, classifier.predict(X.to_array()))


def test_no_samples_are_refused_in_dask_arrays_too(few_rows):
    classifier = EarlyFusionClassifier().fit(X, LABELS)
    with pytest.raises(ValueError, match=r"Found array with 0 sample\(s\)"):
        classifier.predict(chunked(X)[:0])


def test_estimators_that_are_not_fitted_say_so():
    with pytest.raises(NotFittedError):
        LateFusionClassifier().predict(chunked(X))


@pytest.mark.parametrize(
    ("estimator", "method"),
    [
        (EarlyFusionClassifier(), "predict"),
        (EarlyFusionClusterer(n_clusters=3, random_state=0), "predict"),
        (LateFusionClassifier(), "predict"),
        (HybridFusionClassifier(), "predict"),
        (EarlyFusion(reducer=PCA(1)), "transform"),
    ],
    ids=lambda case: getattr(case, "__name__", type(case).__name__),
)
def test_predictions_for_files_take_little_memory(
    estimator, method, tmp_path, monkeypatch
):
    monkeypatch.setattr(_row_chunks, "ROW_CHUNK_BYTES", 2**17)
    blocks = [np.tile(block, (200, 4)) for block in X.blocks]
    estimator.fit([block[:100] for block in blocks], y)
    maps = list(mapped(Modalities(blocks), tmp_path).blocks)
    call = getattr(estimator, method)
    call([block[:100] for block in maps])  # imports what it needs
    tracemalloc.start()
    output = call(maps).nbytes
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak - output < sum(block.nbytes for block in blocks) / 4


@pytest.mark.slow
def test_workers_of_a_cluster_predict():
    distributed = pytest.importorskip("distributed")
    classifier = LateFusionClassifier().fit(X, LABELS)
    fusion = EarlyFusion().fit(X)
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=None
        ) as cluster,
        distributed.Client(cluster),
    ):
        found = classifier.predict_proba(chunked(X))
        fused = fusion.transform(chunked(X))
    np.testing.assert_allclose(found, classifier.predict_proba(X), rtol=1e-5)
    np.testing.assert_allclose(fused, fusion.transform(X), rtol=1e-6)
