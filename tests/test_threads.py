"""Threads of BLAS and OpenMP, and their limits by n_jobs."""

import threading

import numpy as np
import pytest
from threadpoolctl import ThreadpoolController, threadpool_info, threadpool_limits

from mmfusion._threads import limited_threads, one_thread, threads_of_n_jobs
from mmfusion.mkl import MKLClassifier, MKLClusterer, MKLRegressor, ModalityKernels


def n_threads(api="blas"):
    """The largest number of threads of the libraries with an interface."""
    found = [lib["num_threads"] for lib in threadpool_info() if lib["user_api"] == api]
    return max(found, default=1)


@pytest.fixture(autouse=True)
def eight_threads():
    # set, not held: a context would keep other threads from setting OpenBLAS
    with threadpool_limits(8):
        if n_threads() < 3:
            pytest.skip("a BLAS without threads")
    outside = threadpool_limits(8)
    for library in ThreadpoolController().select(user_api="blas").lib_controllers:
        if hasattr(library, "clear_controlling_thread"):
            library.clear_controlling_thread(force=True)
    yield
    outside.restore_original_limits()


def test_limits_nest_and_never_raise_the_number_outside():
    for api in ("blas", "openmp"):
        outside = n_threads(api)
        with limited_threads(3):
            assert n_threads(api) == 3
            with limited_threads(5):
                assert n_threads(api) == 3
            with one_thread():
                assert n_threads(api) == 1
            assert n_threads(api) == 3
        assert n_threads(api) == outside


def test_limits_of_concurrent_threads_leave_none_behind():
    # the second context begins within the first one, and ends after it
    begun, ended, seen = threading.Event(), threading.Event(), []

    def first():
        with one_thread():
            begun.set()
            ended.wait(10)

    def second():
        begun.wait(10)
        with limited_threads(2):
            ended.set()
            threads[0].join()
            seen.append(n_threads())

    outside = [(lib["filepath"], lib["num_threads"]) for lib in threadpool_info()]
    threads = [threading.Thread(target=target) for target in (first, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [2]
    found = [(lib["filepath"], lib["num_threads"]) for lib in threadpool_info()]
    assert found == outside


def test_errors_end_limits():
    outside = n_threads()
    with pytest.raises(KeyError), one_thread():
        raise KeyError
    assert n_threads() == outside


@pytest.mark.parametrize(("n_jobs", "expected"), [(None, 1), (2, 2), (1, 1)])
def test_methods_have_as_many_threads_as_jobs(n_jobs, expected):
    class Estimator:
        @threads_of_n_jobs
        def fit(self):
            """Documented."""
            return n_threads(), n_threads("openmp")

    estimator = Estimator()
    estimator.n_jobs = n_jobs
    assert estimator.fit() == (expected, expected)
    assert Estimator.fit.__doc__ == "Documented."


@pytest.mark.parametrize(
    ("estimator", "methods"),
    [
        (MKLClusterer(n_clusters=2), ["fit", "predict", "transform"]),
        (MKLClassifier(), ["fit", "predict", "decision_function"]),
        (MKLRegressor(), ["fit", "predict"]),
        (ModalityKernels(), ["fit", "fit_transform", "transform"]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_multiple_kernel_learning_has_one_thread(estimator, methods):
    seen = set()

    def watched(A, B):
        seen.add(n_threads())
        return A @ B.T

    rng = np.random.default_rng(0)
    X, y = [rng.normal(size=(30, 3)), rng.normal(size=(30, 2))], np.arange(30) % 2
    estimator.set_params(kernel=watched)
    for method in methods:
        getattr(estimator, method)(X, y) if "fit" in method else getattr(
            estimator, method
        )(X)
    assert seen == {1}
