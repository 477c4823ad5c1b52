"""Clustering of sequences by a mixture of hidden Markov models."""

from __future__ import annotations

from collections.abc import Iterator
from numbers import Integral, Real
from typing import Any, Self

import numpy as np
from scipy.special import log_softmax, logsumexp
from sklearn.base import BaseEstimator, ClusterMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from mmfusion._chain_estimators import (
    CHAIN_CONSTRAINTS,
    ChainMixin,
    SamplesOfModel,
    posteriors_by_sample,
    refuse_impossible,
    reliability_by_sample,
    samples_of_models,
    states_by_sample,
)
from mmfusion._numbers import check_count
from mmfusion._progress import FitProgress
from mmfusion._sklearn_compat import (
    CallbackSupportMixin,
    Interval,
    StrOptions,
    fit_context,
)
from mmfusion._threads import threads_of_n_jobs
from mmfusion._typing import (
    ByModality,
    ColumnSpecLike,
    ModalitiesLike,
    RandomStateLike,
)
from mmfusion._validation import refuse_empty_samples
from mmfusion._warnings import warn_user
from mmfusion.base import ModalityMixin
from mmfusion.clustering._hmm_mixture import (
    HMMMixture,
    fit_hmm_mixture,
    start_clusters,
    start_model,
)
from mmfusion.clustering._likelihood import LikelihoodMixin
from mmfusion.graphical._chain_model import n_free_parameters, sample_sequences
from mmfusion.graphical._clock import Frames
from mmfusion.modalities import Modalities

DEFAULT_COMPONENTS = 8


