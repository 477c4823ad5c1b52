"""Scaling of sequences by the frames of all samples."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.preprocessing import StandardScaler, normalize

from mmfusion._frame_scaling import fit_frame_scaling, scale_frames

RNG = np.random.default_rng(0)
BLOCK = np.empty(4, dtype=object)
for i, n in enumerate((3, 1, 5, 2)):
    BLOCK[i] = RNG.normal([5, -100, 0], [1, 30, 1e-3], size=(n, 3))
FRAMES = np.concatenate(list(BLOCK))


def scaled(block, name, sample_weight=None):
    fitted = fit_frame_scaling(block, name, sample_weight)
    found = scale_frames(fitted, block)
    assert [s.shape for s in found] == [s.shape for s in block]
    return np.concatenate(list(found))


def test_frames_are_scaled_as_the_rows_of_a_table():
    expected = StandardScaler().fit_transform(FRAMES)
    assert_allclose(scaled(BLOCK, "standard"), expected, atol=1e-12)
    assert_allclose(scaled(BLOCK, "block"), expected / np.sqrt(3), atol=1e-12)
    assert_allclose(scaled(BLOCK, "l2"), normalize(FRAMES))
    assert_allclose(scaled(BLOCK, None), FRAMES)


def test_each_frame_has_the_weight_of_its_sample():
    weight = np.array([2.0, 0.0, 1.0, 0.5])
    rows = np.repeat(weight, [3, 1, 5, 2])
    expected = StandardScaler().fit(FRAMES, sample_weight=rows).transform(FRAMES)
    assert_allclose(scaled(BLOCK, "standard", weight), expected, atol=1e-12)


@pytest.mark.parametrize("weighted", [False, True])
def test_gaps_are_left_out_and_remain(weighted):
    weight = np.array([1.0, 2.0, 0.0, 3.0]) if weighted else None
    gaps = BLOCK.copy()
    gaps[0] = gaps[0].copy()
    gaps[0][1, 2] = gaps[0][0, 0] = np.nan
    frames = np.concatenate(list(gaps))
    rows = None if weight is None else np.repeat(weight, [3, 1, 5, 2])
    # StandardScaler ignores NaN, too
    expected = StandardScaler().fit(frames, sample_weight=rows).transform(frames)
    assert_allclose(scaled(gaps, "standard", weight), expected, atol=1e-12)
    assert_allclose(scaled(gaps, "block", weight), expected / np.sqrt(3), atol=1e-12)


def test_a_feature_without_a_value_is_constant():
    gaps = np.empty(2, dtype=object)
    gaps[0] = np.column_stack([[1.0, 3.0], [np.nan] * 2])
    gaps[1] = np.array([[5.0, np.nan]])
    found = scaled(gaps, "block")
    assert_allclose(found[:, 0], StandardScaler().fit_transform([[1], [3], [5]])[:, 0])
    assert np.isnan(found[:, 1]).all()


def test_float32_stays_float32_and_the_sequences_are_not_changed():
    block = np.empty(2, dtype=object)
    block[0], block[1] = (np.ones((2, 2), np.float32), np.zeros((3, 2), np.float32))
    before = [s.copy() for s in block]
    assert scaled(block, "standard").dtype == np.float32
    for now, then in zip(block, before, strict=True):
        assert_allclose(now, then)
