"""Displays of clusters draw every clusterer, and what they draw is right."""

import warnings

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_rgba
from sklearn.cluster import DBSCAN, KMeans
from sklearn.decomposition import PCA
from sklearn.metrics import adjusted_mutual_info_score, silhouette_samples
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mmfusion import (
    EarlyFusion,
    EarlyFusionClusterer,
    EarlyFusionRegressor,
    HybridFusionClassifier,
    HybridFusionClusterer,
    LateFusionClassifier,
    LateFusionClusterer,
    MKLClusterer,
    Modalities,
    ModalityImputer,
    MultimodalClusterer,
    SNFClusterer,
    SpectralClusterer,
)
from mmfusion.datasets import make_multimodal_blobs
from mmfusion.metrics import modality_silhouette_score
from mmfusion.plotting import (
    ClusterConfusionDisplay,
    ClusterMapDisplay,
    ClusterProfileDisplay,
    MissingModalitiesDisplay,
    ModalityAgreementDisplay,
    ModalitySilhouetteDisplay,
)

X, Y = make_multimodal_blobs(60, {"audio": 3, "video": 4}, random_state=0)
observed = np.ones(X.shape, bool)
observed[:20, 1] = False
LACKING = Modalities(X, observed=observed)
CLUSTERERS = [
    LateFusionClusterer(n_clusters=3, random_state=0),
    HybridFusionClusterer(n_clusters=3, random_state=0),
    MKLClusterer(3, random_state=0),
    SpectralClusterer(3, random_state=0),
    SNFClusterer(3, random_state=0),
    MultimodalClusterer(3, random_state=0),
    LateFusionClassifier(),
    make_pipeline(
        ModalityImputer(), EarlyFusionClusterer(n_clusters=3, random_state=0)
    ),
]
OF_CLUSTERS = [
    ClusterMapDisplay,
    ModalitySilhouetteDisplay,
    ModalityAgreementDisplay,
    ClusterProfileDisplay,
]


def name_of(estimator):
    return type(estimator).__name__


@pytest.mark.parametrize("estimator", CLUSTERERS, ids=name_of)
def test_every_clusterer_is_drawn(estimator):
    fitted = estimator.fit(LACKING, Y)
    for display in OF_CLUSTERS:
        drawn = display.from_estimator(fitted, LACKING)
        drawn.figure_.canvas.draw()
    drawn = ClusterConfusionDisplay.from_estimator(fitted, LACKING, Y)
    assert drawn.counts.sum() == 60
    plt.close("all")


@pytest.mark.parametrize("estimator", CLUSTERERS, ids=name_of)
def test_maps_have_the_colors_of_predicted_clusters(estimator):
    display = ClusterMapDisplay.from_estimator(estimator.fit(LACKING, Y), LACKING)
    titles = [ax.get_title() for ax in display.axes_]
    assert titles == ["fused", "audio", "video (40 of 60 samples)"]
    assert [len(s.get_offsets()) for s in display.scatters_] == [60, 60, 40]
    rows = np.random.RandomState(0).permutation(60)
    np.testing.assert_array_equal(display.labels, estimator.predict(LACKING)[rows])


def test_maps_of_modalities_are_of_their_scaled_features():
    display = ClusterMapDisplay.from_predictions(X, Y, max_samples=30)
    rows = np.random.RandomState(0).permutation(60)[:30]
    np.testing.assert_array_equal(display.labels, Y[rows])
    audio = X["audio"][rows]
    scaled = (audio - audio.mean(axis=0)) / audio.std(axis=0)
    expected = PCA(2).fit_transform(scaled / np.sqrt(3))
    np.testing.assert_allclose(
        np.abs(display.modalities["audio"]), np.abs(expected), atol=1e-6
    )


def test_graphs_are_drawn_in_their_embedding_and_other_samples_are_not():
    graphs = SpectralClusterer(3, random_state=0).fit(X)
    own = ClusterMapDisplay.from_estimator(graphs, X, max_samples=None)
    rows = np.random.RandomState(0).permutation(60)
    expected = PCA(2).fit_transform(graphs.embedding_[rows])
    np.testing.assert_allclose(np.abs(own.fused), np.abs(expected), atol=1e-6)
    reversed_samples = ClusterMapDisplay.from_estimator(graphs, X[::-1])
    plain = ClusterMapDisplay.from_predictions(X[::-1], graphs.predict(X[::-1]))
    np.testing.assert_allclose(reversed_samples.fused, plain.fused)


