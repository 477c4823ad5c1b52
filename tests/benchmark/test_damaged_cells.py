"""Cells on disk that are damaged, foreign or cannot be written."""

import errno
import json
import os
import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest
from doubles import Counting, Double, count
from pandas.testing import assert_frame_equal

from mmfusion.benchmark import compare
from mmfusion.benchmark._store import CellStore, _content_hash


@pytest.fixture
def run(halves, tmp_path):
    """Run one cell, or take it from the folder; return the comparison's frame."""

    def run(method="a", n_repeats=1, folder=tmp_path / "out"):
        methods = {method: Counting(str(tmp_path / "log.txt"))}
        data = {"halves": halves}
        options = dict(out=folder)
        return compare(methods, data, "adjusted_rand", n_repeats, **options).frame

    return run


@pytest.fixture
def n_fits(tmp_path):
    return lambda: count(tmp_path / "log.txt")


def only_cell(folder):
    (file,) = (Path(folder) / "cells").iterdir()
    return file


def same_but_for_time(a, b):
    measured = ["fit_seconds", "cpu_seconds", "peak_memory_mb"]
    assert_frame_equal(a.drop(columns=measured), b.drop(columns=measured))


def with_hash(content):
    """Content with its own hash, as only a program of ours would write it."""
    hash_ = _content_hash(content["identity"], content["outcome"])
    return json.dumps(content | {"sha256": hash_}).encode()


def changed(**entries):
    def change(content):
        return with_hash(content | {"outcome": content["outcome"] | entries})

    return change


IDENTITY = {"dataset": "d", "method": "m", "repeat": 0, "code": {"a": None}}
OUTCOME = {
    "labels": [0, 1, 2, 10, 11],
    "responses": None,
    "error": None,
    "traceback": None,
    "fit_seconds": 0.25,
    "cpu_seconds": 0.5,
    "peak_memory_mb": None,
    "warnings": ["UserWarning: once"],
}
N_SAMPLES = len(OUTCOME["labels"])


def stored(folder):
    """A store with one cell, and its file."""
    store = CellStore(folder)
    store.write(IDENTITY, OUTCOME)
    (file,) = folder.iterdir()
    return store, file


@pytest.mark.parametrize(
    "damage",
    [
        lambda _: b"",
        lambda _: b"{}",
        lambda _: b"null",
        lambda _: b"[]",
        lambda _: b"3",
        lambda _: bytes(range(256)),
        lambda _: b"[" * 100_000,
        lambda _: b"9" * 100_000,
        lambda _: b'{"identity": 1, "outcome": {}, "sha256": "x"}',
        lambda content: json.dumps(content).encode()[:100],
        lambda content: json.dumps(content | {"sha256": None}).encode(),
        lambda content: with_hash(content | {"outcome": None}),
        lambda content: with_hash(content | {"identity": {}}),
        lambda content: with_hash(
            content | {"identity": content["identity"] | {"repeat": 1}}
        ),
        changed(labels=None),
        changed(labels=[0, 1]),
        changed(labels=[0.5] * 5),
        changed(labels=["a"] * 5),
        changed(labels=[True] * 5),
        changed(labels=[10**30] * 5),
        changed(labels=[[0]] * 5),
        changed(labels={}),
        changed(labels=None, error=3),
        changed(error="failed"),
        changed(fit_seconds=None),
        changed(fit_seconds="1"),
        changed(fit_seconds=-1.0),
        changed(cpu_seconds="1"),
        changed(peak_memory_mb=[]),
        changed(peak_memory_mb=float("nan")),
        changed(warnings="w"),
        changed(warnings=[1]),
        changed(more=1),
    ],
)
def test_a_damaged_cell_is_warned_of_and_not_read(tmp_path, damage):
    store, file = stored(tmp_path)
    assert store.read(IDENTITY, N_SAMPLES) == OUTCOME
    file.write_bytes(damage(json.loads(file.read_bytes())))
    with pytest.warns(UserWarning, match=f"{file} is damaged.*run again"):
        assert store.read(IDENTITY, N_SAMPLES) is None


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"null", b"[]", bytes(range(256)), b'{"identity": {}']
)
def test_a_damaged_cell_is_run_again(run, n_fits, tmp_path, content):
    first = run()
    file = only_cell(tmp_path / "out")
    file.write_bytes(content)
    with pytest.warns(UserWarning, match=f"{file} is damaged.*run again"):
        second = run()
    assert n_fits() == 2
    same_but_for_time(first, second)
    run()
    assert n_fits() == 2


