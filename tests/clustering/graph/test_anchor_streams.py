"""Anchors of data that are read chunk by chunk, with the results of data in memory."""

import numpy as np
import pytest

from mmfusion import AnchorGraphClusterer, Modalities
from mmfusion.clustering import _anchor_graph
from mmfusion.clustering.graph import _anchor_rows, _anchors
from mmfusion.datasets import make_multimodal_blobs

da = pytest.importorskip("dask.array")

X, CLASSES = make_multimodal_blobs(
    300, {"audio": 4, "video": 7}, cluster_std=2.0, dtype=np.float32, random_state=0
)


@pytest.fixture
def small_chunks(monkeypatch):
    """Set sizes below the number of samples, so that all steps have several chunks."""
    for module in (_anchors, _anchor_rows):
        monkeypatch.setattr(module, "CHUNK_ROWS", 16)
    monkeypatch.setattr(_anchor_rows, "MAX_PART_CHUNKS", 3)
    monkeypatch.setattr(_anchor_graph, "MAX_SCALING_ROWS", 200)
    monkeypatch.setattr(_anchor_graph, "MAX_ANCHOR_ROWS", 150)
    monkeypatch.setattr(_anchor_graph, "MAX_K_MEANS_ROWS", 180)


def chunked(frame, sizes=(70, 41)):
    blocks = [
        da.from_array(block, chunks=(size, 3))
        for block, size in zip(frame.blocks, sizes, strict=True)
    ]
    return Modalities(dict(zip(frame.names, blocks, strict=True)), observed=frame._mask)


def with_missing(frame):
    observed = np.ones(frame.shape, dtype=bool)
    observed[:40, 0] = observed[60:90, 1] = False
    return Modalities(frame, observed=observed)


def assert_same(found, expected):
    np.testing.assert_array_equal(found.labels_, expected.labels_)
    np.testing.assert_array_equal(found.singular_values_, expected.singular_values_)
    assert found.scaling_ == expected.scaling_
    for name, anchors in expected.anchors_.items():
        np.testing.assert_array_equal(found.anchors_[name], anchors)


@pytest.mark.parametrize(
    ("scheduler", "weights", "data"),
    [
        ("synchronous", "adaptive", X),
        ("threads", "adaptive", with_missing(X)),
        ("synchronous", "reconstruction", with_missing(X)),
    ],
    ids=["synchronous", "threads", "reconstruction"],
)
def test_dask_arrays_are_clustered_as_arrays(small_chunks, scheduler, weights, data):
    import dask

    clusterer = AnchorGraphClusterer(3, weights=weights, n_anchors=20, random_state=0)
    expected = clusterer.fit(data)
    labels = expected.predict(data)
    with dask.config.set(scheduler=scheduler):
        found = AnchorGraphClusterer(**clusterer.get_params()).fit(chunked(data))
        assert_same(found, expected)
        np.testing.assert_array_equal(found.predict(chunked(data, (50, 300))), labels)


def test_mapped_files_are_clustered_as_arrays(small_chunks, tmp_path):
    maps = []
    for v, block in enumerate(X.blocks):
        np.save(tmp_path / f"{v}.npy", block)
        maps.append(np.load(tmp_path / f"{v}.npy", mmap_mode="r"))
    clusterer = AnchorGraphClusterer(3, n_anchors=20, random_state=0)
    expected = clusterer.fit(list(X.blocks))
    assert_same(AnchorGraphClusterer(**clusterer.get_params()).fit(maps), expected)


def test_a_table_of_dask_is_split_by_its_columns(small_chunks):
    table = da.hstack(list(chunked(X).blocks))
    expected = AnchorGraphClusterer(3, modalities=[4, 7], random_state=0)
    labels = expected.fit(X.to_array()).labels_
    found = AnchorGraphClusterer(3, modalities=[4, 7], random_state=0).fit(table)
    np.testing.assert_array_equal(found.labels_, labels)
    assert found.score(table) == expected.score(X.to_array())


def test_dask_arrays_and_arrays_stand_side_by_side(small_chunks):
    mixed = [X.blocks[0], chunked(X).blocks[1]]
    expected = AnchorGraphClusterer(3, random_state=0).fit(list(X.blocks))
    found = AnchorGraphClusterer(3, random_state=0).fit(mixed)
    np.testing.assert_array_equal(found.labels_, expected.labels_)


def test_rows_of_zeros_in_chunks_are_missing_if_wanted(small_chunks):
    blocks = [block.copy() for block in X.blocks]
    blocks[1][:60] = 0
    frame = Modalities(dict(zip(X.names, blocks, strict=True)))
    with pytest.warns(UserWarning, match="'video': 20% of the samples are rows of"):
        AnchorGraphClusterer(3, random_state=0).fit(chunked(frame))
    clusterer = AnchorGraphClusterer(3, zero_rows="missing", random_state=0)
    expected = clusterer.fit(frame).labels_
    np.testing.assert_array_equal(clusterer.fit(chunked(frame)).labels_, expected)


def test_scalings_of_a_sample_are_near_those_of_all(monkeypatch):
    whole = AnchorGraphClusterer(3, random_state=0).fit(X)
    monkeypatch.setattr(_anchor_graph, "MAX_SCALING_ROWS", 250)
    found = AnchorGraphClusterer(3, random_state=0).fit(X)
    assert found.scaling_ == whole.scaling_
    for one, other in zip(found._scalings, whole._scalings, strict=True):
        np.testing.assert_allclose(one.spread, other.spread, rtol=0.1)
    # a modality that few samples have is sampled among those
    observed = np.ones(X.shape, dtype=bool)
    observed[3:, 1] = False
    monkeypatch.setattr(_anchor_graph, "MAX_SCALING_ROWS", 5)
    rare = AnchorGraphClusterer(3, random_state=0)
    rare.fit(Modalities(X, observed=observed))
    assert rare.anchors_["video"].shape[0] == 3


# without small chunks, which the processes of the workers would not have
@pytest.mark.slow
def test_workers_of_a_cluster_find_the_same():
    distributed = pytest.importorskip("distributed")
    data, _ = make_multimodal_blobs(
        150_000, {"audio": 4, "video": 7}, dtype=np.float32, random_state=0
    )
    clusterer = AnchorGraphClusterer(3, random_state=0)
    expected = clusterer.fit(data)
    cluster = distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=None
    )
    with cluster, distributed.Client(cluster) as client:
        lazy = chunked(data, (40_000, 70_000))
        with distributed.get_task_stream(client) as stream:
            found = AnchorGraphClusterer(**clusterer.get_params()).fit(lazy)
        assert_same(found, expected)
        np.testing.assert_array_equal(found.predict(lazy), expected.labels_)
    own = {task["worker"] for task in stream.data if "_gram_of_part" in task["key"]}
    assert len(own) == 2
