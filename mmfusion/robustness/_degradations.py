"""Ways to make modalities worse: take them away, add noise, swap them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from numbers import Real
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.utils import check_random_state

from mmfusion import _blocks
from mmfusion._blocks import Block
from mmfusion._options import errors_about
from mmfusion._sklearn_compat import Interval, validate_params
from mmfusion._validation import as_modalities
from mmfusion.modalities import Modalities

DRAWN: dict = {"modalities": [str, list, tuple, None], "random_state": ["random_state"]}
SHARE: dict = {"share": [Interval(Real, 0, 1, closed="both")], **DRAWN}
LEVEL: dict = {"level": [Interval(Real, 0, None, closed="left")], **DRAWN}


@validate_params(SHARE, prefer_skip_nested_validation=True)
def drop_modalities(
    X: Any,
    share: float,
    modalities: str | Sequence[str] | None = None,
    *,
    random_state: Any = None,
) -> Modalities:
    """Take modalities away from samples at random.

    Parameters
    ----------
    X : list, dict or Modalities
        The data; they are not changed.
    share : float
        Share of the cells that go, from 0 to 1. A cell is one modality of one sample
        that has it.
    modalities : str or list of str, default=None
        Names of the modalities that cells are taken of; None is all.
    random_state : int, RandomState instance or None, default=None
        Draws the cells. For one seed, those of a smaller share are among those of a
        larger one.

    Returns
    -------
    Modalities
        The same blocks, with a mask.

    Raises
    ------
    ValueError
        If the share is not between 0 and 1, or a modality is unknown.

    See Also
    --------
    add_noise : Makes modalities noisy.
    swap_rows : Gives samples the modalities of others.
    degradation_curve : Tells what that costs an estimator.

    Notes
    -----
    The number of cells is the share asked for, rounded. No sample loses the last
    modality it has as long as the share can be had otherwise: of `V` modalities that
    all samples have, and that are all named, up to ``(V - 1) / V``. Beyond that, no
    more samples are left with nothing than need be.

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
    chosen = _positions(frame, modalities)
    rng = check_random_state(random_state)
    observed = frame.observed.copy()
    order = np.full(frame.shape, np.inf)  # in which cells go
    for v in chosen:
        order[:, v] = rng.random_sample(len(frame))
    order[~observed] = np.inf
    n_cells = round(share * int(np.isfinite(order).sum()))
    others = [v for v in range(len(frame.names)) if v not in chosen]
    last = ~observed[:, others].any(axis=1)  # those with nothing else to lose
    kept = np.argmax(np.where(np.isfinite(order), order, -1), axis=1)[last]
    order[np.flatnonzero(last), kept] += 1
    goes = np.argsort(order, axis=None, kind="stable")[:n_cells]
    observed.ravel()[goes] = False
    return Modalities(frame, observed=observed)


