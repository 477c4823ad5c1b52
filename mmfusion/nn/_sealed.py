"""Files of tensors, written atomically and verified by a checksum when read."""

from __future__ import annotations

import io
from hashlib import blake2b
from os import PathLike
from pathlib import Path
from typing import Any

import torch

from mmfusion._atomic import write_atomically

# of the format; a change of the bytes refuses all files written before
_FORMAT = b"mmfusion sealed 1"
_SEAL_BYTES = len(_FORMAT) + blake2b().digest_size


def _seal(payload: bytes | memoryview) -> bytes:
    """Compute the format and checksum that end a file, where torch ignores them."""
    return _FORMAT + blake2b(payload).digest()


def write_sealed(path: str | PathLike[str], content: dict[str, Any]) -> None:
    """Write plain values and tensors, followed by their checksum.

    Parameters
    ----------
    path : str or path-like
        File to write; an existing one is replaced as a whole or not at all.
    content : dict
        Values to store: dicts, lists, tuples, numbers, str, None and tensors.
    """
    buffer = io.BytesIO()
    torch.save(content, buffer)
    payload = buffer.getbuffer()
    with write_atomically(path) as file:
        file.write(payload)
        file.write(_seal(payload))


def read_sealed(path: str | PathLike[str]) -> dict[str, Any]:
    """Read a file of `write_sealed`, without executing code from it.

    Parameters
    ----------
    path : str or path-like
        File to read.

    Returns
    -------
    dict
        The content, with tensors on the CPU.

    Raises
    ------
    ValueError
        If the checksum does not match, or the file holds other types.
    """
    whole = Path(path).read_bytes()
    payload, seal = memoryview(whole)[:-_SEAL_BYTES], whole[-_SEAL_BYTES:]
    if seal != _seal(payload):
        raise ValueError("it is damaged, or was not written by this version")
    try:
        return torch.load(io.BytesIO(payload), weights_only=True, map_location="cpu")
    except Exception:  # torch's own message recommends unsafe loading
        raise ValueError(
            "it holds objects other than tensors and plain values"
        ) from None
