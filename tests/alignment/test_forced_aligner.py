"""ForcedAligner: units of labels by features alone."""

import warnings

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.exceptions import ConvergenceWarning

from mmfusion.alignment import ForcedAligner

PHONES = dict(zip("abcde", np.random.default_rng(5).normal(size=(5, 3)), strict=True))
LEXICON = {"one": ["a", "b"], "two": ["c", "a"], "three": ["d", "e", "b"]}


def recordings(n_samples=16, *, silence=False, noise=0.3, seed=0):
    """Return frames and words, and the true spans of the words."""
    rng = np.random.default_rng(seed)
    X, spans = {"sensor": [], "words": []}, []
    for _ in range(n_samples):
        words = rng.choice(list(LEXICON), rng.integers(2, 6)).tolist()
        frames, own = [], []
        for word in words:
            if silence and rng.random() < 0.6:
                frames += [np.full(3, 4.0)] * int(rng.integers(3, 8))
            begin = len(frames)
            for phone in LEXICON[word]:
                frames += [PHONES[phone]] * int(rng.integers(5, 12))
            own.append([begin, len(frames)])
        clean = np.array(frames)
        X["sensor"].append(clean + noise * rng.normal(size=clean.shape))
        X["words"].append(words)
        spans.append(np.array(own))
    return X, spans


def errors(aligner, X, spans):
    found = aligner.align(X)
    return np.concatenate(
        [
            abs(own.spans - known).ravel()
            for own, known in zip(found, spans, strict=True)
        ]
    )


@pytest.mark.parametrize("silence", [False, True])
def test_planted_boundaries_are_found_in_later_samples(silence):
    X, _ = recordings(silence=silence)
    later, spans = recordings(silence=silence, seed=1)
    aligner = ForcedAligner(LEXICON, n_states=2, silence=silence).fit(X)
    assert (errors(aligner, later, spans) <= 2).mean() > 0.95


def test_words_are_their_own_units_without_lexicon():
    X, spans = recordings(24)
    aligner = ForcedAligner(n_states=4).fit(X)
    assert set(aligner.units_) == set(LEXICON)
    assert (errors(aligner, X, spans) <= 2).mean() > 0.9


def test_no_iteration_decreases_the_objective():
    X, _ = recordings(8, silence=True)
    for options in ({}, {"emission": "mixture"}, {"covariance_type": "tied"}):
        aligner = ForcedAligner(
            LEXICON, n_states=2, silence=True, outlier_share=0, max_iter=60, **options
        ).fit(X)
        gains = np.diff(aligner.objective_history_)
        scale = abs(aligner.objective_history_[0])
        assert gains.min() > -1e-9 * scale, options


def test_the_start_has_equal_segments():
    frames = [np.repeat([[0.0], [1.0], [5.0]], 4, axis=0)] * 2
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        aligner = ForcedAligner(n_states=1, outlier_share=0, max_iter=1).fit(
            {"x": frames, "y": [["a", "b", "c"]] * 2}
        )
    means = [aligner.means_["x"][aligner.units_[unit], 0] for unit in "abc"]
    assert means[0] < means[1] < means[2]
    assert len(aligner.objective_history_) == aligner.n_iter_ == 1


def test_the_score_is_that_of_a_chain_by_hand():
    X, _ = recordings(6)
    aligner = ForcedAligner(LEXICON, n_states=1).fit(X)
    total = sum(own.log_likelihood for own in aligner.align(X))
    n_frames = sum(map(len, X["sensor"]))
    assert_allclose(aligner.score(X), total / n_frames)
    stay = aligner.stay_probabilities_
    assert ((stay > 0) & (stay < 1)).all()


def test_labels_may_be_in_y():
    X, _ = recordings(6)
    frames = {"sensor": X["sensor"]}
    whole = ForcedAligner(LEXICON, n_states=1).fit(X)
    apart = ForcedAligner(LEXICON, n_states=1).fit(frames, X["words"])
    assert_array_equal(whole.means_["sensor"], apart.means_["sensor"])
    assert whole.score(X) == apart.score(frames, X["words"])
    with pytest.raises(ValueError, match="needs the labels of each sample"):
        ForcedAligner().fit(frames)


def test_threads_change_nothing():
    X, _ = recordings(6)
    one, two = (ForcedAligner(LEXICON, n_states=1, n_jobs=n).fit(X) for n in (1, 2))
    assert_array_equal(one.means_["sensor"], two.means_["sensor"])


def test_errors_state_both_numbers_of_frames():
    data = {"x": [np.zeros((5, 2))], "y": [["one", "two"]]}
    with pytest.raises(ValueError, match=r"5 frames.*4 units of 3 states, need 12"):
        ForcedAligner(LEXICON).fit(data)


