"""Restarts of a training: phases in which they compete, and recovery from collapse."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from joblib import Parallel, delayed
from joblib.parallel import get_active_backend
from skorch.callbacks import Callback

from mmfusion.nn._callbacks import (
    EpochBar,
    Save,
    Selection,
    StopAtNaN,
    StopWhenConverged,
    Validation,
)
from mmfusion.nn._checkpoint import Checkpoint, follows, restore
from mmfusion.nn._data import Batches
from mmfusion.nn._isolation import isolated
from mmfusion.nn._net import DeepNet, Phase, begin_phase
from mmfusion.nn._trainer import TrainingSettings
from mmfusion.nn._training import (
    EVALUATION_ROWS,
    DivergenceError,
    evaluate_losses,
    freeze_fusion_weights,
)


@dataclass
class TrainingPlan:
    """Phases, data and options that all restarts of a training share.

    Parameters
    ----------
    phases : list of Phase
        The phases, in order. Those of no epochs are left out, but for the last.
    make_net : callable
        Takes skorch's callbacks and returns an initialised DeepNet.
    examine : callable
        Takes a trained net and the data; returns the predictions of the samples and a
        list of problems, empty if the net is healthy.
    data : Batches
        All samples.
    settings : TrainingSettings
        Options of the training.
    seeds : list of int
        One per restart.
    fingerprints : list of str
        Hash of the data and of everything that counts, by phase.
    stoppers : list of str, default=[]
        Description of the callbacks, any of which may end a phase.
    validation : Batches, default=None
        Samples that are not trained on, by which epochs and restarts are compared;
        None is all of `data`.
    report : callable, default=None
        Makes a skorch callback that reports a training to scikit-learn, from the
        phase and its position among all trainings that there may be.
    """

    phases: Sequence[Phase]
    make_net: Callable[[list[Any]], DeepNet]
    examine: Callable[[DeepNet, Batches], tuple[np.ndarray | None, list[str]]]
    data: Batches
    settings: TrainingSettings
    seeds: Sequence[int]
    fingerprints: Sequence[str]
    stoppers: Sequence[str] = ()
    validation: Batches | None = None
    report: Callable[[Phase, int], Callback] | None = None

    def evaluate(self, net: DeepNet) -> dict[str, float]:
        """Compute the losses by which epochs and restarts are compared."""
        if self.validation is None:
            return evaluate_losses(net, self.data, self.seeds[0])
        size = min(len(self.validation), EVALUATION_ROWS)
        return evaluate_losses(net, self.validation, self.seeds[0], size)

    @property
    def competing(self) -> int | None:
        """Position of the phase at whose end restarts compete, if there is one."""
        positions = (
            i for i, p in enumerate(self.phases) if p.n_epochs and p.compete is not None
        )
        return next(positions, None)


@dataclass
class Run:
    """A restart, as far as it has been trained.

    Parameters
    ----------
    start : int
        Number of the restart.
    net : DeepNet or None, default=None
        The net; None before the first phase, or if a loss was not finite.
    score : float, default=inf
        Score by which restarts are compared: lower is better.
    problems : list of str, default=[]
        Descriptions of what is unhealthy.
    predictions : ndarray, default=None
        Predictions of the training data, at the end.
    """

    start: int
    net: DeepNet | None = None
    score: float = math.inf
    problems: list[str] = field(default_factory=list)
    predictions: np.ndarray | None = None


def run_restarts(plan: TrainingPlan, n_jobs: int | None) -> tuple[Run, list[float]]:
    """Train from every start, or from the best of those that compete; take the best.

    If restarts compete in a phase, all are trained up to its end and compared by its
    score; the best goes on, and the next one only if that collapses. Otherwise the
    whole training runs from every start.

    Parameters
    ----------
    plan : TrainingPlan
        The training.
    n_jobs : int or None
        Restarts at a time, in processes; where joblib has but threads, as inside of
        its own processes, one.

    Returns
    -------
    best : Run
        The run of the fewest problems, then of the lowest score; by the criterion
        'total', as published, that of the lowest score whatever its problems.
    scores : list of float
        Scores of all starts.
    """
    starts = range(len(plan.seeds))
    backend, _ = get_active_backend(prefer="processes")
    if getattr(backend, "uses_threads", False):
        n_jobs = 1  # callbacks are one for all of them
    parallel = Parallel(n_jobs=n_jobs, prefer="processes")
    rank = _rank_by_score if plan.settings.selection == "total" else _rank
    competing, n_phases = plan.competing, len(plan.phases)
    if competing is None:
        whole = range(n_phases)
        runs = parallel(delayed(_train_phases)(plan, Run(s), whole) for s in starts)
        return min(runs, key=rank), [run.score for run in runs]
    first, rest = range(competing + 1), range(competing + 1, n_phases)
    candidates = parallel(delayed(_train_phases)(plan, Run(s), first) for s in starts)
    scores = [run.score for run in candidates]
    runs = []
    for run in sorted(candidates, key=_rank):
        runs.append(run if run.net is None else _train_phases(plan, run, rest))
        if not runs[-1].problems:
            break
    return min(runs, key=rank), scores


def _rank(run: Run) -> tuple[bool, int, float]:
    return run.net is None, len(run.problems), run.score


def _rank_by_score(run: Run) -> tuple[bool, float]:
    return run.net is None, run.score


def _train_phases(plan: TrainingPlan, run: Run, positions: range) -> Run:
    """Train one restart in some phases, and score it at the end."""
    for position in positions:
        phase = plan.phases[position]
        is_last = position == len(plan.phases) - 1
        if not phase.n_epochs and not is_last:
            continue
        with isolated(plan.seeds[run.start] + position) as generator:
            net = run.net or plan.make_net(plan.settings.callbacks)
            run = _train(plan, position, run.start, net, generator)
            if run.net is not None and phase.n_epochs and phase.learns_weights:
                freeze_fusion_weights(run.net, plan.data)
            if run.net is not None and is_last:
                run = _finish(plan, run.start, run.net)
        if run.net is None:
            return run
        if phase.n_epochs and phase.compete is not None:
            # one seed: the same batches for all restarts that are compared
            with isolated(plan.seeds[0]) as generator:
                size = plan.settings.batch_size
                epoch = phase.sampler.epoch(plan.data, size, generator)
                run.score = phase.compete(run.net, epoch)
    return run


def _finish(plan: TrainingPlan, start: int, net: DeepNet) -> Run:
    """Score and examine a net at the end of its training."""
    losses = plan.evaluate(net)
    try:
        predictions, problems = plan.examine(net, plan.data)
    except DivergenceError as error:  # by the last step
        return Run(start, problems=[str(error)])
    problems = problems + net.objective_.find_problems(net)
    return Run(start, net, losses[plan.settings.selection], problems, predictions)


def _train(
    plan: TrainingPlan, position: int, start: int, net: DeepNet, generator: Any
) -> Run:
    """Train a net for one phase, or for what a checkpoint has left of it."""
    phase = plan.phases[position]
    own = _own_callbacks(plan, position, start)
    epoch = phase.sampler.epoch(plan.data, plan.settings.batch_size, generator)
    users = net.callbacks_
    done, n_epochs = 0, phase.n_epochs
    if plan.settings.checkpoint_dir is not None:
        name = f"{phase.name.replace(' ', '-')}-{start}"
        fingerprint = plan.fingerprints[position]
        checkpoint = Checkpoint(plan.settings.checkpoint_dir, name, fingerprint)
        every, stoppers = plan.settings.checkpoint_every, plan.stoppers
        save = Save(checkpoint, every, phase.parts, generator, users, stoppers)
        own.append(save)
        state = checkpoint.load()
        if state is not None and follows(net, state):
            done = restore(net, state, generator)
            save.resumed = state["callbacks"]
            # with other callbacks, the phase would not have ended there
            n_epochs = done if state["stopped_by"] == list(stoppers) else n_epochs
            if phase.objective.has_converged(net):
                n_epochs = done
    if phase.n_before and len(net.history) - net.phase_start_ < phase.n_before:
        n_epochs = done  # a callback has ended the phase in its first part
    begin_phase(net, phase, done)
    named = [(type(c).__name__, c) for c in own]
    # first, since those of the user may monitor what it records
    first = [pair for pair in named if isinstance(pair[1], Validation)]
    net.callbacks_ = [*first, *users, *(pair for pair in named if pair not in first)]
    try:
        net.partial_fit(epoch, epochs=n_epochs - done)
    except DivergenceError as error:
        return Run(start, problems=[str(error)])
    finally:  # those of the plan hold the data
        net.callbacks_ = users
    return Run(start, net)


def _own_callbacks(plan: TrainingPlan, position: int, start: int) -> list[Callback]:
    """Make the callbacks of a phase of one restart, beside those of the user."""
    settings, phase = plan.settings, plan.phases[position]
    own: list[Callback] = [StopAtNaN()]
    is_last = position == len(plan.phases) - 1
    if is_last and plan.validation is not None:
        own.append(Validation(plan.evaluate))
    if is_last and settings.selection_every:
        every = settings.selection_every
        own.append(Selection(plan.data, settings.selection, every, plan.evaluate))
    if settings.verbose:
        own.append(EpochBar(f"restart {start + 1} of {len(plan.seeds)}"))
    if plan.report is not None:
        own.append(plan.report(phase, position * len(plan.seeds) + start))
    return [*own, StopWhenConverged()]
