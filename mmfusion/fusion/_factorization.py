"""Joint non-negative matrix factorisation of modalities."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from scipy import sparse
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
)
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import Tags, check_array
from sklearn.utils.validation import check_is_fitted

from mmfusion._block_checks import ModalityTags
from mmfusion._blocks import of_samples
from mmfusion._options import by_modality, errors_about
from mmfusion._remedies import Remedies
from mmfusion._row_chunks import by_row_chunks
from mmfusion._sklearn_compat import Interval, fit_context
from mmfusion._typing import ByModality, ColumnSpecLike, ModalitiesLike, NumericBlock
from mmfusion._validation import is_multimodal, refuse_empty_samples
from mmfusion._warnings import warn_user
from mmfusion.base import ModalityMixin
from mmfusion.fusion.combination._factorization import (
    Counts,
    factorize,
    mean_sum,
    solve_weights,
    without_unit,
)
from mmfusion.modalities import Modalities

CONSENSUS_WEIGHT = 0.01
AT_LEAST_0 = Interval(Real, 0, None, closed="left")


class MultimodalNMF(
    ClassNamePrefixFeaturesOutMixin, ModalityMixin, TransformerMixin, BaseEstimator
):
    """Joint non-negative matrix factorisation of modalities (MultiNMF).

    Non-negative weights W_v, parts H_v and a consensus C minimise
    ``sum_v ||X_v - W_v H_v||^2 + a_v ||W_v Q_v - C||^2``, where Q_v is the diagonal
    matrix of the sums of the parts, so that weights of modalities compare, and X_v is
    divided by the mean sum of its samples. The consensus is the transformed data.

    Parameters
    ----------
    n_components : int, default=10
        Number of components. The authors take the number of clusters.
    consensus_weight : float or dict, default=0.01
        Weight a_v > 0 of the distance of a modality to the consensus. A dict has
        values by modality name (0.01 for those that it does not name). A modality of
        weight 0 is left out.
    max_iter : int, default=200
        Largest number of iterations.
    tol : float, default=1e-5
        Iterations end when one reduces the objective by less than this share of
        ``sum_v ||X_v||^2``.
    modalities : int, list of int, str or dict, default=None
        Column spec that splits a plain 2-D X; None takes it as one modality. See
        :meth:`Modalities.from_table`.

    Attributes
    ----------
    components_ : dict of str to ndarray of shape (`n_components`, n_features)
        Parts of each modality; the sum of each is 1. Like the next two without
        modalities of weight 0.
    scales_ : dict of str to float
        Mean sum of the samples of each modality, by which it is divided.
    consensus_weights_ : dict of str to float
        Weight of each modality in the consensus.
    objective_history_ : ndarray of shape (`n_iter_`,)
        Objective after each iteration; it never rises.
    n_iter_ : int
        Number of iterations.
    n_modalities_in_ : int
        Number of modalities seen in `fit`.
    modality_names_in_ : ndarray of str of shape (n_modalities,)
        Names of the modalities.
    n_features_per_modality_in_ : ndarray of int of shape (n_modalities,)
        Number of features of each modality.
    n_features_in_ : int
        Number of features in all.
    feature_names_in_ : ndarray of str of shape (`n_features_in_`,)
        Names ``<modality>__<feature>``, if the input had names.

    Raises
    ------
    ValueError
        If a value is negative, a sample lacks every modality of a positive consensus
        weight, or later input has other modalities or widths than that of `fit`.

    Warns
    -----
    ConvergenceWarning
        If `max_iter` iterations were not enough.

    See Also
    --------
    MultimodalCCA : What modalities have in common, for values of any sign.
    sklearn.decomposition.NMF : Factorisation of one matrix.

    Notes
    -----
    The authors update by multiplication. Here each update is the exact minimum over
    one component of one factor (Cichocki and Phan 2009), which needs a fraction of the
    iterations. The normalisation of the parts leaves the objective as it is, and the
    start is that of singular vectors (Boutsidis and Gallopoulos 2008), so that there
    is no random state.

    Samples may lack modalities, whose terms are left out. Sparse modalities are not
    made dense. New samples are transformed with the parts of `fit`; the result for
    samples of `fit` is computed in the same way.

    Long samples have large weights. For clusters by content, bring samples of each
    modality to unit length before, by ``PerModality(Normalizer())``.

    References
    ----------
    Liu, J., Wang, C., Gao, J. & Han, J. (2013). Multi-view clustering via joint
    nonnegative matrix factorization. *SIAM International Conference on Data Mining*,
    252-260.

    Cichocki, A. & Phan, A. H. (2009). Fast local algorithms for large scale nonnegative
    matrix and tensor factorizations. *IEICE Transactions on Fundamentals* E92-A(3),
    708-721.

    Boutsidis, C. & Gallopoulos, E. (2008). SVD based initialization: a head start for
    nonnegative matrix factorization. *Pattern Recognition* 41(4), 1350-1362.

    Examples
    --------
    >>> import numpy as np
    >>> from mmfusion import Modalities, MultimodalNMF
    >>> rng = np.random.default_rng(0)
    >>> topics = rng.dirichlet([0.2, 0.2], size=100)
    >>> X = Modalities({"text": rng.poisson(topics @ rng.gamma(1.0, size=(2, 8))),
    ...                 "tags": rng.poisson(topics @ rng.gamma(1.0, size=(2, 5)))})
    >>> nmf = MultimodalNMF(n_components=2).fit(X)
    >>> nmf.transform(X).shape
    (100, 2)
    >>> nmf.components_["tags"].sum(axis=1).round(6).tolist()
    [1.0, 1.0]
    """

    _parameter_constraints: dict = {
        "n_components": [Interval(Integral, 1, None, closed="left")],
        "consensus_weight": [Interval(Real, 0, None, closed="neither"), dict],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "tol": [AT_LEAST_0],
        "modalities": ["array-like", str, dict, Integral, None],
    }

    def __init__(
        self,
        n_components: int = 10,
        *,
        consensus_weight: ByModality[float] = CONSENSUS_WEIGHT,
        max_iter: int = 200,
        tol: float = 1e-5,
        modalities: ColumnSpecLike = None,
    ) -> None:
        self.n_components = n_components
        self.consensus_weight = consensus_weight
        self.max_iter = max_iter
        self.tol = tol
        self.modalities = modalities

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: ModalitiesLike, y: object = None) -> Self:
        """Fit the parts of the modalities.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The data, without negative values; see the user guide on input.
        y : object, default=None
            Not used.

        Returns
        -------
        self
            The fitted transformer.
        """
        frame = self._validate(X, reset=True)
        self.consensus_weights_ = self._weights(frame.names)
        used = self._used(frame)
        blocks, units = zip(
            *map(without_unit, self._observed_blocks(used, X)), strict=True
        )
        counts = [Counts(block, mean_sum(block)) for block in blocks]
        found = factorize(
            counts,
            used.observed,
            np.array(list(self.consensus_weights_.values())),
            self.n_components,
            max_iter=self.max_iter,
            tol=self.tol,
        )
        self.components_ = dict(zip(used.names, found.parts, strict=True))
        self.scales_ = {
            name: own.scale * unit
            for name, own, unit in zip(used.names, counts, units, strict=True)
        }
        self.objective_history_ = np.array(found.history)
        self.n_iter_ = len(found.history)
        if not found.converged:
            warn_user(
                f"the factorisation has not converged in {self.max_iter} iterations; "
                "raise max_iter or tol",
                ConvergenceWarning,
            )
        return self

    @by_row_chunks
    def transform(self, X: ModalitiesLike) -> np.ndarray:
        """Compute the consensus of samples, with the parts of `fit`.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The data, without negative values.

        Returns
        -------
        ndarray of shape (n_samples, `n_components`)
            Weights of the parts: the mean of those in the modalities that a sample
            has, by their consensus weights.
        """
        frame = self._validate(X, reset=False)
        used = self._used(frame)
        _, consensus = solve_weights(
            self._counts(used, X),
            used.observed,
            np.array(list(self.consensus_weights_.values())),
            list(self.components_.values()),
        )
        return consensus.astype(np.result_type(*(b.dtype for b in frame.blocks)))

    def transform_modalities(self, X: ModalitiesLike) -> Modalities:
        """Compute the weights of the parts in each modality by itself.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The data, without negative values.

        Returns
        -------
        Modalities
            Of each modality of positive weight, an array of shape (n_samples,
            `n_components`); missing as in X. They compare between modalities, since
            all parts have the sum 1.
        """
        used = self._validate(X, reset=False)[list(self.components_)]
        found = {}
        for name, block, counts, own in zip(
            used.names,
            used.blocks,
            self._counts(used, X),
            used.observed.T,
            strict=True,
        ):
            alone = np.ones((int(own.sum()), 1), dtype=bool)
            _, weights = solve_weights(
                [counts], alone, np.ones(1), [self.components_[name]]
            )
            found[name] = np.zeros((len(used), weights.shape[1]), dtype=block.dtype)
            found[name][own] = weights
        return Modalities(found, observed=used.observed)

    def inverse_transform(self, X: ArrayLike) -> Modalities:
        """Compute the modalities that weights of the parts stand for.

        Parameters
        ----------
        X : array-like of shape (n_samples, `n_components`)
            Weights, as `transform` returns them.

        Returns
        -------
        Modalities
            Of each modality of positive weight, the weighted sums of its parts, in the
            unit of `fit`.

        Raises
        ------
        ValueError
            If X has another number of columns.
        """
        check_is_fitted(self)
        with errors_about("X"):
            weights = check_array(X, dtype=[np.float64, np.float32], estimator=self)
        n_components = self._n_features_out
        if weights.shape[1] != n_components:
            raise ValueError(
                f"X has {weights.shape[1]} columns, but there are {n_components} "
                "components; give weights as transform returns them"
            )
        return Modalities(
            {
                name: (weights @ (parts * self.scales_[name])).astype(weights.dtype)
                for name, parts in self.components_.items()
            }
        )

    def _weights(self, names: Sequence[str]) -> dict[str, float]:
        """Return the weight in the consensus of each modality that has one."""
        given = by_modality(
            self.consensus_weight, names, "consensus_weight", CONSENSUS_WEIGHT
        )
        for name, weight in zip(names, given, strict=True):
            if not AT_LEAST_0.is_satisfied_by(weight) or not np.isfinite(weight):
                raise ValueError(
                    f"consensus_weight of modality {name!r} is a finite number of at "
                    f"least 0; got {weight!r}"
                )
        positive = {n: float(w) for n, w in zip(names, given, strict=True) if w > 0}
        if not positive:
            raise ValueError(
                "consensus_weight is 0 for all modalities, which leaves them out; give "
                "at least one of them a positive weight"
            )
        return positive

    def _used(self, frame: Modalities) -> Modalities:
        """Return the modalities of positive weight; refuse samples without any."""
        refuse_empty_samples(frame)
        used = frame[list(self.consensus_weights_)]
        lacking = ~used.observed.any(axis=1)
        if lacking.any():
            raise ValueError(
                f"sample {int(np.argmax(lacking))} lacks the modalities "
                f"{list(used.names)}, the only ones of a positive consensus_weight "
                f"({int(lacking.sum())} of {len(frame)} samples do): leave them out, "
                "or fit with a positive weight of a modality that they have"
            )
        return used

    def _observed_blocks(
        self, frame: Modalities, X: ModalitiesLike
    ) -> list[NumericBlock]:
        """Return the samples that each modality has; refuse negative values."""
        remedies = Remedies(type(self).__name__, not is_multimodal(X), self.modalities)
        blocks = list(map(of_samples, frame.blocks, frame.observed.T))
        for name, block, own in zip(frame.names, blocks, frame.observed.T, strict=True):
            place = _first_negative(block)
            if place is not None:
                sample = int(np.flatnonzero(own)[place[0]])
                raise ValueError(
                    f"Negative values in data passed to {type(self).__name__}: "
                    f"modality {name!r} is {place[2]:g} for sample {sample}, feature "
                    f"{place[1]}. {_remedy(block, name, remedies)}"
                )
        return blocks

    def _counts(self, frame: Modalities, X: ModalitiesLike) -> list[Counts]:
        blocks = map(without_unit, self._observed_blocks(frame, X))
        return [
            Counts(block, scale / unit)
            for (block, unit), scale in zip(blocks, self.scales_.values(), strict=True)
        ]

    @property
    def _n_features_out(self) -> int:
        return len(next(iter(self.components_.values())))

    def __modality_tags__(self) -> ModalityTags:
        return ModalityTags(missing=True, sparse=True)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.positive_only = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


def _first_negative(block: Any) -> tuple[int, int, float] | None:
    """Return the row, the column and the value of the first negative entry."""
    values = block.data if sparse.issparse(block) else block
    if not values.size or values.min() >= 0:
        return None
    if sparse.issparse(block):
        entries = block.tocoo()
        first = int(np.argmax(entries.data < 0))
        return int(entries.row[first]), int(entries.col[first]), values[first]
    row, column = np.argwhere(block < 0)[0]
    return int(row), int(column), float(block[row, column])


def _remedy(block: NumericBlock, name: str, remedies: Remedies) -> str:
    if sparse.issparse(block):
        return (
            "Factorise its positive and negative parts side by side, "
            "scipy.sparse.hstack([A.maximum(0), (-A).maximum(0)]), or use MultimodalCCA"
        )
    scaler = remedies.transformer_before(name, "MinMaxScaler(clip=True)")
    return f"Scale it in a Pipeline by {scaler}, or use MultimodalCCA"
