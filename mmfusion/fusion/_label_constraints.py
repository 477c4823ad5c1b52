"""Constraints on sequences of labels: what may follow what, and lengths of runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from mmfusion._numbers import is_integer
from mmfusion.graphical._crf import Boundaries

ForbiddenPairs = Iterable[tuple[Any, Any]]


def boundaries_of(
    constraints: str | ForbiddenPairs | None, classes: np.ndarray
) -> Boundaries:
    """Return which labels may begin, end and follow one another.

    Parameters
    ----------
    constraints : 'bio', iterable of pairs, or None
        See `CRFLabeler`.
    classes : ndarray of shape (n_classes,)
        The labels.

    Returns
    -------
    Boundaries
        The rules.

    Raises
    ------
    ValueError
        If a pair or a label is of another form, or nothing is left.
    """
    n = len(classes)
    rules = Boundaries(
        np.ones(n, dtype=bool), np.ones(n, dtype=bool), np.ones((n, n), dtype=bool)
    )
    if constraints is None:
        return rules
    pairs = _bio_pairs(classes) if isinstance(constraints, str) else constraints
    for pair in pairs:
        before, after = _checked_pair(pair, classes)
        if before is None:
            rules.start[after] = False
        elif after is None:
            rules.end[before] = False
        else:
            rules.next[before, after] = False
    if not (rules.start.any() and rules.end.any()):
        raise ValueError(
            "constraints forbid every label at the start or at the end of a sequence; "
            "leave out a pair with None"
        )
    return rules


def _checked_pair(pair: Any, classes: np.ndarray) -> tuple[int | None, int | None]:
    """Return the codes of two labels, None at the ends of a sequence."""
    if isinstance(pair, str) or not isinstance(pair, Sequence) or len(pair) != 2:
        raise ValueError(
            f"constraints holds {pair!r}; give pairs of labels (label, next label), "
            "with None for the start or the end of a sequence"
        )
    if pair[0] is None and pair[1] is None:
        raise ValueError("constraints holds (None, None); one of both is a label")
    codes: list[int | None] = []
    for label in pair:
        found = [] if label is None else np.flatnonzero(classes == label).tolist()
        if label is not None and not found:
            raise ValueError(
                f"constraints names the label {label!r}, and the labels of y are "
                f"{classes.tolist()}"
            )
        codes.append(found[0] if found else None)
    return codes[0], codes[1]


def _bio_pairs(classes: np.ndarray) -> list[tuple[Any, Any]]:
    """List the pairs that labels 'B-x', 'I-x' and 'O' forbid."""
    labels = classes.tolist()
    others = [
        label
        for label in labels
        if not (isinstance(label, str) and (label == "O" or label[:2] in ("B-", "I-")))
    ]
    if others:
        raise ValueError(
            f"constraints='bio' has labels 'O', 'B-...' and 'I-...', and y has "
            f"{others[0]!r}; give pairs of labels instead"
        )
    inside = [label for label in labels if label[:2] == "I-"]
    return [
        (before, label)
        for label in inside
        for before in [None, *labels]
        if before is None or before not in (f"B-{label[2:]}", label)
    ]


def min_runs_of(option: int | Mapping[Any, int], classes: np.ndarray) -> np.ndarray:
    """Return the least length of a run of each label.

    Parameters
    ----------
    option : int or dict
        One for all labels, or by label; 1 for those that a dict lacks.
    classes : ndarray of shape (n_classes,)
        The labels.

    Returns
    -------
    ndarray of int of shape (n_classes,)
        The lengths.

    Raises
    ------
    ValueError
        If a label is unknown, or a length is no integer of at least 1.
    """
    labels = classes.tolist()
    by_label = option if isinstance(option, Mapping) else dict.fromkeys(labels, option)
    runs = np.ones(len(labels), dtype=np.int64)
    for label, length in by_label.items():
        if label not in labels:
            raise ValueError(
                f"min_run_length names the label {label!r}, and the labels of y are "
                f"{labels}"
            )
        if not (is_integer(length) and length >= 1):
            raise ValueError(
                f"min_run_length of {label!r} is {length!r}; give an integer of at "
                "least 1"
            )
        runs[labels.index(label)] = int(length)
    return runs


def refuse_violations(
    codes: np.ndarray,
    offsets: np.ndarray,
    rules: Boundaries,
    min_runs: np.ndarray,
    classes: np.ndarray,
    rows: np.ndarray,
) -> None:
    """Raise an error if labels violate their constraints.

    Parameters
    ----------
    codes : ndarray of int of shape (n_frames,)
        Labels of all sequences.
    offsets : ndarray of int of shape (n_sequences + 1,)
        First frame of each sequence, and the number of frames.
    rules : Boundaries
        What may follow what.
    min_runs : ndarray of int of shape (n_classes,)
        Least number of frames of a run.
    classes : ndarray of shape (n_classes,)
        Labels.
    rows : ndarray of int of shape (n_sequences,)
        Positions of the samples, for errors.

    Raises
    ------
    ValueError
        If a sequence begins or ends with a label that must not, a forbidden pair
        occurs, or a run is too short.
    """
    if all(rule.all() for rule in rules) and (min_runs == 1).all():
        return
    for row, start, stop in zip(rows, offsets[:-1], offsets[1:], strict=True):
        own = codes[start:stop]
        where = f"y of sample {row}"
        remedy = "allow it in constraints, or correct y"
        for label, may, verb in (
            (own[0], rules.start, "begins"),
            (own[-1], rules.end, "ends"),
        ):
            if not may[label]:
                raise ValueError(
                    f"{where} {verb} with {classes[label]!s}, which constraints "
                    f"forbid; {remedy}"
                )
        changes = np.flatnonzero(own[1:] != own[:-1]) + 1
        forbidden = np.flatnonzero(~rules.next[own[:-1], own[1:]])
        if forbidden.size:
            at = int(forbidden[0])
            raise ValueError(
                f"{where} has {classes[own[at + 1]]!s} after {classes[own[at]]!s} at "
                f"frame {at + 1}, which constraints forbid; {remedy}"
            )
        starts = np.concatenate([[0], changes])
        # the last run may be cut off
        short = np.flatnonzero(np.diff(starts) < min_runs[own[starts[:-1]]])
        if short.size:
            at = int(starts[short[0]])
            raise ValueError(
                f"{where} has a run of {int(np.diff(starts)[short[0]])} frames of "
                f"{classes[own[at]]!s} at frame {at}, and min_run_length is "
                f"{int(min_runs[own[at]])}; lower min_run_length, or correct y"
            )
