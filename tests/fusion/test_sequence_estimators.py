"""Estimators of sequences, of tslearn and others, as parts of fusion estimators."""

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from joblib import parallel_config
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.cluster import KMeans
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import adjusted_rand_score
from sklearn.model_selection import GridSearchCV, cross_val_predict
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.svm import SVC

from mmfusion import (
    EarlyFusionClassifier,
    HybridFusionClassifier,
    HybridFusionClusterer,
    HybridFusionRegressor,
    LateFusionClassifier,
    LateFusionClusterer,
    LateFusionRegressor,
    Modalities,
    PerModality,
    SingleModalityClusterer,
)
from mmfusion.alignment import DTWKernel
from mmfusion.preprocessing import (
    SequencePooling,
    SequenceResampler,
    padded_from_sequences,
)

pytest.importorskip("tslearn")
from tslearn.clustering import TimeSeriesKMeans
from tslearn.neighbors import (
    KNeighborsTimeSeriesClassifier,
    KNeighborsTimeSeriesRegressor,
)
from tslearn.svm import TimeSeriesSVC

N_SAMPLES = 24
RNG = np.random.default_rng(0)
Y = np.arange(N_SAMPLES) % 2
# the classes differ in their shape: rising or falling, at any time
SEQUENCES = [
    np.column_stack(
        [
            np.linspace(-1, 1, n) * (1 if c else -1) + RNG.normal(0, 0.2, n),
            1000 + 100 * RNG.normal(size=n),
        ]
    )
    for c, n in zip(Y, RNG.integers(6, 10, N_SAMPLES), strict=True)
]
TABLE = RNG.normal(size=(N_SAMPLES, 3)) + 2 * Y[:, None]
X = Modalities({"audio": SEQUENCES, "text": TABLE})
PADDED = Modalities({"audio": padded_from_sequences(SEQUENCES), "text": TABLE})
MISSING = np.ones((N_SAMPLES, 2), dtype=bool)
MISSING[[3, 8, 13], 0] = MISSING[[5, 20], 1] = False
GAPS = Modalities(X, observed=MISSING)
FRAMES = np.concatenate(SEQUENCES)
NEIGHBORS = KNeighborsTimeSeriesClassifier(3, metric="dtw")


def by_hand(sequences, frames=FRAMES):
    """Standardise each feature over all frames, and pad, as tslearn reads it."""
    mean, std = frames.mean(axis=0), frames.std(axis=0)
    return padded_from_sequences([(s - mean) / std for s in sequences])


def centroids(**params):
    return TimeSeriesKMeans(2, metric="dtw", max_iter=3, random_state=0, **params)


def euclidean_centroids():
    return TimeSeriesKMeans(2, metric="euclidean", random_state=0)


@pytest.mark.parametrize("X", [X, PADDED], ids=["arrays", "padded"])
def test_a_classifier_gets_the_sequences_scaled_per_feature_over_all_frames(X):
    fusion = LateFusionClassifier(
        {"audio": NEIGHBORS, "text": KNeighborsClassifier(3)}, weights={"text": 0}
    ).fit(X[:16], Y[:16])
    frames = np.concatenate(SEQUENCES[:16])
    alone = clone(NEIGHBORS).fit(by_hand(SEQUENCES[:16], frames), Y[:16])
    expected = alone.predict_proba(by_hand(SEQUENCES[16:], frames))
    assert_allclose(fusion.predict_proba(X[16:]), expected, rtol=1e-12)
    assert fusion.scaling_["audio"] == "standard"


def test_scaling_none_gives_the_sequences_as_they_are():
    params = {"scaling": None, "weights": {"text": 0}}
    fusion = LateFusionClassifier({"audio": NEIGHBORS}, **params).fit(X, Y)
    alone = clone(NEIGHBORS).fit(padded_from_sequences(SEQUENCES), Y)
    expected = alone.predict_proba(padded_from_sequences(SEQUENCES))
    assert_array_equal(fusion.predict_proba(X), expected)


@pytest.mark.filterwarnings("ignore:The `probability` parameter:FutureWarning")
def test_weights_of_samples_count_for_their_frames():
    weight = np.where(np.arange(N_SAMPLES) < 8, 0.0, 1.0)
    machine = TimeSeriesSVC(kernel="gak", gamma=1.0)
    fusion = LateFusionClassifier(
        {"audio": machine}, combine="hard_vote", weights=[1, 0]
    )
    weighted = fusion.fit(X, Y, sample_weight=weight).predict(X)
    assert_array_equal(weighted, clone(fusion).fit(X[8:], Y[8:]).predict(X))


