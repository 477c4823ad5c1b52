"""Gaussian clusters that are common to all modalities, with independent noise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Integral
from typing import Any, Literal, overload

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from mmfusion._columns import default_names
from mmfusion._options import check_flags
from mmfusion._typing import RandomStateLike
from mmfusion.datasets._simulation import (
    check_at_least,
    check_name_keys,
    check_no_overflow,
    check_numbers_fit,
    check_seed,
    counts_by_modality,
    draw_observed,
    is_mapping,
    is_sequence,
    numbers_by_modality,
    widths_by_name,
)
from mmfusion.modalities import Modalities

CENTER_DISTANCE = 10.0  # root mean square of the distance between two drawn centers


@overload
def make_multimodal_blobs(
    n_samples: int = ...,
    n_features: Sequence[int] | Mapping[str, int] = ...,
    *,
    centers: int | Sequence[Any] | Mapping[str, Any] = ...,
    cluster_std: float | Sequence[float] | Mapping[str, float] = ...,
    n_noise_features: int | Sequence[int] | Mapping[str, int] = ...,
    missing_rate: float | Sequence[float] | Mapping[str, float] = ...,
    shuffle: bool = ...,
    dtype: DTypeLike = ...,
    random_state: RandomStateLike = ...,
    return_centers: Literal[False] = ...,
) -> tuple[Modalities, np.ndarray]: ...


@overload
def make_multimodal_blobs(
    n_samples: int = ...,
    n_features: Sequence[int] | Mapping[str, int] = ...,
    *,
    centers: int | Sequence[Any] | Mapping[str, Any] = ...,
    cluster_std: float | Sequence[float] | Mapping[str, float] = ...,
    n_noise_features: int | Sequence[int] | Mapping[str, int] = ...,
    missing_rate: float | Sequence[float] | Mapping[str, float] = ...,
    shuffle: bool = ...,
    dtype: DTypeLike = ...,
    random_state: RandomStateLike = ...,
    return_centers: Literal[True],
) -> tuple[Modalities, np.ndarray, dict[str, np.ndarray]]: ...


def make_multimodal_blobs(
    n_samples: int = 100,
    n_features: Sequence[int] | Mapping[str, int] = (10, 20),
    *,
    centers: int | Sequence[Any] | Mapping[str, Any] = 3,
    cluster_std: float | Sequence[float] | Mapping[str, float] = 1.0,
    n_noise_features: int | Sequence[int] | Mapping[str, int] = 0,
    missing_rate: float | Sequence[float] | Mapping[str, float] = 0.0,
    shuffle: bool = True,
    dtype: DTypeLike = np.float64,
    random_state: RandomStateLike = None,
    return_centers: bool = False,
) -> (
    tuple[Modalities, np.ndarray] | tuple[Modalities, np.ndarray, dict[str, np.ndarray]]
):
    """Make Gaussian clusters that are common to all modalities.

    Sample i of cluster ``y_i`` has the features ``x_iv ~ N(c_v[y_i], s_v^2 I)`` in
    modality v, with the center ``c_v[k]`` of cluster k and the standard deviation
    ``s_v``. Given the cluster, the modalities are independent.

    Parameters
    ----------
    n_samples : int, default=100
        Number of samples, distributed over the clusters as evenly as possible.
    n_features : sequence or dict by name of int, default=(10, 20)
        Number of features of each modality that depend on the cluster. The keys of a
        dict are the names of the modalities; otherwise they are ``modality_0``,
        ``modality_1``, ... Not used if `centers` contains arrays.
    centers : int, or sequence or dict by name of arrays, default=3
        Number of clusters, or the centers of the clusters in each modality, of shape
        (n_clusters, n_features). Clusters with equal centers in a modality cannot be
        distinguished by it.
    cluster_std : float, or sequence or dict by name of float, default=1.0
        Standard deviation of the features within a cluster, of each modality. Drawn
        centers have a root mean square distance of 10, whatever the number of
        features.
    n_noise_features : int, or sequence or dict by name of int, default=0
        Number of features, appended to each modality, that are independent of the
        clusters. They are Gaussian with the mean variance of the other features, so
        that their scale does not reveal them.
    missing_rate : float, or sequence or dict by name of float, default=0.0
        Share of the samples, drawn at random, that lack each modality, rounded to
        whole samples. Their rows are NaN. No sample lacks all modalities.
    shuffle : bool, default=True
        Whether to shuffle the samples, which are otherwise sorted by cluster.
    dtype : dtype, default=numpy.float64
        Floating type of the data.
    random_state : int, RandomState instance or None, default=None
        Seed of the random numbers. An integer gives the same data at every call.
    return_centers : bool, default=False
        Whether to return the centers as well.

    Returns
    -------
    X : Modalities of shape (n_samples, n_modalities)
        The data.
    y : ndarray of int64 of shape (n_samples,)
        Cluster of each sample, from 0.
    centers : dict of str to ndarray of shape (n_clusters, n_features)
        Centers by modality, without the noise features. Only returned if
        `return_centers` is True.

    Raises
    ------
    TypeError
        If an option has the wrong type.
    ValueError
        If an option does not fit the modalities or is out of range, the numbers of
        centers differ between modalities, the missing rates leave a sample without any
        modality, or the data do not fit in memory.

    See Also
    --------
    make_multimodal_sequences : Makes sequences with a known alignment.
    sklearn.datasets.make_blobs : Makes clusters in one modality.

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
    dtype = floating_dtype(dtype)
    by_name = _resolve_centers(centers, n_features, rng)
    names = list(by_name)
    stds = numbers_by_modality(cluster_std, names, "cluster_std")
    noise_widths = counts_by_modality(n_noise_features, names, "n_noise_features")
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
    for name, std, n_noise in zip(names, stds, noise_widths, strict=True):
        block = _draw_block(by_name[name], y, std, n_noise, rng).astype(dtype)
        blocks[name] = check_no_overflow(block, name, "centers or cluster_std")
    observed = draw_observed(n_samples, missing_rate, names, rng)
    for v, name in enumerate(names):
        blocks[name][~observed[:, v]] = np.nan
    if return_centers:
        return Modalities(blocks), y, by_name
    return Modalities(blocks), y


