"""Run every method on every data set with several seeds."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from os import PathLike
from typing import Any, NamedTuple

import joblib
import numpy as np
from scipy.sparse import issparse
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
from mmfusion.benchmark._store import CellStore, code_versions, describe, versions

MAX_REPEATS = 100_000
CELL_BYTES = 4096  # about what a file needs beside the labels, a block of the disk

Estimators = Mapping[str, Any] | Callable[[Any], Mapping[str, Any]]


class Cell(NamedTuple):
    """One method on one data set with one seed."""

    dataset: Dataset
    method: str
    estimator: Any
    repeat: int
    seed: int


def compare(
    estimators: Estimators,
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
        The methods by name; they are cloned. A callable, such as `baselines`, gets
        the X of each data set and returns such a dict: for methods that depend on
        which modalities there are.
    datasets : dict of str to (X, y) or Bunch
        The data sets by name: pairs of data and classes, or what a loader of
        `mmfusion.datasets` returns (``data`` and ``target``).
    metrics : str, list of str or dict of str to callable, \
default=('clustering_accuracy', 'normalized_mutual_info', 'adjusted_rand')
        Scores, of which larger is better. Known by name are also
        'adjusted_mutual_info', 'pairwise_f', 'purity' and 'modality_silhouette'; a
        dict gives functions of (labels_true, labels_pred).
    n_repeats : int, default=10
        Number of seeds.
    random_state : int, default=0
        The seeds are drawn from it: the first ones of more repeats are those of fewer.
    n_jobs : int, default=None
        Cells that run at the same time, through joblib: None is 1 unless in a joblib
        context, whose backend (loky, threading, dask, ...) is used.
    out : str or path-like, default=None
        Folder whose subfolder ``cells`` keeps each cell as soon as it is finished. The
        same call takes up an interrupted run there.
    trace_memory : bool, default=True
        Whether to measure memory, by a second fit of each cell: tracing slows down
        what loops in Python, so times are taken without it.
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
        Cells that were finished are kept.
    TypeError
        If a method is no clusterer, or a name no text.
    ValueError
        If there is nothing to compare, a data set has no classes or not one for each
        sample (measured values are no classes), a metric is unknown, or a name is
        taken by a column of the tables.

    See Also
    --------
    baselines : The methods that every comparison should include.
    methods : What this package has to offer.
    Comparison : What comes back.

    Notes
    -----
    Classes are used to score, and for one thing more: their number is given to every
    clusterer whose ``n_clusters`` is None where None is the default (as for those of
    this package), unless the ``clusterer`` in it decides on a number by itself, such
    as DBSCAN. Others keep their own: ``EarlyFusionClusterer(SpectralClustering())`` is
    given the number, a Pipeline that ends in ``KMeans(8)`` looks for 8 clusters. The
    last step of a Pipeline counts as the clusterer.

    Stored data are often sorted by class: each repeat shuffles the samples by its
    seed, the same order for all methods, and sets every ``random_state`` to the seed.

    A cell that raises is a row with ``status`` 'failed' and the error, and counts in
    tables, ranks and tests. Warnings go to the row too, not to the terminal. A worker
    process that dies, for want of memory for example, ends the run with an error; the
    cells finished by then are kept.

    ``fit_seconds`` is the wall time of ``fit_predict``. Cells that share processors
    slow each other down, and the first one of a process may pay for what is loaded
    on first use: use ``n_jobs=1`` and several repeats for times to be published.
    An estimator whose own ``n_jobs`` is given runs threads, under every backend.
    ``peak_memory_mb`` is the peak of what was allocated through Python and numpy
    meanwhile, in MiB, without the data. What native libraries allocate by themselves
    (torch, work space of BLAS) is not seen, nor are processes that an estimator
    starts. It is NaN for cells that run as threads of one process, which cannot be
    told apart.

    What can fail is tried before the first fit: with `out`, the folder is written to,
    its free space is looked at, and the report is made once with all names. A file of
    a cell that is damaged is warned of, and its cell is run again.

    A stored cell is used again only if everything that decides its outcome is the
    same: names, data, classes, seed, parameters, and the code: the versions of
    Python packages, or the sources of those in development or without a version, of
    a class in a script its own source. Other code that a script calls is not looked
    at: use a new folder when it has changed. Labels are stored, so that other metrics
    need no new fit.

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
        raise TypeError("estimators is no dict; give {'my method': clusterer, ...}")
    if not isinstance(datasets, Mapping) or issparse(datasets):
        raise TypeError("datasets is no dict; give {'my data': (X, y), ...}")
    sets = [_as_dataset(name, data) for name, data in datasets.items()]
    seeds = np.random.SeedSequence(int(random_state)).generate_state(int(n_repeats))
    cells = list(_make_cells(estimators, sets, seeds.tolist()))
    if not sets:
        raise ValueError("there is nothing to compare: datasets has no data sets")
    if not cells:
        raise ValueError("there is nothing to compare: estimators has no methods")
    # names that no table or report can have are refused here, before the first fit
    expected = _expected(cells, list(scores))
    outcomes: list[dict[str, Any] | None] = [None] * len(cells)
    if folder is not None:
        store = CellStore(folder / "cells")
        identities = list(_identities(cells, trace_memory))
        stored = [
            store.read(identity, len(cell.dataset.y))
            for cell, identity in zip(cells, identities, strict=True)
        ]
        outcomes = [o if _usable(o, retry_failed) else None for o in stored]
        if None in outcomes:
            store.check_writable(_n_bytes(cells, outcomes))
            check_report(expected)
    jobs = [
        joblib.delayed(_run_numbered)(
            i, cell.dataset, cell.estimator, cell.seed, outcome, scores, trace_memory
        )
        for i, (cell, outcome) in enumerate(zip(cells, outcomes, strict=True))
    ]
    results: dict[int, tuple[dict[str, Any], dict[str, Any]]] = {}
    for i, outcome, scored in _with_progress(_in_parallel(jobs, n_jobs), jobs, verbose):
        if folder is not None and outcomes[i] is None:
            store.write(identities[i], outcome)
        results[i] = outcome, scored
    names = list(scores)
    rows = [_row(cell, *results[i], names) for i, cell in enumerate(cells)]
    return Comparison(
        import_extra("pandas").DataFrame(rows),
        names,
        _setup(cells, int(n_repeats), int(random_state)),
    )


def _check_options(n_repeats: Any, random_state: Any, n_jobs: Any) -> None:
    if not is_integer(random_state) or random_state < 0:
        raise ValueError(
            f"random_state={random_state!r}; give a number of at least 0, by which a "
            "stored run can be found again"
        )
    if not is_integer(n_repeats) or not 1 <= n_repeats <= MAX_REPEATS:
        raise ValueError(
            f"n_repeats={n_repeats!r}; give an integer from 1 to {MAX_REPEATS}"
        )
    if n_jobs is not None and (not is_integer(n_jobs) or n_jobs == 0):
        raise ValueError(f"n_jobs={n_jobs!r}; give an integer other than 0, or None")


def _expected(cells: list[Cell], metrics: list[str]) -> Comparison:
    """Make the comparison that would come of perfect scores, to see it fail early."""
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
    rows = [_row(c, outcome, scored, metrics) for c in cells if c.repeat == 0]
    frame = import_extra("pandas").DataFrame(rows)
    return Comparison(frame, metrics, _setup(cells, 1, 0))


def _n_bytes(cells: list[Cell], outcomes: list[Any]) -> int:
    """Estimate what the cells that are not stored yet will take."""
    missing = [c.dataset for c, o in zip(cells, outcomes, strict=True) if o is None]
    return sum(
        CELL_BYTES + len(d.y) * (len(str(d.n_classes)) + len(", ")) for d in missing
    )


def _as_dataset(name: Any, data: Any) -> Dataset:
    is_bunch = isinstance(data, Mapping) and not issparse(data)
    if is_bunch and {"data", "target"} <= set(data):
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


def _as_classes(y: Any) -> np.ndarray:
    """Take a target as one class for each sample; measured values are none."""
    if isinstance(y, np.ma.MaskedArray) and np.ma.is_masked(y):
        raise ValueError("some of its classes are masked; leave these samples out")
    y = column_or_1d(y)
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
    estimators: Estimators, sets: Iterable[Dataset], seeds: list[int]
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
    """Tell each cell from all that may have another outcome."""
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
            "estimator": _described(cell),
            "repeat": cell.repeat,
            "seed": cell.seed,
            "trace_memory": trace,
            "code": code,
        }


def _described(cell: Cell) -> Any:
    try:
        return describe(cell.estimator)
    except Exception as error:  # joblib cannot hash what cannot be pickled
        raise TypeError(
            f"method {cell.method!r} has a parameter that cannot be told from others "
            f"({describe_error(error)}), so that its cells cannot be stored; leave it "
            "away, or give no out="
        ) from error


def _usable(outcome: dict[str, Any] | None, retry_failed: bool) -> bool:
    return outcome is not None and not (retry_failed and outcome["error"] is not None)


def _run_numbered(i: int, *arguments: Any) -> tuple[int, Any, Any]:
    return i, *run_cell(*arguments)


def _in_parallel(jobs: list[Any], n_jobs: int | None) -> Iterator[Any]:
    """Yield results as they come; one job at a time goes to a worker."""
    options = {"n_jobs": n_jobs, "batch_size": 1}
    try:
        parallel = joblib.Parallel(**options, return_as="generator_unordered")
    except ValueError:  # backends such as multiprocessing only return lists
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


def _row(
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


def _setup(
    cells: list[Cell], n_repeats: int, random_state: int
) -> dict[str, dict[str, str]]:
    """Tell what was run, in words."""
    return {
        "Data sets": {c.dataset.name: c.dataset.describe() for c in cells},
        "Methods": {c.method: " ".join(repr(c.estimator).split()) for c in cells},
        "Run": {
            "repeats": str(n_repeats),
            "random_state": str(random_state),
            **versions(),
        },
    }
