"""Changes of some modalities of a frame: names, clocks, units, and new blocks."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from scipy import sparse

from mmfusion import _blocks
from mmfusion._blocks import Block
from mmfusion._options import by_modality, errors_about
from mmfusion._sequences import cut_padding, holds_sequences
from mmfusion._typing import ByModality
from mmfusion.fusion._clocks import clock_position
from mmfusion.modalities import Modalities


def chosen_positions(
    frame: Modalities, modalities: str | Sequence[str] | None
) -> list[int]:
    """Return positions of modalities in order of names, on which draws then depend."""
    if modalities is None:
        modalities = frame.names
    names = [modalities] if isinstance(modalities, str) else modalities
    for name in names:
        if not isinstance(name, str) or name not in frame.names:
            raise ValueError(
                f"modalities: there is no modality {name!r}; there are "
                f"{list(frame.names)}"
            )
    return [frame.names.index(name) for name in sorted(set(names))]


def clocks_of(frame: Modalities, times: ByModality[int | str | None]) -> dict[str, int]:
    """Return the position of the feature that is the clock, by name of sequences.

    Parameters
    ----------
    frame : Modalities
        The data.
    times : int, str, dict or None
        Position or name of the feature, of all sequences or by name of the modality.

    Returns
    -------
    dict of str to int
        Positions from 0 on; modalities that are no sequences have no clock.

    Raises
    ------
    ValueError
        If `times` is no feature beside others.
    """
    options = by_modality(times, frame.names, "times")
    clocks = {}
    for name, block, option in zip(frame.names, frame.blocks, options, strict=True):
        if option is None or not holds_sequences(block):
            continue
        sequences = [x for x in block if x is not None]
        if sequences:
            width, features = sequences[0].shape[-1], frame._feature_names(name)
            clocks[name] = clock_position(option, name, width, features)
    return clocks


def refuse_tables(frame: Modalities, chosen: list[int]) -> None:
    """Refuse modalities that are not sequences.

    Parameters
    ----------
    frame : Modalities
        The data.
    chosen : list of int
        Positions of the modalities to change.

    Raises
    ------
    ValueError
        If one of them is a table, or an array of images.
    """
    for v in chosen:
        name, block = frame.names[v], frame.blocks[v]
        if not _blocks.is_sequences(block) and block.ndim != 3:
            raise ValueError(
                f"modality {name!r} has shape {_blocks.shape_name(block)}, and only "
                "sequences have a time: leave it out of modalities, or degrade it by "
                "add_noise, swap_rows or drop_modalities"
            )


def replace_blocks(
    frame: Modalities,
    chosen: list[int],
    change: Callable[[str, Block, np.ndarray], Block],
) -> Modalities:
    """Replace the blocks of some modalities by a function of each of them."""
    blocks = list(frame.blocks)
    for v in chosen:
        blocks[v] = change(frame.names[v], blocks[v], frame.observed[:, v])
    return _with_blocks(frame, blocks, frame.observed)


def replace_sequences(
    frame: Modalities,
    chosen: list[int],
    change: Callable[[str, np.ndarray], np.ndarray | None],
) -> Modalities:
    """Replace the sequences of some modalities by a function of each of them.

    Parameters
    ----------
    frame : Modalities
        The data.
    chosen : list of int
        Positions of modalities of sequences.
    change : callable
        Function of the name of a modality and the frames of a sample, of shape
        (n_frames, ...), which returns new frames, or None if none are left.

    Returns
    -------
    Modalities
        The data with new sequences, in the form of the old ones.
    """
    blocks, observed = list(frame.blocks), frame.observed.copy()
    for v in chosen:
        name, block, padded = frame.names[v], blocks[v], None
        if not _blocks.is_sequences(block):
            padded = np.full_like(real_values(block, name), np.nan)
            block = cut_padding(real_values(block, name))
        sequences = np.full(len(block), None, dtype=object)
        for i in np.flatnonzero(observed[:, v]):
            sequences[i] = change(name, block[i])
            observed[i, v] = sequences[i] is not None
            if padded is not None and sequences[i] is not None:
                padded[i, : len(sequences[i])] = sequences[i]
        blocks[v] = sequences if padded is None else padded
    return _with_blocks(frame, blocks, observed)


def _with_blocks(
    frame: Modalities, blocks: list[Block], observed: np.ndarray
) -> Modalities:
    # features of sequences keep their names, by which clocks are found
    return Modalities._of(
        frame.names, tuple(blocks), observed, frame._index, frame._features
    )


def feature_deviations(
    units: Modalities, name: str, *, by_frame: bool = False
) -> np.ndarray:
    """Return the standard deviations of the features of a modality.

    Parameters
    ----------
    units : Modalities
        Data with the modality.
    name : str
        Its name.
    by_frame : bool, default=False
        Whether an array of three dimensions holds sequences, and not images.

    Returns
    -------
    ndarray of float64
        Deviations in the shape of a sample, or of a frame of a sequence; the number 0
        if no sample has the modality.
    """
    if name not in units.names:
        raise ValueError(
            f"the reference has no modality {name!r}; it has {list(units.names)}"
        )
    observed = units.observed[:, units.names.index(name)]
    if not observed.any():
        return np.zeros(())
    block = _blocks.of_samples(units[name], observed)
    if by_frame and block.ndim == 3:
        block = cut_padding(real_values(block, name))
    if _blocks.is_sequences(block):
        with errors_about(f"modality {name!r}"):
            values = np.concatenate([real_values(frames, name) for frames in block])
    else:
        values = real_values(block, name)
    masked = np.ma.masked_invalid(values.astype(np.float64, copy=False))
    reach = np.ma.filled(np.ma.abs(masked).max(axis=0), 0.0)
    reach = np.where(reach > 0, reach, 1.0)  # divisor: squares of huge values overflow
    return np.ma.filled((masked / reach).std(axis=0), 0.0) * reach


def check_deviations(deviations: np.ndarray, shape: tuple[int, ...], name: str) -> None:
    """Refuse deviations of a reference whose features have another shape."""
    # it is a number if no sample of the reference has the modality
    if deviations.ndim and deviations.shape != shape:
        raise ValueError(
            f"modality {name!r} of the reference has features of shape "
            f"{deviations.shape}, that of X {shape}"
        )


def real_values(block: Block, name: str) -> np.ndarray:
    """Return a block or sequence as a dense array of floats."""
    values = block.toarray() if sparse.issparse(block) else np.asarray(block)
    if values.dtype.kind not in "fiub":
        raise ValueError(
            f"modality {name!r} holds {values.dtype}, and noise and clocks need real "
            "numbers: leave it out of modalities"
        )
    return values if values.dtype.kind == "f" else values.astype(np.float64)
