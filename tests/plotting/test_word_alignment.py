"""WordAlignmentDisplay: posteriors, links and known links of a sample."""

import numpy as np
import pytest
from sklearn.exceptions import NotFittedError

from mmfusion.alignment import DTWAligner, WordAligner
from mmfusion.datasets import make_parallel_corpus
from mmfusion.plotting import WordAlignmentDisplay

X, LINKS, _ = make_parallel_corpus(40, random_state=0)


def test_links_and_known_links_are_drawn():
    aligner = WordAligner(n_iter=2).fit(X)
    display = WordAlignmentDisplay.from_estimator(
        aligner, X, LINKS, sample=3, cmap="Greys"
    )
    found = aligner.align(X)[3]
    np.testing.assert_array_equal(display.links_.get_offsets(), found[:, ::-1])
    np.testing.assert_array_equal(display.known_.get_offsets(), LINKS[3][:, ::-1])
    np.testing.assert_allclose(
        display.image_.get_array(), aligner.link_posteriors(X)[3]
    )
    assert display.image_.get_cmap().name == "Greys"
    names = [text.get_text() for text in display.ax_.get_yticklabels()]
    assert names == X["source"][3][:, 0].tolist()


def test_lists_of_tokens_and_possible_links():
    data = {"a": [["x", "y"]] * 3, "b": [["u", "v"]] * 3}
    display = WordAlignmentDisplay.from_estimator(WordAligner(n_iter=1).fit(data), data)
    assert display.known_ is None
    known = [[0, 0, 1], [1, 1, 0]]
    display = WordAlignmentDisplay.from_predictions(
        np.eye(2), [], source=["x", "y"], target=["u", "v"], known=known
    )
    sure, possible = display.known_.get_linewidths()
    assert sure > possible
    assert len(display.links_.get_offsets()) == 0


def test_errors_have_a_remedy():
    with pytest.raises(NotFittedError):
        WordAlignmentDisplay.from_estimator(WordAligner(), X)
    with pytest.raises(TypeError, match="WordAligner"):
        WordAlignmentDisplay.from_estimator(DTWAligner().fit([np.eye(3)]), X)
    aligner = WordAligner(n_iter=1).fit(X)
    empty = {"source": [["s1"], []], "target": [["t1"], ["t2"]]}
    with pytest.raises(ValueError, match="sample 1 has no tokens"):
        WordAlignmentDisplay.from_estimator(aligner, empty, sample=1)
    words = {"source": ["a"], "target": ["b"]}
    with pytest.raises(ValueError, match="a row and a column each"):
        WordAlignmentDisplay.from_predictions(np.eye(2), [], **words)
    with pytest.raises(ValueError, match="links has positions beyond the 1 source"):
        WordAlignmentDisplay.from_predictions([[1.0]], [[0, 1]], **words)
    with pytest.raises(ValueError, match="known is of float64"):
        WordAlignmentDisplay.from_predictions([[1.0]], [], known=[[0.5, 1]], **words)
