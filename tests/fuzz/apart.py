"""Run cases in processes of their own, which may hang, grow or die."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import resource
import tempfile
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path

from tests.fuzz.cases import Case, Outcome, run

MEMORY_BYTES = 6 * 2**30  # beyond what is used; what asks for more gets a MemoryError


def run_apart(cases: list[Case], seconds: float) -> Iterator[Outcome]:
    """Run cases one after the other, in a new process after each that ends it."""
    for target in {case.target for case in cases}:
        with contextlib.suppress(Exception):  # such as what was never downloaded
            target.call(**target.arguments())  # so that no case waits for a compiler
    done = 0
    while done < len(cases):
        for outcome in _run_in_one(cases[done:], seconds):
            done += 1
            yield outcome


def _run_in_one(cases: list[Case], seconds: float) -> Iterator[Outcome]:
    """Run cases in one process, up to the one that hangs or ends it."""
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe(duplex=False)
    with tempfile.TemporaryDirectory() as folder:
        worker = context.Process(target=_work, args=(theirs, cases, folder))
        worker.start()
        theirs.close()
        try:
            for _ in cases:
                if not ours.poll(seconds):
                    yield Outcome("hang", f"longer than {seconds} s")
                    return
                yield ours.recv()
        except EOFError:
            worker.join()
            yield Outcome("died", f"exit code {worker.exitcode}")
        finally:
            worker.kill()
            worker.join()


def _work(connection: Connection, cases: list[Case], folder: str) -> None:
    os.chdir(folder)
    n_pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = n_pages * resource.getpagesize() + MEMORY_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    for case in cases:
        connection.send(run(case))