def test_samples_without_the_sequence_are_left_out():
    own = MISSING[:, 0]
    observed = [s for s, has in zip(SEQUENCES, own, strict=True) if has]
    fusion = LateFusionClassifier({"audio": NEIGHBORS}, weights={"text": 0}).fit(
        GAPS, Y
    )
    read = by_hand(observed, np.concatenate(observed))
    expected = clone(NEIGHBORS).fit(read, Y[own]).predict_proba(read)
    found = fusion.predict_proba(GAPS)
    assert_allclose(found[own], expected, rtol=1e-12)
    assert_allclose(found[~own], np.full((3, 2), 0.5))  # the prior
    nobody = Modalities({"audio": None, "text": TABLE[:2]})
    assert fusion.predict_proba(nobody).shape == (2, 2)


@pytest.mark.parametrize(
    "params",
    [
        {"combine": "stacking"},
        {"weights": "score"},
        {"weights": "log_loss", "calibration": "sigmoid"},
        {"combine": "log_pool", "sample_weighting": "entropy"},
    ],
    ids=str,
)
def test_combinations_learn_from_held_out_sequences(params):
    fusion = LateFusionClassifier({"audio": NEIGHBORS}, cv=3, **params).fit(GAPS, Y)
    assert fusion.score(GAPS, Y) > 0.8
    assert fusion.predict_proba(GAPS).shape == (N_SAMPLES, 2)


@pytest.mark.filterwarnings("ignore:The `probability` parameter:FutureWarning")
def test_a_machine_without_probabilities_is_used_by_its_decisions():
    machine = TimeSeriesSVC(kernel="gak", gamma=1.0)
    with pytest.raises(ValueError, match="'audio': TimeSeriesSVC has no predict_proba"):
        LateFusionClassifier({"audio": machine}).fit(X, Y)
    with pytest.raises(ValueError, match="'audio': Pipeline has no predict_proba"):
        LateFusionClassifier({"audio": make_pipeline(machine)}).fit(X, Y)
    fusion = LateFusionClassifier({"audio": machine}, calibration="sigmoid", cv=3)
    assert fusion.fit(X, Y).score(X, Y) > 0.8


def test_a_regressor_reads_sequences():
    values = Y + 0.1 * np.arange(N_SAMPLES)
    regressor = KNeighborsTimeSeriesRegressor(2, metric="dtw")
    for cls in (LateFusionRegressor, HybridFusionRegressor):
        fusion = cls({"audio": regressor, "text": Ridge()}, weights="score", cv=3)
        assert fusion.fit(GAPS, values).predict(GAPS).shape == (N_SAMPLES,)


def test_hybrid_fusion_takes_statistics_of_sequences_beside_tables():
    fusion = HybridFusionClassifier({"audio": NEIGHBORS}, scaling="standard").fit(X, Y)
    pooled = SequencePooling().fit_transform(X)
    together = LogisticRegression(max_iter=1000).fit(
        StandardScaler().fit_transform(pooled.to_array()), Y
    )
    early = fusion.estimators_["early"]
    assert_allclose(early.coef_, together.coef_, rtol=1e-4)
    late = LateFusionClassifier({"audio": NEIGHBORS}).fit(X, Y)
    assert_array_equal(
        fusion.modality_predictions(X)[:, :2], late.modality_predictions(X)
    )


@pytest.mark.parametrize("missing", ["mean", "knn", "zero", "skip"])
def test_hybrid_fusion_fills_the_statistics_of_missing_sequences(missing):
    fusion = HybridFusionClassifier({"audio": NEIGHBORS}, missing=missing).fit(GAPS, Y)
    nobody = Modalities({"audio": None, "text": TABLE})
    assert fusion.predict_proba(nobody).shape == (N_SAMPLES, 2)
    dropped = HybridFusionClassifier(
        {"audio": NEIGHBORS}, missing=missing, modality_dropout=0.3, random_state=0
    )
    assert dropped.fit(GAPS, Y).score(GAPS, Y) > 0.8


