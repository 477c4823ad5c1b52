"""Every public estimator, found from what the topics export."""

from __future__ import annotations

import pkgutil
from importlib import import_module

from sklearn.base import BaseEstimator

import mmfusion


def all_estimators() -> dict[str, type]:
    """Find the public estimators of mmfusion.

    Exporting an estimator from its topic is all it takes to be found, and with that
    to be held to scikit-learn's checks and to the multimodal contract. Those whose
    optional dependencies are not installed are left out.

    Returns
    -------
    dict of str to class
        Estimator classes by name, sorted.

    See Also
    --------
    check_multimodal_estimator : The multimodal contract.

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
