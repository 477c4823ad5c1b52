"""The same cells under every backend of joblib."""

import warnings

import joblib
import numpy as np
import pytest
from doubles import Failing, Grumbling
from pandas.testing import assert_frame_equal

from mmfusion import EarlyFusionClusterer
from mmfusion.benchmark import compare

MEASURED = ["fit_seconds", "peak_memory_mb"]
DOUBLES = {"shaky": Failing(), "loud": Grumbling()}
METHODS = {"early": EarlyFusionClusterer(), **DOUBLES}


def run(halves, methods=METHODS, **options):
    return compare(methods, {"halves": halves}, n_repeats=4, **options).frame


def check_same(halves, frame, methods=METHODS):
    alone = run(halves, methods)
    assert_frame_equal(frame.drop(columns=MEASURED), alone.drop(columns=MEASURED))
    assert (frame["fit_seconds"] > 0).all()


@pytest.mark.parametrize(
    ("backend", "methods"),
    # OpenMP, as in k-means, hangs in processes forked from one that has used it
    [("loky", METHODS), ("multiprocessing", DOUBLES)],
)
def test_processes_find_what_one_process_finds(halves, backend, methods, tmp_path):
    with joblib.parallel_config(backend=backend):
        frame = run(halves, methods, n_jobs=2, out=tmp_path)
    check_same(halves, frame, methods)
    assert frame["peak_memory_mb"].notna().all()
    assert len(list((tmp_path / "cells").iterdir())) == len(frame)


def test_threads_find_the_same_and_keep_their_warnings_apart(halves):
    before = warnings.showwarning, list(warnings.filters)
    with joblib.parallel_config(backend="threading"):
        frame = run(halves, n_jobs=3)
    check_same(halves, frame)
    assert (warnings.showwarning, list(warnings.filters)) == before


def test_threads_that_ran_together_tell_no_memory(halves):
    with joblib.parallel_config(backend="threading"):
        frame = compare(
            {"loud": Grumbling()}, {"halves": halves}, n_repeats=6, n_jobs=3
        ).frame
    assert frame["peak_memory_mb"].isna().all()


# Third parties' own warnings; ours stay errors.
@pytest.mark.filterwarnings("default::DeprecationWarning:distributed")
@pytest.mark.filterwarnings("default::DeprecationWarning:tornado")
@pytest.mark.filterwarnings("default::ResourceWarning")
def test_a_dask_cluster_finds_what_one_process_finds(halves, tmp_path):
    distributed = pytest.importorskip("dask.distributed")
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=None
        ) as cluster,
        distributed.Client(cluster),
        joblib.parallel_config(backend="dask"),
    ):
        frame = run(halves, out=tmp_path)
    check_same(halves, frame)
    assert frame["peak_memory_mb"].notna().all()
    assert len(list((tmp_path / "cells").iterdir())) == len(frame)
    assert np.isfinite(frame["fit_seconds"]).all()
