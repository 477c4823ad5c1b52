"""Splitting of one table into modalities, as a step of a Pipeline."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils import Tags

from mmfusion._block_checks import ModalityTags
from mmfusion._blocks import package_of
from mmfusion._sklearn_compat import INTEGER, fit_context
from mmfusion._typing import ColumnSpecLike, ModalitiesLike
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

    def transform(self, X: ModalitiesLike) -> Modalities | Any:
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

    def inverse_transform(self, X: ModalitiesLike) -> Any:
        """Return the table of modalities.

        Parameters
        ----------
        X : list, dict or Modalities
            The modalities of `transform`.

        Returns
        -------
        ndarray, CSR matrix or DataFrame of shape (n_samples, n_features)
            The table, with its columns in the order of `fit`: a DataFrame if the
            modalities are. Rows of modalities that a sample lacks are NaN.

        Raises
        ------
        ValueError
            If the modalities do not hold every column of the table once.
        """
        frame = self._validate(X, reset=False, raw=True)
        order = np.concatenate([np.r_[own] for own in self._columns_of_table()])
        if sorted(order.tolist()) != list(range(self.n_features_in_)):
            raise ValueError(
                f"the modalities {list(frame.names)} do not hold each of the "
                f"{self.n_features_in_} columns of the table of fit once, so that it "
                "cannot be put together; name every column in modalities="
            )
        if all(package_of(block) == "pandas" for block in frame.blocks):
            import pandas as pd

            table: Any = pd.concat(frame.blocks, axis=1).iloc[:, np.argsort(order)]
            return table.set_axis(self.feature_names_in_, axis=1)
        return frame.to_array()[:, np.argsort(order)]

    def _columns_of_table(self) -> list[Any]:
        """Return the positions of the columns of each modality in the table."""
        by_name = self._layout.columns
        if by_name is None:
            return self._positions_in() or []
        place = {name: p for p, name in enumerate(self.feature_names_in_)}
        return [[place[name] for name in columns] for columns in by_name.values()]

    def _names_from(self, names_in: list[np.ndarray]) -> list[np.ndarray]:
        return names_in

    def __modality_tags__(self) -> ModalityTags:
        return ModalityTags(sparse=True, missing=True)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = tags.input_tags.string = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags
