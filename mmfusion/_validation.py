"""The one door for X: every form of input becomes validated `Modalities` here."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.utils import check_array, check_consistent_length
from sklearn.utils.validation import validate_data

from mmfusion import _blocks, _sklearn_compat
from mmfusion._blocks import Block
from mmfusion._columns import (
    SEPARATOR,
    ColumnSpec,
    default_names,
    multi_index_spec,
    resolve_columns,
)
from mmfusion._row_labels import check_row_labels, labels_of
from mmfusion._sklearn_compat import check_y
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
    y = check_y(y, estimator=estimator, **options)
    check_consistent_length(frame, y)
    return y


def check_sample_weight(sample_weight: Any, frame: Modalities, **options: Any) -> Any:
    """Check the weights of the samples.

    Parameters
    ----------
    sample_weight : array-like of shape (n_samples,), float or None
        One weight for each, or one for all; None is 1.
    frame : Modalities
        The samples.
    **options : dict
        As scikit-learn's own check takes them: ``dtype``, ``ensure_non_negative``.

    Returns
    -------
    ndarray of shape (n_samples,)
        The weights.

    Raises
    ------
    ValueError
        If there is not one per sample, or their row labels differ from those of
        `frame`.
    """
    check_row_labels(frame._index, sample_weight, "sample_weight")
    return _sklearn_compat.check_sample_weight(sample_weight, frame, **options)


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
    """

    missing: bool = False
    sparse: bool = False
    images: bool = False
    column_per_sample: bool = False


@dataclass(frozen=True)
class Layout:
    """What `fit` remembers of its input to hold later input to it."""

    names: tuple[str, ...]
    widths: tuple[int, ...]
    feature_names: tuple[list[str] | None, ...]

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
    if from_table:
        frame, named = _split_table(estimator, X, tags, reset=reset, raw=raw)
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
    checked = _check_blocks(estimator, frame, tags, reset=reset, raw=raw)
    layout = Layout(
        frame.names,
        tuple(map(_blocks.n_features, checked.blocks)),
        tuple(named[name] for name in frame.names),
    )
    if reset:
        _set_layout(estimator, layout, tags, from_table=from_table)
    else:
        _check_layout(estimator, layout)
        # a list has the names of fit, by which estimators know their parts
        checked = Modalities._of(
            estimator._layout.names, checked.blocks, checked._mask, checked._index
        )
    return checked


def _split_table(
    estimator: Any, X: Any, tags: ModalityTags, *, reset: bool, raw: bool
) -> tuple[Modalities, dict[str, list[str] | None]]:
    """Take one 2-D table: scikit-learn's own checks, then the column spec."""
    if not raw:
        _refuse_text(np.asarray(X) if isinstance(X, list | tuple) else X, "X")
    table = validate_data(
        estimator,
        X,
        reset=reset,
        accept_sparse="csr" if tags.sparse else False,
        dtype=None if raw else FLOATS,
        ensure_all_finite=not (raw or tags.missing),
        skip_check_array=raw and _blocks.is_frame(X),
    )
    columns = resolve_columns(estimator.modalities, X if _blocks.is_frame(X) else table)
    names = getattr(estimator, "feature_names_in_", None)
    blocks = {n: _blocks.take_columns(table, c) for n, c in columns.items()}
    return Modalities(blocks)._with_labels(labels_of(X)), {
        n: _own_names(n, None if names is None else names[c])
        for n, c in columns.items()
    }


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
    estimator: Any, frame: Modalities, tags: ModalityTags, *, reset: bool, raw: bool
) -> Modalities:
    blocks = []
    observed = frame.observed
    for v, (name, block) in enumerate(zip(frame.names, frame.blocks, strict=True)):
        present = observed[:, v]
        if not present.all():
            _check_missing(estimator, name, present, tags, reset=reset)
            if not present.any():
                width = estimator._layout.widths[v]
                blocks.append(np.full((len(frame), width), np.nan))
                continue
        if not raw:
            block = _check_block(estimator, name, block, present, tags)
        blocks.append(block)
    return frame._with_blocks(blocks, observed)


