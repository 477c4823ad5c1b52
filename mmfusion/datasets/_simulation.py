"""What the generators share: options by modality, and which samples lack one."""

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
from mmfusion.modalities import Modalities

ITEM_BYTES = 8
COPIES = 3  # of all numbers, before those of intermediate steps are freed


def check_seed(random_state: Any) -> np.random.RandomState:
    """Make a generator of random numbers from what scikit-learn takes for one."""
    try:
        return check_random_state(random_state)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"random_state={random_state!r} is no seed; give an integer from 0 to "
            f"2**32 - 1, a RandomState or None: {error}"
        ) from error


def widths_by_name(n_features: Any) -> dict[str, int]:
    """Name the modalities of a generator and return how wide they are."""
    if is_sequence(n_features):
        names = default_names(len(n_features))
    elif is_mapping(n_features):
        names = list(n_features)
        check_names(names, "n_features")
    else:
        raise ValueError(
            f"n_features={n_features!r} is not one number per modality; give a "
            "sequence such as (10, 20), or a dict by name"
        )
    if not names:
        raise ValueError("n_features is empty; name at least one modality")
    return dict(zip(names, counts(n_features, names, "n_features", 1), strict=True))


def is_mapping(value: Any) -> bool:
    """Return whether an option is given by name; some sparse matrices are dicts."""
    return isinstance(value, Mapping) and not sparse.issparse(value)


def is_sequence(value: Any) -> bool:
    """Return whether an option is given one by one."""
    if isinstance(value, np.ndarray):
        return value.ndim > 0
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)


def check_names(names: Sequence[Any], option: str) -> None:
    """Refuse keys of an option that cannot name modalities."""
    try:
        Modalities([np.empty((0, 1))] * len(names), names=names)
    except ValueError as error:
        raise ValueError(f"{option}: {error}") from error


def by_modality(
    value: Any, names: Sequence[str], option: str, high: float = np.inf
) -> list[float]:
    """Spread an option over the modalities: a number, one per modality, or a dict."""
    if is_mapping(value):
        if set(value) != set(names):
            raise ValueError(
                f"{option} has values for {list(value)}; the modalities are "
                f"{list(names)}"
            )
        value = [value[name] for name in names]
    elif not is_sequence(value):
        value = [value] * len(names)
    if len(value) != len(names):
        raise ValueError(
            f"{option} has {len(value)} values for {len(names)} modalities "
            f"{list(names)}"
        )
    return [
        check_real(v, f"{option} of modality {name!r}", high)
        for name, v in zip(names, value, strict=True)
    ]


def check_real(value: Any, option: str, high: float = np.inf) -> float:
    """Take a finite number from 0 to `high` as a float, or refuse it."""
    if isinstance(value, np.ndarray) and value.ndim == 0:
        value = value.item()
    if not is_real(value):
        raise TypeError(f"{option} is {value!r}; give a number")
    try:
        number = float(value)
    except OverflowError:  # an integer or a fraction of any size
        number = np.inf
    if not 0 <= number <= high or number == np.inf:
        raise ValueError(f"{option} is {number:g}; it lies in [0, {high}], finite")
    return number


def counts(value: Any, names: Sequence[str], option: str, low: int = 0) -> list[int]:
    """Spread a number of things over the modalities."""
    found = by_modality(value, names, option)
    for name, v in zip(names, found, strict=True):
        if not v.is_integer() or v < low:
            raise ValueError(
                f"{option} of modality {name!r} is {v:g}; it is an integer >= {low}"
            )
    return [int(v) for v in found]


def check_at_least(low: int, **options: Any) -> None:
    """Refuse a number of things that is no integer, or too small."""
    for option, value in options.items():
        if not is_integer(value):
            raise TypeError(f"{option}={value!r}; give an integer of at least {low}")
        if value < low:
            raise ValueError(f"{option}={value}; it is at least {low}")


def check_numbers_fit(n_numbers: int, **options: Any) -> None:
    """Refuse options by which more numbers would be made than memory can hold."""
    check_fits(
        COPIES * ITEM_BYTES * min(n_numbers, sys.maxsize),
        " and ".join(f"{option}={value!r}" for option, value in options.items()),
        "give smaller numbers",
    )


def check_finite(values: np.ndarray, name: str, options: str) -> np.ndarray:
    """Refuse values of a modality that have left the range of their dtype."""
    if not np.isfinite(values).all():
        raise ValueError(
            f"modality {name!r} overflows {values.dtype}: give smaller {options}"
        )
    return values


def draw_observed(
    n_samples: int,
    missing_rate: Any,
    names: Sequence[str],
    random_state: np.random.RandomState,
) -> np.ndarray:
    """Draw which sample has which modality; every sample keeps at least one.

    Every modality lacks the asked share of samples, rounded to whole samples and
    spread at random. A sample left with nothing swaps with one that can spare a
    modality, so that the shares remain as asked.
    """
    rates = by_modality(missing_rate, names, "missing_rate", high=1)
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
    # As many cells as samples are observed at least, so while a sample has none
    # another has two.
    for empty in np.flatnonzero(~observed.any(axis=1)):
        giver = random_state.choice(np.flatnonzero(observed.sum(axis=1) > 1))
        v = random_state.choice(np.flatnonzero(observed[giver]))
        observed[[empty, giver], v] = True, False
    return observed
