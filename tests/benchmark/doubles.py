"""Clusterers that do one odd thing each. Worker processes import this module."""

import os
import threading
import time
import warnings
from pathlib import Path

import numpy as np
from sklearn.base import BaseEstimator, ClusterMixin


class Double(ClusterMixin, BaseEstimator):
    """Halves the samples by the first feature of the first modality."""

    def fit_predict(self, X, y=None):
        assert y is None, "a clusterer is not to see classes"
        first = np.asarray(X.blocks[0])[:, 0]
        return (first > np.median(first)).astype(int)


class Counting(Double):
    """Adds a line to a file for every fit; a test may break it off at one of them."""

    interrupt_at = None

    def __init__(self, log, *, option=1, random_state=None):
        self.log = log
        self.option = option
        self.random_state = random_state

    def fit_predict(self, X, y=None):
        if count(self.log) + 1 == self.interrupt_at:
            raise KeyboardInterrupt
        with Path(self.log).open("a") as file:
            file.write(f"{os.getpid()} {self.random_state}\n")
        return super().fit_predict(X, y)


def count(log):
    """Count the fits that a log lists."""
    log = Path(log)
    return len(log.read_text().splitlines()) if log.exists() else 0


class Sleeping(Counting):
    """Takes its time."""

    def fit_predict(self, X, y=None):
        time.sleep(0.3)
        return super().fit_predict(X, y)


class Failing(Double):
    """Raises if its seed is odd, or always."""

    def __init__(self, *, always=False, random_state=None):
        self.always = always
        self.random_state = random_state

    def fit_predict(self, X, y=None):
        if self.always or self.random_state % 2:
            raise RuntimeError("the method broke")
        return super().fit_predict(X, y)


class Grumbling(Double):
    """Warns twice of its seed, with a pause so that threads overlap."""

    def __init__(self, *, random_state=None):
        self.random_state = random_state

    def fit_predict(self, X, y=None):
        for _ in range(2):
            warnings.warn(f"seed {self.random_state}", UserWarning, stacklevel=1)
            time.sleep(0.02)
        return super().fit_predict(X, y)


class Delegating(Double):
    """Warns in a thread of its own."""

    def fit_predict(self, X, y=None):
        thread = threading.Thread(target=warnings.warn, args=["from a thread"])
        thread.start()
        thread.join()
        return super().fit_predict(X, y)


class Allocating(Double):
    """Allocates memory and frees it again."""

    def __init__(self, n_bytes):
        self.n_bytes = n_bytes

    def fit_predict(self, X, y=None):
        np.ones(self.n_bytes, dtype=np.uint8)
        return super().fit_predict(X, y)


class ByPosition(Double):
    """Takes the first half of the rows for a cluster."""

    def fit_predict(self, X, y=None):
        return (np.arange(len(X)) < len(X) // 2).astype(int)


class Returning(Double):
    """Returns what it was given."""

    def __init__(self, labels):
        self.labels = labels

    def fit_predict(self, X, y=None):
        return self.labels
