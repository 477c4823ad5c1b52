"""Checks and names of the output of the transformer of one modality."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import sparse

from mmfusion._blocks import Block, as_block, is_sequences


def checked_rows(out: Any, given: Block, transformer: object, name: str) -> Block:
    """Check that the output of a transformer is a block with one row per sample.

    Parameters
    ----------
    out : object
        The output.
    given : block of n_samples rows
        The input.
    transformer : transformer
        The transformer, for errors.
    name : str
        Name of its modality, for errors.

    Returns
    -------
    block
        The output as a block.

    Raises
    ------
    ValueError
        If the output has another number of rows, or one dimension.
    """
    found = f"modality {name!r}: {type(transformer).__name__} has returned"
    shape = getattr(out, "shape", None)
    if shape is not None and len(shape) < 2 and not is_sequences(out):
        raise ValueError(
            f"{found} an array of shape {tuple(shape)}; it needs to return 2 "
            "dimensions, (n_samples, n_features): use reshape(-1, 1) for one feature"
        )
    if isinstance(out, sparse.sparray | sparse.spmatrix) and out.ndim != 2:
        raise ValueError(f"{found} a sparse array of shape {out.shape}, not of 2")
    out = as_block(out, name)
    n_rows, n_samples = out.shape[0], given.shape[0]
    if n_rows != n_samples:
        raise ValueError(
            f"{found} {n_rows} rows for {n_samples} samples; it needs to return one "
            "row per sample, in their order"
        )
    return out


def checked_matrix(
    out: Any, given: Block, transformer: object, name: str
) -> np.ndarray | sparse.csr_matrix | sparse.csr_array:
    """Check that the output of a reducer holds finite numbers, one row per sample.

    Parameters
    ----------
    out : object
        The output.
    given : ndarray or CSR matrix of shape (n_samples, n_features)
        The input.
    transformer : transformer
        The reducer, for errors.
    name : str
        Name of its modality, for errors.

    Returns
    -------
    ndarray or CSR matrix of shape (n_samples, n_features_out)
        The output.

    Raises
    ------
    ValueError
        If the output has another form.
    """
    out = checked_rows(out, given, transformer, name)
    out = out if sparse.issparse(out) else np.asarray(out)
    found = f"modality {name!r}: {type(transformer).__name__} has returned"
    if out.ndim != 2 or out.dtype.kind not in "fiub":
        raise ValueError(
            f"{found} {out.dtype} of shape {out.shape}; it needs to return numbers of "
            "shape (n_samples, n_features)"
        )
    values = out.data if sparse.issparse(out) else out
    with np.errstate(over="ignore", invalid="ignore"):
        # the sum allocates no array, but may overflow though all values are finite
        is_finite = np.isfinite(values.sum()) or np.isfinite(values).all()
    if not is_finite:
        raise ValueError(f"{found} NaN or infinity")
    return out


def names_out(transformer: Any, names_in: np.ndarray, name: str) -> np.ndarray:
    """Return the names of the features of a transformer's output.

    Parameters
    ----------
    transformer : transformer
        The fitted transformer.
    names_in : ndarray of str of shape (n_features,)
        Names of its input features, used unless it has names from `fit`.
    name : str
        Name of its modality, for errors.

    Returns
    -------
    ndarray of str
        The names.

    Raises
    ------
    ValueError
        If the transformer has no method for names.
    """
    if not hasattr(transformer, "get_feature_names_out"):
        raise ValueError(
            f"modality {name!r}: {type(transformer).__name__} has no "
            "get_feature_names_out; give it one (of a FunctionTransformer by "
            "feature_names_out='one-to-one')"
        )
    given = getattr(transformer, "feature_names_in_", names_in)
    return np.asarray(transformer.get_feature_names_out(given), dtype=object)
