"""Sequences in neural fusion: their clocks, attention maps and alignment."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from numbers import Real
from typing import Any, ClassVar, cast

import numpy as np
import torch
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn
from torch.utils.data import Dataset

from mmfusion._options import check_flags
from mmfusion._sklearn_compat import INTEGER, Interval
from mmfusion._typing import ByModality, ModalitiesLike
from mmfusion.fusion._clocks import find_clocks
from mmfusion.modalities import Modalities
from mmfusion.nn._cross_attention import CrossAttentionNetwork
from mmfusion.nn._data import Rows
from mmfusion.nn._estimator import DeepEstimator
from mmfusion.nn._frame_reader import AttentionOptions
from mmfusion.nn._isolation import isolated
from mmfusion.nn._sequence_data import pack_sequences
from mmfusion.nn._training import batches_in_float64

# half the width of the window with which attention begins, in typical spans of samples
UNIT_OF_CLOCKS, UNIT_OF_RELATIVE_TIMES = 0.05, 0.2
SMALLEST_WEIGHT = 1e-6  # of attention, in the cost of a path
NEAR_FRAMES = 2  # of a path, within which weights count as on it

Pairs = dict[tuple[str, str], Any]


def _attends_to_frames(estimator: Any) -> bool:
    """Return True, or raise an error where an estimator has no attention."""
    if not estimator._attends:
        raise AttributeError(
            f"the attention of {type(estimator).__name__} is that of "
            f"fusion='cross_attention', and fusion={estimator.fusion!r}"
        )
    return True


class SequencesMixin(DeepEstimator):
    """A deep estimator whose modalities may be sequences, which may attend.

    A subclass has the parameters `times`, `time_penalty` and `window`, and a `fusion`
    that may be 'cross_attention'.
    """

    fusion: Any
    times: ByModality[int | str | None]
    time_penalty: bool
    window: float | None
    _clocks: dict[str, int]

    _parameter_constraints: ClassVar[dict] = {
        **DeepEstimator._parameter_constraints,
        "times": [INTEGER, str, dict, None],
        "time_penalty": ["boolean"],
        "window": [Interval(Real, 0, None, closed="neither"), None],
    }

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Set attributes; models that an older version stored have no sequences."""
        older: dict[str, Any] = {"times": None, "time_penalty": True, "window": None}
        if "_net" in state:
            older["_clocks"] = {}
        super().__setstate__(older | state)

    @property
    def _attends(self) -> bool:
        return isinstance(self.fusion, str) and self.fusion == "cross_attention"

    # Data

    def _checked_rows(
        self, X: ModalitiesLike, *, reset: bool
    ) -> tuple[Modalities, Rows]:
        frame, rows = super()._checked_rows(X, reset=reset)
        if isinstance(X, Dataset) and self._layout.sequences:
            raise ValueError(
                f"items of the Dataset hold sequences, {list(self._layout.sequences)}; "
                "give sequences as lists of arrays, and images with an axis of "
                "channels, (1, height, width)"
            )
        return frame, rows

    def _read_blocks(self, frame: Modalities, *, reset: bool) -> Sequence[Any]:
        layout = self._layout
        if reset:
            self._clocks = self._find_clocks()
        positions = {layout.names.index(name): name for name in layout.sequences}
        clocks = {v: self._clocks.get(name) for v, name in positions.items()}
        if not clocks:
            return frame.blocks
        return pack_sequences(frame.blocks, clocks, layout.widths, layout.names)

    def _find_clocks(self) -> dict[str, int]:
        """Return the position of the feature that is the clock, by modality."""
        sequences = self._layout.sequences
        if self._attends and len(sequences) < 2:
            raise ValueError(
                "fusion='cross_attention' needs two modalities of sequences, and found "
                f"{list(sequences)}: give sequences, or fusion='gated'"
            )
        if not self._attends:
            return {}
        return find_clocks(self.times, self._layout, sequences)

    # The network

    def _attention_options(self) -> AttentionOptions:
        share = UNIT_OF_CLOCKS if self._clocks else UNIT_OF_RELATIVE_TIMES
        return AttentionOptions(
            unit=self._preparation.span * share,
            learns_offset=bool(self._clocks) and self.time_penalty,
            has_penalty=self.time_penalty,
            window=None if self.window is None else float(self.window),
        )

    # Outputs

    @property
    def clock_offsets_(self) -> dict[tuple[str, str], float]:
        """Learned offset of the clock of a modality from that of another, by pair."""
        check_is_fitted(self)
        _attends_to_frames(self)
        network = cast(CrossAttentionNetwork, self.module_)
        names = [str(self.modality_names_in_[v]) for v in network.sequences]
        found = torch.stack([reader_offsets(each) for each in network.readers]).mean(0)
        pairs = [(a, b) for a in names for b in names if a != b]
        return dict(zip(pairs, found.tolist(), strict=True))

    @available_if(_attends_to_frames)
    @isolated()
    def attention_maps(self, X: ModalitiesLike) -> dict[tuple[str, str], np.ndarray]:
        """Compute how much each frame of a sequence reads of the frames of others.

        Parameters
        ----------
        X : list, dict or Modalities
            The data.

        Returns
        -------
        dict of (str, str) to ndarray of object of shape (n_samples,)
            By pair of modalities of sequences, an array of shape (T_1, T_2) of each
            sample: weights of the frames of the second, whose sum is 1 for each frame
            of the first, or 0 where the window is empty; the mean of all members. None
            for samples that lack one.
        """
        check_is_fitted(self)
        rows = self._rows(X, reset=False)
        names = self.modality_names_in_.tolist()
        maps: dict[tuple[str, str], np.ndarray] = {}
        for i, found in enumerate(self._maps(rows)):
            for (v, u), weights in found.items():
                pair = names[v], names[u]
                if pair not in maps:
                    maps[pair] = np.full(len(rows), None, dtype=object)
                if weights.size:
                    maps[pair][i] = weights
        return maps

    def _maps(self, rows: Rows) -> Iterator[dict[tuple[int, int], np.ndarray]]:
        """Compute the maps of attention of each sample."""
        network = cast(CrossAttentionNetwork, self.module_)
        dtype = rows.dtype
        batches = batches_in_float64(self._net, rows, self._preparation, 1)
        for module, _, batch in batches:
            maps = cast(CrossAttentionNetwork, module).attention_maps(*batch[:2])
            lengths = {
                v: int(batch.inputs[v][0, :, -1].sum()) for v in network.sequences
            }
            yield {
                (v, u): weights[0, : lengths[v], : lengths[u]].numpy().astype(dtype)
                for (v, u), weights in maps.items()
            }

    @available_if(_attends_to_frames)
    def alignment(
        self, X: ModalitiesLike, *, return_monotonicity: bool = False
    ) -> Pairs | tuple[Pairs, Pairs]:
        """Align the sequences of new samples by what they read of one another.

        The path of a pair of modalities is the monotone one, through dynamic time
        warping, of the lowest sum of ``-log(a_ij + 1e-6)`` over its pairs of frames,
        where a are the weights of attention. They need not follow any alignment:
        see `return_monotonicity`.

        Parameters
        ----------
        X : list, dict or Modalities
            The data.
        return_monotonicity : bool, default=False
            Whether to return, too, the share of the weights within two frames of the
            path. Where it is low, do not take the path for an alignment.

        Returns
        -------
        paths : dict of (str, str) to ndarray of object of shape (n_samples,)
            By pair of modalities, a path of each sample: an array of int of shape
            (length, 2). None for samples that lack one.
        monotonicity : dict of (str, str) to ndarray of shape (n_samples,)
            Shares by pair, if `return_monotonicity`; NaN for samples that lack one, or
            none of whose frames are within the window.
        """
        check_flags(return_monotonicity=return_monotonicity)
        paths: Pairs = {}
        shares: Pairs = {}
        for pair, maps in self.attention_maps(X).items():
            paths[pair] = np.full(len(maps), None, dtype=object)
            shares[pair] = np.full(len(maps), np.nan)
            for i, weights in enumerate(maps):
                if weights is not None:
                    paths[pair][i] = monotone_path(weights)
                    shares[pair][i] = monotonicity(weights, paths[pair][i])
        return (paths, shares) if return_monotonicity else paths


