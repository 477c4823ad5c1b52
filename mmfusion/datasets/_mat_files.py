"""Variables of MATLAB files of all versions, as arrays, lists and dicts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse
from scipy.io import loadmat

from mmfusion._extras import import_extra
from mmfusion._memory import check_fits
from mmfusion.datasets._formats import HDF5_MAGIC, HEAD_BYTES, other_loader

MAX_DEPTH = 20  # of cells and structs within one another
UNSUPPORTED = ("MatlabOpaque", "MatlabFunction")  # objects and functions of MATLAB


def read_variables(path: Path) -> dict[str, Any]:
    """Read all variables of a MATLAB file.

    Parameters
    ----------
    path : Path
        File of version 4 to 7, or of 7.3, which is HDF5.

    Returns
    -------
    dict of str to object
        Arrays and sparse matrices of numbers, arrays of str, lists for cell arrays and
        dicts for structs, whose fields are lists in arrays of structs. Objects and
        functions are None.

    Raises
    ------
    OSError
        If the file cannot be opened.
    ValueError
        If it is not a MATLAB file, or damaged.
    ImportError
        If it is of version 7.3 and h5py is not installed.
    """
    with path.open("rb") as file:
        is_hdf5 = HDF5_MAGIC in file.read(HEAD_BYTES)
    if is_hdf5 and other_loader(path, "mat"):  # by its extension
        raise ValueError(
            f"{path} is not a MATLAB file, but HDF5 of another kind"
            f"{other_loader(path, 'mat')}"
        )
    try:
        return _read_hdf5(path) if is_hdf5 else _read_classic(path)
    except ImportError:
        raise
    except Exception as error:  # scipy and h5py raise many types for damaged files
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(
            f"{path} is not a MATLAB file, or damaged: {reason}"
            f"{other_loader(path, 'mat')}"
        ) from error


def _read_classic(path: Path) -> dict[str, Any]:
    content = loadmat(path, appendmat=False)
    return {
        name: _from_classic(value)
        for name, value in content.items()
        if not name.startswith("__")
    }


def _from_classic(value: Any) -> Any:
    """Convert a value of scipy's reader."""
    if sparse.issparse(value):
        return value
    if type(value).__name__ in UNSUPPORTED or not isinstance(value, np.ndarray):
        return None
    if value.dtype.names is not None:
        elements = value.ravel("F")
        fields = {
            name: [_from_classic(element[name]) for element in elements]
            for name in value.dtype.names
        }
        return {n: v[0] for n, v in fields.items()} if value.size == 1 else fields
    if value.dtype.kind == "O":
        return [_from_classic(element) for element in value.ravel("F")]
    return value


def _read_hdf5(path: Path) -> dict[str, Any]:
    h5py = import_extra("h5py", "datasets")
    with h5py.File(path, "r") as file:
        return {
            name: _from_hdf5(h5py, file, file[name], 0)
            for name in file
            if not name.startswith("#")  # the elements of cells
        }


def _from_hdf5(h5py: Any, file: Any, item: Any, depth: int) -> Any:
    """Convert a group or dataset, with what it refers to."""
    if depth > MAX_DEPTH:
        raise ValueError(f"{item.name!r} is nested more than {MAX_DEPTH} times")
    if isinstance(item, h5py.Group):
        if "MATLAB_sparse" in item.attrs:
            return _sparse_from_hdf5(item)
        return {name: _from_hdf5(h5py, file, item[name], depth + 1) for name in item}
    matlab_class = item.attrs.get("MATLAB_class", b"")
    if "MATLAB_empty" in item.attrs:
        return [] if matlab_class == b"cell" else np.zeros(tuple(item[()].ravel()[:2]))
    if h5py.check_ref_dtype(item.dtype) is h5py.Reference:
        # HDF5 holds arrays transposed: this is the order of columns in MATLAB
        return [
            _from_hdf5(h5py, file, file[reference], depth + 1) if reference else None
            for reference in item[()].ravel()
        ]
    if h5py.check_string_dtype(item.dtype) is not None:
        return np.atleast_1d(item.asstr()[()]).astype(str)
    if item.dtype.kind not in "biuf":
        return None
    check_fits(item.nbytes, "reading it", "load it on a machine with more memory")
    values = item[()]
    if matlab_class == b"char":
        return np.array(["".join(map(chr, row)) for row in np.atleast_2d(values.T)])
    if matlab_class == b"logical":
        values = values.astype(bool)
    return values.T if matlab_class else values


def _sparse_from_hdf5(group: Any) -> Any:
    """Build the sparse matrix in a group; one without nonzeros has no data."""
    starts = group["jc"][()]
    shape = int(group.attrs["MATLAB_sparse"]), len(starts) - 1
    if "data" not in group:
        return sparse.csc_array(shape)
    matrix = sparse.csc_array((group["data"][()], group["ir"][()], starts), shape=shape)
    matrix.check_format(full_check=True)
    return matrix
