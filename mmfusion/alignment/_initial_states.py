"""Initial states of the frames of samples, from which a left-to-right chain is fitted.

All states are those of one reference sample: its recording is cut into segments, and
the frames of other samples take the states of the frames that they are aligned with.
"""

from __future__ import annotations

import numpy as np
from scipy import sparse
from sklearn.cluster import AgglomerativeClustering

from mmfusion._sequences import resample
from mmfusion.alignment.dtw._path import dtw_path

SampleSequences = dict[str, np.ndarray]


def equal_states(n_frames: int, n_states: int, delay: float = 0.0) -> np.ndarray:
    """Cut a sequence into equal segments.

    Parameters
    ----------
    n_frames : int
        Number of frames.
    n_states : int
        Number of states.
    delay : float, default=0.0
        By how much of a segment all but the first begin later.

    Returns
    -------
    ndarray of int64 of shape (n_frames,)
        State of each frame, that in which its middle lies.
    """
    if delay:
        edges = (np.arange(1, n_states) + delay) * n_frames / n_states
        return np.searchsorted(edges, np.arange(n_frames) + 0.5, side="right")
    return (2 * np.arange(n_frames, dtype=np.int64) + 1) * n_states // (2 * n_frames)


def states_by_dtw(
    samples: list[SampleSequences], names: list[str], n_states: int
) -> list[dict[str, np.ndarray]]:
    """Cut a reference sample into homogeneous segments, and align the others with it.

    The reference is the sample with most modalities, and of these one of median length.
    Its segments are those of Ward's method, which joins neighbouring segments as long
    as there are too many, always those whose union adds least to the sum of squares
    within segments. They are the same times for all of its modalities.

    Parameters
    ----------
    samples : list of dict of str to ndarray of shape (n_frames, n_features)
        Observed sequences of each sample, by modality.
    names : list of str
        Names of the modalities.
    n_states : int
        Number of segments.

    Returns
    -------
    list of dict of str to ndarray of int64 of shape (n_frames,)
        State of each frame; equal segments of modalities that the reference lacks.
    """
    reference = samples[reference_sample(samples)]
    segments = homogeneous_segments(reference, n_states)
    found = []
    for sample in samples:
        states = {}
        for name in names:
            if name not in sample:
                continue
            n_frames = len(sample[name])
            states[name] = equal_states(n_frames, n_states)
            if name in reference:
                own = _at_relative_times(segments, len(reference[name]))
                states[name] = own
                if sample is not reference:
                    path = dtw_path(reference[name], sample[name]).path
                    states[name] = own[_partners(path)]
        found.append(states)
    return found


def reference_sample(samples: list[SampleSequences]) -> int:
    """Return the position of the sample that the states are taken from.

    Parameters
    ----------
    samples : list of dict of str to ndarray of shape (n_frames, n_features)
        Observed sequences of each sample, by modality; at least one sample with any.

    Returns
    -------
    int
        A sample with most modalities and, of these, the median number of frames.
        Of several such samples, it does not depend on their order.
    """
    most = max(map(len, samples))
    # the frames themselves break ties, so that the order of samples does not
    ranked = sorted(
        (
            sum(map(len, sample.values())),
            tuple(float(sample[name].sum()) for name in sorted(sample)),
            i,
        )
        for i, sample in enumerate(samples)
        if len(sample) == most
    )
    return ranked[len(ranked) // 2][-1]


def homogeneous_segments(sample: SampleSequences, n_states: int) -> np.ndarray:
    """Cut all modalities of a sample into segments of little variance.

    Parameters
    ----------
    sample : dict of str to ndarray of shape (n_frames, n_features)
        Sequences of the sample; those that are shorter than the longest are resampled.
    n_states : int
        Number of segments, at most the frames of the longest sequence.

    Returns
    -------
    ndarray of int64 of shape (n_longest_frames,)
        Segment of each frame of the longest sequence.
    """
    n_frames = max(map(len, sample.values()))
    if n_states == n_frames or n_states == 1:
        return equal_states(n_frames, n_states)
    scaled = []
    for sequence in sample.values():
        frames = resample(sequence.astype(np.float64), n_frames)
        frames = frames - frames.mean(axis=0)
        reach = np.abs(frames).max()
        if reach > 0:  # in two steps, so that squares do not overflow
            frames = frames / reach
            frames /= np.sqrt((frames**2).sum(axis=1).mean())
        scaled.append(frames)
    beside = np.ones(n_frames - 1)
    ward = AgglomerativeClustering(
        n_states,
        connectivity=sparse.diags_array([beside, beside], offsets=[-1, 1]).tocsr(),
        linkage="ward",
    )
    labels = ward.fit(np.hstack(scaled)).labels_
    return np.concatenate([[0], np.cumsum(np.diff(labels) != 0)])


def _at_relative_times(states: np.ndarray, n_frames: int) -> np.ndarray:
    """Return the states of a sequence of another number of frames."""
    return states[equal_states(n_frames, len(states))]


def _partners(path: np.ndarray) -> np.ndarray:
    """Return the frame of the first sequence in the middle of those with each frame."""
    first, own = path.T
    counts = np.bincount(own)
    return (np.bincount(own, first) / counts + 0.5).astype(np.int64)
