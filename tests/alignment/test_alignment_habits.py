"""What users of other packages for time series are used to works, or errors name it."""

import warnings

import numpy as np
import pytest

from mmfusion import Modalities
from mmfusion._sklearn_compat import CallbackSupportMixin
from mmfusion.alignment import (
    Alignment,
    AsynchronousHMMAligner,
    CTWAligner,
    DTWAligner,
    HMMAligner,
    PairHMMAligner,
    ProductHMMAligner,
    cdist_dtw,
    dtw_path,
    dtw_subsequences,
    lb_keogh,
    soft_dtw,
    soft_dtw_alignment,
    soft_dtw_gamma,
)
from mmfusion.datasets import make_event_sequences, make_multimodal_sequences
from mmfusion.preprocessing import (
    padded_from_sequences,
    sequences_from_channels_first,
    sequences_from_padded,
)

RNG = np.random.default_rng(0)
AUDIO, VIDEO = (RNG.normal(size=(n, 2)).cumsum(axis=0) for n in (40, 60))
X, _, _ = make_multimodal_sequences(6, {"audio": 3, "video": 3}, random_state=0)
EVENTS = make_event_sequences(6, random_state=0)[0]
ALIGNERS = [
    DTWAligner(),
    DTWAligner("barycenter"),
    DTWAligner(gamma=1.0),
    CTWAligner(1),
    HMMAligner(3),
    ProductHMMAligner(2),
    PairHMMAligner(),
    AsynchronousHMMAligner(2, n_init=1, random_state=0),
]
LEARNERS = (CTWAligner, HMMAligner, PairHMMAligner, AsynchronousHMMAligner)


def data_of(aligner):
    return EVENTS if isinstance(aligner, AsynchronousHMMAligner) else X


# Paths


def test_a_path_is_a_pair_of_path_and_cost():
    found = dtw_path(AUDIO, VIDEO)
    path, cost = found
    assert path is found.path is found[0]
    assert cost == found.cost == found[-1]
    assert len(found) == 2
    with pytest.raises(IndexError):
        found[2]
    for path, cost in dtw_subsequences(AUDIO[:9], VIDEO, k=2):
        assert len(path) >= 9
        assert cost > 0


def test_soft_alignment_comes_before_its_value_as_paths_before_costs():
    expected, value = soft_dtw_alignment(AUDIO, VIDEO)
    assert expected.shape == (40, 60)
    assert value == pytest.approx(soft_dtw(AUDIO, VIDEO))


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("aligner", ALIGNERS, ids=str)
def test_paths_of_new_samples_are_those_of_fit_for_the_same_samples(aligner):
    data = data_of(aligner)
    fitted = aligner.fit(data[:4])
    for aligned, paths in zip(fitted.align(data[:4]), fitted.paths_, strict=True):
        assert {type(a) for a in aligned.values()} <= {Alignment, *subclasses()}
        for name, path in paths.items():
            np.testing.assert_array_equal(aligned[name].path, path)
    for i, aligned in enumerate(fitted.align(data[4:])):
        for name, alignment in aligned.items():
            assert alignment.n_frames == len(data[name][4 + i])


def subclasses():
    return Alignment.__subclasses__()


def test_weights_alone_make_a_path_of_the_heaviest_frames():
    weights = np.array([[0.6, 0.4, 0.0], [0.1, 0.2, 0.7]])
    assert Alignment(weights=weights).as_path().tolist() == [[0, 0], [1, 2]]
    path = np.array([[0, 0], [1, 1]])
    assert Alignment(path, weights[:, :2]).as_path() is path


# Long recordings


@pytest.mark.parametrize("aligner", ALIGNERS, ids=str)
def test_recordings_that_are_given_as_tables_have_the_remedy(aligner):
    named = r"one sample: \{'audio': \[audio\], 'video': \[video\]\}"
    with pytest.raises(ValueError, match=named):
        aligner.fit({"audio": AUDIO, "video": VIDEO})
    with pytest.raises(ValueError, match=r"one sample: \[\[first\], \[second\]\]"):
        aligner.fit([AUDIO, VIDEO])


def test_the_remedy_aligns_the_recordings():
    aligner = DTWAligner().fit([[AUDIO], [VIDEO]])
    np.testing.assert_array_equal(
        aligner.paths_[0]["modality_1"], dtw_path(AUDIO, VIDEO).path
    )


def test_samples_that_are_missing_are_no_recordings():
    for blocks in ([[AUDIO], [VIDEO, VIDEO]], [AUDIO.astype(str), VIDEO]):
        with pytest.raises(ValueError, match="disagree") as caught:
            Modalities(blocks)
        assert "recording" not in str(caught.value)


