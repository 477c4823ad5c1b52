"""Conditional random fields with hidden states of their own for each label."""

from __future__ import annotations

import warnings

import numpy as np
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning

from mmfusion.graphical._crf import (
    Boundaries,
    CRFObjective,
    CRFParameters,
    LabelledFrames,
)
from mmfusion.graphical._graph import ChainGraph
from mmfusion.graphical._initialization import CLUSTERED_STEPS


class LatentCRFObjective(CRFObjective):
    r"""Penalised negative log-likelihood of labels that have hidden states.

    .. math:: C \sum_i w_i \left(\log Z(x_i) - \log Z_{y_i}(x_i)\right)
              + \frac{1}{2} \|\theta\|^2

    with the sum Z over all sequences of states, and the sum over those whose states
    are all of the known labels.

    Parameters
    ----------
    graph : ChainGraph
        Graph of `label_graph`, of states; those of the first label come first.
    data : LabelledFrames
        Frames and labels.
    C : float
        Weight of the likelihood.
    states_per_label : int
        Number of states of each label.
    has_intercept, has_boundaries : bool
        Whether there are intercepts, and scores of first and last states.
    n_jobs : int or None, default=None
        Number of threads.
    """

    def __init__(
        self,
        graph: ChainGraph,
        data: LabelledFrames,
        C: float,
        states_per_label: int,
        *,
        has_intercept: bool = True,
        has_boundaries: bool = True,
        n_jobs: int | None = None,
    ) -> None:
        super().__init__(
            graph,
            data,
            C,
            has_intercept=has_intercept,
            has_boundaries=has_boundaries,
            n_jobs=n_jobs,
        )
        labels = np.arange(self._shapes[1][0]) // states_per_label
        self._forbidden = labels[:, None] != data.codes

    def _loss(self, own: CRFParameters) -> tuple[float, CRFParameters]:
        """Compute the negative log-likelihood, and its derivative."""
        loss, counts = self._expected_counts(own)
        known, observed = self._expected_counts(own, self._forbidden)
        for count, part in zip(counts, observed, strict=True):
            count -= part
        return loss - known, counts


def boundaries_of_states(rules: Boundaries, states_per_label: int) -> Boundaries:
    """Return what may follow what for the states of labels.

    Parameters
    ----------
    rules : Boundaries
        What labels may follow what.
    states_per_label : int
        Number of states of each label.

    Returns
    -------
    Boundaries
        The rules of states, of which each may follow any other of its label where the
        label may be repeated.
    """
    k = states_per_label
    by_state = rules.next.repeat(k, axis=0).repeat(k, axis=1)
    return Boundaries(rules.start.repeat(k), rules.end.repeat(k), by_state)


def cluster_states(
    data: LabelledFrames, states_per_label: int, random_state: np.random.RandomState
) -> LabelledFrames:
    """Cluster the frames of each label into states by k-means.

    Parameters
    ----------
    data : LabelledFrames
        Frames and labels.
    states_per_label : int
        Number of states of each label.
    random_state : RandomState
        Generator.

    Returns
    -------
    LabelledFrames
        The frames with states in place of labels.
    """
    k = states_per_label
    states = data.codes * k
    for code in np.unique(data.codes):
        rows = np.flatnonzero(data.codes == code)
        if len(rows) <= k:
            states[rows] += np.arange(len(rows))
            continue
        fitted = rows
        if len(rows) > CLUSTERED_STEPS:
            fitted = np.sort(random_state.choice(rows, CLUSTERED_STEPS, replace=False))
        kmeans = KMeans(k, n_init=3, random_state=random_state)
        with warnings.catch_warnings():  # of fewer distinct frames than states
            warnings.simplefilter("ignore", ConvergenceWarning)
            kmeans.fit(data.design[fitted])
        states[rows] += kmeans.predict(data.design[rows])
    return data._replace(codes=states)
