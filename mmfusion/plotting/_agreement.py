"""Display of the agreement between clusterings or neighbourhoods of modalities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from scipy import sparse
from sklearn.base import clone
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_mutual_info_score
from sklearn.neighbors import NearestNeighbors
from sklearn.utils import check_random_state

from mmfusion._numbers import is_integer
from mmfusion._options import errors_about, errors_name
from mmfusion._row_labels import short_repr
from mmfusion._text import drawable
from mmfusion._validation import as_modalities
from mmfusion.metrics._labels import validate_labels
from mmfusion.plotting._estimators import (
    check_displayable,
    drawn_samples,
    modalities_of_fit,
    predicted_labels,
    refuse_no_samples,
    scaled_tables,
)
from mmfusion.plotting._inputs import check_mapping
from mmfusion.plotting._matrices import plot_matrix

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import ArrayLike
    from sklearn.base import BaseEstimator

    from mmfusion._typing import ModalitiesLike, RandomStateLike
    from mmfusion.modalities import Modalities

MUTUAL_INFORMATION = "adjusted mutual information"
SHARED_NEIGHBORS = "shared neighbors"
N_INIT = 10  # runs of k-means for each modality


class ModalityAgreementDisplay:
    """Matrix of the agreement between modalities, without classes.

    It is recommended to use :meth:`from_estimator`, :meth:`from_modalities` or
    :meth:`from_predictions`. All parameters are stored as attributes.

    Parameters
    ----------
    agreement : ndarray of shape (n_names, n_names)
        Agreement of all pairs: 1 for identical ones, about 0 by chance. NaN if fewer
        than two samples have both modalities, or three for neighbourhoods.
    names : sequence of str of length n_names
        Names of the modalities, and 'fused' for the clusters of an estimator.
    score_name : str, default='agreement'
        Name of the measure.

    Attributes
    ----------
    image_ : matplotlib AxesImage
        Image of the matrix.
    texts_ : list of matplotlib Text
        Values in the cells, row by row.
    colorbar_ : matplotlib Colorbar
        Colorbar of the image.
    ax_ : matplotlib Axes
        Axes of the image.
    figure_ : matplotlib Figure
        Figure of the axes.

    See Also
    --------
    ClusterConfusionDisplay : Compares two clusterings, cluster by cluster.

    Notes
    -----
    Modalities that agree repeat each other, or share what the clusters are about. One
    that agrees with no other holds other information, or noise.

    Examples
    --------
    >>> import matplotlib
    >>> matplotlib.use("agg")
    >>> from mmfusion import EarlyFusionClusterer
    >>> from mmfusion.datasets import make_multimodal_blobs
    >>> from mmfusion.plotting import ModalityAgreementDisplay
    >>> X, y = make_multimodal_blobs(60, {"audio": 3, "video": 5}, random_state=0)
    >>> early = EarlyFusionClusterer(n_clusters=3, random_state=0).fit(X)
    >>> ModalityAgreementDisplay.from_estimator(early, X).names
    ['fused', 'audio', 'video']
    """

    def __init__(
        self,
        *,
        agreement: np.ndarray,
        names: Sequence[str],
        score_name: str = "agreement",
    ) -> None:
        self.agreement = agreement
        self.names = names
        self.score_name = score_name

    @classmethod
    def from_estimator(
        cls,
        estimator: BaseEstimator,
        X: ModalitiesLike,
        *,
        clusterer: BaseEstimator | None = None,
        max_samples: int | None = 2000,
        random_state: RandomStateLike = 0,
        ax: Axes | None = None,
        **kwargs: Any,
    ) -> Self:
        """Draw the agreement of the clusters of an estimator and of each modality.

        Late and hybrid fusion have clusters, or classes, of each modality alone. For
        other estimators each scaled modality is clustered by k-means, into as many
        clusters as the estimator predicts for the samples.

        Parameters
        ----------
        estimator : estimator
            Any fitted clusterer or classifier of `X`.
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The samples; of an estimator without `predict` those of `fit`.
        clusterer : estimator, default=None
            Clusterer of each scaled modality alone, which is cloned; what it calls
            noise, -1, is left out. None is as described above.
        max_samples : int, default=2000
            Maximum number of samples. Of more, a random subset is drawn; None is all.
        random_state : int, RandomState instance or None, default=0
            Seed of the choice and of the order of samples.
        ax : matplotlib Axes, default=None
            Axes to draw on; a new figure by default.
        **kwargs : dict
            Style of the image, such as ``cmap``; see matplotlib's `Axes.imshow`.

        Returns
        -------
        ModalityAgreementDisplay
            The drawn display, of adjusted mutual information.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        TypeError
            If it has no clusters, or `clusterer` cannot cluster.
        ValueError
            If a modality holds text or NaN, unless the estimator has clusters of each.
        """
        check_displayable(estimator)
        if clusterer is not None and not hasattr(clusterer, "fit_predict"):
            raise TypeError(
                f"clusterer is {short_repr(clusterer)}, without fit_predict; give an "
                "unfitted clusterer, such as KMeans(3)"
            )
        frame = modalities_of_fit(estimator, X)
        labels = predicted_labels(estimator, frame)
        with errors_about("random_state"):
            rng = check_random_state(random_state)
        rows = np.sort(drawn_samples(len(frame), max_samples, rng))
        fused = np.unique(labels[rows], return_inverse=True)[1]
        own = (
            None
            if clusterer is not None
            else _labels_of_branches(estimator, frame[rows])
        )
        if own is None:
            k_means = KMeans(int(fused.max()) + 1, n_init=N_INIT, random_state=rng)
            own = _clusters_alone(
                frame[rows], k_means if clusterer is None else clusterer
            )
        clusterings = {"fused": fused.astype(float), **own}
        return cls(
            agreement=_mutual_information(list(clusterings.values())),
            names=list(clusterings),
            score_name=MUTUAL_INFORMATION,
        ).plot(ax, **kwargs)

    @classmethod
    def from_modalities(
        cls,
        X: ModalitiesLike,
        *,
        n_neighbors: int = 10,
        max_samples: int | None = 2000,
        random_state: RandomStateLike = 0,
        ax: Axes | None = None,
        **kwargs: Any,
    ) -> Self:
        """Draw the agreement of the neighbourhoods of samples, before any clustering.

        It is the mean share s of the nearest samples of a sample that are among the
        nearest in both modalities, corrected for chance: ``(s - c) / (1 - c)`` with
        ``c = n_neighbors / (n_samples - 1)``.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The samples.
        n_neighbors : int, default=10
            Number of nearest samples; at most half of the samples.
        max_samples : int, default=2000
            Maximum number of samples. Of more, a random subset is drawn; None is all.
        random_state : int, RandomState instance or None, default=0
            Seed of the choice and of the order of samples.
        ax : matplotlib Axes, default=None
            Axes to draw on; a new figure by default.
        **kwargs : dict
            Style of the image, such as ``cmap``; see matplotlib's `Axes.imshow`.

        Returns
        -------
        ModalityAgreementDisplay
            The drawn display.

        Raises
        ------
        ValueError
            If an option is invalid, or a modality holds text or NaN.
        """
        if not is_integer(n_neighbors) or n_neighbors < 1:
            raise ValueError(
                f"n_neighbors is {n_neighbors!r}; give a number of samples, at least 1"
            )
        frame = as_modalities(X)
        refuse_no_samples(frame)
        rows = np.sort(drawn_samples(len(frame), max_samples, random_state))
        return cls(
            agreement=_shared_neighbors(frame[rows], int(n_neighbors)),
            names=list(frame.names),
            score_name=SHARED_NEIGHBORS,
        ).plot(ax, **kwargs)

    @classmethod
    def from_predictions(
        cls,
        labels: Mapping[str, ArrayLike],
        *,
        ax: Axes | None = None,
        **kwargs: Any,
    ) -> Self:
        """Draw the agreement of clusterings of the same samples.

        Parameters
        ----------
        labels : dict of str to array-like of shape (n_samples,)
            Clusters of the samples by name of the modality or method.
        ax : matplotlib Axes, default=None
            Axes to draw on; a new figure by default.
        **kwargs : dict
            Style of the image, such as ``cmap``; see matplotlib's `Axes.imshow`.

        Returns
        -------
        ModalityAgreementDisplay
            The drawn display, of adjusted mutual information.

        Raises
        ------
        ValueError
            If there are no labels, or lengths disagree.
        """
        check_mapping(labels, "labels", "labels by name")
        if not labels:
            raise ValueError("labels is empty: there is nothing to draw")
        codes = []
        for name, given in labels.items():
            values = validate_labels(given, f"labels[{name!r}]")
            codes.append(np.unique(values, return_inverse=True)[1].astype(float))
            if len(values) != len(codes[0]):
                raise ValueError(
                    f"labels[{name!r}] has {len(values)} labels; the first has "
                    f"{len(codes[0])}"
                )
        return cls(
            agreement=_mutual_information(codes),
            names=[str(name) for name in labels],
            score_name=MUTUAL_INFORMATION,
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
        ModalityAgreementDisplay
            This display.
        """
        lowest = min(0.0, float(np.nan_to_num(self.agreement).min(initial=0.0)))
        names = list(map(drawable, self.names))
        drawn = plot_matrix(
            ax,
            self.agreement,
            rows=names,
            columns=names,
            label=self.score_name,
            style={"vmin": lowest, "vmax": 1, **kwargs},
        )
        self.ax_, self.image_, self.texts_, self.colorbar_ = drawn
        self.figure_ = self.ax_.figure
        return self


