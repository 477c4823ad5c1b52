"""Numerics of word alignment: index, models of translation, symmetrization."""
