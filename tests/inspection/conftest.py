"""Figures that are closed after each test."""

import matplotlib.pyplot
import pytest


@pytest.fixture(autouse=True)
def figures():
    """Draw without a screen, and leave no figure open."""
    matplotlib.use("agg")
    yield
    matplotlib.pyplot.close("all")
