"""Early fusion: scale every modality and concatenate them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

import numpy as np
from numpy.typing import ArrayLike
from scipy import sparse
from sklearn import get_config
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils import Tags, check_array
from sklearn.utils.metadata_routing import get_routing_for_object
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted, has_fit_parameter

from mmfusion._blocks import Block, checked_csr, column_slices, of_samples
from mmfusion._columns import SEPARATOR
from mmfusion._dask_arrays import ChunkReader, is_dask_array
from mmfusion._options import (
    by_modality,
    errors_about,
    errors_name,
    weights_by_modality,
)
from mmfusion._row_chunks import by_row_chunks
from mmfusion._row_labels import check_row_labels
from mmfusion._scaling import SCALINGS
from mmfusion._scaling_choice import fit_scalings
from mmfusion._sklearn_compat import INTEGER, HasMethods, StrOptions, fit_context
from mmfusion._target_checks import validate_sample_weight
from mmfusion._typing import (
    ByModality,
    ColumnSpecLike,
    EstimatorLike,
    ModalitiesLike,
    NumericBlock,
)
from mmfusion._validation import ModalityTags
from mmfusion.base import ModalityMixin, PerModalityParams
from mmfusion.fusion._nested_estimators import DROP, check_reducers
from mmfusion.modalities import Modalities
from mmfusion.preprocessing._inner import checked_matrix, names_out


def _reducers_have_inverse(fusion: EarlyFusion) -> bool:
    """Return whether the reducers have an inverse, or raise the reason."""
    given = fusion.reducer
    for reducer in given.values() if isinstance(given, Mapping) else [given]:
        if isinstance(reducer, str) and reducer == DROP:
            continue
        if reducer is not None and not hasattr(reducer, "inverse_transform"):
            raise AttributeError(
                f"the reducer {type(reducer).__name__} has no inverse_transform"
            )
    return True


class EarlyFusion(PerModalityParams, ModalityMixin, TransformerMixin, BaseEstimator):
    """Transformer of modalities into one matrix: scale each, reduce each, concatenate.

    The fused matrix is ``[w_1 r_1(s_1(X_1)), ..., w_V r_V(s_V(X_V))]`` with weights w,
    reducers r and scalings s. The scaling decides on the share of a modality in
    squared distances: under per-feature standardisation that of a modality of 1000
    features is a hundred times that of one of 10.

    Parameters
    ----------
    scaling : {'auto', 'block', 'standard', 'l2'} or None or dict, default='auto'
        Scaling of each modality, or a dict by modality name ('auto' for those it does
        not name).

        - 'standard': every feature has mean 0 and variance 1;
        - 'block': the same, divided by the square root of the number of features
          that vary, so that the variance of a modality is 1 whatever its width;
        - 'l2': every row has unit length; beside modalities of 'block' those of 'l2'
          get a common factor that makes their mean variance 1 as well;
        - None: unchanged;
        - 'auto': 'l2' for counts, histograms and intensities, 'block' for other
          modalities, chosen from the values of each alone; the user guide has the rule
          and its accuracy.

        Sparse modalities are not centred.
    reducer : transformer or dict, default=None
        Dimension reduction of each scaled modality, for example ``PCA(10)``: one
        transformer that is cloned, or a dict by modality name, whose nested parameters
        are named ``audio__n_components``; modalities without one keep all features.
        'drop' in the dict leaves a modality out, as the weight 0 does.
    weights : {'uniform'}, array-like of shape (n_modalities,) or dict, \
