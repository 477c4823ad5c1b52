"""What the generators share: options by modality, and which samples lack one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mmfusion._columns import default_names


def widths_by_name(n_features: Any) -> dict[str, int]:
    """Name the modalities of a generator and tell how wide they are."""
    if not isinstance(n_features, Mapping):
        if np.ndim(n_features) != 1:
            raise ValueError(
                f"n_features={n_features!r} is not one number per modality; give a "
                "sequence such as (10, 20), or a dict by name"
            )
        n_features = dict(zip(default_names(len(n_features)), n_features, strict=True))
    if not n_features:
        raise ValueError("n_features is empty; name at least one modality")
    names = list(n_features)
    return dict(zip(names, counts(n_features, names, "n_features", 1), strict=True))


def by_modality(
    value: Any, names: Sequence[str], option: str, high: float = np.inf
) -> list[float]:
    """Spread an option over the modalities: a number, one per modality, or a dict."""
    if isinstance(value, Mapping):
        if set(value) != set(names):
            raise ValueError(
                f"{option} has values for {list(value)}; the modalities are "
                f"{list(names)}"
            )
        value = [value[name] for name in names]
    elif np.ndim(value) == 0:
        value = [value] * len(names)
    if len(value) != len(names):
        raise ValueError(
            f"{option} has {len(value)} values for {len(names)} modalities "
            f"{list(names)}"
        )
    for name, v in zip(names, value, strict=True):
        if not 0 <= v <= high:
            raise ValueError(
                f"{option} of modality {name!r} is {v}; it lies in [0, {high}]"
            )
    return list(value)


def counts(value: Any, names: Sequence[str], option: str, low: int = 0) -> list[int]:
    """Spread a number of things over the modalities."""
    found = by_modality(value, names, option)
    for name, v in zip(names, found, strict=True):
        if not float(v).is_integer() or v < low:
            raise ValueError(
                f"{option} of modality {name!r} is {v}; it is an integer >= {low}"
            )
    return [int(v) for v in found]


def check_at_least(low: int, **options: int) -> None:
    """Refuse a number of things that is too small."""
    for option, value in options.items():
        if value < low:
            raise ValueError(f"{option}={value}; it is at least {low}")


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
