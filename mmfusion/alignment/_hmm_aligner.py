"""Alignment of the sequences of many samples by a left-to-right hidden Markov model."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Integral, Real

import numpy as np

from mmfusion._options import by_modality
from mmfusion._sklearn_compat import Interval
from mmfusion._typing import ByModality, ColumnSpecLike
from mmfusion.alignment._base import SampleSequences
from mmfusion.alignment._durations import Duration, resolve_durations
from mmfusion.alignment._hmm_base import BaseHMMAligner, DecodedSequence
from mmfusion.alignment._initial_states import equal_states
from mmfusion.alignment._state_segments import (
    edges_of_states,
    expected_edges,
    states_of_edges,
)
from mmfusion.graphical._chain_model import ChainModel, decode_states
from mmfusion.graphical._multimodal_emission import MultimodalEmission

JOINT_CHAIN = "all modalities"


class HMMAligner(BaseHMMAligner):
    """Align the sequences of all samples by the states that they pass in one order.

    DOC
    """

    _parameter_constraints: dict = {
        **BaseHMMAligner._parameter_constraints,
        "max_skip": [Interval(Integral, 0, None, closed="left")],
        "min_duration": [Real, "array-like", dict],
        "max_duration": [Real, "array-like", dict, None],
        "joint": ["boolean"],
        "n_joint_iter": [Interval(Integral, 0, None, closed="left")],
    }

    def __init__(
        self,
        n_states: int | float | str = "auto",
        *,
        max_skip: int = 0,
        min_duration: ByModality[Duration] = 1,
        max_duration: ByModality[Duration] = None,
        joint: bool = False,
        n_joint_iter: int = 0,
        emission: ByModality[object] = "gaussian",
        covariance_type: ByModality[str] = "diag",
        outlier_share: ByModality[float] = 0.01,
        modality_weights: ByModality[float] | None = None,
        init: str = "dtw",
        decoding: str = "posterior",
        reference: int | str = "states",
        n_frames: int | None = None,
        max_iter: int = 100,
        tol: float = 1e-4,
        n_jobs: int | None = None,
        modalities: ColumnSpecLike = None,
    ) -> None:
        self.n_states = n_states
        self.max_skip = max_skip
        self.min_duration = min_duration
        self.max_duration = max_duration
        self.joint = joint
        self.n_joint_iter = n_joint_iter
        self.emission = emission
        self.covariance_type = covariance_type
        self.outlier_share = outlier_share
        self.modality_weights = modality_weights
        self.init = init
        self.decoding = decoding
        self.reference = reference
        self.n_frames = n_frames
        self.max_iter = max_iter
        self.tol = tol
        self.n_jobs = n_jobs
        self.modalities = modalities

    def _fit_chains(self, samples: list[SampleSequences], names: list[str]) -> None:
        emissions = self._initial_emissions(samples, names)
        if self.joint:
            self._add_chain(JOINT_CHAIN, samples, _joined(emissions))
            history = self._fit_chain(JOINT_CHAIN, samples, self.max_iter)
            self._keep_history({JOINT_CHAIN: history})
            return
        if self.n_joint_iter and len(names) > 1:
            self._add_chain(JOINT_CHAIN, samples, _joined(emissions), limited=False)
            self._fit_chain(JOINT_CHAIN, samples, self.n_joint_iter)
            emissions = _separated(self._chains.pop(JOINT_CHAIN).emission)
        histories = {}
        for name in names:
            self._add_chain(name, samples, emissions[name])
            histories[name] = self._fit_chain(name, samples, self.max_iter)
        self._keep_history(histories)

    def _add_chain(
        self,
        name: str,
        samples: list[SampleSequences],
        emission: MultimodalEmission,
        *,
        limited: bool = True,
    ) -> None:
        """Add a chain with its initial parameters, of limited durations or not."""
        chosen: list[Duration] = [1, None]
        for k, option in enumerate(("min_duration", "max_duration")):
            given = getattr(self, option)
            if self.joint and isinstance(given, Mapping):
                raise ValueError(
                    f"joint=True has one clock for all modalities, and {option} is a "
                    "dict by modality: give one value"
                )
            if limited:
                of_modality = by_modality(
                    given, self._layout.names, option, chosen[k]
                )
                chosen[k] = of_modality[
                    0 if self.joint else list(self._layout.names).index(name)
                ]
        lengths = [
            max(len(s[n]) for n in emission.emissions if n in s)
            for s in samples
            if not emission.emissions.keys().isdisjoint(s)
        ]
        mean_frames = float(np.mean(lengths)) / self.n_states_
        durations = resolve_durations(
            self.n_states_, self.max_skip, *chosen, mean_frames
        )
        self._frame_limits[name] = durations.frame_limits()
        self._chains[name] = ChainModel(durations.graph(mean_frames), emission)

    def _decode_sample(
        self, sample: SampleSequences, i: int
    ) -> dict[str, DecodedSequence]:
        decoded = {}
        for chain_name, chain in self._chains.items():
            own = {n: sample[n] for n in chain.emission.emissions if n in sample}
            if not own:
                continue
            frames = self._frames(chain_name, [(i, own)])
            found = self._posteriors(chain_name, frames, i)
            posteriors, n_steps = found.posteriors, frames.n_steps
            if self.decoding == "posterior":
                edges = expected_edges(posteriors)
                states = states_of_edges(edges)
            else:
                states = chain.graph.emits[decode_states(chain, frames)[0]]
                edges = edges_of_states(states, self.n_states_)
            cost = -float(found.log_likelihoods[0]) / n_steps
            for name, sequence in own.items():
                # the frames of all modalities are at the same shares of the clock
                steps = equal_states(len(sequence), n_steps)
                decoded[name] = DecodedSequence(
                    states[steps],
                    edges * len(sequence) / n_steps,
                    posteriors[steps],
                    cost,
                )
        return decoded


def _joined(emissions: dict[str, MultimodalEmission]) -> MultimodalEmission:
    """Return one emission of several modalities, which are independent in a state."""
    return MultimodalEmission(
        {n: e.emissions[n] for n, e in emissions.items()},
        {n: e.modality_weights[n] for n, e in emissions.items()},
        {n: e.outliers[n] for n, e in emissions.items()},
    )


def _separated(emission: MultimodalEmission) -> dict[str, MultimodalEmission]:
    """Return an emission for each modality."""
    return {
        name: MultimodalEmission(
            {name: own},
            {name: emission.modality_weights[name]},
            {name: emission.outliers[name]},
        )
        for name, own in emission.emissions.items()
    }
