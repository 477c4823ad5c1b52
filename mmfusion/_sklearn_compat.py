"""All private names of scikit-learn that mmfusion uses.

They are stable from 1.6 to 1.9; names that move are adapted in this file.
"""

from collections.abc import Callable
from numbers import Integral
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from sklearn import __version__
from sklearn.utils._indexing import _get_column_indices as column_indices
from sklearn.utils._param_validation import HasMethods, StrOptions
from sklearn.utils._param_validation import Interval as _Interval
from sklearn.utils._set_output import _get_container_adapter as container_adapter
from sklearn.utils.fixes import parse_version
from sklearn.utils.validation import (
    _check_feature_names_in as check_feature_names_in,
)
from sklearn.utils.validation import _check_sample_weight as check_sample_weight
from sklearn.utils.validation import _check_y as check_y

if TYPE_CHECKING:  # scikit-learn has no types, and what it decorates would lose its own
    F = TypeVar("F", bound=Callable[..., Any])

    def fit_context(*, prefer_skip_nested_validation: bool) -> Callable[[F], F]:
        """Validate parameters before `fit`."""

    def validate_params(
        constraints: dict, *, prefer_skip_nested_validation: bool
    ) -> Callable[[F], F]:
        """Validate arguments of a function."""
else:
    from sklearn.base import _fit_context as fit_context
    from sklearn.utils._param_validation import validate_params


class Interval(_Interval):
    """Interval of real numbers within the range of float64, without booleans."""

    def is_satisfied_by(self, val: Any) -> bool:
        """Return whether a value is a number in the interval."""
        try:
            # NumPy registers timedelta64 as an integer
            is_other = isinstance(val, bool | np.timedelta64)
            satisfied = not is_other and super().is_satisfied_by(val)
            float(val)
        except (
            OverflowError,
            TypeError,
            ValueError,
        ):  # NumPy lacks Fraction
            return False
        return satisfied


INTEGER = Interval(Integral, None, None, closed="neither")

# in 1.6 some estimators, such as KMeans, accept sparse input but lack the tag for it
SPARSE_TAGS_ARE_TRUE = parse_version(__version__) >= parse_version("1.7")

try:
    from sklearn.utils._repr_html.estimator import _VisualBlock as VisualBlock
except ImportError:  # scikit-learn < 1.8
    from sklearn.utils._estimator_html_repr import _VisualBlock as VisualBlock

try:
    from sklearn.callback import CallbackSupportMixin
except ImportError:  # scikit-learn < 1.9

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """Empty base class, since there are no callbacks to support."""


__all__ = [
    "INTEGER",
    "SPARSE_TAGS_ARE_TRUE",
    "CallbackSupportMixin",
    "HasMethods",
    "Interval",
    "StrOptions",
    "VisualBlock",
    "check_feature_names_in",
    "check_sample_weight",
    "check_y",
    "column_indices",
    "container_adapter",
    "fit_context",
    "validate_params",
]
