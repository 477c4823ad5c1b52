"""Modalities in one npz file, without pickled objects."""

from __future__ import annotations

import re
from collections.abc import Mapping
from os import PathLike
from typing import Any

import numpy as np
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
from mmfusion.datasets._archive import read_arrays, write_arrays
from mmfusion.modalities import Modalities

# The keys of the layout, which calls a modality a view; all others are passed on.
COMMON_KEYS = (
    "view_names",
    "observed",
    "row_labels",
    "y",
    "label_values",
    "source",
)
CLOCK_KEYS = ("frames", "lengths", "view_of_channel")
FOUND = "the file has"  # in errors
MAX_LISTED = 20  # keys and positions in errors
SPARSE_PARTS = ("data", "indices", "indptr", "shape")
BLOCK_KEY = re.compile(
    rf"view_(\d+)(?:_(?:{'|'.join(SPARSE_PARTS)}))?|(?:frames|lengths)_(\d+)"
)


def save_npz(
    path: str | PathLike[str],
    X: Any,
    y: Any = None,
    *,
    target_names: Any = None,
    source: str = "",
    extra: Mapping[str, Any] | None = None,
) -> None:
    """Save modalities and a target to one compressed npz file.

    Parameters
    ----------
    path : str or path-like
        The file, taken as it is (no ``.npz`` is appended). An existing file is
        replaced once all of the new one is written, and unchanged after an error.
    X : Modalities, or list or dict of arrays
        The data: dense or sparse arrays, or sequences.
    y : array-like of shape (n_samples, ...), default=None
        The target.
    target_names : array-like of shape (n_classes,), default=None
        What the integers 0, 1, ... in `y` stand for.
    source : str, default=""
        Where the data come from.
    extra : dict of str to array-like, default=None
        Further arrays, such as a split into training and test samples.

    Raises
    ------
    OSError
        If the file cannot be written. The message names path and remedy.
    TypeError
        If a modality is a DataFrame, something holds Python objects, or an argument is
        of another type.
    ValueError
        If the sequences of one modality differ in width or dtype, `y` has another
        number of samples or values that `target_names` does not cover, something is
        masked, or a name in `extra` belongs to the layout.

    See Also
    --------
    load_npz : Reads the file.

    Notes
    -----
    The layout, in which "view" is the word for a modality, and v its position:

    ===================== ========================================================
    key                   array
    ===================== ========================================================
    ``view_names``        names of the modalities
    ``view_v``            a dense modality, of shape (n_samples, ...)
    ``view_v_data``,      a sparse modality in CSR form, with its indices
    ``view_v_indices``,   sorted; it comes back as a CSR array
    ``view_v_indptr``,
    ``view_v_shape``
    ``frames_v``,         a modality of sequences: all frames one after another, and
    ``lengths_v``         the number of frames of each sample, -1 where it has none
    ``frames``,           sequences whose modalities share one clock (equal lengths
    ``lengths``,          in all modalities, none missing): the frames with the
    ``view_of_channel``   features of all modalities side by side, the number of
                          frames of each sample, the position of each feature's
                          modality
    ``observed``          which sample has which modality, if any is missing
    ``row_labels``        the labels of the samples, ``X.index``, if they have any
    ``y``                 the target
    ``label_values``      the names of the classes 0, 1, ...
    ``source``            where the data come from
    ===================== ========================================================

    A missing row keeps its values in the file, NaN or masked ones alike.

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
    arrays |= _shared_clock_arrays(X) if _share_a_clock(X) else _block_arrays(X)
    if not X.observed.all():
        arrays["observed"] = X.observed
    if not same_labels(X._index, None):
        arrays["row_labels"] = _as_array(X._index, "row_labels")
    if y is not None:
        check_row_labels(X._index, y, "y")
        arrays["y"] = _as_array(y, "y")
        _check_target(arrays["y"], X)
    if target_names is not None:
        arrays["label_values"] = _as_array(target_names, "target_names")
        _check_label_values(arrays)
    if source:
        arrays["source"] = np.array(source)
    for name, value in (extra or {}).items():
        if not isinstance(name, str):
            raise TypeError(f"extra: {name!r} is no name; give a dict by str")
        if _is_layout_key(name):
            raise ValueError(
                f"extra: {name!r} is a key of the layout; give the array another name"
            )
        arrays[name] = _as_array(value, f"extra[{name!r}]")
    write_arrays(path, arrays)


def load_npz(
    path: str | PathLike[str], *, return_X_y: bool = False
) -> Bunch | tuple[Modalities, np.ndarray | None]:
    """Load modalities and a target from an npz file.

    A file from elsewhere is not trusted: nothing in it is unpickled, and all that it
    claims about itself is checked before memory is allocated or values are used.

    Parameters
    ----------
    path : str or path-like
        A file in the layout described in :func:`save_npz`.
    return_X_y : bool, default=False
        Whether to return only the data and the target.

    Returns
    -------
    Bunch
        With fields

        data : Modalities
            The data. Names are those of the file, where runs of underscores become
            one and a repeated name gets the position of its modality;
            ``modality_0``, ... where the file has none.
        target : ndarray of shape (n_samples, ...) or None
            The target.
        target_names : ndarray of shape (n_classes,) or None
            The names of the classes 0, 1, ...
        extra : dict of str to ndarray
            All arrays that do not belong to the layout, such as ``split``.
        source : str
            Where the data come from.
        DESCR : str
            A summary.

        or, with ``return_X_y=True``, the tuple (data, target).

    Raises
    ------
    OSError
        If there is no such file, or it cannot be opened.
    ValueError
        If the file is no npz file, is damaged, has another layout, contradicts itself,
        or holds pickled objects. The message names the file.

    See Also
    --------
    save_npz : Writes such a file, and describes the layout.

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
    """Return whether a file's key is of its layout; some occur in other ones too."""
    return _is_layout_key(key) and (key not in CLOCK_KEYS or _has_clock(arrays))


