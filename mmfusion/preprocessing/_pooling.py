"""Statistics of sequences over time."""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Mapping, Sequence
from typing import cast

import numpy as np

from mmfusion._blocks import Block, as_elements
from mmfusion._scaling import centered
from mmfusion._sklearn_compat import INTEGER
from mmfusion._typing import ColumnSpecLike
from mmfusion.modalities import Modalities
from mmfusion.preprocessing._sequence_transformer import SequenceTransformer


def _mean_of_frames(frames: np.ndarray) -> np.ndarray:
    # free of the rounding that long sums accumulate
    return centered(frames.astype(np.float64, copy=False))[1][0]


def _std_of_frames(frames: np.ndarray) -> np.ndarray:
    """Return the standard deviation, finite for all finite values."""
    deviations, _ = centered(frames.astype(np.float64, copy=False))
    # squares of deviations relative to the largest neither overflow nor underflow
    largest = np.abs(deviations).max(axis=0)
    relative = deviations / np.where(largest > 0, largest, 1)
    return largest * np.sqrt(np.mean(relative**2, axis=0))


# statistics of frames without NaN
STATISTICS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "mean": _mean_of_frames,
    "std": _std_of_frames,
    "min": lambda frames: frames.min(axis=0),
    "max": lambda frames: frames.max(axis=0),
    "median": lambda frames: np.median(frames, axis=0),
    "first": lambda frames: frames[0],
    "last": lambda frames: frames[-1],
}
LENGTH = "length"


class SequencePooling(SequenceTransformer):
    """Pool every sequence over time into statistics of its frames.

    The mean and the standard deviation of feature j of a sequence of n frames are

    .. math:: \\bar{x}_j = \\frac{1}{n} \\sum_{t=1}^{n} x_{tj}, \\qquad
              s_j = \\sqrt{\\frac{1}{n} \\sum_{t=1}^{n} (x_{tj} - \\bar{x}_j)^2} .

    A modality of sequences becomes a dense table; modalities that are tables pass
    through as they are. The output is `Modalities` if the input has modalities.

    Parameters
    ----------
    statistics : sequence of str, default=("mean", "std", "max")
        Statistics in the order of the output: 'mean', 'std' (of the population),
        'min', 'max', 'median', 'first' and 'last' of every feature over the frames,
        and 'length', the number of frames. All but the length ignore NaN.
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
        If a statistic is unknown or repeats, a modality is missing for every sample
        of `fit`, a sequence has no frames, infinity, or frames of another width than
        others, or later input differs from that of `fit` in its modalities.

    See Also
    --------
    SequenceResampler : Keeps the order of frames in time.
    PerModality : Other statistics for each modality, by a dict of transformers.

    Notes
    -----
    Sequences are given as one array of shape (n_frames, n_features) per sample, or as
    one array of shape (n_samples, n_frames, n_features) in which trailing frames of
    NaN are padding. A sample that lacks a modality gets a row of NaN, and thus lacks
    it in the output. A feature that is NaN in every frame of a sequence is NaN in its
    statistics.

    A dense block of images has the form of padded sequences. To leave it as it is,
    name the modalities that hold sequences by a `PerModality`.

    Examples
    --------
    >>> import numpy as np
    >>> from mmfusion import Modalities
    >>> from mmfusion.preprocessing import SequencePooling
    >>> audio = [np.array([[1.0], [2.0], [6.0]]), np.array([[4.0]]), None]
    >>> X = Modalities({"audio": audio, "survey": np.eye(3)})
    >>> pooling = SequencePooling(["mean", "max", "length"]).fit(X)
    >>> pooling.transform(X)["audio"].tolist()
    [[3.0, 6.0, 3.0], [4.0, 4.0, 1.0], [nan, nan, nan]]
    >>> pooling.get_feature_names_out()[:3].tolist()
    ['audio__x0_mean', 'audio__x0_max', 'audio__length']
    """

    _parameter_constraints: dict = {
        "statistics": ["array-like"],
        "modalities": ["array-like", str, dict, INTEGER, None],
    }

    def __init__(
        self,
        statistics: Sequence[str] = ("mean", "std", "max"),
        *,
        modalities: ColumnSpecLike = None,
    ) -> None:
        self.statistics = statistics
        self.modalities = modalities

    def _fit_sequences(self, sequences: dict[str, np.ndarray]) -> None:
        known = [*STATISTICS, LENGTH]
        given = as_elements(self.statistics, "statistics")
        # compared as strings only: an array among them has no single truth value
        are_known = all(isinstance(s, str) and s in known for s in given)
        if not given or not are_known or len(given) > len(set(given)):
            raise ValueError(
                f"statistics={reprlib.repr(given)}; give at least one of {known}, and "
                "each once"
            )

    def _output_shape(self, name: str, width: int) -> tuple[int, ...]:
        return (sum(1 if s == LENGTH else width for s in self.statistics),)

    def _transform_sequence(self, name: str, sequence: np.ndarray) -> np.ndarray:
        return pool(sequence, self.statistics)

    def _features_out(self, name: str, features: list[str]) -> list[str]:
        return [
            value
            for statistic in self.statistics
            for value in (
                [LENGTH]
                if statistic == LENGTH
                else [f"{feature}_{statistic}" for feature in features]
            )
        ]


def pool(sequence: np.ndarray, statistics: Sequence[str]) -> np.ndarray:
    """Compute statistics of a sequence, side by side.

    Parameters
    ----------
    sequence : ndarray of shape (n_frames, n_features)
        The sequence: at least one frame, without infinity; NaN is ignored.
    statistics : sequence of str
        Names of the statistics: keys of `STATISTICS`, or 'length'.

    Returns
    -------
    ndarray of shape (n_values,)
        The statistics one after another, each for all features.
    """
    gaps = np.isnan(sequence)
    frames = sequence[~gaps.all(axis=1)] if gaps.any() else sequence
    whole = frames is sequence or not np.isnan(frames).any()
    compute = _over_frames if whole else _over_observed
    return np.concatenate(
        [
            [len(sequence)] if s == LENGTH else compute(STATISTICS[s], frames)
            for s in statistics
        ]
    )


def pool_modalities(frame: Modalities, widths: Mapping[str, int]) -> Modalities:
    """Replace checked sequences by their statistics over time.

    Parameters
    ----------
    frame : Modalities
        Modalities, of sequences and of tables.
    widths : dict of str to int
        Number of features of a frame, of every modality of sequences.

    Returns
    -------
    Modalities
        Tables only, by the statistics of `SequencePooling`; rows of NaN for samples
        that lack a modality.
    """
    blocks = tuple(
        _pooled(block, widths[name]) if name in widths else block
        for name, block in zip(frame.names, frame.blocks, strict=True)
    )
    return Modalities._of(frame.names, blocks, frame._mask, frame._index)


def _pooled(block: Block, n_features: int) -> Block:
    # it learns nothing: a frame of zeros gives it the width where no sample has any
    pooling = SequencePooling().fit([[np.zeros((1, n_features))]])
    return cast("Modalities", pooling.transform(Modalities([block]))).blocks[0]


def _over_frames(statistic: Callable, frames: np.ndarray) -> np.ndarray:
    return statistic(frames)


def _over_observed(statistic: Callable, frames: np.ndarray) -> np.ndarray:
    """Apply a statistic to features that are NaN in different frames."""
    columns = [column[~np.isnan(column)] for column in frames.T]
    return np.array([statistic(c) if c.size else np.nan for c in columns])
