"""Error of a path against known matches."""

import numpy as np
import pytest

from mmfusion.metrics import alignment_error


def test_error_is_the_mean_deviation_of_the_mean_aligned_frame():
    path = [[0, 0], [1, 1], [1, 2], [3, 4]]
    assert alignment_error(path, [[0, 1], [1, 1.5], [2, 3], [9, 4]]) == pytest.approx(
        (1 + 0 + 0.25 + 0) / 4
    )


def test_unknown_matches_do_not_count():
    path = np.column_stack([np.arange(4)] * 2)
    assert alignment_error(path, [[1, 3], [np.nan, 0], [2, np.nan]]) == 2
    assert np.isnan(alignment_error(path, [[np.nan, 1]]))


@pytest.mark.parametrize(
    ("path", "matches", "message"),
    [
        ([0, 1], [[0, 0]], "path is of shape"),
        (np.empty((0, 2)), [[0, 0]], "path is of shape"),
        ([[0, 1], [1, 0]], [[0, 0]], "path goes back"),
        ([[0, 0]], [0, 1], "matches are of shape"),
    ],
)
def test_other_shapes_are_refused(path, matches, message):
    with pytest.raises(ValueError, match=message):
        alignment_error(path, matches)
