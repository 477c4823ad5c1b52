"""Partial information decomposition of discrete variables."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils import check_consistent_length

from mmfusion._blocks import as_plain
from mmfusion._options import errors_about
from mmfusion._sklearn_compat import check_sample_weight
from mmfusion.metrics._labels import validate_labels, warn_of_measured_values


@dataclass(frozen=True)
class PartialInformation:
    """Parts of the information of two variables about a third one, in bits.

    Parameters
    ----------
    redundancy : float
        Information that both variables have.
    unique_1 : float
        Information of the first variable only.
    unique_2 : float
        Information of the second variable only.
    synergy : float
        Information of the pair only.

    Attributes
    ----------
    information_1 : float
        Mutual information of the first variable: `redundancy` + `unique_1`.
    information_2 : float
        Mutual information of the second variable: `redundancy` + `unique_2`.
    joint_information : float
        Mutual information of the pair: the sum of all parts.

    See Also
    --------
    partial_information : Computes the parts.

    Examples
    --------
    >>> from mmfusion.inspection import partial_information
    >>> partial_information([0, 0, 1, 1], [0, 1, 0, 1], [0, 1, 1, 0])
    PartialInformation(redundancy=0.0, unique_1=0.0, unique_2=0.0, synergy=1.0)
    """

    redundancy: float
    unique_1: float
    unique_2: float
    synergy: float

    @property
    def information_1(self) -> float:
        """Mutual information of the first variable and the target."""
        return self.redundancy + self.unique_1

    @property
    def information_2(self) -> float:
        """Mutual information of the second variable and the target."""
        return self.redundancy + self.unique_2

    @property
    def joint_information(self) -> float:
        """Mutual information of both variables and the target."""
        return self.redundancy + self.unique_1 + self.unique_2 + self.synergy


def partial_information(
    x1: ArrayLike,
    x2: ArrayLike,
    y: ArrayLike,
    *,
    sample_weight: ArrayLike | None = None,
) -> PartialInformation:
    """Compute redundancy, uniqueness and synergy of two discrete variables.

    The redundancy is ``R = sum_y p(y) min_i I(y; X_i)`` with the specific information
    ``I(y; X_i) = sum_x p(x | y) log2(p(y | x) / p(y))``. The unique information of
    ``X_i`` is ``I(Y; X_i) - R``, and the synergy is the rest of ``I(Y; X_1, X_2)``.

    Parameters
    ----------
    x1 : array-like of shape (n_samples,)
        First variable, with values of any sortable type.
    x2 : array-like of shape (n_samples,)
        Second variable.
    y : array-like of shape (n_samples,)
        Target.
    sample_weight : array-like of shape (n_samples,), default=None
        Weights of the samples, such as the probabilities of the outcomes of an exact
        distribution. None is equal weights.

    Returns
    -------
    PartialInformation
        The four parts in bits, which are not negative.

    Raises
    ------
    ValueError
        If lengths differ, a value is missing, or weights are negative or all 0.

    See Also
    --------
    modality_interactions : Estimates the parts for modalities, by held-out predictions.

    Notes
    -----
    Probabilities are frequencies. With few samples for each combination of values,
    information is overestimated: by about ``(|X| - 1) (|Y| - 1) / (2 n ln 2)`` bits for
    one variable, and more for the pair, which appears as synergy.

    This redundancy compares amounts of information, whatever their content: for
    ``Y = (X_1, X_2)`` with independent bits it is 1 bit, and the synergy as well.

    References
    ----------
    P. L. Williams and R. D. Beer (2010), Nonnegative decomposition of multivariate
    information. arXiv:1004.2515.

    Examples
    --------
    The conjunction of two independent bits, of which each combination is one sample:

    >>> from mmfusion.inspection import partial_information
    >>> parts = partial_information([0, 0, 1, 1], [0, 1, 0, 1], [0, 0, 0, 1])
    >>> round(parts.redundancy, 3), round(parts.synergy, 3)
    (0.311, 0.5)
    """
    columns = {"x1": x1, "x2": x2, "y": y}
    values = {key: validate_labels(column, key) for key, column in columns.items()}
    warn_of_measured_values(**values)
    with errors_about("x1, x2 and y"):
        check_consistent_length(*values.values())
    with errors_about("sample_weight"):
        plain = as_plain(sample_weight, "sample_weight")
        weights = check_sample_weight(plain, values["y"], ensure_non_negative=True)
        total = weights.sum()
        if not (0 < total < np.inf):
            raise ValueError(f"weights sum to {total}; a positive sum is needed")
    codes = [np.unique(v, return_inverse=True)[1].ravel() for v in values.values()]
    joint = np.zeros([int(code.max()) + 1 for code in codes])
    np.add.at(joint, tuple(codes), weights / total)
    p_y = joint.sum(axis=(0, 1))
    single = [
        specific_information(joint.sum(axis=other)) for other in (1, 0)
    ]  # rows of each table are the values of x1, of x2
    pair = specific_information(joint.reshape(-1, len(p_y)))
    redundancy = float(p_y @ np.minimum(*single))
    first, second = (float(p_y @ s) - redundancy for s in single)
    synergy = float(p_y @ pair) - redundancy - first - second
    # rounding errors only: the parts of this redundancy are not negative
    parts = [max(0.0, part) for part in (redundancy, first, second, synergy)]
    return PartialInformation(*parts)


def specific_information(joint: np.ndarray) -> np.ndarray:
    """Compute the information of a variable about each value of the target.

    Parameters
    ----------
    joint : ndarray of shape (n_values, n_targets)
        Joint probabilities.

    Returns
    -------
    ndarray of shape (n_targets,)
        Specific information in bits; 0 for values of probability 0.
    """
    p_x, p_y = joint.sum(axis=1), joint.sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = joint / (p_x[:, None] * p_y)
        terms = np.where(joint > 0, joint / p_y * np.log2(ratio), 0.0)
    return terms.sum(axis=0)
