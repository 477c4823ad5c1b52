"""Precomputed Gram matrices that are centred and normalised where they are read."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from os import PathLike
from typing import Any

import numpy as np

from mmfusion.mkl._kernel_files import allocate_gram
from mmfusion.mkl._kernel_scaling import KernelScaling


@dataclass(frozen=True)
class PrecomputedGram:
    """A Gram matrix of the user, which is neither changed nor copied.

    Reading some of it returns centred and normalised values in a new array. It stands
    for a matrix where weights of kernels are learned.

    Parameters
    ----------
    values : ndarray of shape (n_samples, n_samples)
        The kernel.
    scaling : KernelScaling
        Centring and normalisation by a size.
    """

    values: np.ndarray
    scaling: KernelScaling

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the matrix."""
        return self.values.shape

    @property
    def dtype(self) -> np.dtype:
        """Dtype of the values."""
        return self.values.dtype

    @cached_property
    def shifts(self) -> np.ndarray:
        """Shifts s of shape (n_samples,): ``k_ij - s_i - s_j`` are centred values."""
        if self.scaling.means is None:
            return np.zeros(len(self))
        return self.scaling.means - self.scaling.grand_mean / 2

    def __len__(self) -> int:
        return len(self.values)

    def diagonal(self) -> np.ndarray:
        """Return the diagonal of the centred and normalised matrix."""
        return (self.values.diagonal() - 2 * self.shifts) / self.scaling.size

    def __getitem__(self, index: slice | tuple[Any, ...]) -> np.ndarray:
        rows, columns = index if isinstance(index, tuple) else (index, slice(None))
        return self.read(rows, columns)

    def read(
        self, rows: Any, columns: Any, out: np.ndarray | None = None
    ) -> np.ndarray:
        """Compute centred and normalised values.

        Parameters
        ----------
        rows, columns : slice, or arrays of `numpy.ix_`
            Positions.
        out : ndarray of shape (n_rows, n_columns), default=None
            Array of the result; None makes a new one.

        Returns
        -------
        ndarray of shape (n_rows, n_columns)
            The values.
        """
        # in double precision, because sizes can underflow single precision
        size = np.float64(self.scaling.size)
        if self.scaling.means is None:
            return np.divide(
                self.values[rows, columns], size, out=out, dtype=self.dtype
            )
        shifts = self.shifts.astype(self.dtype)
        # arrays of `numpy.ix_` are columns and rows already
        of_rows = shifts[rows] if isinstance(rows, np.ndarray) else shifts[rows, None]
        part = np.subtract(self.values[rows, columns], of_rows, out=out)
        part -= shifts[columns]
        return np.divide(part, size, out=part, casting="same_kind")

    def to_array(self, folder: str | PathLike[str] | None = None) -> np.ndarray:
        """Return the centred and normalised matrix.

        Parameters
        ----------
        folder : str or path-like, default=None
            Folder of the file that holds the matrix, as for `allocate_gram`.

        Returns
        -------
        ndarray of shape (n_samples, n_samples)
            A new array.
        """
        K = allocate_gram((len(self), len(self)), self.dtype, folder)
        K[...] = self.values
        return self.scaling.apply(K)


# a matrix, or one that is centred where it is read
Gram = np.ndarray | PrecomputedGram
