"""Extras, versions and pages agree with what errors and pages name."""

import ast
import re
import tomllib
from pathlib import Path

import pytest

import mmfusion
from mmfusion import _extras

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "mmfusion"
PYPROJECT = ROOT / "pyproject.toml"
FOR_DEVELOPERS = {"docs", "lint", "test"}
PAGES = [ROOT / "README.md", *ROOT.glob("docs/*.rst"), *ROOT.glob("docs/guide/*.rst")]

pytestmark = pytest.mark.skipif(
    not PYPROJECT.is_file(), reason="needs the files of a checkout"
)


def read_extras():
    project = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["project"]
    return project["optional-dependencies"]


def packages_of(extra, extras):
    """The packages of an extra and of the extras in it."""
    packages = set()
    for requirement in extras[extra]:
        name, _, nested = re.split(r"[>=]", requirement)[0].rstrip("]").partition("[")
        if name == "mmfusion":
            packages |= {p for e in nested.split(",") for p in packages_of(e, extras)}
        else:
            packages.add(name)
    return packages


def imports_of_extras():
    """The calls of import_extra in the package, as the module and its extra."""
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "import_extra":
                given = [*node.args, *(keyword.value for keyword in node.keywords)]
                yield [each.value for each in given]


def extras_of_exports():
    """The extras that a package needs for some of its names."""
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "load_export":
                yield from node.args[3].value.split(",")


def test_errors_name_extras_that_have_the_missing_package(monkeypatch):
    def missing(module):
        raise ImportError(module)

    extras = read_extras()
    calls = list(imports_of_extras())
    monkeypatch.setattr(_extras, "import_module", missing)
    for module, *extra in calls:
        with pytest.raises(ImportError) as error:
            _extras.import_extra(module, *extra)
        (named,) = re.findall(r"\[(\w+)\]\"$", str(error.value))
        assert module.partition(".")[0] in packages_of(named, extras)
    assert set(extras_of_exports()) <= extras.keys()
    assert len(calls) > 10


def test_the_extra_all_has_every_other_one_of_users():
    extras = read_extras()
    users = extras.keys() - FOR_DEVELOPERS - {"all"}
    wanted = {package for extra in users for package in packages_of(extra, extras)}
    assert packages_of("all", extras) == wanted


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_pages_name_extras_that_exist(page):
    text = page.read_text(encoding="utf-8")
    named = re.findall(r"(?:mmfusion|\.)\[([a-z,]+)\]", text)
    named += re.findall(r"\bextra (?:``|`)(\w+)`", text)
    assert {name for names in named for name in names.split(",")} <= set(read_extras())


def test_an_installed_copy_is_completed_by_its_name(monkeypatch):
    monkeypatch.setattr(_extras, "distribution", lambda name: object())
    assert _extras.install_command("deep") == 'pip install "mmfusion[deep]"'


def test_a_copy_that_is_not_installed_is_completed_by_its_folder(monkeypatch):
    def missing(name):
        raise _extras.PackageNotFoundError(name)

    monkeypatch.setattr(_extras, "distribution", missing)
    assert _extras.install_command("deep") == f'pip install "{ROOT}[deep]"'


def test_the_citation_is_of_this_version():
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"\nversion: {mmfusion.__version__}\n" in citation


def test_every_page_of_the_guide_is_in_its_index():
    guide = ROOT / "docs" / "guide"
    index = (guide / "index.rst").read_text(encoding="utf-8").split()
    pages = {page.stem for page in guide.glob("*.rst")} - {"index"}
    assert pages <= set(index)
