"""The numerics of word alignment, against enumeration and published values."""

import json
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import digamma as scipy_digamma

from mmfusion.alignment.words._corpus_files import CorpusFiles
from mmfusion.alignment.words._expectation import WordModel, expectation
from mmfusion.alignment.words._index import Vocabulary, encode, index_corpus
from mmfusion.alignment.words._links import find_links
from mmfusion.alignment.words._positions import (
    DIAGONAL,
    JUMPS,
    UNIFORM,
    Positions,
    first_jumps,
    update_tension,
)
from mmfusion.alignment.words._symmetrization import SYMMETRIZATIONS, symmetrize
from mmfusion.alignment.words._training import Stage, fit_stages
from mmfusion.alignment.words._translations import (
    Translations,
    digamma,
    estimate_translations,
    uniform_translations,
    zero_counts,
)

from .slow_words import grown, positions_by_enumeration

CASES = Path(__file__).parents[3] / "shared" / "data" / "graphical_reference_cases.json"
RNG = np.random.default_rng(0)


def cases(kind):
    """Return the cases of a kind; none where the file is not there."""
    if not CASES.exists():
        return []
    every = json.loads(CASES.read_text())["cases"]
    return [case for case in every if case["kind"] == kind]


def close(ours, expected):
    assert_allclose(ours, np.asarray(expected, dtype=float), rtol=1e-9, atol=1e-9)


def indexed(source, target):
    words = Vocabulary(), Vocabulary()
    tokens = [encode(own, w) for own, w in zip((source, target), words, strict=True)]
    index, types = index_corpus(*tokens, *map(len, words))
    return index, types, *map(dict, words)


def pair_values(types, sources, targets, values):
    """Return values of pairs by names 'target|source', as the cases have them."""
    names = {code: name for name, code in sources.items()}
    others = {code: name for name, code in targets.items()}
    return {
        f"{others[f]}|{names[e]}": value
        for e, f, value in zip(types.sources(), types.targets, values, strict=True)
    }


def random_corpus(n_samples=12, n_types=5, longest=4):
    return [
        [
            RNG.integers(0, n_types, RNG.integers(0, longest + 1)).tolist()
            for _ in range(n_samples)
        ]
        for _ in range(2)
    ]


@pytest.mark.parametrize("case", cases("ibm1"))
def test_the_first_model_of_ibm(case):
    index, types, *words = indexed(case["source"], case["target"])
    share = -1.0 if case["null"] else 0.0
    stage = Stage(UNIFORM, case["n_iter"], share, False)
    model, history = fit_stages(index, types, [stage], concentration=0.0, max_jump=1)
    close(history[0][:, 0], case["loglik_before_each_step"])
    found = pair_values(types, *words, model.translations.pairs[:, 0])
    for f, code in words[1].items():
        found[f"{f}|<null>"] = model.translations.null_to_target[code]
    close([found[name] for name in case["t"]], list(case["t"].values()))


@pytest.mark.parametrize("case", cases("ibm1_estep_repeated_words"))
def test_repeated_words_have_a_normaliser_each(case):
    index, types, *words = indexed(case["source"], case["target"])
    t = uniform_translations(types)
    names = list(pair_values(types, *words, t.pairs[:, 0]))
    t.pairs[:, 0] = [case["t"][name] for name in names]
    side = Positions(UNIFORM, 0.0, 1.0, first_jumps(1))
    found = expectation(index, types, WordModel(t, side, side), (0, 1), agree=False)
    counts = pair_values(types, *words, found.counts.pairs[:, 0])
    close([counts[n] for n in names], [case["expected_counts"][n] for n in names])
    close(found.sums[0, 0], case["loglik"])


@pytest.mark.parametrize("case", cases("word_hmm"))
def test_the_hidden_markov_model_of_words(case):
    index, types, *_ = indexed([["a", "b", "c"]], [["x", "y", "z"]])
    t = uniform_translations(types)
    # the case has target tokens in rows
    t.pairs[:, 0] = np.array(case["t_target_given_source"]).T.ravel()
    t.null_to_target[:] = case["t_target_given_null"]
    jumps = np.array(case["jump"]["p"])
    side = Positions(JUMPS, case["null_probability"], 1.0, jumps)
    found = find_links(
        WordModel(t, side, side),
        types,
        index.source,
        index.target,
        method="forward",
        threshold=0.5,
    )
    close(found.log_likelihoods[0], case["loglik"])
    close(found.posteriors[0].T, case["link_posterior"])
    close(1 - found.posteriors[0].sum(axis=0), case["null_posterior"])
    assert found.links[0].tolist() == [[i, j] for j, i in enumerate(case["viterbi"])]


