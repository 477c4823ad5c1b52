"""Parameters of the functions of alignment: numbers are checked in one place.

NumPy's numbers mean what Python's do, and truth values are not numbers.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from mmfusion._numbers import is_integer, is_real


def check_integer(value: Any, name: str, least: int) -> int:
    """Take an integer.

    Parameters
    ----------
    value : int
        The number.
    name : str
        Of the parameter.
    least : int
        The smallest that is allowed.

    Returns
    -------
    int
        The same, as Python's own type.

    Raises
    ------
    TypeError
        If it is not an integer.
    ValueError
        If it is smaller.
    """
    if not is_integer(value):
        raise TypeError(f"{name}={value!r} is a {_kind(value)}; give an int")
    if value < least:
        raise ValueError(f"{name}={value}; give an int of at least {least}")
    return int(value)


def check_real(value: Any, name: str, least: float) -> float:
    """Take a finite number.

    Parameters
    ----------
    value : int or float
        The number.
    name : str
        Of the parameter.
    least : float
        The smallest that is allowed.

    Returns
    -------
    float
        The same, as Python's own type.

    Raises
    ------
    TypeError
        If it is not a real number.
    ValueError
        If it is smaller, NaN or infinite.
    """
    if not is_real(value):
        raise TypeError(f"{name}={value!r} is a {_kind(value)}; give a number")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not (least <= number < math.inf):
        raise ValueError(
            f"{name}={value!r}; give a finite number of at least {least:g}"
        )
    return number


def check_frames_or_share(value: Any, name: str) -> int | float:
    """Take a number of frames, an int, or a share of all frames, a float.

    Parameters
    ----------
    value : int or float
        The number.
    name : str
        Of the parameter.

    Returns
    -------
    int or float
        The same, as Python's own type.

    Raises
    ------
    TypeError
        If it is not a real number.
    ValueError
        If it is negative, or a float that is NaN or more than 1.
    """
    if is_integer(value):
        return check_integer(value, name, 0)
    share = check_real(value, name, 0)
    if share > 1:
        raise ValueError(
            f"{name}={value!r}; a float is a share of the longer sequence, at most 1: "
            "give an int for a number of frames"
        )
    return share


def check_truth(value: Any, name: str) -> bool:
    """Take True or False.

    Parameters
    ----------
    value : bool
        The value.
    name : str
        Of the parameter.

    Returns
    -------
    bool
        The same, as Python's own type.

    Raises
    ------
    TypeError
        If it is anything else.
    """
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"{name}={value!r} is a {_kind(value)}; give True or False")
    return bool(value)


def check_n_jobs(value: Any) -> int | None:
    """Take a number of threads, as joblib does.

    Parameters
    ----------
    value : int or None
        The number.

    Returns
    -------
    int or None
        The same, as Python's own type.

    Raises
    ------
    TypeError
        If it is not an integer.
    ValueError
        If it is 0.
    """
    if value is None:
        return None
    if not is_integer(value):
        raise TypeError(f"n_jobs={value!r} is a {_kind(value)}; give an int or None")
    if value == 0:
        raise ValueError("n_jobs=0; give a number of threads, or -1 for one per core")
    return int(value)


def check_choice(value: Any, name: str, choices: tuple[str, ...]) -> str:
    """Take one of several words.

    Parameters
    ----------
    value : str
        The word.
    name : str
        Of the parameter.
    choices : tuple of str
        Those that are allowed.

    Returns
    -------
    str
        The same.

    Raises
    ------
    TypeError
        If it is not a str.
    ValueError
        If it is another one.
    """
    if not isinstance(value, str):
        raise TypeError(f"{name}={value!r} is a {_kind(value)}; give one of {choices}")
    if value not in choices:
        raise ValueError(f"{name}={value!r} is not one of {choices}")
    return value


def _kind(value: Any) -> str:
    return type(value).__name__
