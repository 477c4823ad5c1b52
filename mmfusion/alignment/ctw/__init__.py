"""Canonical time warping: projections and warps of several modalities."""
