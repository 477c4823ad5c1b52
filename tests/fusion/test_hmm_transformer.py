"""HMMTransformer: what its couplings find, their limits, and what it refuses."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import adjusted_rand_score
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

from mmfusion import EarlyFusionClassifier, HMMTransformer, Modalities
from mmfusion.plotting import ReliabilityDisplay, StatePosteriorDisplay
from mmfusion.preprocessing import SequencePooling

COUPLINGS = ["synchronous", "product", "coupled", "factorial", "hierarchical"]
STAY = np.array([[0.95, 0.05], [0.05, 0.95]])


def chain(rng, transitions, n_steps):
    states = [rng.integers(len(transitions))]
    for _ in range(n_steps - 1):
        states.append(rng.choice(len(transitions), p=transitions[states[-1]]))
    return np.array(states)


def emitted(rng, states, means, noise=1.0):
    return np.asarray(means)[states] + noise * rng.normal(
        size=(len(states), np.shape(means)[1])
    )


def two_modalities(n_samples=6, n_steps=40, seed=0):
    """Samples of two modalities that one chain of two states emits."""
    rng = np.random.default_rng(seed)
    states = [chain(rng, STAY, n_steps) for _ in range(n_samples)]
    X = {
        "audio": [emitted(rng, s, [[0, 0], [3, -3]]) for s in states],
        "video": [emitted(rng, s, [[0], [2]]) for s in states],
    }
    return X, states


def agreement(true, found):
    return adjusted_rand_score(np.concatenate(true), np.concatenate(list(found)))


def model(coupling="synchronous", **params):
    defaults = {"n_states": 2, "n_init": 1, "random_state": 0, "max_iter": 200}
    return HMMTransformer(coupling=coupling, **(defaults | params))


def same_posteriors(found, expected, **tolerance):
    assert list(found) == list(expected)
    for name, own in found.items():
        for one, two in zip(own, expected[name], strict=True):
            assert_allclose(one, two, **tolerance)


# Recovery


def test_parameters_of_a_known_chain_are_found():
    X, states = two_modalities(n_samples=40, n_steps=100)
    fitted = model().fit(X)
    assert agreement(states, fitted.predict(X)) > 0.95
    order = np.argsort(fitted.means_["video"][:, 0])
    # three standard errors: of a mean of 2,000 frames, and of a rate of 0.05
    assert_allclose(fitted.means_["video"][order], [[0], [2]], atol=3 / 40)
    assert_allclose(fitted.means_["audio"][order], [[0, 0], [3, -3]], atol=3 / 40)
    turned = fitted.transitions_[np.ix_(order, order)]
    assert_allclose(turned, STAY, atol=3 * np.sqrt(0.05 / 2000))


def test_coupled_chains_find_that_one_follows_the_other():
    rng = np.random.default_rng(0)
    leads, follows = [chain(rng, STAY, 150) for _ in range(10)], []
    for own in leads:
        states = [0]
        for t in range(1, 150):
            states.append(own[t - 1] if rng.random() < 0.8 else states[-1])
        follows.append(np.array(states))
    X = {
        "audio": [emitted(rng, s, [[0], [3]]) for s in leads],
        "video": [emitted(rng, s, [[0], [2]]) for s in follows],
    }
    fitted = model("coupled").fit(X)
    decoded = fitted.decode(X)
    assert agreement(leads, decoded["audio"]) > 0.9
    alone = model().fit({"video": X["video"]}).predict({"video": X["video"]})
    assert agreement(follows, decoded["video"]) > agreement(follows, alone) + 0.05
    tables = fitted.chain_transitions_
    assert tables["video"].shape == (2, 2, 2)
    # the next state of video by that of audio before, and hardly by its own
    by_audio = np.ptp(tables["video"], axis=0).mean()
    assert by_audio > 0.7
    # audio depends on itself: the state of video changes little
    assert np.ptp(tables["audio"], axis=1).mean() < 0.15


def test_a_shared_chain_is_told_from_louder_private_ones():
    rng = np.random.default_rng(2)
    private_stay = np.array([[0.9, 0.1], [0.1, 0.9]])
    shared = [chain(rng, STAY, 100) for _ in range(12)]
    X = {}
    for name in ("audio", "video"):
        means, louder = rng.normal(size=(2, 3)), 2 * rng.normal(size=(2, 3))
        X[name] = [
            means[s] + emitted(rng, chain(rng, private_stay, 100), louder, 0.7)
            for s in shared
        ]
    fitted = model("factorial").fit(X)
    assert fitted.chain_names_.tolist() == ["shared", "audio", "video"]
    assert agreement(shared, fitted.decode(X)["shared"]) > 0.9
    flat = [model(n_states=k).fit(X).predict(X) for k in (2, 8)]
    assert max(agreement(shared, states) for states in flat) < 0.5


def test_units_are_found_whose_own_states_change_fast():
    rng = np.random.default_rng(0)
    rest = 0.97 * np.eye(3) + 0.03 * np.roll(np.eye(3), 1, axis=1)
    units = [chain(rng, rest, 150) for _ in range(8)]
    means = 2 * rng.normal(size=(3, 2, 2))
    X = {
        "motion": [
            means[u, rng.integers(2, size=150)] + 0.5 * rng.normal(size=(150, 2))
            for u in units
        ]
    }
    fitted = model("hierarchical", n_units=3).fit(X)
    assert agreement(units, fitted.predict(X)) > 0.9
    flat = model(n_states=3).fit(X).predict(X)
    assert agreement(units, flat) < 0.8
    decoded = fitted.decode(X)
    for unit, states in zip(decoded["unit"], decoded["state"], strict=True):
        assert_array_equal(states // 2, unit)


def test_a_product_finds_that_one_modality_is_late():
    rng = np.random.default_rng(0)
    X = {"audio": [], "video": []}
    means = np.arange(5.0)[:, None] * 4
    for _ in range(10):
        lengths = rng.integers(8, 14, size=5)
        states = np.repeat(np.arange(5), lengths)
        late = np.concatenate([np.zeros(4, int), states[:-4]])
        late[-1] = 4
        X["audio"].append(emitted(rng, states, means))
        X["video"].append(emitted(rng, late, means))
    decoded = model("product", n_states=5, max_lag=2).fit(X).decode(X)
    ahead = np.concatenate(list(decoded["audio"])) - np.concatenate(
        list(decoded["video"])
    )
    # video is late for 4 of about 11 frames of each state but the last
    assert ahead.min() >= 0
    assert 0.2 < ahead.mean() < 0.4


def test_spoilt_frames_lose_their_reliability_and_their_say():
    X, states = two_modalities(n_samples=8)
    fitted = model(covariance_type="full").fit(X)
    rng = np.random.default_rng(1)
    spoilt = {"audio": [x.copy() for x in X["audio"]], "video": X["video"]}
    for sequence in spoilt["audio"]:
        sequence[10:30] = 15 * rng.normal(size=(20, 2))
    reliability = fitted.reliability(spoilt)
    frames = np.stack(list(reliability["audio"]))
    assert frames[:, 10:30].mean() < 0.2
    assert frames[:, :10].mean() > 0.95
    assert np.stack(list(reliability["video"])).mean() > 0.95
    textbook = model(covariance_type="full", outlier_share=0).fit(X)
    assert agreement(states, fitted.predict(spoilt)) > 0.8
    assert agreement(states, textbook.predict(spoilt)) < 0.6
    assert np.concatenate(list(textbook.reliability(X)["audio"])).min() == 1


KINDS = {
    "words": "categorical",
    "counts": "poisson",
    "switches": "bernoulli",
    "signal": "mixture",
}


LEAST_AGREEMENT = {
    ("coupled", "signal"): 0.75,  # its own chain, of means one deviation apart
    ("hierarchical", "state"): 0.5,  # each unit is divided into two states by chance
}


@pytest.mark.parametrize("coupling", ["synchronous", "coupled", "hierarchical"])
def test_modalities_of_different_kinds_share_their_states(coupling):
    rng = np.random.default_rng(0)
    states = [chain(rng, STAY, 60) for _ in range(8)]
    X = {
        "words": [
            np.where(s == 0, rng.choice(3, p=[0.7, 0.2, 0.1], size=60), 2)[:, None]
            for s in states
        ],
        "counts": [rng.poisson(1 + 4 * s[:, None], (60, 2)) + 0.0 for s in states],
        "switches": [
            (rng.random((60, 3)) < 0.2 + 0.6 * s[:, None]) + 0.0 for s in states
        ],
        "signal": [s[:, None] + rng.normal(size=(60, 2)) for s in states],
    }
    X["words"][2] = None
    fitted = model(coupling, emission=KINDS, n_init=3).fit(X)
    for name, own in fitted.decode(X).items():
        assert agreement(states, own) > LEAST_AGREEMENT.get((coupling, name), 0.9)
    assert fitted.rates_["counts"].shape[1] == 2
    assert list(fitted.emission_probabilities_) == ["words", "switches"]
    assert fitted.means_["signal"].shape[1:] == (2, 2)
    assert np.isfinite(fitted.bic(X))


# Limits


@pytest.mark.parametrize(
    ("params", "changed"),
    [
        ({"coupling": "hierarchical", "n_units": 1}, {}),
        ({"coupling": "factorial", "n_private_states": 1}, {"covariance_type": "tied"}),
    ],
    ids=["one unit", "no private chains"],
)
def test_a_coupling_without_its_own_parts_is_one_chain(params, changed):
    X, _ = two_modalities()
    own = {"tol": 1e-9} | changed
    expected = model(**own).fit(X)
    if changed:
        own["covariance_type"] = "full"
    found = model(**(own | params)).fit(X)
    assert found.score(X) == pytest.approx(expected.score(X), abs=1e-5)
    states = found.decode(X)
    states = states.get("state", states.get("shared"))
    assert agreement(states, expected.predict(X)) == 1
    assert found.bic(X) == pytest.approx(expected.bic(X), rel=1e-5)


def independent_modalities(n_samples=30, n_steps=60):
    """Samples of two modalities, each with a chain of its own."""
    rng = np.random.default_rng(4)
    means = {"audio": [[0, 0], [4, -4]], "video": [[0], [4]]}
    return {
        name: [
            emitted(rng, chain(rng, STAY, n_steps), own_means) for _ in range(n_samples)
        ]
        for name, own_means in means.items()
    }


def test_coupling_independent_chains_is_a_model_of_each():
    X = independent_modalities()
    coupled = model("coupled").fit(X)
    alone = {name: model().fit({name: own}) for name, own in X.items()}
    posteriors = coupled.state_posteriors(X)
    for (name, own), axis in zip(alone.items(), (1, 0), strict=True):
        expected = own.state_posteriors({name: X[name]})["state"]
        for found, other in zip(posteriors[name], expected, strict=True):
            assert_allclose(found, other, atol=0.1)
        # the state of the other modality makes no difference
        table = coupled.chain_transitions_[name]
        assert np.ptp(table, axis=axis).max() < 0.1
        assert_allclose(table.mean(axis=axis), own.transitions_, atol=0.05)
    n_frames = {name: sum(map(len, own)) for name, own in X.items()}
    assert len(set(n_frames.values())) == 1
    total = sum(own.score({name: X[name]}) for name, own in alone.items())
    # two tables of twice as many parameters fit the samples better by chance
    assert 0 <= coupled.score(X) - total < 0.01


def test_units_of_one_state_are_the_states_of_a_chain():
    X, _ = two_modalities(20)
    one = model("synchronous").fit(X)
    units = model("hierarchical", n_states=1, n_units=2).fit(X)
    assert units.score(X) == pytest.approx(one.score(X), abs=1e-3)
    for found, other in zip(
        units.state_posteriors(X)["unit"],
        one.state_posteriors(X)["state"],
        strict=True,
    ):
        assert_allclose(found, other, atol=0.01)


def test_coupling_a_single_modality_is_one_chain():
    X, _ = two_modalities()
    X = {"audio": X["audio"]}
    expected, found = (model(c, tol=1e-9).fit(X) for c in ("synchronous", "coupled"))
    assert found.score(X) == pytest.approx(expected.score(X), abs=1e-6)
    assert found.bic(X) == pytest.approx(expected.bic(X), rel=1e-6)


def test_a_product_without_lag_has_one_path():
    X, _ = two_modalities()
    posteriors = model("product", max_lag=0).fit(X).state_posteriors(X)
    for one, two in zip(*posteriors.values(), strict=True):
        assert_allclose(one, two, atol=1e-12)


@pytest.mark.parametrize("coupling", COUPLINGS)
def test_a_modality_of_weight_0_has_no_say(coupling):
    X, _ = two_modalities()
    fitted = model(coupling, modality_weights={"video": 0.0}).fit(X)
    without = {"audio": X["audio"], "video": [None] * 6}
    same_posteriors(
        fitted.state_posteriors(X), fitted.state_posteriors(without), atol=1e-12
    )
    assert fitted.score(X) == pytest.approx(fitted.score(without))


# Missing data


@pytest.mark.parametrize("coupling", COUPLINGS)
def test_missing_modalities_and_frames_are_marginalised(coupling):
    X, _ = two_modalities()
    fitted = model(coupling).fit(X)
    gone = {"audio": [x * np.nan for x in X["audio"]], "video": X["video"]}
    absent = {"audio": [None] * len(X["audio"]), "video": X["video"]}
    same_posteriors(
        fitted.state_posteriors(gone), fitted.state_posteriors(absent), atol=1e-12
    )
    assert fitted.score(gone) == pytest.approx(fitted.score(absent))
    frames = {"audio": [x.copy() for x in X["audio"]], "video": X["video"]}
    for sequence in frames["audio"]:
        sequence[::2] = np.nan
    found = model(coupling).fit(frames)
    for own in found.state_posteriors(frames).values():
        for table in own:
            assert_allclose(table.sum(axis=1), 1)
    assert np.isnan(found.reliability(frames)["audio"][0][::2]).all()


def test_a_sample_without_any_modality_has_no_steps():
    X, _ = two_modalities()
    X = {name: [*own, None] for name, own in X.items()}
    fitted = model().fit(X)
    assert fitted.transform(X)["state"][-1] is None
    assert fitted.predict(X)[-1] is None
    assert fitted.reliability(X)["audio"][-1] is None
    complete = {name: own[:-1] for name, own in X.items()}
    assert fitted.score(X) == fitted.score(complete)
    assert model().fit(complete).score(complete) == fitted.score(complete)


def test_rows_of_tables_without_any_modality_have_the_posteriors_of_the_model():
    rng = np.random.default_rng(0)
    X = Modalities(
        {"audio": rng.normal(size=(30, 5)), "video": rng.normal(size=(30, 3))}
    )
    fitted = model().fit(X)
    observed = np.ones((30, 2), bool)
    observed[3] = False
    posteriors = fitted.transform(Modalities(X, observed=observed))["state"]
    assert posteriors.shape == (30, 10)
    own = fitted.start_probabilities_
    for t in range(5):
        assert_allclose(posteriors[3, 2 * t : 2 * t + 2], own)
        own = own @ fitted.transitions_


# Form of input and output


def test_posteriors_are_sequences_on_one_axis_for_fusion():
    X, states = two_modalities(n_samples=20)
    y = np.array([s[0] for s in states])
    pipeline = make_pipeline(
        model("factorial"),
        SequencePooling(),
        EarlyFusionClassifier(LogisticRegression()),
    ).fit(X, y)
    assert pipeline.predict(X).shape == y.shape
    out = pipeline[0].transform(X)
    assert out.names == ("shared", "audio", "video")
    assert {len(out[name][3]) for name in out.names} == {40}


def test_the_slower_modality_is_emitted_on_the_steps_of_the_faster():
    X, states = two_modalities(n_samples=8)
    X["video"] = [x[::4] for x in X["video"]]
    fitted = model().fit(X)
    assert [len(p) for p in fitted.transform(X)["state"]] == [40] * 8
    assert agreement(states, fitted.predict(X)) > 0.8
    assert [len(r) for r in fitted.reliability(X)["video"]] == [10] * 8
    slow = model(clock="video").fit(X)
    assert [len(p) for p in slow.predict(X)] == [10] * 8
    fixed = model(clock=20).fit(X)
    assert [len(p) for p in fixed.predict(X)] == [20] * 8


def test_a_lone_block_of_sequences_has_posteriors_as_sequences():
    X, _ = two_modalities()
    block = np.empty(6, dtype=object)
    block[:] = X["audio"]
    fitted = model().fit(block)
    assert [p.shape for p in fitted.transform(block)] == [(40, 2)] * 6
    padded = np.stack(X["audio"])
    assert_allclose(
        np.stack(list(fitted.transform(padded))),
        np.stack(list(fitted.transform(block))),
    )
    units = model("hierarchical").fit(block).transform(block)
    assert units.names == ("unit", "state")


def test_tables_are_series_whose_steps_are_columns_of_the_output():
    rng = np.random.default_rng(0)
    table = rng.normal(size=(20, 6)) + 4 * (np.arange(6) > 2)
    fitted = model().fit(table)
    assert fitted.predict(table).shape == (20, 6)
    features = fitted.set_output(transform="pandas").transform(table)
    assert features.shape == (20, 12)
    assert features.columns[:3].tolist() == [
        "hmmtransformer_t0_state0",
        "hmmtransformer_t0_state1",
        "hmmtransformer_t1_state0",
    ]
    names = model().fit(two_modalities()[0]).get_feature_names_out()
    assert names.tolist() == ["hmmtransformer_state0", "hmmtransformer_state1"]


@pytest.mark.parametrize("coupling", COUPLINGS)
def test_samples_of_the_model_are_of_its_modalities(coupling):
    X, _ = two_modalities()
    fitted = model(coupling).fit(X)
    drawn, states = fitted.sample(3, 50, random_state=0)
    assert drawn.names == ("audio", "video")
    assert [x.shape for x in drawn["audio"]] == [(50, 2)] * 3
    assert list(states) == fitted.chain_names_.tolist()
    again, _ = fitted.sample(3, 50, random_state=0)
    assert drawn == again
    # explained about as well as the samples of fit
    assert fitted.score(drawn) == pytest.approx(fitted.score(X), abs=0.5)


def test_displays_draw_a_fitted_model():
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("agg")
    X, _ = two_modalities()
    fitted = model("factorial").fit(X)
    display = StatePosteriorDisplay.from_estimator(fitted, X, sample=2)
    assert list(display.images_) == ["shared", "audio", "video"]
    assert_array_equal(display.states["audio"], fitted.decode(X)["audio"][2])
    curves = ReliabilityDisplay.from_estimator(fitted, X, sample=2)
    assert_allclose(curves.reliability["video"], fitted.reliability(X)["video"][2])
    matplotlib.pyplot.close("all")


def test_a_search_scores_by_likelihood():
    X, _ = two_modalities(n_samples=12)
    grid = {"n_states": [1, 2], "coupling": ["synchronous", "coupled"]}
    search = GridSearchCV(model(), grid, cv=3, error_score="raise").fit(Modalities(X))
    assert search.best_params_ == {"n_states": 2, "coupling": "synchronous"}


@pytest.mark.parametrize("coupling", ["synchronous", "factorial"])
def test_threads_change_nothing(coupling):
    X, _ = two_modalities()
    one, two = (model(coupling, n_jobs=n).fit(X).transform(X) for n in (1, 2))
    assert one == two


# Invariances


@pytest.mark.parametrize("coupling", ["synchronous", "coupled", "factorial"])
def test_orders_and_units_change_no_posterior(coupling):
    X, _ = two_modalities()
    X["video"] = [x + 3 * (i % 2) for i, x in enumerate(X["video"])]
    expected = model(coupling).fit(X).state_posteriors(X)
    order = np.random.default_rng(0).permutation(6)
    permuted = {name: [own[i] for i in order] for name, own in X.items()}
    found = model(coupling).fit(permuted).state_posteriors(permuted)
    for name, own in expected.items():
        for i, j in enumerate(order):
            assert_allclose(found[name][i], own[j], atol=1e-6)
    turned = {name: X[name] for name in ("video", "audio")}
    found = model(coupling).fit(turned).state_posteriors(turned)
    for name, own in expected.items():
        assert_allclose(found[name][0], own[0], atol=1e-6)
    scaled = X | {"audio": [1e6 * x for x in X["audio"]]}
    fitted = model(coupling).fit(scaled)
    for name, own in expected.items():
        assert_allclose(fitted.state_posteriors(scaled)[name][0], own[0], atol=1e-6)


def test_a_unit_shifts_the_score_by_its_logarithm():
    X, _ = two_modalities()
    scaled = X | {"audio": [1000 * x for x in X["audio"]]}
    plain, other = model().fit(X).score(X), model().fit(scaled).score(scaled)
    assert other == pytest.approx(plain - 2 * np.log(1000), abs=1e-6)


def test_states_have_one_numbering_whatever_the_seed():
    X, _ = two_modalities(n_samples=10)
    found = [model(random_state=seed, tol=1e-8).fit(X) for seed in range(3)]
    for other in found[1:]:
        assert_allclose(other.means_["audio"], found[0].means_["audio"], atol=1e-3)
    counts = np.bincount(np.concatenate(list(found[0].predict(X))))
    assert counts[0] >= counts[1]


def test_of_several_starts_the_best_is_kept():
    rng = np.random.default_rng(0)
    X = {"audio": [rng.normal(size=(30, 3)) for _ in range(6)]}
    one, several = (model(n_states=5, n_init=n, random_state=3).fit(X) for n in (1, 6))
    assert several.objective_history_[-1] >= one.objective_history_[-1]


# Robustness


@pytest.mark.parametrize(
    "coupling", ["synchronous", "coupled", "factorial", "hierarchical"]
)
@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "case", ["one frame", "constant", "huge", "wide", "float32", "identical"]
)
def test_unusual_data_are_modelled(coupling, case):
    rng = np.random.default_rng(0)
    X, _ = two_modalities(n_samples=5, n_steps=12)
    if case == "one frame":
        X = {name: [x[:1] for x in own] for name, own in X.items()}
    elif case == "constant":
        X["audio"] = [np.column_stack([x[:, 0], np.full(12, 7.0)]) for x in X["audio"]]
        X["video"] = [np.full((12, 1), 3.0)] * 5
    elif case == "huge":
        X["audio"] = [1e300 * x / 10 for x in X["audio"]]
    elif case == "wide":
        X["video"] = [rng.normal(size=(12, 300)) for _ in range(5)]
    elif case == "float32":
        X = {name: [x.astype(np.float32) for x in own] for name, own in X.items()}
    else:
        X = {name: [own[0]] * 5 for name, own in X.items()}
    fitted = model(coupling, max_iter=1000).fit(X)
    assert np.isfinite(fitted.score(X))
    for own in fitted.state_posteriors(X).values():
        for table in own:
            assert_allclose(table.sum(axis=1), 1)
    steps = np.diff(fitted.objective_history_)
    assert (steps >= -1e-9 * abs(fitted.objective_history_[-1])).all()


# Criteria and errors


def test_criteria_count_free_parameters():
    X, _ = two_modalities()
    fitted = model().fit(X)
    # means and variances of 3 features, transitions and starts of 2 states
    n_parameters = 2 * 2 * 3 + 2 + 1
    total = fitted.score(X) * 6 * 40
    assert fitted.aic(X) == pytest.approx(2 * n_parameters - 2 * total)
    assert fitted.bic(X) == pytest.approx(n_parameters * np.log(240) - 2 * total)
    factorial = model("factorial").fit(X)
    # of d features 1 + 1 + 1 means and a variance; 3 chains of 3 parameters
    total = factorial.score(X) * 240
    assert factorial.aic(X) == pytest.approx(2 * (3 * 4 + 3 * 3) - 2 * total)


def test_a_fit_that_did_not_converge_warns():
    X, _ = two_modalities()
    with pytest.warns(ConvergenceWarning, match="max_iter=1 iterations"):
        fitted = model(max_iter=1).fit(X)
    assert not fitted.converged_
    assert fitted.n_iter_ == 1


ERRORS = [
    ({"n_states": {"audio": 2}}, "n_states=.* is a dict"),
    ({"coupling": "product", "n_states": {"audio": 2}}, "n_states=.* is a dict"),
    ({"coupling": "coupled", "n_states": {"touch": 2}}, "n_states names .'touch'"),
    ({"coupling": "coupled", "n_states": {"audio": 0}}, "n_states.'audio'. is 0"),
    ({"coupling": "coupled", "n_states": 17}, "289 joint states"),
    ({"coupling": "product", "n_states": 50}, "sample 0 has 40 steps of the clock"),
    ({"coupling": "factorial", "covariance_type": "spherical"}, "one covariance"),
    ({"coupling": "factorial", "n_private_states": {"x": 2}}, "n_private_states names"),
    ({"clock": "touch"}, "'touch' is no modality"),
    ({"outlier_share": {"audio": 2}}, "outlier_share=2"),
    ({"modality_weights": {"touch": 2}}, "modality_weights names"),
    ({"emission": "normal"}, "emission"),
    ({"coupling": "linked"}, "coupling"),
]


@pytest.mark.parametrize(("params", "message"), ERRORS, ids=str)
def test_what_cannot_be_modelled_is_refused(params, message):
    X, _ = two_modalities()
    with pytest.raises(ValueError, match=message):
        model(**params).fit(X)


def test_a_product_is_of_two_modalities():
    X, _ = two_modalities()
    with pytest.raises(ValueError, match="of two modalities, and there are 1"):
        model("product").fit({"audio": X["audio"]})
