"""ProductHMMAligner: planted delays, and its limits of one and of two chains."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmfusion import Modalities
from mmfusion.alignment import HMMAligner, ProductHMMAligner
from mmfusion.alignment._durations import resolve_durations
from mmfusion.alignment._product_hmm_aligner import lagging_graph
from mmfusion.datasets import make_audio_visual_sequences
from mmfusion.graphical import left_to_right_graph
from mmfusion.graphical._inference import chain_log_likelihood


@pytest.mark.parametrize("delays", [(-4, 4), (0, 6)])
def test_planted_delays_are_found_within_a_frame(delays):
    errors, off = [], []
    for seed in range(2):
        X, planted, states = make_audio_visual_sequences(
            20, delays=delays, random_state=seed
        )
        aligner = ProductHMMAligner(8).fit(X)
        errors.append(np.abs(aligner.delay_ - planted))
        off += [
            np.abs(lag - (truth[:, 0] - truth[:, 1])).mean()
            for lag, truth in zip(aligner.lag_, states, strict=True)
        ]
    assert (np.array(errors) <= 1).mean() >= 0.98
    assert np.mean(errors) < 0.3
    assert np.mean(off) < 0.05


def test_a_delay_that_all_samples_share_is_found():
    X, _, _ = make_audio_visual_sequences(20, delays=(5, 5), random_state=0)
    assert ProductHMMAligner(8).fit(X).delay_.mean() == pytest.approx(5, abs=1)


def test_delays_of_later_samples_are_found():
    X, delays, _ = make_audio_visual_sequences(24, random_state=5)
    aligner = ProductHMMAligner(8).fit(X[:16])
    np.testing.assert_allclose(aligner.delay(X[16:]), delays[16:], atol=1)
    for one, other in zip(aligner.lag(X[:16]), aligner.lag_, strict=True):
        np.testing.assert_allclose(one, other)
    viterbi = ProductHMMAligner(8, decoding="viterbi").fit(X)
    for sample in viterbi.edges_:
        edges = np.stack(list(sample.values()))
        np.testing.assert_array_equal(edges, np.rint(edges))


def test_exchanged_modalities_exchange_the_sign():
    X, _, _ = make_audio_visual_sequences(12, random_state=0)
    one = ProductHMMAligner(8).fit(X)
    other = ProductHMMAligner(8).fit(X[["video", "audio"]])
    np.testing.assert_allclose(one.delay_, -other.delay_, atol=1e-6)
    assert one.score(X) == pytest.approx(other.score(X[["video", "audio"]]))


def test_without_lag_it_is_one_chain_of_both_modalities():
    X, _, _ = make_audio_visual_sequences(10, missing_rate=0.2, random_state=0)
    options = dict(tol=1e-10, max_iter=500)
    product = ProductHMMAligner(8, max_lag=0, **options).fit(X)
    one = HMMAligner(8, joint=True, **options).fit(X)
    assert product.score(X) == pytest.approx(one.score(X), rel=1e-8)
    for found, expected in zip(product.edges_, one.edges_, strict=True):
        for name, edges in expected.items():
            np.testing.assert_allclose(found[name], edges, atol=1e-5)
    complete = X.observed.all(axis=1)
    np.testing.assert_allclose(product.delay_[complete], 0, atol=1e-12)


def test_the_graph_without_lag_is_that_of_one_chain():
    stays = np.array([[0.3, 0.8, 0.5], [0.4, 0.6, 0.9]])
    graph, pairs = lagging_graph(*stays, 0)
    both, neither = stays.prod(axis=0), (1 - stays).prod(axis=0)
    one = left_to_right_graph(3, stay=both / (both + neither))
    np.testing.assert_array_equal(pairs, [[k, k] for k in range(3)])
    for found, expected in zip(graph, one, strict=True):
        np.testing.assert_allclose(found, expected)


@settings(deadline=None, max_examples=25)
@given(
    n_states=st.integers(1, 5),
    n_frames=st.integers(5, 9),
    beyond=st.integers(0, 2),
    seed=st.integers(0, 999),
)
def test_with_any_lag_it_is_two_independent_chains(n_states, n_frames, beyond, seed):
    rng = np.random.default_rng(seed)
    stays = rng.uniform(0.1, 0.9, (2, n_states))
    tables = rng.normal(size=(2, n_frames, n_states))
    offsets = [0, n_frames]
    graph, pairs = lagging_graph(*stays, n_states - 1 + beyond)
    found = chain_log_likelihood(
        graph, tables[0][:, pairs[:, 0]] + tables[1][:, pairs[:, 1]], offsets
    )
    apart = [
        chain_log_likelihood(left_to_right_graph(n_states, stay=stay), table, offsets)
        for stay, table in zip(stays, tables, strict=True)
    ]
    np.testing.assert_allclose(found, sum(apart), rtol=1e-10)


def test_a_lag_forbids_pairs_of_states():
    graph, pairs = lagging_graph(np.full(6, 0.5), np.full(6, 0.7), 2)
    assert np.abs(pairs[:, 0] - pairs[:, 1]).max() == 2
    assert len(pairs) == 6 * 5 - 2 * 3
    sums = np.bincount(graph.src, np.exp(graph.log_weights))
    np.testing.assert_allclose(sums, 1)
    assert resolve_durations(6, 0, 1, None, 1.0).frame_limits() == (6, None)


def test_samples_without_a_modality_have_no_lag():
    X, delays, _ = make_audio_visual_sequences(15, missing_rate=0.2, random_state=1)
    aligner = ProductHMMAligner(8).fit(X)
    complete = X.observed.all(axis=1)
    assert 0 < complete.sum() < 15
    np.testing.assert_array_equal(np.isnan(aligner.delay_), ~complete)
    np.testing.assert_allclose(aligner.delay_[complete], delays[complete], atol=1)


def test_clocks_of_different_rates_are_joined():
    X, delays, _ = make_audio_visual_sequences(20, random_state=0)
    slower = X.to_dict() | {"video": [x[::2] for x in X["video"]]}
    aligner = ProductHMMAligner(8).fit(slower)
    assert [len(lag) for lag in aligner.lag_] == [len(x) for x in X["audio"]]
    # of two frames the first is left, and is taken for the middle of both
    np.testing.assert_allclose(aligner.delay_ + 0.5, delays, atol=1.5)


def test_other_than_two_modalities_are_refused():
    X, _, _ = make_audio_visual_sequences(3, random_state=0)
    three = Modalities(X.to_dict() | {"touch": X["audio"]})
    for data in (three, X[["audio"]]):
        with pytest.raises(ValueError, match=r"give two of them"):
            ProductHMMAligner(3).fit(data)
    short = {n: [x[:5] for x in X[n]] for n in X.names}
    with pytest.raises(ValueError, match=r"sample 0 has 5 frames, .* at least 8"):
        ProductHMMAligner(8).fit(X).transform(short)