def _draw_block(
    centers: np.ndarray,
    y: np.ndarray,
    std: float,
    n_noise: int,
    rng: np.random.RandomState,
) -> np.ndarray:
    """Draw the samples of one modality, with its noise features last."""
    # overflow is reported afterwards, with the name of the modality
    with np.errstate(over="ignore", invalid="ignore"):
        features = centers[y] + std * rng.standard_normal((len(y), centers.shape[1]))
        # the variance of a feature is that within clusters plus that of its centers
        scale = np.sqrt(np.float64(std) ** 2 + centers.var(axis=0).mean())
        noise = scale * rng.standard_normal((len(y), n_noise))
        return np.hstack([features, noise])


def floating_dtype(dtype: DTypeLike) -> np.dtype[Any]:
    try:
        found = np.dtype(dtype)
    except Exception as error:  # raised by the conversion of a foreign object
        raise TypeError(f"dtype={dtype!r} is not a dtype: {error}") from error
    if found.kind != "f":
        raise ValueError(f"dtype={dtype!r} is not a floating type")
    return found


def _resolve_centers(
    centers: int | Sequence[Any] | Mapping[str, Any],
    n_features: Sequence[int] | Mapping[str, int],
    rng: np.random.RandomState,
) -> dict[str, np.ndarray]:
    """Return the centers by modality; those of a number of clusters are drawn."""
    if not isinstance(centers, Integral) or isinstance(centers, np.timedelta64):
        return _check_centers(centers)
    check_at_least(1, centers=centers)
    widths = widths_by_name(n_features)
    check_numbers_fit(
        int(centers) * sum(widths.values()), centers=centers, n_features=n_features
    )
    return _draw_centers(int(centers), widths, rng)


def _draw_centers(
    n_clusters: int, widths: Mapping[str, int], rng: np.random.RandomState
) -> dict[str, np.ndarray]:
    # E|c - c'|^2 = 2 n_features s^2 for two centers of N(0, s^2) features
    return {
        name: rng.normal(0, CENTER_DISTANCE / np.sqrt(2 * width), (n_clusters, width))
        for name, width in widths.items()
    }


def _check_centers(centers: Any) -> dict[str, np.ndarray]:
    """Convert centers given by the user to arrays by modality."""
    if not (is_mapping(centers) or is_sequence(centers)) or len(centers) == 0:
        raise TypeError(
            f"centers={centers!r}; give the number of clusters, or an array of shape "
            "(n_clusters, n_features) for each modality"
        )
    if not isinstance(centers, Mapping):
        centers = dict(zip(default_names(len(centers)), centers, strict=True))
    check_name_keys(list(centers), "centers")
    by_name = {name: _as_centers(c, name) for name, c in centers.items()}
    if len({len(c) for c in by_name.values()}) != 1:
        found = {name: len(c) for name, c in by_name.items()}
        raise ValueError(
            "all modalities need the same number of centers, one per cluster; got "
            f"{found}"
        )
    return by_name


def _as_centers(data: ArrayLike, name: str) -> np.ndarray:
    try:
        centers = np.asarray(data, dtype=float)
    except (OverflowError, TypeError, ValueError) as error:
        raise ValueError(
            f"centers of modality {name!r} are not an array of numbers: {error}"
        ) from error
    if centers.ndim != 2 or 0 in centers.shape:
        raise ValueError(
            f"centers of modality {name!r} have shape {centers.shape}; they need "
            "(n_clusters, n_features)"
        )
    if not np.isfinite(centers).all():
        raise ValueError(f"centers of modality {name!r} are NaN or infinite")
    return centers
