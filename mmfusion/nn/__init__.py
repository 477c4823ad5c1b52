"""Torch parts of the deep estimators; torch loads with the first of them."""

__all__: list[str] = []
