"""Display of maps of the fused latents and of those of every modality."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from sklearn.utils import check_random_state

from mmfusion._options import errors_about
from mmfusion.metrics._labels import validate_labels
from mmfusion.plotting._estimators import check_displayable, modalities_of_fit
from mmfusion.plotting._inputs import (
    check_mapping,
    check_sample_count,
    check_string,
)
from mmfusion.plotting._maps import BaseMapDisplay, check_reducer, map_to_plane

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import ArrayLike
    from sklearn.base import BaseEstimator, TransformerMixin

    from mmfusion._typing import ModalitiesLike, RandomStateLike


class LatentMapDisplay(BaseMapDisplay):
    """Maps in two dimensions of the fused latents and of those of each modality.

    It is recommended to use :meth:`from_estimator` or :meth:`from_predictions`. All
    parameters are stored as attributes.

    Parameters
    ----------
    fused : ndarray of shape (n_samples, 2)
        Map of the fused latents.
    modalities : dict of str to ndarray of shape (n_samples, 2)
        Map of the latents of each modality; NaN where it is not observed.
    labels : ndarray of shape (n_samples,)
        Cluster of each sample, shown by its color.
    legend_title : str, default='cluster'
        Name of the labels.

    Attributes
    ----------
    scatters_ : list of matplotlib PathCollection
        The points of each map: of the fused latents, then of the modalities.
    axes_ : ndarray of matplotlib Axes
        The Axes of each map, in the same order.
    figure_ : matplotlib Figure
        Figure of the axes.

    See Also
    --------
    LossCurveDisplay : Learning curves.
    AttentionWeightsDisplay : Attention weights of the modalities.

    Notes
    -----
    Every map is computed separately and scaled to fill its Axes: positions in different
    maps cannot be compared. Clusters that overlap in two dimensions may be separate in
    the latent space.

    Examples
    --------
    >>> import matplotlib
    >>> matplotlib.use("agg")
    >>> import numpy as np
    >>> from mmfusion.plotting import LatentMapDisplay
    >>> rng = np.random.default_rng(0)
    >>> latents = {"audio": rng.normal(size=(9, 4)), "video": rng.normal(size=(9, 4))}
    >>> fused = (latents["audio"] + latents["video"]) / 2
    >>> display = LatentMapDisplay.from_predictions(fused, latents, np.arange(9) % 3)
    >>> [ax.get_title() for ax in display.axes_]
    ['fused', 'audio', 'video']
    """

    @classmethod
    def from_estimator(
        cls,
        estimator: BaseEstimator,
        X: ModalitiesLike,
        *,
        y: ArrayLike | None = None,
        max_samples: int | None = 2000,
        reducer: TransformerMixin | None = None,
        random_state: RandomStateLike = 0,
        ax: Sequence[Axes] | None = None,
        **kwargs: Any,
    ) -> Self:
        """Draw maps of the latents that a fitted estimator computes.

        For a torch Dataset, use :meth:`from_predictions` with the output of
        `transform`, `modality_latents` and `predict`.

        Parameters
        ----------
        estimator : estimator
            Fitted estimator with ``modality_latents``, such as EAMCClusterer.
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The samples.
        y : array-like of shape (n_samples,), default=None
            Labels shown by the colors, such as classes; by default the predicted
            clusters.
        max_samples : int, default=2000
            Maximum number of samples that are drawn. Of more, a random subset is
            drawn; None is all.
        reducer : transformer, default=None
            Transformer whose ``fit_transform`` computes each map, by a clone; PCA by
            default. Its first two components are drawn.
        random_state : int, RandomState instance or None, default=0
            Seed of the choice and of the order of samples.
        ax : sequence of matplotlib Axes, default=None
            Axes to draw on, one for each map; a new figure by default.
        **kwargs : dict
            Style of the points, but for their color, which shows the labels; see
            matplotlib's `Axes.scatter`.

        Returns
        -------
        LatentMapDisplay
            The drawn display.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        TypeError
            If it has no latents by modality.
        ValueError
            If `y` and `X` have different lengths.
        """
        check_displayable(estimator, "modality_latents", "transform")
        frame = modalities_of_fit(estimator, X)
        if y is not None:
            y = validate_labels(y, "y")
            if len(y) != len(frame):
                raise ValueError(f"y has {len(y)} labels for {len(frame)} samples")
        check_sample_count(max_samples, "max_samples")
        with errors_about("random_state"):
            rng = check_random_state(random_state)
        # in random order, since later points cover earlier ones
        rows = rng.permutation(len(frame))[:max_samples]
        some = frame[rows]
        labels = estimator.predict(some) if y is None else np.asarray(y)[rows]
        return cls.from_predictions(
            estimator.transform(some),
            estimator.modality_latents(some),
            labels,
            legend_title="cluster" if y is None else "y",
            reducer=reducer,
            ax=ax,
            **kwargs,
        )

    @classmethod
    def from_predictions(
        cls,
        fused: ArrayLike,
        latents: Mapping[str, ArrayLike],
        labels: ArrayLike,
        *,
        legend_title: str = "cluster",
        reducer: TransformerMixin | None = None,
        ax: Sequence[Axes] | None = None,
        **kwargs: Any,
    ) -> Self:
        """Draw maps of latents.

        Parameters
        ----------
        fused : array-like of shape (n_samples, latent_width)
            The fused latents.
        latents : dict of str to array-like of shape (n_samples, latent_width)
            Latents by modality; rows of NaN where it is not observed.
        labels : array-like of shape (n_samples,)
            Cluster of each sample, shown by its color.
        legend_title : str, default='cluster'
            Name of the labels.
        reducer : transformer, default=None
            Transformer whose ``fit_transform`` computes each map, by a clone; PCA by
            default. Its first two components are drawn.
        ax : sequence of matplotlib Axes, default=None
            Axes to draw on, one for each map; a new figure by default.
        **kwargs : dict
            Style of the points, but for their color, which shows the labels; see
            matplotlib's `Axes.scatter`.

        Returns
        -------
        LatentMapDisplay
            The drawn display.

        Raises
        ------
        ValueError
            If lengths disagree, or the reducer returns less than two dimensions.
        """
        check_reducer(reducer)
        check_string(legend_title, "legend_title")
        check_mapping(latents, "latents", "latents by modality")
        labels = validate_labels(labels, "labels")
        fused = map_to_plane(fused, reducer, len(labels), "fused")
        with errors_about("latents"):
            modalities = {
                name: map_to_plane(own, reducer, len(labels), f"modality {name!r}")
                for name, own in latents.items()
            }
        return cls(
            fused=fused,
            modalities=modalities,
            labels=labels,
            legend_title=legend_title,
        ).plot(ax, **kwargs)
