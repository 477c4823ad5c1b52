"""Display of several sequences of labels over one time axis."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from sklearn.base import is_classifier

from mmfusion._drawing import check_axes
from mmfusion._extras import import_extra
from mmfusion._text import drawable
from mmfusion.alignment._label_spans import LabelSpans
from mmfusion.plotting._colors import cluster_colors, cluster_legend
from mmfusion.plotting._estimators import (
    check_displayable,
    modalities_of_fit,
    one_sample,
)
from mmfusion.plotting._inputs import as_names, check_mapping
from mmfusion.plotting._style import merge_style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.container import BarContainer
    from matplotlib.legend import Legend
    from numpy.typing import ArrayLike
    from sklearn.base import BaseEstimator

    from mmfusion._typing import ModalitiesLike


class LabelTracksDisplay:
    """Plot of sequences of labels, one below another, over one time axis.

    Such are the known labels of a recording and those that estimators predict, or the
    labels of each modality. It is recommended to use :meth:`from_estimator` or
    :meth:`from_predictions`. All parameters are stored as attributes.

    Parameters
    ----------
    spans : dict of ndarray of shape (n_spans, 2)
        Begin and end of the spans of each track.
    labels : dict of list of str
        Labels of the spans of each track.

    Attributes
    ----------
    bars_ : dict of matplotlib BarContainer
        The spans of each track.
    legend_ : matplotlib Legend
        Legend of the labels.
    ax_ : matplotlib Axes
        Axes with the plot.
    figure_ : matplotlib Figure
        Figure of the Axes.

    See Also
    --------
    SpanDisplay : The spans of one sample, with their posteriors.
    StatePosteriorDisplay : The posteriors of labels or states by frame.

    Examples
    --------
    >>> import matplotlib
    >>> matplotlib.use("agg")
    >>> from mmfusion.plotting import LabelTracksDisplay
    >>> display = LabelTracksDisplay.from_predictions(
    ...     {"known": ["sit", "sit", "run", "run"], "predicted": ["sit", "run"]}
    ... )
    >>> display.spans["predicted"].tolist()
    [[0.0, 2.0], [2.0, 4.0]]
    """

    def __init__(
        self, *, spans: dict[str, np.ndarray], labels: dict[str, list[str]]
    ) -> None:
        self.spans = spans
        self.labels = labels

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
        """Draw the labels that a fitted estimator predicts for the frames of a sample.

        Parameters
        ----------
        estimator : CRFLabeler or HMMLabeler
            Fitted estimator.
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The samples, those of `fit` or others.
        y : array-like of object of shape (n_samples,), default=None
            Known labels of each sample, which are drawn above those predicted.
        sample : int, default=0
            Position of the sample that is drawn.
        ax : matplotlib Axes, default=None
            Axes to draw on; a new figure by default.
        **kwargs : dict
            Style of the spans; see matplotlib's `Axes.barh`.

        Returns
        -------
        LabelTracksDisplay
            The drawn display.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        TypeError
            If it predicts no sequences of labels.
        ValueError
            If there is no such sample, or y has another number of samples.
        """
        check_displayable(estimator, "classes_", "predict", such_as="CRFLabeler")
        if is_classifier(estimator):
            raise TypeError(
                f"{type(estimator).__name__} predicts one label for each sample, and "
                "no sequence of labels; give a labeler, such as CRFLabeler"
            )
        frame = modalities_of_fit(estimator, X)
        predicted = estimator.predict(one_sample(frame, sample))[0]
        # rows of tables are samples of one frame
        tracks: dict[str, Any] = {"predicted": np.atleast_1d(predicted)}
        if y is not None:
            known: list[Any] = list(y)  # type: ignore[arg-type]
            if len(known) != len(frame):
                raise ValueError(
                    f"y has labels of {len(known)} samples, and X has {len(frame)}; "
                    "give those of each sample"
                )
            tracks = {"known": np.atleast_1d(known[sample])} | tracks
        return cls.from_predictions(tracks, ax=ax, **kwargs)

    @classmethod
    def from_predictions(
        cls,
        tracks: Mapping[str, ArrayLike | LabelSpans],
        *,
        ax: Axes | None = None,
        **kwargs: Any,
    ) -> Self:
        """Draw sequences of labels.

        Parameters
        ----------
        tracks : dict of array-like of shape (n_frames,), or of LabelSpans
            Label of each frame by name of the track, None where there is none; or the
            spans that an aligner finds. A track with fewer frames than the longest one
            spans the same time.
        ax : matplotlib Axes, default=None
            Axes to draw on; a new figure by default.
        **kwargs : dict
            Style of the spans; see matplotlib's `Axes.barh`.

        Returns
        -------
        LabelTracksDisplay
            The drawn display.

        Raises
        ------
        TypeError
            If the tracks are no dict of sequences of labels.
        ValueError
            If there are no labels.
        """
        check_mapping(tracks, "tracks", "labels of each frame by track")
        by_frame = {
            name: _labels_of_track(own, f"tracks[{name!r}]")
            for name, own in tracks.items()
            if not isinstance(own, LabelSpans)
        }
        lengths = {
            name: own.n_frames if isinstance(own, LabelSpans) else len(by_frame[name])
            for name, own in tracks.items()
        }
        n_frames = max(lengths.values(), default=0)
        spans, labels = {}, {}
        for name, own in tracks.items():
            if isinstance(own, LabelSpans):
                found = own.spans * (n_frames / own.n_frames)
                names = list(map(str, own.labels))
            else:
                found, names = _spans_of_labels(by_frame[name], n_frames)
            spans[str(name)], labels[str(name)] = found, names
        if not any(labels.values()):
            raise ValueError("tracks have no labels: there is nothing to draw")
        return cls(spans=spans, labels=labels).plot(ax, **kwargs)

    def plot(self, ax: Axes | None = None, **kwargs: Any) -> Self:
        """Draw a bar for each span, in the color of its label.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on; a new figure by default.
        **kwargs : dict
            Style of the spans; see matplotlib's `Axes.barh`.

        Returns
        -------
        LabelTracksDisplay
            This display.
        """
        n_tracks = len(self.spans)
        if ax is None:
            pyplot = import_extra("matplotlib.pyplot")
            size = (8, 1.2 + 0.4 * n_tracks)
            _, ax = pyplot.subplots(figsize=size, layout="constrained")
        check_axes(ax)
        self.ax_, self.figure_ = ax, ax.figure
        patch = import_extra("matplotlib.patches").Rectangle
        found = dict.fromkeys(x for own in self.labels.values() for x in own)
        colors = cluster_colors(np.array(list(found), dtype=object))
        style = {"edgecolor": "white", "linewidth": 0.5}
        self.bars_: dict[str, BarContainer] = {}
        for row, (name, spans) in enumerate(self.spans.items()):
            own = {"facecolor": [colors[label] for label in self.labels[name]]}
            self.bars_[name] = ax.barh(
                np.full(len(spans), row),
                np.diff(spans, axis=1)[:, 0],
                left=spans[:, 0],
                height=0.8,
                **merge_style(style | own, kwargs, patch),
            )
        self.legend_: Legend = cluster_legend(ax, colors, "label")
        ax.set_yticks(range(n_tracks), [drawable(name) for name in self.spans])
        last = max(own.max(initial=0) for own in self.spans.values())
        ax.set(xlabel="frame", xlim=(0, last), ylim=(n_tracks - 0.5, -0.5))
        ax.tick_params(axis="y", length=0)
        ax.spines[["top", "right", "left"]].set_visible(False)
        return self


def _labels_of_track(values: Any, name: str) -> list[str | None]:
    """Return the labels of frames; None for those without."""
    if np.ndim(values) == 1 and not isinstance(values, Mapping):
        listed = list(values)
        missing = [x is None or x != x for x in listed]
        names = as_names([str(x) for x in listed], name)
        return [None if no else x for x, no in zip(names, missing, strict=True)]
    raise TypeError(
        f"{name} is a {type(values).__name__}; give a sequence of labels, one for each "
        "frame, or LabelSpans"
    )


def _spans_of_labels(
    labels: list[str | None], n_frames: int
) -> tuple[np.ndarray, list[str]]:
    """Return the spans of equal labels, on an axis of `n_frames`, and their labels."""
    borders = [i for i in range(1, len(labels)) if labels[i] != labels[i - 1]]
    begins = [0, *borders][: len(labels)]
    ends = [*borders, len(labels)][: len(labels)]
    spans, names = [], []
    for begin, end in zip(begins, ends, strict=True):
        label = labels[begin]
        if label is not None:
            spans.append([begin, end])
            names.append(label)
    scale = n_frames / max(len(labels), 1)
    return np.array(spans, dtype=float).reshape(-1, 2) * scale, names
