"""Display of the modalities that samples lack."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from mmfusion._drawing import check_axes
from mmfusion._extras import import_extra
from mmfusion._text import drawable
from mmfusion._validation import as_modalities
from mmfusion.plotting._estimators import refuse_no_samples
from mmfusion.plotting._matrices import CHARACTER

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from mmfusion._typing import ModalitiesLike

LEAST_COLUMN = 0.8  # inches
MAX_HORIZONTAL_NAMES = 6  # names of more modalities are turned
MAX_NAMED_PATTERNS = 16  # names of more would overlap
LEAST_LABELLED_SHARE = 0.03  # of the samples


class MissingModalitiesDisplay:
    """Picture of the modalities that samples have and lack.

    It is recommended to use :meth:`from_modalities`. All parameters are stored as
    attributes.

    Parameters
    ----------
    observed : ndarray of bool of shape (n_samples, n_modalities)
        Whether a sample has a modality.
    names : sequence of str of length n_modalities
        Names of the modalities.
    grouped : bool, default=True
        Whether samples that have the same modalities are drawn together, the largest
        group first, in place of the order of the samples.

    Attributes
    ----------
    image_ : matplotlib AxesImage
        Image with a row for each sample and a column for each modality.
    ax_ : matplotlib Axes
        Axes of the image.
    figure_ : matplotlib Figure
        Figure of the axes.

    See Also
    --------
    mmfusion.Modalities.describe : Describes the modalities in numbers.
    mmfusion.robustness.drop_modalities : Removes modalities of samples.

    Examples
    --------
    >>> import matplotlib
    >>> matplotlib.use("agg")
    >>> from mmfusion.datasets import make_multimodal_blobs
    >>> from mmfusion.plotting import MissingModalitiesDisplay
    >>> X, _ = make_multimodal_blobs(50, missing_rate=0.3, random_state=0)
    >>> display = MissingModalitiesDisplay.from_modalities(X)
    >>> display.observed.shape
    (50, 2)
    """

    def __init__(
        self, *, observed: np.ndarray, names: Sequence[str], grouped: bool = True
    ) -> None:
        self.observed = observed
        self.names = names
        self.grouped = grouped

    @classmethod
    def from_modalities(
        cls,
        X: ModalitiesLike,
        *,
        grouped: bool = True,
        ax: Axes | None = None,
        **kwargs: Any,
    ) -> Self:
        """Draw which modalities samples have.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The samples.
        grouped : bool, default=True
            Whether samples that have the same modalities are drawn together, the
            largest group first, in place of the order of the samples.
        ax : matplotlib Axes, default=None
            Axes to draw on; a new figure by default.
        **kwargs : dict
            Style of the image, such as ``cmap``; see matplotlib's `Axes.imshow`.

        Returns
        -------
        MissingModalitiesDisplay
            The drawn display.

        Raises
        ------
        TypeError
            If `grouped` is neither True nor False.
        ValueError
            If there is no sample.
        """
        if not isinstance(grouped, bool | np.bool_):
            raise TypeError(f"grouped is {grouped!r}; give True or False")
        frame = as_modalities(X)
        refuse_no_samples(frame)
        return cls(
            observed=frame.observed, names=list(frame.names), grouped=bool(grouped)
        ).plot(ax, **kwargs)

    def plot(self, ax: Axes | None = None, **kwargs: Any) -> Self:
        """Draw the picture.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on; a new figure by default.
        **kwargs : dict
            Style of the image, such as ``cmap``; see matplotlib's `Axes.imshow`.

        Returns
        -------
        MissingModalitiesDisplay
            This display.
        """
        n_samples, n_modalities = self.observed.shape
        drawn_names = list(map(drawable, self.names))
        many = n_modalities > MAX_HORIZONTAL_NAMES
        if ax is None:
            longest = 0 if many else max(map(len, drawn_names))
            width = max(LEAST_COLUMN, 1.2 * CHARACTER * longest)
            _, ax = import_extra("matplotlib.pyplot").subplots(
                figsize=(1.8 + width * min(n_modalities, 12), 4), layout="constrained"
            )
        check_axes(ax)
        assert ax is not None
        rows = self.observed
        if self.grouped:
            patterns, order, sizes = _group(self.observed)
            rows = self.observed[order]
        # no size of the image depends on the number of samples
        style = {"cmap": "Blues", "vmin": 0, "vmax": 1.4, "aspect": "auto"}
        self.image_ = ax.imshow(rows, **{"interpolation": "nearest", **style, **kwargs})
        self.ax_, self.figure_ = ax, ax.figure
        shares = self.observed.mean(axis=0)
        names = [
            f"{name}\n{_percent(share)}"
            for name, share in zip(drawn_names, shares, strict=True)
        ]
        ax.set_xticks(range(n_modalities), names, rotation=90 if many else 0)
        edges = np.arange(n_modalities - 1) + 0.5
        for edge in edges:
            ax.axvline(edge, color="white", linewidth=2)
        ax.tick_params(axis="x", length=0, labelsize="small")
        ax.set_title("observed modalities", fontsize="medium")
        ax.set_ylabel(f"{n_samples} samples")
        if self.grouped:
            self._label_groups(ax, patterns, sizes)
        return self

    def _label_groups(self, ax: Axes, patterns: np.ndarray, sizes: np.ndarray) -> None:
        """Label groups of samples with their sizes, and draw lines between them."""
        ends = np.cumsum(sizes)
        named = sizes >= LEAST_LABELLED_SHARE * ends[-1]
        named[MAX_NAMED_PATTERNS:] = False
        middles = ends - sizes / 2 - 0.5
        ax.set_yticks(middles[named], [str(size) for size in sizes[named]])
        ax.tick_params(axis="y", length=0, labelsize="small")
        for end in ends[:-1][:MAX_NAMED_PATTERNS]:
            ax.axhline(end - 0.5, color="0.3", linewidth=0.5)
        n_patterns = len(patterns)
        suffix = "" if n_patterns == 1 else "s"
        ax.set_ylabel(f"{ends[-1]} samples in {n_patterns} group{suffix}")


def _group(observed: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the patterns of a mask, the order of samples by them, and their sizes."""
    patterns, members, sizes = np.unique(
        observed, axis=0, return_inverse=True, return_counts=True
    )
    # of equal sizes, that with more modalities first
    by_size = np.lexsort((-patterns.sum(axis=1), -sizes))
    place = np.empty(len(sizes), dtype=int)
    place[by_size] = np.arange(len(sizes))
    order = np.argsort(place[members.ravel()], kind="stable")
    return patterns[by_size], order, sizes[by_size]


def _percent(share: float) -> str:
    """Return a share in percent; 100 % only if it is all."""
    percent = f"{100 * share:.0f}"
    if percent in ("0", "100") and 0 < share < 1:
        percent = f"{100 * share:.1f}"
    return f"{percent} %"
