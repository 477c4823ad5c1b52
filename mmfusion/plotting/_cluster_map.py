"""Display of maps of the samples, fused and by modality, colored by cluster."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from scipy import sparse

from mmfusion._blocks import over_all_samples
from mmfusion._validation import as_modalities
from mmfusion.modalities import Modalities
from mmfusion.plotting._estimators import (
    check_displayable,
    drawn_samples,
    labels_for,
    modalities_of_fit,
    predicted_labels,
    scaled_tables,
)
from mmfusion.plotting._inputs import as_real_array, check_string
from mmfusion.plotting._maps import BaseMapDisplay, check_reducer, map_to_plane

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import ArrayLike
    from sklearn.base import BaseEstimator, TransformerMixin

    from mmfusion._typing import ModalitiesLike, RandomStateLike

# of the samples, whose clusters `predict` repeats if they are those of `fit`
LEAST_REPEATED_SHARE = 0.9


class ClusterMapDisplay(BaseMapDisplay):
    """Maps of the fused space and of each modality, colored by cluster.

    It is recommended to use :meth:`from_estimator` or :meth:`from_predictions`. All
    parameters are stored as attributes.

    Parameters
    ----------
    fused : ndarray of shape (n_samples, 2)
        Map of the fused space.
    modalities : dict of str to ndarray of shape (n_samples, 2)
        Map of each modality; NaN where it is not observed.
    labels : ndarray of shape (n_samples,)
        Cluster of each sample, shown by its color.
    legend_title : str, default='cluster'
        Name of the labels.

    Attributes
    ----------
    scatters_ : list of matplotlib PathCollection
        The points of each map: of the fused space, then of the modalities.
    axes_ : ndarray of matplotlib Axes
        The Axes of each map, in the same order.
    figure_ : matplotlib Figure
        Figure of the axes.

    See Also
    --------
    LatentMapDisplay : Maps of the latents of a network, by modality.
    ModalitySilhouetteDisplay : Silhouettes of the clusters in each modality.

    Notes
    -----
    Modalities are scaled as by 'auto' of `EarlyFusion`; sequences are resampled to the
    median of their lengths. Every map is computed separately and scaled to fill its
    Axes: positions in different maps cannot be compared, and clusters that overlap in
    two dimensions may be separate in more.

    Examples
    --------
    >>> import matplotlib
    >>> matplotlib.use("agg")
    >>> from mmfusion import LateFusionClusterer
    >>> from mmfusion.datasets import make_multimodal_blobs
    >>> from mmfusion.plotting import ClusterMapDisplay
    >>> X, y = make_multimodal_blobs(60, {"audio": 3, "video": 5}, random_state=0)
    >>> late = LateFusionClusterer(n_clusters=3, random_state=0).fit(X)
    >>> display = ClusterMapDisplay.from_estimator(late, X)
    >>> [ax.get_title() for ax in display.axes_]
    ['fused', 'audio', 'video']
    """

    @classmethod
    def from_estimator(
        cls,
        estimator: BaseEstimator,
        X: ModalitiesLike,
        *,
        y: ArrayLike | None = None,
        max_samples: int | None = 2000,
        reducer: TransformerMixin | None = None,
        random_state: RandomStateLike = 0,
        ax: Sequence[Axes] | None = None,
        **kwargs: Any,
    ) -> Self:
        """Draw maps of samples and the clusters that a fitted estimator predicts.

        Parameters
        ----------
        estimator : estimator
            Any fitted clusterer or classifier of `X`: early, late and hybrid fusion,
            kernels, graphs, networks or an ensemble.
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The samples; of an estimator without `predict` those of `fit`.
        y : array-like of shape (n_samples,), default=None
            Labels shown by the colors, such as classes; by default the predicted
            clusters.
        max_samples : int, default=2000
            Maximum number of samples that are drawn. Of more, a random subset is
            drawn; None is all.
        reducer : transformer, default=None
            Transformer whose ``fit_transform`` computes each map, by a clone; PCA by
            default. Its first two components are drawn.
        random_state : int, RandomState instance or None, default=0
            Seed of the choice and of the order of samples.
        ax : sequence of matplotlib Axes, default=None
            Axes to draw on, one for each map; a new figure by default.
        **kwargs : dict
            Style of the points, but for their color, which shows the labels; see
            matplotlib's `Axes.scatter`.

        Returns
        -------
        ClusterMapDisplay
            The drawn display.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        TypeError
            If it has no clusters.
        ValueError
            If `y` and `X` have different lengths, or a modality holds text or NaN.

        Notes
        -----
        The fused space is what `transform` returns: fused features, an embedding,
        latents, or memberships in clusters (of modalities that a sample lacks, their
        mean). Of clusterers of graphs it is `embedding_`, if `X` are the samples of
        `fit`. Of other estimators it is the concatenation of the modalities, each of
        the total variance 1.
        """
        check_displayable(estimator)
        frame = modalities_of_fit(estimator, X)
        labels = predicted_labels(estimator, frame)
        fused = _fused_space(estimator, frame, labels)
        if y is not None:
            labels = labels_for(frame, y, "y")
        return cls.from_predictions(
            frame,
            labels,
            fused=fused,
            legend_title="cluster" if y is None else "y",
            max_samples=max_samples,
            reducer=reducer,
            random_state=random_state,
            ax=ax,
            **kwargs,
        )

    @classmethod
    def from_predictions(
        cls,
        X: ModalitiesLike,
        labels: ArrayLike,
        *,
        fused: ArrayLike | None = None,
        legend_title: str = "cluster",
        max_samples: int | None = 2000,
        reducer: TransformerMixin | None = None,
        random_state: RandomStateLike = 0,
        ax: Sequence[Axes] | None = None,
        **kwargs: Any,
    ) -> Self:
        """Draw maps of samples and their labels.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The samples.
        labels : array-like of shape (n_samples,)
            Cluster of each sample, shown by its color.
        fused : array-like of shape (n_samples, n_components), default=None
            The samples in the fused space; None is the concatenation of the
            modalities, each of the total variance 1.
        legend_title : str, default='cluster'
            Name of the labels.
        max_samples : int, default=2000
            Maximum number of samples that are drawn. Of more, a random subset is
            drawn; None is all.
        reducer : transformer, default=None
            Transformer whose ``fit_transform`` computes each map, by a clone; PCA by
            default. Its first two components are drawn.
        random_state : int, RandomState instance or None, default=0
            Seed of the choice and of the order of samples.
        ax : sequence of matplotlib Axes, default=None
            Axes to draw on, one for each map; a new figure by default.
        **kwargs : dict
            Style of the points, but for their color, which shows the labels; see
            matplotlib's `Axes.scatter`.

        Returns
        -------
        ClusterMapDisplay
            The drawn display.

        Raises
        ------
        ValueError
            If lengths disagree, a modality holds text or NaN, or the reducer returns
            less than two dimensions.
        """
        check_reducer(reducer)
        check_string(legend_title, "legend_title")
        frame = as_modalities(X)
        values = labels_for(frame, labels, "labels")
        # in random order, since later points cover earlier ones
        rows = drawn_samples(len(frame), max_samples, random_state)
        if fused is not None:
            fused = as_real_array(fused, "fused")
            if fused.ndim != 2 or len(fused) != len(frame):
                raise ValueError(
                    f"fused has shape {fused.shape}; for {len(frame)} samples "
                    f"({len(frame)}, n_components) is expected"
                )
            fused = _filled_by_means(fused)[rows]
        some = frame[rows]
        tables = _tables_of_all(some)
        if fused is None:
            fused = np.hstack([_filled_by_means(table) for table in tables.values()])
        return cls(
            fused=map_to_plane(fused, reducer, len(rows), "fused"),
            modalities={
                name: map_to_plane(table, reducer, len(rows), f"modality {name!r}")
                for name, table in tables.items()
            },
            labels=values[rows],
            legend_title=legend_title,
        ).plot(ax, **kwargs)


def _fused_space(
    estimator: BaseEstimator, frame: Modalities, labels: np.ndarray
) -> np.ndarray | None:
    """Return the samples in the space in which they were clustered, if there is one."""
    if hasattr(estimator, "transform"):
        transformed = estimator.transform(frame)
        if isinstance(transformed, Modalities):
            transformed = transformed.to_array()
        if np.ndim(transformed) == 2 or sparse.issparse(transformed):
            return as_real_array(transformed, "the output of transform")
    embedding = getattr(estimator, "embedding_", None)
    if embedding is None or len(embedding) != len(frame):
        return None
    # other samples may be of the same number
    is_same = np.mean(labels == estimator.labels_) >= LEAST_REPEATED_SHARE
    return np.asarray(embedding) if is_same else None


def _tables_of_all(frame: Modalities) -> dict[str, np.ndarray]:
    """Return scaled tables of all samples, each of the total variance 1."""
    tables = {}
    for (name, table), observed in zip(
        scaled_tables(frame).items(), frame.observed.T, strict=True
    ):
        if table is None:  # of one sample there is no map
            tables[name] = np.full((len(frame), 1), np.nan)
            continue
        dense = as_real_array(table, f"modality {name!r}")
        spread = np.sqrt(dense.var(axis=0).sum())
        dense = dense / spread if spread > 0 else dense
        tables[name] = over_all_samples(dense, observed, np.nan)
    return tables


def _filled_by_means(table: np.ndarray) -> np.ndarray:
    """Replace NaN by the mean of the column, or by 0 if it has no other values."""
    missing = np.isnan(table)
    if not missing.any():
        return table
    counts = np.maximum((~missing).sum(axis=0), 1)
    return np.where(missing, np.where(missing, 0, table).sum(axis=0) / counts, table)
