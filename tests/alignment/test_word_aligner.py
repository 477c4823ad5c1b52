"""WordAligner: forms of tokens, recovery, unseen pairs, real text and errors."""

import pickle
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.model_selection import GridSearchCV, cross_val_score
from skops.io import dumps, get_untrusted_types, loads

from mmfusion import Modalities
from mmfusion.alignment import WordAligner
from mmfusion.datasets import load_parallel_corpus, make_parallel_corpus
from mmfusion.metrics import alignment_error_rate

WORDS = Path(__file__).parents[3] / "shared" / "data" / "wordalign"
X, LINKS, LEXICON = make_parallel_corpus(120, random_state=0)
GERMAN = [["das", "haus"], ["das", "buch"], ["ein", "buch"], ["ein"]]
ENGLISH = [["the", "house"], ["the", "book"], ["a", "book"], ["a"]]


def assert_same_links(found, expected):
    assert len(found) == len(expected)
    for own, links in zip(found, expected, strict=True):
        assert_array_equal(own, links)


# swaps at random have no order that jumps could follow: agreement is careful there
@pytest.mark.parametrize(
    ("method", "symmetrize"),
    [
        ("ibm1", "agreement"),
        ("diagonal", "agreement"),
        ("hmm", "grow-diag-final-and"),
    ],
)
@pytest.mark.parametrize("seed", range(3))
def test_a_planted_lexicon_is_found(method, symmetrize, seed):
    data, links, _ = make_parallel_corpus(random_state=seed)
    aligner = WordAligner(method, symmetrize=symmetrize).fit(data)
    assert aligner.score(data, links) >= 0.98


def test_translations_are_those_of_the_lexicon():
    aligner = WordAligner().fit(X)
    likeliest = aligner.translations_.tocsr().argmax(axis=1)
    targets = list(aligner.target_vocabulary_)
    right = [
        targets[j] == LEXICON[word]
        for word, j in zip(aligner.source_vocabulary_, likeliest, strict=True)
    ]
    assert np.mean(right) > 0.9
    assert aligner.translations_.shape == aligner.reverse_translations_.shape


def test_tokens_come_in_any_form():
    plain = {
        name: [own[:, 0].tolist() for own in block]
        for name, block in X.to_dict().items()
    }
    expected = WordAligner().fit(X).align(X)
    forms = [
        plain,
        list(plain.values()),
        {n: [tuple(own) for own in block] for n, block in plain.items()},
        {n: [np.array(own) for own in block] for n, block in plain.items()},
        Modalities(plain),
        {n: [[(t, 1) for t in own] for own in block] for n, block in plain.items()},
        {n: [[int(t[1:]) if t != "null" else -1 for t in own] for own in block]
         for n, block in plain.items()},
    ]  # fmt: skip
    for form in forms:
        assert_same_links(WordAligner().fit(form).align(form), expected)
    aligner = WordAligner().fit(plain)
    assert_same_links(aligner.align(X[3:4]), expected[3:4])


def test_samples_of_equal_lengths_are_no_table():
    square = {"source": GERMAN[:3], "target": ENGLISH[:3]}
    expected = WordAligner().fit(square).align(square)
    frame = Modalities(square)
    assert frame["source"].shape == (3, 2)
    assert_same_links(WordAligner().fit(frame).align(frame), expected)
    ragged = WordAligner().fit({"source": GERMAN, "target": ENGLISH})
    assert len(ragged.align(frame)) == 3


def test_samples_without_tokens_are_skipped():
    data = {
        "source": [*GERMAN, [], ["haus"], None],
        "target": [*ENGLISH, ["a"], [], ["b"]],
    }
    aligner = WordAligner().fit(data)
    expected = WordAligner().fit({"source": GERMAN, "target": ENGLISH})
    assert aligner.n_skipped_ == 3
    assert_allclose(aligner.log_likelihoods_[-1], expected.log_likelihoods_[-1])
    links = aligner.align(data)
    assert [len(own) for own in links[4:]] == [0, 0, 0]
    assert [own.shape for own in aligner.link_posteriors(data)[4:]] == [(0, 0)] * 3
    assert aligner.transform(data)["source"][4] is None


def test_later_tokens_are_linked_by_positions():
    aligner = WordAligner().fit({"source": GERMAN, "target": ENGLISH})
    new = {"source": [["das", "auto"]], "target": [["the", "car"]]}
    assert [1, 1] in aligner.align(new)[0].tolist()
    # known tokens that never occurred together
    apart = {"source": [["haus", "ein"]], "target": [["a", "house"]]}
    assert aligner.align(apart)[0].tolist() == [[0, 1], [1, 0]]


def test_posteriors_are_probabilities():
    for symmetrize, axis in (("forward", 0), ("reverse", 1)):
        aligner = WordAligner(symmetrize=symmetrize).fit(X)
        for own in aligner.link_posteriors(X):
            assert own.min() >= 0
            assert own.sum(axis=axis).max() <= 1 + 1e-9
    both = WordAligner().fit(X)
    for posteriors, links in zip(both.link_posteriors(X), both.align(X), strict=True):
        assert_array_equal(links, np.argwhere(posteriors > both.threshold))


def test_the_source_moves_to_the_positions_of_the_target():
    aligner = WordAligner().fit({"source": GERMAN, "target": ENGLISH})
    data = {"source": [["haus", "das"]], "target": [["the", "house"]]}
    moved = aligner.transform(data)
    assert moved["source"][0].tolist() == [["das"], ["haus"]]
    assert moved["target"][0].tolist() == [["the"], ["house"]]
    nothing = WordAligner(threshold=1).fit(data).transform(data)
    assert nothing["source"][0].tolist() == [[None], [None]]


