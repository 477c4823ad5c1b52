"""Chains over graphs: hidden Markov models and their relatives, without estimators."""

from __future__ import annotations

from typing import Any

from mmfusion._extras import load_export

__all__ = [
    "ChainGraph",
    "ChainPosteriors",
    "coupled_graph",
    "ergodic_graph",
    "forward_backward",
    "graph_from_edges",
    "hierarchical_graph",
    "left_to_right_graph",
    "product_graph",
    "viterbi",
]

_MODULES = {
    "ChainGraph": "_graph",
    "ChainPosteriors": "_inference",
    "coupled_graph": "_graph_builders",
    "ergodic_graph": "_graph_builders",
    "forward_backward": "_inference",
    "graph_from_edges": "_graph",
    "hierarchical_graph": "_graph_builders",
    "left_to_right_graph": "_graph_builders",
    "product_graph": "_graph_builders",
    "viterbi": "_inference",
}


def __getattr__(name: str) -> Any:
    return load_export(__name__, _MODULES, name, "align", "numba")


def __dir__() -> list[str]:
    return __all__
