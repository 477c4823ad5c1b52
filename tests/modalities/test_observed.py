"""The mask of observed modalities."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_array_equal
from scipy import sparse

from mmfusion import Modalities

NAN = np.nan
ROWS_LACK = [[1.0, 2.0], [NAN, NAN], [NAN, 3.0], [4.0, NAN]]
SECOND_LACKS = [True, False, True, True]


def polars_table():
    polars = pytest.importorskip("polars")
    return polars.DataFrame({"a": [1, None, None, 4], "b": ["u", None, "w", None]})


@pytest.mark.parametrize(
    "make_block",
    [
        lambda: np.array(ROWS_LACK),
        lambda: np.array(ROWS_LACK, dtype=np.float32),
        lambda: np.array(ROWS_LACK, dtype=complex),
        lambda: np.array(ROWS_LACK, dtype=object),
        lambda: np.array([["a", "b"], [None, NAN], [None, "c"], ["d", None]], object),
        lambda: np.array(ROWS_LACK).reshape(4, 2, 1),
        lambda: [ROWS_LACK[0], None, *ROWS_LACK[2:]],
        lambda: np.ma.masked_invalid(ROWS_LACK),
        lambda: sparse.csr_array(np.array(ROWS_LACK)),
        lambda: sparse.coo_matrix(np.array(ROWS_LACK)),
        lambda: pd.DataFrame(ROWS_LACK),
        lambda: pd.DataFrame(ROWS_LACK).convert_dtypes(),
        lambda: pd.DataFrame({"a": ["x", None, None, "y"], "b": [1.0, NAN, 2.0, NAN]}),
        lambda: pd.DataFrame({"when": pd.to_datetime(["2020", None, "2021", "2022"])}),
        polars_table,
        lambda: [np.eye(2), None, np.diag([1, NAN]), np.eye(3)],
        lambda: [np.eye(2), np.empty((0, 2)), np.eye(2), np.eye(3)],
        lambda: [np.eye(2), np.full((3, 2), NAN), np.eye(2), np.eye(3)],
        lambda: [
            np.ones((2, 2), int),
            None,
            np.ones((1, 2), int),
            np.ones((5, 2), int),
        ],
    ],
)
def test_a_sample_lacks_a_modality_if_all_values_are_missing(make_block):
    X = Modalities({"it": make_block(), "whole": np.ones((4, 1))})
    assert_array_equal(X.observed, np.column_stack([SECOND_LACKS, [True] * 4]))


@pytest.mark.parametrize(
    "block",
    [
        np.ones((4, 2), int),
        np.zeros((4, 2)),
        np.full((4, 2), np.inf),
        np.zeros((4, 0)),
        np.full((4, 2), "nan"),
        np.zeros((4, 2), bool),
        sparse.csr_array((4, 2)),
        sparse.csr_array((4, 0)),
        [np.zeros((1, 2))] * 4,
    ],
)
def test_zeros_infinities_and_emptiness_are_observed(block):
    assert Modalities([block]).observed.all()


def test_a_modality_that_is_none_is_missing_in_all_samples():
    X = Modalities({"audio": np.ones((3, 1)), "video": None, "text": [None] * 3})
    assert_array_equal(X.observed, [[True, False, False]] * 3)


def test_a_mask_adds_missing_samples_without_changing_the_data():
    given = np.array(ROWS_LACK)
    mask = np.array([[False], [True], [True], [True]])
    X = Modalities([given], observed=mask)
    assert_array_equal(X.observed.ravel(), [False, False, True, True])
    assert X.blocks[0] is given
    assert_array_equal(X.blocks[0], ROWS_LACK)
    again = Modalities(X, observed=mask[::-1])
    assert_array_equal(again.observed.ravel(), [False, False, True, False])
    assert_array_equal(Modalities(X).observed, X.observed)


def test_the_mask_is_read_only():
    X = Modalities([np.array(ROWS_LACK)])
    with pytest.raises(ValueError, match="read-only"):
        X.observed[0] = False


@pytest.mark.parametrize("seen_before", [False, True])
@pytest.mark.parametrize("with_mask", [False, True])
def test_it_is_indexed_with_rows_and_modalities(seen_before, with_mask):
    mask = np.array([[True, True]] * 3 + [[True, False]]) if with_mask else None
    X = Modalities({"a": np.array(ROWS_LACK), "b": np.eye(4)}, observed=mask)
    expected = np.column_stack([SECOND_LACKS, [True] * 3 + [not with_mask]])
    if seen_before:
        assert_array_equal(X.observed, expected)
    assert_array_equal(X[[3, 1]].observed, expected[[3, 1]])
    assert_array_equal(X[1:].observed, expected[1:])
    assert_array_equal(X[["b", "a"]].observed, expected[:, ::-1])
    assert_array_equal(X[::-1, [1]].observed, expected[::-1, [1]])
    assert_array_equal(X.copy().observed, expected)
    assert_array_equal(X[:1].concat(X[1:]).observed, expected)


def test_a_missing_modality_of_a_table_spec_is_found():
    X = Modalities.from_table(np.hstack([ROWS_LACK, np.eye(4)]), [2, 4])
    assert_array_equal(X.observed[:, 0], SECOND_LACKS)
