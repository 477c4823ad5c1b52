"""Canonical correlation analysis of two and more modalities."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral, Real
from typing import Self

import numpy as np
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
)
from sklearn.utils import Tags

from mmfusion._block_checks import ModalityTags
from mmfusion._blocks import of_samples
from mmfusion._options import by_modality
from mmfusion._row_chunks import by_row_chunks
from mmfusion._scaling import SCALINGS, fit_scaling
from mmfusion._scaling_choice import resolve_scalings
from mmfusion._sklearn_compat import Interval, StrOptions, fit_context
from mmfusion._typing import ByModality, ColumnSpecLike, ModalitiesLike, NumericBlock
from mmfusion._validation import refuse_empty_samples
from mmfusion.base import ModalityMixin
from mmfusion.fusion.combination._canonical_correlation import (
    canonical_axes,
    fit_whitening,
    mean_correlations,
)
from mmfusion.modalities import Modalities

AUTO = "auto"
SHARES = Interval(Real, 0, 1, closed="left")


class MultimodalCCA(
    ClassNamePrefixFeaturesOutMixin, ModalityMixin, TransformerMixin, BaseEstimator
):
    """Canonical correlation analysis of two and more modalities (MCCA, GCCA).

    Common scores G of the samples and linear scores of every modality minimise
    ``sum_v ||G - X_v W_v||^2`` under ``G' G = n I``, with shrunk covariances of the
    modalities. For two modalities these are the canonical correlations. The problem is
    known as MAXVAR or GCCA; its scores by modality solve MCCA, too, which maximises
    the correlations summed over all pairs.

    Parameters
    ----------
    n_components : int, default=None
        Number of components. None keeps as many as the modality of the second largest
        rank has dimensions (one modality alone: its own rank).
    shrinkage : 'auto' or float or dict, default='auto'
        Share c in [0, 1) of the identity in the covariance of a modality,
        ``(1 - c) S + c tr(S) / n_features I``: a ridge. 'auto' is the estimate of
        Ledoit and Wolf from each modality alone. Without any, correlations of
        modalities with more features than samples are 1 whatever the data. A dict has
        values by modality name ('auto' for those it does not name).
    scaling : {'auto', 'block', 'standard', 'l2'} or None or dict, default='auto'
        Scaling of each modality before, as in :class:`EarlyFusion`. It changes the
        result through the shrinkage, and 'l2' by itself.
    modalities : int, list of int, str or dict, default=None
        Column spec that splits a plain 2-D X; None takes it as one modality. See
        :meth:`Modalities.from_table`.

    Attributes
    ----------
    n_components_ : int
        Number of components.
    correlations_ : ndarray of shape (`n_components_`,)
        Correlations of the scores by modality of the samples of `fit`, mean over the
        pairs of modalities; 0 with one modality. `correlations` has them for other
        samples.
    strengths_ : ndarray of shape (`n_components_`,)
        Eigenvalues, largest first: the share of the variance of the common scores
        that a modality explains, on average. Without shrinkage it is
        ``(1 + correlation) / 2`` for two modalities.
    shrinkage_ : dict of str to float
        Shrinkage of each modality.
    scaling_ : dict of str to str
        Scaling of each modality; 'auto' is resolved.
    n_modalities_in_ : int
        Number of modalities seen in `fit`.
    modality_names_in_ : ndarray of str of shape (n_modalities,)
        Names of the modalities.
    n_features_per_modality_in_ : ndarray of int of shape (n_modalities,)
        Number of features of each modality.
    n_features_in_ : int
        Number of features in all.
    feature_names_in_ : ndarray of str of shape (`n_features_in_`,)
        Names ``<modality>__<feature>``, if the input had names.

    Raises
    ------
    ValueError
        If there are more components than the modalities allow, all modalities are
        constant, a sample lacks every modality, or later input has other modalities or
        widths than that of `fit`.

    See Also
    --------
    EarlyFusion : Concatenates the scaled modalities.
    mmfusion.alignment.CTWAligner : Canonical correlation of unaligned sequences.

    Notes
    -----
    Samples may lack modalities: terms of missing ones are left out (van de Velden and
    Bijmolt 2006), and the common score of a sample is the mean over those it has.
    Sparse modalities are not made dense; the smaller of their scatter and Gram matrices
    is.
    For kernel CCA, put explicit features of the kernel before, as in the example.

    References
    ----------
    Kettenring, J. R. (1971). Canonical analysis of several sets of variables.
    *Biometrika* 58(3), 433-451.

    van de Velden, M. & Bijmolt, T. H. A. (2006). Generalized canonical correlation
    analysis of matrices with missing rows. *Psychometrika* 71(2), 323-331.

    Ledoit, O. & Wolf, M. (2004). A well-conditioned estimator for large-dimensional
    covariance matrices. *Journal of Multivariate Analysis* 88(2), 365-411.

    Examples
    --------
    >>> import numpy as np
    >>> from mmfusion import MultimodalCCA, Modalities
    >>> rng = np.random.default_rng(0)
    >>> shared = rng.normal(size=(100, 1))
    >>> X = Modalities({"audio": shared + 0.3 * rng.normal(size=(100, 3)),
    ...                 "video": shared + 0.3 * rng.normal(size=(100, 4))})
    >>> cca = MultimodalCCA(n_components=2).fit(X)
    >>> cca.correlations_.round(1).tolist()
    [1.0, 0.2]
    >>> cca.transform(X).shape
    (100, 2)

    Kernel CCA, by the landmarks of Nystroem:

    >>> from sklearn.kernel_approximation import Nystroem
    >>> from sklearn.pipeline import make_pipeline
    >>> from mmfusion import PerModality
    >>> features = PerModality(Nystroem(n_components=20))
    >>> make_pipeline(features, MultimodalCCA(2)).fit_transform(X).shape
    (100, 2)
    """

    _parameter_constraints: dict = {
        "n_components": [Interval(Integral, 1, None, closed="left"), None],
        "shrinkage": [StrOptions({AUTO}), SHARES, dict],
        "scaling": [StrOptions(set(SCALINGS)), None, dict],
        "modalities": ["array-like", str, dict, Integral, None],
    }

    def __init__(
        self,
        n_components: int | None = None,
        *,
        shrinkage: ByModality[str | float] = AUTO,
        scaling: ByModality[str | None] = AUTO,
        modalities: ColumnSpecLike = None,
    ) -> None:
        self.n_components = n_components
        self.shrinkage = shrinkage
        self.scaling = scaling
        self.modalities = modalities

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: ModalitiesLike, y: object = None) -> Self:
        """Fit the common scores.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The data; see the user guide on input.
        y : object, default=None
            Not used.

        Returns
        -------
        self
            The fitted transformer.
        """
        frame = self._validate(X, reset=True)
        refuse_empty_samples(frame)
        if len(frame) < 2:
            raise ValueError("n_samples=1: correlations need at least two samples")
        blocks = self._fit_scalings(frame)
        self._whitenings = [
            fit_whitening(block, share)
            for block, share in zip(blocks, self._shrinkages(frame.names), strict=True)
        ]
        self.shrinkage_ = {
            name: whitening.shrinkage
            for name, whitening in zip(frame.names, self._whitenings, strict=True)
        }
        self.n_components_ = self._count_components(len(frame))
        whitened = [
            whitening.apply(block)
            for whitening, block in zip(self._whitenings, blocks, strict=True)
        ]
        self._axes, self.strengths_ = canonical_axes(
            whitened, frame.observed, self.n_components_
        )
        scores = self._by_modality(whitened, frame.observed)
        self.correlations_ = mean_correlations(scores, frame.observed)
        return self

    @by_row_chunks
    def transform(self, X: ModalitiesLike) -> np.ndarray:
        """Compute the common scores of samples.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The data.

        Returns
        -------
        ndarray of shape (n_samples, `n_components_`)
            Means of the scores by modality over the modalities that a sample has;
            variances are 1 in `fit`.
        """
        frame = self._validate(X, reset=False)
        refuse_empty_samples(frame)
        total = sum(self._scores_by_modality(frame))
        mean = total / frame.observed.sum(axis=1, keepdims=True)
        return mean.astype(np.result_type(*(b.dtype for b in frame.blocks)))

    def transform_modalities(self, X: ModalitiesLike) -> Modalities:
        """Compute the scores of each modality by itself.

        Samples that belong together are near each other in all modalities, so that
        those of one can be found by another.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The data.

        Returns
        -------
        Modalities
            Of each modality, an array of shape (n_samples, `n_components_`); missing
            as in X.
        """
        frame = self._validate(X, reset=False)
        scores = zip(
            frame.names, frame.blocks, self._scores_by_modality(frame), strict=True
        )
        return Modalities(
            {name: own.astype(block.dtype) for name, block, own in scores},
            observed=frame.observed,
        )

    def correlations(self, X: ModalitiesLike) -> np.ndarray:
        """Compute the correlations between modalities on other samples.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The data.

        Returns
        -------
        ndarray of shape (`n_components_`,)
            Correlation of each component, mean over the pairs of modalities.
        """
        frame = self._validate(X, reset=False)
        return mean_correlations(self._scores_by_modality(frame), frame.observed)

    def score(self, X: ModalitiesLike, y: object = None) -> float:
        """Score the components by their correlations on other samples.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The data.
        y : object, default=None
            Not used.

        Returns
        -------
        float
            Mean over the components; 0 for those that do not vary.
        """
        return float(self.correlations(X).mean())

    def _fit_scalings(self, frame: Modalities) -> list[NumericBlock]:
        """Fit the scalings; return the scaled samples that each modality has."""
        given = by_modality(self.scaling, frame.names, "scaling", AUTO, SCALINGS)
        chosen = resolve_scalings(frame, given)
        blocks = list(map(of_samples, frame.blocks, frame.observed.T))
        self._scalings = list(map(fit_scaling, blocks, chosen))
        self.scaling_ = dict(zip(frame.names, chosen, strict=True))
        return [s.apply(block) for s, block in zip(self._scalings, blocks, strict=True)]

    def _shrinkages(self, names: Sequence[str]) -> list[float | None]:
        """Return the shrinkage of each modality, None for 'auto'."""
        given = by_modality(self.shrinkage, names, "shrinkage", AUTO)
        for name, share in zip(names, given, strict=True):
            if share != AUTO and not SHARES.is_satisfied_by(share):
                raise ValueError(
                    f"shrinkage of modality {name!r} is 'auto' or a number of at "
                    f"least 0 and below 1; got {share!r}"
                )
        return [None if share == AUTO else float(share) for share in given]

    def _count_components(self, n_samples: int) -> int:
        ranks = sorted(w.axes.shape[1] for w in self._whitenings)
        if not ranks[-1]:
            raise ValueError(
                "all modalities are constant: no component distinguishes samples"
            )
        # of modalities that vary: a component needs two of them to be shared
        varying = [rank for rank in ranks if rank]
        largest = min(varying[-2] if len(varying) > 1 else varying[-1], n_samples)
        if self.n_components is None:
            return largest
        if self.n_components > largest:
            raise ValueError(
                f"n_components={self.n_components}, but the modalities share at most "
                f"{largest} components; their ranks are "
                f"{[w.axes.shape[1] for w in self._whitenings]}"
            )
        return self.n_components

    def _scores_by_modality(self, frame: Modalities) -> list[np.ndarray]:
        """Compute the scores of each modality, 0 where a sample lacks it."""
        blocks = map(of_samples, frame.blocks, frame.observed.T)
        whitened = [
            whitening.apply(scaling.apply(block))
            for whitening, scaling, block in zip(
                self._whitenings, self._scalings, blocks, strict=True
            )
        ]
        return self._by_modality(whitened, frame.observed)

    def _by_modality(
        self, whitened: Sequence[np.ndarray], observed: np.ndarray
    ) -> list[np.ndarray]:
        scores = np.zeros((len(whitened), len(observed), self.n_components_))
        for own, block, axes, seen in zip(
            scores, whitened, self._axes, observed.T, strict=True
        ):
            own[seen] = block @ axes
        return list(scores)

    @property
    def _n_features_out(self) -> int:
        return self.n_components_

    def __modality_tags__(self) -> ModalityTags:
        return ModalityTags(missing=True, sparse=True)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags
