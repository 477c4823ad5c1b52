"""Checkpoints of a training: written atomically, read without running code."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from skorch.history import History

from mmfusion._warnings import warn_user
from mmfusion.nn._distributed import broadcast, is_first
from mmfusion.nn._isolation import current_draws
from mmfusion.nn._net import DeepNet
from mmfusion.nn._sealed import read_sealed, write_sealed
from mmfusion.nn._state import is_finite, stateful_parts


@dataclass
class Checkpoint:
    """A file that holds the state of a training.

    Of several processes that train together, the first reads and writes.

    Parameters
    ----------
    folder : Path
        Folder of the file.
    name : str
        Name of what is trained, such as the phase and the number of the restart.
    fingerprint : str
        Hash of the parameters and the data, part of the name of the file, so that
        trainings which differ have files that differ.
    """

    folder: Path
    name: str
    fingerprint: str

    @property
    def path(self) -> Path:
        """Path of the file."""
        return self.folder / f"{self.name}-{self.fingerprint}.pt"

    def save(
        self,
        net: DeepNet,
        parts: tuple[str, ...],
        done: int,
        generator: torch.Generator,
        callbacks: dict[str, Any] | None = None,
        stopped_by: list[str] | None = None,
    ) -> None:
        """Write the state of one phase of one restart.

        Parameters
        ----------
        net : DeepNet
            The net in training.
        parts : tuple of str
            Its parts that the phase changes, beside the network.
        done : int
            Epochs of its phase that are done.
        generator : torch.Generator
            Generator of the order of samples.
        callbacks : dict, default=None
            State of the callbacks of the user, see `callback_state`.
        stopped_by : list of str, default=None
            Description of the callbacks, if one of them ended the phase.

        Raises
        ------
        OSError
            If the file cannot be written; an older one stays as it is.
        """
        stateful = stateful_parts(net, parts)
        state = {
            "phase": net.phase_name_,
            "done": done,
            "history": json.dumps(net.history.to_list()),
            "parts": {name: part.state_dict() for name, part in stateful.items()},
            "best": getattr(net, "best_", None),
            "best_loss": getattr(net, "best_loss_", None),
            "order": generator.get_state(),
            "drawn": current_draws().get_state(),
            "callbacks": callbacks or {},
            "stopped_by": stopped_by,
        }
        self.write(state)

    def write(self, state: dict[str, Any]) -> None:
        """Write a state; a reader finds the old file or the new one, never half."""
        if not is_first():
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        named = {"name": self.name, "fingerprint": self.fingerprint}
        write_sealed(self.path, named | state)

    def load(self) -> dict[str, Any] | None:
        """Read the state, if there is one of the same parameters and data.

        Returns
        -------
        dict or None
            The state that `save` or `write` wrote.

        Warns
        -----
        UserWarning
            If the file is damaged: there is nothing to resume then.
        """
        # folders may differ between machines, but what is resumed must not
        return broadcast(self._load() if is_first() else None)

    def _load(self) -> dict[str, Any] | None:
        if not self.path.exists():
            return None
        try:
            return self._read()
        except ValueError as error:
            warn_user(
                f"the checkpoint {str(self.path)!r} is not resumed: {error}. Its phase "
                "starts anew and replaces it",
            )
            return None

    def _read(self) -> dict[str, Any]:
        state = read_sealed(self.path)
        if (state.get("name"), state.get("fingerprint")) != (
            self.name,
            self.fingerprint,
        ):
            raise ValueError("it is a copy of the checkpoint of another training")
        if not is_finite([state["parts"], state.get("best")]):
            raise ValueError("some of its weights are NaN or infinite")
        return state


def follows(net: DeepNet, state: dict[str, Any]) -> bool:
    """Return whether a checkpoint is of a training with as many epochs before it.

    It is not where a callback that is no more, or is new, ended an earlier phase.
    """
    n_before = len(json.loads(state["history"])) - int(state["done"])
    return n_before == len(net.history)


def restore(net: DeepNet, state: dict[str, Any], generator: torch.Generator) -> int:
    """Restore a net, and all random states, from a checkpoint.

    Parameters
    ----------
    net : DeepNet
        The net, initialised.
    state : dict
        State that `Checkpoint.load` returned.
    generator : torch.Generator
        Generator of the order of samples.

    Returns
    -------
    int
        Epochs of the phase that are done.
    """
    stateful = stateful_parts(net)
    for name, stored in state["parts"].items():
        stateful[name].load_state_dict(stored)
    net.history_ = History(json.loads(state["history"]))
    net.best_, net.best_loss_ = state["best"], state["best_loss"]
    generator.set_state(state["order"])
    current_draws().set_state(state["drawn"])
    return int(state["done"])
