"""Which scaling each modality of a frame gets, where samples may lack modalities."""

from __future__ import annotations

from typing import Any

import numpy as np

from mmfusion._blocks import of_samples
from mmfusion._options import by_modality
from mmfusion._scaling import choose_scalings
from mmfusion.modalities import Modalities


def resolve_scalings(
    frame: Modalities, option: Any, counts: np.ndarray
) -> list[str | None]:
    """Choose the scalings that are 'auto' on the samples that have all modalities.

    Modalities that do not count, those of weight 0, have no say in those of others.

    Parameters
    ----------
    frame : Modalities
        Float blocks, checked.
    option : {'auto', 'block', 'standard', 'l2'} or None or dict
        The scaling asked for.
    counts : ndarray of bool of shape (n_modalities,)
        Which modalities count.

    Returns
    -------
    list of {'block', 'standard', 'l2'} or None
        One scaling per modality.
    """
    hows = by_modality(option, frame.names, "scaling", "auto")
    if "auto" not in hows:
        return hows
    complete = np.asarray(frame.observed[:, counts].all(axis=1))
    together = np.flatnonzero(counts).tolist() if complete.any() else []
    blocks = [of_samples(frame.blocks[v], complete) for v in together]
    chosen = dict(zip(together, choose_scalings(blocks), strict=True))
    for v, present in enumerate(frame.observed.T):
        if v not in chosen:
            chosen[v] = choose_scalings([of_samples(frame.blocks[v], present)])[0]
    return [chosen[v] if how == "auto" else how for v, how in enumerate(hows)]