def _labels_of_branches(
    estimator: BaseEstimator, frame: Modalities
) -> dict[str, np.ndarray] | None:
    """Return the clusters or classes of each modality alone, by late or hybrid fusion.

    They are NaN where a modality is not observed; None of other estimators.
    """
    branches: Any = getattr(
        estimator, "clusterers_", getattr(estimator, "estimators_", None)
    )
    alone = [name for name in frame.names if name in (branches or ())]
    classes: Any = getattr(estimator, "classes_", None)
    is_multilabel = np.ndim(classes) > 1
    if not alone or is_multilabel or not hasattr(estimator, "transform"):
        return None
    scores = estimator.transform(frame)
    scores = scores.toarray() if sparse.issparse(scores) else scores
    n_outputs = scores.shape[1] // len(branches) if classes is None else len(classes)
    own = {}
    for name in alone:
        first = list(branches).index(name) * n_outputs
        block = scores[:, first : first + n_outputs]
        is_missing = np.isnan(block).any(axis=1)
        labels = np.nan_to_num(block).argmax(axis=1)
        own[name] = np.where(is_missing, np.nan, labels)
    return own


def _clusters_alone(
    frame: Modalities, clusterer: BaseEstimator
) -> dict[str, np.ndarray]:
    """Cluster each modality; NaN where it is not observed, and of noise."""
    n_clusters: Any = getattr(clusterer, "n_clusters", None)
    at_least = int(n_clusters) if is_integer(n_clusters) else 2
    clusters = {}
    for (name, table), observed in zip(
        scaled_tables(frame, min_samples=at_least).items(),
        frame.observed.T,
        strict=True,
    ):
        own = np.full(len(frame), np.nan)
        if table is not None:
            with errors_name(name):
                labels = clone(clusterer).fit_predict(table)
            own[observed] = np.where(np.asarray(labels) < 0, np.nan, labels)
        clusters[name] = own
    return clusters


