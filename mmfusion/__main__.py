"""The command line: ``python -m mmfusion compare`` and ``python -m mmfusion list``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence

from mmfusion._atomic import as_path
from mmfusion._text import one_line
from mmfusion.benchmark import compare
from mmfusion.benchmark._registry import (
    BASELINES,
    BASELINES_ABOUT,
    DATASETS,
    METHODS,
    choose_methods,
    load_datasets,
)
from mmfusion.benchmark._scores import DEFAULT_METRICS, METRICS


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Parameters
    ----------
    arguments : sequence of str, default=None
        Those of the command line by default.

    Returns
    -------
    int
        Exit status: 0, 1 if every cell failed, 130 if interrupted. (Wrong usage, and
        files that cannot be read or written, exit with status 2 and one line of error.)
    """
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        return COMMANDS[options.command](options)
    except KeyboardInterrupt:
        print("Interrupted; the same command takes up the run.", file=sys.stderr)
        return 130
    except (ImportError, MemoryError, OSError, TypeError, ValueError) as error:
        parser.error(one_line(" ".join(str(error).split()) or type(error).__name__))


def _list(options: argparse.Namespace) -> int:
    _print(_catalogue())
    return 0


def _compare(options: argparse.Namespace) -> int:
    out = as_path(options.out, "--out")
    comparison = compare(
        choose_methods(options.methods),
        load_datasets(options.data),
        options.metrics,
        options.repeats,
        n_jobs=options.jobs,
        out=out,
        verbose=True,
    )
    report = comparison.save(out)
    _print(comparison.to_markdown())
    _print(f"Report: {report}")
    return int((comparison.frame["status"] == "failed").all())


def _warm_up(options: argparse.Namespace) -> int:
    from mmfusion.alignment.dtw._warm_up import warm_up  # loads numba

    total = 0.0
    for name, seconds in warm_up():
        _print(f"{name:<24}{seconds:6.1f} s")
        total += seconds
    _print(f"Compiled or found in the cache in {total:.1f} s.")
    return 0


def _catalogue() -> str:
    sections: dict[str, Mapping[str, str]] = {
        "Methods": {name: entry.about for name, entry in METHODS.items()}
        | {BASELINES: BASELINES_ABOUT},
        "Data sets": {name: entry.about for name, entry in DATASETS.items()}
        | {"FILE.npz": "a file as mmfusion.datasets.save_npz writes it"},
        "Metrics": dict.fromkeys(METRICS, ""),
    }
    paragraphs = []
    for title, entries in sections.items():
        lines = (f"  {name:<24}{about}".rstrip() for name, about in entries.items())
        paragraphs.append("\n".join([title, *lines]))
    return "\n\n".join(paragraphs)


COMMANDS = {"list": _list, "warm-up": _warm_up, "compare": _compare}


def _print(text: str) -> None:
    """Print in the terminal's encoding, which may lack characters."""
    encoding = sys.stdout.encoding or "utf-8"
    print(text.encode(encoding, "backslashreplace").decode(encoding), flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m mmfusion", description="Compare clusterers of multimodal data."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="print the methods, data sets and metrics")
    commands.add_parser(
        "warm-up", help="compile the functions of mmfusion.alignment ahead of use"
    )
    run = commands.add_parser(
        "compare",
        help="run methods on data sets and write a report",
        description="Run methods on data sets and write a report. An interrupted run "
        "is taken up by the same command.",
    )
    run.add_argument(
        "--data",
        nargs="+",
        required=True,
        metavar="DATA",
        help="names of data sets (see list), or npz files",
    )
    run.add_argument(
        "--methods",
        nargs="+",
        default=["early", "late", BASELINES],
        metavar="METHOD",
        help="names of methods (see list); default: early late baselines",
    )
    run.add_argument(
        "--metrics",
        nargs="+",
        default=list(DEFAULT_METRICS),
        metavar="METRIC",
        help="scores (see list); default: " + " ".join(DEFAULT_METRICS),
    )
    run.add_argument("--repeats", type=int, default=10, help="seeds (default: 10)")
    run.add_argument("--jobs", type=int, default=1, help="cells at a time (default: 1)")
    run.add_argument(
        "--out", default="report", help="folder of cells and report (default: report)"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
