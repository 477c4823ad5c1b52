"""Checks of the multimodal contract, for any estimator that takes modalities."""

from mmfusion.testing._contract import check_multimodal_estimator, multimodal_checks
from mmfusion.testing._registry import all_estimators

__all__ = ["all_estimators", "check_multimodal_estimator", "multimodal_checks"]
