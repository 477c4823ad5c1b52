"""Hidden Markov models beside the packages that a user would take instead.

    OMP_NUM_THREADS=1 python benchmarks/hmm_speed.py --repeats 5

prints Markdown tables of CPU time (least of the repeats, which are interleaved, after a
first call that compiles) and how many times as long others take: an iteration of
expectation-maximisation, the best path and the log-likelihood of one long sequence of
diagonal Gaussians; then the recursions alone, with emissions given; then long
left-to-right chains; then peak memory. Results are compared with ours before they are
timed. Packages that are not installed are left out; they are best put into an
environment of their own, with this package: hmmlearn, pomegranate, dynamax.
"""

from __future__ import annotations

import argparse
import copy
import os
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np

from mmfusion.graphical import (
    ergodic_graph,
    forward_backward,
    left_to_right_graph,
    viterbi,
)
from mmfusion.graphical._chain_model import (
    ChainModel,
    decode_states,
    fit_chain_model,
    score_sequences,
)
from mmfusion.graphical._clock import Frames, ModalityFrames
from mmfusion.graphical._gaussian import DiagonalGaussian
from mmfusion.graphical._inference import chain_log_likelihood
from mmfusion.graphical._multimodal_emission import MultimodalEmission

SIZES = [(8, 10), (16, 20), (32, 40), (64, 60)]  # states, features
POMEGRANATE_FRAMES = 5_000  # it is some hundred times slower: times are scaled
MOST_STATES_OF_LOG = 16  # of hmmlearn's implementation 'log', which is slow too
N_ITER = 2
Run = Callable[[], Any]


