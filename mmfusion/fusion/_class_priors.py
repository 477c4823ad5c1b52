"""Prior probabilities of classes, as users give them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from mmfusion._options import errors_about


def checked_priors(
    priors: ArrayLike | Mapping[Any, float], classes: np.ndarray
) -> np.ndarray:
    """Return the prior probability of each class.

    Parameters
    ----------
    priors : array-like of shape (n_classes,) or dict
        Probabilities, in the order of the classes or by class.
    classes : ndarray of shape (n_classes,)
        The classes.

    Returns
    -------
    ndarray of float64 of shape (n_classes,)
        Probabilities, which add up to 1 to the last digit.

    Raises
    ------
    ValueError
        If they are not those of the classes, or no probabilities.
    """
    given: Any = priors
    if isinstance(priors, Mapping):
        labels = classes.tolist()
        if set(priors) != set(labels):
            raise ValueError(
                f"priors name the classes {list(priors)}, and y has {labels}; give a "
                "probability for each of these"
            )
        given = [priors[label] for label in labels]
    with errors_about("priors"):
        values = np.asarray(given, dtype=np.float64)
    if values.shape != (len(classes),):
        raise ValueError(
            f"priors has shape {values.shape}; give one probability for each of the "
            f"{len(classes)} classes"
        )
    if not (values >= 0).all() or not np.isclose(values.sum(), 1):
        raise ValueError(
            f"priors={values.tolist()} are no probabilities: they must not be negative "
            "and add up to 1"
        )
    return values / values.sum()
