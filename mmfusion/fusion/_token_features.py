"""Frames that are words, or dicts of features, instead of numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.base import clone
from sklearn.feature_extraction import DictVectorizer
from sklearn.preprocessing import OneHotEncoder

from mmfusion._blocks import is_sequences, token_arrays
from mmfusion._typing import ModalitiesLike
from mmfusion.modalities import Modalities


def with_tokens(X: ModalitiesLike) -> ModalitiesLike:
    """Replace lists of words, and of dicts, in X by arrays of shape (n_frames, 1).

    Parameters
    ----------
    X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
        The data; or a list of such lists, one for each sample, of one modality.

    Returns
    -------
    list, dict, Modalities or array-like
        The data; what holds no words and no dicts is as it was.
    """
    if isinstance(X, Modalities):
        blocks = X.to_dict()
        read = {name: _as_tokens(block) for name, block in blocks.items()}
        if all(read[name] is blocks[name] for name in blocks):
            return X
        mask = None if X.observed.all() else X.observed
        return Modalities._of(X.names, tuple(read.values()), mask, X._index)
    if isinstance(X, Mapping) and not sparse.issparse(X):  # dok_array is a dict
        return {name: _as_tokens(block) for name, block in X.items()}
    if isinstance(X, list | tuple) or is_sequences(X):
        tokens = _as_tokens(X)
        return [_as_tokens(block) for block in X] if tokens is X else [tokens]
    return X


def _as_tokens(block: Any) -> Any:
    """Return the frames of samples that are words or dicts; other blocks unchanged."""
    lists = block
    if isinstance(block, np.ndarray) and block.ndim == 2 and block.dtype.kind in "UO":
        lists = block.tolist()  # a table is what lists of one length become
    if not (isinstance(lists, list | tuple) or is_sequences(lists)):
        return block
    samples = [sample for sample in lists if sample is not None]
    is_of_lists = all(isinstance(x, list | tuple) or np.ndim(x) == 1 for x in samples)
    return token_arrays(lists) if is_of_lists and any(map(_holds, samples)) else block


def _holds(sample: Sequence[Any] | np.ndarray) -> bool:
    return any(isinstance(token, str | Mapping) for token in sample)


def kind_of_tokens(tokens: np.ndarray) -> str:
    """Return 'dicts' or 'words', by the first frame.

    Parameters
    ----------
    tokens : ndarray of object
        The frames.

    Returns
    -------
    str
        The kind.
    """
    return "dicts" if isinstance(tokens.flat[0], Mapping) else "words"


def check_tokens(block: np.ndarray, name: str) -> None:
    """Raise an error unless all frames are words, or all are dicts of features.

    Parameters
    ----------
    block : ndarray of object of shape (n_samples,)
        Arrays of shape (n_frames, 1), or None.
    name : str
        Name of the modality.

    Raises
    ------
    TypeError, ValueError
        If a frame is of another type than the first one, or a feature of a dict has no
        name of type str, or a value that is no number and no text, or not finite.
    """
    observed = [i for i, sample in enumerate(block) if sample is not None]
    if not observed:
        return
    kind = kind_of_tokens(block[observed[0]])
    expected: Any = Mapping if kind == "dicts" else str
    for i in observed:
        for t, token in enumerate(block[i][:, 0]):
            if not isinstance(token, expected):
                raise TypeError(
                    f"modality {name!r}: frame {t} of sample {i} is {token!r:.60}, and "
                    f"the first frame is one of {kind}; give all frames as {kind}"
                )
            if kind == "dicts":
                for feature, value in token.items():
                    problem = _problem(feature, value)
                    if problem:
                        raise ValueError(
                            f"modality {name!r}: feature {feature!r} of frame {t} of "
                            f"sample {i} {problem}"
                        )


def _problem(feature: Any, value: Any) -> str | None:
    """Return what is wrong with a feature of a dict, and a remedy."""
    if not isinstance(feature, str):
        return "has no name of type str; convert it by str"
    if isinstance(value, str | bool | np.bool_):
        return None
    if isinstance(value, Real):
        if math.isfinite(value):
            return None
        return f"is {value}; leave the feature out of the dict"
    is_list = isinstance(value, list | tuple | set | frozenset)
    if is_list and all(isinstance(own, str) for own in value):
        return None
    return (
        f"is {value!r:.60}; give a number, text or a list of texts, or leave the "
        "feature out"
    )


def fit_tokens(transformer: Any, tokens: np.ndarray) -> tuple[Any, Any]:
    """Fit a transformer of words or dicts.

    Parameters
    ----------
    transformer : transformer or None
        None is a OneHotEncoder of words, and a DictVectorizer of dicts.
    tokens : ndarray of object of shape (n_frames, 1)
        The frames.

    Returns
    -------
    transformer : transformer
        Fitted clone.
    features : ndarray or sparse matrix of shape (n_frames, n_columns)
        Its output.
    """
    given = input_of_tokens(tokens)
    if transformer is None:
        is_words = kind_of_tokens(tokens) == "words"
        own = OneHotEncoder(handle_unknown="ignore") if is_words else DictVectorizer()
    else:
        own = clone(transformer)
    if hasattr(own, "fit_transform"):  # one pass over the dicts
        return own, own.fit_transform(given)
    own.fit(given)
    return own, own.transform(given)


def input_of_tokens(tokens: np.ndarray) -> Any:
    """Return frames as transformers of scikit-learn read them.

    Parameters
    ----------
    tokens : ndarray of object of shape (n_frames, 1)
        The frames.

    Returns
    -------
    list of dict, or ndarray of object of shape (n_frames, 1)
        Dicts, or words.
    """
    return tokens if kind_of_tokens(tokens) == "words" else tokens[:, 0].tolist()
