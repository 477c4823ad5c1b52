"""The base of aligners: input, threads, warping, the way back, and output."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from numbers import Integral
from typing import Any, NamedTuple, Self

import numpy as np
from joblib import effective_n_jobs
from sklearn.base import BaseEstimator
from sklearn.utils import Tags

from mmfusion._block_checks import ModalityTags
from mmfusion._memory import check_fits
from mmfusion._progress import FitProgress, Job, Progress
from mmfusion._sequences import resample
from mmfusion._sklearn_compat import (
    INTEGER,
    CallbackSupportMixin,
    Interval,
    fit_context,
)
from mmfusion._text import recordings_remedy
from mmfusion._threads import one_thread
from mmfusion._typing import ModalitiesLike
from mmfusion._validation import is_multimodal
from mmfusion._warnings import warn_user
from mmfusion.alignment._alignments import Alignment
from mmfusion.base import ModalityMixin, ModalityTransformerMixin
from mmfusion.modalities import Modalities

PARTS_PER_THREAD = 4  # samples are of unequal lengths
RECORDED_FRAMES = 200  # at least, of what may be a recording given as a table
LEAST_PARTS = 20  # of more samples, as steps of their progress

SampleSequences = dict[str, np.ndarray]  # observed sequences of a sample, by modality


class AlignedSample(NamedTuple):
    """A sample after its alignment.

    Parameters
    ----------
    alignments : dict of str to Alignment
        The alignment of each observed sequence, without weights if it has a path.
    sequences : dict of str to ndarray of shape (n_axis_frames, n_features)
        The warped sequences; empty where they are not needed.
    """

    alignments: dict[str, Alignment]
    sequences: SampleSequences


class BaseAligner(
    ModalityMixin, ModalityTransformerMixin, CallbackSupportMixin, BaseEstimator
):
    """Base of transformers that warp the sequences of a sample onto one time axis.

    A subclass aligns samples in one method: `_align_sample`, or `_sample_aligner` where
    options are checked, sequences projected or batches aligned first. It implements
    `_fit_samples` if it learns, and has the constructor parameters `n_frames`,
    `n_jobs`, `modalities` and `verbose`. Modalities that are tables pass through.
    """

    _parameter_constraints: dict = {
        "n_frames": [Interval(Integral, 2, None, closed="left"), None],
        "n_jobs": [INTEGER, None],
        "modalities": ["array-like", str, dict, INTEGER, None],
        "verbose": ["verbose"],
    }

    n_frames: int | None
    n_jobs: int | None
    verbose: bool | int

    def _fit_samples(self, samples: list[SampleSequences], **metadata: Any) -> None:
        """Learn from the samples of `fit`, before they are aligned.

        `metadata` are the arguments by sample that `_sample_aligner` takes as well.
        """

    def _set_results(self, samples: list[SampleSequences]) -> None:
        """Set further attributes of `fit`, after the alignments of the samples."""

    def _align_sample(self, sequences: SampleSequences) -> dict[str, Alignment]:
        """Align the sequences of a sample with one time axis.

        Parameters
        ----------
        sequences : dict of str to ndarray of shape (n_frames, n_features)
            The observed sequences of the sample, by modality; at least one.

        Returns
        -------
        dict of str to Alignment
            The alignment of each of them.
        """
        raise NotImplementedError

    def _sample_aligner(
        self, samples: list[SampleSequences], **metadata: Any
    ) -> Callable[[int], dict[str, Alignment]]:
        """Return a function that aligns the sample at a position.

        It is called once for all samples of `fit`, or of later input; the function is
        called in threads, for samples with at least one sequence. `metadata` are the
        arguments by sample, beyond X, that a subclass adds to its methods.
        """
        return lambda i: self._align_sample(samples[i])

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: ModalitiesLike, y: object = None) -> Self:
        """Learn from the samples and align them.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The data; see the user guide on input.
        y : object, default=None
            Not used.

        Returns
        -------
        self
            The fitted aligner.
        """
        self._fit(X, warp=False)
        return self

    @fit_context(prefer_skip_nested_validation=True)
    def fit_transform(
        self, X: ModalitiesLike, y: object = None
    ) -> Modalities | np.ndarray:
        """Fit, and return the aligned samples, at the cost of one alignment.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The data.
        y : object, default=None
            Not used.

        Returns
        -------
        Modalities or array
            The output of `transform` for the same samples.
        """
        return self._fit_transform(X)

    def transform(self, X: ModalitiesLike) -> Modalities | np.ndarray:
        """Align samples, those of `fit` or others.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The data.

        Returns
        -------
        Modalities or array
            Sequences of one length per sample, in the features of the input;
            Modalities if X had modalities, else an array.
        """
        return self._transform(X)

    def align(self, X: ModalitiesLike) -> list[dict[str, Alignment]]:
        """Align samples, those of `fit` or others, and return their alignments.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The data.

        Returns
        -------
        list of dict of str to Alignment
            For each sample, the alignments of its observed modalities with its axis,
            with ``path`` (None if an aligner has only weights) and the normalised
            ``cost``. `inverse_transform` takes them.
        """
        return self._alignments_of(X)

    def inverse_transform(
        self,
        X: ModalitiesLike,
        *,
        alignments: Sequence[Mapping[str, Alignment]] | None = None,
    ) -> Modalities | np.ndarray:
        """Return aligned samples to each modality's own time.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The output of `transform`, or data of its form.
        alignments : sequence of dict of str to Alignment, default=None
            Alignments of the samples of X, by `align`. None are those of `fit`, for its
            samples, all and in their order.

        Returns
        -------
        Modalities or array
            Each of a modality's own frames is the mean of the frames of the common
            axis that are aligned with it; where there is none, the nearest mean.

        Raises
        ------
        TypeError
            If `alignments` are not those that `align` returns.
        ValueError
            If X has another number of samples than there are alignments, a sequence
            without alignment, or one that is not as long as the axis of its sample.
        """
        frame = self._validate(X, reset=False, raw=True)
        source, chosen = "fit", self._alignments
        if alignments is not None:
            source, chosen = "alignments", _checked_alignments(alignments)
        if len(frame) != len(chosen):
            raise ValueError(
                f"X has {len(frame)} samples, and {source} had {len(chosen)}: give "
                "alignments= of these samples, by align for their own sequences"
            )
        own = [
            {
                name: self._unwarped(sequence, sample.get(name), name, i)
                for name, sequence in observed.items()
            }
            for i, (observed, sample) in enumerate(
                zip(self._samples(frame), chosen, strict=True)
            )
        ]
        return self._with_sequences(frame, own, like=X)

    def _fit_transform(
        self, X: ModalitiesLike, **metadata: Any
    ) -> Modalities | np.ndarray:
        frame, aligned = self._fit(X, warp=True, **metadata)
        return self._with_sequences(frame, [a.sequences for a in aligned], like=X)

    def _transform(self, X: ModalitiesLike, **metadata: Any) -> Modalities | np.ndarray:
        frame = self._validate(X, reset=False, raw=True)
        aligned = self._align(self._samples(frame), warp=True, **metadata)
        return self._with_sequences(frame, [a.sequences for a in aligned], like=X)

    def _alignments_of(
        self, X: ModalitiesLike, **metadata: Any
    ) -> list[dict[str, Alignment]]:
        frame = self._validate(X, reset=False, raw=True)
        aligned = self._align(self._samples(frame), warp=False, **metadata)
        return [sample.alignments for sample in aligned]

    def _fit(
        self, X: ModalitiesLike, *, warp: bool, **metadata: Any
    ) -> tuple[Modalities, list[AlignedSample]]:
        frame = self._validate(X, reset=True, raw=True)
        if is_multimodal(X):
            self._warn_of_tables(len(frame))
        samples = self._samples(frame)
        learns = type(self)._fit_samples is not BaseAligner._fit_samples
        n_steps = self._n_parts(len(samples)) + learns
        with FitProgress(self, X, None, n_steps) as progress:
            if learns:
                with progress.timed("learning"):
                    self._fit_samples(samples, **metadata)
            aligned = self._align(samples, warp=warp, progress=progress, **metadata)
        self._alignments = [sample.alignments for sample in aligned]
        self.paths_ = [
            {name: alignment.path for name, alignment in sample.items()}
            for sample in self._alignments
        ]
        self.distances_ = self._by_modality(self._alignments, "cost")
        self.cost_ = mean_cost(self.distances_)
        self._set_results(samples)
        progress.finish()
        return frame, aligned

    def _warn_of_tables(self, n_samples: int) -> None:
        """Warn of tables alone, of so many rows that they may be long recordings."""
        layout = self._layout
        if layout.sequences or len(layout.names) < 2 or n_samples < RECORDED_FRAMES:
            return
        names = list(layout.names)
        remedy = recordings_remedy(names, are_named=layout.is_named)
        warn_user(
            f"the modalities {names} are tables, with a row for each of {n_samples} "
            "samples: they pass through, and nothing is aligned. If a row is a frame "
            f"of a long recording, {remedy}",
        )

    def _samples(self, frame: Modalities) -> list[SampleSequences]:
        """Return the observed sequences of every sample."""
        samples: list[SampleSequences] = [{} for _ in range(len(frame))]
        blocks = frame.to_dict()
        for name in self._layout.sequences:
            for sample, sequence in zip(samples, blocks[name], strict=True):
                if sequence is not None:
                    sample[name] = sequence
        return samples

    def _n_parts(self, n_samples: int) -> int:
        """Return the number of parts of samples that are aligned, each in a thread."""
        n_parts = max(LEAST_PARTS, PARTS_PER_THREAD * effective_n_jobs(self.n_jobs))
        return min(n_parts, n_samples)

    def _align(
        self,
        samples: list[SampleSequences],
        *,
        warp: bool,
        progress: Progress | None = None,
        **metadata: Any,
    ) -> list[AlignedSample]:
        """Align all samples in threads, and warp their sequences if needed."""
        self._check_n_frames(samples)
        align_one = self._sample_aligner(samples, **metadata)

        def align_part(positions: np.ndarray, task: Any = None) -> list[AlignedSample]:
            return [aligned(i) for i in positions.tolist()]

        def aligned(i: int) -> AlignedSample:
            found = align_one(i) if samples[i] else {}
            # warped in the thread, so that weights are held for one sample at a time
            sequences = {
                name: self._resampled(alignment.warp(samples[i][name]))
                for name, alignment in (found if warp else {}).items()
            }
            kept = {
                n: a.compact() if a.weights is not None else a for n, a in found.items()
            }
            return AlignedSample(kept, sequences)

        n_parts = self._n_parts(len(samples))
        jobs = [
            Job(_title_of(positions), align_part, (positions,))
            for positions in np.array_split(np.arange(len(samples)), n_parts)
        ]
        if progress is None:  # of later samples
            progress = Progress(type(self).__name__, n_parts, verbose=self.verbose)
        # entered outside of the threads: one that enters while another leaves would
        # restore the other's limit
        with progress, one_thread():
            parts = progress.run(jobs, self.n_jobs, prefer="threads")
        return [sample for part in parts for sample in part]

    def _check_n_frames(self, samples: list[SampleSequences]) -> None:
        """Raise an error before frames are computed that would not fit into memory."""
        if self.n_frames is None:
            return
        sequences = [x for sample in samples for x in sample.values()]
        check_fits(
            int(self.n_frames) * sum(x[:1].nbytes for x in sequences),
            f"n_frames={self.n_frames} for {len(sequences)} sequences",
            "lower n_frames, or align fewer samples at a time",
        )

    def _resampled(self, sequence: np.ndarray) -> np.ndarray:
        if self.n_frames is None:
            return sequence
        resampled = resample(sequence, self.n_frames)
        return resampled.astype(sequence.dtype, copy=False)

    def _unwarped(
        self, sequence: np.ndarray, alignment: Alignment | None, name: str, i: int
    ) -> np.ndarray:
        what = f"modality {name!r}: the sequence of sample {i}"
        if alignment is None:
            raise ValueError(
                f"{what} was missing when it was aligned: it has no alignment to "
                "return by"
            )
        n_axis = alignment.n_axis_frames
        n_expected = self.n_frames or n_axis
        if len(sequence) != n_expected:
            raise ValueError(
                f"{what} has {len(sequence)} frames; aligned, it had {n_expected}"
            )
        if self.n_frames is not None:
            dtype = sequence.dtype
            sequence = resample(sequence, n_axis).astype(dtype, copy=False)
        return alignment.unwarp(sequence)

    def _by_modality(
        self, alignments: list[dict[str, Alignment]], field: str
    ) -> np.ndarray:
        """Return a number of each alignment; NaN where there is no alignment.

        Parameters
        ----------
        alignments : list of dict of str to Alignment
            The alignments of each sample, by modality.
        field : {'cost', 'confidence'}
            Name of the number.

        Returns
        -------
        ndarray of float64 of shape (n_samples, n_modalities)
            The numbers.
        """
        table = np.full((len(alignments), len(self._layout.names)), np.nan)
        for v, name in enumerate(self._layout.names):
            for i, sample in enumerate(alignments):
                if name in sample:
                    table[i, v] = getattr(sample[name], field)
        return table

    def _with_sequences(
        self, frame: Modalities, samples: list[SampleSequences], *, like: object
    ) -> Modalities | np.ndarray:
        """Return a frame with other sequences, in the form of the input."""
        blocks = list(frame.blocks)
        for v, name in enumerate(frame.names):
            if name in self._layout.sequences:
                blocks[v] = np.full(len(samples), None, dtype=object)
                for i, sample in enumerate(samples):
                    blocks[v][i] = sample.get(name)
        mask = None if frame.observed.all() else frame.observed
        return self._output(Modalities._of(frame.names, tuple(blocks), mask), like=like)

    def _names_out(self) -> list[np.ndarray]:
        return self._layout.prefixed_names()

    def __modality_tags__(self) -> ModalityTags:
        return ModalityTags(sparse=True, missing=True, sequences="allow")

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = tags.input_tags.string = True  # in tables
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


def _title_of(positions: np.ndarray) -> str:
    """Return what is computed of a part of the samples."""
    first, last = positions[[0, -1]].tolist()
    return f"sample {first}" if first == last else f"samples {first} to {last}"


def check_by_sample(given: object, name: str, what: str) -> None:
    """Raise an error unless an argument is a sequence of dicts by modality.

    Parameters
    ----------
    given : object
        The argument.
    name : str
        Its name.
    what : str
        The values of the dicts, for the error.

    Raises
    ------
    TypeError
        If it is not.
    """
    expected = f"expected a list with a dict of {what} by modality for each sample"
    if not isinstance(given, Sequence) or isinstance(given, str):
        raise TypeError(f"{name} is of type {type(given).__name__}; {expected}")
    for i, sample in enumerate(given):
        if not isinstance(sample, Mapping):
            raise TypeError(
                f"{name}[{i}] is of type {type(sample).__name__}; {expected}"
            )


def _checked_alignments(
    alignments: Sequence[Mapping[str, Alignment]],
) -> list[dict[str, Alignment]]:
    check_by_sample(alignments, "alignments", "alignments, as align returns it,")
    for i, sample in enumerate(alignments):
        for name, alignment in sample.items():
            if not isinstance(alignment, Alignment):
                raise TypeError(
                    f"alignments[{i}][{name!r}] is of type {type(alignment).__name__}; "
                    "give what align returns"
                )
    return [dict(sample) for sample in alignments]


def mean_cost(distances: np.ndarray) -> float:
    """Return the mean of the costs that are not NaN; NaN if all are.

    Parameters
    ----------
    distances : ndarray of shape (n_samples, n_modalities)
        Costs of alignments.

    Returns
    -------
    float
        The mean.
    """
    costs = distances[~np.isnan(distances)]
    return float(costs.mean()) if costs.size else np.nan
