"""Input of the estimators: kernels of modalities, or modalities that are kernels."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from numbers import Integral, Real
from os import PathLike
from types import FrameType
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.utils import Tags, assert_all_finite

from mmfusion._scaling import SCALINGS
from mmfusion._sklearn_compat import INTEGER, Interval, StrOptions
from mmfusion._typing import ByModality, ModalitiesLike
from mmfusion._validation import ModalityTags, is_multimodal, refuse_empty_samples
from mmfusion.base import ModalityMixin
from mmfusion.mkl._feature_maps import APPROXIMATIONS
from mmfusion.mkl._kernel_scaling import KERNEL_NORMALIZATIONS
from mmfusion.mkl._kernels import KERNEL_NAMES, Kernel
from mmfusion.modalities import Modalities

# one kernel or several, and one gamma or several, for all modalities or by name
KernelLike = ByModality[Kernel | Sequence[Kernel]]
GammaLike = ByModality[float | Sequence[float | None] | np.ndarray | None]
ScalingLike = ByModality[str | None]

KERNEL_CONSTRAINTS: dict[str, list[Any]] = {
    "kernel": [StrOptions(set(KERNEL_NAMES)), callable, list, tuple, dict],
    "gamma": [Interval(Real, 0, None, closed="neither"), "array-like", dict, None],
    "degree": [Interval(Real, 0, None, closed="left")],
    "coef0": [Interval(Real, None, None, closed="neither")],
    "scaling": [StrOptions(set(SCALINGS)), None, dict],
    "normalize": [StrOptions(set(KERNEL_NORMALIZATIONS)), None],
    "approximation": [
        StrOptions({"auto", *APPROXIMATIONS}),
        Interval(Integral, 1, None, closed="left"),
        None,
    ],
    "n_components": [Interval(Integral, 1, None, closed="left")],
    "temp_folder": [str, PathLike, None],
    "modalities": ["array-like", str, dict, INTEGER, None],
    "n_jobs": [INTEGER, None],
    "random_state": ["random_state"],
}


class KernelInputMixin(ModalityMixin):
    """Estimator with a parameter ``kernel``, whose modalities may be kernels.

    With ``kernel="precomputed"`` X may be one array of shape (n_samples, n_samples,
    n_kernels), which scikit-learn's model selection splits in rows and columns.
    """

    kernel: KernelLike

    def _validate(
        self, X: ModalitiesLike, *, reset: bool, raw: bool = False
    ) -> Modalities:
        if self._is_precomputed:
            X = _as_kernels(X, reset=reset)
        frame = super()._validate(X, reset=reset, raw=raw)
        refuse_empty_samples(frame)
        return frame

    @property
    def _is_precomputed(self) -> bool:
        return isinstance(self.kernel, str) and self.kernel == "precomputed"

    def _holds_kernel(self, modality: str) -> bool:
        kernel = self.kernel
        kernel = kernel.get(modality, "rbf") if isinstance(kernel, Mapping) else kernel
        kernels = kernel if isinstance(kernel, list | tuple) else [kernel]
        return any(isinstance(k, str) and k == "precomputed" for k in kernels)

    def __modality_tags__(self) -> ModalityTags:
        return ModalityTags(missing=True, sparse=True, holds_kernel=self._holds_kernel)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.pairwise = self._is_precomputed
        if self._is_precomputed:
            _check_not_splitting_modalities(self)
        return tags


def _check_not_splitting_modalities(estimator: KernelInputMixin) -> None:
    """Raise an error with a remedy if scikit-learn is about to split Modalities.

    It splits rows and columns of square arrays only. Its own error, "X should be a
    square kernel matrix", misleads for Modalities of square kernels, and comes before
    the estimator gets X: the tags are all that it reads before, so that X is found in
    the calling frame.
    """
    caller: FrameType | None = sys._getframe(1)
    while caller is not None and caller.f_code.co_name != "_safe_split":
        caller = caller.f_back
    if caller is None:
        return
    split, X = caller.f_locals.get("estimator"), caller.f_locals.get("X")
    # also the search of which this is the estimator
    is_split = split is estimator or getattr(split, "estimator", None) is estimator
    if is_split and isinstance(X, Modalities):
        raise ValueError(
            f"kernels in Modalities {list(X.names)} cannot be split in rows and "
            "columns; for a search or cross-validation give them as one array of shape "
            "(n_samples, n_samples, n_kernels), np.dstack(X.blocks)"
        )


def _as_kernels(X: ModalitiesLike, *, reset: bool) -> ModalitiesLike:
    """Split an array of kernels into modalities; check that a lone kernel is finite."""
    if isinstance(X, np.ndarray) and X.ndim == 3:
        if reset and X.shape[0] != X.shape[1]:
            raise ValueError(
                f"X has shape {X.shape}; several kernels are one array of shape "
                "(n_samples, n_samples, n_kernels), as np.dstack returns it"
            )
        if X.shape[2] == 0:
            raise ValueError(f"X has shape {X.shape}: it holds no kernel")
        return Modalities([X[:, :, p] for p in range(X.shape[2])])
    if is_multimodal(X):
        return X
    block: Any = X
    dense = block.toarray() if sparse.issparse(block) else block
    # before the number of columns is checked, which names no cell
    assert_all_finite(dense, input_name="X")
    return dense
