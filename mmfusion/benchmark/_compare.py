"""Run every method on every data set with several seeds, or in cross-validation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from numbers import Real
from os import PathLike
from typing import Any, NamedTuple

import joblib
import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator

from mmfusion._atomic import as_path
from mmfusion._extras import import_extra
from mmfusion._numbers import is_integer
from mmfusion._options import check_flags
from mmfusion._progress import Progress
from mmfusion._typing import CrossValidationLike
from mmfusion.benchmark._cells import (
    Dataset,
    Score,
    Split,
    describe_error,
    run_cell,
)
from mmfusion.benchmark._comparison import (
    SPLIT_COLUMNS,
    SUBSAMPLE_COLUMNS,
    Comparison,
)
from mmfusion.benchmark._inputs import DatasetsLike, Methods, MethodsLike, read_inputs
from mmfusion.benchmark._presets import Preset
from mmfusion.benchmark._report import check_report
from mmfusion.benchmark._scores import MetricsLike, resolve_scores
from mmfusion.benchmark._splits import (
    groups_by_dataset,
    make_splits,
    make_subsamples,
)
from mmfusion.benchmark._store import (
    CellStore,
    code_versions,
    describe_parameter,
    versions,
)
from mmfusion.benchmark._tasks import CLASSIFICATION, CLUSTERING

MAX_REPEATS = 100_000
# size of a cell's file without labels: at least one block of the file system
CELL_FILE_BYTES = 4096
JSON_NUMBER_BYTES = 20  # of a probability in a cell's file

Outcomes = list[dict[str, Any] | None]


class Cell(NamedTuple):
    """One method on one data set with one seed, and one split or subsample."""

    dataset: Dataset
    method: str
    estimator: BaseEstimator
    repeat: int
    seed: int
    split: Split | None = None


def compare(
    methods: MethodsLike,
    datasets: DatasetsLike,
    metrics: MetricsLike | None = None,
    n_repeats: int = 10,
    *,
    task: str | None = None,
    cv: CrossValidationLike = None,
    groups: ArrayLike | Mapping[str, ArrayLike] | None = None,
    subsample: float | None = None,
    random_state: int = 0,
    n_jobs: int | None = None,
    out: str | PathLike[str] | None = None,
    retry_failed: bool = False,
    verbose: bool | int = False,
) -> Comparison:
    """Compare methods on data sets of several modalities, over several seeds.

    Clusterers are fitted to all samples with every seed, classifiers and regressors to
    the training samples of every fold of every seed; the folds are the same for all
    methods.

    Parameters
    ----------
    methods : str, estimator, list of these, dict, callable or Preset
        Clusterers, or classifiers, or regressors; they are cloned. Names are those of
        the function `methods`, and 'baselines'. Estimators of a list are named by
        their class; a dict has names of your own. A callable, such as `baselines`,
        takes the X of each data set and returns such a dict: for methods that depend
        on the modalities. A preset of the function `preset` also has metrics of its
        own, and published results.
    datasets : str, path, (X, y), Bunch, list of str or path, or dict
        Data sets: names (``python -m mmfusion list`` prints them), paths of files,
        which are named by their stem, pairs of data and classes (or values, for
        regressors), or Bunches (with ``data`` and ``target``) as the loaders of
        `mmfusion.datasets` return them. A dict has names of your own.
    metrics : str, list of str or dict of str to callable, default=None
        Scores, of which larger is better. By default ``clustering_accuracy``,
        ``normalized_mutual_info`` and ``adjusted_rand`` of clusterings, ``accuracy``,
        ``balanced_accuracy`` and ``f1_macro`` of classifications, ``r2``,
        ``neg_root_mean_squared_error`` and ``neg_mean_absolute_error`` of regressions.
        Further names for clusterings are 'adjusted_mutual_info', 'pairwise_f',
        'purity' and 'modality_silhouette', for predictors those of scikit-learn's
        scorers, such as 'neg_log_loss' and 'roc_auc' (of each class against the others
        if there are more than two). A dict holds functions of (labels_true,
        labels_pred), or scorers of predictors.
    n_repeats : int, default=10
        Number of seeds.
    task : {'clustering', 'classification', 'regression'}, default=None
        Task of methods that are given by name; None takes that of the estimators
        among them, and 'clustering' if there are none.
    cv : int, cross-validation generator or iterable, default=None
        Folds for classifiers and regressors: a number (None is 5), shuffled by each
        seed, stratified by class for classifiers, with `groups` kept together; or a
        splitter, whose ``random_state`` is set to each seed, or pairs of positions.
    groups : array-like of shape (n_samples,) or dict of str to array-like, \
