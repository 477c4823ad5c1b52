"""Validated options of the generators of data, and the draw of missing modalities."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.utils import check_random_state

from mmfusion._columns import default_names
from mmfusion._memory import check_fits
from mmfusion._numbers import is_integer, is_real
from mmfusion._typing import RandomStateLike
from mmfusion.modalities import Modalities

NUMBER_BYTES = 8  # float64
N_COPIES = 3  # arrays of the size of the result that exist at the same time


def check_seed(random_state: RandomStateLike) -> np.random.RandomState:
    """Return the random number generator of a seed."""
    try:
        return check_random_state(random_state)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"random_state={random_state!r} is not a seed; give an integer from 0 to "
            f"2**32 - 1, a RandomState or None: {error}"
        ) from error


def widths_by_name(n_features: Sequence[int] | Mapping[str, int]) -> dict[str, int]:
    """Return the names and the numbers of features of the modalities to generate."""
    if is_sequence(n_features):
        names = default_names(len(n_features))
    elif is_mapping(n_features):
        names = [*n_features]
        check_name_keys(names, "n_features")
    else:
        raise ValueError(
            f"n_features={n_features!r} is not one number per modality; give a "
            "sequence such as (10, 20), or a dict by name"
        )
    if not names:
        raise ValueError("n_features is empty; name at least one modality")
    widths = counts_by_modality(n_features, names, "n_features", 1)
    return dict(zip(names, widths, strict=True))


def is_mapping(value: object) -> bool:
    """Return whether an option is a dict by name; some sparse matrices are dicts."""
    return isinstance(value, Mapping) and not sparse.issparse(value)


def is_sequence(value: object) -> bool:
    """Return whether an option is a sequence with one value per modality."""
    if isinstance(value, np.ndarray):
        return value.ndim > 0
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)


def check_name_keys(names: Sequence[Any], option: str) -> None:
    """Check that the keys of an option are valid names of modalities."""
    try:
        Modalities([np.empty((0, 1))] * len(names), names=names)
    except ValueError as error:
        raise ValueError(f"{option}: {error}") from error


def numbers_by_modality(
    value: float | Sequence[float] | Mapping[str, float],
    names: Sequence[str],
    option: str,
    high: float = np.inf,
) -> list[float]:
    """Return the number of each modality.

    Parameters
    ----------
    value : float, or sequence or dict by name of float
        Number for all modalities, or one number per modality.
    names : sequence of str
        Names of the modalities.
    option : str
        Name of the option in errors.
    high : float, default=inf
        Largest number allowed.

    Returns
    -------
    list of float
        Numbers from 0 to `high`, in the order of `names`.

    Raises
    ------
    TypeError
        If a value is not a real number.
    ValueError
        If values do not fit the modalities, or are out of range.
    """
    values: Any = value
    if is_mapping(values):
        if set(values) != set(names):
            raise ValueError(
                f"{option} has values for {list(values)}; the modalities are "
                f"{list(names)}"
            )
        values = [values[name] for name in names]
    elif not is_sequence(values):
        values = [values] * len(names)
    if len(values) != len(names):
        raise ValueError(
            f"{option} has {len(values)} values for {len(names)} modalities "
            f"{list(names)}"
        )
    return [
        check_number(v, f"{option} of modality {name!r}", high)
        for name, v in zip(names, values, strict=True)
    ]


def check_number(value: Any, option: str, high: float = np.inf) -> float:
    """Check that a value is a finite number from 0 to `high`, and return it."""
    if isinstance(value, np.ndarray) and value.ndim == 0:
        value = value.item()
    if not is_real(value):
        raise TypeError(f"{option} is {value!r}; give a number")
    try:
        number = float(value)
    except OverflowError:  # integers and fractions may exceed float64
        number = np.inf
    if not 0 <= number <= high or number == np.inf:
        raise ValueError(f"{option} is {number:g}; it must be finite, in [0, {high}]")
    return number


def counts_by_modality(
    value: int | Sequence[int] | Mapping[str, int],
    names: Sequence[str],
    option: str,
    low: int = 0,
) -> list[int]:
    """Return the integer of each modality, at least `low`."""
    found = numbers_by_modality(value, names, option)
    for name, v in zip(names, found, strict=True):
        if not v.is_integer() or v < low:
            raise ValueError(
                f"{option} of modality {name!r} is {v:g}; it must be an integer "
                f">= {low}"
            )
    return [int(v) for v in found]


def check_at_least(low: int, **options: object) -> None:
    """Check that options, given by name, are integers of at least `low`."""
    for option, value in options.items():
        if not is_integer(value):
            raise TypeError(f"{option}={value!r}; give an integer of at least {low}")
        if value < low:  # type: ignore[operator]
            raise ValueError(f"{option}={value}; it must be at least {low}")


def check_numbers_fit(n_numbers: int, **options: object) -> None:
    """Check that the numbers determined by some options fit in memory."""
    check_fits(
        N_COPIES * NUMBER_BYTES * min(n_numbers, sys.maxsize),
        " and ".join(f"{option}={value!r}" for option, value in options.items()),
        "give smaller numbers",
    )


def check_no_overflow(values: np.ndarray, name: str, options: str) -> np.ndarray:
    """Check that generated values of a modality are finite in their dtype."""
    if not np.isfinite(values).all():
        raise ValueError(
            f"modality {name!r} overflows {values.dtype}: give smaller {options}"
        )
    return values


def draw_observed(
    n_samples: int,
    missing_rate: float | Sequence[float] | Mapping[str, float],
    names: Sequence[str],
    random_state: np.random.RandomState,
) -> np.ndarray:
    """Draw the observed modalities of each sample, at least one.

    Every modality is missing in its share of the samples, rounded to whole samples and
    drawn at random. A sample without any modality gets one of a sample with two or
    more, which preserves the shares.

    Parameters
    ----------
    n_samples : int
        Number of samples.
    missing_rate : float, or sequence or dict by name of float
        Share of the samples that lack each modality.
    names : sequence of str
        Names of the modalities.
    random_state : RandomState
        Random number generator.

    Returns
    -------
    ndarray of bool of shape (n_samples, n_modalities)
        Whether a sample has a modality.

    Raises
    ------
    ValueError
        If the rates leave a sample without any modality.
    """
    rates = numbers_by_modality(missing_rate, names, "missing_rate", high=1)
    n_missing = [round(rate * n_samples) for rate in rates]
    if sum(n_missing) > n_samples * (len(names) - 1):
        raise ValueError(
            f"missing_rate={missing_rate} leaves some of the {n_samples} samples "
            f"without any of the modalities {list(names)}; the rates of all "
            f"modalities may add up to at most {len(names) - 1}"
        )
    observed = np.ones((n_samples, len(names)), dtype=bool)
    for v, n in enumerate(n_missing):
        observed[random_state.permutation(n_samples)[:n], v] = False
    # there are at least as many observed cells as samples, so that while a sample has
    # none another has two
    for empty in np.flatnonzero(~observed.any(axis=1)):
        giver = random_state.choice(np.flatnonzero(observed.sum(axis=1) > 1))
        v = random_state.choice(np.flatnonzero(observed[giver]))
        observed[[empty, giver], v] = True, False
    return observed
