"""Checkpoints of a training: written atomically, read without running code."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from skorch.history import History


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
        """
        parts = _parts(net, net.phase_name_)
        state = {
            "phase": net.phase_name_,
            "done": done,
            "history": json.dumps(net.history.to_list()),
            "parts": {name: part.state_dict() for name, part in parts.items()},
            "best": getattr(net, "best_", None),
            "best_loss": getattr(net, "best_loss_", None),
            "order": generator.get_state(),
            "torch": torch.get_rng_state(),
        }
        self.folder.mkdir(parents=True, exist_ok=True)
        unfinished = self.path.with_suffix(f".{os.getpid()}.tmp")
        with open(unfinished, "wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(unfinished, self.path)

    def load(self) -> dict[str, Any] | None:
        """Read the state, if there is one of the same parameters and data.

        Returns
        -------
        dict or None
            What `save` wrote.
        """
        if not self.path.exists():
            return None
        return torch.load(self.path, weights_only=True, map_location="cpu")


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
    parts = _parts(net, state["phase"])
    for name, stored in state["parts"].items():
        parts[name].load_state_dict(stored)
    net.history_ = History(json.loads(state["history"]))
    net.best_, net.best_loss_ = state["best"], state["best_loss"]
    generator.set_state(state["order"])
    torch.set_rng_state(state["torch"])
    return int(state["done"])


def _parts(net: Any, phase: str) -> dict[str, Any]:
    parts = {"network": net.module_, "optimizer": net.optimizer_, "trust": net.trust_}
    if net.discriminators_ is not None and phase == "game":
        parts["discriminators"] = net.discriminators_
        parts["discriminator_optimizer"] = net.discriminator_optimizer_
    return parts