def test_clusterers_of_sequences_and_tables_find_a_consensus():
    parts = {"audio": centroids(), "text": KMeans(n_init=1)}
    late = LateFusionClusterer(parts, n_clusters=2, n_runs=2, random_state=0)
    assert adjusted_rand_score(Y, late.fit(GAPS).labels_) > 0.6
    assert_array_equal(late.predict(GAPS), late.labels_)
    copied = pickle.loads(pickle.dumps(late))
    assert_array_equal(copied.predict(GAPS), late.labels_)
    assert all(np.isfinite(late.score(GAPS)) for _ in range(2))
    hybrid = HybridFusionClusterer(parts, n_clusters=2, n_runs=2, random_state=0)
    assert hybrid.fit(GAPS).modality_labels_.shape == (N_SAMPLES, 3)
    assert_array_equal(hybrid.predict(GAPS), hybrid.labels_)


@pytest.mark.parametrize("weights", ["agreement", "stability"])
def test_clusterings_of_sequences_are_weighed_by_what_needs_no_distances(weights):
    late = LateFusionClusterer(
        {"audio": centroids()}, n_clusters=2, n_runs=2, weights=weights, random_state=0
    )
    assert late.fit(X).modality_weights_.mean() == pytest.approx(1)


@pytest.mark.parametrize("weights", ["silhouette", "inverse_variance"])
def test_a_quality_by_distances_of_rows_is_refused(weights):
    late = LateFusionClusterer({"audio": centroids()}, weights=weights)
    with pytest.raises(ValueError, match=r"'audio' holds sequences; give weights="):
        late.fit(X)


def test_weights_by_distances_of_rows_are_refused():
    late = LateFusionClassifier({"audio": NEIGHBORS}, sample_weighting="conformal")
    with pytest.raises(ValueError, match=r"'audio' holds sequences; make a table"):
        late.fit(X, Y)


class WeighedCenters(BaseEstimator):
    """Takes weights of samples in `fit` only, as clusterers of tslearn do."""

    sequence_layout = "arrays"

    def fit(self, X, y=None, sample_weight=None):
        self.weight_ = sample_weight
        self.labels_ = np.arange(len(X)) % 2
        return self

    def fit_predict(self, X, y=None):
        return self.fit(X).labels_


def test_a_clusterer_whose_fit_takes_weights_gets_them():
    weight = np.arange(1.0, N_SAMPLES + 1)
    late = LateFusionClusterer({"audio": WeighedCenters(), "text": KMeans(2)}, n_runs=1)
    late.fit(GAPS, sample_weight=weight)
    (fitted,) = late.clusterers_["audio"]
    assert_array_equal(fitted.weight_, weight[MISSING[:, 0]])


def test_a_single_modality_of_sequences_is_clustered_as_by_its_clusterer():
    single = SingleModalityClusterer("audio", clusterer=centroids()).fit(X)
    expected = centroids().fit(by_hand(SEQUENCES) / np.sqrt(2))
    assert_array_equal(single.labels_, expected.labels_)
    assert_array_equal(single.predict(X), expected.labels_)
    other = SingleModalityClusterer("text", clusterer=KMeans(2)).fit(X)
    assert_array_equal(other.predict(X), other.labels_)
    best = SingleModalityClusterer(
        clusterer={"audio": centroids(), "text": KMeans()}, n_clusters=2, random_state=0
    ).fit(X)
    assert best.silhouettes_.shape == (2,)
    assert best.set_params(audio__max_iter=2).fit(X).modality_ in ("audio", "text")


def test_a_clusterer_without_predict_has_labels_only():
    late = LateFusionClusterer({"audio": WeighedCenters(), "text": KMeans(2)})
    assert late.fit(X).labels_.shape == (N_SAMPLES,)
    assert not hasattr(late, "predict")


def test_parameters_of_parts_are_searched():
    late = LateFusionClusterer(
        {"audio": centroids(), "text": KMeans(2, n_init=1)}, n_runs=1, random_state=0
    )
    search = GridSearchCV(late, {"audio__n_clusters": [2, 3]}, cv=2).fit(X)
    assert search.best_params_["audio__n_clusters"] == 2
    steps = make_pipeline(
        PerModality({"text": StandardScaler()}),
        LateFusionClassifier({"audio": NEIGHBORS}),
    )
    name = "latefusionclassifier__audio__n_neighbors"
    search = GridSearchCV(steps, {name: [1, 3]}, cv=2).fit(GAPS, Y)
    assert search.best_estimator_.predict(GAPS).shape == (N_SAMPLES,)
    predicted = cross_val_predict(steps, GAPS, Y, cv=3)
    assert (predicted == Y).mean() > 0.7


