"""Alignment of the sequences of many samples by a left-to-right hidden Markov model."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any

import numpy as np

from mmfusion._options import by_modality
from mmfusion._sklearn_compat import Interval
from mmfusion._typing import ColumnSpecLike
from mmfusion.alignment._base import SampleSequences
from mmfusion.alignment._durations import Durations, resolve_durations
from mmfusion.alignment._hmm_base import BaseHMMAligner, DecodedSequence
from mmfusion.alignment._state_segments import (
    edges_of_states,
    expected_edges,
    states_of_edges,
)
from mmfusion.graphical._chain_model import ChainModel, decode_states
from mmfusion.graphical._multimodal_emission import MultimodalEmission

JOINT_CHAIN = "all modalities"


class HMMAligner(BaseHMMAligner):
    """Align.
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
        min_duration: Any = 1,
        max_duration: Any = None,
        joint: bool = False,
        n_joint_iter: int = 0,
        emission: Any = "gaussian",
        covariance_type: Any = "diag",
        outlier_share: Any = 0.01,
        modality_weights: Any = None,
        init: str = "dtw",
        decode: str = "posterior",
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
        self.decode = decode
        self.reference = reference
        self.n_frames = n_frames
        self.max_iter = max_iter
        self.tol = tol
        self.n_jobs = n_jobs
        self.modalities = modalities

    def _fit_chains(self, samples: list[SampleSequences], names: list[str]) -> None:
        own = {name: [{name: s[name]} for s in samples if name in s] for name in names}
        graphs = {name: self._durations(samples, [name]) for name in names}
        emissions = self._initial_emissions(samples, names)
        histories = {}
        ...
