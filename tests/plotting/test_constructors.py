"""All displays are made from an estimator or from predictions, in one form."""

import inspect

import numpy as np
import pytest
from sklearn.exceptions import NotFittedError

import mmfusion.plotting
from mmfusion.alignment import DTWAligner
from mmfusion.clustering import EAMCClusterer
from mmfusion.mkl import MKLClusterer
from tests.plotting.test_inputs import CALLS

OF_DATA_ONLY = {"MissingModalitiesDisplay"}  # has no estimator to draw
DISPLAYS = {
    name: getattr(mmfusion.plotting, name)
    for name in mmfusion.plotting.__all__
    if name not in OF_DATA_ONLY
}
TABLES = [np.eye(4), np.eye(4)]


def data_of(display):
    """The data that a display needs beside the estimator."""
    parameters = inspect.signature(display.from_estimator).parameters.values()
    needed = {p.name for p in parameters if p.default is p.empty}
    return {
        name: own
        for name, own in {"X": TABLES, "y": [0, 1] * 2}.items()
        if name in needed
    }


@pytest.mark.parametrize("constructor", ["from_estimator", "from_predictions"])
@pytest.mark.parametrize("display", DISPLAYS.values(), ids=DISPLAYS)
def test_constructors_take_axes_and_style_as_plot_does(display, constructor):
    parameters = inspect.signature(getattr(display, constructor)).parameters
    kinds = {name: parameter.kind for name, parameter in parameters.items()}
    assert kinds["ax"] is inspect.Parameter.KEYWORD_ONLY
    assert parameters["ax"].default is None
    assert list(parameters)[-2:] == ["ax", "kwargs"]
    assert list(inspect.signature(display.plot).parameters) == ["self", "ax", "kwargs"]
    if constructor == "from_estimator":
        assert next(iter(parameters)) == "estimator"


@pytest.mark.parametrize("display", DISPLAYS.values(), ids=DISPLAYS)
@pytest.mark.parametrize("wrong", [int, object()])
def test_what_is_no_estimator_is_refused(display, wrong):
    with pytest.raises(TypeError):
        display.from_estimator(wrong, **data_of(display))


@pytest.mark.parametrize("display", DISPLAYS.values(), ids=DISPLAYS)
@pytest.mark.parametrize("kind", [EAMCClusterer, MKLClusterer, DTWAligner])
def test_an_estimator_that_is_not_fitted_is_refused(display, kind):
    with pytest.raises(NotFittedError):
        display.from_estimator(kind(), **data_of(display))


@pytest.mark.parametrize("display", CALLS)
def test_predictions_are_drawn_again_from_the_attributes(display):
    made = CALLS[display]()
    parameters = list(inspect.signature(type(made)).parameters)
    again = type(made)(**{name: getattr(made, name) for name in parameters}).plot()
    assert again.figure_ is not made.figure_
