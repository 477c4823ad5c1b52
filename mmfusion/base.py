"""Mixins of all estimators: input, scores, nested estimators, output."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from scipy import sparse
from sklearn.base import BaseEstimator, TransformerMixin, clone, is_classifier
from sklearn.metrics import accuracy_score, r2_score
from sklearn.utils import Tags, assert_all_finite
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from mmfusion import __version__, _blocks, _validation
from mmfusion._block_checks import ModalityTags
from mmfusion._blocks import Block, is_sequences
from mmfusion._columns import resolve_columns
from mmfusion._options import by_modality, errors_about
from mmfusion._row_labels import check_output_labels, check_row_labels, with_labels
from mmfusion._sklearn_compat import (
    check_feature_names_in,
    check_sample_weight,
    container_adapter,
)
from mmfusion._typing import ColumnSpecLike, EstimatorLike, ModalitiesLike
from mmfusion._validation import Layout
from mmfusion._warnings import warn_user
from mmfusion.modalities import Modalities


class ModalityMixin:
    """Mixin of estimators whose X has modalities, in any of its forms.

    X is a list, a dict or Modalities, or one 2-D table, which the constructor parameter
    ``modalities``, the column spec, splits.
    """

    modalities: ColumnSpecLike
    _layout: Layout
    n_modalities_in_: int
    modality_names_in_: np.ndarray
    n_features_per_modality_in_: np.ndarray
    n_features_in_: int
    feature_names_in_: np.ndarray

    def __init_subclass__(cls, **kwargs: Any) -> None:
        own = [name for name in ("transform", "fit_transform") if name in vars(cls)]
        # of methods decorated by available_if, which the wrappers would undo
        checks = {name: getattr(vars(cls)[name], "check", None) for name in own}
        # scikit-learn wraps the methods here as well, for set_output
        super().__init_subclass__(**kwargs)
        for name, check in checks.items():
            labelled = _with_row_labels(getattr(cls, name))
            is_always = check is None
            setattr(cls, name, labelled if is_always else available_if(check)(labelled))

    def __modality_tags__(self) -> ModalityTags:
        return ModalityTags()

    def __sklearn_tags__(self) -> Tags:
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
            warn_user(
                f"this {type(self).__name__} was stored by mmfusion {stored_by} and is "
                f"loaded by {__version__}: it may predict otherwise, or not at all. "
                f"Fit it again, or install mmfusion=={stored_by}",
            )
        own = {k: v for k, v in state.items() if k != "_mmfusion_version"}
        super().__setstate__(own)  # type: ignore[misc]

    def _take_layout(self, other: ModalityMixin) -> None:
        """Copy the layout of another estimator, which has validated the input."""
        for name in _validation.LAYOUT_ATTRIBUTES:
            if hasattr(other, name):
                setattr(self, name, getattr(other, name))

    def _names_in(self, input_features: ArrayLike | None = None) -> list[np.ndarray]:
        """Return the names of the features of each modality, of `fit` or as given."""
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
                raise ValueError("input_features is not a list of names")
            return check_feature_names_in(self, plain)

    def _positions_in(self) -> list[Any] | None:
        """Return the columns of each modality in the input; None if unknown."""
        spec = getattr(self, "modalities", None)
        if isinstance(spec, Mapping) and list(spec) == list(self._layout.names):
            try:  # by positions or slices; names need the table itself
                table = np.empty((0, self.n_features_in_))
                return list(resolve_columns(spec, table).values())
            except ValueError:
                return None
        if sum(self._layout.widths) != self.n_features_in_:
            return None
        return list(_blocks.column_slices(list(self._layout.widths)))

    def _validate(
        self, X: ModalitiesLike, *, reset: bool, raw: bool = False
    ) -> Modalities:
        """Validate X; see `validate_modalities`."""
        if not reset:
            check_is_fitted(self)
        return _validation.validate_modalities(self, X, reset=reset, raw=raw)


class SupervisedMixin:
    """Mixin of classifiers and regressors, with the score of their predictions."""

    def score(
        self, X: ModalitiesLike, y: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> float:
        """Score the predictions by accuracy for classes, and by R2 for values.

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
    """Decorate a method to label the rows of its output like its input.

    scikit-learn does so for DataFrames only.
    """

    @wraps(method)
    def labelled(
        self: ModalityMixin, X: ModalitiesLike, *args: Any, **kwargs: Any
    ) -> Any:
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


