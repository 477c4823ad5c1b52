"""Summaries of the data: the first samples, numbers by modality, a table in HTML."""

import dask.array as da
import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy import sparse

from mmfusion import Modalities

VALUES = np.arange(12.0).reshape(6, 2) - 3


@pytest.fixture(params=["dense", "sparse", "pandas", "polars", "dask", "mapped"])
def block(request, tmp_path):
    match request.param:
        case "sparse":
            return sparse.csr_array(VALUES)
        case "pandas":
            return pd.DataFrame(VALUES)
        case "polars":
            return pl.DataFrame(VALUES)
        case "dask":
            return da.from_array(VALUES, chunks=(2, 2))
        case "mapped":
            np.save(tmp_path / "a.npy", VALUES)
            return np.load(tmp_path / "a.npy", mmap_mode="r")
    return VALUES


def test_tables_of_any_kind_are_described(block):
    row = Modalities({"it": block}).describe().loc["it"]
    assert (row["min"], row["max"], row["n_features"]) == (-3, 8, 2)
    assert (row["n_missing"], row["missing_share"], row["nan_share"]) == (0, 0, 0)
    assert row["memory_mb"] > 0
    assert np.isnan(row["max_length"])


def test_values_of_missing_samples_are_not_described():
    values = VALUES.copy()
    values[5, 1] = np.nan
    observed = np.ones((6, 1), bool)
    observed[0] = False
    row = Modalities({"it": values}, observed=observed).describe().loc["it"]
    assert (row["n_missing"], row["missing_share"]) == (1, pytest.approx(1 / 6))
    assert (row["min"], row["max"]) == (-1, 7)
    assert row["nan_share"] == pytest.approx(1 / 10)


def test_sequences_are_described_by_their_lengths():
    sequences = [np.full((n, 3), n) for n in (1, 4, 9)]
    row = Modalities({"it": [*sequences, None]}).describe().loc["it"]
    lengths = ["min_length", "median_length", "max_length"]
    assert row[lengths].tolist() == [1, 4, 9]
    assert (row["kind"], row["n_features"]) == ("sequences", 3)
    assert (row["n_missing"], row["min"], row["max"]) == (1, 1, 9)


def test_text_and_empty_modalities_have_no_range():
    text = pd.DataFrame({"word": ["a", None, "b"], "number": [1, 5, None]})
    X = Modalities({"text": text, "none": None, "empty": np.empty((3, 0))})
    described = X.describe()
    assert described.loc["text", ["min", "max"]].tolist() == [1, 5]
    assert described.loc["text", "nan_share"] == pytest.approx(2 / 6)
    assert described.loc["none", "missing_share"] == 1
    assert np.isnan(described.loc["empty", "max"])
    assert X[:0].describe()["missing_share"].tolist() == [0, 0, 0]


def test_head_selects_the_first_samples():
    X = Modalities({"a": VALUES, "b": VALUES})
    assert X.head() == X[:5]
    assert X.head(2) == X[:2]
    assert X.head(-2) == X[:4]
    assert len(X.head(100)) == 6
    assert len(X.head(0)) == 0
    for wrong in (1.5, "a", None, True):
        with pytest.raises(TypeError, match="n is "):
            X.head(wrong)


def test_html_shows_what_is_missing():
    observed = np.ones((6, 2), bool)
    observed[:3, 1] = False
    X = Modalities({"a": VALUES, "<b>": VALUES}, observed=observed)
    page = X._repr_html_()
    assert "3 (50.0 %)" in page
    assert "width:50%" in page
    assert "3 of 6 samples have all modalities" in page
    assert "96 B" in page
    assert "<b>" not in page
    assert "samples have all" not in X[["a"]]._repr_html_()


def test_html_computes_nothing_of_dask():
    def refuse(values):
        if values.size:  # dask looks at none of the values
            raise AssertionError
        return values

    array = da.from_array(VALUES, chunks=(2, 2)).map_blocks(refuse, dtype=float)
    assert "dask" in Modalities({"it": array})._repr_html_()