def _has_clock(arrays: Mapping[str, np.ndarray]) -> bool:
    return "frames" in arrays and "lengths" in arrays


def _check_target(y: np.ndarray, X: Modalities) -> None:
    if y.shape[:1] != (len(X),):
        raise ValueError(f"y has shape {y.shape} for {len(X)} samples")


def _check_label_values(arrays: Mapping[str, np.ndarray]) -> None:
    y, names = arrays.get("y"), arrays.get("label_values")
    if names is not None and names.ndim != 1:
        raise ValueError(
            f"the names of the classes have shape {names.shape}; give a list"
        )
    if y is None or names is None or y.size == 0:
        return
    low, high = np.unique(y)[[0, -1]].tolist()
    if y.dtype.kind not in "iu" or low < 0 or high >= names.size:
        raise ValueError(
            f"the names of {names.size} classes need a target of integers from 0 to "
            f"{names.size - 1}; got {y.dtype} from {low!r} to {high!r}"
        )


# Writing


def _as_array(value: Any, name: str) -> np.ndarray:
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
    except Exception as error:  # of the object's own conversion
        raise ValueError(f"{name} cannot be taken as an array: {error}") from error
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
    if not all(map(_blocks.is_sequences, X.blocks)):
        return False
    samples = [e for block in X.blocks for e in block]
    if not samples or any(e is None or e.ndim != 2 or e.shape[1] == 0 for e in samples):
        return False
    lengths = [[len(e) for e in block] for block in X.blocks]
    dtypes = {e.dtype for e in samples}
    return len(dtypes) == 1 and all(one == lengths[0] for one in lengths)


def _shared_clock_arrays(X: Modalities) -> dict[str, np.ndarray]:
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


