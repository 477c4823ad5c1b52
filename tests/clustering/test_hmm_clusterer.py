"""HMMClusterer: likelihoods by loops, planted chains, missing modalities."""

import numpy as np
import pytest
from scipy.special import logsumexp
from scipy.stats import norm
from sklearn.exceptions import ConvergenceWarning

from mmfusion import HMMClusterer, Modalities
from mmfusion.clustering._hmm_mixture import pooled_features, start_clusters
from mmfusion.datasets import make_multimodal_sequences
from mmfusion.graphical._chain_model import state_posteriors
from mmfusion.graphical._clock import frames_on_clock
from mmfusion.metrics import clustering_accuracy_score


def planted(n=30, seed=0):
    """Sequences of two kinds, which have the same frames in another order."""
    rng = np.random.RandomState(seed)
    y = np.arange(n) % 2
    audio, video = [], []
    for k in y:
        length = rng.randint(9, 14)
        levels = np.repeat([0.0, 4.0, 8.0], [3, 3, length - 6])
        levels = levels[::-1] if k else levels
        audio.append(levels[:, None] + rng.standard_normal((length, 2)))
        slow = levels[::2, None] * [1.0, -1.0, 0.5]
        video.append(slow + rng.standard_normal((len(slow), 3)))
    return Modalities({"audio": audio, "video": video}), y


def log_likelihood_by_loops(model, audio):
    """Forward recursion over one modality with diagonal densities, step by step."""
    emission = model.emission.emissions["audio"]
    graph = model.graph
    n_states = len(graph.emits)

    def density(x):
        sd = np.sqrt(emission.covariances)
        return norm.logpdf(x, emission.means, sd).sum(axis=1)

    alpha = graph.log_start + density(audio[0])
    for frame in audio[1:]:
        following = np.full(n_states, -np.inf)
        for state in range(n_states):
            for edge in range(graph.ptr[state], graph.ptr[state + 1]):
                step = alpha[graph.src[edge]] + graph.log_weights[edge]
                following[state] = np.logaddexp(following[state], step)
        alpha = following + density(frame)
    return logsumexp(alpha + graph.log_end)


def test_likelihood_is_that_of_the_formula():
    X, _ = planted()
    X = X[["audio"]]
    found = HMMClusterer(2, n_states=3, outlier_share=0, n_init=1, random_state=0)
    found.fit(X)
    for i in range(0, len(X), 7):
        parts = [
            np.log(share) + log_likelihood_by_loops(model, X["audio"][i])
            for share, model in zip(found.weights_, found._mixture.models, strict=True)
        ]
        value = found.score_samples(X[i : i + 1])[0]
        assert value == pytest.approx(logsumexp(parts), rel=1e-9)


@pytest.mark.parametrize("topology", ["left-to-right", "ergodic"])
def test_planted_orders_of_frames_are_clusters(topology):
    X, y = planted()
    found = HMMClusterer(2, n_states=3, topology=topology, random_state=0).fit(X)
    assert clustering_accuracy_score(y, found.labels_) == 1
    later, others = planted(seed=1)
    assert clustering_accuracy_score(others, found.predict(later)) == 1


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("hard_iterations", [0, 3])
def test_the_objective_never_falls_in_soft_iterations(hard_iterations):
    X, _ = planted()
    found = HMMClusterer(
        3,
        n_states=2,
        n_init=1,
        hard_iterations=hard_iterations,
        tol=0,
        max_iter=15,
        random_state=0,
    )
    history = found.fit(X).objective_history_[hard_iterations:]
    assert len(history) >= 3
    assert (np.diff(history) >= -1e-9 * np.abs(history[:-1])).all()


def test_missing_modalities_are_left_out():
    X, y = planted()
    lacking = X.to_dict()
    for i in range(len(X)):
        if i % 3:
            name = X.names[i % 2]
            lacking[name] = [None if j == i else x for j, x in enumerate(lacking[name])]
    found = HMMClusterer(2, n_states=3, random_state=0).fit(lacking)
    assert clustering_accuracy_score(y, found.labels_) == 1
    complete = HMMClusterer(2, n_states=3, random_state=0).fit(X)
    audio = [X["audio"][0], None, X["audio"][2]]
    video = [None, X["video"][1], X["video"][2]]
    some = {"audio": audio, "video": video}
    np.testing.assert_array_equal(complete.predict(some), complete.labels_[:3])
    with pytest.raises(ValueError, match="lacks every modality"):
        complete.predict({"audio": [X["audio"][0], None], "video": [None, None]})


