"""Options with one value for all modalities, or a dict of values by modality."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import sparse

from mmfusion._blocks import as_dense_array
from mmfusion._typing import ByModality


def check_flags(**flags: object) -> None:
    """Check that parameters, given by name, are True or False."""
    for parameter, value in flags.items():
        if not isinstance(value, bool | np.bool_):
            raise TypeError(f"{parameter}={value!r}; give True or False")


def by_modality(
    option: Any,
    names: Sequence[str],
    parameter: str,
    default: object = None,
    allowed: Sequence[str] | None = None,
) -> list[Any]:
    """Return the value of an option for every modality.

    Parameters
    ----------
    option : object or dict
        Value for all modalities, or values by modality name.
    names : sequence of str
        Names of the modalities.
    parameter : str
        Name of the option in errors.
    default : object, default=None
        Value of modalities that a dict lacks.
    allowed : sequence of str, default=None
        Values allowed besides None; not checked by default.

    Returns
    -------
    list
        Value of each modality, in the order of `names`.

    Raises
    ------
    TypeError
        If `option` is a sparse matrix.
    ValueError
        If a dict names an unknown modality, or a value in it is not allowed.
    """
    if sparse.issparse(option):  # dok_array is a dict
        raise TypeError(
            f"{parameter} is a sparse matrix; give one value, or a dict by modality"
        )
    if not isinstance(option, Mapping):
        return [option] * len(names)
    unknown = [key for key in option if key not in names]
    if unknown:
        raise ValueError(
            f"{parameter} names {unknown}, but the modalities are {list(names)}"
        )
    values = [option.get(name, default) for name in names]
    for name, value in zip(names, values, strict=True):
        if allowed is None or value is None:
            continue
        if not isinstance(value, str) or value not in allowed:
            raise ValueError(
                f"{parameter}[{name!r}] is {value!r}; it must be one of "
                f"{list(allowed)}, or None"
            )
    return values


def check_estimators(
    option: Any,
    parameter: str,
    methods: Sequence[str],
    *,
    strings: Sequence[str] = (),
    remedy: str = "",
) -> None:
    """Check an estimator, or a dict of estimators by modality name.

    Parameters
    ----------
    option : object or dict
        Estimator or estimators; None, alone or in the dict, stands for the default.
    parameter : str
        Name of the option in errors.
    methods : sequence of str
        Methods that an estimator needs.
    strings : sequence of str, default=()
        Strings allowed in place of an estimator.
    remedy : str, default=''
        Text appended to errors, in which '{name!r}' is replaced by the modality.

    Raises
    ------
    TypeError
        If an entry is a class or another string, or lacks a method.
    """
    is_dict = isinstance(option, Mapping)
    for name, value in option.items() if is_dict else [(None, option)]:
        if value is None or (isinstance(value, str) and value in strings):
            continue
        what = f"{parameter}[{name!r}]" if is_dict else parameter
        if isinstance(value, type):
            raise TypeError(
                f"{what} is the class {value.__name__}; give an instance of it, "
                f"{value.__name__}()"
            )
        lacking = [m for m in ("get_params", *methods) if not hasattr(value, m)]
        if lacking:
            also = "".join(f" or {s!r}" for s in strings)
            raise TypeError(
                f"{what} is {value!r}, without {lacking[0]}; give an estimator{also}"
                f"{remedy.format(name=name) if is_dict else ''}"
            )


def weights_by_modality(
    weights: ByModality[ArrayLike] | None, names: Sequence[str]
) -> np.ndarray:
    """Return the weight of each modality.

    Parameters
    ----------
    weights : array-like of shape (n_modalities,), dict of str to float, or None
        Weights in the order of `names`, or by name; 1 for all modalities if None, and
        for those that a dict lacks.
    names : sequence of str
        Names of the modalities.

    Returns
    -------
    ndarray of float of shape (n_modalities,)
        The weights.

    Raises
    ------
    TypeError
        If a weight in a dict is not a real number.
    ValueError
        If weights do not fit the modalities, are negative, all 0, or not finite.
    """
    if weights is None:
        return np.ones(len(names))
    if isinstance(weights, Mapping):
        weights = by_modality(weights, names, "weights", default=1.0)
        for name, weight in zip(names, weights, strict=True):
            if isinstance(weight, bool | np.bool_) or not isinstance(weight, Real):
                raise TypeError(f"weights[{name!r}] is {weight!r}; give a number")
    try:
        values = as_dense_array(weights, "weights")
        if values.dtype.kind not in "fiuO":
            raise TypeError(f"it holds {values.dtype}")
        values = values.astype(float)  # objects may be integers beyond 64 bits
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(
            f"weights={weights!r} are not numbers ({error}); give one for each of the "
            f"modalities {list(names)}"
        ) from error
    if values.shape != (len(names),):
        raise ValueError(
            f"weights has shape {values.shape}; give one weight for each of the "
            f"{len(names)} modalities {list(names)}, or a dict by name"
        )
    with np.errstate(over="ignore"):
        total = values.sum()
    if not np.isfinite(total) or values.min() < 0 or values.max() == 0:
        raise ValueError(
            f"weights are {values.tolist()}; they must be finite, as their sum, not "
            "negative, and not all zero"
        )
    return values


@contextmanager
def errors_name(modality: str) -> Iterator[None]:
    """Prefix errors raised in the block with the name of a modality.

    Parameters
    ----------
    modality : str
        Name of the modality.

    Yields
    ------
    None
        Nothing; the block is executed.
    """
    with errors_about(f"modality {modality!r}"):
        yield


@contextmanager
def errors_about(what: str) -> Iterator[None]:
    """Prefix errors raised in the block with their subject, unless they name it.

    Parameters
    ----------
    what : str
        Name of a parameter, or of a modality.

    Yields
    ------
    None
        Nothing; the block is executed.

    Raises
    ------
    TypeError
        If a TypeError is raised within.
    ValueError
        If a ValueError or OverflowError is raised within.
    """
    try:
        yield
    except (TypeError, ValueError, OverflowError) as error:
        # subclasses, such as UnicodeError, may not accept a message alone
        kind = TypeError if isinstance(error, TypeError) else ValueError
        is_named = re.search(rf"(?<!\w){re.escape(what)}(?!\w)", str(error))
        raise kind(str(error) if is_named else f"{what}: {error}") from error
