"""Clusters that modalities share, under noise of their own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Integral
from typing import Any

import numpy as np

from mmfusion._columns import default_names
from mmfusion._options import check_flags
from mmfusion.datasets._simulation import (
    by_modality,
    check_at_least,
    check_finite,
    check_names,
    check_numbers_fit,
    check_seed,
    counts,
    draw_observed,
    is_mapping,
    is_sequence,
    widths_by_name,
)
from mmfusion.modalities import Modalities

TYPICAL_DISTANCE = 10.0  # between two centers: the unit in which cluster_std counts


def make_multimodal_blobs(
    n_samples: int = 100,
    n_features: Sequence[int] | Mapping[str, int] = (10, 20),
    *,
    centers: int | Sequence[Any] | Mapping[str, Any] = 3,
    cluster_std: float | Sequence[float] | Mapping[str, float] = 1.0,
    n_noise_features: int | Sequence[int] | Mapping[str, int] = 0,
    missing_rate: float | Sequence[float] | Mapping[str, float] = 0.0,
    shuffle: bool = True,
    dtype: Any = np.float64,
    random_state: Any = None,
    return_centers: bool = False,
) -> (
    tuple[Modalities, np.ndarray] | tuple[Modalities, np.ndarray, dict[str, np.ndarray]]
):
    """Make Gaussian clusters that all modalities share, under noise of their own.

    A sample belongs to one cluster. Every modality draws it around its own center of
    that cluster, independently of the other modalities: given the cluster, they have
    nothing in common.

    Parameters
    ----------
    n_samples : int, default=100
        Number of samples, spread over the clusters as evenly as possible.
    n_features : sequence or dict by name of int, default=(10, 20)
        Number of features of each modality that tell clusters apart. A dict names the
        modalities; otherwise they are ``modality_0``, ``modality_1``, ... Not read
        where `centers` gives the centers.
    centers : int, or sequence or dict by name of arrays, default=3
        Number of clusters, or for each modality the centers of its clusters, of shape
        (n_clusters, n_features). Two equal centers in one modality are clusters that
        it cannot tell apart.
    cluster_std : float, or sequence or dict by name of float, default=1.0
        Standard deviation of a feature within a cluster, of each modality. Drawn
        centers are 10 apart in quadratic mean, whatever the number of features.
    n_noise_features : int, or sequence or dict by name of int, default=0
        Number of features, appended to each modality, that know nothing of clusters.
        They are Gaussian, with the mean variance of the other features, so that
        their scale does not give them away.
    missing_rate : float, or sequence or dict by name of float, default=0.0
        Share of the samples that lack each modality, at random. Their rows are NaN.
        The share holds to the nearest sample, and no sample lacks all modalities.
    shuffle : bool, default=True
        Whether to shuffle the samples; otherwise they are sorted by cluster.
    dtype : dtype, default=numpy.float64
        Floating type of the data.
    random_state : int, RandomState instance or None, default=None
        Seed. An integer gives the same data at every call.
    return_centers : bool, default=False
        Whether to return the centers too.

    Returns
    -------
    X : Modalities of shape (n_samples, n_modalities)
        The data.
    y : ndarray of int64 of shape (n_samples,)
        The cluster of each sample, from 0.
    centers : dict of str to ndarray of shape (n_clusters, n_features)
        The centers by modality, without the noise features; only with
        ``return_centers=True``.

    Raises
    ------
    TypeError
        If an option is of another type.
    ValueError
        If an option does not fit the modalities or is out of range, modalities have
        different numbers of centers, the missing rates leave a sample without any
        modality, or the data would not fit in memory.

    See Also
    --------
    make_multimodal_sequences : The like for sequences, with a known alignment.
    sklearn.datasets.make_blobs : The like for one modality.

    Examples
    --------
    >>> from mmfusion.datasets import make_multimodal_blobs
    >>> X, y = make_multimodal_blobs(
    ...     60,
    ...     {"audio": 4, "video": 8},
    ...     cluster_std={"audio": 1.0, "video": 5.0},
    ...     missing_rate={"audio": 0.0, "video": 0.25},
    ...     random_state=0,
    ... )
    >>> X
    Modalities of 60 samples x 2 modalities
      audio  dense (60, 4) float64
      video  dense (60, 8) float64, 15 missing
    """
    rng = check_seed(random_state)
    check_at_least(1, n_samples=n_samples)
    check_flags(shuffle=shuffle, return_centers=return_centers)
    dtype = _floating(dtype)
    if isinstance(centers, Integral) and not isinstance(centers, np.timedelta64):
        check_at_least(1, centers=centers)
        widths = widths_by_name(n_features)
        check_numbers_fit(
            int(centers) * sum(widths.values()), centers=centers, n_features=n_features
        )
        by_name = _draw_centers(int(centers), widths, rng)
    else:
        by_name = _given_centers(centers)
    names = list(by_name)
    stds = by_modality(cluster_std, names, "cluster_std")
    noise_widths = counts(n_noise_features, names, "n_noise_features")
    n_columns = sum(c.shape[1] for c in by_name.values()) + sum(noise_widths)
    check_numbers_fit(
        int(n_samples) * n_columns,
        n_samples=n_samples,
        n_features=n_features,
        n_noise_features=n_noise_features,
    )

    n_clusters = len(by_name[names[0]])
    y = np.sort(np.arange(n_samples, dtype=np.int64) % n_clusters)
    if shuffle:
        y = rng.permutation(y)
    blocks = {}
    for (name, center), std, n_noise in zip(
        by_name.items(), stds, noise_widths, strict=True
    ):
        with np.errstate(over="ignore", invalid="ignore"):
            seen = center[y] + std * rng.standard_normal((n_samples, center.shape[1]))
            scale = np.sqrt(np.float64(std) ** 2 + center.var(axis=0).mean())
            noise = scale * rng.standard_normal((n_samples, n_noise))
            block = np.hstack([seen, noise]).astype(dtype)
        blocks[name] = check_finite(block, name, "centers or cluster_std")
    observed = draw_observed(n_samples, missing_rate, names, rng)
    for v, name in enumerate(names):
        blocks[name][~observed[:, v]] = np.nan
    if return_centers:
        return Modalities(blocks), y, by_name
    return Modalities(blocks), y


def _floating(dtype: Any) -> np.dtype[Any]:
    try:
        found = np.dtype(dtype)
    except Exception as error:  # of the object's own conversion
        raise TypeError(f"dtype={dtype!r} is no dtype: {error}") from error
    if found.kind != "f":
        raise ValueError(f"dtype={dtype!r} is not a floating type")
    return found


def _draw_centers(
    n_clusters: int, widths: Mapping[str, int], rng: np.random.RandomState
) -> dict[str, np.ndarray]:
    # E|c - c'|^2 = 2 n_features s^2 for two centers of N(0, s^2) features
    return {
        name: rng.normal(0, TYPICAL_DISTANCE / np.sqrt(2 * width), (n_clusters, width))
        for name, width in widths.items()
    }


def _given_centers(centers: Any) -> dict[str, np.ndarray]:
    if not (is_mapping(centers) or is_sequence(centers)) or len(centers) == 0:
        raise TypeError(
            f"centers={centers!r}; give the number of clusters, or an array of shape "
            "(n_clusters, n_features) for each modality"
        )
    if not isinstance(centers, Mapping):
        centers = dict(zip(default_names(len(centers)), centers, strict=True))
    check_names(list(centers), "centers")
    by_name = {name: _as_centers(c, name) for name, c in centers.items()}
    if len({len(c) for c in by_name.values()}) != 1:
        found = {name: len(c) for name, c in by_name.items()}
        raise ValueError(
            "all modalities need the same number of centers, one per cluster; got "
            f"{found}"
        )
    return by_name


def _as_centers(given: Any, name: str) -> np.ndarray:
    try:
        centers = np.asarray(given, dtype=float)
    except (OverflowError, TypeError, ValueError) as error:
        raise ValueError(
            f"centers of modality {name!r} are no array of numbers: {error}"
        ) from error
    if centers.ndim != 2 or 0 in centers.shape:
        raise ValueError(
            f"centers of modality {name!r} have shape {centers.shape}; they need "
            "(n_clusters, n_features)"
        )
    if not np.isfinite(centers).all():
        raise ValueError(f"centers of modality {name!r} are NaN or infinite")
    return centers
