"""Finished cells stay on disk, and are used again only for what they were."""

import importlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from doubles import Counting, Failing, Sleeping, count
from numpy.testing import assert_array_equal
from pandas.testing import assert_frame_equal

from mmfusion import Modalities
from mmfusion.benchmark import _store as store
from mmfusion.benchmark import compare
from mmfusion.datasets import make_multimodal_blobs


@pytest.fixture
def log(tmp_path):
    return str(tmp_path / "log.txt")


def cells(out):
    return sorted((Path(out) / "cells").iterdir())


def test_an_interrupted_run_loses_the_running_cell_only(
    halves, log, tmp_path, monkeypatch
):
    def run():
        methods = {"a": Counting(log), "b": Counting(log)}
        return compare(methods, {"halves": halves}, n_repeats=3, out=tmp_path)

    monkeypatch.setattr(Counting, "interrupt_at", 5)
    with pytest.raises(KeyboardInterrupt):
        run()
    monkeypatch.undo()
    assert count(log) == len(cells(tmp_path)) == 4
    assert (run().frame["status"] == "ok").all()
    assert count(log) == 6


def test_the_same_call_again_runs_nothing_and_finds_the_same(halves, log, tmp_path):
    def run():
        methods = {"a": Counting(log)}
        return compare(methods, {"halves": halves}, n_repeats=3, out=tmp_path)

    first, second = run(), run()
    assert count(log) == 3
    assert_frame_equal(first.frame, second.frame)


SCRIPT = """
from doubles import Sleeping
from mmfusion.benchmark import compare
from mmfusion.datasets import make_multimodal_blobs
X, y = make_multimodal_blobs(30, random_state=0)
data = {"blobs": (X, y)}
frame = compare(
    {"a": Sleeping(LOG)}, data, n_repeats=6, out=OUT
).frame
assert (frame["status"] == "ok").all() and len(frame) == 6
"""


def test_a_killed_run_is_taken_up_by_the_same_command(log, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(f"LOG = {log!r}\nOUT = {str(tmp_path)!r}\n{SCRIPT}")
    folders = [str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, folders))}
    command = [sys.executable, str(script)]
    whole = compare(
        {"a": Counting(str(tmp_path / "other.txt"))},
        {"blobs": make_multimodal_blobs(30, random_state=0)},
        n_repeats=6,
    )
    process = subprocess.Popen(command, env=environment)
    deadline = time.monotonic() + 60
    while count(log) < 3 and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM if os.name == "nt" else signal.SIGKILL)
    assert process.wait() != 0
    kept = len(list((tmp_path / "cells").glob("*.json")))
    assert kept >= 2
    done = count(log)
    subprocess.run(command, env=environment, check=True)
    assert count(log) - done == 6 - kept
    taken_up = compare(
        {"a": Sleeping(log)},
        {"blobs": make_multimodal_blobs(30, random_state=0)},
        n_repeats=6,
        out=tmp_path,
    )
    assert count(log) - done == 6 - kept
    times = ["fit_seconds", "cpu_seconds", "peak_memory_mb"]
    assert_frame_equal(
        taken_up.frame.drop(columns=times), whole.frame.drop(columns=times)
    )


def with_noise(X, y):
    blocks = X.to_dict()
    return Modalities({**blocks, "noise": blocks["noise"] + 1e-9}), y


@pytest.mark.parametrize(
    ("change", "n_fits"),
    [
        pytest.param({}, 0, id="nothing"),
        pytest.param({"option": 2}, 2, id="parameter"),
        pytest.param({"option": 1.0}, 2, id="type of a parameter"),
        pytest.param({"data": with_noise}, 2, id="data"),
        pytest.param(
            {"data": lambda X, y: (X[["noise", "clear"]], y)}, 2, id="modalities"
        ),
        pytest.param({"data": lambda X, y: (X, np.roll(y, 1))}, 2, id="classes"),
        pytest.param({"data_name": "other"}, 2, id="name of the data"),
        pytest.param({"method_name": "other"}, 2, id="name of the method"),
        pytest.param({"random_state": 1}, 2, id="seeds"),
        pytest.param({"n_repeats": 3}, 1, id="one more repeat"),
        pytest.param({"metrics": ["purity", "modality_silhouette"]}, 0, id="metrics"),
        pytest.param({"n_jobs": 2}, 0, id="workers"),
    ],
)
def test_a_cell_is_used_again_only_for_what_it_was(
    halves, log, tmp_path, change, n_fits
):
    def run(
        option=1,
        data=lambda X, y: (X, y),
        data_name="halves",
        method_name="a",
        n_repeats=2,
        **options,
    ):
        estimators = {method_name: Counting(log, option=option)}
        datasets = {data_name: data(*halves)}
        compare(
            estimators, datasets, n_repeats=n_repeats, out=tmp_path / "out", **options
        )

    run()
    before = count(log)
    run(**change)
    assert count(log) - before == n_fits


