"""The same cells under every backend of joblib."""

import warnings

import joblib
from doubles import Failing, Grumbling
from pandas.testing import assert_frame_equal

from mmfusion import EarlyFusionClusterer
from mmfusion.benchmark import compare
from mmfusion.benchmark._cells import Dataset

MEASURED = ["fit_seconds", "cpu_seconds", "peak_memory_mb"]
METHODS = {"early": EarlyFusionClusterer(), "shaky": Failing(), "loud": Grumbling()}


def run(halves, **options):
    return compare(METHODS, {"halves": halves}, n_repeats=4, **options).frame


def check_same(halves, frame):
    alone = run(halves)
    assert_frame_equal(frame.drop(columns=MEASURED), alone.drop(columns=MEASURED))
    assert (frame["fit_seconds"] > 0).all()


def test_processes_find_what_one_process_finds(halves, tmp_path):
    with joblib.parallel_config(backend="loky"):
        frame = run(halves, n_jobs=2, out=tmp_path)
    check_same(halves, frame)
    assert (frame["peak_memory_mb"].notna() == (frame["status"] == "ok")).all()
    assert len(list((tmp_path / "cells").iterdir())) == len(frame)


class ListsOnly(joblib.parallel.ThreadingBackend):
    """A backend that, like multiprocessing, cannot give results one by one."""

    supports_return_generator = False


def test_backends_that_return_lists_find_the_same(halves, tmp_path):
    joblib.register_parallel_backend("lists only", ListsOnly)
    with joblib.parallel_config(backend="lists only"):
        frame = run(halves, n_jobs=2, out=tmp_path)
    check_same(halves, frame)
    assert len(list((tmp_path / "cells").iterdir())) == len(frame)


def test_threads_find_the_same_and_keep_their_warnings_apart(halves):
    before = warnings.showwarning, list(warnings.filters)
    with joblib.parallel_config(backend="threading"):
        frame = run(halves, n_jobs=3)
    check_same(halves, frame)
    assert (warnings.showwarning, list(warnings.filters)) == before


def test_threads_that_ran_together_report_no_memory(halves):
    with joblib.parallel_config(backend="threading"):
        frame = compare(
            {"loud": Grumbling()}, {"halves": halves}, n_repeats=6, n_jobs=3
        ).frame
    assert frame["peak_memory_mb"].isna().all()


def test_a_dask_cluster_finds_what_one_process_finds(halves, tmp_path, monkeypatch):
    import dask.distributed as distributed

    n_sent = 0
    reduce = Dataset.__reduce_ex__

    def counting(self, protocol):
        nonlocal n_sent
        n_sent += 1
        return reduce(self, protocol)

    monkeypatch.setattr(Dataset, "__reduce_ex__", counting)
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=None
        ) as cluster,
        distributed.Client(cluster),
        joblib.parallel_config(backend="dask"),
    ):
        frame = run(halves, out=tmp_path)
    check_same(halves, frame)
    assert (frame["peak_memory_mb"].notna() == (frame["status"] == "ok")).all()
    assert len(list((tmp_path / "cells").iterdir())) == len(frame)
    assert n_sent < len(frame)  # the data travel by themselves, not with every cell