default=None
        Groups of samples, such as patients, of which all are in the same fold; by name
        of the data set if there are several.
    subsample : float, default=None
        Share of the samples, between 0 and 1, that each repeat clusters: drawn at
        random, without classes, the same for all methods. Methods without chance then
        vary between repeats, so that they can be tested. None clusters all samples in
        every repeat.
    random_state : int, default=0
        Seed from which the seeds of the repeats are drawn: the first ones of more
        repeats are those of fewer.
    n_jobs : int, default=None
        Number of cells run in parallel by joblib: None is 1 unless in a joblib
        context, whose backend (loky, threading, dask, ...) is used.
    out : str or path-like, default=None
        Folder in whose subfolder ``cells`` each finished cell is stored. The same call
        resumes an interrupted run.
    retry_failed : bool, default=False
        Whether cells that failed in an earlier run are run again.
    verbose : bool or int, default=False
        Whether to show progress: True or 1 by a bar or lines, larger integers by lines.

    Returns
    -------
    Comparison
        The scores of every cell with their tables, tests and plots.

    Raises
    ------
    OSError
        If `out` cannot be written, before the first fit or once the disk is full, or
        a data set is neither a known name nor a file. Finished cells are kept.
    TypeError
        If a method is not an estimator, or a name not a string.
    ValueError
        If there is nothing to compare, methods are for several tasks, a data set has
        no classes or values or not one for each sample (measured values are not
        classes), a metric is unknown, or a name is that of a column of the tables.

    See Also
    --------
    baselines : The methods that every comparison should include.
    methods : The methods of this package by name.
    Comparison : The scores with their tables, tests and plots.

    Notes
    -----
    Classes are used to score, and for one other purpose: ``n_clusters`` is set to
    their number in every clusterer where it is None by default and still is (as in
    those of this package), unless the inner ``clusterer`` determines a number, such
    as DBSCAN. Others keep their own: ``EarlyFusionClusterer(SpectralClustering())``
    gets the number of classes, a Pipeline that ends in ``KMeans(8)`` finds 8 clusters.
    The last step of a Pipeline counts as the clusterer.

    Stored data are often sorted by class: each repeat of a clustering shuffles the
    samples by its seed, the same order for all methods. Every ``random_state`` is set
    to the seed.

    A cell is one fit: of a method on a data set with one seed, and for predictors on
    the training samples of one fold. Predictions of its test samples, with
    probabilities or decisions where there are any, are what is scored.

    A cell that raises is a row with ``status`` 'failed' and the error, and counts in
    tables, ranks and tests. Warnings are stored in the row and not shown. A worker
    process that dies, for example for lack of memory, ends the run with an error;
    finished cells are kept.

    ``fit_seconds`` is the wall time of ``fit_predict``, or of ``fit`` of a predictor.
    Cells that share processors slow each other down, and the first one of a process
    includes the time of imports and compilation: use ``n_jobs=1`` and several repeats
    for times to be published. ``cpu_seconds`` is the processor time of all threads of
    the process during the same fit, which other processes disturb little. An estimator
    whose own ``n_jobs`` is set uses threads, under every backend. ``peak_memory_mb`` is
    by how much the resident memory of the process grew to its peak during the same fit,
    in MiB, native libraries such as torch included. It excludes memory of graphics
    processors and of processes that an estimator starts. Both are NaN for cells that
    run as threads of one process, which cannot be distinguished; memory is, too,
    outside of Linux without psutil.

    Checks precede the first fit: with `out`, a file is written to the folder, its
    free space is compared with the size of the results, and a report of all names is
    made. A damaged file of a cell causes a warning, and its cell is run again.

    A stored cell is reused only if all that its outcome depends on is the same:
    names, data, classes, seed, parameters, and the code: the versions of Python
    packages, the sources of those in development or without a version, and the source
    of a class in a script. Other code that a script calls is not compared: use a new
    folder when it has changed. Labels and predictions are stored, so that other metrics
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

    Classifiers are cross-validated; methods and data sets may be given by name:

    >>> comparison = compare(
    ...     ["early", "late", "dummy"],
    ...     "wine",
    ...     task="classification",
    ...     n_repeats=1,
    ... )
    >>> comparison
    Comparison of 3 methods on 1 data sets: 15 cells, 0 failed
    """
    _check_options(n_repeats, random_state, n_jobs, subsample, verbose)
    check_flags(retry_failed=retry_failed)
    folder = None if out is None else as_path(out, "out")
    inputs = read_inputs(methods, datasets, task)
    task = inputs[0][0].task
    if metrics is None and isinstance(methods, Preset):
        metrics = methods.metrics
    scores = resolve_scores(metrics, task)
    seeds = np.random.SeedSequence(int(random_state)).generate_state(int(n_repeats))
    cells = list(_make_cells(inputs, seeds.tolist(), cv, groups, subsample))
    # refuses names that are not possible in a table or report, before the first fit
    expected = _expected_comparison(cells, list(scores))
    outcomes: Outcomes = [None] * len(cells)
    if folder is not None:
        store = CellStore(folder / "cells")
        identities = list(_identities(cells))
        outcomes = _stored_outcomes(store, cells, identities, retry_failed)
        if None in outcomes:
            store.check_writable(_results_bytes(cells, outcomes))
            check_report(expected)
    results: dict[int, tuple[dict[str, Any], dict[str, Any]]] = {}
    for i, outcome, scored in _run_cells(cells, outcomes, scores, n_jobs, verbose):
        if folder is not None and outcomes[i] is None:
            store.write(identities[i], outcome)
        results[i] = outcome, scored
    names = list(scores)
    rows = [_result_row(cell, *results[i], names) for i, cell in enumerate(cells)]
    comparison = Comparison(
        import_extra("pandas").DataFrame(rows),
        names,
        _describe_run(cells, int(n_repeats), int(random_state)),
    )
    return methods._complete(comparison) if isinstance(methods, Preset) else comparison


def _check_options(
    n_repeats: int,
    random_state: int,
    n_jobs: int | None,
    subsample: float | None,
    verbose: bool | int,
) -> None:
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
    is_share = isinstance(subsample, Real) and 0 < subsample < 1
    if subsample is not None and not is_share:
        raise ValueError(
            f"subsample={subsample!r}; give a share between 0 and 1, such as 0.8, or "
            "None for all samples"
        )
    if not (isinstance(verbose, bool | np.bool_) or is_integer(verbose)):
        raise TypeError(f"verbose={verbose!r}; give True, False or an integer")


def _expected_comparison(cells: list[Cell], metrics: list[str]) -> Comparison:
    """Make a comparison of perfect scores, so that invalid names fail early."""
    outcome: dict[str, Any] = {
        "error": None,
        "peak_memory_mb": 1.0,
        "fit_seconds": 1.0,
        "cpu_seconds": 1.0,
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
    left = [c for c, o in zip(cells, outcomes, strict=True) if o is None]
    return CELL_FILE_BYTES * len(left) + sum(map(_output_bytes, left))


def _output_bytes(cell: Cell) -> int:
    n_classes = cell.dataset.n_classes
    if cell.dataset.task == CLUSTERING or cell.split is None:
        return _n_outputs(cell) * (len(str(n_classes)) + len(", "))
    n_numbers = 1 + (n_classes if cell.dataset.task == CLASSIFICATION else 0)
    return len(cell.split.test) * n_numbers * JSON_NUMBER_BYTES


def _n_outputs(cell: Cell) -> int:
    """Return the number of samples with a label or a prediction."""
    if cell.split is None:
        return len(cell.dataset.y)
    is_clustering = cell.dataset.task == CLUSTERING
    return len(cell.split.train if is_clustering else cell.split.test)


def _make_cells(
    inputs: list[tuple[Dataset, Methods]],
    seeds: list[int],
    cv: CrossValidationLike,
    groups: ArrayLike | Mapping[str, ArrayLike] | None,
    subsample: float | None,
) -> Iterator[Cell]:
    of_dataset = groups_by_dataset(groups, [dataset.name for dataset, _ in inputs])
    for dataset, methods in inputs:
        repeats: Sequence[Sequence[Split | None]]
        if dataset.task != CLUSTERING:
            if subsample is not None:
                raise ValueError(
                    "subsample is for clusterers; classifiers and regressors are "
                    "fitted to the training samples of folds: give cv"
                )
            repeats = make_splits(dataset, cv, of_dataset[dataset.name], seeds)
        elif cv is None and groups is None:
            repeats = make_subsamples(dataset, subsample, seeds)
        else:
            raise ValueError(
                "clusterers are fitted to all samples; leave out cv and groups, or "
                "give classifiers or regressors"
            )
        for method, estimator in methods.items():
            for repeat, seed in enumerate(seeds):
                for split in repeats[repeat]:
                    yield Cell(dataset, method, estimator, repeat, seed, split)


def _identities(cells: list[Cell]) -> Iterator[dict[str, Any]]:
    """Describe each cell by all that its outcome depends on."""
    code = code_versions()
    sets = {cell.dataset.name: cell.dataset for cell in cells}
    contents = {
        name: joblib.hash((dataset.X, dataset.y), coerce_mmap=True)
        for name, dataset in sets.items()
    }
    for cell in cells:
        split = cell.split
        yield {
            "dataset": cell.dataset.name,
            "content": contents[cell.dataset.name],
            "method": cell.method,
            "estimator": _describe_estimator(cell),
            "repeat": cell.repeat,
            "seed": cell.seed,
            "split": None if split is None else joblib.hash((split.train, split.test)),
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
        store.read(
            identity, _n_outputs(cell), predictor=cell.dataset.task != CLUSTERING
        )
        for cell, identity in zip(cells, identities, strict=True)
    ]
    return [
        None if o is not None and retry_failed and o["error"] is not None else o
        for o in stored
    ]


def _run_cells(
    cells: list[Cell],
    outcomes: Outcomes,
    scores: Mapping[str, Score],
    n_jobs: int | None,
    verbose: bool | int,
) -> Iterator[Any]:
    """Yield number, outcome and scores of every cell as it is finished."""
    jobs = [
        joblib.delayed(_run_indexed)(
            i, cell.dataset, cell.estimator, cell.seed, cell.split, outcome, scores
        )
        for i, (cell, outcome) in enumerate(zip(cells, outcomes, strict=True))
    ]
    n_failed = 0
    with Progress("compare", len(jobs), "cell", verbose) as progress:
        for i, outcome, scored in _run_jobs(jobs, n_jobs):
            yield i, outcome, scored
            n_failed += outcome["error"] is not None or bool(scored["errors"])
            progress.step(f"cell, {n_failed} failed")


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


def _result_row(
    cell: Cell, outcome: dict[str, Any], scored: dict[str, Any], metrics: list[str]
) -> dict[str, Any]:
    errors = [outcome["error"]] if outcome["error"] is not None else scored["errors"]
    cpu, peak = outcome["cpu_seconds"], outcome["peak_memory_mb"]
    return {
        "dataset": cell.dataset.name,
        "method": cell.method,
        "repeat": cell.repeat,
        "seed": cell.seed,
        **_split_entries(cell),
        **{name: scored["scores"].get(name, np.nan) for name in metrics},
        "fit_seconds": outcome["fit_seconds"],
        "cpu_seconds": np.nan if cpu is None else cpu,
        "peak_memory_mb": np.nan if peak is None else peak,
        "status": "failed" if errors else "ok",
        "error": "; ".join(errors),
        "warnings": "; ".join(dict.fromkeys(outcome["warnings"] + scored["warnings"])),
    }


def _split_entries(cell: Cell) -> dict[str, int]:
    if cell.split is None:
        return {}
    sizes = (len(cell.split.train), len(cell.split.test))
    if cell.dataset.task == CLUSTERING:
        return dict(zip(SUBSAMPLE_COLUMNS, sizes, strict=True))
    return dict(zip(SPLIT_COLUMNS, (cell.split.number, *sizes), strict=True))


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
