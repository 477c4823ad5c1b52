"""The emission of several modalities: a weighted sum of log densities.

``log b_q(t) = sum_v w_v o_tv log b~_v(x_tv | q)``, where o is 1 for frames that are
observed and b~ has the outlier component. Leaving out what is missing is exact, since
modalities are independent given the state.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from mmfusion._options import errors_name
from mmfusion.graphical._clock import Frames, ModalityFrames
from mmfusion.graphical._emissions import Emission
from mmfusion.graphical._gaussian import DiagonalGaussian
from mmfusion.graphical._outliers import OutlierComponent
from mmfusion.graphical._standardized import StandardizedFrames, chunks_of_frames

Columns = Mapping[str, np.ndarray]
Inliers = dict[str, np.ndarray]
CHUNK_STEPS = 2000  # of given states, whose indicators are in memory at once


@dataclass
class MultimodalEmission:
    """Emissions of several modalities, with weights and outlier components.

    Parameters
    ----------
    emissions : dict of Emission
        The emission of each modality.
    modality_weights : dict of float, default={}
        Exponents of the densities; 1 for modalities that are not in it. With others
        than 1, scores are no log-likelihoods. The exponent of a modality is that of
        its prior too, so that copies of a modality may share its weight.
    outliers : dict of OutlierComponent or None, default={}
        Outlier component of each modality; none for modalities that are not in it.
    is_relative : bool, default=False
        Whether densities of modalities with an outlier component are relative to that
        of outliers, which models of several classes have in common. A frame far from
        all of them then counts nearly nothing, where the rounding of its densities
        would outweigh all other frames.
    """

    emissions: dict[str, Emission]
    modality_weights: dict[str, float] = field(default_factory=dict)
    outliers: dict[str, OutlierComponent | None] = field(default_factory=dict)
    is_relative: bool = False

    def prepare(self, frames: Frames, sample_weight: np.ndarray | None = None) -> None:
        """Set the pooled moments of all modalities from the frames of fit.

        Parameters
        ----------
        frames : Frames
            Frames on the clock.
        sample_weight : ndarray of shape (n_sequences,), default=None
            Weights of the sequences.
        """
        for name in self.emissions:
            own = frames.modalities.get(name)
            if own is None:
                raise ValueError(
                    f"no sample has modality {name!r}: leave it out, or fit to samples "
                    "that have it"
                )
            weight = None
            if sample_weight is not None:
                by_step = np.repeat(sample_weight, np.diff(frames.offsets))
                weight = by_step if own.steps is None else by_step[own.steps]
            with errors_name(name):
                self.emissions[name].prepare(own.values, weight)

    def standardized(self, frames: Frames) -> Frames:
        """Standardise frames once, for several calls of methods that take frames.

        Parameters
        ----------
        frames : Frames
            Frames on the clock.

        Returns
        -------
        Frames
            What `log_density` and `accumulate` of this emission and of its copies
            accept in their place. Modalities with many frames stay as they are, and so
            do those of other kinds.
        """
        modalities = dict(frames.modalities)
        for name, emission in self.emissions.items():
            if isinstance(emission, DiagonalGaussian) and name in modalities:
                own = modalities[name]
                values = emission.standardized(own.values)
                modalities[name] = own._replace(values=values)
        return frames._replace(modalities=modalities)

    def of(self, name: str) -> MultimodalEmission:
        """Return the emission of one modality, which has the same parameters."""
        return replace(self, emissions={name: self.emissions[name]})

    def weight(self, name: str) -> float:
        """Return the exponent of a modality."""
        return float(self.modality_weights.get(name, 1.0))

    def n_columns(self, columns: Columns | None = None) -> int:
        """Return the number of columns of the table of log densities."""
        if columns:
            return len(next(iter(columns.values())))
        return next(iter(self.emissions.values())).n_states

    @property
    def n_parameters(self) -> int:
        """Number of free parameters of all modalities that have a weight."""
        return sum(self.emissions[name].n_parameters for name in self._weighted())

    def _weighted(self) -> list[str]:
        return [name for name in self.emissions if self.weight(name) != 0]

    def log_density(
        self,
        frames: Frames,
        columns: Columns | None = None,
        out: np.ndarray | None = None,
        inliers: Inliers | None = None,
    ) -> np.ndarray:
        """Compute the log density of each step of the clock in each state.

        Parameters
        ----------
        frames : Frames
            Frames on the clock.
        columns : dict of ndarray of int of shape (n_columns,), default=None
            State of each modality that each column of the table stands for; by
            default all modalities have the states of the table.
        out : ndarray of shape (n_steps, n_columns), default=None
            Array for the result.
        inliers : dict of ndarray, default=None
            Where the probabilities of the frames of modalities to be no outliers are
            written, given each state, for `accumulate`.

        Returns
        -------
        ndarray of shape (n_steps, n_columns)
            Weighted sums of log densities over the frames of a step.
        """
        shape = frames.n_steps, self.n_columns(columns)
        table = np.empty(shape) if out is None else out
        is_empty = True
        for name in self._weighted():
            own = frames.modalities.get(name)
            if own is None or not own.values.shape[0]:
                continue
            column = None if columns is None else columns[name]
            if is_empty and (own.steps is not None or column is not None):
                table[...] = 0
                is_empty = False
            own_inliers = self._inliers_of(inliers, name, own.values.shape[0])
            self._add_log_density(table, name, own, column, own_inliers, is_empty)
            is_empty = False
        if is_empty:
            table[...] = 0
        return table

    def _add_log_density(
        self,
        table: np.ndarray,
        name: str,
        own: ModalityFrames,
        column: np.ndarray | None,
        inliers: np.ndarray | None,
        is_empty: bool,
    ) -> None:
        values, steps, weights = own
        weight = self.weight(name)
        for rows in _chunks(values, table.shape[1]):
            of_rows = None if inliers is None else inliers[rows]
            if is_empty and steps is None and column is None:
                density = self._own_log_density(
                    name, values[rows], table[rows], inliers=of_rows
                )
                _scale_rows(density, weight, weights, rows)
                continue
            density = self._own_log_density(name, values[rows], inliers=of_rows)
            _scale_rows(density, weight, weights, rows)
            if column is not None:
                density = density[:, column]
            if steps is None:
                table[rows] += density
            else:  # frames of a step follow one another
                own_steps, starts = np.unique(steps[rows], return_index=True)
                table[own_steps] += np.add.reduceat(density, starts, axis=0)

    def _inliers_of(
        self, inliers: Inliers | None, name: str, n_frames: int
    ) -> np.ndarray | None:
        """Return the array of inlier probabilities of a modality; make it if new."""
        if inliers is None or self.outliers.get(name) is None:
            return None
        if name not in inliers:
            inliers[name] = np.empty((n_frames, self.emissions[name].n_states))
        return inliers[name]

    def _own_log_density(
        self,
        name: str,
        X: np.ndarray,
        out: np.ndarray | None = None,
        inliers: np.ndarray | None = None,
    ) -> np.ndarray:
        """Compute log densities of one modality, with its outlier component."""
        if isinstance(X, StandardizedFrames):
            density = self.emissions[name].log_density(X, out)
        else:
            with errors_name(name):
                density = self.emissions[name].log_density(X, out)
        outlier = self.outliers.get(name)
        if outlier is not None:
            broad = self._log_broad(name, X, outlier)
            outlier.mix(density, broad, is_relative=self.is_relative, inliers=inliers)
        return density

    def _log_broad(self, name: str, X: np.ndarray, outlier: OutlierComponent) -> Any:
        return self.emissions[name].broad_log_density(X, outlier.scale)

    def inlier_probability(
        self, frames: Frames, posteriors: np.ndarray, columns: Columns | None = None
    ) -> dict[str, np.ndarray]:
        """Compute the posterior probability that each frame is no outlier.

        Parameters
        ----------
        frames : Frames
            Frames on the clock.
        posteriors : ndarray of shape (n_steps, n_columns)
            Posterior probabilities of the states at the steps.
        columns : dict of ndarray of int of shape (n_columns,), default=None
            As in `log_density`.

        Returns
        -------
        dict of ndarray of shape (n_frames of the modality,)
            Probabilities, 1 for modalities without outlier component; NaN for frames
            of NaN.
        """
        reliability = {}
        for name in self.emissions:
            own = frames.modalities.get(name)
            if own is None:
                continue
            result = np.ones(own.values.shape[0])
            outlier = self.outliers.get(name)
            n_cells = own.values.shape[1] + posteriors.shape[1]
            for rows in chunks_of_frames(len(result) if outlier else 0, n_cells):
                steps = rows if own.steps is None else own.steps[rows]
                weights = _by_state(posteriors[steps], name, columns, self.emissions)
                inlier = self._inlier(name, own.values[rows])
                result[rows] = np.einsum("nk,nk->n", weights, inlier)
            result[np.isnan(own.values).all(axis=1)] = np.nan
            reliability[name] = result
        return reliability

    def _inlier(self, name: str, X: np.ndarray) -> np.ndarray:
        outlier = self.outliers[name]
        assert outlier is not None
        density = self.emissions[name].log_density(X)
        return outlier.inlier_probability(density, self._log_broad(name, X, outlier))

    def statistics(self) -> dict[str, Any]:
        """Return empty sufficient statistics of all modalities that have a weight."""
        return {name: self.emissions[name].statistics() for name in self._weighted()}

    def accumulate(
        self,
        statistics: dict[str, Any],
        frames: Frames,
        start: int,
        posteriors: np.ndarray,
        columns: Columns | None = None,
        inliers: Inliers | None = None,
    ) -> None:
        """Add the frames of some steps to sufficient statistics.

        Parameters
        ----------
        statistics : dict
            The statistics, which are changed.
        frames : Frames
            Frames on the clock.
        start : int
            First step of `posteriors`.
        posteriors : ndarray of shape (n, n_columns)
            Posterior probabilities of the states at the steps from `start` on, times
            the weights of the samples.
        columns : dict of ndarray of int of shape (n_columns,), default=None
            As in `log_density`.
        inliers : dict of ndarray, default=None
            What `log_density` wrote with these parameters; by default it is computed.
        """
        stop = start + len(posteriors)
        for name, own_statistics in statistics.items():
            own = frames.modalities.get(name)
            if own is None:
                continue
            first, last = start, stop
            if own.steps is not None:
                first, last = np.searchsorted(own.steps, [start, stop])
            if first == last:
                continue
            X = own.values[first:last]
            weights = _by_state(posteriors, name, columns, self.emissions)
            if own.steps is not None:
                weights = weights[own.steps[first:last] - start]
            if own.weights is not None:
                weights = weights * own.weights[first:last, None]
            if inliers and name in inliers:
                weights = weights * inliers[name][first:last]
            elif self.outliers.get(name) is not None:
                weights = weights * self._inlier(name, X)
            self.emissions[name].accumulate(own_statistics, X, weights)

    def accumulate_assigned(
        self,
        statistics: dict[str, Any],
        frames: Frames,
        assigned: np.ndarray,
        weight: np.ndarray,
        columns: Columns | None = None,
        inliers: Inliers | None = None,
    ) -> None:
        """Add frames of which the states are given to sufficient statistics.

        Parameters
        ----------
        statistics : dict
            The statistics, which are changed.
        frames : Frames
            Frames on the clock.
        assigned : ndarray of int of shape (n_steps,)
            Column of each step; -1 leaves a step out.
        weight : ndarray of shape (n_steps,)
            Weights of the steps.
        columns : dict of ndarray of int of shape (n_columns,), default=None
            As in `log_density`.
        inliers : dict of ndarray, default=None
            As in `accumulate`.
        """
        for start in range(0, len(assigned), CHUNK_STEPS):
            own = assigned[start : start + CHUNK_STEPS]
            given = np.flatnonzero(own >= 0)
            if len(given):
                indicators = np.zeros((len(own), self.n_columns(columns)))
                indicators[given, own[given]] = weight[start + given]
                self.accumulate(statistics, frames, start, indicators, columns, inliers)

    def maximize(self, statistics: dict[str, Any]) -> None:
        """Set the parameters of all modalities from their statistics; M-step."""
        for name, own_statistics in statistics.items():
            self.emissions[name].maximize(own_statistics)

    def log_prior(self) -> float:
        """Compute the log prior of all modalities, times their weights."""
        return sum(
            self.weight(name) * self.emissions[name].log_prior()
            for name in self._weighted()
        )


def _chunks(values: np.ndarray, n_columns: int) -> Iterator[slice]:
    """Cut frames into slices; those that are standardised at once are few."""
    if isinstance(values, StandardizedFrames):
        return iter([slice(0, len(values))])
    return chunks_of_frames(values.shape[0], values.shape[1] + n_columns)


def _scale_rows(
    density: np.ndarray, weight: float, weights: np.ndarray | None, rows: slice
) -> None:
    if weights is not None:
        density *= weight * weights[rows, None]
    elif weight != 1:
        density *= weight


def _by_state(
    posteriors: np.ndarray,
    name: str,
    columns: Columns | None,
    emissions: Mapping[str, Emission],
) -> np.ndarray:
    """Sum posteriors over the columns that stand for one state of a modality."""
    if columns is None:
        return posteriors
    column = columns[name]
    indicator = np.zeros((len(column), emissions[name].n_states))
    indicator[np.arange(len(column)), column] = 1
    return posteriors @ indicator
