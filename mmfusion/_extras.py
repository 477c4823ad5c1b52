"""Imports of optional packages when they are needed."""

from __future__ import annotations

from importlib import import_module
from typing import Any


def import_extra(module: str, extra: str = "benchmark") -> Any:
    """Import a module of an optional package of an extra."""
    try:
        return import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise ImportError(
            f'this needs {package}: pip install "mmfusion[{extra}]"'
        ) from error


def load_export(
    package: str, modules: dict[str, str], name: str, extra: str, needs: str
) -> Any:
    """Import a public name of a package whose modules need an extra.

    It implements the ``__getattr__`` of such packages, so that importing them does not
    import their dependencies.

    Parameters
    ----------
    package : str
        Full name of the package.
    modules : dict of str to str
        Module of each public name.
    name : str
        Name to import.
    extra, needs : str
        Name of the extra, and the optional packages in it.

    Returns
    -------
    object
        The imported class or function.

    Raises
    ------
    AttributeError
        If the package has no such name.
    ImportError
        If the extra is not installed.
    """
    if name not in modules:
        raise AttributeError(f"module {package!r} has no attribute {name!r}")
    try:  # its message names the missing package, which may be one of several
        module = import_module(f"{package}.{modules[name]}")
    except ImportError as error:
        raise ImportError(
            f'{name} needs {needs}: pip install "mmfusion[{extra}]" ({error})'
        ) from error
    return getattr(module, name)
