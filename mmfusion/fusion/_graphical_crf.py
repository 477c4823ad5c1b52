"""Labels of frames by a conditional random field."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from numbers import Integral, Real
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from scipy import sparse
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from mmfusion._block_checks import ModalityTags
from mmfusion._progress import FitProgress
from mmfusion._sklearn_compat import (
    INTEGER,
    CallbackSupportMixin,
    HasMethods,
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
from mmfusion.base import ModalityMixin
from mmfusion.fusion._conditional_field import ConditionalFieldMixin
from mmfusion.fusion._frame_features import (
    columns_by_modality,
    join_blocks,
)
from mmfusion.fusion._label_constraints import (
    boundaries_of,
    min_runs_of,
    refuse_violations,
)
from mmfusion.fusion._sequence_labeler import (
    SequenceLabelerMixin,
    as_ragged,
    encode_labels,
)
from mmfusion.graphical._crf import (
    CRFObjective,
    CRFParameters,
    LabelledFrames,
    count_dependent_frames,
    label_graph,
    label_scores,
    scored_graph,
)
from mmfusion.graphical._graph import ChainGraph
from mmfusion.graphical._inference import forward_backward, viterbi
from mmfusion.graphical._label_batches import Design
from mmfusion.graphical._latent_crf import (
    LatentCRFObjective,
    boundaries_of_states,
    cluster_states,
)
from mmfusion.graphical._lbfgs import minimize

FIRST_ITERATIONS = 20  # for hidden states, with those of k-means


class CRFLabeler(
    ConditionalFieldMixin,
    SequenceLabelerMixin,
    ModalityMixin,
    CallbackSupportMixin,
    BaseEstimator,
):
    r"""Label the frames of sequences by a linear-chain conditional random field.

    The probability of all labels y of a sample, given its frames x, is ``exp(s(y, x))``
    over its sum for all sequences of labels [1]_. The score has a weight vector w for
    each modality v and label, and transition scores A,

    .. math:: s(y, x) = \sum_t \Big[\sum_v w_{v, y_t}^\top f_v(x, t) + b_{y_t}\Big]
              + \sum_{t > 1} A_{y_{t-1} y_t} + \alpha_{y_1} + \omega_{y_T} ,

    with features f of the frames around t. `fit` minimises the convex

    .. math:: \frac{C}{n_o^2} \sum_i -\log p(y_i \mid x_i) + \frac{1}{2} \left(\|w\|^2
              + \|A\|^2 + \|\alpha\|^2 + \|\omega\|^2\right) ,

    where the `overlap` n_o is the number of frames that hold as much as one. Nothing is
    assumed of the distribution of the frames, so that features may be correlated, as
    those of overlapping windows are. The features of a missing modality count as 0.

    Parameters
    ----------
    C : float, default=1.0
        Inverse strength of the penalty, as in scikit-learn's LogisticRegression.
    states_per_label : int, default=1
        Number of hidden states of each label, such as the phases of an activity or
        several ways of doing it [2]_. With more than 1, w, b, A and the last terms are
        those of states, and p(y | x) is the sum over all states of the labels y. The
        objective is not convex then, and starts at the field of states that k-means
        finds among the frames of each label.
    overlap : float or 'auto', default='auto'
        Number of successive frames that hold as much as one, by whose square C is
        divided. 'auto': the integrated autocorrelation of the features about the
        means of their labels, about 10 for windows of ten steps that are moved by one.
        1 is the likelihood of the textbooks.
    features : transformer or dict, default=None
        Transformer of the frames of all modalities, or of each by name, such as
        PolynomialFeatures; OneHotEncoder, whose output is sparse, for codes of words.
        Frames that hold NaN are left out, and are missing.
    scaling : {'standard'} or dict, default='standard'
        'standard': dense features have mean 0 and variance 1 in `fit`, of all
        modalities or of each by name. None leaves them.
    context : int or dict, default=0
        Number of steps on either side of a step whose features it has too, of all
        modalities or of each by name. The weights learn how far modalities are apart.
    constraints : 'bio' or iterable of tuple, default=None
        Pairs (label, next label) that must not occur; in (None, label) the label must
        not be first, and in (label, None) not last. 'bio': 'I-x' only follows 'B-x' or
        'I-x'.
    min_run_length : int or dict, default=1
        Least number of successive frames with the same label, of all labels or of each
        by label. The end of a sample may cut off its last run.
    decoding : {'viterbi', 'posterior'}, default='viterbi'
        'viterbi': the likeliest sequence of labels, which fulfils the constraints.
        'posterior': the likeliest label of each frame, which leaves the fewest frames
        wrong.
    fit_intercept : bool, default=True
        Whether labels have intercepts b, without penalty.
    fit_boundaries : bool, default=True
        Whether first and last labels have scores, the last terms of the formula.
    modality_dropout : float, default=0.0
        Probability with which a modality is dropped from copies of the samples that
        join them in `fit`, so that predictions depend less on a single modality. A
        sample and its copy have half of its weight each.
    clock : str or int, default=None
        The steps of the chain, which y has labels of: the frames of a modality by name,
        or a number of steps. None is the modality with most frames, in each sample.
        Several frames of another modality in a step have their mean, and a frame that
        lasts several steps is that of each.
    max_iter : int, default=200
        Maximum number of iterations of L-BFGS.
    tol : float, default=1e-4
        Largest element of the gradient, relative to that at the start or to 1, below
        which the iterations stop; so they do at a relative decrease below 1e-4 of it.
    modalities : int, list of int, str or dict, default=None
        Column spec that splits a plain 2-D X; None takes it as one modality. See
        :meth:`Modalities.from_table`.
    n_jobs : int, default=None
        Number of threads over samples. None is 1 unless in a joblib context, -1 all
        processors.
    random_state : int, RandomState instance or None, default=None
        Randomness of `modality_dropout`, and of k-means if `states_per_label` > 1.
    verbose : bool or int, default=False
        Whether to show the progress of the iterations of `fit`: True or 1 by a bar,
        where tqdm is installed and stderr is a terminal or a notebook, else by lines
        with their seconds; 2 by lines.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Labels of the classes.
    coef_ : dict of str to ndarray of shape (n_classes, n_columns)
        Weights by modality, of its features at the earliest step of the context first.
    intercept_ : ndarray of float64 of shape (n_classes,)
        Intercepts of the labels.
    transition_scores_ : ndarray of float64 of shape (n_classes, n_classes)
        Score of each label (column) after each label; -inf where it is forbidden.
    start_scores_, end_scores_ : ndarray of float64 of shape (n_classes,)
        Scores of first and last labels; -inf where they are forbidden. With hidden
        states, these five have a row, or a column, for each state, those of the first
        label first.
    overlap_ : float
        The number of frames that hold as much as one.
    objective_history_ : ndarray of shape (n_iter + 1,)
        Objective at the start, and after each iteration.
    n_iter_ : int
        Number of iterations.
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
        If a sample has not one label for each step of its clock, lacks every modality,
        violates `constraints` or `min_run_length`, or labels have
        both hidden states and a least length.

    Warns
    -----
    ConvergenceWarning
        If the iterations have not converged after `max_iter`.

    See Also
    --------
    HMMLabeler : The generative model, which marginalises what is missing.
    HiddenCRFClassifier : Predicts one label for each sample.

    Notes
    -----
    *y* holds one array of labels for each sample, in a list or an object array, and
    `predict` returns an object array of such. Search and cross-validation of
    scikit-learn take both, with the `score` of the labeler or the scorers of
    `mmfusion.metrics.get_scorer`; splitters that stratify need one label for each
    sample.

    *Words and dicts.* The frames of a modality may be words, or dicts of features whose
    values are numbers, text or lists of text, in a list for each sample. X may be a
    list of such lists, of one modality. `features` then transforms arrays of shape
    (n_frames, 1) of words, or lists of dicts; by default it is OneHotEncoder, or
    DictVectorizer, for which names that are new in `predict` have no weight.

    *Overlap.* The frames of windows that overlap are not independent given their
    labels, as a field takes them to be. Their evidence is counted `overlap` times, in
    `fit` and again in the sum over the frames of a sequence; hence the square. With an
    overlap of 1, a field of such frames may be worse than a classifier of each alone.
    'auto' cannot distinguish overlap from features that last, such as those of a
    person, which are equal in all frames of a sequence: give 1 for those.

    *Tables.* Where all modalities are tables, each row is a sequence of one frame, and
    y has one label for each row. The labeler is then a logistic regression. Beside
    sequences, a row is one frame, too.

    References
    ----------
    .. [1] Lafferty, J., McCallum, A. and Pereira, F. (2001). Conditional random fields:
       probabilistic models for segmenting and labeling sequence data. ICML, 282-289.
    .. [2] Morency, L.-P., Quattoni, A. and Darrell, T. (2007). Latent-dynamic
       discriminative models for continuous gesture recognition. CVPR, 1-8.

    Examples
    --------
    >>> import numpy as np
    >>> from mmfusion import CRFLabeler, Modalities
    >>> rng = np.random.default_rng(0)
    >>> y = [np.repeat(["walk", "run", "walk"], [5, 8, n]) for n in (4, 6, 9, 5)]
    >>> audio = [(own == "run")[:, None] + 0.3 * rng.normal(size=(len(own), 2))
    ...          for own in y]
    >>> X = Modalities({"audio": audio})
    >>> labeler = CRFLabeler(context=1, min_run_length=3).fit(X, y)
    >>> labeler.predict(X)[0].tolist() == y[0].tolist()
    True
    >>> labeler.transition_scores_.shape
    (2, 2)
    """

    _parameter_constraints: dict = {
        "C": [Interval(Real, 0, None, closed="neither")],
        "states_per_label": [Interval(Integral, 1, None, closed="left")],
        "overlap": [Interval(Real, 1, None, closed="left"), StrOptions({"auto"})],
        "features": [HasMethods(["fit", "transform"]), dict, None],
        "scaling": [StrOptions({"standard"}), dict, None],
        "context": [Interval(Integral, 0, None, closed="left"), dict],
        "constraints": [StrOptions({"bio"}), list, tuple, set, frozenset, None],
        "min_run_length": [Interval(Integral, 1, None, closed="left"), dict],
        "decoding": [StrOptions({"viterbi", "posterior"})],
        "fit_intercept": ["boolean"],
        "fit_boundaries": ["boolean"],
        "modality_dropout": [Interval(Real, 0, 1, closed="left")],
        "clock": [str, Interval(Integral, 1, None, closed="left"), None],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="left")],
        "modalities": ["array-like", str, dict, INTEGER, None],
        "n_jobs": [INTEGER, None],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        C: float = 1.0,
        *,
        states_per_label: int = 1,
        overlap: float | str = "auto",
        features: ByModality[Any] = None,
        scaling: ByModality[str | None] = "standard",
        context: ByModality[int] = 0,
        constraints: str | Iterable[tuple[Any, Any]] | None = None,
        min_run_length: int | Mapping[Any, int] = 1,
        decoding: str = "viterbi",
        fit_intercept: bool = True,
        fit_boundaries: bool = True,
        modality_dropout: float = 0.0,
        clock: str | int | None = None,
        max_iter: int = 200,
        tol: float = 1e-4,
        modalities: ColumnSpecLike = None,
        n_jobs: int | None = None,
        random_state: RandomStateLike = None,
        verbose: bool | int = False,
    ) -> None:
        self.C = C
        self.states_per_label = states_per_label
        self.overlap = overlap
        self.features = features
        self.scaling = scaling
        self.context = context
        self.constraints = constraints
        self.min_run_length = min_run_length
        self.decoding = decoding
        self.fit_intercept = fit_intercept
        self.fit_boundaries = fit_boundaries
        self.modality_dropout = modality_dropout
        self.clock = clock
        self.max_iter = max_iter
        self.tol = tol
        self.modalities = modalities
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.verbose = verbose

    @fit_context(prefer_skip_nested_validation=True)
    @threads_of_n_jobs
    def fit(
        self, X: ModalitiesLike, y: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> Self:
        """Fit the weights by the labels of all frames.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The data; see the user guide on input.
        y : array-like of object of shape (n_samples,)
            The labels of each sample, an array of shape (n_steps,) on its clock.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the samples. None is equal weights.

        Returns
        -------
        self
            The fitted labeler.
        """
        frame = self._validate(X, reset=True)
        samples = self._labelled_samples(frame, y, sample_weight)
        frames, weight = samples.frames, samples.weight
        self.classes_, codes = encode_labels(samples.labels)
        self._graph = self._constrained_graph(codes, frames.offsets, samples.rows)
        self._features = self._fit_features(frames, weight)
        blocks = self._features.blocks(frames)
        data = LabelledFrames(join_blocks(blocks), codes, frames.offsets, weight)
        self.overlap_ = (
            float(count_dependent_frames(data))
            if isinstance(self.overlap, str)
            else float(self.overlap)
        )
        if self.modality_dropout > 0:
            data = self._with_copies(data, blocks, samples.frame.observed)
        with FitProgress(self, X, y, self.max_iter, "iteration") as progress:
            self._minimize(data, progress)
        progress.finish()
        return self

    def _constrained_graph(
        self, codes: np.ndarray, offsets: np.ndarray, rows: np.ndarray
    ) -> ChainGraph:
        """Make the graph of labels, which those of y must be paths of."""
        rules = boundaries_of(self.constraints, self.classes_)
        runs = min_runs_of(self.min_run_length, self.classes_)
        refuse_violations(codes, offsets, rules, runs, self.classes_, rows)
        if self.states_per_label > 1 and (runs > 1).any():
            raise ValueError(
                f"min_run_length is {self.min_run_length!r}, and labels with hidden "
                "states have no least length; give min_run_length=1, or "
                "states_per_label=1"
            )
        self._rules = boundaries_of_states(rules, self.states_per_label)
        return label_graph(self._rules, np.repeat(runs, self.states_per_label))

    def _with_copies(
        self, data: LabelledFrames, blocks: list[Design], observed: np.ndarray
    ) -> LabelledFrames:
        """Append copies of samples that lack some of their modalities."""
        random_state = check_random_state(self.random_state)
        kept = observed & (
            random_state.uniform(size=observed.shape) >= (self.modality_dropout)
        )
        rows = np.flatnonzero((kept != observed).any(axis=1) & kept.any(axis=1))
        if not rows.size:
            return data
        lengths = np.diff(data.offsets)
        sequence = np.repeat(np.arange(len(lengths)), lengths)
        steps = np.flatnonzero(np.isin(sequence, rows))
        copies = []
        for block, own in zip(blocks, kept.T, strict=True):
            factors = own[sequence[steps]].astype(np.float64)
            copies.append(sparse.diags_array(factors) @ block[steps])
        design = [data.design, join_blocks(copies)]
        stacked = (
            sparse.csr_array(sparse.vstack(design, format="csr"))
            if sparse.issparse(data.design)
            else np.vstack(design)
        )
        weight = data.weight.copy()
        weight[rows] /= 2
        offsets = np.concatenate(
            [data.offsets, data.offsets[-1] + np.cumsum(lengths[rows])]
        )
        return LabelledFrames(
            stacked,
            np.concatenate([data.codes, data.codes[steps]]),
            offsets,
            np.concatenate([weight, weight[rows]]),
        )

    def _minimize(self, data: LabelledFrames, progress: FitProgress) -> None:
        """Minimise the objective, and set the parameters."""
        k, C = self.states_per_label, self.C / self.overlap_**2
        options: dict[str, Any] = {
            "has_intercept": self.fit_intercept,
            "has_boundaries": self.fit_boundaries,
            "n_jobs": self.n_jobs,
        }
        states = data
        if k > 1:
            states = cluster_states(data, k, check_random_state(self.random_state))
        objective = CRFObjective(self._graph, states, C, **options)
        start = np.zeros(objective.n_parameters)
        if k > 1:
            first = minimize(objective, start, max_iter=FIRST_ITERATIONS, tol=self.tol)
            objective = LatentCRFObjective(self._graph, data, C, k, **options)
            start = first.x
        found = minimize(
            objective,
            start,
            max_iter=self.max_iter,
            tol=self.tol,
            on_step=lambda value: progress.step(f"objective {value:.6g}"),
        )
        self._report_minimum(found, progress)
        self._parameters = CRFParameters(
            *(part.copy() for part in objective.parameters(found.x))
        )
        own, rules = self._parameters, self._rules
        self.coef_ = columns_by_modality(own.coef.T, self._features.widths)
        self.intercept_ = own.intercept.copy()
        self.transition_scores_ = np.where(rules.next, own.transitions, -np.inf)
        self.start_scores_ = np.where(rules.start, own.start, -np.inf)
        self.end_scores_ = np.where(rules.end, own.end, -np.inf)

    def _later_scores(self, X: ModalitiesLike) -> tuple[np.ndarray, np.ndarray]:
        """Compute the scores of the labels of all frames, and the offsets."""
        check_is_fitted(self)
        frames = self._labelled_frames(self._validate(X, reset=False))
        design = join_blocks(self._features.blocks(frames))
        return label_scores(design, self._parameters), frames.offsets

    @threads_of_n_jobs
    def predict(self, X: ModalitiesLike) -> np.ndarray:
        """Predict the labels of the frames of samples.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The data.

        Returns
        -------
        ndarray of object of shape (n_samples,)
            For each sample an array of labels of shape (n_steps,), on its clock. For
            tables one label for each row.
        """
        scores, offsets = self._later_scores(X)
        if self.decoding == "viterbi":
            graph = scored_graph(self._graph, self._parameters)
            path, values = viterbi(graph, scores, offsets, n_jobs=self.n_jobs)
            self._refuse_without_path(values, offsets)
            n_states = len(self._parameters.start)
            codes = self._graph.emits[path] * len(self.classes_) // n_states
        else:
            codes = self._marginals(scores, offsets).argmax(axis=1)
        return self._in_form_of_y(np.split(self.classes_[codes], offsets[1:-1]))

    @threads_of_n_jobs
    def predict_marginals(self, X: ModalitiesLike) -> np.ndarray:
        """Predict the probabilities of the labels of each frame.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The data.

        Returns
        -------
        ndarray of object of shape (n_samples,)
            For each sample an array of shape (n_steps, n_classes) of probabilities, in
            the order of ``classes_``.
        """
        scores, offsets = self._later_scores(X)
        return as_ragged(np.split(self._marginals(scores, offsets), offsets[1:-1]))

    def state_posteriors(self, X: ModalitiesLike) -> dict[str, np.ndarray]:
        """Return the result of `predict_marginals`, for displays.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The data.

        Returns
        -------
        dict of str to ndarray of object of shape (n_samples,)
            The probabilities of the chain 'label'.
        """
        return {"label": self.predict_marginals(X)}

    def _marginals(self, scores: np.ndarray, offsets: np.ndarray) -> np.ndarray:
        graph = scored_graph(self._graph, self._parameters)
        chain = forward_backward(graph, scores, offsets, n_jobs=self.n_jobs)
        self._refuse_without_path(chain.log_likelihoods, offsets)
        assert chain.posteriors is not None
        n_frames, n_labels = len(scores), len(self.classes_)
        return chain.posteriors.reshape(n_frames, n_labels, -1).sum(axis=2)

    def _refuse_without_path(self, values: np.ndarray, offsets: np.ndarray) -> None:
        """Raise an error for a sample whose length no sequence of labels may have."""
        impossible = np.flatnonzero(np.isneginf(values))
        if impossible.size:
            i = int(impossible[0])
            raise ValueError(
                f"no labels of the {int(np.diff(offsets)[i])} frames of sample {i} "
                "fulfil the constraints; give it more frames, or fit with fewer "
                "constraints"
            )

    def __modality_tags__(self) -> ModalityTags:
        return replace(super().__modality_tags__(), sequences="frames")
