"""Degradations of modalities: removal, noise, and exchange between samples."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Real

import numpy as np
from sklearn.utils import check_random_state

from mmfusion import _blocks
from mmfusion._blocks import Block
from mmfusion._sklearn_compat import INTEGER, Interval, validate_params
from mmfusion._typing import ByModality, ModalitiesLike, RandomStateLike
from mmfusion._validation import as_modalities
from mmfusion.modalities import Modalities
from mmfusion.robustness._changes import (
    check_deviations,
    chosen_positions,
    clocks_of,
    feature_deviations,
    real_values,
    replace_blocks,
)

DRAW_CONSTRAINTS: dict = {
    "modalities": [str, list, tuple, None],
    "random_state": ["random_state"],
}
SHARE_CONSTRAINTS: dict = {
    "share": [Interval(Real, 0, 1, closed="both")],
    **DRAW_CONSTRAINTS,
}
TIMES_CONSTRAINTS: dict = {"times": [INTEGER, str, dict, None]}
LEVEL_CONSTRAINTS: dict = {
    "level": [Interval(Real, 0, None, closed="left")],
    **TIMES_CONSTRAINTS,
    **DRAW_CONSTRAINTS,
}


@validate_params(SHARE_CONSTRAINTS, prefer_skip_nested_validation=True)
def drop_modalities(
    X: ModalitiesLike,
    share: float,
    modalities: str | Sequence[str] | None = None,
    *,
    random_state: RandomStateLike = None,
) -> Modalities:
    """Remove modalities from samples at random.

    Parameters
    ----------
    X : list, dict or Modalities
        Data by modality; they are not modified.
    share : float
        Share of the cells to remove, from 0 to 1. A cell is an observed modality of a
        sample.
    modalities : str or list of str, default=None
        Names of the modalities to remove cells from; None is all.
    random_state : int, RandomState instance or None, default=None
        Seed of the draw. With the same seed, the cells of a smaller share are among
        those of a larger one.

    Returns
    -------
    Modalities
        The same blocks with a mask.

    Raises
    ------
    ValueError
        If the share is not in [0, 1], or a modality is unknown.

    See Also
    --------
    add_noise : Adds noise to modalities.
    swap_rows : Exchanges modalities between samples.
    degradation_curve : Scores estimators under degradations.

    Notes
    -----
    The number of removed cells is the share of all cells, rounded. The last modality of
    a sample is removed only if the share cannot be reached otherwise: with V named
    modalities that are observed in all samples, beyond a share of ``(V - 1) / V``. The
    number of samples without any modality is then as small as possible.

    Examples
    --------
    >>> import numpy as np
    >>> from mmfusion.robustness import drop_modalities
    >>> X = {"audio": np.ones((8, 2)), "video": np.ones((8, 3))}
    >>> drop_modalities(X, 0.5, "video", random_state=0)
    Modalities of 8 samples x 2 modalities
      audio  dense (8, 2) float64
      video  dense (8, 3) float64, 4 missing
    >>> half = drop_modalities(X, 0.5, random_state=0)
    >>> half.observed.sum(axis=1)
    array([1, 1, 1, 1, 1, 1, 1, 1])
    """
    frame = as_modalities(X)
    chosen = chosen_positions(frame, modalities)
    rng = check_random_state(random_state)
    observed = frame.observed.copy()
    # cells are removed in increasing order of these numbers, infinite for other cells
    order = np.full(frame.shape, np.inf)
    for v in chosen:
        order[:, v] = rng.random_sample(len(frame))
    order[~observed] = np.inf
    n_cells = round(share * int(np.isfinite(order).sum()))
    others = [v for v in range(len(frame.names)) if v not in chosen]
    # without other modalities, a sample keeps its cell of the largest number as long as
    # possible: after all of the numbers in [0, 1)
    exposed = ~observed[:, others].any(axis=1)
    last = np.argmax(np.where(np.isfinite(order), order, -1), axis=1)[exposed]
    order[np.flatnonzero(exposed), last] += 1
    removed = np.argsort(order, axis=None, kind="stable")[:n_cells]
    observed.ravel()[removed] = False
    return Modalities(frame, observed=observed)


@validate_params(LEVEL_CONSTRAINTS, prefer_skip_nested_validation=True)
def add_noise(
    X: ModalitiesLike,
    level: float,
    modalities: str | Sequence[str] | None = None,
    *,
    reference: ModalitiesLike | None = None,
    times: ByModality[int | str | None] = None,
    random_state: RandomStateLike = None,
) -> Modalities:
    """Add Gaussian noise to the features of modalities.

    Feature j becomes ``x_j + level * s_j * e`` with its standard deviation ``s_j`` and
    e drawn from N(0, 1), independently for each value.

    Parameters
    ----------
    X : list, dict or Modalities
        Data by modality; they are not modified.
    level : float
        Standard deviation of the noise, in units of that of each feature.
    modalities : str or list of str, default=None
        Names of the modalities to add noise to; None is all.
    reference : list, dict or Modalities, default=None
        Data with the same modalities, such as those of `fit`, from which the standard
        deviations of features are computed. None is X itself.
    times : int, str or dict, default=None
        Feature of the frames of sequences that is their clock, by its position, such as
        -1, or its name, for all sequences or by modality. It gets no noise.
    random_state : int, RandomState instance or None, default=None
        Seed of the noise. With the same seed, the noise is proportional to the level.

    Returns
    -------
    Modalities
        Data with noisy blocks, which are dense arrays of floats.

    Raises
    ------
    ValueError
        If the level is negative, or a modality is unknown or does not hold numbers.

    See Also
    --------
    drop_modalities : Removes modalities from samples.
    noise_bursts : Adds noise to stretches of sequences.
    degradation_curve : Scores estimators under degradations.

    Notes
    -----
    Constant features get no noise. The features of sequences are the columns of their
    frames, those of images their pixels. Missing values remain missing.

    Examples
    --------
    >>> import numpy as np
    >>> from mmfusion.robustness import add_noise
    >>> rng = np.random.default_rng(0)
    >>> X = {"audio": rng.normal(scale=5, size=(1000, 2)), "video": np.ones((1000, 3))}
    >>> noisy = add_noise(X, 3.0, random_state=0)
    >>> ((noisy["audio"] - X["audio"]).std(axis=0) / X["audio"].std(axis=0)).round()
    array([3., 3.])
    >>> bool((noisy["video"] == 1).all())
    True
    """
    frame = as_modalities(X)
    chosen = chosen_positions(frame, modalities)
    if level == 0:
        return frame
    units = frame if reference is None else as_modalities(reference)
    clocks = clocks_of(frame, times)
    rng = check_random_state(random_state)

    def noisy_block(name: str, block: Block, observed: np.ndarray) -> Block:
        deviations = level * feature_deviations(units, name)
        if name in clocks and deviations.ndim:
            deviations[..., clocks[name]] = 0.0

        def with_noise(data: Block) -> np.ndarray:
            values = real_values(data, name)
            noise = deviations * rng.standard_normal(values.shape)
            return values + noise.astype(values.dtype)

        if not _blocks.is_sequences(block):
            check_deviations(deviations, tuple(block.shape[1:]), name)
            return _as_table_like(block, with_noise(block))
        sequences = np.full(len(block), None, dtype=object)
        for i in np.flatnonzero(observed):
            check_deviations(deviations, block[i].shape[1:], name)
            sequences[i] = with_noise(block[i])
        return sequences

    return replace_blocks(frame, chosen, noisy_block)


@validate_params(SHARE_CONSTRAINTS, prefer_skip_nested_validation=True)
def swap_rows(
    X: ModalitiesLike,
    share: float,
    modalities: str | Sequence[str] | None = None,
    *,
    random_state: RandomStateLike = None,
) -> Modalities:
    """Exchange modalities between a share of the samples.

    Parameters
    ----------
    X : list, dict or Modalities
        Data by modality; they are not modified.
    share : float
        Share of the samples observed in a modality that get that of another sample,
        from 0 to 1. If it is not 0 samples, it is at least two.
    modalities : str or list of str, default=None
        Names of the modalities to exchange, each independently; None is all.
    random_state : int, RandomState instance or None, default=None
        Seed of the draw of samples.

    Returns
    -------
    Modalities
        Data whose blocks have the same rows in another order. Missing modalities remain
        missing in the same samples.

    Raises
    ------
    ValueError
        If the share is not in [0, 1], or a modality is unknown.

    See Also
    --------
    drop_modalities : Removes modalities from samples.
    degradation_curve : Scores estimators under degradations.

    Examples
    --------
    >>> import numpy as np
    >>> from mmfusion.robustness import swap_rows
    >>> X = {"audio": np.arange(6.0)[:, None], "video": np.arange(6.0)[:, None]}
    >>> mixed = swap_rows(X, 0.5, "video", random_state=0)
    >>> int((mixed["video"] != mixed["audio"]).sum())
    3
    """
    frame = as_modalities(X)
    chosen = chosen_positions(frame, modalities)
    rng = check_random_state(random_state)

    def swapped_block(name: str, block: Block, observed: np.ndarray) -> Block:
        n_rows = round(share * int(observed.sum()))
        if n_rows == 1:  # an exchange needs two samples
            n_rows = 2
        rows = rng.permutation(np.flatnonzero(observed))[:n_rows]
        order = np.arange(len(observed))
        order[rows] = np.roll(rows, 1)  # a cycle: no sample gets its own row
        return _blocks.take_rows(block, order)

    return replace_blocks(frame, chosen, swapped_block)


def _as_table_like(block: Block, values: np.ndarray) -> Block:
    """Return values as a DataFrame with the columns of `block`, if it is one."""
    if not _blocks.is_frame(block):
        return values
    return type(block)(dict(zip(block.columns, values.T, strict=True)))
