"""Rows, their preparation, and batches of them."""

from itertools import chain

import numpy as np
import pytest
import torch
from scipy import sparse
from torch.utils.data import Dataset

from mmfusion.nn import _data
from mmfusion.nn._data import Batches, Preparation, Rows, ShuffledBatches

N = 23
SHAPES = [(5,), (2, 3, 4), (6,)]


def rng(seed=0):
    return np.random.default_rng(seed)


def make_blocks(dtype=np.float64):
    random = rng()
    blocks = [random.normal(3, 2, (N, *shape)) for shape in SHAPES]
    blocks[2] *= random.random(blocks[2].shape) > 0.5
    return [block.astype(dtype) for block in blocks]


def make_observed():
    observed = rng(1).random((N, 3)) > 0.3
    observed[np.arange(N), np.arange(N) % 3] = True
    return observed


class Tuples(Dataset):
    def __init__(self, blocks):
        self.blocks = blocks

    def __len__(self):
        return len(self.blocks[0])

    def __getitem__(self, index):
        return tuple(block[index] for block in self.blocks)


class Tensors(Tuples):
    def __getitem__(self, index):
        return [torch.from_numpy(block[index]) for block in self.blocks]


class Dicts(Tuples):
    def __getitem__(self, index):
        return {f"m{v}": block[index] for v, block in enumerate(self.blocks)}


class ManyAtATime(Tuples):
    def __getitem__(self, index):
        raise AssertionError("samples are to be taken together")

    def __getitems__(self, indices):
        return [tuple(block[i] for block in self.blocks) for i in indices]


class Unordered(Dicts):
    """Dataset of dicts; every other sample has its modalities in another order."""

    def __getitem__(self, index):
        item = super().__getitem__(index)
        return dict(reversed(item.items())) if index % 2 else item


class ManyDicts(Dicts):
    def __getitems__(self, indices):
        return [self[i] for i in indices]


DATASETS = [Tuples, Tensors, ManyAtATime, Dicts, Unordered, ManyDicts]


def rows_of(dataset):
    rows = Rows(dataset)
    if isinstance(dataset, Dicts):
        rows.first()  # stores the names
    return rows


def dense(block):
    return block.toarray() if sparse.issparse(block) else np.asarray(block)


# Rows


@pytest.mark.parametrize("rows", [np.array([4, 0, 22, 4]), slice(3, 9), slice(None)])
def test_rows_of_blocks_are_read_by_index(rows):
    blocks = make_blocks()
    blocks[2] = sparse.csr_matrix(blocks[2])
    data = Rows(blocks)
    assert len(data) == N
    for taken, block in zip(data.take(rows), blocks, strict=True):
        np.testing.assert_array_equal(dense(taken), dense(block)[rows])


@pytest.mark.parametrize("kind", DATASETS)
@pytest.mark.parametrize("rows", [np.array([4, 0, 22, 4]), slice(3, 9), slice(None)])
def test_rows_of_a_dataset_are_read_by_index(kind, rows):
    blocks = make_blocks()
    data = rows_of(kind(blocks))
    assert len(data) == N
    taken = data.take(rows)
    assert len(taken) == 3
    for found, block in zip(taken, blocks, strict=True):
        np.testing.assert_array_equal(found, block[rows])


@pytest.mark.parametrize("kind", [Tuples, Tensors])
def test_the_first_sample_of_a_dataset_makes_blocks_of_one_row(kind):
    blocks = make_blocks()
    for found, block in zip(Rows(kind(blocks)).first(), blocks, strict=True):
        np.testing.assert_array_equal(found, block[:1])


@pytest.mark.parametrize("kind", [Dicts, ManyDicts])
def test_the_first_sample_of_a_dataset_of_dicts_has_the_names(kind):
    blocks = make_blocks()
    first = Rows(kind(blocks)).first()
    assert list(first) == ["m0", "m1", "m2"]
    for found, block in zip(first.values(), blocks, strict=True):
        np.testing.assert_array_equal(found, block[:1])


def test_a_dataset_without_samples_is_refused():
    with pytest.raises(ValueError, match="0 samples"):
        Rows(Tuples([np.zeros((0, 3))])).first()


