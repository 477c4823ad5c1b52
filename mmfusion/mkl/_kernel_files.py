"""Memory of exact Gram matrices: arrays, or files that are mapped to memory."""

from __future__ import annotations

from os import PathLike
from os.path import isdir
from shutil import disk_usage
from tempfile import TemporaryFile

import numpy as np
from numpy.typing import DTypeLike

from mmfusion._memory import in_units


def allocate_gram(
    shape: tuple[int, int],
    dtype: DTypeLike,
    folder: str | PathLike[str] | None = None,
) -> np.ndarray:
    """Allocate a matrix of zeros, in memory or in a file.

    Parameters
    ----------
    shape : (int, int)
        Shape of the matrix.
    dtype : dtype
        Dtype of the values.
    folder : str or path-like, default=None
        Folder of a temporary file that is mapped to memory and is deleted with the
        matrix; None allocates memory.

    Returns
    -------
    ndarray
        The matrix.

    Raises
    ------
    ValueError
        If the folder does not exist.
    OSError
        If the folder has not enough free space.
    """
    if folder is None:
        return np.zeros(shape, dtype)
    n_bytes = shape[0] * shape[1] * np.dtype(dtype).itemsize
    check_disk_space(folder, n_bytes, f"a kernel of {shape[0]} samples")
    with TemporaryFile(dir=folder) as file:
        return np.asarray(np.memmap(file, dtype, "w+", shape=shape))


def check_disk_space(folder: str | PathLike[str], n_bytes: int, what: str) -> None:
    """Check that a folder has enough free space.

    Parameters
    ----------
    folder : str or path-like
        The folder.
    n_bytes : int
        Bytes to write.
    what : str
        Name of the data in errors.

    Raises
    ------
    ValueError
        If the folder does not exist.
    OSError
        If the free space is less than `n_bytes`.
    """
    if not isdir(folder):
        raise ValueError(f"temp_folder={str(folder)!r} is not a folder; create it")
    free = disk_usage(folder).free
    # a page of a sparse file that cannot be written ends the process by SIGBUS
    if n_bytes > free:
        raise OSError(
            f"temp_folder={str(folder)!r} has {in_units(free)} left; {what} takes "
            f"{in_units(n_bytes)}. Give another folder, or set "
            "approximation='nystroem'"
        )
