"""Names of modalities, kernels and clusters are drawn as they are."""

import matplotlib
import pytest

from tests.plotting.test_inputs import CALLS, LABELS, LATENTS

NAMES = [r"$\frac{$", "$x^$ _%", "_hidden", "two\nlines\0", "\ud800", "x" * 300, "漢"]


def labelled(name):
    return {"labels": [name, *"abcde"]}


CHANGES = {
    "alignment": lambda name: {"names": (name, "y")},
    "attention": lambda name: {"names": [name, "b"], "labels": [name, "b"]},
    "matrices": lambda name: {"names": [name, "b"], "labels": [name, *"abcde"]},
    "weights": lambda name: {"names": [name, "b"], "kernel_modalities": [name, name]},
    "map": lambda name: {
        "latents": {name: LATENTS["a"]},
        "labels": [name] * len(LABELS),
        "legend_title": name,
    },
    "clusters": lambda name: {"X": LATENTS | {name: LATENTS["a"]}, **labelled(name)},
    "silhouettes": lambda name: {"X": {name: LATENTS["a"]}, **labelled(name)},
    "profiles": lambda name: {"X": {name: LATENTS["a"]}, **labelled(name)},
    "agreement": lambda name: {"labels": {name: LABELS}},
    "neighbors": lambda name: {"X": {name: LATENTS["a"]}},
    "confusion": lambda name: {**labelled(name), "names": [name, name]},
    "missing": lambda name: {"X": {name: LATENTS["a"]}},
    "tracks": lambda name: {"tracks": {name: [name, "a"]}},
    "curves": lambda name: {"history": [{name: 1.0}, {name: 0.5}]},
    "reliability": lambda name: {"reliability": {name: [0.5, 1.0]}},
    "states": lambda name: {"posteriors": {name: [[0.5, 0.5]]}, "states": None},
}


@pytest.mark.filterwarnings("ignore:Glyph .* missing:UserWarning")
@pytest.mark.filterwarnings("ignore:constrained_layout not applied:UserWarning")
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("display", CHANGES)
def test_any_name_is_drawn(display, name):
    figure = CALLS[display](**CHANGES[display](name)).figure_
    figure.draw_without_rendering()
    width = figure.get_tightbbox().width
    assert width < 4 * matplotlib.rcParams["figure.figsize"][0]
