"""Damaged and crafted npz files are refused, or load with the saved data."""

import errno
import io
import os
import struct
import subprocess
import sys
import textwrap
import zipfile

import numpy as np
import pytest
from scipy import sparse

from mmfusion import Modalities, _memory
from mmfusion.datasets import load_npz, save_npz

EYE = np.eye(2)


@pytest.fixture
def saved(tmp_path):
    """Save a file with every kind of array; return its path and the saved data."""
    rng = np.random.default_rng(0)
    X = Modalities(
        {
            "dense": rng.normal(size=(6, 2)),
            "sparse": sparse.csr_array(rng.random((6, 5)) * (rng.random((6, 5)) < 0.4)),
            "sequences": [None, *(rng.normal(size=(n, 2)) for n in (3, 1, 2, 4, 1))],
        }
    )
    path = tmp_path / "file.npz"
    save_npz(path, X, np.arange(6) % 2, target_names=["no", "yes"], source="ours")
    return path, load_npz(path)


def refused_or_equal(path, content, expected):
    """Load a file with this content; return whether it was refused."""
    path.write_bytes(content)
    refusal = None
    try:
        loaded = load_npz(path)
    except ValueError as error:
        refusal = str(error)
    if refusal is not None:
        assert str(path) in refusal
        assert "allow_pickle" not in refusal
        return True
    assert loaded.data == expected.data
    np.testing.assert_array_equal(loaded.target, expected.target)
    np.testing.assert_array_equal(loaded.target_names, expected.target_names)
    assert loaded.source == expected.source
    assert loaded.extra == expected.extra
    return False


def check_flipped_bits(saved, n_flips, n_bits):
    path, expected = saved
    content = path.read_bytes()
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(n_flips):
        damaged = bytearray(content)
        for position in rng.integers(8 * len(content), size=n_bits).tolist():
            damaged[position // 8] ^= 1 << position % 8
        refused += refused_or_equal(path, bytes(damaged), expected)
    assert refused > n_flips / 2


@pytest.mark.parametrize("n_bits", [1, 8])
def test_flipped_bits_are_refused_or_change_nothing(saved, n_bits):
    check_flipped_bits(saved, 300, n_bits)


@pytest.mark.slow
@pytest.mark.parametrize("n_bits", [1, 2, 64])
def test_many_flipped_bits_are_refused_or_change_nothing(saved, n_bits):
    check_flipped_bits(saved, 10_000, n_bits)


def test_a_flipped_bit_in_the_directory_of_a_file_is_refused_or_changes_nothing(saved):
    path, expected = saved
    content = path.read_bytes()
    start = content.index(b"PK\1\2")
    for position in range(start, len(content)):
        damaged = bytearray(content)
        damaged[position] ^= 1 << position % 8
        refused_or_equal(path, bytes(damaged), expected)


def test_a_file_cut_short_is_refused(saved):
    path, expected = saved
    content = path.read_bytes()
    for length in range(0, len(content), 97):
        assert refused_or_equal(path, content[:length], expected)


@pytest.mark.parametrize(
    "content", [b"", b"PK", bytes(range(256)), b"\0" * 5000, b"PK\5\6" + bytes(18)]
)
def test_other_files_are_refused(tmp_path, content):
    (tmp_path / "file.npz").write_bytes(content)
    with pytest.raises(ValueError, match=r"file\.npz"):
        load_npz(tmp_path / "file.npz")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes")
def test_pipes_and_folders_are_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path):
        with pytest.raises(ValueError, match=f"{path} is not an npz file"):
            load_npz(path)


CSR = {
    "view_0_data": np.ones(3),
    "view_0_indices": np.array([0, 1, 0]),
    "view_0_indptr": np.array([0, 1, 2, 3]),
    "view_0_shape": np.array([3, 2]),
}


