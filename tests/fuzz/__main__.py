"""Fuzz everything public in processes of their own, and print a report.

``python -m tests.fuzz --help`` lists the options.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import resource
import tempfile
from collections import Counter
from collections.abc import Iterator
from multiprocessing.connection import Connection
from typing import Any

from tests.fuzz.cases import FAULTS, Case, Outcome, every_case, run

MEMORY_BYTES = 6 * 2**30  # of a process; what asks for more gets a MemoryError
COLUMNS = ("accepted", "refused", *FAULTS)


def work(connection: Connection, cases: list[Case], folder: str) -> None:
    """Run cases one after the other, in an empty folder."""
    os.chdir(folder)
    used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
    limit = used + MEMORY_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    for case in cases:
        connection.send(run(case))


def run_apart(cases: list[Case], seconds: float) -> Iterator[Outcome]:
    """Run cases in another process, and in a new one after each that ends it."""
    context = multiprocessing.get_context("fork")
    done = 0
    while done < len(cases):
        with tempfile.TemporaryDirectory() as folder:
            ours, theirs = context.Pipe()
            worker = context.Process(target=work, args=(theirs, cases[done:], folder))
            worker.start()
            theirs.close()
            while done < len(cases):
                if not ours.poll(seconds):
                    yield Outcome(cases[done], "hang", f"longer than {seconds} s")
                    break
                try:
                    outcome = ours.recv()
                except EOFError:
                    worker.join()
                    yield Outcome(cases[done], "died", f"exit {worker.exitcode}")
                    break
                yield outcome
                done += 1
            else:
                done -= 1
            done += 1
            worker.kill()
            worker.join()


def parsed() -> Any:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--only", default="", help="targets whose name has this")
    parser.add_argument("--cases", type=int, help="a sample of each target, not all")
    parser.add_argument("--seed", type=int, default=0, help="of the sample")
    parser.add_argument("--seconds", type=float, default=20, help="limit of a call")
    parser.add_argument("--faults", help="write those to this file")
    return parser.parse_args()


def main() -> None:
    options = parsed()
    faults, totals = [], Counter()
    print(f"{'':40}{'inputs':>9}" + "".join(f"{c:>12}" for c in COLUMNS))
    for name, cases in every_case(options.cases, options.seed):
        if options.only not in name:
            continue
        outcomes = list(run_apart(cases, options.seconds))
        counts = Counter(outcome.status for outcome in outcomes)
        totals += counts
        faults += [o for o in outcomes if o.status in FAULTS]
        _print_row(name, counts)
        if options.faults:
            with open(options.faults, "a") as file:
                for o in outcomes:
                    if o.status in FAULTS:
                        print(f"{o.status}\t{o.case}\t{o.detail!r}"[:600], file=file)
    _print_row("all", totals)


def _print_row(name: str, counts: Counter[str]) -> None:
    figures = [counts.total(), *(counts[c] for c in COLUMNS)]
    print(f"{name:40}{figures[0]:>9}" + "".join(f"{n:>12}" for n in figures[1:]), flush=True)


if __name__ == "__main__":
    main()
