"""Functions that are compiled where numba is installed, and run without it."""

import sys

import numpy as np
import pytest

from mmfusion.graphical import _standardized
from mmfusion.graphical._optional_compilation import compiled_at_first_call


@pytest.mark.parametrize("substitute", [None, lambda x: ("substitute", x)])
def test_without_numba_the_substitute_or_the_function_is_called(
    substitute, monkeypatch
):
    monkeypatch.setitem(sys.modules, "mmfusion._compilation", None)

    @compiled_at_first_call(substitute)
    def function(x):
        return "function", x

    assert function(3) == ("substitute" if substitute else "function", 3)


def test_rows_are_the_same_by_numpy_and_compiled():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(30, 4))
    X[3, 1], X[5, 2] = np.nan, np.inf
    center, inverse_scale = rng.normal(size=4), rng.uniform(1, 2, 4)
    compiled, by_numpy = np.empty((30, 9)), np.empty((30, 9))
    _standardized.write_rows(X, center, inverse_scale, compiled)
    _standardized.write_rows_by_numpy(X, center, inverse_scale, by_numpy)
    np.testing.assert_allclose(compiled, by_numpy, rtol=1e-14)
