"""The layers of setup.cfg hold every module, and the pages made from it name them."""

import configparser
import pkgutil
import runpy
from importlib import import_module
from pathlib import Path

import pytest

import mmfusion

ROOT = Path(__file__).parents[2]
GENERATE = runpy.run_path(str(ROOT / "docs/development/generate.py"))
MODULES = sorted(
    f"mmfusion.{module.name}" for module in pkgutil.iter_modules(mmfusion.__path__)
)
DEEP = {"mmfusion.clustering", "mmfusion.nn"}  # these may load torch


def test_every_module_has_one_layer():
    layers = GENERATE["read_layers"]()
    assert sorted(module for layer in layers for module in layer) == MODULES


def test_no_module_but_the_deep_ones_may_load_torch():
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    light = config["importlinter:contract:light"]["source_modules"].split()
    whole = {name for name in light if name.count(".") == 1}
    assert whole == set(MODULES) - DEEP
    # of the packages that may load torch, the modules that may not
    assert all(name.rpartition(".")[0] in DEEP for name in set(light) - whole)


@pytest.mark.parametrize("module", MODULES)
def test_the_layers_page_has_the_subject_of_every_module(module):
    subject = GENERATE["subject"](module)
    assert subject.endswith("."), f"the docstring of {module} has no subject"
    assert subject in GENERATE["layers_table"]()


@pytest.mark.parametrize("name", ["limits", "invariances"])
def test_the_pages_have_every_row_of_the_tables(name):
    path, variable, *titles = GENERATE["TABLES"][name]
    table = GENERATE["statements_table"](path, variable, *titles)
    rows = getattr(import_module(f"tests.{path.stem}"), variable).rows
    assert len(rows) > 20
    for row in rows:
        estimators = ", ".join(f"`{name}`" for name in row.estimators.split())
        cells = (estimators, row.case, row.result)
        assert "\n     - ".join(cells) in table


def test_generated_pages_are_written_once(tmp_path):
    GENERATE["write_parts"](tmp_path)
    before = {part.name: part.stat().st_mtime_ns for part in tmp_path.iterdir()}
    GENERATE["write_parts"](tmp_path)
    assert before.keys() == {"invariances.txt", "layers.txt", "limits.txt"}
    assert before == {part.name: part.stat().st_mtime_ns for part in tmp_path.iterdir()}
