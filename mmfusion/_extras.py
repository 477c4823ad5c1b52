"""Imports of optional packages when they are needed."""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).parents[1]


def install_command(extra: str) -> str:
    """Return the command that adds an extra to this copy of mmfusion.

    mmfusion is on no package index. pip completes an installed copy without one,
    whatever the folder and the form of installation; a copy that is imported from its
    folder only is given to pip by that folder.

    Parameters
    ----------
    extra : str
        Name of the extra in ``pyproject.toml``.

    Returns
    -------
    str
        The command.

    Examples
    --------
    >>> from mmfusion._extras import install_command
    >>> install_command("deep").startswith("pip install")
    True
    """
    try:
        distribution("mmfusion")
    except PackageNotFoundError:
        return f'pip install "{CHECKOUT}[{extra}]"'
    return f'pip install "mmfusion[{extra}]"'


def import_extra(module: str, extra: str | None = None) -> Any:
    """Import a module of an optional package of an extra.

    Parameters
    ----------
    module : str
        Full name of the module.
    extra : str, default=None
        Name of the extra; by default 'plot' for matplotlib and 'benchmark' for others.

    Returns
    -------
    module
        The imported module.

    Raises
    ------
    ImportError
        If the package is not installed.
    """
    try:
        return import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        if extra is None:
            extra = "plot" if package == "matplotlib" else "benchmark"
        raise ImportError(f"this needs {package}: {install_command(extra)}") from error


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
            f"{name} needs {needs}: {install_command(extra)} ({error})"
        ) from error
    return getattr(module, name)
