"""Writing a file as a whole or not at all."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from os import PathLike
from pathlib import Path
from typing import IO, Any

REMEDIES = {
    errno.ENOSPC: "the disk is full; free some space there or give another path",
    errno.EDQUOT: "the disk quota is used up; free some space or give another path",
    errno.EFBIG: "the file is larger than is allowed there; give another path",
    errno.EROFS: "the file system is read-only; give another path",
    errno.EACCES: "no permission to write there; change it or give another path",
    errno.EPERM: "no permission to write there; change it or give another path",
    errno.ENOENT: "there is no such folder; make it first or give another path",
    errno.ENOTDIR: "a part of the path is no folder; give another path",
    errno.EEXIST: "there is a file of this name; give another path",
    errno.EISDIR: "it is a folder; give the path of a file",
    errno.ENAMETOOLONG: "the name is too long; give a shorter path",
    errno.ELOOP: "its symbolic links lead in a circle; give another path",
}


def as_path(path: str | PathLike[str], parameter: str = "path") -> Path:
    """Take what the user gave for a path, or refuse what the system would not take.

    Parameters
    ----------
    path : str or path-like
        What was given.
    parameter : str, default="path"
        What to call it in errors.

    Returns
    -------
    Path
        The path as it was given.

    Raises
    ------
    TypeError, ValueError
        If it is no path, or empty, or cannot be encoded.

    Examples
    --------
    >>> from mmfusion._atomic import as_path
    >>> as_path("report").name
    'report'
    """
    if not isinstance(path, str | PathLike):
        raise TypeError(
            f"{parameter} is a {type(path).__name__}; give a str or a path-like object"
        )
    text = os.fsdecode(path)
    try:
        encoded = os.fsencode(text)
    except UnicodeEncodeError as error:
        raise ValueError(f"{parameter}={text!r} cannot be encoded: {error}") from error
    if not encoded or b"\0" in encoded:
        raise ValueError(f"{parameter}={text!r} is empty or has a NUL; give a path")
    return Path(text)


def make_folder(path: Path) -> None:
    """Make a folder and those above it, unless they are there.

    Parameters
    ----------
    path : Path
        The folder.

    Raises
    ------
    OSError
        If it cannot be made. The message names the path and a remedy.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from mmfusion._atomic import make_folder
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     make_folder(Path(folder) / "a" / "b")
    ...     (Path(folder) / "a" / "b").is_dir()
    True
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _explained(error, path) from error


@contextmanager
def write_atomically(path: str | PathLike[str], mode: str = "wb") -> Iterator[IO[Any]]:
    """Open a file for writing that replaces `path` once all of it is on the disk.

    The content goes to a new file of unpredictable name in the same folder, which is
    flushed, synchronised and renamed. After any exception, the new file is removed,
    and a file that was at `path` before is as it was.

    Parameters
    ----------
    path : str or path-like
        The file to write. A symbolic link is followed, the permissions of an existing
        file are kept, and devices and pipes are written to directly.
    mode : {'wb', 'w'}, default='wb'
        Whether to write bytes or text, which is encoded in UTF-8; its ends of lines
        are written as they are.

    Yields
    ------
    file object
        Opened in `mode`.

    Raises
    ------
    OSError
        If `path` cannot be written. The message names the path and a remedy.
    TypeError, ValueError
        If `path` is no path.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from mmfusion._atomic import write_atomically
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "note.txt"
    ...     with write_atomically(path, "w") as file:
    ...         _ = file.write("whole")
    ...     path.read_text()
    'whole'
    """
    path = as_path(path)
    target = os.path.realpath(path)
    folder = os.path.dirname(target)
    beside = os.path.join(folder, f".mmfusion-{secrets.token_hex(8)}.tmp")
    try:
        if _is_replaced(target):
            with _removed_on_failure(beside), _open(beside, f"x{mode[1:]}") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
                file.close()
                if os.path.exists(target):
                    shutil.copymode(target, beside)
                os.replace(beside, target)
        else:
            with _open(target, mode) as file:
                yield file
    except OSError as error:
        if error.filename not in (None, beside, target):
            raise  # what the caller did with another file
        raise _explained(error, path) from error


@contextmanager
def _removed_on_failure(path: str) -> Iterator[None]:
    try:
        yield
    except BaseException:
        with suppress(OSError):
            os.unlink(path)
        raise


def _open(path: str, mode: str) -> IO[Any]:
    if "b" in mode:
        return open(path, mode)
    return open(path, mode, encoding="utf-8", newline="")


def _is_replaced(target: str) -> bool:
    """Return whether a new file takes the place of what is there."""
    try:
        os.stat(target)
    except FileNotFoundError:
        return True
    if os.path.isdir(target):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), target)
    return os.path.isfile(target)


def _explained(error: OSError, path: Path) -> OSError:
    remedy = REMEDIES.get(error.errno or 0, str(error))
    message = f"cannot write {str(path)!r}: {remedy}"
    # with its number, OSError becomes the subclass that callers expect
    return OSError(message) if error.errno is None else OSError(error.errno, message)
