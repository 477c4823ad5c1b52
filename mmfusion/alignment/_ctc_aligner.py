"""Alignment of the output of a network, trained by CTC, with label sequences."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import replace
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from mmfusion._block_checks import ModalityTags
from mmfusion._progress import FitProgress
from mmfusion._sklearn_compat import Interval
from mmfusion._typing import ColumnSpecLike, ModalitiesLike
from mmfusion.alignment._span_base import BaseSpanAligner, LabelChain, LabeledFrames
from mmfusion.graphical._steps import ctc_chain
from mmfusion.graphical._unit_em import LOG_TWO

LARGEST_LOG_PROBABILITY = 1e-3  # of rounding


class CTCAligner(BaseSpanAligner):
    """Align labels with frames by log-probabilities of connectionist temporal classes.

    A network returns, for each frame of a recording, the log-probabilities of all
    labels and of a blank. A path q gives each frame a label or the blank; without
    repetitions and blanks it is the label sequence y. With the sum over all such paths,

    .. math:: p(y \\mid x) = \\sum_{q \\to y} \\prod_t p_t(q_t) ,

    the likeliest path has the frames of every label, and the posteriors show how
    certain they are. Nothing is learned: the network is trained elsewhere. Modalities
    that are tables pass through.

    Parameters
    ----------
    blank : int, default=0
        Column of the blank.
    vocabulary : array-like of shape (n_columns,), default=None
        Label of each column; that of the blank is not used. None has the numbers of the
        columns as labels.
    star : hashable, default=None
        Label that stands for anything of one frame or more, such as a part of a
        recording without transcript. Its probability is half of the largest of the
        frame, so that it leaves labels and blanks their frames. None is without.
    band : float, default=None
        Largest distance of a path from the diagonal, as a share of the labels, for
        recordings of hours. None allows all paths.
    n_jobs : int, default=None
        Number of threads over samples. None is 1 unless in a joblib context, -1 all
        processors.
    modalities : int, list of int, str or dict, default=None
        Column spec that splits a plain 2-D X; None takes it as one modality. See
        :meth:`Modalities.from_table`.

    Attributes
    ----------
    n_modalities_in_ : int
        Number of modalities seen in `fit`.
    modality_names_in_ : ndarray of str of shape (n_modalities,)
        Names of the modalities.
    n_features_per_modality_in_ : ndarray of int of shape (n_modalities,)
        Their numbers of features; of a frame, where they hold sequences.
    n_features_in_ : int
        Number of features in all.
    feature_names_in_ : ndarray of str of shape (`n_features_in_`,)
        Names ``<modality>__<feature>``, if the input had names.

    Raises
    ------
    ValueError
        If X has not one modality of frames and at most one of labels, a label is not in
        the vocabulary, a value is above 0, a sample has fewer frames than its labels
        need: one for each, and one for the blank between equal ones; or all paths of a
        sample have the probability 0.

    See Also
    --------
    ForcedAligner : Learns from features, without a network.
    LabelSpans : What `align` returns for a sample.
    mmfusion.plotting.SpanDisplay : Draw the spans of a sample.

    Notes
    -----
    *Forms of labels.* A modality is a list with a list of labels for each sample, text
    or integers, in a list or dict of modalities, or in `Modalities` as arrays of shape
    (n_labels, 1). Log-probabilities are arrays of float, of shape (n_frames,
    n_columns); -inf stands for labels that a frame cannot have.

    *Spans.* Networks trained by CTC often give a label one frame and blanks before and
    after it. The order and the `moments` of labels are then reliable, their ends are
    not.

    *Time and memory.* States through which no best path can go are left out, and so are
    those that add nothing to the sum: few are left where the network is confident.
    Where many are, some rows of the recursions are kept and the others computed again,
    so that memory grows with the square root of the number of frames.

    References
    ----------
    Graves, A., Fernandez, S., Gomez, F., & Schmidhuber, J. (2006). Connectionist
    temporal classification: labelling unsegmented sequence data with recurrent neural
    networks. ICML.

    Examples
    --------
    >>> import numpy as np
    >>> from mmfusion.alignment import CTCAligner
    >>> probabilities = np.full((7, 3), 0.05)
    >>> probabilities[np.arange(7), [0, 1, 1, 0, 2, 2, 0]] = 0.9
    >>> X = {"network": [np.log(probabilities)], "text": [["a", "b"]]}
    >>> aligner = CTCAligner(vocabulary=["", "a", "b"]).fit(X)
    >>> found = aligner.align(X)[0]
    >>> found.spans.tolist()
    [[1, 3], [4, 6]]
    >>> found.posteriors.round(2)
    array([0.95, 0.95])
    """

    _parameter_constraints: dict = {
        **BaseSpanAligner._parameter_constraints,
        "blank": [Interval(Integral, 0, None, closed="left")],
        "vocabulary": ["array-like", None],
        "star": "no_validation",
    }

    def __init__(
        self,
        blank: int = 0,
        *,
        vocabulary: ArrayLike | None = None,
        star: Hashable = None,
        band: float | None = None,
        n_jobs: int | None = None,
        modalities: ColumnSpecLike = None,
    ) -> None:
        self.blank = blank
        self.vocabulary = vocabulary
        self.star = star
        self.band = band
        self.n_jobs = n_jobs
        self.modalities = modalities

    def _fit_samples(
        self, samples: list[LabeledFrames] | None, X: ModalitiesLike
    ) -> None:
        with FitProgress(self, X, None, 1) as progress:
            self._columns = self._resolve_columns()
            for sample in samples or []:
                self._chain_of(sample)
            progress.step()
            progress.finish()

    def _resolve_columns(self) -> dict[Hashable, int]:
        """Return the column of each label."""
        if self._frame_modality is None:
            return {}
        n_columns = self._layout.frame_widths[self._frame_modality]
        if self.blank >= n_columns:
            raise ValueError(
                f"modality {self._frame_modality!r} has {n_columns} columns, and "
                f"blank={self.blank}: give a column, from 0 to {n_columns - 1}"
            )
        labels: list[Hashable] = list(range(n_columns))
        if self.vocabulary is not None:
            given: Any = self.vocabulary
            labels = given.tolist() if isinstance(given, np.ndarray) else list(given)
        if len(labels) != n_columns:
            raise ValueError(
                f"vocabulary has {len(labels)} labels, and modality "
                f"{self._frame_modality!r} has {n_columns} columns; give a label for "
                "each column, with any value for the blank"
            )
        named = [("star", self.star), *(("vocabulary", x) for x in labels)]
        for name, label in named:
            if not isinstance(label, Hashable):
                raise TypeError(
                    f"{name} has the label {label!r:.40} of type "
                    f"{type(label).__name__}, which cannot be the key of a dict; give "
                    "text, numbers or tuples"
                )
        columns = {label: k for k, label in enumerate(labels) if k != self.blank}
        if len(columns) < n_columns - 1:
            double = next(x for x in columns if labels.count(x) > 1)
            raise ValueError(
                f"vocabulary has the label {double!r} twice; give each column its own"
            )
        if self.star is not None:
            if self.star in columns:
                raise ValueError(
                    f"star={self.star!r} is a label of column {columns[self.star]}, "
                    "too; give a star that is no other label"
                )
            columns[self.star] = n_columns  # a column that is added
        return columns

    def _chain_of(self, sample: LabeledFrames) -> LabelChain:
        what = f"modality {self._frame_modality!r}: sample {sample.position}"
        (table,), labels = sample.frames.values(), sample.labels
        largest = float(table.max())
        if largest > LARGEST_LOG_PROBABILITY:
            raise ValueError(
                f"{what} has the value {largest:.3g}, and log-probabilities are at "
                "most 0: give the logarithm of probabilities, or the log-softmax of "
                "other scores"
            )
        unknown = [label for label in labels if label not in self._columns]
        if unknown:
            raise ValueError(
                f"the label {unknown[0]!r} of sample {sample.position} has no column "
                f"among {list(self._columns)[:20]}: give a vocabulary that has it, or "
                "leave it out"
            )
        columns = np.array([self._columns[label] for label in labels], dtype=np.int64)
        n_equal = int((columns[1:] == columns[:-1]).sum())
        n_needed = len(labels) + n_equal
        if len(table) < n_needed:
            raise ValueError(
                f"{what} has {len(table)} frames, and its {len(labels)} labels need "
                f"{n_needed}, with a blank between each of {n_equal} pairs of equal "
                "ones: give fewer labels, or log-probabilities of more frames"
            )
        if self.star is not None:
            table = np.column_stack([table, table.max(axis=1) - LOG_TWO])
        states = 2 * np.arange(len(labels)) + 1
        return LabelChain(ctc_chain(columns, int(self.blank)), table, states, states)

    def __modality_tags__(self) -> ModalityTags:
        return replace(super().__modality_tags__(), infinite_frames=True)
