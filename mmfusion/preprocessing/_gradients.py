"""Gradients of sequences over time."""

from __future__ import annotations

import numpy as np

from mmfusion._sklearn_compat import INTEGER
from mmfusion._typing import ColumnSpecLike
from mmfusion.preprocessing._sequence_transformer import SequenceTransformer


class SequenceGradients(SequenceTransformer):
    """Append to every frame its gradient over time.

    The gradient of feature j at frame t of a sequence of n frames is the central
    difference, and at the two ends that of neighbours,

    .. math:: g_{tj} = \\frac{x_{t+1,j} - x_{t-1,j}}{2}, \\qquad
              g_{1j} = x_{2j} - x_{1j}, \\qquad g_{nj} = x_{nj} - x_{n-1,j} .

    Sequences stay sequences, with twice as many features; modalities that are tables
    pass through as they are. Models in which the frames of a state are independent,
    such as hidden Markov models, see by it whether a feature rises or falls. The output
    is `Modalities` if the input has modalities.

    Parameters
    ----------
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
        If a modality is missing for every sample of `fit`, a sequence has no frames,
        infinity, or frames of another width than others, or later input differs from
        that of `fit` in its modalities.

    See Also
    --------
    SequencePooling : Statistics over time.
    HMMClassifier : A classifier of sequences that gains from gradients.

    Notes
    -----
    A gradient is NaN where one of its two frames is. That of a sequence of one frame
    is 0.

    Examples
    --------
    >>> import numpy as np
    >>> from mmfusion import Modalities
    >>> from mmfusion.preprocessing import SequenceGradients
    >>> audio = [np.array([[0.0], [1.0], [4.0]]), np.array([[5.0]])]
    >>> out = SequenceGradients().fit_transform(Modalities({"audio": audio}))
    >>> out["audio"][0].tolist()
    [[0.0, 1.0], [1.0, 2.0], [4.0, 3.0]]
    >>> out["audio"][1].tolist()
    [[5.0, 0.0]]
    """

    _parameter_constraints: dict = {
        "modalities": ["array-like", str, dict, INTEGER, None],
    }

    def __init__(self, *, modalities: ColumnSpecLike = None) -> None:
        self.modalities = modalities

    def _fit_sequences(self, sequences: dict[str, np.ndarray]) -> None:
        """Learn nothing: a gradient depends on its own sequence only."""

    def _transform_block(self, name: str, width: int, block: np.ndarray) -> np.ndarray:
        out = np.full(len(block), None, dtype=object)
        for i, sequence in enumerate(block):
            if sequence is not None:
                out[i] = np.hstack([sequence, gradient(sequence)])
        return out

    def _features_out(self, name: str, features: list[str]) -> list[str]:
        return [*features, *(f"{feature}_gradient" for feature in features)]


def gradient(sequence: np.ndarray) -> np.ndarray:
    """Compute the gradient of every feature over time.

    Parameters
    ----------
    sequence : ndarray of shape (n_frames, n_features)
        The sequence.

    Returns
    -------
    ndarray of shape (n_frames, n_features)
        Central differences, one-sided at the ends; 0 for a single frame.
    """
    if len(sequence) == 1:
        return np.zeros_like(sequence)
    return np.gradient(sequence, axis=0)
