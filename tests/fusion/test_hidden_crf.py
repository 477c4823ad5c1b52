"""Classes by hidden states: recovery, linked chains, missing modalities, options."""

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV
from sklearn.preprocessing import PolynomialFeatures

from mmfusion import HiddenCRFClassifier, Modalities
from mmfusion.datasets import make_multimodal_sequences

LINKINGS = ["shared", "linked", "coupled"]


@pytest.fixture(scope="module")
def data():
    X, y, _ = make_multimodal_sequences(
        60, {"audio": 3, "video": 5}, n_classes=3, random_state=0
    )
    return X, y


@pytest.mark.parametrize("linking", LINKINGS)
def test_classes_are_recovered(data, linking):
    X, y = data
    model = HiddenCRFClassifier(2, linking=linking, random_state=0).fit(X[:40], y[:40])
    assert model.score(X[40:], y[40:]) > 0.9
    np.testing.assert_allclose(model.predict_proba(X).sum(axis=1), 1)
    n_pairs = {"shared": 1, "linked": 2, "coupled": 4}[linking]
    assert model.transition_scores_.shape == (n_pairs, 3, 2, 2)


def test_the_order_of_states_makes_classes_differ():
    """Both classes have the same frames, in another order: one state is by chance."""
    rng = np.random.default_rng(0)
    y = np.arange(60) % 2
    X = [
        np.repeat([[0.0, 1], [1, 0]][c], 6)[:, None] + 0.3 * rng.normal(size=(12, 1))
        for c in y
    ]
    one, two = (
        HiddenCRFClassifier(k, random_state=0).fit([X[:40]], y[:40]) for k in (1, 2)
    )
    assert one.score([X[40:]], y[40:]) < 0.8
    assert two.score([X[40:]], y[40:]) == 1


def test_chains_of_modalities_that_are_independent():
    """Without links, the score of a class is the sum of those of its chains."""
    X, y, _ = make_multimodal_sequences(
        20, {"audio": 2, "video": 2}, n_frames=8, random_state=0
    )
    model = HiddenCRFClassifier(2, linking="linked", random_state=0).fit(X, y)
    own = model._parameters
    own.joint[:] = own.start[:] = own.classes[:] = 0
    both = model.decision_function(X)
    total = 0
    for v in range(2):
        coef = [np.zeros_like(w) for w in own.coef]
        coef[v][:] = own.coef[v]
        intercepts, transitions = np.zeros_like(own.intercepts), own.transitions * 0
        intercepts[v], transitions[v] = own.intercepts[v], own.transitions[v]
        model._parameters = own._replace(
            coef=coef, intercepts=intercepts, transitions=transitions
        )
        total = total + model.decision_function(X)
    np.testing.assert_allclose(both, total)


def test_starts_with_other_noise_do_not_raise_the_objective(data):
    X, y = data
    values = [
        HiddenCRFClassifier(2, n_init=n, max_iter=30, tol=1e-2, random_state=0)
        .fit(X, y)
        .objective_history_[-1]
        for n in (1, 3)
    ]
    assert values[1] <= values[0]


@pytest.mark.parametrize("linking", LINKINGS)
def test_samples_may_lack_modalities(data, linking):
    X, y = data
    video = list(X["video"])
    video[1] = video[50] = None
    lacking = Modalities({"audio": list(X["audio"]), "video": video})
    model = HiddenCRFClassifier(2, linking=linking, tol=1e-2, random_state=0)
    model.fit(lacking[:40], y[:40])
    assert np.isfinite(model.predict_log_proba(lacking)).all()
    empty = Modalities({"audio": [None], "video": [None]})
    assert model.predict_proba(empty).shape == (1, 3)


def test_features_and_contexts(data):
    X, y = data
    square = PolynomialFeatures(2, include_bias=False)
    model = HiddenCRFClassifier(
        2, features={"audio": square}, context={"video": 1}, tol=1e-2, random_state=0
    ).fit(X, y)
    assert model._features.widths == {"audio": 9, "video": 15}
    assert model.score(X, y) > 0.9


def test_too_many_joint_states_have_a_remedy_that_works(data):
    X, y = data
    model = HiddenCRFClassifier(9, linking="linked", tol=0.1, random_state=0)
    with pytest.raises(ValueError, match=r"2 chains .* 81 joint states.* n_states=8"):
        model.fit(X, y)
    model.set_params(n_states=8).fit(X, y)
    with pytest.raises(ValueError, match="n_states=64"):
        HiddenCRFClassifier(65).fit(X, y)


def test_a_grid_search_over_linkings(data):
    X, y = data
    model = HiddenCRFClassifier(2, tol=1e-2, random_state=0)
    search = GridSearchCV(model, {"linking": LINKINGS}, cv=2, error_score="raise")
    assert search.fit(X, y).best_score_ > 0.8


def test_iterations_that_end_early_are_noted(data):
    with pytest.warns(ConvergenceWarning, match="max_iter=2"):
        HiddenCRFClassifier(2, max_iter=2, random_state=0).fit(*data)


def test_a_small_C_is_the_generative_model(data):
    """The penalty draws weights to those of a model, not to 0, which knows nothing."""
    X, y = data
    model = HiddenCRFClassifier(2, C=1e-6, random_state=0).fit(X[:40], y[:40])
    assert model.score(X[40:], y[40:]) > 0.6  # a third by chance
    sums = np.exp(model.transition_scores_).sum(axis=-1)
    np.testing.assert_allclose(sums, 1, atol=0.1)  # probabilities, but for noise
