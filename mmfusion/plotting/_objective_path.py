"""The objective of kernel weights, step by step."""

from __future__ import annotations

from typing import Any, Self

import numpy as np

from mmfusion._extras import import_extra
from mmfusion.plotting._estimators import LEARNS_KERNELS, check_shows
from mmfusion.plotting._inputs import check_axes, check_text, numbers


class ObjectivePathDisplay:
    """The objective after each step that an algorithm took to weigh kernels.

    It is recommended to use :meth:`from_estimator` or :meth:`from_path`. All
    parameters are stored as attributes.

    Parameters
    ----------
    path : ndarray of shape (n_steps,)
        The objective after each step.
    name : str, default=None
        What the legend calls the path; None makes no legend.

    Attributes
    ----------
    line_ : matplotlib Line2D
        The path.
    ax_ : matplotlib Axes
        Axes with the path.
    figure_ : matplotlib Figure
        Figure of the axes.

    See Also
    --------
    KernelWeightsDisplay : The weights that were found.
    KernelMatrixDisplay : The kernels that were weighed.

    Notes
    -----
    Give several estimators the same `ax` to compare them. Only paths of one objective
    can be compared: one algorithm with several starts, sets of kernels or `max_iter`,
    not two algorithms. Of 'late_fusion' the objective rises, of others it falls.

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
        cls, estimator: Any, *, name: str | None = None, ax: Any = None, **kwargs: Any
    ) -> Self:
        """Draw the objective of a fitted estimator.

        Parameters
        ----------
        estimator : MKLClusterer, MKLClassifier or MKLRegressor
            A fitted one, whose algorithm takes steps.
        name : str, default=None
            What the legend calls it; the algorithm by default.
        ax : matplotlib Axes, default=None
            Where to draw; a new figure by default.
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
            If it took less than two steps.
        """
        check_shows(estimator, "objective_path_", such_as=LEARNS_KERNELS)
        if name is not None:
            check_text(name, "name")
        path, algorithm = estimator.objective_path_, estimator.algorithm
        if len(path) < 2:
            raise ValueError(
                f"{type(estimator).__name__} with algorithm={algorithm!r} has no path: "
                f"its objective has n_steps={len(path)}. Algorithms that take several "
                "steps, unless the first weights are the best, are 'late_fusion', "
                "'mkkm', 'mkkm_mr' and 'simple_mkkm' of MKLClusterer, 'l1' and 'lp' of "
                "MKLClassifier and MKLRegressor"
            )
        return cls.from_path(path, name=name or algorithm, ax=ax, **kwargs)

    @classmethod
    def from_path(
        cls, path: Any, *, name: str | None = None, ax: Any = None, **kwargs: Any
    ) -> Self:
        """Draw an objective.

        Parameters
        ----------
        path : array-like of shape (n_steps,)
            The objective after each step.
        name : str, default=None
            What the legend calls it; None makes no legend.
        ax : matplotlib Axes, default=None
            Where to draw; a new figure by default.
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
        path = numbers(path, "path")
        if name is not None:
            check_text(name, "name")
        if path.ndim != 1 or len(path) < 2:
            raise ValueError(
                f"path has shape {path.shape}; expected (n_steps,) with at least 2 "
                "steps"
            )
        return cls(path=path, name=name).plot(ax, **kwargs)

    def plot(self, ax: Any = None, **kwargs: Any) -> Self:
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw, such as the Axes of another path; a new figure by default.
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
        style = {"marker": ".", "label": self.name} | kwargs
        (self.line_,) = ax.plot(steps, self.path, **style)
        ax.set(xlabel="step", ylabel="objective")
        ax.xaxis.get_major_locator().set_params(integer=True)
        ax.ticklabel_format(axis="y", useOffset=False)
        if style["label"] is not None:
            ax.legend(fontsize="small")
        return self