default='uniform'
        Factor of each modality's block, as the ``transformer_weights`` of a
        FeatureUnion; its square is the weight of the modality in squared distances.
        'uniform' is 1 for all, and a dict gives 1 to modalities that it does not name.
        A modality of weight 0 is left out.
    modalities : int, list of int, str or dict, default=None
        Column spec that splits a plain 2-D X; None takes it as one modality. See
        :meth:`Modalities.from_table`.

    Attributes
    ----------
    scaling_ : dict of str to str
        Scaling of each modality; 'auto' is resolved. Like the next two without
        modalities of weight 0.
    reducers_ : dict of str to transformer
        Fitted reducers by modality; empty without any.
    columns_ : dict of str to slice
        Columns of the fused matrix by modality.
    modality_weights_ : ndarray of shape (n_modalities,)
        Weights of the modalities.
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
        If a sample lacks a modality (fill it with ModalityImputer), a cell is NaN
        or infinite, or later input has other modalities or widths than that of `fit`.

    See Also
    --------
    EarlyFusionClusterer : Clusters the fused matrix.
    LateFusionClusterer : Clusters each modality, then finds a consensus.

    Notes
    -----
    The result is dense unless a modality is sparse. For dense float data and without
    a reducer no array of the size of the data is made apart from the result. Memory
    maps and dask arrays are read by chunks of rows, in `fit` if there is no reducer.

    Examples
    --------
    >>> import numpy as np
    >>> from mmfusion import EarlyFusion, Modalities
    >>> rng = np.random.default_rng(0)
    >>> X = Modalities({"audio": rng.normal(size=(6, 2)),
    ...                 "text": rng.poisson(0.3, size=(6, 8))})
    >>> fusion = EarlyFusion().fit(X)
    >>> fusion.scaling_
    {'audio': 'block', 'text': 'l2'}
    >>> fusion.transform(X).shape
    (6, 10)
    """

    _estimators_param = "reducer"

    _parameter_constraints: dict = {
        "scaling": [StrOptions(set(SCALINGS)), None, dict],
        "reducer": [HasMethods(["fit", "transform"]), dict, None],
        "weights": [StrOptions({"uniform"}), "array-like", dict],
        "modalities": ["array-like", str, dict, INTEGER, None],
    }

    def __init__(
        self,
        scaling: ByModality[str | None] = "auto",
        *,
        reducer: EstimatorLike = None,
        weights: str | ArrayLike | dict[str, float] = "uniform",
        modalities: ColumnSpecLike = None,
    ) -> None:
        self.scaling = scaling
        self.reducer = reducer
        self.weights = weights
        self.modalities = modalities

    @fit_context(prefer_skip_nested_validation=False)
    def fit(
        self,
        X: ModalitiesLike,
        y: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> Self:
        """Fit the scaling and the reducers.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The data; see the user guide on input.
        y : object, default=None
            Passed on to the reducers; the scaling does not use it.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the samples in the scaling, and in the reducers whose `fit`
            takes any. A sample of weight 0 is left out.

        Returns
        -------
        self
            The fitted transformer.
        """
        check_reducers(self.reducer)
        frame = self._validate(X, reset=True)
        check_row_labels(frame._index, y, "y")
        if sample_weight is not None:
            sample_weight = validate_sample_weight(sample_weight, frame)
        return self._fit_checked(frame, y, sample_weight)

    def _fit_checked(
        self,
        frame: Modalities,
        y: ArrayLike | None,
        sample_weight: np.ndarray | None,
    ) -> Self:
        """Fit to a checked frame, without setting the layout of the input."""
        names = frame.names
        if sample_weight is not None and not sample_weight.all():
            counted = sample_weight > 0
            frame, sample_weight = frame[counted], sample_weight[counted]
            y = None if y is None else of_samples(y, counted)
        scaling = by_modality(self.scaling, names, "scaling", "auto", SCALINGS)
        reducers = self._clone_by_modality(names)
        given = None if isinstance(self.weights, str) else self.weights
        self.modality_weights_ = weights_by_modality(given, names)
        self.modality_weights_[[isinstance(r, str) for r in reducers]] = 0  # 'drop'
        if not self.modality_weights_.any():
            raise ValueError(
                "all modalities are dropped by reducer, or of weight 0; keep one"
            )
        used = np.flatnonzero(self.modality_weights_).tolist()
        fitted = fit_scalings(
            [_read_by_chunks(frame.blocks[v]) for v in used],
            [scaling[v] for v in used],
            sample_weight,
        )
        self._scalings = dict(zip(used, fitted, strict=True))
        self.scaling_ = {names[v]: s.name for v, s in self._scalings.items()}
        self.reducers_ = {
            names[v]: _fit_reducer(
                reducers[v], s.apply(frame.blocks[v]), y, sample_weight, names[v]
            )
            for v, s in self._scalings.items()
            if reducers[v] is not None
        }
        # the number of features that a reducer keeps is known by its output only
        widths = [
            self._fuse_one(frame[:1], v).shape[1]
            if names[v] in self.reducers_
            else frame.blocks[v].shape[1]
            for v in used
        ]
        self.columns_ = {
            names[v]: c for v, c in zip(used, column_slices(widths), strict=True)
        }
        return self

    @by_row_chunks
    def transform(self, X: ModalitiesLike) -> NumericBlock:
        """Transform modalities into the fused matrix.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The data.

        Returns
        -------
        ndarray or CSR matrix of shape (n_samples, n_features_out)
            The fused matrix.
        """
        return self._fuse(self._validate(X, reset=False))

    def _fuse(self, frame: Modalities, *, copy: bool = True) -> NumericBlock:
        """Transform a checked frame.

        Without `copy` the matrix of one unscaled modality is its block itself.
        """
        unchanged = len(frame.blocks) == 1 and not self.reducers_
        if unchanged and not copy and list(self.scaling_.values()) == [None]:
            return frame.blocks[0]
        used = np.flatnonzero(self.modality_weights_).tolist()
        if self.reducers_ or any(sparse.issparse(frame.blocks[v]) for v in used):
            pieces = [self._fuse_one(frame, v) for v in used]
            if any(map(sparse.issparse, pieces)):
                return sparse.hstack(pieces, format="csr")
            return np.hstack(pieces)
        columns = list(self.columns_.values())
        dtype = np.result_type(*(frame.blocks[v].dtype for v in used))
        # blocks are scaled in place: no second array of the size of the data is made
        fused = np.empty((len(frame), columns[-1].stop), dtype=dtype)
        for v, c in zip(used, columns, strict=True):
            with errors_name(frame.names[v]):
                self._scalings[v].apply(
                    frame.blocks[v], self.modality_weights_[v], out=fused[:, c]
                )
        return fused

    def _fuse_one(self, frame: Modalities, v: int) -> NumericBlock:
        """Transform one modality into its columns of the fused matrix."""
        name, weight = frame.names[v], float(self.modality_weights_[v])
        with errors_name(name):
            if name not in self.reducers_:
                return self._scalings[v].apply(frame.blocks[v], weight)
            scaled = self._scalings[v].apply(frame.blocks[v])
            reducer = self.reducers_[name]
            reduced = checked_matrix(reducer.transform(scaled), scaled, reducer, name)
            return reduced * weight  # a NumPy float would widen float32

    @available_if(_reducers_have_inverse)
    def inverse_transform(self, X: ArrayLike) -> Modalities:
        """Return the modalities of a fused matrix.

        Reducers, weights and scalings are reverted. What a reducer does not keep is
        lost, as are modalities of weight 0.

        Parameters
        ----------
        X : array-like or CSR matrix of shape (n_samples, n_features_out)
            Rows of the fused matrix.

        Returns
        -------
        Modalities
            The modalities of positive weight.

        Raises
        ------
        ValueError
            If a modality is scaled by 'l2', which does not keep norms, or the matrix
            has another number of columns.
        """
        check_is_fitted(self)
        columns = list(self.columns_.values())
        with errors_about("X"):
            given = checked_csr(X, "X") if sparse.issparse(X) else X
            matrix = check_array(
                given,
                accept_sparse="csr",
                dtype=[np.float64, np.float32],
                estimator=self,
            )
        if matrix.shape[1] != columns[-1].stop:
            raise ValueError(
                f"X has {matrix.shape[1]} columns, but the fused matrix has "
                f"{columns[-1].stop}"
            )
        blocks = {}
        for v, own in zip(self._scalings, columns, strict=True):
            name, weight = self._layout.names[v], float(self.modality_weights_[v])
            with errors_name(name):
                block = matrix[:, own]
                # a dense modality beside sparse ones was reduced or centred
                is_dense = name in self.reducers_ or np.any(self._scalings[v].center)
                if is_dense and sparse.issparse(block):
                    block = block.toarray()
                if name in self.reducers_:
                    block = self.reducers_[name].inverse_transform(block / weight)
                    weight = 1.0
                blocks[name] = self._scalings[v].revert(block, weight)
        return Modalities(blocks)

    def get_feature_names_out(
        self, input_features: ArrayLike | None = None
    ) -> np.ndarray:
        """Return the names of the columns of the fused matrix.

        Parameters
        ----------
        input_features : array-like of str of shape (`n_features_in_`,), default=None
            Names of the input's features, which must be those of `fit`, if its input
            had names.

        Returns
        -------
        ndarray of str
            ``<modality>__<feature>`` for every column.
        """
        check_is_fitted(self)
        names_in = self._names_in(input_features)
        names: list[str] = []
        for v in np.flatnonzero(self.modality_weights_):
            modality = self._layout.names[v]
            if modality in self.reducers_:
                prefix = modality + SEPARATOR
                own = [name.removeprefix(prefix) for name in names_in[v]]
                reducer = self.reducers_[modality]
                reduced = names_out(reducer, np.array(own, dtype=object), modality)
                names += [prefix + name for name in reduced]
            else:
                names += names_in[v].tolist()
        return np.array(names, dtype=object)

    def __modality_tags__(self) -> ModalityTags:
        # reducers are fitted to whole matrices
        return ModalityTags(sparse=True, chunked=self.reducer is None)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


def _read_by_chunks(block: Block) -> Block:
    return ChunkReader(block) if is_dask_array(block) else block


def _fit_reducer(
    reducer: BaseEstimator,
    block: NumericBlock,
    y: ArrayLike | None,
    sample_weight: np.ndarray | None,
    name: str,
) -> BaseEstimator:
    takes_weights = has_fit_parameter(reducer, "sample_weight")
    # with metadata routing, only if the reducer requests them
    if get_config()["enable_metadata_routing"]:
        takes_weights = get_routing_for_object(reducer).consumes(
            "fit", ["sample_weight"]
        )
    weighted = sample_weight is not None and takes_weights
    params = {"sample_weight": sample_weight} if weighted else {}
    with errors_name(name):
        return reducer.fit(block, y, **params)
