"""Asynchronous hidden Markov models: planted events, and time per cell.

    OMP_NUM_THREADS=1 python benchmarks/asynchronous_hmm.py

prints the share of the events of unseen samples that are found within two frames, and
their mean error in frames, over seeds of the simulation, beside events that are spread
evenly; then CPU time per frame, event and state of the lattice.
"""

from __future__ import annotations

import argparse
import time
import warnings

import numpy as np

from mmfusion.alignment import AsynchronousHMMAligner
from mmfusion.datasets import make_event_sequences
from mmfusion.graphical._asynchronous_lattice import (
    AsynchronousChain,
    asynchronous_log_likelihood,
    asynchronous_path,
    asynchronous_posteriors,
)

N_LEARNING, N_TEST = 12, 12
TOLERANCE_FRAMES = 2


def quality(n_seeds: int) -> None:
    """Print errors of unseen samples."""
    print("| noise | states | within 2 frames | mean error | evenly spread | CPU s |")
    print("|---|---|---|---|---|---|")
    for noise in (0.3, 0.6):
        for n_states in (5, 8):
            found, errors, even, seconds = [], [], [], []
            for seed in range(n_seeds):
                X, frames, _ = make_event_sequences(
                    N_LEARNING + N_TEST, noise_std=noise, random_state=seed
                )
                begin = time.process_time()
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    aligner = AsynchronousHMMAligner(n_states, random_state=0)
                    aligner.fit(X[:N_LEARNING])
                seconds.append(time.process_time() - begin)
                test, truth = X[N_LEARNING:], frames[N_LEARNING:]
                own = np.concatenate(
                    [
                        np.abs(sample["events"].path[:, 0] - at)
                        for sample, at in zip(aligner.align(test), truth, strict=True)
                    ]
                )
                found.append(np.mean(own <= TOLERANCE_FRAMES))
                errors.append(own.mean())
                spread = [
                    np.abs((np.arange(len(at)) + 0.5) * len(x) / len(at) - at)
                    for x, at in zip(test["signal"], truth, strict=True)
                ]
                even.append(np.mean(np.concatenate(spread) <= TOLERANCE_FRAMES))
            print(
                f"| {noise} | {n_states} | {np.mean(found):.3f} ± {np.std(found):.3f} "
                f"| {np.mean(errors):.2f} | {np.mean(even):.3f} "
                f"| {np.mean(seconds):.1f} |",
                flush=True,
            )


def speed(n_steps: int, n_events: int, n_states: int, repeats: int) -> None:
    """Print CPU time per cell."""
    rng = np.random.default_rng(0)
    chain = AsynchronousChain(
        np.full(n_states, 1 / n_states),
        rng.dirichlet(np.ones(n_states), n_states),
        np.full(n_states, n_events / n_steps),
    )
    case = (
        chain,
        5 * rng.standard_normal((n_steps, n_states)),
        5 * rng.standard_normal((n_events, n_states)),
    )
    print(f"\n{n_steps} frames, {n_events} events, {n_states} states\n")
    print("| task | band | ms | ns per frame, event and state |\n|---|---|---|---|")
    for band in (None, 20.0):
        for task in (
            asynchronous_log_likelihood,
            asynchronous_posteriors,
            asynchronous_path,
        ):
            times = []
            for _ in range(repeats + 1):
                begin = time.process_time()
                task(*case, band=band)
                times.append(time.process_time() - begin)
            least = min(times[1:])
            ns = 1e9 * least / (n_steps * n_events * n_states)
            print(f"| {task.__name__} | {band} | {1e3 * least:.1f} | {ns:.1f} |")


def main() -> None:
    """Run both parts."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--n-seeds", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    speed(1000, 100, 4, args.repeats)
    quality(args.n_seeds)


if __name__ == "__main__":
    main()
