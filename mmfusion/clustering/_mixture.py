"""Clustering by the likelihood of a mixture of several modalities."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from numbers import Integral, Real
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike
from scipy import sparse
from scipy.special import log_softmax, logsumexp
from sklearn.base import BaseEstimator, ClusterMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import ClassifierTags, check_random_state
from sklearn.utils.validation import check_is_fitted

from mmfusion._block_checks import ModalityTags
from mmfusion._blocks import of_samples
from mmfusion._numbers import check_count
from mmfusion._options import (
    by_modality,
    errors_about,
    errors_name,
    weights_by_modality,
)
from mmfusion._progress import FitProgress
from mmfusion._row_chunks import by_row_chunks
from mmfusion._scaling import SCALINGS
from mmfusion._scaling_choice import fit_scalings
from mmfusion._sklearn_compat import (
    CallbackSupportMixin,
    Interval,
    StrOptions,
    fit_context,
)
from mmfusion._typing import (
    ByModality,
    ColumnSpecLike,
    ModalitiesLike,
    NumericBlock,
    RandomStateLike,
)
from mmfusion._validation import refuse_empty_samples
from mmfusion._warnings import warn_user
from mmfusion.base import ModalityMixin
from mmfusion.clustering._likelihood import LikelihoodMixin
from mmfusion.clustering._mixture_model import (
    MixtureModel,
    fit_mixture,
    samples_as_frames,
    start_responsibilities,
)
from mmfusion.clustering._principal_axes import PrincipalAxes, fit_principal_axes
from mmfusion.clustering.graph._zero_rows import ZERO_ROWS, observed_samples
from mmfusion.graphical._clock import Frames
from mmfusion.graphical._emissions import COVARIANCE_TYPES, make_emission
from mmfusion.graphical._multimodal_emission import MultimodalEmission
from mmfusion.modalities import Modalities

DEFAULT_COMPONENTS = 8
EMISSIONS = ("gaussian", "multinomial", "poisson", "bernoulli", "categorical")
DEFAULT_EXPLAINED = 0.8  # also of starts, where clusters differ in all features
FLOOR_SHARE = 1e-3  # share of the pooled variance, unless there is no prior
SHARE = Interval(Real, 0, 1, closed="right")


class _Modality(NamedTuple):
    """Reading and density of a modality."""

    kind: str
    covariance_type: str
    axes: PrincipalAxes
    is_reduced: bool

    def values(self, block: NumericBlock) -> NumericBlock:
        """Return what the density is of."""
        if self.is_reduced:
            return self.axes.transform(block)
        if self.kind == "multinomial" and sparse.issparse(block):
            return block.astype(np.float64)
        return np.asarray(_as_dense(block), dtype=np.float64)

    def start(self, block: NumericBlock) -> np.ndarray:
        """Return coordinates on principal axes, of NaN at the mean."""
        return self.axes.transform(_with_means(block))


class MultimodalMixture(
    LikelihoodMixin, ModalityMixin, ClusterMixin, CallbackSupportMixin, BaseEstimator
):
    r"""Cluster by a mixture whose components are independent in the modalities.

    Maximises the likelihood of the samples, by EM from several starts,

    .. math::

        \sum_i \log \sum_k s_k \prod_{v \in O_i} b_{kv}(x_{iv})^{w_v}

    with the shares :math:`s_k` of the clusters, a density :math:`b_{kv}` of each
    modality in each cluster, weights :math:`w_v`, and the modalities :math:`O_i` that a
    sample has. A missing modality is left out, which is its exact marginal density;
    nothing is filled in.

    Parameters
    ----------
    n_clusters : int, default=None
        Number of clusters. None is 8, or in a comparison the number of classes.
    emission : str or dict, default='gaussian'
        Density of each modality: of numbers ('gaussian'), of counts such as those of
        words ('multinomial', of which the sum of a row is not modelled, or 'poisson'),
        of 0 and 1 ('bernoulli'), or of integers that are categories, a column for each
        variable ('categorical').
    covariance_type : {'tied', 'diag', 'full', 'spherical'} or dict, default='tied'
        Covariance of 'gaussian': one of all clusters ('tied'), or of each cluster
        diagonal, full, or a multiple of the identity.
    explained_variance : float, dict or None, default=0.8
        Share of the variance of a modality along the principal axes on which clusters
        differ, for 'gaussian'; along the others is noise that all clusters share. None
        takes the features as they are, which may then be NaN.
    modality_weights : 'balanced', array-like or dict, default=None
        Exponents of the densities. 'balanced' is ``1 / d_v`` for the numbers of
        features or axes, divided by their mean; None is 1, the likelihood.
    prior_frames : float, default=2.0
        Weight of the prior of covariances, as samples with the pooled variances.
    scaling : {'auto', 'block', 'standard', 'l2'} or None or dict, default='auto'
        Scaling of each modality before its principal axes, as in `EarlyFusion`.
    zero_rows : {'warn', 'missing', 'keep'}, default='warn'
        What rows of zeros are: 'missing' marks them as missing modalities. 'warn' takes
        them as they are, with a warning if they are more than 5 % of a modality.
    n_init : int, default=10
        Number of starts; the fit of the largest objective is kept.
    max_iter : int, default=100
        Largest number of EM iterations.
    tol : float, default=1e-4
        Increase of the objective for each sample, in nats, below which EM ends.
    modalities : int, list of int, str or dict, default=None
        Column spec that splits a plain 2-D X; None takes it as one modality. See
        :meth:`Modalities.from_table`.
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
    means_ : dict of str to ndarray of shape (n_clusters, n_features)
        Means of the clusters in each modality: probabilities for 'multinomial',
        'bernoulli' and 'categorical', rates for 'poisson'.
    modality_weights_ : ndarray of shape (n_modalities,)
        Weights of the modalities.
    n_axes_ : dict of str to int
        Number of principal axes of each modality, or of features without them.
    scaling_ : dict of str to {'block', 'standard', 'l2'} or None
        Scaling of each modality.
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
        Number of features of each modality.
    n_features_in_ : int
        Total number of features.
    feature_names_in_ : ndarray of str of shape (`n_features_in_`,)
        Names ``<modality>__<feature>``, if the input had names.

    Raises
    ------
    ValueError
        If there are fewer samples than clusters, a sample lacks every modality, or
        values do not fit the density, such as negative counts.

    Warns
    -----
    ConvergenceWarning
        If EM of the best start has not converged.

    See Also
    --------
    EarlyFusionClusterer : Clusters the scaled concatenation by k-means.
    SpectralClusterer : Clusters of any shape, by graphs.

    Notes
    -----
    A start is k-means of the modalities side by side, continued for missing ones with
    the distances in the others, followed by EM with one variance for each modality,
    which weighs the modalities by how well the clusters fit them.

    Diagonal densities of raw features count what correlated features share several
    times, and the posterior probabilities are too sure; principal axes with a tied
    covariance count it once. Without axes, prior and floor of variances, the fit of one
    complete modality is that of :class:`~sklearn.mixture.GaussianMixture` from the same
    start. With weights other than 1 scores are no log-likelihoods, and `bic` and `aic`
    have no foundation.

    References
    ----------
    .. [1] A. P. Dempster, N. M. Laird, D. B. Rubin (1977), Maximum likelihood from
       incomplete data via the EM algorithm. Journal of the Royal Statistical Society B
       39, 1-38.

    Examples
    --------
    >>> from mmfusion import MultimodalMixture
    >>> from mmfusion.datasets import make_multimodal_blobs
    >>> X, y = make_multimodal_blobs(missing_rate=0.2, random_state=0)
    >>> mixture = MultimodalMixture(n_clusters=3, random_state=0).fit(X[:80])
    >>> mixture.predict_proba(X[80:]).shape
    (20, 3)
    """

    _parameter_constraints: dict = {
        "n_clusters": [Interval(Integral, 1, None, closed="left"), None],
        "emission": [StrOptions(set(EMISSIONS)), dict],
        "covariance_type": [StrOptions(set(COVARIANCE_TYPES)), dict],
        "explained_variance": [SHARE, None, dict],
        "modality_weights": [StrOptions({"balanced"}), "array-like", dict, None],
        "prior_frames": [Interval(Real, 0, None, closed="left")],
        "scaling": [StrOptions(set(SCALINGS)), None, dict],
        "zero_rows": [StrOptions(set(ZERO_ROWS))],
        "n_init": [Interval(Integral, 1, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="left")],
        "modalities": ["array-like", str, dict, Integral, None],
        "verbose": ["verbose"],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        n_clusters: int | None = None,
        *,
        emission: ByModality[str] = "gaussian",
        covariance_type: ByModality[str] = "tied",
        explained_variance: ByModality[float | None] = 0.8,
        modality_weights: ArrayLike | ByModality[float] | str | None = None,
        prior_frames: float = 2.0,
        scaling: ByModality[str | None] = "auto",
        zero_rows: str = "warn",
        n_init: int = 10,
        max_iter: int = 100,
        tol: float = 1e-4,
        modalities: ColumnSpecLike = None,
        random_state: RandomStateLike = None,
        verbose: bool | int = False,
    ) -> None:
        self.n_clusters = n_clusters
        self.emission = emission
        self.covariance_type = covariance_type
        self.explained_variance = explained_variance
        self.modality_weights = modality_weights
        self.prior_frames = prior_frames
        self.scaling = scaling
        self.zero_rows = zero_rows
        self.n_init = n_init
        self.max_iter = max_iter
        self.tol = tol
        self.modalities = modalities
        self.random_state = random_state
        self.verbose = verbose

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: ModalitiesLike, y: object = None) -> Self:
        """Fit the mixture, and assign every sample to its likeliest cluster.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The data; see the user guide on input.
        y : object, default=None
            Not used.

        Returns
        -------
        self
            The fitted clusterer.
        """
        frame = self._validate(X, reset=True)
        refuse_empty_samples(frame)
        k = self._k
        if len(frame) < k:
            raise ValueError(f"n_samples={len(frame)} should be >= n_clusters={k}")
        rng = check_random_state(self.random_state)
        observed = self._observed(frame)
        self._modalities = self._read_modalities(frame, observed, rng)
        frames = self._frames(frame, observed)
        self.n_axes_ = {
            name: own.values.shape[1] for name, own in frames.modalities.items()
        }
        self._set_weights(list(frame.names))
        starts = self._starts(frame, observed)
        best = None
        n_steps = self.n_init * self.max_iter
        with FitProgress(self, X, y, n_steps, "iteration") as progress:
            for number in range(self.n_init):
                responsibilities = start_responsibilities(
                    starts, observed, self.modality_weights_, k, rng
                )
                model = self._unfitted(frames)
                history, converged = fit_mixture(
                    model,
                    frames,
                    responsibilities,
                    max_iter=self.max_iter,
                    tol=self.tol,
                    on_step=progress.of_start(number),
                )
                if best is None or history[-1] > best[1][-1]:
                    best = model, history, converged
                if progress.is_stopped:
                    break
        assert best is not None
        self._model, history, self.converged_ = best
        self.objective_history_ = np.array(history)
        self.n_iter_ = len(history)
        if not (self.converged_ or progress.is_stopped):
            warn_user(
                f"EM has not converged in {self.max_iter} iterations; raise max_iter "
                "or tol",
                ConvergenceWarning,
            )
        self.weights_ = self._model.shares
        self.means_ = self._cluster_means()
        self.labels_ = self._model.joint(frames).argmax(axis=1)
        progress.finish()
        return self

    @by_row_chunks
    def predict(self, X: ModalitiesLike) -> np.ndarray:
        """Predict the likeliest clusters of samples.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The data.

        Returns
        -------
        ndarray of int of shape (n_samples,)
            Clusters.
        """
        joint = self._joint(X)
        return joint.argmax(axis=1)

    @by_row_chunks
    def predict_proba(self, X: ModalitiesLike) -> np.ndarray:
        """Predict the probabilities of the clusters.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The data.

        Returns
        -------
        ndarray of shape (n_samples, n_clusters)
            Posterior probabilities.
        """
        joint = self._joint(X)
        return np.exp(log_softmax(joint, axis=1))

    @by_row_chunks
    def score_samples(self, X: ModalitiesLike) -> np.ndarray:
        """Compute the log-likelihood of each sample in the modalities that it has.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The data.

        Returns
        -------
        ndarray of shape (n_samples,)
            Log-likelihoods; for ``scaling='l2'`` of rows of unit length.
        """
        check_is_fitted(self)
        frame, observed = self._checked(X)
        values = logsumexp(self._joint_of(frame, observed), axis=1)
        parts = zip(frame.blocks, observed.T, self.modality_weights_, strict=True)
        for name, (block, own, weight) in zip(frame.names, parts, strict=True):
            modality = self._modalities[name]
            if modality.is_reduced and own.any():
                rows = of_samples(block, own)
                coordinates = modality.axes.transform(rows)
                values[own] += weight * modality.axes.log_noise(rows, coordinates)
        return values

    def sample(
        self, n_samples: int = 1, random_state: RandomStateLike = None
    ) -> tuple[Modalities, np.ndarray]:
        """Draw samples from the mixture.

        Parameters
        ----------
        n_samples : int, default=1
            Number of samples.
        random_state : int, RandomState instance or None, default=None
            Seed.

        Returns
        -------
        X : Modalities
            Samples, in the units of the data of `fit`; rows of modalities scaled by
            'l2' have about unit length.
        labels : ndarray of int of shape (n_samples,)
            Cluster of each sample.
        """
        check_is_fitted(self)
        check_count(n_samples, "n_samples")
        rng = check_random_state(random_state)
        labels = rng.choice(len(self.weights_), size=n_samples, p=self.weights_)
        blocks = {}
        for name, emission in self._model.emission.emissions.items():
            values = emission.sample(labels, rng)
            own = self._modalities[name]
            blocks[name] = own.axes.draw(values, rng) if own.is_reduced else values
        return Modalities(blocks), labels

    # Fitting

    @property
    def _k(self) -> int:
        return DEFAULT_COMPONENTS if self.n_clusters is None else int(self.n_clusters)

    def _observed(self, frame: Modalities, *, warns: bool = True) -> np.ndarray:
        """Return which samples have which modality; zeros of counts are counts."""
        names = list(frame.names)
        kinds = by_modality(self.emission, names, "emission", "gaussian", EMISSIONS)
        counted = [n for n, k in zip(names, kinds, strict=True) if k != "gaussian"]
        return observed_samples(frame, self.zero_rows, counted, warns=warns)

    def _read_modalities(
        self, frame: Modalities, observed: np.ndarray, rng: np.random.RandomState
    ) -> dict[str, _Modality]:
        """Resolve the options of each modality, and find its principal axes."""
        names = list(frame.names)
        kinds = by_modality(self.emission, names, "emission", "gaussian", EMISSIONS)
        types = by_modality(
            self.covariance_type, names, "covariance_type", "tied", COVARIANCE_TYPES
        )
        shares = by_modality(
            self.explained_variance, names, "explained_variance", DEFAULT_EXPLAINED
        )
        scalings = by_modality(self.scaling, names, "scaling", "auto", SCALINGS)
        blocks = [
            _with_means(of_samples(block, own))
            for block, own in zip(frame.blocks, observed.T, strict=True)
        ]
        fitted = fit_scalings(blocks, scalings)
        self.scaling_ = {n: s.name for n, s in zip(names, fitted, strict=True)}
        found = {}
        for name, kind, type_, share, block, scaling in zip(
            names, kinds, types, shares, blocks, fitted, strict=True
        ):
            if share is not None and not SHARE.is_satisfied_by(share):
                raise ValueError(
                    f"explained_variance[{name!r}] is {share!r}; it must be above 0 "
                    "and at most 1, or None"
                )
            kind = kind or "gaussian"
            is_reduced = kind == "gaussian" and share is not None
            axes = fit_principal_axes(block, scaling, share or DEFAULT_EXPLAINED, rng)
            found[name] = _Modality(kind, type_ or "tied", axes, is_reduced)
        return found

    def _frames(self, frame: Modalities, observed: np.ndarray) -> Frames:
        """Return the values of all densities as sequences of one frame."""
        blocks = {}
        for name, block, own in zip(frame.names, frame.blocks, observed.T, strict=True):
            with errors_name(name):
                blocks[name] = self._modalities[name].values(of_samples(block, own))
        return samples_as_frames(blocks, observed)

    def _starts(self, frame: Modalities, observed: np.ndarray) -> list[np.ndarray]:
        """Return the coordinates of all samples, 0 for missing modalities."""
        starts = []
        for name, block, own in zip(frame.names, frame.blocks, observed.T, strict=True):
            values = self._modalities[name].start(of_samples(block, own))
            start = np.zeros((len(frame), values.shape[1]))
            start[own] = values
            starts.append(start)
        return starts

    def _set_weights(self, names: list[str]) -> None:
        if isinstance(self.modality_weights, str):
            inverse = np.array([1 / self.n_axes_[name] for name in names])
            self.modality_weights_ = inverse / inverse.mean()
            return
        with errors_about("modality_weights"):
            self.modality_weights_ = weights_by_modality(self.modality_weights, names)

    def _unfitted(self, frames: Frames) -> MixtureModel:
        """Return a mixture with the pooled moments of the samples."""
        emissions = {
            name: make_emission(
                own.kind,
                self._k,
                covariance_type=own.covariance_type,
                prior_frames=float(self.prior_frames),
                variance_floor=FLOOR_SHARE if self.prior_frames > 0 else 0.0,
            )
            for name, own in self._modalities.items()
        }
        weights = dict(zip(emissions, self.modality_weights_.tolist(), strict=True))
        emission = MultimodalEmission(emissions, weights)
        for name, own in frames.modalities.items():
            with errors_name(name):
                emissions[name].prepare(own.values)
        return MixtureModel(emission, np.full(self._k, 1 / self._k))

    def _cluster_means(self) -> dict[str, np.ndarray]:
        means = {}
        emissions: dict[str, Any] = dict(self._model.emission.emissions)
        for name, emission in emissions.items():
            own = self._modalities[name]
            if own.kind == "gaussian":
                found = emission.means
                means[name] = own.axes.revert(found) if own.is_reduced else found
            elif own.kind == "poisson":
                means[name] = emission.rates
            elif own.kind == "categorical":
                means[name] = np.hstack(emission.probabilities)
            else:
                means[name] = emission.probabilities
        return means

    def _n_parameters(self) -> int:
        n_noise = sum(own.is_reduced for own in self._modalities.values())
        return self._model.emission.n_parameters + len(self.weights_) - 1 + n_noise

    # Prediction

    def _checked(self, X: ModalitiesLike) -> tuple[Modalities, np.ndarray]:
        check_is_fitted(self)
        frame = self._validate(X, reset=False)
        refuse_empty_samples(frame)
        return frame, self._observed(frame, warns=False)

    def _joint(self, X: ModalitiesLike) -> np.ndarray:
        return self._joint_of(*self._checked(X))

    def _joint_of(self, frame: Modalities, observed: np.ndarray) -> np.ndarray:
        return self._model.joint(self._frames(frame, observed))

    def _takes_nan(self, name: str) -> bool:
        """Return whether features may be NaN: without principal axes."""
        shares, kinds = self.explained_variance, self.emission
        if isinstance(kinds, Mapping):
            kinds = kinds.get(name, "gaussian")
        if isinstance(shares, Mapping):
            shares = shares.get(name, DEFAULT_EXPLAINED)
        return shares is None or kinds not in (None, "gaussian")

    def __modality_tags__(self) -> ModalityTags:
        return replace(
            super().__modality_tags__(),
            missing=True,
            sparse=True,
            takes_nan=self._takes_nan,
        )

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = self.explained_variance is None
        # scikit-learn's checks of sparse input read it where there is predict_proba
        tags.classifier_tags = ClassifierTags()
        return tags


def _as_dense(block: Any) -> np.ndarray:
    """Return an array, of a CSR matrix too."""
    return block.toarray() if sparse.issparse(block) else block


def _with_means(block: NumericBlock) -> NumericBlock:
    """Return values with the mean of the feature for NaN."""
    if sparse.issparse(block) or not np.isnan(block.sum()):
        return block
    gaps = np.isnan(block)
    counts = np.maximum((~gaps).sum(axis=0), 1)
    means = np.where(gaps, 0.0, block).sum(axis=0) / counts
    return np.where(gaps, means, block)
