"""Modalities in the files of AnnData and MuData."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.utils import Bunch

from mmfusion._extras import import_extra
from mmfusion.datasets._table import complete_target
from mmfusion.modalities import Modalities

MAX_LISTED = 20  # columns in errors


def read_h5ad(
    path: Path,
    *,
    target: str | None = None,
    layers: Any = None,
    obsm: Any = None,
    return_X_y: bool = False,
) -> Bunch | tuple[Modalities, np.ndarray | None]:
    """Read modalities of an AnnData, and a column of its obs, from an h5ad file."""
    read = import_extra("anndata", "omics").read_h5ad
    adata = _read(read, path)
    convert = Modalities.from_anndata
    return _data_and_target(path, adata, convert, target, layers, obsm, return_X_y)


def read_h5mu(
    path: Path,
    *,
    target: str | None = None,
    layers: Any = None,
    obsm: Any = None,
    return_X_y: bool = False,
) -> Bunch | tuple[Modalities, np.ndarray | None]:
    """Read the modalities of a MuData, and a column of its obs, from an h5mu file."""
    mudata = import_extra("mudata", "omics")
    with mudata.set_options(pull_on_update=False):
        mdata = _read(mudata.read_h5mu, path)
    convert = Modalities.from_mudata
    return _data_and_target(path, mdata, convert, target, layers, obsm, return_X_y)


def _read(read: Callable[[Path], Any], path: Path) -> Any:
    try:
        return read(path)
    except Exception as error:  # h5py and anndata raise many types for damaged files
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"{path} cannot be read: {reason}") from error


def _data_and_target(
    path: Path,
    data: Any,
    convert: Callable[..., Modalities],
    target: str | None,
    layers: Any,
    obsm: Any,
    return_X_y: bool,
) -> Bunch | tuple[Modalities, np.ndarray | None]:
    """Convert data and find the column of the target, also in one modality's obs."""
    try:
        X = convert(data, layers, obsm)
        y = None
        if target is not None:
            y = complete_target(_column(data, target), target)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{path}: {error}") from error
    return (X, y) if return_X_y else Bunch(data=X, target=y, DESCR=repr(X))


def _column(data: Any, target: str) -> Any:
    """Return a column of obs; that of a modality is called ``modality:column``."""
    columns = {name: data.obs[name] for name in data.obs.columns}
    for modality, adata in getattr(data, "mod", {}).items():
        for name in adata.obs.columns:
            column = adata.obs[name].reindex(data.obs_names)
            columns.setdefault(f"{modality}:{name}", column)
    if target not in columns:
        raise ValueError(
            f"target={target!r} is not one of the columns of obs, "
            f"{list(columns)[:MAX_LISTED]}"
        )
    return columns[target]
