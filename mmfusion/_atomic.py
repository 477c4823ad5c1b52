"""Atomic writing of files, and errors of the file system with a remedy."""

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

FILE_ERROR_REMEDIES = {
    errno.ENOSPC: "the disk is full; free some space there or give another path",
    errno.EDQUOT: "the disk quota is exceeded; free some space or give another path",
    errno.EFBIG: "the file is larger than the system allows; give another path",
    errno.EROFS: "the file system is read-only; give another path",
    errno.EACCES: "no permission to write there; change it or give another path",
    errno.EPERM: "no permission to write there; change it or give another path",
    errno.ENOENT: "the folder does not exist; create it first or give another path",
    errno.ENOTDIR: "a part of the path is not a folder; give another path",
    errno.EEXIST: "a file of this name exists; give another path",
    errno.EISDIR: "it is a folder; give the path of a file",
    errno.ENAMETOOLONG: "the name is too long; give a shorter path",
    errno.ELOOP: "its symbolic links form a circle; give another path",
}


def as_path(path: str | PathLike[str], parameter: str = "path") -> Path:
    """Check a path and convert it to a `Path`.

    Parameters
    ----------
    path : str or path-like
        Path given by the user.
    parameter : str, default="path"
        Name of the parameter in errors.

    Returns
    -------
    Path
        The path, not resolved.

    Raises
    ------
    TypeError, ValueError
        If it is not a path, is empty, or cannot be encoded.

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
    """Create a folder and its parents, unless they exist.

    Parameters
    ----------
    path : Path
        Path of the folder.

    Raises
    ------
    OSError
        If it cannot be created. The message names the path and a remedy.

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
    """Open a file for writing that replaces `path` once it is complete on the disk.

    The content is written to a temporary file in the same folder, which is flushed,
    synchronised and renamed. After any exception the temporary file is removed, and an
    existing file at `path` is unchanged.

    Parameters
    ----------
    path : str or path-like
        File to write. Symbolic links are followed, the permissions of an existing file
        are preserved, and devices and pipes are written to directly.
    mode : {'wb', 'w'}, default='wb'
        Whether to write bytes, or text in UTF-8 without conversion of line ends.

    Yields
    ------
    file object
        File opened in `mode`.

    Raises
    ------
    OSError
        If `path` cannot be written. The message names the path and a remedy.
    TypeError, ValueError
        If `path` is not a path.

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
    # in the same folder, since only a rename within one file system is atomic; its name
    # is unpredictable, so that nobody can place a link there beforehand
    beside = os.path.join(folder, f".mmfusion-{secrets.token_hex(8)}.tmp")
    try:
        if _is_replaced(target):
            with _removed_on_failure(beside), _open(beside, f"x{mode[1:]}") as file:
                yield file
                file.flush()
                # before the rename: a crash must not leave a truncated file at `path`
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
            raise  # about another file, which the caller used
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
    """Return whether a path is a regular file or free, so that a rename replaces it."""
    try:
        os.stat(target)
    except FileNotFoundError:
        return True
    if os.path.isdir(target):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), target)
    return os.path.isfile(target)


def _explained(error: OSError, path: Path) -> OSError:
    """Return an error of the same type whose message names the path and a remedy."""
    remedy = FILE_ERROR_REMEDIES.get(error.errno or 0, str(error))
    message = f"cannot write {str(path)!r}: {remedy}"
    # given its number, OSError creates the subclass that callers expect
    return OSError(message) if error.errno is None else OSError(error.errno, message)
