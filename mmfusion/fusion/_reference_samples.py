"""Samples of `fit` to which late fusion measures the distances of new ones."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from mmfusion._blocks import is_sequences, of_samples
from mmfusion._numbers import holds_nan
from mmfusion.fusion._branch import Branch
from mmfusion.fusion.combination._sample_weights import (
    ReferenceSamples,
    fit_reference,
)
from mmfusion.modalities import Modalities

N_REFERENCE_SAMPLES = 2000  # at most, of each branch


def fit_references(
    branches: Sequence[Branch],
    frame: Modalities,
    sample_weight: np.ndarray | None,
    rng: np.random.Generator,
) -> list[ReferenceSamples]:
    """Measure the distances of samples within each branch."""
    references = []
    for branch in branches:
        rows = np.flatnonzero(branch.observed(frame))
        if len(rows) > N_REFERENCE_SAMPLES:
            rows = np.sort(rng.choice(rows, N_REFERENCE_SAMPLES, replace=False))
        matrix = branch.transform(frame[rows], np.ones(len(rows), dtype=bool))
        weight = None if sample_weight is None else sample_weight[rows]
        references.append(fit_reference(matrix, weight))
    return references


def refuse_without_distances(
    frame: Modalities, sample_weighting: str, as_given: Collection[str]
) -> None:
    """Raise an error for modalities without distances: text, and cells of NaN.

    `as_given` are the modalities that reach the predictors as they are.
    """
    for name, block, observed in zip(
        frame.names, frame.blocks, frame.observed.T, strict=True
    ):
        if is_sequences(block):
            raise ValueError(
                f"sample_weighting={sample_weighting!r} measures distances of "
                f"rows, but modality {name!r} holds sequences; make a table of "
                "them before, by SequencePooling or SequenceResampler, or give "
                "sample_weighting=None"
            )
        if name in as_given or holds_nan(of_samples(block, observed)):
            raise ValueError(
                f"sample_weighting={sample_weighting!r} measures distances, "
                f"but modality {name!r} holds text, categories or NaN; encode and "
                "impute it before, by PerModality, or give sample_weighting=None"
            )
