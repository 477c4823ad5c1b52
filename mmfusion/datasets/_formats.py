"""Formats of files, by their first bytes and extensions, and the loader of each."""

from __future__ import annotations

import zipfile
from pathlib import Path
from types import MappingProxyType

# loader of each format, as it is called
LOADERS = MappingProxyType(
    {
        "npz": "load_npz",
        "mat": "load_mat",
        "table": "load_table",
        "h5ad": "load_file",
        "h5mu": "load_file",
    }
)
FORMAT_OF_EXTENSION = MappingProxyType(
    {
        ".npz": "npz",
        ".mat": "mat",
        ".csv": "table",
        ".tsv": "table",
        ".parquet": "table",
        ".h5ad": "h5ad",
        ".h5mu": "h5mu",
    }
)
ZIP_MAGIC = b"PK\x03\x04"
PARQUET_MAGIC = b"PAR1"
HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
MATLAB_MAGIC = b"MATLAB "
MUDATA_MAGIC = b"MuData"
GZIP_MAGIC = b"\x1f\x8b"
ZARR_FILES = (".zgroup", "zarr.json")
HEAD_BYTES = 520  # MATLAB and MuData write 512 bytes of their own before HDF5


def extension_of(path: Path) -> str:
    """Return the extension in lower case, without that of a compressed table."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes[-1:] == [".gz"]:
        suffixes.pop()
    return suffixes[-1] if suffixes else ""


def check_regular(path: Path) -> None:
    """Raise if a path is a folder, device or pipe, which may have no end."""
    if path.exists() and not path.is_file():
        if any((path / name).exists() for name in ZARR_FILES):
            raise ValueError(
                f"{path} is a folder of zarr; read it by anndata.read_zarr(path) or "
                "mudata.read_zarr(path), which Modalities and all estimators take as X"
            )
        what = "a folder" if path.is_dir() else "not a regular file"
        raise ValueError(f"{path} is {what}; give the path of a file")


def format_of(path: Path) -> str | None:
    """Find the format of a file by its first bytes, or else by its extension.

    Parameters
    ----------
    path : Path
        A file.

    Returns
    -------
    str or None
        A key of `LOADERS`; None if no loader reads the file.

    Raises
    ------
    OSError
        If the file cannot be opened.
    """
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    named = FORMAT_OF_EXTENSION.get(extension_of(path))
    if head.startswith(ZIP_MAGIC):
        return "npz" if _holds_arrays(path) else None
    if head.startswith(PARQUET_MAGIC):
        return "table"
    if head.startswith(MATLAB_MAGIC):
        return "mat"
    if head.startswith(MUDATA_MAGIC):
        return "h5mu"
    if HDF5_MAGIC in head:  # the formats within HDF5 have no bytes of their own
        return named if named in ("mat", "h5ad", "h5mu") else None
    if head.startswith(GZIP_MAGIC) or b"\0" not in head:
        return named if named == "table" else None
    return "mat" if named == "mat" else None  # before version 5 it has no magic


def _holds_arrays(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith(".npy") for name in archive.namelist())
    except (OSError, ValueError, NotImplementedError, zipfile.BadZipFile):
        return path.suffix.lower() == ".npz"  # damaged, as its loader will find


def other_loader(path: Path, own: str) -> str:
    """Return a remedy that names the loader of a file that another one refuses.

    Parameters
    ----------
    path : Path
        The file.
    own : str
        Format of the loader that refuses it.

    Returns
    -------
    str
        Text to append to an error; '' if there is no other loader.
    """
    try:
        found = format_of(path)
    except OSError:
        return ""
    if found is None or found == own:
        return ""
    return f"; load it with mmfusion.datasets.{LOADERS[found]}"
