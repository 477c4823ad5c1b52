"""Modalities in one npz file without pickled objects."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from os import PathLike
from typing import Any, Literal, overload

import numpy as np
from numpy.typing import ArrayLike
from scipy import sparse
from sklearn.utils import Bunch

from mmfusion import _blocks
from mmfusion._atomic import as_path
from mmfusion._blocks import Block
from mmfusion._columns import SEPARATOR, default_names
from mmfusion._numbers import refuse_unknown_type
from mmfusion._options import check_flags
from mmfusion._row_labels import check_row_labels, same_labels
from mmfusion._sequences import cut_frames
from mmfusion._typing import ModalitiesLike
from mmfusion.datasets._archive import read_arrays, write_arrays
from mmfusion.modalities import Modalities

# keys of the layout, which calls a modality a view; other keys are extra arrays
COMMON_KEYS = (
    "view_names",
    "observed",
    "row_labels",
    "y",
    "label_values",
    "source",
)
CLOCK_KEYS = ("frames", "lengths", "view_of_channel")
ERROR_SUBJECT = "the file has"
MAX_LISTED = 20  # keys and positions in errors
CSR_ATTRIBUTES = ("data", "indices", "indptr", "shape")
BLOCK_KEY = re.compile(
    rf"view_(\d+)(?:_(?:{'|'.join(CSR_ATTRIBUTES)}))?|(?:frames|lengths)_(\d+)"
)


def save_npz(
    path: str | PathLike[str],
    X: ModalitiesLike,
    y: ArrayLike | None = None,
    *,
    target_names: ArrayLike | None = None,
    source: str = "",
    extra: Mapping[str, ArrayLike] | None = None,
) -> None:
    """Save modalities and a target to one compressed npz file.

    Parameters
    ----------
    path : str or path-like
        File to write; ``.npz`` is not appended. An existing file is replaced once the
        new one is complete, and unchanged after an error.
    X : Modalities, or list or dict of arrays
        Data of dense or sparse arrays, or sequences.
    y : array-like of shape (n_samples, ...), default=None
        Target of each sample.
    target_names : array-like of shape (n_classes,), default=None
        Names of the classes 0, 1, ... in `y`.
    source : str, default=""
        Origin of the data.
    extra : dict of str to array-like, default=None
        Further arrays, such as a split into training and test samples.

    Raises
    ------
    OSError
        If the file cannot be written. The message names the path and a remedy.
    TypeError
        If a modality is a DataFrame, an array holds Python objects, or an argument has
        the wrong type.
    ValueError
        If the sequences of a modality differ in width or dtype, `y` has another number
        of samples or values without a name in `target_names`, an array is masked, or
        a key of `extra` belongs to the layout.

    See Also
    --------
    load_npz : Loads the file.

    Notes
    -----
    Keys and arrays of the file, in which v is the position of a modality, called view:

    ===================== ========================================================
    key                   array
    ===================== ========================================================
    ``view_names``        names of the modalities
    ``view_v``            dense modality of shape (n_samples, ...)
    ``view_v_data``,      sparse modality in CSR format with sorted indices; it is
    ``view_v_indices``,   loaded as a CSR array
    ``view_v_indptr``,
    ``view_v_shape``
    ``frames_v``,         modality of sequences: concatenated frames, and the number
    ``lengths_v``         of frames of each sample, or -1 if it lacks the modality
    ``frames``,           sequences of modalities with a common clock (equal lengths
    ``lengths``,          in all modalities, none missing): frames with the features
    ``view_of_channel``   of all modalities, the number of frames of each sample,
                          and the position of the modality of each feature
    ``observed``          whether a sample has a modality, unless all are observed
    ``row_labels``        labels of the samples, ``X.index``, if they have any
    ``y``                 target
    ``label_values``      names of the classes 0, 1, ...
    ``source``            origin of the data
    ===================== ========================================================

    The values of missing rows are stored, whether NaN or masked.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from mmfusion.datasets import load_npz, make_multimodal_blobs, save_npz
    >>> X, y = make_multimodal_blobs(missing_rate=0.2, random_state=0)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_npz(Path(folder) / "blobs.npz", X, y)
    ...     loaded = load_npz(Path(folder) / "blobs.npz")
    >>> loaded.data == X
    True
    """
    path = as_path(path)
    if not isinstance(source, str):
        raise TypeError(f"source is a {type(source).__name__}; give text")
    if not isinstance(extra, Mapping | None) or sparse.issparse(extra):
        raise TypeError(f"extra is a {type(extra).__name__}; give a dict of arrays")
    X = Modalities(X)
    arrays = {"view_names": np.array(X.names)}
    arrays |= _common_clock_arrays(X) if _share_a_clock(X) else _block_arrays(X)
    if not X.observed.all():
        arrays["observed"] = X.observed
    if not same_labels(X._index, None):
        arrays["row_labels"] = _storable_array(X._index, "row_labels")
    if y is not None:
        check_row_labels(X._index, y, "y")
        arrays["y"] = _storable_array(y, "y")
        _check_target(arrays["y"], X)
    if target_names is not None:
        arrays["label_values"] = _storable_array(target_names, "target_names")
        _check_label_values(arrays)
    if source:
        arrays["source"] = np.array(source)
    for name, value in (extra or {}).items():
        if not isinstance(name, str):
            raise TypeError(f"extra: {name!r} is not a name; give a dict by str")
        if _is_layout_key(name):
            raise ValueError(
                f"extra: {name!r} is a key of the layout; give the array another name"
            )
        arrays[name] = _storable_array(value, f"extra[{name!r}]")
    write_arrays(path, arrays)


@overload
def load_npz(
    path: str | PathLike[str],
    *,
    return_X_y: Literal[False] = ...,
) -> Bunch: ...


@overload
def load_npz(
    path: str | PathLike[str],
    *,
    return_X_y: Literal[True],
) -> tuple[Modalities, np.ndarray | None]: ...


def load_npz(
    path: str | PathLike[str], *, return_X_y: bool = False
) -> Bunch | tuple[Modalities, np.ndarray | None]:
    """Load modalities and a target from an npz file.

    The file is not trusted: nothing is unpickled, and sizes and indices are checked
    before memory is allocated or values are used.

    Parameters
    ----------
    path : str or path-like
        File in the layout described in :func:`save_npz`.
    return_X_y : bool, default=False
        Whether to return only the data and the target, as a tuple.

    Returns
    -------
    Bunch
        Dictionary-like object with the fields

        data : Modalities
            The data. In the names of modalities, consecutive underscores are replaced
            by one, and the position is appended to repeated names. The names are
            ``modality_0``, ... if the file has none.
        target : ndarray of shape (n_samples, ...) or None
            Target of each sample.
        target_names : ndarray of shape (n_classes,) or None
            Names of the classes 0, 1, ...
        extra : dict of str to ndarray
            Arrays that do not belong to the layout, such as ``split``.
        source : str
            Origin of the data.
        DESCR : str
            Summary of the file.

        or, with ``return_X_y=True``, the tuple (data, target).

    Raises
    ------
    OSError
        If the file does not exist or cannot be opened.
    ValueError
        If the file is not an npz file, is damaged or inconsistent, has another layout,
        or holds pickled objects. The message names the file.

    See Also
    --------
    save_npz : Saves such a file, and describes the layout.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import numpy as np
    >>> from mmfusion.datasets import load_npz
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "two.npz"
    ...     np.savez(path, view_0=np.eye(3), view_1=np.ones((3, 2)), y=[0, 1, 0])
    ...     X, y = load_npz(path, return_X_y=True)
    >>> X
    Modalities of 3 samples x 2 modalities
      modality_0  dense (3, 3) float64
      modality_1  dense (3, 2) float64
    """
    path = as_path(path)
    check_flags(return_X_y=return_X_y)
    arrays = read_arrays(path)
    try:
        X = _modalities(arrays)
        y = arrays.get("y")
        if y is not None:
            _check_target(y, X)
        _check_label_values(arrays)
        source = _source(arrays)
    except (MemoryError, OverflowError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from error
    if return_X_y:
        return X, y
    return Bunch(
        data=X,
        target=y,
        target_names=arrays.get("label_values"),
        extra={k: a for k, a in arrays.items() if not _is_used(k, arrays)},
        source=source,
        DESCR="\n".join(filter(None, [path.stem, repr(X), source])),
    )


def _is_layout_key(key: str) -> bool:
    return key in COMMON_KEYS + CLOCK_KEYS or BLOCK_KEY.fullmatch(key) is not None


def _is_used(key: str, arrays: Mapping[str, np.ndarray]) -> bool:
    """Return whether a key belongs to the layout of this very file."""
    return _is_layout_key(key) and (key not in CLOCK_KEYS or _has_common_clock(arrays))


def _has_common_clock(arrays: Mapping[str, np.ndarray]) -> bool:
    return "frames" in arrays and "lengths" in arrays


def _check_target(y: np.ndarray, X: Modalities) -> None:
    if y.shape[:1] != (len(X),):
        raise ValueError(f"y has shape {y.shape} for {len(X)} samples")


def _check_label_values(arrays: Mapping[str, np.ndarray]) -> None:
    """Check that the target consists of positions in the names of the classes."""
    y, names = arrays.get("y"), arrays.get("label_values")
    if names is not None and names.ndim != 1:
        raise ValueError(
            f"the names of the classes have shape {names.shape}; give a list"
        )
    if y is None or names is None or y.size == 0:
        return
    # of text too, whose minimum NumPy does not compute
    low, high = np.unique(y)[[0, -1]].tolist()
    if y.dtype.kind not in "iu" or low < 0 or high >= names.size:
        raise ValueError(
            f"the names of {names.size} classes need a target of integers from 0 to "
            f"{names.size - 1}; got {y.dtype} from {low!r} to {high!r}"
        )


# Saving


def _storable_array(value: object, name: str) -> np.ndarray:
    """Convert a value to an array without objects and masked cells."""
    try:
        refuse_unknown_type(value, name)
    except TypeError as error:
        raise TypeError(
            f"{name} is a {type(value).__name__}; give an array or a list"
        ) from error
    if isinstance(value, np.ma.MaskedArray) and np.ma.is_masked(value):
        raise ValueError(
            f"{name} is masked, which the file cannot hold; fill it, and save the mask "
            "in extra="
        )
    try:
        array = np.asarray(value)
    except Exception as error:  # raised by the conversion of a foreign object
        raise ValueError(f"{name} cannot be converted to an array: {error}") from error
    # objects that are strings, as in columns of pandas, need no pickling
    if array.dtype.kind == "O" and all(isinstance(e, str) for e in array.flat):
        array = array.astype(str)
    return _without_objects(array, name)


def _without_objects(array: np.ndarray, name: str) -> np.ndarray:
    if array.dtype.hasobject:
        raise TypeError(
            f"{name} holds Python objects, which would have to be pickled; give "
            "numbers or strings"
        )
    return array


def _share_a_clock(X: Modalities) -> bool:
    """Return whether sequences have equal lengths and dtypes in all modalities."""
    if not all(map(_blocks.is_sequences, X.blocks)):
        return False
    samples = [e for block in X.blocks for e in block]
    if not samples or any(e is None or e.ndim != 2 or e.shape[1] == 0 for e in samples):
        return False
    lengths = [[len(e) for e in block] for block in X.blocks]
    dtypes = {e.dtype for e in samples}
    return len(dtypes) == 1 and all(one == lengths[0] for one in lengths)


def _common_clock_arrays(X: Modalities) -> dict[str, np.ndarray]:
    flat = [_concatenated(b, n) for n, b in X.to_dict().items()]
    widths = [frames.shape[1] for frames in flat]
    return {
        "frames": np.hstack(flat),
        "lengths": np.array([len(e) for e in X.blocks[0]]),
        "view_of_channel": np.repeat(np.arange(len(widths)), widths),
    }


def _block_arrays(X: Modalities) -> dict[str, np.ndarray]:
    arrays: dict[str, np.ndarray] = {}
    for v, (name, block) in enumerate(X.to_dict().items()):
        if _blocks.is_frame(block):
            raise TypeError(
                f"modality {name!r} is a DataFrame, which the file cannot hold; give "
                "its values as an array, and its column names in extra="
            )
        if sparse.issparse(block):
            arrays |= _sparse_arrays(block, f"view_{v}")
        elif _blocks.is_sequences(block):
            arrays[f"frames_{v}"] = _concatenated(block, name)
            arrays[f"lengths_{v}"] = np.array(
                [-1 if e is None else len(e) for e in block], dtype=np.int64
            )
        else:
            arrays[f"view_{v}"] = _without_objects(block, f"modality {name!r}")
    return arrays


def _sparse_arrays(block: Block, key: str) -> dict[str, np.ndarray]:
    matrix = block.copy()
    matrix.sum_duplicates()  # also sorts the indices
    components = (matrix.data, matrix.indices, matrix.indptr, np.array(matrix.shape))
    return {
        f"{key}_{name}": array
        for name, array in zip(CSR_ATTRIBUTES, components, strict=True)
    }


def _concatenated(block: Block, name: str) -> np.ndarray:
    """Concatenate the sequences of a modality, which need one width and dtype."""
    observed = [(i, e) for i, e in enumerate(block) if e is not None]
    if not observed:
        return np.empty((0, 0))
    first_sample, first = observed[0]
    for i, e in observed:
        if e.shape[1:] != first.shape[1:] or e.dtype != first.dtype:
            raise ValueError(
                f"modality {name!r}: the sequence of sample {i} is {e.dtype} of shape "
                f"{e.shape}, that of sample {first_sample} {first.dtype} of shape "
                f"{first.shape}; to be saved, all need the same width and dtype"
            )
    return _without_objects(
        np.concatenate([e for _, e in observed]), f"modality {name!r}"
    )


# Loading


def _modalities(arrays: Mapping[str, np.ndarray]) -> Modalities:
    split = _split_by_clock if _has_common_clock(arrays) else _split_by_keys
    blocks = split(arrays)
    names = arrays.get("view_names")
    if names is not None and names.shape != (len(blocks),):
        raise ValueError(
            f"view_names has {names.size} names for {len(blocks)} modalities"
        )
    X = Modalities(
        blocks,
        names=default_names(len(blocks))
        if names is None
        else valid_names(names.tolist()),
        observed=arrays.get("observed"),
    )
    if "row_labels" in arrays:
        X.index = arrays["row_labels"]
    return X


def _source(arrays: Mapping[str, np.ndarray]) -> str:
    source = arrays.get("source", np.array(""))
    if source.shape != () or source.dtype.kind != "U":
        raise ValueError(f"source has {source.dtype} of shape {source.shape}, not text")
    return str(source)


def valid_names(stored: Iterable[Any]) -> list[str]:
    """Replace the names of modalities in a file by valid and distinct ones."""
    names: list[str] = []
    for v, name in enumerate(stored):
        valid = re.sub(f"{SEPARATOR}+", "_", str(name)) or default_names(v + 1)[v]
        while valid in names:
            valid = f"{valid}_{v}"
        names.append(valid)
    return names


def _split_by_clock(arrays: Mapping[str, np.ndarray]) -> list[Any]:
    others = sorted(key for key in arrays if BLOCK_KEY.fullmatch(key))
    if others:
        raise ValueError(
            f"the file has both {others[0]} and frames with lengths, which are two "
            "layouts; see save_npz"
        )
    frames, lengths = arrays["frames"], arrays["lengths"]
    if frames.ndim != 2:
        raise ValueError(
            f"frames has shape {frames.shape}; it needs (sum of lengths, n_features)"
        )
    modality = arrays.get("view_of_channel")
    if modality is None:
        modality = np.zeros(frames.shape[1], dtype=int)
    positions = np.unique(modality)
    n_modalities = len(positions)
    if (
        modality.shape != frames.shape[1:]
        or modality.dtype.kind not in "iu"
        or not np.array_equal(positions, np.arange(n_modalities))
    ):
        raise ValueError(
            "view_of_channel is the position of the modality, from 0, of each of "
            f"the {frames.shape[1]} features of frames; got {modality.dtype} of shape "
            f"{modality.shape} with the positions {positions[:MAX_LISTED].tolist()}"
        )
    return [
        cut_frames(frames[:, modality == v], lengths, "lengths", ERROR_SUBJECT)
        for v in range(n_modalities)
    ]


def _split_by_keys(arrays: Mapping[str, np.ndarray]) -> list[Any]:
    positions = {
        int(match[1] or match[2])
        for match in map(BLOCK_KEY.fullmatch, arrays)
        if match is not None
    }
    if not positions:
        raise ValueError(
            "the file has another layout than save_npz writes: neither view_0, ... "
            f"nor frames with lengths are among its keys {_keys(arrays)}; load the "
            "arrays with numpy.load and build Modalities from them"
        )
    return [_block(arrays, v) for v in range(max(positions) + 1)]


def _block(arrays: Mapping[str, np.ndarray], v: int) -> Any:
    """Build the block of the modality at position v."""
    if f"view_{v}" in arrays:
        return arrays[f"view_{v}"]
    if f"frames_{v}" in arrays and f"lengths_{v}" in arrays:
        frames, lengths = arrays[f"frames_{v}"], arrays[f"lengths_{v}"]
        return cut_frames(frames, lengths, f"lengths_{v}", ERROR_SUBJECT)
    keys = [f"view_{v}_{part}" for part in CSR_ATTRIBUTES]
    if not arrays.keys() >= set(keys):
        raise ValueError(
            f"modality {v} is missing or incomplete: it needs view_{v}, or "
            f"frames_{v} and lengths_{v}, or all of {', '.join(keys)}; the keys are "
            f"{_keys(arrays)}"
        )
    return _csr_array({part: arrays[f"view_{v}_{part}"] for part in CSR_ATTRIBUTES}, v)


def _keys(arrays: Mapping[str, np.ndarray]) -> str:
    keys = sorted(arrays)
    more = f" and {len(keys) - MAX_LISTED} more" if len(keys) > MAX_LISTED else ""
    return f"{keys[:MAX_LISTED]}{more}"


def _csr_array(parts: Mapping[str, np.ndarray], v: int) -> Any:
    """Build a CSR array and check that all its indices are in range."""
    for part, array in parts.items():
        kinds = "biufc" if part == "data" else "iu"
        if array.ndim != 1 or array.dtype.kind not in kinds:
            raise ValueError(
                f"view_{v}_{part} has {array.dtype} of shape {array.shape}; it needs "
                "one dimension of numbers, and integers unless it is data"
            )
    shape = tuple(parts["shape"].tolist())
    if len(shape) != 2:
        raise ValueError(f"view_{v}_shape has {len(shape)} values; it needs 2")
    try:
        matrix = sparse.csr_array(
            (parts["data"], parts["indices"], parts["indptr"]), shape=shape
        )
        # scipy would read and write memory outside the arrays
        matrix.check_format(full_check=True)
    except (OverflowError, TypeError, ValueError) as error:
        raise ValueError(f"view_{v} is not a valid CSR array: {error}") from error
    return matrix
