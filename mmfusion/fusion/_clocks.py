"""Features of sequences that are the times of their frames."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmfusion._numbers import is_integer
from mmfusion._options import by_modality
from mmfusion._typing import ByModality
from mmfusion._validation import Layout


def find_clocks(
    times: ByModality[int | str | None], layout: Layout, names: Sequence[str]
) -> dict[str, int]:
    """Return the position of the feature that is the clock, by modality.

    Parameters
    ----------
    times : int, str, dict or None
        Position or name of the feature, of all modalities or by name.
    layout : Layout
        The modalities of `fit`.
    names : sequence of str
        Modalities that have frames; the others need no clock.

    Returns
    -------
    dict of str to int
        Positions from 0 on; empty if no modality has a clock.

    Raises
    ------
    ValueError
        If `times` is no feature beside others, or some modalities have a clock and
        others have none.
    """
    options = dict(
        zip(layout.names, by_modality(times, layout.names, "times"), strict=True)
    )
    given = {name: options[name] for name in names}
    without = [name for name, clock in given.items() if clock is None]
    if len(without) == len(given):
        return {}
    if without:
        raise ValueError(
            f"times has no clock of modality {without[0]!r}, and others have one; "
            "times can be compared if all sequences have a clock, or none"
        )
    found = {}
    for name, clock in given.items():
        v = layout.names.index(name)
        width, features = layout.widths[v], layout.feature_names[v]
        found[name] = clock_position(clock, name, width, features)
    return found


def clock_position(
    clock: Any, name: str, width: int, features: Sequence[str] | None
) -> int:
    """Return the position of the clock of a modality among its features.

    Parameters
    ----------
    clock : int or str
        Position or name of the feature.
    name : str
        Name of the modality, for errors.
    width : int
        Number of features of a frame.
    features : sequence of str or None
        Their names, if they have any.

    Returns
    -------
    int
        Position from 0 on.

    Raises
    ------
    ValueError
        If the clock is no feature beside others.
    """
    if isinstance(clock, str):
        if features is None or clock not in features:
            found = "have no names" if features is None else f"are {features}"
            raise ValueError(
                f"times={clock!r} is no feature of modality {name!r}, whose "
                f"features {found}: give its position, such as -1 for the last"
            )
        clock = list(features).index(clock)
    if not is_integer(clock) or not -width <= clock < width or width < 2:
        raise ValueError(
            f"times={clock!r} is no position of a feature beside others in modality "
            f"{name!r}, whose frames have {width} features: give a position, such as "
            "-1 for the last, or a name"
        )
    return int(clock) % int(width)
