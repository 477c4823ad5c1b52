"""Arrays in npz files: safe reading of untrusted files, and atomic writing."""

from __future__ import annotations

import math
import os
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np

from mmfusion._atomic import write_atomically
from mmfusion._memory import check_fits
from mmfusion.datasets._formats import other_loader

MEMBER_SUFFIX = ".npy"
ZIP_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # those that numpy writes
MAX_EXPANSION = 1032  # of DEFLATE, which encodes up to 258 bytes in 2 bits
END_RECORD_BYTES, MEMBER_COUNT_OFFSET = 22, 10  # bytes at the end of a zip file
MAX_MEMBER_COUNT = 0xFFFF  # in 16 bits; also written for larger counts
MAX_DTYPE_CHARACTERS = 9_000  # characters; numpy reads headers of 10,000
MAX_KEY_BYTES = 60_000  # zip files allow 65,535 for a name
MAX_CODE_POINT = 0x10FFFF
SURROGATES = (0xD800, 0xDFFF)  # code points of no character, which UTF-8 excludes


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """Read all arrays of an npz file, without unpickling.

    The sizes stated in the file are compared with its actual size before memory is
    allocated. The arrays are thus at most 1,032 times as large as the file, the limit
    of its compression.

    Parameters
    ----------
    path : Path
        File to read.

    Returns
    -------
    dict of str to ndarray
        Arrays by key.

    Raises
    ------
    OSError
        If the file cannot be opened.
    ValueError
        If it is not an npz file, is damaged, contradicts itself or holds objects. The
        message names the file.
    """
    if path.exists() and not path.is_file():  # a pipe may not end
        raise ValueError(f"{path} is not an npz file: it is not a regular file")
    with path.open("rb") as file:
        try:
            archive = zipfile.ZipFile(file)
        except Exception as error:  # zipfile raises many types for damaged files
            raise ValueError(
                f"{path} is not an npz file: {_reason(error)}"
                f"{other_loader(path, 'npz')}"
            ) from error
        members = archive.infolist()
        try:
            _check_number(file, archive)
            _check_members(members, os.fstat(file.fileno()).st_size)
        except ValueError as error:
            raise ValueError(f"{path} cannot be read: {error}") from error
        arrays = {}
        for member in members:
            key = member.filename.removesuffix(MEMBER_SUFFIX)
            try:
                arrays[key] = _read_member(archive, member)
            except Exception as error:
                raise ValueError(
                    f"{path}: {key!r} cannot be read: {_reason(error)}"
                ) from error
    return arrays


def _reason(error: Exception) -> str:
    """Return the text of an error, with its type where the text may be unclear."""
    if isinstance(error, ValueError) and type(error) is not UnicodeDecodeError:
        return str(error)
    return f"{type(error).__name__}: {error}"


def _check_number(file: IO[bytes], archive: zipfile.ZipFile) -> None:
    """Compare the number of members with that in the end record of the file.

    A damaged length in the directory hides members, which zipfile does not detect.
    """
    file.seek(-END_RECORD_BYTES - len(archive.comment), os.SEEK_END)
    (expected,) = struct.unpack_from(
        "<H", file.read(END_RECORD_BYTES), MEMBER_COUNT_OFFSET
    )
    found = len(archive.infolist())
    if expected != min(found, MAX_MEMBER_COUNT):
        raise ValueError(
            f"its end record counts {expected} members, {found} are listed"
        )


def _check_members(members: list[zipfile.ZipInfo], n_bytes: int) -> None:
    """Check names, compression and sizes of the members of a file of `n_bytes`."""
    names = [member.filename for member in members]
    if len(set(names)) < len(names):
        raise ValueError("it has two arrays with the same name")
    for member in members:
        if not member.filename.endswith(MEMBER_SUFFIX):
            raise ValueError(
                f"it has a member {member.filename!r}, which is not an array"
            )
        if member.compress_type not in ZIP_METHODS:
            raise ValueError(f"{member.filename!r} is compressed in another way")
        if member.file_size > MAX_EXPANSION * member.compress_size:
            raise ValueError(
                f"{member.filename!r} states {member.file_size} bytes, more than "
                f"{member.compress_size} compressed bytes can hold"
            )
    if sum(member.compress_size for member in members) > n_bytes:
        raise ValueError(f"its members state more than its {n_bytes} bytes")
    n_unpacked = sum(member.file_size for member in members)
    check_fits(n_unpacked, "reading it", "load it on a machine with more memory")


