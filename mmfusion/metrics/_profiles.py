"""Profiles of clusters: the features that distinguish each from the other samples."""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import sparse

from mmfusion._blocks import (
    Block,
    as_table,
    column_names,
    is_sequences,
    null_cells,
    take_rows,
)
from mmfusion._extras import import_extra
from mmfusion._numbers import as_numbers, is_integer
from mmfusion._options import errors_name
from mmfusion._row_labels import check_row_labels
from mmfusion._sequences import float_sequences
from mmfusion._typing import ModalitiesLike
from mmfusion._validation import as_modalities
from mmfusion.metrics._labels import validate_labels, warn_of_measured_values
from mmfusion.modalities import Modalities


def cluster_profiles(
    X: ModalitiesLike, labels: ArrayLike, *, n_features: int | None = None
) -> Any:
    """Compute which features of which modality distinguish each cluster.

    The effect size of a feature for a cluster is the standardised mean difference
    ``d = (m_c - m_o) / s`` between the mean ``m_c`` in the cluster and the mean ``m_o``
    in all other samples, with the pooled standard deviation s of both groups [1]_. It
    needs no classes, and is comparable between features of any unit.

    Parameters
    ----------
    X : Modalities, list or dict of array-like, or array-like of one modality
        The data, of numbers. Samples that lack a modality, and cells of NaN, do not
        count. Sequences are replaced by their means over time.
    labels : array-like of shape (n_samples,)
        Cluster of each sample, of any type.
    n_features : int, default=None
        Number of features of each cluster, those of the largest absolute effect size
        among all modalities; None is all.

    Returns
    -------
    pandas DataFrame
        A row for every cluster and feature, cluster by cluster in descending order of
        the absolute effect size, with the columns ``cluster``, ``modality``,
        ``feature``, ``effect_size``, ``mean``, ``mean_of_others``, ``n_samples`` and
        ``n_others``. The effect size is infinite where two groups of constant values
        differ, and NaN where a group has no observed value. Features without names are
        numbered.

    Raises
    ------
    ValueError
        If the lengths differ, there are fewer than two clusters, or a modality holds
        text.
    ImportError
        If pandas is not installed.

    See Also
    --------
    mmfusion.plotting.ClusterProfileDisplay : Draws the effect sizes.
    modality_silhouette_score : Scores the clusters in every modality.

    Notes
    -----
    The clusters were chosen to differ in these features: effect sizes describe them,
    but are no test of whether the clusters are real.

    References
    ----------
    .. [1] J. Cohen (1988), Statistical power analysis for the behavioral sciences, 2nd
       edition. Lawrence Erlbaum, chapter 2.

    Examples
    --------
    >>> from mmfusion.datasets import make_multimodal_blobs
    >>> from mmfusion.metrics import cluster_profiles
    >>> X, y = make_multimodal_blobs(100, {"audio": 3, "video": 4}, random_state=0)
    >>> profiles = cluster_profiles(X, y, n_features=1)
    >>> profiles[["cluster", "modality", "feature"]]
       cluster modality feature
    0        0    audio       2
    1        1    audio       1
    2        2    video       3
    """
    if n_features is not None and (not is_integer(n_features) or n_features < 1):
        raise ValueError(
            f"n_features is {n_features!r}; give a number of features, at least 1, or "
            "None for all"
        )
    pandas = import_extra("pandas")
    clusters, compared = compare_clusters(as_modalities(X), labels)
    parts = []
    for name, (features, own) in compared.items():
        n_columns = len(features)
        texts = {
            "cluster": np.repeat(clusters, n_columns),
            "modality": np.repeat(np.array([name], dtype=object), own.mean.size),
            "feature": np.tile(np.array(features, dtype=object), len(clusters)),
        }
        # of objects, since a name may hold characters that no encoding has
        columns = {key: pandas.Series(v, dtype=v.dtype) for key, v in texts.items()}
        columns |= {key: pandas.Series(v.ravel()) for key, v in own._asdict().items()}
        parts.append(pandas.DataFrame(columns))
    profiles = pandas.concat(parts, ignore_index=True)
    positions = np.concatenate(
        [np.repeat(np.arange(len(clusters)), len(f)) for f, _ in compared.values()]
    )
    sizes = -np.nan_to_num(profiles["effect_size"].abs(), nan=-1.0, posinf=np.inf)
    order = np.lexsort((sizes, positions))
    if n_features is not None:
        # the place of each row among those of its cluster
        starts = np.searchsorted(positions[order], positions[order])
        order = order[np.arange(len(order)) - starts < n_features]
    return profiles.iloc[order].reset_index(drop=True)