@pytest.mark.parametrize(
    "part",
    [
        {"indices": [0, 10**6, 0]},
        {"indices": [0, -1, 0]},
        {"indices": [0, 2**62, 0]},
        {"indices": np.array([0, 2**64 - 1, 0], dtype=np.uint64)},
        {"indices": np.array([0, 2**32 + 1, 0], dtype=np.uint64)},
        {"indices": [0.0, 1.0, 0.0]},
        {"indices": [[0, 1, 0]]},
        {"indices": [0, 1]},
        {"indptr": [0, 1, 2, 10**9]},
        {"indptr": [0, 2, 1, 3]},
        {"indptr": [-5, 1, 2, 3]},
        {"indptr": [1, 1, 2, 3]},
        {"indptr": [0, 2**40, 2, 3]},
        {"indptr": [0, 3]},
        {"indptr": []},
        {"data": ["a", "b", "c"]},
        {"data": np.ones((3, 1))},
        {"data": 1.0},
        {"shape": [10**9, 2]},
        {"shape": [2, 2]},
        {"shape": [3, 1]},
        {"shape": [3, -2]},
        {"shape": [3, 2, 1]},
        {"shape": []},
        {"shape": np.array([3, 2**64 - 1], dtype=np.uint64)},
        {"shape": [3.0, 2.0]},
    ],
)
def test_csr_arrays_that_reach_outside_are_refused(tmp_path, part):
    path = tmp_path / "file.npz"
    np.savez(path, **CSR)
    np.testing.assert_array_equal(
        load_npz(path).data.blocks[0].toarray(), [[1, 0], [0, 1], [1, 0]]
    )
    ((name, values),) = part.items()
    np.savez(path, **{**CSR, f"view_0_{name}": values})
    with pytest.raises(ValueError, match=r"file\.npz: view_0"):
        load_npz(path)


@pytest.mark.parametrize(
    "lengths",
    [
        [2**62] * 4 + [10],
        [2**63 - 1, 2, 10],
        np.array([2**64 - 1, 1, 10], dtype=np.uint64),
        np.array([2**63, 2**63, 10], dtype=np.uint64),
        [-(2**63), 10],
    ],
)
@pytest.mark.parametrize("suffix", ["", "_0"])
def test_lengths_that_overflow_are_refused(tmp_path, lengths, suffix):
    arrays = {f"frames{suffix}": np.ones((10, 2)), f"lengths{suffix}": lengths}
    np.savez(tmp_path / "file.npz", **arrays)
    with pytest.raises(ValueError, match=r"file\.npz: lengths.* has values from"):
        load_npz(tmp_path / "file.npz")


def test_lengths_of_a_small_type_are_summed_without_overflow(tmp_path):
    lengths = np.full(5, 100, dtype=np.int8)
    np.savez(tmp_path / "file.npz", frames=np.ones((500, 2)), lengths=lengths)
    assert load_npz(tmp_path / "file.npz").data.shape == (5, 1)


def npy(shape, dtype="<f8", data=b"", header=None):
    """Return the bytes of an npy file with a given header."""
    text = header or f"{{'descr': {dtype!r}, 'fortran_order': False, 'shape': {shape}}}"
    return b"\x93NUMPY\1\0" + struct.pack("<H", len(text)) + text.encode() + data


def zipped(path, member, name="view_0.npy", **options):
    with zipfile.ZipFile(path, "w", **options) as archive:
        archive.writestr(name, member)
    return path


@pytest.mark.parametrize(
    "member",
    [
        npy((10**12, 1)),
        npy((2**62, 2**62)),
        npy((-1, -2), data=bytes(16)),
        npy((10**15, 0)),
        npy((10**15,), dtype="<U0"),
        npy((3,), data=bytes(25)),
        npy((2, 2), dtype="|O", data=bytes(32)),
        npy((1, 4), dtype="|b1", data=bytes([0, 1, 2, 255])),
        npy((1, 1), dtype="<U1", data=b"\xff\xff\xff\xff"),
        npy((1, 1), dtype=">U1", data=b"\x00\x00\xd8\x00"),
        npy(None, header="{'descr': '<f8'}"),
        npy(None, header="[" * 3000),
        npy(None, header="__import__('os').remove('x')"),
        npy(None, header="{'descr': '<f8', 'fortran_order': 0, 'shape': 'x'}"),
        npy((True,), dtype="no type"),
        b"\x93NUMPY\7\0",
        b"\x93NUMPY\2\0\xff\xff\xff\xff",
        b"",
        b"not an array",
    ],
)
def test_stated_sizes_are_checked_before_memory_is_allocated(tmp_path, member):
    path = zipped(tmp_path / "file.npz", member)
    with pytest.raises(ValueError, match=r"file\.npz: 'view_0' cannot be read"):
        load_npz(path)


