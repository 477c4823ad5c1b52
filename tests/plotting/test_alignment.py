"""An alignment is drawn as a path, as links, and as sequences that match."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

from mmfusion.alignment import dtw_path
from mmfusion.plotting import AlignmentDisplay

T = np.linspace(0, 1, 60)
X, Y = np.sin(9 * T), np.sin(9 * T[:40] ** 2)


def test_the_path_is_drawn_over_the_costs():
    display = AlignmentDisplay.from_sequences(X, Y)
    found = dtw_path(X, Y)
    line = np.column_stack(display.path_line_.get_data())
    np.testing.assert_array_equal(line, found.path[:, ::-1])
    np.testing.assert_allclose(display.image_.get_array(), (X[:, None] - Y) ** 2)
    display.figure_.canvas.draw()


def test_links_join_frames_that_are_aligned():
    display = AlignmentDisplay.from_sequences(X, Y, window="sakoe_chiba", radius=30)
    pairs = {(int(a[0]), int(b[0])) for a, b in display.links_.get_segments()}
    assert pairs <= set(map(tuple, display.path.tolist()))
    assert {(0, 0), (59, 39)} <= pairs


def test_aligned_sequences_are_as_long_as_the_path():
    display = AlignmentDisplay.from_sequences(X, Y, names=("left", "right"))
    curves = display.axes_[2].get_lines()
    assert [curve.get_label() for curve in curves] == ["left", "right"]
    assert {len(curve.get_xdata()) for curve in curves} == {len(display.path)}


def test_a_known_path_needs_no_costs_and_no_common_features():
    x, y = np.ones((5, 2)), np.arange(9.0).reshape(3, 3)
    path = [[0, 0], [2, 1], [4, 2]]
    display = AlignmentDisplay.from_path(x, y, path)
    assert display.image_ is None
    assert display.costs is None
    display.figure_.canvas.draw()


def test_long_sequences_make_an_image_of_bounded_size():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 2000)).cumsum(axis=1)
    display = AlignmentDisplay.from_sequences(x, y)
    assert max(display.costs.shape) <= 800
    assert display.axes_[0].get_xlim()[1] == 1999.5


def test_axes_are_taken_if_there_are_three():
    _, axes = plt.subplots(3)
    display = AlignmentDisplay.from_sequences(X, Y, ax=axes)
    assert display.figure_ is axes[0].figure
    with pytest.raises(ValueError, match="ax has 1 Axes; 3 are needed"):
        display.plot(axes[0])


@pytest.mark.parametrize(
    ("path", "match"),
    [
        ([[0, 40]], r"frames \[0, 40\] of sequences with 60 and 40"),
        ([0, 1], r"path has shape \(2,\)"),
        ([[-1, 0]], "path goes to frames"),
    ],
)
def test_a_path_that_does_not_fit_is_refused(path, match):
    with pytest.raises(ValueError, match=match):
        AlignmentDisplay.from_path(X, Y, path)
