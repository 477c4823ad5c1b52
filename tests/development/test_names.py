"""One name for one thing: a name is defined once in the package."""

import ast
from collections import defaultdict
from pathlib import Path

import mmfusion

MODULES = sorted(Path(mmfusion.__file__).parent.rglob("*.py"))
EVERYWHERE = {"__dir__", "__getattr__"}  # of modules that load their exports lazily


def defined_names(source):
    """Functions, classes and constants at the top level, constants with their value."""
    for node in ast.parse(source).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            yield node.name, node.name
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            name = node.targets[0].id
            if name.isupper():
                yield name, ast.unparse(node.value)


def test_every_name_is_defined_once():
    files, values = defaultdict(set), defaultdict(set)
    for path in MODULES:
        for name, value in defined_names(path.read_text(encoding="utf-8")):
            files[name].add(path.name)
            values[name].add(value)
    twice = {
        name: sorted(files[name])
        for name in files.keys() - EVERYWHERE
        if len(files[name]) > 1 and (not name.isupper() or len(values[name]) > 1)
    }
    assert not twice


def test_names_defined_twice_are_found():
    source = "A = 1\nB = A\ndef f():\n    pass\nclass C:\n    D = 2\n"
    assert list(defined_names(source)) == [
        ("A", "1"),
        ("B", "A"),
        ("f", "f"),
        ("C", "C"),
    ]
