"""The parts of hybrid fusion: every modality, and sets of them side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmfusion.fusion._early import EarlyFusion
from mmfusion.fusion._parts import Part
from mmfusion.preprocessing import ModalityImputer

EARLY = "early"  # the part that has all modalities


def check_subsets(subsets: Any) -> None:
    """Refuse subsets that are no lists of names.

    Parameters
    ----------
    subsets : list of list of str or None
        Names of modalities that are put side by side.

    Raises
    ------
    ValueError
        If they are anything else.
    """
    for subset in subsets or ():
        is_list = isinstance(subset, list | tuple)
        if not is_list or not all(isinstance(name, str) for name in subset):
            raise ValueError(
                f"subsets holds {subset!r}; each subset is a list of names of "
                "modalities"
            )


def modality_sets(names: Sequence[str], subsets: Any) -> dict[str, list[int]]:
    """Name the parts of hybrid fusion.

    Parameters
    ----------
    names : list of str
        Names of the modalities.
    subsets : list of list of str or None
        Names of modalities that are put side by side.

    Returns
    -------
    dict of str to list of int
        Positions of the modalities of each part: every modality, every subset, and
        all of them.

    Raises
    ------
    ValueError
        If a subset is empty or names what is not there, or two parts have one name.
    """
    parts = [(name, [v]) for v, name in enumerate(names)]
    for subset in subsets or ():
        unknown = [name for name in subset if name not in names]
        if unknown or len(subset) == 0:
            raise ValueError(
                f"subsets holds {subset!r}; each subset is a list of some of the "
                f"modalities {list(names)}"
            )
        parts.append(("+".join(subset), [list(names).index(n) for n in subset]))
    parts.append((EARLY, list(range(len(names)))))
    sets = dict(parts)
    if len(sets) < len(parts):
        raise ValueError(
            f"two parts of hybrid fusion have one name among {[n for n, _ in parts]}; "
            "rename modalities, give each subset once, and with two modalities or more"
        )
    return sets


def branches_of(name: str, subsets: Any) -> list[str]:
    """Name the branches of hybrid fusion that have a modality.

    Parameters
    ----------
    name : str
        Name of the modality.
    subsets : list of list of str or None
        Names of modalities that are put side by side.

    Returns
    -------
    list of str
        The modality itself, subsets with it, and all modalities side by side.
    """
    within = ["+".join(subset) for subset in subsets or () if name in subset]
    return [name, *within, EARLY]


def fused_part(
    name: str, positions: list[int], hows: dict[str, str | None], missing: str
) -> Part:
    """Lay out a part of several modalities, without a predictor.

    Parameters
    ----------
    name : str
        Its name.
    positions : list of int
        Positions of its modalities.
    hows : dict of str to str or None
        The scaling of every modality.
    missing : {'mean', 'knn', 'zero', 'skip'}
        How samples are treated that lack some of its modalities.

    Returns
    -------
    Part
        Unfitted.
    """
    names = list(hows)
    return Part(
        name,
        positions,
        None,
        EarlyFusion({names[v]: hows[names[v]] for v in positions}),
        None if missing == "skip" else ModalityImputer(missing),
    )
