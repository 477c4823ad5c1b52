"""Kernel matrices whose samples are ordered by cluster."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
from scipy import sparse
from sklearn.utils.validation import check_is_fitted

from mmfusion._options import errors_about
from mmfusion._text import drawable
from mmfusion.metrics._labels import validate_labels
from mmfusion.modalities import Modalities
from mmfusion.plotting._axes import MAPS_PER_ROW, new_axes
from mmfusion.plotting._estimators import samples_of
from mmfusion.plotting._inputs import check_count, numbers, several_axes, words

LEAST_NAMED = 1 / 20  # of the samples; names of smaller clusters would overlap
OUTLYING = 1.0  # per cent of the values, on either side


class KernelMatrixDisplay:
    """Kernels and their weighted sum as images, with samples ordered by cluster.

    It is recommended to use :meth:`from_estimator` or :meth:`from_kernels`. All
    parameters are stored as attributes.

    Parameters
    ----------
    kernels : sequence of ndarray of shape (n_drawn, n_drawn)
        The kernels of the samples that are drawn, in their order.
    labels : ndarray of shape (n_drawn,)
        Cluster of each of these samples; clusters follow each other.
    names : sequence of str of length n_kernels
        Names of the kernels.
    weights : ndarray of shape (n_kernels,), default=None
        Weights of the kernels in the sum; None draws their mean.
    samples : ndarray of int of shape (n_drawn,), default=None
        Positions that the samples had among those given.
    n_samples : int, default=None
        How many were given; None is as many as are drawn.
    axis_title : str, default='cluster'
        What the labels are.

    Attributes
    ----------
    images_ : list of matplotlib AxesImage
        The weighted sum, then the kernels; a lone kernel alone.
    lines_ : list of tuple of matplotlib LineCollection
        The horizontal and vertical lines between clusters in each image.
    colorbar_ : matplotlib Colorbar
        The colors, the same in all images.
    axes_ : ndarray of matplotlib Axes
        The Axes of each image.
    figure_ : matplotlib Figure
        Figure of the axes.

    See Also
    --------
    KernelWeightsDisplay : The weights of the kernels.
    ObjectivePathDisplay : How the weights were found.
    LatentMapDisplay : Maps of the latents of a network.

    Notes
    -----
    A kernel that tells the clusters apart has blocks on its diagonal. Colors are the
    same in all images, so that kernels can be compared. Their limits leave out the
    diagonal, and the outermost hundredth of values. Where values are negative, as those
    of centred kernels are, they are symmetric about 0.

    Clusters with less than a twentieth of the samples are not named.

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
        estimator: Any,
        X: Any,
        *,
        labels: Any = None,
        weights: Any = None,
        max_samples: int | None = 500,
        ax: Any = None,
        **kwargs: Any,
    ) -> Self:
        """Draw the kernels of a fitted estimator.

        For an MKLClassifier or MKLRegressor, fit `ModalityKernels` to the same samples
        and give it their ``kernel_weights_``.

        Parameters
        ----------
        estimator : MKLClusterer or ModalityKernels
            A fitted one.
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The samples of `fit`, in the same order. With explicit features, any.
        labels : array-like of shape (n_samples,), default=None
            What orders the samples, such as classes; their predicted clusters by
            default.
        weights : array-like of shape (n_kernels,), default=None
            Weights of the kernels in the sum; those of the MKLClusterer by default,
            and equal ones for ModalityKernels.
        max_samples : int, default=500
            Most samples that are drawn. Of more, every cluster keeps its share, at
            least one, evenly spread in the order of its samples; None is all.
        ax : sequence of matplotlib Axes, default=None
            Where to draw: one for the sum, and one per kernel; a new figure by
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
            If it makes no kernels.
        ValueError
            If `X` are not the samples of `fit`, lengths do not agree, or there are no
            labels for ModalityKernels.

        Notes
        -----
        Kernels are made of the samples that are drawn only. Those of an MKLClusterer
        with `neighborhood` are drawn whole.
        """
        check_is_fitted(estimator)
        kernels = getattr(estimator, "kernels_", estimator)
        if not (hasattr(kernels, "kernel_names_") and hasattr(kernels, "transform")):
            raise TypeError(
                f"{type(estimator).__name__} makes no kernels of samples; give a "
                "fitted MKLClusterer, or ModalityKernels with labels (and weights, "
                "such as kernel_weights_ of an MKLClassifier)"
            )
        frame = _samples_of(kernels, X, estimator)
        axis_title = "cluster" if labels is None else "label"
        if labels is None:
            if not hasattr(estimator, "predict"):
                raise ValueError(
                    f"{type(estimator).__name__} has no clusters; give labels, by "
                    "which the samples are ordered"
                )
            labels = estimator.predict(frame)
        labels = _checked_labels(labels, len(frame))
        if weights is None:
            weights = getattr(estimator, "kernel_weights_", None)
        drawn = _drawn(labels, max_samples)
        names = kernels.kernel_names_.tolist()
        return cls(
            kernels=_kernels_among(kernels, frame, drawn),
            labels=labels[drawn],
            names=names,
            weights=_checked_weights(weights, names),
            samples=drawn,
            n_samples=len(labels),
            axis_title=axis_title,
        ).plot(ax, **kwargs)

    @classmethod
    def from_kernels(
        cls,
        kernels: Any,
        labels: Any,
        *,
        names: Sequence[str] | None = None,
        weights: Any = None,
        max_samples: int | None = 500,
        ax: Any = None,
        **kwargs: Any,
    ) -> Self:
        """Draw kernels.

        Parameters
        ----------
        kernels : list, dict or Modalities of array-like of shape \
                (n_samples, n_samples), or ndarray
            The kernels, of all samples with each other. An ndarray is one, or of shape
            (n_samples, n_samples, n_kernels).
        labels : array-like of shape (n_samples,)
            Cluster or class of each sample, by which they are ordered.
        names : list of str of length n_kernels, default=None
            Names of the kernels; ``kernel_0`` and so on by default, or what a dict or
            Modalities call them.
        weights : array-like of shape (n_kernels,), default=None
            Weights of the kernels in the sum; None draws their mean.
        max_samples : int, default=500
            Most samples that are drawn. Of more, every cluster keeps its share, at
            least one, evenly spread in the order of its samples; None is all.
        ax : sequence of matplotlib Axes, default=None
            Where to draw: one for the sum, and one per kernel; a new figure by
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
            If a kernel is not square or not finite, or lengths do not agree.
        """
        with errors_about("kernels"):
            tables, names = _named_tables(kernels, names)
        labels = _checked_labels(labels, len(tables[0]))
        drawn = _drawn(labels, max_samples)
        among = np.ix_(drawn, drawn)
        for table, name in zip(tables, names, strict=True):
            if table.shape != (len(labels), len(labels)):
                square = (len(labels), len(labels))
                raise ValueError(
                    f"kernels: kernel {name!r} has shape {table.shape}; for "
                    f"{len(labels)} labels {square} is expected (of explicit features "
                    "Z it is Z @ Z.T)"
                )
            if not np.isfinite(table[among]).all():
                raise ValueError(
                    f"kernels: kernel {name!r} has values that are not finite"
                )
        return cls(
            kernels=[table[among] for table in tables],
            labels=labels[drawn],
            names=names,
            weights=_checked_weights(weights, names),
            samples=drawn,
            n_samples=len(labels),
        ).plot(ax, **kwargs)

    def plot(self, ax: Any = None, **kwargs: Any) -> Self:
        """Draw.

        Parameters
        ----------
        ax : sequence of matplotlib Axes, default=None
            Where to draw: one for the sum, and one per kernel; a new figure by
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
            If there are less or more Axes than images.
        """
        images, titles = self._images_and_titles()
        if ax is None:
            axes = new_axes(len(images))
        else:
            axes = several_axes(ax, len(images), f"for {titles}")
        self.axes_, self.figure_ = axes, axes[0].figure
        low, high = _color_limits(self.kernels)
        has_sign = low < 0
        style = {"cmap": "RdBu_r" if has_sign else "viridis", "vmin": low, "vmax": high}
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
                _name_clusters(panel, clusters, edges)
                panel.set_ylabel(drawable(self.axis_title))
        told = f"{len(self.labels)}"
        if self.n_samples not in (None, len(self.labels)):
            told += f" of {self.n_samples}"
        axes[0].set_ylabel(f"{drawable(self.axis_title)} ({told} samples)")
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


