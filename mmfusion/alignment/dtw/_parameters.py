"""Checks of the parameters of alignment's functions.

NumPy's scalars are accepted as Python's, and truth values are not numbers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Integral
from typing import cast

import numpy as np

from mmfusion._numbers import is_integer, is_real


def check_integer_at_least(value: object, name: str, least: int) -> int:
    """Check an integer, and return it as a Python int.

    Parameters
    ----------
    value : int
        The value of the parameter.
    name : str
        Name of the parameter, for errors.
    least : int
        The smallest value that is allowed.

    Returns
    -------
    int
        The value.

    Raises
    ------
    TypeError
        If it is not an integer.
    ValueError
        If it is smaller.
    """
    if not is_integer(value):
        raise TypeError(f"{name}={value!r} is a {_type_name(value)}; give an int")
    number = int(cast(int, value))
    if number < least:
        raise ValueError(f"{name}={value}; give an int of at least {least}")
    return number


def check_real_at_least(value: object, name: str, least: float) -> float:
    """Check a finite real number, and return it as a Python float.

    Parameters
    ----------
    value : int or float
        The value of the parameter.
    name : str
        Name of the parameter, for errors.
    least : float
        The smallest value that is allowed.

    Returns
    -------
    float
        The value.

    Raises
    ------
    TypeError
        If it is not a real number.
    ValueError
        If it is smaller, NaN or infinite.
    """
    if not is_real(value):
        raise TypeError(f"{name}={value!r} is a {_type_name(value)}; give a number")
    try:
        number = float(cast(float, value))
    except OverflowError:  # of an int beyond the range of floats
        number = math.inf
    if not (least <= number < math.inf):
        raise ValueError(
            f"{name}={value!r}; give a finite number of at least {least:g}"
        )
    return number


def check_frames_or_share(value: object, name: str) -> int | float:
    """Check a number of frames, an int, or a share of all frames, a float.

    Parameters
    ----------
    value : int or float
        The value of the parameter.
    name : str
        Name of the parameter, for errors.

    Returns
    -------
    int or float
        The value, as Python's own type.

    Raises
    ------
    TypeError
        If it is not a real number.
    ValueError
        If it is negative, or a float that is NaN or more than 1.
    """
    # an int is not converted: it may be beyond the range of floats
    if isinstance(value, Integral) and not isinstance(value, bool):
        return check_integer_at_least(value, name, 0)
    share = check_real_at_least(value, name, 0)
    if share > 1:
        raise ValueError(
            f"{name}={value!r}; a float is a share of all frames, at most 1: give an "
            "int for a number of frames"
        )
    return share


def check_cells_or_ratio(value: object, name: str) -> int | float:
    """Check the most cells of a path, an int, or a multiple of the fewest, a float.

    Parameters
    ----------
    value : int or float
        The value of the parameter.
    name : str
        Name of the parameter, for errors.

    Returns
    -------
    int or float
        The value, as Python's own type.

    Raises
    ------
    TypeError
        If it is not a real number.
    ValueError
        If it is less than 1, NaN or infinite.
    """
    if isinstance(value, Integral) and not isinstance(value, bool):
        return check_integer_at_least(value, name, 1)
    return check_real_at_least(value, name, 1)


def check_open_end(value: object, name: str) -> bool | int | float:
    """Check how many frames of a sequence may be left out at one end.

    Parameters
    ----------
    value : bool, int or float
        The value of the parameter.
    name : str
        Name of the parameter, for errors.

    Returns
    -------
    bool, int or float
        Any number or none, a number of frames, or a share of the sequence, as Python's
        own type.

    Raises
    ------
    TypeError
        If it has another type.
    ValueError
        If it is negative, NaN, or a float that is more than 1.
    """
    if isinstance(value, bool | np.bool_):
        return bool(value)
    if not is_real(value):
        raise TypeError(
            f"{name}={value!r} is a {_type_name(value)}; give True, False, a number of "
            "frames or a share, or a pair of these for x and y"
        )
    return check_frames_or_share(value, name)


def check_bool(value: object, name: str) -> bool:
    """Check a truth value, and return it as a Python bool.

    Parameters
    ----------
    value : bool
        The value of the parameter.
    name : str
        Name of the parameter, for errors.

    Returns
    -------
    bool
        The value.

    Raises
    ------
    TypeError
        If it has another type.
    """
    # a test of truth would accept any object
    if not isinstance(value, bool | np.bool_):
        raise TypeError(
            f"{name}={value!r} is a {_type_name(value)}; give True or False"
        )
    return bool(value)


def check_n_jobs(value: object) -> int | None:
    """Check a number of threads for joblib.

    Parameters
    ----------
    value : int or None
        The value of ``n_jobs``.

    Returns
    -------
    int or None
        The value, as Python's own type.

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
        raise TypeError(
            f"n_jobs={value!r} is a {_type_name(value)}; give an int or None"
        )
    number = int(cast(int, value))
    if number == 0:
        raise ValueError("n_jobs=0; give a number of threads, or -1 for one per core")
    return number


def check_choice(value: object, name: str, choices: Sequence[str]) -> str:
    """Check that a parameter is one of several strings.

    Parameters
    ----------
    value : str
        The value of the parameter.
    name : str
        Name of the parameter, for errors.
    choices : sequence of str
        The strings that are allowed.

    Returns
    -------
    str
        The value.

    Raises
    ------
    TypeError
        If it is not a str.
    ValueError
        If it is not allowed.
    """
    if not isinstance(value, str):
        raise TypeError(
            f"{name}={value!r} is a {_type_name(value)}; give one of {choices}"
        )
    if value not in choices:
        raise ValueError(f"{name}={value!r} is not one of {choices}")
    return value


def _type_name(value: object) -> str:
    return type(value).__name__
