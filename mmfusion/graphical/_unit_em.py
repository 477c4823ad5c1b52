"""Units of a lexicon, of some states in one order, learned from their sequences."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from joblib import Parallel, delayed

from mmfusion._progress import OnStep, go_on
from mmfusion.graphical._clock import Frames, Sample, frames_on_clock
from mmfusion.graphical._em import EMHistory
from mmfusion.graphical._initialization import equal_segments, initialize_emission
from mmfusion.graphical._multimodal_emission import MultimodalEmission
from mmfusion.graphical._steps import StepChain, StepCounts, step_counts, unit_chain

PRIOR = 0.1  # count of staying and of leaving, added for each state
LOG_TWO = float(np.log(2))
CELLS_OF_GROUP = 1 << 22  # of tables of emissions in memory


class UnitSequence(NamedTuple):
    """A sequence of frames with the states of its units.

    Parameters
    ----------
    frames : dict of ndarray of shape (n_frames, n_features)
        The frames by modality, of those that are observed.
    columns : ndarray of int of shape (n_columns_in_all,)
        Columns of the states of the units, in their order.
    labels : ndarray of int of shape (n_columns_in_all,)
        Label that each of them belongs to.
    """

    frames: Sample
    columns: np.ndarray
    labels: np.ndarray


@dataclass
class UnitModel:
    """Emissions and durations of the states of all units.

    Parameters
    ----------
    emission : MultimodalEmission
        Densities of the frames, with a column for each state.
    stay : ndarray of shape (n_columns,) or (n_columns + 1,)
        Probability to stay in each state. One more is that of a state for anything,
        whose weight is half of the largest density of a frame.
    silence : int or None
        Column of silence, if there may be any.
    clock : str, int or None, default=None
        Modality whose frames are the steps of a sequence, or their number. None is the
        modality with most frames.
    """

    emission: MultimodalEmission
    stay: np.ndarray
    silence: int | None
    clock: str | int | None = None

    def chain(self, sequence: UnitSequence) -> tuple[StepChain, np.ndarray]:
        """Return the chain of a sequence, and the label of each of its states."""
        return unit_chain(sequence.columns, self.stay, self.silence, sequence.labels)

    def log_density(self, sequences: list[UnitSequence]) -> np.ndarray:
        """Return the emission table of sequences, one after another."""
        return self._table(self.on_clock(sequences))

    def _table(self, frames: Frames) -> np.ndarray:
        table = self.emission.log_density(frames)
        if len(self.stay) == table.shape[1]:
            return table
        return np.column_stack([table, table.max(axis=1) - LOG_TWO])

    def on_clock(self, sequences: list[UnitSequence]) -> Frames:
        """Return the frames of sequences on their clocks."""
        names = list(self.emission.emissions)
        samples = [own.frames for own in sequences]
        return frames_on_clock(samples, clock=self.clock, names=names)

    def start_flat(self, sequences: list[UnitSequence]) -> None:
        """Set the parameters from equal segments of every sequence."""
        frames = self.on_clock(sequences)
        self.emission.prepare(frames)
        states = np.concatenate(
            [
                chain.emits[equal_segments(np.array([0, n_steps]), len(chain.emits))]
                for own, n_steps in zip(
                    sequences, np.diff(frames.offsets).tolist(), strict=True
                )
                for chain, _ in [self.chain(own)]
            ]
        )
        states[states == self.emission.n_columns()] = -1
        initialize_emission(self.emission, frames, states)
        n_states = sum(len(own.columns) for own in sequences)
        self.stay[:] = np.clip(1 - n_states / frames.n_steps, 0.1, 0.99)

    def fit(
        self,
        sequences: list[UnitSequence],
        *,
        max_iter: int,
        tol: float,
        n_jobs: int | None = None,
        on_step: OnStep = go_on,
    ) -> EMHistory:
        """Fit the parameters by expectation-maximisation.

        Parameters
        ----------
        sequences : list of UnitSequence
            The sequences, each with at least as many frames as states.
        max_iter : int
            Largest number of iterations.
        tol : float
            Increase of the objective, per frame, below which the fit ends.
        n_jobs : int, default=None
            Number of threads over sequences.
        on_step : callable, default=go_on
            Function of the objective, called in each iteration; True stops.

        Returns
        -------
        EMHistory
            The penalised log-likelihood by iteration, and whether the fit converged.
        """
        groups = self._groups(sequences)
        least_gain = tol * sum(frames.n_steps for _, frames in groups)
        objective: list[float] = []
        for _ in range(max_iter):
            statistics = self.emission.statistics()
            # expected steps from each state to itself and out of it, and log-likelihood
            totals = np.zeros((2, len(self.stay)))
            value = self.emission.log_prior()
            value += PRIOR * float(np.log(self.stay * (1 - self.stay)).sum())
            for group, frames in groups:
                value += self._expect(group, frames, statistics, totals, n_jobs)
            objective.append(value)
            stops = on_step(value)
            if len(objective) > 1 and value - objective[-2] < least_gain:
                return EMHistory(np.array(objective), True)
            if stops:
                break
            self.emission.maximize(statistics)
            self.stay = (totals[0] + PRIOR) / (totals.sum(axis=0) + 2 * PRIOR)
        return EMHistory(np.array(objective), False)

    def _groups(
        self, sequences: list[UnitSequence]
    ) -> list[tuple[list[UnitSequence], Frames]]:
        """Return groups of sequences whose tables fit in memory together."""
        lengths = [max(map(len, own.frames.values())) for own in sequences]
        cells = np.cumsum(lengths) * len(self.stay)
        of_sequence = cells // CELLS_OF_GROUP
        groups = [
            [sequences[i] for i in np.flatnonzero(of_sequence == number)]
            for number in np.unique(of_sequence)
        ]
        return [(group, self.on_clock(group)) for group in groups]

    def _expect(
        self,
        group: list[UnitSequence],
        frames: Frames,
        statistics: dict[str, object],
        totals: np.ndarray,
        n_jobs: int | None,
    ) -> float:
        """Add the expected counts of some sequences; return their log-likelihood."""
        table = self._table(frames)
        chains = [self.chain(own)[0] for own in group]
        bounds = frames.offsets
        found: list[StepCounts | None] = Parallel(n_jobs=n_jobs, prefer="threads")(
            delayed(step_counts)(chain, table[bounds[i] : bounds[i + 1]])
            for i, chain in enumerate(chains)
        )
        value, stays = 0.0, np.zeros(len(self.stay))
        for i, (chain, counts) in enumerate(zip(chains, found, strict=True)):
            assert counts is not None  # a path, since densities are finite
            table[bounds[i] : bounds[i + 1]] = counts.posteriors
            np.add.at(stays, chain.emits, counts.stays)
            value += counts.log_likelihood
        totals[0] += stays
        # a frame in a state is followed by a step to itself, or out of it
        totals[1] += np.maximum(np.ones(len(table)) @ table - stays, 0)
        of_units = table[:, : self.emission.n_columns()]
        self.emission.accumulate(statistics, frames, 0, of_units)
        return value
