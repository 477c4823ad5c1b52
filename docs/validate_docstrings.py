"""Validate every public docstring with numpydoc; `make lint` runs this.

numpydoc's own linter reads files, where it cannot tell a public class from the private
module that holds it; here public is what a topic exports.
"""

import importlib
import inspect
import pkgutil
import sys
import tomllib
from pathlib import Path

from numpydoc.validate import validate

import mmfusion

PYPROJECT = Path(__file__).resolve().parents[1] / "pyproject.toml"


def public_objects():
    """Import paths of public names and of the methods they define."""
    for module in pkgutil.iter_modules(mmfusion.__path__, "mmfusion."):
        exported = getattr(importlib.import_module(module.name), "__all__", [])
        for name in exported if "._" not in module.name else []:
            path = f"{module.name}.{name}"
            yield path
            obj = getattr(importlib.import_module(module.name), name)
            for base in inspect.getmro(obj) if inspect.isclass(obj) else []:
                if base.__module__.startswith("mmfusion"):
                    own = [m for m in vars(base) if _is_ours(base, m)]
                    yield from (f"{path}.{m}" for m in own)


def _is_ours(cls, method):
    """Skip what is private, what scikit-learn generates, and fields."""
    fields = {*getattr(cls, "_fields", ()), *getattr(cls, "__dataclass_fields__", ())}
    is_field = method in fields
    return not (is_field or method.startswith("_") or method.endswith("_request"))


def main():
    checks = tomllib.loads(PYPROJECT.read_text())["tool"]["numpydoc_validation"]
    excluded = set(checks["checks"]) - {"all"}
    paths = sorted(set(public_objects()))
    problems = [
        f"{path}: {code} {message}"
        for path in paths
        for code, message in validate(path)["errors"]
        if code not in excluded
    ]
    print(*problems, sep="\n")
    print(f"{len(paths)} public docstrings, {len(problems)} problems")
    return min(len(problems), 1)


if __name__ == "__main__":
    sys.exit(main())