class Changed(Dicts):
    """Dataset of dicts, or of tuples, whose sample 7 is changed."""

    def __init__(self, blocks, change, named=True):
        super().__init__(blocks)
        self.change, self.named = change, named

    def __getitem__(self, index):
        item = super().__getitem__(index)
        if index == 7:
            self.change(item)
        return item if self.named else tuple(item.values())


def drop(item):
    del item["m1"]


def cut(item):
    item["m0"] = item["m0"][:3]


def spoil(item):
    item["m2"] = np.where(np.arange(6) == 2, np.nan, item["m2"])


@pytest.mark.parametrize(
    ("change", "named", "message"),
    [
        (drop, True, r"sample 7 .* modalities \['m0', 'm2'\], and not .*'m1'"),
        (drop, False, r"sample 7 .* modalities \[0, 1\], and not \[0, 1, 2\]"),
        (cut, True, r"modality 'm0': sample 7 .* shape \(3,\), and sample 5 \(5,\)"),
        (spoil, True, r"modality 'm2': sample 7 .* NaN or infinite"),
        (spoil, False, r"modality 2: sample 7 .* NaN or infinite"),
    ],
)
def test_a_sample_of_a_dataset_that_does_not_fit_is_named(change, named, message):
    dataset = Changed(make_blocks(), change, named)
    rows = rows_of(dataset) if named else Rows(dataset)
    with pytest.raises(ValueError, match=message):
        rows.take(slice(5, 10))
    rows.take(np.array([5, 6, 8]))


def test_tensors_of_a_dataset_may_have_gradients():
    class Learned(Tuples):
        def __getitem__(self, index):
            item = super().__getitem__(index)
            return [torch.tensor(value, requires_grad=True) for value in item]

    blocks = make_blocks()
    rows = Rows(Learned(blocks))
    for found, block in zip(rows.first(), blocks, strict=True):
        np.testing.assert_array_equal(found, block[:1])
    for found, block in zip(rows.take(slice(3)), blocks, strict=True):
        np.testing.assert_array_equal(found, block[:3])


def test_modalities_of_dicts_are_read_in_the_order_that_was_set():
    blocks = make_blocks()
    rows = rows_of(Dicts(blocks))
    rows.reorder(["m2", "m0", "m1"])
    for found, v in zip(rows.take(np.arange(4)), [2, 0, 1], strict=True):
        np.testing.assert_array_equal(found, blocks[v][:4])
    rows.reorder(["text", "image", "sound"])  # names of other data are ignored
    np.testing.assert_array_equal(rows.take(np.arange(4))[0], blocks[2][:4])


def test_the_dtype_of_rows_is_common_to_all_blocks():
    single, double = make_blocks(np.float32), make_blocks()
    assert Rows(single).dtype == np.float32
    assert Rows([single[0], double[1]]).dtype == np.float64
    assert Rows(Tuples(double)).dtype == np.float32


def test_a_mask_that_is_all_true_is_no_mask():
    assert Rows(make_blocks(), np.ones((N, 3), bool)).observed is None
    np.testing.assert_array_equal(
        Rows(make_blocks(), make_observed()).observed, make_observed()
    )


# Preparation


def prepare(blocks, how, observed=None):
    rows = Rows(blocks, observed)
    shapes = [block.shape[1:] for block in blocks]
    preparation = Preparation.fit(rows, [how] * len(blocks), shapes)
    return preparation, preparation(rows.take(slice(None)), observed)


def mean_variance(block):
    """Compute the mean of the variances of the features."""
    flat = block.reshape(len(block), -1)
    return np.mean((flat - flat.mean(axis=0)) ** 2)


@pytest.mark.parametrize("how", ["block", "standard", "l2", "auto"])
def test_scaled_modalities_have_a_mean_variance_of_one(how):
    _, prepared = prepare(make_blocks(), how)
    for block, shape in zip(prepared, SHAPES, strict=True):
        assert block.shape == (N, *shape)
        assert mean_variance(block) == pytest.approx(1)


@pytest.mark.parametrize("how", ["block", "standard"])
def test_scaled_features_have_mean_zero(how):
    for block in prepare(make_blocks(), how)[1]:
        np.testing.assert_allclose(block.mean(axis=0), 0, atol=1e-12)


def test_without_scaling_values_stay_as_they_are():
    blocks = make_blocks()
    for block, prepared in zip(blocks, prepare(blocks, None)[1], strict=True):
        np.testing.assert_array_equal(prepared, block)


