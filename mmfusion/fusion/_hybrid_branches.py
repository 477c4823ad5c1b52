"""Branches of hybrid fusion: every modality, subsets of them, and all together."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Real

from mmfusion._sklearn_compat import Interval, StrOptions
from mmfusion.fusion._branch import EARLY_BRANCH
from mmfusion.fusion._late_predictor import LateFusionPredictor

HYBRID_PREDICTOR_CONSTRAINTS: dict = {
    "subsets": [list, tuple, None],
    "missing": [StrOptions({"mean", "knn", "zero", "skip"})],
    "modality_dropout": [Interval(Real, 0, 1, closed="left")],
}


def check_subsets(subsets: Sequence[Sequence[str]] | None) -> None:
    """Raise an error unless subsets are lists of names.

    Parameters
    ----------
    subsets : list of list of str or None
        Names of the modalities of further branches.

    Raises
    ------
    ValueError
        If a subset is not a list of strings.
    """
    for subset in subsets or ():
        is_list = isinstance(subset, list | tuple)
        if not is_list or not all(isinstance(name, str) for name in subset):
            raise ValueError(
                f"subsets holds {subset!r}; each subset is a list of names of "
                "modalities"
            )


def hybrid_positions(
    names: Sequence[str], subsets: Sequence[Sequence[str]] | None
) -> dict[str, list[int]]:
    """Return the positions of the modalities of every branch.

    Parameters
    ----------
    names : list of str
        Names of the modalities.
    subsets : list of list of str or None
        Names of the modalities of further branches.

    Returns
    -------
    dict of str to list of int
        Positions by name of the branch: every modality, every subset, and all of them.

    Raises
    ------
    ValueError
        If a subset is empty or names an unknown modality, or two branches have the
        same name.
    """
    branches = [(name, [v]) for v, name in enumerate(names)]
    for subset in subsets or ():
        unknown = [name for name in subset if name not in names]
        if unknown or len(subset) == 0:
            raise ValueError(
                f"subsets holds {subset!r}; each subset is a list of some of the "
                f"modalities {list(names)}"
            )
        branches.append((_subset_name(subset), [list(names).index(n) for n in subset]))
    branches.append((EARLY_BRANCH, list(range(len(names)))))
    positions = dict(branches)
    if len(positions) < len(branches):
        raise ValueError(
            "two branches of hybrid fusion have the same name among "
            f"{[name for name, _ in branches]}; rename modalities, give each subset "
            "once, and with two modalities or more"
        )
    return positions


def _subset_name(subset: Sequence[str]) -> str:
    return "+".join(subset)


def hybrid_branches_of(
    modality: str, subsets: Sequence[Sequence[str]] | None
) -> list[str]:
    """Name the branches of hybrid fusion that contain a modality.

    Parameters
    ----------
    modality : str
        Name of the modality.
    subsets : list of list of str or None
        Names of the modalities of further branches.

    Returns
    -------
    list of str
        The modality itself, subsets that contain it, and the branch of all modalities.
    """
    within = [_subset_name(subset) for subset in subsets or () if modality in subset]
    return [modality, *within, EARLY_BRANCH]


class HybridPredictorMixin(LateFusionPredictor):
    """Late fusion of predictors with further branches of several modalities."""

    subsets: Sequence[Sequence[str]] | None
    missing: str
    modality_dropout: float

    def _check_parameters(self) -> None:
        check_subsets(self.subsets)
        super()._check_parameters()

    def _branch_positions(self, names: Sequence[str]) -> dict[str, list[int]]:
        return hybrid_positions(names, self.subsets)

    def _branches_of(self, modality: str) -> Sequence[str]:
        return hybrid_branches_of(modality, self.subsets)

    def _takes_nan(self, modality: str) -> bool:
        # the nearest neighbors of 'knn' have no distances with NaN
        return self.missing != "knn" and super()._takes_nan(modality)
