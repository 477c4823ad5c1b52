"""Fitted chains: of joint states, exactly, or chain by chain by a mean field."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from mmfusion.graphical._chain_model import (
    ChainModel,
    decode_states,
    n_free_parameters,
    sample_sequences,
    score_sequences,
    state_posteriors,
)
from mmfusion.graphical._clock import Frames
from mmfusion.graphical._couplings import Coupling, chain_posteriors
from mmfusion.graphical._factorial import FactorialGraph, joint_graph
from mmfusion.graphical._graph import ChainGraph, transition_matrix
from mmfusion.graphical._inference import viterbi
from mmfusion.graphical._mean_field import (
    MeanFieldModel,
    approximate,
    emission_posteriors,
)
from mmfusion.graphical._multimodal_emission import MultimodalEmission
from mmfusion.graphical._transition_models import ChainTransitions

ByChain = dict[str, np.ndarray]
DrawnSample = dict[str, np.ndarray]


class ExactChains:
    """Model of joint states, with exact inference.

    Parameters
    ----------
    model : ChainModel
        The model.
    coupling : Coupling
        The meaning of its joint states.
    """

    def __init__(self, model: ChainModel, coupling: Coupling) -> None:
        self.model = model
        self.coupling = coupling

    @property
    def chains(self) -> dict[str, int]:
        """Number of states of each chain."""
        return self.coupling.chains

    @property
    def n_columns(self) -> int:
        """Number of posteriors at a step."""
        return len(self.coupling.states)

    @property
    def emissions(self) -> dict[str, Any]:
        """Emission of each modality."""
        return self.model.emission.emissions

    @property
    def n_parameters(self) -> int:
        """Number of free parameters."""
        step = self.coupling.transition_model
        if step is None:
            return n_free_parameters(self.model)
        return self.model.emission.n_parameters + step.n_parameters

    def joint_parameters(self) -> tuple[np.ndarray, np.ndarray, Any]:
        """Return joint states, and probabilities of first ones and of transitions."""
        graph = self._listed().graph
        start = np.exp(graph.log_start)
        return self.coupling.states, start, transition_matrix(graph)

    def chain_transitions(self) -> dict[str, np.ndarray]:
        """Return the transition probabilities of the chains that have their own.

        They have the shape (n_states_1, ..., n_states_M, n_states_m) if chains depend
        on all, else (n_states_m, n_states_m).
        """
        graph, chains = self.model.graph, self.coupling.chains
        if isinstance(graph, FactorialGraph):
            return dict(zip(chains, graph.transitions, strict=True))
        if len(chains) == 1:
            return dict.fromkeys(chains, transition_matrix(graph))
        step = self.coupling.transition_model
        if not isinstance(step, ChainTransitions):
            return {}
        n_chains = len(step.shape)
        joint = transition_matrix(graph).reshape(step.shape + step.shape)
        tables = {}
        for m, name in enumerate(chains):
            others = tuple(c for c in range(n_chains) if c != m)
            table = joint.sum(axis=tuple(n_chains + c for c in others))
            # the same whatever the others, of chains that do not depend on them
            tables[name] = table if step.is_coupled else table.mean(axis=others)
        return tables

    def scores(self, frames: Frames, n_jobs: int | None) -> np.ndarray:
        """Compute the log-likelihood of each sequence."""
        return score_sequences(self.model, frames, n_jobs)

    def posteriors(self, frames: Frames, n_jobs: int | None) -> ByChain:
        """Compute the posteriors of each chain at all steps."""
        return chain_posteriors(self.coupling, self._joint(frames, n_jobs))

    def decode(self, frames: Frames, n_jobs: int | None) -> ByChain:
        """Find the most probable states of all chains together."""
        joint, _ = decode_states(self.model, frames, n_jobs)
        return self._by_chain(joint)

    def inliers(self, frames: Frames, given: Frames, n_jobs: int | None) -> ByChain:
        """Compute the posterior probability of each given frame to be no outlier."""
        joint = self._joint(frames, n_jobs)
        emission = self.model.emission
        return emission.inlier_probability(given, joint, self.model.columns)

    def sample(
        self, n_samples: int, n_steps: int, random_state: np.random.RandomState
    ) -> tuple[list[DrawnSample], list[ByChain]]:
        """Draw sequences, and return them with the states of each chain."""
        samples, paths = sample_sequences(
            self._listed(), n_samples, n_steps, random_state
        )
        return samples, [self._by_chain(path) for path in paths]

    def _joint(self, frames: Frames, n_jobs: int | None) -> np.ndarray:
        posteriors = state_posteriors(self.model, frames, n_jobs).posteriors
        assert posteriors is not None
        return posteriors

    def _by_chain(self, joint: np.ndarray) -> ByChain:
        states = self.coupling.states[joint].astype(np.int64)
        return dict(zip(self.coupling.chains, states.T, strict=True))

    def _listed(self) -> ChainModel:
        graph = self.model.graph
        if isinstance(graph, FactorialGraph):
            return replace(self.model, graph=joint_graph(graph))
        return self.model


class MeanFieldChains:
    """Model of a shared chain and private ones, with approximate inference.

    Parameters
    ----------
    model : MeanFieldModel
        The model.
    """

    def __init__(self, model: MeanFieldModel) -> None:
        self.model = model

    @property
    def chains(self) -> dict[str, int]:
        """Number of states of each chain."""
        return {name: len(graph.emits) for name, graph in self.model.graphs.items()}

    @property
    def n_columns(self) -> int:
        """Number of log densities at a step."""
        return sum(own.n_states for own in self.emissions.values())

    @property
    def emissions(self) -> dict[str, Any]:
        """Emission of each modality."""
        return self.model.emission.emissions

    @property
    def n_parameters(self) -> int:
        """Number of free parameters."""
        transitions = sum(k * k - 1 for k in self.chains.values())
        return self.model.emission.n_parameters + transitions

    def joint_parameters(self) -> tuple[None, None, None]:
        """Return None: joint states are too many to be listed."""
        return None, None, None

    def chain_transitions(self) -> dict[str, np.ndarray]:
        """Return the transition probabilities of each chain."""
        graphs = self.model.graphs
        return {name: transition_matrix(graph) for name, graph in graphs.items()}

    def scores(self, frames: Frames, n_jobs: int | None) -> np.ndarray:
        """Compute the lower bound of the log-likelihood of each sequence."""
        return approximate(self.model, frames, n_jobs=n_jobs).bounds

    def posteriors(self, frames: Frames, n_jobs: int | None) -> ByChain:
        """Compute the posteriors of each chain at all steps."""
        return approximate(self.model, frames, n_jobs=n_jobs).beliefs

    def decode(self, frames: Frames, n_jobs: int | None) -> ByChain:
        """Find the most probable states of each chain under its own scores."""
        scores = approximate(self.model, frames, n_jobs=n_jobs).scores
        return {
            name: viterbi(graph, scores[name], frames.offsets, n_jobs=n_jobs)[0].astype(
                np.int64
            )
            for name, graph in self.model.graphs.items()
        }

    def inliers(self, frames: Frames, given: Frames, n_jobs: int | None) -> ByChain:
        """Compute the posterior probability of each given frame to be no outlier."""
        beliefs = self.posteriors(frames, n_jobs)
        found: ByChain = {}
        for name in self.emissions:
            own = self.model.of_modality(name)
            pairs = emission_posteriors(self.model, beliefs, name)
            found |= own.inlier_probability(given, pairs)
        return found

    def sample(
        self, n_samples: int, n_steps: int, random_state: np.random.RandomState
    ) -> tuple[list[DrawnSample], list[ByChain]]:
        """Draw sequences, and return them with the states of each chain."""
        paths = {
            name: _paths(graph, n_samples, n_steps, random_state)
            for name, graph in self.model.graphs.items()
        }
        samples: list[DrawnSample] = []
        for i in range(n_samples):
            shared, sample = paths[self.model.shared][i], {}
            for name, emission in self.emissions.items():
                pair = shared * self.model.n_states(name)
                pair = pair + paths[name][i] if name in paths else pair
                sample[name] = emission.sample(pair, random_state)
            samples.append(sample)
        states = [
            {name: own[i] for name, own in paths.items()} for i in range(n_samples)
        ]
        return samples, states


def _paths(
    graph: ChainGraph,
    n_samples: int,
    n_steps: int,
    random_state: np.random.RandomState,
) -> list[np.ndarray]:
    """Draw the states of a chain that emits nothing."""
    model = ChainModel(graph, MultimodalEmission({}))
    return sample_sequences(model, n_samples, n_steps, random_state)[1]
