"""Display of Gram matrices whose samples are ordered by cluster."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from scipy import sparse
from sklearn.utils.validation import check_is_fitted

from mmfusion._drawing import several_axes
from mmfusion._options import errors_about
from mmfusion._text import drawable
from mmfusion.metrics._labels import validate_labels
from mmfusion.modalities import Modalities
from mmfusion.plotting._axes import MAPS_PER_ROW, new_axes
from mmfusion.plotting._estimators import modalities_of_fit
from mmfusion.plotting._inputs import (
    as_names,
    as_real_array,
    check_sample_count,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import ArrayLike
    from sklearn.base import BaseEstimator

    from mmfusion._typing import ModalitiesLike
    from mmfusion.mkl import ModalityKernels

# names of clusters with a smaller share of the samples would overlap
LEAST_NAMED_SHARE = 1 / 20
CLIPPED_PERCENT = 1.0  # of the values, beyond either limit of the colors


class KernelMatrixDisplay:
    """Images of Gram matrices and their weighted sum, samples ordered by cluster.

    It is recommended to use :meth:`from_estimator` or :meth:`from_predictions`. All
    parameters are stored as attributes.

    Parameters
    ----------
    kernels : sequence of ndarray of shape (n_drawn, n_drawn)
        Gram matrices of the samples that are drawn, in their order.
    labels : ndarray of shape (n_drawn,)
        Cluster of each of these samples, sorted.
    names : sequence of str of length n_kernels
        Names of the kernels.
    weights : ndarray of shape (n_kernels,), default=None
        Weights of the kernels in the sum; None draws their mean.
    samples : ndarray of int of shape (n_drawn,), default=None
        Positions of the drawn samples in the data.
    n_samples : int, default=None
        Number of samples in the data; None if all are drawn.
    axis_title : str, default='cluster'
        Name of the labels.

    Attributes
    ----------
    images_ : list of matplotlib AxesImage
        Images of the weighted sum and of the kernels; of a single kernel no sum.
    lines_ : list of tuple of matplotlib LineCollection
        The horizontal and vertical lines between clusters in each image.
    colorbar_ : matplotlib Colorbar
        Colorbar of all images.
    axes_ : ndarray of matplotlib Axes
        The Axes of each image.
    figure_ : matplotlib Figure
        Figure of the axes.

    See Also
    --------
    KernelWeightsDisplay : The weights of the kernels.
    ObjectivePathDisplay : The objective of the weights after each step.
    LatentMapDisplay : Maps of the latents of a network.

    Notes
    -----
    A kernel that separates the clusters has blocks of large values on the diagonal.
    Colors are the same in all images, so that kernels can be compared. Their limits
    are percentiles (1 and 99) of the values off the diagonal, symmetric about 0 if some
    are negative, as those of centred kernels.

    Clusters with less than a twentieth of the samples are not labelled.

    Examples
    --------
    >>> import matplotlib
    >>> matplotlib.use("agg")
    >>> from mmfusion.datasets import make_multimodal_blobs
    >>> from mmfusion.mkl import MKLClusterer
    >>> from mmfusion.plotting import KernelMatrixDisplay
    >>> X, y = make_multimodal_blobs(60, {"audio": 3, "video": 5}, random_state=0)
    >>> clusterer = MKLClusterer(3, random_state=0).fit(X)
    >>> display = KernelMatrixDisplay.from_estimator(clusterer, X, max_samples=30)
    >>> display.names
    ['audio', 'video']
    >>> display.kernels[0].shape
    (30, 30)
    """

    def __init__(
        self,
        *,
        kernels: Sequence[np.ndarray],
        labels: np.ndarray,
        names: Sequence[str],
        weights: np.ndarray | None = None,
        samples: np.ndarray | None = None,
        n_samples: int | None = None,
        axis_title: str = "cluster",
    ) -> None:
        self.kernels = kernels
        self.labels = labels
        self.names = names
        self.weights = weights
        self.samples = samples
        self.n_samples = n_samples
        self.axis_title = axis_title

    @classmethod
    def from_estimator(
        cls,
        estimator: BaseEstimator,
        X: ModalitiesLike,
        *,
        labels: ArrayLike | None = None,
        weights: ArrayLike | None = None,
        max_samples: int | None = 500,
        ax: Sequence[Axes] | None = None,
        **kwargs: Any,
    ) -> Self:
        """Draw the kernels of a fitted estimator.

        For an MKLClassifier or MKLRegressor, fit `ModalityKernels` to the same samples
        and pass the ``kernel_weights_`` as ``weights``.

        Parameters
        ----------
        estimator : MKLClusterer or ModalityKernels
            Fitted estimator.
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The samples of `fit`, in the same order; with explicit features, any.
        labels : array-like of shape (n_samples,), default=None
            Labels by which samples are ordered, such as classes; by default the
            predicted clusters.
        weights : array-like of shape (n_kernels,), default=None
            Weights of the kernels in the sum; by default those of the MKLClusterer,
            and equal ones for ModalityKernels.
        max_samples : int, default=500
            Maximum number of samples that are drawn. Of more, those of each cluster are
            reduced in proportion, to at least one, evenly in their order; None is all.
        ax : sequence of matplotlib Axes, default=None
            Axes to draw on, one for the sum and one for each kernel; a new figure by
            default.
        **kwargs : dict
            Style of the images, such as ``cmap`` or ``vmin``; see matplotlib's
            `Axes.imshow`.

        Returns
        -------
        KernelMatrixDisplay
            The drawn display.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        TypeError
            If it computes no kernels.
        ValueError
            If `X` are not the samples of `fit`, lengths disagree, or there are no
            labels for ModalityKernels.

        Notes
        -----
        Kernels are computed for the drawn samples only. Those of an MKLClusterer with
        `neighborhood` are drawn for all pairs of these.
        """
        check_is_fitted(estimator)
        kernels = getattr(estimator, "kernels_", estimator)
        if not (hasattr(kernels, "kernel_names_") and hasattr(kernels, "transform")):
            raise TypeError(
                f"{type(estimator).__name__} computes no kernels of samples; give a "
                "fitted MKLClusterer, or ModalityKernels with labels (and weights, "
                "such as kernel_weights_ of an MKLClassifier)"
            )
        frame = _kernel_input(kernels, X, estimator)
        axis_title = "cluster" if labels is None else "label"
        if labels is None:
            if not hasattr(estimator, "predict"):
                raise ValueError(
                    f"{type(estimator).__name__} has no clusters; give labels, by "
                    "which the samples are ordered"
                )
            labels = estimator.predict(frame)
        labels = _check_order_labels(labels, len(frame))
        if weights is None:
            weights = getattr(estimator, "kernel_weights_", None)
        drawn = _choose_samples(labels, max_samples)
        names = kernels.kernel_names_.tolist()
        return cls(
            kernels=_gram_matrices(kernels, frame, drawn),
            labels=labels[drawn],
            names=names,
            weights=_check_kernel_weights(weights, names),
            samples=drawn,
            n_samples=len(labels),
            axis_title=axis_title,
        ).plot(ax, **kwargs)

    @classmethod
    def from_predictions(
        cls,
        kernels: ModalitiesLike,
        labels: ArrayLike,
        *,
        names: Sequence[str] | None = None,
        weights: ArrayLike | None = None,
        max_samples: int | None = 500,
        ax: Sequence[Axes] | None = None,
        **kwargs: Any,
    ) -> Self:
        """Draw Gram matrices.

        Parameters
        ----------
        kernels : list, dict or Modalities of array-like of shape \
                (n_samples, n_samples), or ndarray
            Gram matrices of all samples. An ndarray is one, or several of shape
            (n_samples, n_samples, n_kernels).
        labels : array-like of shape (n_samples,)
            Cluster or class of each sample, by which they are ordered.
        names : list of str of length n_kernels, default=None
            Names of the kernels; by default those in a dict or Modalities, else
            ``kernel_0`` and so on.
        weights : array-like of shape (n_kernels,), default=None
            Weights of the kernels in the sum; None draws their mean.
        max_samples : int, default=500
            Maximum number of samples that are drawn. Of more, those of each cluster are
            reduced in proportion, to at least one, evenly in their order; None is all.
        ax : sequence of matplotlib Axes, default=None
            Axes to draw on, one for the sum and one for each kernel; a new figure by
            default.
        **kwargs : dict
            Style of the images, such as ``cmap`` or ``vmin``; see matplotlib's
            `Axes.imshow`.

        Returns
        -------
        KernelMatrixDisplay
            The drawn display.

        Raises
        ------
        ValueError
            If a kernel is not square or not finite, or lengths disagree.
        """
        with errors_about("kernels"):
            matrices, names = _named_matrices(kernels, names)
        labels = _check_order_labels(labels, len(matrices[0]))
        drawn = _choose_samples(labels, max_samples)
        among = np.ix_(drawn, drawn)
        for K, name in zip(matrices, names, strict=True):
            if K.shape != (len(labels), len(labels)):
                square = (len(labels), len(labels))
                raise ValueError(
                    f"kernels: kernel {name!r} has shape {K.shape}; for "
                    f"{len(labels)} labels {square} is expected (of explicit features "
                    "Z it is Z @ Z.T)"
                )
            if not np.isfinite(K[among]).all():
                raise ValueError(
                    f"kernels: kernel {name!r} has values that are not finite"
                )
        return cls(
            kernels=[K[among] for K in matrices],
            labels=labels[drawn],
            names=names,
            weights=_check_kernel_weights(weights, names),
            samples=drawn,
            n_samples=len(labels),
        ).plot(ax, **kwargs)

    def plot(self, ax: Sequence[Axes] | None = None, **kwargs: Any) -> Self:
        """Draw the images.

        Parameters
        ----------
        ax : sequence of matplotlib Axes, default=None
            Axes to draw on, one for the sum and one for each kernel; a new figure by
            default.
        **kwargs : dict
            Style of the images, such as ``cmap`` or ``vmin``; see matplotlib's
            `Axes.imshow`.

        Returns
        -------
        KernelMatrixDisplay
            This display.

        Raises
        ------
        ValueError
            If there are fewer or more Axes than images.
        """
        images, titles = self._images_and_titles()
        if ax is None:
            axes = new_axes(len(images))
        else:
            axes = several_axes(ax, len(images), f"for {titles}")
        self.axes_, self.figure_ = axes, axes[0].figure
        low, high = _color_limits(self.kernels)
        # diverging colors need limits that are symmetric about 0
        has_sign = low < 0
        style: dict[str, Any] = {"cmap": "RdBu_r" if has_sign else "viridis"}
        if not callable(kwargs.get("norm")):  # a Normalize has limits of its own
            style |= {"vmin": low, "vmax": high}
        style |= kwargs
        self.images_ = [
            panel.imshow(image, **style)
            for panel, image in zip(axes, images, strict=True)
        ]
        self.lines_ = []
        clusters, starts = np.unique(self.labels, return_index=True)
        edges = np.append(starts, len(self.labels)) - 0.5
        for place, (panel, title) in enumerate(zip(axes, titles, strict=True)):
            panel.set_title(drawable(title), fontsize="medium")
            panel.set(xticks=[], yticks=[])
            self.lines_.append(_plot_lines(panel, edges, "0.2" if has_sign else "w"))
            if place % MAPS_PER_ROW == 0:
                _label_clusters(panel, clusters, edges)
                panel.set_ylabel(drawable(self.axis_title))
        count = f"{len(self.labels)}"
        if self.n_samples not in (None, len(self.labels)):
            count += f" of {self.n_samples}"
        axes[0].set_ylabel(f"{drawable(self.axis_title)} ({count} samples)")
        self.colorbar_ = self.figure_.colorbar(
            self.images_[0], ax=list(axes), label="kernel value", extend="both"
        )
        return self

    def _images_and_titles(self) -> tuple[list[np.ndarray], list[str]]:
        titles = list(self.names)
        weights = np.full(len(titles), 1 / len(titles))
        if self.weights is not None:
            weights = self.weights
            titles = [f"{n} ({w:.3f})" for n, w in zip(titles, weights, strict=True)]
        images = list(self.kernels)
        if len(images) == 1:
            return images, titles
        total = sum(w * K for w, K in zip(weights, images, strict=True))
        name = "mean" if self.weights is None else "weighted sum"
        return [total, *images], [name, *titles]


def _kernel_input(
    kernels: ModalityKernels, X: ModalitiesLike, estimator: BaseEstimator
) -> Modalities:
    """Return X as Modalities; an array of three dimensions holds Gram matrices."""
    if isinstance(X, np.ndarray) and X.ndim == 3:
        names = kernels.kernel_names_.tolist()
        return Modalities([X[:, :, p] for p in range(X.shape[2])], names=names)
    return modalities_of_fit(estimator, X)


def _gram_matrices(
    kernels: ModalityKernels, frame: Modalities, drawn: np.ndarray
) -> list[np.ndarray]:
    """Compute Gram matrices of samples of `fit`, or by features of any samples."""
    blocks = [np.asarray(block) for block in kernels.transform(frame[drawn]).blocks]
    if kernels.approximation_ is not None:
        return [features @ features.T for features in blocks]
    remedy = (
        "give the samples of fit in their order: exact kernels compare samples with "
        "those only"
    )
    n_train = blocks[0].shape[1]
    if n_train != len(frame):
        raise ValueError(
            f"X has {len(frame)} samples, but the kernels were fitted to {n_train}; "
            f"{remedy}"
        )
    matrices = [block[:, drawn] for block in blocks]
    for K, name in zip(matrices, kernels.kernel_names_, strict=True):
        # symmetric up to the rounding of float32, unless rows are other samples
        if not np.allclose(K, K.T, rtol=0, atol=1e-3 * np.abs(K).max()):
            raise ValueError(
                f"X has other samples than fit: kernel {name!r} is not symmetric; "
                f"{remedy}"
            )
    return matrices


def _named_matrices(
    kernels: ModalitiesLike, names: Sequence[str] | None
) -> tuple[list[np.ndarray], list[str]]:
    """Return Gram matrices in any form as a list, with their names."""
    if isinstance(kernels, Modalities):
        kernels = kernels.to_dict()
    if isinstance(kernels, np.ndarray):
        kernels = list(np.moveaxis(np.atleast_3d(kernels), 2, 0))
    if isinstance(kernels, Mapping) and not sparse.issparse(kernels):
        own, matrices = list(kernels), list(kernels.values())
    elif isinstance(kernels, list | tuple):
        own, matrices = None, list(kernels)
    else:
        raise TypeError(
            f"kernels is a {type(kernels).__name__}; give an array of shape "
            "(n_samples, n_samples), or several in a list or dict"
        )
    if not matrices:
        raise ValueError("kernels is empty: there is nothing to draw")
    if names is None:
        names = own or [f"kernel_{p}" for p in range(len(matrices))]
    names = as_names(names, "names")
    if len(names) != len(matrices):
        raise ValueError(f"names has {len(names)} names for {len(matrices)} kernels")
    matrices = [
        as_real_array(K, f"kernel {name!r}")
        for K, name in zip(matrices, names, strict=True)
    ]
    for K, name in zip(matrices, names, strict=True):
        if K.ndim != 2:
            raise ValueError(
                f"kernel {name!r} has shape {K.shape}; it should be square"
            )
    return matrices, names


def _check_order_labels(labels: ArrayLike, n_samples: int) -> np.ndarray:
    labels = validate_labels(labels, "labels")
    if labels.shape != (n_samples,):
        raise ValueError(
            f"labels has shape {labels.shape}; for {n_samples} samples ({n_samples},) "
            "is expected"
        )
    if n_samples < 2:
        raise ValueError(f"there are {n_samples} samples; at least 2 are needed")
    return labels


def _check_kernel_weights(
    given: ArrayLike | None, names: Sequence[str]
) -> np.ndarray | None:
    if given is None:
        return None
    weights = as_real_array(given, "weights")
    if not np.isfinite(weights).all():
        raise ValueError(f"weights are {weights.tolist()}; they must be finite")
    if weights.shape != (len(names),):
        raise ValueError(
            f"weights has shape {weights.shape}; give one weight for each of the "
            f"{len(names)} kernels {list(names)}"
        )
    return weights


def _choose_samples(labels: np.ndarray, max_samples: int | None) -> np.ndarray:
    """Choose samples by cluster, in proportion to its size and at least one."""
    check_sample_count(max_samples, "max_samples")
    # stable, so that samples of a cluster are drawn in their order
    order = np.argsort(labels, kind="stable")
    if max_samples is None or len(labels) <= max_samples:
        return order
    starts, sizes = np.unique(labels[order], return_index=True, return_counts=True)[1:]
    if len(sizes) > max_samples:
        raise ValueError(
            f"max_samples={max_samples} is less than one sample for each of the "
            f"{len(sizes)} clusters"
        )
    # one for each cluster, the others in proportion to its further samples
    spare = max_samples - len(sizes)
    shares = 1 + (sizes - 1) * spare // (len(labels) - len(sizes))
    return np.concatenate(
        [
            order[start + np.arange(share) * size // share]
            for start, size, share in zip(starts, sizes, shares, strict=True)
        ]
    )


def _color_limits(kernels: Sequence[np.ndarray]) -> tuple[float, float]:
    """Compute percentiles off the diagonal; symmetric if values are negative."""
    # the diagonal has squared norms, which are far above the values of pairs
    pairs = ~np.eye(len(kernels[0]), dtype=bool)
    values = np.concatenate([kernel[pairs] for kernel in kernels])
    low, high = np.percentile(values, [CLIPPED_PERCENT, 100 - CLIPPED_PERCENT]).tolist()
    if low >= 0:
        return low, high
    extreme = float(np.percentile(np.abs(values), 100 - CLIPPED_PERCENT))
    return -extreme, extreme


def _plot_lines(ax: Axes, edges: np.ndarray, color: str) -> tuple[Any, Any]:
    style: dict[str, Any] = {"colors": color, "linewidths": 0.7}
    between, first, last = edges[1:-1], edges[0], edges[-1]
    # edges are between pixels, whose centres are integers
    lines = (
        ax.hlines(between, first, last, **style),
        ax.vlines(between, first, last, **style),
    )
    ax.set(xlim=(first, last), ylim=(last, first))
    return lines


def _label_clusters(ax: Axes, clusters: np.ndarray, edges: np.ndarray) -> None:
    named = np.diff(edges) >= LEAST_NAMED_SHARE * (edges[-1] - edges[0])
    middles = (edges[1:] + edges[:-1]) / 2
    ax.set_yticks(middles[named], [drawable(str(c)) for c in clusters[named]])
    ax.tick_params(axis="y", length=0, labelsize="small")
