"""Checkpoints of a training by chunks: repeated calls are not trained again."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from mmfusion.nn._checkpoint import Checkpoint
from mmfusion.nn._net import DeepNet
from mmfusion.nn._state import net_state, set_net_state, to_tensors


@dataclass
class ChunkLog:
    """The calls that a net has learned from, and a checkpoint of them.

    A process that makes the calls of an earlier one again gets the net of its last
    checkpoint, and learns from the first call that this has not seen.

    Parameters
    ----------
    checkpoint : Checkpoint
        Its file, of one first call.
    every : int
        Number of calls between two checkpoints.
    digests : list of str, default=[]
        Hash of the data and options of each call that the net has learned from.
    n_calls : int, default=0
        Number of calls of this process.
    """

    checkpoint: Checkpoint
    every: int
    digests: list[str] = field(default_factory=list)
    n_calls: int = 0

    def resume(self, net: DeepNet) -> None:
        """Give a net the state of the checkpoint, if there is one."""
        state = self.checkpoint.load()
        if state is not None:
            self.digests = list(state["digests"])
            history = json.loads(state["history"])
            set_net_state(net, {"parts": state["parts"], "history": history})

    def is_repeated(self, digest: str) -> bool:
        """Count a call; return whether the net has learned from it already.

        Raises
        ------
        ValueError
            If the net has learned from another call in its place.
        """
        is_new = self.n_calls == len(self.digests)
        if is_new:
            self.digests.append(digest)
        if self.digests[self.n_calls] != digest:
            raise ValueError(
                f"call {self.n_calls + 1} of partial_fit has other data or options "
                f"than in the checkpoint {str(self.checkpoint.path)!r}: make the same "
                "calls in the same order, or delete the file to begin anew"
            )
        self.n_calls += 1
        return not is_new

    def save(self, net: DeepNet) -> None:
        """Write a checkpoint if one is due."""
        if self.n_calls % self.every:
            return
        state: dict[str, Any] = to_tensors(net_state(net))
        state["history"] = json.dumps(state["history"])
        self.checkpoint.write(state | {"digests": self.digests})