def refuse_empty_samples(frame: Modalities) -> None:
    """Refuse samples that lack every modality."""
    nothing = np.flatnonzero(~frame.observed.any(axis=1))
    if nothing.size:
        raise ValueError(
            f"sample {nothing[0]} lacks every modality (NaN or None in all of them; "
            f"{nothing.size} of {len(frame)} samples do): leave such samples out"
        )


def _check_missing(
    estimator: Any, name: str, present: np.ndarray, tags: ModalityTags, *, reset: bool
) -> None:
    n_missing = int((~present).sum())
    found = (
        f"modality {name!r} is missing (None or NaN) for {n_missing} of {len(present)} "
        f"samples, first for sample {int(np.argmin(present))}"
    )
    if not tags.missing:
        raise ValueError(
            f"{found}; {type(estimator).__name__} needs every modality of every "
            "sample. Fill them with ModalityImputer, or use an estimator that works "
            "with what is there, such as LateFusionClusterer"
        )
    if reset and n_missing == len(present):
        raise ValueError(f"{found}: nothing can be fitted on it, leave it out")


def _check_block(
    estimator: Any,
    name: str,
    block: Block,
    present: np.ndarray,
    tags: ModalityTags,
) -> Block:
    if _blocks.is_sequences(block):
        raise ValueError(
            f"modality {name!r} holds sequences; {type(estimator).__name__} needs rows "
            "of one width: pool or resample them first"
        )
    _refuse_text(block, f"modality {name!r}")
    try:
        checked = check_array(
            block,
            accept_sparse="csr" if tags.sparse else False,
            dtype=FLOATS,
            allow_nd=True,
            ensure_all_finite=False,  # the check below also tells where
            estimator=estimator,
            input_name=f"modality {name!r}",
        )
    except (ValueError, TypeError) as error:
        raise type(error)(f"modality {name!r}: {error}") from error
    if checked.ndim > 2 and not tags.images:
        checked = checked.reshape(len(checked), -1)
    _check_finite(checked, present, name)
    return checked


def _refuse_text(values: Any, what: str) -> None:
    """Refuse strings and dates, which scikit-learn would turn into numbers."""
    dtype = getattr(values, "dtype", None)
    if getattr(dtype, "kind", "") in "USMm" and isinstance(dtype, np.dtype):
        raise ValueError(
            f"{what} holds {dtype}, not numbers; encode it first, for example by "
            "PerModality({'text': OneHotEncoder()})"
        )


def _check_finite(block: Block, present: np.ndarray, name: str) -> None:
    """Tell where an observed cell is NaN or infinite."""
    values = block.data if sparse.issparse(block) else block
    with np.errstate(over="ignore", invalid="ignore"):
        # makes no array, unlike the search below
        if all(np.isfinite(values[r].sum()) for r in _blocks.pieces(values)):
            return
    if sparse.issparse(block):
        cells = block.tocoo()
        bad = ~np.isfinite(cells.data) & present[cells.row]
        places = np.column_stack([cells.row, cells.col])[bad]
    else:
        found = []
        for rows in _blocks.pieces(block):
            infinite = ~np.isfinite(block[rows]).reshape(len(present[rows]), -1)
            bad = np.argwhere(infinite & present[rows, None])
            found.append(bad + np.array([rows.start or 0, 0]))
        places = np.concatenate(found)
    if len(places):
        sample, feature = places[0].tolist()
        raise ValueError(
            f"modality {name!r}: sample {sample}, feature {feature} is NaN or "
            "infinity. A row that is all NaN means a missing modality; for single "
            "cells of NaN use PerModality(SimpleImputer())"
        )


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


def feature_names(layout: Layout) -> list[np.ndarray]:
    """Name the features of every modality: ``<modality>__<feature>``.

    Features without names are x0, x1, ...; those of a lone unnamed modality, such as
    a plain 2-D table, get no prefix.
    """
    lone = layout.names == tuple(default_names(1))
    return [
        np.array(
            [
                feature if lone else f"{modality}{SEPARATOR}{feature}"
                for feature in given or [f"x{j}" for j in range(width)]
            ],
            dtype=object,
        )
        for modality, width, given in zip(
            layout.names, layout.widths, layout.feature_names, strict=True
        )
    ]