@validate_params(LEVEL, prefer_skip_nested_validation=True)
def add_noise(
    X: Any,
    level: float,
    modalities: str | Sequence[str] | None = None,
    *,
    reference: Any = None,
    random_state: Any = None,
) -> Modalities:
    """Add Gaussian noise to every feature of modalities.

    Parameters
    ----------
    X : list, dict or Modalities
        The data; they are not changed.
    level : float
        Standard deviation of the noise, in units of that of each feature.
    modalities : str or list of str, default=None
        Names of the modalities that become noisy; None is all.
    reference : list, dict or Modalities, default=None
        Data with the same modalities, such as those of `fit`, whose standard
        deviations are the units. None is X itself.
    random_state : int, RandomState instance or None, default=None
        Draws the noise. For one seed, that of another level is a multiple of it.

    Returns
    -------
    Modalities
        Other blocks where there is noise: floats, dense ones for sparse matrices.

    Raises
    ------
    ValueError
        If the level is negative, a modality is unknown or holds no numbers.

    See Also
    --------
    drop_modalities : Takes modalities away.
    degradation_curve : Tells what that costs an estimator.

    Notes
    -----
    A feature that does not vary gets no noise. Those of sequences are the columns of
    their frames; those of images their pixels. What is missing stays so.

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
    chosen = _positions(frame, modalities)
    if level == 0:
        return frame
    units = frame if reference is None else as_modalities(reference)
    rng = check_random_state(random_state)

    def noisy(name: str, block: Block, present: np.ndarray) -> Block:
        spread = level * _spread(units, name)

        def louder(part: Block) -> np.ndarray:
            values = _numbers(part, name)
            return values + (spread * rng.standard_normal(values.shape)).astype(
                values.dtype
            )

        if not _blocks.is_sequences(block):
            shapes = np.shape(spread), tuple(block.shape[1:])
            if np.ndim(spread) and shapes[0] != shapes[1]:
                raise ValueError(
                    f"modality {name!r} of the reference has features of shape "
                    f"{shapes[0]}, that of X {shapes[1]}"
                )
            return _like(block, louder(block))
        sequences = np.full(len(block), None, dtype=object)
        for i in np.flatnonzero(present):
            sequences[i] = louder(block[i])
        return sequences

    return _with_blocks(frame, chosen, noisy)


@validate_params(SHARE, prefer_skip_nested_validation=True)
def swap_rows(
    X: Any,
    share: float,
    modalities: str | Sequence[str] | None = None,
    *,
    random_state: Any = None,
) -> Modalities:
    """Give a share of the samples the modality of another one.

    Parameters
    ----------
    X : list, dict or Modalities
        The data; they are not changed.
    share : float
        Share of the samples that have a modality and get another's, from 0 to 1: two
        at least, unless none.
    modalities : str or list of str, default=None
        Names of the modalities that are swapped, each by itself; None is all.
    random_state : int, RandomState instance or None, default=None
        Draws who swaps with whom.

    Returns
    -------
    Modalities
        Blocks with the same rows in another order. What is missing stays where it is.

    Raises
    ------
    ValueError
        If the share is not between 0 and 1, or a modality is unknown.

    See Also
    --------
    drop_modalities : Takes modalities away.
    degradation_curve : Tells what that costs an estimator.

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
    chosen = _positions(frame, modalities)
    rng = check_random_state(random_state)

    def swapped(name: str, block: Block, present: np.ndarray) -> Block:
        n_rows = round(share * int(present.sum()))
        if n_rows == 1:  # nobody swaps alone
            n_rows = 2
        rows = rng.permutation(np.flatnonzero(present))[:n_rows]
        order = np.arange(len(present))
        order[rows] = np.roll(rows, 1)
        return _blocks.take_rows(block, order)

    return _with_blocks(frame, chosen, swapped)


def _positions(frame: Modalities, modalities: str | Sequence[str] | None) -> list[int]:
    """Find the chosen modalities, by name: so their order does not change draws."""
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


def _with_blocks(
    frame: Modalities,
    chosen: list[int],
    change: Callable[[str, Block, np.ndarray], Block],
) -> Modalities:
    blocks = list(frame.blocks)
    for v in chosen:
        blocks[v] = change(frame.names[v], blocks[v], frame.observed[:, v])
    return frame._with_blocks(blocks, frame.observed)


def _spread(units: Modalities, name: str) -> Any:
    """Standard deviation of each feature; 0 for those that nobody has."""
    if name not in units.names:
        raise ValueError(
            f"the reference has no modality {name!r}; it has {list(units.names)}"
        )
    present = units.observed[:, units.names.index(name)]
    if not present.any():
        return 0.0
    block = _blocks.of_samples(units[name], present)
    if _blocks.is_sequences(block):
        with errors_about(f"modality {name!r}"):
            values = np.concatenate([_numbers(frames, name) for frames in block])
    else:
        values = _numbers(block, name)
    masked = np.ma.masked_invalid(values.astype(np.float64, copy=False))
    reach = np.ma.filled(np.ma.abs(masked).max(axis=0), 0.0)
    reach = np.where(reach > 0, reach, 1.0)  # of shares of it the squares are finite
    return np.ma.filled((masked / reach).std(axis=0), 0.0) * reach


def _numbers(block: Block, name: str) -> np.ndarray:
    values = block.toarray() if sparse.issparse(block) else np.asarray(block)
    if values.dtype.kind not in "fiub":
        raise ValueError(
            f"modality {name!r} holds {values.dtype}; noise is for real numbers"
        )
    return values if values.dtype.kind == "f" else values.astype(np.float64)


def _like(block: Block, values: np.ndarray) -> Block:
    """Make a table of the same columns, if it was one."""
    if not _blocks.is_frame(block):
        return values
    return type(block)(dict(zip(block.columns, values.T, strict=True)))
