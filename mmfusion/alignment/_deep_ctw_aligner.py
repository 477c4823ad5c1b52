"""Alignment of modalities by learned networks: deep canonical time warping."""

from __future__ import annotations

from functools import partial
from numbers import Integral, Real
from typing import Any

import numpy as np
from sklearn.utils import check_random_state

from mmfusion._sklearn_compat import Interval
from mmfusion._typing import ColumnSpecLike, EncodersLike, RandomStateLike
from mmfusion.alignment._base import SampleSequences
from mmfusion.alignment._ctw_aligner import CTWAligner, centered_sequences
from mmfusion.alignment._deep_ctw_training import (
    DEFAULTS,
    AlternationData,
    DeepCTW,
    deep_ctw_of,
    joint_directions,
    make_residual_network,
)
from mmfusion.alignment._frame_embedding import FrameEmbeddingMixin
from mmfusion.alignment._siamese_training import embed_sequences
from mmfusion.alignment.ctw._coordinates import invariant_directions
from mmfusion.alignment.ctw._projections import likelihood_weights
from mmfusion.nn._descent import WITHOUT_EFFECT, descent_settings
from mmfusion.nn._encoders import encoders_by_modality
from mmfusion.nn._isolation import LARGEST_SEED
from mmfusion.nn._trainer import Trainer, TrainerParamsMixin, TrainingSettings

DEFAULT_WIDTHS = (64, 64)  # hidden layers of the modalities that a dict lacks
LEAST_SAMPLES = 5  # of which some are held out