def _sparse_arrays(block: Any, key: str) -> dict[str, np.ndarray]:
    matrix = block.copy()
    matrix.sum_duplicates()
    parts = (matrix.data, matrix.indices, matrix.indptr, np.array(matrix.shape))
    return {
        f"{key}_{part}": array for part, array in zip(SPARSE_PARTS, parts, strict=True)
    }


def _concatenated(block: Block, name: str) -> np.ndarray:
    given = [(i, e) for i, e in enumerate(block) if e is not None]
    if not given:
        return np.empty((0, 0))
    first_sample, first = given[0]
    for i, e in given:
        if e.shape[1:] != first.shape[1:] or e.dtype != first.dtype:
            raise ValueError(
                f"modality {name!r}: the sequence of sample {i} is {e.dtype} of shape "
                f"{e.shape}, that of sample {first_sample} {first.dtype} of shape "
                f"{first.shape}; to be saved all need one width and dtype"
            )
    return _without_objects(np.concatenate([e for _, e in given]), f"modality {name!r}")


# Reading


def _modalities(arrays: Mapping[str, np.ndarray]) -> Modalities:
    split = _split_by_clock if _has_clock(arrays) else _split_by_keys
    blocks = split(arrays)
    names = arrays.get("view_names")
    if names is not None and names.shape != (len(blocks),):
        raise ValueError(
            f"view_names has {names.size} names for {len(blocks)} modalities"
        )
    X = Modalities(
        blocks,
        names=default_names(len(blocks)) if names is None else _fit_names(names),
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


def _fit_names(given: np.ndarray) -> list[str]:
    names: list[str] = []
    for v, name in enumerate(given.tolist()):
        fit = re.sub(f"{SEPARATOR}+", "_", str(name)) or default_names(v + 1)[v]
        while fit in names:
            fit = f"{fit}_{v}"
        names.append(fit)
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
            "view_of_channel gives the position of the modality, from 0, of each of "
            f"the {frames.shape[1]} features of frames; got {modality.dtype} of shape "
            f"{modality.shape} with the positions {positions[:MAX_LISTED].tolist()}"
        )
    return [
        cut_frames(frames[:, modality == v], lengths, "lengths", FOUND)
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
            f"nor frames with lengths are among its keys {_keys(arrays)}; take what "
            "you need by numpy.load and build Modalities from it"
        )
    return [_block(arrays, v) for v in range(max(positions) + 1)]


def _block(arrays: Mapping[str, np.ndarray], v: int) -> Any:
    if f"view_{v}" in arrays:
        return arrays[f"view_{v}"]
    if f"frames_{v}" in arrays and f"lengths_{v}" in arrays:
        frames, lengths = arrays[f"frames_{v}"], arrays[f"lengths_{v}"]
        return cut_frames(frames, lengths, f"lengths_{v}", FOUND)
    keys = [f"view_{v}_{part}" for part in SPARSE_PARTS]
    if not arrays.keys() >= set(keys):
        raise ValueError(
            f"modality {v} is missing or incomplete: it needs view_{v}, or "
            f"frames_{v} and lengths_{v}, or all of {', '.join(keys)}; the keys are "
            f"{_keys(arrays)}"
        )
    return _csr_array({part: arrays[f"view_{v}_{part}"] for part in SPARSE_PARTS}, v)


def _keys(arrays: Mapping[str, np.ndarray]) -> str:
    keys = sorted(arrays)
    more = f" and {len(keys) - MAX_LISTED} more" if len(keys) > MAX_LISTED else ""
    return f"{keys[:MAX_LISTED]}{more}"


def _csr_array(parts: Mapping[str, np.ndarray], v: int) -> Any:
    """Build a CSR array whose indices are all in range."""
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
        # indices out of range would read and write foreign memory
        matrix.check_format(full_check=True)
    except (OverflowError, TypeError, ValueError) as error:
        raise ValueError(f"view_{v} is no valid CSR array: {error}") from error
    return matrix
