"""Arguments of functions of chains, read into arrays; errors name them."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from mmfusion._numbers import refuse_complex, refuse_unknown_type
from mmfusion._options import errors_about


def read_floats(name: str, values: ArrayLike) -> np.ndarray:
    """Read an argument into an array of floats.

    Parameters
    ----------
    name : str
        Name of the argument.
    values : array-like
        Its value.

    Returns
    -------
    ndarray of float64
        The array, without a copy where it is one.

    Raises
    ------
    TypeError, ValueError
        If it does not hold real numbers in rows of equal lengths.
    """
    if isinstance(values, np.ndarray) and values.dtype == np.float64:
        return values
    with errors_about(name):
        for part in [values, *(values if isinstance(values, list | tuple) else [])]:
            refuse_unknown_type(part, name)
        try:
            refuse_complex(values, name)
            return np.asarray(values, dtype=np.float64)
        except RuntimeError as error:  # of tensors with gradients
            raise TypeError(str(error)) from error


def read_integers(name: str, values: ArrayLike) -> np.ndarray:
    """Read an argument into an array of integers.

    Parameters
    ----------
    name : str
        Name of the argument.
    values : array-like
        Its value.

    Returns
    -------
    ndarray of int64
        The array, without a copy where it is one.

    Raises
    ------
    TypeError, ValueError
        If it does not hold integers in rows of equal lengths.
    """
    if isinstance(values, np.ndarray) and values.dtype == np.int64:
        return values
    numbers = read_floats(name, values)
    wrong = ~(np.abs(numbers) < 2.0**53)  # NaN too
    wrong |= np.trunc(numbers) != numbers
    if wrong.any():
        first = numbers[wrong].flat[0]
        raise ValueError(f"{name} holds {first}; it is to hold integers")
    return numbers.astype(np.int64)