def test_members_that_are_no_arrays_are_refused(tmp_path):
    path = zipped(tmp_path / "file.npz", b"text", name="README")
    with pytest.raises(
        ValueError, match=r"file\.npz .*'README', which is not an array"
    ):
        load_npz(path)
    zipped(path, npy((1, 1), data=bytes(8)), compression=zipfile.ZIP_LZMA)
    with pytest.raises(ValueError, match=r"file\.npz .*compressed in another way"):
        load_npz(path)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_arrays_with_the_same_name_are_refused(tmp_path):
    path = tmp_path / "file.npz"
    with zipfile.ZipFile(path, "w") as archive:
        for _ in range(2):
            archive.writestr("view_0.npy", npy((1, 1), data=bytes(8)))
    with pytest.raises(ValueError, match="two arrays with the same name"):
        load_npz(path)


def patched(content, signature, offset, code, value):
    """Return the bytes of a zip file with a field of every record changed."""
    content = bytearray(content)
    start = content.find(signature)
    while start >= 0:
        struct.pack_into(code, content, start + offset, value)
        start = content.find(signature, start + 1)
    return bytes(content)


@pytest.mark.parametrize("size", [10**9, 2**32 - 2])
def test_sizes_that_a_zip_file_cannot_hold_are_refused(tmp_path, size):
    file = io.BytesIO()
    zipped(file, npy((size // 8, 1)), compression=zipfile.ZIP_DEFLATED)
    content = patched(file.getvalue(), b"PK\1\2", 24, "<L", size)
    (tmp_path / "file.npz").write_bytes(content)
    with pytest.raises(ValueError, match=rf"file\.npz .*states {size} bytes"):
        load_npz(tmp_path / "file.npz")


def test_members_that_share_their_bytes_are_refused(tmp_path):
    file = io.BytesIO()
    zipped(file, npy((1, 1), data=bytes(8)))
    content = patched(file.getvalue(), b"PK\1\2", 20, "<L", 10**6)
    (tmp_path / "file.npz").write_bytes(content)
    with pytest.raises(ValueError, match=r"file\.npz .*state more than its \d+ bytes"):
        load_npz(tmp_path / "file.npz")


@pytest.mark.skipif(sys.platform != "linux", reason="limits of Linux")
def test_an_array_larger_than_memory_is_refused_by_name(tmp_path):
    script = """
        import resource, sys
        from pathlib import Path
        from mmfusion.datasets import load_npz

        used = int(Path("/proc/self/statm").read_text().split()[0])
        limit = used * resource.getpagesize() + 2**26
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        try:
            load_npz(sys.argv[1])
        except ValueError as error:
            print(error)
    """
    member = npy((2**24, 1), data=bytes(2**27))
    path = zipped(tmp_path / "file.npz", member, compression=zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 2**18
    command = [sys.executable, "-c", textwrap.dedent(script), str(path)]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "file.npz: 'view_0' cannot be read: " in result.stdout
    assert "MemoryError" in result.stdout


def test_a_file_larger_than_memory_is_refused_before_it_is_read(saved, monkeypatch):
    path, _ = saved
    monkeypatch.setattr(_memory, "available_bytes", lambda: 100)
    monkeypatch.setattr(_memory, "UNCHECKED_BYTES", 100)
    with pytest.raises(ValueError, match=r"file\.npz cannot be read: .*of memory"):
        load_npz(path)


@pytest.mark.parametrize("old", [True, False])
def test_a_full_disk_leaves_the_old_file(small_disk, old):
    path = small_disk / "file.npz"
    if old:
        save_npz(path, [EYE])
    noise = np.random.default_rng(0).normal(size=(1000, 100))
    with pytest.raises(OSError, match=r"file\.npz'.*the disk is full; free") as caught:
        save_npz(path, [noise])
    assert caught.value.errno == errno.ENOSPC
    assert os.listdir(small_disk) == ["file.npz"] * old
    if old:
        np.testing.assert_array_equal(load_npz(path).data.blocks[0], EYE)


@pytest.mark.skipif(os.name == "nt", reason="no SIGKILL")
def test_a_killed_save_leaves_the_old_file_or_the_new(tmp_path):
    script = """
        import os, sys
        import numpy as np
        from mmfusion.datasets import load_npz, save_npz

        X = [np.random.default_rng(0).normal(size=(200, 100))]
        write_array = np.lib.format.write_array

        def killed(*arguments, **options):
            write_array(*arguments, **options)
            os.kill(os.getpid(), 9)

        np.lib.format.write_array = killed
        save_npz(sys.argv[1], X)
    """
    path = tmp_path / "file.npz"
    save_npz(path, [EYE])
    command = [sys.executable, "-c", textwrap.dedent(script), str(path)]
    assert subprocess.run(command, check=False).returncode == -9
    np.testing.assert_array_equal(load_npz(path).data.blocks[0], EYE)
