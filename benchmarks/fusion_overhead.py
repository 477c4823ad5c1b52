"""What fusion costs beside its parts, in time and in memory.

    python benchmarks/fusion_overhead.py --sizes 1000 100000

fits and predicts (``predict_proba``) with early, late and hybrid classifiers of three
modalities of 32 features and three classes, and beside each, in turns, the same
learners by hand: scale, put side by side where it is early, fit, predict, average. The
ratio is of CPU seconds, the median over turns. Memory is the peak of what Python and
numpy allocate meanwhile beyond the data (tracemalloc), in multiples of the data.
Last, the same late fusion with its parts in parallel: two processes of joblib, two
threads, and dask, if it is there; results must be the same.
"""

from __future__ import annotations

import argparse
import gc
import time
import tracemalloc
from contextlib import nullcontext

import joblib
import numpy as np
from sklearn.base import clone
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from mmfusion import (
    EarlyFusionClassifier,
    HybridFusionClassifier,
    LateFusionClassifier,
    Modalities,
)

LEARNERS = {
    "logistic regression": LogisticRegression(max_iter=1000),
    "boosted trees": HistGradientBoostingClassifier(max_iter=20, early_stopping=False),
}
KINDS = {
    "early": EarlyFusionClassifier,
    "late": LateFusionClassifier,
    "hybrid": HybridFusionClassifier,
}


def make_data(n_samples):
    """Three modalities whose means differ between three classes."""
    rng = np.random.default_rng(0)
    y = rng.integers(3, size=n_samples)
    blocks = {}
    for name in ("audio", "text", "video"):
        centres = rng.normal(scale=0.3, size=(3, 32))
        blocks[name] = centres[y] + rng.normal(size=(n_samples, 32))
    return Modalities(blocks), y


def by_hand(learner, kind, X, y):
    """The parts of a fusion, with nothing around them."""
    blocks = list(X.blocks)
    groups = {"early": [blocks], "late": [[b] for b in blocks]}
    groups["hybrid"] = groups["late"] + groups["early"]
    said = []
    for group in groups[kind]:
        scalers = [StandardScaler().fit(block) for block in group]
        model = clone(learner).fit(side_by_side(scalers, group), y)
        said.append(model.predict_proba(side_by_side(scalers, group)))
    return np.mean(said, axis=0)


def side_by_side(scalers, blocks):
    scaled = [s.transform(block) for s, block in zip(scalers, blocks, strict=True)]
    return scaled[0] if len(scaled) == 1 else np.hstack(scaled)


def by_fusion(learner, kind, X, y):
    """The same by mmfusion."""
    return KINDS[kind](learner, scaling="standard").fit(X, y).predict_proba(X)


def seconds(function, *arguments):
    gc.collect()
    start = time.process_time()
    found = function(*arguments)
    return time.process_time() - start, found


def peak(function, *arguments):
    """Peak of what is allocated, in bytes."""
    gc.collect()
    tracemalloc.start()
    function(*arguments)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return most


def overhead(n_samples, turns):
    X, y = make_data(n_samples)
    n_bytes = sum(block.nbytes for block in X.blocks)
    for name, learner in LEARNERS.items():
        for kind in KINDS:
            arguments = (learner, kind, X, y)
            ours, parts = [], []
            for turn in range(turns):
                order = [(by_fusion, ours), (by_hand, parts)]
                answers = []
                for function, times in order if turn % 2 else order[::-1]:
                    spent, found = seconds(function, *arguments)
                    times.append(spent)
                    answers.append(found)
                np.testing.assert_allclose(*answers, atol=1e-3)
            memory = [peak(f, *arguments) / n_bytes for f in (by_fusion, by_hand)]
            ratio = np.median(np.divide(ours, parts))
            yield (
                f"| {name} | {kind} | {n_samples:,} | {np.median(parts):.3f} "
                f"| {np.median(ours):.3f} | {ratio:.3f} | {memory[0]:.2f} "
                f"| {memory[1]:.2f} |"
            )


def dask_backend():
    """A context that runs joblib on dask; None if dask is not there."""
    try:
        from distributed import Client
    except ImportError:
        return None
    client = Client(n_workers=2, threads_per_worker=1, dashboard_address=None)
    return client, joblib.parallel_config(backend="dask")


def parallel(n_samples):
    X, y = make_data(n_samples)
    model = LateFusionClassifier(LEARNERS["boosted trees"], weights="log_loss")
    start = time.perf_counter()
    expected = model.fit(X, y).predict_proba(X)
    yield "one", time.perf_counter() - start, True
    backends = {
        "two processes": (nullcontext(), joblib.parallel_config(n_jobs=2)),
        "two threads": (nullcontext(), joblib.parallel_config("threading", n_jobs=2)),
        "dask, two workers": dask_backend(),
    }
    for name, contexts in backends.items():
        if contexts is None:
            continue
        with contexts[0], contexts[1]:
            clone(model).fit(X[:200], y[:200])  # workers start
            start = time.perf_counter()
            found = clone(model).fit(X, y).predict_proba(X)
            yield name, time.perf_counter() - start, np.allclose(found, expected)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[1000, 100_000])
    parser.add_argument("--turns", type=int, default=7)
    arguments = parser.parse_args()
    print(
        "| learner | fusion | samples | parts s | fusion s | ratio | peak/data ", end=""
    )
    print("| parts' peak/data |\n" + "|---" * 8 + "|")
    for n_samples in arguments.sizes:
        turns = arguments.turns * (5 if n_samples <= 10_000 else 1)
        for line in overhead(n_samples, turns):
            print(line, flush=True)
    print("\n| workers | seconds | same result |\n|---|---|---|")
    for name, spent, same in parallel(5000):
        print(f"| {name} | {spent:.1f} | {'yes' if same else 'NO'} |", flush=True)


if __name__ == "__main__":
    main()