def test_fits_in_parallel_equal_fits_in_sequence():
    one = LateFusionClassifier({"audio": NEIGHBORS}, combine="stacking", cv=2)
    two = clone(one).set_params(n_jobs=2)
    with parallel_config("threading"):
        two.fit(X, Y)
    assert_allclose(one.fit(X, Y).predict_proba(X), two.predict_proba(X), rtol=1e-12)
    copied = pickle.loads(pickle.dumps(two))
    assert_array_equal(copied.predict_proba(X), two.predict_proba(X))


@pytest.mark.parametrize(
    "part",
    [
        make_pipeline(SequencePooling(), LogisticRegression()),
        make_pipeline(SequenceResampler(5, flatten=True), LogisticRegression()),
        make_pipeline(FunctionTransformer(padded_from_sequences), clone(NEIGHBORS)),
        GridSearchCV(clone(NEIGHBORS), {"n_neighbors": [1, 3]}, cv=2),
        DummyClassifier(),
    ],
    ids=["pooling", "resampler", "function", "search", "dummy"],
)
def test_pipelines_and_searches_are_parts(part):
    fusion = LateFusionClassifier({"audio": part}).fit(GAPS, Y)
    assert fusion.score(GAPS, Y) > 0.8


def test_a_dropped_modality_may_hold_sequences():
    alone = LateFusionClassifier().fit({"text": TABLE}, Y)
    for data in (X, PADDED):
        late = LateFusionClassifier({"audio": "drop"}).fit(data, Y)
        found = late.predict_proba(data)
        assert_array_equal(found, alone.predict_proba({"text": TABLE}))
    hybrid = HybridFusionClassifier({"audio": "drop"}).fit(GAPS, Y)
    assert hybrid.estimators_["early"].n_features_in_ == 3 + 2 * 3  # with statistics


@pytest.mark.parametrize("cls", [LateFusionClassifier, HybridFusionClassifier])
def test_predictions_of_sequences_are_features(cls):
    late = cls({"audio": NEIGHBORS}).fit(GAPS, Y)
    features = late.transform(GAPS)
    assert features.shape == (N_SAMPLES, len(late.get_feature_names_out()))


@given(factor=st.floats(1e-3, 1e3), offset=st.floats(-10, 10), seed=st.integers(0, 99))
@settings(deadline=None, max_examples=8)
def test_units_of_features_and_the_order_of_samples_do_not_matter(factor, offset, seed):
    order = np.random.default_rng(seed).permutation(N_SAMPLES)
    other = Modalities(
        {"audio": [factor * s + offset for s in SEQUENCES], "text": TABLE}
    )[order]
    late = LateFusionClassifier({"audio": NEIGHBORS})
    expected = late.fit(X, Y).predict_proba(X)
    found = late.fit(other, Y[order]).predict_proba(other)
    assert_allclose(found, expected[order], rtol=1e-6, atol=1e-9)


def test_a_kernel_of_sequences_is_a_part():
    part = make_pipeline(DTWKernel(), SVC(kernel="precomputed"))
    fusion = LateFusionClassifier({"audio": part}, combine="hard_vote").fit(X, Y)
    assert fusion.score(X, Y) > 0.8


class ByLength(ClassifierMixin, BaseEstimator):
    """Classifies by the first value; an own estimator that declares its layout."""

    def __init__(self, layout="arrays"):
        self.layout = layout

    @property
    def sequence_layout(self):
        return self.layout

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        self.seen_ = X
        return self

    def predict(self, X):
        self.seen_ = X
        first = [x.T[0, 0] if self.layout == "channels_first" else x[0, 0] for x in X]
        return (np.array(first) < 0).astype(int)


@pytest.mark.parametrize("layout", ["arrays", "padded", "channels_first"])
def test_an_own_estimator_declares_the_layout_that_it_reads(layout):
    part = ByLength(layout)
    fusion = LateFusionClassifier(
        {"audio": part}, combine="hard_vote", weights={"text": 0}, scaling=None
    ).fit(X, Y)
    assert_array_equal(fusion.predict(X), [s[0, 0] < 0 for s in SEQUENCES])
    read = fusion.estimators_["audio"].seen_
    shapes = {
        "arrays": [s.shape for s in SEQUENCES],
        "padded": [(max(map(len, SEQUENCES)), 2)] * N_SAMPLES,
        "channels_first": [s.shape[::-1] for s in SEQUENCES],
    }
    assert [x.shape for x in read] == shapes[layout]


