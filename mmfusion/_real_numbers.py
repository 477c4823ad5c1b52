"""Real numbers out of whatever holds them: arrays, lists, tensors, frames."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from numbers import Real
from typing import Any

import numpy as np

# what is held by the kinds of dtypes that are refused, and what to do about it
_OTHER_KINDS = {
    "c": ("complex numbers", "give real and imaginary components as features"),
    "M": ("dates", "give a number, such as the seconds since the first"),
    "m": ("time spans", "give a number, such as their seconds"),
    "S": ("text", "encode it"),
    "T": ("text", "encode it"),
    "U": ("text", "encode it"),
    "V": ("records", "give their fields as features"),
}


def real_array(values: Any, name: str) -> np.ndarray:
    """Read an array of real numbers.

    Parameters
    ----------
    values : array-like
        An array, list, tensor, DataFrame or Series; of any shape.
    name : str
        What to call it in errors.

    Returns
    -------
    ndarray of float32 or float64
        float32 where it was given so, else float64, without a copy where that can be.
        NaN where a value is masked, None or pandas.NA; infinity where it is too large.

    Raises
    ------
    TypeError
        If it is no array.
    ValueError
        If its rows are of unequal lengths, or it holds anything but real numbers, such
        as text, dates or complex numbers.
    """
    array = _as_array(values, name)
    _refuse_kind(array.dtype.kind, name)
    if array.dtype.kind == "O":
        numbers = [_as_float(value, name) for value in array.ravel()]
        return np.array(numbers, np.float64).reshape(array.shape)
    if array.dtype == np.float32:
        return array
    with np.errstate(over="ignore"):  # of a longdouble
        return array.astype(np.float64, copy=False)


def _as_array(values: Any, name: str) -> np.ndarray:
    kind = type(values).__name__
    if type(values).__module__.partition(".")[0] == "torch":
        values = _from_tensor(values, name)
    elif isinstance(values, np.ma.MaskedArray):
        _refuse_kind(values.dtype.kind, name)
        dtype = object if values.dtype.kind == "O" else np.result_type(values, "f4")
        values = np.ma.filled(values.astype(dtype), np.nan)
    # numpy would take any object, and iterate some for hours
    is_array_like = isinstance(values, Sequence | Real) or hasattr(values, "__array__")
    if not is_array_like or isinstance(values, str | bytes):
        raise TypeError(
            f"{name} is a {kind}; give an array, a list, a DataFrame or a tensor of "
            "numbers"
        )
    try:
        return np.asarray(values)
    except (ValueError, TypeError, RuntimeError) as error:
        raise ValueError(
            f"{name} is a {kind} that is no array; rows have one length, and numbers "
            f"no other container: {error}"
        ) from error


def _from_tensor(tensor: Any, name: str) -> np.ndarray:
    try:
        tensor = tensor.detach().cpu()
        if tensor.is_floating_point() and tensor.element_size() < 4:
            tensor = tensor.float()  # numpy has no bfloat16
        return tensor.numpy()
    except (AttributeError, TypeError, RuntimeError) as error:
        raise TypeError(
            f"{name} is a {type(tensor).__name__} that is no array of numbers; give a "
            f"dense tensor: {error}"
        ) from error


def _as_float(value: Any, name: str) -> float:
    kind = getattr(getattr(value, "dtype", None), "kind", "")  # a time span is a Real
    _refuse_kind({str: "U", bytes: "S", complex: "c"}.get(type(value), kind), name)
    if isinstance(value, Real | Decimal | np.bool_):
        try:
            return float(value)
        except OverflowError:
            return np.inf if value > 0 else -np.inf
    if value is None or type(value).__name__ == "NAType":
        return np.nan
    raise ValueError(f"{name} holds a {type(value).__name__}, not real numbers")


def _refuse_kind(kind: str, name: str) -> None:
    if kind in _OTHER_KINDS:
        held, remedy = _OTHER_KINDS[kind]
        raise ValueError(f"{name} holds {held}, not real numbers: {remedy}")
