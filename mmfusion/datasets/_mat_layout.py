"""Layouts of MATLAB files: which variables are modalities, labels and samples."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from scipy import sparse

from mmfusion._columns import default_names

# names of labels in the files of papers, in lower case without underscores
TARGET_NAMES = (
    "y",
    "gt",
    "gnd",
    "truth",
    "groundtruth",
    "truelabel",
    "truelabels",
    "label",
    "labels",
    "class",
    "classid",
    "target",
    "targets",
)
ORIENTATIONS = ("rows", "columns")
CELL_INDEX = re.compile(r"(.*?)\{(\d+)\}(.*)")
MAX_LISTED = 20  # variables in errors


def flatten(variables: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return variables and the fields of structs by path, such as ``data.X``."""
    flat: dict[str, Any] = {}
    for name, value in variables.items():
        if isinstance(value, dict):
            flat |= flatten(value, f"{prefix}{name}.")
        elif value is not None:
            flat[prefix + name] = value
    return flat


def variable(variables: Mapping[str, Any], path: str, parameter: str) -> Any:
    """Return a variable by its path, such as ``X``, ``data.X`` or ``X{1}``.

    Parameters
    ----------
    variables : dict of str to object
        Variables by path, as from `flatten`.
    path : str
        Path of the variable. The elements of cell arrays count from 1, as in MATLAB.
    parameter : str
        Parameter that names it, in errors.

    Returns
    -------
    object
        The value.

    Raises
    ------
    TypeError
        If the path is not text.
    ValueError
        If there is no such variable.
    """
    if not isinstance(path, str):
        raise TypeError(f"{parameter}: {path!r} is not the name of a variable")
    if path in variables:
        return variables[path]
    match = CELL_INDEX.fullmatch(path)
    cell = variables.get(match[1]) if match else None
    if match and isinstance(cell, list) and 1 <= int(match[2]) <= len(cell):
        element = cell[int(match[2]) - 1]
        if not match[3]:
            return element
        inner = flatten(element) if isinstance(element, dict) else {}
        return variable(inner, match[3].removeprefix("."), parameter)
    raise ValueError(
        f"{parameter}: the file has no variable {path!r}; it has {summary(variables)}"
    )


def summary(variables: Mapping[str, Any]) -> str:
    """Return the names, kinds and shapes of variables in one line."""
    listed = [f"{name} ({_form(value)})" for name, value in variables.items()]
    more = f" and {len(listed) - MAX_LISTED} more" if len(listed) > MAX_LISTED else ""
    return (", ".join(listed[:MAX_LISTED]) or "no variables") + more


def _form(value: Any) -> str:
    if isinstance(value, list):
        inner = ", ".join(_form(element) for element in value[:3])
        return f"cell of {len(value)}: {inner}{', ...' if len(value) > 3 else ''}"
    if not hasattr(value, "shape"):
        return "struct" if isinstance(value, dict) else "not read"
    kind = "text" if value.dtype.kind in "US" else "sparse"
    shape = " x ".join(map(str, value.shape))
    return f"{kind} {shape}" if kind == "text" or sparse.issparse(value) else shape


# Labels


def find_labels(
    variables: Mapping[str, Any], target: str | None
) -> tuple[np.ndarray | None, list[str]]:
    """Find the labels of the samples.

    Parameters
    ----------
    variables : dict of str to object
        Variables by path.
    target : str or None
        Path of the labels; None looks for one of the usual names.

    Returns
    -------
    labels : ndarray of shape (n_samples,) or None
        The labels as they are stored, or positions of the columns of one-hot labels;
        None without labels.
    paths : list of str
        Variables that hold these labels.

    Raises
    ------
    ValueError
        If `target` holds no labels, or several variables may be the labels.
    """
    if target is not None:
        labels = _as_labels(variable(variables, target, "target"))
        if labels is None:
            raise ValueError(
                f"target: {target} ({_form(variable(variables, target, 'target'))}) "
                "holds no labels, which are a vector or one-hot rows or columns"
            )
        return labels, [target]
    found = {}
    for path, value in variables.items():
        name = path.rpartition(".")[2].lower().replace("_", "")
        if name in TARGET_NAMES:
            labels = _as_labels(value)
            if labels is not None:
                found[path] = labels
    if not found:
        return None, []
    lengths = _lengths(variables.values())
    fitting = {path: own for path, own in found.items() if len(own) in lengths}
    found = fitting or found
    first, *others = found
    for other in others:
        if not np.array_equal(found[first], found[other]):
            raise ValueError(
                f"{first} and {other} may be the labels, and differ; choose with "
                f"target={first!r} or target={other!r}"
            )
    return found[first], list(found)


