"""Input validation: X in any form becomes checked `Modalities`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from scipy import sparse
from sklearn.utils.validation import validate_data

from mmfusion import _blocks
from mmfusion._annotated import is_anndata, is_mudata
from mmfusion._block_checks import (
    FLOATS,
    BlockChecks,
    ModalityTags,
    cast_to_fitted,
    float_dtype,
    is_of_numbers,
)
from mmfusion._columns import (
    SEPARATOR,
    columns_by_name,
    default_names,
    multi_index_spec,
    resolve_columns,
)
from mmfusion._dask_arrays import is_dask_array
from mmfusion._numbers import as_numbers, is_frame
from mmfusion._options import errors_about
from mmfusion._remedies import Remedies
from mmfusion._row_labels import Labels, labels_of
from mmfusion._sequences import is_lone_block, sequences_of_table
from mmfusion._typing import ColumnSpecLike, ModalitiesLike
from mmfusion._warnings import warn_user
from mmfusion.modalities import Modalities

LAYOUT_ATTRIBUTES = (
    "_layout",
    "n_modalities_in_",
    "modality_names_in_",
    "n_features_per_modality_in_",
    "n_features_in_",
    "feature_names_in_",
)
# values of the tag `sequences` by which all modalities become sequences
TABLES_AS_SEQUENCES = frozenset({"require", "series", "frames"})


@dataclass(frozen=True)
class Layout:
    """The modalities of `fit`, against which later input is checked.

    Parameters
    ----------
    names : tuple of str
        Names of the modalities.
    widths : tuple of int
        Their numbers of features; of a frame, for sequences.
    feature_names : tuple of list of str or None
        Names of their features, without the modality; None without names.
    columns : dict of str to list of str or None
        Names of the columns of each modality, if X was one table with names.
    as_given : tuple of str
        Modalities that hold text or categories, which are passed on as they are.
    dtypes : tuple of str
        Dtype of the floats of each modality, '' for other blocks.
    sequences : tuple of str
        Modalities of sequences.
    unobserved : dict of str to ndarray of bool of shape (n_samples,), default=None
        Samples of `fit` that lack a modality, of those that are precomputed kernels.
    """

    names: tuple[str, ...]
    widths: tuple[int, ...]
    feature_names: tuple[list[str] | None, ...]
    columns: dict[str, list[str]] | None = None
    as_given: tuple[str, ...] = ()
    dtypes: tuple[str, ...] = ()
    sequences: tuple[str, ...] = ()
    unobserved: Mapping[str, np.ndarray] | None = None

    @property
    def frame_widths(self) -> dict[str, int]:
        """Number of features of a frame, of every modality of sequences."""
        widths = zip(self.names, self.widths, strict=True)
        return {name: width for name, width in widths if name in self.sequences}

    @property
    def is_named(self) -> bool:
        """Whether the modalities had names in `fit`."""
        return list(self.names) != default_names(len(self.names))

    def prefixed(self, modality: str, features: Iterable[str]) -> np.ndarray:
        """Return ``<modality>__<feature>`` for each feature.

        Features of a lone unnamed modality, such as a plain 2-D table, get no prefix.

        Parameters
        ----------
        modality : str
            Name of the modality.
        features : iterable of str
            Names of its features, with or without the prefix.

        Returns
        -------
        ndarray of str
            The names.
        """
        if self.names == tuple(default_names(1)):
            return np.array(list(features), dtype=object)
        prefix = modality + SEPARATOR
        names = [prefix + feature.removeprefix(prefix) for feature in features]
        return np.array(names, dtype=object)

    def prefixed_names(self) -> list[np.ndarray]:
        """Return the names of all features, by modality.

        Features without names are called x0, x1, ...

        Returns
        -------
        list of ndarray of str
            The names, as from `prefixed`.
        """
        return [
            self.prefixed(modality, given or [f"x{j}" for j in range(width)])
            for modality, width, given in zip(
                self.names, self.widths, self.feature_names, strict=True
            )
        ]


class MultimodalEstimator(Protocol):
    """An estimator that has its X validated: `ModalityMixin`."""

    modalities: ColumnSpecLike
    _layout: Layout
    n_modalities_in_: int
    modality_names_in_: np.ndarray
    n_features_per_modality_in_: np.ndarray
    n_features_in_: int
    feature_names_in_: np.ndarray

    def __modality_tags__(self) -> ModalityTags:
        """Return the kinds of input of the estimator."""
        ...


def is_multimodal(X: object) -> bool:
    """Return whether X has modalities (list of blocks, dict) or is one 2-D table."""
    if isinstance(X, Modalities) or is_anndata(X) or is_mudata(X):
        return True
    if sparse.issparse(X):  # before Mapping: dok_array is a dict
        return False
    if isinstance(X, Mapping) or multi_index_spec(X) is not None:
        return True
    return isinstance(X, list | tuple) and any(map(_is_block, X))


def _is_block(element: object) -> bool:
    """Return whether an element of a list is the block of a modality, not a row."""
    if _blocks.is_sequences(element):
        return any(np.ndim(sequence) >= 2 for sequence in element)
    if hasattr(element, "shape"):
        return len(element.shape) >= 2
    if not isinstance(element, list | tuple) or len(element) == 0:
        return False
    return not _blocks.is_table_row(element) and not isinstance(element[0], str)


def as_modalities(X: Any, spec: ColumnSpecLike = None) -> Modalities:
    """Convert X in any form, unchecked; a column spec splits a plain table."""
    if isinstance(X, Modalities):
        return X
    return Modalities(X) if is_multimodal(X) else Modalities.from_table(X, spec)


def row_labels(X: Any) -> Labels | None:
    """Return the row labels of X in any form, a pandas Index; None without labels."""
    if isinstance(X, Modalities):
        return X._index
    if is_anndata(X) or is_mudata(X):
        return X.obs_names
    blocks: Iterable[Any] = (X,)
    if isinstance(X, Mapping) and not sparse.issparse(X):
        blocks = X.values()
    elif isinstance(X, list | tuple):
        blocks = X
    return next((b.index for b in blocks if labels_of(b) is not None), None)


def validate_modalities(
    estimator: MultimodalEstimator,
    X: ModalitiesLike,
    *,
    reset: bool,
    raw: bool = False,
) -> Modalities:
    """Validate X in any form, and set or check the estimator's layout.

    Parameters
    ----------
    estimator : estimator
        Its ``modalities`` is the column spec of a 2-D X, its
        ``__modality_tags__()`` are the kinds of modalities that it takes.
    X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
        The data.
    reset : bool
        Whether the layout is set, as in `fit`, instead of checked.
    raw : bool, default=False
        Whether tables are passed on unchecked, to estimators that check them. Unless
        the tag `sequences` allows them, sequences are passed on as well.

    Returns
    -------
    Modalities
        The modalities in the order of `fit`: sequences as object arrays of 2-D float
        arrays, tables, unless `raw`, as 2-D float arrays or CSR matrices. Rows of
        samples that lack a modality have no meaning.
    """
    tags = estimator.__modality_tags__()
    fitted = None if reset else estimator._layout
    X, from_table = _checked_form(estimator, X, tags)
    if from_table:
        frame, feature_names, columns = _split_table(
            estimator, X, tags, reset=reset, raw=raw
        )
    else:
        frame = as_modalities(X)
        feature_names, columns = _names_of_features(frame), None
    if fitted is not None:
        frame = _in_fitted_order(estimator, frame)
    if len(frame) == 0:
        raise ValueError(
            f"Found array with 0 sample(s) while a minimum of 1 is required by "
            f"{type(estimator).__name__}"
        )
    remedies = Remedies(type(estimator).__name__, from_table, estimator.modalities)
    checks = BlockChecks(estimator, tags, remedies, fitted, raw)
    checks.refuse_dask_arrays(frame)
    read, observed = checks.read_sequences(frame)
    checked = checks.check_blocks(frame.names, read, observed, feature_names)
    blocks = checked.blocks
    layout = Layout(
        frame.names,
        checked.widths,
        tuple(feature_names[name] for name in frame.names),
        columns,
        checked.as_given,
        tuple(map(float_dtype, blocks)),
        checked.sequences,
        _unobserved_in_kernels(frame.names, observed, tags),
    )
    if fitted is None:
        _set_layout(estimator, layout, from_table=from_table)
    else:
        _check_layout(estimator, layout)
        if tags.same_dtype:
            blocks = cast_to_fitted(blocks, observed, fitted)
    # after the layout, which has the columns of tables as their features
    if tags.sequences in TABLES_AS_SEQUENCES:
        blocks = _tables_as_sequences(blocks, observed, estimator._layout, tags)
    # the names of fit, by which estimators find their parts: a later list has none
    return Modalities._of(
        estimator._layout.names, tuple(blocks), observed, frame._index
    )


def _tables_as_sequences(
    blocks: list[_blocks.Block],
    observed: np.ndarray,
    layout: Layout,
    tags: ModalityTags,
) -> list[_blocks.Block]:
    """Read the rows of the tables among the blocks as sequences, by the tag."""
    is_row_one_frame = tags.sequences == "frames" or bool(layout.sequences)
    return [
        block
        if name in layout.sequences
        else sequences_of_table(block, own, beside_sequences=is_row_one_frame)
        for name, block, own in zip(layout.names, blocks, observed.T, strict=True)
    ]


def _unobserved_in_kernels(
    names: tuple[str, ...], observed: np.ndarray, tags: ModalityTags
) -> dict[str, np.ndarray] | None:
    """Return the samples that lack a modality, of those that are kernels."""
    if tags.holds_kernel is None:
        return None
    return {
        name: ~own
        for name, own in zip(names, observed.T, strict=True)
        if not own.all() and tags.holds_kernel(name)
    }


def _checked_form(
    estimator: MultimodalEstimator, X: Any, tags: ModalityTags
) -> tuple[Any, bool]:
    """Return X, a lone block of sequences as a list, and whether it is one table."""
    if isinstance(X, list | tuple) and len(X) == 0:
        raise ValueError("X is empty: it holds no modality and no sample")
    if is_anndata(X) and estimator.modalities is not None:
        raise ValueError(
            f"modalities={estimator.modalities!r} splits the columns of a table; give "
            "the table, adata.to_df(), or its matrices as modalities, "
            "Modalities.from_anndata(adata, ...)"
        )
    if is_lone_block(X) and tags.reads_sequences(default_names(1)[0], X):
        X = [X]
    return X, not is_multimodal(X)


def _table_of(X: Any) -> np.ndarray:
    """Convert X to an array, or raise an error that has the widths of its rows."""
    try:
        return np.asarray(X)
    except ValueError as error:
        is_nested = isinstance(X, list | tuple)
        widths = (
            {len(row) for row in X if _blocks.is_table_row(row)} if is_nested else ()
        )
        if len(widths) < 2:
            raise
        raise ValueError(
            f"the rows of X have {sorted(widths)} values; give rows of one width, or "
            "[X] with arrays of shape (n_frames, n_features), one modality of sequences"
        ) from error


def _split_table(
    estimator: MultimodalEstimator,
    X: Any,
    tags: ModalityTags,
    *,
    reset: bool,
    raw: bool,
) -> tuple[Modalities, dict[str, list[str] | None], dict[str, list[str]] | None]:
    """Check one 2-D table as scikit-learn does, and split it by the column spec.

    A DataFrame is split before anything is converted, so that columns that belong to
    no modality are not converted, and errors name the column. Returns the modalities,
    the names of their features without the modality, and those of their columns.
    """
    X = _blocks.as_plain(X, "X")
    spec = estimator.modalities
    fitted = None if reset else estimator._layout.columns
    has_names = _blocks.column_names(X) is not None
    if fitted is not None and has_names and isinstance(spec, str | Mapping):
        # as in ColumnTransformer, the order of columns and further ones do not matter
        columns = columns_by_name(X, fitted)
        blocks = {n: _blocks.take_columns(X, c) for n, c in columns.items()}
        frame = Modalities(blocks)._with_labels(labels_of(X))
        return frame, _unprefixed_by_modality(fitted), fitted
    is_lazy = is_dask_array(X)
    if not (is_frame(X) or sparse.issparse(X) or is_lazy):
        X = _table_of(X)
    kind = getattr(getattr(X, "dtype", None), "kind", "")
    # values that may not be numbers are split first, so that errors name the modality
    apart = is_frame(X) or is_lazy or (kind in "OSTUMmV" and spec is not None)
    if not (raw or apart or is_of_numbers(X)):
        remedies = Remedies(type(estimator).__name__, from_table=True, spec=None)
        X = as_numbers(X, "X", remedies.encoder_before("X"))
    with errors_about("X"):
        table = validate_data(
            estimator,
            X,
            reset=reset,
            accept_sparse="csr" if tags.sparse else False,
            dtype=None if raw else FLOATS,
            ensure_all_finite=False,  # the check of blocks also finds the column
            skip_check_array=apart and getattr(X, "ndim", 2) == 2,
        )
    columns = resolve_columns(spec, table)
    names = getattr(estimator, "feature_names_in_", None)
    blocks = {n: _blocks.take_columns(table, c) for n, c in columns.items()}
    frame = Modalities(blocks)._with_labels(labels_of(X))
    if names is None:
        return frame, dict.fromkeys(columns), None
    by_modality = {n: list(names[c]) for n, c in columns.items()}
    return frame, _unprefixed_by_modality(by_modality), by_modality


def _names_of_features(frame: Modalities) -> dict[str, list[str] | None]:
    return {name: _unprefixed(name, frame._feature_names(name)) for name in frame.names}


def _unprefixed_by_modality(
    by_modality: Mapping[str, Iterable[str]],
) -> dict[str, list[str] | None]:
    return {name: _unprefixed(name, own) for name, own in by_modality.items()}


def _unprefixed(modality: str, features: Iterable[str] | None) -> list[str] | None:
    """Return the names of features without the modality: f0 for ``audio__f0``."""
    if features is None:
        return None
    return [f.removeprefix(modality + SEPARATOR) for f in features]


def _in_fitted_order(estimator: MultimodalEstimator, frame: Modalities) -> Modalities:
    """Bring modalities into the order of `fit`, by name; a list goes by position."""
    fitted = estimator._layout
    name = type(estimator).__name__
    if len(frame.names) != len(fitted.names):
        raise ValueError(
            f"X has {len(frame.names)} modalities, {list(frame.names)}, but {name} is "
            f"expecting {len(fitted.names)}, {list(fitted.names)}, as in fit; give a "
            "missing modality as None; a 2-D X is one modality unless "
            "modalities= splits its columns"
        )
    if set(frame.names) == set(fitted.names):
        return frame if frame.names == fitted.names else frame[list(fitted.names)]
    if list(frame.names) == default_names(len(frame.names)):
        return frame
    if not fitted.is_named:
        warn_user(
            f"X names its modalities {list(frame.names)}, but {name} was fitted "
            "without names; they are taken by position",
        )
        return frame
    unseen = [n for n in frame.names if n not in fitted.names]
    absent = [n for n in fitted.names if n not in frame.names]
    raise ValueError(
        f"The modality names should match those of fit: {unseen} unseen at fit, "
        f"{absent} seen at fit, yet now absent"
    )


def refuse_empty_samples(frame: Modalities) -> None:
    """Raise an error if a sample lacks every modality."""
    empty = np.flatnonzero(~frame.observed.any(axis=1))
    if empty.size:
        raise ValueError(
            f"sample {empty[0]} lacks every modality (NaN or None in all of them; "
            f"{empty.size} of {len(frame)} samples do): leave such samples out"
        )


def _set_layout(
    estimator: MultimodalEstimator, layout: Layout, *, from_table: bool
) -> None:
    estimator._layout = layout
    estimator.n_modalities_in_ = len(layout.names)
    estimator.modality_names_in_ = np.array(layout.names, dtype=object)
    estimator.n_features_per_modality_in_ = np.array(layout.widths)
    if from_table:
        # scikit-learn has set the attributes of the table, whose columns the column
        # spec need not cover
        return
    estimator.n_features_in_ = int(sum(layout.widths))
    if None not in layout.feature_names:
        estimator.feature_names_in_ = np.concatenate(layout.prefixed_names())
    elif hasattr(estimator, "feature_names_in_"):  # of an earlier fit
        del estimator.feature_names_in_


def _check_layout(estimator: MultimodalEstimator, layout: Layout) -> None:
    fitted = estimator._layout
    name = type(estimator).__name__
    for v, modality in enumerate(fitted.names):
        if layout.widths[v] != fitted.widths[v]:
            raise ValueError(
                f"modality {modality!r} of X has {layout.widths[v]} features, but "
                f"{name} is expecting {fitted.widths[v]} features as input"
            )
        now, then = layout.feature_names[v], fitted.feature_names[v]
        if None not in (now, then) and now != then:
            raise ValueError(
                f"modality {modality!r}: The feature names should match those that "
                f"were passed during fit: {list(then or ())}, in that order"
            )
