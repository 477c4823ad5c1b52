"""Type aliases for the signatures of estimators and functions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar, Union

import numpy as np
from numpy.typing import ArrayLike

if TYPE_CHECKING:
    import torch
    from scipy import sparse
    from sklearn.base import BaseEstimator
    from sklearn.model_selection import BaseCrossValidator

    from mmfusion.modalities import Modalities

T = TypeVar("T")

# an option for every modality alike, or one for each by name
ByModality: TypeAlias = T | Mapping[str, T]
# the block of one modality, or a plain table
BlockLike: TypeAlias = Union[ArrayLike, "sparse.spmatrix", "sparse.sparray"]
# a checked block of two dimensions, dense or CSR
NumericBlock: TypeAlias = Union[np.ndarray, "sparse.csr_array"]
# X of every estimator: a list, a dict, Modalities or a table
ModalitiesLike: TypeAlias = Union[
    "Modalities", Mapping[str, Any], Sequence[Any], BlockLike
]
# the column spec that splits a table into modalities
ColumnSpecLike: TypeAlias = int | str | Sequence[int] | Mapping[str, Any] | None
RandomStateLike: TypeAlias = int | np.random.RandomState | None
# an unfitted scikit-learn estimator, one for each modality by name, or the default
EstimatorLike: TypeAlias = Union["BaseEstimator", Mapping[str, Any], None]
# cross-validation as scikit-learn takes it: folds, a splitter or an iterable
CrossValidationLike: TypeAlias = Union[int, Iterable[Any], "BaseCrossValidator", None]
DeviceLike: TypeAlias = Union[str, "torch.device"]
# local cost of two frames: a name, or a function of two arrays of frames
MetricLike: TypeAlias = str | Callable[..., Any]
# the encoder of a modality: widths of layers, their kind, alone or before widths, a
# module, or a factory of one that takes the shape of a sample
EncoderLike: TypeAlias = Union[
    int,
    str,
    Sequence[int | str],
    "torch.nn.Module",
    Callable[[tuple[int, ...]], Any],
    None,
]
# that of every modality: one for all, by name, or by position
EncodersLike: TypeAlias = ByModality[EncoderLike] | Sequence[EncoderLike]
