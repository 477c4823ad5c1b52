"""The state of a trained net as plain values, for files and copies without pickle."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from skorch.history import History
from torch import Tensor

from mmfusion.nn._net import DeepNet

_STRINGS_KEY = "array of str"  # torch has no tensors of str, so dicts hold them


def stateful_parts(
    net: DeepNet, parts: tuple[str, ...] | None = None
) -> dict[str, Any]:
    """Return the network, given parts of a net and their optimizers, by name.

    Parameters
    ----------
    net : DeepNet
        The net, initialised.
    parts : tuple of str, default=None
        Names of the parts; None is all. Those that the net lacks are left out.

    Returns
    -------
    dict of str to object
        Objects that have a state_dict.
    """
    found = {"network": net.module_, "optimizer": net.optimizer_}
    for name, part in net.parts_.items():
        if parts is None or name in parts:
            found[name] = part
            if name in net.part_optimizers_:
                found[f"{name}_optimizer"] = net.part_optimizers_[name]
    return found


def is_finite(tree: Any) -> bool:
    """Return whether all tensors in nested dicts and lists are finite."""
    if isinstance(tree, dict):
        tree = list(tree.values())
    if isinstance(tree, list | tuple):
        return all(map(is_finite, tree))
    return not isinstance(tree, Tensor) or bool(torch.isfinite(tree).all())


def net_state(net: DeepNet) -> dict[str, Any]:
    """Return the state of a net as dicts and lists of arrays, numbers and str.

    Parameters
    ----------
    net : DeepNet
        The net, initialised.

    Returns
    -------
    dict
        The state, for `set_net_state`.
    """
    parts = {name: part.state_dict() for name, part in stateful_parts(net).items()}
    return {"parts": to_arrays(parts), "history": net.history.to_list()}


def set_net_state(net: DeepNet, state: dict[str, Any]) -> None:
    """Give a net the state of another one.

    Parameters
    ----------
    net : DeepNet
        The net, initialised, with the parameters of the other.
    state : dict
        State that `net_state` returned.

    Raises
    ------
    ValueError
        If the network of the other has other layers.
    """
    parts = to_tensors(state["parts"])
    changed = net.module_.match_heads(parts["network"])
    for name, part in net.parts_.items():
        match_widths = getattr(part, "match_widths", None)
        if match_widths is not None:
            changed |= match_widths(parts.get(name, {}))
    if changed:
        net.initialize_optimizer()
    own = stateful_parts(net)
    if parts.keys() != own.keys():
        raise ValueError(
            f"it holds {sorted(parts)}, and not {sorted(own)}: a weight that adds a "
            "part to the training is 0 in one of the two"
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
        found, expected = shape(stored, name), shape(own, name)
        if found != expected:
            raise ValueError(
                f"its {part} has other layers: {name} is {found}, and {expected} by "
                "the parameters"
            )


def _map_leaves(tree: Any, convert: Callable[[Any], Any]) -> Any:
    """Convert the leaves of nested dicts, lists and tuples."""
    if isinstance(tree, dict) and _STRINGS_KEY not in tree:
        return {key: _map_leaves(value, convert) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return type(tree)(_map_leaves(value, convert) for value in tree)
    return convert(tree)


def to_arrays(tree: Any) -> Any:
    """Convert tensors to arrays in nested dicts, lists and tuples.

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
            return np.array(leaf[_STRINGS_KEY], dtype=leaf["dtype"])
        if not isinstance(leaf, Tensor):
            return leaf
        # NumPy has no bfloat16
        leaf = leaf.float() if leaf.dtype == torch.bfloat16 else leaf
        return np.array(leaf.detach().cpu().numpy())

    return _map_leaves(tree, convert)


def to_tensors(tree: Any) -> Any:
    """Convert arrays to tensors in nested dicts, lists and tuples.

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
            return {_STRINGS_KEY: leaf.tolist(), "dtype": leaf.dtype.str}
        return torch.from_numpy(np.array(leaf))

    return _map_leaves(tree, convert)
