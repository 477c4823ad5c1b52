"""Compiled functions where nothing can be cached, and where a user interrupts."""

import errno
import importlib.util
import os
import subprocess
import sys

import pytest
from numba.core import caching

from mmfusion import _compilation

SOURCE = """
from mmfusion._compilation import compiler

@compiler()
def double(x):
    return 2 * x

@compiler()
def quadruple(x):
    return double(double(x))
"""


@pytest.fixture
def load(tmp_path, monkeypatch):
    """Import a module of compiled functions, anew each time."""
    path = tmp_path / "compiled_functions.py"
    path.write_text(SOURCE)
    monkeypatch.setattr(_compilation, "_warned", False)
    monkeypatch.setattr(caching.config, "CACHE_DIR", str(tmp_path / "cache"))

    def load():
        spec = importlib.util.spec_from_file_location(path.stem, path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load


def files_of_cache(folder):
    return [path for path in (folder / "cache").rglob("*") if path.is_file()]


def test_what_is_compiled_is_taken_from_the_cache(load, tmp_path):
    assert load().quadruple(3.0) == 12.0
    assert files_of_cache(tmp_path)
    again = load().quadruple
    assert again(3.0) == 12.0
    assert sum(again.stats.cache_hits.values()) == 1


def test_without_a_folder_for_a_cache_all_works_with_one_warning(load, monkeypatch):
    monkeypatch.setattr(caching.CompileResultCacheImpl, "_locator_classes", [])
    with pytest.warns(RuntimeWarning, match="NUMBA_CACHE_DIR") as warned:
        assert load().quadruple(3.0) == 12.0
    assert len(warned) == 1
    assert warned[0].message.args[0].count("no locator") == 1


def test_a_full_disk_costs_the_cache_alone(load, monkeypatch):
    def full(*args):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(caching.IndexDataCacheFile, "save", full)
    with pytest.warns(RuntimeWarning, match="No space left") as warned:
        assert load().quadruple(3.0) == 12.0
    assert len(warned) == 1


@pytest.mark.parametrize("content", [b"", b"\x80", bytes(range(256)), b"\0" * 4000])
@pytest.mark.parametrize("suffix", [".nbi", ".nbc"])
def test_a_damaged_cache_is_not_used(load, tmp_path, content, suffix):
    load().quadruple(3.0)
    damaged = [path for path in files_of_cache(tmp_path) if path.suffix == suffix]
    assert damaged
    for path in damaged:
        path.write_bytes(content)
    with pytest.warns(RuntimeWarning, match="or empty the existing one"):
        assert load().quadruple(3.0) == 12.0


INTERRUPTED = """
import signal
from operator import getitem
from numba.core.base import BaseContext
import mmfusion.alignment.dtw._lower_bounds as bounds
import numpy as np

insert, received = BaseContext.insert_func_defn, []

def interrupted(self, definitions):
    definitions = list(definitions)  # which numba now has taken off its list, for good
    if not received and any(function is getitem for _, function, _ in definitions):
        received.append(True)
        signal.raise_signal(signal.SIGINT)
    insert(self, definitions)

BaseContext.insert_func_defn = interrupted
one = np.ones(3)
try:
    bounds.excess(one, 0 * one, 0 * one, True)
except KeyboardInterrupt:
    print("interrupted")
print(bounds.excess(one, 0 * one, 0 * one, True))
assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
"""


def run(code, **environment):
    return subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


def test_ctrl_c_while_compiling_leaves_the_session_usable(tmp_path):
    done = run(INTERRUPTED, NUMBA_CACHE_DIR=str(tmp_path))
    assert done.stdout.split() == ["interrupted", "3.0"], done.stderr


USES = """
import numpy as np
from numba.core.registry import CPUDispatcher
from mmfusion import Modalities
from mmfusion.alignment import (
    CTWAligner, DTWAligner, DTWKernel, cdist_dtw, dtw_barycenter, dtw_neighbors,
    dtw_path, lb_improved, lb_keogh, soft_dtw, soft_dtw_gradient,
)
from mmfusion.alignment.dtw import (
    _costs, _limited_runs, _lower_bounds, _move_rows, _neighbors, _panels, _row_blocks,
    _soft, _windows,
)

rng = np.random.default_rng(0)
for dtype in (np.float64, np.float32):
    x, y = (rng.normal(size=(n, 6)).astype(dtype) for n in (30, 40))
    for metric in ("sqeuclidean", "euclidean", "manhattan", "cosine", "correlation"):
        for z, w in ((x, y), (x[:, :1], y[:, :1]), (x[:, :2], y[:, :2])):
            dtw_path(z, w, metric=metric)
        dtw_path(x, y, metric=metric, window="itakura")
        cdist_dtw([x, y], metric=metric)
        dtw_neighbors([x, y], metric=metric)
        soft_dtw(x, y, metric=metric)
    dtw_path(np.abs(x), metric="precomputed", step_pattern="symmetric2")
    dtw_path(x, y, step_pattern="asymmetric", open_end=True)
    dtw_path(x, y, max_jump=4, step_pattern="symmetric2")
    lb_keogh(x, y), lb_improved(x, y), soft_dtw_gradient(x, y)
    dtw_barycenter([x, y], gamma=1.0)
    X = Modalities({"a": [x, y, x], "b": [y, x, x]})
    for estimator in (DTWAligner(), DTWAligner(gamma=1.0), CTWAligner(), DTWKernel()):
        estimator.fit_transform(X)
modules = (
    _costs, _limited_runs, _lower_bounds, _move_rows, _neighbors, _panels, _row_blocks,
    _soft, _windows,
)
compiled = {
    f"{module.__name__}.{name} {list(function.stats.cache_misses)}"
    for module in modules
    for name, function in vars(module).items()
    if isinstance(function, CPUDispatcher) and function.stats.cache_misses
}
print(compiled or "nothing")
"""


@pytest.mark.slow
def test_after_warm_up_nothing_is_compiled(tmp_path):
    done = run(
        "import sys; from mmfusion.__main__ import main; sys.exit(main(['warm-up']))",
        NUMBA_CACHE_DIR=str(tmp_path),
    )
    assert done.returncode == 0, done.stderr
    assert "dtw_path, float32" in done.stdout
    done = run(USES, NUMBA_CACHE_DIR=str(tmp_path))
    assert done.stdout == "nothing\n", done.stderr
