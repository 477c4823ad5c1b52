"""Imputation of missing modalities."""

from __future__ import annotations

from collections.abc import Iterable
from numbers import Integral
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from scipy import sparse
from sklearn.base import BaseEstimator
from sklearn.metrics import euclidean_distances, pairwise_distances
from sklearn.utils import Tags, gen_batches

from mmfusion._block_checks import ModalityTags
from mmfusion._blocks import Block, of_samples
from mmfusion._columns import SEPARATOR
from mmfusion._scaling import fit_scaling
from mmfusion._sklearn_compat import (
    INTEGER,
    Interval,
    StrOptions,
    fit_context,
)
from mmfusion._target_checks import validate_sample_weight
from mmfusion._typing import ColumnSpecLike, ModalitiesLike
from mmfusion.base import ModalityMixin, ModalityTransformerMixin
from mmfusion.modalities import Modalities

IMPUTED_CHUNK_CELLS = 2**24  # distances or values of neighbors in memory at once


class ModalityImputer(ModalityMixin, ModalityTransformerMixin, BaseEstimator):
    """Impute the missing modalities of samples.

    Modality v of sample i is imputed by a weighted mean over training samples j,

    .. math:: \\hat{x}_i^{(v)} = \\frac{\\sum_j w_j x_j^{(v)}}{\\sum_j w_j} ,

    where j has modality v: all such samples, or the nearest ones in the modalities that
    both samples have. The output is `Modalities` if the input has modalities, and else
    a table. Only whole modalities are imputed: for single cells that are NaN put
    ``PerModality(SimpleImputer())`` before it.

    Parameters
    ----------
    strategy : {'mean', 'knn', 'zero'}, default='mean'
        'mean': the mean of the samples that have the modality. 'knn': the mean of
        the nearest of them, by the modalities that both samples have; the mean of all
        if no sample shares a modality. 'zero': zeros.
    n_neighbors : int, default=5
        Number of neighbors of 'knn'.
    add_indicator : bool, default=False
        Whether a modality that was missing for some sample of `fit` gets one more
        feature at its end, 1 where it was imputed and 0 elsewhere.
    modalities : int, list of int, str or dict, default=None
        Column spec that splits a plain 2-D X; None takes it as one modality. See
        :meth:`Modalities.from_table`.

    Attributes
    ----------
    means_ : dict of str to ndarray of shape (n_features,)
        Mean of each modality over the samples that have it.
    has_missing_ : ndarray of bool of shape (n_modalities,)
        Whether each modality was missing for some sample of `fit`.
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

    Raises
    ------
    ValueError
        If a modality is missing for every sample of `fit`, or an observed row has a
        NaN.

    See Also
    --------
    sklearn.impute.SimpleImputer : Imputes single cells.

    Notes
    -----
    'knn' scales every modality to unit total variance, so that wide and narrow
    modalities count alike, and compares samples by the mean squared distance over the
    modalities that both have. It keeps the training data; its time grows with the
    number of samples to impute times the number of training samples. Sparse modalities
    stay sparse; rows that are imputed by means are dense among them.

    Examples
    --------
    >>> import numpy as np
    >>> from mmfusion import Modalities
    >>> from mmfusion.preprocessing import ModalityImputer
    >>> X = Modalities({"audio": [[1.0], [3.0], [3.2]], "video": [[5.0], [7.0], None]})
    >>> ModalityImputer().fit_transform(X)["video"].ravel().tolist()
    [5.0, 7.0, 6.0]
    >>> ModalityImputer("knn", n_neighbors=1).fit_transform(X)["video"].ravel().tolist()
    [5.0, 7.0, 7.0]
    """

    _parameter_constraints: dict = {
        "strategy": [StrOptions({"mean", "knn", "zero"})],
        "n_neighbors": [Interval(Integral, 1, None, closed="left")],
        "add_indicator": ["boolean"],
        "modalities": ["array-like", str, dict, INTEGER, None],
    }

    def __init__(
        self,
        strategy: str = "mean",
        *,
        n_neighbors: int = 5,
        add_indicator: bool = False,
        modalities: ColumnSpecLike = None,
    ) -> None:
        self.strategy = strategy
        self.n_neighbors = n_neighbors
        self.add_indicator = add_indicator
        self.modalities = modalities

    @fit_context(prefer_skip_nested_validation=True)
    def fit(
        self,
        X: ModalitiesLike,
        y: object = None,
        sample_weight: ArrayLike | None = None,
    ) -> Self:
        """Compute the means, or keep the neighbors, to impute from.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The data; see the user guide on input.
        y : object, default=None
            Not used.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the samples: the number of times that each counts, in means and
            among the neighbors. A sample of weight 0 is ignored.

        Returns
        -------
        self
            The fitted imputer.
        """
        frame = self._validate(X, reset=True)
        if sample_weight is not None:
            sample_weight = validate_sample_weight(sample_weight, frame)
        return self._fit_checked(frame, sample_weight)

    def _fit_checked(self, frame: Modalities, weight: np.ndarray | None) -> Self:
        """Fit on checked modalities; except for 'knn', cells may be NaN."""
        # samples of weight 0 are neither averaged nor donors of values
        if weight is not None and not weight.all():
            frame, weight = frame[weight > 0], weight[weight > 0]
        self.has_missing_ = np.asarray(~frame.observed.all(axis=0))
        observed = [
            (
                name,
                of_samples(block, own),
                None if weight is None else weight[own],
            )
            for name, block, own in _observed_blocks(frame)
        ]
        self.means_ = {
            name: _means_of_features(block, own) for name, block, own in observed
        }
        if self.strategy == "knn":
            self._scalings = [
                fit_scaling(block, "block", own) for _, block, own in observed
            ]
            self._donor_weights = np.ones(len(frame)) if weight is None else weight
            self._donors = Modalities._of(frame.names, frame.blocks, frame._mask)
            self._donors_scaled = self._scaled(frame)
        return self

    def transform(self, X: ModalitiesLike) -> Modalities | Any:
        """Impute the missing modalities.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The data.

        Returns
        -------
        Modalities or array
            Modalities if X had modalities, else a 2-D array.
        """
        return self._output(self._fill(self._validate(X, reset=False)), like=X)

    def _fill(self, frame: Modalities) -> Modalities:
        """Impute the missing modalities of checked ones."""
        blocks = []
        for v, (_, block, own) in enumerate(_observed_blocks(frame)):
            lacking = np.flatnonzero(~own)
            filled = block
            if lacking.size:
                filled = _with_rows(block, lacking, self._values(frame, v, lacking))
            if self.add_indicator and self.has_missing_[v]:
                flag = (~own).astype(filled.dtype)
                filled = _beside(filled, flag[:, None])
            blocks.append(filled)
        return Modalities._of(frame.names, tuple(blocks), None)

    def _values(
        self, frame: Modalities, v: int, lacking: np.ndarray
    ) -> np.ndarray | float:
        """Return values for the rows of a modality that are missing."""
        if self.strategy == "zero":
            return 0.0
        mean = self.means_[frame.names[v]]
        if self.strategy == "mean":
            return mean
        donors = np.flatnonzero(self._donors.observed[:, v])
        values = np.empty((len(lacking), len(mean)))
        cells = max(len(donors), self.n_neighbors * len(mean))
        for rows in gen_batches(len(lacking), max(1, IMPUTED_CHUNK_CELLS // cells)):
            distances = self._distances(frame[lacking[rows]], donors)
            values[rows] = _mean_of_neighbors(
                distances,
                self._donors.blocks[v][donors],
                self._donor_weights[donors],
                self.n_neighbors,
                mean,
            )
        return values

    def _scaled(self, frame: Modalities) -> list[Any]:
        """Return blocks of unit variance, with zeros for missing modalities."""
        return [
            _with_rows(scaling.apply(block), np.flatnonzero(~own), 0.0)
            for scaling, (_, block, own) in zip(
                self._scalings, _observed_blocks(frame), strict=True
            )
        ]

    def _distances(self, frame: Modalities, donors: np.ndarray) -> np.ndarray:
        """Return mean squared distances over the modalities that both samples have.

        The distance of samples that share none is infinite.
        """
        total = np.zeros((len(frame), len(donors)))
        n_shared = np.zeros_like(total)
        donors_observed = self._donors.observed[donors]
        for v, scaled in enumerate(self._scaled(frame)):
            both = frame.observed[:, [v]] & donors_observed[:, v]
            distances = _squared_distances(scaled, self._donors_scaled[v][donors])
            total += np.where(both, distances, 0)
            n_shared += both
        infinite = np.full_like(total, np.inf)
        return np.divide(total, n_shared, where=n_shared > 0, out=infinite)

    def _names_from(self, names_in: list[np.ndarray]) -> list[np.ndarray]:
        if not self.add_indicator:
            return names_in
        return [
            np.append(own, f"{modality}{SEPARATOR}missing") if had else own
            for own, modality, had in zip(
                names_in, self._layout.names, self.has_missing_, strict=True
            )
        ]

    def __modality_tags__(self) -> ModalityTags:
        return ModalityTags(missing=True, sparse=True)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


def _means_of_features(block: Block, weight: np.ndarray | None) -> np.ndarray:
    """Return the mean of each feature over its cells that are not NaN."""
    if weight is None:
        means = np.ravel(block.mean(axis=0, dtype=np.float64))
    else:
        means = np.ravel(weight @ block) / weight.sum()
    if np.isnan(means).any():
        cells = block.toarray() if sparse.issparse(block) else block
        weight = np.ones(len(cells)) if weight is None else weight
        observed = ~np.isnan(cells)
        sums = weight @ np.where(observed, cells, 0)
        counts = weight @ observed
        means = np.divide(
            sums, counts, where=counts > 0, out=np.full_like(sums, np.nan)
        )
    return means


def _observed_blocks(
    frame: Modalities,
) -> Iterable[tuple[str, Block, np.ndarray]]:
    """Return the name and block of each modality, and which samples have it."""
    return zip(frame.names, frame.blocks, frame.observed.T, strict=True)


def _with_rows(block: Block, rows: np.ndarray, values: np.ndarray | float) -> Block:
    """Replace rows, in a copy, by values that are broadcast to their shape."""
    if len(rows) == 0:
        return block
    if not sparse.issparse(block):
        block = block.copy()
        block[rows] = values
        return block
    # CSR matrices have no fast assignment of rows: build anew from both parts
    n_rows = block.shape[0]
    others = np.setdiff1d(np.arange(n_rows), rows)
    values = np.broadcast_to(values, (len(rows), block.shape[1]))
    stacked = sparse.vstack(
        [block[others], sparse.csr_array(values, dtype=block.dtype)], format="csr"
    )
    return stacked[np.argsort(np.concatenate([others, rows]))]


def _beside(block: Block, column: np.ndarray) -> Block:
    if sparse.issparse(block):
        return sparse.hstack([block, column], format="csr")
    return np.hstack([block, column])


def _squared_distances(a: Block, b: Block) -> np.ndarray:
    if sparse.issparse(a) or sparse.issparse(b):
        return euclidean_distances(a, b, squared=True)
    # sums of squared differences: |a|^2 + |b|^2 - 2ab would cancel
    return pairwise_distances(a, b, metric="sqeuclidean")


def _mean_of_neighbors(
    distances: np.ndarray,
    values: Block,
    weights: np.ndarray,
    n_neighbors: int,
    default: np.ndarray,
) -> np.ndarray:
    """Return the mean of the values at the smallest finite distances of each row.

    A value of weight 2 counts as two of the `n_neighbors` neighbors.
    """
    n_columns = min(n_neighbors, distances.shape[1])
    nearest = np.argsort(distances, axis=1, kind="stable")[:, :n_columns]
    is_finite = np.isfinite(np.take_along_axis(distances, nearest, axis=1))
    own = weights[nearest] * is_finite
    # the last neighbor may count by a part of its weight
    taken = np.clip(n_neighbors - (np.cumsum(own, axis=1) - own), 0, own)
    totals = taken.sum(axis=1, keepdims=True)
    if sparse.issparse(values):
        of = np.repeat(np.arange(len(nearest)), n_columns)
        chosen = sparse.csr_array(
            (taken.ravel(), (of, nearest.ravel())), shape=distances.shape
        )
        sums = (chosen @ values).toarray()
    else:
        sums = (values[nearest] * taken[:, :, None]).sum(axis=1)
    totals = np.where(totals > 0, totals, np.nan)
    return np.where(totals > 0, sums / totals, default)
