"""Alignment of modalities by embedded frames, learned from matches."""

from __future__ import annotations

from collections.abc import Callable
from numbers import Integral, Real
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils import check_random_state

from mmfusion._scaling import fit_scaling
from mmfusion._sklearn_compat import INTEGER, Interval, StrOptions, fit_context
from mmfusion._typing import (
    ColumnSpecLike,
    EncodersLike,
    ModalitiesLike,
    RandomStateLike,
)
from mmfusion.alignment._alignments import Alignment
from mmfusion.alignment._base import BaseAligner, SampleSequences
from mmfusion.alignment._dtw_aligner import ReferenceDTW, resolve_reference
from mmfusion.alignment._frame_embedding import FrameEmbeddingMixin
from mmfusion.alignment._frame_targets import (
    MATCHES,
    PAIRS,
    SEGMENTS,
    TargetPair,
    checked_samples,
    make_targets,
)
from mmfusion.alignment._path_targets import Embed, PathTargets
from mmfusion.alignment._siamese_training import (
    DEFAULTS,
    embed_sequences,
    make_network,
    network_arrays,
    train,
)
from mmfusion.alignment.dtw._constraints import WINDOWS, Constraints
from mmfusion.metrics import alignment_error
from mmfusion.modalities import Modalities
from mmfusion.nn._descent import WITHOUT_CHECKPOINTS, descent_settings
from mmfusion.nn._encoders import encoders_by_modality
from mmfusion.nn._frame_encoders import SimilarityNetwork
from mmfusion.nn._isolation import LARGEST_SEED, isolated
from mmfusion.nn._trainer import Trainer, TrainerParamsMixin

STEP_PATTERN = "symmetric1"  # that of DTWAligner by default


