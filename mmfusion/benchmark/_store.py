"""Finished cells on disk: what identifies them, one small JSON file for each."""

from __future__ import annotations

import functools
import hashlib
import inspect
import json
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import joblib

PACKAGES = ("mmfusion", "numpy", "scipy", "sklearn")  # which every result rests on


def versions() -> dict[str, str]:
    """Versions that a report should tell."""
    python = ".".join(map(str, sys.version_info[:3]))
    return {"python": python} | {p: sys.modules[p].__version__ for p in PACKAGES}


def code_versions() -> dict[str, str | None]:
    """Versions of the code, which tell a development version from the next."""
    return {package: _package_version(package) for package in PACKAGES}


def describe(value: Any) -> Any:
    """Describe a parameter in JSON types, so that equal ones have equal descriptions.

    Parameters
    ----------
    value : object
        An estimator with its parameters, or any value of one.

    Returns
    -------
    object
        Estimators by class, code and parameters; functions by name and code; other
        objects by their hash.
    """
    if value is None or isinstance(value, bool | int | float | str):
        return [type(value).__name__, repr(value)]
    if isinstance(value, Mapping):
        return {str(key): describe(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [type(value).__name__, *map(describe, value)]
    if inspect.isclass(value) or inspect.isroutine(value):
        return _code(value)
    if hasattr(value, "get_params"):
        return [_code(type(value)), describe(value.get_params(deep=False))]
    return str(joblib.hash(value))


def _code(thing: Any) -> list[str | None]:
    """Name a class or function, and tell which code it is of."""
    module = getattr(thing, "__module__", None) or ""
    code = _package_version(module.partition(".")[0])
    if code is None:
        try:
            code = _hash(inspect.getsource(thing))
        except (OSError, TypeError):  # typed into an interpreter, or compiled
            code = None
    return [f"{module}.{thing.__qualname__}", code]


@functools.cache
def _package_version(name: str) -> str | None:
    """Version of a package; one in development is known by its sources."""
    package = sys.modules.get(name)
    version = getattr(package, "__version__", None)
    if version is not None and "dev" not in str(version):
        return str(version)
    folders = getattr(package, "__path__", None)
    if folders is None:
        return None
    files = sorted(file for folder in folders for file in Path(folder).rglob("*.py"))
    return _hash("".join(file.read_text(encoding="utf-8") for file in files))


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


class CellStore:
    """A folder with one file for each finished cell.

    Parameters
    ----------
    folder : path-like
        Made if it is not there.
    """

    def __init__(self, folder: Any) -> None:
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)

    def path(self, identity: Mapping[str, Any]) -> Path:
        """Where a cell lies: any difference in identity makes another file."""
        key = _hash(json.dumps(identity, sort_keys=True))[:24]
        readable = "-".join(str(identity[k]) for k in ("dataset", "method", "repeat"))
        readable = re.sub(r"[^\w.]+", "-", readable)[:60]
        return self.folder / f"{readable}-{key}.json"

    def read(self, identity: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return the outcome of a cell, or None if there is none that can be read."""
        try:
            text = self.path(identity).read_text(encoding="utf-8")
            return json.loads(text)["outcome"]
        except (FileNotFoundError, json.JSONDecodeError):
            return None

    def write(self, identity: Mapping[str, Any], outcome: Mapping[str, Any]) -> None:
        """Write the outcome of a cell: all of it or, if interrupted, nothing."""
        path = self.path(identity)
        unfinished = path.with_suffix(f".{os.getpid()}.tmp")
        unfinished.write_text(
            json.dumps({"identity": identity, "outcome": outcome}), encoding="utf-8"
        )
        os.replace(unfinished, path)
