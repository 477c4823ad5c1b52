"""Finished cells on disk: their identity, and one small JSON file for each."""

from __future__ import annotations

import errno
import functools
import hashlib
import inspect
import json
import math
import re
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import joblib

from mmfusion._atomic import make_folder, write_atomically
from mmfusion._warnings import warn_user

CONTENT_KEYS = {"identity", "outcome", "sha256"}
OUTCOME_KEYS = {
    "labels",
    "responses",
    "error",
    "traceback",
    "fit_seconds",
    "cpu_seconds",
    "peak_memory_mb",
    "warnings",
}
MAX_NAME_CHARACTERS = 60  # of data set, method and repeat, in the name of a file
PACKAGES = ("mmfusion", "numpy", "scipy", "sklearn")  # every result depends on them


def versions() -> dict[str, str]:
    """Return the versions of Python and packages, for the report."""
    python = ".".join(map(str, sys.version_info[:3]))
    return {"python": python} | {p: sys.modules[p].__version__ for p in PACKAGES}


def code_versions() -> dict[str, str | None]:
    """Return the versions of the code, of development versions the hash."""
    return {package: _package_version(package) for package in PACKAGES}


def describe_parameter(value: object) -> object:
    """Describe a parameter in JSON types; equal ones have equal descriptions.

    Parameters
    ----------
    value : object
        An estimator with its parameters, or the value of a parameter.

    Returns
    -------
    object
        Class, code and parameters of an estimator; name and code of a function; the
        hash of another object.
    """
    if value is None or isinstance(value, bool | int | float | str):
        return [type(value).__name__, repr(value)]
    if isinstance(value, Mapping):
        return {str(key): describe_parameter(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [type(value).__name__, *map(describe_parameter, value)]
    if inspect.isclass(value) or inspect.isroutine(value):
        return _describe_code(value)
    if hasattr(value, "get_params"):
        params = describe_parameter(value.get_params(deep=False))
        return [_describe_code(type(value)), params]
    return str(joblib.hash(value))


def _describe_code(thing: Any) -> list[str | None]:
    """Return the name of a class or function, and the version of its code."""
    module = getattr(thing, "__module__", None) or ""
    code = _package_version(module.partition(".")[0])
    if code is None:
        try:
            code = _text_hash(inspect.getsource(thing))
        except (OSError, TypeError):  # entered in an interpreter, or compiled
            code = None
    return [f"{module}.{thing.__qualname__}", code]


@functools.cache
def _package_version(name: str) -> str | None:
    """Return the version of a package, or the hash of its sources in development."""
    package = sys.modules.get(name)
    version = getattr(package, "__version__", None)
    if version is not None and "dev" not in str(version):
        return str(version)
    folders = getattr(package, "__path__", None)
    if folders is None:
        return None
    files = sorted(file for folder in folders for file in Path(folder).rglob("*.py"))
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def _text_hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


class CellStore:
    """A folder with one file for each finished cell.

    Parameters
    ----------
    folder : Path
        The folder, which is created if necessary.

    Raises
    ------
    OSError
        If the folder cannot be created.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        make_folder(folder)

    def path(self, identity: Mapping[str, Any]) -> Path:
        """Return the file of a cell; any difference in identity is another file."""
        key = _text_hash(json.dumps(identity, sort_keys=True))[:24]
        readable = "-".join(str(identity[k]) for k in ("dataset", "method", "repeat"))
        readable = re.sub(r"[^\w.]+", "-", readable, flags=re.ASCII)
        # no hidden file, and short enough for the limits of all file systems
        return self.folder / f"{readable.strip('.-')[:MAX_NAME_CHARACTERS]}-{key}.json"

    def read(
        self, identity: Mapping[str, Any], n_samples: int, *, predictor: bool = False
    ) -> dict[str, Any] | None:
        """Read the outcome of a cell; None if there is no intact one.

        Parameters
        ----------
        identity : dict
            Identity of the cell, of JSON types.
        n_samples : int
            Number of samples, each of which has a label or a prediction.
        predictor : bool, default=False
            Whether the cell is of a classifier or regressor.

        Returns
        -------
        dict or None
            The outcome that was written. A damaged file causes a warning.
        """
        path = self.path(identity)
        try:
            text = path.read_bytes()
        except FileNotFoundError:
            return None
        try:
            content = json.loads(text)
            return _checked_outcome(content, identity, n_samples, predictor)
        except (RecursionError, ValueError) as error:
            warn_user(
                f"{path} is damaged and not used; the cell is run again: {error}",
            )
            return None

    def write(self, identity: Mapping[str, Any], outcome: Mapping[str, Any]) -> None:
        """Write the outcome of a cell, completely or, if interrupted, not at all."""
        content = {
            "identity": identity,
            "outcome": outcome,
            "sha256": _content_hash(identity, outcome),
        }
        text = json.dumps(content, allow_nan=False)
        with write_atomically(self.path(identity), "w") as file:
            file.write(text)

    def check_writable(self, n_bytes: int) -> None:
        """Raise if files of this total size cannot be written to the folder."""
        probe = self.folder / "probe"
        with write_atomically(probe) as file:
            file.write(b"probe")
        probe.unlink(missing_ok=True)  # another run may have removed it
        n_free = shutil.disk_usage(self.folder).free
        if n_free < n_bytes:
            raise OSError(
                errno.ENOSPC,
                f"{str(self.folder)!r} has {n_free} bytes left, and the cells need "
                f"about {n_bytes}; free some space there or give another out=",
            )


def _content_hash(identity: object, outcome: object) -> str:
    return _text_hash(json.dumps([identity, outcome], sort_keys=True))


def _checked_outcome(
    content: Any, identity: Mapping[str, Any], n_samples: int, predictor: bool
) -> dict[str, Any]:
    """Return the outcome in the content of a file; raise if the content is damaged."""
    if not (isinstance(content, dict) and content.keys() >= CONTENT_KEYS):
        raise ValueError(f"it lacks some of {sorted(CONTENT_KEYS)}")
    # compared by hashes of JSON, in which tuples are lists
    if _content_hash(content["identity"], 0) != _content_hash(identity, 0):
        raise ValueError("it is of another cell")
    outcome = content["outcome"]
    if content["sha256"] != _content_hash(content["identity"], outcome):
        raise ValueError("its content does not have the hash that was written")
    if not (isinstance(outcome, dict) and outcome.keys() == OUTCOME_KEYS):
        raise ValueError(f"its outcome does not consist of {sorted(OUTCOME_KEYS)}")
    error = outcome["error"]
    found = outcome["responses" if predictor else "labels"]
    if (found is None) == (error is None):
        raise ValueError("it needs either labels or an error")
    if found is not None and predictor and not _are_responses(found, n_samples):
        raise ValueError(f"its predictions are not one for each of {n_samples}")
    if found is not None and not predictor and not _are_labels(found, n_samples):
        raise ValueError(f"its labels are not one integer for each of {n_samples}")
    optional = [outcome["cpu_seconds"], outcome["peak_memory_mb"]]
    measured = [outcome["fit_seconds"], *(0.0 if m is None else m for m in optional)]
    if not all(type(m) in (int, float) and 0 <= m < math.inf for m in measured):
        raise ValueError("its time or memory is not a number of at least 0")
    texts = outcome["warnings"]
    if not (isinstance(texts, list) and all(isinstance(text, str) for text in texts)):
        raise ValueError("its warnings are not a list of strings")
    if not isinstance(error, str | None):
        raise ValueError("its error is not a string")
    return outcome


def _are_labels(labels: object, n_samples: int) -> bool:
    return (
        isinstance(labels, list)
        and len(labels) == n_samples
        and all(type(k) is int and abs(k) <= sys.maxsize for k in labels)
    )


def _are_responses(responses: object, n_samples: int) -> bool:
    return isinstance(responses, dict) and all(
        isinstance(values, list) and (name == "classes" or len(values) == n_samples)
        for name, values in responses.items()
    )
