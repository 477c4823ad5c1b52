"""Soft-DTW of many pairs of sequences, and a rule for its softness."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from mmfusion._memory import check_fits
from mmfusion._sequences import as_collection, transposed_remedy
from mmfusion._threads import one_thread
from mmfusion._typing import MetricLike
from mmfusion.alignment.dtw._costs import LOCAL_METRICS, check_metric
from mmfusion.alignment.dtw._global_alignment import median_frame_cost
from mmfusion.alignment.dtw._parameters import check_bool, check_choice, check_n_jobs
from mmfusion.alignment.dtw._soft import SoftOptions, soft_value
from mmfusion.alignment.dtw._soft_pairs import soft_values

SOFT_BYTES_PER_PAIR = 56  # of positions and values, and of the matrices made of them


def cdist_soft_dtw(
    X: Sequence[ArrayLike],
    Y: Sequence[ArrayLike] | None = None,
    *,
    gamma: float = 1.0,
    metric: MetricLike = "sqeuclidean",
    divergence: bool = False,
    form: str = "soft",
    window: str | None = None,
    radius: float = 0.1,
    max_slope: float = 2.0,
    n_jobs: int | None = None,
) -> np.ndarray:
    """Compute soft-DTW of all pairs of sequences.

    Parameters
    ----------
    X : sequence of array-like of shape (n_i, d)
        Sequences.
    Y : sequence of array-like of shape (m_j, d), default=None
        Other sequences; None compares those of `X` with each other.
    gamma : float, default=1.0
        Softness, in units of the local costs. `soft_dtw_gamma` suggests one.
    metric : str or callable, default='sqeuclidean'
        Local cost of two frames, as in `soft_dtw`, but not 'precomputed'.
    divergence : bool, default=False
        Whether the mean of the values of both sequences with themselves is subtracted.
        Each of these is computed once.
    form : {'soft', 'sharp', 'mean'}, default='soft'
        The soft minimum, or a mean of the costs of paths, as in `soft_dtw`.
    window : {'sakoe_chiba', 'itakura'} or None, default=None
        Frames that may be aligned, as in `dtw_path`.
    radius : int or float, default=0.1
        Half width of 'sakoe_chiba' in frames; a float is a share of the longer
        sequence, at most 1.
    max_slope : float, default=2.0
        Largest slope of 'itakura', relative to the straight line; at least 1.
    n_jobs : int, default=None
        Number of threads; -1 is one per core.

    Returns
    -------
    ndarray of float64 of shape (len(X), len(Y))
        The values; with `divergence` and without `Y`, 0 on the diagonal.

    Raises
    ------
    TypeError, ValueError
        Under the conditions of `soft_dtw`; the message names the sequences.

    See Also
    --------
    soft_dtw : One pair.
    cdist_dtw : The costs of the best paths.

    References
    ----------
    Blondel, M., Mensch, A. and Vert, J.-P. (2021). Differentiable divergences between
    time series. AISTATS 24, 3853-3861.

    Examples
    --------
    >>> from mmfusion.alignment import cdist_soft_dtw
    >>> cdist_soft_dtw([[0.0, 1.0], [0.0, 3.0]], divergence=True).round(3)
    array([[0.   , 3.962],
           [3.962, 0.   ]])
    """
    check_metric(metric, precomputed=False)
    divergence = check_bool(divergence, "divergence")
    options = SoftOptions(gamma, metric, form, window, radius, max_slope)
    n_jobs = check_n_jobs(n_jobs)
    left = as_collection(X, "X")
    right = left if Y is None else as_collection(Y, "Y")
    check_fits(
        len(left) * len(right) * SOFT_BYTES_PER_PAIR,
        f"the matrix of {len(left)} x {len(right)} values",
        "compare fewer sequences at a time",
    )
    mirrored = Y is None and not callable(metric)
    names = "X", "X" if Y is None else "Y"

    def values_of(
        sides: tuple[list[np.ndarray], list[np.ndarray]],
        names: tuple[str, str],
        pairs: np.ndarray,
    ) -> np.ndarray:
        def value(i: int, j: int) -> float:
            named = f"{names[0]}[{i}] and {names[1]}[{j}]"
            return _named_value(sides[0][i], sides[1][j], options, named)

        return soft_values(*sides, pairs, options, value, n_jobs)

    def own(side: list[np.ndarray], name: str) -> np.ndarray:
        with_itself = np.repeat(np.arange(len(side)), 2).reshape(-1, 2)
        return values_of((side, side), (name, name), with_itself)

    values = np.zeros((len(left), len(right)))
    pairs = np.argwhere(np.tri(len(left), dtype=bool) if mirrored else values == 0)
    if not len(pairs):
        return values
    values[tuple(pairs.T)] = values_of((left, right), names, pairs)
    if mirrored:
        values += np.tril(values, -1).T
    if divergence:
        selves = own(left, "X") if not mirrored else values.diagonal().copy()
        others = own(right, "Y") if Y is not None else selves
        values -= (selves[:, None] + others) / 2
    return values


def _named_value(
    x: np.ndarray, y: np.ndarray, options: SoftOptions, names: str
) -> float:
    try:
        return soft_value(x, y, options)
    except ValueError as error:
        raise ValueError(f"{names}: {error}") from error


def soft_dtw_gamma(X: Sequence[ArrayLike], *, metric: str = "sqeuclidean") -> float:
    """Suggest the softness of soft-DTW for a set of sequences.

    It is ``2 c l`` for the median c of the local costs of two frames and the median l
    of the numbers of frames: for squared distances ``2 s^2``, with the width s of the
    global alignment kernel that Cuturi (2011) recommends, which is this soft-DTW up to
    its local cost.

    Parameters
    ----------
    X : sequence of array-like of shape (n_i, d)
        Sequences.
    metric : {'sqeuclidean', 'euclidean', 'cosine', 'manhattan', 'correlation'}, \
            default='sqeuclidean'
        Local cost of two frames.

    Returns
    -------
    float
        The softness, above 0; 1 if all frames are equal.

    Raises
    ------
    TypeError, ValueError
        If there is no such metric, or no sequence, or one that is empty or has NaN.

    See Also
    --------
    soft_dtw : Soft-DTW, for which it is.

    Notes
    -----
    The median is that of all pairs of at most 1,000 frames, evenly spaced over all
    sequences; nothing is drawn at random. It makes paths of very different costs count,
    which suits kernels and averages. For alignments that are nearly those of DTW, take
    a hundredth of it or less.

    References
    ----------
    Cuturi, M. (2011). Fast global alignment kernels. ICML 28, 929-936. Section 5.

    Examples
    --------
    >>> from mmfusion.alignment import soft_dtw_gamma
    >>> soft_dtw_gamma([[1.0, 2.0, 2.0, 3.0], [1.0, 2.0, 3.0, 4.0]])
    8.0
    """
    check_choice(metric, "metric", LOCAL_METRICS)
    sequences = as_collection(X, "X")
    if not sequences:
        raise ValueError("X has no sequence; give at least one")
    widths = {x.shape[1] for x in sequences}
    if len(widths) > 1:
        raise ValueError(
            f"the sequences of X have {sorted(widths)} features: no metric compares "
            "them; project them to the same features, as CTWAligner learns to"
            f"{transposed_remedy(sequences)}"
        )
    with one_thread():
        median = median_frame_cost(sequences, metric)
    n_frames = float(np.median([len(x) for x in sequences]))
    return 1.0 if median is None else 2 * median * n_frames