class SiameseAligner(TrainerParamsMixin, FrameEmbeddingMixin):
    """Learn from known matches which frames are alike, and align samples by that.

    Encoders :math:`f_v` embed the frames of each modality v, each frame in its context,
    in one space. With the similarities :math:`S_{ij} = -c \\lVert f_u(x_i) - f_v(y_j)
    \\rVert^2` of the frames of two sequences, and a learned scale c, they minimise the
    cross-entropy of the known matches in both directions:

    .. math:: -\\frac{1}{2 n} \\sum_{i, j} P_{ij} \\log
              \\frac{\\exp S_{ij}}{\\sum_k \\exp S_{ik}}
              -\\frac{1}{2 m} \\sum_{i, j} Q_{ij} \\log
              \\frac{\\exp S_{ij}}{\\sum_k \\exp S_{kj}}

    where :math:`P_{i \\cdot}` is a narrow distribution about the true frame of
    :math:`x_i`, and :math:`Q_{\\cdot j}` one about that of :math:`y_j`. Samples are
    then aligned as by DTWAligner, with the costs between embedded frames; later samples
    need no matches. Modalities that are tables pass through as they are.

    Parameters
    ----------
    encoders : sequence of int, Module, callable, dict or list, default=(64, 64)
        Encoder of each modality: the numbers of filters of convolutions over time,
        beside a linear map of each frame, and without any this map alone; a torch
        module, which is copied; or a factory, which is called with ``(n_features,)``.
        A module takes sequences of shape (n_sequences, n_frames, n_features), and
        returns (n_sequences, n_frames, n_components). A dict holds them by modality;
        those that it lacks have the default.
    shared : bool, default=False
        Whether all modalities have one encoder, for sequences of the same features,
        such as two performances of a piece. If `n_components` is at least the number of
        features, it starts from these, as DTW has them.
    n_components : int, default=32
        Number of features of embedded frames; modules have their own.
    context : int, default=4
        Number of frames on each side that the first convolution sees. Later ones see
        two, or as many if these are fewer.
    dropout : float, default=0.1
        Rate of dropout after the first convolution.
    scaling : {'standard'} or None, default='standard'
        Scaling of the features by their mean and standard deviation over the frames
        of `fit`, of all modalities together if their encoder is shared. None is for
        features of one unit, of values about 1.
    supervision : {'matches', 'segments', 'pairs'}, default='matches'
        What is known of the samples of `fit`; see `fit`. A frame whose segment is
        known matches all frames of the same segment. By 'pairs' nothing is known but
        that the sequences of a sample belong together: matches are those of warps,
        which start as those of CTWAligner with ``warp='basis'``, and are improved by
        the embedded frames every 50 batches.
    reference : int or str, default=0
        Time axis of a sample: a modality, by position or by name; 'longest', the
        longest of its sequences (the first of several); or 'barycenter', the mean of
        its embedded sequences by `dtw_barycenter`. The axis of a sample that lacks
        the modality is its longest sequence. Both words take precedence over a
        modality of that name.
    n_frames : int, default=None
        Number of frames of the output, at least 2, to which the axis of every sample
        is resampled linearly. None keeps the length of each sample's axis.
    window : {'sakoe_chiba', 'itakura', 'multiscale'}, default=None
        Frames that may be aligned; see `dtw_path`. None allows all pairs.
    radius : int or float, default=0.1
        Half width of 'sakoe_chiba' and 'multiscale' in frames; a float is a share of
        the longer sequence, at most 1.
    max_slope : float, default=2.0
        Largest slope of 'itakura', relative to the straight line.
    trainer : Trainer, default=None
        Options of the training. What it leaves open is, by default,
        ``max_epochs='auto', batch_size=4, lr={'network': 0.002}, optimizer='adamw',
        weight_decay=0.01, lr_schedule='cosine', clip_norm=5.0``. A batch has so many
        pairs of sequences, of each a window of at most 256 frames. Callbacks,
        checkpoints and selection are refused.
    n_jobs : int, default=None
        Number of samples aligned at once, in threads, once encoders are learned.
        None is 1 unless in a joblib context, -1 all processors.
    modalities : int, list of int, str or dict, default=None
        Column spec that splits a plain 2-D X; None takes it as one modality. See
        :meth:`Modalities.from_table`.
    random_state : int, RandomState instance or None, default=None
        Seed of everything that is drawn. Results do not depend on torch's global
        state, and leave it unchanged.
    verbose : bool or int, default=False
        Whether to show the progress of many samples: True or 1 by a bar, where tqdm is
        installed and stderr is a terminal or a notebook, else by lines with their
        seconds; 2 by lines.

    Attributes
    ----------
    history_ : list of dict
        One entry per epoch, with its phase and the mean of the loss.
    n_iter_ : int
        Number of epochs.
    paths_ : list of dict of str to ndarray of int64 of shape (length, 2)
        Pairs of aligned frames, of the axis (before it is resampled) and of the
        modality, for each sample of `fit` by its observed modalities. That of the
        reference is straight.
    distances_ : ndarray of float64 of shape (n_samples, n_modalities)
        Normalised cost of each alignment with the axis, that of `dtw_path` between
        embedded frames. It is 0 for the reference, and NaN for missing sequences and
        tables.
    cost_ : float
        Mean of `distances_` without NaN; NaN if all are NaN.
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
        If matches are missing, are classes of samples, or do not fit the sequences,
        none is known of two observed sequences of a sample, by 'pairs' matches are
        given or no sample has all modalities, a sequence is empty or has a value that
        is NaN or infinite, only one modality holds sequences, an encoder
        returns something else than embedded frames, the window allows a sample no
        path, the reference is not a modality of sequences, or an option of the trainer
        has no effect.
    FloatingPointError
        If the loss became NaN or infinite. It is a ValueError, too.

    See Also
    --------
    CTWAligner : Learns from sequences without known matches.
    DTWAligner : Aligns modalities of the same features, without learning.
    mmfusion.metrics.alignment_error : Error of a path against known matches.

    Notes
    -----
    *In a Pipeline*, `y` holds the classes of the last step, and an aligner that took
    them for matches would learn nothing: it raises an error. Give the matches as
    ``matches``, routed by ``set_fit_request(matches=True)``, or put the fitted aligner
    into the Pipeline in a ``FrozenEstimator``.

    *Sparse matches.* Frames between two matches are interpolated if these are at most
    20 frames apart; beyond, only the matches themselves count, since a straight line
    between them may be further off than DTW. Frames before the first match and
    after the last do not count.

    Sequences of a sample that lack a match are not used for learning, and are aligned;
    so are, by 'pairs', those of samples that lack a modality.

    *Without matches*, by 'pairs', the network learns the matches that CTWAligner found,
    right or wrong. Compare both on some samples with known matches before relying on
    it; see the user guide for where it is better.

    References
    ----------
    R. Agrawal & S. Dixon (2020). Learning frame similarity using Siamese networks for
    audio-to-score alignment. arXiv:2011.07546.

    Examples
    --------
    >>> from mmfusion import Trainer
    >>> from mmfusion.alignment import SiameseAligner
    >>> from mmfusion.datasets import make_multimodal_sequences
    >>> X, _, paths = make_multimodal_sequences(
    ...     12, {"audio": 3, "video": 5}, random_state=0
    ... )
    >>> matches = paths[:, ::5]  # of every fifth frame
    >>> trainer = Trainer(max_epochs=40)
    >>> aligner = SiameseAligner(trainer=trainer, random_state=0)
    >>> aligner = aligner.fit(X[:8], matches[:8])
    >>> -aligner.score(X[8:], matches[8:]) < 3
    True
    """

    _parameter_constraints: dict = {
        **BaseAligner._parameter_constraints,
        "encoders": [list, tuple, dict, callable],
        "shared": ["boolean"],
        "n_components": [Interval(Integral, 1, None, closed="left")],
        "context": [Interval(Integral, 0, 16, closed="both")],
        "dropout": [Interval(Real, 0, 1, closed="left")],
        "scaling": [StrOptions({"standard"}), None],
        "supervision": [StrOptions({MATCHES, SEGMENTS, PAIRS})],
        "reference": [INTEGER, str],
        "window": [StrOptions(set(WINDOWS)), None],
        "radius": [Interval(Real, 0, None, closed="left")],
        "max_slope": [Interval(Real, 1, None, closed="left")],
        "trainer": [Trainer, None],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        encoders: EncodersLike = (64, 64),
        *,
        shared: bool = False,
        n_components: int = 32,
        context: int = 4,
        dropout: float = 0.1,
        scaling: str | None = "standard",
        supervision: str = MATCHES,
        reference: int | str = 0,
        n_frames: int | None = None,
        window: str | None = None,
        radius: float = 0.1,
        max_slope: float = 2.0,
        trainer: Trainer | None = None,
        n_jobs: int | None = None,
        modalities: ColumnSpecLike = None,
        random_state: RandomStateLike = None,
        verbose: bool | int = False,
    ) -> None:
        self.encoders = encoders
        self.shared = shared
        self.n_components = n_components
        self.context = context
        self.dropout = dropout
        self.scaling = scaling
        self.supervision = supervision
        self.reference = reference
        self.n_frames = n_frames
        self.window = window
        self.radius = radius
        self.max_slope = max_slope
        self.trainer = trainer
        self.n_jobs = n_jobs
        self.modalities = modalities
        self.random_state = random_state
        self.verbose = verbose

    @fit_context(prefer_skip_nested_validation=True)
    def fit(  # type: ignore[override]
        self,
        X: ModalitiesLike,
        y: ArrayLike | None = None,
        *,
        matches: ArrayLike | None = None,
    ) -> Self:
        """Learn from matches, segments or pairs, and align the samples.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The data.
        y : sequence of array-like, default=None
            What is known of each sample; not used if `matches` is given, or all
            modalities are tables. None for a sample of which nothing is known.
            By 'matches', an array of shape (n_matches, n_modalities) with a column for
            each modality of sequences: frames, counted from 0, that match; they may
            lie between two frames, and NaN is unknown. By 'segments', a list with an
            array of int for each modality of sequences, the label of each frame;
            negative labels are unknown, and modalities have segments in one order. Not
            used by 'pairs'.
        matches : sequence of array-like, default=None
            The same in place of `y`, where that holds something else, as in a
            Pipeline.

        Returns
        -------
        self
            The fitted aligner.
        """
        self._fit(X, warp=False, y=y, matches=matches)
        return self

    @fit_context(prefer_skip_nested_validation=True)
    def fit_transform(  # type: ignore[override]
        self,
        X: ModalitiesLike,
        y: ArrayLike | None = None,
        *,
        matches: ArrayLike | None = None,
    ) -> Modalities | np.ndarray:
        """Fit, and return the aligned samples, at the cost of one alignment.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The data.
        y : sequence of array-like, default=None
            What is known of each sample, as in `fit`.
        matches : sequence of array-like, default=None
            The same in place of `y`, as in `fit`.

        Returns
        -------
        Modalities or array
            The output of `transform` for the same samples.
        """
        return self._fit_transform(X, y=y, matches=matches)

    def score(self, X: ModalitiesLike, y: ArrayLike) -> float:
        """Score the alignments of samples by what is known of them.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The data.
        y : sequence of array-like
            What is known of each sample, as in `fit`; by 'pairs' matches, too.

        Returns
        -------
        float
            By 'matches' and 'pairs', minus the `mmfusion.metrics.alignment_error`, in
            frames. By 'segments', the intersection of the aligned segments of a label
            over their union, in frames of the path, mean over the labels: at most 1.
            Both are means over the samples, and over the pairs of modalities; NaN
            if nothing is known of two sequences, or all modalities are tables.
        """
        samples = self._samples(self._validate(X, reset=False, raw=True))
        names = list(self._layout.sequences)
        if not names:
            return float("nan")
        supervision = SEGMENTS if self.supervision == SEGMENTS else MATCHES
        known = checked_samples(y, samples, names, supervision, "y")
        alignments = [found.alignments for found in self._align(samples, warp=False)]
        of_pair = _overlap if self.supervision == SEGMENTS else _minus_error
        scores = [
            of_pair(aligned[names[u]], aligned[names[v]], own, u, v)
            for aligned, own in zip(alignments, known, strict=True)
            if own is not None
            for u in range(len(names))
            for v in range(u + 1, len(names))
            if names[u] in aligned and names[v] in aligned
        ]
        found = [score for score in scores if not np.isnan(score)]
        return float(np.mean(found)) if found else float("nan")

    def _fit_samples(self, samples: list[SampleSequences], **metadata: Any) -> None:
        names = list(self._layout.sequences)
        self.history_: list[dict[str, Any]] = []
        self.n_iter_ = 0
        settings = descent_settings(
            self.trainer, DEFAULTS, WITHOUT_CHECKPOINTS, type(self).__name__
        )
        if not names:
            return
        if len(names) == 1:
            raise ValueError(
                f"only modality {names[0]!r} holds sequences; similarities are learned "
                "between those of two or more"
            )
        self._check_reference_and_window(samples)
        self._make_architecture(names)
        self._fit_scalings(samples, names)
        pairs, renew = self._pairs_and_renewal(samples, names, **metadata)
        seed = int(check_random_state(self.random_state).randint(LARGEST_SEED))
        with isolated(seed) as order:
            network = self._make_network()
            self.history_ = train(
                network,
                lambda i, name: self._scaled(samples[i][name], name),
                pairs,
                self._positions(),
                settings,
                order,
                renew,
            )
            self._arrays = network_arrays(network)
        self.n_iter_ = len(self.history_)

    def _pairs_and_renewal(
        self, samples: list[SampleSequences], names: list[str], **metadata: Any
    ) -> tuple[list[TargetPair], Callable[[Embed], list[TargetPair]] | None]:
        """Return the pairs of sequences with targets, and what renews the targets."""
        if self.supervision != PAIRS:
            return self._known_pairs(samples, names, **metadata), None
        if metadata.get("matches") is not None:
            raise ValueError(
                "matches are given, and supervision='pairs' learns without; leave them "
                "out, or set supervision='matches' or 'segments'"
            )
        scaled = [{n: self._scaled(x, n) for n, x in s.items()} for s in samples]
        targets = PathTargets(scaled, names)
        return targets.pairs(), targets.renew

    def _known_pairs(
        self,
        samples: list[SampleSequences],
        names: list[str],
        y: Any = None,
        matches: Any = None,
    ) -> list[TargetPair]:
        """Return the pairs of sequences with known matches."""
        given, parameter = (y, "y") if matches is None else (matches, "matches")
        if given is None:
            raise ValueError(
                f"supervision={self.supervision!r} needs the {self.supervision} of the "
                "samples, as y or as matches= of fit; supervision='pairs' and "
                "CTWAligner learn without"
            )
        pairs = make_targets(given, samples, names, self.supervision, parameter)
        if not pairs:
            raise ValueError(
                f"{parameter} has no {self.supervision} of two observed sequences of a "
                "sample: nothing can be learned; give some, or learn without by "
                "supervision='pairs' or CTWAligner"
            )
        return pairs

    def _check_reference_and_window(self, samples: list[SampleSequences]) -> None:
        """Raise errors about the reference and the window before the learning."""
        dtw = self._reference_dtw()
        if self.window is None:
            return
        for i, sample in enumerate(samples):
            if sample:  # the lengths decide, so that one feature suffices
                dtw.align({name: x[:, :1] for name, x in sample.items()}, i)

    def _make_architecture(self, names: list[str]) -> None:
        """Collect what the network is made from; parameters may be set later on."""
        widths = dict(zip(self._layout.names, self._layout.widths, strict=True))
        n_features = [int(widths[name]) for name in names]
        options = encoders_by_modality(self.encoders, names)
        if self.shared:
            if len(set(n_features)) > 1:
                found = dict(zip(names, n_features, strict=True))
                raise ValueError(
                    f"shared=True is one encoder for frames of the same features, and "
                    f"the modalities have {found}; set shared=False"
                )
            if isinstance(self.encoders, dict):
                raise ValueError(
                    "shared=True is one encoder, and encoders is a dict by modality; "
                    "give one encoder, or set shared=False"
                )
            options, n_features, names = options[:1], n_features[:1], names[:1]
        self._architecture: dict[str, Any] = {
            "options": options,
            "n_features": n_features,
            "names": names,
            "n_components": int(self.n_components),
            "context": int(self.context),
            "dropout": float(self.dropout),
        }

    def _make_network(self) -> SimilarityNetwork:
        return make_network(**self._architecture)

    def _positions(self) -> dict[str, int]:
        """Return the position of the encoder of each modality."""
        n_encoders = len(self._architecture["names"])
        return {
            name: v if n_encoders > 1 else 0
            for v, name in enumerate(self._layout.sequences)
        }

    def _fit_scalings(self, samples: list[SampleSequences], names: list[str]) -> None:
        """Fit a scaling for each encoder."""
        groups = [names] if self.shared else [[name] for name in names]
        self._scalings = []
        for group in groups:
            frames = [s[name] for s in samples for name in group if name in s]
            if not frames:
                raise ValueError(
                    f"modality {group[0]!r} has no sequence in any sample of fit; give "
                    "samples that have it, or leave it out"
                )
            # its frames count as the rows of a table
            whole = np.concatenate(frames).astype(np.float64, copy=False)
            self._scalings.append(fit_scaling(whole, self.scaling))

    def _scaled(self, frames: np.ndarray, name: str) -> np.ndarray:
        """Return the scaled frames of a sequence."""
        scaling = self._scalings[self._positions()[name]]
        # a copy of what may be read-only or a view
        return np.array(scaling.apply(frames.astype(np.float64, copy=False)))

    def _embedded(self, samples: list[SampleSequences]) -> list[SampleSequences]:
        positions = self._positions()
        scaled = (
            (self._scaled(frames, name), positions[name])
            for sample in samples
            for name, frames in sample.items()
        )
        embedded = iter(embed_sequences(self._make_network, self._arrays, scaled))
        return [{name: next(embedded) for name in sample} for sample in samples]

    def _sample_aligner(
        self, samples: list[SampleSequences], **metadata: Any
    ) -> Callable[[int], dict[str, Alignment]]:
        if not self._layout.sequences:
            return super()._sample_aligner(samples)
        embedded, dtw = self._embedded(samples), self._reference_dtw()
        return lambda i: dtw.align(embedded[i], i)

    def _reference_dtw(self) -> ReferenceDTW:
        layout = self._layout
        reference = resolve_reference(self.reference, layout.names, layout.sequences)
        constraints = Constraints(
            STEP_PATTERN, self.window, self.radius, self.max_slope
        )
        return ReferenceDTW(reference, "sqeuclidean", constraints)


def _minus_error(
    one: Alignment, other: Alignment, matches: np.ndarray, u: int, v: int
) -> float:
    """Return minus the error of the alignment of two modalities, by their axis."""
    on_axis = one.unwarp(_numbers(one.n_axis_frames))[:, 0]
    at = np.interp(matches[:, u], np.arange(one.n_frames), on_axis)
    return -alignment_error(other.as_path(), np.column_stack([at, matches[:, v]]))


def _overlap(
    one: Alignment, other: Alignment, segments: list[np.ndarray], u: int, v: int
) -> float:
    """Return the intersection of aligned segments over their union, mean over them."""
    first, second = (
        segments[w][np.rint(a.warp(_numbers(a.n_frames))[:, 0]).astype(int)]
        for w, a in ((u, one), (v, other))
    )
    known = (first >= 0) & (second >= 0)
    first, second = first[known], second[known]
    shares = [
        ((first == k) & (second == k)).sum() / ((first == k) | (second == k)).sum()
        for k in np.union1d(first, second)
    ]
    return float(np.mean(shares)) if shares else float("nan")


def _numbers(n_frames: int) -> np.ndarray:
    return np.arange(n_frames, dtype=np.float64)[:, None]
