"""Which types stored estimators consist of, for loading them without pickle."""

from __future__ import annotations

import inspect
import pkgutil
from collections.abc import Iterator
from importlib import import_module

from sklearn.metrics import DistanceMetric
from sklearn.neighbors import KDTree

import mmfusion

__all__ = ["trusted_types"]

# No state of an estimator comes from these; the deep ones would load torch.
_NOT_WALKED = {
    "__main__",
    "benchmark",
    "clustering",
    "datasets",
    "metrics",
    "nn",
    "persistence",
    "plotting",
    "robustness",
    "testing",
}
# their estimators consist of arrays once stored
_DEEP = ["mmfusion.clustering", "mmfusion.nn"]


def trusted_types() -> list[str]:
    """List the types that stored estimators of mmfusion consist of.

    Unlike pickle, `skops.io` runs no code that a file names, unless its type is
    trusted. These types hold arrays, numbers and one another; loading them does
    nothing but set attributes. Types of estimators inside that are neither of mmfusion
    nor of scikit-learn, and functions that were given as parameters, are not among
    them: look at them with `skops.io.get_untrusted_types`, and add them if you know
    where the file is from.

    Returns
    -------
    list of str
        Full names of types, sorted: those of mmfusion, and those of Python and
        scikit-learn that its estimators hold and skops does not trust by itself.

    See Also
    --------
    mmfusion.testing.check_multimodal_estimator : Checks the round trip, too.

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
    of_sklearn = [KDTree, type(DistanceMetric.get_metric("euclidean"))]
    classes = [*_walked_classes(), *of_sklearn, frozenset]
    return sorted({_full_name(cls) for cls in classes} | _deep())


def _full_name(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"


def _walked_classes() -> Iterator[type]:
    for top in pkgutil.iter_modules(mmfusion.__path__, "mmfusion."):
        if top.name.removeprefix("mmfusion.") in _NOT_WALKED:
            continue
        names = [top.name]
        if top.ispkg:
            path = import_module(top.name).__path__
            names += [m.name for m in pkgutil.walk_packages(path, f"{top.name}.")]
        for name in names:
            yield from _own_classes(name)


def _own_classes(module_name: str) -> list[type]:
    try:
        module = import_module(module_name)
    except ImportError:  # an extra is not installed; its estimators do not load either
        return []
    classes = vars(module).values()
    return [c for c in classes if inspect.isclass(c) and c.__module__ == module_name]


def _deep() -> set[str]:
    packages = [import_module(name) for name in _DEEP]
    return {
        f"{package.__name__}.{package._MODULES[name]}.{name}"
        for package in packages
        for name in package.__all__
    }
