"""The state of a trained net as plain values, for files and copies without pickle."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from skorch.history import History
from torch import Tensor

from mmfusion.nn._net import AdversarialNet

_STRINGS = "array of str"


def parts_of(net: AdversarialNet, phase: str = "game") -> dict[str, Any]:
    """Return what a net learns in a phase, by name: all of it has a state_dict."""
    parts = {"network": net.module_, "optimizer": net.optimizer_, "trust": net.trust_}
    if net.discriminators_ is not None and phase == "game":
        parts["discriminators"] = net.discriminators_
        parts["discriminator_optimizer"] = net.discriminator_optimizer_
    return parts


def is_finite(tree: Any) -> bool:
    """Return whether all tensors in nested dicts and lists are finite."""
    if isinstance(tree, dict):
        tree = list(tree.values())
    if isinstance(tree, list | tuple):
        return all(map(is_finite, tree))
    return not isinstance(tree, Tensor) or bool(torch.isfinite(tree).all())


def net_state(net: AdversarialNet) -> dict[str, Any]:
    """Return the state of a net as dicts and lists of arrays, numbers and str.

    Parameters
    ----------
    net : AdversarialNet
        Initialised.

    Returns
    -------
    dict
        For `set_net_state`.
    """
    parts = {name: part.state_dict() for name, part in parts_of(net).items()}
    return {"parts": to_arrays(parts), "history": net.history.to_list()}


def set_net_state(net: AdversarialNet, state: dict[str, Any]) -> None:
    """Put a net where another one was.

    Parameters
    ----------
    net : AdversarialNet
        Initialised, with the parameters of the other.
    state : dict
        As from `net_state`.

    Raises
    ------
    ValueError
        If the network of the other has other layers.
    """
    parts = to_tensors(state["parts"])
    if len(parts["network"]["heads.hidden"]) == 1 < net.module_.heads.n_heads:
        net.module_.heads.keep(0)  # their competition was over
        net.initialize_optimizer()
    own = parts_of(net)
    if parts.keys() != own.keys():
        raise ValueError(
            f"it holds {sorted(parts)}, and not {sorted(own)}: adversarial_weight is 0 "
            "in one of the two"
        )
    for name, part in own.items():
        if hasattr(part, "named_parameters"):
            _check_same_layers(part.state_dict(), parts[name], name)
        part.load_state_dict(parts[name])
    net.history_ = History(state["history"])


def _check_same_layers(own: dict[str, Any], stored: dict[str, Any], part: str) -> None:
    def shape(state: dict[str, Any], name: str) -> Any:
        return tuple(np.shape(state[name])) if name in state else "missing"

    for name in [*stored, *own]:
        there, here = shape(stored, name), shape(own, name)
        if there != here:
            raise ValueError(
                f"its {part} has other layers: {name} is {there} there and {here} here"
            )


def _mapped(tree: Any, convert: Callable[[Any], Any]) -> Any:
    """Convert the leaves of nested dicts, lists and tuples."""
    if isinstance(tree, dict) and _STRINGS not in tree:
        return {key: _mapped(value, convert) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return type(tree)(_mapped(value, convert) for value in tree)
    return convert(tree)


def to_arrays(tree: Any) -> Any:
    """Make arrays of the tensors in nested dicts, lists and tuples.

    Parameters
    ----------
    tree : object
        Tensors, and plain values, which stay.

    Returns
    -------
    object
        The same with arrays, which share no memory with the tensors.
    """

    def convert(leaf: Any) -> Any:
        if isinstance(leaf, dict):
            return np.array(leaf[_STRINGS], dtype=leaf["dtype"])
        if not isinstance(leaf, Tensor):
            return leaf
        # NumPy has no bfloat16
        leaf = leaf.float() if leaf.dtype == torch.bfloat16 else leaf
        return np.array(leaf.detach().cpu().numpy())

    return _mapped(tree, convert)


def to_tensors(tree: Any) -> Any:
    """Make tensors of the arrays in nested dicts, lists and tuples.

    Parameters
    ----------
    tree : object
        Arrays, and plain values, which stay; arrays of str become dicts.

    Returns
    -------
    object
        The same with tensors, which share no memory with the arrays.
    """

    def convert(leaf: Any) -> Any:
        if isinstance(leaf, np.generic):
            return leaf.item()
        if not isinstance(leaf, np.ndarray):
            return leaf
        if leaf.dtype.kind in "OU":
            return {_STRINGS: leaf.tolist(), "dtype": leaf.dtype.str}
        return torch.from_numpy(np.array(leaf))

    return _mapped(tree, convert)
