"""Examples and benchmarks call what there is; to run them all takes long."""

import ast
import inspect
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPTS = sorted(
    path.relative_to(ROOT).as_posix()
    for folder in ("docs/examples", "benchmarks")
    for path in (ROOT / folder).glob("*.py")
)


def imported(tree):
    """Import the names of mmfusion that a script does, by the names it gives them."""
    found = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(
            "mmfusion"
        ):
            module = import_module(node.module)
            for alias in node.names:
                assert hasattr(module, alias.name), f"{node.module}.{alias.name}"
                found[alias.asname or alias.name] = getattr(module, alias.name)
    return found


def calls(tree, names):
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and callable(names.get(node.func.id))
        ):
            yield node


@pytest.mark.parametrize("script", SCRIPTS)
def test_scripts_call_what_there_is(script):
    tree = ast.parse((ROOT / script).read_text(encoding="utf-8"))
    names = imported(tree)
    for call in calls(tree, names):
        try:
            signature = inspect.signature(names[call.func.id])
        except ValueError:  # subclasses of dict have none
            continue
        positional = [a for a in call.args if not isinstance(a, ast.Starred)]
        keywords = [k.arg for k in call.keywords if k.arg is not None]
        try:
            signature.bind_partial(*positional, **dict.fromkeys(keywords))
        except TypeError as error:
            pytest.fail(f"{script}, line {call.lineno}, {call.func.id}: {error}")


def test_public_names_that_load_late_have_types():
    """Type checkers read imports, and not what `__getattr__` imports."""
    for package in ROOT.glob("mmfusion/**/__init__.py"):
        tree = ast.parse(package.read_text(encoding="utf-8"))
        late, typed = set(), set()
        for node in tree.body:
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict):
                late |= set(ast.literal_eval(node.value))
            if isinstance(node, ast.If):
                typed |= {a.name for own in node.body for a in own.names}
        assert late == typed, package
