"""Known matches and segments of sequences, as target probabilities of frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from mmfusion.alignment._base import SampleSequences

MATCHES, SEGMENTS, PAIRS = "matches", "segments", "pairs"
SPREAD = 0.7  # standard deviation of the targets about a known match, in frames
LARGEST_GAP = 20  # frames between two matches, between which others are interpolated
MARGIN = 20  # frames beyond the targets, which are negatives


@dataclass(frozen=True)
class MatchTargets:
    """Targets of the frames of two sequences with known matches.

    Parameters
    ----------
    forward : ndarray of shape (n_frames_first,)
        Where the frames of the first sequence are in the second; NaN if unknown.
    backward : ndarray of shape (n_frames_second,)
        The other way round.
    """

    forward: np.ndarray
    backward: np.ndarray

    def counted(self) -> np.ndarray:
        """Return the frames of the first sequence that have a target."""
        return np.flatnonzero(~np.isnan(self.forward))

    def span(self, first: slice) -> slice:
        """Return the frames of the second sequence for a window of the first."""
        own = self.forward[first]
        low, high = np.nanmin(own) - MARGIN, np.nanmax(own) + MARGIN + 1
        return slice(max(0, int(low)), min(len(self.backward), int(np.ceil(high))))

    def targets(self, first: slice, second: slice) -> tuple[np.ndarray, np.ndarray]:
        """Return target probabilities by rows and by columns, in windows of both."""
        rows = _about(self.forward[first], np.arange(second.start, second.stop))
        back = self.backward[second].copy()
        back[(back < first.start) | (back > first.stop - 1)] = np.nan
        columns = _about(back, np.arange(first.start, first.stop)).T
        return rows, columns


@dataclass(frozen=True)
class SegmentTargets:
    """Targets of the frames of two sequences with known segments.

    Parameters
    ----------
    first, second : ndarray of int of shape (n_frames,)
        Number of the segment of each frame; -1 if unknown.
    """

    first: np.ndarray
    second: np.ndarray

    def counted(self) -> np.ndarray:
        """Return the frames of the first sequence that have a target."""
        return np.flatnonzero((self.first >= 0) & np.isin(self.first, self.second))

    def span(self, first: slice) -> slice:
        """Return the frames of the second sequence for a window of the first."""
        among = np.flatnonzero(
            (self.second >= 0) & np.isin(self.second, self.first[first])
        )
        n_frames = len(self.second)
        return slice(
            max(0, int(among[0]) - MARGIN), min(n_frames, int(among[-1]) + MARGIN + 1)
        )

    def targets(self, first: slice, second: slice) -> tuple[np.ndarray, np.ndarray]:
        """Return target probabilities by rows and by columns, in windows of both."""
        own, other = self.first[first, None], self.second[None, second]
        same = ((own == other) & (own >= 0)).astype(np.float64)
        return _shares(same, axis=1), _shares(same, axis=0)


FrameTargets: TypeAlias = MatchTargets | SegmentTargets


class TargetPair(NamedTuple):
    """Two sequences of a sample whose frames have targets.

    Parameters
    ----------
    sample : int
        Position of the sample.
    first, second : str
        The modalities.
    targets : MatchTargets or SegmentTargets
        The targets.
    """

    sample: int
    first: str
    second: str
    targets: FrameTargets


def _about(at: np.ndarray, frames: np.ndarray) -> np.ndarray:
    """Return normal densities of frames about some times; rows of NaN are 0."""
    apart = (np.nan_to_num(at)[:, None] - frames) / SPREAD
    # relative to the nearest frame, so that none vanishes
    squares = apart**2 - (apart**2).min(axis=1, keepdims=True)
    densities = np.exp(-0.5 * squares)
    return _shares(np.where(np.isnan(at)[:, None], 0.0, densities), axis=1)


def _shares(values: np.ndarray, axis: int) -> np.ndarray:
    totals = values.sum(axis=axis, keepdims=True)
    return values / np.where(totals > 0, totals, 1)


def true_frames(own: np.ndarray, other: np.ndarray, n_frames: int) -> np.ndarray:
    """Return where the frames of a sequence are in another, by known matches.

    Parameters
    ----------
    own, other : ndarray of shape (n_matches,)
        Frames of both that match.
    n_frames : int
        Number of frames of the sequence.

    Returns
    -------
    ndarray of shape (n_frames,)
        The frames, interpolated between matches that are near each other; NaN
        elsewhere.
    """
    if not len(own):
        return np.full(n_frames, np.nan)
    times, of_match = np.unique(own, return_inverse=True)
    means = np.bincount(of_match, other) / np.bincount(of_match)
    frames = np.arange(n_frames)
    found = np.interp(frames, times, means, left=np.nan, right=np.nan)
    after = np.minimum(np.searchsorted(times, frames), len(times) - 1)
    before = np.maximum(after - 1, 0)
    is_after = times[after] - frames < frames - times[before]
    nearest = np.where(is_after | (after == before), after, before)
    # a match between two frames is at the nearer one, if nothing else is known of it
    is_near = np.abs(times[nearest] - frames) <= 0.5
    found[times[after] - times[before] > LARGEST_GAP] = np.nan
    lone = np.isnan(found) & is_near
    found[lone] = means[nearest[lone]]
    return found


def targets_of_matches(
    matches: np.ndarray, n_frames_first: int, n_frames_second: int
) -> MatchTargets:
    """Return the targets of two sequences, by known matches.

    Parameters
    ----------
    matches : ndarray of shape (n_matches, 2)
        Frames of both that match.
    n_frames_first, n_frames_second : int
        Numbers of frames of the sequences.

    Returns
    -------
    MatchTargets
        The targets.
    """
    t, s = matches.T
    return MatchTargets(
        true_frames(t, s, n_frames_first), true_frames(s, t, n_frames_second)
    )


def make_targets(
    given: ArrayLike,
    samples: Sequence[SampleSequences],
    names: Sequence[str],
    supervision: str,
    parameter: str,
) -> list[TargetPair]:
    """Check what is known of the samples, and return the targets of all pairs.

    Parameters
    ----------
    given : sequence
        For each sample, matches or segments; see `checked_sample`.
    samples : sequence of dict of str to ndarray
        The observed sequences of each sample.
    names : sequence of str
        Names of the modalities of sequences.
    supervision : {'matches', 'segments'}
        What is known.
    parameter : str
        Name of the argument, for errors.

    Returns
    -------
    list of TargetPair
        The pairs of observed sequences with a frame that has a target.
    """
    known = checked_samples(given, samples, names, supervision, parameter)
    found = []
    for i, (own, sample) in enumerate(zip(known, samples, strict=True)):
        if own is None:
            continue
        for u, v in combinations(range(len(names)), 2):
            first, second = names[u], names[v]
            if first not in sample or second not in sample:
                continue
            targets: FrameTargets
            if supervision == SEGMENTS:
                targets = SegmentTargets(own[u], own[v])
            else:
                both = own[:, [u, v]]
                both = both[~np.isnan(both).any(axis=1)]
                targets = targets_of_matches(
                    both, len(sample[first]), len(sample[second])
                )
            if len(targets.counted()):
                found.append(TargetPair(i, first, second, targets))
    return found


def checked_samples(
    given: Any,
    samples: Sequence[SampleSequences],
    names: Sequence[str],
    supervision: str,
    parameter: str,
) -> list[Any]:
    """Check what is known of every sample.

    Parameters
    ----------
    given : sequence
        For each sample, None or: matches, an array of shape (n_matches, n_modalities);
        or segments, a label per frame of each modality, as numbered segments.
    samples : sequence of dict of str to ndarray
        The observed sequences of each sample.
    names : sequence of str
        Names of the modalities of sequences.
    supervision : {'matches', 'segments'}
        What is known.
    parameter : str
        Name of the argument, for errors.

    Returns
    -------
    list
        For each sample None, an array of matches, or a list with the numbers of the
        segments of every modality, None for one that is missing.

    Raises
    ------
    ValueError
        If numbers of samples, shapes or frames do not fit.
    """
    _refuse_classes(given, parameter, supervision)
    if len(given) != len(samples):
        raise ValueError(
            f"{parameter} has {len(given)} samples, and X has {len(samples)}"
        )
    check = _checked_segments if supervision == SEGMENTS else _checked_matches
    return [
        None if own is None else check(own, sample, names, f"{parameter}[{i}]")
        for i, (own, sample) in enumerate(zip(given, samples, strict=True))
    ]


def _refuse_classes(given: Any, parameter: str, supervision: str) -> None:
    """Raise an error for classes of samples, which a Pipeline passes on as y."""
    if _has_entries(given) and all(own is None or _has_entries(own) for own in given):
        return
    kind = type(given).__name__
    raise ValueError(
        f"{parameter} is a {kind} with no {supervision} for each sample; give a list "
        "with an entry for each, as fit describes. If it holds classes, as in a "
        "Pipeline, whose y goes to its last step: give matches= to fit, routed by "
        "set_fit_request(matches=True) once metadata routing is enabled; or fit the "
        "aligner before, and give it to the Pipeline in a FrozenEstimator"
    )


def _has_entries(given: Any) -> bool:
    """Return whether something is a list or an array, not a number or a text."""
    is_scalar = isinstance(given, str | bytes | dict) or getattr(given, "ndim", 1) == 0
    return hasattr(given, "__len__") and not is_scalar


def _checked_matches(
    given: Any, sample: SampleSequences, names: Sequence[str], what: str
) -> np.ndarray:
    try:
        matches = np.asarray(given, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{what} is no array of numbers: {error}") from error
    if matches.ndim != 2 or matches.shape[1] != len(names):
        raise ValueError(
            f"{what} is of shape {matches.shape}; give frames that match, of shape "
            f"(n_matches, {len(names)}), with a column for each of the modalities "
            f"{list(names)}"
        )
    matches = matches.copy()
    for v, name in enumerate(names):
        if name not in sample:
            matches[:, v] = np.nan
            continue
        column = matches[:, v]
        last = len(sample[name]) - 1
        outside = column[(column < 0) | (column > last)]
        if len(outside):
            raise ValueError(
                f"{what} has frame {outside[0]:g} of modality {name!r}, whose sequence "
                f"has frames 0 to {last}; give NaN for frames that are unknown"
            )
    return matches


def _checked_segments(
    given: Any, sample: SampleSequences, names: Sequence[str], what: str
) -> list[np.ndarray | None]:
    if len(given) != len(names):
        raise ValueError(
            f"{what} has {len(given)} entries; give an array of labels of frames for "
            f"each of the modalities {list(names)}, None for one that is missing"
        )
    labels: dict[str, np.ndarray] = {}
    for name, own in zip(names, given, strict=True):
        if name not in sample:
            continue
        labels[name] = np.asarray(own)
        n_frames = len(sample[name])
        if labels[name].shape != (n_frames,) or labels[name].dtype.kind not in "iu":
            raise ValueError(
                f"{what} has labels of modality {name!r} of shape "
                f"{labels[name].shape} and {labels[name].dtype}; give an integer for "
                f"each of its {n_frames} frames, negative where it is unknown"
            )
    orders = {name: _runs(own)[1] for name, own in labels.items()}
    if len(set(map(tuple, orders.values()))) > 1:
        listed = {name: list(order) for name, order in orders.items()}
        raise ValueError(
            f"{what} has segments in different orders, {listed}; label those alike "
            "that match, and negatively what has no match"
        )
    return [_runs(labels[name])[0] if name in labels else None for name in names]


def _runs(labels: np.ndarray) -> tuple[np.ndarray, list[int]]:
    """Number the segments of equal labels; return their labels in order, too."""
    known = labels >= 0
    own = labels[known]
    starts = np.diff(own, prepend=-1) != 0
    numbers = np.full(len(labels), -1)
    numbers[known] = np.cumsum(starts) - 1
    return numbers, own[starts].tolist()
