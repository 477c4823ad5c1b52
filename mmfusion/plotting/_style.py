"""Styles of artists: defaults of a display, replaced by what the user gives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmfusion._extras import import_extra


def merge_style(
    defaults: Mapping[str, Any], given: Mapping[str, Any], artist: type
) -> dict[str, Any]:
    """Merge the style that the user gives into defaults, whatever alias it has.

    Parameters
    ----------
    defaults : dict of str to object
        Style by default.
    given : dict of str to object
        Style that replaces it; ``c`` is ``color``, for instance.
    artist : type
        Class of the matplotlib artist, which defines the aliases.

    Returns
    -------
    dict of str to object
        The merged style, by names that are no aliases.

    Raises
    ------
    TypeError
        If an option is given by two names.
    """
    normalize = import_extra("matplotlib.cbook").normalize_kwargs
    return normalize(dict(defaults), artist) | normalize(dict(given), artist)