class DefaultEstimatorParams:
    """Mixin of estimators whose nested estimators may be left at a default, by None.

    scikit-learn reaches nested parameters through objects only. Here those of the
    default stand in for None, and setting one makes the default, so that a search over
    ``clusterer__n_init`` works without a given clusterer.
    """

    def _default_estimators(self) -> Mapping[str, Callable[[], BaseEstimator]]:
        """Return what makes the default of each parameter that may be None."""
        return {}

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Get the parameters of this estimator and of those nested in it.

        Parameters
        ----------
        deep : bool, default=True
            Whether to return the parameters of nested estimators, too.

        Returns
        -------
        dict of str to object
            Values by parameter name.
        """
        params = super().get_params(deep=deep)  # type: ignore[misc]
        for name, make in self._default_estimators().items() if deep else ():
            if params[name] is None:
                params |= _nested_params(name, make())
        return params

    def set_params(self, **params: Any) -> Self:
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
        for name, make in self._default_estimators().items():
            is_default = params.get(name, getattr(self, name)) is None
            if is_default and any(key.startswith(f"{name}__") for key in params):
                params[name] = make()
        return super().set_params(**params)  # type: ignore[misc]


def _nested_params(name: str, estimator: BaseEstimator) -> dict[str, Any]:
    """Return the parameters of a nested estimator, after its name."""
    own = estimator.get_params(deep=True)
    return {f"{name}__{key}": value for key, value in own.items()}


class PerModalityParams(DefaultEstimatorParams):
    """Mixin of estimators with one nested estimator per modality, in a dict by name.

    The dict is the constructor parameter named by ``_estimators_param``, or by
    ``_reducers_param`` where only the reducers are given by name. Its entries
    are parameters, as the steps of a Pipeline are: ``audio`` is an estimator,
    ``audio__n_components`` a parameter of it, or of the default if it is None.
    """

    _estimators_param: str
    _reducers_param: str | None = None

    def _dict_param(self) -> str:
        """Return the parameter that may be a dict by modality name."""
        return self._reducers_param or self._estimators_param

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Get the parameters of this estimator and of those nested in it.

        Parameters
        ----------
        deep : bool, default=True
            Whether to return the parameters of nested estimators, too.

        Returns
        -------
        dict of str to object
            Values by parameter name.
        """
        params = super().get_params(deep=deep)
        by_name = params.get(self._dict_param())
        if deep and isinstance(by_name, Mapping):
            for name, given in by_name.items():
                params[name] = given
                estimator = self._or_default(given)
                if hasattr(estimator, "get_params") and not isinstance(estimator, type):
                    params |= _nested_params(name, estimator)
        return params

    def set_params(self, **params: object) -> Self:
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
        own = self._dict_param()
        if own in params:  # the dict is set before its entries
            setattr(self, own, params.pop(own))
        by_name = getattr(self, own)
        if isinstance(by_name, Mapping):
            entries = {key: params.pop(key) for key in list(params) if key in by_name}
            nested = {key.partition("__")[0] for key in params}
            for name in nested.intersection(by_name):
                if entries.get(name, by_name[name]) is None:
                    entries[name] = self._or_default(None)
            if entries:  # a new dict, since the old one is the user's
                setattr(self, own, {**by_name, **entries})
        return super().set_params(**params)

    def _or_default(self, estimator: EstimatorLike | str) -> Any:
        """Return the estimator of a modality, or the default if it is None."""
        make = self._default_estimators().get(self._dict_param())
        return make() if estimator is None and make is not None else estimator

    def _clone_by_modality(
        self, names: Sequence[str], default: EstimatorLike | str = None
    ) -> list[Any]:
        """Return an unfitted estimator per modality; strings ('passthrough') stay."""
        chosen = self._choose_by_modality(names, default)
        return [c if c is None or isinstance(c, str) else clone(c) for c in chosen]

    def _choose_by_modality(
        self, names: Sequence[str], default: EstimatorLike | str = None
    ) -> list[Any]:
        """Return the estimator of each modality as it was given."""
        own = self._dict_param()
        option = getattr(self, own)
        self._refuse_names_of_parameters(names)
        option = default if option is None else option
        chosen = by_modality(option, names, own, default)
        return [default if c is None else c for c in chosen]

    def _refuse_names_of_parameters(self, names: Sequence[str]) -> None:
        """Raise an error for modalities whose estimators could not be set by name."""
        own = self._dict_param()
        if not isinstance(getattr(self, own), Mapping):
            return
        taken = set(names).intersection(super().get_params(deep=False))
        if taken:
            raise ValueError(
                f"modalities {sorted(taken)} are called like parameters of "
                f"{type(self).__name__}; rename them to give {own} by name"
            )


