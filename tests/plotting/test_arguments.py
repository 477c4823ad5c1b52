"""What is no argument of a display is refused by its name."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

from mmfusion.plotting import (
    AlignmentDisplay,
    AttentionWeightsDisplay,
    KernelMatrixDisplay,
    KernelWeightsDisplay,
    LatentMapDisplay,
    LossCurveDisplay,
    ObjectivePathDisplay,
)

DRAWN = [
    (AlignmentDisplay.from_sequences, {"x": [0.0, 1.0], "y": [0.0, 2.0]}),
    (AttentionWeightsDisplay.from_weights, {"weights": [1, 2], "names": ["a", "b"]}),
    (
        KernelMatrixDisplay.from_kernels,
        {"kernels": [np.eye(4)], "labels": [0, 0, 1, 1]},
    ),
    (KernelWeightsDisplay.from_weights, {"weights": [1, 2], "names": ["a", "b"]}),
    (
        LatentMapDisplay.from_latents,
        {"fused": np.eye(4), "latents": {"a": np.eye(4)}, "labels": [0, 0, 1, 1]},
    ),
    (LossCurveDisplay.from_history, {"history": [{"loss": 2.0}, {"loss": 1.0}]}),
    (ObjectivePathDisplay.from_path, {"path": [2.0, 1.0]}),
]


@pytest.mark.parametrize(("draw", "arguments"), DRAWN)
@pytest.mark.parametrize("ax", ["axes", 1, np.eye(2), [None]])
def test_what_is_no_axes_is_refused(draw, arguments, ax):
    with pytest.raises(TypeError, match=r"ax holds a .* give matplotlib Axes"):
        draw(**arguments, ax=ax)
    plt.close("all")


@pytest.mark.parametrize(("draw", "arguments"), DRAWN)
def test_axes_are_taken_alone_or_as_an_array(draw, arguments):
    n_axes = np.size(getattr(draw(**arguments), "axes_", None))
    _, axes = plt.subplots(1, n_axes)
    display = draw(**arguments, ax=axes)
    assert display.figure_ is plt.gcf()


@pytest.mark.parametrize(
    ("draw", "arguments"), DRAWN, ids=lambda d: getattr(d, "__qualname__", "")
)
def test_what_is_no_array_is_refused_by_name(draw, arguments):
    for name in arguments:
        with pytest.raises((TypeError, ValueError), match=name.removesuffix("s")):
            draw(**arguments | {name: object()})
