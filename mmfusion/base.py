"""What mmfusion estimators share: the way in, nested estimators, the way out."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import sparse
from sklearn.base import TransformerMixin, clone, is_classifier
from sklearn.metrics import accuracy_score, r2_score
from sklearn.utils import assert_all_finite
from sklearn.utils.validation import check_is_fitted

from mmfusion import __version__, _blocks, _validation
from mmfusion._columns import ColumnSpec, resolve_columns
from mmfusion._options import by_modality, errors_about
from mmfusion._row_labels import check_output_labels, check_row_labels, with_labels
from mmfusion._sklearn_compat import (
    check_feature_names_in,
    check_sample_weight,
    container_adapter,
)
from mmfusion._validation import Layout, ModalityTags
from mmfusion.modalities import Modalities


class ModalityMixin:
    """An estimator whose X has modalities, in any of the four forms.

    The estimator has a constructor parameter ``modalities``, the column spec that
    splits a plain 2-D X; everything else comes in as a list, dict or Modalities.
    """

    modalities: ColumnSpec
    _layout: Layout
    n_modalities_in_: int
    modality_names_in_: np.ndarray
    n_features_per_modality_in_: np.ndarray
    n_features_in_: int
    feature_names_in_: np.ndarray

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)  # scikit-learn wraps the output in it
        for name in ("transform", "fit_transform"):
            if name in vars(cls):
                setattr(cls, name, _with_row_labels(vars(cls)[name]))

    def __modality_tags__(self) -> ModalityTags:
        return ModalityTags()

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()  # type: ignore[misc]
        tags.input_tags.dict = True
        tags.input_tags.sparse = self.__modality_tags__().sparse
        return tags

    def __getstate__(self) -> dict[str, Any]:
        state: Any = super().__getstate__()
        return state | {"_mmfusion_version": __version__}

    def __setstate__(self, state: dict[str, Any]) -> None:
        stored_by = state.get("_mmfusion_version", __version__)
        if stored_by != __version__:
            warnings.warn(
                f"this {type(self).__name__} was stored by mmfusion {stored_by} and is "
                f"loaded by {__version__}: it may predict otherwise, or not at all. "
                f"Fit it again, or install mmfusion=={stored_by}",
                UserWarning,
                stacklevel=2,
            )
        own = {k: v for k, v in state.items() if k != "_mmfusion_version"}
        super().__setstate__(own)  # type: ignore[misc]

    def _take_layout(self, other: Any) -> None:
        """Be fitted to the input of another estimator, which has checked it."""
        for name in _validation.LAYOUT_ATTRIBUTES:
            if hasattr(other, name):
                setattr(self, name, getattr(other, name))

    def _names_in(self, input_features: Any = None) -> list[np.ndarray]:
        """Names of the input's features by modality, as `fit` saw them, or as given."""
        given = self._checked_names(input_features)
        names = self._layout.prefixed_names()
        if input_features is None or hasattr(self, "feature_names_in_"):
            return names
        columns = self._positions_in()
        if columns is None:
            return names
        return [
            self._layout.prefixed(modality, given[own])
            for modality, own in zip(self._layout.names, columns, strict=True)
        ]

    def _checked_names(self, input_features: ArrayLike | None) -> np.ndarray:
        """Check names given to ``get_feature_names_out``, or return those of `fit`."""
        with errors_about("input_features"):
            plain = _blocks.as_plain(input_features, "input_features")
            if input_features is not None and np.ndim(plain) != 1:
                raise ValueError("input_features is no list of names")
            return check_feature_names_in(self, plain)

    def _positions_in(self) -> list[Any] | None:
        """Positions of each modality's features in the input; None if not known."""
        spec = getattr(self, "modalities", None)
        if isinstance(spec, Mapping) and list(spec) == list(self._layout.names):
            try:  # columns of a table without names
                table = np.empty((0, self.n_features_in_))
                return list(resolve_columns(spec, table).values())
            except ValueError:
                return None
        if sum(self._layout.widths) != self.n_features_in_:
            return None
        return list(_blocks.column_slices(list(self._layout.widths)))

    def _validate(self, X: Any, *, reset: bool, raw: bool = False) -> Modalities:
        if not reset:
            check_is_fitted(self)
        return _validation.validate_modalities(self, X, reset=reset, raw=raw)