def monotone_path(weights: np.ndarray) -> np.ndarray:
    """Find the monotone path of the lowest cost through weights of attention.

    Parameters
    ----------
    weights : ndarray of shape (T_1, T_2)
        The weights.

    Returns
    -------
    ndarray of int of shape (length, 2)
        The path.
    """
    from mmfusion.alignment import dtw_path  # loads numba

    costs = np.log1p(SMALLEST_WEIGHT) - np.log(weights + SMALLEST_WEIGHT)
    return dtw_path(np.maximum(costs, 0.0), metric="precomputed").path


def monotonicity(weights: np.ndarray, path: np.ndarray) -> float:
    """Compute the share of the weights of attention within two frames of a path.

    Parameters
    ----------
    weights : ndarray of shape (T_1, T_2)
        The weights.
    path : ndarray of int of shape (length, 2)
        The path.

    Returns
    -------
    float
        The share; NaN if all weights are 0, as where no frame is in the window.
    """
    near = np.zeros(weights.shape, dtype=bool)
    for shift in range(-NEAR_FRAMES, NEAR_FRAMES + 1):
        columns = path[:, 1] + shift
        inside = (columns >= 0) & (columns < weights.shape[1])
        near[path[inside, 0], columns[inside]] = True
    total = weights.sum()
    return float(weights[near].sum() / total) if total else float("nan")


def reader_offsets(readers: nn.Module) -> Tensor:
    """Return the mean offset of the heads of each attention of a member."""
    attentions = [a for reader in cast(Any, readers) for a in reader.attentions]
    return torch.stack([attention.offset.detach().mean() for attention in attentions])
