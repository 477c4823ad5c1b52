"""Graphs of nearest neighbours and their spectral embeddings, as pure functions."""
