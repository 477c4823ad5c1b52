"""The objective is drawn step by step, where an algorithm takes steps."""

import numpy as np
import pytest
from sklearn.exceptions import NotFittedError

from mmfusion import EarlyFusionClusterer
from mmfusion.datasets import make_multimodal_blobs
from mmfusion.mkl import MKLClassifier, MKLClusterer, MKLRegressor
from mmfusion.plotting import ObjectivePathDisplay

GAMMAS = [0.01, 1.0, 10.0]
STEPPING = [
    *(
        MKLClusterer(3, algorithm=algorithm, random_state=0)
        for algorithm in ("late_fusion", "mkkm", "mkkm_mr", "simple_mkkm")
    ),
    *(MKLClassifier(gamma=GAMMAS, algorithm=algorithm) for algorithm in ("l1", "lp")),
    *(MKLRegressor(gamma=GAMMAS, algorithm=algorithm) for algorithm in ("l1", "lp")),
]
AT_ONCE = [
    *(
        MKLClusterer(3, algorithm=algorithm, random_state=0)
        for algorithm in ("agreement", "average", "statis")
    ),
    *(
        MKLClassifier(algorithm=algorithm)
        for algorithm in ("alignment", "average", "easymkl")
    ),
    *(MKLRegressor(algorithm=algorithm) for algorithm in ("alignment", "average")),
]


@pytest.fixture(scope="module")
def samples():
    X, y = make_multimodal_blobs(
        60,
        {"audio": 3, "video": 4},
        cluster_std={"audio": 3, "video": 8},
        random_state=0,
    )
    rng = np.random.default_rng(0)
    return X, y, y + 0.3 * rng.normal(size=len(y))


def fitted(estimator, samples):
    X, classes, values = samples
    y = values if isinstance(estimator, MKLRegressor) else classes
    return estimator.fit(X, y)


@pytest.mark.parametrize("estimator", STEPPING, ids=str)
def test_every_step_is_a_point(estimator, samples):
    estimator = fitted(estimator, samples)
    display = ObjectivePathDisplay.from_estimator(estimator)
    x, y = display.line_.get_data()
    np.testing.assert_array_equal(x, np.arange(1, estimator.n_iter_ + 1))
    np.testing.assert_array_equal(y, estimator.objective_path_)
    (text,) = display.ax_.get_legend().get_texts()
    assert text.get_text() == estimator.algorithm


@pytest.mark.parametrize("estimator", AT_ONCE, ids=str)
def test_algorithms_without_steps_are_refused_by_name(estimator, samples):
    estimator = fitted(estimator, samples)
    message = rf"algorithm='{estimator.algorithm}' .* 'simple_mkkm' of .* 'lp' of"
    with pytest.raises(ValueError, match=message):
        ObjectivePathDisplay.from_estimator(estimator)


def test_several_paths_share_axes_and_legend():
    first = ObjectivePathDisplay.from_predictions([3, 2, 1], name="cold")
    second = ObjectivePathDisplay.from_predictions(
        [2, 1], name="warm", ax=first.ax_, linestyle=":"
    )
    assert second.figure_ is first.figure_
    assert list(first.ax_.lines) == [first.line_, second.line_]
    texts = [text.get_text() for text in first.ax_.get_legend().get_texts()]
    assert texts == ["cold", "warm"]
    assert first.line_.get_color() != second.line_.get_color()
    assert second.line_.get_linestyle() == ":"


def test_a_path_without_name_has_no_legend():
    display = ObjectivePathDisplay.from_predictions([2, 1])
    assert display.ax_.get_legend() is None
    assert ObjectivePathDisplay.from_predictions([2, 1], label="l1").ax_.get_legend()


def test_what_cannot_be_drawn_is_refused():
    with pytest.raises(ValueError, match=r"path has shape \(1,\)"):
        ObjectivePathDisplay.from_predictions([1.0])
    with pytest.raises(ValueError, match=r"path has shape \(2, 2\)"):
        ObjectivePathDisplay.from_predictions(np.eye(2))
    with pytest.raises(NotFittedError):
        ObjectivePathDisplay.from_estimator(MKLRegressor())
    other = EarlyFusionClusterer(n_clusters=2).fit(np.eye(4))
    with pytest.raises(TypeError, match="has no objective_path_"):
        ObjectivePathDisplay.from_estimator(other)