def test_the_file_of_another_cell_is_not_used(run, n_fits, tmp_path):
    run("a", folder=tmp_path / "a")
    run("b", folder=tmp_path / "b")
    shutil.copy(only_cell(tmp_path / "a"), only_cell(tmp_path / "b"))
    with pytest.warns(UserWarning, match="of another cell"):
        frame = run("b", folder=tmp_path / "b")
    assert frame["method"].tolist() == ["b"]
    assert n_fits() == 3


def check_flipped_bits(folder, n_flips, n_bits):
    store, file = stored(folder)
    content = file.read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(n_flips):
        damaged = bytearray(content)
        for position in rng.integers(8 * len(content), size=n_bits).tolist():
            damaged[position // 8] ^= 1 << position % 8
        file.write_bytes(damaged)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            found = store.read(IDENTITY, N_SAMPLES)
        assert found == OUTCOME or str(file) in str(caught[0].message)


@pytest.mark.parametrize("n_bits", [1, 8])
def test_flipped_bits_in_a_cell_are_found(tmp_path, n_bits):
    check_flipped_bits(tmp_path, 200, n_bits)


@pytest.mark.slow
@pytest.mark.parametrize("n_bits", [1, 2, 64])
def test_many_flipped_bits_in_a_cell_are_found(tmp_path, n_bits):
    check_flipped_bits(tmp_path, 5_000, n_bits)


def test_a_folder_that_cannot_be_written_is_refused_before_the_first_fit(
    run, n_fits, tmp_path
):
    (tmp_path / "file").write_bytes(b"")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(OSError, match=rf"{folder}.* give another path"):
            run(folder=folder)
    for folder in ("", "a\0b"):
        with pytest.raises(ValueError, match="out="):
            run(folder=folder)
    with pytest.raises(TypeError, match="out is a int"):
        run(folder=3)
    assert n_fits() == 0


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere"
)
def test_a_folder_without_permission_serves_to_read_only(run, n_fits, tmp_path):
    first = run()
    (tmp_path / "out" / "cells").chmod(0o500)
    assert_frame_equal(run(), first)
    with pytest.raises(PermissionError, match="no permission to write there"):
        run("b")
    assert n_fits() == 1


def test_a_disk_too_full_for_the_cells_is_refused_before_the_first_fit(
    run, n_fits, small_disk
):
    (small_disk / "large").write_bytes(bytes(280_000))
    with pytest.raises(OSError, match=r"bytes left, and the cells need") as caught:
        run(n_repeats=10, folder=small_disk)
    assert caught.value.errno == errno.ENOSPC
    assert n_fits() == 0


class Filling(Double):
    """Fills the disk at its third fit, once, and fails."""

    def __init__(self, folder):
        self.folder = folder

    def fit_predict(self, X, y=None):
        marker = Path(self.folder) / "marker"
        n_finished = len(list((Path(self.folder) / "cells").iterdir()))
        if n_finished == 2 and not marker.exists():
            marker.write_text("filled")
            (Path(self.folder) / "large").write_bytes(bytes(10**6))
        return super().fit_predict(X, y)


def test_cells_finished_before_the_disk_is_full_are_kept(halves, small_disk):
    def run():
        methods = {"a": Filling(str(small_disk))}
        options = dict(out=small_disk)
        return compare(methods, {"halves": halves}, "purity", 3, **options)

    # the third fit fails for want of space, and so does writing its cell
    with pytest.raises(OSError, match=r"\.json'.* the disk is full; free") as caught:
        run()
    assert caught.value.errno == errno.ENOSPC
    kept = sorted((small_disk / "cells").iterdir())
    assert [file.suffix for file in kept] == [".json", ".json"]
    times = [file.stat().st_mtime_ns for file in kept]
    (small_disk / "large").unlink()
    assert (run().frame["status"] == "ok").all()
    assert [file.stat().st_mtime_ns for file in kept] == times
