"""The layout in which an estimator reads sequences, and `PerModality` by it."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from mmfusion import (
    EarlyFusionClassifier,
    LateFusionClassifier,
    Modalities,
    PerModality,
)
from mmfusion.alignment import DTWKernel
from mmfusion.preprocessing import (
    SequencePooling,
    padded_from_sequences,
    sequence_layout,
)

RNG = np.random.default_rng(0)
SEQUENCES = [RNG.normal(size=(n, 2)) + 5 for n in (4, 7, 5)]
X = Modalities({"audio": [*SEQUENCES[:2], None, SEQUENCES[2]], "text": np.eye(4)})
PADDED = Modalities(
    {"audio": padded_from_sequences(list(X["audio"])), "text": np.eye(4)}
)


class Declares(TransformerMixin, BaseEstimator):
    """Transforms sequences in the layout that it declares, and keeps what it got."""

    def __init__(self, sequence_layout="arrays"):
        self.sequence_layout = sequence_layout

    def fit(self, X, y=None):
        return self

    def transform(self, X):
        self.given_ = X
        return X


class OfAeon(TransformerMixin, BaseEstimator):
    """Has the tags of aeon, and takes its list of series whose channels come first."""

    def __init__(self, estimator=None):  # as that of its convolutions' features
        self.estimator = estimator

    @classmethod
    def get_class_tags(cls):
        return {"X_inner_type": ["np-list", "numpy3D"]}

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        return tags

    def fit(self, X, y=None):
        return self

    def transform(self, X):
        self.given_ = X
        return [series[:, ::-1] for series in X]


@pytest.mark.parametrize(
    ("estimator", "layout"),
    [
        (LogisticRegression(), None),
        (make_pipeline(StandardScaler(), LogisticRegression()), None),
        (SequencePooling(), "arrays"),
        (make_pipeline("passthrough", SequencePooling(), StandardScaler()), "arrays"),
        (DTWKernel(), "arrays"),
        (LateFusionClassifier(), None),
        (FunctionTransformer(), "unchecked"),
        (FunctionTransformer(validate=True), None),
        (OfAeon(), "channels_first"),
        (Declares("padded"), "padded"),
        (make_pipeline(Declares("padded"), LogisticRegression()), "padded"),
        (OfAeon(LogisticRegression()), "channels_first"),
        (GridSearchCV(OfAeon(), {}), "channels_first"),
        (EarlyFusionClassifier(FunctionTransformer()), None),
        (3, None),
    ],
    ids=str,
)
def test_the_layout_follows_from_what_an_estimator_declares(estimator, layout):
    assert sequence_layout(estimator) == layout


def test_estimators_of_tslearn_read_padded_arrays():
    pytest.importorskip("tslearn")
    from tslearn.clustering import TimeSeriesKMeans
    from tslearn.neighbors import KNeighborsTimeSeriesClassifier
    from tslearn.svm import TimeSeriesSVR

    for cls in (TimeSeriesKMeans, KNeighborsTimeSeriesClassifier, TimeSeriesSVR):
        assert sequence_layout(cls()) == "padded"


def test_estimators_of_aeon_read_lists_of_channels():
    distances = pytest.importorskip("aeon.classification.distance_based")
    classifier = distances.KNeighborsTimeSeriesClassifier()
    assert sequence_layout(classifier) == "channels_first"
    twice = Modalities({"audio": SEQUENCES * 2})
    y = np.array([0, 1, 1] * 2)
    fusion = LateFusionClassifier({"audio": classifier}).fit(twice, y)
    assert_array_equal(fusion.predict(twice), y)


def test_nets_of_skorch_check_nothing():
    skorch = pytest.importorskip("skorch")
    torch = pytest.importorskip("torch")
    net = skorch.NeuralNetClassifier(torch.nn.Linear)
    assert sequence_layout(net) == "unchecked"


def test_another_layout_is_refused():
    with pytest.raises(ValueError, match=r"Declares.sequence_layout is 'flat'.*padded"):
        sequence_layout(Declares("flat"))


@pytest.mark.parametrize("data", [X, PADDED], ids=["arrays", "padded"])
@pytest.mark.parametrize("layout", ["arrays", "padded", "channels_first"])
def test_per_modality_gives_the_layout_and_takes_it_back(data, layout):
    per = PerModality({"audio": Declares(layout)}).fit(data)
    out = per.transform(data)["audio"]
    given = per.transformers_["audio"].given_
    shapes = {
        "arrays": [s.shape for s in SEQUENCES],
        "padded": [(7, 2)] * 3,
        "channels_first": [s.shape[::-1] for s in SEQUENCES],
    }
    is_array = data is PADDED and layout == "arrays"  # as it came, for it reads both
    assert [g.shape for g in given] == shapes["padded" if is_array else layout]
    for found, expected in zip(out, X["audio"], strict=True):
        if expected is None:
            assert found is None or np.isnan(found).all()
        else:
            assert_array_equal(found[: len(expected)], expected)
    assert_array_equal(Modalities({"audio": out}).observed[:, 0], [1, 1, 0, 1])


def test_transformers_of_aeon_are_given_channels_first():
    out = PerModality({"audio": OfAeon()}).fit_transform(X)["audio"]
    assert out[2] is None
    assert_array_equal(out[0], SEQUENCES[0][::-1])


def test_transformers_of_tslearn_scale_and_reduce_a_modality():
    pytest.importorskip("tslearn")
    from tslearn.piecewise import (
        PiecewiseAggregateApproximation,
        SymbolicAggregateApproximation,
    )
    from tslearn.preprocessing import (
        TimeSeriesImputer,
        TimeSeriesScalerMeanVariance,
    )

    for data in (X, PADDED):
        scaled = PerModality({"audio": TimeSeriesScalerMeanVariance()}).fit_transform(
            data
        )["audio"]
        for i, sequence in zip([0, 1, 3], SEQUENCES, strict=True):
            expected = (sequence - sequence.mean(axis=0)) / sequence.std(axis=0)
            assert_allclose(scaled[i][: len(sequence)], expected)
        assert np.isnan(scaled[2]).all()
        means = PerModality({"audio": PiecewiseAggregateApproximation(2)})
        assert_allclose(
            means.fit_transform(data)["audio"][1, 0], SEQUENCES[1][:3].mean(0)
        )
        symbols = PerModality({"audio": SymbolicAggregateApproximation(2, 4)})
        assert symbols.fit_transform(data)["audio"].shape == (4, 2, 2)
    gap = [s.copy() for s in SEQUENCES]
    gap[0][1, 0] = np.nan
    filled = PerModality({"audio": TimeSeriesImputer("linear")}).fit_transform(
        Modalities({"audio": gap})
    )["audio"]
    assert filled[0, 1, 0] == pytest.approx(gap[0][[0, 2], 0].mean())


def test_infinite_frames_name_the_modality_and_the_sample():
    broken = [np.full((3, 1), np.inf), np.ones((2, 1))]
    with pytest.raises(
        ValueError, match="'audio': the sequence of sample 0 is infinite"
    ):
        PerModality({"audio": Declares("padded")}).fit({"audio": broken})
