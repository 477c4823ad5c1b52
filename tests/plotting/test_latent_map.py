"""Maps hold the samples, in the colors of their clusters, and gaps stay gaps."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_rgba
from sklearn.base import BaseEstimator
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError

from mmfusion import Trainer
from mmfusion.clustering import EAMCClusterer
from mmfusion.plotting import LatentMapDisplay


class FirstColumns(BaseEstimator):
    """Maps by taking columns as they are."""

    def __init__(self, n=2):
        self.n = n

    def fit_transform(self, X):
        return X[:, : self.n]


@pytest.fixture
def latents():
    rng = np.random.default_rng(0)
    latents = {name: rng.normal(size=(30, 5)) for name in ("audio", "video")}
    latents["video"][:10] = np.nan
    return latents


LABELS = np.arange(30) % 3


def test_each_map_is_the_principal_plane_of_its_latents(latents):
    fused = latents["audio"] * 2
    display = LatentMapDisplay.from_predictions(fused, latents, LABELS)
    expected = PCA(2).fit_transform(latents["video"][10:])
    np.testing.assert_allclose(display.scatters_[2].get_offsets(), expected)
    expected = PCA(2).fit_transform(fused)
    np.testing.assert_allclose(display.scatters_[0].get_offsets(), expected)
    display.figure_.canvas.draw()


def test_samples_that_lack_a_modality_are_not_on_its_map(latents):
    display = LatentMapDisplay.from_predictions(latents["audio"], latents, LABELS)
    assert [len(s.get_offsets()) for s in display.scatters_] == [30, 30, 20]
    assert np.isnan(display.modalities["video"][:10]).all()
    titles = [ax.get_title() for ax in display.axes_]
    assert titles == ["fused", "audio", "video (20 of 30 samples)"]


def test_a_modality_that_no_sample_has_leaves_its_map_empty(latents):
    latents["video"][:] = np.nan
    display = LatentMapDisplay.from_predictions(latents["audio"], latents, LABELS)
    assert len(display.scatters_[2].get_offsets()) == 0
    assert display.axes_[2].get_title() == "video (0 of 30 samples)"
    display.figure_.canvas.draw()


def test_samples_have_the_color_of_their_cluster_on_every_map(latents):
    display = LatentMapDisplay.from_predictions(latents["audio"], latents, LABELS)
    legend = display.axes_[2].get_legend()
    assert legend.get_title().get_text() == "cluster"
    handles = np.array([to_rgba(h.get_color()) for h in legend.legend_handles])
    assert len(np.unique(handles, axis=0)) == 3
    rows = [np.arange(30), np.arange(30), np.arange(10, 30)]
    for scatter, shown in zip(display.scatters_, rows, strict=True):
        found = scatter.get_facecolors()[:, :3]
        np.testing.assert_allclose(found, handles[LABELS[shown], :3])


def test_any_transformer_makes_the_maps(latents):
    display = LatentMapDisplay.from_predictions(
        latents["audio"], latents, LABELS, reducer=FirstColumns(3)
    )
    offsets = display.scatters_[1].get_offsets()
    np.testing.assert_array_equal(offsets, latents["audio"][:, :2])
    with pytest.raises(ValueError, match=r"FirstColumns returned shape \(30, 1\)"):
        LatentMapDisplay.from_predictions(
            latents["audio"], latents, LABELS, reducer=FirstColumns(1)
        )


def test_many_modalities_wrap_into_rows():
    Z = np.random.default_rng(0).normal(size=(30, 4))
    display = LatentMapDisplay.from_predictions(
        Z, {f"m{i}": Z for i in range(8)}, np.arange(30)
    )
    assert len(display.axes_) == len(display.scatters_) == 9
    assert len(display.figure_.axes) == 9
    display.figure_.canvas.draw()


def test_axes_may_be_given_one_for_each_map(latents):
    _, axes = plt.subplots(1, 3)
    display = LatentMapDisplay.from_predictions(
        latents["audio"], latents, LABELS, ax=axes, s=3
    )
    assert display.axes_.tolist() == axes.tolist()
    assert display.scatters_[0].get_sizes().tolist() == [3]
    with pytest.raises(ValueError, match="ax has 2 Axes; 3 are needed"):
        display.plot(axes[:2])


def test_lengths_must_agree(latents):
    with pytest.raises(ValueError, match=r"modality 'video' has .* for 30 labels"):
        LatentMapDisplay.from_predictions(
            latents["audio"], latents | {"video": latents["video"][:5]}, LABELS
        )


def test_the_latents_of_the_modalities_add_up_to_the_fused_ones(fitted, blobs):
    latents = fitted.modality_latents(blobs)
    assert list(latents) == list(blobs.names)
    stacked = np.stack(list(latents.values()), axis=1)
    assert (np.isnan(stacked).all(axis=2) == ~blobs.observed).all()
    assert (np.isnan(stacked).any(axis=2) == ~blobs.observed).all()
    shares = blobs.observed * fitted.attention_weights_
    shares /= shares.sum(axis=1, keepdims=True)
    fused = np.einsum("nv,nvd->nd", shares, np.nan_to_num(stacked))
    np.testing.assert_allclose(fused, fitted.transform(blobs), atol=1e-6)


def positions(points, among):
    """Where points are; batches of other samples round otherwise."""
    distances = np.abs(points[:, None] - among).max(axis=2)
    assert (distances.min(axis=1) < 1e-5).all()
    return distances.argmin(axis=1)


def test_samples_of_a_network_are_drawn_at_most_so_many(fitted, blobs):
    display = LatentMapDisplay.from_estimator(
        fitted, blobs, max_samples=20, reducer=FirstColumns()
    )
    assert len(display.labels) == 20
    rows = positions(display.fused, fitted.transform(blobs)[:, :2])
    assert len(set(rows)) == 20
    np.testing.assert_array_equal(display.labels, fitted.predict(blobs)[rows])
    again = LatentMapDisplay.from_estimator(
        fitted, blobs, max_samples=20, reducer=FirstColumns()
    )
    np.testing.assert_array_equal(again.fused, display.fused)


def test_other_labels_may_color_the_samples(fitted, blobs):
    y = np.array([f"class {i}" for i in range(60)])
    display = LatentMapDisplay.from_estimator(
        fitted, blobs, y=y, max_samples=None, reducer=FirstColumns()
    )
    rows = positions(display.fused, fitted.transform(blobs)[:, :2])
    assert sorted(rows) == list(range(60))
    np.testing.assert_array_equal(display.labels, y[rows])
    with pytest.raises(ValueError, match="y has 5 labels for 60 samples"):
        LatentMapDisplay.from_estimator(fitted, blobs, y=y[:5])


def test_a_table_is_split_as_in_fit():
    rng = np.random.default_rng(0)
    table = rng.normal(size=(40, 6))
    clusterer = EAMCClusterer(
        2,
        encoders=[8],
        n_init=1,
        trainer=Trainer(pretrain_epochs=2, max_epochs=1, batch_size=20),
        modalities={"audio": [0, 1], "video": [2, 3, 4, 5]},
        random_state=0,
    ).fit(table)
    display = LatentMapDisplay.from_estimator(clusterer, table)
    assert list(display.modalities) == ["audio", "video"]
    assert len(display.fused) == 40


def test_estimators_without_latents_are_refused():
    with pytest.raises(NotFittedError):
        LatentMapDisplay.from_estimator(EAMCClusterer(), np.ones((3, 2)))
    other = KMeans(2, n_init=1).fit(np.eye(3))
    with pytest.raises(TypeError, match="KMeans has no modality_latents"):
        LatentMapDisplay.from_estimator(other, np.eye(3))
