"""Targets of frames by the current warps of modalities that belong together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import combinations
from typing import TypeAlias

import numpy as np

from mmfusion._threads import one_thread
from mmfusion.alignment._base import SampleSequences
from mmfusion.alignment._ctw_aligner import CTWAligner
from mmfusion.alignment._frame_targets import TargetPair, targets_of_matches
from mmfusion.alignment.ctw._monotone_bases import (
    BasisWarp,
    align_by_bases,
    improve_weights,
)
from mmfusion.alignment.ctw._projections import Projections
from mmfusion.modalities import Modalities

GAUSS_NEWTON_STEPS = 10  # of each renewal, fewer once none improves

Embed: TypeAlias = Callable[[int, str], np.ndarray]


class PathTargets:
    """Warps of the samples that have every modality, and the targets along them.

    The first warps are those of canonical time warping, pooled over the samples; later
    ones follow the embedded frames. Warps are means of monotone bases: of few
    parameters, they cannot follow what an untrained network confuses, as free paths
    can.

    Parameters
    ----------
    samples : sequence of dict of str to ndarray
        The scaled sequences of each sample.
    names : sequence of str
        Names of the modalities of sequences.

    Raises
    ------
    ValueError
        Under the conditions of CTWAligner.
    """

    def __init__(
        self, samples: Sequence[SampleSequences], names: Sequence[str]
    ) -> None:
        self.names = list(names)
        self.lengths = [{name: len(x) for name, x in s.items()} for s in samples]
        ctw = CTWAligner(warp="basis")
        ctw.fit(Modalities({n: [s.get(n) for s in samples] for n in names}))
        projections = Projections(
            [ctw.means_[name] for name in names],
            [ctw.projections_[name] for name in names],
            ctw.correlations_,
        )
        with one_thread():
            self.warps: dict[int, BasisWarp] = {
                i: align_by_bases([sample[name] for name in names], projections)
                for i, sample in enumerate(samples)
                if len(sample) == len(self.names)
            }

    def renew(self, embed: Embed) -> list[TargetPair]:
        """Improve the warps by the distances of embedded frames.

        Parameters
        ----------
        embed : callable
            Takes the position of a sample and the name of a modality, and returns the
            embedded sequence.

        Returns
        -------
        list of TargetPair
            The new targets, as by `pairs`.
        """
        with one_thread():
            for i, warp in self.warps.items():
                embedded = [embed(i, name) for name in self.names]
                self.warps[i] = improve_weights(
                    embedded, warp, n_steps=GAUSS_NEWTON_STEPS
                )
        return self.pairs()

    def pairs(self) -> list[TargetPair]:
        """Return the targets of all pairs of modalities of each sample."""
        return [
            TargetPair(
                i,
                self.names[u],
                self.names[v],
                targets_of_matches(
                    warp.columns[:, [u, v]],
                    self.lengths[i][self.names[u]],
                    self.lengths[i][self.names[v]],
                ),
            )
            for i, warp in self.warps.items()
            for u, v in combinations(range(len(self.names)), 2)
        ]