def test_unknown_labels_and_units():
    X, _ = recordings(4)
    with pytest.raises(ValueError, match=r"'one' of sample \d is not in lexicon"):
        ForcedAligner({"two": ["c"], "three": ["d"]}).fit(X)
    with pytest.raises(ValueError, match="has the units 'ab'"):
        ForcedAligner(LEXICON | {"one": "ab"}).fit(X)
    aligner = ForcedAligner(n_states=1).fit(X)
    later = {"sensor": X["sensor"][:1], "words": [["four"]]}
    with pytest.raises(ValueError, match="the unit 'four' of sample 0"):
        aligner.align(later)


def test_a_fit_without_end_warns():
    X, _ = recordings(4)
    with pytest.warns(ConvergenceWarning, match="raise max_iter or tol"):
        ForcedAligner(n_states=1, max_iter=1).fit(X)


def test_no_sample_with_frames_and_labels():
    X, _ = recordings(2)
    data = {"sensor": [X["sensor"][0], None], "words": [None, X["words"][1]]}
    with pytest.raises(ValueError, match="no sample has frames and labels"):
        ForcedAligner().fit(data)


def two_modalities(n_samples=20, noise=1.5):
    """Return frames of two sensors, steps, and the ends of the steps."""
    rng = np.random.default_rng(0)
    levels = {"up": [0, 3], "down": [3, 0], "rest": [1, 1]}
    steps = [rng.permutation(list(levels)).tolist() for _ in range(n_samples)]
    lengths = [rng.integers(6, 14, 3) for _ in steps]
    frames = [
        np.repeat([levels[x] for x in own], n, axis=0)
        for own, n in zip(steps, lengths, strict=True)
    ]
    frames = [own + noise * rng.normal(size=own.shape) for own in frames]
    X = {"a": [x[:, :1] for x in frames], "b": [x[:, 1:] for x in frames]}
    return X | {"steps": steps}, [np.cumsum(n) for n in lengths]


def mean_error(aligner, X, ends):
    found = aligner.fit(X).align(X)
    return np.mean(
        [abs(x.spans[:, 1] - own) for x, own in zip(found, ends, strict=True)]
    )


def test_modalities_are_fused():
    X, ends = two_modalities()
    aligner = ForcedAligner(n_states=1)
    fused = mean_error(aligner, X, ends)
    assert set(aligner.means_) == {"a", "b"}
    for name in ("a", "b"):
        alone = {own: x for own, x in X.items() if own in (name, "steps")}
        assert fused < mean_error(aligner, alone, ends)


def test_a_missing_modality_is_left_out():
    X, _ = two_modalities(8)
    aligner = ForcedAligner(n_states=1).fit(X)
    lacking = {"a": X["a"][:2], "b": [None, X["b"][1]], "steps": X["steps"][:2]}
    found = aligner.align(lacking)
    assert_array_equal(found[1].spans, aligner.align(X)[1].spans)
    # a constant density of the other modality changes no path
    constant = aligner._model.emission.of("a")
    aligner._model.emission = constant
    assert_array_equal(aligner.align(X)[0].spans, found[0].spans)
    assert_allclose(aligner.align(X)[0].score, found[0].score)
    fitted = ForcedAligner(n_states=1).fit(X | {"b": [None, *X["b"][1:]]})
    assert fitted.align(lacking)[0] is not None


def test_labels_are_aligned_with_the_frames_of_the_clock():
    X, _ = two_modalities(8)
    X["b"] = [own[::3] for own in X["b"]]
    for clock, name in ((None, "a"), ("b", "b")):
        moved = ForcedAligner(n_states=1, clock=clock).fit_transform(X)
        assert [len(own) for own in moved["steps"]] == list(map(len, X[name]))


def test_a_star_stands_for_labels_without_transcript():
    X, ends = two_modalities(noise=0.5)
    for own in X["steps"][::3]:
        own[1] = "*"
    aligner = ForcedAligner(n_states=1, star="*").fit(X)
    assert set(aligner.units_) == {"up", "down", "rest"}
    assert len(aligner.stay_probabilities_) == 4
    found = aligner.align(X)[::3]
    errors = [abs(x.spans[:, 1] - own) for x, own in zip(found, ends[::3], strict=True)]
    assert np.mean(np.concatenate(errors) <= 2) > 0.9
    with pytest.raises(ValueError, match="star='one' is a label of lexicon"):
        ForcedAligner(LEXICON, star="one").fit(recordings(2)[0])
    with pytest.raises(TypeError, match="cannot be the key of a dict"):
        ForcedAligner(star=[]).fit(X)
    with pytest.raises(ValueError, match="all labels are star"):
        ForcedAligner(star="*").fit(X | {"steps": [["*"]] * len(X["a"])})
