"""Kernel and distance functions of sequences, and their parameters by the data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from mmfusion._memory import check_fits
from mmfusion.alignment.dtw._costs import are_moderate
from mmfusion.alignment.dtw._global_alignment import (
    alignment_costs,
    median_gamma,
    median_of_costs,
    median_softness,
)
from mmfusion.alignment.dtw._pairwise import cdist_dtw
from mmfusion.alignment.dtw._path import dtw_distance
from mmfusion.alignment.dtw._soft import SoftOptions, soft_value
from mmfusion.alignment.dtw._soft_pairs import alignment_values, soft_values

SEQUENCE_KERNELS = ("distance", "divergence", "global_alignment", "rbf", "soft_dtw")
SEQUENCE_DISTANCES = ("distance", "divergence")
HARD_KERNELS = ("distance", "rbf")  # of one path, not all
DIVERGENCE_BYTES_PER_PAIR = (
    48  # of the positions and values of a pair, and their copies
)
SOFT_KERNELS = ("divergence", "soft_dtw")  # with a softness


@dataclass(frozen=True)
class SequenceSet:
    """Sequences, and what a function computes of each alone.

    Parameters
    ----------
    sequences : list of ndarray of shape (n_frames, n_features)
        The sequences.
    own : ndarray of shape (n_sequences,)
        Soft values of each sequence with itself; 0 for functions without softness.
    """

    sequences: list[np.ndarray]
    own: np.ndarray

    def __getitem__(self, positions: np.ndarray) -> SequenceSet:
        some = [self.sequences[i] for i in positions.tolist()]
        return SequenceSet(some, self.own[positions])

    @property
    def has_single_frames(self) -> bool:
        """Whether every sequence has one frame."""
        return all(len(x) == 1 for x in self.sequences)


@dataclass(frozen=True)
class SequenceFunction:
    """A kernel or distance of two sequences, with its parameters.

    ================== ========================================================
    'distance'         cost d of dynamic time warping
    'rbf'              ``exp(-gamma d)``
    'divergence'       divergence D of soft-DTW, at least 0
    'soft_dtw'         ``exp(-gamma D)``
    'global_alignment' sum over all paths, normalised to 1 on the diagonal
    ================== ========================================================

    Parameters
    ----------
    kernel : str
        Name of the function.
    options : dict
        Metric and constraints: options of `cdist_dtw`, or of `soft_dtw`; empty for
        'global_alignment'.
    gamma : float, default=None
        Coefficient of the kernels.
    softness : float, default=None
        Gamma of soft-DTW. Neither is read by functions without it.
    n_jobs : int, default=None
        Number of threads.
    """

    kernel: str
    options: Mapping[str, Any]
    gamma: float | None = None
    softness: float | None = None
    n_jobs: int | None = None

    @property
    def is_distance(self) -> bool:
        """Whether values grow with the difference, and have no gamma."""
        return self.kernel in SEQUENCE_DISTANCES

    def prepare(self, sequences: list[np.ndarray]) -> SequenceSet:
        """Compute what each sequence needs by itself.

        Parameters
        ----------
        sequences : list of ndarray of shape (n_frames, n_features)
            The sequences.

        Returns
        -------
        SequenceSet
            The sequences, with their values.

        Raises
        ------
        ValueError
            If squared distances of frames overflow or vanish in 'global_alignment'.
        """
        if self.kernel in HARD_KERNELS:
            own = np.zeros(len(sequences))
            # frames without direction, and those of a callable, may cost something
            # beside themselves
            metric = self.options.get("metric")
            if callable(metric) or metric in ("cosine", "correlation"):
                own[:] = [dtw_distance(x, x, **self.options) for x in sequences]
            return SequenceSet(sequences, own)
        self.check_range(sequences)
        with_itself = np.repeat(np.arange(len(sequences)), 2).reshape(-1, 2)
        own = self._soft_values(sequences, sequences, with_itself)
        return SequenceSet(sequences, own)

    def check_range(self, sequences: list[np.ndarray]) -> None:
        """Raise an error if squared distances of frames overflow or vanish.

        Parameters
        ----------
        sequences : list of ndarray of shape (n_frames, n_features)
            The sequences.

        Raises
        ------
        ValueError
            If they do, in 'global_alignment'; the others rescale.
        """
        if self.kernel == "global_alignment" and not are_moderate(sequences):
            raise ValueError(
                "squared distances of frames overflow, or vanish; bring its features "
                "to another unit, as PerModality(StandardScaler()) does"
            )

    def costs(self, X: SequenceSet, Y: SequenceSet | None) -> np.ndarray:
        """Compute what the values are functions of, at least 0.

        Parameters
        ----------
        X : SequenceSet
            Sequences.
        Y : SequenceSet or None
            Other sequences; None compares those of `X` with each other.

        Returns
        -------
        ndarray of float64 of shape (n_x, n_y)
            Costs of warping, divergences, or minus the logarithm of 'global_alignment'.
        """
        if self.kernel in HARD_KERNELS:
            others = None if Y is None else Y.sequences
            return cdist_dtw(X.sequences, others, n_jobs=self.n_jobs, **self.options)
        right = X if Y is None else Y
        # frames have one path, whose cost is known without soft-DTW of every pair
        if X.has_single_frames and right.has_single_frames:
            return np.maximum(self._frame_costs(X, right), 0)
        n_pairs = len(X.sequences) * len(right.sequences)
        check_fits(
            n_pairs * DIVERGENCE_BYTES_PER_PAIR,
            f"the kernel of {len(X.sequences)} x {len(right.sequences)} sequences",
            "compare fewer samples at a time",
        )
        compared = np.ones((len(X.sequences), len(right.sequences)), dtype=bool)
        mirrored = Y is None and not callable(self.options.get("metric"))
        if mirrored:  # each pair once
            compared = np.tri(len(compared), k=-1, dtype=bool)
        pairs = np.argwhere(compared)
        costs = np.zeros(compared.shape)
        costs[compared] = self._soft_values(X.sequences, right.sequences, pairs)
        if mirrored:
            costs += costs.T + np.diag(X.own)
        costs -= (X.own[:, None] + right.own) / 2
        return np.maximum(costs, 0, out=costs)

    def diagonal(self, X: SequenceSet) -> np.ndarray:
        """Compute the value of every sequence with itself.

        Parameters
        ----------
        X : SequenceSet
            Sequences.

        Returns
        -------
        ndarray of shape (n_x,)
            The values.
        """
        is_hard = self.kernel in HARD_KERNELS
        return self.values(X.own if is_hard else np.zeros(len(X.own)))

    def values(self, costs: np.ndarray) -> np.ndarray:
        """Compute the values from the result of `costs`.

        Parameters
        ----------
        costs : ndarray
            The costs.

        Returns
        -------
        ndarray
            The values, of the same shape.
        """
        if self.is_distance:
            return costs
        # gamma is part of the local costs of global alignment
        if self.kernel == "global_alignment":
            return np.exp(-costs)
        assert self.gamma is not None
        return np.exp(-self.gamma * costs)

    def _soft_values(
        self, X: list[np.ndarray], Y: list[np.ndarray], pairs: np.ndarray
    ) -> np.ndarray:
        """Compute what divergences are differences of."""
        if not len(pairs):
            return np.empty(0)
        if self.kernel == "global_alignment":
            assert self.gamma is not None
            return alignment_values(X, Y, pairs, self.gamma, self.n_jobs)
        assert self.softness is not None
        options = SoftOptions(self.softness, **self.options)

        def value(i: int, j: int) -> float:
            return soft_value(X[i], Y[j], options)

        return soft_values(X, Y, pairs, options, value, self.n_jobs)

    def _frame_costs(self, X: SequenceSet, Y: SequenceSet) -> np.ndarray:
        """Compute the divergences of sequences of one frame."""
        if self.kernel == "global_alignment":
            assert self.gamma is not None
            x, y = (np.concatenate(own.sequences) for own in (X, Y))
            return alignment_costs(x, y, self.gamma)
        metric = self.options["metric"]
        costs = cdist_dtw(X.sequences, Y.sequences, metric=metric, n_jobs=self.n_jobs)
        return costs - (X.own[:, None] + Y.own) / 2

    def typical_cost(
        self, costs: np.ndarray, X: SequenceSet, weight: np.ndarray | None = None
    ) -> float:
        """Return the median cost of two sequences; 1 if all are the same.

        Parameters
        ----------
        costs : ndarray of shape (n, n)
            Costs of all pairs.
        X : SequenceSet
            The sequences.
        weight : ndarray of shape (n,), default=None
            Weights of the sequences: one of weight 3 counts as three equal ones.

        Returns
        -------
        float
            The median, or where it is 0 that of the pairs that differ.
        """
        median = median_of_costs(
            costs,
            self.options.get("metric"),
            weight,
            n_terms=2 * max(map(len, X.sequences)),
            dtype=np.result_type(*X.sequences),
        )
        return median or 1.0


class FittedFunction(NamedTuple):
    """A function whose parameters are fitted, and the costs that took.

    Parameters
    ----------
    function : SequenceFunction
        The function, with its gamma and softness.
    sequences : SequenceSet
        The sequences.
    costs : ndarray of shape (n, n)
        Costs of all pairs of them.
    scale : float
        The median of the costs; 1 for 'global_alignment'.
    """

    function: SequenceFunction
    sequences: SequenceSet
    costs: np.ndarray
    scale: float


def choose_by_frames(
    function: SequenceFunction,
    sequences: list[np.ndarray],
    weight: np.ndarray | None = None,
) -> SequenceFunction:
    """Choose the parameters that are None and follow from frames.

    Parameters
    ----------
    function, sequences, weight
        As for `fit_sequence_function`.

    Returns
    -------
    SequenceFunction
        The function, with a softness where it has one, and gamma of 'global_alignment'.
        Other gammas follow from the costs of pairs of sequences.
    """
    if function.kernel in SOFT_KERNELS and function.softness is None:
        metric = function.options["metric"]
        softness = median_softness(sequences, metric, weight)
        function = replace(function, softness=softness)
    if function.kernel == "global_alignment" and function.gamma is None:
        function.check_range(sequences)
        function = replace(function, gamma=median_gamma(sequences, weight))
    return function


def fit_sequence_function(
    function: SequenceFunction,
    sequences: list[np.ndarray],
    weight: np.ndarray | None = None,
) -> FittedFunction:
    """Choose the parameters that are None, and compare the sequences with each other.

    Parameters
    ----------
    function : SequenceFunction
        The function.
    sequences : list of ndarray of shape (n_frames, n_features)
        The sequences.
    weight : ndarray of shape (n,), default=None
        Weights of the sequences in medians.

    Returns
    -------
    FittedFunction
        The function. The softness is a tenth of the median cost of two frames, gamma 1
        over the median of the costs; for 'global_alignment' by `median_gamma`.
    """
    function = choose_by_frames(function, sequences, weight)
    is_alignment = function.kernel == "global_alignment"
    fitted = function.prepare(sequences)
    costs = function.costs(fitted, None)
    scale = 1.0 if is_alignment else function.typical_cost(costs, fitted, weight)
    if function.is_distance:
        function = replace(function, gamma=None)
    elif function.gamma is None:
        function = replace(function, gamma=1 / scale)
    return FittedFunction(function, fitted, costs, scale)
