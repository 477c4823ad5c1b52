"""Alignment of the tokens of two modalities, such as the words of translations."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from itertools import pairwise
from numbers import Integral, Real
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike
from scipy import sparse
from sklearn.base import BaseEstimator
from sklearn.utils import Tags

from mmfusion._block_checks import ModalityTags
from mmfusion._options import errors_about
from mmfusion._progress import FitProgress
from mmfusion._sklearn_compat import (
    INTEGER,
    CallbackSupportMixin,
    Interval,
    StrOptions,
    fit_context,
)
from mmfusion._typing import ColumnSpecLike, ModalitiesLike
from mmfusion.alignment._token_input import tokens_of, with_token_arrays
from mmfusion.alignment.words._corpus_files import CorpusFiles
from mmfusion.alignment.words._index import (
    CorpusIndex,
    Tokens,
    TypePairs,
    Vocabulary,
    encode,
    index_corpus,
)
from mmfusion.alignment.words._links import find_links
from mmfusion.alignment.words._positions import DIAGONAL, JUMPS, UNIFORM
from mmfusion.alignment.words._symmetrization import SYMMETRIZATIONS
from mmfusion.alignment.words._training import Stage, fit_stages
from mmfusion.base import ModalityMixin, ModalityTransformerMixin
from mmfusion.metrics import alignment_error_rate
from mmfusion.metrics._links import as_links
from mmfusion.modalities import Modalities

KINDS_OF_POSITIONS = {"ibm1": UNIFORM, "diagonal": DIAGONAL, "hmm": JUMPS}
NULL_PROBABILITIES = {"ibm1": -1.0, "diagonal": 0.08, "hmm": 0.2}  # -1: 1 / (n + 1)
CELLS_AT_ONCE = 2**20  # pairs of tokens whose posteriors are in memory


class _Sides(NamedTuple):
    """Tokens of the two modalities, and which samples have both."""

    source: Tokens
    target: Tokens
    used: np.ndarray


class WordAligner(
    ModalityMixin, ModalityTransformerMixin, CallbackSupportMixin, BaseEstimator
):
    """Align the tokens of two modalities by models of translation.

    Tokens are values of any type that can be the keys of a dict: words of a sentence
    and of its translation, phones, gestures or notes. Given the tokens e of the source,
    each token f of the target is generated from one of their positions a, or from NULL:

    .. math:: p(f, a \\mid e) = \\prod_j p(a_j \\mid a_{j-1}) \\, t(f_j \\mid e_{a_j}) .

    The probabilities t of tokens given tokens, and those of positions, are fitted by
    expectation-maximisation without any known links, in both directions. The links of a
    sample are found by the posteriors p(a | f, e), those of samples of `fit` or others.
    Modalities that are tables pass through.

    Parameters
    ----------
    method : {'hmm', 'diagonal', 'ibm1'}, default='hmm'
        Distribution of positions. 'ibm1': all are equally likely (IBM model 1).
        'diagonal': likelier the closer they are to the diagonal, as far as the data
        show. 'hmm': they depend on the jump from the position before, and t starts from
        that of 'diagonal'.
    agree : bool, default=True
        Whether the directions of 'hmm' learn together: a link counts by the product of
        the posteriors of both. Else each learns alone, as those of other models.
    symmetrize : {'agreement', 'forward', 'reverse', 'intersection', 'union', \
'grow-diag', 'grow-diag-final', 'grow-diag-final-and'}, default='agreement'
        How the links follow from both directions. 'agreement': where the geometric mean
        of the posteriors is above `threshold`. The others use the likeliest position of
        each token, unless NULL is likelier: 'forward' those of target tokens, 'reverse'
        those of source tokens, or both; 'grow-diag' adds neighbours from the union to
        the intersection, 'final' further links of tokens without one, 'final-and' only
        those of two such tokens.
    threshold : float, default=0.45
        Threshold of 'agreement'. More links are found with a lower one.
    n_iter : int, default=5
        Number of iterations of each model, of which 'hmm' has two.
    concentration : float, default=0.1
        Concentration of a Dirichlet prior on t, fitted by variational Bayes: rare
        tokens are linked less often with what they do not translate. 0 is maximum
        likelihood, as in the textbooks.
    null_probability : float or 'auto', default='auto'
        Probability of NULL. 'auto' is 0.2 for 'hmm', 0.08 for 'diagonal' and
        1 / (n + 1) among n positions for 'ibm1'.
    max_jump : int, default=20
        Longest jump with a probability of its own; longer ones have that of the
        longest.
    n_jobs : int, default=None
        Number of threads over samples, each with counts of its own. None is 1 unless
        in a joblib context, -1 all processors.
    modalities : int, list of int, str or dict, default=None
        Column spec that splits a plain 2-D X; None takes it as one modality. See
        :meth:`Modalities.from_table`.
    verbose : bool or int, default=False
        Whether to show the progress of many samples: True or 1 by a bar, where tqdm is
        installed and stderr is a terminal or a notebook, else by lines with their
        seconds; 2 by lines.

    Attributes
    ----------
    source_vocabulary_, target_vocabulary_ : dict of hashable to int
        Row and column in `translations_` of every token of the source and the target.
    translations_ : csr_array of shape (n_source_types, n_target_types)
        Probabilities t of target given source tokens, of pairs that occur together.
        With a concentration, rows sum to less than 1.
    reverse_translations_ : csr_array of shape (n_source_types, n_target_types)
        Those of source given target tokens.
    tensions_ : ndarray of shape (2,)
        Strengths of the diagonal, of target given source tokens and in reverse.
    jumps_ : ndarray of shape (2, 2 * max_jump + 1)
        Weights of the jumps from ``-max_jump`` to ``max_jump``, of both directions.
    log_likelihoods_ : list of ndarray of shape (n_iter, 2)
        Log-likelihoods of both directions before each iteration, of each model.
    n_skipped_ : int
        Number of samples of `fit` without tokens in one of the modalities.
    n_iter_ : int
        Number of iterations, of all models.
    n_modalities_in_ : int
        Number of modalities seen in `fit`.
    modality_names_in_ : ndarray of str of shape (n_modalities,)
        Names of the modalities.
    n_features_per_modality_in_ : ndarray of int of shape (n_modalities,)
        Their numbers of features; 1 where they hold tokens.
    n_features_in_ : int
        Number of features in all.
    feature_names_in_ : ndarray of str of shape (`n_features_in_`,)
        Names ``<modality>__<feature>``, if the input had names.

    Raises
    ------
    TypeError
        If a token is not hashable.
    ValueError
        If one modality holds tokens, or more than two do, or no sample has tokens in
        both.

    See Also
    --------
    mmfusion.metrics.alignment_error_rate : Compare links with known ones.
    mmfusion.datasets.load_parallel_corpus : Read texts and known links from files.
    HMMAligner : Aligns sequences of measurements, in one order.

    Notes
    -----
    *Forms of tokens.* A modality is a list with a list of tokens for each sample, in a
    list or dict of modalities, or in `Modalities`, which reads ragged lists of text. In
    `Modalities`, tokens of other types are arrays of shape (n_tokens, 1). The first
    modality of tokens is the source, the second the target.

    *Memory* is needed for every pair of types that occurs together, and 4 bytes for
    every pair of tokens of a sample; `fit_batches` has the latter in files.

    References
    ----------
    Brown, P. F., Della Pietra, S. A., Della Pietra, V. J., & Mercer, R. L. (1993). The
    mathematics of statistical machine translation. Computational Linguistics 19(2).
    Vogel, S., Ney, H., & Tillmann, C. (1996). HMM-based word alignment in statistical
    translation. COLING.
    Liang, P., Taskar, B., & Klein, D. (2006). Alignment by agreement. NAACL.
    Dyer, C., Chahuneau, V., & Smith, N. A. (2013). A simple, fast, and effective
    reparameterization of IBM model 2. NAACL.

    Examples
    --------
    >>> from mmfusion.alignment import WordAligner
    >>> german = ["das haus", "das buch", "ein buch", "ein haus"]
    >>> english = ["the house", "the book", "a book", "a house"]
    >>> X = {
    ...     "german": [text.split() for text in german],
    ...     "english": [text.split() for text in english],
    ... }
    >>> aligner = WordAligner().fit(X)
    >>> later = {"german": [["buch", "das"]], "english": [["the", "book"]]}
    >>> aligner.align(later)[0].tolist()
    [[0, 1], [1, 0]]
    """

    _parameter_constraints: dict = {
        "method": [StrOptions(set(KINDS_OF_POSITIONS))],
        "agree": ["boolean"],
        "symmetrize": [StrOptions(set(SYMMETRIZATIONS))],
        "threshold": [Interval(Real, 0, 1, closed="both")],
        "n_iter": [Interval(Integral, 1, None, closed="left")],
        "concentration": [Interval(Real, 0, None, closed="left")],
        "null_probability": [StrOptions({"auto"}), Interval(Real, 0, 1, closed="left")],
        "max_jump": [Interval(Integral, 1, None, closed="left")],
        "n_jobs": [INTEGER, None],
        "modalities": ["array-like", str, dict, INTEGER, None],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        method: str = "hmm",
        *,
        agree: bool = True,
        symmetrize: str = "agreement",
        threshold: float = 0.45,
        n_iter: int = 5,
        concentration: float = 0.1,
        null_probability: float | str = "auto",
        max_jump: int = 20,
        n_jobs: int | None = None,
        modalities: ColumnSpecLike = None,
        verbose: bool | int = False,
    ) -> None:
        self.method = method
        self.agree = agree
        self.symmetrize = symmetrize
        self.threshold = threshold
        self.n_iter = n_iter
        self.concentration = concentration
        self.null_probability = null_probability
        self.max_jump = max_jump
        self.n_jobs = n_jobs
        self.modalities = modalities
        self.verbose = verbose

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: ModalitiesLike, y: object = None) -> Self:
        """Fit the models to samples.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The data: two modalities of tokens.
        y : object, default=None
            Not used.

        Returns
        -------
        self
            The fitted aligner.
        """
        frame = self._validate(with_token_arrays(X), reset=True, raw=True)
        self._check_sides()
        vocabularies = Vocabulary(), Vocabulary()
        sides = self._encode(frame, *vocabularies)
        shape = len(vocabularies[0]), len(vocabularies[1])
        index, types = index_corpus(sides.source, sides.target, *shape)
        self.n_skipped_ = int((~sides.used).sum())
        self._fit_index(index, types, vocabularies, X)
        return self

    @fit_context(prefer_skip_nested_validation=True)
    def fit_batches(
        self, batches: Iterable[ModalitiesLike], *, folder: str | Path | None = None
    ) -> Self:
        """Fit the models to a corpus that does not fit in memory.

        The batches are read once, and indexed in memory-mapped files, over which the
        iterations pass. In memory are the vocabularies and every pair of types that
        occurs together. The result is that of `fit` on all samples, up to rounding.

        Parameters
        ----------
        batches : iterable of list, dict or Modalities
            Samples, as for `fit`.
        folder : str or Path, default=None
            Where the files are put, and removed afterwards; None is the folder for
            temporary files. They take 4 bytes for each pair of tokens of a sample.

        Returns
        -------
        self
            The fitted aligner.

        Raises
        ------
        ValueError
            If there is no batch.
        """
        # an array without dimensions has the method of iterables
        if not isinstance(batches, Iterable) or getattr(batches, "ndim", 1) == 0:
            raise TypeError(
                f"batches is of type {type(batches).__name__}; give an iterable of "
                "batches of samples"
            )
        vocabularies = Vocabulary(), Vocabulary()
        self.n_skipped_, is_first = 0, True
        with TemporaryDirectory(dir=folder) as own:
            files = CorpusFiles(Path(own))
            for k, X in enumerate(batches):
                with errors_about(f"batches[{k}]"):
                    X = with_token_arrays(X)
                    frame = self._validate(X, reset=is_first, raw=True)
                self._check_sides()
                is_first = False
                sides = self._encode(frame, *vocabularies)
                self.n_skipped_ += int((~sides.used).sum())
                shape = len(vocabularies[0]), len(vocabularies[1])
                files.add(sides.source, sides.target, shape)
            if is_first:
                raise ValueError("batches is empty; give at least one batch of samples")
            index, types = files.finish(shape)
            self._fit_index(index, types, vocabularies, None)
        return self

    def _fit_index(
        self,
        index: CorpusIndex,
        types: TypePairs,
        vocabularies: tuple[Vocabulary, Vocabulary],
        X: object,
    ) -> None:
        # a plain dict has no codes for later tokens
        self.source_vocabulary_, self.target_vocabulary_ = map(dict, vocabularies)
        self._types = types
        names = self._layout.sequences
        if names and types.n_pairs == 0:
            raise ValueError(
                f"no sample has tokens in both modalities, {names[0]!r} and "
                f"{names[1]!r}: nothing can be fitted; check that their samples "
                "correspond"
            )
        stages = self._stages() if types.n_pairs else []
        with FitProgress(self, X, None, sum(s.n_iter for s in stages)) as progress:
            self._model, self.log_likelihoods_ = fit_stages(
                index,
                types,
                stages,
                concentration=float(self.concentration),
                max_jump=int(self.max_jump),
                n_jobs=self.n_jobs,
                report=progress.step,
            )
            progress.finish()
        self.n_iter_ = max(sum(s.n_iter for s in stages), 1)

    def _stages(self) -> list[Stage]:
        """Return the models that are fitted one after another."""
        share = self.null_probability
        if isinstance(share, str):
            share = NULL_PROBABILITIES[self.method]
        is_chain = self.method == "hmm"
        stage = Stage(
            KINDS_OF_POSITIONS[self.method],
            int(self.n_iter),
            share,
            bool(self.agree) and is_chain,
        )
        first = Stage(DIAGONAL, int(self.n_iter), NULL_PROBABILITIES["diagonal"], False)
        return [first, stage] if is_chain else [stage]

    @property
    def translations_(self) -> sparse.csr_array:
        """Probabilities of target given source tokens."""
        return self._translations(0)

    @property
    def reverse_translations_(self) -> sparse.csr_array:
        """Probabilities of source given target tokens."""
        return self._translations(1)

    @property
    def tensions_(self) -> np.ndarray:
        """Strengths of the diagonal in both directions."""
        return np.array([self._model.forward.tension, self._model.reverse.tension])

    @property
    def jumps_(self) -> np.ndarray:
        """Weights of jumps in both directions."""
        return np.stack([self._model.forward.jumps, self._model.reverse.jumps])

    def _translations(self, direction: int) -> sparse.csr_array:
        probabilities = self._model.translations.pairs[:, direction].copy()
        types = self._types
        return sparse.csr_array(
            (probabilities, types.targets.copy(), types.indptr.copy()), types.shape
        )

    def align(self, X: ModalitiesLike) -> np.ndarray:
        """Find the links of samples, those of `fit` or others.

        Tokens that `fit` has not seen are linked by their positions.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The data.

        Returns
        -------
        ndarray of object of shape (n_samples,)
            For each sample, an ndarray of int64 of shape (n_links, 2), source and
            target position of each link, in ascending order. Empty where a modality is
            missing.
        """
        return self._links(self._tokens(X))[0]

    def link_posteriors(self, X: ModalitiesLike) -> np.ndarray:
        """Compute the posteriors of all links of samples.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The data.

        Returns
        -------
        ndarray of object of shape (n_samples,)
            For each sample, an ndarray of shape (n_source, n_target): the geometric
            mean of both directions, or the posteriors of the one that `symmetrize`
            selects.
        """
        return self._links(self._tokens(X), with_posteriors=True)[1]

    def transform(self, X: ModalitiesLike) -> Modalities | np.ndarray:
        """Bring the source tokens of samples to the positions of their target tokens.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The data.

        Returns
        -------
        Modalities or array
            The data, in which the source has, at each position of the target, its
            likeliest linked token, or None without a link. Modalities if X had
            modalities, else an array.
        """
        frame = self._validate(with_token_arrays(X), reset=False, raw=True)
        if not self._layout.sequences:
            return self._output(frame, like=X)
        links, posteriors, _ = self._links(
            self._encode_known(frame), with_posteriors=True
        )
        source, target = self._layout.sequences
        moved = np.full(len(frame), None, dtype=object)
        for i, (own, words) in enumerate(zip(links, frame[target], strict=True)):
            if words is None or frame[source][i] is None:
                continue
            moved[i] = np.full((len(words), 1), None, dtype=object)
            # the likeliest is set last
            order = np.argsort(posteriors[i][own[:, 0], own[:, 1]], kind="stable")
            moved[i][own[order, 1]] = frame[source][i][own[order, 0]]
        blocks = [
            moved if name == source else block
            for name, block in zip(frame.names, frame.blocks, strict=True)
        ]
        return self._output(Modalities._of(frame.names, tuple(blocks), None), like=X)

    def score(self, X: ModalitiesLike, y: ArrayLike | None = None) -> float:
        """Score links by known ones, or samples by their log-likelihood.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The data.
        y : array-like of object of shape (n_samples,), default=None
            Known links of each sample, as for
            :func:`~mmfusion.metrics.alignment_error_rate`.

        Returns
        -------
        float
            1 minus the alignment error rate. Without `y`, the mean log-likelihood of
            both directions, per generated token. NaN without tokens.

        Raises
        ------
        ValueError
            If a known link is of a position that a sample does not have.
        """
        sides = self._tokens(X)
        n_tokens = len(sides.source.codes) + len(sides.target.codes)
        if not self._layout.sequences or (y is None and n_tokens == 0):
            return np.nan
        links, _, log_likelihoods = self._links(sides)
        if y is not None:
            with errors_about("y"):
                error_rate = alignment_error_rate(y, links)
            self._refuse_links_beyond(y, sides)
            return 1 - error_rate
        return float(log_likelihoods.sum() / n_tokens)

    def _refuse_links_beyond(self, y: ArrayLike, sides: _Sides) -> None:
        """Raise an error for known links of positions that a sample does not have."""
        both = (sides.source, sides.target)
        lengths = np.column_stack([np.diff(side.offsets) for side in both])
        for i, known in enumerate(y):  # type: ignore[arg-type]
            positions = as_links(known, f"y of sample {i}", (2, 3))[:, :2]
            beyond = ((positions < 0) | (positions >= lengths[i])).any(axis=1)
            if sides.used[i] and beyond.any():
                raise ValueError(
                    f"y of sample {i} has the link {positions[beyond][0].tolist()}, "
                    f"and the sample has {lengths[i, 0]} and {lengths[i, 1]} tokens; "
                    "count positions from 0, of the first modality first"
                )

    def _links(
        self, sides: _Sides, *, with_posteriors: bool = False
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return links, posteriors and log-likelihoods, by samples of some cells."""
        n_samples = len(sides.used)
        links = np.full(n_samples, None, dtype=object)
        posteriors = np.full(n_samples, None, dtype=object)
        total = np.zeros(2)
        n_cells = np.diff(sides.source.offsets) * np.diff(sides.target.offsets)
        part = np.cumsum(n_cells) // CELLS_AT_ONCE
        bounds = [0, *(np.flatnonzero(np.diff(part)) + 1).tolist(), n_samples]
        for first, last in pairwise(bounds):
            found = find_links(
                self._model,
                self._types,
                sides.source.take(first, last),
                sides.target.take(first, last),
                method=self.symmetrize,
                threshold=float(self.threshold),
            )
            total += found.log_likelihoods
            for i in range(first, last):
                links[i] = found.links[i - first]
                if with_posteriors:
                    posteriors[i] = found.posteriors[i - first]
        return links, posteriors, total

    def _tokens(self, X: ModalitiesLike) -> _Sides:
        frame = self._validate(with_token_arrays(X), reset=False, raw=True)
        return self._encode_known(frame)

    def _encode_known(self, frame: Modalities) -> _Sides:
        return self._encode(frame, self.source_vocabulary_, self.target_vocabulary_)

    def _encode(
        self,
        frame: Modalities,
        source_vocabulary: dict[Any, int],
        target_vocabulary: dict[Any, int],
    ) -> _Sides:
        """Return the codes of the tokens of samples that have both modalities."""
        used = np.zeros(len(frame), dtype=bool)
        sides: list[list[Sequence[Hashable]]] = [[[]] * len(frame)] * 2
        names = self._layout.sequences
        if names:
            used = np.array([x is not None for x in frame[names[0]]])
            used &= np.array([x is not None for x in frame[names[1]]])
            sides = [tokens_of(frame[name], used) for name in names]
        encoded = []
        for k, vocabulary in enumerate((source_vocabulary, target_vocabulary)):
            try:
                encoded.append(encode(sides[k], vocabulary))
            except TypeError as error:
                raise TypeError(
                    f"modality {names[k]!r}: a token cannot be the key of a dict "
                    f"({error}); give text, numbers or tuples"
                ) from error
        return _Sides(encoded[0], encoded[1], used)

    def _check_sides(self) -> None:
        names = self._layout.sequences
        if names and len(names) != 2:
            raise ValueError(
                f"WordAligner aligns two modalities of tokens, and X has {len(names)}: "
                f"{list(names)}; give two, each with a list of tokens for each sample"
            )

    def _names_out(self) -> list[np.ndarray]:
        return self._layout.prefixed_names()

    def __modality_tags__(self) -> ModalityTags:
        return ModalityTags(sparse=True, missing=True, sequences="tokens")

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = tags.input_tags.string = True  # in tables
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags
