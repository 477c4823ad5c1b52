"""Alignment of the sequences of a sample with a reference, by dynamic time warping."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mmfusion.alignment._alignments import Alignment
from mmfusion.alignment.dtw._barycenter import dtw_barycenter
from mmfusion.alignment.dtw._constraints import Constraints
from mmfusion.alignment.dtw._costs import cost_matrix, make_costs, one_blas_thread
from mmfusion.alignment.dtw._path import find_path
from mmfusion.alignment.dtw._soft import soft_dtw_alignment

SAMPLE_REFERENCES = ("barycenter", "longest")  # computed for each sample


def resolve_reference(
    reference: int | str, names: Sequence[str], sequences: Sequence[str]
) -> str:
    """Return the name of the reference.

    Parameters
    ----------
    reference : int or str
        The reference as given to an aligner.
    names : sequence of str
        Names of the modalities.
    sequences : sequence of str
        Names of the modalities of sequences.

    Returns
    -------
    str
        Name of a modality, 'longest' or 'barycenter'.

    Raises
    ------
    ValueError
        If it is none of them, or a table.
    """
    given = reference
    if reference in SAMPLE_REFERENCES:
        return str(reference)
    if not isinstance(reference, str) and -len(names) <= reference < len(names):
        reference = names[reference]
    if reference not in names:
        raise ValueError(
            f"reference={reference!r} is neither a modality, by position or name, "
            f"nor one of {SAMPLE_REFERENCES}; the modalities are {list(names)}"
        )
    if sequences and reference not in sequences:
        raise ValueError(
            f"reference={given!r}: modality {reference!r} is a table, which has no "
            f"time; those with sequences are {list(sequences)}"
        )
    return str(reference)


@dataclass(frozen=True)
class ReferenceDTW:
    """Dynamic time warping of the sequences of a sample with its reference.

    Parameters
    ----------
    reference : str
        Name of the modality whose frames are the time axis, 'longest' or
        'barycenter'. Where a sample lacks the modality, its longest sequence is the
        axis, and where it has a single sequence, that one.
    metric : str or callable
        Local cost of two frames, as `dtw_path` takes it.
    constraints : Constraints
        The allowed paths; without effect for ``gamma > 0``.
    gamma : float
        Softness; 0 uses the best path alone.
    """

    reference: str
    metric: str | Callable[..., Any]
    constraints: Constraints
    gamma: float = 0.0

    def sample_aligner(
        self, samples: Sequence[Mapping[str, np.ndarray]]
    ) -> Callable[[int], dict[str, Alignment]]:
        """Return a function that aligns the sample at a position, by `align`."""
        return lambda i: self.align(samples[i], i)

    def align(
        self, sequences: Mapping[str, np.ndarray], sample: int
    ) -> dict[str, Alignment]:
        """Align the sequences of a sample with one time axis.

        Parameters
        ----------
        sequences : mapping of str to ndarray of shape (n_frames, n_features)
            The observed sequences between which costs are measured, by modality.
        sample : int
            Position of the sample, for errors.

        Returns
        -------
        dict of str to Alignment
            The alignment of each modality; the reference is aligned with itself, at
            cost 0.

        Raises
        ------
        ValueError
            If the constraints leave no path; the message names the modality and the
            sample.
        """
        reference, axis = self._axis(sequences)
        alignments = {}
        for name, sequence in sequences.items():
            if name == reference:
                frames = np.arange(len(sequence))
                straight = np.column_stack([frames, frames])
                alignments[name] = Alignment(straight, cost=0.0)
                continue
            try:
                if self.gamma:
                    found = self._align_softly(axis, sequence)
                else:
                    best = find_path(
                        axis, sequence, self.metric, self.constraints, wants_path=True
                    )
                    found = Alignment(best.path, cost=best.normalized_cost)
            except ValueError as error:
                raise ValueError(
                    f"modality {name!r}: the sequence of sample {sample} cannot be "
                    f"aligned with {reference or 'the barycentre'!r}: {error}"
                ) from error
            alignments[name] = found
        return alignments

    def _axis(
        self, sequences: Mapping[str, np.ndarray]
    ) -> tuple[str | None, np.ndarray]:
        """Return the modality that is the axis, if one is, and the axis' frames."""
        if self.reference == "barycenter" and len(sequences) > 1:
            # the seed matters only for more than 50 modalities, whose medoid is
            # searched among drawn ones
            found = dtw_barycenter(
                [*sequences.values()], gamma=self.gamma, random_state=0
            )
            return None, found.sequence
        name = self.reference
        if name not in sequences:
            name = max(sequences, key=lambda name: len(sequences[name]))
        return name, sequences[name]

    def _align_softly(self, axis: np.ndarray, sequence: np.ndarray) -> Alignment:
        """Weigh pairs of frames over all paths, as by soft-DTW."""
        with one_blas_thread():
            costs = cost_matrix(make_costs(axis, sequence, self.metric))
        best = find_path(costs, None, "precomputed", self.constraints, wants_path=True)
        _, expected = soft_dtw_alignment(costs, gamma=self.gamma, metric="precomputed")
        # costs are infinite where a callable metric forbids a pair, and 0 * inf is NaN
        visited = expected > 0
        cost = float(expected[visited] @ costs[visited] / expected.sum())
        weights = expected / expected.sum(axis=1, keepdims=True)
        return Alignment(best.path, weights, cost)
