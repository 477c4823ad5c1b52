"""Kernels are drawn by cluster, in one range of colors, beside their weighted sum."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.exceptions import NotFittedError

from mmfusion import Modalities
from mmfusion.datasets import make_multimodal_blobs
from mmfusion.mkl import MKLClassifier, MKLClusterer, ModalityKernels
from mmfusion.plotting import KernelMatrixDisplay
from mmfusion.plotting._kernel_matrices import _choose_samples


@pytest.fixture(scope="module")
def samples():
    return make_multimodal_blobs(60, {"audio": 3, "video": 4}, random_state=0)


def fit_clusterer(X, **options):
    return MKLClusterer(3, random_state=0, **options).fit(X)


@pytest.fixture(scope="module")
def clusterer(samples):
    return fit_clusterer(samples[0], kernel={"audio": ["rbf", "linear"]})


def symmetric(n, seed=0):
    Z = np.random.default_rng(seed).normal(size=(n, 3))
    return Z @ Z.T


def pixels(display):
    return [np.asarray(image.get_array()) for image in display.images_]


def titles(display):
    return [ax.get_title() for ax in display.axes_]


def edges(lines):
    """Where the lines of one direction stand, from the first to the last."""
    horizontal, vertical = lines
    rows = [segment[0, 1] for segment in horizontal.get_segments()]
    columns = [segment[0, 0] for segment in vertical.get_segments()]
    assert rows == columns
    return rows


def test_samples_are_in_the_order_of_their_clusters():
    K = symmetric(7)
    labels = np.array(["b", "a", "c", "a", "b", "a", "c"])
    display = KernelMatrixDisplay.from_predictions([K], labels)
    order = [1, 3, 5, 0, 4, 2, 6]
    assert display.samples.tolist() == order
    assert display.labels.tolist() == sorted(labels)
    np.testing.assert_array_equal(pixels(display), [K[np.ix_(order, order)]])
    (ax,) = display.axes_
    assert [text.get_text() for text in ax.get_yticklabels()] == ["a", "b", "c"]
    assert ax.get_yticks().tolist() == [1, 3.5, 5.5]
    assert edges(display.lines_[0]) == [2.5, 4.5]
    assert ax.yaxis_inverted()


def test_the_weighted_sum_is_drawn_before_its_kernels():
    kernels = {"audio": symmetric(6, 0), "video": symmetric(6, 1)}
    display = KernelMatrixDisplay.from_predictions(
        kernels, np.zeros(6), weights=[0.25, 0.75]
    )
    total = 0.25 * kernels["audio"] + 0.75 * kernels["video"]
    expected = [total, *kernels.values()]
    np.testing.assert_allclose(pixels(display), expected)
    assert titles(display) == ["weighted sum", "audio (0.250)", "video (0.750)"]
    equal = KernelMatrixDisplay.from_predictions(kernels, np.zeros(6))
    np.testing.assert_allclose(
        pixels(equal)[0], np.mean(list(kernels.values()), axis=0)
    )
    assert titles(equal) == ["mean", "audio", "video"]


def test_kernels_in_any_form_are_drawn_alike():
    kernels = [symmetric(8, 0), symmetric(8, 1)]
    names = ["a", "b"]
    forms = [
        kernels,
        np.dstack(kernels),
        dict(zip(names, kernels, strict=True)),
        Modalities(kernels, names=names),
    ]
    labels = np.arange(8) % 3
    displays = [KernelMatrixDisplay.from_predictions(form, labels) for form in forms]
    for display in displays[1:]:
        np.testing.assert_array_equal(pixels(display), pixels(displays[0]))
    assert [display.names for display in displays] == [
        ["kernel_0", "kernel_1"],
        ["kernel_0", "kernel_1"],
        names,
        names,
    ]
    lone = KernelMatrixDisplay.from_predictions(kernels[0], labels, names=["a"])
    np.testing.assert_array_equal(pixels(lone), pixels(displays[0])[1:2])


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.integers(1, 60), min_size=1, max_size=12),
    st.integers(12, 80),
    st.randoms(use_true_random=False),
)
def test_thinning_keeps_the_shares_and_the_spread_of_clusters(sizes, most, random):
    labels = np.repeat(np.arange(len(sizes)), sizes)
    random.shuffle(labels)
    drawn = _choose_samples(labels, most)
    assert len(drawn) <= most
    assert len(set(drawn)) == len(drawn)
    assert (np.diff(labels[drawn]) >= 0).all()
    for cluster, size in enumerate(sizes):
        places = np.searchsorted(
            np.flatnonzero(labels == cluster), drawn[labels[drawn] == cluster]
        )
        share = size * min(1, most / len(labels))
        assert len(places) >= 1
        assert abs(len(places) - share) <= len(sizes) + 1
        assert (np.diff(places) > 0).all()
        assert np.ptp(np.diff([*places, size])) <= 1


def test_of_many_samples_some_are_drawn_and_their_number_shown():
    K, labels = symmetric(100), np.arange(100) % 4
    display = KernelMatrixDisplay.from_predictions(K, labels, max_samples=40)
    assert np.bincount(display.labels).tolist() == [10] * 4
    drawn = display.samples
    np.testing.assert_array_equal(labels[drawn], display.labels)
    np.testing.assert_array_equal(pixels(display)[0], K[np.ix_(drawn, drawn)])
    assert display.axes_[0].get_ylabel() == "cluster (40 of 100 samples)"
    whole = KernelMatrixDisplay.from_predictions(K, labels, max_samples=None)
    assert pixels(whole)[0].shape == (100, 100)
    assert whole.axes_[0].get_ylabel() == "cluster (100 samples)"


def test_all_images_share_colors_that_one_outlier_does_not_stretch():
    K = symmetric(60)
    K[3, 7] = K[7, 3] = 1e6
    display = KernelMatrixDisplay.from_predictions([K, -K], np.zeros(60))
    limits = {image.get_clim() for image in display.images_}
    assert len(limits) == 1
    ((low, high),) = limits
    assert low == -high
    assert 0 < high < 20
    positive = KernelMatrixDisplay.from_predictions(np.abs(K) + 5, np.zeros(60))
    low, high = positive.images_[0].get_clim()
    assert 5 <= low < high < 25
    assert positive.images_[0].cmap.name != display.images_[0].cmap.name


def test_style_is_handed_on():
    display = KernelMatrixDisplay.from_predictions(
        symmetric(5), np.zeros(5), vmin=-2, vmax=3, cmap="Greys"
    )
    assert display.images_[0].get_clim() == (-2, 3)
    assert display.images_[0].cmap.name == "Greys"


def test_small_clusters_have_lines_but_no_names():
    labels = np.repeat([0, 1, 2], [1, 50, 49])
    display = KernelMatrixDisplay.from_predictions(symmetric(100), labels)
    (ax,) = display.axes_
    assert [text.get_text() for text in ax.get_yticklabels()] == ["1", "2"]
    assert edges(display.lines_[0]) == [0.5, 50.5]


def test_given_axes_are_drawn_on(samples, clusterer):
    figure, axes = plt.subplots(2, 2)
    display = KernelMatrixDisplay.from_estimator(clusterer, samples[0], ax=axes)
    assert display.figure_ is figure
    assert display.axes_.tolist() == axes.ravel().tolist()
    with pytest.raises(ValueError, match=r"ax has 1 Axes; 4 are needed"):
        display.plot(axes[0, 0])


def test_kernels_of_a_clusterer_are_drawn_by_its_clusters(samples, clusterer):
    X, _ = samples
    display = KernelMatrixDisplay.from_estimator(clusterer, X)
    tables = clusterer.kernels_.transform(X)
    order = np.argsort(clusterer.labels_, kind="stable")
    for image, table in zip(pixels(display)[1:], tables.blocks, strict=True):
        np.testing.assert_allclose(image, table[np.ix_(order, order)], atol=1e-12)
    np.testing.assert_array_equal(display.weights, clusterer.kernel_weights_)
    np.testing.assert_array_equal(display.labels, clusterer.labels_[order])
    assert display.names == ["audio-0", "audio-1", "video"]
    display.figure_.canvas.draw()


def test_thinned_kernels_are_parts_of_the_whole(samples, clusterer):
    X, y = samples
    whole = KernelMatrixDisplay.from_estimator(clusterer, X, labels=y)
    part = KernelMatrixDisplay.from_estimator(clusterer, X, labels=y, max_samples=20)
    places = [whole.samples.tolist().index(sample) for sample in part.samples]
    among = np.ix_(places, places)
    for few, all_of_them in zip(part.kernels, whole.kernels, strict=True):
        np.testing.assert_allclose(few, all_of_them[among], atol=1e-12)
    assert part.axes_[0].get_ylabel() == "label (18 of 60 samples)"


def test_samples_that_lack_modalities_are_choose_samples(samples):
    X, _ = samples
    observed = np.ones(X.shape, bool)
    observed[::4, 1] = False
    gaps = Modalities(X, observed=observed)
    display = KernelMatrixDisplay.from_estimator(fit_clusterer(gaps), gaps)
    lacking = ~observed[display.samples, 1]
    assert not display.kernels[1][lacking].any()
    assert display.kernels[1][~lacking][:, ~lacking].any(axis=1).all()


def test_input_in_any_form_is_drawn_alike(samples):
    X, _ = samples
    blocks = [X["audio"], X["video"]]
    table = np.hstack(blocks)
    forms = [
        (blocks, None),
        (table, [3, 4]),
        (pd.DataFrame(table, columns=list("abcdefg")), [3, 4]),
        ({"audio": blocks[0], "video": blocks[1]}, None),
    ]
    images = []
    for form, spec in forms:
        fitted = fit_clusterer(form, modalities=spec)
        images.append(pixels(KernelMatrixDisplay.from_estimator(fitted, form)))
    for other in images[1:]:
        np.testing.assert_allclose(other, images[0], atol=1e-12)


def test_precomputed_kernels_side_by_side_are_choose_samples(samples):
    X, _ = samples
    made = ModalityKernels().fit_transform(X)
    stack = np.dstack(list(made.blocks))
    fitted = fit_clusterer(stack, kernel="precomputed")
    display = KernelMatrixDisplay.from_estimator(fitted, stack, max_samples=30)
    among = np.ix_(display.samples, display.samples)
    for kernel, table in zip(display.kernels, made.blocks, strict=True):
        np.testing.assert_allclose(kernel, table[among], atol=1e-10)


def test_explicit_features_give_the_kernels_of_any_samples(samples):
    X, _ = samples
    exact, features = (
        fit_clusterer(X, approximation=how, n_components=60, kernel="linear")
        for how in (None, "nystroem")
    )
    displays = [
        KernelMatrixDisplay.from_estimator(fitted, X, labels=np.zeros(60))
        for fitted in (exact, features)
    ]
    np.testing.assert_allclose(*map(pixels, displays), atol=1e-8)
    new = KernelMatrixDisplay.from_estimator(features, X[:25])
    assert len(new.samples) == 25


def test_kernels_without_clusters_need_labels(samples):
    X, y = samples
    kernels = ModalityKernels(center=False).fit(X)
    with pytest.raises(ValueError, match="ModalityKernels has no clusters; give label"):
        KernelMatrixDisplay.from_estimator(kernels, X)
    weights = MKLClassifier().fit(X, y).kernel_weights_
    display = KernelMatrixDisplay.from_estimator(kernels, X, labels=y, weights=weights)
    assert display.labels.tolist() == sorted(y)
    np.testing.assert_array_equal(display.weights, weights)
    assert display.images_[0].get_clim()[0] >= 0


def test_other_samples_than_those_of_fit_are_refused(samples, clusterer):
    X, _ = samples
    draw = KernelMatrixDisplay.from_estimator
    with pytest.raises(ValueError, match=r"X has 20 samples, but .*to 60; give"):
        draw(clusterer, X[:20])
    with pytest.raises(ValueError, match=r"other samples than fit: .*in their order"):
        draw(clusterer, X[np.arange(60)[::-1]])


def test_what_cannot_be_drawn_is_refused(samples, clusterer):
    X, y = samples
    draw = KernelMatrixDisplay.from_predictions
    with pytest.raises(ValueError, match=r"'kernel_0' has shape \(5, 3\).*Z @ Z.T"):
        draw([np.ones((5, 3))], np.zeros(5))
    with pytest.raises(ValueError, match=r"labels has shape \(4,\); for 5 samples"):
        draw(symmetric(5), np.zeros(4))
    with pytest.raises(ValueError, match="one weight for each of the 1 kernels"):
        draw(symmetric(5), np.zeros(5), weights=[1, 2])
    with pytest.raises(ValueError, match="2 names for 1 kernels"):
        draw(symmetric(5), np.zeros(5), names=["a", "b"])
    with pytest.raises(ValueError, match="'kernel_0' has values that are not finite"):
        draw(np.full((5, 5), np.nan), np.zeros(5))
    with pytest.raises(ValueError, match="max_samples=2 is less than one sample for e"):
        draw(symmetric(5), np.arange(5), max_samples=2)
    with pytest.raises(ValueError, match="at least 2 are needed"):
        draw(np.ones((1, 1)), [0])
    with pytest.raises(ValueError, match="kernels is empty"):
        draw([], [])
    with pytest.raises(NotFittedError):
        KernelMatrixDisplay.from_estimator(MKLClusterer(), X)
    with pytest.raises(TypeError, match=r"computes no kernels.*ModalityKernels"):
        KernelMatrixDisplay.from_estimator(MKLClassifier().fit(X, y), X)
