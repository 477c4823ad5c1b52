"""Recognition of label sequences by networks, learned without the times of labels."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils import Tags, check_random_state
from sklearn.utils.validation import check_is_fitted

from mmfusion._block_checks import ModalityTags
from mmfusion._numbers import is_integer
from mmfusion._options import by_modality
from mmfusion._row_labels import check_row_labels
from mmfusion._scaling import fit_scaling
from mmfusion._sklearn_compat import INTEGER, Interval, StrOptions, fit_context
from mmfusion._typing import (
    ByModality,
    ColumnSpecLike,
    ModalitiesLike,
    RandomStateLike,
)
from mmfusion._validation import as_modalities, refuse_empty_samples, row_labels
from mmfusion.alignment._label_spans import LabelSpans, spans_of_path
from mmfusion.base import ModalityMixin
from mmfusion.fusion._clocks import find_clocks
from mmfusion.fusion._ctc_training import (
    DEFAULTS,
    ModalityOptions,
    TimedSample,
    log_probabilities,
    train_recognizer,
)
from mmfusion.fusion._sequence_labeler import as_ragged, encode_labels, frame_labels
from mmfusion.graphical._ctc_decoding import beam_labels, greedy_labels
from mmfusion.graphical._steps import best_step_path, ctc_chain
from mmfusion.metrics._label_sequences import edit_distance
from mmfusion.modalities import Modalities
from mmfusion.nn._ctc import BLANK, CTCNetwork
from mmfusion.nn._descent import WITHOUT_CHECKPOINTS, descent_settings
from mmfusion.nn._encoders import LARGEST_LAYER_WIDTH
from mmfusion.nn._isolation import LARGEST_SEED, drawing, isolated
from mmfusion.nn._sequence_data import refuse_falling_times
from mmfusion.nn._state import to_arrays
from mmfusion.nn._trainer import Trainer, TrainerParamsMixin

MOST_CONTEXT = 16  # frames on each side of a convolution
LARGEST_SCALED = 5.0  # standard deviations, to which scaled features are clipped
WINDOW_SHARE = 0.02  # of a typical sample: the unit of attention at the start


class CTCRecognizer(TrainerParamsMixin, ModalityMixin):
    r"""Recognise label sequences, learned without the times of labels.

    A network returns, for each frame t of the first modality, log-probabilities of all
    labels and of a blank. A path q gives each frame a label or the blank; without
    repetitions and blanks it is a label sequence. `fit` minimises

    .. math:: -\frac{1}{n} \sum_i \frac{1}{L_i} \log \sum_{q \to y_i} \prod_t
              p_t(q_t \mid x_i) ,

    the loss of connectionist temporal classification [1]_, over the samples i and all
    paths of their L_i labels. The network has convolutions over the frames of each
    modality, and at each frame of the first reads the others by attention that learns
    how far apart in time frames belong together. Gates, one for each unit and frame,
    weigh the modalities [2]_; the scores of labels are those of the fused frames plus
    those of each modality alone. The losses of each alone are added.

    Parameters
    ----------
    encoders : sequence of int, default=(32, 32, 32)
        Numbers of filters of the convolutions over the frames of every modality.
    context : int or dict of str to int, default=4
        Number of frames on each side that each convolution sees, at most 16; of all
        modalities, or of each by name. 0 is for frames whose neighbours add nothing,
        such as one image for each label.
    dropout : float, default=0.1
        Rate of dropout after each convolution.
    modality_loss_weight : float, default=1.0
        Weight of the losses of single modalities, of several ones: each has
        log-probabilities of its own at the frames of the first, so that the network
        learns from all of them and not only from the one that it learns fastest.
    modality_dropout : float, default=0.3
        Probability with which an observed modality of a sample is dropped in training,
        of several ones; one of them is kept. The frames of the first stay in their
        number.
    modality_noise : float, default=0.5
        Probability with which a modality of a sample gets Gaussian noise in training,
        of several ones: noise of each frame, and an offset of all of them, such as
        another speaker has, both of a standard deviation drawn from 0 to 1, in units
        of the scaled features. So the network learns which one to rely on.
    scaling : {'standard'} or None, default='standard'
        Scaling of the features by their mean and standard deviation over the frames
        of `fit`, clipped to 5 standard deviations, which nearly constant features, such
        as pixels at the border, may exceed by far. None is for features of values
        about 1.
    times : int, str or dict, default=None
        Feature of the frames that is their clock, by its position, such as -1, or its
        name, of all modalities or of each in a dict; it is no feature then. None
        spreads the frames of each sequence evenly from 0 to 1.
    window : float, default=None
        Largest time difference of frames that attention compares, in units of the
        clock, or of relative times from 0 to 1 without one. It bounds the memory of
        long sequences; None compares all.
    decoding : {'beam', 'greedy'}, default='beam'
        'beam': the likeliest label sequence by the sum over its paths, approximately.
        'greedy': the labels of the likeliest path, which takes less time.
    beam_width : int, default=8
        Number of beginnings of label sequences that 'beam' continues after each frame.
    trainer : Trainer, default=None
        Options of the training. What it leaves open is, by default,
        ``max_epochs='auto', batch_size=8, lr={'network': 0.004}, optimizer='adamw',
        weight_decay=0.01, lr_schedule='constant', clip_norm=5.0``. 'auto' trains until
        the error on the samples of `fit` is below a half, and then as long again, at
        least 1000 batches and at most 4000. 'constant' falls linearly in the last
        three tenths. Callbacks, checkpoints and selection are refused.
    modalities : int, list of int, str or dict, default=None
        Column spec that splits a plain 2-D X; None takes it as one modality. See
        :meth:`Modalities.from_table`.
    random_state : int, RandomState instance or None, default=None
        Seed of everything that is drawn. Results do not depend on torch's global
        state, and leave it unchanged.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The labels, sorted.
    history_ : list of dict
        One entry per epoch, with its phase, the mean of the loss, and the error of the
        likeliest paths on the samples of `fit`, as they are in training.
    n_iter_ : int
        Number of epochs.
    n_modalities_in_ : int
        Number of modalities seen in `fit`.
    modality_names_in_ : ndarray of str of shape (n_modalities,)
        Names of the modalities.
    n_features_per_modality_in_ : ndarray of int of shape (n_modalities,)
        Their numbers of features, of a frame; for a table its columns.
    n_features_in_ : int
        Number of features in all.
    feature_names_in_ : ndarray of str of shape (`n_features_in_`,)
        Names ``<modality>__<feature>``, if the input had names.

    Raises
    ------
    ValueError
        If a sample of `fit` has fewer frames than its labels need: one for each, and
        one for the blank between equal ones; a sample lacks every modality; `times` is
        no feature beside others; or an option of the trainer has no effect.
    FloatingPointError
        If the loss became NaN or infinite. It is a ValueError, too.

    Warns
    -----
    ConvergenceWarning
        If an automatic training has not brought the error on the samples of `fit`
        below a half.

    See Also
    --------
    mmfusion.alignment.CTCAligner : Aligns the output of a network trained elsewhere.
    CRFLabeler : Learns from a label for each frame.

    Notes
    -----
    *y* holds one array of labels for each sample, in a list or an object array, and
    `predict` returns an object array of such. Where all modalities are tables, a row is
    a sequence of one frame, y has one label for each row, and `predict` returns the
    likeliest label of each.

    *Missing modalities* add nothing. A sample without the first modality has the frames
    of its longest sequence instead.

    *The plateau.* A network trained by this loss first returns blanks alone, for some
    hundred batches, and then learns quickly. Trainings that are cut short, or whose
    rate falls early, end on this plateau, with an error of 1. Modalities are dropped
    and get noise once the error on the samples of `fit` is below a half.

    *Moments.* The network learns the order of labels, and a characteristic moment of
    each, often near its beginning. The `moments` of `align` are meaningful; the ends
    of its spans are not.

    References
    ----------
    .. [1] Graves, A., Fernandez, S., Gomez, F., & Schmidhuber, J. (2006). Connectionist
       temporal classification: labelling unsegmented sequence data with recurrent
       neural networks. ICML.

    .. [2] Arevalo, J., Solorio, T., Montes-y-Gomez, M., & Gonzalez, F. A. (2017). Gated
       multimodal units for information fusion. ICLR workshop.

    Examples
    --------
    >>> import numpy as np
    >>> from mmfusion import CTCRecognizer, Modalities, Trainer
    >>> rng = np.random.default_rng(0)
    >>> y = [rng.permutation(["a", "b", "c"])[:2] for _ in range(16)]
    >>> def recording(labels):
    ...     at = np.repeat([ord(label) - 97 for label in labels], 4)
    ...     return np.eye(3)[at] + 0.1 * rng.normal(size=(len(at), 3))
    >>> X = Modalities({"audio": [recording(labels) for labels in y]})
    >>> recognizer = CTCRecognizer(
    ...     (16,), trainer=Trainer(max_epochs=60), random_state=0
    ... ).fit(X, y)
    >>> recognizer.score(X, y) > 0.9
    True
    """

    _parameter_constraints: dict = {
        "encoders": [list, tuple],
        "context": [Interval(Integral, 0, MOST_CONTEXT, closed="both"), dict],
        "dropout": [Interval(Real, 0, 1, closed="left")],
        "modality_loss_weight": [Interval(Real, 0, None, closed="left")],
        "modality_dropout": [Interval(Real, 0, 1, closed="left")],
        "modality_noise": [Interval(Real, 0, 1, closed="both")],
        "scaling": [StrOptions({"standard"}), None],
        "times": [INTEGER, str, dict, None],
        "window": [Interval(Real, 0, None, closed="neither"), None],
        "decoding": [StrOptions({"beam", "greedy"})],
        "beam_width": [Interval(Integral, 1, None, closed="left")],
        "trainer": [Trainer, None],
        "modalities": ["array-like", str, dict, INTEGER, None],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        encoders: Sequence[int] = (32, 32, 32),
        *,
        context: ByModality[int] = 4,
        dropout: float = 0.1,
        modality_loss_weight: float = 1.0,
        modality_dropout: float = 0.3,
        modality_noise: float = 0.5,
        scaling: str | None = "standard",
        times: ByModality[int | str | None] = None,
        window: float | None = None,
        decoding: str = "beam",
        beam_width: int = 8,
        trainer: Trainer | None = None,
        modalities: ColumnSpecLike = None,
        random_state: RandomStateLike = None,
    ) -> None:
        self.encoders = encoders
        self.context = context
        self.dropout = dropout
        self.modality_loss_weight = modality_loss_weight
        self.modality_dropout = modality_dropout
        self.modality_noise = modality_noise
        self.scaling = scaling
        self.times = times
        self.window = window
        self.decoding = decoding
        self.beam_width = beam_width
        self.trainer = trainer
        self.modalities = modalities
        self.random_state = random_state

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: ModalitiesLike, y: ArrayLike) -> Self:
        """Train the network by label sequences.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The data.
        y : array-like of object of shape (n_samples,)
            The labels of each sample, an array of shape (n_labels,).

        Returns
        -------
        self
            The fitted recognizer.
        """
        settings = descent_settings(
            self.trainer, DEFAULTS, WITHOUT_CHECKPOINTS, type(self).__name__
        )
        frame = self._validate(X, reset=True)
        refuse_empty_samples(frame)
        if frame._index is not None:
            check_row_labels(frame._index, y, "y")
        labels = frame_labels(y, frame, type(self).__name__)
        clocks = find_clocks(self.times, self._layout, self._layout.names)
        self._clocks = [clocks.get(name) for name in self._layout.names]
        timed = self._timed(frame)
        self.classes_, codes = encode_labels([own for own in labels if len(own)])
        ends = np.cumsum([len(own) for own in labels])[:-1]
        columns = np.split(codes.astype(np.int64) + 1, ends)  # 0 is the blank
        for i, (own, sample) in enumerate(zip(columns, timed, strict=True)):
            _check_feasible(own, len(sample.times), i)
        self._fit_scalings(timed)
        self._architecture = self._describe_network(timed)
        seed = int(check_random_state(self.random_state).randint(LARGEST_SEED))
        with isolated(seed) as order:
            network = self._make_network()
            samples = [self._scaled(sample) for sample in timed]
            options = ModalityOptions(
                float(self.modality_loss_weight),
                float(self.modality_dropout),
                float(self.modality_noise),
            )
            self.history_ = train_recognizer(
                network, samples, columns, settings, order, options
            )
            self._arrays: dict[str, np.ndarray] = to_arrays(dict(network.state_dict()))
        self.n_iter_ = len(self.history_)
        return self

    def predict(self, X: ModalitiesLike) -> np.ndarray:
        """Recognise the labels of samples.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The data.

        Returns
        -------
        ndarray of object of shape (n_samples,)
            An array of labels for each sample. Where all modalities are tables, a label
            for each row, of the type of the labels.
        """
        tables = self.frame_log_probabilities(X)
        if not self._layout.sequences:
            likeliest = [int(table[0, 1:].argmax()) for table in tables]
            return self.classes_[np.array(likeliest, dtype=np.int64)]
        return as_ragged([self._decoded(table) for table in tables])

    def frame_log_probabilities(self, X: ModalitiesLike) -> np.ndarray:
        """Compute the log-probabilities of labels and of the blank at each frame.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The data.

        Returns
        -------
        ndarray of object of shape (n_samples,)
            Arrays of float64 of shape (n_frames, n_classes + 1), of the blank first,
            as :class:`~mmfusion.alignment.CTCAligner` has them. The frames are those of
            the first modality.
        """
        check_is_fitted(self)
        frame = self._validate(X, reset=False)
        refuse_empty_samples(frame)
        samples = [self._scaled(sample) for sample in self._timed(frame)]
        found = log_probabilities(self._make_network, self._arrays, samples)
        return as_ragged(found)

    def align(self, X: ModalitiesLike, y: ArrayLike) -> list[LabelSpans]:
        """Find the moments of known labels.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The data.
        y : array-like of object of shape (n_samples,)
            The labels of each sample, an array of shape (n_labels,).

        Returns
        -------
        list of LabelSpans
            Moments and posteriors of the labels of each sample, in frames of the first
            modality.

        Raises
        ------
        ValueError
            If a sample has fewer frames than its labels need, or a label that `fit`
            had not.
        """
        tables = self.frame_log_probabilities(X)
        labels = frame_labels(y, as_modalities(X), type(self).__name__)
        columns = {label: k for k, label in enumerate(self.classes_.tolist(), start=1)}
        spans = []
        for i, (own, table) in enumerate(zip(labels, tables, strict=True)):
            unknown = [label for label in own.tolist() if label not in columns]
            if unknown:
                raise ValueError(
                    f"y of sample {i} has the label {unknown[0]!r}, and fit had "
                    f"{self.classes_.tolist()[:20]}; give labels of fit"
                )
            found = np.array([columns[label] for label in own.tolist()], np.int64)
            _check_feasible(found, len(table), i)
            path = best_step_path(ctc_chain(found, BLANK), table)
            assert path is not None
            states = 2 * np.arange(len(own)) + 1
            spans.append(
                spans_of_path(own.tolist(), path, states, states, path.posteriors)
            )
        return spans

    def score(self, X: ModalitiesLike, y: ArrayLike) -> float:
        """Compute 1 minus the error rate of labels.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The data.
        y : array-like of object of shape (n_samples,)
            The labels of each sample, an array of shape (n_labels,).

        Returns
        -------
        float
            1 minus the least number of labels to insert, delete or replace, over all
            samples, divided by the number of labels. It is negative if there are more
            errors than labels.
        """
        frame = as_modalities(X)
        check_row_labels(row_labels(X), y, "y")
        truth = frame_labels(y, frame, type(self).__name__)
        found = self.predict(X)
        n_errors = sum(
            edit_distance(own.tolist(), np.atleast_1d(predicted).tolist())
            for own, predicted in zip(truth, found, strict=True)
        )
        n_labels = sum(map(len, truth))
        if not n_labels:
            raise ValueError("y has no label in any sample; give some")
        return 1.0 - n_errors / n_labels

    def _decoded(self, table: np.ndarray) -> np.ndarray:
        """Return the labels of a sample."""
        if self.decoding == "greedy":
            columns = greedy_labels(table, BLANK)
        else:
            columns, _ = beam_labels(table, int(self.beam_width), BLANK)
        return self.classes_[np.array(columns, dtype=np.int64) - 1]

    def _timed(self, frame: Modalities) -> list[TimedSample]:
        """Return samples whose frames have times, those of the first modality first."""
        samples = []
        blocks = [frame[name] for name in self._layout.names]
        for i in range(len(frame)):
            frames = [
                None if block[i] is None else self._split(np.atleast_2d(block[i]), v, i)
                for v, block in enumerate(blocks)
            ]
            observed = [own for own in frames if own is not None]
            first = min(float(times[0]) for _, times in observed)
            frames = [None if f is None else (f[0], f[1] - first) for f in frames]
            longest = max((f for f in frames if f is not None), key=lambda f: len(f[1]))
            clock = longest[1] if frames[0] is None else frames[0][1]
            samples.append(TimedSample(clock, frames))
        return samples

    def _split(
        self, frames: np.ndarray, v: int, i: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return features and times of the frames of a sequence."""
        frames, clock = frames.astype(np.float64, copy=False), self._clocks[v]
        if clock is None:
            return frames, (np.arange(len(frames)) + 0.5) / len(frames)
        times = frames[:, clock]
        refuse_falling_times(times, self._layout.names[v], i)
        return np.delete(frames, clock, axis=1), times

    def _fit_scalings(self, samples: list[TimedSample]) -> None:
        self._scalings = []
        for v, name in enumerate(self._layout.names):
            frames = [s.frames[v][0] for s in samples if s.frames[v] is not None]  # type: ignore[index]
            if not frames:
                raise ValueError(
                    f"modality {name!r} has no sequence in any sample of fit; give "
                    "samples that have it, or leave it out"
                )
            self._scalings.append(fit_scaling(np.concatenate(frames), self.scaling))

    def _scaled(self, sample: TimedSample) -> TimedSample:
        frames: list[tuple[np.ndarray, np.ndarray] | None] = []
        for own, scaling in zip(sample.frames, self._scalings, strict=True):
            if own is None:
                frames.append(None)
                continue
            values = np.asarray(scaling.apply(own[0]))
            if scaling.name is not None:
                values = values.clip(-LARGEST_SCALED, LARGEST_SCALED)
            frames.append((values, own[1]))
        return sample._replace(frames=frames)

    def _describe_network(self, samples: list[TimedSample]) -> dict[str, Any]:
        """Collect what the network is made from; parameters may be set later on."""
        widths = list(self.encoders)
        if (
            not widths
            or not all(isinstance(w, Integral) for w in widths)
            or not 1 <= min(widths) <= max(widths) <= LARGEST_LAYER_WIDTH
        ):
            raise ValueError(
                f"encoders={self.encoders!r}; give positive numbers of filters of "
                f"convolutions, at least one, of at most {LARGEST_LAYER_WIDTH}"
            )
        lengths = [float(s.times[-1] - s.times[0]) for s in samples]
        return {
            "n_features": [
                int(d) - (clock is not None)
                for d, clock in zip(self._layout.widths, self._clocks, strict=True)
            ],
            "n_columns": len(self.classes_) + 1,
            "widths": [int(w) for w in widths],
            "contexts": self._contexts(),
            "dropout": float(self.dropout),
            "unit": WINDOW_SHARE * (float(np.median(lengths)) or 1.0),
            "window": None if self.window is None else float(self.window),
        }

    def _contexts(self) -> list[int]:
        """Return the context of each modality."""
        names = list(self._layout.names)
        contexts = by_modality(self.context, names, "context", 4)
        for name, context in zip(names, contexts, strict=True):
            if not is_integer(context) or not 0 <= context <= MOST_CONTEXT:
                raise ValueError(
                    f"context={context!r} of modality {name!r}; give an integer from 0 "
                    f"to {MOST_CONTEXT}"
                )
        return [int(context) for context in contexts]

    def _make_network(self) -> CTCNetwork:
        with drawing():
            return CTCNetwork(**self._architecture)

    def __modality_tags__(self) -> ModalityTags:
        return ModalityTags(missing=True, sequences="frames")

    def __sklearn_tags__(self) -> Tags:
        tags: Tags = super().__sklearn_tags__()
        tags.estimator_type = None
        tags.target_tags.required = True
        return tags


def _check_feasible(columns: np.ndarray, n_frames: int, i: int) -> None:
    """Raise an error if a sample has fewer frames than its labels need."""
    n_equal = int((columns[1:] == columns[:-1]).sum())
    if n_frames < len(columns) + n_equal:
        raise ValueError(
            f"sample {i} has {n_frames} frames, and its {len(columns)} labels need "
            f"{len(columns) + n_equal}, with a blank between each of {n_equal} pairs "
            "of equal ones: give more frames, or leave the sample out"
        )
