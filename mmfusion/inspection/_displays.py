"""Plots of importances, Shapley values and interactions of modalities."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike

from mmfusion._drawing import check_axes, plot_values, several_axes
from mmfusion._extras import import_extra
from mmfusion._text import drawable
from mmfusion._typing import EstimatorLike, ModalitiesLike
from mmfusion.inspection._importance import ImportanceResults, modality_importance
from mmfusion.inspection._interactions import InteractionResults, modality_interactions
from mmfusion.inspection._shapley import ShapleyResults, modality_shapley

if TYPE_CHECKING:
    from matplotlib.axes import Axes

GAIN_COLOR, LOSS_COLOR = "tab:blue", "tab:red"
MAX_WRITTEN = 8  # modalities, of which the cells of matrices have their values


class ModalityImportanceDisplay:
    """Plot of the importance of each modality, with a point for each fold or repeat.

    It is recommended to use :meth:`from_results` or :meth:`from_estimator`. All
    parameters are stored as attributes.

    Parameters
    ----------
    names : sequence of str
        Names of the modalities.
    importances : ndarray of shape (n_modalities, n_values)
        Losses of the score in folds or repeats.
    metric : str
        Name of the score.

    Attributes
    ----------
    bars_ : matplotlib BarContainer
        Bars of the means.
    points_ : list of matplotlib Line2D
        Points of each modality.
    ax_ : matplotlib Axes
        Axes of the plot.
    figure_ : matplotlib Figure
        Figure of the Axes.

    See Also
    --------
    modality_importance : Computes the results to draw.

    Examples
    --------
    >>> import matplotlib
    >>> matplotlib.use("agg")
    >>> from mmfusion import EarlyFusionClassifier
    >>> from mmfusion.datasets import make_multimodal_blobs
    >>> from mmfusion.inspection import ModalityImportanceDisplay
    >>> X, y = make_multimodal_blobs(n_features={"a": 3, "b": 3}, random_state=0)
    >>> display = ModalityImportanceDisplay.from_estimator(
    ...     EarlyFusionClassifier(), X, y, method="drop"
    ... )
    >>> display.ax_.get_xlabel()
    'loss of accuracy'
    """

    def __init__(
        self, *, names: Sequence[str], importances: np.ndarray, metric: str
    ) -> None:
        self.names = names
        self.importances = importances
        self.metric = metric

    @classmethod
    def from_results(
        cls, results: ImportanceResults, *, ax: Axes | None = None, **kwargs: Any
    ) -> Self:
        """Draw the results of `modality_importance`.

        Parameters
        ----------
        results : ImportanceResults
            Results to draw.
        ax : matplotlib Axes, default=None
            Axes to draw in; those of a new figure by default.
        **kwargs : dict
            Style of the bars; see matplotlib's `Axes.barh`.

        Returns
        -------
        ModalityImportanceDisplay
            The drawn display.
        """
        _check_results(results, ImportanceResults, "modality_importance")
        made = cls(
            names=results.names, importances=results.units(), metric=results.metric
        )
        return made.plot(ax, **kwargs)

    @classmethod
    def from_estimator(
        cls,
        estimator: EstimatorLike,
        X: ModalitiesLike,
        y: ArrayLike | None = None,
        *,
        ax: Axes | None = None,
        **options: Any,
    ) -> Self:
        """Run `modality_importance` and draw its results.

        Parameters
        ----------
        estimator : estimator
            Classifier, regressor or clusterer.
        X : list, dict or Modalities
            Data by modality.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs), default=None
            Target, or the classes to compare clusters with.
        ax : matplotlib Axes, default=None
            Axes to draw in; those of a new figure by default.
        **options : dict
            Further parameters of `modality_importance`.

        Returns
        -------
        ModalityImportanceDisplay
            The drawn display.
        """
        return cls.from_results(modality_importance(estimator, X, y, **options), ax=ax)

    def plot(self, ax: Axes | None = None, **kwargs: Any) -> Self:
        """Draw bars of the means, the most important modality first.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw in; those of a new figure by default.
        **kwargs : dict
            Style of the bars; see matplotlib's `Axes.barh`.

        Returns
        -------
        ModalityImportanceDisplay
            This display.
        """
        means = self.importances.mean(axis=1)
        order = np.argsort(-means, kind="stable")
        self.ax_ = _bar_axes(ax, len(order))
        self.figure_ = self.ax_.figure
        style: dict[str, Any] = {"color": GAIN_COLOR, "alpha": 0.6} | kwargs
        self.bars_ = self.ax_.barh(np.arange(len(order)), means[order], **style)
        self.points_ = []
        for place, v in enumerate(order):
            heights = _spread_out(place, self.importances.shape[1])
            self.points_ += self.ax_.plot(
                self.importances[v], heights, ".", color="0.2", markersize=4
            )
        _label_bars(self.ax_, [self.names[v] for v in order])
        self.ax_.axvline(0, color="0.5", linewidth=0.8)
        self.ax_.set_xlabel(f"loss of {drawable(self.metric)}")
        return self


class ShapleyDisplay:
    """Plot of Shapley values as steps from the empty to the full score.

    It is recommended to use :meth:`from_results` or :meth:`from_estimator`. All
    parameters are stored as attributes.

    Parameters
    ----------
    names : sequence of str
        Names of the modalities.
    values : ndarray of shape (n_modalities,)
        Shapley values.
    margins : ndarray of shape (n_modalities,)
        Half widths of the confidence intervals.
    empty_score : float
        Score without any modality.
    metric : str
        Name of the score.
    confidence : float
        Level of the confidence intervals.

    Attributes
    ----------
    bars_ : matplotlib BarContainer
        Bars of the values, from the largest.
    error_bars_ : matplotlib ErrorbarContainer
        Confidence intervals.
    ax_ : matplotlib Axes
        Axes of the plot.
    figure_ : matplotlib Figure
        Figure of the Axes.

    See Also
    --------
    modality_shapley : Computes the results to draw.

    Examples
    --------
    >>> import matplotlib
    >>> matplotlib.use("agg")
    >>> from mmfusion import EarlyFusionClassifier
    >>> from mmfusion.datasets import make_multimodal_blobs
    >>> from mmfusion.inspection import ShapleyDisplay
    >>> X, y = make_multimodal_blobs(n_features={"a": 3, "b": 3}, random_state=0)
    >>> display = ShapleyDisplay.from_estimator(EarlyFusionClassifier(), X, y)
    >>> len(display.bars_)
    2
    """

    def __init__(
        self,
        *,
        names: Sequence[str],
        values: np.ndarray,
        margins: np.ndarray,
        empty_score: float,
        metric: str,
        confidence: float,
    ) -> None:
        self.names = names
        self.values = values
        self.margins = margins
        self.empty_score = empty_score
        self.metric = metric
        self.confidence = confidence

    @classmethod
    def from_results(
        cls, results: ShapleyResults, *, ax: Axes | None = None, **kwargs: Any
    ) -> Self:
        """Draw the results of `modality_shapley`.

        Parameters
        ----------
        results : ShapleyResults
            Results to draw.
        ax : matplotlib Axes, default=None
            Axes to draw in; those of a new figure by default.
        **kwargs : dict
            Style of the bars; see matplotlib's `Axes.barh`.

        Returns
        -------
        ShapleyDisplay
            The drawn display.
        """
        _check_results(results, ShapleyResults, "modality_shapley")
        made = cls(
            names=results.names,
            values=results.values,
            margins=results.upper - results.values,
            empty_score=results.empty_score,
            metric=results.metric,
            confidence=results.confidence,
        )
        return made.plot(ax, **kwargs)

    @classmethod
    def from_estimator(
        cls,
        estimator: EstimatorLike,
        X: ModalitiesLike,
        y: ArrayLike | None = None,
        *,
        ax: Axes | None = None,
        **options: Any,
    ) -> Self:
        """Run `modality_shapley` and draw its results.

        Parameters
        ----------
        estimator : estimator
            Classifier, regressor or clusterer.
        X : list, dict or Modalities
            Data by modality.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs), default=None
            Target, or the classes to compare clusters with.
        ax : matplotlib Axes, default=None
            Axes to draw in; those of a new figure by default.
        **options : dict
            Further parameters of `modality_shapley`.

        Returns
        -------
        ShapleyDisplay
            The drawn display.
        """
        return cls.from_results(modality_shapley(estimator, X, y, **options), ax=ax)

    def plot(self, ax: Axes | None = None, **kwargs: Any) -> Self:
        """Draw the values, the largest first; each bar begins where the last ended.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw in; those of a new figure by default.
        **kwargs : dict
            Style of the bars; see matplotlib's `Axes.barh`.

        Returns
        -------
        ShapleyDisplay
            This display.
        """
        order = np.argsort(-self.values, kind="stable")
        values, places = self.values[order], np.arange(len(order))
        ends = self.empty_score + np.cumsum(values)
        self.ax_ = _bar_axes(ax, len(order))
        self.figure_ = self.ax_.figure
        colors = [GAIN_COLOR if value >= 0 else LOSS_COLOR for value in values]
        style: dict[str, Any] = {"color": colors, "alpha": 0.6} | kwargs
        self.bars_ = self.ax_.barh(places, values, left=ends - values, **style)
        self.error_bars_ = self.ax_.errorbar(
            ends,
            places,
            xerr=self.margins[order],
            fmt="none",
            ecolor="0.2",
            elinewidth=1,
            capsize=3,
        )
        _label_bars(
            self.ax_,
            [self.names[v] for v in order],
            [f"{value:+.3f}" for value in values],
        )
        for score, text in [(self.empty_score, "no modality"), (ends[-1], "all")]:
            self.ax_.axvline(score, color="0.5", linewidth=0.8, linestyle="--")
            self.ax_.annotate(
                text,
                (score, 1),
                xycoords=("data", "axes fraction"),
                xytext=(0, 3),
                textcoords="offset points",
                ha="center",
                fontsize="small",
                color="0.3",
            )
        share = f"{100 * self.confidence:g} % intervals"
        self.ax_.set_xlabel(f"{drawable(self.metric)} ({share})")
        return self


class InteractionDisplay:
    """Matrices of the redundancy, unique information and synergy of pairs.

    It is recommended to use :meth:`from_results` or :meth:`from_estimator`. All
    parameters are stored as attributes.

    Parameters
    ----------
    names : sequence of str
        Names of the modalities.
    redundancy : ndarray of shape (n_modalities, n_modalities)
        Redundancy of pairs, in bits.
    unique : ndarray of shape (n_modalities, n_modalities)
        Unique information of rows beside columns.
    synergy : ndarray of shape (n_modalities, n_modalities)
        Synergy of pairs.

    Attributes
    ----------
    images_ : list of matplotlib AxesImage
        Images of the three matrices, on one scale.
    axes_ : ndarray of matplotlib Axes
        The three Axes.
    figure_ : matplotlib Figure
        Figure of the Axes.

    See Also
    --------
    modality_interactions : Computes the results to draw.

    Examples
    --------
    >>> import matplotlib
    >>> matplotlib.use("agg")
    >>> from mmfusion import EarlyFusionClassifier
    >>> from mmfusion.datasets import make_multimodal_blobs
    >>> from mmfusion.inspection import InteractionDisplay
    >>> X, y = make_multimodal_blobs(n_features={"a": 3, "b": 3}, random_state=0)
    >>> display = InteractionDisplay.from_estimator(EarlyFusionClassifier(), X, y)
    >>> [ax.get_title() for ax in display.axes_]
    ['redundancy', 'unique of row', 'synergy']
    """

    def __init__(
        self,
        *,
        names: Sequence[str],
        redundancy: np.ndarray,
        unique: np.ndarray,
        synergy: np.ndarray,
    ) -> None:
        self.names = names
        self.redundancy = redundancy
        self.unique = unique
        self.synergy = synergy

    @classmethod
    def from_results(
        cls,
        results: InteractionResults,
        *,
        ax: Sequence[Axes] | np.ndarray | None = None,
        **kwargs: Any,
    ) -> Self:
        """Draw the results of `modality_interactions`.

        Parameters
        ----------
        results : InteractionResults
            Results to draw.
        ax : sequence of 3 matplotlib Axes, default=None
            Axes to draw in; those of a new figure by default.
        **kwargs : dict
            Style of the images; see matplotlib's `Axes.imshow`.

        Returns
        -------
        InteractionDisplay
            The drawn display.
        """
        _check_results(results, InteractionResults, "modality_interactions")
        made = cls(
            names=results.names,
            redundancy=results.redundancy,
            unique=results.unique,
            synergy=results.synergy,
        )
        return made.plot(ax, **kwargs)

    @classmethod
    def from_estimator(
        cls,
        estimator: EstimatorLike,
        X: ModalitiesLike,
        y: ArrayLike,
        *,
        ax: Sequence[Axes] | np.ndarray | None = None,
        **options: Any,
    ) -> Self:
        """Run `modality_interactions` and draw its results.

        Parameters
        ----------
        estimator : estimator
            Classifier or regressor.
        X : list, dict or Modalities
            Data by modality.
        y : array-like of shape (n_samples,)
            Target.
        ax : sequence of 3 matplotlib Axes, default=None
            Axes to draw in; those of a new figure by default.
        **options : dict
            Further parameters of `modality_interactions`.

        Returns
        -------
        InteractionDisplay
            The drawn display.
        """
        results = modality_interactions(estimator, X, y, **options)
        return cls.from_results(results, ax=ax)

    def plot(
        self, ax: Sequence[Axes] | np.ndarray | None = None, **kwargs: Any
    ) -> Self:
        """Draw the three matrices.

        Parameters
        ----------
        ax : sequence of 3 matplotlib Axes, default=None
            Axes to draw in; those of a new figure by default.
        **kwargs : dict
            Style of the images; see matplotlib's `Axes.imshow`.

        Returns
        -------
        InteractionDisplay
            This display.
        """
        matrices = {
            "redundancy": self.redundancy,
            "unique of row": self.unique,
            "synergy": self.synergy,
        }
        self.axes_ = _matrix_axes(ax, len(self.names))
        self.figure_ = self.axes_[0].figure
        reach = max(np.nanmax(np.abs(matrix)) for matrix in matrices.values()) or 1.0
        style: dict[str, Any] = {"cmap": "RdBu", "vmin": -reach, "vmax": reach} | kwargs
        labels = [drawable(name) for name in self.names]
        places = np.arange(len(labels))
        self.images_ = []
        for panel, (title, matrix) in zip(self.axes_, matrices.items(), strict=True):
            self.images_.append(panel.imshow(matrix, **style))
            panel.set_facecolor("0.9")  # of the diagonal, which has no value
            panel.set_title(title, fontsize="medium")
            panel.set_xticks(places, labels, rotation=45, ha="right")
            panel.set_yticks(places, labels)
            panel.tick_params(labelleft=panel is self.axes_[0])
            if len(labels) <= MAX_WRITTEN:
                plot_values(panel, self.images_[-1], matrix)
        self.figure_.colorbar(self.images_[-1], ax=list(self.axes_), label="bits")
        return self


def _check_results(results: object, kind: type, function: str) -> None:
    """Raise unless these are the results of a function."""
    if not isinstance(results, kind):
        raise TypeError(
            f"results is a {type(results).__name__}; give the {kind.__name__} that "
            f"{function} returns"
        )


def _bar_axes(ax: Axes | None, n_bars: int) -> Axes:
    """Return the Axes given, or those of a new figure for horizontal bars."""
    if ax is None:
        size = 5.5, 1.2 + 0.4 * n_bars
        pyplot = import_extra("matplotlib.pyplot")
        ax = pyplot.subplots(figsize=size, layout="constrained")[1]
    check_axes(ax)
    return ax


def _matrix_axes(ax: Any, n_rows: int) -> np.ndarray:
    """Return the three Axes given, or those of a new figure."""
    if ax is None:
        side = 1.2 + max(1.4, 0.45 * n_rows)
        pyplot = import_extra("matplotlib.pyplot")
        return pyplot.subplots(
            1, 3, figsize=(3 * side + 0.8, side + 0.4), layout="constrained"
        )[1]
    return several_axes(ax, 3, "for redundancy, unique information and synergy")


def _spread_out(place: int, n_points: int) -> np.ndarray:
    """Return positions of points around that of their bar."""
    return place + np.linspace(-0.25, 0.25, n_points + 2)[1:-1]


def _label_bars(
    ax: Axes, names: Sequence[str], values: Sequence[str] | None = None
) -> None:
    """Write the names beside the bars, from top to bottom, and values after them."""
    labels = [drawable(name) for name in names]
    if values is not None:
        labels = [f"{a}  {b}" for a, b in zip(labels, values, strict=True)]
    ax.set_yticks(np.arange(len(labels)), labels)
    ax.invert_yaxis()
    ax.use_sticky_edges = False  # else a bar begins at the border of the plot
    ax.margins(x=0.08)
