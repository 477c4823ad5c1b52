"""Command ``mmfusion align-words``: links of the tokens of two texts."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import islice, zip_longest
from typing import TextIO

LINES_AT_ONCE = 10_000


def add_align_words(commands: argparse._SubParsersAction) -> None:
    """Add the parser of the command.

    Parameters
    ----------
    commands : action of argparse
        The subparsers of the command line.
    """
    run = commands.add_parser(
        "align-words",
        help="align the words of two texts, line by line",
        description="Align the words of two texts whose lines correspond. Each line of "
        "the output has the links of a line as 0-0 2-1: source and target positions.",
    )
    run.add_argument("source", help="text in UTF-8, tokens separated by spaces")
    run.add_argument("target", help="its translation, with as many lines")
    run.add_argument(
        "--method",
        choices=["hmm", "diagonal", "ibm1"],
        default="hmm",
        help="distribution of positions (default: hmm)",
    )
    run.add_argument(
        "--symmetrize",
        metavar="RULE",
        default="agreement",
        help="how links follow from both directions: agreement (default), forward, "
        "reverse, intersection, union, grow-diag, grow-diag-final or "
        "grow-diag-final-and",
    )
    run.add_argument(
        "--lowercase", action="store_true", help="convert tokens to lower case"
    )
    run.add_argument(
        "--iterations", type=int, default=5, help="of each model (default: 5)"
    )
    run.add_argument("--jobs", type=int, default=1, help="threads (default: 1)")
    run.add_argument("--out", help="file of the links; by default standard output")


def run_align_words(options: argparse.Namespace) -> int:
    """Run the command.

    Parameters
    ----------
    options : Namespace
        Options of the command line.

    Returns
    -------
    int
        Exit status 0.

    Raises
    ------
    ValueError
        If the texts have different numbers of lines.
    """
    from mmfusion.alignment import WordAligner  # loads numba

    aligner = WordAligner(
        options.method,
        symmetrize=options.symmetrize,
        n_iter=options.iterations,
        n_jobs=options.jobs,
    )
    # read twice, so that only a part of the texts is in memory
    aligner.fit_batches(_read_batches(options))
    with ExitStack() as stack:
        out: TextIO = sys.stdout
        if options.out:
            out = stack.enter_context(open(options.out, "w", encoding="utf-8"))
        for batch in _read_batches(options):
            for links in aligner.align(batch):
                print(*(f"{i}-{j}" for i, j in links.tolist()), file=out)
    return 0


def _read_batches(options: argparse.Namespace) -> Iterator[dict[str, list[list[str]]]]:
    """Read the tokens of both texts, some lines at a time."""
    paths = options.source, options.target
    with ExitStack() as stack:
        files = [
            stack.enter_context(open(path, encoding="utf-8", newline="\n"))
            for path in paths
        ]
        n_lines = 0
        pairs = zip_longest(*files)
        while lines := list(islice(pairs, LINES_AT_ONCE)):
            n_lines += len(lines)
            if None in lines[-1]:
                short = paths[lines[-1].index(None)]
                n_short = n_lines - sum(None in pair for pair in lines)
                raise ValueError(
                    f"{short} has {n_short} lines, fewer than the other text; each "
                    "line is translated by that of the same number, and an empty one "
                    "stands for no translation"
                )
            yield {
                name: [_tokens(pair[k], options.lowercase) for pair in lines]
                for k, name in enumerate(("source", "target"))
            }


def _tokens(line: str, lowercase: bool) -> list[str]:
    return (line.lower() if lowercase else line).split()