def test_clusterers_without_predict_are_drawn_for_the_samples_of_fit():
    pipeline = make_pipeline(EarlyFusion(), StandardScaler(), DBSCAN(eps=2)).fit(X)
    with pytest.raises(TypeError, match="neither predict nor labels_"):
        ClusterMapDisplay.from_estimator(make_pipeline(EarlyFusion()).fit(X), X)
    display = ModalitySilhouetteDisplay.from_predictions(X, pipeline[-1].labels_)
    assert list(display.silhouettes) == ["audio", "video"]
    alone = DBSCAN(eps=2).fit(X["audio"])
    drawn = ClusterProfileDisplay.from_estimator(alone, [X["audio"]])
    assert drawn.effect_sizes.shape[1] == len(np.unique(alone.labels_))
    with pytest.raises(ValueError, match="of the 60 samples of fit"):
        ClusterProfileDisplay.from_estimator(alone, [X["audio"][:5]])


def test_a_map_of_many_clusters_names_some_of_them():
    rng = np.random.default_rng(0)
    data = {"a": rng.normal(size=(200, 4))}
    display = ClusterMapDisplay.from_predictions(data, np.arange(200) % 100)
    legend = display.axes_[-1].get_legend()
    assert len(legend.get_texts()) == 12
    assert legend.get_title().get_text() == "cluster\n(12 of 100)"


def test_silhouettes_are_those_of_each_scaled_modality():
    display = ModalitySilhouetteDisplay.from_predictions(LACKING, Y)
    audio = StandardScaler().fit_transform(X["audio"])
    np.testing.assert_allclose(
        display.silhouettes["audio"], silhouette_samples(audio, Y), atol=1e-6
    )
    assert np.isnan(display.silhouettes["video"][:20]).all()
    means = [np.nanmean(own) for own in display.silhouettes.values()]
    np.testing.assert_allclose(
        means, modality_silhouette_score(LACKING, Y, average=False)
    )
    assert display.axes_[1].get_title().endswith("(40 of 60 samples)")
    heights = [np.ptp(bar.get_paths()[0].vertices[:, 1]) for bar in display.bars_[0]]
    assert heights == pytest.approx(np.bincount(Y))


def test_one_cluster_has_no_silhouettes():
    display = ModalitySilhouetteDisplay.from_predictions(X, np.zeros(60, int))
    assert np.isnan(display.silhouettes["audio"]).all()
    display.figure_.canvas.draw()


def test_bars_of_silhouettes_may_have_another_color():
    display = ModalitySilhouetteDisplay.from_predictions(X, Y, facecolor="magenta")
    assert to_rgba("magenta") == tuple(display.bars_[0][0].get_facecolor()[0])


def test_agreement_is_the_mutual_information_of_clusters():
    labels = {"a": Y, "b": Y % 2, "c": [f"x{k}" for k in Y]}
    display = ModalityAgreementDisplay.from_predictions(labels)
    assert display.agreement[0, 2] == pytest.approx(1)
    expected = adjusted_mutual_info_score(Y, Y % 2)
    assert display.agreement[1, 0] == pytest.approx(expected)
    np.testing.assert_array_equal(display.agreement, display.agreement.T)


@pytest.mark.parametrize("is_late", [True, False])
def test_agreement_has_the_own_clusters_of_late_and_hybrid_fusion(is_late):
    kind = LateFusionClusterer if is_late else HybridFusionClusterer
    clusterer = kind(KMeans(n_init=1), n_clusters=3, random_state=0).fit(LACKING)
    display = ModalityAgreementDisplay.from_estimator(clusterer, LACKING)
    assert display.names == ["fused", "audio", "video"]
    fused, own = clusterer.labels_, clusterer.modality_labels_
    for v, name in enumerate(LACKING.names, start=1):
        rows = LACKING.observed[:, v - 1]
        expected = adjusted_mutual_info_score(fused[rows], own[rows, v - 1])
        assert display.agreement[0, v] == pytest.approx(expected), name


@pytest.mark.parametrize(
    "classifier",
    [
        LateFusionClassifier(combine="stacking", passthrough=True, cv=3),
        HybridFusionClassifier(),
    ],
)
@pytest.mark.parametrize("is_binary", [True, False])
def test_agreement_has_the_classes_of_each_modality(classifier, is_binary):
    y = np.where(Y > 0, "no", "yes") if is_binary else Y
    classifier.fit(X, y)
    display = ModalityAgreementDisplay.from_estimator(classifier, X)
    alone = classifier.transform(X)
    n_classes = len(classifier.classes_)
    audio, video = (alone[:, k * n_classes : (k + 1) * n_classes] for k in (0, 1))
    expected = adjusted_mutual_info_score(audio.argmax(axis=1), video.argmax(axis=1))
    assert display.agreement[1, 2] == pytest.approx(expected)


def test_agreement_is_of_a_given_clusterer():
    fused = LateFusionClusterer(n_clusters=3, random_state=0).fit(LACKING)
    given = KMeans(2, n_init=3, random_state=0)
    display = ModalityAgreementDisplay.from_estimator(fused, LACKING, clusterer=given)
    alone = given.fit_predict(StandardScaler().fit_transform(X["audio"]))
    expected = adjusted_mutual_info_score(fused.labels_, alone)
    assert display.agreement[0, 1] == pytest.approx(expected)
    noise = DBSCAN(eps=1e-9)
    display = ModalityAgreementDisplay.from_estimator(fused, X, clusterer=noise)
    assert np.isnan(display.agreement[0, 1:]).all()
    with pytest.raises(TypeError, match=r"clusterer is 3, without fit_predict.*KMeans"):
        ModalityAgreementDisplay.from_estimator(fused, X, clusterer=3)