def _samples_of(kernels: Any, X: Any, estimator: Any) -> Modalities:
    """Take X in any form, kernels side by side among them."""
    if isinstance(X, np.ndarray) and X.ndim == 3:
        names = kernels.kernel_names_.tolist()
        return Modalities([X[:, :, p] for p in range(X.shape[2])], names=names)
    return samples_of(estimator, X)


def _kernels_among(
    kernels: Any, frame: Modalities, drawn: np.ndarray
) -> list[np.ndarray]:
    """Kernels of some samples of `fit` with each other, or of any by features."""
    tables = [np.asarray(table) for table in kernels.transform(frame[drawn]).blocks]
    if kernels.approximation_ is not None:
        return [table @ table.T for table in tables]
    remedy = (
        "give the samples of fit in their order: exact kernels compare samples with "
        "those only"
    )
    n_train = tables[0].shape[1]
    if n_train != len(frame):
        raise ValueError(
            f"X has {len(frame)} samples, but the kernels were fitted to {n_train}; "
            f"{remedy}"
        )
    among = [table[:, drawn] for table in tables]
    for table, name in zip(among, kernels.kernel_names_, strict=True):
        if not np.allclose(table, table.T, rtol=0, atol=1e-3 * np.abs(table).max()):
            raise ValueError(
                f"X has other samples than fit had, as {name!r} tells; {remedy}"
            )
    return among


