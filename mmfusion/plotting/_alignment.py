"""Display of an alignment: its path through the costs, and both sequences."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import numpy as np

from mmfusion._drawing import several_axes
from mmfusion._extras import import_extra
from mmfusion._scaling import centered, is_constant
from mmfusion._sequences import as_sequence
from mmfusion._text import drawable
from mmfusion.alignment import dtw_path
from mmfusion.alignment.dtw._costs import cost_matrix, make_costs
from mmfusion.plotting._estimators import (
    check_displayable,
    modalities_of_fit,
    one_sample,
)
from mmfusion.plotting._inputs import as_names, as_real_array
from mmfusion.plotting._style import merge_style

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from matplotlib.axes import Axes
    from numpy.typing import ArrayLike
    from sklearn.base import BaseEstimator

    from mmfusion._typing import ModalitiesLike

MAX_COST_PIXELS = 800  # of the image of costs, in each direction
N_DRAWN_LINKS = 60
N_ALIGNMENT_AXES = 3


class AlignmentDisplay:
    """Plots of an alignment of two sequences: path, links, and aligned sequences.

    It is recommended to use :meth:`from_estimator`, :meth:`from_predictions` or
    :meth:`from_sequences`. All parameters are stored as attributes.

    Parameters
    ----------
    x : ndarray of shape (n, d)
        First sequence.
    y : ndarray of shape (m, e)
        Second sequence.
    path : ndarray of int of shape (length, 2)
        Pairs of aligned frames.
    costs : ndarray or None, default=None
        Local costs, of long sequences those of a grid of frames; None draws the path
        alone.
    names : sequence of two str, default=('x', 'y')
        Names of the sequences.

    Attributes
    ----------
    image_ : matplotlib AxesImage or None
        Image of the costs.
    path_line_ : matplotlib Line2D
        Line of the path.
    links_ : matplotlib LineCollection
        Lines between aligned frames, of a long path between some of them.
    axes_ : ndarray of matplotlib Axes
        Axes with the path, with the links, and with the aligned sequences.
    figure_ : matplotlib Figure
        Figure of the axes.

    See Also
    --------
    mmfusion.alignment.dtw_path : Compute the path.
    mmfusion.alignment.DTWAligner : Align the modalities of many samples.

    Notes
    -----
    Of several features of a sequence, the one of largest variance is drawn, in
    standard deviations.

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
    def from_estimator(
        cls,
        estimator: BaseEstimator,
        X: ModalitiesLike,
        *,
        sample: int = 0,
        names: tuple[str, str] | None = None,
        ax: Sequence[Axes] | None = None,
        **kwargs: Any,
    ) -> Self:
        """Draw how a fitted aligner aligns two modalities of a sample.

        Frames of both that are aligned with one frame of the time axis of the sample
        are paired in order. With precomputed costs, use :meth:`from_predictions` with
        the paths of `align`.

        Parameters
        ----------
        estimator : aligner
            Fitted aligner, such as DTWAligner, CTWAligner or HMMAligner. One that has
            only weights is drawn by the heaviest frame of each frame of the axis.
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The samples, those of `fit` or others.
        sample : int, default=0
            Position of the sample that is drawn.
        names : sequence of two str, default=None
            Names of the two modalities; None is the first two sequences of the sample.
        ax : sequence of three matplotlib Axes, default=None
            Axes to draw on; a new figure by default.
        **kwargs : dict
            Style of the path; see matplotlib's `Axes.plot`.

        Returns
        -------
        AlignmentDisplay
            The drawn display.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        TypeError
            If it is no aligner.
        ValueError
            If there is no such sample, it lacks the modalities, or no frames of both
            are aligned.
        """
        check_displayable(estimator, "align", such_as="DTWAligner or HMMAligner")
        if names is not None:
            names = _two_names(names)
        frame = modalities_of_fit(estimator, X)
        row = one_sample(frame, sample)
        (aligned,) = estimator.align(row)
        chosen = names or tuple(aligned)[:2]
        lacking = [name for name in chosen if name not in aligned]
        if lacking or len(chosen) < 2:
            missing = [name for name in frame.names if name not in aligned]
            raise ValueError(
                f"sample {sample} has aligned sequences of the modalities "
                f"{list(aligned)}, but not of {missing}, and {names or 'two'} are to "
                "be drawn; give names= of two of them, or another sample"
            )
        first, second = chosen
        path = _joined_path(aligned[first].as_path(), aligned[second].as_path())
        if not len(path):
            raise ValueError(
                f"sample {sample} has no frames of {first!r} and {second!r} that are "
                "aligned with the same frame of its axis"
            )
        return cls.from_predictions(
            row[first][0], row[second][0], path, names=chosen, ax=ax, **kwargs
        )

    @classmethod
    def from_sequences(
        cls,
        x: ArrayLike,
        y: ArrayLike,
        *,
        names: tuple[str, str] = ("x", "y"),
        ax: Sequence[Axes] | None = None,
        metric: str | Callable[..., Any] = "sqeuclidean",
        **options: Any,
    ) -> Self:
        """Align two sequences by dynamic time warping, and draw the alignment.

        Parameters
        ----------
        x : array-like of shape (n, d) or (n,)
            First sequence.
        y : array-like of shape (m, d) or (m,)
            Second sequence.
        names : sequence of two str, default=('x', 'y')
            Names of the sequences.
        ax : sequence of three matplotlib Axes, default=None
            Axes to draw on; a new figure by default.
        metric : str or callable, default='sqeuclidean'
            Local cost; see `dtw_path`. It cannot be 'precomputed'.
        **options : dict
            Constraints of the path; see `dtw_path`.

        Returns
        -------
        AlignmentDisplay
            The drawn display.

        Raises
        ------
        ValueError
            If `dtw_path` refuses the sequences or the options.
        """
        names = _two_names(names)
        x, y = as_sequence(x, "x"), as_sequence(y, "y")
        path = dtw_path(x, y, metric=metric, **options).path
        # the costs of all pairs of long sequences would not fit into memory
        fewer = [z[:: 1 + (len(z) - 1) // MAX_COST_PIXELS] for z in (x, y)]
        costs = cost_matrix(make_costs(fewer[0], fewer[1], metric))
        return cls(x=x, y=y, path=path, costs=costs, names=names).plot(ax)

    @classmethod
    def from_predictions(
        cls,
        x: ArrayLike,
        y: ArrayLike,
        path: ArrayLike,
        *,
        names: tuple[str, str] = ("x", "y"),
        ax: Sequence[Axes] | None = None,
        **kwargs: Any,
    ) -> Self:
        """Draw an alignment by its path.

        Parameters
        ----------
        x : array-like of shape (n, d) or (n,)
            First sequence.
        y : array-like of shape (m, e) or (m,)
            Second sequence; its features may differ.
        path : array-like of int of shape (length, 2)
            Pairs of aligned frames, such as those in ``paths_`` of an aligner.
        names : sequence of two str, default=('x', 'y')
            Names of the sequences.
        ax : sequence of three matplotlib Axes, default=None
            Axes to draw on; a new figure by default.
        **kwargs : dict
            Style of the path; see matplotlib's `Axes.plot`.

        Returns
        -------
        AlignmentDisplay
            The drawn display.

        Raises
        ------
        ValueError
            If the path has frames beyond the ends of the sequences.
        """
        names = _two_names(names)
        x, y = as_sequence(x, "x"), as_sequence(y, "y")
        path = as_real_array(path, "path")
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
        return cls(x=x, y=y, path=path, names=names).plot(ax, **kwargs)

    def plot(self, ax: Sequence[Axes] | None = None, **kwargs: Any) -> Self:
        """Draw the path, the links, and the aligned sequences.

        Parameters
        ----------
        ax : sequence of three matplotlib Axes, default=None
            Axes to draw on; a new figure by default.
        **kwargs : dict
            Style of the path; see matplotlib's `Axes.plot`.

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
                1, N_ALIGNMENT_AXES, figsize=(11, 3.4), layout="constrained"
            )
        axes = several_axes(
            ax, N_ALIGNMENT_AXES, "for the path, the links, and the aligned sequences"
        )
        self.axes_, self.figure_ = axes, axes[0].figure
        curves = [_standardised_feature(z) for z in (self.x, self.y)]
        self._plot_path(axes[0], kwargs)
        self._plot_links(axes[1], curves)
        aligned = [c[self.path[:, k]] for k, c in enumerate(curves)]
        for curve, name in zip(aligned, self.names, strict=True):
            axes[2].plot(curve, label=drawable(name))
        axes[2].set(xlabel="position on the path", title="aligned", yticks=[])
        axes[2].legend(fontsize="small")
        return self

    def _plot_path(self, ax: Axes, style: dict[str, Any]) -> None:
        self.image_ = None
        # frames at the centres of pixels, also where an image skips frames
        ends = len(self.x) - 0.5, len(self.y) - 0.5
        if self.costs is not None:
            self.image_ = ax.imshow(
                self.costs,
                origin="lower",
                aspect="auto",
                cmap="Greys",
                extent=(-0.5, ends[1], -0.5, ends[0]),
            )
        line = import_extra("matplotlib.lines").Line2D
        own = merge_style({"color": "C3"}, style, line)
        (self.path_line_,) = ax.plot(self.path[:, 1], self.path[:, 0], **own)
        ax.set(
            xlim=(-0.5, ends[1]),
            ylim=(-0.5, ends[0]),
            xlabel=f"frame of {drawable(self.names[1])}",
            ylabel=f"frame of {drawable(self.names[0])}",
            title="path" if self.costs is None else "path through the costs",
        )

    def _plot_links(self, ax: Axes, curves: list[np.ndarray]) -> None:
        lines = import_extra("matplotlib.collections").LineCollection
        # shifted so that the curves do not overlap
        low, high = curves[0] + max(np.ptp(c) for c in curves) + 1, curves[1]
        some = self.path[np.linspace(0, len(self.path) - 1, N_DRAWN_LINKS).astype(int)]
        segments = [[(i, low[i]), (j, high[j])] for i, j in some.tolist()]
        self.links_ = ax.add_collection(
            lines(segments, colors="0.7", linewidths=0.7, zorder=0)
        )
        for curve, name in zip((low, high), self.names, strict=True):
            ax.plot(curve, label=drawable(name))
        ax.set(xlabel="frame", title="as recorded", yticks=[])
        ax.legend(fontsize="small")


def _two_names(names: Sequence[str]) -> tuple[str, str]:
    given = as_names(names, "names")
    if len(given) != 2:
        raise ValueError(f"names are {given}; give two, one for each sequence")
    return given[0], given[1]


def _joined_path(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Pair the frames of two paths that share a frame of the axis, in order.

    Of n and m frames, max(n, m) pairs are made, so that the path has no leaps and does
    not pair all with all.
    """
    pairs = [np.empty((0, 2), int)]
    for t in np.intersect1d(first[:, 0], second[:, 0]):
        # frames of the axis do not decrease along a path
        sides = [
            path[slice(*np.searchsorted(path[:, 0], [t, t + 1])), 1]
            for path in (first, second)
        ]
        shares = np.linspace(0, 1, max(map(len, sides)))
        ends = [np.rint(shares * (len(side) - 1)).astype(int) for side in sides]
        pairs.append(np.column_stack([s[e] for s, e in zip(sides, ends, strict=True)]))
    joined = np.concatenate(pairs)
    repeats = (np.diff(joined, axis=0) == 0).all(axis=1)
    return np.delete(joined, np.flatnonzero(repeats) + 1, axis=0)


def _standardised_feature(sequence: np.ndarray) -> np.ndarray:
    """Return the feature of largest variance, standardised."""
    deviations, _ = centered(sequence)
    reach = np.abs(deviations).max(axis=0)
    relative = deviations / np.where(reach > 0, reach, 1.0)  # squares do not overflow
    spread = reach * np.sqrt((relative**2).mean(axis=0))
    feature = int(spread.argmax())
    if is_constant(spread[feature], np.abs(sequence).max(), sequence.dtype):
        return np.zeros(len(sequence))
    return deviations[:, feature] / spread[feature]
