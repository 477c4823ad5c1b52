"""Display of the samples that two clusterings have in common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from scipy.optimize import linear_sum_assignment
from sklearn.metrics.cluster import contingency_matrix

from mmfusion._row_labels import check_row_labels
from mmfusion._text import drawable
from mmfusion.metrics._labels import validate_labels
from mmfusion.plotting._estimators import (
    check_displayable,
    labels_for,
    modalities_of_fit,
    predicted_labels,
)
from mmfusion.plotting._inputs import as_names
from mmfusion.plotting._matrices import plot_matrix

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import ArrayLike
    from sklearn.base import BaseEstimator

    from mmfusion._typing import ModalitiesLike


class ClusterConfusionDisplay:
    """Matrix of the numbers of samples that two clusterings have in common.

    The columns are in the order that matches the rows best: the sum of the diagonal is
    the largest that any assignment of clusters to clusters has (Hungarian algorithm).

    It is recommended to use :meth:`from_estimator` or :meth:`from_predictions`. All
    parameters are stored as attributes.

    Parameters
    ----------
    counts : ndarray of int of shape (n_clusters, n_other_clusters)
        Numbers of samples.
    clusters : ndarray of shape (n_clusters,)
        Clusters of the rows.
    other_clusters : ndarray of shape (n_other_clusters,)
        Clusters of the columns.
    names : tuple of str, default=('first', 'second')
        Names of both clusterings.

    Attributes
    ----------
    image_ : matplotlib AxesImage
        Image of the matrix.
    texts_ : list of matplotlib Text
        Numbers in the cells, row by row, if there are few.
    colorbar_ : matplotlib Colorbar
        Colorbar of the image.
    ax_ : matplotlib Axes
        Axes of the image.
    figure_ : matplotlib Figure
        Figure of the axes.

    See Also
    --------
    ModalityAgreementDisplay : One number for each of many pairs of clusterings.
    sklearn.metrics.ConfusionMatrixDisplay : For predicted classes.

    Examples
    --------
    >>> import matplotlib
    >>> matplotlib.use("agg")
    >>> from mmfusion.plotting import ClusterConfusionDisplay
    >>> display = ClusterConfusionDisplay.from_predictions(
    ...     ["a", "a", "b", "b", "c"], [1, 1, 0, 0, 0]
    ... )
    >>> display.counts.tolist()
    [[2, 0], [0, 2], [0, 1]]
    >>> display.other_clusters.tolist()
    [1, 0]
    """

    def __init__(
        self,
        *,
        counts: np.ndarray,
        clusters: np.ndarray,
        other_clusters: np.ndarray,
        names: Sequence[str] = ("first", "second"),
    ) -> None:
        self.counts = counts
        self.clusters = clusters
        self.other_clusters = other_clusters
        self.names = names

    @classmethod
    def from_estimator(
        cls,
        estimator: BaseEstimator,
        X: ModalitiesLike,
        y: ArrayLike,
        *,
        names: Sequence[str] = ("y", "cluster"),
        ax: Axes | None = None,
        **kwargs: Any,
    ) -> Self:
        """Compare labels with the clusters that a fitted estimator predicts.

        Parameters
        ----------
        estimator : estimator
            Any fitted clusterer or classifier of `X`.
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The samples; of an estimator without `predict` those of `fit`.
        y : array-like of shape (n_samples,)
            Classes, or clusters of another estimator, in the rows.
        names : tuple of str, default=('y', 'cluster')
            Names of both clusterings.
        ax : matplotlib Axes, default=None
            Axes to draw on; a new figure by default.
        **kwargs : dict
            Style of the image, such as ``cmap``; see matplotlib's `Axes.imshow`.

        Returns
        -------
        ClusterConfusionDisplay
            The drawn display.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        TypeError
            If it has no clusters.
        ValueError
            If `y` and `X` have different lengths.
        """
        check_displayable(estimator)
        frame = modalities_of_fit(estimator, X)
        y = labels_for(frame, y, "y")
        labels = predicted_labels(estimator, frame)
        return cls.from_predictions(y, labels, names=names, ax=ax, **kwargs)

    @classmethod
    def from_predictions(
        cls,
        labels: ArrayLike,
        other_labels: ArrayLike,
        *,
        names: Sequence[str] = ("first", "second"),
        ax: Axes | None = None,
        **kwargs: Any,
    ) -> Self:
        """Compare two clusterings of the same samples.

        Parameters
        ----------
        labels : array-like of shape (n_samples,)
            Clusters of the rows.
        other_labels : array-like of shape (n_samples,)
            Clusters of the columns.
        names : tuple of str, default=('first', 'second')
            Names of both clusterings.
        ax : matplotlib Axes, default=None
            Axes to draw on; a new figure by default.
        **kwargs : dict
            Style of the image, such as ``cmap``; see matplotlib's `Axes.imshow`.

        Returns
        -------
        ClusterConfusionDisplay
            The drawn display.

        Raises
        ------
        ValueError
            If lengths disagree, or there are not two names.
        """
        check_row_labels(getattr(labels, "index", None), other_labels, "other_labels")
        first = validate_labels(labels, "labels")
        second = validate_labels(other_labels, "other_labels")
        if len(first) != len(second):
            raise ValueError(
                f"other_labels has {len(second)} labels; labels has {len(first)}"
            )
        names = as_names(names, "names")
        if len(names) != 2:
            raise ValueError(f"names has {len(names)} names for two clusterings")
        counts = contingency_matrix(first, second)
        order = _matched_columns(counts)
        return cls(
            counts=counts[:, order],
            clusters=np.unique(first),
            other_clusters=np.unique(second)[order],
            names=names,
        ).plot(ax, **kwargs)

    def plot(self, ax: Axes | None = None, **kwargs: Any) -> Self:
        """Draw the matrix.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on; a new figure by default.
        **kwargs : dict
            Style of the image, such as ``cmap``; see matplotlib's `Axes.imshow`.

        Returns
        -------
        ClusterConfusionDisplay
            This display.
        """
        drawn = plot_matrix(
            ax,
            self.counts,
            rows=[drawable(str(cluster)) for cluster in self.clusters],
            columns=[drawable(str(cluster)) for cluster in self.other_clusters],
            label="samples",
            style={"cmap": "Blues", "vmin": 0, **kwargs},
            form="d",
        )
        self.ax_, self.image_, self.texts_, self.colorbar_ = drawn
        self.figure_ = self.ax_.figure
        row_name, column_name = self.names
        self.ax_.set(xlabel=drawable(column_name), ylabel=drawable(row_name))
        return self


def _matched_columns(counts: np.ndarray) -> np.ndarray:
    """Return the columns in the order of the rows that they match best.

    Columns without a row of their own follow, each by the row of its most samples.
    """
    rows, columns = linear_sum_assignment(counts, maximize=True)
    place = counts.argmax(axis=0) + float(len(counts))
    place[columns] = rows
    return np.argsort(place, kind="stable")
