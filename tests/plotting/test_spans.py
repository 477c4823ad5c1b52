"""SpanDisplay: frames of labels, with known ones."""

import numpy as np
import pytest
from sklearn.exceptions import NotFittedError

from mmfusion.alignment import CTCAligner, DTWAligner
from mmfusion.plotting import SpanDisplay

TABLE = np.full((7, 3), 0.05)
TABLE[np.arange(7), [0, 1, 1, 0, 2, 2, 0]] = 0.9
X = {"network": [np.log(TABLE), np.log(TABLE)], "ids": [[1, 2], None]}


def test_bars_are_spans_as_high_as_posteriors():
    aligner = CTCAligner().fit(X)
    found = aligner.align(X)[0]
    display = SpanDisplay.from_estimator(
        aligner, X, known=[[1, 3], [4, 7]], facecolor="red"
    )
    np.testing.assert_allclose([b.get_x() for b in display.bars_], found.spans[:, 0])
    np.testing.assert_allclose(
        [b.get_height() for b in display.bars_], found.posteriors
    )
    assert [b.get_width() for b in display.known_] == [2, 3]
    assert display.bars_[0].get_facecolor()[:3] == (1, 0, 0)
    assert [text.get_text() for text in display.ax_.texts] == ["1", "2"]


def test_what_cannot_be_drawn():
    with pytest.raises(NotFittedError):
        SpanDisplay.from_estimator(CTCAligner(), X)
    with pytest.raises(TypeError, match="such as ForcedAligner"):
        SpanDisplay.from_estimator(DTWAligner().fit([np.eye(3)]), X)
    with pytest.raises(ValueError, match="sample 1 lacks frames or labels"):
        SpanDisplay.from_estimator(CTCAligner().fit(X), X, sample=1)
    with pytest.raises(ValueError, match="spans have shape"):
        SpanDisplay.from_predictions([[1, 2, 3]], labels=["a"], posteriors=[1.0])
    with pytest.raises(ValueError, match="one for each of 1 labels"):
        SpanDisplay.from_predictions([[1, 2]], labels=["a"], posteriors=[1.0, 0.5])
    with pytest.raises(ValueError, match="end before they begin"):
        SpanDisplay.from_predictions([[2, 1]], labels=["a"], posteriors=[1.0])
