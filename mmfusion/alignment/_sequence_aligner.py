"""What aligners of sequences share: fit, transform, and the way back."""

from __future__ import annotations

from typing import Any, NamedTuple, Self

import numpy as np
from joblib import effective_n_jobs
from sklearn.base import BaseEstimator
from sklearn.utils.parallel import Parallel, delayed

from mmfusion import _validation
from mmfusion._blocks import is_sequences
from mmfusion._memory import check_fits
from mmfusion._sklearn_compat import container_adapter, fit_context
from mmfusion._validation import ModalityTags
from mmfusion.alignment._warp import Plan, align_sample, mean_of_aligned, warp
from mmfusion.alignment.dtw._path import one_blas_thread
from mmfusion.base import ModalityMixin, ModalityTransformerMixin
from mmfusion.modalities import Modalities
from mmfusion.preprocessing._resampler import resample

PARTS_PER_THREAD = 4  # samples are of unequal lengths
OF_SAMPLES = ("barycenter", "longest")  # references that are no modality

Sample = dict[str, np.ndarray]  # the sequences that a sample has, by modality


class Aligned(NamedTuple):
    """What becomes of a sample, with its warped sequences where they are wanted."""

    paths: Sample
    costs: dict[str, float]
    sequences: Sample


class SequenceAligner(ModalityMixin, ModalityTransformerMixin, BaseEstimator):
    """Warps the sequences of every sample onto one time axis; tables pass through.

    A child tells where costs are measured, and how samples are aligned there.
    """

    reference: int | str
    n_frames: int | None
    n_jobs: int | None
    modalities: Any

    def _learn(self, samples: list[Sample]) -> None:
        """Learn from the samples of `fit`, before they are aligned."""

    def _projected(self, samples: list[Sample]) -> list[Sample]:
        """Take sequences to where costs are measured between them."""
        raise NotImplementedError

    def _plan(self) -> Plan:
        """Tell how they are aligned."""
        raise NotImplementedError

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any = None) -> Self:
        """Learn from the samples, align them, and keep how.

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
        self._fit(X, wants_sequences=False)
        return self

    @fit_context(prefer_skip_nested_validation=True)
    def fit_transform(self, X: Any, y: Any = None) -> Any:
        """Fit, and give the samples aligned, for the time of one alignment.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The data.
        y : object, default=None
            Not used.

        Returns
        -------
        Modalities or array
            As `transform` gives it.
        """
        frame, aligned = self._fit(X, wants_sequences=True)
        return self._with_sequences(frame, [a.sequences for a in aligned], like=X)

    def transform(self, X: Any) -> Any:
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
        frame = self._take(X)
        aligned = self._align(self._samples(frame), wants_sequences=True)
        return self._with_sequences(frame, [a.sequences for a in aligned], like=X)

    def inverse_transform(self, X: Any) -> Any:
        """Lead aligned samples of `fit` back to each modality's own time.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            What `fit_transform` gave, or the like of it, with the samples in the order
            of `fit`.

        Returns
        -------
        Modalities or array
            Each of a modality's own frames gets the mean of the frames of the common
            axis that are aligned with it by `paths_`.

        Raises
        ------
        ValueError
            If X has another number of samples than `fit` saw, or a sequence that `fit`
            did not see, or one that is not as long as the axis of its sample.
        """
        frame = self._take(X)
        if len(frame) != len(self.paths_):
            raise ValueError(
                f"X has {len(frame)} samples, and fit saw {len(self.paths_)}: only "
                "samples of fit, all and in their order, have paths to go back by"
            )
        own = [
            {
                name: self._on_own_time(sequence, name, i)
                for name, sequence in sample.items()
            }
            for i, sample in enumerate(self._samples(frame))
        ]
        return self._with_sequences(frame, own, like=X)

    def _fit(
        self, X: Any, *, wants_sequences: bool
    ) -> tuple[Modalities, list[Aligned]]:
        frame = self._validate(X, reset=True, raw=True)
        samples = self._samples(frame)
        self._learn(samples)
        aligned = self._align(samples, wants_sequences=wants_sequences)
        self.paths_ = [a.paths for a in aligned]
        self.distances_ = self._distances(aligned)
        self.cost_ = mean_cost(self.distances_)
        return frame, aligned

    def _take(self, X: Any) -> Modalities:
        """Take later input, held to that of `fit`."""
        return self._validate(X, reset=False, raw=True)

    def _samples(self, frame: Modalities) -> list[Sample]:
        """By sample, the sequences that it has, found to be without gaps."""
        samples: list[Sample] = [{} for _ in range(len(frame))]
        for name in self._layout.sequences:
            for i, sequence in enumerate(frame[name]):
                if sequence is not None:
                    samples[i][name] = sequence
        return samples

    def _align(self, samples: list[Sample], *, wants_sequences: bool) -> list[Aligned]:
        plan = self._plan()
        self._check_n_frames(samples)
        projected = self._projected(samples)

        def align(some: np.ndarray) -> list[Aligned]:
            return [align_one(i) for i in some.tolist()]

        def align_one(i: int) -> Aligned:
            found = align_sample(projected[i], plan, i) if samples[i] else {}
            warped = {}
            if wants_sequences:
                warped = {
                    name: _resampled(warp(samples[i][name], alignment), self.n_frames)
                    for name, alignment in found.items()
                }
            return Aligned(
                {name: alignment.path for name, alignment in found.items()},
                {name: alignment.cost for name, alignment in found.items()},
                warped,
            )

        n_parts = PARTS_PER_THREAD * effective_n_jobs(self.n_jobs)
        # entered here, since threads that enter and leave by themselves would leave
        # the limit of another behind
        with one_blas_thread():
            parts = Parallel(n_jobs=self.n_jobs, prefer="threads")(
                delayed(align)(some)
                for some in np.array_split(np.arange(len(samples)), n_parts)
            )
        return [aligned for part in parts for aligned in part]

    def _check_n_frames(self, samples: list[Sample]) -> None:
        """Refuse frames that would not fit into memory, before any is computed."""
        if self.n_frames is None:
            return
        sequences = [x for sample in samples for x in sample.values()]
        check_fits(
            int(self.n_frames) * sum(x[:1].nbytes for x in sequences),
            f"n_frames={self.n_frames} for {len(sequences)} sequences",
            "lower n_frames, or align fewer samples at a time",
        )

    def _reference(self) -> str:
        """Name of the reference."""
        reference, names = self.reference, self._layout.names
        if reference in OF_SAMPLES:
            return str(reference)
        if not isinstance(reference, str) and -len(names) <= reference < len(names):
            reference = names[reference]
        if reference not in names:
            raise ValueError(
                f"reference={reference!r} is neither a modality, by position or name, "
                f"nor one of {OF_SAMPLES}; the modalities are {list(names)}"
            )
        held = list(self._layout.sequences)
        if held and reference not in held:
            raise ValueError(
                f"reference={self.reference!r}: modality {reference!r} is a table, "
                f"which has no time; those with sequences are {held}"
            )
        return reference

    def _distances(self, aligned: list[Aligned]) -> np.ndarray:
        names = self._layout.names
        found = [[a.costs.get(name, np.nan) for name in names] for a in aligned]
        return np.array(found, dtype=np.float64)

    def _on_own_time(self, sequence: np.ndarray, name: str, i: int) -> np.ndarray:
        what = f"modality {name!r}: the sequence of sample {i}"
        path = self.paths_[i].get(name)
        if path is None:
            raise ValueError(f"{what} was missing in fit: it has no path to go back by")
        n_axis, n_own = (path[-1] + 1).tolist()
        n_expected = self.n_frames or n_axis
        if len(sequence) != n_expected:
            raise ValueError(
                f"{what} has {len(sequence)} frames; aligned, it had {n_expected}"
            )
        if self.n_frames is not None:
            sequence = _resampled(sequence, n_axis)
        return mean_of_aligned(sequence, path[:, ::-1], n_own)

    def _with_sequences(
        self, frame: Modalities, samples: list[Sample], *, like: Any
    ) -> Any:
        """Put sequences in the place of those of a frame, and give it out."""
        blocks = list(frame.blocks)
        for v, name in enumerate(frame.names):
            if name in self._layout.sequences:
                blocks[v] = np.full(len(samples), None, dtype=object)
                for i, sample in enumerate(samples):
                    blocks[v][i] = sample.get(name)
        mask = None if frame.observed.all() else frame.observed
        return self._output(Modalities._of(frame.names, tuple(blocks), mask), like=like)

    def _output(self, frame: Modalities, *, like: Any) -> Any:
        adapter = container_adapter("transform", self)
        if adapter is None or not self._layout.sequences:
            return super()._output(frame, like=like)
        if not _validation.is_multimodal(like):  # the sequences of one modality
            return frame.blocks[0]
        blocks = tuple(
            block
            if is_sequences(block)
            else adapter.create_container(block, block, columns=names, inplace=False)
            for block, names in zip(frame.blocks, self._names_out(), strict=True)
        )
        return Modalities._of(frame.names, blocks, frame._mask)

    def _names_out(self) -> list[np.ndarray]:
        return self._layout.prefixed_names()

    def __modality_tags__(self) -> ModalityTags:
        return ModalityTags(sparse=True, missing=True, sequences="allow")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = tags.input_tags.string = True  # in tables
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


def _resampled(sequence: np.ndarray, n_frames: int | None) -> np.ndarray:
    if n_frames is None:
        return sequence
    return resample(sequence, n_frames).astype(sequence.dtype, copy=False)


def mean_cost(distances: np.ndarray) -> float:
    """Average the costs that are known; NaN if none is."""
    known = distances[~np.isnan(distances)]
    return float(known.mean()) if known.size else np.nan
