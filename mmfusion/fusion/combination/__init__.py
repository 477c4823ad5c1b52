"""Combination of predictions and of clusterings, as pure functions of arrays."""
