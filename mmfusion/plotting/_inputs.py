"""Validation of the arguments of displays."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

from mmfusion._blocks import as_dense_array, as_float_array, checked_csr
from mmfusion._numbers import is_integer
from mmfusion._options import errors_about

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from mmfusion._typing import BlockLike

PROBABILITY_ROUNDING = 1e-6  # of probabilities of 0 and 1, also in float32


def as_real_array(values: BlockLike, name: str) -> np.ndarray:
    """Convert an array-like of real numbers.

    Parameters
    ----------
    values : array-like
        The numbers, in any shape.
    name : str
        Name of the parameter, for errors.

    Returns
    -------
    ndarray of float
        The numbers.

    Raises
    ------
    TypeError
        If it is not an array.
    ValueError
        If it holds other values.
    """
    if sparse.issparse(values):
        values = checked_csr(values, name).toarray()
    with errors_about(name):
        return as_float_array(values, name)


def as_names(values: Iterable[str] | ArrayLike, name: str) -> list[str]:
    """Convert a list of names.

    Parameters
    ----------
    values : list of str
        The names; other elements are converted to strings.
    name : str
        Name of the parameter, for errors.

    Returns
    -------
    list of str
        The names.

    Raises
    ------
    TypeError
        If it is not a list.
    """
    listed: Any = values
    is_array = hasattr(listed, "tolist") and not isinstance(listed, type)
    if is_array and not sparse.issparse(values):
        listed = as_dense_array(listed, name).tolist()
    if not isinstance(listed, Sequence) or isinstance(listed, str | bytes):
        raise TypeError(f"{name} is a {type(values).__name__}; give a list of names")
    return [str(value) for value in listed]


def check_string(value: object, name: str) -> None:
    """Check that a value is a string.

    Parameters
    ----------
    value : object
        The value.
    name : str
        Name of the parameter, for errors.

    Raises
    ------
    TypeError
        If it is none.
    """
    if not isinstance(value, str):
        raise TypeError(f"{name} is {value!r}; give a string")


def check_sample_count(value: int | None, name: str) -> None:
    """Check that a value is a number of samples, or None.

    Parameters
    ----------
    value : int or None
        The value.
    name : str
        Name of the parameter, for errors.

    Raises
    ------
    ValueError
        If it is not an integer of at least 1, or None.
    """
    if value is not None and (not is_integer(value) or value < 1):
        raise ValueError(
            f"{name} is {value!r}; give a number of samples, at least 1, or None for "
            "all"
        )


def check_mapping(value: object, name: str, content: str) -> None:
    """Check that a value is a dict.

    Parameters
    ----------
    value : object
        The value.
    name : str
        Name of the parameter, for errors.
    content : str
        Keys and values of the dict, for errors.

    Raises
    ------
    TypeError
        If it is not a dict.
    """
    # a sparse DOK array is a dict too
    if not isinstance(value, Mapping) or sparse.issparse(value):
        raise TypeError(f"{name} is a {type(value).__name__}; give a dict of {content}")


def check_probabilities(values: np.ndarray, name: str) -> None:
    """Check that numbers are probabilities.

    Parameters
    ----------
    values : ndarray of float
        The numbers.
    name : str
        Name of the parameter, for errors.

    Raises
    ------
    ValueError
        If one is below 0 or above 1, beyond rounding, or NaN.
    """
    if not (
        (values >= -PROBABILITY_ROUNDING) & (values <= 1 + PROBABILITY_ROUNDING)
    ).all():
        raise ValueError(f"{name} holds other values than probabilities from 0 to 1")
