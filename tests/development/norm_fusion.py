"""Fusion of modalities into one norm each: the estimator of 'Adding an estimator'."""

from __future__ import annotations

from numbers import Real
from typing import Self

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from mmfusion._sklearn_compat import INTEGER, Interval, fit_context
from mmfusion._typing import ColumnSpecLike, ModalitiesLike
from mmfusion.base import ModalityMixin


class NormFusion(ModalityMixin, TransformerMixin, BaseEstimator):
    r"""Fuse modalities into one norm each.

    Sample i gets the feature :math:`\|x_{iv}\|_p` from every modality v.

    Parameters
    ----------
    order : float, default=2.0
        Order p of the norm, at least 1.
    modalities : int, list of int, str or dict, default=None
        Column spec that splits a plain 2-D X; None takes it as one modality. See
        :meth:`Modalities.from_table`.

    Attributes
    ----------
    n_modalities_in_ : int
        Number of modalities seen in `fit`.
    modality_names_in_ : ndarray of str of shape (n_modalities,)
        Names of the modalities.
    n_features_per_modality_in_ : ndarray of int of shape (n_modalities,)
        Their numbers of features.
    n_features_in_ : int
        Number of features in all.
    feature_names_in_ : ndarray of str of shape (`n_features_in_`,)
        Names ``<modality>__<feature>``, if the input had names.

    Examples
    --------
    >>> from mmfusion.fusion import NormFusion
    >>> NormFusion().fit_transform([[[3.0, 4.0]], [[-2.0]]])
    array([[5., 2.]])
    """

    _parameter_constraints: dict = {
        "order": [Interval(Real, 1, None, closed="left")],
        "modalities": ["array-like", str, dict, INTEGER, None],
    }

    def __init__(
        self, order: float = 2.0, *, modalities: ColumnSpecLike = None
    ) -> None:
        self.order = order
        self.modalities = modalities

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: ModalitiesLike, y: object = None) -> Self:
        """Learn the layout of the modalities.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The data.
        y : object, default=None
            Ignored.

        Returns
        -------
        self
            The fitted transformer.
        """
        self._validate(X, reset=True)
        return self

    def transform(self, X: ModalitiesLike) -> np.ndarray:
        """Compute the norms of the samples.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The data.

        Returns
        -------
        ndarray of shape (n_samples, n_modalities)
            The norms.
        """
        blocks = self._validate(X, reset=False).blocks
        return np.column_stack([np.linalg.norm(b, self.order, axis=1) for b in blocks])

    def get_feature_names_out(self, input_features: object = None) -> np.ndarray:
        """Name the features of the output.

        Parameters
        ----------
        input_features : array-like of str of shape (`n_features_in_`,), default=None
            Names of the input's features, ignored.

        Returns
        -------
        ndarray of str
            ``<modality>__norm``.
        """
        check_is_fitted(self)
        return np.array([f"{name}__norm" for name in self._layout.names], dtype=object)