@pytest.mark.parametrize("kind", [UNIFORM, DIAGONAL, JUMPS])
@pytest.mark.parametrize(("n_source", "n_target"), [(1, 1), (3, 2), (2, 4), (4, 3)])
def test_posteriors_are_those_of_all_alignments(kind, n_source, n_target):
    index, types, *_ = indexed([list(range(n_source))], [list(range(n_target))])
    t = Translations(
        RNG.uniform(size=(types.n_pairs, 2)),
        *map(RNG.uniform, [0] * 2, [1] * 2, [n_target, n_source]),
        *map(np.ones, (n_source, n_target)),
    )
    jumps = RNG.uniform(size=5)
    side = Positions(kind, 0.3, 2.0, jumps)
    found = [
        find_links(
            WordModel(t, side, side),
            types,
            index.source,
            index.target,
            method=method,
            threshold=0.4,
        )
        for method in ("forward", "reverse", "agreement")
    ]
    expected = []
    for d, (m, n) in enumerate([(n_target, n_source), (n_source, n_target)]):
        scores = t.pairs[:, d].reshape(n_source, n_target)
        i, j = np.arange(1, n + 1) / n, np.arange(1, m + 1) / m
        prior = np.ones((m, n)) if kind == UNIFORM else np.exp(-2 * abs(i - j[:, None]))
        prior /= prior.sum(axis=1, keepdims=True)
        scores = scores.T if d == 0 else scores
        transition = np.full((n, n), 1 / n)
        if kind == JUMPS:
            distances = np.clip(np.arange(n) - np.arange(n)[:, None], -2, 2)
            transition = jumps[distances + 2]
            transition /= transition.sum(axis=1, keepdims=True)
        if kind == DIAGONAL:  # the prior of a step does not depend on the one before
            scores, prior = scores * prior * n, None
        null = t[1 + d]
        posterior, _, log_likelihood = positions_by_enumeration(
            scores, null, 0.3, np.full(n, 1 / n), transition
        )
        assert_allclose(found[d].log_likelihoods[d], log_likelihood, rtol=1e-10)
        expected.append(posterior.T if d == 0 else posterior)
        assert_allclose(found[d].posteriors[0], expected[-1], rtol=1e-9)
    both = np.sqrt(expected[0] * expected[1])
    assert_allclose(found[2].posteriors[0], both, rtol=1e-9)
    assert_array_equal(found[2].links[0], np.argwhere(both > 0.4))


def test_uniform_jumps_are_independent_positions():
    source, target = random_corpus()
    index, types, *_ = indexed(source, target)
    kinds = [Positions(kind, 0.3, 1.0, np.ones(5)) for kind in (UNIFORM, JUMPS)]
    found = [
        expectation(
            index,
            types,
            WordModel(uniform_translations(types), own, own),
            (0, 12),
            agree=False,
        )
        for own in kinds
    ]
    assert_allclose(found[0].counts.pairs, found[1].counts.pairs)
    assert_allclose(found[0].sums[:, 0], found[1].sums[:, 0])


def test_no_tension_is_the_first_model_of_ibm():
    index, types, *_ = indexed(*random_corpus())
    t = uniform_translations(types)
    t.pairs[:] = RNG.uniform(size=t.pairs.shape)
    counts = [
        expectation(
            index, types, WordModel(t, own, own), (0, 12), agree=False
        ).counts.pairs
        for own in (Positions(k, 0.1, 0.0, np.ones(3)) for k in (UNIFORM, DIAGONAL))
    ]
    assert_allclose(*counts)


def test_one_source_word_gives_relative_frequencies():
    target = [["x", "y"], ["x"], ["z", "x"]]
    index, types, _, words = indexed([["e"]] * 3, target)
    stage = Stage(UNIFORM, 1, 0.0, False)
    model, _ = fit_stages(index, types, [stage], concentration=0.0, max_jump=1)
    assert_allclose(model.translations.pairs[:, 0], [3 / 5, 1 / 5, 1 / 5])
    assert list(words) == ["x", "y", "z"]


def test_maximum_likelihood_never_decreases():
    index, types, *_ = indexed(*random_corpus(30))
    stage = Stage(UNIFORM, 12, 0.1, False)
    _, (history,) = fit_stages(index, types, [stage], concentration=0.0, max_jump=3)
    assert (np.diff(history, axis=0) > -1e-9 * abs(history[:-1])).all()


def test_agreement_counts_products():
    index, types, *_ = indexed([["a", "b"]], [["x", "y"]])
    t = uniform_translations(types)
    t.pairs[:] = RNG.uniform(size=t.pairs.shape)
    side = Positions(UNIFORM, 0.2, 1.0, np.ones(3))
    model = WordModel(t, side, side)
    alone = expectation(index, types, model, (0, 1), agree=False).counts
    both = expectation(index, types, model, (0, 1), agree=True).counts
    product_ = alone.pairs.prod(axis=1)
    assert_allclose(both.pairs, np.column_stack([product_, product_]))
    by_target = [product_[types.targets == j].sum() for j in range(2)]
    assert_allclose(both.null_to_target, 1 - np.array(by_target))


