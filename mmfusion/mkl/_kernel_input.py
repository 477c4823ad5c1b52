"""Input of the estimators: kernels of modalities, or modalities that are kernels."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from os import PathLike
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.utils import Tags, assert_all_finite

from mmfusion._numbers import is_real
from mmfusion._options import by_modality
from mmfusion._scaling import SCALINGS
from mmfusion._sklearn_compat import INTEGER, Interval, StrOptions
from mmfusion._typing import ByModality, ModalitiesLike
from mmfusion._validation import ModalityTags, is_multimodal, refuse_empty_samples
from mmfusion.base import ModalityMixin
from mmfusion.mkl._feature_maps import APPROXIMATIONS
from mmfusion.mkl._kernel_scaling import KERNEL_NORMALIZATIONS
from mmfusion.mkl._kernels import KERNEL_NAMES, KERNELS_WITH_GAMMA, Kernel
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
        return tags


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


@dataclass(frozen=True)
class KernelSpec:
    """One kernel as the parameters specify it.

    Parameters
    ----------
    name : str
        Name of the modality, followed by a number if it has several kernels.
    modality : int
        Position of the modality.
    kernel : str or callable
        The kernel.
    gamma : float or None
        Its gamma; None is by the median rule.
    """

    name: str
    modality: int
    kernel: Kernel
    gamma: float | None


def expand_kernels(
    kernel: KernelLike, gamma: GammaLike, names: Sequence[str]
) -> list[KernelSpec]:
    """List the kernels that the parameters specify, modality by modality.

    Parameters
    ----------
    kernel : str, callable, list or dict
        The parameter `kernel` of an estimator.
    gamma : float, array-like of float, dict or None
        The parameter `gamma` of an estimator.
    names : sequence of str
        Names of the modalities.

    Returns
    -------
    list of KernelSpec
        The kernels, each with every gamma if it has one.

    Raises
    ------
    ValueError
        If a kernel or a gamma is invalid, by the name of its modality.
    """
    specs = []
    kernels = by_modality(kernel, names, "kernel", "rbf")
    gammas = by_modality(gamma, names, "gamma")
    for v, name in enumerate(names):
        pairs = _kernels_of_modality(kernels[v], gammas[v], name)
        for k, (own_kernel, own_gamma) in enumerate(pairs):
            own_name = name if len(pairs) == 1 else f"{name}-{k}"
            specs.append(KernelSpec(own_name, v, own_kernel, own_gamma))
    return specs


def _kernels_of_modality(
    kernel: Kernel | Sequence[Kernel],
    gamma: float | Sequence[float | None] | np.ndarray | None,
    name: str,
) -> list[tuple[Kernel, float | None]]:
    """Pair the kernels of one modality with each of their values of gamma."""
    kernels: Sequence[Any] = kernel if isinstance(kernel, list | tuple) else [kernel]
    if isinstance(gamma, np.ndarray):
        gamma = np.atleast_1d(gamma).tolist()
    gammas: Sequence[Any] = gamma if isinstance(gamma, list | tuple) else [gamma]
    if len(kernels) == 0 or len(gammas) == 0:
        raise ValueError(f"modality {name!r}: the list of its kernels is empty")
    for own in kernels:
        is_name = isinstance(own, str) and own in KERNEL_NAMES
        if not callable(own) and not is_name:
            raise ValueError(
                f"modality {name!r}: kernel {own!r} is none of {KERNEL_NAMES} and "
                "no callable"
            )
    if "precomputed" in kernels and len(kernels) > 1:
        raise ValueError(
            f"modality {name!r}: 'precomputed' is the only kernel of its modality"
        )
    for value in gammas:
        is_positive = is_real(value) and 0 < value <= sys.float_info.max
        if value is not None and not is_positive:
            raise ValueError(
                f"modality {name!r}: gamma is {value!r}; it must be a positive number"
            )
    return [
        (own, value)
        for own in kernels
        for value in (gammas if own in KERNELS_WITH_GAMMA else [None])
    ]
