"""The base of deep clusterers: clusters of samples from the logits of a network."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from numbers import Integral
from typing import Any, ClassVar

import numpy as np
from sklearn.base import ClusterMixin
from sklearn.utils import ClassifierTags
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from mmfusion._sklearn_compat import Interval
from mmfusion._typing import ModalitiesLike
from mmfusion.metrics import modality_silhouette_score
from mmfusion.nn._data import Batches, Preparation, Rows
from mmfusion.nn._estimator import DEFAULT_BATCH_SIZE, DeepEstimator
from mmfusion.nn._isolation import isolated
from mmfusion.nn._net import DeepNet
from mmfusion.nn._network import Outputs
from mmfusion.nn._training import collect_outputs

DEFAULT_N_CLUSTERS = 8  # that of scikit-learn's k-means


@contextmanager
def refuses_sizes(sizes: Mapping[str, int]) -> Iterator[None]:
    """Name the parameters of a network that is too large to be made.

    Parameters
    ----------
    sizes : dict of str to int
        The sizes of its layers by parameter.

    Yields
    ------
    None
        Nothing; the network is made in the block.

    Raises
    ------
    ValueError
        If torch cannot make it.
    """
    try:
        yield
    # torch raises several types for sizes beyond memory or beyond int64
    except (RuntimeError, OverflowError, TypeError) as error:
        *most, last = [f"{name}={size}" for name, size in sizes.items()]
        raise ValueError(
            f"a network with {', '.join(most)} and {last} does not fit into memory; "
            "lower them"
        ) from error


class BaseDeepClusterer(ClusterMixin, DeepEstimator):
    """A deep estimator whose network assigns samples to clusters.

    The assignment of a sample is ``softmax(logits)`` of the network, its cluster their
    argmax. A subclass adds the constructor parameter `n_clusters` to those of
    `DeepEstimator`, and defines its network, phases and defaults.
    """

    n_clusters: int | None

    _selection_criteria: ClassVar[Sequence[str]] = ("clustering", "total")
    _remedy = "raise n_init or choose fewer clusters"
    _predictions_attribute = "labels_"

    _parameter_constraints = {
        **DeepEstimator._parameter_constraints,
        "n_clusters": [Interval(Integral, 1, None, closed="left"), None],
    }

    @property
    def _k(self) -> int:
        """Number of clusters."""
        return DEFAULT_N_CLUSTERS if self.n_clusters is None else self.n_clusters

    def _check_n_samples(self, n_samples: int) -> None:
        if n_samples < max(2, self._k):
            raise ValueError(
                f"n_samples={n_samples} should be >= n_clusters={self._k}, and at "
                "least 2"
            )

    def _auto_batch_size(self) -> int:
        # small batches find better optima; large ones hold samples of every cluster
        return max(DEFAULT_BATCH_SIZE, 2 * self._k)

    def _examine(self, net: DeepNet, data: Batches) -> tuple[np.ndarray, list[str]]:
        labels = _assign(net, data.rows, data.prepare)
        return labels, self._empty_clusters(labels)

    def _empty_clusters(self, labels: np.ndarray) -> list[str]:
        """Describe the problem of empty clusters, if there are any."""
        n_empty = self._k - len(np.unique(labels))
        return [f"{n_empty} of {self._k} clusters are empty"] if n_empty else []

    @isolated()
    def predict(self, X: ModalitiesLike) -> np.ndarray:
        """Assign new samples to clusters.

        Parameters
        ----------
        X : list, dict, Modalities, torch Dataset, or array-like of shape \
                (n_samples, n_features)
            The data.

        Returns
        -------
        ndarray of int of shape (n_samples,)
            Clusters.
        """
        check_is_fitted(self)
        rows = self._rows(X, reset=False)
        return _assign(self._net, rows, self._preparation)

    @isolated()
    def predict_proba(self, X: ModalitiesLike) -> np.ndarray:
        """Compute the soft assignment of new samples.

        Parameters
        ----------
        X : list, dict, Modalities, torch Dataset, or array-like of shape \
                (n_samples, n_features)
            The data.

        Returns
        -------
        ndarray of shape (n_samples, n_clusters)
            Membership in each cluster; rows add up to 1.
        """
        return self._collect(X, lambda outputs: outputs.logits.softmax(1))[0]

    @isolated()
    def score(self, X: ModalitiesLike, y: object = None) -> float:
        """Score the clusters of samples without classes.

        Unlike losses, the score can be compared across parameters, as a search does.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The data.
        y : object, default=None
            Ignored.

        Returns
        -------
        float
            Mean silhouette over the modalities, of at most 2000 samples.
        """
        check_is_fitted(self)
        frame = self._validate(X, reset=False)
        return modality_silhouette_score(frame, self.predict(frame))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        # scikit-learn's check of sparse input takes what has predict_proba for a
        # classifier, and reads this tag
        tags.classifier_tags = ClassifierTags(multi_class=self._k != 2)
        return tags


def _assign(net: DeepNet, rows: Rows, prepare: Preparation) -> np.ndarray:
    """Return the clusters of samples."""

    def closest(outputs: Outputs) -> Tensor:
        return outputs.logits.argmax(1)

    return collect_outputs(net, rows, prepare, closest, np.dtype(np.int64))
