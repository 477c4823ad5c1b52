"""Options given per modality: one value for all, or a dict by modality name."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from numbers import Real
from typing import Any

import numpy as np
from scipy import sparse

from mmfusion._blocks import as_dense_array


def check_flags(**flags: Any) -> None:
    """Refuse what is neither true nor false, by the names of the parameters."""
    for parameter, value in flags.items():
        if not isinstance(value, bool | np.bool_):
            raise TypeError(f"{parameter}={value!r}; give True or False")


def by_modality(
    option: Any,
    names: Sequence[str],
    parameter: str,
    default: Any = None,
    allowed: Sequence[str] | None = None,
) -> list[Any]:
    """Spell an option out for every modality.

    Parameters
    ----------
    option : object or dict
        The same for all, or by modality name.
    names : sequence of str
        Names of the modalities.
    parameter : str
        What to call the option in errors.
    default : object, default=None
        For modalities that a dict does not name.
    allowed : sequence of str, default=None
        The only values, apart from None; not checked by default.

    Returns
    -------
    list
        One value per modality, in the order of `names`.
    """
    if sparse.issparse(option):  # some of which are dicts
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
                f"{parameter}[{name!r}] is {value!r}; it is one of {list(allowed)}, or "
                "None"
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
    """Refuse what is no estimator, alone or in a dict by modality name.

    Parameters
    ----------
    option : object or dict
        What was given. None, alone or in the dict, is the default.
    parameter : str
        What to call the option in errors.
    methods : sequence of str
        What an estimator needs to have.
    strings : sequence of str, default=()
        Strings that are taken in place of an estimator.
    remedy : str, default=''
        What else to say in the error, where '{name!r}' is the modality.

    Raises
    ------
    TypeError
        If an entry is a class or a string, or lacks a method.
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


def weights_by_modality(weights: Any, names: Sequence[str]) -> np.ndarray:
    """Spell weights out: None is 1 for all; an array, or a dict by name (default 1)."""
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
        values = values.astype(float)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(
            f"weights={weights!r} are no numbers ({error}); give one for each of the "
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
    """Let errors begin with the modality that they are about.

    Parameters
    ----------
    modality : str
        Its name.

    Yields
    ------
    None
        What is done with the modality.
    """
    with errors_about(f"modality {modality!r}"):
        yield


@contextmanager
def errors_about(what: str) -> Iterator[None]:
    """Let errors begin with what they are about, unless they name it.

    Parameters
    ----------
    what : str
        A parameter, or a modality.

    Yields
    ------
    None
        What is done with it.

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
        kind = TypeError if isinstance(error, TypeError) else ValueError
        named = re.search(rf"(?<!\w){re.escape(what)}(?!\w)", str(error))
        raise kind(str(error) if named else f"{what}: {error}") from error
