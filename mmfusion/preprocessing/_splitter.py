"""Splitting of one table into modalities, as a step of a Pipeline."""

from __future__ import annotations

from typing import Self

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils import Tags

from mmfusion._block_checks import ModalityTags
from mmfusion._sklearn_compat import INTEGER, fit_context
from mmfusion._typing import BlockLike, ColumnSpecLike, ModalitiesLike
from mmfusion.base import ModalityMixin, ModalityTransformerMixin
from mmfusion.modalities import Modalities


class ModalitySplitter(ModalityMixin, ModalityTransformerMixin, BaseEstimator):
    """Split the columns of one table into modalities.

    It is the first step of a Pipeline whose data are one table.

    Parameters
    ----------
    modalities : int, list of int, str or dict, default=None
        Column spec: a number of modalities of equal width, a list of widths, the
        separator in the columns' names, or a dict of columns by modality in any form
        that ColumnTransformer accepts. None leaves the table as it is.

    Attributes
    ----------
    n_modalities_in_ : int
        Number of modalities.
    modality_names_in_ : ndarray of str of shape (n_modalities,)
        Names of the modalities.
    n_features_per_modality_in_ : ndarray of int of shape (n_modalities,)
        Their numbers of features.
    n_features_in_ : int
        Number of columns of the table.
    feature_names_in_ : ndarray of str of shape (`n_features_in_`,)
        Names of the table's columns, if it has any.

    Raises
    ------
    ValueError
        If the spec does not fit the table.

    See Also
    --------
    Modalities.from_table : Splits a table without an estimator.

    Examples
    --------
    >>> import numpy as np
    >>> from mmfusion.preprocessing import ModalitySplitter
    >>> splitter = ModalitySplitter({"audio": [0, 1], "video": slice(2, 5)})
    >>> splitter.fit_transform(np.ones((3, 5)))
    Modalities of 3 samples x 2 modalities
      audio  dense (3, 2) float64
      video  dense (3, 3) float64
    """

    _parameter_constraints: dict = {
        "modalities": ["array-like", str, dict, INTEGER, None],
    }

    def __init__(self, modalities: ColumnSpecLike = None) -> None:
        self.modalities = modalities

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: ModalitiesLike, y: object = None) -> Self:
        """Resolve the column spec.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n_samples, n_features)
            The table. Data that already have modalities are left as they are.
        y : object, default=None
            Not used.

        Returns
        -------
        self
            The fitted splitter.
        """
        self._validate(X, reset=True, raw=True)
        return self

    def transform(self, X: ModalitiesLike) -> Modalities | BlockLike:
        """Split a table.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n_samples, n_features)
            The table.

        Returns
        -------
        Modalities
            The modalities; the table itself if ``modalities`` is None.
        """
        frame = self._validate(X, reset=False, raw=True)
        return self._output(frame, like=X if self.modalities is None else frame)

    def _names_from(self, names_in: list[np.ndarray]) -> list[np.ndarray]:
        return names_in

    def __modality_tags__(self) -> ModalityTags:
        return ModalityTags(sparse=True, missing=True)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = tags.input_tags.string = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags
