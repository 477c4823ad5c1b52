"""Networks of skorch are branches of late and hybrid fusion like other classifiers."""

import pickle

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from mmfusion import (
    HybridFusionClassifier,
    LateFusionClassifier,
    Modalities,
)
from mmfusion.datasets import make_multimodal_blobs

torch = pytest.importorskip("torch")
skorch = pytest.importorskip("skorch")

X64, Y = make_multimodal_blobs(
    90, {"audio": 4, "video": 6}, centers=3, cluster_std=1.0, random_state=0
)
X = Modalities(
    {name: block.astype(np.float32) for name, block in X64.to_dict().items()}
)


class Network(torch.nn.Module):
    """A classifier with one hidden layer."""

    def __init__(self, n_features):
        super().__init__()
        self.layers = torch.nn.Sequential(
            torch.nn.Linear(n_features, 8),
            torch.nn.ReLU(),
            torch.nn.Linear(8, 3),
        )

    def forward(self, inputs):
        return self.layers(inputs)


def network(n_features, **options):
    torch.manual_seed(0)
    return skorch.NeuralNetClassifier(
        Network,
        module__n_features=n_features,
        criterion=torch.nn.CrossEntropyLoss,
        max_epochs=15,
        lr=0.1,
        train_split=None,
        verbose=0,
        **options,
    )


def in_float32(n_features):
    to_float32 = FunctionTransformer(np.float32)
    return make_pipeline(StandardScaler(), to_float32, network(n_features))


BRANCHES = {"audio": network(4), "video": network(6)}


@pytest.mark.parametrize("combine", ["soft_vote", "stacking"])
def test_late_fusion_combines_networks(combine):
    fusion = LateFusionClassifier(BRANCHES, combine=combine, cv=2).fit(X, Y)
    assert fusion.score(X, Y) > 0.9
    assert isinstance(fusion.estimators_["audio"], skorch.NeuralNetClassifier)
    again = pickle.loads(pickle.dumps(fusion))
    np.testing.assert_array_equal(again.predict_proba(X), fusion.predict_proba(X))


def test_a_network_stands_beside_other_branches():
    by_name = {"audio": network(4), "video": LogisticRegression()}
    assert LateFusionClassifier(by_name).fit(X, Y).score(X, Y) > 0.9


def test_float64_goes_through_a_pipeline():
    by_name = {"audio": in_float32(4), "video": in_float32(6)}
    assert cross_val_score(LateFusionClassifier(by_name), X64, Y, cv=3).mean() > 0.9


def named(*sizes):
    return dict(zip(("audio", "video"), map(network, sizes), strict=True))


@pytest.mark.parametrize(
    ("data", "y", "sizes", "message"),
    [
        (X64, Y, (4, 6), r"'audio'.*dtype.*float32"),
        (X, Y + 1, (4, 6), r"'audio'.*out of bounds.*counted from 0"),
        (X, np.array(list("abc"))[Y], (4, 6), r"'audio'.*LabelEncoder"),
        (X, Y, (4, 7), r"'video'.*shapes"),
    ],
)
def test_errors_of_networks_name_the_modality(data, y, sizes, message):
    kinds = (IndexError, RuntimeError, TypeError)
    with pytest.raises(kinds, match=rf"modality {message}"):
        LateFusionClassifier(named(*sizes)).fit(data, y)


class OutOfMemory(RuntimeError):
    """A kind of its own, as torch has one."""


class Exhausted(LogisticRegression):
    """A classifier for which the memory is too small."""

    def fit(self, X, y):
        raise OutOfMemory("out of memory")


def test_errors_of_a_kind_of_its_own_keep_it():
    with pytest.raises(OutOfMemory):
        LateFusionClassifier(Exhausted()).fit(X, Y)


def test_rates_of_a_branch_are_searched():
    search = GridSearchCV(
        LateFusionClassifier(BRANCHES), {"audio__lr": [1e-9, 0.1]}, cv=2
    )
    assert set(search.fit(X, Y).best_params_) == {"audio__lr"}


def test_hybrid_fusion_combines_networks_of_one_and_of_several_modalities():
    by_name = {"audio": network(4), "video": LogisticRegression(), "early": network(10)}
    fusion = HybridFusionClassifier(by_name).fit(X, Y)
    assert fusion.score(X, Y) > 0.9
    assert isinstance(fusion.estimators_["early"], skorch.NeuralNetClassifier)
