"""Conditional random fields of labels: graph, objective and gradient."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from scipy import sparse

from mmfusion.graphical._graph import ChainGraph, graph_from_edges
from mmfusion.graphical._inference import scaled_posteriors
from mmfusion.graphical._label_batches import Design, LabelBatches
from mmfusion.graphical._lbfgs import count_parameters, split_parameters

# of features, below which later frames count as independent
LEAST_CORRELATION = 0.05


class Boundaries(NamedTuple):
    """Labels with which sequences may begin and end, and which may follow which.

    Parameters
    ----------
    start, end : ndarray of bool of shape (n_labels,)
        Whether a sequence may begin, or end, with each label.
    next : ndarray of bool of shape (n_labels, n_labels)
        Whether a label (column) may follow each label.
    """

    start: np.ndarray
    end: np.ndarray
    next: np.ndarray


class CRFParameters(NamedTuple):
    """Parameters of a linear-chain conditional random field.

    Parameters
    ----------
    coef : ndarray of shape (n_columns, n_labels)
        Weights of the columns of the design.
    intercept, start, end : ndarray of shape (n_labels,)
        Scores of the labels of every frame, of the first and of the last one.
    transitions : ndarray of shape (n_labels, n_labels)
        Scores of each label (column) after each label.
    """

    coef: np.ndarray
    intercept: np.ndarray
    transitions: np.ndarray
    start: np.ndarray
    end: np.ndarray


class LabelledFrames(NamedTuple):
    """Frames with labels, of all sequences one after another.

    Parameters
    ----------
    design : ndarray or CSR array of shape (n_frames, n_columns)
        Features of frames.
    codes : ndarray of int of shape (n_frames,)
        Labels, from 0.
    offsets : ndarray of int of shape (n_sequences + 1,)
        First frame of each sequence, and the number of frames.
    weight : ndarray of shape (n_sequences,)
        Weights of the sequences.
    """

    design: Design
    codes: np.ndarray
    offsets: np.ndarray
    weight: np.ndarray


def label_graph(rules: Boundaries, min_runs: np.ndarray) -> ChainGraph:
    """Make the graph of labels, whose runs have a least number of frames.

    A label has one state for each frame of its shortest run, and only the last of them
    may be repeated or left. The last run of a sequence may be cut off by its end.

    Parameters
    ----------
    rules : Boundaries
        What may follow what.
    min_runs : ndarray of int of shape (n_labels,)
        Least number of frames of a run of each label.

    Returns
    -------
    ChainGraph
        The graph. States read the column of their label, and edges from label i to
        label j have the parameter ``i * n_labels + j``, or one without gaps where
        some are forbidden; see `edge_labels`.
    """
    n_labels = len(min_runs)
    first = np.concatenate([[0], np.cumsum(min_runs)[:-1]])
    last = first + min_runs - 1
    edges = [(s, s + 1) for a, b in zip(first, last, strict=True) for s in range(a, b)]
    for i in range(n_labels):
        for j in range(n_labels):
            if i == j and (rules.next[i, i] or min_runs[i] > 1):
                edges.append((last[i], last[i]))
            elif i != j and rules.next[i, j]:
                edges.append((last[i], first[j]))
    labels = np.repeat(np.arange(n_labels), min_runs)
    is_first = np.zeros(len(labels), dtype=bool)
    is_first[first] = True
    may_start = is_first & rules.start[labels]
    return graph_from_edges(
        len(labels),
        np.array(edges, dtype=np.int64).reshape(-1, 2),
        np.zeros(len(edges)),
        emits=labels,
        log_start=np.where(may_start, 0.0, -np.inf),
        log_end=np.where(rules.end[labels], 0.0, -np.inf),
    )


def edge_labels(graph: ChainGraph) -> tuple[np.ndarray, np.ndarray]:
    """Return the labels before and after each edge.

    Parameters
    ----------
    graph : ChainGraph
        Graph of `label_graph`.

    Returns
    -------
    before, after : ndarray of int of shape (n_edges,)
        The labels.
    """
    after = np.repeat(graph.emits, np.diff(graph.ptr))
    return graph.emits[graph.src], after


def scored_graph(graph: ChainGraph, parameters: CRFParameters) -> ChainGraph:
    """Write the scores of transitions, first and last labels into a graph.

    Parameters
    ----------
    graph : ChainGraph
        Graph of `label_graph`.
    parameters : CRFParameters
        The scores.

    Returns
    -------
    ChainGraph
        The graph with these weights.
    """
    return graph._replace(
        log_weights=parameters.transitions[edge_labels(graph)],
        log_start=graph.log_start + parameters.start[graph.emits],
        log_end=graph.log_end + parameters.end[graph.emits],
    )


def label_scores(design: Design, parameters: CRFParameters) -> np.ndarray:
    """Compute the scores of the labels of frames, without transitions.

    Parameters
    ----------
    design : ndarray or CSR array of shape (n_frames, n_columns)
        Features of frames.
    parameters : CRFParameters
        The weights.

    Returns
    -------
    ndarray of shape (n_frames, n_labels)
        The scores.
    """
    return np.asarray(design @ parameters.coef) + parameters.intercept


class CRFObjective:
    r"""Penalised negative log-likelihood of labels, given the frames.

    .. math:: C \sum_i w_i \left(\log Z(x_i) - s(y_i, x_i)\right)
              + \frac{1}{2} \|\theta\|^2

    with the score s of a sequence of labels, and the sum Z of ``exp(s)`` over all.
    Intercepts are not penalised.

    Parameters
    ----------
    graph : ChainGraph
        Graph of `label_graph`.
    data : LabelledFrames
        Frames and labels.
    C : float
        Weight of the likelihood.
    has_intercept, has_boundaries : bool
        Whether there are intercepts, and scores of first and last labels. They are 0
        otherwise.
    n_jobs : int or None, default=None
        Number of threads.
    """

    def __init__(
        self,
        graph: ChainGraph,
        data: LabelledFrames,
        C: float,
        *,
        has_intercept: bool = True,
        has_boundaries: bool = True,
        n_jobs: int | None = None,
    ) -> None:
        n_labels = int(graph.emits.max()) + 1
        n_columns = data.design.shape[1]
        self.graph, self.data, self.C, self.n_jobs = graph, data, C, n_jobs
        self._has_intercept, self._has_boundaries = has_intercept, has_boundaries
        self._shapes = [
            (n_columns, n_labels),
            (n_labels,),
            (n_labels, n_labels),
            (n_labels,),
            (n_labels,),
        ]
        self._edges = edge_labels(graph)
        lengths = np.diff(data.offsets)
        self._first = data.offsets[:-1][lengths > 0]
        self._last = data.offsets[1:][lengths > 0] - 1
        self._weight = C * data.weight
        self._by_frame = np.repeat(self._weight, lengths)
        self._observed: CRFParameters | None = None
        self._batches: LabelBatches | None = None
        has_all_edges = len(graph.emits) == n_labels and len(graph.src) == n_labels**2
        if has_all_edges and LabelBatches.suit(data.offsets, n_labels):
            self._batches = LabelBatches(
                data.design, data.offsets, self._weight, n_labels, n_jobs
            )

    @property
    def n_parameters(self) -> int:
        """Number of parameters."""
        return count_parameters(self._shapes)

    def parameters(self, theta: np.ndarray) -> CRFParameters:
        """Return the parameters of a flat array, as views."""
        return CRFParameters(*split_parameters(theta, self._shapes))

    def _observed_counts(self) -> CRFParameters:
        """Compute the derivative of the scores of the known labels."""
        codes, n_labels, weight = self.data.codes, self._shapes[1][0], self._by_frame
        frames = np.arange(len(codes))
        labels = sparse.csr_array(
            (weight, (frames, codes)), shape=(len(codes), n_labels)
        )
        transitions = np.zeros(self._shapes[2])
        later = np.delete(frames, self._first)
        np.add.at(transitions, (codes[later - 1], codes[later]), weight[later])
        return self._counts(labels, transitions)

    def _counts(
        self, labels: np.ndarray | sparse.csr_array, transitions: np.ndarray
    ) -> CRFParameters:
        """Compute sums of features from weights of labels and of transitions."""
        sums: Any = (labels.T @ self.data.design).T
        return CRFParameters(
            sums.toarray() if sparse.issparse(sums) else np.asarray(sums),
            labels.sum(axis=0),
            transitions,
            labels[self._first].sum(axis=0),
            labels[self._last].sum(axis=0),
        )

    def __call__(self, theta: np.ndarray) -> tuple[float, np.ndarray]:
        """Compute the objective and its gradient.

        Parameters
        ----------
        theta : ndarray of shape (n_parameters,)
            The parameters.

        Returns
        -------
        value : float
            The objective.
        gradient : ndarray of shape (n_parameters,)
            Its gradient.
        """
        own, gradient = self.parameters(theta), theta.copy()
        grown = self.parameters(gradient)
        grown.intercept[:] = 0
        value = 0.5 * float(gradient @ gradient)
        loss, counts = self._loss(own)
        for sums, count in zip(grown, counts, strict=True):
            sums += count
        if not self._has_intercept:
            grown.intercept[:] = 0
        if not self._has_boundaries:
            grown.start[:] = grown.end[:] = 0
        return value + loss, gradient

    def _loss(self, own: CRFParameters) -> tuple[float, CRFParameters]:
        """Compute the negative log-likelihood, and its derivative."""
        if self._observed is None:
            self._observed = self._observed_counts()
        loss, counts = self._expected_counts(own)
        for part, count, observed in zip(own, counts, self._observed, strict=True):
            loss -= float(np.vdot(observed, part))
            count -= observed
        return loss, counts

    def _expected_counts(
        self, own: CRFParameters, forbidden: np.ndarray | None = None
    ) -> tuple[float, CRFParameters]:
        """Compute the logarithm of the sum over all labels, and its derivative.

        `forbidden` are those that the sum leaves out, of shape (n_labels, n_frames).
        """
        graph = scored_graph(self.graph, own)
        if self._batches is not None:
            found = self._batches.counts(graph, own.coef, own.intercept, forbidden)
            if found is not None:
                return found[0], CRFParameters(*found[1])
        scores = label_scores(self.data.design, own)
        if forbidden is not None:
            scores[forbidden.T] = -np.inf
        chain = scaled_posteriors(
            graph,
            scores,
            self.data.offsets,
            sample_weight=self._weight,
            n_jobs=self.n_jobs,
        )
        transitions = np.zeros(self._shapes[2])
        np.add.at(transitions, self._edges, chain.edge_counts)
        assert chain.posteriors is not None
        value = float(self._weight @ chain.log_likelihoods)
        return value, self._counts(chain.posteriors, transitions)


def count_dependent_frames(data: LabelledFrames) -> float:
    r"""Compute the number of successive frames that hold as much as one.

    It is the integrated autocorrelation ``1 + 2 \sum_k r_k`` of the features about the
    means of their labels, up to the first lag k whose correlation is below .05. Frames
    by windows that overlap have nearly the same features, and the errors of one are
    those of the next.

    Parameters
    ----------
    data : LabelledFrames
        Frames and labels.

    Returns
    -------
    float
        The number, at least 1.
    """
    lengths = np.diff(data.offsets)
    by_frame = np.repeat(data.weight, lengths)
    sequence = np.repeat(np.arange(len(lengths)), lengths)
    n_labels = int(data.codes.max()) + 1
    labels = sparse.csr_array(
        (by_frame, (data.codes, np.arange(len(data.codes)))),
        shape=(n_labels, len(data.codes)),
    )
    totals = np.maximum(labels.sum(axis=1), np.finfo(float).tiny)
    means = (labels @ data.design) / totals[:, None]
    means = means.toarray() if sparse.issparse(means) else np.asarray(means)
    along, between = np.asarray(data.design @ means.T), means @ means.T

    def covariance(lag: int) -> float:
        n = len(data.codes) - lag
        inside = sequence[:n] == sequence[lag:]
        before, after = np.flatnonzero(inside), np.flatnonzero(inside) + lag
        a, b = data.codes[before], data.codes[after]
        one, other = data.design[before], data.design[after]
        if isinstance(one, np.ndarray):
            own = np.einsum("ij,ij->i", one, other)
        else:
            own = np.asarray(one.multiply(other).sum(axis=1)).ravel()
        own = own - along[before, b] - along[after, a] + between[a, b]
        weight = by_frame[before]
        return float(weight @ own) / max(float(weight.sum()), np.finfo(float).tiny)

    variance = covariance(0)
    total = 1.0
    for lag in range(1, int(lengths.max())):
        correlation = covariance(lag) / variance if variance > 0 else 0.0
        if correlation < LEAST_CORRELATION:
            break
        total += 2 * correlation
    return total
