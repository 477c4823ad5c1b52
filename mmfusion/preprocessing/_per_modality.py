"""Transformation of every modality by a transformer of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from scipy import sparse
from sklearn import get_config
from sklearn.base import BaseEstimator
from sklearn.preprocessing import StandardScaler
from sklearn.utils import Tags, get_tags
from sklearn.utils.metadata_routing import (
    MetadataRouter,
    MethodMapping,
    process_routing,
)
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from mmfusion._accepted_cells import accepted_cells
from mmfusion._block_checks import ModalityTags
from mmfusion._blocks import (
    Block,
    column_names,
    is_frame,
    is_sequences,
    n_features,
    of_samples,
    over_all_samples,
)
from mmfusion._columns import SEPARATOR, default_names
from mmfusion._numbers import as_numbers
from mmfusion._options import check_estimators, errors_name
from mmfusion._progress import Job, Progress
from mmfusion._row_labels import check_row_labels
from mmfusion._sklearn_compat import (
    INTEGER,
    HasMethods,
    StrOptions,
    VisualBlock,
    fit_context,
)
from mmfusion._typing import (
    ColumnSpecLike,
    EstimatorLike,
    ModalitiesLike,
)
from mmfusion._validation import as_modalities, is_multimodal
from mmfusion.base import ModalityMixin, ModalityTransformerMixin, PerModalityParams
from mmfusion.modalities import Modalities
from mmfusion.preprocessing._inner import checked_rows, names_out
from mmfusion.preprocessing._sequence_layouts import frames_first, given_as_read_by

AS_IT_IS = ("passthrough", "drop")


def _all_have_inverse(estimator: PerModality) -> bool:
    """Return whether every modality can be transformed back, or raise the reason."""
    given = estimator.transformer
    for name, transformer in (
        given.items() if isinstance(given, Mapping) else [("every modality", given)]
    ):
        if (
            transformer is not None
            and transformer != "passthrough"
            and not hasattr(transformer, "inverse_transform")
        ):
            what = type(transformer).__name__
            what = repr(transformer) if isinstance(transformer, str) else what
            raise AttributeError(
                f"the transformer of {name}, {what}, has no inverse_transform"
            )
    return True


class PerModality(
    PerModalityParams, ModalityMixin, ModalityTransformerMixin, BaseEstimator
):
    """Transform every modality by a transformer of its own.

    The output is `Modalities` if the input has modalities, and else a table. A sample
    that lacks a modality lacks it in the output: transformers are fitted on, and
    applied to, only the samples that have their modality.

    Parameters
    ----------
    transformer : transformer, 'passthrough', 'drop' or dict, default=None
        Transformer that is cloned for every modality, or a dict of transformers by
        modality name, in which modalities that are not named pass through.
        'passthrough' leaves a modality as it is, 'drop' leaves it out. None is
        StandardScaler. Sequences are given in the layout that a transformer reads; see
        `sequence_layout`.
    modalities : int, list of int, str or dict, default=None
        Column spec that splits a plain 2-D X; None takes it as one modality. See
        :meth:`Modalities.from_table`.
    n_jobs : int, default=None
        Number of modalities transformed at once, in threads. None is 1 unless in a
        joblib context, -1 all processors.
    verbose : bool or int, default=False
        Whether to show the progress of the fits of transformers: True or 1 by a bar,
        where tqdm is installed and stderr is a terminal or a notebook, else by lines
        with their seconds; 2 by lines.

    Attributes
    ----------
    transformers_ : dict of str to transformer or str
        The fitted transformers by modality, or 'passthrough' and 'drop'.
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
        If a modality is missing for every sample of `fit`, all modalities are
        dropped, later input has other modalities or widths than that of `fit`, or a
        transformer raises an error, to which the name of the modality is added.

    See Also
    --------
    EarlyFusion : Scales, reduces and concatenates modalities.
    sklearn.compose.ColumnTransformer : Transforms columns of one table, and puts the
        outputs side by side; selects modalities by `modality_selector`.

    Examples
    --------
    >>> from sklearn.decomposition import PCA
    >>> from sklearn.preprocessing import StandardScaler
    >>> from mmfusion.datasets import load_digits_modalities
    >>> from mmfusion.preprocessing import PerModality
    >>> X, y = load_digits_modalities(return_X_y=True)
    >>> PerModality(StandardScaler()).fit_transform(X).shape
    (1797, 4)
    >>> reduce = PerModality({"pixels": PCA(10), "zernike": "drop"})
    >>> reduce.set_params(pixels__n_components=5).fit_transform(X)["pixels"].shape
    (1797, 5)
    """

    _estimators_param = "transformer"

    _parameter_constraints: dict = {
        "transformer": [
            HasMethods(["fit", "transform"]),
            StrOptions(set(AS_IT_IS)),
            dict,
            None,
        ],
        "modalities": ["array-like", str, dict, INTEGER, None],
        "n_jobs": [INTEGER, None],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        transformer: EstimatorLike | str = None,
        *,
        modalities: ColumnSpecLike = None,
        n_jobs: int | None = None,
        verbose: bool | int = False,
    ) -> None:
        self.transformer = transformer
        self.modalities = modalities
        self.n_jobs = n_jobs
        self.verbose = verbose

    @fit_context(prefer_skip_nested_validation=False)
    def fit(
        self, X: ModalitiesLike, y: ArrayLike | None = None, **params: object
    ) -> Self:
        """Fit the transformer of every modality.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The data; see the user guide on input.
        y : array-like of shape (n_samples,), default=None
            Target that is passed to the transformers.
        **params : dict
            Metadata for the transformers' `fit`; with metadata routing enabled, those
            that they request.

        Returns
        -------
        self
            The fitted transformer.
        """
        self._run("fit", self._start(X, y, params), y, params)
        return self

    @fit_context(prefer_skip_nested_validation=False)
    def fit_transform(
        self, X: ModalitiesLike, y: ArrayLike | None = None, **params: object
    ) -> Modalities | Any:
        """Fit the transformer of every modality, and transform the same data.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The data.
        y : array-like of shape (n_samples,), default=None
            Target that is passed to the transformers.
        **params : dict
            Metadata for the transformers' `fit`.

        Returns
        -------
        Modalities or array
            Modalities if X had modalities, else a 2-D array.
        """
        frame = self._start(X, y, params)
        return self._finish(frame, self._run("fit_transform", frame, y, params), X)

    def transform(self, X: ModalitiesLike) -> Modalities | Any:
        """Transform every modality.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The data.

        Returns
        -------
        Modalities or array
            Modalities if X had modalities, else a 2-D array.
        """
        frame = self._validate(X, reset=False, raw=True)
        return self._finish(frame, self._run("transform", frame, None, {}), X)

    @available_if(_all_have_inverse)
    def inverse_transform(self, X: ModalitiesLike) -> Modalities | Any:
        """Return transformed modalities to the features before.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features_out)
            The output of `transform`, or data of its form.

        Returns
        -------
        Modalities or array
            Modalities if X has modalities, else a 2-D array.

        Raises
        ------
        ValueError
            If X has other modalities than the output of `transform`.
        """
        check_is_fitted(self)
        frame = as_modalities(X, self.modalities)
        kept = [list(self.transformers_)[v] for v in self._kept()]
        if len(frame.names) != len(kept) or (
            list(frame.names) != kept and list(frame.names) != default_names(len(kept))
        ):
            raise ValueError(
                f"X has the modalities {list(frame.names)}, but transform returns "
                f"{kept}"
            )
        blocks = [
            _call_inverse(self.transformers_[name], name, block, own)
            for name, block, own in zip(
                kept, frame.blocks, frame.observed.T, strict=True
            )
        ]
        mask = None if frame.observed.all() else frame.observed
        inverse = Modalities._of(tuple(kept), tuple(blocks), mask, frame._index)
        return inverse if is_multimodal(X) else inverse.to_array()

    def _start(
        self, X: ModalitiesLike, y: ArrayLike | None, params: Mapping[str, object]
    ) -> Modalities:
        """Validate X, and clone the transformers."""
        check_estimators(
            self.transformer, "transformer", ["fit", "transform"], strings=AS_IT_IS
        )
        frame = self._validate(X, reset=True, raw=True)
        for key, value in {"y": y, **params}.items():
            check_row_labels(frame._index, value, key)
        chosen = self._chosen(frame.names)
        self._columns_in = [_frame_columns(block) for block in frame.blocks]
        if all(isinstance(t, str) and t == "drop" for t in chosen):
            raise ValueError("all modalities are dropped; keep at least one")
        self.transformers_ = dict(zip(frame.names, chosen, strict=True))
        return frame

    def _default_estimators(self) -> Mapping[str, Callable[[], BaseEstimator]]:
        return {"transformer": StandardScaler}

    def _chosen(self, names: Sequence[str]) -> list[Any]:
        """Return an unfitted transformer per modality; others pass through."""
        given = self.transformer
        if not isinstance(given, Mapping):
            return self._clone_by_modality(names, StandardScaler())
        chosen = self._clone_by_modality(names, "passthrough")
        return [
            StandardScaler() if given.get(name, "") is None else transformer
            for name, transformer in zip(names, chosen, strict=True)
        ]

    def _run(
        self,
        method: str,
        frame: Modalities,
        y: ArrayLike | None,
        params: Mapping[str, object],
    ) -> list[Block]:
        """Call a method of every transformer, and return the blocks not dropped."""
        routed = dict.fromkeys(frame.names, params)
        if params and get_config()["enable_metadata_routing"]:
            steps = process_routing(self, method, **params)
            template = not isinstance(self.transformer, Mapping)
            keys = {name: "transformer" if template else name for name in frame.names}
            routed = {
                name: steps[key].fit if key in steps else {}
                for name, key in keys.items()
            }
        jobs = [
            Job(
                f"modality {name!r}",
                _call,
                (transformer, method, name, block, own, y, routed[name]),
            )
            for (name, transformer), block, own in zip(
                self.transformers_.items(),
                map(_with_fitted_columns, frame.blocks, self._columns_in),
                frame.observed.T,
                strict=True,
            )
            if not (isinstance(transformer, str) and transformer == "drop")
        ]
        verbose = method != "transform" and self.verbose
        with Progress(type(self).__name__, len(jobs), "modality", verbose) as progress:
            # transformers are fitted in place, which processes could not do
            return progress.run(jobs, self.n_jobs, require="sharedmem")

    def _kept(self) -> list[int]:
        return [
            v
            for v, transformer in enumerate(self.transformers_.values())
            if not (isinstance(transformer, str) and transformer == "drop")
        ]

    def _finish(
        self, frame: Modalities, blocks: list[Block], X: ModalitiesLike
    ) -> Modalities | Any:
        kept = self._kept()
        observed = frame.observed[:, kept]
        mask = None if observed.all() else observed
        names = tuple(frame.names[v] for v in kept)
        return self._output(Modalities._of(names, tuple(blocks), mask), like=X)

    def _names_from(self, names_in: list[np.ndarray]) -> list[np.ndarray]:
        return [
            _names_after(name, transformer, names_in[v])
            for v, (name, transformer) in enumerate(self.transformers_.items())
            if v in self._kept()
        ]

    def _names_of_output(self, frame: Modalities) -> list[np.ndarray]:
        """Return the names of the output's features.

        As in ColumnTransformer, a transformer without names may return a DataFrame,
        whose columns are the names.
        """
        names_in, named = self._names_in(), []
        for v, block in zip(self._kept(), frame.blocks, strict=True):
            name, transformer = list(self.transformers_.items())[v]
            if isinstance(transformer, str) or hasattr(
                transformer, "get_feature_names_out"
            ):
                named.append(_names_after(name, transformer, names_in[v]))
                continue
            columns = _frame_columns(block) or [
                f"x{j}" for j in range(n_features(block))
            ]
            named.append(self._layout.prefixed(name, map(str, columns)))
        return named

    def get_metadata_routing(self) -> MetadataRouter:
        """Return the metadata that the transformers request.

        Returns
        -------
        MetadataRouter
            The routing of `fit` and `fit_transform` to the transformers' `fit`.
        """
        chosen = self.transformer
        if not isinstance(chosen, Mapping):
            chosen = {"transformer": StandardScaler() if chosen is None else chosen}
        mapping = MethodMapping().add(caller="fit", callee="fit")
        mapping.add(caller="fit_transform", callee="fit")
        router = MetadataRouter(owner=type(self).__name__)
        for name, transformer in chosen.items():
            if not isinstance(transformer, str):
                router.add(**{name: transformer}, method_mapping=mapping)
        return router

    def __modality_tags__(self) -> ModalityTags:
        return ModalityTags(sparse=True, missing=True)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        inner = StandardScaler() if self.transformer is None else self.transformer
        if hasattr(inner, "__sklearn_tags__"):
            of_inner = get_tags(inner)
            tags.input_tags.sparse = of_inner.input_tags.sparse
            tags.input_tags.allow_nan = of_inner.input_tags.allow_nan
            tags.target_tags.required = of_inner.target_tags.required
            tags.transformer_tags = of_inner.transformer_tags
        else:  # 'passthrough' and a dict may pass on any values
            tags.input_tags.allow_nan = tags.input_tags.string = True
        return tags

    def _sk_visual_block_(self) -> VisualBlock:
        chosen = getattr(self, "transformers_", self.transformer)
        if not isinstance(chosen, Mapping):
            chosen = {"every modality": chosen}
        return VisualBlock(
            "parallel",
            list(chosen.values()),
            names=list(chosen),
            name_details=list(map(str, chosen.values())),
        )


def _frame_columns(block: Block) -> list[Any] | None:
    return list(block.columns) if is_frame(block) else None


def _with_fitted_columns(block: Block, columns: list[Any] | None) -> Block:
    """Rename the columns of a DataFrame to those of `fit`.

    They differ by the prefix of the modality, which one of the two inputs had.
    """
    if columns is None or _frame_columns(block) in (None, columns):
        return block
    if hasattr(block, "set_axis"):
        return block.set_axis(columns, axis=1)
    return block.rename(dict(zip(block.columns, columns, strict=True)))


@contextmanager
def _cells_are_named(block: Block, transformer: BaseEstimator) -> Iterator[None]:
    """Name the cell in errors of a transformer of numbers about other values."""
    try:
        yield
    except (TypeError, ValueError, OverflowError):
        if not is_sequences(block) and not accepted_cells(transformer).text:
            what = f"the input of {type(transformer).__name__}"
            remedy = "encode it first, for example in a Pipeline by OneHotEncoder()"
            as_numbers(block, what, remedy, column_names(block))
        raise


def _call(
    transformer: Any,
    method: str,
    name: str,
    block: Block,
    own: np.ndarray,
    y: ArrayLike | None,
    params: Mapping[str, object],
) -> Block:
    """Call a method of a transformer on the samples that have its modality.

    `own` are these samples, a mask. The rows of other samples are NaN in the output.
    """
    if isinstance(transformer, str):
        return block
    if not own.any():  # only after fit, which raises an error
        return _missing_output(transformer, name, block)
    rows = of_samples(block, own)
    params = {key: of_samples(value, own) for key, value in params.items()}
    own_y = None if y is None else of_samples(y, own)
    with errors_name(name), _cells_are_named(rows, transformer):
        read = given_as_read_by(transformer, rows, name)
        if method == "transform":
            out = transformer.transform(read)
        elif method == "fit":
            return transformer.fit(read, own_y, **params)
        elif hasattr(transformer, "fit_transform"):
            out = transformer.fit_transform(read, own_y, **params)
        else:
            out = transformer.fit(read, own_y, **params).transform(read)
    out = checked_rows(frames_first(transformer, read, out), rows, transformer, name)
    return out if own.all() else _over_samples(out, own)


def _call_inverse(transformer: Any, name: str, block: Block, own: np.ndarray) -> Block:
    """Revert the transformer of a modality for the samples that have it."""
    if isinstance(transformer, str) or not own.any():
        return block
    rows = of_samples(block, own)
    with errors_name(name):
        read = given_as_read_by(transformer, rows, name)
        out = frames_first(transformer, read, transformer.inverse_transform(read))
        out = checked_rows(out, rows, transformer, name)
    return out if own.all() else _over_samples(out, own)


def _missing_output(transformer: Any, name: str, block: Block) -> np.ndarray:
    """Return the output for a block of which all samples lack the modality."""
    n_samples = block.shape[0]
    # without names the width is unknown, and missing sequences have none
    if not hasattr(transformer, "get_feature_names_out"):
        return np.full(n_samples, None)
    names = np.array([f"x{j}" for j in range(n_features(block))], dtype=object)
    return np.full((n_samples, len(names_out(transformer, names, name))), np.nan)


def _over_samples(out: Block, own: np.ndarray) -> Block:
    """Spread the output for the samples that have a modality over all samples."""
    if is_sequences(out):
        return over_all_samples(out, own, None)
    # by a product with a selection matrix, which leaves empty rows for missing samples
    if sparse.issparse(out):
        place = np.flatnonzero(own)
        ones = np.ones(len(place), dtype=out.dtype)
        spread = sparse.csr_array(
            (ones, (place, np.arange(len(place)))), shape=(len(own), len(place))
        )
        return (spread @ out).tocsr()
    return over_all_samples(np.asarray(out), own, np.nan)


def _names_after(name: str, transformer: Any, before: np.ndarray) -> np.ndarray:
    """Return the names of a modality's features after its transformer."""
    if isinstance(transformer, str):
        return before
    prefix = name + SEPARATOR
    own = np.array([f.removeprefix(prefix) for f in before], dtype=object)
    after = names_out(transformer, own, name)
    if not any(feature.startswith(prefix) for feature in before):
        return np.array(after, dtype=object)
    # columns of one table may have the prefix of their modality
    return np.array([prefix + f.removeprefix(prefix) for f in after], dtype=object)
