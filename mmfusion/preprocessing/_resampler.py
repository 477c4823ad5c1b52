"""Resampling of sequences to one number of frames."""

from __future__ import annotations

from collections.abc import Callable
from numbers import Integral

import numpy as np

from mmfusion._memory import check_fits
from mmfusion._sequences import resample
from mmfusion._sklearn_compat import INTEGER, Interval, StrOptions
from mmfusion._typing import ColumnSpecLike
from mmfusion.preprocessing._sequence_transformer import SequenceTransformer

LENGTH_STATISTICS: dict[str, Callable[[list[int]], float]] = {
    "median": np.median,
    "max": max,
}


class SequenceResampler(SequenceTransformer):
    """Resample every sequence linearly in time to one number of frames.

    Frame k of m is interpolated at the time :math:`t = k (n - 1) / (m - 1)` of a
    sequence of n frames, counted from 0,

    .. math:: \\hat{x}_k = (1 - \\lambda) x_{\\lfloor t \\rfloor}
              + \\lambda x_{\\lfloor t \\rfloor + 1},
              \\qquad \\lambda = t - \\lfloor t \\rfloor .

    A modality of sequences becomes a dense array; modalities that are tables pass
    through as they are. The output is `Modalities` if the input has modalities.

    Parameters
    ----------
    n_frames : int, 'median' or 'max', default='median'
        Number of frames of the output, at least 2; 'median' and 'max' of the lengths
        of each modality's sequences in `fit`.
    flatten : bool, default=False
        Whether a sample becomes a row, frame after frame, instead of an array of
        shape (n_frames, n_features). In the DataFrames of `set_output` it is always a
        row.
    modalities : int, list of int, str or dict, default=None
        Column spec that splits a plain 2-D X; None takes it as one modality. See
        :meth:`Modalities.from_table`.

    Attributes
    ----------
    n_frames_ : dict of str to int
        Number of frames of the output, by modality of sequences.
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
        If a modality is missing for every sample of `fit`, a sequence has no frames,
        infinity, or frames of another width than others, or later input differs from
        that of `fit` in its modalities.

    See Also
    --------
    SequencePooling : Statistics over time.

    Notes
    -----
    Sequences are given as one array of shape (n_frames, n_features) per sample, or as
    one array of shape (n_samples, n_frames, n_features) in which trailing frames of
    NaN are padding. The first and the last frame are kept, and the others are
    interpolated between their two neighbours in time; a sequence much longer than
    `n_frames` is thus thinned out, not averaged. A feature that is NaN in some frames
    is interpolated between its observed ones, and is constant before the first and
    after the last of them. A sample that lacks a modality gets NaN, and thus lacks it
    in the output.

    A dense block of images has the form of padded sequences. To leave it as it is,
    name the modalities that hold sequences by a `PerModality`.

    Examples
    --------
    >>> import numpy as np
    >>> from mmfusion import Modalities
    >>> from mmfusion.preprocessing import SequenceResampler
    >>> audio = [np.array([[0.0], [4.0]]), np.array([[1.0], [0.0], [3.0]])]
    >>> X = Modalities({"audio": audio})
    >>> SequenceResampler(5, flatten=True).fit_transform(X)["audio"].tolist()
    [[0.0, 1.0, 2.0, 3.0, 4.0], [1.0, 0.5, 0.0, 1.5, 3.0]]
    >>> SequenceResampler(5).fit_transform(X)
    Modalities of 2 samples x 1 modalities
      audio  dense (2, 5, 1) float64
    """

    _parameter_constraints: dict = {
        "n_frames": [
            Interval(Integral, 2, None, closed="left"),
            StrOptions(set(LENGTH_STATISTICS)),
        ],
        "flatten": ["boolean"],
        "modalities": ["array-like", str, dict, INTEGER, None],
    }

    def __init__(
        self,
        n_frames: int | str = "median",
        *,
        flatten: bool = False,
        modalities: ColumnSpecLike = None,
    ) -> None:
        self.n_frames = n_frames
        self.flatten = flatten
        self.modalities = modalities

    def _fit_sequences(self, sequences: dict[str, np.ndarray]) -> None:
        self.n_frames_ = {
            name: _frame_count(self.n_frames, [len(s) for s in block if s is not None])
            for name, block in sequences.items()
        }
        for name, block in sequences.items():
            observed = [s for s in block if s is not None]
            check_fits(
                self.n_frames_[name] * sum(s[:1].nbytes for s in observed),
                f"modality {name!r}: n_frames={self.n_frames_[name]} for "
                f"{len(observed)} sequences",
                "lower n_frames",
            )

    def _output_shape(self, name: str, width: int) -> tuple[int, ...]:
        n_frames = self.n_frames_[name]
        return (n_frames * width,) if self.flatten else (n_frames, width)

    def _transform_sequence(self, name: str, sequence: np.ndarray) -> np.ndarray:
        resampled = resample(sequence, self.n_frames_[name])
        return resampled.reshape(self._output_shape(name, sequence.shape[1]))

    def _features_out(self, name: str, features: list[str]) -> list[str]:
        n_frames = self.n_frames_[name]
        return [f"{feature}_t{t}" for t in range(n_frames) for feature in features]


def _frame_count(option: int | str, lengths: list[int]) -> int:
    if isinstance(option, str):
        return max(2, round(LENGTH_STATISTICS[option](lengths)))
    return int(option)
