"""Loading of files of every format that the package reads."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from difflib import get_close_matches
from os import PathLike
from typing import Any

import numpy as np

from mmfusion._atomic import as_path
from mmfusion.datasets._formats import (
    FORMAT_OF_EXTENSION,
    check_regular,
    extension_of,
    format_of,
)
from mmfusion.datasets._mat import load_mat
from mmfusion.datasets._npz import load_npz
from mmfusion.datasets._omics import read_h5ad, read_h5mu
from mmfusion.datasets._table import load_table
from mmfusion.modalities import Modalities

# loader of each format; those of a Bunch take return_X_y
_LOADERS: dict[str, Callable[..., Any]] = {
    "npz": load_npz,
    "mat": load_mat,
    "table": load_table,
    "h5ad": read_h5ad,
    "h5mu": read_h5mu,
}


def load_file(
    path: str | PathLike[str], **options: Any
) -> tuple[Modalities, np.ndarray | None]:
    """Load modalities and a target from a file of any format that is supported.

    The format is found from the content, and where that is text or HDF5, from the
    extension.

    Parameters
    ----------
    path : str or path-like
        File to load.
    **options : object
        Parameters of the loader of the format:

        ================= ========================= ================================
        extension         loader                    options
        ================= ========================= ================================
        .npz              :func:`load_npz`          none
        .mat              :func:`load_mat`          modalities, target, samples
        .csv .tsv         :func:`load_table`        modalities, target, index
        .parquet
        .h5ad             as                        target, a column of ``obs``,
                          :meth:`~.from_anndata`    layers, obsm
        .h5mu             as                        target, layers, obsm
                          :meth:`~.from_mudata`
        ================= ========================= ================================

        Others are refused by name.

    Returns
    -------
    X : Modalities
        The data.
    y : ndarray of shape (n_samples,) or None
        The target, if the file has one or `target` names it.

    Raises
    ------
    OSError
        If the file does not exist or cannot be opened.
    TypeError
        If an option is not one of the loader.
    ValueError
        If the format is not supported, or the file does not fit the options.
    ImportError
        If the format needs a package that is not installed.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from mmfusion.datasets import load_file
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "people.csv"
    ...     _ = path.write_text("audio__pitch,video__smile,label\\n1,3,a\\n2,4,b\\n")
    ...     X, y = load_file(path, modalities="__", target="label")
    >>> X
    Modalities of 2 samples x 2 modalities
      audio  frame (2, 1) int64
      video  frame (2, 1) int64
    """
    path = as_path(path)
    check_regular(path)
    # a damaged file of a known extension is refused by the loader of that
    found = format_of(path) or FORMAT_OF_EXTENSION.get(extension_of(path))
    if found is None:
        extensions = ", ".join(FORMAT_OF_EXTENSION)
        raise ValueError(
            f"{path} has none of the formats {extensions}; build Modalities from the "
            "arrays in it, or save them in one of these"
        )
    loader = _LOADERS[found]
    _check_loader_options(loader, options, extension_of(path) or f"format {found}")
    X, y = loader(path, **options, return_X_y=True)
    return X, y


def _check_loader_options(
    loader: Callable[..., Any], options: dict[str, Any], found: str
) -> None:
    """Raise if an option is not a parameter of the loader."""
    parameters = list(inspect.signature(loader).parameters)
    offered = [name for name in parameters if name not in ("path", "return_X_y")]
    for name in options:
        if name in offered:
            continue
        close = get_close_matches(name, offered, n=1)
        if close:
            hint = f"did you mean {close[0]!r}?"
        else:
            hint = f"the options are {offered}" if offered else "it has no options"
        raise TypeError(f"{name!r} is not an option for a file of {found}; {hint}")
