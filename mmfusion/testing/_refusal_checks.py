"""Checks of the multimodal contract: invalid input is refused with its modality."""

from __future__ import annotations

import numpy as np
from scipy import sparse
from sklearn.base import BaseEstimator
from sklearn.utils import get_tags

from mmfusion.modalities import Modalities
from mmfusion.testing._contract_data import (
    clone_for_contract,
    later_method,
    make_contract_data,
    refusal_of,
)


def check_refuses_unlike_sample_counts(estimator: BaseEstimator) -> None:
    """Check that modalities of different numbers of samples are refused."""
    X, y = make_contract_data(estimator)
    uneven = [X["audio"], X["video"][:-1]]
    message = refusal_of(clone_for_contract(estimator).fit, uneven, y)
    for part in ("modality_1", "60", "59"):
        assert part in message, f"the error lacks {part!r}: {message}"


def check_refuses_other_modalities(estimator: BaseEstimator) -> None:
    """Check that modalities of another number or name than in `fit` are refused."""
    method = later_method(estimator)
    if method is None:
        return
    X, y = make_contract_data(estimator)
    fitted = clone_for_contract(estimator).fit(X, y)
    refusal_of(getattr(fitted, method), X[["audio", "video"]])
    renamed = Modalities(dict(zip(("audio", "text", "heat"), X.blocks, strict=True)))
    message = refusal_of(getattr(fitted, method), renamed)
    for part in ("heat", "video"):
        assert part in message, f"the error lacks {part!r}: {message}"


def check_refuses_other_widths(estimator: BaseEstimator) -> None:
    """Check that another number of features than in `fit` is refused."""
    method = later_method(estimator)
    if method is None:
        return
    X, y = make_contract_data(estimator)
    fitted = clone_for_contract(estimator).fit(X, y)
    narrow = Modalities(X.to_dict() | {"text": X["text"][:, :2]})
    message = refusal_of(getattr(fitted, method), narrow)
    for part in ("text", "2", "4"):
        assert part in message, f"the error lacks {part!r}: {message}"


def check_refuses_non_finite(estimator: BaseEstimator) -> None:
    """Check that NaN or infinity in an observed modality is refused."""
    if get_tags(estimator).input_tags.allow_nan:
        return
    X, y = make_contract_data(estimator)
    for bad in (np.nan, np.inf):
        text = X["text"].copy()
        text[5, 1] = bad
        spoilt = Modalities(X.to_dict() | {"text": text})
        message = refusal_of(clone_for_contract(estimator).fit, spoilt, y)
        assert "text" in message, f"the error does not name the modality: {message}"


def check_refuses_empty(estimator: BaseEstimator) -> None:
    """Check that data without modalities or samples are refused."""
    X, y = make_contract_data(estimator)
    refusal_of(clone_for_contract(estimator).fit, [], y[:0])
    refusal_of(clone_for_contract(estimator).fit, {}, y[:0])
    assert "0 sample" in refusal_of(clone_for_contract(estimator).fit, X[:0], y[:0])


def check_refuses_strings_and_complex(estimator: BaseEstimator) -> None:
    """Check that strings and complex numbers are refused, unless by the tag."""
    if get_tags(estimator).input_tags.string:
        return
    X, y = make_contract_data(estimator)
    for bad in (X["text"].astype(str).astype("<U3"), X["text"] + 1j):
        bad[0, 0] = "no" if bad.dtype.kind == "U" else bad[0, 0]
        message = refusal_of(
            clone_for_contract(estimator).fit,
            Modalities(X.to_dict() | {"text": bad}),
            y,
        )
        assert "text" in message, f"the error does not name the modality: {message}"


def check_refuses_columns_of_no_numbers(estimator: BaseEstimator) -> None:
    """Check that text and integers beyond floats are refused, with their column."""
    if get_tags(estimator).input_tags.string:
        return
    X, y = make_contract_data(estimator)
    for bad in ("word", 10**400):
        text = X["text"].astype(object)
        text[:, 2] = bad
        message = refusal_of(
            clone_for_contract(estimator).fit,
            Modalities(X.to_dict() | {"text": text}),
            y,
        )
        for part in ("text", "2"):
            assert part in message, f"the error lacks {part!r}: {message}"


def check_refuses_invalid_sparse(estimator: BaseEstimator) -> None:
    """Check that a sparse matrix with indices out of range is refused."""
    X, y = make_contract_data(estimator)
    text = sparse.csr_array(np.abs(X["text"]))
    # SciPy does not check indices that are set: compiled loops would read outside
    text.indices = np.full_like(text.indices, 10**6)
    blocks = X.to_dict() | {"text": text}
    message = refusal_of(lambda: clone_for_contract(estimator).fit(blocks, y))
    assert "text" in message, f"the error does not name the modality: {message}"
    method = later_method(estimator)
    if method is not None:
        fitted = clone_for_contract(estimator).fit(X, y)
        message = refusal_of(lambda: getattr(fitted, method)(blocks))
        assert "text" in message, f"the error does not name the modality: {message}"
