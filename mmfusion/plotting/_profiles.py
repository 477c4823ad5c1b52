"""Display of the features that distinguish clusters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from mmfusion._numbers import is_integer
from mmfusion._text import drawable
from mmfusion._validation import as_modalities
from mmfusion.metrics._profiles import compare_clusters
from mmfusion.plotting._estimators import (
    check_displayable,
    modalities_of_fit,
    predicted_labels,
)
from mmfusion.plotting._matrices import plot_matrix

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import ArrayLike
    from sklearn.base import BaseEstimator

    from mmfusion._typing import ModalitiesLike


class ClusterProfileDisplay:
    """Effect sizes of the features that distinguish each cluster the most.

    It is recommended to use :meth:`from_estimator` or :meth:`from_predictions`. All
    parameters are stored as attributes.

    Parameters
    ----------
    effect_sizes : ndarray of shape (n_features, n_clusters)
        Standardised mean difference between a cluster and the other samples in each
        feature; NaN if a group has no observed value, infinite if two groups of
        constant values differ.
    clusters : ndarray of shape (n_clusters,)
        The clusters.
    modalities : sequence of str of length n_features
        Modality of each feature; equal ones follow each other.
    features : sequence of str of length n_features
        Name of each feature.

    Attributes
    ----------
    image_ : matplotlib AxesImage
        Image of the effect sizes.
    texts_ : list of matplotlib Text
        Values in the cells, row by row, if there are few.
    lines_ : list of matplotlib Line2D
        Lines between modalities.
    colorbar_ : matplotlib Colorbar
        Colorbar of the image.
    ax_ : matplotlib Axes
        Axes of the image.
    figure_ : matplotlib Figure
        Figure of the axes.

    See Also
    --------
    mmfusion.metrics.cluster_profiles : The effect sizes of all features.
    ModalitySilhouetteDisplay : Silhouettes of the clusters in each modality.

    Notes
    -----
    Effect sizes of about 0.2, 0.5 and 0.8 are called small, medium and large. They
    describe clusters, which were chosen to differ, and are no test of them.

    Examples
    --------
    >>> import matplotlib
    >>> matplotlib.use("agg")
    >>> from mmfusion import EarlyFusionClusterer
    >>> from mmfusion.datasets import make_multimodal_blobs
    >>> from mmfusion.plotting import ClusterProfileDisplay
    >>> X, y = make_multimodal_blobs(60, {"audio": 3, "video": 5}, random_state=0)
    >>> early = EarlyFusionClusterer(n_clusters=3, random_state=0).fit(X)
    >>> display = ClusterProfileDisplay.from_estimator(early, X, n_features=2)
    >>> display.effect_sizes.shape[1]
    3
    """

    def __init__(
        self,
        *,
        effect_sizes: np.ndarray,
        clusters: np.ndarray,
        modalities: Sequence[str],
        features: Sequence[str],
    ) -> None:
        self.effect_sizes = effect_sizes
        self.clusters = clusters
        self.modalities = modalities
        self.features = features

    @classmethod
    def from_estimator(
        cls,
        estimator: BaseEstimator,
        X: ModalitiesLike,
        *,
        n_features: int = 3,
        ax: Axes | None = None,
        **kwargs: Any,
    ) -> Self:
        """Draw profiles of the clusters that a fitted estimator predicts.

        Parameters
        ----------
        estimator : estimator
            Any fitted clusterer or classifier of `X`.
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The samples, of numbers; of an estimator without `predict` those of `fit`.
        n_features : int, default=3
            Number of features of each cluster, those of the largest absolute effect
            size among all modalities.
        ax : matplotlib Axes, default=None
            Axes to draw on; a new figure by default.
        **kwargs : dict
            Style of the image, such as ``cmap``; see matplotlib's `Axes.imshow`.

        Returns
        -------
        ClusterProfileDisplay
            The drawn display.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        TypeError
            If it has no clusters.
        ValueError
            If there are fewer than two clusters, or a modality holds text.
        """
        check_displayable(estimator)
        frame = modalities_of_fit(estimator, X)
        labels = predicted_labels(estimator, frame)
        return cls.from_predictions(
            frame, labels, n_features=n_features, ax=ax, **kwargs
        )

    @classmethod
    def from_predictions(
        cls,
        X: ModalitiesLike,
        labels: ArrayLike,
        *,
        n_features: int = 3,
        ax: Axes | None = None,
        **kwargs: Any,
    ) -> Self:
        """Draw profiles of clusters.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The samples, of numbers.
        labels : array-like of shape (n_samples,)
            Cluster of each sample.
        n_features : int, default=3
            Number of features of each cluster, those of the largest absolute effect
            size among all modalities.
        ax : matplotlib Axes, default=None
            Axes to draw on; a new figure by default.
        **kwargs : dict
            Style of the image, such as ``cmap``; see matplotlib's `Axes.imshow`.

        Returns
        -------
        ClusterProfileDisplay
            The drawn display.

        Raises
        ------
        ValueError
            If lengths disagree, there are fewer than two clusters, or a modality holds
            text.
        """
        if not is_integer(n_features) or n_features < 1:
            raise ValueError(
                f"n_features is {n_features!r}; give a number of features, at least 1"
            )
        frame = as_modalities(X)
        clusters, compared = compare_clusters(frame, labels)
        effects, modalities, features = [], [], []
        for name, (own, comparison) in compared.items():
            effects.append(comparison.effect_size.T)
            modalities += [name] * len(own)
            features += own
        effect_sizes = np.vstack(effects)
        if effect_sizes.size == 0:
            raise ValueError("X has no feature that a sample has: nothing to draw")
        chosen = _largest(effect_sizes, int(n_features))
        # by modality, then in the order of the clusters that they distinguish
        places = np.array([list(compared).index(modalities[row]) for row in chosen])
        chosen = chosen[np.argsort(places, kind="stable")]
        return cls(
            effect_sizes=effect_sizes[chosen],
            clusters=clusters,
            modalities=[modalities[row] for row in chosen],
            features=[features[row] for row in chosen],
        ).plot(ax, **kwargs)

    def plot(self, ax: Axes | None = None, **kwargs: Any) -> Self:
        """Draw the effect sizes.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on; a new figure by default.
        **kwargs : dict
            Style of the image, such as ``cmap``; see matplotlib's `Axes.imshow`.

        Returns
        -------
        ClusterProfileDisplay
            This display.
        """
        finite = self.effect_sizes[np.isfinite(self.effect_sizes)]
        limit = float(np.abs(finite).max(initial=0.0)) or 1.0
        rows = [
            f"{drawable(modality)}: {drawable(str(feature))}"
            for modality, feature in zip(self.modalities, self.features, strict=True)
        ]
        style: dict[str, Any] = {"cmap": "RdBu_r"}
        if not callable(kwargs.get("norm")):  # a Normalize has limits of its own
            style |= {"vmin": -limit, "vmax": limit}
        drawn = plot_matrix(
            ax,
            self.effect_sizes,
            rows=rows,
            columns=[drawable(str(cluster)) for cluster in self.clusters],
            label="standardised mean difference",
            style=style | kwargs,
            form=".1f",
        )
        self.ax_, self.image_, self.texts_, self.colorbar_ = drawn
        self.figure_ = self.ax_.figure
        changes = [
            row - 0.5
            for row in range(1, len(rows))
            if self.modalities[row] != self.modalities[row - 1]
        ]
        self.lines_ = [
            self.ax_.axhline(change, color="0.2", linewidth=1) for change in changes
        ]
        self.ax_.set_xlabel("cluster")
        return self


def _largest(effect_sizes: np.ndarray, n_features: int) -> np.ndarray:
    """Return the rows of the largest effects, cluster by cluster, each row once."""
    sizes = np.nan_to_num(np.abs(effect_sizes), nan=-1.0, posinf=np.inf)
    rows = np.argsort(-sizes, axis=0, kind="stable")[:n_features].T.ravel()
    return np.array(list(dict.fromkeys(rows.tolist())))