class DeepCTWAligner(TrainerParamsMixin, FrameEmbeddingMixin, CTWAligner):
    """Learn networks whose outputs correlate, and align samples by these.

    Deep canonical time warping continues from `CTWAligner`, which learns linear
    projections. With the frames :math:`F_v = f_v(X_v[P_v])` of each modality v,
    embedded by a network :math:`f_v` and warped by :math:`P_v`, it minimises

    .. math:: -\\sum_{u < v} \\lVert S_{uu}^{-1/2} S_{uv} S_{vv}^{-1/2} \\rVert_*

    the negative sum of the canonical correlations, with the covariances :math:`S_{uv}`
    of :math:`F_u` and :math:`F_v`. Steps of the networks at fixed warps, and warps by
    the embedded frames, alternate. Each network is a linear map plus hidden layers, and
    starts as the projections of `CTWAligner`. Samples are then aligned by the sum of
    two costs, that of the projections and that of the networks: where networks follow a
    wrong warp, the projections keep them from gross errors. Modalities that are tables
    pass through as they are.

    Parameters
    ----------
    n_components : int, default=None
        Number of directions of the projections, at most the features of the smallest
        modality, and of the networks. None has as many as `energy` requires.
    reference : int or str, default=0
        Time axis of a sample: a modality, by position or by name; 'longest', the
        longest of its sequences (the first of several); or 'barycenter', the mean of
        its projected sequences by `dtw_barycenter`. The axis of a sample that lacks
        the modality is its longest sequence. Both words take precedence over a
        modality of that name.
    n_frames : int, default=None
        Number of frames of the output, at least 2, to which the axis of every sample
        is resampled linearly. None keeps the length of each sample's axis.
    energy : float, default=0.8
        Share of the sum of the canonical correlations, at uniform warps, that the
        directions account for.
    ridge : float or 'auto', default=0.0
        Weight, between 0 and 1, of the identity, scaled by the mean variance, in the
        covariance of each modality, for projections and for the coordinates of frames
        that the networks see. 'auto' chooses it as in `CTWAligner`.
    warp : {'auto', 'basis', 'free', 'combined', 'dtw'}, default='auto'
        Warps during learning. 'basis': weighted means of six monotone functions for
        each sequence, in a time linear in the length. 'free': paths of DTW. 'combined':
        'free' from two starts, uniform warps and those of 'basis', of which the one of
        higher correlation is kept. 'dtw': 'free' from paths between the unprojected
        features, which modalities must share; it alone depends on linear mixing of the
        features. 'auto': 'combined' for a single sample, and 'basis' for more. After
        learning, samples are always aligned by DTW.
    metric : {'euclidean', 'sqeuclidean'}, default='euclidean'
        Local cost of two projected and embedded frames, by which samples are aligned
        while networks are learned and afterwards; see `CTWAligner`.
    window : {'sakoe_chiba', 'itakura', 'multiscale'}, default=None
        Frames that may be aligned; see `dtw_path`. None allows all pairs.
    radius : int or float, default=0.1
        Half width of 'sakoe_chiba' and 'multiscale' in frames; a float is a share of
        the longer sequence, at most 1.
    max_slope : float, default=2.0
        Largest slope of 'itakura', relative to the straight line.
    max_iter : int, default=100
        Largest number of alternations, with each ridge.
    tol : float, default=0.01
        Tolerance, in frames: alternations end when no warp moves by more.
    encoders : sequence of int, Module, callable, dict or list, default=(64, 64)
        Hidden layers of the network of each modality: their widths, of which ``()``
        leaves the linear map alone; a torch module, which is copied; or a factory,
        which is called with ``(n_features,)``. A module takes frames of shape
        (n_frames, n_features), in coordinates of unit variance, and returns
        (n_frames, n_latents). A dict holds them by modality; those that it lacks have
        the default.
    steps_per_epoch : int, default=60
        Number of steps of the networks between two alignments of the samples.
    validation_fraction : float, default=0.2
        Share of the complete samples, below 1, that the networks do not learn from. The
        epoch whose networks correlate most on these is kept. 0, or fewer than five
        samples, hold none out: the last epoch is kept.
    trainer : Trainer, default=None
        Options of the training. What it leaves open is, by default, ``max_epochs=8,
        batch_size=8, lr={'network': 0.002}, optimizer='adamw', weight_decay=0.001,
        lr_schedule='constant'``. An epoch is one alignment after `steps_per_epoch`
        steps; a batch has so many whole samples. ``max_epochs=0`` is `CTWAligner`.
        Callbacks and selection are refused.
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
    best_epoch_ : int
        The epoch that is kept; with 0, samples are aligned by `CTWAligner` alone.
    history_ : list of dict
        One entry for the projections, and one per epoch, with its phase, the mean of
        the loss, and the mean correlation of held-out samples. Empty if the trainer has
        ``max_epochs=0``, and shorter if the embedded frames no longer varied in every
        direction.
    network_correlations_ : ndarray of shape (n_components,)
        Canonical correlations of the embedded frames along their warps; empty if
        `best_epoch_` is 0.
    n_iter_ : int
        Number of alternations, with all ridges of the fit that is kept, of the better
        start for 'combined'; 1 if there are only tables.
    projections_ : dict of str to ndarray of shape (n_features, n_components)
        Projections: costs are those of ``(frames - means_[name]) @
        projections_[name]``. Directions are in descending order of their correlation
        r. Each is scaled from unit variance by the root of ``r / (1 - r^2)``, for
        which the path of least squares is the likeliest.
    means_ : dict of str to ndarray of shape (n_features,)
        Mean warped frame of each modality.
    correlations_ : ndarray of shape (n_components,)
        Canonical correlations along the warps of the learned projections, averaged
        over pairs of modalities.
    held_out_correlations_ : ndarray of shape (n_components,)
        The same for frames that projections are not learned from: each fifth of the
        steps of every warp, by projections learned from the other four. If they are
        much smaller than `correlations_`, these are due to chance.
    ridge_ : float
        The ridge of the projections.
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
        Under the conditions of `CTWAligner`, if an encoder does not take frames or does
        not return a row for each, or an option of the trainer has no effect.
    FloatingPointError
        If the loss became NaN or infinite. It is a ValueError, too.

    See Also
    --------
    CTWAligner : Learns projections, from which this starts.
    SiameseAligner : Learns from known matches; far better where there are some.
    DCCA : Correlates networks of samples that need no alignment.

    Notes
    -----
    *Costs of two kinds* are added with one weight each: the weights of directions,
    ``r / (1 - r^2)`` for a correlation r, are divided by their sum. The warps during
    learning are by the networks alone.

    *Linear mixing.* The networks see the frames in invariant coordinates: whitened, and
    ordered by their fourth moments. So neither units nor invertible mixing of the
    features of a modality matter, if `ridge` is 0. Features of which there are too many
    for the frames need a ridge, as in `CTWAligner`.

    *A high correlation is not a good alignment*: it rises in training also where warps
    become worse, since warps follow whatever the networks see. A single pair, or few of
    them, gains little.

    References
    ----------
    G. Trigeorgis, M. Nicolaou, S. Zafeiriou & B. Schuller (2018). Deep canonical time
    warping for simultaneous alignment and representation learning of sequences. IEEE
    TPAMI 40(5), 1128-1138.

    G. Andrew, R. Arora, J. Bilmes & K. Livescu (2013). Deep canonical correlation
    analysis. ICML 30, 1247-1255.

    Examples
    --------
    >>> from mmfusion import Trainer
    >>> from mmfusion.alignment import DeepCTWAligner
    >>> from mmfusion.datasets import make_multimodal_sequences
    >>> X, _, _ = make_multimodal_sequences(
    ...     8, {"audio": 3, "video": 5}, nonlinear=True, random_state=0
    ... )
    >>> trainer = Trainer(max_epochs=2)
    >>> aligner = DeepCTWAligner(2, trainer=trainer, random_state=0).fit(X[:6])
    >>> unseen = aligner.transform(X[6:])
    >>> [len(x) for x in unseen["audio"]] == [len(x) for x in unseen["video"]]
    True
    >>> aligner.score(X[6:]) > 0.9
    True
    """

    _parameter_constraints: dict = {
        **CTWAligner._parameter_constraints,
        "encoders": [list, tuple, dict, callable],
        "steps_per_epoch": [Interval(Integral, 1, None, closed="left")],
        "validation_fraction": [Interval(Real, 0, 1, closed="left")],
        "trainer": [Trainer, None],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        n_components: int | None = None,
        *,
        reference: int | str = 0,
        n_frames: int | None = None,
        energy: float = 0.8,
        ridge: float | str = 0.0,
        warp: str = "auto",
        metric: str = "euclidean",
        window: str | None = None,
        radius: float = 0.1,
        max_slope: float = 2.0,
        max_iter: int = 100,
        tol: float = 0.01,
        encoders: EncodersLike = (64, 64),
        steps_per_epoch: int = 60,
        validation_fraction: float = 0.2,
        trainer: Trainer | None = None,
        n_jobs: int | None = None,
        modalities: ColumnSpecLike = None,
        random_state: RandomStateLike = None,
        verbose: bool | int = False,
    ) -> None:
        super().__init__(
            n_components,
            reference=reference,
            n_frames=n_frames,
            energy=energy,
            ridge=ridge,
            warp=warp,
            metric=metric,
            window=window,
            radius=radius,
            max_slope=max_slope,
            max_iter=max_iter,
            tol=tol,
            n_jobs=n_jobs,
            modalities=modalities,
            verbose=verbose,
        )
        self.encoders = encoders
        self.steps_per_epoch = steps_per_epoch
        self.validation_fraction = validation_fraction
        self.trainer = trainer
        self.random_state = random_state

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Set the state, of an aligner stored without a metric as well."""
        metric = "euclidean" if state.get("best_epoch_") else "sqeuclidean"
        super().__setstate__({"metric": metric} | state)

    def _fit_samples(self, samples: list[SampleSequences], **metadata: Any) -> None:
        settings = descent_settings(
            self.trainer, DEFAULTS, WITHOUT_EFFECT, type(self).__name__
        )
        self.best_epoch_ = 0  # the base aligns as CTWAligner until there are networks
        super()._fit_samples(samples)
        names = list(self.projections_)
        self.history_: list[dict[str, Any]] = []
        self.network_correlations_ = np.empty(0)
        if not names or settings.max_epochs == 0:
            return
        complete = [sample for sample in samples if len(sample) == len(names)]
        self._fit_coordinates(complete, names)
        found = self._train_networks(complete, names, settings)
        self.history_, self.best_epoch_ = found.history, found.best_epoch
        readout = found.readout
        if self.best_epoch_ and readout is not None:
            self._arrays = found.arrays
            self.network_correlations_ = readout.correlations
            self._readout = {
                name: (readout.means[v], readout.weights[v])
                for v, name in enumerate(names)
            }

    def _train_networks(
        self,
        complete: list[SampleSequences],
        names: list[str],
        settings: TrainingSettings,
    ) -> DeepCTW:
        """Train networks that start as the projections."""
        random_state = check_random_state(self.random_state)
        is_held_out = self._is_held_out(len(complete), random_state)
        seed = int(random_state.randint(LARGEST_SEED))
        self._architecture: dict[str, Any] = {
            "options": self._hidden_layers(names),
            "linear": self._initial_maps(names),
            "names": names,
            "seed": seed,
        }
        data = AlternationData(
            [[self._coordinates_of(s[n], n) for n in names] for s in complete],
            [list(s.values()) for s in self._unit_projected(complete)],
            is_held_out,
            {**self._window_options(), "metric": self.metric},
        )
        make = partial(make_residual_network, **self._architecture)
        return deep_ctw_of(make, data, settings, int(self.steps_per_epoch), seed)

    def _is_held_out(
        self, n_samples: int, random_state: np.random.RandomState
    ) -> np.ndarray:
        """Draw the samples that the networks do not learn from."""
        is_held_out = np.zeros(n_samples, dtype=bool)
        order = random_state.permutation(n_samples)
        if n_samples >= LEAST_SAMPLES and self.validation_fraction:
            n_held_out = max(1, round(self.validation_fraction * n_samples))
            is_held_out[order[: min(n_held_out, n_samples - 1)]] = True
        return is_held_out

    def _hidden_layers(self, names: list[str]) -> list[Any]:
        options = encoders_by_modality(self.encoders, names)
        return [DEFAULT_WIDTHS if option is None else option for option in options]

    def _fit_coordinates(
        self, complete: list[SampleSequences], names: list[str]
    ) -> None:
        """Find the coordinates of frames that the networks see."""
        self._coordinates = {}
        for v, name in enumerate(names):
            own = centered_sequences([sample[name] for sample in complete], name)
            directions = invariant_directions(own.sequences, self.ridge_, v)
            scaled = np.ldexp(directions, -own.exponent)
            self._coordinates[name] = own.mean, scaled

    def _coordinates_of(self, frames: np.ndarray, name: str) -> np.ndarray:
        mean, directions = self._coordinates[name]
        return (frames - mean) @ directions

    def _initial_maps(self, names: list[str]) -> list[np.ndarray]:
        """Return the projections, of unit variance, as maps of the coordinates."""
        weights = np.sqrt(likelihood_weights(self.correlations_))
        scale = np.where(weights > 0, 1 / np.where(weights > 0, weights, 1), 0)
        maps = []
        for name in names:
            directions = self._coordinates[name][1]
            # in a unit in which squares are safe
            exponent = int(np.frexp(np.abs(directions).max())[1])
            maps.append(
                np.linalg.lstsq(
                    np.ldexp(directions, -exponent),
                    np.ldexp(self.projections_[name] * scale, -exponent),
                    rcond=None,
                )[0]
            )
        return maps

    def _unit_projected(self, samples: list[SampleSequences]) -> list[SampleSequences]:
        """Return the projected sequences, with weights of directions of sum 1."""
        weights = likelihood_weights(self.correlations_).sum()
        scale = np.sqrt(weights) if weights > 0 else 1.0
        return [
            {name: x / scale for name, x in sample.items()}
            for sample in super()._projected(samples)
        ]

    def _projected(self, samples: list[SampleSequences]) -> list[SampleSequences]:
        """Return the sequences in the directions of projections and of networks."""
        if not self.best_epoch_:
            return super()._projected(samples)
        names = list(self.projections_)
        observed = (
            (self._coordinates_of(x, name), names.index(name))
            for sample in samples
            for name, x in sample.items()
        )
        make = partial(make_residual_network, **self._architecture)
        embedded = iter(embed_sequences(make, self._arrays, observed))
        found = []
        for projected in self._unit_projected(samples):
            read = []
            for name in projected:
                mean, weights = self._readout[name]
                read.append((next(embedded) - mean) @ weights)
            joint = joint_directions(list(projected.values()), read)
            found.append(dict(zip(projected, joint, strict=True)))
        return found

    def _embedded(self, samples: list[SampleSequences]) -> list[SampleSequences]:
        return self._projected(samples)
