"""Decoding of label sequences: brute force over all paths."""

from itertools import groupby, product

import numpy as np
import pytest

from mmfusion.graphical._ctc_decoding import beam_labels, greedy_labels


def tables(n_frames, n_columns, n, seed=0):
    rng = np.random.default_rng(seed)
    for _ in range(n):
        p = rng.dirichlet(np.full(n_columns, 0.8), size=n_frames)
        yield np.log(p)


def sums_of_all_paths(table, blank):
    sums = {}
    for path in product(range(table.shape[1]), repeat=len(table)):
        labels = tuple(k for k, _ in groupby(path) if k != blank)
        log_p = sum(table[t, k] for t, k in enumerate(path))
        sums[labels] = np.logaddexp(sums.get(labels, -np.inf), log_p)
    return sums


@pytest.mark.parametrize("blank", [0, 2])
@pytest.mark.parametrize("n_frames", [1, 2, 4, 5])
def test_a_wide_beam_finds_the_likeliest_sequence_of_all(n_frames, blank):
    for table in tables(n_frames, 3, 10):
        sums = sums_of_all_paths(table, blank)
        labels, log_probability = beam_labels(table, 1000, blank)
        assert log_probability == pytest.approx(max(sums.values()), abs=1e-10)
        assert sums[tuple(labels)] == pytest.approx(max(sums.values()), abs=1e-10)


def test_a_narrow_beam_underestimates_the_sum():
    for table in tables(5, 3, 10, seed=1):
        labels, log_probability = beam_labels(table, 1)
        assert log_probability <= sums_of_all_paths(table, 0)[tuple(labels)] + 1e-12


def test_greedy_is_the_likeliest_path():
    for table in tables(5, 3, 10, seed=2):
        paths = product(range(3), repeat=5)
        best = max(paths, key=lambda path: table[range(5), path].sum())
        assert greedy_labels(table) == [k for k, _ in groupby(best) if k]


def test_columns_of_probability_0_are_never_labels():
    with np.errstate(divide="ignore"):
        table = np.log([[0.5, 0.5, 0.0]] * 4)
    labels, log_probability = beam_labels(table, 20)
    assert 2 not in labels
    assert np.isfinite(log_probability)