@pytest.mark.parametrize("concentration", [0.0, 0.01, 0.5])
def test_estimates_of_counts(concentration):
    _, types, *_ = indexed(*random_corpus())
    counts = zero_counts(types)
    counts.pairs[:] = RNG.gamma(1, size=counts.pairs.shape)
    counts.null_to_target[:] = 1
    given = counts.pairs.copy()
    found = estimate_translations(types, counts, concentration)
    for d, own in enumerate((types.sources(), types.targets)):
        total = np.bincount(own, given[:, d])
        n_types = np.bincount(own)
        expected = given[:, d] / total[own]
        if concentration:
            norm = scipy_digamma(total + concentration * n_types)
            expected = np.exp(scipy_digamma(given[:, d] + concentration) - norm[own])
            unseen = (found.unseen_target, found.unseen_source)[d]
            prior = np.exp(scipy_digamma(concentration) - norm)
            assert_allclose(unseen[n_types > 0], prior[n_types > 0])
        assert_allclose(found.pairs[:, d], expected)


def test_digamma():
    x = np.concatenate([np.geomspace(1e-3, 1e6, 200), np.arange(1.0, 12)])
    assert_allclose(
        [digamma(own) for own in x], scipy_digamma(x), rtol=1e-11, atol=1e-12
    )


def test_the_tension_rises_until_the_prior_expects_the_distance():
    lengths, n_samples = np.array([[6, 5], [9, 9]]), np.array([3, 4])
    tension = 4.0
    for _ in range(200):
        tension = update_tension(tension, 0.1 * 54, lengths, n_samples)
    other = update_tension(tension, 0.1 * 54, lengths, n_samples)
    assert 0.1 < tension < 14
    assert other == pytest.approx(tension, rel=1e-3)


def test_pairs_of_types_have_one_id_each():
    source, target = random_corpus(40)
    index, types, *words = indexed(source, target)
    found = {}
    for s, (e, f) in enumerate(zip(source, target, strict=True)):
        cells = index.cells[index.cell_offsets[s] : index.cell_offsets[s + 1]]
        for pair, cell in zip(product(e, f), cells, strict=True):
            assert found.setdefault(pair, cell) == cell
    assert sorted(found.values()) == list(range(types.n_pairs))
    for (e, f), cell in found.items():
        assert types.sources()[cell] == words[0][e]
        assert types.targets[cell] == words[1][f]


@pytest.mark.parametrize("size", [1, 7, 40])
def test_an_index_in_files_is_that_in_memory(size, tmp_path):
    source, target = random_corpus(40)
    index, types, *_ = indexed(source, target)
    words, files = (Vocabulary(), Vocabulary()), CorpusFiles(tmp_path)
    for first in range(0, 40, size):
        part = slice(first, first + size)
        tokens = encode(source[part], words[0]), encode(target[part], words[1])
        files.add(*tokens, (len(words[0]), len(words[1])))
    found, own = files.finish((len(words[0]), len(words[1])))
    for a, b in zip(
        (*index.source, *index.target), (*found.source, *found.target), strict=True
    ):
        assert_array_equal(a, b)
    assert_array_equal(index.cells, found.cells)
    assert_array_equal(index.cell_offsets, found.cell_offsets)
    assert_array_equal(types.indptr, own.indptr)
    assert_array_equal(types.targets, own.targets)


def as_links(matrix):
    return set(map(tuple, np.argwhere(matrix).tolist()))


@pytest.mark.parametrize("seed", range(20))
def test_symmetrizations_are_those_of_sets(seed):
    rng = np.random.default_rng(seed)
    n_source, n_target = rng.integers(1, 7, 2)
    forward, reverse = (
        rng.dirichlet(np.full(k + 1, 0.3), size=n)
        for n, k in ((n_target, n_source), (n_source, n_target))
    )
    found = {}
    for k, name in enumerate(SYMMETRIZATIONS):
        links = np.zeros((n_source, n_target), dtype=bool)
        symmetrize(
            np.ascontiguousarray(forward[:, :-1]),
            np.ascontiguousarray(reverse[:, :-1]),
            np.ascontiguousarray(forward[:, -1]),
            np.ascontiguousarray(reverse[:, -1]),
            k,
            0.4,
            links,
        )
        found[name] = as_links(links)
    ahead = {(p.argmax(), j) for j, p in enumerate(forward) if p.argmax() < n_source}
    back = {(i, p.argmax()) for i, p in enumerate(reverse) if p.argmax() < n_target}
    assert found["forward"] == ahead
    assert found["reverse"] == back
    assert found["intersection"] == ahead & back
    assert found["union"] == ahead | back
    assert found["grow-diag"] == grown(ahead, back)
    assert found["grow-diag-final"] == grown(ahead, back, "or")
    assert found["grow-diag-final-and"] == grown(ahead, back, "and")
    both = np.sqrt(forward[:, :-1].T * reverse[:, :-1])
    assert found["agreement"] == as_links(both > 0.4)


def test_grow_diag_adds_neighbours_of_added_links():
    ahead = {(0, 0), (1, 1), (2, 2)}
    assert grown(ahead, {(0, 0)}) == ahead
    forward, reverse = np.zeros((3, 3)), np.zeros((3, 3))
    np.fill_diagonal(forward, 1)
    reverse[0, 0] = 1
    links = np.zeros((3, 3), dtype=bool)
    nulls = np.full(3, 0.5)
    number = SYMMETRIZATIONS.index("grow-diag")
    symmetrize(forward, reverse, nulls, nulls, number, 0.4, links)
    assert as_links(links) == ahead
