"""Memory maps: read in pieces, with the results of arrays."""

import numpy as np
import pytest

from mmfusion import EarlyFusionClusterer, Modalities, _pieces


@pytest.fixture
def mapped(tmp_path, monkeypatch):
    """Map an array from a file that is read two rows at a time."""

    def as_map(array):
        monkeypatch.setattr(_pieces, "PIECE_BYTES", 2 * array[0].nbytes)
        path = tmp_path / "block.npy"
        np.save(path, array)
        return np.load(path, mmap_mode="r")

    return as_map


@pytest.mark.parametrize("shape", [(7, 3), (7, 2, 3), (1, 3)])
def test_pieces_of_a_mapped_file_are_all_of_it(mapped, shape):
    array = np.arange(np.prod(shape), dtype=float).reshape(shape)
    block = mapped(array)
    pieces = [block[rows].copy() for rows in _pieces.pieces(block)]
    assert max(map(len, pieces)) <= 2
    np.testing.assert_array_equal(np.concatenate(pieces), array)


def test_an_array_in_memory_is_one_piece():
    assert [len(np.ones(7)[rows]) for rows in _pieces.pieces(np.ones(7))] == [7]


def test_missing_samples_of_a_mapped_file_are_found(mapped):
    array = np.ones((7, 3))
    array[[2, 5]] = np.nan
    array[3, 0] = np.nan
    observed = Modalities([mapped(array)]).observed[:, 0]
    assert observed.tolist() == [True, True, False, True, True, False, True]


@pytest.mark.parametrize("sample", [0, 4, 6])
@pytest.mark.parametrize(("value", "name"), [(np.nan, "NaN"), (np.inf, "infinity")])
def test_the_position_of_a_single_nan_in_a_mapped_file_is_reported(
    mapped, sample, value, name
):
    array = np.ones((7, 3))
    array[sample, 1] = value
    with pytest.raises(ValueError, match=f"sample {sample}, feature 1 is {name}"):
        EarlyFusionClusterer(n_clusters=2).fit([mapped(array), np.ones((7, 2))])
