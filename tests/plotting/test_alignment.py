"""An alignment is drawn as a path, as links, and as sequences that match."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

from mmfusion import Modalities
from mmfusion.alignment import (
    Alignment,
    AsynchronousHMMAligner,
    CTWAligner,
    DTWAligner,
    HMMAligner,
    PairHMMAligner,
    ProductHMMAligner,
    dtw_path,
)
from mmfusion.datasets import make_event_sequences
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
    display = AlignmentDisplay.from_predictions(x, y, path)
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
        AlignmentDisplay.from_predictions(X, Y, path)


def frames(n_samples=2):
    rng = np.random.default_rng(0)
    lengths = {"audio": 20, "video": 31, "text": 25}
    return Modalities(
        {
            name: [rng.normal(size=(n, 1)).cumsum(axis=0) for _ in range(n_samples)]
            for name, n in lengths.items()
        }
    )


def test_a_fitted_aligner_draws_its_paths():
    frame = frames()
    aligner = DTWAligner().fit(frame)
    display = AlignmentDisplay.from_estimator(aligner, frame, sample=1)
    np.testing.assert_array_equal(display.path, aligner.paths_[1]["video"])
    assert display.names == ("audio", "video")
    swapped = frame[["text", "video", "audio"]]
    again = AlignmentDisplay.from_estimator(
        aligner, swapped, sample=-1, names=("text", "audio"), color="C0"
    )
    np.testing.assert_array_equal(again.path[:, ::-1], aligner.paths_[1]["text"])
    assert again.path_line_.get_color() == "C0"


@pytest.mark.filterwarnings("ignore")  # of few iterations
@pytest.mark.parametrize(
    "aligner",
    [
        DTWAligner(gamma=1.0),
        CTWAligner(1),
        HMMAligner(3, reference="states"),
        ProductHMMAligner(2),
        PairHMMAligner(),
        AsynchronousHMMAligner(2, n_init=1, random_state=0),
    ],
    ids=str,
)
def test_every_aligner_draws_later_samples(aligner):
    frame = frames(4)[["audio", "video"]]
    if isinstance(aligner, AsynchronousHMMAligner):
        frame = make_event_sequences(4, random_state=0)[0]
    fitted = aligner.fit(frame[:3])
    display = AlignmentDisplay.from_estimator(fitted, frame[3:])
    assert display.names == frame.names
    np.testing.assert_array_equal(display.x, frame.blocks[0][3])
    n_last = [len(block[3]) - 1 for block in frame.blocks]
    assert (display.path.min(axis=0) >= 0).all()
    assert (display.path.max(axis=0) <= n_last).all()
    assert (np.diff(display.path, axis=0) >= 0).all()
    if not isinstance(aligner, AsynchronousHMMAligner):  # events leave frames out
        assert display.path[-1].tolist() == n_last
    display.figure_.canvas.draw()


class Uniform(DTWAligner):
    """Has weights, and no path."""

    def align(self, X):
        def weights(n):
            return np.eye(20)[:, np.linspace(0, 19, n).astype(int)]

        return [
            {
                name: Alignment(weights=weights(len(x)))
                for name, x in zip(X.names, row, strict=True)
            }
            for row in zip(*X.blocks, strict=True)
        ]


def test_weights_without_a_path_are_drawn_by_their_heaviest_frames():
    frame = frames()
    display = AlignmentDisplay.from_estimator(Uniform().fit(frame), frame)
    assert display.path[[0, -1]].tolist() == [[0, 0], [19, 30]]


@pytest.mark.parametrize("reference", ["barycenter", "text"])
def test_two_modalities_meet_on_the_axis_of_the_sample(reference):
    frame = frames()
    aligner = DTWAligner(reference=reference).fit(frame)
    display = AlignmentDisplay.from_estimator(aligner, frame)
    to_axis = aligner.paths_[0]
    shared = {
        (i, j)
        for s, i in to_axis["audio"].tolist()
        for t, j in to_axis["video"].tolist()
        if s == t
    }
    assert set(map(tuple, display.path.tolist())) <= shared
    assert [len(set(column)) for column in display.path.T.tolist()] == [20, 31]
    steps = np.diff(display.path, axis=0)
    assert ((steps >= 0) & (steps <= 1)).all()
    assert steps.any(axis=1).all()


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"sample": 2}, "sample is 2; give the position of one of the 2"),
        ({"sample": 0.5}, "sample is 0.5"),
        ({"names": ("audio", "smell")}, r"names= of two of them"),
        ({"names": ("audio",)}, "names are"),
    ],
)
def test_what_an_aligner_cannot_draw_is_refused(changes, match):
    frame = frames()
    with pytest.raises(ValueError, match=match):
        AlignmentDisplay.from_estimator(DTWAligner().fit(frame), frame, **changes)


def test_a_sample_with_one_sequence_is_refused():
    frame = frames().to_dict()
    lone = Modalities(
        {"audio": list(frame["audio"]), "video": [frame["video"][0], None]}
    )
    aligner = DTWAligner().fit(lone)
    with pytest.raises(ValueError, match=r"sequences of the modalities \['audio'\]"):
        AlignmentDisplay.from_estimator(aligner, lone, sample=1)
