"""Run every method on every data set with several seeds."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from os import PathLike
from typing import Any, NamedTuple

import joblib
import numpy as np
from numpy.typing import ArrayLike
from scipy.sparse import issparse
from sklearn.base import BaseEstimator
from sklearn.utils import check_consistent_length, column_or_1d

from mmfusion._atomic import as_path
from mmfusion._extras import import_extra
from mmfusion._numbers import is_integer
from mmfusion._options import check_flags, errors_about
from mmfusion._row_labels import check_row_labels
from mmfusion._validation import as_modalities
from mmfusion.benchmark._cells import Dataset, describe_error, run_cell
from mmfusion.benchmark._comparison import Comparison
from mmfusion.benchmark._report import check_report
from mmfusion.benchmark._scores import DEFAULT_METRICS, resolve_scores
from mmfusion.benchmark._store import (
    CellStore,
    code_versions,
    describe_parameter,
    versions,
)
from mmfusion.modalities import Modalities

MAX_REPEATS = 100_000
BUNCH_KEYS = {"data", "target"}
# size of a cell's file without labels: at least one block of the file system
CELL_FILE_BYTES = 4096

Clusterers = Mapping[str, BaseEstimator]
ClusterersLike = Clusterers | Callable[[Modalities], Clusterers]
Outcomes = list[dict[str, Any] | None]


class Cell(NamedTuple):
    """One method on one data set with one seed."""

    dataset: Dataset
    method: str
    estimator: BaseEstimator
    repeat: int
    seed: int


def compare(
    estimators: ClusterersLike,
    datasets: Mapping[str, Any],
    metrics: str | Sequence[str] | Mapping[str, Callable[..., float]] = DEFAULT_METRICS,
    n_repeats: int = 10,
    *,
    random_state: int = 0,
    n_jobs: int | None = None,
    out: str | PathLike[str] | None = None,
    trace_memory: bool = True,
    retry_failed: bool = False,
    verbose: bool = False,
) -> Comparison:
    """Compare clusterers on data sets of several modalities, over several seeds.

    Parameters
    ----------
    estimators : dict of str to clusterer, or callable
        Methods by name; they are cloned. A callable, such as `baselines`, takes the
        X of each data set and returns such a dict: for methods that depend on the
        modalities.
    datasets : dict of str to (X, y) or Bunch
        Data sets by name: pairs of data and classes, or Bunches (with ``data`` and
        ``target``) as the loaders of `mmfusion.datasets` return them.
    metrics : str, list of str or dict of str to callable, \
