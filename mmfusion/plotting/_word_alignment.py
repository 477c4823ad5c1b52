"""Display of the links of the tokens of a sample."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from mmfusion._options import errors_about
from mmfusion._text import drawable
from mmfusion.alignment._token_input import with_token_arrays
from mmfusion.metrics._links import as_links
from mmfusion.plotting._estimators import (
    check_displayable,
    modalities_of_fit,
    one_sample,
)
from mmfusion.plotting._inputs import as_names, as_real_array
from mmfusion.plotting._matrices import plot_matrix

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.collections import PathCollection
    from matplotlib.image import AxesImage
    from numpy.typing import ArrayLike
    from sklearn.base import BaseEstimator

    from mmfusion._typing import ModalitiesLike


class WordAlignmentDisplay:
    """Plot of the posteriors of the links of two sequences of tokens, with the links.

    It is recommended to use :meth:`from_estimator` or :meth:`from_predictions`. All
    parameters are stored as attributes.

    Parameters
    ----------
    posteriors : ndarray of shape (n_source, n_target)
        Posterior of each link.
    links : ndarray of int of shape (n_links, 2)
        Source and target positions of the links.
    source, target : list of str
        The tokens.
    known : ndarray of int of shape (n_known, 3), default=None
        Known links: source and target position, and 1 for sure ones, 0 for possible
        ones.

    Attributes
    ----------
    image_ : matplotlib AxesImage
        The posteriors.
    links_ : matplotlib PathCollection
        The links, as dots.
    known_ : matplotlib PathCollection or None
        The known links, as squares, those of sure ones with a thicker edge.
    ax_ : matplotlib Axes
        Axes with the plot.
    figure_ : matplotlib Figure
        Figure of the Axes.

    See Also
    --------
    mmfusion.alignment.WordAligner : Finds the links.

    Examples
    --------
    >>> import matplotlib
    >>> matplotlib.use("agg")
    >>> from mmfusion.plotting import WordAlignmentDisplay
    >>> display = WordAlignmentDisplay.from_predictions(
    ...     [[0.1, 0.9], [0.7, 0.1]],
    ...     [[0, 1], [1, 0]],
    ...     source=["das", "haus"],
    ...     target=["house", "the"],
    ... )
    >>> [text.get_text() for text in display.ax_.get_xticklabels()]
    ['house', 'the']
    """

    def __init__(
        self,
        *,
        posteriors: np.ndarray,
        links: np.ndarray,
        source: list[str],
        target: list[str],
        known: np.ndarray | None = None,
    ) -> None:
        self.posteriors = posteriors
        self.links = links
        self.source = source
        self.target = target
        self.known = known

    @classmethod
    def from_estimator(
        cls,
        estimator: BaseEstimator,
        X: ModalitiesLike,
        y: ArrayLike | None = None,
        *,
        sample: int = 0,
        ax: Axes | None = None,
        **kwargs: Any,
    ) -> Self:
        """Draw the links that a fitted aligner finds in a sample.

        Parameters
        ----------
        estimator : WordAligner
            Fitted aligner.
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The samples, those of `fit` or others.
        y : array-like of object of shape (n_samples,), default=None
            Known links of the samples, as for
            :func:`~mmfusion.metrics.alignment_error_rate`.
        sample : int, default=0
            Position of the sample that is drawn.
        ax : matplotlib Axes, default=None
            Axes to draw on; a new figure by default.
        **kwargs : dict
            Style of the image; see matplotlib's `Axes.imshow`.

        Returns
        -------
        WordAlignmentDisplay
            The drawn display.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        TypeError
            If it does not align tokens.
        ValueError
            If there is no such sample, or it has no tokens in one of the modalities.
        """
        check_displayable(estimator, "link_posteriors", such_as="WordAligner")
        frame = modalities_of_fit(estimator, with_token_arrays(X))
        row = one_sample(frame, sample)
        posteriors, links = estimator.link_posteriors(row)[0], estimator.align(row)[0]
        if posteriors.size == 0:
            raise ValueError(
                f"sample {sample} has no tokens in one of the modalities; give another "
                "one"
            )
        source, target = (np.ravel(row[name][0]) for name in row.names)
        with errors_about("y"):
            return cls.from_predictions(
                posteriors,
                links,
                source=list(map(str, source)),
                target=list(map(str, target)),
                known=None if y is None else _of_sample(y, sample),
                ax=ax,
                **kwargs,
            )

    @classmethod
    def from_predictions(
        cls,
        posteriors: ArrayLike,
        links: ArrayLike,
        *,
        source: Sequence[str],
        target: Sequence[str],
        known: ArrayLike | None = None,
        ax: Axes | None = None,
        **kwargs: Any,
    ) -> Self:
        """Draw posteriors and links.

        Parameters
        ----------
        posteriors : array-like of shape (n_source, n_target)
            Posterior of each link.
        links : array-like of int of shape (n_links, 2)
            Source and target positions of the links.
        source, target : sequence of str
            The tokens.
        known : array-like of int of shape (n_known, 2) or (n_known, 3), default=None
            Known links: source and target position, and 1 for sure ones, 0 for possible
            ones; sure without the third column.
        ax : matplotlib Axes, default=None
            Axes to draw on; a new figure by default.
        **kwargs : dict
            Style of the image; see matplotlib's `Axes.imshow`.

        Returns
        -------
        WordAlignmentDisplay
            The drawn display.

        Raises
        ------
        ValueError
            If the posteriors have not a row for each source token and a column for each
            target token, or a link refers to another one.
        """
        matrix = as_real_array(posteriors, "posteriors")
        words = as_names(source, "source"), as_names(target, "target")
        shape = len(words[0]), len(words[1])
        if matrix.shape != shape or 0 in shape:
            raise ValueError(
                f"posteriors have shape {matrix.shape}; {shape[0]} source and "
                f"{shape[1]} target tokens need a row and a column each"
            )
        marked = None if known is None else _as_marks(known, "known", shape)
        return cls(
            posteriors=matrix,
            links=_as_marks(links, "links", shape)[:, :2],
            source=words[0],
            target=words[1],
            known=marked,
        ).plot(ax, **kwargs)

    def plot(self, ax: Axes | None = None, **kwargs: Any) -> Self:
        """Draw the posteriors and the links.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on; a new figure by default.
        **kwargs : dict
            Style of the image; see matplotlib's `Axes.imshow`.

        Returns
        -------
        WordAlignmentDisplay
            This display.
        """
        image: AxesImage
        # values would be covered by the links: the colours have to do
        ax, image, texts, _ = plot_matrix(
            ax,
            self.posteriors,
            rows=list(map(drawable, self.source)),
            columns=list(map(drawable, self.target)),
            label="posterior",
            style={"cmap": "Blues", "vmin": 0, "vmax": 1, **kwargs},
        )
        for text in texts:
            text.remove()
        self.image_, self.ax_, self.figure_ = image, ax, ax.figure
        self.links_: PathCollection = ax.scatter(
            self.links[:, 1], self.links[:, 0], s=36, color="C1", label="link", zorder=3
        )
        self.known_: PathCollection | None = None
        if self.known is not None:
            self.known_ = ax.scatter(
                self.known[:, 1],
                self.known[:, 0],
                s=130,
                marker="s",
                facecolors="none",
                edgecolors="C6",  # visible on light and on dark cells
                linewidths=[2.2 if sure else 0.9 for sure in self.known[:, 2]],
                label="known (thin: possible)",
            )
        ax.legend(
            fontsize="small", ncols=2, loc="lower center", bbox_to_anchor=(0.5, 1)
        )
        return self


def _of_sample(y: Any, sample: int) -> Any:
    """Return the known links of a sample."""
    is_list = isinstance(y, Sequence | np.ndarray) and not isinstance(y, str | bytes)
    if not is_list or getattr(y, "shape", None) == () or len(y) <= sample:
        raise TypeError(
            f"y is of type {type(y).__name__}; give a list with an array of links for "
            "each sample"
        )
    return y[sample]


def _as_marks(links: ArrayLike, name: str, shape: tuple[int, int]) -> np.ndarray:
    """Return links with a third column, 1 where it was not given."""
    if not isinstance(links, list | tuple | np.ndarray):
        raise TypeError(
            f"{name} is of type {type(links).__name__}; give an array of integers of "
            "shape (n_links, 2)"
        )
    marks = as_links(links, name, (2, 3))
    if marks.size == 0:
        return np.empty((0, 3), dtype=np.int64)
    if marks[:, :2].min() < 0 or (marks[:, :2].max(axis=0) >= shape).any():
        raise ValueError(
            f"{name} has positions beyond the {shape[0]} source and {shape[1]} target "
            "tokens, which count from 0"
        )
    return marks if marks.shape[1] == 3 else np.insert(marks, 2, 1, axis=1)
