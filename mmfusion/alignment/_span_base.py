"""The base of aligners of frames with labels: input, threads and output."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from numbers import Real
from typing import Any, NamedTuple, Self

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator
from sklearn.utils import Tags

from mmfusion._block_checks import ModalityTags
from mmfusion._blocks import token_arrays
from mmfusion._options import check_flags
from mmfusion._sklearn_compat import (
    INTEGER,
    CallbackSupportMixin,
    Interval,
    fit_context,
)
from mmfusion._threads import one_thread
from mmfusion._typing import ModalitiesLike
from mmfusion.alignment._label_spans import LabelSpans, spans_of_path
from mmfusion.alignment._token_input import tokens_of, with_token_arrays
from mmfusion.base import ModalityMixin, ModalityTransformerMixin
from mmfusion.graphical._steps import StepChain, best_step_path, reached_states
from mmfusion.modalities import Modalities

Labels = Sequence[Hashable]


class LabeledFrames(NamedTuple):
    """A sample with frames and labels.

    Parameters
    ----------
    position : int
        Position in X.
    frames : dict of ndarray of shape (n_frames, n_features)
        The frames by modality, of those that are observed.
    labels : list of hashable
        The labels.
    """

    position: int
    frames: dict[str, np.ndarray]
    labels: list[Hashable]


class LabelChain(NamedTuple):
    """The chain of a sample.

    Parameters
    ----------
    chain : StepChain
        States and weights.
    table : ndarray of shape (n_frames, n_columns)
        Logarithms of the emission weights.
    first, last : ndarray of int of shape (n_labels,)
        First and last state of each label.
    """

    chain: StepChain
    table: np.ndarray
    first: np.ndarray
    last: np.ndarray


class BaseSpanAligner(
    ModalityMixin, ModalityTransformerMixin, CallbackSupportMixin, BaseEstimator
):
    """Base of aligners that find the frames of each label of a sample.

    A subclass implements `_fit_samples` and `_chain_of`, and has the constructor
    parameters `band`, `n_jobs` and `modalities`. Modalities that are tables pass
    through.
    """

    _parameter_constraints: dict = {
        "band": [Interval(Real, 0, 1, closed="right"), None],
        "n_jobs": [INTEGER, None],
        "modalities": ["array-like", str, dict, INTEGER, None],
    }

    band: float | None
    n_jobs: int | None
    _fuses_modalities = False  # whether several modalities may have frames

    @property
    def _frame_modalities(self) -> list[str]:
        return [n for n in self._layout.sequences if n != self._label_modality]

    def _fit_samples(
        self, samples: list[LabeledFrames] | None, X: ModalitiesLike
    ) -> None:
        """Learn from the samples of `fit`; None if their labels are not given."""
        raise NotImplementedError

    def _chain_of(self, sample: LabeledFrames) -> LabelChain:
        """Return the chain of a sample, or raise an error if it has no path."""
        raise NotImplementedError

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: ModalitiesLike, y: ArrayLike | None = None) -> Self:
        """Fit the aligner to samples.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The data: frames, and a modality of labels.
        y : array-like of object of shape (n_samples,), default=None
            Labels of each sample, if no modality holds them; else not used.

        Returns
        -------
        self
            The fitted aligner.
        """
        frame = self._validate(with_token_arrays(X), reset=True, raw=True)
        self._find_roles(frame)
        self._refuse_labels_of_tables(y)
        has_labels = self._label_modality is not None or y is not None
        self._fit_samples(self._samples(frame, y) if has_labels else None, X)
        return self

    def align(
        self,
        X: ModalitiesLike,
        y: ArrayLike | None = None,
        *,
        posteriors: bool = True,
    ) -> list[LabelSpans | None]:
        """Find the frames of the labels of samples, those of `fit` or others.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The data.
        y : array-like of object of shape (n_samples,), default=None
            Labels of each sample, if no modality holds them; else not used.
        posteriors : bool, default=True
            Whether to compute posteriors, which takes most of the time. Without, those
            of the spans and their log-likelihoods are NaN.

        Returns
        -------
        list of LabelSpans or None
            The spans of each sample; None where frames or labels are missing.

        Raises
        ------
        ValueError
            If a sample has fewer frames than its labels need.
        """
        check_flags(posteriors=posteriors)
        frame = self._validate(with_token_arrays(X), reset=False, raw=True)
        return self._spans(frame, y, posteriors=posteriors)

    def transform(self, X: ModalitiesLike) -> Modalities | np.ndarray:
        """Bring the labels of samples to the frames that they are aligned with.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The data.

        Returns
        -------
        Modalities or array
            The data, in which the modality of labels has one for each frame, or None
            between labels. Modalities if X had modalities, else an array.

        Raises
        ------
        ValueError
            If no modality holds labels, or a sample has fewer frames than its labels
            need.
        """
        frame = self._validate(with_token_arrays(X), reset=False, raw=True)
        if self._frame_modality is None:
            return self._output(frame, like=X)
        moved = np.full(len(frame), None, dtype=object)
        for i, found in enumerate(self._spans(frame, None, posteriors=False)):
            if found is None:
                continue
            moved[i] = np.full((found.n_frames, 1), None, object)
            for label, (begin, end) in zip(found.labels, found.spans, strict=True):
                moved[i][begin:end].fill(label)
        blocks = tuple(
            moved if name == self._label_modality else block
            for name, block in zip(frame.names, frame.blocks, strict=True)
        )
        return self._output(Modalities._of(frame.names, blocks, None), like=X)

    def score(self, X: ModalitiesLike, y: ArrayLike | None = None) -> float:
        """Compute the mean log-likelihood of samples, per frame.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The data.
        y : array-like of object of shape (n_samples,), default=None
            Labels of each sample, if no modality holds them; else not used.

        Returns
        -------
        float
            Logarithm of the sum over all paths, divided by the number of frames; NaN
            without samples that have frames and labels.
        """
        frame = self._validate(with_token_arrays(X), reset=False, raw=True)
        samples = self._samples(frame, y)
        n_frames = sum(map(self._n_frames, samples))
        if not n_frames:
            return np.nan
        found = self._aligned(samples, posteriors=True)
        total = sum(own.log_likelihood for own in found)
        return total / n_frames

    def _n_frames(self, sample: LabeledFrames) -> int:
        """Return the number of frames that labels are aligned with."""
        return max(map(len, sample.frames.values()))

    def _spans(
        self, frame: Modalities, y: ArrayLike | None, *, posteriors: bool
    ) -> list[LabelSpans | None]:
        samples = self._samples(frame, y)
        spans: list[LabelSpans | None] = [None] * len(frame)
        found = self._aligned(samples, posteriors=posteriors)
        for sample, own in zip(samples, found, strict=True):
            spans[sample.position] = own
        return spans

    def _aligned(
        self, samples: list[LabeledFrames], *, posteriors: bool
    ) -> list[LabelSpans]:
        with one_thread():
            return Parallel(n_jobs=self.n_jobs, prefer="threads")(
                delayed(self._align_sample)(sample, posteriors) for sample in samples
            )

    def _align_sample(self, sample: LabeledFrames, posteriors: bool) -> LabelSpans:
        own = self._chain_of(sample)
        path = best_step_path(own.chain, own.table, self.band, posteriors=posteriors)
        if path is None:
            self._report_no_path(sample, own)
        assert path is not None
        evidence = path.posteriors
        if not posteriors:
            emits = own.chain.emits[path.states]
            evidence = own.table[np.arange(len(emits)), emits]
        return spans_of_path(sample.labels, path, own.first, own.last, evidence)

    def _report_no_path(self, sample: LabeledFrames, own: LabelChain) -> None:
        """Raise an error that has the cause."""
        what = f"modality {self._frame_modality!r}: no path aligns sample "
        what += f"{sample.position} of {len(own.table)} frames with its "
        what += f"{len(sample.labels)} labels"
        reached = reached_states(own.chain, own.table)
        if len(reached) == len(own.table):
            raise ValueError(
                f"{what} within band={self.band}: give a wider band, or None"
            )
        n_labels = int(np.searchsorted(own.first, reached.max(initial=-1), "right"))
        following = sample.labels[n_labels : n_labels + 1]
        missing = f"label {following[0]!r}" if following else "blank"
        raise ValueError(
            f"{what}: frame {len(reached)} has -inf for all that may follow the first "
            f"{n_labels} labels, which are the most that fit before; give it, or "
            f"frames before it, finite values for the {missing}"
        )

    def _find_roles(self, frame: Modalities) -> None:
        """Find which modality has frames, and which has labels, if any."""
        tags = self.__modality_tags__()
        names = self._layout.sequences
        labels = [name for name in names if tags.reads_tokens(frame[name])]
        frames = [name for name in names if name not in labels]
        self._frame_modality: str | None = None
        self._label_modality: str | None = None
        if not names:
            return
        is_several = len(frames) > 1 and not self._fuses_modalities
        if not frames or len(labels) > 1 or is_several:
            which = "modalities" if self._fuses_modalities else "one modality"
            raise ValueError(
                f"{type(self).__name__} aligns {which} of frames with one of labels, "
                f"and X has frames in {frames} and labels in {labels}: give frames as "
                "arrays of floats, and labels as lists of text or integers"
            )
        self._frame_modality = frames[0]
        self._label_modality = labels[0] if labels else None

    def _refuse_labels_of_tables(self, y: ArrayLike | None) -> None:
        """Raise an error if y has label sequences, and X tables alone."""
        if y is None or self._frame_modality is not None:
            return
        given: Any = y if isinstance(y, list | tuple) else np.asarray(y).ravel()
        if any(isinstance(own, list | tuple) or np.ndim(own) > 0 for own in given):
            raise ValueError(
                f"y has label sequences, and the modalities {list(self._layout.names)} "
                "of X are tables, without frames: give a modality as a list with an "
                "array of each sample, such as [frames] or {'sensor': frames}"
            )

    def _samples(self, frame: Modalities, y: ArrayLike | None) -> list[LabeledFrames]:
        """Return the samples that have frames and labels."""
        if self._frame_modality is None:
            return []
        if self._label_modality is not None:
            block = frame[self._label_modality]
        else:
            block = self._labels_of(y, len(frame))
        frames = {name: frame[name] for name in self._frame_modalities}
        used = np.array([x is not None and len(x) > 0 for x in block])
        used &= np.any(
            [[x is not None for x in own] for own in frames.values()], axis=0
        )
        labels = tokens_of(block, used)
        return [
            LabeledFrames(
                i,
                {name: own[i] for name, own in frames.items() if own[i] is not None},
                list(labels[i]),
            )
            for i in np.flatnonzero(used).tolist()
        ]

    def _labels_of(self, y: ArrayLike | None, n_samples: int) -> np.ndarray:
        """Return the label sequences that y holds."""
        if y is None:
            tables = [n for n in self._layout.names if n not in self._layout.sequences]
            raise ValueError(
                f"{type(self).__name__} needs the labels of each sample: give X a "
                "second modality with a list of labels for each sample, and fit again; "
                "or give the lists as y to fit, align and score"
                + (
                    f". {tables} are tables: in Modalities, labels that are numbers "
                    "are arrays of shape (n_labels, 1)"
                    if tables
                    else ""
                )
            )
        given: list[Any] = list(y)  # type: ignore[arg-type]
        if len(given) != n_samples:
            raise ValueError(
                f"y has labels of {len(given)} samples, and X has {n_samples}; give a "
                "list of labels for each sample of X"
            )
        labels = [None if own is None else _listed_labels(own) for own in given]
        for i, own in enumerate(labels):
            if own is None and given[i] is not None:
                raise ValueError(
                    f"y[{i}] is {given[i]!r:.40}, and no list of labels: give one for "
                    "each sample"
                )
        return token_arrays(labels)

    def _names_out(self) -> list[np.ndarray]:
        return self._layout.prefixed_names()

    def __modality_tags__(self) -> ModalityTags:
        return ModalityTags(sparse=True, missing=True, sequences="labels")

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = tags.input_tags.string = True  # in tables
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


def _listed_labels(labels: Any) -> list[Hashable] | None:
    """Return the labels of a sample, which may be tuples; None if there is no list.

    An array may be a column, as labels are in `Modalities`.
    """
    if isinstance(labels, str | bytes):
        return None
    if isinstance(labels, Sequence):  # np.asarray would read tuples as rows
        return list(labels)
    own = np.asarray(labels)
    if own.ndim == 2 and own.shape[1] == 1:
        own = own[:, 0]
    return list(own) if own.ndim == 1 else None
