"""Landmarks of explicit features that the user gives."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import sparse

from mmfusion._blocks import Block, is_sequences, of_samples
from mmfusion._memory import check_fits
from mmfusion.mkl._kernels import Kernel
from mmfusion.modalities import Modalities

ROOT_BYTES_PER_PAIR = 32  # of a kernel of landmarks, its eigenvectors and workspace


def check_landmark_options(
    approximation: str | int | None,
    kernels: Sequence[Kernel],
    modalities: Sequence[str],
) -> None:
    """Check that the kernels of an estimator can have landmarks.

    Parameters
    ----------
    approximation : {'auto', 'nystroem', 'fourier'}, int or None
        The approximation.
    kernels : sequence of str or callable
        The kernels.
    modalities : sequence of str
        Names of their modalities.

    Raises
    ------
    ValueError
        If kernels are exact, precomputed, or approximated by random cosines.
    """
    if approximation is None or approximation == "fourier":
        has = "is exact" if approximation is None else "is by random cosines"
        raise ValueError(
            f"landmarks are given, but approximation={approximation!r} {has} and has "
            "none; set approximation='nystroem', or landmarks=None"
        )
    for kernel, name in zip(kernels, modalities, strict=True):
        if isinstance(kernel, str) and kernel == "precomputed":
            raise ValueError(
                f"modality {name!r}: its precomputed kernel cannot be computed for "
                "landmarks, which are samples; set landmarks=None, so that they are "
                "drawn from its columns, or give features and a kernel by its name or "
                "as a callable"
            )


def landmarks_of_modality(landmarks: Modalities, modality: int, block: Block) -> Block:
    """Return the landmarks that have a modality, in the dtype of its samples.

    Parameters
    ----------
    landmarks : Modalities
        Checked samples.
    modality : int
        Position of the modality.
    block : ndarray or CSR matrix of shape (n_samples, n_features), or sequences
        Samples of `fit`.

    Returns
    -------
    ndarray or CSR matrix of shape (n_landmarks, n_features), or sequences
        The landmarks.

    Raises
    ------
    ValueError
        If there is none, or there are so many that their kernel does not fit into
        memory.
    """
    observed = landmarks.observed[:, modality]
    n_landmarks = int(observed.sum())
    if n_landmarks == 0:
        raise ValueError("no sample of landmarks has it; give one that does")
    check_fits(
        ROOT_BYTES_PER_PAIR * n_landmarks**2,
        f"the kernel of {n_landmarks} landmarks",
        "give fewer",
    )
    own = of_samples(landmarks.blocks[modality], observed)
    if is_sequences(own):
        dtype = block[0].dtype
        cast = np.empty(len(own), dtype=object)
        cast[:] = [sequence.astype(dtype, copy=False) for sequence in own]
        return cast
    if sparse.issparse(own) and not sparse.issparse(block):
        own = own.toarray()
    return own.astype(block.dtype, copy=False)
