"""The toy estimator belongs to a copy of the package; its example runs there."""

collect_ignore = ["norm_fusion.py"]
