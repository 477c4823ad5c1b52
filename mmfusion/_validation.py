"""The one door for X: every form of input becomes validated `Modalities` here."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.utils import assert_all_finite, check_array, check_consistent_length
from sklearn.utils.validation import validate_data

from mmfusion import _blocks
from mmfusion._blocks import Block
from mmfusion._columns import (
    SEPARATOR,
    ColumnSpec,
    columns_by_name,
    default_names,
    multi_index_spec,
    resolve_columns,
)
from mmfusion._numbers import (
    as_numbers,
    cell_name,
    holds_other_than_numbers,
    is_frame,
    with_nan_for_na,
)
from mmfusion._options import errors_about
from mmfusion._row_labels import check_row_labels, labels_of
from mmfusion._sklearn_compat import (
    check_feature_names_in,
    check_sample_weight,
    check_y,
)
from mmfusion.modalities import Modalities

FLOATS = (np.float64, np.float32)
LAYOUT_ATTRIBUTES = (
    "_layout",
    "n_modalities_in_",
    "modality_names_in_",
    "n_features_per_modality_in_",
    "n_features_in_",
    "feature_names_in_",
)


def check_target(estimator: Any, frame: Modalities, y: Any, **options: Any) -> Any:
    """Check what is to be predicted.

    Parameters
    ----------
    estimator : estimator
        Whose `fit` got it.
    frame : Modalities
        The samples.
    y : array-like of shape (n_samples,) or (n_samples, n_outputs)
        One value, or several, for each.
    **options : dict
        As scikit-learn's own check takes them: ``multi_output``, ``y_numeric``.

    Returns
    -------
    ndarray of shape (n_samples,) or (n_samples, n_outputs)
        The same.

    Raises
    ------
    ValueError
        If there is none, or not one per sample, it is NaN or infinite, or its row
        labels differ from those of `frame`.
    """
    if y is None:
        raise ValueError(
            f"{type(estimator).__name__} requires y to be passed, but the target y is "
            "None"
        )
    check_row_labels(frame._index, y, "y")
    if sparse.issparse(y):
        raise TypeError("y is a sparse matrix; give a dense array, by y.toarray()")
    with errors_about("y"):
        y = check_y(_blocks.as_plain(y, "y"), estimator=estimator, **options)
        if y.dtype.kind == "V":
            raise TypeError(f"y holds records ({y.dtype}); give one value each")
        if options.get("y_numeric"):
            y = y if y.dtype.kind == "f" else y.astype(np.float64)
            assert_all_finite(y, input_name="y")  # None among objects is NaN by now
    check_consistent_length(frame, y)
    return y


@dataclass(frozen=True)
class ModalityTags:
    """What an estimator takes, beyond scikit-learn's own tags.

    Parameters
    ----------
    missing : bool, default=False
        Whether samples may lack modalities.
    sparse : bool, default=False
        Whether a modality may be a sparse matrix.
    images : bool, default=False
        Whether modalities keep further dimensions, as images have; otherwise a
        sample becomes a row.
    column_per_sample : bool, default=False
        Whether what a transformer gives has a column for each sample of `fit`.
    same_dtype : bool, default=False
        Whether later floats are cast to the dtype of `fit`, since compiled functions
        of estimators inside insist on it.
    takes_nan, takes_text : callable, default=None
        Given the name of a modality, return whether what it is handed to takes cells
        that are NaN, or what is no number (text, categories), as in `accepted_cells`.
        None means that no modality may hold them.
    holds_kernel : callable, default=None
        Given the name of a modality, return whether it is a precomputed kernel, of
        which nothing is imputed. None means that none is.
    """

    missing: bool = False
    sparse: bool = False
    images: bool = False
    column_per_sample: bool = False
    same_dtype: bool = False
    takes_nan: Callable[[str], bool] | None = None
    takes_text: Callable[[str], bool] | None = None
    holds_kernel: Callable[[str], bool] | None = None


@dataclass(frozen=True)
class Layout:
    """What `fit` remembers of its input to hold later input to it."""

    names: tuple[str, ...]
    widths: tuple[int, ...]
    feature_names: tuple[list[str] | None, ...]
    columns: dict[str, list[str]] | None = None  # by modality, of a table with names
    as_given: tuple[str, ...] = ()  # modalities that hold other than numbers
    dtypes: tuple[str, ...] = ()  # of the floats of each modality, '' of other blocks

    @property
    def is_named(self) -> bool:
        return list(self.names) != default_names(len(self.names))


def is_multimodal(X: Any) -> bool:
    """Tell input by modality (list of blocks, dict, frame) from one 2-D table."""
    if isinstance(X, Modalities):
        return True
    if sparse.issparse(X):  # before Mapping: dok_array is a dict
        return False
    if isinstance(X, Mapping) or multi_index_spec(X) is not None:
        return True
    return isinstance(X, list | tuple) and any(map(_is_block, X))


def _is_block(element: Any) -> bool:
    if _blocks.is_sequences(element):
        return any(np.ndim(sequence) >= 2 for sequence in element)
    if hasattr(element, "shape"):
        return len(element.shape) >= 2
    if not isinstance(element, list | tuple) or len(element) == 0:
        return False
    return not _blocks.is_table_row(element) and not isinstance(element[0], str)


def as_modalities(X: Any, spec: ColumnSpec = None) -> Modalities:
    """Take X in any form, unchecked; a column spec splits a plain table."""
    if isinstance(X, Modalities):
        return X
    return Modalities(X) if is_multimodal(X) else Modalities.from_table(X, spec)


def row_labels(X: Any) -> Any:
    """Return the row labels of X in any form, a pandas Index; None without labels."""
    if isinstance(X, Modalities):
        return X._index
    blocks: Iterable[Any] = (X,)
    if isinstance(X, Mapping) and not sparse.issparse(X):
        blocks = X.values()
    elif isinstance(X, list | tuple):
        blocks = X
    return next((b.index for b in blocks if labels_of(b) is not None), None)


def validate_modalities(
    estimator: Any, X: Any, *, reset: bool, raw: bool = False
) -> Modalities:
    """Take X in any form, check it, and set or check the estimator's layout.

    Parameters
    ----------
    estimator : estimator
        Its ``modalities`` is the column spec for a 2-D X, its
        ``__modality_tags__()`` tell what it takes.
    X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
        The data.
    reset : bool
        True in `fit`: the layout is set. False later: it is checked.
    raw : bool, default=False
        Whether blocks are handed on as they are, to something that checks them.

    Returns
    -------
    Modalities
        In the order of `fit`. Unless `raw`, blocks are float arrays of 2 dimensions
        or CSR matrices. Rows of samples that lack a modality hold no meaning.
    """
    if isinstance(X, list | tuple) and len(X) == 0:
        raise ValueError("X is empty: it holds no modality and no sample")
    tags = estimator.__modality_tags__()
    from_table = not is_multimodal(X)
    columns = None
    if from_table:
        frame, named, columns = _split_table(estimator, X, tags, reset=reset, raw=raw)
    else:
        frame = as_modalities(X)
        named = {
            name: _own_names(name, _blocks.column_names(block))
            for name, block in frame.to_dict().items()
        }
    if not reset:
        frame = _in_fitted_order(estimator, frame)
    if len(frame) == 0:
        raise ValueError(
            f"Found array with 0 sample(s) while a minimum of 1 is required by "
            f"{type(estimator).__name__}"
        )
    before = _Way(type(estimator).__name__, from_table, estimator.modalities)
    checked, as_given = _check_blocks(
        estimator, frame, named, tags, before, reset=reset, raw=raw
    )
    layout = Layout(
        frame.names,
        tuple(map(_blocks.n_features, checked.blocks)),
        tuple(named[name] for name in frame.names),
        columns,
        as_given,
        tuple(map(_float_dtype, checked.blocks)),
    )
    if reset:
        _set_layout(estimator, layout, tags, from_table=from_table)
    else:
        _check_layout(estimator, layout)
        if tags.same_dtype:
            checked = _with_dtypes(checked, layout, estimator._layout)
        # a list has the names of fit, by which estimators know their parts
        checked = Modalities._of(
            estimator._layout.names, checked.blocks, checked._mask, checked._index
        )
    return checked


def _float_dtype(block: Block) -> str:
    dtype = getattr(block, "dtype", None)
    return dtype.name if isinstance(dtype, np.dtype) and dtype in FLOATS else ""


def _with_dtypes(frame: Modalities, now: Layout, fitted: Layout) -> Modalities:
    """Cast floats to the dtype of `fit`.

    A mapped file stays one: to cast it would read all of it.
    """
    if not fitted.dtypes or now.dtypes == fitted.dtypes:
        return frame
    blocks = list(frame.blocks)
    for v, (dtype, then) in enumerate(zip(now.dtypes, fitted.dtypes, strict=True)):
        if not (dtype and then) or dtype == then or _blocks.is_mapped(blocks[v]):
            continue
        with np.errstate(over="ignore"):
            blocks[v] = blocks[v].astype(then)
        place = _infinite_cell(blocks[v], frame.observed[:, v], nan_too=False)
        if place is not None:
            raise ValueError(
                f"modality {fitted.names[v]!r}: sample {place[0]}, feature {place[1]} "
                f"does not fit {then}, the dtype of fit; fit on {dtype}"
            )
    return frame._with_blocks(blocks, frame._mask)


@dataclass(frozen=True)
class _Way:
    """The way X came in, for errors whose remedy works on that way."""

    estimator: str
    from_table: bool
    spec: ColumnSpec

    def put_before(self, modality: str, step: str) -> str:
        """Describe how to put a transformer before the estimator."""
        if not self.from_table:
            return f"PerModality({{{modality!r}: {step}}}) before {self.estimator}"
        if self.spec is None:
            return f"{step} before {self.estimator}"
        return (
            "ModalitySplitter with the same modalities=, and then "
            f"PerModality({{{modality!r}: {step}}}), before {self.estimator}, whose "
            "own modalities= is None"
        )

    def fill_modalities(self) -> str:
        """Describe how to fill modalities in before the estimator."""
        if not self.from_table or self.spec is None:
            return f"ModalityImputer() before {self.estimator}"
        return (
            "ModalitySplitter with the same modalities=, and then ModalityImputer(), "
            f"before {self.estimator}, whose own modalities= is None"
        )


def _split_table(
    estimator: Any, X: Any, tags: ModalityTags, *, reset: bool, raw: bool
) -> tuple[Modalities, dict[str, list[str] | None], dict[str, list[str]] | None]:
    """Take one 2-D table: scikit-learn's own checks, then the column spec.

    A DataFrame is taken apart before anything is converted, so that columns that
    belong to no modality are not looked at, and errors name the column.
    """
    X = _blocks.as_plain(X, "X")
    spec = estimator.modalities
    fitted = None if reset else estimator._layout.columns
    has_names = _blocks.column_names(X) is not None
    if fitted is not None and has_names and isinstance(spec, str | Mapping):
        # as in ColumnTransformer, order and further columns do not matter
        columns = columns_by_name(X, fitted)
        blocks = {n: _blocks.take_columns(X, c) for n, c in columns.items()}
        frame = Modalities(blocks)._with_labels(labels_of(X))
        return frame, _names_within(fitted), fitted
    if not (is_frame(X) or sparse.issparse(X)):
        X = np.asarray(X)
    kind = getattr(getattr(X, "dtype", None), "kind", "")
    # what may not be numbers is taken apart first, so that errors name the modality
    apart = is_frame(X) or (kind in "OSTUMmV" and spec is not None)
    if not (raw or apart):
        encoder = (
            f"OneHotEncoder(sparse_output=False) before {type(estimator).__name__}"
        )
        X = as_numbers(
            X, "X", f"encode it first, for example in a Pipeline by {encoder}"
        )
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
    return frame, _names_within(by_modality), by_modality


def _names_within(
    by_modality: Mapping[str, Iterable[str]],
) -> dict[str, list[str] | None]:
    return {name: _own_names(name, own) for name, own in by_modality.items()}


def _own_names(modality: str, features: Iterable[str] | None) -> list[str] | None:
    """Name features within their modality: f0 for ``audio__f0``."""
    if features is None:
        return None
    return [f.removeprefix(modality + SEPARATOR) for f in features]


def _in_fitted_order(estimator: Any, frame: Modalities) -> Modalities:
    """Match modalities by name; unnamed ones (a list) by position."""
    fitted: Layout = estimator._layout
    name = type(estimator).__name__
    if len(frame.names) != len(fitted.names):
        raise ValueError(
            f"X has {len(frame.names)} modalities, {list(frame.names)}, but {name} is "
            f"expecting {len(fitted.names)}, {list(fitted.names)}, as in fit; give a "
            "modality that is absent as None; a 2-D X is one modality unless "
            "modalities= splits its columns"
        )
    if set(frame.names) == set(fitted.names):
        return frame if frame.names == fitted.names else frame[list(fitted.names)]
    if list(frame.names) == default_names(len(frame.names)):
        return frame
    if not fitted.is_named:
        warnings.warn(
            f"X names its modalities {list(frame.names)}, but {name} was fitted "
            "without names; they are taken by position",
            UserWarning,
            stacklevel=4,
        )
        return frame
    unseen = [n for n in frame.names if n not in fitted.names]
    absent = [n for n in fitted.names if n not in frame.names]
    raise ValueError(
        f"The modality names should match those of fit: {unseen} unseen at fit, "
        f"{absent} seen at fit, yet now absent"
    )


def _check_blocks(
    estimator: Any,
    frame: Modalities,
    named: dict[str, list[str] | None],
    tags: ModalityTags,
    way: _Way,
    *,
    reset: bool,
    raw: bool,
) -> tuple[Modalities, tuple[str, ...]]:
    """Check the block of every modality; name those that hold other than numbers."""
    blocks, as_given = [], []
    observed = frame.observed
    for v, (name, block) in enumerate(zip(frame.names, frame.blocks, strict=True)):
        fitted_name = name if reset else estimator._layout.names[v]
        present = observed[:, v]
        if not present.all():
            _check_missing(name, present, tags, way, reset=reset)
            if not present.any():
                width = estimator._layout.widths[v]
                blocks.append(np.full((len(frame), width), np.nan))
                continue
        takes_text = tags.takes_text is not None and tags.takes_text(fitted_name)
        if reset:
            keep = takes_text and not raw and holds_other_than_numbers(block)
        else:
            keep = fitted_name in estimator._layout.as_given
        if raw or keep:
            block = with_nan_for_na(block)
        if keep:
            as_given.append(fitted_name)
        elif not raw:
            takes_nan = tags.takes_nan is not None and tags.takes_nan(fitted_name)
            columns = named.get(name)
            block = _check_block(
                estimator, name, block, present, tags, way, columns, takes_nan
            )
        blocks.append(block)
    return frame._with_blocks(blocks, observed), tuple(as_given)


def validate_sample_weight(sample_weight: Any, frame: Modalities) -> np.ndarray:
    """Check the weights of samples.

    Parameters
    ----------
    sample_weight : array-like of shape (n_samples,) or float
        The weights.
    frame : Modalities
        The samples.

    Returns
    -------
    ndarray of shape (n_samples,)
        The weights as floats.

    Raises
    ------
    ValueError
        If there is not one for each sample, their row labels differ from those of
        `frame`, one is negative, NaN or infinite, all are 0, or no sample of positive
        weight has some modality.
    """
    check_row_labels(frame._index, sample_weight, "sample_weight")
    with errors_about("sample_weight"):
        plain = _blocks.as_plain(sample_weight, "sample_weight")
        if isinstance(plain, Real):
            plain = float(plain)
        weight = check_sample_weight(plain, frame)
    if weight.min() < 0:
        sample = int(np.argmin(weight))
        raise ValueError(
            f"sample_weight is {weight[sample]:g} for sample {sample}; weights are not "
            "negative, and 0 leaves a sample out"
        )
    if weight.max() == 0:
        raise ValueError("Sample weights must contain at least one non-zero number")
    with np.errstate(over="ignore"):
        total = weight.sum()
    if not np.isfinite(total):
        raise ValueError("the sum of sample_weight overflows; divide the weights")
    missing = ~frame.observed[weight > 0].any(axis=0)
    if missing.any():
        raise ValueError(
            f"modality {frame.names[int(np.argmax(missing))]!r} is missing for every "
            "sample whose weight is not 0: nothing can be fitted on it, leave it out"
        )
    return weight


def refuse_empty_samples(frame: Modalities) -> None:
    """Refuse samples that lack every modality."""
    nothing = np.flatnonzero(~frame.observed.any(axis=1))
    if nothing.size:
        raise ValueError(
            f"sample {nothing[0]} lacks every modality (NaN or None in all of them; "
            f"{nothing.size} of {len(frame)} samples do): leave such samples out"
        )


def _check_missing(
    name: str, present: np.ndarray, tags: ModalityTags, way: _Way, *, reset: bool
) -> None:
    n_missing = int((~present).sum())
    found = (
        f"modality {name!r} is missing (None or NaN) for {n_missing} of {len(present)} "
        f"samples, first for sample {int(np.argmin(present))}"
    )
    if reset and n_missing == len(present):
        raise ValueError(f"{found}: nothing can be fitted on it, leave it out")
    if not tags.missing:
        raise ValueError(
            f"{found}; {way.estimator} needs every modality of every sample. Fill them "
            f"in a Pipeline by {way.fill_modalities()}, or use an estimator that works "
            "with what is there, such as LateFusionClusterer"
        )


def _check_block(
    estimator: Any,
    name: str,
    block: Block,
    present: np.ndarray,
    tags: ModalityTags,
    way: _Way,
    columns: list[str] | None,
    takes_nan: bool,
) -> Block:
    what = f"modality {name!r}"
    if _blocks.is_sequences(block):
        raise ValueError(
            f"{what} holds sequences; {way.estimator} needs rows of one width: pool or "
            "resample them first, by SequencePooling or SequenceResampler"
        )
    encoder = way.put_before(name, "OneHotEncoder(sparse_output=False)")
    remedy = f"encode it first, for example in a Pipeline by {encoder}"
    if 0 in block.shape[1:]:
        raise ValueError(
            f"{what}: Found array with 0 feature(s) (shape={tuple(block.shape)}) while "
            f"a minimum of 1 is required by {way.estimator}; leave it out"
        )
    block = as_numbers(block, what, remedy, columns)
    try:
        checked = check_array(
            block,
            accept_sparse="csr" if tags.sparse else False,
            dtype=FLOATS,
            allow_nd=True,
            ensure_all_finite=False,  # the check below also finds the cell
            estimator=estimator,
            input_name=what,
        )
    except (ValueError, TypeError) as error:
        raise type(error)(f"{what}: {error}") from error
    dimensions = checked.ndim
    if dimensions > 2 and not tags.images:
        checked = checked.reshape(len(checked), -1)
    place = _infinite_cell(checked, present, nan_too=not takes_nan)
    if place is not None:
        sample, feature, value = place
        if tags.holds_kernel is not None and tags.holds_kernel(name):
            raise ValueError(
                f"{what}: the kernel is {value} for samples {sample} and {feature}; "
                "compute it again so that it is finite. A sample that lacks the "
                "modality has NaN in its whole row"
            )
        cell = cell_name(sample, feature, columns if dimensions == 2 else None)
        raise ValueError(_not_finite(name, cell, value, dimensions, way))
    return checked


def _not_finite(name: str, cell: str, value: float, dimensions: int, way: _Way) -> str:
    if np.isinf(value):
        return (
            f"modality {name!r}: {cell} is infinity; replace it, for example by NaN, "
            "which an imputer then fills in, or by the largest finite value"
        )
    found = (
        f"modality {name!r}: {cell} is NaN. A row that is all NaN means a missing "
        "modality; single cells that are NaN can be filled in"
    )
    if dimensions > 2:
        return f"{found} by numpy.nan_to_num"
    return f"{found} in a Pipeline by {way.put_before(name, 'SimpleImputer()')}"


def _infinite_cell(
    block: Block, present: np.ndarray, *, nan_too: bool
) -> tuple[int, int, float] | None:
    """Find the first observed cell that is infinite, or NaN; None if all are finite."""
    values = block.data if sparse.issparse(block) else block
    with np.errstate(over="ignore", invalid="ignore"):
        # makes no array, unlike the search below
        if all(np.isfinite(values[r].sum()) for r in _blocks.pieces(values)):
            return None
    unfit = (lambda cells: ~np.isfinite(cells)) if nan_too else np.isinf
    if sparse.issparse(block):
        cells = block.tocoo()
        bad = unfit(cells.data) & present[cells.row]
        places = np.column_stack([cells.row, cells.col])[bad]
        found = cells.data[bad]
    else:
        parts, found_parts = [], []
        for rows in _blocks.pieces(block):
            flat = block[rows].reshape(len(present[rows]), -1)
            bad = np.argwhere(unfit(flat) & present[rows, None])
            parts.append(bad + np.array([rows.start or 0, 0]))
            found_parts.append(flat[tuple(bad.T)])
        places, found = np.concatenate(parts), np.concatenate(found_parts)
    if len(places) == 0:
        return None
    return int(places[0, 0]), int(places[0, 1]), float(found[0])


def _set_layout(
    estimator: Any, layout: Layout, tags: ModalityTags, *, from_table: bool
) -> None:
    n_modalities = len(layout.names)
    estimator._layout = layout
    estimator.n_modalities_in_ = n_modalities
    estimator.modality_names_in_ = np.array(layout.names, dtype=object)
    estimator.n_features_per_modality_in_ = np.array(layout.widths)
    if from_table:
        return  # scikit-learn has set those of the table, of which a spec may take part
    estimator.n_features_in_ = int(sum(layout.widths))
    if None not in layout.feature_names:
        estimator.feature_names_in_ = np.concatenate(feature_names(layout))
    elif hasattr(estimator, "feature_names_in_"):  # of an earlier fit
        del estimator.feature_names_in_


def _check_layout(estimator: Any, layout: Layout) -> None:
    fitted: Layout = estimator._layout
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


def check_input_features(estimator: Any, input_features: Any) -> np.ndarray:
    """Check names of features that are given to ``get_feature_names_out``.

    Parameters
    ----------
    estimator : estimator
        A fitted one.
    input_features : array-like of str of shape (n_features_in_,) or None
        Names of the features of its input.

    Returns
    -------
    ndarray of str of shape (n_features_in_,)
        The names given, else those of `fit`, else x0, x1, ...

    Raises
    ------
    TypeError, ValueError
        If they are no list of names, are not as many as the features, or differ from
        those of `fit`.
    """
    with errors_about("input_features"):
        plain = _blocks.as_plain(input_features, "input_features")
        if input_features is not None and np.ndim(plain) != 1:
            raise ValueError("input_features is no list of names")
        return check_feature_names_in(estimator, plain)


def feature_names(layout: Layout) -> list[np.ndarray]:
    """Name the features of every modality: ``<modality>__<feature>``.

    Features without names are x0, x1, ...; those of a lone unnamed modality, such as
    a plain 2-D table, get no prefix.
    """
    return [
        prefixed(modality, given or [f"x{j}" for j in range(width)], layout)
        for modality, width, given in zip(
            layout.names, layout.widths, layout.feature_names, strict=True
        )
    ]


def prefixed(modality: str, features: Iterable[str], layout: Layout) -> np.ndarray:
    """Name features ``<modality>__<feature>``, as `feature_names` does.

    Parameters
    ----------
    modality : str
        Name of the modality.
    features : iterable of str
        Names of its features, with or without the name of the modality.
    layout : Layout
        All modalities.

    Returns
    -------
    ndarray of str
        The names.
    """
    if layout.names == tuple(default_names(1)):
        return np.array(list(features), dtype=object)
    prefix = modality + SEPARATOR
    return np.array([prefix + f.removeprefix(prefix) for f in features], dtype=object)