def test_samples_go_back_to_their_clusters():
    X, _ = planted()
    found = HMMClusterer(2, n_states=3, random_state=0).fit(X)
    drawn, labels = found.sample(40, random_state=0)
    assert drawn.shape == (40, 2)
    assert (found.predict(drawn) == labels).mean() > 0.95
    assert set(labels) == {0, 1}


def test_the_criterion_chooses_the_number_of_clusters():
    X, _ = planted(n=60)
    values = {
        k: HMMClusterer(k, n_states=3, random_state=0).fit(X).bic(X) for k in (1, 2, 3)
    }
    assert min(values, key=values.get) == 2


def test_information_criteria_differ_in_the_price_of_a_parameter():
    X, _, _ = make_multimodal_sequences(12, random_state=0)
    clusterer = HMMClusterer(2, n_states=2, n_init=1, random_state=0).fit(X)
    fit = -2 * clusterer.score_samples(X).sum()
    n_parameters = (clusterer.aic(X) - fit) / 2
    assert n_parameters == pytest.approx(round(n_parameters))
    assert clusterer.bic(X) == pytest.approx(fit + n_parameters * np.log(len(X)))


def test_pooled_features_are_of_segments():
    X, _ = planted(n=4)
    samples = [{n: X[n][i] for n in X.names} for i in range(4)]
    del samples[2]["video"]
    features = pooled_features(frames_on_clock(samples, names=X.names))
    assert features.shape == (4, 5 * 2 + 5 * 3)
    assert (features[2, 10:] == 0).all()
    first = np.array([x[: -(-len(x) // 4)].mean(axis=0) for x in X["audio"]])
    scaled = (first - first.mean(axis=0)) / first.std(axis=0) / np.sqrt(10)
    np.testing.assert_allclose(features[:, :2], scaled)


def test_no_cluster_starts_empty():
    same = [{"a": np.zeros((5, 1))} for _ in range(6)]
    start = start_clusters(frames_on_clock(same), 3, np.random.RandomState(0))
    assert (start.sum(axis=0) >= 1).all()
    np.testing.assert_array_equal(start.sum(axis=1), 1)


def test_too_few_iterations_are_told():
    X, _ = planted()
    with pytest.warns(ConvergenceWarning, match="max_iter=4"):
        HMMClusterer(2, n_init=1, max_iter=4, random_state=0).fit(X)


def test_odd_sequences_have_finite_likelihoods():
    rng = np.random.RandomState(0)
    data = {
        "one": [rng.standard_normal((1, 2)).astype(np.float32) for _ in range(8)],
        "wide": [rng.standard_normal((3, 200)) for _ in range(8)],
        "same": [np.ones((2, 1)) for _ in range(8)],
    }
    found = HMMClusterer(3, n_init=2, random_state=0).fit(data)
    assert np.isfinite(found.score_samples(data)).all()
    np.testing.assert_allclose(found.predict_proba(data).sum(axis=1), 1)
    with pytest.raises(ValueError, match="n_samples=8 should be >= n_clusters=9"):
        HMMClusterer(9).fit(data)


def test_states_and_reliability_are_those_of_the_likeliest_cluster():
    X, _, _ = make_multimodal_sequences(
        20, {"audio": 2, "video": 3}, n_classes=2, random_state=0
    )
    clusterer = HMMClusterer(2, n_states=3, n_init=1, random_state=0).fit(X)
    audio = [x.copy() for x in X["audio"]]
    audio[3][:10] += 50
    X = Modalities({"audio": audio, "video": [*X["video"][:-1], None]})
    reliability = clusterer.reliability(X)
    assert reliability["video"][-1] is None
    assert (
        reliability["audio"][3][:10].max() < 0.1 < reliability["audio"][3][10:].mean()
    )
    posteriors, path = clusterer.state_posteriors(X), clusterer.decode(X)
    assert list(posteriors) == list(path) == ["state"]
    for i, label in enumerate(clusterer.predict(X)):
        model = clusterer._mixture.models[label]
        own = clusterer._frames(X[[i]])
        expected = state_posteriors(model, own).posteriors
        np.testing.assert_allclose(posteriors["state"][i], expected)
        assert (np.diff(path["state"][i]) >= 0).all()
        assert len(path["state"][i]) == len(expected)