def test_another_version_of_the_package_runs_again(halves, log, tmp_path, monkeypatch):
    def run():
        compare({"a": Counting(log)}, {"halves": halves}, n_repeats=1, out=tmp_path)

    run()
    versions = store.code_versions() | {"mmfusion": "99"}
    monkeypatch.setattr("mmfusion.benchmark._compare.code_versions", lambda: versions)
    run()
    assert count(log) == 2


def test_a_class_that_was_edited_runs_again(halves, tmp_path, monkeypatch):
    module = tmp_path / "edited_clusterer.py"
    code = "from doubles import ByPosition\nclass Mine(ByPosition):\n    note = {}\n"
    monkeypatch.syspath_prepend(tmp_path)
    files = []
    for note in ("1", "1", "'a longer note'"):
        module.write_text(code.format(note))
        importlib.invalidate_caches()
        sys.modules.pop("edited_clusterer", None)
        mine = importlib.import_module("edited_clusterer").Mine
        compare({"mine": mine()}, {"halves": halves}, n_repeats=1, out=tmp_path)
        files.append(len(cells(tmp_path)))
    sys.modules.pop("edited_clusterer")
    assert files == [1, 1, 2]


def test_a_package_in_development_is_known_by_its_sources(tmp_path, monkeypatch):
    package = tmp_path / "unfinished"
    package.mkdir()
    (package / "__init__.py").write_text("__version__ = '1.0.dev0'")
    (package / "helpers.py").write_text("x = 1")
    monkeypatch.syspath_prepend(tmp_path)
    importlib.import_module("unfinished")
    store._package_version.cache_clear()
    first = store._package_version("unfinished")
    (package / "helpers.py").write_text("x = 2")
    store._package_version.cache_clear()
    assert store._package_version("unfinished") != first
    assert store._package_version("numpy") == np.__version__


def test_arrays_as_parameters_are_distinguished_where_their_repr_is_equal():
    a, b = np.zeros(10_000), np.zeros(10_000)
    b[5_000] = 1
    assert repr(a) == repr(b)
    assert store.describe_parameter({"weights": a}) != store.describe_parameter(
        {"weights": b}
    )
    assert store.describe_parameter({"weights": a}) == store.describe_parameter(
        {"weights": a.copy()}
    )


def test_functions_as_parameters_are_distinguished_by_their_code():
    def make(code):
        if code:
            return lambda x: x + 1
        return lambda x: x + 2

    assert store.describe_parameter(make(True)) == store.describe_parameter(make(True))
    assert store.describe_parameter(make(True)) != store.describe_parameter(make(False))


def test_failures_are_kept_unless_they_are_retried(halves, tmp_path):
    def run(**options):
        methods = {"bad": Failing(always=True)}
        return compare(
            methods, {"halves": halves}, n_repeats=2, out=tmp_path, **options
        )

    first = run()
    assert_frame_equal(first.frame, run().frame)
    times = [os.stat(file).st_mtime_ns for file in cells(tmp_path)]
    again = run(retry_failed=True)
    assert (again.frame["status"] == "failed").all()
    assert all(
        os.stat(file).st_mtime_ns > then
        for file, then in zip(cells(tmp_path), times, strict=True)
    )
    cell = json.loads(cells(tmp_path)[0].read_text())
    assert "the method broke" in cell["outcome"]["traceback"]


def test_labels_are_stored_in_the_order_of_the_data(halves, log, tmp_path):
    compare({"a": Counting(log)}, {"halves": halves}, n_repeats=2, out=tmp_path)
    for file in cells(tmp_path):
        labels = json.loads(file.read_text())["outcome"]["labels"]
        assert_array_equal(labels, halves[1])


def test_a_cell_that_cannot_be_written_leaves_nothing_behind(tmp_path):
    identity = {"dataset": "d", "method": "m", "repeat": 0}
    kept = store.CellStore(tmp_path)
    with pytest.raises(TypeError):
        kept.write(identity, {"labels": object()})
    assert list(tmp_path.iterdir()) == []
    assert kept.read(identity, 1) is None