def _mutual_information(clusterings: Sequence[np.ndarray]) -> np.ndarray:
    """Compute the agreement of clusterings on the samples that both cluster."""
    matrix = np.full((len(clusterings), len(clusterings)), np.nan)
    for i, one in enumerate(clusterings):
        for j, other in enumerate(clusterings[: i + 1]):
            both = ~np.isnan(one) & ~np.isnan(other)
            if both.sum() >= 2:
                score = adjusted_mutual_info_score(one[both], other[both])
                matrix[i, j] = matrix[j, i] = score
    return matrix


def _shared_neighbors(frame: Modalities, n_neighbors: int) -> np.ndarray:
    """Compute the agreement of neighbourhoods among samples with both modalities."""
    tables = list(scaled_tables(frame).values())
    observed = frame.observed
    matrix = np.full((len(tables), len(tables)), np.nan)
    for i in range(len(tables)):
        for j in range(i + 1):
            both = observed[:, i] & observed[:, j]
            n = int(both.sum())
            k = min(n_neighbors, n // 2)
            if n < 3:  # of two samples each is the nearest of the other
                continue
            one, other = (_graph(tables[v], both[observed[:, v]], k) for v in (i, j))
            share = one.multiply(other).sum() / (n * k)
            chance = k / (n - 1)
            matrix[i, j] = matrix[j, i] = (share - chance) / (1 - chance)
    return matrix


def _graph(table: Any, rows: np.ndarray, n_neighbors: int) -> Any:
    """Return the graph of the nearest among some samples, as 0 and 1."""
    return NearestNeighbors(n_neighbors=n_neighbors).fit(table[rows]).kneighbors_graph()