def compare_clusters(
    frame: Modalities, labels: ArrayLike
) -> tuple[np.ndarray, dict[str, tuple[list[str], ClusterComparison]]]:
    """Compare each cluster with all other samples, in every feature.

    Parameters
    ----------
    frame : Modalities
        The data.
    labels : array-like of shape (n_samples,)
        Cluster of each sample.

    Returns
    -------
    clusters : ndarray of shape (n_clusters,)
        The sorted clusters.
    compared : dict of str to (list of str, ClusterComparison)
        Names of the features of each modality, and the comparison of the clusters.

    Raises
    ------
    ValueError
        As `cluster_profiles`.
    """
    check_row_labels(frame._index, labels, "labels")
    values = validate_labels(labels, "labels")
    warn_of_measured_values(labels=values)
    if len(values) != len(frame):
        raise ValueError(f"labels has {len(values)} labels for {len(frame)} samples")
    clusters, members = np.unique(values, return_inverse=True)
    if len(clusters) < 2:
        raise ValueError(
            f"labels has one cluster only, {clusters[0]}; at least 2 are needed"
        )
    compared = {}
    for name, block, observed in zip(
        frame.names, frame.blocks, frame.observed.T, strict=True
    ):
        with errors_name(name):
            rows = np.flatnonzero(observed)
            table, features = _numeric_table(take_rows(block, rows), name)
            groups = np.eye(len(clusters))[members[rows]]
            compared[name] = features, _compare_groups(table, groups)
    return clusters, compared


class ClusterComparison(NamedTuple):
    """Groups and all other samples in every column, of shape (n_groups, n_columns)."""

    effect_size: np.ndarray
    mean: np.ndarray
    mean_of_others: np.ndarray
    n_samples: np.ndarray
    n_others: np.ndarray


def _numeric_table(rows: Block, name: str) -> tuple[Any, list[str]]:
    """Return the samples as a table of numbers, and the names of its columns."""
    if is_sequences(rows) and len(rows) == 0:
        return np.empty((0, 0)), []
    if is_sequences(rows):
        sequences = float_sequences(rows, name)
        with warnings.catch_warnings():  # of features without any frame, NaN
            warnings.filterwarnings("ignore", "Mean of empty slice", RuntimeWarning)
            means = [np.nanmean(frames, axis=0) for frames in sequences]
        table: Any = np.array(means)
        return table, [str(j) for j in range(table.shape[1])]
    names = column_names(rows)
    table = as_table(rows, name)
    if sparse.issparse(table):  # products of small integers would overflow
        table = table.astype(np.float64)
    else:
        remedy = "encode them, for example by PerModality(OneHotEncoder())"
        table = as_numbers(np.asarray(table), f"modality {name!r}", remedy, names)
        table = np.asarray(table, dtype=np.float64)
    return table, names or [str(j) for j in range(table.shape[1])]


def _compare_groups(table: Any, groups: np.ndarray) -> ClusterComparison:
    """Compare each group of rows with all others by means and deviations.

    `groups` has a column of 0 and 1 for each group.
    """
    unit = _units_of_columns(table)
    if sparse.issparse(table):
        offset = np.zeros(table.shape[1])
        counts = np.repeat(groups.sum(axis=0)[:, None], table.shape[1], axis=1)
        centred = table @ sparse.diags_array(1 / unit)
        squared = centred.multiply(centred).tocsr()
    else:
        known = ~null_cells(table)
        table = table / unit
        counts = groups.T @ known
        with np.errstate(invalid="ignore"):
            offset = np.where(known, table, 0).sum(axis=0) / known.sum(axis=0)
        # centred, so that squares of values far from 0 do not cancel
        centred = np.where(known, table - offset, 0)
        squared = centred**2
    sums = _transposed_product(centred, groups)
    squares = _transposed_product(squared, groups)
    others = [own.sum(axis=0) - own for own in (counts, sums, squares)]
    with np.errstate(invalid="ignore", divide="ignore"):
        mean, mean_of_others = sums / counts, others[1] / others[0]
        spread = np.maximum(squares - sums * mean, 0)
        spread += np.maximum(others[2] - others[1] * mean_of_others, 0)
        difference = mean - mean_of_others
        deviation = np.sqrt(spread / np.maximum(counts + others[0] - 2, 1))
        effect_size = difference / deviation
    effect_size[difference == 0] = 0.0
    return ClusterComparison(
        effect_size,
        (mean + offset) * unit,
        (mean_of_others + offset) * unit,
        counts.astype(int),
        others[0].astype(int),
    )


def _units_of_columns(table: Any) -> np.ndarray:
    """Return a power of two for each column, by which squares of its values are finite.

    Division by it rounds nothing.
    """
    if table.shape[0] == 0:
        return np.ones(table.shape[1])
    if sparse.issparse(table):
        largest = abs(table).max(axis=0).toarray().ravel()
    else:
        largest = np.nanmax(np.abs(table), axis=0, initial=0.0)
    with np.errstate(divide="ignore"):
        units = np.exp2(np.floor(np.log2(largest)))
    return np.where(np.isfinite(units) & (units > 0), units, 1.0)


def _transposed_product(table: Any, groups: np.ndarray) -> np.ndarray:
    """Return the sums of the columns within each group."""
    return np.asarray((table.T @ groups).T)