default=('clustering_accuracy', 'normalized_mutual_info', 'adjusted_rand')
        Scores, of which larger is better. Further names are 'adjusted_mutual_info',
        'pairwise_f', 'purity' and 'modality_silhouette'; a dict holds functions of
        (labels_true, labels_pred).
    n_repeats : int, default=10
        Number of seeds.
    random_state : int, default=0
        Seed from which the seeds of the repeats are drawn: the first ones of more
        repeats are those of fewer.
    n_jobs : int, default=None
        Number of cells run in parallel by joblib: None is 1 unless in a joblib
        context, whose backend (loky, threading, dask, ...) is used.
    out : str or path-like, default=None
        Folder in whose subfolder ``cells`` each finished cell is stored. The same call
        resumes an interrupted run.
    trace_memory : bool, default=True
        Whether to measure memory, by a second fit of each cell: tracing slows down
        loops in Python, so times are measured without it.
    retry_failed : bool, default=False
        Whether cells that failed in an earlier run are run again.
    verbose : bool, default=False
        Whether to show a progress bar.

    Returns
    -------
    Comparison
        The scores of every cell with their tables, tests and plots.

    Raises
    ------
    OSError
        If `out` cannot be written, before the first fit or once the disk is full.
        Finished cells are kept.
    TypeError
        If a method is not a clusterer, or a name not a string.
    ValueError
        If there is nothing to compare, a data set has no classes or not one for each
        sample (measured values are not classes), a metric is unknown, or a name is
        that of a column of the tables.

    See Also
    --------
    baselines : The methods that every comparison should include.
    methods : The clusterers of this package by name.
    Comparison : The scores with their tables, tests and plots.

    Notes
    -----
    Classes are used to score, and for one other purpose: ``n_clusters`` is set to
    their number in every clusterer where it is None by default and still is (as in
    those of this package), unless the inner ``clusterer`` determines a number, such
    as DBSCAN. Others keep their own: ``EarlyFusionClusterer(SpectralClustering())``
    gets the number of classes, a Pipeline that ends in ``KMeans(8)`` finds 8 clusters.
    The last step of a Pipeline counts as the clusterer.

    Stored data are often sorted by class: each repeat shuffles the samples by its
    seed, the same order for all methods, and sets every ``random_state`` to the seed.

    A cell that raises is a row with ``status`` 'failed' and the error, and counts in
    tables, ranks and tests. Warnings are stored in the row and not shown. A worker
    process that dies, for example for lack of memory, ends the run with an error;
    finished cells are kept.

    ``fit_seconds`` is the wall time of ``fit_predict``. Cells that share processors
    slow each other down, and the first one of a process includes the time of imports
    and compilation: use ``n_jobs=1`` and several repeats for times to be published.
    An estimator whose own ``n_jobs`` is set uses threads, under every backend.
    ``peak_memory_mb`` is the peak of the memory allocated through Python and numpy
    during ``fit_predict``, in MiB, without the data. It excludes allocations of
    native libraries (torch, workspace of BLAS) and of processes that an estimator
    starts. It is NaN for cells that run as threads of one process, whose allocations
    cannot be distinguished.

    Checks precede the first fit: with `out`, a file is written to the folder, its
    free space is compared with the size of the results, and a report of all names is
    made. A damaged file of a cell causes a warning, and its cell is run again.

    A stored cell is reused only if all that its outcome depends on is the same:
    names, data, classes, seed, parameters, and the code: the versions of Python
    packages, the sources of those in development or without a version, and the source
    of a class in a script. Other code that a script calls is not compared: use a new
    folder when it has changed. Labels are stored, so that other metrics need no new
    fit.

    Examples
    --------
    >>> from mmfusion import EarlyFusionClusterer
    >>> from mmfusion.benchmark import compare
    >>> from mmfusion.datasets import make_multimodal_blobs
    >>> comparison = compare(
    ...     {
    ...         "scaled": EarlyFusionClusterer(),
    ...         "as it is": EarlyFusionClusterer(scaling=None),
    ...     },
    ...     {"blobs": make_multimodal_blobs(60, random_state=0)},
    ...     metrics="adjusted_rand",
    ...     n_repeats=2,
    ... )
    >>> comparison.frame[["dataset", "method", "repeat", "adjusted_rand", "status"]]
      dataset    method  repeat  adjusted_rand status
    0   blobs    scaled       0            1.0     ok
    1   blobs    scaled       1            1.0     ok
    2   blobs  as it is       0            1.0     ok
    3   blobs  as it is       1            1.0     ok
    """
    _check_options(n_repeats, random_state, n_jobs)
    check_flags(trace_memory=trace_memory, retry_failed=retry_failed, verbose=verbose)
    folder = None if out is None else as_path(out, "out")
    scores = resolve_scores(metrics)
    if (
        inspect.isclass(estimators)
        or issparse(estimators)
        or not isinstance(estimators, Mapping | Callable)
    ):
        raise TypeError("estimators is not a dict; give {'my method': clusterer, ...}")
    if not isinstance(datasets, Mapping) or issparse(datasets):
        raise TypeError("datasets is not a dict; give {'my data': (X, y), ...}")
    sets = [_as_dataset(name, data) for name, data in datasets.items()]
    seeds = np.random.SeedSequence(int(random_state)).generate_state(int(n_repeats))
    cells = list(_make_cells(estimators, sets, seeds.tolist()))
    if not sets:
        raise ValueError("there is nothing to compare: datasets has no data sets")
    if not cells:
        raise ValueError("there is nothing to compare: estimators has no methods")
    # refuses names that are not possible in a table or report, before the first fit
    expected = _expected_comparison(cells, list(scores))
    outcomes: Outcomes = [None] * len(cells)
    if folder is not None:
        store = CellStore(folder / "cells")
        identities = list(_identities(cells, trace_memory))
        outcomes = _stored_outcomes(store, cells, identities, retry_failed)
        if None in outcomes:
            store.check_writable(_results_bytes(cells, outcomes))
            check_report(expected)
    jobs = [
        joblib.delayed(_run_indexed)(
            i, cell.dataset, cell.estimator, cell.seed, outcome, scores, trace_memory
        )
        for i, (cell, outcome) in enumerate(zip(cells, outcomes, strict=True))
    ]
    results: dict[int, tuple[dict[str, Any], dict[str, Any]]] = {}
    for i, outcome, scored in _with_progress(_run_jobs(jobs, n_jobs), jobs, verbose):
        if folder is not None and outcomes[i] is None:
            store.write(identities[i], outcome)
        results[i] = outcome, scored
    names = list(scores)
    rows = [_result_row(cell, *results[i], names) for i, cell in enumerate(cells)]
    return Comparison(
        import_extra("pandas").DataFrame(rows),
        names,
        _describe_run(cells, int(n_repeats), int(random_state)),
    )


def _check_options(n_repeats: int, random_state: int, n_jobs: int | None) -> None:
    if not is_integer(random_state) or random_state < 0:
        raise ValueError(
            f"random_state={random_state!r}; give an integer of at least 0, which "
            "identifies a stored run"
        )
    if not is_integer(n_repeats) or not 1 <= n_repeats <= MAX_REPEATS:
        raise ValueError(
            f"n_repeats={n_repeats!r}; give an integer from 1 to {MAX_REPEATS}"
        )
    if n_jobs is not None and (not is_integer(n_jobs) or n_jobs == 0):
        raise ValueError(f"n_jobs={n_jobs!r}; give an integer other than 0, or None")


def _expected_comparison(cells: list[Cell], metrics: list[str]) -> Comparison:
    """Make a comparison of perfect scores, so that invalid names fail early."""
    outcome: dict[str, Any] = {
        "error": None,
        "peak_memory_mb": 1.0,
        "fit_seconds": 1.0,
        "warnings": [],
    }
    scored: dict[str, Any] = {
        "scores": dict.fromkeys(metrics, 1.0),
        "errors": [],
        "warnings": [],
    }
    rows = [_result_row(c, outcome, scored, metrics) for c in cells if c.repeat == 0]
    frame = import_extra("pandas").DataFrame(rows)
    return Comparison(frame, metrics, _describe_run(cells, 1, 0))


def _results_bytes(cells: list[Cell], outcomes: Outcomes) -> int:
    """Estimate the size of the files of the cells that are not stored yet."""
    sets = [c.dataset for c, o in zip(cells, outcomes, strict=True) if o is None]
    label_bytes = [len(d.y) * (len(str(d.n_classes)) + len(", ")) for d in sets]
    return CELL_FILE_BYTES * len(sets) + sum(label_bytes)


def _as_dataset(name: str, data: Mapping[str, Any] | tuple[Any, Any]) -> Dataset:
    # a sparse DOK array is a dict
    is_sparse = issparse(data)
    if isinstance(data, Mapping) and not is_sparse and data.keys() >= BUNCH_KEYS:
        data = data["data"], data["target"]
    if not (isinstance(data, tuple) and len(data) == 2):
        raise ValueError(
            f"datasets: {name!r} is a {type(data).__name__}; give a pair (X, y), or a "
            "Bunch with data and target"
        )
    X, y = data
    if y is None:
        raise ValueError(f"data set {name!r} has no classes to score against")
    try:
        frame = as_modalities(X)
        check_row_labels(frame._index, y, "y")
        y = _as_classes(y)
        check_consistent_length(frame, y)
    except (TypeError, ValueError) as error:
        raise ValueError(f"data set {name!r}: {error}") from error
    return Dataset(name, frame, y)


def _as_classes(target: ArrayLike) -> np.ndarray:
    """Return a target as one class for each sample; refuse measured values."""
    if isinstance(target, np.ma.MaskedArray) and np.ma.is_masked(target):
        raise ValueError("some of its classes are masked; leave these samples out")
    y = np.asarray(column_or_1d(target))
    if y.size == 0:
        raise ValueError("it has no samples")
    if y.dtype.kind == "O":
        are_text = {isinstance(k, str) for k in y.tolist()}
        y = np.array(y.tolist())
        if len(are_text) > 1 or y.dtype.kind == "O":
            raise ValueError(
                "its classes are neither all text nor all numbers; give every sample "
                "a class, of one type"
            )
    if y.dtype.kind == "f" and not np.isfinite(y).all():
        raise ValueError("its classes are NaN or infinite; give every sample a class")
    if y.dtype.kind == "f" and (y != np.floor(y)).any():
        raise ValueError(
            "its target holds measured values, not classes: they have decimals; bin "
            "them, for example by numpy.digitize"
        )
    return y


def _make_cells(
    estimators: ClusterersLike, sets: Iterable[Dataset], seeds: list[int]
) -> Iterator[Cell]:
    for dataset in sets:
        methods = estimators
        if callable(estimators):
            with errors_about("estimators"):
                methods = estimators(dataset.X)
        if not isinstance(methods, Mapping):
            raise TypeError(
                f"estimators returned a {type(methods).__name__} for data set "
                f"{dataset.name!r}; a function of X returns a dict of clusterers"
            )
        for method, estimator in methods.items():
            if inspect.isclass(estimator):
                raise TypeError(
                    f"estimators: {method!r} is the class {estimator.__name__}; give "
                    f"an instance, such as {estimator.__name__}()"
                )
            if not (
                hasattr(estimator, "fit_predict") and hasattr(estimator, "get_params")
            ):
                raise TypeError(
                    f"estimators: {method!r} is a {type(estimator).__name__} without "
                    "fit_predict and get_params; give a clusterer"
                )
            for repeat, seed in enumerate(seeds):
                yield Cell(dataset, method, estimator, repeat, seed)


def _identities(cells: list[Cell], trace: bool) -> Iterator[dict[str, Any]]:
    """Describe each cell by all that its outcome depends on."""
    code = code_versions()
    sets = {cell.dataset.name: cell.dataset for cell in cells}
    contents = {
        name: joblib.hash((dataset.X, dataset.y), coerce_mmap=True)
        for name, dataset in sets.items()
    }
    for cell in cells:
        yield {
            "dataset": cell.dataset.name,
            "content": contents[cell.dataset.name],
            "method": cell.method,
            "estimator": _describe_estimator(cell),
            "repeat": cell.repeat,
            "seed": cell.seed,
            "trace_memory": trace,
            "code": code,
        }


def _describe_estimator(cell: Cell) -> object:
    try:
        return describe_parameter(cell.estimator)
    except Exception as error:  # joblib cannot hash what cannot be pickled
        raise TypeError(
            f"method {cell.method!r} has a parameter that cannot be identified "
            f"({describe_error(error)}), so that its cells cannot be stored; omit it, "
            "or give no out="
        ) from error


def _stored_outcomes(
    store: CellStore,
    cells: list[Cell],
    identities: list[dict[str, Any]],
    retry_failed: bool,
) -> Outcomes:
    """Read the outcomes of earlier runs; None for the cells to run."""
    stored = [
        store.read(identity, len(cell.dataset.y))
        for cell, identity in zip(cells, identities, strict=True)
    ]
    return [
        None if o is not None and retry_failed and o["error"] is not None else o
        for o in stored
    ]


def _run_indexed(i: int, *arguments: Any) -> tuple[int, Any, Any]:
    return i, *run_cell(*arguments)


def _run_jobs(jobs: list[Any], n_jobs: int | None) -> Iterator[Any]:
    """Yield results as they are finished; a worker gets one job at a time."""
    options = {"n_jobs": n_jobs, "batch_size": 1}
    try:
        parallel = joblib.Parallel(**options, return_as="generator_unordered")
    except ValueError:  # backends such as multiprocessing return lists only
        width = joblib.effective_n_jobs(n_jobs)
        for start in range(0, len(jobs), width):
            yield from joblib.Parallel(**options)(jobs[start : start + width])
    else:
        yield from parallel(jobs)


def _with_progress(
    results: Iterator[Any], jobs: list[Any], verbose: bool
) -> Iterator[Any]:
    if not verbose:
        yield from results
        return
    failed = 0
    with import_extra("tqdm").tqdm(total=len(jobs), unit="cell") as bar:
        for i, outcome, scored in results:
            failed += outcome["error"] is not None or bool(scored["errors"])
            bar.set_postfix(failed=failed, refresh=False)
            bar.update()
            yield i, outcome, scored


def _result_row(
    cell: Cell, outcome: dict[str, Any], scored: dict[str, Any], metrics: list[str]
) -> dict[str, Any]:
    errors = [outcome["error"]] if outcome["error"] is not None else scored["errors"]
    peak = outcome["peak_memory_mb"]
    return {
        "dataset": cell.dataset.name,
        "method": cell.method,
        "repeat": cell.repeat,
        "seed": cell.seed,
        **{name: scored["scores"].get(name, np.nan) for name in metrics},
        "fit_seconds": outcome["fit_seconds"],
        "peak_memory_mb": np.nan if peak is None else peak,
        "status": "failed" if errors else "ok",
        "error": "; ".join(errors),
        "warnings": "; ".join(dict.fromkeys(outcome["warnings"] + scored["warnings"])),
    }


def _describe_run(
    cells: list[Cell], n_repeats: int, random_state: int
) -> dict[str, dict[str, str]]:
    """Describe data sets, methods and options by section, for the report."""
    return {
        "Data sets": {c.dataset.name: c.dataset.describe() for c in cells},
        "Methods": {c.method: " ".join(repr(c.estimator).split()) for c in cells},
        "Run": {
            "repeats": str(n_repeats),
            "random_state": str(random_state),
            **versions(),
        },
    }