class Problem:
    """Frames of a chain, and parameters to start from."""

    def __init__(self, n_states: int, n_features: int, n_frames: int) -> None:
        rng = np.random.default_rng(0)
        self.start = rng.dirichlet(np.ones(n_states))
        stay = np.eye(n_states) * 0.9
        self.transitions = stay + 0.1 * rng.dirichlet(np.ones(n_states), n_states)
        centers = rng.normal(size=(n_states, n_features))
        states = np.repeat(rng.integers(n_states, size=n_frames // 10 + 1), 10)
        noise = 1.5 * rng.normal(size=(n_frames, n_features))
        self.X = centers[states[:n_frames]] + noise
        self.means = centers + 0.3 * rng.normal(size=centers.shape)
        self.variances = rng.uniform(1, 3, size=centers.shape)

    def log_emissions(self) -> np.ndarray:
        """Compute the log densities of all frames in all states."""
        precisions = 1 / self.variances
        quadratic = self.X**2 @ precisions.T - 2 * self.X @ (self.means * precisions).T
        constant = (
            self.means**2 * precisions + np.log(2 * np.pi * self.variances)
        ).sum(axis=1)
        return -0.5 * (quadratic + constant)


def ours(problem: Problem) -> tuple[ChainModel, Frames]:
    """Return our model with the parameters to start from, and the frames."""
    emission = DiagonalGaussian(len(problem.means), prior_frames=0, variance_floor=0)
    emission.prepare(problem.X)
    emission.set_parameters(problem.means, problem.variances)
    graph = ergodic_graph(problem.transitions, problem.start)
    offsets = np.array([0, len(problem.X)])
    frames = Frames(offsets, {"x": ModalityFrames(problem.X, None, None)})
    return ChainModel(graph, MultimodalEmission({"x": emission})), frames


def our_tasks(problem: Problem) -> dict[str, Run]:
    """Return what is timed of ours."""
    model, frames = ours(problem)

    def fit() -> np.ndarray:
        fitted = copy.deepcopy(model)
        options = dict(max_iter=N_ITER, tol=-np.inf, transition_prior=0.0)
        return fit_chain_model(fitted, frames, **options).objective

    return {
        "EM iteration": fit,
        "decode": lambda: decode_states(model, frames)[1],
        "score": lambda: score_sequences(model, frames),
    }


def hmmlearn_tasks(problem: Problem, implementation: str) -> dict[str, Run]:
    """Return the same of hmmlearn, with its priors off."""
    from hmmlearn.hmm import GaussianHMM

    if implementation == "log" and len(problem.means) > MOST_STATES_OF_LOG:
        raise ImportError

    def make() -> Any:
        model = GaussianHMM(
            len(problem.means),
            covariance_type="diag",
            implementation=implementation,
            n_iter=N_ITER,
            tol=-np.inf,
            init_params="",
            covars_prior=0,
            covars_weight=0,
            min_covar=0,
        )
        model.n_features = problem.X.shape[1]
        model.startprob_, model.transmat_ = problem.start, problem.transitions
        model.means_, model.covars_ = problem.means, problem.variances
        return model

    model = make()
    return {
        "EM iteration": lambda: np.array(make().fit(problem.X).monitor_.history),
        "decode": lambda: np.array([model.decode(problem.X)[0]]),
        "score": lambda: np.array([model.score(problem.X)]),
    }


def pomegranate_tasks(problem: Problem) -> dict[str, Run]:
    """Return the same of pomegranate, of fewer frames."""
    import torch
    from pomegranate.distributions import Normal
    from pomegranate.hmm import DenseHMM

    torch.set_num_threads(1)
    X = torch.tensor(problem.X[None, :POMEGRANATE_FRAMES], dtype=torch.float32)

    def make(n_iter: int) -> Any:
        states = [
            Normal(m.astype("f4"), v.astype("f4"), covariance_type="diag")
            for m, v in zip(problem.means, problem.variances, strict=True)
        ]
        return DenseHMM(
            states,
            edges=problem.transitions.astype("f4"),
            starts=problem.start.astype("f4"),
            max_iter=n_iter,
            tol=0.0,
        )

    model = make(N_ITER)
    return {
        "EM iteration": lambda: make(N_ITER).fit(X),
        "decode": lambda: model.predict(X),
        "score": lambda: model.log_probability(X),
    }


def recursions(problem: Problem) -> dict[str, dict[str, Run]]:
    """Return the recursions alone, with emissions given, by package and task."""
    table = problem.log_emissions()
    graph = ergodic_graph(problem.transitions, problem.start)
    offsets = np.array([0, len(table)])
    runs: dict[str, dict[str, Run]] = {
        "ours": {
            "filter": lambda: chain_log_likelihood(graph, table, offsets),
            "smoother": lambda: forward_backward(graph, table, offsets)[0],
            "Viterbi": lambda: viterbi(graph, table, offsets)[1],
        }
    }
    with suppress(ImportError):
        runs["dynamax"] = dynamax_recursions(problem, table)
    return runs


def dynamax_recursions(problem: Problem, table: np.ndarray) -> dict[str, Run]:
    """Return those of dynamax, compiled."""
    import jax

    jax.config.update("jax_enable_x64", True)
    from dynamax.hidden_markov_model import (
        hmm_filter,
        hmm_posterior_mode,
        hmm_smoother,
    )

    given = [jax.numpy.asarray(a) for a in (problem.start, problem.transitions, table)]
    run_filter = jax.jit(lambda *a: hmm_filter(*a).marginal_loglik)
    run_smoother = jax.jit(hmm_smoother)
    run_mode = jax.jit(hmm_posterior_mode)

    def smooth() -> np.ndarray:
        posterior = run_smoother(*given)
        posterior.smoothed_probs.block_until_ready()
        return np.array([posterior.marginal_loglik])

    return {
        "filter": lambda: np.array([run_filter(*given)]),
        "smoother": smooth,
        "Viterbi": lambda: path_score(problem, table, np.array(run_mode(*given))),
    }


def path_score(problem: Problem, table: np.ndarray, states: np.ndarray) -> np.ndarray:
    """Compute the score of a path, for packages that do not return it."""
    score = np.log(problem.start[states[0]]) + table[range(len(table)), states].sum()
    return np.array(
        [score + np.log(problem.transitions)[states[:-1], states[1:]].sum()]
    )


def least_times(runs: dict[str, Run], repeats: int) -> dict[str, float]:
    """Return the least CPU time of each, of interleaved repeats."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(repeats):
        for name, run in runs.items():
            begin = time.process_time()
            run()
            times[name].append(time.process_time() - begin)
    return {name: min(own) for name, own in times.items()}


def tasks_of_packages(
    problem: Problem, without: list[str] | None = None
) -> dict[str, dict[str, Run]]:
    """Return the tasks of all packages that are installed and not left out."""
    makers: dict[str, Callable[[], dict[str, Run]]] = {
        "ours": lambda: our_tasks(problem),
        "hmmlearn scaling": lambda: hmmlearn_tasks(problem, "scaling"),
        "hmmlearn log": lambda: hmmlearn_tasks(problem, "log"),
        "pomegranate": lambda: pomegranate_tasks(problem),
    }
    found = {}
    for name, make in makers.items():
        if name in (without or []):
            continue
        try:
            found[name] = make()
        except ImportError:  # or too slow
            continue
    return found


def check(found: dict[str, dict[str, Run]], names: list[str]) -> None:
    """Run everything once, which compiles it, and compare others' results with ours."""
    for task, run in found["ours"].items():
        expected = run()
        for name in found.keys() - {"ours"}:
            result = found[name][task]()
            if name in names:
                np.testing.assert_allclose(result, expected, rtol=1e-9)


def print_rows(
    label: str,
    found: dict[str, dict[str, Run]],
    names: list[str],
    repeats: int,
    n_frames: int,
) -> None:
    """Time all packages and print a row for each task, with times of all `names`."""
    for task in found["ours"]:
        runs = {name: tasks[task] for name, tasks in found.items()}
        times = least_times(runs, repeats)
        if "pomegranate" in times:
            times["pomegranate"] *= n_frames / POMEGRANATE_FRAMES
        calls = N_ITER if task == "EM iteration" else 1
        ratios = [
            f"{times[name] / times['ours']:.1f}" if name in times else "-"
            for name in names
        ]
        row = [label, task, f"{1e3 * times['ours'] / calls:.1f}", *ratios]
        print(f"| {' | '.join(row)} |", flush=True)


def print_header(title: str, columns: list[str]) -> None:
    """Print the head of a table."""
    print(f"\n## {title}\n\n| {' | '.join(columns)} |\n|{'---|' * len(columns)}")


def print_left_to_right(repeats: int) -> None:
    """Print the time of a state and frame in long left-to-right chains."""
    print_header(
        "left-to-right chains: ns a state and frame",
        ["states", "frames", "max_skip", "posteriors and counts", "Viterbi"],
    )
    rng = np.random.default_rng(0)
    for n_states, n_frames, skip in [(200, 20_000, 0), (200, 20_000, 1), (20, 500, 1)]:
        graph = left_to_right_graph(n_states, max_skip=skip)
        table = rng.normal(size=(n_frames, n_states))
        offsets = np.array([0, n_frames])
        runs: dict[str, Run] = {
            "sums": lambda a=(graph, table, offsets): forward_backward(*a),
            "best": lambda a=(graph, table, offsets): viterbi(*a),
        }
        check({"ours": runs}, [])
        times = least_times(runs, repeats)
        cells = [f"{1e9 * own / table.size:.0f}" for own in times.values()]
        print(f"| {n_states} | {n_frames:,} | {skip} | {' | '.join(cells)} |")


def print_memory(n_frames: int) -> None:
    """Print what an iteration adds to the process at its peak."""
    print_header(
        "peak memory of EM beyond the frames, over the table of emissions",
        ["K, d", "table MB", "ours", "hmmlearn scaling"],
    )
    for n_states, n_features in SIZES:
        ratios = []
        for package in ("ours", "hmmlearn scaling"):
            arguments = [str(n_states), str(n_features), str(n_frames), package]
            command = [sys.executable, __file__, "--peak-of", *arguments]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            ratios.append(done.stdout.strip() or "-")
        size = n_states * n_frames * 8 / 1e6
        print(f"| {n_states}, {n_features} | {size:.0f} | {' | '.join(ratios)} |")


def print_peak(n_states: int, n_features: int, n_frames: int, package: str) -> None:
    """Print the peak of this process beyond what it held before, over the table."""
    small = tasks_of_packages(Problem(n_states, n_features, 500))[package]
    small["EM iteration"]()  # compiles, and loads libraries
    run = tasks_of_packages(Problem(n_states, n_features, n_frames))[package]
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")  # Linux: the peak begins anew
    before = resident("VmRSS")
    run["EM iteration"]()
    print(f"{(resident('VmHWM') - before) / (n_states * n_frames * 8):.2f}")


def resident(field: str) -> int:
    """Return a number of bytes of this process, as Linux counts them."""
    with open("/proc/self/status") as file:
        line = next(line for line in file if line.startswith(field))
    return 1024 * int(line.split()[1])


def main() -> None:
    """Print all tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--frames", type=int, default=100_000)
    parser.add_argument(
        "--without", nargs="*", default=[], help="packages to leave out"
    )
    parser.add_argument("--peak-of", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    if options.peak_of:
        *sizes, package = options.peak_of
        print_peak(*map(int, sizes), package)
        return
    problems = [(f"{k}, {d}", Problem(k, d, options.frames)) for k, d in SIZES]
    for number, (label, problem) in enumerate(problems):
        found = tasks_of_packages(problem, options.without)
        if not number:
            names = [name for name in found if name != "ours"]
            print_header("Gaussian models", ["K, d", "task", "ours, ms", *names])
        check(found, ["hmmlearn scaling", "hmmlearn log"])
        print_rows(label, found, names, options.repeats, options.frames)
    for number, (label, problem) in enumerate(problems):
        found = recursions(problem)
        if not number:
            names = [name for name in found if name != "ours"]
            columns = ["K, d", "task", "ours, ms", *names]
            print_header("recursions, emissions given", columns)
        check(found, ["dynamax"])
        print_rows(label, found, names, options.repeats, options.frames)
    print_left_to_right(options.repeats)
    print_memory(options.frames)


if __name__ == "__main__":
    os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false")
    main()
