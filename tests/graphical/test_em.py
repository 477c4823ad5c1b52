"""Expectation-maximisation: exact cases, monotone objectives, priors, robustness."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmfusion.alignment import (
    AsynchronousHMMAligner,
    HMMAligner,
    ProductHMMAligner,
)
from mmfusion.fusion import HMMLabeler, HMMTransformer
from mmfusion.graphical import ergodic_graph, left_to_right_graph
from mmfusion.graphical._chain_model import (
    ChainModel,
    decode_states,
    fit_chain_model,
    sample_sequences,
    score_sequences,
    state_posteriors,
)
from mmfusion.graphical._clock import frames_on_clock
from mmfusion.graphical._emissions import make_emission
from mmfusion.graphical._gaussian import DiagonalGaussian
from mmfusion.graphical._graph import graph_from_edges, transition_matrix
from mmfusion.graphical._graph_builders import product_graph
from mmfusion.graphical._initialization import (
    equal_segments,
    initialize_emission,
    kmeans_states,
)
from mmfusion.graphical._multimodal_emission import MultimodalEmission
from mmfusion.graphical._outliers import OutlierComponent
from mmfusion.graphical._tied_transitions import TiedTransitions, edge_parameters

KINDS = ("diag", "full", "tied", "spherical", "mixture", "poisson", "categorical")


def make(kind, n_states, **options):
    if kind in ("diag", "full", "tied", "spherical"):
        return make_emission("gaussian", n_states, covariance_type=kind, **options)
    return make_emission(kind, n_states, **options)


def make_samples(rng, n_samples=8, *, gaps=False, kind="diag"):
    """Drifting sequences; the second modality has half as many frames."""
    samples = []
    for i in range(n_samples):
        n = int(rng.integers(8, 20))
        drift = np.linspace(0, 6, n)[:, None]
        if kind == "poisson":
            values = rng.poisson(drift + np.array([1, 3])).astype(float)
        elif kind == "categorical":
            values = (rng.random((n, 2)) < drift / 6).astype(float)
        else:
            values = drift * [1, -40] + rng.standard_normal((n, 2)) * [1, 30]
        half = drift[::2] + rng.standard_normal((len(drift[::2]), 3))
        samples.append({"a": values, "b": half})
        if gaps:
            values[rng.random(values.shape) < 0.2] = np.nan
            if i % 3 == 1:
                del samples[-1]["b"]
    return samples


def make_model(frames, graph, kind="diag", *, outlier=None, weights=None, **options):
    n_states = int(graph.emits.max()) + 1
    emission = MultimodalEmission(
        {
            name: make(kind if name == "a" else "diag", n_states, **options)
            for name in frames.modalities
        },
        weights or {},
        dict.fromkeys(frames.modalities, outlier),
    )
    emission.prepare(frames)
    states = equal_segments(frames.offsets, n_states)
    initialize_emission(emission, frames, states)
    return ChainModel(graph, emission)


def ergodic(n_states):
    transitions = np.full((n_states, n_states), 0.1 / n_states) + 0.9 * np.eye(n_states)
    return ergodic_graph(transitions, np.full(n_states, 1 / n_states))


# transition matrices and moments of the reference case with all paths enumerated
X = [
    [0.0018, 0.4481],
    [-0.4112, -1.3359],
    [-0.682, -1.4875],
    [0.0902, 2.0103],
    [-0.7383, -0.9307],
    [0.7348, 0.5353],
]
MEANS = [[0.1054, -0.9305], [-0.0293, 0.6953], [-1.3442, -0.4576]]
VARIANCES = [[1.1222, 1.489], [0.7153, 0.6602], [1.1125, 0.5439]]
START = [0.487, 0.417, 0.096]
TRANSITIONS = [[0.53, 0.235, 0.235], [0.485, 0.24, 0.275], [0.447, 0.091, 0.462]]


def reference_model():
    emission = DiagonalGaussian(3, prior_frames=0.0, variance_floor=0.0)
    emission.set_parameters(np.array(MEANS), np.array(VARIANCES))
    graph = ergodic_graph(TRANSITIONS, START)
    return ChainModel(graph, MultimodalEmission({"x": emission}))


def test_the_gaussian_case_before_and_after_one_step():
    model, frames = reference_model(), frames_on_clock([{"x": np.array(X)}])
    assert score_sequences(model, frames) == pytest.approx(
        -16.985239317626544, rel=1e-9
    )
    states, scores = decode_states(model, frames)
    assert scores == pytest.approx(-19.190795920257415, rel=1e-9)
    assert states.tolist() == [1, 0, 0, 1, 0, 1]
    history = fit_chain_model(model, frames, max_iter=1, transition_prior=0.0)
    assert history.objective == pytest.approx([-16.985239317626544], rel=1e-9)
    assert not history.converged
    emission = model.emission.emissions["x"]
    means = [
        [-0.3081882355904815, -0.6303345591305877],
        [0.16654984738969955, 0.9604793321399909],
        [-0.4720630593243876, -0.9586483935207232],
    ]
    variances = [
        [0.25596917737353403, 1.132909291294552],
        [0.12383729001451955, 0.7841682858143292],
        [0.16966963838496651, 0.43170129003255786],
    ]
    transitions = [
        [0.5159457624926782, 0.3896948521904554, 0.09435938531686652],
        [0.6338093459739526, 0.08135232425910635, 0.28483832976694096],
        [0.5565183163729611, 0.27688977071513265, 0.16659191291190617],
    ]
    start = [0.2509223378789842, 0.7140727045885062, 0.035004957532511385]
    assert emission.means == pytest.approx(np.array(means), rel=1e-9)
    assert emission.covariances == pytest.approx(np.array(variances), rel=1e-9)
    matrix = transition_matrix(model.graph)
    assert matrix == pytest.approx(np.array(transitions), rel=1e-9)
    assert np.exp(model.graph.log_start) == pytest.approx(start, rel=1e-9)
    assert score_sequences(model, frames) == pytest.approx(-11.17678896418644, rel=1e-9)


def test_the_case_of_two_modalities_with_weights_and_missing_frames():
    a = [
        [2.0004, 0.7623],
        [-1.1993, 0.0745],
        [0.5767, -0.1888],
        [0.6829, -0.0665],
        [0.6672, 1.4385],
    ]
    b = [[-0.6757], [0.2031], [np.nan], [np.nan], [-1.1872]]
    emissions = {"a": DiagonalGaussian(2), "b": DiagonalGaussian(2)}
    emissions["a"].set_parameters(
        np.array([[-0.5793, -0.1962], [0.8988, 1.1452]]),
        np.array([[0.8004, 1.3741], [1.1622, 0.6316]]),
    )
    emissions["b"].set_parameters(
        np.array([[-1.3235], [-0.7946]]), np.array([[1.3451], [1.4449]])
    )
    graph = ergodic_graph([[0.351, 0.649], [0.463, 0.537]], [0.484, 0.516])
    model = ChainModel(graph, MultimodalEmission(emissions, {"b": 0.4}))
    frames = frames_on_clock([{"a": np.array(a), "b": np.array(b)}])
    assert score_sequences(model, frames) == pytest.approx(-15.50638141886759, rel=1e-9)
    assert decode_states(model, frames)[1] == pytest.approx(
        -17.01701991336151, rel=1e-9
    )
    first = [
        0.012482949020703411,
        0.8739905785097346,
        0.46160810674583486,
        0.4425130035738586,
        0.0867553492247605,
    ]
    posteriors = state_posteriors(model, frames).posteriors
    assert posteriors[:, 0] == pytest.approx(first, rel=1e-9)


@pytest.mark.parametrize("gaps", [False, True])
@pytest.mark.parametrize("outlier", [None, OutlierComponent()])
@pytest.mark.parametrize("kind", KINDS)
def test_no_iteration_decreases_the_penalised_objective(kind, outlier, gaps):
    rng = np.random.default_rng(0)
    samples = make_samples(rng, gaps=gaps, kind=kind)
    sample_weight = rng.random(len(samples))
    for graph, rate in ((left_to_right_graph(3), "sum"), (ergodic(3), "mean")):
        frames = frames_on_clock(samples, clock=7, rate=rate, slow="hold")
        model = make_model(frames, graph, kind, outlier=outlier, weights={"b": 0.4})
        history = fit_chain_model(
            model, frames, max_iter=25, tol=-1.0, sample_weight=sample_weight
        )
        steps = np.diff(history.objective)
        assert len(steps) == 24
        assert steps.min() >= -1e-9 * abs(history.objective[-1])
        assert history.objective[-1] > history.objective[0] + 1e-3


@given(seed=st.integers(0, 10_000))
@settings(max_examples=12, deadline=None)
def test_objectives_of_random_models_do_not_fall(seed):
    rng = np.random.default_rng(seed)
    samples = make_samples(rng, 3, gaps=bool(rng.integers(2)))
    n_states = int(rng.integers(1, 4))
    weights = {"a": float(rng.random()), "b": float(2 * rng.random())}
    frames = frames_on_clock(samples, rate=str(rng.choice(["mean", "sum"])))
    graph, pairs = product_graph(n_states, max_lag=int(rng.integers(0, 2)))
    columns = {"a": pairs[:, 0], "b": pairs[:, 1]}
    if rng.integers(2):
        graph, columns = ergodic(n_states), None
    emission = MultimodalEmission(
        {name: make(str(rng.choice(KINDS[:5])), n_states) for name in "ab"},
        weights,
        {"a": OutlierComponent(0.2, 3.0)},
    )
    emission.prepare(frames)
    n_columns = emission.n_columns(columns)
    states = rng.integers(0, n_columns, frames.n_steps)
    initialize_emission(emission, frames, states, columns=columns)
    model = ChainModel(graph, emission, columns)
    history = fit_chain_model(model, frames, max_iter=10, tol=-1.0)
    assert np.diff(history.objective).min() >= -1e-9 * abs(history.objective[-1])


def test_converged_parameters_are_a_stationary_point():
    rng = np.random.default_rng(1)
    frames = frames_on_clock(make_samples(rng, gaps=True))
    outlier = OutlierComponent(0.1, 5.0)
    model = make_model(frames, ergodic(2), outlier=outlier, weights={"b": 0.7})
    assert fit_chain_model(model, frames, max_iter=2000, tol=1e-13).converged

    def objective():
        total = score_sequences(model, frames).sum() + model.emission.log_prior()
        return total + TiedTransitions().log_prior(model.graph, 0.1)

    best = objective()
    for emission in model.emission.emissions.values():
        means, variances = emission._means, emission._variances
        for table in (means, variances):
            for place in np.ndindex(table.shape):
                value, slopes = table[place], []
                for step in (-1e-4, 1e-4):
                    table[place] = value + step
                    slopes.append((objective() - best) / step)
                    table[place] = value
                assert abs(sum(slopes) / 2) < 1e-3  # of a curvature of tens
    parameters = edge_parameters(model.graph)
    graph = model.graph
    for shift in (-1e-3, 1e-3):
        moved = parameters + shift * np.array([1, -1, 0, 0])
        with np.errstate(divide="ignore"):
            model.graph = graph._replace(log_weights=np.log(moved)[graph.tie])
        assert objective() < best


def test_weights_of_sequences_equal_copies():
    rng = np.random.default_rng(2)
    samples = make_samples(rng, gaps=True)
    repeats = np.array([0, 1, 2, 0, 3, 1, 1, 2])
    copies = [s for s, n in zip(samples, repeats, strict=True) for _ in range(n)]
    scores = []
    for own, weight in ((samples, repeats.astype(float)), (copies, None)):
        frames = frames_on_clock(own)
        emission = MultimodalEmission(
            {name: make("diag", 2) for name in "ab"},
            {},
            dict.fromkeys("ab", OutlierComponent()),
        )
        emission.prepare(frames, weight)
        states = equal_segments(frames.offsets, 2)
        initialize_emission(emission, frames, states, sample_weight=weight)
        model = ChainModel(ergodic(2), emission)
        history = fit_chain_model(
            model, frames, max_iter=10, tol=-1.0, sample_weight=weight
        )
        scores.append(score_sequences(model, frames_on_clock(samples)))
        scores.append(history.objective)
    assert scores[0] == pytest.approx(scores[2], rel=1e-9)
    assert scores[1] == pytest.approx(scores[3], rel=1e-9)


def test_hard_iterations_climb_too():
    frames = frames_on_clock(make_samples(np.random.default_rng(3), gaps=True))
    for graph in (left_to_right_graph(4, max_skip=1), ergodic(3)):
        model = make_model(frames, graph, outlier=OutlierComponent())
        history = fit_chain_model(
            model, frames, max_iter=10, tol=-1.0, hard_iterations=4
        )
        assert np.diff(history.objective).min() >= -1e-9 * abs(history.objective[-1])
        # the first one is the score of the best paths of the initial model
        again = make_model(frames, graph, outlier=OutlierComponent())
        prior = again.emission.log_prior()
        prior += TiedTransitions().log_prior(graph, 0.1)
        best = decode_states(again, frames)[1].sum() + prior
        assert history.objective[0] == pytest.approx(best)


def test_tied_edges_share_their_counts_and_forbidden_ones_stay_forbidden():
    graph = graph_from_edges(
        3,
        [(0, 0), (0, 1), (1, 1), (1, 2), (2, 2)],
        np.log([0.5, 0.5, 0.5, 0.5, 1.0]),
        tie=[0, 1, 0, 1, -1],
        group=[0, 0],
        log_start=[0, -np.inf, -np.inf],
    )
    counts = np.zeros(5)
    ends = list(zip(graph.src, np.repeat([0, 1, 2], np.diff(graph.ptr)), strict=True))
    for edge, n in (((0, 0), 3.0), ((0, 1), 1.0), ((1, 1), 4.0), ((1, 2), 1.0)):
        counts[ends.index(edge)] = n
    learned = TiedTransitions().maximize(graph, counts, np.array([1.0, 0, 0]), 0.1)
    matrix = transition_matrix(learned)
    stay = 7.1 / 9.2
    expected = [[stay, 1 - stay, 0], [0, stay, 1 - stay], [0, 0, 1]]
    assert matrix == pytest.approx(np.array(expected))
    assert (learned.log_start == graph.log_start).all()
    unused = TiedTransitions().maximize(graph, np.zeros(5), np.zeros(3), 0.0)
    assert transition_matrix(unused) == pytest.approx(transition_matrix(graph))


def test_a_state_without_frames_is_seeded_once():
    rng = np.random.default_rng(5)
    values = np.concatenate([rng.normal(c, 0.3, (40, 1)) for c in (-5, 0, 5)])
    frames = frames_on_clock([{"x": values}])
    emission = make("diag", 3)
    emission.prepare(frames.modalities["x"].values)
    # the third state is far from all frames, the first two share them
    emission.set_parameters(np.array([[-5.0], [0], [400]]), np.full((3, 1), 0.5))
    model = ChainModel(ergodic(3), MultimodalEmission({"x": emission}))
    history = fit_chain_model(model, frames)
    assert sorted(emission.means.ravel()) == pytest.approx([-5, 0, 5], abs=0.3)
    assert np.diff(history.objective).min() >= -1e-9 * abs(history.objective[-1])


def test_the_fit_stops_when_the_objective_does():
    frames = frames_on_clock(make_samples(np.random.default_rng(6)))
    model = make_model(frames, ergodic(2))
    history = fit_chain_model(model, frames, max_iter=500)
    assert history.converged
    assert len(history.objective) < 500
    gains = np.diff(history.objective) / frames.n_steps
    assert gains[-1] < 1e-4 <= gains[:-1].min()
    model = make_model(frames, ergodic(2))
    assert not fit_chain_model(model, frames, max_iter=2).converged


def test_a_caller_follows_the_iterations_and_may_end_them():
    frames = frames_on_clock(make_samples(np.random.default_rng(6)))
    objectives = []

    def note(objective):
        objectives.append(objective)
        return len(objectives) == 3

    history = fit_chain_model(
        make_model(frames, ergodic(2)), frames, tol=0, on_step=note
    )
    assert history.objective.tolist() == objectives
    assert len(objectives) == 3
    assert not history.converged


@pytest.mark.parametrize("outlier", [None, OutlierComponent()])
def test_degenerate_sequences_give_finite_models(outlier):
    rng = np.random.default_rng(7)
    one = {"a": rng.normal(size=(1, 2))}
    equal = {"a": np.ones((6, 2))}
    huge = {"a": 1e300 * rng.normal(size=(9, 2))}
    missing = {"a": np.full((5, 2), np.nan)}
    wide = {"a": rng.normal(size=(12, 500))}
    for samples in ([one], [one, one], [equal] * 3, [huge] * 2, [missing], [wide] * 2):
        frames = frames_on_clock(samples)
        for kind in ("diag", "full", "tied", "spherical", "mixture"):
            model = make_model(frames, ergodic(3), kind, outlier=outlier)
            history = fit_chain_model(model, frames, max_iter=3)
            assert np.isfinite(history.objective).all()
            assert np.isfinite(score_sequences(model, frames)).all()
            assert np.isfinite(transition_matrix(model.graph)).all()


def test_sequences_that_no_path_can_have_are_refused_by_name():
    frames = frames_on_clock([{"a": np.zeros((n, 1))} for n in (5, 2)])
    model = ChainModel(
        left_to_right_graph(3), MultimodalEmission({"a": make("diag", 3)})
    )
    model.emission.prepare(frames)
    for hard in (0, 1):
        with pytest.raises(ValueError, match="explains sample 1, which has 2 clock"):
            fit_chain_model(model, frames, hard_iterations=hard)
        # a sequence of weight 0 equals none
        weight = np.array([1.0, 0.0])
        history = fit_chain_model(
            model, frames, max_iter=3, hard_iterations=hard, sample_weight=weight
        )
        assert np.isfinite(history.objective).all()


def test_units_shift_the_likelihood_and_nothing_else():
    rng = np.random.default_rng(8)
    samples = make_samples(rng, gaps=True)
    unit = 2.0**40
    results = []
    for factor in (1.0, unit):
        frames = frames_on_clock([{**s, "a": s["a"] * factor} for s in samples])
        model = make_model(frames, ergodic(2), outlier=OutlierComponent())
        fit_chain_model(model, frames, max_iter=8, tol=-1.0)
        results.append(
            (score_sequences(model, frames), state_posteriors(model, frames).posteriors)
        )
    n_observed = np.array([(~np.isnan(s["a"])).sum() for s in samples])
    shift = n_observed * np.log(unit)
    assert results[1][0] == pytest.approx(results[0][0] - shift, rel=1e-9)
    assert results[1][1] == pytest.approx(results[0][1], abs=1e-9)


def test_the_order_of_samples_and_modalities_has_no_effect():
    samples = make_samples(np.random.default_rng(9), gaps=True)
    order = np.random.default_rng(0).permutation(len(samples))
    turned = [dict(reversed(samples[i].items())) for i in order]
    scores = []
    for own in (samples, turned):
        frames = frames_on_clock(own)
        model = make_model(frames, ergodic(2), outlier=OutlierComponent())
        fit_chain_model(model, frames, max_iter=8, tol=-1.0)
        scores.append(score_sequences(model, frames))
    assert scores[1] == pytest.approx(scores[0][order], rel=1e-9)


@pytest.mark.parametrize("kind", ["diag", "full", "tied", "spherical"])
def test_without_priors_parameters_are_those_of_hmmlearn(kind):
    hmm = pytest.importorskip("hmmlearn.hmm")
    rng = np.random.default_rng(10)
    samples = [{"a": s["a"] * [1, 0.02]} for s in make_samples(rng, 6)]
    frames = frames_on_clock(samples)
    model = make_model(frames, ergodic(3), kind, prior_frames=0.0, variance_floor=0.0)
    emission = model.emission.emissions["a"]
    peer = hmm.GaussianHMM(
        3,
        covariance_type=kind,
        init_params="",
        n_iter=4,
        tol=-np.inf,
        min_covar=0,
        covars_prior=0,
        covars_weight=0,
        implementation="log",
    )
    peer.startprob_ = np.exp(model.graph.log_start)
    peer.transmat_ = transition_matrix(model.graph)
    peer.means_, peer.covars_ = emission.means, emission.covariances
    values, lengths = frames.modalities["a"].values, np.diff(frames.offsets)
    peer.fit(values, lengths)
    fit_chain_model(model, frames, max_iter=4, tol=-1.0, transition_prior=0.0)
    assert emission.means == pytest.approx(peer.means_, rel=1e-8)
    expected = peer._covars_
    expected = expected[:, 0] if kind == "spherical" else expected
    assert emission.covariances == pytest.approx(expected, rel=1e-8, abs=1e-9)
    assert transition_matrix(model.graph) == pytest.approx(peer.transmat_, rel=1e-8)
    total = score_sequences(model, frames).sum()
    assert total == pytest.approx(peer.score(values, lengths), rel=1e-8)


def test_parameters_are_recovered_from_samples():
    transitions = np.array([[0.9, 0.1, 0.0], [0.05, 0.85, 0.1], [0.2, 0.0, 0.8]])
    means = {
        "a": np.array([[-2.0, 0], [0, 2], [2, 0]]),
        "b": np.array([[0.0], [3], [6]]),
    }
    variances = {"a": np.full((3, 2), 0.8), "b": np.array([[1.0], [2], [0.5]])}
    truth = MultimodalEmission({name: DiagonalGaussian(3) for name in "ab"})
    for name in "ab":
        truth.emissions[name].set_parameters(means[name], variances[name])
    source = ChainModel(ergodic_graph(transitions, [0.5, 0.3, 0.2]), truth)
    samples, states = sample_sequences(source, 200, 40, np.random.RandomState(0))
    for i in range(0, 200, 4):
        del samples[i]["b"]  # exact without it
    frames = frames_on_clock(samples)
    emission = MultimodalEmission({name: make("diag", 3) for name in "ab"})
    emission.prepare(frames)
    start = kmeans_states(frames, 3, np.random.RandomState(0))
    initialize_emission(emission, frames, start)
    model = ChainModel(ergodic(3), emission)
    assert fit_chain_model(model, frames, tol=1e-8, max_iter=300).converged
    order = emission.emissions["b"].means[:, 0].argsort()
    counts = np.bincount(np.concatenate(states), minlength=3)
    for name, share in (("a", 1.0), ("b", 0.75)):
        fitted = emission.emissions[name]
        n = share * counts[:, None]
        # three standard errors, a third more since states are not seen
        bound = 4 * np.sqrt(variances[name] / n)
        assert (np.abs(fitted.means[order] - means[name]) < bound).all()
        bound = 4 * variances[name] * np.sqrt(2 / n)
        assert (np.abs(fitted.covariances[order] - variances[name]) < bound).all()
    matrix = transition_matrix(model.graph)[np.ix_(order, order)]
    bound = 4 * np.sqrt(transitions * (1 - transitions) / counts[:, None]) + 1e-3
    assert (np.abs(matrix - transitions) < bound).all()


@pytest.mark.parametrize("n_states", [10**9, 10**6])
def test_more_states_than_frames_are_refused(n_states):
    X = {"a": [np.random.default_rng(i).normal(size=(8, 2)) for i in range(3)]}
    X["b"] = X["a"]
    events = [own[:3] for own in X["a"]]
    y = [np.repeat([0, 1], 4)] * 3
    for fit in (
        lambda: HMMTransformer(n_states).fit(X),
        lambda: HMMTransformer(4, coupling="factorial", n_private_states=n_states).fit(
            X
        ),
        lambda: HMMLabeler(n_states).fit(X, y),
        lambda: ProductHMMAligner(n_states).fit(X),
        lambda: HMMAligner(n_states).fit(X),
        lambda: AsynchronousHMMAligner(n_states).fit({"a": X["a"], "b": events}),
    ):
        with pytest.raises(ValueError, match=rf"={n_states} .* 3 samples have (24|48)"):
            fit()
