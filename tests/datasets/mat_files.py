"""MATLAB files of version 7.3, as MATLAB writes them."""

import h5py
import numpy as np
from scipy import sparse


def save_v73(path, variables):
    """Write variables: arrays, sparse matrices, lists (cells), dicts (structs), str."""
    with h5py.File(path, "w", userblock_size=512) as file:
        for name, value in variables.items():
            _write(file, file, name, value)
    header = b"MATLAB 7.3 MAT-file, Platform: GLNXA64, HDF5 schema 1.00 ."
    with open(path, "r+b") as file:
        file.write(header.ljust(124) + b"\x00\x02IM")


def _write(file, group, name, value):
    if isinstance(value, dict):
        item = group.create_group(name)
        for field, element in value.items():
            _write(file, item, field, element)
        kind = "struct"
    elif isinstance(value, list):
        references = np.empty((len(value), 1), dtype=h5py.ref_dtype)
        elements = file.require_group("#refs#")
        for i, element in enumerate(value):
            references[i, 0] = _write(file, elements, f"e{len(elements)}", element).ref
        item = group.create_dataset(name, data=references, dtype=h5py.ref_dtype)
        kind = "cell"
    elif isinstance(value, str):
        item = group.create_dataset(
            name, data=np.array([[ord(c)] for c in value], "u2")
        )
        kind = "char"
    elif sparse.issparse(value):
        item = group.create_group(name)
        columns = value.tocsc()
        item.attrs["MATLAB_sparse"] = np.uint64(value.shape[0])
        for part, array in zip(
            ("data", "ir", "jc"),
            (columns.data, columns.indices, columns.indptr),
            strict=True,
        ):
            item.create_dataset(part, data=array)
        kind = "double"
    else:
        item = group.create_dataset(name, data=np.atleast_2d(value).T)
        kind = "double"
    item.attrs["MATLAB_class"] = np.bytes_(kind)
    return item
