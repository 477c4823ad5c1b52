"""Displays of fitted estimators; matplotlib loads when something is drawn."""

__all__: list[str] = []