def test_nets_of_skorch_get_one_array_per_sample():
    skorch = pytest.importorskip("skorch")
    torch = pytest.importorskip("torch")
    pad = torch.nn.utils.rnn.pad_sequence

    class Recurrent(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn = torch.nn.GRU(2, 4, batch_first=True)
            self.out = torch.nn.Linear(4, 2)

        def forward(self, x):
            return self.out(self.rnn(x)[1][0]).softmax(dim=-1)

    def collate(samples):
        frames = [torch.as_tensor(x, dtype=torch.float32) for x, _ in samples]
        return pad(frames, batch_first=True), torch.as_tensor([y for _, y in samples])

    torch.manual_seed(0)
    net = skorch.NeuralNetClassifier(
        Recurrent,
        max_epochs=20,
        lr=0.1,
        optimizer=torch.optim.Adam,
        iterator_train__collate_fn=collate,
        iterator_valid__collate_fn=collate,
        train_split=None,
        verbose=0,
    )
    fusion = LateFusionClassifier({"audio": net}, weights={"text": 0}).fit(GAPS, Y)
    assert fusion.score(GAPS, Y) > 0.8


def test_an_estimator_of_rows_refuses_sequences_by_name_with_remedies():
    for cls, params in [
        (LateFusionClassifier, {}),
        (HybridFusionClassifier, {"estimator": {"early": NEIGHBORS}}),
        (LateFusionClassifier, {"estimator": {"text": NEIGHBORS}}),
    ]:
        with pytest.raises(
            ValueError, match=r"'audio' holds.*tslearn.*SequencePooling"
        ):
            cls(**params).fit(X, Y)
    with pytest.raises(ValueError, match=r"'audio' holds.*or SequenceResampler"):
        EarlyFusionClassifier(NEIGHBORS).fit(X, Y)


def test_an_estimator_of_one_length_refuses_others_with_a_remedy():
    late = LateFusionClusterer(
        {"audio": euclidean_centroids(), "text": KMeans(2)}, n_runs=1
    )
    with pytest.raises(
        ValueError,
        match=r"'audio': TimeSeriesKMeans reads .* 6 to 9 frames; put SequenceRes",
    ):
        late.fit(X)
    resampled = SequenceResampler(8).fit_transform(X)
    assert late.fit(resampled).labels_.shape == (N_SAMPLES,)
    steps = make_pipeline(SequenceResampler(8), euclidean_centroids())
    assert late.set_params(audio=steps).fit(X).labels_.shape == (N_SAMPLES,)


def test_gaps_within_padded_sequences_are_refused():
    broken = [s.copy() for s in SEQUENCES]
    broken[4][2, 1] = np.nan
    with pytest.raises(ValueError, match=r"sample 4 is NaN in frame 2.*SequenceResam"):
        LateFusionClassifier({"audio": NEIGHBORS}).fit(
            {"audio": broken, "text": TABLE}, Y
        )
    # statistics over time leave them out
    pooled = make_pipeline(SequencePooling(), LogisticRegression())
    fusion = LateFusionClassifier({"audio": pooled})
    assert fusion.fit({"audio": broken, "text": TABLE}, Y).score(X, Y) > 0.8


def test_sequences_and_tables_do_not_change_places_after_fit():
    fusion = LateFusionClassifier({"audio": NEIGHBORS}).fit(X, Y)
    with pytest.raises(ValueError, match="'audio' of X is a table, but was sequences"):
        fusion.predict({"audio": np.ones((2, 2)), "text": TABLE[:2]})
    with pytest.raises(ValueError, match="'audio' of X has 3 features"):
        fusion.predict({"audio": [np.ones((4, 3))], "text": TABLE[:1]})


def test_an_array_of_images_stays_a_table_for_estimators_of_rows():
    images = RNG.normal(size=(N_SAMPLES, 4, 3))
    fusion = LateFusionClassifier(LogisticRegression()).fit({"photo": images}, Y)
    assert fusion.estimators_["photo"].n_features_in_ == 12
    steps = make_pipeline(FunctionTransformer(), LogisticRegression())
    fusion = LateFusionClassifier(steps).fit({"photo": images}, Y)
    assert fusion.estimators_["photo"][-1].n_features_in_ == 12
