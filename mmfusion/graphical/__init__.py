"""Chains over graphs: hidden Markov models and their relatives, without estimators."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mmfusion._extras import load_export

if TYPE_CHECKING:
    from mmfusion.graphical._graph import (
        ChainGraph,
        graph_from_edges,
        transition_matrix,
        with_transitions,
    )
    from mmfusion.graphical._graph_builders import (
        ergodic_graph,
        left_to_right_graph,
    )
    from mmfusion.graphical._inference import (
        ChainPosteriors,
        forward_backward,
        viterbi,
    )

__all__ = [
    "ChainGraph",
    "ChainPosteriors",
    "ergodic_graph",
    "forward_backward",
    "graph_from_edges",
    "left_to_right_graph",
    "transition_matrix",
    "viterbi",
    "with_transitions",
]

_MODULES = {
    "ChainGraph": "_graph",
    "ChainPosteriors": "_inference",
    "ergodic_graph": "_graph_builders",
    "forward_backward": "_inference",
    "graph_from_edges": "_graph",
    "left_to_right_graph": "_graph_builders",
    "transition_matrix": "_graph",
    "viterbi": "_inference",
    "with_transitions": "_graph",
}


def __getattr__(name: str) -> Any:
    return load_export(__name__, _MODULES, name, "align", "numba")


def __dir__() -> list[str]:
    return __all__
