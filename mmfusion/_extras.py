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


def load_export(
    package: str, modules: dict[str, str], name: str, extra: str, needs: str
) -> Any:
    """Import a public name of a package whose modules need an extra.

    Parameters
    ----------
    package : str
        The package.
    modules : dict of str to str
        The module of each public name.
    name : str
        The name asked for.
    extra, needs : str
        The extra, and what comes with it.

    Returns
    -------
    object
        What is called so.
    """
    if name not in modules:
        raise AttributeError(f"module {package!r} has no attribute {name!r}")
    try:
        module = import_module(f"{package}.{modules[name]}")
    except ImportError as error:
        raise ImportError(
            f'{name} needs {needs}: pip install "mmfusion[{extra}]" ({error})'
        ) from error
    return getattr(module, name)