class ModalityTransformerMixin(TransformerMixin):
    """Mixin of transformers from Modalities to Modalities, or from table to table.

    `set_output` applies to the block of every modality, or to the table.
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        # scikit-learn's own wrapper of the output expects one table
        super().__init_subclass__(auto_wrap_output_keys=None, **kwargs)

    def set_output(self, *, transform: str | None = None) -> Self:
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
            # the attribute of scikit-learn's own mixin, which clone copies
            config = getattr(self, "_sklearn_output_config", {})
            self._sklearn_output_config = config | {"transform": transform}
        return self

    def get_feature_names_out(
        self, input_features: ArrayLike | None = None
    ) -> np.ndarray:
        """Return the names of the features of the output's modalities.

        Parameters
        ----------
        input_features : array-like of str of shape (`n_features_in_`,), default=None
            Names of the input's features, checked against those of `fit`, if there are
            any.

        Returns
        -------
        ndarray of str
            ``<modality>__<feature>``, modality after modality.
        """
        check_is_fitted(self)
        return np.concatenate(self._names_from(self._names_in(input_features)))

    def _names_from(self, names_in: list[np.ndarray]) -> list[np.ndarray]:
        """Return the names of the output's features, from those of the input."""
        return self._names_out()

    def _names_out(self) -> list[np.ndarray]:
        """Return the names of the output's features, whatever those of the input."""
        raise NotImplementedError

    def _names_of_output(self, frame: Modalities) -> list[np.ndarray]:
        """Return the names of the features of one output, by modality."""
        return self._names_from(self._names_in())

    def _output(self, frame: Modalities, *, like: object) -> Any:
        """Return the transformed modalities in the form of the input."""
        adapter = container_adapter("transform", self)
        if _validation.is_multimodal(like):
            if adapter is None:
                return frame
            # containers hold tables only, so that sequences stay arrays
            blocks = [
                b
                if is_sequences(b)
                else adapter.create_container(_as_rows(b), b, columns=c, inplace=False)
                for b, c in zip(frame.blocks, self._names_of_output(frame), strict=True)
            ]
            return Modalities._of(frame.names, tuple(blocks), frame._mask)
        alone = frame.shape[1] == 1 and not sparse.issparse(frame.blocks[0])
        table = frame.blocks[0] if alone else frame.to_array()
        if adapter is None or is_sequences(table):
            return table
        names = np.concatenate(self._names_of_output(frame))
        table = _as_rows(table)
        return adapter.create_container(table, like, columns=names, inplace=False)


def _as_rows(block: Block) -> Block:
    """Flatten the samples of an array of more than 2 dimensions into rows."""
    if isinstance(block, np.ndarray) and block.ndim > 2:
        return block.reshape(len(block), -1)
    return block
