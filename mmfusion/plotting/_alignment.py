"""Alignments: the path through the costs, and both sequences before and after."""

from __future__ import annotations

from typing import Any, Self

import numpy as np

from mmfusion._constancy import centered, is_constant
from mmfusion._extras import import_extra
from mmfusion._sequences import as_sequence
from mmfusion._text import drawable
from mmfusion.alignment import dtw_path
from mmfusion.alignment.dtw._costs import cost_matrix, make_costs
from mmfusion.plotting._inputs import numbers, several_axes, words

MOST_PIXELS = 800  # of the image of costs, in each direction
N_LINKS = 60
N_AXES = 3


class AlignmentDisplay:
    """An alignment of two sequences: path, links between them, and the result.

    It is recommended to use :meth:`from_sequences` or :meth:`from_path`. All
    parameters are stored as attributes.

    Parameters
    ----------
    x : ndarray of shape (n, d)
        First sequence.
    y : ndarray of shape (m, e)
        Second sequence.
    path : ndarray of int of shape (length, 2)
        Frames of both that are aligned.
    costs : ndarray or None, default=None
        Local costs, perhaps of every few frames only; None draws the path alone.
    names : sequence of two str, default=('x', 'y')
        What the sequences are called.

    Attributes
    ----------
    image_ : matplotlib AxesImage or None
        The costs.
    path_line_ : matplotlib Line2D
        The path.
    links_ : matplotlib LineCollection
        Lines between aligned frames; of a long path, only some.
    axes_ : ndarray of matplotlib Axes
        Axes with the path, with the links, and with the aligned sequences.
    figure_ : matplotlib Figure
        Figure of the axes.

    See Also
    --------
    mmfusion.alignment.dtw_path : Finds the path.

    Notes
    -----
    Of a sequence with several features, the one that varies most is drawn, in standard
    deviations.

    Examples
    --------
    >>> import matplotlib
    >>> matplotlib.use("agg")
    >>> import numpy as np
    >>> from mmfusion.plotting import AlignmentDisplay
    >>> t = np.linspace(0, 1, 50)
    >>> x, y = np.sin(9 * t), np.sin(9 * t**2)
    >>> display = AlignmentDisplay.from_sequences(x, y, names=("even", "late"))
    >>> display.costs.shape
    (50, 50)
    """

    def __init__(
        self,
        *,
        x: np.ndarray,
        y: np.ndarray,
        path: np.ndarray,
        costs: np.ndarray | None = None,
        names: tuple[str, str] = ("x", "y"),
    ) -> None:
        self.x = x
        self.y = y
        self.path = path
        self.costs = costs
        self.names = names

    @classmethod
    def from_sequences(
        cls,
        x: Any,
        y: Any,
        *,
        names: tuple[str, str] = ("x", "y"),
        ax: Any = None,
        metric: Any = "sqeuclidean",
        **options: Any,
    ) -> Self:
        """Align two sequences by dynamic time warping, and draw that.

        Parameters
        ----------
        x : array-like of shape (n, d) or (n,)
            First sequence.
        y : array-like of shape (m, d) or (m,)
            Second sequence.
        names : sequence of two str, default=('x', 'y')
            What they are called.
        ax : sequence of three matplotlib Axes, default=None
            Where to draw; a new figure by default.
        metric : str or callable, default='sqeuclidean'
            Local cost, as `dtw_path` takes it; not 'precomputed'.
        **options : dict
            Constraints, as `dtw_path` takes them.

        Returns
        -------
        AlignmentDisplay
            The drawn display.

        Raises
        ------
        ValueError
            As `dtw_path` does.
        """
        names = _two_names(names)
        x, y = as_sequence(x, "x"), as_sequence(y, "y")
        path = dtw_path(x, y, metric=metric, **options).path
        fewer = [z[:: 1 + (len(z) - 1) // MOST_PIXELS] for z in (x, y)]
        costs = cost_matrix(make_costs(fewer[0], fewer[1], metric))
        return cls(x=x, y=y, path=path, costs=costs, names=names).plot(ax)

    @classmethod
    def from_path(
        cls,
        x: Any,
        y: Any,
        path: Any,
        *,
        names: tuple[str, str] = ("x", "y"),
        ax: Any = None,
    ) -> Self:
        """Draw an alignment that is known.

        Parameters
        ----------
        x : array-like of shape (n, d) or (n,)
            First sequence.
        y : array-like of shape (m, e) or (m,)
            Second sequence; its features may be others.
        path : array-like of int of shape (length, 2)
            Frames of both that are aligned, such as an aligner's ``paths_`` hold.
        names : sequence of two str, default=('x', 'y')
            What they are called.
        ax : sequence of three matplotlib Axes, default=None
            Where to draw; a new figure by default.

        Returns
        -------
        AlignmentDisplay
            The drawn display.

        Raises
        ------
        ValueError
            If the path visits frames that are not there.
        """
        names = _two_names(names)
        x, y = as_sequence(x, "x"), as_sequence(y, "y")
        path = numbers(path, "path")
        if not np.array_equal(path, np.rint(path)):
            raise ValueError("path holds other values than the positions of frames")
        path = path.astype(int)
        if path.ndim != 2 or path.shape[1] != 2 or not len(path):
            raise ValueError(f"path has shape {path.shape}; expected (length, 2)")
        if (path < 0).any() or (path.max(axis=0) >= [len(x), len(y)]).any():
            raise ValueError(
                f"path goes to frames {path.max(axis=0).tolist()} of sequences with "
                f"{len(x)} and {len(y)} frames"
            )
        return cls(x=x, y=y, path=path, names=names).plot(ax)

    def plot(self, ax: Any = None) -> Self:
        """Draw.

        Parameters
        ----------
        ax : sequence of three matplotlib Axes, default=None
            Where to draw; a new figure by default.

        Returns
        -------
        AlignmentDisplay
            This display.

        Raises
        ------
        ValueError
            If there are not three Axes.
        """
        if ax is None:
            _, ax = import_extra("matplotlib.pyplot").subplots(
                1, N_AXES, figsize=(11, 3.4), layout="constrained"
            )
        axes = several_axes(
            ax, N_AXES, "for the path, the links, and the aligned sequences"
        )
        self.axes_, self.figure_ = axes, axes[0].figure
        curves = [_curve(z) for z in (self.x, self.y)]
        self._plot_path(axes[0])
        self._plot_links(axes[1], curves)
        aligned = [c[self.path[:, k]] for k, c in enumerate(curves)]
        for curve, name in zip(aligned, self.names, strict=True):
            axes[2].plot(curve, label=drawable(name))
        axes[2].set(xlabel="position on the path", title="aligned", yticks=[])
        axes[2].legend(fontsize="small")
        return self

    def _plot_path(self, ax: Any) -> None:
        self.image_ = None
        ends = len(self.x) - 0.5, len(self.y) - 0.5
        if self.costs is not None:
            self.image_ = ax.imshow(
                self.costs,
                origin="lower",
                aspect="auto",
                cmap="Greys",
                extent=(-0.5, ends[1], -0.5, ends[0]),
            )
        (self.path_line_,) = ax.plot(self.path[:, 1], self.path[:, 0], color="C3")
        ax.set(
            xlim=(-0.5, ends[1]),
            ylim=(-0.5, ends[0]),
            xlabel=f"frame of {drawable(self.names[1])}",
            ylabel=f"frame of {drawable(self.names[0])}",
            title="path" if self.costs is None else "path through the costs",
        )

    def _plot_links(self, ax: Any, curves: list[np.ndarray]) -> None:
        lines = import_extra("matplotlib.collections").LineCollection
        # one above the other
        low, high = curves[0] + max(np.ptp(c) for c in curves) + 1, curves[1]
        some = self.path[np.linspace(0, len(self.path) - 1, N_LINKS).astype(int)]
        segments = [[(i, low[i]), (j, high[j])] for i, j in some.tolist()]
        self.links_ = ax.add_collection(
            lines(segments, colors="0.7", linewidths=0.7, zorder=0)
        )
        for curve, name in zip((low, high), self.names, strict=True):
            ax.plot(curve, label=drawable(name))
        ax.set(xlabel="frame", title="as recorded", yticks=[])
        ax.legend(fontsize="small")


def _two_names(names: Any) -> tuple[str, str]:
    read = words(names, "names")
    if len(read) != 2:
        raise ValueError(f"names are {read}; give two, one for each sequence")
    return read[0], read[1]


def _curve(sequence: np.ndarray) -> np.ndarray:
    """The feature that varies most, in standard deviations about its mean."""
    deviations, _ = centered(sequence)
    reach = np.abs(deviations).max(axis=0)
    shares = deviations / np.where(reach > 0, reach, 1.0)  # whose squares are finite
    spread = reach * np.sqrt((shares**2).mean(axis=0))
    feature = int(spread.argmax())
    if is_constant(spread[feature], np.abs(sequence).max(), sequence.dtype):
        return np.zeros(len(sequence))
    return deviations[:, feature] / spread[feature]
