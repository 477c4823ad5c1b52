"""Row labels of pandas objects, which identify the sample of a row.

pandas is imported only after an object of pandas has been given.
"""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Number
from reprlib import Repr
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

    from mmfusion._blocks import Block

JOINS = ("exact", "inner", "outer")

Labels: TypeAlias = Any  # pandas Index; that of pandas-stubs lacks levels

_short = Repr()
_short.maxstring = _short.maxother = 60


def short_repr(label: object) -> str:
    """Return the representation of a label in one short line, without NumPy types."""
    if isinstance(label, tuple):
        label = tuple(x.item() if isinstance(x, np.generic) else x for x in label)
    elif isinstance(label, np.generic):
        label = label.item()
    return " ".join(_short.repr(label).split())


def labels_of(data: Any) -> Labels | None:
    """Return the row labels of a pandas DataFrame or Series; None for other data."""
    if not hasattr(data, "iloc"):
        return None
    # subclasses of DataFrame, such as those of geopandas, have the same labels
    packages = {base.__module__.partition(".")[0] for base in type(data).__mro__}
    return data.index if "pandas" in packages else None


def common_labels(labelled: Mapping[str, Labels]) -> Labels | None:
    """Return the common row labels of all modalities that have labels.

    Parameters
    ----------
    labelled : dict of str to Index
        Row labels by modality, all of the same length.

    Returns
    -------
    Index or None
        The labels; None if `labelled` is empty.

    Raises
    ------
    ValueError
        If the labels, or their order, differ.
    """
    if not labelled:
        return None
    first, *others = labelled
    for other in others:
        if not labelled[first].equals(labelled[other]):
            differ = first_difference(
                labelled[first], labelled[other], (repr(first), repr(other))
            )
            remedy = ""
            if _can_be_aligned(labelled[first], labelled[other]):
                remedy = (
                    "align samples by label with Modalities.from_frames(frames, "
                    "join='outer'), or "
                )
            raise ValueError(
                f"modalities {first!r} and {other!r} have row labels that differ: "
                f"{differ}; {remedy}drop the labels of each with "
                "reset_index(drop=True) if the rows are in one order already"
            )
    return labelled[first]


def _can_be_aligned(one: Labels, other: Labels) -> bool:
    """Return whether `Modalities.from_frames` could align two sets of labels."""
    if one.nlevels != other.nlevels or not (one.is_unique and other.is_unique):
        return False
    return bool(one.isin(other).any())


def check_row_labels(labels: Labels | None, values: object, name: str) -> None:
    """Check that values of samples have the row labels of X.

    Values without labels are matched by position. So are values whose labels are the
    positions 0 to n - 1 while those of X are not integers, and the reverse, since
    pandas numbers rows that have no labels.

    Parameters
    ----------
    labels : Index or None
        Row labels of X, or None if it has no labels.
    values : object
        One value or row per sample: a pandas Series or DataFrame, or data without
        labels.
    name : str
        Name of the parameter in errors.

    Raises
    ------
    ValueError
        If the labels, or their order, differ.
    """
    own = labels_of(values)
    if labels is None or own is None or len(own) != len(labels) or own.equals(labels):
        return
    if any(
        _is_numbered(one) and not _has_integers(other)
        for one, other in ((own, labels), (labels, own))
    ):
        return
    can_be_sorted = _can_be_aligned(labels, own) and labels.isin(own).all()
    remedy = (
        f"bring {name} into the order of X with {name}.loc[X.index] (of a dict or "
        f"list: {name}.loc[Modalities(X).index])"
        if can_be_sorted
        else f"give the rows of {name} that belong to the samples of X"
    )
    raise ValueError(
        f"the row labels of {name} differ from those of X: "
        f"{first_difference(own, labels, (name, 'X'))}; {remedy}. If the rows are in "
        f"one order already, give {name}.to_numpy()"
    )


def align_labels(labelled: Mapping[str, Labels], join: str) -> Labels:
    """Return the labels of the samples after an alignment by label.

    Parameters
    ----------
    labelled : dict of str to Index
        Row labels by modality.
    join : {'exact', 'inner', 'outer'}
        See `Modalities.from_frames`.

    Returns
    -------
    Index
        The labels, in the order in which they first occur.

    Raises
    ------
    ValueError
        If labels repeat or are missing, a modality shares no label with another, or,
        for 'exact', the labels differ.
    """
    for name, labels in labelled.items():
        _check_identifies(labels, name)
    first, *others = labelled
    aligned = labelled[first]
    for other in others:
        labels = labelled[other]
        if labels.nlevels != aligned.nlevels:
            raise ValueError(
                f"the row labels of modality {other!r} have {labels.nlevels} levels, "
                f"those of {first!r} {aligned.nlevels}; give all of them the same"
            )
        if join == "exact":
            _check_exact(labelled[first], labels, first, other)
        elif join == "inner":
            aligned = aligned[aligned.isin(labels)]
        else:
            aligned = aligned.append(labels[~labels.isin(aligned)])
    _check_overlap(labelled, aligned, join)
    return aligned


def _check_identifies(labels: Labels, name: str) -> None:
    """Raise if a label is missing or repeats."""
    levels = [labels.get_level_values(k).isna() for k in range(labels.nlevels)]
    missing = np.any(levels, axis=0)
    if missing.any():
        row = int(np.argmax(missing))
        raise ValueError(
            f"modality {name!r}: row {row} has the missing label "
            f"{short_repr(labels[row])}; leave such rows out, or label them"
        )
    repeated = labels.duplicated()
    if repeated.any():
        label = short_repr(labels[int(np.argmax(repeated))])
        raise ValueError(
            f"modality {name!r}: the row label {label} repeats, so that it does not "
            "identify a sample; keep one row of each, for example by "
            "frame[~frame.index.duplicated()]"
        )