def _read_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> np.ndarray:
    with archive.open(info) as member:
        _check_header(member, info.file_size, MAX_EXPANSION * info.compress_size)
        member.seek(0)
        array = np.lib.format.read_array(member, allow_pickle=False)
        member.read()  # the checksum is compared at the end of the member
    check_values(array)
    return array


def _check_header(member: IO[bytes], n_bytes: int, max_length: int) -> None:
    """Compare the size of an array in its header with that of its member."""
    try:
        version = np.lib.format.read_magic(member)
        # version 3 differs from 2 only in the encoding of field names
        read_header = (
            np.lib.format.read_array_header_1_0
            if version == (1, 0)
            else np.lib.format.read_array_header_2_0
        )
        shape, _, dtype = read_header(member)
    except Exception as error:  # evaluating a damaged header raises many types
        raise ValueError(
            f"its header is damaged, or too long to be trusted ({type(error).__name__})"
        ) from error
    if dtype.hasobject:
        raise ValueError(
            "it holds Python objects. They are not unpickled, since that could run "
            "arbitrary code; save numbers or strings"
        )
    n_stated = member.tell() + math.prod(shape) * dtype.itemsize
    if min(shape, default=0) < 0 or n_stated != n_bytes:
        raise ValueError(
            f"its header states an array of shape {shape} and {dtype}, which does not "
            f"fit in its {n_bytes} bytes"
        )
    if max(shape, default=0) > max_length:  # an empty array needs no bytes
        raise ValueError(
            f"its header states shape {shape}, too large for a file of this size"
        )


def check_values(array: np.ndarray) -> None:
    """Check that booleans are 0 or 1, and that text consists of valid code points."""
    if array.nbytes == 0:
        return
    # comparisons and lookups with other bytes have undefined results
    if array.dtype == bool and array.view(np.uint8).max() > 1:
        raise ValueError("it has values that are neither true nor false")
    if array.dtype.kind == "U":
        code = np.dtype(np.uint32).newbyteorder(array.dtype.byteorder)
        codes = array.reshape(-1).view(code)
        low, high = SURROGATES
        if codes.max() > MAX_CODE_POINT or ((codes >= low) & (codes <= high)).any():
            raise ValueError("it has text with code points that are not characters")


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays to a compressed npz file atomically.

    Parameters
    ----------
    path : Path
        File to write. An existing file is replaced once the new one is complete.
    arrays : dict of str to ndarray
        Arrays by key, without objects.

    Raises
    ------
    OSError
        If the file cannot be written. The message names the path and a remedy.
    ValueError
        If a key is invalid, or text cannot be encoded.
    """
    for key, array in arrays.items():
        _check_key(key)
        try:
            check_values(array)
            _check_description(array.dtype)
        except ValueError as error:
            raise ValueError(f"{key!r} cannot be saved: {error}") from error
    # numpy.savez would append .npz to the path and reject an array named "file"
    with (
        write_atomically(path) as file,
        zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive,
    ):
        for key, array in arrays.items():
            with archive.open(key + MEMBER_SUFFIX, "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array, allow_pickle=False)


def _check_description(dtype: np.dtype[Any]) -> None:
    """Check that the header of an array is short enough for numpy to read it."""
    if len(repr(np.lib.format.dtype_to_descr(dtype))) > MAX_DTYPE_CHARACTERS:
        raise ValueError(f"it has {len(dtype.names or ())} fields; give fewer")


def _check_key(key: str) -> None:
    """Check that a key is a valid name in a zip file."""
    try:
        n_bytes = len(key.encode("utf-8"))
    except UnicodeEncodeError:
        n_bytes = 0
    if not 0 < n_bytes <= MAX_KEY_BYTES or "\0" in key:
        raise ValueError(
            f"an array cannot be called {key[:40]!r}; give it a name of 1 to "
            f"{MAX_KEY_BYTES} bytes of UTF-8 without NUL"
        )
