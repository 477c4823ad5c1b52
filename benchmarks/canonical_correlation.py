"""MultimodalCCA beside the CCA of scikit-learn and CCA, MCCA and GCCA of cca-zoo.

    OMP_NUM_THREADS=1 python benchmarks/canonical_correlation.py [--out TABLE.csv]

Simulated modalities that share five components, without shrinkage. Each method is
fitted in a process of its own; prints a Markdown table of

- CPU s: of a fit to the complete data, the least of three;
- ratio: the same as a multiple of MultimodalCCA's;
- added MB: what the first fit adds to the process at its peak;
- difference: the largest between the correlations of its scores, mean over pairs of
  modalities, and those of MultimodalCCA.

cca-zoo (4.0) is measured where it is installed. scikit-learn's CCA takes two
modalities, and iterates to its tolerance, here 1e-10; it is left out for more than 200
features, where it takes minutes.
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
import time
from importlib.util import find_spec
from itertools import combinations
from pathlib import Path

import numpy as np

N_COMPONENTS = 5
# samples, features of each modality
SIZES = [
    (500, (50, 50)),
    (5_000, (50, 50)),
    (5_000, (200, 200)),
    (50_000, (50, 50)),
    (5_000, (50, 50, 50)),
    (5_000, (200, 200, 200)),
]
OURS = "MultimodalCCA"
METHODS = (OURS, "scikit-learn CCA", "cca-zoo CCA", "cca-zoo MCCA", "cca-zoo GCCA")


def make_data(n_samples, widths):
    """Modalities that share components of falling strength."""
    rng = np.random.default_rng(0)
    shared = rng.normal(size=(n_samples, N_COMPONENTS)) * [2.0, 1.6, 1.3, 1.0, 0.8]
    return [
        shared @ rng.normal(size=(N_COMPONENTS, d)) / 4
        + rng.normal(size=(n_samples, d))
        for d in widths
    ]


def make_fit(method, blocks):
    """A function that fits, and one that returns the scores of each modality."""
    if method == OURS:
        from mmfusion import MultimodalCCA

        model = MultimodalCCA(N_COMPONENTS, shrinkage=0.0, scaling=None)
        return lambda: model.fit(
            blocks
        ), lambda: model.transform_modalities(blocks).blocks
    if method == "scikit-learn CCA":
        from sklearn.cross_decomposition import CCA

        model = CCA(N_COMPONENTS, scale=False, tol=1e-10, max_iter=5000)
        return lambda: model.fit(*blocks), lambda: model.transform(*blocks)
    import cca_zoo.linear

    model = getattr(cca_zoo.linear, method.split()[1])(N_COMPONENTS)
    return lambda: model.fit(blocks), lambda: model.transform(blocks)


def applies(method, widths):
    if "cca-zoo" in method and find_spec("cca_zoo") is None:
        return False
    if method == "scikit-learn CCA" and max(widths) > 200:
        return False
    return len(widths) == 2 or not method.endswith(" CCA")


def memory_mb(field):
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) / 2**10
    raise RuntimeError(f"no {field} in /proc/self/status")


def measure(method, n_samples, widths):
    """CPU seconds, MB added and correlations of a method, in this process."""
    # imports and the first call of linear algebra are not part of the fit
    make_fit(method, make_data(60, (8,) * len(widths)))[0]()
    blocks = make_data(n_samples, widths)
    fit, scores = make_fit(method, blocks)
    Path("/proc/self/clear_refs").write_text("5")
    before, seconds, added = memory_mb("VmRSS"), [], None
    for _ in range(3):
        start = time.process_time()
        fit()
        seconds.append(time.process_time() - start)
        added = memory_mb("VmHWM") - before if added is None else added
    found = scores()
    pairs = [
        [np.corrcoef(a[:, i], b[:, i])[0, 1] for i in range(N_COMPONENTS)]
        for a, b in combinations(found, 2)
    ]
    mean = sorted(np.abs(np.mean(pairs, axis=0)), reverse=True)
    return {"seconds": min(seconds), "megabytes": added, "correlations": mean}


def rows():
    for n_samples, widths in SIZES:
        size = f"{n_samples:,} x {' + '.join(map(str, widths))}"
        own = None
        for method in filter(lambda name: applies(name, widths), METHODS):
            call = [sys.executable, __file__, "--measure", method, str(n_samples)]
            done = subprocess.run(
                [*call, *map(str, widths)], check=True, capture_output=True, text=True
            )
            found = json.loads(done.stdout.splitlines()[-1])
            own = own or found
            apart = np.subtract(found["correlations"], own["correlations"])
            yield [
                size,
                method,
                f"{found['seconds']:.3f}",
                f"{found['seconds'] / own['seconds']:.1f}",
                f"{found['megabytes']:.0f}",
                f"{np.abs(apart).max():.0e}" if method != OURS else "-",
            ]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path)
    parser.add_argument("--measure", nargs="+", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        method, n_samples, *widths = args.measure
        print(json.dumps(measure(method, int(n_samples), tuple(map(int, widths)))))
        return
    header = [
        "samples x features",
        "method",
        "CPU s",
        "ratio",
        "added MB",
        "difference",
    ]
    print(f"| {' | '.join(header)} |\n|{'---|' * len(header)}")
    table = []
    for row in rows():
        table.append(row)
        print(f"| {' | '.join(row)} |", flush=True)
    if args.out:
        with args.out.open("w", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows([header, *table])


if __name__ == "__main__":
    main()
