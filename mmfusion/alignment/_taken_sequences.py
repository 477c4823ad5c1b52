"""X as the sequences of each modality, for estimators that take nothing else."""

from __future__ import annotations

from typing import Any

import numpy as np

from mmfusion._blocks import is_sequences
from mmfusion._validation import refuse_empty_samples
from mmfusion.alignment._sequence_aligner import refuse_gaps
from mmfusion.modalities import Modalities
from mmfusion.preprocessing._sequence_transformer import (
    refuse_other_form,
    with_float_sequences,
)

Sequences = list[np.ndarray | None]  # of a modality; None where a sample has none


def take_sequences(
    estimator: Any, X: Any, *, reset: bool
) -> tuple[Modalities, dict[str, Sequences]]:
    """Take X in any form as sequences; rows of a table are some of one feature.

    Parameters
    ----------
    estimator : ModalityMixin
        The estimator, whose layout is set or checked.
    X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
        The data.
    reset : bool
        Whether the layout is set.

    Returns
    -------
    frame : Modalities
        The data, in the order of `fit`.
    sequences : dict of str to list of ndarray of shape (n_frames, n_features)
        The sequences, found to be without gaps.

    Raises
    ------
    ValueError
        If some modalities are sequences and others tables, or `fit` saw the other
        form, or a sample lacks all modalities, or there is NaN among frames.
    """
    X = with_float_sequences(X)
    held = False
    if isinstance(X, Modalities):
        given = zip(X.names, X.blocks, X.observed.T, strict=True)
        forms = {name: is_sequences(b) for name, b, there in given if there.any()}
        held = any(forms.values())
        if held and not all(forms.values()):
            tables = [name for name, is_held in forms.items() if not is_held]
            raise ValueError(
                f"modalities {tables} are tables beside others of sequences; "
                f"{type(estimator).__name__} compares sequences: leave them out, or "
                "give each row as an array of shape (n_frames, n_features)"
            )
    frame = estimator._validate(X, reset=reset, raw=held)
    refuse_empty_samples(frame)
    if reset:
        estimator._held_sequences = held
    sequences: dict[str, Sequences] = {}
    for name, block, there in zip(
        frame.names, frame.blocks, frame.observed.T, strict=True
    ):
        refuse_other_form(name, block, there, estimator._held_sequences)
        own: Sequences = [None] * len(there)
        for i in np.flatnonzero(there).tolist():
            sequence = block[i] if held else block[i][:, None]
            refuse_gaps(sequence, name, i)
            own[i] = sequence
        sequences[name] = own
    return frame, sequences