def _named_tables(
    kernels: Any, names: Sequence[str] | None
) -> tuple[list[np.ndarray], list[str]]:
    if isinstance(kernels, Modalities):
        kernels = kernels.to_dict()
    if isinstance(kernels, np.ndarray):
        kernels = list(np.moveaxis(np.atleast_3d(kernels), 2, 0))
    if isinstance(kernels, Mapping) and not sparse.issparse(kernels):
        own, tables = list(kernels), list(kernels.values())
    elif isinstance(kernels, list | tuple):
        own, tables = None, list(kernels)
    else:
        raise TypeError(
            f"kernels is a {type(kernels).__name__}; give an array of shape "
            "(n_samples, n_samples), or several in a list or dict"
        )
    if not tables:
        raise ValueError("kernels is empty: there is nothing to draw")
    if names is None:
        names = own or [f"kernel_{p}" for p in range(len(tables))]
    names = words(names, "names")
    if len(names) != len(tables):
        raise ValueError(f"names has {len(names)} names for {len(tables)} kernels")
    tables = [
        numbers(table, f"kernel {name!r}")
        for table, name in zip(tables, names, strict=True)
    ]
    for table, name in zip(tables, names, strict=True):
        if table.ndim != 2:
            raise ValueError(
                f"kernel {name!r} has shape {table.shape}; it should be square"
            )
    return tables, names


def _checked_labels(labels: Any, n_samples: int) -> np.ndarray:
    labels = validate_labels(labels, "labels")
    if labels.shape != (n_samples,):
        raise ValueError(
            f"labels has shape {labels.shape}; for {n_samples} samples ({n_samples},) "
            "is expected"
        )
    if n_samples < 2:
        raise ValueError(f"there are {n_samples} samples; at least 2 are needed")
    return labels


def _checked_weights(weights: Any, names: Sequence[str]) -> np.ndarray | None:
    if weights is None:
        return None
    weights = numbers(weights, "weights")
    if not np.isfinite(weights).all():
        raise ValueError(f"weights are {weights.tolist()}; they must be finite")
    if weights.shape != (len(names),):
        raise ValueError(
            f"weights has shape {weights.shape}; give one weight for each of the "
            f"{len(names)} kernels {list(names)}"
        )
    return weights


def _drawn(labels: np.ndarray, max_samples: int | None) -> np.ndarray:
    """Samples to draw, cluster by cluster: of each its share, and at least one."""
    check_count(max_samples, "max_samples")
    order = np.argsort(labels, kind="stable")
    if max_samples is None or len(labels) <= max_samples:
        return order
    starts, sizes = np.unique(labels[order], return_index=True, return_counts=True)[1:]
    if len(sizes) > max_samples:
        raise ValueError(
            f"max_samples={max_samples} is less than one sample for each of the "
            f"{len(sizes)} clusters"
        )
    spare = max_samples - len(sizes)
    shares = 1 + (sizes - 1) * spare // (len(labels) - len(sizes))
    return np.concatenate(
        [
            order[start + np.arange(share) * size // share]
            for start, size, share in zip(starts, sizes, shares, strict=True)
        ]
    )


def _color_limits(kernels: Sequence[np.ndarray]) -> tuple[float, float]:
    """Limits that few values of pairs are beyond; symmetric if some are negative."""
    pairs = ~np.eye(len(kernels[0]), dtype=bool)
    values = np.concatenate([kernel[pairs] for kernel in kernels])
    low, high = np.percentile(values, [OUTLYING, 100 - OUTLYING]).tolist()
    if low >= 0:
        return low, high
    extreme = float(np.percentile(np.abs(values), 100 - OUTLYING))
    return -extreme, extreme


def _plot_lines(ax: Any, edges: np.ndarray, color: str) -> tuple[Any, Any]:
    style = {"colors": color, "linewidths": 0.7}
    between, first, last = edges[1:-1], edges[0], edges[-1]
    lines = (
        ax.hlines(between, first, last, **style),
        ax.vlines(between, first, last, **style),
    )
    ax.set(xlim=(first, last), ylim=(last, first))
    return lines


def _name_clusters(ax: Any, clusters: np.ndarray, edges: np.ndarray) -> None:
    named = np.diff(edges) >= LEAST_NAMED * (edges[-1] - edges[0])
    middles = (edges[1:] + edges[:-1]) / 2
    ax.set_yticks(middles[named], [drawable(str(c)) for c in clusters[named]])
    ax.tick_params(axis="y", length=0, labelsize="small")