def test_whole_numbers_are_prepared_as_floats():
    images = rng().integers(0, 256, (N, 2, 3)).astype(np.uint8)
    (prepared,) = prepare([images], "standard")[1]
    (as_floats,) = prepare([images.astype(np.float32)], "standard")[1]
    assert mean_variance(prepared) == pytest.approx(1, rel=1e-5)
    np.testing.assert_array_equal(prepared, as_floats)


@pytest.mark.parametrize("how", ["block", "standard", "l2", None])
def test_sparse_blocks_are_prepared_as_dense_ones_but_not_centred(how):
    block = make_blocks()[2]
    (from_dense,) = prepare([block], how)[1]
    (from_sparse,) = prepare([sparse.csr_matrix(block)], how)[1]
    assert isinstance(from_sparse, np.ndarray)
    if how in ("block", "standard"):
        from_sparse = from_sparse - from_sparse.mean(axis=0)
    np.testing.assert_allclose(from_sparse, from_dense, atol=1e-12)


def test_constant_modalities_are_prepared_without_warnings():
    for how in ("block", "standard", "l2"):
        (prepared,) = prepare([np.ones((N, 4))], how)[1]
        assert np.isfinite(prepared).all()
        assert mean_variance(prepared) == pytest.approx(0)


@pytest.mark.parametrize("how", ["block", "standard", "l2"])
def test_missing_rows_become_zeros_and_are_not_fitted_on(how):
    blocks, observed = make_blocks(), make_observed()
    changed = [block.copy() for block in blocks]
    for block, seen in zip(changed, observed.T, strict=True):
        block[~seen] = 1e6
    _, prepared = prepare(blocks, how, observed)
    _, others = prepare(changed, how, observed)
    for block, other, seen in zip(prepared, others, observed.T, strict=True):
        np.testing.assert_array_equal(block[~seen], 0)
        np.testing.assert_array_equal(block, other)
        assert mean_variance(block[seen]) == pytest.approx(1)


@pytest.mark.parametrize("how", ["block", "l2", None])
def test_preparing_does_not_change_the_data(how):
    blocks = make_blocks()
    prepare(blocks, how, make_observed())
    for block, original in zip(blocks, make_blocks(), strict=True):
        np.testing.assert_array_equal(block, original)


@pytest.mark.parametrize("kind", DATASETS)
def test_a_dataset_is_prepared_as_its_blocks_are(kind):
    blocks = make_blocks()
    preparation = Preparation.fit(rows_of(kind(blocks)), ["block"] * 3, SHAPES)
    _, expected = prepare(blocks, "block")
    for found, block in zip(preparation(blocks, None), expected, strict=True):
        np.testing.assert_allclose(found, block)


# Batches


def make_rows(kind, observed, tmp_path):
    blocks = make_blocks()
    match kind:
        case "sparse":
            blocks[0] = sparse.csr_matrix(blocks[0])
            blocks[2] = sparse.csr_matrix(blocks[2])
        case "mapped":
            for v, block in enumerate(blocks):
                np.save(tmp_path / f"{v}.npy", block)
            blocks = [np.load(tmp_path / f"{v}.npy", mmap_mode="r") for v in range(3)]
        case "dataset":
            blocks = Tuples(blocks)
    return Rows(blocks, observed)


def assert_same_batch(ours, others):
    for a, b in zip(ours.inputs, others.inputs, strict=True):
        torch.testing.assert_close(a, b)
    if others.observed is None:
        assert ours.observed is None
    else:
        assert torch.equal(ours.observed, others.observed)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("missing", [False, True])
