"""Optional packages, imported when they are needed."""

from __future__ import annotations

from importlib import import_module
from typing import Any


def import_extra(module: str) -> Any:
    """Import a module of a package that comes with the extra ``benchmark``."""
    try:
        return import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise ImportError(
            f'this needs {package}: pip install "mmfusion[benchmark]"'
        ) from error