def test_neighbourhoods_of_copies_agree_and_of_noise_do_not():
    noise = np.random.default_rng(0).normal(size=(60, 3))
    data = {"audio": X["audio"], "copy": X["audio"] * 5, "noise": noise}
    display = ModalityAgreementDisplay.from_modalities(data)
    assert display.agreement[0, 1] == pytest.approx(1)
    assert abs(display.agreement[0, 2]) < 0.1
    assert len(display.texts_) == 9


def test_modalities_that_no_sample_shares_have_no_agreement():
    apart = np.zeros((60, 2), bool)
    apart[:30, 0] = apart[30:, 1] = True
    display = ModalityAgreementDisplay.from_modalities(Modalities(X, observed=apart))
    assert np.isnan(display.agreement[0, 1])
    assert display.agreement[0, 0] == pytest.approx(1)
    display.figure_.canvas.draw()


def test_profiles_draw_the_features_that_distinguish_clusters():
    display = ClusterProfileDisplay.from_predictions(X, Y, n_features=1)
    rows = list(zip(display.modalities, display.features, strict=True))
    assert len(set(rows)) == len(rows) <= 3
    largest = np.abs(display.effect_sizes).max(axis=0)
    every = ClusterProfileDisplay.from_predictions(X, Y, n_features=7)
    np.testing.assert_allclose(largest, np.abs(every.effect_sizes).max(axis=0))
    assert every.modalities == ["audio"] * 3 + ["video"] * 4
    assert len(every.lines_) == 1
    assert every.image_.get_clim()[0] == -every.image_.get_clim()[1]


def test_confusion_is_ordered_by_the_best_match():
    first = np.repeat([0, 1, 2], [5, 6, 7])
    second = np.array(["z", "x", "y"])[first]
    second[:2] = "w"
    display = ClusterConfusionDisplay.from_predictions(first, second)
    assert display.other_clusters.tolist() == ["z", "x", "y", "w"]
    assert display.counts.tolist() == [[3, 0, 0, 2], [0, 6, 0, 0], [0, 0, 7, 0]]
    assert display.ax_.get_ylabel() == "first"
    assert [t.get_text() for t in display.texts_[:2]] == ["3", "0"]


def test_what_is_missing_is_drawn_in_groups():
    mask = np.array([[1, 0], [1, 1], [1, 0], [0, 1], [1, 0]], bool)
    data = Modalities({"a": np.ones((5, 1)), "b": np.ones((5, 1))}, observed=mask)
    display = MissingModalitiesDisplay.from_modalities(data)
    drawn = np.asarray(display.image_.get_array())
    expected = [[1, 0], [1, 0], [1, 0], [1, 1], [0, 1]]
    np.testing.assert_array_equal(drawn, expected)
    labels = [label.get_text() for label in display.ax_.get_xticklabels()]
    assert labels == ["a\n80 %", "b\n40 %"]
    assert display.ax_.get_ylabel() == "5 samples in 3 groups"
    in_order = MissingModalitiesDisplay.from_modalities(data, grouped=False)
    np.testing.assert_array_equal(np.asarray(in_order.image_.get_array()), mask)


def test_sequences_and_tables_are_drawn_together():
    rng = np.random.default_rng(0)
    video = [rng.normal(size=(rng.integers(3, 9), 2)) + 5 * k for k in Y]
    data = {"audio": X["audio"], "video": video}
    for display in (
        ClusterMapDisplay,
        ModalitySilhouetteDisplay,
        ClusterProfileDisplay,
    ):
        display.from_predictions(data, Y).figure_.canvas.draw()
    drawn = ModalityAgreementDisplay.from_modalities(data)
    assert drawn.agreement[0, 1] > 0


def test_two_samples_have_no_agreement_of_neighbourhoods():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        display = ModalityAgreementDisplay.from_modalities(X[:2])
    assert np.isnan(display.agreement).all()


@pytest.mark.parametrize(
    "draw",
    [
        ModalityAgreementDisplay.from_modalities,
        MissingModalitiesDisplay.from_modalities,
    ],
)
def test_no_samples_are_refused(draw):
    with pytest.raises(ValueError, match="X has 0 samples"):
        draw(X[:0])


@pytest.mark.parametrize("display", OF_CLUSTERS)
def test_values_of_regressors_are_no_clusters(display):
    regressor = EarlyFusionRegressor().fit(X, X["audio"][:, 0])
    with pytest.raises(TypeError, match=r"is a regressor, whose.*give a clusterer"):
        display.from_estimator(regressor, X)