def _lengths(values: Iterable[Any]) -> set[int]:
    """Return the numbers of rows and columns of all matrices, also in cells."""
    lengths: set[int] = set()
    for value in values:
        if isinstance(value, list):
            lengths |= _lengths(value)
        elif _may_be_block(value, None):
            lengths |= {value.shape[0], value.shape[-1]}
    return lengths


def _as_labels(value: Any) -> np.ndarray | None:
    """Return a variable as a vector of labels; None if it holds none."""
    if isinstance(value, list):
        return _labels_of_cell(value)
    if sparse.issparse(value):
        value = value.toarray()
    if not isinstance(value, np.ndarray) or value.size == 0:
        return None
    if value.ndim > 2:
        return None
    if value.ndim < 2 or min(value.shape) == 1:
        labels = value.ravel()
        return np.char.strip(labels) if labels.dtype.kind == "U" else labels
    if value.dtype.kind == "U" or not np.isin(value, (0, 1)).all():
        return None
    for axis in (1, 0):  # one-hot rows, or else columns
        if (value.sum(axis=axis) == 1).all():
            return np.argmax(value, axis=axis)
    return None


def _labels_of_cell(cell: list[Any]) -> np.ndarray | None:
    """Return labels in a cell: one for each sample, or repeated for each modality."""
    each = [_as_labels(element) for element in cell]
    if not each or any(labels is None for labels in each):
        return None
    if all(len(labels) == 1 for labels in each):  # type: ignore[arg-type]
        return np.concatenate(each)  # type: ignore[arg-type]
    same = all(np.array_equal(each[0], labels) for labels in each)  # type: ignore[arg-type]
    return each[0] if same else None


