"""Types that stored estimators consist of, for loading them without pickle."""

from __future__ import annotations

import inspect
import pkgutil
from collections.abc import Iterator
from importlib import import_module

from scipy import sparse
from sklearn.metrics import DistanceMetric
from sklearn.neighbors import KDTree

import mmfusion

__all__ = ["trusted_types"]

# Packages without types of stored state; those of deep estimators would load torch.
_NOT_SEARCHED = {
    "__main__",
    "benchmark",
    "datasets",
    "metrics",
    "nn",
    "persistence",
    "plotting",
    "robustness",
    "testing",
}
# Their estimators are stored as arrays, so that their own type is the only one.
_DEEP_PACKAGES = ["mmfusion.clustering", "mmfusion.nn"]
_DEEP_MODULES = tuple(
    f"mmfusion.clustering.{name}"
    for name in (
        "_deep_base",
        "_dmsc",
        "_expression_readout",
        "_mflvc",
        "_pseudo_labels",
        "_simvc",
        "_terms",
        "eamc",
    )
)


def trusted_types() -> list[str]:
    """List the types that stored estimators of mmfusion consist of.

    Unlike pickle, `skops.io` runs code named in a file only if its type is trusted.
    The listed types hold arrays, numbers and one another; loading them only sets
    attributes. Types of third-party estimators, and functions given as parameters, are
    not listed: inspect them with `skops.io.get_untrusted_types`, and add them if the
    origin of the file is known.

    Returns
    -------
    list of str
        Sorted full names of the types of mmfusion, and of those of Python, SciPy and
        scikit-learn that its estimators hold and skops does not trust by default.

    See Also
    --------
    mmfusion.testing.check_multimodal_estimator : Checks storing and loading, too.

    Examples
    --------
    >>> import numpy as np
    >>> import skops.io
    >>> from mmfusion import EarlyFusion, trusted_types
    >>> fusion = EarlyFusion().fit([np.eye(4), np.ones((4, 2))])
    >>> stored = skops.io.dumps(fusion)
    >>> loaded = skops.io.loads(stored, trusted=trusted_types())
    >>> loaded.modality_names_in_.tolist()
    ['modality_0', 'modality_1']
    """
    sklearn_types = [KDTree, type(DistanceMetric.get_metric("euclidean"))]
    classes = [*_state_classes(), *sklearn_types, sparse.csr_array, frozenset]
    return sorted({_full_name(cls) for cls in classes} | _deep_types())


def _full_name(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"


def _state_classes() -> Iterator[type]:
    """Yield the classes of all packages that define types of stored state."""
    for top in pkgutil.iter_modules(mmfusion.__path__, "mmfusion."):
        if top.name.removeprefix("mmfusion.") in _NOT_SEARCHED:
            continue
        names = [top.name]
        if top.ispkg:
            path = import_module(top.name).__path__
            names += [m.name for m in pkgutil.walk_packages(path, f"{top.name}.")]
        for name in names:
            if name.startswith(_DEEP_MODULES):
                continue
            yield from _own_classes(name)


def _own_classes(module_name: str) -> list[type]:
    try:
        module = import_module(module_name)
    except ImportError:  # a missing extra, without which no estimator of it loads
        return []
    classes = vars(module).values()
    return [c for c in classes if inspect.isclass(c) and c.__module__ == module_name]


def _deep_types() -> set[str]:
    """Return the full names of deep estimators, without importing torch."""
    packages = [import_module(name) for name in _DEEP_PACKAGES]
    return {
        f"{package.__name__}.{package._MODULES[name]}.{name}"
        for package in packages
        for name in package._MODULES
    }
