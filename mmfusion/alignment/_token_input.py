"""Tokens of samples, in any form that users have them in."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
from scipy import sparse

from mmfusion._blocks import is_sequences, token_arrays
from mmfusion._typing import ModalitiesLike
from mmfusion.modalities import Modalities

# types of the cells of tables and of frames
NO_TOKENS = (float, np.floating, list, np.ndarray)


def with_token_arrays(X: ModalitiesLike) -> ModalitiesLike:
    """Replace lists of tokens in X by arrays of shape (n_tokens, 1).

    Tokens are values of any type except for float, in nested lists, or in tables of
    text of `Modalities`, which rows of equal lengths become.

    Parameters
    ----------
    X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
        The data.

    Returns
    -------
    list, dict, Modalities or array-like
        The data; what holds no such tokens is the same object.

    Raises
    ------
    ValueError
        If the tokens of a sample are one string.
    """
    if isinstance(X, Modalities):
        blocks = X.to_dict()
        read = {name: _table_as_tokens(block) for name, block in blocks.items()}
        if all(read[name] is blocks[name] for name in blocks):
            return X
        mask = None if X.observed.all() else X.observed
        return Modalities._of(X.names, tuple(read.values()), mask, X._index)
    if isinstance(X, Mapping) and not sparse.issparse(X):  # dok_array is a dict
        return {name: _lists_as_tokens(block, repr(name)) for name, block in X.items()}
    if isinstance(X, list | tuple):
        return [_lists_as_tokens(block, str(v)) for v, block in enumerate(X)]
    return X


def _table_as_tokens(block: Any) -> Any:
    """Return the rows of a table of text as sequences of tokens."""
    is_table = isinstance(block, np.ndarray) and not is_sequences(block)
    if not is_table or block.ndim != 2 or block.dtype.kind not in "USO":
        return block
    if block.dtype == object and not all(isinstance(x, str) for x in block.ravel()):
        return block
    return token_arrays(block.tolist())


def _lists_as_tokens(block: Any, name: str) -> Any:
    """Return nested lists of tokens as sequences."""
    if not (isinstance(block, list | tuple) or is_sequences(block)):
        return block
    samples = [sample for sample in block if sample is not None]
    text = next((i for i, x in enumerate(block) if isinstance(x, str)), None)
    if samples and text is not None and all(isinstance(x, str) for x in samples):
        raise ValueError(
            f"modality {name}: sample {text} is one string, {block[text]!r:.40}; give "
            "a list of its tokens, such as by str.split"
        )
    if not samples or not all(map(_is_list_of_tokens, samples)):
        return block
    return token_arrays(block)


def _is_list_of_tokens(sample: Any) -> bool:
    if isinstance(sample, np.ndarray):
        return sample.ndim == 1 and sample.dtype.kind != "f"
    if not isinstance(sample, list | tuple):
        return False
    return all(map(_is_type_of_tokens, set(map(type, sample))))


@cache
def _is_type_of_tokens(kind: type) -> bool:
    return not issubclass(kind, NO_TOKENS)


def tokens_of(block: np.ndarray, used: np.ndarray) -> list[Sequence[Hashable]]:
    """Return the tokens of each sample as a list.

    Parameters
    ----------
    block : ndarray of object of shape (n_samples,)
        Arrays of shape (n_tokens, 1), or None.
    used : ndarray of bool of shape (n_samples,)
        Samples whose tokens are returned; others have none.

    Returns
    -------
    list of list of hashable
        The tokens.
    """
    return [
        sample[:, 0].tolist() if own else []
        for sample, own in zip(block, used.tolist(), strict=True)
    ]
