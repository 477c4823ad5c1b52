"""Command line: ``mmfusion compare``, ``list`` and ``warm-up``."""

from __future__ import annotations

import argparse
import os
import sys
import textwrap
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from mmfusion import __version__
from mmfusion._align_words import add_align_words, run_align_words
from mmfusion._atomic import as_path
from mmfusion._text import one_line
from mmfusion.benchmark import compare, preset
from mmfusion.benchmark._export import shown_name
from mmfusion.benchmark._presets import PRESETS
from mmfusion.benchmark._registry import (
    BASELINES,
    BASELINES_DESCRIPTIONS,
    DEFAULT_DATASETS,
    DEFAULT_METHODS,
    NAMED_DATASETS,
    NAMED_METHODS,
)
from mmfusion.benchmark._scores import DEFAULT_METRICS, METRIC_NAMES
from mmfusion.benchmark._tasks import CLUSTERING, TASKS
from mmfusion.datasets import load_file

REPEATS = 10
FAST_REPEATS = 3  # with --fast


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
    except BrokenPipeError:  # what reads the output, such as head, has ended
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (ImportError, MemoryError, OSError, TypeError, ValueError) as error:
        parser.error(one_line(" ".join(str(error).split()) or type(error).__name__))


def _run_list(options: argparse.Namespace) -> int:
    _print_text(_format_catalogue())
    return 0


def _run_compare(options: argparse.Namespace) -> int:
    out = as_path(options.out, "--out")
    task = options.task
    repeats = FAST_REPEATS if options.fast else REPEATS
    methods = _read_methods(options)
    datasets = _read_datasets(options) or DEFAULT_DATASETS[task]
    with redirect_stdout(sys.stderr):  # progress is no part of the tables
        comparison = compare(
            methods,
            datasets,
            options.metrics,
            repeats if options.repeats is None else options.repeats,
            task=task,
            cv=None if task == CLUSTERING else options.folds,
            subsample=options.subsample,
            n_jobs=options.jobs,
            out=out,
            verbose=True,
        )
    report = comparison.save(out)
    _print_text(comparison.to_markdown())
    _print_text(f"By {shown_name(comparison.metrics[0])}:")
    for line in comparison.conclusion().splitlines():
        _print_text(
            textwrap.fill(line, 88, initial_indent="- ", subsequent_indent="  ")
        )
    _print_text(f"\nReport: {report}")
    return int((comparison.frame["status"] == "failed").all())


def _read_methods(options: argparse.Namespace) -> Any:
    """Return the methods of a preset, of the options, or those by default."""
    if options.preset is not None:
        if options.task != CLUSTERING:
            raise ValueError("presets are of clusterers; leave out --task")
        return preset(options.preset, fast=options.fast)
    if options.fast:
        raise ValueError("--fast is for a preset; give --preset eamc, or leave it out")
    return options.methods or DEFAULT_METHODS[options.task]


def _read_datasets(options: argparse.Namespace) -> Mapping[str, Any]:
    """Return the data sets by name, files as the options of the command read them."""
    given = {name: getattr(options, name) for name in ("target", "index", "samples")}
    loading = {name: value for name, value in given.items() if value is not None}
    if options.modalities:
        loading["modalities"] = _column_spec(options.modalities)
    for place in ("layers", "obsm"):
        if words := getattr(options, place):
            pairs = [word.split("=", 1) for word in words]
            by_name = all(len(pair) == 2 for pair in pairs)
            loading[place] = dict(pairs) if by_name else words
            if len(words) == 1 and not by_name:
                loading[place] = words[0]
    datasets: dict[str, Any] = {}
    for item in options.data or ():
        is_named = item in NAMED_DATASETS
        name = item if is_named else Path(item).stem
        if name in datasets:
            raise ValueError(f"two data sets are called {name!r}; rename a file")
        is_file = not is_named and Path(item).is_file()
        datasets[name] = load_file(item, **loading) if is_file else item
    return datasets


def _column_spec(words: Sequence[str]) -> Any:
    """Return the modalities that words such as ``audio=a_*`` or ``__`` choose."""
    if any("=" in word for word in words):
        pairs = [word.partition("=") for word in words]
        if not all(name and columns for name, _, columns in pairs):
            raise ValueError(
                f"--modalities {' '.join(words)}: give NAME=COLUMNS for every modality"
            )
        return {
            name: columns.split(",") if "," in columns else columns
            for name, _, columns in pairs
        }
    numbers = [int(word) if word.isdecimal() else word for word in words]
    return numbers[0] if len(numbers) == 1 else numbers


def _run_warm_up(options: argparse.Namespace) -> int:
    from mmfusion.alignment.dtw._precompile import compile_kernels  # loads numba

    total = 0.0
    for name, seconds in compile_kernels():
        _print_text(f"{name:<24}{seconds:6.1f} s")
        total += seconds
    _print_text(f"Compiled or found in the cache in {total:.1f} s.")
    return 0