class SupervisedMixin:
    """An estimator that is scored against a target, whose rows may have labels."""

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Score the predictions: by accuracy for classes, by R2 for values.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The data.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            The target.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the samples.

        Returns
        -------
        float
            The score.
        """
        labels = _validation.row_labels(X)
        check_row_labels(labels, y, "y")
        check_row_labels(labels, sample_weight, "sample_weight")
        predicted = self.predict(X)  # type: ignore[attr-defined]
        if sample_weight is not None:
            with errors_about("sample_weight"):
                weight = _blocks.as_plain(sample_weight, "sample_weight")
                sample_weight = check_sample_weight(weight, predicted)
                assert_all_finite(sample_weight, input_name="sample_weight")
        metric = accuracy_score if is_classifier(self) else r2_score
        with errors_about("y"):
            y = _blocks.as_plain(y, "y")
            return float(metric(y, predicted, sample_weight=sample_weight))


def _with_row_labels(method: Callable[..., Any]) -> Callable[..., Any]:
    """Give the output of a method the row labels of its input.

    scikit-learn gives those of a DataFrame only.
    """

    @wraps(method)
    def labelled(self: Any, X: Any, *args: Any, **kwargs: Any) -> Any:
        out = method(self, X, *args, **kwargs)
        labels = _validation.row_labels(X)
        if not isinstance(out, Modalities):
            return out if labels is None else with_labels(out, labels)
        if labels is None:
            return out._with_labels(_validation.row_labels(out.blocks))
        for name, block in out.to_dict().items():
            check_output_labels(labels, block, name)
        return out._with_labels(labels)

    return labelled


class PerModalityParams:
    """Nested parameters of estimators given in a dict by modality name.

    The dict is the constructor parameter named by ``_estimators_param``. Its entries
    are parameters of their own, as in a Pipeline: ``audio`` is the estimator,
    ``audio__n_components`` a parameter of it.
    """

    _estimators_param: str

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Get the parameters of this estimator and of those nested in it.

        Parameters
        ----------
        deep : bool, default=True
            Whether to go into nested estimators.

        Returns
        -------
        dict of str to object
            Values by parameter name.
        """
        params = super().get_params(deep=deep)  # type: ignore[misc]
        by_name = params.get(self._estimators_param)
        if deep and isinstance(by_name, Mapping):
            for name, estimator in by_name.items():
                params[name] = estimator
                if hasattr(estimator, "get_params") and not isinstance(estimator, type):
                    nested = estimator.get_params(deep=True)
                    params |= {f"{name}__{key}": value for key, value in nested.items()}
        return params

    def set_params(self, **params: Any) -> Any:
        """Set the parameters of this estimator and of those nested in it.

        Parameters
        ----------
        **params : dict
            Values by parameter name.

        Returns
        -------
        self
            The estimator.
        """
        own = self._estimators_param
        if own in params:  # before its entries
            setattr(self, own, params.pop(own))
        by_name = getattr(self, own)
        if isinstance(by_name, Mapping):
            entries = {key: params.pop(key) for key in list(params) if key in by_name}
            if entries:  # in a new dict: the old one is the user's
                setattr(self, own, {**by_name, **entries})
        return super().set_params(**params)  # type: ignore[misc]

    def _clone_by_modality(
        self, names: Sequence[str], default: Any = None
    ) -> list[Any]:
        """One unfitted estimator per modality; strings ('passthrough') stay."""
        own = self._estimators_param
        option = getattr(self, own)
        parameters = super().get_params(deep=False)  # type: ignore[misc]
        taken = set(names).intersection(parameters)
        if isinstance(option, Mapping) and taken:
            raise ValueError(
                f"modalities {sorted(taken)} are called like parameters of "
                f"{type(self).__name__}; rename them to give {own} by name"
            )
        option = default if option is None else option
        chosen = by_modality(option, names, own, default)
        chosen = [default if c is None else c for c in chosen]
        return [c if c is None or isinstance(c, str) else clone(c) for c in chosen]


class ModalityTransformerMixin(TransformerMixin):
    """A transformer that gives what it got: Modalities, or a 2-D table.

    `set_output` applies to the block of every modality, or to the table.
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        # scikit-learn would wrap the output once more, and knows one table only
        super().__init_subclass__(auto_wrap_output_keys=None, **kwargs)

    def set_output(self, *, transform: str | None = None) -> Any:
        """Set the container of the output.

        Parameters
        ----------
        transform : {'default', 'pandas', 'polars'}, default=None
            'pandas' and 'polars' give DataFrames, one per modality inside
            Modalities. None leaves the setting as it is.

        Returns
        -------
        self
            The estimator.
        """
        if transform is not None:
            # where scikit-learn's own mixin keeps it, so that clone copies it
            config = getattr(self, "_sklearn_output_config", {})
            self._sklearn_output_config = config | {"transform": transform}
        return self

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Name the features of the output's modalities.

        Parameters
        ----------
        input_features : array-like of str of shape (`n_features_in_`,), default=None
            Names of the input's features, checked against those of `fit`, if it saw
            any.

        Returns
        -------
        ndarray of str
            ``<modality>__<feature>``, modality after modality.
        """
        check_is_fitted(self)
        return np.concatenate(self._names_from(self._names_in(input_features)))

    def _names_from(self, names_in: list[np.ndarray]) -> list[np.ndarray]:
        """Names of the output's features by modality, from those of the input."""
        return self._names_out()

    def _names_out(self) -> list[np.ndarray]:
        """The same, where names of the input do not matter."""
        raise NotImplementedError

    def _names_of_output(self, frame: Modalities) -> list[np.ndarray]:
        """Names of the features of this output."""
        return self._names_from(self._names_in())

    def _output(self, frame: Modalities, *, like: Any) -> Any:
        """Give the transformed frame the form of the input."""
        adapter = container_adapter("transform", self)
        if _validation.is_multimodal(like):
            if adapter is None:
                return frame
            blocks = [
                adapter.create_container(_as_rows(b), b, columns=c, inplace=False)
                for b, c in zip(frame.blocks, self._names_of_output(frame), strict=True)
            ]
            return Modalities._of(frame.names, tuple(blocks), frame._mask)
        alone = frame.shape[1] == 1 and not sparse.issparse(frame.blocks[0])
        table = frame.blocks[0] if alone else frame.to_array()
        if adapter is None:
            return table
        names = np.concatenate(self._names_of_output(frame))
        table = _as_rows(table)
        return adapter.create_container(table, like, columns=names, inplace=False)


def _as_rows(block: Any) -> Any:
    """Bring an array of further dimensions into the form of a DataFrame."""
    if isinstance(block, np.ndarray) and block.ndim > 2:
        return block.reshape(len(block), -1)
    return block