def test_recordings_of_one_length_are_warned_of():
    long = [np.repeat(AUDIO, 10, axis=0), np.repeat(VIDEO[:40], 10, axis=0)]
    with pytest.warns(UserWarning, match=r"nothing is aligned.*\[\[first\], \[sec"):
        DTWAligner().fit(long)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        DTWAligner().fit([AUDIO, VIDEO[:40]])  # a few samples
        DTWAligner(modalities=2).fit(np.hstack(long))  # a table by its spec
        beside = [long[0], [long[1], *[None] * 399]]
        DTWAligner(reference=1).fit(beside)  # a table and sequences


# Formats


def test_channels_that_come_first_are_named_with_the_converter():
    first = [[x.T for x in block] for block in X.blocks]
    with pytest.raises(ValueError, match=r"3 rows.*sequences_from_channels_first"):
        DTWAligner().fit(first)
    turned = [sequences_from_channels_first(block) for block in first]
    found, expected = DTWAligner().fit(turned), DTWAligner().fit(X)
    np.testing.assert_array_equal(found.distances_, expected.distances_)


@pytest.mark.parametrize(
    "call",
    [
        lambda: dtw_path(AUDIO.T, VIDEO.T),
        lambda: dtw_subsequences(AUDIO.T, VIDEO.T),
        lambda: soft_dtw(AUDIO.T, VIDEO.T),
        lambda: cdist_dtw([AUDIO.T], [VIDEO.T]),
        lambda: soft_dtw_gamma([AUDIO.T, VIDEO.T]),
        lambda: lb_keogh(AUDIO.T, VIDEO.T),
        lambda: DTWAligner().fit([[AUDIO.T], [VIDEO.T]]),
    ],
)
def test_functions_name_the_converter(call):
    with pytest.raises(ValueError, match=r"2 rows of each are channels.*by \.T"):
        call()


def test_other_features_are_no_channels_that_come_first():
    with pytest.raises(ValueError, match="no metric compares") as caught:
        dtw_path(AUDIO, VIDEO[:, :1])
    assert "channels" not in str(caught.value)


def test_zero_padded_batches_are_aligned_by_their_lengths():
    padded = {
        name: padded_from_sequences(block, 0, return_lengths=True)
        for name, block in X.to_dict().items()
    }
    cut = {name: sequences_from_padded(*batch) for name, batch in padded.items()}
    found, expected = DTWAligner().fit(cut), DTWAligner().fit(X)
    np.testing.assert_array_equal(found.distances_, expected.distances_)


# Progress


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("aligner", ALIGNERS, ids=str)
def test_many_samples_show_their_progress(aligner, capsys):
    data, name = data_of(aligner), type(aligner).__name__
    fitted = type(aligner)(**(aligner.get_params() | {"verbose": 2})).fit(data)
    shown = capsys.readouterr().out.splitlines()
    lines = [line for line in shown if line.startswith(f"[{name}]")]  # not iterations
    learns = isinstance(aligner, (*LEARNERS, ProductHMMAligner))
    assert len(lines) == 6 + learns
    if learns:
        assert lines[0].startswith(f"[{name}] learning (1 of 7): ")
    assert lines[-1].startswith(f"[{name}] sample 5 ({6 + learns} of {6 + learns}): ")
    for method in (fitted.transform, fitted.align):
        method(data[:2])
        assert len(capsys.readouterr().out.splitlines()) == 2
    aligner.fit(data)
    assert not capsys.readouterr().out


def test_very_many_samples_are_steps_of_several(capsys):
    many = {name: [frames] * 50 for name, frames in (("a", AUDIO), ("b", VIDEO))}
    DTWAligner(verbose=2).fit(many)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 20
    assert lines[0].startswith("[DTWAligner] samples 0 to 2 (1 of 20): ")


class Follow:
    """Notes the tasks of a fit."""

    def __init__(self):
        self.ended = []

    def setup(self, estimator, context):
        pass

    def teardown(self, estimator, context):
        pass

    def on_fit_task_begin(self, estimator, context):
        pass

    def on_fit_task_end(self, estimator, context, *, fitted_estimator):
        self.ended.append(context.task_name)
        if context.task_name == "fit":
            self.paths = fitted_estimator.paths_


@pytest.mark.skipif(
    not hasattr(CallbackSupportMixin, "set_callbacks"),
    reason="scikit-learn < 1.9 has no callbacks",
)
@pytest.mark.parametrize("method", ["fit", "fit_transform"])
@pytest.mark.parametrize("n_jobs", [1, 2])
def test_callbacks_of_scikit_learn_follow_the_samples(method, n_jobs):
    follow = Follow()
    aligner = CTWAligner(1, n_jobs=n_jobs).set_callbacks(follow)
    getattr(aligner, method)(X)
    assert follow.ended == ["learning", *(f"sample {i}" for i in range(6)), "fit"]
    assert len(follow.paths) == 6
