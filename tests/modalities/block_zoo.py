"""Blocks of every kind, in the forms that users give, and their values by sample."""

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

N_SAMPLES = 6


def _numbers(dtype, *inner, n_samples=N_SAMPLES):
    rng = np.random.default_rng(0)
    return rng.integers(0, 9, size=(n_samples, *inner)).astype(dtype)


def _sequences(lengths):
    rng = np.random.default_rng(0)
    return [None if n is None else rng.normal(size=(n, 2)) for n in lengths]


def _memmap(folder):
    block = np.memmap(folder / "block.bin", float, "w+", shape=(N_SAMPLES, 3))
    block[:] = _numbers(float, 3)
    return block


def _sparse(form, kind):
    return getattr(sparse, f"csr_{kind}")(_numbers(float, 4) % 3).asformat(form)


def _torch(requires_grad):
    torch = pytest.importorskip("torch")
    return torch.tensor(_numbers("f4", 3), requires_grad=requires_grad)


def _polars():
    table = {"a": np.arange(N_SAMPLES) / 2, "b": list("uvwxyz")}
    return pytest.importorskip("polars").DataFrame(table)


SPARSE = {
    f"{form} {kind}": lambda _, form=form, kind=kind: _sparse(form, kind)
    for form in ("bsr", "coo", "csc", "csr", "dia", "dok", "lil")
    for kind in ("matrix", "array")
}

# each is given a folder to write to
BLOCKS = {
    "int": lambda _: _numbers(np.int64, 3),
    "float32": lambda _: _numbers(np.float32, 3),
    "bool": lambda _: _numbers(bool, 3),
    "str": lambda _: _numbers(str, 3),
    "object": lambda _: np.array([[i, None] for i in "abcdef"], dtype=object),
    "complex": lambda _: _numbers(complex, 3),
    "3-D": lambda _: _numbers(float, 2, 3),
    "4-D": lambda _: _numbers(float, 2, 3, 2),
    "Fortran order": lambda _: np.asfortranarray(_numbers(float, 3)),
    "memmap": _memmap,
    "NaN rows": lambda _: np.array([[np.nan] * 2, *[[1.0, np.nan]] * 4, [np.nan] * 2]),
    "masked": lambda _: np.ma.masked_less(_numbers(int, 3), 2),
    "rows as lists": lambda _: _numbers(int, 3).tolist(),
    "rows as lists or None": lambda _: [None, *_numbers(float, 3).tolist()[1:]],
    **SPARSE,
    "pandas": lambda _: pd.DataFrame(_numbers(float, 2), columns=["a", "b"]),
    "pandas mixed": lambda _: pd.DataFrame(
        {"a": pd.array([1, None, 3, 4, 5, 6], dtype="Int64"), "b": list("uvwxyz")},
        index=[7, 7, 1, 0, 3, 2],
    ),
    "polars": lambda _: _polars(),
    "torch": lambda _: _torch(False),
    "torch with gradient": lambda _: _torch(True),
    "sequences": lambda _: _sequences([3, 1, 4, 1, 5, 9]),
    "sequences of equal length": lambda _: _sequences([2] * N_SAMPLES),
    "sequences or None": lambda _: _sequences([3, None, 4, 1, None, 9]),
    "nested lists": lambda _: [[[i, 0], [1, i]][: 1 + i % 2] for i in range(N_SAMPLES)],
}


def samples_of(block):
    """Return the shape and the values of each sample of a block.

    Missing values of any kind are None, and so are samples without values.
    """
    if sparse.issparse(block):
        block = block.toarray()
    elif hasattr(block, "detach"):
        block = block.detach().numpy()
    elif hasattr(block, "to_numpy"):
        block = block.to_numpy()
    elif isinstance(block, np.ma.MaskedArray):
        block = block.astype(float).filled(np.nan)
    return [
        None if sample is None else _spelled(np.asarray(sample)) for sample in block
    ]


def _spelled(sample):
    values = [None if pd.isna(value) else value for value in sample.ravel().tolist()]
    return (sample.shape, values) if values.count(None) < len(values) else None
