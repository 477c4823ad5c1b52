"""Fuzz everything public, and print a report.

``python -m tests.fuzz --help`` lists the options.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from tests.fuzz.apart import run_apart
from tests.fuzz.calls import OWNERS, targets
from tests.fuzz.cases import FAULTS, all_cases, sample_cases

COLUMNS = ("accepted", "refused", *FAULTS)


def parsed() -> Any:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--only", default="", help="calls whose name has this in it")
    parser.add_argument("--cases", type=int, help="a sample for each call; default all")
    parser.add_argument("--seed", type=int, default=0, help="of the sample")
    parser.add_argument("--seconds", type=float, default=20, help="limit of an input")
    parser.add_argument("--faults", type=Path, help="write them to this file")
    return parser.parse_args()


def main() -> None:
    options = parsed()
    faults = options.faults.resolve().open("w") if options.faults else None
    os.chdir(tempfile.mkdtemp())  # some write files
    total: Counter[str] = Counter()
    print(f"{'':40}{'inputs':>9}" + "".join(f"{column:>12}" for column in COLUMNS))
    for target in (t for owner in OWNERS for t in targets(owner)):
        if options.only not in target.name:
            continue
        cases = all_cases(target)
        if options.cases is not None:
            cases = sample_cases(cases, options.cases, options.seed)
        counts: Counter[str] = Counter()
        for case, (status, detail) in zip(
            cases, run_apart(cases, options.seconds), strict=True
        ):
            counts[status] += 1
            if faults and status in FAULTS:
                print(f"{status}\t{case}\t{detail!r}"[:600], file=faults, flush=True)
        print_row(target.name, counts)
        total += counts
    print_row("all", total)


def print_row(name: str, counts: Counter[str]) -> None:
    figures = [counts.total(), *(counts[column] for column in COLUMNS)]
    row = f"{name:40}{figures[0]:>9}" + "".join(f"{n:>12}" for n in figures[1:])
    print(row, flush=True)


if __name__ == "__main__":
    main()
