"""Versions of mmfusion, Python and all packages that it uses, for reports of bugs."""

from __future__ import annotations

import platform
import re
import sys
from importlib.metadata import PackageNotFoundError, requires, version

from joblib import cpu_count

from mmfusion import __version__

__all__ = ["show_versions"]

FOR_DEVELOPERS = ("docs", "lint", "test")  # extras that users do not install
REQUIRED = ("joblib", "lazy-loader", "numpy", "scikit-learn", "scipy")
READ_IF_GIVEN = ("polars", "rich")  # of no extra: other containers, bars of callbacks


def show_versions() -> None:
    """Print the versions of mmfusion, Python and the packages that mmfusion uses.

    Packages of extras that are not installed have the version None. Nothing is
    imported, so that a package that cannot be imported is shown, too.

    See Also
    --------
    sklearn.show_versions : Shows also the libraries of threads that are loaded.

    Examples
    --------
    >>> import mmfusion
    >>> mmfusion.show_versions()
    <BLANKLINE>
    System:
        python: ...
    executable: ...
       machine: ...
    processors: ...
    <BLANKLINE>
    Packages:
          mmfusion: ...
    """
    system = {
        "python": sys.version.replace("\n", " "),
        "executable": sys.executable,
        "machine": platform.platform(),
        "processors": str(cpu_count()),
    }
    packages = {"mmfusion": __version__}
    packages |= {name: str(_version(name)) for name in _package_names()}
    for title, lines in {"System": system, "Packages": packages}.items():
        width = max(map(len, lines))
        print(f"\n{title}:")
        for name, value in lines.items():
            print(f"{name:>{width}}: {value}")


def _package_names() -> list[str]:
    """Return the packages that mmfusion requires, and those of its extras."""
    names = dict.fromkeys(REQUIRED)
    try:
        listed = requires("mmfusion") or []
    except PackageNotFoundError:  # of a copy of the source that is not installed
        listed = []
    for line in listed:
        requirement, _, marker = line.partition(";")
        name = re.split(r"[\[<>=!~ ]", requirement, maxsplit=1)[0]
        is_internal = any(f'"{extra}"' in marker for extra in FOR_DEVELOPERS)
        if name != "mmfusion" and not is_internal:
            names[name] = None
    return [*names, *(name for name in READ_IF_GIVEN if name not in names)]


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
