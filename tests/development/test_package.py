"""Extras, versions and pages agree with what errors and pages name."""

import ast
import re
import subprocess
import sys
import tomllib
from importlib import import_module
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
    """The calls of import_extra with literals, as the module and its extra."""
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "import_extra":
                given = [*node.args, *(keyword.value for keyword in node.keywords)]
                if all(isinstance(each, ast.Constant) for each in given):
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


def test_the_script_of_every_table_of_the_guide_is_named():
    readme = (ROOT / "benchmarks" / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ((?:\w+\.csv(?:, )?)+) \| `(\w+\.py)", readme, re.MULTILINE)
    scripts = {table: script for named, script in rows for table in named.split(", ")}
    tables = {path.name for path in ROOT.glob("docs/guide/tables/*.csv")}
    assert scripts.keys() == tables
    assert all((ROOT / "benchmarks" / script).is_file() for script in scripts.values())


def test_names_in_the_readme_are_imported_from_where_it_names():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    contents = readme.partition("## Contents")[2]
    for cell in re.findall(r"^\| ([^|]+) \|", contents, re.MULTILINE):
        home = re.search(r"\(`(mmfusion\.\w+)`\)", cell)
        module = import_module(home.group(1)) if home else mmfusion
        names = re.findall(r"`([A-Za-z]\w+)`", cell)
        assert [name for name in names if not hasattr(module, name)] == []


WITHOUT_EXTRAS = """
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in %r:
            raise ModuleNotFoundError(f"No module named {name!r}")

sys.meta_path.insert(0, Missing())
import mmfusion
for name in mmfusion.__all__:
    try:
        getattr(mmfusion, name)
    except ImportError as error:
        assert "pip install" in str(error), f"{name}: {error}"
        print(name)
import mmfusion.__main__
from mmfusion.datasets import make_multimodal_blobs
X, y = make_multimodal_blobs(60, random_state=0)
mmfusion.MultimodalMixture(3, explained_variance=None, random_state=0).fit(X)
mmfusion.MultimodalClusterer(3, random_state=0).fit(X)
"""


def test_without_extras_all_names_load_or_name_the_extra():
    extras = read_extras()
    packages = {re.sub(r"\W", "_", name) for name in packages_of("all", extras)}
    found = subprocess.run(
        [sys.executable, "-c", WITHOUT_EXTRAS % packages],
        capture_output=True,
        text=True,
    )
    assert found.returncode == 0, found.stderr
    needing = set(found.stdout.split())
    assert "Trainer" in needing
    assert not {"Modalities", "LateFusionClusterer", "SpectralClusterer"} & needing