def test_batches_give_the_fit_of_all_samples():
    batches = ({n: list(X[n][k : k + 50]) for n in X.names} for k in range(0, 120, 50))
    found, expected = WordAligner().fit_batches(batches), WordAligner().fit(X)
    assert_allclose(found.log_likelihoods_[1], expected.log_likelihoods_[1])
    assert_same_links(found.align(X), expected.align(X))


def test_files_of_batches_are_removed(tmp_path):
    WordAligner(n_iter=1).fit_batches([X], folder=tmp_path)
    assert not list(tmp_path.iterdir())


def test_threads_change_nothing_but_rounding():
    found, expected = WordAligner(n_jobs=2).fit(X), WordAligner().fit(X)
    assert_allclose(found.translations_.data, expected.translations_.data, rtol=1e-6)
    assert_same_links(found.align(X), expected.align(X))


def test_long_sequences_have_jumps_of_their_length():
    tokens = [[f"w{(7 * i) % 60}" for i in range(60)], [f"w{i}" for i in range(30)]]
    data = {"source": tokens, "target": tokens}
    aligner = WordAligner(max_jump=3).fit(data)
    assert aligner.jumps_.shape == (2, 7)
    later = {n: [tokens[0] * 2] for n in data}  # longer than all of fit
    assert np.isfinite(aligner.score(later))


@pytest.mark.parametrize("store", ["pickle", "skops"])
def test_a_stored_aligner_finds_the_same_links(store):
    aligner = WordAligner(n_iter=2).fit(X)
    if store == "pickle":
        other = pickle.loads(pickle.dumps(aligner))
    else:
        stored = dumps(aligner)
        other = loads(stored, trusted=get_untrusted_types(data=stored))
    assert_same_links(other.align(X), aligner.align(X))


def test_searches_score_known_links():
    search = GridSearchCV(
        WordAligner(n_iter=2),
        {"method": ["ibm1", "hmm"], "threshold": [0.3, 0.9]},
        cv=2,
    ).fit(X, LINKS)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert search.best_params_["threshold"] == 0.3
    without = cross_val_score(WordAligner(n_iter=2), X, cv=2)
    assert (without < 0).all()


@pytest.mark.parametrize("link", [[2, 1], [0, -1]])
def test_known_links_of_other_positions_are_refused(link):
    aligner = WordAligner(n_iter=1).fit({"a": GERMAN, "b": ENGLISH})
    links = [[[0, 0]], [link], [], []]
    with pytest.raises(ValueError, match=r"sample 1 has the link.*2 and 2 tok"):
        aligner.score({"a": GERMAN, "b": ENGLISH}, links)
    lacking = {"a": [*GERMAN[:1], None, *GERMAN[2:]], "b": ENGLISH}
    assert aligner.score(lacking, links) < 1


def test_progress_has_a_line_for_each_iteration(capsys):
    WordAligner(n_iter=2, verbose=2).fit(X)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4
    assert "iteration 2 of stage 2" in lines[-1]


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        ({"a": GERMAN}, ValueError, "two modalities of tokens, and X has 1"),
        (dict.fromkeys("abc", GERMAN), ValueError, "X has 3"),
        ({"a": ["das haus", "ein"], "b": GERMAN[:2]}, ValueError, r"'a'.*str\.split"),
        ({"a": [[], ["a"]], "b": [["b"], []]}, ValueError, "no sample has tokens in"),
        ({"a": [[{1}], [{2}, {3}]], "b": GERMAN[:2]}, TypeError, "'a': a token cannot"),
        ({"a": [np.ones((3, 2))] * 4, "b": GERMAN}, ValueError, "'a'.*the tuple of"),
    ],
)
def test_errors_name_the_modality(data, error, message):
    with pytest.raises(error, match=message):
        WordAligner().fit(data)


def test_batches_are_checked():
    with pytest.raises(ValueError, match="batches is empty"):
        WordAligner().fit_batches([])


def test_ragged_lists_of_numbers_are_no_tokens_of_a_frame():
    with pytest.raises(ValueError, match=r"rows have \[1, 2\] values"):
        Modalities({"a": [[1.0, 2.0], [3.0]]})
    assert Modalities({"a": GERMAN})["a"][3].shape == (1, 1)


@pytest.fixture(scope="module")
def hansards():
    """The known links of 37 pairs of sentences, and training text."""
    if not WORDS.exists():
        pytest.skip(f"{WORDS} is not there")
    read = [
        load_parallel_corpus(
            *(WORDS / f"hansards_{name}.{own}" for own in files), lowercase=True
        )
        for name, files in (("trial", ("en", "fr", "gold")), ("train30k", ("en", "fr")))
    ]
    (trial, links), (training, _) = read
    return trial, links, trial.concat(training[:4000])


def test_real_sentences_are_aligned_better_by_richer_models(hansards):
    trial, links, training = hansards
    rates = [
        1 - WordAligner(method, **options).fit(training).score(trial, links)
        for method, options in (
            ("ibm1", {"concentration": 0, "symmetrize": "intersection"}),
            ("diagonal", {}),
            ("hmm", {"agree": False}),
            ("hmm", {}),
        )
    ]
    assert sorted(rates, reverse=True) == rates
    assert rates[0] > 0.3
    assert rates[-1] < 0.17


def test_rates_by_hand():
    known = [[[0, 0, 1], [1, 1, 1], [1, 2, 0]], [[0, 0, 1]]]
    assert alignment_error_rate(known, [[[0, 0], [1, 1]], [[0, 0]]]) == 0
    found = [[[0, 0], [1, 2], [2, 2]], []]
    assert alignment_error_rate(known, found) == pytest.approx(1 - 3 / 6)
