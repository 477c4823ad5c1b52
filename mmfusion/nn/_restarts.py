"""Restarts of a training: warm starts that compete, and recovery from collapse."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from joblib import Parallel, delayed
from joblib.parallel import get_active_backend

from mmfusion.nn._callbacks import Progress, Save, Selection, StopAtNaN
from mmfusion.nn._checkpoint import Checkpoint, restore
from mmfusion.nn._data import Batches, ShuffledBatches
from mmfusion.nn._isolation import isolated
from mmfusion.nn._neighbors import NeighborPairs
from mmfusion.nn._net import AdversarialNet
from mmfusion.nn._training import (
    DivergenceError,
    assign,
    begin,
    evaluate,
    freeze_attention,
    keep_best_head,
)

# loss of discriminators, relative to that of guessing, that teaches encoders nothing
SURE = 0.02


@dataclass
class Plan:
    """What every restart of a training does.

    Parameters
    ----------
    make_net : callable
        Takes skorch's callbacks and returns an initialised AdversarialNet.
    callbacks : list
        Those of the user.
    data : Batches
        All samples.
    graph_rows : ndarray of int
        Samples whose neighbours are known.
    graphs : ndarray of int of shape (G, n, n_neighbors)
        Their neighbours.
    batch_size : int
        Samples of a batch.
    pretrain_epochs, max_epochs : int
        Length of the two phases.
    term : {'clustering', 'total'}
        Loss by which runs, and epochs, are compared.
    selection_every : int or None
        Epochs between two evaluations; None keeps the last epoch.
    seeds : sequence of int
        One per restart.
    folder : Path or None
        Where checkpoints go.
    checkpoint_every : int
        Epochs between two checkpoints.
    fingerprints : dict of str to str
        Of the data and the parameters that count, by phase.
    verbose : bool
        Whether progress is shown.
    report : callable or None
        Makes a skorch callback that reports a training, of its name, position among
        all that there may be, and number of epochs.
    """

    make_net: Callable[[list[Any]], AdversarialNet]
    callbacks: list[Any]
    data: Batches
    graph_rows: np.ndarray
    graphs: np.ndarray
    batch_size: int
    pretrain_epochs: int
    max_epochs: int
    term: str
    selection_every: int | None
    seeds: Sequence[int]
    folder: Path | None
    checkpoint_every: int
    fingerprints: dict[str, str]
    verbose: bool
    report: Callable[[str, int, int], Any] | None = None

    def pairs(self, generator: Any) -> NeighborPairs:
        """An epoch of neighbours, in an order of its own."""
        return NeighborPairs(
            self.data, self.graph_rows, self.graphs, self.batch_size, generator
        )


@dataclass
class Run:
    """A training, or what is left of it.

    Parameters
    ----------
    start : int
        Number of the restart.
    net : AdversarialNet or None
        The trained net; None if a loss was not finite.
    score : float
        What restarts are compared by: lower is better.
    problems : list of str
        What is unhealthy.
    labels : ndarray of int of shape (n_samples,) or None
        Clusters in the end.
    """

    start: int
    net: AdversarialNet | None
    score: float = math.inf
    problems: list[str] = field(default_factory=list)
    labels: np.ndarray | None = None


def run_restarts(plan: Plan, n_jobs: int | None) -> tuple[Run, list[float]]:
    """Train from every start, or from the best warm start, and take the best.

    With warm starts, all are made and compared by how well neighbours agree; the
    game is played from the best, and from the next one only if that collapses.
    Without, the whole training runs from every start.

    Parameters
    ----------
    plan : Plan
        What to do.
    n_jobs : int or None
        Restarts at a time, in processes; where joblib has but threads, as inside of
        its own processes, one.

    Returns
    -------
    best : Run
        With the fewest problems, then the lowest score.
    scores : list of float
        Of every start.
    """
    starts = range(len(plan.seeds))
    backend, _ = get_active_backend(prefer="processes")
    if getattr(backend, "uses_threads", False):
        n_jobs = 1  # callbacks are one for all of them
    parallel = Parallel(n_jobs=n_jobs, prefer="processes")
    if not plan.pretrain_epochs:
        runs = parallel(delayed(play)(plan, s) for s in starts)
        return min(runs, key=_rank), [run.score for run in runs]
    warm = parallel(delayed(warm_up)(plan, s) for s in starts)
    scores = [run.score for run in warm]
    runs = []
    for run in sorted(warm, key=_rank):
        runs.append(run if run.net is None else play(plan, run.start, run.net))
        if not runs[-1].problems:
            break
    return min(runs, key=_rank), scores


def _rank(run: Run) -> tuple[bool, int, float]:
    return run.net is None, len(run.problems), run.score


def warm_up(plan: Plan, start: int) -> Run:
    """Train until neighbours agree, from a start of its own."""
    with isolated(plan.seeds[start]) as generator:
        net = plan.make_net(plan.callbacks)
        pairs = plan.pairs(generator)
        run = _train(plan, start, net, pairs, generator, plan.pretrain_epochs)
    if run.net is not None:
        with isolated(plan.seeds[0]) as generator:
            run.score = keep_best_head(net, plan.pairs(generator))
    return run


def play(plan: Plan, start: int, net: AdversarialNet | None = None) -> Run:
    """Play the game, from a warm start or from scratch."""
    with isolated(plan.seeds[start] + 1) as generator:
        if net is None:
            net = plan.make_net(plan.callbacks)
        batches = ShuffledBatches(plan.data, plan.batch_size, generator)
        run = _train(plan, start, net, batches, generator, plan.max_epochs)
    if run.net is not None:
        if plan.max_epochs:
            freeze_attention(net, plan.data)
        run.score = evaluate(net, plan.data, plan.seeds[0])[plan.term]
        try:
            run.labels = assign(net, plan.data.rows, plan.data.prepare)
        except DivergenceError as error:  # by the last step
            return Run(start, None, problems=[str(error)])
        run.problems += find_problems(net, run.labels)
    return run


def _train(
    plan: Plan,
    start: int,
    net: AdversarialNet,
    epoch: Any,
    generator: Any,
    n_epochs: int,
) -> Run:
    """Train a net for one phase, or for what a checkpoint has left of it."""
    phase = "warm start" if isinstance(epoch, NeighborPairs) else "game"
    own: list[Any] = [StopAtNaN()]
    if phase == "game" and plan.selection_every is not None:
        own.append(Selection(plan.data, plan.term, plan.selection_every, plan.seeds[0]))
    if plan.verbose:
        own.append(Progress(f"restart {start + 1} of {len(plan.seeds)}"))
    if plan.report is not None:
        position = start if phase == "warm start" else len(plan.seeds) + start
        own.append(plan.report(phase, position, n_epochs))
    done = 0
    if plan.folder is not None:
        name = f"{phase.replace(' ', '-')}-{start}"
        checkpoint = Checkpoint(plan.folder, name, plan.fingerprints[phase])
        own.append(Save(checkpoint, plan.checkpoint_every, generator))
        state = checkpoint.load()
        if state is not None:
            done = restore(net, state, generator)
    begin(net, phase, n_epochs, done)
    users = net.callbacks_
    net.callbacks_ = [*users, *((type(c).__name__, c) for c in own)]
    try:
        net.partial_fit(epoch, epochs=n_epochs - done)
    except DivergenceError as error:
        return Run(start, None, problems=[str(error)])
    finally:  # ours hold the data
        net.callbacks_ = users
    return Run(start, net)


def find_problems(net: AdversarialNet, labels: np.ndarray) -> list[str]:
    """Tell what is unhealthy about a trained net.

    Parameters
    ----------
    net : AdversarialNet
        The net.
    labels : ndarray of int of shape (n_samples,)
        Clusters of the samples it was trained on.

    Returns
    -------
    list of str
        Dead clusters, discriminators that are sure; empty if all is well.
    """
    problems = []
    n_clusters = net.module_.heads.assign.shape[-1]
    n_empty = n_clusters - len(np.unique(labels))
    if n_empty:
        problems.append(f"{n_empty} of {n_clusters} clusters are empty")
    last = net.history[-1] if len(net.history) else {}
    guessing = 2 * math.log(2) * (len(net.module_.encoders) - 1)
    if last.get("discriminator", guessing) < SURE * guessing:
        problems.append("the discriminators tell every modality from the reference")
    return problems