class HMMClusterer(
    LikelihoodMixin,
    ChainMixin,
    ModalityMixin,
    ClusterMixin,
    CallbackSupportMixin,
    BaseEstimator,
):
    r"""Cluster sequences of several modalities by a mixture of hidden Markov models.

    Maximises the likelihood of the samples by EM from several starts,

    .. math::

        \sum_i \log \sum_k s_k \, p_k(x_i)

    with the shares :math:`s_k` of the clusters and a chain of hidden states for each,
    :math:`p_k(x) = \sum_q \prod_t a_{q_{t-1} q_t} \prod_v b_{q_t v}(x_{tv})`, whose
    states emit the frames of all modalities v that a sample has. A missing modality or
    frame is left out, which is its exact marginal.

    Parameters
    ----------
    n_clusters : int, default=None
        Number of clusters. None is 8, or in a comparison the number of classes.
    n_states : int, default=5
        Number of states of each chain; at most the steps of the longest sample.
    topology : {'left-to-right', 'ergodic'}, default='left-to-right'
        Whether the states of a cluster follow one another in a fixed order, or in any.
    emission : str, object or dict, default='gaussian'
        Density of the frames of each modality in a state; see `HMMClassifier`.
    covariance_type : {'diag', 'full', 'tied', 'spherical'} or dict, default='diag'
        Covariances of 'gaussian'.
    n_mixtures : int or dict, default=2
        Number of components of each state, for 'mixture'.
    outlier_share : float or dict, default=0.01
        Prior probability that a frame is an outlier, with five times the pooled
        variances; 0 leaves the component out.
    clock : str, int or None, default=None
        Modality whose frames are the steps of the chain, or a number of steps; None is
        the modality with most frames, for each sample.
    rate : {'mean', 'sum'} or dict, default='mean'
        Of several frames of a modality in a step: mean or sum of their log densities.
    slow : {'once', 'hold'} or dict, default='once'
        A modality with fewer frames than steps: emitted at one step each, or held.
    hard_iterations : int, default=3
        Number of first iterations that assign each sample to one cluster.
    n_init : int, default=3
        Number of starts; the fit of the largest objective is kept.
    max_iter : int, default=100
        Largest number of EM iterations.
    tol : float, default=1e-4
        Increase of the objective for each step of the clocks, below which EM ends.
    modalities : int, list of int, str or dict, default=None
        Column spec that splits a plain 2-D X; None takes it as one modality. See
        :meth:`Modalities.from_table`.
    n_jobs : int, default=None
        Number of threads; None is one, -1 is all processors.
    random_state : int, RandomState instance or None, default=None
        Seed of the starts.
    verbose : bool or int, default=False
        Whether to show the progress of the iterations of `fit`: True or 1 by a bar,
        where tqdm is installed and stderr is a terminal or a notebook, else by lines
        with their seconds; 2 by lines.

    Attributes
    ----------
    labels_ : ndarray of int of shape (n_samples,)
        Cluster of each sample.
    weights_ : ndarray of shape (n_clusters,)
        Shares of the clusters.
    objective_history_ : ndarray of shape (`n_iter_`,)
        Log-likelihood plus log prior after each iteration of the best start.
    converged_ : bool
        Whether the best start converged.
    n_iter_ : int
        Number of EM iterations of the best start.
    n_modalities_in_ : int
        Number of modalities seen in `fit`.
    modality_names_in_ : ndarray of str of shape (n_modalities,)
        Names of the modalities.
    n_features_per_modality_in_ : ndarray of int of shape (n_modalities,)
        Number of features of a frame of each modality.
    n_features_in_ : int
        Total number of features.
    feature_names_in_ : ndarray of str of shape (`n_features_in_`,)
        Names ``<modality>__<feature>``, if the input had names.

    Raises
    ------
    ValueError
        If there are fewer samples than clusters, or a sample lacks every modality.

    Warns
    -----
    ConvergenceWarning
        If EM of the best start has not converged.

    See Also
    --------
    HMMClassifier : Classifies by a chain for each class.
    MultimodalMixture : Clusters vectors by their likelihood.

    Notes
    -----
    A start is k-means of what is pooled from a sequence: the means of four equal
    segments in each modality, and the deviations from them. Probabilities of clusters
    are close to 0 or 1, since the likelihoods of sequences differ by many nats.
    Transitions and covariances have the priors of `HMMClassifier`.

    References
    ----------
    .. [1] P. Smyth (1997), Clustering sequences with hidden Markov models. Advances in
       Neural Information Processing Systems 9, 648-654.

    Examples
    --------
    >>> from mmfusion import HMMClusterer
    >>> from mmfusion.datasets import make_multimodal_sequences
    >>> X, _, _ = make_multimodal_sequences(random_state=0)
    >>> clusterer = HMMClusterer(n_clusters=2, n_init=1, random_state=0).fit(X)
    >>> clusterer.predict_proba(X).shape == (len(X), 2)
    True
    """

    _parameter_constraints: dict = {
        **CHAIN_CONSTRAINTS,
        "n_clusters": [Interval(Integral, 1, None, closed="left"), None],
        "n_states": [Interval(Integral, 1, None, closed="left")],
        "topology": [StrOptions({"left-to-right", "ergodic"})],
        "hard_iterations": [Interval(Integral, 0, None, closed="left")],
        "n_init": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="left")],
        "verbose": ["verbose"],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        n_clusters: int | None = None,
        *,
        n_states: int = 5,
        topology: str = "left-to-right",
        emission: ByModality[Any] = "gaussian",
        covariance_type: ByModality[str] = "diag",
        n_mixtures: ByModality[int] = 2,
        outlier_share: ByModality[float] = 0.01,
        clock: str | int | None = None,
        rate: ByModality[str] = "mean",
        slow: ByModality[str] = "once",
        hard_iterations: int = 3,
        n_init: int = 3,
        max_iter: int = 100,
        tol: float = 1e-4,
        modalities: ColumnSpecLike = None,
        n_jobs: int | None = None,
        random_state: RandomStateLike = None,
        verbose: bool | int = False,
    ) -> None:
        self.n_clusters = n_clusters
        self.n_states = n_states
        self.topology = topology
        self.emission = emission
        self.covariance_type = covariance_type
        self.n_mixtures = n_mixtures
        self.outlier_share = outlier_share
        self.clock = clock
        self.rate = rate
        self.slow = slow
        self.hard_iterations = hard_iterations
        self.n_init = n_init
        self.max_iter = max_iter
        self.tol = tol
        self.modalities = modalities
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.verbose = verbose

    @fit_context(prefer_skip_nested_validation=True)
    @threads_of_n_jobs
    def fit(self, X: ModalitiesLike, y: object = None) -> Self:
        """Fit the mixture, and assign every sample to its likeliest cluster.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            Sequences; rows of tables are series of one feature.
        y : object, default=None
            Not used.

        Returns
        -------
        self
            The fitted clusterer.
        """
        frame = self._validate(X, reset=True)
        refuse_empty_samples(frame)
        k = DEFAULT_COMPONENTS if self.n_clusters is None else int(self.n_clusters)
        if len(frame) < k:
            raise ValueError(f"n_samples={len(frame)} should be >= n_clusters={k}")
        rng = check_random_state(self.random_state)
        frames = self._frames(frame)
        self._median_steps = int(np.median(np.diff(frames.offsets)))
        n_states = min(self.n_states, int(np.diff(frames.offsets).max()))
        emission = self._make_emission(n_states)
        emission.prepare(frames)
        best = None
        n_steps = self.n_init * self.max_iter
        with FitProgress(self, X, y, n_steps, "iteration") as progress:
            for number in range(self.n_init):
                start = start_clusters(frames, k, rng)
                models = [
                    start_model(emission, frames, part, n_states, self.topology, rng)
                    for part in start.T
                ]
                mixture = HMMMixture(models, start.mean(axis=0))
                history, converged = fit_hmm_mixture(
                    mixture,
                    frames,
                    start,
                    hard_iterations=self.hard_iterations,
                    max_iter=self.max_iter,
                    tol=self.tol,
                    n_jobs=self.n_jobs,
                    on_step=progress.of_start(number),
                )
                if best is None or history[-1] > best[1][-1]:
                    best = mixture, history, converged
                if progress.is_stopped:
                    break
        assert best is not None
        self._mixture, history, self.converged_ = best
        self.objective_history_ = np.array(history)
        self.n_iter_ = len(history)
        if not (self.converged_ or progress.is_stopped):
            warn_user(
                f"{type(self).__name__} has not converged after max_iter="
                f"{self.max_iter} iterations; raise max_iter or tol",
                ConvergenceWarning,
            )
        self.weights_ = self._mixture.shares
        self.labels_ = self._mixture.joint(frames, self.n_jobs).argmax(axis=1)
        progress.finish()
        return self

    @threads_of_n_jobs
    def predict(self, X: ModalitiesLike) -> np.ndarray:
        """Predict the likeliest clusters of samples.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            Sequences.

        Returns
        -------
        ndarray of int of shape (n_samples,)
            Clusters.
        """
        joint = self._joint(X)
        refuse_impossible(joint.max(axis=1), range(len(joint)))
        return joint.argmax(axis=1)

    @threads_of_n_jobs
    def predict_proba(self, X: ModalitiesLike) -> np.ndarray:
        """Predict the probabilities of the clusters.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            Sequences.

        Returns
        -------
        ndarray of shape (n_samples, n_clusters)
            Posterior probabilities.
        """
        joint = self._joint(X)
        refuse_impossible(joint.max(axis=1), range(len(joint)))
        return np.exp(log_softmax(joint, axis=1))

    @threads_of_n_jobs
    def reliability(self, X: ModalitiesLike) -> dict[str, np.ndarray]:
        """Compute the probability that each frame is no outlier.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            Sequences.

        Returns
        -------
        dict of str to ndarray of object of shape (n_samples,)
            For each modality and sample, an array of shape (n_frames,) of posterior
            probabilities in its likeliest cluster, NaN where nothing was measured;
            None where the sample lacks the modality.
        """
        frame = self._later(X)
        parts = self._by_cluster(self._frames(frame))
        as_given = self._placed(frame, "once")
        return reliability_by_sample(parts, as_given, frame, self.n_jobs)

    @threads_of_n_jobs
    def state_posteriors(self, X: ModalitiesLike) -> dict[str, np.ndarray]:
        """Compute the probabilities of the states of the likeliest cluster.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            Sequences.

        Returns
        -------
        dict of str to ndarray of object of shape (n_samples,)
            For each sample an array of shape (n_steps, n_states) of probabilities on
            the clock, of the chain 'state'.
        """
        frames = self._frames(self._later(X))
        parts, n_samples = self._by_cluster(frames), len(frames.offsets) - 1
        return posteriors_by_sample(parts, self._chains, n_samples, self.n_jobs)

    @threads_of_n_jobs
    def decode(self, X: ModalitiesLike) -> dict[str, np.ndarray]:
        """Find the likeliest states of the likeliest cluster.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            Sequences.

        Returns
        -------
        dict of str to ndarray of object of shape (n_samples,)
            For each sample an array of int of shape (n_steps,) of states on the clock,
            of the chain 'state'.
        """
        frames = self._frames(self._later(X))
        parts, n_samples = self._by_cluster(frames), len(frames.offsets) - 1
        return states_by_sample(parts, self._chains, n_samples, self.n_jobs)

    @threads_of_n_jobs
    def score_samples(self, X: ModalitiesLike) -> np.ndarray:
        """Compute the log-likelihood of each sample.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            Sequences.

        Returns
        -------
        ndarray of shape (n_samples,)
            Log-likelihoods.
        """
        joint = self._joint(X)
        return logsumexp(joint, axis=1)

    def _n_parameters(self) -> int:
        of_chains = sum(map(n_free_parameters, self._mixture.models))
        return of_chains + len(self.weights_) - 1

    def sample(
        self, n_samples: int = 1, random_state: RandomStateLike = None
    ) -> tuple[Modalities, np.ndarray]:
        """Draw samples from the mixture.

        Parameters
        ----------
        n_samples : int, default=1
            Number of samples. They have as many frames in each modality as the median
            sample of `fit` has steps, and no outliers.
        random_state : int, RandomState instance or None, default=None
            Seed.

        Returns
        -------
        X : Modalities of shape (n_samples, n_modalities)
            The sequences.
        labels : ndarray of int of shape (n_samples,)
            Cluster of each sample.
        """
        check_is_fitted(self)
        check_count(n_samples, "n_samples")
        rng = check_random_state(random_state)
        labels = rng.choice(len(self.weights_), size=n_samples, p=self.weights_)
        drawn = []
        for label in labels:
            model = self._mixture.models[label]
            samples, _ = sample_sequences(model, 1, self._median_steps, rng)
            drawn.append(samples[0])
        names = self._layout.names
        return Modalities({n: [own[n] for own in drawn] for n in names}), labels

    @property
    def _chains(self) -> dict[str, np.ndarray]:
        """The states of the one chain."""
        return {"state": np.arange(len(self._mixture.models[0].graph.emits))}

    def _by_cluster(self, frames: Frames) -> Iterator[SamplesOfModel]:
        """Iterate over the likeliest clusters, with their samples and models."""
        joint = self._mixture.joint(frames, self.n_jobs)
        refuse_impossible(joint.max(axis=1), range(len(joint)))
        return samples_of_models(frames, self._mixture.models, joint.argmax(axis=1))

    def _later(self, X: ModalitiesLike) -> Modalities:
        check_is_fitted(self)
        frame = self._validate(X, reset=False)
        refuse_empty_samples(frame)
        return frame

    def _joint(self, X: ModalitiesLike) -> np.ndarray:
        frames = self._frames(self._later(X))
        return self._mixture.joint(frames, self.n_jobs)
