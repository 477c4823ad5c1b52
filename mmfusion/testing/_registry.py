"""Discovery of the public estimators among the exports of the topics."""

from __future__ import annotations

import pkgutil
from importlib import import_module

from sklearn.base import BaseEstimator

import mmfusion


def all_estimators() -> dict[str, type]:
    """Find the public estimators of mmfusion.

    An estimator that is exported from its topic is found, and is thus tested by
    scikit-learn's checks and by the multimodal contract. Those whose optional
    dependencies are not installed are left out.

    Returns
    -------
    dict of str to class
        Estimator classes by name, sorted.

    See Also
    --------
    check_multimodal_estimator : Check that an estimator keeps the contract.

    Examples
    --------
    >>> from mmfusion.testing import all_estimators
    >>> "EarlyFusionClusterer" in all_estimators()
    True
    """
    found = {}
    for topic in pkgutil.iter_modules(mmfusion.__path__, "mmfusion."):
        module = import_module(topic.name)
        for name in module.__all__ if topic.ispkg else ():
            try:
                public = getattr(module, name)
            except ImportError:
                continue
            # a BaseEstimator without fit holds parameters, such as those of a training
            if (
                isinstance(public, type)
                and issubclass(public, BaseEstimator)
                and hasattr(public, "fit")
            ):
                found[name] = public
    return dict(sorted(found.items()))
