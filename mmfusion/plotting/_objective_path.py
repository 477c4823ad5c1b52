"""Display of the objective of kernel weights after each step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import numpy as np

from mmfusion._drawing import check_axes
from mmfusion._extras import import_extra
from mmfusion._text import drawable
from mmfusion.plotting._estimators import KERNEL_LEARNERS, check_displayable
from mmfusion.plotting._inputs import as_real_array, check_string
from mmfusion.plotting._style import merge_style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D
    from numpy.typing import ArrayLike
    from sklearn.base import BaseEstimator


class ObjectivePathDisplay:
    """Line of the objective after each step of an algorithm for kernel weights.

    It is recommended to use :meth:`from_estimator` or :meth:`from_predictions`. All
    parameters are stored as attributes.

    Parameters
    ----------
    path : ndarray of shape (n_steps,)
        The objective after each step.
    name : str, default=None
        Name of the path in the legend; None draws no legend.

    Attributes
    ----------
    line_ : matplotlib Line2D
        Line of the path.
    ax_ : matplotlib Axes
        Axes with the path.
    figure_ : matplotlib Figure
        Figure of the axes.

    See Also
    --------
    KernelWeightsDisplay : The weights of the kernels.
    KernelMatrixDisplay : The Gram matrices.

    Notes
    -----
    Draw several paths on the same `ax` to compare them. Only paths of the same
    objective are comparable: those of one algorithm with different initial values, sets
    of kernels or `max_iter`, not those of two algorithms. The objective of
    'late_fusion' increases, those of others decrease.

    Examples
    --------
    >>> import matplotlib
    >>> matplotlib.use("agg")
    >>> from mmfusion.datasets import make_multimodal_blobs
    >>> from mmfusion.mkl import MKLClusterer
    >>> from mmfusion.plotting import ObjectivePathDisplay
    >>> X, y = make_multimodal_blobs(random_state=0)
    >>> clusterer = MKLClusterer(3, algorithm="simple_mkkm", random_state=0).fit(X)
    >>> display = ObjectivePathDisplay.from_estimator(clusterer)
    >>> len(display.path) == clusterer.n_iter_
    True
    """

    def __init__(self, *, path: np.ndarray, name: str | None = None) -> None:
        self.path = path
        self.name = name

    @classmethod
    def from_estimator(
        cls,
        estimator: BaseEstimator,
        *,
        name: str | None = None,
        ax: Axes | None = None,
        **kwargs: Any,
    ) -> Self:
        """Draw the objective of a fitted estimator.

        Parameters
        ----------
        estimator : MKLClusterer, MKLClassifier or MKLRegressor
            Fitted estimator, whose algorithm is iterative.
        name : str, default=None
            Name of the path in the legend; the algorithm by default.
        ax : matplotlib Axes, default=None
            Axes to draw on; a new figure by default.
        **kwargs : dict
            Style of the line; see matplotlib's `Axes.plot`.

        Returns
        -------
        ObjectivePathDisplay
            The drawn display.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        TypeError
            If it has no objective.
        ValueError
            If there were less than two steps.
        """
        check_displayable(estimator, "objective_path_", such_as=KERNEL_LEARNERS)
        if name is not None:
            check_string(name, "name")
        path, algorithm = estimator.objective_path_, estimator.algorithm
        if len(path) < 2:
            raise ValueError(
                f"{type(estimator).__name__} with algorithm={algorithm!r} has no path: "
                f"its objective has n_steps={len(path)}. Algorithms that take several "
                "steps, unless the first weights are the best, are 'late_fusion', "
                "'mkkm', 'mkkm_mr' and 'simple_mkkm' of MKLClusterer, 'l1' and 'lp' of "
                "MKLClassifier and MKLRegressor"
            )
        return cls.from_predictions(path, name=name or algorithm, ax=ax, **kwargs)

    @classmethod
    def from_predictions(
        cls,
        path: ArrayLike,
        *,
        name: str | None = None,
        ax: Axes | None = None,
        **kwargs: Any,
    ) -> Self:
        """Draw the path of an objective.

        Parameters
        ----------
        path : array-like of shape (n_steps,)
            The objective after each step.
        name : str, default=None
            Name of the path in the legend; None draws no legend.
        ax : matplotlib Axes, default=None
            Axes to draw on; a new figure by default.
        **kwargs : dict
            Style of the line; see matplotlib's `Axes.plot`.

        Returns
        -------
        ObjectivePathDisplay
            The drawn display.

        Raises
        ------
        ValueError
            If there are less than two steps.
        """
        objective = as_real_array(path, "path")
        if name is not None:
            check_string(name, "name")
        if objective.ndim != 1 or len(objective) < 2:
            raise ValueError(
                f"path has shape {objective.shape}; expected (n_steps,) with at least "
                "2 steps"
            )
        return cls(path=objective, name=name).plot(ax, **kwargs)

    def plot(self, ax: Axes | None = None, **kwargs: Any) -> Self:
        """Draw the line.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on, such as those of another path; a new figure by default.
        **kwargs : dict
            Style of the line; see matplotlib's `Axes.plot`.

        Returns
        -------
        ObjectivePathDisplay
            This display.
        """
        if ax is None:
            pyplot = import_extra("matplotlib.pyplot")
            _, ax = pyplot.subplots(layout="constrained")
        check_axes(ax)
        self.ax_, self.figure_ = ax, ax.figure
        steps = np.arange(1, len(self.path) + 1)
        name = None if self.name is None else drawable(self.name)
        line = import_extra("matplotlib.lines").Line2D
        style = merge_style({"marker": ".", "label": name}, kwargs, line)
        self.line_: Line2D
        (self.line_,) = ax.plot(steps, self.path, **style)
        ax.set(xlabel="step", ylabel="objective")
        locator: Any = ax.xaxis.get_major_locator()
        locator.set_params(integer=True)
        # late steps change the last digits: an offset would hide the value
        ax.ticklabel_format(axis="y", useOffset=False)
        if style["label"] is not None:
            ax.legend(fontsize="small")
        return self
