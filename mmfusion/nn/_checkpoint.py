"""Checkpoints of a training: written atomically, read without running code."""

from __future__ import annotations

import json
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from skorch.history import History

from mmfusion.nn._isolation import current_draws
from mmfusion.nn._sealed import read_sealed, write_sealed
from mmfusion.nn._state import is_finite, parts_of


@dataclass
class Checkpoint:
    """One file that holds the state of one phase of one restart.

    Parameters
    ----------
    folder : Path
        Where the file is.
    name : str
        Of the phase and the restart.
    fingerprint : str
        Of the parameters and the data, part of the file's name: others have another.
    """

    folder: Path
    name: str
    fingerprint: str

    @property
    def path(self) -> Path:
        """The file."""
        return self.folder / f"{self.name}-{self.fingerprint}.pt"

    def save(self, net: Any, done: int, generator: torch.Generator) -> None:
        """Write the state; a reader finds the old file or the new one, never half.

        Parameters
        ----------
        net : AdversarialNet
            In training.
        done : int
            Epochs of its phase that are done.
        generator : torch.Generator
            Of the order of samples.

        Raises
        ------
        OSError
            If the file cannot be written; an older one stays as it is.
        """
        parts = parts_of(net, net.phase_name_)
        state = {
            "name": self.name,
            "fingerprint": self.fingerprint,
            "phase": net.phase_name_,
            "done": done,
            "history": json.dumps(net.history.to_list()),
            "parts": {name: part.state_dict() for name, part in parts.items()},
            "best": getattr(net, "best_", None),
            "best_loss": getattr(net, "best_loss_", None),
            "order": generator.get_state(),
            "drawn": current_draws().get_state(),
        }
        self.folder.mkdir(parents=True, exist_ok=True)
        write_sealed(self.path, state)

    def load(self) -> dict[str, Any] | None:
        """Read the state, if there is one of the same parameters and data.

        Returns
        -------
        dict or None
            What `save` wrote.

        Warns
        -----
        UserWarning
            If the file is damaged: there is nothing to resume then.
        """
        if not self.path.exists():
            return None
        try:
            return self._read()
        except ValueError as error:
            warnings.warn(
                f"the checkpoint {str(self.path)!r} is not resumed: {error}. Its phase "
                "starts anew and replaces it",
                stacklevel=2,
            )
            return None

    def _read(self) -> dict[str, Any]:
        state = read_sealed(self.path)
        if (state.get("name"), state.get("fingerprint")) != (
            self.name,
            self.fingerprint,
        ):
            raise ValueError("it is a copy of the checkpoint of another training")
        if not is_finite([state["parts"], state["best"]]):
            raise ValueError("some of its weights are NaN or infinite")
        return state


def restore(net: Any, state: dict[str, Any], generator: torch.Generator) -> int:
    """Put a net, and all that is drawn at random, where a checkpoint was.

    Parameters
    ----------
    net : AdversarialNet
        Initialised.
    state : dict
        As from `Checkpoint.load`.
    generator : torch.Generator
        Of the order of samples.

    Returns
    -------
    int
        Epochs of the phase that are done.
    """
    parts = parts_of(net, state["phase"])
    for name, stored in state["parts"].items():
        parts[name].load_state_dict(stored)
    net.history_ = History(json.loads(state["history"]))
    net.best_, net.best_loss_ = state["best"], state["best_loss"]
    generator.set_state(state["order"])
    current_draws().set_state(state["drawn"])
    return int(state["done"])