def encode_classes(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """Encode classes from 0.

    Parameters
    ----------
    labels : ndarray of shape (n_samples,)
        Labels as they are stored.

    Returns
    -------
    y : ndarray of shape (n_samples,)
        Positions of the classes, of text and of the integers 1 to k; other labels as
        they are, integers as int64.
    target_names : ndarray of str of shape (n_classes,) or None
        Names of the classes; None for other labels.
    """
    if labels.dtype.kind == "b":
        labels = labels.astype(np.int64)
    is_integer = labels.dtype.kind in "iu"
    if labels.dtype.kind == "f":  # the usual type of MATLAB
        is_integer = bool(np.isfinite(labels).all() and (labels % 1 == 0).all())
    if is_integer:
        labels = labels.astype(np.int64)
    classes, y = np.unique(labels, return_inverse=True)
    counts_from_1 = is_integer and np.array_equal(classes, np.arange(len(classes)) + 1)
    if counts_from_1 or labels.dtype.kind == "U":
        return y.astype(np.int64), classes.astype(str)
    return labels, None


# Modalities


def find_blocks(
    variables: Mapping[str, Any],
    modalities: Any,
    labels: np.ndarray | None,
    label_paths: list[str],
) -> dict[str, Any]:
    """Find the matrices of the modalities, with samples as rows or columns.

    Parameters
    ----------
    variables : dict of str to object
        Variables by path.
    modalities : str, list of str, dict of str to str, or None
        Variables to choose. None looks for one cell array of matrices, or else for
        matrices.
    labels : ndarray of shape (n_samples,) or None
        Labels of the samples.
    label_paths : list of str
        Variables that hold the labels.

    Returns
    -------
    dict of str to array or sparse matrix
        Matrices by name of the modality, which may contain '__'.

    Raises
    ------
    ValueError
        If they cannot be found.
    """
    if modalities is not None:
        return _chosen_blocks(variables, modalities)
    n = None if labels is None else len(labels)
    others = {p: v for p, v in variables.items() if p not in label_paths}
    cells = {
        path: value
        for path, value in others.items()
        if isinstance(value, list) and value and all(_may_be_block(b, n) for b in value)
    }
    if len(cells) > 1:
        first = next(iter(cells))
        raise ValueError(
            f"each of the cell arrays {list(cells)} may hold the modalities; choose "
            f"with modalities={first!r}"
        )
    if cells:
        elements = next(iter(cells.values()))
        return dict(zip(default_names(len(elements)), elements, strict=True))
    blocks = {path: value for path, value in others.items() if _may_be_block(value, n)}
    if not blocks:
        with_n = "" if n is None else f" with {n} rows or columns, one for each label"
        raise ValueError(
            f"the file has no matrices{with_n}; choose variables with modalities= (and "
            f"target=) among {summary(variables)}"
        )
    return blocks


def _chosen_blocks(variables: Mapping[str, Any], modalities: Any) -> dict[str, Any]:
    """Return the matrices that the user has chosen."""
    if isinstance(modalities, str):
        value = variable(variables, modalities, "modalities")
        if isinstance(value, list):
            names = default_names(len(value))
            paths = [f"{modalities}{{{v + 1}}}" for v in range(len(value))]
        else:
            names, paths = [modalities], [modalities]
        modalities = dict(zip(names, paths, strict=True))
    elif isinstance(modalities, list | tuple):
        if len(set(map(str, modalities))) < len(modalities):
            raise ValueError(f"modalities={modalities!r} repeats a variable")
        modalities = {str(path): path for path in modalities}
    elif not isinstance(modalities, Mapping):
        raise TypeError(
            f"modalities is a {type(modalities).__name__}; give the name of a cell "
            "array, a list of variables, or a dict of variables by modality"
        )
    if not modalities:
        raise ValueError(f"modalities={modalities!r} names no variable")
    blocks = {}
    for name, path in modalities.items():
        value = variable(variables, path, "modalities")
        if not _is_matrix(value):
            hint = ""
            if isinstance(value, list):
                hint = f"; choose an element, {path}{{1}}"
            elif 0 in getattr(value, "shape", ()):
                hint = ", but empty; choose another variable, or leave it out"
            raise ValueError(
                f"modality {name!r}: {path} ({_form(value)}) is not a matrix of "
                f"numbers{hint}"
            )
        blocks[name] = value if value.ndim > 1 else value[:, None]
    return blocks


def _is_matrix(value: Any) -> bool:
    """Return whether a value is an array or sparse matrix of real numbers."""
    is_array = isinstance(value, np.ndarray) or sparse.issparse(value)
    if not is_array or value.ndim == 0 or 0 in value.shape:
        return False
    return value.dtype.kind in "biuf"


def _may_be_block(value: Any, n_samples: int | None) -> bool:
    """Return whether a value, not chosen by the user, may be that of a modality."""
    if not _is_matrix(value) or value.ndim < 2 or min(value.shape) < 2:
        return False
    return n_samples is None or n_samples in (value.shape[0], value.shape[-1])


# Samples


def with_samples_first(
    blocks: Mapping[str, Any], n_samples: int | None, samples: str | None
) -> dict[str, Any]:
    """Bring the samples of all modalities to the first axis.

    Parameters
    ----------
    blocks : dict of str to array or sparse matrix
        Matrices by modality.
    n_samples : int or None
        Number of labels; None without labels.
    samples : {'rows', 'columns'} or None
        Axis of the samples: the first or the last. None finds it from the number of
        labels, or of the samples that all modalities have in common.

    Returns
    -------
    dict of str to array or CSR matrix
        Matrices with one row per sample.

    Raises
    ------
    ValueError
        If the axis cannot be found, or has another number of samples.
    """
    is_axis = isinstance(samples, str) and samples in ORIENTATIONS
    if samples is not None and not is_axis:
        raise ValueError(f"samples={samples!r}; give 'rows', 'columns' or None")
    axes = dict.fromkeys(blocks, samples) if samples else _find_axes(blocks, n_samples)
    oriented = {}
    for name, block in blocks.items():
        if sparse.issparse(block):
            rows = block.tocsr() if axes[name] == "rows" else block.T.tocsr()
        else:
            rows = block if axes[name] == "rows" else np.moveaxis(block, -1, 0)
            rows = np.ascontiguousarray(rows)
        if n_samples is not None and rows.shape[0] != n_samples:
            raise ValueError(
                f"modality {name!r} ({_form(block)}) has {rows.shape[0]} "
                f"{axes[name]}, but there are {n_samples} labels; give another "
                "samples=, modalities= or target="
            )
        oriented[name] = rows
    return oriented


def _find_axes(blocks: Mapping[str, Any], n_samples: int | None) -> dict[str, str]:
    """Find the axis of the samples of each modality: 'rows' or 'columns'."""
    ends = {name: (b.shape[0], b.shape[-1]) for name, b in blocks.items()}
    fitting = [
        axis
        for axis, lengths in zip(
            ORIENTATIONS, zip(*ends.values(), strict=True), strict=True
        )
        if len({*lengths} | ({n_samples} if n_samples is not None else set())) == 1
    ]
    if len(fitting) == 1:
        return dict.fromkeys(blocks, fitting[0])
    shapes = ", ".join(f"{name!r} is {_form(block)}" for name, block in blocks.items())
    if len(fitting) == 2:
        raise ValueError(
            "the samples may be the rows or the columns of every modality "
            f"({shapes}); give samples='rows' or samples='columns'"
        )
    single = {
        name: [a for a, n in zip(ORIENTATIONS, pair, strict=True) if n == n_samples]
        for name, pair in ends.items()
    }
    if all(len(axes) == 1 for axes in single.values()):
        return {name: axes[0] for name, axes in single.items()}
    needed = f"{n_samples} labels" if n_samples is not None else "one number of samples"
    raise ValueError(
        f"the modalities do not fit {needed}, as rows or as columns: {shapes}; choose "
        "variables with modalities=, or labels with target="
    )
