"""The steps of docs/development/adding_an_estimator.rst, followed in a copy.

Three toy estimators are added to it: one by all steps, one that is not exported (step
2 is left out), and one that is exported only (steps 4 and 5 are left out). One run of
the tests of the copy gives the outcome for all three.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TOY = (Path(__file__).parent / "norm_fusion.py").read_text(encoding="utf-8")
COPIED = [
    "mmfusion",
    "docs/reference/api.py",
    "docs/guide",
    "tests/__init__.py",
    "tests/tables.py",
    "tests/test_common.py",
    "tests/test_invariances.py",
    "tests/test_limits.py",
    "tests/test_public_api.py",
]
# the tests that take up an estimator, and those that a missing step fails
SELECTED = "NormFusion or ForgottenFusion or ExportedFusion"
ROWS = """

@{table}.row("NormFusion", {case!r}, {result!r})
def norm_fusion(cls):
    {check}
"""


def add(path, old, new):
    text = path.read_text(encoding="utf-8")
    assert text.count(old) == 1, f"{old!r} is not once in {path.name}"
    path.write_text(text.replace(old, new), encoding="utf-8")


def write(tree, name):
    """Step 1: the module of an estimator."""
    module = tree / f"mmfusion/fusion/_{name.lower()}.py"
    module.write_text(TOY.replace("NormFusion", name), encoding="utf-8")


def export(tree, name):
    """Step 2: its import and its place in the sorted list of exports."""
    init = tree / "mmfusion/fusion/__init__.py"
    add(init, "\n__all__ = [", f"from ._{name.lower()} import {name}\n\n__all__ = [")
    text = init.read_text(encoding="utf-8")
    exported = sorted([*re.findall(r'^    "(\w+)",$', text, re.MULTILINE), name])
    lines = "".join(f'    "{export}",\n' for export in exported)
    head, _, tail = text.partition("__all__ = [")
    tail = tail.partition("]\n")[2]  # lazy exports
    init.write_text(f"{head}__all__ = [\n{lines}]\n{tail}", encoding="utf-8")


def make_fast(tree, name):
    """Step 3: parameters for the checks."""
    add(tree / "tests/test_common.py", "FAST = {", f'FAST = {{\n    "{name}": [{{}}],')


def add_rows(tree):
    """Step 4: a row in both tables."""
    limit = {
        "table": "LIMITS",
        "case": "modalities of one feature",
        "result": "absolute values",
        "check": "assert cls().fit_transform([[[-2.0]], [[3.0]]]).tolist() == [[2, 3]]",
    }
    invariance = {
        "table": "INVARIANCES",
        "case": "signs",
        "result": "the same",
        "check": "np.testing.assert_array_equal("
        "cls().fit_transform([-b for b in X.blocks]), cls().fit_transform(X))",
    }
    for module, row in (("limits", limit), ("invariances", invariance)):
        path = tree / f"tests/test_{module}.py"
        add(
            path,
            "\n\n@pytest.mark.parametrize((",
            ROWS.format(**row) + "\n\n@pytest.mark.parametrize((",
        )


def document(tree, name):
    """Step 5: the reference and the user guide."""
    reference = tree / "docs/reference/api.py"
    add(
        reference,
        '"LateFusionRegressor",',
        f'"LateFusionRegressor",\n        "{name}",',
    )
    guide = tree / "docs/guide/fusion.rst"
    guide.write_text(guide.read_text(encoding="utf-8") + f"\n`{name}` takes norms.\n")


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    """The outcome and the error of each test of the copy, by its name."""
    tree = tmp_path_factory.mktemp("copy")
    for name in COPIED:
        source, target = ROOT / name, tree / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            ignored = shutil.ignore_patterns("*.nbi", "*.nbc")  # compiled code
            shutil.copytree(source, target, ignore=ignored)
        else:
            shutil.copy2(source, target)
    for name in ("NormFusion", "ForgottenFusion", "ExportedFusion"):
        write(tree, name)
    export(tree, "NormFusion")
    export(tree, "ExportedFusion")
    make_fast(tree, "NormFusion")
    add_rows(tree)
    document(tree, "NormFusion")
    tests = [name for name in COPIED if Path(name).name.startswith("test_")]
    options = ["-q", "-rA", "--tb=line", "-p", "no:cacheprovider", "-k", SELECTED]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, *tests],
        cwd=tree,
        env=os.environ | {"PYTHONPATH": str(tree), "COLUMNS": "500"},
        capture_output=True,
        text=True,
        check=False,
    )
    found = re.findall(r"^(PASSED|FAILED|ERROR) (.*?)(?: - (.*))?$", done.stdout, re.M)
    assert found, done.stdout + done.stderr
    return {test: (outcome, message) for outcome, test, message in found}


def failures(outcomes, name):
    return {
        re.sub(r".*::(\w+).*", r"\1", test): message
        for test, (outcome, message) in outcomes.items()
        if name in test and outcome != "PASSED"
    }


def test_an_estimator_of_all_steps_passes_every_test(outcomes):
    assert not failures(outcomes, "NormFusion")


@pytest.mark.parametrize(
    "test",
    [
        "test_estimators_keep_the_multimodal_contract",
        "test_estimators_pass_the_checks_of_sklearn",
        "test_estimator_is_invariant",
        "test_estimator_reduces_to_its_limit",
        "test_every_parameter_is_documented_with_its_default",
        "test_every_parameter_of_an_estimator_is_read",
        "test_public_names_have_an_example",
        "test_the_reference_lists_every_public_name",
        "test_the_user_guide_names_every_estimator",
    ],
)
def test_the_tests_find_an_estimator_by_its_export(outcomes, test):
    assert any(test in name and "NormFusion" in name for name in outcomes)


def test_an_estimator_that_is_not_exported_fails(outcomes):
    failed = failures(outcomes, "ForgottenFusion")
    assert failed.keys() == {"test_every_estimator_is_exported"}
    assert "export ForgottenFusion" in failed["test_every_estimator_is_exported"]


def test_an_estimator_that_is_only_exported_fails(outcomes):
    failed = failures(outcomes, "ExportedFusion")
    assert failed.keys() == {
        "test_every_estimator_has_a_limit",
        "test_every_estimator_has_an_invariance",
        "test_the_reference_lists_every_public_name",
        "test_the_user_guide_names_every_estimator",
    }
    assert all("ExportedFusion" in message for message in failed.values())
