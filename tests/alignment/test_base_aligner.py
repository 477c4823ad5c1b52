"""The base of aligners, by aligners with soft weights and with linear paths."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.utils.estimator_checks import parametrize_with_checks

from mmfusion import Modalities
from mmfusion.alignment import Alignment
from mmfusion.alignment._base import BaseAligner
from mmfusion.datasets import make_multimodal_sequences
from mmfusion.testing import multimodal_checks


def relative_times(n_frames):
    return (np.arange(n_frames) + 0.5) / n_frames


class SoftLinearAligner(BaseAligner):
    """Align frames at the same relative time, as an attention by distance in time."""

    def __init__(
        self, width=0.1, n_frames=None, n_jobs=None, modalities=None, verbose=False
    ):
        self.width = width
        self.n_frames = n_frames
        self.n_jobs = n_jobs
        self.modalities = modalities
        self.verbose = verbose

    def _fit_samples(self, samples):
        lengths = [len(x) for sample in samples for x in sample.values()]
        self.length_ = max(lengths, default=0)

    def _align_sample(self, sequences):
        axis = relative_times(max(map(len, sequences.values())))
        return {name: self._attend(axis, x) for name, x in sequences.items()}

    def _attend(self, axis, sequence):
        apart = (axis[:, None] - relative_times(len(sequence))) / self.width
        weights = np.exp(-0.5 * apart**2)
        weights /= weights.sum(axis=1, keepdims=True)
        cost = float((weights * apart**2).mean())
        confidence = float(weights.max(axis=1).mean())
        return Alignment(weights=weights, cost=cost, confidence=confidence)


class LinearAligner(SoftLinearAligner):
    """Align frames at the same relative time along a path, all samples in a batch."""

    def _sample_aligner(self, samples):
        alignments = []
        for sample in samples:
            n_axis = max(map(len, sample.values()), default=0)
            alignments.append({n: self._path(n_axis, x) for n, x in sample.items()})
        return alignments.__getitem__

    def _path(self, n_axis, sequence):
        own = np.floor(relative_times(n_axis) * len(sequence)).astype(int)
        return Alignment(path=np.column_stack([np.arange(n_axis), own]))


TOYS = [SoftLinearAligner(), LinearAligner(), LinearAligner(n_frames=4, modalities=2)]


@parametrize_with_checks(TOYS)
def test_toy_aligners_pass_the_checks_of_sklearn(estimator, check):
    check(estimator)


@pytest.mark.parametrize("check", multimodal_checks(), ids=lambda c: c.__name__)
@pytest.mark.parametrize("aligner", TOYS[:2], ids=str)
def test_toy_aligners_keep_the_multimodal_contract(aligner, check):
    check(aligner)


@pytest.fixture
def X():
    sequences, _, _ = make_multimodal_sequences(
        12, {"audio": 3, "video": 5}, missing_rate=(0, 0.3), random_state=0
    )
    return sequences


@pytest.mark.parametrize("aligner", TOYS[:2], ids=str)
@pytest.mark.parametrize("n_frames", [None, 7])
def test_sequences_of_a_sample_have_one_length(X, aligner, n_frames):
    out = type(aligner)(n_frames=n_frames).fit(X[:4]).transform(X)
    np.testing.assert_array_equal(out.observed, X.observed)
    for before, after in zip(
        zip(*X.blocks, strict=True), zip(*out.blocks, strict=True), strict=True
    ):
        longest = max(len(x) for x in before if x is not None)
        lengths = {len(x) for x in after if x is not None}
        assert lengths == {longest if n_frames is None else n_frames}


def test_soft_weights_average_frames(X):
    aligner = SoftLinearAligner(width=0.2)
    out = aligner.fit_transform(X)
    i = int(np.flatnonzero(X.observed.all(axis=1))[0])
    axis = max(X["audio"][i], X["video"][i], key=len)
    for name in X.names:
        x = X[name][i]
        apart = relative_times(len(axis))[:, None] - relative_times(len(x))
        expected = [
            np.average(x, axis=0, weights=np.exp(-0.5 * (row / 0.2) ** 2))
            for row in apart
        ]
        np.testing.assert_allclose(out[name][i], expected, atol=1e-12)


def test_narrow_weights_lead_back_to_the_sequences(X):
    aligner = SoftLinearAligner(width=1e-3)
    back = aligner.inverse_transform(aligner.fit_transform(X))
    longest = aligner.length_
    for name in X.names:
        for before, after in zip(X[name], back[name], strict=True):
            if before is None:
                assert after is None
                continue
            assert before.shape == after.shape
            if len(before) == longest:
                np.testing.assert_allclose(before, after, atol=1e-9)


def test_costs_and_confidences_are_kept_by_modality(X):
    aligner = SoftLinearAligner().fit(X)
    np.testing.assert_array_equal(np.isnan(aligner.distances_), ~X.observed)
    assert aligner.cost_ == pytest.approx(np.nanmean(aligner.distances_))
    confidences = aligner._by_modality(aligner._alignments, "confidence")
    np.testing.assert_array_equal(np.isnan(confidences), ~X.observed)
    assert 0 < np.nanmin(confidences) <= np.nanmax(confidences) <= 1
    assert np.isnan(LinearAligner().fit(X).cost_)  # no cost is given


def test_gaps_and_tables_are_treated_as_by_every_aligner(X):
    audio = [x.copy() for x in X["audio"]]
    audio[3][1, 2] = np.nan
    with pytest.raises(ValueError, match=r"'audio'.*sample 3 is NaN in frame 1, fea"):
        LinearAligner().fit(Modalities(X.to_dict() | {"audio": audio}))
    survey = np.eye(12, 2)
    mixed = Modalities(X.to_dict() | {"survey": survey})
    assert LinearAligner().fit_transform(mixed)["survey"] is mixed["survey"]


# Alignments


@settings(deadline=None, max_examples=30)
@given(n_axis=st.integers(1, 12), n_frames=st.integers(1, 12), seed=st.integers(0, 99))
def test_a_path_and_its_weights_warp_alike(n_axis, n_frames, seed):
    rng = np.random.default_rng(seed)
    path = [(0, 0)]
    while path[-1] != (n_axis - 1, n_frames - 1):
        row, column = path[-1]
        step = rng.integers(0, 3)
        row = min(row + (step != 1), n_axis - 1)
        column = min(column + (step != 0), n_frames - 1)
        if (row, column) != path[-1]:
            path.append((row, column))
    path = np.array(path)
    weights = np.zeros((n_axis, n_frames))
    weights[tuple(path.T)] = 1
    by_path = Alignment(path=path)
    by_weights = Alignment(weights=weights / weights.sum(axis=1, keepdims=True))
    x, on_axis = rng.normal(size=(n_frames, 2)), rng.normal(size=(n_axis, 2))
    assert by_path.n_axis_frames == by_weights.n_axis_frames == n_axis
    np.testing.assert_allclose(by_path.warp(x), by_weights.warp(x), atol=1e-12)
    assert by_path.unwarp(on_axis).shape == by_weights.unwarp(on_axis).shape


def test_frames_without_weight_are_interpolated_on_the_way_back():
    weights = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    back = Alignment(weights=weights).unwarp(np.array([[0.0], [4.0]]))
    assert back.ravel().tolist() == [0.0, 2.0, 4.0]


def test_an_alignment_without_path_and_weights_is_refused():
    with pytest.raises(ValueError, match="needs a path or weights"):
        Alignment(cost=1.0)


def test_a_compact_alignment_has_one_form():
    path, weights = np.array([[0, 0]]), np.ones((1, 1))
    assert Alignment(path, weights).compact().weights is None
    assert Alignment(weights=weights).compact().weights is weights


@pytest.mark.parametrize(
    "path",
    [
        np.zeros((0, 2), dtype=int),
        np.zeros((3, 3), dtype=int),
        np.zeros((3, 2)),
        [[0, 0], [1, 1]],
        np.array([[0, 0], [1, 2], [2, 1]]),
        np.array([[-1, 0], [0, 1]]),
    ],
)
def test_what_is_no_path_is_refused(path):
    with pytest.raises(ValueError, match="path"):
        Alignment(path)


def test_sequences_of_other_lengths_are_refused():
    alignment = Alignment(np.array([[0, 0], [0, 1], [1, 2]]))
    with pytest.raises(ValueError, match=r"\(4, 1\), and the aligned sequence 3 fr"):
        alignment.warp(np.zeros((4, 1)))
    with pytest.raises(ValueError, match=r"\(3, 1\), and the axis 2 frames"):
        alignment.unwarp(np.zeros((3, 1)))
