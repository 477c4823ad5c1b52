"""AnnData and MuData: data of omics, read as modalities and written from them.

anndata and mudata are imported only to write; objects of theirs are recognised by name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from scipy import sparse

from mmfusion import _blocks
from mmfusion._blocks import Block
from mmfusion._columns import default_names
from mmfusion._construction import aligned_rows
from mmfusion._dask_arrays import is_dask_array
from mmfusion._extras import import_extra
from mmfusion._row_labels import Labels, align_labels, as_labels, short_repr

if TYPE_CHECKING:
    from mmfusion.modalities import Modalities

MAX_LISTED = 20  # keys in errors
ONE_ANNDATA = "the AnnData"  # in errors
MUDATA_NAMES = (
    "leave repeated ones out, or call {}.obs_names_make_unique() and then "
    "mdata.update()"
)


class AnnotatedBlocks(NamedTuple):
    """Modalities of an AnnData or MuData."""

    blocks: dict[str, Any]
    labels: Labels
    observed: np.ndarray | None
    features: dict[str, list[str]]  # of modalities that are not DataFrames


def is_anndata(data: object) -> bool:
    """Return whether an object is an AnnData, importing nothing."""
    return _has_base(data, "anndata", "AnnData")


def is_mudata(data: object) -> bool:
    """Return whether an object is a MuData, importing nothing."""
    return _has_base(data, "mudata", "MuData")


def are_anndata(data: Any) -> bool:
    """Return whether a dict or list holds an AnnData for every modality."""
    if isinstance(data, Mapping):
        data = list(data.values())
    is_list = isinstance(data, list | tuple) and len(data) > 0
    return is_list and all(map(is_anndata, data))


def _has_base(data: object, package: str, name: str) -> bool:
    return any(
        base.__name__ == name and base.__module__.partition(".")[0] == package
        for base in type(data).__mro__
    )


# Reading


def read_anndata(adata: Any, layers: Any = None, obsm: Any = None) -> AnnotatedBlocks:
    """Read matrices of an AnnData as modalities.

    Parameters
    ----------
    adata : AnnData
        The data.
    layers, obsm : str, list of str, dict of str to str, or None
        See `Modalities.from_anndata`.

    Returns
    -------
    AnnotatedBlocks
        The modalities.

    Raises
    ------
    TypeError
        If `adata` is none, or a key has the wrong type.
    ValueError
        If a matrix is missing or on the disk.
    """
    if not is_anndata(adata):
        raise TypeError(f"adata is a {type(adata).__name__}; give an AnnData")
    if layers is None and obsm is None:
        chosen = {default_names(1)[0]: ("layers", "X")}
    else:
        chosen = _choices(layers, "layers") | _choices(obsm, "obsm")
        n_names = len(_choices(layers, "layers")) + len(_choices(obsm, "obsm"))
        if len(chosen) < n_names:
            raise ValueError(
                "layers and obsm give two modalities one name; rename one by a dict of "
                "keys by modality"
            )
    labels = adata.obs_names
    blocks: dict[str, Any] = {}
    features: dict[str, list[str]] = {}
    for name, (place, key) in chosen.items():
        block, names = _matrix(adata, place, key, ONE_ANNDATA)
        blocks[name], own = _labelled(block, labels, names)
        features |= {} if own is None else {name: own}
    return AnnotatedBlocks(blocks, labels, None, features)


def read_mudata(mdata: Any, layers: Any = None, obsm: Any = None) -> AnnotatedBlocks:
    """Read the modalities of a MuData, with observations matched by name.

    Parameters
    ----------
    mdata : MuData
        The data.
    layers, obsm : str, dict of str to str, or None
        See `Modalities.from_mudata`.

    Returns
    -------
    AnnotatedBlocks
        The modalities, with the observations of the MuData in its order.

    Raises
    ------
    TypeError
        If `mdata` is none, or a key has the wrong type.
    ValueError
        If names of observations repeat or do not fit, or a matrix is missing or on the
        disk.
    """
    if not is_mudata(mdata):
        raise TypeError(f"mdata is a {type(mdata).__name__}; give a MuData")
    if getattr(mdata, "axis", 0) != 0:
        raise ValueError(
            f"the MuData has axis={mdata.axis}: its modalities share variables, not "
            "observations; make it anew with axis=0"
        )
    if len(mdata.mod) == 0:
        raise ValueError("the MuData has no modality")
    places = _places(mdata, layers, obsm)
    labels = mdata.obs_names
    _check_unique(labels, "the MuData", MUDATA_NAMES.format("mdata"))
    for name, adata in mdata.mod.items():
        if not is_anndata(adata):
            raise TypeError(
                f"modality {name!r} is a {type(adata).__name__}; give a MuData whose "
                "modalities are AnnData"
            )
        own = f"mdata.mod[{name!r}]"
        _check_unique(adata.obs_names, f"modality {name!r}", MUDATA_NAMES.format(own))
        _check_known(adata.obs_names, labels, name)
    read = _matched(mdata.mod, places, labels)
    if read.observed is not None and not read.observed.any(axis=1).all():
        row = int(np.argmin(read.observed.any(axis=1)))
        raise ValueError(
            f"observation {short_repr(labels[row])} of the MuData is in none of its "
            "modalities; call mdata.update()"
        )
    return read


def read_anndatas(adatas: Any) -> AnnotatedBlocks:
    """Read the X of one AnnData for each modality, with observations matched by name.

    Parameters
    ----------
    adatas : dict of str to AnnData, or list of AnnData
        The AnnData by modality.

    Returns
    -------
    AnnotatedBlocks
        The modalities, with the observations of any of them, in the order in which
        they first occur.

    Raises
    ------
    ValueError
        If names of observations repeat, or a modality has none in common with another,
        or a matrix is missing or on the disk.
    """
    if not isinstance(adatas, Mapping):
        adatas = dict(zip(default_names(len(adatas)), adatas, strict=True))
    for name, adata in adatas.items():
        remedy = "adata[~adata.obs_names.duplicated()]"
        _check_unique(adata.obs_names, f"modality {name!r}", f"give {remedy}")
    try:
        labels = align_labels({n: a.obs_names for n, a in adatas.items()}, "outer")
    except ValueError as error:
        raise ValueError(f"{error}; those of an AnnData are its obs_names") from error
    return _matched(adatas, dict.fromkeys(adatas, ("layers", "X")), labels)


def _matched(
    adatas: Mapping[str, Any], places: Mapping[str, tuple[str, str]], labels: Labels
) -> AnnotatedBlocks:
    """Read a matrix of each AnnData, with the rows of given observations."""
    blocks: dict[str, Any] = {}
    features: dict[str, list[str]] = {}
    observed = []
    for name, adata in adatas.items():
        rows = adata.obs_names.get_indexer(labels)  # -1 where it has none
        block, names = _matrix(adata, *places[name], f"modality {name!r}")
        block, own = _labelled(block, adata.obs_names, names)
        blocks[name] = _by_observation(block, rows, labels, name)
        features |= {} if own is None else {name: own}
        observed.append(rows >= 0)
    mask = np.column_stack(observed)
    return AnnotatedBlocks(blocks, labels, None if mask.all() else mask, features)


def _choices(keys: Any, place: str) -> dict[str, tuple[str, str]]:
    """Return place and key of each modality of an AnnData."""
    if keys is None:
        return {}
    if isinstance(keys, str):
        keys = [keys]
    if not isinstance(keys, Mapping):
        if not isinstance(keys, list | tuple):
            raise TypeError(
                f"{place} is a {type(keys).__name__}; give a key, a list of keys, or a "
                "dict of keys by modality"
            )
        keys = {_checked_key(key, place): key for key in keys}
    return {name: (place, _checked_key(key, place)) for name, key in keys.items()}


def _places(mdata: Any, layers: Any, obsm: Any) -> dict[str, tuple[str, str]]:
    """Return place and key of the matrix of each modality of a MuData."""
    places = dict.fromkeys(mdata.mod, ("layers", "X"))
    for place, keys in (("layers", layers), ("obsm", obsm)):
        if keys is None:
            continue
        if isinstance(keys, str):
            keys = dict.fromkeys(mdata.mod, keys)
        if not isinstance(keys, Mapping):
            raise TypeError(
                f"{place} is a {type(keys).__name__}; give a key for all modalities, "
                "or a dict of keys by modality"
            )
        unknown = [name for name in keys if name not in mdata.mod]
        if unknown:
            raise ValueError(
                f"{place} names {unknown}, but the modalities are {list(mdata.mod)}"
            )
        for name, key in keys.items():
            if places[name][0] == "layers" and places[name][1] != "X":
                raise ValueError(
                    f"modality {name!r} is in both layers and obsm; choose one"
                )
            places[name] = (place, _checked_key(key, place))
    return places


def _checked_key(key: object, place: str) -> str:
    if not isinstance(key, str):
        raise TypeError(f"{place}: {key!r} is not a key; give text")
    return key


def _matrix(
    adata: Any, place: str, key: str, what: str
) -> tuple[Any, list[str] | None]:
    """Return a matrix of an AnnData, and the names of its features."""
    stored = getattr(adata, place)
    if key in stored:
        matrix = stored[key]
        if place == "layers":
            return matrix, list(map(str, adata.var_names))
        columns = getattr(matrix, "columns", None)  # of a DataFrame
        return matrix, None if columns is None else list(map(str, columns))
    if place == "layers" and key == "X" and adata.X is not None:
        _check_in_memory(adata, what)
        return adata.X, list(map(str, adata.var_names))
    offered = {
        "layers": ["X"] * (adata.X is not None) + list(adata.layers),
        "obsm": list(adata.obsm),
    }
    raise ValueError(
        f"{what} has no {key!r} in {place}; choose layers= of "
        f"{offered['layers'][:MAX_LISTED]} or obsm= of {offered['obsm'][:MAX_LISTED]}, "
        "in Modalities.from_anndata or Modalities.from_mudata"
    )


def _check_in_memory(adata: Any, what: str) -> None:
    """Raise if X is on the disk; a view of some observations reads theirs."""
    is_read = isinstance(adata.X, np.ndarray) or sparse.issparse(adata.X)
    if is_read or not adata.isbacked:
        return
    remedy = "by adata.to_memory(), or some observations of it, adata[rows]"
    if what != ONE_ANNDATA:
        remedy = "by mudata.read_h5mu(path), or adata.to_memory() of each modality"
    raise ValueError(
        f"{what} is on the disk, in {adata.filename}; read it into memory, {remedy}; "
        "or open an .h5ad file as arrays of dask, by "
        "anndata.experimental.read_lazy(path)"
    )


def _labelled(
    block: Any, labels: Labels, names: list[str] | None
) -> tuple[Any, list[str] | None]:
    """Return an array with names as a DataFrame; names of other blocks are apart."""
    if names is None or _blocks.is_frame(block):
        return block, None
    if sparse.issparse(block) or is_dask_array(block) or isinstance(block, np.memmap):
        return block, names
    import pandas as pd  # which anndata needs

    values = np.asarray(block)  # of a view of AnnData, an array of its own type
    return pd.DataFrame(values, index=labels, columns=names, copy=False), None


def _check_known(own: Labels, labels: Labels, name: str) -> None:
    """Raise if a modality of a MuData has observations that the MuData lacks."""
    unknown = ~own.isin(labels)
    if unknown.any():
        first = short_repr(own[int(np.argmax(unknown))])
        raise ValueError(
            f"modality {name!r} has the observation {first}, which the MuData lacks; "
            "call mdata.update()"
        )


def _check_unique(labels: Labels, what: str, remedy: str) -> None:
    repeated = labels.duplicated()
    if repeated.any():
        name = short_repr(labels[int(np.argmax(repeated))])
        raise ValueError(
            f"{what}: the name of observations {name} repeats, so that it does not "
            f"identify an observation; {remedy}"
        )


def _by_observation(block: Any, rows: np.ndarray, labels: Labels, name: str) -> Any:
    """Return the rows of a block by observation; -1 is a missing row."""
    if np.array_equal(rows, np.arange(block.shape[0])):
        return block
    if _blocks.is_frame(block):
        aligned = aligned_rows(block, rows)
        aligned.index = labels
        return aligned
    if sparse.issparse(block):
        block = _blocks.checked_csr(block, f"modality {name!r}")
        none = sparse.csr_array((1, block.shape[1]), dtype=block.dtype)
        return sparse.vstack([block, none], format="csr")[rows]  # -1 is the last row
    if is_dask_array(block):
        raise ValueError(
            f"modality {name!r} is an array of dask, whose observations are not those "
            "of all modalities in one order; give adata.to_memory(), or the same "
            "observations in all modalities"
        )
    filled = np.asarray(block)[rows]
    if (rows < 0).any():
        filled = filled.astype(np.result_type(filled, np.float16))
        filled[rows < 0] = np.nan
    return filled


# Writing


def to_anndata(X: Modalities, name: str) -> Any:
    """Write the samples that have a modality to an AnnData.

    Parameters
    ----------
    X : Modalities
        The data.
    name : str
        The modality.

    Returns
    -------
    AnnData
        Its table, with row labels and feature names as text.

    Raises
    ------
    ValueError
        If the modality holds sequences, or labels repeat.
    TypeError
        If it holds anything but numbers.
    """
    import_extra("anndata", "omics")
    import anndata
    import pandas as pd

    block: Block = X[name]
    table = block if is_dask_array(block) else _blocks.as_table(block, name)
    if table.dtype.kind not in "biufc":
        raise TypeError(
            f"modality {name!r} holds {table.dtype}, not numbers, which an AnnData "
            "cannot hold; encode it as numbers"
        )
    labels = _text_labels(X)
    features = X._feature_names(name)
    if features is None:
        features = [f"{name}_{j}" for j in range(table.shape[1])]
    rows = np.flatnonzero(X.observed[:, X.names.index(name)])
    if rows.size < len(X):
        table, labels = table[rows], labels[rows]
    var = pd.DataFrame(index=pd.Index(features, dtype=object))
    return anndata.AnnData(table, obs=pd.DataFrame(index=labels), var=var)


def _text_labels(X: Modalities) -> Labels:
    """Return the row labels as distinct text."""
    # objects, since not every anndata writes pandas' own type of text to files
    labels = as_labels(X.index).astype(str).astype(object)
    if labels.has_duplicates:
        label = short_repr(labels[int(np.argmax(labels.duplicated()))])
        raise ValueError(
            f"the row label {label} repeats, so that it does not name an observation; "
            "set other labels by X.index = [...]"
        )
    return labels


def to_mudata(X: Modalities) -> Any:
    """Write modalities to a MuData.

    Parameters
    ----------
    X : Modalities
        The data.

    Returns
    -------
    MuData
        The modalities; samples that lack one are not among its observations.

    Raises
    ------
    ValueError
        If a modality holds sequences, labels repeat, or a sample lacks all modalities.
    TypeError
        If a modality holds anything but numbers.
    """
    mudata = import_extra("mudata", "omics")
    empty = ~X.observed.any(axis=1)
    if empty.any():
        raise ValueError(
            f"sample {int(np.argmax(empty))} lacks every modality ({empty.sum()} of "
            f"{len(X)} samples do), which a MuData cannot hold; leave such samples "
            "out, by X[X.observed.any(axis=1)]"
        )
    by_name: Sequence[tuple[str, Any]] = [(n, to_anndata(X, n)) for n in X.names]
    with mudata.set_options(pull_on_update=False):  # the obs have no columns
        written = mudata.MuData(dict(by_name))
        order = _text_labels(X)
        if not written.obs_names.equals(order):
            written = written[list(order)].copy()
    return written
