"""Structured mean field: a lower bound, which is tight where chains do not interact."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.metrics import adjusted_rand_score

from mmfusion import HMMTransformer
from mmfusion.graphical import _couplings
from mmfusion.graphical._chain_model import ChainModel, score_sequences
from mmfusion.graphical._clock import Frames, ModalityFrames
from mmfusion.graphical._coupling_starts import set_mean_field_start
from mmfusion.graphical._couplings import factorial_coupling, synchronous_graph
from mmfusion.graphical._factorial_gaussian import FactorialGaussian
from mmfusion.graphical._graph import transition_matrix
from mmfusion.graphical._mean_field import (
    MeanFieldModel,
    approximate,
    fit_mean_field,
)
from mmfusion.graphical._multimodal_emission import MultimodalEmission
from mmfusion.graphical._outliers import OutlierComponent


def frames_of(seed=0, n_steps=60, noise=1.0):
    rng = np.random.default_rng(seed)
    shared = np.repeat(rng.integers(2, size=n_steps // 6), 6)
    modalities = {}
    for name in ("a", "b"):
        own = np.repeat(rng.integers(2, size=n_steps // 3), 3)
        means = rng.normal(0, 2, (2, 2)), rng.normal(0, 2, (2, 2))
        values = (
            means[0][shared] + means[1][own] + noise * rng.normal(size=(n_steps, 2))
        )
        modalities[name] = ModalityFrames(values)
    modalities["a"].values[::7] = np.nan
    return Frames(np.array([0, 25, 26, n_steps]), modalities)


def model_of(frames, chains, outlier_share=0.01):
    emissions = {}
    for name in frames.modalities:
        shape = (chains["shared"], chains[name]) if name in chains else (2,)
        emissions[name] = FactorialGaussian(shape)
    outliers = dict.fromkeys(emissions, OutlierComponent(outlier_share, 5.0))
    emission = MultimodalEmission(emissions, {}, outliers)
    emission.prepare(frames)
    graphs = {name: synchronous_graph(k) for name, k in chains.items()}
    model = MeanFieldModel(graphs, emission)
    set_mean_field_start(model, frames, 0)
    return model


def exact_scores(model, frames):
    """Log-likelihoods of the same parameters by the graph of all combinations."""
    coupling = factorial_coupling(
        model.n_states("shared"), {n: model.n_states(n) for n in frames.modalities}
    )
    step = coupling.transition_model
    graphs = list(model.graphs.values())
    step.tables = [transition_matrix(graph) for graph in graphs]
    step.starts = [np.exp(graph.log_start) for graph in graphs]
    columns = coupling.columns
    return score_sequences(ChainModel(step.graph(), model.emission, columns), frames)


@pytest.mark.parametrize("seed", range(5))
def test_the_bound_is_below_the_likelihood_and_near_it(seed):
    frames = frames_of(seed)
    model = model_of(frames, {"shared": 2, "a": 2, "b": 2})
    bounds, exact = approximate(model, frames).bounds, exact_scores(model, frames)
    assert (bounds <= exact + 1e-9).all()
    assert exact.sum() - bounds.sum() < 0.1 * frames.n_steps


def test_without_private_chains_the_bound_is_the_likelihood():
    frames = frames_of()
    model = model_of(frames, {"shared": 2})
    found = approximate(model, frames)
    assert_allclose(found.bounds, exact_scores(model, frames), rtol=1e-10)


def test_more_sweeps_raise_the_bound(monkeypatch):
    frames = frames_of(noise=2.0)
    model = model_of(frames, {"shared": 2, "a": 2, "b": 2})
    beliefs, totals = None, []
    monkeypatch.setattr("mmfusion.graphical._mean_field.MEAN_FIELD_SWEEPS", 1)
    for _ in range(8):
        found = approximate(model, frames, beliefs)
        beliefs = found.beliefs
        totals.append(found.bounds.sum())
    assert np.diff(totals).min() > -1e-9 * abs(totals[-1])


@pytest.mark.parametrize("outlier_share", [0.01, 1e-9])
def test_no_iteration_decreases_the_objective(outlier_share):
    frames = frames_of(noise=1.5)
    model = model_of(frames, {"shared": 2, "a": 2, "b": 2}, outlier_share)
    objective = fit_mean_field(model, frames, max_iter=25, tol=0).objective
    assert np.diff(objective).min() > -1e-9 * abs(objective[-1])
    assert objective[-1] > objective[0]


def planted(seed=0, names=("a", "b"), n_samples=8, n_steps=80):
    """Modalities with a chain in common, under louder ones of their own."""
    rng = np.random.default_rng(seed)

    def chain():
        return (rng.random(n_steps) < 0.08).cumsum() % 2

    common, X = [chain() for _ in range(n_samples)], {}
    for name in names:
        own, louder = rng.normal(size=(2, 3)), 2 * rng.normal(size=(2, 3))
        X[name] = [
            own[c] + louder[chain()] + 0.7 * rng.normal(size=(n_steps, 3))
            for c in common
        ]
    return X, common


def test_the_mean_field_agrees_with_the_exact_model(monkeypatch):
    X, common = planted()
    model = HMMTransformer(2, "factorial", n_init=1, random_state=0)
    exact = model.fit(X).decode(X)
    score, bic = model.score(X), model.bic(X)
    monkeypatch.setattr(_couplings, "LARGEST_FACTORIAL_STATES", 4)
    found = model.fit(X).decode(X)
    assert model.transitions_ is None
    assert list(model.chain_transitions_) == ["shared", "a", "b"]
    for name, own in exact.items():
        pair = np.concatenate(own), np.concatenate(found[name])
        assert adjusted_rand_score(*pair) > 0.95
    states = np.concatenate(found["shared"])
    assert adjusted_rand_score(np.concatenate(common), states) > 0.95
    assert model.score(X) == pytest.approx(score, abs=0.1)
    # as many parameters
    assert model.bic(X) == pytest.approx(bic - 2 * 640 * (model.score(X) - score))
    reliability = model.reliability(X)
    assert np.concatenate(list(reliability["a"])).mean() > 0.95
    drawn, own = model.sample(3, 40, random_state=0)
    assert drawn["b"][0].shape == (40, 3)
    assert list(own) == ["shared", "a", "b"]
    assert model.score(drawn) == pytest.approx(model.score(X), abs=0.5)


def test_chains_beyond_an_exact_model_are_fitted():
    names = list("abcdefghijk")  # 2^12 combinations
    X, common = planted(names=names, n_samples=4)
    X["a"][1] = None
    model = HMMTransformer(2, "factorial", n_init=1, random_state=0).fit(X)
    decoded = model.decode(X)
    states = np.concatenate(decoded["shared"])
    assert adjusted_rand_score(np.concatenate(common), states) > 0.95
    for table in model.transform(X)["k"]:
        assert_allclose(table.sum(axis=1), 1)
    counts = np.bincount(np.concatenate(decoded["b"]))
    assert counts[0] >= counts[1] - 5
