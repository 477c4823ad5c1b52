"""Progress of long computations: bars or lines, and scikit-learn's callbacks.

One form for all: with ``verbose=True`` a bar by tqdm, where it is installed and stderr
is a terminal or a notebook, else a line per step with its seconds; with ``verbose=2``
lines in any case. Inside `mmfusion.show_progress` all fits show theirs, those without
`verbose` as well. Estimators that inherit `CallbackSupportMixin` call scikit-learn's
callbacks (from 1.9 on) when the fit and each of its steps begin and end::

    with FitProgress(self, X, y, n_steps=len(samples), unit="sample") as progress:
        jobs = [Job(f"sample {i}", fit_one, (samples[i],)) for i in range(len(samples))]
        fitted = progress.run(jobs, self.n_jobs)
    ...
    progress.finish()
    return self
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from types import TracebackType
from typing import Any, NamedTuple, Self

from joblib import effective_n_jobs
from sklearn.base import BaseEstimator
from sklearn.utils.parallel import Parallel, delayed

MAX_LINES = 50  # of one line per step
FEWER_LINES = 20  # of longer computations
SILENT_SECONDS = 2.0  # after which these print a line in any case

# a function of the objective after a step, which returns whether to stop
OnStep = Callable[[float], bool]

# set by `mmfusion.show_progress`
requested_verbose: ContextVar[bool | int] = ContextVar("verbose", default=False)


def go_on(objective: float) -> bool:
    """Return that there are further steps, whatever the objective."""
    return False


class Job(NamedTuple):
    """One step that `Progress.run` executes, here or in another thread or process.

    Parameters
    ----------
    title : str
        What is computed.
    function : callable
        Function to call. During a fit with callbacks it gets the keyword argument
        `task`, for `with_callbacks_of`.
    args : tuple
        Its arguments.
    """

    title: str
    function: Callable[..., Any]
    args: tuple[Any, ...]


class Progress:
    """Context manager that shows the progress of a number of steps.

    Parameters
    ----------
    name : str
        Name of the estimator or function.
    n_steps : int
        Largest number of steps.
    unit : str, default='step'
        What a step computes, in the singular.
    verbose : bool or int, default=False
        Whether to show progress: True or 1 by a bar or lines, larger integers by lines.
        False is as `requested_verbose`.

    Attributes
    ----------
    is_stopped : bool
        Whether a callback has requested to stop.
    """

    def __init__(
        self, name: str, n_steps: int, unit: str = "step", verbose: bool | int = False
    ) -> None:
        self.name = name
        self.n_steps = n_steps
        self.unit = unit
        self.verbose = verbose or requested_verbose.get()
        self.is_stopped = False
        self._bar: Any = None
        self._done = 0
        self._since = time.perf_counter()  # the last line
        self._seconds = 0.0  # of the steps since then, if they report theirs
        self._pending: str | None = None  # the last of these

    def __enter__(self) -> Self:
        self._since = time.perf_counter()
        if self.verbose and int(self.verbose) == 1 and _is_interactive():
            try:
                from tqdm import tqdm
            except ImportError:  # lines in its place
                return self
            self._bar = tqdm(total=self.n_steps, desc=self.name, unit=self.unit)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None
        if self._pending is not None and error is None:
            self._print(self._pending)

    def step(self, title: str | None = None, seconds: float | None = None) -> bool:
        """Report that a step has ended.

        Parameters
        ----------
        title : str, default=None
            What was computed; None is the unit.
        seconds : float, default=None
            Time it took; None is that since the last line.

        Returns
        -------
        bool
            Whether a callback requests to stop.
        """
        stops = self._end(self._begin(title or self.unit), title, seconds)
        self.is_stopped = self.is_stopped or stops
        return stops

    def of_start(self, number: int) -> OnStep:
        """Return a function of the objective that reports a step of a start of a fit.

        Parameters
        ----------
        number : int
            Number of the start.

        Returns
        -------
        callable
            The function; it returns whether a callback requests to stop.
        """
        return lambda objective: self.step(f"start {number}, objective {objective:.6g}")

    @contextmanager
    def timed(self, title: str) -> Iterator[None]:
        """Report a step, which is the block, with its seconds.

        Parameters
        ----------
        title : str
            What is computed.

        Yields
        ------
        None
            Nothing; the block is executed.
        """
        task, start = self._begin(title), time.perf_counter()
        yield
        self._end(task, title, time.perf_counter() - start)

    def run(
        self, jobs: Sequence[Job], n_jobs: int | None = None, **options: Any
    ) -> list[Any]:
        """Execute steps, several at a time, and report each.

        Parameters
        ----------
        jobs : list of Job
            The steps.
        n_jobs : int, default=None
            Number of steps at a time; see joblib.
        **options : object
            Further options of :class:`joblib.Parallel`.

        Returns
        -------
        list
            Their results, in the order of the steps.
        """
        if effective_n_jobs(n_jobs) == 1:
            # joblib's own loop takes longer than small fits
            results = []
            for job in jobs:
                task = self._begin(job.title)
                result, seconds = _call_timed(job, task)
                self._end(task, job.title, seconds)
                results.append(result)
            return results
        tasks = [self._begin(job.title) for job in jobs]
        calls = [
            delayed(_call_timed)(job, task)
            for job, task in zip(jobs, tasks, strict=True)
        ]
        try:
            parallel = Parallel(n_jobs=n_jobs, return_as="generator", **options)
        except ValueError:  # backends such as multiprocessing return lists only
            parallel = Parallel(n_jobs=n_jobs, **options)
        results = []
        for job, task, (result, seconds) in zip(
            jobs, tasks, parallel(calls), strict=True
        ):
            self._end(task, job.title, seconds)
            results.append(result)
        return results

    def _begin(self, title: str) -> Any:
        """Begin a step; return its task, of which None has no callbacks."""
        return None

    def _end(self, task: Any, title: str | None, seconds: float | None) -> bool:
        self._done += 1
        if self._bar is not None:
            if title is not None:
                self._bar.set_postfix_str(title, refresh=False)
            self._bar.update()
        elif self.verbose:
            self._report(title or self.unit, seconds)
        return False

    def _report(self, title: str, seconds: float | None) -> None:
        """Print a line, for every step or some of many."""
        now = time.perf_counter()
        self._seconds += now - self._since if seconds is None else seconds
        self._since = now
        self._pending = title
        each = 1 if self.n_steps <= MAX_LINES else -(-self.n_steps // FEWER_LINES)
        is_due = self._done % each == 0 or self._done == self.n_steps
        if is_due or self._seconds > SILENT_SECONDS:
            self._print(title)

    def _print(self, title: str) -> None:
        self._pending = None
        place = f" ({self._done} of {self.n_steps})" if self.n_steps > 1 else ""
        print(f"[{self.name}] {title}{place}: {self._seconds:.2f} s", flush=True)
        self._seconds = 0.0


class FitProgress(Progress):
    """Progress of the fit of an estimator, which has callbacks.

    Parameters
    ----------
    estimator : estimator
        The estimator; its parameter `verbose`, if any, decides what is shown.
    X, y : object
        The data of `fit`, for the callbacks.
    n_steps : int
        Largest number of steps.
    unit : str, default='step'
        What a step computes, in the singular.
    """

    def __init__(
        self, estimator: BaseEstimator, X: Any, y: Any, n_steps: int, unit: str = "step"
    ) -> None:
        verbose = getattr(estimator, "verbose", False)
        super().__init__(type(estimator).__name__, n_steps, unit, verbose)
        self._estimator = estimator
        self._data = {"X": X, "y": y}
        self._fit: Any = None
        if hasattr(estimator, "_init_callback_context"):  # scikit-learn >= 1.9
            self._fit = estimator._init_callback_context(max_subtasks=n_steps)
            self._fit.call_on_fit_task_begin(estimator=estimator, **self._data)

    def finish(self) -> None:
        """Report the end of the fit; the estimator is fitted."""
        if self._fit is not None:
            self._fit.call_on_fit_task_end(
                estimator=self._estimator, reconstruction_attributes={}, **self._data
            )

    def _begin(self, title: str) -> Any:
        if self._fit is None:
            return None
        task = self._fit.subcontext(task_name=title)
        return task.call_on_fit_task_begin(estimator=self._estimator, **self._data)

    def _end(self, task: Any, title: str | None, seconds: float | None) -> bool:
        super()._end(task, title, seconds)
        if task is None:
            return False
        return task.call_on_fit_task_end(estimator=self._estimator, **self._data)


def with_callbacks_of(task: Any, estimator: BaseEstimator) -> Any:
    """Return a context in which a nested estimator has the callbacks of a step.

    Parameters
    ----------
    task : CallbackContext or None
        The step, which is the fit of the nested estimator; None has no callbacks.
    estimator : estimator
        The nested estimator. One that supports no callbacks is left as it is.

    Returns
    -------
    context manager
        The context.
    """
    if task is None or not hasattr(estimator, "set_callbacks"):
        return nullcontext()
    return task.propagate_callback_context(estimator)


def _is_interactive() -> bool:
    """Return whether bars are drawn over, rather than written to a file."""
    return "ipykernel" in sys.modules or sys.stderr.isatty()


def _call_timed(job: Job, task: Any) -> tuple[Any, float]:
    start = time.perf_counter()
    options = {} if task is None else {"task": task}
    result = job.function(*job.args, **options)
    return result, time.perf_counter() - start