def _format_catalogue() -> str:
    sections: dict[str, Mapping[str, str]] = {}
    for task in TASKS:
        sections[f"Methods for {task}"] = {
            name: entry.description for name, entry in NAMED_METHODS[task].items()
        } | {BASELINES: BASELINES_DESCRIPTIONS[task]}
    sections["Presets"] = PRESETS
    sections["Data sets"] = {
        name: entry.description for name, entry in NAMED_DATASETS.items()
    }
    sections["Files"] = FILES
    for task in TASKS:
        sections[f"Metrics for {task}"] = dict.fromkeys(METRIC_NAMES[task], "")
    paragraphs = []
    for title, entries in sections.items():
        lines = (f"  {name:<24}{text}".rstrip() for name, text in entries.items())
        paragraphs.append("\n".join([title, *lines]))
    return "\n\n".join(paragraphs)


FILES = {
    ".npz": "as mmfusion.datasets.save_npz writes it",
    ".mat": "MATLAB: a cell array or matrices; --modalities, --target, --samples",
    ".csv .tsv .parquet": "table; --modalities, --target, --index",
    ".h5mu .h5ad": "MuData, AnnData; --target, --layers, --obsm (mmfusion[omics])",
}
COMMANDS = {"list": _run_list, "warm-up": _run_warm_up, "compare": _run_compare}
COMMANDS["align-words"] = run_align_words


def _print_text(text: str) -> None:
    """Print a text; characters that the encoding of the terminal lacks are escaped."""
    encoding = sys.stdout.encoding or "utf-8"
    print(text.encode(encoding, "backslashreplace").decode(encoding), flush=True)


def _make_parser() -> argparse.ArgumentParser:
    is_script = Path(sys.argv[0]).stem == "mmfusion"  # or else `python -m mmfusion`
    parser = argparse.ArgumentParser(
        prog="mmfusion" if is_script else "python -m mmfusion",
        description="Compare clusterers, classifiers or regressors of multimodal data.",
    )
    parser.add_argument(
        "--version", action="version", version=f"mmfusion {__version__}"
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="print the methods, data sets and metrics")
    commands.add_parser(
        "warm-up", help="compile the functions of mmfusion.alignment ahead of use"
    )
    add_align_words(commands)
    run = commands.add_parser(
        "compare",
        help="run methods on data sets and write a report",
        description="Run methods on data sets and write a report. The same command "
        "resumes an interrupted run.",
    )
    _add_data_options(run.add_argument_group("data"))
    _add_method_options(run.add_argument_group("methods and scores"))
    _add_run_options(run.add_argument_group("run"))
    return parser


def _add_data_options(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--data",
        nargs="+",
        metavar="DATA",
        help="names of data sets, or files (see list); default: "
        + " ".join(DEFAULT_DATASETS[CLUSTERING]),
    )
    group.add_argument(
        "--modalities",
        nargs="+",
        metavar="MODALITY",
        help="modalities of files: NAME=COLUMNS, such as audio=a_* or text=f1,f2, the "
        "separator in the names of columns, such as __, or variables of a .mat file, "
        "such as X or audio=X{1}",
    )
    for place in ("layers", "obsm"):
        group.add_argument(
            f"--{place}",
            nargs="+",
            metavar="KEY",
            help=f"matrices in {place} of .h5ad and .h5mu files: KEY, or MODALITY=KEY",
        )
    group.add_argument("--target", help="column or variable of the target in files")
    group.add_argument("--index", help="column of the row labels in tables")
    group.add_argument(
        "--samples", choices=["rows", "columns"], help="samples of .mat files"
    )


def _add_method_options(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--task",
        choices=TASKS,
        default=CLUSTERING,
        help="task of the methods (default: clustering)",
    )
    chosen = group.add_mutually_exclusive_group()
    chosen.add_argument(
        "--methods",
        nargs="+",
        metavar="METHOD",
        help="names of methods (see list); default: "
        + " ".join(DEFAULT_METHODS[CLUSTERING]),
    )
    chosen.add_argument(
        "--preset",
        choices=PRESETS,
        help="methods, metrics and published results of a comparison (see list)",
    )
    group.add_argument(
        "--fast",
        action="store_true",
        help="of a preset, leave out what takes long, and take "
        f"{FAST_REPEATS} seeds unless --repeats is given",
    )
    group.add_argument(
        "--metrics",
        nargs="+",
        metavar="METRIC",
        help="scores (see list); default: those of the preset, or "
        + " ".join(DEFAULT_METRICS[CLUSTERING]),
    )


def _add_run_options(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--folds",
        type=int,
        default=5,
        help="folds of a classification or regression (default: 5)",
    )
    group.add_argument(
        "--subsample",
        type=float,
        metavar="SHARE",
        help="share of the samples that each repeat of a clustering draws at random, "
        "so that methods without chance can be tested (default: all)",
    )
    group.add_argument("--repeats", type=int, help=f"seeds (default: {REPEATS})")
    group.add_argument(
        "--jobs", type=int, default=1, help="cells at a time (default: 1)"
    )
    group.add_argument(
        "--out", default="report", help="folder of cells and report (default: report)"
    )


if __name__ == "__main__":
    sys.exit(main())
