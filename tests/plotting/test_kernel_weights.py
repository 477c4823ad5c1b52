"""A bar per kernel, in the color of its modality; sums of several as text."""

from itertools import pairwise

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_rgba
from sklearn.exceptions import NotFittedError

from mmfusion import EarlyFusionClusterer
from mmfusion.datasets import make_multimodal_blobs
from mmfusion.mkl import MKLClassifier, MKLClusterer, MKLRegressor
from mmfusion.plotting import KernelWeightsDisplay

KERNELS = {"audio": ["rbf", "linear"]}


@pytest.fixture(scope="module")
def samples():
    return make_multimodal_blobs(60, {"audio": 3, "video": 4}, random_state=0)


def bars(display):
    """Name, width and color of every bar, from top to bottom."""
    names = [text.get_text() for text in display.ax_.get_yticklabels()]
    order = np.argsort([bar.get_y() for bar in display.bars_])
    assert display.ax_.yaxis_inverted()
    assert len(names) == len(display.bars_)
    return [
        (names[p], display.bars_[p].get_width(), display.bars_[p].get_facecolor())
        for p in order
    ]


def test_bars_are_as_long_as_the_weights():
    display = KernelWeightsDisplay.from_predictions([0.7, 0, 0.3], ["a", "b", "c"])
    drawn = bars(display)
    assert [(name, width) for name, width, _ in drawn] == [
        ("a", 0.7),
        ("b", 0),
        ("c", 0.3),
    ]
    assert len({color for _, _, color in drawn}) == 3
    assert [text.get_text() for text in display.ax_.texts] == ["0.700", "0", "0.300"]
    assert display.sums_ == {}


def test_kernels_of_a_modality_stand_together_in_one_color():
    owners = ["b", "a", "b", "c", "a"]
    display = KernelWeightsDisplay.from_predictions(
        [1, 2, 3, 4, 5], range(5), kernel_modalities=owners
    )
    names, widths, colors = zip(*bars(display), strict=True)
    assert names == ("0", "2", "1", "4", "3")
    assert widths == (1, 3, 2, 5, 4)
    assert colors[0] == colors[1]
    assert colors[2] == colors[3]
    assert len(set(colors)) == 3


def test_modalities_with_several_kernels_have_their_sum_beside_their_bars():
    display = KernelWeightsDisplay.from_predictions(
        [0.2, 0.5, 0.3], list("xyz"), kernel_modalities=["m", "n", "m"]
    )
    ((modality, text),) = display.sums_.items()
    assert (modality, text.get_text()) == ("m", "m: 0.500")
    own = [bar for bar in display.bars_ if bar.get_width() in (0.2, 0.3)]
    heights = [bar.get_y() + bar.get_height() / 2 for bar in own]
    assert text.get_position()[1] == pytest.approx(np.mean(heights))


def test_names_do_not_overlap_and_stay_inside_the_figure():
    names = [f"a long name of a kernel {p}" for p in range(40)]
    display = KernelWeightsDisplay.from_predictions(
        np.ones(40), names, kernel_modalities=np.arange(40) // 8
    )
    display.figure_.canvas.draw()
    boxes = [text.get_window_extent() for text in display.ax_.get_yticklabels()]
    for above, below in pairwise(boxes):
        assert above.y0 > below.y1
    sums = [text.get_window_extent() for text in display.sums_.values()]
    width = display.figure_.bbox.width
    assert min(box.x0 for box in boxes) >= 0
    assert max(box.x1 for box in sums) <= width


@pytest.mark.parametrize("machine", [MKLClusterer(2), MKLClassifier(), MKLRegressor()])
def test_weights_of_an_estimator_and_the_sums_of_its_modalities(machine, samples):
    X, y = samples
    machine = machine.set_params(kernel=KERNELS, algorithm="average").fit(X, y)
    _, ax = plt.subplots()
    display = KernelWeightsDisplay.from_estimator(machine, ax=ax, color="red")
    assert display.ax_ is ax
    assert display.names == ["audio-0", "audio-1", "video"]
    assert display.kernel_modalities == ["audio", "audio", "video"]
    np.testing.assert_array_equal(display.weights, machine.kernel_weights_)
    text = display.sums_["audio"].get_text()
    assert text == f"audio: {machine.modality_weights_[0]:.3f}"
    assert display.bars_[0].get_facecolor() == to_rgba("red")


def test_names_of_modalities_may_look_like_those_of_kernels(samples):
    X, y = samples
    frame = {"a-b": X["audio"], "a": X["video"], "c-1": X["audio"]}
    machine = MKLClassifier({"a": ["rbf", "linear"]}).fit(frame, y)
    display = KernelWeightsDisplay.from_estimator(machine)
    assert display.names == ["a-b", "a-0", "a-1", "c-1"]
    assert display.kernel_modalities == ["a-b", "a", "a", "c-1"]


def test_what_cannot_be_drawn_is_refused():
    draw = KernelWeightsDisplay.from_predictions
    with pytest.raises(ValueError, match="one weight for each of the 2 kernels"):
        draw([0.5, 0.3, 0.2], ["a", "b"])
    with pytest.raises(ValueError, match="finite and not negative"):
        draw([1.5, -0.5], ["a", "b"])
    with pytest.raises(ValueError, match="kernel_modalities has 1 modalities"):
        draw([0.5, 0.5], ["a", "b"], kernel_modalities=["m"])
    with pytest.raises(NotFittedError):
        KernelWeightsDisplay.from_estimator(MKLClassifier())
    other = EarlyFusionClusterer(n_clusters=2).fit(np.eye(4))
    with pytest.raises(TypeError, match=r"no kernel_weights_.*MKLClusterer.*step"):
        KernelWeightsDisplay.from_estimator(other)
