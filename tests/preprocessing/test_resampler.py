"""Resampling in time: limits, straight lines, a loop beside it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmfusion import EarlyFusion, Modalities, PerModality
from mmfusion.alignment import CTWAligner, DTWAligner
from mmfusion.preprocessing import SequenceResampler


def resampled_by_loops(sequence, n_frames):
    """Every value from the nearest known ones before and after its time."""
    out = np.full((n_frames, sequence.shape[1]), np.nan)
    for t in range(n_frames):
        time = t * (len(sequence) - 1) / (n_frames - 1)
        for j in range(sequence.shape[1]):
            known = [k for k, v in enumerate(sequence[:, j]) if not np.isnan(v)]
            before = [k for k in known if k <= time]
            after = [k for k in known if k >= time]
            if not known:
                continue
            left = before[-1] if before else after[0]
            right = after[0] if after else before[-1]
            share = (time - left) / (right - left) if right > left else 0
            a, b = sequence[left, j], sequence[right, j]
            out[t, j] = a + share * (b - a)
    return out


@settings(max_examples=80, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 8), min_size=1, max_size=4),
    n_frames=st.integers(2, 11),
    width=st.integers(1, 3),
    share_of_gaps=st.sampled_from([0, 0.4]),
    seed=st.integers(0, 99),
)
def test_values_are_those_of_a_loop(lengths, n_frames, width, share_of_gaps, seed):
    rng = np.random.default_rng(seed)
    sequences = [rng.normal(size=(n, width)) for n in lengths]
    for sequence in sequences:
        sequence[rng.random(sequence.shape) < share_of_gaps] = np.nan
        if np.isnan(sequence).all():  # would be missing
            sequence[-1] = 1
    found = SequenceResampler(n_frames).fit_transform({"audio": sequences})["audio"]
    assert found.shape == (len(lengths), n_frames, width)
    for one, sequence in zip(found, sequences, strict=True):
        np.testing.assert_allclose(
            one, resampled_by_loops(sequence, n_frames), rtol=1e-9, atol=1e-12
        )


@pytest.mark.parametrize("n_frames", [2, 3, 40])
def test_straight_lines_stay_straight(n_frames):
    lines = [np.linspace([0, 5], [1, -5], n) for n in (2, 9, 30)]
    out = SequenceResampler(n_frames).fit_transform([lines]).blocks[0]
    expected = np.linspace([0, 5], [1, -5], n_frames)
    np.testing.assert_allclose(out, [expected] * 3, atol=1e-12)


def test_a_single_frame_is_repeated():
    out = SequenceResampler(3).fit_transform([[np.array([[1.0, 2.0]])]]).blocks[0]
    assert out.tolist() == [[[1, 2]] * 3]


def test_lengths_are_those_of_fit_by_modality():
    X = Modalities(
        {
            "audio": [np.ones((n, 1)) for n in (3, 4, 20)],
            "video": [np.ones((1, 2)), np.ones((1, 2)), None],
            "survey": np.eye(3),
        }
    )
    assert SequenceResampler("median").fit(X).n_frames_ == {"audio": 4, "video": 2}
    longest = SequenceResampler("max").fit(X)
    assert longest.n_frames_ == {"audio": 20, "video": 2}
    later = {"audio": [np.ones((50, 1))], "video": [None], "survey": [[0.0, 1.0, 2.0]]}
    assert longest.transform(later)["audio"].shape == (1, 20, 1)


def test_flat_rows_are_frame_after_frame_and_named_so():
    X = Modalities({"audio": [np.arange(4.0).reshape(2, 2)]})
    flat = SequenceResampler(2, flatten=True).fit(X)
    assert flat.transform(X)["audio"].tolist() == [[0, 1, 2, 3]]
    names = ["audio__x0_t0", "audio__x1_t0", "audio__x0_t1", "audio__x1_t1"]
    assert flat.get_feature_names_out().tolist() == names


def test_fusion_takes_flat_and_unflattened_output_alike():
    rng = np.random.default_rng(0)
    X = Modalities({"audio": [rng.normal(size=(n, 2)) for n in (3, 4, 5, 6)]})
    fused = [
        EarlyFusion().fit_transform(
            SequenceResampler(4, flatten=flatten).fit_transform(X)
        )
        for flatten in (False, True)
    ]
    np.testing.assert_array_equal(*fused)


@pytest.mark.parametrize(
    "n_frames", [0, 1, 2.5, "mean", pytest.param(10**400, id="huge")]
)
def test_unfit_numbers_of_frames_are_refused(n_frames):
    with pytest.raises(ValueError, match="n_frames"):
        SequenceResampler(n_frames).fit([[np.eye(2)]])


@pytest.mark.filterwarnings("ignore:the projections correlate by chance")
@pytest.mark.parametrize("n_frames", [2**40, 2**63])
def test_frames_that_do_not_fit_into_memory_are_refused_at_once(n_frames):
    X = {"audio": [np.eye(2), np.ones((5, 2))]}
    with pytest.raises(ValueError, match=r"'audio': n_frames=.*lower n_frames"):
        SequenceResampler(n_frames).fit(X)
    for aligner in (DTWAligner(n_frames=n_frames), CTWAligner(n_frames=n_frames)):
        with pytest.raises(ValueError, match=r"n_frames=.*memory.*lower n_frames"):
            aligner.fit({**X, "video": [np.eye(3), np.eye(4)[:, :3]]})


def test_dataframes_hold_flat_rows_inside_per_modality_too():
    X = Modalities({"audio": [np.eye(2), np.ones((5, 2))]})
    frames = PerModality(SequenceResampler(3)).set_output(transform="pandas")
    flat = SequenceResampler(3, flatten=True).fit_transform(X)["audio"]
    np.testing.assert_array_equal(frames.fit_transform(X)["audio"].to_numpy(), flat)
