"""Command line: ``mmfusion compare``, ``list`` and ``warm-up``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from mmfusion import __version__
from mmfusion._atomic import as_path
from mmfusion._text import one_line
from mmfusion.benchmark import compare
from mmfusion.benchmark._registry import (
    BASELINES,
    BASELINES_DESCRIPTION,
    NAMED_DATASETS,
    NAMED_METHODS,
    choose_methods,
    load_datasets,
)
from mmfusion.benchmark._scores import DEFAULT_METRICS, METRIC_NAMES


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Parameters
    ----------
    arguments : sequence of str, default=None
        Arguments of the command; by default those of the command line.

    Returns
    -------
    int
        Exit status: 0, 1 if every cell failed, 130 if interrupted. Wrong usage, and
        files that cannot be read or written, exit with status 2 and one line of error.
    """
    parser = _make_parser()
    options = parser.parse_args(arguments)
    try:
        return COMMANDS[options.command](options)
    except KeyboardInterrupt:
        print("Interrupted; the same command resumes the run.", file=sys.stderr)
        return 130
    except (ImportError, MemoryError, OSError, TypeError, ValueError) as error:
        parser.error(one_line(" ".join(str(error).split()) or type(error).__name__))


def _run_list(options: argparse.Namespace) -> int:
    _print_text(_format_catalogue())
    return 0


def _run_compare(options: argparse.Namespace) -> int:
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
    _print_text(comparison.to_markdown())
    _print_text(f"Report: {report}")
    return int((comparison.frame["status"] == "failed").all())


def _run_warm_up(options: argparse.Namespace) -> int:
    from mmfusion.alignment.dtw._precompile import compile_kernels  # loads numba

    total = 0.0
    for name, seconds in compile_kernels():
        _print_text(f"{name:<24}{seconds:6.1f} s")
        total += seconds
    _print_text(f"Compiled or found in the cache in {total:.1f} s.")
    return 0


def _format_catalogue() -> str:
    sections: dict[str, Mapping[str, str]] = {
        "Methods": {name: entry.description for name, entry in NAMED_METHODS.items()}
        | {BASELINES: BASELINES_DESCRIPTION},
        "Data sets": {name: entry.description for name, entry in NAMED_DATASETS.items()}
        | {"FILE.npz": "a file written by mmfusion.datasets.save_npz"},
        "Metrics": dict.fromkeys(METRIC_NAMES, ""),
    }
    paragraphs = []
    for title, entries in sections.items():
        lines = (f"  {name:<24}{text}".rstrip() for name, text in entries.items())
        paragraphs.append("\n".join([title, *lines]))
    return "\n\n".join(paragraphs)


COMMANDS = {"list": _run_list, "warm-up": _run_warm_up, "compare": _run_compare}


def _print_text(text: str) -> None:
    """Print a text; characters that the encoding of the terminal lacks are escaped."""
    encoding = sys.stdout.encoding or "utf-8"
    print(text.encode(encoding, "backslashreplace").decode(encoding), flush=True)


def _make_parser() -> argparse.ArgumentParser:
    is_script = Path(sys.argv[0]).stem == "mmfusion"  # or else `python -m mmfusion`
    parser = argparse.ArgumentParser(
        prog="mmfusion" if is_script else "python -m mmfusion",
        description="Compare clusterers of multimodal data.",
    )
    parser.add_argument(
        "--version", action="version", version=f"mmfusion {__version__}"
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="print the methods, data sets and metrics")
    commands.add_parser(
        "warm-up", help="compile the functions of mmfusion.alignment ahead of use"
    )
    run = commands.add_parser(
        "compare",
        help="run methods on data sets and write a report",
        description="Run methods on data sets and write a report. The same command "
        "resumes an interrupted run.",
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
        default=["multimodal", "spectral", "early", "late", BASELINES],
        metavar="METHOD",
        help="names of methods (see list); default: multimodal "
        "spectral early late baselines",
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