@pytest.mark.parametrize("kind", ["arrays", "sparse", "mapped", "dataset"])
def test_streamed_data_give_the_batches_of_resident_data(
    kind, missing, dtype, tmp_path, monkeypatch
):
    rows = make_rows(kind, make_observed() if missing else None, tmp_path)
    preparation = Preparation.fit(rows, ["block", "l2", "standard"], SHAPES)
    resident = Batches(rows, preparation, dtype=dtype)
    taken = []
    monkeypatch.setattr(_data, "RESIDENT_BYTES", 0)
    monkeypatch.setattr(_data, "RELEASE_INTERVAL_BYTES", 0)
    take = rows.take
    monkeypatch.setattr(rows, "take", lambda rows: taken.append(rows) or take(rows))
    streamed = Batches(rows, preparation, dtype=dtype)
    assert not taken  # nothing is read before it is asked for
    some = np.array([4, 0, 22, 4])
    for which in (some, torch.from_numpy(some), slice(2, 9), slice(None)):
        batch = streamed.batch(which)
        assert_same_batch(batch, resident.batch(which))
        assert all(x.dtype == dtype for x in batch.inputs)
        assert [x.shape[1:] for x in batch.inputs] == SHAPES
    assert len(taken) == 4
    chunks = zip(streamed.chunks(10), resident.chunks(10), strict=True)
    for (where, batch), (expected, other) in chunks:
        assert where == expected
        assert_same_batch(batch, other)


def test_small_data_are_read_once(monkeypatch):
    rows = Rows(make_blocks())
    batches = Batches(rows, Preparation.fit(rows, ["block"] * 3, SHAPES))
    monkeypatch.setattr(rows, "take", None)
    assert len(batches.batch(slice(0, 5)).inputs[0]) == 5


def test_chunks_cover_all_samples_in_order():
    rows = Rows(make_blocks(), make_observed())
    batches = Batches(rows, Preparation.fit(rows, ["block"] * 3, SHAPES))
    chunks = list(batches.chunks(10))
    assert [(r.start, r.stop) for r, _ in chunks] == [(0, 10), (10, 20), (20, 23)]
    everything = batches.batch(slice(None))
    for v in range(3):
        together = torch.cat([batch.inputs[v] for _, batch in chunks])
        assert torch.equal(together, everything.inputs[v])


def test_a_sample_is_one_tensor_per_modality():
    rows = Rows(make_blocks())
    batches = Batches(rows, Preparation.fit(rows, ["block"] * 3, SHAPES))
    assert len(batches) == N
    for x, every in zip(batches[7], batches.batch(slice(None)).inputs, strict=True):
        assert torch.equal(x, every[7])


# Shuffling


def shuffled(batch_size, seed=0):
    """Make an epoch whose only modality is the position of the sample."""
    rows = Rows([np.arange(N, dtype=float)[:, None]])
    batches = Batches(rows, Preparation.fit(rows, [None], [(1,)]))
    return ShuffledBatches(batches, batch_size, torch.Generator().manual_seed(seed))


def numbers(epoch):
    return [batch.inputs[0].flatten().int().tolist() for batch in epoch]


@pytest.mark.parametrize("batch_size", [1, 5, 7, 22, 23])
def test_an_epoch_reads_samples_once_and_drops_the_incomplete_batch(batch_size):
    epoch = shuffled(batch_size)
    found = numbers(epoch)
    assert len(found) == len(epoch) == N // batch_size
    assert {len(batch) for batch in found} == {batch_size}
    taken = list(chain(*found))
    assert len(taken) == len(set(taken))
    assert set(taken) <= set(range(N))


def test_the_only_batch_is_kept_if_incomplete():
    (batch,) = numbers(shuffled(100))
    assert sorted(batch) == list(range(N))


def test_every_epoch_has_another_order_and_every_seed_its_own():
    epoch = shuffled(5)
    first, second = numbers(epoch), numbers(epoch)
    assert first != second
    assert numbers(shuffled(5)) == first
    assert numbers(shuffled(5, seed=1)) != first
    dropped = [set(range(N)) - set(chain(*e)) for e in (first, second)]
    assert dropped[0] != dropped[1]


def test_modalities_and_mask_are_shuffled_alike():
    numbers = np.arange(N, dtype=float)[:, None]
    observed = np.ones((N, 2), bool)
    observed[::3, 1] = False
    rows = Rows([numbers, numbers + 100], observed)
    batches = Batches(rows, Preparation.fit(rows, [None, None], [(1,), (1,)]))
    for first, (inputs, mask, _) in enumerate(
        ShuffledBatches(batches, 5, torch.Generator().manual_seed(0))
    ):
        own = inputs[0].flatten()
        assert first < 4
        assert torch.equal(mask[:, 1], own % 3 != 0)
        expected = torch.where(mask[:, 1], own + 100, 0)
        assert torch.equal(inputs[1].flatten(), expected)
