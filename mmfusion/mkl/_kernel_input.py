"""Input of the estimators: kernels of modalities, or modalities that are kernels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Integral, Real
from os import PathLike
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.base import BaseEstimator
from sklearn.utils import Tags

from mmfusion._blocks import is_sequences
from mmfusion._precomputed import as_precomputed, refuse_to_split_modalities
from mmfusion._scaling import SCALINGS
from mmfusion._sequences import sequences_of_table
from mmfusion._sklearn_compat import INTEGER, Interval, StrOptions
from mmfusion._typing import ByModality, ModalitiesLike
from mmfusion._validation import ModalityTags, refuse_empty_samples
from mmfusion.base import ModalityMixin, PerModalityParams
from mmfusion.mkl._feature_maps import APPROXIMATIONS
from mmfusion.mkl._kernel_scaling import KERNEL_NORMALIZATIONS
from mmfusion.mkl._kernels import KERNEL_NAMES, Kernel
from mmfusion.mkl._sequence_kernels import DTW_KERNELS, is_sequence_kernel
from mmfusion.modalities import Modalities

# one kernel or several, and one gamma or several, for all modalities or by name
KernelLike = ByModality[Kernel | Sequence[Kernel]]
GammaLike = ByModality[float | Sequence[float | None] | np.ndarray | None]
ScalingLike = ByModality[str | None]

KERNEL_CONSTRAINTS: dict[str, list[Any]] = {
    "kernel": [
        StrOptions({*KERNEL_NAMES, *DTW_KERNELS}),
        callable,
        BaseEstimator,
        list,
        tuple,
        dict,
    ],
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
    "landmarks": ["array-like", "sparse matrix", dict, None],
    "temp_folder": [str, PathLike, None],
    "modalities": ["array-like", str, dict, INTEGER, None],
    "n_jobs": [INTEGER, None],
    "random_state": ["random_state"],
}


class KernelInputMixin(PerModalityParams, ModalityMixin):
    """Estimator with a parameter ``kernel``, whose modalities may be kernels.

    Kernels by modality are parameters: ``audio`` is the kernel of a modality, and
    ``audio__softness`` a parameter of its DTWKernel.

    With ``kernel="precomputed"`` X may be one array of shape (n_samples, n_samples,
    n_kernels), which scikit-learn's model selection splits in rows and columns.
    """

    kernel: KernelLike
    _estimators_param = "kernel"

    def _validate(
        self, X: ModalitiesLike, *, reset: bool, raw: bool = False
    ) -> Modalities:
        if self._is_precomputed:
            X = as_precomputed(X, reset=reset)
        frame = super()._validate(X, reset=reset, raw=raw)
        refuse_empty_samples(frame)
        if reset:
            self._check_names(frame)
        return self._rows_as_sequences(frame)

    def _check_names(self, frame: Modalities) -> None:
        """Raise an error for kernels of unknown modalities, or named as parameters."""
        self._choose_by_modality(frame.names, "rbf")

    def _rows_as_sequences(self, frame: Modalities) -> Modalities:
        """Read the rows of tables with a kernel of sequences, as DTWKernel does."""
        beside = bool(self._layout.sequences)
        blocks = list(frame.blocks)
        for v, (name, block) in enumerate(frame.to_dict().items()):
            if is_sequences(block) or not self._compares_sequences(name):
                continue
            if sparse.issparse(block):
                raise TypeError(
                    f"modality {name!r} is a sparse matrix, whose rows are no "
                    f"sequences; give it the kernel 'rbf' in place of "
                    f"{self._kernels_of(name)[0]!r}, or a dense array"
                )
            blocks[v] = sequences_of_table(
                block, frame.observed[:, v], beside_sequences=beside
            )
        return Modalities._of(frame.names, tuple(blocks), frame.observed, frame._index)

    def _compares_sequences(self, modality: str) -> bool:
        """Return whether the kernels of a modality are of sequences."""
        of_sequences = list(map(is_sequence_kernel, self._kernels_of(modality)))
        if any(of_sequences) and not all(of_sequences):
            raise ValueError(
                f"modality {modality!r}: its kernels {self._kernels_of(modality)} "
                "compare rows and sequences; give several of one kind"
            )
        return any(of_sequences)

    @property
    def _is_precomputed(self) -> bool:
        return isinstance(self.kernel, str) and self.kernel == "precomputed"

    def _kernels_of(self, modality: str) -> Sequence[Any]:
        """Return the kernels of a modality, as they are given."""
        kernel = self.kernel
        kernel = kernel.get(modality, "rbf") if isinstance(kernel, Mapping) else kernel
        return kernel if isinstance(kernel, list | tuple) else [kernel]

    def _holds_kernel(self, modality: str) -> bool:
        kernels = self._kernels_of(modality)
        return any(isinstance(k, str) and k == "precomputed" for k in kernels)

    def _sequence_layout(self, modality: str) -> str | None:
        return "arrays" if self._compares_sequences(modality) else None

    def __modality_tags__(self) -> ModalityTags:
        return ModalityTags(
            missing=True,
            sparse=True,
            holds_kernel=self._holds_kernel,
            sequence_layout=self._sequence_layout,
        )

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.pairwise = self._is_precomputed
        if self._is_precomputed:
            refuse_to_split_modalities(self)
        return tags