def _check_exact(expected: Labels, labels: Labels, first: str, other: str) -> None:
    """Raise if one of two modalities lacks a label of the other."""
    for one, name, all_of, lacking in (
        (labels, other, expected, first),
        (expected, first, labels, other),
    ):
        alone = one[~one.isin(all_of)]
        if len(alone):
            raise ValueError(
                f"modality {name!r} has the row label {short_repr(alone[0])}, which "
                f"{lacking!r} lacks ({len(alone)} of {len(one)} labels); give "
                "join='outer', by which the sample lacks that modality, or "
                "join='inner', which leaves such samples out"
            )


def _check_overlap(labelled: Mapping[str, Labels], aligned: Labels, join: str) -> None:
    """Raise if a modality shares no label with any other."""
    if len(labelled) == 1:
        return
    for name, labels in labelled.items():
        others = [other for key, other in labelled.items() if key != name]
        if not any(labels.isin(other).any() for other in others):
            examples = ", ".join(
                f"{short_repr(own[0])} in {key!r} ({own.dtype})"
                if len(own)
                else f"none in {key!r}"
                for key, own in labelled.items()
            )
            raise ValueError(
                f"modality {name!r} has no row label in common with another modality; "
                f"the first labels are {examples}. Give all frames the same kind of "
                "labels, for example with set_index"
            )
    if len(aligned) == 0 and join == "inner":
        raise ValueError(
            f"no row label is common to all of the modalities {list(labelled)}; give "
            "join='outer', by which a sample lacks modalities"
        )


def label_positions(labels: Labels, key: Any) -> np.ndarray:
    """Return the positions of the rows that a key of pandas' ``loc`` selects."""
    import pandas as pd

    try:
        found = pd.Series(np.arange(len(labels)), index=labels).loc[key]
    except (
        KeyError,
        TypeError,
        ValueError,
        pd.errors.IndexingError,
        pd.errors.InvalidIndexError,
    ) as error:
        raise KeyError(
            f"there is no sample with the row label {short_repr(key)} "
            f"({type(error).__name__}: {error})"
        ) from error
    return np.atleast_1d(np.asarray(found))


def as_labels(labels: Any, name: object = None) -> Labels:
    """Convert labels to a pandas Index, unless they are one."""
    import pandas as pd

    # pandas 3 would turn a MultiIndex into one level of tuples
    return labels if isinstance(labels, pd.Index) else pd.Index(labels, name=name)


def same_labels(one: Labels | None, other: Labels | None) -> bool:
    """Return whether labels are equal, where missing labels equal positions."""
    if one is None or other is None:
        labels = other if one is None else one
        return labels is None or _is_numbered(labels)
    return bool(one.equals(other))


def append_labels(several: list[Labels | None]) -> Labels | None:
    """Concatenate labels; return None if some samples have no labels."""
    first, *others = several
    if first is None or any(labels is None for labels in others):
        return None
    return first.append(others) if others else first


def relabelled(block: pd.DataFrame, labels: Labels) -> pd.DataFrame:
    """Return a DataFrame with other row labels that shares its values."""
    block = block.copy(deep=False)
    block.index = labels
    return block


def with_labels(block: Block, labels: Labels) -> Any:
    """Return a DataFrame with other row labels; other blocks are returned unchanged."""
    own = labels_of(block)
    return block if own is None or own.is_(labels) else relabelled(block, labels)


def check_output_labels(labels: Labels, block: object, name: str) -> None:
    """Check that the output of a transformer has the rows of its input in order."""
    own = labels_of(block)
    if own is None or own.equals(labels) or _is_numbered(own):
        return
    differ = first_difference(own, labels, ("the output", "the input"))
    raise ValueError(
        f"modality {name!r}: its transformer returned rows with other labels than "
        f"those of its input: {differ}. A transformer keeps the rows and their order"
    )


def labels_without_caches(labels: Labels | None) -> Labels | None:
    """Return labels without the caches of pandas, which would be pickled."""
    if labels is None or type(labels).__name__ == "RangeIndex":
        return labels
    if labels.nlevels == 1:
        # a new view of the values has no cached engine
        return as_labels(labels.array[:], labels.name)
    levels = [labels_without_caches(level) for level in labels.levels]
    return labels.set_levels(levels, verify_integrity=False)


def label_range(labels: Labels | None) -> str:
    """Return a note of the first and last label, or '' if labels are positions."""
    if labels is None or len(labels) == 0 or _is_numbered(labels):
        return ""
    ends = dict.fromkeys(short_repr(labels[row]) for row in (0, -1))
    return ", labelled " + " to ".join(ends)


def first_difference(one: Labels, other: Labels, names: tuple[str, str]) -> str:
    """Return a note of the first row with different labels, and of both labels."""
    for row, (a, b) in enumerate(zip(one, other, strict=True)):
        if _is_unlike(a, b):
            return (
                f"row {row} is {short_repr(a)} in {names[0]} and {short_repr(b)} in "
                f"{names[1]}"
            )
    return f"they are {one.dtype} in {names[0]} and {other.dtype} in {names[1]}"


def _has_integers(labels: Labels) -> bool:
    return labels.nlevels == 1 and getattr(labels.dtype, "kind", "O") in "iu"


def _is_numbered(labels: Labels) -> bool:
    """Return whether labels are the positions 0 to n - 1, as pandas assigns them."""
    if not _has_integers(labels) or labels.hasnans:
        return False
    return bool((labels == np.arange(len(labels))).all())


def _is_unlike(a: object, b: object) -> bool:
    if isinstance(a, Number) and isinstance(b, Number):
        return bool(a != b) and not (a != a and b != b)  # NaN is like NaN
    return repr(a) != repr(b)  # NaT and NA do not equal themselves
