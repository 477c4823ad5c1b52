"""Data and helpers of the checks of the multimodal contract."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.base import BaseEstimator, clone
from sklearn.metrics import adjusted_rand_score
from sklearn.utils import get_tags
from sklearn.utils.validation import check_is_fitted

from mmfusion._typing import ModalitiesLike
from mmfusion.datasets import make_multimodal_blobs
from mmfusion.modalities import Modalities

N_PLANTED_CLUSTERS = 3
CONTRACT_MODALITIES = ("audio", "text", "video")


def make_contract_data(
    estimator: BaseEstimator, missing_rate: float = 0.0
) -> tuple[Modalities, np.ndarray]:
    """Make three modalities with planted clusters, and the clusters.

    Values are not negative if the tag ``positive_only`` of the estimator is set.
    """
    X, y = make_multimodal_blobs(
        60,
        dict(zip(CONTRACT_MODALITIES, (3, 4, 2), strict=True)),
        centers=N_PLANTED_CLUSTERS,
        cluster_std=0.5,
        missing_rate=missing_rate,
        random_state=0,
    )[:2]
    if not get_tags(estimator).input_tags.positive_only:
        return X, y
    shifted = {n: b - np.nanmin(b, axis=0) for n, b in X.to_dict().items()}
    return Modalities(shifted, observed=X.observed), y


def clone_for_contract(estimator: BaseEstimator, **params: Any) -> BaseEstimator:
    """Clone an estimator, with the number of clusters of the data and a seed."""
    own = estimator.get_params(deep=False)
    defaults = {"n_clusters": N_PLANTED_CLUSTERS, "random_state": 0}
    given = {k: v for k, v in defaults.items() if k in own} | params
    return clone(estimator).set_params(**given)


def output_of(estimator: BaseEstimator, X: ModalitiesLike) -> np.ndarray:
    """Return predictions, transformed data or labels as an array."""
    check_is_fitted(estimator)
    if hasattr(estimator, "predict"):
        return np.asarray(estimator.predict(X))
    if hasattr(estimator, "transform"):
        out = estimator.transform(X)
        out = out.to_array() if isinstance(out, Modalities) else out
        return out.toarray() if sparse.issparse(out) else np.asarray(out)
    return estimator.labels_


def assert_same_output(a: np.ndarray, b: np.ndarray, message: str) -> None:
    """Assert that labels are the same partition, or values equal to rounding."""
    if a.dtype.kind in "iu":  # clusters, up to their numbering
        assert a.shape == b.shape, message
        # of states over time, one of a step
        assert adjusted_rand_score(a.ravel(), b.ravel()) == 1, message
    else:
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5, err_msg=message)


def refusal_of(call: Callable[..., Any], *args: Any) -> str:
    """Return the message of the ValueError or TypeError that a call must raise."""
    try:
        call(*args)
    except (ValueError, TypeError) as error:
        return str(error)
    raise AssertionError("invalid input was accepted without an error")


def later_method(estimator: BaseEstimator) -> str | None:
    """Return the method that takes later samples, if the estimator has one."""
    methods = ("predict", "transform")
    return next((m for m in methods if hasattr(estimator, m)), None)
