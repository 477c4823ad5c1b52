"""Bars are the weights; dots average what the members of a cluster give them."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_rgba
from sklearn.exceptions import NotFittedError

from mmfusion import EarlyFusionClusterer
from mmfusion.clustering import EAMCClusterer
from mmfusion.plotting import AttentionWeightsDisplay


def positions(display):
    """Weights at which dots are drawn, of shape (n_clusters, n_modalities)."""
    return np.array([dots.get_offsets()[:, 0] for dots in display.dots_])


def test_bars_are_as_long_as_the_weights():
    display = AttentionWeightsDisplay.from_predictions([3, 1], ["audio", "video"])
    assert [bar.get_width() for bar in display.bars_] == [0.75, 0.25]
    assert [t.get_text() for t in display.ax_.get_yticklabels()] == ["audio", "video"]
    assert display.dots_ == []
    assert display.ax_.get_legend() is None
    display.figure_.canvas.draw()


def test_dots_average_the_weights_over_what_is_observed():
    rng = np.random.default_rng(0)
    weights = np.array([0.5, 0.3, 0.2])
    observed = rng.random((50, 3)) < 0.6
    observed[:, 2] = True
    labels = rng.integers(4, size=50)
    display = AttentionWeightsDisplay.from_predictions(
        weights, list("abc"), labels=labels, observed=observed
    )
    for cluster in range(4):
        members = [
            weights * seen / sum(w for w, s in zip(weights, seen, strict=True) if s)
            for seen in observed[labels == cluster]
        ]
        np.testing.assert_allclose(
            positions(display)[cluster], np.mean(members, axis=0)
        )


def test_where_nothing_is_missing_clusters_do_not_differ():
    display = AttentionWeightsDisplay.from_predictions(
        [0.6, 0.4], ["a", "b"], labels=["x", "y", "y"]
    )
    assert display.clusters.tolist() == ["x", "y"]
    np.testing.assert_allclose(positions(display), [[0.6, 0.4]] * 2)


def test_dots_lie_on_the_bar_of_their_modality():
    display = AttentionWeightsDisplay.from_predictions(
        np.ones(30), [f"m{i}" for i in range(30)], labels=np.arange(25)
    )
    for v, bar in enumerate(display.bars_):
        heights = [dots.get_offsets()[v, 1] for dots in display.dots_]
        assert bar.get_y() < min(heights)
        assert max(heights) < bar.get_y() + bar.get_height()
    display.figure_.canvas.draw()


def test_each_cluster_has_a_color_that_the_legend_shows():
    display = AttentionWeightsDisplay.from_predictions(
        [1, 1], ["a", "b"], labels=np.arange(25)
    )
    colors = [tuple(dots.get_facecolors()[0]) for dots in display.dots_]
    assert len(set(colors)) == 25
    legend = display.ax_.get_legend()
    assert [text.get_text() for text in legend.get_texts()] == list(map(str, range(25)))
    handles = [to_rgba(handle.get_color()) for handle in legend.legend_handles]
    np.testing.assert_allclose(handles, colors)


def test_weights_of_a_network(fitted, blobs):
    _, ax = plt.subplots()
    display = AttentionWeightsDisplay.from_estimator(fitted, ax=ax, color="red")
    assert display.ax_ is ax
    widths = [bar.get_width() for bar in display.bars_]
    np.testing.assert_allclose(widths, fitted.attention_weights_, rtol=1e-6)
    assert display.bars_[0].get_facecolor() == to_rgba("red")
    assert display.names == list(blobs.names)


def test_clusters_of_a_network_show_what_they_lack(fitted, blobs):
    labels = fitted.predict(blobs)
    display = AttentionWeightsDisplay.from_estimator(fitted, blobs)
    again = AttentionWeightsDisplay.from_predictions(
        fitted.attention_weights_,
        blobs.names,
        labels=labels,
        observed=blobs.observed,
    )
    np.testing.assert_allclose(positions(display), positions(again))
    lacking = [not blobs.observed[labels == c].all() for c in display.clusters]
    more = positions(display)[:, 0] > fitted.attention_weights_[0] + 1e-6
    assert any(lacking)
    assert more.tolist() == lacking


def test_modalities_are_matched_by_name(fitted, blobs):
    turned = blobs[list(blobs.names[::-1])]
    displays = [
        AttentionWeightsDisplay.from_estimator(fitted, X) for X in (blobs, turned)
    ]
    np.testing.assert_array_equal(*map(positions, displays))


def test_what_cannot_be_drawn_is_refused():
    draw = AttentionWeightsDisplay.from_predictions
    with pytest.raises(ValueError, match="one weight for each of the 2 modalities"):
        draw([0.5, 0.3, 0.2], ["a", "b"])
    with pytest.raises(ValueError, match=r"shape \(2, 2\).* should be \(3, 2\)"):
        draw([0.5, 0.5], ["a", "b"], labels=[0, 1, 1], observed=np.ones((2, 2), bool))
    with pytest.raises(ValueError, match="sample 1 has no observed modality"):
        draw([1, 0], ["a", "b"], labels=[0, 1], observed=[[True, False], [False, True]])
    with pytest.raises(NotFittedError):
        AttentionWeightsDisplay.from_estimator(EAMCClusterer())
    other = EarlyFusionClusterer(n_clusters=2).fit(np.eye(4))
    with pytest.raises(TypeError, match="has no attention_weights_"):
        AttentionWeightsDisplay.from_estimator(other)
